"""How far groups agree with labels, over units that are independent of each other."""

from __future__ import annotations

import numpy as np

from bioprobe.clustering.methods import weigh_units
from bioprobe.clustering.neighbors import find_neighbors
from bioprobe.intervals import Interval, Resamples, draw_scores, find_interval, measure_share
from bioprobe.types import Doubles, Names, Places, Scores, Vectors

#: What is measured, in this order.
FIGURES = RAND, V_MEASURE, PURITY = ("adjusted_rand", "v_measure", "purity")


def measure_agreement(
    groups: Places, labels: Places, units: Places, *, n_resamples: int = 1000
) -> dict[str, Interval]:
    """Measure how far groups and labels are the same, with intervals.

    Each unit counts once, and no pair of pictures of one unit counts: that copies and bursts come
    together is no merit.

    Parameters
    ----------
    groups : ndarray of int64, shape (n,)
        Group of each, from 0; -1 is in none, a group of its own.
    labels : ndarray of int64, shape (n,)
        Class of each, from 0.
    units : ndarray of int64, shape (n,)
        Number of the unit of each, such as a burst.
    n_resamples : int
        Draws of units, at least 1.

    Returns
    -------
    dict of str to Interval
        ``adjusted_rand``: pairs that groups and labels treat alike, beyond chance, 1 at most;
        ``v_measure``: the harmonic mean of how far a group has one class, and a class one group;
        ``purity``: the share that has the most frequent class of its group. NaN where there are
        fewer than two units.

    References
    ----------
    Hubert and Arabie 1985, *Comparing partitions*; Rosenberg and Hirschberg 2007, *V-Measure*.
    """
    groups = groups.copy()
    alone = groups < 0
    groups[alone] = groups.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    groups = np.unique(groups, return_inverse=True)[1]
    labels = np.unique(labels, return_inverse=True)[1]
    numbers = np.unique(units, return_inverse=True)[1].astype(np.int64)
    if len(np.unique(numbers)) < 2:
        nothing = Interval(np.nan, np.nan, np.nan)
        return dict.fromkeys(FIGURES, nothing)
    tables = _Tables(groups, labels, numbers)
    drawn = draw_scores(tables.score, Resamples(numbers, n_resamples, 0))
    ends = {RAND: -1.0, V_MEASURE: 0.0, PURITY: 0.0}
    return {name: find_interval(drawn[name], low=low) for name, low in ends.items()}


def measure_line(labels: Names, units: Places) -> Interval:
    """Measure how often neighbours along a line have one label, with an interval.

    Parameters
    ----------
    labels : ndarray of object, shape (n,)
        Of pictures along the line, ``""`` where unknown: these pairs do not count.
    units : ndarray of int64, shape (n,)
        Number of the unit of each: pairs of one unit, such as copies, do not count.

    Examples
    --------
    >>> labels = np.array(["a", "a", "b", "b", ""], dtype=object)
    >>> measure_line(labels, np.array([0, 1, 2, 2, 3])).estimate
    0.5
    """
    counts = (labels[1:] != "") & (labels[:-1] != "") & (units[1:] != units[:-1])
    return measure_share((labels[1:] == labels[:-1])[counts], units[1:][counts].astype(str))


def measure_nearest(vectors: Vectors, labels: Names, units: Places) -> Interval:
    """Measure how often the nearest picture of another unit has the same label: the most of a line.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    labels : ndarray of object, shape (n,)
        ``""`` where unknown: these pairs do not count.
    units : ndarray of int64, shape (n,)
    """
    if len(vectors) < 2:
        return measure_share(np.zeros(0), np.zeros(0))
    near, similarities = find_neighbors(vectors, 1, units)
    others = labels[near[:, 0]]
    counts = (labels != "") & (others != "") & np.isfinite(similarities[:, 0])
    return measure_share((labels == others)[counts], units[counts].astype(str))


class _Tables:
    """Weights of groups and classes, by unit."""

    def __init__(self, groups: Places, labels: Places, units: Places) -> None:
        self._own = weigh_units(units)
        n_labels = int(labels.max()) + 1
        self._cells = np.unique(groups * n_labels + labels, return_inverse=True)
        cells = self._cells[0]
        self._group_of_cell, self._label_of_cell = cells // n_labels, cells % n_labels
        kinds = (self._cells[1], groups, labels, np.zeros(len(groups), dtype=np.int64))
        # Of each kind of group the part that each unit has in it.
        self._parts = [
            np.unique(units * (int(kind.max()) + 1) + kind, return_inverse=True)[1]
            for kind in kinds
        ]

    def score(self, weights: Scores) -> dict[str, Doubles]:
        """Return the figures under weights of the pictures, each of shape (n_draws,)."""
        found = [self._score(one) for one in np.asarray(weights, dtype=np.float64)]
        return {name: np.array([one[place] for one in found]) for place, name in enumerate(FIGURES)}

    def _score(self, weights: Doubles) -> tuple[float, float, float]:
        own = weights * self._own
        cells: Doubles = np.bincount(self._cells[1], own, minlength=len(self._cells[0])).astype(
            np.float64
        )
        groups: Doubles = np.bincount(self._group_of_cell, cells).astype(np.float64)
        labels: Doubles = np.bincount(self._label_of_cell, cells).astype(np.float64)
        total = cells.sum()
        best = np.zeros(len(groups))
        np.maximum.at(best, self._group_of_cell, cells)
        return (
            self._measure_rand(own, cells, groups, labels, total),
            _measure_v(cells, groups, labels, total),
            float(best.sum() / total),
        )

    def _measure_rand(
        self, own: Doubles, cells: Doubles, groups: Doubles, labels: Doubles, total: float
    ) -> float:
        # Twice the pairs of different units: all squares less those within a unit.
        both, by_group, by_label, every = (
            float((sums**2).sum() - (np.bincount(parts, own) ** 2).sum())
            for sums, parts in zip(
                (cells, groups, labels, np.array([total])), self._parts, strict=True
            )
        )
        if every <= 0:
            return float("nan")
        expected = by_group * by_label / every
        most = (by_group + by_label) / 2
        return 1.0 if most == expected else (both - expected) / (most - expected)


def _measure_v(cells: Doubles, groups: Doubles, labels: Doubles, total: float) -> float:
    of_both, of_groups, of_labels = (_find_entropy(one / total) for one in (cells, groups, labels))
    homogeneity = 1.0 if of_labels == 0 else 1 - (of_both - of_groups) / of_labels
    completeness = 1.0 if of_groups == 0 else 1 - (of_both - of_labels) / of_groups
    whole = homogeneity + completeness
    return 0.0 if whole <= 0 else 2 * homogeneity * completeness / whole


def _find_entropy(shares: Doubles) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())
