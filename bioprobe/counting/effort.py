"""Camera effort: when each camera worked, by its deployments, without gaps and failures.

Times are those of the clock at the camera, so that a day has its date and counts one wherever the
clocks are moved. Of a day that is said without a time, a camera stood from noon when it was set up
and until noon when it was fetched, as in camtrapR since 2.1; a failure takes whole days, the first
and the last included.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.cells import name_cells
from bioprobe.counting.clocks import Moments, read_moments
from bioprobe.errors import SelectionError, SourceError
from bioprobe.images.degrees import read_degrees
from bioprobe.images.times import Times, read_zone
from bioprobe.result import WARNING, Note, Notes, name_some
from bioprobe.tables import open_table
from bioprobe.taxonomy.columns import find_first, spell_column, spell_columns
from bioprobe.types import Mask, Names

if TYPE_CHECKING:
    import pandas as pd

#: How people call the columns of a table of deployments, as :func:`spell_column` writes them.
CALLED: dict[str, tuple[str, ...]] = {
    "deployment": ("deploymentid", "deployment", "deploymentname"),
    "place": ("locationname", "locationid", "location", "station", "stationid", "stationname",
              "site", "siteid", "sitename", "placename", "place"),
    "camera": ("cameraid", "camera", "cameraname"),
    "session": ("session", "sessionid", "season"),
    "start": ("deploymentstart", "start", "startdate", "starttime", "startdatetime", "setupdate",
              "setup", "begin", "datestart", "installed", "deployed"),
    "end": ("deploymentend", "end", "enddate", "endtime", "enddatetime", "retrievaldate",
            "retrieval", "pickupdate", "dateend", "retrieved"),
    "zone": ("timezone", "tz", "utcoffset"),
    "latitude": ("latitude", "lat", "decimallatitude"),
    "longitude": ("longitude", "lon", "lng", "long", "decimallongitude"),
}  # fmt: skip
_GAP = re.compile(
    r"(?:problem|gap|failure|fault|outage|offline)(\d*)(from|start|begin|to|end|until)"
)
_WORKS = {"", "camerafunctioning", "functioning", "working", "ok", "none", "unknown"}
_YES = {"true", "t", "yes", "1"}
_DAY = np.timedelta64(86_400, "s")
_NOON = np.timedelta64(43_200, "s")
_NO_TIME = np.datetime64("NaT", "s")
# No digital camera was left in a wood before.
_FIRST = np.datetime64("1990-01-01", "s")
#: Groupings by time, and how a stretch of time is cut for them.
_CALENDAR = {"day": "D", "month": "M", "year": "Y"}
_OWN = ("deployment", "place", "camera")
#: Columns that name a deployment, place or camera.
NAMED = frozenset(name for meaning in _OWN for name in CALLED[meaning])


@dataclasses.dataclass(frozen=True, eq=False)
class Effort:
    """When cameras worked.

    Parameters
    ----------
    deployments : DataFrame
        One row a deployment: ``deployment``, ``place``, ``camera``, ``zone``, ``latitude``,
        ``longitude`` (not a number where unknown), ``first`` and ``last`` (between which a picture
        can be of it, local), ``days`` (worked), ``lost_days`` (gaps and failures), and the further
        columns of the table.
    stints : DataFrame
        One row a stretch of time in which a camera worked: ``deployment``, ``place``, ``camera``,
        ``start`` and ``end``, local, datetime64[s].
    gaps : DataFrame
        One row a gap or failure: ``deployment``, ``start`` and ``end``.
    notes : tuple of Note
        What is to be said of the table: gaps, overlaps, days that are no days.
    is_zoned : bool
        Whether some start says its offset from UTC, or its zone.
    """

    deployments: pd.DataFrame
    stints: pd.DataFrame
    gaps: pd.DataFrame
    notes: Notes = ()
    is_zoned: bool = False

    @property
    def days(self) -> float:
        """Camera-days of all deployments."""
        return float(_count(self.stints["start"], self.stints["end"]).sum())

    def count_days(self, by: str | Sequence[str] = ()) -> pd.DataFrame:
        """Count camera-days by any columns of the deployments, and by the calendar.

        Parameters
        ----------
        by : str or sequence of str
            ``deployment``, ``place`` (also ``site``, ``station``, ``location``), ``camera``,
            another column of the table, ``year``, ``month`` (2024-05), or ``day``; without any, one
            row of everything.

        Returns
        -------
        DataFrame
            The columns of ``by``, ``camera_days``, ``n_deployments`` and ``n_places``; a time as
            text. Groups without effort have no row.

        Raises
        ------
        SelectionError
            If there is no such column.
        """
        import pandas as pd

        asked = [by] if isinstance(by, str) else list(by)
        names = [self._find_column(name) for name in asked]
        calendar = [name for name in names if name in _CALENDAR]
        further = [name for name in names if name not in {*_CALENDAR, *_OWN}]
        pieces = self.stints
        if calendar:
            # The finest cuts for all.
            finest = min(calendar, key=list(_CALENDAR).index)
            pieces = _cut(pieces, _CALENDAR[finest])
            for name in calendar:
                units = pieces["start"].to_numpy().astype(f"datetime64[{_CALENDAR[name]}]")
                pieces[name] = units.astype(str)
        if further:
            of = self.deployments.set_index("deployment")[further]
            pieces = pieces.join(of, on="deployment")
        pieces = pieces.assign(camera_days=_count(pieces["start"], pieces["end"]))
        figures: dict[str, Any] = {
            "camera_days": ("camera_days", "sum"),
            "n_deployments": ("deployment", "nunique"),
            "n_places": ("place", "nunique"),
        }
        if not names:
            return pd.DataFrame([{
                "camera_days": pieces["camera_days"].sum(),
                "n_deployments": pieces["deployment"].nunique(),
                "n_places": pieces["place"].nunique(),
            }])  # fmt: skip
        grouped: pd.DataFrame = pieces.groupby(names, dropna=False, sort=True).agg(**figures)
        return grouped.reset_index().rename(columns=dict(zip(names, asked, strict=True)))

    def _find_column(self, name: str) -> str:
        """Return the column that a person calls so: ``site`` and ``station`` are the place."""
        if name in _CALENDAR or name in self.deployments:
            return name
        meant = [one for one in _OWN if spell_column(name) in CALLED[one]]
        if not meant:
            known = ", ".join([*self.deployments.columns.astype(str), *_CALENDAR])
            msg = f"no column {name!r} in the table of deployments; there are: {known}"
            raise SelectionError(msg)
        return meant[0]

    def find(self, names: Names, local: Times) -> Names:
        """Return the deployment of each of some pictures, ``""`` where none holds it.

        Parameters
        ----------
        names : ndarray of object, shape (n_rows,)
            Of a deployment, place or camera, in any case.
        local : ndarray of datetime64[s], shape (n_rows,)
            When each was taken, by the clock at the camera.
        """
        frame = self.deployments
        found = np.full(len(names), "", dtype=object)
        first, last = (frame[name].to_numpy() for name in ("first", "last"))
        folded = np.array([str(one).casefold() for one in names], dtype=object)
        known = self.known
        for name in sorted(set(folded.tolist())):
            rows = np.flatnonzero(folded == name)
            for number in reversed(known.get(name, [])):
                inside = (local[rows] >= first[number]) & (local[rows] <= last[number])
                found[rows[inside]] = frame["deployment"].iloc[number]
        return found

    @functools.cached_property
    def known(self) -> dict[str, list[int]]:
        """Rows of :attr:`deployments` by each name in small letters that a picture may say.

        A name of a deployment counts before that of a place, this before that of a camera.
        """
        frame = self.deployments
        found: dict[str, list[int]] = {}
        others = [one for one in frame if spell_column(one) in CALLED["place"]]
        for column in dict.fromkeys((*_OWN, *others)):
            for row, name in enumerate(name_cells(frame[column])):
                key = str(name).casefold()
                if key and row not in found.setdefault(key, []):
                    found[key].append(row)
        return found

    def fails(self, deployments: Names, local: Times) -> Mask:
        """Tell for each of some pictures whether its camera was said not to work just then.

        Parameters
        ----------
        deployments : ndarray of object, shape (n_rows,)
            As :meth:`find` returns them.
        local : ndarray of datetime64[s], shape (n_rows,)
        """
        rows_of = {name: np.flatnonzero(deployments == name) for name in set(deployments.tolist())}
        return _lie_in(self.gaps, rows_of, local) & ~_lie_in(self.stints, rows_of, local)


def read_effort(
    path: Path,
    *,
    time_zone: str = "",
    seen: Mapping[str, tuple[np.datetime64, np.datetime64]] | None = None,
    now: np.datetime64 | None = None,
) -> Effort:
    """Read a table of deployments: Camtrap DP's, camtrapR's, Wildlife Insights', or any like it.

    Raises
    ------
    SourceError
        If it cannot be read, or has no columns of a camera and when it was set up.
    """
    file = path / "deployments.csv" if path.is_dir() else path
    opened = open_table(file)
    return build_effort(opened.frame, time_zone=time_zone, seen=seen, now=now, locate=opened.place)


def build_effort(
    frame: pd.DataFrame,
    *,
    time_zone: str = "",
    seen: Mapping[str, tuple[np.datetime64, np.datetime64]] | None = None,
    now: np.datetime64 | None = None,
    locate: Callable[[int], str] | None = None,
) -> Effort:
    """Find when cameras worked from a table with a row a deployment, or several.

    Columns are known by the names of Camtrap DP (``deploymentID``, ``locationName``,
    ``deploymentStart``, ``deploymentEnd``, ``cameraID``), camtrapR (``Station``, ``Setup_date``,
    ``Retrieval_date``, ``Camera``, ``session``, ``Problem1_from``, ``Problem1_to`` …), Wildlife
    Insights (``placename``, ``start_date``, ``end_date``, ``camera_functioning``) and their like.

    Parameters
    ----------
    frame : DataFrame
        Of texts or numbers.
    time_zone : str
        Where no column ``timezone`` says one: a name or an offset from UTC; ``""``: times are
        local as they stand.
    seen : mapping of str to (datetime64, datetime64), optional
        First and last picture by deployment or place, local: a camera without an end is taken to
        have worked until its last.
    now : datetime64, optional
        Until when a camera can have worked; by default this moment, in UTC.
    locate : callable, optional
        Says where a row stands in its file.

    Raises
    ------
    SourceError
        If there is no column of a deployment, place or camera, or none of when it was set up.
    MisuseError
        If there is no such time zone.

    References
    ----------
    Niedballa et al. 2016, *camtrapR: an R package for efficient camera trap data management*
    (problem columns; noon of a day without a time since version 2.1).
    """
    import pandas as pd

    table = _Table(frame, time_zone, locate or (lambda row: f"row {row + 1}"))
    now = np.datetime64("now", "s") if now is None else now.astype("datetime64[s]")
    seen = {name.casefold(): span for name, span in (seen or {}).items()}
    start, end = table.read_bounds(now, seen)
    lost: dict[int, float] = {}
    pieces: list[tuple[int, np.datetime64, np.datetime64]] = []
    gaps = table.read_gaps()
    for row in range(len(frame)):
        if np.isnat(start[row]) or np.isnat(end[row]):
            continue
        own = [(a, b) for a, b in gaps[row] if a < end[row] and b > start[row]]
        left = _take_out((start[row], end[row]), own)
        pieces += [(row, *one) for one in left]
        worked = sum(_days(a, b) for a, b in left)
        lost[row] = _days(start[row], end[row]) - worked
    stints = pd.DataFrame(
        _merge(pieces, table.names, table.notes),
        columns=["row", "start", "end"],
    )
    stints = stints.astype({"row": np.int64, "start": "datetime64[s]", "end": "datetime64[s]"})
    for name in _OWN:
        stints[name] = table.of(name)[stints["row"].to_numpy()]
    stints = stints[[*_OWN, "start", "end"]]
    deployments = table.describe(stints, lost)
    table.tell(stints, lost)
    holes = [
        (str(name), *one) for name, some in zip(table.names, gaps, strict=True) for one in some
    ]
    lacks = pd.DataFrame(holes, columns=["deployment", "start", "end"])
    lacks = lacks.astype({"start": "datetime64[s]", "end": "datetime64[s]"})
    return Effort(deployments, stints, lacks, tuple(table.notes), table.is_zoned)


class _Table:
    """A table of deployments, by what its columns mean."""

    def __init__(self, frame: pd.DataFrame, time_zone: str, locate: Callable[[int], str]) -> None:
        self.frame = frame
        self.locate = locate
        self.notes: list[Note] = []
        self.is_zoned = False
        self._spelled = spell_columns(frame.columns)
        self._columns = {
            meaning: find_first(names, self._spelled) for meaning, names in CALLED.items()
        }
        if self._columns["start"] is None or not any(self._columns[one] for one in _OWN):
            msg = (
                "the table of deployments needs a column of the deployment, place or camera and "
                "one of when it was set up, such as deploymentID and deploymentStart, or Station "
                f"and Setup_date; it has {', '.join(map(str, frame.columns))}"
            )
            raise SourceError(msg)
        zones = self._read("zone")
        for zone in sorted(set(zones.tolist()) - {""}):
            read_zone(zone)
        self.zones = np.where(zones == "", time_zone, zones).astype(object)
        self._own = self._name()
        self.names: Names = self._own["deployment"]

    def of(self, name: str) -> Names:
        """Return the deployment, place or camera of each row."""
        return self._own[name]

    def _read(self, meaning: str) -> Names:
        column = self._columns[meaning]
        if column is None:
            return np.full(len(self.frame), "", dtype=object)
        return name_cells(self.frame[column])

    def _name(self) -> dict[str, Names]:
        """Name deployments; of several cameras or sessions of a place as camtrapR does."""
        deployment, place, camera, session = map(self._read, ("deployment", "place", "camera",
                                                              "session"))  # fmt: skip
        place = np.where(place == "", np.where(deployment == "", camera, deployment), place)
        named = place.astype(object)
        for word, further in (("SESS", session), ("CAM", camera)):
            several = {
                one for one in set(place.tolist()) if len(set(further[place == one].tolist())) > 1
            }
            named = np.array(
                [
                    f"{name}__{word}_{more}" if where in several and more else name
                    for name, more, where in zip(named, further, place, strict=True)
                ],
                dtype=object,
            )
        deployment = np.where(deployment == "", named, deployment).astype(object)
        unnamed = np.flatnonzero(deployment == "")
        if len(unnamed):
            where = name_some([self.locate(int(row)) for row in unnamed])
            self._warn(f"{len(unnamed):,} rows name no deployment, place or camera and are left "
                       f"out: {where}")  # fmt: skip
        return {"deployment": deployment, "place": place.astype(object), "camera": camera}

    def _warn(self, text: str) -> None:
        self.notes.append(Note(f"deployments: {text}", WARNING))

    @functools.cached_property
    def _moments(self) -> dict[Any, Moments]:
        """Times by column, which say together whether the day or the month stands first."""
        columns = [one for one in (self._columns["start"], self._columns["end"]) if one is not None]
        columns += [name for spelled, name in self._spelled.items() if _GAP.fullmatch(spelled)]
        cells = np.concatenate([name_cells(self.frame[one]) for one in columns])
        found = read_moments(cells, np.tile(self.zones, len(columns)))
        n = len(self.frame)
        return {one: found.take(slice(k * n, (k + 1) * n)) for k, one in enumerate(columns)}

    def read_moments(self, column: Any) -> Moments:  # noqa: ANN401 - whatever a header is
        """Read a column of times, and say what of it is none."""
        found = self._moments[column]
        cells = name_cells(self.frame[column])
        lost = cells[np.isnat(found.local) & (cells != "")]
        if len(lost):
            said = name_some([repr(text) for text in lost.tolist()])
            self._warn(f"{len(lost):,} cells of {column} are no time: {said}")
        return found

    def read_bounds(
        self, now: np.datetime64, seen: Mapping[str, tuple[np.datetime64, np.datetime64]]
    ) -> tuple[Times, Times]:
        """Return between which times each camera stood, not a time where that is not known."""
        begun = self.read_moments(self._columns["start"])
        self.is_zoned = bool(begun.is_zoned.any())
        start: Times = begun.local.copy()
        end: Times = np.full(len(self.frame), _NO_TIME)
        ends_on_day = np.zeros(len(start), dtype=bool)
        if self._columns["end"] is not None:
            ended = self.read_moments(self._columns["end"])
            end, ends_on_day = ended.local.copy(), ~ended.is_clocked
        starts_on_day = ~begun.is_clocked
        # A picture of the day itself is of the deployment, whatever hour it was set up at.
        self.first, self.last = start.copy(), np.where(ends_on_day, end + _DAY, end)
        start = np.where(starts_on_day, start + _NOON, start)
        end = np.where(ends_on_day, end + _NOON, end)
        named = self.names != ""
        open_ = named & np.isnat(end) & ~np.isnat(start)
        guessed = []
        for row in np.flatnonzero(open_):
            spans = [seen.get(str(self._own[one][row]).casefold()) for one in _OWN]
            span = next((one for one in spans if one is not None), None)
            if span is not None and span[1] > start[row]:
                end[row] = self.last[row] = span[1].astype("datetime64[s]")
                guessed.append(str(self.names[row]))
        if guessed:
            self._warn(f"{len(guessed):,} have no end, and count until their last picture: "
                       f"{name_some(guessed)}")  # fmt: skip
        self._drop(named & np.isnat(start), start, "no start, and no effort is counted for them")
        self._drop(named & np.isnat(end) & ~np.isnat(start), end,
                   "no end and no pictures, and no effort is counted for them")  # fmt: skip
        self._drop(
            ~np.isnat(start) & (start < _FIRST), start,
            f"a start before {str(_FIRST)[:4]}, and no effort is counted for them",
        )  # fmt: skip
        self._drop(~np.isnat(start) & (start > now), start,
                   "a start in the future, and no effort is counted for them")  # fmt: skip
        late = ~np.isnat(start) & (end > now)
        if late.any():
            self._warn(f"{late.sum():,} end in the future, and count until now: "
                       f"{name_some(self.names[late])}")  # fmt: skip
            end[late] = now
        backward = ~np.isnat(start) & (end < start)
        self._drop(backward, start, "an end before the start, and no effort is counted for them")
        start[~named] = _NO_TIME
        return start, end

    def _drop(self, which: Mask, times: Times, why: str) -> None:
        if which.any():
            rows = np.flatnonzero(which)
            where = name_some([f"{self.names[row]} ({self.locate(int(row))})" for row in rows])
            self._warn(f"{len(rows):,} have {why}: {where}")
            times[which] = _NO_TIME

    def read_gaps(self) -> list[list[tuple[np.datetime64, np.datetime64]]]:
        """Return the gaps of each row: from ``Problem1_from`` to ``Problem1_to``, and so on."""
        found: list[list[tuple[np.datetime64, np.datetime64]]] = [[] for _ in self.names]
        sides: dict[str, dict[str, Any]] = {}
        for spelled, column in self._spelled.items():
            match = _GAP.fullmatch(spelled)
            if match:
                side = "from" if match[2] in {"from", "start", "begin"} else "to"
                key = spelled.removesuffix(match[2])
                sides.setdefault(key, {})[side] = column
        for columns in sides.values():
            if len(columns) < 2:
                name = next(iter(columns.values()))
                self._warn(f"the column {name} has no other end, and is not counted as a gap")
                continue
            begun, ended = (self.read_moments(columns[side]) for side in ("from", "to"))
            until = np.where(ended.is_clocked, ended.local, ended.local + _DAY)
            half = np.isnat(begun.local) != np.isnat(until)
            # A failure without an end lasts as long as the deployment.
            until = np.where(np.isnat(until) & ~np.isnat(begun.local), self.last, until)
            if half.any():
                where = name_some(self.names[half])
                self._warn(f"{half.sum():,} gaps have one end only; one without an end lasts to "
                           f"the end of the deployment, one without a beginning is passed over: "
                           f"{where}")  # fmt: skip
            for row in np.flatnonzero(~np.isnat(begun.local) & ~np.isnat(until)):
                if until[row] < begun.local[row]:
                    self._warn(f"a gap of {self.names[row]} ({self.locate(int(row))}) ends before "
                               "it begins, and is passed over")  # fmt: skip
                    continue
                found[row].append((begun.local[row], until[row]))
        return found

    def describe(self, stints: pd.DataFrame, lost: Mapping[int, float]) -> pd.DataFrame:
        """Return one row a deployment."""
        import pandas as pd

        worked = stints.assign(days=_count(stints["start"], stints["end"]))
        days = worked.groupby("deployment")["days"].sum()
        rows: dict[str, dict[str, Any]] = {}
        read = (name for meaning, name in self._columns.items() if meaning != "session")
        taken = {name for name in read if name is not None}
        further = {name: self.frame[name].tolist() for name in self.frame if name not in taken}
        degrees = {side: [read_degrees(one, side) for one in self._read(side).tolist()]
                   for side in ("latitude", "longitude")}  # fmt: skip
        for row, name in enumerate(self.names.tolist()):
            if not name:
                continue
            if name in rows:
                one = rows[name]
                one["first"] = _least(one["first"], self.first[row], np.minimum)
                one["last"] = _least(one["last"], self.last[row], np.maximum)
                one["lost_days"] += lost.get(row, 0.0)
                continue
            rows[name] = {
                "deployment": name, "place": self._own["place"][row],
                "camera": self._own["camera"][row], "zone": self.zones[row],
                **{side: some[row] for side, some in degrees.items()},
                "first": self.first[row], "last": self.last[row],
                "days": float(days.get(name, 0.0)), "lost_days": lost.get(row, 0.0),
                **{str(column): some[row] for column, some in further.items()},
            }  # fmt: skip
        columns = ["deployment", "place", "camera", "zone", "latitude", "longitude", "first",
                   "last", "days", "lost_days", *map(str, further)]  # fmt: skip
        out = pd.DataFrame(list(rows.values()), columns=columns)
        return out.astype({"first": "datetime64[s]", "last": "datetime64[s]"})

    def tell(self, stints: pd.DataFrame, lost: Mapping[int, float]) -> None:
        """Say what was lost, what overlaps, and what the table itself says is wrong."""
        gone = [row for row, days in lost.items() if days > 0]
        if gone:
            text = (
                f"deployments: {sum(lost.values()):,.1f} camera-days of {len(gone):,} are gaps or "
                "failures, and not counted"
            )
            self.notes.append(Note(text))
        overlaps = _find_overlaps(stints)
        if overlaps:
            self._warn(f"{len(overlaps):,} overlap another at the same place, and each camera's "
                       f"days count: {name_some(overlaps)}")  # fmt: skip
        column = self._spelled.get("timestampissues")
        if column is not None:
            said = np.array([str(one).casefold() in _YES for one in name_cells(self.frame[column])])
            if said.any():
                self._warn(f"{said.sum():,} are said to have times that are wrong "
                           f"(timestampIssues): {name_some(self.names[said])}")  # fmt: skip
        column = self._spelled.get("camerafunctioning")
        if column is not None:
            words = [spell_column(one) for one in name_cells(self.frame[column])]
            failed = np.array([one not in _WORKS for one in words])
            if failed.any():
                self._warn(f"{failed.sum():,} are said to have failed, at a time that the table "
                           "does not say; their days count until their end: "
                           f"{name_some(self.names[failed])}")  # fmt: skip


def _lie_in(spans: pd.DataFrame, rows_of: Mapping[str, Any], local: Times) -> Mask:
    inside = np.zeros(len(local), dtype=bool)
    for name, start, end in zip(
        spans["deployment"], spans["start"].to_numpy(), spans["end"].to_numpy(), strict=True
    ):
        rows = rows_of.get(name, np.array([], dtype=np.int64))
        inside[rows] |= (local[rows] >= start) & (local[rows] <= end)
    return inside


def _take_out(
    span: tuple[np.datetime64, np.datetime64],
    gaps: Sequence[tuple[np.datetime64, np.datetime64]],
) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return what is left of a stretch of time."""
    left, (start, end) = [], span
    for begun, ended in sorted(gaps):
        if begun > start:
            left.append((start, min(begun, end)))
        start = max(start, ended)
    if start < end:
        left.append((start, end))
    return left


def _merge(
    pieces: Sequence[tuple[int, np.datetime64, np.datetime64]], names: Names, notes: list[Note]
) -> list[tuple[int, np.datetime64, np.datetime64]]:
    """Join stretches of one deployment that overlap, so that no day counts twice."""
    merged: list[tuple[int, np.datetime64, np.datetime64]] = []
    twice: dict[str, float] = {}
    for row, start, end in sorted(pieces, key=lambda one: (str(names[one[0]]), one[1], one[2])):
        name = str(names[row])
        if merged and names[merged[-1][0]] == name and start < merged[-1][2]:
            before, begun, ended = merged[-1]
            twice[name] = twice.get(name, 0.0) + _days(start, min(end, ended))
            merged[-1] = (before, begun, max(end, ended))
            continue
        merged.append((row, start, end))
    if twice:
        text = (
            f"deployments: rows of {len(twice):,} overlap, whose {sum(twice.values()):,.1f} days "
            f"count once: {name_some(sorted(twice))}"
        )
        notes.append(Note(text, WARNING))
    return merged


def _find_overlaps(stints: pd.DataFrame) -> list[str]:
    found: set[str] = set()
    for _, of_place in stints.sort_values("start").groupby("place"):
        until, before = _NO_TIME, ""
        for name, start, end in zip(
            of_place["deployment"], of_place["start"].to_numpy(), of_place["end"].to_numpy(),
            strict=True,
        ):  # fmt: skip
            if not np.isnat(until) and start < until and name != before:
                found |= {str(name), before}
            if np.isnat(until) or end > until:
                until, before = end, str(name)
    return sorted(found)


def _cut(stints: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Cut stretches of time where a day, month or year ends."""
    import pandas as pd

    rows, starts, ends = [], [], []
    spans = zip(stints["start"].to_numpy(), stints["end"].to_numpy(), strict=True)
    for row, (start, end) in enumerate(spans):
        for begun, ended in _split(start, end, unit):
            rows.append(row)
            starts.append(begun)
            ends.append(ended)
    cut = stints.iloc[rows].reset_index(drop=True)
    cut["start"] = pd.Series(np.array(starts, dtype="datetime64[s]"))
    cut["end"] = pd.Series(np.array(ends, dtype="datetime64[s]"))
    return cut


def _split(
    start: np.datetime64, end: np.datetime64, unit: str
) -> Iterator[tuple[np.datetime64, np.datetime64]]:
    while start < end:
        following = (start.astype(f"datetime64[{unit}]") + 1).astype("datetime64[s]")
        yield start, min(following, end)
        start = following


def _count(starts: pd.Series[Any], ends: pd.Series[Any]) -> Any:  # noqa: ANN401 - an array
    return (ends.to_numpy() - starts.to_numpy()) / _DAY


def _days(start: np.datetime64, end: np.datetime64) -> float:
    return float((end - start) / _DAY)


def _least(one: np.datetime64, other: np.datetime64, choose: Any) -> np.datetime64:  # noqa: ANN401
    if np.isnat(one) or np.isnat(other):
        return other if np.isnat(one) else one
    found: np.datetime64 = choose(one, other)
    return found
