"""Body plans of reptiles, amphibians and fishes."""

from __future__ import annotations

import numpy as np

from bioprobe.sketch.pen import Pen, oval, smooth


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
