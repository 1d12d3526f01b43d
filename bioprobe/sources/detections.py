"""Output of detectors of animals: MegaDetector's, and Microsoft's of the same name.

References
----------
MegaDetector, "batch processing format", versions 1.0 to 1.6; AddaxAI's and EcoAssist's
``image_recognition_file.json`` and Timelapse's recognition file are of it. PytorchWildlife,
``save_detection_json``.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bioprobe.access import is_absent
from bioprobe.content import read_content
from bioprobe.errors import SourceError
from bioprobe.images.regions import DETECTION_CATEGORY, DETECTION_CONFIDENCE, DETECTOR
from bioprobe.names import unify
from bioprobe.sources.entries import (
    CAPTURED_AT,
    OF_VIDEO,
    BadEntry,
    Entries,
    Row,
    check_object,
    is_video_file,
    read_fields,
    read_score,
    read_sides,
    read_size,
    read_text,
    read_time,
)
from bioprobe.sources.formats import Format
from bioprobe.taxonomy.columns import FROM_MACHINE

if TYPE_CHECKING:
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part
    from bioprobe.sources.peek import Peek

#: Columns of what a classifier says of a region.
PREDICTION, PREDICTION_SCORE = "prediction", "prediction_score"
# Entries by which a file is recognised.
_LOOKED_AT = 100
_READ_OTHERWISE = (
    "file", "detections", "failure", "max_detection_conf", "frame_rate", "frames_processed",
    "img_id", "file_path",
)  # fmt: skip
_UNREAD = "the detector could not read it: "
_NO_CATEGORY = "{} detections are of a category that is not listed, and have none"
_NO_DETECTION = "{} pictures have no detection that is left, and no region"
WHOLE_REMEDY = "; name their folder too to embed them whole"


def find_entries(found: object, key: str = "") -> list[Any]:
    """Return the first entries of a file, or of a list in it; none where it is no such list."""
    listed = found.get(key) if isinstance(found, dict) and key else found
    return listed[:_LOOKED_AT] if isinstance(listed, list) else []


def _is_megadetector(peek: Peek) -> bool:
    """Tell whether a source is MegaDetector's output."""
    found = peek.json
    if not isinstance(found, dict) or "images" not in found or "annotations" in found:
        return False
    if "detection_categories" in found:
        return True
    marks = {"detections", "failure", "max_detection_conf"}
    return any(
        isinstance(one, dict) and "file" in one and marks & one.keys()
        for one in find_entries(found, "images")
    )


def _is_microsoft(peek: Peek) -> bool:
    """Tell whether a source is the output of Microsoft's MegaDetector."""
    found = peek.json
    if isinstance(found, dict):
        return any(
            isinstance(one, dict) and "img_id" in one for one in find_entries(found, "annotations")
        )
    marks = {"file", "img_id", "file_path"}
    return any(
        isinstance(one, dict) and "detections" in one and marks & one.keys()
        for one in find_entries(found)
    )


def read_list(found: Mapping[str, Any], key: str, peek: Peek) -> list[Any]:
    """Return a list of a JSON object.

    Raises
    ------
    SourceError
        If there is none.
    """
    listed = found.get(key)
    if not isinstance(listed, list):
        msg = f"{peek.path}: {key!r} is {type(listed).__name__}, expected a list of entries"
        raise SourceError(msg)
    return listed


def read_words(words: object) -> dict[str, str]:
    """Return a map of ids to words, of what JSON holds; what is none of it is left out."""
    items = words.items() if isinstance(words, dict) else ()
    return {str(key): word for key, value in items if (word := unify(read_text(value)))}


def name_category(word: str) -> str:
    """Return a detector's word for a category as the column ``detection_category`` has it."""
    content = read_content(word)
    return content if content in {"animal", "human", "vehicle"} else word


def _check_detections(entries: Entries, name: str, entry: Mapping[str, Any]) -> list[Any] | None:
    """Return the detections of an entry; None where it has none, which is then a failure."""
    failure, detections = entry.get("failure"), entry.get("detections")
    if failure and not detections:
        # What was exported says so already.
        said = read_text(failure).removeprefix(_UNREAD) or "it gives no reason"
        entries.fail(name, f"{_UNREAD}{said}")
        return None
    if not isinstance(detections, list):
        got = "missing or null" if detections is None else type(detections).__name__
        entries.fail(name, f"its detections are {got}, expected a list")
        return None
    if failure:
        entries.count("{} pictures have detections and a failure", read_text(failure))
    return detections


def read_detections(
    entries: Entries, name: str, detections: list[Any], read: Callable[[dict[str, Any], str], bool]
) -> tuple[int, int]:
    """Read detections one by one; those that cannot be are failures, and the rest goes on.

    Parameters
    ----------
    entries : Entries
    name : str
        Of the picture.
    detections : list
        As JSON has them.
    read : callable
        Told a detection and how a failure names it; returns whether it is kept.

    Returns
    -------
    n_kept, n_lost : int
    """
    n_kept = n_lost = 0
    for number, detection in enumerate(detections, start=1):
        at = f"detection {number}"
        try:
            n_kept += read(check_object(detection), at)
        except BadEntry as error:
            entries.fail(name, str(error), at)
            n_lost += 1
    return n_kept, n_lost


class MegaDetector:
    """Reads the entries of one file of MegaDetector's."""

    def __init__(self, peek: Peek, options: SourceOptions) -> None:
        found = peek.json
        info = found.get("info") if isinstance(found.get("info"), dict) else {}
        version = read_text(info.get("format_version"))
        if isinstance(info.get("format_version"), float):
            version = str(info["format_version"])
        what = f"the output of MegaDetector{f', format {version}' if version else ''}"
        self._images = read_list(found, "images", peek)
        self._options, self._base = options, options.root or peek.path.parent
        self._entries = Entries(peek.path, options, what)
        self._detector = unify(read_text(info.get("detector"))) or "MegaDetector"
        classifier = unify(read_text(info.get("classifier"))) or "a classifier"
        self._maker = f"{FROM_MACHINE}{classifier}"
        self._categories = read_words(found.get("detection_categories"))
        self._classes = read_words(found.get("classification_categories"))
        self._descriptions = read_words(found.get("classification_category_descriptions"))

    def list(self) -> Part:
        """Return the rows of all entries."""
        for number, entry in enumerate(self._images):
            self._entries.n_entries += 1
            name = read_text(entry.get("file")) if isinstance(entry, dict) else ""
            if not name.strip():
                self._entries.fail(f"images[{number}]", "the entry names no file, expected 'file'")
                continue
            self._read(name, entry)
        return self._entries.finish(maker=self._maker)

    def _read(self, name: str, entry: dict[str, Any]) -> None:
        detections = _check_detections(self._entries, name, entry)
        if detections is None:
            return
        is_video = _is_video(name, detections)
        if is_video and not detections:
            self._entries.fail(name, OF_VIDEO)
            return
        fields = read_fields(entry, _READ_OTHERWISE)
        if time := read_time(entry.get("datetime")):
            fields[CAPTURED_AT] = time
        pictures: dict[str, int] = {}
        n_gone = 0

        def read(detection: dict[str, Any], _at: str) -> bool:
            nonlocal n_gone
            row = self._read_detection(detection, fields)
            picture = _name_frame(name, detection) if is_video else name
            if row is None:
                return False
            if is_video and is_absent(self._base / picture):
                n_gone += 1
                return False
            if picture not in pictures:
                pictures[picture] = self._entries.add_picture(picture)
            self._entries.add(dataclasses.replace(row, picture=pictures[picture]))
            return True

        n_kept, n_lost = read_detections(self._entries, name, detections, read)
        if n_gone:
            self._entries.fail(name, f"{n_gone:,} detections left out: {OF_VIDEO}")
        elif not n_kept and not n_lost:
            self._entries.count(f"{_NO_DETECTION}{WHOLE_REMEDY}")

    def _read_detection(self, detection: dict[str, Any], fields: dict[str, Any]) -> Row | None:
        confidence = read_score(detection.get("conf"))
        region, is_cut = self._entries.read_box(detection.get("bbox"))
        key = read_text(detection.get("category"))
        word = self._categories.get(key, "")
        if not word:
            self._entries.count(_NO_CATEGORY, key or "without a category")
        category = name_category(word)
        if not self._entries.keep(category, word, confidence):
            return None
        values = {
            DETECTION_CATEGORY: category,
            DETECTION_CONFIDENCE: confidence,
            DETECTOR: self._detector,
            **fields,
        }
        frame = detection.get("frame_number")
        if isinstance(frame, int) and not isinstance(frame, bool):
            values["frame_number"] = frame
        label, values_of_class = self._read_classes(detection.get("classifications"))
        return Row(-1, region, {**values, **values_of_class}, label, is_cut)

    def _read_classes(self, classifications: object) -> tuple[str, dict[str, Any]]:
        """Return the surest class of a detection, as a label and as columns."""
        scored = []
        given = classifications if isinstance(classifications, list) else []
        if classifications is not None and not isinstance(classifications, list):
            given = [classifications]
        for one in given:
            try:
                pair = one if isinstance(one, list) and len(one) == 2 else (None, None)
                scored.append((read_score(pair[1]), read_text(pair[0])))
            except BadEntry:
                self._entries.count(
                    "{} classifications cannot be read, expected [id, score]; left out", one
                )
        if not scored:
            return "", {}
        score, key = max(scored, key=lambda one: one[0])
        name, description = self._classes.get(key, ""), self._descriptions.get(key, "")
        if not name and not description:
            self._entries.count("{} classifications are of a class that is not listed", key)
            return "", {PREDICTION_SCORE: score}
        is_taxon = description.count(";") >= _TAXON_MARKS
        return (description if is_taxon else name or description), {
            PREDICTION: name or description, PREDICTION_SCORE: score,
        }  # fmt: skip


# Of a text that names a taxon, from its identifier on.
_TAXON_MARKS = 5


def _list_megadetector(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the regions that MegaDetector's output has."""
    return [MegaDetector(peek, options).list()]


def _is_video(name: str, detections: list[Any]) -> bool:
    has_frames = any(isinstance(one, dict) and "frame_number" in one for one in detections)
    return has_frames or is_video_file(name)


def _name_frame(name: str, detection: dict[str, Any]) -> str:
    """Return the picture of a frame, as MegaDetector's ``video_utils`` names it."""
    number = detection.get("frame_number")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 63:
        msg = f"its frame_number is {number!r:.40}, expected a whole number"
        raise BadEntry(msg)
    return f"{name}/frame{number:06d}.jpg"


def _list_microsoft(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the regions that Microsoft's detector has: boxes as corners in pixels.

    They are made relative by the size that an entry says, else by the picture's own.
    """
    found = peek.json
    entries = Entries(peek.path, options, "the output of Microsoft's MegaDetector")
    words = read_words(found.get("categories")) if isinstance(found, dict) else {}
    listed = read_list(found, "annotations", peek) if isinstance(found, dict) else found
    for number, entry in enumerate(listed):
        entries.n_entries += 1
        name = _read_name(entry)
        if not name.strip():
            entries.fail(f"entry {number + 1}", "the entry names no file, expected 'file'")
            continue
        _read_microsoft(entries, name, entry, words)
    return [entries.finish()]


def _read_name(entry: object) -> str:
    names = ("file", "img_id", "file_path")
    if not isinstance(entry, dict):
        return ""
    return next((name for key in names if (name := read_text(entry.get(key))).strip()), "")


def _read_microsoft(
    entries: Entries, name: str, entry: dict[str, Any], words: Mapping[str, str]
) -> None:
    if "bbox" in entry:
        entry = {**entry, "detections": list(_list_columns(entry))}
    detections = _check_detections(entries, name, entry)
    if detections is None:
        return
    picture = entries.add_picture(name)
    left_out = (*_READ_OTHERWISE, "bbox", "category", "confidence", "width", "height")
    fields, size = read_fields(entry, left_out), read_size(entry)

    def read(detection: dict[str, Any], at: str) -> bool:
        confidence = read_score(detection.get("confidence", detection.get("conf")))
        left, upper, right, lower = sides = read_sides(detection.get("bbox"))
        if max(map(abs, sides)) <= 1:
            msg = f"box {list(sides)} is of less than a pixel, expected corners in pixels"
            raise BadEntry(msg)
        key = read_text(detection.get("category"))
        word = words.get(key, "" if words else key)
        if not word:
            entries.count(_NO_CATEGORY, key or "without a category")
        values = {
            DETECTION_CATEGORY: name_category(word),
            DETECTION_CONFIDENCE: confidence,
            DETECTOR: "MegaDetector (Microsoft)",
            **fields,
        }
        if not entries.keep(values[DETECTION_CATEGORY], word, confidence):
            return False

        def make(width: int, height: int) -> Row:
            region, is_cut = entries.clip(
                left / width, upper / height, (right - left) / width, (lower - upper) / height
            )
            return Row(picture, region, values, is_cut=is_cut)

        entries.add_sized(picture, make, at, size)
        return True

    n_kept, n_lost = read_detections(entries, name, detections, read)
    if not n_kept and not n_lost:
        entries.count(f"{_NO_DETECTION}{WHOLE_REMEDY}")


def _list_columns(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Find the detections of an entry that has a list of each of their values.

    Yields
    ------
    dict
    """
    keys = ("bbox", "category", "confidence")
    columns: list[list[Any]] = []
    for key in keys:
        column = entry.get(key)
        columns.append(column if isinstance(column, list) else [])
    for values in itertools.zip_longest(*columns):
        yield dict(zip(keys, values, strict=True))


MEGADETECTOR = Format(
    "megadetector",
    "MegaDetector's output, format 1.0 to 1.6, also as image_recognition_file.json",
    _is_megadetector,
    _list_megadetector,
)


MICROSOFT = Format(
    "megadetector-microsoft",
    "output of Microsoft's MegaDetector: a list, or PytorchWildlife's annotations",
    _is_microsoft,
    _list_microsoft,
)
