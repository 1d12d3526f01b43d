"""The nearest of each vector among the others, and vectors as their neighbours see them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bioprobe.types import Places, Rows, Vectors

#: Vectors, at most, of which all pairs are compared.
MOST_COMPARED = 20_000
#: Neighbours that a vector is averaged with.
AVERAGED = 10
_ROWS_AT_ONCE = 512
# Of an inverted file: vectors that a list has, on average, and lists that are looked at.
_OF_A_LIST, _LISTS_LOOKED_AT = 100, 24
# Neighbours that are looked at beyond those asked for, where some are of one's own unit.
_FURTHER = 24


def find_neighbors(
    vectors: Vectors, k: int, units: Places | None = None
) -> tuple[Rows, npt.NDArray[np.float32]]:
    """Find the k nearest of each vector, itself and its unit left out.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim)
        Unit rows, or means of such.
    k : int
        1 ≤ k < n.
    units : ndarray of int64, shape (n,), optional
        Number of the unit of each, such as a burst; by default each is its own.

    Returns
    -------
    near : ndarray of int64, shape (n, k)
        Greatest product first. Beyond :data:`MOST_COMPARED` vectors most of the nearest, not all.
    similarities : ndarray of float32, shape (n, k)
        Minus infinity where all others are of the same unit.
    """
    alone = units is None or len(np.unique(units)) == len(units)
    if len(vectors) <= MOST_COMPARED:
        return _compare_all(vectors, k, None if alone else units)
    return _look_up(vectors, k, None if alone else units)


def _compare_all(
    vectors: Vectors, k: int, units: Places | None
) -> tuple[Rows, npt.NDArray[np.float32]]:
    import torch

    # On processors of AMD, torch multiplies three times as fast as numpy's library.
    tensor = torch.from_numpy(np.ascontiguousarray(vectors))
    codes = None if units is None else torch.from_numpy(np.ascontiguousarray(units))
    near = np.empty((len(vectors), k), dtype=np.int64)
    similarities = np.empty((len(vectors), k), dtype=np.float32)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        products = tensor[part] @ tensor.T
        if codes is None:
            rows = torch.arange(len(products))
            products[rows, rows + start] = -torch.inf
        else:
            products[codes[part, None] == codes[None]] = -torch.inf
        found = products.topk(k, dim=1)
        near[part], similarities[part] = found.indices.numpy(), found.values.numpy()
    return near, similarities


def _look_up(
    vectors: Vectors, k: int, units: Places | None
) -> tuple[Rows, npt.NDArray[np.float32]]:
    import faiss

    n, dim = vectors.shape
    flat = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFFlat(flat, dim, n // _OF_A_LIST, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid, index.cp.spherical = 6, 64, True
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    index.train(rows)
    index.add(rows)
    index.nprobe = _LISTS_LOOKED_AT
    further = k + 1 if units is None else k + 1 + _FURTHER
    found, places = index.search(rows, further)
    own = np.arange(n)[:, None]
    left_out = places == own if units is None else units[places] == units[:, None]
    found[left_out | (places < 0)] = -np.inf
    order = np.argsort(-found, axis=1, kind="stable")[:, :k]
    near = np.take_along_axis(places, order, axis=1).astype(np.int64)
    return np.maximum(near, 0), np.take_along_axis(found, order, axis=1)


def average_neighbors(vectors: Vectors, k: int, units: Places | None = None) -> Vectors:
    """Return vectors less their mean, each averaged with its nearest of other units.

    What many encoders say of every picture is taken out, and what is peculiar to one picture
    weighs less: kinds stand further apart. See the table of ``docs/guide/cluster.md``.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    k : int
        Nearest that each is averaged with, by their similarities; 0 leaves the vectors as they are.
    units : ndarray of int64, shape (n,), optional
        As in :func:`find_neighbors`.

    Returns
    -------
    ndarray of float32, shape (n, dim), unit rows

    References
    ----------
    Fukunaga and Hostetler 1975, *The Estimation of the Gradient of a Density Function*: a step of
    mean shift, with neighbours in place of a radius. Mu and Viswanath 2018, *All-but-the-Top*: the
    mean that all vectors share.
    """
    n = len(vectors)
    k = min(k, n - 1)
    if k < 1:
        return vectors
    centred = _make_unit(vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32))
    near, similarities = find_neighbors(centred, k, units)
    weights = np.maximum(similarities, 0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-12))
    means = np.empty_like(centred)
    for start in range(0, n, _ROWS_AT_ONCE * 8):
        part = slice(start, start + _ROWS_AT_ONCE * 8)
        means[part] = np.matmul(weights[part, None], centred[near[part]])[:, 0]
    return _make_unit(centred + means)


def _make_unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    # What is the mean itself has no direction left.
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-9)
