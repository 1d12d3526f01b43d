"""The page of pictures that nobody labelled, asked as a person asks for it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bioprobe
from bioprobe.cli.app import run
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.store.selections import write_selection

pytestmark = pytest.mark.usefixtures("undrawn")
STATIONS = ("north", "south")


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of 24 pictures in two folders, without a label."""
    folder = tmp_path_factory.mktemp("unlabelled")
    for number in range(24):
        place = folder / "photos" / STATIONS[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (10 * number, 120, 200)).save(place / f"{number:03d}.png")
    bioprobe.embed([folder / "photos"], store=folder / "store", model="sketch")
    return folder / "store"


def test_it_says_what_was_found_by_folder_and_how_sure(unlabelled: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    asked = ["report", "--taxa", "sketch", "--level", "family", "--title", "Two stations"]
    assert run([*asked, "--store", str(unlabelled), "--output", str(path), "--quiet"]) == 0
    page = path.read_text(encoding="utf-8")
    assert "<h1>Two stations</h1>" in page
    assert "24</dd><dd>From 2 different folders." in page
    for station in STATIONS:
        assert re.search(rf'<th scope="row">{station}</th><td class="n">12</td>', page)
    answers = bioprobe.open(unlabelled).zeroshot("family", taxa="sketch", k=1)
    assert isinstance(answers, bioprobe.Predictions)
    sure = int((answers.scores[:, 0] >= 0.9).sum())
    assert f"{sure} of 24</dd>" in page
    assert "No label says whether a name is right." in page
    assert "evaluate" not in page


def test_it_leaves_out_what_a_filter_drops_and_tells_any_column_apart(
    unlabelled: Path, tmp_path: Path
) -> None:
    shutil.copytree(unlabelled, tmp_path / "store")
    store = bioprobe.open(tmp_path / "store")
    write_selection(store._view.store, "filters/sharp", store.rows, np.arange(24) >= 4)
    store.report(output=tmp_path / "a.html", classes="cat,bird", by="mode")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert '<th scope="row">RGB</th><td class="n">24</td><td class="n">20</td>' in page
    assert "4 found to be of no use (filters/sharp)" in page
    assert "of 20</dd>" in page


def test_without_names_it_says_what_the_pictures_are_like_and_what_is_lacking(
    unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of any model but the one that knows the taxa of one list alone.
    monkeypatch.setattr("bioprobe.face.zeroshot._SKETCH", "another")
    said = bioprobe.open(unlabelled).report(output=tmp_path / "a.html")
    assert "give a taxon list with --taxa" in str(said.notes[-1])
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "No name was looked for: " in page
    assert "The median size is" in page


def test_a_column_that_is_not_there_is_said(unlabelled: Path, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="statoin"):
        bioprobe.open(unlabelled).report(output=tmp_path / "a.html", by="statoin")


def test_what_zero_shot_is_asked_does_not_go_with_an_evaluation(
    unlabelled: Path, tmp_path: Path
) -> None:
    with pytest.raises(MisuseError):
        bioprobe.open(unlabelled).report("family", output=tmp_path / "a.html", by="folder")
