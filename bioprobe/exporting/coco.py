"""COCO Camera Traps: images, categories and annotations with boxes in pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioprobe.exporting.answers import BLANK, Answers, Observation, Picture
from bioprobe.exporting.form import AnswerFormat, ExportOptions, Zone, identify, make_id, read_time
from bioprobe.files import write_text
from bioprobe.result import Note

_EMPTY = "empty"
_LOCATION = ("location", "locationid", "deploymentid", "camera", "cameraid", "site", "station")
_SEQUENCE = ("sequenceid", "seqid")


def write_coco(target: Path, answers: Answers, options: ExportOptions) -> Sequence[Note | str]:
    """Write answers as COCO Camera Traps 1.0 does.

    Parameters
    ----------
    target : Path
        JSON file.
    answers : Answers
        What is known of the pictures.
    options : ExportOptions
        None counts but the time zone.

    Raises
    ------
    SourceError
        If the size of a picture with a box is not known, and its file is gone.

    References
    ----------
    Camera Trap Tools, *COCO Camera Traps format*.
    """
    zone = Zone.parse(options.time_zone)
    categories: dict[str, dict[str, Any]] = {_EMPTY: {"id": 0, "name": _EMPTY}}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in answers.pictures:
        image = _describe_image(answers, picture, zone)
        images.append(image)
        for one in picture.observations:
            number = _find_category(one, categories)
            made = {"id": identify(answers, picture, one), "image_id": image["id"]}
            annotations.append(made | {"category_id": number} | _annotate(one, image))
    info = {
        "version": "1.0",
        "description": str(options.about.get("title", "")) or "Answers of bioprobe",
        "contributor": answers.model,
        "date_created": answers.time,
        "provenance": dict(answers.provenance),
    }
    said = {"info": info, "images": images, "categories": list(categories.values()),
            "annotations": annotations}  # fmt: skip
    write_text(target, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    return []


def _describe_image(answers: Answers, picture: Picture, zone: Zone) -> dict[str, Any]:
    image: dict[str, Any] = {"id": make_id(picture.name), "file_name": picture.name}
    if picture.failure:
        return image | {"corrupt": True, "failure": picture.failure}
    image |= dict(zip(("width", "height"), answers.find_size(picture), strict=True))
    for key, names in (("location", _LOCATION), ("seq_id", _SEQUENCE)):
        if said := answers.cell(picture.row, *names):
            image[key] = said
    for key in ("seq_num_frames", "frame_num"):
        said = answers.cell(picture.row, key.replace("_", ""))
        if said.isdecimal():
            image[key] = int(said)
    time = read_time(answers, picture, zone)
    if time is not None:
        image["datetime"] = time.strftime("%Y-%m-%d %H:%M:%S")
    return image


def _find_category(one: Observation, categories: dict[str, dict[str, Any]]) -> int:
    name = _EMPTY if one.content == BLANK else one.label.lower()
    if name not in categories:
        made: dict[str, Any] = {"id": len(categories), "name": name}
        if one.taxon is not None:
            made |= {rank: text for rank, text in one.taxon.to_names().items() if text}
            if one.taxon.common_name:
                made["common_name"] = one.taxon.common_name
        categories[name] = made
    return int(categories[name]["id"])


def _annotate(one: Observation, image: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"sequence_level_annotation": False}
    box = one.region
    if box is not None:
        width, height = image["width"], image["height"]
        sides = (box.x * width, box.y * height, box.width * width, box.height * height)
        made["bbox"] = [round(side, 3) for side in sides]
    if one.score is not None:
        made["score"] = one.score
    if one.by:
        # No field of the format: readers pass over what they do not know.
        made |= {"annotator": one.by, "annotated_at": one.at}
    return made


COCO = AnswerFormat(write_coco, (".json",), "COCO Camera Traps 1.0", ("time_zone", "about"))
