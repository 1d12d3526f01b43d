"""Camtrap DP 1.0.2: observations added to the package that pictures came from, or a new one."""

from __future__ import annotations

import collections
import datetime
import json
import mimetypes
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any

from bioprobe import __version__
from bioprobe.errors import SourceError
from bioprobe.exporting.answers import HUMAN, Answers, Observation, Picture
from bioprobe.exporting.camtrap_package import (
    DEPLOYMENTS,
    FIELDS,
    MEDIA,
    OBSERVATIONS,
    Package,
    Row,
    is_package,
    read_package,
    write_file_path,
    write_package,
)
from bioprobe.exporting.form import (
    AnswerFormat,
    ExportOptions,
    Zone,
    identify,
    make_id,
    read_time,
    write_time,
)
from bioprobe.exporting.places import Place, read_place
from bioprobe.files import parse_json
from bioprobe.result import WARNING, Note, name_some
from bioprobe.taxonomy import RANKS, Rank, Taxon
from bioprobe.taxonomy.columns import find_first, spell_column, spell_columns

# How people call the columns of a table of deployments, beside the standard's own names.
_CALLED = {
    "deploymentID": ("deployment", "id", "name"),
    "locationID": ("location", "site", "station"),
    "latitude": ("lat", "decimallatitude"),
    "longitude": ("lon", "lng", "long", "decimallongitude"),
    "coordinateUncertainty": ("coordinateuncertaintyinmeters",),
    "deploymentStart": ("start", "startdate", "starttime", "setupdate", "begin"),
    "deploymentEnd": ("end", "enddate", "endtime", "retrievaldate", "pickupdate"),
    "cameraID": ("camera",),
}
_OF_DEPLOYMENT = ("deploymentid", "deployment", "locationid", "location", "cameraid", "camera",
                  "site", "station")  # fmt: skip
_EVENT = ("eventid", "sequenceid", "seqid")
# Folders that cameras make (JEITA CP-3461, Design rule for Camera File system), which say nothing.
_CAMERA_FOLDER = re.compile(r"DCIM|\d{3}[A-Z0-9_]{5}", re.IGNORECASE)
_REQUIRED = ("latitude", "longitude", "deploymentStart", "deploymentEnd")
_PLACEHOLDER = "PLACEHOLDER"
_NO_TIME = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# What a new package must say of its project, and what stands there where nobody does.
_PROJECT = {
    "title": _PLACEHOLDER, "samplingDesign": "opportunistic",
    "captureMethod": ["activityDetection"], "individualAnimals": False,
}  # fmt: skip
_STAGES, _SEXES = {"adult", "subadult", "juvenile"}, {"female", "male"}


class _Missing:
    """What is required and not known, by field."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = {}

    def add(self, field: str, where: str) -> None:
        self.of.setdefault(field, []).append(where)

    def describe(self) -> str:
        return "; ".join(f"{field} of {name_some(where)}" for field, where in self.of.items())

    def refuse(self) -> None:
        msg = (
            f"a Camtrap DP requires what is not known: {self.describe()}; give a table of "
            "deployments with --deployments FILE (deploymentID, latitude, longitude, "
            "deploymentStart, deploymentEnd), what the times are by with --time-zone, title, "
            "contributors and project with --about FILE, or say --placeholders"
        )
        raise SourceError(msg)


def write_camtrap_dp(
    target: Path, answers: Answers, options: ExportOptions
) -> Sequence[Note | str]:
    """Write a Camtrap DP 1.0.2 with an observation of level media for each answer.

    In a package that is there, its media, deployments and observations stay, and those of the
    answers come behind; it is written to a new folder.

    Parameters
    ----------
    target : Path
        New folder.
    answers : Answers
        What is known of the pictures.
    options : ExportOptions
        ``package``, else that in which the pictures lie, is added to, unless there are
        ``deployments``; these, ``about``, ``time_zone`` and ``placeholders`` are for a new one.

    Raises
    ------
    SourceError
        If a required field is not known, a picture is not of the package, or that cannot be read.

    References
    ----------
    TDWG, *Camera Trap Data Package* 1.0.2.
    """
    zone, missing = Zone.parse(options.time_zone), _Missing()
    source = options.package
    if source is None and options.deployments is None:
        source = _find_package(answers)
    notes: list[Note | str] = []
    if source is not None:
        package = read_package(source)
        media = _match_media(answers, package)
        notes.append(f"added to the package {source}")
        notes += _mend_paths(package)
    else:
        package = Package({}, {name: [] for name in FIELDS})
        media = _make_media(answers, package, options, zone, missing)
        if options.deployments is None and package.tables[DEPLOYMENTS]:
            notes.append("deployments are those of the pictures, from the first to the last time")
    n_before = len(package.tables[OBSERVATIONS])
    notes += _add_observations(answers, package, media)
    n_added = len(package.tables[OBSERVATIONS]) - n_before
    notes.insert(0, f"{n_added:,} observations, beside {n_before:,} that were there")
    notes += _generalise(answers, package)
    _describe(answers, package, options, missing)
    if missing.of and not options.placeholders:
        missing.refuse()
    if missing.of:
        notes.append(Note(f"placeholders stand for {missing.describe()}", WARNING))
    if package.n_moved:
        notes.append(
            f"{package.n_moved:,} cells of columns that Camtrap DP does not know stand among tags "
            "and comments now"
        )
    notes += answers.tell_failed()
    write_package(target, package, safe=options.safe_csv)
    return notes


def _find_package(answers: Answers) -> Path | None:
    """Return the one package in whose folder, or beside it, all pictures lie; None of a new one."""
    if not all(answers.cell(one.row, "mediaid") for one in answers.read):
        return None
    rows = {str(answers.fact(one.row, "root")): one.row for one in answers.read}
    if any(answers.view.images.locate(row).find_file() is None for row in rows.values()):
        return None
    roots = set(rows)
    for depth in range(2):
        folders = {[Path(root), *Path(root).parents][depth] for root in roots
                   if len(Path(root).parents) >= depth}  # fmt: skip
        if len(folders) == 1 and is_package(one := folders.pop()):
            return one
    return None


def _match_media(answers: Answers, package: Package) -> dict[str, Row]:
    """Return the row of media that each picture is, by its name.

    Raises
    ------
    SourceError
        If one is none of them.
    """
    assert package.folder is not None
    rows = package.tables[MEDIA]
    by_id = {one["mediaID"]: one for one in rows}
    by_file: dict[str, Row] = {}
    by_name: dict[str, list[Row]] = {}
    for one in rows:
        path = one["filePath"].replace("\\", "/")
        by_file[os.path.realpath(package.folder / path)] = one
        by_name.setdefault(PurePosixPath(path).name, []).append(one)
    found: dict[str, Row] = {}
    lost = []
    for picture in answers.read:
        row = by_id.get(answers.cell(picture.row, "mediaid"))
        file = answers.view.images.locate(picture.row).find_file()
        if row is None and file is not None:
            row = by_file.get(os.path.realpath(file))
        if row is None:
            alike = by_name.get(PurePosixPath(picture.name).name, [])
            same = [one for one in alike if _end_alike(one["filePath"], picture.name)]
            row = same[0] if len(same) == 1 else None
        if row is None:
            lost.append(picture.name)
            continue
        found[picture.name] = row
    if lost:
        msg = (
            f"{len(lost):,} pictures are none of the media of {package.folder}, such as {lost[0]}; "
            "choose with --where, or leave --package out for a package of its own"
        )
        raise SourceError(msg)
    return found


def _end_alike(one: str, other: str) -> bool:
    """Tell whether one of two paths is the end of the other."""
    first, second = (f"/{write_file_path(path)[0]}" for path in (one, other))
    return first.endswith(second) or second.endswith(first)


def _mend_paths(package: Package) -> list[str]:
    n_changed = 0
    for row in package.tables[MEDIA]:
        row["filePath"], is_changed = write_file_path(row["filePath"])
        n_changed += is_changed
    notes = [f"pictures are not copied; whoever reads the package needs --root {package.folder}"]
    if n_changed:
        notes.append(
            f"{n_changed:,} paths of media left the package, which Camtrap DP does not allow; they "
            "begin at the folder above it now"
        )
    return notes


def _make_media(
    answers: Answers, package: Package, options: ExportOptions, zone: Zone, missing: _Missing
) -> dict[str, Row]:
    """Fill media and deployments of a new package; return the row of media of each picture."""
    listed = _read_deployments(options)
    times: dict[str, list[datetime.datetime]] = collections.defaultdict(list)
    places: dict[str, list[Place]] = collections.defaultdict(list)
    found: dict[str, Row] = {}
    for picture in answers.read:
        deployment = _find_deployment(answers, picture, listed)
        time = read_time(answers, picture, zone)
        if time is None or time.tzinfo is None:
            what = "timestamp" if time is None else "offset from UTC of the timestamp"
            missing.add(what, picture.name)
        else:
            times[deployment].append(time)
        place = answers.find_place(picture)
        if place is not None:
            places[deployment].append(place)
        else:
            places.setdefault(deployment, [])
        path, _ = write_file_path(picture.name)
        found[picture.name] = {
            "mediaID": answers.cell(picture.row, "mediaid") or make_id(picture.name),
            "deploymentID": deployment,
            "timestamp": write_time(_settle(time)),
            "filePath": path,
            "filePublic": "false",
            "fileName": PurePosixPath(picture.name).name,
            "fileMediatype": mimetypes.guess_type(picture.name)[0] or "image/jpeg",
            "mediaComments": "" if time and time.tzinfo else "placeholder: timestamp",
        }
    package.tables[MEDIA] = list(found.values())
    for name, seen in places.items():
        row = _complete(listed.get(name, {"deploymentID": name}), times[name], seen, zone)
        unknown = [field for field in _REQUIRED if not row.get(field)]
        for field in unknown:
            missing.add(field, f"deployment {name}")
            row[field] = write_time(_NO_TIME) if field.startswith("deployment") else "0"
        if unknown:
            said = f"placeholders: {', '.join(unknown)}"
            row["deploymentComments"] = " | ".join(
                filter(None, (row.get("deploymentComments", ""), said))
            )
        package.tables[DEPLOYMENTS].append(row)
    return found


def _settle(time: datetime.datetime | None) -> datetime.datetime:
    """Return a time with an offset from UTC, where it has none as a placeholder."""
    if time is None:
        return _NO_TIME
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _read_deployments(options: ExportOptions) -> dict[str, Row]:
    """Return the rows of a table of deployments by their identifier, with the standard's names.

    Raises
    ------
    SourceError
        If it has no identifiers, or two rows have one.
    """
    if options.deployments is None:
        return {}
    from bioprobe.cells import write_cells

    frame = options.deployments
    spelled = spell_columns(frame.columns)
    columns = {}
    for field in FIELDS[DEPLOYMENTS]:
        names = (spell_column(field), *_CALLED.get(field, ()))
        name = find_first(names, spelled)
        if name is not None:
            columns[field] = write_cells(frame[name]).fillna("").tolist()
    if "deploymentID" not in columns and "locationID" in columns:
        columns["deploymentID"] = columns["locationID"]
    if "deploymentID" not in columns and "cameraID" in columns:
        columns["deploymentID"] = columns["cameraID"]
    if "deploymentID" not in columns:
        msg = (
            "the table of deployments has no column deploymentID, location or camera; it has "
            f"{', '.join(map(str, frame.columns))}"
        )
        raise SourceError(msg)
    rows: dict[str, Row] = {}
    for place in range(len(frame)):
        row = {field: str(values[place]) for field, values in columns.items()}
        name = row["deploymentID"]
        if name in rows:
            msg = f"two rows of the table of deployments are of {name}; expected one a deployment"
            raise SourceError(msg)
        rows[name] = row
    return rows


def _find_deployment(answers: Answers, picture: Picture, listed: Mapping[str, Row]) -> str:
    """Return the deployment of a picture: of its columns, else of its folder.

    Raises
    ------
    SourceError
        If there is a table of deployments and none of its rows is it.
    """
    said = [text for name in _OF_DEPLOYMENT if (text := answers.cell(picture.row, name))]
    root = PurePosixPath(str(answers.fact(picture.row, "root")).rstrip("/")).name
    parents = PurePosixPath(picture.name).parts[:-1]
    folders = [one for one in parents if not _CAMERA_FOLDER.fullmatch(one)]
    folder = "/".join(folders) or root or "all"
    if not listed:
        return said[0] if said else folder
    tried = [*said, folder, *reversed(folders), root]
    for one in tried:
        if one in listed:
            return one
    names = ", ".join(dict.fromkeys(tried))
    msg = (
        f"{picture.name} is of no deployment in the table: tried {names}; it has "
        f"{', '.join(list(listed)[:5])}"
    )
    raise SourceError(msg)


def _complete(
    listed: Row, times: Sequence[datetime.datetime], places: Sequence[Place], zone: Zone
) -> Row:
    row = dict.fromkeys(FIELDS[DEPLOYMENTS], "") | listed
    for field in ("deploymentStart", "deploymentEnd"):
        if row[field]:
            time = zone.read(row[field])
            row[field] = write_time(time) if time and time.tzinfo else ""
        elif times:
            row[field] = write_time(min(times) if field == "deploymentStart" else max(times))
    if places and not (row["latitude"] and row["longitude"]):
        row["latitude"] = f"{median(one.latitude for one in places):.7g}"
        row["longitude"] = f"{median(one.longitude for one in places):.7g}"
        known = [one.uncertainty_m for one in places if one.uncertainty_m]
        row["coordinateUncertainty"] = str(int(max(known))) if known else ""
    return row


def _add_observations(
    answers: Answers, package: Package, media: Mapping[str, Row]
) -> list[Note | str]:
    rows = package.tables[OBSERVATIONS]
    known = {row["observationID"]: place for place, row in enumerate(rows)}
    events = {row["mediaID"]: row["eventID"] for row in rows if row["mediaID"] and row["eventID"]}
    n_there = n_renewed = 0
    for picture, one in answers.observations:
        if not one.machine and not one.by and answers.cell(one.row, "observationid") in known:
            # A person's, which came from this package.
            n_there += 1
            continue
        row = _observe(answers, picture, one, media[picture.name])
        row["eventID"] = answers.cell(one.row, *_EVENT) or events.get(row["mediaID"], "")
        place = known.get(row["observationID"])
        if place is None:
            known[row["observationID"]] = len(rows)
            rows.append(row)
        else:
            n_renewed += 1
            rows[place] = row
    notes: list[Note | str] = []
    if n_there:
        notes.append(f"{n_there:,} labels are observations of the package already")
    if n_renewed:
        notes.append(f"{n_renewed:,} observations of an earlier export are written anew")
    return notes


def _observe(answers: Answers, picture: Picture, one: Observation, media: Row) -> Row:
    taxon = one.taxon
    name = taxon.name if taxon else "Homo sapiens" if one.content == HUMAN else ""
    row = dict.fromkeys(FIELDS[OBSERVATIONS], "") | {
        "observationID": identify(answers, picture, one),
        "deploymentID": media["deploymentID"],
        "mediaID": media["mediaID"],
        "eventStart": media["timestamp"],
        "eventEnd": media["timestamp"],
        "observationLevel": "media",
        "observationType": one.content,
        "scientificName": name,
        "classificationMethod": "machine" if one.machine else "human",
    }
    if one.best is not None and taxon is None and one.best.label != one.content:
        row["observationTags"] = f"class:{one.best.label}"
    if one.region is not None:
        sides = (one.region.x, one.region.y, one.region.width, one.region.height)
        names = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
        row |= {field: f"{side:.6g}" for field, side in zip(names, sides, strict=True)}
        row["count"] = str(one.n_regions)
    if one.machine:
        own = one.machine == "bioprobe"
        row["classifiedBy"] = answers.model if own else one.machine
        row["classificationTimestamp"] = answers.time if own else ""
        if one.score is not None:
            row["classificationProbability"] = f"{min(max(one.score, 0.0), 1.0):.6g}"
        return row
    person = one.by or answers.cell(one.row, "classifiedby", "identifiedby", "annotator")
    row["classifiedBy"], row["classificationTimestamp"] = person, one.at
    count = answers.cell(one.row, "count", "individualcount")
    row["count"] = count if count.isdecimal() and int(count) else row["count"]
    for field, allowed in (("lifeStage", _STAGES), ("sex", _SEXES)):
        said = answers.cell(one.row, spell_column(field)).lower()
        row[field] = said if said in allowed else ""
    return row


def _generalise(answers: Answers, package: Package) -> list[str]:
    """Make the places of deployments at which a sensitive taxon was seen less exact."""
    sensitive = answers.sensitive
    if not sensitive.grid:
        return []
    lineages = {str(one.get("scientificName")): one for one in _list_taxa(package)}
    of_media = {row["mediaID"]: row["deploymentID"] for row in package.tables[MEDIA]}
    secret = {
        row["deploymentID"]
        for row in package.tables[OBSERVATIONS]
        if sensitive.holds(_read_taxon(row["scientificName"], lineages, answers))
    }
    seen = {picture.name for picture in answers.sensitive_pictures}
    names = {picture.name: picture for picture in answers.read}
    for name in seen:
        number = answers.cell(names[name].row, "mediaid") or make_id(name)
        secret |= {of_media[number]} if number in of_media else set()
    deployments = package.tables[DEPLOYMENTS]
    points = {_point(row) for row in deployments if row["deploymentID"] in secret}
    hidden = set()
    for row in deployments:
        if _point(row) not in points:
            continue
        place = read_place(
            {"latitude": row["latitude"], "longitude": row["longitude"],
             "uncertainty": row.get("coordinateUncertainty", "")},
            f"deployment {row['deploymentID']}",
        )  # fmt: skip
        if place is None:
            continue
        rough = sensitive.grid.generalise(place)
        row["latitude"], row["longitude"] = str(rough.latitude), str(rough.longitude)
        row["coordinateUncertainty"] = str(int(rough.uncertainty_m or 1))
        said = f"coordinates {rough.generalisation}, as of a sensitive taxon"
        row["deploymentComments"] = " | ".join(
            filter(None, (row.get("deploymentComments", ""), said))
        )
        hidden.add(row["deploymentID"])
        before = package.descriptor.get("coordinatePrecision") or 0
        package.descriptor["coordinatePrecision"] = max(float(before), rough.precision or 0)
    for row in package.tables[MEDIA]:
        if row["deploymentID"] in hidden and row.get("exifData"):
            row["exifData"] = _drop_places(row["exifData"])
    if not hidden:
        return []
    package.descriptor.pop("spatial", None)
    return [f"the places of {len(hidden):,} deployments with sensitive taxa are less exact"]


def _point(row: Row) -> tuple[str, str]:
    return row.get("latitude", ""), row.get("longitude", "")


def _drop_places(text: str) -> str:
    try:
        said = parse_json(text, dict)
    except ValueError:
        return ""
    kept = {k: v for k, v in said.items() if "gps" not in k.lower() and "location" not in k.lower()}
    return json.dumps(kept)


def _list_taxa(package: Package) -> list[dict[str, Any]]:
    found = package.descriptor.get("taxonomic")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _read_taxon(
    name: str, lineages: Mapping[str, Mapping[str, Any]], answers: Answers
) -> Taxon | None:
    if not name:
        return None
    if name in answers.taxa:
        return answers.taxa[name]
    said = {rank.value: str(lineages.get(name, {}).get(rank.value) or "") for rank in RANKS}
    if " " in name:
        said |= {Rank.GENUS.value: name.split(" ")[0], Rank.SPECIES.value: name}
    elif name not in said.values():
        said[str(lineages.get(name, {}).get("taxonRank") or Rank.GENUS.value)] = name
    return Taxon.from_names(said)


def _describe(
    answers: Answers, package: Package, options: ExportOptions, missing: _Missing
) -> None:
    """Complete the descriptor with what is known, and say what is missing."""
    known = dict(options.about) | package.descriptor
    said = package.descriptor
    for key, value in options.about.items():
        said.setdefault(key, value)
    said["created"] = answers.time or write_time(datetime.datetime.now(datetime.UTC))
    said.setdefault("name", "bioprobe-export")
    if not known.get("contributors"):
        missing.add("contributors", "the package")
        said["contributors"] = [{"title": _PLACEHOLDER, "role": "contributor"}]
    project = dict(known.get("project") or {})
    for key, value in _PROJECT.items():
        if project.get(key) is None:
            missing.add(f"project.{key}", "the package")
            project[key] = value
    levels = project.get("observationLevel") or []
    project["observationLevel"] = list(dict.fromkeys([*levels, "media"]))
    said["project"] = project
    points = [
        (float(row["longitude"]), float(row["latitude"])) for row in package.tables[DEPLOYMENTS]
        if row["longitude"] and row["latitude"]
    ]  # fmt: skip
    if not said.get("spatial") and points:
        said["spatial"] = _span(points)
    times = [
        row[field][:10] for row in package.tables[DEPLOYMENTS]
        for field in ("deploymentStart", "deploymentEnd") if row[field]
    ]  # fmt: skip
    if not said.get("temporal") and times:
        said["temporal"] = {"start": min(times), "end": max(times)}
    said["taxonomic"] = _join_taxa(_list_taxa(package), answers, package)
    if answers.provenance:
        source = {"title": "bioprobe", "version": str(answers.provenance.get("version",
                  __version__))}  # fmt: skip
        said["sources"] = [*said.get("sources", []), source]
        said["bioprobe"] = [*said.get("bioprobe", []), dict(answers.provenance)]
    if missing.of:
        said["placeholders"] = sorted(missing.of)


def _span(points: Iterable[tuple[float, float]]) -> dict[str, Any]:
    """Return GeoJSON of the smallest box around points."""
    east_west, north_south = zip(*points, strict=True)
    west, east, south, north = (
        min(east_west), max(east_west), min(north_south), max(north_south),
    )  # fmt: skip
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south]}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "bbox": [west, south, east, north], "coordinates": [ring]}


def _join_taxa(
    known: list[dict[str, Any]], answers: Answers, package: Package
) -> list[dict[str, Any]]:
    names = {str(one.get("scientificName")) for one in known}
    used = {row["scientificName"] for row in package.tables[OBSERVATIONS]} - {""}
    added = []
    for name in sorted(used - names):
        taxon = answers.taxa.get(name)
        if taxon is None:
            added.append({"scientificName": name})
            continue
        said: dict[str, Any] = {"scientificName": name, "taxonRank": taxon.rank.value}
        said |= {k: v for k, v in taxon.to_names().items() if v and k != Rank.SPECIES.value}
        if taxon.common_name:
            said["vernacularNames"] = {"eng": taxon.common_name}
        added.append(said)
    return [*known, *added]


CAMTRAP_DP = AnswerFormat(
    write_camtrap_dp,
    ("",),
    "Camtrap DP 1.0.2",
    ("package", "deployments", "about", "placeholders", "time_zone", "safe_csv"),
)
