"""Images of species that no class stands for: scores, and how well they tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.predictions import Predictions
from bioprobe.types import Scores, Vectors

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
        for vectors in View(store, predictions.rows).iter_vectors()
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


_AT_ONCE = 16_000_000


@dataclasses.dataclass(frozen=True)
class UnknownDetection:
    """How well a score tells images of unknown species from those of known ones.

    Parameters
    ----------
    score : str
        Name of the score.
    auroc : float
        Chance that an unknown image scores above a known one.
    false_accept_fraction : float
        Share of the unknown images that are taken for known where ``recall_fraction`` of the
        known ones are.
    recall_fraction : float
        Share of known images that are taken for known.
    threshold : float
        Score above which an image is called unknown.
    n_known, n_unknown : int
        Images that were looked at.
    """

    score: str
    auroc: float
    false_accept_fraction: float
    recall_fraction: float
    threshold: float
    n_known: int
    n_unknown: int


def score_max_softmax(probabilities: npt.NDArray[Any]) -> Scores:
    """Return one less the probability of the best class, shape (n_images,).

    References
    ----------
    Hendrycks and Gimpel 2017, *A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples*.
    """
    return np.asarray(1 - probabilities.max(axis=1), dtype=np.float32)


def score_energy(logits: npt.NDArray[Any]) -> Scores:
    """Return less the logarithm of the sum of the exponentials of the logits, shape (n_images,).

    References
    ----------
    Liu et al. 2020, *Energy-based Out-of-distribution Detection*.

    Examples
    --------
    >>> round(float(score_energy(np.log(np.array([[1.0, 3.0]])))[0]), 4)  # -log 4
    -1.3863
    """
    best = logits.max(axis=1)
    total = np.exp(logits - best[:, np.newaxis]).sum(axis=1)
    return np.asarray(-(best + np.log(total)), dtype=np.float32)


def score_distance(vectors: Vectors, known: Vectors, k: int = 10) -> Scores:
    """Return one less the cosine similarity to the k-th nearest known image.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
        Images to be judged.
    known : ndarray of float32, shape (n_known, dim), unit rows
        Training images.
    k : int
        Place of the neighbour; the furthest where there are fewer.

    Returns
    -------
    ndarray of float32, shape (n_images,)
        In [0, 2].

    References
    ----------
    Sun et al. 2022, *Out-of-Distribution Detection with Deep Nearest Neighbors*.
    """
    place = len(known) - min(k, len(known))
    step = max(1, _AT_ONCE // max(1, len(known)))
    found = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(vectors), step):
        similarities = vectors[start : start + step] @ known.T
        found.append(1 - np.partition(similarities, place, axis=1)[:, place])
    return np.concatenate(found)


def score_mahalanobis(
    vectors: Vectors, known: Vectors, classes: npt.NDArray[np.int64], *, relative: bool = True
) -> Scores:
    """Return the squared Mahalanobis distance to the nearest class mean, shape (n_images,).

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim)
        Images to be judged.
    known : ndarray of float32, shape (n_known, dim)
        Training images.
    classes : ndarray of int64, shape (n_known,)
        Their classes, from 0 without a gap.
    relative : bool
        Whether the distance to the mean of all, by their own covariance, is taken off.

    References
    ----------
    Lee et al. 2018, *A Simple Unified Framework for Detecting Out-of-Distribution Samples*; Ren
    et al. 2021, *A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection*. The
    covariance is shrunk as Ledoit and Wolf 2004 do, for there may be fewer images than
    dimensions.
    """
    n_classes = int(classes.max()) + 1
    sums = np.zeros((n_classes, known.shape[1]))
    np.add.at(sums, classes, known)
    means = sums / np.bincount(classes)[:, np.newaxis]
    found = _measure_nearest(vectors, means, known - means[classes])
    if relative:
        centre = known.mean(axis=0, dtype=np.float64, keepdims=True)
        found -= _measure_nearest(vectors, centre, known - centre)
    return found.astype(np.float32)


def measure_detection(
    name: str,
    scores: npt.NDArray[Any],
    is_unknown: npt.NDArray[np.bool_],
    *,
    recall_fraction: float = 0.95,
    chosen_on: npt.NDArray[Any] | None = None,
) -> UnknownDetection:
    """Measure how well a score tells the unknown, with a threshold that keeps most of the known.

    Parameters
    ----------
    name : str
        Of the score.
    scores : ndarray of float, shape (n_images,)
        The higher, the less like any class.
    is_unknown : ndarray of bool, shape (n_images,)
        Whether the species was left out entirely of what the classifier learnt.
    recall_fraction : float
        Share of the known that is to be taken for known, in (0, 1].
    chosen_on : ndarray of float, shape (n_validation,), optional
        Scores of known validation images, on which the threshold is chosen; by default the known
        images that are judged.

    Raises
    ------
    SelectionError
        If known or unknown images are missing, or the recall is out of range.

    Examples
    --------
    >>> scores = np.array([0.1, 0.2, 0.3, 0.25, 0.9])
    >>> found = measure_detection("energy", scores, np.array([False] * 3 + [True] * 2))
    >>> found.false_accept_fraction, round(found.auroc, 3)
    (0.5, 0.833)
    """
    known = np.sort(scores[~is_unknown] if chosen_on is None else chosen_on)
    n_unknown = int(is_unknown.sum())
    if not len(known) or not n_unknown or is_unknown.all() or not 0 < recall_fraction <= 1:
        msg = (
            f"detection takes known and unknown images and a recall in (0, 1]; got "
            f"{len(is_unknown) - n_unknown}, {n_unknown}, {recall_fraction:g}"
        )
        raise SelectionError(msg)
    # As many known images as are needed to keep the share, not one more.
    threshold = known[int(np.ceil(recall_fraction * len(known) - 1e-9)) - 1]
    accepted = scores <= threshold
    return UnknownDetection(
        name,
        measure_auroc(np.asarray(scores), is_unknown),
        float(accepted[is_unknown].mean()),
        float(accepted[~is_unknown].mean()),
        float(threshold),
        len(is_unknown) - n_unknown,
        n_unknown,
    )


def leave_out_species(
    species: npt.NDArray[np.object_], fraction: float = 0.2, seed: int = 0
) -> npt.NDArray[np.bool_]:
    """Choose species that nothing is learnt of, and return which images are of them.

    Parameters
    ----------
    species : ndarray of object, shape (n_images,)
        ``""`` where unknown: such an image is left out of neither.
    fraction : float
        Share of the species; one at least is left out and one kept.
    seed : int
        Of the choice.

    Returns
    -------
    ndarray of bool, shape (n_images,)

    Raises
    ------
    SelectionError
        If there are fewer than two species.
    """
    names = np.unique(species[species != ""].astype(str))
    if len(names) < 2:
        msg = f"leaving species out takes two or more, got {len(names)}"
        raise SelectionError(msg)
    n_out = min(max(1, round(fraction * len(names))), len(names) - 1)
    out = np.random.default_rng(seed).choice(names, size=n_out, replace=False)
    return np.isin(species.astype(str), out)


def _measure_nearest(
    vectors: Vectors, means: npt.NDArray[Any], residuals: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    from scipy.linalg import solve_triangular
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(residuals, assume_centered=True)
    lower = np.linalg.cholesky(covariance)
    images = solve_triangular(lower, np.asarray(vectors, dtype=np.float64).T, lower=True).T
    centres = solve_triangular(lower, np.asarray(means, dtype=np.float64).T, lower=True).T
    squares = (images**2).sum(axis=1)[:, np.newaxis] + (centres**2).sum(axis=1)
    return np.asarray((squares - 2 * images @ centres.T).min(axis=1))
