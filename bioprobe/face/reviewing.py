"""A review: pictures are proposed, people answer, and what is proposed next is better for it."""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.annotations import Corrects, Person
from bioprobe.face.answered import NO_TAXON, is_hole, name_answer, number_pictures
from bioprobe.face.learning import Learns
from bioprobe.options import (
    GIVEN,
    RANK_NAMES,
    Level,
    ListColumns,
    NamedClasses,
    NumberOfAnswers,
    Option,
    SeedOption,
    Taxa,
    Templates,
    TextTypeName,
    WhichLabels,
    Without,
    question,
)
from bioprobe.result import FACT, WARNING, Note, Notes, Result, Table

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.face.progress import Progress
    from bioprobe.reviewing.desk import Pick
    from bioprobe.reviewing.learner import ClassTexts
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.annotations import Unit
    from bioprobe.store.labels import Resolved
    from bioprobe.types import Names

#: Methods that answer in a review; those that learn from vectors alone, and two that read texts.
REVIEW_METHODS = ("linear", "prompt+probe", "zeroshot", "lda", "ridge", "knn", "centroid")
# Why a picture is shown that somebody else has answered.
_OVERLAP = "overlap"
_BLANK = "blank"
_FIRST_FACTS = 3


@dataclasses.dataclass(frozen=True)
class Shown:
    """A picture to look at, and what is proposed of it.

    Parameters
    ----------
    row : int
        Of the store.
    file_name, image_region : str
        As answers name it; ``""`` for the whole picture.
    label : str
        That counts until now, ``""`` where it has none.
    suggestion : str
        Best class, ``""`` where nothing answers.
    score : float
        Its probability, NaN where there is no suggestion.
    answers : tuple of (str, float)
        The best k classes with their probabilities.
    suggested_by : str
        What answered: the method.
    shown_for : str
        Strategy.
    reason : str
        The same for people.
    chance : float
        Probability with which it was drawn for that, NaN where it was not drawn by chance.
    id : str
        32 hexadecimal digits, of this time that it is shown.
    """

    row: int
    file_name: str
    image_region: str
    label: str
    suggestion: str
    score: float
    answers: tuple[tuple[str, float], ...]
    suggested_by: str
    shown_for: str
    reason: str
    chance: float
    id: str


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Batch(Result):
    """What is to be looked at next, in this order.

    Parameters
    ----------
    pictures : tuple of Shown
    level : str
        Rank or column that is asked for.
    provenance : dict
        What it was chosen from, JSON-ready.
    notes : tuple of Note
    """

    pictures: tuple[Shown, ...]
    level: str
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def rows(self) -> list[int]:
        """Rows of the store."""
        return [one.row for one in self.pictures]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a picture; ``value`` and ``verdict`` are empty, to be filled in.

        The columns are those of :class:`Shown` with the answers after the best as ``answer_2``,
        ``score_2`` and so on. A line that comes back with the verdict ``is`` and no value is
        what was suggested.
        """
        import pandas as pd

        k = max([len(one.answers) for one in self.pictures], default=0)
        listed = []
        for one in self.pictures:
            line: dict[str, Any] = {
                "row": one.row, "file_name": one.file_name, "image_region": one.image_region,
                "level": self.level, "value": "", "verdict": "", "label": one.label,
                "suggestion": one.suggestion, "score": one.score,
            }  # fmt: skip
            for at in range(1, k):
                name, score = one.answers[at] if at < len(one.answers) else ("", math.nan)
                line |= {f"answer_{at + 1}": name, f"score_{at + 1}": score}
            line |= {
                "suggested_by": one.suggested_by, "shown_for": one.shown_for,
                "chance": one.chance, "reason": one.reason, "id": one.id,
            }  # fmt: skip
            listed.append(line)
        columns = None if listed else list(_EMPTY)
        return pd.DataFrame(listed, columns=columns)

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return what a person reads of each picture."""
        frame = self.to_frame() if frame is None else frame
        return frame[["file_name", "suggestion", "score", "shown_for", "reason"]]


_EMPTY = (
    "row", "file_name", "image_region", "level", "value", "verdict", "label", "suggestion", "score",
    "suggested_by", "shown_for", "chance", "reason", "id",
)  # fmt: skip


@dataclasses.dataclass
class _Done:
    """What one call of :meth:`Review.answer` wrote, to be taken back."""

    ids: list[str]
    rows: list[int]


class Review:
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
    notes : tuple of Note
    """

    def __init__(
        self,
        store: Reviews,
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
        notes: Notes,
    ) -> None:
        import numpy as np

        from bioprobe.reviewing.desk import Desk
        from bioprobe.reviewing.pool import Pool

        self.store, self.level, self.by, self.notes = store, level, by, notes
        #: What it answered last: a batch, what was written, how far it is; None before.
        self.last: Result | None = None
        self._batch, self._k, self._overlap = batch, k, overlap
        self._lock = threading.RLock()
        view = store._view
        self._rows = view.rows
        self._place_of = {row: place for place, row in enumerate(self._rows.tolist())}
        self._given = _read_labels(store, level)
        self._names = list(names)
        self._class_of = {name: at for at, name in enumerate(self._names)}
        self._n_log = -1
        self._mine: set[int] = set()
        self._skipped: set[int] = set()
        self._open: dict[int, Pick] = {}
        self._answers: dict[int, Shown] = {}
        self._done: list[_Done] = []
        self._is_stale = True
        self._since_fit = 0
        places = np.array([self._number(one) for one in self._given.tolist()], dtype=np.int64)
        pool = Pool.of(view.read_vectors(), self._names, places)
        # The pool names classes as they come.
        pool.names = self._names
        # Copies, and regions of one picture, are left out together.
        contents = view.store.given.frame["sha256"].to_numpy(dtype=object)[self._rows]
        known, numbers = np.unique(contents.astype(str), return_inverse=True)
        pool.groups = np.where(known[numbers] == "", -1, numbers)
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

    def __len__(self) -> int:
        return len(self._rows)

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

        wanted = self._batch if n is None else n
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            msg = f"at least one picture is shown, got {wanted!r}"
            raise MisuseError(msg)
        with self._lock:
            self._sync()
            self._learn()
            given_back = self._name([*self._mine, *self._skipped])
            picks = claim(
                self.store.folder, self.by, lambda others: self._choose(wanted, others), given_back
            )
            self._open |= {one.place: one for one in picks}
            pictures = self._describe(picks)
            self._answers |= {one.place: shown for one, shown in zip(picks, pictures, strict=True)}
            self.last = batch = Batch(
                tuple(pictures), self.level, self._describe_provenance(len(pictures)),
                tuple(self._tell_batch(wanted, picks)),
            )  # fmt: skip
            return batch

    def answer(
        self, answers: str | Path | pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> Table:
        """Write what this person says of pictures; once a batch is answered, it is learnt.

        When this returns it is on the disk, as annotations of the store.

        Parameters
        ----------
        answers : str, Path, DataFrame, mapping, or sequence of mappings
            A table, its file, or one or several answers. Each has ``row``, or ``file_name`` and
            ``image_region``, and ``value`` and ``verdict``: ``is`` a class, by default; without a
            value what was suggested; ``is not`` a class, by default what was suggested;
            ``unsure``. ``blank`` is a picture of nothing. One that has neither says nothing, and
            is passed over. With ``id`` the same is written once, however often it is sent; of a
            table it is that of what was shown. What else they say, such as ``suggestion``,
            ``shown_for`` and ``chance``, is taken as it is
            where this review has not shown the picture itself.

        Returns
        -------
        Table
            One row an annotation, as :meth:`bioprobe.Store.add_annotations` returns it.

        Raises
        ------
        MisuseError
            If one of them cannot be taken; then none is written.
        SelectionError
            If the store has no such picture.
        """
        with self._lock:
            written, rows = self._read_answers(answers)
            if not written:
                import pandas as pd

                none = pd.DataFrame(columns=["id", "row", "level", "value", "verdict"])
                said = "no line says anything: value and verdict are empty"
                self.last = nothing = Table(none).say([said])
                return nothing
            self.last = done = self.store.add_annotations(written, by=self.by)
            frame = done.to_frame()
            new = frame["id"][frame["is_new"]].tolist()
            if new:
                self._done.append(_Done(new, rows))
            for row in rows:
                self._open.pop(self._place_of[row], None)
                self._skipped.discard(self._place_of[row])
            self._since_fit += len(rows)
            self._sync()
            if not self._open:
                self._learn()
            return done

    def undo(self) -> Table:
        """Take back what this person said last, of one picture or of several that came together.

        Returns
        -------
        Table
            One row for each annotation that is taken back; none where there is nothing to.
        """
        import pandas as pd

        with self._lock:
            if not self._done:
                return Table(pd.DataFrame(columns=["id", "retracts"])).say(["nothing to take back"])
            last = self._done.pop()
            taken = self.store.retract(last.ids, by=self.by)
            self._sync()
            for row in last.rows:
                self._reopen(self._place_of[row])
            names = self.store._view.store.images.file_names
            return taken.say([f"{names[row]} is asked again" for row in last.rows[:_FIRST_FACTS]])

    def skip(self, rows: int | Sequence[int]) -> None:
        """Pass over pictures: this review does not show them again.

        Raises
        ------
        SelectionError
            If one is none of its pictures.
        """
        with self._lock:
            for row in [rows] if isinstance(rows, int) else list(rows):
                place = self._find_place(row)
                self._skipped.add(place)
                self._open.pop(place, None)

    def find_classes(self, start: str) -> list[str]:
        """Return the classes that begin so, whatever the case; one that is so comes first.

        Of a name of several words each word may begin so: ``leo`` finds Panthera leo.
        """
        from bioprobe.names import unify

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

        Of what would be handed over now (people's labels where they gave one, what is answered
        elsewhere) the accuracy is measured by pictures that were drawn at random, strategy
        ``audit``, with an interval that holds at every look: who asks after each batch deceives
        nobody. A label counts as right.

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
            own = [
                one for one in read_log(self.store.folder).standing
                if one.level in (self.level, _CONTENT)
            ]  # fmt: skip
            counted: dict[str, int] = {}
            for one in own:
                name = one.shown_for or "by themselves"
                counted[name] = counted.get(name, 0) + 1
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
                **{f"shown for {name}": n for name, n in sorted(counted.items())},
            }
            places = self._find_places({one.unit for one in own})
            said = [
                Said(place, one.shown_for, one.chance)
                for one in own for place in places.get(one.unit, ())
            ]  # fmt: skip
            looks = read_looks(len(self), self._given != "", said)
            sites = None
            if site is not None:
                site = read_level(site, images)
                sites = images.labels(site)[self._rows]
            aside = [
                self._class_of[one] for one in NO_TAXON
                if one in self._class_of and self.level != _CONTENT
            ]  # fmt: skip
            self.last = told = describe_progress(
                counts, judge(self._desk.learner, looks.draws), self._names, aside,
                goal=goal, unseen=unseen, width=width, site=site or "", sites=sites,
                each_class=each_class, looks=looks, provenance=self._describe_provenance(0),
            ).say(self._tell_answering())  # fmt: skip
            return told

    def _find_places(self, units: Collection[Unit]) -> dict[Unit, list[int]]:
        """Return the places of what was annotated."""
        from bioprobe.store.labels import find_units

        rows_of = find_units(self.store._view.store.given, self._rows, set(units))
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
        from bioprobe.names import suggest

        name = self._read_value(value)
        if name not in self._class_of:
            msg = f"no class {value!r} is known at {self.level}{suggest(value, self.classes)}"
            raise SelectionError(msg)
        return self._class_of[name]

    def _find_place(self, row: object) -> int:
        place = self._place_of.get(row) if isinstance(row, int) else None
        if place is None:
            msg = f"this review has no row {row!r}; see rows in what it shows"
            raise SelectionError(msg)
        return place

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
        from bioprobe.store.labels import find_units, resolve

        log = read_log(self.store.folder)
        if len(log) == self._n_log:
            return
        new = log.annotations[max(self._n_log, 0) :]
        by_id = {one.id: one for one in log.annotations} if any(o.retracts for o in new) else {}
        touched = set()
        for one in new:
            said = one
            while said.retracts and said.retracts in by_id:
                said = by_id[said.retracts]
            if said.level in (self.level, _CONTENT):
                touched.add(said.unit)
        standing = [
            one for one in log.standing
            if one.unit in touched and one.level in (self.level, _CONTENT)
        ]  # fmt: skip
        found = {(one.unit, one.level): one for one in resolve(standing)}
        mine = {one.unit for one in standing if one.by == self.by}
        rows_of = find_units(self.store._view.store.given, self._rows, touched)
        for unit, rows in rows_of.items():
            for row in rows:
                place = self._place_of[row]
                self._take(
                    place, found.get((unit, self.level)), found.get((unit, _CONTENT)),
                    is_mine=unit in mine,
                )  # fmt: skip
        self._n_log = len(log)

    def _take(
        self, place: int, said: Resolved | None, content: Resolved | None, *, is_mine: bool
    ) -> None:
        """Let what people say of a picture count."""
        from bioprobe.content import read_content
        from bioprobe.store.labels import RESOLVED

        pool, given = self._desk.pool, str(self._given[place])
        label, is_checked = given, False
        if said is not None:
            label, is_checked = said.count(given), said.status == RESOLVED
        if content is not None and content.status == RESOLVED and self.level != _CONTENT:
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
            self._since_fit = 0

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

    def _reopen(self, place: int) -> None:
        """Ask for a picture again whose answer was taken back."""
        shown = self._answers.get(place)
        if shown is None:
            return
        from bioprobe.reviewing.desk import Pick

        self._open[place] = Pick(place, shown.shown_for, shown.reason, shown.chance)

    def _describe(self, picks: Sequence[Pick]) -> list[Shown]:
        import numpy as np

        pool, images = self._desk.pool, self.store._view.store.given
        places = np.array([one.place for one in picks], dtype=np.int64)
        best, scores = self._desk.learner.find_best(places, self._k)
        answering = self.answering
        found = []
        for pick, classes, values in zip(picks, best.tolist(), scores.tolist(), strict=True):
            row = int(self._rows[pick.place])
            answers = tuple(
                (pool.names[at], value)
                for at, value in zip(classes, values, strict=True)
                if at >= 0
            )
            own = int(pool.labels[pick.place])
            found.append(
                Shown(
                    row, images.file_names[row], str(images.frame["image_region"].iloc[row]),
                    pool.names[own] if own >= 0 else "",
                    answers[0][0] if answers else "", answers[0][1] if answers else math.nan,
                    answers, answering if answers else "", pick.strategy, pick.reason,
                    pick.chance, uuid.uuid4().hex,
                )
            )  # fmt: skip
        return found

    def _describe_provenance(self, n_shown: int) -> dict[str, Any]:
        view = self.store._view
        return view.describe(
            {
                "level": self.level, "by": self.by, "mix": self._desk.mix,
                "method": self._desk.learner.kind, "answering": self.answering,
                "settings": self._desk.learner.settings, "seed": self._seed[0],
                "n_labelled": int((self._desk.pool.labels >= 0).sum()), "n_shown": n_shown,
            }
        ).to_dict()  # fmt: skip

    def _tell_batch(self, wanted: int, picks: Sequence[Pick]) -> list[Note]:
        said = []
        for name, n in self._desk.short.items():
            why = _WHY_SHORT.get(name, "there are no more")
            said.append(Note(f"{name} lacks {n:,} pictures ({why}); the others fill them"))
        if len(picks) < wanted:
            said.append(Note(f"{len(picks):,} of {wanted:,} pictures are left to show"))
        return [*said, *self._tell_answering()]

    def _tell_answering(self) -> list[Note]:
        learner, answering = self._desk.learner, self.answering
        if answering == learner.kind:
            return []
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

    def _read_answers(
        self, answers: str | Path | pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[int]]:
        """Return answers as annotations are written, with the row of each."""
        from bioprobe.tables import read_table

        written, rows = [], []
        is_table = not isinstance(answers, (Mapping, list, tuple))
        is_file = isinstance(answers, (str, Path))
        listed = (
            read_table(Path(answers), text=_TEXTS) if isinstance(answers, (str, Path)) else answers
        )
        for at, given in enumerate(_list_answers(listed), start=1):
            try:
                said = self._read_answer(given)
                if said is not None and is_table and said["id"]:
                    said["id"] = name_answer(said)
            except (MisuseError, SelectionError) as error:
                msg = f"{answers} line {at + 1}: {error}" if is_file else f"answer {at}: {error}"
                raise type(error)(msg) from error
            if said is not None:
                written.append(said)
                rows.append(int(said["row"]))
        return written, rows

    def _read_answer(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        said = {name: value for name, value in given.items() if not is_hole(value)}
        if not said.get("value") and not said.get("verdict"):
            return None
        row = self._find_row(said)
        place = self._place_of[row]
        level = str(said.get("level", self.level))
        if level not in (self.level, _CONTENT):
            msg = f"this review is of {self.level}, got an answer of {level}; review that level"
            raise MisuseError(msg)
        shown = self._answers.get(place)
        about = {name: said[name] for name in _ABOUT if name in said}
        if shown is not None:
            about = {
                "suggestion": shown.suggestion, "suggested_by": shown.suggested_by,
                "score": shown.score, "shown_for": shown.shown_for, "chance": shown.chance,
            }  # fmt: skip
        verdict = str(said.get("verdict", "is")).strip().replace("_", " ")
        value = str(said.get("value", ""))
        if not value and verdict != "unsure":
            value = str(about.get("suggestion", ""))
            if not value:
                msg = f"{verdict!r} needs a value: nothing was suggested for row {row}"
                raise MisuseError(msg)
        if value:
            value = self._read_value(value)
        if value in NO_TAXON and self.level in RANK_NAMES:
            level = _CONTENT
        return {
            "row": row, "level": level, "value": value, "verdict": verdict, **about,
            "id": str(said.get("id", "")),
            **({"at": said["at"]} if "at" in said else {}),
        }  # fmt: skip

    def _read_value(self, value: str) -> str:
        """Return a name as it is known, in whatever case it is written, or as it is written."""
        from bioprobe.names import unify

        name = unify(value)
        if name in self._class_of:
            return name
        folded = {one.casefold(): one for one in self.classes}
        return folded.get(name.casefold(), name.casefold() if name.casefold() in NO_TAXON else name)

    def _find_row(self, said: Mapping[str, Any]) -> int:
        """Return the row that an answer is of; where it is named twice, both must agree."""
        file = said.get("file_name", said.get("path"))
        if file is None:
            try:
                number = float(str(said.get("row")))
            except ValueError:
                number = math.nan
            if not number.is_integer():
                msg = f"an answer names its picture, by row or file_name; got {said.get('row')!r}"
                raise MisuseError(msg)
            return int(self._rows[self._find_place(int(number))])
        region = str(said.get("image_region", said.get("region", "")))
        row = self._row_of.get((str(file), region))
        if row is None:
            msg = f"this review has no picture {file!r}{f' [{region}]' if region else ''}"
            raise SelectionError(msg)
        return row

    @functools.cached_property
    def _row_of(self) -> dict[tuple[str, str], int]:
        """Row of each picture and region, as answers name it."""
        return number_pictures(self.store._view.store.given, self._rows)


_CONTENT = "content"
# What an answer may say of how it came about.
_ABOUT = ("suggestion", "suggested_by", "score", "shown_for", "chance")
# Columns of a table of answers that are texts whatever stands in them.
_TEXTS = (
    "file_name", "path", "image_region", "region", "level", "value", "verdict", "suggestion",
    "suggested_by", "shown_for", "id", "at",
)  # fmt: skip
_WHY_SHORT = {
    "margin": "nothing answers yet, or nothing is left",
    "disagreement": "the methods agree on the rest, or only one answers",
    "suspected": "no labelled picture is unchecked, or too few teach",
    "confident": "nothing is taken for the class",
    "nearest": "no picture is named, by --like",
}


def _list_answers(given: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401 - a frame, a mapping, a list
    if hasattr(given, "to_dict") and hasattr(given, "columns"):
        return list(given.astype(object).to_dict("records"))
    return [given] if isinstance(given, Mapping) else list(given)


def _seed_of(by: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256(by.encode("utf-8", "surrogatepass")).digest()[:4])


def _find_row(store: EmbeddingStore, picture: int | str) -> int:
    """Return the row of a picture that is named by number or by name."""
    from bioprobe.upkeep import find_paths, find_rows

    if isinstance(picture, int) or picture.isdigit():
        return int(find_rows(store, [int(picture)])[0])
    rows, _, _ = find_paths(store, [picture])
    if not len(rows):
        msg = f"{store.folder} has no picture {picture!r}; name it as answers do, or by its row"
        raise SelectionError(msg)
    return int(rows[0])


def _read_labels(store: Reviews, level: str) -> Names:
    """Return the label that came with each picture, ``""`` for none; what holds no taxon is one."""
    import numpy as np

    from bioprobe.content import read_content
    from bioprobe.options import CONFIRMED

    view = store._view
    images, rows = view.store.given, view.rows
    if view.store.counts == CONFIRMED:
        return np.full(len(rows), "", dtype=object)
    labels = (
        images.labels(level)[rows].copy()
        if level in images.frame.columns
        else np.full(len(rows), "", dtype=object)
    )
    if level in RANK_NAMES and _CONTENT in images.frame.columns:
        contents = images.labels(_CONTENT)[rows]
        for place in np.flatnonzero((labels == "") & (contents != "")).tolist():
            kind = read_content(str(contents[place]))
            if kind in NO_TAXON:
                labels[place] = kind
    return labels


class Reviews(Learns, Corrects):
    """What people are shown, so that what they say helps most."""

    @question
    def review(
        self,
        level: Level = "species",
        *,
        by: Person = None,
        mix: Annotated[
            Mapping[str, float] | str | None,
            Option(
                "What is shown: doubt (least certain, no two alike), margin (least certain), "
                "disagreement (of methods), coverage (most unlike what is labelled), suspected "
                "(wrong labels), audit (drawn at random, for what is said of all pictures), "
                "confident (the surest of one class, --of), nearest (to a picture, --like); each "
                "with its share. [default: doubt=.8,audit=.2]",
                shell=str,
                metavar="NAME=SHARE,…",
            ),
        ] = None,
        batch: Annotated[int, Option("Pictures between which what answers learns.", least=1)] = 20,
        method: Annotated[
            str,
            Option(
                "What answers, and learns: linear; prompt+probe, which starts from the texts of "
                "classes; zeroshot, the texts alone; lda, ridge, knn or centroid. Before two "
                "classes have a picture texts answer, where there are any.",
                choices=REVIEW_METHODS,
                fixed=True,
            ),
        ] = "linear",
        C: Annotated[  # noqa: N803 - scikit-learn's name
            float | None,
            Option("Inverse regularisation of linear and prompt+probe. [default: 100]", ("--C",)),
        ] = None,
        of: Annotated[
            str | None,
            Option(
                "Class that confident is of; by default that which most "
                "waiting pictures are taken for."
            ),
        ] = None,
        like: Annotated[
            int | str | None,
            Option(
                "Row of the store that nearest is of, or the picture as answers name it.",
                shell=str,
                metavar="ROW|PICTURE",
            ),
        ] = None,
        overlap: Annotated[
            float,
            Option(
                "Share of what is shown that somebody else has answered already, so that it can be "
                "told how far people agree.",
                least=0,
                most=1,
            ),
        ] = 0.0,
        k: NumberOfAnswers = 5,
        labels: WhichLabels = None,
        classes: NamedClasses = None,
        taxa: Annotated[Taxa, Without("classes")] = None,
        rank_column: ListColumns = None,
        text_type: Annotated[TextTypeName, Without("classes")] = "taxon_com",
        templates: Templates = "plain",
        seed: Annotated[int, SeedOption("Seed of what is drawn.")] = 0,
    ) -> Review:
        """Begin a review: pictures are proposed, and what is answered is learnt after each batch.

        No picture is encoded, and no text but those of classes that are new to the store.

        Parameters
        ----------
        level : str
            Rank or column that is asked for.
        by : str, optional
            Who answers; by default ``$BIOPROBE_PERSON``, or the name that this machine knows.
        mix : mapping of str to float, or str, optional
            Share of each strategy; see :data:`bioprobe.registry.STRATEGIES`.
        batch : int
            Pictures between which what answers learns.
        method : str
            What answers.
        C : float, optional
            Inverse regularisation of ``linear`` and ``prompt+probe``.
        of : str, optional
            Class that ``confident`` is of.
        like : int or str, optional
            Row that ``nearest`` is of, or the picture, of several regions the first.
        overlap : float
            Share of what is shown that somebody else has answered already.
        k : int
            Answers to each picture.
        labels : {"both", "given", "confirmed"}, optional
            Which labels teach; see :meth:`where`.
        classes, taxa, rank_column, text_type, templates
            Classes that there may be although no picture has them, and how they are written.
        seed : int
            Of what is drawn.

        Returns
        -------
        Review
            ``next()`` shows a batch, ``answer()`` writes what is said of it.

        Raises
        ------
        MisuseError
            If a strategy or an option cannot be.
        SelectionError
            If there is no such level or row, or no image is left.
        ProbeError
            If the method starts from texts and there are none.

        Examples
        --------
        >>> review = store.review("species", by="anna")  # doctest: +SKIP
        >>> batch = review.next()  # doctest: +SKIP
        >>> review.answer([{"row": one.row, "verdict": "is"} for one in batch.pictures])
        ... # doctest: +SKIP
        """
        from bioprobe.face.annotations import _find_person
        from bioprobe.reviewing.desk import read_mix
        from bioprobe.task.target import Target

        if labels == GIVEN:
            msg = "a review learns from what people say: --labels is both or confirmed, got given"
            raise MisuseError(msg)
        shares = read_mix(mix)
        name = Target.of(level, images=self._view.images).name
        chosen = self if labels is None else self.where(labels=labels)
        row = None if like is None else _find_row(chosen._view.store, like)
        settings = {} if C is None else {"C": C}
        if C is not None and method not in {"linear", "prompt+probe"}:
            msg = f"--C is of linear and prompt+probe, got --method {method}; leave it out"
            raise MisuseError(msg)
        written = {
            "classes": classes, "taxa": taxa, "rank_column": rank_column, "text_type": text_type,
            "templates": templates,
        }  # fmt: skip
        known, texts, notes = chosen._find_classes(name, method, shares, written)
        mixed = ", ".join(f"{one} {share:.0%}" for one, share in shares.items())
        said = [
            *self._notes, *notes,
            Note(f"review of {len(chosen):,} pictures at {name}: {mixed}; batches of {batch:,}"),
        ]  # fmt: skip
        return Review(
            chosen, name, by=_find_person(by), mix=shares, batch=batch, method=method,
            settings=settings, texts=texts, names=known, k=k, overlap=overlap, seed=seed, of=of,
            like=row, notes=tuple(said),
        )  # fmt: skip

    def _find_classes(
        self, level: str, method: str, shares: Mapping[str, float], written: Mapping[str, Any]
    ) -> tuple[list[str], ClassTexts | None, list[Note]]:
        """Return the names of classes that are known, their texts where these are wanted."""
        import numpy as np

        from bioprobe.face.taxa import open_list
        from bioprobe.reviewing.learner import ClassTexts

        store = self._view.store
        taxa, classes = written["taxa"], written["classes"]
        named = taxa is not None or classes is not None
        texts = None
        if store.manifest.has_text_tower or named:
            listed = open_list(taxa, written["rank_column"])
            texts = self._write_texts(
                level, listed, written["text_type"], written["templates"], classes
            )
        task = self._task(level, split=None, texts=texts)
        found = task.classes if texts is not None else task.labelled.classes
        names = list(dict.fromkeys(found.short_names))
        n_taught = len({one for one in _read_labels(self, level).tolist() if one})
        others = texts.others if texts is not None else None
        reads = method in {"prompt+probe", "zeroshot"}
        is_start = n_taught < 2 and bool(others)
        wanted = reads or is_start or (named and "disagreement" in shares)
        if not wanted or texts is None or not len(found):
            if reads and not store.manifest.has_text_tower:
                msg = f"{method} reads texts, and the encoder of this store reads none; take linear"
                raise MisuseError(msg)
            if reads:
                msg = f"{method} starts from texts of classes, and none is known; give --taxa or "
                msg += "--classes"
                raise MisuseError(msg)
            return names, None, []
        if not store.manifest.has_text_tower:
            note = "the encoder of this store reads no text: classes are known by name alone"
            return names, None, [Note(note, FACT)]
        embedded = texts.embed(found)
        place_of = {name: at for at, name in enumerate(names)}
        numbers = np.array([place_of[one] for one in found.short_names], dtype=np.int64)
        _, first = np.unique(numbers, return_index=True)
        vectors = np.ascontiguousarray(embedded["texts"][first], dtype=np.float32)
        return names, ClassTexts(vectors, numbers[first], float(embedded["scale"])), []
