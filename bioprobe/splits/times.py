"""Parts of a split that follow each other in time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.images.times import Times
from bioprobe.splits.groups import number_groups
from bioprobe.types import Names

_NO_TIME = np.datetime64("NaT", "ns")


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
    >>> from bioprobe.images.times import read_span
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
