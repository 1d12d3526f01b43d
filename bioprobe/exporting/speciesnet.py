"""Predictions as SpeciesNet 5 writes them: of each detection, in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioprobe.content import read_content
from bioprobe.exporting.answers import ANIMAL, HUMAN, VEHICLE, Answers, Observation, Picture
from bioprobe.exporting.form import (
    AnswerFormat,
    ExportOptions,
    find_taxon_id,
    write_seven_parts,
)
from bioprobe.files import write_text
from bioprobe.images.regions import Region
from bioprobe.result import Note

# That of SpeciesNet 5.0.
_VERSION = "20261015"
_CATEGORIES = {ANIMAL: "1", HUMAN: "2", VEHICLE: "3"}
_WHOLE: dict[str, Any] = {
    "category": "0", "label": "whole_image_classification", "conf": 1.0,
    "bbox": [0.0, 0.0, 1.0, 1.0],
}  # fmt: skip


def _write_speciesnet(
    target: Path, answers: Answers, _options: ExportOptions
) -> Sequence[Note | str]:
    """Write predictions in the format of SpeciesNet 5.

    The whole of a picture is a detection of category 0, and stands beside no others.

    References
    ----------
    SpeciesNet 5, *Output format* (``info.format_version`` 20261015).
    """
    predictions, n_beside = [], 0
    for picture in answers.pictures:
        one: dict[str, Any] = {"filepath": picture.name}
        if picture.failure:
            # Which of the two failed says who reads; what could not be read, neither saw.
            predictions.append(one | {"failures": ["CLASSIFIER", "DETECTOR"]})
            continue
        kept = keep_boxes(picture)
        n_beside += len(picture.observations) - len(kept)
        place = answers.places.get(picture.name)
        if place is not None:
            one |= {"latitude": place.latitude, "longitude": place.longitude}
        one["detections"] = [_write_detection(answers, seen) for seen in kept]
        predictions.append(one | {"model_version": answers.model})
    info = {"format_version": _VERSION, "generator": answers.model}
    said = {"info": info | {"provenance": dict(answers.provenance)}, "predictions": predictions}
    write_text(target, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    return tell_beside(n_beside)


def keep_boxes(picture: Picture) -> list[Observation]:
    """Return the boxes of a picture, or what is known of the whole where there are none."""
    boxes = [one for one in picture.observations if one.region is not None]
    return boxes or list(picture.observations)


def tell_beside(n_beside: int) -> list[str]:
    """Say how many answers to whole pictures stand beside boxes, and are left out."""
    if not n_beside:
        return []
    return [
        f"{n_beside:,} answers to whole pictures are left out, as their boxes have answers of "
        "their own"
    ]


def get_box(region: Region | None) -> list[float]:
    """Return a region as x, y, width and height, relative to the picture."""
    if region is None:
        return [0.0, 0.0, 1.0, 1.0]
    return [region.x, region.y, region.width, region.height]


def _write_detection(answers: Answers, one: Observation) -> dict[str, Any]:
    if one.region is None:
        made = dict(_WHOLE)
    else:
        said, confidence, _ = answers.detection(one)
        content = one.content if one.content in _CATEGORIES else ANIMAL
        label = read_content(said) or content
        made = {
            "category": _CATEGORIES.get(label, _CATEGORIES[content]),
            "label": label if label in _CATEGORIES else content,
            "conf": 1.0 if confidence is None else confidence,
            "bbox": get_box(one.region),
        }
    number = find_taxon_id(answers, one)
    best = write_seven_parts(one.best, one.content, number)
    if one.guesses:
        made["raw_classifications"] = {
            "classes": [
                write_seven_parts(guess, _read_guess(one, place), number if not place else "")
                for place, guess in enumerate(one.guesses)
            ],
            "scores": [1.0 if guess.score is None else guess.score for guess in one.guesses],
        }
    made["processed_classification"] = {
        "class": best,
        "score": made["conf"] if one.score is None else one.score,
        "source": "classifier" if one.is_guessed else "content",
    }
    return made


def _read_guess(one: Observation, place: int) -> str:
    return one.content if not place and one.is_guessed else ANIMAL


SPECIESNET = AnswerFormat(
    _write_speciesnet, (".json",), "predictions of SpeciesNet 5, format 20261015", tells_places=True
)
