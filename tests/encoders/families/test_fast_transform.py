from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision import transforms

from bioprobe.encoders import load_encoder
from bioprobe.encoders.families.fast_transform import FastTransform, build_transform, read_chain
from bioprobe.errors import BioprobeError
from bioprobe.images import decode_image

SIZES_PX = [(640, 480), (480, 640), (333, 777), (224, 224), (225, 224), (100, 60), (1025, 768)]


def _draw(width_px: int, height_px: int) -> Image.Image:
    """Draw smooth colours with some grain, as photographs have."""
    rng = np.random.default_rng(width_px)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width_px, height_px), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 5, smooth.shape)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def _open_clip_chain(**settings: object) -> transforms.Compose:
    return image_transform_v2(PreprocessCfg(size=(224, 224), **settings), is_train=False)


def _timm_chain() -> transforms.Compose:
    return transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
        ]
    )


@pytest.mark.parametrize("size_px", SIZES_PX)
@pytest.mark.parametrize(
    "chain",
    [
        _open_clip_chain(),
        _open_clip_chain(interpolation="bilinear"),
        _open_clip_chain(resize_mode="squash"),
        _timm_chain(),
    ],
    ids=["shortest", "bilinear", "squash", "resize-256"],
)
def test_pixels_equal_the_chains_own_but_for_the_last_bit(
    chain: transforms.Compose, size_px: tuple[int, int]
) -> None:
    image = _draw(*size_px)
    fast = read_chain(chain)
    assert fast is not None
    expected, got = chain(image).numpy(), fast(image)
    assert got.shape == expected.shape
    assert got.dtype == np.float32
    one_grey_level = 1 / 255 / 0.2
    assert np.abs(got - expected).max() < 1.1 * one_grey_level
    assert (np.abs(got - expected) > 1e-5).mean() < 0.01


def test_a_chain_with_another_step_is_left_alone() -> None:
    padded = _open_clip_chain(resize_mode="longest")
    assert read_chain(padded) is None
    transform, draft_side_px = build_transform(padded, "fast")
    assert draft_side_px == 0
    image = _draw(300, 200)
    assert np.array_equal(transform(image), padded(image).numpy())


def test_a_crop_larger_than_the_picture_is_left_alone() -> None:
    chain = transforms.Compose(
        [
            transforms.Resize(200),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    assert read_chain(chain) is None


def test_exact_decoding_runs_the_chain_itself() -> None:
    chain = _open_clip_chain()
    transform, draft_side_px = build_transform(chain, "exact")
    assert draft_side_px == 0
    image = _draw(500, 400)
    assert np.array_equal(transform(image), chain(image).numpy())


def test_a_draft_is_at_least_twice_as_large_as_the_resized_picture() -> None:
    fast = read_chain(_timm_chain())
    assert isinstance(fast, FastTransform)
    assert fast.draft_side_px == 512


def test_the_decoding_is_recorded_and_does_not_separate_stores(open_clip_dir: Path) -> None:
    name = f"local-dir:{open_clip_dir}"
    exact, fast = load_encoder(name), load_encoder(name, decoding="fast")
    assert (exact.fingerprint.decoding, fast.fingerprint.decoding) == ("exact", "fast")
    assert (exact.draft_side_px, fast.draft_side_px) == (0, 64)
    assert exact.fingerprint.is_compatible(fast.fingerprint)


def test_transformers_and_onnx_decode_less_and_preprocess_alike(
    dinov2_dir: Path, onnx_file: Path
) -> None:
    image = _draw(60, 50)
    names = [f"transformers:{dinov2_dir}", f"onnx:{onnx_file}?resize_px=32&crop_px=24"]
    for name in names:
        exact, fast = load_encoder(name), load_encoder(name, decoding="fast")
        assert exact.draft_side_px == 0
        assert fast.draft_side_px >= 64
        assert fast.fingerprint.decoding == "fast"
        assert np.array_equal(exact.preprocess(image), fast.preprocess(image))


def test_an_unknown_decoding_is_refused(open_clip_dir: Path) -> None:
    with pytest.raises(BioprobeError, match=r'"quick" is not known; choose one of exact, fast'):
        load_encoder(f"local-dir:{open_clip_dir}", decoding="quick")


@pytest.mark.shared
def test_vectors_of_large_photographs_are_those_of_exact_decoding(shared_dir: Path) -> None:
    name = f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}"
    exact, fast = load_encoder(name), load_encoder(name, decoding="fast")
    files = sorted((shared_dir / "data" / "edge-cases").glob("*.jpg"))
    data = [file.read_bytes() for file in files if "truncated" not in file.name]
    reference = exact.encode_image([decode_image(one) for one in data])
    vectors = fast.encode_image(
        [decode_image(one, draft_side_px=fast.draft_side_px) for one in data]
    )
    cosines = (reference * vectors).sum(axis=1)
    # A MobileNet, which sees JPEG's own blocks more than a ViT does: .9995 and .9990 were seen.
    assert cosines.mean() > 0.999
    assert cosines.min() > 0.998
