"""Each format by its own rules: read by its reader where there is one, joined back by name."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFile

from bioprobe.cli.app import run
from bioprobe.errors import MisuseError, SourceError
from bioprobe.exporting.answers import Guess, _decide_content
from bioprobe.face.store import Store
from bioprobe.taxonomy import Taxon
from tests.exporting.conftest import LEFT, PROVENANCE, RIGHT, ROBIN, ROWS, TIGER

Capture = pytest.CaptureFixture[str]
NAMES = ["cam1/IMG_1.JPG", "cam1/IMG_2.JPG", "cam2/IMG_1.JPG", "cam2/IMG_2.JPG", "IMG_3.JPG"]
MODEL = "bioprobe 0.1.0 (linear on plain-1)"


def _export(store: Store, answers: Path, form: str, target: Path, **more: Any) -> Any:  # noqa: ANN401
    done = store.export_answers(answers, form=form, target=target, **more)
    assert (done.n_pictures, done.n_answers, done.n_unread) == (5, 6, 1)
    return done


def _read(path: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads(path.read_text(encoding="utf-8"))


def _read_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_speciesnet_says_of_each_detection_what_it_is(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    _export(store, answers, "speciesnet", tmp_path / "out.json")
    said = _read(tmp_path / "out.json")
    assert said["info"]["format_version"] == "20261015"
    assert said["info"]["provenance"] == PROVENANCE.to_dict()
    of = {one["filepath"]: one for one in said["predictions"]}
    assert list(of) == [*NAMES, "BROKEN.JPG"]
    assert of["BROKEN.JPG"]["failures"] == ["CLASSIFIER", "DETECTOR"]
    tiger, robin = of["cam1/IMG_1.JPG"]["detections"]
    assert (tiger["category"], tiger["label"], tiger["conf"]) == ("1", "animal", 0.93)
    assert (tiger["bbox"], robin["bbox"]) == ([0.1, 0.2, 0.3, 0.4], [0.5, 0.25, 0.4, 0.5])
    assert tiger["raw_classifications"]["scores"] == [0.91, 0.05]
    best = tiger["processed_classification"]
    assert best["class"] == tiger["raw_classifications"]["classes"][0]
    assert best["class"].partition(";")[2] == "mammalia;carnivora;felidae;panthera;tigris;tiger"
    assert (best["score"], best["source"]) == (0.91, "classifier")
    (person,) = of["cam1/IMG_2.JPG"]["detections"]
    assert (person["category"], person["label"]) == ("2", "human")
    assert person["processed_classification"]["class"].startswith("990ae9dd-7a59")
    (blank,) = of["cam2/IMG_2.JPG"]["detections"]
    assert (blank["category"], blank["bbox"]) == ("0", [0, 0, 1, 1])
    assert blank["processed_classification"]["class"].endswith(";;;;;;blank")
    (order,) = of["IMG_3.JPG"]["detections"]
    parts = order["processed_classification"]["class"].partition(";")[2]
    assert parts == "mammalia;carnivora;;;;carnivora"
    assert {one.get("model_version") for one in said["predictions"]} == {MODEL, None}


def test_megadetector_is_what_its_own_validator_takes(
    store: Store, answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It changes, for the whole process, what Pillow takes for a picture.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    validation = pytest.importorskip("megadetector.postprocessing.validate_batch_results")
    _export(store, answers, "megadetector", tmp_path / "out.json")
    found = validation.validate_batch_results(str(tmp_path / "out.json"))["validation_results"]
    assert (found["errors"], found["warnings"]) == ([], [])
    said = _read(tmp_path / "out.json")
    texts, names = said["classification_category_descriptions"], said["classification_categories"]
    assert texts.keys() == names.keys()
    assert all(text.count(";") == 6 and text == text.lower() for text in texts.values())
    of = {one["file"]: one for one in said["images"]}
    assert of["BROKEN.JPG"] == {
        "file": "BROKEN.JPG", "failure": "the file is empty", "detections": None,
    }  # fmt: skip
    tiger = of["cam1/IMG_1.JPG"]["detections"][0]
    assert [(names[number], score) for number, score in tiger["classifications"]] == [
        ("tiger", 0.91), ("american robin", 0.05),
    ]  # fmt: skip
    assert of["cam2/IMG_2.JPG"]["detections"] == []
    assert said["info"]["detector"] == "MDv5a"
    assert said["info"]["classification_completion_time"] == "2026-05-01 10:00:00"


def test_coco_has_boxes_in_pixels(store: Store, answers: Path, tmp_path: Path) -> None:
    _export(store, answers, "coco", tmp_path / "out.json")
    said = _read(tmp_path / "out.json")
    names = {one["id"]: one["name"] for one in said["categories"]}
    files = {one["id"]: one for one in said["images"]}
    assert names[0] == "empty"
    found = [
        (files[one["image_id"]]["file_name"], names[one["category_id"]], one.get("bbox"),
         one.get("score"))
        for one in said["annotations"]
    ]  # fmt: skip
    assert found == [
        (NAMES[0], "panthera tigris", [8, 12, 24, 24], 0.91),
        (NAMES[0], "turdus migratorius", [40, 15, 32, 30], 0.8),
        (NAMES[1], "human", [0, 30, 40, 30], None),
        (NAMES[2], "turdus migratorius", None, 0.7),
        (NAMES[3], "empty", None, None),
        (NAMES[4], "carnivora", None, 0.72),
    ]
    assert len({one["id"] for one in said["annotations"]}) == 6
    first = said["images"][0]
    assert (first["location"], first["datetime"]) == ("cam1", "2021-05-01 10:00:00")
    assert (first["width"], first["height"]) == (80, 60)
    assert said["images"][-1]["corrupt"] is True


@pytest.mark.parametrize("name", ["archive", "archive.zip"])
def test_darwin_core_is_read_by_its_reader(
    store: Store, answers: Path, tmp_path: Path, name: str
) -> None:
    reader = pytest.importorskip("dwca.read")
    (tmp_path / "about.json").write_text(
        json.dumps({"title": "Cats & birds", "licenses": [{"name": "CC0-1.0", "scope": "data"}],
                    "contributors": [{"title": "Ada", "role": "contact"}]})
    )  # fmt: skip
    more = {"about": tmp_path / "about.json", "time_zone": "+02:00"}
    done = _export(store, answers, "darwin-core", tmp_path / name, **more)
    assert any("2 answers are no occurrences" in str(note) for note in done.notes)
    with reader.DwCAReader(str(tmp_path / name)) as archive:
        rows = archive.rows
        core = [{key.rpartition("/")[2]: v for key, v in row.data.items()} for row in rows]
        assert [len(row.extensions) for row in rows] == [1] * 4
        media = {key.rpartition("/")[2]: v for key, v in rows[0].extensions[0].data.items()}
        assert archive.metadata.find("dataset/title").text == "Cats & birds"
    assert [one["scientificName"] for one in core] == [
        "Panthera tigris", "Turdus migratorius", "Turdus migratorius", "Carnivora",
    ]  # fmt: skip
    first = core[0]
    assert first["basisOfRecord"] == "MachineObservation"
    assert first["identificationVerificationStatus"] == "unverified"
    assert (first["identifiedBy"], first["dateIdentified"]) == (MODEL, "2026-05-01T10:00:00Z")
    assert (first["eventDate"], first["taxonRank"]) == ("2021-05-01T10:00:00+02:00", "species")
    assert (first["family"], first["specificEpithet"]) == ("Felidae", "tigris")
    assert core[3]["family"] == core[3]["specificEpithet"] == ""
    assert media["identifier"] == NAMES[0]
    assert media["license"] == "CC0-1.0"
    assert len({one["occurrenceID"] for one in core}) == 4


def test_wildlife_insights_stops_at_what_it_requires(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    target = tmp_path / "images.csv"
    with pytest.raises(SourceError, match=r"not known: project_id of 6 rows.*--placeholders"):
        _export(store, answers, "wildlife-insights", target)
    assert not target.exists()
    (tmp_path / "about.json").write_text('{"project": {"id": 2000001}}')
    _export(store, answers, "wildlife-insights", target, about=tmp_path / "about.json")
    rows = _read_rows(target)
    assert [row["location"] for row in rows] == [NAMES[0], *NAMES]
    assert {row["project_id"] for row in rows} == {"2000001"}
    assert [row["is_blank"] for row in rows] == ["0", "0", "0", "0", "1", "0"]
    tiger, _, person, _, blank, order = rows
    assert (tiger["genus"], tiger["species"], tiger["common_name"]) == (
        "Panthera", "tigris", "tiger",
    )  # fmt: skip
    assert (tiger["uncertainty"], tiger["timestamp"]) == ("0.0900", "2021-05-01 10:00:00")
    assert (person["genus"], person["species"]) == ("Homo", "sapiens")
    assert blank["wi_taxon_id"].startswith("f1856211")
    assert (order["order"], order["family"]) == ("Carnivora", "")
    assert _read(Path(f"{target}.provenance.json")) == PROVENANCE.to_dict()
    done = _export(store, answers, "wildlife-insights", target, placeholders=True)
    assert any("placeholders stand for project_id of 6 rows" in str(one) for one in done.notes)
    assert "PLACEHOLDER" in target.read_text()


def test_fiftyone_names_the_files_and_their_boxes(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    _export(store, answers, "fiftyone", tmp_path / "out")
    about = _read(tmp_path / "out" / "metadata.json")
    fields = {one["name"]: one for one in about["sample_fields"]}
    assert about["info"]["provenance"] == PROVENANCE.to_dict()
    (samples,) = _read(tmp_path / "out" / "samples.json").values()
    assert [Path(one["filepath"]).is_file() for one in samples] == [True] * 5
    assert all(set(one) - {"_id", "_media_type", "_rand"} <= set(fields) for one in samples)
    first = {one["label"]: one["bounding_box"] for one in samples[0]["detections"]["detections"]}
    assert first == {
        "Panthera tigris": [0.1, 0.2, 0.3, 0.4], "Turdus migratorius": [0.5, 0.25, 0.4, 0.5],
    }  # fmt: skip
    assert samples[0]["prediction"] is None
    (blank,) = samples[3]["prediction"]["classifications"]
    assert (blank["label"], blank["confidence"], samples[3]["tags"]) == ("blank", None, ["blank"])
    assert samples[0]["location"]["point"]["coordinates"] == [8.2571, 47.1234]
    assert len({one["_id"]["$oid"] for one in samples}) == 5
    with pytest.raises(SourceError, match="there already"):
        _export(store, answers, "fiftyone", tmp_path / "out")


def test_embedding_atlas_has_vectors_a_map_and_thumbnails(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    _export(store, answers, "embedding-atlas", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert json.loads(table.schema.metadata[b"provenance"]) == PROVENANCE.to_dict()
    frame = table.to_pandas()
    assert frame["label"].tolist()[:3] == ["Panthera tigris", "Turdus migratorius", "human"]
    np.testing.assert_allclose(np.stack(frame["vector"]), store.X, atol=1e-6)
    points = frame[["projection_x", "projection_y"]].to_numpy()
    centred = store.X - store.X.mean(axis=0)
    strengths = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), strengths[:2], rtol=1e-4)
    images = frame["image"].tolist()
    assert all(images)
    # A person in it is a few blocks.
    kept = tmp_path / "kept.parquet"
    _export(store, answers, "embedding-atlas", kept, people="keep")
    shown = pq.read_table(kept).to_pandas()["image"].tolist()
    for row, is_same in enumerate((True, True, False, True, True, True)):
        assert (shown[row]["bytes"] == images[row]["bytes"]) == is_same
    _export(store, answers, "embedding-atlas", kept, people="leave-out")
    bare = pq.read_table(kept).to_pandas()["image"].tolist()
    assert [one is None for one in bare] == [False, False, True, False, False, False]
    with Image.open(_open_bytes(images[0]["bytes"])) as picture:
        assert picture.size == (24, 24)
        assert not picture.getexif()
    assert "deployment_id" in frame
    with pytest.raises(MisuseError, match="umap"):
        _export(store, answers, "embedding-atlas", tmp_path / "b.parquet", map_by="tsne")


def _open_bytes(data: bytes) -> Any:  # noqa: ANN401 - a stream
    import io

    return io.BytesIO(data)


def test_crops_are_what_was_embedded_and_tell_no_place(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    done = _export(store, answers, "crops", tmp_path / "out")
    said = [str(note) for note in done.notes]
    assert "1 boxes of people are left out" in said
    assert "3 answers to whole pictures are no crops and left out" in said
    rows = _read_rows(tmp_path / "out" / "crops.csv")
    assert [row["image_region"] for row in rows] == [LEFT.name, RIGHT.name]
    assert rows[0]["file_name"] == "Panthera tigris/cam1_IMG_1.jpg"
    for row, region in zip(rows, (LEFT, RIGHT), strict=True):
        file = tmp_path / "out" / row["file_name"]
        left, upper, right, lower = region.to_pixels(80, 60)
        with Image.open(file) as crop, Image.open(tmp_path / "cam1" / "IMG_1.JPG") as whole:
            assert crop.size == (right - left, lower - upper)
            cut = np.asarray(whole.crop((left, upper, right, lower)), dtype=np.float64)
            assert np.abs(np.asarray(crop, dtype=np.float64) - cut).mean() < 8
            assert not crop.getexif()
        data = file.read_bytes()
        assert b"GPS" not in data
        assert b"SERIAL" not in data
    hidden = store.export_answers(answers, form="crops", target=tmp_path / "all", people="obscure")
    assert "3 crops" in [str(note) for note in hidden.notes]
    with Image.open(tmp_path / "all" / "human" / "cam1_IMG_2.jpg") as crop:
        assert np.asarray(crop).std(axis=(0, 1)).max() > 0
        blocks = np.asarray(crop.convert("L"), dtype=np.int64)
        assert (np.abs(np.diff(blocks, axis=1)) > 4).any(axis=0).sum() < 25
    asked = ["export", str(answers), "--as", "crops", "--people", "obscure", "--quiet"]
    assert run([*asked, "--store", str(store.folder), "--output", str(tmp_path / "shell")]) == 0
    assert (tmp_path / "shell" / "human" / "cam1_IMG_2.jpg").exists()
    kept = store.where("image_region == ''")
    with pytest.raises(SourceError, match=r"none .* 3 are of whole pictures"):
        kept.export_answers(answers, form="crops", target=tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("column", "text"), [("score", "high"), ("score", "inf"), ("answer", "x")])
def test_what_is_no_number_among_answers_is_named(
    store: Store, answers: Path, tmp_path: Path, column: str, text: str
) -> None:
    frame = pd.read_csv(answers, dtype=str, keep_default_na=False)
    frame.loc[2, column] = text
    frame.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(SourceError, match=f"row 3 .* the {column} '{text}', which is no number"):
        store.export_answers(tmp_path / "other.csv", form="coco", target=tmp_path / "out.json")


def test_answers_joined_back_by_name_are_the_same(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    for form in ("speciesnet", "megadetector", "coco"):
        _export(store, answers, form, tmp_path / f"{form}.json")
    wanted = pd.read_csv(answers).query("answer == 1")["file_name"].tolist()
    one = _read(tmp_path / "speciesnet.json")["predictions"]
    assert [p["filepath"] for p in one for _ in p.get("detections", [])] == wanted
    two = _read(tmp_path / "coco.json")
    files = {image["id"]: image["file_name"] for image in two["images"]}
    assert [files[note["image_id"]] for note in two["annotations"]] == wanted
    three = _read(tmp_path / "megadetector.json")["images"]
    named = {image["file"]: image["detections"] for image in three}
    assert [name for name in named if named[name]] == [NAMES[0], NAMES[1], NAMES[2], NAMES[4]]


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_predictions_of_every_kind_are_read(
    store: Store, answers: Path, tmp_path: Path, suffix: str
) -> None:
    frame = pd.read_csv(answers, keep_default_na=False)
    file = tmp_path / f"other{suffix}"
    if suffix == ".json":
        rows = json.loads(frame.to_json(orient="records"))
        file.write_text(json.dumps({"provenance": PROVENANCE.to_dict(), "rows": rows}))
    else:
        table = pq.read_table(_write_parquet(frame, tmp_path))
        said = {b"provenance": json.dumps(PROVENANCE.to_dict()).encode()}
        pq.write_table(table.replace_schema_metadata(said), file)
    for number, source in enumerate((answers, file)):
        _export(store, source, "speciesnet", tmp_path / f"{number}.json")
    assert _read(tmp_path / "0.json") == _read(tmp_path / "1.json")


def _write_parquet(frame: pd.DataFrame, folder: Path) -> Path:
    frame.astype(str).to_parquet(folder / "plain.parquet", index=False)
    return folder / "plain.parquet"


def test_a_region_is_found_by_its_name_where_rows_have_moved(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(answers, keep_default_na=False)
    with_regions = frame.assign(image_region=[ROWS[int(row)][2] if row else "" for row in
                                              frame["row"].astype(str)])  # fmt: skip
    with_regions.drop(columns="row").to_csv(tmp_path / "moved.csv", index=False)
    _export(store, tmp_path / "moved.csv", "coco", tmp_path / "a.json")
    _export(store, answers, "coco", tmp_path / "b.json")
    one, two = _read(tmp_path / "a.json"), _read(tmp_path / "b.json")
    assert one["annotations"] == two["annotations"]
    frame.drop(columns="row").to_csv(tmp_path / "lost.csv", index=False)
    with pytest.raises(SourceError, match="name a picture of several regions"):
        _export(store, tmp_path / "lost.csv", "coco", tmp_path / "c.json")
    frame.assign(file_name="other/" + frame["file_name"]).to_csv(tmp_path / "o.csv", index=False)
    with pytest.raises(SourceError, match=r"of no image in .*other/cam1/IMG_1.JPG.*--store"):
        _export(store, tmp_path / "o.csv", "coco", tmp_path / "c.json")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match="no column file_name"):
        _export(store, tmp_path / "x.csv", "coco", tmp_path / "c.json")


def test_labels_go_out_as_what_people_said(store: Store, tmp_path: Path) -> None:
    done = store.export_answers(labels=True, form="darwin-core", target=tmp_path / "out.zip")
    assert done.n_answers == 6
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        text = archive.read("occurrence.csv").decode()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["scientificName"] for row in rows] == [
        TIGER["species"], ROBIN["species"], ROBIN["species"], "Carnivora",
    ]  # fmt: skip
    assert {row["identificationVerificationStatus"] for row in rows} == {"verified"}
    assert {row["identifiedBy"] for row in rows} == {""}
    with pytest.raises(MisuseError, match="--labels"):
        store.export_answers(form="coco", target=tmp_path / "c.json")


def test_fewer_images_are_exported_where_fewer_are_asked(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    fewer = store.where("deployment_id == 'cam2'")
    done = fewer.export_answers(answers, form="coco", target=tmp_path / "c.json")
    assert (done.n_pictures, done.n_answers) == (3, 3)
    assert any("3 rows of answers are of images that were not asked for" in str(one)
               for one in done.notes)  # fmt: skip


def test_the_command_and_what_it_refuses(
    store: Store, answers: Path, tmp_path: Path, capsys: Capture
) -> None:
    ask = ["export", str(answers), "--store", str(store.folder), "--as"]
    assert run([*ask, "coco", "--output", str(tmp_path / "c.json")]) == 0
    assert "6 answers of 5 pictures as coco" in capsys.readouterr().err
    assert run([*ask, "coco", "-o", str(tmp_path / "c.csv")]) == 1
    assert "coco is a .json file, got" in capsys.readouterr().err
    assert run([*ask, "cocoa", "-o", str(tmp_path / "c.json")]) == 1
    assert "no format of answers 'cocoa'; there are camtrap-dp, speciesnet" in (
        capsys.readouterr().err
    )
    assert run([*ask, "coco", "-o", str(tmp_path / "c.json"), "--placeholders"]) == 2
    assert "--placeholders counts only with --as camtrap-dp or wildlife-insights" in (
        capsys.readouterr().err
    )
    assert run([*ask, "coco", "-o", str(tmp_path / "c.json"), "--time-zone", "Mars"]) == 2
    assert "no time zone 'Mars'" in capsys.readouterr().err


def test_a_cell_that_a_spreadsheet_would_run_is_disarmed(
    store: Store, answers: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(answers, keep_default_na=False)
    frame["common_name"] = "=HYPERLINK(1)"
    frame.to_csv(tmp_path / "live.csv", index=False)
    more: dict[str, Any] = {"placeholders": True}
    for safe, wanted in ((False, "=HYPERLINK(1)"), (True, "'=HYPERLINK(1)")):
        target = tmp_path / f"{safe}.csv"
        _export(store, tmp_path / "live.csv", "wildlife-insights", target, safe_csv=safe, **more)
        rows = _read_rows(target)
        assert rows[0]["common_name"] == wanted


@pytest.mark.parametrize(
    ("said", "category", "content"),
    [
        ("", "person", "human"),
        ("", "vehicle", "vehicle"),
        ("", "animal", "animal"),
        # Who looked at it says more than the detector.
        ("animal", "person", "animal"),
    ],
)
def test_a_person_in_a_box_is_one_whatever_it_is_like(
    said: str, category: str, content: str
) -> None:
    tiger = Taxon((*list(TIGER.values())[:-1], "tigris"), "tiger")
    guesses = (Guess(tiger, tiger.name, 0.9),)
    is_animal = content == "animal"
    assert _decide_content(said, guesses, category) == (content, is_animal)
