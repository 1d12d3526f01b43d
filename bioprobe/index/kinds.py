"""Kinds of approximate index: how each is built, and the dials that trade speed for recall.

References
----------
Johnson, Douze, Jégou (2019), *Billion-scale similarity search with GPUs*: IVF. Malkov, Yashunin
(2018), *Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
World graphs*: HNSW. Jégou, Douze, Schmid (2011), *Product quantization for nearest neighbor
search*: PQ, and comparing its candidates again by their vectors. André, Kermarrec, Le Scouarnec
(2017), *Accelerated nearest neighbor search with Quick ADC*: codes of 4 bits that registers hold.
Gao, Long (2024), *RaBitQ*: a bit a number, with bounds.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.errors import SourceError

if TYPE_CHECKING:
    import faiss

    from bioprobe.types import Mask, Rows, Vectors

FLAT = "flat"
KINDS = (FLAT, "ivf", "hnsw", "ivfpq", "sq8", "ivfsq8", "ivfpqfs", "ivfrabitq")
#: In which order kinds are tried where limits choose: the quickest for their memory first, as
#: measured on 100,000 vectors of dim 512, but for what takes long to build.
BY_SPEED = ("ivfpqfs", "ivfsq8", "ivfrabitq", "hnsw", "ivf", "ivfpq", "sq8")

# faiss asks for so many vectors a centroid, and uses no more than 256 for the 256 of a product
# quantiser. Lists, of which large stores have thousands, are as good by a quarter of that.
_LEAST_A_CENTROID, _MOST_A_CENTROID, _MOST_A_LIST = 39, 256, 64
_EF_CONSTRUCTION = 128
# Codes of 4 bits are learnt from 16 vectors or more.
_LEAST_FAST_SCAN = 64
# What faiss keeps of each row beside its vector or code: the row, in an inverted list once more; of
# a graph where its links begin and how many levels they have. A link is so long.
_ROW_BYTES, _GRAPH_ROW_BYTES, _LINK_BYTES = 8, 12, 4
# To read the vector of a candidate here or there, and to compare it, takes as long as so many codes
# that stand in order: 300 of a quarter of a byte a number, 1,400 of a sixteenth.
_CODES_A_CANDIDATE = 400
# Two factors beside the bits of RaBitQ.
_FACTOR_BYTES = 8


@dataclasses.dataclass(frozen=True)
class Structure:
    """What is fixed when an index is built.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS` but ``flat``.
    n_lists : int
        Lists of an inverted file; 0 for the other kinds.
    n_links : int
        Links of a node in the graph of HNSW (M); 0 for the other kinds.
    n_bytes : int
        Bytes of a vector's PQ code; 0 for the other kinds.
    """

    kind: str
    n_lists: int = 0
    n_links: int = 0
    n_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Dial:
    """What may be set anew at each search.

    Parameters
    ----------
    n_probes : int
        Lists that are visited (nprobe), for an inverted file.
    ef_search : int
        Nodes that are kept in sight, for HNSW.
    n_candidates : int
        Rows that are compared again by their own vectors, for all kinds; at least k.
    """

    n_probes: int = 0
    ef_search: int = 0
    n_candidates: int = 0

    @property
    def search(self) -> tuple[int, int]:
        """What an index is asked; shortlists of one search are each the first of a longer one."""
        return self.n_probes, self.ef_search

    def is_within(self, other: Dial) -> bool:
        """Tell whether another looks at all that this one does."""
        shorter = self.n_candidates <= other.n_candidates
        return shorter and self.n_probes <= other.n_probes and self.ef_search <= other.ef_search

    def widen(self, factor: float) -> Dial:
        """Return a dial that looks at so many times as much, for more answers or fewer rows."""
        return Dial(
            n_probes=math.ceil(self.n_probes * factor),
            ef_search=math.ceil(self.ef_search * factor),
            n_candidates=math.ceil(self.n_candidates * factor),
        )


def list_structures(kind: str, n_rows: int, dim: int) -> list[Structure]:
    """Return the structures that are tried for a kind, the smallest first.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS` but ``flat``.
    n_rows : int
        Rows to index.
    dim : int
        Length of a vector.

    Raises
    ------
    SourceError
        If there is no such kind.
    """
    n_lists = max(1, min(round(4 * math.sqrt(n_rows)), n_rows // _LEAST_A_CENTROID))
    if kind in {"ivf", "ivfsq8", "ivfrabitq"}:
        return [Structure(kind, n_lists=n_lists)]
    if kind == "ivfpqfs":
        if dim % 2 or n_rows < _LEAST_FAST_SCAN:
            msg = (
                f"ivfpqfs is for {_LEAST_FAST_SCAN} images or more and vectors of an even length, "
                f"got {n_rows} of length {dim}; take another --kind"
            )
            raise SourceError(msg)
        # Two parts of a vector share a byte.
        sizes = sorted({_find_divisor(dim // 2, dim // part) for part in (16, 8, 4)})
        return [Structure(kind, n_lists=n_lists, n_bytes=size) for size in sizes]
    if kind == "hnsw":
        return [Structure(kind, n_links=n_links) for n_links in (16, 32, 64)]
    if kind == "ivfpq":
        sizes = sorted({_find_divisor(dim, dim // part) for part in (8, 4, 2)})
        return [Structure(kind, n_lists=n_lists, n_bytes=size) for size in sizes]
    if kind == "sq8":
        return [Structure(kind)]
    msg = f"an index is of kind {', '.join(KINDS)}, got {kind!r}"
    raise SourceError(msg)


def list_dials(structure: Structure, k: int, n_rows: int) -> list[Dial]:
    """Return the dials that are tried for a structure, the quickest first.

    Parameters
    ----------
    structure : Structure
    k : int
        Answers a query that the recall is about.
    n_rows : int
        Rows of the index.
    """
    if structure.kind == "hnsw":
        widths = _list_steps(max(k, 16), min(2048, max(n_rows, 16)))
        return [Dial(ef_search=ef, n_candidates=k) for ef in widths]
    if structure.kind == "sq8":
        return [Dial(n_candidates=min(n_rows, n)) for n in _list_steps(k, 32 * k)]
    probes = _list_steps(1, structure.n_lists)
    if structure.kind == "ivf":
        return [Dial(n_probes=n, n_candidates=k) for n in probes]
    if structure.kind == "ivfsq8":
        return [Dial(n_probes=n, n_candidates=min(2 * k, n_rows)) for n in probes]
    shortlists = sorted({min(factor * k, n_rows) for factor in (2, 5, 10, 25, 50, 100)})
    dials = [Dial(n_probes=n, n_candidates=m) for n, m in itertools.product(probes, shortlists)]

    def estimate_work(dial: Dial) -> float:
        in_lists = dial.n_probes * n_rows / structure.n_lists
        return in_lists + _CODES_A_CANDIDATE * dial.n_candidates

    return sorted(dials, key=estimate_work)


def count_training_rows(structure: Structure, n_rows: int) -> int:
    """Return how many vectors an index of a structure is trained on."""
    of_codes = 256 * _MOST_A_CENTROID if structure.n_bytes else 0
    # The range of each number, for SQ8, is known from fewer.
    return min(n_rows, max(_MOST_A_LIST * structure.n_lists, of_codes, 10_000))


def estimate_bytes(structure: Structure, n_rows: int, dim: int) -> int:
    """Estimate the size of an index in bytes, on disk and in memory, before it is built."""
    kind, of_row = structure.kind, _ROW_BYTES
    if structure.n_lists:
        of_row += _ROW_BYTES
    if kind in {"ivf", "hnsw"}:
        of_row += 4 * dim
    elif kind in {"sq8", "ivfsq8"}:
        of_row += dim
    elif kind == "ivfrabitq":
        of_row += math.ceil(dim / 8) + _FACTOR_BYTES
    else:
        of_row += structure.n_bytes
    if kind == "hnsw":
        of_row += _GRAPH_ROW_BYTES + 2 * structure.n_links * _LINK_BYTES
    tables = 4 * dim * structure.n_lists
    if kind == "ivfpqfs":
        # 16 centres of each part; rows of a list stand in blocks of 32.
        tables += 64 * dim + 16 * structure.n_bytes * structure.n_lists
    elif structure.n_bytes:
        tables += 1024 * dim
    return n_rows * of_row + tables


def make_index(
    structure: Structure, sample: Vectors, *, seed: int, lists: Vectors | None = None
) -> faiss.IndexIDMap:
    """Return an empty, trained index.

    Parameters
    ----------
    structure : Structure
    sample : ndarray of float32, shape (n_sample, dim), unit rows
        What it is trained on.
    seed : int
        Of the k-means.
    lists : ndarray of float32, shape (n_lists, dim), optional
        Centres of the lists of another index of the same sample, which are not learnt again.
    """
    import faiss

    dim, product = sample.shape[1], faiss.METRIC_INNER_PRODUCT
    quantizer = faiss.IndexFlatIP(dim)
    if lists is not None:
        quantizer.add(lists)
    inner: Any
    if structure.kind == "hnsw":
        inner = faiss.IndexHNSWFlat(dim, structure.n_links, product)
        inner.hnsw.efConstruction = _EF_CONSTRUCTION
    elif structure.kind == "sq8":
        inner = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, product)
    elif structure.kind == "ivf":
        inner = faiss.IndexIVFFlat(quantizer, dim, structure.n_lists, product)
    elif structure.kind == "ivfsq8":
        inner = faiss.IndexIVFScalarQuantizer(
            quantizer, dim, structure.n_lists, faiss.ScalarQuantizer.QT_8bit, product
        )
    elif structure.kind == "ivfrabitq":
        inner = faiss.IndexIVFRaBitQ(quantizer, dim, structure.n_lists, product)
    elif structure.kind == "ivfpqfs":
        inner = faiss.IndexIVFPQFastScan(
            quantizer, dim, structure.n_lists, 2 * structure.n_bytes, 4, product
        )
        inner.pq.cp.seed = seed
        inner.pq.cp.min_points_per_centroid = 1
    else:
        n_bits = max(1, min(8, int(math.log2(len(sample)))))
        inner = faiss.IndexIVFPQ(
            quantizer, dim, structure.n_lists, structure.n_bytes, n_bits, product
        )
        inner.pq.cp.seed = seed
        # Few vectors are no reason to warn: the recall is measured.
        inner.pq.cp.min_points_per_centroid = 1
    if structure.n_lists:
        inner.cp.seed = seed
        inner.cp.min_points_per_centroid = 1
    inner.train(sample)
    return faiss.IndexIDMap(inner)


def find_lists(index: faiss.IndexIDMap) -> Vectors | None:
    """Return the centres of the lists of an index, None where it has none."""
    import faiss

    inner = faiss.downcast_index(index.index)
    if not isinstance(inner, faiss.IndexIVF):
        return None
    centres: Vectors = inner.quantizer.reconstruct_n(0, inner.nlist)
    return centres


def measure_bytes(index: faiss.IndexIDMap) -> int:
    """Return how large an index is when it is written; nothing is."""
    import faiss

    n_bytes = 0

    def count(part: bytes) -> int:
        nonlocal n_bytes
        n_bytes += len(part)
        return len(part)

    writer = faiss.PyCallbackIOWriter(count)  # type: ignore[attr-defined]
    faiss.write_index(index, writer)
    return n_bytes


def add_chunks(index: faiss.IndexIDMap, chunks: Iterable[tuple[Rows, Vectors]]) -> None:
    """Add vectors under their rows, some at a time."""
    for rows, vectors in chunks:
        index.add_with_ids(vectors, rows)


def find_candidates(
    index: faiss.Index,
    queries: Vectors,
    dial: Dial,
    kept: Mask | None,
) -> Rows:
    """Return positions in an index that are near each query.

    Parameters
    ----------
    index : faiss.Index
        What is within the map of ids.
    queries : ndarray of float32, shape (n_queries, dim), unit rows
    dial : Dial
    kept : ndarray of bool, shape (n_indexed,), or None
        Positions that may be answers; None for all.

    Returns
    -------
    ndarray of int64, shape (n_queries, n_candidates)
        -1 where the index found no more.
    """
    import faiss

    options: dict[str, Any] = {}
    if kept is not None:
        bits = np.packbits(kept, bitorder="little")
        options["sel"] = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
    if isinstance(index, faiss.IndexHNSW):
        ef_search = max(dial.ef_search, dial.n_candidates)
        parameters = faiss.SearchParametersHNSW(  # type: ignore[attr-defined]
            efSearch=ef_search, **options
        )
    elif isinstance(index, faiss.IndexIVF):
        n_probes = min(dial.n_probes, index.nlist)
        parameters = faiss.SearchParametersIVF(  # type: ignore[call-arg]
            nprobe=n_probes, **options
        )
    else:
        parameters = faiss.SearchParameters(**options)
    n_candidates = min(dial.n_candidates, index.ntotal)
    positions: Rows = index.search(queries, n_candidates, params=parameters)[1]
    return positions


def _list_steps(first: int, last: int) -> list[int]:
    """Return whole numbers that grow by about √2 a step, both ends included."""
    n_steps = max(0, math.ceil(2 * math.log2(last / first)))
    return sorted({min(last, round(first * 2 ** (step / 2))) for step in range(n_steps + 1)})


def _find_divisor(number: int, wanted: int) -> int:
    return max(divisor for divisor in range(1, max(wanted, 1) + 1) if number % divisor == 0)
