"""From the file of each tool to the answer in its format, and back in: nothing is lost or moved."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioprobe.sources.files import SourceOptions
from bioprobe.sources.source import find_images
from tests.journeys import arranged
from tests.journeys.arranged import Shot

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("each_input_once")]

Ask = Callable[[str], str]
ZEROSHOT = "zeroshot --taxa taxa.csv --store store --output answers.csv"
GONE = "cam1/GONE.JPG"


def list_source(source: str, root: str | None = "set") -> pd.DataFrame:
    """Return what a source lists, as text, by picture and region."""
    options = SourceOptions(root=None if root is None else Path(root).absolute())
    frame = find_images([Path(source)], options).frame
    assert frame["path"].str.startswith("cam").all()
    return frame.astype(object).fillna("")


def read_answers(file: str = "answers.csv") -> pd.DataFrame:
    return pd.read_csv(file, keep_default_na=False)


def name_animals(frame: pd.DataFrame, file: str = "path") -> dict[tuple[str, str], str]:
    """Return the species of each picture and region that has one."""
    regions = frame["image_region"] if "image_region" in frame else [""] * len(frame)
    named = zip(frame[file], regions, frame["species"], strict=True)
    return {(name, region): species for name, region, species in named if species}


def list_boxes(shots: Iterable[Shot], category: str = "") -> set[tuple[str, str]]:
    """Return picture and region of the boxes that are sure."""
    return {
        (shot.name, ",".join(f"{side:g}" for side in box.sides))
        for shot in shots
        for box in shot.boxes
        if box.confidence > 0.2 and category in {"", box.category}
    }


def find_truth(shots: Iterable[Shot]) -> dict[tuple[str, str], str]:
    """Return the species of each animal's box."""
    return {
        (shot.name, region): shot.label["species"]
        for shot in shots
        for _, region in list_boxes([shot], "animal")
    }


def test_camtrap_dp(shots: Sequence[Shot], ask: Ask) -> None:
    arranged.write_camtrap_dp(Path("set"), shots)
    assert "27 regions of 12 pictures, 15 of them boxes; 0 failures" in ask("sources show set")
    assert "27 embedded" in ask("embed set --store store")
    ask(f"{ZEROSHOT} -k 1")
    said = ask("export answers.csv --store store --as camtrap-dp --package set --output merged")
    assert "27 observations, beside 27 that were there" in said
    before, after = (
        pd.read_csv(f"{folder}/observations.csv", dtype=str, keep_default_na=False)
        for folder in ("set", "merged")
    )
    pd.testing.assert_frame_equal(after[before.columns][: len(before)], before)

    answers = read_answers()
    for folder in ("merged", "new"):
        if folder == "new":
            pd.read_csv("set/deployments.csv").to_csv("places.csv", index=False)
            ask("export answers.csv --store store --as camtrap-dp --deployments places.csv "
                "--placeholders --output new")  # fmt: skip
        found = list_source(folder)
        mine = found[found["classified_by"].str.startswith("bioprobe")].copy()
        mine["image_region"] = mine["image_region"].str.partition("#")[0]
        is_animal = answers["content"] == "animal"
        assert name_animals(mine) == name_animals(answers[is_animal], "file_name")
        assert sorted(mine["content"]) == sorted(answers["content"])
        assert (mine["classification_method"] == "machine").all()
        assert len(found) == (54 if folder == "merged" else 27)
    merged = list_source("merged")
    people = merged[merged["classification_method"] == "human"]
    assert name_animals(people) == {
        (shot.name, ""): shot.label["species"] for shot in shots if shot.label
    }
    assert "27 embedded, 27 reused" in ask("embed merged --root set --store again")


@pytest.mark.parametrize("per", ["", " --per image"])
def test_megadetector(per: str, shots: Sequence[Shot], ask: Ask) -> None:
    arranged.write_megadetector(Path("set/boxes.json"), shots)
    said = ask("sources show set/boxes.json")
    assert "14 regions of 11 pictures, 14 of them boxes; 1 failures" in said
    assert f"{GONE}: the detector could not read it: image access" in said
    assert "14 embedded" in ask("embed set/boxes.json --store store")
    ask(ZEROSHOT + (per or " -k 1"))
    ask("export answers.csv --store store --as megadetector --output out.json")
    said = ask("sources show out.json")
    assert f"{GONE}: the detector could not read it: image access" in said
    found = list_source("out.json")
    boxes = list_boxes(shots)
    if per:
        # Of two of a kind the best box stands for both.
        boxes -= {("cam1/IMG_0003.JPG", "0.5,0.5,0.5,0.5")}
    keys = set(zip(found["path"], found["image_region"], strict=True))
    assert keys == boxes
    persons = found[found["detection_category"] == "human"]
    assert set(zip(persons["path"], persons["image_region"], strict=True)) == list_boxes(
        shots, "person"
    )
    assert (persons["content"] == "human").all()
    truth = find_truth(shots)
    assert name_animals(found) == {key: truth[key] for key in truth if key in boxes}
    assert set(found["detector"]) == {"md_v5a.0.0.pt"}
    confidences = {box.confidence for shot in shots for box in shot.boxes} - {0.08}
    assert set(found["detection_confidence"]) == confidences - ({0.71} if per else set())


def test_counts_per_image_go_along(shots: Sequence[Shot], ask: Ask) -> None:
    arranged.write_megadetector(Path("set/boxes.json"), shots)
    ask("embed set/boxes.json --store store")
    ask(ZEROSHOT + " --per image")
    ask("export answers.csv --store store --as wildlife-insights --placeholders --output wi.csv")
    counted = pd.read_csv("wi.csv").set_index(["location", "species"])["number_of_objects"]
    assert counted["cam1/IMG_0003.JPG", "canadensis"] == 2
    assert counted["cam1/IMG_0002.JPG", "concolor"] == 1


def test_written_pictures_hide_people_and_places(shots: Sequence[Shot], ask: Ask) -> None:
    arranged.write_megadetector(Path("set/boxes.json"), shots)
    ask("embed set/boxes.json --store store")
    ask("search --text moose -k 14 --store store --html found.html --output found.csv")
    ask(ZEROSHOT + " -k 1 --html answers.html --people obscure --copy-to copies/asked")
    ask("filter --repeats --store store --output f.csv --people obscure --copy-to copies/kept")
    pages = [_read_page(Path(f"{name}.html")) for name in ("found", "answers")]
    copies = {file: file.read_bytes() for file in Path("copies").rglob("*.JPG")}
    assert len(copies) == 12 + 11
    for data in (*copies.values(), *(one for page in pages for one in page)):
        _check_untold(data)
    for shot in shots:
        for file in [one for one in copies if one.as_posix().endswith(f"/{shot.name}")]:
            _check_obscured(shot, Path("set") / shot.name, file)


def _read_page(file: Path) -> list[bytes]:
    text = file.read_text(encoding="utf-8")
    found = re.findall(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)", text)
    assert len(found) >= 11
    return [base64.b64decode(one) for one in found]


def _check_untold(data: bytes) -> None:
    assert b"4711" not in data
    with Image.open(io.BytesIO(data)) as image:
        assert not image.getexif().get_ifd(0x8825)
        assert 0xA431 not in image.getexif().get_ifd(0x8769)


def _check_obscured(shot: Shot, original: Path, copy: Path) -> None:
    with Image.open(original) as one, Image.open(copy) as other:
        was, now = (np.asarray(image.convert("RGB"), dtype=float) for image in (one, other))
    person = np.zeros(was.shape[:2], dtype=bool)
    height, width = was.shape[0], was.shape[1]
    for box in shot.boxes:
        if box.category == "person":
            x, y, wide, high = box.sides
            rows = slice(int(y * height) + 2, int((y + high) * height) - 2)
            person[rows, int(x * width) + 2 : int((x + wide) * width) - 2] = True
    change = np.abs(was - now).mean(axis=2)
    if not person.any():
        assert change.max() == 0
        return
    # What is left of a person has no detail: next to none of the variance within eight pixels.
    assert _measure_detail(now, person) < 0.1 * _measure_detail(was, person)
    assert np.median(change[~person]) < 4


def _measure_detail(pixels: np.ndarray, within: np.ndarray) -> float:
    steps = np.abs(np.diff(pixels, axis=1)).mean(axis=2)
    return float(np.median(steps[within[:, 1:]]) + steps[within[:, 1:]].mean() / 10)


@pytest.mark.parametrize("version", [4, 5])
def test_speciesnet(version: int, shots: Sequence[Shot], ask: Ask) -> None:
    write = {4: arranged.write_speciesnet_4, 5: arranged.write_speciesnet_5}[version]
    write(Path("set/sn.json"), shots)
    said = ask("sources show set/sn.json")
    assert "14 regions of 11 pictures, 14 of them boxes; 1 failures" in said
    first = list_source("set/sn.json", None)
    humans = first[first["content"] == "human"]
    if version == 4:
        # A picture's answer "human" is the person's box, not that of the animal beside.
        assert set(humans["detection_category"]) == {"human"}
    ask("embed set/sn.json --store store")
    ask(f"{ZEROSHOT} -k 1")
    ask("export answers.csv --store store --as speciesnet --output out.json")
    assert f"{GONE}: SpeciesNet failed: CLASSIFIER, DETECTOR" in ask("sources show out.json")
    found = list_source("out.json")
    assert set(zip(found["path"], found["image_region"], strict=True)) == list_boxes(shots)
    truth = find_truth(shots)
    assert name_animals(found) == truth
    persons = found[found["detection_category"] == "human"]
    assert list(persons["content"]) == ["human", "human"]
    assert found["labels_from"].str.startswith(("machine:bioprobe ", "")).all()
    assert not found["labels_from"].str.contains("SpeciesNet").any()
    written = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert written["info"]["format_version"] == "20261015"
    assert [one["filepath"] for one in written["predictions"]] == [
        *(shot.name for shot in shots if shot.boxes), GONE,
    ]  # fmt: skip


def test_darwin_core(shots: Sequence[Shot], ask: Ask) -> None:
    arranged.write_darwin_core(Path("archive.zip"), shots, Path("set"))
    assert "11 regions of 11 pictures" in ask("sources show archive.zip")
    assert "11 embedded" in ask("embed archive.zip --store store")
    ask(f"{ZEROSHOT} -k 1")
    ask("export answers.csv --store store --as darwin-core --output out")
    found = list_source("out")
    truth = {(shot.name, ""): shot for shot in shots if shot.label}
    assert name_animals(found) == {key: shot.label["species"] for key, shot in truth.items()}
    for row in found.to_dict("records"):
        shot = truth[row["path"], ""]
        assert row["captured_at"] == f"{shot.time}Z"
        assert (row["latitude"], row["longitude"]) == arranged.PLACES[shot.camera]
        assert row["family"] == shot.label["family"]
    with zipfile.ZipFile("again.zip", "w") as archive:
        for file in Path("out").iterdir():
            archive.write(file, file.name)
        for shot in shots:
            archive.write(Path("set") / shot.name, shot.name)
    assert "11 embedded, 0 reused" in ask("embed again.zip --store again")


def test_wildlife_insights(shots: Sequence[Shot], ask: Ask) -> None:
    arranged.write_wildlife_insights(Path("set"), shots)
    assert "content: animal 11, blank 1" in ask("sources show set")
    assert "12 embedded" in ask("embed set --store store")
    ask(f"{ZEROSHOT} -k 1")
    ask("export answers.csv --store store --as wildlife-insights --output set/answers.csv")
    said = ask("sources show set/answers.csv")
    assert "is taken for wildlife-insights" in said
    first, again = list_source("set", None), list_source("set/answers.csv", None)
    kept = ["path", "species", "content", "deployment_id", "media_id", "captured_at"]
    pd.testing.assert_frame_equal(first[kept].astype(str), again[kept].astype(str))


def test_timelapse(shots: Sequence[Shot], ask: Ask) -> None:
    arranged.write_timelapse(Path("set/table.csv"), shots)
    assert "12 regions of 12 pictures, 0 of them boxes; 0 failures" in ask(
        "sources show set/table.csv"
    )
    assert "12 embedded" in ask("embed set/table.csv --store store")
    ask(f"{ZEROSHOT} -k 1")
    ask("export answers.csv --store store --as megadetector --output set/boxes.json")
    written: dict[str, Any] = json.loads(Path("set/boxes.json").read_text(encoding="utf-8"))
    # Timelapse finds pictures by their path from its root, with either slash.
    names = [image["file"] for image in written["images"]]
    assert names == [shot.name for shot in shots]
    assert all((Path("set") / name).is_file() for name in names)
    assert [bool(image["detections"]) for image in written["images"]] == [
        bool(shot.label) for shot in shots
    ]
    found = list_source("set/boxes.json")
    assert {name: species for (name, _), species in name_animals(found).items()} == {
        shot.name: shot.label["species"] for shot in shots if shot.label
    }


def test_coco(shots: Sequence[Shot], ask: Ask) -> None:
    arranged.write_coco(Path("set/coco.json"), shots)
    assert "13 regions of 12 pictures, 12 of them boxes; 0 failures" in ask(
        "sources show set/coco.json"
    )
    ask("embed set/coco.json --store store")
    ask(f"{ZEROSHOT} -k 1")
    ask("export answers.csv --store store --as coco --output out.json")
    first, again = list_source("set/coco.json", None), list_source("out.json")
    kept = ["path", "image_region", "species", "content", "location", "sequence_id", "captured_at"]
    pd.testing.assert_frame_equal(first[kept], again[kept])
