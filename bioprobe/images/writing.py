"""Pictures that are written: every one goes through here, and says nothing of where it was taken.

What a camera wrote beside the pixels (place, time, serial number, owner) goes with none of them,
unless it is handed over; the colour profile, which pixels need, does.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

#: Ending of the pictures that are written where nothing else is asked for.
SUFFIX = ".jpg"
_QUALITY = 92
#: Kinds of picture that are written as they came, as Pillow names them, with their endings.
KINDS = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "WEBP": (".webp",)}
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


def find_kind(data: bytes) -> str:
    """Return as which of :data:`KINDS` a picture is written that comes from a file.

    Parameters
    ----------
    data : bytes
        Content of the file. What is of another kind is a JPEG where it was written with loss, else
        a PNG.
    """
    if data[:3] == b"\xff\xd8\xff" or data[4:8] == b"ftyp":
        return "JPEG"
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else "PNG"


def encode_picture(picture: Image, kind: str, *, exif: bytes = b"") -> bytes:
    """Return a picture as the bytes of a file; see :func:`write_picture`."""
    stream = io.BytesIO()
    write_picture(picture, stream, kind=kind, exif=exif)
    return stream.getvalue()
