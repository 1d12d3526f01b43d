from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.evaluation import Evaluation, evaluate, read_evaluation, write_evaluation
from bioprobe.report import write_report
from bioprobe.splits import Split, make_split
from bioprobe.store import EmbeddingStore
from bioprobe.task.target import Texts
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder


@pytest.fixture
def dated(families: EmbeddingStore, make_store: Callable[..., EmbeddingStore]) -> EmbeddingStore:
    """Return the families, each image a day after the one of the row before, the first undated."""
    days = pd.date_range("2024-01-01", periods=len(families)).strftime("%Y:%m:%d 00:00:00")
    frame = families.images.frame.assign(taken_at=["", *days[1:]])
    return make_store(PlainEncoder(), "dated").append(frame, families.read_vectors())


@pytest.fixture
def found(dated: EmbeddingStore, split: Split) -> Evaluation:
    store = EmbeddingStore(dated.folder, dataclasses.replace(dated.manifest, has_text_tower=True))
    texts = Texts(PlainEncoder().encode_text, 20.0)
    task = Task.of(store, Rank.FAMILY, split=split, texts=texts)
    return evaluate(
        task, ["zeroshot", "centroid"], name="timed", n_resamples=50, over="taken_at", window="20d"
    )


def test_each_window_has_the_accuracy_of_its_images(found: Evaluation) -> None:
    frame, answers = found.over_time, found.predictions
    # Image n was taken on day n; test images are every fourth, of which the first has no date.
    assert frame["n_images"].tolist() == [5, 5, 5, 4] * 2
    assert frame["start"].iloc[0] == pd.Timestamp("2024-01-05")
    for row in frame.to_dict("records"):
        day = (pd.Timestamp(row["start"]) - pd.Timestamp("2024-01-01")).days
        own = answers[(answers["method"] == row["method"]) & answers["row"].between(day, day + 19)]
        assert row["accuracy"] == pytest.approx(own["right"].mean())
        assert row["low"] <= row["accuracy"] <= row["high"]
    assert found.provenance["options"]["n_undated"] == 1


def test_it_is_said_where_learning_made_it_worse(found: Evaluation) -> None:
    assert not found.describe_windows()
    turned = {"zeroshot": "centroid", "centroid": "zeroshot"}
    windows = tuple(dataclasses.replace(one, method=turned[one.method]) for one in found.windows)
    (note,) = dataclasses.replace(found, windows=windows).describe_windows()
    better = found.over_time.groupby("method")["accuracy"].apply(list)
    n_worse = sum(np.array(better["centroid"]) > np.array(better["zeroshot"]))
    assert f"centroid: learning made it worse in {n_worse} of 4 windows" in note.text


def test_windows_are_kept_and_shown(
    dated: EmbeddingStore, found: Evaluation, tmp_path: Path
) -> None:
    write_evaluation(dated, found)
    assert read_evaluation(dated, "timed").windows == found.windows
    page = tmp_path / "report.html"
    write_report(dated, found, page)
    assert "How does it do over time?" in page.read_text(encoding="utf-8")


def test_a_chronological_split_has_its_own_column(dated: EmbeddingStore) -> None:
    split = make_split(
        dated, "order", method="chronological", column="taken_at", fractions=(0.5, 0, 0.5)
    )
    made = evaluate(Task.of(dated, "order", split=split), ["centroid"], n_resamples=20)
    assert made.provenance["options"]["over"] == "taken_at"
    assert made.over_time["n_images"].sum() == len(split.rows("test"))


def test_a_window_needs_a_column_with_dates(dated: EmbeddingStore, split: Split) -> None:
    task = Task.of(dated, Rank.FAMILY, split=split)
    with pytest.raises(MisuseError, match="counts only with --over"):
        evaluate(task, ["centroid"], window="7d")
    with pytest.raises(MisuseError, match="a window has a length"):
        evaluate(task, ["centroid"], over="taken_at", window="0d")
    with pytest.raises(SelectionError, match="has no date of a judged image"):
        evaluate(task, ["centroid"], over="order")
