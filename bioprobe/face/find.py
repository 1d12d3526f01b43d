"""A search of one species: what is shown next, what people say, and how much of it is found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.content import CONTENT, NO_TAXON
from bioprobe.errors import MisuseError
from bioprobe.face.sitting import Batch, Shown, Sitting
from bioprobe.face.written import FOUND
from bioprobe.files import explaining_refusal, read_json, write_text
from bioprobe.names import unify
from bioprobe.options import CONFIRMED, RANK_NAMES
from bioprobe.result import WARNING, Note, Notes, Record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bioprobe.face.annotations import Corrects
    from bioprobe.reviewing.find import Finder
    from bioprobe.store.annotations import Annotation
    from bioprobe.store.view import View

#: What answers, as annotations name it.
BY_HEAD, BY_QUESTION = "find", "search"
_FOLDER = "finds"
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

    __module__ = "bioprobe.face.find"

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


class Find(Sitting):
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

    _noun = "search"

    def __init__(
        self,
        store: Corrects,
        level: str,
        value: str,
        *,
        by: str,
        finder: Finder,
        batch: int,
        recall: float,
        notes: Notes,
    ) -> None:
        super().__init__(store, level, by=by, batch=batch, notes=notes)
        self.value, self._finder, self._recall = value, finder, recall
        self._file = _find_file(store._view, level, value, by)
        self._restore()

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

        wanted = self._count(n)
        with self._lock:
            self._finder.learn(read_verdicts(self.store._view, self.level, self.value))
            chosen = self._finder.propose(wanted, self._skipped)
            self._save()
            rows = self._rows[chosen.places]
            suggested_by = BY_HEAD if self._finder.head is not None else BY_QUESTION
            pictures = []
            for row, (name, region), why, chance, score in zip(
                rows.tolist(), self._name_pictures(rows), chosen.whys, chosen.chances,
                chosen.scores, strict=True,
            ):  # fmt: skip
                reason = _WORDS[why]
                if self._finder.head is None:
                    # A similarity is no probability.
                    reason, score = f"{reason}; similarity {score:.2f}", math.nan
                answers = ((self.value, float(score)),)
                pictures.append(
                    Shown(
                        row=row, file_name=name, image_region=region, label="",
                        suggestion=self.value, score=float(score), answers=answers,
                        suggested_by=suggested_by, shown_for=why, reason=reason,
                        chance=float(chance), id=uuid.uuid4().hex,
                    )
                )  # fmt: skip
            self._shown |= {self._place_of[one.row]: one for one in pictures}
            n_drawn = int(np.isfinite(chosen.chances).sum())
            said = [f"{len(pictures):,} pictures, {n_drawn:,} of them drawn at random"]
            if self._finder.head is None:
                said.append("nothing is answered yet: they are the nearest to the question")
            self.last = batch = Batch(
                tuple(pictures), self.level, self._describe(len(pictures)), tuple(map(Note, said))
            )
            return batch

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

    def _learn_from(self, said: Sequence[Mapping[str, Any]]) -> None:
        from bioprobe.reviewing.find import IS, IS_NOT, UNSURE

        verdicts = {"is": IS, "is not": IS_NOT, "unsure": UNSURE}
        places = [self._place_of[one["row"]] for one in said]
        told = [
            verdicts[one["verdict"]] if one["value"] in ("", self.value) else IS_NOT for one in said
        ]
        self._finder.answer(places, told)
        self._save()

    def _forget(self, places: Sequence[int]) -> None:  # noqa: ARG002 - the finder knows them
        self._finder.undo()
        self._save()

    def _read_answer(self, said: Mapping[str, Any]) -> dict[str, Any]:

        verdict, value = str(said["verdict"]), unify(str(said.get("value", ""))).strip()
        if value.casefold() in ("", self.value.casefold()) or self.level == FOUND:
            # Of what was sought by words another word says nothing but that it is not.
            if value and value.casefold() != self.value.casefold():
                verdict = "is not" if verdict == "is" else verdict
            value = self.value
        elif verdict == "is not":
            msg = (
                f"{value!r} is not what is sought, {self.value!r}; that it is not {value!r} says "
                "nothing of it: say is not alone, or what it is"
            )
            raise MisuseError(msg)
        level = self.level
        if value.casefold() in NO_TAXON and level in RANK_NAMES:
            value, level = value.casefold(), CONTENT
        value = "" if verdict == "unsure" else value
        suggestion = said.get("suggestion", self.value)
        return {"level": level, "value": value, "verdict": verdict, "suggestion": suggestion}

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
        kept = {"pool": _hash_pool(self.store._view), **self._finder.save()}
        with explaining_refusal(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._file, json.dumps(kept))

    def _restore(self) -> None:

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


def read_verdicts(view: View, level: str, value: str) -> npt.NDArray[np.int8]:
    """Return what is known of each picture: of what people said the last counts.

    The labels that came with the pictures count too, where labels that people confirmed are not
    asked for alone; another class of the same rank or column says that it is not. In the column of
    what is sought another word says nothing.
    """
    import numpy as np

    from bioprobe.reviewing.find import IS, IS_NOT, UNSEEN, UNSURE
    from bioprobe.store.annotations import read_log
    from bioprobe.store.labels import find_unit_rows

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
    for unit, rows in find_unit_rows(given, view.rows, last).items():
        verdicts[[place_of[row] for row in rows if row in place_of]] = last[unit]
    return verdicts


def _read_said(one: Annotation, level: str, value: str) -> str:
    """Return what an annotation says of what is sought, ``""`` where it says nothing of it."""
    if one.level == CONTENT and level in RANK_NAMES:
        return "is not" if one.verdict == "is" and one.value in NO_TAXON else ""
    if one.level != level:
        return ""
    if one.verdict == "unsure":
        return one.verdict if one.suggestion in ("", value) else ""
    if one.value == value:
        return one.verdict
    return "is not" if one.verdict == "is" and level != FOUND else ""


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
