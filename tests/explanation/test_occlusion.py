from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bioprobe.encoders.encoder import Encoder, normalise_rows
from bioprobe.explanation.maps import explain_images
from bioprobe.explanation.occlusion import draw_occlusion
from bioprobe.types import Vectors
from tests.explanation.aims import Direction


class CornerEncoder:
    """Sees how bright the lower right quarter of a picture is, and nothing else."""

    name, dim, batch_size, device, draft_side_px = "corner", 2, 4, "cpu", 0
    has_text_tower, logit_scale = False, 1.0

    def preprocess(self, image: Image.Image) -> Vectors:
        values = np.asarray(image.resize((20, 20)), dtype=np.float32)
        return values.transpose(2, 0, 1) / np.float32(255)

    def encode_pixels(self, pixels: Vectors) -> Vectors:
        height, width = pixels.shape[2:]
        bright = pixels[:, :, height // 2 :, width // 2 :].mean(axis=(1, 2, 3))
        return normalise_rows(np.stack([bright, np.full(len(pixels), 0.5)], axis=1))


@pytest.fixture
def picture() -> Image.Image:
    values = np.zeros((20, 20, 3), dtype=np.uint8)
    values[10:, 10:] = 255
    return Image.fromarray(values)


def test_hiding_what_the_model_sees_is_what_counts(picture: Image.Image) -> None:
    encoder: Encoder = CornerEncoder()  # type: ignore[assignment] # no text, no fingerprint
    maps = explain_images(encoder, [picture], Direction(np.array([1.0, 0.0])))
    assert maps.method == "occlusion"
    assert maps.relevance.shape == (1, 10, 10)
    seen = maps.relevance[0]
    # A place is hidden with those up to two further.
    assert not seen[:3].any()
    assert not seen[:, :3].any()
    assert (seen[6:, 6:] > 0.5).all()


def test_falls_are_the_mean_over_the_windows_that_hid_a_place(picture: Image.Image) -> None:
    encoder: Encoder = CornerEncoder()  # type: ignore[assignment] # no text, no fingerprint
    aim = Direction(np.array([1.0, 0.0]), scale=1.0)
    pixels = encoder.preprocess(picture)[None]
    maps, vectors = draw_occlusion(encoder, pixels, aim)
    np.testing.assert_allclose(vectors, encoder.encode_pixels(pixels))
    whole = float(vectors[0, 0])
    # The corner place is hidden by the windows of four places; each is filled with the mean, 1/4.
    falls = []
    for top, left in ((8, 8), (8, 9), (9, 8), (9, 9)):
        hidden = pixels.copy()
        hidden[:, :, 2 * top - 2 : 2 * top + 4, 2 * left - 2 : 2 * left + 4] = 0.25
        falls.append(whole - float(encoder.encode_pixels(hidden)[0, 0]))
    assert maps[0, 9, 9] == pytest.approx(np.mean(falls), abs=1e-6)


def test_a_picture_smaller_than_the_steps(picture: Image.Image) -> None:
    encoder: Encoder = CornerEncoder()  # type: ignore[assignment] # no text, no fingerprint
    small = encoder.preprocess(picture)[None][:, :, 6:14]
    maps, _ = draw_occlusion(encoder, small, Direction(np.array([1.0, 0.0])))
    assert maps.shape == (1, 8, 10)
    # Windows of five rows of one pixel and five columns of two: what is seen begins at 4 and at 10.
    assert not maps[0, :2].any()
    assert not maps[0, :, :3].any()
    assert (maps[0, 4:, 5:] > 0).all()
