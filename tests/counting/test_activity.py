"""Activity: the published formulas by hand, and the sun."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import iv
from scipy.stats import vonmises

from bioprobe.counting.activity import (
    estimate_density,
    estimate_overlap,
    find_concentration,
    find_density,
    find_sun_hours,
    read_hours,
)
from bioprobe.errors import SelectionError
from bioprobe.types import Doubles

GRID = np.linspace(0, 2 * math.pi, 145)


def _draw(hour: float, n: int, seed: int, concentration: float = 2.0) -> Doubles:
    angles = vonmises.rvs(concentration, loc=hour / 24 * 2 * math.pi, size=n, random_state=seed)
    return np.asarray(angles % (2 * math.pi) / (2 * math.pi) * 24)


def _angles(hours: Doubles) -> Doubles:
    return hours / 24 * 2 * math.pi


def _concentration(angles: Doubles) -> float:
    """Return what overlap's getBandWidth does, by its formulas."""
    found = []
    mean = math.atan2(np.sin(angles).sum(), np.cos(angles).sum())
    for k in (1, 2, 3):
        moment = math.hypot(np.sin(k * (angles - mean)).mean(), np.cos(k * (angles - mean)).mean())
        found.append(brentq(lambda x, k=k, m=moment: iv(k, x) / iv(0, x) - m, 1e-4, 345))
    kappa = max(found)
    return float((3 * len(angles) * kappa**2 * iv(2, 2 * kappa)
                  / (4 * math.sqrt(math.pi) * iv(0, kappa) ** 2)) ** 0.4)  # fmt: skip


def test_the_kernel_and_its_density_are_those_of_the_formulas() -> None:
    angles = _angles(_draw(3, 40, 1))
    concentration = _concentration(angles)
    assert find_concentration(angles) == pytest.approx(concentration, rel=1e-4)
    expected = vonmises.pdf(GRID[:, None] - angles[None], concentration).mean(axis=1)
    assert find_density(angles, GRID, concentration) == pytest.approx(expected, abs=1e-9)


def test_a_curve_goes_around_midnight_and_holds_its_interval() -> None:
    hours = _draw(0, 60, 2, 4)
    found = estimate_density("lynx", hours, n_resamples=200)
    assert min(found.peak, 24 - found.peak) < 2
    assert found.share[0] == pytest.approx(found.share[-1])
    assert (found.low <= found.share).all()
    assert (found.share <= found.high).all()
    assert found.by_hour["n_records"].sum() == 60
    assert found.by_hour["share"].sum() == pytest.approx(1, abs=1e-9)
    again = estimate_density("lynx", hours, n_resamples=200, seed=1)
    assert (again.low != found.low).any()
    with pytest.raises(SelectionError, match="lynx has 9 records"):
        estimate_density("lynx", hours[:9])


def test_the_interval_is_that_of_a_bootstrap_by_records() -> None:
    hours, random = _draw(0, 60, 2, 4), np.random.default_rng(0)
    found, at = estimate_density("lynx", hours, n_resamples=2000), GRID[::9]
    drawn = [_angles(random.choice(hours, 60)) for _ in range(600)]
    densities = [vonmises.pdf(at[:, None] - its, _concentration(its)).mean(axis=1) for its in drawn]
    low, high = np.quantile(densities, [0.025, 0.975], axis=0) * 2 * math.pi / 24
    assert (found.high - found.low)[::9].sum() == pytest.approx((high - low).sum(), rel=0.08)


def test_the_interval_narrows_with_records() -> None:
    few, many = (estimate_density("a", _draw(6, n, 3), n_resamples=200) for n in (20, 400))
    assert (many.high - many.low).mean() < 0.5 * (few.high - few.low).mean()


@pytest.mark.parametrize(("n", "estimator"), [(30, "Dhat1"), (75, "Dhat4")])
def test_overlaps_are_those_of_the_formulas(n: int, estimator: str) -> None:
    first, second = _draw(4, n, 4), _draw(8, n + 5, 5)
    one, other = _angles(first), _angles(second)
    found = estimate_overlap(("a", first), ("b", second), n_resamples=200)
    assert found.estimator == estimator
    if estimator == "Dhat1":
        f, g = (
            vonmises.pdf(GRID[1:, None] - its[None], _concentration(its) / 0.8).mean(axis=1)
            for its in (one, other)
        )
        expected = float(np.minimum(f / f.sum(), g / g.sum()).sum())
    else:
        both = np.concatenate([one, other])
        f, g = (
            np.interp(both, GRID, vonmises.pdf(GRID[:, None] - its[None], _concentration(its))
                      .mean(axis=1))
            for its in (one, other)
        )  # fmt: skip
        expected = (np.minimum(1, g / f)[:n].mean() + np.minimum(1, f / g)[n:].mean()) / 2
    assert found.value == pytest.approx(expected, abs=2e-3)
    assert found.low < found.value < found.high
    same = estimate_overlap(("a", first), ("a", first), n_resamples=100)
    assert same.value > 0.99
    # What resamples of one density overlap less in the mean is given back.
    assert 0.8 < same.low < same.high <= 1 + 1e-9


def test_the_sun_rises_at_six_or_at_its_mean_and_not_at_the_pole() -> None:
    pytest.importorskip("astral")
    # Zurich at the solstice: sunrise 05:29, sunset 21:26, by summer time.
    local = np.array(["2024-06-21T05:29", "2024-06-21T21:26", "2024-06-21T13:28",
                      "2024-06-22T01:28", "2024-06-21T12:00"], dtype="datetime64[s]")  # fmt: skip
    instants = (local - np.timedelta64(2, "h")).astype("datetime64[s]")
    latitude = np.array([47.37, 47.37, 47.37, 47.37, 78.2])
    longitude = np.full(5, 8.54)
    found = find_sun_hours(local, instants, latitude, longitude, average=False)
    assert found.hours[:4] == pytest.approx([6, 18, 12, 0], abs=0.05) or (
        found.hours[:3] == pytest.approx([6, 18, 12], abs=0.05) and found.hours[3] > 23.95
    )
    assert found.is_polar.tolist() == [False] * 4 + [True]
    assert math.isnan(found.hours[4])
    mean = find_sun_hours(local, instants, latitude, longitude, average=True)
    assert (mean.sunrise, mean.sunset) == pytest.approx((5.48, 21.43), abs=0.05)
    assert mean.hours[2] == pytest.approx(13.47, abs=0.05)
    # The middle of a night of eight hours.
    assert mean.hours[3] == pytest.approx(1.46, abs=0.05)


def test_hours_are_of_the_day() -> None:
    times = np.array(["2024-05-01T00:00:00", "2024-05-01T18:30:00"], dtype="datetime64[s]")
    assert read_hours(times).tolist() == [0, 18.5]
