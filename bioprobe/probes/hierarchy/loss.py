"""The loss of a softmax over leaves at every rank that a row is labelled at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bioprobe.probes.hierarchy.label_tree import LabelTree, Nodes

Floats = npt.NDArray[np.floating]


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
        labels: Nodes,
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
