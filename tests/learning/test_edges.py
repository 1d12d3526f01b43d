"""Every method at its edge: few images, more classes than dimensions, long tails, equal vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import BioprobeError
from bioprobe.evaluation.curves import EfficiencyPlan, measure_methods
from bioprobe.learning.fit import fit
from bioprobe.registry import METHODS
from bioprobe.store import EmbeddingStore
from bioprobe.task.method import find_probe, make_probe
from bioprobe.task.target import Texts
from bioprobe.task.task import Task
from tests.conftest import PlainEncoder, make_parts

Labels = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

N_ASKED = 5
# These move all classes by one map, or little, so that texts which say nothing, as here, hold them
# back: the guide says for whom they are.
HELD_BY_TEXTS = {"adapter", "tip-adapter"}
# What stands in a table: a name, the method, its settings, the level that it is asked at. Of what
# reads more than vectors, tests of its own ask.
METHODS_ASKED: dict[str, tuple[str, dict[str, Any], str]] = {
    name: (name, {}, "family")
    for name in METHODS.places
    if name not in {"zeroshot", *HELD_BY_TEXTS} and not getattr(METHODS.load(name), "reads", "")
} | {
    "hierarchical, local": ("hierarchical", {"method": "local"}, "family"),
    "hierarchical, no ranks": ("hierarchical", {}, "name"),
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Training images of each class, in a space of few dimensions."""

    sizes: tuple[int, ...]
    dim: int = 16
    noise: float = 0.4


LAYOUTS = {
    "one image in each class": Layout((1,) * 9),
    "one image in some": Layout((3,) * 6 + (1,) * 6),
    "more classes than dimensions": Layout((3,) * 9 + (1,) * 6, dim=8, noise=0.1),
    "as many of each": Layout((3,) * 6),
    "three to one": Layout((6,) * 6 + (2,) * 6),
    "thirty to one": Layout((30,) * 3 + (1,) * 9, noise=0.3),
    "identical rows": Layout((4,) * 6 + (1,) * 6, noise=0),
}
# Those that are furthest apart; the rest lie between them.
SHOWN = (
    "one image in each class", "more classes than dimensions", "thirty to one", "identical rows",
)  # fmt: skip


def draw(layout: Layout) -> tuple[Vectors, Vectors, Labels]:
    """Draw the centres of classes, three to an order, and images that teach, then that judge."""
    random, n = np.random.default_rng(1), len(layout.sizes)
    orders = random.normal(size=(n, layout.dim))[np.arange(n) // 3]
    centres = normalise_rows(orders + 0.8 * random.normal(size=(n, layout.dim)))
    taught, asked = np.repeat(np.arange(n), layout.sizes), np.repeat(np.arange(n), N_ASKED)
    noises = np.repeat([layout.noise, max(layout.noise, 0.2)], [len(taught), len(asked)])
    labels = np.concatenate([taught, asked])
    noise = random.normal(size=(len(labels), layout.dim)) / np.sqrt(layout.dim)
    vectors = normalise_rows(centres[labels] + noises[:, np.newaxis] * noise)
    return centres, vectors, labels


@pytest.fixture
def make_tasks(make_store: Callable[..., EmbeddingStore]) -> Callable[[Layout], dict[str, Task]]:
    """Lay images down in a store and return the task at each level, with texts of the classes."""

    def make(layout: Layout) -> dict[str, Task]:
        centres, vectors, labels = draw(layout)
        names = [f"F{place:02d}idae" for place in range(len(centres))]
        frame = pd.DataFrame(
            {
                "path": [f"{row}.jpg" for row in range(len(labels))],
                "sha256": [f"{row:064x}" for row in range(len(labels))],
                "order": [f"O{place // 3:02d}formes" for place in labels],
                "family": [names[place] for place in labels],
                "name": [names[place] for place in labels],
            }
        )
        store = make_store(PlainEncoder(0, dim=layout.dim)).append(frame, vectors)
        parts = np.array(["test"] * len(labels), dtype=object)
        parts[: sum(layout.sizes)] = "train"
        split = make_parts(parts)
        # As texts lie: on one side of all images, and only roughly where their class is.
        aside = np.random.default_rng(2).normal(size=(len(centres) + 1, layout.dim))
        said = 0.3 * centres + 0.2 * normalise_rows(aside[1:]) + 0.9 * normalise_rows(aside[:1])

        def write(texts: Sequence[str]) -> Vectors:
            rows = [next(i for i, name in enumerate(names) if name in text) for text in texts]
            return normalise_rows(said[rows])

        return {
            level: Task.of(store, level, split=split, texts=Texts(write, 20.0))
            for level in ("family", "name")
        }

    return make


@pytest.mark.parametrize(
    "name",
    [one if one in SHOWN else pytest.param(one, marks=pytest.mark.long) for one in LAYOUTS],
)
@pytest.mark.filterwarnings("ignore:no convergence")
def test_no_method_loses_classes_that_the_nearest_mean_tells_apart(
    make_tasks: Callable[[Layout], dict[str, Task]], name: str
) -> None:
    layout = LAYOUTS[name]
    tasks, sizes = make_tasks(layout), np.array(layout.sizes)
    single = np.repeat(sizes == sizes.min(), N_ASKED)
    right, losses = {}, {}
    for called, (method, settings, level) in METHODS_ASKED.items():
        if method == "stack" and sizes.max() == 1:
            with pytest.raises(BioprobeError, match="no row has a fold"):
                fit(tasks[level], method, settings)
            continue
        answers = fit(tasks[level], method, settings).ask(tasks[level].judged, len(sizes))
        found = answers.to_dense()
        assert np.isfinite(found).all(), called
        truth = answers.truth_classes
        own = found[np.arange(len(truth)), truth]
        losses[called] = float(-np.log(np.maximum(own, 1e-9)).mean())
        correct = answers.top_classes[:, 0] == truth
        right[called] = (correct.mean(), correct[single].mean())
    mean, of_singles = right["centroid"]
    assert mean > 0.9, "the classes can be told apart"
    worse = {
        called: found
        for called, found in right.items()
        if found[0] < mean - 0.05 or found[1] < of_singles - 0.05
    }
    assert worse == {}, right["centroid"]
    assert {called: loss for called, loss in losses.items() if loss >= np.log(len(sizes))} == {}


@pytest.mark.parametrize("method", [name for name in METHODS.places if name != "zeroshot"])
def test_constant_vectors_say_nothing_and_no_more_is_answered(method: str) -> None:
    same = np.full((8, 4), 0.5, dtype=np.float32)
    names = np.arange(4).repeat(2)
    texts = {"texts": np.full((4, 4), 0.5, np.float32), "text_classes": np.arange(4)}
    probe = make_probe(method, texts if find_probe(method).needs_texts else {})
    found = probe.fit(same, names).predict_proba(same)
    assert -np.log(found[np.arange(8), names]).mean() <= np.log(4) + 0.01


CURVES = {
    "museum": Layout((3,) * 12 + (1,) * 12, dim=24),
    "long tail": Layout((10,) * 4 + (1,) * 8),
    "overlapping": Layout((10,) * 9, noise=1.0),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.filterwarnings("ignore:no convergence")
def test_accuracy_does_not_fall_as_images_are_added(
    make_tasks: Callable[[Layout], dict[str, Task]], name: str
) -> None:
    task = make_tasks(CURVES[name])["family"]
    methods = ["centroid", "knn", "lda", "ridge", "linear"]
    plan = EfficiencyPlan((1, 2, 4, 10), n_seeds=3)
    points = measure_methods(task, methods, plan, report=lambda _: None)
    assert {point.method for point in points} == set(methods)
    n_judged = len(CURVES[name].sizes) * N_ASKED
    falls: dict[str, Any] = {}
    for method in methods:
        mine = [point for point in points if point.method == method]
        best = mine[0]
        for point in mine[1:]:
            # Of the last draw of all images there is but one, and no spread of its own.
            spread = max(best.deviation, point.deviation, 1 / n_judged)
            if point.mean < best.mean - spread:
                falls[f"{method} at {point.n_per_class}"] = (best.mean, point.mean, spread)
            best = max(best, point, key=lambda one: one.mean)
    assert falls == {}
