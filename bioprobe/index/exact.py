"""Exact search: every allowed vector is compared.

A similarity is the product in double precision, rounded to float32, and of equal ones the lower
row stands first. So the answers do not depend on how many rows or queries are compared at once,
which single-precision matrix products do.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.store import EmbeddingStore
from bioprobe.store.shard import map_vectors, widen
from bioprobe.types import Mask, Rows, Vectors

# Rows that are compared at once: at 512 numbers each, 64 MB.
_CHUNK_ROWS = 1 << 15
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
        shards = np.searchsorted(self._ends, rows, side="right")
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            start = self._ends[shard] - self._records[shard].n_images
            out[here] = widen(self._map(int(shard))[rows[here] - start])
        return out

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
        for shard, end in enumerate(self._ends):
            first = int(end) - self._records[shard].n_images
            for start in range(first, int(end), _CHUNK_ROWS):
                stop = min(start + _CHUNK_ROWS, int(end))
                inside = np.flatnonzero(allowed[start:stop])
                if not len(inside):
                    continue
                chunk = self._map(shard)[start - first : stop - first]
                if len(inside) < len(chunk):
                    chunk = chunk[inside]
                yield inside + start, widen(chunk)

    def _map_shard(self, shard: int) -> npt.NDArray[Any]:
        # A plain array that looks at the same bytes: slices of a memmap are slow to make.
        return np.asarray(map_vectors(self._folder, self._records[shard], self.dim))


# More candidates than answers are compared again in double precision; a tie or a rounding error at
# the border is then seen.
_MARGIN = 16
# Single-precision products of unit vectors are this close to the exact ones, with room.
_ROUNDING = np.float32(1e-5)
# Products of so few queries numpy makes as quickly; faiss takes longer to load than they do.
_FEW = 4
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
    n_candidates = min(k + _MARGIN, int(allowed.sum()))
    candidates, rough = _collect(vectors, queries, n_candidates, allowed)
    rows, similarities = rank_candidates(vectors, queries, candidates, k)
    if n_candidates == allowed.sum():
        return rows, similarities
    # Where the last candidate is no farther than the last answer, others may be as near as it.
    for query in np.flatnonzero(rough.min(axis=1) + _ROUNDING >= similarities[:, -1]):
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
    for rows, chunk in vectors.iter_chunks(allowed):
        products = chunk @ query[0]
        kept = products >= bound
        near.append(rows[kept])
        rough.append(products[kept])
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


def _collect(
    vectors: StoredVectors, queries: Vectors, n_candidates: int, allowed: Mask
) -> tuple[Rows, Vectors]:
    """Return the nearest by single-precision products, in no order."""
    find = _find_by_numpy if len(queries) <= _FEW else _find_by_faiss
    best_rows = np.zeros((len(queries), 0), dtype=np.int64)
    best = np.zeros((len(queries), 0), dtype=np.float32)
    for rows, chunk in vectors.iter_chunks(allowed):
        n_here = min(n_candidates, len(rows))
        similarities, positions = find(queries, chunk, n_here)
        best_rows = np.concatenate([best_rows, rows[positions]], axis=1)
        best = np.concatenate([best, similarities], axis=1)
        if best.shape[1] > n_candidates:
            kept = np.argpartition(-best, n_candidates - 1, axis=1)[:, :n_candidates]
            best_rows = np.take_along_axis(best_rows, kept, axis=1)
            best = np.take_along_axis(best, kept, axis=1)
    return best_rows, best


def _find_by_faiss(queries: Vectors, chunk: Vectors, n: int) -> tuple[Vectors, Rows]:
    import faiss

    found: tuple[Vectors, Rows] = faiss.knn(queries, chunk, n, metric=faiss.METRIC_INNER_PRODUCT)
    return found


def _find_by_numpy(queries: Vectors, chunk: Vectors, n: int) -> tuple[Vectors, Rows]:
    products = np.stack([chunk @ query for query in queries])
    nearest = np.argpartition(-products, n - 1, axis=1)[:, :n]
    return np.take_along_axis(products, nearest, axis=1), nearest


def _find_from(
    vectors: StoredVectors,
    query: npt.NDArray[np.float32],
    least: np.float32,
    allowed: Mask,
) -> Rows:
    """Return all rows of at least a similarity."""
    near = [rows[chunk @ query >= least] for rows, chunk in vectors.iter_chunks(allowed)]
    return np.concatenate(near)
