"""Commands that read a store take pictures too."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.cli.app import run

# The folder of each test is the current one; $BIOPROBE_STORE names a store of sketch's vectors.
pytestmark = pytest.mark.usefixtures("store", "cache")

Capture = pytest.CaptureFixture[str]
LIONS = "panthera-leo"


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests share what they embed."""
    monkeypatch.setenv("BIOPROBE_CACHE", str(cached))


def _ask(capsys: Capture, *arguments: str) -> tuple[pd.DataFrame, str]:
    capsys.readouterr()
    assert run([*arguments, "--format", "csv"]) == 0
    captured = capsys.readouterr()
    return pd.read_csv(io.StringIO(captured.out), keep_default_na=False), captured.err


def test_pictures_are_labelled_by_the_model_of_the_store_that_is_there(
    drawn: Path, capsys: Capture
) -> None:
    lion = str(drawn / "photos" / LIONS / "000.jpg")
    Path("bad.jpg").write_text("no picture")
    asked = ("zeroshot", lion, "bad.jpg", "--taxa", "sketch", "--level", "family", "-k", "1")
    found, said = _ask(capsys, *asked)
    assert found[["file_name", "family", "row", "content"]].to_numpy().tolist() == [
        ["000.jpg", "Felidae", "0", ""], ["bad.jpg", "", "", "unreadable"],
    ]  # fmt: skip
    assert said.startswith("skipped bad.jpg: not an image of a known kind\nimages: 1; classes at ")
    capsys.readouterr()
    assert run([*asked, "--quiet"]) == 0
    assert capsys.readouterr().err == "skipped bad.jpg: not an image of a known kind\n"


def test_names_at_hand_need_no_list_of_taxa(drawn: Path, capsys: Capture) -> None:
    lion = str(drawn / "photos" / LIONS / "000.jpg")
    found, said = _ask(capsys, "zeroshot", lion, "--classes", "a lion,a yellow fish,a snail")
    assert list(found.columns[:3]) == ["file_name", "classification", "score"]
    assert found["classification"][0] == "a lion"
    assert said == "images: 1; classes: 3; templates: 1\n"


def test_labels_of_a_table_are_the_candidates(drawn: Path, capsys: Capture) -> None:
    table = str(drawn / "photos" / "pictures.csv")
    found, said = _ask(capsys, "zeroshot", table, "--level", "family", "-k", "1")
    stored, _ = _ask(capsys, "zeroshot", "--level", "family", "-k", "1")
    assert found.drop(columns="score").equals(stored.drop(columns="score"))
    assert "against the labels of " in said
    some, _ = _ask(capsys, "zeroshot", table, "-k", "1", "--where", "family == 'Felidae'")
    assert 0 < len(some) < len(found)


def test_a_list_of_paths_on_standard_input_is_asked(
    drawn: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lion = drawn / "photos" / LIONS / "000.jpg"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{lion}\n".encode())))
    found, _ = _ask(capsys, "filter", "-", "--threshold", "-1000")
    assert found["kept"].tolist() == [True]


def test_search_looks_in_a_folder(drawn: Path, capsys: Capture) -> None:
    lion = str(drawn / "photos" / LIONS / "000.jpg")
    asked = ("search", "--image", lion, "--in", str(drawn / "photos"), "-k", "1")
    found, _ = _ask(capsys, *asked)
    assert found["file_name"].tolist() == [f"{LIONS}/000.jpg"]
    # A store that is named too is that whose encoder reads them.
    again, _ = _ask(capsys, *asked, "--store", "store")
    assert again.equals(found)
    assert run([*asked, "--model", "sketch", "--store", "none"]) == 0


@pytest.mark.parametrize("command", ["filter", "dedupe", "describe"])
def test_a_folder_is_asked_as_a_store_is(drawn: Path, capsys: Capture, command: str) -> None:
    table = str(drawn / "photos" / "pictures.csv")
    found, said = _ask(capsys, command, table)
    stored, _ = _ask(capsys, command)
    pd.testing.assert_frame_equal(found, stored, rtol=1e-2, atol=1e-3)
    assert "--mask" not in said


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["zeroshot", "x", "--store", "store"], "asked instead of a store; leave --store out"),
        (["filter", "x", "--mask", "half"], "--mask counts only with no SOURCES"),
        (["dedupe", "--model", "sketch"], "--model counts only with SOURCES"),
        (["describe", "--device", "cpu"], "--device counts only with SOURCES"),
    ],
    ids=str,
)
def test_what_does_not_count_for_pictures_is_misuse(
    capsys: Capture, arguments: list[str], reason: str
) -> None:
    assert run(arguments) == 2
    assert reason in capsys.readouterr().err


def test_what_cannot_be_asked_fails(drawn: Path, capsys: Capture) -> None:
    assert run(["zeroshot", "none.jpg"]) == 1
    assert "no file or folder at none.jpg" in capsys.readouterr().err
    Path("bad.jpg").write_text("no picture")
    assert run(["describe", "bad.jpg"]) == 1
    assert "none of 1 pictures can be read; the first, bad.jpg" in capsys.readouterr().err
    assert run(["zeroshot", str(drawn / "photos" / LIONS), "--level", "family"]) == 1
    assert "give a taxon list with --taxa" in capsys.readouterr().err
