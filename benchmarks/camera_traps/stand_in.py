"""Stand-ins of the two data sets where no hub can be reached: their true layout, other pictures."""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from benchmarks.camera_traps.layout import MULTI_COLUMNS, RANKS, SET_PICTURES
from benchmarks.camera_traps.published import SET_SIZES
from benchmarks.rare_species.stand_in import draw, read_rows

#: What a picture shows (the seven ranks, ``common_name``), and its bytes.
Shown = tuple[Mapping[str, str], bytes]


def draw_pictures(n_species: int, n_images: int, first: int = 0) -> list[Shown]:
    """Draw patterns of species that ship; they say nothing of animals."""
    rows = read_rows(None)
    names = list(dict.fromkeys((row["genus"], row["species"]) for row in rows))
    chosen = set(names[first : first + n_species])
    of_species: dict[tuple[str, str], list[Shown]] = {}
    for row in rows:
        name = (row["genus"], row["species"])
        if name in chosen and len(of_species.setdefault(name, [])) < n_images:
            of_species[name].append((row, draw(row)))
    return [one for ones in of_species.values() for one in ones]


def save_sets(folder: Path, sets: Mapping[str, Sequence[Shown]]) -> None:
    """Write pictures of each set as IDLE-OO Camera Traps has them."""
    for name, shown in sets.items():
        rows = []
        for number, (taxon, content) in enumerate(shown):
            path = f"{name}/{uuid.uuid5(uuid.NAMESPACE_URL, f'{name} {number}')}.png"
            file = folder / SET_PICTURES / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            named = {("cls" if rank == "class" else rank): taxon[rank] for rank in RANKS}
            rows.append({"img_id": f"{name} : {number}", **named,
                         "common_name": taxon["common_name"], "filepath": path})  # fmt: skip
        pd.DataFrame(rows).to_csv(folder / f"{name}-balanced.csv")


def save_multi(folder: Path, pairs: Sequence[tuple[Shown, Shown]], *, boxed_every: int = 2) -> None:
    """Write pairs, side by side in one picture, as the multi-species benchmark has them.

    Parameters
    ----------
    folder : Path
        Where ``data/test-00000-of-00001.parquet`` goes.
    pairs : sequence
        What is pasted beside each other.
    boxed_every : int
        One picture in so many has boxes, the others none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for number, pair in enumerate(pairs):
        content, boxes = _paste([one[1] for one in pair])
        for place, ((taxon, _), box) in enumerate(zip(pair, boxes, strict=True)):
            epithet = taxon["species"].split(" ")[-1]
            rows.append({
                **dict.fromkeys(MULTI_COLUMNS),
                "image_id": f"ENA24 : {number}", "source_benchmark": "lila_camera_trap",
                "source_dataset": "ENA24", "image": {"bytes": content, "path": None},
                "n_species_in_image": len(pair), "species_idx": place,
                "bbox_px": None if number % boxed_every else box,
                **{rank: taxon[rank] or None for rank in RANKS}, "species": epithet or None,
                "taxonomy_source": "lila_camera_trap",
            })  # fmt: skip
    text = pa.string()
    kinds = dict.fromkeys(MULTI_COLUMNS, text) | {
        "image": pa.struct({"bytes": pa.binary(), "path": text}),
        "n_species_in_image": pa.int32(), "species_idx": pa.int32(),
        "bbox_px": pa.list_(pa.float64()),
    }  # fmt: skip
    file = folder / "data" / "test-00000-of-00001.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(kinds)), file)


def save_all(folder: Path, n_species: int, n_images: int) -> tuple[Path, Path]:
    """Draw both data sets, and return where they lie."""
    sets, multi = folder / "idle-oo", folder / "multi-species"
    if not multi.exists():
        save_sets(sets, {
            name: draw_pictures(n_species, n_images, first=n_species * number)
            for number, name in enumerate(SET_SIZES)
        })  # fmt: skip
        one, other = draw_pictures(n_species, n_images), draw_pictures(n_species, n_images, 100)
        save_multi(multi, list(zip(one, other, strict=True)))
    return sets, multi


def _paste(contents: Sequence[bytes]) -> tuple[bytes, list[list[float]]]:
    """Put pictures beside each other with room between; return the whole, and the ends of each."""
    images = [Image.open(io.BytesIO(one)).convert("RGB") for one in contents]
    gap_px = images[0].width // 8
    width_px = sum(one.width + 2 * gap_px for one in images)
    canvas = Image.new("RGB", (width_px, max(one.height for one in images) + 2 * gap_px))
    boxes, left_px = [], gap_px
    for one in images:
        canvas.paste(one, (left_px, gap_px))
        boxes.append([float(left_px), float(gap_px),
                      float(left_px + one.width), float(gap_px + one.height)])  # fmt: skip
        left_px += one.width + 2 * gap_px
    stream = io.BytesIO()
    canvas.save(stream, "JPEG", quality=90)
    return stream.getvalue(), boxes
