"""Where a map has most: the box around half of it, and the share of it inside of boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from bioprobe.types import Doubles, Scores

#: Left, upper, right and lower edge, in shares of the upright picture.
Box = tuple[float, float, float, float]
WHOLE_BOX: Box = (0.0, 0.0, 1.0, 1.0)


def place_in(inner: Box, outer: Box) -> Box:
    """Return a box of a part of a picture as a box of the picture.

    Parameters
    ----------
    inner : tuple of float
        In shares of the part.
    outer : tuple of float
        The part, in shares of the picture.

    Examples
    --------
    >>> place_in((0.0, 0.5, 1.0, 1.0), (0.2, 0.0, 0.6, 0.5))
    (0.2, 0.25, 0.6, 0.5)
    """
    left, upper, right, lower = outer
    width, height = right - left, lower - upper
    return (
        left + inner[0] * width, upper + inner[1] * height, left + inner[2] * width,
        upper + inner[3] * height,
    )  # fmt: skip


def find_half(relevance: Scores, seen: Box = WHOLE_BOX) -> tuple[Box, float]:
    """Find the box around the fewest cells that hold half of a map, and how few they are.

    Parameters
    ----------
    relevance : ndarray of float32, shape (grid_height, grid_width)
        None below 0.
    seen : tuple of float
        The part of the picture that it is of.

    Returns
    -------
    box : tuple of float
        In shares of the picture; all that was seen where the map is 0 everywhere.
    share : float
        Of the cells: half where all are alike, near 0 where one has it all; a hole where the map is
        0 everywhere.

    Examples
    --------
    >>> find_half(np.array([[0, 0], [0, 1]], dtype=np.float32))
    ((0.5, 0.5, 1.0, 1.0), 0.25)
    """
    cells = relevance.astype(np.float64).ravel()
    total = cells.sum()
    if not total > 0:
        return seen, float("nan")
    order = np.argsort(-cells, kind="stable")
    held = np.cumsum(cells[order])
    n_cells = int(np.searchsorted(held, total / 2 * (1 - 1e-9)) + 1)
    rows, columns = np.unravel_index(order[:n_cells], relevance.shape)
    height, width = relevance.shape
    box = (
        float(columns.min() / width), float(rows.min() / height),
        float((columns.max() + 1) / width), float((rows.max() + 1) / height),
    )  # fmt: skip
    left, upper, right, lower = (min(max(edge, 0.0), 1.0) for edge in place_in(box, seen))
    return (left, upper, right, lower), n_cells / len(cells)


def measure_inside(relevance: Scores, seen: Box, box: Box) -> float:
    """Return the share of a map that lies inside of a box of the picture.

    Parameters
    ----------
    relevance : ndarray of float32, shape (grid_height, grid_width)
    seen : tuple of float
        The part of the picture that it is of.
    box : tuple of float
        What of it was not seen holds nothing.

    Returns
    -------
    float
        A hole where the map is 0 everywhere.
    """
    total = float(relevance.sum(dtype=np.float64))
    if not total > 0:
        return float("nan")
    height, width = relevance.shape
    across = _cover(width, seen[0], seen[2], box[0], box[2])
    down = _cover(height, seen[1], seen[3], box[1], box[3])
    return float(down @ relevance.astype(np.float64) @ across) / total


def _cover(n_cells: int, begin: float, end: float, low: float, high: float) -> Doubles:
    """Return how much of each cell along a side lies between two edges."""
    edges: npt.NDArray[np.float64] = np.linspace(begin, end, n_cells + 1)
    inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.asarray(np.clip(inside, 0, None) / max((end - begin) / n_cells, 1e-12))
