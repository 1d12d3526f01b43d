"""Whether one method is better than another on the same images, or only luckier."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.intervals import (
    SIGNIFICANCE_LEVEL,
    Accuracy,
    Draws,
    adjust_by_holm,
    find_interval,
)
from bioprobe.taxonomy import RANKS

# Where figures that are no shares end: differences in height have the ranks for ends.
_MOST = {"mistake_severity": float(len(RANKS)), "average_lca_height": float(len(RANKS))}
_LEAST_P = 1e-12


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two methods on the same images.

    Parameters
    ----------
    metric : str
        Name of the figure.
    first, second : str
        Methods.
    difference : float
        Figure of the first less that of the second.
    low, high : float
        Interval of 95% of the difference.
    p_value : float
        Two-sided.
    p_adjusted : float
        Holm's, over all pairs of the metric.
    test : str
        ``mcnemar`` or ``bootstrap``.
    n_only_first, n_only_second : int
        Images that one of the two alone has right, 0 where the test does not count them.
    """

    metric: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    p_value: float
    p_adjusted: float
    test: str
    n_only_first: int = 0
    n_only_second: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return dataclasses.asdict(self)


def compare_pairs(
    metric: str,
    draws: Mapping[str, Draws],
    right: Mapping[str, npt.NDArray[np.bool_]] | None = None,
) -> list[Comparison]:
    """Compare every two methods in one metric.

    Parameters
    ----------
    metric : str
        Name of the figure.
    draws : mapping of str to Draws
        Of each method, from the same resamples.
    right : mapping of str to ndarray of bool, shape (n_images,), optional
        Whether each method has each image right, for the accuracy. The test is then McNemar's where
        images are independent of each other; else it is the bootstrap's.

    Returns
    -------
    list of Comparison
        In the order of the methods.

    References
    ----------
    Dietterich 1998, *Approximate Statistical Tests for Comparing Supervised Classification
    Learning Algorithms*; Demšar 2006, *Statistical Comparisons of Classifiers over Multiple Data
    Sets* (Holm's correction).
    """
    pairs = list(itertools.combinations(draws, 2))
    found = [_compare(metric, pair, draws, right) for pair in pairs]
    adjusted = adjust_by_holm([one.p_value for one in found])
    return [dataclasses.replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True)]


def _compare(
    metric: str,
    pair: tuple[str, str],
    draws: Mapping[str, Draws],
    right: Mapping[str, npt.NDArray[np.bool_]] | None,
) -> Comparison:
    first, second = pair
    between = subtract(draws[first], draws[second])
    most = _MOST.get(metric, 1.0)
    interval = find_interval(between, low=-most, high=most)
    only = None if right is None else _count_alone(between, right[first], right[second])
    p_value = find_p_value(between) if only is None else measure_mcnemar(*only)
    return Comparison(
        metric,
        first,
        second,
        between.estimate,
        interval.low,
        interval.high,
        p_value,
        p_value,
        "bootstrap" if only is None else "mcnemar",
        *(only or (0, 0)),
    )


def subtract(first: Draws, second: Draws) -> Draws:
    """Return the difference of two figures, resample by resample."""
    return dataclasses.replace(
        first,
        estimate=first.estimate - second.estimate,
        resampled=first.resampled - second.resampled,
    )


def find_p_value(between: Draws) -> float:
    """Find the two-sided p-value of a difference by how many resamples cross zero.

    It is the smallest one whose percentile interval leaves zero out, and never 0: the data
    themselves count as one more resample. Where no resample crosses zero their number tells no
    more, and would never do among many pairs: the tail of Student's distribution then tells how far
    off zero is.

    References
    ----------
    Efron and Tibshirani 1993, *An Introduction to the Bootstrap*, section 15.4; Davison and
    Hinkley 1997, *Bootstrap Methods and their Application*, sections 4.2 (the added one) and 5.2.

    Examples
    --------
    >>> find_p_value(Draws(0.5, np.array([0.2, -0.4, 0.5]), 3))
    1.0
    """
    values = between.resampled[np.isfinite(between.resampled)]
    if not len(values):
        return math.nan
    n_crossed = min(int((values <= 0).sum()), int((values >= 0).sum()))
    counted = min(1.0, 2 * (n_crossed + 1) / (len(values) + 1))
    spread = math.sqrt(float(np.mean((values - between.estimate) ** 2)))
    if n_crossed or not spread or between.n_units < 2:
        return counted
    from scipy.special import stdtr

    tail = 2 * float(stdtr(between.n_units - 1, -abs(between.estimate) / spread))
    return min(counted, max(tail, _LEAST_P))


def find_accuracy_p_value(
    between: Draws, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> float:
    """Find the two-sided p-value of a difference in accuracy.

    It is McNemar's, which is of images that are independent of each other; where groups hold
    several, it is the bootstrap's.

    Parameters
    ----------
    between : Draws
        The difference.
    first, second : ndarray of bool, shape (n_images,)
        Whether each of the two has each image right.
    """
    only = _count_alone(between, first, second)
    return find_p_value(between) if only is None else measure_mcnemar(*only)


def _count_alone(
    between: Draws, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> tuple[int, int] | None:
    """Count the disagreements of images that are independent; None where groups hold several."""
    return None if between.is_clustered else count_disagreements(first, second)


def count_disagreements(
    first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> tuple[int, int]:
    """Count the images that only the first, and that only the second, has right."""
    return int((first & ~second).sum()), int((second & ~first).sum())


def measure_mcnemar(n_only_first: int, n_only_second: int) -> float:
    """Return the exact two-sided p-value that the two are right equally often.

    Parameters
    ----------
    n_only_first, n_only_second : int
        Images that one of the two alone has right.

    References
    ----------
    McNemar 1947, *Note on the sampling error of the difference between correlated proportions or
    percentages*; its exact form is the binomial test of the disagreements.

    Examples
    --------
    >>> measure_mcnemar(5, 0)
    0.0625
    """
    n = n_only_first + n_only_second
    if not n:
        return 1.0
    from scipy.special import bdtr

    # Either way is as likely, so that both tails are alike.
    return min(1.0, 2 * float(bdtr(min(n_only_first, n_only_second), n, 0.5)))


@dataclasses.dataclass(frozen=True)
class AgainstBest:
    """One way of answering beside the best, on the same images.

    Parameters
    ----------
    difference : float
        Its accuracy less that of the best; at most 0.
    n_only_best, n_only_this : int
        Images that one of the two alone has right.
    p_value : float
        That both are right equally often, adjusted.
    """

    difference: float
    n_only_best: int
    n_only_this: int
    p_value: float

    @property
    def is_worse(self) -> bool:
        """Whether chance alone would seldom make it so much worse."""
        return self.p_value < SIGNIFICANCE_LEVEL


def compare_with_best(right: Sequence[npt.NDArray[np.bool_]]) -> list[AgainstBest]:
    """Compare the best of several ways of answering with each of the others.

    The best was found on the same images, so any two could have come to be compared: the p-values
    are adjusted for all pairs, not for those with the best only.

    Parameters
    ----------
    right : sequence of ndarray of bool, shape (n_images,)
        Which images each has right, the best first.

    Returns
    -------
    list of AgainstBest
        Of all but the first, in their order.

    References
    ----------
    McNemar 1947, *Note on the sampling error of the difference between correlated proportions or
    percentages* (in its exact form); Holm 1979, *A simple sequentially rejective multiple test
    procedure*.

    Examples
    --------
    >>> best = np.array([True] * 8 + [False])
    >>> compare_with_best([best, ~best])[0].p_value
    0.0390625
    """
    pairs = list(itertools.combinations(range(len(right)), 2))
    counts = [count_disagreements(right[first], right[second]) for first, second in pairs]
    adjusted = adjust_by_holm([measure_mcnemar(*count) for count in counts])
    return [
        AgainstBest((only_this - only_best) / len(right[0]), only_best, only_this, p_value)
        for (first, _), (only_best, only_this), p_value in zip(pairs, counts, adjusted, strict=True)
        if first == 0
    ]


def compare_bases(right: npt.NDArray[np.bool_], bases: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for a stack and for each of its bases, with the test against the stack.

    Parameters
    ----------
    right : ndarray of bool, shape (1 + n_bases, n_images)
        Whether the stack, then each base, has an image right.
    bases : sequence of str
        Names of the bases.
    """
    first, *others = right
    only = [count_disagreements(first, other) for other in others]
    p_values = [measure_mcnemar(*pair) for pair in only]
    tests = zip(only, p_values, adjust_by_holm(p_values), strict=True)
    rows: list[dict[str, Any]] = []
    for method, own in zip(["stack", *bases], right, strict=True):
        accuracy = Accuracy(1, int(own.sum()), len(own))
        low, high = accuracy.interval
        row: dict[str, Any] = {
            "method": method, "images": len(own), "accuracy": accuracy.fraction,
            "low": low, "high": high,
        }  # fmt: skip
        if rows:
            (only_stack, only_base), p_value, p_adjusted = next(tests)
            row |= {
                "right_by_stack_only": only_stack, "right_by_base_only": only_base,
                "p_mcnemar": p_value, "p_holm": p_adjusted,
            }  # fmt: skip
        rows.append(row)
    return rows
