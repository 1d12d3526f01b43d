"""Pictures along one line, so that neighbours are alike."""

from __future__ import annotations

import collections

import numpy as np

from bioprobe.clustering.clusters import Order
from bioprobe.clustering.neighbors import average_neighbors, find_equal, find_neighbors
from bioprobe.store.view import View
from bioprobe.types import Places, Rows, Vectors

# Neighbours of each that a line may be changed toward.
_NEIGHBORS = 12
# Places that one change may turn or move a stretch over.
_LONGEST = 1000
# Pictures of a stretch that is moved as it is.
_MOVED = 3
_LEAST_GAIN, _MOST_FITTING = 1e-6, 1.0
# Ends of stretches that are all compared when these are joined.
_FEW_ENDS = 4000


def order_alike(vectors: Vectors) -> Rows:
    """Return an order in which neighbours are alike: a short path through all vectors.

    The pairs that are most alike are joined first, as far as each has two neighbours and no ring
    comes about; the stretches that this gives are joined by their ends in the same way; then
    stretches are turned and moved as long as the sum of similarities along the line grows.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows

    Returns
    -------
    ndarray of int64, shape (n,)
        Places in ``vectors``. The same for the same vectors.

    References
    ----------
    Bentley 1992, *Fast algorithms for geometric traveling salesman problems*: greedy edges,
    neighbour lists and 2-opt with Or-opt. Sorting pictures for a quicker review: arXiv 2510.14596.
    """
    # Equal vectors stand together: among them none is nearer than another.
    own = find_equal(vectors)
    alone = np.flatnonzero(own == np.arange(len(own)))
    place = np.empty(len(own), dtype=np.int64)
    place[alone[_order_different(vectors[alone])]] = np.arange(len(alone))
    return np.argsort(place[own], kind="stable").astype(np.int64)


def _order_different(vectors: Vectors) -> Rows:
    n = len(vectors)
    if n < 3:
        return np.arange(n, dtype=np.int64)
    near, similarities = find_neighbors(vectors, min(_NEIGHBORS, n - 1))
    line = _join_greedily(vectors, near, similarities)
    return np.array(_Line(vectors, near, similarities, line).improve(), dtype=np.int64)


class _Stretches:
    """Stretches of a line that grow by joining ends."""

    def __init__(self, n: int) -> None:
        self.beside: list[list[int]] = [[] for _ in range(n)]
        self._other_end = list(range(n))
        self.n_joined = 0

    def join(self, one: int, other: int) -> None:
        """Join two pictures, if both are ends of different stretches."""
        beside, ends = self.beside, self._other_end
        if len(beside[one]) > 1 or len(beside[other]) > 1 or ends[one] == other:
            return
        beside[one].append(other)
        beside[other].append(one)
        first, last = ends[one], ends[other]
        ends[first], ends[last] = last, first
        self.n_joined += 1

    def list_ends(self) -> Rows:
        """Return the pictures that have less than two neighbours, ascending."""
        return np.array([at for at, one in enumerate(self.beside) if len(one) < 2], dtype=np.int64)

    def find_far_end(self, one: int) -> int:
        """Return the other end of the stretch that a picture is an end of."""
        return self._other_end[one]

    def walk(self) -> list[int]:
        """Return the pictures of the one stretch that is left, from end to end."""
        start = min(at for at, one in enumerate(self.beside) if len(one) < 2)
        line, before = [start], -1
        while len(line) < len(self.beside):
            here = line[-1]
            line.append(next(one for one in self.beside[here] if one != before))
            before = here
        return line


def _join_greedily(vectors: Vectors, near: Rows, similarities: Vectors) -> list[int]:
    n = len(vectors)
    stretches = _Stretches(n)
    first = np.repeat(np.arange(n), near.shape[1])
    _join_in_order(stretches, first, near.ravel(), similarities.ravel())
    while stretches.n_joined < n - 1:
        ends = stretches.list_ends()
        before = stretches.n_joined
        # The other end of the same stretch is no neighbour; a few of the nearest may be taken.
        own = np.array([min(one, stretches.find_far_end(one)) for one in ends.tolist()])
        k = min(len(ends) - 1, 8 if len(ends) > _FEW_ENDS else max(8, 200_000 // len(ends)))
        among, alike = find_neighbors(vectors[ends], k, own)
        known = np.isfinite(alike).ravel()
        first, second = np.repeat(ends, k)[known], ends[among.ravel()[known]]
        _join_in_order(stretches, first, second, alike.ravel()[known])
        if stretches.n_joined == before:
            _join_rest(stretches, ends)
    return stretches.walk()


def _join_in_order(stretches: _Stretches, first: Rows, second: Rows, similarities: Vectors) -> None:
    """Join pairs, those most alike first, and of equal ones the first."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((high, low, -similarities))
    for one, other in zip(low[order].tolist(), high[order].tolist(), strict=True):
        stretches.join(one, other)


def _join_rest(stretches: _Stretches, ends: Rows) -> None:
    """Join all stretches as they come, where nothing near is known of any."""
    heads = [one for one in ends.tolist() if one <= stretches.find_far_end(one)]
    tails = [stretches.find_far_end(one) for one in heads]
    for tail, head in zip(tails, heads[1:], strict=False):
        stretches.join(tail, head)


class _Line:
    """A line that is changed as long as the sum of similarities along it grows.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    near : ndarray of int64, shape (n, k)
    similarities : ndarray of float32, shape (n, k)
        Greatest first.
    line : list of int
    """

    def __init__(
        self, vectors: Vectors, near: Rows, similarities: Vectors, line: list[int]
    ) -> None:
        self._rows = list(np.ascontiguousarray(vectors))
        self._near = near.tolist()
        self._alike = similarities.tolist()
        self.line = line
        self._place = [0] * len(line)
        for at, one in enumerate(line):
            self._place[one] = at
        self._known: dict[int, float] = {}

    def improve(self) -> list[int]:
        """Return the line, changed until nothing that is near makes it better."""
        waiting = collections.deque(self.line)
        is_waiting = [True] * len(self.line)
        while waiting:
            one = waiting.popleft()
            is_waiting[one] = False
            changed = self._turn(one) or self._move(one)
            for other in changed:
                if not is_waiting[other]:
                    is_waiting[other] = True
                    waiting.append(other)
        return self.line

    def _compare(self, one: int, other: int) -> float:
        key = one * len(self._rows) + other if one < other else other * len(self._rows) + one
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = float(self._rows[one] @ self._rows[other])
        return found

    def _at(self, place: int) -> int:
        """Return the picture at a place, -1 beyond the ends."""
        return self.line[place] if 0 <= place < len(self.line) else -1

    def _link(self, one: int, other: int) -> float:
        return 0.0 if one < 0 or other < 0 else self._compare(one, other)

    def _turn(self, one: int) -> tuple[int, ...]:
        """Turn a stretch so that a picture comes beside one that is near, and return its ends."""
        for step in (1, -1):
            at = self._place[one]
            after = self._at(at + step)
            now = self._link(one, after)
            for other, alike in zip(self._near[one], self._alike[one], strict=True):
                if alike <= now:
                    break
                there = self._place[other]
                beyond = self._at(there + step)
                gain = alike + self._link(after, beyond) - now - self._link(other, beyond)
                if gain <= _LEAST_GAIN:
                    continue
                low, high = (at + 1, there) if step == 1 else (there, at - 1)
                if there < at if step == 1 else there > at:
                    low, high = (there + 1, at) if step == 1 else (at, there - 1)
                if self._reverse(low, high):
                    return tuple(found for found in (one, after, other, beyond) if found >= 0)
        return ()

    def _reverse(self, low: int, high: int) -> bool:
        n = len(self.line)
        if high - low + 1 > _LONGEST and n > 2 * _LONGEST:
            return False
        stretch = self.line[low : high + 1]
        stretch.reverse()
        self._put(low, stretch)
        return True

    def _put(self, low: int, stretch: list[int]) -> None:
        self.line[low : low + len(stretch)] = stretch
        for at, one in enumerate(stretch, low):
            self._place[one] = at

    def _move(self, one: int) -> tuple[int, ...]:
        """Move a few pictures beside one that is near to the first of them."""
        at = self._place[one]
        for length in range(1, _MOVED + 1):
            for low, high in dict.fromkeys(((at, at + length - 1), (at - length + 1, at))):
                if low < 0 or high >= len(self.line):
                    continue
                before, after = self._at(low - 1), self._at(high + 1)
                first, last = self.line[low], self.line[high]
                lost = self._link(before, first) + self._link(last, after)
                freed = self._link(before, after) - lost
                far = last if one == first else first
                for other, alike in zip(self._near[one], self._alike[one], strict=True):
                    # What is farther gains nothing, but where the other end fits by as much.
                    if freed + alike + _MOST_FITTING <= _LEAST_GAIN:
                        break
                    there = self._place[other]
                    if low <= there <= high or abs(there - at) > _LONGEST:
                        continue
                    for step in (1, -1):
                        beyond = self._at(there + step)
                        if beyond >= 0 and low <= self._place[beyond] <= high:
                            continue
                        gain = freed + alike + self._link(far, beyond) - self._link(other, beyond)
                        if gain > _LEAST_GAIN:
                            self._insert(low, high, one, there, step)
                            ends = (before, after, first, last, other, beyond)
                            return tuple(found for found in ends if found >= 0)
        return ()

    def _insert(self, low: int, high: int, one: int, there: int, step: int) -> None:
        stretch = self.line[low : high + 1]
        # The picture itself comes to stand beside the other.
        if (stretch[0] == one) != (step == 1):
            stretch.reverse()
        if there > high:
            stop = there + 1 if step == 1 else there
            self._put(low, self.line[high + 1 : stop] + stretch)
        else:
            start = there + 1 if step == 1 else there
            self._put(start, stretch + self.line[start:low])


def order_images(view: View, averaged: int, units: Places, name: str) -> Order:
    """Sort the pictures of a view along one line.

    Parameters
    ----------
    view : View
    averaged : int
        Nearest neighbours of other units that each vector is averaged with first; 0 for none.
    units : ndarray of int64, shape (n_images,)
        From :func:`bioprobe.clustering.clusters.find_units`.
    name : str
        Of the column that keeps the places.
    """
    vectors = view.read_vectors()
    line = order_alike(average_neighbors(vectors, averaged, units))
    along = np.einsum("nd,nd->n", vectors[line[1:]], vectors[line[:-1]])
    similarities = np.append(np.nan, along.astype(np.float64))[: len(line)]
    provenance = view.describe({"averaged": averaged, "column": name})
    return Order(view.images, view.rows[line], similarities, name, provenance)
