"""A Camtrap DP on disk: its tables as texts, read of any 1.0 package and written as 1.0.2."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bioprobe.access import is_file
from bioprobe.errors import SourceError
from bioprobe.exporting.form import write_rows
from bioprobe.files import read_json, replacing_folder

DESCRIPTOR = "datapackage.json"
VERSION = "1.0.2"
_HOME = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}"
PROFILE = f"{_HOME}/camtrap-dp-profile.json"
DEPLOYMENTS, MEDIA, OBSERVATIONS = "deployments", "media", "observations"
#: Fields of each table, in their order.
FIELDS: dict[str, tuple[str, ...]] = {
    DEPLOYMENTS: (
        "deploymentID", "locationID", "locationName", "latitude", "longitude",
        "coordinateUncertainty", "deploymentStart", "deploymentEnd", "setupBy", "cameraID",
        "cameraModel", "cameraDelay", "cameraHeight", "cameraDepth", "cameraTilt", "cameraHeading",
        "detectionDistance", "timestampIssues", "baitUse", "featureType", "habitat",
        "deploymentGroups", "deploymentTags", "deploymentComments",
    ),
    MEDIA: (
        "mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic",
        "fileName", "fileMediatype", "exifData", "favorite", "mediaComments",
    ),
    OBSERVATIONS: (
        "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd",
        "observationLevel", "observationType", "cameraSetupType", "scientificName", "count",
        "lifeStage", "sex", "behavior", "individualID", "individualPositionRadius",
        "individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth", "bboxHeight",
        "classificationMethod", "classifiedBy", "classificationTimestamp",
        "classificationProbability", "observationTags", "observationComments",
    ),
}  # fmt: skip
# Where a table's values go that the standard has no field for.
_REST = {
    DEPLOYMENTS: "deploymentTags", MEDIA: "mediaComments", OBSERVATIONS: "observationTags",
}  # fmt: skip
# What Camtrap DP takes for no value.
_NOTHING = frozenset({"NA", "NaN", "nan"})
# What the schema takes for a path within a package, or an address.
_FILE_PATH = re.compile(r"(?=^[^./~])(^((?!\.{2}).)*$).*")

Row = dict[str, str]


@dataclasses.dataclass
class Package:
    """A data package as it is put together.

    Parameters
    ----------
    descriptor : dict
        Content of ``datapackage.json`` but for its three tables.
    tables : dict of str to list of dict
        Rows of each table as texts, ``""`` where there is no value.
    folder : Path, optional
        Where it was read from.
    others : tuple of str
        Files of its further resources.
    n_moved : int
        Cells of columns that the standard does not know, which stand among tags now.
    """

    descriptor: dict[str, Any]
    tables: dict[str, list[Row]]
    folder: Path | None = None
    others: tuple[str, ...] = ()
    n_moved: int = 0


def is_package(folder: Path) -> bool:
    """Tell whether a folder is a Camtrap DP."""
    if not is_file(folder / DESCRIPTOR):
        return False
    try:
        found = read_json(folder / DESCRIPTOR, dict)
    except (OSError, ValueError):
        return False
    return "camtrap-dp" in str(found.get("profile", ""))


def read_package(folder: Path) -> Package:
    """Read a Camtrap DP 1.0 to 1.0.2.

    Parameters
    ----------
    folder : Path
        With ``datapackage.json``; its tables are CSV, also compressed, or Parquet.

    Raises
    ------
    SourceError
        If it is none, or a table is not there, lies elsewhere, or cannot be read.
    """
    place = folder / DESCRIPTOR
    try:
        descriptor: dict[str, Any] = read_json(place, dict)
    except (OSError, ValueError) as error:
        msg = f"{folder} is no Camtrap DP: {DESCRIPTOR} cannot be read: {error}"
        raise SourceError(msg) from error
    listed = [one for one in descriptor.get("resources") or [] if isinstance(one, dict)]
    resources = {str(one.get("name")): one for one in listed}
    missing = [name for name in FIELDS if name not in resources]
    if missing:
        msg = f"{place} has no resource {', '.join(missing)}; expected a Camtrap DP 1.0"
        raise SourceError(msg)
    package = Package(descriptor, {}, folder)
    for name in FIELDS:
        package.tables[name] = _read_rows(package, name, resources[name])
    rest = [one for one in listed if one.get("name") not in FIELDS]
    descriptor["resources"] = rest
    package.others = tuple(
        str(path) for one in rest for path in _list_paths(one) if _is_within(str(path))
    )
    return package


def _list_paths(resource: Mapping[str, Any]) -> list[Any]:
    path = resource.get("path", [])
    return path if isinstance(path, list) else [path]


def _is_within(path: str) -> bool:
    return "://" not in path and not Path(path).is_absolute() and ".." not in Path(path).parts


def _read_rows(package: Package, name: str, resource: Mapping[str, Any]) -> list[Row]:
    import pandas as pd

    assert package.folder is not None
    frames = []
    if isinstance(resource.get("data"), list):
        frames.append(pd.DataFrame(resource["data"]))
    for path in _list_paths(resource):
        if not _is_within(str(path)):
            msg = (
                f"the table {name} of {package.folder} lies at {path}, outside of the package; "
                "copy it there"
            )
            raise SourceError(msg)
        frames.append(_read_frame(package.folder / str(path), resource))
    rows = []
    known = set(FIELDS[name])
    for frame in frames:
        for record in frame.to_dict("records"):
            texts = {str(key): _write(value) for key, value in record.items()}
            row = {field: texts.pop(field, "") for field in FIELDS[name]}
            rest = [f"{key}:{text}" for key, text in texts.items() if text and key not in known]
            package.n_moved += len(rest)
            row[_REST[name]] = " | ".join(filter(None, (row[_REST[name]], *rest)))
            rows.append(row)
    key = FIELDS[name][0]
    if any(not row[key] for row in rows):
        msg = f"the table {name} of {package.folder} has rows without {key}; expected one each"
        raise SourceError(msg)
    return rows


def _read_frame(path: Path, resource: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a DataFrame
    import pandas as pd

    dialect = resource.get("dialect") if isinstance(resource.get("dialect"), dict) else {}
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(
            path, dtype=str, keep_default_na=False, index_col=False,
            sep=(dialect or {}).get("delimiter", ","),
            encoding="utf-8-sig" if resource.get("encoding", "utf-8").lower() in {"utf-8", "utf8"}
            else resource["encoding"],
        )  # fmt: skip
    except (OSError, ValueError, LookupError) as error:
        msg = f"{path} cannot be read as a table of a Camtrap DP: {error}"
        raise SourceError(msg) from error


def _write(value: Any) -> str:  # noqa: ANN401 - whatever a cell holds
    import pandas as pd

    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "isoformat"):
        said = value if value.tzinfo else value.tz_localize("UTC")
        return str(said.isoformat()).replace("+00:00", "Z")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return "" if text in _NOTHING else text


def write_file_path(name: str) -> tuple[str, bool]:
    """Return the path of a picture as the schema takes it, and whether it had to change.

    Examples
    --------
    >>> write_file_path("CAM1/a.jpg"), write_file_path("../pictures/a.jpg")
    (('CAM1/a.jpg', False), ('pictures/a.jpg', True))
    """
    if _FILE_PATH.fullmatch(name):
        return name, False
    parts = [one for one in name.replace("\\", "/").split("/") if one not in {"", ".", ".."}]
    clean = "/".join(parts).replace("..", "%2E%2E")
    return (f"%{ord(clean[0]):02X}{clean[1:]}" if clean[:1] in {".", "~"} else clean), True


def write_package(target: Path, package: Package, *, safe: bool) -> None:
    """Write a package into a new folder, whole or not at all.

    Parameters
    ----------
    target : Path
        New folder.
    package : Package
        Its further resources are copied from where it was read.
    safe : bool
        Whether cells that a spreadsheet would compute get an apostrophe before them.
    """
    resources = [
        {
            "name": name,
            "path": f"{name}.csv",
            "profile": "tabular-data-resource",
            "format": "csv",
            "mediatype": "text/csv",
            "encoding": "utf-8",
            "schema": f"{_HOME}/{name}-table-schema.json",
        }
        for name in FIELDS
    ]
    rest: Sequence[Any] = package.descriptor.get("resources", [])
    said = package.descriptor | {"profile": PROFILE, "resources": [*resources, *rest]}
    with replacing_folder(target) as folder:
        for name, fields in FIELDS.items():
            rows = ([row.get(field, "") for field in fields] for row in package.tables[name])
            text = write_rows(fields, rows, safe=safe)
            (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
        for path in package.others:
            assert package.folder is not None
            copy = folder / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package.folder / path, copy)
        text = json.dumps(said, indent=2, ensure_ascii=False) + "\n"
        (folder / DESCRIPTOR).write_text(text, encoding="utf-8")
