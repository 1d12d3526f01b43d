"""What every answer has: what is to be said of it, a line about it, and a table."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pandas as pd

FACT, WARNING, PROBLEM = "fact", "warning", "problem"
# Rows of a table that a notebook shows.
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Note:
    """Something to be said of an answer, in one sentence.

    Parameters
    ----------
    text : str
        For people.
    kind : {"fact", "warning", "problem"}
        A fact or a figure; what may make it wrong; what was lost or failed, which a command says
        even when it is told to be quiet.
    is_aside : bool
        Whether it is of the store that was asked, and says nothing of what came out.
    """

    text: str
    kind: str = FACT
    is_aside: bool = False

    def __str__(self) -> str:
        return self.text


Notes = tuple[Note, ...]
# Arrays of one length, or lists.
Columns = Mapping[str, Any]


def count(n: int, one: str, many: str = "") -> str:
    """Return how many there are, as a sentence says it.

    Examples
    --------
    >>> count(1, "picture"), count(1_200, "picture"), count(2, "person", "people")
    ('1 picture', '1,200 pictures', '2 people')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def name_some(names: Iterable[object], most: int = 3) -> str:
    """Return the first of several names, and how many more there are, each once.

    Examples
    --------
    >>> name_some("abcde"), name_some(["a", "b", "a"])
    ('a, b, c and 2 more', 'a, b')
    """
    listed = list(dict.fromkeys(map(str, names)))
    shown = ", ".join(listed[:most])
    return f"{shown} and {len(listed) - most:,} more" if len(listed) > most else shown


def say_time(time: str) -> str:
    """Return an ISO 8601 time as people write it, by the clock of this machine.

    Examples
    --------
    >>> say_time("2026-11-29T21:13:05")
    '29 Nov 2026 21:13'
    """
    there = datetime.datetime.fromisoformat(time).astimezone()
    return f"{there.day} {there:%b %Y %H:%M}"


class Result:
    """Base of what a question returns: a frozen dataclass with ``notes`` and ``to_frame()``."""

    notes: Notes

    def to_frame(self) -> pd.DataFrame:
        """Return the answer as a table."""
        raise NotImplementedError

    def to_columns(self, *, short: bool = False) -> Columns | None:
        """Return the same table by column, where no frame is needed to make it; else None.

        To load the library of frames takes longer than most answers.

        Parameters
        ----------
        short : bool
            As it is read in a terminal; see :meth:`to_lines`.
        """
        _ = short
        return None

    def iter_tables(self) -> Iterator[pd.DataFrame | Columns]:
        """Return the table in parts, one below the other, so that a large one is never whole."""
        columns = self.to_columns()
        yield self.to_frame() if columns is None else columns

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the table as it is read in a terminal, where that is less than all of it."""
        return self.to_frame() if frame is None else frame

    def say(self, notes: Iterable[Note | str]) -> Self:
        """Return the same answer with further notes.

        Parameters
        ----------
        notes : iterable of Note or str
            A text is a fact.
        """
        new = (one if isinstance(one, Note) else Note(one) for one in notes)
        changed: Any = dataclasses.replace(self, notes=(*self.notes, *new))  # type: ignore[type-var]
        return changed  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        told = (one for one in self.notes if not one.is_aside)
        said = next(told, None) or count(len(self.to_frame()), "row")
        return f"<{type(self).__name__}: {said}>"

    def _repr_html_(self) -> str:
        """Show the notes and the first rows in a notebook."""
        import html

        frame = self.to_frame()
        said = "".join(f"<li>{html.escape(str(note))}</li>" for note in self.notes)
        rest = f"<p>… {len(frame) - _SHOWN:,} more rows</p>" if len(frame) > _SHOWN else ""
        return f"<ul>{said}</ul>{frame.head(_SHOWN).to_html(index=False)}{rest}"


def read_fields(found: Result) -> dict[str, Any]:
    """Return the fields of a result by name, to make one of its face of them."""
    fields: Any = dataclasses.fields(found)  # type: ignore[arg-type]
    return {field.name: getattr(found, field.name) for field in fields}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table(Result):
    """An answer that is a table and no more.

    Parameters
    ----------
    frame : DataFrame
        The table.
    provenance : dict
        What it was computed from, JSON-ready; empty where it lists what is there.
    notes : tuple of Note
        What is to be said of it.
    """

    frame: pd.DataFrame
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.frame


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Listing(Result):
    """An answer that lists plain values and no more.

    Parameters
    ----------
    columns : mapping of str to list
        The table by column.
    notes : tuple of Note
        What is to be said of it.
    """

    columns: Columns
    notes: Notes = ()

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """The table."""
        import pandas as pd

        return pd.DataFrame(dict(self.columns))

    def to_columns(self, *, short: bool = False) -> Columns:
        """Return the table by column."""
        _ = short
        return self.columns

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.frame


class Record(Result):
    """Base of an answer that is one row: its fields, without the notes."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        fields: Any = self
        names = [one.name for one in dataclasses.fields(fields) if one.name != "notes"]
        values = {name: getattr(self, name) for name in names}
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}

    def __repr__(self) -> str:
        told = (one for one in self.notes if not one.is_aside)
        said = next(told, None) or next(iter(self.to_dict().values()))
        return f"<{type(self).__name__}: {said}>"

    def to_columns(self, *, short: bool = False) -> Columns:
        """Return the one row by column."""
        _ = short
        return {name: [value] for name, value in self.to_dict().items()}

    def to_frame(self) -> pd.DataFrame:
        """Return the one row."""
        import pandas as pd

        return pd.DataFrame([self.to_dict()])
