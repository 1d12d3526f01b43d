"""Images of species that no class stands for: scores, and how well they tell."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.classify.unknown import measure_auroc
from bioprobe.errors import SelectionError

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

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
