from __future__ import annotations

import re
from pathlib import Path

import pytest

from bioprobe.cli.app import run
from bioprobe.demo import draw
from bioprobe.errors import SourceError
from bioprobe.store import EmbeddingStore, read_added_taxa, verify_store


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "here"
    assert run(["demo", "--output", str(folder), "--per-species", "1", "--quiet"]) == 0
    return folder


def test_the_page_stands_alone_and_shows_pictures(demo: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) > 20
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "http://" not in page
    assert "https://" not in page


def test_the_store_is_whole_and_has_the_storys_species(demo: Path) -> None:
    store = EmbeddingStore.open(demo / "store")
    assert verify_store(store) == []
    assert [taxon.name for taxon in read_added_taxa(store)] == ["Panthera uncia"]


def test_the_page_tells_of_the_added_species(demo: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    assert "A species it was never shown: snow leopard" in page
    assert "not for photographs" not in page
    assert "It is for learning the tool" in page


def test_it_can_be_run_again_with_another_seed(demo: Path) -> None:
    first = (demo / "photos" / "panthera-leo" / "000.jpg").read_bytes()
    arguments = ["demo", "-o", str(demo), "--per-species", "1", "--quiet"]
    assert run([*arguments, "--seed", "1"]) == 0
    assert (demo / "photos" / "panthera-leo" / "000.jpg").read_bytes() != first


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(SourceError, match="choose another with --output"):
        draw(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "all of it"
