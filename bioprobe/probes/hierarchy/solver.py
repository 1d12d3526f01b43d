"""The minimum of a penalised loss of linear logits, found in the eigenbasis of the rows."""

from __future__ import annotations

import dataclasses
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Floats = npt.NDArray[np.floating]

# Directions of less variance than this, relative to the largest, are rounding in float32.
_NEGLIGIBLE = 1e-7
# Multiplications in one product that are worth a second thread.
_LEAST_WORK = 1e8


class Loss(Protocol):
    """Loss of the logits of rows."""

    def measure(self, logits: Floats) -> tuple[float, Floats]:
        """Return the loss and its gradient by the logits, which may be overwritten."""


@dataclasses.dataclass(frozen=True, eq=False)
class Eigenbasis:
    """Rows in the basis in which their covariance is diagonal.

    Parameters
    ----------
    mean : ndarray of float, shape (dim,)
        Mean row.
    directions : ndarray of float, shape (dim, n_directions)
        Orthonormal columns.
    variances : ndarray of float, shape (n_directions,)
        Of the rows along each direction.
    rows : ndarray of float, shape (n_rows, n_directions)
        The centred rows in this basis.
    """

    mean: Floats
    directions: Floats
    variances: Floats
    rows: Floats

    @classmethod
    def of(cls, vectors: Floats) -> Self:
        """Find the basis of vectors, shape (n_rows, dim), from the smaller Gram matrix."""
        n_rows, dim = vectors.shape
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        gram = centred @ centred.T if n_rows < dim else centred.T @ centred
        values, columns = eigh(gram.astype(np.float64))
        keep = values > max(values[-1], 0) * _NEGLIGIBLE
        columns = columns[:, keep]
        if n_rows < dim:
            columns = centred.T.astype(np.float64) @ columns / np.sqrt(values[keep])
        directions = columns.astype(vectors.dtype)
        variances = (values[keep] / n_rows).astype(vectors.dtype)
        return cls(mean, directions, variances, centred @ directions)


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """Logits as a linear function of vectors, and where the search for it ended.

    Parameters
    ----------
    weights : ndarray of float, shape (dim, n_classes)
    biases : ndarray of float, shape (n_classes,)
    objective : float
        Penalised loss, divided by the number of rows.
    n_steps : int
        Steps of the search.
    end : ndarray of float64, shape (n_directions + 1, n_classes)
        Weights and biases in the eigenbasis, to start a next search from.
    """

    weights: Floats
    biases: Floats
    objective: float
    n_steps: int
    end: npt.NDArray[np.float64]


def minimise_loss(
    basis: Eigenbasis,
    loss: Loss,
    n_classes: int,
    c: float,
    *,
    max_iter: int,
    tol: float,
    start: npt.NDArray[np.float64] | None = None,
) -> Fit:
    r"""Minimise a loss with an L2 penalty on the weights, not on the biases.

    .. math:: \frac{1}{n} \left( \mathrm{loss}(X W + b) + \frac{\|W\|^2}{2C} \right)

    The variables are scaled by the square root of a diagonal approximation of the Hessian, which
    in the eigenbasis is close to the Hessian itself: steps are then few for any penalty.

    Parameters
    ----------
    basis : Eigenbasis
        Of the training rows.
    loss : Loss
        Of their logits.
    n_classes : int
        Columns of the logits.
    c : float
        Inverse strength of the penalty, scikit-learn's ``C``.
    max_iter : int
        Steps at most.
    tol : float
        The search ends when no scaled partial derivative is larger.
    start : ndarray of float64, optional
        :attr:`Fit.end` of a search with another ``c``.
    """
    rows = basis.rows
    n_rows, n_directions = rows.shape
    shape = (n_directions + 1, n_classes)
    penalty = np.full(n_directions + 1, 1 / (c * n_rows))
    penalty[-1] = 0
    variances = np.append(basis.variances.astype(np.float64), 1.0)
    scale = (1 / np.sqrt(variances / n_classes + penalty))[:, np.newaxis]

    def measure(scaled: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        variables = scaled.reshape(shape) * scale
        used = variables.astype(rows.dtype)
        total, by_logits = loss.measure(rows @ used[:-1] + used[-1])
        gradient = np.empty(shape)
        gradient[:-1] = rows.T @ by_logits
        gradient[-1] = by_logits.sum(axis=0, dtype=np.float64)
        shrunk = penalty[:, np.newaxis] * variables
        value = total / n_rows + 0.5 * float((shrunk * variables).sum())
        return value, ((gradient / n_rows + shrunk) * scale).ravel()

    first = np.zeros(shape) if start is None else start / scale
    options = {"maxiter": max_iter, "gtol": tol, "ftol": 1e-9, "maxcor": 10}
    # Threads would wait for each other longer than they work on products so small.
    n_threads = 1 if rows.size * n_classes < _LEAST_WORK else None
    with threadpool_limits(n_threads, user_api="blas"):
        found = minimize(measure, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    end = found.x.reshape(shape) * scale
    weights = (basis.directions @ end[:-1].astype(rows.dtype)).astype(rows.dtype)
    biases = end[-1].astype(rows.dtype) - basis.mean @ weights
    return Fit(weights, biases, float(found.fun), int(found.nit), end)
