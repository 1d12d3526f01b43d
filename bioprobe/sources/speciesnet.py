"""SpeciesNet's predictions: of a picture (4.x), or of each detection in it (5.x).

References
----------
SpeciesNet (google/cameratrapai), "Output Schemas".
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from bioprobe.images.regions import DETECTION_CATEGORY, DETECTION_CONFIDENCE, DETECTOR, Region
from bioprobe.names import unify
from bioprobe.result import WARNING
from bioprobe.sources.detections import (
    PREDICTION,
    PREDICTION_SCORE,
    WHOLE_REMEDY,
    find_entries,
    name_category,
    read_detections,
    read_list,
)
from bioprobe.sources.entries import (
    OF_VIDEO,
    BadEntry,
    Entries,
    Row,
    is_video_file,
    read_fields,
    read_score,
    read_text,
)
from bioprobe.sources.formats import Format
from bioprobe.sources.machine_labels import read_machine_labels
from bioprobe.taxonomy.columns import FROM_MACHINE

if TYPE_CHECKING:
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part
    from bioprobe.sources.peek import Peek

_WHOLE = "0"
_CATEGORIES = {"1": "animal", "2": "human", "3": "vehicle"}
_READ_OTHERWISE = (
    "filepath", "failures", "classifications", "detections", PREDICTION, PREDICTION_SCORE,
    "prediction_source",
)  # fmt: skip


def _is_speciesnet(peek: Peek) -> bool:
    """Tell whether a source holds SpeciesNet's predictions."""
    found = peek.json
    if not isinstance(found, dict) or "predictions" not in found:
        return False
    entries = find_entries(found, "predictions")
    is_known = any(isinstance(one, dict) and "filepath" in one for one in entries)
    return is_known or found["predictions"] == []


def _list_speciesnet(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the regions of SpeciesNet's predictions.

    The answer for a picture is that of its surest detection of the kind that the answer is, an
    animal or a person; the others have it in ``prediction``, and no taxon. A picture without the
    key ``detections`` is a row of the whole of it.
    """
    found = peek.json
    info = found.get("info") if isinstance(found.get("info"), dict) else {}
    version = read_text(info.get("format_version"))
    what = f"SpeciesNet's predictions, format {version}" if version else "SpeciesNet's predictions"
    reading = _Reading(Entries(peek.path, options, what))
    for number, entry in enumerate(read_list(found, "predictions", peek)):
        reading.take(number, entry)
    return [reading.entries.finish(maker=reading.name_maker())]


class _Reading:
    """Reads predictions one by one."""

    def __init__(self, entries: Entries) -> None:
        self.entries = entries
        self._versions: dict[str, None] = {}
        self._contents: dict[str, str] = {}

    def name_maker(self) -> str:
        """Return what labels are said to be from."""
        versions = ", ".join(self._versions)
        return FROM_MACHINE + (_name_model(versions) or "SpeciesNet")

    def take(self, number: int, entry: object) -> None:
        entries = self.entries
        entries.n_entries += 1
        name = read_text(entry.get("filepath")) if isinstance(entry, dict) else ""
        if not isinstance(entry, dict) or not name.strip():
            entries.fail(f"predictions[{number}]", "the entry names no file, expected 'filepath'")
            return
        if is_video_file(name):
            entries.fail(name, OF_VIDEO)
            return
        failures = entry.get("failures")
        listed = failures if isinstance(failures, list) else [failures] if failures else []
        failed = ", ".join(filter(None, map(read_text, listed))) or ("unnamed" if listed else "")
        detections = entry.get("detections")
        answer = self._read_answer(entry, name)
        if not isinstance(detections, list) and detections is not None:
            got = type(detections).__name__
            entries.fail(name, f"its detections are {got}, expected a list")
            return
        if failed and not detections and not answer.word:
            entries.fail(name, f"SpeciesNet failed: {failed}")
            return
        if failed:
            entries.count("{} predictions are of a part that failed", failed, kind=WARNING)
        version = unify(read_text(entry.get("model_version")))
        if version:
            self._versions.setdefault(version)
        fields = read_fields(entry, _READ_OTHERWISE)
        fields[DETECTOR] = _name_model(version)
        if detections is None:
            if not answer.word:
                entries.fail(name, "it has no detections and no prediction, expected either")
                return
            if entries.keep("", "", None):
                picture = entries.add_picture(name)
                entries.add(Row(picture, None, {**answer.values, **fields}, answer.word))
            return
        self._take_detections(name, detections, answer, fields)

    def _take_detections(
        self, name: str, detections: list[Any], answer: _Answer, fields: dict[str, Any]
    ) -> None:
        entries = self.entries
        found: list[_Detection] = []

        def read(detection: dict[str, Any], at: str) -> bool:
            found.append(self._read_detection(detection, f"{name}, {at}"))
            return True

        _, n_lost = read_detections(entries, name, detections, read)
        rows = self._list_boxes([one for one in found if one.region is not None], answer)
        if len(rows) > 1 and answer.word:
            entries.count(
                "{} pictures have one prediction and several regions: it labels the surest of "
                "its kind"
            )
        rows += self._list_wholes([one for one in found if one.region is None], answer, bool(rows))
        if rows:
            picture = entries.add_picture(name)
            for row in rows:
                values = {**row.values, **fields}
                entries.add(dataclasses.replace(row, picture=picture, values=values))
        elif not n_lost:
            self._count_empty(answer)

    def _list_boxes(self, boxes: list[_Detection], answer: _Answer) -> list[Row]:
        rows = []
        # A person's box is not that of the animal beside, however sure either is.
        kind = self._read_content(answer.word) if answer.word else ""
        surest = max(
            boxes,
            key=lambda one: (one.values[DETECTION_CATEGORY] == kind, one.confidence),
            default=None,
        )
        for one in boxes:
            if self.entries.keep(one.values[DETECTION_CATEGORY], one.word, one.confidence):
                # In the newer form each has its own.
                said = one.own.values or answer.values
                word = one.own.word or (answer.word if one is surest else "")
                rows.append(Row(-1, one.region, {**one.values, **said}, word, one.is_cut))
        return rows

    def _list_wholes(
        self, wholes: list[_Detection], answer: _Answer, has_regions: bool
    ) -> list[Row]:
        rows = []
        for one in wholes:
            if has_regions:
                self.entries.count(
                    "{} classes are of a whole picture that has regions, and left out"
                )
            elif self.entries.keep("", one.word, one.confidence):
                said = one.own if one.own.word else answer
                values = {DETECTION_CONFIDENCE: one.confidence, **said.values}
                rows.append(Row(-1, None, values, said.word))
        return rows

    def _read_content(self, word: str) -> str:
        if word not in self._contents:
            labels = read_machine_labels([word])
            self._contents[word] = str(labels["content"].iloc[0])
        return self._contents[word]

    def _count_empty(self, answer: _Answer) -> None:
        content = self._read_content(answer.word)
        predicted = f" (predicted: {content})" if content else ""
        self.entries.count(
            f"{{}} pictures have no detection that is left, and no region{predicted}{WHOLE_REMEDY}"
        )

    def _read_detection(self, detection: dict[str, Any], where: str) -> _Detection:
        key, word = read_text(detection.get("category")), unify(read_text(detection.get("label")))
        is_whole = key == _WHOLE
        if is_whole and detection.get("conf") is None:
            confidence = 1.0
        else:
            confidence = read_score(detection.get("conf"))
        region, is_cut = None, False
        if not is_whole:
            region, is_cut = self.entries.read_box(detection.get("bbox"))
        word = word or _CATEGORIES.get(key, "")
        if not word and not is_whole:
            self.entries.count(
                "{} detections are of a category that is not listed, and have none",
                key or "without a category",
            )
        category = "" if is_whole else name_category(word)
        values = {DETECTION_CATEGORY: category, DETECTION_CONFIDENCE: confidence}
        own = _Answer("", {})
        if "processed_classification" in detection or "raw_classifications" in detection:
            own = self._read_own(detection, where)
        return _Detection(confidence, region, values, own, word, is_cut)

    def _read_own(self, detection: dict[str, Any], where: str) -> _Answer:
        """Return what the newer form says of one detection."""
        processed = detection.get("processed_classification")
        if processed is not None and not isinstance(processed, dict):
            self._count_bad(where)
        of = processed if isinstance(processed, dict) else {}
        return self._make_answer(
            of.get("class"), of.get("score"), of.get("source"),
            detection.get("raw_classifications"), where,
        )  # fmt: skip

    def _read_answer(self, entry: dict[str, Any], name: str) -> _Answer:
        """Return what the older form says of a picture."""
        return self._make_answer(
            entry.get(PREDICTION), entry.get(PREDICTION_SCORE), entry.get("prediction_source"),
            entry.get("classifications"), name,
        )  # fmt: skip

    def _make_answer(
        self, label: object, score: object, source: object, raw: object, where: str
    ) -> _Answer:
        values: dict[str, Any] = {}
        word = unify(read_text(label))
        if label is not None and not word:
            self._count_bad(where)
        if word:
            values[PREDICTION] = word
        if score is not None:
            try:
                values[PREDICTION_SCORE] = read_score(score)
            except BadEntry:
                self._count_bad(where)
        if isinstance(source, str):
            values["prediction_source"] = read_text(source)
        classes, scores = (
            raw.get(key) if isinstance(raw, dict) else None for key in ("classes", "scores")
        )
        if isinstance(classes, list) and isinstance(scores, list) and classes and scores:
            try:
                values["classification"] = read_text(classes[0])
                values["classification_score"] = read_score(scores[0])
            except BadEntry:
                self._count_bad(where)
        elif raw is not None and not (classes == scores == []):
            self._count_bad(where)
        # Who ran the classifier alone has no prediction but its classes.
        return _Answer(word or values.get("classification", ""), values)

    def _count_bad(self, where: str) -> None:
        text = "{} classes or scores cannot be read, and are left out"
        self.entries.count(text, where, kind=WARNING)


def _name_model(version: str) -> str:
    """Return the name of a model of a version; another program writes its own name there."""
    is_other = version[:1].isalpha() and re.match(r"v?\d", version) is None
    return version if is_other else f"SpeciesNet {version}".strip()


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What is said of a picture or a detection: a label, and columns."""

    word: str
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Detection:
    """A detection; the whole picture has no region."""

    confidence: float
    region: Region | None
    values: dict[str, Any]
    own: _Answer
    word: str
    is_cut: bool


SPECIESNET = Format(
    "speciesnet",
    "SpeciesNet's predictions, 4.x and 5.x",
    _is_speciesnet,
    _list_speciesnet,
)
