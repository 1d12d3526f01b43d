from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from bioprobe.evaluation.paired import compare_with_best


def _mark(n_images: int, n_right: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.arange(n_images) < n_right


@pytest.mark.parametrize("n", [0, 1])
def test_without_others_there_is_nothing_to_compare(n: int) -> None:
    assert compare_with_best([_mark(4, 2)] * n) == []


def test_of_two_the_one_pair_needs_no_correction() -> None:
    (found,) = compare_with_best([_mark(10, 9), _mark(10, 3)])
    assert (found.n_only_best, found.n_only_this) == (6, 0)
    assert found.difference == pytest.approx(-0.6)
    assert found.p_value == pytest.approx(2 * 0.5**6)
    assert found.is_worse


def test_equal_ones_are_not_told_apart() -> None:
    (found,) = compare_with_best([_mark(10, 5), _mark(10, 5)])
    assert (found.difference, found.p_value, found.is_worse) == (0.0, 1.0, False)


def test_the_correction_is_for_all_pairs() -> None:
    # Pairs differ by 6, 7 and 1 images: Holm multiplies 2 / 2**7 by three, 2 / 2**6 by two.
    first, second = compare_with_best([_mark(10, 10), _mark(10, 4), _mark(10, 3)])
    assert second.p_value == pytest.approx(3 * 2 / 2**7)
    assert first.p_value == pytest.approx(2 * 2 / 2**6)
    assert second.is_worse
    assert not first.is_worse


def test_the_best_of_equal_methods_is_seldom_said_to_beat_another() -> None:
    rng = np.random.default_rng(0)
    n_wrong = n_naive = 0
    for _ in range(200):
        drawn = sorted(rng.random((6, 60)) < 0.5, key=lambda right: -int(right.sum()))
        n_wrong += any(one.is_worse for one in compare_with_best(drawn))
        best, worst = drawn[0], drawn[-1]
        only = int((best & ~worst).sum()), int((worst & ~best).sum())
        n_naive += binomtest(only[0], sum(only)).pvalue < 0.05
    assert n_wrong <= 10 < n_naive
