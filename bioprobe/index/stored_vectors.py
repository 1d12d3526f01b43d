"""The vectors of a store where they lie: memory-mapped, read row by row or chunk by chunk."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.store import EmbeddingStore
from bioprobe.store.shard import map_vectors

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

# Rows that are compared at once: at 512 numbers each, 64 MB.
_CHUNK_ROWS = 1 << 15
# Each mapped shard holds a file open.
_MAX_OPEN_SHARDS = 128


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
        self._map = functools.lru_cache(_MAX_OPEN_SHARDS)(self._map_shard)

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
            out[here] = self._map(int(shard))[rows[here] - start]
        return out

    def iter_chunks(self, allowed: npt.NDArray[np.bool_]) -> Iterator[tuple[Rows, Vectors]]:
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
                yield inside + start, np.ascontiguousarray(chunk, dtype=np.float32)

    def _map_shard(self, shard: int) -> npt.NDArray[Any]:
        # A plain array that looks at the same bytes: slices of a memmap are slow to make.
        return np.asarray(map_vectors(self._folder, self._records[shard], self.dim))
