"""Build an approximate index that reaches a recall, and measure what it costs and saves.

Images are held out of the index before it is built. On one half of them the quickest setting that
reaches the recall is chosen, on the other half its recall is measured; then they are put in too.

Where memory or time are limited, as autofaiss does, kinds are tried one after the other: those that
are too large by an estimate are not built, of the others memory, recall and time are measured, and
the first that keeps all limits is the index.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SourceError, StoreError
from bioprobe.index.exact import StoredVectors, rank_candidates
from bioprobe.index.index_file import IndexNote, find_index, remove_index, write_index
from bioprobe.index.kinds import (
    BY_SPEED,
    FLAT,
    Dial,
    Structure,
    add_chunks,
    estimate_bytes,
    find_lists,
    list_dials,
    list_structures,
    measure_bytes,
)
from bioprobe.index.neighbor_index import ApproximateIndex, NeighborIndex, build_from
from bioprobe.result import Notes, Record
from bioprobe.store import EmbeddingStore
from bioprobe.types import Mask, Rows, Vectors

if TYPE_CHECKING:
    import faiss

# The kind that is built where neither it nor a limit of memory or time is said.
_DEFAULT = "hnsw"
# Held-out images of each half, and the share of the store that they may be.
_N_QUERIES, _HELD_OUT_FRACTION = 500, 0.1
_LEAST_IMAGES = 10
# The recall on the half that chooses must pass what is asked for by so many standard errors.
_MARGIN_ERRORS = 2.5
_N_RESAMPLES = 1000
# As near as the k-th may be so many more, and all are known by what exact search finds.
_MORE = 16
_N_SINGLE, _N_REPEATS = 30, 3


_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def read_size(given: int | str) -> int:
    """Return a number of bytes.

    Parameters
    ----------
    given : int or str
        Bytes, or with a unit: ``500MB`` is 500 million, ``2GiB`` twice 1,024³.

    Raises
    ------
    SourceError
        If it is none, or none at all.

    Examples
    --------
    >>> read_size("500MB"), read_size("1.5 GiB"), read_size(1000), read_size("2k")
    (500000000, 1610612736, 1000, 2000)
    """
    found = _SIZE.fullmatch(str(given))
    size = 0
    if found is not None and not isinstance(given, bool):
        step = 1024 if found[3] else 1000
        size = int(float(found[1]) * step ** " kmgt".index(found[2].lower() or " "))
    if size <= 0:
        msg = f"--max-memory is a size such as 500MB or 2GiB, got {given!r}"
        raise SourceError(msg)
    return size


@dataclasses.dataclass(frozen=True)
class Limits:
    """What an index must keep.

    Parameters
    ----------
    recall : float
        Least share of the k nearest images that must be found, in (0, 1].
    max_bytes : int, optional
        Most bytes of the index, beyond the vectors, which stay on disk.
    max_query_ms : float, optional
        Most milliseconds of a query that is asked alone, > 0.
    """

    recall: float = 0.95
    max_bytes: int | None = None
    max_query_ms: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            msg = f"a recall is in (0, 1], got {self.recall}"
            raise SourceError(msg)
        if self.max_query_ms is not None and not self.max_query_ms > 0:
            msg = f"--max-query-ms is more than 0, got {self.max_query_ms}"
            raise SourceError(msg)

    @property
    def is_recall_alone(self) -> bool:
        """Whether neither memory nor time is limited."""
        return self.max_bytes is None and self.max_query_ms is None

    def __str__(self) -> str:
        words = [f"recall {self.recall:g}"]
        if self.max_bytes is not None:
            words.append(_write_size(self.max_bytes))
        if self.max_query_ms is not None:
            words.append(f"{self.max_query_ms:g} ms a query")
        return ", ".join(words)


@dataclasses.dataclass(frozen=True)
class Tried:
    """What an index reached that was tried, or would take.

    Parameters
    ----------
    structure : Structure
    n_bytes : int
        Measured; estimated where it was not built.
    recall, query_ms : float, optional
        Where it was built: of the half that chooses, and of queries that are asked alone.
    error : float
        By how much the recall may be lower.
    """

    structure: Structure
    n_bytes: int
    recall: float | None = None
    query_ms: float | None = None
    error: float = 0.0

    def miss(self, limits: Limits) -> dict[str, float]:
        """Return by how much each limit is missed, as a share of it; what is kept is left out."""
        missed = {}
        if limits.max_bytes is not None:
            missed["memory"] = self.n_bytes / limits.max_bytes - 1
        if self.recall is not None:
            missed["recall"] = 1 - (self.recall - self.error) / limits.recall
        if self.query_ms is not None and limits.max_query_ms is not None:
            missed["time"] = self.query_ms / limits.max_query_ms - 1
        return {name: share for name, share in missed.items() if share > 0}

    def __str__(self) -> str:
        if self.recall is None or self.query_ms is None:
            return f"{self.structure.kind}, not built: about {_write_size(self.n_bytes)}"
        return (
            f"{self.structure.kind}: recall {self.recall:.4f}, {_write_size(self.n_bytes)}, "
            f"{self.query_ms:.3g} ms a query"
        )

    def relax(self, limits: Limits) -> str:
        """Return the options that would let it pass, rounded to its side."""
        missed, words = self.miss(limits), []
        if "memory" in missed:
            words.append(f"--max-memory {np.ceil(self.n_bytes / 1e3):.0f}kB")
        if "recall" in missed and self.recall is not None:
            words.append(f"--recall {np.floor((self.recall - self.error) * 100) / 100:.2f}")
        if "time" in missed and self.query_ms is not None:
            words.append(f"--max-query-ms {np.ceil(self.query_ms * 12) / 10:.1f}")
        return " ".join(words)


def _write_size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:,.1f} kB"


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
    limits : Limits
        What was asked for.
    tried : tuple of Tried
        What was tried or passed over where memory or time is limited, in this order; the last is
        the index unless another came closest.
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
    limits: Limits = dataclasses.field(default_factory=Limits)
    tried: tuple[Tried, ...] = ()

    @property
    def query_ms(self) -> float:
        """Milliseconds of a query that is asked alone."""
        return 1000 / self.single_per_s if self.single_per_s else 0.0

    @property
    def missed(self) -> tuple[str, ...]:
        """Which of the limits are not kept: recall, memory, time."""
        of = Structure(FLAT) if self.note is None else self.note.structure
        recall = 1.0 if self.note is None else self.note.recall
        return tuple(Tried(of, self.index_bytes, recall, self.query_ms).miss(self.limits))

    @property
    def is_reached(self) -> bool:
        """Whether what was measured is what was asked for."""
        return not self.missed

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
        del rest["note"], rest["limits"], rest["tried"]
        rest |= {"query_ms": self.query_ms, "batch_query_ms": 1000 / (self.queries_per_s or np.inf)}
        if not self.limits.is_recall_alone:
            facts["limits"] = dataclasses.asdict(self.limits)
            facts["tried"] = [str(one) for one in self.tried]
        return facts | {
            name: float(f"{value:.4g}") if isinstance(value, float) else value
            for name, value in rest.items()
        }


def build_index(
    store: EmbeddingStore,
    kind: str | None = None,
    *,
    recall: float = 0.95,
    max_memory: int | str | None = None,
    max_query_ms: float | None = None,
    best: bool = False,
    k: int = 10,
    seed: int = 0,
) -> IndexReport:
    """Build an index that reaches a recall, and keep it in the store; search then uses it.

    Parameters
    ----------
    store : EmbeddingStore
    kind : str, optional
        ``flat``: exact search, which needs no index; one that is there is removed. ``ivf``,
        ``hnsw``, ``ivfpq``, ``sq8``, ``ivfsq8``, ``ivfpqfs`` or ``ivfrabitq``: approximate,
        candidates compared again by their vectors. By default ``hnsw``, and where memory or time is
        limited the first of all kinds that keeps the limits, exact search among them.
    recall : float
        Least share of the k nearest images that must be found, in (0, 1].
    max_memory : int or str, optional
        Most bytes of the index, or ``500MB``; the vectors stay on disk and do not count but for
        exact search, which reads them all.
    max_query_ms : float, optional
        Most milliseconds of a query that is asked alone, as measured here.
    best : bool
        Whether what comes closest is kept where nothing keeps the limits.
    k : int
        Answers a query, ≥ 1.
    seed : int
        Of the held-out images and the k-means.

    Returns
    -------
    IndexReport
        ``is_reached`` is False where the recall is below what was asked for, but within the error
        of the measurement, or with ``best`` where a limit is not kept.

    Raises
    ------
    SourceError
        If there is no such kind, a limit is none, or the images are too few to hold some out.
    StoreError
        If the limits are not kept: nothing is changed then; or the folder cannot be written.
    """
    max_bytes = None if max_memory is None else read_size(max_memory)
    limits = Limits(recall, max_bytes, max_query_ms)
    vectors = StoredVectors(store)
    if kind == FLAT:
        return _go_back_to_exact(store, vectors, k)
    chosen_on, measured_on = _hold_out(store, seed)
    start_s = time.perf_counter()
    held_out = np.concatenate([chosen_on, measured_on])
    k = min(k, len(store.rows) - len(held_out))
    trial = _Trial(store, vectors, held_out, k, seed)
    tried: list[Tried] = []
    if limits.is_recall_alone:
        structures = list_structures(kind or _DEFAULT, len(vectors), vectors.dim)
        approximate = trial.choose(structures, chosen_on, recall)
    else:
        # Of so few answers all found, one more might not be: what is more can be shown of none.
        can_pass = recall <= 1 - _MARGIN_ERRORS / (len(chosen_on) * k)
        proposed = _propose(kind, vectors, limits, can_pass=can_pass)
        choice = trial.choose_within(proposed, chosen_on, limits)
        tried = [point.tried for point in choice]
        closest = _find_closest(choice, limits)
        if closest is None or (closest.tried.miss(limits) and not best):
            raise StoreError(_explain_miss(tried, closest, limits))
        if closest.index is None:
            report = _go_back_to_exact(store, vectors, k)
            return dataclasses.replace(report, limits=limits, tried=tuple(tried))
        approximate = closest.index
    found = trial.measure(approximate, measured_on)
    interval = _bootstrap(found, seed)
    note = dataclasses.replace(
        approximate.note, recall=float(found.mean()), recall_interval=interval,
        n_queries=len(found),
    )  # fmt: skip
    if not best:
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
        limits=limits,
        tried=tuple(tried),
    )


def _go_back_to_exact(store: EmbeddingStore, vectors: StoredVectors, k: int) -> IndexReport:
    remove_index(store.folder)
    queries = vectors.take(store.rows[:_N_QUERIES])
    speed = _time_search(NeighborIndex(vectors, store.rows), queries, k)
    size = 4 * vectors.dim * len(vectors)
    return IndexReport(None, len(vectors), 0, size, 0.0, *speed, *speed)


@dataclasses.dataclass(frozen=True)
class _Dialled:
    """An index at one dial, with its recall and by how much that may be lower."""

    recall: float
    error: float
    index: ApproximateIndex

    def passes(self, wanted: float) -> bool:
        return self.recall - self.error >= wanted


@dataclasses.dataclass(frozen=True)
class _Point:
    """What was tried, with its index; exact search, and what was not built, have none."""

    tried: Tried
    index: ApproximateIndex | None = None


@dataclasses.dataclass(frozen=True)
class _Truth:
    """Queries, with what exact search finds of them: the k nearest, and some more."""

    vectors: StoredVectors
    queries: Vectors
    k: int
    rows: Rows
    similarities: Vectors

    def find_near(self, candidates: Rows) -> Mask:
        """Tell which candidates are among the nearest.

        As near as the k-th is as good as it: of images that are the same, any may be found.
        """
        near = self.similarities >= self.similarities[:, self.k - 1 : self.k]
        is_near = np.zeros(candidates.shape, dtype=bool)
        for query, among in enumerate(near):
            is_near[query] = np.isin(candidates[query], self.rows[query, among])
        # There may be more that are as near as the last.
        tied = np.flatnonzero(near.all(axis=1))
        if len(tied):
            asked = self.queries[tied], candidates[tied], candidates.shape[1]
            rows, similarities = rank_candidates(self.vectors, *asked)
            reached = similarities >= self.similarities[tied, -1:]
            for at, found, among in zip(tied, rows, reached, strict=True):
                is_near[at] = np.isin(candidates[at], found[among])
        return is_near


class _Dials:
    """The dials of an index, the quickest first, of which few are asked for their recall."""

    def __init__(
        self, index: faiss.IndexIDMap, note: IndexNote, truth: _Truth, current: Mask
    ) -> None:
        self.index, self._note, self._truth, self._current = index, note, truth, current
        self._dials = list_dials(note.structure, truth.k, index.ntotal)
        self._shares: dict[Dial, npt.NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self._dials)

    def turn(self, place: int) -> ApproximateIndex:
        """Return the index at a dial."""
        return ApproximateIndex(
            self.index, dataclasses.replace(self._note, dial=self._dials[place])
        )

    def find_quickest(self, wanted: float) -> tuple[int, bool]:
        """Return the place of the first dial that passes, else of the best, and whether it does.

        Whoever looks at more finds more, but for chance and for codes so short that what is farther
        crowds the nearest out. So no dial is asked that looks at no more than one that fails, and
        none that is slower than one that passes. The most thorough, which takes as long as all
        others together, is asked only where those before it fail.
        """
        first, left = len(self), list(range(len(self)))
        while left:
            # The middle of what is left of one shortlist, for all of them at once.
            lengths = Counter(self._dials[one].n_candidates for one in left)
            ((length, _),) = lengths.most_common(1)
            of_length = [one for one in left if self._dials[one].n_candidates == length]
            search = self._dials[of_length[len(of_length) // 2]].search
            alike = [one for one in left if self._dials[one].search == search]
            self._search([self._dials[one] for one in alike])
            passed = [one for one in alike if self.look(one).passes(wanted)]
            failed = [self._dials[one] for one in alike if one not in passed]
            first = min([first, *passed])
            left = [
                one
                for one in left
                if one < first and not any(self._dials[one].is_within(other) for other in failed)
            ]
        if first < len(self):
            return first, True
        asked = [place for place, one in enumerate(self._dials) if one in self._shares]
        # Of equal ones, the most thorough.
        return max(reversed(asked), key=lambda one: self.look(one).recall), False

    def look(self, place: int) -> _Dialled:
        """Return the recall at a dial."""
        dial = self._dials[place]
        if dial not in self._shares:
            self._search([dial])
        shares = self._shares[dial]
        # Where all were found, one more might not have been.
        error = max(shares.std() / np.sqrt(len(shares)), 1 / (len(shares) * self._truth.k))
        return _Dialled(float(shares.mean()), _MARGIN_ERRORS * float(error), self.turn(place))

    def _search(self, dials: Sequence[Dial]) -> None:
        """Find the share of the k nearest that each query finds at dials of the same search."""
        k = self._truth.k
        tried = [
            ApproximateIndex(self.index, dataclasses.replace(self._note, dial=one))
            for one in sorted(dials, key=lambda one: one.n_candidates)
        ]
        candidates = tried[-1].find(self._truth.queries, k, self._current)
        n_near = np.cumsum(self._truth.find_near(candidates), axis=1)
        n_any = np.cumsum(candidates >= 0, axis=1)
        kept = self._current[tried[-1].ids]
        for one in tried:
            last = min(one.set_dial(k, kept).n_candidates, candidates.shape[1]) - 1
            shares = np.minimum(n_near[:, last], k) / k
            # Where they are fewer than k, a search compares all rows.
            self._shares[one.note.dial] = np.where(n_any[:, last] < k, 1.0, shares)


class _Trial:
    """Searches by held-out images among the others, with the exact answers to compare with."""

    def __init__(
        self, store: EmbeddingStore, vectors: StoredVectors, held_out: Rows, k: int, seed: int
    ) -> None:
        self._vectors, self._k, self._seed = vectors, k, seed
        self._included = np.ones(len(vectors), dtype=bool)
        self._included[held_out] = False
        self._rows = np.setdiff1d(store.rows, held_out)
        self._exact = NeighborIndex(vectors, self._rows)
        # Where it reads them, as exact search does.
        self._stored_bytes = np.dtype(store.manifest.dtype).itemsize * vectors.dim * len(vectors)
        self._lists: dict[int, Vectors | None] = {}

    def choose(self, structures: list[Structure], queries: Rows, wanted: float) -> ApproximateIndex:
        """Return the first index whose recall passes, at its quickest dial; else the best."""
        truth = self._ask_exactly(queries)
        best: list[_Dialled] = []
        for structure in structures:
            dials = self._build(structure, truth, wanted)
            place, passes = dials.find_quickest(wanted)
            if passes:
                return dials.turn(place)
            # Only the best is kept in memory; of equal ones, the larger.
            best = [max([dials.look(place), *best], key=lambda one: one.recall)]
        return best[0].index

    def choose_within(
        self, structures: Iterator[Structure], queries: Rows, limits: Limits
    ) -> list[_Point]:
        """Try structures until one keeps the limits; only the closest keep their index."""
        truth = self._ask_exactly(queries)
        points: list[_Point] = []
        for structure in structures:
            points += self._try(structure, truth, limits)
            closest = _find_closest(points, limits)
            points = [one if one is closest else _Point(one.tried) for one in points]
            if closest is not None and not closest.tried.miss(limits):
                break
        return points

    def _try(self, structure: Structure, truth: _Truth, limits: Limits) -> list[_Point]:
        is_exact = structure.kind == FLAT
        n_rows, dim = len(self._vectors), self._vectors.dim
        size = self._stored_bytes if is_exact else estimate_bytes(structure, n_rows, dim)
        if limits.max_bytes is not None and size > limits.max_bytes:
            return [_Point(Tried(structure, size))]
        if is_exact:
            return [_Point(Tried(structure, size, 1.0, self._time_one(None, truth)))]
        dials = self._build(structure, truth, limits.recall)
        place, _ = dials.find_quickest(limits.recall)
        # The held-out images come in at last.
        size = int(np.ceil(measure_bytes(dials.index) * n_rows / dials.index.ntotal))

        def point_at(place: int, took_ms: float) -> _Point:
            at = dials.look(place)
            return _Point(Tried(structure, size, at.recall, took_ms, at.error), at.index)

        found = [point_at(place, self._time_one(dials.turn(place), truth))]
        if "time" not in found[0].tried.miss(limits):
            return found
        # The most thorough dial that is quick enough: they stand by the work that they make.
        quickest, slowest, hastened = 0, place, None
        while quickest < slowest:
            middle = (quickest + slowest) // 2
            took_ms = self._time_one(dials.turn(middle), truth)
            if limits.max_query_ms is not None and took_ms > limits.max_query_ms:
                slowest = middle
            else:
                hastened, quickest = (middle, took_ms), middle + 1
        return found if hastened is None else [*found, point_at(*hastened)]

    def _time_one(self, approximate: ApproximateIndex | None, truth: _Truth) -> float:
        """Return the milliseconds of a query that is asked alone."""
        index = self._exact
        if approximate is not None:
            index = NeighborIndex(self._vectors, self._rows, approximate)
        return 1000 / _time_singly(index, truth.queries[:_N_SINGLE], self._k)

    def _ask_exactly(self, queries: Rows) -> _Truth:
        asked = self._vectors.take(queries)
        found = self._exact.search(asked, self._k + _MORE)
        return _Truth(self._vectors, asked, self._k, *found)

    def _build(self, structure: Structure, truth: _Truth, wanted: float) -> _Dials:
        note = IndexNote(
            structure, Dial(), self._k, 0.0, (0.0, 0.0), wanted, 0, len(self._vectors), self._seed
        )
        lists = self._lists.get(structure.n_lists)
        index = build_from(self._vectors, note, self._included, lists)
        if structure.n_lists:
            self._lists[structure.n_lists] = find_lists(index)
        current = np.zeros(len(self._vectors), dtype=bool)
        current[self._rows] = True
        return _Dials(index, note, truth, current)

    def measure(self, approximate: ApproximateIndex, queries: Rows) -> npt.NDArray[np.float64]:
        """Return the share of the k nearest that is found, for each query."""
        asked = self._vectors.take(queries)
        farthest = self._exact.search(asked, self._k)[1][:, -1:]
        tried = NeighborIndex(self._vectors, self._rows, approximate)
        similarities = tried.search(asked, self._k, rows=None)[1]
        return np.asarray((similarities >= farthest).mean(axis=1, dtype=np.float64))


def _propose(
    kind: str | None, vectors: StoredVectors, limits: Limits, *, can_pass: bool
) -> Iterator[Structure]:
    """List what is tried: exact search first where time is limited, else last.

    Yields
    ------
    Structure
        Exact search is one too, the slowest, as it reads all vectors.
    """
    exact = [] if kind else [Structure(FLAT)]
    if limits.max_query_ms is not None:
        yield from exact
    for name in (kind,) if kind else BY_SPEED if can_pass else ():
        try:
            structures = list_structures(name, len(vectors), vectors.dim)
        except SourceError:
            if kind:
                raise
            continue
        yield from structures
    if limits.max_query_ms is None:
        yield from exact


def _find_closest(points: Sequence[_Point], limits: Limits) -> _Point | None:
    """Return what was built, or needs no building, and misses the limits least."""
    built = [one for one in points if one.tried.recall is not None]
    return min(built, key=lambda one: max(one.tried.miss(limits).values(), default=0), default=None)


def _explain_miss(tried: Sequence[Tried], closest: _Point | None, limits: Limits) -> str:
    said = f"nothing keeps {limits}, and nothing was changed; "
    if closest is None:
        smallest = min(tried, key=lambda one: one.n_bytes)
        return f"{said}the smallest is {smallest}. Ask for {smallest.relax(limits)} or more"
    return (
        f"{said}closest: {closest.tried}. Ask for {closest.tried.relax(limits)}, or keep it by "
        f"--best. Tried: {'; '.join(map(str, tried))}"
    )


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
    at_once_s = _time(lambda: index.search(queries, k))
    return len(queries) / at_once_s, _time_singly(index, queries[:_N_SINGLE], k)


def _time_singly(index: NeighborIndex, queries: Vectors, k: int) -> float:
    """Return queries a second that are asked one by one."""

    def ask() -> None:
        for position in range(len(queries)):
            index.search(queries[position : position + 1], k)

    return len(queries) / _time(ask)


def _time(run: Callable[[], object]) -> float:
    took_s = []
    for _ in range(_N_REPEATS):
        start_s = time.perf_counter()
        run()
        took_s.append(time.perf_counter() - start_s)
    return float(np.median(took_s))
