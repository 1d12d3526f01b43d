from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from bioprobe.calibration.calibrators import (
    KINDS,
    IsotonicScaling,
    TemperatureScaling,
    _choose_simplest,
    find_calibrator,
    fit_judged,
    to_logits,
    to_probabilities,
)
from bioprobe.errors import SelectionError
from tests.calibration.logits import draw_logits

Floats = npt.NDArray[Any]


def measure_log_loss(probabilities: Floats, truth: npt.NDArray[np.int64]) -> float:
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    return float(log_loss(truth, exact, labels=range(probabilities.shape[1])))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_drew_the_classes_is_found(temperature: float) -> None:
    logits, truth = draw_logits(20_000, temperature=temperature)
    found = TemperatureScaling.fit(logits, truth)
    assert found.temperature == pytest.approx(temperature, rel=0.04)


def test_no_temperature_beside_the_fitted_one_has_less_loss() -> None:
    logits, truth = draw_logits(3000, temperature=2.0)
    best = TemperatureScaling.fit(logits, truth).temperature
    losses = [
        measure_log_loss(softmax(logits / (best * factor), axis=1), truth)
        for factor in (1, 0.95, 1.05)
    ]
    assert losses[0] == min(losses)


def test_few_rows_that_are_all_right_do_not_make_certain() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    found = find_calibrator("temperature").fit(logits, np.array([0, 1, 0])).calibrate(logits)
    assert 0.8 < found.max(axis=1).mean() < 0.99


def test_rows_that_came_together_are_no_two_halves() -> None:
    logits, truth = draw_logits(300, temperature=3.0)
    halves = np.arange(300) % 2
    assert fit_judged("temperature", logits, truth, halves)[1] == ""
    assert "too few images" in fit_judged("temperature", logits, truth, 0 * halves)[1]


def test_a_calibration_is_judged_on_images_that_it_was_not_fitted_on() -> None:
    # Of 40 images that are calibrated as they are, curves learn what is chance.
    logits, truth = draw_logits(40)
    kept, why = fit_judged("isotonic", logits, truth, np.arange(40))
    assert "would make the log-loss of images that it was not fitted on" in why
    assert np.allclose(kept.calibrate(logits), to_probabilities(logits), atol=1e-6)


def test_the_simplest_within_a_standard_error_is_chosen() -> None:
    # Of two losses of -.1 and 1 the mean is .45, and its standard error 1.1 / 2.
    assert _choose_simplest(np.array([[-0.1, 1.0], [0.0, 0.0]])) == 0
    assert _choose_simplest(np.array([[0.1, 1.1], [0.0, 0.0]])) == 1


def test_logarithms_of_probabilities_are_logits_too() -> None:
    logits, truth = draw_logits(300)
    shifted = to_logits(to_probabilities(logits))
    for kind in KINDS:
        of_logits = find_calibrator(kind).fit(logits, truth).calibrate(logits)
        of_shifted = find_calibrator(kind).fit(shifted, truth).calibrate(shifted)
        assert np.allclose(of_logits, of_shifted, atol=2e-3)
    assert np.isfinite(to_logits(np.array([[0.0, 1.0]]))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_add_up_to_one_and_arrays_bring_back_the_same(kind: str) -> None:
    logits, truth = draw_logits(200, temperature=2.0)
    fitted = find_calibrator(kind).fit(logits, truth)
    found = fitted.calibrate(logits)
    assert found.dtype == np.float32
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    arrays = fitted.to_arrays()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert np.array_equal(find_calibrator(kind).from_arrays(arrays).calibrate(logits), found)
    assert fitted.calibrate(logits[:0]).shape == (0, 8)
    assert np.allclose(fitted.calibrate(logits[:1]), found[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_no_class_tell_nothing(kind: str) -> None:
    logits, truth = draw_logits(100)
    with_unknown = np.concatenate([logits, logits[:5]]), np.append(truth, [-1] * 5)
    fitted = find_calibrator(kind).fit(*with_unknown)
    assert np.allclose(
        fitted.calibrate(logits),
        find_calibrator(kind).fit(logits, truth).calibrate(logits),
        atol=1e-6,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_known_class_there_is_nothing_to_fit(kind: str) -> None:
    with pytest.raises(SelectionError, match="none of the 2 validation images"):
        find_calibrator(kind).fit(np.zeros((2, 3)), np.array([-1, -1]))
    with pytest.raises(SelectionError, match=r"got \(2, 3\) and \(1,\)"):
        find_calibrator(kind).fit(np.zeros((2, 3)), np.array([0]))
    with pytest.raises(SelectionError, match="classes up to 3"):
        find_calibrator(kind).fit(np.zeros((2, 3)), np.array([0, 3]))


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_and_one_class_are_ordinary(kind: str) -> None:
    one = find_calibrator(kind).fit(np.array([[1.0, 0.0]]), np.array([0]))
    assert np.isfinite(one.calibrate(np.array([[0.3, 0.1]]))).all()
    alone = find_calibrator(kind).fit(np.zeros((3, 1)), np.array([0, 0, 0]))
    assert alone.calibrate(np.zeros((1, 1))).tolist() == [[1.0]]


def test_temperature_never_changes_an_answer() -> None:
    logits, truth = draw_logits(500, temperature=4.0)
    found = find_calibrator("temperature").fit(logits, truth).calibrate(logits)
    assert np.array_equal(found.argmax(axis=1), logits.argmax(axis=1))


def test_vector_scaling_finds_a_bias_that_temperature_cannot() -> None:
    logits, truth = draw_logits(6000, 4)
    biased = logits + np.array([2.0, 0.0, 0.0, -1.0])
    half = slice(0, 3000), slice(3000, 6000)
    losses = {
        kind: measure_log_loss(
            find_calibrator(kind).fit(biased[half[0]], truth[half[0]]).calibrate(biased[half[1]]),
            truth[half[1]],
        )
        for kind in ("temperature", "vector")
    }
    truly = measure_log_loss(softmax(logits[half[1]], axis=1), truth[half[1]])
    assert losses["vector"] < truly + 0.01 < losses["temperature"] - 0.1


def test_vector_scaling_of_few_rows_stays_near_the_temperature() -> None:
    logits, truth = draw_logits(60, 30, temperature=2.0)
    others, judged = draw_logits(3000, 30, temperature=2.0, seed=1)
    losses = {
        kind: measure_log_loss(find_calibrator(kind).fit(logits, truth).calibrate(others), judged)
        for kind in KINDS
    }
    assert losses["vector"] < losses["temperature"] + 0.1 < losses["isotonic"]


def test_isotonic_curves_are_scikit_learns() -> None:
    random = np.random.default_rng(2)
    own = random.uniform(0.01, 0.99, 400)
    truth = (random.random(400) > own**2).astype(np.int64)
    probabilities = np.stack([own, 1 - own], axis=1)
    fitted = IsotonicScaling.fit(to_logits(probabilities), truth)
    curves = [
        IsotonicRegression(y_min=1 / 802, y_max=1, out_of_bounds="clip")
        .fit(probabilities[:, c], truth == c)
        .predict(probabilities[:, c])
        for c in (0, 1)
    ]
    expected = curves[0] / (curves[0] + curves[1])
    found = fitted.calibrate(to_logits(probabilities))[:, 0]
    assert np.allclose(found, expected, atol=2e-3)
    # What was never seen is rare, and not impossible.
    assert found.min() == pytest.approx(expected.min(), rel=1e-2)
    assert expected.min() < 2 / 802
    # The chance of class 0 is its square: the curve lies below the diagonal.
    assert np.abs(expected - own**2).mean() < 0.1


def test_a_class_that_no_validation_row_has_keeps_its_probability() -> None:
    logits = to_logits(np.array([[0.2, 0.3, 0.5]] * 4))
    fitted = IsotonicScaling.fit(logits, np.array([0, 0, 1, 1]))
    # Half of the rows each for the first two, .5 kept for the third.
    assert fitted.calibrate(logits)[0] == pytest.approx([1 / 3] * 3, abs=1e-6)


def test_a_kind_that_is_not_there_is_refused() -> None:
    empty: dict[str, Any] = {}
    with pytest.raises(SelectionError, match="got 'platt'"):
        find_calibrator("platt").fit(np.zeros((1, 2)), np.array([0]))
    with pytest.raises(SelectionError, match="got 'platt'"):
        find_calibrator("platt").from_arrays(empty)
