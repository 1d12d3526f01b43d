"""Crops of regions as pictures, in folders by label: what other tools are trained on."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bioprobe.errors import ImageReadError, SourceError
from bioprobe.exporting.answers import HUMAN, Answers, Observation
from bioprobe.exporting.form import AnswerFormat, ExportOptions, write_rows
from bioprobe.files import replacing_folder
from bioprobe.images.writing import SUFFIX, write_picture
from bioprobe.options import LEAVE_OUT
from bioprobe.result import PROBLEM, Note

_TABLE = "crops.csv"
_COLUMNS = (
    "file_name", "label", "content", "score", "picture", "image_region", "width_px", "height_px",
)  # fmt: skip
# What no file system in use takes in a name, and what hides one.
_BARRED = re.compile(r'[<>:"/\\|?*\x00-\x1f]+|^\.+|[. ]+$')
_LONGEST = 100


def _write_crops(target: Path, answers: Answers, options: ExportOptions) -> Sequence[Note | str]:
    """Write each box as a picture, in a folder that its label names, and a table of all.

    The crop is what was embedded, padded and made square as that was. Boxes of people are left out
    unless ``people`` says otherwise, and a person in another's box is obscured; whole pictures are
    no crops. What is left out is counted. What a camera wrote of place and time goes with none.
    """
    counts: Counter[str] = Counter()
    failed: list[str] = []
    rows: list[list[object]] = []
    taken: set[str] = set()
    with replacing_folder(target) as folder:
        for picture in answers.read:
            boxes = [one for one in picture.observations if one.region is not None]
            counts["whole"] += len(picture.observations) - len(boxes)
            is_bare = options.people == LEAVE_OUT
            shown = [one for one in boxes if not (is_bare and one.content == HUMAN)]
            counts["people"] += len(boxes) - len(shown)
            if not shown:
                continue
            try:
                whole = answers.decode(picture, options.people)
            except (ImageReadError, SourceError, OSError) as error:
                failed.append(f"{picture.name}: {error}")
                continue
            for one in shown:
                assert one.region is not None
                crop = whole.crop(one.region.to_pixels(*whole.size))
                crop.info = whole.info
                name = _name_crop(picture.name, one, taken)
                file = folder / name
                file.parent.mkdir(exist_ok=True)
                write_picture(crop, file)
                rows.append([name, one.label, one.content, one.score, picture.name, one.name,
                             *crop.size])  # fmt: skip
        if not rows:
            raise SourceError(_tell_none(counts, failed))
        text = write_rows(_COLUMNS, rows, safe=options.safe_csv)
        (folder / _TABLE).write_text(text, encoding="utf-8", newline="")
        said = json.dumps(dict(answers.provenance), indent=2) + "\n"
        (folder / f"{_TABLE}.provenance.json").write_text(said, encoding="utf-8")
    notes: list[Note | str] = [f"{len(rows):,} crops"]
    if counts["people"]:
        notes.append(f"{counts['people']:,} boxes of people are left out")
    if counts["whole"]:
        notes.append(f"{counts['whole']:,} answers to whole pictures are no crops and left out")
    if failed:
        notes.append(Note(f"{len(failed):,} pictures cannot be read: {'; '.join(failed)}", PROBLEM))
    return notes


def _tell_none(counts: Counter[str], failed: list[str]) -> str:
    why = [
        f"{counts['whole']:,} are of whole pictures" if counts["whole"] else "",
        f"{counts['people']:,} of people" if counts["people"] else "",
        f"{len(failed):,} pictures cannot be read, such as {failed[0]}" if failed else "",
    ]
    said = ", ".join(filter(None, why)) or "there is none"
    return f"none of the answers is of a box that can be written: {said}; embed a detector's file"


def _name_crop(picture: str, one: Observation, taken: set[str]) -> str:
    """Return a name that no other crop has, on file systems that know no case either."""
    label = _clean(one.label) or "unknown"
    stem = _clean(picture.rpartition(".")[0].replace("/", "_")) or "picture"
    name, number = f"{label}/{stem}{SUFFIX}", 1
    while name.casefold() in taken:
        number += 1
        name = f"{label}/{stem}-{number}{SUFFIX}"
    taken.add(name.casefold())
    return name


def _clean(text: str) -> str:
    return _BARRED.sub("_", text.strip())[-_LONGEST:].strip()


CROPS = AnswerFormat(
    _write_crops, ("",), "crops of boxes as pictures, by label", ("safe_csv", "people")
)
