"""One image: from bytes to an upright RGB picture and the facts about it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ImageReadError
from bioprobe.images.damage import Damage, judge_jpeg, judge_png
from bioprobe.images.raw import develop, find_page, is_raw, measure_raw
from bioprobe.images.regions import Region, find_draft_side

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

# Larger than any camera's picture. Pillow itself opens nothing larger unless a setting of the
# whole process is changed, which allow_pixels does.
MAX_PIXELS_PX = 178_956_970

_STRIP_PX = 1 << 20
_WIDTH_TAG, _HEIGHT_TAG, _ORIENTATION_TAG = 0x0100, 0x0101, 0x0112
# What may be opened, as Pillow names it. Not all that it knows: EPS is a program, which another
# program would be started to run, and some kinds are recognised in any bytes.
_KINDS = (
    "JPEG", "MPO", "PNG", "TIFF", "WEBP", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF",
    "PSD", "ICO", "PCX", "SGI",
)  # fmt: skip
# Kinds of ISO media file that are pictures of the HEIF family.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
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

    Raises
    ------
    ImageReadError
        If the bytes do not begin as an image of a known kind does.
    """
    if is_raw(data):
        return ImageFacts(*measure_raw(data), "RGB")
    with _opened(data) as image:
        # Newer Pillows open a TIFF with its size when upright; its own tags say the stored one.
        tags = getattr(image, "tag_v2", {})
        width_px = tags.get(_WIDTH_TAG, image.width)
        height_px = tags.get(_HEIGHT_TAG, image.height)
        if _read_exif(image, data).get(_ORIENTATION_TAG, 1) in _LYING:
            width_px, height_px = height_px, width_px
        return ImageFacts(width_px, height_px, image.mode)


def decode_image(
    data: bytes, *, draft_side_px: int = 0, max_pixels_px: int = MAX_PIXELS_PX
) -> Image:
    """Decode the bytes of an image file, as :func:`decode_marked` does, where it is nearly whole.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    ImageReadError
        As there.
    """
    return _decode(data, draft_side_px, max_pixels_px, "mark", is_judged=False)[0]


def decode_marked(
    data: bytes,
    *,
    draft_side_px: int = 0,
    max_pixels_px: int = MAX_PIXELS_PX,
    damaged: str = "mark",
) -> tuple[Image, Damage | None]:
    """Decode the bytes of an image file to an upright RGB picture, and say what is damaged of it.

    HEIC is read where the extra ``bioprobe[heif]`` is installed, raw photographs where
    ``bioprobe[raw]`` is. Of a TIFF the first page that is no reduced copy is the picture.

    EXIF orientation is applied; the first frame of an animation is taken; what is transparent
    becomes white; 16-bit and floating-point grey is scaled to 8 bits.

    Parameters
    ----------
    data : bytes
        Content of the file.
    draft_side_px : int
        A JPEG may be decoded at a half, a quarter or an eighth of its size as long as its shorter
        side is no less than this; 0 decodes it whole.
    max_pixels_px : int
        More pixels than this are refused before they are decoded.
    damaged : {"mark", "keep", "refuse"}
        What becomes of a picture that is not whole: ``mark`` takes it where it is nearly whole,
        ``keep`` where it can be decoded at all, ``refuse`` never.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.
    Damage or None
        None where nothing was found.

    Raises
    ------
    ImageReadError
        If the bytes are no image of a known kind, too little of it is there, or it is too large.
    """
    return _decode(data, draft_side_px, max_pixels_px, damaged, is_judged=True)


def _decode(
    data: bytes, draft_side_px: int, max_pixels_px: int, damaged: str, *, is_judged: bool
) -> tuple[Image, Damage | None]:
    """Decode as :func:`decode_marked` does; unless it is judged, find no more than refuses it."""
    from PIL import ImageOps

    if is_raw(data):
        _check_size(measure_raw(data), max_pixels_px)
        preview, orientation = develop(data)
        if isinstance(preview, bytes):
            image, damage = _decode(
                preview, draft_side_px, max_pixels_px, damaged, is_judged=is_judged
            )
            return _turn(image, orientation), damage
        return preview, None
    mended, damage = judge_png(data) if data.startswith(_PNG) else (data, None)
    _refuse_damage(damage, damaged)
    with _opened(mended) as image:
        size_px = image.size
        _check_size(size_px, max_pixels_px)
        if draft_side_px and min(image.size) > draft_side_px:
            # The mode stays the file's own: converting is done below, alike for all.
            image.draft(image.mode, (draft_side_px, draft_side_px))
        loaded: Image = image
        if image.format in _JPEG and image.mode in _COLOURS:
            scale = max(1, round(size_px[0] / image.size[0]))
            loaded, damage = _load_jpeg(image, data, scale, is_judged=is_judged)
            _refuse_damage(damage, damaged)
        else:
            image.load()
        # Of a block that is no EXIF the file's own reader knows that nothing is to be read.
        if loaded is image or image.getexif().get(_ORIENTATION_TAG, 1) != 1:
            ImageOps.exif_transpose(loaded, in_place=True)
        return _to_rgb(loaded), damage


_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = frozenset({"JPEG", "MPO"})
# Colours of a JPEG, as Pillow and as the other decoder name them.
_COLOURS = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def _load_jpeg(
    image: Image, data: bytes, scale: int, *, is_judged: bool
) -> tuple[Image, Damage | None]:
    """Decode a JPEG by a reader that says what it had to skip, which Pillow does not.

    Both are libjpeg-turbo: what is whole is the same to the last bit. What is damaged and cannot be
    decoded by the one is left to the other, which says why not.
    """
    import simplejpeg
    from PIL import Image as PillowImage

    width_px, height_px = image.size
    read = functools.partial(
        simplejpeg.decode_jpeg, data, _COLOURS[image.mode], min_height=height_px,
        min_width=width_px,
    )  # fmt: skip
    judge = functools.partial(judge_jpeg, data, scale=scale, is_whole=is_judged)
    warning = ""
    try:
        pixels = read(strict=True)
    except ValueError as error:
        warning = str(error)
        try:
            pixels = read(strict=False)
        except ValueError:
            image.load()
            return image, judge(np.atleast_3d(np.asarray(image)), warning=warning)
    damage = judge(pixels, warning=warning)
    if pixels.shape[:2] != (height_px, width_px) or image.mode == "CMYK":
        # Of a few pixels the two round a fraction of the size differently; inks are inverted.
        if not warning:
            image.load()
            return image, damage
        pixels = 255 - pixels if image.mode == "CMYK" else pixels
    made = PillowImage.fromarray(pixels[..., 0] if image.mode == "L" else pixels, image.mode)
    made.info = image.info
    return made, damage


def _refuse_damage(damage: Damage | None, damaged: str) -> None:
    if damage is None or damaged == "keep" or (damaged == "mark" and damage.is_nearly_whole):
        return
    share = math.floor(100 * damage.share_present)
    msg = (
        f"damaged ({damage}): {share}% of its rows are there; --damaged keep takes it all the same"
    )
    raise ImageReadError(msg)


def _turn(image: Image, orientation: int) -> Image:
    from PIL import Image as PillowImage

    turns = {
        3: PillowImage.Transpose.ROTATE_180,
        6: PillowImage.Transpose.ROTATE_270,
        8: PillowImage.Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def decode_region(data: bytes, region: str, *, draft_side_px: int = 0) -> Image:
    """Decode what a region shows.

    Parameters
    ----------
    data : bytes
        Content of the file.
    region : str
        Its name, ``""`` for the whole picture.
    draft_side_px : int
        Least shorter side of what is returned, as for :func:`decode_image`.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    ImageReadError
        If the bytes are no whole image of a known kind.
    ValueError
        If there is no such region.
    """
    box = Region.parse(region)
    if box is None:
        return decode_image(data, draft_side_px=draft_side_px)
    facts = read_facts(data)
    draft_px = find_draft_side([box], (facts.width_px, facts.height_px), draft_side_px)
    image = decode_image(data, draft_side_px=draft_px)
    return image.crop(box.to_pixels(*image.size))


def make_upright(image: Image) -> Image:
    """Return a picture that was opened elsewhere as :func:`decode_image` returns its bytes.

    Parameters
    ----------
    image : PIL.Image.Image
        In any mode; it stays as it is.

    Raises
    ------
    ImageReadError
        If what is left to decode of it cannot be.
    """
    from PIL import ImageOps

    try:
        return _to_rgb(ImageOps.exif_transpose(image))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them raise
        raise ImageReadError(_explain(error)) from error


@contextlib.contextmanager
def ignore_pillow_warnings() -> Iterator[None]:
    """Let Pillow say nothing of odd EXIF data and sizes: what they mean is judged here.

    To be entered by the thread that starts others, never by these: the filters belong to the
    whole process, and threads that overlap would leave each other's behind.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextlib.contextmanager
def allow_pixels(max_pixels_px: int) -> Iterator[None]:
    """Let Pillow open images of so many pixels.

    To be entered by the thread that starts others: the setting belongs to the whole process.

    Parameters
    ----------
    max_pixels_px : int
        No less than Pillow's own limit is set.
    """
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    # Pillow warns of more than this, and refuses twice as much.
    Image.MAX_IMAGE_PIXELS = before and max(before, (max_pixels_px + 1) // 2)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image]:
    from PIL import Image

    if not data:
        msg = "the file is empty"
        raise ImageReadError(msg)
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        _learn_heif()
    try:
        with Image.open(io.BytesIO(find_page(data)), formats=_list_kinds()) as image:
            yield image
    except (ImageReadError, MemoryError):
        # Lack of memory is no fault of the picture.
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them raise
        raise ImageReadError(_explain(error)) from error


def _list_kinds() -> list[str]:
    from PIL import Image

    Image.init()
    return [kind for kind in _KINDS if kind in Image.OPEN]


def _learn_heif() -> None:
    """Teach Pillow to open HEIC, once in a process."""
    from PIL import Image

    if "HEIF" in Image.OPEN:
        return
    try:
        import pillow_heif
    except ImportError as error:
        msg = 'HEIC is read by an extra; install it: pip install "bioprobe[heif]"'
        raise ImageReadError(msg) from error
    pillow_heif.register_heif_opener()


@contextlib.contextmanager
def opened_exif(data: bytes) -> Iterator[Exif]:
    """Open the EXIF block of a picture, empty where it has none; nothing is decoded.

    Its inner blocks are read as they are asked for, so all has to be read inside.

    Yields
    ------
    PIL.Image.Exif

    Raises
    ------
    ImageReadError
        If the bytes do not begin as an image of a known kind does.
    """
    with _opened(data) as image:
        yield _read_exif(image, data)


def _read_exif(image: Image, data: bytes) -> Exif:
    from PIL import Image as PillowImage

    if image.format != "PNG":
        return image.getexif()
    # Pillow would decode a PNG, whatever its size, to find the block behind its pixels.
    block = _find_png_chunk(data, b"eXIf")
    if block:
        image.info["exif"] = block
    return PillowImage.Image.getexif(image)


def _find_png_chunk(data: bytes, name: bytes) -> bytes:
    start = 8  # after the signature, chunks of length, name, content and checksum follow
    while start + 8 <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] == name:
            return data[start + 8 : start + 8 + length]
        start += length + 12
    return b""


def _check_size(size_px: tuple[int, int], max_pixels_px: int) -> None:
    width_px, height_px = size_px
    if width_px * height_px > max_pixels_px:
        msg = (
            f"the image has {width_px} x {height_px} pixels, more than {max_pixels_px:,}; make it "
            f"smaller, or allow more: --max-pixels {width_px * height_px}"
        )
        raise ImageReadError(msg)


def _to_rgb(image: Image) -> Image:
    from PIL import Image as PillowImage

    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_8_bits(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = PillowImage.new("RGBA", layer.size, "white")
        return PillowImage.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _scale_to_8_bits(image: Image) -> Image:
    from PIL import Image as PillowImage

    values = np.asarray(image)
    strips = _cut_into_strips(values)
    highest = max((float(np.nan_to_num(strip).max(initial=0)) for strip in strips), default=0.0)
    full = 65535.0 if highest > 255 else 255.0
    if image.mode == "F" and highest <= 1:
        full = 1.0
    grey = np.empty(values.shape, dtype=np.uint8)
    for strip, target in zip(strips, _cut_into_strips(grey), strict=True):
        exact = np.nan_to_num(strip.astype(np.float64)) / full * 255.0
        target[...] = np.clip(exact, 0, 255).round()
    return PillowImage.fromarray(grey).convert("RGB")


def _cut_into_strips(values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    # As float64 the whole of a large scan would take eight bytes a pixel several times over.
    n_rows = max(1, _STRIP_PX // values.shape[1])
    return [values[start : start + n_rows] for start in range(0, len(values), n_rows)]


def _explain(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known kind"
    if isinstance(error, Image.DecompressionBombError):
        limit_px = Image.MAX_IMAGE_PIXELS or MAX_PIXELS_PX
        return (
            f"the image has more than {2 * limit_px:,} pixels; make it smaller, or allow more: "
            "--max-pixels"
        )
    text = str(error) or type(error).__name__
    return f"cannot be decoded: {text}"
