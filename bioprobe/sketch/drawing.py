"""Body plans, each drawn in a square from -1 to 1, and an animal of one in its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from bioprobe.sketch.backgrounds import HABITATS, OPEN, draw_background, draw_foreground
from bioprobe.sketch.palette import mix_inks
from bioprobe.sketch.pen import Colour, Pen, oval, read_channels, smooth, surround, write_strips
from bioprobe.sketch.tree import Look, SketchSpecies


def _legs(
    pen: Pen, xs: tuple[float, ...], top: float, foot: float, width: float, rng: np.random.Generator
) -> None:
    """Draw the far legs in shade and the near ones in the coat."""
    stride = rng.uniform(-0.1, 0.1)
    for i, x in enumerate(xs):
        far = i % 2 == 0
        shift = stride if far else -stride
        path = [(x, top), (x + shift * 0.4, (top + foot) / 2), (x + shift, foot)]
        pen.limb(path, width, "shade" if far else "coat", tip_width=width * 0.72)


def draw_cat(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a cat with a round head and a long curled tail."""
    lift = rng.uniform(-0.35, 0.1)
    pen.limb([(-0.6, -0.05), (-0.95, 0.1 + lift * 0.3), (-1.1, -0.25 + lift)], 0.13)
    _legs(pen, (-0.5, -0.36, 0.3, 0.44), 0.15, 0.74, 0.2, rng)
    body = [(-0.72, 0.0), (-0.55, -0.26), (0.0, -0.24), (0.48, -0.3), (0.6, 0.05), (0.4, 0.3)]
    pen.shape(smooth([*body, (-0.1, 0.26), (-0.55, 0.32)]))
    for x in (0.46, 0.84):
        pen.shape(smooth([(x - 0.12, -0.52), (x, -0.76), (x + 0.12, -0.52)], 2))
    pen.shape(oval(0.65, -0.34, 0.32, 0.28))
    pen.shape(oval(0.7, -0.22, 0.15, 0.11), "light", line=0)
    pen.shape([(0.64, -0.28), (0.78, -0.28), (0.71, -0.2)], "pupil", line=0)
    pen.eye(0.55, -0.4, 0.065)
    pen.eye(0.8, -0.4, 0.065)
    for dy in (-0.03, 0.03):
        pen.stroke([(0.8, -0.2 + dy), (1.05, -0.22 + 2.5 * dy)], 0.014)
        pen.stroke([(0.6, -0.2 + dy), (0.36, -0.22 + 2.5 * dy)], 0.014)


def draw_dog(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a wild dog with pointed snout and ears and a bushy tail."""
    lift = rng.uniform(-0.2, 0.3)
    tail = [(-0.55, -0.12), (-0.85, -0.1 + lift * 0.4), (-1.12, 0.1 + lift), (-0.8, 0.18 + lift)]
    pen.shape(smooth([*tail, (-0.56, 0.05)]))
    _legs(pen, (-0.46, -0.34, 0.3, 0.42), 0.1, 0.8, 0.15, rng)
    body = [(-0.66, -0.05), (-0.5, -0.26), (0.1, -0.22), (0.45, -0.36), (0.58, 0.0), (0.36, 0.26)]
    pen.shape(smooth([*body, (-0.15, 0.14), (-0.55, 0.24)]))
    for x in (0.5, 0.66):
        pen.shape([(x - 0.09, -0.58), (x - 0.03, -0.98), (x + 0.12, -0.6)])
    head = [(0.36, -0.4), (0.48, -0.64), (0.72, -0.62), (1.1, -0.38), (1.08, -0.3), (0.75, -0.22)]
    pen.shape(smooth([*head, (0.5, -0.16)], 4))
    pen.shape(oval(1.08, -0.36, 0.06, 0.055), "pupil", line=0)
    pen.eye(0.7, -0.46, 0.055)


def draw_horse(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a horse with a mane and hooves."""
    swing = rng.uniform(-0.12, 0.12)
    pen.limb([(-0.62, -0.12), (-0.84, 0.05), (-0.84 + swing, 0.42)], 0.09, "line", tip_width=0.18)
    _legs(pen, (-0.5, -0.4, 0.26, 0.38), 0.1, 0.86, 0.15, rng)
    body = [(-0.68, -0.1), (-0.5, -0.3), (0.0, -0.22), (0.4, -0.3), (0.52, 0.0), (0.35, 0.26)]
    pen.shape(smooth([*body, (-0.1, 0.26), (-0.55, 0.24)]))
    pen.shape(
        smooth([(0.2, -0.2), (0.42, -0.5), (0.6, -0.86), (0.82, -0.7), (0.62, -0.3), (0.5, 0.05)])
    )
    pen.limb([(0.24, -0.3), (0.42, -0.58), (0.6, -0.9)], 0.13, "line", tip_width=0.1, line=0)
    pen.shape([(0.6, -0.82), (0.62, -1.04), (0.74, -0.84)])
    head = [(0.56, -0.8), (0.74, -0.9), (1.06, -0.56), (1.08, -0.42), (0.94, -0.4), (0.66, -0.56)]
    pen.shape(smooth(head, 4))
    pen.eye(0.76, -0.72, 0.05)
    pen.stroke([(1.0, -0.5), (1.04, -0.48)], 0.03)


def draw_giraffe(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a giraffid: sloping back, very long neck, two horns."""
    lean = rng.uniform(-0.08, 0.08)
    pen.limb([(-0.52, 0.08), (-0.66, 0.3), (-0.64, 0.5)], 0.05, "line", tip_width=0.09)
    _legs(pen, (-0.42, -0.32, 0.12, 0.22), 0.3, 1.06, 0.13, rng)
    pen.limb([(0.14, 0.1), (0.34 + lean, -0.4), (0.5 + lean, -0.88)], 0.32, tip_width=0.16)
    body = [(-0.56, 0.2), (-0.46, 0.06), (0.0, -0.08), (0.3, -0.06), (0.34, 0.2), (0.18, 0.42)]
    pen.shape(smooth([*body, (-0.1, 0.42), (-0.48, 0.42)]))
    x = 0.5 + lean
    for dx in (-0.05, 0.06):
        pen.stroke([(x + dx, -1.0), (x + dx - 0.02, -1.2)], 0.045)
        pen.shape(oval(x + dx - 0.02, -1.2, 0.045, 0.045), "line", line=0)
    pen.shape(oval(x - 0.16, -0.98, 0.1, 0.05, angle=0.3))
    head = [(x - 0.12, -0.94), (x + 0.0, -1.08), (x + 0.18, -1.0), (x + 0.42, -0.84)]
    pen.shape(smooth([*head, (x + 0.36, -0.74), (x + 0.05, -0.78)], 4))
    pen.eye(x + 0.1, -0.95, 0.045)


def draw_owl(pen: Pen, rng: np.random.Generator) -> None:
    """Draw an owl from the front, on a branch."""
    width = rng.uniform(0.92, 1.06)
    pen.limb([(-1.0, 0.74), (0.0, 0.8), (1.0, 0.72)], 0.12, "branch")
    pen.shape(smooth([(-0.2, 0.6), (0.0, 0.5), (0.2, 0.6), (0.16, 1.0), (-0.16, 1.0)]), "shade")
    body = [(-0.5, -0.4), (0.0, -0.56), (0.5, -0.4), (0.58, 0.2), (0.32, 0.72), (-0.32, 0.72)]
    pen.shape(smooth([(x * width, y) for x, y in [*body, (-0.58, 0.2)]]))
    for side in (-1, 1):
        wing = [(side * 0.5, -0.3), (side * 0.68, 0.15), (side * 0.46, 0.66), (side * 0.36, 0.1)]
        pen.shape(smooth([(x * width, y) for x, y in wing]))
        pen.shape([(side * 0.22, -0.72), (side * 0.5, -1.04), (side * 0.52, -0.6)])
    pen.shape(oval(0.0, -0.5, 0.58 * width, 0.42))
    for side in (-1, 1):
        pen.shape(oval(side * 0.24, -0.5, 0.24, 0.25), "light", line=0.02)
        pen.shape(oval(side * 0.23, -0.5, 0.14, 0.14), "beak", line=0.015)
        pen.shape(oval(side * 0.23, -0.5, 0.085, 0.085), "pupil", line=0)
        for dx in (-0.07, 0.05):
            pen.limb([(side * 0.18 + dx, 0.68), (side * 0.18 + dx, 0.84)], 0.08, "beak")
    pen.shape([(-0.08, -0.42), (0.08, -0.42), (0.0, -0.22)], "beak")


def draw_jay(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a perching bird from the side, with a stout beak and a long tail."""
    tilt = rng.uniform(-0.12, 0.15)
    pen.limb([(-0.9, 0.72), (0.0, 0.78), (0.9, 0.7)], 0.1, "branch")
    for x in (-0.06, 0.14):
        pen.limb([(x, 0.4), (x + 0.03, 0.74)], 0.055, "line", line=0)
    tail = [
        (-0.4, 0.12),
        (-1.15, 0.4 + tilt),
        (-1.2, 0.56 + tilt),
        (-0.95, 0.6 + tilt),
        (-0.3, 0.4),
    ]
    pen.shape(tail)
    body = [(-0.55, 0.2), (-0.3, -0.18), (0.1, -0.4), (0.44, -0.3), (0.56, 0.05), (0.3, 0.44)]
    pen.shape(smooth([*body, (-0.2, 0.48)]))
    pen.shape(smooth([(0.72, -0.6), (1.12, -0.46), (0.74, -0.38)], 3), "beak")
    pen.shape(smooth([(0.2, -0.6), (0.1, -0.86), (0.45, -0.8)], 3))
    pen.shape(oval(0.5, -0.5, 0.32, 0.29))
    pen.shape(
        smooth([(-0.6, 0.28), (-0.2, -0.1), (0.26, -0.14), (0.28, 0.12), (-0.1, 0.3)]), line=0.03
    )
    pen.eye(0.58, -0.56, 0.065)


def draw_flamingo(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a flamingo with an S-shaped neck, a bent beak and stilts for legs."""
    reach = rng.uniform(-0.06, 0.08)
    bend = rng.choice([0.0, 0.26])
    pen.limb([(0.05, 0.2), (0.06, 1.15)], 0.05, "leg", line=0)
    pen.limb([(-0.08, 0.2), (-0.08 - bend, 0.65), (-0.06, 1.12 - bend)], 0.05, "leg", line=0)
    pen.shape([(-0.5, -0.05), (-0.86, 0.2), (-0.4, 0.22)])
    neck = [(0.3, -0.02), (0.56, -0.14), (0.5, -0.44), (0.3, -0.7), (0.46 + reach, -0.98)]
    pen.limb([*neck, (0.62 + reach, -0.98)], 0.17, tip_width=0.13)
    body = [(-0.6, 0.02), (-0.3, -0.24), (0.2, -0.26), (0.44, -0.04), (0.2, 0.26), (-0.3, 0.26)]
    pen.shape(smooth(body))
    pen.shape(smooth([(-0.66, 0.1), (-0.2, -0.16), (0.2, -0.08), (0.05, 0.14), (-0.35, 0.2)]))
    x = 0.62 + reach
    pen.shape(
        smooth([(x + 0.06, -1.06), (x + 0.3, -0.96), (x + 0.26, -0.74), (x + 0.14, -0.86)], 4),
        "light",
    )
    pen.shape(smooth([(x + 0.22, -0.88), (x + 0.3, -0.9), (x + 0.26, -0.7)], 3), "pupil", line=0)
    pen.shape(oval(x, -0.98, 0.16, 0.13))
    pen.eye(x + 0.03, -1.01, 0.042)


def draw_turtle(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a sea turtle from above, with a plated shell and four flippers."""
    beat = rng.uniform(-0.15, 0.2)
    for side in (-1, 1):
        front = [(0.4, side * 0.4), (0.5, side * 0.8), (0.1 - beat, side * 1.1), (0.16, side * 0.6)]
        back = [(-0.5, side * 0.3), (-0.86, side * 0.6), (-0.9, side * 0.42), (-0.62, side * 0.14)]
        pen.shape(smooth(front))
        pen.shape(smooth(back))
    pen.shape([(-0.7, -0.08), (-0.95, 0.0), (-0.7, 0.08)])
    pen.shape(smooth([(0.6, -0.14), (0.86, -0.2), (1.08, 0.0), (0.86, 0.2), (0.6, 0.14)]))
    pen.shape(
        smooth([(0.68, 0.0), (0.4, 0.46), (-0.3, 0.5), (-0.78, 0.0), (-0.3, -0.5), (0.4, -0.46)]),
        line=0.04,
    )
    for a, b in ((-0.42, -0.12), (-0.12, 0.18), (0.18, 0.46)):
        middle = (a + b) / 2
        plate = [
            (a, 0.0),
            (a + 0.06, -0.18),
            (b - 0.06, -0.18),
            (b, 0.0),
            (b - 0.06, 0.18),
            (a + 0.06, 0.18),
        ]
        pen.stroke([*plate, plate[0]], 0.025)
        for side in (-1, 1):
            pen.stroke([(middle, side * 0.18), (middle, side * 0.47)], 0.025)
    for side in (-1, 1):
        pen.eye(0.9, side * 0.13, 0.045)


def draw_snake(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a snake winding from left to right."""
    x = np.linspace(-1.1, 0.84, 11)
    sway = rng.uniform(0.26, 0.38)
    y = sway * np.sin(x * rng.uniform(4.2, 5.4) + rng.uniform(0, 6.3))
    middle = np.stack([x, y], axis=1)
    pen.limb(middle, 0.1, tip_width=0.3, line=0.026)
    head_x, head_y = 0.9, float(y[-1])
    tongue = [(head_x + 0.18, head_y), (head_x + 0.36, head_y)]
    pen.stroke(tongue, 0.025, "tongue")
    for dy in (-0.06, 0.06):
        pen.stroke([tongue[1], (head_x + 0.45, head_y + dy)], 0.02, "tongue")
    pen.shape(oval(head_x, head_y, 0.26, 0.19))
    pen.eye(head_x + 0.07, head_y - 0.09, 0.05)
    pen.eye(head_x + 0.07, head_y + 0.09, 0.05)


def draw_frog(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a squatting frog from the front, with bulging eyes."""
    squat = rng.uniform(-0.06, 0.06)
    for side in (-1, 1):
        thigh = [
            (side * 0.3, 0.3),
            (side * 0.86, 0.0 + squat),
            (side * 0.98, 0.44),
            (side * 0.5, 0.66),
        ]
        pen.shape(smooth(thigh))
        for toe in (-0.16, 0.0, 0.16):
            pen.limb([(side * 0.72, 0.58), (side * (0.86 + toe), 0.78)], 0.09, tip_width=0.12)
    body = [(-0.4, -0.3), (0.4, -0.3), (0.62, 0.2), (0.4, 0.62), (-0.4, 0.62), (-0.62, 0.2)]
    pen.shape(smooth(body))
    for side in (-1, 1):
        arm = [(side * 0.36, 0.12), (side * 0.42, 0.45), (side * 0.28, 0.74)]
        pen.limb(arm, 0.17, tip_width=0.14)
        for toe in (-0.11, 0.0, 0.11):
            pen.limb([(side * 0.28, 0.72), (side * 0.28 + toe, 0.86)], 0.07, tip_width=0.1)
        pen.shape(oval(side * 0.34, -0.62, 0.2, 0.2))
    head = [(-0.62, -0.3), (-0.4, -0.58), (0.4, -0.58), (0.62, -0.3), (0.36, 0.0), (-0.36, 0.0)]
    pen.shape(smooth(head))
    pen.stroke(smooth([(-0.46, -0.26), (0.0, -0.12), (0.46, -0.26), (0.0, -0.12)], 6)[:12], 0.03)
    for side in (-1, 1):
        pen.eye(side * 0.34, -0.64, 0.12)


def draw_tang(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a tall, disc-shaped fish with a crescent tail."""
    sweep = rng.uniform(-0.08, 0.08)
    tail = [
        (-0.56, -0.08),
        (-0.98, -0.5 + sweep),
        (-0.84, 0.0),
        (-0.98, 0.5 + sweep),
        (-0.56, 0.08),
    ]
    pen.shape(tail)
    fin = [(0.4, -0.46), (0.05, -0.86), (-0.55, -0.62), (-0.62, -0.2)]
    pen.shape(smooth(fin, 4))
    pen.shape(smooth([(x, -y) for x, y in fin], 4))
    body = [(0.94, 0.06), (0.6, -0.38), (0.1, -0.6), (-0.4, -0.42), (-0.7, -0.06), (-0.7, 0.06)]
    pen.shape(smooth([*body, (-0.4, 0.42), (0.1, 0.6), (0.6, 0.42)]))
    pen.shape(smooth([(0.26, 0.06), (-0.06, -0.1), (-0.12, 0.2)], 4), "light", line=0.018)
    pen.eye(0.6, -0.1, 0.08)
    pen.stroke([(0.92, 0.1), (0.8, 0.14)], 0.03)


def draw_triggerfish(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a diamond-shaped fish with its trigger spine up and a fan tail."""
    sweep = rng.uniform(-0.08, 0.08)
    pen.shape(smooth([(-0.6, -0.1), (-1.0, -0.34 + sweep), (-1.08, 0.34 + sweep), (-0.6, 0.1)], 3))
    pen.shape([(0.14, -0.5), (-0.02, -0.98), (-0.14, -0.46)], "shade")
    pen.shape([(-0.14, -0.4), (-0.34, -0.84), (-0.7, -0.14)], "shade")
    pen.shape([(-0.1, 0.42), (-0.34, 0.84), (-0.7, 0.14)], "shade")
    body = [(1.04, 0.02), (0.1, -0.56), (-0.45, -0.26), (-0.74, -0.1), (-0.74, 0.1), (-0.45, 0.26)]
    pen.shape(smooth([*body, (0.0, 0.6)], 3))
    pen.shape(oval(1.0, 0.03, 0.09, 0.11), "light")
    pen.shape(smooth([(0.22, 0.02), (0.02, -0.1), (0.02, 0.16)], 4), "light", line=0.018)
    pen.eye(0.36, -0.26, 0.075)


def draw_ladybird(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a ladybird with a domed back and a dark head."""
    for side in (-1, 1):
        for x in (-0.4, 0.0, 0.36):
            knee = x + rng.uniform(-0.1, 0.1)
            pen.stroke(
                [(x, side * 0.5), (knee, side * 0.8), (knee + 0.1, side * 0.92)], 0.07, "pupil"
            )
        pen.stroke([(0.85, side * 0.12), (1.1, side * 0.3)], 0.04, "pupil")
    pen.shape(oval(0.74, 0.0, 0.24, 0.34), "pupil", line=0.02)
    for side in (-1, 1):
        pen.shape(oval(0.8, side * 0.2, 0.07, 0.08), "eye", line=0)
    pen.shape(oval(-0.06, 0.0, 0.78, 0.7), line=0.04)
    pen.stroke([(0.7, 0.0), (-0.82, 0.0)], 0.035)


def _butterfly_body(pen: Pen) -> None:
    pen.limb([(-0.6, 0.0), (0.46, 0.0)], 0.1, "pupil", tip_width=0.16, line=0)
    pen.shape(oval(0.52, 0.0, 0.11, 0.11), "pupil", line=0)
    for side in (-1, 1):
        pen.stroke([(0.56, side * 0.04), (0.86, side * 0.22), (0.96, side * 0.32)], 0.028, "pupil")
        pen.shape(oval(0.97, side * 0.33, 0.045, 0.045), "pupil", line=0)


def draw_brushfoot(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a butterfly with four broad rounded wings."""
    open_ = rng.uniform(0.82, 1.05)
    for side in (-1, 1):
        s = side * open_
        hind = [(-0.02, s * 0.05), (-0.12, s * 0.66), (-0.56, s * 0.84), (-0.86, s * 0.5)]
        pen.shape(smooth([*hind, (-0.5, s * 0.06)]))
        fore = [(0.3, s * 0.05), (0.62, s * 0.66), (0.66, s * 1.04), (0.24, s * 1.0)]
        pen.shape(smooth([*fore, (-0.1, s * 0.6), (-0.08, s * 0.06)]))
    _butterfly_body(pen)


def draw_swallowtail(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a butterfly with pointed fore wings and long tails."""
    open_ = rng.uniform(0.82, 1.05)
    for side in (-1, 1):
        s = side * open_
        pen.limb([(-0.62, s * 0.4), (-0.9, s * 0.44), (-1.16, s * 0.56)], 0.14, tip_width=0.12)
        hind = [(0.0, s * 0.04), (-0.1, s * 0.5), (-0.46, s * 0.64), (-0.78, s * 0.4)]
        pen.shape([*hind, (-0.6, s * 0.1)])
        fore = [(0.32, s * 0.04), (0.6, s * 0.5), (0.82, s * 1.1), (0.36, s * 0.96)]
        pen.shape([*fore, (-0.12, s * 0.46), (-0.06, s * 0.06)])
    _butterfly_body(pen)


def draw_bee(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a plump furry bee with clear wings."""
    beat = rng.uniform(-0.1, 0.15)
    for side in (-1, 1):
        for x in (-0.1, 0.15, 0.36):
            pen.stroke(
                [(x, side * 0.3), (x - 0.1, side * 0.6), (x - 0.2, side * 0.72)], 0.05, "pupil"
            )
        pen.stroke([(0.78, side * 0.1), (0.95, side * 0.3), (1.1, side * 0.32)], 0.04, "pupil")
    pen.shape(smooth([(-0.98, 0.0), (-0.6, -0.4), (0.0, -0.36), (0.0, 0.36), (-0.6, 0.4)]))
    pen.shape([(-0.94, -0.05), (-1.1, 0.0), (-0.94, 0.05)], "pupil", line=0)
    pen.shape(oval(0.24, 0.0, 0.38, 0.38))
    for side in (-1, 1):
        fore = [
            (0.2, side * 0.2),
            (0.1, side * 0.8),
            (-0.4 - beat, side * 1.0),
            (-0.3, side * 0.55),
        ]
        hind = [
            (0.0, side * 0.2),
            (-0.4, side * 0.6),
            (-0.7 - beat, side * 0.66),
            (-0.5, side * 0.36),
        ]
        pen.shape(smooth(hind), "wing")
        pen.shape(smooth(fore), "wing")
    pen.shape(oval(0.68, 0.0, 0.2, 0.27), "pupil", line=0.02)
    for side in (-1, 1):
        pen.shape(oval(0.72, side * 0.18, 0.1, 0.09), "shade", line=0)


def draw_spider(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a spider with a round abdomen and eight bent legs."""
    for side in (-1, 1):
        for root, reach in ((0.12, -0.75), (0.22, -0.25), (0.32, 0.42), (0.4, 0.92)):
            bend = rng.uniform(-0.06, 0.06)
            knee = (root + 0.55 * (reach - root) + bend, side * 0.62)
            foot = (reach + bend, side * (1.08 - 0.15 * abs(reach)))
            pen.limb([(root, side * 0.08), knee, foot], 0.085, "shade", tip_width=0.05, line=0.014)
    pen.shape(oval(0.32, 0.0, 0.28, 0.24))
    pen.shape(
        smooth(
            [(0.14, 0.0), (-0.1, 0.46), (-0.6, 0.46), (-0.94, 0.0), (-0.6, -0.46), (-0.1, -0.46)]
        ),
        line=0.03,
    )
    for y in (-0.1, -0.035, 0.035, 0.1):
        pen.shape(oval(0.52, y, 0.035, 0.03), "pupil", line=0)
    for side in (-1, 1):
        pen.stroke([(0.58, side * 0.05), (0.7, side * 0.06)], 0.06)


def draw_crab(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a crab with a broad shell, eight legs and two claws."""
    for side in (-1, 1):
        for i, y in enumerate((0.0, 0.16, 0.3, 0.42)):
            sag = rng.uniform(-0.05, 0.05)
            knee = (side * (0.86 - 0.06 * i), y + 0.06 + sag)
            foot = (side * (1.08 - 0.1 * i), y + 0.34 + sag)
            pen.limb([(side * 0.4, y * 0.8), knee, foot], 0.1, tip_width=0.05)
        pen.limb([(side * 0.5, -0.14), (side * 0.86, -0.3), (side * 0.74, -0.6)], 0.14)
        palm = (side * 0.7, -0.72)
        pen.shape(
            smooth(
                [
                    (palm[0] - 0.18, palm[1] + 0.1),
                    (palm[0] - 0.2, palm[1] - 0.12),
                    (palm[0] - side * 0.16, palm[1] - 0.38),
                    (palm[0] - side * 0.02, palm[1] - 0.1),
                    (palm[0] + side * 0.16, palm[1] - 0.36),
                    (palm[0] + 0.2, palm[1] - 0.1),
                    (palm[0] + 0.16, palm[1] + 0.1),
                ],
                4,
            )
        )
        pen.limb([(side * 0.16, -0.3), (side * 0.18, -0.5)], 0.06)
    shell = [(-0.86, -0.06), (-0.5, -0.34), (0.0, -0.4), (0.5, -0.34), (0.86, -0.06), (0.42, 0.42)]
    pen.shape(smooth([*shell, (-0.42, 0.42)], 5), line=0.035)
    for side in (-1, 1):
        pen.eye(side * 0.18, -0.52, 0.08)
    pen.stroke([(-0.14, 0.3), (0.0, 0.34), (0.14, 0.3)], 0.025)


def draw_jellyfish(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a jellyfish: a bell, frilly arms and thin tentacles."""
    pulse = rng.uniform(-0.06, 0.08)
    phase = rng.uniform(0, 6.3)
    y = np.linspace(0.0, 1.1, 7)
    for x in np.linspace(-0.58, 0.58, 7):
        sway = 0.07 * np.sin(4.5 * y + phase + 3 * x)
        pen.stroke(np.stack([x * (1 - 0.2 * y) + sway, y], 1), 0.032, "shade")
    for x in (-0.24, 0.0, 0.24):
        sway = 0.09 * np.sin(5 * y + phase + 5 * x)
        pen.limb(np.stack([x * 0.8 + sway, y * 0.78], 1), 0.2, "light", tip_width=0.05, line=0.014)
    w = 0.74 + pulse
    bell = [
        (-w, 0.06),
        (-w * 0.92, -0.44),
        (-0.36, -0.84),
        (0.36, -0.84),
        (w * 0.92, -0.44),
        (w, 0.06),
    ]
    hem = [(0.42, 0.12), (0.14, 0.05), (-0.14, 0.05), (-0.42, 0.12)]
    pen.shape(smooth([*bell, *hem]), line=0.03)


def draw_anemone(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a sea anemone: a column under a crown of tentacles."""
    for row, (count, reach) in enumerate(((11, 0.84), (9, 0.6))):
        for turn in np.linspace(-1.35, 1.35, count):
            wag = rng.uniform(-0.14, 0.14)
            root = (0.5 * np.sin(turn), -0.06 - 0.08 * np.cos(turn))
            tip = (1.15 * reach * np.sin(turn) + wag, -0.1 - reach * np.cos(turn * 0.85))
            bend = ((root[0] + tip[0]) / 2 - wag * 0.5, (root[1] + tip[1]) / 2)
            pen.limb([root, bend, tip], 0.13, "light" if row else "base", tip_width=0.1)
    foot = rng.uniform(0.56, 0.68)
    column = [(-0.58, -0.06), (0.0, -0.16), (0.58, -0.06), (0.5, 0.4), (foot, 0.84), (0.0, 0.92)]
    pen.shape(smooth([*column, (-foot, 0.84), (-0.5, 0.4)], 5), line=0.03)
    pen.shape(oval(0.0, -0.08, 0.5, 0.12), "shade")


def draw_snail(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a snail with a coiled shell."""
    stretch = rng.uniform(0.0, 0.12)
    foot = [(-0.95, 0.62), (-0.5, 0.36), (0.3, 0.34), (0.62, 0.0), (0.9 + stretch, -0.06)]
    pen.shape(smooth([*foot, (1.02 + stretch, 0.24), (0.8, 0.56), (0.2, 0.66)]), "snail")
    for dx in (0.0, 0.16):
        top = (0.9 + stretch + dx, -0.42 + dx * 0.6)
        pen.limb([(0.82 + stretch + dx, 0.02), top], 0.06, "snail")
        pen.shape(oval(top[0], top[1], 0.055, 0.055), "pupil", line=0)
    pen.shape(oval(-0.16, -0.1, 0.66, 0.6, angle=0.2), line=0.035)
    turn = np.linspace(0, 4.6 * np.pi, 46)
    radius = 0.5 * (1 - turn / (4.9 * np.pi))
    x, y = -0.16 + radius * 1.08 * np.cos(turn + 0.6), -0.1 + radius * np.sin(turn + 0.6)
    pen.stroke(np.stack([x, y], 1), 0.035)
    pen.stroke([(0.98 + stretch, 0.3), (0.86 + stretch, 0.34)], 0.025)


def draw_octopus(pen: Pen, rng: np.random.Generator) -> None:
    """Draw an octopus with a bulging mantle and eight curling arms."""
    for i, x in enumerate(np.linspace(-1.0, 1.0, 8)):
        curl = rng.uniform(0.05, 0.2) * (-1 if i < 4 else 1)
        low = 0.95 - 0.35 * abs(x) + rng.uniform(-0.06, 0.06)
        path = [(0.3 * x, 0.1), (0.62 * x, 0.34), (0.86 * x, low - 0.1), (1.0 * x + curl, low)]
        pen.limb([*path, (1.0 * x + curl * 1.6, low - 0.14)], 0.24, tip_width=0.06)
    mantle = [(-0.36, 0.1), (-0.5, -0.4), (-0.36, -0.86), (0.1, -1.0), (0.46, -0.8), (0.52, -0.35)]
    pen.shape(smooth([*mantle, (0.36, 0.12), (0.0, 0.24)]), line=0.03)
    for side in (-1, 1):
        pen.eye(side * 0.2, -0.02, 0.1)


def draw_starfish(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a starfish with five arms."""
    bend = rng.uniform(-0.1, 0.1, 5)
    inner = rng.uniform(0.36, 0.44)
    outline = []
    for arm in range(5):
        turn = 2 * np.pi * arm / 5 - np.pi / 2
        for offset, radius in ((-0.16, 0.86), (0.0, 1.04), (0.16, 0.86), (np.pi / 5, inner)):
            angle = turn + offset + (bend[arm] if radius > inner else 0.0)
            outline.append((radius * np.cos(angle), radius * np.sin(angle)))
    pen.shape(smooth(outline, 4), line=0.035)
    for arm in range(5):
        angle = 2 * np.pi * arm / 5 - np.pi / 2 + bend[arm]
        end = (0.72 * np.cos(angle), 0.72 * np.sin(angle))
        pen.stroke([(0.0, 0.0), end], 0.02, "shade")


def draw_urchin(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a sea urchin: a ball of spines."""
    count = int(rng.integers(30, 40))
    for i in range(count):
        angle = 2 * np.pi * i / count + rng.uniform(-0.06, 0.06)
        long = rng.uniform(0.9, 1.12)
        side = np.array([-np.sin(angle), np.cos(angle)]) * 0.055
        root = np.array([np.cos(angle), np.sin(angle)]) * 0.5
        tip = root / 0.5 * long
        pen.shape([tuple(root - side), tuple(tip), tuple(root + side)], "base", line=0.014)
    pen.shape(oval(0.0, 0.0, 0.62, 0.6), line=0.03)
    for ring, radius in ((7, 0.2), (13, 0.44)):
        for i in range(ring):
            angle = 2 * np.pi * i / ring + 0.2 * ring
            root = np.array([np.cos(angle), np.sin(angle)]) * radius
            pen.stroke([tuple(root), tuple(root * 1.45)], 0.035)


@dataclass(frozen=True)
class Form:
    """Describe a body plan.

    Parameters
    ----------
    draw : callable
        Draws the form with a pen, taking its pose from a generator.
    stance : {"upright", "perched", "any"}
        Whether the animal stands, sits on a branch, or is seen from above and may be turned to
        any side.
    habitats : tuple of str
        Backgrounds where it is usually found.
    """

    draw: Callable[[Pen, np.random.Generator], None]
    stance: Literal["upright", "perched", "any"]
    habitats: tuple[str, ...]


_LAND = ("savanna", "meadow", "sand", "snow", "forest")
_TREES = ("sky", "forest", "meadow")
_SHORE = ("water", "mud", "sky")
_SEA = ("sea", "reef", "seabed")
_LEAVES = ("leaf", "meadow", "bark", "flowers")

FORMS: dict[str, Form] = {
    "cat": Form(draw_cat, "upright", _LAND),
    "dog": Form(draw_dog, "upright", _LAND),
    "horse": Form(draw_horse, "upright", _LAND),
    "giraffe": Form(draw_giraffe, "upright", ("savanna", "forest", "meadow")),
    "owl": Form(draw_owl, "perched", _TREES),
    "jay": Form(draw_jay, "perched", _TREES),
    "flamingo": Form(draw_flamingo, "upright", _SHORE),
    "turtle": Form(draw_turtle, "any", ("sea", "seabed", "sand")),
    "snake": Form(draw_snake, "any", ("sand", "leaf", "forest", "savanna")),
    "frog": Form(draw_frog, "upright", ("leaf", "mud", "forest")),
    "tang": Form(draw_tang, "upright", _SEA),
    "triggerfish": Form(draw_triggerfish, "upright", _SEA),
    "ladybird": Form(draw_ladybird, "any", _LEAVES),
    "brushfoot": Form(draw_brushfoot, "any", _LEAVES),
    "swallowtail": Form(draw_swallowtail, "any", _LEAVES),
    "bee": Form(draw_bee, "any", ("flowers", "leaf", "sky")),
    "spider": Form(draw_spider, "any", ("leaf", "bark", "forest")),
    "crab": Form(draw_crab, "upright", ("sand", "seabed", "mud")),
    "jellyfish": Form(draw_jellyfish, "upright", ("sea", "deep")),
    "anemone": Form(draw_anemone, "upright", ("reef", "seabed")),
    "snail": Form(draw_snail, "upright", _LEAVES),
    "octopus": Form(draw_octopus, "upright", ("sea", "seabed", "deep")),
    "starfish": Form(draw_starfish, "any", ("sand", "seabed", "reef")),
    "urchin": Form(draw_urchin, "any", ("seabed", "reef", "sand")),
}


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
        pencil.polygon(placed.ravel().tolist(), fill=inks["second"])
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
    grain = np.repeat(grain, 4, 1)[:, :size_px]
    colours, quarters = read_channels(coat), np.arange(size_px) // 4

    def light(rows: slice) -> NDArray[np.float32]:
        shade = (fall[rows, None] * grain[quarters[rows]]).astype(np.float32)
        lit: NDArray[np.float32] = colours[:, rows].astype(np.float32) * shade
        return lit

    return write_strips(size_px, light)


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
    return _draw(look, rng, size_px)[0]


def draw_masked(
    look: Look, rng: np.random.Generator, size_px: int = 256
) -> tuple[Image.Image, NDArray[np.bool_]]:
    """Draw the picture that :func:`draw_look` draws, and say where its animal is.

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
    picture : PIL.Image.Image
        RGB, ``size_px`` square.
    mask : ndarray of bool, shape (size_px, size_px)
        True where the form was drawn, with the branch that it sits on and without its shadow;
        blades of grass before it count as the animal.
    """
    picture, before, after = _draw(look, rng, size_px)
    # The canvas is twice as large or larger: a pixel is the animal's if half of it is.
    changed = (np.asarray(before) != np.asarray(after)).any(axis=2)
    whole = Image.fromarray(changed.astype(np.uint8) * 255)
    share = np.asarray(whole.resize((size_px, size_px), Image.Resampling.BOX))
    return picture, share >= 128


def _draw(
    look: Look, rng: np.random.Generator, size_px: int
) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Return the picture, and its canvas before and after the animal was drawn on it."""
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
    before = canvas.copy()
    form.draw(
        Pen(canvas, matrix, inks, coat, inks["second"] if look.pattern == "edges" else None), rng
    )
    after = canvas.copy()
    if on_ground and rng.random() < 0.4:
        draw_foreground(canvas, rng)
    return develop(canvas, rng, size_px), before, after


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
    gain = rng.normal(1.0, 0.06) + rng.normal(0.0, 0.02, (3, 1, 1))
    grain = rng.normal(0.0, rng.uniform(0.5, 4.5), (size_px, size_px))
    contrast, colours = rng.uniform(0.9, 1.08), read_channels(small)

    def light(rows: slice) -> NDArray[np.float64]:
        lit = (colours[:, rows].astype(np.float32) - 128) * contrast + 128
        return lit * gain + grain[rows]

    return write_strips(size_px, light)


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
    radius_px = unit_px * 0.08
    corners = [(float(x), float(y)) for x, y in shape * unit_px]
    # Further away nothing of it is seen.
    box = surround(corners, canvas.size, math.ceil(6 * radius_px) + 6)
    mask = Image.new("L", (box[2] - box[0], box[3] - box[1]), 0)
    ImageDraw.Draw(mask).polygon([(x - box[0], y - box[1]) for x, y in corners], fill=56)
    canvas.paste((24, 28, 40), box, mask.filter(ImageFilter.GaussianBlur(radius_px)))
