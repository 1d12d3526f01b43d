from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from bioprobe.encoders import Encoder, load_encoder
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.errors import ModelUnavailableError, NoTextTowerError, PromptError
from tests.encoders.conftest import VISION, write_open_clip


def compute_directly(
    folder: Path, pictures: list[Image.Image], texts: list[str]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Encode with open_clip alone."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    with torch.no_grad():
        pixels = torch.stack([preprocess(picture) for picture in pictures])
        images = torch.nn.functional.normalize(model.encode_image(pixels), dim=-1)
        words = torch.nn.functional.normalize(model.encode_text(tokenizer(texts)), dim=-1)
    return images.numpy(), words.numpy(), float(model.logit_scale.detach().exp())


@pytest.fixture(scope="module", params=["open_clip_dir", "open_clip_hf_dir"])
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load_encoder(f"local-dir:{folder}", device="cpu", batch_size=3)


def test_vectors_equal_those_of_open_clip(
    folder: Path, encoder: Encoder, pictures: list[Image.Image], texts: list[str]
) -> None:
    images, words, logit_scale = compute_directly(folder, pictures, texts)
    np.testing.assert_allclose(encoder.encode_image(pictures), images, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_text(texts), words, atol=1e-6)
    assert encoder.logit_scale == pytest.approx(logit_scale)
    assert encoder.dim == 24
    assert isinstance(encoder, Encoder)


@pytest.mark.parametrize(
    ("vision", "is_shortened"),
    [
        ({}, True),
        ({"ls_init_value": 0.5, "final_ln_after_pool": True}, True),
        ({"pool_type": "avg"}, False),
        ({"attentional_pool": True}, False),
    ],
)
def test_the_last_block_computes_no_more_than_the_class_token(
    tmp_path: Path, vision: dict[str, object], is_shortened: bool, pictures: list[Image.Image]
) -> None:
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 24, "vision_cfg": {**VISION, **vision}, "text_cfg": text}
    folder = write_open_clip(tmp_path / "model", config)
    encoder = load_encoder(f"local-dir:{folder}", device="cpu", backend="torch")
    assert isinstance(encoder, TorchEncoder)
    lengths: list[int] = []
    mlp = encoder.module.get_submodule("visual.transformer.resblocks.1.mlp")
    mlp.register_forward_hook(lambda *given: lengths.append(given[2].shape[1]))
    vectors = encoder.encode_image(pictures)
    assert (set(lengths) == {1}) == is_shortened
    images, _, _ = compute_directly(folder, pictures, ["owl"])
    np.testing.assert_allclose(vectors, images, atol=1e-6)


def test_vectors_are_float32_unit_rows(encoder: Encoder, pictures: list[Image.Image]) -> None:
    vectors = encoder.encode_image(pictures)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7])
def test_the_batch_size_does_not_change_vectors(
    encoder: Encoder, pictures: list[Image.Image], n: int
) -> None:
    whole = encoder.encode_image(pictures)
    part = encoder.encode_image(pictures[:n])
    assert part.shape == (n, 24)
    np.testing.assert_allclose(part, whole[:n], atol=1e-6)
    texts = ["owl", "a fern", "snow", "the owl", "grey", "a", "photo"]
    words = encoder.encode_text(texts[:n])
    assert words.shape == (n, 24)
    np.testing.assert_allclose(words, encoder.encode_text(texts)[:n], atol=1e-6)


def test_pixels_encode_as_their_images_do(encoder: Encoder, pictures: list[Image.Image]) -> None:
    pixels = np.stack([encoder.preprocess(picture) for picture in pictures])
    assert pixels.dtype == np.float32
    assert pixels.shape == (7, 3, 32, 32)
    np.testing.assert_array_equal(encoder.encode_pixels(pixels), encoder.encode_image(pictures))
    assert encoder.encode_pixels(pixels[:0]).shape == (0, 24)


def test_pixels_may_be_read_only(encoder: Encoder, pictures: list[Image.Image]) -> None:
    pixels = encoder.preprocess(pictures[0])[None]
    expected, before = encoder.encode_pixels(pixels.copy()), pixels.copy()
    pixels.flags.writeable = False
    np.testing.assert_array_equal(encoder.encode_pixels(pixels), expected)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(("fixture", "limit"), [("open_clip_dir", 77), ("open_clip_hf_dir", 12)])
def test_a_text_is_read_to_the_last_token_and_refused_one_later(
    request: pytest.FixtureRequest, fixture: str, limit: int
) -> None:
    encoder = load_encoder(f"local-dir:{request.getfixturevalue(fixture)}", device="cpu")
    longest = " ".join(["owl"] * (limit - 2))
    assert encoder.encode_text(["fern", longest]).shape == (2, 24)
    with pytest.raises(PromptError, match=f'"owl owl .* has {limit + 1} tokens.* {limit};'):
        encoder.encode_text(["fern", longest + " owl"])


def test_bf16_is_close_and_compatible(
    open_clip_dir: Path, pictures: list[Image.Image], texts: list[str]
) -> None:
    exact = load_encoder(f"local-dir:{open_clip_dir}", device="cpu")
    rough = load_encoder(f"local-dir:{open_clip_dir}", device="cpu", precision="bf16")
    for one, other in (
        (exact.encode_image(pictures), rough.encode_image(pictures)),
        (exact.encode_text(texts), rough.encode_text(texts)),
    ):
        assert other.dtype == np.float32
        assert (one * other).sum(axis=1).min() > 0.999
        assert not np.array_equal(one, other)
    assert rough.fingerprint.precision == "bf16"
    assert rough.fingerprint.is_compatible(exact.fingerprint)
    assert rough.logit_scale == exact.logit_scale


def change_config(folder: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> None:
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_the_key_is_of_weights_and_preprocessing_not_of_the_path(
    open_clip_dir: Path, tmp_path: Path
) -> None:
    original = load_encoder(f"local-dir:{open_clip_dir}", device="cpu").fingerprint
    copied = shutil.copytree(open_clip_dir, tmp_path / "copied")
    copy = load_encoder(f"local-dir:{copied}", device="cpu").fingerprint
    assert copy.model == f"local-dir:{copied}"
    assert copy.key == original.key

    squashed = shutil.copytree(open_clip_dir, tmp_path / "squashed")
    change_config(squashed, lambda config: config["preprocess_cfg"].update(resize_mode="squash"))
    squash = load_encoder(f"local-dir:{squashed}", device="cpu").fingerprint
    assert squash.weights_sha256 == original.weights_sha256
    assert squash.key != original.key


def test_quick_gelu_changes_vectors_and_key(
    open_clip_dir: Path, tmp_path: Path, pictures: list[Image.Image]
) -> None:
    quick_dir = shutil.copytree(open_clip_dir, tmp_path / "quick")
    change_config(quick_dir, lambda config: config["model_cfg"].update(quick_gelu=True))
    plain = load_encoder(f"local-dir:{open_clip_dir}", device="cpu")
    quick = load_encoder(f"local-dir:{quick_dir}", device="cpu")
    assert not np.allclose(plain.encode_image(pictures), quick.encode_image(pictures), atol=1e-4)
    assert plain.fingerprint.key != quick.fingerprint.key


def test_other_weights_have_another_key(open_clip_dir: Path, open_clip_hf_dir: Path) -> None:
    keys = {
        load_encoder(f"local-dir:{folder}", device="cpu").fingerprint.key
        for folder in (open_clip_dir, open_clip_hf_dir)
    }
    assert len(keys) == 2


def test_the_weights_hashed_are_those_open_clip_loads(open_clip_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(open_clip_dir, tmp_path / "two")
    expected = load_encoder(f"local-dir:{folder}", device="cpu").fingerprint.weights_sha256
    (folder / "model.safetensors").write_bytes(b"not loaded")
    (folder / "a_first.safetensors").write_bytes(b"not loaded")
    both = load_encoder(f"local-dir:{folder}", device="cpu").fingerprint.weights_sha256
    assert both == expected


def test_a_relative_path_is_recorded_absolute(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(open_clip_dir.parent)
    encoder = load_encoder(f"local-dir:{open_clip_dir.name}", device="cpu")
    assert encoder.name == encoder.fingerprint.model == f"local-dir:{open_clip_dir}"


def test_damaged_weights_are_reported_with_the_folder(open_clip_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(open_clip_dir, tmp_path / "damaged")
    change_config(folder, lambda config: config["model_cfg"].update(embed_dim=25))
    with pytest.raises(ModelUnavailableError, match=f"open_clip cannot load {folder}"):
        load_encoder(f"local-dir:{folder}", device="cpu")


def test_a_tag_is_loaded_with_its_own_activation_and_preprocessing(
    tmp_path: Path,
    put_in_cache: Callable[[str, Path], Path],
    pictures: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """open_clip is given the cached file; the plain architecture gets the tag's QuickGELU."""
    for name in ("ViT-B-32", "ViT-B-32-quickgelu"):
        # Its own architecture, of a layer and few channels: the file has 0.6 GB otherwise.
        config = open_clip.get_model_config(name)
        config["vision_cfg"] |= {"layers": 1, "width": 64}
        config["text_cfg"] |= {"layers": 1, "width": 64, "heads": 1}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    torch.manual_seed(1)
    model = open_clip.create_model("ViT-B-32-quickgelu")
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.save(model.state_dict(), weights / "open_clip_pytorch_model.bin")
    put_in_cache("timm/vit_base_patch32_clip_224.openai", weights)

    encoder = load_encoder("ViT-B-32/openai", device="cpu")

    preprocess = open_clip.image_transform(
        224,
        is_train=False,
        mean=open_clip.OPENAI_DATASET_MEAN,
        std=open_clip.OPENAI_DATASET_STD,
    )
    with torch.no_grad():
        pixels = torch.stack([preprocess(picture) for picture in pictures[:2]])
        expected = torch.nn.functional.normalize(model.eval().encode_image(pixels), dim=-1)
    np.testing.assert_allclose(encoder.encode_image(pictures[:2]), expected.numpy(), atol=1e-6)
    assert encoder.fingerprint.revision.startswith("c0ffee")
    quick = load_encoder("ViT-B-32-quickgelu/openai", device="cpu")
    assert quick.fingerprint.key == encoder.fingerprint.key


def test_a_tag_open_clip_does_not_know_is_refused_with_those_it_does() -> None:
    with pytest.raises(ModelUnavailableError, match=r"no such pretrained tag; its tags are openai"):
        load_encoder("ViT-B-32/nobody")


def test_without_its_tokenizer_it_encodes_images_and_says_what_texts_need(
    open_clip_hf_dir: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(open_clip_hf_dir, bare, ignore=shutil.ignore_patterns("*token*"))
    encoder = load_encoder(f"local-dir:{bare}", device="cpu")
    expected = load_encoder(f"local-dir:{open_clip_hf_dir}", device="cpu")
    np.testing.assert_array_equal(encoder.encode_image(pictures), expected.encode_image(pictures))
    assert encoder.fingerprint.is_compatible(expected.fingerprint)
    assert encoder.logit_scale == expected.logit_scale
    assert not encoder.has_text_tower
    said = rf"its tokenizer is not in {bare}; copy tokenizer\.json and .* of somewhere/else there"
    with pytest.raises(NoTextTowerError, match=said):
        encoder.encode_text(["owl"])
