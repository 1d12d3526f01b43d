from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import MisuseError
from bioprobe.images import ImageTable
from bioprobe.provenance import Provenance
from bioprobe.task.predictions import Predictions
from bioprobe.task.sequences import (
    SEVERAL,
    choose_answers,
    find_truth,
    pool_rows,
    pool_sequences,
)
from bioprobe.task.target import Classes
from bioprobe.task.units import RULES, Pooling

ROWS = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]])
UNITS = np.array([1, 1, 1, 0])


@pytest.mark.parametrize("rule", RULES)
def test_rules_give_what_plain_numpy_gives(rule: str) -> None:
    rows = ROWS[:3]
    means = {
        "log-mean": np.prod(rows, axis=0) ** (1 / 3), "mean": rows.mean(axis=0),
        "max": rows.max(axis=0),
    }  # fmt: skip
    pooled = pool_rows(ROWS, UNITS, rule)
    assert pooled.sum(axis=1) == pytest.approx([1, 1])
    if rule == "vote":
        assert pooled[1] == pytest.approx([1 / 3, 2 / 3, 0], abs=1e-3)
    else:
        assert pooled[1] == pytest.approx(means[rule] / means[rule].sum())
        assert pooled[0] == pytest.approx(ROWS[3])


def test_one_picture_that_was_misread_does_not_undo_the_others() -> None:
    rows = np.array([[0.99, 0.01]] * 4 + [[0.0, 1.0]])
    assert pool_rows(rows, np.zeros(5, dtype=np.int64))[0].argmax() == 0


@pytest.mark.parametrize("rule", RULES)
def test_blanks_do_not_outvote_an_animal(rule: str) -> None:
    # Class 0 is blank.
    rows = np.array([[0.9, 0.05, 0.05]] * 9 + [[0.3, 0.6, 0.1], [0.9, 0.1, 0.0]])
    units = np.array([0] * 10 + [1])
    pooled = pool_rows(rows, units, rule, blank_classes=[0])
    assert pooled.argmax(axis=1).tolist() == [1, 0]
    # No single one is blank, but all together would be.
    rows = np.array([[0.4, 0.45, 0.15], [0.4, 0.15, 0.45]])
    assert pool_rows(rows, np.zeros(2, dtype=int), "mean", blank_classes=[0])[0, 0] == 0
    assert pool_rows(rows, np.zeros(2, dtype=int), "mean")[0].argmax() == 0


def test_rows_known_to_be_blank_count_only_where_all_are() -> None:
    known = np.array([True, True, False, True])
    pooled = pool_rows(ROWS, UNITS, left_out=known)
    assert pooled[1] == pytest.approx(ROWS[2])
    assert pooled[0] == pytest.approx(ROWS[3])


CAT, TIGER = ("Animalia", "Felidae", ""), ("Animalia", "Felidae", "Panthera tigris")
LYNX, DEER, NONE = ("Animalia", "Felidae", "Lynx lynx"), ("Animalia", "Cervidae", ""), ("", "", "")


@pytest.mark.parametrize(
    ("answers", "best"),
    [
        ([CAT, CAT, TIGER], TIGER),
        ([DEER, DEER, DEER, CAT, TIGER], DEER),
        ([DEER, DEER, CAT, CAT, TIGER], TIGER),
        ([CAT, CAT, LYNX, TIGER, TIGER], TIGER),
        ([("Animalia", "", ""), ("Animalia", "", ""), CAT, TIGER], TIGER),
        ([NONE, NONE, CAT], CAT),
        ([NONE, NONE], NONE),
        ([("Animalia", "", "Panthera tigris"), CAT], ("Animalia", "", "Panthera tigris")),
    ],
)
def test_an_ancestor_gives_way_and_never_to_another_branch(
    answers: list[tuple[str, ...]], best: tuple[str, ...]
) -> None:
    scores = np.linspace(0.9, 0.8, len(answers))
    (row,), gave_way = choose_answers(answers, scores, np.zeros(len(answers), dtype=np.int64))
    assert answers[row] == best
    assert not gave_way[row]


def test_what_a_family_took_over_goes_on_to_its_species_alone() -> None:
    answers = [CAT, CAT, TIGER, DEER, DEER]
    (row,), gave_way = choose_answers(answers, np.full(5, 0.5), np.zeros(5, dtype=np.int64))
    assert (row, gave_way.tolist()) == (2, [True, True, False, False, False])


def test_the_truth_of_a_sequence_is_that_of_its_animals() -> None:
    truth, units = np.array([0, 2, 2, 1, 2, 0, -1]), np.array([0, 0, 0, 1, 1, 2, 3])
    labelled = np.array([True] * 6 + [False])
    assert find_truth(truth, labelled, units, [0]).tolist() == [2, SEVERAL, 0, -1]


def _answer(images: ImageTable, scores: np.ndarray, names: tuple[str, ...]) -> Predictions:
    order = np.argsort(-scores, axis=1, kind="stable")
    about = Provenance(encoder={}, store="s", n_rows=len(images), condition="", options={})
    return Predictions(
        images, np.arange(len(images)), Classes(names, level="kind"), order,
        np.take_along_axis(scores, order, axis=1).astype(np.float32), about,
    )  # fmt: skip


def test_a_sequence_has_one_answer_by_its_clearest_picture() -> None:
    frame = pd.DataFrame(
        {
            "root": "/p", "path": ["a", "b", "c", "d"], "burst": ["x", "x", "x", ""],
            "kind": ["cat", "", "cat", "dog"],
        }
    )  # fmt: skip
    answers = _answer(ImageTable.build(frame), ROWS, ("cat", "dog", "hen"))
    found = pool_sequences(answers, Pooling("burst"))
    assert isinstance(found.answers, Predictions)
    table = found.answers.keep_best(1).to_frame()
    assert table["classification"].tolist() == ["cat", "hen"]
    assert table["file_name"].tolist() == ["a", "d"]
    assert table["sequence"].tolist() == ["x", "d"]
    assert table["n_rows"].tolist() == [3, 1]
    assert [one.n_correct for one in found.answers.accuracy()] == [1]
    by_vote = pool_sequences(answers, Pooling("burst", rule="vote"))
    assert by_vote.answers.to_frame()["classification"].tolist()[0] == "dog"
    with pytest.raises(MisuseError, match="a rule of pooling is log-mean, mean, max, vote"):
        Pooling(rule="median")


def test_pooling_the_best_classes_is_near_to_pooling_all() -> None:
    random = np.random.default_rng(0)
    scores = np.exp(random.normal(scale=2, size=(12, 40)))
    scores /= scores.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(
        {"root": "/p", "path": [str(row) for row in range(12)], "burst": [1, 2, 3] * 4, "kind": ""}
    )
    answers = _answer(ImageTable.build(frame), scores, tuple(f"c{one}" for one in range(40)))
    whole = pool_sequences(answers, Pooling("burst")).answers
    some = pool_sequences(answers.keep_best(20), Pooling("burst")).answers
    assert isinstance(whole, Predictions)
    assert isinstance(some, Predictions)
    assert some.top_classes[:, 0].tolist() == whole.top_classes[:, 0].tolist()


def test_of_rows_with_one_answer_the_surest_is_taken() -> None:
    rows, _ = choose_answers([("Animalia",)] * 3, np.array([0.4, 0.9, 0.5]), np.zeros(3, np.int64))
    assert rows.tolist() == [1]
