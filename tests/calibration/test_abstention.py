from __future__ import annotations

import numpy as np
import pytest

from bioprobe.task.decisions import measure_risk_coverage


def test_risk_at_each_coverage_by_hand() -> None:
    right = np.array([True, False, True, True])
    curve = measure_risk_coverage(right, np.array([0.9, 0.6, 0.8, 0.3]))
    assert curve.confidences.tolist() == [0.9, 0.8, 0.6, 0.3]
    assert curve.coverages.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.risks == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert curve.to_frame().shape == (4, 3)


def test_answers_of_equal_confidence_are_given_together() -> None:
    curve = measure_risk_coverage(np.array([True, False, True]), np.array([0.5, 0.5, 0.5]))
    assert curve.coverages.tolist() == [1.0]
    assert curve.risks == pytest.approx([1 / 3])


def test_no_images_have_no_curve() -> None:
    assert measure_risk_coverage(np.zeros(0, dtype=bool), np.zeros(0)).to_frame().empty
