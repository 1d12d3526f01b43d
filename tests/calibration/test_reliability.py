from __future__ import annotations

import numpy as np
import pytest

from bioprobe.calibration.calibrators import measure_reliability
from bioprobe.intervals import Accuracy


def test_confidence_and_accuracy_of_each_bin_by_hand() -> None:
    confidences = np.array([0.1, 0.2, 0.6, 0.8, 0.9, 1.0])
    right = np.array([False, True, True, True, False, True])
    found = measure_reliability(right, confidences, n_bins=2)
    assert found.n_images.tolist() == [3, 3]
    assert found.n_right.tolist() == [2, 2]
    assert found.confidences == pytest.approx([0.3, 0.9])


def test_bins_hold_as_many_answers() -> None:
    confidences = np.random.default_rng(0).beta(5, 1, 1000)
    found = measure_reliability(np.ones(1000, dtype=bool), confidences, n_bins=10)
    assert found.n_images.tolist() == [100] * 10


def test_equal_confidences_are_in_one_bin() -> None:
    right = np.array([True, True, True, False] * 5)
    found = measure_reliability(right, np.full(20, 0.75), n_bins=4)
    assert sorted(found.n_images.tolist()) == [0, 0, 0, 20]


def test_no_answers_have_no_confidence() -> None:
    found = measure_reliability(np.zeros(0, dtype=bool), np.zeros(0))
    assert np.isnan(found.confidences).all()
    assert len(found.to_frame()) == 15


def test_the_table_has_wilsons_interval() -> None:
    right = np.array([True] * 8 + [False] * 2)
    row = measure_reliability(right, np.full(10, 0.7), n_bins=1).to_frame().iloc[0]
    assert (row["n_images"], row["confidence"], row["accuracy"]) == (10, pytest.approx(0.7), 0.8)
    assert (row["low"], row["high"]) == Accuracy(1, 8, 10).interval
