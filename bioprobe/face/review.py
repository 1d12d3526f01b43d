"""A review: pictures are proposed, people answer, and what is proposed next is better for it."""

from __future__ import annotations

import collections
import functools
import math
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioprobe.content import CONTENT, NO_TAXON, read_content
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.sitting import Batch, Shown, Sitting
from bioprobe.names import suggest, unify
from bioprobe.options import CONFIRMED, RANK_NAMES, write_flag
from bioprobe.result import FACT, WARNING, Note, Notes

if TYPE_CHECKING:
    from bioprobe.face.annotations import Corrects
    from bioprobe.face.progress import Progress
    from bioprobe.reviewing.desk import Pick
    from bioprobe.reviewing.learner import ClassTexts
    from bioprobe.store.annotations import Unit
    from bioprobe.store.labels import Resolved
    from bioprobe.types import Names

# Why a picture is shown that somebody else has answered.
_OVERLAP = "overlap"


class Review(Sitting):
    """A review by one person: what is shown next, and what they say of it.

    Make one with :meth:`bioprobe.Store.review`. Several threads may use it; several people have
    one each, of the same store, also in other processes: what others answer counts at the next
    :meth:`next`, and nobody is handed what another is looking at.

    Parameters
    ----------
    store : Store
        Whose pictures are reviewed; it writes the annotations.
    level, by : str
        What is asked, and of whom.
    mix : dict of str to float
    batch : int
        Pictures that are shown before what answers learns from them.
    method : str
    settings : dict
    texts : ClassTexts, optional
    names : list of str
        Classes that are known by now.
    k : int
        Answers to each picture.
    overlap : float
        Share of what is shown that another person has answered already.
    seed : int
    of : str, optional
        Class that ``confident`` is of.
    like : int, optional
        Row that ``nearest`` is of.
    trust_labels : bool
        Whether labels that came with the pictures count as right; else they are claims.
    notes : tuple of Note
    """

    _noun = "review"

    def __init__(
        self,
        store: Corrects,
        level: str,
        *,
        by: str,
        mix: Mapping[str, float],
        batch: int,
        method: str,
        settings: dict[str, Any],
        texts: ClassTexts | None,
        names: Sequence[str],
        k: int,
        overlap: float,
        seed: int,
        of: str | None,
        like: int | None,
        trust_labels: bool,
        notes: Notes,
    ) -> None:
        import numpy as np
        import pandas as pd

        from bioprobe.reviewing.desk import Desk
        from bioprobe.reviewing.pool import Pool
        from bioprobe.task.lazy_rows import take_rows

        super().__init__(store, level, by=by, batch=batch, notes=notes)
        self._k, self._overlap, view = k, overlap, store._view
        self._given = read_labels(store, level)
        self._names = list(names)
        self._class_of = {name: at for at, name in enumerate(self._names)}
        self._n_log = -1
        self._mine: set[int] = set()
        self._open: set[int] = set()
        self._is_stale = True
        places = np.array([self._number(one) for one in self._given.tolist()], dtype=np.int64)
        vectors = take_rows(view.read_vectors, view.rows, view.manifest.dim)
        pool = Pool.of(vectors, self._names, places)
        # The pool names classes as they come.
        pool.names = self._names
        # Copies, and regions of one picture, are left out together.
        contents = view.store.given.column("sha256").to_numpy(dtype=object)[self._rows]
        numbers, known = pd.factorize(contents)
        pool.groups = np.where(np.isin(numbers, np.flatnonzero(known == "")), -1, numbers)
        # Of each picture the class of the label that came with it, -1 for none.
        self._came, self._trusts = places, trust_labels
        if trust_labels:
            pool.is_trusted = places >= 0
        shown = None
        if like is not None:
            shown = view.store.read_vectors(np.array([like], dtype=np.int64))[0]
        drawn = _seed_of(by)
        self._desk = Desk(
            pool, mix, kind=method, settings=settings, texts=texts, seed=[seed, drawn], shown=shown
        )
        self._seed = (seed, drawn)
        with self._lock:
            self._sync()
            if of is not None:
                self._desk.wanted = self._find_class(of)
            self._draw_anew()

    def __repr__(self) -> str:
        pool = self._desk.pool
        return (
            f"<Review of {len(self):,} pictures at {self.level} by {self.by}: "
            f"{int((pool.labels >= 0).sum()):,} have a label>"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that a person may mean: those known at the beginning, and those named since."""
        return tuple(name for name in self._names if name)

    @property
    def answering(self) -> str:
        """What answers now: the method, ``zeroshot`` before it can learn, ``""`` where nothing."""
        return self._desk.learner.answering

    def next(self, n: int | None = None) -> Batch:
        """Return the next pictures to look at, by the mix; fewer where no more are left.

        What was said since the last batch is learnt before. The pictures are this person's for an
        hour: nobody else is shown them.

        Parameters
        ----------
        n : int, optional
            How many; by default a batch.

        Returns
        -------
        Batch

        Raises
        ------
        MisuseError
            If n is no whole number above 0.
        StoreError
            If the disk refuses, or another process chooses pictures all the time.
        """
        from bioprobe.reviewing.claims import claim

        wanted = self._count(n)
        with self._lock:
            self._sync()
            self._learn()
            given_back = self._name([*self._mine, *self._skipped])
            picks = claim(
                self.store.folder, self.by, lambda others: self._choose(wanted, others), given_back
            )
            self._open |= {one.place for one in picks}
            pictures = self._describe(picks)
            self._shown |= {one.place: shown for one, shown in zip(picks, pictures, strict=True)}
            self.last = batch = Batch(
                tuple(pictures), self.level, self._describe_provenance(len(pictures)),
                tuple(self._tell_batch(wanted, picks)),
            )  # fmt: skip
            return batch

    def find_classes(self, start: str) -> list[str]:
        """Return the classes that begin so, whatever the case; one that is so comes first.

        Of a name of several words each word may begin so: ``leo`` finds Panthera leo.
        """
        wanted = unify(start).casefold()
        if not wanted:
            return []
        found = []
        for name in self.classes:
            folded = name.casefold()
            if folded == wanted:
                found.append((0, name))
            elif folded.startswith(wanted):
                found.append((1, name))
            elif any(one.startswith(wanted) for one in folded.split()[1:]):
                found.append((2, name))
        return [name for _, name in sorted(found, key=lambda one: (one[0], one[1].casefold()))]

    def progress(
        self,
        *,
        goal: float = 0.95,
        unseen: float = 0.01,
        width: float | None = None,
        site: str | None = None,
        each_class: bool = False,
    ) -> Progress:
        """Say how far the review is: how good it is, what was found, and whether to go on.

        Of what would be handed over now (people's labels where they gave one, else the labels that
        came with the pictures, else what is answered) the accuracy is measured by pictures that
        were drawn at random, strategy ``audit``, with an interval that holds at every look: who
        asks after each batch deceives nobody. What a person said counts as right; a label that
        came with a picture is a claim that the draws check, unless the review trusts these.

        Parameters
        ----------
        goal : float
            That the lower end of the accuracy is to reach, in (0, 1).
        unseen : float
            That the chance of something new is not to exceed by its upper end, in (0, 1).
        width : float, optional
            Of the accuracy's interval: the table says how many further random draws are expected to
            bring it there.
        site : str, optional
            Column of the image table, such as ``deployment_id``: what was found is told of each of
            its values too.
        each_class : bool
            Whether the table has precision and recall of each class.

        Returns
        -------
        Progress

        Raises
        ------
        SelectionError
            If a goal or width is out of range, or there is no such column.
        """
        from bioprobe.face.progress import describe_progress
        from bioprobe.images.image_table import read_level
        from bioprobe.reviewing.looks import Said, judge, read_looks
        from bioprobe.store.annotations import read_log

        with self._lock:
            self._sync()
            self._learn()
            pool, images = self._desk.pool, self.store._view.images
            log = read_log(self.store.folder).standing
            places = self._find_places(
                {one.unit for one in log if one.level in (self.level, CONTENT)}
            )
            own = [
                one for one in log
                if one.level in (self.level, CONTENT) and places.get(one.unit)
            ]  # fmt: skip
            shown_for = collections.Counter(one.shown_for or "by themselves" for one in own)
            counts: dict[str, object] = {
                "pictures": len(self),
                "with a label": int((pool.labels >= 0).sum()),
                "checked by people": int(pool.is_checked.sum()),
                "left": int(((pool.labels < 0) & ~pool.is_checked).sum()),
                "classes with a picture": pool.n_taught_classes,
                "classes known": len(self.classes),
                "people": len({one.by for one in own}),
                "answers": len(own),
                "answered by": self.answering or "nothing yet",
                **{f"shown for {name}": n for name, n in sorted(shown_for.items())},
            }
            said = [
                Said(place, one.shown_for, one.chance)
                for one in own for place in places[one.unit]
            ]  # fmt: skip
            looks = read_looks(len(self), pool.is_trusted, said)
            sites = None
            if site is not None:
                site = read_level(site, images)
                sites = images.labels(site)[self._rows]
            aside = [
                self._class_of[one] for one in NO_TAXON
                if one in self._class_of and self.level != CONTENT
            ]  # fmt: skip
            came = None if self._trusts else self._came
            judged = judge(self._desk.learner, looks.draws, came)
            self.last = told = describe_progress(
                counts, judged, self._names, aside, came,
                goal=goal, unseen=unseen, width=width, site=site or "", sites=sites,
                each_class=each_class, looks=looks, provenance=self._describe_provenance(0),
            ).say(self._tell_answering())  # fmt: skip
            return told

    def _find_places(self, units: Collection[Unit]) -> dict[Unit, list[int]]:
        """Return the places of what was annotated."""
        from bioprobe.store.labels import find_unit_rows

        rows_of = find_unit_rows(self.store._view.store.given, self._rows, set(units))
        return {unit: [self._place_of[row] for row in rows] for unit, rows in rows_of.items()}

    def _number(self, name: str) -> int:
        """Return the class of a name, which is one from now on; -1 for none."""
        if not name:
            return -1
        if name not in self._class_of:
            self._class_of[name] = len(self._names)
            self._names.append(name)
        return self._class_of[name]

    def _find_class(self, value: str) -> int:

        name = self._read_value(value)
        if name not in self._class_of:
            msg = f"no class {value!r} is known at {self.level}{suggest(value, self.classes)}"
            raise SelectionError(msg)
        return self._class_of[name]

    def _name(self, places: Collection[int]) -> list[str]:
        """Return what stands for pictures in what is claimed."""
        import numpy as np

        from bioprobe.reviewing.claims import name_unit
        from bioprobe.store.labels import list_units

        rows = self._rows[np.array(list(places), dtype=np.int64)]
        units = list_units(self.store._view.store.given, rows)
        return [name_unit(one, self.level) for one in units]

    @functools.cached_property
    def _keys(self) -> list[str]:
        """What stands for each picture in what is claimed."""
        return self._name(range(len(self)))

    def _sync(self) -> None:
        """Let what anybody said since count."""
        from bioprobe.store.annotations import read_log
        from bioprobe.store.labels import find_unit_rows, resolve

        log = read_log(self.store.folder)
        if len(log) == self._n_log:
            return
        new = log.annotations[max(self._n_log, 0) :]
        by_id = {one.id: one for one in log.annotations} if any(o.retracts for o in new) else {}
        # When something was said of each last, by its place in the log.
        touched: dict[Unit, int] = {}
        for at, one in enumerate(new, max(self._n_log, 0)):
            said = one
            while said.retracts and said.retracts in by_id:
                said = by_id[said.retracts]
            if said.level in (self.level, CONTENT):
                touched[said.unit] = at
        standing = [
            one for one in log.standing
            if one.unit in touched and one.level in (self.level, CONTENT)
        ]  # fmt: skip
        found = {(one.unit, one.level): one for one in resolve(standing)}
        mine = {one.unit for one in standing if one.by == self.by}
        rows_of = find_unit_rows(self.store._view.store.given, self._rows, set(touched))
        for unit, rows in rows_of.items():
            for row in rows:
                place = self._place_of[row]
                self._desk.pool.said[place] = touched[unit]
                self._take(
                    place, found.get((unit, self.level)), found.get((unit, CONTENT)),
                    is_mine=unit in mine,
                )  # fmt: skip
        self._n_log = len(log)

    def _take(
        self, place: int, said: Resolved | None, content: Resolved | None, *, is_mine: bool
    ) -> None:
        """Let what people say of a picture count."""
        from bioprobe.store.labels import RESOLVED

        pool, given = self._desk.pool, str(self._given[place])
        label, is_checked = given, False
        if said is not None:
            label, is_checked = said.count(given), said.status == RESOLVED
        if content is not None and content.status == RESOLVED and self.level != CONTENT:
            kind = read_content(content.value)
            is_later = said is None or said.status != RESOLVED or content.at >= said.at
            if kind in NO_TAXON and is_later:
                label, is_checked = kind, True
        excluded = {self._number(one) for one in (said.excluded if said else ())}
        number = self._number(label)
        before = (int(pool.labels[place]), bool(pool.is_checked[place]), pool.excluded.get(place))
        if excluded:
            pool.excluded[place] = excluded
        else:
            pool.excluded.pop(place, None)
        pool.labels[place], pool.is_checked[place] = number, is_checked
        if before != (number, is_checked, pool.excluded.get(place)):
            self._is_stale = True
        (self._mine.add if is_mine else self._mine.discard)(place)

    def _learn(self) -> None:
        if self._is_stale:
            self._desk.learn()
            self._is_stale = False

    def _draw_anew(self) -> None:
        """Draw from here on as of the answers until now: the same again until there are more."""
        import numpy as np

        from bioprobe.store.annotations import read_log

        log = read_log(self.store.folder)
        said = [one for one in log.annotations if (one.by, one.level) == (self.by, self.level)]
        self._desk.random = np.random.default_rng([*self._seed, len(said)])

    def _choose(self, n: int, others: Collection[str]) -> tuple[list[str], list[Pick]]:
        """Choose n pictures, none that others are looking at."""
        import numpy as np

        pool = self._desk.pool
        pool.is_out[:] = False
        away = [*self._mine, *self._skipped, *self._open]
        pool.is_out[np.array(away, dtype=np.int64)] = True
        pool.is_held[:] = False
        if others:
            pool.is_held[[at for at, name in enumerate(self._keys) if name in others]] = True
        n_again = self._count_overlap(n)
        again = self._choose_again(n_again)
        picks = [*self._desk.propose(n - len(again)), *again] if n > len(again) else again
        return self._name([one.place for one in picks]), picks

    def _count_overlap(self, n: int) -> int:
        """Return how many of the next n somebody has answered, a part of one by chance."""
        share = self._overlap * n
        whole = int(share)
        return whole + int(self._desk.random.random() < share - whole)

    def _choose_again(self, n: int) -> list[Pick]:
        """Draw from what others answered and this person did not."""
        import numpy as np

        from bioprobe.reviewing.desk import Pick

        pool = self._desk.pool
        left = np.flatnonzero(pool.is_checked & ~pool.is_out)
        drawn = self._desk.random.permutation(left)[:n]
        pool.is_out[drawn] = True
        n_left = len(left)
        return [
            Pick(int(place), _OVERLAP, "somebody else has answered it", 1 / (n_left - at))
            for at, place in enumerate(drawn.tolist())
        ]

    def _describe(self, picks: Sequence[Pick]) -> list[Shown]:
        import numpy as np

        pool = self._desk.pool
        places = np.array([one.place for one in picks], dtype=np.int64)
        best, scores = self._desk.learner.find_best(places, self._k)
        answering, rows, found = self.answering, self._rows[places], []
        for pick, row, (name, region), classes, values in zip(
            picks, rows.tolist(), self._name_pictures(rows), best.tolist(), scores.tolist(),
            strict=True,
        ):  # fmt: skip
            answers = tuple(
                (pool.names[at], value)
                for at, value in zip(classes, values, strict=True)
                if at >= 0
            )
            own = int(pool.labels[pick.place])
            found.append(
                Shown(
                    row, name, region, pool.names[own] if own >= 0 else "",
                    answers[0][0] if answers else "", answers[0][1] if answers else math.nan,
                    answers, answering if answers else "", pick.strategy, pick.reason,
                    pick.chance, uuid.uuid4().hex,
                )
            )  # fmt: skip
        return found

    def _describe_provenance(self, n_shown: int) -> dict[str, Any]:
        view, learner = self.store._view, self._desk.learner
        n_learnt = len(learner.teaching) if self.answering not in ("", "zeroshot") else 0
        return view.describe(
            {
                "level": self.level, "by": self.by, "mix": self._desk.mix,
                "method": learner.kind, "answering": self.answering,
                "settings": learner.settings, "seed": self._seed[0],
                "n_labelled": int((self._desk.pool.labels >= 0).sum()),
                "n_learnt_from": n_learnt, "n_shown": n_shown,
            }
        ).to_dict()  # fmt: skip

    def _tell_batch(self, wanted: int, picks: Sequence[Pick]) -> list[Note]:
        said = []
        for name, n in self._desk.short.items():
            is_left = name == "suspected" or self._desk.pool.waiting.any()
            why = _WHY_SHORT.get(name, "there are no more") if is_left else _NONE_LEFT
            fills = "; the others fill them" if len(picks) == wanted else ""
            said.append(Note(f"{name} lacks {n:,} pictures ({why}){fills}"))
        if len(picks) < wanted:
            text = f"{len(picks):,} of {wanted:,} pictures are left to show"
            labelled = self._desk.pool.labels[self._desk.auditable] >= 0
            if n_came := int(labelled.sum()):
                text += (
                    f"; {n_came:,} more came with a label that nobody has checked: "
                    f"{write_flag('mix')} suspected=.8,audit=.2 shows which are likely to be wrong"
                )
            said.append(Note(text))
        return [*said, *self._tell_answering()]

    def _tell_answering(self) -> list[Note]:
        learner, answering = self._desk.learner, self.answering
        if answering == learner.kind:
            n_taught, n_labels = len(learner.teaching), len(self._desk.pool.taught)
            if answering == "zeroshot" or n_taught == n_labels:
                return []
            text = (
                f"{answering} learns from {n_taught:,} of {n_labels:,} labels, half drawn by class "
                "and half by lot; the latest of what people said are among them"
            )
            return [Note(text, FACT)]
        n = self._desk.pool.n_taught_classes
        until = f"until pictures of two classes have a label ({n} has one now)"
        if answering:
            then = f"then {learner.kind} does, for classes that have one; --method prompt+probe "
            then += "knows the others by their texts too"
            return [Note(f"texts answer, as zero-shot does, {until}; {then}")]
        text = (
            f"nothing is suggested {until}: name what the first pictures show, or give classes by "
            "--taxa or --classes"
        )
        return [Note(text, WARNING)]

    def _read_answer(self, said: Mapping[str, Any]) -> dict[str, Any]:
        level = str(said.get("level", self.level))
        if level not in (self.level, CONTENT):
            msg = f"this review is of {self.level}, got an answer of {level}; review that level"
            raise MisuseError(msg)
        verdict, value = str(said["verdict"]), str(said.get("value", ""))
        if verdict == "unsure" and value:
            msg = f"who is unsure names no class, got unsure and {value!r}; leave one of them out"
            raise MisuseError(msg)
        if not value and verdict != "unsure":
            value = str(said.get("suggestion", ""))
            if not value:
                row = said["row"]
                msg = f"{verdict!r} needs a value: nothing was suggested for row {row}; name it"
                raise MisuseError(msg)
        value = self._read_value(value) if value else ""
        if value in NO_TAXON and self.level in RANK_NAMES:
            level = CONTENT
        return {"level": level, "value": value, "verdict": verdict}

    def _learn_from(self, said: Sequence[Mapping[str, Any]]) -> None:
        self._open.difference_update(self._place_of[one["row"]] for one in said)
        self._sync()
        if not self._open - self._skipped:
            self._learn()

    def _forget(self, places: Sequence[int]) -> None:
        self._sync()
        self._open |= {place for place in places if place in self._shown}

    def _read_value(self, value: str) -> str:
        """Return a name as it is known, in whatever case it is written, or as it is written."""
        name = unify(value)
        if name in self._class_of:
            return name
        folded = {one.casefold(): one for one in self.classes}
        return folded.get(name.casefold(), name.casefold() if name.casefold() in NO_TAXON else name)


_NONE_LEFT = "no picture without a label is left"
_WHY_SHORT = {
    "margin": "nothing answers yet, or nothing is left",
    "disagreement": "the methods agree on the rest, or only one answers",
    "suspected": "no labelled picture is unchecked, or too few teach",
    "confident": "nothing is taken for the class",
    "nearest": "no picture is named, by --like",
}


def _seed_of(by: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256(by.encode("utf-8", "surrogatepass")).digest()[:4])


def read_labels(store: Corrects, level: str) -> Names:
    """Return the label that came with each picture, ``""`` for none; what holds no taxon is one."""
    import numpy as np

    view = store._view
    images, rows = view.store.given, view.rows
    if view.store.counts == CONFIRMED:
        return np.full(len(rows), "", dtype=object)
    labels = (
        images.labels(level)[rows].copy()
        if level in images.columns
        else np.full(len(rows), "", dtype=object)
    )
    if level in RANK_NAMES and CONTENT in images.columns:
        contents = images.labels(CONTENT)[rows]
        for place in np.flatnonzero((labels == "") & (contents != "")).tolist():
            kind = read_content(str(contents[place]))
            if kind in NO_TAXON:
                labels[place] = kind
    return labels
