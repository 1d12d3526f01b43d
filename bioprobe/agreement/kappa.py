"""Cohen's kappa, with an interval."""

from __future__ import annotations

import numpy as np

from bioprobe.intervals import Draws, Interval, Resamples, draw_scores, find_interval, find_wilson
from bioprobe.types import Doubles, Places, Scores


def measure_kappa(first: Places, second: Places, resamples: Resamples) -> Interval:
    r"""Measure how much more two answers agree than by chance, with an interval of 95%.

    .. math:: \kappa = (p_o - p_e) / (1 - p_e)

    of the share that agrees and of that which would if each gave its classes as often and at
    random. At the chance :math:`p_e` that was seen, kappa is a straight line of :math:`p_o`, a
    share: its interval is Wilson's of that share, at the number of independent images that would
    move it as much as resampling (images, or groups of them) moves kappa, the shares of the classes
    included, and at no more than their number. ``benchmarks/kappa.py`` measures how often it
    covers.

    Parameters
    ----------
    first, second : ndarray of int64, shape (n_images,)
        Class of each image by either, from 0.
    resamples : Resamples
        Of the images.

    Returns
    -------
    Interval
        Not a number where there is no image, or both give one class alone to all, so that there is
        nothing to agree about.

    References
    ----------
    Cohen 1960, *A coefficient of agreement for nominal scales*; Fleiss, Cohen and Everitt 1969,
    *Large sample standard errors of kappa and weighted kappa*, with which resampling agrees where
    images are many.

    Examples
    --------
    >>> first, second = np.array([0, 0, 1, 1] * 10), np.array([0, 0, 1, 0] * 10)
    >>> print(measure_kappa(first, second, Resamples(np.arange(40))))
    0.500 [0.196, 0.716]
    """
    if not len(first):
        return Interval(np.nan, np.nan, np.nan)
    from sklearn.metrics import cohen_kappa_score

    n_classes = int(max(first.max(), second.max())) + 1
    shares = [np.bincount(one, minlength=n_classes) / len(first) for one in (first, second)]
    chance = float(shares[0] @ shares[1])
    if chance >= 1:
        return Interval(np.nan, np.nan, np.nan)
    estimate = float(cohen_kappa_score(first, second))
    found = draw_scores(_Weighted(first, second), resamples)["kappa"]
    draws = Draws(estimate, found.resampled, found.n_units, found.is_clustered)
    lowest = -chance / (1 - chance)
    interval = find_interval(draws, low=lowest, high=1.0)
    # Where no image of a rare class agrees, resampling moves kappa by next to nothing.
    others = find_wilson((estimate - lowest) / (1 - lowest), found.n_units)
    low, high = (lowest + (1 - lowest) * end for end in others)
    return Interval(estimate, max(-1.0, min(low, interval.low)), max(high, interval.high))


class _Weighted:
    """Kappa of weighted images, many weights at once."""

    def __init__(self, first: Places, second: Places) -> None:
        from scipy.sparse import csr_array

        self._agree = (first == second).astype(np.float32)
        classes, places = np.unique(np.concatenate([first, second]), return_inverse=True)
        n, shape = len(first), (len(first), len(classes))
        ones, rows = np.ones(n, dtype=np.float32), np.arange(n)
        self._sides = [csr_array((ones, (rows, one)), shape) for one in (places[:n], places[n:])]

    def __call__(self, weights: Scores) -> dict[str, Doubles]:
        total = weights.sum(axis=1, dtype=np.float64)
        observed = (weights @ self._agree) / total
        shares = [np.asarray((one.T @ weights.T).T) / total[:, None] for one in self._sides]
        chance = (shares[0] * shares[1]).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            kappa = np.where(chance < 1, (observed - chance) / (1 - chance), np.nan)
        return {"kappa": np.asarray(kappa, dtype=np.float64)}
