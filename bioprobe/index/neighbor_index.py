"""Nearest neighbours among the vectors of a store: exact, or by an approximate index."""

from __future__ import annotations

import contextlib
import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.engines import Engine
from bioprobe.errors import MismatchError, StoreError, UnreadableError
from bioprobe.index.exact import StoredVectors, rank_candidates, search_exactly
from bioprobe.index.index_file import IndexNote, complete_note, read_index, read_note, write_index
from bioprobe.index.kinds import (
    Dial,
    add_chunks,
    count_training_rows,
    find_candidates,
    make_index,
)
from bioprobe.store import EmbeddingStore
from bioprobe.types import Mask, Rows, Vectors

if TYPE_CHECKING:
    import faiss

# Where fewer of the indexed rows may be answers, they are all compared: an index would visit
# mostly others, and its recall was measured on all.
_LEAST_ALLOWED_FRACTION = 0.5
# An index that has grown by more than this was tuned for another store.
_MOST_GROWTH_FRACTION = 0.5


@dataclasses.dataclass(frozen=True)
class ApproximateIndex:
    """An index of faiss with what is known of it.

    Parameters
    ----------
    index : faiss.IndexIDMap
        Its ids are rows of the store.
    note : IndexNote
    """

    index: faiss.IndexIDMap
    note: IndexNote

    @cached_property
    def ids(self) -> Rows:
        """Row of each position in the index."""
        import faiss

        ids: Rows = faiss.vector_to_array(self.index.id_map)
        return ids

    def find(self, queries: Vectors, k: int, allowed: Mask) -> Rows:
        """Return allowed rows that are near each query, at least k wide; -1 for none.

        Those that are nearest by the codes of the index stand first.
        """
        import faiss

        kept = allowed[self.ids]
        dial = self.set_dial(k, kept)
        inner = faiss.downcast_index(self.index.index)
        found = find_candidates(inner, queries, dial, None if kept.all() else kept)
        return np.where(found >= 0, self.ids[found], -1)

    def set_dial(self, k: int, kept: Mask) -> Dial:
        """Return the dial for k answers among the positions that are kept."""
        # Of more answers, and among fewer rows, as many again must be looked at.
        dial = self.note.dial.widen(max(1.0, k / self.note.k) * len(kept) / int(kept.sum()))
        return dataclasses.replace(dial, n_candidates=max(dial.n_candidates, k))


class NeighborIndex:
    """Search by inner product over the vectors of a store.

    Whichever way the candidates are found, their similarities are those of exact search, and of
    equal ones the lower row stands first.

    Parameters
    ----------
    vectors : StoredVectors
        Vectors of the store.
    rows : ndarray of int64, shape (n_current,)
        Rows that may be answers.
    approximate : ApproximateIndex, optional
        Finds the candidates; without it search is exact.
    unread : str
        Why there is none, where one cannot be read just now.
    """

    def __init__(
        self,
        vectors: StoredVectors,
        rows: Rows,
        approximate: ApproximateIndex | None = None,
        *,
        unread: str = "",
    ) -> None:
        self.unread = unread
        self._vectors = vectors
        self._current = np.zeros(len(vectors), dtype=bool)
        self._current[rows] = True
        self._approximate = approximate
        self._was_exact = False

    @classmethod
    def open(
        cls, store: EmbeddingStore, *, exact: bool = False, engine: Engine | None = None
    ) -> NeighborIndex:
        """Open the index of a store: exact, unless ``bioprobe store index`` made another.

        An index records which vectors it holds, so one that is older than the manifest, or was
        copied from elsewhere, is never used as it is: new rows are added to it, and a damaged or
        foreign one is built again with the same settings. Where the folder cannot be written that
        happens in memory. Where it cannot be read just now, search is exact.

        Parameters
        ----------
        store : EmbeddingStore
        exact : bool
            Whether to compare all vectors although there is an approximate index.
        engine : Engine, optional
            Where all vectors are compared, parts of them at a time; search is exact then.
        """
        vectors, exact = StoredVectors(store, engine), exact or engine is not None
        try:
            note = None if exact or not len(store) else read_note(store.folder)
            if note is None:
                return cls(vectors, store.rows)
            index = read_index(store.folder, note)
            if index is None and read_note(store.folder) not in {None, note}:
                # A writer has replaced it meanwhile.
                return cls.open(store)
        except UnreadableError as error:
            return cls(vectors, store.rows, unread=str(error))
        if index is not None and note.vectors_sha256 == store.manifest.vectors_sha256:
            return cls(vectors, store.rows, ApproximateIndex(index, note))
        index = _bring_up_to_date(index, note, store, vectors)
        # Without the right to write, it is made again next time.
        note = complete_note(note, store)
        with contextlib.suppress(StoreError):
            # Of a store as it was before it was compacted it would keep what is gone.
            store.check_current()
            note = write_index(index, note, store)
        return cls(vectors, store.rows, ApproximateIndex(index, note))

    @property
    def note(self) -> IndexNote | None:
        """What is known of the approximate index, if there is one."""
        return None if self._approximate is None else self._approximate.note

    @property
    def kind(self) -> str:
        """``flat`` where search is exact, else the kind of the index."""
        return "flat" if self.note is None else self.note.kind

    @property
    def is_outgrown(self) -> bool:
        """Whether the store has grown so much that the index wants to be built anew."""
        if self.note is None:
            return False
        return len(self._vectors) > (1 + _MOST_GROWTH_FRACTION) * self.note.n_measured

    def is_exact_for(self, n_allowed: int) -> bool:
        """Tell whether all rows are compared where so many may be answers."""
        least = _LEAST_ALLOWED_FRACTION * len(self._vectors)
        return self._approximate is None or n_allowed < least

    def search(self, queries: Vectors, k: int, *, rows: Rows | None = None) -> tuple[Rows, Vectors]:
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
            Nearest first, of equal similarities the lower row first.
        similarities : ndarray of float32, of the same shape
            Cosine similarity in [-1, 1].

        Raises
        ------
        MismatchError
            If the queries have another dim than the store.
        """
        if queries.shape[1] != self._vectors.dim:
            msg = f"the index holds vectors of dim {self._vectors.dim}, got {queries.shape[1]}"
            raise MismatchError(msg)
        allowed = self._current
        if rows is not None:
            allowed = np.zeros(len(self._vectors), dtype=bool)
            allowed[rows] = self._current[rows]
        n_allowed = int(allowed.sum())
        n_answers = min(k, n_allowed)
        if n_answers == 0 or len(queries) == 0:
            empty = np.zeros((len(queries), n_answers))
            return empty.astype(np.int64), empty.astype(np.float32)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if self._approximate is None or self.is_exact_for(n_allowed):
            if self._was_exact and self._vectors.engine is None:
                self._vectors.hold()
            self._was_exact = True
            return search_exactly(self._vectors, queries, n_answers, allowed)
        candidates = self._approximate.find(queries, n_answers, allowed)
        found, similarities = rank_candidates(self._vectors, queries, candidates, n_answers)
        short = np.flatnonzero(found[:, -1] < 0)
        if len(short):
            exact = search_exactly(self._vectors, queries[short], n_answers, allowed)
            found[short], similarities[short] = exact
        return found, similarities


def build_from(
    vectors: StoredVectors,
    note: IndexNote,
    included: Mask,
    lists: Vectors | None = None,
) -> faiss.IndexIDMap:
    """Build an index of some rows.

    Parameters
    ----------
    vectors : StoredVectors
    note : IndexNote
        Says which structure, and the seed.
    included : ndarray of bool, shape (n_rows,)
        Rows to put in.
    lists : ndarray of float32, shape (n_lists, dim), optional
        Centres of lists that are known already.
    """
    rows = np.flatnonzero(included)
    n_sample = count_training_rows(note.structure, len(rows))
    chosen = np.random.default_rng(note.seed).choice(rows, n_sample, replace=False)
    sample = vectors.take(np.sort(chosen))
    index = make_index(note.structure, sample, seed=note.seed, lists=lists)
    add_chunks(index, vectors.iter_chunks(included))
    return index


def _bring_up_to_date(
    index: faiss.IndexIDMap | None, note: IndexNote, store: EmbeddingStore, vectors: StoredVectors
) -> faiss.IndexIDMap:
    """Add the rows that are new, or build the index again where the old rows are not the same."""
    shards = tuple(shard.vectors_sha256 for shard in store.manifest.present_shards)
    missing = np.ones(len(vectors), dtype=bool)
    if index is None or shards[: len(note.shards)] != note.shards:
        return build_from(vectors, note, missing)
    missing[: index.ntotal] = False
    add_chunks(index, vectors.iter_chunks(missing))
    return index
