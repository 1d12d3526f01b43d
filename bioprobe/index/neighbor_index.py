"""FAISS over the vectors of a store, kept beside them and rebuilt when they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MismatchError
from bioprobe.files import replacing, write_text
from bioprobe.store import EmbeddingStore

if TYPE_CHECKING:
    import faiss

INDEX_NAME = "index.faiss"


class NeighborIndex:
    """Exact inner-product search over the vectors of a store.

    Parameters
    ----------
    faiss_index : faiss.Index
        Index whose ids are the rows of the store.
    rows : ndarray of int64, shape (n_current,)
        Rows that may be answers.
    """

    def __init__(self, faiss_index: faiss.Index, rows: npt.NDArray[np.int64]) -> None:
        self._index = faiss_index
        self._rows = rows

    @classmethod
    def open(cls, store: EmbeddingStore) -> NeighborIndex:
        """Read the index of a store, and build it first if it is missing or out of date.

        The index records which vectors it was built from, so one that is older than the
        manifest, or was copied from elsewhere, is never used; nor is a damaged one.
        """
        import faiss

        path = store.folder / INDEX_NAME
        known = _read(path, store)
        if known is not None:
            return cls(known, store.rows)
        index = faiss.IndexFlatIP(store.manifest.dim)
        for _, vectors in store.iter_shards():
            index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        _write(index, path, store.manifest.vectors_sha256)
        return cls(index, store.rows)

    def search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        *,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Find the nearest rows of each query.

        Parameters
        ----------
        queries : ndarray of float32, shape (n_queries, dim), unit rows
        k : int
            Answers a query, ≥ 1; fewer come back when fewer rows are allowed.
        rows : ndarray of int64, optional
            Rows that may be answers; all current ones by default.

        Returns
        -------
        rows : ndarray of int64, shape (n_queries, min(k, n_allowed))
            Nearest first.
        similarities : ndarray of float32, of the same shape
            Cosine similarity in [-1, 1].

        Raises
        ------
        MismatchError
            If the queries have another dim than the index.
        """
        import faiss

        if queries.shape[1] != self._index.d:
            msg = f"the index holds vectors of dim {self._index.d}, got {queries.shape[1]}"
            raise MismatchError(msg)
        allowed = self._rows if rows is None else np.intersect1d(rows, self._rows)
        n_answers = min(k, len(allowed))
        if n_answers == 0 or len(queries) == 0:
            empty = np.zeros((len(queries), n_answers))
            return empty.astype(np.int64), empty.astype(np.float32)
        parameters = None
        if len(allowed) < self._index.ntotal:
            selector = faiss.IDSelectorBatch(allowed)
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        similarities, ids = self._index.search(queries, n_answers, params=parameters)
        return ids, similarities


def _read(path: Path, store: EmbeddingStore) -> faiss.Index | None:
    import faiss

    if _read_origin(path) != store.manifest.vectors_sha256:
        return None
    try:
        index = faiss.read_index(str(path))
    except RuntimeError:
        return None
    # Two programs that built at the same time may have left the note of one beside the index of
    # the other.
    fits = (index.ntotal, index.d) == (len(store), store.manifest.dim)
    return index if fits else None


def _read_origin(path: Path) -> str:
    try:
        fields = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(fields.get("vectors_sha256", "")) if path.is_file() else ""


def _write(index: faiss.Index, path: Path, vectors_sha256: str) -> None:
    import faiss

    # The note goes first and comes back last, so an interrupted build leaves none.
    path.with_suffix(".json").unlink(missing_ok=True)
    with replacing(path) as temporary:
        faiss.write_index(index, str(temporary))
    note = {"kind": "flat", "vectors_sha256": vectors_sha256}
    write_text(path.with_suffix(".json"), json.dumps(note) + "\n")
