"""From scores to probabilities: the factor at which their softmax is most likely, and its check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.task.scores import split_rows
from bioprobe.types import Rows, Scores

# Logarithm of the factor: at most so far from 0, where a softmax is even or takes the best alone;
# found to so much, a hundredth of a percent, which bisection alone takes 18 steps for.
_LOG_RANGE, _CLOSE, _MOST_STEPS = 12.0, 1e-4, 30


def fit_scale(scores: npt.NDArray[Any], truth: npt.NDArray[np.int64]) -> float:
    """Fit the factor of scores at which their softmax is most likely.

    Newton's method, guarded by bisection: the likelihood is concave in the factor. A share of
    1/(n + 2) of each label is taken for doubtful, so that the factor is finite where every row is
    right.

    Parameters
    ----------
    scores : ndarray of float, shape (n, n_classes)
        Of rows that were not learnt from.
    truth : ndarray of int64, shape (n,)
        Column of the true class, -1 for a row that plays no part.

    Returns
    -------
    float
        In [e⁻¹², e¹²]; 1.0 where the rows tell nothing.

    References
    ----------
    Guo et al. 2017, *On Calibration of Modern Neural Networks*: temperature scaling (the factor
    is one over the temperature). Platt 1999, *Probabilistic Outputs for Support Vector Machines*:
    labels that are not quite sure.

    Examples
    --------
    >>> scores = np.tile([1.0, 0.0], (1000, 1))
    >>> truth = np.repeat([0, 1], [750, 250])
    >>> round(fit_scale(scores, truth), 2)  # three to one: log 3
    1.1
    """
    rows = np.flatnonzero(truth >= 0)
    if not len(rows):
        return 1.0
    owns, means = [], []
    for part, gaps in _iter_gaps(scores, rows):
        owns.append(gaps[np.arange(len(gaps)), truth[rows[part]]].sum(dtype=np.float64))
        means.append(gaps.sum(dtype=np.float64))
    own, mean = float(sum(owns)) / len(rows), float(sum(means)) / (len(rows) * scores.shape[1])
    if mean >= 0:
        return 1.0
    doubt = 1 / (len(rows) + 2)
    target = (1 - doubt) * own + doubt * mean
    low, high, at = -_LOG_RANGE, _LOG_RANGE, min(max(-np.log(-mean), -_LOG_RANGE), _LOG_RANGE)
    for _ in range(_MOST_STEPS):
        factor = float(np.exp(at))
        expected, variance = _measure(scores, rows, factor)
        slope = target - expected
        low, high = (at, high) if slope > 0 else (low, at)
        move = slope / max(variance * factor, 1e-30)
        following = at + np.log1p(move) if move > -1 else low
        if not low < following < high:
            following = (low + high) / 2
        at, before = following, at
        if abs(at - before) < _CLOSE:
            break
    return float(np.exp(at))


def _iter_gaps(
    scores: npt.NDArray[Any], rows: Rows
) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    # How far each score lies below the highest of its row.
    for part in split_rows(len(rows), scores.shape[1]):
        some = scores[rows[part]]
        yield part, np.asarray(some - some.max(axis=1, keepdims=True), dtype=np.float32)


def _measure(scores: npt.NDArray[Any], rows: Rows, factor: float) -> tuple[float, float]:
    """Return the mean over rows of the expected gap, and of its variance."""
    sums = np.zeros(2)
    for _, gaps in _iter_gaps(scores, rows):
        weights = np.exp(np.float32(factor) * gaps)
        total = weights.sum(axis=1)
        weights *= gaps
        expected = weights.sum(axis=1) / total
        variance = np.einsum("ij,ij->i", weights, gaps) / total - expected**2
        sums += expected.sum(dtype=np.float64), variance.sum(dtype=np.float64)
    expected_mean, variance_mean = (sums / len(rows)).tolist()
    return expected_mean, variance_mean


# Of many classes in float32, the sum of probabilities is no nearer to 1.
_MOST_OFF = 1e-3


def check_probabilities(probabilities: Scores, whose: str) -> Scores:
    """Return probabilities as they are, where each row has numbers that add up to 1.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (n_images, n_classes)
    whose : str
        Name of what gave them, with its settings.

    Raises
    ------
    ProbeError
        If a row has a number that is none, or adds up to something else.
    """
    sums = probabilities.sum(axis=1)
    if probabilities.shape[1] and not (np.abs(sums - 1) <= _MOST_OFF).all():
        msg = (
            f"{whose} gives {np.count_nonzero(~(np.abs(sums - 1) <= _MOST_OFF)):,} of "
            f"{len(sums):,} images probabilities that are not finite or do not add up to 1; "
            "choose other settings"
        )
        raise ProbeError(msg)
    return probabilities
