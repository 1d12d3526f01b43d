"""Exact search: every allowed vector is compared.

A similarity is the product in double precision, rounded to float32, and of equal ones the lower
row stands first. So the answers do not depend on how many rows or queries are compared at once,
which single-precision matrix products do.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.cores import map_alone
from bioprobe.store import EmbeddingStore
from bioprobe.store.shard import map_vectors, widen
from bioprobe.types import Mask, Rows, Vectors

# Rows that are compared at once: at 512 numbers each, 64 MB.
_CHUNK_ROWS = 1 << 15
# To copy the allowed rows takes longer than to multiply all, where more than these are allowed.
_COMPARED_FRACTION = 0.2
# Vectors that are held in memory where they are asked again and again.
_MAX_HELD_BYTES = 1 << 28
# Each mapped shard holds a file open, and what was read of it in memory.
_MAX_OPEN_SHARDS, _MAX_OPEN_BYTES = 128, 1 << 28


class StoredVectors:
    """Vectors of a store, of which only those asked for are in memory.

    Parameters
    ----------
    store : EmbeddingStore
        As it is now; a later append is not seen.
    """

    def __init__(self, store: EmbeddingStore) -> None:
        self.dim = store.manifest.dim
        self._folder = store.folder / "shards"
        self._records = store.manifest.present_shards
        self._ends = np.cumsum([record.n_images for record in self._records], dtype=np.int64)
        row_bytes = self.dim * np.dtype(store.manifest.dtype).itemsize
        largest = max([record.n_images for record in self._records], default=0) * row_bytes
        n_open = _MAX_OPEN_BYTES // max(1, largest)
        self._map = functools.lru_cache(min(max(1, n_open), _MAX_OPEN_SHARDS))(self._map_shard)
        self._held: Vectors | None = None
        self._is_half = np.dtype(store.manifest.dtype) == np.float16

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def take(self, rows: Rows) -> Vectors:
        """Read some rows.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            In any order.

        Returns
        -------
        ndarray of float32, shape (n, dim), unit rows
        """
        out = np.empty((len(rows), self.dim), dtype=np.float32)
        if self._held is not None:
            return np.take(self._held, rows, axis=0, out=out)
        shards = np.searchsorted(self._ends, rows, side="right")
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            start = self._ends[shard] - self._records[shard].n_images
            out[here] = widen(self._map(int(shard))[rows[here] - start])
        return out

    def hold(self) -> None:
        """Read all into memory, in single precision, unless they are too large for it.

        For whoever asks again: half precision is then widened once, and the pages of memory are
        larger than those of a file, so that more vectors a second can be looked at.
        """
        n_bytes = len(self) * self.dim * np.dtype(np.float32).itemsize
        if self._held is None and n_bytes <= _MAX_HELD_BYTES:
            held = np.empty((len(self), self.dim), dtype=np.float32)
            for part in self._split(_CHUNK_ROWS):
                held[part] = widen(self._look(part))
            self._held = held

    def iter_chunks(self, allowed: Mask) -> Iterator[tuple[Rows, Vectors]]:
        """Read the allowed rows in their order, some at a time.

        Parameters
        ----------
        allowed : ndarray of bool, shape (n_rows,)

        Yields
        ------
        rows : ndarray of int64, shape (n,)
        vectors : ndarray of float32, shape (n, dim), unit rows
            Not copied where the whole chunk is allowed and stored so.
        """
        for part in self.split(allowed, _CHUNK_ROWS):
            yield self.read(part, allowed)

    def split(self, allowed: Mask, n_rows: int) -> Iterator[slice]:
        """Return rows one after the other, no more than so many at once, with an allowed one."""
        return (part for part in self._split(n_rows) if allowed[part].any())

    def read(self, part: slice, allowed: Mask) -> tuple[Rows, Vectors]:
        """Read the allowed rows of what :meth:`split` returned; as :meth:`iter_chunks` has them."""
        chunk, inside = self._look(part), np.flatnonzero(allowed[part])
        if len(inside) < len(chunk):
            chunk = chunk[inside]
        return inside + part.start, widen(chunk)

    def multiply(self, queries: Vectors, allowed: Mask) -> Iterator[tuple[Rows, Vectors]]:
        """Multiply the allowed rows with a few queries, in as few products as can be.

        Parameters
        ----------
        queries : ndarray of float32, shape (n_queries, dim)
        allowed : ndarray of bool, shape (n_rows,)

        Yields
        ------
        rows : ndarray of int64, shape (n,)
        products : ndarray of float32, shape (n, n_queries)
        """
        is_copied = self._is_half and self._held is None
        if is_copied or allowed.mean() < _COMPARED_FRACTION:
            for rows, chunk in self.iter_chunks(allowed):
                yield rows, np.stack([chunk @ query for query in queries], axis=1)
            return
        for part in self.split(allowed, len(self)):
            chunk, inside = self._look(part), np.flatnonzero(allowed[part])
            products = np.stack([chunk @ query for query in queries], axis=1)
            every = len(inside) == len(chunk)
            yield inside + part.start, products if every else products[inside]

    def _split(self, n_rows: int) -> Iterator[slice]:
        ends = self._ends.tolist() if self._held is None else [len(self)]
        for first, end in itertools.pairwise([0, *ends]):
            for start in range(first, end, n_rows):
                yield slice(start, min(start + n_rows, end))

    def _look(self, part: slice) -> npt.NDArray[Any]:
        """Return rows of one part as they are stored."""
        if self._held is not None:
            return self._held[part]
        shard = int(np.searchsorted(self._ends, part.start, side="right"))
        first = int(self._ends[shard]) - self._records[shard].n_images
        return self._map(shard)[part.start - first : part.stop - first]

    def _map_shard(self, shard: int) -> npt.NDArray[Any]:
        # A plain array that looks at the same bytes: slices of a memmap are slow to make.
        return np.asarray(map_vectors(self._folder, self._records[shard], self.dim))


# No more candidates than answers and so many are compared again in double precision; where there
# are more, as of equal vectors, all that are near enough are looked for.
_MARGIN = 16
# Single-precision products of unit vectors are this close to the exact ones, with room.
_ROUNDING = np.float32(1e-5)
# Products of so few queries take as long as their vectors take to be read.
_FEW = 4
# So many rows and queries meet at once: their products, 2 MB, stay in the cache of a core.
_ROWS_AT_ONCE, _QUERIES_AT_ONCE = 1024, 512
# Of so many rows, evenly spaced, the greatest product is looked at first.
_ROWS_A_STRAND = 32
# Queries whose candidates are compared at once: few, so that these stay in the cache.
_BATCH = 8
# Numbers of candidates that are held at once, however many there are: 32 MB in double precision.
_HELD = 1 << 22
# Half of the last digit that a table shows.
_SHOWN = 5e-7


def search_exactly(
    vectors: StoredVectors, queries: Vectors, k: int, allowed: Mask
) -> tuple[Rows, Vectors]:
    """Find the nearest of the allowed rows by comparing all of them.

    Parameters
    ----------
    vectors : StoredVectors
    queries : ndarray of float32, shape (n_queries, dim), unit rows
    k : int
        Answers a query, 1 ≤ k ≤ number of allowed rows.
    allowed : ndarray of bool, shape (n_rows,)
        Rows that may be answers.

    Returns
    -------
    rows : ndarray of int64, shape (n_queries, k)
        Nearest first, of equal similarities the lower row first.
    similarities : ndarray of float32, shape (n_queries, k)
    """
    most = k + _MARGIN
    collect = _collect_few if len(queries) <= _FEW else _collect
    candidates, is_cut = collect(vectors, queries, k, most, allowed)
    rows, similarities = rank_candidates(vectors, queries, candidates, k)
    for query in np.flatnonzero(is_cut):
        least = similarities[query, -1] - _ROUNDING
        tied = _find_from(vectors, queries[query], least, allowed)
        answer = rank_candidates(vectors, queries[query : query + 1], tied[None], k)
        rows[query], similarities[query] = answer[0][0], answer[1][0]
    return rows, similarities


def rank_candidates(
    vectors: StoredVectors, queries: Vectors, candidates: Rows, k: int
) -> tuple[Rows, Vectors]:
    """Compare candidates with their queries exactly, and return the k nearest of each.

    Parameters
    ----------
    vectors : StoredVectors
    queries : ndarray of float32, shape (n_queries, dim), unit rows
    candidates : ndarray of int64, shape (n_queries, n_candidates)
        Rows, each once; -1 for none.
    k : int
        No more than ``n_candidates``.

    Returns
    -------
    rows : ndarray of int64, shape (n_queries, k)
        -1 where a query has fewer candidates.
    similarities : ndarray of float32, shape (n_queries, k)
        -inf there.
    """
    rows = np.empty((len(queries), k), dtype=np.int64)
    similarities = np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), _BATCH):
        batch = slice(start, start + _BATCH)
        asked = candidates[batch]
        exact = _compare(vectors, queries[batch], asked)
        order = np.lexsort((asked, -exact), axis=1)[:, :k]
        rows[batch] = np.take_along_axis(asked, order, axis=1)
        similarities[batch] = np.take_along_axis(exact, order, axis=1)
    return rows, similarities


def find_all(
    vectors: StoredVectors,
    query: Vectors,
    allowed: Mask,
    *,
    least: float | None = None,
    most: int | None = None,
) -> tuple[Rows, Vectors]:
    """Find every allowed row that is near enough, by comparing all of them once.

    Parameters
    ----------
    vectors : StoredVectors
    query : ndarray of float32, shape (1, dim), unit rows
    allowed : ndarray of bool, shape (n_rows,)
        Rows that may be answers.
    least : float, optional
        Least similarity, compared at six digits: as a table shows it.
    most : int, optional
        No more than so many, the nearest.

    Returns
    -------
    rows : ndarray of int64, shape (n_found,)
        Nearest first, of equal similarities the lower row first.
    similarities : ndarray of float32, shape (n_found,)
    """
    bound = -np.inf if least is None else least - _SHOWN - _ROUNDING
    near, rough = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    for rows, products in vectors.multiply(query, allowed):
        kept = products[:, 0] >= bound
        near.append(rows[kept])
        rough.append(products[kept, 0])
    found, products = np.concatenate(near), np.concatenate(rough)
    if most is not None and most < len(found):
        last = np.partition(products, len(products) - most)[len(products) - most]
        found = found[products >= last - 2 * _ROUNDING]
    similarities = _compare(vectors, query, found[None])[0]
    if least is not None:
        reached = np.round(similarities.astype(np.float64), 6) >= least
        found, similarities = found[reached], similarities[reached]
    order = np.lexsort((found, -similarities))[:most]
    return found[order], similarities[order]


def _compare(vectors: StoredVectors, queries: Vectors, candidates: Rows) -> Vectors:
    """Return the exact similarity of each candidate, -inf where there is none."""
    exact = np.empty(candidates.shape, dtype=np.float32)
    wide = queries.astype(np.float64)
    n_held = max(1, _HELD // max(1, len(queries) * vectors.dim))
    for start in range(0, candidates.shape[1], n_held):
        asked = candidates[:, start : start + n_held]
        flat = vectors.take(np.maximum(asked, 0).ravel())
        near = flat.reshape(*asked.shape, -1).astype(np.float64)
        products = np.einsum("qcd,qd->qc", near, wide)
        exact[:, start : start + n_held] = np.where(asked >= 0, products, -np.inf)
    return exact


def _collect_few(
    vectors: StoredVectors, queries: Vectors, k: int, most: int, allowed: Mask
) -> tuple[Rows, Mask]:
    """Collect the candidates of a few queries, as :class:`_Candidates` has them."""
    found = _Candidates(len(queries), k, most)
    for rows, products in vectors.multiply(queries, allowed):
        found.add(rows, products)
    return found.list_all()


def _collect(
    vectors: StoredVectors, queries: Vectors, k: int, most: int, allowed: Mask
) -> tuple[Rows, Mask]:
    """Collect the candidates of many queries, in as many threads as there are cores."""
    starts = range(0, len(queries), _QUERIES_AT_ONCE)
    tiles = [np.ascontiguousarray(queries[at : at + _QUERIES_AT_ONCE].T) for at in starts]
    local = threading.local()
    every: list[list[_Candidates]] = []

    def begin() -> None:
        local.products = np.empty(_ROWS_AT_ONCE * tiles[0].shape[1], dtype=np.float32)
        local.found = [_Candidates(tile.shape[1], k, most) for tile in tiles]
        every.append(local.found)

    def compare(part: slice) -> None:
        rows, chunk = vectors.read(part, allowed)
        for tile, found in zip(tiles, local.found, strict=True):
            shape = len(chunk), tile.shape[1]
            products = local.products[: shape[0] * shape[1]].reshape(shape)
            found.add(rows, np.matmul(chunk, tile, out=products))

    for _ in map_alone(compare, vectors.split(allowed, _ROWS_AT_ONCE), begin=begin):
        pass
    joined = [_Candidates.join(of_tile).list_all() for of_tile in zip(*every, strict=True)]
    candidates, is_cut = zip(*joined, strict=True)
    width = max(one.shape[1] for one in candidates)
    wide = [
        np.pad(one, ((0, 0), (0, width - one.shape[1])), constant_values=-1) for one in candidates
    ]
    return np.concatenate(wide), np.concatenate(is_cut)


class _Candidates:
    """Rows that may be among the k nearest of some queries, by single-precision products.

    Parameters
    ----------
    n_queries : int
    k : int
        Answers a query.
    most : int
        No more rows a query, the nearest; what is cut off so is told.
    """

    def __init__(self, n_queries: int, k: int, most: int) -> None:
        self._k, self._most = k, most
        # A row whose product is less is none of the k nearest.
        self._least = np.full(n_queries, -np.inf, dtype=np.float32)
        # The greatest product of what was cut off.
        self._cut_off = np.full(n_queries, -np.inf, dtype=np.float32)
        none = np.zeros(0, dtype=np.int64)
        self._held = [(none, none, np.zeros(0, dtype=np.float32))]
        self._n_new = 0

    def add(self, rows: Rows, products: Vectors) -> None:
        """Take rows of which products with all queries are given, shape (n_rows, n_queries)."""
        n_rows, n_queries = products.shape
        if self._k <= n_rows and not np.isfinite(self._least[0]):
            # Of the first rows already, most are none.
            first = products[: max(self._k, _ROWS_AT_ONCE)]
            kth = np.partition(first, len(first) - self._k, axis=0)[len(first) - self._k]
            self._least = kth - 2 * _ROUNDING
        places, queries = self._find(products)
        self._held.append((queries, rows[places], products[places, queries]))
        self._n_new += len(queries)
        if self._n_new > max(n_queries * self._k, _FEW_NEW):
            self._cut()

    def _find(self, products: Vectors) -> tuple[Rows, Rows]:
        """Return where products are not too small."""
        n_strands = len(products) // _ROWS_A_STRAND
        n_even = n_strands * _ROWS_A_STRAND
        even = products[:n_even].reshape(_ROWS_A_STRAND, n_strands, len(self._least))
        strands, queries = np.nonzero(even.max(axis=0) >= self._least)
        places = strands + n_strands * np.arange(_ROWS_A_STRAND)[:, np.newaxis]
        steps, which = np.nonzero(products[places, queries] >= self._least[queries])
        rest, rest_queries = np.nonzero(products[n_even:] >= self._least)
        return (
            np.concatenate([places[steps, which], rest + n_even]),
            np.concatenate([queries[which], rest_queries]),
        )

    def _cut(self) -> tuple[Rows, Rows, Rows]:
        """Drop what cannot be an answer; return queries, rows, and how many are before in each."""
        queries, rows, products = map(np.concatenate, zip(*self._held, strict=True))
        order = np.lexsort((rows, -products, queries))
        queries, rows, products = queries[order], rows[order], products[order]
        before = np.arange(len(queries)) - np.searchsorted(queries, queries)
        kth = before == self._k - 1
        self._least[queries[kth]] = products[kth] - 2 * _ROUNDING
        near = products >= self._least[queries]
        first = near & (before == self._most)
        self._cut_off[queries[first]] = np.maximum(self._cut_off[queries[first]], products[first])
        kept = near & (before < self._most)
        self._held = [(queries[kept], rows[kept], products[kept])]
        self._n_new = 0
        return queries[kept], rows[kept], before[kept]

    @classmethod
    def join(cls, parts: Sequence[_Candidates]) -> _Candidates:
        """Join those of one set of queries."""
        joined = cls(len(parts[0]._least), parts[0]._k, parts[0]._most)
        joined._held = [one for part in parts for one in part._held]
        joined._cut_off = np.maximum.reduce([part._cut_off for part in parts])
        return joined

    def list_all(self) -> tuple[Rows, Mask]:
        """Return the candidates, shape (n_queries, most or less), -1 for none; and which are cut.

        Of a query that is cut, others than these may be among its k nearest.
        """
        queries, rows, before = self._cut()
        listed = np.full((len(self._least), int(before.max(initial=0)) + 1), -1, dtype=np.int64)
        listed[queries, before] = rows
        return listed, self._cut_off >= self._least


# Fewer new candidates are not worth sorting.
_FEW_NEW = 1024


def _find_from(
    vectors: StoredVectors,
    query: npt.NDArray[np.float32],
    least: np.float32,
    allowed: Mask,
) -> Rows:
    """Return all rows of at least a similarity."""
    products = vectors.multiply(query[np.newaxis], allowed)
    return np.concatenate([rows[of_query[:, 0] >= least] for rows, of_query in products])
