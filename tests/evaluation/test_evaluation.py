from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.errors import ModelUnavailableError, ProbeError, SelectionError, StoreError
from bioprobe.evaluation import (
    Evaluation,
    answers,
    evaluate,
    list_evaluations,
    read_evaluation,
    write_evaluation,
)
from bioprobe.evaluation.answers import check_methods
from bioprobe.evaluation.curves import EfficiencyPlan
from bioprobe.evaluation.keeping import to_clip_benchmark, write_results
from bioprobe.evaluation.method_scores import CALIBRATED, METRICS
from bioprobe.evaluation.metrics import score_flat
from bioprobe.evaluation.tree_metrics import find_consistent, measure_rows, score_tree
from bioprobe.images.image_table import ImageTable
from bioprobe.learning.fit import fit_probe
from bioprobe.learning.fitted import FittedProbe
from bioprobe.probes.label_tree import LabelTree
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.store.view import View
from bioprobe.task import lazy_rows
from bioprobe.task.lazy_rows import AnyRows, LazyRows
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Texts
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from bioprobe.types import Rows
from tests.conftest import PlainEncoder, make_parts

KNN = ("centroid", "knn")


@pytest.fixture
def found(families: EmbeddingStore, split: Split) -> Evaluation:
    return evaluate(Task.of(families, Rank.FAMILY, split=split), KNN, n_resamples=50)


def test_the_figures_are_those_of_the_answers(
    families: EmbeddingStore, split: Split, found: Evaluation
) -> None:
    probe = fit_probe(Task.of(families, Rank.FAMILY, split=split), "centroid")
    rows = split.rows("test")
    predictions = probe.ask(View.of(families).take(rows), k=5)
    flat = score_flat(predictions.truth_classes, predictions.to_dense())
    # Kingdom, order and family: the images have no label at the ranks between.
    leaves = [[taxon.lineage[rank] for rank in (0, 3, 4)] for taxon in predictions.classes]
    tree = LabelTree.from_leaves(np.array(leaves, dtype=object))
    of_tree = dataclasses.replace(
        measure_rows(predictions.truth_classes, predictions.top_classes[:, 0], tree),
        is_consistent=find_consistent(predictions.to_dense(), tree),
    )
    metrics = found.find("centroid").metrics
    expected = {name: float(values[0]) for name, values in {**flat, **score_tree(of_tree)}.items()}
    assert {name: metrics[name].estimate for name in METRICS} == pytest.approx(
        {name: expected[name] for name in METRICS}, abs=1e-6, nan_ok=True
    )
    assert set(metrics) == {*METRICS, *CALIBRATED}
    for name in ("accuracy", "balanced_accuracy", "top5", "auroc"):
        assert metrics[name].low <= metrics[name].estimate <= metrics[name].high
    assert found.provenance["n_rows"] == len(rows) == 20


def test_answers_are_listed_image_by_image(families: EmbeddingStore, found: Evaluation) -> None:
    frame = found.predictions
    assert frame["method"].tolist() == ["centroid"] * 20 + ["knn"] * 20
    paths = families.images.frame["path"].to_numpy()
    assert frame["file_name"].tolist() == paths[frame["row"]].tolist()
    assert frame["truth"].tolist() == families.images.labels(Rank.FAMILY)[frame["row"]].tolist()
    assert (frame["right"] == (frame["predicted"] == frame["truth"])).all()
    assert [names[0] for names in frame["top5"]] == frame["predicted"].tolist()
    assert [p[0] for p in frame["top5_probabilities"]] == pytest.approx(frame["probability"])
    accuracy = frame[frame["method"] == "knn"]["right"].mean()
    assert found.find("knn").metrics["accuracy"].estimate == pytest.approx(accuracy)


def test_what_can_be_derived_is_derived_from_the_answers(found: Evaluation) -> None:
    confusion = found.count_confusion("knn")
    assert confusion.counts.sum() == 20
    assert confusion.collapse(Rank.ORDER).counts.shape == (3, 3)
    table = found.tabulate_classes("knn")
    assert table["n_images"].tolist() == [4] * 5
    assert found.best.metrics["accuracy"].estimate == max(
        result.metrics["accuracy"].estimate for result in found.results
    )
    with pytest.raises(ProbeError, match="lda was not evaluated; there are centroid, knn"):
        found.find("lda")


def test_a_row_a_method_stands_in_the_table(found: Evaluation) -> None:
    frame = found.to_frame()
    assert frame["method"].tolist() == list(KNN)
    assert frame["p_vs_best"].isna().sum() == 1
    assert (frame["seconds"] > 0).all()


def test_methods_are_compared_on_the_same_images(found: Evaluation) -> None:
    by_metric = {one.metric: one for one in found.comparisons}
    assert set(by_metric) == {"accuracy", "macro_f1", "balanced_accuracy", "mistake_severity"}
    right = {name: part["right"].to_numpy() for name, part in found.predictions.groupby("method")}
    accuracy = by_metric["accuracy"]
    assert accuracy.test == "mcnemar"
    assert accuracy.n_only_first == int((right["centroid"] & ~right["knn"]).sum())
    assert accuracy.difference == pytest.approx(right["centroid"].mean() - right["knn"].mean())
    assert by_metric["macro_f1"].test == "bootstrap"


def test_groups_are_drawn_together(families: EmbeddingStore, split: Split) -> None:
    groups = families.images.frame["family"].to_numpy(dtype=object)
    grouped = dataclasses.replace(split, groups=groups)
    found = evaluate(Task.of(families, Rank.FAMILY, split=grouped), KNN, n_resamples=200)
    assert found.provenance["options"]["n_groups"] == 5
    assert {one.test for one in found.comparisons} == {"bootstrap"}


def test_a_seed_gives_the_same_again(families: EmbeddingStore, split: Split) -> None:
    first, again, other = (
        evaluate(Task.of(families, Rank.FAMILY, split=split, seed=seed), ["knn"], n_resamples=50)
        for seed in (1, 1, 2)
    )
    assert repr(first.results[0].metrics) == repr(again.results[0].metrics)
    assert repr(first.results[0].metrics) != repr(other.results[0].metrics)


def test_a_mask_limits_what_is_learnt_from_and_is_scored_beside_all(
    families: EmbeddingStore, split: Split
) -> None:
    kept = families.rows % 3 != 0
    write_selection(families, "filters/some", families.rows, kept)
    found = evaluate(
        Task.of(families, Rank.FAMILY, split=split), ["knn"], mask="filters/some", n_resamples=20
    )
    (result,) = found.results
    frame = found.predictions
    assert len(frame) == 20
    assert frame["kept"].tolist() == (frame["row"] % 3 != 0).tolist()
    assert result.kept_metrics["accuracy"].estimate == pytest.approx(
        frame[frame["kept"]]["right"].mean()
    )
    assert result.n_training[0] == int(kept[split.rows("train")].sum()) - int(kept[[78, 79]].sum())
    assert "accuracy_kept" in found.to_frame()
    assert found.provenance["options"]["mask"] == "filters/some"


def test_images_of_classes_without_training_images_count_as_wrong(
    families: EmbeddingStore, split: Split
) -> None:
    mice = families.images.labels(Rank.FAMILY) == "Muridae"
    parts = split.parts.copy()
    parts[mice & (parts != "test")] = ""
    found = evaluate(
        Task.of(families, Rank.FAMILY, split=dataclasses.replace(split, parts=parts)),
        ["knn"],
        n_resamples=20,
    )
    (result,) = found.results
    assert result.n_unknown == 4
    assert len(found.classes) == 5
    assert result.metrics["accuracy"].estimate <= 16 / 20
    table = found.tabulate_classes("knn").set_index("class")
    assert table.loc["Muridae", "recall"] == 0


def test_evidence_names_the_files(families: EmbeddingStore, split: Split) -> None:
    # With labels of two families swapped in training, each is taken for the other.
    frame = families.images.frame.copy()
    train = split.parts == "train"
    cats, dogs = frame["family"] == "Felidae", frame["family"] == "Canidae"
    frame.loc[train & cats, "family"], frame.loc[train & dogs, "family"] = "Canidae", "Felidae"
    swapped = EmbeddingStore(families.folder, families.manifest)
    swapped.__dict__["images"] = ImageTable(frame)
    found = evaluate(Task.of(swapped, Rank.FAMILY, split=split), ["centroid"], n_resamples=20)
    first = found.results[0].pairs[0]
    assert {first["truth"], first["answer"]} == {"Felidae", "Canidae"}
    assert (first["ancestor"], first["ancestor_rank"], first["height"]) == ("Carnivora", "order", 1)
    mistake = first["mistakes"][0]
    assert mistake["file_name"] == frame["path"][mistake["row"]]
    assert mistake["file_name"].startswith(first["truth"])
    training = set(split.rows("train"))
    assert {neighbor["row"] for neighbor in mistake["neighbors"]} <= training


def test_folds_are_judged_together(families: EmbeddingStore) -> None:
    n = len(families)
    found = evaluate(
        Task.of(families, Rank.FAMILY, split=make_parts(["train"] * n, np.arange(n) % 4)),
        ["knn"],
        n_resamples=20,
    )
    options = found.provenance["options"]
    assert (options["n_rounds"], found.provenance["n_rows"], options["n_not_judged"]) == (4, 78, 2)


def test_what_cannot_be_asked_is_passed_over_and_said(
    families: EmbeddingStore, split: Split
) -> None:
    said: list[str] = []
    found = evaluate(
        Task.of(families, Rank.FAMILY, split=split),
        ["zeroshot", "knn"],
        n_resamples=20,
        report=said.append,
    )
    assert [result.method for result in found.results] == ["knn"]
    assert list(found.skipped) == ["zeroshot"]
    assert said[0].startswith("zeroshot is passed over: ")
    with pytest.raises(ProbeError, match="none of the methods can be asked"):
        evaluate(Task.of(families, Rank.FAMILY, split=split), ["zeroshot"], n_resamples=20)


def test_an_encoder_that_is_not_here_is_an_obstacle(families: EmbeddingStore, split: Split) -> None:
    def encode_text(_: object) -> npt.NDArray[np.float32]:
        msg = "the weights are not here; use local-dir:"
        raise ModelUnavailableError(msg)

    manifest = dataclasses.replace(families.manifest, has_text_tower=True)
    store = EmbeddingStore(families.folder, manifest)
    texts = Texts(encode_text, 20.0)
    found = evaluate(
        Task.of(store, Rank.FAMILY, split=split, texts=texts), ["zeroshot", "knn"], n_resamples=20
    )
    assert found.skipped == {"zeroshot": "the weights are not here; use local-dir:"}


def test_seconds_hold_no_loading_of_a_model(families: EmbeddingStore, split: Split) -> None:
    encoder = PlainEncoder()

    @functools.cache
    def load() -> None:
        time.sleep(0.6)

    def encode_text(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        load()
        return np.asarray(encoder.encode_text(texts))

    manifest = dataclasses.replace(families.manifest, has_text_tower=True)
    store = EmbeddingStore(families.folder, manifest)
    task = Task.of(store, Rank.FAMILY, split=split, texts=Texts(encode_text, 20.0))
    (found,) = evaluate(task, ["zeroshot"], n_resamples=20).results
    assert found.seconds < 0.6
    assert load.cache_info().currsize


def test_accuracy_by_images_a_class_is_measured_when_asked(
    families: EmbeddingStore, split: Split
) -> None:
    found = evaluate(
        Task.of(families, Rank.FAMILY, split=split),
        KNN,
        n_resamples=20,
        efficiency=EfficiencyPlan((1, 4), 3),
    )
    points = {(point.method, point.n_per_class): point for point in found.efficiency}
    assert set(points) == {(name, n) for name in KNN for n in (1, 4)}
    assert points["centroid", 1].n_training == 5
    assert points["centroid", 4].mean > points["centroid", 1].mean
    assert all(len(point.accuracies) == 3 for point in points.values())


def test_what_is_kept_is_read_as_it_was(
    families: EmbeddingStore, split: Split, tmp_path: Path
) -> None:
    found = evaluate(
        Task.of(families, Rank.FAMILY, split=split),
        KNN,
        name="mine",
        n_resamples=20,
        efficiency=EfficiencyPlan((1,), 1),
    )
    write_evaluation(families, found)
    again = read_evaluation(families, "mine")
    assert list_evaluations(families) == ["mine"]
    pd.testing.assert_frame_equal(again.to_frame(), found.to_frame())
    assert repr(again.results) == repr(found.results)
    assert again.comparisons == found.comparisons
    assert again.efficiency == found.efficiency
    assert again.classes == found.classes
    assert again.provenance == found.provenance
    assert (
        again.count_confusion("knn").counts.tolist() == found.count_confusion("knn").counts.tolist()
    )
    write_results(tmp_path / "new" / "results.json", found)
    assert (tmp_path / "new" / "results.json").is_file()


def test_entries_have_the_fields_of_clip_benchmark(found: Evaluation) -> None:
    first, second = to_clip_benchmark(found)
    assert list(first)[:6] == ["dataset", "model", "pretrained", "task", "metrics", "language"]
    assert (first["dataset"], first["model"]) == ("store", "plain-1")
    assert first["metrics"]["acc1"] == found.results[0].metrics["accuracy"].estimate
    assert first["task"] == "centroid_probe"
    assert len(second["per_class"]) == 5
    assert sum(pair["n_images"] for pair in second["confusion"]) == 20


def test_a_figure_that_is_no_number_is_null_on_disk_and_comes_back(
    families: EmbeddingStore, found: Evaluation
) -> None:
    unmeasured = dataclasses.replace(found.results[0].metrics["accuracy"], estimate=math.nan)
    result = dataclasses.replace(found.results[0], metrics={"accuracy": unmeasured})
    path = write_evaluation(families, dataclasses.replace(found, results=(result,)))
    assert "NaN" not in path.read_text()
    assert math.isnan(read_evaluation(families, found.name).results[0].metrics["accuracy"].estimate)


def test_what_earlier_versions_kept_is_read_and_replaced(
    families: EmbeddingStore, found: Evaluation
) -> None:
    path = write_evaluation(families, found)
    before = read_evaluation(families, "family")
    (predictions,) = path.parent.glob("*.parquet")
    old = predictions.rename(path.with_suffix(".parquet"))
    pd.testing.assert_frame_equal(
        read_evaluation(families, "family").predictions, before.predictions
    )
    write_evaluation(families, found)
    assert not old.exists()
    assert read_evaluation(families, "family").results == before.results


def test_damage_is_told(families: EmbeddingStore, found: Evaluation) -> None:
    path = write_evaluation(families, found)
    with pytest.raises(StoreError, match=r"no evaluation 'other'.*there are: family"):
        read_evaluation(families, "other")
    (predictions,) = path.parent.glob("*.parquet")
    found.predictions.iloc[:3].to_parquet(predictions)
    with pytest.raises(StoreError, match="not what it was written with"):
        read_evaluation(families, "family")
    found.predictions.iloc[:, :1].to_parquet(predictions)
    with pytest.raises(StoreError, match="not what it was written with"):
        read_evaluation(families, "family")
    path.write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        read_evaluation(families, "family")
    with pytest.raises(StoreError, match="cannot name an evaluation"):
        write_evaluation(families, dataclasses.replace(found, name="a/b"))


def test_a_mask_that_keeps_no_judged_image_has_no_figures_beside(
    families: EmbeddingStore, split: Split
) -> None:
    write_selection(families, "filters/none", families.rows, split.parts != "test")
    found = evaluate(
        Task.of(families, Rank.FAMILY, split=split), ["knn"], mask="filters/none", n_resamples=5
    )
    assert found.results[0].kept_metrics == {}
    assert found.provenance["options"]["n_kept"] == 0


def test_what_leaks_between_the_parts_stands_in_the_result(
    families: EmbeddingStore, split: Split
) -> None:
    leaks = [{"kind": "same bytes", "n_groups": 2, "n_images": 4, "n_test": 2},
             {"kind": "burst", "n_groups": 0, "n_images": 0, "n_test": 0}]  # fmt: skip
    leaking = dataclasses.replace(split, provenance={**split.provenance, "leakage": leaks})
    found = evaluate(Task.of(families, Rank.FAMILY, split=leaking), ["knn"], n_resamples=5)
    assert found.provenance["options"]["leakage"] == leaks[:1]


def test_images_without_a_label_are_not_counted_as_training(
    families: EmbeddingStore, split: Split
) -> None:
    found = evaluate(Task.of(families, Rank.FAMILY, split=split), ["knn"], n_resamples=5)
    assert found.provenance["options"]["n_training"] == found.results[0].n_training[0]


def test_the_order_of_the_rows_changes_no_fold_draw_or_interval(
    families: EmbeddingStore, make_store: Callable[..., EmbeddingStore]
) -> None:
    def ask(store: EmbeddingStore) -> tuple[dict[str, int], list[object]]:
        parts = store.images.frame["part"].to_numpy(dtype=object)
        task = Task.of(store, Rank.FAMILY, split=make_parts(parts))
        folds = task.fold(task.labelled)
        paths = store.images.frame["path"].to_numpy()[task.labelled.rows]
        found = evaluate(task, ["centroid"], n_resamples=50, efficiency=EfficiencyPlan((1,), 3))
        metrics = found.find("centroid").metrics
        ends = [str(metrics[name]) for name in ("accuracy", "macro_f1", "auroc")]
        drawn = [point.accuracies for point in found.efficiency]
        return dict(zip(paths, folds.tolist(), strict=True)), [ends, drawn]

    order = np.random.default_rng(1).permutation(len(families))
    turned = make_store(PlainEncoder(), "turned").append(
        families.images.frame.iloc[order].reset_index(drop=True), families.read_vectors(order)
    )
    assert ask(turned) == ask(families)


def test_one_class_is_refused_before_anything_is_asked(
    families: EmbeddingStore, split: Split
) -> None:
    said: list[str] = []
    view = View.of(families, "family == 'Felidae'")
    parts = np.where(np.isin(np.arange(len(families)), view.rows), split.parts, "")
    alone = dataclasses.replace(split, parts=parts)
    with pytest.raises(ProbeError, match="every labelled image is Felidae at family, and accuracy"):
        evaluate(Task.of(view, Rank.FAMILY, split=alone), KNN, report=said.append)
    assert not said


def test_methods_that_learn_from_one_class_are_passed_over_before_the_first_is_asked(
    families: EmbeddingStore, split: Split
) -> None:
    family = families.images.labels(Rank.FAMILY)
    parts = np.where((split.parts == "train") & (family != "Felidae"), "", split.parts)
    taught_one = dataclasses.replace(split, parts=parts.astype(object))
    manifest = dataclasses.replace(families.manifest, has_text_tower=True)
    store = EmbeddingStore(families.folder, manifest)
    texts = Texts(PlainEncoder().encode_text, 20.0)
    said: list[str] = []
    asked = ["zeroshot", "knn"]
    with pytest.raises(ProbeError, match="it can answer Felidae alone"):
        evaluate(Task.of(store, Rank.FAMILY, split=taught_one, texts=texts), asked)
    listed = store.images.taxa.at(Rank.FAMILY)
    wider = dataclasses.replace(texts, others=listed)
    task = Task.of(store, Rank.FAMILY, split=taught_one, texts=wider)
    found = evaluate(task, asked, n_resamples=20, report=said.append)
    assert [one.method for one in found.results] == ["zeroshot"]
    assert "have labels of 1 at family" in found.skipped["knn"]
    assert [one.split(" ")[0] for one in said] == ["knn", "zeroshot:"]


@pytest.mark.parametrize(
    "error",
    [ProbeError("no"), MemoryError("no"), RuntimeError("CUDA out of memory"), SelectionError("no")],
    ids=lambda error: type(error).__name__,
)
def test_what_fails_in_the_middle_leaves_the_others(
    families: EmbeddingStore, split: Split, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("bioprobe.probes.knn.KnnProbe.fit", fail)
    found = evaluate(
        Task.of(families, Rank.FAMILY, split=split), ["knn", "centroid"], n_resamples=20
    )
    assert [one.method for one in found.results] == ["centroid"]
    assert found.skipped == {"knn": str(error)}


def test_a_fault_of_a_method_is_no_reason_to_pass_it_over(
    families: EmbeddingStore, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        msg = "shapes do not fit"
        raise RuntimeError(msg)

    monkeypatch.setattr("bioprobe.probes.knn.KnnProbe.fit", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        evaluate(Task.of(families, Rank.FAMILY, split=split), ["knn"], n_resamples=20)


def test_a_misspelt_method_is_told_the_nearest() -> None:
    with pytest.raises(
        ProbeError,
        match=r"no method 'knnn' \(did you mean knn\?\); .* each once; got zeroshot, knnn",
    ):
        check_methods(["zeroshot", "knnn"])


@pytest.mark.parametrize(("n_images", "n_scores"), [(5, 1_000), (20, 25)])
def test_answers_that_are_asked_in_parts_are_the_same(
    families: EmbeddingStore,
    split: Split,
    found: Evaluation,
    n_images: int,
    n_scores: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    ask = FittedProbe.ask

    def count(self: FittedProbe, view: View, k: int) -> Predictions:
        asked.append(len(view))
        return ask(self, view, k)

    monkeypatch.setattr(FittedProbe, "ask", count)
    monkeypatch.setattr(answers, "_IMAGES_AT_ONCE", n_images)
    # So many scores are those of five images.
    monkeypatch.setattr(answers, "_SCORES_AT_ONCE", n_scores)
    monkeypatch.setattr("bioprobe.task.scores._SCORES_AT_ONCE", n_scores)
    taken: list[AnyRows] = []
    take = Task.take_vectors

    def watch(self: Task, rows: Rows, *, lazy: bool = False) -> AnyRows:
        taken.append(take(self, rows, lazy=lazy))
        return taken[-1]

    # Nor are the vectors of all that teach read together.
    monkeypatch.setattr(Task, "take_vectors", watch)
    monkeypatch.setattr(lazy_rows, "_MOST_HELD_NUMBERS", 0)
    again = evaluate(Task.of(families, Rank.FAMILY, split=split), KNN[:1], n_resamples=50)
    assert max(asked) == 5
    assert taken
    assert all(isinstance(one, LazyRows) for one in taken)
    assert again.find("centroid").metrics == found.find("centroid").metrics
    mine = found.predictions[found.predictions["method"] == "centroid"]
    pd.testing.assert_frame_equal(again.predictions, mine)
