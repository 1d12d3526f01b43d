from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from bioprobe.encoders import load_encoder
from bioprobe.errors import ModelUnavailableError, NoTextTowerError


def test_vectors_equal_those_of_timm(timm_dir: Path, pictures: list[Image.Image]) -> None:
    model = timm.create_model(f"local-dir:{timm_dir}", pretrained=True, num_classes=0).eval()
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    with torch.no_grad():
        pixels = torch.stack([transform(picture) for picture in pictures])
        expected = torch.nn.functional.normalize(model(pixels), dim=-1).numpy()

    encoder = load_encoder(f"timm:local-dir:{timm_dir}", device="cpu", batch_size=3)

    assert encoder.dim == 96
    assert encoder.preprocess(pictures[0]).shape == (3, 160, 160)
    for n in (0, 1, 2, 3, 4, 7):
        vectors = encoder.encode_image(pictures[:n])
        assert vectors.shape == (n, 96)
        np.testing.assert_allclose(vectors, expected[:n], atol=1e-6)


def test_a_backbone_refuses_text(timm_dir: Path) -> None:
    encoder = load_encoder(f"timm:local-dir:{timm_dir}", device="cpu")
    with pytest.raises(NoTextTowerError, match="image-only"):
        encoder.encode_text([])


def test_the_key_follows_the_preprocessing(timm_dir: Path, tmp_path: Path) -> None:
    original = load_encoder(f"timm:local-dir:{timm_dir}", device="cpu").fingerprint
    folder = shutil.copytree(timm_dir, tmp_path / "copied")
    assert load_encoder(f"timm:local-dir:{folder}", device="cpu").fingerprint.key == original.key
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["pretrained_cfg"]["crop_pct"] = 0.5
    path.write_text(json.dumps(config))
    assert load_encoder(f"timm:local-dir:{folder}", device="cpu").fingerprint.key != original.key


def test_bf16_is_close(timm_dir: Path, pictures: list[Image.Image]) -> None:
    exact = load_encoder(f"timm:local-dir:{timm_dir}", device="cpu")
    rough = load_encoder(f"timm:local-dir:{timm_dir}", device="cpu", precision="bf16")
    cosines = (exact.encode_image(pictures[:3]) * rough.encode_image(pictures[:3])).sum(axis=1)
    assert cosines.min() > 0.995


def test_a_name_timm_does_not_know_is_refused_with_those_it_does() -> None:
    with pytest.raises(ModelUnavailableError, match=r"no such pretrained model; it has resnet50"):
        load_encoder("timm:resnet50.nobody", device="cpu")
