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

from benchmarks.sanity import (
    correlate_maps,
    draw_centre,
    draw_chance,
    find_hits,
    measure_overlap,
    randomise_top,
)
from bioprobe.encoders import load_encoder
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.explanation.maps import METHODS, WEAK, explain_images, open_tower
from bioprobe.sketch import read_species
from bioprobe.sketch.drawing import draw_masked
from tests.explanation.aims import Direction

TWINS = Path(__file__).parent / "twins"
POOLINGS = {"class-token": "class token", "mean": "mean", "attention": "attention"}
EVERY_SPECIES = read_species()
SPECIES = EVERY_SPECIES[::6][:10]
N_EACH = 4
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
    tower = open_tower(encoder)
    parts = [
        explain_images(
            encoder, pictures[n * N_EACH : (n + 1) * N_EACH], aim, method, tower=tower
        ).relevance
        for n, aim in enumerate(aims)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("name", POOLINGS)
def test_maps_find_the_animal_better_than_blind_maps_do(
    name: str,
    twins: Mapping[str, TorchEncoder],
    drawings: tuple[list[Image.Image], Masks],
    aims: list[Direction],
) -> None:
    pictures, masks = drawings
    blind = draw_chance(len(masks), (10, 10), 0), draw_centre(len(masks), (10, 10))
    chance, centre = (measure_overlap(one, masks).mean() for one in blind)
    chance_hits = find_hits(blind[0], masks).mean()
    methods = [one for one in METHODS[POOLINGS[name]] if one != "occlusion"]
    assert methods[0] not in WEAK
    for method in methods:
        maps = explain(twins[name], pictures, aims, method)
        overlap, hits = measure_overlap(maps, masks).mean(), find_hits(maps, masks).mean()
        assert overlap > chance + 0.06, (method, overlap)
        assert hits > chance_hits + 0.2, (method, hits)
        if method in WEAK:
            continue
        assert overlap > centre, (method, overlap)
        if method != methods[0]:
            continue
        assert overlap > centre + 0.02, (method, overlap)
        # What a picture alone would give, whatever the weights, says nothing of the model.
        few = slice(None, 4 * N_EACH)
        for share, most in ((0.25, 0.5), (1.0, 0.25)):
            changed = randomise_top(twins[name], share, 0)
            others = explain(changed, pictures[few], aims[:4], method)
            assert abs(correlate_maps(maps[few], others).mean()) < most, (method, share)
        assert measure_overlap(others, masks[few]).mean() < centre - 0.1, method
