"""Camtrap DP: what the schemas take, what is required, what stays, and whose place is not told."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bioprobe.errors import SourceError
from bioprobe.exporting.camtrap_dp import _complete
from bioprobe.exporting.camtrap_package import FIELDS, read_package
from bioprobe.exporting.form import Zone
from bioprobe.exporting.places import Place
from bioprobe.face.store import Store
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View

ABOUT = {
    "title": "Ridge", "contributors": [{"title": "Ada", "role": "contact"}],
    "project": {"title": "Ridge", "samplingDesign": "targeted", "captureMethod": ["timeLapse"],
                "individualAnimals": False},
}  # fmt: skip
DEPLOYMENTS = (
    "deploymentID,latitude,longitude,deploymentStart,deploymentEnd\n"
    "cam1,47.1234,8.2571,2021-04-01T00:00:00Z,2021-06-01T00:00:00Z\n"
    "cam2,12.5678,8.2571,2021-04-02T00:00:00Z,2021-06-02T00:00:00Z\n"
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")


def _read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _describe(folder: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))


def _check(folder: Path, schemas: Path | None = None) -> None:
    """Check a package by its keys, and by the standard's schemas where they are at hand."""
    tables = {name: _read(folder, name) for name in FIELDS}
    for name, fields in FIELDS.items():
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            assert tuple(next(csv.reader(stream))) == fields
        keys = [row[fields[0]] for row in tables[name]]
        assert len(set(keys)) == len(keys)
        for row in tables[name]:
            assert all(TIME.fullmatch(row[one]) for one in row
                       if row[one] and one.endswith(("Start", "End", "imestamp")))  # fmt: skip
    media = {row["mediaID"]: row["deploymentID"] for row in tables["media"]}
    deployments = {row["deploymentID"] for row in tables["deployments"]}
    assert set(media.values()) <= deployments
    for row in tables["observations"]:
        assert not row["mediaID"] or media[row["mediaID"]] == row["deploymentID"]
        assert not row["classificationProbability"] or row["classificationMethod"] == "machine"
    descriptor = _describe(folder)
    needed = {"resources", "profile", "created", "contributors", "project", "spatial", "temporal",
              "taxonomic"}  # fmt: skip
    assert needed <= set(descriptor)
    names = {one["scientificName"] for one in descriptor["taxonomic"]}
    assert {row["scientificName"] for row in tables["observations"]} - {""} <= names
    if schemas is not None:
        _check_by_schemas(folder, schemas)


def _check_by_schemas(folder: Path, schemas: Path) -> None:
    frictionless = pytest.importorskip("frictionless")
    jsonschema = pytest.importorskip("jsonschema")

    descriptor = _describe(folder)
    profile = json.loads((schemas / "camtrap-dp-profile.json").read_text())
    general, own = profile["allOf"]
    assert set(general) == {"$ref"}  # the network's, which frictionless has of its own
    own["properties"]["spatial"].pop("$ref")
    jsonschema.Draft4Validator({**profile, "allOf": [own]}).validate(descriptor)
    for resource in descriptor["resources"]:
        if resource["name"] in FIELDS:
            name = resource["schema"].rpartition("/")[2]
            resource["schema"] = json.loads((schemas / name).read_text())
            assert (
                tuple(one["name"] for one in resource["schema"]["fields"])
                == (FIELDS[resource["name"]])
            )
    del descriptor["profile"]
    report = frictionless.Package.from_descriptor(descriptor, basepath=str(folder)).validate()
    assert report.flatten(["title", "message"]) == []


@pytest.fixture
def schemas(shared_dir: Path) -> Path:
    return shared_dir / "data" / "schemas" / "camtrap-dp-1.0.2"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "about.json").write_text(json.dumps(ABOUT))
    (tmp_path / "deployments.csv").write_text(DEPLOYMENTS)
    return {
        "about": tmp_path / "about.json", "deployments": tmp_path / "deployments.csv",
        "time_zone": "UTC",
    }  # fmt: skip


@pytest.fixture
def package(store: Store, answers: Path, files: dict[str, Any], tmp_path: Path) -> Path:
    store.export_answers(answers, form="camtrap-dp", target=tmp_path / "package", **files)
    return tmp_path / "package"


def test_a_new_package_says_of_each_picture_what_the_model_saw(package: Path) -> None:
    _check(package)
    rows = _read(package, "observations")
    assert [row["observationType"] for row in rows] == [
        "animal", "animal", "human", "animal", "blank", "animal",
    ]  # fmt: skip
    assert [row["scientificName"] for row in rows] == [
        "Panthera tigris", "Turdus migratorius", "Homo sapiens", "Turdus migratorius", "",
        "Carnivora",
    ]  # fmt: skip
    first = rows[0]
    assert (first["observationLevel"], first["classificationMethod"]) == ("media", "machine")
    assert first["classifiedBy"] == "bioprobe 0.1.0 (linear on plain-1)"
    assert first["classificationTimestamp"] == "2026-05-01T10:00:00Z"
    assert first["classificationProbability"] == "0.91"
    assert [first[f"bbox{side}"] for side in ("X", "Y", "Width", "Height")] == [
        "0.1", "0.2", "0.3", "0.4",
    ]  # fmt: skip
    # No class told these contents, and no box is of a whole picture.
    assert [rows[n]["classificationProbability"] for n in (2, 4)] == ["", ""]
    assert [rows[n]["bboxX"] for n in (3, 4, 5)] == ["", "", ""]
    assert [row["filePath"] for row in _read(package, "media")][:2] == [
        "cam1/IMG_1.JPG", "cam1/IMG_2.JPG",
    ]  # fmt: skip
    starts = [row["deploymentStart"] for row in _read(package, "deployments")]
    assert starts == ["2021-04-01T00:00:00Z", "2021-04-02T00:00:00Z"]
    said = _describe(package)
    assert said["temporal"] == {"start": "2021-04-01", "end": "2021-06-02"}
    assert said["bioprobe"][0]["command"] == "bioprobe probe predict linear"
    assert "placeholders" not in said


def test_the_schemas_take_it(package: Path, schemas: Path) -> None:
    _check(package, schemas)


def test_what_is_required_and_not_known_is_named(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    frame = store._view.images.frame.drop(columns=["latitude", "longitude"])
    bare = EmbeddingStore.create(tmp_path / "bare", store._view.manifest.encoder, dim=4).append(
        frame, store._view.read_vectors()
    )
    from bioprobe.face.store import open as open_store

    more = open_store(bare.folder)
    with pytest.raises(SourceError) as caught:
        more.export_answers(answers, form="camtrap-dp", target=tmp_path / "p")
    said = str(caught.value)
    for field in ("offset from UTC of the timestamp of cam1/IMG_1.JPG", "latitude of deployment",
                  "deploymentStart of deployment cam1", "contributors", "project.title",
                  "--deployments", "--time-zone", "--about", "--placeholders"):  # fmt: skip
        assert field in said
    assert not (tmp_path / "p").exists()
    done = more.export_answers(
        answers, form="camtrap-dp", target=tmp_path / "p", placeholders=True, time_zone="UTC"
    )
    assert any("placeholders stand for latitude of deployment" in str(one) for one in done.notes)
    _check(tmp_path / "p")
    one = _read(tmp_path / "p", "deployments")[0]
    assert one["deploymentComments"] == "placeholders: latitude, longitude"
    # From the first to the last picture.
    assert (one["deploymentStart"], one["deploymentEnd"]) == (
        "2021-05-01T10:00:00Z", "2021-05-01T10:00:05Z",
    )  # fmt: skip
    assert "latitude" in _describe(tmp_path / "p")["placeholders"]


def test_a_table_of_deployments_must_know_each_picture(
    store: Store, answers: Path, files: dict[str, Any], tmp_path: Path
) -> None:
    for text, reason in (
        ("site,lat\nelsewhere,1\n", "is of no deployment in the table: tried cam1"),
        ("deploymentID,lat\ncam1,1\ncam1,2\n", "two rows of the table of deployments are of cam1"),
        ("a,b\n1,2\n", "has no column deploymentID, location or camera"),
    ):
        (tmp_path / "deployments.csv").write_text(text)
        with pytest.raises(SourceError, match=reason):
            store.export_answers(answers, form="camtrap-dp", target=tmp_path / "p", **files)


def _add_person(package: Path) -> None:
    """Add what a person saw, a column of their own, and a further resource."""
    rows = _read(package, "observations")
    person = rows[0] | {
        "observationID": "seen-1", "classificationMethod": "human", "classifiedBy": "Ada",
        "classificationProbability": "", "scientificName": "Lynx lynx", "mood": "calm",
    }  # fmt: skip
    pd.DataFrame([*rows, person]).fillna("").to_csv(package / "observations.csv", index=False)
    said = _describe(package)
    said["resources"].append({"name": "notes", "path": "more/notes.txt"})
    (package / "more").mkdir()
    (package / "more" / "notes.txt").write_text("kept")
    (package / "datapackage.json").write_text(json.dumps(said))


def test_what_people_said_in_a_package_stays(
    store: Store, answers: Path, package: Path, tmp_path: Path
) -> None:
    _add_person(package)
    frame = pd.read_csv(answers, keep_default_na=False)
    frame.loc[frame.index[0], "species"] = "Panthera leo"
    frame.to_csv(answers, index=False)
    before = {file: file.read_bytes() for file in package.rglob("*") if file.is_file()}
    done = store.export_answers(
        answers, form="camtrap-dp", target=tmp_path / "merged", package=package
    )
    assert {file: file.read_bytes() for file in before} == before
    _check(tmp_path / "merged")
    rows = {row["observationID"]: row for row in _read(tmp_path / "merged", "observations")}
    # Six of the first export, the person's, and the one that is new; five are written anew.
    assert len(rows) == 8
    assert any("5 observations of an earlier export are written anew" in str(n) for n in done.notes)
    assert rows["seen-1"]["classifiedBy"] == "Ada"
    assert rows["seen-1"]["classificationMethod"] == "human"
    assert rows["seen-1"]["observationTags"] == "mood:calm"
    names = [row["scientificName"] for row in rows.values()]
    assert {"Lynx lynx", "Panthera leo", "Panthera tigris"} <= set(names)
    assert _read(tmp_path / "merged", "media") == _read(package, "media")
    assert (tmp_path / "merged" / "more" / "notes.txt").read_text() == "kept"
    taxa = {one["scientificName"] for one in _describe(tmp_path / "merged")["taxonomic"]}
    assert {"Lynx lynx", "Panthera leo"} <= taxa


def test_the_package_that_was_added_to_is_taken_by_the_schemas(
    store: Store, answers: Path, package: Path, schemas: Path, tmp_path: Path
) -> None:
    _add_person(package)
    store.export_answers(answers, form="camtrap-dp", target=tmp_path / "merged", package=package)
    _check(tmp_path / "merged", schemas)


def test_pictures_of_no_media_of_the_package_are_named(
    store: Store, answers: Path, package: Path, tmp_path: Path
) -> None:
    media = pd.read_csv(package / "media.csv", dtype=str, keep_default_na=False)
    media["filePath"] = "far/" + media["fileName"] + ".x"
    media.to_csv(package / "media.csv", index=False)
    with pytest.raises(SourceError, match=r"5 pictures are none of the media of .*IMG_1.JPG"):
        store.export_answers(answers, form="camtrap-dp", target=tmp_path / "m", package=package)
    said = _describe(package)
    said["resources"][1]["path"] = "../media.csv"
    (package / "datapackage.json").write_text(json.dumps(said))
    with pytest.raises(SourceError, match="outside of the package"):
        read_package(package)
    with pytest.raises(SourceError, match="is no Camtrap DP"):
        read_package(tmp_path)


def test_a_package_of_the_field_is_read_and_written_whole(shared_dir: Path) -> None:
    found = read_package(shared_dir / "data" / "field-files" / "camtrap_dp")
    assert [len(found.tables[name]) for name in FIELDS][1] == 8
    assert found.tables["observations"][0]["scientificName"] == "Panthera tigris"


def test_the_place_of_a_sensitive_taxon_is_told_on_a_grid_alone(
    store: Store, answers: Path, files: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("Panthera tigris  # of cam1\n")
    for form, target in (("camtrap-dp", "p"), ("darwin-core", "d"), ("speciesnet", "s.json"),
                         ("fiftyone", "f"), ("embedding-atlas", "e.parquet")):  # fmt: skip
        more = files if form == "camtrap-dp" else {}
        done = store.export_answers(
            answers, form=form, target=tmp_path / target, sensitive=tmp_path / "secret.txt",
            generalise="0.5", **more,
        )  # fmt: skip
        assert any("place" in str(note) and "sensitive" in str(note) for note in done.notes)
        written = [tmp_path / target, *(tmp_path / target).rglob("*")]
        for file in (one for one in written if one.is_file()):
            assert b"47.1234" not in file.read_bytes(), file
    _check(tmp_path / "p")
    one, other = _read(tmp_path / "p", "deployments")
    assert (one["latitude"], one["longitude"]) == ("47.0", "8.5")
    assert int(one["coordinateUncertainty"]) > 30_000
    assert "rounded to 0.5 degrees" in one["deploymentComments"]
    assert (other["latitude"], other["coordinateUncertainty"]) == ("12.5678", "")
    said = _describe(tmp_path / "p")
    assert said["coordinatePrecision"] == 0.5
    assert said["spatial"]["bbox"][3] == 47.0
    rows = _read(tmp_path / "d", "occurrence")
    # The bird of the same camera would give the place away.
    assert [row["decimalLatitude"] for row in rows] == ["47.0", "47.0", "12.5678", "12.5678"]
    assert rows[0]["dataGeneralizations"] == "rounded to 0.5 degrees"
    assert rows[0]["coordinatePrecision"] == "0.5"
    assert int(rows[0]["coordinateUncertaintyInMeters"]) > 30_000
    assert rows[2]["dataGeneralizations"] == rows[2]["coordinatePrecision"] == ""


def test_a_place_that_was_known_to_be_secret_in_a_package_stays_so(
    store: Store, answers: Path, package: Path, tmp_path: Path
) -> None:
    _add_person(package)
    media = pd.read_csv(package / "media.csv", dtype=str, keep_default_na=False)
    media["exifData"] = '{"EXIF:GPSLatitude": 47.1234, "EXIF:Make": "X"}'
    media.to_csv(package / "media.csv", index=False)
    # Who watched the same place at another time gives it away too.
    watched = pd.read_csv(package / "deployments.csv", dtype=str, keep_default_na=False)
    again = watched[watched["deploymentID"] == "cam1"].assign(deploymentID="cam3")
    pd.concat([watched, again]).to_csv(package / "deployments.csv", index=False)
    (tmp_path / "secret.csv").write_text("species\nLynx lynx\n")
    store.export_answers(
        answers, form="camtrap-dp", target=tmp_path / "m", package=package,
        sensitive=tmp_path / "secret.csv",
    )  # fmt: skip
    places = {row["deploymentID"]: row["latitude"] for row in _read(tmp_path / "m", "deployments")}
    assert places == {"cam1": "47.1", "cam2": "12.5678", "cam3": "47.1"}
    of = {row["deploymentID"]: row["exifData"] for row in _read(tmp_path / "m", "media")}
    assert of["cam1"] == '{"EXIF:Make": "X"}'
    assert "GPSLatitude" in of["cam2"]
    assert _describe(tmp_path / "m")["spatial"]["bbox"][3] == 47.1


def test_a_deployment_of_pictures_is_as_uncertain_as_the_least_certain() -> None:
    places = [Place(47.0, 8.0, 30.0), Place(47.2, 8.2, 250.0), Place(47.3, 8.3)]
    made = _complete({}, [], places, Zone(None))
    assert (made["latitude"], made["longitude"]) == ("47.2", "8.2")
    assert made["coordinateUncertainty"] == "250"


def test_a_package_in_which_the_pictures_lie_is_found_and_machines_are_named(
    package: Path, tmp_path: Path, store: Store
) -> None:
    media = _read(package, "media")
    frame = pd.DataFrame(
        {"root": str(package), "path": [row["filePath"] for row in media],
         "media_id": [row["mediaID"] for row in media], "species": "Lynx lynx",
         "labels_from": "machine:speciesnet 4.0.3a"}
    )  # fmt: skip
    made = EmbeddingStore.create(tmp_path / "other", store._view.manifest.encoder, dim=4)
    made = made.append(frame, store.X[: len(frame)])
    done = Store(View.of(made)).export_answers(
        labels=True, form="camtrap-dp", target=tmp_path / "found"
    )
    assert any(f"added to the package {package}" in str(note) for note in done.notes)
    added = _read(tmp_path / "found", "observations")[6:]
    assert {row["mediaID"] for row in added} == {row["mediaID"] for row in media}
    assert {(row["classificationMethod"], row["classifiedBy"]) for row in added} == {
        ("machine", "speciesnet 4.0.3a")
    }
