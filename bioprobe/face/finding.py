"""One species is sought: what is shown next, what people say of it, and how much of it is found."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SelectionError, SourceError
from bioprobe.face.annotations import Corrects, Person
from bioprobe.face.answered import NO_TAXON, is_hole, name_answer, number_pictures
from bioprobe.face.reviewing import Batch, Shown
from bioprobe.options import RANK_NAMES, Option, SeedOption, WhichLabels, question
from bioprobe.result import WARNING, Note, Notes, Record, Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from bioprobe.index import Terms
    from bioprobe.reviewing.find import Finder
    from bioprobe.store.annotations import Annotation
    from bioprobe.store.view import View

#: Column of what was sought by a text that is no class of a rank.
FOUND = "found"
#: What answers, as annotations name it.
BY_HEAD, BY_QUESTION = "find", "search"
_FOLDER = "finds"
_PICTURES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"}
# Pictures in a row from the top of which none may be it before a search is called done.
_DRY = 20
_WORDS = {
    "top": "the likeliest",
    "margin": "the least certain",
    "band": "of the band that you chose",
    "audit": "drawn at random, for the number in all",
}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Progress(Record):
    """How far the search of one class is.

    Parameters
    ----------
    value : str
        What is sought.
    n_images : int
        Pictures that are searched.
    n_looked : int
        Of which somebody said something.
    n_drawn : int
        Of these, drawn at random and answered.
    n_found : int
        Of those that were looked at, it.
    n_estimated : float
        Of all, it.
    n_low, n_high : float
        Interval of 95% of their number, which holds at every look together.
    recall, recall_low, recall_high : float
        Share of them that was found, and its interval; not a number where there may be none.
    n_needed : int
        Random draws, none of them it, after which the lower end reaches the wished share.
    stop : {"", "estimate", "sure"}
        Whether to stop: the lower end of the interval reaches the wished share (``sure``); or the
        estimate does, and the last twenty from the top were none (``estimate``).
    notes : tuple of Note
    """

    __module__ = "bioprobe.face.finding"

    value: str
    n_images: int
    n_looked: int
    n_drawn: int
    n_found: int
    n_estimated: float
    n_low: float
    n_high: float
    recall: float
    recall_low: float
    recall_high: float
    n_needed: int
    stop: str
    notes: Notes = ()


class Find:
    """A search of one class by one person: what is shown next, and what they say of it.

    Make one with :meth:`bioprobe.Store.find`. Several threads may use it. What is answered is on
    the disk at once, as annotations; a search of the same class by the same person goes on where
    it was left, also in another process.

    Parameters
    ----------
    store : Store
        Whose pictures are searched; it writes the annotations.
    level, value : str
        What is said of those that are it.
    by : str
        Who answers.
    finder : Finder
    batch : int
        Pictures that are shown together.
    recall : float
        Share of all that is to be found.
    notes : tuple of Note
    """

    def __init__(
        self,
        store: Finds,
        level: str,
        value: str,
        *,
        by: str,
        finder: Finder,
        batch: int,
        recall: float,
        notes: Notes,
    ) -> None:
        self.store, self.level, self.value, self.by, self.notes = store, level, value, by, notes
        #: What it answered last: a batch, what was written, how far it is; None before.
        self.last: Any = None
        self._finder, self._batch, self._recall = finder, batch, recall
        self._lock = threading.RLock()
        self._rows = store._view.rows
        self._place_of = {row: place for place, row in enumerate(self._rows.tolist())}
        self._shown: dict[int, Shown] = {}
        self._skipped: set[int] = set()
        self._done: list[list[str]] = []
        self._file = _find_file(store._view, level, value, by)
        self._restore()

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        finder = self._finder
        return (
            f"<Find of {self.value!r} among {len(self):,} pictures by {self.by}: "
            f"{finder.n_found:,} found, {finder.n_looked:,} looked at>"
        )

    @property
    def rows(self) -> list[int]:
        """Rows of the store that are it by now, ascending."""
        from bioprobe.reviewing.find import IS

        found: list[int] = sorted(self._rows[self._finder.verdicts == IS].tolist())
        return found

    @property
    def classes(self) -> tuple[str, ...]:
        """The one class that is sought."""
        return (self.value,)

    def find_classes(self, start: str) -> list[str]:
        """Return what is sought, where a person says ``y`` or how it begins."""
        wanted = start.casefold()
        begins = wanted in {"y", "yes"} or self.value.casefold().startswith(wanted)
        return [self.value] if wanted and begins else []

    def next(self, n: int | None = None) -> Batch:
        """Return the next pictures to look at, the likeliest first; fewer where fewer are left.

        Parameters
        ----------
        n : int, optional
            How many; by default a batch.

        Raises
        ------
        MisuseError
            If n is no whole number above 0.
        StoreError
            If the disk refuses.
        """
        import numpy as np

        wanted = self._batch if n is None else n
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            msg = f"at least one picture is shown, got {wanted!r}"
            raise MisuseError(msg)
        with self._lock:
            self._finder.learn(_read_verdicts(self.store._view, self.level, self.value))
            chosen = self._finder.propose(wanted, self._skipped)
            self._save()
            images = self.store._view.store.given
            regions = images.column("image_region").to_numpy(dtype=object)
            suggested_by = BY_HEAD if self._finder.head is not None else BY_QUESTION
            pictures = []
            for place, why, chance, score in zip(
                chosen.places.tolist(), chosen.whys, chosen.chances, chosen.scores, strict=True
            ):
                row = int(self._rows[place])
                reason = _WORDS[why]
                if self._finder.head is None:
                    # A similarity is no probability.
                    reason, score = f"{reason}; similarity {score:.2f}", math.nan
                answers = ((self.value, float(score)),)
                pictures.append(
                    Shown(
                        row=row, file_name=images.file_names[row], image_region=str(regions[row]),
                        label="", suggestion=self.value, score=float(score), answers=answers,
                        suggested_by=suggested_by, shown_for=why, reason=reason,
                        chance=float(chance), id=uuid.uuid4().hex,
                    )
                )  # fmt: skip
            self._shown |= {self._place_of[one.row]: one for one in pictures}
            n_drawn = int(np.isfinite(chosen.chances).sum())
            said = [f"{len(pictures):,} pictures, {n_drawn:,} of them drawn at random"]
            if self._finder.head is None:
                said.append("nothing is answered yet: they are the nearest to the question")
            self.last = Batch(
                tuple(pictures), self.level, self._describe(len(pictures)), tuple(map(Note, said))
            )
            return self.last  # type: ignore[no-any-return]

    def answer(
        self, answers: str | Path | pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> Table:
        """Write what this person says of pictures, and rank the rest anew.

        When this returns it is on the disk, as annotations of the store.

        Parameters
        ----------
        answers : str, Path, DataFrame, mapping, or sequence of mappings
            A table, or its file. Each has ``row``, or ``file_name`` and ``image_region``, and
            ``verdict``: ``is`` it, ``is not``, or ``unsure``; ``y``, ``n`` and ``u`` are the same.
            A ``value`` without a verdict is a class that it is: what is sought, or another one,
            which says that it is not. One that has neither is passed over.

        Returns
        -------
        Table
            One row an annotation, as :meth:`bioprobe.Store.add_annotations` returns it.

        Raises
        ------
        MisuseError
            If one of them cannot be taken; then none is written.
        SelectionError
            If the search has no such picture.
        """
        from bioprobe.reviewing.find import IS, IS_NOT, UNSURE

        with self._lock:
            listed = self._read_answers(answers)
            if not listed:
                import pandas as pd

                none = pd.DataFrame(columns=["id", "row", "level", "value", "verdict"])
                self.last = Table(none).say(["no line says anything: verdict is empty"])
                return self.last  # type: ignore[no-any-return]
            self.last = done = self.store.add_annotations(listed, by=self.by)
            frame = done.to_frame()
            self._done.append(frame["id"][frame["is_new"]].tolist())
            verdicts = {"is": IS, "is not": IS_NOT, "unsure": UNSURE}
            places = [self._place_of[int(one["row"])] for one in listed]
            told = [
                verdicts[one["verdict"]] if one["value"] in ("", self.value) else IS_NOT
                for one in listed
            ]
            self._finder.answer(places, told)
            self._skipped -= set(places)
            self._save()
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
            ids = self._done.pop()
            self._finder.undo()
            taken = self.store.retract(ids, by=self.by) if ids else Table(pd.DataFrame())
            self._save()
            return taken

    def skip(self, rows: int | Sequence[int]) -> None:
        """Pass over pictures: this search does not show them again while it is open.

        Raises
        ------
        SelectionError
            If one is none of its pictures.
        """
        with self._lock:
            self._skipped |= {
                self._find_place(row) for row in ([rows] if isinstance(rows, int) else rows)
            }

    def progress(self) -> Progress:
        """Say how much of it is found, by the random draws and by the head, and whether to stop.

        Returns
        -------
        Progress
        """
        import numpy as np

        from bioprobe.reviewing.find import IS

        with self._lock:
            finder = self._finder
            total = finder.count()
            recall, low, high = total.recall
            recent = finder.tops[-_DRY:]
            is_dry = len(recent) == _DRY and not (finder.verdicts[recent] == IS).any()
            stop = ""
            if finder.n_found and low >= self._recall:
                stop = "sure"
            elif finder.n_found and recall >= self._recall and is_dry:
                stop = "estimate"
            needed = finder.count_needed(self._recall)
            told = Progress(
                self.value, len(self), finder.n_looked, finder.n_drawn, total.n_found,
                round(total.estimate, 2), total.low, total.high,
                float(np.round(recall, 4)), float(np.round(low, 4)), float(np.round(high, 4)),
                needed, stop,
            )  # fmt: skip
            self.last = told = dataclasses.replace(told, notes=self._tell(told))
            return told

    def _tell(self, progress: Progress) -> Notes:
        found, looked = progress.n_found, progress.n_looked
        about = (
            f"in all about {progress.n_estimated:.0f} [{progress.n_low:.0f}, "
            f"{progress.n_high:.0f}] of {len(self):,}"
        )
        if found:
            about += (
                f", so that {progress.recall:.0%} are found [{progress.recall_low:.0%}, "
                f"{progress.recall_high:.0%}]"
            )
        said = [
            Note(
                f"{found:,} of {looked:,} pictures that were looked at are {self.value!r}; "
                f"{about}; the intervals hold at every look"
            )
        ]
        wished = f"{self._recall:.0%}"
        if progress.stop == "sure":
            said.append(Note(f"{wished} or more are found, which is sure: you may stop"))
        elif progress.stop == "estimate":
            said.append(
                Note(
                    f"the last {_DRY} of the likeliest were none, and {wished} seem to be found: "
                    "you may stop"
                )
            )
        if found and progress.stop != "sure":
            said.append(
                Note(
                    f"to be sure of {wished} takes {progress.n_needed:,} random draws more, none "
                    "of them it (--mix audit=1)"
                )
            )
        waiting = self._finder.n_waiting
        if waiting:
            text = f"{waiting:,} pictures were drawn at random and are not answered; until they are"
            said.append(Note(f"{text}, later draws do not count", WARNING))
        return tuple(said)

    def _find_place(self, row: object) -> int:
        place = self._place_of.get(row) if isinstance(row, int) else None
        if place is None:
            msg = f"this search has no row {row!r}; see rows in what it shows"
            raise SelectionError(msg)
        return place

    def _read_answers(
        self, answers: str | Path | pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Return answers as annotations are written."""
        from bioprobe.tables import read_table

        listed: Any = answers
        place = "answer {}"
        if isinstance(answers, (str, Path)):
            listed, place = read_table(Path(answers), text=_TEXTS), f"{answers} line {{}}"
        if hasattr(listed, "to_dict") and hasattr(listed, "columns"):
            listed = listed.astype(object).to_dict("records")
        first = 2 if isinstance(answers, (str, Path)) else 1
        written = []
        for at, one in enumerate([listed] if isinstance(listed, Mapping) else listed, first):
            said = {name: value for name, value in one.items() if not is_hole(value)}
            try:
                read = self._read_answer(said)
            except (MisuseError, SelectionError) as error:
                msg = f"{place.format(at)}: {error}"
                raise type(error)(msg) from error
            if read is not None:
                if listed is not answers and "id" in read:
                    # A line of a table that comes back twice is one annotation.
                    read["id"] = name_answer(read)
                written.append(read)
        return written

    def _find_row(self, said: Mapping[str, Any]) -> int:
        """Return the row that an answer is of, by its name where it has one, else by its number."""
        file = said.get("file_name", said.get("path"))
        if file is None:
            number = _read_whole(said.get("row"))
            if number is None:
                msg = f"an answer names its picture, by row or file_name; got {said.get('row')!r}"
                raise MisuseError(msg)
            return number
        region = str(said.get("image_region", said.get("region", "")))
        row = self._row_of.get((str(file), region))
        if row is None:
            msg = f"this search has no picture {file!r}{f' [{region}]' if region else ''}"
            raise SelectionError(msg)
        return row

    def _read_answer(self, said: Mapping[str, Any]) -> dict[str, Any] | None:
        from bioprobe.names import unify

        verdict = str(said.get("verdict", "")).strip().replace("_", " ").casefold()
        verdict = {"y": "is", "yes": "is", "n": "is not", "no": "is not", "u": "unsure"}.get(
            verdict, verdict
        )
        value = unify(str(said.get("value", ""))).strip()
        if not verdict and not value:
            return None
        if verdict not in {"", "is", "is not", "unsure"}:
            msg = f"a verdict is is, is not or unsure (y, n, u), got {said.get('verdict')!r}"
            raise MisuseError(msg)
        row = self._find_row(said)
        place = self._find_place(row)
        verdict = verdict or "is"
        if value.casefold() in ("", self.value.casefold()) or self.level == FOUND:
            # Of what was sought by words another word says nothing but that it is not.
            if value and value.casefold() != self.value.casefold():
                verdict = "is not" if verdict == "is" else verdict
            value = self.value
        elif verdict == "is not":
            msg = f"{value!r} is not what is sought, {self.value!r}; that it is not says nothing"
            raise MisuseError(msg)
        level = self.level
        if value.casefold() in NO_TAXON and level in RANK_NAMES:
            value, level = value.casefold(), "content"
        shown = self._shown.get(place)
        about = {
            name: said[name]
            for name in ("suggestion", "suggested_by", "score", "shown_for", "chance", "at", "id")
            if name in said
        }
        if shown is not None:
            about |= {
                "suggestion": shown.suggestion, "suggested_by": shown.suggested_by,
                "score": shown.score, "shown_for": shown.shown_for, "chance": shown.chance,
            }  # fmt: skip
        about.setdefault("suggestion", self.value)
        written = "" if verdict == "unsure" else value
        return {"row": row, "level": level, "value": written, "verdict": verdict, **about}

    @functools.cached_property
    def _row_of(self) -> dict[tuple[str, str], int]:
        """Row of each picture and region, as answers name it."""
        return number_pictures(self.store._view.store.given, self._rows)

    def _describe(self, n_shown: int) -> dict[str, Any]:
        finder = self._finder
        told = {
            "level": self.level, "value": self.value, "by": self.by, "mix": finder.mix,
            "band": finder.band, "n_shown": n_shown, "n_looked": finder.n_looked,
            "n_found": finder.n_found,
        }  # fmt: skip
        return self.store._view.describe(told).to_dict()

    def _save(self) -> None:
        """Keep the random draws, so that another process goes on with them."""
        from bioprobe.files import explaining_refusal, write_text

        kept = {"pool": _hash_pool(self.store._view), **self._finder.save()}
        with explaining_refusal(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._file, json.dumps(kept))

    def _restore(self) -> None:
        from bioprobe.files import read_json

        if not self._file.is_file():
            return
        kept = read_json(self._file, dict)
        if kept.get("pool") != _hash_pool(self.store._view):
            text = (
                "the random draws of before were of other pictures and do not count any more; what "
                "was answered does"
            )
            self.notes = (*self.notes, Note(text, WARNING))
            return
        self._finder.restore(kept)


class Finds(Corrects):
    """What people seek in a store."""

    @question
    def find(
        self,
        sought: Annotated[
            str | Path | int,
            Option(
                "Find one species: a text, a picture file, or a row by its number. What is shown "
                "first is the nearest to it; then a head of this one class learns from each batch.",
                ("--find",),
                shell=str,
                metavar="TEXT|FILE|ROW",
            ),
        ],
        *,
        level: Annotated[
            str,
            Option(
                "What is said of those that are it: a rank, or a column of the image table.",
                ("--level", "--rank", "-l"),
                RANK_NAMES,
            ),
        ] = FOUND,
        value: Annotated[
            str | None,
            Option(
                "Class that is written, where it is not the text itself. At a rank a text that is "
                "a common name becomes the scientific one that the store knows it by.",
                metavar="CLASS",
            ),
        ] = None,
        by: Person = None,
        mix: Annotated[
            Mapping[str, float] | str | None,
            Option(
                "What is shown: top (the likeliest), margin (the least certain), band (see "
                "--band), audit (drawn at random, for the number in all); each with its share. By "
                "default from the top, with the more random draws, 5% to 50%, the less the top "
                "yields.",
                shell=str,
                metavar="NAME=SHARE,…",
            ),
        ] = None,
        band: Annotated[
            tuple[float, float] | str | None,
            Option(
                "Show pictures that have a probability between these two, too; half of them, where "
                "--mix does not say.",
                shell=str,
                metavar="LOW,HIGH",
            ),
        ] = None,
        batch: Annotated[int, Option("Pictures that are shown together.", least=1)] = 20,
        recall: Annotated[
            float,
            Option("Share of all that is to be found before it is said to stop.", least=0, most=1),
        ] = 0.9,
        labels: WhichLabels = None,
        seed: Annotated[int, SeedOption("Seed of what is drawn.")] = 0,
    ) -> Find:
        """Begin to look for one species, from one question and without labels.

        Pictures are shown, the likeliest first; a person says which of them are it; after each
        batch a head of one class, with all unlabelled pictures as weak negatives, ranks the rest
        anew. Some pictures are drawn at random with known chances, and say how many there are in
        all.

        Parameters
        ----------
        sought : str, Path or int
            A text; a picture file; or a row of the store, as a number or its digits.
        level : str
            Rank or column that is written. By default ``found``, a column of its own.
        value : str, optional
            Class that is written; by default the text, and of a picture or row its name.
        by : str, optional
            Who answers; by default ``$BIOPROBE_PERSON``, or the name that this machine knows.
        mix : mapping of str to float, or str, optional
            Shares of ``top``, ``margin``, ``band`` and ``audit``.
        band : (float, float) or str, optional
            Lower and upper probability.
        batch : int
            Pictures that are shown together.
        recall : float
            Share of all that is to be found.
        labels : {"both", "given", "confirmed"}, optional
            Whether labels at that level that came with the pictures count; what people said does.
        seed : int
            Of what is drawn.

        Returns
        -------
        Find
            ``next()`` shows a batch, ``answer()`` writes what is said of it, ``progress()`` says
            how much is found.

        Raises
        ------
        MisuseError
            If nothing says which class is written, or shares or a band cannot be.
        SelectionError
            If there is no such level, or no image is left.
        SourceError
            If there is no such picture.

        References
        ----------
        perch-hoplite, agile modelling: one question, search, label, a small classifier, again.

        Examples
        --------
        >>> find = store.find("pangolin", by="anna")  # doctest: +SKIP
        >>> batch = find.next()  # doctest: +SKIP
        >>> find.answer([{"row": batch.rows[0], "verdict": "is"}])  # doctest: +SKIP
        >>> find.progress().recall_low  # doctest: +SKIP
        """
        from bioprobe.face.annotations import _find_person
        from bioprobe.index import compose_question
        from bioprobe.reviewing.find import Finder
        from bioprobe.reviewing.find_head import PICTURE_WEIGHT, TEXT_WEIGHT
        from bioprobe.store.view import View

        chosen = self if labels is None else self.where(labels=labels)
        view = View.of(chosen._view)
        terms, words = _read_sought(view, sought)
        where = self._find_level(level)
        named = _name_class(view, where, value, words)
        asked = compose_question(view.store, self._texts, terms)
        finder = Finder(
            view, asked.vector[0], _read_verdicts(view, where, named), mix=_read_mix(mix),
            band=_read_band(band), seed=seed,
            question_weight=TEXT_WEIGHT if len(terms.texts) else PICTURE_WEIGHT,
        )  # fmt: skip
        said = [
            *chosen._notes,
            Note(
                f"looking for {asked.text} among {len(view):,} pictures; written as {where} {named}"
            ),
        ]
        if finder.n_looked:
            said.append(
                Note(f"{finder.n_looked:,} of them are known already, {finder.n_found:,} are it")
            )
        return Find(
            chosen, where, named, by=_find_person(by), finder=finder, batch=batch, recall=recall,
            notes=tuple(said),
        )  # fmt: skip

    def _find_level(self, level: str) -> str:
        """Return a rank or column, or the column of what is sought, which need not be there."""
        from bioprobe.images.image_table import read_level

        return level if level == FOUND else read_level(level, self._view.store.given)


_TEXTS = (
    "file_name", "path", "image_region", "region", "level", "value", "verdict", "suggestion",
    "suggested_by", "shown_for", "id", "at",
)  # fmt: skip


def _read_whole(given: object) -> int | None:
    try:
        number = float(str(given))
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _read_sought(view: View, sought: str | Path | int) -> tuple[Terms, str]:
    """Return what is sought as terms of a question, and the words that name it, if it has some."""
    from bioprobe.index import Terms
    from bioprobe.upkeep import find_rows

    text = str(sought)
    if isinstance(sought, int) or (text.strip().isdigit() and not os.path.lexists(text)):
        row = int(text)
        find_rows(view.store, [row])
        return Terms(rows=[row]), ""
    if isinstance(sought, Path) or os.path.lexists(text):
        return Terms(images=[Path(text)]), ""
    if Path(text).suffix.casefold() in _PICTURES:
        msg = f"there is no picture {text}; what is sought is a text, a picture file or a row"
        raise SourceError(msg)
    if not text.strip():
        msg = "nothing is sought; give a text, a picture file, or a row of the store"
        raise MisuseError(msg)
    return Terms(texts=[text]), text


def _name_class(view: View, level: str, value: str | None, words: str) -> str:
    """Return the class that is written.

    Raises
    ------
    MisuseError
        If nothing says which.
    """
    from bioprobe.names import unify

    named = unify(value or words).strip()
    if not named:
        msg = (
            "say what those that are like the picture are called: --value CLASS, such as --value "
            "pangolin"
        )
        raise MisuseError(msg)
    if level not in RANK_NAMES or value:
        return named
    from bioprobe.taxonomy import RANKS, Rank, Taxonomy
    from bioprobe.zeroshot.added_taxa import list_known

    known = Taxonomy.merge(one.taxon for one in list_known(view.store))
    depth = RANKS.index(Rank(level))
    found = {taxon.lineage[depth] for taxon in known.find_listed(named) if taxon.depth >= depth}
    found |= {one for one in set(view.labels(level).tolist()) if one.casefold() == named.casefold()}
    if len(found - {""}) != 1:
        what = "several classes" if found else "no class that this store knows"
        msg = (
            f"{named!r} names {what} at {level}; say which is written: --value CLASS, or leave "
            "--level out, and it is written as found"
        )
        raise MisuseError(msg)
    return found.pop()


def _read_verdicts(view: View, level: str, value: str) -> npt.NDArray[np.int8]:
    """Return what is known of each picture: of what people said the last counts.

    The labels that came with the pictures count too, where labels that people confirmed are not
    asked for alone; another class of the same rank or column says that it is not. In the column of
    what is sought another word says nothing.
    """
    import numpy as np

    from bioprobe.options import CONFIRMED
    from bioprobe.reviewing.find import IS, IS_NOT, UNSEEN, UNSURE
    from bioprobe.store.annotations import read_log
    from bioprobe.store.labels import find_units

    verdicts = np.full(len(view), UNSEEN, dtype=np.int8)
    given = view.store.given
    if level in given.columns and view.store.counts != CONFIRMED:
        labels = given.labels(level)[view.rows]
        known = labels != ""
        verdicts[known] = np.where(labels[known] == value, IS, IS_NOT)
    codes = {"is": IS, "is not": IS_NOT, "unsure": UNSURE}
    last = {
        one.unit: codes[said]
        for one in read_log(view.folder).standing
        if (said := _read_said(one, level, value))
    }
    place_of = {row: place for place, row in enumerate(view.rows.tolist())}
    for unit, rows in find_units(given, view.rows, last).items():
        verdicts[[place_of[row] for row in rows if row in place_of]] = last[unit]
    return verdicts


def _read_said(one: Annotation, level: str, value: str) -> str:
    """Return what an annotation says of what is sought, ``""`` where it says nothing of it."""
    if one.level == "content" and level in RANK_NAMES:
        return "is not" if one.verdict == "is" and one.value in NO_TAXON else ""
    if one.level != level:
        return ""
    if one.verdict == "unsure":
        return one.verdict if one.suggestion in ("", value) else ""
    if one.value == value:
        return one.verdict
    return "is not" if one.verdict == "is" and level != FOUND else ""


def _read_mix(given: Mapping[str, float] | str | None) -> dict[str, float] | None:
    """Read shares such as ``top=.7,audit=.3``; a name alone is all of it."""
    if given is None or isinstance(given, Mapping):
        return None if given is None else dict(given)
    shares = {}
    for part in given.split(","):
        name, between, share = part.strip().partition("=")
        try:
            shares[name.strip()] = float(share) if between else 1.0
        except ValueError:
            msg = f"a mix gives each its share, such as top=.7,audit=.3; got {part.strip()!r}"
            raise MisuseError(msg) from None
    return shares


def _read_band(given: tuple[float, float] | str | None) -> tuple[float, float] | None:
    if given is None:
        return None
    parts = given.split(",") if isinstance(given, str) else list(given)
    try:
        low, high = (float(one) for one in parts)
    except ValueError:
        msg = f"a band is two probabilities, the lower first, such as 0.2,0.6; got {given!r}"
        raise MisuseError(msg) from None
    return low, high


def _hash_pool(view: View) -> str:
    """Return what stands for the pictures that are searched, in their order."""
    digest = hashlib.sha256()
    for content in view.store.given.contents[view.rows].tolist():
        digest.update(f"{content}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _find_file(view: View, level: str, value: str, by: str) -> Path:
    """Return where the random draws of a search are kept."""
    from bioprobe.store.annotations import FOLDER_NAME

    text = "\0".join((level, value, by))
    name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return view.folder / FOLDER_NAME / _FOLDER / f"{name}.json"
