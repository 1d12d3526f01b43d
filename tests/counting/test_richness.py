"""Richness: estimates and curves computed by hand."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from bioprobe.counting.richness import accumulate, estimate_chao1, estimate_richness
from bioprobe.errors import SelectionError


def test_chao1_and_its_interval_by_hand() -> None:
    # S = 7, n = 22, f1 = 3, f2 = 2.
    found = estimate_chao1([10, 5, 2, 2, 1, 1, 1])
    unseen = 21 / 22 * 9 / 4
    assert found.estimate == pytest.approx(7 + unseen)
    part, ratio = 21 / 22, 1.5
    variance = 2 * (part / 2 * ratio**2 + part**2 * ratio**3 + part**2 / 4 * ratio**4)
    spread = math.exp(1.959964 * math.sqrt(math.log(1 + variance / unseen**2)))
    assert found.low == pytest.approx(7 + unseen / spread, rel=1e-5)
    assert found.high == pytest.approx(7 + unseen * spread, rel=1e-5)
    assert found.completeness == pytest.approx(7 / (7 + unseen))
    # Chao and Jost: 1 - f1/n (n-1)f1 / ((n-1)f1 + 2 f2).
    assert found.coverage == pytest.approx(1 - 3 / 22 * 63 / (63 + 4))


def test_chao1_of_records_that_were_drawn_of_so_many() -> None:
    # n = 22 of 44: q / (1 - q) = 1; f1 = 3, f2 = 2.
    found = estimate_chao1([10, 5, 2, 2, 1, 1, 1], 44)
    below = 22 / 21 * 4 + 3
    unseen = 9 / below
    assert found.estimate == pytest.approx(7 + unseen)
    by_once, by_twice = (6 * below - 9) / below**2, -(22 / 21 * 2) * 9 / below**2
    variance = unseen + by_once**2 * 3 + by_twice**2 * 2
    spread = math.exp(1.959964 * math.sqrt(math.log(1 + variance / unseen**2)))
    assert found.low == pytest.approx(7 + unseen / spread, rel=1e-5)
    assert found.high == pytest.approx(7 + unseen * spread, rel=1e-5)
    # Of records without end it is as ever, and where all were drawn nothing is unseen.
    endless = estimate_chao1([10, 5, 2, 2, 1, 1, 1], 10**9)
    ever = estimate_chao1([10, 5, 2, 2, 1, 1, 1])
    assert endless.estimate == pytest.approx(ever.estimate)
    assert endless.high == pytest.approx(ever.high, rel=0.02)
    all_of_them = estimate_chao1([10, 5, 2, 2, 1, 1, 1], 22)
    assert (all_of_them.estimate, all_of_them.high) == (7, 7)


def test_chao1_without_taxa_of_two_records_or_of_one() -> None:
    no_two = estimate_chao1([8, 3, 1, 1, 1])
    assert no_two.estimate == pytest.approx(5 + 13 / 14 * 3)
    assert no_two.low > 5
    one = estimate_chao1([5, 1])
    assert one.estimate == one.low == 2 or one.low >= 2
    none = estimate_chao1([6, 5, 4])
    assert (none.estimate, none.low) == (3, 3)
    assert none.high == pytest.approx(3 / (1 - math.exp(-5)) + 1.959964 * math.sqrt(
        3 * math.exp(-5)) / (1 - math.exp(-5)), rel=1e-5)  # fmt: skip
    assert estimate_chao1([0]).observed == 0


def test_places_accumulate_as_the_mean_of_all_orders() -> None:
    seen = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 0, 1]], dtype=bool)
    found = accumulate(seen)
    for h in range(1, 5):
        subsets = [seen[list(some)].any(axis=0).sum() for some in combinations(range(4), h)]
        assert found.richness[h - 1] == pytest.approx(np.mean(subsets))
    assert (found.low <= found.richness).all()
    assert (found.richness <= found.high).all()
    # At all places the variance is S - S²/Ŝ, Ŝ of Chao2: q1 = 2, q2 = 1.
    total = 4 + 3 / 4 * 4 / 2
    assert found.high[-1] == pytest.approx(4 + 1.959964 * math.sqrt(4 - 16 / total), rel=1e-5)


def test_places_that_worked_and_saw_nothing_are_places() -> None:
    found = estimate_richness("", ["a", "b"], ["p", "q"], ["p", "r"]).accumulation
    assert found.richness.tolist() == pytest.approx([2 / 3, 4 / 3, 2])


def test_no_place_is_refused_and_one_is_itself() -> None:
    with pytest.raises(SelectionError, match="no place"):
        accumulate(np.zeros((0, 3), dtype=bool))
    one = accumulate(np.array([[True, False, True]]))
    assert (one.n_places.tolist(), one.richness.tolist()) == ([1], [2])
