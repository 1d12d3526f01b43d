"""Metrics that see the tree: a wrong answer next to the truth is better than one far from it.

Conventions
-----------
- An answer is a node of the tree: a class, a node above (an answer that backed off), or the root,
  -1, which says nothing and is never wrong.
- An answer is right if it is the truth or lies above it.
- The height of a node is the number of ranks it stands above the lowest; that of the root is the
  number of ranks. Two species of one genus have a common node of height 1.
- A true class of -1 is one that the tree does not hold: nothing but the root is right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.probes.label_tree import LabelTree
from bioprobe.types import Doubles, Floats, Places

TREE_METRICS = (
    "hierarchical_precision",
    "hierarchical_recall",
    "hierarchical_f1",
    "right_or_above",
    "mistake_severity",
    "average_lca_height",
)
NODE_VALUES = ("depth", "information")
# Float32 sums of a certain answer may end just below 1.
_ROUNDING = 1e-6


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
    """

    shared: Doubles
    answered: Doubles
    wanted: Doubles
    heights: Places
    is_right: npt.NDArray[np.bool_]

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
        ``average_lca_height``, over all: of these two lower is better. Not a number where a
        weighting leaves nothing to average.
    """
    if weights is None:
        weights = np.ones((1, len(rows.heights)))
    everything = np.ones(len(rows.heights))
    wrong = ~rows.is_right
    parts = {
        "hierarchical_precision": (rows.precisions, everything),
        "hierarchical_recall": (rows.recalls, everything),
        "hierarchical_f1": (rows.f1s, everything),
        "right_or_above": (rows.is_right, everything),
        "mistake_severity": (rows.heights * wrong, wrong),
        "average_lca_height": (rows.heights, everything),
    }
    return {name: _average(weights, *parts[name]) for name in TREE_METRICS}


@dataclasses.dataclass(frozen=True, eq=False)
class OperatingCurve:
    """What is gained in correctness where answers back off, and what it costs in detail.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (n_thresholds,)
        Ascending.
    correct_fractions : ndarray of float64, shape (n_thresholds,)
        Fraction of the images whose answer is the truth or lies above it; the root counts.
    informations : ndarray of float64, shape (n_thresholds,)
        Mean information of the answers, in bits; 0 for the root.
    true_informations : ndarray of float64, shape (n_thresholds,)
        Mean information of what answer and truth have in common, in bits.
    class_fractions : ndarray of float64, shape (n_thresholds,)
        Fraction of the images answered with a class.
    """

    thresholds: Doubles
    correct_fractions: Doubles
    informations: Doubles
    true_informations: Doubles
    class_fractions: Doubles

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return {
            field.name: getattr(self, field.name).tolist() for field in dataclasses.fields(self)
        }


def trace_operating_curve(
    truth: Places,
    probabilities: Floats,
    tree: LabelTree,
    thresholds: Sequence[float] | Doubles | None = None,
) -> OperatingCurve:
    """Back off at many thresholds.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
        True class of each image; -1 where the tree does not hold it.
    probabilities : ndarray of float, shape (n_images, n_classes)
        Of the classes; rows add up to 1.
    tree : LabelTree
        Of the classes.
    thresholds : sequence of float, optional
        Probabilities in any order; 0 to 1 in steps of 0.01 by default.

    References
    ----------
    Valmadre 2022, *Hierarchical classification at multiple operating points*.
    """
    wanted = np.linspace(0, 1, 101) if thresholds is None else thresholds
    asked = np.sort(np.asarray(wanted, dtype=np.float64))
    nodes, best = _find_best_nodes(probabilities, tree)
    columns = []
    for threshold in asked:
        answers = _cut_paths(nodes, best, float(threshold))
        rows = measure_rows(truth, answers, tree)
        is_class = (answers >= 0) & (answers < tree.n_leaves)
        columns.append([rows.is_right, rows.answered, rows.shared, is_class])
    if not len(truth):
        means = np.full((len(asked), 4), np.nan)
    else:
        means = np.array(columns, dtype=np.float64).mean(axis=2).reshape(len(asked), 4)
    return OperatingCurve(asked, *means.T)


def _find_best_nodes(probabilities: Floats, tree: LabelTree) -> tuple[Places, Floats]:
    """Return the most probable node at each rank and its probability, (n_images, n_ranks)."""
    nodes = np.full((len(probabilities), tree.n_ranks), -1, dtype=np.int64)
    best = np.full(nodes.shape, -np.inf)
    for rank in range(tree.n_ranks):
        at_rank = tree.nodes_at(rank)
        if len(at_rank) and len(probabilities):
            sums = tree.sum_at(rank, probabilities)
            nodes[:, rank] = at_rank[sums.argmax(axis=1)]
            best[:, rank] = sums.max(axis=1)
    return nodes, best


def _cut_paths(nodes: Places, best: Floats, threshold: float) -> Places:
    passes = best >= threshold - _ROUNDING
    deepest = nodes.shape[1] - 1 - passes[:, ::-1].argmax(axis=1)
    return np.where(passes.any(axis=1), nodes[np.arange(len(nodes)), deepest], -1)


def _divide(part: Doubles, whole: Doubles) -> Doubles:
    """Divide; nothing out of nothing is all of it."""
    return np.divide(part, whole, out=np.ones_like(part), where=whole != 0)


def _average(weights: Floats, part: npt.NDArray[Any], counted: npt.NDArray[Any]) -> Doubles:
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ part.astype(np.float64)) / (weights @ counted.astype(np.float64))
    return np.asarray(means, dtype=np.float64)
