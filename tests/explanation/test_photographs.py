"""A small, seeded version of what ``python -m benchmarks.explaining photos`` measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.sanity import draw_centre, draw_chance, measure_faithfulness
from bioprobe.encoders.encoder import Encoder
from bioprobe.explanation.maps import explain_images
from tests.explanation.aims import Direction

N_PHOTOS = 5


@pytest.mark.shared
def test_maps_of_photographs_are_more_faithful_than_blind_ones(
    shared_dir: Path, wildlife_mini: Encoder
) -> None:
    folder = shared_dir / "data" / "photos"
    frame = pd.read_csv(folder / "photos.csv", dtype=str, keep_default_na=False)
    names = sorted(set(frame.loc[frame["role"] == "test", "class"]))
    texts = wildlife_mini.encode_text(
        [f"a photo of {x.replace('-', ' ').capitalize()}." for x in names]
    )
    directions = texts - texts.mean(axis=0)
    found = []
    for path in frame[frame["role"] == "test"].sample(N_PHOTOS, random_state=0)["path"]:
        picture = Image.open(folder / path).convert("RGB")
        pixels = wildlife_mini.preprocess(picture)[None]
        answer = int((wildlife_mini.encode_pixels(pixels) @ texts.T).argmax())
        aim = Direction(directions[answer])
        drawn = explain_images(wildlife_mini, [picture], aim).relevance
        maps = (drawn, draw_chance(1, (7, 7), 0), draw_centre(1, (7, 7)))
        found.append([measure_faithfulness(wildlife_mini, pixels, aim, one, 4) for one in maps])
    insertion, deletion = (
        np.array([[float(getattr(one, kind)[0]) for one in row] for row in found]).mean(axis=0)
        for kind in ("insertion", "deletion")
    )
    assert insertion[0] > insertion[1:].max()
    assert deletion[0] < deletion[1]
    assert np.mean([row[0].saco[0] for row in found]) > 0.3
