"""A model in int8: another encoder, made of one's own pictures, and refused where it is too far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.embedding import quantising
from bioprobe.encoders import load_encoder
from bioprobe.encoders.families.int8_encoder import LEAST_COSINE, Int8Encoder
from bioprobe.errors import (
    BioprobeError,
    MismatchError,
    MisuseError,
    ModelUnavailableError,
    SourceError,
)

N = 24


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _one_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOPROBE_CACHE", str(cache))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two kinds, told apart by their colour."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(N):
        kind = ("Felidae", "Canidae")[number % 2]
        (folder / kind).mkdir(exist_ok=True)
        coarse = rng.integers(0, 120, (6, 8, 3)) + np.array(
            [[[120, 0, 0], [0, 0, 120]][number % 2]]
        )
        drawn = Image.fromarray(coarse.astype(np.uint8)).resize((60, 50), Image.Resampling.BICUBIC)
        drawn.save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def model(open_clip_dir: Path, cache: Path, photos: Path) -> str:
    """Quantise a small transformer, once."""
    name = f"local-dir:{open_clip_dir}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOPROBE_CACHE", str(cache))
        found = bp.models.quantise(
            name, photos, level="family", folder_rank="family", calibrate=8, check=16
        )
    assert (found.n_calibrated, found.n_checked) == (8, 16)
    assert 1 > found.mean_cosine >= found.least_cosine >= LEAST_COSINE
    assert found.gain > 0
    assert found.model == f"{name}+int8"
    said = " ".join(str(one) for one in found.notes)
    assert f"least cosine to fp32 {found.least_cosine:.4f}" in said
    # Two kinds of colour are told apart by both encoders.
    assert "centroid at family, 8 pictures: right 1.000 in fp32, 1.000 in int8" in said
    assert "zeroshot at family, 8 pictures: right" in said
    return name


def test_vectors_are_near_those_in_fp32_whatever_the_batch_and_texts_are_the_same(
    model: str, photos: Path
) -> None:
    exact = load_encoder(model, device="cpu")
    rough = load_encoder(model, device="cpu", precision="int8", batch_size=3)
    assert isinstance(rough, Int8Encoder)
    pictures = [Image.open(one).convert("RGB") for one in sorted(photos.rglob("*.png"))]
    truth, found = exact.encode_image(pictures), rough.encode_image(pictures)
    assert (truth * found).sum(axis=1).min() >= LEAST_COSINE
    assert not np.allclose(truth, found, atol=1e-5)
    alone = np.concatenate([rough.encode_image([one]) for one in pictures])
    np.testing.assert_allclose(alone, found, atol=1e-6)
    texts = ["a photo of a leopard."]
    np.testing.assert_array_equal(rough.encode_text(texts), exact.encode_text(texts))
    assert rough.encode_image([]).shape == (0, exact.dim)
    viewed = load_encoder(f"{model}+int8+views2", device="cpu")
    assert viewed.fingerprint.precision == "int8"


def test_stores_in_int8_are_of_another_encoder(model: str, photos: Path, tmp_path: Path) -> None:
    exact, rough = tmp_path / "exact", tmp_path / "rough"
    bp.embed(photos / "Felidae", model=model, store=exact, precision="fp32", device="cpu")
    bp.embed(photos / "Felidae", model=model, store=rough, precision="int8", device="cpu")
    with pytest.raises(MismatchError, match="cannot be compared"):
        bp.embed(photos, store=exact, precision="int8", device="cpu")
    with pytest.raises(BioprobeError, match=r"is in int8, got --precision fp32"):
        bp.embed(photos, store=rough, precision="fp32", device="cpu")
    assert [len(bp.open(one)) for one in (exact, rough)] == [N // 2, N // 2]
    # Without a word it goes on as it was begun, and answers texts.
    more = bp.embed(photos, store=rough, device="cpu")
    assert len(more) == N
    assert len(more.zeroshot(classes=["owl", "leopard"], k=1).to_frame()) == N
    with pytest.raises(ModelUnavailableError, match=r"nothing but the vector .* --model local-dir"):
        bp.embed(photos, store=tmp_path / "kept", model=f"{model}+int8", keep="tokens")


def test_what_was_not_quantised_says_how_it_is(
    open_clip_resnet_dir: Path, model: str, photos: Path
) -> None:
    with pytest.raises(ModelUnavailableError, match=r"no int8 form .* bioprobe models quantise"):
        load_encoder(f"local-dir:{open_clip_resnet_dir}", precision="int8")
    with pytest.raises(BioprobeError, match=r"has an int8 form, in .* remove that folder"):
        bp.models.quantise(model, photos)
    with pytest.raises(MisuseError, match=r"--folder-rank counts only with --level"):
        bp.models.quantise(model, photos, folder_rank="family")


def test_a_picture_alone_neither_calibrates_nor_judges(
    open_clip_resnet_dir: Path, photos: Path
) -> None:
    one = next(photos.rglob("*.png"))
    with pytest.raises(SourceError, match="a folder of two readable pictures or more"):
        bp.models.quantise(f"local-dir:{open_clip_resnet_dir}", one)


@pytest.mark.shared
@pytest.mark.long
def test_a_real_model_that_comes_out_too_far_is_refused_and_leaves_nothing(
    shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path))
    folders = sorted((shared_dir / "data" / "photos").glob("*/"))
    pictures = [min(folder.glob("*.jpg")) for folder in folders[:40]]
    name = f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}"
    asked = {"calibrate": 16, "check": 24}
    with pytest.raises(BioprobeError, match=r"24 pictures .* least cosine to fp32 is 0\.[89]"):
        bp.models.quantise(name, pictures, **asked)  # type: ignore[arg-type]
    assert not (tmp_path / "int8").exists()
    # The same numbers are what it says where they are good enough.
    monkeypatch.setattr(quantising, "LEAST_COSINE", 0.5)
    found = bp.models.quantise(name, pictures, **asked)  # type: ignore[arg-type]
    assert 0.5 < found.least_cosine < LEAST_COSINE
    assert found.same_neighbour_fraction > 0.5
