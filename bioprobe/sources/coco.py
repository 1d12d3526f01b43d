"""COCO Camera Traps: what people said of pictures, and boxes that they drew.

References
----------
LILA BC, "COCO Camera Traps" format, 1.0 and later; iNaturalist 2021 and iWildCam are of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bioprobe.images.regions import DETECTION_CATEGORY, DETECTION_CONFIDENCE
from bioprobe.names import unify
from bioprobe.result import WARNING
from bioprobe.sources.detections import find_entries, name_category, read_list
from bioprobe.sources.entries import (
    CAPTURED_AT,
    BadEntry,
    Entries,
    Row,
    read_fields,
    read_score,
    read_sides,
    read_size,
    read_text,
    read_time,
)
from bioprobe.sources.formats import Format
from bioprobe.sources.machine_labels import read_machine_labels
from bioprobe.taxonomy import RANKS, Rank

if TYPE_CHECKING:
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part
    from bioprobe.sources.peek import Peek

_IMAGE_NAMES = {"id": "media_id"}
_ANNOTATION_NAMES = {"id": "observation_id"}


def _is_coco(peek: Peek) -> bool:
    """Tell whether a source is of COCO's format."""
    found = peek.json
    if not isinstance(found, dict) or "images" not in found or "detection_categories" in found:
        return False
    if not {"annotations", "categories"} & found.keys():
        return False
    entries = find_entries(found, "images")
    is_known = any(isinstance(one, dict) and "file_name" in one for one in entries)
    return is_known or found["images"] == []


def _list_coco(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the annotations of a COCO file: each a row, of a picture or of a box in it.

    A picture that nobody annotated is a row without a label.
    """
    return [_Coco(peek, options).list_rows()]


class _Coco:
    """Reads one file."""

    def __init__(self, peek: Peek, options: SourceOptions) -> None:
        self._found = peek.json
        self._images = read_list(self._found, "images", peek)
        self._entries = Entries(peek.path, options, "COCO Camera Traps")
        self._known: dict[str, str] = {}
        self._words = self._read_categories()
        listed = self._found.get("annotations")
        self._annotations = listed if isinstance(listed, list) else []
        if listed is not None and not isinstance(listed, list):
            self._entries.count("{} lists of annotations cannot be read", kind=WARNING)
        self._is_relative = self._are_relative()

    def _are_relative(self) -> bool:
        """Tell whether all boxes are of numbers up to 1: of pixels they would hold nothing."""
        boxes = [one.get("bbox") for one in self._annotations if isinstance(one, dict)]
        sides = [side for box in boxes if isinstance(box, list) for side in box]
        is_relative = bool(sides) and all(
            isinstance(side, float | int) and 0 <= side <= 1 for side in sides
        )
        if is_relative:
            self._entries.count(
                "{} boxes are of numbers up to 1, and taken as relative to their picture",
                kind=WARNING, n=len(boxes),
            )  # fmt: skip
        return is_relative

    def list_rows(self) -> Part:
        """Return the rows of all pictures and annotations."""
        entries, by_image = self._entries, self._group()
        known = set()
        for number, image in enumerate(self._images):
            entries.n_entries += 1
            name = read_text(image.get("file_name")) if isinstance(image, dict) else ""
            key = read_text(image.get("id")) if isinstance(image, dict) else ""
            mine = by_image.get(key, []) if key else []
            if key in known:
                entries.count("{} pictures have the id of another, and no annotations", key,
                              kind=WARNING)  # fmt: skip
                mine = []
            known.add(key)
            if not name.strip():
                entries.fail(f"images[{number}]", "the entry names no file, expected 'file_name'")
                if mine:
                    entries.count("{} annotations are of a picture without a file", key,
                                  kind=WARNING, n=len(mine))  # fmt: skip
                continue
            self._take(name, image, mine)
        for key, lost in by_image.items():
            if key not in known:
                entries.count("{} annotations are of a picture that is not listed, and left out",
                              key, kind=WARNING, n=len(lost))  # fmt: skip
        return entries.finish()

    def _group(self) -> dict[str, list[tuple[int, dict[str, Any]]]]:
        """Return the annotations of each picture, with their numbers."""
        by_image: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for number, one in enumerate(self._annotations):
            self._entries.n_entries += 1
            key = read_text(one.get("image_id")) if isinstance(one, dict) else ""
            if isinstance(one, dict) and key:
                by_image.setdefault(key, []).append((number, one))
            else:
                self._entries.fail(
                    f"annotations[{number}]", "the entry names no picture, expected 'image_id'"
                )
        return by_image

    def _read_categories(self) -> dict[str, str]:
        """Return the label of each category; one that has a lineage as a text of nine parts."""
        listed = self._found.get("categories")
        words: dict[str, str] = {}
        doubled = set()
        for one in listed if isinstance(listed, list) else []:
            key = read_text(one.get("id")) if isinstance(one, dict) else ""
            word = _write_category(one) if key else ""
            if not word:
                self._entries.count("{} categories have no id or no name, and are none", one)
            elif words.setdefault(key, word) != word:
                doubled.add(key)
        for key in doubled:
            self._entries.count("{} ids are of several categories, which are none", key,
                                kind=WARNING)  # fmt: skip
        return {key: word for key, word in words.items() if key not in doubled}

    def _take(
        self, name: str, image: dict[str, Any], annotations: list[tuple[int, dict[str, Any]]]
    ) -> None:
        entries, picture = self._entries, self._entries.add_picture(name)
        fields = read_fields(image, ("file_name",), _IMAGE_NAMES)
        time = read_time(image.get("datetime")) or read_time(image.get("date_captured"))
        if time:
            fields[CAPTURED_AT] = time
        if sequence := read_text(image.get("seq_id")):
            fields.setdefault("sequence_id", sequence)
        if not annotations:
            if entries.keep("", "", None):
                entries.count("{} pictures have no annotation, and no label")
                entries.add(Row(picture, None, fields))
            return
        for number, annotation in annotations:
            at = f"annotations[{number}]"
            try:
                self._take_annotation(picture, image, annotation, fields, at)
            except BadEntry as error:
                entries.fail(name, str(error), at)

    def _take_annotation(
        self, picture: int, image: dict[str, Any], annotation: dict[str, Any],
        fields: dict[str, Any], at: str,
    ) -> None:  # fmt: skip
        entries, key = self._entries, read_text(annotation.get("category_id"))
        word = self._words.get(key, "")
        if not word:
            text = "{} annotations are of a category that is not listed, and have no label"
            entries.count(text, key or "without a category", kind=WARNING)
        own = read_fields(
            annotation, ("image_id", "category_id", "bbox", "segmentation"), _ANNOTATION_NAMES
        )
        own = {f"annotation_{n}" if n in fields else n: value for n, value in own.items()}
        box, score = annotation.get("bbox"), None
        category = self._name_category(word)
        if annotation.get("score") is not None:
            score = read_score(annotation.get("score"), "score")
        if not entries.keep(category, word.split(";")[-1], score):
            return
        values = {**fields, **own}
        if box is None or box == []:
            entries.add(Row(picture, None, values, word))
            return
        sides = read_sides(box)
        values[DETECTION_CATEGORY] = category
        if score is not None:
            values[DETECTION_CONFIDENCE] = score

        def make(width: int, height: int) -> Row:
            x, y, box_width, box_height = sides
            if self._is_relative:
                width = height = 1
            region, is_cut = entries.clip(
                x / width, y / height, box_width / width, box_height / height
            )
            return Row(picture, region, values, word, is_cut)

        entries.add_sized(picture, make, at, read_size(image))

    def _name_category(self, word: str) -> str:
        if word not in self._known:
            labels = read_machine_labels([word])
            self._known[word] = str(labels["content"].iloc[0]) or name_category(word)
        return self._known[word]


def _write_category(category: Mapping[str, Any]) -> str:
    """Return what a category is called, with its lineage where it has one."""
    name = unify(read_text(category.get("name")))
    above = [unify(read_text(category.get(rank.value))) for rank in RANKS[: Rank.SPECIES.depth]]
    epithet = unify(read_text(category.get("specific_epithet")))
    if not any(above):
        return name
    if not epithet and " " in name and above[-1]:
        epithet = name.partition(" ")[2]
    common = unify(read_text(category.get("common_name")))
    return ";".join(part.replace(";", ",") for part in ("", *above, epithet, common))


COCO = Format(
    "coco",
    "COCO Camera Traps (LILA), with boxes or without",
    _is_coco,
    _list_coco,
)
