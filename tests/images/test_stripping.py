"""What is written beside pixels: taken out of copies, without touching a pixel."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bioprobe.errors import ImageReadError
from bioprobe.images.reading import decode_image, read_facts
from bioprobe.images.stripping import strip_metadata, write_anew

SERIAL, OWNER, PLACE = "SN-4711-0815", "Wanda Wildlife", "47.11"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    'syntax-ns#"><rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude='
    f'"{PLACE}"/></rdf:RDF></x:xmpmeta>'
).encode()


def _make_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = orientation, "Reconyx", "HP2X"
    exif[0x013B], exif[0x9C9D] = OWNER, OWNER.encode("utf-16-le")
    exif[0x8769] = {
        0x9003: "2024:05:13 12:30:45", 0xA431: SERIAL, 0xA430: OWNER, 0xA435: SERIAL,
        0x927C: SERIAL.encode(),
    }  # fmt: skip
    exif[0x8825] = {1: "N", 2: (47.0, 11.0, 0.0), 3: "E", 4: (8.0, 30.0, 0.0)}
    return exif.tobytes()


def _make(kind: str, orientation: int = 6, **options: Any) -> bytes:  # noqa: ANN401
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Author", OWNER)
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"] = info
    elif kind != "TIFF":
        options["xmp"] = XMP
    Image.fromarray(pixels).save(file, kind, exif=_make_exif(orientation), **options)
    return file.getvalue()


CASES = {
    "JPEG": _make("JPEG", comment=OWNER.encode()),
    "progressive JPEG": _make("JPEG", progressive=True),
    "JPEG with what a maker put behind": _make("JPEG") + SERIAL.encode() + _make("JPEG"),
    "PNG": _make("PNG") + SERIAL.encode(),
    "WebP": _make("WEBP", orientation=1, lossless=True),
    "WebP that lies": _make("WEBP", orientation=8, lossless=True),
    "TIFF": _make("TIFF", orientation=1),
}


@pytest.mark.parametrize("name", CASES)
def test_no_place_number_or_name_is_left_and_no_pixel_changes(name: str) -> None:
    data = CASES[name]
    assert _tell(data)
    stripped, suffix = strip_metadata(data)
    assert not _tell(stripped)
    assert np.array_equal(np.asarray(decode_image(stripped)), np.asarray(decode_image(data)))
    assert read_facts(stripped).width_px == read_facts(data).width_px
    assert suffix == (".png" if name in ("WebP that lies", "TIFF") else "")
    assert strip_metadata(stripped)[0] == stripped


def _tell(data: bytes) -> bool:
    """Whether a file still tells a place, a number or a name."""
    image = Image.open(io.BytesIO(data))
    secrets = [SERIAL.encode(), OWNER.encode(), OWNER.encode("utf-16-le"), PLACE.encode(), b"GPS"]
    return bool(image.getexif().get_ifd(0x8825)) or any(one in data for one in secrets)


def test_time_and_model_stay() -> None:
    with Image.open(io.BytesIO(strip_metadata(CASES["JPEG"])[0])) as image:
        exif = image.getexif()
    assert exif[0x0110] == "HP2X"
    assert exif.get_ifd(0x8769)[0x9003] == "2024:05:13 12:30:45"


def test_colours_stay() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG", "WEBP"):
        stripped = strip_metadata(_make(kind, orientation=1, icc_profile=profile))[0]
        with Image.open(io.BytesIO(stripped)) as image:
            assert image.info["icc_profile"] == profile, kind


def test_a_thumbnail_goes() -> None:
    data = CASES["JPEG"]
    place = data.index(b"\xff\xdb")
    thumbnail = b"JFXX\0\x10" + _make("JPEG")[:200]
    segment = b"\xff\xe0" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    stripped = strip_metadata(data[:place] + segment + data[place:])[0]
    assert b"JFXX" not in stripped


@pytest.mark.parametrize("data", [b"", b"text", b"RIFF\0\0\0\0WEBPjunk"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageReadError):
        strip_metadata(data)


def test_damaged_files_never_raise_anything_else() -> None:
    random = np.random.default_rng(1)
    for data in CASES.values():
        for _ in range(60):
            broken = bytearray(data[: random.integers(1, len(data))])
            broken[random.integers(0, len(broken))] ^= int(random.integers(1, 256))
            try:
                assert SERIAL.encode() not in strip_metadata(bytes(broken))[0]
            except ImageReadError:
                continue


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_anew_says_nothing(name: str) -> None:
    assert not _tell(write_anew(decode_image(CASES[name]), CASES[name])[0])
