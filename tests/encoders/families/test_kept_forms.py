"""What each family gives beside vectors: of the same pass, and what the vectors are made of."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bioprobe.encoders import load_encoder
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.encoders.keeping import PROJECTION_INPUT, TOKENS, KeepingEncoder, need_keeping
from bioprobe.errors import ModelUnavailableError

# Width of the projection input, 0 where there is no projection; tokens, and those of no place.
FORMS = {
    "open_clip_dir": ("local-dir:{}", 64, (17, 64), 1),
    "open_clip_hf_dir": ("local-dir:{}", 64, (17, 64), 1),
    "open_clip_resnet_dir": ("local-dir:{}", 512, (4, 256), 0),
    "clip_dir": ("transformers:{}", 32, (17, 32), 1),
    "siglip_dir": ("transformers:{}", 0, (16, 32), 0),
    "dinov2_dir": ("transformers:{}", 0, (17, 32), 1),
    "resnet_dir": ("transformers:{}", 0, (16, 24), 0),
    "timm_dir": ("timm:local-dir:{}", 0, (25, 96), 0),
}


def load(request: pytest.FixtureRequest, fixture: str, precision: str = "fp32") -> KeepingEncoder:
    name = FORMS[fixture][0].format(request.getfixturevalue(fixture))
    encoder = load_encoder(name, device="cpu", batch_size=4, precision=precision)
    assert isinstance(encoder, KeepingEncoder)
    return encoder


# One of each kind; that the others of a library do the same is shown at length.
SHOWN = ("open_clip_dir", "open_clip_resnet_dir", "clip_dir", "dinov2_dir")


@pytest.mark.parametrize(
    "fixture",
    [one if one in SHOWN else pytest.param(one, marks=pytest.mark.long) for one in FORMS],
)
def test_what_is_kept_is_of_the_same_pass_as_the_vector(
    request: pytest.FixtureRequest, fixture: str, pictures: list[Image.Image]
) -> None:
    encoder = load(request, fixture)
    _, width, shape, n_prefix = FORMS[fixture]
    pixels = np.stack([encoder.preprocess(one) for one in pictures])
    plain = encoder.encode_pixels(pixels)
    form = encoder.find_form(TOKENS)
    assert (form.shape, form.n_prefix) == (shape, n_prefix)
    assert form.n_prefix + np.prod(form.grid) == form.shape[0]
    kinds = [TOKENS, *([PROJECTION_INPUT] if width else [])]
    vectors, kept = encoder.encode_keeping(pixels, kinds)
    np.testing.assert_allclose(vectors, plain, atol=1e-6)
    assert kept[TOKENS].shape == (len(pictures), *shape)
    # Each picture has its own, and each place of it.
    assert len(np.unique(kept[TOKENS].reshape(len(pictures), -1), axis=0)) == len(pictures)
    assert kept[TOKENS].std(axis=1).max() > 0
    if not width:
        with pytest.raises(ModelUnavailableError, match="no visual projection"):
            need_keeping(encoder, [PROJECTION_INPUT])
        return
    form = encoder.find_form(PROJECTION_INPUT)
    assert form.shape == (width,)
    assert form.projection is not None
    assert form.bias is not None
    made = normalise_rows(kept[PROJECTION_INPUT] @ form.projection + form.bias)
    np.testing.assert_allclose(made, vectors, atol=2e-6)


@pytest.mark.long
def test_in_half_precision_the_projection_makes_the_vector_too(
    request: pytest.FixtureRequest, pictures: list[Image.Image]
) -> None:
    encoder = load(request, "open_clip_dir", "bf16")
    pixels = np.stack([encoder.preprocess(one) for one in pictures])
    vectors, kept = encoder.encode_keeping(pixels, [PROJECTION_INPUT])
    projection = encoder.find_form(PROJECTION_INPUT).projection
    assert projection is not None
    made = normalise_rows(kept[PROJECTION_INPUT] @ projection)
    assert (made * vectors).sum(axis=1).min() > 0.9999
    # The weights are shared: what looks inside takes no second copy of them.
    assert encoder.find_form(PROJECTION_INPUT) is encoder.find_form(PROJECTION_INPUT)


def test_what_gives_vectors_alone_is_refused_with_a_remedy(request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue("onnx_file")
    graph = load_encoder(
        f"onnx:{place}?resize_px=28&crop_px=24&mean=0.4,0.5,0.6&std=0.2,0.3,0.25", device="cpu"
    )
    with pytest.raises(ModelUnavailableError, match=r"runs in onnx, .*leave --keep out"):
        need_keeping(graph, [TOKENS])
    views = load_encoder("sketch+views2", device="cpu")
    with pytest.raises(ModelUnavailableError, match=r"mean of 2 views .*--model sketch, without"):
        need_keeping(views, [TOKENS])
