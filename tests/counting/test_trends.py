"""Trends: rate ratios that are known, and what is told from too little."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from bioprobe.counting.trends import estimate_trend
from bioprobe.errors import SelectionError

pytest.importorskip("statsmodels")


def _make(n_sites: int, n_years: int, ratio: float, seed: int = 0, spread: float = 0.0,
          rate: float = 0.3) -> pd.DataFrame:  # fmt: skip
    random = np.random.default_rng(seed)
    rows = []
    for site in range(n_sites):
        level = rate * math.exp(random.normal(0, 0.7))
        for year in range(n_years):
            days = float(random.integers(60, 200))
            mean = days * level * ratio**year
            mean *= random.gamma(1 / spread, spread) if spread else 1.0
            rows.append((f"s{site}", 2018 + year, random.poisson(mean), days))
    return pd.DataFrame(rows, columns=["site", "year", "n_records", "camera_days"])


def test_rates_without_chance_give_their_ratio() -> None:
    table = pd.DataFrame(
        [(site, 2020 + year, 2**year * k, 10.0 * k) for k, site in enumerate("abcde", 1)
         for year in range(3)],
        columns=["site", "year", "n_records", "camera_days"],
    )  # fmt: skip
    found = estimate_trend("a", table)
    assert found.ratio == pytest.approx(2, abs=1e-6)
    # By the information of Poisson counts within sites; the jackknife finds nothing to add.
    years, mean = np.array([0.0, 1, 2]), np.array([1.0, 2, 4])
    apart = years - (years * mean).sum() / mean.sum()
    error = 1 / math.sqrt(15 * (mean * apart**2).sum())
    assert math.log(found.high / 2) == pytest.approx(t.isf(0.025, 15 - 6) * error, rel=1e-4)
    assert found.p_years == pytest.approx(1)
    assert found.years["rate"].tolist() == [10, 20, 40]
    assert (found.n_sites, found.n_years, found.n_records) == (5, 3, 105)


def test_sites_that_differ_widen_the_interval_by_a_jackknife() -> None:
    slopes = (5, -5, 0, 3, -3)
    table = pd.DataFrame(
        [(site, 2020 + year, 20 + slope * (year - 1), 100.0)
         for site, slope in zip("abcde", slopes, strict=True) for year in range(3)],
        columns=["site", "year", "n_records", "camera_days"],
    )  # fmt: skip
    found = estimate_trend("a", table)
    assert found.ratio == pytest.approx(1, abs=1e-6)
    # Each site's score is twice its slope; without it four sites of an information of 40 are left.
    error = math.sqrt(4 / 5 * sum((2 * slope / 160) ** 2 for slope in slopes))
    assert math.log(found.high) == pytest.approx(t.isf(0.025, 4) * error, rel=1e-4)


def test_a_year_without_a_working_camera_tells_nothing() -> None:
    table = _make(6, 4, 0.9)
    idle = pd.DataFrame({"site": ["s0"], "year": [2030], "n_records": [0], "camera_days": [0.0]})
    plain, found = (estimate_trend("a", one) for one in (table, pd.concat([table, idle])))
    assert (found.n_years, found.low, found.high) == (4, plain.low, plain.high)


def test_sites_that_come_and_go_make_no_trend() -> None:
    # Rich sites are watched late, poor ones early; none of them changes.
    rows = [
        (f"s{site}", year, 5 if site < 4 else 50, 100.0)
        for site in range(8)
        for year in (2020 + 2 * (site > 3), 2021 + 2 * (site > 3))
    ]
    found = estimate_trend("a", pd.DataFrame(
        rows, columns=["site", "year", "n_records", "camera_days"]))  # fmt: skip
    assert found.ratio == pytest.approx(1, abs=1e-6)
    assert found.years["rate"].tolist() == [5, 5, 50, 50]


def test_the_ratio_is_held_and_overdispersion_widens() -> None:
    hits = 0
    widths = {0.0: [], 0.5: []}  # type: dict[float, list[float]]
    for seed in range(4):
        for spread, found_widths in widths.items():
            found = estimate_trend("a", _make(8, 4, 0.8, seed, spread))
            hits += found.low <= 0.8 <= found.high
            found_widths.append(math.log(found.high / found.low))
    assert hits >= 6
    assert np.median(widths[0.5]) > 1.5 * np.median(widths[0.0])


def test_dispersion_and_years_that_all_sites_share_are_told() -> None:
    table = _make(10, 5, 1.0, 3)
    plain = estimate_trend("a", table)
    assert plain.dispersion < 2
    good = table["year"] == 2020
    mast = table.assign(n_records=table["n_records"] * np.where(good, 4, 1))
    assert estimate_trend("a", mast).p_years < 0.001


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[t["year"] < 2020], "from 2 years; 3 or more"),
        (lambda t: t[t["site"].isin(["s0", "s1", "s2"])], "from 3 sites with records"),
        (lambda t: t.assign(n_records=(t["year"] == 2018).astype(int)), "from 6 records"),
        (lambda t: t.assign(n_records=0), "from 0 sites with records"),
    ],
)
def test_too_little_is_refused_in_words(change: object, said: str) -> None:
    table = change(_make(6, 4, 1.0))  # type: ignore[operator]
    with pytest.raises(SelectionError, match=f"no trend of a is told {said}"):
        estimate_trend("a", table)


def test_a_taxon_that_is_gone_has_no_ratio() -> None:
    rows = [(f"s{site}", 2020 + year, 20 if year == 0 else 0, 100.0)
            for site in range(6) for year in range(3)]  # fmt: skip
    with pytest.raises(SelectionError, match="years at one end"):
        estimate_trend("a", pd.DataFrame(
            rows, columns=["site", "year", "n_records", "camera_days"]))  # fmt: skip
