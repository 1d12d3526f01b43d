"""What every family holds, ours and that of another package.

An image's vector is a unit vector of its own: the other images of its batch have no part in it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bioprobe.encoders import Encoder, load_encoder
from bioprobe.encoders.catalog import parse_name
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.errors import NoTextTowerError
from bioprobe.registry import ENCODERS
from tests.encoders.conftest import write_onnx

OPTIONS = "resize_px=28&crop_px=24&mean=0.4,0.5,0.6&std=0.2,0.3,0.25"
NAMES = {
    "open_clip_dir": "local-dir:{}",
    "open_clip_hf_dir": "local-dir:{}",
    "open_clip_resnet_dir": "local-dir:{}",
    "clip_dir": "transformers:{}",
    "siglip_dir": "transformers:{}",
    "dinov2_dir": "transformers:{}",
    "resnet_dir": "transformers:{}",
    "timm_dir": "timm:local-dir:{}",
    "onnx_file": "onnx:{}?" + OPTIONS,
    "example_package": "tint:4",
}
NORMALISED_BY_BATCH = {"open_clip_resnet_dir", "resnet_dir", "timm_dir"}


def load(request: pytest.FixtureRequest, fixture: str) -> Encoder:
    place = request.getfixturevalue(fixture)
    return load_encoder(NAMES[fixture].format(place), device="cpu", batch_size=8)


@pytest.fixture(scope="module")
def noise() -> list[Image.Image]:
    """Six pictures that are unlike any other, and unlike each other in brightness."""
    random = np.random.default_rng(3)
    return [
        Image.fromarray(random.integers(low, low + 40, (40, 40, 3), dtype=np.uint8))
        for low in range(0, 216, 36)
    ]


@pytest.mark.usefixtures("example_package")
def test_every_family_is_tested_here(request: pytest.FixtureRequest) -> None:
    names = [name.format(request.getfixturevalue(place)) for place, name in NAMES.items()]
    assert {parse_name(name).backend for name in names} == set(ENCODERS.names)


@pytest.mark.parametrize("fixture", NAMES)
def test_vectors_are_unit_rows_and_the_same_by_the_encoders_own_name(
    request: pytest.FixtureRequest, fixture: str, pictures: list[Image.Image]
) -> None:
    encoder = load(request, fixture)
    assert isinstance(encoder, Encoder)
    vectors = encoder.encode_image(pictures)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(pictures), encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encoder.encode_image([]).shape == (0, encoder.dim)
    again = load_encoder(encoder.name, device="cpu", batch_size=3)
    assert again.name == encoder.name == encoder.fingerprint.model
    assert again.fingerprint == encoder.fingerprint
    assert again.fingerprint.backend == parse_name(encoder.name).backend
    np.testing.assert_allclose(again.encode_image(pictures), vectors, atol=1e-5)
    if not encoder.has_text_tower:
        with pytest.raises(NoTextTowerError, match="image-only"):
            encoder.encode_text(["owl"])


@pytest.mark.parametrize("fixture", NAMES)
def test_a_vector_does_not_depend_on_its_neighbours(
    request: pytest.FixtureRequest,
    fixture: str,
    pictures: list[Image.Image],
    noise: list[Image.Image],
) -> None:
    encoder = load(request, fixture)
    image = pictures[0]
    (alone,) = encoder.encode_image([image])
    batches = {
        0: [image, *noise],
        6: [*noise, image],
        3: [*noise[:3], image, *noise[3:]],
        1: [image, image],
    }
    for place, batch in batches.items():
        np.testing.assert_allclose(encoder.encode_image(batch)[place], alone, atol=1e-6)
    # The encoder does tell these pictures apart.
    assert np.abs(encoder.encode_image(noise) - alone).max(axis=1).min() > 1e-4


@pytest.mark.parametrize("fixture", ["open_clip_dir", "open_clip_hf_dir", "clip_dir", "siglip_dir"])
def test_nor_does_that_of_a_text(
    request: pytest.FixtureRequest, fixture: str, texts: list[str]
) -> None:
    encoder = load(request, fixture)
    together = encoder.encode_text(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(encoder.encode_text([text])[0], vector, atol=1e-6)


@pytest.mark.parametrize(
    "fixture", [name for name in NAMES if name not in {"onnx_file", "example_package"}]
)
def test_no_part_of_a_model_is_left_in_training(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    encoder = load(request, fixture)
    assert isinstance(encoder, TorchEncoder)
    assert not [name for name, part in encoder.module.named_modules() if part.training]


@pytest.mark.parametrize("fixture", sorted(NORMALISED_BY_BATCH))
def test_in_training_the_neighbours_would_count(
    request: pytest.FixtureRequest,
    fixture: str,
    pictures: list[Image.Image],
    noise: list[Image.Image],
) -> None:
    """Without this the test above could not fail."""
    encoder = load(request, fixture)
    assert isinstance(encoder, TorchEncoder)
    assert any("BatchNorm" in type(part).__name__ for part in encoder.module.modules())
    encoder.module.train()
    with torch.random.fork_rng():
        vectors = [
            encoder.encode_image([*others, pictures[0]])[-1] for others in (noise, noise[:1])
        ]
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_a_file_of_a_fixed_batch_is_filled_up_without_a_trace(
    tmp_path: Path, pictures: list[Image.Image], noise: list[Image.Image]
) -> None:
    path = write_onnx(tmp_path / "fixed.onnx", batch=4)
    encoder = load_encoder(f"onnx:{path}?{OPTIONS}", device="cpu")
    (alone,) = encoder.encode_image(pictures[:1])
    np.testing.assert_allclose(encoder.encode_image([*noise, pictures[0]])[6], alone, atol=1e-6)


@pytest.mark.parametrize("fixture", ["open_clip_dir", "siglip_dir", "dinov2_dir", "timm_dir"])
def test_a_copy_to_look_into_embeds_alike_and_is_not_the_encoder(
    request: pytest.FixtureRequest, fixture: str, noise: list[Image.Image]
) -> None:
    encoder = load(request, fixture)
    assert isinstance(encoder, TorchEncoder)
    pixels = np.stack([encoder.preprocess(picture) for picture in noise[:2]])
    expected = encoder.encode_pixels(pixels)
    module, embed = encoder.copy_image_tower()
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(embed(torch.from_numpy(pixels)), dim=1)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    # What is changed in how the copy runs is not the encoder's.
    for part in module.modules():
        part.register_forward_pre_hook(refuse_to_run)
    np.testing.assert_array_equal(encoder.encode_pixels(pixels), expected)
    with pytest.raises(RuntimeError, match="runs"):
        embed(torch.from_numpy(pixels))


def refuse_to_run(*given: object) -> None:
    msg = f"this runs: {type(given[0]).__name__}"
    raise RuntimeError(msg)
