"""The loss of a softmax over leaves at every rank that a row is labelled at."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bioprobe.probes.hierarchy.label_tree import LabelTree, Nodes

Floats = npt.NDArray[np.floating]


@dataclasses.dataclass(frozen=True, eq=False)
class _Path:
    """The rows of one label, and what the loss asks of them."""

    rows: slice
    target: npt.NDArray[np.float64] | None
    uppers: tuple[tuple[float, Nodes], ...]


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

    Attributes
    ----------
    order : ndarray of int64, shape (n_rows,)
        The logits must come in this order of the rows, in which equal labels are together.

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
        paths, of_row, counts = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
        self.order: Nodes = np.argsort(of_row.ravel(), kind="stable")
        ends = np.cumsum(counts)
        soft = soften_targets(tree, smoothing)
        self._paths = [
            _Path(
                slice(int(end - count), int(end)),
                rank_weights[-1] * soft[path[-1]] if path[-1] >= 0 and rank_weights[-1] else None,
                tuple(
                    (float(weight), tree.leaves_below(node))
                    for weight, node in zip(rank_weights[:-1], path[:-1], strict=True)
                    if node >= 0 and weight
                ),
            )
            for path, count, end in zip(paths, counts, ends, strict=True)
        ]

    def measure(self, logits: Floats) -> tuple[float, Floats]:
        """Return the loss and its gradient.

        Parameters
        ----------
        logits : ndarray of float, shape (n_rows, n_leaves)
            Rows in :attr:`order`; overwritten.

        Returns
        -------
        loss : float
        gradient : ndarray of float, shape (n_rows, n_leaves)
        """
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        totals = powers.sum(axis=1, keepdims=True)
        log_totals = np.log(totals)
        powers /= totals
        loss = 0.0
        tiny = np.finfo(powers.dtype).tiny
        for path in self._paths:
            rows = path.rows
            probabilities = powers[rows]
            gradient = logits[rows]
            weight = sum(weight for weight, _ in path.uppers)
            target: npt.NDArray[np.float64] | float = 0.0
            if path.target is not None:
                target = path.target
                weight += float(target.sum())
                wanted = gradient.astype(np.float64) @ target
                loss += float(target.sum() * log_totals[rows].sum(dtype=np.float64) - wanted.sum())
            np.multiply(probabilities, weight, out=gradient)
            gradient -= np.asarray(target, dtype=gradient.dtype)
            for rank_weight, leaves in path.uppers:
                inside = probabilities[:, leaves]
                # A trial step far off may leave nothing in float32.
                sums = np.maximum(inside.sum(axis=1, keepdims=True), tiny)
                loss -= rank_weight * float(np.log(sums).sum(dtype=np.float64))
                gradient[:, leaves] -= rank_weight * inside / sums
        return loss, logits


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
