from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import bioprobe as bp
from bioprobe.encoders import load_encoder, normalise_rows
from bioprobe.encoders.views import VIEWS, ViewsEncoder, make_views
from bioprobe.errors import MismatchError, ModelUnavailableError


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(5)]
    return [Image.fromarray(one).resize((60, 50), Image.Resampling.BICUBIC) for one in drawn]


@pytest.mark.parametrize("n_views", VIEWS)
def test_a_vector_is_the_mean_of_those_of_the_views(
    encoder: Any,  # noqa: ANN401
    pictures: list[Image.Image],
    n_views: int,
) -> None:
    viewed = ViewsEncoder(encoder, n_views)
    views = [make_views(one, n_views) for one in pictures]
    assert {len(one) for one in views} == {n_views}
    expected = normalise_rows(np.stack([encoder.encode_image(one).mean(axis=0) for one in views]))
    np.testing.assert_allclose(viewed.encode_image(pictures), expected, atol=1e-6)
    assert not np.allclose(expected, encoder.encode_image(pictures), atol=1e-3)
    np.testing.assert_array_equal(viewed.encode_text(["a cat"]), encoder.encode_text(["a cat"]))
    assert viewed.encode_image([]).shape == (0, encoder.dim)


def test_views_are_whole_mirrored_and_cropped(pictures: list[Image.Image]) -> None:
    picture = pictures[0]
    whole, middle, mirrored, mirrored_middle = make_views(picture, 4)
    assert whole is picture
    assert middle.size == (48, 40)
    np.testing.assert_array_equal(np.asarray(middle), np.asarray(picture)[5:45, 6:54])
    np.testing.assert_array_equal(np.asarray(mirrored), np.asarray(ImageOps.mirror(picture)))
    np.testing.assert_array_equal(
        np.asarray(mirrored_middle), np.asarray(ImageOps.mirror(middle))
    )  # fmt: skip
    corners = np.asarray(make_views(picture, 10)[4])
    np.testing.assert_array_equal(corners, np.asarray(picture)[10:, 12:])
    for n_views in VIEWS:
        assert len(make_views(Image.new("RGB", (1, 1)), n_views)) == n_views


def test_a_mirror_image_has_the_same_vector(encoder: Any, pictures: list[Image.Image]) -> None:  # noqa: ANN401
    viewed = ViewsEncoder(encoder, 4)
    both = viewed.encode_image([pictures[0], ImageOps.mirror(pictures[0])])
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)


def test_views_have_a_fingerprint_of_their_own() -> None:
    plain, viewed = load_encoder("sketch"), load_encoder("sketch+views4")
    assert viewed.fingerprint.model == "sketch+views4"
    assert viewed.name == "sketch+views4"
    assert not plain.fingerprint.is_compatible(viewed.fingerprint)
    other = load_encoder("sketch+views2").fingerprint
    assert not other.is_compatible(viewed.fingerprint)
    assert load_encoder("sketch+views4").fingerprint == viewed.fingerprint
    assert viewed.fingerprint.weights_sha256 == plain.fingerprint.weights_sha256
    assert viewed.fingerprint.text_sha256 == plain.fingerprint.text_sha256
    with pytest.raises(ModelUnavailableError, match="says 3 views of a picture; there are 2, 4"):
        load_encoder("sketch+views3")


def test_a_store_of_views_is_asked_by_views_and_takes_no_other(
    tmp_path: Path, pictures: list[Image.Image]
) -> None:
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    files = sorted(tmp_path.glob("*.png"))
    # In fp32, as load_encoder is: auto takes bf16 where it is faster, which moves the third digit.
    store = bp.embed(files[:4], store=tmp_path / "store", model="sketch", views=4, precision="fp32")
    viewed = load_encoder("sketch+views4")
    np.testing.assert_allclose(store.X, viewed.encode_image(pictures[:4]), atol=1e-5)
    # Nothing says it again: of a query and of what is added each picture is seen as often.
    found = bp.open(store.folder).search(image=files[2], k=1).to_frame()
    assert found["similarity"].iloc[0] == pytest.approx(1, abs=1e-5)
    grown = bp.embed(files[4:], store=store.folder)
    np.testing.assert_allclose(grown.X[4:], viewed.encode_image(pictures[4:]), atol=1e-5)
    assert grown.zeroshot(classes="cat,dog", k=1).to_frame()["classification"].isin(
        ["cat", "dog"]
    ).all()  # fmt: skip
    with pytest.raises(MismatchError, match=r"--model sketch\+views4"):
        bp.embed(files, store=store.folder, model="sketch")
    with pytest.raises(MismatchError, match="preprocessing differ"):
        bp.embed(files, store=store.folder, views=2)
