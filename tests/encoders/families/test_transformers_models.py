from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from bioprobe.encoders import load_encoder
from bioprobe.errors import ModelUnavailableError, NoTextTowerError, PromptError


def to_unit(outputs: torch.Tensor) -> np.ndarray:
    unit: np.ndarray = torch.nn.functional.normalize(outputs, dim=-1).numpy()
    return unit


@pytest.mark.parametrize(("fixture", "dim"), [("clip_dir", 20), ("siglip_dir", 32)])
def test_vectors_equal_those_of_transformers(
    request: pytest.FixtureRequest,
    fixture: str,
    dim: int,
    pictures: list[Image.Image],
    texts: list[str],
) -> None:
    folder: Path = request.getfixturevalue(fixture)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        images = model.get_image_features(pixel_values=pixels).pooler_output
        ids = tokenizer(texts, padding="max_length", max_length=12, return_tensors="pt").input_ids
        words = model.get_text_features(input_ids=ids).pooler_output

    encoder = load_encoder(f"transformers:{folder}", device="cpu", batch_size=3)

    assert encoder.dim == dim
    assert encoder.has_text_tower
    np.testing.assert_allclose(encoder.encode_image(pictures), to_unit(images), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_text(texts), to_unit(words), atol=1e-6)
    assert encoder.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))


def test_clip_reads_padded_texts_as_unpadded_ones(clip_dir: Path) -> None:
    model = transformers.AutoModel.from_pretrained(clip_dir).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(clip_dir)
    with torch.no_grad():
        tokens = tokenizer(["a photo of a leopard."], return_tensors="pt")
        alone = model.get_text_features(input_ids=tokens.input_ids).pooler_output
    encoder = load_encoder(f"transformers:{clip_dir}", device="cpu")
    padded = encoder.encode_text(["a photo of a leopard."])
    np.testing.assert_allclose(padded, to_unit(alone), atol=1e-6)


def test_dinov2_gives_the_class_token_after_the_last_norm(
    dinov2_dir: Path, pictures: list[Image.Image]
) -> None:
    model = transformers.AutoModel.from_pretrained(dinov2_dir).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(dinov2_dir)
    with torch.no_grad():
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        expected = model(pixel_values=pixels).last_hidden_state[:, 0]
    encoder = load_encoder(f"transformers:{dinov2_dir}", device="cpu", batch_size=3)
    assert encoder.dim == 32
    assert encoder.logit_scale == 1.0
    np.testing.assert_allclose(encoder.encode_image(pictures), to_unit(expected), atol=1e-6)


@pytest.mark.parametrize("fixture", ["clip_dir", "siglip_dir"])
def test_a_text_is_read_to_the_last_token_and_refused_one_later(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    encoder = load_encoder(f"transformers:{request.getfixturevalue(fixture)}", device="cpu")
    longest = " ".join(["owl"] * 10)
    assert encoder.encode_text([longest]).shape == (1, encoder.dim)
    with pytest.raises(PromptError, match=r"has 13 tokens, but .* reads at most 12"):
        encoder.encode_text([longest + " owl"])


def test_an_image_only_model_refuses_text(dinov2_dir: Path) -> None:
    encoder = load_encoder(f"transformers:{dinov2_dir}", device="cpu")
    assert not encoder.has_text_tower
    with pytest.raises(NoTextTowerError, match=r"image-only .* bioclip-2"):
        encoder.encode_text(["owl"])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
def test_the_batch_size_does_not_change_vectors(
    siglip_dir: Path, pictures: list[Image.Image], n: int
) -> None:
    encoder = load_encoder(f"transformers:{siglip_dir}", device="cpu", batch_size=3)
    part = encoder.encode_image(pictures[:n])
    assert part.shape == (n, 32)
    np.testing.assert_allclose(part, encoder.encode_image(pictures)[:n], atol=1e-6)


def test_bf16_is_close(clip_dir: Path, pictures: list[Image.Image], texts: list[str]) -> None:
    exact = load_encoder(f"transformers:{clip_dir}", device="cpu")
    rough = load_encoder(f"transformers:{clip_dir}", device="cpu", precision="bf16")
    images = exact.encode_image(pictures) * rough.encode_image(pictures)
    words = exact.encode_text(texts) * rough.encode_text(texts)
    assert images.sum(axis=1).min() > 0.999
    assert words.sum(axis=1).min() > 0.999


def test_the_key_follows_the_preprocessing(dinov2_dir: Path, tmp_path: Path) -> None:
    original = load_encoder(f"transformers:{dinov2_dir}", device="cpu").fingerprint
    copied = shutil.copytree(dinov2_dir, tmp_path / "copied")
    assert load_encoder(f"transformers:{copied}", device="cpu").fingerprint.key == original.key
    path = copied / "preprocessor_config.json"
    settings = json.loads(path.read_text()) | {"image_mean": [0.5, 0.5, 0.5]}
    path.write_text(json.dumps(settings))
    assert load_encoder(f"transformers:{copied}", device="cpu").fingerprint.key != original.key


def test_missing_weights_are_refused_rather_than_drawn_at_random(
    dinov2_dir: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(dinov2_dir, tmp_path / "incomplete")
    weights = load_file(folder / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailableError, match=r"lacks weights of 1 layers \(layernorm"):
        load_encoder(f"transformers:{folder}", device="cpu")


def test_siglip2_of_variable_resolution_is_refused_with_an_alternative(
    tmp_path: Path, siglip_dir: Path
) -> None:
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2}
    config = transformers.Siglip2Config(
        text_config={**tower, **heads, "vocab_size": 20},
        vision_config={**tower, **heads, "patch_size": 8, "num_patches": 16},
    )
    transformers.Siglip2Model(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(siglip_dir / name, tmp_path)
    with pytest.raises(ModelUnavailableError, match="google/siglip2-base-patch16-224"):
        load_encoder(f"transformers:{tmp_path}", device="cpu")


@pytest.mark.parametrize("fixture", ["clip_dir", "siglip_dir"])
def test_without_its_tokenizer_it_encodes_images_and_says_what_texts_need(
    request: pytest.FixtureRequest, fixture: str, pictures: list[Image.Image], tmp_path: Path
) -> None:
    whole: Path = request.getfixturevalue(fixture)
    bare = shutil.copytree(whole, tmp_path / "bare", ignore=shutil.ignore_patterns("*token*"))
    encoder = load_encoder(f"transformers:{bare}", device="cpu")
    expected = load_encoder(f"transformers:{whole}", device="cpu")
    np.testing.assert_array_equal(encoder.encode_image(pictures), expected.encode_image(pictures))
    assert encoder.fingerprint.is_compatible(expected.fingerprint)
    assert encoder.logit_scale == expected.logit_scale
    assert not encoder.has_text_tower
    with pytest.raises(NoTextTowerError, match=rf"its tokenizer is not in {bare}; copy tokenizer"):
        encoder.encode_text(["owl"])
