from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection, write_selection


def test_a_filter_keeps_a_mask_with_reasons(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["filter", "--keep", "animal", "--output", "animals.csv"]) == 0
    said = capsys.readouterr().err
    frame = pd.read_csv("animals.csv", keep_default_na=False)
    selection = read_selection(EmbeddingStore.open(store), "filters/animal")
    assert selection.kept.tolist() == frame["kept"].tolist()
    assert (frame["reason"] != "").tolist() == (~frame["kept"]).tolist()
    assert "--mask filters/animal" in said
    assert len(EmbeddingStore.open(store).rows) == len(frame)


def _ask(*change: str) -> pd.DataFrame:
    assert run(["filter", "--output", "found.csv", *change]) == 0
    return pd.read_csv("found.csv", keep_default_na=False)


@pytest.fixture
def labelled(drawn: Path, tmp_path: Path, store: Path) -> pd.DataFrame:
    """Return a table of the pictures with a column of labels, embedded in a store of its own."""
    table = pd.read_csv(drawn / "photos" / "pictures.csv")
    # Half of the labels are wrong, so that no filter learns them and every fold counts.
    hand = pd.Series(np.random.default_rng(0).choice(["animal", "not animal"], len(table)))
    table = table.assign(hand=hand, few=hand.where(hand.index < 30, ""))
    table.to_csv(tmp_path / "labelled.csv", index=False)
    photos = str(drawn / "photos")
    code = run(["embed", str(tmp_path / "labelled.csv"), "--root", photos, "--model", "sketch",
                "--store", str(store.with_name("labelled")), "--quiet"])  # fmt: skip
    assert code == 0
    return table


@pytest.mark.usefixtures("store")
def test_the_threshold_cuts_the_scores() -> None:
    found = _ask("--threshold", "0.5")
    assert found["kept"].tolist() == (found["score"] >= 0.5).tolist()
    assert _ask("--threshold", "-1000")["kept"].all()
    assert not _ask("--threshold", "1000")["kept"].any()


def test_keep_names_the_mask_and_the_side(store: Path) -> None:
    animals, plants = _ask("--keep", "animal"), _ask("--keep", "plant")
    assert not animals["score"].equals(plants["score"])
    Path("print.toml").write_text(
        'templates = ["a photo of {}."]\n[kept]\nprint = ["a page of text", "a map", "a chart"]\n'
        '[dropped]\nanimal = ["an animal", "a bird"]\n'
    )
    prints = _ask("--keep", "print.toml")
    of_prints = animals["file_name"].str.contains("page-of-text|map|chart")
    assert (prints["score"][of_prints] > 0).all()
    assert (animals["score"][of_prints] < 0).all()
    assert len(read_selection(EmbeddingStore.open(store), "filters/plant").kept) == len(plants)


def test_several_can_be_kept(store: Path) -> None:
    both = _ask("--keep", "plant,animal")
    assert _ask("--keep", "animal", "--keep", "plant").equals(both)
    assert not both.equals(_ask("--keep", "animal"))
    selection = read_selection(EmbeddingStore.open(store), "filters/animal-plant")
    assert selection.kept.tolist() == both["kept"].tolist()


def test_only_images_of_the_condition_and_the_mask_are_judged(store: Path) -> None:
    opened = EmbeddingStore.open(store)
    canidae = np.flatnonzero(opened.images.frame["family"] == "Canidae")
    assert _ask("--where", "family == 'Canidae'")["row"].tolist() == canidae.tolist()
    kept = np.arange(len(opened.rows)) < 3
    write_selection(opened, "filters/three", opened.rows, kept, columns={}, provenance={})
    assert _ask("--mask", "filters/three")["row"].tolist() == [0, 1, 2]


@pytest.mark.usefixtures("store")
def test_the_level_is_that_of_the_rates(capsys: pytest.CaptureFixture[str]) -> None:
    _ask("--threshold", "1000", "--level", "family")
    assert "Canidae: 100.0% of" in capsys.readouterr().err
    _ask("--threshold", "1000", "--level", "kingdom")
    assert "Animalia: 100.0% of" in capsys.readouterr().err


def test_labels_recall_and_seed_choose_and_measure_the_threshold(
    labelled: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    of_labels = ("--store", "labelled", "--labels")
    found = _ask(*of_labels, "hand")
    assert found["kept"].tolist() == (labelled["hand"] == "animal").tolist()
    said = capsys.readouterr().err
    assert "by linear" in said
    assert f"on {len(labelled)} labelled images" in said
    assert _ask(*of_labels, "hand", "--seed", "1") is not None
    assert capsys.readouterr().err != said
    rates = [_ask(*of_labels, "few", "--recall", recall)["kept"].mean() for recall in ("1", "0.2")]
    assert "by text" in capsys.readouterr().err
    assert rates[0] > rates[1]


@pytest.mark.usefixtures("store")
def test_the_model_and_the_device_are_those_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["filter", "--model", "local-dir:nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert run(["filter", "--device", "abacus"]) != 0
    assert "abacus" in capsys.readouterr().err


def test_an_image_without_a_label_is_kept_by_a_listed_class(store: Path) -> None:
    frame = EmbeddingStore.open(store).images.frame
    places = zip(frame["root"], frame["path"], strict=True)
    pictures = [str(Path(root) / path) for root, path in places]
    assert run(["embed", *pictures, "--store", "bare", "--model", "sketch", "--quiet"]) == 0
    alone = _ask("--store", "bare")
    listed = _ask("--store", "bare", "--taxa", "sketch")
    assert (listed["score"] >= alone["score"] - 1e-4).all()
    assert (listed["score"] > alone["score"] + 1e-3).any()


@pytest.mark.usefixtures("store")
def test_a_page_shows_what_is_dropped_by_reason_or_class() -> None:
    found = _ask("--threshold", "0.5", "--html", "by-reason.html")
    dropped = found[~found["kept"]]
    page = Path("by-reason.html").read_text()
    assert all(f"<h2>{reason}<span" in page for reason in set(dropped["reason"]))
    assert page.count("data:image/") == dropped["reason"].value_counts().clip(upper=40).sum()
    _ask("--threshold", "1000", "--html", "by-class.html", "--html-by", "class")
    assert "<h2>Canidae<span" in Path("by-class.html").read_text()
    assert run(["filter", "--html", "x.html", "--html-by", "colour"]) == 2
