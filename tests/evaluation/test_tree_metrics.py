"""Tree metrics on a tree of five classes whose answers are seen by eye, and against hiclass."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import hiclass.metrics
import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.errors import SelectionError
from bioprobe.evaluation.measured import measure
from bioprobe.evaluation.method_scores import draw_method_scores
from bioprobe.evaluation.metrics import find_best
from bioprobe.evaluation.mistakes import count_confusion, find_confused_pairs
from bioprobe.evaluation.tree_metrics import (
    CONSISTENCY,
    TREE_METRICS,
    build_tree,
    find_consistent,
    measure_rows,
    score_tree,
    weigh_nodes,
)
from bioprobe.intervals import Resamples
from bioprobe.probes.label_tree import LabelTree
from bioprobe.task.target import Classes
from bioprobe.taxonomy import Rank, Taxon

# node numbers:
#
# root (-1) ─┬─ animals 5 ─┬─ cats 7 ─┬─ lion 0
#            │             │          └─ lynx 1
#            │             └─ dogs 8 ─── wolf 2
#            └─ plants 6 ─── grasses 9 ┬─ rice 3
#                                      └─ wheat 4
CLASSES = np.array(
    [
        ["animals", "cats", "lion"],
        ["animals", "cats", "lynx"],
        ["animals", "dogs", "wolf"],
        ["plants", "grasses", "rice"],
        ["plants", "grasses", "wheat"],
    ],
    dtype=object,
)
TREE = LabelTree.from_leaves(CLASSES)
LION, LYNX, WOLF, RICE, WHEAT, ANIMALS, PLANTS, CATS, DOGS, GRASSES = range(10)
ROOT = -1


def rows(*nodes: int) -> npt.NDArray[np.int64]:
    return np.array(nodes, dtype=np.int64)


def test_the_tree_is_the_one_that_is_drawn() -> None:
    assert ["/".join(filter(None, names)) for names in TREE.lineages[5:]] == [
        "animals",
        "plants",
        "animals/cats",
        "animals/dogs",
        "plants/grasses",
    ]


@pytest.mark.parametrize(
    ("truth", "answer", "height", "is_right", "precision", "recall"),
    [
        (LION, LION, 0, True, 1, 1),
        (LION, LYNX, 1, False, 2 / 3, 2 / 3),
        (LION, WOLF, 2, False, 1 / 3, 1 / 3),
        (LION, RICE, 3, False, 0, 0),
        (LION, CATS, 1, True, 1, 2 / 3),
        (LION, ANIMALS, 2, True, 1, 1 / 3),
        (LION, ROOT, 3, True, 1, 0),
        (LION, DOGS, 2, False, 1 / 2, 1 / 3),
        (LION, PLANTS, 3, False, 0, 0),
        (WOLF, DOGS, 1, True, 1, 2 / 3),
    ],
)
def test_depth_counts_the_nodes_that_answer_and_truth_share(
    truth: int, answer: int, height: int, is_right: bool, precision: float, recall: float
) -> None:
    found = measure_rows(rows(truth), rows(answer), TREE, "depth")
    assert found.heights.tolist() == [height]
    assert found.is_right.tolist() == [is_right]
    assert found.precisions.tolist() == pytest.approx([precision])
    assert found.recalls.tolist() == pytest.approx([recall])
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert found.f1s.tolist() == pytest.approx([f1])


def test_information_is_the_bits_of_the_classes_that_are_ruled_out() -> None:
    values = weigh_nodes(TREE, "information")
    bits = {count: -math.log2(count / 5) for count in (1, 2, 3)}
    assert values[[LION, ANIMALS, CATS, DOGS, PLANTS, GRASSES]].tolist() == pytest.approx(
        [bits[1], bits[3], bits[2], bits[1], bits[2], bits[2]]
    )
    assert values[ROOT] == 0
    found = measure_rows(rows(LION, LION, WOLF), rows(LYNX, WOLF, DOGS), TREE)
    assert found.precisions.tolist() == pytest.approx([bits[2] / bits[1], bits[3] / bits[1], 1])
    # A family that holds one species says as much as the species.
    assert found.recalls[2] == 1
    assert found.heights.tolist() == [1, 2, 1]


def test_scores_are_means_over_images_and_over_mistakes() -> None:
    truth, answers = rows(LION, LION, LION, LION, LION), rows(LION, LYNX, RICE, CATS, ROOT)
    scores = score_tree(measure_rows(truth, answers, TREE, "depth"))
    assert tuple(scores) == tuple(name for name in TREE_METRICS if name not in CONSISTENCY)
    assert {name: float(score[0]) for name, score in scores.items()} == pytest.approx(
        {
            "hierarchical_precision": (1 + 2 / 3 + 0 + 1 + 1) / 5,
            "hierarchical_recall": (1 + 2 / 3 + 0 + 2 / 3 + 0) / 5,
            "hierarchical_f1": (1 + 2 / 3 + 0 + 4 / 5 + 0) / 5,
            "right_or_above": 3 / 5,
            "mistake_severity": (1 + 3) / 2,
            "average_lca_height": (0 + 1 + 3 + 1 + 3) / 5,
        }
    )


def test_weights_are_rows_drawn_again() -> None:
    rng = np.random.default_rng(0)
    truth, answers = rng.integers(0, 5, 30), rng.integers(-1, 10, 30)
    drawn = rng.integers(0, 30, (4, 30))
    weights = np.array([np.bincount(draw, minlength=30) for draw in drawn])
    together = score_tree(measure_rows(truth, answers, TREE), weights)
    for place, draw in enumerate(drawn):
        alone = score_tree(measure_rows(truth[draw], answers[draw], TREE))
        for name in together:
            assert together[name][place] == pytest.approx(alone[name][0])


def test_without_a_mistake_severity_is_not_a_number() -> None:
    scores = score_tree(measure_rows(rows(LION), rows(LION), TREE))
    assert math.isnan(scores["mistake_severity"][0])
    assert scores["average_lca_height"].tolist() == [0]


def test_severity_is_known_as_well_as_there_are_mistakes() -> None:
    truth = np.arange(20) % 5
    probabilities = np.eye(5, dtype=np.float32)[np.where(np.arange(20) < 3, 3 - truth, truth)]
    resamples = Resamples.of_groups(np.full(20, ""), 20)
    draws = draw_method_scores(measure(truth, probabilities, tree=TREE), resamples)
    assert draws["mistake_severity"].n_units == 3
    assert draws["average_lca_height"].n_units == 20


def test_no_images_have_no_scores() -> None:
    scores = score_tree(measure_rows(rows(), rows(), TREE))
    assert all(math.isnan(score[0]) for score in scores.values())


def test_a_class_that_the_tree_does_not_hold_makes_all_but_the_root_wrong() -> None:
    found = measure_rows(rows(-1, -1, -1), rows(LION, CATS, ROOT), TREE)
    assert found.is_right.tolist() == [False, False, True]
    assert found.heights.tolist() == [3, 3, 3]
    assert found.precisions.tolist() == [0, 0, 1]
    assert found.recalls.tolist() == [0, 0, 0]
    assert found.f1s.tolist() == [0, 0, 0]


def test_one_class_is_always_right() -> None:
    tree = LabelTree.from_leaves(CLASSES[:1])
    found = measure_rows(rows(0), rows(0), tree)
    assert (found.precisions[0], found.recalls[0], found.f1s[0]) == (1, 1, 1)


def test_holes_are_no_nodes() -> None:
    tree = LabelTree.from_leaves(
        np.array([["animals", "", "lion"], ["animals", "dogs", "wolf"]], dtype=object)
    )
    found = measure_rows(rows(0), rows(1), tree, "depth")
    assert found.precisions.tolist() == pytest.approx([1 / 3])
    assert found.recalls.tolist() == [1 / 2]
    assert found.heights.tolist() == [2]


@pytest.mark.parametrize("with_inner_nodes", [False, True])
def test_depth_agrees_with_hiclass(with_inner_nodes: bool) -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 200)
    answers = rng.integers(0, 10 if with_inner_nodes else 5, 200)
    found = measure_rows(truth, answers, TREE, "depth")
    true_names, names = TREE.lineages[truth].astype(str), TREE.lineages[answers].astype(str)
    assert found.precisions.mean() == pytest.approx(
        hiclass.metrics.precision(true_names, names, average="macro")
    )
    assert found.recalls.mean() == pytest.approx(
        hiclass.metrics.recall(true_names, names, average="macro")
    )
    related = found.shared > 0  # hiclass has no F1 for the others
    assert found.f1s[related].mean() == pytest.approx(
        hiclass.metrics.f1(true_names[related], names[related], average="macro")
    )
    assert found.shared.sum() / found.answered.sum() == pytest.approx(
        hiclass.metrics.precision(true_names, names)
    )
    assert found.shared.sum() / found.wanted.sum() == pytest.approx(
        hiclass.metrics.recall(true_names, names)
    )


PROBABILITIES = np.array(
    [
        [0.70, 0.20, 0.06, 0.04, 0.00],  # lion; cats .90; animals .96
        [0.30, 0.30, 0.20, 0.10, 0.10],  # cats .60; animals .80
        [0.25, 0.05, 0.25, 0.25, 0.20],  # grasses .45, plants .45; animals .55
    ]
)


def test_an_unknown_value_of_nodes_is_refused() -> None:
    with pytest.raises(SelectionError, match="depth or information, got 'height'"):
        measure_rows(rows(0), rows(0), TREE, "height")


def test_consistency_is_that_of_the_best_taxon_at_each_rank_with_the_best_class() -> None:
    probabilities = np.array(
        [
            [0.6, 0.1, 0.1, 0.1, 0.1],  # lion, cats, animals
            [0.4, 0.0, 0.3, 0.2, 0.1],  # lion, cats, animals
            [0.2, 0.2, 0.3, 0.2, 0.1],  # wolf, but cats
            [0.2, 0.1, 0.1, 0.3, 0.3],  # rice, grasses, plants
            [0.3, 0.2, 0.0, 0.4, 0.1],  # rice, but cats or grasses are equal
        ]
    )
    assert find_consistent(probabilities, TREE).tolist() == [True, True, False, True, True]
    truth = np.array([LION, LION, WOLF, WHEAT, RICE])
    rows = measure_rows(truth, find_best(probabilities), TREE)
    rows = dataclasses.replace(rows, is_consistent=find_consistent(probabilities, TREE))
    found = score_tree(rows)
    assert found["top_down_consistency"].tolist() == [0.8]
    assert found["hierarchical_consistent_accuracy"].tolist() == [0.6]
    # Right at the class alone is not enough: 4 of 5 are.
    assert found["right_or_above"].tolist() == [0.8]


def test_consistency_is_told_some_images_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = np.random.default_rng(0).random((20_000, 5), dtype=np.float32)
    at_once = find_consistent(probabilities, TREE)
    monkeypatch.setattr("bioprobe.task.scores._SCORES_AT_ONCE", 500)
    tracemalloc.start()
    in_parts = find_consistent(probabilities, TREE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert in_parts.tolist() == at_once.tolist()
    assert 0 < at_once.sum() < len(at_once)
    # Best classes and their taxa have 8 bytes an image each; another copy of all has 40.
    assert peak < 20_000 * 40


def test_a_rank_at_which_the_best_class_has_no_name_says_nothing() -> None:
    holes = LabelTree.from_leaves(np.array([["", "x"], ["A", "y"], ["A", "z"]], dtype=object))
    assert find_consistent(np.array([[0.4, 0.3, 0.3]]), holes).tolist() == [True]


def test_ranks_without_a_name_make_no_mistake_more_severe() -> None:
    named = (("Felidae", "A b"), ("Felidae", "A c"), ("Canidae", "D e"))
    taxa = [Taxon.from_names({"family": family, "species": name}) for family, name in named]
    # A scientific name fills the genus; these data have none.
    bare = (dataclasses.replace(one, lineage=(*one.lineage[:5], "", one.name)) for one in taxa)
    classes = Classes.of(bare, Rank.SPECIES)
    tree = build_tree(classes)
    assert tree is not None
    assert tree.n_ranks == 2
    heights = measure_rows(np.array([0, 0]), np.array([1, 2]), tree).heights
    assert heights.tolist() == [1, 2]
    pairs = find_confused_pairs(count_confusion(np.array([0, 0]), np.array([1, 2]), classes))
    assert [pair.height for pair in pairs] == [1, 2]
