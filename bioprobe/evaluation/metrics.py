"""Metrics of answers: those that see classes as flat, and those that see the tree.

Each is a function of weighted rows, so one pass gives the metric and all of its bootstrap
resamples (:mod:`bioprobe.intervals`).

Conventions
-----------
- Macro means are over the classes that have a test row. A class that is predicted but has no test
  row counts in the precision of nothing; its rows are wrong all the same.
- A row whose class the method does not know is wrong, at any k: it stays in every denominator.
  Such a class has probability 0 everywhere, hence recall 0, F1 0 and AUROC .5.
- An answer of probability 0 is no answer. Of equal probabilities the class that comes first wins.
- A class that is never predicted has precision 0.
- Probabilities are compared as they are given: float32 ones that a sure method has let fall to 0
  are equal, and AUROC counts equal ones as half.

Of the tree, a wrong answer next to the truth is better than one far from it.


Conventions of the tree
-----------------------
- An answer is a node of the tree: a class, a node above (an answer that backed off), or the root,
  -1, which says nothing and is never wrong.
- An answer is right if it is the truth or lies above it.
- The height of a node is the number of ranks it stands above the lowest; that of the root is the
  number of ranks. Two species of one genus have a common node of height 1.
- A true class of -1 is one that the tree does not hold: nothing but the root is right.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.intervals import (
    Draws,
    Interval,
    Resamples,
    draw_scores,
    find_interval,
)
from bioprobe.probes.label_tree import LabelTree
from bioprobe.taxonomy import Rank, Taxonomy
from bioprobe.types import (
    Doubles,
    Floats,
    Places,
    Scores,
)

TREE_METRICS = (
    "hierarchical_precision",
    "hierarchical_recall",
    "hierarchical_f1",
    "right_or_above",
    "mistake_severity",
    "average_lca_height",
)
NODE_VALUES = ("depth", "information")


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


def _divide(part: Doubles, whole: Doubles) -> Doubles:
    """Divide; nothing out of nothing is all of it."""
    return np.divide(part, whole, out=np.ones_like(part), where=whole != 0)


def _average(weights: Floats, part: npt.NDArray[Any], counted: npt.NDArray[Any]) -> Doubles:
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ part.astype(np.float64)) / (weights @ counted.astype(np.float64))
    return np.asarray(means, dtype=np.float64)


FLAT_METRICS = (
    "accuracy",
    "top5",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "macro_precision",
    "macro_recall",
    "auroc",
    "log_loss",
    "ece",
)
N_BINS = 15
_TOP_K = 5
# scikit-learn clips probabilities at the resolution of their dtype; float32 is what probes give.
_LEAST_PROBABILITY = float(np.finfo(np.float32).eps)


def score_flat(
    truth: Places,
    probabilities: Floats,
    weights: Floats | None = None,
    *,
    metrics: Sequence[str] = FLAT_METRICS,
) -> dict[str, Doubles]:
    """Measure probabilities against the truth, for several weightings of the rows at once.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
        True class of each image; -1 where it is none of the columns, which is always wrong.
    probabilities : ndarray of float, shape (n_images, n_classes)
        Rows add up to 1.
    weights : ndarray of float, shape (n_weightings, n_images), optional
        Weight of each image ≥ 0, such as how often a resample drew it. By default one weighting,
        in which all images count the same.
    metrics : sequence of str
        Some of :data:`FLAT_METRICS`.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_weightings,)
        All but ``log_loss`` and ``ece`` are better when higher. Not a number where a weighting
        leaves nothing to measure.

    References
    ----------
    Brodersen et al. 2010, *The Balanced Accuracy and Its Posterior Distribution*; Provost and
    Domingos 2000, *Well-Trained PETs* (one-vs-rest AUROC); Guo et al. 2017, *On Calibration of
    Modern Neural Networks* (ECE of the best answer, bins of equal width).

    Examples
    --------
    >>> probabilities = np.array([[0.8, 0.2], [0.6, 0.4]])
    >>> scores = score_flat(np.array([0, 1]), probabilities, metrics=["accuracy", "auroc"])
    >>> {name: values.tolist() for name, values in scores.items()}
    {'accuracy': [0.5], 'auroc': [1.0]}
    """
    if weights is None:
        weights = np.ones((1, len(truth)), dtype=np.float32)
    found: dict[str, Doubles] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        found |= _score_rows(truth, probabilities, weights)
        found |= _score_classes(truth, probabilities, weights)
        if "ece" in metrics:
            found["ece"] = _measure_ece(truth, probabilities, weights)
        if "auroc" in metrics:
            found["auroc"] = _measure_auroc(truth, probabilities, weights)
    return {name: found[name] for name in metrics}


def find_best(probabilities: Floats) -> Places:
    """Return the most probable class of each image, the first of equal ones."""
    if not probabilities.shape[1]:
        return np.full(len(probabilities), -1, dtype=np.int64)
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def find_places(truth: Places, probabilities: Floats) -> Places:
    """Find the place of the true class among the answers, 0 for the best.

    Returns
    -------
    ndarray of int64, shape (n_images,)
        The number of classes where the true one has probability 0 or is none of them.
    """
    own = _take_own(truth, probabilities)[:, np.newaxis]
    before = np.arange(probabilities.shape[1]) < truth[:, np.newaxis]
    places = (probabilities > own).sum(axis=1) + ((probabilities == own) & before).sum(axis=1)
    return np.asarray(np.where(own[:, 0] > 0, places, probabilities.shape[1]), dtype=np.int64)


def _take_own(truth: Places, probabilities: Floats) -> Floats:
    """Return the probability of the true class, 0 where it is none of the columns."""
    known = truth >= 0
    own = np.zeros(len(truth), dtype=probabilities.dtype)
    own[known] = probabilities[known, truth[known]]
    return own


def _score_rows(truth: Places, probabilities: Floats, weights: Floats) -> dict[str, Doubles]:
    places = find_places(truth, probabilities)
    answered = probabilities.shape[1]
    own = np.clip(_take_own(truth, probabilities).astype(np.float64), _LEAST_PROBABILITY, 1)
    rows = np.stack([places < min(1, answered), places < min(_TOP_K, answered), -np.log(own)])
    means = _sum_products(weights, rows.T) / _total(weights)[:, np.newaxis]
    return dict(zip(("accuracy", "top5", "log_loss"), means.T, strict=True))


def _score_classes(truth: Places, probabilities: Floats, weights: Floats) -> dict[str, Doubles]:
    n_classes = probabilities.shape[1]
    predicted = find_best(probabilities)
    right = np.where(predicted == truth, truth, -1)
    n_true, n_predicted, n_right = (
        sum_by_class(weights, classes, n_classes) for classes in (truth, predicted, right)
    )
    present = n_true > 0
    recall = np.where(present, n_right / n_true, 0)
    precision = np.where(n_predicted > 0, n_right / n_predicted, 0)
    f1 = np.where(present, 2 * n_right / (n_true + n_predicted), 0)
    n_present = present.sum(axis=1)
    macro_recall = recall.sum(axis=1) / n_present
    return {
        "balanced_accuracy": macro_recall,
        "macro_recall": macro_recall,
        "macro_precision": (precision * present).sum(axis=1) / n_present,
        "macro_f1": f1.sum(axis=1) / n_present,
        # Over all rows: those of a class that is no column have an F1 of 0.
        "weighted_f1": (f1 * n_true).sum(axis=1) / _total(weights),
    }


def sum_by_class(weights: Floats, classes: Places, n_classes: int) -> Doubles:
    """Add up the weights of the rows of each class.

    Parameters
    ----------
    weights : ndarray of float, shape (n_weightings, n_images)
    classes : ndarray of int64, shape (n_images,)
        -1 is no class.
    n_classes : int

    Returns
    -------
    ndarray of float64, shape (n_weightings, n_classes)
    """
    sums = np.zeros((len(weights), n_classes))
    order = np.argsort(classes, kind="stable")
    order = order[classes[order] >= 0]
    present, starts = np.unique(classes[order], return_index=True)
    if len(present):
        sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1, dtype=np.float64)
    return sums


def _measure_ece(truth: Places, probabilities: Floats, weights: Floats) -> Doubles:
    if not probabilities.size:
        return np.full(len(weights), np.nan)
    confidence = probabilities.max(axis=1).astype(np.float64)
    # Bins are open below and closed above, so that a confidence of 1 has one.
    bins = np.clip(np.ceil(confidence * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)
    gaps = np.zeros((len(truth), N_BINS))
    gaps[np.arange(len(truth)), bins] = (find_best(probabilities) == truth) - confidence
    return np.asarray(np.abs(_sum_products(weights, gaps)).sum(axis=1) / _total(weights))


def _measure_auroc(truth: Places, probabilities: Floats, weights: Floats) -> Doubles:
    """Return the mean over classes of the probability that a row of the class scores higher."""
    by_image = np.ascontiguousarray(np.asarray(weights, dtype=np.float32).T)
    total = _total(weights)
    aurocs, n_measured = np.zeros(len(weights)), np.zeros(len(weights))
    for c in np.unique(truth[truth >= 0]).tolist():
        is_own = truth == c
        own, others = _weigh_scores(probabilities[:, c], is_own, by_image)
        n_own = by_image[is_own].sum(axis=0, dtype=np.float64)
        n_others = total - n_own
        # What scores below every row of the class is the rest: mostly nearly all, and not summed.
        lower = n_others - others[1:].sum(axis=0)
        below = lower + np.cumsum(others[1:], axis=0)[::2] - others[1::2]
        wins = (own * (below + others[1::2] / 2)).sum(axis=0)
        n_pairs = n_own * n_others
        measured = n_pairs > 0
        aurocs += np.where(measured, wins / n_pairs, 0)
        n_measured += measured
    return np.asarray(aurocs / n_measured)


def _weigh_scores(
    scores: Floats, is_own: npt.NDArray[np.bool_], by_image: Floats
) -> tuple[Doubles, Doubles]:
    """Add up the weights of rows by where their scores stand among those of one class.

    Parameters
    ----------
    scores : ndarray of float, shape (n_images,)
    is_own : ndarray of bool, shape (n_images,)
        Which rows are of the class.
    by_image : ndarray of float32, shape (n_images, n_weightings)

    Returns
    -------
    own : ndarray of float64, shape (n_scores, n_weightings)
        Of the rows of the class, by their distinct scores, ascending.
    others : ndarray of float64, shape (2 * n_scores + 1, n_weightings)
        Of the other rows: between two of these scores (even places), at one (odd places); place
        0, below all of them, is left at 0.
    """
    from scipy.sparse import csr_array

    steps, own_places = np.unique(scores[is_own], return_inverse=True)
    rivals = np.flatnonzero(~is_own & (scores >= steps[0]))
    asked = scores[rivals]
    places = np.searchsorted(steps, asked, "left") + np.searchsorted(steps, asked, "right")

    def add_up(places: Places, rows: Places, n_places: int) -> Doubles:
        ones = np.ones(len(rows), dtype=np.float32)
        chosen = csr_array((ones, (places, rows)), shape=(n_places, len(scores)))
        return np.asarray(chosen @ by_image, dtype=np.float64)

    own = add_up(own_places, np.flatnonzero(is_own), len(steps))
    return own, add_up(places, rivals, 2 * len(steps) + 1)


def _total(weights: Floats) -> Doubles:
    return np.asarray(weights.sum(axis=1, dtype=np.float64))


def _sum_products(weights: Floats, rows: Doubles) -> Doubles:
    return np.asarray(weights.astype(np.float64) @ rows)


# Of answers that never back off, right or above is accuracy again.
METRICS = (*FLAT_METRICS, *(name for name in TREE_METRICS if name != "right_or_above"))
CALIBRATED = ("ece_calibrated", "log_loss_calibrated")
LOWER_IS_BETTER = frozenset(
    {"log_loss", "ece", "mistake_severity", "average_lca_height", *CALIBRATED}
)
# Resampling shifts these, so the shift is taken back: see find_interval.
_SHIFTED = frozenset({"macro_f1", "macro_precision", "ece", "ece_calibrated"})


def draw_method_scores(
    truth: Places,
    probabilities: Scores,
    calibrated: Scores | None,
    tree: LabelTree,
    resamples: Resamples,
) -> dict[str, Draws]:
    """Measure a method on all images and on each resample.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
        True class of each image.
    probabilities : ndarray of float32, shape (n_images, n_classes)
        As they come.
    calibrated : ndarray of float32, shape (n_images, n_classes), or None
        Calibrated.
    tree : LabelTree
        Of the classes.
    resamples : Resamples
        Of the images.

    Returns
    -------
    dict of str to Draws
        :data:`METRICS`, and :data:`CALIBRATED` where probabilities were calibrated.
    """
    rows = measure_rows(truth, find_best(probabilities), tree)

    def score(weights: Scores) -> Mapping[str, npt.NDArray[np.float64]]:
        found = {**score_flat(truth, probabilities, weights), **score_tree(rows, weights)}
        if calibrated is not None:
            again = score_flat(truth, calibrated, weights, metrics=("ece", "log_loss"))
            found |= {f"{name}_calibrated": values for name, values in again.items()}
        return {name: found[name] for name in (*METRICS, *CALIBRATED) if name in found}

    return draw_scores(score, resamples)


def find_intervals(draws: Mapping[str, Draws]) -> dict[str, Interval]:
    """Find the interval of each figure, of 95%."""
    found = {}
    for name, of in draws.items():
        if name in _SHIFTED:
            interval = find_interval(of, method="basic")
            found[name] = Interval(of.estimate, _bound(interval.low), _bound(interval.high))
        else:
            found[name] = find_interval(of)
    return found


def _bound(end: float) -> float:
    return end if math.isnan(end) else min(1.0, max(0.0, end))


def build_tree(classes: Taxonomy, rank: Rank) -> LabelTree:
    """Build the tree of classes from kingdom down to their rank, in their order."""
    ranks = rank.depth + 1
    leaves = np.empty((len(classes), ranks), dtype=object)
    for place, taxon in enumerate(classes):
        leaves[place] = taxon.lineage[:ranks]
    return LabelTree.from_leaves(leaves)
