"""Real camera-trap pictures through a real model, where the shared folder is at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioprobe.embedding import embed_images
from bioprobe.encoders.encoder import Encoder
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, verify_store

pytestmark = pytest.mark.shared

TRUNCATED = "african_elephants_truncated_file.jpg"
PREFIX = "african_elephants"


@pytest.fixture(scope="module")
def store(
    shared_dir: Path, wildlife_mini: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> EmbeddingStore:
    folder = tmp_path_factory.mktemp("edge-cases")
    embed_images(
        find_images([shared_dir / "data" / "edge-cases"]),
        wildlife_mini,
        EmbeddingStore.open_for(folder, wildlife_mini),
    )
    return EmbeddingStore.open(folder)


def test_every_file_but_the_truncated_one_is_embedded(
    store: EmbeddingStore, shared_dir: Path
) -> None:
    files = {path.name for path in (shared_dir / "data" / "edge-cases").glob("*.jpg")}
    assert len(files) == 13
    assert set(store.images.file_names) == files - {TRUNCATED}
    assert verify_store(store) == []


def test_the_truncated_file_is_listed_with_its_reason(store: EmbeddingStore) -> None:
    (failure,) = store.read_failures().to_dict("records")
    assert failure["path"] == TRUNCATED
    assert failure["reason"].startswith("damaged (no end marker, flat band at the end")
    assert ": 86% of its rows are there" in failure["reason"]


def test_modes_are_those_of_the_files(store: EmbeddingStore) -> None:
    frame = store.images.frame.set_index("path")
    assert frame.loc[f"{PREFIX}_cmyk.jpg", "mode"] == "CMYK"
    assert frame.loc[f"{PREFIX}_bw.jpg", "mode"] == "L"
    assert frame.loc[f"{PREFIX}.jpg", "mode"] == "RGB"


@pytest.mark.parametrize(
    ("variant", "similarity"), [("with_exif_orientation", 0.8), ("cmyk", 0.9), ("bw", 0.5)]
)
def test_a_variant_of_a_picture_lies_near_it(
    store: EmbeddingStore, variant: str, similarity: float
) -> None:
    vectors = dict(zip(store.images.file_names, store.read_vectors(), strict=True))
    original = vectors[f"{PREFIX}.jpg"]
    assert np.dot(original, vectors[f"{PREFIX}_{variant}.jpg"]) > similarity
    # Nearer than any picture of something else.
    others = [vector for name, vector in vectors.items() if not name.startswith(PREFIX)]
    assert np.dot(original, vectors[f"{PREFIX}_{variant}.jpg"]) > max(np.stack(others) @ original)
