"""Records and detection histories as camtrapR, unmarked and Camtrap DP read them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.counting.effort import Effort
from bioprobe.counting.records import Histories, RecordTable
from bioprobe.errors import MisuseError, SourceError
from bioprobe.exporting.answers import ANIMAL, HUMAN, VEHICLE
from bioprobe.exporting.camtrap_package import FIELDS, OBSERVATIONS
from bioprobe.exporting.form import make_id, write_rows
from bioprobe.exporting.places import Grid, Place
from bioprobe.files import replacing_folder, write_text
from bioprobe.options import CAMTRAP_DP, LAST_RECORD, UNMARKED

if TYPE_CHECKING:
    import pandas as pd

Point = tuple[float, float]
_EXACT = Grid()
_UNITS = {"secs": 1, "mins": 60, "hours": 3600, "days": 86_400}


def write_records(
    target: Path, found: RecordTable, form: str, *, model: str = "", grid: Grid = _EXACT,
    safe: bool = False,
) -> list[str]:  # fmt: skip
    """Write records in the form of another tool, whole or not at all.

    Parameters
    ----------
    target : Path
        camtrapR: a ``.csv`` for the record table alone, or a new folder for it with
        ``stations.csv`` (its CTtable), ``camera_operation.csv``, and, where there are histories,
        ``effort.csv`` and ``detection_history/TAXON.csv``. unmarked: a new folder with a table a
        taxon, as ``csvToUMF(long = FALSE)`` reads it. Camtrap DP: a ``.csv``, the observations of
        events.
    found : RecordTable
        Records; those without a time are left out, and counted.
    form : {"camtrapr", "unmarked", "camtrap-dp"}
    model : str
        Who predicted.
    grid : Grid
        How exactly the places of stations are told where a sensitive taxon was seen, or that lie
        at the same point as one.
    safe : bool
        Whether cells that a spreadsheet would compute are disarmed.

    Returns
    -------
    list of str
        What is to be said of it.

    Raises
    ------
    MisuseError
        If the target is a file and the form a folder, or the other way round.
    SourceError
        If what the form requires is not known.

    References
    ----------
    Niedballa et al. 2016, *camtrapR* (``recordTable``, ``cameraOperation``,
    ``detectionHistory``); Fiske and Chandler 2011, *unmarked* (``csvToUMF``); TDWG, *Camera Trap
    Data Package* 1.0.2.
    """
    is_file = target.suffix.lower() == ".csv"
    if (form == UNMARKED and is_file) or (form == CAMTRAP_DP and not is_file):
        kind = "a new folder, with a table a taxon" if form == UNMARKED else "a .csv file"
        msg = f"{form} is {kind}, got {target}; name it so with --output"
        raise MisuseError(msg)
    n_left = len(found.records) - len(found.timed)
    notes = [f"{n_left:,} rows without a time are left out of {target}"] if n_left else []
    if form == CAMTRAP_DP:
        write_text(target, _write_observations(found, model, safe=safe))
        return [*notes, f"{len(found.timed):,} observations of events -> {target}"]
    if is_file:
        write_text(target, _write_camtrapr(found, safe=safe))
        return [*notes, f"{len(found.timed):,} records -> {target}"]
    points, n_rough = _find_points(found, grid)
    if n_rough:
        rough = grid.generalise(Place(0.0, 0.0)).generalisation
        notes.append(f"the places of {n_rough:,} stations are {rough}, as of sensitive taxa")
    if form == UNMARKED:
        texts = _write_unmarked(found, points, safe=safe)
    else:
        texts = {"records.csv": _write_camtrapr(found, safe=safe)}
        if found.effort is not None:
            texts |= _write_effort(found.effort, found.by, points, safe=safe)
        if found.histories is not None:
            texts |= _write_histories(found.histories, safe=safe)
    with replacing_folder(target) as folder:
        for name, text in texts.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", newline="")
    return [*notes, f"{len(texts):,} files -> {target}"]


def _write_camtrapr(found: RecordTable, *, safe: bool) -> str:
    """Return camtrapR's record table: what is compared is compared as the events were made."""
    frame = found.timed.sort_values(["group", "taxon", "instant"], kind="stable")
    header = ["Station", "Species", "n", "DateTimeOriginal", "Date", "Time",
              *(f"delta.time.{unit}" for unit in _UNITS), "Directory", "FileName", "n_images",
              "score", "source"]  # fmt: skip
    rows = []
    previous: Any = None
    station = _station(found)
    for row in frame.to_dict("records"):
        seconds = 0
        if previous is not None and all(row[key] == previous[key] for key in ("group", "taxon")):
            since = previous["ended"] if found.compare_to == LAST_RECORD else previous["instant"]
            seconds = int((row["instant"] - since).total_seconds())
        previous = row | {"ended": row["instant"] + (row["last"] - row["local"])}
        directory, _, name = row["file_name"].rpartition("/")
        date, _, clock = str(row["local"]).partition(" ")
        deltas = [f"{seconds / length:.6g}" if length > 1 else str(seconds)
                  for length in _UNITS.values()]  # fmt: skip
        rows.append([
            row[station], row["taxon"], row["count"], f"{date} {clock or '00:00:00'}", date,
            clock or "00:00:00", *deltas, directory, name, row["n_pictures"],
            None if math.isnan(row["score"]) else row["score"], row["source"],
        ])  # fmt: skip
    return write_rows(header, rows, safe=safe)


def _station(found: RecordTable) -> str:
    if found.by in {"deployment", "place"}:
        return found.by
    return "group"


def _name_station(by: str) -> str:
    """Return the column of deployments that names the stations of histories and effort."""
    return "deployment" if by == "deployment" else "place"


def _find_points(found: RecordTable, grid: Grid) -> tuple[dict[str, Point], int]:
    """Return latitude and longitude of each station, as exactly as may be told.

    Returns
    -------
    points : dict of str to (float, float)
        By station; not a number where it is not known.
    n_rough : int
        Stations whose places are less exact.
    """
    if found.effort is None:
        return {}, 0
    key = _name_station(found.by)
    where = found.effort.deployments
    names = found.records[found.times["is_sensitive"].astype(bool)]
    secret = where["deployment"].isin(names["deployment"]) | where["place"].isin(names["place"])
    exact = list(zip(where["latitude"].tolist(), where["longitude"].tolist(), strict=True))
    hidden = {point for point, is_it in zip(exact, secret, strict=True) if is_it} if grid else set()
    points: dict[str, Point] = {}
    n_rough = 0
    for name, point in zip(where[key].tolist(), exact, strict=True):
        if name in points:
            continue
        points[name] = point
        if point in hidden and not any(map(math.isnan, point)):
            rough = grid.generalise(Place(*point))
            points[name], n_rough = (rough.latitude, rough.longitude), n_rough + 1
    return points, n_rough


def _write_effort(
    effort: Effort, by: str, points: Mapping[str, Point], *, safe: bool
) -> dict[str, str]:
    """Return camtrapR's table of stations and its matrix of days."""
    import pandas as pd

    key, stints = _name_station(by), effort.stints
    spans: dict[str, list[tuple[Any, Any]]] = {}
    for name, start, end in zip(
        stints[key], stints["start"].to_numpy(), stints["end"].to_numpy(), strict=True
    ):
        spans.setdefault(str(name), []).append((start, end))
    joined = {name: _join(some) for name, some in spans.items()}
    n_gaps = max((len(some) - 1 for some in joined.values()), default=0)
    problems = [f"Problem{n}_{side}" for n in range(1, n_gaps + 1) for side in ("from", "to")]
    header = ["Station", "Setup_date", "Retrieval_date", "latitude", "longitude", *problems]
    rows = []
    for name, some in joined.items():
        gaps = [(some[n][1], some[n + 1][0]) for n in range(len(some) - 1)]
        rows.append([
            name, _clock(some[0][0]), _clock(some[-1][1]),
            *(None if math.isnan(value) else _degrees(value) for value in points[name]),
            *(_clock(time) for gap in gaps for time in gap),
            *[None] * (2 * (n_gaps - len(gaps))),
        ])  # fmt: skip
    days = effort.count_days([key, "day"]) if len(stints) else pd.DataFrame()
    matrix = ""
    if len(days):
        first, last = days["day"].min(), days["day"].max()
        columns = [str(day) for day in np.arange(first, np.datetime64(last) + 1, dtype="M8[D]")]
        worked = {(row[key], row["day"]): row["camera_days"] for row in days.to_dict("records")}
        lines = []
        for name, some in joined.items():
            begin, end = str(some[0][0])[:10], str(some[-1][1])[:10]
            # NA: no camera stood there; 0: one stood and did not work.
            lines.append([name, *(
                f"{worked.get((name, day), 0.0):.6g}" if begin <= day <= end else "NA"
                for day in columns
            )])  # fmt: skip
        matrix = write_rows(["", *columns], lines, safe=safe)
    tables = {"stations.csv": write_rows(header, rows, safe=safe)}
    return tables | ({"camera_operation.csv": matrix} if matrix else {})


def _join(spans: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Return stretches in which one camera at least worked."""
    joined: list[tuple[Any, Any]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _clock(time: Any) -> str:  # noqa: ANN401 - datetime64
    return str(np.datetime64(time, "s")).replace("T", " ")


def _write_histories(histories: Histories, *, safe: bool) -> dict[str, str]:
    names = [f"o{name}" for name in histories.effort.columns]
    tables = {"effort.csv": _write_matrix(histories.effort, names, safe=safe)}
    for (_, cells), name in zip(
        histories.detections.items(), _name_files(histories.detections), strict=True
    ):
        tables[f"detection_history/{name}.csv"] = _write_matrix(cells, names, safe=safe)
    return tables


def _write_matrix(cells: pd.DataFrame, names: Sequence[str], *, safe: bool) -> str:
    rows = [[place, *map(_cell, values)] for place, values in zip(
        cells.index, cells.to_numpy(), strict=True)]  # fmt: skip
    return write_rows(["", *names], rows, safe=safe)


def _cell(value: float) -> str:
    return "NA" if math.isnan(value) else f"{value:.6g}"


def _degrees(value: float) -> str:
    """Return a latitude or longitude to the decimetre."""
    return "NA" if math.isnan(value) else f"{value:.9g}"


def _name_files(taxa: Mapping[str, Any]) -> list[str]:
    """Return names of files, which taxa that are written alike do not share."""
    found: list[str] = []
    for taxon in taxa:
        base = re.sub(r"[^\w.-]+", "_", taxon).strip("._") or "taxon"
        taken = {one.casefold() for one in found}
        tried = (base if n == 1 else f"{base}_{n}" for n in itertools.count(1))
        found.append(next(name for name in tried if name.casefold() not in taken))
    return found


def _write_unmarked(
    found: RecordTable, points: Mapping[str, Point], *, safe: bool
) -> dict[str, str]:
    """Return a table a taxon: site, y.1 …, latitude, longitude, effort.1 …."""
    histories = found.histories
    if histories is None:
        msg = "unmarked reads detection histories; say --occasion-days and --deployments"
        raise MisuseError(msg)
    n = len(histories.effort.columns)
    header = ["site", *(f"y.{k + 1}" for k in range(n)), "latitude", "longitude",
              *(f"effort.{k + 1}" for k in range(n))]  # fmt: skip
    tables = {}
    for (_, cells), name in zip(
        histories.detections.items(), _name_files(histories.detections), strict=True
    ):
        rows = [
            [place, *map(_cell, cells.loc[place]),
             *map(_degrees, points[place]),
             *map(_cell, histories.effort.loc[place])]
            for place in cells.index
        ]  # fmt: skip
        tables[f"{name}.csv"] = write_rows(header, rows, safe=safe)
    return tables


def _write_observations(found: RecordTable, model: str, *, safe: bool) -> str:
    """Return Camtrap DP's observations, one an event.

    Raises
    ------
    SourceError
        If a time says no offset from UTC, which Camtrap DP requires.
    """
    frame = found.timed
    without = int((~frame["is_zoned"].astype(bool)).sum())
    if without:
        msg = (
            f"a Camtrap DP requires the offset from UTC of every time, and {without:,} records "
            "have none; name the zone with --time-zone, such as Europe/Zurich or +01:00"
        )
        raise SourceError(msg)
    nameless = int((frame["deployment"] == "").sum())
    if nameless:
        msg = (
            f"a Camtrap DP requires the deployment of every observation, and {nameless:,} records "
            "have none; give pictures a column deploymentID, or a folder of their own"
        )
        raise SourceError(msg)
    rows = []
    for row in frame.to_dict("records"):
        event = make_id("event", row["deployment"], row["taxon"], row["start"])
        kind = row["content"] if row["content"] in {ANIMAL, HUMAN, VEHICLE} else "unknown"
        by_machine = row["source"] != "label"
        is_taxon = bool(row["rank"])
        name = row["taxon"] if is_taxon else "Homo sapiens" if kind == HUMAN else ""
        said = {
            "observationID": make_id("observation", event), "deploymentID": row["deployment"],
            "eventID": event, "eventStart": row["start"], "eventEnd": row["end"],
            "observationLevel": "event", "observationType": kind, "scientificName": name,
            "count": row["count"] or 1,
            "classificationMethod": "machine" if by_machine else "human",
            "classifiedBy": model if by_machine else "",
            "classificationProbability": None if not by_machine or math.isnan(row["score"])
            else f"{min(max(row['score'], 0.0), 1.0):.6g}",
            "observationTags": "" if name or row["taxon"] == kind else f"class:{row['taxon']}",
            "observationComments": row["trouble"],
        }  # fmt: skip
        rows.append([said.get(field, "") for field in FIELDS[OBSERVATIONS]])
    return write_rows(FIELDS[OBSERVATIONS], rows, safe=safe)
