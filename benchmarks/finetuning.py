"""What ``finetune`` buys beside zero-shot and a linear probe, there and elsewhere.

``drawings``: animals that this repository draws, as twenty cameras took them: each has a tint and a
sharpness of its own, and all get darker and noisier from day to day. Judged are pictures drawn by
lot, pictures of other cameras, and pictures of later days, by sketch; a quarter of the species is
not learnt.

``photos``: photographs of ``../shared`` that wildlife-mini was not taught, half of them of each of
65 kinds whose other photographs it was taught, and of ten kinds that it was not.

Accuracies have 95% intervals; *gain* is against zero-shot of the encoder as it was, paired by
picture. One of both is run alone by its name; what follows is read as settings of ``Plan``, blocks
and rank::

    python -m benchmarks.finetuning drawings epochs=10 rate=1e-4 blocks=2
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter

import bioprobe as bp
from bioprobe.encoders import load_encoder
from bioprobe.face.finetuning import RATES
from bioprobe.face.store import Store
from bioprobe.finetuning.finetune import learn
from bioprobe.finetuning.judging import Judged
from bioprobe.finetuning.learner import check_encoder
from bioprobe.finetuning.training import Plan
from bioprobe.sketch import draw_animal, read_species

SHARED = Path(__file__).parents[1].parent / "shared"
N_SITES, N_DAYS = 20, 10
# Of each species so many drawings, of each kind so many photographs at most.
N_DRAWINGS, N_PHOTOS = 6, 10


def draw_cameras(folder: Path, *, seed: int = 0) -> Path:
    """Draw animals as cameras took them, and return their table."""
    table = folder / "pictures.csv"
    if table.is_file():
        return table
    random = np.random.default_rng(seed)
    tints = random.uniform(0.55, 1.25, (N_SITES, 3))
    blurs = random.uniform(0, 1.6, N_SITES)
    rows = []
    for one in read_species():
        for number in range(N_DRAWINGS):
            site, day = int(random.integers(N_SITES)), int(random.integers(N_DAYS))
            image = draw_animal(one, random).filter(ImageFilter.GaussianBlur(float(blurs[site])))
            pixels = np.asarray(ImageEnhance.Color(image).enhance(1 - 0.06 * day), np.float32)
            pixels = pixels * tints[site] * (1 - 0.055 * day)
            pixels = pixels + random.normal(0, 2 + 2 * day, pixels.shape)
            path = f"{one.name.replace(' ', '_')}_{number}.png"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / path)
            ranks = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
            rows.append(
                {"path": path, **dict(zip(ranks, one.lineage, strict=True)),
                 "common_name": one.common_name, "site": f"site {site}",
                 "taken": f"2024-05-{day + 1:02d}"}
            )  # fmt: skip
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


def open_drawings(folder: Path) -> Iterator[tuple[str, Store, str, str, float]]:
    """Embed the drawings, and split them in three ways.

    Yields
    ------
    name, store, level, split, leave_out
    """
    table = draw_cameras(folder)
    store = bp.embed(table, model="sketch", store=folder / "store", device="cpu", precision="fp32")
    asked: dict[str, dict[str, Any]] = {
        "by lot": {"method": "stratified"},
        "other cameras": {"method": "grouped", "group": "site"},
        "later days": {"method": "chronological", "column": "taken"},
    }
    for name, options in asked.items():
        split = name.replace(" ", "-")
        store.split("species", name=split, fractions="0.6,0.15,0.25", **options)
        yield name, store, "species", split, 0.25


def open_photos(folder: Path) -> Iterator[tuple[str, Store, str, str, float]]:
    """Embed photographs that wildlife-mini was not taught, and split them by halves.

    Yields
    ------
    name, store, level, split, leave_out
    """
    photos = SHARED / "data" / "photos"
    frame = pd.read_csv(photos / "photos.csv", dtype=str, keep_default_na=False)
    frame = frame[frame["role"].isin(["test", "unseen-class"])].reset_index(drop=True)
    frame["name"] = frame.pop("class").str.replace("-", " ").str.capitalize()
    frame["path"] = [str(photos / one) for one in frame["path"]]
    frame.to_csv(folder / "photos.csv", index=False)
    at = folder / "photos"
    model = f"local-dir:{SHARED / 'models' / 'wildlife-mini'}"
    store = (
        bp.open(at, device="cpu")
        if (at / "manifest.json").exists()
        else bp.embed(folder / "photos.csv", model=model, store=at, device="cpu",
                      precision="fp32", allow_outside=True)
    )  # fmt: skip
    places = store.images.groupby("name").cumcount()
    store = store.where(rows=np.flatnonzero(places < N_PHOTOS).tolist())
    store.split("name", name="halves", fractions="0.4,0.1,0.5")
    yield "all kinds learnt", store, "name", "halves", 0.0
    yield "a quarter not learnt", store, "name", "halves", 0.25


SOURCES = {"drawings": open_drawings, "photos": open_photos}


def _write(one: Judged) -> str:
    gain = ""
    if one.gain is not None:
        gain = f"{one.gain.estimate:+.3f} [{one.gain.low:+.3f}, {one.gain.high:+.3f}]"
    return f"| {one.pictures} | {one.method} | {one.n_images} | {one.accuracy} | {gain} |"


def measure(kind: str, folder: Path, given: dict[str, float]) -> None:
    """Finetune on each split of a kind of pictures, and print a table of each."""
    blocks, rank = int(given.pop("blocks", 2)), int(given.pop("rank", 0)) or None
    views, leave = int(given.pop("views", 1)), given.pop("leave", None)
    only = int(given.pop("only", -1))
    plan = Plan(
        int(given.pop("epochs", 10)), int(given.pop("batch", 32)),
        given.pop("rate", RATES[rank is not None]),
    )  # fmt: skip
    plan = dataclasses.replace(plan, **given)  # type: ignore[arg-type]
    for number, (name, store, level, split, leave_out) in enumerate(SOURCES[kind](folder)):
        if only not in {-1, number}:
            continue
        loaded = load_encoder(store._view.manifest.encoder.model, device="cpu")
        task = store._task(level, split=split, texts=store._write_texts(level))
        began = time.process_time()
        found = learn(
            task, check_encoder(loaded, kind), folder / "drafts", plan, n_blocks=blocks,
            rank=rank, n_views=views, leave_out=leave_out if leave is None else leave,
        )  # fmt: skip
        seconds = time.process_time() - began
        epoch = found.card["epoch"]
        print(
            f"\n{kind}, {name}: {found.card['n_images']} pictures of {found.card['n_classes']} "
            f"classes teach, epoch {epoch} of {plan.n_epochs} is kept, {seconds:.0f} s of a "
            "processor\n"
        )
        print("| pictures | method | images | accuracy | gain |\n|---|---|---|---|---|")
        print("\n".join(map(_write, found.judged)), flush=True)
        print("\n" + " ".join(f"{one.accuracy:.3f}/{one.log_loss:.2f}" for one in found.history))


def main() -> None:
    """Measure both kinds, or one with settings."""
    kinds = [one for one in sys.argv[1:] if one in SOURCES] or list(SOURCES)
    given = dict(one.split("=") for one in sys.argv[1:] if "=" in one)
    at = given.pop("folder", None)
    with tempfile.TemporaryDirectory() as scratch:
        for kind in kinds:
            folder = Path(at or scratch)
            folder.mkdir(parents=True, exist_ok=True)
            measure(kind, folder, {name: float(value) for name, value in given.items()})


if __name__ == "__main__":
    main()
