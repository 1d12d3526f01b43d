from __future__ import annotations

import numpy as np
import pytest

from bioprobe.errors import SelectionError
from bioprobe.task.task import list_rounds
from tests.conftest import make_parts

PARTS = ["train", "train", "train", "validation", "test", "test", ""]
ALL = np.ones(7, dtype=bool)


def test_a_split_with_a_test_part_is_one_round() -> None:
    (only,) = list_rounds(make_parts(PARTS, [0, 1, -1, -1, -1, -1, -1]), ALL)
    assert only.parts.tolist() == PARTS
    assert only.folds.tolist() == [0, 1, -1, -1, -1, -1, -1]
    assert only.hash == "abc"


def test_what_has_no_label_is_not_answered() -> None:
    labelled = ALL.copy()
    labelled[[0, 4]] = False
    (only,) = list_rounds(make_parts(PARTS), labelled)
    assert only.rows("test").tolist() == [5]
    # It may still teach the ranks above.
    assert only.rows("train").tolist() == [0, 1, 2]


def test_a_mask_limits_what_is_learnt_from_and_chosen_on_alone() -> None:
    kept = np.array([1, 0, 1, 0, 1, 0, 1]) == 1
    (only,) = list_rounds(make_parts(PARTS, [0, 1, 2, -1, -1, -1, -1]), ALL, kept)
    assert only.parts.tolist() == ["train", "", "train", "", "test", "test", ""]
    assert only.folds.tolist() == [0, -1, 1, -1, -1, -1, -1]


def test_without_a_test_part_each_fold_is_answered_by_the_others() -> None:
    folds = [0, 1, 2, 0, 1, -1, -1]
    rounds = list_rounds(make_parts(["train"] * 6 + [""], folds), ALL)
    assert [one.rows("test").tolist() for one in rounds] == [[0, 3], [1, 4], [2]]
    assert [one.rows("train").tolist() for one in rounds] == [
        [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 3, 4, 5],
    ]  # fmt: skip
    # What is left is numbered from 0, and what always trains stays so.
    assert [one.folds.tolist() for one in rounds] == [
        [-1, 0, 1, -1, 0, -1, -1], [0, -1, 1, 0, -1, -1, -1], [0, 1, -1, 0, 1, -1, -1],
    ]  # fmt: skip
    assert len({one.hash for one in rounds}) == 3


def test_a_fold_is_answered_whole_but_learnt_from_only_where_the_mask_keeps() -> None:
    kept = np.array([1, 0, 0, 1]) == 1
    first, second = list_rounds(make_parts(["train"] * 4, [0, 0, 1, 1]), ALL[:4], kept)
    assert (first.rows("train").tolist(), first.rows("test").tolist()) == ([3], [0, 1])
    assert (second.rows("train").tolist(), second.rows("test").tolist()) == ([0], [2, 3])


@pytest.mark.parametrize("labelled", [ALL, ~ALL])
def test_a_split_that_answers_nothing_is_refused(labelled: np.ndarray) -> None:
    with pytest.raises(SelectionError, match="neither a part test nor a labelled image in a fold"):
        list_rounds(
            make_parts(["train"] * 7, [0, 1, 0, 1, 0, 1, -1] if not labelled.all() else -1),
            labelled,
        )


def test_folds_do_not_stand_in_for_a_test_part_without_labels() -> None:
    labelled = np.array([part != "test" for part in PARTS])
    with pytest.raises(SelectionError, match="none of the 2 images in the part test"):
        list_rounds(make_parts(PARTS, [0, 1, 0, -1, -1, -1, -1]), labelled)
