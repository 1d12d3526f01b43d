from __future__ import annotations

import base64
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioprobe.errors import StoreError
from bioprobe.evaluation.effects import Effect
from bioprobe.evaluation.evaluate import evaluate
from bioprobe.evaluation.keeping import read_evaluation, write_evaluation
from bioprobe.evaluation.result import Evaluation
from bioprobe.index import NeighborIndex
from bioprobe.intervals import Interval
from bioprobe.page.html import make_thumbnail
from bioprobe.report import find_newest, write_report
from bioprobe.report.advice import find_next_steps
from bioprobe.report.data import describe_masks, find_split, find_training
from bioprobe.report.errors import choose_pictures, describe_errors, make_shower
from bioprobe.report.methods import describe_methods
from bioprobe.report.naming import Naming
from bioprobe.report.positive import describe_positive
from bioprobe.report.report import describe_report
from bioprobe.report.section import ORDER
from bioprobe.splits import make_split, read_split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.store.shard import ShardImages
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import alter_images
from tests.report.conftest import draw_none


def _write(store: EmbeddingStore, evaluation: Evaluation, path: Path) -> str:
    """Write a page without its plots, and return it."""
    with pytest.MonkeyPatch.context() as patch:
        draw_none(patch)
        write_report(store, evaluation, path)
    return path.read_text(encoding="utf-8")


def _choose(store: EmbeddingStore, evaluation: Evaluation) -> list[dict[str, Any]]:
    show = make_shower(store, Naming.of(store))
    return choose_pictures(store, evaluation, find_split(store, evaluation), show)


def _positive(evaluation: Evaluation) -> dict[str, Any]:
    found = describe_positive(evaluation)
    assert found is not None
    return found


def test_a_report_says_what_was_found(store: EmbeddingStore, evaluation: Evaluation) -> None:
    parts = describe_report(store, evaluation)["sections"]
    assert [one.id for one in parts] == sorted((one.id for one in parts), key=ORDER.index)
    assert all(one.lead.endswith(".") and "{" not in one.lead for one in parts)
    said: dict[str, dict[str, Any]] = {one.id: one.content for one in parts}
    summary = said["methods"]["summary"][0]
    assert "11 of 12" not in summary
    best = evaluation.best.metrics["accuracy"]
    assert f"of 12 test pictures it gives {best.estimate:.1%} the right" in summary
    assert [row["method"] for row in said["methods"]["rows"]] == ["centroid", "knn"]
    family = said["errors"]["ranks"][-1]
    assert family["rank"] == "family"
    assert family["accuracy"] == pytest.approx(best.estimate)
    assert said["split"]["parts"][:1] == [("train", 24)]
    assert said["looks"]["found"].n_images == 37
    assert said["labels"]["plot"].startswith("data:image/svg+xml")


def test_classes_above_gather_the_mistakes_within_them(
    store: EmbeddingStore, evaluation: Evaluation
) -> None:
    ranks = describe_errors(evaluation, make_shower(store, Naming.of(store)), {})["ranks"]
    accuracies = {row["rank"]: row["accuracy"] for row in ranks}
    assert list(accuracies) == ["kingdom", "order", "family"]
    assert accuracies["kingdom"] == 1.0
    assert accuracies["order"] >= accuracies["family"]


def test_a_wrong_label_is_to_be_checked(store: EmbeddingStore, evaluation: Evaluation) -> None:
    check = find_next_steps(store, evaluation, read_split(store))["check"]
    assert [(one["row"], one["truth"], one["predicted"]) for one in check] == [
        (0, "Bovidae", "Felidae")
    ]


def test_a_picture_is_looked_up_in_the_table_once(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, read = list[list[str]](), ShardImages.read

    def count(shard: ShardImages, names: list[str], *given: Any, **named: Any) -> Any:  # noqa: ANN401
        reads.append(names)
        return read(shard, names, *given, **named)

    for counts in ("given", "both"):
        opened = EmbeddingStore.open(store.folder).counting(counts)
        naming = Naming.of(opened)
        show = make_shower(opened, naming)
        monkeypatch.setattr(ShardImages, "read", count)
        shown = [show(3, caption, (caption,)) for caption in ("one", "other")]
        monkeypatch.undo()
        assert len(reads) == 1
        reads.clear()
        assert [one.pop("caption") for one in shown] == ["one", "other"]
        assert [one.pop("lines") for one in shown] == [("one",), ("other",)]
        assert shown[0] == shown[1]
        assert shown[0] == {
            "thumbnail": make_thumbnail(store.images.locate(3), 180),
            "place": store.images.name_row(3),
            "common": naming.find_picture(3),
        }


def test_galleries_show_neighbours_from_training_alone(
    store: EmbeddingStore, evaluation: Evaluation
) -> None:
    galleries = _choose(store, evaluation)
    assert [one["heading"] for one in galleries] == [
        "Right and sure",
        "Wrong and sure",
        "Least certain",
    ]
    near = [n for g in galleries for one in g["pictures"] for n in one["neighbors"]]
    parts = store.images.frame.set_index("path")["part"]
    assert near
    assert {parts[one["place"]] for one in near} == {"train"}


def test_pictures_whose_files_are_gone_are_counted_and_the_page_is_written(
    store: EmbeddingStore, evaluation: Evaluation, tmp_path: Path
) -> None:
    alter_images(store, root=str(tmp_path / "gone"))
    page = _write(store, evaluation, tmp_path / "report.html")
    assert "could not be read where they were" in page
    assert "picture not found or not readable" in page


def test_masks_are_told_with_what_they_drop(store: EmbeddingStore) -> None:
    assert describe_masks(store) == []
    write_selection(store, "filters/animal", np.arange(4), np.array([True, False, True, True]))
    (mask,) = describe_masks(store)
    assert (mask["name"], mask["n_judged"], mask["n_dropped"]) == ("filters/animal", 4, 1)


def test_a_split_that_was_made_anew_is_not_taken_for_the_old_one(
    store: EmbeddingStore, evaluation: Evaluation, tmp_path: Path
) -> None:
    write_split(store, make_split(store, Rank.FAMILY, seed=9))
    assert "has been made anew since" in _write(store, evaluation, tmp_path / "report.html")


def test_what_a_name_holds_is_escaped(
    store: EmbeddingStore, evaluation: Evaluation, tmp_path: Path
) -> None:
    strange = evaluation.predictions.assign(predicted="<b>Felidae</b>", right=False)
    page = _write(
        store, dataclasses.replace(evaluation, predictions=strange), tmp_path / "report.html"
    )
    assert "<b>Felidae</b>" not in page
    assert "&lt;b&gt;Felidae" in page


def test_a_report_of_a_kept_evaluation_is_the_same(
    store: EmbeddingStore, evaluation: Evaluation
) -> None:
    write_evaluation(store, evaluation)
    again = read_evaluation(store, "family")
    assert describe_methods(again) == describe_methods(evaluation)
    show = make_shower(store, Naming.of(store))
    first, second = (describe_errors(one, show, {}) for one in (evaluation, again))
    assert first == second


def test_the_newest_evaluation_is_reported_by_default(
    store: EmbeddingStore, evaluation: Evaluation
) -> None:
    with pytest.raises(StoreError, match="first: bioprobe evaluate"):
        find_newest(store)
    write_evaluation(store, dataclasses.replace(evaluation, name="zebra"))
    write_evaluation(store, dataclasses.replace(evaluation, name="ant"))
    assert find_newest(store) == "ant"


def test_a_store_with_an_approximate_index_is_asked_exactly(
    store: EmbeddingStore, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, open_it = [], NeighborIndex.open

    def open_index(opened: EmbeddingStore, *, exact: bool = False) -> NeighborIndex:
        asked.append(exact)
        return open_it(opened, exact=exact)

    monkeypatch.setattr(NeighborIndex, "open", open_index)
    _choose(store, evaluation)
    assert asked == [True]


def test_neighbours_of_a_picture_are_of_other_folds(store: EmbeddingStore) -> None:
    write_split(store, make_split(store, Rank.FAMILY, method="kfold", n_folds=2))
    split = read_split(store)
    found = evaluate(Task.of(store, Rank.FAMILY, split=split), ["centroid"], n_resamples=5)
    folds = dict(zip(store.images.frame["path"], split.folds.tolist(), strict=True))
    galleries = _choose(store, found)
    shown = [one for gallery in galleries for one in gallery["pictures"]]
    assert all(
        folds[near["place"]] != folds[one["place"]] for one in shown for near in one["neighbors"]
    )
    assert all(one["neighbors"] for one in shown)


def test_what_a_mask_dropped_counts_as_training_nowhere(store: EmbeddingStore) -> None:
    kept = np.arange(len(store)) % 2 == 0
    write_selection(store, "filters/even", store.rows, kept)
    found = evaluate(
        Task.of(store, Rank.FAMILY, split=read_split(store)),
        ["centroid"],
        mask="filters/even",
        n_resamples=5,
    )
    rows = find_training(store, found, read_split(store))
    assert len(rows) == found.results[0].n_training[0]
    assert not (rows % 2).any()
    gone = dataclasses.replace(
        found,
        provenance={**found.provenance, "options": {"mask": "filters/gone"}},
    )
    assert not len(find_training(store, gone, read_split(store)))
    assert not len(find_training(store, found, None))


def test_two_classes_have_their_curves_and_the_threshold(orders: Evaluation) -> None:
    said = _positive(orders)
    assert (said["name"], said["other"]) == ("Artiodactyla", "Carnivora")
    assert said["said"].startswith("Positive class: Artiodactyla, the rarer one")
    assert [row["method"] for row in said["rows"]] == ["centroid", "knn"]
    for row, result in zip(said["rows"], orders.results, strict=True):
        shown = [cell["value"] for cell in row["cells"]]
        assert shown[1] == f"{result.metrics['recall'].estimate:.3f}"
    curves = [_decode(said[name]) for name in ("roc", "precision_recall", "thresholds")]
    auroc = orders.find("knn").metrics["auroc"].estimate
    assert f"knn, AUROC {auroc:.3f}" in curves[0]
    assert "centroid, average precision " in curves[1]
    assert all(name in curves[2] for name in ("precision", "recall", "F1", "share flagged"))
    assert "chosen: " in curves[2]
    assert {row["chosen_on"] for row in said["at_threshold"]} == {"cross-validation"}


def test_the_page_of_two_classes_says_what_the_figures_are(
    store: EmbeddingStore, orders: Evaluation, tmp_path: Path
) -> None:
    before, after, between = (Interval(one, one - 0.1, one + 0.1) for one in (0.5, 0.7, 0.2))
    effect = Effect("prior", "rare_recall", before, after, between, 0.01, 2, 9)
    first = dataclasses.replace(orders.results[0], effects=(effect,))
    found = dataclasses.replace(orders, results=(first, *orders.results[1:]))
    page = _write(store, found, tmp_path / "two.html")
    assert "Did what was added help?" in page
    assert "recall of the 2 rarest classes (9 images)" in page
    assert "+0.200 [+0.100, +0.300]" in page
    assert "How well is Artiodactyla told from Carnivora?" in page
    assert "chosen on pictures that are not judged (cross-validation)" in page
    assert "of those that it calls so, " in page


def test_without_other_pictures_no_threshold_is_recommended(
    store: EmbeddingStore, orders: Evaluation, tmp_path: Path
) -> None:
    alone = [dataclasses.replace(one, thresholds=()) for one in orders.results]
    without = dataclasses.replace(orders, results=tuple(alone))
    said = _positive(without)
    assert "share flagged" in _decode(said["thresholds"])
    assert "chosen" not in _decode(said["thresholds"])
    page = _write(store, without, tmp_path / "two.html")
    assert "No threshold is recommended" in page


def test_a_class_without_a_test_picture_has_no_curve_and_is_said(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    split = read_split(store)
    parts = split.parts.copy()
    rare = store.images.labels(Rank.ORDER) == "Artiodactyla"
    parts[rare & (parts == "test")] = ""
    task = Task.of(store, Rank.ORDER, split=dataclasses.replace(split, parts=parts))
    found = evaluate(task, ["centroid", "knn"], n_resamples=5)
    said = _positive(found)
    assert said["roc"] is None
    page = _write(store, found, tmp_path / "two.html")
    assert "no judged image is Artiodactyla" in page
    assert "not defined" in page


def test_more_than_two_classes_have_no_positive_one(evaluation: Evaluation) -> None:
    assert describe_positive(evaluation) is None


def _decode(url: str) -> str:
    return base64.b64decode(url.partition(",")[2]).decode("utf-8")
