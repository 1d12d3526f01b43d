"""Draw an animal in its place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from bioprobe.sketch.backgrounds import HABITATS, OPEN, draw_background, draw_foreground
from bioprobe.sketch.coats import draw_coat
from bioprobe.sketch.forms import FORMS, Form
from bioprobe.sketch.palette import mix_inks
from bioprobe.sketch.pen import Pen, oval
from bioprobe.sketch.tree import Look, SketchSpecies


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
