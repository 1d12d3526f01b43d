"""Where labels stand: beside what they are of, in the picture, and on no other label."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# How far from its box a label may stand, in its own heights, joined to it by a line.
_FAR = 8.0
# What a label covers of other boxes counts against a place by its area; of its own box less.
_OVER_OWN = 0.6


@dataclasses.dataclass(frozen=True)
class Rect:
    """A rectangle of whole pixels.

    Parameters
    ----------
    left, upper, right, lower : int
        Edges; right and lower are the first pixels that are not in it.
    """

    left: int
    upper: int
    right: int
    lower: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left, self.lower - self.upper


def place_labels(
    size_px: tuple[int, int],
    boxes: Sequence[Rect],
    sizes: Sequence[tuple[int, int]],
    gap_px: int = 0,
) -> list[Rect | None]:
    """Find a place for the label of each box.

    Places above the box are tried first, then below, on its edges and beside it, each as near as
    the picture allows; then any in the neighbourhood. The labels of small boxes, which have fewer
    places, are placed first.

    Parameters
    ----------
    size_px : tuple of int
        Width and height of the picture.
    boxes : sequence of Rect
        What each label is of.
    sizes : sequence of tuple of int
        Width and height of each label.
    gap_px : int
        That is left between labels.

    Returns
    -------
    list of Rect or None
        No two overlap, and none leaves the picture; None where there is no such place.
    """
    placed: list[Rect | None] = [None] * len(boxes)
    taken = np.zeros((0, 4), dtype=np.int64)
    others = np.array([dataclasses.astuple(box) for box in boxes], dtype=np.int64).reshape(-1, 4)
    order = sorted(range(len(boxes)), key=lambda at: boxes[at].size[0] * boxes[at].size[1])
    for at in order:
        found = _find_place(size_px, boxes[at], sizes[at], taken, np.delete(others, at, axis=0))
        if found is not None:
            placed[at] = found
            wider = (found.left - gap_px, found.upper - gap_px, found.right + gap_px,
                     found.lower + gap_px)  # fmt: skip
            taken = np.vstack([taken, wider])
    return placed


def _find_place(
    size_px: tuple[int, int], box: Rect, label: tuple[int, int], taken: npt.NDArray[np.int64],
    others: npt.NDArray[np.int64],
) -> Rect | None:  # fmt: skip
    width, height = label
    if width > size_px[0] or height > size_px[1]:
        return None
    own = np.array([dataclasses.astuple(box)], dtype=np.int64)
    beside = _list_free(_list_beside(box, label), label, size_px, taken)
    if len(beside):
        covered = _measure_overlaps(beside, others).sum(axis=1)
        covered = covered + _OVER_OWN * _measure_overlaps(beside, own)[:, 0]
        if covered.min() == 0:
            return Rect(*map(int, beside[int(covered.argmin())]))
    around = _list_free(_list_around(box, label, size_px), label, size_px, taken)
    places = np.vstack([beside, around])
    if not len(places):
        return None
    costs = (
        _measure_overlaps(places, others).sum(axis=1)
        + _OVER_OWN * _measure_overlaps(places, own)[:, 0]
        + np.sqrt(width * height) * _measure_gaps(places, box)
    )
    # Of places that are as good the first is taken.
    return Rect(*map(int, places[int(costs.argmin())]))


def _list_free(
    corners: npt.NDArray[np.int64], label: tuple[int, int], size_px: tuple[int, int],
    taken: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:  # fmt: skip
    """Return the places with these corners, moved into the picture, on which no label stands."""
    inside = np.column_stack(
        [corners[:, axis].clip(0, size_px[axis] - label[axis]) for axis in (0, 1)]
    )
    places = np.column_stack([inside, inside + np.array(label)])
    if not len(taken):
        return places
    return np.asarray(places[~(_measure_overlaps(places, taken) > 0).any(axis=1)])


def _list_beside(box: Rect, label: tuple[int, int]) -> npt.NDArray[np.int64]:
    width, height = label
    left, upper, right, lower = dataclasses.astuple(box)
    corners = [
        (left, upper - height), (right - width, upper - height), (left, lower),
        (right - width, lower), (left, upper), (right - width, upper), (left, lower - height),
        (right - width, lower - height), (right, upper), (right, lower - height),
        (left - width, upper), (left - width, lower - height),
    ]  # fmt: skip
    return np.array(corners, dtype=np.int64)


def _list_around(
    box: Rect, label: tuple[int, int], size_px: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Return corners on a grid around a box."""
    width, height = label
    reach = round(_FAR * height)
    left, upper = max(0, box.left - reach - width), max(0, box.upper - reach - height)
    right, lower = min(size_px[0], box.right + reach), min(size_px[1], box.lower + reach)
    step_x, step_y = max(1, width // 4), max(1, height // 2)
    xs, ys = np.arange(left, max(right, left + 1), step_x), np.arange(
        upper, max(lower, upper + 1), step_y
    )  # fmt: skip
    corners = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    return corners.astype(np.int64)


def _measure_overlaps(
    places: npt.NDArray[np.int64], rects: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the pixels that each place has in common with each rectangle."""
    sides = []
    for low, high in ((0, 2), (1, 3)):
        ends = np.minimum.outer(places[:, high], rects[:, high])
        sides.append(np.maximum(ends - np.maximum.outer(places[:, low], rects[:, low]), 0))
    return np.asarray(sides[0] * sides[1], dtype=np.int64)


def _measure_gaps(places: npt.NDArray[np.int64], box: Rect) -> npt.NDArray[np.float64]:
    """Return how many pixels lie between each place and a box."""
    wide = np.maximum(places[:, 0] - box.right, box.left - places[:, 2]).clip(0)
    high = np.maximum(places[:, 1] - box.lower, box.upper - places[:, 3]).clip(0)
    return np.asarray(np.hypot(wide, high), dtype=np.float64)
