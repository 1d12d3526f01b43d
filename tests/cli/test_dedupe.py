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
