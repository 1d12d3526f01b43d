"""Several probes, of one encoder or of several, whose probabilities are combined."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeGuard

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted

from bioprobe.errors import MismatchError, ProbeError
from bioprobe.probes.hierarchical_fit import Eigenbasis, TreeLoss, minimise_loss
from bioprobe.probes.label_tree import LabelTree
from bioprobe.probes.never_held_out import find_never, imagine_rows
from bioprobe.probes.probe import SEED, Limits, Probe, Sweep, judge
from bioprobe.splits import assign_folds
from bioprobe.task.method import make_probe
from bioprobe.types import Arrays, Mask, Places, Vectors

Base = tuple[str, Mapping[str, Any]]
Matrices = npt.ArrayLike | Sequence[Vectors]

# Logarithms of smaller probabilities would let one sure mistake outweigh everything.
_LEAST_PROBABILITY = 1e-4
_MAX_ITER, _TOL = 300, 1e-4


class StackProbe(Probe):
    """Logistic regression on the log-probabilities of other probes.

    It learns from probabilities of rows that the probes did not learn from: each row's come from
    probes fitted without its fold. Then the probes are fitted again on all rows. A class of which
    no row is held out would get no probability: for each of its rows there is one in every fold
    that :func:`bioprobe.probes.never_held_out.imagine_rows` makes of it.

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
        if not (folds >= 0).any():
            msg = (
                "stack learns from rows that are held out once, and no row has a fold "
                f"(n_samples={len(y)}); give more rows"
            )
            raise ProbeError(msg)
        answered = self._answer_out_of_fold(X, y, folds)
        self.C_, self.sweep_ = float(strengths[0]), None
        if np.ndim(self.C):
            self.sweep_ = self._measure(answered, np.sort(strengths))
            self.C_ = self.sweep_.best_value
        self.weights_, self.biases_ = self._combine(answered, self.C_)
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

    def _check_training(
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
        self, matrices: Sequence[Vectors], y: npt.NDArray[Any], folds: Places
    ) -> _Answered:
        """Ask the bases of each row that is held out, and of those imagined in every fold."""
        numbers, n_classes = np.unique(folds[folds >= 0]), len(self.classes_)
        likes = np.flatnonzero(find_never(y, folds)).repeat(len(numbers))
        asked = np.append(np.flatnonzero(folds >= 0), likes)
        is_real = np.arange(len(asked)) < (folds >= 0).sum()
        own = np.append(folds[folds >= 0], np.tile(numbers, len(likes) // len(numbers)))
        logs = np.zeros((len(asked), len(matrices) * n_classes), dtype=np.float32)
        for place, ((kind, settings), matrix) in enumerate(zip(self.bases, matrices, strict=True)):
            rows = np.concatenate(
                [matrix[folds >= 0], imagine_rows(matrix, y, folds, len(numbers))[0]]
            )
            for fold in numbers:
                out, taught = own == fold, folds != fold
                probe = make_probe(kind, settings).fit(matrix[taught], y[taught])
                known = np.searchsorted(self.classes_, probe.classes_)
                logs[np.ix_(out, known + place * n_classes)] = probe.predict_proba(rows[out])
        places = np.searchsorted(self.classes_, y[asked])
        return _Answered(_to_logs(logs), places.astype(np.int64), own, is_real)

    def _measure(self, answered: _Answered, values: npt.NDArray[np.float64]) -> Sweep:
        """Measure the regression at each strength, on each fold by the others."""
        numbers = np.unique(answered.folds)
        if len(numbers) < 2:
            msg = "a value of C is chosen over two folds or more, and the rows are in one; give one"
            raise ProbeError(msg)
        # Real rows are measured; imagined ones, where there are any, only help to choose.
        real = answered.is_real
        parts = [real] if real.all() else [real, ~real]
        marks = np.empty((len(parts), 2, len(values), len(numbers)))
        for column, fold in enumerate(numbers):
            out = answered.folds == fold
            for row, value in enumerate(values):
                weights, biases = self._combine(answered.take(~out), value)
                for of, part in enumerate(parts):
                    some = answered.take(out & part)
                    probabilities = softmax(some.logs @ weights + biases, axis=1)
                    marks[of, :, row, column] = judge(probabilities, some.places)
        found = Sweep("C", values, *marks[0])
        if real.all():
            return found
        weight = float((~real).sum() / len(numbers) / real.sum())
        return dataclasses.replace(found, remembered=marks[1].mean(axis=2), weight=weight)

    def _combine(
        self, answered: _Answered, strength: float
    ) -> tuple[Vectors, npt.NDArray[np.float32]]:
        """Fit the regression; return its weights and biases."""
        n_classes = len(self.classes_)
        tree, places = LabelTree.flat(n_classes), answered.places[:, np.newaxis]
        loss = TreeLoss(tree, places, np.ones(1), 0.0)
        basis = Eigenbasis.of(answered.logs)
        fit = minimise_loss(basis, loss, n_classes, strength, max_iter=_MAX_ITER, tol=_TOL)
        weights = np.asarray(fit.weights, dtype=np.float32)
        return weights, np.asarray(fit.biases, dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class _Answered:
    """What the bases said of rows that they did not learn from.

    Parameters
    ----------
    logs : ndarray of float32, shape (n_rows, n_bases * n_classes)
        Log-probabilities of all bases side by side.
    places : ndarray of int64, shape (n_rows,)
        Class of each row.
    folds : ndarray of int64, shape (n_rows,)
        Fold without which each was answered.
    is_real : ndarray of bool, shape (n_rows,)
        Whether it is a row that was given, and not imagined.
    """

    logs: Vectors
    places: Places
    folds: Places
    is_real: Mask

    def take(self, kept: Mask) -> _Answered:
        return _Answered(self.logs[kept], self.places[kept], self.folds[kept], self.is_real[kept])


def _are_several(given: Matrices) -> TypeGuard[Sequence[Vectors]]:
    """Tell several matrices from one that is written as a list of rows."""
    return isinstance(given, (list, tuple)) and bool(given) and np.ndim(given[0]) == 2


def _to_logs(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(np.log(np.maximum(probabilities, _LEAST_PROBABILITY)), dtype=np.float32)
