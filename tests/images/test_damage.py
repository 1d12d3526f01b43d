"""One rule for pictures that are damaged: what is taken unmarked is as good as whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioprobe.embedding import embed_images
from bioprobe.errors import ImageReadError
from bioprobe.images.damage import CHECKSUM, FLAT, NO_END, SHIFT, SKIPPED, judge_jpeg
from bioprobe.images.image_table import DAMAGE_COLUMNS
from bioprobe.images.reading import decode_marked
from bioprobe.quality.description import describe_images
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder, draw_picture


def _encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def whole() -> bytes:
    noisy = np.asarray(draw_picture(3, (320, 240))).astype(int)
    noisy += np.random.default_rng(1).integers(-20, 20, noisy.shape)
    return _encode(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), quality=90)


def _keep(data: bytes) -> tuple[float, tuple[str, ...]]:
    damage = decode_marked(data, damaged="keep")[1]
    assert damage is not None
    return damage.share_present, damage.faults


@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey", "draft"])
def test_what_is_whole_is_decoded_to_the_last_bit_as_pillow_does(whole: bytes, kind: str) -> None:
    image = Image.open(io.BytesIO(whole)).convert("L" if kind == "grey" else "RGB")
    data = _encode(image, quality=85, progressive=kind == "progressive", subsampling=2)
    expected = Image.open(io.BytesIO(data))
    if kind == "draft":
        expected.draft("RGB", (100, 100))
    made, damage = decode_marked(data, draft_side_px=100 if kind == "draft" else 0)
    assert damage is None
    np.testing.assert_array_equal(np.asarray(made), np.asarray(expected.convert("RGB")))


def test_without_its_end_marker_a_picture_is_taken_and_marked(whole: bytes) -> None:
    image, damage = decode_marked(whole[:-2])
    assert damage is not None
    assert (damage.share_present, str(damage)) == (1.0, NO_END)
    expected = np.asarray(decode_marked(whole)[0]).astype(int)
    assert np.abs(np.asarray(image).astype(int) - expected).mean() < 1
    with pytest.raises(ImageReadError, match=r"damaged \(no end marker\)"):
        decode_marked(whole[:-2], damaged="refuse")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("filled", [True, False])
def test_of_a_part_the_share_of_rows_is_told_and_it_is_refused(
    whole: bytes, share: float, filled: bool
) -> None:
    n_kept = int(share * len(whole))
    data = whole[:n_kept] + bytes(len(whole) - n_kept if filled else 0)
    found, faults = _keep(data)
    assert abs(found - share) < 0.12  # in whole rows of units
    assert FLAT in faults
    with pytest.raises(ImageReadError, match=r"^damaged .*% of its rows are there; --damaged keep"):
        decode_marked(data)


def test_of_a_progressive_picture_that_breaks_off_the_share_is_that_of_its_passes(
    whole: bytes,
) -> None:
    data = _encode(Image.open(io.BytesIO(whole)), quality=90, progressive=True)
    assert _keep(data[: len(data) // 2])[0] < 0.95
    assert _keep(data[:-2]) == (1.0, (NO_END,))


def test_bytes_that_the_decoder_skips_are_a_mark(whole: bytes) -> None:
    middle = len(whole) // 2
    noise = np.random.default_rng(0).integers(0, 256, 2000, dtype=np.uint8).tobytes()
    assert SKIPPED in _keep(whole[:middle] + noise + whole[middle + 2000 :])[1]


def test_a_shift_is_seen_and_an_edge_or_a_frame_is_none(whole: bytes) -> None:
    pixels = np.array(Image.open(io.BytesIO(whole)).convert("RGB"))
    flat = (pixels // 4 + 90).astype(np.uint8)  # soft, so that all that jumps is what is drawn
    assert judge_jpeg(whole, flat, 1, "") is None
    shifted = flat.copy()
    shifted[96:112, 80:] += 50  # from a unit in the middle of a row on, to the end
    shifted[112:] += 50
    damage = judge_jpeg(whole, shifted, 1, "")
    assert damage is not None
    assert damage.faults == (SHIFT,)
    framed = flat.copy()
    framed[96:] += 50
    assert judge_jpeg(whole, framed, 1, "") is None
    boxed = flat.copy()
    boxed[:32], boxed[-32:] = 0, 0
    assert judge_jpeg(whole, boxed, 1, "") is None


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
def test_of_a_png_what_can_be_unpacked_is_there(mode: str) -> None:
    image = draw_picture(5, (64, 400)).convert(mode)
    data = _encode(image, "PNG", compress_level=0)
    assert decode_marked(data)[1] is None
    share, faults = _keep(data[: len(data) // 2])
    assert 0.3 < share < 0.6
    assert faults == (NO_END,)
    with pytest.raises(ImageReadError, match="rows are there"):
        decode_marked(data[: len(data) // 2])
    # The end chunk alone is missing: all rows are there.
    taken, damage = decode_marked(data[:-12])
    assert damage is not None
    assert (damage.share_present, damage.faults) == (1.0, (NO_END,))
    expected = np.asarray(decode_marked(data)[0])
    np.testing.assert_array_equal(np.asarray(taken), expected)


def test_a_byte_of_a_png_that_was_changed_is_a_mark() -> None:
    data = bytearray(_encode(draw_picture(5, (64, 400)), "PNG", compress_level=0))
    data[len(data) // 2] ^= 1
    assert CHECKSUM in _keep(bytes(data))[1]


def test_marks_are_columns_and_are_counted(
    tmp_path: Path, whole: bytes, encoder: PlainEncoder
) -> None:
    (tmp_path / "in").mkdir()
    for name, data in (("a", whole), ("b", whole[:-2]), ("c", whole[: len(whole) // 2])):
        (tmp_path / "in" / f"{name}.jpg").write_bytes(data)
    for damaged, n_taken in (("mark", 2), ("keep", 3), ("refuse", 1)):
        store = EmbeddingStore.open_for(tmp_path / damaged, encoder)
        listed = find_images([tmp_path / "in"])
        summary = embed_images(listed, encoder, store, damaged=damaged)
        assert (summary.n_embedded, summary.n_failed) == (n_taken, 3 - n_taken)
        assert summary.n_damaged == n_taken - 1
        frame = EmbeddingStore.open(tmp_path / damaged).images.frame
        if damaged == "refuse":
            assert not set(DAMAGE_COLUMNS) & set(frame.columns)
            continue
        marks = frame.set_index("path")["damage"].fillna("").to_dict()
        assert (marks["a.jpg"], marks["b.jpg"]) == ("", NO_END)
        assert frame["share_present"].iloc[1] == 1.0
        described = describe_images(EmbeddingStore.open(tmp_path / damaged))
        assert described.n_damaged == n_taken - 1
        assert described.damage[NO_END] == n_taken - 1
    # The same bytes under another name are not decoded, and have the mark all the same.
    (tmp_path / "in" / "d.jpg").write_bytes(whole[:-2])
    kept = EmbeddingStore.open(tmp_path / "mark")
    embed_images(find_images([tmp_path / "in"]), encoder, kept)
    frame = EmbeddingStore.open(tmp_path / "mark").images.frame.set_index("path")
    assert frame.loc["d.jpg", "damage"] == NO_END


@pytest.mark.shared
def test_real_damage_is_marked_or_refused_as_is_said(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "bug-cases" / "damaged-jpeg"
    found = {}
    for file in sorted(folder.glob("*.jpg")):
        try:
            damage = decode_marked(file.read_bytes())[1]
            found[file.stem] = "whole" if damage is None else "marked"
        except ImageReadError:
            found[file.stem] = "refused"
    assert found == {
        "whole": "whole", "no_end_marker": "marked", "last_1_percent_cut": "marked",
        "middle_flipped": "marked", "last_tenth_zeros": "refused", "second_half_zeros": "refused",
    }  # fmt: skip
