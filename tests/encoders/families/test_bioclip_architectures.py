"""BioCLIP's and BioCLIP 2's own architectures, with random weights in their format on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from PIL import Image

from bioprobe.encoders import load_encoder

pytestmark = pytest.mark.slow

MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


@pytest.fixture
def model_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    # BioCLIP 2 is 0.9 GB even in fp16; pytest would keep three of them.
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("architecture", "dim", "n_parameters"),
    [
        ("ViT-B-16", 512, 149_620_737),
        pytest.param("ViT-L-14", 768, 427_616_513, marks=pytest.mark.long),
    ],
)
def test_the_true_architecture_loads_from_a_local_directory(
    model_dir: Path,
    pictures: list[Image.Image],
    architecture: str,
    dim: int,
    n_parameters: int,
) -> None:
    config = {
        "model_cfg": open_clip.get_model_config(architecture),
        "preprocess_cfg": {"mean": MEAN, "std": STD},
    }
    (model_dir / "open_clip_config.json").write_text(json.dumps(config))
    model = open_clip.create_model(architecture)
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    safetensors.torch.save_file(weights, model_dir / "open_clip_model.safetensors")
    assert sum(value.numel() for value in model.parameters()) == n_parameters

    encoder = load_encoder(f"local-dir:{model_dir}", device="cpu")

    assert encoder.dim == dim
    assert encoder.preprocess(pictures[0]).shape == (3, 224, 224)
    # Saved in half precision, so that it is that rounding which is compared.
    model.load_state_dict(weights)
    preprocess = open_clip.image_transform(224, is_train=False, mean=MEAN, std=STD)
    with torch.no_grad():
        image = model.eval().encode_image(preprocess(pictures[0])[None])
        text = model.encode_text(open_clip.tokenize(["a photo of Panthera uncia."]))
    for vectors, expected in (
        (encoder.encode_image(pictures[:1]), image),
        (encoder.encode_text(["a photo of Panthera uncia."]), text),
    ):
        unit = torch.nn.functional.normalize(expected, dim=-1).numpy()
        np.testing.assert_allclose(vectors, unit, atol=1e-6)
