"""What detectors and annotation files say of pictures, in each tool's own form."""

from __future__ import annotations

import copy
import json
import math
import random
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioprobe.errors import SourceError
from bioprobe.images.regions import Region
from bioprobe.sources.entries import read_time
from bioprobe.sources.listing import Listing
from bioprobe.sources.machine_labels import read_machine_labels
from bioprobe.sources.source import SourceOptions, find_images, recognise_source

WIDTH_PX, HEIGHT_PX = 40, 20
TIGER = "0a;mammalia;carnivora;felidae;panthera;tigris;tiger"
CARNIVORE = "0b;mammalia;carnivora;;;;carnivorous mammal"
BLANK = "0c;;;;;;blank"
FIELD_FILES = Path("data") / "field-files"

Json = dict[str, Any]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with the pictures p/0.jpg to p/3.jpg."""
    (tmp_path / "p").mkdir()
    for number in range(4):
        size = (WIDTH_PX, HEIGHT_PX)
        Image.new("RGB", size, (number * 40, 90, 30)).save(tmp_path / "p" / f"{number}.jpg")
    return tmp_path


def _detect(
    conf: object = 0.9, bbox: object = (0.1, 0.2, 0.3, 0.4), category: object = "1", **more: object
) -> Json:
    return {
        "category": category,
        "conf": conf,
        "bbox": list(bbox) if isinstance(bbox, tuple) else bbox,
        **more,
    }


def _write_detections(*images: object, **more: object) -> Json:
    return {
        "info": {"format_version": "1.4", "detector": "md_v5a.0.0.pt", "classifier": "deer-net"},
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle", "4": "drone"},
        "images": list(images),
        **more,
    }


def _list(home: Path, content: object, name: str = "a.json", **options: Any) -> Listing:  # noqa: ANN401 - as SourceOptions has them
    file = home / name
    file.write_text(json.dumps(content))
    return find_images([file], SourceOptions(**options))


def _said(listing: Listing) -> str:
    return "\n".join(map(str, listing.notes))


def _get_rows(listing: Listing) -> list[tuple[str, str]]:
    return list(zip(listing.frame["path"], listing.frame["image_region"], strict=True))


def _get_failures(listing: Listing) -> dict[str, str]:
    return {path: reason for _, path, reason in listing.unread}


# MegaDetector


def test_each_detection_is_a_region_and_what_falls_out_is_counted(home: Path) -> None:
    content = _write_detections(
        {"file": "p/0.jpg", "detections": [_detect(), _detect(0.5, category="2"), _detect(0.1)]},
        {"file": "p/1.jpg", "detections": []},
        {"file": "p/2.jpg", "detections": [_detect(0.6, (-0.1, 0.5, 0.4, 0.7), "4")]},
        {"file": "p/3.jpg", "detections": None, "failure": "Failure image access"},
        {"file": "p/gone.jpg", "failure": "Failure image open", "max_detection_conf": None},
    )
    listing = _list(home, content)
    assert _get_rows(listing) == [
        ("p/0.jpg", "0.1,0.2,0.3,0.4"),
        ("p/0.jpg", "0.1,0.2,0.3,0.4#2"),
        ("p/2.jpg", "0,0.5,0.3,0.5"),
    ]
    frame = listing.frame
    assert frame["detection_category"].tolist() == ["animal", "human", "drone"]
    assert frame["detection_confidence"].tolist() == [0.9, 0.5, 0.6]
    assert set(frame["detector"]) == {"md_v5a.0.0.pt"}
    assert frame[["box_x", "box_y", "box_width", "box_height"]].iloc[2].tolist() == [
        0,
        0.5,
        0.3,
        0.5,
    ]
    assert _get_failures(listing) == {
        "p/3.jpg": "the detector could not read it: Failure image access",
        "p/gone.jpg": "the detector could not read it: Failure image open",
    }
    said = _said(listing)
    assert "format 1.4: 5 entries, 3 regions of 2 pictures" in said
    assert "1 detections are less sure than 0.2" in said
    assert "1 pictures have no detection that is left" in said
    assert "1 boxes leave their picture and were clipped" in said


def test_options_choose_detections_and_shape_their_boxes(home: Path) -> None:
    content = _write_detections(
        {"file": "p/0.jpg", "detections": [_detect(0.15), _detect(0.8, category="2")]}
    )
    assert len(_list(home, content, min_confidence=0.1)) == 2
    assert len(_list(home, content, min_confidence=0.15)) == 2
    for asked in ("person", "human", "Human"):
        listing = _list(home, content, categories=(asked,))
        assert listing.frame["detection_category"].tolist() == ["human"]
        assert "1 detections are of no category that was asked for" in _said(listing)
    listing = _list(home, content, pad=0.1, square=True)
    assert _get_rows(listing) == [("p/0.jpg", "0.1,0.2,0.3,0.4+0.1s")]
    nothing = _list(home, content, categories=("drone",))
    assert not len(nothing)
    assert "no region is left of" in _said(nothing)


@pytest.mark.parametrize(
    ("detection", "reason"),
    [
        (_detect(bbox=(20, 30, 400, 300)), "can only be in pixels"),
        (_detect(bbox=(1.1, 0.2, 0.3, 0.4)), "lies outside of the picture"),
        (_detect(bbox=(0.1, 0.2, 0, 0.4)), "has no area"),
        (_detect(bbox=(0.1, 0.2, -0.3, 0.4)), "has no area"),
        (_detect(bbox=(0.1, 0.2, math.nan, 0.4)), "expected a list of four numbers"),
        (_detect(bbox=(0.1, 0.2, "0.3", 0.4)), "expected a list of four numbers"),
        (_detect(bbox=(0.1, 0.2, 10**400, 0.4)), "expected a list of four numbers"),
        (_detect(bbox=(0.1, 0.2)), "expected a list of four numbers"),
        (_detect(bbox=None), "its box is missing"),
        (_detect(conf="0.9"), "its confidence is '0.9', expected a number of 0 to 1"),
        (_detect(conf=1.5), "expected a number of 0 to 1"),
        (_detect(conf=True), "expected a number of 0 to 1"),
        ("none", "expected an object"),
    ],
)
def test_a_detection_that_cannot_be_read_is_a_failure_and_the_rest_goes_on(
    home: Path, detection: object, reason: str
) -> None:
    listing = _list(
        home, _write_detections({"file": "p/0.jpg", "detections": [detection, _detect()]})
    )
    assert _get_rows(listing) == [("p/0.jpg", "0.1,0.2,0.3,0.4")]
    ((path, why),) = _get_failures(listing).items()
    assert (path, reason in why) == ("p/0.jpg, detection 1", True)
    assert "p/0.jpg, detection 1" in _said(listing)


def test_entries_that_say_nothing_are_failures(home: Path) -> None:
    listing = _list(
        home,
        _write_detections(
            {"file": "p/0.jpg"}, {"detections": []}, 3, {"file": "p/1.jpg", "detections": {"a": 1}}
        ),
    )
    assert _get_failures(listing) == {
        "p/0.jpg": "its detections are missing or null, expected a list",
        "images[1]": "the entry names no file, expected 'file'",
        "images[2]": "the entry names no file, expected 'file'",
        "p/1.jpg": "its detections are dict, expected a list",
    }


def test_a_category_that_is_not_listed_is_none(home: Path) -> None:
    content = _write_detections({"file": "p/0.jpg", "detections": [_detect(category="9")]})
    listing = _list(home, content)
    assert listing.frame["detection_category"].tolist() == [""]
    assert "1 detections are of a category that is not listed, and have none: 9" in _said(listing)


def test_classes_of_detections_become_taxa_labels_and_content(home: Path) -> None:
    classes = [
        [["0", 0.2], ["1", 0.7]],
        [["2", 0.6]],
        [["3", 0.5]],
        [["4", 0.9]],
        [["9", 0.4]],
        [["1"]],
    ]
    boxes = [(0.1 * number, 0.1, 0.1, 0.1) for number in range(len(classes))]
    content = _write_detections(
        {
            "file": "p/0.jpg",
            "detections": [
                _detect(bbox=box, classifications=one)
                for box, one in zip(boxes, classes, strict=True)
            ],
        },
        classification_categories={
            "0": "bear",
            "1": "tiger",
            "2": "red deer",
            "3": "blank",
            "4": "alces alces",
        },
        classification_category_descriptions={"1": TIGER},
    )
    listing = _list(home, content)
    frame = listing.frame
    assert frame["species"].tolist() == ["Panthera tigris", "", "", "Alces alces", "", ""]
    assert frame["class"].tolist()[0] == "Mammalia"
    assert frame["label"].tolist() == ["", "red deer", "", "", "", ""]
    assert frame["content"].tolist() == ["animal", "", "blank", "animal", "", ""]
    assert frame["prediction"].fillna("").tolist() == [
        "tiger",
        "red deer",
        "blank",
        "alces alces",
        "",
        "",
    ]
    np.testing.assert_array_equal(frame["prediction_score"], [0.7, 0.6, 0.5, 0.9, 0.4, np.nan])
    assert frame["labels_from"].tolist() == ["machine:deer-net"] * 2 + [
        "",
        "machine:deer-net",
        "",
        "",
    ]
    said = _said(listing)
    assert "3 labels were made by a machine, labels_from is machine:deer-net" in said
    assert "1 classifications are of a class that is not listed: 9" in said
    assert "1 classifications cannot be read" in said


def test_frames_of_videos_are_read_where_their_pictures_are(home: Path) -> None:
    (home / "v.mp4").mkdir()
    Image.new("RGB", (10, 10)).save(home / "v.mp4" / "frame000012.jpg")
    content = _write_detections(
        {
            "file": "v.mp4",
            "frame_rate": 30,
            "frames_processed": [0, 12],
            "detections": [
                _detect(frame_number=12),
                _detect(frame_number=30),
                _detect(frame_number="x"),
            ],
        },
        {"file": "w.AVI", "detections": [_detect(frame_number=0)]},
        {"file": "x.mp4", "detections": []},
    )
    listing = _list(home, content)
    assert _get_rows(listing) == [("v.mp4/frame000012.jpg", "0.1,0.2,0.3,0.4")]
    assert listing.frame["frame_number"].tolist() == [12]
    failures = _get_failures(listing)
    assert set(failures) == {"v.mp4", "v.mp4, detection 3", "w.AVI", "x.mp4"}
    assert "1 detections left out: frames of videos are not pictures here" in failures["v.mp4"]
    assert "expected a whole number" in failures["v.mp4, detection 3"]


def test_paths_are_looked_up_as_those_of_tables(home: Path) -> None:
    content = _write_detections(
        {"file": "p\\0.jpg", "detections": [_detect()]},
        {"file": "D:\\cards\\p\\1.jpg", "detections": [_detect()]},
        {"file": "p/none.jpg", "detections": [_detect()]},
        {"file": "/etc/hosts", "detections": [_detect()]},
    )
    (home / "json").mkdir()
    listing = _list(home, content, "json/image_recognition_file.json", root=home)
    assert [path for path, _ in _get_rows(listing)] == ["p/0.jpg", "p/1.jpg", "p/none.jpg"]
    assert list(listing.reasons.values()) == ["no such file or directory"]
    assert [path for _, path, _ in listing.unread] == ["/etc/hosts"]


def test_further_fields_come_along(home: Path) -> None:
    content = _write_detections(
        {
            "file": "p/0.jpg",
            "detections": [_detect()],
            "datetime": "2024:06:15 12:00:00",
            "location": "L1",
            "width": 40,
            "detector": "x",
            "exif_metadata": {"a": 1},
            "n": None,
        },
    )
    (row,) = _list(home, content).frame.to_dict("records")
    assert (row["captured_at"], row["location"]) == ("2024-06-15T12:00:00", "L1")
    assert (row["datetime"], row["source_detector"]) == ("2024:06:15 12:00:00", "x")
    assert not {"exif_metadata", "n"} & row.keys()


def test_a_detection_that_stands_twice_is_taken_once(home: Path) -> None:
    content = _write_detections({"file": "p/0.jpg", "detections": [_detect(), _detect()]})
    listing = _list(home, content)
    assert len(listing) == 1
    assert "1 detections stand there twice, and are taken once" in _said(listing)


@pytest.mark.parametrize("name", ["a.txt", "p.jpg.json", "a", "a.csv"])
def test_a_format_is_known_by_its_content(home: Path, name: str) -> None:
    content = _write_detections({"file": "p/0.jpg", "detections": [_detect()]})
    assert len(_list(home, content, name)) == 1
    assert recognise_source(home / name, SourceOptions()) == "megadetector"


def test_json_of_no_format_is_refused_with_those_that_are_read(home: Path) -> None:
    for content in ({"a": 1}, [{"a": 1}], {"images": [1]}, {"images": [{"file": "a.jpg"}]}):
        with pytest.raises(SourceError, match=r"an array of texts is read.*MegaDetector.*COCO"):
            _list(home, content)
    with pytest.raises(SourceError, match="'images' is str, expected a list of entries"):
        _list(home, _write_detections() | {"images": "p/0.jpg"})
    assert len(_list(home, ["p/0.jpg", "p/1.jpg"])) == 2


# Microsoft's


def test_corners_in_pixels_are_made_relative_by_the_upright_picture(home: Path) -> None:
    picture, exif = Image.new("RGB", (WIDTH_PX, HEIGHT_PX)), Image.Exif()
    exif[0x0112] = 6
    picture.save(home / "p" / "turned.jpg", exif=exif)
    box = {"category": "animal", "confidence": 0.9, "bbox": [4, 4, 12, 14]}
    content = [
        {"file": "p/0.jpg", "detections": [box, {**box, "bbox": [30, 10, 50, 30]}]},
        {"file": "p/turned.jpg", "detections": [box]},
        {"file": "p/none.jpg", "width": 80, "height": 40, "detections": [box]},
        {"file": "p/gone.jpg", "detections": [box]},
        {"file": "/etc/hosts", "detections": [box]},
        {
            "file": "p/1.jpg",
            "detections": [{**box, "bbox": [0.1, 0.1, 0.5, 0.5]}, {**box, "bbox": [50, 0, 60, 9]}],
        },
        {"file": "p/2.jpg", "detections": []},
    ]
    listing = _list(home, content)
    assert _get_rows(listing) == [
        ("p/0.jpg", "0.1,0.2,0.2,0.5"),
        ("p/0.jpg", "0.75,0.5,0.25,0.5"),
        ("p/turned.jpg", "0.2,0.1,0.4,0.25"),
        ("p/none.jpg", "0.05,0.1,0.1,0.25"),
    ]
    failures = _get_failures(listing)
    assert {path.removesuffix(", detection 1") for path in failures} == {
        "p/gone.jpg",
        "/etc/hosts",
        "p/1.jpg",
        "p/1.jpg, detection 2",
    }
    assert "no such file" in failures["p/gone.jpg, detection 1"]
    assert "outside of the folders" in failures["/etc/hosts, detection 1"]
    assert "less than a pixel" in failures["p/1.jpg, detection 1"]
    assert "lies outside of the picture" in failures["p/1.jpg, detection 2"]
    said = _said(listing)
    assert "1 boxes leave their picture" in said
    assert "1 pictures have no detection that is left" in said


def test_lists_of_values_of_a_picture_are_detections(home: Path) -> None:
    content = {
        "annotations": [
            {
                "img_id": "p/0.jpg",
                "bbox": [[4, 4, 12, 14], [0, 0, 40, 20]],
                "category": [0, 1],
                "confidence": [0.9, 0.1],
            }
        ],
        "categories": {"0": "animal", "1": "person"},
    }
    listing = _list(home, content)
    assert _get_rows(listing) == [("p/0.jpg", "0.1,0.2,0.2,0.5")]
    assert listing.frame["detection_category"].tolist() == ["animal"]


# SpeciesNet


def _predict(number: int, *detections: Json, **more: object) -> Json:
    return {
        "filepath": f"p/{number}.jpg",
        "detections": list(detections),
        "model_version": "4.0.1a",
        **more,
    }


def test_a_prediction_of_a_picture_labels_its_surest_detection(home: Path) -> None:
    animal, human = _detect(label="animal"), _detect(0.6, (0, 0, 0.1, 0.1), "2", label="human")
    classes = {"classes": [TIGER, CARNIVORE], "scores": [0.8, 0.1]}
    content = {
        "predictions": [
            _predict(
                0,
                human,
                animal,
                prediction=CARNIVORE,
                prediction_score=0.7,
                prediction_source="classifier+rollup_to_order",
                classifications=classes,
                country="USA",
                latitude=1.5,
            ),
            _predict(1, animal, prediction=BLANK, prediction_score=0.6),
            _predict(2, prediction=BLANK, prediction_score=0.99),
            {"filepath": "p/3.jpg", "failures": ["DETECTOR", "CLASSIFIER"]},
        ]
    }
    listing = _list(home, content)
    frame = listing.frame
    assert frame["detection_category"].tolist() == ["human", "animal", "animal"]
    assert frame["order"].tolist() == ["", "Carnivora", ""]
    assert frame["species"].tolist() == ["", "", ""]
    assert frame["content"].tolist() == ["", "animal", "blank"]
    assert frame["prediction"].tolist() == [CARNIVORE, CARNIVORE, BLANK]
    assert frame["classification"].tolist()[:2] == [TIGER, TIGER]
    assert frame["labels_from"].tolist() == ["", "machine:SpeciesNet 4.0.1a", ""]
    assert frame["country"].tolist()[0] == "USA"
    assert _get_failures(listing) == {"p/3.jpg": "SpeciesNet failed: DETECTOR, CLASSIFIER"}
    said = _said(listing)
    assert "1 pictures have no detection that is left, and no region (predicted: blank)" in said
    assert "1 pictures have one prediction and several regions" in said


def test_newer_predictions_belong_to_detections(home: Path) -> None:
    def answer(word: str, score: float) -> Json:
        return {
            "raw_classifications": {"classes": [word], "scores": [score]},
            "processed_classification": {"class": word, "score": score, "source": "c"},
        }

    whole = {"category": "0", "bbox": [0, 0, 1, 1], **answer(BLANK, 0.9)}
    content = {
        "info": {"format_version": "20261015"},
        "predictions": [
            _predict(
                0,
                _detect(label="animal", **answer(TIGER, 0.8)),
                whole,
                _detect(0.7, (0.5, 0.5, 0.2, 0.2), **answer(CARNIVORE, 0.6)),
                _detect(0.6, (0, 0, 0.2, 0.2), "2", label="human"),
            ),
            _predict(1, whole),
        ],
    }
    listing = _list(home, content)
    frame = listing.frame
    assert [region for _, region in _get_rows(listing)] == [
        "0.1,0.2,0.3,0.4",
        "0.5,0.5,0.2,0.2",
        "0,0,0.2,0.2",
        "",
    ]
    assert frame["species"].tolist() == ["Panthera tigris", "", "", ""]
    assert frame["order"].tolist() == ["Carnivora", "Carnivora", "", ""]
    assert frame["content"].tolist() == ["animal", "animal", "", "blank"]
    assert "1 classes are of a whole picture that has regions" in _said(listing)
    assert "format 20261015" in _said(listing)


def test_answers_without_a_detector_are_of_whole_pictures(home: Path) -> None:
    content = {
        "predictions": [
            {"filepath": "p/0.jpg", "classifications": {"classes": [TIGER], "scores": [0.9]}},
            {"filepath": "p/1.jpg"},
            {"filepath": "v.mp4", "detections": []},
            _predict(2, _detect(), failures=["CLASSIFIER"]),
            {"detections": []},
        ]
    }
    listing = _list(home, content)
    assert _get_rows(listing) == [("p/0.jpg", ""), ("p/2.jpg", "0.1,0.2,0.3,0.4")]
    assert listing.frame["species"].tolist() == ["Panthera tigris", ""]
    assert set(_get_failures(listing)) == {"p/1.jpg", "v.mp4", "predictions[4]"}
    assert "1 predictions are of a part that failed: CLASSIFIER" in _said(listing)


# COCO Camera Traps


def _annotate(**more: object) -> Json:
    images = [
        {
            "id": f"i{number}",
            "file_name": f"p/{number}.jpg",
            "location": "L0",
            "seq_id": "s0",
            "datetime": "2020-01-01 06:00:00",
        }
        for number in range(3)
    ]
    images[2] |= {"width": 80, "height": 40}  # type: ignore[dict-item]
    names = ["empty", "panthera tigris", "red deer", "human"]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    return {"images": images, "categories": categories, **more}


def test_annotations_are_rows_of_pictures_and_of_boxes(home: Path) -> None:
    annotations = [
        {"id": "x0", "image_id": "i0", "category_id": 1, "count": 2},
        {"id": "x1", "image_id": "i0", "category_id": 2, "location": "here"},
        {"id": "x2", "image_id": "i1", "category_id": 0},
        {"id": "x3", "image_id": "i2", "category_id": 3, "bbox": [8, 4, 40, 20]},
        {"id": "x4", "image_id": "i1", "category_id": 1, "bbox": [30, 10, 20, 5]},
        {"id": "x5", "image_id": "i1", "category_id": 1, "bbox": [60, 10, 20, 5]},
        {"id": "x6", "image_id": "none", "category_id": 1},
        {"id": "x7", "image_id": "i0", "category_id": 77},
        "none",
    ]
    listing = _list(home, _annotate(annotations=annotations))
    frame = listing.frame.set_index("observation_id")
    assert frame["image_region"].to_dict() == {
        "x0": "",
        "x1": "#2",
        "x7": "#3",
        "x2": "",
        "x4": "0.75,0.5,0.25,0.25",
        "x3": "0.1,0.1,0.5,0.5",
    }
    assert frame["species"].replace("", None).dropna().to_dict() == {
        "x0": "Panthera tigris",
        "x4": "Panthera tigris",
    }
    assert frame["label"].replace("", None).dropna().to_dict() == {"x1": "red deer"}
    assert frame.loc[["x2", "x3"], "content"].tolist() == ["blank", "human"]
    assert frame.loc["x3", "detection_category"] == "human"
    assert set(frame["seq_id"]) == set(frame["sequence_id"]) == {"s0"}
    assert set(frame["captured_at"]) == {"2020-01-01T06:00:00"}
    assert list(frame.xs("x1")[["location", "annotation_location"]]) == ["L0", "here"]
    assert not (frame["labels_from"] != "").any()
    said = _said(listing)
    assert "1 annotations are of a picture that is not listed, and left out: none" in said
    assert "1 annotations are of a category that is not listed, and have no label: 77" in said
    assert set(_get_failures(listing)) == {"p/1.jpg, annotations[5]", "annotations[8]"}


def test_boxes_up_to_1_are_relative_and_an_id_of_two_categories_is_of_none(home: Path) -> None:
    annotations = [
        {"id": 0, "image_id": 0, "category_id": 1, "bbox": [0.1, 0.2, 0.3, 0.4]},
        {"id": 1, "image_id": 0, "category_id": 2, "bbox": [0, 0, 1, 1]},
    ]
    categories = [{"id": 1, "name": "lion"}, {"id": 2, "name": "a"}, {"id": 2, "name": "b"}]
    image = {"id": 0, "file_name": "p/0.jpg", "width": WIDTH_PX, "height": HEIGHT_PX}
    content = {"images": [image], "annotations": annotations, "categories": categories}
    listing = _list(home, content)
    assert listing.frame["box_width"].tolist() == pytest.approx([0.3, 1])
    assert listing.frame["label"].tolist() == ["lion", ""]
    assert "2 boxes are of numbers up to 1, and taken as relative" in _said(listing)
    assert "1 ids are of several categories, which are none: 2" in _said(listing)


def test_a_common_name_of_a_machine_is_said_to_be_one_and_no_person_has_it(home: Path) -> None:
    classes = [["7", 0.9]]
    person = _detect(0.95, (0.5, 0.5, 0.2, 0.2), "2", classifications=classes)
    detections = [_detect(classifications=classes), person]
    image = {"file": "p/0.jpg", "detections": detections}
    listing = _list(home, _write_detections(image, classification_categories={"7": "lion"}))
    assert listing.frame["label"].tolist() == ["lion", ""]
    assert listing.frame["labels_from"].tolist() == ["machine:deer-net", ""]
    assert listing.frame["content"].tolist() == ["", "human"]


def test_pictures_that_nobody_annotated_are_rows_without_a_label(home: Path) -> None:
    listing = _list(home, _annotate(annotations=[{"id": 1, "image_id": "i0", "category_id": 1}]))
    assert listing.frame["species"].tolist() == ["Panthera tigris", "", ""]
    assert "2 pictures have no annotation, and no label" in _said(listing)
    chosen = _list(
        home,
        _annotate(annotations=[{"id": 1, "image_id": "i0", "category_id": 1}]),
        categories=("animal",),
    )
    assert _get_rows(chosen) == [("p/0.jpg", "")]


def test_a_category_may_have_its_lineage(home: Path) -> None:
    category = {
        "id": 5,
        "name": "Panthera tigris",
        "kingdom": "Animalia",
        "class": "Mammalia",
        "order": "Carnivora",
        "family": "Felidae",
        "genus": "Panthera",
        "specific_epithet": "tigris",
        "common_name": "Tiger",
    }
    content = _annotate(annotations=[{"id": 1, "image_id": "i0", "category_id": 5}])
    (row, *_) = _list(home, {**content, "categories": [category]}).frame.to_dict("records")
    assert (row["family"], row["species"], row["common_name"]) == (
        "Felidae",
        "Panthera tigris",
        "Tiger",
    )


# All of them


def test_what_tools_write_is_a_taxon_a_content_or_a_label() -> None:
    words = [
        TIGER,
        CARNIVORE,
        BLANK,
        "0;;;;;;animal",
        "0;;;;;;no cv result",
        "0;mammalia;primates;hominidae;homo;sapiens;human",
        "señuelo;mammalia;carnivora;canidae;vulpes;vulpes",
        "No_CV Result",
        "Ursidae",
        "deer",
    ]
    found = read_machine_labels(words)
    assert found["content"].tolist() == [
        "animal",
        "animal",
        "blank",
        "animal",
        "unknown",
        "human",
        "animal",
        "unknown",
        "animal",
        "",
    ]
    assert found["species"].tolist() == ["Panthera tigris", *[""] * 5, "Vulpes vulpes", "", "", ""]
    assert found["family"].tolist()[-2] == "Ursidae"
    assert found["label"].tolist() == [*[""] * 9, "deer"]


def test_times_are_written_by_one_standard() -> None:
    assert read_time("2024-13-01 00:00:00") == read_time(3) == read_time("noon") == ""
    assert read_time("2024/06/15 07:30") == "2024-06-15T07:30"


_VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    1.5,
    1e300,
    math.nan,
    10**400,
    "",
    "x",
    "\ud800",
    [],
    [1],
    [[]],
    {},
    {"a": 1},
    [0, 0, 500, 500],
    "a;b;c;d;e;f;g",
)


def _walk(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Find all places in a JSON value but the outermost.

    Yields
    ------
    tuple
        Keys and numbers that lead there.
    """
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in inner:
        yield (*path, key)
        yield from _walk(part, (*path, key))


def _mutate(content: Any, chance: random.Random) -> Any:  # noqa: ANN401 - JSON
    """Change or remove up to three values of entries."""
    content = copy.deepcopy(content)
    for _ in range(chance.randint(1, 3)):
        places = [
            place
            for place in _walk(content)
            if len(place) > (1 if isinstance(content, dict) else 0)
        ]
        if not places:
            break
        *above, last = chance.choice(places)
        at = content
        for key in above:
            at = at[key]
        if chance.random() < 0.3:
            del at[last]
        else:
            at[last] = copy.deepcopy(chance.choice(_VALUES))
    return content


def _make_detections() -> object:
    boxes = [_detect(classifications=[["1", 0.4]]), _detect(0.4, (0, 0, 0.3, 0.3), "2")]
    images = [{"file": f"p/{number}.jpg", "detections": boxes} for number in range(3)]
    return _write_detections(
        *images, {"file": "p/3.jpg", "failure": "no"}, classification_categories={"1": "tiger"}
    )


def _make_microsoft() -> object:
    box = {"category": "animal", "confidence": 0.9, "bbox": [4, 4, 12, 14]}
    return [{"file": f"p/{number}.jpg", "detections": [box]} for number in range(4)]


def _make_predictions() -> object:
    own = {
        "processed_classification": {"class": TIGER, "score": 0.8},
        "raw_classifications": {"classes": [TIGER], "scores": [0.8]},
    }
    return {
        "predictions": [
            _predict(0, _detect(label="animal"), prediction=TIGER, prediction_score=1),
            _predict(1, _detect(**own)),
            _predict(2, _detect(category="0", **own)),
            {"filepath": "p/3.jpg", "failures": ["CLASSIFIER"]},
        ]
    }


def _make_annotations() -> object:
    return _annotate(
        annotations=[
            {"id": "x0", "image_id": "i0", "category_id": 1},
            {"id": "x1", "image_id": "i1", "category_id": 0, "bbox": [1, 2, 3, 4]},
        ]
    )


@pytest.mark.parametrize("n_files", [10, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("make", "key"),
    [
        (_make_detections, "images"),
        (_make_microsoft, ""),
        (_make_predictions, "predictions"),
        (_make_annotations, "images"),
    ],
)
def test_no_change_of_an_entry_loses_it_or_ends_the_reading(
    home: Path, make: Callable[[], object], key: str, n_files: int
) -> None:
    chance = random.Random(7)
    n_read = 0
    for _ in range(n_files):
        content = _mutate(make(), chance)
        try:
            listing = _list(home, content)
        except SourceError:
            continue
        n_read += 1
        listing.frame.to_parquet(home / "frame.parquet")
        met = {row for row, _ in _get_rows(listing)}
        for path in _get_failures(listing):
            met.add(re.sub(r", (detection \d+|annotations\[\d+\])$", "", path))
        named = {name for one in (content[key] if key else content) if (name := _get_name(one))}
        without = re.findall(r"(\d+) pictures have no detection", _said(listing))
        assert len(named - met) <= sum(map(int, without))
        n_unnamed = sum(not _get_name(one) for one in (content[key] if key else content))
        assert n_unnamed <= len([one for one in met if re.fullmatch(r"\w+\[\d+\]|entry \d+", one)])
    assert n_read > n_files / 2


def _get_name(entry: object) -> str:
    keys = ("file", "filepath", "file_name")
    found = [entry.get(key) for key in keys] if isinstance(entry, dict) else []
    texts = [str(one) for one in found if isinstance(one, (str, int)) and one is not True]
    return next((one.replace("\ud800", "\\ud800") for one in texts if one.strip()), "")


def test_many_entries_are_listed_in_little_memory(home: Path) -> None:
    n_entries = 1000
    content = _write_detections(
        *({"file": f"p/{n}.jpg", "detections": [_detect()]} for n in range(n_entries))
    )
    (home / "many.json").write_text(json.dumps(content))
    n_bytes = (home / "many.json").stat().st_size
    tracemalloc.start()
    assert len(find_images([home / "many.json"])) == n_entries
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 60 * n_bytes


def test_a_detectors_regions_keep_what_a_table_says_of_their_picture(home: Path) -> None:
    (home / "t.csv").write_text("path,station\np/0.jpg,A\np/1.jpg,B\n")
    (home / "a.json").write_text(
        json.dumps(
            _write_detections(
                {"file": "p/0.jpg", "detections": [_detect(), _detect(bbox=(0, 0, 0.5, 0.5))]}
            )
        )
    )
    frame = find_images([home / "t.csv", home / "a.json"]).frame
    assert frame["station"].tolist() == ["A", "A", "B"]
    assert (frame["image_region"] != "").tolist() == [True, True, False]


# The shapes that people's files really have


@pytest.mark.shared
def test_field_files_of_megadetector(shared_dir: Path) -> None:
    listing = find_images([shared_dir / FIELD_FILES / "megadetector.json"])
    frame = listing.frame
    assert (len(frame), frame["path"].nunique()) == (8, 7)
    assert frame["detection_category"].value_counts().to_dict() == {"animal": 7, "human": 1}
    assert "pictures/IMG_0001.JPG" not in set(frame["path"])
    clipped = frame.set_index("path").xs("pictures/IMG_0003.JPG")
    assert Region.parse(str(clipped["image_region"])) == Region(0, 0.5, 0.69, 0.5)
    ((_, path, reason),) = listing.unread
    assert (path, "Failure image access" in reason) == ("pictures/GONE.JPG", True)


@pytest.mark.shared
def test_field_files_of_microsoft(shared_dir: Path) -> None:
    listing = find_images([shared_dir / FIELD_FILES / "megadetector_microsoft.json"])
    assert _get_rows(listing) == [("pictures/IMG_0000.JPG", "0.2,0.15,0.6,0.7")]


@pytest.mark.shared
def test_field_files_of_speciesnet(shared_dir: Path) -> None:
    listing = find_images([shared_dir / FIELD_FILES / "speciesnet_predictions.json"])
    frame = listing.frame.set_index("path")
    assert len(frame) == 8
    assert list(frame.xs("pictures/IMG_0000.JPG")[["class", "species"]]) == [
        "Mammalia",
        "Panthera tigris",
    ]
    blank = frame.xs("pictures/IMG_0001.JPG")
    assert (blank["content"], blank["class"], blank["species"]) == ("blank", "", "")
    carnivore = frame.xs("pictures/IMG_0003.JPG")[["order", "family", "genus", "species"]]
    assert list(carnivore) == ["Carnivora", "", "", ""]
    assert frame["prediction"].notna().all()
    assert [path for _, path, _ in listing.unread] == ["pictures/BROKEN.JPG"]


@pytest.mark.shared
def test_field_files_of_speciesnet_5(shared_dir: Path) -> None:
    listing = find_images([shared_dir / FIELD_FILES / "speciesnet_5.json"])
    frame = listing.frame
    assert frame["path"].tolist() == ["pictures/IMG_0000.JPG", *["pictures/IMG_0005.JPG"] * 2]
    assert frame["species"].tolist() == ["Panthera tigris", "Turdus migratorius", ""]
    assert frame["country"].fillna("").tolist() == ["", "USA", "USA"]
    assert [path for _, path, _ in listing.unread] == ["pictures/BROKEN.JPG"]
    more = find_images(
        [shared_dir / FIELD_FILES / "speciesnet_5.json"], SourceOptions(min_confidence=0)
    )
    assert more.frame["detection_category"].value_counts().to_dict() == {"animal": 3, "human": 1}


@pytest.mark.shared
def test_field_files_of_coco_camera_traps(shared_dir: Path) -> None:
    listing = find_images([shared_dir / FIELD_FILES / "coco_camera_traps.json"])
    frame = listing.frame
    assert len(frame) == 8
    assert frame["species"].value_counts().to_dict() == {
        "Alces alces": 2,
        "Turdus migratorius": 2,
        "Ursus maritimus": 2,
        "Panthera tigris": 1,
        "": 1,
    }
    assert frame["content"].tolist()[1] == "blank"
    assert frame["location"].tolist() == ["L0"] * 4 + ["L1"] * 4
    assert frame["seq_id"].nunique() == 4
    assert pd.to_datetime(frame["datetime"]).notna().all()
    assert not listing.unread


def test_a_category_with_a_whole_lineage_keeps_it_and_no_plant_is_an_animal(home: Path) -> None:
    oak = {
        "kingdom": "Plantae", "phylum": "Tracheophyta", "class": "Magnoliopsida",
        "order": "Fagales", "family": "Fagaceae", "genus": "Quercus",
    }  # fmt: skip
    content = {
        "images": [{"id": 1, "file_name": "p/0.jpg"}, {"id": 2, "file_name": "p/1.jpg"}],
        "categories": [
            {"id": 0, "name": "Quercus robur", "specific_epithet": "robur", **oak},
            {"id": 1, "name": "empty"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 0}, {"id": 2, "image_id": 2, "category_id": 1}
        ],
    }  # fmt: skip
    listing = _list(home, content)
    assert list(listing.labels("kingdom")) == ["Plantae", ""]
    assert list(listing.labels("phylum")) == ["Tracheophyta", ""]
    assert list(listing.labels("species")) == ["Quercus robur", ""]
    assert listing.frame["content"].tolist() == ["", "blank"]
