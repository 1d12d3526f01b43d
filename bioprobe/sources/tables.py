"""Tables that name image files."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.files import read_table
from bioprobe.images.image_table import COLUMNS, concatenate_columns
from bioprobe.images.location import write_name
from bioprobe.sources.boxes import cut_boxes
from bioprobe.sources.files import SourceOptions, absolute, locate
from bioprobe.sources.listing import Part
from bioprobe.sources.lookup import find_files
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    LABEL_COLUMNS,
    find_rank_columns,
    spell_column,
    split_columns,
)

if TYPE_CHECKING:
    import pandas as pd


TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet", ".pq"})
# As spell_column writes them.
_PATH_COLUMNS = ("path", "filepath", "filename", "file", "image")


def list_table(table: Path, options: SourceOptions | None = None) -> Part:
    """List the images that a table names, with its labels and further columns.

    Raises
    ------
    SourceError
        If the table has no column of paths, or a row has no path.
    """
    options = options or SourceOptions()
    frame = read_table(table)
    column = find_path_column(frame.columns, options.path_column)
    if column is None:
        _refuse(frame, options.path_column, table)
    return list_rows(frame, str(column), table, options, root=options.root or table.parent)


def list_rows(
    frame: pd.DataFrame, column: str, table: Path, options: SourceOptions, *, root: Path
) -> Part:
    """List the images that a column of a table names; :mod:`bioprobe.sources.lookup` finds them.

    Parameters
    ----------
    frame : DataFrame
        The table.
    column : str
        Column of paths, relative to the folder of the table or ``options.root``.
    table : Path
        File of the table.
    options : SourceOptions
    root : Path
        Folder that the images are named from in the image table.

    Raises
    ------
    SourceError
        If a row has no path.
    """
    import pandas as pd

    empty = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
    if empty.any():
        line = int(empty.to_numpy().argmax()) + 2
        msg = f"{table} line {line}: no path in column {column!r}; fill it in or remove the line"
        raise SourceError(msg)
    base, top = (write_name(absolute(folder)) for folder in (options.root or table.parent, root))
    found = find_files(
        frame[column].astype(str), base, frame.drop(columns=column), name=str(table),
        beside=write_name(absolute(table.parent)),
    )  # fmt: skip
    places = [locate(file, top) for file in found.files]
    listing = pd.DataFrame(places, columns=["root", "path"], dtype=object)
    described = describe_rows(frame, options, used=(column,))
    rows = concatenate_columns([listing, described])
    part = Part(rows, str(table), reasons=found.reasons, notes=found.notes)
    return cut_boxes(part, options)


def describe_rows(
    frame: pd.DataFrame, options: SourceOptions, *, used: Collection[str] = ()
) -> pd.DataFrame:
    """Return the label columns, where the table has any, and the free columns of its rows.

    Parameters
    ----------
    frame : DataFrame
        The table.
    options : SourceOptions
        ``rank_columns`` and ``tell`` are used.
    used : collection of str
        Columns that are left out.
    """
    labels, free = split_columns(frame, options.rank_columns, tell=options.tell)
    columns = find_rank_columns(frame.columns, options.rank_columns)
    free = free.drop(columns=[name for name in free.columns if name in used])
    # A table's own column of a name that bioprobe gives a meaning stays, under another name.
    free = free.rename(columns={n: f"source_{n}" for n in free.columns if n in COLUMNS})
    if not set(columns) - {COMMON_NAME}:
        labels = labels.drop(columns=[name for name in LABEL_COLUMNS if name not in columns])
    elif COMMON_NAME not in columns:
        labels = labels.drop(columns=COMMON_NAME)
    return concatenate_columns([labels, free])


def find_path_column(columns: Iterable[object], given: str | None) -> str | None:
    """Return the column of paths: the given one, or the first of a known name."""
    names = [str(column) for column in columns]
    if given is not None:
        return given if given in names else None
    by_spelling = {spell_column(name): name for name in reversed(names)}
    return next((by_spelling[s] for s in _PATH_COLUMNS if s in by_spelling), None)


def _refuse(frame: pd.DataFrame, given: str | None, table: Path) -> None:
    columns = ", ".join(str(column) for column in frame.columns)
    if given is not None:
        msg = f"{table} has no column {given!r}; it has {columns}"
        raise SourceError(msg)
    msg = f"{table} has no column of paths among {columns}; name it with --path-column"
    raise SourceError(msg)
