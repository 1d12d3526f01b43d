from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as reference

from bioprobe.evaluation.measured import measure
from bioprobe.evaluation.method_scores import draw_method_scores
from bioprobe.evaluation.metrics import (
    FLAT_METRICS,
    N_BINS,
    find_places,
    measure_flat,
    score_flat,
    score_rows,
)
from bioprobe.evaluation.weighted_rows import Ranks
from bioprobe.intervals import Resamples
from bioprobe.task import scores

Floats = npt.NDArray[np.float64]


def _draw(n_images: int, n_classes: int, seed: int) -> tuple[npt.NDArray[np.int64], Floats]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, n_classes, n_images)
    logits = random.normal(size=(n_images, n_classes))
    logits[np.arange(n_images), truth] += 1
    # Rounded, so that there are ties.
    probabilities = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 2)
    return truth, probabilities / probabilities.sum(axis=1, keepdims=True)


def _score(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> dict[str, float]:
    scores = score_flat(np.array(truth, dtype=np.int64), np.array(probabilities, dtype=np.float64))
    assert all(values.shape == (1,) for values in scores.values())
    return {name: float(values[0]) for name, values in scores.items()}


def _refer(
    truth: npt.NDArray[np.int64], probabilities: Floats, weights: Floats
) -> dict[str, float]:
    """Return what scikit-learn says of the classes that have rows."""
    n_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth[weights > 0])
    macro = {"labels": present, "sample_weight": weights, "zero_division": 0}
    aurocs = [
        reference.roc_auc_score(truth == c, probabilities[:, c], sample_weight=weights)
        for c in present
    ]
    clipped = np.clip(probabilities[np.arange(len(truth)), truth], np.finfo(np.float32).eps, 1)
    # scikit-learn lets the last of equal scores win, hence the reversed classes.
    top5 = 1.0
    if n_classes > 5:
        top5 = reference.top_k_accuracy_score(
            n_classes - 1 - truth, probabilities[:, ::-1], k=5, sample_weight=weights,
            labels=np.arange(n_classes),
        )  # fmt: skip
    return {
        "accuracy": reference.accuracy_score(truth, predicted, sample_weight=weights),
        "top5": top5,
        "balanced_accuracy": reference.recall_score(truth, predicted, average="macro", **macro),
        "macro_f1": reference.f1_score(truth, predicted, average="macro", **macro),
        "weighted_f1": reference.f1_score(truth, predicted, average="weighted", **macro),
        "macro_precision": reference.precision_score(truth, predicted, average="macro", **macro),
        "macro_recall": reference.recall_score(truth, predicted, average="macro", **macro),
        "auroc": float(np.mean(aurocs)),
        "log_loss": float(np.average(-np.log(clipped), weights=weights)),
    }


@pytest.mark.parametrize("n_classes", [2, 4, 5, 6, 30])
@pytest.mark.parametrize("n_images", [40, 300])
def test_the_figures_are_those_of_scikit_learn(n_images: int, n_classes: int) -> None:
    truth, probabilities = _draw(n_images, n_classes, seed=n_classes)
    # Positive probabilities, as a class of probability 0 is answered by scikit-learn.
    probabilities = probabilities * 0.99 + 0.01 / n_classes
    expected = _refer(truth, probabilities, np.ones(n_images))
    found = _score(truth, probabilities)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_each_weighting_is_scored_as_scikit_learn_does_with_sample_weights() -> None:
    truth, probabilities = _draw(200, 12, seed=7)
    probabilities = probabilities * 0.99 + 0.01 / 12
    weights = np.random.default_rng(0).multinomial(200, np.full(200, 1 / 200), size=5).astype(float)
    weights[0, truth == 3] = 0
    found = score_flat(truth, probabilities, weights)
    for row in range(5):
        expected = _refer(truth, probabilities, weights[row])
        assert {name: float(found[name][row]) for name in expected} == pytest.approx(
            expected, abs=1e-6
        )


def test_smooth_weights_tell_by_how_much_macro_figures_are_off() -> None:
    truth, given = _draw(12, 4, seed=5)
    probabilities = given.astype(np.float32)
    resamples = Resamples.of_groups(np.full(12, ""), 30, 3)
    found = draw_method_scores(measure(truth, probabilities), resamples)
    (weights,) = resamples.iter_weights(smooth=True)
    expected = [_refer(truth, given, row) for row in weights]
    for name in ("macro_f1", "macro_precision"):
        mean = np.mean([one[name] for one in expected])
        assert found[name].shift == pytest.approx(mean - found[name].estimate, abs=1e-6)
        assert abs(found[name].shift) > 0.01
    assert found["accuracy"].shift == 0


def test_weights_say_how_often_a_row_counts() -> None:
    truth, probabilities = _draw(60, 8, seed=3)
    weights = np.random.default_rng(1).integers(0, 4, 60)
    once = score_flat(truth, probabilities, weights[np.newaxis].astype(float))
    repeated = score_flat(np.repeat(truth, weights), np.repeat(probabilities, weights, axis=0))
    for name in FLAT_METRICS:
        np.testing.assert_allclose(once[name], repeated[name], atol=1e-9)


def test_the_answer_by_hand() -> None:
    # Right, wrong for class 0, right; class 2 has no row but is predicted once.
    scores = _score([0, 0, 1], [[0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.3, 0.5, 0.2]])
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["top5"] == 1
    assert scores["balanced_accuracy"] == scores["macro_recall"] == pytest.approx((1 / 2 + 1) / 2)
    assert scores["macro_precision"] == 1
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["weighted_f1"] == pytest.approx((2 * 2 / 3 + 1) / 3)
    # Class 0: .6 > .3, .1 < .3: one half. Class 1: .5 beats .3 and .2: one.
    assert scores["auroc"] == pytest.approx(0.75)
    assert scores["log_loss"] == pytest.approx(-np.log([0.6, 0.1, 0.5]).mean())
    # Each confidence is alone in its bin: gaps .4, .7 and .5.
    assert scores["ece"] == pytest.approx((0.4 + 0.7 + 0.5) / 3)


def test_rows_of_one_bin_make_up_for_each_other() -> None:
    # Confidence .75 twice, half of them right; a confidence of 1 is in the last bin.
    scores = _score([0, 1, 1], [[0.75, 0.25], [0.75, 0.25], [0.0, 1.0]])
    assert scores["ece"] == pytest.approx((2 * 0.25 + 0) / 3)


def test_a_row_of_an_unknown_class_is_wrong_in_every_figure() -> None:
    known = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    scores, without = _score([0, 1, -1], known), _score([0, 1], known[:2])
    assert without["accuracy"] == without["top5"] == without["weighted_f1"] == 1
    assert scores["accuracy"] == scores["top5"] == pytest.approx(2 / 3)
    # It was taken for class 0, whose precision is one half, and its own F1 is 0.
    assert scores["weighted_f1"] == pytest.approx((2 / 3 + 1) / 3)
    assert scores["macro_precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert scores["log_loss"] > 15.9 / 3
    # It is no macro class, but a negative of the others.
    assert scores["balanced_accuracy"] == 1


def test_a_class_that_the_method_does_not_know_counts_against_it() -> None:
    scores = _score([0, 1, 2], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.5, 0.5, 0.0]])
    assert (
        scores["accuracy"] == scores["top5"] == scores["balanced_accuracy"] == pytest.approx(2 / 3)
    )
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    # Class 0: .9 beats both; class 1 likewise; class 2 has nothing but ties.
    assert scores["auroc"] == pytest.approx((1 + 1 + 0.5) / 3)


def test_an_answer_of_probability_0_is_never_right() -> None:
    assert find_places(np.array([1, 0, 2]), np.array([[1.0, 0, 0]] * 3)).tolist() == [3, 0, 3]


def test_of_equal_probabilities_the_first_class_comes_first() -> None:
    probabilities = np.array([[0.25, 0.5, 0.25]] * 3)
    assert find_places(np.array([0, 1, 2]), probabilities).tolist() == [1, 0, 2]


@pytest.mark.parametrize(("n_classes", "top5"), [(4, 1), (5, 1), (6, 0)])
def test_top_5_counts_five_answers(n_classes: int, top5: float) -> None:
    probabilities = np.arange(n_classes, 0, -1, dtype=float)[np.newaxis]
    scores = _score([n_classes - 1], probabilities / probabilities.sum())
    assert scores["top5"] == top5


def test_scores_are_ranked_once_for_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, probabilities = _draw(80, 6, 0)
    weights = np.random.default_rng(0).integers(0, 4, (12, 80)).astype(np.float32)
    expected = score_flat(truth, probabilities, weights, metrics=["auroc"])["auroc"]
    n_found, find = [0], Ranks.find

    def count(scores: Floats, is_own: npt.NDArray[np.bool_]) -> Ranks:
        n_found[0] += 1
        return find(scores, is_own)

    monkeypatch.setattr(Ranks, "find", count)
    known = measure_flat(truth, probabilities)
    parts = [score_rows(known, weights[at : at + 3], ["auroc"]) for at in range(0, 12, 3)]
    np.testing.assert_array_equal(np.concatenate([one["auroc"] for one in parts]), expected)
    assert n_found[0] == 6


def test_one_class_has_no_auroc() -> None:
    scores = _score([0, 0], [[1.0], [1.0]])
    assert scores["accuracy"] == scores["macro_f1"] == 1
    assert scores["log_loss"] == scores["ece"] == 0
    assert np.isnan(scores["auroc"])


def test_no_image_has_no_figure() -> None:
    assert all(np.isnan(value) for value in _score([], np.zeros((0, 3))).values())


def test_only_what_is_asked_is_measured() -> None:
    truth, probabilities = _draw(20, 3, seed=1)
    assert list(score_flat(truth, probabilities, metrics=["ece", "accuracy"])) == [
        "ece",
        "accuracy",
    ]


def test_the_calibration_error_is_the_mean_gap_over_bins_of_equal_width() -> None:
    truth, probabilities = _draw(300, 6, seed=5)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.ceil(sure * N_BINS)
    gaps = [abs((sure - right)[bins == one].sum()) for one in np.unique(bins)]
    assert _score(truth, probabilities)["ece"] == pytest.approx(sum(gaps) / len(truth))


def test_the_places_of_many_classes_are_found_some_rows_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    probabilities = random.integers(5, size=(2000, 200)).astype(np.float32)
    truth = random.integers(-1, 200, size=2000)
    whole = find_places(truth, probabilities)
    monkeypatch.setattr(scores, "_SCORES_AT_ONCE", 10_000)
    tracemalloc.start()
    parts = find_places(truth, probabilities)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(parts, whole)
    # What is compared with all of these has a byte for each of 400,000, three times.
    assert peak_bytes < 0.2e6


def test_rows_that_were_measured_before_have_the_same_figures() -> None:
    random = np.random.default_rng(1)
    probabilities, truth = random.dirichlet(np.ones(4), size=30), random.integers(4, size=30)
    weights = random.integers(3, size=(2, 30)).astype(np.float32)
    known = measure_flat(truth, probabilities)
    for name, values in score_flat(truth, probabilities, weights).items():
        np.testing.assert_array_equal(score_rows(known, weights, [name])[name], values)
