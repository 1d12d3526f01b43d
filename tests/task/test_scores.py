"""The best columns of scores and the sums of groups of them, against a plain sort."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bioprobe.task import scores
from bioprobe.task.scores import Columns, find_top, sum_columns


@pytest.mark.parametrize("n_rows", [1, 5, 40, 3000])
@pytest.mark.parametrize("k", [1, 5, 30])
def test_the_best_of_numbers_that_stand_by_columns(
    n_rows: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(n_rows)
    # Many equal ones.
    by_rows = random.integers(0, 50, (4, n_rows)).astype(np.float32)
    groups = random.integers(-1, 7, n_rows)
    expected = find_top(by_rows, k), sum_columns(by_rows, groups, 7)
    monkeypatch.setattr(scores, "_FEW_SCORES", 0)
    by_columns = np.asfortranarray(by_rows)
    for one, other in zip(find_top(by_columns, k), expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(sum_columns(by_columns, groups, 7), expected[1])
    if n_rows == 40:
        assert Columns(torch.from_numpy(by_rows.T)).find_kth(41).tolist() == [0] * 4


@pytest.mark.parametrize("k", [1, 3, 7, 20])
def test_of_scores_that_tie_the_first_columns_are_best(k: int) -> None:
    scores = np.random.default_rng(0).random((40, 20)).astype(np.float32)
    # Of a sure answer all others are 0.
    scores[:20, 3:] = 0
    scores[20:30] = np.round(scores[20:30], 1)
    top, values = find_top(scores, k)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(top, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, expected, axis=1))
