"""When images were taken: dates as people write them, and parts that follow each other in time."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.splits.groups import number_groups
from bioprobe.types import Names, Rows

Times = npt.NDArray[np.datetime64]

_EXIF = re.compile(r"(\d{4}):(\d\d):(\d\d)")
_DAY_OR_MONTH = re.compile(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](?:\d{4}|\d\d)(?!\d)")
_HAS_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(min|h|d|w)")
_SECONDS = {"min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NO_TIME = np.datetime64("NaT", "ns")


def read_span(text: str) -> np.timedelta64:
    """Return a span of time that is written as a number and a unit.

    Raises
    ------
    MisuseError
        If it is not so written.

    Examples
    --------
    >>> bool(read_span("12h") == read_span("0.5d"))
    True
    """
    found = _SPAN.fullmatch(str(text).strip().lower())
    if not found:
        msg = f"a span of time is a number and min, h, d or w, such as 12h or 7d; got {text!r}"
        raise MisuseError(msg)
    return np.timedelta64(round(float(found[1]) * _SECONDS[found[2]] * 1e9), "ns")


def read_times(values: Names, rows: Rows | None = None) -> tuple[Times, dict[str, int]]:
    """Read dates and times: ISO 8601, as EXIF writes them, or with the month in words.

    Parameters
    ----------
    values : ndarray of object, shape (n_images,)
        Text of a whole column, which says together whether the day or the month stands first;
        ``""`` where nothing is said. A time without a zone counts as UTC.
    rows : ndarray of int64, shape (n_rows,), optional
        Those that are asked for; all by default.

    Returns
    -------
    times : ndarray of datetime64[ns], shape (n_rows,)
        Not a time where nothing, or no date, is said.
    unread : dict of str to int
        Values that are no date, with the number of their images, the most frequent first.

    Raises
    ------
    SelectionError
        If days and months of the column cannot be told apart: 03/04/2024.

    Examples
    --------
    >>> times, unread = read_times(np.array(["2024:05:13 12:30:01", "13/05/2024", "?"], object))
    >>> times[:2].astype("datetime64[s]").tolist() == [
    ...     np.datetime64("2024-05-13T12:30:01").item(), np.datetime64("2024-05-13T00").item()]
    True
    >>> unread
    {'?': 1}
    """
    import pandas as pd

    stripped = np.array([str(value).strip() for value in values], dtype=object)
    names, places = np.unique(stripped, return_inverse=True)
    written = pd.Series([_EXIF.sub(r"\1-\2-\3", name, count=1) for name in names], dtype=object)
    read = pd.to_datetime(written, format="ISO8601", errors="coerce", utc=True)
    short = {place: one for place, text in enumerate(written)
             if pd.isna(read[place]) and (one := _DAY_OR_MONTH.match(text))}  # fmt: skip
    day_first = _find_order(list(short.values())) if short else False
    # What has no year, such as 12:30, would be read as a time of today.
    rest = [place for place, text in enumerate(written)
            if place in short or (pd.isna(read[place]) and _HAS_YEAR.search(text))]  # fmt: skip
    if rest:
        read.iloc[rest] = pd.to_datetime(
            written.iloc[rest], format="mixed", dayfirst=day_first, errors="coerce", utc=True
        )
    times = read.dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    places = places if rows is None else places[rows]
    times = times[places]
    lost = names[places][np.isnat(times)]
    unread = collections.Counter(str(one) for one in lost if one)
    return times, dict(unread.most_common())


def _find_order(dates: Sequence[re.Match[str]]) -> bool:
    """Tell whether the day stands first, by the dates of a column that leave no choice."""
    first, second = (max(int(one[place]) for one in dates) for place in (1, 2))
    if (first > 12) == (second > 12):
        msg = (
            f"dates such as {dates[0][0]!r} can be read with the day or the month first, and no "
            "other of the column says which; write them as 2024-05-13"
        )
        raise SelectionError(msg)
    return first > 12


@dataclasses.dataclass(frozen=True)
class TimeParts:
    """Parts that follow each other in time.

    Parameters
    ----------
    parts : ndarray of int64, shape (n_images,)
        0 train, 1 validation, 2 test; -1 is in none.
    n_undated, n_in_gap : int
        Images in no part: without a date, and in a gap between parts.
    n_late : int
        Images that went with an earlier one of their group, at or after the begin of a later part.
    """

    parts: npt.NDArray[np.int64]
    n_undated: int
    n_in_gap: int
    n_late: int


def assign_by_time(
    times: Times,
    fractions: Sequence[float],
    groups: Names | None = None,
    sites: Names | None = None,
    gap: np.timedelta64 | None = None,
) -> TimeParts:
    """Assign images to train, validation and test, one after the other in time.

    Groups stay whole: one goes where its earliest image is. A part begins at a time, nearest to the
    fractions: images of one time are in one part. What lies less than the gap before the next part
    is in none.

    Parameters
    ----------
    times : ndarray of datetime64[ns], shape (n_images,)
        Not a time where none is known.
    fractions : sequence of float
        Of train, validation and test; they add up to 1.
    groups : ndarray, shape (n_images,), optional
        Group of each image, ``""`` for one on its own.
    sites : ndarray, shape (n_images,), optional
        Each site is divided by its own times; a group is of the site of its earliest image.
    gap : timedelta64, optional
        Between parts; none by default.

    References
    ----------
    Beery et al. 2018, *Recognition in Terra Incognita*; Roberts et al. 2017, *Cross-validation
    strategies for data with temporal, spatial, hierarchical, or phylogenetic structure* (gaps).

    Examples
    --------
    >>> days = np.array(["2024-01-0" + day for day in "12345"], dtype="datetime64[ns]")
    >>> assign_by_time(days, (0.6, 0.2, 0.2)).parts.tolist()
    [0, 0, 0, 1, 2]
    >>> assign_by_time(days, (0.6, 0.2, 0.2), gap=read_span("2d")).parts.tolist()
    [0, 0, -1, -1, 2]
    """
    n = len(times)
    dated = np.flatnonzero(~np.isnat(times))
    numbers = number_groups(groups, n)[dated]
    # The earliest image of each group stands for it.
    order = np.lexsort((np.arange(len(dated)), times[dated], numbers))
    _, firsts = np.unique(numbers[order], return_index=True)
    earliest = dated[order[firsts]][np.unique(numbers, return_inverse=True)[1]]
    began = times[earliest]
    places = np.asarray(sites).astype(str)[earliest] if sites is not None else np.zeros(len(dated))
    parts = np.full(n, -1, dtype=np.int64)
    n_late = 0
    for site in np.unique(places):
        inside = places == site
        first, second = _find_cuts(np.sort(began[inside]), fractions)
        found = (began[inside] >= first).astype(np.int64) + (began[inside] >= second)
        ends = np.array([first, second, np.datetime64("NaT", "ns")])
        if gap is not None:
            # A part that is not there ends nothing.
            near = began[inside] > ends[found] - gap
            found[near] = -1
        n_late += int((times[dated[inside]] >= ends[found])[found >= 0].sum())
        parts[dated[inside]] = found
    n_in_gap = int((parts[dated] < 0).sum())
    return TimeParts(parts, n - len(dated), n_in_gap, n_late)


def _find_cuts(ordered: Times, fractions: Sequence[float]) -> tuple[np.datetime64, np.datetime64]:
    """Return when validation and test begin; not a time where one never does."""
    n = len(ordered)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    between = starts[1:]

    def place(share: float, most: int) -> int:
        # Where there are two times, what is to be there is: the first trains, the last judges.
        allowed = between[between <= most]
        wanted = round(share * n)
        if wanted >= most or not len(allowed):
            return most
        return int(allowed[np.argmin(np.abs(allowed - wanted))])

    last = n if fractions[2] <= 0 else place(1 - fractions[2], n)
    if last == n and fractions[2] > 0 and len(between):
        last = int(between[-1])
    first = last if fractions[1] <= 0 else place(fractions[0], last)
    at = np.append(ordered, _NO_TIME)
    return at[first], at[last]
