"""A sitting: what one person is shown of a store, what they say of it, and what they take back."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.written import list_rows
from bioprobe.result import Notes, Result, Table

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.face.annotations import Corrects
    from bioprobe.types import Rows

_FIRST_FACTS = 3
# What an answer may say of how it came about.
_ABOUT = ("suggestion", "suggested_by", "score", "shown_for", "chance")
# Columns of a table of answers that are texts whatever stands in them.
_TEXTS = (
    "file_name", "path", "image_region", "region", "level", "value", "verdict", "suggestion",
    "suggested_by", "shown_for", "id", "at",
)  # fmt: skip
# Verdicts, and how people write them.
_VERDICTS = {
    "is": "is", "y": "is", "yes": "is", "is not": "is not", "n": "is not", "no": "is not",
    "unsure": "unsure", "u": "unsure",
}  # fmt: skip


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


def count_expected(pictures: Sequence[Shown]) -> float:
    """Return how many are what is suggested of them if their scores are right: the sum of these."""
    return math.fsum(one.score for one in pictures if one.suggestion)


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
    """What one call of :meth:`Sitting.answer` wrote, to be taken back."""

    ids: list[str]
    rows: list[int]


class Sitting:
    """One person before the pictures of a store; a review and a search of one class are each one.

    Several threads may use it.

    Parameters
    ----------
    store : Store
        Whose pictures they are; it writes the annotations.
    level, by : str
        What is asked, and of whom.
    batch : int
        Pictures that are shown together.
    notes : tuple of Note
    """

    # What this is called where something is refused.
    _noun = "sitting"

    def __init__(self, store: Corrects, level: str, *, by: str, batch: int, notes: Notes) -> None:
        self.store, self.level, self.by, self.notes = store, level, by, notes
        #: What it answered last: a batch, what was written, how far it is; None before.
        self.last: Result | None = None
        self._batch = batch
        self._lock = threading.RLock()
        self._rows = store._view.rows
        self._place_of = {row: place for place, row in enumerate(self._rows.tolist())}
        self._shown: dict[int, Shown] = {}
        self._skipped: set[int] = set()
        self._done: list[_Done] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that a person may mean."""
        raise NotImplementedError

    def find_classes(self, start: str) -> list[str]:
        """Return the classes that a person means who writes so."""
        raise NotImplementedError

    def next(self, n: int | None = None) -> Batch:
        """Return the next pictures to look at."""
        raise NotImplementedError

    def answer(
        self, answers: str | Path | pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> Table:
        """Write what this person says of pictures, and learn from it.

        When this returns it is on the disk, as annotations of the store.

        Parameters
        ----------
        answers : str, Path, DataFrame, mapping, or sequence of mappings
            A table, its file, or one or several answers. Each has ``row``, or ``file_name`` and
            ``image_region``, and ``value`` and ``verdict``: ``is`` a class, by default; without a
            value what was suggested; ``is not`` a class, by default what was suggested;
            ``unsure``; ``y``, ``n`` and ``u`` are the same. ``blank`` is a picture of nothing. In a
            search of one class another class says that it is not the one that is sought. One that
            has neither says nothing, and is passed over. With ``id`` the same is written once,
            however often it is sent; of a table it is that of what was shown. What else they say,
            such as ``suggestion``, ``shown_for`` and ``chance``, is taken as it is where the
            picture was not shown by this object itself.

        Returns
        -------
        Table
            One row an annotation, as :meth:`bioprobe.Store.add_annotations` returns it.

        Raises
        ------
        MisuseError
            If one of them cannot be taken; then none is written.
        SelectionError
            If there is no such picture.
        """
        with self._lock:
            said = list(self._read_answers(answers))
            if not said:
                import pandas as pd

                none = pd.DataFrame(columns=["id", "row", "level", "value", "verdict"])
                nothing = "no line says anything: value and verdict are empty"
                self.last = done = Table(none).say([nothing])
                return done
            self.last = done = self.store.add_annotations(said, by=self.by)
            frame = done.to_frame()
            is_new = frame["is_new"].tolist()
            self._skipped.difference_update(self._place_of[one["row"]] for one in said)
            if new := [one for one, counts in zip(said, is_new, strict=True) if counts]:
                ids = frame["id"][frame["is_new"]].tolist()
                self._done.append(_Done(ids, [one["row"] for one in new]))
                self._learn_from(new)
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
            self._forget([self._place_of[row] for row in last.rows])
            named = self._name_pictures(last.rows[:_FIRST_FACTS])
            return taken.say([f"{name} is asked again" for name, _ in named])

    def skip(self, rows: int | Sequence[int]) -> None:
        """Pass over pictures: they are not shown again while this is open.

        Raises
        ------
        SelectionError
            If one is none of its pictures.
        """
        with self._lock:
            places = [self._find_place(row) for row in ([rows] if isinstance(rows, int) else rows)]
            self._skipped.update(places)

    def _learn_from(self, said: Sequence[Mapping[str, Any]]) -> None:
        """Learn from what was written."""
        raise NotImplementedError

    def _forget(self, places: Sequence[int]) -> None:
        """Forget what was said of pictures."""
        raise NotImplementedError

    def _read_answer(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return the level, value and verdict that an answer means, as annotations have them."""
        raise NotImplementedError

    def _count(self, n: int | None) -> int:
        """Return how many pictures are asked for.

        Raises
        ------
        MisuseError
            If it is no whole number above 0.
        """
        wanted = self._batch if n is None else n
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            msg = f"at least one picture is shown, got {wanted!r}; ask for 1 or more"
            raise MisuseError(msg)
        return wanted

    def _read_answers(self, answers: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        """Read answers as annotations are written.

        Yields
        ------
        dict

        Raises
        ------
        MisuseError
            If one of them cannot be taken; it is said which.
        SelectionError
            If there is no such picture.
        """
        from bioprobe.tables import read_table

        place, first = "answer {}", 1
        if isinstance(answers, (str, Path)):
            place, first = f"{answers} line {{}}", 2
            answers = read_table(Path(answers), text=_TEXTS)
        is_table = hasattr(answers, "to_dict") and hasattr(answers, "columns")
        for at, given in enumerate(list_rows(answers), first):
            said = {name: value for name, value in given.items() if not _is_hole(value)}
            if not said.get("value") and not said.get("verdict"):
                continue
            try:
                row, verdict = self._find_row(said), _read_verdict(said)
                about = self._tell_about(said, row)
                read = self._read_answer({**said, **about, "row": row, "verdict": verdict})
            except (MisuseError, SelectionError) as error:
                msg = f"{place.format(at)}: {error}"
                raise type(error)(msg) from error
            read = {"row": row, **about, **read}
            if is_table and "id" in read:
                # A line of a table that comes back twice is one annotation.
                read["id"] = _name_answer(read)
            yield read

    def _tell_about(self, said: Mapping[str, Any], row: int) -> dict[str, Any]:
        """Return how an answer came about: as it was shown here, else as it says itself."""
        shown = self._shown.get(self._place_of[row])
        about = {
            name: getattr(shown, name) if shown else said[name]
            for name in _ABOUT if shown or name in said
        }  # fmt: skip
        return about | {name: said[name] for name in ("id", "at") if name in said}

    def _find_row(self, said: Mapping[str, Any]) -> int:
        """Return the row that an answer is of, by its name where it has one, else by its number."""
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
            named = f"{file!r}{f' [{region}]' if region else ''}"
            msg = f"this {self._noun} has no picture {named}; see file_name in what it shows"
            raise SelectionError(msg)
        return row

    def _find_place(self, row: object) -> int:
        place = self._place_of.get(row) if isinstance(row, int) else None
        if place is None:
            msg = f"this {self._noun} has no row {row!r}; see rows in what it shows"
            raise SelectionError(msg)
        return place

    @functools.cached_property
    def _row_of(self) -> dict[tuple[str, str], int]:
        """Row of each picture and region, as answers name it."""
        return dict(zip(self._name_pictures(self._rows), self._rows.tolist(), strict=True))

    def _name_pictures(self, rows: Sequence[int] | Rows) -> list[tuple[str, str]]:
        """Return the file and region of rows, as answers name them."""
        import numpy as np

        images, asked = self.store._view.store.given, np.asarray(rows, dtype=np.int64)
        regions = images.take(asked, ["image_region"])["image_region"].astype(str)
        return list(zip(images.name_files(asked).tolist(), regions.tolist(), strict=True))


def _is_hole(value: object) -> bool:
    """Tell whether a cell of a table says nothing."""
    return value is None or value == "" or str(value) in {"nan", "<NA>", "NaT"}


def _read_verdict(said: Mapping[str, Any]) -> str:
    """Return the verdict of an answer; without one a value is what the picture is.

    Raises
    ------
    MisuseError
        If it is none.
    """
    given = str(said.get("verdict", "is"))
    verdict = _VERDICTS.get(given.strip().replace("_", " ").casefold())
    if verdict is None:
        msg = f"a verdict is one of is, is not, unsure (or y, n, u), got {given!r}; mend the answer"
        raise MisuseError(msg)
    return verdict


def _name_answer(said: Mapping[str, Any]) -> str:
    """Return the id of what a line of a table says: that of what was shown, with what is said."""
    text = "\0".join(str(said[name]) for name in ("id", "row", "level", "value", "verdict"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
