"""Pictures that a package of another tool names: found, and made rows of an image table.

A package in a folder names pictures in that folder, or beside it: the folder around it is the
package's too, as the folder of a table is the table's. A package in a zip names pictures in the
zip, or beside it. Where the folder around is somebody's home or holds it, pictures beside the
package are another's, and :mod:`bioprobe.sources.bounds` leaves them out.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.content import CONTENT, read_content
from bioprobe.images.addresses import is_address, split_address
from bioprobe.images.image_table import concatenate_columns
from bioprobe.images.location import write_name
from bioprobe.images.regions import BOX_COLUMNS, REGION, Region, number_regions
from bioprobe.names import unify
from bioprobe.result import PROBLEM, WARNING, Note, Notes
from bioprobe.sources.entries import CAPTURED_AT, read_time
from bioprobe.sources.files import SourceOptions, absolute, locate
from bioprobe.sources.listing import Part, join
from bioprobe.sources.lookup import find_files
from bioprobe.sources.package_tables import tell_count
from bioprobe.sources.packages import Package
from bioprobe.sources.tables import describe_rows
from bioprobe.sources.walking import IMAGE_SUFFIXES
from bioprobe.taxonomy.columns import FROM_MACHINE, LABEL_COLUMNS, LABELS_FROM

if TYPE_CHECKING:
    import pandas as pd

#: Columns of rows that :func:`make_part` reads: the name of the picture as the package has it, its
#: box as ``x,y,width,height``, what made the label, and where the row stands, for failures.
FILE, BOX, MAKER, ENTRY = "\0file", "\0box", "\0maker", "\0entry"
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_MOST_WHOLE = 2**53


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the pictures of rows are.

    Parameters
    ----------
    pairs : list of (str, str)
        Root and path of each row.
    reasons : dict of str to str
        Why a file was not found, by its path.
    notes : tuple of Note
    home : str
        Folder below which the package may name pictures.
    """

    pairs: list[tuple[str, str]]
    reasons: dict[str, str]
    notes: Notes
    home: str


def find_surroundings(folder: Path) -> Path:
    """Return the folder around a package, or itself where that would be somebody's home."""
    inner = Path(absolute(folder))
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home raises where there is none
    outer = inner.parent
    return inner if outer == home or outer in home.parents or outer == outer.parent else outer


def find_pictures(
    package: Package,
    names: Sequence[str],
    options: SourceOptions,
    described: pd.DataFrame | None = None,
) -> Places:
    r"""Find the pictures of a package.

    Parameters
    ----------
    package : Package
    names : sequence of str
        As the package writes them: paths from its top or ``--root``, ``/`` or ``\`` between
        folders, or addresses. Not empty.
    options : SourceOptions
        ``root`` is used.
    described : DataFrame, optional
        Further columns of the same rows, which may hold names of folders.
    """
    pairs: list[tuple[str, str]] = [("", "")] * len(names)
    base = write_name(absolute(options.root or package.folder))
    outer = base
    if options.root is None and package.archive is None:
        outer = write_name(str(find_surroundings(package.path)))
    rows: list[int] = []
    n_addresses = 0
    for row, name in enumerate(names):
        if is_address(name):
            pairs[row] = split_address(name)
            n_addresses += 1
            continue
        inside = _clean(name)
        if package.archive is not None and package.holds(inside):
            pairs[row] = package.place(inside)
        else:
            rows.append(row)
    notes: list[Note] = []
    if n_addresses:
        notes.append(
            Note(f"{n_addresses:,} pictures of {package.path} are named by address (--fetch)")
        )
    if not rows:
        return Places(pairs, {}, tuple(notes), outer)
    asked = None if described is None else described.iloc[rows].reset_index(drop=True)
    found = find_files(
        [names[row] for row in rows], base, asked, name=str(package.path), beside=outer
    )
    top = base
    if any(not file.startswith(f"{base}{os.sep}") for file in found.files):
        top = outer
    for row, file in zip(rows, found.files, strict=True):
        pairs[row] = locate(file, top)
    return Places(pairs, dict(found.reasons), (*notes, *found.notes), outer)


def _clean(name: str) -> str:
    return os.path.normpath(name.replace("\\", "/")).removeprefix("./")


def make_part(
    package: Package,
    rows: pd.DataFrame,
    options: SourceOptions,
    *,
    notes: Sequence[Note] = (),
    unread: Sequence[tuple[str, str]] = (),
    numbers: Collection[str] = (),
    places: Places | None = None,
    folders: Sequence[str] = (),
) -> Part:
    """Make rows of an image table of what a package says.

    Parameters
    ----------
    package : Package
    rows : DataFrame of str
        :data:`FILE`, and :data:`BOX`, :data:`MAKER` and :data:`ENTRY` where there are any; names of
        taxa; free columns.
    options : SourceOptions
    notes : sequence of Note
        What was said already.
    unread : sequence of (str, str)
        Entries that are no row, and why.
    numbers : collection of str
        Free columns that hold numbers.
    places : Places, optional
        Where the pictures are, if that is known already.
    folders : sequence of str
        Columns that may name folders of the pictures.

    Returns
    -------
    Part
        Every row that names a picture; one that names none, or has an impossible box, stands in
        ``unread`` with the reason.
    """
    import pandas as pd

    said = list(notes)
    lost = list(unread)
    rows = _drop_nameless(rows, lost)
    rows = _drop_others(rows, package, said)
    rows, places = _keep_categories(rows, places, options, said)
    if places is None:
        asked = rows[[name for name in folders if name in rows]]
        places = find_pictures(package, rows[FILE].tolist(), options, asked)
    pairs = places.pairs
    said += places.notes
    boxes, kept = _read_boxes(rows, pairs, options, said, lost)
    rows = rows.take(kept).reset_index(drop=True)
    pairs = [pairs[row] for row in kept.tolist()]
    names = [join(*pair) for pair in pairs]
    regions = number_regions(
        zip(names, ["" if box is None else box.name for box in boxes], strict=True)
    )
    frame = pd.DataFrame(pairs, columns=["root", "path"], dtype=object)
    frame[REGION] = np.array(regions, dtype=object)
    if any(box is not None for box in boxes):
        for column, side in zip(BOX_COLUMNS, ("x", "y", "width", "height"), strict=True):
            frame[column] = [math.nan if box is None else getattr(box, side) for box in boxes]
    if CAPTURED_AT in rows:
        rows[CAPTURED_AT] = _write_times(rows[CAPTURED_AT].tolist())
    own = [name for name in (FILE, BOX, MAKER, ENTRY) if name in rows]
    described = describe_rows(_settle(rows.drop(columns=own), numbers), options)
    frame = concatenate_columns([frame, described])
    _tell_several(package, regions, said)
    if MAKER in rows:
        _name_makers(frame, rows[MAKER].tolist(), said)
    root = write_name(absolute(package.folder))
    if lost:
        tell_count(
            said, f"{{}} entries of {package.path} are no row",
            (f"{entry}: {why}" for entry, why in lost), PROBLEM,
        )  # fmt: skip
    return Part(
        frame, str(package.path), reasons=places.reasons, notes=tuple(said), home=places.home,
        unread=tuple((root, entry, why) for entry, why in lost),
    )  # fmt: skip


def _keep_categories(
    rows: pd.DataFrame, places: Places | None, options: SourceOptions, notes: list[Note]
) -> tuple[pd.DataFrame, Places | None]:
    """Keep the rows of the contents that are asked for, and count the others."""
    wanted = {unify(one).casefold() for one in options.categories}
    wanted |= {read_content(one) for one in options.categories} - {""}
    if not wanted:
        return rows, places
    contents = rows[CONTENT].tolist() if CONTENT in rows else [""] * len(rows)
    is_kept = [
        one.casefold() in wanted or (read_content(one) or "\0") in wanted for one in contents
    ]
    tell_count(
        notes, f"{{}} rows are of no category that was asked for ({', '.join(options.categories)})",
        (one or "without one" for one, kept in zip(contents, is_kept, strict=True) if not kept),
    )  # fmt: skip
    if places is not None:
        pairs = [pair for pair, kept in zip(places.pairs, is_kept, strict=True) if kept]
        places = dataclasses.replace(places, pairs=pairs)
    return rows[np.array(is_kept, dtype=bool)].reset_index(drop=True), places


def _drop_nameless(rows: pd.DataFrame, lost: list[tuple[str, str]]) -> pd.DataFrame:
    has_name = (rows[FILE].str.strip() != "").to_numpy(dtype=bool)
    if has_name.all():
        return rows
    lost += [
        (_get_entry(rows, row), "it names no picture") for row in np.flatnonzero(~has_name).tolist()
    ]
    return rows[has_name].reset_index(drop=True)


def _drop_others(rows: pd.DataFrame, package: Package, notes: list[Note]) -> pd.DataFrame:
    """Leave out what is no picture by its ending: it is counted; a file of no known ending stays.

    What lies on this machine must end as a picture does: a package may name no other file.
    """
    distinct = dict.fromkeys(rows[FILE].tolist())
    is_picture = {name: is_address(name) or _ends_as_picture(name) for name in distinct}
    others = [name for name, yes in is_picture.items() if not yes]
    if not others:
        return rows
    kept = np.array([is_picture[name] for name in rows[FILE].tolist()], dtype=bool)
    tell_count(
        notes, f"{{}} files of {package.path} are no pictures by their endings, and left out",
        others,
    )  # fmt: skip
    return rows[kept].reset_index(drop=True)


def _ends_as_picture(name: str) -> bool:
    return os.path.splitext(name.replace("\\", "/"))[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _get_entry(rows: pd.DataFrame, row: int) -> str:
    return str(rows[ENTRY].iloc[row]) if ENTRY in rows else f"row {row + 1}"


def _read_boxes(
    rows: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    options: SourceOptions,
    notes: list[Note],
    lost: list[tuple[str, str]],
) -> tuple[list[Region | None], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the regions of the rows that are kept, and which these are."""
    n_rows = len(rows)
    if BOX not in rows:
        return [None] * n_rows, np.arange(n_rows, dtype=np.int64)
    boxes: list[Region | None] = []
    kept, cut = [], []
    for row, text in enumerate(rows[BOX].tolist()):
        if not text.strip(", "):
            boxes.append(None)
            kept.append(row)
            continue
        entry = f"{pairs[row][1]}, {_get_entry(rows, row)}"
        try:
            region, is_cut = Region.clip(*_read_sides(text), pad=options.pad, square=options.square)
        except ValueError:
            why = f"box {text} is none: expected x, y, width and height from 0 to 1, inside"
            lost.append((entry, why))
            continue
        if is_cut:
            cut.append(entry)
        boxes.append(region)
        kept.append(row)
    tell_count(notes, "{} boxes leave their picture and were clipped to it", cut)
    return boxes, np.array(kept, dtype=np.int64)


def _read_sides(text: str) -> tuple[float, float, float, float]:
    sides = [read_number(side) for side in text.split(",")]
    known = [side for side in sides if side is not None and abs(side) <= 2]
    if len(known) != len(BOX_COLUMNS):
        raise ValueError(text)
    return known[0], known[1], known[2], known[3]


def read_number(text: str) -> float | None:
    """Return a number that is written with a point; None of other texts."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _write_times(texts: Sequence[str]) -> list[str]:
    """Return times as ISO 8601 writes them; what is none stays as it is."""
    known = {text: read_time(text) or text for text in dict.fromkeys(texts)}
    return [known[text] for text in texts]


def _settle(frame: pd.DataFrame, numbers: Collection[str]) -> pd.DataFrame:
    """Drop columns without a value, and make numbers of those that hold nothing else."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in frame.columns:
        texts = frame[name]
        is_filled = (texts != "").to_numpy(dtype=bool)
        if not is_filled.any():
            continue
        columns[str(name)] = texts.astype(object).where(is_filled, None)
        if name in numbers:
            value_of = {text: read_number(text) for text in texts[is_filled].unique().tolist()}
            if None in value_of.values():
                continue
            values = np.array([value_of.get(text, math.nan) for text in texts], dtype=np.float64)
            is_whole = (values[is_filled] % 1 == 0).all() and all(
                text.strip().lstrip("+-").isdigit() for text in value_of
            )
            made = pd.Series(values)
            if is_whole and np.abs(values[is_filled]).max() < _MOST_WHOLE:
                columns[str(name)] = made.astype("Int64" if not is_filled.all() else "int64")
            else:
                columns[str(name)] = made
    return pd.DataFrame(columns, index=range(len(frame)))


def _tell_several(package: Package, regions: Sequence[str], notes: list[Note]) -> None:
    n_more = sum("#" in region for region in regions)
    if n_more:
        notes.append(
            Note(
                f"{n_more:,} rows of {package.path} are further observations of a picture or box "
                "that another row is of (two animals in one picture): each is a row, with the same "
                "vector; what takes one label a picture takes each of them as a picture",
                WARNING,
            )
        )


def _name_makers(frame: pd.DataFrame, makers: Sequence[str], notes: list[Note]) -> None:
    names = [name for name in LABEL_COLUMNS if name in frame]
    if not names or not any(makers):
        return
    is_labelled = (frame[names] != "").any(axis=1).tolist()
    origins = [
        f"{FROM_MACHINE}{maker}" if maker and labelled else ""
        for maker, labelled in zip(makers, is_labelled, strict=True)
    ]
    frame[LABELS_FROM] = np.array(origins, dtype=object)
    tell_count(
        notes, "{} labels were made by a machine (labels_from)", (one for one in origins if one)
    )


def take_values(values: Mapping[str, int], keys: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return the row of each key, -1 where there is none."""
    return np.array([values.get(key, -1) for key in keys], dtype=np.int64)
