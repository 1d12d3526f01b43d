from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bioprobe.evaluation.mistakes import count_confusion, explain_pairs, tabulate_classes
from bioprobe.store import EmbeddingStore
from bioprobe.task.target import Classes
from bioprobe.taxonomy import Rank, Taxon
from tests.conftest import PlainEncoder

NAMES = ("Canidae", "Felidae", "Ursidae", "Mustelidae")
CLASSES = Classes.of(
    (Taxon.from_names({"order": "Carnivora", "family": name}) for name in NAMES), Rank.FAMILY
)


def test_each_class_has_its_own_figures_worst_first() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1])
    answers = np.array([0, 1, 1, 2, 1, 1])
    frame = tabulate_classes(count_confusion(truth, answers, CLASSES))
    # Canidae: 1 of 4, the only answer is right. Felidae: 2 of 2, of 4 answers 2 are right. Ursidae
    # has an answer but no image. Mustelidae was not met.
    assert frame["class"].tolist() == ["Canidae", "Felidae", "Ursidae"]
    assert frame["lineage"].tolist() == ["Carnivora"] * 3
    assert frame["n_images"].tolist() == [4, 2, 0]
    assert frame["n_answers"].tolist() == [1, 4, 1]
    assert frame["precision"].tolist() == [1, 0.5, 0]
    np.testing.assert_allclose(frame["recall"], [0.25, 1, np.nan])
    np.testing.assert_allclose(frame["f1"], [0.4, 2 / 3, np.nan])
    assert frame["confused_with"].tolist() == ["Felidae", "", ""]
    assert frame["n_confused"].tolist() == [2, 0, 0]


def test_without_classes_the_table_is_empty() -> None:
    none = np.zeros(0, dtype=np.int64)
    frame = tabulate_classes(count_confusion(none, none, Classes.of((), Rank.FAMILY)))
    assert len(frame) == 0
    assert "confused_with" in frame


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore]) -> (
    EmbeddingStore
):  # fmt: skip
    """Return ten images on a quarter circle, 10° apart, of families in turn."""
    opened = make_store(PlainEncoder(dim=2))
    angles = np.deg2rad(np.arange(10) * 10)
    frame = pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(10)],
            "order": "Carnivora",
            "family": [NAMES[row % 2] for row in range(10)],
        }
    )
    return opened.append(frame, np.stack([np.cos(angles), np.sin(angles)], axis=1))


def test_a_pair_is_shown_by_its_surest_mistakes_and_their_nearest_training_images(
    store: EmbeddingStore,
) -> None:
    rows = np.array([6, 8, 4, 9])
    truth, answers = np.array([0, 0, 0, 1]), np.array([1, 1, 0, 0])
    confidence = np.array([0.6, 0.9, 0.7, 0.8])
    confusion = count_confusion(truth, answers, CLASSES)
    first, second = explain_pairs(
        store, confusion, rows, truth, answers, confidence, np.array([0, 1, 2, 3, 5]),
        n_neighbors=2,
    )  # fmt: skip
    assert (first.pair.truth, first.pair.answer) == ("Canidae", "Felidae")
    assert [(mistake.row, mistake.probability) for mistake in first.mistakes] == [
        (8, 0.9), (6, 0.6),
    ]  # fmt: skip
    near = first.mistakes[1].neighbors
    assert [(neighbor.row, neighbor.label) for neighbor in near] == [(5, "Felidae"), (3, "Felidae")]
    assert [neighbor.similarity for neighbor in near] == pytest.approx(
        np.cos(np.deg2rad([10, 30])), abs=1e-6
    )
    assert [mistake.row for mistake in second.mistakes] == [9]


def test_numbers_of_pairs_mistakes_and_neighbors_are_limits(store: EmbeddingStore) -> None:
    rows = np.array([6, 8, 9])
    truth, answers = np.array([0, 0, 1]), np.array([1, 1, 0])
    confusion = count_confusion(truth, answers, CLASSES)
    ask = (store, confusion, rows, truth, answers, np.array([0.5, 0.6, 0.7]), np.array([0, 1]))
    (evidence,) = explain_pairs(*ask, n_pairs=1, n_mistakes=1, n_neighbors=5)
    assert len(evidence.mistakes) == 1
    assert len(evidence.mistakes[0].neighbors) == 2
    assert explain_pairs(*ask, n_pairs=0) == []


def test_an_image_is_no_neighbor_of_its_own(store: EmbeddingStore) -> None:
    truth, answers = np.array([0]), np.array([1])
    confusion = count_confusion(truth, answers, CLASSES)
    (evidence,) = explain_pairs(
        store, confusion, np.array([4]), truth, answers, np.array([0.5]), np.array([3, 4, 6])
    )
    assert [neighbor.row for neighbor in evidence.mistakes[0].neighbors] == [3, 6]


def test_what_was_held_out_with_an_image_is_no_neighbor_of_it(store: EmbeddingStore) -> None:
    truth, answers = np.array([0, 0]), np.array([1, 1])
    confusion = count_confusion(truth, answers, CLASSES)
    # Rows 4 and 5 are of one fold; 9 is of none, as row 0 is, which always trains.
    folds = np.array([-1, 0, 0, 0, 1, 1, 0, 0, 0, -1])
    (evidence,) = explain_pairs(
        store, confusion, np.array([4, 9]), truth, answers, np.array([0.6, 0.5]),
        np.array([0, 3, 5, 6]), folds=folds,
    )  # fmt: skip
    near = [[one.row for one in mistake.neighbors] for mistake in evidence.mistakes]
    assert near == [[3, 6, 0], [6, 5, 3]]
