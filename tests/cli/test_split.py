from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.splits import read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("store")


def _ask(capsys: Capture, *arguments: str) -> pd.DataFrame:
    capsys.readouterr()
    assert run(["split", *arguments, "--quiet", "--format", "csv"]) == 0
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


def test_a_split_is_shown_said_and_kept(store: Path, capsys: Capture) -> None:
    assert run(["split", "--level", "class", "--output", "split.csv"]) == 0
    said = capsys.readouterr().err
    frame = pd.read_csv("split.csv")
    split = read_split(EmbeddingStore.open(store))
    assert frame["train"].sum() == len(split.rows("train")) > 0
    assert f"sha256 {split.hash}" in said
    assert "leakage: none across parts by same bytes" in said
    assert "near duplicates were not looked for" in said
    stored = json.loads(Path("split.csv.provenance.json").read_text())
    assert stored["hash"] == split.hash


@pytest.mark.parametrize(
    "change",
    [
        ("--method", "kfold"),
        ("--level", "phylum"),
        ("--fractions", "0.5,0,0.5"),
        ("--group", "genus"),
        ("--method", "imported", "--column", "family", "--parts", "train=Felidae,test=Canidae"),
        ("--where", "order == 'Carnivora'"),
        ("--mask", "half"),
    ],
    ids=" ".join,
)
def test_every_option_changes_the_counts(
    store: Path, capsys: Capture, change: tuple[str, ...]
) -> None:
    opened = EmbeddingStore.open(store)
    write_selection(opened, "half", opened.rows, opened.rows % 2 == 0)
    usual = _ask(capsys, "--level", "class")
    assert not _ask(capsys, "--level", "class", *change).equals(usual)


def test_classes_too_small_for_every_part_are_listed(capsys: Capture) -> None:
    assert run(["split", "--level", "class", "--group", "order"]) == 0
    said = capsys.readouterr().err
    assert "classes have too few groups for every part" in said
    assert "groups: 1): train" in said
    assert "so never held out in a fold" in said


def test_species_are_kept_apart(capsys: Capture) -> None:
    arguments = ["--level", "class", "--method", "species-disjoint", "--group", "species"]
    assert run(["split", *arguments]) == 0
    said = capsys.readouterr().err
    assert "species-disjoint at class" in said
    assert "leakage: none across parts by species" in said


def test_seed_folds_and_name_are_those_of_the_kept_split(store: Path, capsys: Capture) -> None:
    _ask(capsys, "--level", "class")
    _ask(capsys, "--level", "class", "--seed", "7", "--folds", "3", "--name", "other")
    opened = EmbeddingStore.open(store)
    usual, other = read_split(opened), read_split(opened, "other")
    assert (usual.n_folds, other.n_folds) == (5, 3)
    assert usual.hash != other.hash
    assert other.provenance["seed"] == 7


def test_splits_are_listed_and_shown_again(capsys: Capture) -> None:
    made = _ask(capsys, "--level", "class", "--name", "mine")
    listed = _ask(capsys, "--list")
    assert listed[["split", "method", "rank"]].values.tolist() == [["mine", "stratified", "class"]]
    assert _ask(capsys, "--show", "--name", "mine").equals(made)
    assert run(["split", "--show", "--name", "yours"]) == 1
    assert "there are: mine" in capsys.readouterr().err


def test_leaks_of_an_imported_split_are_a_warning(drawn: Path, capsys: Capture) -> None:
    for name in ("a", "b"):
        shutil.copy(drawn / "photos" / "panthera-leo" / "000.jpg", f"{name}.jpg")
    Path("roles.csv").write_text("file_name,family,role\na.jpg,Felidae,train\nb.jpg,Felidae,test\n")
    arguments = ["--store", "roles", "--quiet", "--model", "sketch"]
    assert run(["embed", "roles.csv", *arguments]) == 0
    assert run(["split", "--store", "roles", "--method", "imported", "--column", "role"]) == 0
    said = capsys.readouterr().err
    assert "WARNING: same bytes: 1 groups are in more than one part: 2 images, 1 of them" in said


def test_images_that_come_later_are_told_of(drawn: Path, capsys: Capture) -> None:
    _ask(capsys, "--level", "class")
    shutil.copy(drawn / "photos" / "panthera-leo" / "000.jpg", "copy.jpg")
    assert run(["embed", "copy.jpg", "--quiet"]) == 0
    assert run(["split", "--show"]) == 0
    assert "1 images came later and are in no part" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [("--fractions", "most"), ("--method", "imported", "--parts", "train")]
)
def test_what_cannot_be_read_is_misuse(arguments: tuple[str, ...]) -> None:
    assert run(["split", *arguments]) == 2


def test_a_split_by_time_is_made_at_each_site(drawn: Path, capsys: Capture) -> None:
    table = pd.read_csv(drawn / "photos" / "pictures.csv").iloc[:20]
    column = table.columns[0]
    table[column] = [str(drawn / "photos" / name) for name in table[column]]
    table["taken_at"] = [f"2024:03:{1 + n // 2:02d} 08:00:00" for n in range(18)] + ["soon", ""]
    table["site"] = [f"s{n % 2}" for n in range(20)]
    table.to_csv("dated.csv", index=False)
    asked = ["embed", "dated.csv", "--allow-outside", "--store", "dated", "--model", "sketch"]
    assert run([*asked, "--quiet"]) == 0
    asked = ["split", "--store", "dated", "--method", "chronological", "--column", "taken_at"]
    assert run([*asked, "--by", "site", "--fractions", "0.7,0,0.3", "--gap", "1d"]) == 0
    said = capsys.readouterr().err
    assert "by the dates of taken_at, each value of site by itself: train before test" in said
    assert "WARNING: 2 images without a date are in no part; 1 say what is no date: soon" in said
    assert run([*asked, "--gap", "soon"]) == 2
    opened = EmbeddingStore.open("dated")
    split, taken = read_split(opened), opened.images.frame["taken_at"].astype(str)
    train, test = (split.rows(part) for part in ("train", "test"))
    assert len(train)
    assert taken.iloc[train].max() < taken.iloc[test].min()


def test_what_a_split_lacks_is_said(store: Path, capsys: Capture) -> None:
    asked = ["split", "--level", "family", "--method", "imported", "--column", "family"]
    assert run([*asked, "--parts", "train=Felidae,test=Canidae"]) == 0
    said = capsys.readouterr().err
    n_test = len(read_split(EmbeddingStore.open(store)).rows("test"))
    assert "no image is in validation: settings are chosen on folds of train" in said
    assert "WARNING: 1 classes are in test and not in train" in said
    assert f"has their {n_test} images wrong: Canidae" in said
    assert "images are in no part: values of family that are none: " in said
    assert run([*asked, "--parts", "train=Felidae,validation=Canidae"]) == 0
    assert "WARNING: no image is in test" in capsys.readouterr().err
    assert run(["split", "--level", "family", "--method", "kfold"]) == 0
    assert "no image is in" not in capsys.readouterr().err
    assert run(["split", "--level", "family", "--fractions", "0.8,0,0.2"]) == 0
    assert "no image is in" not in capsys.readouterr().err


def test_images_that_judge_and_are_in_another_store_are_warned_of(
    drawn: Path, store: Path, capsys: Capture
) -> None:
    shutil.copy(drawn / "photos" / "panthera-leo" / "000.jpg", "copy.jpg")
    assert run(["embed", "copy.jpg", "--store", "other", "--quiet", "--model", "sketch"]) == 0
    opened = EmbeddingStore.open(store)
    frame = opened.images.frame
    held = frame["sha256"] == EmbeddingStore.open("other").images.frame["sha256"].iloc[0]
    assert held.sum() == 1
    asked = ["split", "--level", "family", "--method", "kfold"]
    assert run([*asked, "--against", "other", "--against", str(store)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    n = int((read_split(opened).folds >= 0).sum())
    path = frame["path"][held].iloc[0]
    assert f"WARNING: 1 of the {n} images that judge are in other too, by SHA-256: {path};" in said
    assert f"WARNING: {n} of the {n} images that judge are in {store}" in said
    assert run(["split", "--show"]) == 0
    assert "are in other too" in capsys.readouterr().err
    assert run([*asked, "--where", f"path != '{path}'", "--against", "other"]) == 0
    assert f"none of the {n - 1} images that judge is in other" in capsys.readouterr().err
    quick = ["--methods", "centroid", "--n-resamples", "20", "--level", "family"]
    assert run(["evaluate", *quick, "--against", str(store)]) == 0
    assert f"WARNING: {n - 1} of the {n - 1} images that judge" in capsys.readouterr().err


def test_judging_images_that_are_nearly_in_another_store_are_warned_of(
    drawn: Path, capsys: Capture
) -> None:
    from PIL import Image

    pictures = sorted((drawn / "photos").glob("*/*.jpg"))
    Path("train").mkdir()
    for number, path in enumerate(pictures[::2]):
        with Image.open(path) as image:
            # Saved anew: other bytes, the same picture.
            image.save(f"train/{number}.jpg", quality=88)
    assert run(["embed", "train", "--model", "sketch", "--store", "second", "--quiet"]) == 0
    capsys.readouterr()
    assert run(["split", "--level", "family", "--against", "second", "--output", "split.csv"]) == 0
    said = capsys.readouterr().err
    assert "are near duplicates of images in second, the most similar: " in said
    about = json.loads(Path("split.csv.provenance.json").read_text())["against"][0]
    assert 0 < about["n_near"] < about["n_images"]
    assert about["pairs"][0][1].endswith(".jpg")
    asked = ["evaluate", "--level", "family", "--methods", "knn", "--n-resamples", "20"]
    assert run([*asked, "--against", "second", "--output", "found.json"]) == 0
    said = capsys.readouterr().err
    left = about["n_images"] - about["n_near"]
    assert f"on the {left:,} that are not in second" in said
    # Vectors in a file have no pictures, and decide alone.
    exported = ["store", "export", "vectors.parquet", "--store", "second", "--quiet"]
    assert run([*exported, "--layout", "emb-explorer"]) == 0
    assert run(["split", "--level", "family", "--against", "vectors.parquet"]) == 0
    assert "images that judge" in capsys.readouterr().err
