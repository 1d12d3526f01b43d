"""Whether two pictures look alike to the eye, told from 64 bits each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ImageReadError, SourceError
from bioprobe.images.location import ImageLocation
from bioprobe.images.reading import decode_image, ignore_pillow_warnings

if TYPE_CHECKING:
    from PIL import Image

_SIDE = 8
_BITS_OF_BYTE = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)


def hash_picture(image: Image.Image) -> int:
    """Return the difference hash of a picture: where brightness rises from left to right.

    Parameters
    ----------
    image : PIL.Image.Image
        In any mode.

    Returns
    -------
    int
        64 bits, row by row from the top left, the first the highest.

    References
    ----------
    N. Krawetz 2013, *Kind of Like That*: a bit is set where a pixel is darker than the one to its
    right, on a picture of 9 by 8 pixels.

    Examples
    --------
    >>> from PIL import Image
    >>> rising = Image.fromarray(np.tile(np.arange(9, dtype=np.uint8), (8, 1)))
    >>> hex(hash_picture(rising)), hash_picture(rising.transpose(Image.Transpose.ROTATE_180))
    ('0xffffffffffffffff', 0)
    """
    from PIL import Image

    small = image.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(small)
    bits = pixels[:, 1:] > pixels[:, :-1]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def read_hash(place: ImageLocation) -> int | None:
    """Return the hash of an image file, or None where it cannot be read."""
    try:
        with ignore_pillow_warnings():
            return hash_picture(decode_image(place.read_bytes()))
    except (ImageReadError, SourceError, OSError, ValueError):
        return None


def count_differing_bits(
    one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Count the bits in which hashes differ, 0 to 64.

    Examples
    --------
    >>> count_differing_bits(np.array([0b1011], np.uint64), np.array([0b0001], np.uint64)).tolist()
    [2]
    """
    differing = np.ascontiguousarray(one ^ other).view(np.uint8).reshape(len(one), 8)
    return np.asarray(_BITS_OF_BYTE[differing].sum(axis=1), dtype=np.int64)
