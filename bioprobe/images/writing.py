"""Pictures that are written: every one goes through here, and says nothing of where it was taken.

What a camera wrote beside the pixels (place, time, serial number, owner) goes with none of them,
unless it is handed over; the colour profile, which pixels need, does.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

#: Ending of the pictures that are written where nothing else is asked for.
SUFFIX = ".jpg"
_QUALITY = 92
# Where a colour profile says what its numbers are.
_SPACE = slice(16, 20)


def write_picture(
    picture: Image, target: Path | IO[bytes], *, kind: str = "JPEG", quality: int = _QUALITY,
    exif: bytes = b"",
) -> None:  # fmt: skip
    """Write a picture, without what its file said of it.

    Parameters
    ----------
    picture : PIL.Image.Image
        Upright, mode RGB, as :func:`bioprobe.images.reading.decode_image` returns it.
    target : Path or binary file
        A file is replaced; whoever must not lose one asks before.
    kind : str
        As Pillow names it.
    quality : int
        Of a JPEG, 1 to 95.
    exif : bytes
        Metadata that go with it; none by default.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    bare = picture.copy()
    # Pillow writes comments and more of what it finds here, whatever it is told.
    bare.info = {}
    profile = picture.info.get("icc_profile", b"")
    if profile[_SPACE] != b"RGB ":
        profile = b""
    bare.save(target, kind, quality=quality, exif=exif, icc_profile=profile or None)
