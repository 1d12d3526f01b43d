"""Body plans of cnidarians, molluscs and echinoderms."""

from __future__ import annotations

import numpy as np

from bioprobe.sketch.pen import Pen, oval, smooth


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
