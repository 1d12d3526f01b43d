"""The patterned coat of an animal, drawn in its own coordinates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bioprobe.sketch.pen import Colour, oval, smooth


def draw_coat(
    size_px: int,
    matrix: NDArray[np.float64],
    inks: dict[str, Colour],
    pattern: str,
    rng: np.random.Generator,
) -> Image.Image:
    """Draw the cloth that a form is cut from.

    Parameters
    ----------
    size_px : int
        Side of the canvas.
    matrix : ndarray of float64, shape (2, 3)
        Affine map from body units to canvas pixels.
    inks : dict of str to tuple
        RGB by ink name; ``base`` and ``second`` are used.
    pattern : str
        One of ``bioprobe.sketch.tree.PATTERNS``.
    rng : numpy.random.Generator
        Source of the places of spots and stripes.

    Returns
    -------
    PIL.Image.Image
        RGB, ``size_px`` square.
    """
    coat = Image.new("RGB", (size_px, size_px), inks["base"])
    pencil = ImageDraw.Draw(coat)
    for points in _marks(pattern, rng):
        placed = points @ matrix[:, :2].T + matrix[:, 2]
        pencil.polygon([(float(x), float(y)) for x, y in placed], fill=inks["second"])
    return _shade(coat, matrix, rng)


def _marks(pattern: str, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    if pattern == "spots":
        yield from _spots(rng)
    elif pattern == "stripes":
        yield from _stripes(rng, period=0.25, fill=0.44)
    elif pattern == "bands":
        yield from _stripes(rng, period=0.58, fill=0.46)
    elif pattern == "patches":
        yield from _patches(rng)


def _spots(rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    spacing, radius = rng.uniform(0.24, 0.29), rng.uniform(0.072, 0.088)
    for row, y in enumerate(np.arange(-1.5, 1.5, spacing * 0.87)):
        for x in np.arange(-1.5, 1.5, spacing) + (row % 2) * spacing / 2:
            dx, dy = rng.uniform(-0.03, 0.03, 2)
            size = radius * rng.uniform(0.85, 1.15)
            yield oval(x + dx, y + dy, size, size * rng.uniform(0.85, 1.15))


def _stripes(rng: np.random.Generator, period: float, fill: float) -> Iterator[NDArray[np.float64]]:
    period *= rng.uniform(0.92, 1.08)
    half = period * fill / 2
    slant, phase = rng.uniform(-0.2, 0.2), rng.uniform(0, period)
    y = np.linspace(-1.6, 1.6, 17)
    wave = 0.16 * period * np.sin(y * rng.uniform(4, 7) + rng.uniform(0, 6))
    for x in np.arange(-2.2, 2.2, period) + phase:
        left = x + slant * y + wave - half
        right = x + slant * y + wave + half
        yield np.concatenate([np.stack([left, y], 1), np.stack([right, y], 1)[::-1]])


def _patches(rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    spacing = rng.uniform(0.46, 0.54)
    for row, y in enumerate(np.arange(-1.5, 1.5, spacing * 0.87)):
        for x in np.arange(-1.5, 1.5, spacing) + (row % 2) * spacing / 2:
            angle = np.sort(rng.uniform(0, 2 * np.pi / 6, 6) + np.arange(6) * 2 * np.pi / 6)
            radius = spacing * rng.uniform(0.3, 0.47, 6)
            dx, dy = rng.uniform(-0.06, 0.06, 2)
            ring = np.stack([x + dx + radius * np.cos(angle), y + dy + radius * np.sin(angle)], 1)
            yield smooth(ring, 4)


def _shade(coat: Image.Image, matrix: NDArray[np.float64], rng: np.random.Generator) -> Image.Image:
    """Light the coat from above, with a soft grain."""
    size_px = coat.size[0]
    centre_y, reach = matrix[1, 2], np.abs(matrix[1, :2]).sum()
    height = (np.arange(size_px) - centre_y) / max(reach, 1.0)
    fall = 1.06 - 0.2 * np.clip(height, -1.0, 1.0) * rng.uniform(0.5, 1.0)
    grain = rng.normal(1.0, 0.035, (size_px // 4 + 1, size_px // 4 + 1))
    grain = np.repeat(np.repeat(grain, 4, 0), 4, 1)[:size_px, :size_px]
    light = (fall[:, None] * grain)[:, :, None]
    lit = np.asarray(coat, dtype=np.float32) * light.astype(np.float32)
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
