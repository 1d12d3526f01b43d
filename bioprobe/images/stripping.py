"""Copies of pictures that say no more than the picture: no place, no serial number, no name.

What a camera or program wrote beside the pixels tells where a rare animal lives and whose camera
it was: GPS in EXIF, in XMP and in makers' own notes; serial numbers; owners; thumbnails of a
picture that was obscured since. Of JPEG, PNG and WebP all of it is taken out without decoding, so
that no pixel changes; what is needed to show the picture stays: which way is up, and its colours.
When it was taken, and by which model of camera, stays too.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bioprobe.errors import ImageReadError
from bioprobe.images.reading import decode_image

if TYPE_CHECKING:
    from PIL.Image import Image

# EXIF tags that stay: orientation, maker, model, times with their fractions and offsets, exposure.
_KEPT = frozenset({0x0112, 0x010F, 0x0110, 0x0132})
_KEPT_BELOW = frozenset(
    {0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292, 0x829A, 0x829D, 0x8827,
     0x9209, 0x920A, 0xA001}
)  # fmt: skip
_EXIF_IFD, _ORIENTATION = 0x8769, 0x0112
# JPEG markers.
_START_OF_SCAN, _END = 0xDA, 0xD9
_APP_JFIF, _APP_EXIF, _APP_ICC, _APP_ADOBE = 0xE0, 0xE1, 0xE2, 0xEE
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_PNG_KEPT = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB",
     b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT", b"cICP"}
)  # fmt: skip
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_WEBP_KEPT = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_HAS_EXIF, _WEBP_HAS_XMP = 0x08, 0x04
_JPEG_QUALITY = 95


def strip_metadata(data: bytes) -> tuple[bytes, str]:
    """Return a picture without what was written beside its pixels.

    Parameters
    ----------
    data : bytes
        Content of an image file of any kind that is read.

    Returns
    -------
    data : bytes
        JPEG, PNG and WebP with the same pixels; what is of another kind is written anew.
    suffix : str
        Ending of what was written anew, ``.png`` or ``.jpg``; else ``""``.

    Raises
    ------
    ImageReadError
        If it is no picture that can be read.
    """
    for starts, strip in _STRIPPERS:
        if starts(data):
            return strip(data), ""
    return write_anew(decode_image(data), data)


def write_anew(image: Image, data: bytes) -> tuple[bytes, str]:
    """Write pixels as a file with nothing beside them.

    Parameters
    ----------
    image : PIL.Image.Image
        Upright.
    data : bytes
        The file that it comes from: what was written with loss is a JPEG of quality 95, else PNG.

    Returns
    -------
    data : bytes
    suffix : str
        ``.jpg`` or ``.png``.
    """
    is_lossy = data[:3] == b"\xff\xd8\xff" or data[4:8] == b"ftyp"
    file = io.BytesIO()
    image = image.copy()
    # Pillow writes comments and more of what it finds here.
    image.info = {k: v for k, v in image.info.items() if k == "icc_profile"}
    if is_lossy:
        image.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    else:
        image.save(file, "PNG")
    return file.getvalue(), ".jpg" if is_lossy else ".png"


def _strip_jpeg(data: bytes) -> bytes:
    out = bytearray(b"\xff\xd8")
    exif = _write_exif(data)
    if exif:
        out += _write_segment(_APP_EXIF, exif)
    for marker, start, end in _iter_segments(data):
        body = data[start:end]
        if marker == _START_OF_SCAN:
            out += b"\xff\xda" + body
        elif marker == _END:
            out += b"\xff\xd9"
            break  # what follows is another picture, or a maker's own
        elif _stays(marker, body):
            out += _write_segment(marker, body)
    return bytes(out)


def _stays(marker: int, body: bytes) -> bool:
    if marker == _APP_JFIF:
        return body.startswith(b"JFIF\0")
    if marker == _APP_ICC:
        return body.startswith(b"ICC_PROFILE\0")
    if marker == _APP_ADOBE:
        return body.startswith(b"Adobe")
    return not (0xE0 <= marker <= 0xEF or marker == 0xFE)


def _write_segment(marker: int, body: bytes) -> bytes:
    if marker == _APP_JFIF:
        # Without its thumbnail.
        body = body[:12] + b"\0\0"
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def _iter_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Find the segments of a JPEG; a scan's goes up to the next marker that is none of its own.

    Yields
    ------
    marker : int
    start, end : int
        Of what follows the marker, and the length of it; in a scan, of its length too.
    """
    place = 2
    while place + 2 <= len(data):
        if data[place] != 0xFF:
            # Not where a segment should begin; readers look for the next one.
            place = data.find(b"\xff", place)
            if place < 0:
                return
            continue
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == _END:
            yield marker, place + 2, place + 2
            return
        if marker in _ALONE or marker == 0:
            place += 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        end = place + 2 + length
        if marker == _START_OF_SCAN:
            end = _find_scan_end(data, end)
            yield marker, place + 2, end
        else:
            yield marker, place + 4, end
        place = end


def _find_scan_end(data: bytes, start: int) -> int:
    place = start
    while True:
        place = data.find(b"\xff", place)
        if place < 0 or place + 1 >= len(data):
            return len(data)
        following = data[place + 1]
        if following == 0 or following in _ALONE:
            place += 2
        elif following == 0xFF:
            place += 1
        else:
            return place


def _strip_png(data: bytes) -> bytes:
    out = bytearray(_PNG_SIGNATURE)
    exif = _write_exif(data)
    for kind, chunk in _iter_png(data):
        if kind == b"IDAT" and exif:
            out += _write_png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
            exif = b""
        if kind in _PNG_KEPT:
            out += chunk
    return bytes(out)


def _iter_png(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the bytes of each chunk of a PNG.

    Yields
    ------
    kind, chunk : bytes
    """
    place = len(_PNG_SIGNATURE)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        yield kind, data[place:end]
        if kind == b"IEND":
            return  # what follows is no part of the picture
        place = end


def _write_png_chunk(kind: bytes, body: bytes) -> bytes:
    import zlib

    check = zlib.crc32(kind + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + kind + body + check


def _strip_webp(data: bytes) -> bytes:
    out = bytearray()
    end_of_file = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    place = 12
    while place + 8 <= end_of_file:
        kind, length = (
            data[place : place + 4],
            int.from_bytes(data[place + 4 : place + 8], "little"),
        )
        end = place + 8 + length + length % 2
        if kind in _WEBP_KEPT:
            chunk = bytearray(data[place:end])
            if kind == b"VP8X":
                chunk[8] &= ~(_WEBP_HAS_EXIF | _WEBP_HAS_XMP) & 0xFF
            out += chunk
        place = end
    return b"RIFF" + (len(out) + 4).to_bytes(4, "little") + b"WEBP" + bytes(out)


def keep_exif(data: bytes) -> bytes:
    """Return what stays of a picture's EXIF where its pixels are written anew, upright.

    Returns
    -------
    bytes
        With its heading: time and model of camera; ``b""`` where nothing stays.
    """
    from PIL import Image

    kept = Image.Exif()
    kept.load(_write_exif(data))
    kept.pop(_ORIENTATION, None)
    return kept.tobytes() if kept else b""


def _write_exif(data: bytes) -> bytes:
    """Return what stays of a picture's EXIF, with its heading; ``b""`` where nothing does."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            found = image.getexif()
            below = dict(found.get_ifd(_EXIF_IFD))
    except Exception:  # noqa: BLE001 - what cannot be read is not written either
        return b""
    kept = Image.Exif()
    for tag, value in found.items():
        if tag in _KEPT:
            kept[tag] = value
    details: dict[int, Any] = {tag: value for tag, value in below.items() if tag in _KEPT_BELOW}
    if details:
        kept[_EXIF_IFD] = details
    if not kept:
        return b""
    try:
        return kept.tobytes()
    except Exception:  # noqa: BLE001 - values that only their camera understands
        plain = Image.Exif()
        if 0x0112 in found:
            plain[0x0112] = found[0x0112]
        return plain.tobytes() if plain else b""


_STRIPPERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], bytes]], ...] = (
    (lambda data: data[:3] == b"\xff\xd8\xff", _strip_jpeg),
    (lambda data: data.startswith(_PNG_SIGNATURE), _strip_png),
    (
        lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP" and not _lies_in_webp(data),
        _strip_webp,
    ),
)


def _lies_in_webp(data: bytes) -> bool:
    """Tell whether a WebP needs its EXIF to be shown upright: it is then written anew."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return bool(image.getexif().get(0x0112, 1) != 1)
    except Exception as error:
        raise ImageReadError(str(error)) from error
