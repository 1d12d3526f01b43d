"""Several texts a class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.errors import PromptError
from bioprobe.task import text_pooling
from bioprobe.task.leaf_scores import score_leaves
from bioprobe.task.leaves import Leaves
from bioprobe.task.text_pooling import Pool, embed_mean_rows


def test_the_three_ways_differ_where_they_should() -> None:
    # Class 0 has the best text, class 1 two that are nearly as good and fill more of the sum.
    vectors = np.array([[1.0, 0.0]], dtype=np.float32)
    angles = np.array([0.3, 2.0, 0.31, -0.31])
    texts = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows, classes = np.arange(4), np.array([0, 0, 1, 1])

    def ask(leaves: Leaves, pool: Pool = Pool.SUM) -> int:
        return int(score_leaves(vectors, leaves, k=1, logit_scale=10, pool=pool).top[0, 0])

    each = Leaves(texts, rows, classes)
    means = Leaves.of(embed_mean_rows(texts, rows, classes))
    assert (ask(each, Pool.MAX), ask(each), ask(means)) == (0, 1, 1)


@pytest.mark.parametrize("n_at_once", [1, 2, 4, 100])
def test_means_are_unit_over_any_blocks(n_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_pooling, "_TEXTS_AT_ONCE", n_at_once)
    texts: npt.NDArray[np.float32] = np.eye(4, dtype=np.float32)
    means = embed_mean_rows(texts, np.array([3, 0, 1, 2]), np.array([0, 1, 1, 1]))
    expected = np.array([[0, 0, 0, 1], [3**-0.5] * 3 + [0]])
    np.testing.assert_allclose(means, expected, atol=1e-7)


def test_texts_that_cancel_each_other_out_have_no_mean() -> None:
    texts = np.array([[1, 0], [-1, 0], [0, 1]], dtype=np.float32)
    means = embed_mean_rows(texts, np.arange(3), np.array([0, 0, 1]))
    assert means.tolist() == [[0, 0], [0, 1]]


def test_a_way_of_pooling_is_read_in_any_case() -> None:
    assert Pool.parse(" Max ") is Pool.MAX
    with pytest.raises(PromptError, match="expected one of max, mean, sum"):
        Pool.parse("median")
