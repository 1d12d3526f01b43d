"""Headers of tables as people lay them out: below a title, named twice, or without a name."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bioprobe.result import WARNING, Note, Notes

#: Lines or rows of a sheet that may stand above the header.
MOST_TITLES = 20


def tell_title(path: Path, n_above: int) -> Note:
    """Say that rows above a header are left out."""
    return Note(f"{path}: its header is taken to be row {n_above + 1}; what is above is left out")


def is_unnamed(column: object) -> bool:
    """Tell whether a column had no name of its own."""
    return str(column).startswith("Unnamed: ")


def names_columns(columns: Iterable[object]) -> bool:
    """Tell whether cells could be names of columns: none is a number or a path."""
    return not any(re.search(r"^[\d.,]+$|[/\\]|\.\w{2,4}$", str(column)) for column in columns)


def tell_doubled(path: Path, header: Iterable[object]) -> Notes:
    """Say which names a header has several times, and what the further columns are called."""
    counts = collections.Counter(str(name).strip() for name in header if name not in (None, ""))
    doubled = [name for name, n in counts.items() if n > 1]
    if not doubled:
        return ()
    text = (
        f"{path}: its header has {', '.join(doubled)} several times; the first is read, and the "
        f"others are columns of their own: {doubled[0]}.1 …"
    )
    return (Note(text, WARNING),)


def find_wider(rows: Iterable[Sequence[object]]) -> list[int]:
    """Return the rows, after the first, in which more cells are filled than in any above."""
    most, found = 0, []
    for number, cells in enumerate(rows):
        filled = [str(cell) for cell in cells if cell not in (None, "")]
        if len(filled) > most and len(set(filled)) == len(filled):
            found.append(number)
        most = max(most, len(filled))
    return [number for number in found if number]
