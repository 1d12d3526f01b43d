"""One image: from bytes to an upright RGB picture and the facts about it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.errors import ImageReadError

if TYPE_CHECKING:
    from PIL.Image import Image

# Larger than any camera's picture, smaller than what fills the memory of a small machine: one
# such picture is 1.2 GB as RGB.
MAX_PIXELS_PX = 400_000_000

_ORIENTATION_TAG = 0x0112
# EXIF orientations in which the picture lies on its side.
_LYING = frozenset({5, 6, 7, 8})


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What an image file says of itself before it is decoded.

    Parameters
    ----------
    width_px, height_px : int
        Size when upright.
    mode : str
        The file's own mode as PIL names it, such as ``L`` or ``CMYK``.
    """

    width_px: int
    height_px: int
    mode: str


def hash_bytes(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_facts(data: bytes) -> ImageFacts:
    """Read the header of an image file; nothing is decoded.

    Parameters
    ----------
    data : bytes
        Content of the file.

    Raises
    ------
    ImageReadError
        If the bytes do not begin as an image of a known kind does.
    """
    with _opened(data) as image:
        width_px, height_px = image.size
        if image.getexif().get(_ORIENTATION_TAG, 1) in _LYING:
            width_px, height_px = height_px, width_px
        return ImageFacts(width_px, height_px, image.mode)


def decode_image(data: bytes, *, max_pixels_px: int = MAX_PIXELS_PX) -> Image:
    """Decode the bytes of an image file to an upright RGB picture.

    EXIF orientation is applied; the first frame of an animation is taken; what is transparent
    becomes white; 16-bit grey is scaled to 8 bits.

    Parameters
    ----------
    data : bytes
        Content of the file.
    max_pixels_px : int
        More pixels than this are refused before they are decoded.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    ImageReadError
        If the bytes are no whole image of a known kind, or the image is too large.
    """
    from PIL import ImageOps

    with _opened(data) as image:
        _check_size(image.size, max_pixels_px)
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image]:
    from PIL import Image

    if not data:
        msg = "the file is empty"
        raise ImageReadError(msg)
    try:
        with warnings.catch_warnings():
            # Odd EXIF data and sizes are judged here, not by the library's warnings.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                yield image
    except ImageReadError:
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them raise
        raise ImageReadError(_explain(error)) from error


def _check_size(size_px: tuple[int, int], max_pixels_px: int) -> None:
    width_px, height_px = size_px
    if width_px * height_px > max_pixels_px:
        msg = (
            f"the image has {width_px} x {height_px} pixels, more than the limit of "
            f"{max_pixels_px:,}; make it smaller"
        )
        raise ImageReadError(msg)


def _to_rgb(image: Image) -> Image:
    from PIL import Image as PillowImage

    if image.mode == "RGB":
        return image.copy()
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_8_bits(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = PillowImage.new("RGBA", layer.size, "white")
        return PillowImage.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _scale_to_8_bits(image: Image) -> Image:
    from PIL import Image as PillowImage

    values = np.asarray(image, dtype=np.float64)
    full = 65535.0 if values.max(initial=0.0) > 255 else 255.0
    grey = np.clip(np.nan_to_num(values) / full * 255.0, 0, 255).round().astype(np.uint8)
    return PillowImage.fromarray(grey).convert("RGB")


def _explain(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known kind"
    text = str(error) or type(error).__name__
    return f"cannot be decoded: {text}"
