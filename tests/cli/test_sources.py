"""What ``sources list`` and ``sources show`` say before anything is embedded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.registry import SOURCES


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with two pictures and a detector's file."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (20, 10)).save(name)
    boxes = [
        {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]},
        {"category": "2", "conf": 0.3, "bbox": [0, 0, 0.3, 0.4]},
    ]
    classes = {"classifications": [["0", 0.8]]}
    content = {
        "info": {"format_version": "1.5", "detector": "md"},
        "detection_categories": {"1": "animal", "2": "person"},
        "classification_categories": {"0": "tiger"},
        "classification_category_descriptions": {
            "0": "0;mammalia;carnivora;felidae;panthera;tigris;tiger"
        },
        "images": [
            {"file": "a.jpg", "detections": [{**boxes[0], **classes}, boxes[1]]},
            {"file": "b.jpg", "failure": "no access", "detections": None},
            {"file": "gone.jpg", "detections": [boxes[0]]},
        ],
    }
    Path("found.json").write_text(json.dumps(content))
    return tmp_path


def test_show_says_what_a_file_was_taken_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sources", "show", "found.json", "--format", "csv", "-n", "2"]) == 0
    shown, said = capsys.readouterr()
    assert "found.json is taken for megadetector: MegaDetector's output" in said
    assert "3 regions of 2 pictures, 3 of them boxes; 2 failures" in said
    assert "columns: path, class, order" in said
    assert "ranks: class 1, order 1, family 1, genus 1, species 1" in said
    assert "content: animal 1" in said
    assert "b.jpg: the detector could not read it: no access" in said
    assert f"{here / 'gone.jpg'}: no such file or directory" in said
    header, first, *rest = shown.splitlines()
    assert header.startswith("path,image_region,class,order")
    assert first.startswith('a.jpg,"0.1,0.2,0.3,0.4",Mammalia,Carnivora')
    assert len(rest) == 1
    assert not Path("embeddings").exists()


def test_the_facts_go_with_the_table(here: Path) -> None:
    assert run(["sources", "show", "found.json", "-q", "-o", "facts.json"]) == 0
    facts = json.loads(Path("facts.json").read_text())["provenance"]
    assert (facts["kind"], facts["pictures"], facts["regions"]) == ("megadetector", 2, 3)
    assert facts["content"] == {"animal": 1}
    found = bp.show_source(here / "found.json", category="human", min_confidence=0.3)
    assert found.provenance["regions"] == 1
    assert bp.show_source(here / "found.json", min_confidence=0.5).provenance["regions"] == 2
    assert found.failures["path"].tolist() == ["b.jpg"]
    assert bp.show_source("found.json", root=here / "none").provenance["failures"] == 3


def test_every_kind_of_source_can_be_shown(here: Path) -> None:
    Path("t.csv").write_text("file,Art,picture\na.jpg,Panthera leo,b.jpg\n")
    Path("l.txt").write_text("a.jpg\nb.jpg\n")
    kinds = {"t.csv": "csv", "l.txt": "txt", ".": "folder", "a.jpg": "image"}
    for source, kind in kinds.items():
        assert bp.show_source(source).provenance["kind"] == kind
    table = bp.show_source("t.csv", rank_column="species=Art", path_column="picture")
    assert table.to_frame()["path"].tolist() == ["b.jpg"]
    assert table.provenance["ranks"] == {"genus": 1, "species": 1}
    (here / "in").mkdir()
    Path("in/t.csv").write_text(f"path\n{here / 'a.jpg'}\n")
    assert bp.show_source("in/t.csv").provenance["failures"] == 1
    assert bp.show_source("in/t.csv", allow_outside=True).provenance["failures"] == 0


def test_list_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sources", "list", "--format", "csv"]) == 0
    assert "COCO Camera Traps (LILA)" in capsys.readouterr().out
    names = set(bp.list_sources().to_frame()["name"])
    assert {*SOURCES.places, "image", "megadetector", "speciesnet", "coco"} <= names


def test_what_cannot_be_shown_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.json").write_text('{"a": 1}')
    assert run(["sources", "show", "other.json"]) == 1
    assert "is no list of paths; of JSON an array of texts is read" in capsys.readouterr().err
    assert run(["sources", "show", "none.json"]) == 1
    assert "no file or folder at none.json" in capsys.readouterr().err
    assert here.is_dir()
