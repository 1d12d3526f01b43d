"""A pen that draws smooth shapes in an animal's own coordinates.

A form is drawn once, facing right, in a square from -1 to 1 with y pointing down; the pen's matrix
carries it to the canvas in whatever pose was drawn by lot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour: TypeAlias = tuple[int, int, int]
Points: TypeAlias = Sequence[tuple[float, float]] | NDArray[np.float64]

# 64 rows of 512 pixels are 800 kB of floats.
_STRIP_ROWS = 64
# Points of each part of a line that bends.
_STEPS = 6
_CIRCLE = np.linspace(0.0, 2.0 * np.pi, 33)[:-1]


def smooth(points: Points, steps: int = 6) -> NDArray[np.float64]:
    """Round the corners of a closed line with a Catmull-Rom spline.

    Parameters
    ----------
    points : array_like of float, shape (n_points, 2)
        Corners that the curve passes through.
    steps : int, default 6
        Points drawn between two corners.

    Returns
    -------
    ndarray of float64, shape (n_points * steps, 2)
        The curve.
    """
    p1 = np.asarray(points, dtype=np.float64)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    return _bend(p0, p1, p2, p3, steps)


def oval(cx: float, cy: float, rx: float, ry: float, *, angle: float = 0.0) -> NDArray[np.float64]:
    """Return the outline of an ellipse.

    Parameters
    ----------
    cx, cy : float
        Centre, body units.
    rx, ry : float
        Half axes, body units.
    angle : float, default 0
        Turn in radians.

    Returns
    -------
    ndarray of float64, shape (32, 2)
        The outline.
    """
    x, y = rx * np.cos(_CIRCLE), ry * np.sin(_CIRCLE)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cx + x * cos - y * sin, cy + x * sin + y * cos], axis=1)


def write_strips(size_px: int, light: Callable[[slice], NDArray[np.floating[Any]]]) -> Image.Image:
    """Make a picture some rows at a time, which the processor keeps at hand.

    Parameters
    ----------
    size_px : int
        Side of the picture.
    light : callable
        Returns the colours of some rows, shape (3, n_rows, size_px), from 0 to 255 where they can
        be seen; channels first, as numpy is slow along an axis of three.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    channels = np.empty((3, size_px, size_px), dtype=np.uint8)
    for start in range(0, size_px, _STRIP_ROWS):
        rows = slice(start, start + _STRIP_ROWS)
        colours = light(rows)
        np.clip(colours, 0, 255, out=colours)
        channels[:, rows] = colours
    return Image.merge("RGB", [Image.fromarray(channel) for channel in channels])


def read_channels(picture: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an RGB picture, shape (3, height_px, width_px)."""
    return np.stack([np.asarray(channel) for channel in picture.split()])


def surround(
    corners: Sequence[tuple[float, float]], size_px: tuple[int, int], margin_px: int
) -> tuple[int, int, int, int]:
    """Return the part of a canvas around an outline: left, top, right and bottom, not empty."""
    ends = []
    for places, size in zip(zip(*corners, strict=True), size_px, strict=True):
        low = min(max(0, math.floor(min(places)) - margin_px), size - 1)
        ends.append((low, max(min(size, math.ceil(max(places)) + 1 + margin_px), low + 1)))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


class Pen:
    """Draw shapes in body coordinates on a canvas.

    Parameters
    ----------
    canvas : PIL.Image.Image
        RGB image to draw on.
    matrix : ndarray of float64, shape (2, 3)
        Affine map from body units to canvas pixels.
    inks : dict of str to tuple
        RGB by ink name: ``base``, ``second``, ``shade``, ``light``, ``line``, ``skin``.
    coat : PIL.Image.Image
        RGB image of the canvas's size that holds the patterned coat.
    edge : tuple, optional
        RGB of a broad edge that is drawn around every patch of coat.
    """

    def __init__(
        self,
        canvas: Image.Image,
        matrix: NDArray[np.float64],
        inks: dict[str, Colour],
        coat: Image.Image,
        edge: Colour | None = None,
    ) -> None:
        self._canvas = canvas
        self._draw = ImageDraw.Draw(canvas)
        self._matrix = matrix
        self._inks = inks
        self._coat = coat
        self._edge = edge
        self.unit_px = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))

    def shape(self, points: Points, ink: str = "coat", *, line: float = 0.022) -> None:
        """Fill a closed outline.

        Parameters
        ----------
        points : array_like of float, shape (n_points, 2)
            Outline in body units.
        ink : str, default "coat"
            ``"coat"`` is the patterned coat; other names are keys of the inks.
        line : float, default 0.022
            Width of the outline in body units; 0 draws none.
        """
        corners = self._place(points)
        if ink == "coat":
            mask = Image.new("L", self._canvas.size, 0)
            pencil = ImageDraw.Draw(mask)
            pencil.polygon(corners, fill=255)
            box = surround(corners, self._canvas.size, 1)
            self._canvas.paste(self._coat.crop(box), box, mask.crop(box))
            if self._edge is not None:
                self._draw_edge(corners, mask, self._edge)
        else:
            self._draw.polygon(corners, fill=self._inks[ink])
        if line > 0:
            self._outline(corners, self._inks["line"], line)

    def limb(
        self,
        points: Points,
        width: float,
        ink: str = "coat",
        *,
        tip_width: float | None = None,
        line: float = 0.022,
    ) -> None:
        """Draw a tapering limb along a smooth open line.

        Parameters
        ----------
        points : array_like of float, shape (n_points, 2)
            The limb's middle line.
        width : float
            Width at the first point, body units.
        ink : str, default "coat"
            As in ``shape``.
        tip_width : float, optional
            Width at the last point; the same as ``width`` by default.
        line : float, default 0.022
            Width of the outline; 0 draws none.
        """
        middle = _along(np.asarray(points, dtype=np.float64))
        step = np.gradient(middle, axis=0)
        step /= np.linalg.norm(step, axis=1, keepdims=True) + 1e-9
        across = np.stack([-step[:, 1], step[:, 0]], axis=1)
        half = np.linspace(width, width if tip_width is None else tip_width, len(middle))[:, None]
        left, right = middle + across * half / 2, middle - across * half / 2
        turn = np.linspace(np.pi / 2, -np.pi / 2, 7)[1:-1, None]
        cap = middle[-1] + half[-1] / 2 * (np.cos(turn) * step[-1] + np.sin(turn) * across[-1])
        self.shape(np.concatenate([left, cap, right[::-1]]), ink, line=line)

    def stroke(self, points: Points, width: float, ink: str = "line") -> None:
        """Draw a thin open line of one ink.

        Parameters
        ----------
        points : array_like of float, shape (n_points, 2)
            The line's corners.
        width : float
            Width in body units.
        ink : str, default "line"
            A key of the inks.
        """
        width_px = max(1, round(width * self.unit_px))
        self._draw.line(self._place(points), fill=self._inks[ink], width=width_px, joint="curve")

    def eye(self, x: float, y: float, radius: float = 0.06) -> None:
        """Draw an eye with a glint.

        Parameters
        ----------
        x, y : float
            Centre, body units.
        radius : float, default 0.06
            Radius of the white, body units.
        """
        self.shape(oval(x, y, radius, radius), "eye", line=radius * 0.3)
        self.shape(oval(x + radius * 0.2, y, radius * 0.62, radius * 0.62), "pupil", line=0)
        self.shape(
            oval(x + radius * 0.35, y - radius * 0.3, radius * 0.2, radius * 0.2), "eye", line=0
        )

    def _place(self, points: Points) -> list[tuple[float, float]]:
        placed = np.asarray(points, dtype=np.float64) @ self._matrix[:, :2].T + self._matrix[:, 2]
        return [(x, y) for x, y in placed.tolist()]

    def _outline(self, corners: list[tuple[float, float]], ink: Colour, width: float) -> None:
        width_px = max(1, round(width * self.unit_px))
        self._draw.line([*corners, *corners[:2]], fill=ink, width=width_px, joint="curve")

    def _draw_edge(
        self, corners: list[tuple[float, float]], mask: Image.Image, ink: Colour
    ) -> None:
        rim = Image.new("L", self._canvas.size, 0)
        width_px = max(2, round(0.2 * self.unit_px))
        ImageDraw.Draw(rim).line([*corners, *corners[:2]], fill=255, width=width_px, joint="curve")
        black = Image.new("L", self._canvas.size, 0)
        self._canvas.paste(ink, (0, 0), Image.composite(rim, black, mask))


def _along(points: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(points) == 2:
        return np.linspace(points[0], points[1], _STEPS)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    a, b, c, d = (padded[i : len(padded) - 3 + i] for i in range(4))
    return np.concatenate([_bend(a, b, c, d, _STEPS), points[-1:]])


def _bend(
    p0: NDArray[np.float64], p1: NDArray[np.float64], p2: NDArray[np.float64],
    p3: NDArray[np.float64], steps: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the points of Catmull-Rom curves, each from one of ``p1`` to that of ``p2``."""
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[:, None, :] for p in (p0, p1, p2, p3))
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return np.asarray(curve.reshape(-1, 2))
