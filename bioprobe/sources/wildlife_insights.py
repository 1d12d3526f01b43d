"""Wildlife Insights: what a project downloads, images.csv with deployments and cameras beside it.

A row is an observation of a picture. ``location`` says where the project keeps the picture, a place
that nobody else reads; the file is looked for by the last parts of that address, and by
``filename``, below ``--root``, or the folder of the table and the one around it.

References
----------
Wildlife Insights, *Data dictionary* (batch upload and public downloads).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.access import is_file
from bioprobe.content import CONTENT, join_contents, read_content
from bioprobe.errors import SourceError
from bioprobe.images.location import read_name, write_name
from bioprobe.result import PROBLEM, Note
from bioprobe.sources.files import SourceOptions, absolute, locate
from bioprobe.sources.formats import Format
from bioprobe.sources.listing import Part, join
from bioprobe.sources.lookup import fold
from bioprobe.sources.package_pictures import (
    ENTRY,
    FILE,
    MAKER,
    Places,
    find_surroundings,
    make_part,
    take_values,
)
from bioprobe.sources.package_tables import (
    Dialect,
    get_column,
    read_header,
    read_text_table,
    tell_count,
    write_snake,
)
from bioprobe.sources.packages import Package
from bioprobe.sources.walking import IMAGE_SUFFIXES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bioprobe.sources.peek import Peek

# Of a large project there are several: images_2000001.csv, images_2000002.csv.
_IMAGES = re.compile(r"images(?:_\d+)*\.csv", re.IGNORECASE)
# What was seen, where a project names sequences and not each picture.
_SEQUENCES = re.compile(r"sequences(?:_\d+)*\.csv", re.IGNORECASE)
_OF_SEQUENCE = ("project_id", "deployment_id", "sequence_id", "start_time", "end_time")
_SHOWN = 3
_NEEDED = frozenset({"project_id", "deployment_id", "image_id"})
_NAMED = frozenset({"wi_taxon_id", "sequence_id"})
# A download names pictures by both, the upload by the second alone.
_PICTURE = frozenset({"filename", "location"})
_RANKS = ("class", "order", "family", "genus", "species")
_MACHINE = ("computer vision", "cv", "ai", "speciesnet", "wildlife insights ai")
_NAMES = {
    "image_id": "media_id", "timestamp": "captured_at", "number_of_objects": "count",
    "placename": "location", "camera_id": "camera", "age": "life_stage",
}  # fmt: skip
_NUMBERS = ("count", "latitude", "longitude", "cv_confidence", "feature_type_confidence")
# The names of the picture, what labels are read from, and the flag that content says.
_NOT_CARRIED = frozenset({"filename", "location", "is_blank", "common_name", *_RANKS})
_TRUE = frozenset({"1", "true", "yes", "1.0"})


def _is_wildlife_insights(peek: Peek) -> bool:
    """Tell whether a source is Wildlife Insights' images.csv, or a folder or zip that holds one."""
    package, found = _find(peek)
    if package is None or not found:
        return False
    with package.as_file(found[0]) as file, file.open("rb") as stream:
        names, _ = read_header(stream.readline(1 << 16))
    known = {name.casefold() for name in names}
    return known >= _NEEDED and bool(known & _NAMED) and bool(known & _PICTURE)


def _find(peek: Peek) -> tuple[Package | None, list[str]]:
    """Return the package of a source, and the tables of its images."""
    if peek.path.suffix.lower() == ".csv" and is_file(peek.path):
        return Package(peek.path.parent), [peek.path.name]
    package = Package.look(peek.path)
    names = () if package is None else package.top
    return package, sorted(name for name in names if _IMAGES.fullmatch(name))


def _list_wildlife_insights(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the observations of a project's download, each with its picture."""
    import pandas as pd

    package, found = _find(peek)
    if package is None or not found:
        msg = f"{peek.path} holds no images.csv"
        raise SourceError(msg)
    notes: list[Note] = []
    images = read_text_table(package, found, Dialect(), notes)
    name = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    if not len(images):
        msg = f"{name} of {package.path} has no row"
        raise SourceError(msg)
    notes.append(Note(f"{name} of {package.path} was read as Wildlife Insights: {len(images):,} "
                      f"observations"))  # fmt: skip
    images = _name_by_sequences(package, images, notes)
    columns: dict[str, list[str]] = {
        FILE: [
            location if location.strip() else filename
            for location, filename in zip(
                get_column(images, "location"), get_column(images, "filename"), strict=True
            )
        ],
        ENTRY: [f"image {one}" for one in get_column(images, "image_id")],
        MAKER: _find_makers(images),
    }
    columns |= _read_taxa(images)
    columns |= _carry(package, images, notes)
    frame = pd.DataFrame(columns, dtype=object)
    frame["\0filename"] = get_column(images, "filename")
    is_named = (frame[FILE] != "").to_numpy(dtype=bool)
    unread = [(entry, "it names no picture") for entry in frame[ENTRY][~is_named]]
    frame = frame[is_named].reset_index(drop=True)
    places = _find_pictures(package, frame, options)
    frame[FILE] = [join(*pair) for pair in places.pairs]
    kept = [row for row, file in enumerate(frame[FILE]) if _is_picture(file)]
    tell_count(
        notes, "{} files are no pictures, and left out",
        (frame[FILE].iloc[row] for row in set(range(len(frame))) - set(kept)),
    )  # fmt: skip
    places = Places([places.pairs[row] for row in kept], places.reasons, places.notes, places.home)
    frame = frame.take(kept).reset_index(drop=True).drop(columns="\0filename")
    return [
        make_part(
            package, frame, options, notes=notes, numbers=_NUMBERS, places=places, unread=unread
        )
    ]


def _name_by_sequences(package: Package, images: pd.DataFrame, notes: list[Note]) -> pd.DataFrame:
    """Return a row for each image and each taxon that was seen in its sequence.

    An image that is itself said to be something, or blank, stays as it is.
    """
    import pandas as pd

    found = sorted(name for name in package.top if _SEQUENCES.fullmatch(name))
    keys = list(zip(get_column(images, "deployment_id"), get_column(images, "sequence_id"),
                    strict=True))  # fmt: skip
    if not found or not any(sequence for _, sequence in keys):
        return images
    table = read_text_table(package, found, Dialect(), notes)
    said: dict[tuple[str, str], list[int]] = {}
    of_table = zip(
        get_column(table, "deployment_id"), get_column(table, "sequence_id"), strict=True
    )
    for row, key in enumerate(of_table):
        said.setdefault(key, []).append(row)
    own = zip(*(get_column(images, one) for one in (*_RANKS, "common_name")), strict=True)
    flags = [one.casefold() in _TRUE for one in get_column(images, "is_blank")]
    pairs = [
        (image, row)
        for image, (key, names, is_blank) in enumerate(zip(keys, own, flags, strict=True))
        for row in ([-1] if any(names) or is_blank else said.get(key, [-1]))
    ]
    of_images, of_rows = map(list, zip(*pairs, strict=True))
    rows = images.take(of_images).reset_index(drop=True)
    columns = {}
    for column in table.columns:
        if column not in _OF_SEQUENCE:
            own_cells, theirs = get_column(rows, column), get_column(table, column)
            columns[column] = [
                theirs[row] if row >= 0 and not cell else cell
                for cell, row in zip(own_cells, of_rows, strict=True)
            ]
    n_named = len({image for image, row in pairs if row >= 0})
    notes.append(Note(f"{n_named:,} images are labelled by their sequences, of {', '.join(found)}"))
    tell_count(
        notes, "{} sequences have no image, and are no row",
        (key[1] for key in said if key not in set(keys)),
    )  # fmt: skip
    return rows.assign(**{name: pd.Series(cells) for name, cells in columns.items()})


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _find_makers(images: pd.DataFrame) -> list[str]:
    """Return the model of observations that nobody looked at."""
    return [
        one if one.casefold() in _MACHINE or one.casefold().startswith("computer vision") else ""
        for one in get_column(images, "identified_by")
    ]


def _read_taxa(images: pd.DataFrame) -> dict[str, list[str]]:
    """Return lineages, common names and contents: words that name no taxon are no name of one."""
    cells = {rank: get_column(images, rank) for rank in (*_RANKS, "common_name")}
    flags = [one.casefold() in _TRUE for one in get_column(images, "is_blank")]
    read = {word: read_content(word) for column in cells.values() for word in set(column)}
    contents = []
    for row, is_blank in enumerate(flags):
        said = [read[column[row]] for column in cells.values()]
        is_taxon = any(cells[rank][row] and not read[cells[rank][row]] for rank in _RANKS)
        content = join_contents([*said, "blank" if is_blank else ""])
        if is_taxon and content != "human":
            content = "animal"
        contents.append(content)
    columns = {
        name: ["" if read[cell] else cell for cell in column] for name, column in cells.items()
    }
    columns["species"] = [
        f"{genus} {species}" if genus and species and " " not in species else species
        for genus, species in zip(columns["genus"], columns["species"], strict=True)
    ]
    columns[CONTENT] = contents
    return columns


def _carry(package: Package, images: pd.DataFrame, notes: list[Note]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    _add(columns, images, "", None)
    for names, key in (("deployments.csv", "deployment_id"), ("cameras.csv", "camera_id")):
        name = package.find(names)
        keys = columns.get(_NAMES.get(key, key)) or []
        if not name or not keys:
            continue
        table = read_text_table(package, [name], Dialect(), notes)
        known = {one: row for row, one in reversed(list(enumerate(get_column(table, key)))) if one}
        rows = take_values(known, keys)
        tell_count(
            notes, f"{{}} {key}s of images are not in {name}",
            dict.fromkeys(
                one for one, row in zip(keys, rows.tolist(), strict=True) if one and row < 0
            ),
        )  # fmt: skip
        _add(columns, table, names.removesuffix("s.csv"), rows)
    return columns


def _add(
    columns: dict[str, list[str]],
    table: pd.DataFrame,
    kind: str,
    rows: np.ndarray[Any, Any] | None,
) -> None:
    before = set(columns)
    for column in table.columns:
        if column in _NOT_CARRIED:
            continue
        name = _NAMES.get(column) or write_snake(column)
        values = get_column(table, column)
        if rows is not None:
            values = [values[row] if row >= 0 else "" for row in rows.tolist()]
        if name in before:
            if column in {"project_id", "deployment_id", "camera_id"}:
                continue
            name = f"{kind}_{name}"
        if any(values):
            columns[name] = values


def _find_pictures(package: Package, rows: pd.DataFrame, options: SourceOptions) -> Places:
    """Find files by the last parts of their addresses, else by their names as the camera gave them.

    Of several files of a name that is taken which shares most of the last parts of the address,
    then the one in whose path the deployment stands. Where two are alike none is taken.
    """
    outer = find_surroundings(package.folder) if options.root is None else options.root
    addresses, filenames = rows[FILE].tolist(), rows["\0filename"].tolist()
    deployments = rows["deployment_id"].tolist() if "deployment_id" in rows else [""] * len(rows)
    asked = [
        (_split(address), _split(filename), fold(deployment))
        for address, filename, deployment in zip(addresses, filenames, deployments, strict=True)
    ]
    wanted = {parts[-1] for one in asked for parts in one[:2] if parts}
    if package.archive is not None:
        pairs = {package.place(name)[1]: package.place(name) for name in package.archive.members}
        inside = _index(pairs, wanted)
    else:
        pairs, inside = {}, _index(_walk(options.root or package.path, wanted), wanted)
    around: dict[str, list[tuple[str, ...]]] | None = None
    found: list[tuple[str, str]] = []
    reasons: dict[str, str] = {}
    lost = []
    base = write_name(absolute(options.root or package.folder))
    for row, one in enumerate(asked):
        files = _choose(inside, *one)
        place = base
        if not files and (package.archive is not None or outer != package.path):
            if around is None:
                where = outer if package.archive is None else package.folder
                around = _index(_walk(where, wanted), wanted)
            files = _choose(around, *one)
            place = write_name(absolute(outer if package.archive is None else package.folder))
            in_archive = False
        else:
            in_archive = package.archive is not None
        if len(files) == 1:
            path = "/".join(files[0])
            found.append(pairs[path] if in_archive else locate(f"{place}/{path}", place))
            continue
        name = "/".join(_split_plain(addresses[row])[-1:] or ["?"])
        pair = (base, f"{name}" if not deployments[row] else f"{deployments[row]}/{name}")
        why = "several files could be meant: " if files else "no such file or directory"
        shown = ", ".join("/".join(file) for file in files[:3])
        reasons[join(*pair)] = f"{why}{shown}"
        lost.append(f"{addresses[row]}{f' ({why}{shown})' if files else ''}")
        found.append(pair)
    notes: list[Note] = []
    tell_count(
        notes,
        f"{{}} rows have no picture below {outer}; say with --root where the pictures are",
        lost,
        PROBLEM,
    )
    return Places(found, reasons, tuple(notes), write_name(absolute(outer)))


def _split_plain(address: str) -> tuple[str, ...]:
    bare = address.partition("://")[2] if "://" in address else address
    parts = bare.partition("?")[0].replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in {"", ".", ".."})


def _split(address: str) -> tuple[str, ...]:
    return tuple(fold(part) for part in _split_plain(address))


def _walk(folder: Path, wanted: set[str]) -> list[str]:
    """Return the paths below a folder of files that have a name that is looked for."""
    found = []
    top = read_name(write_name(absolute(folder)))
    for parent, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if fold(write_name(name)) in wanted:
                path = os.path.relpath(os.path.join(parent, name), top)  # noqa: PTH118
                found.append(write_name(path))
    return found


def _index(paths: Sequence[str] | dict[str, Any], wanted: set[str]) -> dict[str, list[Any]]:
    index: dict[str, list[Any]] = {}
    for path in paths:
        parts = tuple(path.split("/"))
        if fold(parts[-1]) in wanted:
            index.setdefault(fold(parts[-1]), []).append(parts)
    return index


def _choose(
    index: dict[str, list[tuple[str, ...]]],
    address: tuple[str, ...],
    filename: tuple[str, ...],
    deployment: str,
) -> list[tuple[str, ...]]:
    """Return the files that a row could mean: one, where it is clear."""
    for asked in (address, filename):
        files = index.get(asked[-1], []) if asked else []
        if not files:
            continue
        scores = [_count_common(file, asked) for file in files]
        files = [f for f, score in zip(files, scores, strict=True) if score == max(scores)]
        if len(files) > 1 and deployment:
            mine = [file for file in files if deployment in map(fold, file[:-1])]
            files = mine or files
        return files
    return []


def _count_common(file: tuple[str, ...], asked: tuple[str, ...]) -> int:
    n_same = 0
    for one, other in zip(reversed(file), reversed(asked), strict=False):
        if fold(one) != other:
            break
        n_same += 1
    return n_same


WILDLIFE_INSIGHTS = Format(
    "wildlife-insights",
    "downloads of Wildlife Insights: images.csv, its folder or zip",
    _is_wildlife_insights,
    _list_wildlife_insights,
)
