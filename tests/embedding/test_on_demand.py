from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from bioprobe.embedding import OnDemandEncoder, embed_images, load_encoder_for, open_on_demand
from bioprobe.encoders import load_encoder
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import MismatchError, ModelUnavailableError
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder


@dataclasses.dataclass
class Loader:
    """Load an encoder, and count how often."""

    encoder: PlainEncoder
    n_loaded: int = 0

    def __call__(self) -> PlainEncoder:
        self.n_loaded += 1
        return self.encoder


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    return make_store(encoder)


@pytest.fixture
def loader(encoder: PlainEncoder) -> Loader:
    return Loader(encoder)


def _embed(store: EmbeddingStore, loader: Loader, *sources: Path) -> tuple[int, int, int, int]:
    encoder = OnDemandEncoder(store, loader)
    done = embed_images(find_images(sources), encoder, store, n_threads=2)
    assert encoder.is_loaded == bool(loader.n_loaded)
    return done.n_embedded, done.n_reused, done.n_kept, done.n_failed


@pytest.mark.parametrize("n_images", [1, 63, 64, 65, 130])
def test_where_nothing_is_new_nothing_is_loaded(
    store: EmbeddingStore, loader: Loader, write_pictures: Callable[..., Path], n_images: int
) -> None:
    folder = write_pictures(n_images)
    embed_images(find_images([folder]), loader.encoder, store)
    assert _embed(store, loader, folder) == (0, 0, n_images, 0)
    assert loader.n_loaded == 0


def test_copies_and_files_that_cannot_be_read_need_no_encoder(
    store: EmbeddingStore, loader: Loader, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(2)
    embed_images(find_images([folder]), loader.encoder, store)
    (folder / "copy.png").write_bytes((folder / "001.png").read_bytes())
    (folder / "bad.png").write_text("no picture")
    assert _embed(store, loader, folder) == (0, 1, 2, 1)
    assert loader.n_loaded == 0
    assert len(EmbeddingStore.open(store.folder)) == 3


@pytest.mark.parametrize("n_known", [0, 1, 70])
def test_the_first_new_image_loads_the_encoder_once(
    store: EmbeddingStore, loader: Loader, write_pictures: Callable[..., Path], n_known: int
) -> None:
    known = write_pictures(n_known)
    (known / "bad.png").write_text("no picture")
    embed_images(find_images([known]), loader.encoder, store)
    loader.encoder.batch_sizes.clear()
    new = write_pictures(70, "z", first=100)
    assert _embed(store, loader, known, new) == (70, 0, n_known, 1)
    assert loader.n_loaded == 1
    assert loader.encoder.batch_sizes == [16, 16, 16, 16, 6]
    names = EmbeddingStore.open(store.folder).images.file_names
    assert names[n_known:] == [f"{number}.png" for number in range(100, 170)]


def test_other_weights_under_the_same_name_are_refused_before_they_are_used(
    store: EmbeddingStore, loader: Loader, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(2)
    embed_images(find_images([folder]), loader.encoder, store)
    before = EmbeddingStore.open(store.folder).manifest
    other = Loader(PlainEncoder(2))
    write_pictures(1, first=2)
    with pytest.raises(MismatchError, match="got plain-2"):
        _embed(store, other, folder)
    assert other.encoder.n_images_seen == 0
    assert EmbeddingStore.open(store.folder).manifest == before


def test_a_model_that_cannot_be_loaded_ends_the_run(
    store: EmbeddingStore, write_pictures: Callable[..., Path]
) -> None:
    def refuse() -> PlainEncoder:
        msg = "no such model"
        raise ModelUnavailableError(msg)

    encoder = OnDemandEncoder(store, refuse)
    with pytest.raises(ModelUnavailableError, match="no such model"):
        embed_images(find_images([write_pictures(2)]), encoder, store)
    assert len(EmbeddingStore.open(store.folder)) == 0


@pytest.fixture
def sketched(tmp_path: Path) -> Path:
    return EmbeddingStore.open_for(tmp_path / "sketched", load_encoder("sketch")).folder


@pytest.mark.parametrize("model", [None, "sketch"])
def test_the_store_of_the_named_model_is_opened_without_it(
    sketched: Path, model: str | None
) -> None:
    store, encoder = open_on_demand(sketched, pytest.fail, model=model, dtype="float32")
    assert not encoder.is_loaded
    assert store.folder == sketched
    with pytest.raises(MismatchError, match="holds float32 vectors, got --dtype float16"):
        open_on_demand(sketched, pytest.fail, model=model, dtype="float16")


def test_another_name_is_loaded_and_checked_at_once(sketched: Path, loader: Loader) -> None:
    with pytest.raises(MismatchError, match="got plain-1"):
        open_on_demand(sketched, loader, model="timm:plain-1")
    with pytest.raises(ModelUnavailableError, match='no model is called "plain"'):
        open_on_demand(sketched, loader, model="plain")
    assert loader.n_loaded == 1


def test_a_new_store_is_bound_to_the_loaded_encoder(tmp_path: Path, loader: Loader) -> None:
    store, encoder = open_on_demand(tmp_path / "new", loader, dtype="float16")
    assert (loader.n_loaded, encoder.is_loaded) == (1, True)
    assert store.manifest.encoder == loader.encoder.fingerprint
    assert store.manifest.dtype == "float16"


def test_imported_vectors_refuse_at_once(tmp_path: Path) -> None:
    fingerprint = Fingerprint(model="sketch", backend="imported")
    store = EmbeddingStore.create(tmp_path / "imported", fingerprint, dim=192)
    with pytest.raises(MismatchError, match="embed new images into another --store"):
        open_on_demand(store.folder, lambda: load_encoder_for(store.folder), model="sketch")
