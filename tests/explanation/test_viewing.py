from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from bioprobe.explanation.viewing import find_view


class Preparing:
    """Prepares pictures by a function, and normalises them as models do."""

    def __init__(self, prepare: Callable[[Image.Image], Image.Image]) -> None:
        self._prepare = prepare

    def preprocess(self, image: Image.Image) -> np.ndarray:
        values = np.asarray(self._prepare(image), dtype=np.float32).transpose(2, 0, 1) / 255
        means = np.array([0.48, 0.46, 0.41], dtype=np.float32)[:, None, None]
        return (values - means) / np.float32(0.27)


def squash(image: Image.Image) -> Image.Image:
    return image.resize((64, 64), Image.Resampling.BICUBIC)


def crop_centre(image: Image.Image) -> Image.Image:
    return ImageOps.fit(image, (64, 64), Image.Resampling.BICUBIC)


def crop_more(image: Image.Image) -> Image.Image:
    """Resize to 80 and cut 64 out of the middle."""
    return ImageOps.fit(image, (80, 80), Image.Resampling.BICUBIC).crop((8, 8, 72, 72))


def add_border(image: Image.Image) -> Image.Image:
    return ImageOps.pad(image, (64, 64), Image.Resampling.BICUBIC, color="black")


@pytest.mark.parametrize(
    ("prepare", "size_px", "expected"),
    [
        (squash, (300, 200), (0, 0, 1, 1)),
        (squash, (5, 9), (0, 0, 1, 1)),
        (crop_centre, (300, 200), (1 / 6, 0, 5 / 6, 1)),
        (crop_centre, (200, 300), (0, 1 / 6, 1, 5 / 6)),
        (crop_centre, (3000, 2000), (1 / 6, 0, 5 / 6, 1)),
        (crop_more, (100, 100), (0.1, 0.1, 0.9, 0.9)),
        (crop_more, (300, 200), (0.2333, 0.1, 0.7667, 0.9)),
        (add_border, (200, 100), (0, -0.5, 1, 1.5)),
    ],
)
def test_what_is_seen_of_a_picture(
    prepare: Callable[[Image.Image], Image.Image],
    size_px: tuple[int, int],
    expected: tuple[float, float, float, float],
) -> None:
    found = find_view(Preparing(prepare), size_px)  # type: ignore[arg-type] # it only prepares
    np.testing.assert_allclose(found, expected, atol=0.01)
