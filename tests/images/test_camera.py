from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from bioprobe.images.camera import CameraTally, read_camera, write_time

GPS = {1: "S", 2: (33.0, 51.0, 30.5), 3: "E", 4: (151.0, 12.0, 0.0)}


def _write(
    kind: str = "JPEG",
    *,
    main: dict[int, Any] | None = None,
    inner: dict[int, Any] | None = None,
    place: dict[int, Any] | None = None,
) -> bytes:
    exif = Image.Exif()
    exif.update(main or {})
    exif.get_ifd(0x8769).update(inner or {})
    exif.get_ifd(0x8825).update(place or {})
    file = io.BytesIO()
    # Pillow writes the inner blocks of a TIFF as tags of it alone.
    blocks = {**(main or {}), 0x8769: inner or {}, 0x8825: place or {}}
    given: dict[str, Any] = {"tiffinfo": blocks} if kind == "TIFF" else {"exif": exif}
    Image.new("RGB", (8, 6), "green").save(file, kind, **given)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_date_camera_and_place_are_read_of_every_kind(kind: str) -> None:
    data = _write(
        kind,
        main={0x010F: "RECONYX\0\0", 0x0110: "HP2X", 0x0132: "2030:01:01 00:00:00"},
        inner={0x9003: "2024:05:13 12:30:45", 0x9291: "07", 0x9011: "-03:00", 0xA431: "H9 1"},
        place=GPS,
    )
    assert read_camera(data) == {
        "captured_at": "2024-05-13T12:30:45.07-03:00",
        "camera": "RECONYX HP2X H9 1",
        "latitude": -33.858472,
        "longitude": 151.2,
    }


def test_the_date_of_an_edit_is_not_when_the_picture_was_taken() -> None:
    assert read_camera(_write(main={0x0132: "2030:01:01 00:00:00"})) == {}


@pytest.mark.parametrize(
    "taken", ["0000:00:00 00:00:00", "    :  :     :  :  ", "2024:13:45 12:00:00", "", "yesterday"]
)
def test_what_is_no_date_is_not_said(taken: str) -> None:
    assert write_time(taken) == ""


@pytest.mark.parametrize(
    "place",
    [
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
        GPS | {9: "V"},
        GPS | {4: (181.0, 0.0, 0.0)},
        GPS | {2: (IFDRational(0, 0), 0.0, 0.0)},
        {1: "N", 2: (1.0, 0.0, 0.0)},
    ],
)
def test_a_place_without_a_fix_is_not_said(place: dict[int, Any]) -> None:
    assert read_camera(_write(place=place)) == {}


def test_a_camera_without_a_number_says_so() -> None:
    assert read_camera(_write(main={0x010F: "Canon", 0x0110: "Canon EOS R5"})) == {
        "camera": "Canon EOS R5 (no serial number)"
    }


@pytest.mark.parametrize("length", [30, 60, 90, 150])
def test_a_broken_block_says_nothing_and_raises_nothing(length: int) -> None:
    whole = _write(inner={0x9003: "2024:05:13 12:30:45"}, place=GPS)
    begin = whole.index(b"Exif")
    broken = whole[: begin + length - 20] + b"\xff" * 20 + whole[begin + length :]
    assert set(read_camera(broken)) <= {"captured_at", "latitude", "longitude"}


def test_what_is_known_stays_and_a_contradiction_is_counted() -> None:
    tally, said = CameraTally(), {"captured_at": "2024-05-13T12:30:45", "latitude": 10.00004}
    assert tally.fill({"latitude": "10"}, said) == {"captured_at": "2024-05-13T12:30:45"}
    for known in ("2024:05:13 12:30:45", "2024-05-13 12:30", "2024-05-13"):
        assert tally.fill({"captured_at": known}, said) == {"latitude": 10.00004}
    assert tally.count().n_conflicts == {}
    tally.fill({"captured_at": "2023-05-13 12:30:45", "latitude": 11}, said)
    counts = tally.count()
    assert counts.n_conflicts == {"captured_at": 1, "latitude": 1}
    assert counts.examples["latitude"] == ("11", "10.00004")
    assert (counts.n_read, counts.n_said, counts.n_filled["captured_at"]) == (
        5, {"captured_at": 5, "latitude": 5}, 1
    )  # fmt: skip
