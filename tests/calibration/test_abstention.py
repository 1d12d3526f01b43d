from __future__ import annotations

import math

import numpy as np
import pytest

from bioprobe.calibration import choose_confidence, measure_risk_coverage
from bioprobe.errors import SelectionError


def test_risk_at_each_coverage_by_hand() -> None:
    right = np.array([True, False, True, True])
    curve = measure_risk_coverage(right, np.array([0.9, 0.6, 0.8, 0.3]))
    assert curve.confidences.tolist() == [0.9, 0.8, 0.6, 0.3]
    assert curve.coverages.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.risks == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert curve.aurc == pytest.approx((1 / 3 + 1 / 4) / 4)
    assert curve.least_aurc == pytest.approx(1 / 16)
    assert curve.excess_aurc == pytest.approx(1 / 12)
    assert curve.to_frame().shape == (4, 3)


def test_equal_confidences_count_as_the_mean_of_their_orders() -> None:
    right = np.array([True, False, True])
    curve = measure_risk_coverage(right, np.array([0.5, 0.5, 0.5]))
    assert curve.risks == pytest.approx([1 / 3])
    assert curve.aurc == pytest.approx(1 / 3)
    random = np.random.default_rng(0)
    right = random.random(40) < 0.7
    tied = random.integers(0, 4, 40) / 4
    orders = [
        measure_risk_coverage(right, tied + random.uniform(0, 0.01, 40)).aurc for _ in range(3000)
    ]
    assert measure_risk_coverage(right, tied).aurc == pytest.approx(np.mean(orders), abs=0.002)


def test_a_perfect_order_has_no_excess_and_no_images_no_curve() -> None:
    right = np.array([True] * 7 + [False] * 3)
    assert measure_risk_coverage(right, np.arange(10, 0, -1)).excess_aurc == pytest.approx(0)
    empty = measure_risk_coverage(np.zeros(0, dtype=bool), np.zeros(0))
    assert math.isnan(empty.aurc)
    assert len(empty.risks) == 0


def test_the_lowest_confidence_that_is_right_often_enough_is_chosen() -> None:
    right = np.array([True, True, False, True, True, False])
    confidences = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    chosen = choose_confidence(right, confidences, 0.8)
    assert chosen.confidence == 0.5
    assert (chosen.accuracy.n_correct, chosen.accuracy.n_images) == (4, 5)
    assert chosen.coverage_fraction == pytest.approx(5 / 6)
    assert chosen.accept(np.array([0.5, 0.49])).tolist() == [True, False]
    assert choose_confidence(right, confidences, 1.0).confidence == 0.8
    assert choose_confidence(right, confidences, 0.5).confidence == 0.4


@pytest.mark.parametrize("n", [0, 1, 3])
def test_where_none_is_right_often_enough_no_answer_is_given(n: int) -> None:
    chosen = choose_confidence(np.zeros(n, dtype=bool), np.linspace(0.1, 1, n), 0.9)
    assert chosen.confidence == math.inf
    assert not chosen.accept(np.array([1.0])).any()
    assert chosen.accuracy.n_images == 0


def test_equal_confidences_are_accepted_together() -> None:
    right = np.array([True, True, False])
    assert choose_confidence(right, np.array([0.9, 0.5, 0.5]), 1.0).confidence == 0.9


def test_doubt_keeps_the_promise_on_new_images() -> None:
    # An answer is right as often as its confidence says; 90% is right from about .8 up.
    missed, missed_without = 0, 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        confidences = random.uniform(0, 1, 500)
        right = random.random(500) < confidences
        bounded = choose_confidence(right, confidences, 0.9, doubt_fraction=0.1)
        plain = choose_confidence(right, confidences, 0.9)
        # The mean of those above is the accuracy of new images.
        missed += (1 + bounded.confidence) / 2 < 0.9
        missed_without += (1 + plain.confidence) / 2 < 0.9
    assert missed <= 20 < missed_without


@pytest.mark.parametrize(("accuracy", "doubt"), [(0, None), (1.1, None), (0.9, 0), (0.9, 1)])
def test_fractions_out_of_range_are_refused(accuracy: float, doubt: float | None) -> None:
    with pytest.raises(SelectionError, match=r"accuracy lies in \(0, 1\]"):
        choose_confidence(np.array([True]), np.array([1.0]), accuracy, doubt_fraction=doubt)
