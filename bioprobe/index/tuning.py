"""Build an approximate index that reaches a recall, and measure what it costs and saves.

Images are held out of the index before it is built. On one half of them the quickest setting that
reaches the recall is chosen, on the other half its recall is measured; then they are put in too.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SourceError, StoreError
from bioprobe.index.exact import StoredVectors
from bioprobe.index.index_file import IndexNote, find_index, remove_index, write_index
from bioprobe.index.kinds import FLAT, Dial, Structure, add_chunks, list_dials, list_structures
from bioprobe.index.neighbor_index import ApproximateIndex, NeighborIndex, build_from
from bioprobe.result import Notes, Record
from bioprobe.store import EmbeddingStore
from bioprobe.types import Rows, Vectors

# Held-out images of each half, and the share of the store that they may be.
_N_QUERIES, _HELD_OUT_FRACTION = 500, 0.1
_LEAST_IMAGES = 10
# The recall on the half that chooses must pass what is asked for by so many standard errors.
_MARGIN_ERRORS = 2.5
_N_RESAMPLES = 1000
_N_SINGLE, _N_REPEATS = 30, 3


@dataclasses.dataclass(frozen=True, repr=False)
class IndexReport(Record):
    """What an index does, on images that were held out of it.

    Parameters
    ----------
    note : IndexNote or None
        Settings and recall; None for exact search.
    n_rows : int
        Rows of the store.
    index_bytes : int
        Size of the index, on disk and in memory.
    vectors_bytes : int
        Size of the vectors in float32, which exact search reads.
    build_s : float
        Time to train, tune and fill it.
    queries_per_s, single_per_s : float
        Queries a second, all at once and one by one.
    exact_queries_per_s, exact_single_per_s : float
        The same by exact search, in the same run.
    notes : tuple of Note
        What is to be said of it.
    """

    note: IndexNote | None
    n_rows: int
    index_bytes: int
    vectors_bytes: int
    build_s: float
    queries_per_s: float
    single_per_s: float
    exact_queries_per_s: float
    exact_single_per_s: float
    notes: Notes = ()

    @property
    def is_reached(self) -> bool:
        """Whether the measured recall is what was asked for."""
        return self.note is None or self.note.recall >= self.note.recall_wanted

    def to_dict(self) -> dict[str, Any]:
        """Return what a user wants to know as a JSON-ready mapping."""
        note = self.note
        facts: dict[str, Any] = {"kind": FLAT, "settings": {}, "k": None, "recall": 1.0}
        if note is not None:
            set_to = {**dataclasses.asdict(note.structure), **dataclasses.asdict(note.dial)}
            facts = {
                "kind": set_to.pop("kind"),
                "settings": {name: value for name, value in set_to.items() if value},
                "k": note.k,
                "recall": round(note.recall, 4),
                "recall_interval": [round(end, 4) for end in note.recall_interval],
                "recall_wanted": note.recall_wanted,
                "is_reached": self.is_reached,
                "n_queries": note.n_queries,
            }
        rest = super().to_dict()
        del rest["note"]
        return facts | {
            name: float(f"{value:.4g}") if isinstance(value, float) else value
            for name, value in rest.items()
        }


def build_index(
    store: EmbeddingStore, kind: str, *, recall: float = 0.95, k: int = 10, seed: int = 0
) -> IndexReport:
    """Build an index that reaches a recall, and keep it in the store; search then uses it.

    Parameters
    ----------
    store : EmbeddingStore
    kind : str
        ``flat``: exact search, which needs no index; one that is there is removed. ``ivf``,
        ``hnsw``, ``ivfpq`` or ``sq8``: approximate, candidates compared again by their vectors.
    recall : float
        Least share of the k nearest images that must be found, in (0, 1].
    k : int
        Answers a query, ≥ 1.
    seed : int
        Of the held-out images and the k-means.

    Returns
    -------
    IndexReport
        ``is_reached`` is False where the recall is below what was asked for, but within the error
        of the measurement.

    Raises
    ------
    SourceError
        If there is no such kind, the recall is out of range, or the images are too few to hold
        some out.
    StoreError
        If the recall is not reached: nothing is kept then; or the folder cannot be written.
    """
    if not 0 < recall <= 1:
        msg = f"a recall is in (0, 1], got {recall}"
        raise SourceError(msg)
    vectors = StoredVectors(store)
    if kind == FLAT:
        return _go_back_to_exact(store, vectors, k)
    chosen_on, measured_on = _hold_out(store, seed)
    start_s = time.perf_counter()
    held_out = np.concatenate([chosen_on, measured_on])
    k = min(k, len(store.rows) - len(held_out))
    structures = list_structures(kind, len(vectors), vectors.dim)
    trial = _Trial(store, vectors, held_out, k)
    approximate = trial.choose(structures, chosen_on, recall, seed)
    found = trial.measure(approximate, measured_on)
    interval = _bootstrap(found, seed)
    note = dataclasses.replace(
        approximate.note, recall=float(found.mean()), recall_interval=interval,
        n_queries=len(found),
    )  # fmt: skip
    _refuse_miss(note)
    add_chunks(approximate.index, [(held_out, vectors.take(held_out))])
    note = write_index(approximate.index, note, store)
    build_s = time.perf_counter() - start_s
    filled = ApproximateIndex(approximate.index, note)
    queries = vectors.take(measured_on)
    return IndexReport(
        note,
        len(vectors),
        find_index(store.folder, note).stat().st_size,
        4 * vectors.dim * len(vectors),
        build_s,
        *_time_search(NeighborIndex(vectors, store.rows, filled), queries, k),
        *_time_search(NeighborIndex(vectors, store.rows), queries, k),
    )


def _go_back_to_exact(store: EmbeddingStore, vectors: StoredVectors, k: int) -> IndexReport:
    remove_index(store.folder)
    queries = vectors.take(store.rows[:_N_QUERIES])
    speed = _time_search(NeighborIndex(vectors, store.rows), queries, k)
    size = 4 * vectors.dim * len(vectors)
    return IndexReport(None, len(vectors), 0, size, 0.0, *speed, *speed)


class _Trial:
    """Searches by held-out images among the others, with the exact answers to compare with."""

    def __init__(
        self, store: EmbeddingStore, vectors: StoredVectors, held_out: Rows, k: int
    ) -> None:
        self._vectors, self._k = vectors, k
        self._included = np.ones(len(vectors), dtype=bool)
        self._included[held_out] = False
        self._rows = np.setdiff1d(store.rows, held_out)
        self._exact = NeighborIndex(vectors, self._rows)

    def choose(
        self, structures: list[Structure], queries: Rows, wanted: float, seed: int
    ) -> ApproximateIndex:
        """Return the first index whose recall passes, at its quickest dial; else the best."""
        asked = self._vectors.take(queries)
        farthest = self._exact.search(asked, self._k)[1][:, -1:]
        best: list[tuple[float, ApproximateIndex]] = []
        for structure in structures:
            note = IndexNote(
                structure, Dial(), self._k, 0.0, (0.0, 0.0), wanted, 0, len(self._vectors), seed
            )
            index = build_from(self._vectors, note, self._included)
            for dial in list_dials(structure, self._k, index.ntotal):
                tried = ApproximateIndex(index, dataclasses.replace(note, dial=dial))
                found = self._recall(tried, asked, farthest)
                # Where all were found, one more might not have been.
                error = max(found.std() / np.sqrt(len(found)), 1 / (len(found) * self._k))
                if found.mean() - _MARGIN_ERRORS * error >= wanted:
                    return tried
                # Only the best is kept in memory; of equal ones, the most thorough.
                best = [max([(float(found.mean()), tried), *best], key=lambda pair: pair[0])]
        return best[0][1]

    def measure(self, approximate: ApproximateIndex, queries: Rows) -> npt.NDArray[np.float64]:
        """Return the share of the k nearest that is found, for each query."""
        asked = self._vectors.take(queries)
        farthest = self._exact.search(asked, self._k)[1][:, -1:]
        return self._recall(approximate, asked, farthest)

    def _recall(
        self, approximate: ApproximateIndex, asked: Vectors, farthest: Vectors
    ) -> npt.NDArray[np.float64]:
        tried = NeighborIndex(self._vectors, self._rows, approximate)
        similarities = tried.search(asked, self._k, rows=None)[1]
        # As near as the k-th is as good as it: of images that are the same, any may be found.
        return np.asarray((similarities >= farthest).mean(axis=1, dtype=np.float64))


def _hold_out(store: EmbeddingStore, seed: int) -> tuple[Rows, Rows]:
    n_each = min(_N_QUERIES, max(1, round(_HELD_OUT_FRACTION * len(store.rows))))
    if len(store.rows) < _LEAST_IMAGES:
        msg = (
            f"{store.folder} has {len(store.rows)} images, too few to hold some out and measure "
            "an index; search without one is exact and quick"
        )
        raise SourceError(msg)
    drawn = np.random.default_rng(seed).choice(store.rows, 2 * n_each, replace=False)
    return drawn[:n_each], drawn[n_each:]


def _bootstrap(found: npt.NDArray[np.float64], seed: int) -> tuple[float, float]:
    drawn = np.random.default_rng(seed).integers(0, len(found), (_N_RESAMPLES, len(found)))
    low, high = np.percentile(found[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _refuse_miss(note: IndexNote) -> None:
    if note.recall_interval[1] >= note.recall_wanted:
        return
    low, high = note.recall_interval
    msg = (
        f"{note.kind} finds {note.recall:.3f} [{low:.3f}, {high:.3f}] of the {note.k} nearest at "
        f"its most thorough, expected {note.recall_wanted}; nothing was kept. Ask for a lower "
        "--recall, or another --kind"
    )
    raise StoreError(msg)


def _time_search(index: NeighborIndex, queries: Vectors, k: int) -> tuple[float, float]:
    """Return queries a second, all at once and one by one."""
    single = queries[:_N_SINGLE]

    def ask_singly() -> None:
        for position in range(len(single)):
            index.search(single[position : position + 1], k)

    at_once_s = _time(lambda: index.search(queries, k))
    return len(queries) / at_once_s, len(single) / _time(ask_singly)


def _time(run: Callable[[], object]) -> float:
    took_s = []
    for _ in range(_N_REPEATS):
        start_s = time.perf_counter()
        run()
        took_s.append(time.perf_counter() - start_s)
    return float(np.median(took_s))
