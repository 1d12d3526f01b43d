"""A stand-in for the data set where no hub can be reached: its rows, with drawn patterns.

The patterns carry the tree: colour by phylum, stripes by family, spots by species, all under
noise. What a model scores on them says nothing about animals; that every step runs does.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bioprobe.files import prompts_dir

IMAGES_A_SPECIES = 30
_SIZE_PX = 64
# Column that names an image, in the data set and in tables about it.
ID = "eol_content_id"
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


def read_rows(table: Path | None) -> list[dict[str, str]]:
    """Read the rows of the benchmark's own table, or make them of the list that ships.

    Parameters
    ----------
    table : Path or None
        CSV with the seven ranks, the species as its epithet, and ``eol_content_id``.
    """
    if table is not None:
        with table.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    rows = []
    with (prompts_dir() / "taxonomies" / "rare-species.csv").open(encoding="utf-8") as stream:
        for taxon in csv.DictReader(line for line in stream if not line.startswith("#")):
            names = {rank: taxon[rank] for rank in _RANKS}
            names["species"] = taxon["species"].split(maxsplit=1)[-1]
            for number in range(IMAGES_A_SPECIES):
                digest = hashlib.sha256(f"{taxon['species']} {number}".encode()).hexdigest()
                rows.append(names | {"common_name": taxon["common_name"]} | {ID: digest[:12]})
    return rows


def save_dataset(rows: list[dict[str, str]], folder: Path) -> None:
    """Write the stand-in as ``datasets`` does, with the columns that the hub's data set has."""
    import datasets

    columns = (ID, *_RANKS, "common")
    features = datasets.Features(
        {"image": datasets.Image(), **{name: datasets.Value("string") for name in columns}}
    )

    def draw_all() -> Iterator[dict[str, Any]]:
        for row in rows:
            said = {name: row[name] for name in (ID, *_RANKS)}
            yield said | {"common": row["common_name"], "image": {"bytes": draw(row), "path": None}}

    datasets.Dataset.from_generator(draw_all, features=features).save_to_disk(folder)


def draw(row: dict[str, str]) -> bytes:
    """Return the JPEG of one row."""
    lineage = [row[rank] for rank in _RANKS]
    colour = _seeded(lineage[:2]).uniform(40, 215, 3)
    family, species = _seeded(lineage[:5]), _seeded(lineage)
    y_px, x_px = np.mgrid[:_SIZE_PX, :_SIZE_PX]
    angle, period_px = family.uniform(0, np.pi), family.uniform(4, 16)
    phase = (x_px * np.cos(angle) + y_px * np.sin(angle)) * 2 * np.pi / period_px
    pixels = colour + 60 * np.sin(phase)[..., np.newaxis] * family.uniform(-1, 1, 3)
    for _ in range(3):
        centre_px, radius_px = species.uniform(0, _SIZE_PX, 2), species.uniform(4, 12)
        spot = (x_px - centre_px[0]) ** 2 + (y_px - centre_px[1]) ** 2 < radius_px**2
        pixels[spot] = species.uniform(0, 255, 3)
    noise = _seeded([*lineage, row[ID]])
    pixels = pixels + noise.normal(0, 25, pixels.shape) + noise.normal(0, 20, 3)
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _seeded(names: list[str]) -> np.random.Generator:
    digest = hashlib.sha256("|".join(names).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
