"""LDA and ridge give what scikit-learn gives, for a whole path at the price of one fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import log_loss

from bioprobe.errors import ProbeError
from bioprobe.learning.fit import LEAST_LIKELY_LOSS
from bioprobe.probes.closed_form import LdaProbe, RidgeProbe, Sums, invert
from bioprobe.task.probabilities import fit_scale

Vectors = npt.NDArray[np.float32]
Names = npt.NDArray[np.str_]

KINDS = [LdaProbe, RidgeProbe]


def _draw(n: int, dim: int, n_classes: int, seed: int = 0) -> tuple[Vectors, Names]:
    random = np.random.default_rng(seed)
    means = random.normal(size=(n_classes, dim))
    labels = np.concatenate([np.arange(n_classes), random.integers(0, n_classes, n - n_classes)])
    vectors = means[labels] + 1.5 * random.normal(size=(n, dim)) + 3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.array([f"class {label:02d}" for label in labels])


@pytest.mark.parametrize("shrinkage", [0.001, 0.1, 0.7, 1.0])
@pytest.mark.parametrize(("n", "n_classes"), [(600, 7), (40, 5), (60, 2)])
def test_lda_has_the_probabilities_of_scikit_learn(
    shrinkage: float, n: int, n_classes: int
) -> None:
    vectors, y = _draw(n, 48, n_classes)
    asked, _ = _draw(200, 48, n_classes, seed=1)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    reference.fit(vectors.astype(np.float64), y)
    probe = LdaProbe(shrinkage).fit(vectors, y)
    assert probe.classes_.tolist() == reference.classes_.tolist()
    assert probe.predict(asked).tolist() == reference.predict(asked).tolist()
    np.testing.assert_allclose(
        probe.predict_proba(asked), reference.predict_proba(asked), atol=2e-3
    )


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize(("n", "n_classes"), [(600, 7), (40, 5), (60, 2)])
def test_ridge_has_the_scores_of_scikit_learn_times_one_factor(
    alpha: float, n: int, n_classes: int
) -> None:
    vectors, y = _draw(n, 48, n_classes)
    asked, _ = _draw(200, 48, n_classes, seed=1)
    reference = RidgeClassifier(alpha=alpha, class_weight="balanced").fit(
        vectors.astype(np.float64), y
    )
    probe = RidgeProbe(alpha).fit(vectors, y)
    assert probe.predict(asked).tolist() == reference.predict(asked).tolist()
    scores = reference.decision_function(asked)
    if n_classes == 2:  # scikit-learn has one column then
        scores = np.column_stack([-scores, scores])
    np.testing.assert_allclose(probe.logits(asked) / probe.scale_, scores, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("shrinkage", [1e-4, 0.1, 1.0])
def test_fewer_rows_than_dimensions_are_answered_as_the_same_rows_repeated(
    shrinkage: float,
) -> None:
    """Repeated, they are more rows than dimensions, of the same covariance and shares."""
    vectors, y = _draw(60, 160, 6)
    asked, _ = _draw(50, 160, 6, seed=1)
    few, many = (
        LdaProbe(shrinkage).fit(vectors.repeat(n, axis=0), y.repeat(n)).logits(asked)
        for n in (1, 3)
    )
    few, many = few - few.max(axis=1)[:, None], many - many.max(axis=1)[:, None]
    np.testing.assert_allclose(few, many, rtol=1e-5, atol=1e-6 * np.abs(many).max())
    one, three = (RidgeProbe(0.1 * n).fit(vectors.repeat(n, axis=0), y.repeat(n)) for n in (1, 3))
    np.testing.assert_allclose(
        one.logits(asked) / one.scale_, three.logits(asked) / three.scale_, atol=1e-5
    )
    folds = np.arange(60) % 3
    values = np.array([1.0, shrinkage])
    sweeps = [
        LdaProbe.sweep(vectors.repeat(n, axis=0), y.repeat(n), values, folds.repeat(n))
        for n in (1, 3)
    ]
    np.testing.assert_allclose(sweeps[0].log_losses, sweeps[1].log_losses, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(sweeps[0].accuracies, sweeps[1].accuracies)


def test_the_factor_of_ridge_is_fitted_on_scores_of_rows_left_out() -> None:
    vectors, y = _draw(60, 8, 3)
    truth = np.unique(y, return_inverse=True)[1]
    left_out = np.vstack(
        [
            RidgeClassifier(alpha=0.5, class_weight="balanced")
            .fit(np.delete(vectors, row, axis=0).astype(np.float64), np.delete(y, row))
            .decision_function(vectors[row : row + 1])
            for row in range(len(vectors))
        ]
    )
    scale = RidgeProbe(0.5).fit(vectors, y).scale_

    def measure(factor: float) -> float:
        logits = factor * left_out
        own = logits[np.arange(len(truth)), truth]
        return float((np.log(np.exp(logits).sum(axis=1)) - own).mean())

    # The likelihood is flat at its best; the labels' small doubt moves it a little.
    assert measure(scale) < measure(scale * 1.2)
    assert measure(scale) < measure(scale / 1.2)


def test_a_row_of_a_small_class_has_the_leverage_of_its_weight() -> None:
    vectors, y = _draw(60, 8, 3)
    y = np.where((y == "class 02") & (np.arange(60) > 20), "class 00", y)
    truth = np.unique(y, return_inverse=True)[1]
    weights = 60 / (3 * np.bincount(truth)[truth])
    assert weights.max() > 2 * weights.min()
    # About the weighted mean, and with the intercepts of all rows.
    rows = vectors - np.average(vectors.astype(np.float64), axis=0, weights=weights)
    targets = 2.0 * np.eye(3)[truth] - 1
    offset = np.average(targets, axis=0, weights=weights)
    scores = np.empty((60, 3))
    for row in range(60):
        rest = np.arange(60) != row
        weighed = rows[rest].T * weights[rest]
        gram = weighed @ rows[rest] + 0.5 * np.eye(8)
        scores[row] = rows[row] @ np.linalg.solve(gram, weighed @ (targets - offset)[rest])
    expected = fit_scale((scores + offset).astype(np.float32), truth)
    assert RidgeProbe(0.5).fit(vectors, y).scale_ == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_measures_what_single_fits_on_each_fold_do(
    kind: type[LdaProbe | RidgeProbe],
) -> None:
    vectors, y = _draw(300, 24, 5)
    # One row of each class always trains, so that each fold knows every class.
    folds = np.concatenate([np.full(5, -1), np.random.default_rng(0).integers(0, 3, 295)])
    values = np.array([1.0, 0.1, 0.01])
    sweep = kind.sweep(vectors, y, values, folds)
    assert sweep.accuracies.shape == sweep.log_losses.shape == (3, 3)
    for row, value in enumerate(values):
        for fold in range(3):
            out = folds == fold
            probe = kind(value).fit(vectors[~out], y[~out])
            probabilities = probe.predict_proba(vectors[out]).astype(np.float64)
            probabilities /= probabilities.sum(axis=1, keepdims=True)
            assert sweep.accuracies[row, fold] == pytest.approx(
                (probe.predict(vectors[out]) == y[out]).mean()
            )
            expected = log_loss(y[out], probabilities, labels=probe.classes_)
            assert sweep.log_losses[row, fold] == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_held_out_class_without_a_training_row_is_wrong_at_a_finite_loss(
    kind: type[LdaProbe | RidgeProbe],
) -> None:
    vectors, y = _draw(60, 8, 3)
    y[0] = "seen once"
    folds = np.full(60, -1)
    folds[[0, 10, 11]] = 0
    sweep = kind.sweep(vectors, y, np.array([0.5]), folds)
    assert sweep.accuracies[0, 0] <= 2 / 3
    assert np.isfinite(sweep.log_losses).all()


def test_no_probability_has_the_loss_of_the_least_float32_beside_one() -> None:
    vectors, y = _draw(60, 8, 3)
    y[0] = "seen once"
    # Of this class no row is left to learn from.
    sweep = LdaProbe.sweep(vectors, y, np.array([0.5]), np.where(np.arange(60) == 0, 0, -1))
    assert sweep.log_losses[0, 0] == pytest.approx(LEAST_LIKELY_LOSS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learnt_survives_as_arrays(kind: type[LdaProbe | RidgeProbe]) -> None:
    vectors, y = _draw(60, 8, 3)
    probe = kind().fit(vectors, y)
    again = kind().set_arrays(probe.to_arrays(), probe.classes_)
    assert np.array_equal(again.predict_proba(vectors), probe.predict_proba(vectors))


@pytest.mark.parametrize("kind", KINDS)
def test_values_outside_the_range_and_single_classes_are_refused(
    kind: type[LdaProbe | RidgeProbe],
) -> None:
    vectors, y = _draw(20, 4, 2)
    with pytest.raises(ProbeError, match="-1"):
        kind(-1).fit(vectors, y)
    with pytest.raises(ProbeError, match="two are needed, got 1"):
        kind().fit(vectors, np.full(20, "one"))
    with pytest.raises(ProbeError, match="held out"):
        kind.sweep(vectors, y, np.array([0.1]), np.full(20, -1))


@pytest.mark.parametrize("kind", KINDS)
def test_more_dimensions_than_rows_and_no_regularisation_stay_finite(
    kind: type[LdaProbe | RidgeProbe],
) -> None:
    vectors, y = _draw(6, 40, 3)
    probe = kind(0.0).fit(vectors, y)
    assert np.isfinite(probe.logits(vectors)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sizes", [[1] * 30, [2] * 30, [3] * 15 + [1] * 15, [30] * 5 + [1] * 25, [1, 2] * 15]
)
def test_small_classes_are_not_lost_to_larger_ones(
    kind: type[LdaProbe | RidgeProbe], sizes: list[int]
) -> None:
    random = np.random.default_rng(0)
    means = random.normal(size=(30, 64))
    means /= np.linalg.norm(means, axis=1, keepdims=True)

    def draw(labels: npt.NDArray[np.int64]) -> Vectors:
        vectors = means[labels] + 0.05 * random.normal(size=(len(labels), 64))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors, dtype=np.float32)

    labels, asked = np.repeat(np.arange(30), sizes), np.repeat(np.arange(30), 4)
    vectors = draw(labels)
    for value in (*kind.values[::5], 1.0):
        probe = kind(value).fit(vectors, labels)
        answers = draw(asked)
        assert (probe.predict(answers) == asked).mean() > 0.97, value
        own = probe.predict_proba(answers)[np.arange(len(asked)), asked]
        assert -np.log(np.maximum(own, 1e-9)).mean() < np.log(30), value


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n_each", [1, 2])
def test_without_scatter_within_classes_lda_is_the_nearest_mean(
    shrinkage: float, n_each: int
) -> None:
    vectors, _ = _draw(20, 16, 20)
    labels = np.arange(20).repeat(n_each)
    probe = LdaProbe(shrinkage).fit(vectors.repeat(n_each, axis=0), labels)
    asked, _ = _draw(50, 16, 20, seed=3)
    distances = np.linalg.norm(asked[:, np.newaxis] - vectors, axis=2)
    assert probe.predict(asked).tolist() == distances.argmin(axis=1).tolist()


def test_identical_rows_of_several_classes_are_answered_evenly() -> None:
    same = np.tile(np.array([0.6, 0.8], dtype=np.float32), (6, 1))
    labels = np.array([0, 0, 1, 1, 2, 2])
    for kind in KINDS:
        found = kind().fit(same, labels).predict_proba(same)
        np.testing.assert_allclose(found, 1 / 3, atol=1e-6)


def test_sums_of_weighted_rows_are_those_of_repeated_ones() -> None:
    vectors, y = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0, 1, 0])
    weighted = Sums.of(vectors, y, 2, np.array([2.0, 1, 3]))
    repeated = Sums.of(vectors.repeat([2, 1, 3], axis=0), y.repeat([2, 1, 3]), 2)
    for name in ("counts", "totals", "gram", "scatter_within"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name))


def test_sums_of_a_part_come_off_the_total() -> None:
    vectors, y = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0, 1, 0])
    rest = Sums.of(vectors, y, 2) - Sums.of(vectors[:1], y[:1], 2)
    assert rest.counts.tolist() == [1, 1]
    assert rest.totals.tolist() == [[5, 6], [3, 4]]
    assert rest.gram.tolist() == [[34, 42], [42, 52]]
    assert rest.scatter.tolist() == [[2, 2], [2, 2]]
    assert not rest.scatter_within.any()


def test_directions_without_extent_are_left_out() -> None:
    assert invert(np.array([4.0, 1e-20, 0.0])).tolist() == [0.25, 0, 0]
