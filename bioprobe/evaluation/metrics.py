"""Metrics of answers that see classes as flat.

Each is a function of weighted rows (:mod:`bioprobe.evaluation.weighted_rows`).

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
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from bioprobe.evaluation.weighted_rows import (
    ClassRanks,
    share_wins,
    stand_by_image,
    sum_products,
    sum_weights,
)
from bioprobe.task.scores import split_rows
from bioprobe.types import Doubles, Floats, Mask, Places

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
# What sums over images give, and what takes sums over those of each class.
_OF_IMAGES = frozenset({"accuracy", "top5", "log_loss"})
_OF_CLASSES = frozenset(FLAT_METRICS) - _OF_IMAGES - {"auroc", "ece"}
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

    See Also
    --------
    score_rows : the same of images that were measured before.

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
    return score_rows(measure_flat(truth, probabilities), weights, metrics)


@dataclasses.dataclass(frozen=True, eq=False)
class FlatRows:
    """What figures of answers need of each image, found once however often images are weighed.

    Parameters
    ----------
    n_classes : int
    truth : ndarray of int64, shape (n_images,)
        As given.
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
    truth: Places
    places: Places
    own: Floats
    predicted: Places
    confidence: Doubles
    ranks: ClassRanks

    @property
    def is_right(self) -> Mask:
        """Whether the answer to each image is its class, shape (n_images,)."""
        return np.asarray(self.predicted == self.truth)

    @cached_property
    def shares(self) -> Doubles:
        """What each image adds to accuracy, top-5 accuracy and log-loss, shape (n_images, 3)."""
        own = np.clip(self.own.astype(np.float64), _LEAST_PROBABILITY, 1)
        within = (self.places < min(k, self.n_classes) for k in (1, _TOP_K))
        return np.stack([*within, -np.log(own)]).T

    @cached_property
    def gaps(self) -> Doubles:
        """By how much its answer is surer than right, in its bin, shape (n_images, n_bins)."""
        gaps = np.zeros((len(self.confidence), N_BINS))
        away = self.is_right - self.confidence
        gaps[np.arange(len(gaps)), find_bins(self.confidence)] = away
        return gaps

    def take(self, kept: Mask) -> FlatRows:
        """Return what some of the images add."""
        own = {name: getattr(self, name)[kept] for name in ("truth", *BY_IMAGE)}
        return dataclasses.replace(self, **own, ranks=self.ranks.take(kept))


#: Fields of :class:`FlatRows` that are found of each image.
BY_IMAGE = ("places", "own", "predicted", "confidence")


def measure_flat(truth: Places, probabilities: Floats) -> FlatRows:
    """Measure each image once for figures that are weighed many times, by :func:`score_rows`."""
    sure = probabilities.max(axis=1) if probabilities.size else np.zeros(0)
    ranked = {c: probabilities[:, c] for c in np.unique(truth[truth >= 0]).tolist()}
    return FlatRows(
        probabilities.shape[1], truth, find_places(truth, probabilities),
        _take_own(truth, probabilities), find_best(probabilities), sure.astype(np.float64),
        ClassRanks(truth, ranked),
    )  # fmt: skip


def score_rows(
    rows: FlatRows, weights: Floats, metrics: Sequence[str] = FLAT_METRICS
) -> dict[str, Doubles]:
    """Measure images for several weightings at once, as :func:`score_flat` does.

    Parameters
    ----------
    rows : FlatRows
        From :func:`measure_flat`.
    weights : ndarray of float, shape (n_weightings, n_images)
        Weight of each image ≥ 0.
    metrics : sequence of str
        Some of :data:`FLAT_METRICS`; what the others need is not computed.
    """
    found: dict[str, Doubles] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        if not _OF_IMAGES.isdisjoint(metrics):
            found |= _score_images(rows, weights)
        if not _OF_CLASSES.isdisjoint(metrics):
            found |= _score_classes(rows, weights)
        if "ece" in metrics:
            found["ece"] = _measure_ece(rows, weights)
        if "auroc" in metrics:
            found["auroc"] = _measure_auroc(rows.ranks, weights)
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


def _score_images(rows: FlatRows, weights: Floats) -> dict[str, Doubles]:
    means = sum_products(weights, rows.shares) / sum_weights(weights)[:, np.newaxis]
    return dict(zip(("accuracy", "top5", "log_loss"), means.T, strict=True))


def _score_classes(rows: FlatRows, weights: Floats) -> dict[str, Doubles]:
    n_classes, truth, predicted = rows.n_classes, rows.truth, rows.predicted
    right = np.where(rows.is_right, truth, -1)
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
        "weighted_f1": (f1 * n_true).sum(axis=1) / sum_weights(weights),
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
    places = classes + 1
    sums = [np.bincount(places, row, n_classes + 1)[1:] for row in weights]
    return np.stack(sums) if sums else np.zeros((0, n_classes))


def _measure_ece(rows: FlatRows, weights: Floats) -> Doubles:
    if not len(rows.confidence):
        return np.full(len(weights), np.nan)
    return np.asarray(np.abs(sum_products(weights, rows.gaps)).sum(axis=1) / sum_weights(weights))


def find_bins(confidence: Doubles) -> Places:
    """Return the bin of each confidence; they are open below and closed above, so 1 has one."""
    return np.clip(np.ceil(confidence * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)


def _measure_auroc(ranks: ClassRanks, weights: Floats) -> Doubles:
    """Return the mean over classes of the probability that a row of the class scores higher."""
    by_image = stand_by_image(weights)
    total = sum_weights(weights)
    aurocs, n_measured = np.zeros(len(weights)), np.zeros(len(weights))
    for of_class in ranks:
        own, others = of_class.weigh(by_image)
        n_own = own.sum(axis=0)
        auroc = share_wins(own, others, n_own, total - n_own)
        measured = np.isfinite(auroc)
        aurocs += np.where(measured, auroc, 0)
        n_measured += measured
    return np.asarray(aurocs / n_measured)
