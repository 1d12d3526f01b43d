from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from bioprobe.errors import ImageReadError
from bioprobe.images import ImageFacts, decode_image, read_facts
from bioprobe.images.reading import MAX_PIXELS_PX, hash_bytes, ignore_pillow_warnings
from tests.conftest import draw_picture

Pixels = list[list[tuple[int, ...]]]

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0, 0, 0)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _decode(data: bytes) -> Pixels:
    image = decode_image(data)
    assert image.mode == "RGB"
    return [[tuple(pixel) for pixel in row] for row in np.asarray(image).tolist()]


def _row(mode: str, *pixels: float | tuple[int, ...]) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    return image


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_colours_are_kept(kind: str) -> None:
    assert _decode(_encode(_row("RGB", RED, GREEN, BLUE), kind)) == [[RED, GREEN, BLUE]]


def test_webp_is_read() -> None:
    assert _decode(_encode(_row("RGB", RED, BLUE), "WEBP", lossless=True)) == [[RED, BLUE]]


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_kinds_with_loss_are_read(kind: str) -> None:
    pixels = np.asarray(decode_image(_encode(Image.new("RGB", (16, 16), (200, 100, 50)), kind)))
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (_row("L", 0, 100, 255), [BLACK, (100,) * 3, WHITE]),
        (_row("1", 0, 1), [BLACK, WHITE]),
        # Half transparent black over white is the middle grey.
        (_row("LA", (0, 255), (0, 128), (0, 0)), [BLACK, (127,) * 3, WHITE]),
        (_row("RGBA", (*RED, 255), (*RED, 0), (0, 0, 0, 128)), [RED, WHITE, (127,) * 3]),
        (_row("RGB", RED, BLUE).quantize(4), [RED, BLUE]),
    ],
    ids=["L", "1", "LA", "RGBA", "P"],
)
def test_every_mode_of_png_becomes_rgb(image: Image.Image, expected: list[tuple[int, ...]]) -> None:
    assert _decode(_encode(image, "PNG")) == [expected]


def _palette(*, transparent: int) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    return _encode(image, "PNG", transparency=transparent)


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    assert _decode(_palette(transparent=0)) == [[WHITE, BLUE]]
    assert _decode(_palette(transparent=1)) == [[RED, WHITE]]


def test_a_palette_with_several_alphas_is_blended() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*BLACK, *BLUE])
    image.putpixel((1, 0), 1)
    assert _decode(_encode(image, "PNG", transparency=b"\x80\xff")) == [[(127,) * 3, BLUE]]


@pytest.mark.parametrize(
    ("image", "colour"), [(_row("RGB", RED, BLUE), RED), (_row("L", 9, 200), 9)], ids=["RGB", "L"]
)
def test_a_colour_that_stands_for_transparent_is_white(
    image: Image.Image, colour: int | tuple[int, ...]
) -> None:
    first, second = _decode(_encode(image, "PNG", transparency=colour))[0]
    assert first == WHITE
    assert second in {BLUE, (200,) * 3}


def test_cmyk_becomes_rgb() -> None:
    image = _row("CMYK", (0, 255, 255, 0), (0, 0, 0, 255), (0, 0, 0, 0))
    assert _decode(_encode(image, "TIFF")) == [[RED, BLACK, WHITE]]


def test_a_cmyk_jpeg_has_the_colours_it_was_saved_with() -> None:
    data = _encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert read_facts(data).mode == "CMYK"
    assert np.abs(np.asarray(decode_image(data)).astype(int) - RED).max() <= 6


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8_bits(kind: str) -> None:
    image = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16))
    data = _encode(image, kind)
    assert read_facts(data).mode == "I;16"
    assert _decode(data) == [[BLACK, (128,) * 3, WHITE]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 128, 255]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0, 32768, 65535]], dtype=np.int32), [0, 128, 255]),
        (np.array([[-5, 70000, 65535]], dtype=np.int32), [0, 255, 255]),
        (np.array([[0, 0.5, 1]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0, 128, 255]], dtype=np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.5, 1]], dtype=np.float32), [0, 128, 255]),
    ],
    ids=["8-bit", "16-bit", "beyond", "unit", "float 8-bit", "nan"],
)
def test_numbers_are_scaled_by_the_range_they_fill(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], expected: list[int]
) -> None:
    data = _encode(Image.fromarray(values), "TIFF")
    assert _decode(data) == [[(grey,) * 3 for grey in expected]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = _encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert _decode(data) == [[RED] * 4] * 4


# A 3 x 2 picture, and where its pixels lie before each EXIF orientation sets it upright.
UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: UPRIGHT.T[::-1],
    7: UPRIGHT.T[::-1, ::-1],
    8: UPRIGHT.T[:, ::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_picture_is_set_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _encode(Image.fromarray(np.ascontiguousarray(STORED[orientation])), kind, exif=exif)
    np.testing.assert_array_equal(np.asarray(decode_image(data))[:, :, 0], UPRIGHT)
    assert read_facts(data) == ImageFacts(3, 2, "L")


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_means_nothing_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _encode(Image.fromarray(UPRIGHT), "PNG", exif=exif)
    np.testing.assert_array_equal(np.asarray(decode_image(data))[:, :, 0], UPRIGHT)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_the_facts_are_those_of_the_file(mode: str) -> None:
    image = Image.new("RGB", (5, 7)).convert(mode)
    assert read_facts(_encode(image, "PNG")) == ImageFacts(5, 7, mode)


EXIF_CUT = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03"


@pytest.mark.parametrize("exif", [b"Exif\0\0not an EXIF block", EXIF_CUT])
def test_a_damaged_exif_block_does_not_lose_the_picture(exif: bytes) -> None:
    data = _encode(Image.new("RGB", (8, 6), RED), "JPEG", exif=exif)
    with ignore_pillow_warnings():
        assert decode_image(data).size == (8, 6)
        assert read_facts(data).width_px == 8


def _write_png_header(width_px: int, height_px: int) -> bytes:
    """Write a black-and-white PNG that says its size and holds no pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width_px, height_px, 1, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    message = (
        r"^the image has more than 178,956,970 pixels; make it smaller, or allow more: --max-p"
    )
    with pytest.raises(ImageReadError, match=message):
        decode_image(_write_png_header(20_000, 10_000))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_is_what_can_be_decoded() -> None:
    # 13,377 squared is the largest square below the limit: it fails only for want of pixels.
    assert 13_377**2 <= MAX_PIXELS_PX < 13_378**2
    with pytest.raises(ImageReadError, match=r"^(damaged|cannot be decoded: image file is trunc)"):
        decode_image(_write_png_header(13_377, 13_377))


def test_the_limit_can_be_chosen() -> None:
    data = _encode(Image.new("RGB", (10, 8)), "PNG")
    assert decode_image(data, max_pixels_px=80).size == (10, 8)
    message = "10 x 8 pixels, more than 79; make it smaller, or allow more: --max-pixels 80"
    with pytest.raises(ImageReadError, match=message):
        decode_image(data, max_pixels_px=79)


def _truncated() -> bytes:
    data = _encode(draw_picture(1, (200, 150)), "JPEG")
    return data[: len(data) // 2]


def test_a_truncated_file_is_refused() -> None:
    data = _truncated()
    assert read_facts(data).width_px == 200
    with pytest.raises(
        ImageReadError,
        match=r"^damaged \(no end marker, flat band.*\): \d+% of its rows",
    ):
        decode_image(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "^the file is empty$"),
        (b"only text", "^not an image of a known kind$"),
        # A program, which Pillow would start Ghostscript to run.
        (_encode(Image.new("L", (4, 4)), "EPS"), "^not an image of a known kind$"),
        (b"\xff\xd8\xff", "^not an image of a known kind$"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(data: bytes, problem: str) -> None:
    for read in (decode_image, read_facts):
        with pytest.raises(ImageReadError, match=problem):
            read(data)


def test_the_hash_is_sha_256() -> None:
    assert hash_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    data = _encode(Image.new("RGB", (60, 60)), "JPEG")
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [decode_image(data) for _ in range(200)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_the_facts_of_a_png_are_read_without_decoding_it() -> None:
    # There are no pixels in it to decode.
    assert read_facts(_write_png_header(9000, 7000)) == ImageFacts(9000, 7000, "1")


def test_an_orientation_behind_the_pixels_of_a_png_is_read() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    data = _encode(Image.new("L", (3, 2)), "PNG")
    data = data[:-12] + chunk + data[-12:]
    assert read_facts(data) == ImageFacts(2, 3, "L")
    assert decode_image(data).size == (2, 3)


def test_a_large_16_bit_scan_is_scaled_alike_in_all_its_parts() -> None:
    values = np.arange(1500 * 1700, dtype=np.uint32).reshape(1500, 1700) % 65536
    data = _encode(Image.fromarray(values.astype(np.uint16)), "TIFF")
    expected = (values / 65535 * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(decode_image(data))[:, :, 1], expected)
