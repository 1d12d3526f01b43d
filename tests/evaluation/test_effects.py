from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import MisuseError
from bioprobe.evaluation import evaluate, read_evaluation, write_evaluation
from bioprobe.evaluation.effects import Effect, draw_recall
from bioprobe.evaluation.keeping import to_clip_benchmark
from bioprobe.evaluation.result import Evaluation
from bioprobe.intervals import Resamples
from bioprobe.report.methods import list_effects
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.task.columns import Columns
from bioprobe.task.prior import read_prior
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder, make_parts

COMMON, RARE = "Felidae", "Canidae"


@pytest.fixture
def placed(make_store: Callable[..., EmbeddingStore]) -> tuple[EmbeddingStore, Path]:
    """Return 120 images of two families that vectors hardly tell, and a table of what is common.

    A quarter of the images are of the rare one; it alone lives in the north.
    """
    random = np.random.default_rng(1)
    is_rare = np.arange(120) % 4 == 0
    vectors = random.normal(size=(120, 8)) + 0.25 * np.where(is_rare, 1, -1)[:, np.newaxis]
    frame = pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(120)],
            "sha256": [str(row) for row in range(120)],
            "family": np.where(is_rare, RARE, COMMON),
            "latitude": np.where(is_rare, 70, 5) + random.normal(0, 3, 120),
            "site": np.where(is_rare, "north", "south"),
        }
    )
    store = make_store(PlainEncoder(dim=8)).append(frame, vectors)
    path = store.folder.parent / "prior.csv"
    path.write_text(f"taxon,weight\n{COMMON},9\n{RARE},1\n", encoding="utf-8")
    return store, path


@pytest.fixture
def parts() -> Split:
    return make_parts(np.array(["train", "test", "train", "validation"], dtype=object).repeat(30))


def find(found: Evaluation, of: str) -> dict[str, Effect]:
    return {one.metric: one for one in found.results[0].effects if one.of == of}


def test_what_a_prior_does_to_rare_classes_is_said(
    placed: tuple[EmbeddingStore, Path], parts: Split
) -> None:
    store, path = placed
    task, prior = Task.of(store, Rank.FAMILY, split=parts), read_prior(path)
    found = evaluate(task, ["lda"], n_resamples=50, prior=prior)
    plain = evaluate(task, ["lda"], n_resamples=50)
    effects = find(found, "prior")
    accuracy, rare = effects["accuracy"], effects["rare_recall"]
    assert accuracy.before == plain.results[0].metrics["accuracy"]
    assert accuracy.after == found.results[0].metrics["accuracy"]
    assert accuracy.difference.low <= accuracy.difference.estimate <= accuracy.difference.high
    # Who expects the common one finds fewer of the rare one.
    assert rare.difference.estimate < 0
    assert (rare.n_classes, effects["unlikely_recall"].n_images) == (1, rare.n_images)
    answers = found.predictions
    is_rare = (answers["truth"] == RARE).to_numpy()
    assert rare.after.estimate == pytest.approx(answers["right"][is_rare].mean())
    row = found.to_frame().iloc[0]
    assert row["prior_rare_recall_difference"] == rare.difference.estimate
    assert row["prior_accuracy_before"] == accuracy.before.estimate
    assert "recall of the 1 rarest classes" in found.describe_effects()[0]
    assert found.provenance["options"]["prior"]["sha256"] == prior.sha256
    assert not plain.results[0].effects


def test_whether_columns_help_is_said_with_the_interval(
    placed: tuple[EmbeddingStore, Path], parts: Split
) -> None:
    store, path = placed
    task = Task.of(store, Rank.FAMILY, split=parts)
    found = evaluate(
        task, ["ridge", "centroid"], n_resamples=50, columns=Columns(("latitude",)),
        prior=read_prior(path),
    )  # fmt: skip
    columns, prior = find(found, "columns")["accuracy"], find(found, "prior")["accuracy"]
    assert columns.difference.low > 0
    assert columns.after == prior.before
    assert prior.after == found.results[0].metrics["accuracy"]
    assert "unlikely_recall" not in find(found, "columns")
    assert {one.of for one in found.results[1].effects} == {"prior"}  # centroid takes no columns
    assert "by accuracy helped" in found.describe_effects()[0]
    assert "latitude: a number" in found.provenance["options"]["columns"]


def test_effects_are_kept_and_written(placed: tuple[EmbeddingStore, Path], parts: Split) -> None:
    store, path = placed
    task = Task.of(store, Rank.FAMILY, split=parts)
    found = evaluate(task, ["centroid"], name="kept", n_resamples=20, prior=read_prior(path))
    write_evaluation(store, found)
    assert read_evaluation(store, "kept").results[0].effects == found.results[0].effects
    entry = json.loads(json.dumps(to_clip_benchmark(found)))[0]
    assert entry["effects"][0]["metric"] == "accuracy"
    assert set(entry["effects"][0]["difference"]) == {"estimate", "low", "high"}
    rows = list_effects(found)
    assert [row["figure"] for row in rows[:3]] == ["accuracy", "macro-F1", "balanced accuracy"]
    assert rows[0]["difference"] == found.results[0].effects[0].difference.estimate


def test_folds_are_each_judged_with_both(placed: tuple[EmbeddingStore, Path]) -> None:
    store, path = placed
    split = make_parts(np.full(120, "train", dtype=object), np.arange(120) // 40)
    found = evaluate(
        Task.of(store, Rank.FAMILY, split=split), ["lda"], n_resamples=20,
        columns=Columns(("site",), 1.0), prior=read_prior(path),
    )  # fmt: skip
    assert len(found.predictions) == 120
    assert find(found, "columns")["accuracy"].difference.estimate > 0


def test_recall_is_the_mean_over_classes_that_are_drawn() -> None:
    truth = np.array([0, 0, 0, 1, 2])
    right = np.array([True, True, False, False, True])
    draws = draw_recall(right, truth, np.array([0, 1]), Resamples(np.arange(5), 200))
    assert draws.estimate == pytest.approx((2 / 3 + 0) / 2)
    assert draws.n_units == 4
    known = draws.resampled[np.isfinite(draws.resampled)]
    assert len(known) < 200 or known.std() > 0


def test_columns_for_methods_without_use_for_them_are_refused(
    placed: tuple[EmbeddingStore, Path], parts: Split
) -> None:
    import bioprobe as bp
    from bioprobe.splits import write_split

    store, _ = placed
    write_split(store, parts)
    with pytest.raises(MisuseError, match="none is among knn"):
        bp.open(store.folder).evaluate(
            "family", split=parts.name, methods="knn", with_columns="site"
        )
