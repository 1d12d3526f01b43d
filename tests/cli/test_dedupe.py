from __future__ import annotations

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def copied(store: Path, drawn: Path) -> Path:
    """Add a copy of one picture to the store."""
    shutil.copy(drawn / "photos" / "panthera-leo" / "000.jpg", "copy.jpg")
    assert run(["embed", "copy.jpg", "--model", "sketch", "--quiet"]) == 0
    return store


def _ask(capsys: Capture, *arguments: str) -> pd.DataFrame:
    capsys.readouterr()
    assert run(["dedupe", *arguments, "--quiet", "--format", "csv"]) == 0
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


def test_a_copied_picture_is_listed_and_masked(copied: Path, capsys: Capture) -> None:
    assert run(["dedupe", "--threshold", "1", "--output", "groups.csv"]) == 0
    said = capsys.readouterr().err
    frame = pd.read_csv("groups.csv")
    assert frame["kind"].tolist() == ["exact", "exact"]
    assert frame["kept"].tolist() == [True, False]
    assert "groups of duplicates: 1; copies of an image that is kept: 1" in said
    assert "--mask filters/duplicates" in said
    assert Path("groups.csv.provenance.json").is_file()
    selection = read_selection(EmbeddingStore.open(copied), "filters/duplicates")
    assert (~selection.kept).sum() == 1


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(
    ("asked", "change"),
    [
        (("--no-confirm",), ("--threshold", "0.6")),
        (("--threshold", "0.6"), ("--no-confirm",)),
        (("--threshold", "1"), ("--where", "family == 'Canidae'")),
    ],
)
def test_every_option_changes_the_groups(
    capsys: Capture, asked: tuple[str, ...], change: tuple[str, ...]
) -> None:
    assert not _ask(capsys, *asked, *change).equals(_ask(capsys, *asked))


@pytest.mark.usefixtures("copied")
def test_only_what_a_mask_keeps_is_compared(capsys: Capture) -> None:
    both = _ask(capsys, "--threshold", "1")
    # Of the same bytes, the one with a label is kept.
    assert [Path(name).name for name in both["file_name"]] == ["000.jpg", "copy.jpg"]
    assert _ask(capsys, "--threshold", "1", "--mask", "filters/duplicates").empty


@pytest.fixture
def other(store: Path, drawn: Path, tmp_path: Path) -> Path:
    """Embed a smaller and a cut copy of two pictures, and another picture, into a second store."""
    from PIL import Image

    folder = tmp_path / "other"
    folder.mkdir()
    first, second = sorted((drawn / "photos").glob("*/*.jpg"))[:2]
    shutil.copy(first, folder / "same.jpg")
    with Image.open(second) as image:
        width, height = image.size
        image.crop((5, 5, width - 5, height - 5)).save(folder / "cut.jpg", quality=90)
    asked = ["embed", str(folder), "--model", "sketch", "--store", "second", "--quiet"]
    assert run(asked) == 0
    assert store.is_dir()
    return tmp_path / "second"


def test_what_another_store_has_too_is_listed_and_masked(
    store: Path, other: Path, capsys: Capture
) -> None:
    asked = ["--against", str(other), "--output", "both.csv", "--html", "both.html"]
    assert run(["dedupe", *asked]) == 0
    said = capsys.readouterr().err
    frame = pd.read_csv("both.csv")
    assert frame["kind"].tolist() == ["exact", "near"]
    assert frame["other"].tolist() == ["same.jpg", "cut.jpg"]
    assert "--mask filters/against" in said
    assert "nearest to the threshold" in said
    page = Path("both.html").read_text()
    assert "the threshold" in page
    assert page.count("data:image/jpeg") >= 4
    selection = read_selection(EmbeddingStore.open(store), "filters/against")
    assert (~selection.kept).sum() == 2
    capsys.readouterr()
    assert run(["dedupe", "--against", str(other), "--paths", "--quiet"]) == 0
    listed = capsys.readouterr().out.split()
    assert len(listed) == 2


def test_pictures_decide_unless_vectors_alone_are_to(other: Path, capsys: Capture) -> None:
    asked = ("--against", str(other), "--threshold", "0.5")
    assert len(_ask(capsys, *asked)) == 2
    assert len(_ask(capsys, *asked, "--no-confirm")) > 2


@pytest.mark.usefixtures("copied")
def test_the_pairs_nearest_to_the_threshold_are_shown(capsys: Capture) -> None:
    capsys.readouterr()
    assert run(["dedupe", "--no-confirm", "--threshold", "0.9", "--html", "page.html"]) == 0
    said = capsys.readouterr().err
    assert "pairs of other bytes nearest to the threshold of 0.9000" in said
    assert "not taken for copies by their vectors alone" in said
    page = Path("page.html").read_text()
    assert "Just above the threshold" in page
    assert "Just below the threshold" in page
