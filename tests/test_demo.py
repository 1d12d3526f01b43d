from __future__ import annotations

import html
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from bioprobe.cli.app import run
from bioprobe.demo import METHODS, demonstrate, draw, draw_store
from bioprobe.errors import SourceError
from bioprobe.evaluation import read_evaluation
from bioprobe.sketch import read_species
from bioprobe.splits import PARTS, read_split
from bioprobe.store import EmbeddingStore, read_added_taxa, verify_store
from bioprobe.store.selections import list_selections
from bioprobe.store.view import View
from tests.browsing import find_problems, open_browser


@pytest.fixture
def own_demo(demo: Path, tmp_path: Path) -> Path:
    """Return a copy of the demonstration that a test may change."""
    return shutil.copytree(demo, tmp_path / "here")


def test_the_page_stands_alone_and_shows_pictures(demo: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) > 20
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_fits_every_screen_and_paper_and_is_accessible(demo: Path) -> None:
    with open_browser() as browser:
        assert find_problems(browser, demo / "index.html") == []


def test_the_report_asks_for_no_label_of_what_is_no_animal(demo: Path) -> None:
    report = (demo / "report.html").read_text(encoding="utf-8")
    store = EmbeddingStore.open(demo / "store")
    dropped = np.setdiff1d(store.rows, View.of(store, mask="filters/animal").rows)
    assert "suggests one for each" not in report
    assert f"{len(dropped)} pictures without a label need none" in report


def test_the_store_is_whole_and_has_the_storys_species(demo: Path) -> None:
    store = EmbeddingStore.open(demo / "store")
    assert verify_store(store) == []
    assert [taxon.name for taxon in read_added_taxa(store)] == ["Panthera uncia"]


def test_the_page_tells_of_the_added_species(demo: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    assert "A species it was never shown: snow leopard" in page
    assert "not for photographs" not in page
    assert "It is for learning the tool" in page


def test_the_page_compares_methods_and_links_to_their_report(demo: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    assert '<a href="report.html">' in page
    evaluation = read_evaluation(EmbeddingStore.open(demo / "store"), "family")
    assert [result.method for result in evaluation.results] == list(METHODS)
    for result in evaluation.results:
        accuracy = result.metrics["accuracy"]
        assert f"[{accuracy.low:.3f}, {accuracy.high:.3f}]" in page
    assert page.count("<td>the best</td>") == 1
    report = (demo / "report.html").read_text(encoding="utf-8")
    assert "Which method is best" in report


def test_the_store_keeps_what_was_cleaned_and_split(demo: Path) -> None:
    store = EmbeddingStore.open(demo / "store")
    dropped = np.setdiff1d(store.rows, View.of(store, mask="filters/animal").rows)
    kinds = store.images.frame["kind"].to_numpy()
    # The sketch tells its animals from its scenes.
    assert set(kinds[dropped]) == {"not_animal"}
    split = read_split(store)
    assert all(len(split.rows(part)) for part in PARTS)
    assert "filters/duplicates" in list_selections(store)


def test_the_commands_of_the_page_can_be_run(demo: Path, own_demo: Path) -> None:
    page = html.unescape((demo / "index.html").read_text(encoding="utf-8"))
    assert page.count(str(demo)) > 10
    page = page.replace(str(demo), str(own_demo))
    (block,) = re.findall("<pre>(bioprobe embed.*?)</pre>", page, flags=re.DOTALL)
    names = [shlex.split(line)[1] for line in block.strip().splitlines()]
    assert names == [
        "embed", "zeroshot", "taxa", "search", "search", "dedupe", "filter", "split", "evaluate",
        "report",
    ]  # fmt: skip
    before = (own_demo / "report.html").stat().st_mtime_ns
    for line in block.strip().splitlines()[-3:]:
        assert run([*shlex.split(line)[1:], "--quiet"]) == 0
    assert (own_demo / "report.html").stat().st_mtime_ns > before


def test_another_demonstration_takes_the_place_of_one(
    own_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lions = [one for one in read_species() if one.name == "Panthera leo"]
    monkeypatch.setattr("bioprobe.sketch.scenes.read_species", lambda: lions)
    monkeypatch.setattr("bioprobe.demo._N_SCENES", 1)
    first = (own_demo / "photos" / "panthera-leo" / "000.jpg").read_bytes()
    assert draw(own_demo, n_per_species=1, seed=1) == own_demo / "photos" / "pictures.csv"
    assert (own_demo / "photos" / "panthera-leo" / "000.jpg").read_bytes() != first
    assert not (own_demo / "store").exists()


def test_pictures_that_are_there_are_embedded_and_none_is_drawn(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (demo / "photos" / "pictures.csv").read_text(encoding="utf-8").splitlines()[:3]
    for line in lines[1:]:
        path = tmp_path / "photos" / line.partition(",")[0]
        path.parent.mkdir(parents=True)
        shutil.copy(demo / "photos" / line.partition(",")[0], path)
    (tmp_path / "photos" / "pictures.csv").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr("bioprobe.demo.draw", pytest.fail)
    for _ in range(2):
        assert len(EmbeddingStore.open(draw_store(tmp_path))) == 2


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(SourceError, match="choose another with --output"):
        draw(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "all of it"


def test_pictures_that_cannot_be_drawn_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.demo._DRAW", "raise OSError('the disk is full')")
    with pytest.raises(SourceError, match=r"could not be drawn .*the disk is full"):
        demonstrate(tmp_path / "demo")
