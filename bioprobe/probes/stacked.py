"""Several probes, of one encoder or of several, whose probabilities are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeGuard

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from sklearn.utils.validation import check_is_fitted

from bioprobe.errors import MismatchError, ProbeError
from bioprobe.probes.hierarchical_fit import Eigenbasis, TreeLoss, minimise_loss
from bioprobe.probes.label_tree import LabelTree
from bioprobe.probes.probe import SEED, Limits, Probe, Sweep
from bioprobe.splits import assign_folds
from bioprobe.task.method import make_probe
from bioprobe.types import Arrays, Vectors

Base = tuple[str, Mapping[str, Any]]
Matrices = npt.ArrayLike | Sequence[Vectors]

# Logarithms of smaller probabilities would let one sure mistake outweigh everything.
_LEAST_PROBABILITY = 1e-4
_MAX_ITER, _TOL = 300, 1e-4


class StackProbe(Probe):
    """Logistic regression on the log-probabilities of other probes.

    It learns from probabilities of rows that the probes did not learn from: each row's come from
    probes fitted without its fold. Then the probes are fitted again on all rows.

    Parameters
    ----------
    bases : sequence of (str, mapping)
        Kind and settings of each probe; not of a kind that learns from lineages.
    C : float or sequence of float
        Inverse strength of the L2 penalty of the regression, > 0, as in scikit-learn. Of several,
        the one is taken whose regression is best on the folds that it did not learn from.
    n_folds : int
        Folds, ≥ 2, where none are given.
    seed : int
        Of these folds.

    Attributes
    ----------
    bases_ : list of Probe
        Fitted on all rows.
    C_ : float
        What was taken.
    sweep_ : Sweep or None
        How each of several did. The answers that the regression learns from were themselves given
        by probes that saw the fold it is measured on, so the figures are a little too high.

    References
    ----------
    Wolpert 1992, *Stacked generalization*; scikit-learn's ``StackingClassifier``.

    Examples
    --------
    >>> X = np.array([[0, 1], [0.1, 0.9], [1, 0], [0.9, 0.1]] * 3, dtype=np.float32)
    >>> y = np.array(["a", "a", "b", "b"] * 3)
    >>> StackProbe([("lda", {}), ("centroid", {})], n_folds=3).fit(X, y).predict(X[1:3]).tolist()
    ['a', 'b']
    """

    kind: ClassVar[str] = "stack"
    summary: ClassVar[str] = "several encoders' probes, combined"
    limits: ClassVar[Mapping[str, Limits]] = {
        "C": Limits(0, above=True, several=True),
        "n_folds": Limits(2, 1000, whole=True),
        "seed": SEED,
    }
    bases_: list[Probe]
    C_: float
    sweep_: Sweep | None
    is_shared_: bool
    weights_: Vectors
    biases_: npt.NDArray[np.float32]

    def __init__(
        self,
        bases: Sequence[Base] = (("lda", {}), ("centroid", {})),
        *,
        C: float | Sequence[float] = 1.0,  # noqa: N803 - scikit-learn's name
        n_folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.bases = bases
        self.C = C
        self.n_folds = n_folds
        self.seed = seed

    def fit(
        self,
        X: Matrices,  # noqa: N803
        y: npt.ArrayLike,
        folds: npt.NDArray[np.int64] | None = None,
    ) -> Self:
        """Learn from vectors and their classes.

        Parameters
        ----------
        X : array-like, shape (n_images, dim), or sequence of ndarrays of such
            One matrix for all bases, or one for each, as of several encoders: the rows are the
            same images.
        y : array-like, shape (n_images,)
            Classes.
        folds : ndarray of int64, shape (n_images,), optional
            Fold without which the probes answer each row; -1 for one that always trains. By
            default ``n_folds`` stratified ones.

        Raises
        ------
        ProbeError
            If a setting is out of range, or the matrices do not fit together.
        """
        return self._learn(X, y, folds=folds)

    def _fit(  # type: ignore[override]
        self,
        X: list[Vectors],  # noqa: N803
        y: npt.NDArray[Any],
        folds: npt.NDArray[np.int64] | None = None,
    ) -> None:
        strengths = np.atleast_1d(np.asarray(self.C, dtype=np.float64))
        self.classes_, places = np.unique(y, return_inverse=True)
        if folds is None:
            folds = assign_folds(places.astype(np.int64), int(self.n_folds), int(self.seed))
        judged = np.flatnonzero(folds >= 0)
        if not len(judged):
            msg = (
                "stack learns from rows that are held out once, and no row has a fold "
                f"(n_samples={len(y)}); give more rows"
            )
            raise ProbeError(msg)
        answers = self._answer_out_of_fold(X, y, folds)[judged]
        self.C_, self.sweep_ = float(strengths[0]), None
        if np.ndim(self.C):
            self.sweep_ = self._measure(answers, places[judged], folds[judged], np.sort(strengths))
            self.C_ = self.sweep_.best_value
        self.weights_, self.biases_ = self._combine(answers, places[judged], self.C_)
        self.bases_ = [
            make_probe(kind, settings).fit(matrix, y)
            for (kind, settings), matrix in zip(self.bases, X, strict=True)
        ]

    def _logits(self, X: list[Vectors]) -> npt.NDArray[np.float32]:  # type: ignore[override]  # noqa: N803
        answers = [
            _to_logs(base.predict_proba(matrix))
            for base, matrix in zip(self.bases_, X, strict=True)
        ]
        return np.asarray(np.concatenate(answers, axis=1) @ self.weights_ + self.biases_)

    def predict(self, X: Matrices) -> npt.NDArray[Any]:  # noqa: N803
        """Return the best class of each image, shape (n_images,)."""
        # Not by blocks of rows, as others are asked: there may be several matrices.
        places = self.logits(X).argmax(axis=1)
        return np.asarray(self.classes_[places])

    def to_arrays(self) -> Arrays:
        """Return what was learnt, but for ``classes_``; arrays of base 0 start with ``base0.``."""
        shared = np.array([self.is_shared_], dtype=np.uint8)
        arrays: Arrays = {"weights": self.weights_, "biases": self.biases_, "is_shared": shared}
        for place, base in enumerate(self.bases_):
            arrays |= {f"base{place}.{name}": array for name, array in base.to_arrays().items()}
        return arrays

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned, so that predictions are the same again."""
        self.classes_ = classes
        self.weights_, self.biases_ = arrays["weights"], arrays["biases"]
        self.is_shared_ = bool(arrays["is_shared"][0])
        self.bases_ = []
        for place, (kind, settings) in enumerate(self.bases):
            start = f"base{place}."
            own = {
                name.removeprefix(start): array
                for name, array in arrays.items()
                if name.startswith(start)
            }
            self.bases_.append(make_probe(kind, settings).set_arrays(own, classes))
        if self.is_shared_:
            self.n_features_in_ = self.bases_[0].n_features_in_
        return self

    def _answer_first(self, X: list[Vectors]) -> None:  # type: ignore[override]  # noqa: N803
        self._answer([one[:1] for one in X])  # type: ignore[arg-type]

    def _check_training(  # type: ignore[override]
        self,
        X: Matrices,  # noqa: N803
        y: npt.ArrayLike,
    ) -> tuple[list[Vectors], npt.NDArray[Any]]:
        several = self._count(X) if _are_several(X) else None
        self.is_shared_ = several is None
        if several is None:
            shared, classes = super()._check_training(X, y)
            return [shared] * len(self.bases), classes
        if any(len(matrix) != np.shape(y)[0] for matrix in several):
            sizes = ", ".join(str(len(matrix)) for matrix in several)
            msg = (
                f"the matrices have {sizes} rows for {np.shape(y)[0]} classes; give the same images"
            )
            raise ProbeError(msg)
        checked = []
        for one in several:
            matrix, classes = super()._check_training(one, y)
            checked.append(matrix)
        del self.n_features_in_  # each matrix has its own
        return checked, classes

    def _check_asked(self, X: Matrices) -> list[Vectors]:  # type: ignore[override]  # noqa: N803
        check_is_fitted(self)
        if _are_several(X):
            # The bases check them: each has its own length of a vector.
            return self._count(X)
        if not self.is_shared_:
            msg = (
                f"the stack learnt from {len(self.bases)} matrices, of several encoders, and "
                "got a single one; give one for each base, on the command line by bioprobe "
                "probe stack predict NAME --with STORE"
            )
            raise MismatchError(msg)
        return [super()._check_asked(X)] * len(self.bases)

    def _count(self, matrices: Sequence[Vectors]) -> list[Vectors]:
        """Return the matrices, where there is one for each base."""
        if len(matrices) != len(self.bases):
            msg = (
                f"stack has {len(self.bases)} bases and got {len(matrices)} matrices; give one "
                "for each, or a single array for all"
            )
            raise ProbeError(msg)
        return list(matrices)

    def _answer_out_of_fold(
        self, matrices: Sequence[Vectors], y: npt.NDArray[Any], folds: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Return log-probabilities of all bases side by side; rows without a fold have none."""
        n_classes = len(self.classes_)
        answers = np.zeros((len(y), len(matrices) * n_classes), dtype=np.float32)
        for place, ((kind, settings), matrix) in enumerate(zip(self.bases, matrices, strict=True)):
            for fold in np.unique(folds[folds >= 0]):
                out = folds == fold
                probe = make_probe(kind, settings).fit(matrix[~out], y[~out])
                known = np.searchsorted(self.classes_, probe.classes_)
                answers[np.ix_(out, known + place * n_classes)] = probe.predict_proba(matrix[out])
        return _to_logs(answers)

    def _measure(
        self,
        answers: npt.NDArray[np.float32],
        places: npt.NDArray[np.int64],
        folds: npt.NDArray[np.int64],
        values: npt.NDArray[np.float64],
    ) -> Sweep:
        """Measure the regression at each strength, on each fold by the others."""
        numbers = np.unique(folds)
        if len(numbers) < 2:
            msg = "a value of C is chosen over two folds or more, and the rows are in one; give one"
            raise ProbeError(msg)
        accuracies = np.empty((len(values), len(numbers)))
        log_losses = np.empty_like(accuracies)
        for column, fold in enumerate(numbers):
            out = folds == fold
            truth = places[out]
            for row, value in enumerate(values):
                weights, biases = self._combine(answers[~out], places[~out], value)
                logs = log_softmax(answers[out] @ weights + biases, axis=1)
                accuracies[row, column] = (logs.argmax(axis=1) == truth).mean()
                log_losses[row, column] = -logs[np.arange(len(truth)), truth].mean()
        return Sweep("C", values, accuracies, log_losses)

    def _combine(
        self,
        answers: npt.NDArray[np.float32],
        places: npt.NDArray[np.int64],
        strength: float,
    ) -> tuple[Vectors, npt.NDArray[np.float32]]:
        """Fit the regression; return its weights and biases."""
        n_classes = len(self.classes_)
        loss = TreeLoss(LabelTree.flat(n_classes), places[:, np.newaxis], np.ones(1), 0.0)
        basis = Eigenbasis.of(answers)
        fit = minimise_loss(basis, loss, n_classes, strength, max_iter=_MAX_ITER, tol=_TOL)
        weights = np.asarray(fit.weights, dtype=np.float32)
        return weights, np.asarray(fit.biases, dtype=np.float32)


def _are_several(given: Matrices) -> TypeGuard[Sequence[Vectors]]:
    """Tell several matrices from one that is written as a list of rows."""
    return isinstance(given, (list, tuple)) and bool(given) and np.ndim(given[0]) == 2


def _to_logs(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(np.log(np.maximum(probabilities, _LEAST_PROBABILITY)), dtype=np.float32)
