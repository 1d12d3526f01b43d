"""Tables that name image files.

The column of paths is the first of a known name whose cells look like pictures; else one of
addresses; else the one whose cells all but end like pictures. A column of folders beside it, as
Timelapse has, is part of the path (:mod:`bioprobe.sources.lookup`). A cell may name several
pictures, separated by ``|``, ``;`` or ``,`` as in Darwin Core's ``associatedMedia``: the row is
one of each.

Rows that name one picture are one where what they say fits: no column contradicts, and one lineage
contains the other. Else they are several observations of it, and all are kept: the column
``image_region`` is ``""``, ``#2``, ``#3`` …
"""

from __future__ import annotations

import ast
import contextlib
import csv
import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from bioprobe.access import is_absent
from bioprobe.errors import SourceError
from bioprobe.images.addresses import is_address, split_address
from bioprobe.images.image_table import COLUMNS, DAMAGE_COLUMNS, concatenate_columns
from bioprobe.images.location import read_name, write_name
from bioprobe.images.regions import REGION
from bioprobe.result import PROBLEM, Note, Notes
from bioprobe.sources.boxes import cut_boxes
from bioprobe.sources.files import SourceOptions, absolute, locate, name_folder
from bioprobe.sources.listing import Part, choose_regions, find_said, join
from bioprobe.sources.lookup import find_files, find_objects
from bioprobe.sources.walking import IMAGE_SUFFIXES
from bioprobe.tables import choose_delimiter, open_table
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    LABEL_COLUMNS,
    find_rank_columns,
    spell_column,
    split_columns,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd


# Columns that bioprobe itself fills.
_TAKEN = frozenset({*COLUMNS, *DAMAGE_COLUMNS})
# As spell_column writes them.
_PATH_COLUMNS = (
    "path", "filepath", "filename", "file", "image", "imagepath", "imagefile", "imagefilename",
    "imagename", "photo", "photopath", "photofile", "picture", "mediapath", "mediafile",
)  # fmt: skip
_ADDRESS_COLUMNS = (
    "imageurl", "photourl", "pictureurl", "mediaurl", "accessuri", "associatedmedia", "fileurl",
    "downloadurl", "cocourl", "url", "uri", "identifier", "location",
)  # fmt: skip
# Of these the last four may hold anything.
_SURE_ADDRESSES = _ADDRESS_COLUMNS[:-4]
# Timelapse; where such a column is, it is the folder whether a file is there or not.
_RELATIVE = "relativepath"
_FOLDER_COLUMNS = (
    _RELATIVE, "folder", "filefolder", "folderpath", "imagefolder", "directory", "dir", "subfolder",
    "path", "filepath",
)  # fmt: skip
# Cells of a column that are looked at to tell what it is.
_SAMPLE = 1000
_SEPARATORS = ("\n", "|", ";", ",")
_STRUCT = re.compile(r"""\{'bytes': None, 'path': ('[^'\\]*'|"[^"\\]*")\}""")
# Rows that a note names one by one.
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class PathColumns:
    """Where a table names its files.

    Parameters
    ----------
    file : str
        Column of paths, names or addresses.
    folder : str
        Column of their folders, ``""`` where there is none.
    is_sure : bool
        Whether that is part of the path even if nothing is there.
    address : str
        Column that says where the files lie elsewhere, ``""`` where there is none.
    notes : tuple of Note
        How they were found, where not by their names.
    """

    file: str
    folder: str = ""
    is_sure: bool = False
    address: str = ""
    notes: Notes = ()


def list_table(table: Path, options: SourceOptions | None = None) -> Part:
    """List the images that a table names, with its labels and further columns.

    Raises
    ------
    SourceError
        If the table has no column of paths, or no row has a path.
    """
    options = options or SourceOptions()
    opened = open_table(
        table, options=options.written,
        prefers=lambda frame: find_paths(frame, options.path_column) is not None,
    )  # fmt: skip
    columns = find_paths(opened.frame, options.path_column)
    if columns is None:
        _refuse(opened.frame, options.path_column, table)
    part = list_rows(
        opened.frame, columns, table, options, root=options.root or table.parent,
        place=opened.place,
    )  # fmt: skip
    return dataclasses.replace(part, notes=(*opened.notes, *part.notes))


def list_rows(
    frame: pd.DataFrame,
    column: str | PathColumns,
    table: Path,
    options: SourceOptions,
    *,
    root: Path,
    place: Callable[[int], str] = lambda row: f"line {row + 2}",
) -> Part:
    """List the images that a column of a table names; :mod:`bioprobe.sources.lookup` finds them.

    Parameters
    ----------
    frame : DataFrame
        The table.
    column : str or PathColumns
        Column of paths, relative to the folder of the table or ``options.root``.
    table : Path
        File of the table.
    options : SourceOptions
    root : Path
        Folder that the images are named from in the image table.
    place : callable
        Says where a row stands in the file.

    Returns
    -------
    Part
        Each row is in its frame, several times where it names several pictures; or in its
        ``unread``, where it has no path; or empty, and counted in its notes.

    Raises
    ------
    SourceError
        If rows are there and none has a path.
    """
    import pandas as pd

    columns = column if isinstance(column, PathColumns) else PathColumns(column)
    cells = _write_paths(frame, columns.file)
    addresses = _write_paths(frame, columns.address) if columns.address else []
    cells = [
        path if path.strip() else address
        for path, address in zip(cells, addresses or cells, strict=True)
    ]
    has_path = np.array([bool(cell.strip()) for cell in cells], dtype=bool)
    if len(cells) and not has_path.any():
        msg = f"{table} {place(0)}: no path in column {columns.file!r}; fill it in"
        raise SourceError(msg)
    base, top = (name_folder(folder) for folder in (options.root or table.parent, root))
    is_empty = np.zeros(len(frame), dtype=bool)
    for row in np.flatnonzero(~has_path).tolist():
        is_empty[row] = not find_said(
            dict(zip(map(str, frame.columns), frame.iloc[row], strict=True))
        )
    notes = [*columns.notes, *_tell_pathless(table, columns, has_path, is_empty, place)]
    unread = tuple(
        (top, f"{table.name} {place(row)}", f"no path in column {columns.file!r}")
        for row in np.flatnonzero(~has_path & ~is_empty).tolist()
    )
    rows, paths = _split_cells(cells, np.flatnonzero(has_path), base)
    if len(rows) > has_path.sum():
        n_rows = int((np.bincount(rows) > 1).sum())
        notes.append(
            Note(f"{n_rows:,} cells of {table} name several pictures; a row is made of each")
        )
    kept = frame.take(rows).reset_index(drop=True)
    folders = _write_paths(kept, columns.folder) if columns.folder else None
    if is_address(base):
        found = find_objects(paths, base, folders=folders, is_folder=columns.is_sure)
    else:
        found = find_files(
            map(_spell_bytes, paths), base, kept.drop(columns=columns.file), name=str(table),
            beside=write_name(absolute(table.parent)), is_folder=columns.is_sure,
            fetches=options.fetches, folders=folders,
            addresses=_write_paths(kept, columns.address) if columns.address else None,
        )  # fmt: skip
    places = [
        split_address(file) if is_address(file) and not file.startswith(f"{top}/")
        else locate(file, top)
        for file in found.files
    ]  # fmt: skip
    listing = pd.DataFrame(places, columns=["root", "path"], dtype=object)
    listed = concatenate_columns([listing, describe_rows(kept, options, used=(columns.file,))])
    # A row's file may be named from the root otherwise than it was found.
    reasons = {
        join(*located): found.reasons[file]
        for file, located in zip(found.files, places, strict=True)
        if file in found.reasons
    }
    part = Part(
        listed, str(table), reasons=reasons, unread=unread, notes=(*notes, *found.notes)
    )  # fmt: skip
    return _keep_all(cut_boxes(part, options, [row + 2 for row in rows.tolist()]))


def _keep_all(part: Part) -> Part:
    """Tell the rows of whole pictures apart that say different things of one."""
    frame = part.frame
    is_whole = np.ones(len(frame), dtype=bool)
    if REGION in frame:
        is_whole = (frame[REGION] == "").to_numpy(dtype=bool)
    whole = frame[is_whole]
    regions = choose_regions(whole.drop(columns=[n for n in whole.columns if n == REGION]))
    n_several = sum(map(bool, regions))
    if not n_several:
        return part
    named = frame[REGION].to_numpy(dtype=object).copy() if REGION in frame else None
    named = np.full(len(frame), "", dtype=object) if named is None else named
    named[is_whole] = np.array(regions, dtype=object)
    said = Note(
        f"{n_several:,} rows of {part.name} say something else of a picture that an earlier row "
        "names (two animals in one, say): each is kept, as region #2, #3 …"
    )
    kept = frame.assign(**{REGION: named})
    return dataclasses.replace(part, frame=kept, notes=(said, *part.notes))


def _spell_bytes(path: str) -> str:
    """Write what was no text in a table as names are written; such names may stand there too."""
    return write_name(path) if any("\udc80" <= one <= "\udcff" for one in path) else path


def _write_paths(frame: pd.DataFrame, column: str) -> list[str]:
    return [_write_path(cell) for cell in frame[column].tolist()]


def _write_path(cell: object) -> str:
    """Return a cell as a path; a picture that is saved as its path alone is that path."""
    if isinstance(cell, str) and _STRUCT.fullmatch(cell):
        # As a CSV of such a data set has it.
        cell = ast.literal_eval(_STRUCT.sub(r"\1", cell))
    if isinstance(cell, dict):
        cell = cell.get("path")
    return "" if cell is None or (isinstance(cell, float) and cell != cell) else str(cell)


def _tell_pathless(
    table: Path,
    columns: PathColumns,
    has_path: npt.NDArray[np.bool_],
    is_empty: npt.NDArray[np.bool_],
    place: Callable[[int], str],
) -> list[Note]:
    said = []
    if is_empty.any():
        said.append(Note(f"{is_empty.sum():,} rows of {table} are empty, and left out"))
    without = np.flatnonzero(~has_path & ~is_empty).tolist()
    if without:
        shown = ", ".join(place(row) for row in without[:_SHOWN])
        more = ", …" if len(without) > _SHOWN else ""
        text = (
            f"{len(without):,} rows of {table} have no path in column {columns.file!r} "
            f"({shown}{more}); fill it in, or remove them"
        )
        said.append(Note(text, PROBLEM))
    return said


def _split_cells(
    cells: Sequence[str], rows: npt.NDArray[np.intp], base: str
) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Return the paths of cells, of which some name several, and the row of each."""
    out: list[int] = []
    paths: list[str] = []
    for row in rows.tolist():
        cell = cells[row]
        parts = [cell]
        if any(one in cell for one in _SEPARATORS):
            parts = split_paths(cell, base)
        out += [row] * len(parts)
        paths += parts
    return np.array(out, dtype=np.intp), paths


def split_paths(cell: str, base: str) -> list[str]:
    """Return the paths of a cell: several where it is no file, and all its parts are pictures.

    Examples
    --------
    >>> split_paths("a.jpg | b.jpg", "/nowhere"), split_paths("red, dead.jpg", "/nowhere")
    (['a.jpg', 'b.jpg'], ['red, dead.jpg'])
    >>> split_paths('["a.jpg", "b.jpg"]', "/nowhere")
    ['a.jpg', 'b.jpg']
    """
    if cell.lstrip()[:1] == "[" and cell.rstrip()[-1:] == "]":
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            listed = ast.literal_eval(cell.strip())
            if listed and all(isinstance(one, str) and _looks_like_picture(one) for one in listed):
                return [one.strip() for one in listed]
    for one in _SEPARATORS:
        parts = [part.strip() for part in cell.split(one) if part.strip()]
        if len(parts) > 1 and all(map(_looks_like_picture, parts)):
            is_file = not is_absent(Path(read_name(base), read_name(write_name(cell))))
            return [cell] if is_file else parts
    return [cell]


def _looks_like_picture(cell: str) -> bool:
    if is_address(cell):
        return True
    return re.sub(r"^.*(?=\.)", "", cell.strip()).lower() in IMAGE_SUFFIXES


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
    free = free.rename(columns={n: f"source_{n}" for n in free.columns if n in _TAKEN})
    if not set(columns) - {COMMON_NAME}:
        labels = labels.drop(columns=[name for name in LABEL_COLUMNS if name not in columns])
    elif COMMON_NAME not in columns:
        labels = labels.drop(columns=COMMON_NAME)
    return concatenate_columns([labels, free])


def find_path_column(columns: Iterable[object], given: str | None) -> str | None:
    """Return the column of paths by its name: the given one, or the first of a known name."""
    names = [str(column) for column in columns]
    if given is not None:
        return given if given in names else None
    by_spelling = {spell_column(name): name for name in reversed(names)}
    return next((by_spelling[s] for s in _PATH_COLUMNS if s in by_spelling), None)


def find_paths(frame: pd.DataFrame, given: str | None) -> PathColumns | None:
    """Find the column of paths of a table, and that of their folders.

    Parameters
    ----------
    frame : DataFrame
        The table.
    given : str or None
        Column that a person named; ``FOLDER/FILE`` where two are meant.

    Returns
    -------
    PathColumns or None
        None where there is none.
    """
    names = [str(column) for column in frame.columns]
    by_spelling = {spell_column(name): name for name in reversed(names)}
    if given is not None:
        folder, slash, file = given.rpartition("/")
        if given not in names and slash and {folder, file} <= set(names):
            return PathColumns(file, folder, is_sure=True)
        return PathColumns(given) if given in names else None
    known = [by_spelling[s] for s in _PATH_COLUMNS if s in by_spelling]
    addresses = [by_spelling[s] for s in _ADDRESS_COLUMNS if s in by_spelling]
    shares = {name: _share_pictures(frame[name]) for name in (*known, *addresses)}
    likely = [name for name, share in shares.items() if share >= 0.5]
    likely += known
    likely += [by_spelling[s] for s in _SURE_ADDRESSES if s in by_spelling]
    if likely:
        others = [name for name in addresses if name != likely[0] and name in likely]
        found = _find_folder(likely[0], by_spelling)
        return dataclasses.replace(found, address=others[0]) if others else found
    taken = next((name for name in names if _share_pictures(frame[name]) >= 0.9), None)
    if taken is None:
        return None
    if _looks_like_picture(taken):
        msg = (
            f"the first line names a picture, {taken!r}, so that there is no header; write one "
            "above it, such as path,species"
        )
        raise SourceError(msg)
    said = Note(f"the column {taken!r} is taken for that of the pictures; --path-column names one")
    return dataclasses.replace(_find_folder(taken, by_spelling), notes=(said,))


def _find_folder(file: str, by_spelling: dict[str, str]) -> PathColumns:
    folders = [s for s in _FOLDER_COLUMNS if by_spelling.get(s, file) != file]
    if not folders:
        return PathColumns(file)
    return PathColumns(file, by_spelling[folders[0]], is_sure=folders[0] == _RELATIVE)


def _share_pictures(cells: pd.Series[Any]) -> float:
    """Return how many of a column's cells look like pictures, of the first that are filled."""
    if cells.dtype.kind not in "OTU":
        return 0.0
    said = [text for cell in cells.head(_SAMPLE).tolist() if (text := _write_path(cell).strip())]
    return sum(map(_holds_pictures, said)) / len(said) if said else 0.0


def _holds_pictures(cell: str) -> bool:
    return _looks_like_picture(cell) or len(split_paths(cell, "/")) > 1


def is_text_table(file: Path) -> bool:
    """Tell whether a text file, whatever its ending, is a table with a column of paths."""
    try:
        with file.open("rb") as stream:
            start = stream.read(1 << 16)
    except OSError:
        return False
    is_wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    lines = start.decode("utf-16" if is_wide else "utf-8-sig", errors="replace").splitlines()
    first = next((line for line in lines if line.strip()), "")
    if re.fullmatch(r'"?sep=.*', first, re.IGNORECASE):
        return True
    delimiter = choose_delimiter(first + "\n") or ","
    names = [spell_column(name.strip('"')) for name in first.split(delimiter)]
    known = set(_PATH_COLUMNS) | set(_SURE_ADDRESSES)
    is_there = len(names) == 1 and not is_absent(file.parent / first.strip())
    if len(lines) > 1 and not is_there and any(name in known for name in names):
        return True
    # A header of words that are not known, above rows of which a cell is a picture.
    rows = [row for row in csv.reader(lines[:_SHOWN], delimiter=delimiter) if row]
    return (
        len(rows) > 1
        and len(rows[0]) > 1
        and all(len(row) == len(rows[0]) for row in rows)
        and not any(map(_looks_like_picture, rows[0]))
        and all(any(map(_looks_like_picture, row)) for row in rows[1:])
    )


def _refuse(frame: pd.DataFrame, given: str | None, table: Path) -> NoReturn:
    columns = ", ".join(str(column) for column in frame.columns)
    if given is not None:
        msg = f"{table} has no column {given!r}; it has {columns}"
        raise SourceError(msg)
    msg = f"{table} has no column of paths among {columns}; name it with --path-column"
    raise SourceError(msg)
