"""How little an image is like any of the classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bioprobe.classify.predictions import Predictions
from bioprobe.classify.streaming import iter_vectors
from bioprobe.store import EmbeddingStore

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

_SCORES_AT_ONCE = 16_000_000


@dataclasses.dataclass(frozen=True)
class UnknownScores:
    """Three scores an image; the higher, the less it is like any class.

    Parameters
    ----------
    max_softmax : ndarray of float32, shape (n_images,)
        One less the probability of the best class.
    energy : ndarray of float32, shape (n_images,)
        Less the logarithm of the sum of the exponentials of the logits.
    distance : ndarray of float32, shape (n_images,)
        One less the cosine similarity to the nearest class.

    References
    ----------
    Hendrycks and Gimpel 2017, *A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples* (max_softmax); Liu et al. 2020, *Energy-based Out-of-distribution Detection*.
    """

    max_softmax: Scores
    energy: Scores
    distance: Scores

    def to_columns(self) -> Mapping[str, Scores]:
        """Return the scores by the names of their columns."""
        return {
            "unknown_max_softmax": self.max_softmax,
            "unknown_energy": self.energy,
            "unknown_distance": self.distance,
        }


def measure_unknown(
    store: EmbeddingStore,
    predictions: Predictions,
    classes: Vectors,
    offsets: Scores | None = None,
) -> UnknownScores:
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
    """
    scale = store.manifest.logit_scale
    shifts = np.zeros(len(classes), dtype=np.float32) if offsets is None else offsets / scale
    step = max(1, _SCORES_AT_ONCE // max(1, len(classes)))
    found = [
        _measure(part @ classes.T - shifts, scale)
        for vectors in iter_vectors(store, predictions.rows)
        for part in (vectors[start : start + step] for start in range(0, len(vectors), step))
    ]
    energy, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return UnknownScores(1 - predictions.scores[:, 0], energy, distance)


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
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    total = float(ranks[positive].sum()) - n_positive * (n_positive + 1) / 2
    return total / (n_positive * n_negative)


def find_unknown(predictions: Predictions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Find the labelled images, and which of them have a label that is not among the classes.

    Returns
    -------
    labelled : ndarray of int64
        Positions in the predictions.
    is_unknown : ndarray of bool, of the same shape
    """
    labelled = np.flatnonzero(predictions.truth != "")
    return labelled, predictions.truth_classes[labelled] < 0
