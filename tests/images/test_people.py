"""People are obscured wherever a picture is shown, and left out of copies unless asked for."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioprobe.errors import MisuseError
from bioprobe.images import ImageTable
from bioprobe.images.copying import Copying, copy_pictures
from bioprobe.images.location import ImageLocation
from bioprobe.images.people import WHOLE, find_people, obscure
from bioprobe.images.reading import decode_image, hash_bytes
from bioprobe.images.regions import Region
from bioprobe.page.html import make_thumbnail

BOX = Region(0.25, 0.25, 0.25, 0.5)
PLACE = {1: "N", 2: (47.0, 11.0, 0.0)}


def _draw(path: Path, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (80, 160, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x8825] = PLACE
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95, exif=exif)
    return path.read_bytes()


@pytest.fixture
def images(tmp_path: Path) -> ImageTable:
    """Two cameras with pictures of the same name: an animal, a person's box, a person somewhere."""
    rows = []
    for seed, (path, said) in enumerate(
        [
            ("CAM1/IMG_1.JPG", {}),
            ("CAM2/IMG_1.JPG", {"image_region": BOX.name, "detection_category": "person"}),
            ("CAM2/IMG_1.JPG", {"image_region": "0.6,0.1,0.2,0.2", "detection_category": "animal"}),
            ("CAM2/IMG_2.JPG", {"content": "human"}),
        ]
    ):
        data = _draw(tmp_path / "photos" / path, min(seed, 1) + 2 * path.endswith("2.JPG"))
        folder, _, name = path.partition("/")
        root = str(tmp_path / "photos" / folder)
        rows.append({"root": root, "path": name, "sha256": hash_bytes(data), **said})
    return ImageTable.build(pd.DataFrame(rows))


def test_people_are_found_by_boxes_and_content(images: ImageTable) -> None:
    found = {
        Path(root).name + "/" + path: at for (root, path), at in find_people(images.frame).items()
    }
    assert found == {"CAM2/IMG_1.JPG": (BOX,), "CAM2/IMG_2.JPG": (WHOLE,)}


def test_a_persons_pixels_are_gone_and_no_others() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 160, 3), dtype=np.uint8)
    hidden = np.asarray(obscure(Image.fromarray(pixels), [BOX]))
    left, upper, right, lower = 38, 18, 82, 62  # the box and a twentieth of it
    outside = np.ones(pixels.shape[:2], dtype=bool)
    outside[upper:lower, left:right] = False
    assert np.array_equal(hidden[outside], pixels[outside])
    inside = hidden[20:60, 40:80].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) <= 36
    assert np.abs(inside.astype(int) - pixels[20:60, 40:80].reshape(-1, 3)).mean() > 30


@pytest.mark.parametrize(
    ("people", "shown", "hidden"), [("obscure", 30, 5), ("keep", 30, 30), ("leave-out", 5, 5)]
)
def test_pages_obscure_people(images: ImageTable, people: str, shown: int, hidden: int) -> None:
    """How much the pixels of a thumbnail vary, beside the person and in the box."""
    place = dataclasses.replace(images.with_people(people).locate(1), region="")
    data = base64.b64decode(make_thumbnail(place, 160).partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float)
    parts = {"beside": pixels[20:60, 100:150], "box": pixels[22:58, 44:78]}
    varies = {name: np.abs(np.diff(part, axis=1)).mean() for name, part in parts.items()}
    assert (varies["beside"] > 10) == (shown == 30)
    assert (varies["box"] > 10) == (hidden == 30)


def test_a_region_is_shown_with_the_people_beside_it_obscured(images: ImageTable) -> None:
    """The thumbnail of an animal's box shows what is around it: the person's box too."""
    place = images.locate(2)
    shown = {people: make_thumbnail(images.with_people(people).locate(2), 160)
             for people in ("keep", "obscure")}  # fmt: skip
    assert place.region == "0.6,0.1,0.2,0.2"
    assert shown["keep"] != shown["obscure"]


def _copy(images: ImageTable, folder: Path, **options: object) -> tuple[list[str], str]:
    copying = Copying(folder, **options)  # type: ignore[arg-type]
    labels = ["Felidae", "Ursidae", "Ursidae", ""]
    notes = copy_pictures(images, np.arange(4), copying, labels=labels)
    names = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if not f.is_dir())
    return names, "; ".join(map(str, notes))


def test_copies_leave_people_out_and_say_no_place(images: ImageTable, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    names, said = _copy(images, folder)
    assert names == ["Felidae/CAM1/IMG_1.JPG"]
    assert "copied 1 pictures" in said
    assert "left out 2 pictures with people" in said
    copy = (folder / names[0]).read_bytes()
    assert not Image.open(io.BytesIO(copy)).getexif().get_ifd(0x8825)
    assert np.array_equal(
        np.asarray(decode_image(copy)), np.asarray(decode_image(images.locate(0).read_bytes()))
    )


def test_copies_obscure_people(images: ImageTable, tmp_path: Path) -> None:
    names, said = _copy(images, tmp_path / "out", people="obscure")
    assert names == ["Felidae/CAM1/IMG_1.JPG", "Ursidae/CAM2/IMG_1.JPG", "no answer/IMG_2.JPG"]
    assert "people are obscured in 2 of them" in said
    for row, name in ((1, names[1]), (3, names[2])):
        with Image.open(tmp_path / "out" / name) as image:
            assert not image.getexif().get_ifd(0x8825)
            copy = np.asarray(image, dtype=int)
        whole = np.asarray(decode_image(images.locate(row).read_bytes()), dtype=int)
        assert np.abs(copy - whole)[20:60, 40:80].mean() > 30
        assert (np.abs(copy - whole)[:, 100:].mean() < 5) == (row == 1)


def test_what_is_kept_is_the_file(images: ImageTable, tmp_path: Path) -> None:
    names, said = _copy(images, tmp_path / "out", people="keep", keep_metadata=True)
    assert len(names) == 3
    assert "taken out" not in said
    for row, name in ((0, names[0]), (1, names[1]), (3, names[2])):
        assert (tmp_path / "out" / name).read_bytes() == images.locate(row).read_bytes()


def test_nothing_that_is_there_is_replaced(images: ImageTable, tmp_path: Path) -> None:
    other = tmp_path / "out" / "Felidae" / "CAM1" / "IMG_1.JPG"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another")
    names, _ = _copy(images, tmp_path / "out")
    assert names == ["Felidae/CAM1/IMG_1 (2).JPG", "Felidae/CAM1/IMG_1.JPG"]
    assert other.read_bytes() == b"another"
    again, said = _copy(images, tmp_path / "out")
    assert again == names
    assert "copied 0 pictures" in said
    assert "1 were there already" in said


def test_links_lead_to_the_files(images: ImageTable, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    names, said = _copy(images, folder, links=True)
    assert names == ["Felidae/CAM1/IMG_1.JPG"]
    assert (folder / names[0]).resolve() == images.find_file(0)
    assert "left out 2" in said
    assert _copy(images, folder, links=True)[0] == names
    with pytest.raises(MisuseError, match="a link shows the file as it is"):
        Copying(folder, "obscure", links=True)


def test_names_stay_below_the_folder(tmp_path: Path) -> None:
    data = _draw(tmp_path / "secret" / "a.jpg", 0)
    path = f"../{tmp_path.name}/secret/a.jpg"
    row = {"root": str(tmp_path), "path": path, "sha256": hash_bytes(data)}
    folder = tmp_path / "deep" / "out"
    images = ImageTable.build(pd.DataFrame([row]))
    copy_pictures(images, np.arange(1), Copying(folder), labels=["../../up/x"])
    assert len(list(folder.rglob("*.jpg"))) == 1
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


def test_what_cannot_be_read_is_said_and_the_rest_goes_on(
    images: ImageTable, tmp_path: Path
) -> None:
    images.find_file(3).unlink()
    images.find_file(0).write_bytes(b"changed since")
    names, said = _copy(images, tmp_path / "out", people="keep")
    assert names == ["Ursidae/CAM2/IMG_1.JPG"]
    assert "2 pictures could not be copied" in said
    assert "the file is not the one that was embedded" in said


def test_a_place_without_a_file_is_no_path() -> None:
    assert ImageLocation("dataset:x#train", "0").find_file() is None
    assert ImageLocation("https://example.org", "a.jpg").find_file() is None
