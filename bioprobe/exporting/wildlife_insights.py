"""The table of images of Wildlife Insights' batch upload."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bioprobe.errors import SourceError
from bioprobe.exporting.answers import BLANK, HUMAN, UNKNOWN, Answers, Observation
from bioprobe.exporting.form import (
    CONTENT_IDS,
    AnswerFormat,
    ExportOptions,
    Zone,
    find_taxon_id,
    make_id,
    read_time,
    write_rows,
)
from bioprobe.files import replacing, write_text
from bioprobe.result import WARNING, Note
from bioprobe.taxonomy import Rank

_COLUMNS = (
    "project_id", "deployment_id", "image_id", "location", "is_blank", "identified_by",
    "wi_taxon_id", "class", "order", "family", "genus", "species", "common_name", "uncertainty",
    "timestamp", "age", "sex", "animal_recognizable", "individual_id", "number_of_objects",
    "individual_animal_notes", "markings", "highlighted",
)  # fmt: skip
_NO_RESULT = "No CV Result"
_RANKS = (Rank.CLASS, Rank.ORDER, Rank.FAMILY, Rank.GENUS)
#: What stands where a required field is not known, and people said so.
PLACEHOLDER = "PLACEHOLDER"


def write_wildlife_insights(
    target: Path, answers: Answers, options: ExportOptions
) -> Sequence[Note | str]:
    """Write ``images.csv`` of Wildlife Insights' batch upload; one row an animal.

    Parameters
    ----------
    target : Path
        CSV file.
    answers : Answers
        What is known of the pictures.
    options : ExportOptions
        ``about`` holds ``project.id``.

    Raises
    ------
    SourceError
        If the project, a deployment or a time is not known.

    References
    ----------
    Wildlife Insights, *Batch upload template: images*.
    """
    zone = Zone.parse(options.time_zone)
    project = str((options.about.get("project") or {}).get("id", ""))
    missing: dict[str, list[str]] = {}
    rows, n_unnamed = [], 0
    for picture, one in answers.observations:
        time = read_time(answers, picture, zone)
        required = {
            "project_id": answers.cell(picture.row, "projectid") or project,
            "deployment_id": answers.cell(picture.row, "deploymentid"),
            "timestamp": time.strftime("%Y-%m-%d %H:%M:%S") if time else "",
        }
        for name, said in required.items():
            if not said:
                missing.setdefault(name, []).append(picture.name)
                required[name] = "1970-01-01 00:00:00" if name == "timestamp" else PLACEHOLDER
        number = _find_id(answers, one)
        n_unnamed += not number
        row = required | _name(one) | {
            "wi_taxon_id": number,
            "image_id": answers.cell(picture.row, "imageid", "mediaid") or make_id(picture.name),
            "location": picture.name,
            "is_blank": str(int(one.content == BLANK)),
            "identified_by": _find_who(answers, one),
            "uncertainty": "" if one.score is None else f"{1 - one.score:.4f}",
            "age": answers.cell(one.row, "age", "lifestage"),
            "sex": answers.cell(one.row, "sex"),
            "individual_id": answers.cell(one.row, "individualid", "individual"),
            "number_of_objects": _count(answers, one),
        }  # fmt: skip
        rows.append([row.get(column, "") for column in _COLUMNS])
    if missing and not options.placeholders:
        raise SourceError(_tell_missing(missing))
    with replacing(target) as temporary:
        text = write_rows(_COLUMNS, rows, safe=options.safe_csv)
        temporary.write_text(text, encoding="utf-8", newline="")
    beside = Path(f"{target}.provenance.json")
    write_text(beside, json.dumps(dict(answers.provenance), indent=2) + "\n")
    notes: list[Note | str] = []
    if n_unnamed:
        notes.append(
            f"{n_unnamed:,} rows have no wi_taxon_id, as none came along with the store: Wildlife "
            "Insights asks for it; look the names up in its taxonomy"
        )
    if missing:
        filled = "; ".join(f"{name} of {len(names):,} rows" for name, names in missing.items())
        notes.append(Note(f"placeholders stand for {filled}", WARNING))
    notes += answers.tell_failed()
    return notes


def _tell_missing(missing: dict[str, list[str]]) -> str:
    said = "; ".join(
        f"{name} of {len(names):,} rows, such as that of {names[0]}"
        for name, names in missing.items()
    )
    return (
        f"Wildlife Insights requires what is not known: {said}; embed with columns of these names, "
        'give the project\'s id with --about FILE ({"project": {"id": …}}), or say '
        "--placeholders"
    )


def _find_id(answers: Answers, one: Observation) -> str:
    if one.best is None or one.content == HUMAN:
        return CONTENT_IDS[one.content]
    return find_taxon_id(answers, one)


def _find_who(answers: Answers, one: Observation) -> str:
    if one.machine:
        return answers.model if answers.provenance or one.machine == "bioprobe" else one.machine
    return one.by or answers.cell(one.row, "identifiedby", "classifiedby", "annotator")


def _name(one: Observation) -> dict[str, str]:
    taxon = one.taxon
    if taxon is not None and one.content != HUMAN:
        said = {rank.value: taxon.lineage[rank.depth] for rank in _RANKS}
        return said | {
            "species": taxon.epithet,
            "common_name": taxon.common_name or taxon.name,
        }
    if one.content == HUMAN:
        ranks = ("Mammalia", "Primates", "Hominidae", "Homo", "sapiens", "Human")
        return dict(zip((*(rank.value for rank in _RANKS), "species", "common_name"), ranks,
                        strict=True))  # fmt: skip
    if one.content == UNKNOWN and one.best is None:
        return dict.fromkeys(
            (*(rank.value for rank in _RANKS), "species", "common_name"), _NO_RESULT
        )
    return {"common_name": one.label.capitalize()}


def _count(answers: Answers, one: Observation) -> str:
    if one.content == BLANK:
        return "0"
    if one.n_regions > 1:
        return str(one.n_regions)
    return answers.cell(one.row, "count", "individualcount", "numberofobjects") or "1"


WILDLIFE_INSIGHTS = AnswerFormat(
    write_wildlife_insights,
    (".csv",),
    "images.csv of Wildlife Insights' batch upload",
    ("about", "placeholders", "time_zone", "safe_csv"),
)
