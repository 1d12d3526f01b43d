"""Rows under several weightings at once: what metrics are made of.

A weighting says how often a resample drew each image, so one pass over the rows gives a metric and
all of its bootstrap resamples (:mod:`bioprobe.intervals`). Sums are products with the weights; what
depends on the order of scores, as AUROC does, is counted once and weighed often.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bioprobe.task.lazy_rows import iter_parts
from bioprobe.types import Doubles, Floats, Mask, Places


def sum_weights(weights: Floats) -> Doubles:
    """Return the sum of each weighting, shape (n_weightings,)."""
    return np.asarray(weights.sum(axis=1, dtype=np.float64))


# Weights that are made doubles at once: 8 MB.
_DOUBLED_AT_ONCE = 1 << 20


def sum_products(weights: Floats, rows: Doubles) -> Doubles:
    """Add up numbers of rows by their weights.

    Parameters
    ----------
    weights : ndarray of float, shape (n_weightings, n_images)
    rows : ndarray of float64, shape (n_images, n_numbers)

    Returns
    -------
    ndarray of float64, shape (n_weightings, n_numbers)
    """
    sums = np.empty((len(weights), rows.shape[1]))
    for part in iter_parts(len(weights), max(1, _DOUBLED_AT_ONCE // max(1, weights.shape[1]))):
        np.matmul(weights[part].astype(np.float64), rows, out=sums[part])
    return sums


def stand_by_image(weights: Floats) -> Floats:
    """Return weights as :meth:`Ranks.weigh` takes them, shape (n_images, n_weightings)."""
    return np.ascontiguousarray(np.asarray(weights, dtype=np.float32).T)


class ClassRanks:
    """The ranks of each class that a row has, found once for all weightings.

    They take no more memory than single-precision probabilities. The more images, the fewer
    weightings are held at once: to find them anew for each part would not grow in proportion.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
    probabilities : ndarray of float, shape (n_images, n_classes)
    """

    def __init__(self, truth: Places, probabilities: Floats) -> None:
        self._truth, self._probabilities = truth, probabilities

    def __iter__(self) -> Iterator[Ranks]:
        return iter(self._found)

    @cached_property
    def _found(self) -> list[Ranks]:
        return [
            Ranks.find(self._probabilities[:, c], self._truth == c)
            for c in np.unique(self._truth[self._truth >= 0]).tolist()
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class Ranks:
    """Where the scores of rows stand among those of one class.

    Parameters
    ----------
    own : RowLists
        Rows of the class, by their distinct scores, ascending.
    others : RowLists
        Other rows: between two of these scores (even places), at one (odd places); place 0, below
        all of them, is left empty.
    """

    own: RowLists
    others: RowLists

    @classmethod
    def find(cls, scores: Floats, is_own: Mask) -> Ranks:
        """Compare scores of rows, shape (n_images,), some of which are of the class."""
        steps, own_places = np.unique(scores[is_own], return_inverse=True)
        rivals = np.flatnonzero(~is_own & (scores >= steps[0])) if len(steps) else own_places
        asked = scores[rivals]
        places = np.searchsorted(steps, asked, "left") + np.searchsorted(steps, asked, "right")
        return cls(
            RowLists.sort(own_places, np.flatnonzero(is_own), len(steps)),
            RowLists.sort(places, rivals, 2 * len(steps) + 1),
        )

    def weigh(self, by_image: Floats) -> tuple[Doubles, Doubles]:
        """Add up the weights of the rows at each place.

        Parameters
        ----------
        by_image : ndarray of float32, shape (n_images, n_weightings)

        Returns
        -------
        own : ndarray of float64, shape (n_scores, n_weightings)
        others : ndarray of float64, shape (2 * n_scores + 1, n_weightings)
        """
        return self.own.add_up(by_image), self.others.add_up(by_image)


@dataclasses.dataclass(frozen=True, eq=False)
class RowLists:
    """Rows by place: those of place ``i`` stand from ``starts[i]`` to ``starts[i + 1]``."""

    rows: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]

    @classmethod
    def sort(cls, places: Places, rows: Places, n_places: int) -> RowLists:
        """List rows by their places, each in the order in which they come."""
        order = np.argsort(places, kind="stable")
        starts = np.zeros(n_places + 1, dtype=np.int32)
        np.cumsum(np.bincount(places, minlength=n_places), out=starts[1:])
        return cls(rows[order].astype(np.int32), starts)

    def add_up(self, by_image: Floats) -> Doubles:
        """Add up the weights of the rows at each place, shape (n_places, n_weightings)."""
        from scipy.sparse import csr_array

        ones = np.ones(len(self.rows), dtype=np.float32)
        shape = len(self.starts) - 1, len(by_image)
        return np.asarray(
            csr_array((ones, self.rows, self.starts), shape=shape) @ by_image, dtype=np.float64
        )


def share_wins(own: Doubles, others: Doubles, n_own: Doubles, n_others: Doubles) -> Doubles:
    """Return how often a row of a class scores above another: the AUROC of each weighting.

    Parameters
    ----------
    own, others : ndarray of float64
        From :meth:`Ranks.weigh`.
    n_own, n_others : ndarray of float64, shape (n_weightings,)
        Weights of all rows of the class, and of all others.
    """
    # What scores below every row of the class is the rest: mostly nearly all, and not summed.
    lower = n_others - others[1:].sum(axis=0)
    below = lower + np.cumsum(others[1:], axis=0)[::2] - others[1::2]
    wins = (own * (below + others[1::2] / 2)).sum(axis=0)
    n_pairs = n_own * n_others
    return np.where(n_pairs > 0, wins / n_pairs, np.nan)
