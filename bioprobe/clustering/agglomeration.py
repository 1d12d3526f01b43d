"""Groups that are joined two by two, without all pairs in memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bioprobe.clustering.neighbors import (
    MOST_COMPARED,
    choose_arrays,
    find_equal,
    find_neighbors,
)
from bioprobe.progress import Progress, Step, tell_nobody
from bioprobe.types import Doubles, Places, Rows, Vectors

# How far two groups are apart.
AVERAGE, WARD = "average", "ward"
_ROWS_AT_ONCE = 512
# Of many groups these are compared with each.
_CANDIDATES = 12


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """Which groups were joined, and how far apart they were.

    Parameters
    ----------
    n : int
        Vectors that it is of.
    first, second : ndarray of int64, shape (n - 1,)
        A vector of each of the two groups.
    heights : ndarray of float64, shape (n - 1,)
        Never less than those before: one less the mean cosine similarity of their vectors for the
        average linkage, for Ward's by how much the sum of squared distances grows.
    """

    n: int
    first: Rows
    second: Rows
    heights: Doubles

    def cut(self, n_groups: int) -> Places:
        """Return the group of each vector where there are so many, from 0, shape (n,)."""
        return self._join(max(0, self.n - n_groups))

    def cut_at(self, height: float) -> Places:
        """Return the group of each vector where those no further apart are joined."""
        return self._join(int(np.searchsorted(self.heights, height, side="right")))

    def _join(self, n_joined: int) -> Places:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        ends = self.first[:n_joined], self.second[:n_joined]
        links = csr_array((np.ones(n_joined), ends), shape=(self.n, self.n))
        parts: Places = connected_components(links, directed=False)[1].astype(np.int64)
        return parts


def build_tree(
    vectors: Vectors, weights: Doubles, linkage: str, told: Progress = tell_nobody
) -> Tree:
    """Join groups of vectors, the nearest first, until one is left.

    Two groups that are each other's nearest are joined whatever else is, which gives the same tree
    as joining the nearest of all each time; so many are joined at once. Distances come from the
    means of groups: memory grows with the number of vectors, not with that of pairs.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
        Beyond 20,000 groups only the nearest few of each are compared.
    weights : ndarray of float64, shape (n,)
        How much each counts.
    linkage : {"average", "ward"}
    told : callable
        Told how many are joined.

    References
    ----------
    Murtagh 1983, *A Survey of Recent Advances in Hierarchical Clustering Algorithms* (reciprocal
    nearest neighbours); Sumengen et al. 2021, *Scaling Hierarchical Agglomerative Clustering to
    Billion-sized Datasets*, arXiv 2105.11653 (many at once).
    """
    n = len(vectors)
    # Equal vectors are one group at once: among them no two would be each other's nearest.
    own = find_equal(vectors)
    alone = np.flatnonzero(own == np.arange(n))
    copies = np.flatnonzero(own != np.arange(n))
    counted: Doubles = np.bincount(own, weights, minlength=n).astype(np.float64, copy=False)
    groups = _Groups(vectors[alone], counted[alone], linkage, told)
    while len(groups.means) > 1:
        groups.join()
        told(Step(len(alone) - len(groups.means), len(alone), "groups joined"))
    first = np.concatenate([own[copies], *(alone[part] for part in groups.first)])
    second = np.concatenate([copies, *(alone[part] for part in groups.second)])
    heights = np.concatenate([np.zeros(len(copies)), *groups.found])
    # Of equal heights what was joined first comes first: what it is part of came later.
    order = np.argsort(heights, kind="stable")
    return Tree(n, first[order], second[order], heights[order])


class _Groups:
    """Groups that are left, by their means, and what was joined."""

    def __init__(self, vectors: Vectors, weights: Doubles, linkage: str, told: Progress) -> None:
        self.means = np.ascontiguousarray(vectors, dtype=np.float32)
        self.linkage, self._told = linkage, told
        self._weights = np.asarray(weights, dtype=np.float64)
        # A vector of each, and how far apart its parts were.
        self._one = np.arange(len(vectors), dtype=np.int64)
        self._height = np.zeros(len(vectors))
        self._nearest = np.full(len(vectors), -1, dtype=np.int64)
        self._distance = np.zeros(len(vectors))
        self.first: list[Rows] = []
        self.second: list[Rows] = []
        self.found: list[Doubles] = []

    def join(self) -> None:
        """Join all pairs that are each other's nearest."""
        n = len(self.means)
        unknown = np.flatnonzero(self._nearest < 0)
        self._nearest[unknown], self._distance[unknown] = self._find_nearest(unknown)
        nearest, own = self._nearest, np.arange(n)
        low = np.flatnonzero((nearest[nearest] == own) & (own < nearest))
        if not len(low):
            # Of equal distances each may lie nearest to a third: the nearest of all are joined.
            at = int(self._distance.argmin())
            nearest[nearest[at]] = at
            low = np.array([min(at, nearest[at])])
        high = nearest[low]
        self._put(low, high)

    def _put(self, low: Rows, high: Rows) -> None:
        n = len(self.means)
        weights = self._weights[low] + self._weights[high]
        share = (self._weights[low] / weights)[:, None].astype(np.float32)
        means = self.means[low] * share + self.means[high] * (1 - share)
        heights = np.maximum(self._distance[low], self._height[low])
        heights = np.maximum(heights, self._height[high])
        self.first.append(self._one[low])
        self.second.append(self._one[high])
        self.found.append(heights)
        is_joined = np.zeros(n, dtype=bool)
        is_joined[low] = is_joined[high] = True
        left = np.flatnonzero(~is_joined)
        place = np.full(n, -1, dtype=np.int64)
        place[left] = np.arange(len(left))
        nearest = self._nearest[left]
        # Whose nearest was joined looks again; of the others it stays, as joining brings none near.
        self._nearest = np.concatenate([place[nearest], np.full(len(low), -1, np.int64)])
        self._distance = np.concatenate([self._distance[left], np.zeros(len(low))])
        self.means = np.concatenate([self.means[left], means])
        self._weights = np.concatenate([self._weights[left], weights])
        self._one = np.concatenate([self._one[left], self._one[low]])
        self._height = np.concatenate([self._height[left], heights])

    def _find_nearest(self, rows: Rows) -> tuple[Rows, Doubles]:
        if len(self.means) > MOST_COMPARED:
            return self._look_up(rows)
        make = choose_arrays(len(self.means))
        means, weights = make(self.means), make(self._weights.astype(np.float32))
        squares = (means * means).sum(1)
        nearest = np.empty(len(rows), dtype=np.int64)
        distances = np.empty(len(rows), dtype=np.float64)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            asked, line = make(rows[part]), np.arange(len(rows[part]))
            products = means[asked] @ means.T
            if self.linkage == AVERAGE:
                apart = 1 - products
            else:
                apart = (squares[asked, None] + squares[None] - 2 * products).clip(min=0)
                apart *= weights[asked, None] * weights[None]
                apart /= weights[asked, None] + weights[None]
            apart[make(line), asked] = np.inf
            nearest[part] = apart.argmin(1)
            distances[part] = np.asarray(apart)[line, nearest[part]]
            self._told(Step(min(part.stop, len(rows)), len(rows), "groups compared"))
        return nearest, distances

    def _look_up(self, rows: Rows) -> tuple[Rows, Doubles]:
        apart: npt.NDArray[np.floating]
        if self.linkage == AVERAGE:
            near, products = find_neighbors(self.means, _CANDIDATES, asked=rows, told=self._told)
            apart = 1 - products
        else:
            squares = (self.means * self.means).sum(axis=1)
            norms = np.sqrt(np.maximum(squares, 1e-12))
            near, cosines = find_neighbors(
                self.means / norms[:, None], _CANDIDATES, asked=rows, told=self._told
            )
            products = cosines * norms[rows, None] * norms[near]
            own, weights = self._weights[rows, None], self._weights[near]
            apart = np.maximum(squares[rows, None] + squares[near] - 2 * products, 0)
            apart = apart * (own * weights / (own + weights))
        best = apart.argmin(axis=1)
        at = np.arange(len(rows))
        return near[at, best], apart[at, best].astype(np.float64)
