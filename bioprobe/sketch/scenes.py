"""Pictures without an animal, and folders of drawn pictures with a table of what they show."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bioprobe.sketch.backgrounds import HABITATS, draw_background
from bioprobe.sketch.drawing import develop, draw_animal
from bioprobe.sketch.palette import blend, mix_ink
from bioprobe.sketch.pen import Colour, smooth
from bioprobe.sketch.tree import (
    COLOURS,
    RANKS,
    SketchSpecies,
    read_species,
)

_SYLLABLES = (
    "an",
    "be",
    "cor",
    "du",
    "e",
    "fal",
    "go",
    "hi",
    "lu",
    "ma",
    "ne",
    "or",
    "pi",
    "qua",
    "ri",
    "sa",
    "tu",
    "us",
    "vel",
    "xi",
)


def draw_scene(kind: str, rng: np.random.Generator, size_px: int = 256) -> Image.Image:
    """Draw one picture that shows no animal.

    Parameters
    ----------
    kind : str
        A key of ``SCENES``: ``map``, ``chart``, ``page of text``, ``landscape`` or ``label``.
    rng : numpy.random.Generator
        Source of everything that varies.
    size_px : int, default 256
        Side of the picture.

    Returns
    -------
    PIL.Image.Image
        RGB, ``size_px`` square.

    Examples
    --------
    >>> draw_scene("map", np.random.default_rng(0), size_px=64).size
    (64, 64)
    """
    canvas = SCENES[kind](2 * max(size_px, 128), rng)
    return develop(canvas, rng, size_px)


def _paper(size_px: int, rng: np.random.Generator) -> Image.Image:
    tone = int(rng.integers(232, 252))
    return Image.new("RGB", (size_px, size_px), (tone, tone - 2, tone - int(rng.integers(3, 24))))


def _word(rng: np.random.Generator) -> str:
    count = int(rng.integers(1, 4))
    return "".join(_SYLLABLES[int(i)] for i in rng.integers(0, len(_SYLLABLES), count))


def _sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(_word(rng) for _ in range(words))


def _draw_map(size_px: int, rng: np.random.Generator) -> Image.Image:
    sea: Colour = blend((160, 204, 232), (214, 232, 242), rng.uniform(0, 1))
    image = Image.new("RGB", (size_px, size_px), sea)
    pencil = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 5))):
        turn = np.linspace(0, 2 * np.pi, 15)[:-1]
        radius = rng.uniform(0.12, 0.32, 14)
        x, y = rng.uniform(0.15, 0.85, 2)
        coast = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1)
        land = blend((196, 218, 160), (238, 222, 176), rng.uniform(0, 1))
        corners = [(float(a), float(b)) for a, b in smooth(coast) * size_px]
        pencil.polygon(corners, fill=land, outline=(96, 110, 110), width=max(1, size_px // 128))
        river = np.stack([x + np.linspace(-0.05, 0.3, 6), y + rng.uniform(-0.08, 0.08, 6)], 1)
        line = [(float(a), float(b)) for a, b in river * size_px]
        pencil.line(line, fill=(86, 140, 200), width=max(1, size_px // 100))
    for t in np.linspace(0.0, 1.0, int(rng.integers(4, 8)))[1:-1] * size_px:
        pencil.line([(t, 0), (t, size_px)], fill=(140, 150, 160), width=max(1, size_px // 256))
        pencil.line([(0, t), (size_px, t)], fill=(140, 150, 160), width=max(1, size_px // 256))
    for x, y in rng.uniform(0.12, 0.88, (int(rng.integers(3, 8)), 2)) * size_px:
        r = size_px / 60
        pencil.ellipse([x - r, y - r, x + r, y + r], fill=(206, 40, 40))
        pencil.text(
            (x + r, y), _word(rng).title(), (50, 50, 50), ImageFont.load_default(size_px / 26)
        )
    return image


def _draw_chart(size_px: int, rng: np.random.Generator) -> Image.Image:
    image = _paper(size_px, rng)
    pencil = ImageDraw.Draw(image)
    count = int(rng.integers(4, 9))
    inks = [mix_ink(COLOURS[int(i)], rng) for i in rng.integers(2, len(COLOURS), 3)]
    heights = rng.uniform(0.15, 0.95, count)
    left, right, top, foot = 0.14, 0.94, 0.14, 0.86
    xs = np.linspace(left, right, count + 1)
    kind = int(rng.integers(3))
    dots = [
        ((xs[i] + 0.04) * size_px, (foot - (foot - top) * h) * size_px)
        for i, h in enumerate(heights)
    ]
    for y in np.linspace(top, foot, 6) * size_px:
        pencil.line([(left * size_px, y), (right * size_px, y)], fill=(206, 206, 206), width=2)
    if kind == 0:
        for i, (_, y) in enumerate(dots):
            box = [(xs[i] + 0.015) * size_px, y, (xs[i + 1] - 0.015) * size_px, foot * size_px]
            pencil.rectangle(box, fill=inks[0])
    elif kind == 1:
        pencil.line(dots, fill=inks[0], width=size_px // 50)
        pencil.line(
            [(x, foot * size_px * 1.1 - y * 0.7) for x, y in dots],
            fill=inks[1],
            width=size_px // 50,
        )
    else:
        angles = np.concatenate([[0], np.cumsum(heights / heights.sum()) * 360])
        box = [0.2 * size_px, 0.16 * size_px, 0.84 * size_px, 0.8 * size_px]
        for i, (start, end) in enumerate(pairwise(angles)):
            pencil.pieslice(box, start, end, fill=inks[i % 3], outline=(250, 250, 250), width=4)
    axis = [(left * size_px, top * size_px), (left * size_px, foot * size_px)]
    pencil.line([*axis, (right * size_px, foot * size_px)], fill=(40, 40, 40), width=size_px // 90)
    font = ImageFont.load_default(size_px / 20)
    pencil.text((0.3 * size_px, 0.03 * size_px), _sentence(rng, 3).title(), (40, 40, 40), font)
    return image


def _draw_page(size_px: int, rng: np.random.Generator) -> Image.Image:
    image = _paper(size_px, rng)
    pencil = ImageDraw.Draw(image)
    leading = rng.uniform(0.045, 0.075)
    font = ImageFont.load_default(size_px * leading * 0.8)
    ink = (int(rng.integers(20, 80)),) * 3
    y = rng.uniform(0.04, 0.1)
    title = ImageFont.load_default(size_px * leading * 1.2)
    pencil.text((0.1 * size_px, y * size_px), _sentence(rng, 3).title(), ink, title)
    for row in np.arange(y + 2 * leading, 0.95, leading):
        if rng.random() < 0.1:
            continue
        pencil.text((0.08 * size_px, row * size_px), _sentence(rng, 12), ink, font)
    pencil.rectangle([0.92 * size_px, 0, size_px, size_px], fill=image.getpixel((0, 0)))
    return image.rotate(
        rng.normal(0, 3), Image.Resampling.BICUBIC, fillcolor=image.getpixel((0, 0))
    )


def _draw_landscape(size_px: int, rng: np.random.Generator) -> Image.Image:
    habitats = ("savanna", "meadow", "forest", "snow", "sand", "water", "sky", "mud")
    image = draw_background(habitats[int(rng.integers(len(habitats)))], size_px, rng)
    if rng.random() < 0.2:
        return draw_background(tuple(HABITATS)[int(rng.integers(len(HABITATS)))], size_px, rng)
    back = Image.new("RGB", image.size, HABITATS["sky"][0])
    back.paste(draw_background("sky", size_px, rng))
    pencil = ImageDraw.Draw(back)
    x = np.linspace(-0.1, 1.1, 12)
    for depth, level in enumerate((0.42, 0.52, 0.64)):
        ridge = level + rng.uniform(-0.12, 0.06, 12) * (1 - 0.25 * depth)
        hill = blend((120, 140, 170), (84, 130, 72), depth / 2)
        line = [(float(a * size_px), float(b * size_px)) for a, b in zip(x, ridge, strict=True)]
        pencil.polygon([*line, (size_px * 1.1, size_px), (-0.1 * size_px, size_px)], fill=hill)
    crop = image.crop((0, int(0.66 * size_px), size_px, size_px))
    back.paste(crop, (0, int(0.66 * size_px)))
    if rng.random() < 0.6:
        _plant_trees(pencil, size_px, rng)
    return back


def _plant_trees(pencil: ImageDraw.ImageDraw, size_px: int, rng: np.random.Generator) -> None:
    for x in rng.uniform(0.05, 0.95, int(rng.integers(1, 6))) * size_px:
        foot, tall = rng.uniform(0.68, 0.85) * size_px, rng.uniform(0.14, 0.3) * size_px
        pencil.rectangle(
            [x - tall * 0.06, foot - tall * 0.5, x + tall * 0.06, foot], fill=(96, 70, 50)
        )
        crown = [x - tall * 0.4, foot - tall * 1.15, x + tall * 0.4, foot - tall * 0.35]
        pencil.ellipse(crown, fill=blend((50, 110, 56), (130, 150, 70), rng.uniform(0, 1)))


def _draw_label(size_px: int, rng: np.random.Generator) -> Image.Image:
    table = blend((178, 150, 116), (120, 124, 130), rng.uniform(0, 1))
    image = Image.new("RGB", (size_px, size_px), table)
    wide, tall = int(rng.uniform(0.62, 0.86) * size_px), int(rng.uniform(0.34, 0.56) * size_px)
    card = _paper(max(wide, tall), rng).crop((0, 0, wide, tall))
    pencil = ImageDraw.Draw(card)
    pencil.rectangle([4, 4, wide - 5, tall - 5], outline=(60, 50, 50), width=max(2, size_px // 128))
    font = ImageFont.load_default(tall / 7)
    for row in range(3):
        pencil.text(
            (wide * 0.08, tall * (0.1 + 0.19 * row)), _sentence(rng, 3).title(), (40, 36, 40), font
        )
    x = wide * 0.1
    while x < wide * 0.9:
        bar = rng.uniform(0.006, 0.02) * wide
        pencil.rectangle([x, tall * 0.72, x + bar, tall * 0.92], fill=(20, 20, 20))
        x += bar + rng.uniform(0.006, 0.02) * wide
    turned = card.rotate(rng.normal(0, 8), Image.Resampling.BICUBIC, expand=True, fillcolor=table)
    left, top = (size_px - turned.width) // 2, (size_px - turned.height) // 2
    image.paste(turned, (left, top))
    return image


SCENES: dict[str, Callable[[int, np.random.Generator], Image.Image]] = {
    "map": _draw_map,
    "chart": _draw_chart,
    "page of text": _draw_page,
    "landscape": _draw_landscape,
    "label": _draw_label,
}


COLUMNS = ("path", *RANKS, "common_name", "kind", "role")


def write_pictures(folder: Path, n_per_species: int, n_scenes: int, seed: int) -> Path:
    """Draw pictures of every species and of every kind of scene.

    Parameters
    ----------
    folder : Path
        Where to write; made when missing. Each species and each kind of scene gets a folder.
    n_per_species : int
        Pictures of each species, 0 or more.
    n_scenes : int
        Pictures of each kind of scene, 0 or more.
    seed : int
        Seed of everything that varies; the same seed writes the same bytes.

    Returns
    -------
    Path
        The table ``pictures.csv``, with the columns ``COLUMNS``; paths are relative to ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = [
        *_write_animals(folder, read_species(), n_per_species, rng),
        *_write_scenes(folder, n_scenes, rng),
    ]
    table = folder / "pictures.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return table


def _write_animals(
    folder: Path, species: list[SketchSpecies], n_per_species: int, rng: np.random.Generator
) -> Iterator[dict[str, str]]:
    for one in species:
        for number in range(n_per_species):
            path = _save(draw_animal(one, rng), folder, one.name, number)
            yield {
                "path": path,
                **dict(zip(RANKS, one.lineage, strict=True)),
                "common_name": one.common_name,
                "kind": "animal",
                "role": one.role,
            }


def _write_scenes(
    folder: Path, n_scenes: int, rng: np.random.Generator
) -> Iterator[dict[str, str]]:
    for kind in SCENES:
        for number in range(n_scenes):
            path = _save(draw_scene(kind, rng), folder, kind, number)
            yield {"path": path, "common_name": kind, "kind": "not_animal", "role": "trained"}


def _save(picture: Image.Image, folder: Path, name: str, number: int) -> str:
    path = folder / name.lower().replace(" ", "-") / f"{number:03d}.jpg"
    path.parent.mkdir(exist_ok=True)
    picture.save(path, quality=90)
    return path.relative_to(folder).as_posix()
