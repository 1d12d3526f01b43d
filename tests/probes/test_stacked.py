"""Stacked probes learn from answers to rows that their bases did not see."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

from bioprobe.errors import MismatchError, ProbeError
from bioprobe.probes.stacked import StackProbe
from bioprobe.task.method import make_probe
from bioprobe.types import Vectors

LDA = ("lda", {"shrinkage": 0.1})
BASES = (LDA, LDA)


def draw(
    n_rows: int, *, n_classes: int = 3, spread: float = 1.2, seed: int = 0
) -> tuple[list[Vectors], npt.NDArray[np.str_]]:
    """Draw the vectors of two encoders, of which each tells other classes apart."""
    which = np.arange(n_rows) % n_classes
    rng = np.random.default_rng(seed)
    matrices = []
    for encoder in range(2):
        means = np.random.default_rng(encoder).normal(size=(n_classes, 6))
        means[encoder] = means[-1]
        rows = means[which] + spread * rng.normal(size=(n_rows, 6))
        matrices.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return matrices, np.array(["a", "b", "c", "d"])[which]


def test_two_encoders_together_are_better_than_either() -> None:
    matrices, y = draw(150)
    others, truth = draw(600, seed=1)
    stack = (StackProbe(BASES).fit(matrices, y).predict(others) == truth).mean()
    alone = [
        (make_probe(*LDA).fit(mine, y).predict(his) == truth).mean()
        for mine, his in zip(matrices, others, strict=True)
    ]
    assert stack > max(alone) + 0.03


def stack_plainly(
    matrices: list[Vectors], y: npt.NDArray[np.str_], folds: npt.NDArray[np.int64], c: float
) -> npt.NDArray[np.float64]:
    """Answer the rows by scikit-learn's regression on what LDA says of each without its fold."""
    names = np.unique(y)
    answers = [np.zeros((len(y), len(names))) for _ in matrices]
    for own, matrix in zip(answers, matrices, strict=True):
        for fold in np.unique(folds):
            out = folds == fold
            probe = make_probe(*LDA).fit(matrix[~out], y[~out])
            own[np.ix_(out, np.isin(names, y[~out]))] = probe.predict_proba(matrix[out])
    # Of two classes scikit-learn has one vector of weights, half as much penalised.
    reference = LogisticRegression(C=c * (2 if len(names) == 2 else 1), tol=1e-8, max_iter=5000)
    reference.fit(np.log(np.maximum(np.concatenate(answers, axis=1), 1e-4)), y)
    bases = [make_probe(*LDA).fit(matrix, y).predict_proba(matrix) for matrix in matrices]
    asked = np.log(np.maximum(np.concatenate(bases, axis=1), 1e-4))
    return np.asarray(reference.predict_proba(asked))


def test_it_is_logistic_regression_on_answers_out_of_fold() -> None:
    matrices, y = draw(90)
    folds = np.arange(90) // 3 % 3
    stack = StackProbe(BASES, C=0.5).fit(matrices, y, folds)
    expected = stack_plainly(matrices, y, folds, 0.5)
    np.testing.assert_allclose(stack.predict_proba(matrices), expected, atol=2e-3)


def test_rows_without_a_fold_train_the_bases_alone() -> None:
    matrices, y = draw(90)
    folds = np.arange(90) // 3 % 3
    fewer = np.where(np.arange(90) < 30, -1, folds)
    one = StackProbe(BASES).fit(matrices, y, folds)
    other = StackProbe(BASES).fit(matrices, y, fewer)
    assert np.abs(one.weights_ - other.weights_).max() > 1e-3
    for mine, his in zip(one.bases_, other.bases_, strict=True):
        np.testing.assert_array_equal(
            mine.predict_proba(matrices[0]), his.predict_proba(matrices[0])
        )


def test_a_class_that_a_fold_lacks_has_no_probability_there() -> None:
    matrices, y = draw(60)
    folds = np.where(y == "b", 0, np.arange(60) % 4)
    stack = StackProbe(BASES, C=0.1).fit(matrices, y, folds)
    expected = stack_plainly(matrices, y, folds, 0.1)
    np.testing.assert_allclose(stack.predict_proba(matrices), expected, atol=2e-3)
    logs = stack._answer_out_of_fold(matrices, y, folds).logs
    assert (logs[folds == 0][:, [1, 4]] == np.float32(np.log(1e-4))).all()


def test_one_array_is_for_all_bases() -> None:
    matrices, y = draw(60)
    bases = [("lda", {}), ("centroid", {}), ("knn", {"k": 3})]
    stack = StackProbe(bases).fit(matrices[0], y)
    twice = StackProbe(bases).fit([matrices[0]] * 3, y)
    np.testing.assert_array_equal(
        stack.predict_proba(matrices[0]), twice.predict_proba([matrices[0]] * 3)
    )
    np.testing.assert_allclose(stack.predict_proba(matrices[0]).sum(axis=1), 1, atol=1e-5)


def test_arrays_give_the_same_predictions() -> None:
    matrices, y = draw(60)
    stack = StackProbe(BASES).fit(matrices, y)
    again = StackProbe(BASES).set_arrays(stack.to_arrays(), stack.classes_)
    np.testing.assert_array_equal(again.predict_proba(matrices), stack.predict_proba(matrices))
    assert again.predict(matrices).tolist() == stack.predict(matrices).tolist()


def test_a_smaller_c_folds_and_a_seed_have_their_effect() -> None:
    matrices, y = draw(60)

    def measure(*, C: float = 1.0, n_folds: int = 5, seed: int = 0) -> float:  # noqa: N803
        stack = StackProbe(BASES, C=C, n_folds=n_folds, seed=seed).fit(matrices, y)
        return float(np.abs(stack.weights_).sum())

    usual = measure()
    assert measure(C=0.01) < usual
    assert measure(n_folds=3) != usual
    assert measure(seed=1) != usual


def test_of_several_strengths_the_best_on_the_folds_is_taken() -> None:
    matrices, y = draw(90)
    folds = np.arange(90) // 3 % 3
    stack = StackProbe(BASES, C=(1.0, 0.01, 0.1)).fit(matrices, y, folds)
    assert stack.sweep_ is not None
    assert stack.sweep_.values.tolist() == [0.01, 0.1, 1.0]
    answers = stack._answer_out_of_fold(matrices, y, folds).logs
    for row, value in enumerate(stack.sweep_.values):
        reference = LogisticRegression(C=value, tol=1e-8, max_iter=5000)
        for fold in range(3):
            out = folds == fold
            found = reference.fit(answers[~out], y[~out]).score(answers[out], y[out])
            assert stack.sweep_.accuracies[row, fold] == pytest.approx(found, abs=1 / 29)
    assert stack.sweep_.best_value == stack.C_
    alone = StackProbe(BASES, C=stack.C_).fit(matrices, y, folds)
    assert alone.sweep_ is None
    np.testing.assert_array_equal(alone.weights_, stack.weights_)
    with pytest.raises(ProbeError, match="two folds or more"):
        StackProbe(BASES, C=(1.0, 0.1)).fit(matrices, y, np.where(folds == 0, 0, -1))


def test_a_stack_of_several_matrices_is_not_asked_by_one() -> None:
    matrices, y = draw(30)
    stack = StackProbe(BASES).fit(matrices, y)
    with pytest.raises(MismatchError, match=r"learnt from 2 matrices.*--with STORE"):
        stack.predict_proba(matrices[0])
    again = StackProbe(BASES).set_arrays(stack.to_arrays(), stack.classes_)
    with pytest.raises(MismatchError, match="learnt from 2 matrices"):
        again.predict(matrices[0])


def test_two_classes_are_told_apart() -> None:
    matrices, y = draw(40, n_classes=2)
    folds = np.arange(40) // 2 % 4
    stack = StackProbe(BASES).fit(matrices, y, folds)
    expected = stack_plainly(matrices, y, folds, 1.0)
    assert expected.std(axis=0).min() > 0.05
    np.testing.assert_allclose(stack.predict_proba(matrices), expected, atol=2e-3)


def test_settings_out_of_range_are_refused() -> None:
    matrices, y = draw(10)
    with pytest.raises(ProbeError, match="C > 0"):
        StackProbe(BASES, C=0).fit(matrices, y)
    with pytest.raises(ProbeError, match=r"n_folds in \[2, 1000\], got 1"):
        StackProbe(BASES, n_folds=1).fit(matrices, y)


def test_it_is_known_by_name_and_its_settings_may_come_from_json() -> None:
    matrices, y = draw(30)
    probe = make_probe("stack", {"bases": [["lda", {"shrinkage": 0.5}], ["centroid", {}]]})
    same = StackProbe([("lda", {"shrinkage": 0.5}), ("centroid", {})])
    np.testing.assert_array_equal(
        probe.fit(matrices[0], y).predict_proba(matrices[0]),
        same.fit(matrices[0], y).predict_proba(matrices[0]),
    )


def test_matrices_that_do_not_fit_are_refused() -> None:
    matrices, y = draw(10)
    with pytest.raises(ProbeError, match="2 bases and got 1 matrices"):
        StackProbe(BASES).fit(matrices[:1], y)
    with pytest.raises(ProbeError, match="10, 9 rows for 10 classes"):
        StackProbe(BASES).fit([matrices[0], matrices[1][:9]], y)
    with pytest.raises(ProbeError, match="no row has a fold"):
        StackProbe(BASES).fit(matrices, y, np.full(10, -1))
