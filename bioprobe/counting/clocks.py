"""Times as they stood on a clock, and as instants: zones, offsets and the hour that comes twice."""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import Any

import numpy as np

from bioprobe.images.times import Times, has_clock, read_times, read_zone
from bioprobe.types import Mask, Names

# What stands behind a clock: Z, +02:00, -0330, +02.
_OFFSET = re.compile(
    r"(?P<time>.*(?:\d:\d\d|T\d{4})[\d:.,]*(?:\s*[ap]\.?m\.?)?)\s*"
    r"(?P<offset>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)",
    re.IGNORECASE | re.DOTALL,
)
_UTC = {"z", "utc", "gmt"}


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Times of rows.

    Parameters
    ----------
    local : ndarray of datetime64[s], shape (n_rows,)
        As a clock in the row's zone shows it; not a time where none is known.
    instants : ndarray of datetime64[s], shape (n_rows,)
        The same in UTC where an offset or a zone is known, else as ``local``.
    is_clocked : ndarray of bool, shape (n_rows,)
        Whether a time of day is said, and not only a date.
    is_zoned : ndarray of bool, shape (n_rows,)
        Whether an offset or a zone is known.
    is_utc : ndarray of bool, shape (n_rows,)
        Whether ``local`` is the time in UTC because nothing else is said.
    is_twice, is_skipped : ndarray of bool, shape (n_rows,)
        Where clocks of the zone show the time twice (the earlier is taken), or never: the camera's
        clock was not moved with theirs.
    unread : dict of str to int
        What is no time, with the number of its rows, the most frequent first.
    """

    local: Times
    instants: Times
    is_clocked: Mask
    is_zoned: Mask
    is_utc: Mask
    is_twice: Mask
    is_skipped: Mask
    unread: dict[str, int]

    def take(self, rows: slice) -> Moments:
        """Return some of the rows; what is no time is said of all."""
        names = [one.name for one in dataclasses.fields(self) if one.name != "unread"]
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in names}
        return dataclasses.replace(self, **parts)


def read_moments(values: Names, zones: Names | str = "") -> Moments:
    """Read times with their offsets from UTC, in the zone of each row.

    A time with an offset is turned into the row's zone; without a zone it stays as it was written,
    since tables of the field write local time with its offset. A time without one is local.

    Parameters
    ----------
    values : ndarray of object, shape (n_rows,)
        Texts of a column, ``""`` where nothing is said.
    zones : str or ndarray of object, shape (n_rows,)
        Names such as ``Europe/Zurich`` or offsets such as ``+02:00``; ``""`` where none is known.

    Raises
    ------
    MisuseError
        If there is no such zone.
    SelectionError
        If days and months of the column cannot be told apart.

    Examples
    --------
    >>> found = read_moments(np.array(["2024-05-13T10:00:00Z", "2024-05-13 12:00"], dtype=object),
    ...                      "Europe/Zurich")
    >>> found.local.astype(str).tolist()
    ['2024-05-13T12:00:00', '2024-05-13T12:00:00']
    >>> bool(found.instants[0] == found.instants[1])
    True
    """
    names, places = np.unique(
        np.array([str(value).strip() for value in values], dtype=object), return_inverse=True
    )
    bare, offsets = names.copy(), np.full(len(names), "", dtype=object)
    for place, name in enumerate(names):
        found = _OFFSET.fullmatch(name)
        if found:
            bare[place], offsets[place] = found["time"].strip(), found["offset"]
    times, unread = read_times(bare[places])
    # What stands there is said as it was written.
    lost = np.isnat(times)
    unread = {}
    for place in places[lost]:
        if names[place]:
            unread[str(names[place])] = unread.get(str(names[place]), 0) + 1
    written = times.astype("datetime64[s]")
    clocked = np.array([has_clock(name) for name in bare], dtype=bool)[places]
    known = np.array([_read_offset(one) for one in offsets], dtype="timedelta64[s]")[places]
    has_offset = ~np.isnat(known)
    instants = np.where(has_offset, written - known, written)
    local = written.copy()
    zoned = np.full(len(local), zones, dtype=object) if isinstance(zones, str) else zones
    is_twice, is_skipped = np.zeros((2, len(local)), dtype=bool)
    for zone in sorted(set(zoned.tolist()) - {""}):
        of_zone = zoned == zone
        tz = read_zone(zone)
        rows = np.flatnonzero(of_zone & has_offset & ~lost)
        local[rows] = _to_local(instants[rows], tz)
        rows = np.flatnonzero(of_zone & ~has_offset & ~lost)
        instants[rows], is_twice[rows], is_skipped[rows] = _to_instants(local[rows], tz)
    is_utc = np.array([one.casefold() in _UTC for one in offsets], dtype=bool)[places]
    return Moments(
        local, instants, clocked & ~lost, (has_offset | (zoned != "")) & ~lost,
        is_utc & (zoned == ""), is_twice, is_skipped,
        dict(sorted(unread.items(), key=lambda one: -one[1])),
    )  # fmt: skip


def _to_local(instants: Times, zone: datetime.tzinfo) -> Times:
    """Return what a clock in a zone shows, datetime64[s], at instants in UTC."""
    import pandas as pd

    series = pd.Series(instants.astype("datetime64[s]")).dt.tz_localize("UTC")
    return np.asarray(
        series.dt.tz_convert(zone).dt.tz_localize(None).to_numpy(), dtype="datetime64[s]"
    )


def _to_instants(local: Times, zone: datetime.tzinfo) -> tuple[Times, Mask, Mask]:
    """Return the instants in UTC, datetime64[s], at which a clock in a zone shows times.

    Returns
    -------
    instants : ndarray of datetime64[s], shape (n_rows,)
        The earlier of two; of a time that is never shown the one at which clocks were moved.
    is_twice, is_skipped : ndarray of bool, shape (n_rows,)
    """
    import pandas as pd

    series = pd.Series(local.astype("datetime64[s]"))
    once = series.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    shown = series.dt.tz_localize(
        zone, ambiguous=np.ones(len(series), dtype=bool), nonexistent="NaT"
    )
    moved = series.dt.tz_localize(
        zone, ambiguous=np.ones(len(series), dtype=bool), nonexistent="shift_forward"
    )
    known = ~np.isnat(local)
    is_twice = (once.isna() & shown.notna()).to_numpy()
    is_skipped = shown.isna().to_numpy() & known
    instants = moved.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    return np.asarray(instants, dtype="datetime64[s]"), is_twice, is_skipped


def _read_offset(text: str) -> np.timedelta64:
    if not text:
        return np.timedelta64("NaT", "s")
    if text.casefold() in _UTC:
        return np.timedelta64(0, "s")
    padded = text if len(text) > 3 else f"{text}00"
    found = datetime.datetime.strptime(padded, "%z").utcoffset()
    return np.timedelta64(round(found.total_seconds() if found else 0), "s")
