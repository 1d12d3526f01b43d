"""What the probes with a closed form share: sums over rows, and scores along a path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.probes.probe import Arrays, Probe, Vectors
from bioprobe.probes.sweep import Sweep

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Rows = npt.NDArray[Any]

# Bounds the memory of a path's logits: 16 million float32 are 64 MB.
_LOGITS_AT_ONCE = 16_000_000
_ROWS_AT_ONCE = 8192
# Directions this much shorter than the longest hold only rounding errors.
_LEAST_RATIO = 1e-13


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """Sums over rows, from which every closed form follows; those of a part may be taken off.

    Parameters
    ----------
    counts : ndarray of float64, shape (n_classes,)
        Rows of each class.
    totals : ndarray of float64, shape (n_classes, dim)
        Sum of the rows of each class.
    gram : ndarray of float64, shape (dim, dim)
        Sum of the outer products of the rows with themselves.
    """

    counts: Doubles
    totals: Doubles
    gram: Doubles

    @classmethod
    def of(cls, X: Rows, y: Labels, n_classes: int) -> Self:  # noqa: N803
        """Sum up rows, shape (n, dim), and their classes, from 0; in float64."""
        dim = X.shape[1]
        totals, gram = np.zeros((n_classes, dim)), np.zeros((dim, dim))
        for start in range(0, len(X), _ROWS_AT_ONCE):
            rows = X[start : start + _ROWS_AT_ONCE].astype(np.float64)
            members = np.zeros((n_classes, len(rows)))
            members[y[start : start + _ROWS_AT_ONCE], np.arange(len(rows))] = 1
            totals += members @ rows
            gram += rows.T @ rows
        return cls(np.bincount(y, minlength=n_classes).astype(np.float64), totals, gram)

    def __sub__(self, part: Sums) -> Sums:
        return Sums(self.counts - part.counts, self.totals - part.totals, self.gram - part.gram)

    @property
    def n_rows(self) -> float:
        """Number of rows."""
        return float(self.counts.sum())

    @property
    def mean(self) -> Doubles:
        """Mean of the rows, shape (dim,)."""
        return np.asarray(self.totals.sum(axis=0) / self.n_rows)

    @property
    def class_means(self) -> Doubles:
        """Mean of the rows of each class, zeros for a class without rows."""
        return np.asarray(self.totals / np.maximum(self.counts, 1)[:, np.newaxis])

    @property
    def scatter(self) -> Doubles:
        """Gram matrix of the rows about their mean."""
        return np.asarray(self.gram - self.n_rows * np.outer(self.mean, self.mean))

    @property
    def scatter_within(self) -> Doubles:
        """Gram matrix of the rows about the mean of their class."""
        weighted = self.class_means * self.counts[:, np.newaxis]
        return np.asarray(self.gram - weighted.T @ self.class_means)


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """Scores at many regularisation values, in one rotated space.

    Parameters
    ----------
    rotation : ndarray of float64, shape (dim, dim)
        Eigenvectors, in columns.
    coefficients : ndarray of float64, shape (n_values, dim, n_classes)
        Of rotated rows.
    intercepts : ndarray of float64, shape (n_values, n_classes)
    """

    rotation: Doubles
    coefficients: Doubles
    intercepts: Doubles

    def measure(self, X: Rows, y: Labels) -> tuple[Doubles, Doubles]:  # noqa: N803
        """Measure the scores on rows.

        Returns
        -------
        accuracies, log_losses : ndarray of float64, shape (n_values,)
        """
        n_values, dim, n_classes = self.coefficients.shape
        stacked = self.coefficients.transpose(1, 0, 2).reshape(dim, -1).astype(np.float32)
        shifts = self.intercepts.reshape(-1).astype(np.float32)
        rotation = self.rotation.astype(np.float32)
        right, losses = np.zeros(n_values), np.zeros(n_values)
        step = max(1, _LOGITS_AT_ONCE // stacked.shape[1])
        for start in range(0, len(X), step):
            logits = (X[start : start + step] @ rotation) @ stacked
            logits += shifts
            truth = y[start : start + step]
            chunk_right, chunk_losses = _judge(logits.reshape(-1, n_values, n_classes), truth)
            right += chunk_right
            losses += chunk_losses
        return right / max(len(X), 1), losses / max(len(X), 1)


def decompose(matrix: Doubles) -> tuple[Doubles, Doubles]:
    """Return the eigenvalues, none below 0, and the eigenvectors of a symmetric matrix."""
    eigenvalues, rotation = np.linalg.eigh(matrix)
    return np.maximum(eigenvalues, 0), rotation


def invert(diagonals: Doubles) -> Doubles:
    """Return one over each number; 0 where it is nothing beside the largest of its row."""
    least = _LEAST_RATIO * diagonals.max(axis=-1, keepdims=True, initial=0)
    kept = diagonals > least
    return np.where(kept, 1 / np.where(kept, diagonals, 1), 0)


def sweep_path(
    parameter: str,
    X: Vectors,  # noqa: N803 - scikit-learn's name
    y: Rows,
    values: npt.NDArray[Any],
    folds: npt.NDArray[np.int64],
    solve: Callable[[Sums, Doubles, Callable[[int], tuple[Rows, Labels]]], Path],
) -> Sweep:
    """Measure a closed form at many values on each fold.

    The Gram matrix of the training rows of a fold is the total less that of the held-out rows.

    Parameters
    ----------
    parameter : str
        Name of what is varied.
    X : ndarray of float32, shape (n_images, dim)
    y : ndarray, shape (n_images,)
    values : ndarray of float64, shape (n_values,)
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.
    solve : callable
        From the sums of the training rows, the values, and a function that draws at most so many
        training rows with their classes, to the path.
    """
    _, labels = np.unique(y, return_inverse=True)
    n_classes = int(labels.max(initial=-1)) + 1
    centred = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    numbers = np.unique(folds[folds >= 0])
    if not len(numbers):
        msg = "no row is held out in a fold; give folds from 0"
        raise ProbeError(msg)
    held = [Sums.of(centred[folds == f], labels[folds == f], n_classes) for f in numbers]
    total = Sums.of(centred[folds < 0], labels[folds < 0], n_classes)
    for part in held:
        total = Sums(total.counts + part.counts, total.totals + part.totals, total.gram + part.gram)
    asked = np.asarray(values, dtype=np.float64)
    accuracies = np.empty((len(asked), len(numbers)))
    log_losses = np.empty_like(accuracies)
    for column, (fold, part) in enumerate(zip(numbers, held, strict=True)):
        training = np.flatnonzero(folds != fold)

        def draw(at_most: int, rows: Labels = training) -> tuple[Rows, Labels]:
            chosen = rows[spread_rows(len(rows), at_most)]
            return centred[chosen], labels[chosen]

        path = solve(total - part, asked, draw)
        out = folds == fold
        accuracies[:, column], log_losses[:, column] = path.measure(centred[out], labels[out])
    return Sweep(parameter, asked, accuracies, log_losses)


def spread_rows(n_rows: int, at_most: int) -> npt.NDArray[np.int64]:
    """Return at most so many rows of all, evenly spaced, ascending."""
    return np.linspace(0, max(n_rows - 1, 0), min(n_rows, at_most)).astype(np.int64)


class AffineProbe(Probe):
    """A probe whose logits are an affine function of the vectors.

    Attributes
    ----------
    coef_ : ndarray of float32, shape (n_classes, dim)
    intercept_ : ndarray of float32, shape (n_classes,)
    """

    coef_: npt.NDArray[np.float32]
    intercept_: npt.NDArray[np.float32]

    def decision_function(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        """Return the logits, float32 of shape (n_images, n_classes)."""
        return np.asarray(
            np.asarray(X, dtype=np.float32) @ self.coef_.T + self.intercept_, dtype=np.float32
        )

    def to_arrays(self) -> Arrays:
        """Return coefficients and intercepts."""
        return {"coef": self.coef_, "intercept": self.intercept_}

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.classes_ = classes
        self.coef_, self.intercept_ = arrays["coef"], arrays["intercept"]
        return self

    def _start(self, X: Vectors, y: Rows) -> tuple[Vectors, Labels, Doubles]:  # noqa: N803
        """Set the classes; return centred rows, their classes from 0, and the centre."""
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            msg = f"a probe tells classes apart: two are needed, got {len(self.classes_)}"
            raise ProbeError(msg)
        centre = X.mean(axis=0, dtype=np.float64)
        return X - centre.astype(X.dtype), labels, centre.astype(X.dtype).astype(np.float64)

    def _keep(self, path: Path, centre: Doubles, factor: float = 1.0) -> Self:
        """Keep the first value of a path as coefficients of rows that are not centred."""
        coefficients = factor * (path.rotation @ path.coefficients[0])
        intercepts = factor * path.intercepts[0] - centre @ coefficients
        self.coef_ = np.ascontiguousarray(coefficients.T, dtype=np.float32)
        self.intercept_ = intercepts.astype(np.float32)
        return self


def _judge(logits: npt.NDArray[np.float32], truth: Labels) -> tuple[Doubles, Doubles]:
    """Return the number of right answers and the summed log-loss, each of shape (n_values,)."""
    best = logits.argmax(axis=2)
    highest = np.take_along_axis(logits, best[:, :, np.newaxis], axis=2)
    own = logits[np.arange(len(truth)), :, truth] - highest[:, :, 0]
    logits -= highest
    np.exp(logits, out=logits)
    losses = np.log(logits.sum(axis=2)) - own
    # A class without a training row has no probability at all; scikit-learn's log_loss clips so.
    np.minimum(losses, -np.log(np.finfo(np.float32).eps), out=losses)
    right = (best == truth[:, np.newaxis]).sum(axis=0)
    return right.astype(np.float64), losses.sum(axis=0, dtype=np.float64)
