from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.images import ImageTable
from bioprobe.intervals import Accuracy
from bioprobe.provenance import Provenance
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes
from bioprobe.taxonomy import Rank, Taxon

NAMES = ["Felidae", "Canidae", "Ursidae", "Bovidae", "Suidae", "Equidae"]


def _predict(truth: list[str], top: list[list[int]], rows: list[int] | None = None) -> Predictions:
    frame = pd.DataFrame({"path": [f"{i}.jpg" for i in range(len(truth))], "family": truth})
    answers = np.array(top, dtype=np.int64)
    return Predictions(
        ImageTable.build(frame),
        np.array(range(len(truth)) if rows is None else rows, dtype=np.int64),
        Classes.of((Taxon.from_names({"family": name}) for name in NAMES), Rank.FAMILY),
        answers,
        np.zeros(answers.shape, dtype=np.float32),
        Provenance(encoder={}, store=str(Path("s")), n_rows=len(answers)),
    )


def test_top_1_and_top_5_count_images_whose_label_is_among_the_answers() -> None:
    first = [0, 1, 2, 3, 4]
    measured = _predict(
        ["Felidae", "Canidae", "Suidae", "Equidae"], [first, first, first, first]
    ).accuracy()
    assert measured == [Accuracy(1, 1, 4), Accuracy(5, 3, 4)]
    assert [accuracy.fraction for accuracy in measured] == [0.25, 0.75]


@pytest.mark.parametrize(("k", "measured_at"), [(1, [1]), (4, [1]), (5, [1, 5]), (6, [1, 5])])
def test_top_5_is_measured_where_there_are_5_answers(k: int, measured_at: list[int]) -> None:
    predictions = _predict(["Equidae"], [[0, 1, 2, 3, 4, 5][:k]])
    assert [accuracy.k for accuracy in predictions.accuracy()] == measured_at
    assert [accuracy.n_correct for accuracy in predictions.accuracy()] == [0] * len(measured_at)


def test_images_without_a_label_do_not_count() -> None:
    assert _predict(["", "Felidae", ""], [[0], [0], [0]]).accuracy() == [Accuracy(1, 1, 1)]


def test_images_that_taught_do_not_count() -> None:
    answers = _predict(["Felidae", "Felidae", "Felidae"], [[0], [0], [1]])
    taught = dataclasses.replace(answers, taught=np.array([True, True, False]))
    assert taught.accuracy() == [Accuracy(1, 0, 1)]


def test_a_label_that_is_no_class_counts_as_wrong() -> None:
    assert _predict(["Hyaenidae", "Felidae"], [[0], [0]]).accuracy() == [Accuracy(1, 1, 2)]


def test_without_labels_there_is_nothing_to_measure() -> None:
    assert _predict(["", ""], [[0], [0]]).accuracy() == []


def test_labels_are_those_of_the_rows_asked_about() -> None:
    predictions = _predict(["Felidae", "Canidae", "Ursidae"], [[2], [0]], rows=[2, 0])
    assert predictions.accuracy() == [Accuracy(1, 2, 2)]


@pytest.mark.parametrize(
    ("n_correct", "n_images"), [(0, 1), (1, 1), (0, 10), (8, 10), (10, 10), (961, 1066), (1, 5000)]
)
def test_the_interval_is_wilsons(n_correct: int, n_images: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(n_correct, n_images).proportion_ci(0.95, method="wilson")
    assert Accuracy(1, n_correct, n_images).interval == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


def test_no_image_has_no_accuracy() -> None:
    accuracy = Accuracy(1, 0, 0)
    assert math.isnan(accuracy.fraction)
    assert all(math.isnan(end) for end in accuracy.interval)


def test_it_is_written_with_its_interval() -> None:
    assert str(Accuracy(5, 8, 10)) == "top-5 0.800 [0.490, 0.943]"
