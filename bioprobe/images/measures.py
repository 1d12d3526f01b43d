"""How a picture was taken, in a few numbers: sharp or blurred, light or dark, by day or infrared.

All are measured on the picture in grey at one scale, so that a photograph of 20 megapixels, a small
copy of it and what a JPEG decoder gives at an eighth compare. What a camera writes above and below
its picture is left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

#: What is measured of a picture:
#:
#: - ``sharpness``: its finest detail beside detail twice as coarse, in the direction that has less
#:   of it; 0 where there is none, about 0.7 of a sharp photograph, whatever it shows;
#: - ``brightness``: what the lightest twentieth of it reaches, 0 to 1: a black bear by day has some
#:   light beside it, an underexposed picture has none;
#: - ``mean_brightness``: of all of it, 0 to 1;
#: - ``contrast``: standard deviation of its brightness, 0 to 0.5;
#: - ``entropy``: of its 256 levels of brightness, in bits, 0 to 8;
#: - ``colour``: how far its colours lie from the one tint that it may have, 0 of a grey picture,
#:   about 0.2 of a photograph by day;
#: - ``night``: whether it looks as by infrared flash: of no colour but one tint, dark where the
#:   flash does not reach, and lit somewhere.
MEASURE = np.dtype(
    [
        ("sharpness", "f4"),
        ("brightness", "f4"),
        ("mean_brightness", "f4"),
        ("contrast", "f4"),
        ("entropy", "f4"),
        ("colour", "f4"),
        ("night", "?"),
    ]
)

# Pixels of the longer side. Of 224, 192, 160, 128 and 112 this tells copies of photographs best
# that are blurred by 2 to 5 pixels of 224 or by motion, and costs least; of 1 pixel 160 tells more.
_SIDE_PX = 112
# Share of the height above and below in which cameras write: 2 to 7% in those that were looked at.
_MARGIN_FRACTION = 0.08
# Added to mean squares of differences in grey levels: rounding gives about as much.
_ROUNDING = 0.5
_COLOUR_SIDE_PX = 32
# Shares of a picture that are not lighter: sums of shares are not exact.
_REACHED = np.array([0.95, 0.25]) - 1e-9
_COLOUR_FRACTION = 0.9
# Of 200 photographs by day 4 are as grey, being grey; two by infrared have no colour at all.
_NO_COLOUR = 0.03
_NIGHT_DARK, _NIGHT_LIT = 0.35, 0.12


def measure_picture(image: Image.Image, grey: Image.Image | None = None) -> npt.NDArray[np.void]:
    """Measure how a picture was taken.

    Parameters
    ----------
    image : PIL.Image.Image
        In any mode and size.
    grey : PIL.Image.Image, optional
        The same in mode ``L``, where that is at hand.

    Returns
    -------
    ndarray of :data:`MEASURE`, shape ()

    Notes
    -----
    Natural pictures have about as much detail at each scale, whatever they show; blur takes the
    finest first. So the mean square of second differences is divided by that of the picture at half
    the size, along and across, and the lesser of both is taken: motion blurs in one direction. An
    infrared picture may have a tint, violet or green, but one: colour is how far Cb and Cr lie from
    what they would be of the picture in grey with a tint.

    References
    ----------
    Field 1987, *Relations between the statistics of natural images and the response properties of
    cortical cells*: that detail is alike at each scale. ITU-R BT.601: brightness and colour.

    Examples
    --------
    >>> from PIL import Image
    >>> measured = measure_picture(Image.new("RGB", (40, 30), "white"))
    >>> float(measured["brightness"]), float(measured["contrast"]), bool(measured["night"])
    (1.0, 0.0, False)
    """
    from PIL import Image

    picture = image if image.mode in {"L", "RGB"} else image.convert("RGB")
    margin = int(picture.height * _MARGIN_FRACTION)
    box = (0, margin, picture.width, picture.height - margin)
    scale = max(1.0, max(picture.size) / _SIDE_PX)
    size = max(1, round(box[2] / scale)), max(1, round((box[3] - box[1]) / scale))
    grey = (grey or picture.convert("L")).resize(
        size, Image.Resampling.BOX, box=box, reducing_gap=1.0
    )
    counts = np.array(grey.histogram(), dtype=np.float64)
    shares = counts / counts.sum()
    reached = np.cumsum(shares)
    light, dark = (np.searchsorted(reached, _REACHED) / 255).tolist()
    mean, square = (_POWERS @ shares).tolist()
    there = shares[shares > 0]
    colour = 0.0 if picture.mode == "L" else _measure_colour(picture, box)
    values = {
        "sharpness": _measure_sharpness(np.asarray(grey)),
        "brightness": light,
        "mean_brightness": mean,
        "contrast": math.sqrt(max(0.0, square - mean**2)),
        "entropy": abs(float(there @ np.log2(there))),
        "colour": colour,
        "night": colour <= _NO_COLOUR and dark <= _NIGHT_DARK and light >= _NIGHT_LIT,
    }
    return np.array(tuple(values[name] for name in MEASURE.names or ()), dtype=MEASURE)


_POWERS = np.stack([np.arange(256) / 255, (np.arange(256) / 255) ** 2])


def _measure_sharpness(grey: npt.NDArray[np.uint8]) -> float:
    """Return the detail of a pixel beside that of two, in the direction that has less of it."""
    fine = grey.astype(np.int16)
    height, width = (side // 2 * 2 for side in fine.shape)
    even = fine[:height, :width]
    # The sum of four pixels: divided by 16 once it is squared.
    pairs = even[::2] + even[1::2]
    coarse = pairs[:, ::2] + pairs[:, 1::2]
    ratios = [
        (_square(fine, axis) + _ROUNDING) / (_square(coarse, axis) / 16 + _ROUNDING)
        for axis in (0, 1)
        if coarse.shape[axis] > 2
    ]
    # What is smaller than this has no detail to speak of; nor is it blurred.
    return math.sqrt(min(ratios)) if ratios else 1.0


def _square(levels: npt.NDArray[np.int16], axis: int) -> float:
    """Return the mean square of second differences along an axis."""
    if axis == 0:
        bent = 2 * levels[1:-1] - levels[:-2] - levels[2:]
    else:
        bent = 2 * levels[:, 1:-1] - levels[:, :-2] - levels[:, 2:]
    flat = bent.astype(np.float32).ravel()
    return float(flat @ flat) / max(1, flat.size)


def _measure_colour(picture: Image.Image, box: tuple[int, int, int, int]) -> float:
    from PIL import Image

    # A thousand of the pixels: all of them would take as long as the rest together.
    side = _COLOUR_SIDE_PX, _COLOUR_SIDE_PX
    tiny = picture.resize(side, Image.Resampling.NEAREST, box=box).convert("YCbCr")
    levels = np.asarray(tiny, dtype=np.float32).reshape(-1, 3)
    luma, chroma = levels[:, 0], levels[:, 1:] - 128
    # A tint grows with brightness. What is left is beside brightness, too: darker is not greyer.
    power = float(luma @ luma)
    chroma -= luma[:, None] * ((luma @ chroma) / max(power, 1.0))
    left = np.abs(chroma, out=chroma).max(axis=1)
    at = int(_COLOUR_FRACTION * (len(left) - 1))
    return float(np.partition(left, at)[at]) / max(1.0, math.sqrt(power / len(luma)))
