"""Zero-shot figures that were measured with open_clip alone, where the shared folder is at hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.classify import measure_accuracy, zeroshot
from bioprobe.embedding import embed_images
from bioprobe.encoders import load_encoder
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.images import find_images
from bioprobe.images.source import SourceOptions
from bioprobe.prompts import PromptSet, TextType, read_templates
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import to_taxonomy

pytestmark = pytest.mark.shared

Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]

TEST, UNSEEN = "role == 'test'", "role == 'unseen-class'"


@dataclasses.dataclass(frozen=True)
class Photos:
    """The photographs that no training saw, embedded."""

    store: EmbeddingStore
    encode_text: Encode

    def taxa(self, condition: str | None) -> Taxonomy:
        return to_taxonomy(self.store.images.frame.iloc[self.store.select(condition)])

    def measure(
        self, prompts: PromptSet, condition: str, rank: Rank = Rank.SPECIES
    ) -> dict[int, float]:
        predictions = zeroshot(
            self.store, prompts, self.encode_text, rank=rank, condition=condition
        )
        return {accuracy.k: accuracy.fraction for accuracy in measure_accuracy(predictions)}


@pytest.fixture(scope="module")
def photos(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Photos:
    data = shared_dir / "data" / "photos"
    listed = find_images(
        [data / "photos.csv"],
        SourceOptions(rank_columns={Rank.SPECIES: "class", Rank.CLASS: "class_rank"}),
    )
    held_out = dataclasses.replace(
        listed, frame=listed.frame[listed.frame["role"] != "train"].reset_index(drop=True)
    )
    assert len(held_out) == 1066 + 358
    encoder = load_encoder(f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}", device="cpu")
    folder = tmp_path_factory.mktemp("photos")
    embed_images(held_out, encoder, EmbeddingStore.open_for(folder, encoder))
    store = EmbeddingStore.open(folder)
    assert len(store) == 1424
    return Photos(store, TextCache(store, lambda: encoder).encode_text)


FIGURES = {
    TextType.SCI: (0.902, 0.976, 0.221, 0.902, 0.025),
    TextType.COM: (0.902, 0.972, 0.330, 0.896, 0.064),
    TextType.TAXON: (0.897, 0.974, 0.385, 0.887, 0.101),
    TextType.SCI_COM: (0.908, 0.975, 0.240, 0.904, 0.045),
    TextType.TAXON_COM: (0.902, 0.978, 0.402, 0.900, 0.126),
}


@pytest.mark.slow
@pytest.mark.parametrize("text_type", FIGURES)
def test_species_are_named_as_often_as_was_measured(photos: Photos, text_type: TextType) -> None:
    def ask(condition: str | None) -> PromptSet:
        return PromptSet(photos.taxa(condition), text_type, read_templates("plain"))

    seen, unseen, both = ask(TEST), ask(UNSEEN), ask(None)
    assert (len(seen.taxa), len(unseen.taxa), len(both.taxa)) == (65, 10, 75)
    among_seen = photos.measure(seen, TEST)
    measured = (
        among_seen[1],
        among_seen[5],
        photos.measure(unseen, UNSEEN)[1],
        photos.measure(both, TEST)[1],
        photos.measure(both, UNSEEN)[1],
    )
    assert measured == pytest.approx(FIGURES[text_type], abs=0.003)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text_type", "fraction"), [(TextType.TAXON, 0.912), (TextType.SCI, 0.844)]
)
def test_families_are_named_as_often_as_was_measured(
    photos: Photos, text_type: TextType, fraction: float
) -> None:
    families = photos.taxa(TEST).at(Rank.FAMILY)
    assert len(families) == 48
    prompts = PromptSet(families, text_type, read_templates("plain"))
    predictions = zeroshot(
        photos.store, prompts, photos.encode_text, rank=Rank.FAMILY, condition=TEST
    )
    top_1 = measure_accuracy(predictions)[0]
    assert top_1.n_images == 1029
    assert top_1.fraction == pytest.approx(fraction, abs=0.003)


def test_imported_vectors_of_clip_give_the_published_probabilities(
    shared_dir: Path, tmp_path: Path
) -> None:
    data = shared_dir / "data" / "clip-vitb32-cached"
    image, texts = (np.load(data / f"golden.{part}_features.npy") for part in ("image", "text"))
    fingerprint = Fingerprint(model="clip-b32", backend="imported")
    store = EmbeddingStore.create(
        tmp_path / "store", fingerprint, dim=512, logit_scale=100.0, has_text_tower=True
    ).append(pd.DataFrame({"path": ["golden.CLIP.png"]}), image)
    names = ("first", "second", "third")

    def encode_text(asked: Sequence[str]) -> npt.NDArray[np.float32]:
        unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
        return np.asarray(unit[[names.index(text) for text in asked]], dtype=np.float32)

    prompts = PromptSet(
        Taxonomy(tuple(Taxon.from_names({"species": name}) for name in names)),
        TextType.SCI,
        ("{}",),
    )
    predictions = zeroshot(store, prompts, encode_text, rank=Rank.SPECIES)
    assert predictions.names.tolist() == [list(names)]
    assert predictions.scores[0].tolist() == pytest.approx(
        [0.9927935, 0.0042107, 0.0029958], abs=1e-5
    )
