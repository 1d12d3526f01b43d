"""Metrics of the positive class of two.

Conventions
-----------
- One of the two is positive: the one that is looked for. An image that is not of it is negative.
- What is not defined is not a number, never 0 or 1: recall without a positive image, specificity
  without a negative one, the other figures without both; precision also where nothing is answered
  with the positive class. F1 is then 0: all that was looked for is missed.
"""

from __future__ import annotations

import numpy as np

from bioprobe.evaluation.weighted_rows import (
    Ranks,
    share_wins,
    stand_by_image,
    sum_products,
    sum_weights,
)
from bioprobe.types import Doubles, Floats, Mask

COUNTED_METRICS = ("precision", "recall", "f1", "specificity")
BINARY_METRICS = (*COUNTED_METRICS, "auroc", "average_precision")


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
        **count_flagged(is_positive, flagged, weights),
        **_rank_positive(Ranks.find(scores, is_positive) if ranks is None else ranks, weights),
    }


def count_flagged(is_positive: Mask, flagged: Mask, weights: Floats) -> dict[str, Doubles]:
    """Return :data:`COUNTED_METRICS`, which see no scores; see :func:`score_binary`."""
    parts = np.stack([is_positive, flagged, is_positive & flagged], axis=1).astype(np.float64)
    n_positive, n_flagged, n_right = sum_products(weights, parts).T
    n_negative = sum_weights(weights) - n_positive
    both = np.where((n_positive > 0) & (n_negative > 0), 1.0, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": both * n_right / n_flagged,
            "recall": n_right / n_positive,
            "f1": both * 2 * n_right / (n_positive + n_flagged),
            "specificity": (n_negative - n_flagged + n_right) / n_negative,
        }


def _rank_positive(ranks: Ranks, weights: Floats) -> dict[str, Doubles]:
    if not ranks.n_scores:
        unknown = np.full(len(weights), np.nan)
        return {"auroc": unknown, "average_precision": unknown}
    own, others = ranks.weigh(stand_by_image(weights))
    n_own = own.sum(axis=0)
    n_others = sum_weights(weights) - n_own
    # From each score of a positive row on.
    right = np.cumsum(own[::-1], axis=0)[::-1]
    wrong = np.cumsum(others[::-1], axis=0)[::-1][1::2]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(right > 0, right / (right + wrong), 0)
        average = np.where(n_others > 0, (own * precision).sum(axis=0) / n_own, np.nan)
        return {
            "auroc": share_wins(own, others, n_own, n_others),
            "average_precision": average,
        }
