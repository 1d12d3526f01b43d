"""The sweep of the linear probe beside a plain loop over values and folds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import ProbeError
from bioprobe.probes import objective, path
from bioprobe.probes.linear import BALANCES, LinearProbe
from bioprobe.probes.probe import Sweep

VALUES = np.array([0.1, 3.0, 100.0])


def _draw(
    n_images: int = 400, dim: int = 12, n_classes: int = 5
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, n_images)
    x = rng.normal(size=(n_classes, dim))[y] + 1.5 * rng.normal(size=(n_images, dim))
    folds = rng.permutation(n_images) % 4 - 1
    return normalise_rows(x.astype(np.float32)), y, folds


def _loop(
    x: npt.NDArray[np.float32], y: npt.NDArray[np.int64], folds: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    accuracies = np.zeros((len(VALUES), folds.max() + 1))
    log_losses = accuracies.copy()
    for row, value in enumerate(VALUES):
        for fold in range(folds.max() + 1):
            out = folds == fold
            model = LogisticRegression(C=value, tol=1e-6, max_iter=5000).fit(x[~out], y[~out])
            accuracies[row, fold] = model.score(x[out], y[out])
            log_losses[row, fold] = log_loss(y[out], model.predict_proba(x[out]))
    return accuracies, log_losses


def test_each_value_and_fold_is_that_of_a_fit_of_its_own() -> None:
    x, y, folds = _draw()
    sweep = LinearProbe.sweep(x, y, VALUES, folds)
    accuracies, log_losses = _loop(x, y, folds)
    np.testing.assert_allclose(sweep.accuracies, accuracies, atol=0.011)  # one of 100 rows
    np.testing.assert_allclose(sweep.accuracies.mean(axis=1), accuracies.mean(axis=1), atol=0.007)
    np.testing.assert_allclose(sweep.log_losses, log_losses, rtol=0.02)
    assert (sweep.parameter, sweep.values.tolist()) == ("C", VALUES.tolist())


def test_few_rows_are_found_together_with_what_folds_apart_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y, folds = _draw()
    n_blocks: list[int] = []
    plan = objective._plan

    def count(*told: Any) -> Any:  # noqa: ANN401 - whatever is passed on
        found = plan(*told)
        n_blocks.append(len(found[1]))
        return found

    monkeypatch.setattr(objective, "_plan", count)
    together = LinearProbe.sweep(x, y, VALUES, folds)
    monkeypatch.setattr(objective, "_WHOLE_NUMBERS", 0)
    apart = LinearProbe.sweep(x, y, VALUES, folds)
    assert n_blocks == [1, 4]
    np.testing.assert_array_equal(together.accuracies, apart.accuracies)
    np.testing.assert_allclose(together.log_losses, apart.log_losses, rtol=1e-3)


# What a product in bf16 may be off by, as a fraction of the lengths of its factors: these and it
# are each rounded by a fraction of 2⁻⁸ at most.
BF16_ERROR = (1 + 2**-8) ** 3 - 1


def _draw_apart() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw a narrow cluster for each class, and a fifth of the labels at random."""
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 5, 400)
    x = rng.normal(size=(5, 12))[clusters] + 0.2 * rng.normal(size=(400, 12))
    y = np.where(rng.random(400) < 0.2, rng.integers(0, 5, 400), clusters)
    return normalise_rows(x.astype(np.float32)), y, rng.permutation(400) % 4 - 1


def test_products_in_bf16_change_no_answer_that_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, folds = _draw_apart()
    monkeypatch.setattr(path, "_LEAST_WORK", 0)
    monkeypatch.setattr(path, "choose_dtype", lambda: torch.bfloat16)
    short = LinearProbe.sweep(x, y, VALUES, folds)
    accuracies, log_losses = _loop(x, y, folds)
    np.testing.assert_allclose(short.accuracies, accuracies, rtol=1e-12)
    np.testing.assert_allclose(short.log_losses, log_losses, rtol=0.03)
    assert 0.6 < accuracies.min() < accuracies.max() < 0.95
    # How rounding turns a near tie differs by processor; here there are none.
    longest = np.linalg.norm(x - x.mean(axis=0), axis=1).max()
    for value, fold in itertools.product(VALUES, range(3)):
        out = folds == fold
        model = LogisticRegression(C=value, tol=1e-6, max_iter=5000).fit(x[~out], y[~out])
        second, best = np.sort(model.decision_function(x[out]), axis=1)[:, -2:].T
        steepest = np.linalg.norm(model.coef_, axis=1).max()
        assert (best - second).min() > 2 * BF16_ERROR * longest * steepest


def test_products_in_bf16_give_the_same_log_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, folds = _draw()
    monkeypatch.setattr(path, "_choose_dtype", lambda *_: torch.bfloat16)
    short = LinearProbe.sweep(x, y, VALUES, folds)
    _, log_losses = _loop(x, y, folds)
    np.testing.assert_allclose(short.log_losses, log_losses, rtol=0.03)


@pytest.mark.parametrize(
    ("dtype", "error"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, BF16_ERROR)],
)
def test_losses_and_slopes_are_right_within_the_rounding_of_products(
    dtype: torch.dtype, error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    rows, targets = rng.normal(size=(200, 7)), rng.integers(0, 3, 200)
    weights = rng.random((200, 3)).astype(np.float32)
    # Held out by one problem each, by two, and by all.
    weights[:40, 0] = weights[40:90, 1] = weights[90:120, 2] = weights[30:50, 0] = 0
    weights[190:] = 0
    coefficients = rng.normal(size=(3, 3, 7))
    problems = objective.Problems(rows, targets, weights, np.zeros((3, 3), np.float32))
    monkeypatch.setattr(objective, "_LEAST_SHARE", 1)
    monkeypatch.setattr(objective, "_BLOCK_NUMBERS", 200)
    loss = objective.Objective(problems, dtype)
    value = loss.evaluate(
        torch.from_numpy(coefficients).to(loss.dtype), torch.zeros(3, 3, dtype=loss.dtype)
    )
    # A log-probability moves by twice as much as the logits at most, a probability by half.
    moved = error * np.linalg.norm(rows, axis=1) * np.linalg.norm(coefficients, axis=2).max()
    for problem in range(3):
        logs = log_softmax(rows @ coefficients[problem].T, axis=1)
        expected = -weights[:, problem] @ logs[np.arange(200), targets]
        assert abs(value.losses[problem] - expected) < 2 * weights[:, problem] @ moved
        residuals = weights[:, [problem]] * (np.exp(logs) - np.eye(3)[targets])
        slopes = value.coefficients[problem].double().numpy()
        most = error * np.abs(residuals).T @ np.abs(rows)
        most += weights[:, problem] * moved / 2 @ np.abs(rows)
        assert (np.abs(slopes - residuals.T @ rows) < most).all()


def test_bf16_is_not_chosen_where_the_cpu_has_no_units_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert objective.choose_dtype.__wrapped__() == torch.float32


@pytest.mark.parametrize(("exact_s", "expected"), [(3.0, torch.bfloat16), (1.0, torch.float32)])
def test_bf16_is_chosen_only_where_it_is_measured_faster(
    exact_s: float, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    times_s = {torch.float32: exact_s, torch.bfloat16: 1.0}
    monkeypatch.setattr(objective, "_time_product", lambda dtype: times_s[dtype])
    assert objective.choose_dtype.__wrapped__() == expected


def test_rows_in_chunks_are_those_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, folds = _draw(100)
    whole = LinearProbe.sweep(x, y, VALUES, folds)
    monkeypatch.setattr(objective, "_BLOCK_NUMBERS", 5 * 3 * 7)  # up to 7 rows at once
    parts = LinearProbe.sweep(x, y, VALUES, folds)
    np.testing.assert_allclose(parts.log_losses, whole.log_losses, rtol=1e-3)


@pytest.mark.parametrize("balance", BALANCES)
def test_each_balance_is_swept_as_it_is_fitted(balance: str) -> None:
    x, y, folds = _draw(120, n_classes=3)
    y = np.where((y == 2) & (np.arange(120) % 3 > 0), 0, y)
    sweep = LinearProbe.sweep(x, y, np.array([5.0]), folds, balance=balance, seed=1)
    for fold in range(3):
        out = folds == fold
        probe = LinearProbe(5.0, balance=balance, seed=1).fit(x[~out], y[~out])
        assert sweep.log_losses[0, fold] == pytest.approx(
            log_loss(y[out], probe.predict_proba(x[out])), rel=0.03
        )


def test_a_prior_is_swept_as_it_is_fitted() -> None:
    x, y, folds = _draw(120, n_classes=3)
    prior = np.random.default_rng(2).normal(size=(3, 12))
    sweep = LinearProbe.sweep(x, y, np.array([0.5]), folds, prior=prior)
    out = folds == 0
    probe = LinearProbe(0.5, prior=prior).fit(x[~out], y[~out])
    assert sweep.log_losses[0, 0] == pytest.approx(
        log_loss(y[out], probe.predict_proba(x[out])), rel=0.02
    )


def test_values_may_come_in_any_order_and_folds_have_any_number() -> None:
    x, y, folds = _draw(100)
    up = LinearProbe.sweep(x, y, VALUES, folds)
    down = LinearProbe.sweep(x, y, VALUES[::-1], np.where(folds >= 0, 2 * folds + 1, -1))
    np.testing.assert_array_equal(up.accuracies, down.accuracies[::-1])


def test_a_class_that_a_fold_holds_out_whole_is_never_predicted_there() -> None:
    x, y, folds = _draw(100)
    y[:3], folds[:3] = 9, 1
    sweep = LinearProbe.sweep(x, y, VALUES, folds)
    out = folds == 1
    right = LogisticRegression(C=100, max_iter=5000).fit(x[~out], y[~out]).predict(x[out]) == y[out]
    assert sweep.accuracies[-1, 1] == pytest.approx(right.mean(), abs=0.05)
    assert np.isfinite(sweep.log_losses).all()
    assert sweep.log_losses[0, 1] > 3 / out.sum() * 36


def test_string_classes_and_a_single_value_and_fold_are_ordinary() -> None:
    x, y, folds = _draw(60)
    names = np.array([f"class {i}" for i in y])
    sweep = LinearProbe.sweep(x, names, np.array([10.0]), np.where(folds == 0, 0, -1))
    assert sweep.accuracies.shape == (1, 1)
    assert sweep.best_value == 10


def test_two_classes_are_swept_as_scikit_learn_has_them() -> None:
    x, y, folds = _draw(n_classes=2)
    _, log_losses = _loop(x, y, folds)
    np.testing.assert_allclose(
        LinearProbe.sweep(x, y, VALUES, folds).log_losses, log_losses, rtol=0.02
    )


def test_one_class_is_always_right() -> None:
    x, _, folds = _draw(30)
    sweep: Sweep = LinearProbe.sweep(x, np.zeros(30, dtype=np.int64), VALUES, folds)
    assert (sweep.accuracies == 1).all()


@pytest.mark.parametrize("fold", [-1, 0])
def test_folds_that_leave_nothing_to_learn_or_to_measure_are_refused(fold: int) -> None:
    x, y, _ = _draw(30)
    with pytest.raises(ProbeError, match="each fold needs rows outside it"):
        LinearProbe.sweep(x, y, VALUES, np.full(30, fold))
