from __future__ import annotations

from pathlib import Path

import pytest

from bioprobe.embedding import load_encoder_for
from bioprobe.encoders import load_encoder
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import ModelUnavailableError
from bioprobe.store import EmbeddingStore


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Return a store that was begun in bf16, with images decoded whole."""
    encoder = load_encoder("sketch", precision="bf16", decoding="exact")
    return EmbeddingStore.open_for(tmp_path / "store", encoder).folder


def test_a_store_goes_on_as_it_was_begun(begun: Path) -> None:
    encoder = load_encoder_for(begun)
    assert encoder.fingerprint == EmbeddingStore.open(begun).manifest.encoder
    assert (encoder.fingerprint.precision, encoder.fingerprint.decoding) == ("bf16", "exact")


def test_what_is_asked_for_wins(begun: Path) -> None:
    encoder = load_encoder_for(begun, precision="fp32", decoding="fast", batch_size=3)
    assert (encoder.fingerprint.precision, encoder.fingerprint.decoding) == ("fp32", "fast")
    assert encoder.batch_size == 3


def test_a_new_store_decodes_fast(tmp_path: Path) -> None:
    encoder = load_encoder_for(tmp_path / "new", model="sketch")
    assert encoder.fingerprint.decoding == "fast"
    assert encoder.fingerprint.precision in {"fp32", "bf16"}


def test_a_new_store_has_the_default_model(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="bioclip-2"):
        load_encoder_for(tmp_path / "new")


def test_imported_vectors_name_their_model_and_no_precision(tmp_path: Path) -> None:
    fingerprint = Fingerprint(model="sketch", backend="imported", precision="fp16")
    store = EmbeddingStore.create(tmp_path / "store", fingerprint, dim=192)
    assert load_encoder_for(store.folder).fingerprint.precision in {"fp32", "bf16"}
