"""Pooling against plain numpy over all scores at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, PromptError
from bioprobe.task import scores as pooling
from bioprobe.task.scores import Pool, find_top_pooled

Vectors = npt.NDArray[np.float32]
SCALE = 30.0


def draw(n: int, dim: int = 8, seed: int = 0) -> Vectors:
    return normalise_rows(np.random.default_rng(seed).normal(size=(n, dim)))


def pool_plainly(
    vectors: Vectors, texts: Vectors, members: list[list[int]], pool: Pool
) -> npt.NDArray[np.float64]:
    """Return the probability of every class, class by class."""
    logits = SCALE * vectors.astype(np.float64) @ texts.astype(np.float64).T
    if pool is Pool.SUM:
        used = sorted({row for rows in members for row in rows})
        assert sum(map(len, members)) == len(used)
        total = np.exp(logits[:, used]).sum(axis=1)
        return np.stack([np.exp(logits[:, rows]).sum(axis=1) / total for rows in members], axis=1)
    if pool is Pool.MAX:
        scores = np.stack([logits[:, rows].max(axis=1) for rows in members], axis=1)
    else:
        means = np.stack([texts[rows].astype(np.float64).mean(axis=0) for rows in members])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        scores = SCALE * vectors @ means.T
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


# One text a class; classes of one to six texts; one class of them all; rows out of order.
MEMBERS = {
    "single": [[row] for row in range(9)],
    "mixed": [[0], [1, 2, 3, 4, 5, 6], [7, 8], [9]],
    "all": [list(range(13))],
    "unordered": [[12, 3], [0, 11, 5], [7]],
}


@pytest.mark.parametrize("n_at_once", [1, 2, 4, 13, 100])
@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS.keys())
@pytest.mark.parametrize("pool", Pool)
def test_any_block_size_gives_what_plain_numpy_gives(
    pool: Pool, members: list[list[int]], n_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "_TEXTS_AT_ONCE", n_at_once)
    monkeypatch.setattr(pooling, "_IMAGES_AT_ONCE", 3)
    texts = draw(13, seed=1)
    for n_images in (0, 1, 3, 4):
        vectors = draw(n_images, seed=2)
        expected = pool_plainly(vectors, texts, members, pool)
        for k in (1, len(members) - 1, len(members), len(members) + 1):
            top, probabilities = find_top_pooled(
                vectors,
                texts,
                np.array([row for rows in members for row in rows]),
                np.repeat(np.arange(len(members)), [len(rows) for rows in members]),
                k=max(1, k),
                logit_scale=SCALE,
                pool=pool,
            )
            n_answers = min(max(1, k), len(members))
            order = np.argsort(-expected, axis=1, kind="stable")[:, :n_answers]
            assert top.shape == probabilities.shape == (n_images, n_answers)
            np.testing.assert_array_equal(top, order)
            np.testing.assert_allclose(
                probabilities, np.take_along_axis(expected, order, axis=1), atol=2e-6
            )


def test_the_three_ways_differ_where_they_should() -> None:
    # Class 0 has the best text, class 1 two that are nearly as good and fill more of the sum.
    vectors = np.array([[1.0, 0.0]], dtype=np.float32)
    angles = np.array([0.3, 2.0, 0.31, -0.31])
    texts = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows, classes = np.arange(4), np.array([0, 0, 1, 1])

    def ask(pool: Pool) -> int:
        top, _ = find_top_pooled(vectors, texts, rows, classes, k=1, logit_scale=10, pool=pool)
        return int(top[0, 0])

    assert (ask(Pool.MAX), ask(Pool.SUM), ask(Pool.MEAN)) == (0, 1, 1)


def test_equal_classes_stand_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "_TEXTS_AT_ONCE", 2)
    texts = np.repeat(np.array([[1.0, 0.0]], dtype=np.float32), 5, axis=0)
    top, probabilities = find_top_pooled(
        texts[:1], texts, np.arange(5), np.arange(5), k=5, logit_scale=9, pool=Pool.MAX
    )
    assert top.tolist() == [[0, 1, 2, 3, 4]]
    np.testing.assert_allclose(probabilities, 0.2, atol=1e-7)


def test_texts_that_cancel_each_other_out_are_no_failure() -> None:
    texts = np.array([[1, 0], [-1, 0], [0, 1]], dtype=np.float32)
    top, probabilities = find_top_pooled(
        texts[2:], texts, np.arange(3), np.array([0, 0, 1]), k=2, logit_scale=1, pool=Pool.MEAN
    )
    assert top.tolist() == [[1, 0]]
    assert probabilities[0, 0] == pytest.approx(np.e / (np.e + 1), abs=1e-6)


def test_other_dims_are_refused() -> None:
    with pytest.raises(MismatchError, match="images have dim 8, text embeddings 4"):
        find_top_pooled(
            draw(1), draw(2, 4), np.arange(2), np.arange(2), k=1, logit_scale=1, pool=Pool.MAX
        )


def test_a_way_of_pooling_is_read_in_any_case() -> None:
    assert Pool.parse(" Max ") is Pool.MAX
    with pytest.raises(PromptError, match="expected one of max, mean, sum"):
        Pool.parse("median")
