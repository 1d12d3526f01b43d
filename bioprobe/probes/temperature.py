"""One factor that turns scores into probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_STEPS = 30
_LOG_RANGE = 12.0


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
        Column of the true class.

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
    if not len(scores):
        return 1.0
    gaps = np.asarray(scores - scores.max(axis=1, keepdims=True), dtype=np.float32)
    own = float(gaps[np.arange(len(gaps)), truth].mean(dtype=np.float64))
    mean = float(gaps.mean(dtype=np.float64))
    if mean >= 0:
        return 1.0
    doubt = 1 / (len(gaps) + 2)
    target = (1 - doubt) * own + doubt * mean
    low, high, at = -_LOG_RANGE, _LOG_RANGE, min(max(-np.log(-mean), -_LOG_RANGE), _LOG_RANGE)
    for _ in range(_STEPS):
        factor = float(np.exp(at))
        expected, variance = _measure(gaps, factor)
        slope = target - expected
        low, high = (at, high) if slope > 0 else (low, at)
        move = slope / max(variance * factor, 1e-30)
        following = at + np.log1p(move) if move > -1 else low
        if not low < following < high:
            following = (low + high) / 2
        at, before = following, at
        if abs(at - before) < 1e-4:
            break
    return float(np.exp(at))


def _measure(gaps: npt.NDArray[np.float32], factor: float) -> tuple[float, float]:
    """Return the mean over rows of the expected gap, and of its variance."""
    weights = np.exp(np.float32(factor) * gaps)
    total = weights.sum(axis=1)
    weights *= gaps
    expected = weights.sum(axis=1) / total
    variance = np.einsum("ij,ij->i", weights, gaps) / total - expected**2
    return float(expected.mean(dtype=np.float64)), float(variance.mean(dtype=np.float64))
