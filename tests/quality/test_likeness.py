from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFilter

from bioprobe.images.looks import LOOK, look_at
from bioprobe.quality import likeness
from bioprobe.quality.likeness import Likeness, hash_pictures


def _draw(seed: int) -> Image.Image:
    """Draw a picture with large and small things in it."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (300, 220), tuple(rng.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    for _ in range(25):
        x, y, size = rng.integers([0, 0, 10], [300, 220, 90]).tolist()
        pen.ellipse((x, y, x + size, y + size // 2), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return picture.filter(ImageFilter.GaussianBlur(2))


def _look(*pictures: Image.Image) -> npt.NDArray[np.void]:
    return np.array([look_at(picture) for picture in pictures], dtype=LOOK)


def _crop(picture: Image.Image, *parts: float) -> Image.Image:
    width_px, height_px = picture.size
    left, top, right, bottom = parts
    return picture.crop(
        (
            round(left * width_px),
            round(top * height_px),
            round(right * width_px),
            round(bottom * height_px),
        )
    )


@pytest.mark.parametrize(
    "parts",
    [
        (0.05, 0.05, 0.95, 0.95),
        (0, 0, 0.9, 0.9),
        (0.2, 0.1, 1, 0.95),
        (0.1, 0, 1, 1),
        (0.13, 0.02, 0.97, 0.9),
    ],
)
def test_a_part_of_a_picture_is_the_same(parts: tuple[float, ...]) -> None:
    pictures = [_draw(seed) for seed in range(6)]
    looks = _look(*pictures, *(_crop(picture, *parts) for picture in pictures))
    compared = Likeness(looks)
    first, second = np.arange(6), np.arange(6, 12)
    assert compared.compare(first, second).all()
    assert compared.compare(second, first).all()


@pytest.mark.parametrize("at_once", [1, 7, 65536])
def test_other_pictures_are_not_the_same(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    for name in ("_IMAGES_AT_ONCE", "_CROPPED_AT_ONCE", "_PAIRS_AT_ONCE"):
        monkeypatch.setattr(likeness, name, at_once)
    pictures = [_draw(seed) for seed in range(8)]
    looks = _look(*pictures, pictures[3].resize((160, 117)), _crop(pictures[5], 0, 0.1, 0.9, 1))
    first, second = np.array(list(itertools.combinations(range(10), 2))).T
    same = Likeness(looks).compare(first, second)
    assert list(zip(first[same], second[same], strict=True)) == [(3, 8), (5, 9)]


def test_a_picture_without_contrast_is_like_nothing() -> None:
    looks = _look(*(Image.new("L", (40, 40), level) for level in (0, 0, 255)))
    compared = Likeness(looks)
    assert not compared.compare(np.array([0, 0]), np.array([1, 2])).any()
    assert len(compared.find_alike_hashes()[0]) == 0


def test_smaller_grey_and_recompressed_copies_have_alike_hashes() -> None:
    pictures = [_draw(seed) for seed in range(10)]
    copies = [picture.resize((160, 117)).convert("L") for picture in pictures]
    first, second = Likeness(_look(*pictures, *copies)).find_alike_hashes()
    assert {(i, i + 10) for i in range(10)} <= set(
        zip(first.tolist(), second.tolist(), strict=True)
    )


def test_all_pairs_of_hashes_within_the_bits_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bits = np.repeat(rng.integers(0, 2, (40, 64)), 10, axis=0)
    for row, n_flipped in zip(bits, np.tile(np.arange(10), 40), strict=True):
        row[rng.permutation(64)[:n_flipped]] ^= 1
    hashes = np.packbits(bits.astype(bool), axis=1).view(np.uint64)[:, 0]
    monkeypatch.setattr(likeness, "hash_pictures", lambda _: hashes)
    looks = np.zeros(400, dtype=LOOK)
    looks["grey"] = rng.integers(0, 256, (400, 32, 32))
    first, second = np.triu_indices(400, 1)
    near = (bits[first] != bits[second]).sum(axis=1) <= likeness.MAX_DIFFERING_BITS
    expected = set(zip(first[near].tolist(), second[near].tolist(), strict=True))
    found = Likeness(looks).find_alike_hashes()
    assert set(zip(*(part.tolist() for part in found), strict=True)) == expected
    assert len(expected) > 500


def test_many_pictures_of_one_hash_are_joined_without_all_their_pairs() -> None:
    looks = np.repeat(_look(_draw(0)), 200)
    first, second = Likeness(looks).find_alike_hashes()
    assert len(first) < 1000
    assert {*first.tolist(), *second.tolist()} == set(range(200))


def test_the_hash_is_that_of_the_low_frequencies() -> None:
    rows, columns = np.mgrid[:32, :32] + 0.5
    # One wave along, two across: that coefficient, and that of the mean, are above the median.
    wave = np.cos(np.pi * rows / 32) * np.cos(2 * np.pi * columns / 32)
    code = int(hash_pictures((128 + 50 * wave[np.newaxis]).astype(np.float32))[0])
    bits = np.unpackbits(np.array([code], np.uint64).view(np.uint8)).reshape(8, 8)
    assert bits[0, 0] == bits[1, 2] == 1
