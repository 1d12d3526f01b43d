"""Colours, each a small cloud of shades rather than one value."""

from __future__ import annotations

import colorsys

import numpy as np

from bioprobe.sketch.pen import Colour
from bioprobe.sketch.tree import RGB


def mix_ink(name: str, rng: np.random.Generator) -> Colour:
    """Return one shade of a named colour.

    Parameters
    ----------
    name : str
        One of ``bioprobe.sketch.tree.COLOURS``.
    rng : numpy.random.Generator
        Source of the shade.

    Returns
    -------
    tuple of int
        Red, green and blue, each in [0, 255].
    """
    hue, light, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in RGB[name]))
    hue = (hue + rng.uniform(-0.012, 0.012)) % 1.0
    light = float(np.clip(light + rng.uniform(-0.05, 0.05), 0.08, 0.96))
    saturation = float(np.clip(saturation * rng.uniform(0.85, 1.1), 0.0, 1.0))
    return _to_bytes(colorsys.hls_to_rgb(hue, light, saturation))


def blend(first: Colour, second: Colour, fraction: float) -> Colour:
    """Mix two colours.

    Parameters
    ----------
    first, second : tuple of int
        RGB, each in [0, 255].
    fraction : float
        Share of the second, in [0, 1].

    Returns
    -------
    tuple of int
        RGB.

    Examples
    --------
    >>> blend((0, 0, 0), (255, 255, 255), 0.5)
    (128, 128, 128)
    """
    pairs = zip(first, second, strict=True)
    red, green, blue = (round(a * (1 - fraction) + b * fraction) for a, b in pairs)
    return red, green, blue


def mix_inks(colour: str, second_colour: str, rng: np.random.Generator) -> dict[str, Colour]:
    """Return the inks that one animal is drawn with.

    Parameters
    ----------
    colour, second_colour : str
        Ground colour and colour of the pattern (may be empty).
    rng : numpy.random.Generator
        Source of the shades.

    Returns
    -------
    dict of str to tuple
        RGB by ink name.
    """
    base = mix_ink(colour, rng)
    second = mix_ink(second_colour, rng) if second_colour else base
    # The outline of a dark animal is light, or its legs would vanish into its body.
    dark = sum(base) < 200
    line = blend(base, (150, 150, 158), 0.55) if dark else blend(base, (24, 18, 24), 0.72)
    return {
        "base": base,
        "second": second,
        "shade": blend(base, (20, 20, 35), 0.28),
        "light": blend(base, (255, 255, 255), 0.35),
        "line": line,
        "eye": (250, 250, 246),
        "pupil": (18, 16, 20),
        "beak": (236, 176, 60),
        "branch": (112, 84, 62),
        "leg": blend(base, (120, 90, 96), 0.5),
        "tongue": (206, 44, 66),
        "wing": (222, 232, 240),
        "snail": (198, 174, 142),
    }


def _to_bytes(rgb: tuple[float, float, float]) -> Colour:
    red, green, blue = (round(255 * channel) for channel in rgb)
    return red, green, blue
