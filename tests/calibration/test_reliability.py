from __future__ import annotations

import numpy as np
import pytest

from bioprobe.calibration.reliability import measure_reliability
from bioprobe.errors import SelectionError
from bioprobe.intervals import Accuracy


def test_ece_is_the_mean_gap_by_hand() -> None:
    confidences = np.array([0.1, 0.2, 0.6, 0.8, 0.9, 1.0])
    right = np.array([False, True, True, True, False, True])
    found = measure_reliability(right, confidences, n_bins=2)
    assert found.n_images.tolist() == [2, 4]
    assert found.confidences == pytest.approx([0.15, 0.825])
    # (2 · |.15 − .5| + 4 · |.825 − .75|) / 6
    assert found.ece == pytest.approx(1 / 6)


def test_a_bin_holds_its_upper_edge() -> None:
    found = measure_reliability(np.ones(4, dtype=bool), np.array([0.0, 0.5, 0.51, 1.0]), n_bins=2)
    assert found.n_images.tolist() == [2, 2]


def test_bins_of_equal_mass_hold_as_many_answers() -> None:
    confidences = np.random.default_rng(0).beta(5, 1, 1000)
    right = np.ones(1000, dtype=bool)
    mass = measure_reliability(right, confidences, n_bins=10, binning="equal-mass")
    assert mass.n_images.tolist() == [100] * 10
    width = measure_reliability(right, confidences, n_bins=10)
    assert width.n_images[0] < 5
    # Where all lie on one side, the bins do not matter.
    assert mass.ece == pytest.approx(width.ece)


@pytest.mark.parametrize("binning", ["equal-width", "equal-mass"])
def test_equal_confidences_are_in_one_bin(binning: str) -> None:
    right = np.array([True, True, True, False] * 5)
    found = measure_reliability(right, np.full(20, 0.75), n_bins=4, binning=binning)
    assert sorted(found.n_images.tolist()) == [0, 0, 0, 20]
    assert found.ece == 0


def test_no_answers_have_no_error() -> None:
    found = measure_reliability(np.zeros(0, dtype=bool), np.zeros(0))
    assert np.isnan(found.ece)
    assert len(found.to_frame()) == 15


def test_the_table_has_wilsons_interval() -> None:
    right = np.array([True] * 8 + [False] * 2)
    row = measure_reliability(right, np.full(10, 0.7), n_bins=1).to_frame().iloc[0]
    assert (row["n_images"], row["confidence"], row["accuracy"]) == (10, pytest.approx(0.7), 0.8)
    assert (row["low"], row["high"]) == Accuracy(1, 8, 10).interval


def test_bins_that_are_none_are_refused() -> None:
    for n_bins, binning in ((0, "equal-width"), (5, "equal")):
        with pytest.raises(SelectionError, match="bins are equal-width or equal-mass"):
            measure_reliability(np.array([True]), np.array([1.0]), n_bins=n_bins, binning=binning)
