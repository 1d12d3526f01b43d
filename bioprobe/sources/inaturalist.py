"""iNaturalist: exports of observations, and its open data of photos, observations and taxa.

References
----------
iNaturalist, *Export observations*; *iNaturalist Licensed Observation Images*, Open Data on AWS:
tab-separated ``photos.csv``, ``observations.csv`` and ``taxa.csv``, with ``ancestry`` the
identifiers of the taxa above, from the root, with ``/`` between them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.images.location import read_name, write_name
from bioprobe.options import RANK_NAMES
from bioprobe.result import Note
from bioprobe.sources.entries import CAPTURED_AT
from bioprobe.sources.files import absolute
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

_EXPORTED = frozenset({"id", "image_url", "scientific_name"})
_PHOTOS = frozenset({"photo_id", "observation_uuid", "extension"})
_TABLES = {name: (f"{name}.csv", f"{name}.csv.gz") for name in ("photos", "observations", "taxa")}
_OPEN_DATA = "https://inaturalist-open-data.s3.amazonaws.com/photos"
# Of the sizes that are kept there, one that is larger than any encoder takes.
_SIZE = "medium"
_NUMBERS = ("latitude", "longitude", "positional_accuracy", "width", "height")
_NAMES = {"id": "observation_id", "place_guess": "location"}


def _is_inaturalist_export(peek: Peek) -> bool:
    """Tell whether a source is a table of observations that iNaturalist exports."""
    if peek.is_folder or peek.path.suffix.lower() != ".csv":
        return False
    names, _ = read_header(peek.head)
    return names >= _EXPORTED and bool(
        names & {"iconic_taxon_name", "observed_on", "taxon_species_name", "quality_grade"}
    )


def _list_inaturalist_export(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the observations of an export, each with its first picture."""
    import pandas as pd

    notes: list[Note] = []
    package = Package(peek.path.parent)
    _, delimiter = read_header(peek.head)
    found = read_text_table(package, [peek.path.name], Dialect(delimiter), notes)
    notes.append(
        Note(f"{peek.path} was read as an export of iNaturalist: {len(found):,} observations")
    )
    names, keys = get_column(found, "image_url"), get_column(found, "id")
    kept = [row for row, name in enumerate(names) if name]
    if not kept:
        msg = f"{peek.path}: no observation has a picture in its column image_url"
        raise SourceError(msg)
    tell_count(
        notes, "{} observations have no picture, and are no row",
        (keys[row] for row, name in enumerate(names) if not name),
    )  # fmt: skip
    columns: dict[str, list[str]] = {
        FILE: [names[row] for row in kept],
        ENTRY: [f"observation {keys[row]}" for row in kept],
    }
    for name in found.columns:
        if name != "image_url":
            values = get_column(found, name)
            columns[_NAMES.get(name, name)] = [values[row] for row in kept]
    moment = get_column(found, "time_observed_at", "observed_on")
    columns.setdefault(CAPTURED_AT, [moment[row] for row in kept])
    frame = pd.DataFrame(columns, dtype=object)
    return [make_part(package, frame, options, notes=notes, numbers=_NUMBERS)]


def _is_inaturalist_open_data(peek: Peek) -> bool:
    """Tell whether a folder, or the photos.csv in it, is of iNaturalist's open data."""
    package = Package.look(peek.path, *_TABLES["photos"])
    if package is None:
        return False
    name = package.find(*_TABLES["photos"])
    if not name or not package.find(*_TABLES["observations"]):
        return False
    if name.endswith(".gz"):
        return bool(package.find(*_TABLES["taxa"]))
    with package.as_file(name) as file, file.open("rb") as stream:
        return read_header(stream.readline(1 << 16))[0] >= _PHOTOS


def _list_inaturalist_open_data(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the photos of a part of the open data: those here, and addresses of the others."""
    import pandas as pd

    package = Package.look(peek.path, *_TABLES["photos"])
    if package is None:
        msg = f"{peek.path} holds no photos.csv"
        raise SourceError(msg)
    notes: list[Note] = []
    dialect = Dialect("\t", "")
    tables: dict[str, pd.DataFrame] = {}
    for table, names in _TABLES.items():
        found = package.find(*names)
        if not found:
            notes.append(Note(f"{package.path} holds no {names[0]}: what it says is not known"))
        tables[table] = read_text_table(package, [found] if found else [], dialect, notes)
    photos, observations = tables["photos"], tables["observations"]
    if not len(photos):
        msg = f"{package.path}: photos.csv has no row"
        raise SourceError(msg)
    notes.insert(
        0,
        Note(
            f"{package.path} was read as open data of iNaturalist: {len(photos):,} photos, "
            f"{len(observations):,} observations"
        ),
    )
    by_key = {key: row for row, key in enumerate(get_column(observations, "observation_uuid"))}
    keys, ids = get_column(photos, "observation_uuid"), get_column(photos, "photo_id")
    rows = [by_key.get(key, -1) if key else -1 for key in keys]
    tell_count(
        notes, "{} photos are of an observation that is not there, and are rows without a label",
        (one for one, row in zip(ids, rows, strict=True) if row < 0),
    )  # fmt: skip
    columns: dict[str, list[str]] = {
        FILE: _find_files(package, photos, options),
        ENTRY: [f"photo {one}" for one in ids],
        "media_id": ids,
        "observation_id": keys,
    }
    for frame, places, left_out in (
        (observations, rows, {"observation_uuid", "observed_on"}),
        (photos, list(range(len(photos))), {"observation_uuid", "photo_id", "extension"}),
    ):
        for name in frame.columns:
            values = [*get_column(frame, name), ""]
            if name not in left_out:
                columns.setdefault(name, [values[row] for row in places])
    moments = [*get_column(observations, "observed_on"), ""]
    columns[CAPTURED_AT] = [moments[row] for row in rows]
    taxa = [*get_column(observations, "taxon_id"), ""]
    columns |= _find_lineages([taxa[row] for row in rows], tables["taxa"], notes)
    frame = pd.DataFrame(columns, dtype=object)
    return [make_part(package, frame, options, notes=notes, numbers=_NUMBERS)]


def _find_files(package: Package, photos: pd.DataFrame, options: SourceOptions) -> list[str]:
    """Return the file of each photo, as ``ID.jpg`` or ``ID/SIZE.jpg`` lies here, or its address."""
    here: dict[str, str] = {}
    top = read_name(write_name(absolute(options.root or package.folder)))
    for parent, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = write_name(os.path.relpath(os.path.join(parent, name), top))  # noqa: PTH118
            stem = PurePosixPath(path).stem
            is_size = stem in {"original", "large", "medium", "small", "square", "thumb"}
            key = PurePosixPath(path).parent.name if is_size else stem
            if key.isdecimal() and not name.startswith("."):
                here.setdefault(key, path)
    endings = [ending if ending.isalnum() else "jpg" for ending in get_column(photos, "extension")]
    return [
        here.get(one) or (f"{_OPEN_DATA}/{one}/{_SIZE}.{ending}" if one.isdecimal() else "")
        for one, ending in zip(get_column(photos, "photo_id"), endings, strict=True)
    ]


def _find_lineages(keys: list[str], taxa: pd.DataFrame, notes: list[Note]) -> dict[str, list[str]]:
    """Return the seven ranks of taxa by the identifiers of those above them."""
    ids, ranks = get_column(taxa, "taxon_id"), get_column(taxa, "rank")
    names, above = get_column(taxa, "name"), get_column(taxa, "ancestry")
    row_of = {key: row for row, key in enumerate(ids)}
    lineages: dict[str, Mapping[str, str]] = {"": {}}
    unknown = []
    for key in keys:
        if key in lineages:
            continue
        row = row_of.get(key)
        if row is None:
            unknown.append(key)
            lineages[key] = {}
            continue
        line = [*above[row].split("/"), key]
        places = [row_of[one] for one in line if one in row_of]
        lineages[key] = {ranks[at]: names[at] for at in places if ranks[at] in RANK_NAMES} | {
            "identified_as": names[row]
        }
    if len(taxa):
        tell_count(notes, "{} taxon_ids are not among the taxa", unknown)
    columns = (*RANK_NAMES, "identified_as")
    return {name: [lineages[key].get(name, "") for key in keys] for name in columns}


INATURALIST = Format(
    "inaturalist",
    "exports of observations of iNaturalist",
    _is_inaturalist_export,
    _list_inaturalist_export,
)


INATURALIST_OPEN_DATA = Format(
    "inaturalist-open-data",
    "open data of iNaturalist: photos.csv beside others",
    _is_inaturalist_open_data,
    _list_inaturalist_open_data,
)
