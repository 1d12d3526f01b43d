"""Places where animals are found: a gradient, soft mottling and a few plain things."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from bioprobe.sketch.palette import blend
from bioprobe.sketch.pen import Colour, oval, smooth, write_strips

Decor: TypeAlias = Callable[[ImageDraw.ImageDraw, int, Colour, np.random.Generator], None]


def draw_background(habitat: str, size_px: int, rng: np.random.Generator) -> Image.Image:
    """Draw a place without an animal.

    Parameters
    ----------
    habitat : str
        A key of ``HABITATS``.
    size_px : int
        Side of the picture.
    rng : numpy.random.Generator
        Source of everything that varies.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    top, bottom, decor = HABITATS[habitat]
    shift = rng.normal(0, 12, 3)
    fall = np.linspace(0, 1, size_px)[:, None] ** rng.uniform(0.7, 1.4)
    above, below, shift = (np.array(one)[:, None, None] for one in (top, bottom, shift))
    ground = above * (1 - fall) + below * fall + shift
    mottling = _mottling(size_px, rng) * rng.uniform(4, 14)
    image = write_strips(size_px, lambda rows: ground[:, rows] + mottling[rows])
    tint = blend(top, bottom, 0.6)
    for draw_decor in decor:
        draw_decor(ImageDraw.Draw(image), size_px, tint, rng)
    return image


def draw_foreground(image: Image.Image, rng: np.random.Generator) -> None:
    """Let a few blades of grass hide part of the lower edge."""
    size_px = image.size[0]
    colour = blend((70, 120, 50), (150, 130, 70), rng.uniform(0, 1))
    pencil = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 9))):
        _blade(
            pencil, size_px, float(rng.uniform(0, 1)), 1.02, rng.uniform(0.12, 0.34), colour, rng
        )


def _mottling(size_px: int, rng: np.random.Generator) -> np.ndarray:
    cells = int(rng.integers(4, 12))
    coarse = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
    soft = coarse.resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(soft)


def _blade(
    pencil: ImageDraw.ImageDraw,
    size_px: int,
    x: float,
    y: float,
    height: float,
    colour: Colour,
    rng: np.random.Generator,
) -> None:
    lean = rng.uniform(-0.3, 0.3) * height
    ink = blend(colour, (20, 40, 20), rng.uniform(0, 0.35))
    corners = [(x - 0.012, y), (x + lean * 0.4, y - height * 0.6), (x + lean, y - height)]
    corners += [(x + lean * 0.5 + 0.012, y - height * 0.55), (x + 0.014, y)]
    pencil.polygon([(a * size_px, b * size_px) for a, b in corners], fill=ink)


def _grass(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    for y in np.sort(rng.uniform(0.55, 1.1, 36)):
        _blade(p, size_px, float(rng.uniform(0, 1)), float(y), rng.uniform(0.06, 0.16), tint, rng)


def _dots(
    p: ImageDraw.ImageDraw,
    size_px: int,
    rng: np.random.Generator,
    *,
    count: int,
    radius: tuple[float, float],
    inks: list[Colour],
    top: float = 0.0,
) -> None:
    for _ in range(count):
        x, y = rng.uniform(0, 1), rng.uniform(top, 1)
        r = rng.uniform(*radius)
        shape = oval(float(x), float(y), r, r * rng.uniform(0.6, 1.0)) * size_px
        p.polygon([(float(a), float(b)) for a, b in shape], fill=inks[int(rng.integers(len(inks)))])


def _pebbles(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    inks = [blend(tint, (60, 60, 70), 0.25), blend(tint, (255, 255, 250), 0.25)]
    _dots(p, size_px, rng, count=26, radius=(0.008, 0.034), inks=inks, top=0.45)


def _bubbles(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    inks = [blend(tint, (255, 255, 255), 0.35), blend(tint, (255, 255, 255), 0.2)]
    _dots(p, size_px, rng, count=14, radius=(0.006, 0.02), inks=inks)


def _flakes(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    _dots(
        p, size_px, rng, count=30, radius=(0.005, 0.013), inks=[blend(tint, (255, 255, 255), 0.7)]
    )


def _clouds(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, 1), rng.uniform(0.05, 0.6)
        for dx in (-0.08, 0.0, 0.08):
            shape = oval(float(x) + dx, float(y), 0.09, 0.045 + 0.02 * (dx == 0)) * size_px
            p.polygon(
                [(float(a), float(b)) for a, b in shape], fill=blend(tint, (255, 255, 255), 0.5)
            )


def _ripples(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    ink = blend(tint, (255, 255, 255), 0.3)
    for y in rng.uniform(0.4, 1.0, 12):
        x, half = rng.uniform(0, 1), rng.uniform(0.04, 0.16)
        line = [((x - half) * size_px, y * size_px), ((x + half) * size_px, y * size_px)]
        p.line(line, fill=ink, width=max(1, size_px // 120))


def _fronds(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    inks: list[Colour] = [(196, 110, 120), (120, 150, 90), (180, 140, 90), (120, 100, 150)]
    for x in rng.uniform(0, 1, 7):
        ink = blend(inks[int(rng.integers(len(inks)))], tint, 0.45)
        for dx in (-0.05, 0.0, 0.05):
            tip = ((x + dx * rng.uniform(0.8, 2)) * size_px, rng.uniform(0.62, 0.86) * size_px)
            p.line([(x * size_px, 1.02 * size_px), tip], fill=ink, width=max(2, size_px // 32))


def _leaves(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    for _ in range(9):
        x, y, turn = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0, 6.3)
        long, wide = rng.uniform(0.1, 0.24), rng.uniform(0.04, 0.09)
        ring = np.array([(-long, 0), (0, -wide), (long, 0), (0, wide)])
        spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        shape = (smooth(ring) @ spin.T + (x, y)) * size_px
        target: Colour = (28, 80, 40) if rng.random() < 0.5 else (190, 214, 130)
        ink = blend(tint, target, rng.uniform(0.1, 0.4))
        p.polygon([(float(a), float(b)) for a, b in shape], fill=ink)


def _blossoms(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    inks: list[Colour] = [(240, 170, 200), (250, 226, 120), (200, 170, 235), (250, 246, 240)]
    for _ in range(int(rng.integers(3, 7))):
        x, y, r = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.035, 0.075)
        ink = blend(inks[int(rng.integers(len(inks)))], tint, 0.2)
        for turn in np.linspace(0, 2 * np.pi, 6)[:-1]:
            petal = oval(x + r * np.cos(turn), y + r * np.sin(turn), r * 0.7, r * 0.7) * size_px
            p.polygon([(float(a), float(b)) for a, b in petal], fill=ink)
        heart = oval(float(x), float(y), r * 0.5, r * 0.5) * size_px
        p.polygon([(float(a), float(b)) for a, b in heart], fill=(222, 176, 70))


def _furrows(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    for x in rng.uniform(0, 1, 22):
        y = np.linspace(-0.05, 1.05, 9)
        wave = x + 0.02 * np.sin(y * rng.uniform(4, 9) + rng.uniform(0, 6))
        ink = blend(tint, (40, 28, 20) if rng.random() < 0.6 else (200, 180, 150), 0.35)
        line = [(float(a * size_px), float(b * size_px)) for a, b in zip(wave, y, strict=True)]
        p.line(line, fill=ink, width=max(1, size_px // 80))


def _trunks(p: ImageDraw.ImageDraw, size_px: int, tint: Colour, rng: np.random.Generator) -> None:
    for x in rng.uniform(0, 1, 6):
        half = rng.uniform(0.012, 0.045)
        ink = blend(tint, (46, 36, 30), rng.uniform(0.25, 0.55))
        box = [(x - half) * size_px, 0, (x + half) * size_px, rng.uniform(0.62, 0.8) * size_px]
        p.rectangle(box, fill=ink)


#: Places with nothing to stand on.
OPEN = ("sky", "sea", "deep", "reef", "water")

HABITATS: dict[str, tuple[Colour, Colour, tuple[Decor, ...]]] = {
    "savanna": ((186, 214, 236), (206, 178, 104), (_clouds, _grass)),
    "meadow": ((178, 216, 240), (126, 168, 80), (_clouds, _grass)),
    "forest": ((150, 178, 140), (92, 104, 66), (_trunks, _grass)),
    "snow": ((176, 200, 224), (216, 224, 234), (_flakes,)),
    "sand": ((232, 214, 170), (204, 176, 126), (_pebbles,)),
    "mud": ((150, 140, 118), (118, 100, 78), (_pebbles, _ripples)),
    "sky": ((112, 170, 228), (206, 228, 244), (_clouds,)),
    "water": ((190, 218, 234), (92, 150, 180), (_ripples,)),
    "sea": ((92, 178, 212), (30, 96, 150), (_bubbles,)),
    "deep": ((44, 92, 148), (18, 34, 76), (_bubbles,)),
    "reef": ((98, 186, 208), (72, 132, 148), (_fronds, _bubbles)),
    "seabed": ((116, 180, 196), (196, 180, 140), (_pebbles, _bubbles)),
    "leaf": ((120, 170, 86), (86, 140, 66), (_leaves,)),
    "flowers": ((140, 186, 104), (104, 156, 84), (_leaves, _blossoms)),
    "bark": ((150, 122, 98), (120, 94, 74), (_furrows,)),
}
