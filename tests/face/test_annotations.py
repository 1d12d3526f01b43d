"""What people say of pictures: said, shown, taken back, and counted by every question."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.face.store import Store
from bioprobe.result import Notes
from bioprobe.store import EmbeddingStore

LION, LYNX, WOLF = "Panthera leo", "Lynx lynx", "Canis lupus"


def test_what_is_said_counts_at_once_and_in_whoever_opens_the_store(store: Store) -> None:
    said = {"row": 3, "level": "species", "value": LYNX, "suggestion": WOLF, "score": 0.75}
    done = store.add_annotations([said], by="anna").to_frame()
    assert done[["row", "file_name", "verdict", "is_new"]].to_numpy().tolist() == [
        [3, "3.jpg", "is", True]
    ]
    for opened in (store, bp.open(store.folder)):
        assert opened.labels("species").tolist() == [LION, LION, LYNX, LYNX]
        assert opened.where(labels="given").labels("species").tolist()[3] == WOLF
        assert opened.where(labels="confirmed").labels("family").tolist() == ["", "", "", "Felidae"]
        (note,) = map(str, opened.notes)
        assert note.endswith("(--labels both)")
        assert "--labels" not in repr(opened.describe())
    # A condition is met by the labels that count.
    assert len(store.where("species == 'Lynx lynx'")) == 2
    assert len(store.where("species == 'Lynx lynx'", labels="given")) == 1
    (note,) = map(str, store.where(labels="given").notes)
    assert note.startswith("labels that came with the pictures count")


def test_annotations_are_shown_the_newest_first_with_what_was_taken_back(store: Store) -> None:
    said = [
        {"path": "0.jpg", "level": "species", "value": LYNX, "at": "2024-05-01T12:00:00"},
        {"file_name": "1.jpg", "level": "family", "verdict": "unsure", "at": "2024-05-01T12:01:00"},
    ]
    first, second = store.add_annotations(pd.DataFrame(said), by="anna").to_frame()["id"]
    store.retract(first, by="ben")
    shown = store.annotations().to_frame()
    assert shown["id"].tolist() == [second, first]
    assert shown["retracted_by"].tolist() == ["", "ben"]
    assert shown["value"].tolist() == ["", LYNX]
    assert math.isnan(shown["score"][0])
    assert store.annotations("family").to_frame()["id"].tolist() == [second]
    assert store.annotations(standing=True).to_frame()["id"].tolist() == [second]
    assert store.where("path == '0.jpg'").annotations().to_frame()["id"].tolist() == [first]
    assert store.labels("species").tolist()[0] == LION


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"level": "species", "value": "x"}, bp.MisuseError, "annotation 2: it says neither row"),
        ({"row": 9, "level": "species", "value": "x"}, bp.SelectionError, "has no row 9"),
        ({"path": "9.jpg", "level": "species", "value": "x"}, bp.SelectionError, "'9.jpg'"),
        ({"row": 0, "level": "speceis", "value": "x"}, bp.SelectionError, "species"),
        ({"row": 0, "value": "x"}, bp.MisuseError, "has no level"),
        ({"row": 0, "level": "species", "vale": "x"}, bp.MisuseError, "'vale' is nothing"),
        ({"row": 0, "level": "species", "value": "x", "score": "high"}, bp.MisuseError, "number"),
        ({"row": 0, "level": "species", "verdict": "is"}, bp.MisuseError, "or the verdict"),
    ],
)  # fmt: skip
def test_where_one_cannot_be_taken_none_is_written(
    store: Store, said: dict[str, object], error: type[Exception], message: str
) -> None:
    good = {"row": 0, "level": "species", "value": LYNX}
    with pytest.raises(error, match=message):
        store.add_annotations([good, said], by="anna")
    assert len(store.annotations().to_frame()) == 0


def test_a_page_may_send_the_same_again(store: Store) -> None:
    said = {"row": 0, "level": "species", "value": LYNX, "id": "f" * 32}
    assert store.add_annotations(said, by="anna").to_frame()["is_new"].tolist() == [True]
    assert store.add_annotations(said, by="anna").to_frame()["is_new"].tolist() == [False]
    assert len(store.annotations().to_frame()) == 1


def test_who_says_it_is_the_variable_or_the_user(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOPROBE_PERSON", "ben")
    store.annotate_rows(LYNX, row=[0, 1])
    monkeypatch.delenv("BIOPROBE_PERSON")
    monkeypatch.setattr("getpass.getuser", lambda: "carla")
    store.annotate_rows(LYNX, path="2.jpg")
    assert store.annotations().to_frame()["by"].tolist() == ["carla", "ben", "ben"]


def test_a_store_that_was_compacted_since_is_opened_again_first(store: Store) -> None:
    other = bp.open(store.folder)
    other.remove(row=0)
    other.compact()
    with pytest.raises(bp.StoreError, match="compacted since it was opened; open it again"):
        store.annotate_rows(LYNX, row=1)


def test_a_name_that_is_nearly_one_that_is_known_is_taken_with_a_warning(
    store: Store, tmp_path: Path
) -> None:
    def warn(said: bp.Table) -> list[str]:
        return [str(note) for note in said.notes if note.kind == "warning"]

    # A species that is new is none that is misspelt, and is known from then on.
    assert warn(store.annotate_rows("Panthera uncia", row=1, by="anna")) == []
    for name, near in (("Panthera leoo", LION), ("panthera Uncia", "Panthera uncia")):
        (text,) = warn(store.annotate_rows(name, row=1, by="anna"))
        assert f"nothing was {name!r} at species before; was {near!r} meant?" in text
    table = tmp_path / "said.csv"
    table.write_text("path,taken,species\nx.jpg,1.jpg,Linx lynx\ny.jpg,0.jpg,Panthera leo\n")
    (text,) = warn(store.import_annotations(table, by="ben", path_column="taken"))
    assert "was 'Lynx lynx' meant?" in text


def test_the_commands_add_show_and_take_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--store", str(store.folder)]
    assert run(["annotations", "add", LYNX, "--row", "0", "--by", "anna", *where]) == 0
    monkeypatch.setenv("BIOPROBE_PERSON", "ben")
    assert run(["annotations", "add", "--verdict", "unsure", "--path", "1.jpg", *where]) == 0
    assert run(["annotations", "add", LYNX, *where]) == 2
    assert "say which pictures" in capsys.readouterr().err
    assert run(["annotations", "show", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert run(["annotations", "retract", lines[2].split(",")[0], *where]) == 0
    assert run(["annotations", "retract", "last", "--by", "anna", *where]) == 2
    assert "anna said nothing" in capsys.readouterr().err
    assert run(["annotations", "retract", "last", *where]) == 0
    capsys.readouterr()
    assert run(["annotations", "show", "--standing", *where]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert bp.open(store.folder).labels("species").tolist()[0] == LION


@pytest.mark.parametrize(("flag", "lions"), [("given", 2), ("confirmed", 0), ("both", 1)])
def test_a_command_counts_the_labels_that_it_is_told(
    store: Store, tmp_path: Path, flag: str, lions: int
) -> None:
    store.annotate_rows(LYNX, row=[0], by="anna")
    found = tmp_path / "found.csv"
    asked = ["describe", "--level", "species", "--labels", flag, "--output", str(found)]
    assert run([*asked, "--store", str(store.folder)]) == 0
    counts = pd.read_csv(found)
    assert counts.to_string().count(LION) == min(1, lions)


def test_labels_of_people_are_never_written_among_those_that_came(
    store: Store, tmp_path: Path
) -> None:
    store.annotate_rows(LYNX, row=[0], by="anna")
    names = tmp_path / "names.csv"
    names.write_text(
        "family,genus,species\nFelidae,Lynx,Lynx lynx\nFelidae,Panthera,Panthera leo\n"
    )
    store.resolve_taxa(names=names, apply=True)
    opened = bp.open(store.folder)
    assert LYNX in opened.labels("species").tolist()
    given = opened.where(labels="given").labels("species").tolist()
    assert sorted(given) == sorted([LION, LION, LYNX, WOLF])


def test_what_was_said_of_removed_pictures_is_gone_with_them(store: Store) -> None:
    store.annotate_rows(LYNX, row=[0, 1], by="anna")
    one, _ = store.annotations().to_frame()["id"]
    store.retract(one, by="ben")
    removed = store.remove(row=[0])
    assert "annotations of" in removed.hangs["what"].tolist()
    assert store.annotations().to_frame()["row"].tolist() == [1, -1]
    log = store.folder / "annotations" / "log.jsonl"
    assert store.compact().counts["annotations"] >= 1
    assert "0.jpg" not in log.read_text()
    assert store.annotations().to_frame()["row"].tolist() == [0]
    assert store.verify().is_whole


def test_a_damaged_line_is_told_and_taken_out_by_a_repair(store: Store) -> None:
    store.annotate_rows(LYNX, row=[0, 1, 2], by="anna")
    log = store.folder / "annotations" / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([lines[0], lines[1].replace("Lynx", "Lunx"), lines[2]]))
    opened = bp.open(store.folder)
    assert any(note.kind == "problem" for note in opened.notes)
    assert opened.labels("species").tolist() == [LYNX, LION, LYNX, WOLF]
    assert [one.where for one in store.verify().problems] == ["annotations/log.jsonl line 2"]
    repaired = store.verify(repair=True)
    assert repaired.is_whole
    assert "1 damaged line of what people said taken out" in str(repaired.notes[0])
    assert "Lunx" in next(store.folder.glob("damaged/annotations-*.jsonl")).read_text()
    assert len(bp.open(store.folder).annotations().to_frame()) == 2


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_what_is_exported_is_imported_by_another_store_once(
    store: Store,
    tmp_path: Path,
    make_store: Callable[..., EmbeddingStore],
    encoder: Any,  # noqa: ANN401
    ending: str,
) -> None:
    said = [
        {"row": 0, "level": "species", "value": LYNX, "score": 0.5, "shown_for": "audit",
         "chance": 0.25, "suggestion": LION},
        {"row": 1, "level": "species", "verdict": "unsure"},
        {"row": 2, "level": "family", "value": "=1+1", "verdict": "is not"},
    ]  # fmt: skip
    first = store.add_annotations(said, by="anna").to_frame()["id"][0]
    store.retract(first, by="ben")
    file = tmp_path / f"said.{ending}"
    written = store.export_annotations(file).to_frame()
    # The same pictures, in another order and under another root.
    frame = store._view.images.frame.iloc[::-1].assign(root="elsewhere")
    other = make_store(encoder, "other").append(frame, np.eye(encoder.dim)[:4])
    opened = bp.open(other.folder)
    for n_new in (4, 0):
        done = opened.import_annotations(file).to_frame()
        assert done["is_new"].sum() == n_new
        assert (done["problem"] == "").all()
    shown = opened.annotations().to_frame()[::-1]
    names = ["id", "level", "value", "verdict", "by", "at", "suggestion", "shown_for",
             "retracted_by"]  # fmt: skip
    assert shown[names].to_numpy().tolist() == written[names].to_numpy().tolist()
    assert shown["score"].tolist()[0] == 0.5
    assert shown["row"].tolist() == [3, 2, 1]


def test_a_table_with_columns_of_its_own_is_read_and_bad_rows_stop_nothing(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "corrected.csv"
    file.write_text(
        f"path,level,value,by\n0.jpg,species,{LYNX},ben\nnone.jpg,species,{LYNX},ben\n"
        f"1.jpg,vigour,high,ben\nother/2.jpg,species,{WOLF},\n"
    )
    done = store.import_annotations(file, by="anna")
    frame = done.to_frame()
    assert frame["by"].dropna().tolist() == ["ben"]
    assert frame["where"].tolist()[1:] == ["line 3", "line 4", "line 5"]
    assert "no image 'none.jpg'" in frame["problem"][1]
    assert "'vigour'" in frame["problem"][2]
    # A picture of that name in another folder may be another one.
    assert "no image 'other/2.jpg'" in frame["problem"][3]
    assert any(note.kind == "problem" for note in done.notes)
    again = store.import_annotations(file, by="anna", new_column=True).to_frame()
    assert again["is_new"].tolist() == [False, True, False, False]
    assert bp.open(store.folder).labels("vigour").tolist() == ["", "high", "", ""]


def test_labels_of_a_camtrap_dp_are_those_of_whoever_classified_it(
    opened: bp.Store, tmp_path: Path
) -> None:
    root = str(opened.images["root"].iloc[0])
    folder = tmp_path / "package"
    (folder).mkdir()
    resources = [{"name": n, "path": f"{n}.csv"} for n in ("deployments", "media", "observations")]
    (folder / "datapackage.json").write_text(json.dumps({"resources": resources}))
    (folder / "deployments.csv").write_text("deploymentID\nd\n")
    media = "".join(
        f"m{number},d,2024-05-01T12:00:0{number}Z,{root}/00{number}.png\n" for number in range(4)
    )
    (folder / "media.csv").write_text(f"mediaID,deploymentID,timestamp,filePath\n{media}")
    (folder / "observations.csv").write_text(
        "observationID,deploymentID,mediaID,observationLevel,observationType,scientificName,"
        "classificationMethod,classifiedBy,classificationTimestamp\n"
        "o0,d,m0,media,animal,Panthera leo,human,Ana,2024-05-02T08:00:00Z\n"
        "o1,d,m1,media,blank,,human,Ben,2024-05-02T08:00:01Z\n"
        "o2,d,m2,media,animal,Panthera leo,machine,A model,2024-05-02T08:00:02Z\n"
    )
    done = opened.import_annotations(folder)
    shown = opened.annotations().to_frame().sort_values("row")
    assert shown[["row", "level", "value", "by", "at"]].to_numpy().tolist() == [
        [0, "species", LION, "Ana", "2024-05-02T08:00:00.000+00:00"],
        [1, "content", "blank", "Ben", "2024-05-02T08:00:01.000+00:00"],
    ]
    assert "1 labels that a machine gave are left out" in map(str, done.notes)


def test_people_who_looked_at_the_same_pictures_are_compared(store: Store) -> None:
    anna, ben = [LION, LION, LYNX, WOLF], [LION, LYNX, LYNX, WOLF]
    for by, values in (("anna", anna), ("ben", ben)):
        said = [{"row": row, "level": "species", "value": one} for row, one in enumerate(values)]
        store.add_annotations(said, by=by)
    store.annotate_rows(LION, row=1, verdict="is not", by="carla")
    found = store.agreement_between("species")
    (line,) = found.to_frame().to_dict("records")
    assert (line["first"], line["second"], line["n"], line["agreement"]) == ("anna", "ben", 4, 0.75)
    assert line["kappa"] == pytest.approx(cohen_kappa_score(anna, ben))
    assert line["kappa_low"] < line["kappa"] < line["kappa_high"]
    listed = store.agreement_between("species", disagreements=True).to_frame()
    assert listed[["file_name", "by", "value", "label", "status"]].to_numpy().tolist() == [
        ["1.jpg", "anna", LION, LYNX, "resolved"], ["1.jpg", "ben", LYNX, LYNX, "resolved"]
    ]  # fmt: skip
    with pytest.raises(bp.SelectionError, match="no two people said of the same image"):
        store.agreement_between("content")


def test_labels_go_to_other_programs_with_who_gave_them(opened: bp.Store, tmp_path: Path) -> None:
    said = {"level": "species", "value": LYNX, "at": "2024-05-01T12:00:00.500"}
    opened.add_annotations([{"row": 0, **said}], by="anna")
    opened.add_annotations([{"row": 0, **said}], by="ben")
    target = tmp_path / "package"
    opened.export_answers(labels=True, form="camtrap-dp", target=target, placeholders=True)
    names = ["scientificName", "classificationMethod", "classifiedBy", "classificationTimestamp"]
    found = pd.read_csv(target / "observations.csv", keep_default_na=False)[names]
    assert found.to_numpy().tolist()[:2] == [
        [LYNX, "human", "anna | ben", "2024-05-01T12:00:00Z"], ["Canidae", "human", "", ""]
    ]  # fmt: skip
    confirmed = opened.where(labels="confirmed")
    confirmed.export_answers(labels=True, form="coco", target=tmp_path / "coco.json")
    made = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert [(one["annotator"], one["annotated_at"]) for one in made] == [
        ("anna | ben", "2024-05-01T12:00:00Z")
    ]
    for form, name in (("darwin-core", "archive"), ("wildlife-insights", "images.csv")):
        place = tmp_path / name
        confirmed.export_answers(
            labels=True, form=form, target=place, placeholders=form != "darwin-core"
        )
        files = [place, *place.rglob("*")]
        text = "".join(one.read_text() for one in files if one.is_file())
        assert "anna | ben" in text


def test_what_was_computed_before_says_that_labels_have_changed(store: Store) -> None:
    def is_told(notes: Notes) -> bool:
        return any("was made by other labels" in str(note) for note in notes)

    probe = store.fit("centroid", level="species", split="none", name="mine")
    assert not is_told(store.probe("mine").predict(store).notes)
    store.annotate_rows(LYNX, row=0, by="anna")
    assert is_told(store.probe("mine").predict(store).notes)
    assert not is_told(store.where(labels="given").probe("mine").predict(store).notes)
    again = store.fit("centroid", level="species", split="none", name="mine")
    assert not is_told(again.predict(store).notes)
    assert again.fitted.provenance["options"]["labels"] == "both"
    assert "labels" not in probe.fitted.provenance["options"]
    assert store.info().to_dict()["annotations"] == "1 of 1 image by 1 person"


def test_what_was_taken_back_is_so_once_wherever_it_is_imported(
    store: Store, tmp_path: Path
) -> None:
    said = {"row": 0, "level": "species", "value": LYNX}
    (said_id,) = store.add_annotations([said], by="anna").to_frame()["id"]
    store.retract(said_id, by="ben")
    when = store.annotations().to_frame()["retracted_at"][0]
    store.export_annotations(tmp_path / "said.csv")
    # Where it is known already nothing is written; elsewhere who took it back and when are kept.
    again = store.import_annotations(tmp_path / "said.csv")
    assert "0 annotations by anna written" in str(again.notes[0])
    assert not again.to_frame()["is_new"].any()
    frame = pd.read_csv(tmp_path / "said.csv")
    assert (frame["retracted_by"][0], frame["retracted_at"][0]) == ("ben", when)
    assert store.annotations(by="ben").to_frame().empty
    assert len(store.annotations(by="anna").to_frame()) == 1


def test_people_who_say_the_same_are_several_and_what_comes_back_is_no_other(
    store: Store, tmp_path: Path
) -> None:
    said = {"row": 0, "level": "species", "value": LYNX, "at": "2024-05-01T12:00:00.250"}
    store.add_annotations([said], by="anna")
    file = tmp_path / "theirs.csv"
    file.write_text(
        "path,species,identifiedBy,dateIdentified\n"
        f"0.jpg,{LYNX},anna | ben,2024-05-01T12:00:00Z\n", encoding="utf-8",
    )  # fmt: skip
    done = store.import_annotations(file).to_frame()
    assert done[["by", "is_new"]].to_numpy().tolist() == [["anna", False], ["ben", True]]
    assert not store.import_annotations(file).to_frame()["is_new"].any()
    assert store.agreement_between("species").to_frame()["n"].tolist() == [1]


def test_one_of_a_file_that_contradicts_its_id_stops_no_other(store: Store, tmp_path: Path) -> None:
    one = {"row": 0, "level": "species", "value": LYNX, "id": "a" * 32}
    store.add_annotations([one], by="anna")
    file = tmp_path / "said.csv"
    file.write_text(
        f"id,path,level,value,by\n{'a' * 32},0.jpg,species,{WOLF},anna\n"
        f"{'b' * 32},1.jpg,species,{WOLF},anna\n", encoding="utf-8",
    )  # fmt: skip
    done = store.import_annotations(file).to_frame()
    assert done["is_new"].tolist() == [True, False]
    assert "is that of another annotation" in done["problem"][1]
    assert done["where"].tolist() == ["line 3", "line 2"]


def test_a_species_agrees_with_its_family_at_the_family_alone(store: Store) -> None:
    # Three people; ben names families, of which anna names species.
    said = {
        "anna": [("species", LION), ("species", LION), ("species", LYNX), ("species", WOLF)],
        "ben": [("family", "Felidae"), ("family", "Canidae"), ("family", "Felidae"),
                ("family", "Canidae")],
        "carl": [("species", LION), ("species", LYNX), ("species", LYNX), ("species", WOLF)],
    }  # fmt: skip
    for person, all_said in said.items():
        store.add_annotations(
            [{"row": row, "level": level, "value": value}
             for row, (level, value) in enumerate(all_said)], by=person,
        )  # fmt: skip
    families = {
        "anna": ["Felidae", "Felidae", "Felidae", "Canidae"],
        "ben": ["Felidae", "Canidae", "Felidae", "Canidae"],
        "carl": ["Felidae", "Felidae", "Felidae", "Canidae"],
    }
    found = store.agreement_between("family").to_frame()
    pairs = found.set_index(["first", "second"])
    for first, second in (("anna", "ben"), ("anna", "carl"), ("ben", "carl")):
        one = pairs.loc[[(first, second)]].iloc[0]
        assert one["n"] == 4
        assert one["kappa"] == pytest.approx(cohen_kappa_score(families[first], families[second]))
    # At the species who names the family alone says nothing.
    species = store.agreement_between("species").to_frame()
    assert species[["first", "second", "n"]].to_numpy().tolist() == [["anna", "carl", 4]]
    own = [value for _, value in said["anna"]], [value for _, value in said["carl"]]
    assert species["kappa"][0] == pytest.approx(cohen_kappa_score(*own))
