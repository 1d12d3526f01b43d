"""The nearest of many vectors, to all of them: the same on any number of threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bioprobe.progress import Progress, Step
from bioprobe.types import Doubles, Rows, Vectors

# Queries that one thread asks at once. The sums of a matrix product depend on how it is cut, so
# that the cut is the same whatever the number of threads.
_QUERIES = 1024


def find_nearest(
    vectors: Vectors,
    k: int,
    queries: Vectors | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[Rows, Doubles]:
    """Find the nearest vectors of each query, exactly.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    k : int
        Neighbours a query, fewer than ``n``, or ``n`` of other queries.
    queries : ndarray of float32, shape (n_queries, dim), unit rows, optional
        By default the vectors themselves, of which none is its own neighbour.
    progress : callable, optional
        Told how many queries are answered.

    Returns
    -------
    places : ndarray of int64, shape (n_queries, k)
        Nearest first.
    distances : ndarray of float64, shape (n_queries, k)
        Euclidean.
    """
    import faiss
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    asked = vectors if queries is None else queries
    n_wanted = k + (queries is None)
    places = np.empty((len(asked), k), dtype=np.int64)
    distances = np.empty((len(asked), k), dtype=np.float64)

    def ask(start: int) -> int:
        # Of this thread alone.
        faiss.omp_set_num_threads(1)
        part = slice(start, start + _QUERIES)
        near, found = faiss.knn(asked[part], vectors, n_wanted, metric=faiss.METRIC_INNER_PRODUCT)
        if queries is None:
            itself = found == np.arange(start, start + len(found))[:, None]
            # Of many copies it may not be among the nearest: then the last one goes.
            itself[~itself.any(axis=1), -1] = True
            near, found = (one[~itself].reshape(len(one), k) for one in (near, found))
        places[part] = found
        distances[part] = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * near.astype(np.float64)))
        return min(start + _QUERIES, len(asked))

    starts = range(0, len(asked), _QUERIES)
    with threadpool_limits(1), ThreadPoolExecutor(count_threads()) as pool:
        for n_done in pool.map(ask, starts):
            if progress is not None:
                progress(Step(n_done, len(asked), "images compared"))
    return places, distances


def count_threads() -> int:
    """Return how many cores this process may use, or as many as ``OMP_NUM_THREADS`` says."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said):
        return int(said)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
