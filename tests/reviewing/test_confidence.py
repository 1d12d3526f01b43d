"""Intervals of what nobody looked at: by hand, and where choices are made to mislead them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bioprobe.errors import SelectionError
from bioprobe.reviewing.confidence import Draws, bound_total, estimate_total
from bioprobe.types import Doubles


def _draw(n_units: int, n_draws: int) -> Draws:
    drawn = np.arange(n_draws)
    return Draws(n_units, drawn, drawn, np.zeros(n_draws, dtype=np.int64))


def _mislead(
    values: Doubles, random: np.random.Generator, n_batches: int, *, wanted: float
) -> list[Draws]:
    """Draw two and choose three of one value, batch after batch; return all looks."""
    left, looks = set(range(len(values))), list[Draws]()
    order, drawn, before = list[int](), list[int](), list[int]()
    for _ in range(n_batches):
        audit = random.choice(sorted(left), 2, replace=False).tolist()
        before += [len(order)] * 2
        order += audit
        drawn += audit
        left -= set(audit)
        chosen = sorted(left, key=lambda one: (values[one] != wanted, one))[:3]
        order += chosen
        left -= set(chosen)
        looks.append(Draws(len(values), np.array(order), np.array(drawn), np.array(before)))
    return looks


def test_what_is_estimated_is_the_mean_of_the_draws_less_what_is_known_by_now() -> None:
    # Two of ten are drawn, of which one has the value; then one that has it is chosen.
    draws = Draws(10, np.array([0, 1, 2]), np.array([0, 1]), np.array([0, 0]))
    values = np.zeros(10)
    values[[1, 2]] = 1
    # The first frame has 10 units and two known ones; the second 9 and the same two.
    first, second = 10 * 0 - 2, 9 * 1 - 2
    weights = np.array([1 / 100, 1 / 81])
    expected = (weights @ [first, second]) / weights.sum()
    assert estimate_total(draws, values) == pytest.approx(expected)
    # A guess that is right of every unit leaves nothing to chance.
    exact = values.copy()
    exact[7:] = 0.5
    assert bound_total(draws, values, values, exact).estimate == pytest.approx(1.5)


def test_nothing_drawn_is_nothing_known_and_all_looked_at_is_all_known() -> None:
    none = np.zeros(0, dtype=np.int64)
    found = bound_total(Draws(8, none, none, none), np.zeros(8), np.zeros(8))
    assert math.isnan(found.estimate)
    assert (found.low, found.high) == (0, 8)
    everything = bound_total(_draw(8, 8), np.ones(8), np.ones(8))
    assert (everything.estimate, everything.low, everything.high) == (0, 0, 0)


@pytest.mark.parametrize("wanted", [0.0, 1.0])
def test_intervals_hold_at_all_looks_together_whatever_is_chosen(wanted: float) -> None:
    n_held, n_naive, n_trials = 0, 0, 20
    for trial in range(n_trials):
        random = np.random.default_rng(trial)
        values = (random.random(160) < 0.2).astype(np.float64)
        holds = naive = True
        for draws in _mislead(values, random, 12, wanted=wanted)[2::3]:
            truth = values[draws.left].sum()
            found = bound_total(draws, values, values)
            holds &= found.low <= truth <= found.high
            # As if the draws were of what is left alone.
            share = values[draws.units].mean() * draws.left.sum()
            half = 1.96 * math.sqrt(0.16 / len(draws.units)) * draws.left.sum()
            naive &= share - half <= truth <= share + half
        n_held, n_naive = n_held + holds, n_naive + naive
    assert n_held >= 18
    assert n_naive < 17


def test_a_good_guess_and_a_lower_level_make_it_narrower() -> None:
    random = np.random.default_rng(3)
    chances = np.where(random.random(400) < 0.25, 0.8, 0.03)
    values = (random.random(400) < chances).astype(np.float64)
    draws = _draw(400, 120)
    plain, guessed = (bound_total(draws, values, values, one) for one in (None, chances))
    assert guessed.high - guessed.low < 0.85 * (plain.high - plain.low)
    assert guessed.low <= values[120:].sum() <= guessed.high
    less = bound_total(draws, values, values, level=0.8)
    assert plain.low <= less.low < less.high < plain.high


def test_what_may_be_either_is_the_worse_for_each_end() -> None:
    low, high = np.zeros(200), np.zeros(200)
    high[:5] = 1
    draws = _draw(200, 60)
    both, sure, worse = (
        bound_total(draws, *ends) for ends in ((low, high), (low, low), (high, high))
    )
    assert (both.low, both.high, both.estimate) == (sure.low, worse.high, worse.estimate)
    assert worse.high > sure.high


def test_unequal_chances_are_weighed() -> None:
    # Units of the second half are drawn four times as often, and have the value more often.
    values = np.concatenate([np.zeros(300), np.tile([1.0, 0.0], 150)])
    chances = np.concatenate([np.full(300, 0.2), np.full(300, 0.8)]) / 300
    totals, held = [], 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        units = random.choice(600, 100, replace=False, p=chances)
        weights = 1 / (600 * chances[units])
        draws = Draws(600, units, units, np.zeros(100, dtype=np.int64), weights)
        found = bound_total(draws, values, values)
        held += found.low <= values[draws.left].sum() <= found.high
        totals.append(estimate_total(draws, values) - values[draws.left].sum())
    assert held >= 18
    assert abs(np.mean(totals)) < 12  # as if chances were alike it is above 60
    with pytest.raises(SelectionError, match="unequal chances"):
        draws.within(values > 0)


def test_draws_of_some_units_are_draws_from_these() -> None:
    draws = Draws(
        10, np.array([0, 1, 2, 3, 4, 5]), np.array([0, 1, 4]), np.array([0, 0, 3])
    )  # fmt: skip
    some = np.isin(np.arange(10), [1, 3, 4, 8])
    found = draws.within(some)
    assert found.n_units == 4
    assert found.order.tolist() == [0, 1, 2]
    assert found.units.tolist() == [0, 2]
    assert found.before.tolist() == [0, 1]
    assert found.left.tolist() == [False, False, False, True]


def test_a_unit_that_was_looked_at_before_it_was_drawn_is_refused() -> None:
    with pytest.raises(SelectionError, match="unit 0 counts as drawn"):
        Draws(5, np.array([0, 1]), np.array([0]), np.array([1]))
