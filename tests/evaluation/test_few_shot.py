from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.evaluation import curves as few_shot
from bioprobe.evaluation.curves import Efficiency, EfficiencyPlan, draw_images, measure_methods
from bioprobe.probes.centroid import CentroidProbe
from bioprobe.probes.probe import Probe
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.task.method import make_probe
from bioprobe.task.target import Texts
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder


def _measure(
    store: EmbeddingStore,
    split: Split,
    methods: list[str],
    plan: EfficiencyPlan,
    texts: Texts | None = None,
) -> list[Efficiency]:
    (only,) = Task.of(store, Rank.FAMILY, split=split, texts=texts, seed=4).rounds()
    return measure_methods(only, methods, plan, report=lambda _: None)


def test_the_accuracy_is_that_of_a_probe_fitted_on_what_was_drawn(
    families: EmbeddingStore, split: Split
) -> None:
    (point,) = _measure(families, split, ["centroid"], EfficiencyPlan((2,), 2))
    labels = families.images.labels(Rank.FAMILY)
    training, test = split.rows("train"), split.rows("test")
    training = training[families.images.order(training)]
    _, classes = np.unique(labels[training], return_inverse=True)
    # The last two have no label, which sorts first here and is no class.
    expected = []
    for seed in (4, 5):
        rows = training[draw_images(classes - 1, 2, seed)]
        probe = CentroidProbe().fit(families.read_vectors(rows), labels[rows])
        expected.append((probe.predict(families.read_vectors(test)) == labels[test]).mean())
    assert point.accuracies == pytest.approx(tuple(expected))


def test_probes_that_learn_lineages_or_start_from_texts_are_measured_too(
    families: EmbeddingStore, split: Split
) -> None:
    texts = Texts(PlainEncoder().encode_text, 20.0, templates=("{}",))
    asked = ["zeroshot", "hierarchical", "prompt+probe", "linear", "stack"]
    points = _measure(families, split, asked, EfficiencyPlan((5,), 1), texts)
    assert [point.method for point in points] == ["hierarchical", "prompt+probe", "linear"]
    assert all(point.mean > 0.5 for point in points)


def test_what_a_probe_starts_from_matters_where_images_are_few(
    families: EmbeddingStore, split: Split
) -> None:
    labels = families.images.labels(Rank.FAMILY)
    vectors = families.read_vectors()
    means = {
        name: vectors[(labels == name)].mean(axis=0) for name in np.unique(labels[labels != ""])
    }

    def encode(texts: Sequence[str], *, turned: int) -> npt.NDArray[np.float32]:
        names = list(means)
        found = [
            means[names[(index + turned) % len(names)]]
            for text in texts
            for index, name in enumerate(names)
            if name in text
        ]
        return normalise_rows(np.array(found))

    prior = Texts(lambda texts: encode(texts, turned=0), 20.0, templates=("{}",))
    wrong = dataclasses.replace(prior, encode_text=lambda texts: encode(texts, turned=1))
    plan = EfficiencyPlan((1,), 3)
    (helped,) = _measure(families, split, ["prompt+probe"], plan, prior)
    (misled,) = _measure(families, split, ["prompt+probe"], plan, wrong)
    assert helped.mean > misled.mean


def test_the_seed_is_that_of_probes_that_draw_too(
    families: EmbeddingStore, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def note(kind: str, settings: dict[str, Any]) -> Probe:
        asked.append(settings.get("seed"))
        probe: Probe = make_probe(kind, settings)
        return probe

    monkeypatch.setattr(few_shot, "make_probe", note)
    _measure(families, split, ["linear", "centroid"], EfficiencyPlan((5,), 1))
    assert asked == [4, None]
