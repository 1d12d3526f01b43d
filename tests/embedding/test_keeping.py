"""``embed --keep``: of the same pass, filled later by reading again, and never lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.embedding import embed_images
from bioprobe.embedding.shard_buffer import EmbedSummary, Outcome
from bioprobe.encoders.encoder import Encoder
from bioprobe.encoders.keeping import PROJECTION_INPUT, TOKENS, KeptForm
from bioprobe.errors import BioprobeError, ModelUnavailableError
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, kept
from bioprobe.store.health import verify_store
from bioprobe.types import Arrays, Vectors
from tests.conftest import PlainEncoder

WIDTH = 192


@pytest.fixture
def keeping() -> PlainEncoder:
    """Return the plain encoder, which gives its pixels as projection input and as tokens."""

    class Keeping(PlainEncoder):
        def find_form(self, kind: str) -> KeptForm:
            if kind == PROJECTION_INPUT:
                bias = np.zeros(self.dim, dtype=np.float32)
                return KeptForm(kind, (WIDTH,), "pixels", 0, (), self._projection, bias)
            return KeptForm(kind, (64, 3), "pixels", 0, (8, 8))

        def encode_keeping(
            self, pixels: npt.NDArray[np.float32], kinds: Sequence[str]
        ) -> tuple[Vectors, Arrays]:
            flat = pixels.reshape(len(pixels), WIDTH)
            tokens = pixels.reshape(len(pixels), 3, 64).transpose(0, 2, 1)
            both = {PROJECTION_INPUT: flat, TOKENS: tokens}
            return self.encode_pixels(pixels), {kind: both[kind] for kind in kinds}

    return Keeping()


def run(
    folder: Path,
    encoder: Encoder,
    store: EmbeddingStore,
    keep: Sequence[str] | None = None,
    advance: Callable[[Outcome], None] | None = None,
) -> tuple[EmbedSummary, EmbeddingStore]:
    summary = embed_images(find_images([folder]), encoder, store, keep=keep, advance=advance)
    return summary, EmbeddingStore.open(store.folder)


def check_kept(store: EmbeddingStore, kind: str, n: int) -> None:
    opened = store.open_kept(kind)
    assert opened is not None
    places = opened.find(store.images.contents[store.rows])
    assert (places >= 0).sum() == n
    assert verify_store(store) == []
    if kind == PROJECTION_INPUT and n == len(places):
        matrix, _ = opened.read_projection()
        made = opened.read(places).astype(np.float32) @ matrix
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        np.testing.assert_allclose(made, store.read_vectors(store.rows), atol=2e-3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_both_are_kept_of_one_pass(
    keeping: PlainEncoder,
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
    dtype: str,
) -> None:
    folder = write_pictures(5)
    summary, store = run(
        folder, keeping, make_store(keeping, dtype=dtype), [TOKENS, PROJECTION_INPUT]
    )
    assert keeping.n_images_seen == 5
    assert [(one.kind, one.n_rows, one.n_missing) for one in summary.kept] == [
        (PROJECTION_INPUT, 5, 0), (TOKENS, 5, 0)
    ]  # fmt: skip
    dtypes = [store.open_kept(kind).card.dtype for kind in (PROJECTION_INPUT, TOKENS)]  # type: ignore[union-attr]
    assert dtypes == [dtype, "float16"]
    check_kept(store, PROJECTION_INPUT, 5)
    check_kept(store, TOKENS, 5)


def test_nothing_is_kept_of_a_picture_without_a_direction(
    keeping: PlainEncoder,
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode = keeping.encode_pixels

    def lose_last(pixels: npt.NDArray[np.float32]) -> Vectors:
        vectors = encode(pixels)
        vectors[-1] = 0
        return vectors

    monkeypatch.setattr(keeping, "encode_pixels", lose_last)
    _, store = run(write_pictures(3), keeping, make_store(keeping), [TOKENS])
    assert len(store) == 2
    opened = store.open_kept(TOKENS)
    assert opened is not None
    assert sum(part.n_images for part in opened.card.parts) == 2


def test_what_is_missing_is_filled_by_reading_again_and_rows_stay(
    keeping: PlainEncoder,
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
) -> None:
    folder = write_pictures(4)
    _, store = run(folder, keeping, make_store(keeping))
    before = store.read_vectors()
    # Another name of the same bytes, and a new picture, come with what is filled.
    (folder / "copy.png").write_bytes((folder / "000.png").read_bytes())
    write_pictures(1, first=9)
    # What another machine rounds otherwise: the vector of what is known is that of the store.
    keeping._projection = keeping._projection * np.float32(1.0001) + np.float32(1e-5)
    summary, store = run(folder, keeping, store, [PROJECTION_INPUT])
    assert (summary.n_kept, summary.n_reused, summary.n_embedded, summary.n_filled) == (4, 1, 1, 4)
    assert keeping.n_images_seen == 4 + 5
    np.testing.assert_array_equal(store.read_vectors()[:4], before)
    copy = store.images.file_names.index("copy.png")
    np.testing.assert_array_equal(store.read_vectors()[copy], before[0])
    assert store.manifest.retired == ()
    check_kept(store, PROJECTION_INPUT, 6)
    # From now on new ones have it unasked, and nothing is read again.
    write_pictures(1, first=12)
    summary, store = run(folder, keeping, store)
    assert (summary.n_embedded, summary.n_filled, keeping.n_images_seen) == (1, 0, 10)
    check_kept(store, PROJECTION_INPUT, 7)


def test_of_pictures_that_are_not_listed_it_is_said(
    keeping: PlainEncoder,
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
) -> None:
    _, store = run(write_pictures(3), keeping, make_store(keeping))
    summary, _ = run(write_pictures(2, "others", first=5), keeping, store, [TOKENS])
    assert [(one.n_rows, one.n_missing) for one in summary.kept] == [(2, 3)]


def test_an_encoder_that_gives_vectors_alone_is_refused_before_anything_is_read(
    encoder: PlainEncoder,
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
) -> None:
    with pytest.raises(ModelUnavailableError, match="numpy, which gives nothing but the vector"):
        run(write_pictures(2), encoder, make_store(encoder), [TOKENS])
    assert encoder.n_images_seen == 0


def test_a_run_that_is_stopped_goes_on_without_a_loss_or_a_double(
    keeping: PlainEncoder,
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_pictures(40)
    monkeypatch.setattr("bioprobe.embedding.shard_buffer.PART_BYTES", 20 * WIDTH * 4)
    n_done = 0

    def stop(_: Outcome) -> None:
        nonlocal n_done
        n_done += 1
        if n_done == 25:
            raise KeyboardInterrupt

    # What was kept of pictures whose row was never written stays, and is not written again.
    monkeypatch.setattr(EmbeddingStore, "append", _refuse)
    with pytest.raises(KeyboardInterrupt):
        run(folder, keeping, make_store(keeping), [PROJECTION_INPUT], advance=stop)
    monkeypatch.undo()
    store = EmbeddingStore.open(make_store(keeping).folder)
    opened = store.open_kept(PROJECTION_INPUT)
    assert (len(store), opened is not None) == (0, True)
    _, store = run(folder, keeping, store)
    assert len(store) == 40
    card = store.open_kept(PROJECTION_INPUT).card  # type: ignore[union-attr]
    assert card.n_images == 40
    check_kept(store, PROJECTION_INPUT, 40)


def _refuse(*_: object, **__: object) -> None:
    msg = "the disk is full"
    raise BioprobeError(msg)


def test_values_that_wait_are_bounded(
    keeping: PlainEncoder,
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bioprobe.embedding.shard_buffer.PART_BYTES", 16 * WIDTH * 2)
    _, store = run(write_pictures(40), keeping, make_store(keeping), [TOKENS])
    opened = store.open_kept(TOKENS)
    assert opened is not None
    assert [part.n_images for part in opened.card.parts] == [16, 16, 8]
    assert len(store.manifest.shards) == 1
    assert kept.list_kept(store.folder) == (opened.card,)
