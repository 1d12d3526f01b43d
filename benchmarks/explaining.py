"""Whether the maps of ``explain`` say what the model looked at, beside two blind maps.

``drawings``: on pictures that this repository draws, of which it is known where the animal is, cut
so that it does not stand in the middle, with sketch and its twins, which have a vision
transformer. *hit* is how often the most relevant place is on the animal, *IoU* how well as many of
the most relevant places as the animal has cover it, *hit less* and *IoU less* by how much more
than a Gaussian in the middle, each with its 95% interval; *top* and *all* are the rank correlation
with the map of the model of which the last quarter of the layers, or all, has weights by lot.

``photos``: on photographs that wildlife-mini was not taught, in ``../shared``. *deletion* and
*insertion* are by how much a map is better than that blind map, in logits of the answer less those
of all names, and *SaCo* the faithfulness of the order of its shares, each with its 95% interval.

One of both is run alone by its name, on as many pictures as a number says::

    python -m benchmarks.explaining photos 200
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.sanity import (
    correlate_maps,
    draw_centre,
    draw_chance,
    find_hits,
    measure_faithfulness,
    measure_overlap,
    randomise_top,
)
from bioprobe.encoders import load_encoder
from bioprobe.explanation.maps import explain_images, open_tower
from bioprobe.sketch.drawing import draw_masked
from bioprobe.sketch.tree import read_species

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
TWINS = ROOT / "tests" / "explanation" / "twins"
DRAWN_PX, CUT_PX = 104, 80
N_PARTS = 5
GRID = (7, 7)
# The ways to look were chosen on the drawings before these, 0 to 199.
_FIRST_REPORTED = 1000
# Drawings on which the maps of models with weights by lot are compared.
_N_CHANGED = 20


@dataclasses.dataclass(frozen=True)
class Direction:
    """The logit of a vector is its product with this one."""

    vector: np.ndarray

    def measure(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the products, and their gradient."""
        rows = np.tile(np.asarray(self.vector, dtype=np.float32), (len(vectors), 1))
        return vectors @ self.vector.astype(np.float64), rows


def say_mean(values: np.ndarray) -> str:
    """Return the mean and the half width of its 95% interval."""
    width = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.3f} ± {width:.3f}"


def cut_drawing(number: int) -> tuple[Image.Image, np.ndarray, int]:
    """Return a drawing out of its middle, where its animal is, and its species."""
    species = read_species()
    random = np.random.default_rng((99, number))
    which = number % len(species)
    picture, mask = draw_masked(species[which].look, random, DRAWN_PX)
    left, top = (int(x) for x in random.integers(0, DRAWN_PX - CUT_PX + 1, 2))
    box = (left, top, left + CUT_PX, top + CUT_PX)
    return picture.crop(box), mask[top : top + CUT_PX, left : left + CUT_PX], which


def measure_drawings(n: int) -> None:
    """Print how the maps of sketch and its twins meet what was drawn."""
    drawn = [cut_drawing(_FIRST_REPORTED + number) for number in range(n)]
    masks = np.stack([mask for _, mask, _ in drawn])
    names = [one.common_name for one in read_species()]
    sketch = load_encoder("sketch", device="cpu", precision="fp32")
    texts = sketch.encode_text([f"a photo of {name}." for name in names])
    texts -= texts.mean(axis=0)
    blind = {"centre": draw_centre(n, (10, 10)), "chance": draw_chance(n, (10, 10), 0)}
    hits = {name: find_hits(one, masks).astype(float) for name, one in blind.items()}
    overlaps = {name: measure_overlap(one, masks) for name, one in blind.items()}
    for name in blind:
        print(f"{name}: hit {hits[name].mean():.3f}, IoU {overlaps[name].mean():.3f}")
    print("encoder      method     hit    IoU    hit less         IoU less         top    all")
    folders = sorted(TWINS.iterdir())
    encoders = {folder.name: f"local-dir:{folder}" for folder in folders} | {"sketch": "sketch"}
    for name, model in encoders.items():
        encoder = load_encoder(model, device="cpu", precision="fp32")
        changed = [randomise_top(encoder, share, 0) for share in (0.25, 1.0)]
        for method in open_tower(encoder):
            maps = explain_each(encoder, drawn, texts, method)
            others = [explain_each(one, drawn[:_N_CHANGED], texts, method) for one in changed]
            kept = [correlate_maps(maps[:_N_CHANGED], other).mean() for other in others]
            hit, overlap = find_hits(maps, masks).astype(float), measure_overlap(maps, masks)
            print(
                f"{name:12} {method:9}  {hit.mean():.3f}  {overlap.mean():.3f}  "
                f"{say_mean(hit - hits['centre'])}  {say_mean(overlap - overlaps['centre'])}  "
                f"{kept[0]:+.2f}  {kept[1]:+.2f}",
                flush=True,
            )


def explain_each(encoder, drawn, texts, method) -> np.ndarray:  # noqa: ANN001
    """Return the map of each drawing toward its own species."""
    maps = np.empty((len(drawn), CUT_PX // 8, CUT_PX // 8), dtype=np.float32)
    species = np.array([which for _, _, which in drawn])
    for which in np.unique(species):
        rows = np.flatnonzero(species == which)
        pictures = [drawn[row][0] for row in rows]
        maps[rows] = explain_images(encoder, pictures, Direction(texts[which]), method).relevance
    return maps


def measure_photos(n: int) -> None:
    """Print how the answers of wildlife-mini follow its maps, beside those of blind maps."""
    model = f"local-dir:{SHARED / 'models' / 'wildlife-mini'}"
    encoder = load_encoder(model, device="cpu", precision="fp32", batch_size=16)
    encoder.module.to(memory_format=torch.channels_last)
    folder = SHARED / "data" / "photos"
    frame = pd.read_csv(folder / "photos.csv", dtype=str, keep_default_na=False)
    names = sorted(set(frame.loc[frame["role"] == "test", "class"]))
    frame = frame[frame["role"] == "test"].sample(n, random_state=0)
    texts = encoder.encode_text([f"a photo of {x.replace('-', ' ').capitalize()}." for x in names])
    directions = encoder.logit_scale * (texts - texts.mean(axis=0))
    methods = [x for x in open_tower(encoder) if x != "occlusion"]
    kinds = ("centre", "chance", *methods)
    found: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
    changed = [randomise_top(encoder, share, 0) for share in (0.25, 1.0)]
    kept: dict[str, list[list[float]]] = {method: [] for method in methods}
    for row, path in enumerate(frame["path"]):
        with Image.open(folder / path) as opened:
            picture = opened.convert("RGB")
        pixels = encoder.preprocess(picture)[None]
        answer = int((encoder.encode_pixels(pixels) @ texts.T).argmax())
        aim = Direction(directions[answer])
        maps = {"centre": draw_centre(1, GRID), "chance": draw_chance(1, GRID, row)}
        for method in methods:
            maps[method] = explain_images(encoder, [picture], aim, method).relevance
            if row < 40:
                others = [explain_images(x, [picture], aim, method).relevance for x in changed]
                kept[method].append([float(correlate_maps(maps[method], x)[0]) for x in others])
        for kind in kinds:
            one = measure_faithfulness(encoder, pixels, aim, maps[kind], N_PARTS)
            found[kind].append([one.deletion[0], one.insertion[0], one.saco[0]])
        if (row + 1) % 20 == 0:
            print(f"# after {row + 1} of {n}")
            _print_photos({kind: np.array(rows) for kind, rows in found.items()})
    for method, rows in kept.items():
        top, every = np.mean(rows, axis=0)
        print(
            f"{method}: rank correlation {top:+.2f} with random last layers, {every:+.2f} with all"
        )


def _print_photos(found: dict[str, np.ndarray]) -> None:
    print("method     against   deletion          insertion         SaCo")
    for method in list(found)[2:]:
        for blind in ("centre", "chance"):
            gain = found[method] - found[blind]
            print(
                f"{method:9}  {blind:8}  {say_mean(-gain[:, 0])}    {say_mean(gain[:, 1])}    "
                f"{say_mean(found[method][:, 2])}",
                flush=True,
            )


def main() -> None:
    """Run both, or the one that is named."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    if asked in {"", "drawings"}:
        measure_drawings(n)
    if asked in {"", "photos"}:
        measure_photos(n)


if __name__ == "__main__":
    main()
