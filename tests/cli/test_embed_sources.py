from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from PIL import Image

from bioprobe.cli.app import run
from bioprobe.face import filling as face_module
from bioprobe.images.reading import MAX_PIXELS_PX
from bioprobe.store import EmbeddingStore

pytestmark = pytest.mark.usefixtures("store")
NEW = ["--model", "sketch", "-s", "new"]


def _pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_list_on_standard_input_is_embedded(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = subprocess.run(
        ["find", str(drawn / "photos"), "-name", "*.jpg", "-print0"],
        capture_output=True,
        check=True,
    ).stdout
    _pipe(monkeypatch, found + b"none.jpg\0")
    assert run(["embed", "-", *NEW, "--folder-rank", "species"]) == 0
    n_found = found.count(b"\0")
    assert n_found > 1
    assert f"{n_found} embedded, 0 reused, 0 already there, 1 failed" in capsys.readouterr().err
    assert "Panthera leo" in set(EmbeddingStore.open("new").images.frame["species"])


def test_embed_refuses_an_empty_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pipe(monkeypatch, b"\n")
    assert run(["embed", "-", *NEW]) == 1
    assert "standard input is empty; pipe one in: find photos" in capsys.readouterr().err


def test_a_saved_data_set_is_embedded_once_without_a_word_of_its_library(
    drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in sorted((drawn / "photos").rglob("*.jpg"))]
    rows = datasets.Dataset.from_dict({"image": files}).cast_column("image", datasets.Image())
    rows.save_to_disk("saved")
    capsys.readouterr()
    assert run(["embed", "saved", *NEW, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["embed", "saved", *NEW]) == 0
    assert f"0 embedded, 0 reused, {len(files)} already there" in capsys.readouterr().err
    assert run(["search", "--image", files[0], "-s", "new", "-k", "1"]) == 0


def test_a_rank_without_a_column_leaves_the_column_of_its_name_free(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("RGB", (10, 8)).save("a.png")
    Path("t.csv").write_text("path,class,family\na.png,night,Felidae\n")
    arguments = ["embed", "t.csv", *NEW, "--quiet"]
    assert run(arguments) == 0
    (row,) = EmbeddingStore.open("new").images.frame.to_dict("records")
    assert (row["class"], row["family"]) == ("night", "Felidae")
    assert run([*arguments, "-s", "free", "--rank-column", "class="]) == 0
    (row,) = EmbeddingStore.open("free").images.frame.to_dict("records")
    assert (row["class"], row["source_class"], row["family"]) == ("", "night", "Felidae")
    capsys.readouterr()
    assert run([*arguments, "--rank-column", "class"]) == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "or RANK= where no column holds the rank; got 'class'" in told


def test_max_pixels_refuses_larger_images(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (10, 8)).save("a.png")
    assert run(["embed", "a.png", *NEW, "--max-pixels", "79"]) == 1
    assert "--max-pixels 80)" in capsys.readouterr().err
    assert not Path("new").exists()
    assert run(["embed", "a.png", *NEW, "--max-pixels", "80"]) == 0
    capsys.readouterr()


def test_the_default_limit_is_that_of_the_library() -> None:
    assert face_module.MAX_PIXELS_PX == MAX_PIXELS_PX


def test_names_that_are_not_utf_8_come_out_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    name = Path("caf\udce9.png")
    Image.new("RGB", (10, 8)).save(name)
    assert run(["embed", str(name), *NEW]) == 0
    assert run(["search", "--text", "a cat", "-s", "new"]) == 0
    assert "caf\uefe9.png" in capsys.readouterr().out


def test_files_of_one_name_are_told_apart_in_every_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder, colour in (("CAM1", "navy"), ("CAM2", "navy"), ("CAM3", "orange")):
        Path(folder).mkdir()
        Image.new("RGB", (32, 32), colour).save(Path(folder) / "IMG_0001.JPG")
    Image.new("RGB", (32, 32), "green").save("CAM3/IMG_0002.JPG")
    assert run(["embed", "CAM1", "CAM2", "CAM3", *NEW]) == 0
    capsys.readouterr()
    names = {f"CAM{number}/IMG_0001.JPG" for number in (1, 2, 3)} | {"IMG_0002.JPG"}
    for command in (
        ["zeroshot", "--classes", "cat,bird", "-k", "1"],
        ["search", "--text", "a cat", "-k", "4"],
        ["dedupe", "--output", "-"],
    ):
        assert run([*command, "-s", "new", "--format", "csv"]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        said = {cell for line in lines for cell in line.split(",") if cell.endswith(".JPG")}
        assert lines
        assert said == (names if command[0] != "dedupe" else said & names)
