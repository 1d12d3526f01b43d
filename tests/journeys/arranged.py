"""Real photographs laid out as each tool of the field does, with what the tool says of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

#: Folders of ``../shared/data/photos``, one photograph each.
SPECIES = (
    "alces-alces", "bison-bison", "puma-concolor", "ursus-maritimus", "branta-canadensis",
    "turdus-migratorius", "martes-americana", "lemur-catta", "loxodonta-africana",
    "panthera-tigris", "panthera-onca", "ardea-herodias",
)  # fmt: skip
HUMAN = "mammalia;primates;hominidae;homo;sapiens;human"
BLANK_ID = "f1856211-cfb7-4a5b-9158-c0f72fd09ee6"
#: Where the cameras stand: latitude and longitude.
PLACES = {"cam1": (47.1234, 8.2571), "cam2": (47.3456, 8.4683)}


@dataclasses.dataclass(frozen=True)
class Box:
    """What a detector saw: its word, how sure it is, and x, y, width, height of 1."""

    category: str
    confidence: float
    sides: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Shot:
    """A photograph as a camera saves it.

    Parameters
    ----------
    name : str
        Camera and file; each camera numbers from 1.
    label : mapping
        Ranks, ``species`` and ``common_name``; empty of a blank picture.
    boxes : tuple of Box
        None of a blank picture.
    number : int
        Seconds after ten o'clock.
    """

    name: str
    label: Mapping[str, str]
    boxes: tuple[Box, ...]
    number: int

    @property
    def camera(self) -> str:
        return self.name.partition("/")[0]

    @property
    def time(self) -> str:
        return f"2024-05-01T10:{self.number:02d}:00"

    @property
    def taxonomy(self) -> str:
        """The five ranks and the common name as SpeciesNet writes them."""
        if not self.label:
            return ";;;;;blank"
        genus, epithet = self.label["species"].split(" ")
        names = (*(self.label[rank] for rank in ("class", "order", "family")), genus, epithet,
                 self.label["common_name"])  # fmt: skip
        return ";".join(names).lower()

    @property
    def guid(self) -> str:
        return f"00000000-0000-4000-8000-{self.number:012d}" if self.label else BLANK_ID


_ANIMAL = Box("animal", 0.93, (0.1, 0.1, 0.8, 0.8))


def take_shots(photos: Path, folder: Path) -> list[Shot]:
    """Copy a photograph of each species, with a place and a serial number in its EXIF block.

    The third and the ninth have a person beside the animal, the fifth two animals, the seventh a
    box that is not sure, the last nothing.
    """
    table = pd.read_csv(photos / "photos.csv", keep_default_na=False)
    table = table[table["role"] == "test"].groupby("class").first()
    further = {
        2: Box("person", 0.88, (0.05, 0.5, 0.3, 0.45)),
        8: Box("person", 0.61, (0.6, 0.25, 0.35, 0.5)),
        4: Box("animal", 0.71, (0.5, 0.5, 0.5, 0.5)),
        6: Box("animal", 0.08, (0.8, 0.8, 0.1, 0.1)),
    }
    shots = []
    for number, folder_name in enumerate(SPECIES):
        row = table.xs(folder_name)
        camera, place = f"cam{number % 2 + 1}", number // 2 + 1
        label: dict[str, str] = {
            "kingdom": str(row["kingdom"]), "phylum": str(row["phylum"]),
            "class": str(row["class_rank"]),
            "order": str(row["order"]), "family": str(row["family"]),
            "species": folder_name.capitalize().replace("-", " "),
            "common_name": str(row["common_name"]),
        }  # fmt: skip
        is_last = number == len(SPECIES) - 1
        boxes = (_ANIMAL, *([further[number]] if number in further else []))
        shot = Shot(f"{camera}/IMG_{place:04d}.JPG", {} if is_last else label,
                    () if is_last else boxes, number)  # fmt: skip
        _copy(photos / str(row["path"]), folder / shot.name, shot)
        shots.append(shot)
    return shots


def _copy(source: Path, target: Path, shot: Shot) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0110] = "HC600"
    exif.get_ifd(0x8769)[0x9003] = shot.time.replace("-", ":").replace("T", " ")
    exif.get_ifd(0x8769)[0xA431] = "SERIAL-4711"
    exif[0x8825] = {1: "N", 2: (47.0, 7.0, 24.0), 3: "E", 4: (8.0, 15.0, 0.0)}
    with Image.open(source) as image:
        image.save(target, quality=95, exif=exif)


def write_megadetector(file: Path, shots: Sequence[Shot]) -> None:
    """Write MegaDetector's batch output, a failure among it."""
    numbers = {"animal": "1", "person": "2", "vehicle": "3"}
    images: list[dict[str, Any]] = []
    for shot in shots:
        found = []
        for box in shot.boxes:
            made: dict[str, Any] = {
                "category": numbers[box.category], "conf": box.confidence, "bbox": [*box.sides],
            }  # fmt: skip
            found.append(made)
        images.append({"file": shot.name, "detections": found})
    images.append({"file": "cam1/GONE.JPG", "failure": "image access", "detections": None})
    said: dict[str, Any] = {
        "info": {"format_version": "1.4", "detector": "md_v5a.0.0.pt"},
        "detection_categories": {number: name for name, number in numbers.items()},
        "images": images,
    }
    _write_json(file, said)


def write_speciesnet_4(file: Path, shots: Sequence[Shot]) -> None:
    """Write what SpeciesNet 4 says: one prediction a picture."""
    _write_json(file, {"predictions": [*map(_predict_4, shots), _fail("cam1/GONE.JPG")]})


def write_speciesnet_5(file: Path, shots: Sequence[Shot]) -> None:
    """Write what SpeciesNet 5 says: a prediction a detection."""
    said = [*map(_predict_5, shots), _fail("cam1/GONE.JPG")]
    _write_json(file, {"info": {"format_version": "20261015"}, "predictions": said})


def _fail(name: str) -> dict[str, Any]:
    return {"filepath": name, "failures": ["CLASSIFIER", "DETECTOR"], "model_version": "4.0.1a"}


def _detect(box: Box) -> dict[str, Any]:
    label = "human" if box.category == "person" else box.category
    number = {"animal": "1", "human": "2", "vehicle": "3"}[label]
    return {"category": number, "label": label, "conf": box.confidence, "bbox": [*box.sides]}


def _predict_4(shot: Shot) -> dict[str, Any]:
    said = f"{shot.guid};{shot.taxonomy}"
    if any(box.category == "person" for box in shot.boxes):
        said = f"990ae9dd-7a59-4344-afcb-1b7b21368000;{HUMAN}"
    return {
        "filepath": shot.name, "classifications": {"classes": [said], "scores": [0.9]},
        "detections": [_detect(box) for box in shot.boxes], "prediction": said,
        "prediction_score": 0.9, "prediction_source": "classifier", "model_version": "4.0.1a",
    }  # fmt: skip


def _predict_5(shot: Shot) -> dict[str, Any]:
    detections = []
    for box in shot.boxes:
        one = _detect(box)
        said = f"{shot.guid};{shot.taxonomy}"
        if box.category == "animal" and box.confidence > 0.2:
            one["raw_classifications"] = {"classes": [said], "scores": [0.9]}
            one["processed_classification"] = {"class": said, "score": 0.9, "source": "classifier"}
        detections.append(one)
    return {"filepath": shot.name, "detections": detections, "model_version": "4.0.3a"}


def write_camtrap_dp(folder: Path, shots: Sequence[Shot]) -> None:
    """Write a Camtrap DP 1.0: people's observations of pictures, a detector's of boxes."""
    deployments = [
        {"deploymentID": f"D-{camera}", "locationID": camera, "locationName": camera,
         "latitude": latitude, "longitude": longitude, "cameraID": camera,
         "deploymentStart": "2024-05-01T00:00:00Z", "deploymentEnd": "2024-06-01T00:00:00Z"}
        for camera, (latitude, longitude) in PLACES.items()
    ]  # fmt: skip
    media: list[dict[str, Any]] = []
    observations: list[dict[str, Any]] = []
    for shot in shots:
        time = f"{shot.time}Z"
        media.append(
            {"mediaID": f"m{shot.number}", "deploymentID": f"D-{shot.camera}",
             "captureMethod": "activityDetection", "timestamp": time, "filePath": shot.name,
             "filePublic": "false", "fileName": shot.name.partition("/")[2],
             "fileMediatype": "image/jpeg"}
        )  # fmt: skip
        common: dict[str, Any] = {
            "deploymentID": f"D-{shot.camera}", "mediaID": f"m{shot.number}",
            "eventID": f"e{shot.number}", "eventStart": time, "eventEnd": time,
            "observationLevel": "media",
        }  # fmt: skip
        observations.append(
            common | {
                "observationID": f"o{shot.number}",
                "observationType": "animal" if shot.label else "blank",
                "scientificName": shot.label.get("species", ""), "count": 1 if shot.label else "",
                "lifeStage": "adult" if shot.label else "", "classificationMethod": "human",
                "classifiedBy": "Ada",
            }
        )  # fmt: skip
        for place, box in enumerate(shot.boxes):
            sides = zip(("bboxX", "bboxY", "bboxWidth", "bboxHeight"), box.sides, strict=True)
            observations.append(
                common | dict(sides) | {
                    "observationID": f"o{shot.number}b{place}",
                    "observationType": "human" if box.category == "person" else "animal",
                    "classificationMethod": "machine", "classifiedBy": "MDv5a",
                    "classificationProbability": box.confidence,
                }
            )  # fmt: skip
    for name, rows in (
        ("deployments", deployments), ("media", media), ("observations", observations),
    ):  # fmt: skip
        _write_csv(folder / f"{name}.csv", rows)
    home = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.1"
    _write_json(folder / "datapackage.json", {
        "profile": f"{home}/camtrap-dp-profile.json", "name": "journey", "version": "1.0",
        "created": "2024-07-01T00:00:00Z",
        "contributors": [{"title": "Ada Bee", "role": "contact"}],
        "project": {"title": "Journey", "samplingDesign": "opportunistic",
                    "captureMethod": ["activityDetection"], "individualAnimals": False,
                    "observationLevel": ["media"]},
        "spatial": {"type": "Point", "coordinates": [8.2571, 47.1234]},
        "temporal": {"start": "2024-05-01", "end": "2024-06-01"},
        "taxonomic": [
            {"scientificName": shot.label["species"], "taxonRank": "species",
             "vernacularNames": {"eng": shot.label["common_name"]}}
            | {rank: shot.label[rank] for rank in ("kingdom", "phylum", "class", "order", "family")}
            for shot in shots if shot.label
        ],
        "resources": [
            {"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource",
             "format": "csv", "mediatype": "text/csv", "encoding": "utf-8",
             "schema": f"{home}/{name}-table-schema.json"}
            for name in ("deployments", "media", "observations")
        ],
    })  # fmt: skip


_TERMS = "http://rs.tdwg.org/dwc/terms/"


def write_darwin_core(file: Path, shots: Sequence[Shot], pictures: Path) -> None:
    """Write a Darwin Core archive, zipped with its pictures; the blank one has no occurrence."""
    seen = [shot for shot in shots if shot.label]
    core = [
        {"occurrenceID": f"occ:{shot.number}", "basisOfRecord": "MachineObservation",
         "scientificName": shot.label["species"], "taxonRank": "species",
         "vernacularName": shot.label["common_name"], "eventDate": f"{shot.time}Z",
         "decimalLatitude": PLACES[shot.camera][0], "decimalLongitude": PLACES[shot.camera][1],
         "geodeticDatum": "WGS84"}
        | {rank: shot.label[rank] for rank in ("kingdom", "phylum", "class", "order", "family")}
        for shot in seen
    ]  # fmt: skip
    media = [
        {"coreid": f"occ:{shot.number}", "type": "StillImage", "format": "image/jpeg",
         "identifier": shot.name}
        for shot in seen
    ]  # fmt: skip
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("meta.xml", _describe(list(core[0])[1:], list(media[0])[1:]))
        archive.writestr("occurrence.txt", _write_text(core, "\t"))
        archive.writestr("multimedia.txt", _write_text(media, "\t"))
        for shot in seen:
            archive.write(pictures / shot.name, shot.name)


def _describe(core: Iterable[str], media: Iterable[str]) -> str:
    how = (
        'encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" '
        'ignoreHeaderLines="1"'
    )
    fields, further = (
        "".join(
            f'<field index="{place}" term="{home}{name}"/>'
            for place, name in enumerate(names, start=1)
        )
        for names, home in ((core, _TERMS), (media, "http://purl.org/dc/terms/"))
    )
    return (
        f'<archive xmlns="http://rs.tdwg.org/dwc/text/"><core {how} rowType="{_TERMS}Occurrence">'
        '<files><location>occurrence.txt</location></files><id index="0"/>'
        f"{fields}</core><extension {how} "
        'rowType="http://rs.gbif.org/terms/1.0/Multimedia"><files><location>multimedia.txt'
        f'</location></files><coreid index="0"/>{further}</extension></archive>'
    )


def write_wildlife_insights(folder: Path, shots: Sequence[Shot]) -> None:
    """Write the tables of a download of Wildlife Insights."""
    images = []
    for shot in shots:
        names = ["No CV Result"] * 5 if not shot.label else shot.taxonomy.split(";")[:5]
        names = names if not shot.label else [*(one.capitalize() for one in names[:4]), names[4]]
        images.append(
            {"project_id": 2000001, "deployment_id": shot.camera, "image_id": f"i{shot.number}",
             "filename": shot.name.partition("/")[2], "location": f"gs://bucket/{shot.name}",
             "is_blank": int(not shot.label), "identified_by": "Ada", "wi_taxon_id": shot.guid}
            | dict(zip(("class", "order", "family", "genus", "species"), names, strict=True))
            | {"common_name": shot.label.get("common_name", "Blank"), "uncertainty": "",
               "timestamp": shot.time.replace("T", " "),
               "number_of_objects": int(bool(shot.label))}
        )  # fmt: skip
    _write_csv(folder / "images.csv", images)
    _write_csv(folder / "deployments.csv", [
        {"project_id": 2000001, "deployment_id": camera, "placename": camera,
         "latitude": latitude, "longitude": longitude,
         "start_date": "2024-05-01 00:00:00", "end_date": "2024-06-01 00:00:00"}
        for camera, (latitude, longitude) in PLACES.items()
    ])  # fmt: skip


def write_timelapse(file: Path, shots: Sequence[Shot]) -> None:
    """Write the table that Timelapse exports, with its paths of Windows."""
    _write_csv(file, [
        {"RootFolder": file.parent.name, "File": shot.name.partition("/")[2],
         "RelativePath": shot.camera, "DateTime": shot.time.replace("T", " "),
         "DeleteFlag": "false", "Species": shot.label.get("common_name", "empty"),
         "Count": int(bool(shot.label))}
        for shot in shots
    ])  # fmt: skip


def write_coco(file: Path, shots: Sequence[Shot], side_px: int = 224) -> None:
    """Write COCO Camera Traps: a category a species, boxes in pixels."""
    names = ["empty", *(shot.label["species"].lower() for shot in shots if shot.label)]
    images, annotations = [], []
    for shot in shots:
        images.append(
            {"id": f"i{shot.number}", "file_name": shot.name, "seq_id": f"s{shot.number // 2}",
             "location": shot.camera, "datetime": shot.time.replace("T", " "), "width": side_px,
             "height": side_px}
        )  # fmt: skip
        name = shot.label.get("species", "empty").lower()
        made = {"image_id": f"i{shot.number}", "category_id": names.index(name)}
        animals = [box for box in shot.boxes if box.category == "animal" and box.confidence > 0.2]
        for place, box in enumerate(animals):
            bbox = [side * side_px for side in box.sides]
            annotations.append(made | {"id": f"a{shot.number}.{place}", "bbox": bbox})
        if not animals:
            annotations.append(made | {"id": f"a{shot.number}"})
    _write_json(file, {
        "info": {"version": "1.0"}, "images": images, "annotations": annotations,
        "categories": [{"id": place, "name": name} for place, name in enumerate(names)],
    })  # fmt: skip


def _write_json(file: Path, said: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(said, indent=1), encoding="utf-8")


def _write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.write_text(_write_text(rows, ","), encoding="utf-8", newline="")


def _write_text(rows: Sequence[Mapping[str, Any]], delimiter: str) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    said = io.StringIO()
    writer = csv.DictWriter(said, names, restval="", delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return said.getvalue()
