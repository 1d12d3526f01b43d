"""The greatest products of vectors with queries, found on a device of PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.devices import multiplying
from bioprobe.types import Rows, Vectors

if TYPE_CHECKING:
    import torch

# Numbers on the device at once: of products 512 MB, of what is kept of all queries as many.
_PRODUCTS, _KEPT = 1 << 27, 1 << 26
_QUERIES = 1 << 16


def find_nearest(
    device: torch.device,
    queries: Vectors,
    read: Callable[[], Iterable[tuple[Rows, npt.NDArray[np.floating]]]],
    n: int,
) -> tuple[Rows, Vectors]:
    """Find the rows of the greatest products with each query, in single precision.

    Parameters
    ----------
    device : torch.device
    queries : ndarray of float32, shape (n_queries, dim)
    read : callable
        Returns all rows, some at a time with their vectors, shape (n_rows, dim), float32 or
        float16. It is called once for each 65,536 queries.
    n : int
        As many, or all where there are fewer.

    Returns
    -------
    rows : ndarray of int64, shape (n_queries, n)
        Greatest first, of equal products the lower row first. Which of those that equal the least
        are among them is not said.
    products : ndarray of float32, of the same shape
    """
    import torch

    size = max(1, min(_QUERIES, _KEPT // n))
    parts = [queries[start : start + size] for start in range(0, max(1, len(queries)), size)]
    with multiplying(device), torch.inference_mode():
        found = [_find_nearest(device, part, read(), n) for part in parts]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([of for _, of in found])


def _find_nearest(
    device: torch.device,
    queries: Vectors,
    chunks: Iterable[tuple[Rows, npt.NDArray[np.floating]]],
    n: int,
) -> tuple[Rows, Vectors]:
    import torch

    asked = torch.tensor(queries, device=device)
    rows = torch.empty(len(asked), 0, dtype=torch.int64, device=device)
    products = torch.empty(len(asked), 0, device=device)
    for numbers, chunk in chunks:
        there = torch.tensor(chunk, device=device).to(torch.float32).T
        names = torch.tensor(numbers, device=device)
        kept = min(n, there.shape[1])
        tile = max(1, _PRODUCTS // there.shape[1])
        starts = range(0, max(1, len(asked)), tile)
        found = [(asked[at : at + tile] @ there).topk(kept, dim=1) for at in starts]
        rows = torch.cat([rows, names[torch.cat([one.indices for one in found])]], dim=1)
        products = torch.cat([products, torch.cat([one.values for one in found])], dim=1)
        if products.shape[1] > n:
            products, places = products.topk(n, dim=1)
            rows = rows.gather(1, places)
    rows, order = rows.sort(dim=1)
    products, places = products.gather(1, order).sort(dim=1, descending=True, stable=True)
    return rows.gather(1, places).cpu().numpy(), products.cpu().numpy()
