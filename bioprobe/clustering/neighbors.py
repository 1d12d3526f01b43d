"""The nearest of each vector among the others, and vectors as their neighbours see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.progress import Progress, Step, tell_nobody
from bioprobe.types import Places, Rows, Vectors

if TYPE_CHECKING:
    import torch

#: Vectors, at most, of which all pairs are compared.
MOST_COMPARED = 20_000
# Of so few numpy multiplies all pairs before PyTorch is imported, which takes two seconds.
_FEW = 2048
_ROWS_AT_ONCE = 512
_COMPARED_IMAGES = "images compared"
# Of many vectors: axes along which they are compared first, how many more of them are compared
# whole, vectors of a cell on average, cells that are looked at, vectors that a cell is learnt from.
_AXES, _COMPARED, _OF_A_CELL, _CELLS_AROUND, _TAUGHT_BY, _ROUNDS = 48, 3, 256, 16, 40, 8


def find_neighbors(
    vectors: Vectors,
    k: int,
    units: Places | None = None,
    *,
    asked: Rows | None = None,
    told: Progress = tell_nobody,
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
    asked : ndarray of int64, shape (n_asked,), optional
        Places of the vectors whose nearest are wanted; by default all.
    told : callable
        Told how many are compared.

    Returns
    -------
    near : ndarray of int64, shape (n_asked, k)
        Greatest product first. Beyond :data:`MOST_COMPARED` vectors most of the nearest, not all.
    similarities : ndarray of float32, shape (n_asked, k)
        Minus infinity where all others are of the same unit.
    """
    alone = units is None or len(np.unique(units)) == len(units)
    search = _compare_all if len(vectors) <= MOST_COMPARED else _look_up
    places = np.arange(len(vectors)) if asked is None else asked
    return search(vectors, k, None if alone else units, places, told)


def choose_arrays(n: int) -> Callable[[npt.NDArray[Any]], Any]:
    """Return what makes arrays of so many vectors, to be multiplied: of numpy, or of PyTorch.

    It depends on the number alone, as the last digit does on who multiplies.

    Parameters
    ----------
    n : int
        Vectors.

    Returns
    -------
    callable
        From an array of numpy to an array of either, which share their memory.
    """
    if n <= _FEW:
        return np.asarray
    import torch

    # On processors of AMD, torch multiplies three times as fast as numpy's library.
    return lambda array: torch.from_numpy(np.ascontiguousarray(array))


def _compare_all(
    vectors: Vectors, k: int, units: Places | None, places: Rows, told: Progress
) -> tuple[Rows, npt.NDArray[np.float32]]:
    make = choose_arrays(len(vectors))
    whole, codes = make(vectors), None if units is None else make(units)
    near = np.empty((len(places), k), dtype=np.int64)
    similarities = np.empty((len(places), k), dtype=np.float32)
    for start in range(0, len(places), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        asked = make(places[part])
        products = whole[asked] @ whole.T
        if codes is None:
            products[make(np.arange(len(products))), asked] = -np.inf
        else:
            products[codes[asked, None] == codes[None]] = -np.inf
        near[part], similarities[part] = _find_greatest(products, k)
        told(Step(min(part.stop, len(places)), len(places), _COMPARED_IMAGES))
    return near, similarities


def _find_greatest(products: Any, k: int) -> tuple[Rows, npt.NDArray[np.float32]]:  # noqa: ANN401 - of either
    """Return the places of the k greatest of each row, greatest first, and the products."""
    if not isinstance(products, np.ndarray):
        found = products.topk(k, dim=1)
        return found.indices.numpy(), found.values.numpy()
    places = np.argpartition(products, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(products, places, axis=1), axis=1, kind="stable")
    near = np.take_along_axis(places, order, axis=1)
    return near, np.take_along_axis(products, near, axis=1)


def _look_up(
    vectors: Vectors, k: int, units: Places | None, wanted: Rows, told: Progress
) -> tuple[Rows, npt.NDArray[np.float32]]:
    """Compare each vector with those of the cells around it, along few axes first, then whole."""
    import torch

    whole = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
    few = _project(whole)
    cells, around = _divide(few)
    order = torch.argsort(cells, stable=True)
    ends = torch.cumsum(torch.bincount(cells, minlength=len(around)), dim=0).tolist()
    members = [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    codes = None if units is None else torch.from_numpy(np.ascontiguousarray(units))
    near = np.zeros((len(wanted), k), dtype=np.int64)
    similarities = np.full((len(wanted), k), -np.inf, dtype=np.float32)
    line = np.full(len(vectors), -1, dtype=np.int64)
    line[wanted] = np.arange(len(wanted))
    is_wanted, n_done = torch.from_numpy(line >= 0), 0
    for cell, all_own in enumerate(members):
        own = all_own[is_wanted[all_own]]
        if not len(own):
            continue
        others = torch.cat([members[one] for one in around[cell].tolist()])
        for start in range(0, len(own), _ROWS_AT_ONCE):
            asked = own[start : start + _ROWS_AT_ONCE]
            products = few[asked] @ few[others].T
            if codes is None:
                products[asked[:, None] == others[None]] = -torch.inf
            else:
                products[codes[asked, None] == codes[None, others]] = -torch.inf
            first = products.topk(min(_COMPARED * k, len(others)), dim=1)
            places = others[first.indices]
            exact = torch.bmm(whole[places], whole[asked][:, :, None])[:, :, 0]
            exact[first.values == -torch.inf] = -torch.inf
            best = exact.topk(min(k, exact.shape[1]), dim=1)
            rows, n = line[asked.numpy()], best.indices.shape[1]
            near[rows, :n] = torch.gather(places, 1, best.indices).numpy()
            similarities[rows, :n] = best.values.numpy()
        n_done += len(own)
        told(Step(n_done, len(wanted), _COMPARED_IMAGES))
    return near, similarities


def _project(whole: torch.Tensor) -> torch.Tensor:
    """Return vectors along the few axes that keep most of their products."""
    import torch

    if whole.shape[1] <= _AXES:
        return whole
    _, axes = torch.linalg.eigh(whole.T @ whole)
    found: torch.Tensor = whole @ axes[:, -_AXES:]
    return found


def _divide(few: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide vectors into cells around means, and return the cells that lie around each."""
    import torch

    n_cells = max(2, len(few) // _OF_A_CELL)
    random = torch.Generator().manual_seed(0)
    some = few[torch.randperm(len(few), generator=random)[: n_cells * _TAUGHT_BY]]
    means = some[:n_cells].clone()
    for _ in range(_ROUNDS):
        own = _assign(some, means)
        sums = torch.zeros_like(means).index_add_(0, own, some)
        counts = torch.bincount(own, minlength=n_cells)[:, None]
        means = torch.where(counts > 0, sums / counts.clamp(min=1), means)
    apart = torch.cdist(means, means)
    around = apart.topk(min(_CELLS_AROUND, n_cells), dim=1, largest=False).indices
    return _assign(few, means), around


def _assign(some: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    import torch

    halves = (means * means).sum(dim=1) / 2
    at_once = _ROWS_AT_ONCE * 16
    parts = [some[start : start + at_once] for start in range(0, len(some), at_once)]
    return torch.cat([(part @ means.T - halves).argmax(dim=1) for part in parts])


def find_equal(vectors: Vectors) -> Rows:
    """Return the place of the first vector that is equal to each, int64 of shape (n,)."""
    _, first, kinds = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[kinds], dtype=np.int64)


def average_neighbors(
    vectors: Vectors, k: int, units: Places | None = None, *, told: Progress = tell_nobody
) -> Vectors:
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
    told : callable
        Told how many are compared.

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
    near, similarities = find_neighbors(centred, k, units, told=told)
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
    unit: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-9)
    return unit
