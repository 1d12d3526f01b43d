"""Two small trained models on real photographs, where the shared folder is at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import open_clip
import pytest
import torch
import torchvision.transforms.v2 as transforms
from PIL import Image

from bioprobe.encoders import load_encoder

pytestmark = pytest.mark.shared


@pytest.fixture
def photos(shared_dir: Path) -> list[Image.Image]:
    paths = sorted((shared_dir / "data" / "photos").glob("*/*.jpg"))[::300]
    assert len(paths) >= 5
    return [Image.open(path).convert("RGB") for path in paths]


def test_an_open_clip_model_encodes_photographs_as_open_clip_does(
    shared_dir: Path, photos: list[Image.Image]
) -> None:
    name = f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}"
    texts = ["a photo of a leopard.", "Panthera uncia", "a photo of an animal."]
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    with torch.no_grad():
        pixels = torch.stack([preprocess(photo) for photo in photos])
        images = torch.nn.functional.normalize(model.eval().encode_image(pixels), dim=-1)
        tokens = open_clip.get_tokenizer(name)(texts)
        words = torch.nn.functional.normalize(model.encode_text(tokens), dim=-1)
    encoder = load_encoder(name, device="cpu", batch_size=3)
    np.testing.assert_allclose(encoder.encode_image(photos), images.numpy(), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_text(texts), words.numpy(), atol=1e-6)
    assert encoder.logit_scale == pytest.approx(19.85, abs=0.01)


def test_an_onnx_model_encodes_photographs_as_onnx_runtime_does(
    shared_dir: Path, photos: list[Image.Image]
) -> None:
    path = shared_dir / "models" / "mobilenetv2.onnx"
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    steps = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.PILToTensor(),
            transforms.ToDtype(torch.float32, scale=True),
            transforms.Normalize(mean, std),
        ]
    )
    pixels = torch.stack([steps(photo) for photo in photos]).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(["features"], {"input": pixels})
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    options = "resize_px=256&crop_px=224&mean=0.485,0.456,0.406&std=0.229,0.224,0.225"
    encoder = load_encoder(f"onnx:{path}?{options}")
    assert encoder.dim == 1280
    np.testing.assert_allclose(encoder.encode_image(photos), expected, atol=1e-5)
