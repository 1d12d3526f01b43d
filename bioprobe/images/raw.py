"""Raw photographs, and the page of a TIFF that is the picture.

Most raw files are TIFFs whose first page is a thumbnail: read as one, the photograph would be that.
A raw file is told by its content, and read by LibRaw: its preview where that is large enough, else
developed. Of another TIFF the first page that is no reduced copy is the picture.

References
----------
TIFF 6.0, NewSubfileType (254), whose bit 0 says that an image is a reduced copy of another one of
the file, and SubIFDs (330); DNG 1.7, PhotometricInterpretation 32803 (CFA) and 34892 (LinearRaw),
DNGVersion (50706); LibRaw, ``unpack_thumb``, ``sizes.flip``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bioprobe.errors import ImageReadError

if TYPE_CHECKING:
    from PIL.Image import Image

#: Endings of raw photographs.
SUFFIXES = frozenset(
    {".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".dng", ".orf", ".rw2", ".raf",
     ".pef", ".srw", ".rwl", ".mrw", ".x3f", ".3fr", ".iiq", ".erf", ".mef", ".mos", ".kdc"}
)  # fmt: skip
#: A preview of a longer side is taken for the photograph.
PREVIEW_PX = 1024
# One that is half as large as the photograph is, too, however small that is.
_PREVIEW_FRACTION = 0.5
# Developed at half its size, the shorter side is still this.
_HALF_PX = 1024

_SUBFILE, _PHOTOMETRIC, _COMPRESSION, _SUB_IFDS, _DNG = 254, 262, 259, 330, 50706
_RAW_COLOURS = frozenset({32803, 34892})
# Sony's, Nikon's, Samsung's and Pentax's own.
_RAW_COMPRESSIONS = frozenset({32767, 34713, 32769, 32770, 65535})
_TIFF = {b"II": "<", b"MM": ">"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 9: "i", 13: "I", 16: "Q", 18: "Q"}
# Raw files that are no TIFF, or one of another number.
_SIGNATURES = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"\x00MRM", b"FOVb")
_MOST_PAGES = 1000


@dataclasses.dataclass(frozen=True)
class _Page:
    """A page of a TIFF: where its directory lies, and what that says."""

    offset: int
    tags: Mapping[int, tuple[int, ...]]
    is_below: bool

    @property
    def is_reduced(self) -> bool:
        return bool(self.tags.get(_SUBFILE, (0,))[0] & 1)

    @property
    def is_raw(self) -> bool:
        colour, packing = (self.tags.get(name, (0,))[0] for name in (_PHOTOMETRIC, _COMPRESSION))
        return colour in _RAW_COLOURS or packing in _RAW_COMPRESSIONS or _DNG in self.tags


def is_raw_name(name: str) -> bool:
    """Tell whether a file has the ending of a raw photograph."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122


def is_raw(data: bytes) -> bool:
    """Tell whether a file is a raw photograph, by its content."""
    if data.startswith(_SIGNATURES) or data[4:12] == b"ftypcrx ":
        return True
    if data[:2] not in _TIFF:
        return False
    return data[8:10] == b"CR" or any(page.is_raw for page in _iter_pages(data))


def find_page(data: bytes) -> bytes:
    """Return a TIFF that begins with the page that is the picture; any other file as it is.

    Raises
    ------
    ImageReadError
        If it has reduced pages alone.
    """
    if data[:2] not in _TIFF:
        return data
    pages = list(_iter_pages(data))
    if not pages or not pages[0].is_reduced:
        return data
    # In the order of the file, those that stand for themselves before those below another.
    whole = sorted((one for one in pages if not one.is_reduced), key=lambda one: one.is_below)
    if not whole:
        msg = "the TIFF holds reduced copies of a picture alone, not the picture itself"
        raise ImageReadError(msg)
    order, is_big = _read_kind(data)
    offset = struct.pack(order + ("Q" if is_big else "I"), whole[0].offset)
    start = 8 if is_big else 4
    return data[:start] + offset + data[start + len(offset) :]


def measure_raw(data: bytes) -> tuple[int, int]:
    """Return the width and height of a raw photograph in pixels, when upright.

    Raises
    ------
    ImageReadError
        If it cannot be read, or the extra that reads it is not installed.
    """
    with _opened(data) as photograph:
        sizes = photograph.sizes
        lies = sizes.flip in {5, 6}
        return (sizes.height, sizes.width) if lies else (sizes.width, sizes.height)


def develop(data: bytes) -> tuple[bytes | Image, int]:
    """Return the preview of a raw photograph where it is large enough, else the photograph.

    Returns
    -------
    bytes or PIL.Image.Image
        A JPEG, or an upright picture.
    int
        EXIF orientation in which a JPEG is still to be turned.

    Raises
    ------
    ImageReadError
        If it cannot be read, or the extra that reads it is not installed.
    """
    from PIL import Image as PillowImage

    with _opened(data) as photograph:
        sizes = photograph.sizes
        long_px = max(sizes.width, sizes.height)
        jpeg = _find_preview(photograph)
        if jpeg:
            with PillowImage.open(io.BytesIO(jpeg)) as preview:
                size_px, turned = preview.size, preview.getexif().get(274, 1)
            if max(size_px) >= min(PREVIEW_PX, _PREVIEW_FRACTION * long_px):
                flip = {3: 3, 5: 8, 6: 6}.get(sizes.flip, 1)
                stands = (size_px[0] < size_px[1]) != (sizes.width < sizes.height)
                is_upright = turned != 1 or (flip in {6, 8} and stands)
                return jpeg, 1 if is_upright else flip
        short_px = min(sizes.width, sizes.height)
        pixels = photograph.postprocess(
            half_size=short_px >= 2 * _HALF_PX, use_camera_wb=True, output_bps=8
        )
        return PillowImage.fromarray(pixels), 1


def _find_preview(photograph: Any) -> bytes:  # noqa: ANN401 - rawpy has no types
    import rawpy

    try:
        found = photograph.extract_thumb()
    except (rawpy.LibRawError, ValueError):  # there is none, or none that is known
        return b""
    return bytes(found.data) if found.format == rawpy.ThumbFormat.JPEG else b""


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    try:
        import rawpy
    except ImportError as error:
        msg = 'raw photographs are read by an extra; install it: pip install "bioprobe[raw]"'
        raise ImageReadError(msg) from error
    try:
        with rawpy.imread(io.BytesIO(data)) as photograph:
            yield photograph
    except (rawpy.LibRawError, ValueError, OSError) as error:
        text = error.args[0] if error.args else error
        said = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        msg = f"the raw photograph cannot be decoded: {said}"
        raise ImageReadError(msg) from error


def _read_kind(data: bytes) -> tuple[str, bool]:
    order = _TIFF[data[:2]]
    return order, data[2:4] == struct.pack(order + "H", 43)


def _iter_pages(data: bytes) -> Iterator[_Page]:
    """Go through the pages of a TIFF, those below others too, in the order of the file."""
    order, is_big = _read_kind(data)
    if not is_big and data[2:4] != struct.pack(order + "H", 42):
        return
    pointer, start = ("Q", 8) if is_big else ("I", 4)
    waiting = [(_unpack(data, order + pointer, start), False)]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_PAGES:
        offset, is_below = waiting.pop(0)
        if not offset or offset in seen:
            continue
        seen.add(offset)
        tags, following = _read_directory(data, offset, order, is_big=is_big)
        yield _Page(offset, tags, is_below)
        waiting += [(one, True) for one in tags.get(_SUB_IFDS, ())]
        waiting.insert(0, (following, is_below))


def _read_directory(
    data: bytes, offset: int, order: str, *, is_big: bool
) -> tuple[dict[int, tuple[int, ...]], int]:
    counting, pointer = ("Q", "Q") if is_big else ("H", "I")
    width, entry = struct.calcsize(order + counting), 20 if is_big else 12
    n_entries = min(_unpack(data, order + counting, offset), 4096)
    tags = {}
    for number in range(n_entries):
        at = offset + width + number * entry
        tag, kind = _unpack(data, order + "H", at), _unpack(data, order + "H", at + 2)
        if tag not in {_SUBFILE, _PHOTOMETRIC, _COMPRESSION, _SUB_IFDS, _DNG}:
            continue
        count = min(_unpack(data, order + pointer, at + 4), _MOST_PAGES)
        place = at + 4 + struct.calcsize(order + pointer)
        if kind in _CODES and count:
            if count * _SIZES[kind] > struct.calcsize(order + pointer):
                place = _unpack(data, order + pointer, place)
            code = order + _CODES[kind]
            tags[tag] = tuple(
                _unpack(data, code, place + one * _SIZES[kind]) for one in range(count)
            )
    following = _unpack(data, order + pointer, offset + width + n_entries * entry)
    return tags, following


def _unpack(data: bytes, code: str, offset: int) -> int:
    """Read one number; 0 beyond the end."""
    if offset < 0 or offset + struct.calcsize(code) > len(data):
        return 0
    return int(struct.unpack_from(code, data, offset)[0])
