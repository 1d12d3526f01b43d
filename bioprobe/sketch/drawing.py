"""Draw an animal in its place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from bioprobe.sketch.backgrounds import HABITATS, OPEN, draw_background, draw_foreground
from bioprobe.sketch.forms import FORMS, Form
from bioprobe.sketch.palette import mix_inks
from bioprobe.sketch.pen import Colour, Pen, oval, smooth
from bioprobe.sketch.tree import Look, SketchSpecies


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


def draw_animal(
    species: SketchSpecies, rng: np.random.Generator, size_px: int = 256
) -> Image.Image:
    """Draw one picture of a species.

    Parameters
    ----------
    species : SketchSpecies
        What to draw.
    rng : numpy.random.Generator
        Source of pose, place, light and grain; the same state gives the same picture.
    size_px : int, default 256
        Side of the picture.

    Returns
    -------
    PIL.Image.Image
        RGB, ``size_px`` square.

    Examples
    --------
    >>> from bioprobe.sketch.tree import read_species
    >>> draw_animal(read_species()[0], np.random.default_rng(0), size_px=64).size
    (64, 64)
    """
    return draw_look(species.look, rng, size_px)


def draw_look(look: Look, rng: np.random.Generator, size_px: int = 256) -> Image.Image:
    """Draw one picture of an animal of any look, real or not.

    Parameters
    ----------
    look : Look
        Form, colours and pattern.
    rng : numpy.random.Generator
        Source of pose, place, light and grain.
    size_px : int, default 256
        Side of the picture.

    Returns
    -------
    PIL.Image.Image
        RGB, ``size_px`` square.
    """
    form = FORMS[look.form]
    canvas_px = 2 * max(size_px, 128)
    habitat = _pick_habitat(form, rng)
    canvas = draw_background(habitat, canvas_px, rng)
    matrix = _pose(form, canvas_px, rng)
    inks = mix_inks(look.colour, look.second_colour, rng)
    on_ground = habitat not in OPEN and form.stance != "perched"
    if on_ground:
        _draw_shadow(canvas, matrix, form)
    coat = draw_coat(canvas_px, matrix, inks, look.pattern, rng)
    form.draw(
        Pen(canvas, matrix, inks, coat, inks["second"] if look.pattern == "edges" else None), rng
    )
    if on_ground and rng.random() < 0.4:
        draw_foreground(canvas, rng)
    return develop(canvas, rng, size_px)


def develop(canvas: Image.Image, rng: np.random.Generator, size_px: int) -> Image.Image:
    """Scale a canvas down and give it the light and grain of a photograph.

    Parameters
    ----------
    canvas : PIL.Image.Image
        RGB, square, larger than the picture.
    rng : numpy.random.Generator
        Source of light, blur and grain.
    size_px : int
        Side of the picture.

    Returns
    -------
    PIL.Image.Image
        RGB, ``size_px`` square.
    """
    if rng.random() < 0.3:
        radius_px = rng.uniform(0.002, 0.006) * canvas.size[0]
        canvas = canvas.filter(ImageFilter.GaussianBlur(radius_px))
    small = canvas.resize((size_px, size_px), Image.Resampling.BOX)
    gain = rng.normal(1.0, 0.06) + rng.normal(0.0, 0.02, 3)
    grain = rng.normal(0.0, rng.uniform(0.5, 4.5), (size_px, size_px, 1))
    lit = (np.asarray(small, dtype=np.float32) - 128) * rng.uniform(0.9, 1.08) + 128
    return Image.fromarray(np.clip(lit * gain + grain, 0, 255).astype(np.uint8))


def _pick_habitat(form: Form, rng: np.random.Generator) -> str:
    # A quarter of the pictures are taken elsewhere, so that the place does not give the name away.
    choices = tuple(HABITATS) if rng.random() < 0.25 else form.habitats
    return choices[int(rng.integers(len(choices)))]


def _pose(form: Form, canvas_px: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the affine map from body units to canvas pixels."""
    scale = canvas_px * rng.uniform(0.3, 0.41)
    turn = rng.normal(0, 0.09) if form.stance != "any" else rng.uniform(0, 2 * np.pi)
    squeeze = np.diag([rng.uniform(0.93, 1.07), rng.uniform(0.93, 1.07)])
    flip = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    room = 0.5 - 0.36 * scale / canvas_px / 0.41
    centre = canvas_px * (0.5 + rng.uniform(-room, room, 2) * 0.5)
    return np.concatenate([scale * spin @ flip @ squeeze, centre[:, None]], axis=1)


def _draw_shadow(canvas: Image.Image, matrix: NDArray[np.float64], form: Form) -> None:
    """Darken the ground under an animal, or beside one that is seen from above."""
    unit_px = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    centre = matrix[:, 2] / unit_px
    if form.stance == "upright":
        shape = oval(centre[0], centre[1] + 0.84, 0.8, 0.14)
    else:
        shape = oval(centre[0] + 0.07, centre[1] + 0.1, 0.78, 0.78)
    mask = Image.new("L", canvas.size, 0)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in shape * unit_px], fill=56)
    canvas.paste((24, 28, 40), (0, 0), mask.filter(ImageFilter.GaussianBlur(unit_px * 0.08)))
