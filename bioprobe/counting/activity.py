"""Activity over the day: a circular kernel density with its interval, overlaps, and sun time."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MissingExtraError, SelectionError
from bioprobe.images.times import Times
from bioprobe.types import Doubles, Mask

if TYPE_CHECKING:
    import pandas as pd

#: Below this no curve is drawn; below the second it is said to be rough.
FEWEST, FEW = 10, 100
#: Of the smaller sample, from which on the other estimator of overlap is taken.
LARGE = 75
# Points of the day at which densities are computed: ten minutes.
_POINTS = 144
_MINUTES = 1440
# Terms of a Fourier series; those of a kernel as narrow as any here are nothing beyond.
_TERMS = 120
_HIGHEST = 345.0
_DAY_S = 86_400


@dataclasses.dataclass(frozen=True, eq=False)
class Density:
    """How activity is spread over the day.

    Parameters
    ----------
    taxon : str
    n_records : int
        Independent records.
    hours : ndarray of float64, shape (n_points,)
        From 0 to 24, both included.
    share : ndarray of float64, shape (n_points,)
        Share of all activity in an hour at this rate: 1/24 is as much as at any time.
    low, high : ndarray of float64, shape (n_points,)
        Interval of 95% at each point.
    by_hour : DataFrame
        ``hour`` (0 to 23), ``n_records``, ``share`` of the activity between this hour and the
        next, ``low`` and ``high``.
    concentration : float
        Of the kernel.
    """

    taxon: str
    n_records: int
    hours: Doubles
    share: Doubles
    low: Doubles
    high: Doubles
    by_hour: pd.DataFrame
    concentration: float

    @property
    def peak(self) -> float:
        """Hour at which the curve is highest."""
        return float(self.hours[int(np.argmax(self.share[:-1]))])


@dataclasses.dataclass(frozen=True)
class Overlap:
    """How much the activity of two taxa is at the same times.

    Parameters
    ----------
    first, second : str
        The taxa.
    n_first, n_second : int
        Their records.
    estimator : str
        ``Dhat1`` or ``Dhat4``.
    value, low, high : float
        From 0, never at the same time, to 1, with the interval of 95%.
    """

    first: str
    second: str
    n_first: int
    n_second: int
    estimator: str
    value: float
    low: float
    high: float


def find_concentration(angles: Doubles) -> float:
    r"""Find the concentration of a von Mises kernel by the rule of Taylor as overlap has it.

    It is :math:`(3 n \kappa^2 I_2(2\kappa) / (4 \sqrt\pi I_0(\kappa)^2))^{2/5}`, with the largest
    :math:`\kappa` for which :math:`I_k(\kappa)/I_0(\kappa)` is the k-th trigonometric moment about
    the mean, of k = 1, 2, 3.

    Parameters
    ----------
    angles : ndarray of float64, shape (n,)
        Radians.

    References
    ----------
    Ridout and Linkie 2009, *Estimating overlap of daily activity patterns from camera trap data*;
    Taylor 2008, *Automatic bandwidth selection for circular density estimation*; Meredith and
    Ridout, *overlap* (``getBandWidth``).
    """
    cosines, sines = _find_moments(angles, np.ones((1, len(angles))), 3)
    return float(_choose_concentrations(cosines, sines, len(angles))[0])


def find_density(angles: Doubles, at: Doubles, concentration: float) -> Doubles:
    r"""Return the kernel density, per radian: the mean of von Mises densities about the angles.

    Parameters
    ----------
    angles : ndarray of float64, shape (n,)
    at : ndarray of float64, shape (n_points,)
    concentration : float
        Of the kernel, > 0.
    """
    cosines, sines = _find_moments(angles, np.ones((1, len(angles))), _TERMS)
    found: Doubles = _sum_series(cosines, sines, np.array([concentration]), at)[0]
    return found


def estimate_density(
    taxon: str, hours: Doubles, *, n_resamples: int = 1000, seed: int = 0
) -> Density:
    """Estimate how the activity of a taxon is spread over the day, with a bootstrap by records.

    Parameters
    ----------
    taxon : str
    hours : ndarray of float64, shape (n_records,)
        Time of each independent record, in [0, 24).
    n_resamples, seed : int
        Of the bootstrap: each draws as many records, and chooses its own kernel.

    Raises
    ------
    SelectionError
        If there are fewer than :data:`FEWEST` records.

    References
    ----------
    As :func:`find_concentration`; Rowcliffe et al. 2014, *Quantifying levels of animal activity
    using camera trap data* (the bootstrap).
    """
    import pandas as pd

    if len(hours) < FEWEST:
        msg = (
            f"{taxon} has {len(hours):,} records with a time; an activity curve takes {FEWEST} or "
            "more"
        )
        raise SelectionError(msg)
    angles = _to_angles(hours)
    concentration = find_concentration(angles)
    at = np.linspace(0, 2 * math.pi, _POINTS + 1)
    share = find_density(angles, at, concentration) * 2 * math.pi / 24
    counts = np.bincount((hours * 60).astype(np.int64) % _MINUTES, minlength=_MINUTES)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(hours), counts / counts.sum(), size=n_resamples)
    minutes = (np.arange(_MINUTES) + 0.5) / _MINUTES * 2 * math.pi
    resampled = _resample_densities(minutes, drawn, at) * 2 * math.pi / 24
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    mean_of_hour = _average_hours(np.vstack([share[None], resampled]))
    hour_low, hour_high = np.quantile(mean_of_hour[1:], [0.025, 0.975], axis=0)
    by_hour = pd.DataFrame({
        "hour": np.arange(24), "n_records": np.bincount(hours.astype(np.int64) % 24, minlength=24),
        "share": mean_of_hour[0], "low": np.minimum(hour_low, mean_of_hour[0]),
        "high": np.maximum(hour_high, mean_of_hour[0]),
    })  # fmt: skip
    return Density(
        taxon, len(hours), at * 24 / (2 * math.pi), share, np.minimum(low, share),
        np.maximum(high, share), by_hour, concentration,
    )  # fmt: skip


def _average_hours(densities: Doubles) -> Doubles:
    """Return the share of each hour, by the trapezoid rule."""
    step = _POINTS // 24
    middle = (densities[:, :-1] + densities[:, 1:]) / 2
    return np.asarray(middle.reshape(len(densities), 24, step).mean(axis=2), dtype=np.float64)


def estimate_overlap(
    first: tuple[str, Doubles], second: tuple[str, Doubles], *, n_resamples: int = 1000,
    seed: int = 0,
) -> Overlap:  # fmt: skip
    r"""Estimate the overlap of two taxa: the area below both densities.

    With fewer than 75 records of one it is ``Dhat1``, by densities on a grid whose kernels are
    1.25 times as concentrated, else ``Dhat4``, by the densities at the records. The interval is of
    a smoothed bootstrap, moved by as much as its mean is off.

    Parameters
    ----------
    first, second : (str, ndarray of float64)
        Taxon and hours of its records, in [0, 24).
    n_resamples, seed : int
        Of the bootstrap.

    References
    ----------
    Ridout and Linkie 2009 (estimators 1 and 4); Meredith and Ridout, *overlap*
    (``overlapEst`` with ``adjust = c(0.8, 1)``; ``bootCI``, *basic0*).

    Raises
    ------
    SelectionError
        If one has fewer than :data:`FEWEST` records.
    """
    for taxon, hours in (first, second):
        if len(hours) < FEWEST:
            msg = f"{taxon} has {len(hours):,} records with a time; an overlap takes {FEWEST}"
            raise SelectionError(msg)
    sides = [_to_angles(hours) for _, hours in (first, second)]
    is_large = min(map(len, sides)) >= LARGE
    value = float(
        _overlap(
            sides, [np.ones((1, len(side))) for side in sides], is_large=is_large
        )[0]
    )  # fmt: skip
    at = (np.arange(_MINUTES) + 0.5) / _MINUTES * 2 * math.pi
    random = np.random.default_rng(seed)
    drawn = []
    for side in sides:
        smooth = np.maximum(find_density(side, at, find_concentration(side)), 0)
        drawn.append(random.multinomial(len(side), smooth / smooth.sum(), size=n_resamples))
    resampled = _overlap([at, at], drawn, is_large=is_large)
    low, high = np.quantile(resampled, [0.025, 0.975]) - resampled.mean() + value
    return Overlap(
        first[0], second[0], len(sides[0]), len(sides[1]), "Dhat4" if is_large else "Dhat1",
        value, min(max(float(low), 0.0), value), max(min(float(high), 1.0), value),
    )  # fmt: skip


def _overlap(
    angles: Sequence[Doubles], weights: Sequence[npt.NDArray[np.number]], *, is_large: bool
) -> Doubles:
    """Return the overlap of two samples at each row of weights."""
    grid = np.linspace(0, 2 * math.pi, _POINTS + 1)
    densities = [
        _resample_densities(side, counts, grid, 1.0 if is_large else 0.8)
        for side, counts in zip(angles, weights, strict=True)
    ]
    if not is_large:
        scaled = [one[:, 1:] / one[:, 1:].sum(axis=1, keepdims=True) for one in densities]
        return np.asarray(np.minimum(*scaled).sum(axis=1), dtype=np.float64)
    shares = []
    for this, other in ((0, 1), (1, 0)):
        # Between the points of the grid, as overlap does where there are many records.
        place = angles[this] / (2 * math.pi) * _POINTS
        left = np.minimum(place.astype(np.int64), _POINTS - 1)
        part = place - left
        own, its = (
            densities[k][:, left] * (1 - part) + densities[k][:, left + 1] * part
            for k in (this, other)
        )
        ratio = np.minimum(1, its / np.maximum(own, 1e-12))
        shares.append((ratio * weights[this]).sum(axis=1) / weights[this].sum(axis=1))
    return np.asarray((shares[0] + shares[1]) / 2, dtype=np.float64)


def _resample_densities(
    angles: Doubles, weights: npt.NDArray[np.number], at: Doubles, adjust: float = 1.0
) -> Doubles:
    """Return the density of each row of weights, its kernel chosen by these."""
    cosines, sines = _find_moments(angles, weights, _TERMS)
    n = weights.sum(axis=1)
    return _sum_series(cosines, sines, _choose_concentrations(cosines, sines, n) / adjust, at)


def _find_moments(
    angles: Doubles, weights: npt.NDArray[np.number], n_terms: int
) -> tuple[Doubles, Doubles]:
    """Return the trigonometric moments of each row of weights, shape (n_rows, n_terms)."""
    multiples = angles[:, None] * np.arange(1, n_terms + 1)
    scaled = weights / weights.sum(axis=1, keepdims=True)
    return scaled @ np.cos(multiples), scaled @ np.sin(multiples)


def _choose_concentrations(cosines: Doubles, sines: Doubles, n: float | Doubles) -> Doubles:
    from scipy.special import ive

    mean = np.arctan2(sines[:, 0], cosines[:, 0])
    table = np.concatenate([np.linspace(1e-4, 1, 400), np.geomspace(1, _HIGHEST, 2000)[1:]])
    largest = np.zeros(len(cosines))
    for k in (1, 2, 3):
        about = cosines[:, k - 1] * np.cos(k * mean) + sines[:, k - 1] * np.sin(k * mean)
        across = sines[:, k - 1] * np.cos(k * mean) - cosines[:, k - 1] * np.sin(k * mean)
        moment = np.hypot(about, across)
        ratio = ive(k, table) / ive(0, table)
        largest = np.maximum(largest, np.interp(moment, ratio, table, left=1e-4))
    # ive is scaled by exp(-x), as much above as below.
    curved = 3 * n * largest**2 * ive(2, 2 * largest) / (
        4 * math.sqrt(math.pi) * ive(0, largest) ** 2
    )  # fmt: skip
    # All at one time would have a kernel without width, none at any a kernel without weight.
    return np.asarray(np.clip(curved ** (2 / 5), 1e-3, 2 * _HIGHEST), dtype=np.float64)


def _sum_series(cosines: Doubles, sines: Doubles, concentrations: Doubles, at: Doubles) -> Doubles:
    """Return the mean of von Mises densities by their Fourier series, shape (n_rows, n_points)."""
    from scipy.special import ive

    terms = np.arange(1, cosines.shape[1] + 1)
    kernel = ive(terms[None, :], concentrations[:, None]) / ive(0, concentrations)[:, None]
    multiples = at[:, None] * terms
    series = (kernel * cosines) @ np.cos(multiples).T + (kernel * sines) @ np.sin(multiples).T
    return np.asarray(np.maximum((1 + 2 * series) / (2 * math.pi), 0), dtype=np.float64)


def _to_angles(hours: Doubles) -> Doubles:
    return np.asarray(hours, dtype=np.float64) / 24 * 2 * math.pi


def read_hours(local: Times) -> Doubles:
    """Return the time of day in hours, in [0, 24)."""
    seconds = (local - local.astype("datetime64[D]")) / np.timedelta64(1, "s")
    return np.asarray(seconds / 3600, dtype=np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class SunHours:
    """Times by the sun.

    Parameters
    ----------
    hours : ndarray of float64, shape (n_records,)
        In [0, 24), not a number where the sun did not rise or set.
    sunrise, sunset : float
        Hour to which each is moved.
    is_polar : ndarray of bool, shape (n_records,)
        Where the sun did not rise or set within the day.
    """

    hours: Doubles
    sunrise: float
    sunset: float
    is_polar: Mask


def find_sun_hours(
    local: Times, instants: Times, latitude: Doubles, longitude: Doubles, *, average: bool
) -> SunHours:
    """Return times by the sun: between sunrise and sunset, and sunset and sunrise, evenly.

    Parameters
    ----------
    local, instants : ndarray of datetime64[s], shape (n_records,)
        By the clock there, and in UTC.
    latitude, longitude : ndarray of float64, shape (n_records,)
        Degrees.
    average : bool
        Whether sunrise and sunset are moved to their mean times, else to 6 and 18.

    Raises
    ------
    MissingExtraError
        If astral is not installed.

    References
    ----------
    Nouvellet et al. 2012, *Noisy clocks and silent sunrises*; Vazquez et al. 2019, *Comparing diel
    activity patterns of wildlife across latitudes and seasons* (double anchoring, equinoctial and
    average); Meredith and Ridout, *overlap* (``sunTime``).
    """
    almanac = _Almanac()
    spans = [
        almanac.find(instant, lat, lon)
        for instant, lat, lon in zip(instants, latitude.tolist(), longitude.tolist(), strict=True)
    ]
    is_polar = np.array([span is None for span in spans], dtype=bool)
    sunrise, sunset = 6.0, 18.0
    offsets = (local - instants) / np.timedelta64(3600, "s")
    if average and not is_polar.all():
        rises, sets = [], []
        for span, offset in zip(spans, offsets, strict=True):
            if span is not None:
                begin, end, is_day = span
                rise, its_set = (begin, end) if is_day else (end, begin)
                rises.append((rise / 3600 + offset) % 24)
                sets.append((its_set / 3600 + offset) % 24)
        sunrise, sunset = _mean_hour(rises), _mean_hour(sets)
    day = (sunset - sunrise) % 24
    hours = np.full(len(local), np.nan)
    for number, (span, instant) in enumerate(zip(spans, instants, strict=True)):
        if span is None:
            continue
        begin, end, is_day = span
        part = (_to_seconds(instant) - begin) / (end - begin)
        hours[number] = (sunrise + part * day if is_day else sunset + part * (24 - day)) % 24
    return SunHours(hours, sunrise, sunset, is_polar)


def _mean_hour(hours: Sequence[float]) -> float:
    angles = np.array(hours) / 24 * 2 * math.pi
    mean = math.atan2(float(np.sin(angles).mean()), float(np.cos(angles).mean()))
    return mean / (2 * math.pi) * 24 % 24


def _to_seconds(instant: np.datetime64) -> float:
    return float(instant.astype("datetime64[s]").astype(np.int64))


class _Almanac:
    """When the sun rises and sets."""

    def __init__(self) -> None:
        try:
            from astral import Observer
            from astral.sun import sunrise, sunset
        except ImportError as error:
            msg = (
                "times by the sun need a library that is not installed; install it: pip install "
                "'bioprobe[counting]'"
            )
            raise MissingExtraError(msg) from error
        self._observer, self._ask = Observer, {True: sunrise, False: sunset}
        self._known: dict[tuple[float, float, int, bool], float | None] = {}

    def find(
        self, instant: np.datetime64, latitude: float, longitude: float
    ) -> tuple[float, float, bool] | None:
        """Return when the sun rose or set before an instant and after it, and whether it is day.

        In seconds since 1970; None where the sun does not do so.
        """
        if math.isnan(latitude) or math.isnan(longitude):
            return None
        second, today = _to_seconds(instant), int(_to_seconds(instant) // _DAY_S)
        events = sorted(
            (time, is_rise) for day in range(today - 2, today + 3) for is_rise in (True, False)
            if (time := self._read(latitude, longitude, day, is_rise=is_rise)) is not None
        )  # fmt: skip
        before = [one for one in events if one[0] <= second]
        after = [one for one in events if one[0] > second]
        if not before or not after or before[-1][1] == after[0][1]:
            return None
        if after[0][0] - before[-1][0] > _DAY_S:
            return None
        return before[-1][0], after[0][0], before[-1][1]

    def _read(self, latitude: float, longitude: float, day: int, *, is_rise: bool) -> float | None:
        key = (latitude, longitude, day, is_rise)
        if key not in self._known:
            date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
            try:
                time = self._ask[is_rise](
                    self._observer(latitude, longitude), date=date, tzinfo=datetime.UTC
                )
                self._known[key] = time.timestamp()
            except ValueError:
                # The sun stays above or below the horizon.
                self._known[key] = None
        return self._known[key]
