from __future__ import annotations

import math

import numpy as np
import pytest

from bioprobe.errors import SelectionError
from bioprobe.task.decisions import back_off_rows, choose_roll_up
from bioprobe.taxonomy import RANKS, Taxon, Taxonomy


def _taxon(*names: str) -> Taxon:
    return Taxon((*names, *[""] * (7 - len(names))))


CLASSES = Taxonomy(
    (
        _taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae"),
        _taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae"),
        _taxon("Animalia", "Chordata", "Aves", "Anseriformes", "Anatidae"),
    )
)
KINGDOM, PHYLUM, CLASS, ORDER, FAMILY = range(5)
PROBABILITIES = np.array([[0.9, 0.06, 0.04], [0.5, 0.45, 0.05], [0.4, 0.2, 0.4]], dtype=np.float32)


def test_each_answer_is_at_the_deepest_rank_that_is_sure() -> None:
    levels, positions = zip(*map(CLASSES.group, RANKS[: FAMILY + 1]), strict=True)
    best, scores, depths = back_off_rows(PROBABILITIES, positions, 0.9)
    assert depths.tolist() == [FAMILY, ORDER, PHYLUM]
    assert levels[FAMILY].taxa[best[0, FAMILY]].name == "Felidae"
    assert levels[ORDER].taxa[best[1, ORDER]].name == "Carnivora"
    assert scores[1, ORDER] == pytest.approx(0.95)
    assert back_off_rows(PROBABILITIES, positions, 0.5)[2].tolist() == [FAMILY, FAMILY, ORDER]


def test_the_confidence_is_the_lowest_that_is_right_often_enough() -> None:
    # Felidae is named from .5 on in the second image, which is a dog.
    truth = np.array([0, 1, 2])
    chosen = choose_roll_up(PROBABILITIES, CLASSES, truth, 1.0)
    assert chosen.confidence == pytest.approx(0.61)
    assert (chosen.accuracy.n_correct, chosen.accuracy.n_images) == (3, 3)
    assert choose_roll_up(PROBABILITIES, CLASSES, truth, 0.3).confidence == pytest.approx(0.01)
    assert chosen.n_images == 3


def test_rows_of_no_class_are_left_out_and_too_much_asked_is_never_met() -> None:
    chosen = choose_roll_up(PROBABILITIES, CLASSES, np.array([0, -1, -1]), 1.0)
    assert chosen.n_images == 1
    assert chosen.confidence == pytest.approx(0.01)
    far = Taxonomy((_taxon("Animalia"), _taxon("Plantae")))
    never = choose_roll_up(np.array([[1.0, 0.0]]), far, np.array([1]), 0.9)
    assert never.confidence == math.inf


def test_without_a_labelled_row_nothing_is_chosen() -> None:
    with pytest.raises(SelectionError, match=r"labelled rows \(0\)"):
        choose_roll_up(PROBABILITIES, CLASSES, np.array([-1, -1, -1]), 0.5)
