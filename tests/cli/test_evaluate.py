from __future__ import annotations

import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.evaluation import list_evaluations, read_evaluation
from bioprobe.splits import make_split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.taxonomy import Rank

QUICK = ["evaluate", "--level", "order", "--n-resamples", "20"]


@pytest.fixture
def split_store(store: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return the store of drawn pictures with a split at order."""
    assert run(["split", "--level", "order", "--fractions", "0.6,0.2,0.2", "--quiet"]) == 0
    capsys.readouterr()
    return store


@pytest.mark.usefixtures("split_store")
def test_the_table_has_a_row_a_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*QUICK, "--methods", "zeroshot,knn,centroid", "--format", "csv"]) == 0
    captured = capsys.readouterr()
    table = pd.read_csv(io.StringIO(captured.out))
    assert table["method"].tolist() == ["zeroshot", "knn", "centroid"]
    assert ((table["low"] <= table["accuracy"]) & (table["accuracy"] <= table["high"])).all()
    assert table["p_vs_best"].isna().sum() == 1
    assert "judged: " in captured.err
    assert "best: " in captured.err
    assert "knn: accuracy " in captured.err
    assert "probabilities that mean most what they say: " in captured.err


def test_the_result_is_kept_under_its_name(split_store: Path) -> None:
    assert run([*QUICK, "--methods", "centroid", "--quiet"]) == 0
    assert run([*QUICK, "--methods", "knn", "--name", "second", "--seed", "3", "--quiet"]) == 0
    store = EmbeddingStore.open(split_store)
    assert list_evaluations(store) == ["order", "second"]
    second = read_evaluation(store, "second")
    assert second.provenance["options"]["seed"] == 3
    assert second.provenance["options"]["n_resamples"] == 20


@pytest.mark.usefixtures("split_store")
def test_json_is_in_the_shape_of_clip_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = [*QUICK, "--methods", "zeroshot,centroid", "--quiet"]
    assert run([*ask, "--output", "out/results.json"]) == 0
    entries = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [entry["task"] for entry in entries] == ["zeroshot_classification", "centroid_probe"]
    for entry in entries:
        assert {"dataset", "model", "pretrained", "language"} <= set(entry)
        assert entry["metrics"]["acc1"] == entry["metrics"]["accuracy"]
        assert entry["metrics"]["acc5"] >= entry["metrics"]["acc1"]
        assert entry["metrics"]["mean_per_class_recall"] == entry["metrics"]["balanced_accuracy"]
        assert len(entry["comparisons"]) == 4
    capsys.readouterr()
    assert run([*ask, "--format", "json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [entry["metrics"] for entry in again] == [entry["metrics"] for entry in entries]


@pytest.mark.usefixtures("split_store")
def test_answers_go_to_parquet(tmp_path: Path) -> None:
    ask = [*QUICK, "--methods", "centroid", "--quiet"]
    assert run([*ask, "--predictions", "answers.parquet"]) == 0
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    assert {"row", "file_name", "truth", "method", "predicted", "probability", "top5"} <= set(
        answers
    )
    assert (answers["right"] == (answers["truth"] == answers["predicted"])).all()


def test_the_mask_is_scored_beside_all_test_images(
    split_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = EmbeddingStore.open(split_store)
    write_selection(store, "filters/half", store.rows, store.rows % 2 == 0)
    ask = [*QUICK, "--methods", "centroid", "--format", "csv"]
    assert run([*ask, "--mask", "filters/half"]) == 0
    captured = capsys.readouterr()
    table = pd.read_csv(io.StringIO(captured.out))
    assert {"accuracy", "accuracy_kept", "macro_f1_kept"} <= set(table)
    assert "the mask keeps " in captured.err
    half = read_evaluation(store, "order")
    assert half.predictions["kept"].tolist() == (half.predictions["row"] % 2 == 0).tolist()
    assert run([*ask, "--quiet"]) == 0
    whole = read_evaluation(store, "order")
    assert len(whole.predictions) == len(half.predictions)
    assert whole.find("centroid").n_training[0] > half.find("centroid").n_training[0]


def test_label_efficiency_is_measured_by_shots_and_draws(split_store: Path) -> None:
    ask = [*QUICK, "--methods", "zeroshot,centroid", "--quiet"]
    assert run([*ask, "--label-efficiency", "--shots", "1,2", "--draws", "3"]) == 0
    points = read_evaluation(EmbeddingStore.open(split_store), "order").efficiency
    assert [(point.method, point.n_per_class) for point in points] == [
        ("centroid", 1), ("centroid", 2),
    ]  # fmt: skip
    assert all(len(point.accuracies) == 3 for point in points)


def test_what_is_asked_by_text_depends_on_how_it_is_written(split_store: Path) -> None:
    store = EmbeddingStore.open(split_store)
    asked = {}
    for name, option in {
        "plain": [],
        "type": ["--text-type", "sci"],
        "templates": ["--templates", "bare"],
        "taxa": ["--taxa", "table.csv"],
    }.items():
        if name == "taxa":
            Path("table.csv").write_text("kingdom,order\nAnimalia,Monotremata\n")
        ask = [*QUICK, "--methods", "zeroshot", "--quiet", "--name", name, *option]
        assert run(ask) == 0
        found = read_evaluation(store, name)
        asked[name] = (found.predictions["probability"].to_numpy(), len(found.classes))
    plain, n_classes = asked["plain"]
    assert not np.allclose(plain, asked["type"][0])
    assert not np.allclose(plain, asked["templates"][0])
    assert asked["taxa"][1] == n_classes + 1


@pytest.mark.usefixtures("split_store")
def test_other_splits_are_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["split", "--level", "order", "--method", "kfold", "--name", "folds", "-q"]) == 0
    assert run([*QUICK, "--methods", "centroid", "--split", "folds"]) == 0
    assert "of split folds in 5 folds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["--methods", "oracle"], 1, "methods are zeroshot, knn"),
        (["--methods", "knn", "--split", "none"], 1, "images are judged on a split"),
        (["--methods", "knn", "--mask", "none"], 1, "no mask 'none'"),
        (["--methods", "knn", "--name", "a/b"], 1, "cannot name an evaluation"),
        (["--methods", "knn", "--label-efficiency", "--shots", "few"], 2, "--shots are numbers"),
        (["--methods", "knn", "--with-store", "."], 2, "--with-store is for the method stack"),
    ],
)
@pytest.mark.usefixtures("split_store")
def test_misuse_is_refused(
    capsys: pytest.CaptureFixture[str], asked: list[str], code: int, said: str
) -> None:
    assert run([*QUICK, *asked]) == code
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_store_of_another_encoder_can_be_stacked(split_store: Path) -> None:
    shutil.copytree(split_store, "again")
    ask = [*QUICK, "--methods", "stack", "--quiet", "--with-store", "again"]
    assert run(ask) == 0
    (result,) = read_evaluation(EmbeddingStore.open(split_store), "order").results
    assert result.settings[0]["encoders"] == ["sketch", "sketch"]


def test_what_leaks_into_the_test_part_is_warned_of(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = EmbeddingStore.open(store)
    split = make_split(opened, Rank.ORDER, fractions=(0.6, 0.2, 0.2))
    leaks = [{"kind": "burst", "n_groups": 1, "n_images": 3, "n_test": 2}]
    write_split(opened, dataclasses.replace(split, provenance={**split.provenance,
                                                               "leakage": leaks}))  # fmt: skip
    assert run([*QUICK, "--methods", "centroid"]) == 0
    assert "WARNING: burst: 2 test images" in capsys.readouterr().err


@pytest.fixture
def of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store of vectors of two classes that overlap, with a split."""
    random = np.random.default_rng(0)
    positive = np.arange(120) % 3 == 0
    vectors = random.normal(size=(120, 4)) + np.outer(positive, [1.5, 0, 0, 0])
    table = {"kingdom": np.where(positive, "yes", "no").tolist()}
    made = bp.from_vectors(vectors, table, model="mine", store=tmp_path / "two")
    made.split("kingdom", fractions="0.5,0.2,0.3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIOPROBE_STORE", "two")
    return tmp_path / "two"


TWO = ["evaluate", "--level", "kingdom", "--methods", "knn,centroid", "--n-resamples", "50"]


@pytest.mark.usefixtures("of_two")
def test_the_table_of_two_classes_has_the_figures_of_the_positive_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*TWO, "--format", "csv"]) == 0
    captured = capsys.readouterr()
    table = pd.read_csv(io.StringIO(captured.out))
    for name in ("precision", "recall", "f1", "specificity", "auroc", "average_precision"):
        inside = (table[f"{name}_low"] <= table[name]) & (table[name] <= table[f"{name}_high"])
        assert inside.all()
        assert table[name].between(0.05, 1).all()
    said = " ".join(captured.err.split())
    assert "positive class: yes, it reads as a yes (of yes 20, no 40 training images)" in said
    assert "say another with --positive" in said
    assert "knn: precision 0." in said


@pytest.mark.usefixtures("of_two")
def test_a_narrow_terminal_shows_the_positive_class_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*TWO, "--format", "table"]) == 0
    first = capsys.readouterr().out.splitlines()[0].split()
    assert first == [
        "method", "precision", "recall", "f1", "specificity", "auroc", "average_precision",
    ]  # fmt: skip


@pytest.mark.usefixtures("of_two")
def test_the_positive_class_is_the_one_that_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*TWO, "--format", "csv"]) == 0
    default = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert run([*TWO, "--format", "csv", "--positive", "no"]) == 0
    captured = capsys.readouterr()
    other = pd.read_csv(io.StringIO(captured.out))
    assert other["recall"].tolist() == default["specificity"].tolist()
    assert "positive class: no, as given" in captured.err
    assert "another with" not in captured.err
    assert run([*TWO, "--positive", "maybe"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "one of the two classes, 'yes' or 'no'; got 'maybe'" in said


@pytest.mark.usefixtures("split_store")
def test_a_positive_class_of_many_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*QUICK, "--methods", "centroid", "--positive", "Carnivora"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--positive says which of two classes is looked for, and there are" in said
