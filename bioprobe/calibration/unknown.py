"""Images of species that no class stands for: scores, and how well they tell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.intervals import Resamples, draw_scores, find_interval
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.predictions import Predictions
from bioprobe.types import Doubles, Places, Scores, Vectors

_SCORES_AT_ONCE = 16_000_000


def measure_unknown(
    store: EmbeddingStore,
    predictions: Predictions,
    classes: Vectors,
    offsets: Scores | None = None,
) -> Mapping[str, Scores]:
    """Measure how little each image that was asked about is like any class.

    Parameters
    ----------
    store : EmbeddingStore
        Store of the predictions.
    predictions : Predictions
        Their scores are probabilities.
    classes : ndarray of float32, shape (n_classes, dim), unit rows
        Embeddings of what was asked for.
    offsets : ndarray of float32, shape (n_classes,), optional
        Subtracted from their logits, and from similarities in the same measure.

    Returns
    -------
    mapping of str to ndarray of float32, each of shape (n_images,)
        The higher, the less an image is like any class: ``unknown_max_softmax``, one less the
        probability of the best class; ``unknown_energy``, less the logarithm of the sum of the
        exponentials of the logits; ``unknown_distance``, one less the cosine similarity to the
        nearest class.

    References
    ----------
    Hendrycks and Gimpel 2017, *A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples* (max_softmax); Liu et al. 2020, *Energy-based Out-of-distribution Detection*.
    """
    scale = store.manifest.logit_scale
    shifts = np.zeros(len(classes), dtype=np.float32) if offsets is None else offsets / scale
    step = max(1, _SCORES_AT_ONCE // max(1, len(classes)))
    found = [
        _measure(part @ classes.T - shifts, scale)
        for vectors in View(store, predictions.rows).iter_vectors()
        for part in (vectors[start : start + step] for start in range(0, len(vectors), step))
    ]
    energy, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return {
        "unknown_max_softmax": 1 - predictions.scores[:, 0],
        "unknown_energy": energy,
        "unknown_distance": distance,
    }


def _measure(similarities: Vectors, scale: float) -> tuple[Scores, Scores]:
    nearest = similarities.max(axis=1)
    total = np.exp(scale * (similarities - nearest[:, np.newaxis])).sum(axis=1)
    energy = -(scale * nearest + np.log(total))
    return energy.astype(np.float32), (1 - nearest).astype(np.float32)


def measure_auroc(scores: Scores, positive: npt.NDArray[np.bool_]) -> float:
    """Return the probability that a positive scores above a negative; ties count half.

    Returns
    -------
    float
        Not a number where positives or negatives are missing.

    References
    ----------
    Mann and Whitney 1947.

    Examples
    --------
    >>> measure_auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    from scipy.stats import rankdata

    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    total = float(rankdata(scores)[positive].sum()) - n_positive * (n_positive + 1) / 2
    return total / (n_positive * n_negative)


def find_unknown(predictions: Predictions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Find the labelled images, and which of them have a label that cannot be answered.

    It is not among the classes, or a list says that it may not occur.

    Returns
    -------
    labelled : ndarray of int64
        Positions in the predictions.
    is_unknown : ndarray of bool, of the same shape
    """
    labelled = np.flatnonzero(predictions.truth != "")
    return labelled, ~predictions.is_known[labelled]


@dataclasses.dataclass(frozen=True)
class UnknownDetection:
    """How well a score tells images of unknown species from those of known ones.

    Parameters
    ----------
    auroc : float
        Chance that an unknown image scores above a known one.
    false_accept_fraction : float
        Share of the unknown images that are taken for known.
    n_unknown : int
        Unknown images that were looked at.
    n_classes : int
        Classes that these are of; 0 where that is not known.
    low, high : float
        Interval of 95% of the share taken for known, by class: how far it would move with other
        unknown classes. Not a number where the classes are not known.
    """

    auroc: float
    false_accept_fraction: float
    n_unknown: int
    n_classes: int = 0
    low: float = math.nan
    high: float = math.nan


def score_max_softmax(probabilities: npt.NDArray[Any]) -> Scores:
    """Return one less the probability of the best class, shape (n_images,).

    References
    ----------
    Hendrycks and Gimpel 2017, *A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples*.
    """
    return np.asarray(1 - probabilities.max(axis=1), dtype=np.float32)


def find_limit(known: Scores, recall_fraction: float) -> float:
    """Find the score above which an image is called unknown.

    Parameters
    ----------
    known : ndarray of float32, shape (n_images,)
        Scores of images of known species; the higher, the less like any class.
    recall_fraction : float
        Share of them that is to be taken for known, in (0, 1].

    Raises
    ------
    SelectionError
        If there is no such image, or the share is out of range.

    Examples
    --------
    >>> find_limit(np.array([0.3, 0.1, 0.2]), 0.6)
    0.2
    """
    if not len(known) or not 0 < recall_fraction <= 1:
        msg = (
            "a limit of the unknown takes images of known classes and a recall in (0, 1]; got "
            f"{len(known)}, {recall_fraction:g}"
        )
        raise SelectionError(msg)
    # As many known images as are needed to keep the share, not one more.
    return float(np.sort(known)[int(np.ceil(recall_fraction * len(known) - 1e-9)) - 1])


def measure_detection(
    scores: Scores,
    is_unknown: npt.NDArray[np.bool_],
    limit: float,
    labels: Places | None = None,
) -> UnknownDetection:
    """Measure how well a score tells the unknown.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_images,)
        The higher, the less like any class.
    is_unknown : ndarray of bool, shape (n_images,)
        Whether the species was left out entirely of what the classifier learnt; both occur.
    limit : float
        Score above which an image is called unknown, of :func:`find_limit`.
    labels : ndarray of int64, shape (n_images,), optional
        Number of the class of each image, for the interval.

    Examples
    --------
    >>> scores = np.array([0.1, 0.2, 0.3, 0.3, 0.9])
    >>> found = measure_detection(scores, np.array([False] * 3 + [True] * 2), 0.3)
    >>> found.false_accept_fraction, round(found.auroc, 3)
    (0.5, 0.917)
    """
    accepted = (scores[is_unknown] <= limit).astype(np.float64)
    found = UnknownDetection(
        measure_auroc(scores, is_unknown), float(accepted.mean()), int(is_unknown.sum())
    )
    if labels is None:
        return found

    def score(weights: Scores) -> dict[str, Doubles]:
        return {"accepted": np.asarray(weights @ accepted / weights.sum(axis=1))}

    draws = draw_scores(score, Resamples.of_groups(labels[is_unknown].astype(str)))["accepted"]
    # One image of each class stands for the class all the same.
    interval = find_interval(dataclasses.replace(draws, is_clustered=True))
    return dataclasses.replace(found, n_classes=draws.n_units, low=interval.low, high=interval.high)
