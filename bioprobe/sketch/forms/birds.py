"""Body plans of birds."""

from __future__ import annotations

import numpy as np

from bioprobe.sketch.pen import Pen, oval, smooth


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
