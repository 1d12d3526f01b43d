"""A FiftyOne dataset, as FiftyOne itself writes one to disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioprobe.errors import SourceError
from bioprobe.exporting.answers import Answers, Observation, Picture
from bioprobe.exporting.form import AnswerFormat, ExportOptions
from bioprobe.files import replacing_folder
from bioprobe.images.regions import Region
from bioprobe.result import Note

# Of FiftyOne, whose later versions migrate what an earlier one wrote.
_VERSION = "1.0.0"
_FIELDS, _LABELS = "fiftyone.core.fields.", "fiftyone.core.labels."
_WHOLE_FIELD, _BOX_FIELD = "prediction", "detections"


def _write_fiftyone(
    target: Path, answers: Answers, _options: ExportOptions
) -> Sequence[Note | str]:
    """Write a dataset that ``fiftyone.Dataset.from_dir`` reads as ``FiftyOneDataset``.

    The samples name the files where they lie; none is copied. Rows of data sets and addresses have
    none, and are left out and counted.

    References
    ----------
    Voxel51, *FiftyOne user guide*, FiftyOneDataset.
    """
    samples: list[dict[str, Any]] = []
    n_gone = 0
    for picture in answers.read:
        file = answers.view.images.locate(picture.row).find_file()
        if file is None:
            n_gone += 1
            continue
        samples.append(_write_sample(answers, picture, file.absolute(), len(samples)))
    if not samples:
        msg = (
            "none of the pictures is a file, which a FiftyOne dataset names; export to "
            "embedding-atlas, which holds thumbnails"
        )
        raise SourceError(msg)
    with replacing_folder(target) as folder:
        texts = {
            "metadata.json": json.dumps(_describe(target.name, answers), indent=1),
            "samples.json": json.dumps({"samples": samples}, indent=1, ensure_ascii=False),
        }
        for name, text in texts.items():
            (folder / name).write_text(text + "\n", encoding="utf-8")
    notes: list[Note | str] = []
    if n_gone:
        notes.append(f"{n_gone:,} pictures are no files of their own and left out")
    notes += answers.tell_failed()
    return notes


def _make_id(*parts: str) -> dict[str, str]:
    return {"$oid": hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]}


def _write_sample(answers: Answers, picture: Picture, file: Path, number: int) -> dict[str, Any]:
    frame = answers.view.images.frame
    wholes = [one for one in picture.observations if one.region is None]
    boxes = [one for one in picture.observations if one.region is not None]
    width, height = (int(frame[f"{side}_px"].iloc[picture.row]) for side in ("width", "height"))
    sample: dict[str, Any] = {
        "_id": _make_id(str(file)),
        "filepath": str(file),
        "tags": sorted({one.content for one in picture.observations}),
        "_media_type": "image",
        # By which views are shuffled: any spread over 0 to 1 serves.
        "_rand": (number * 0.618034) % 1,
        "metadata": {
            "_cls": "ImageMetadata", "size_bytes": int(frame["n_bytes"].iloc[picture.row]),
            "width": width or None, "height": height or None,
        },
        "file_name": picture.name,
        _WHOLE_FIELD: None,
        _BOX_FIELD: None,
    }  # fmt: skip
    place = answers.places.get(picture.name)
    sample["location"] = place and {
        "_id": _make_id(str(file), "location"), "_cls": "GeoLocation", "tags": [],
        "point": {"type": "Point", "coordinates": [place.longitude, place.latitude]},
        "line": None, "polygon": None,
    }  # fmt: skip
    if wholes:
        labels = [_write_label(one, str(file)) for one in wholes]
        sample[_WHOLE_FIELD] = {"_cls": "Classifications", "classifications": labels}
    if boxes:
        found = []
        for one in boxes:
            box = one.region
            assert isinstance(box, Region)
            made = _write_label(one, str(file)) | {"_cls": "Detection"}
            sides = [box.x, box.y, box.width, box.height]
            found.append(made | {"bounding_box": sides, "mask": None, "index": None})
        sample[_BOX_FIELD] = {"_cls": "Detections", "detections": found}
    return sample


def _write_label(one: Observation, file: str) -> dict[str, Any]:
    return {
        "_id": _make_id(file, one.name, str(one.row)), "_cls": "Classification", "tags": [],
        "label": one.label, "confidence": one.score, "logits": None, "content": one.content,
        "lineage": list(one.taxon.lineage) if one.taxon else [],
        "common_name": one.taxon.common_name if one.taxon else "",
        "row": one.row,
    }  # fmt: skip


def _describe(name: str, answers: Answers) -> dict[str, Any]:
    simple = {"lineage": "ListField", "common_name": "StringField", "content": "StringField",
              "row": "IntField"}  # fmt: skip
    label = [
        _field("id", "ObjectIdField", db_field="_id"), _field("tags", "ListField", "StringField"),
        _field("label", "StringField"), _field("confidence", "FloatField"),
        *(_field(one, kind, "StringField" if kind == "ListField" else None)
          for one, kind in simple.items()),
    ]  # fmt: skip
    box = [*label, _field("bounding_box", "ListField", "FloatField")]
    listed = f"{_FIELDS}EmbeddedDocumentField"
    fields = [
        _field("id", "ObjectIdField", db_field="_id"), _field("filepath", "StringField"),
        _field("tags", "ListField", "StringField"),
        _embed("metadata", "fiftyone.core.metadata.ImageMetadata", [
            _field("size_bytes", "IntField"), _field("mime_type", "StringField"),
            _field("width", "IntField"), _field("height", "IntField"),
        ]),
        _field("file_name", "StringField"),
        _embed("location", f"{_LABELS}GeoLocation", [_field("point", "GeoPointField")]),
        _embed(_WHOLE_FIELD, f"{_LABELS}Classifications", [
            _field("classifications", "ListField", listed, label, f"{_LABELS}Classification"),
        ]),
        _embed(_BOX_FIELD, f"{_LABELS}Detections", [
            _field("detections", "ListField", listed, box, f"{_LABELS}Detection"),
        ]),
    ]  # fmt: skip
    return {
        "name": name,
        "version": _VERSION,
        "media_type": "image",
        "sample_fields": fields,
        "info": {"classifier": answers.model, "provenance": dict(answers.provenance)},
        "app_config": {},
        "classes": {},
        "default_classes": [],
        "mask_targets": {},
        "default_mask_targets": {},
        "skeletons": {},
        "tags": [],
    }


def _field(
    name: str,
    kind: str,
    subfield: str | None = None,
    fields: Sequence[dict[str, Any]] = (),
    document: str | None = None,
    *,
    db_field: str | None = None,
) -> dict[str, Any]:
    below = subfield if subfield is None or "." in subfield else f"{_FIELDS}{subfield}"
    return {
        "name": name, "ftype": f"{_FIELDS}{kind}", "embedded_doc_type": document,
        "subfield": below, "fields": list(fields), "db_field": db_field or name,
        "description": None, "info": None, "read_only": False,
    }  # fmt: skip


def _embed(name: str, document: str, fields: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return _field(name, "EmbeddedDocumentField", None, fields, document)


FIFTYONE = AnswerFormat(
    _write_fiftyone, ("",), "a FiftyOne dataset (FiftyOneDataset)", tells_places=True
)
