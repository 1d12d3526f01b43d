"""Batch output of MegaDetector 1.6 with classifications, which Timelapse and AddaxAI read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioprobe.content import read_content
from bioprobe.exporting.answers import BLANK, Answers, Observation
from bioprobe.exporting.form import (
    AnswerFormat,
    ExportOptions,
    find_taxon_id,
    write_seven_parts,
)
from bioprobe.exporting.speciesnet import get_box, keep_boxes, tell_beside
from bioprobe.files import write_text
from bioprobe.result import Note

_PERSON = {"human": "person"}
# MegaDetector's own; what a detector calls otherwise comes behind.
_DETECTED = {"animal": "1", "person": "2", "vehicle": "3"}


def write_megadetector(
    target: Path, answers: Answers, _options: ExportOptions
) -> Sequence[Note | str]:
    """Write answers in the format of MegaDetector's batch output.

    A blank picture has no detection; the whole of another is a box over all of it.

    Parameters
    ----------
    target : Path
        JSON file.
    answers : Answers
        What is known of the pictures.

    References
    ----------
    MegaDetector, *Output format* 1.6.
    """
    classes: dict[str, str] = {}
    detected, detectors = dict(_DETECTED), set()
    images: list[dict[str, Any]] = []
    n_beside = 0
    for picture in answers.pictures:
        if picture.failure:
            images.append({"file": picture.name, "failure": picture.failure, "detections": None})
            continue
        kept = keep_boxes(picture)
        n_beside += len(picture.observations) - len(kept)
        found = []
        for one in kept:
            if one.region is None and one.content == BLANK:
                continue
            said, confidence, detector = answers.detection(one)
            detectors |= {detector} - {""}
            category = read_content(said) or said or one.content
            category = _PERSON.get(category, category)
            number = detected.setdefault(category, str(len(detected) + 1))
            conf = one.score if confidence is None else confidence
            made = {
                "category": number,
                "conf": float(1.0 if conf is None else conf),
                "bbox": get_box(one.region),
            }
            if rated := _rate(answers, one, classes):
                made["classifications"] = rated
            found.append(made)
        images.append({"file": picture.name, "detections": found})
    info = {
        "format_version": "1.6",
        "detector": ", ".join(sorted(detectors)) or "none",
        "classifier": answers.model,
        "classifier_metadata": {"provenance": dict(answers.provenance)},
    }
    if answers.time:
        info["classification_completion_time"] = answers.time.replace("T", " ").removesuffix("Z")
    texts = {number: text for text, number in classes.items()}
    said_all = {
        "info": info,
        "detection_categories": {number: name for name, number in detected.items()},
        "classification_categories": _name_classes(texts),
        "classification_category_descriptions": texts,
        "images": images,
    }
    write_text(target, json.dumps(said_all, indent=1, ensure_ascii=False) + "\n")
    return tell_beside(n_beside)


def _rate(answers: Answers, one: Observation, classes: dict[str, str]) -> list[list[Any]]:
    if one.best is None:
        if one.content not in {"human", "vehicle", "blank"}:
            return []
        text = write_seven_parts(None, one.content)
        score = one.guesses[0].score if one.guesses and one.is_guessed else None
        return [[classes.setdefault(text, str(len(classes))), 1.0 if score is None else score]]
    rated = []
    for place, guess in enumerate(one.guesses):
        number = "" if place else find_taxon_id(answers, one)
        text = write_seven_parts(guess, one.content if not place else "animal", number)
        known = classes.setdefault(text, str(len(classes)))
        rated.append([known, 1.0 if guess.score is None else guess.score])
    return rated


def _name_classes(texts: dict[str, str]) -> dict[str, str]:
    """Return a name of each class for people: the common name, with the lineage where two share it.

    Two that have one lineage, by two identifiers, are told apart by these.
    """
    named: dict[str, str] = {}
    for number, text in texts.items():
        guid, *ranks, common = text.split(";")
        lineage = " ".join(filter(None, ranks))
        choices = (common, f"{common} ({lineage})", f"{common} ({guid})")
        named[number] = next(name for name in choices if name and name not in named.values())
    return named


MEGADETECTOR = AnswerFormat(
    write_megadetector, (".json",), "MegaDetector's batch output 1.6, for Timelapse and AddaxAI"
)
