"""The shipped model loads by open_clip alone and knows what its card says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bioprobe.files import sketch_weights_dir
from bioprobe.sketch import SCENES, SketchSpecies, draw_animal, draw_scene, read_species
from scripts.sketch.captions import say_name

FOLDER = sketch_weights_dir()
SPECIES = read_species()


class _Model:
    def __init__(self, folder: Path) -> None:
        import open_clip

        name = f"local-dir:{folder}"
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(name)
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer(name)

    def embed_images(self, pictures: list[Any]) -> NDArray[np.float32]:
        with torch.inference_mode():
            rows = self.model.encode_image(torch.stack([self.preprocess(one) for one in pictures]))
            return np.asarray(torch.nn.functional.normalize(rows, dim=-1).numpy())

    def embed_texts(self, texts: list[str]) -> NDArray[np.float32]:
        with torch.inference_mode():
            rows = self.model.encode_text(self.tokenizer(texts))
            return np.asarray(torch.nn.functional.normalize(rows, dim=-1).numpy())


@pytest.fixture(scope="module")
def model() -> _Model:
    return _Model(FOLDER)


@pytest.fixture(scope="module")
def embedded(model: _Model) -> tuple[list[SketchSpecies], NDArray[np.float32]]:
    rng = np.random.default_rng(99)
    truth = [one for one in SPECIES for _ in range(1 if one.role == "trained" else 3)]
    return truth, model.embed_images([draw_animal(one, rng, 128) for one in truth])


def test_the_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) <= 8 * 2**20


def test_family_by_scientific_lineage(
    model: _Model, embedded: tuple[list[SketchSpecies], NDArray[np.float32]]
) -> None:
    truth, images = embedded
    lineages = {one.at("family"): one.lineage[:5] for one in SPECIES}
    texts = [f"a photo of {say_name(lineage, '', 'taxon')}." for lineage in lineages.values()]
    best = (images @ model.embed_texts(texts).T).argmax(1)
    right = [list(lineages)[i] == one.at("family") for i, one in zip(best, truth, strict=True)]
    assert np.mean(right) >= 0.9


def test_trained_species_by_full_names(
    model: _Model, embedded: tuple[list[SketchSpecies], NDArray[np.float32]]
) -> None:
    truth, images = embedded
    trained = [one for one in SPECIES if one.role == "trained"]
    texts = [
        f"a photo of {say_name(one.lineage, one.common_name, 'taxon_com')}." for one in trained
    ]
    mine = [i for i, one in enumerate(truth) if one.role == "trained"]
    best = (images[mine] @ model.embed_texts(texts).T).argmax(1)
    right = [trained[b] == truth[i] for b, i in zip(best, mine, strict=True)]
    assert np.mean(right) >= 0.92


def test_unseen_species_by_description(
    model: _Model, embedded: tuple[list[SketchSpecies], NDArray[np.float32]]
) -> None:
    truth, images = embedded
    unseen = [one for one in SPECIES if one.role == "unseen"]
    texts = [f"a photo of {one.description}." for one in unseen]
    mine = [i for i, one in enumerate(truth) if one.role == "unseen"]
    best = (images[mine] @ model.embed_texts(texts).T).argmax(1)
    right = [unseen[b] == truth[i] for b, i in zip(best, mine, strict=True)]
    assert np.mean(right) >= 0.9


def test_animals_are_told_from_scenes(
    model: _Model, embedded: tuple[list[SketchSpecies], NDArray[np.float32]]
) -> None:
    rng = np.random.default_rng(98)
    scenes = model.embed_images([draw_scene(kind, rng, 128) for kind in SCENES for _ in range(4)])
    yes, no = model.embed_texts(
        ["a photo of an animal.", "a photo of something that is not an animal."]
    )
    assert np.mean(embedded[1] @ (yes - no) > 0) >= 0.9
    assert np.mean(scenes @ (yes - no) < 0) >= 0.9


def test_case_does_not_matter(model: _Model) -> None:
    upper, lower = model.embed_texts(["A PHOTO OF A CAT.", "a photo of a cat."])
    np.testing.assert_array_equal(upper, lower)


def test_any_name_has_tokens_and_ends_at_the_highest(model: _Model) -> None:
    tokens = model.tokenizer(["Ornithorhynchus anatinus, 鴨嘴獸 & Zoë's", "", "cat " * 200])
    assert tokens.shape == (3, 64)
    assert (tokens.max(dim=1).values == len(model.tokenizer.tokenizer) - 1).all()


def test_the_card_reports_what_was_measured() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    figures = json.loads((FOLDER / "evaluation.json").read_text(encoding="utf-8"))
    assert "Not for photographs" in card
    for scores in figures["ranks"].values():
        assert all(f"{score['value']:.3f}" in card for score in scores.values())
