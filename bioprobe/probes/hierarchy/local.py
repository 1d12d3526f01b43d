"""One classifier for each parent with several children, multiplied down the path."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from bioprobe.probes.hierarchy.label_tree import LabelTree, Nodes
from bioprobe.probes.hierarchy.loss import TreeLoss
from bioprobe.probes.hierarchy.solver import Eigenbasis, minimise_loss

Floats = npt.NDArray[np.floating]


def find_siblings(tree: LabelTree) -> list[Nodes]:
    """Return the children of each parent that has several, the root's first."""
    parents = tree.parents
    groups = (np.flatnonzero(parents == parent) for parent in range(-1, len(parents)))
    return [children for children in groups if len(children) > 1]


def fit_local(
    vectors: Floats, tree: LabelTree, labels: Nodes, c: float, *, max_iter: int, tol: float
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
        See :func:`bioprobe.probes.hierarchy.solver.minimise_loss`.

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
    for children in find_siblings(tree):
        place = np.full(n_nodes, -1, dtype=np.int64)
        place[children] = np.arange(len(children))
        which = np.where(labels >= 0, place[labels], -1).max(axis=1)
        rows = np.flatnonzero(which >= 0)
        loss = TreeLoss(_flat_tree(len(children)), which[rows, np.newaxis], np.ones(1), 0.0)
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
    for children in find_siblings(tree):
        among = logits[:, children]
        conditional[:, children] = among - logsumexp(among, axis=1, keepdims=True)
    above = tree.ancestors[: tree.n_leaves]
    return np.asarray((above @ conditional.T).T, dtype=logits.dtype)


def _flat_tree(n_leaves: int) -> LabelTree:
    names = np.array([[str(leaf)] for leaf in range(n_leaves)], dtype=object)
    return LabelTree.from_leaves(names)
