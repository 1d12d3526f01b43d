"""What fails once is not tried again on the way out, and is what is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.embedding import Outcome, embed_images, shard_buffer
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
