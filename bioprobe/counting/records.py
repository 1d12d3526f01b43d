"""Records: independent events of what was seen, and detection histories by occasion.

What was seen in pictures of one place is one event as long as no gap in time parts it. Pictures
whose clock says nothing, or what cannot be, make no event; they stay in the table as rows of their
own, with what is wrong.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.counting.clocks import Moments, read_moments
from bioprobe.counting.effort import Effort
from bioprobe.errors import SelectionError
from bioprobe.images.degrees import read_degrees
from bioprobe.images.times import Times
from bioprobe.options import LAST_RECORD
from bioprobe.result import WARNING, Note, Notes, Result, name_some
from bioprobe.types import Mask, Names

if TYPE_CHECKING:
    import pandas as pd

#: What is wrong with a time, so that no event is made of the picture.
NO_TIME, NO_CLOCK, NO_DATE = "no time", "a date without a time of day", "not a time"
RESET, FUTURE = "a clock that was reset", "a time in the future"
TIMELESS = (NO_TIME, NO_CLOCK, NO_DATE, RESET, FUTURE)
#: What is odd of a record all the same.
UNKNOWN_PLACE = "no deployment of the table"
NO_DAYS = "a deployment whose camera-days are not known"
OUTSIDE = "outside of the deployments of its place"
IN_GAP = "while the camera was said not to work"
#: Records that count for no effort.
WITHOUT_EFFORT = (UNKNOWN_PLACE, NO_DAYS, OUTSIDE, IN_GAP)
Spans = Mapping[str, tuple[np.datetime64, np.datetime64]]

_FIRST = np.datetime64("1990-01-01", "s")
_DAY = np.timedelta64(86_400, "s")
# A clock that was reset begins at the first of a year, far from all other pictures.
_ISOLATED_DAYS, _WEEK = 60, 7
_RESET_YEAR = 2000
_COLUMNS = (
    "taxon", "common_name", "rank", "content", "deployment", "place", "start", "end", "count",
    "n_pictures", "score", "source", "file_name", "trouble",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Histories:
    """Detections by place and occasion.

    Parameters
    ----------
    occasions : tuple of (datetime64[D], datetime64[D])
        First day of each occasion and the day after its last; where occasions begin at each
        place's own first day, those of the first place.
    effort : DataFrame
        Camera-days by place (row) and occasion (column ``1``, ``2`` …); 0 where no camera worked.
    detections : dict of str to DataFrame
        By taxon, of the same shape: 1 or 0, or the number of events; not a number where no camera
        worked.
    n_without_effort : int
        Events at times at which no camera of their place is said to have worked: they are in no
        cell.
    """

    occasions: tuple[tuple[np.datetime64, np.datetime64], ...]
    effort: pd.DataFrame
    detections: dict[str, pd.DataFrame]
    n_without_effort: int = 0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RecordTable(Result):
    """Independent events.

    Parameters
    ----------
    records : DataFrame
        One row an event: ``taxon``, ``common_name``, ``rank``, ``content``, ``deployment``,
        ``place``, ``start`` and ``end`` (as the clock there shows them, with the offset from UTC
        where it is known), ``count`` (the largest number in one picture), ``n_pictures``,
        ``score`` (the highest of a prediction, not a number of a label), ``source`` (``label``,
        ``machine label`` or ``prediction``), ``file_name`` of the first picture, and ``trouble``:
        what is odd of it. Pictures without a time that can be are rows without ``start``.
    times : DataFrame
        Of the events of ``records``, in the same order: ``local`` and ``instant`` of their
        beginning and ``last`` of their end, datetime64[s], not a time where there is none;
        ``group``, within which events are independent, ``is_zoned``, ``has_effort``: whether
        their first picture was taken while the camera is said to have worked, as far as there is a
        table of deployments, ``latitude`` and ``longitude``, and ``is_sensitive``: whether these
        are not to be told exactly.
    effort : Effort, optional
        When cameras worked, where there is a table of deployments.
    histories : Histories, optional
        Detections by occasion, where they were asked for.
    by : str
        What pictures are of one place by.
    gap_minutes : float
        From which on events are independent.
    compare_to : str
        ``last-record`` or ``last-independent-record``.
    provenance : dict
        What it was computed from, JSON-ready.
    notes : tuple of Note
        What is to be said of it.
    """

    records: pd.DataFrame
    times: pd.DataFrame
    effort: Effort | None
    histories: Histories | None = None
    by: str = "deployment"
    gap_minutes: float = 30.0
    compare_to: str = LAST_RECORD
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row an event."""
        return self.records

    @property
    def timed(self) -> pd.DataFrame:
        """Events that have a time, with what :attr:`times` says of them."""
        both = self.records.join(self.times)
        return both[both["local"].notna()].reset_index(drop=True)


def make_records(
    seen: pd.DataFrame,
    *,
    by: str = "deployment",
    gap_minutes: float = 30.0,
    compare_to: str = LAST_RECORD,
    time_zone: str = "",
    read_effort: Callable[[Spans], Effort] | None = None,
    now: np.datetime64 | None = None,
) -> RecordTable:
    """Make independent events of what was seen in pictures.

    Parameters
    ----------
    seen : DataFrame
        One row a picture and taxon: ``taxon``, ``common_name``, ``rank``, ``content``, ``names``
        (a tuple of what may name the deployment or place, the best first), ``group`` (a value, or
        ``""`` for the deployment or place), ``time`` and ``zone`` as texts, ``count``, ``score``,
        ``source``, ``file_name``, ``latitude`` and ``longitude`` as texts, and ``is_sensitive``:
        whether the place is not to be told exactly.
    by : {"deployment", "place"} or str
        Whose events are independent of each other's; another word is what ``group`` holds.
    gap_minutes : float
        An event begins this long after what it is compared to, or later.
    compare_to : {"last-record", "last-independent-record"}
        The picture before of the same taxon, or the beginning of the event before.
    time_zone : str
        Of times that say none, where neither their row nor their deployment has one.
    read_effort : callable, optional
        Returns the camera effort, from the first and last time by name.
    now : datetime64, optional
        After which nothing can have been taken; by default this moment, in UTC.

    Raises
    ------
    MisuseError
        If there is no such time zone.

    References
    ----------
    O'Brien, Kinnaird and Wibisono 2003, *Crouching tigers, hidden prey* (half an hour);
    Niedballa et al. 2016, *camtrapR* (``deltaTimeComparedTo``, at least ``minDeltaTime``).
    """
    import pandas as pd

    now = np.datetime64("now", "s") if now is None else now.astype("datetime64[s]")
    seen = seen.reset_index(drop=True)
    zones = np.where(seen["zone"] == "", time_zone, seen["zone"]).astype(object)
    found = read_moments(seen["time"].to_numpy(dtype=object), zones)
    effort = None
    names = np.array([one[0] if one else "" for one in seen["names"]], dtype=object)
    if read_effort is not None:
        effort = read_effort(_find_spans(seen["names"].tolist(), found.local))
        names = _find_known(seen["names"].tolist(), effort)
        of = _zones_by_name(effort)
        theirs = np.array([of.get(name.casefold(), "") for name in names], dtype=object)
        zones = np.where(seen["zone"] == "", np.where(theirs == "", time_zone, theirs),
                         seen["zone"]).astype(object)  # fmt: skip
        found = read_moments(seen["time"].to_numpy(dtype=object), zones)
    deployment, place, trouble, is_covered = _place(names, found, effort)
    group = seen["group"].to_numpy(dtype=object)
    if by in {"deployment", "place"}:
        group = deployment if by == "deployment" else place
    wrong = _find_wrong(seen["time"], found, group, is_covered, now)
    trouble = np.where(wrong != "", wrong, trouble).astype(object)
    frame = seen.assign(
        deployment=deployment, place=place, group=group, trouble=trouble,
        local=pd.Series(found.local), instant=pd.Series(found.instants),
        is_zoned=found.is_zoned, has_effort=~np.isin(trouble, WITHOUT_EFFORT),
    )  # fmt: skip
    for side in ("latitude", "longitude"):
        frame[side] = _find_degrees(seen, side, deployment, effort)
    timeless = wrong != ""
    frame.loc[timeless, ["local", "instant"]] = np.datetime64("NaT")
    gap = np.timedelta64(round(gap_minutes * 60), "s")
    events = _number_events(frame, gap, compare_to)
    records, times = _gather(frame, events)
    notes = [*(effort.notes if effort else ()), *_tell(frame, found, effort, time_zone)]
    is_timed = times["local"].notna()
    head = (
        f"{is_timed.sum():,} records of {records.loc[is_timed, 'taxon'].nunique():,} taxa, from "
        f"{seen['file_name'].nunique():,} pictures: independent {gap_minutes:g} minutes after the "
        + ("last picture" if compare_to == LAST_RECORD else "beginning of the last record")
        + f" of the taxon, by {by}"
    )
    return RecordTable(
        records, times, effort, None, by, gap_minutes, compare_to, {}, (Note(head), *notes)
    )


def _find_spans(names: Sequence[tuple[str, ...]], local: Times) -> Spans:
    """Return the first and last time by each name in small letters."""
    spans: dict[str, tuple[np.datetime64, np.datetime64]] = {}
    for some, time in zip(names, local, strict=True):
        if np.isnat(time) or time < _FIRST:
            continue
        for name in some:
            first, last = spans.get(name.casefold(), (time, time))
            spans[name.casefold()] = (min(first, time), max(last, time))
    return spans


def _find_known(names: Sequence[tuple[str, ...]], effort: Effort) -> Names:
    """Return of each row the first name that is in the table of deployments, else its first."""
    known = effort.known
    found = [
        next((one for one in some if one.casefold() in known), some[0] if some else "")
        for some in names
    ]
    return np.array(found, dtype=object)


def _zones_by_name(effort: Effort) -> dict[str, str]:
    zones = effort.deployments["zone"].tolist()
    return {name: str(zones[rows[0]]) for name, rows in effort.known.items()}


def _place(names: Names, found: Moments, effort: Effort | None) -> tuple[Names, Names, Names, Mask]:
    """Return deployment and place of each row, what is odd, and whether a deployment holds it."""
    trouble = np.full(len(names), "", dtype=object)
    if effort is None:
        return names, names, trouble, np.zeros(len(names), dtype=bool)
    deployment = effort.find(names, found.local)
    of = dict(zip(effort.deployments["deployment"], effort.deployments["place"], strict=True))
    rows_of, places = effort.known, effort.deployments["place"].tolist()
    place = np.array(
        [
            of[its] if its else places[rows_of[name.casefold()][0]]
            if name.casefold() in rows_of else name
            for its, name in zip(deployment, names, strict=True)
        ],
        dtype=object,
    )  # fmt: skip
    is_known = np.array([name.casefold() in rows_of for name in names], dtype=bool)
    timed = ~np.isnat(found.local)
    trouble[~is_known] = UNKNOWN_PLACE
    trouble[is_known & timed & (deployment == "")] = OUTSIDE
    trouble[effort.fails(deployment, found.local)] = IN_GAP
    worked = set(effort.stints["deployment"])
    has_days = np.array([one in worked for one in deployment], dtype=bool)
    trouble[(deployment != "") & ~has_days] = NO_DAYS
    # Of what lies outside the name tells at least which camera it was.
    named = np.where(deployment == "", names, deployment).astype(object)
    return named, place, trouble, has_days


def _find_degrees(
    seen: pd.DataFrame, side: str, deployment: Names, effort: Effort | None
) -> npt.NDArray[np.float64]:
    """Return latitude or longitude of each row: its own, else that of its deployment."""
    import pandas as pd

    codes, texts = pd.factorize(seen[side].fillna("").astype(str))
    own = np.array([read_degrees(text, side) for text in texts])[codes]
    if effort is None:
        return own
    of = dict(zip(effort.deployments["deployment"], effort.deployments[side], strict=True))
    theirs = np.array([of.get(name, np.nan) for name in deployment], dtype=np.float64)
    return np.where(np.isnan(own), theirs, own)


def _find_wrong(
    written: pd.Series[Any], found: Moments, group: Names, is_covered: Mask, now: np.datetime64
) -> Names:
    """Return why no event can be made of each row, ``""`` where one can."""
    wrong = np.full(len(written), "", dtype=object)
    empty = (written.fillna("").astype(str).str.strip() == "").to_numpy()
    lost = np.isnat(found.local)
    wrong[lost] = NO_DATE
    wrong[empty] = NO_TIME
    wrong[~lost & ~found.is_clocked] = NO_CLOCK
    wrong[(wrong == "") & (found.local > now + _DAY)] = FUTURE
    # What a deployment holds is right, whatever the year.
    wrong[(wrong == "") & ~is_covered & _find_resets(found.local, group, wrong == "")] = RESET
    return wrong


def _find_resets(local: Times, group: Names, asked: Mask) -> Mask:
    """Tell which times are those of a clock that begins anew.

    Before 1990; of the year 2000 where the place has later years; and from the first of January on
    where no other picture of the place is near.
    """
    found = asked & (local < _FIRST)
    years = local.astype("datetime64[Y]").astype(int) + 1970
    days = (local - local.astype("datetime64[Y]").astype("datetime64[s]")) / _DAY
    for name in sorted(set(group.tolist())):
        rows = np.flatnonzero((group == name) & asked & ~found)
        if len(rows) < 2:
            continue
        if years[rows].max() > _RESET_YEAR:
            found[rows[years[rows] == _RESET_YEAR]] = True
        for year in sorted(set(years[rows[days[rows] < 1]].tolist())):
            begins = rows[(years[rows] == year) & (days[rows] < _WEEK)]
            others = np.setdiff1d(rows, begins)
            first = np.datetime64(f"{year}-01-01", "s")
            apart = np.abs((local[others] - first) / _DAY)
            if len(others) and apart.min() > _ISOLATED_DAYS:
                found[begins] = True
    return found


def number_events(
    groups: npt.NDArray[np.int64], instants: Times, gap: np.timedelta64, compare_to: str
) -> npt.NDArray[np.int64]:
    """Return the number of the independent event that each picture is of.

    Parameters
    ----------
    groups : ndarray of int64, shape (n_rows,)
        Rows of one taxon at one place have the same number.
    instants : ndarray of datetime64[s], shape (n_rows,)
    gap : timedelta64
        From which on two are independent.
    compare_to : {"last-record", "last-independent-record"}

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        From 0, in the order of groups and time.

    Examples
    --------
    >>> times = np.array(["2024-05-01T10:00", "2024-05-01T10:20", "2024-05-01T10:40"],
    ...                  dtype="datetime64[s]")
    >>> half = np.timedelta64(1800, "s")
    >>> number_events(np.zeros(3, dtype=np.int64), times, half, "last-record").tolist()
    [0, 0, 0]
    >>> number_events(np.zeros(3, dtype=np.int64), times, half, "last-independent-record").tolist()
    [0, 0, 1]
    """
    order = np.lexsort((instants, groups))
    its, when = groups[order], instants[order]
    begins = np.append(True, np.diff(its) > 0)[: len(order)]
    if compare_to == LAST_RECORD:
        begins[1:] |= np.diff(when) >= gap
    else:
        began = 0
        for place in range(len(order)):
            if not begins[place]:
                begins[place] = when[place] - when[began] >= gap
            if begins[place]:
                began = place
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.cumsum(begins) - 1
    return numbers


def _number_events(
    frame: pd.DataFrame, gap: np.timedelta64, compare_to: str
) -> npt.NDArray[np.int64]:
    """Return the event of each row; without a time one a taxon, place and what is wrong."""
    keys = frame[["taxon", "content", "group"]].astype(str).agg("\0".join, axis=1).to_numpy()
    if not len(frame):
        return np.array([], dtype=np.int64)
    groups = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    timed = frame["local"].notna().to_numpy()
    numbers = np.full(len(frame), -1, dtype=np.int64)
    numbers[timed] = number_events(
        groups[timed], frame["instant"].to_numpy()[timed], gap, compare_to
    )
    rest = np.flatnonzero(~timed)
    if len(rest):
        kinds = np.char.add(np.char.add(keys[rest].astype(str), "\0"),
                            frame["trouble"].to_numpy()[rest].astype(str))  # fmt: skip
        numbers[rest] = numbers.max() + 1 + np.unique(kinds, return_inverse=True)[1]
    return numbers


def _gather(
    frame: pd.DataFrame, events: npt.NDArray[np.int64]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row an event, in the order of place and time, and their times."""
    import pandas as pd

    if not len(frame):
        empty = pd.DataFrame({name: pd.Series(dtype=object) for name in _COLUMNS})
        times = pd.DataFrame({"local": [], "instant": [], "last": []}, dtype="datetime64[s]")
        further = dict.fromkeys(("latitude", "longitude"), pd.Series(dtype=float))
        flags = dict.fromkeys(("is_zoned", "has_effort", "is_sensitive"), pd.Series(dtype=bool))
        rest = {"group": pd.Series(dtype=object), **flags}
        return empty, times.assign(**rest | further)
    ordered = frame.assign(event=events).sort_values(["event", "instant"], kind="stable")
    grouped = ordered.groupby("event", sort=True)
    made = grouped.agg(
        taxon=("taxon", "first"), common_name=("common_name", "first"), rank=("rank", "first"),
        content=("content", "first"), deployment=("deployment", "first"),
        place=("place", "first"), local=("local", "first"), instant=("instant", "first"),
        last=("local", "last"), ended=("instant", "last"), count=("count", "max"),
        n_pictures=("file_name", "nunique"), score=("score", "max"),
        file_name=("file_name", "first"), is_zoned=("is_zoned", "first"),
        group=("group", "first"), has_effort=("has_effort", "first"),
        latitude=("latitude", "first"), longitude=("longitude", "first"),
        is_sensitive=("is_sensitive", "max"),
    )  # fmt: skip
    made["source"] = _join_words(ordered.sort_values("source", kind="stable"), "source", "+")
    made["trouble"] = _join_words(ordered[ordered["trouble"] != ""], "trouble", "; ")
    made["trouble"] = made["trouble"].fillna("")
    made = made.sort_values(["place", "deployment", "instant", "taxon"], kind="stable")
    made = made.reset_index(drop=True)
    for name, local, instant in (("start", "local", "instant"), ("end", "last", "ended")):
        made[name] = _write_moments(
            made[local].to_numpy().astype("datetime64[s]"),
            made[instant].to_numpy().astype("datetime64[s]"),
            made["is_zoned"].to_numpy(dtype=bool),
        )
    made["count"] = made["count"].astype(np.int64)
    times = made[["local", "instant", "last", "group", "is_zoned", "has_effort", "latitude",
                  "longitude", "is_sensitive"]]  # fmt: skip
    return made[list(_COLUMNS)], times


def _join_words(rows: pd.DataFrame, column: str, between: str) -> pd.Series[str]:
    """Return the distinct words of each event, in the order of the rows."""
    words = rows.drop_duplicates(["event", column])
    is_alone = ~words["event"].duplicated(keep=False)
    joined = words[~is_alone].groupby("event")[column].agg(between.join).astype(object)
    found: dict[Any, str] = dict(
        zip(words["event"][is_alone], words[column][is_alone], strict=True)
    )
    import pandas as pd

    return pd.Series(found | joined.to_dict(), dtype=object)


def _write_moments(local: Times, instants: Times, is_zoned: Mask) -> Names:
    """Write times as ISO 8601, with their offset from UTC where it is known.

    Examples
    --------
    >>> local = np.array(["2024-05-13T12:00:00", "NaT"], dtype="datetime64[s]")
    >>> _write_moments(local, local - np.timedelta64(7200, "s"), np.array([True, True])).tolist()
    ['2024-05-13T12:00:00+02:00', '']
    >>> _write_moments(local[:1], local[:1] + np.timedelta64(9000, "s"), np.array([True])).tolist()
    ['2024-05-13T12:00:00-02:30']
    """
    texts = []
    for time, instant, known in zip(local, instants, is_zoned, strict=True):
        if np.isnat(time):
            texts.append("")
            continue
        offset = ""
        if known:
            minutes = int((time - instant) / np.timedelta64(60, "s"))
            sign = "-" if minutes < 0 else "+"
            offset = f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
        texts.append(f"{time.astype('datetime64[s]')}{offset}")
    return np.array(texts, dtype=object)


def _tell(frame: pd.DataFrame, found: Moments, effort: Effort | None, time_zone: str) -> list[Note]:
    """Say which pictures make no event, and what is odd of the others."""
    notes = []
    pictures = frame.drop_duplicates("file_name")
    for word in (*TIMELESS, *WITHOUT_EFFORT):
        its = pictures[pictures["trouble"] == word]
        if not len(its):
            continue
        places = collections.Counter(its["group"].astype(str))
        where = name_some(f"{name or '(no name)'} ({n:,})" for name, n in places.most_common())
        said = "make no record and stand as rows without a start"
        if word not in TIMELESS:
            said = "are records all the same, and count for no effort"
        example = its["file_name"].iloc[0]
        if word == NO_TIME:
            example += "; what cameras wrote is read by bioprobe embed --exif"
        if word in {NO_DATE, RESET, FUTURE}:
            example += f" ({its['time'].iloc[0]})"
        elif word in {OUTSIDE, IN_GAP}:
            example += f" ({its['local'].iloc[0]})"
        verb = {
            UNKNOWN_PLACE: "are of",
            NO_DAYS: "are of",
            OUTSIDE: "were taken",
            IN_GAP: "were taken",
        }
        text = f"{len(its):,} pictures {verb.get(word, 'have')} {word}, and {said}"
        notes.append(Note(f"{text}: {where}, such as {example}", WARNING))
    return notes + _tell_clocks(frame, found, effort, time_zone)


def _tell_clocks(
    frame: pd.DataFrame, found: Moments, effort: Effort | None, time_zone: str
) -> list[Note]:
    """Say what of clocks and zones is not known."""
    notes = []
    timed = frame["local"].notna().to_numpy()
    for flags, said in (
        (found.is_skipped, "say a time that clocks of their zone never show; if the camera's "
         "clock is not moved in spring, name a fixed offset with --time-zone, such as +01:00"),
        (found.is_twice, "say a time that clocks of their zone show twice; the earlier is taken"),
    ):  # fmt: skip
        n = frame.loc[flags & timed, "file_name"].nunique()
        if n:
            notes.append(Note(f"{n:,} pictures {said}", WARNING))
    n_utc = frame.loc[found.is_utc & timed, "file_name"].nunique()
    if n_utc:
        notes.append(Note(
            f"{n_utc:,} pictures say their times in UTC, and no time zone is known: their hours "
            "are those of UTC; name the zone with --time-zone",
            WARNING,
        ))  # fmt: skip
    mixed = effort is not None and not time_zone and (~found.is_zoned & timed).any()
    if mixed and effort is not None and effort.is_zoned:
        notes.append(Note(
            "pictures say no time zone, and deployments do: times of pictures are taken to be "
            "by the same clock as the deployments'; name the zone with --time-zone",
            WARNING,
        ))  # fmt: skip
    return notes


def make_histories(
    found: RecordTable,
    *,
    occasion_days: int,
    begin: str = "survey",
    counts: bool = False,
) -> Histories:
    """Lay events out by place and occasion.

    A day is one of the calendar at the camera. The last occasion may be shorter; its effort says
    by how much.

    Parameters
    ----------
    found : RecordTable
        With effort.
    occasion_days : int
        Days of an occasion, at least 1.
    begin : {"survey", "station"}
        Whether occasions begin at the first day of all, or at each place's own.
    counts : bool
        Whether a cell is the number of events, not whether there was any.

    Raises
    ------
    SelectionError
        If there is no effort.

    References
    ----------
    Niedballa et al. 2016, *camtrapR* (``detectionHistory``, ``day1``).
    """
    import pandas as pd

    if found.effort is None or not len(found.effort.stints):
        msg = (
            "a detection history needs to know when cameras worked, and there are no camera-days; "
            "give a table of deployments with --deployments FILE"
        )
        raise SelectionError(msg)
    stints = found.effort.stints
    key = "deployment" if found.by == "deployment" else "place"
    places = list(dict.fromkeys(found.effort.deployments[key]))
    firsts = stints.groupby(key)["start"].min().to_dict()
    lasts = stints.groupby(key)["end"].max().to_dict()
    survey = np.datetime64(stints["start"].min(), "D")
    first = {
        one: np.datetime64(firsts[one], "D") if begin == "station" and one in firsts else survey
        for one in places
    }
    n_days = max(
        int((np.datetime64(lasts[one], "s") - first[one]) / _DAY - 1e-9) + 1
        for one in places if one in lasts
    )  # fmt: skip
    n_occasions = max(1, -(-n_days // occasion_days))
    step = np.timedelta64(occasion_days, "D")
    names = [str(n + 1) for n in range(n_occasions)]
    effort = np.zeros((len(places), n_occasions))
    row_of = {one: row for row, one in enumerate(places)}
    for name, start, end in zip(
        stints[key], stints["start"].to_numpy(), stints["end"].to_numpy(), strict=True
    ):
        bounds = (first[name] + step * np.arange(n_occasions + 1)).astype("datetime64[s]")
        inside = np.minimum(end, bounds[1:]) - np.maximum(start, bounds[:-1])
        effort[row_of[name]] += np.maximum(inside / _DAY, 0)
    timed = found.timed
    timed = timed[timed["content"] != "blank"]
    detections: dict[str, pd.DataFrame] = {}
    n_without = 0
    for taxon, its in timed.groupby("taxon", sort=True):
        cells = np.zeros((len(places), n_occasions))
        counted = its[its["has_effort"]]
        n_without += len(its) - len(counted)
        for name, local in zip(counted[key], counted["local"].to_numpy(), strict=True):
            days = (local.astype("datetime64[D]") - first[name]).astype(int)
            row, number = row_of[name], int(days) // occasion_days
            if not 0 <= number < n_occasions or not effort[row, number]:
                n_without += 1
                continue
            cells[row, number] += 1
        shown = cells if counts else np.minimum(cells, 1)
        shown = np.where(effort > 0, shown, np.nan)
        detections[str(taxon)] = pd.DataFrame(shown, index=places, columns=names)
    start = first[places[0]]
    occasions = tuple((start + step * n, start + step * (n + 1)) for n in range(n_occasions))
    table = pd.DataFrame(effort, index=places, columns=names)
    return Histories(occasions, table, detections, n_without)
