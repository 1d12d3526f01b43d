"""Where images lie on a map: t-SNE, by openTSNE."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bioprobe.clustering.neighbors import MOST_COMPARED, find_neighbors
from bioprobe.cores import count_threads, keep_torch_threads
from bioprobe.errors import MissingExtraError
from bioprobe.progress import Progress, Step, tell_nobody
from bioprobe.types import Doubles, Rows, Vectors

#: Below it there are too few neighbours for more than the two principal axes.
FEWEST = 6
# Of the start: so small that the first steps are free to move everything.
_START, _JITTER = 1e-4, 1e-2
# Steps with neighbours drawn together, and after these: benchmarks/maps.py gains nothing by more.
_EARLY_STEPS, _STEPS = 125, 250
# Neighbours that a perplexity asks for.
_PER_PERPLEXITY = 3
# Of a new image: few, as it is to lie among those that it is most like.
_PLACING_PERPLEXITY, _PLACING_STEPS = 5.0, 250
# Steps after which it is told how far it is: each time all that is apart is added up.
_TOLD_EVERY = 25
# Queries that one thread asks at once. The sums of a matrix product depend on how it is cut, so
# that the cut is the same whatever the number of threads.
_QUERIES = 1024


def fit_layout(
    vectors: Vectors, *, neighbors: int, seed: int, progress: Progress | None = None
) -> Doubles:
    """Lay vectors out in two dimensions, so that neighbours stay together.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    neighbors : int
        Nearest of each that are drawn to it, all alike; no more than a third of the others are.
        Beyond 20,000 vectors most of the nearest, not all.
    seed : int
        Of the start, which is the two principal axes and a little noise.
    progress : callable, optional
        Told how many are compared, and how many steps are done.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        The same for the same seed, on any number of threads of one machine.

    Raises
    ------
    MissingExtraError
        If openTSNE is not installed.

    References
    ----------
    Linderman et al. 2019, *Fast interpolation-based t-SNE for improved visualization of
    single-cell RNA-seq data*; Kobak and Berens 2019, *The art of using t-SNE for single-cell
    transcriptomics* (the start); Böhm, Berens and Kobak 2022, *Attraction-Repulsion Spectrum in
    Neighbor Embeddings* (neighbours that all count alike); Poličar et al. 2024, *openTSNE: a
    modular Python library for t-SNE dimensionality reduction and embedding*.
    """
    if len(vectors) < FEWEST:
        return _find_axes(vectors)
    tsne = _import()
    k = min(neighbors, max(2, (len(vectors) - 1) // 3))
    pull = tsne.affinity.PrecomputedAffinities(
        _share_alike(_find_near(vectors, k, progress)), normalize=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = tsne.TSNE(
            early_exaggeration_iter=_EARLY_STEPS, n_iter=_STEPS, n_jobs=count_threads(),
            random_state=seed, callbacks=_count_steps(progress, _EARLY_STEPS + _STEPS),
            callbacks_every_iters=_TOLD_EVERY,
        )  # fmt: skip
        fitted = model.fit(affinities=pull, initialization=_start(vectors, seed))
    return _centre(np.array(fitted, dtype=np.float64))


def _count_steps(progress: Progress | None, total: int) -> Callable[..., None] | None:
    """Return what openTSNE calls now and then; what it raises ends the work."""
    if progress is None:
        return None
    n_done = itertools.count(_TOLD_EVERY, _TOLD_EVERY)

    def tell(_steps: int, _error: float, _layout: Doubles) -> None:
        progress(Step(min(next(n_done), total), total, "steps of the map"))

    return tell


def place_new(
    known: Vectors, layout: Doubles, new: Vectors, *, progress: Progress | None = None
) -> Doubles:
    """Place vectors on a map that is there, each by itself; the map stays as it is.

    Parameters
    ----------
    known : ndarray of float32, shape (n, dim), unit rows
        What the map was fitted to.
    layout : ndarray of float64, shape (n, 2)
        Where these lie.
    new : ndarray of float32, shape (n_new, dim), unit rows
    progress : callable, optional
        Told how many are compared.

    Returns
    -------
    ndarray of float64, shape (n_new, 2)

    Raises
    ------
    MissingExtraError
        If openTSNE is not installed.

    References
    ----------
    Poličar, Stražar and Zupan 2021, *Embedding to reference t-SNE space addresses batch effects in
    single-cell classification*.
    """
    import scipy.sparse

    n = len(known)
    perplexity = min(_PLACING_PERPLEXITY, n / _PER_PERPLEXITY)
    places, distances = find_nearest(
        known, max(1, int(_PER_PERPLEXITY * perplexity)), new, progress=progress
    )
    start = np.median(layout[places], axis=1)
    if n < FEWEST or not len(new):
        return start
    tsne = _import()
    nothing = scipy.sparse.csr_matrix((n, n))
    affinities = tsne.affinity.PrecomputedAffinities(nothing, normalize=False)
    reference = tsne.TSNEEmbedding(layout, affinities)
    near = tsne.affinity.joint_probabilities_nn(
        places, distances, [perplexity], symmetrize=False, normalization="point-wise",
        n_reference_samples=n, n_jobs=count_threads(),
    )  # fmt: skip
    # By the grid of the map, in which no image sees another that is new.
    partial = tsne.tsne.PartialTSNEEmbedding(
        start, reference, near, negative_gradient_method="fft", n_interpolation_points=3,
        min_num_intervals=50, ints_in_interval=1, dof=1,
    )  # fmt: skip
    partial.optimize(
        n_iter=_PLACING_STEPS, learning_rate=0.1, exaggeration=1.5, momentum=0.8,
        max_grad_norm=0.25, n_jobs=count_threads(), inplace=True, propagate_exception=True,
        callbacks=_count_steps(progress, _PLACING_STEPS), callbacks_every_iters=_TOLD_EVERY,
    )  # fmt: skip
    return np.array(partial, dtype=np.float64)


def _find_near(vectors: Vectors, k: int, progress: Progress | None) -> Rows:
    if len(vectors) <= MOST_COMPARED:
        return find_nearest(vectors, k, progress=progress)[0]
    import torch

    # Sums depend on how threads share them: the same map is to come of any number.
    with keep_torch_threads():
        torch.set_num_threads(1)
        return find_neighbors(vectors, k, told=progress or tell_nobody)[0]


def _share_alike(near: Rows) -> Any:  # noqa: ANN401 - scipy has no types
    """Return affinities, equal of all pairs of which one is among the nearest of the other."""
    from scipy.sparse import csr_matrix

    n, k = near.shape
    ends = (np.ones(near.size), near.ravel(), np.arange(0, near.size + 1, k))
    links = csr_matrix(ends, shape=(n, n))
    both = links.maximum(links.T)
    return both / both.sum()


def _start(vectors: Vectors, seed: int) -> Doubles:
    axes = _find_axes(vectors)
    noise = np.random.default_rng(seed).standard_normal(axes.shape)
    spread = max(float(axes[:, 0].std()), 1e-12)
    start: Doubles = (axes / spread + _JITTER * noise) * _START
    return start


def _find_axes(vectors: Vectors) -> Doubles:
    """Return the places of vectors on their two principal axes, in double precision."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    spread = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), 4096):
        part = vectors[start : start + 4096] - mean
        spread += part.T @ part
    _, axes = np.linalg.eigh(spread)
    main = axes[:, -2:][:, ::-1]
    # An axis may as well point the other way: the largest number of it is positive.
    main = main * np.sign(main[np.abs(main).argmax(axis=0), np.arange(main.shape[1])])
    found: Doubles = (vectors - mean) @ main
    return found


def _centre(layout: Doubles) -> Doubles:
    centred: Doubles = layout - (layout.max(axis=0) + layout.min(axis=0)) / 2
    return centred


def _import() -> Any:  # noqa: ANN401 - a library without types
    try:
        import openTSNE
    except ImportError as error:
        msg = 'a map needs openTSNE, which is not installed: pip install "bioprobe[map]"'
        raise MissingExtraError(msg) from error
    return openTSNE


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
