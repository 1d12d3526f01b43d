"""Raw photographs, and TIFFs whose first page is a reduced copy."""

from __future__ import annotations

import builtins
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioprobe.embedding.preparation import Listed, prepare
from bioprobe.errors import ImageReadError
from bioprobe.images.raw import find_page, is_raw
from bioprobe.images.reading import decode_image, read_facts

SIZE = (96, 64)
Tag = tuple[int, int, int, bytes]


def _short(tag: int, *values: int) -> Tag:
    return tag, 3, len(values), struct.pack(f"<{len(values)}H", *values)


def _long(tag: int, *values: int) -> Tag:
    return tag, 4, len(values), struct.pack(f"<{len(values)}I", *values)


def _bytes(tag: int, *values: int) -> Tag:
    return tag, 1, len(values), bytes(values)


def _rational(tag: int, kind: int, *values: int) -> Tag:
    return tag, kind, len(values), b"".join(struct.pack("<ii", one, 1) for one in values)


class _Tiff:
    """Write a TIFF by hand, directory by directory."""

    def __init__(self) -> None:
        self.data = bytearray(b"II*\0\0\0\0\0")

    def put(self, content: bytes) -> int:
        self.data += bytes(len(self.data) % 2)
        self.data += content
        return len(self.data) - len(content)

    def directory(self, tags: list[Tag], following: int = 0) -> int:
        entries = b""
        for tag, kind, count, value in sorted(tags):
            held = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", self.put(value))
            entries += struct.pack("<HHI", tag, kind, count) + held
        return self.put(struct.pack("<H", len(tags)) + entries + struct.pack("<I", following))

    def finish(self, first: int) -> bytes:
        self.data[4:8] = struct.pack("<I", first)
        return bytes(self.data)


def _page(tiff: _Tiff, pixels: np.ndarray, *, reduced: bool) -> list[Tag]:
    height, width, _ = pixels.shape
    return [
        _long(254, int(reduced)), _long(256, width), _long(257, height), _short(258, 8, 8, 8),
        _short(259, 1), _short(262, 2), _long(273, tiff.put(pixels.tobytes())), _short(277, 3),
        _long(278, height), _long(279, pixels.size), _short(284, 1),
    ]  # fmt: skip


def _paint(size: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((size[1], size[0], 3), colour, dtype=np.uint8)


def _write_dng(*, preview: bytes = b"", thumbnail: bool = True) -> bytes:
    """Write a small uncompressed mosaic whose thumbnail, 12 x 8, is of another colour."""
    tiff = _Tiff()
    width, height = SIZE
    mosaic = np.zeros((height, width), dtype="<u2")
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = 3000, 500
    mosaic[0::2, 1::2] = mosaic[1::2, 0::2] = 500
    raw = tiff.directory([
        _long(254, 0), _long(256, width), _long(257, height), _short(258, 16), _short(259, 1),
        _short(262, 32803), _long(273, tiff.put(mosaic.tobytes())), _short(277, 1),
        _long(278, height), _long(279, mosaic.nbytes), _short(284, 1), _short(33421, 2, 2),
        _bytes(33422, 0, 1, 1, 2), _short(50714, 0), _long(50717, 4095),
    ])  # fmt: skip
    below = [raw]
    if preview:
        with Image.open(io.BytesIO(preview)) as image:
            size = image.size
        below.append(tiff.directory([
            _long(254, 1), _long(256, size[0]), _long(257, size[1]), _short(258, 8, 8, 8),
            _short(259, 7), _short(262, 6), _long(273, tiff.put(preview)), _short(277, 3),
            _long(278, size[1]), _long(279, len(preview)), _short(284, 1),
        ]))  # fmt: skip
    page = _page(tiff, _paint((12, 8), (0, 0, 255)), reduced=thumbnail)
    camera = (50708, 2, 5, b"Made\0")
    matrix = _rational(50721, 10, 1, 0, 0, 0, 1, 0, 0, 0, 1)
    neutral = _rational(50728, 5, 1, 1, 1)
    return tiff.finish(tiff.directory([
        *page, (271, 2, 5, b"Made\0"), (272, 2, 5, b"Here\0"), _short(274, 1), _long(330, *below),
        _bytes(50706, 1, 4, 0, 0), _bytes(50707, 1, 1, 0, 0), camera, matrix, neutral,
        _short(50778, 21),
    ]))  # fmt: skip


def _jpeg(size: tuple[int, int], colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "JPEG")
    return stream.getvalue()


def test_a_raw_photograph_is_developed_where_its_preview_is_small() -> None:
    pytest.importorskip("rawpy")
    for data in (_write_dng(), _write_dng(preview=_jpeg((24, 16), "lime"))):
        assert is_raw(data)
        assert (read_facts(data).width_px, read_facts(data).height_px) == SIZE
        image = decode_image(data)
        assert image.size == SIZE
        red, green, blue = np.asarray(image)[32, 48].tolist()
        assert red > 2 * green
        assert red > 2 * blue


def test_a_preview_that_is_large_enough_is_the_picture() -> None:
    pytest.importorskip("rawpy")
    image = decode_image(_write_dng(preview=_jpeg((60, 40), "lime")))
    assert image.size == (60, 40)
    assert np.asarray(image)[20, 30].tolist()[1] > 250


def test_without_the_extra_a_raw_photograph_is_a_failure_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: object) -> object:
        if name == "rawpy":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    (tmp_path / "a.dng").write_bytes(_write_dng())
    prepared = prepare(Listed(str(tmp_path), "a.dng", {}), (), None)
    assert prepared.reason.endswith('install it: pip install "bioprobe[raw]"')


@pytest.mark.parametrize(
    "start",
    [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0", b"IIU\0\x08\0\0\0", b"II*\0\x10\0\0\0CR\x02\0",
     b"\0\0\0\x18ftypcrx \0\0\0\x01"],
)  # fmt: skip
def test_raw_files_are_told_by_their_content(start: bytes) -> None:
    assert is_raw(start.ljust(64, b"\0"))


@pytest.mark.parametrize("tag", [_short(259, 34713), _short(259, 32767), _short(262, 34892)])
def test_a_raw_page_below_a_plain_thumbnail_makes_it_a_raw_file(tag: Tag) -> None:
    tiff = _Tiff()
    below = tiff.directory([_long(254, 0), tag])
    page = [*_page(tiff, _paint((160, 120), (9, 9, 9)), reduced=True), _long(330, below)]
    assert is_raw(tiff.finish(tiff.directory(page)))


@pytest.mark.parametrize("below", [True, False])
def test_a_reduced_first_page_is_not_the_picture(below: bool) -> None:
    tiff = _Tiff()
    whole = tiff.directory(_page(tiff, _paint((40, 30), (200, 0, 0)), reduced=False))
    first = _page(tiff, _paint((8, 6), (0, 0, 200)), reduced=True)
    data = tiff.finish(
        tiff.directory([*first, _long(330, whole)]) if below else tiff.directory(first, whole)
    )
    assert not is_raw(data)
    assert (read_facts(data).width_px, read_facts(data).height_px) == (40, 30)
    image = decode_image(data)
    assert (image.size, np.asarray(image)[3, 3].tolist()) == ((40, 30), [200, 0, 0])


def test_a_tiff_of_reduced_pages_alone_is_refused_and_others_stay_as_they_are() -> None:
    tiff = _Tiff()
    data = tiff.finish(tiff.directory(_page(tiff, _paint((8, 6), (0, 0, 200)), reduced=True)))
    with pytest.raises(ImageReadError, match="reduced copies of a picture alone"):
        decode_image(data)
    plain = _Tiff()
    made = plain.finish(plain.directory(_page(plain, _paint((8, 6), (0, 9, 0)), reduced=False)))
    assert find_page(made) is made
    for cut in range(0, len(data), 7):
        is_raw(data[:cut])


def test_a_tiff_named_as_a_raw_photograph_is_not_embedded_by_what_may_be_a_thumbnail(
    tmp_path: Path,
) -> None:
    Image.new("RGB", (160, 120)).save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.NEF")
    prepared = prepare(Listed(str(tmp_path), "a.NEF", {}), (), None)
    assert prepared.reason.startswith("named as a raw photograph, of which it holds none")
