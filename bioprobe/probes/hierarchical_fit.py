"""The minimum of a penalised loss of linear logits, found in the eigenbasis of the rows."""

from __future__ import annotations

import dataclasses
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.special import logsumexp

from bioprobe.cores import limit_products
from bioprobe.probes.label_tree import LabelTree
from bioprobe.types import Floats, Places

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
    n_steps : int
        Steps of the search.
    end : ndarray of float64, shape (n_directions + 1, n_classes)
        Weights and biases in the eigenbasis, to start a next search from.
    """

    weights: Floats
    biases: Floats
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
    with limit_products(n_threads):
        found = minimize(measure, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    end = found.x.reshape(shape) * scale
    weights = (basis.directions @ end[:-1].astype(rows.dtype)).astype(rows.dtype)
    biases = end[-1].astype(rows.dtype) - basis.mean @ weights
    return Fit(weights, biases, int(found.nit), end)


class TreeLoss:
    r"""Sum over rows and ranks of the negative log-probability of the true node.

    .. math:: \sum_i \sum_r w_r \; {-\log} \sum_{l \in \mathrm{node}_r(i)} p_{il}

    At the lowest rank the target may be spread over leaves by their height in the tree.

    Parameters
    ----------
    tree : LabelTree
        The leaves.
    labels : ndarray of int64, shape (n_rows, n_ranks)
        Node of each row at each rank, -1 where unknown: that rank asks nothing of the row.
    rank_weights : ndarray of float64, shape (n_ranks,)
        Weight of the loss at each rank, ≥ 0.
    smoothing : float
        Spread of the targets; 0 puts all on the true leaf.

    References
    ----------
    Bertinetto et al. 2020, *Making Better Mistakes: Leveraging Class Hierarchies with Deep
    Networks* (soft labels).
    """

    def __init__(
        self,
        tree: LabelTree,
        labels: Places,
        rank_weights: npt.NDArray[np.float64],
        smoothing: float,
    ) -> None:
        members = tree.ancestors[: tree.n_leaves].T.toarray().astype(np.float32)
        # The last line is that of a row whose rank is unknown: no leaf is asked for.
        self._members = np.vstack([members, np.zeros((1, tree.n_leaves), dtype=np.float32)])
        self._uppers = [
            (float(weight), nodes, np.flatnonzero(nodes >= 0))
            for weight, nodes in zip(rank_weights[:-1], labels[:, :-1].T, strict=True)
            if weight and (nodes >= 0).any()
        ]
        self._leaf_weight = float(rank_weights[-1])
        self._known = np.flatnonzero(labels[:, -1] >= 0)
        self._leaves = labels[self._known, -1]
        self._soft = soften_targets(tree, smoothing) if smoothing else None
        self._row_weights = (labels >= 0) @ rank_weights

    def measure(self, logits: Floats) -> tuple[float, Floats]:
        """Return the loss and its gradient.

        Parameters
        ----------
        logits : ndarray of float, shape (n_rows, n_leaves)
            Overwritten.

        Returns
        -------
        loss : float
        gradient : ndarray of float, shape (n_rows, n_leaves)
        """
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits)
        totals = probabilities.sum(axis=1, keepdims=True)
        logits -= np.log(totals)
        probabilities /= totals
        dtype = probabilities.dtype
        gradient = probabilities * self._row_weights.astype(dtype)[:, np.newaxis]
        loss = self._take_leaves(logits, gradient)
        for weight, nodes, known in self._uppers:
            inside = self._members[nodes].astype(dtype, copy=False)
            inside *= probabilities
            # A trial step far off may leave nothing in float32.
            sums = np.maximum(inside.sum(axis=1), np.finfo(dtype).tiny)
            loss -= weight * float(np.log(sums[known]).sum(dtype=np.float64))
            inside *= (weight / sums)[:, np.newaxis].astype(dtype)
            gradient -= inside
        return loss, gradient

    def _take_leaves(self, logs: Floats, gradient: Floats) -> float:
        """Take the targets at the lowest rank off the gradient; return the loss there."""
        weight, rows = self._leaf_weight, self._known
        if self._soft is None:
            gradient[rows, self._leaves] -= gradient.dtype.type(weight)
            return -weight * float(logs[rows, self._leaves].sum(dtype=np.float64))
        targets = (weight * self._soft).astype(gradient.dtype)[self._leaves]
        gradient[rows] -= targets
        return -float(np.einsum("ij,ij->", logs[rows], targets, dtype=np.float64))


def soften_targets(tree: LabelTree, smoothing: float) -> npt.NDArray[np.float64]:
    r"""Spread the target of each leaf over the others by the height of their common node.

    .. math:: y_l \propto \exp\left(-\frac{h(l, \mathrm{true})}{n_\mathrm{ranks} \, s}\right)

    Parameters
    ----------
    tree : LabelTree
        The leaves.
    smoothing : float
        The :math:`s` above, 1/β of the paper, ≥ 0; 0 puts all on the true leaf.

    Returns
    -------
    ndarray of float64, shape (n_leaves, n_leaves)
        Rows add up to 1.
    """
    if smoothing == 0:
        return np.eye(tree.n_leaves)
    powers = np.exp(-measure_leaf_heights(tree) / (tree.n_ranks * smoothing))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def measure_leaf_heights(tree: LabelTree) -> npt.NDArray[np.int64]:
    """Return the height of the lowest common node of any two leaves.

    Returns
    -------
    ndarray of int64, shape (n_leaves, n_leaves)
        0 on the diagonal, ``n_ranks`` where only the root is common.
    """
    leaves = np.arange(tree.n_leaves)
    one, other = (side.ravel() for side in np.meshgrid(leaves, leaves, indexing="ij"))
    heights = tree.measure_heights(tree.find_common(one, other))
    return heights.reshape(tree.n_leaves, tree.n_leaves)


def _find_siblings(tree: LabelTree) -> list[Places]:
    """Return the children of each parent that has several, the root's first."""
    parents = tree.parents
    groups = (np.flatnonzero(parents == parent) for parent in range(-1, len(parents)))
    return [children for children in groups if len(children) > 1]


def fit_local(
    vectors: Floats, tree: LabelTree, labels: Places, c: float, *, max_iter: int, tol: float
) -> tuple[Floats, Floats, int]:
    """Fit a multinomial logistic regression among the children of each parent.

    Each learns from the rows whose label is one of the children or lies below it.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_rows, dim)
        Training rows.
    tree : LabelTree
        Whose nodes are told apart.
    labels : ndarray of int64, shape (n_rows, n_ranks)
        Node of each row at each rank, -1 where unknown.
    c : float
        Inverse strength of the penalty on each, scikit-learn's ``C``.
    max_iter : int
        Steps of each at most.
    tol : float
        See :func:`bioprobe.probes.hierarchical_fit.minimise_loss`.

    Returns
    -------
    weights : ndarray of float, shape (dim, n_nodes)
        Zeros for a node without siblings.
    biases : ndarray of float, shape (n_nodes,)
    n_steps : int
        Steps of all searches together.

    References
    ----------
    Silla and Freitas 2011, *A survey of hierarchical classification across different application
    domains* (local classifier per parent node).
    """
    n_nodes = len(tree.paths)
    weights = np.zeros((vectors.shape[1], n_nodes), dtype=vectors.dtype)
    biases = np.zeros(n_nodes, dtype=vectors.dtype)
    n_steps = 0
    for children in _find_siblings(tree):
        place = np.full(n_nodes, -1, dtype=np.int64)
        place[children] = np.arange(len(children))
        which = np.where(labels >= 0, place[labels], -1).max(axis=1)
        rows = np.flatnonzero(which >= 0)
        loss = TreeLoss(LabelTree.flat(len(children)), which[rows, np.newaxis], np.ones(1), 0.0)
        fit = minimise_loss(
            Eigenbasis.of(vectors[rows]), loss, len(children), c, max_iter=max_iter, tol=tol
        )
        weights[:, children], biases[children] = fit.weights, fit.biases
        n_steps += fit.n_steps
    return weights, biases, n_steps


def multiply_paths(tree: LabelTree, logits: Floats) -> Floats:
    """Return the log-probabilities of the leaves from the logits of all nodes.

    Parameters
    ----------
    tree : LabelTree
        The leaves.
    logits : ndarray of float, shape (n_images, n_nodes)
        Comparable among the children of one parent.

    Returns
    -------
    ndarray of float, shape (n_images, n_leaves)
    """
    conditional = np.zeros_like(logits)
    for children in _find_siblings(tree):
        among = logits[:, children]
        conditional[:, children] = among - logsumexp(among, axis=1, keepdims=True)
    above = tree.ancestors[: tree.n_leaves]
    return np.asarray((above @ conditional.T).T, dtype=logits.dtype)
