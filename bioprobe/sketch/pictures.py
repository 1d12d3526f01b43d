"""Write a folder of drawn pictures with a table of what they show."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from bioprobe.sketch.drawing import draw_animal
from bioprobe.sketch.scenes import SCENES, draw_scene
from bioprobe.sketch.tree import RANKS, SketchSpecies, read_species

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
