"""Keywords that photo programs read: what is written is what they find."""

import io
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image, ImageOps

from bioprobe.images.regions import Region
from bioprobe.images.stripping import strip_metadata
from bioprobe.images.xmp import Keyword, insert_xmp, lay, read_orientation, write_xmp

LION = Keyword(("Animalia", "Chordata", "Mammalia", "Panthera leo"), Region(0.25, 0.5, 0.25, 0.25),
               ("lion",))  # fmt: skip
ODD = Keyword(("a|b/c", 'rock & "roll" <Ä>\x01'))
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def _read(packet: bytes) -> dict[str, list[str]]:
    root = ET.fromstring(packet)
    return {
        element.tag.rpartition("}")[2]: [item.text or "" for item in element.iter(f"{RDF}li")]
        for element in root[0][0]
    }


def test_keywords_are_in_the_three_places() -> None:
    found = _read(write_xmp([LION, ODD], width_px=400, height_px=200))
    assert found["subject"] == ["Panthera leo", "lion", 'rock & "roll" <Ä>']
    assert found["hierarchicalSubject"] == [
        "Animalia|Chordata|Mammalia|Panthera leo", 'a/b/c|rock & "roll" <Ä>',
    ]  # fmt: skip
    assert found["TagsList"] == [
        "Animalia/Chordata/Mammalia/Panthera leo",
        'a|b|c/rock & "roll" <Ä>',
    ]
    assert "Regions" in found
    assert "Regions" not in _read(write_xmp([ODD]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_lies_where_the_stored_picture_has_it(orientation: int) -> None:
    """A white box of the stored picture, found again in the picture made upright by Pillow."""
    stored = np.zeros((40, 80), dtype=np.uint8)
    stored[10:20, 50:70] = 255
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    height, width = upright.shape
    rows, columns = np.flatnonzero(upright.any(axis=1)), np.flatnonzero(upright.any(axis=0))
    box = Region(columns[0] / width, rows[0] / height, len(columns) / width, len(rows) / height)
    assert lay(box, orientation) == pytest.approx((50 / 80, 10 / 40, 20 / 80, 10 / 40))


def _draw(**options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(file, "JPEG", **options)
    return file.getvalue()


def test_a_copy_carries_its_keywords() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = strip_metadata(_draw(exif=exif))[0]
    packet = write_xmp([LION], width_px=20, height_px=40, orientation=read_orientation(data))
    with Image.open(io.BytesIO(insert_xmp(data, packet))) as image:
        packet_read = image.info["xmp"]
        assert image.getexif()[0x0112] == 6
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(data))))
    assert _read(packet_read)["hierarchicalSubject"] == ["Animalia|Chordata|Mammalia|Panthera leo"]
    assert b'stDim:w="40"' in packet_read


def test_another_kind_of_file_stays_and_too_much_is_refused() -> None:
    assert insert_xmp(b"\x89PNG", b"packet") == b"\x89PNG"
    with pytest.raises(ValueError, match="70,029 bytes of keywords"):
        insert_xmp(_draw(), b"x" * 70_000)
    assert read_orientation(b"no picture") == 1


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not here")
def test_exiftool_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.xmp").write_bytes(write_xmp([LION], width_px=400, height_px=200))
    command = ["exiftool", "-s", "-S", "-XMP-lr:HierarchicalSubject", "-XMP-digiKam:TagsList",
               "-XMP-dc:Subject", "-RegionName", "-RegionAreaX", "-validate", "a.xmp"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
    assert done.stdout.splitlines() == [
        "Animalia|Chordata|Mammalia|Panthera leo", "Animalia/Chordata/Mammalia/Panthera leo",
        "Panthera leo, lion", "Panthera leo", "0.375000", "OK",
    ]  # fmt: skip
