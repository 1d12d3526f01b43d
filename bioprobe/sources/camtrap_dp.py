"""Camtrap DP: packages of deployments, media and observations of camera traps.

An observation of a picture (``observationLevel`` media) is joined to it by ``mediaID``. One of an
event is joined to the pictures of its deployment that were taken from ``eventStart`` to
``eventEnd``, or that other observations of the deployment name with the same ``eventID``; a picture
that has an observation of its own keeps that alone.

References
----------
TDWG, *Camera Trap Data Package* 1.0 to 1.0.2.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.content import CONTENT
from bioprobe.errors import SourceError
from bioprobe.images.addresses import is_address
from bioprobe.images.regions import DETECTION_CATEGORY
from bioprobe.names import unify
from bioprobe.result import FACT, WARNING, Note
from bioprobe.sources.formats import Format
from bioprobe.sources.package_pictures import BOX, ENTRY, FILE, MAKER, make_part, take_values
from bioprobe.sources.package_tables import DataPackage, get_column, tell_count, write_snake
from bioprobe.sources.packages import Package
from bioprobe.taxonomy.columns import COMMON_NAME
from bioprobe.taxonomy.taxon import RANKS

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part
    from bioprobe.sources.peek import Peek

_TABLES = ("deployments", "media", "observations")
_DESCRIPTION = "datapackage.json"
_BOX_COLUMNS = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
# Columns that have another name here; all others keep theirs, in small letters.
_NAMES = {
    "timestamp": "captured_at", "locationName": "location", "cameraID": "camera",
    "observationType": CONTENT,
}  # fmt: skip
_NUMBERS = (
    "count", "latitude", "longitude", "classification_probability", "coordinate_uncertainty",
    "camera_height", "camera_depth", "camera_tilt", "camera_heading", "detection_distance",
    "individual_position_radius", "individual_position_angle", "individual_speed",
)  # fmt: skip
_NOT_CARRIED = frozenset(
    {"filePath", "fileMediatype", "scientificName", "taxonRank", *_BOX_COLUMNS}
)
_ENDING = re.compile(r"\.\w{2,5}$")
_ENGLISH = ("eng", "en", "en-GB", "en-US")


def open_data_package(peek: Peek) -> DataPackage | None:
    """Return the data package that a folder, a zip or a ``datapackage.json`` is; None of others."""
    package = Package.look(peek.path, _DESCRIPTION)
    return None if package is None else DataPackage.open(package)


def _is_camtrap_dp(peek: Peek) -> bool:
    """Tell whether a source is a Camtrap DP."""
    found = open_data_package(peek)
    if found is None:
        return False
    return "camtrap-dp" in found.profile or set(_TABLES) <= found.resources.keys()


def _list_camtrap_dp(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the media of a Camtrap DP, a row for each of their observations.

    Media that nobody observed are rows without a label.
    """
    found = open_data_package(peek)
    if found is None:
        msg = f"{peek.path} holds no {_DESCRIPTION}"
        raise SourceError(msg)
    return [_CamtrapDp(found).list_rows(options)]


class _CamtrapDp:
    """The three tables of one package, while they are joined."""

    def __init__(self, found: DataPackage) -> None:
        self._found, self._package = found, found.package
        self._notes: list[Note] = []
        tables = {name: found.read(name, self._notes) for name in _TABLES}
        self._media, self._observations = tables["media"], tables["observations"]
        self._deployments = tables["deployments"]
        self._drop_doubled()
        missing = [name for name in _TABLES if name not in found.resources]
        if missing:
            text = f"{self._package.path} names no table {' and no table '.join(missing)}"
            self._notes.append(Note(text, WARNING))
        if not len(self._media):
            msg = f"{self._package.path} names no media: its table 'media' has no row"
            raise SourceError(msg)
        self._n_used = 0

    def list_rows(self, options: SourceOptions) -> Part:
        """Join the tables."""
        import pandas as pd

        media, observed = self._join()
        columns: dict[str, list[str]] = {
            FILE: _take(self._find_paths(), media),
            ENTRY: [
                f"media {one or '?'}{f', observation {other}' if other else ''}"
                for one, other in zip(
                    self._pick_media(media, "mediaID"),
                    self._pick_observed(observed, "observationID"),
                    strict=True,
                )
            ],
        }
        boxes = [self._pick_observed(observed, name) for name in _BOX_COLUMNS]
        columns[BOX] = [",".join(sides) for sides in zip(*boxes, strict=True)]
        columns[MAKER] = self._find_makers(observed)
        columns |= self._find_taxa(observed)
        columns |= self._carry(media, observed)
        if any(box.strip(",") for box in columns[BOX]):
            columns[DETECTION_CATEGORY] = [
                one if box.strip(",") else ""
                for one, box in zip(columns[CONTENT], columns[BOX], strict=True)
            ]
        frame = pd.DataFrame(columns, dtype=object)
        n_without = int((observed < 0).sum())
        text = (
            f"{self._package.path} was read as Camtrap DP: {len(self._media):,} media, "
            f"{len(self._observations):,} observations, {self._n_used:,} of them of these media"
        )
        self._notes.insert(0, Note(text, FACT))
        if n_without:
            self._notes.append(
                Note(
                    f"{n_without:,} media have no observation; those that are pictures are rows "
                    "without a label"
                )
            )
        return make_part(
            self._package, frame, options, notes=self._notes, numbers=_NUMBERS,
            folders=("deployment_id", "location", "location_id", "camera"),
        )  # fmt: skip

    def _drop_doubled(self) -> None:
        """Leave out observations that stand there twice, with one ID and all else."""
        doubled = self._observations.duplicated()
        ids = get_column(self._observations, "observationID")
        doubled &= np.array([bool(one) for one in ids], dtype=bool)
        tell_count(
            self._notes, "{} observations stand there twice, and are taken once",
            (one for one, is_doubled in zip(ids, doubled, strict=True) if is_doubled),
        )  # fmt: skip
        self._observations = self._observations[~doubled].reset_index(drop=True)

    def _find_paths(self) -> list[str]:
        """Return the path of each media file; where it is that of a folder, with its name."""
        paths = get_column(self._media, "filePath")
        names = get_column(self._media, "fileName")
        return [
            f"{path.rstrip('/')}/{name}".lstrip("/")
            if name and not is_address(path) and not _ENDING.search(path) and _ENDING.search(name)
            else path
            for path, name in zip(paths, names, strict=True)
        ]

    def _pick_media(self, rows: np.ndarray[Any, Any], name: str) -> list[str]:
        return _take(get_column(self._media, name), rows)

    def _pick_observed(self, rows: np.ndarray[Any, Any], name: str) -> list[str]:
        return _take(get_column(self._observations, name), rows)

    def _join(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return the media row and the row of the observation (-1: none) of each row to be."""
        rows_of: dict[str, list[int]] = {}
        for row, key in enumerate(get_column(self._media, "mediaID")):
            if key:
                rows_of.setdefault(key, []).append(row)
        twice = [key for key, rows in rows_of.items() if len(rows) > 1]
        tell_count(
            self._notes, "{} mediaIDs are of several media, which share their observations", twice
        )
        observed: dict[int, list[int]] = {}
        keys = get_column(self._observations, "mediaID")
        events, unknown = [], []
        for row, key in enumerate(keys):
            mine = rows_of.get(key, ()) if key else ()
            for picture in mine:
                observed.setdefault(picture, []).append(row)
            if not key:
                events.append(row)
            elif mine:
                self._n_used += 1
            else:
                unknown.append(row)
        ids = get_column(self._observations, "observationID")
        tell_count(
            self._notes, "{} observations name a mediaID that no media has, and are no row",
            (f"{ids[row]} ({keys[row]})" for row in unknown),
        )  # fmt: skip
        self._tell_other_deployments(observed)
        self._join_events(events, observed, ids)
        pairs = [(m, o) for m in range(len(self._media)) for o in observed.get(m, (-1,))]
        joined = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return joined[:, 0], joined[:, 1]

    def _tell_other_deployments(self, observed: Mapping[int, list[int]]) -> None:
        of_media = get_column(self._media, "deploymentID")
        of_observation = get_column(self._observations, "deploymentID")
        ids = get_column(self._observations, "observationID")
        tell_count(
            self._notes,
            "{} observations name another deployment than their media, whose is taken",
            (
                ids[row] for picture, rows in observed.items() for row in rows
                if of_observation[row] and of_observation[row] != of_media[picture]
            ),
        )  # fmt: skip

    def _join_events(
        self, events: list[int], observed: dict[int, list[int]], ids: list[str]
    ) -> None:
        """Join observations of events to the media that have none of their own."""
        deployments = get_column(self._observations, "deploymentID")
        names = self._read_events(self._observations)
        of_event: dict[tuple[str, str], list[int]] = {}
        # Media of older packages say their event themselves.
        said = zip(get_column(self._media, "deploymentID"), self._read_events(self._media),
                   strict=True)  # fmt: skip
        for picture, key in enumerate(said):
            if key[1]:
                of_event.setdefault(key, []).append(picture)
        for picture, rows in observed.items():
            for row in rows:
                of_event.setdefault((deployments[row], names[row]), []).append(picture)
        own = set(observed)
        by_time = _ByTime(self._media)
        starts = _read_times(get_column(self._observations, "eventStart"))
        ends = _read_times(get_column(self._observations, "eventEnd"))
        unknown: list[str] = []
        only_own: list[str] = []
        for row in events:
            found = by_time.find(deployments[row], starts[row], ends[row])
            if names[row]:
                found = [*found, *of_event.get((deployments[row], names[row]), ())]
            free = [picture for picture in dict.fromkeys(found) if picture not in own]
            for picture in free:
                observed.setdefault(picture, []).append(row)
            if free:
                self._n_used += 1
            else:
                (only_own if found else unknown).append(ids[row])
        tell_count(
            self._notes,
            "{} observations of events are of media that all have observations of their own, which "
            "are taken",
            only_own,
        )
        tell_count(
            self._notes,
            "{} observations of events have no media by deployment and time, and are no row",
            unknown,
        )

    @staticmethod
    def _read_events(frame: pd.DataFrame) -> list[str]:
        pairs = zip(get_column(frame, "eventID"), get_column(frame, "sequenceID"), strict=True)
        return [event or sequence for event, sequence in pairs]

    def _find_makers(self, observed: np.ndarray[Any, Any]) -> list[str]:
        methods = self._pick_observed(observed, "classificationMethod")
        makers = self._pick_observed(observed, "classifiedBy")
        return [
            (maker or "unnamed") if method.casefold() == "machine" else ""
            for method, maker in zip(methods, makers, strict=True)
        ]

    def _find_taxa(self, observed: np.ndarray[Any, Any]) -> dict[str, list[str]]:
        """Return names and lineages of observations, by the package's own list of taxa."""
        names = self._pick_observed(observed, "scientificName")
        known = _read_taxonomic(self._found.described.get("taxonomic"))
        distinct = {name: known.get(unify(name).casefold()) for name in dict.fromkeys(names)}
        if known:
            tell_count(
                self._notes, "{} names of observations are not among the package's taxa",
                (name for name, taxon in distinct.items() if name and taxon is None),
            )  # fmt: skip
        empty: dict[str, str] = {}
        columns = {
            rank.value: [(distinct[name] or empty).get(rank.value, "") for name in names]
            for rank in RANKS[:5]
        }
        columns["scientificName"] = names
        for column in ("taxon_rank", COMMON_NAME):
            columns[column] = [(distinct[name] or empty).get(column, "") for name in names]
        return columns

    def _carry(
        self, media: np.ndarray[Any, Any], observed: np.ndarray[Any, Any]
    ) -> dict[str, list[str]]:
        """Return the further columns: of observations first, then of media and deployments."""
        where = get_column(self._deployments, "deploymentID")
        by_id = {key: row for row, key in reversed(list(enumerate(where))) if key}
        keys = self._pick_media(media, "deploymentID")
        deployed = take_values(by_id, keys)
        if len(self._deployments) or any(keys):
            tell_count(
                self._notes, "{} deploymentIDs of media are not among the deployments",
                dict.fromkeys(
                    key for key, row in zip(keys, deployed.tolist(), strict=True)
                    if key and row < 0
                ),
            )  # fmt: skip
        twice = [key for key, n in collections.Counter(where).items() if key and n > 1]
        tell_count(
            self._notes, "{} deploymentIDs are of several deployments; the first is taken", twice
        )
        columns: dict[str, list[str]] = {CONTENT: [""] * len(media)}
        tables = (
            (self._observations, observed, "observation"),
            (self._media, media, "media"),
            (self._deployments, deployed, "deployment"),
        )
        for frame, rows, kind in tables:
            for column in frame.columns:
                own = {"deploymentID", "mediaID"} if kind == "observation" else set()
                if column in _NOT_CARRIED | own:
                    continue
                name = _NAMES.get(column) or write_snake(column)
                if name == "deployment_id" and kind == "deployment":
                    continue
                values = _take(get_column(frame, column), rows)
                if not any(values):
                    continue
                if name != CONTENT and name in columns:
                    name = f"{kind}_{name}"
                columns[name] = values
        if "location" not in columns and "location_id" in columns:
            columns["location"] = columns["location_id"]
        return columns


def _take(values: list[str], rows: np.ndarray[Any, Any]) -> list[str]:
    return [values[row] if row >= 0 else "" for row in rows.tolist()]


class _ByTime:
    """Media by deployment and time."""

    def __init__(self, media: pd.DataFrame) -> None:
        deployments = get_column(media, "deploymentID")
        times = _read_times(get_column(media, "timestamp"))
        rows = np.flatnonzero(~np.isnat(times))
        by_deployment: dict[str, list[int]] = {}
        for row in rows.tolist():
            by_deployment.setdefault(deployments[row], []).append(row)
        self._rows = {}
        for key, mine in by_deployment.items():
            order = np.array(mine, dtype=np.int64)
            order = order[np.argsort(times[order], kind="stable")]
            self._rows[key] = (order, times[order])

    def find(self, deployment: str, start: np.datetime64, end: np.datetime64) -> list[int]:
        """Return the rows of a deployment from one time to another, both included."""
        if deployment not in self._rows or np.isnat(start):
            return []
        rows, times = self._rows[deployment]
        last = start if np.isnat(end) else end
        first, behind = np.searchsorted(times, start), np.searchsorted(times, last, side="right")
        return [int(row) for row in rows[first:behind]]


def _read_times(texts: list[str]) -> np.ndarray[Any, Any]:
    """Return times in UTC, those without a zone as they are written; NaT where there is none."""
    import pandas as pd

    read = pd.to_datetime(
        pd.Series(texts, dtype=object), utc=True, errors="coerce", format="ISO8601"
    )
    return read.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")


def _read_taxonomic(listed: object) -> dict[str, dict[str, str]]:
    """Return the lineages of a package's ``taxonomic``, by names in small letters."""
    known: dict[str, dict[str, str]] = {}
    for one in listed if isinstance(listed, list) else []:
        name = one.get("scientificName") if isinstance(one, dict) else None
        if not isinstance(name, str):
            continue
        taxon = {
            write_snake(key): value
            for key in (*(rank.value for rank in RANKS[:6]), "taxonRank")
            if isinstance(value := one.get(key), str)
        }
        common = one.get("vernacularNames")
        if isinstance(common, dict):
            texts = {key: value for key, value in common.items() if isinstance(value, str)}
            first = next((texts[key] for key in _ENGLISH if key in texts), "")
            taxon[COMMON_NAME] = first or next(iter(texts.values()), "")
        known.setdefault(unify(name).casefold(), taxon)
    return known


__all__ = ["open_data_package"]


CAMTRAP_DP = Format(
    "camtrap-dp",
    "Camtrap DP 1.0 to 1.0.2, a folder or a zip",
    _is_camtrap_dp,
    _list_camtrap_dp,
)
