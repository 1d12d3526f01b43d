"""The preprocessing of torchvision-style checkpoints, in fewer passes over the pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import PIL.Image

from bioprobe.encoders.families.compiler import imported_when_used

with imported_when_used():
    from torchvision import transforms

if TYPE_CHECKING:
    from PIL.Image import Image

    Pixels = npt.NDArray[np.float32]
    Transform = Callable[[Image], Pixels]

_RESAMPLING = {
    transforms.InterpolationMode.BICUBIC: PIL.Image.Resampling.BICUBIC,
    transforms.InterpolationMode.BILINEAR: PIL.Image.Resampling.BILINEAR,
}
# A JPEG decoded at an eighth, quarter or half of its size keeps all that the resampling filter
# needs while it is at least twice as large as the result.
_DRAFT_FACTOR = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class FastTransform:
    """Resize, crop, scale and normalise in one resampling and one look-up.

    Only what the crop keeps is resampled. Pixels differ from the whole chain's in the last bit
    of a few values (91 dB).

    Parameters
    ----------
    resize_px : int or tuple of int
        Length of the shorter side, or (height, width) where the shape is not kept.
    crop_px : tuple of int
        Height and width of the centre crop.
    resampling : PIL.Image.Resampling
        Filter.
    mean, std : tuple of float
        Of each channel, for values in [0, 1].
    """

    resize_px: int | tuple[int, int]
    crop_px: tuple[int, int]
    resampling: PIL.Image.Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def draft_side_px(self) -> int:
        """Shorter side that an image may be decoded at before it is resized."""
        sides = (self.resize_px,) if isinstance(self.resize_px, int) else self.resize_px
        return _DRAFT_FACTOR * max(sides)

    def __call__(self, image: Image) -> Pixels:
        """Preprocess one upright RGB image.

        Returns
        -------
        ndarray of float32, shape (3, height_px, width_px)
        """
        height_px, width_px = self.crop_px
        resized = image.resize((width_px, height_px), self.resampling, box=self._find_box(image))
        values = np.asarray(resized)
        pixels = np.empty((3, height_px, width_px), dtype=np.float32)
        for channel in range(3):
            # One of 256 values: cheaper to look up than to compute.
            scaled = np.arange(256, dtype=np.float32) / np.float32(255)
            table = (scaled - np.float32(self.mean[channel])) / np.float32(self.std[channel])
            np.take(table, values[..., channel], out=pixels[channel])
        return pixels

    def _find_box(self, image: Image) -> tuple[float, float, float, float]:
        width_px, height_px = image.size
        if isinstance(self.resize_px, tuple):
            to_height_px, to_width_px = self.resize_px
        else:
            # Whole pixels, cut off as torchvision does: a third of a pixel of offset shows.
            short_px = min(width_px, height_px)
            to_width_px = int(self.resize_px * width_px / short_px)
            to_height_px = int(self.resize_px * height_px / short_px)
        crop_height_px, crop_width_px = self.crop_px
        left_px = round((to_width_px - crop_width_px) / 2)
        top_px = round((to_height_px - crop_height_px) / 2)
        scale_x, scale_y = width_px / to_width_px, height_px / to_height_px
        return (
            left_px * scale_x,
            top_px * scale_y,
            (left_px + crop_width_px) * scale_x,
            (top_px + crop_height_px) * scale_y,
        )


def build_transform(chain: transforms.Compose, decoding: str) -> tuple[Transform, int]:
    """Return the function that preprocesses an image, and how small it may be decoded.

    Parameters
    ----------
    chain : torchvision.transforms.Compose
        The checkpoint's own preprocessing.
    decoding : str
        ``exact`` runs the chain itself on whole images; ``fast`` runs :class:`FastTransform`
        where the chain is one that it can stand for.

    Returns
    -------
    transform : callable
        From an upright RGB image to pixels.
    draft_side_px : int
        Shorter side that an image may be decoded at, 0 for whole images.
    """
    if decoding == "fast" and (fast := read_chain(chain)):
        return fast, fast.draft_side_px

    def run_chain(image: Image) -> Pixels:
        pixels: Pixels = chain(image).numpy()
        return pixels

    return run_chain, 0


def read_chain(chain: transforms.Compose) -> FastTransform | None:
    """Read resize, centre crop and normalisation out of a chain.

    Returns
    -------
    FastTransform or None
        None where the chain has another step, order or filter.
    """
    steps = {type(step).__name__: step for step in chain.transforms}
    known = {"Resize", "CenterCrop", "ToTensor", "Normalize", "MaybeToTensor", "MaybeConvertMode"}
    resize, crop, normalise = (steps.get(n) for n in ("Resize", "CenterCrop", "Normalize"))
    if resize is None or normalise is None or not set(steps) <= known:
        return None
    if resize.interpolation not in _RESAMPLING or resize.max_size is not None:
        return None
    size = resize.size
    resize_px = _read_size(size)
    if crop is None and isinstance(resize_px, int):
        return None
    crop_px = resize_px if crop is None else tuple(crop.size)
    short_px = resize_px if isinstance(resize_px, int) else min(resize_px)
    if not isinstance(crop_px, tuple) or max(crop_px) > short_px:
        return None
    mean, std = (tuple(float(v) for v in values) for values in (normalise.mean, normalise.std))
    return FastTransform(
        resize_px=resize_px,
        crop_px=(int(crop_px[0]), int(crop_px[1])),
        resampling=_RESAMPLING[resize.interpolation],
        mean=mean,
        std=std,
    )


def _read_size(size: int | list[int] | tuple[int, ...]) -> int | tuple[int, int]:
    if isinstance(size, int):
        return size
    return int(size[0]) if len(size) == 1 else (int(size[0]), int(size[1]))
