"""The linear probe beside scikit-learn's logistic regression, which states the same objective."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import ProbeError
from bioprobe.probes import path
from bioprobe.probes.linear import (
    BALANCES,
    Balance,
    LinearProbe,
    Rows,
    make_rows,
)
from bioprobe.probes.objective import Objective

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[Any]


def draw(n_images: int, dim: int, n_classes: int, noise: float = 2.0) -> tuple[Vectors, Labels]:
    """Draw overlapping classes of falling size, each with at least one row."""
    rng = np.random.default_rng(n_images + dim)
    centres = rng.normal(size=(n_classes, dim))
    shares = 1 / np.arange(1, n_classes + 1)
    y = rng.choice(n_classes, n_images, p=shares / shares.sum())
    y[:n_classes] = np.arange(n_classes)
    x = centres[y] + noise * rng.normal(size=(n_images, dim))
    return normalise_rows(x.astype(np.float32)), np.array([f"class {i:02}" for i in y])


def lbfgs(c: float, class_weight: str | None = None) -> LogisticRegression:
    return LogisticRegression(C=c, tol=1e-6, max_iter=10_000, class_weight=class_weight)


def measure_objective(
    model: LinearProbe | LogisticRegression, x: Vectors, y: Labels, c: float
) -> float:
    """Return scikit-learn's objective of coefficients that scikit-learn would predict with."""
    logits = x.astype(np.float64) @ model.coef_.T.astype(np.float64) + model.intercept_
    own = np.searchsorted(model.classes_, y)
    losses = -log_softmax(logits, axis=1)[np.arange(len(y)), own]
    return float(c * losses.sum() + (model.coef_.astype(np.float64) ** 2).sum() / 2)


@pytest.mark.parametrize("c", [1e-3, 1.0, 100.0, 1e4])
@pytest.mark.parametrize(("n_images", "dim", "n_classes"), [(300, 20, 6), (40, 60, 4)])
def test_the_objective_is_no_worse_than_that_of_scikit_learn(
    n_images: int, dim: int, n_classes: int, c: float
) -> None:
    x, y = draw(n_images, dim, n_classes)
    probe, reference = LinearProbe(c).fit(x, y), lbfgs(c).fit(x.astype(np.float64), y)
    theirs = measure_objective(reference, x, y, c)
    assert measure_objective(probe, x, y, c) <= theirs * (1 + 1e-8)
    assert (probe.predict(x) == reference.predict(x)).mean() > 0.999
    if c <= 100:
        np.testing.assert_allclose(probe.predict_proba(x), reference.predict_proba(x), atol=1e-3)


@pytest.mark.parametrize("c", [1.0, 100.0])
def test_rows_too_many_for_double_precision_end_at_the_same_optimum(
    c: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = draw(2000, 24, 8)
    exact = measure_objective(LinearProbe(c).fit(x, y), x, y, c)
    asked, evaluate = [0], Objective.evaluate

    def count(*given: object, **named: object) -> object:
        asked[0] += 1
        return evaluate(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(path, "_MOST_DOUBLES", 0)
    monkeypatch.setattr(Objective, "evaluate", count)
    found = LinearProbe(c).fit(x, y)
    assert measure_objective(found, x, y, c) <= exact * (1 + 2e-6)
    # Of a million rows each takes seconds: none is lost on what rounding alone does.
    assert asked[0] < 70


def test_the_gradient_vanishes() -> None:
    x, y = draw(200, 10, 5)
    probe = LinearProbe(10.0).fit(x, y)
    residuals = softmax(probe.logits(x).astype(np.float64), axis=1)
    residuals -= np.asarray(y)[:, None] == probe.classes_
    np.testing.assert_allclose(10 * residuals.T @ x + probe.coef_, 0, atol=2e-3)
    np.testing.assert_allclose(residuals.sum(axis=0), 0, atol=2e-4)


def test_two_classes_are_those_of_the_binary_objective() -> None:
    x, y = draw(100, 5, 2)
    probe, reference = LinearProbe(3.0).fit(x, y), lbfgs(3.0).fit(x.astype(np.float64), y)
    np.testing.assert_allclose(probe.predict_proba(x), reference.predict_proba(x), atol=1e-4)
    assert probe.logits(x).shape == (100, 2)


def test_sample_weights_are_those_of_scikit_learn() -> None:
    x, y = draw(150, 8, 4)
    weights = np.random.default_rng(3).integers(0, 4, len(y)).astype(np.float64)
    weights[:4] = 1
    probe = LinearProbe(5.0).fit(x, y, sample_weight=weights)
    reference = lbfgs(5.0).fit(x.astype(np.float64), y, sample_weight=weights)
    np.testing.assert_allclose(probe.predict_proba(x), reference.predict_proba(x), atol=1e-4)


def test_class_weight_is_scikit_learns_balanced() -> None:
    x, y = draw(150, 8, 4)
    probe = LinearProbe(5.0, balance="class-weight").fit(x, y)
    reference = lbfgs(5.0, class_weight="balanced").fit(x.astype(np.float64), y)
    np.testing.assert_allclose(probe.predict_proba(x), reference.predict_proba(x), atol=1e-4)


def test_logit_adjustment_minimises_the_adjusted_loss() -> None:
    x, y = draw(200, 6, 3)
    probe = LinearProbe(10.0, balance="logit-adjustment", tau=1.5).fit(x, y)
    truth = np.asarray(y)[:, None] == probe.classes_
    adjusted = probe.logits(x) + 1.5 * np.log(truth.mean(axis=0))
    residuals = softmax(adjusted.astype(np.float64), axis=1) - truth
    np.testing.assert_allclose(10 * residuals.T @ x + probe.coef_, 0, atol=2e-3)


def test_focal_loss_is_stationary_by_finite_differences() -> None:
    x, y = draw(120, 4, 3)
    probe = LinearProbe(10.0, balance="focal", gamma=2.0).fit(x, y)
    own = np.searchsorted(probe.classes_, y)

    def evaluate(parameters: npt.NDArray[np.float64]) -> float:
        W, b = parameters[:12].reshape(3, 4), parameters[12:]  # noqa: N806
        surprise = -log_softmax(x.astype(np.float64) @ W.T + b, axis=1)[np.arange(len(y)), own]
        losses = (1 - np.exp(-surprise)) ** 2 * surprise
        return float(10 * losses.sum() + (W**2).sum() / 2)

    at = np.concatenate([probe.coef_.ravel(), probe.intercept_]).astype(np.float64)
    slopes = [(evaluate(at + step) - evaluate(at - step)) / 2e-4 for step in 1e-4 * np.eye(15)]
    np.testing.assert_allclose(slopes, 0, atol=5e-3)


@pytest.mark.parametrize("name", ["smote", "mixup"])
def test_made_up_rows_are_learnt_from_as_rows(name: str) -> None:
    x, y = draw(60, 5, 3)
    probe = LinearProbe(5.0, balance=name, seed=4).fit(x, y)
    targets = np.searchsorted(probe.classes_, y)
    made = make_rows(Rows(x, targets, np.ones(len(y))), Balance(name, seed=4))
    plain = LinearProbe(5.0).fit(made.vectors, made.targets, made.weights)
    np.testing.assert_allclose(probe.coef_, plain.coef_, atol=1e-4)


def test_every_balance_changes_the_probe() -> None:
    x, y = draw(80, 5, 3)
    found = [LinearProbe(5.0, balance=name).fit(x, y).predict_proba(x) for name in BALANCES]
    for i, one in enumerate(found):
        assert all(np.abs(one - other).max() > 1e-3 for other in found[:i])


@pytest.mark.parametrize("balance", ["class-weight", "logit-adjustment", "smote"])
def test_small_classes_are_found_more_often(balance: str) -> None:
    x, y = draw(400, 5, 6, noise=3.0)
    rare = "class 05"

    def count(name: str) -> int:
        return int((LinearProbe(1.0, balance=name).fit(x, y).predict(x) == rare).sum())

    assert count(balance) > count("none")


def test_a_strong_penalty_keeps_the_prior() -> None:
    x, y = draw(50, 6, 3)
    prior = np.random.default_rng(0).normal(size=(3, 6))
    probe = LinearProbe(1e-8, prior=prior).fit(x, y)
    np.testing.assert_allclose(probe.coef_, prior, atol=1e-5)


def test_the_gradient_with_a_prior_vanishes_also_where_rows_have_no_extent() -> None:
    x, y = draw(20, 30, 3)
    prior = np.random.default_rng(0).normal(size=(3, 30))
    probe = LinearProbe(2.0, prior=prior).fit(x, y)
    residuals = softmax(probe.logits(x).astype(np.float64), axis=1)
    residuals -= np.asarray(y)[:, None] == probe.classes_
    np.testing.assert_allclose(2 * residuals.T @ x + probe.coef_ - prior, 0, atol=1e-3)


def test_one_class_is_certain() -> None:
    probe = LinearProbe().fit(np.eye(3, dtype=np.float32), np.array(["a", "a", "a"]))
    assert probe.predict_proba(np.eye(3, dtype=np.float32)).tolist() == [[1.0]] * 3


def test_one_row_is_enough_for_one_class() -> None:
    probe = LinearProbe().fit(np.ones((1, 2), dtype=np.float32), np.array(["a"]))
    assert probe.predict(np.zeros((2, 2), dtype=np.float32)).tolist() == ["a", "a"]


def test_one_row_a_class_is_told_apart() -> None:
    x, y = np.eye(4, dtype=np.float32), np.array(list("abcd"))
    assert LinearProbe().fit(x, y).predict(x).tolist() == list("abcd")


def test_equal_rows_get_the_shares_of_their_classes() -> None:
    x, y = np.ones((4, 3), dtype=np.float32), np.array(list("aaab"))
    np.testing.assert_allclose(
        LinearProbe().fit(x, y).predict_proba(x[:1]), [[0.75, 0.25]], atol=1e-4
    )


def test_constant_columns_and_repeated_rows_change_nothing() -> None:
    x, y = draw(60, 5, 3)
    plain = LinearProbe(4.0).fit(x, y)
    wider = np.hstack([x, np.ones((60, 2), dtype=np.float32)])
    both = LinearProbe(2.0).fit(np.vstack([wider, wider]), np.concatenate([y, y]))
    np.testing.assert_allclose(both.predict_proba(wider), plain.predict_proba(x), atol=1e-4)


def test_saved_arrays_predict_the_same() -> None:
    x, y = draw(50, 5, 3)
    probe = LinearProbe().fit(x, y)
    again = LinearProbe().set_arrays(probe.to_arrays(), probe.classes_)
    np.testing.assert_array_equal(again.predict_proba(x), probe.predict_proba(x))


def test_it_is_cloned_with_its_settings_and_may_be_fitted_again() -> None:
    x, y = draw(50, 5, 3)
    probe = LinearProbe(7.0, balance="focal", gamma=1.0, seed=3)
    copy = clone(probe)
    assert copy.get_params() == probe.get_params()
    assert copy.set_params(C=2.0).C == 2.0
    probe.fit(x[:20], y[:20])
    np.testing.assert_array_equal(probe.fit(x, y).coef_, clone(probe).fit(x, y).coef_)


def test_too_few_steps_are_told() -> None:
    x, y = draw(100, 8, 4)
    with pytest.warns(ConvergenceWarning, match="no convergence in 1 steps"):
        LinearProbe(1e3, max_iter=1).fit(x, y)


def test_a_larger_tolerance_stops_earlier() -> None:
    x, y = draw(100, 8, 4)
    assert LinearProbe(1e3, tol=1e-4).fit(x, y).n_iter_ < LinearProbe(1e3).fit(x, y).n_iter_


NO_ROWS = np.zeros((0, 3), dtype=np.float32)
ROWS = np.eye(3, dtype=np.float32)
NAMES = np.array(list("aab"))


@pytest.mark.parametrize(
    ("probe", "x", "y", "weights", "message"),
    [
        (LinearProbe(), NO_ROWS, NAMES[:0], None, "minimum of 1 is required"),
        (LinearProbe(), ROWS, NAMES[:2], None, r"numbers of samples: \[3, 2\]"),
        (LinearProbe(), ROWS * np.nan, NAMES, None, "X contains NaN"),
        (LinearProbe(0.0), ROWS, NAMES, None, "a finite C >= 1e-30, got 0.0"),
        (LinearProbe(balance="fair"), ROWS, NAMES, None, "no balance 'fair'"),
        (LinearProbe(prior=np.ones((2, 2))), ROWS, NAMES, None, r"needs the shape \(2, 3\)"),
        (LinearProbe(), ROWS, NAMES, np.zeros(3), "sample_weight needs a number"),
        (LinearProbe(), ROWS, NAMES, np.array([1.0, -1, 1]), "sample_weight needs a number"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    probe: LinearProbe, x: Vectors, y: Labels, weights: npt.NDArray[np.float64] | None, message: str
) -> None:
    with pytest.raises(ProbeError, match=message):
        probe.fit(x, y, sample_weight=weights)
