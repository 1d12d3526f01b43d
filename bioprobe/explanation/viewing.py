"""Which part of a picture an encoder's preprocessing leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from bioprobe.encoders.encoder import Encoder

# The sides of the picture that is asked with: large enough for a ramp, small enough to be quick.
_LEAST_PX, _MOST_PX = 64, 1024


def find_view(encoder: Encoder, size_px: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the part of a picture of some size that an encoder sees.

    A picture whose red grows from left to right, and whose green grows from top to bottom, is
    preprocessed as any other; what comes out says where each pixel came from. So it holds for every
    family and every way to resize, crop and pad.

    Returns
    -------
    tuple of float
        Left, top, right and bottom as fractions of width and height; below 0 and above 1 where the
        encoder puts a border around the picture.
    """
    import PIL.Image

    factor = max(1.0, _LEAST_PX / min(size_px))
    # Larger pictures of the same shape are cropped and bordered alike.
    factor = min(factor, _MOST_PX / max(size_px))
    width_px, height_px = (max(2, round(side * factor)) for side in size_px)
    ramp = np.empty((height_px, width_px, 3), dtype=np.uint8)
    ramp[..., 0] = np.linspace(0, 255, width_px).round()
    ramp[..., 1] = np.linspace(0, 255, height_px).round()[:, None]
    ramp[..., 2] = 255
    seen = encoder.preprocess(PIL.Image.fromarray(ramp))
    # What the preprocessing makes of the ends of a ramp, in the middle, where no border is.
    middle = (slice(None), seen.shape[1] // 2, seen.shape[2] // 2)
    ends = [
        encoder.preprocess(PIL.Image.new("RGB", (width_px, height_px), colour))[middle]
        for colour in ("black", "white")
    ]
    red, green, blue = (
        (channel - low) / (high - low) for channel, low, high in zip(seen, *ends, strict=True)
    )
    inside = blue > 0.99
    left, right = _find_ends(red, inside, axis=0, n_px=width_px)
    top, bottom = _find_ends(green, inside, axis=1, n_px=height_px)
    return left, top, right, bottom


def _find_ends(
    ramp: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], axis: int, n_px: int
) -> tuple[float, float]:
    """Return where the two ends of the pixels lie along one side of the picture."""
    n_inside = inside.sum(axis=axis)
    places = np.flatnonzero(n_inside)
    if len(places) < 2:
        return 0.0, 1.0
    sums = np.where(inside, ramp, 0.0).sum(axis=axis)
    # The ends are bent by the filter of the resizing.
    margin = len(places) // 10
    kept = places[margin : len(places) - margin]
    slope, first = np.polyfit(kept, sums[kept] / n_inside[kept], 1)
    # The ramp goes from the middle of the first pixel to that of the last.
    scale = (n_px - 1) / n_px
    start, end = (
        float((first + slope * place) * scale + 0.5 / n_px)
        for place in (-0.5, ramp.shape[1 - axis] - 0.5)
    )
    return (start, end) if end > start else (0.0, 1.0)
