"""Unknown species: grouped, added as provisional taxa, merged, named, with their history."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.face.store import Store
from bioprobe.store.added_taxa import read_added_taxa
from bioprobe.taxonomy.lists import read_taxonomy, write_taxonomy
from bioprobe.zeroshot.examples import read_examples
from tests.conftest import PlainEncoder

EACH, DIM = 10, 16
FAMILIES = ("Felidae", "Canidae")
SPECIES = (
    "Panthera leo", "Canis lupus", "Lynx lynx", "Vulpes vulpes", "Puma concolor", "Lycaon pictus",
    "Felis catus", "Cuon alpinus",
)  # fmt: skip


def _draw() -> tuple[pd.DataFrame, npt.NDArray[np.float32]]:
    """Draw six known species of two families, and two that are not labelled."""
    random = np.random.default_rng(0)
    families = 2 * random.normal(size=(2, DIM))
    kinds = np.repeat(np.arange(8), EACH)
    centres = families[np.arange(8) % 2] + random.normal(size=(8, DIM))
    vectors = normalise_rows(
        (centres[kinds] + 0.3 * random.normal(size=(len(kinds), DIM))).astype(np.float32)
    )
    is_known = (kinds < 6) & (np.arange(len(kinds)) % EACH < 7)
    frame = pd.DataFrame(
        {
            "path": [f"{one:02d}.jpg" for one in range(len(kinds))],
            "kind": kinds.astype(str),
            "order": np.where(is_known, "Carnivora", ""),
            "family": np.where(is_known, np.array(FAMILIES)[kinds % 2], ""),
            "species": np.where(is_known, np.array(SPECIES)[kinds], ""),
            "sha256": [f"{one:064x}" for one in range(len(kinds))],
        }
    )  # fmt: skip
    return frame, vectors


def _fill(folder: Path) -> None:
    frame, vectors = _draw()
    bp.from_vectors(vectors, frame, model="plain", store=folder / "store")


@pytest.fixture
def store(make_once: Callable[..., Path], tmp_path: Path) -> Store:
    shutil.copytree(make_once("provisional", _fill) / "store", tmp_path / "store")
    return bp.open(tmp_path / "store")


def test_what_is_like_no_known_species_is_grouped_and_named(store: Store) -> None:
    found = store.find_unknown(n_clusters=2)
    told = found.summarise()
    assert told["n_images"].sum() >= 2 * EACH
    assert set(told["below"]) == set(FAMILIES)
    assert sorted(found.names) == ["Canidae sp. 1", "Felidae sp. 1"]
    assert (told["rank"] == "family").all()
    assert set(told["nearest"]) < set(SPECIES[:6])
    # A column that every question can use, beside its names.
    groups = found.to_frame().merge(store.images.reset_index(names="row"), on="row")
    purity = groups.groupby("kind")["cluster_x" if "cluster_x" in groups else "cluster"].nunique()
    assert (purity.loc[["6", "7"]] == 1).all()
    assert len(store.where("cluster_name == 'Felidae sp. 1'")) in set(told["n_images"])


def test_less_recall_calls_more_unknown_and_a_name_is_the_column(store: Store) -> None:
    few = store.find_unknown(name="strange").n_strange
    many = store.find_unknown(name="strange", recall=0.3).n_strange
    assert few < many <= store.find_unknown(recall=0.3).n_asked
    assert "strange" in store.clusters().to_frame()["name"].tolist()


@pytest.mark.parametrize(
    ("where", "asked", "said"),
    [
        ("species != ''", {}, "every picture has a label"),
        ("kind == '0'", {}, "like no known class"),
        (None, {"level": "colour"}, "colour"),
        (None, {"level": "common_name"}, "nothing is known"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    store: Store, where: str | None, asked: dict[str, str], said: str
) -> None:
    with pytest.raises(bp.SelectionError, match=said):
        store.where(where).find_unknown(**asked)  # type: ignore[arg-type]


def test_groups_are_added_merged_and_named_with_their_history(
    make_store: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame, vectors = _draw()
    made = make_store(PlainEncoder(dim=DIM)).append(frame.assign(root="photos"), vectors)
    store = bp.open(made.folder)

    def embed(_: object, texts: list[str]) -> object:
        random = np.random.default_rng(len(texts))
        return normalise_rows(random.normal(size=(len(texts), DIM)).astype(np.float32))

    monkeypatch.setattr("bioprobe.store.text_cache.TextCache.encode_text", embed)
    assert [str(one) for one in store.taxa_history().notes] == [
        f"no taxon was added to {store.folder} until now; see: bioprobe taxa add"
    ]
    n_strange = store.find_unknown(recall=0.8).n_strange
    found = store.find_unknown(n_clusters=5, recall=0.4, add=True)
    opened = bp.open(store.folder)
    assert [one.name for one in read_added_taxa(opened._view.store)] == list(found.names)
    examples = read_examples(opened._view.store)
    assert all(one.weight_fraction == 1 for one in examples)
    n_pictures = {one.taxon.name: len(one) for one in examples}
    first, second, third, *rest = found.names
    assert n_pictures[first] == found.summarise()["n_images"][0]
    asked = ["--store", str(store.folder)]
    assert run(["taxa", "merge", first, second, *asked]) == 0
    assert run(["taxa", "rename", first, "Lynx rufus", "--parent", "Felidae", *asked]) == 0
    (lynx,) = (one for one in read_examples(opened._view.store) if one.taxon.name == "Lynx rufus")
    assert len(lynx) == n_pictures[first] + n_pictures[second]
    assert lynx.taxon.lineage[4:] == ("Felidae", "Lynx", "Lynx rufus")
    told = opened.taxa_history().to_frame()
    assert told["what"].tolist() == ["added"] * len(found) + ["merged", "renamed"]
    assert told["now"].tolist() == [
        *["Lynx rufus"] * 2, third, *rest, *["Lynx rufus"] * 2,
    ]  # fmt: skip
    capsys.readouterr()
    for asks, said in (
        (["merge", third], "two taxa at least"),
        (["merge", third, "none"], "no taxon 'none' was added"),
        (["rename", third, "Lynx rufus", "--parent", "Felidae"], "taxa merge"),
    ):
        assert run(["taxa", *asks, *asked]) in {1, 2}
        assert said in capsys.readouterr().err
    assert run(["taxa", "history", *asked]) == 0
    assert "Lynx rufus" in capsys.readouterr().out
    # What was added is known, so that it is not found again, and no number is given twice.
    assert bp.open(store.folder).find_unknown(recall=0.8).n_strange < n_strange
    assert run(["taxa", "remove", third, *asked]) == 0
    told = opened.taxa_history().to_frame()
    assert told["now"][2] == ""
    assert told["what"].iloc[-1] == "removed"
    for name in (*rest, "Lynx rufus"):
        assert run(["taxa", "remove", name, *asked]) == 0
    again = bp.open(store.folder).find_unknown(n_clusters=5, recall=0.4)
    assert again.names
    assert not {*again.names} & {*found.names}


def test_an_encoder_without_texts_adds_no_taxa(store: Store) -> None:
    with pytest.raises(bp.MisuseError, match="leave --add out"):
        store.find_unknown(add=True)


def test_a_provisional_name_outlives_the_file(tmp_path: Path) -> None:
    from bioprobe.face.provisional import make_provisional

    taxa = [make_provisional("Felidae sp. 1", ("Animalia", "", "", "", "Felidae")),
            make_provisional("Unknown sp. 1", ())]  # fmt: skip
    write_taxonomy(tmp_path / "taxa.csv", taxa)
    assert [one.lineage for one in read_taxonomy(tmp_path / "taxa.csv")] == [
        one.lineage for one in taxa
    ]


def test_the_command_groups_what_is_unknown(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cluster", "--unknown", "-n", "2", "--store", str(store.folder)]) == 0
    out = capsys.readouterr()
    assert "Felidae sp. 1" in out.out
    assert "known classes" in out.err
    assert run(["cluster", "--recall", ".5", "--store", str(store.folder)]) == 2
    assert "counts only with --unknown" in capsys.readouterr().err
