"""A box of a person is no animal, whatever a classifier says of it or of its picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bioprobe.sources.source import find_images

MOOSE = "0a;mammalia;artiodactyla;cervidae;alces;alces;moose"
HUMAN = "0b;mammalia;primates;hominidae;homo;sapiens;human"
ANIMAL_BOX, PERSON_BOX = [0.1, 0.1, 0.8, 0.8], [0.0, 0.5, 0.3, 0.4]


@pytest.mark.parametrize(
    ("prediction", "animal", "person"), [(HUMAN, "", "human"), (MOOSE, "Alces alces", "")]
)
def test_a_prediction_labels_the_box_of_its_kind(
    prediction: str, animal: str, person: str, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(1)
    is_moose = prediction == MOOSE
    detections = [
        {"category": "1", "label": "animal", "conf": 0.6 if is_moose else 0.9, "bbox": ANIMAL_BOX},
        {"category": "2", "label": "human", "conf": 0.65, "bbox": PERSON_BOX},
    ]
    entry = {"filepath": "000.png", "detections": detections, "prediction": prediction,
             "prediction_score": 0.9, "model_version": "4.0.1a"}  # fmt: skip
    (folder / "sn.json").write_text(json.dumps({"predictions": [entry]}))
    frame = find_images([folder / "sn.json"]).frame.fillna("").set_index("detection_category")
    species = frame["species"] if "species" in frame else frame["content"].map(lambda _: "")
    assert species["animal"] == animal
    assert species["human"] == ""
    assert frame["content"]["human"] == person


@pytest.mark.parametrize(("confidence", "content"), [(0.9, "human"), (0.5, "animal")])
def test_a_sure_person_is_of_no_class(
    confidence: float, content: str, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(1)
    detection = {"category": "2", "conf": confidence, "bbox": PERSON_BOX,
                 "classifications": [["0", 0.8]]}  # fmt: skip
    said: dict[str, Any] = {
        "info": {"format_version": "1.6", "detector": "MDv5a", "classifier": "c"},
        "detection_categories": {"1": "animal", "2": "person"},
        "classification_categories": {"0": "moose"},
        "classification_category_descriptions": {"0": MOOSE},
        "images": [{"file": "000.png", "detections": [detection]}],
    }
    (folder / "md.json").write_text(json.dumps(said))
    frame = find_images([folder / "md.json"]).frame
    assert frame["content"].tolist() == [content]
    named = frame["species"].tolist() if "species" in frame else [""]
    assert named == (["Alces alces"] if content == "animal" else [""])
