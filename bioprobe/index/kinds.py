"""Kinds of approximate index: how each is built, and the dials that trade speed for recall.

References
----------
Johnson, Douze, Jégou (2019), *Billion-scale similarity search with GPUs*: IVF. Malkov, Yashunin
(2018), *Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
World graphs*: HNSW. Jégou, Douze, Schmid (2011), *Product quantization for nearest neighbor
search*: PQ, and comparing its candidates again by their vectors.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SourceError

if TYPE_CHECKING:
    import faiss

    from bioprobe.types import Rows, Vectors

FLAT = "flat"
KINDS = (FLAT, "ivf", "hnsw", "ivfpq", "sq8")

# faiss asks for so many vectors a centroid, and uses no more than 256.
_LEAST_A_CENTROID, _MOST_A_CENTROID = 39, 256
_EF_CONSTRUCTION = 128


@dataclasses.dataclass(frozen=True)
class Structure:
    """What is fixed when an index is built.

    Parameters
    ----------
    kind : str
        ``ivf``, ``hnsw``, ``ivfpq`` or ``sq8``.
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
    if kind == "ivf":
        return [Structure(kind, n_lists=n_lists)]
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
    shortlists = sorted({min(factor * k, n_rows) for factor in (2, 5, 10, 25, 50, 100)})
    dials = [Dial(n_probes=n, n_candidates=m) for n, m in itertools.product(probes, shortlists)]

    def estimate_work(dial: Dial) -> float:
        # Bytes that are read: codes in order, the vectors of candidates here and there.
        in_lists = dial.n_probes * n_rows / structure.n_lists * structure.n_bytes
        return in_lists + 64 * structure.n_bytes * dial.n_candidates

    return sorted(dials, key=estimate_work)


def count_training_rows(structure: Structure, n_rows: int) -> int:
    """Return how many vectors an index of a structure is trained on."""
    n_centroids = max(structure.n_lists, 256 if structure.n_bytes else 0)
    # The range of each number, for SQ8, is known from fewer.
    return min(n_rows, max(_MOST_A_CENTROID * n_centroids, 10_000))


def make_index(structure: Structure, sample: Vectors, *, seed: int) -> faiss.IndexIDMap:
    """Return an empty, trained index.

    Parameters
    ----------
    structure : Structure
    sample : ndarray of float32, shape (n_sample, dim), unit rows
        What it is trained on.
    seed : int
        Of the k-means.
    """
    import faiss

    dim, product = sample.shape[1], faiss.METRIC_INNER_PRODUCT
    inner: Any
    if structure.kind == "hnsw":
        inner = faiss.IndexHNSWFlat(dim, structure.n_links, product)
        inner.hnsw.efConstruction = _EF_CONSTRUCTION
    elif structure.kind == "sq8":
        inner = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, product)
    elif structure.kind == "ivf":
        inner = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, structure.n_lists, product)
    else:
        n_bits = max(1, min(8, int(math.log2(len(sample)))))
        quantizer = faiss.IndexFlatIP(dim)
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


def add_chunks(index: faiss.IndexIDMap, chunks: Iterable[tuple[Rows, Vectors]]) -> None:
    """Add vectors under their rows, some at a time."""
    for rows, vectors in chunks:
        index.add_with_ids(vectors, rows)


def find_candidates(
    index: faiss.Index,
    queries: Vectors,
    dial: Dial,
    kept: npt.NDArray[np.bool_] | None,
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
