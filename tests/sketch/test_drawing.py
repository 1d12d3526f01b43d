"""The renderer is seeded, draws everything, and writes what its table says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioprobe.sketch import (
    SCENES,
    SketchSpecies,
    draw_animal,
    draw_scene,
    read_species,
)
from bioprobe.sketch.drawing import draw_look, draw_masked
from bioprobe.sketch.scenes import COLUMNS, write_pictures

SPECIES = read_species()


def _pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=np.int16)


@pytest.mark.parametrize("one", SPECIES, ids=lambda one: one.name)
def test_each_species_draws(one: SketchSpecies) -> None:
    picture = draw_animal(one, np.random.default_rng(1), 48)
    assert picture.size == (48, 48)
    assert picture.mode == "RGB"
    assert _pixels(picture).std() > 10


@pytest.mark.parametrize("kind", SCENES)
@pytest.mark.parametrize("seed", range(3))
def test_each_scene_draws(kind: str, seed: int) -> None:
    picture = draw_scene(kind, np.random.default_rng(seed), 48)
    assert picture.size == (48, 48)
    assert picture.mode == "RGB"


def test_scenes_cover_what_is_promised() -> None:
    assert set(SCENES) >= {"map", "chart", "page of text", "landscape", "label"}


def test_the_same_seed_draws_the_same_bytes() -> None:
    first, again = (draw_animal(SPECIES[0], np.random.default_rng(5), 64) for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_another_seed_draws_another_picture() -> None:
    first, other = (draw_animal(SPECIES[0], np.random.default_rng(seed), 64) for seed in (5, 6))
    assert np.abs(_pixels(first) - _pixels(other)).mean() > 2


def test_the_default_size_is_256_pixels() -> None:
    assert draw_animal(SPECIES[0], np.random.default_rng(0)).size == (256, 256)


def test_colour_shows_in_the_picture() -> None:
    by_name = {one.name: one for one in SPECIES}
    red, blue = by_name["Actinia equina"], by_name["Callinectes sapidus"]
    means = [
        np.mean(
            [_pixels(draw_animal(one, np.random.default_rng(s), 48)) for s in range(8)], (0, 1, 2)
        )
        for one in (red, blue)
    ]
    assert means[0][0] - means[0][2] > means[1][0] - means[1][2]


def test_pictures_are_written_with_their_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = SPECIES[2:6]
    assert len({one.role for one in few}) == 2
    monkeypatch.setattr("bioprobe.sketch.scenes.read_species", lambda: few)
    table = write_pictures(tmp_path / "pictures", n_per_species=1, n_scenes=2, seed=3)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(few) + 2 * len(SCENES)
    assert sum(row["kind"] == "not_animal" for row in rows) == 2 * len(SCENES)
    assert all((table.parent / row["path"]).is_file() for row in rows)
    assert {row["species"] for row in rows if row["kind"] == "animal"} == {s.name for s in few}


def test_writing_is_seeded(tmp_path: Path) -> None:
    tables = [write_pictures(tmp_path / name, 0, 1, seed=3) for name in ("a", "b")]
    first, again = (
        [path.read_bytes() for path in sorted(table.parent.rglob("*.jpg"))] for table in tables
    )
    assert first == again


def test_the_mask_is_of_the_same_picture_and_covers_its_animal() -> None:
    for one in SPECIES[:6]:
        picture, mask = draw_masked(one.look, np.random.default_rng(5), 64)
        same = draw_look(one.look, np.random.default_rng(5), 64)
        assert (_pixels(picture) == _pixels(same)).all()
        assert mask.shape == (64, 64)
        assert mask.dtype == bool
        assert 0.05 < mask.mean() < 0.7
        # What is drawn upon the ground stands out from it.
        inside, outside = _pixels(picture)[mask], _pixels(picture)[~mask]
        assert np.abs(inside.mean(axis=0) - outside.mean(axis=0)).max() > 10
