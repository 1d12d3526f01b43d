"""Body plans of mammals, seen from the side and facing right."""

from __future__ import annotations

import numpy as np

from bioprobe.sketch.pen import Pen, oval, smooth


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
