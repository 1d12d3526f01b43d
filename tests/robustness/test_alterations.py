from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bioprobe.errors import MisuseError
from bioprobe.robustness.alterations import (
    ALTERATIONS,
    SIDE_PX,
    Alteration,
    choose_alterations,
    make_workable,
)

RANDOM = {"noise", "rotation", "crop", "night"}


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    return coarse.resize((90, 60), Image.Resampling.BICUBIC)


def _apply(one: Alteration, picture: Image.Image, at: int, **given: object) -> np.ndarray:
    how = {"seed": 0, "content": "a"} | given
    return np.asarray(one.apply(picture, one.strengths[at], **how))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_alteration_is_the_same_each_time_and_draws_by_seed_and_picture(
    name: str, picture: Image.Image
) -> None:
    one = ALTERATIONS[name]
    before = np.asarray(picture).copy()
    first = _apply(one, picture, -1)
    np.testing.assert_array_equal(first, _apply(one, picture, -1))
    np.testing.assert_array_equal(np.asarray(picture), before)
    assert first.shape != before.shape or not np.array_equal(first, before)
    others = [_apply(one, picture, 0, seed=seed) for seed in range(1, 6)]
    others += [_apply(one, picture, 0, content=content) for content in "bcdef"]
    mild = _apply(one, picture, 0)
    is_other = [not np.array_equal(mild, other) for other in others]
    assert any(is_other) == (name in RANDOM)


def test_strengths_do_what_they_say(picture: Image.Image) -> None:
    pixels = np.asarray(picture, dtype=np.float64)
    grey = _apply(ALTERATIONS["grey"], picture, -1)
    assert (grey[..., 0] == grey[..., 1]).all()
    dark = ALTERATIONS["brightness"].apply(picture, 0.5, seed=0, content="a")
    np.testing.assert_allclose(np.asarray(dark), pixels / 2, atol=1)
    flat = np.asarray(ALTERATIONS["contrast"].apply(picture, 0.25, seed=0, content="a"))
    assert flat.std() < 0.4 * pixels.std()
    flipped = _apply(ALTERATIONS["flip"], picture, 0)
    np.testing.assert_array_equal(flipped[:, ::-1], pixels)
    turned = ALTERATIONS["rotation"].apply(picture, 180, seed=0, content="a")
    np.testing.assert_array_equal(np.asarray(turned)[::-1, ::-1], pixels)
    assert ALTERATIONS["rotation"].apply(picture, 90, seed=0, content="a").size == (60, 90)
    assert ALTERATIONS["crop"].apply(picture, 0.5, seed=0, content="a").size == (45, 30)
    noisy = np.asarray(ALTERATIONS["noise"].apply(picture, 0.02, seed=0, content="a"))
    assert (noisy - pixels).std() == pytest.approx(255 * 0.02, rel=0.15)
    # Rounded, and not cut: nothing gets darker.
    assert abs((noisy - pixels).mean()) < 0.15
    night = _apply(ALTERATIONS["night"], picture, -1)
    assert (night[..., 0] == night[..., 2]).all()
    half = _apply(ALTERATIONS["night"], picture, 0)
    np.testing.assert_allclose(half, (pixels + night) / 2, atol=1)
    assert night[25:35, 40:50].mean() > 2 * night[:6, :8].mean()


def test_ways_to_become_square_are_stretch_crop_and_pad() -> None:
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 20:60] = 200
    pixels[:, 60:] = 100
    picture = Image.fromarray(pixels)
    one = ALTERATIONS["resize"]
    stretched, cropped, padded = (
        np.asarray(one.apply(picture, strength, seed=0, content="a")) for strength in one.strengths
    )
    assert {one.shape for one in (stretched, cropped, padded)} == {(40, 40, 3)}
    assert (stretched[20, [2, 20, 37], 0] == [0, 200, 100]).all()
    assert (cropped == 200).all()
    assert (padded[[2, 37]] == 0).all()
    assert (padded[20, [2, 20, 37], 0] == [0, 200, 100]).all()
    assert [one.name_strength(at) for at in one.strengths] == ["stretch", "crop", "pad"]


def test_blur_is_of_the_picture_and_not_of_its_pixels(picture: Image.Image) -> None:
    double = picture.resize((180, 120), Image.Resampling.BICUBIC)
    small, large = (
        ALTERATIONS["blur"].apply(one, 8, seed=0, content="a") for one in (picture, double)
    )
    shrunk = large.resize(small.size, Image.Resampling.BOX)
    inner = np.s_[8:-8, 8:-8]
    difference = np.asarray(small, dtype=float)[inner] - np.asarray(shrunk, dtype=float)[inner]
    assert np.abs(difference).mean() < 1.5


def test_large_pictures_are_altered_small() -> None:
    assert make_workable(Image.new("RGB", (3000, 1500))).size == (4 * SIDE_PX, 2 * SIDE_PX)
    small = Image.new("RGB", (30, 2000))
    assert make_workable(small) is small


def test_an_alteration_that_is_none_is_refused() -> None:
    with pytest.raises(MisuseError, match="no alteration 'blurr'; there are grey, "):
        choose_alterations(["blurr"])
    assert len(choose_alterations(None)) == len(ALTERATIONS)
