"""Rows under several weightings at once: what metrics are made of.

A weighting says how often a resample drew each image, so one pass over the rows gives a metric and
all of its bootstrap resamples (:mod:`bioprobe.intervals`). Sums are products with the weights; what
depends on the order of scores, as AUROC does, is counted once and weighed often.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
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

    Scores of a class are given up once it is ranked, so that both take no more memory than
    single-precision probabilities of the classes that rows have. The more images, the fewer
    weightings are held at once: to find ranks anew for each part would not grow in proportion.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
    scores : mapping of int to ndarray of float, each of shape (n_images,)
        Of each class that an image has, its probabilities.
    """

    def __init__(self, truth: Places, scores: Mapping[int, Floats]) -> None:
        self._truth, self._scores = truth, dict(scores)
        self._kept: Mask | None = None

    def __iter__(self) -> Iterator[Ranks]:
        """Return the ranks of each class that a row has, in their order."""
        found = self._found
        if self._kept is None:
            yield from found.values()
            return
        for c in np.unique(self._truth[self._kept]).tolist():
            if c in found:
                yield found[c].take(self._kept)

    def take(self, kept: Mask) -> ClassRanks:
        """Return the ranks of some of the rows."""
        some = ClassRanks(self._truth, {})
        some.__dict__.update(_found=self._found, _kept=kept)
        return some

    def clear(self) -> None:
        """Give up all ranks, once whatever is weighed has been."""
        self._scores.clear()
        self._found.clear()

    @cached_property
    def _found(self) -> dict[int, Ranks]:
        return {c: Ranks.find(self._scores.pop(c), self._truth == c) for c in sorted(self._scores)}


@dataclasses.dataclass(frozen=True, eq=False)
class Ranks:
    """Where the scores of rows stand among those of one class.

    Parameters
    ----------
    places : ndarray of int32, shape (n_images,)
        Of a row that is not of the class twice the number of the class's distinct scores that are
        lower, and 1 more where it has one of them: 0 is below all of them. Places of rows of the
        class come after these, in the order of their scores.
    n_scores : int
        Distinct scores of rows of the class.
    """

    places: npt.NDArray[np.int32]
    n_scores: int

    @classmethod
    def find(cls, scores: Floats, is_own: Mask) -> Ranks:
        """Compare scores of rows, shape (n_images,), some of which are of the class."""
        steps, own = np.unique(scores[is_own], return_inverse=True)
        places = np.zeros(len(scores), dtype=np.int32)
        if len(steps):
            rivals = np.flatnonzero(~is_own & (scores >= steps[0]))
            asked = scores[rivals]
            # All are at the first one or above it.
            lower = np.searchsorted(steps, asked, "right") - 1
            places[rivals] = 2 * lower + 1 + (asked > steps[lower])
            places[is_own] = 2 * len(steps) + 1 + own
        return cls(places, len(steps))

    def take(self, kept: Mask) -> Ranks:
        """Return where some of the rows stand among the same scores."""
        return Ranks(self.places[kept], self.n_scores)

    def weigh(self, by_image: Floats) -> tuple[Doubles, Doubles]:
        """Add up the weights of the rows at each place.

        Parameters
        ----------
        by_image : ndarray of float32, shape (n_images, n_weightings)

        Returns
        -------
        own : ndarray of float64, shape (n_scores, n_weightings)
            Of rows of the class, by their distinct scores, ascending.
        others : ndarray of float64, shape (2 * n_scores + 1, n_weightings)
            Of other rows: between two of these scores (even places), at one (odd places); place 0,
            below all of them, is left empty.
        """
        from scipy.sparse import csc_array

        places, n_others = self.places, 2 * self.n_scores + 1
        counted = np.flatnonzero(places)
        if 2 * len(counted) < len(places):
            places, by_image = places[counted], by_image[counted]
        # Weights are read in their order, and the sums are few enough to stay near.
        starts = np.arange(len(places) + 1, dtype=np.int32)
        shape = n_others + self.n_scores, len(places)
        member = csc_array((np.ones(len(places), dtype=np.float32), places, starts), shape=shape)
        sums = np.asarray(member @ by_image, dtype=np.float64)
        sums[0] = 0
        return sums[n_others:], sums[:n_others]


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
