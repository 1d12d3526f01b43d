"""What fails once is not tried again on the way out, and is what is told."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bioprobe.embedding import Outcome, embed_images, shard_buffer
from bioprobe.embedding.shard_buffer import ShardBuffer
from bioprobe.errors import StoreError
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, verify_store
from tests.conftest import PlainEncoder

Pixels = npt.NDArray[np.float32]


class FailingEncoder(PlainEncoder):
    """Fail at every batch from the second on."""

    error: type[BaseException] = MemoryError

    def encode_pixels(self, pixels: Pixels) -> Pixels:
        vectors = super().encode_pixels(pixels)
        if len(self.batch_sizes) > 1:
            raise self.error
        return vectors


def test_pixels_that_the_encoder_failed_on_are_not_given_to_it_again(
    make_store: Callable[..., EmbeddingStore], write_pictures: Callable[..., Path]
) -> None:
    encoder = FailingEncoder()
    encoder.batch_size = 3
    store = make_store(encoder)
    with pytest.raises(MemoryError):
        embed_images(find_images([write_pictures(7)]), encoder, store)
    assert encoder.batch_sizes == [3, 3]
    # What was encoded before is kept, although its shard was not full.
    kept = EmbeddingStore.open(store.folder)
    assert kept.images.file_names == ["000.png", "001.png", "002.png"]
    assert verify_store(kept) == []


class Accelerated(PlainEncoder):
    """Claim to run beside the processor, and wait until two batches are under way."""

    device = "cuda"
    batch_size = 3
    bad: Pixels | None = None

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2, timeout=20)

    def encode_pixels(self, pixels: Pixels) -> Pixels:
        if len(pixels) == self.batch_size:
            self.both.wait()
        if self.bad is not None and any(np.array_equal(one, self.bad) for one in pixels):
            raise MemoryError
        return super().encode_pixels(pixels)


def test_an_accelerator_is_sent_a_batch_while_it_computes_another(
    make_store: Callable[..., EmbeddingStore], write_pictures: Callable[..., Path]
) -> None:
    # Four whole batches, two by two, of which a picture stands in two, and one more picture.
    folder, encoder = write_pictures(13), Accelerated()
    shutil.copy(folder / "002.png", folder / "002b.png")
    store = make_store(encoder)
    summary = embed_images(find_images([folder]), encoder, store)
    assert (summary.n_embedded, summary.n_reused) == (13, 1)
    done = EmbeddingStore.open(store.folder)
    pictures = [Image.open(folder / name) for name in done.images.file_names]
    truth = PlainEncoder().encode_pixels(np.stack(list(map(encoder.preprocess, pictures))))
    np.testing.assert_allclose(done.read_vectors(), truth, atol=1e-6)


def test_a_batch_that_fails_beside_others_loses_none_of_them(
    make_store: Callable[..., EmbeddingStore], write_pictures: Callable[..., Path]
) -> None:
    folder, encoder = write_pictures(14), Accelerated()
    encoder.bad = encoder.preprocess(Image.open(folder / "004.png"))
    store = make_store(encoder)
    with pytest.raises(MemoryError):
        embed_images(find_images([folder]), encoder, store)
    kept = EmbeddingStore.open(store.folder)
    names = {int(name[:3]) for name in kept.images.file_names}
    assert {0, 1, 2} <= names
    assert not names & {3, 4, 5}
    assert len(names) % encoder.batch_size == 0
    assert verify_store(kept) == []
    encoder.bad = None
    encoder.both = threading.Barrier(1)
    assert embed_images(find_images([folder]), encoder, store).n_kept == len(names)
    assert len(EmbeddingStore.open(store.folder).rows) == 14


def test_after_ctrl_c_in_the_encoder_what_was_read_is_encoded(
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = PlainEncoder()
    store, whole = make_store(encoder), encoder.encode_pixels

    def interrupt_once(_: Pixels) -> Pixels:
        monkeypatch.setattr(encoder, "encode_pixels", whole)
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "encode_pixels", interrupt_once)
    encoder.batch_size = 3
    with pytest.raises(KeyboardInterrupt):
        embed_images(find_images([write_pictures(7)]), encoder, store)
    assert len(EmbeddingStore.open(store.folder)) == 3


def test_the_first_error_is_told_and_not_that_of_closing(
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
    encoder: PlainEncoder,
) -> None:
    store = make_store(encoder)

    def stop(_: Outcome) -> None:
        # In the way of the shards, so that closing fails too.
        (store.folder / "shards").touch()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        embed_images(find_images([write_pictures(2)]), encoder, store, advance=stop)


def test_a_shard_that_the_disk_refused_is_not_tried_again(
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
    encoder: PlainEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_buffer, "SHARD_IMAGES", 2)
    store, whole, n_tried = make_store(encoder), EmbeddingStore.append, []

    def refuse_the_second(self: EmbeddingStore, *given: object, **named: object) -> EmbeddingStore:
        n_tried.append(len(self))
        if len(self) == 2:
            msg = "no space"
            raise StoreError(msg)
        return whole(self, *given, **named)  # type: ignore[arg-type]

    encoder.batch_size = 2
    with monkeypatch.context() as patched:
        patched.setattr(EmbeddingStore, "append", refuse_the_second)
        with pytest.raises(StoreError, match="no space"):
            embed_images(find_images([write_pictures(7)]), encoder, store)
    assert n_tried == [0, 2]
    embed_images(find_images([write_pictures(7)]), encoder, store)
    assert len(EmbeddingStore.open(store.folder)) == 7


def test_what_the_disk_refuses_beside_vectors_is_not_encoded_again(
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
    encoder: PlainEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: ShardBuffer) -> None:
        msg = "no space"
        raise StoreError(msg)

    encoder.batch_size = 2
    monkeypatch.setattr(shard_buffer, "PART_BYTES", 0)
    monkeypatch.setattr(ShardBuffer, "_write_kept", refuse)
    with pytest.raises(StoreError, match="no space"):
        embed_images(find_images([write_pictures(3)]), encoder, make_store(encoder))
    assert encoder.batch_sizes == [2]
