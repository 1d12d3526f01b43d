"""Each method that is offered for a vision transformer finds the animal in drawings.

The twins of sketch were trained by ``scripts/train_sketch_twins.py``; ``python -m benchmarks
explaining`` prints the same figures of more drawings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bioprobe.encoders import load_encoder
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.explanation.maps import METHODS, explain_images
from bioprobe.explanation.sanity import (
    correlate_maps,
    draw_chance,
    find_hits,
    measure_overlap,
    randomise_top,
)
from bioprobe.sketch import read_species
from bioprobe.sketch.drawing import draw_masked
from tests.explanation.conftest import Direction

TWINS = Path(__file__).parent / "twins"
POOLINGS = {"class-token": "class token", "mean": "mean", "attention": "attention"}
EVERY_SPECIES = read_species()
SPECIES = EVERY_SPECIES[::9][:6]
N_EACH = 5
DRAWN_PX, CUT_PX = 104, 80

Masks = npt.NDArray[np.bool_]


@pytest.fixture(scope="module")
def drawings() -> tuple[list[Image.Image], Masks]:
    """Return drawings of a few species, cut so that the animal is not in the middle."""
    pictures, masks = [], []
    for number in range(N_EACH * len(SPECIES)):
        random = np.random.default_rng((5, number))
        picture, mask = draw_masked(SPECIES[number // N_EACH].look, random, DRAWN_PX)
        left, top = (int(x) for x in random.integers(0, DRAWN_PX - CUT_PX + 1, 2))
        pictures.append(picture.crop((left, top, left + CUT_PX, top + CUT_PX)))
        masks.append(mask[top : top + CUT_PX, left : left + CUT_PX])
    return pictures, np.stack(masks)


@pytest.fixture(scope="module")
def aims() -> list[Direction]:
    """Return each species against all of them, by the texts of sketch."""
    sketch = load_encoder("sketch", device="cpu", precision="fp32")
    every = sketch.encode_text([f"a photo of {one.common_name}." for one in EVERY_SPECIES])
    texts = sketch.encode_text([f"a photo of {one.common_name}." for one in SPECIES])
    return [Direction(text - every.mean(axis=0)) for text in texts]


@pytest.fixture(scope="module")
def twins() -> Mapping[str, TorchEncoder]:
    loaded = {}
    for name in POOLINGS:
        twin = load_encoder(f"local-dir:{TWINS / name}", device="cpu", precision="fp32")
        assert isinstance(twin, TorchEncoder)
        loaded[name] = twin
    return loaded


def explain(
    encoder: TorchEncoder, pictures: list[Image.Image], aims: list[Direction], method: str
) -> npt.NDArray[np.float32]:
    parts = [
        explain_images(encoder, pictures[n * N_EACH : (n + 1) * N_EACH], aim, method).relevance
        for n, aim in enumerate(aims)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("name", POOLINGS)
def test_maps_find_the_animal_far_more_often_than_chance_does(
    name: str,
    twins: Mapping[str, TorchEncoder],
    drawings: tuple[list[Image.Image], Masks],
    aims: list[Direction],
) -> None:
    pictures, masks = drawings
    twin, changed = twins[name], randomise_top(twins[name], 0.25, 0)
    chance = draw_chance(len(masks), (10, 10), 0)
    for method in METHODS[POOLINGS[name]]:
        if method == "occlusion":
            continue  # It asks nothing of the tower, and is proven where it is drawn.
        maps = explain(twin, pictures, aims, method)
        overlap, hits = measure_overlap(maps, masks).mean(), find_hits(maps, masks).mean()
        assert overlap > measure_overlap(chance, masks).mean() + 0.04, (method, overlap)
        assert hits > find_hits(chance, masks).mean() + 0.15, (method, hits)
        if method == METHODS[POOLINGS[name]][0]:
            others = explain(changed, pictures, aims, method)
            assert abs(correlate_maps(maps, others).mean()) < 0.5
