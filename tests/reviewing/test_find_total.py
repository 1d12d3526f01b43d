"""How many there are in all, from random draws: it holds whatever is looked at between."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import hypergeom

from benchmarks.find_species import count_sought, follow
from bioprobe.errors import SelectionError
from bioprobe.reviewing.find_total import Draw, Total, bound_total, find_chances


def _draw_evenly(n: int, n_draws: int, finds: tuple[int, ...] = ()) -> list[Draw]:
    """Return even draws from n pictures, of which some are it."""
    draws, n_found = [], 0
    for number in range(n_draws):
        chance = 1 / (n - number)
        draws.append(Draw(number in finds, chance, chance, n_found))
        n_found += number in finds
    return draws


@pytest.mark.parametrize("n", [1, 15, 16, 17, 48, 1000])
def test_the_chances_of_a_draw_add_up_and_are_never_below_half_of_an_even_one(n: int) -> None:
    scores = np.random.default_rng(0).normal(size=n).astype(np.float32)
    chances = find_chances(scores)
    assert chances.sum() == pytest.approx(1)
    assert chances.min() >= 0.5 / n
    # The highest score is the likeliest or in the one stratum that there is; equal ones count once.
    assert chances[np.argmax(scores)] >= chances.max() * (1 - 1e-12) or n < 100


def test_each_stratum_is_drawn_as_often() -> None:
    scores = np.arange(16 + 32 + 64, dtype=np.float32)[::-1].copy()
    chances = find_chances(scores) - 0.5 / len(scores)
    sums = [chances[:16].sum(), chances[16:48].sum(), chances[48:].sum()]
    assert sums == pytest.approx([1 / 6] * 3)


def test_nothing_to_draw_from_has_no_chances() -> None:
    assert find_chances(np.zeros(0, dtype=np.float32)).tolist() == []


def test_without_draws_all_that_is_left_may_be_it() -> None:
    assert bound_total([], 3, 97) == (3, 100)
    assert bound_total([], 0, 0) == (0, 0)


@pytest.mark.parametrize(("n", "n_draws"), [(100, 60), (500, 200), (2000, 150)])
def test_the_upper_end_of_empty_even_draws_is_the_exact_hypergeometric_one(
    n: int, n_draws: int
) -> None:
    _, high = bound_total(_draw_evenly(n, n_draws), 0, n - n_draws)
    # Half of the wealth is staked so that nothing found is bet on outright; the other stakes add a
    # little, so that the end lies between those of the full and of half the chance.
    ends = [
        next(k for k in itertools.count() if hypergeom.pmf(0, n, k, n_draws) < alpha) - 1
        for alpha in (0.04, 0.02)
    ]
    assert ends[0] <= high <= ends[1]


def test_all_looked_at_leaves_no_doubt() -> None:
    assert bound_total(_draw_evenly(50, 50, (3, 7)), 2, 0) == (2, 2)


def test_many_finds_among_the_draws_raise_the_lower_end() -> None:
    low, high = bound_total(_draw_evenly(1000, 100, tuple(range(0, 100, 2))), 50, 900)
    assert 200 < low < 500 < high < 800


def test_a_higher_level_is_wider_and_one_out_of_range_is_refused() -> None:
    draws = _draw_evenly(300, 100, (5,))
    assert bound_total(draws, 1, 200, level=0.99)[1] > bound_total(draws, 1, 200, level=0.8)[1]
    for level in (0.0, 1.0, 1.5):
        with pytest.raises(SelectionError, match="lies in"):
            bound_total(draws, 1, 200, level=level)


@pytest.mark.parametrize(("share", "gain"), [(0.003, 3.0), (0.2, -2.0)])
def test_the_interval_holds_at_every_look_whatever_is_looked_at_between(
    share: float, gain: float
) -> None:
    n_all = count_sought(share, 600)
    held = []
    for seed in range(10):
        low, high = zip(*follow(share, gain, seed, 600, 6), strict=True)
        held.append(max(low) <= n_all <= min(high))
    assert np.mean(held) >= 0.95


def test_recall_is_of_what_was_found_and_of_none_there_is_no_share() -> None:
    assert Total(8, 10.0, 8.0, 16.0).recall == (0.8, 0.5, 1.0)
    assert all(map(math.isnan, Total(0, 0.0, 0.0, 0.0).recall))
