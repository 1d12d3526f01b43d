"""Pictures that an answer chooses: their files listed for xargs, copied, and linked to."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from bioprobe.cli.app import run

CaptureBytes = pytest.CaptureFixture[bytes]


def test_paths_for_xargs(store: Path, drawn: Path, capfdbinary: CaptureBytes) -> None:
    assert store
    assert run(["search", "--text", "a lion", "-k", "3", "--paths", "--null", "--quiet"]) == 0
    out = capfdbinary.readouterr().out
    listed = subprocess.run(["xargs", "-0", "ls"], input=out, capture_output=True, check=True)
    files = listed.stdout.decode().split()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(drawn) for file in files)
    assert run(["search", "--text", "a lion", "-k", "3", "--paths", "-o", "p.txt", "-q"]) == 0
    assert sorted(Path("p.txt").read_text(encoding="utf-8").split()) == sorted(files)


def test_answers_are_copied_into_folders(store: Path, capfdbinary: CaptureBytes) -> None:
    assert store
    command = ["zeroshot", "--level", "family", "--output", "a.csv"]
    assert run([*command, "--copy-to", "copies"]) == 0
    said = capfdbinary.readouterr().err.decode()
    copies = [file for file in Path("copies").rglob("*") if file.is_file()]
    assert f"copied {len(copies)} pictures to copies" in said
    assert len({file.parent for file in copies}) > 1
    assert run([*command, "--link-to", "links", "--quiet"]) == 0
    links = [file for file in Path("links").rglob("*") if file.is_symlink()]
    assert {file.relative_to("links") for file in links} == {
        file.relative_to("copies") for file in copies
    }


def test_answers_go_with_copies_as_keywords(store: Path) -> None:
    assert store
    asked = ["zeroshot", "--level", "species", "-k", "1", "--output", "a.csv", "--quiet"]
    assert run([*asked, "--copy-to", "marked", "--keywords"]) == 0
    answers = pd.read_csv("a.csv").set_index("file_name")
    copies = list(Path("marked").rglob("*.jpg"))
    assert len(copies) == len(answers)
    for copy in copies:
        species = copy.relative_to("marked").parts[0]
        with Image.open(copy) as image:
            packet = image.info["xmp"].decode()
        assert f"|{species}</rdf:li>" in packet
        assert answers.loc["/".join(copy.relative_to("marked").parts[1:]), "species"] == species


@pytest.mark.parametrize(
    "options",
    [
        ["--null"],
        ["--keywords"],
        ["--keep-metadata"],
        ["--copy-to", "a", "--link-to", "b"],
        ["--people", "hide"],
    ],
)
def test_options_without_effect_are_refused(store: Path, options: list[str]) -> None:
    assert store
    assert run(["dedupe", *options]) == 2


def test_what_repeats_leave_is_copied(store: Path, drawn: Path) -> None:
    assert store
    name = pd.read_csv(drawn / "photos" / "pictures.csv")["path"][0]
    box = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.5]}
    said = {
        "detection_categories": {"1": "animal"},
        "images": [{"file": name, "detections": [box]}],
    }
    (Path("boxes.json")).write_text(json.dumps(said), encoding="utf-8")
    root = str(drawn / "photos")
    embed = ["embed", "boxes.json", "--root", root, "--model", "sketch", "--store", "boxes", "-q"]
    assert run(embed) == 0
    asked = ["filter", "--repeats", "--store", "boxes", "--output", "f.csv", "--quiet"]
    assert run([*asked, "--people", "obscure", "--copy-to", "copies"]) == 0
    assert [file.name for file in Path("copies").rglob("*.*")] == [Path(name).name]
