"""Exact search: every allowed vector is compared.

A similarity is the product in double precision, rounded to float32, and of equal ones the lower
row stands first. So the answers do not depend on how many rows or queries are compared at once,
which single-precision matrix products do.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.cores import each_alone, map_alone
from bioprobe.devices import find_gpu
from bioprobe.engines import Engine
from bioprobe.errors import StoreError
from bioprobe.index.on_device import find_nearest
from bioprobe.store import EmbeddingStore
from bioprobe.store.manifest import ShardRecord
from bioprobe.store.shard import map_vectors, multiply_few, reading_shard, widen
from bioprobe.types import Mask, Rows, Vectors

# Rows that are compared at once: at 512 numbers each, 64 MB.
_CHUNK_ROWS = 1 << 15
# Of what is looked at where it is mapped, nothing is held: with more at once fewer are found twice.
_VIEWED_ROWS = 1 << 17
# Rows that are compared by one part of an engine's work: at 512 numbers each, 512 MB.
_PART_ROWS = 1 << 18
# To copy the allowed rows takes longer than to multiply all, where more than these are allowed.
_COMPARED_FRACTION = 0.2
# Vectors that are held in memory where they are asked again and again.
_MAX_HELD_BYTES = 1 << 28
# Each mapped shard holds a file open, and what was read of it in memory.
_MAX_OPEN_SHARDS, _MAX_OPEN_BYTES = 128, 1 << 28
# Of a shard fewer rows than these are read one by one, from a file that stays open: what is mapped
# is brought in with what lies around it, and has to be let go. Few vectors can stay.
_PICKED_FRACTION, _CAN_PICK, _STAYING_BYTES = 0.1, hasattr(os, "pread"), 1 << 28


class StoredVectors:
    """Vectors of a store, of which only those asked for are in memory.

    Parameters
    ----------
    store : EmbeddingStore
        As it is now; a later append is not seen.
    engine : Engine, optional
        Compares parts of them elsewhere; by default all are compared here.
    """

    def __init__(self, store: EmbeddingStore, engine: Engine | None = None) -> None:
        self._store, self.engine = store, engine
        self.dim = store.manifest.dim
        self._folder = store.folder / "shards"
        self._records = store.manifest.present_shards
        self._ends = np.cumsum([record.n_images for record in self._records], dtype=np.int64)
        row_bytes = self.dim * np.dtype(store.manifest.dtype).itemsize
        largest = max([record.n_images for record in self._records], default=0) * row_bytes
        n_mapped, n_open = _MAX_OPEN_BYTES // max(1, largest), _count_open_shards()
        # They hold no reference to this: with it files are closed.
        at = self._folder, self._records, self.dim
        self._map = functools.lru_cache(min(max(1, n_mapped), n_open))(
            functools.partial(_map_shard, *at)
        )
        self._open = functools.lru_cache(n_open)(functools.partial(_open_shard, *at))
        self._held: Vectors | None = None
        self._is_half = np.dtype(store.manifest.dtype) == np.float16
        self._stays = len(self) * row_bytes <= _STAYING_BYTES

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what reads the same vectors elsewhere."""
        return StoredVectors, (self._store,)

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
        if self._held is not None:
            return np.take(self._held, rows, axis=0)
        if len(self._records) == 1:
            return widen(self._pick(0, rows))
        out = np.empty((len(rows), self.dim), dtype=np.float32)
        shards = np.searchsorted(self._ends, rows, side="right")
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            start = self._ends[shard] - self._records[shard].n_images
            out[here] = widen(self._pick(int(shard), rows[here] - start))
        return out

    def _pick(self, shard: int, places: Rows) -> npt.NDArray[Any]:
        """Return vectors of one shard as they are stored."""
        is_much = len(places) > _PICKED_FRACTION * self._records[shard].n_images
        if self._stays or is_much or not _CAN_PICK:
            return np.take(self._map(shard), places, axis=0)
        return self._open(shard).read(places)

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
        is_copied = (self._held is None and self._is_half) or not allowed.all()
        for rows, chunk in self.iter_stored(allowed, _CHUNK_ROWS if is_copied else _VIEWED_ROWS):
            yield rows, widen(chunk)

    def iter_stored(
        self, allowed: Mask, n_rows: int = _CHUNK_ROWS
    ) -> Iterator[tuple[Rows, npt.NDArray[Any]]]:
        """Read the same rows as they are stored, in single or half precision."""
        return (self._choose(part, allowed) for part in self._choose_parts(allowed, n_rows))

    def _choose_parts(self, allowed: Mask, n_rows: int) -> Iterator[slice]:
        """Return rows one after the other, no more than so many at once, with an allowed one."""
        return (part for part in self._split(n_rows) if allowed[part].any())

    def _choose(self, part: slice, allowed: Mask) -> tuple[Rows, npt.NDArray[Any]]:
        """Return the allowed rows of a part, and these as they are stored."""
        chunk, inside = self._look(part), np.flatnonzero(allowed[part])
        if len(inside) < len(chunk):
            chunk = chunk[inside]
        return inside + part.start, chunk

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
        if self._held is None and self._is_half:
            for rows, chunk in self.iter_stored(allowed):
                yield rows, multiply_few(chunk, queries)
            return
        if allowed.mean() < _COMPARED_FRACTION:
            for rows, chunk in self.iter_chunks(allowed):
                yield rows, np.stack([chunk @ query for query in queries], axis=1)
            return
        for part in self._choose_parts(allowed, len(self)):
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


def _count_open_shards() -> int:
    """Return how many shards may be open twice: a fraction of what the system lets a process open.

    Where it lets one open few, several stores may have as many.
    """
    try:
        import resource
    except ImportError:
        return _MAX_OPEN_SHARDS
    n_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if n_files == resource.RLIM_INFINITY:
        return _MAX_OPEN_SHARDS
    return max(1, min(n_files // 8, _MAX_OPEN_SHARDS))


def _map_shard(
    folder: Path, records: Sequence[ShardRecord], dim: int, shard: int
) -> npt.NDArray[Any]:
    # A plain array that looks at the same bytes: slices of a memmap are slow to make.
    return np.asarray(map_vectors(folder, records[shard], dim))


def _open_shard(folder: Path, records: Sequence[ShardRecord], dim: int, shard: int) -> _ShardFile:
    mapped = map_vectors(folder, records[shard], dim)
    assert isinstance(mapped, np.memmap)
    path = Path(str(mapped.filename))
    with reading_shard(path):
        number = os.open(path, os.O_RDONLY)
    return _ShardFile(path, number, mapped.offset, dim, mapped.dtype)


class _ShardFile:
    """The vectors of a shard in a file that stays open, of which nothing is mapped."""

    def __init__(self, path: Path, number: int, first: int, dim: int, dtype: np.dtype[Any]) -> None:
        self._path, self._number, self._first = path, number, first
        self._dim, self._dtype = dim, dtype

    def __del__(self) -> None:
        os.close(self._number)

    def read(self, places: Rows) -> npt.NDArray[Any]:
        """Return some vectors as they are stored, in any order."""
        n_bytes = self._dim * self._dtype.itemsize
        begins = (self._first + n_bytes * places).tolist()
        with reading_shard(self._path):
            found = bytearray().join([os.pread(self._number, n_bytes, begin) for begin in begins])
        if len(found) != n_bytes * len(places):
            msg = f"{self._path} is shorter than it was; run: bioprobe store verify --repair"
            raise StoreError(msg)
        return np.frombuffer(found, self._dtype).reshape(len(places), self._dim)


_Find = Callable[["StoredVectors", Vectors, int, Mask], Iterable[tuple[Rows, Vectors]]]

# So many more candidates than answers are found; where they are not enough, as of equal vectors,
# all that are near enough are looked for.
_MARGIN = 16
# Single-precision products of unit vectors are this close to the exact ones, with room.
_ROUNDING = np.float32(1e-5)
# Products of so few queries take as long as their vectors take to be read.
_FEW = 4
# Queries that a thread of FAISS compares at once, at most.
_QUERIES = 512
_FEWEST = 256
# Of so many products, evenly spaced, the greatest is looked at first.
_STRAND = 32
# Queries whose candidates are compared at once: few, so that these stay in the cache.
_BATCH = 32
# Candidates that a thread compares: with fewer it is not worth its beginning.
_WORTH_A_THREAD = 1 << 14
# Numbers of candidates that are held at once, however many there are: 32 MB in double precision.
NUMBERS_HELD = 1 << 22
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
    if vectors.engine is not None:
        return _search_parts(vectors, vectors.engine, queries, k, allowed)
    device = find_gpu(float(allowed.sum()) * vectors.dim, len(queries))
    if device is not None:
        read = functools.partial(vectors.iter_stored, allowed)
        candidates, products = find_nearest(device, queries, read, k + _MARGIN)
    else:
        find = _find_by_numpy if len(queries) <= _FEW else _find_by_faiss
        candidates, products = _collect(vectors, queries, k + _MARGIN, allowed, find)
    # Of what is farther than this, with room for rounding, nothing is an answer.
    least = _kth(products, k) - 2 * _ROUNDING
    is_near = products >= least[:, np.newaxis]
    rows, similarities = rank_candidates(vectors, queries, _pack(candidates, is_near), k)
    for query in np.flatnonzero(is_near.all(axis=1)) if products.shape[1] < allowed.sum() else ():
        tied = _find_from(vectors, queries[query], least[query], allowed)
        answer = rank_candidates(vectors, queries[query : query + 1], tied[None], k)
        rows[query], similarities[query] = answer[0][0], answer[1][0]
    return rows, similarities


def _search_parts(
    vectors: StoredVectors, engine: Engine, queries: Vectors, k: int, allowed: Mask
) -> tuple[Rows, Vectors]:
    """Find the nearest of each part, and the nearest of these."""
    work = functools.partial(_search_part, vectors, queries, k, allowed)
    rows = np.zeros((len(queries), 0), dtype=np.int64)
    similarities = np.zeros((len(queries), 0), dtype=np.float32)
    for found in engine.map(work, _list_parts(allowed)):
        rows = np.concatenate([rows, found[0]], axis=1)
        similarities = np.concatenate([similarities, found[1]], axis=1)
        order = np.lexsort((rows, -similarities), axis=1)[:, :k]
        rows = np.take_along_axis(rows, order, axis=1)
        similarities = np.take_along_axis(similarities, order, axis=1)
    return rows, similarities


def _search_part(
    vectors: StoredVectors, queries: Vectors, k: int, allowed: Mask, part: slice
) -> tuple[Rows, Vectors]:
    here = _only(allowed, part)
    return search_exactly(vectors, queries, min(k, int(here.sum())), here)


def _list_parts(allowed: Mask) -> list[slice]:
    """Return parts of the rows that have one that is allowed."""
    parts = (slice(at, at + _PART_ROWS) for at in range(0, len(allowed), _PART_ROWS))
    return [part for part in parts if allowed[part].any()]


def _only(allowed: Mask, part: slice) -> Mask:
    here = np.zeros_like(allowed)
    here[part] = allowed[part]
    return here


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

    def rank(part: slice) -> tuple[Rows, Vectors]:
        asked = candidates[part]
        exact = _compare(vectors, queries[part], asked)
        order = np.lexsort((asked, -exact), axis=1)[:, :k]
        return np.take_along_axis(asked, order, axis=1), np.take_along_axis(exact, order, axis=1)

    n_each = max(_BATCH, _WORTH_A_THREAD // max(1, candidates.shape[1]))
    parts = [slice(at, at + n_each) for at in range(0, max(1, len(queries)), n_each)]
    at_once = map if len(parts) == 1 else map_alone
    rows, similarities = zip(*at_once(rank, parts), strict=True)
    return np.concatenate(rows), np.concatenate(similarities)


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
    if vectors.engine is not None:
        work = functools.partial(_find_part, vectors, query, allowed, least, most)
        parts = list(vectors.engine.map(work, _list_parts(allowed)))
        found = np.concatenate([np.zeros(0, dtype=np.int64), *(rows for rows, _ in parts)])
        similarities = np.concatenate([np.zeros(0, dtype=np.float32), *(of for _, of in parts)])
        order = np.lexsort((found, -similarities))[:most]
        return found[order], similarities[order]
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


def _find_part(
    vectors: StoredVectors,
    query: Vectors,
    allowed: Mask,
    least: float | None,
    most: int | None,
    part: slice,
) -> tuple[Rows, Vectors]:
    return find_all(vectors, query, _only(allowed, part), least=least, most=most)


def _compare(vectors: StoredVectors, queries: Vectors, candidates: Rows) -> Vectors:
    """Return the exact similarity of each candidate, -inf where there is none."""
    exact = np.empty(candidates.shape, dtype=np.float32)
    n_asking = min(_BATCH, len(queries))
    n_held = max(1, min(candidates.shape[1], NUMBERS_HELD // max(1, n_asking * vectors.dim)))
    # One for all batches: memory that is new each time takes longer to get than to fill.
    held = np.empty((n_asking, n_held, vectors.dim))
    for first in range(0, len(queries), _BATCH):
        wide = queries[first : first + _BATCH].astype(np.float64)
        for start in range(0, candidates.shape[1], n_held):
            at = slice(first, first + len(wide)), slice(start, start + n_held)
            asked = candidates[at]
            near = held[: len(asked), : asked.shape[1]]
            near[:] = vectors.take(np.maximum(asked, 0).ravel()).reshape(near.shape)
            exact[at] = np.where(asked >= 0, np.einsum("qcd,qd->qc", near, wide), -np.inf)
    return exact


def _collect(
    vectors: StoredVectors, queries: Vectors, n: int, allowed: Mask, find: _Find
) -> tuple[Rows, Vectors]:
    """Return the nearest by products in single precision, in no order, n or all that there are."""
    nearest = np.zeros((len(queries), 0), dtype=np.int64)
    greatest = np.zeros((len(queries), 0), dtype=np.float32)
    for rows, products in find(vectors, queries, n, allowed):
        nearest = np.concatenate([nearest, rows], axis=1)
        greatest = np.concatenate([greatest, products], axis=1)
        if greatest.shape[1] > n:
            kept = np.argpartition(-greatest, n - 1, axis=1)[:, :n]
            nearest = np.take_along_axis(nearest, kept, axis=1)
            greatest = np.take_along_axis(greatest, kept, axis=1)
    return nearest, greatest


def _find_by_faiss(
    vectors: StoredVectors, queries: Vectors, n: int, allowed: Mask
) -> Iterator[tuple[Rows, Vectors]]:
    """Find the nearest of each chunk, in no order; threads share the queries, of few the rows.

    Yields
    ------
    rows : ndarray of int64, shape (n_queries, n or fewer)
    products : ndarray of float32, of the same shape
    """
    import faiss

    def find(part: tuple[Vectors, Vectors]) -> tuple[Rows, Vectors]:
        near, asked = part
        products, places = faiss.knn(
            asked, near, min(n, len(near)), metric=faiss.METRIC_INNER_PRODUCT
        )
        return places, products

    with each_alone() as n_threads:
        # Each thread has as many, unless they are few.
        n_each = -(-len(queries) // (_QUERIES * n_threads)) * n_threads
        n_asked = max(_FEWEST, -(-len(queries) // n_each))
        batches = [queries[at : at + n_asked] for at in range(0, len(queries), n_asked)]
        n_spans = n_threads if len(batches) == 1 else 1
        for rows, chunk in vectors.iter_chunks(allowed):
            size = -(-len(rows) // n_spans)
            spans = [slice(at, at + size) for at in range(0, len(rows), size)]
            parts = [(chunk[span], batch) for span in spans for batch in batches]
            # In threads of their own even if it is one: what is told to FAISS holds there alone.
            begin = functools.partial(faiss.omp_set_num_threads, 1)
            found = iter([*map_alone(find, parts, begin=begin)])
            for span in spans:
                places, products = zip(*itertools.islice(found, len(batches)), strict=True)
                yield rows[span][np.concatenate(places)], np.concatenate(products)


def _find_by_numpy(
    vectors: StoredVectors, queries: Vectors, n: int, allowed: Mask
) -> Iterator[tuple[Rows, Vectors]]:
    """Do as :func:`_find_by_faiss` without faiss, which takes longer to load than to find few.

    Yields
    ------
    rows : ndarray of int64, shape (n_queries, n or fewer)
    products : ndarray of float32, of the same shape
    """
    for rows, products in vectors.multiply(queries, allowed):
        places = np.stack([_pick(of_query, min(n, len(rows))) for of_query in products.T])
        yield rows[places], np.take_along_axis(products.T, places, axis=1)


def _pick(products: npt.NDArray[np.float32], n: int) -> Rows:
    """Return where the n greatest are, in no order."""
    n_strands = len(products) // _STRAND
    if n_strands > n:
        # As many strands reach the n-th greatest of what is greatest in each, so do the n greatest.
        best = products[: n_strands * _STRAND].reshape(_STRAND, n_strands).max(axis=0)
        found = np.flatnonzero(products >= np.partition(best, n_strands - n)[n_strands - n])
        return found[np.argpartition(-products[found], n - 1)[:n]]
    return np.argpartition(-products, n - 1)[:n]


def _kth(products: Vectors, k: int) -> npt.NDArray[np.float32]:
    """Return the k-th greatest of each row."""
    at = products.shape[1] - k
    return np.partition(products, at, axis=1)[:, at]


def _pack(candidates: Rows, is_kept: Mask) -> Rows:
    """Return those kept, shape (n_queries, as many as most have), -1 for none."""
    n_kept = is_kept.sum(axis=1)
    packed = np.full((len(candidates), int(n_kept.max())), -1, dtype=np.int64)
    packed[np.arange(packed.shape[1]) < n_kept[:, np.newaxis]] = candidates[is_kept]
    return packed


def _find_from(
    vectors: StoredVectors,
    query: npt.NDArray[np.float32],
    least: np.float32,
    allowed: Mask,
) -> Rows:
    """Return all rows of at least a similarity."""
    products = vectors.multiply(query[np.newaxis], allowed)
    return np.concatenate([rows[of_query[:, 0] >= least] for rows, of_query in products])
