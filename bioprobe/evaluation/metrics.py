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


Conventions of two classes
--------------------------
- One of the two is positive: the one that is looked for. An image that is not of it is negative.
- What is not defined is not a number, never 0 or 1: recall without a positive image, specificity
  without a negative one, the other figures without both; precision also where nothing is answered
  with the positive class. F1 is then 0: all that was looked for is missed.


Conventions of the tree
-----------------------
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
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

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
from bioprobe.task.lazy_rows import iter_parts
from bioprobe.task.scores import split_rows
from bioprobe.task.target import Classes
from bioprobe.types import (
    Doubles,
    Floats,
    Mask,
    Places,
    Scores,
)

CONSISTENCY = ("hierarchical_consistent_accuracy", "top_down_consistency")
TREE_METRICS = (
    "hierarchical_precision",
    "hierarchical_recall",
    "hierarchical_f1",
    "right_or_above",
    "mistake_severity",
    "average_lca_height",
    *CONSISTENCY,
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
    if rows.is_consistent is not None:
        found = (rows.is_right & rows.is_consistent, rows.is_consistent)
        parts |= {name: (part, everything) for name, part in zip(CONSISTENCY, found, strict=True)}
    names = [name for name in TREE_METRICS if name in parts]
    columns = [np.stack([parts[name][at] for name in names], axis=1) for at in (0, 1)]
    sums, counts = (_sum_products(weights, one.astype(np.float64)) for one in columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        return dict(zip(names, (sums / counts).T, strict=True))


def _divide(part: Doubles, whole: Doubles) -> Doubles:
    """Divide; nothing out of nothing is all of it."""
    return np.divide(part, whole, out=np.ones_like(part), where=whole != 0)


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
    rows: FlatRows | None = None,
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
    rows : FlatRows, optional
        From :func:`measure_flat` of the same, where they are weighed several times.

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
        known = measure_flat(truth, probabilities) if rows is None else rows
        found |= _score_rows(known, weights)
        found |= _score_classes(truth, known, weights)
        if "ece" in metrics:
            found["ece"] = _measure_ece(truth, known, weights)
        if "auroc" in metrics:
            found["auroc"] = _measure_auroc(known.ranks, weights)
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
    places = np.empty(len(truth), dtype=np.int64)
    for part in split_rows(*probabilities.shape):
        places[part] = _find_places(truth[part], probabilities[part])
    return places


def _find_places(truth: Places, probabilities: Floats) -> Places:
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


@dataclasses.dataclass(frozen=True, eq=False)
class FlatRows:
    """What figures of answers need of each image, found once however often images are weighed.

    Parameters
    ----------
    n_classes : int
    places : ndarray of int64, shape (n_images,)
        From :func:`find_places`.
    own : ndarray of float, shape (n_images,)
        Probability of the true class, 0 where it is none of the columns.
    predicted : ndarray of int64, shape (n_images,)
        From :func:`find_best`.
    confidence : ndarray of float64, shape (n_images,)
        Probability of that; empty where there are no classes.
    ranks : ClassRanks
        Of the classes that images have.
    """

    n_classes: int
    places: Places
    own: Floats
    predicted: Places
    confidence: Doubles
    ranks: ClassRanks


def measure_flat(truth: Places, probabilities: Floats) -> FlatRows:
    """Measure each image once for figures that are weighed many times, by :func:`score_flat`."""
    sure = probabilities.max(axis=1) if probabilities.size else np.zeros(0)
    return FlatRows(
        probabilities.shape[1], find_places(truth, probabilities),
        _take_own(truth, probabilities), find_best(probabilities), sure.astype(np.float64),
        ClassRanks(truth, probabilities),
    )  # fmt: skip


def _score_rows(known: FlatRows, weights: Floats) -> dict[str, Doubles]:
    places, answered = known.places, known.n_classes
    own = np.clip(known.own.astype(np.float64), _LEAST_PROBABILITY, 1)
    rows = np.stack([places < min(1, answered), places < min(_TOP_K, answered), -np.log(own)])
    means = _sum_products(weights, rows.T) / _total(weights)[:, np.newaxis]
    return dict(zip(("accuracy", "top5", "log_loss"), means.T, strict=True))


def _score_classes(truth: Places, known: FlatRows, weights: Floats) -> dict[str, Doubles]:
    n_classes, predicted = known.n_classes, known.predicted
    right = np.where(predicted == truth, truth, -1)
    n_true, n_predicted, n_right = (
        _sum_by_class(weights, classes, n_classes) for classes in (truth, predicted, right)
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


def _sum_by_class(weights: Floats, classes: Places, n_classes: int) -> Doubles:
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
    # Place 0 takes what is no class.
    sums = [np.bincount(classes + 1, row, n_classes + 1)[1:] for row in weights]
    return np.stack(sums) if sums else np.zeros((0, n_classes))


def _measure_ece(truth: Places, known: FlatRows, weights: Floats) -> Doubles:
    confidence = known.confidence
    if not len(confidence):
        return np.full(len(weights), np.nan)
    gaps = np.zeros((len(confidence), N_BINS))
    right = known.predicted == truth
    gaps[np.arange(len(confidence)), _find_bins(confidence)] = right - confidence
    return np.asarray(np.abs(_sum_products(weights, gaps)).sum(axis=1) / _total(weights))


def _find_bins(confidence: Doubles) -> Places:
    # Bins are open below and closed above, so that a confidence of 1 has one.
    return np.clip(np.ceil(confidence * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)


def _measure_auroc(ranks: ClassRanks, weights: Floats) -> Doubles:
    """Return the mean over classes of the probability that a row of the class scores higher."""
    by_image = _turn(weights)
    total = _total(weights)
    aurocs, n_measured = np.zeros(len(weights)), np.zeros(len(weights))
    for of_class in ranks:
        own, others = of_class.weigh(by_image)
        n_own = own.sum(axis=0)
        auroc = _share_wins(own, others, n_own, total - n_own)
        measured = np.isfinite(auroc)
        aurocs += np.where(measured, auroc, 0)
        n_measured += measured
    return np.asarray(aurocs / n_measured)


def _turn(weights: Floats) -> Floats:
    return np.ascontiguousarray(np.asarray(weights, dtype=np.float32).T)


def _share_wins(own: Doubles, others: Doubles, n_own: Doubles, n_others: Doubles) -> Doubles:
    """Return how often a row of the class scores above another, of what _weigh_scores returns."""
    # What scores below every row of the class is the rest: mostly nearly all, and not summed.
    lower = n_others - others[1:].sum(axis=0)
    below = lower + np.cumsum(others[1:], axis=0)[::2] - others[1::2]
    wins = (own * (below + others[1::2] / 2)).sum(axis=0)
    n_pairs = n_own * n_others
    return np.where(n_pairs > 0, wins / n_pairs, np.nan)


@dataclasses.dataclass(frozen=True, eq=False)
class Ranks:
    """Where the scores of rows stand among those of one class.

    Parameters
    ----------
    own : RowLists
        Rows of the class, by their distinct scores, ascending.
    others : RowLists
        Other rows: between two of these scores (even places), at one (odd places); place 0, below
        all of them, is left empty.
    """

    own: RowLists
    others: RowLists

    @classmethod
    def find(cls, scores: Floats, is_own: Mask) -> Ranks:
        """Compare scores of rows, shape (n_images,), some of which are of the class."""
        steps, own_places = np.unique(scores[is_own], return_inverse=True)
        rivals = np.flatnonzero(~is_own & (scores >= steps[0])) if len(steps) else own_places
        asked = scores[rivals]
        places = np.searchsorted(steps, asked, "left") + np.searchsorted(steps, asked, "right")
        return cls(
            RowLists.sort(own_places, np.flatnonzero(is_own), len(steps)),
            RowLists.sort(places, rivals, 2 * len(steps) + 1),
        )

    def weigh(self, by_image: Floats) -> tuple[Doubles, Doubles]:
        """Add up the weights of the rows at each place.

        Parameters
        ----------
        by_image : ndarray of float32, shape (n_images, n_weightings)

        Returns
        -------
        own : ndarray of float64, shape (n_scores, n_weightings)
        others : ndarray of float64, shape (2 * n_scores + 1, n_weightings)
        """
        return self.own.add_up(by_image), self.others.add_up(by_image)


@dataclasses.dataclass(frozen=True, eq=False)
class RowLists:
    """Rows by place: those of place ``i`` stand from ``starts[i]`` to ``starts[i + 1]``."""

    rows: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]

    @classmethod
    def sort(cls, places: Places, rows: Places, n_places: int) -> RowLists:
        """List rows by their places, each in the order in which they come."""
        order = np.argsort(places, kind="stable")
        starts = np.zeros(n_places + 1, dtype=np.int32)
        np.cumsum(np.bincount(places, minlength=n_places), out=starts[1:])
        return cls(rows[order].astype(np.int32), starts)

    def add_up(self, by_image: Floats) -> Doubles:
        """Add up the weights of the rows at each place, shape (n_places, n_weightings)."""
        from scipy.sparse import csr_array

        ones = np.ones(len(self.rows), dtype=np.float32)
        shape = len(self.starts) - 1, len(by_image)
        return np.asarray(
            csr_array((ones, self.rows, self.starts), shape=shape) @ by_image, dtype=np.float64
        )


class ClassRanks:
    """The ranks of each class that a row has, found once for all weightings.

    They take no more memory than single-precision probabilities. The more images, the fewer
    weightings are held at once: to find them anew for each part would not grow in proportion.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
    probabilities : ndarray of float, shape (n_images, n_classes)
    """

    def __init__(self, truth: Places, probabilities: Floats) -> None:
        self._truth, self._probabilities = truth, probabilities

    def __iter__(self) -> Iterator[Ranks]:
        return iter(self._found)

    @cached_property
    def _found(self) -> list[Ranks]:
        return [
            Ranks.find(self._probabilities[:, c], self._truth == c)
            for c in np.unique(self._truth[self._truth >= 0]).tolist()
        ]


COUNTED_METRICS = ("precision", "recall", "f1", "specificity")
BINARY_METRICS = (*COUNTED_METRICS, "auroc", "average_precision")


def score_binary(
    is_positive: Mask, scores: Floats, flagged: Mask, weights: Floats | None = None,
    *, ranks: Ranks | None = None,
) -> dict[str, Doubles]:  # fmt: skip
    """Measure how the positive class of two is told, for several weightings of the rows at once.

    Parameters
    ----------
    is_positive : ndarray of bool, shape (n_images,)
        Whether each image is of the positive class.
    scores : ndarray of float, shape (n_images,)
        Probability of the positive class.
    flagged : ndarray of bool, shape (n_images,)
        Whether the answer is the positive class.
    weights : ndarray of float, shape (n_weightings, n_images), optional
        As of :func:`score_flat`.
    ranks : Ranks, optional
        Of the same scores, where they are weighed several times.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_weightings,)
        :data:`BINARY_METRICS`; not a number where one is not defined.

    References
    ----------
    Davis and Goadrich 2006, *The Relationship Between Precision-Recall and ROC Curves*. As
    scikit-learn has it, the average precision is the sum over scores of precision times gain in
    recall, without interpolation.

    Examples
    --------
    >>> truth, scores = np.array([True, False, True]), np.array([0.9, 0.4, 0.2])
    >>> found = score_binary(truth, scores, scores >= 0.5)
    >>> {name: round(float(values[0]), 2) for name, values in found.items()}["f1"]
    0.67
    """
    if weights is None:
        weights = np.ones((1, len(is_positive)), dtype=np.float32)
    return {
        **_count_flagged(is_positive, flagged, weights),
        **_rank_positive(Ranks.find(scores, is_positive) if ranks is None else ranks, weights),
    }


def score_positive(probabilities: Floats, positive: int) -> Doubles:
    """Return the probability of the positive class of two, float64 of shape (n_images,).

    Above a half it is 1 less that of the other class: near 1 float32 has too few steps to tell one
    sure answer from a surer one, near 0 it has many.

    Examples
    --------
    >>> sure = np.array([[1e-9, 1], [1e-12, 1], [0.75, 0.25]], dtype=np.float32)
    >>> scores = score_positive(sure, 1)
    >>> bool(scores[0] < scores[1]), scores[2].tolist()
    (True, 0.25)
    """
    own, other = (probabilities[:, place].astype(np.float64) for place in (positive, 1 - positive))
    return np.where(own <= 0.5, own, 1 - other)


def _count_flagged(is_positive: Mask, flagged: Mask, weights: Floats) -> dict[str, Doubles]:
    """Return :data:`COUNTED_METRICS`, which see no scores; see :func:`score_binary`."""
    parts = np.stack([is_positive, flagged, is_positive & flagged], axis=1).astype(np.float64)
    n_positive, n_flagged, n_right = _sum_products(weights, parts).T
    n_negative = _total(weights) - n_positive
    both = np.where((n_positive > 0) & (n_negative > 0), 1.0, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": both * n_right / n_flagged,
            "recall": n_right / n_positive,
            "f1": both * 2 * n_right / (n_positive + n_flagged),
            "specificity": (n_negative - n_flagged + n_right) / n_negative,
        }


def _rank_positive(ranks: Ranks, weights: Floats) -> dict[str, Doubles]:
    if not len(ranks.own.rows):
        unknown = np.full(len(weights), np.nan)
        return {"auroc": unknown, "average_precision": unknown}
    own, others = ranks.weigh(_turn(weights))
    n_own = own.sum(axis=0)
    n_others = _total(weights) - n_own
    # From each score of a positive row on.
    right = np.cumsum(own[::-1], axis=0)[::-1]
    wrong = np.cumsum(others[::-1], axis=0)[::-1][1::2]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(right > 0, right / (right + wrong), 0)
        average = np.where(n_others > 0, (own * precision).sum(axis=0) / n_own, np.nan)
        return {
            "auroc": _share_wins(own, others, n_own, n_others),
            "average_precision": average,
        }


def _total(weights: Floats) -> Doubles:
    return np.asarray(weights.sum(axis=1, dtype=np.float64))


# Weights that are made doubles at once: 8 MB.
_DOUBLED_AT_ONCE = 1 << 20


def _sum_products(weights: Floats, rows: Doubles) -> Doubles:
    sums = np.empty((len(weights), rows.shape[1]))
    for part in iter_parts(len(weights), max(1, _DOUBLED_AT_ONCE // max(1, weights.shape[1]))):
        np.matmul(weights[part].astype(np.float64), rows, out=sums[part])
    return sums


# Of answers that never back off, right or above is accuracy again.
METRICS = (*FLAT_METRICS, *(name for name in TREE_METRICS if name != "right_or_above"))
CALIBRATED = ("ece_calibrated", "log_loss_calibrated")
AT_THRESHOLD = tuple(f"{name}_at_threshold" for name in COUNTED_METRICS)
_ORDER = dict.fromkeys((*METRICS, *BINARY_METRICS, *CALIBRATED, *AT_THRESHOLD))
# Shares of images: their interval needs no resamples where images are independent.
_SHARES = frozenset({
    "accuracy", "top5", "precision", "recall", "specificity", "right_or_above",
    "precision_at_threshold", "recall_at_threshold", "specificity_at_threshold", *CONSISTENCY,
})  # fmt: skip
# Those that are no means, and are off where classes have few images.
_SHIFTED, _N_SHIFTED = ("macro_f1", "macro_precision"), 200
_HEIGHTS = frozenset({"mistake_severity", "average_lca_height"})
_LOSSES = frozenset({"log_loss", "log_loss_calibrated"})
_ERRORS = frozenset({"ece", "ece_calibrated"})
# How often probabilities that mean what they say are drawn right or wrong, and how many of these
# errors may be below one that is more than chance.
_N_CONSISTENT, _CONSISTENT = 200, 0.99


def draw_method_scores(
    truth: Places,
    probabilities: Scores,
    calibrated: Scores | None,
    tree: LabelTree | None,
    resamples: Resamples,
    positive: int | None = None,
    flagged: Mask | None = None,
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
    tree : LabelTree or None
        Of the classes; classes without one have no figures of the tree.
    resamples : Resamples
        Of the images.
    positive : int, optional
        The positive class, of two.
    flagged : ndarray of bool, shape (n_images,), optional
        Whether its probability reaches a threshold that was chosen on other images.

    Returns
    -------
    dict of str to Draws
        :data:`METRICS`, and :data:`CALIBRATED` where probabilities were calibrated; of two classes
        :data:`BINARY_METRICS` of the positive one, and :data:`AT_THRESHOLD` where it is flagged.
    """
    best = find_best(probabilities)
    rows = None
    if tree is not None:
        consistent = find_consistent(probabilities, tree)
        rows = dataclasses.replace(measure_rows(truth, best, tree), is_consistent=consistent)
    # Of two classes AUROC is that of the positive one.
    flat = [name for name in FLAT_METRICS if positive is None or name not in BINARY_METRICS]

    known = measure_flat(truth, probabilities)
    recalibrated = None if calibrated is None else measure_flat(truth, calibrated)

    if positive is not None:
        is_own, scores = truth == positive, score_positive(probabilities, positive)
        ranks = Ranks.find(scores, is_own)

    def score(weights: Scores) -> Mapping[str, npt.NDArray[np.float64]]:
        found = score_flat(truth, probabilities, weights, metrics=flat, rows=known)
        found |= score_tree(rows, weights) if rows is not None else {}
        if calibrated is not None:
            again = score_flat(
                truth, calibrated, weights, metrics=("ece", "log_loss"), rows=recalibrated
            )
            found |= {f"{name}_calibrated": values for name, values in again.items()}
        if positive is not None:
            found |= score_binary(is_own, scores, best == positive, weights, ranks=ranks)
            if flagged is not None:
                counted = _count_flagged(is_own, flagged, weights)
                found |= dict(zip(AT_THRESHOLD, counted.values(), strict=True))
        return {name: found[name] for name in _ORDER if name in found}

    units = {"mistake_severity": best != truth}
    if positive is not None:
        units |= _list_units("", is_own, best == positive)
        if flagged is not None:
            units |= _list_units("_at_threshold", is_own, flagged)
    found = draw_scores(score, resamples, units)
    return {**found, **_find_shifts(found, truth, probabilities, known, resamples)}


def _find_shifts(
    found: Mapping[str, Draws],
    truth: Places,
    probabilities: Scores,
    known: FlatRows,
    resamples: Resamples,
) -> dict[str, Draws]:
    """Return the figures that are off where classes are small, with how much they may be."""
    few = dataclasses.replace(resamples, n_resamples=min(_N_SHIFTED, resamples.n_resamples))
    parts = [
        score_flat(truth, probabilities, weights, metrics=_SHIFTED, rows=known)
        for weights in few.iter_weights(smooth=True)
    ]
    means = {name: np.concatenate([part[name] for part in parts]).mean() for name in _SHIFTED}
    return {
        name: dataclasses.replace(found[name], shift=float(mean - found[name].estimate))
        for name, mean in means.items()
        if math.isfinite(mean)
    }


def _list_units(suffix: str, is_positive: Mask, flagged: Mask) -> dict[str, Mask]:
    """Return the images that the figures of the positive class are of."""
    rarer = is_positive if is_positive.mean() <= 0.5 else ~is_positive
    return {
        f"precision{suffix}": flagged, f"recall{suffix}": is_positive,
        f"specificity{suffix}": ~is_positive,
        **({} if suffix else {"auroc": rarer, "average_precision": is_positive}),
    }  # fmt: skip


def find_intervals(
    draws: Mapping[str, Draws],
    probabilities: Scores,
    calibrated: Scores | None,
    tree: LabelTree | None,
    resamples: Resamples,
) -> dict[str, Interval]:
    """Find the interval of each figure that :func:`draw_method_scores` returns, of 95%.

    See Also
    --------
    bioprobe.intervals.find_interval : what they are.
    """
    chance = find_chance_errors(probabilities, calibrated, resamples)
    found = {}
    for name, of in draws.items():
        if name in _ERRORS:
            found[name] = _find_error_interval(of, chance.get(name, 0.0))
        elif name in _HEIGHTS and tree is not None:
            found[name] = find_interval(of, high=tree.n_ranks)
        elif name in _LOSSES:
            # A loss has no end that it comes near to: twice that of what knows nothing, if no more,
            # with which ``benchmarks/coverage.py`` finds what is promised.
            most = np.nanmax([2 * math.log(max(2, probabilities.shape[1])), *of.resampled])
            found[name] = find_interval(of, high=float(most))
        else:
            found[name] = find_interval(of, is_share=name in _SHARES)
    return found


def _find_error_interval(draws: Draws, chance: float) -> Interval:
    """Find the interval of a calibration error, which noise makes larger than it is.

    The shift by resampling is taken back (the basic bootstrap), the interval of a figure that is
    not shifted is joined, and it begins at 0 where chance alone gives as large an error.
    """
    values = draws.resampled[np.isfinite(draws.resampled)]
    centred = dataclasses.replace(draws, resampled=values - values.mean() + draws.estimate)
    plain = find_interval(centred)
    if math.isnan(plain.low):
        return plain
    reflected = 2 * draws.estimate - np.quantile(values, [0.975, 0.025])
    least, most = (float(end) for end in reflected)
    low = 0.0 if draws.estimate <= chance else max(0.0, min(plain.low, least))
    return Interval(draws.estimate, low, min(1.0, max(plain.high, most)))


def find_chance_errors(
    probabilities: Scores, calibrated: Scores | None, resamples: Resamples
) -> dict[str, float]:
    """Return the errors that probabilities which mean what they say pass in one of 100 draws.

    Each answer is drawn right with its own probability, alike for the images of a group.

    References
    ----------
    Bröcker and Smith 2007, *Increasing the Reliability of Reliability Diagrams* (consistency
    resampling).
    """
    random = np.random.default_rng(resamples.seed)
    found = {}
    for name, given in (("ece", probabilities), ("ece_calibrated", calibrated)):
        if given is None or not given.size:
            continue
        confidence = given.max(axis=1).astype(np.float64)
        bins, errors = _find_bins(confidence), np.empty(_N_CONSISTENT)
        for draw in range(_N_CONSISTENT):
            luck = random.random(resamples.n_clusters)[resamples.clusters]
            gaps = np.bincount(bins, (luck < confidence) - confidence, N_BINS)
            errors[draw] = np.abs(gaps).sum() / len(confidence)
        found[name] = float(np.quantile(errors, _CONSISTENT))
    return found


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
