"""Metrics of answers that see the tree: an answer next to the truth is better than one far off.

Conventions
-----------
- An answer is a node of the tree: a class, a node above (an answer that backed off), or the root,
  -1, which says nothing and is never wrong.
- An answer is right if it is the truth or lies above it.
- The height of a node is the number of ranks it stands above the lowest; that of the root is the
  number of ranks. Two species of one genus have a common node of height 1. A rank at which no class
  has a name is none.
- A true class of -1 is one that the tree does not hold: nothing but the root is right.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.evaluation.metrics import find_best
from bioprobe.evaluation.weighted_rows import sum_products, sum_weights
from bioprobe.probes.label_tree import LabelTree
from bioprobe.task.scores import split_rows
from bioprobe.task.target import Classes
from bioprobe.types import Doubles, Floats, Mask, Places

CONSISTENCY = ("hierarchical_consistent_accuracy", "top_down_consistency")
_OF_ANSWERS = (
    "hierarchical_precision",
    "hierarchical_recall",
    "hierarchical_f1",
    "right_or_above",
    "mistake_severity",
    "average_lca_height",
)
TREE_METRICS = (*_OF_ANSWERS, *CONSISTENCY)
NODE_VALUES = ("depth", "information")


def build_tree(classes: Classes) -> LabelTree | None:
    """Build the tree of classes from kingdom down to their rank, in their order.

    Ranks at which no class has a name are left out, so that no mistake is the more severe for them.
    None is returned where they are no taxa, and so have none.
    """
    if classes.rank is None:
        return None
    ranks = classes.rank.depth + 1
    leaves = np.empty((len(classes), ranks), dtype=object)
    for place, taxon in enumerate(classes):
        leaves[place] = taxon.lineage[:ranks]
    return LabelTree.from_leaves(leaves[:, (leaves != "").any(axis=0)])


@dataclasses.dataclass(frozen=True, eq=False)
class TreeRows:
    """What each image adds to the metrics, so that they can be resampled.

    Parameters
    ----------
    shared : ndarray of float64, shape (n_images,)
        Value of the lowest common node of answer and truth.
    answered : ndarray of float64, shape (n_images,)
        Value of the answer.
    wanted : ndarray of float64, shape (n_images,)
        Value of the truth; not a number where the tree does not hold it.
    heights : ndarray of int64, shape (n_images,)
        Height of the lowest common node.
    is_right : ndarray of bool, shape (n_images,)
        Whether the answer is the truth or lies above it.
    is_consistent : ndarray of bool, shape (n_images,), optional
        What :func:`find_consistent` returns, where answers are the most probable classes.
    """

    shared: Doubles
    answered: Doubles
    wanted: Doubles
    heights: Places
    is_right: npt.NDArray[np.bool_]
    is_consistent: Mask | None = None

    @property
    def precisions(self) -> Doubles:
        """Part of the answer that is true; 1 for one that says nothing."""
        return _divide(self.shared, self.answered)

    @property
    def recalls(self) -> Doubles:
        """Part of the truth that is answered; 0 where the tree does not hold it."""
        return np.nan_to_num(_divide(self.shared, self.wanted))

    @property
    def f1s(self) -> Doubles:
        """Harmonic mean of the two."""
        return np.nan_to_num(_divide(2 * self.shared, self.answered + self.wanted))

    @property
    def names(self) -> list[str]:
        """Those of :data:`TREE_METRICS` that can be told."""
        known = TREE_METRICS if self.is_consistent is not None else _OF_ANSWERS
        return list(known)

    @cached_property
    def shares(self) -> Doubles:
        """What each image adds to the sum of each of these, shape (n_images, n_names)."""
        parts = [
            self.precisions, self.recalls, self.f1s, self.is_right, self.heights * ~self.is_right,
            self.heights,
        ]  # fmt: skip
        if self.is_consistent is not None:
            parts += [self.is_right & self.is_consistent, self.is_consistent]
        return np.stack(parts, axis=1).astype(np.float64)

    def take(self, kept: Mask) -> TreeRows:
        """Return what some of the images add."""
        return TreeRows(
            self.shared[kept], self.answered[kept], self.wanted[kept], self.heights[kept],
            self.is_right[kept], None if self.is_consistent is None else self.is_consistent[kept],
        )  # fmt: skip


def measure_rows(
    truth: Places, answers: Places, tree: LabelTree, value: str = "information"
) -> TreeRows:
    r"""Compare answers with the truth on the tree, image by image.

    Precision is :math:`v(\mathrm{common}) / v(\mathrm{answer})` and recall
    :math:`v(\mathrm{common}) / v(\mathrm{truth})` of the lowest common node.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
        True class of each image; -1 where the tree does not hold it.
    answers : ndarray of int64, shape (n_images,)
        Node of each answer: a class, a node above, or -1, the root.
    tree : LabelTree
        Of the classes, :meth:`LabelTree.from_leaves`.
    value : str
        ``depth``, the number of nodes from the root, or ``information``, −log2 of the fraction of
        the classes that lie below, in bits.

    References
    ----------
    Kiritchenko et al. 2006, *Learning and evaluation in the presence of class hierarchies*
    (depth); Valmadre 2022, *Hierarchical classification at multiple operating points*
    (information); Bertinetto et al. 2020, *Making Better Mistakes* (heights).

    Examples
    --------
    >>> tree = LabelTree.from_leaves(np.array([["cats", "lion"], ["cats", "lynx"],
    ...                                        ["dogs", "wolf"]], dtype=object))
    >>> rows = measure_rows(np.array([0, 0]), np.array([1, 2]), tree, "depth")
    >>> rows.precisions.tolist(), rows.heights.tolist()
    ([0.5, 0.0], [1, 2])
    """
    values = weigh_nodes(tree, value)
    common = tree.find_common(truth, answers)
    wanted = np.where(truth >= 0, values[truth], np.nan)
    return TreeRows(
        values[common], values[answers], wanted, tree.measure_heights(common), common == answers
    )


def weigh_nodes(tree: LabelTree, value: str) -> Doubles:
    """Return what each node is worth, the root's nothing last, so that -1 is the root.

    Parameters
    ----------
    tree : LabelTree
        Whose nodes are weighed.
    value : str
        ``depth`` or ``information``.

    Returns
    -------
    ndarray of float64, shape (n_nodes + 1,)
    """
    if value == "depth":
        return np.append((tree.paths >= 0).sum(axis=1), 0).astype(np.float64)
    if value == "information":
        # A class above another one has that one below it, and the root has both.
        return np.append(-np.log2(tree.leaf_counts / tree.n_leaves), 0.0)
    msg = f"a node is valued by {' or '.join(NODE_VALUES)}, got {value!r}"
    raise SelectionError(msg)


def find_consistent(probabilities: Floats, tree: LabelTree) -> Mask:
    """Tell whether the best class and the best taxon of each rank above lie on one path.

    The probability of a taxon is the sum over the classes below it; of equal ones each is best. A
    rank at which the best class has no name says nothing.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n_images, n_classes)
    tree : LabelTree
        Of the classes.

    Returns
    -------
    ndarray of bool, shape (n_images,)

    Examples
    --------
    >>> tree = LabelTree.from_leaves(np.array([["cats", "lion"], ["cats", "lynx"],
    ...                                        ["dogs", "wolf"]], dtype=object))
    >>> find_consistent(np.array([[0.5, 0.1, 0.4], [0.3, 0.3, 0.4]]), tree).tolist()
    [True, False]
    """
    found = np.ones(len(probabilities), dtype=bool)
    for part in split_rows(*probabilities.shape):
        found[part] = _find_consistent(probabilities[part], tree)
    return found


def _find_consistent(probabilities: Floats, tree: LabelTree) -> Mask:
    from scipy.sparse import csr_array

    best = find_best(probabilities)
    found = np.ones(len(probabilities), dtype=bool)
    for above in tree.paths[: tree.n_leaves, :-1].T:
        leaves = np.flatnonzero(above >= 0)
        if not len(leaves):
            continue
        _, places = np.unique(above[leaves], return_inverse=True)
        ones = np.ones(len(leaves))
        below = csr_array((ones, (places, leaves)), shape=(places.max() + 1, tree.n_leaves))
        of_leaf = np.full(tree.n_leaves, -1)
        of_leaf[leaves] = places
        own = of_leaf[best]
        for part in split_rows(*probabilities.shape):
            sums = below @ probabilities[part].T.astype(np.float64)
            has_best = sums[own[part], np.arange(sums.shape[1])] >= sums.max(axis=0)
            found[part] &= (own[part] < 0) | has_best
    return found


def score_tree(rows: TreeRows, weights: Floats | None = None) -> dict[str, Doubles]:
    """Average over images, for several weightings of them at once.

    Parameters
    ----------
    rows : TreeRows
        What each image adds.
    weights : ndarray of float, shape (n_weightings, n_images), optional
        Weight of each image ≥ 0, such as how often a resample drew it. By default one weighting,
        in which all images count the same.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_weightings,)
        The mean over images of precision, recall and F1; ``right_or_above``, the fraction right;
        ``mistake_severity``, the mean height over the images that are not right, and
        ``average_lca_height``, over all: of these two lower is better. Where it is known what is
        consistent, ``top_down_consistency`` is the share of images whose best taxon at each rank
        lies above the best class, and ``hierarchical_consistent_accuracy`` that of images in which
        all of these are right. Not a number where a weighting leaves nothing to average.

    References
    ----------
    Wu, Ho and Vasconcelos 2024, *ProTeCt: Prompt Tuning for Taxonomic Open Set Classification*
    (hierarchical consistent accuracy).
    """
    if weights is None:
        weights = np.ones((1, len(rows.heights)))
    # Only the severity is of the images that are wrong alone.
    wrong = (~rows.is_right).astype(np.float64)
    counts = {"mistake_severity": sum_products(weights, wrong[:, np.newaxis])[:, 0]}
    n_all = sum_weights(weights)
    sums = sum_products(weights, rows.shares).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            name: total / counts.get(name, n_all)
            for name, total in zip(rows.names, sums, strict=True)
        }


def _divide(part: Doubles, whole: Doubles) -> Doubles:
    """Divide; nothing out of nothing is all of it."""
    return np.divide(part, whole, out=np.ones_like(part), where=whole != 0)
