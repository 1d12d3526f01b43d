from __future__ import annotations

import numpy as np
import pytest

from bioprobe.evaluation.mistakes import Confusion, count_confusion, find_confused_pairs, keep_met
from bioprobe.task.target import Classes
from bioprobe.taxonomy import Rank, Taxon

RANKS = ("kingdom", "phylum", "class", "order", "family", "species")


def _taxon(*names: str) -> Taxon:
    return Taxon.from_names(dict(zip(RANKS, names, strict=True)))


LION = _taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera leo")
LYNX = _taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx lynx")
WOLF = _taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Canis lupus")
CARP = _taxon("Animalia", "Chordata", "", "", "Cyprinidae", "Cyprinus carpio")
OAK = _taxon("Plantae", "Tracheophyta", "", "", "Fagaceae", "Quercus robur")
CLASSES = Classes.of((LION, LYNX, WOLF, CARP, OAK), Rank.SPECIES)


def _confuse() -> Confusion:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 3, 4, -1])
    answers = np.array([0, 1, 1, 2, 1, 0, 2, 0, 0, 3])
    return count_confusion(truth, answers, CLASSES)


def test_rows_are_the_truth_and_columns_the_answers() -> None:
    assert _confuse().counts.tolist() == [
        [1, 2, 1, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
    ]
    assert _confuse().n_left_out == 1


def test_errors_within_a_family_vanish_at_family() -> None:
    families = _confuse().collapse(Rank.FAMILY)
    assert [taxon.name for taxon in families.classes] == [
        "Felidae", "Canidae", "Cyprinidae", "Fagaceae",
    ]  # fmt: skip
    assert families.counts.tolist() == [[5, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert families.counts.sum() == _confuse().counts.sum()


def test_collapsing_step_by_step_is_collapsing_at_once() -> None:
    steps = _confuse().collapse(Rank.FAMILY).collapse(Rank.PHYLUM)
    assert steps.counts.tolist() == _confuse().collapse(Rank.PHYLUM).counts.tolist() == [
        [8, 0],
        [1, 0],
    ]  # fmt: skip


def test_classes_with_a_hole_at_the_rank_are_left_out_and_counted() -> None:
    orders = _confuse().collapse(Rank.ORDER)
    assert orders.counts.tolist() == [[7]]
    assert orders.n_left_out == 1 + 2


def test_collapsing_to_their_own_rank_changes_nothing() -> None:
    assert _confuse().collapse(Rank.SPECIES).counts.tolist() == _confuse().counts.tolist()


def test_the_table_lists_what_occurs() -> None:
    frame = _confuse().to_frame()
    assert frame.iloc[0].to_dict() == {
        "truth": "Panthera leo", "answer": "Lynx lynx", "n_images": 2,
    }  # fmt: skip
    assert frame["n_images"].sum() == 9
    assert len(frame) == 8


def test_pairs_come_with_what_they_share() -> None:
    first, *rest = find_confused_pairs(_confuse())
    assert (first.truth, first.answer, first.positions) == ("Panthera leo", "Lynx lynx", (0, 1))
    assert (first.n_images, first.fraction) == (2, 0.5)
    assert first.ancestor is not None
    # From species past genus, of which nothing is said, to family.
    assert (first.ancestor.name, first.height) == ("Felidae", 2)
    found = {(pair.truth, pair.answer): pair for pair in rest}
    carp = found["Cyprinus carpio", "Panthera leo"]
    assert carp.ancestor is not None
    assert (carp.ancestor.name, carp.height) == ("Chordata", 5)
    oak = found["Quercus robur", "Panthera leo"]
    assert (oak.ancestor, oak.height) == (None, 7)


@pytest.mark.parametrize("n_pairs", [0, 1, 4, 5, 6])
def test_of_equally_many_the_greater_fraction_comes_first(n_pairs: int) -> None:
    pairs = find_confused_pairs(_confuse(), n_pairs)
    found = [(pair.truth, pair.answer, pair.n_images, pair.fraction) for pair in pairs]
    every = [
        ("Panthera leo", "Lynx lynx", 2, 0.5),
        ("Cyprinus carpio", "Panthera leo", 1, 1.0),
        ("Quercus robur", "Panthera leo", 1, 1.0),
        ("Lynx lynx", "Panthera leo", 1, 0.5),
        ("Panthera leo", "Canis lupus", 1, 0.25),
    ]
    assert found == every[:n_pairs]


def test_without_images_nothing_is_confused() -> None:
    none = np.zeros(0, dtype=np.int64)
    for classes in (CLASSES, Classes.of((), Rank.SPECIES)):
        confusion = count_confusion(none, none, classes)
        assert find_confused_pairs(confusion) == []
        assert len(confusion.to_frame()) == 0
        assert confusion.collapse(Rank.FAMILY).counts.sum() == 0


def test_of_a_long_list_only_what_was_met_is_counted() -> None:
    truth, answers = np.array([3, -1, 3]), np.array([1, 1, -1])
    true, given, met = keep_met(truth, answers, CLASSES)
    assert met.taxa == (LYNX, CARP)
    assert (true.tolist(), given.tolist()) == ([1, -1, 1], [0, 0, -1])
    none = np.zeros(0, dtype=np.int64)
    assert keep_met(none, none, CLASSES)[2].taxa == ()


def test_what_was_not_met_changes_no_pair() -> None:
    truth, answers = np.array([0, 0, 3]), np.array([1, 3, 3])
    pairs = [
        [(p.truth, p.answer, p.n_images, p.height) for p in find_confused_pairs(confusion)]
        for confusion in (
            count_confusion(truth, answers, CLASSES),
            count_confusion(*keep_met(truth, answers, CLASSES)),
        )
    ]
    assert (
        pairs[0]
        == pairs[1]
        == [
            ("Panthera leo", "Lynx lynx", 1, 2),
            ("Panthera leo", "Cyprinus carpio", 1, 5),
        ]
    )
