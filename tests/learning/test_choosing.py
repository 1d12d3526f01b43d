"""What is chosen: on enough held-out images, and not at the cost of classes never held out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.learning.fit import _count_right, fit_probe, measure_values
from bioprobe.probes.probe import Sweep
from bioprobe.splits import assign_folds, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.task.task import Task
from tests.conftest import PlainEncoder, make_parts

Make = Callable[..., EmbeddingStore]
N_FAMILIES, DIM = 60, 32


def _draw(make_store: Make, names: list[int]) -> EmbeddingStore:
    random = np.random.default_rng(0)
    centres = normalise_rows(random.normal(size=(N_FAMILIES, DIM)))
    places = np.array(names)
    vectors = centres[places] + 0.4 / np.sqrt(DIM) * random.normal(size=(len(places), DIM))
    frame = pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(len(places))],
            "sha256": [f"{row:064x}" for row in range(len(places))],
            "family": [f"F{place:02d}idae" for place in places],
        }
    )
    return make_store(PlainEncoder(0, dim=DIM), "drawn").append(frame, normalise_rows(vectors))


@pytest.fixture
def long_tail(make_store: Make) -> EmbeddingStore:
    """Return 30 families of three training images and 30 of one; then two of each that judge."""
    train = [*np.repeat(np.arange(30), 3), *range(30, 60)]
    return _draw(make_store, [*train, *np.repeat(np.arange(60), 2)])


def test_of_equally_right_values_the_likeliest_is_chosen_then_the_strongest() -> None:
    accuracies = np.array([[0.5], [1.0], [1.0], [1.0]])
    losses = np.array([[0.1], [0.9], [0.2], [0.2004]])
    values = np.array([1.0, 10.0, 100.0, 1000.0])
    assert Sweep("C", values, accuracies, losses).best_value == 100
    # Rows like those of classes never held out count, by their number.
    remembered = np.array([[1.0, 0.5, 0.5, 1.0], [0.0, 1.0, 1.0, 0.0]])
    assert Sweep("C", values, accuracies, losses, remembered, 0.5).best_value == 1000


def test_large_folds_count_for_more() -> None:
    # All six of one fold, and one of two of the other.
    assert _count_right(np.array([1.0, 0.5]), np.repeat([0, 1, -1], [6, 2, 4])) == (7, 8)


def test_classes_never_held_out_weigh_as_their_rows_beside_those_that_are() -> None:
    X = normalise_rows(np.random.default_rng(0).normal(size=(32, 6)))  # noqa: N806
    names = np.array(["a", "b", "c"] * 8 + list("defghi") + ["a", "b"])
    folds = np.where(np.arange(32) < 24, np.arange(32) // 3 % 2, -1)
    found = measure_values("ridge", {}, X, names, np.array([1.0, 10.0]), folds)
    # Six rows of six classes, beside 24 that are held out; two more always teach.
    assert found.weight == 6 / 24


@pytest.mark.parametrize("kind", ["linear", "ridge", "lda", "knn"])
def test_what_is_chosen_loses_no_class_that_is_never_held_out(
    long_tail: EmbeddingStore, kind: str
) -> None:
    split = make_parts(["train"] * 120 + ["test"] * 120)
    task = Task.of(long_tail, "family", split=split)
    right = {}
    for one in (kind, "centroid"):
        found = fit_probe(task, one)
        answers = found.ask(task.judged, 1)
        singles = answers.truth_classes >= 30
        right[one] = (answers.top_classes[:, 0] == answers.truth_classes)[singles].mean()
        assert (found.held_out.n_never, found.held_out.n_classes) == (30, 60)
        assert found.held_out.n_images == 90
    assert right[kind] >= right["centroid"] - 0.05


@pytest.mark.parametrize(
    ("n_validation", "method"),
    [(2, "cross-validation"), (20, "cross-validation"), (60, "validation")],
)
def test_few_validation_images_choose_nothing_alone(
    make_store: Make, n_validation: int, method: str
) -> None:
    store = _draw(make_store, np.repeat(np.arange(10), 16).tolist())
    parts = np.full(160, "train", dtype=object)
    parts[np.random.default_rng(1).permutation(160)[:n_validation]] = "validation"
    task = Task.of(store, "family", split=make_parts(parts))
    inner = task.inner()
    assert inner.method == method
    found = fit_probe(task, "linear")
    assert found.n_rows == 160 - n_validation, "validation images never teach in the end"
    assert bool(found.held_out.reason) == (method == "cross-validation")
    assert found.held_out.n_images == (160 if found.held_out.reason else n_validation)


def test_so_do_few_a_class(make_store: Make) -> None:
    store = _draw(make_store, np.repeat(np.arange(60), 4).tolist())
    split = make_parts((["train"] * 3 + ["validation"]) * 60)
    inner = Task.of(store, "family", split=split).inner()
    assert inner.method == "cross-validation"
    assert inner.reason.endswith("60 images of 60 classes, fewer than 2 a class")


def test_images_of_a_group_are_held_out_together_across_parts(make_store: Make) -> None:
    store = _draw(make_store, np.repeat(np.arange(10), 16).tolist())
    groups = np.array([f"burst {row // 4}" for row in range(160)], dtype=object)
    parts = np.where(np.arange(160) // 4 % 8 == 0, "validation", "train")
    inner = Task.of(store, "family", split=make_parts(parts, groups=groups)).inner()
    assert inner.method == "cross-validation"
    of = {group: set(inner.folds[groups[inner.labelled.rows] == group]) for group in groups}
    assert all(len(folds) == 1 for folds in of.values())


def test_fit_tune_and_evaluate_say_what_is_never_held_out_and_why_folds_are(
    long_tail: EmbeddingStore,
) -> None:
    opened = bp.open(long_tail.folder)
    parts = ["train"] * 120 + ["validation"] * 4 + ["test"] * 116
    write_split(long_tail, make_parts(parts, name="default"))
    fitted = opened.fit("linear", "family")
    tuned = opened.tune("family", kinds="lda", n_trials=1)
    judged = opened.evaluate("family", methods="centroid", n_resamples=20)
    for found in (fitted, tuned, judged):
        said = "\n".join(map(str, found.notes))
        assert "the part validation has 4 images, fewer than 30: folds of train and" in said
    for found in (fitted, tuned):
        assert "30 of 60 classes never held out" in "\n".join(map(str, found.notes))
    labels = long_tail.images.labels("family")[:120].astype(str)
    folds = np.append(assign_folds(labels, 3), np.full(120, -1))
    write_split(long_tail, make_parts(["train"] * 120 + [""] * 120, folds, name="default"))
    found = opened.evaluate("family", methods="centroid", n_resamples=20)
    assert "30 of 60 classes never held out" in str(found.notes[0])
