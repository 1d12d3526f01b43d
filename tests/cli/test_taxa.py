"""Every option of the taxa commands has an effect."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore, read_added_taxa

pytestmark = pytest.mark.usefixtures("store")

Capture = pytest.CaptureFixture[str]

LYNX = "Lynx pardinus"


def _ask(capsys: Capture, *arguments: str) -> pd.DataFrame:
    capsys.readouterr()
    assert run([*arguments, "--quiet", "--format", "csv"]) == 0
    return pd.read_csv(io.StringIO(capsys.readouterr().out), keep_default_na=False)


def _add(*arguments: str) -> None:
    assert run(["taxa", "add", *arguments, "--quiet"]) == 0


def test_parent_lineage_common_and_prompt_are_kept(store: Path) -> None:
    _add(LYNX, "--parent", "Felidae", "--common", "Iberian lynx")
    _add("Vulpes vulpes", "--lineage", "Animalia,Chordata,Mammalia,Carnivora,Canidae")
    _add("Blank", "--prompt", "an empty scene", "--prompt", "only grass")
    lynx, fox, blank = read_added_taxa(EmbeddingStore.open(store))
    assert lynx.lineage[3:] == ("Carnivora", "Felidae", "Lynx", LYNX)
    assert lynx.common_name == "Iberian lynx"
    assert fox.lineage[4:] == ("Canidae", "Vulpes", "Vulpes vulpes")
    assert blank.prompts == ("an empty scene", "only grass")


def test_pictures_make_a_class_that_is_listed_and_forgotten(
    store: Path, drawn: Path, capsys: Capture
) -> None:
    # The picture of a butterfly, under a name that means nothing to the model.
    butterfly = drawn / "photos" / "danaus-plexippus"
    Path("list.csv").write_text("species\nPanthera leo\nCanis lupus\n")
    asked = ("zeroshot", "--taxa", "list.csv", "-k", "1", "--where", "order == 'Lepidoptera'")
    add = [
        "taxa",
        "add",
        "Xyrus yus",
        "--taxa",
        "list.csv",
        "--images",
        str(butterfly / "000.jpg"),
    ]
    assert run([*add, "--images", str(butterfly)]) == 0
    said = capsys.readouterr().err
    assert "subtracted from its logit" in said
    assert "were right before" in said
    assert set(_ask(capsys, *asked)["species"]) == {"Xyrus yus"}
    listed = _ask(capsys, "taxa", "list").set_index("species")
    assert listed.loc["Xyrus yus", "examples"] == len(list(butterfly.glob("*.jpg")))
    assert run(["taxa", "remove", "Xyrus yus"]) == 0
    assert "Xyrus yus" not in set(_ask(capsys, *asked)["species"])
    assert not (store / "taxa-examples.safetensors").exists()


def test_without_text_the_pictures_count_alone(drawn: Path, capsys: Capture) -> None:
    picture = ("--images", str(drawn / "photos" / "danaus-plexippus" / "000.jpg"))
    assert run(["taxa", "add", "Xyrus yus", *picture]) == 0
    assert "pictures count 0.75, its text 0.25" in capsys.readouterr().err
    assert run(["taxa", "remove", "Xyrus yus"]) == 0
    assert run(["taxa", "add", "Xyrus yus", *picture, "--no-text"]) == 0
    assert "pictures count 1, its text 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-text"],
        ["--images", "x.jpg", "--user-wide"],
        ["--parent", "Felidae", "--lineage", "Animalia"],
    ],
    ids=" ".join,
)
def test_options_that_contradict_each_other_are_misuse(arguments: list[str]) -> None:
    assert run(["taxa", "add", LYNX, *arguments]) == 2


def test_a_user_wide_taxon_counts_in_every_store(
    capsys: Capture, no_taxa_of_the_user: Path
) -> None:
    _add(LYNX, "--parent", "Felidae", "--user-wide")
    assert no_taxa_of_the_user.is_file()
    listed = _ask(capsys, "taxa", "list").set_index("species")
    assert listed.loc[LYNX, "from"] == "user-wide"
    asked = ("zeroshot", "-k", "99", "--where", "species == 'Panthera leo'")
    assert LYNX in set(_ask(capsys, *asked)["species"])
    assert run(["taxa", "remove", LYNX]) == 1
    assert run(["taxa", "remove", LYNX, "--user-wide"]) == 0
    assert LYNX not in set(_ask(capsys, *asked)["species"])
    Path("more.txt").write_text(f"{LYNX}\n")
    assert run(["taxa", "import", "more.txt", "--user-wide"]) == 0
    assert LYNX in set(_ask(capsys, *asked)["species"])


def test_import_adds_a_list_and_takes_synonyms(store: Path, capsys: Capture) -> None:
    Path("list.csv").write_text("genus,species\nLynx,Lynx lynx\nFelis,Felis lynx\n")
    Path("synonyms.csv").write_text("synonym,accepted\nFelis lynx,Lynx lynx\n")
    assert run(["taxa", "import", "list.csv", "--synonyms", "synonyms.csv"]) == 0
    assert "added 1 taxa" in capsys.readouterr().err
    assert [taxon.name for taxon in read_added_taxa(EmbeddingStore.open(store))] == ["Lynx lynx"]
    assert run(["taxa", "import", "list.csv"]) == 0
    assert "added 1 taxa" in capsys.readouterr().err


def test_export_as_csv_can_be_imported(store: Path, capsys: Capture) -> None:
    assert run(["taxa", "export", "mine.csv"]) == 1
    assert "no taxon was added" in capsys.readouterr().err
    _add(LYNX, "--prompt", "one", "--prompt", "two")
    _add("Puma concolor", "--user-wide")
    before = list(read_added_taxa(EmbeddingStore.open(store)))
    assert run(["taxa", "export", "both.csv"]) == 0
    assert run(["taxa", "export", "mine.csv", "--user-wide"]) == 0
    assert len(pd.read_csv("mine.csv")) == 1
    assert run(["taxa", "remove", LYNX, "--quiet"]) == 0
    assert run(["taxa", "import", "both.csv"]) == 0
    after = list(read_added_taxa(EmbeddingStore.open(store)))
    assert [taxon.name for taxon in after] == [LYNX, "Puma concolor"]
    assert after[0] == before[0]


def test_export_as_a_text_head_has_a_column_a_taxon() -> None:
    _add(LYNX, "--common", "Iberian lynx")
    assert run(["taxa", "export", "mine.npy", "--text-type", "sci"]) == 0
    assert run(["taxa", "export", "other.npy", "--text-type", "com"]) == 0
    one, other = np.load("mine.npy"), np.load("other.npy")
    assert one.shape[1] == 1
    assert not np.allclose(one, other)
    assert json.loads(Path("mine.json").read_text()) == [[["", "", "", "", "", "Lynx", "pardinus"],
                                                         "Iberian lynx"]]  # fmt: skip
    assert run(["taxa", "export", "mine.txt"]) == 1


def test_check_compares_texts_and_images(drawn: Path, capsys: Capture) -> None:
    found = _ask(capsys, "taxa", "check", "Panthera leo", "-k", "2")
    assert list(found["by"]) == ["text"] * 2 + ["image"] * 2
    assert "Panthera leo" not in set(found["name"])
    for by in ("text", "image"):
        similarities = found[found["by"] == by]["similarity"]
        assert similarities.is_monotonic_decreasing
    # An unknown name has no images, until some are given.
    unknown = (
        "taxa",
        "check",
        "Xyrus yus",
        "--lineage",
        "Animalia,Chordata,Mammalia",
        "-k",
        "1",
    )
    assert list(_ask(capsys, *unknown)["by"]) == ["text"]
    lion = str(drawn / "photos" / "panthera-leo")
    assert run([*unknown, "--images", lion, "--format", "csv"]) == 0
    captured = capsys.readouterr()
    assert "image,Panthera leo" in captured.out
    assert "Xyrus yus will be confused with Panthera leo: their images" in captured.err


def test_check_writes_texts_as_it_is_told(capsys: Capture) -> None:
    asked = ("taxa", "check", "Panthera onca", "--common", "jaguar", "-k", "1")
    answers = [
        _ask(capsys, *asked, *options)["similarity"][0]
        for options in (
            (), ("--text-type", "sci"), ("--templates", "field"), ("--common", "big cat")
        )
    ]  # fmt: skip
    assert len(set(answers)) == 4
    Path("list.txt").write_text("Canis lupus\n")
    assert list(_ask(capsys, *asked, "--taxa", "list.txt")["name"]) == ["Canis lupus"]


def test_measure_keeps_the_offset_that_zeroshot_applies(store: Path, capsys: Capture) -> None:
    unseen = ("--unseen-where", "order == 'Carnivora'")
    found = _ask(capsys, "taxa", "measure", *unseen, "--repeats", "2", "--seed", "1")
    assert list(found["offset"]) == ["without", "with"]
    for side in ("seen", "unseen"):
        assert (found[f"{side}_low"] <= found[f"{side}_accuracy"]).all()
        assert (found[f"{side}_accuracy"] <= found[f"{side}_high"]).all()
    kept = json.loads((store / "seen-offset.json").read_text())
    assert len(kept["fold_offsets"]) == 4
    assert run(["zeroshot", "--offset", "auto", "--output", "answers.json"]) == 0
    provenance = json.loads(Path("answers.json").read_text())["provenance"]
    assert provenance["options"]["seen_offset"] == kept["offset"]
    fewer = _ask(capsys, "taxa", "measure", *unseen, "--seen-where", "phylum == 'Chordata'")
    assert fewer["n_seen"][0] < found["n_seen"][0]
    families = _ask(capsys, "taxa", "measure", *unseen, "--level", "family", "--text-type", "sci")
    assert families["n_unseen"][0] >= found["n_unseen"][0]
    assert run(["taxa", "measure", "--unseen-where", "species == 'Panthera leo'"]) == 1


@pytest.mark.parametrize("command", [["add", LYNX], ["remove", "Vulpes vulpes"]])
def test_a_change_waits_for_another_writer(store: Path, command: list[str]) -> None:
    _add("Vulpes vulpes")
    is_held = threading.Event()

    def hold() -> None:
        with EmbeddingStore.open(store).lock():
            is_held.set()
            time.sleep(1)

    other = threading.Thread(target=hold)
    other.start()
    assert is_held.wait(20)
    assert run(["taxa", *command, "--quiet"]) == 0
    other.join()
    names = {taxon.name for taxon in read_added_taxa(EmbeddingStore.open(store))}
    assert (LYNX in names, "Vulpes vulpes" in names) == (command[0] == "add", command[0] == "add")


def test_what_contradicts_what_was_added_is_refused_and_the_list_stays(
    store: Path, capsys: Capture
) -> None:
    assert run(["taxa", "add", "Puma", "--prompt", "a big cat", "--quiet"]) == 0
    before = (store / "taxa.csv").read_bytes()
    Path("list.csv").write_text("genus,species\nPuma,Puma concolor\n")
    capsys.readouterr()
    assert run(["taxa", "import", "list.csv"]) == 1
    said = capsys.readouterr().err
    assert '"Puma" is named at the rank genus and at the rank species' in said
    assert "nothing was changed" in said
    assert (store / "taxa.csv").read_bytes() == before
    # A list that an earlier version wrote is read, and can be mended.
    (store / "taxa.csv").write_text("genus,species\n,Puma\nPuma,Puma concolor\n")
    assert run(["taxa", "list"]) == 0
    assert run(["taxa", "remove", "Puma concolor"]) == 0
