"""Timelapse: the table that it exports of a set of pictures, with the columns of its template.

References
----------
Greenberg, *Timelapse reference guide*: ``File``, ``RelativePath``, ``DateTime``, ``DeleteFlag``.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.result import WARNING, Note
from bioprobe.sources.entries import CAPTURED_AT
from bioprobe.sources.formats import Format
from bioprobe.sources.package_pictures import ENTRY, FILE, make_part
from bioprobe.sources.package_tables import (
    Dialect,
    get_column,
    read_header,
    read_text_table,
    tell_count,
)
from bioprobe.sources.packages import Package

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part
    from bioprobe.sources.peek import Peek

_READ = frozenset({"File", "RelativePath", "DateTime"})
_MOMENT = "%d-%b-%Y %H:%M:%S"
_NUMBERS = ("Count", "ImageQuality", "Temperature")


def _is_timelapse(peek: Peek) -> bool:
    """Tell whether a source is a table that Timelapse exports."""
    if peek.path.suffix.lower() != ".csv" or peek.is_folder:
        return False
    names, _ = read_header(peek.head)
    return {"File", "DeleteFlag"} <= names and bool(names & {"RelativePath", "Folder"})


def _list_timelapse(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the pictures of a table of Timelapse.

    Pictures that are marked to be deleted are rows, and said.
    """
    import pandas as pd

    notes: list[Note] = []
    package = Package(peek.path.parent)
    _, delimiter = read_header(peek.head)
    found = read_text_table(package, [peek.path.name], Dialect(delimiter), notes)
    if not len(found):
        msg = f"{peek.path} has no row"
        raise SourceError(msg)
    notes.append(Note(f"{peek.path} was read as a table of Timelapse: {len(found):,} rows"))
    files, parents = get_column(found, "File"), get_column(found, "RelativePath")
    columns: dict[str, list[str]] = {
        FILE: [
            f"{parent.rstrip('/' + chr(92))}/{file}" if parent and file else file
            for parent, file in zip(parents, files, strict=True)
        ],
        ENTRY: [f"row {row + 1}" for row in range(len(found))],
        CAPTURED_AT: _read_moments(found),
    }
    for name in found.columns:
        if name not in _READ:
            own = f"source_{name}" if name == CAPTURED_AT else name
            columns[own] = get_column(found, name)
    marked = [
        file for file, flag in zip(files, get_column(found, "DeleteFlag"), strict=True)
        if flag.casefold() in {"true", "1"}
    ]  # fmt: skip
    tell_count(
        notes,
        "{} pictures are marked to be deleted (DeleteFlag), and are rows as the others; leave them "
        "out with --where \"DeleteFlag == 'false'\"",
        marked,
        WARNING,
    )
    frame = pd.DataFrame(columns, dtype=object)
    return [
        make_part(
            package, frame, options, notes=notes, numbers=_NUMBERS,
            folders=() if any(parents) else ("Folder",),
        )
    ]  # fmt: skip


def _read_moments(found: pd.DataFrame) -> list[str]:
    """Return the time of each row: DateTime, or Date and Time of older versions."""
    moments = get_column(found, "DateTime")
    dates, times = get_column(found, "Date"), get_column(found, "Time")
    return [
        moment or _join(date, time)
        for moment, date, time in zip(moments, dates, times, strict=True)
    ]


def _join(date: str, time: str) -> str:
    try:
        read = datetime.datetime.strptime(f"{date} {time}", _MOMENT)
    except ValueError:
        return f"{date} {time}".strip()
    return read.isoformat()


TIMELAPSE = Format(
    "timelapse",
    "tables that Timelapse exports",
    _is_timelapse,
    _list_timelapse,
)
