from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import LongTextError, MismatchError, ModelUnavailableError
from bioprobe.progress import Step
from bioprobe.prompts import embed_means
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.types import Vectors
from tests.conftest import PlainEncoder

TEXTS = ["a lion", "a puma", "a lion", ""]


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    return make_store(encoder)


def _refuse() -> PlainEncoder:
    pytest.fail("the encoder was loaded although no text is new")


def _find_pairs(store: EmbeddingStore) -> list[Path]:
    return sorted((store.folder / "text").glob("*/*"))


def test_embeddings_are_those_of_the_encoder(store: EmbeddingStore, encoder: PlainEncoder) -> None:
    vectors = TextCache(store, lambda: encoder).encode_text(TEXTS)
    np.testing.assert_array_equal(vectors, PlainEncoder().encode_text(TEXTS))


def test_classes_that_begin_alike_have_means_of_their_own(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    texts = [["a lion", "a puma"], ["a lion", "a lynx"]]
    found = TextCache(store, lambda: encoder).encode_means(texts)
    np.testing.assert_allclose(found, embed_means(texts, PlainEncoder().encode_text), atol=1e-6)
    assert not np.allclose(found[0], found[1])


def test_a_text_is_encoded_once(store: EmbeddingStore, encoder: PlainEncoder) -> None:
    cache = TextCache(store, lambda: encoder)
    cache.encode_text(TEXTS)
    cache.encode_text(["a puma", "a lynx"])
    assert encoder.texts_seen == ["a lion", "a puma", "", "a lynx"]


def test_a_text_is_encoded_once_in_the_life_of_the_store(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    first = TextCache(store, lambda: encoder).encode_text(TEXTS)
    reopened = EmbeddingStore.open(store.folder)
    np.testing.assert_array_equal(TextCache(reopened, _refuse).encode_text(TEXTS), first)
    TextCache(reopened, lambda: encoder).encode_text(["a puma", "a lynx"])
    TextCache(reopened, _refuse).encode_text(["a lynx", "a lion"])
    assert encoder.texts_seen == ["a lion", "a puma", "", "a lynx"]


def test_no_text_has_no_embedding_and_needs_no_encoder(store: EmbeddingStore) -> None:
    assert TextCache(store, _refuse).encode_text([]).shape == (0, store.manifest.dim)


def test_the_encoder_is_loaded_once(store: EmbeddingStore, encoder: PlainEncoder) -> None:
    loaded = []

    def load() -> PlainEncoder:
        loaded.append(encoder)
        return encoder

    cache = TextCache(store, load)
    cache.encode_text(["a"])
    cache.encode_text(["b"])
    assert cache.encoder is encoder
    assert len(loaded) == 1


def test_another_encoder_is_refused(store: EmbeddingStore) -> None:
    cache = TextCache(store, lambda: PlainEncoder(2))
    with pytest.raises(MismatchError, match="got plain-2"):
        cache.encode_text(["a lion"])
    assert _find_pairs(store) == []


@pytest.mark.parametrize("missing", ["*.json", "*.npy"])
def test_an_incomplete_pair_is_ignored_and_mended(
    store: EmbeddingStore, encoder: PlainEncoder, missing: str
) -> None:
    first = TextCache(store, lambda: encoder).encode_text(TEXTS)
    (path,) = (store.folder / "text").glob(f"*/{missing}")
    path.unlink()
    again = TextCache(store, lambda: encoder).encode_text(TEXTS)
    np.testing.assert_array_equal(again, first)
    assert len(encoder.texts_seen) == 6
    TextCache(store, _refuse).encode_text(TEXTS)
    assert len(_find_pairs(store)) == 2


@pytest.mark.parametrize(
    ("pattern", "content"),
    [
        ("*.json", b"["),
        ("*.json", b'["a lion"]'),
        ("*.json", b"\xff"),
        ("*.npy", b""),
        ("*.npy", b"not an array"),
    ],
)
def test_a_damaged_pair_is_ignored_and_mended(
    store: EmbeddingStore, encoder: PlainEncoder, pattern: str, content: bytes
) -> None:
    first = TextCache(store, lambda: encoder).encode_text(TEXTS)
    (path,) = (store.folder / "text").glob(f"*/{pattern}")
    path.write_bytes(content)
    np.testing.assert_array_equal(TextCache(store, lambda: encoder).encode_text(TEXTS), first)
    np.testing.assert_array_equal(TextCache(store, _refuse).encode_text(TEXTS), first)


def test_where_the_store_cannot_be_written_texts_are_encoded_and_not_kept(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    # A file in the place of the folder: permissions would not stop an administrator.
    (store.folder / "text").write_text("")
    cache = TextCache(store, lambda: encoder)
    for _ in range(2):
        vectors = cache.encode_text(TEXTS)
        np.testing.assert_array_equal(vectors, PlainEncoder().encode_text(TEXTS))
    assert encoder.texts_seen == ["a lion", "a puma", ""]
    TextCache(store, lambda: encoder).encode_text(["a lion"])
    assert encoder.texts_seen == ["a lion", "a puma", "", "a lion"]


def test_texts_with_line_breaks_are_kept_apart(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    TextCache(store, lambda: encoder).encode_text(["a", "b"])
    TextCache(store, lambda: encoder).encode_text(["a\nb"])
    vectors = TextCache(store, lambda: encoder).encode_text(["a\nb", "b", "a"])
    np.testing.assert_array_equal(vectors, PlainEncoder().encode_text(["a\nb", "b", "a"]))


def test_the_texts_can_be_read_beside_their_embeddings(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    vectors = TextCache(store, lambda: encoder).encode_text(["ñandú", "puma"])
    names, array = sorted(_find_pairs(store), key=lambda path: path.suffix)
    assert json.loads(names.read_text()) == ["ñandú", "puma"]
    np.testing.assert_array_equal(np.load(array), vectors)


def test_imported_vectors_take_text_of_the_named_encoder_and_no_image(
    tmp_path: Path, encoder: PlainEncoder
) -> None:
    fingerprint = Fingerprint(model=encoder.name, backend="imported")
    store = EmbeddingStore.create(tmp_path / "imported", fingerprint, dim=encoder.dim)
    cache = TextCache(store, lambda: encoder)
    np.testing.assert_array_equal(
        cache.encode_text(["a lion"]), PlainEncoder().encode_text(["a lion"])
    )
    with pytest.raises(MismatchError, match=r"ask them by text with --model plain-1"):
        _ = cache.encoder
    with pytest.raises(MismatchError, match="got plain-2"):
        TextCache(store, lambda: PlainEncoder(2)).encode_text(["a puma"])


def test_texts_of_another_tokenizer_are_refused_where_the_manifest_names_none(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    def read_by(tokenizer: str) -> PlainEncoder:
        other = PlainEncoder()
        other.fingerprint = dataclasses.replace(other.fingerprint, text_sha256=tokenizer)
        return other

    first = TextCache(store, lambda: encoder).encode_text(["a lion"])
    TextCache(store, lambda: read_by("a" * 64)).encode_text(["a puma"])
    kept = TextCache(store, lambda: read_by("b" * 64))
    np.testing.assert_array_equal(kept.encode_text(["a lion"]), first)
    with pytest.raises(MismatchError, match=r"keeps texts of another tokenizer.* remove that"):
        kept.encode_text(["a lynx"])
    TextCache(store, lambda: read_by("a" * 64)).encode_text(["a lynx"])


def test_a_killed_run_goes_on_with_the_next_block_of_texts(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.store.text_cache._TEXTS_AT_ONCE", 2)
    encoder, steps = PlainEncoder(), []

    def stop(step: Step) -> None:
        steps.append(step)
        if step.done == 4:
            raise KeyboardInterrupt

    texts = ["a", "b", "c", "d", "e"]
    with pytest.raises(KeyboardInterrupt):
        TextCache(store, lambda: encoder, stop).encode_text(texts)
    assert steps == [Step(2, 5, "texts"), Step(4, 5, "texts")]
    vectors = TextCache(store, lambda: encoder).encode_text(texts)
    assert encoder.texts_seen == texts
    np.testing.assert_array_equal(vectors, PlainEncoder().encode_text(texts))


def test_many_texts_are_told_some_at_a_time(store: EmbeddingStore) -> None:
    encoder, steps = PlainEncoder(), list[Step]()
    encoder.batch_size = 50
    texts = [f"text {number}" for number in range(230)]
    cache = TextCache(store, lambda: encoder, steps.append)
    cache.encode_text(texts[:60])
    assert not steps
    cache.encode_text(texts)
    # Whole passes of the encoder, of the 170 that are new.
    assert steps == [Step(done, 170, "texts") for done in (100, 170)]
    assert encoder.texts_seen == texts


def test_all_texts_that_are_too_long_are_told_and_the_others_kept(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.store.text_cache._TEXTS_AT_ONCE", 64)
    encoder = PlainEncoder()
    encode = encoder.encode_text

    def refuse_long(texts: Sequence[str]) -> Vectors:
        long = tuple(text for text in texts if text.startswith("long"))
        if long:
            msg = f"{long[0]} is too long"
            raise LongTextError(msg, long)
        return encode(texts)

    monkeypatch.setattr(encoder, "encode_text", refuse_long)
    texts = [f"{'long' if number in (1, 130) else 'short'} {number}" for number in range(200)]
    cache = TextCache(store, lambda: encoder)
    with pytest.raises(LongTextError, match="long 1 is too long") as caught:
        cache.encode_text(texts)
    assert caught.value.texts == ("long 1", "long 130")
    assert len(cache.encode_text([text for text in texts if "short" in text])) == 198
    assert len(encoder.texts_seen) == 198


LIONS = (["a lion", "the lion"], ["a puma"], ["the lion", "a puma", "a lynx"])


def test_of_several_texts_the_mean_is_kept_alone(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    means = TextCache(store, lambda: encoder).encode_means(LIONS)
    np.testing.assert_array_equal(means, embed_means(LIONS, PlainEncoder().encode_text))
    assert encoder.texts_seen == ["a lion", "the lion", "a puma", "a lynx"]
    reopened = TextCache(store, _refuse)
    np.testing.assert_array_equal(reopened.encode_means(LIONS[::-1]), means[::-1])
    # One text is its own mean, and is known as itself.
    np.testing.assert_allclose(reopened.encode_text(["a puma"]), means[1:2], atol=1e-7)
    with pytest.raises(ModelUnavailableError):
        TextCache(store, _lack).encode_text(["a lynx"])
    assert reopened.encode_means([]).shape == (0, encoder.dim)


def test_means_are_kept_block_by_block_and_told(
    store: EmbeddingStore, encoder: PlainEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.store.text_cache._TEXTS_AT_ONCE", 4)
    steps: list[Step] = []

    def stop(step: Step) -> None:
        steps.append(step)
        if step.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TextCache(store, lambda: encoder, stop).encode_means(LIONS)
    assert steps == [Step(3, 6, "texts")]
    encoder.texts_seen.clear()
    TextCache(store, lambda: encoder).encode_means(LIONS)
    assert encoder.texts_seen == ["the lion", "a puma", "a lynx"]


def test_means_without_the_texts_that_are_too_long(
    store: EmbeddingStore, encoder: PlainEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = encoder.encode_text

    def encode(texts: Sequence[str]) -> Vectors:
        if "a puma" in texts:
            msg = "too long"
            raise LongTextError(msg, ("a puma",))
        return read(texts)

    monkeypatch.setattr(encoder, "encode_text", encode)
    cache = TextCache(store, lambda: encoder)
    with pytest.raises(LongTextError, match="too long") as caught:
        cache.encode_means(LIONS)
    assert caught.value.texts == ("a puma",)
    assert cache.encode_means(LIONS[:1]).shape == (1, encoder.dim)


def _lack() -> PlainEncoder:
    msg = "it is not here"
    raise ModelUnavailableError(msg)
