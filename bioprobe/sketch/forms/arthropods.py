"""Body plans of insects, spiders and crabs, seen from above."""

from __future__ import annotations

import numpy as np

from bioprobe.sketch.pen import Pen, oval, smooth


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
