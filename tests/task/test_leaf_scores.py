"""The scores of all lowest classes against a dense softmax in double precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, PromptError
from bioprobe.task import leaf_scores as engine
from bioprobe.task.leaf_scores import (
    Leaves,
    LeafScores,
    average_leaves,
    iter_leaf_scores,
    score_leaves,
    sum_up,
)
from bioprobe.task.scores import Pool

Doubles = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
SCALE = 100.0


@pytest.fixture(params=["plain", "scan", "small blocks"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way through the classes."""
    if request.param != "plain":
        monkeypatch.setattr(engine, "_FEW_SCORES", 0)
    if request.param == "small blocks":
        monkeypatch.setattr(engine, "_TEXTS_AT_ONCE", 20)
        monkeypatch.setattr(engine, "_IMAGES_AT_ONCE", 3)
        monkeypatch.setattr(engine, "_CLASSES_A_STRAND", 3)
        monkeypatch.setattr(engine, "_TEXTS_AGAIN", 7)
        monkeypatch.setattr(engine, "_ENTRIES_HELD", 10)
        monkeypatch.setattr(engine, "_FEW_ROWS", 4)
        monkeypatch.setattr(engine, "_ROWS_A_STRAND", 2)
        monkeypatch.setattr(engine, "_FEW_LINES", 2)
    return str(request.param)


@dataclasses.dataclass
class Tree:
    """Classes around the directions of their groups, some with several texts, out of order."""

    vectors: Vectors
    leaves: Leaves
    groups: npt.NDArray[np.int64]
    allowed: npt.NDArray[np.bool_]
    kinds: npt.NDArray[np.int64]


def draw(
    n_images: int = 7,
    n_classes: int = 90,
    *,
    most_texts: int = 4,
    n_lines: int = 0,
    dtype: type = np.float16,
    seed: int = 0,
    dim: int = 16,
) -> Tree:
    random = np.random.default_rng(seed)
    n_groups = max(1, n_classes // 5)
    groups = random.integers(-1, n_groups, n_classes)
    centres = random.normal(size=(n_groups + 1, dim))
    sizes = random.integers(1, most_texts + 1, n_classes)
    classes = np.repeat(np.arange(n_classes), sizes)
    texts = normalise_rows(
        (centres[groups[classes]] + random.normal(0, 0.4, (len(classes), dim))).astype(np.float32)
    ).astype(dtype)
    rows = random.permutation(len(classes))
    near = centres[random.integers(0, n_groups, n_images)] + random.normal(0, 0.4, (n_images, dim))
    vectors = normalise_rows(near.astype(np.float32))
    held = np.empty_like(texts)
    held[rows] = texts
    offsets = random.uniform(0, 4.6, (n_lines, len(classes))).astype(np.float32) if n_lines else None
    kinds = random.integers(0, max(1, n_lines), n_images)
    return Tree(
        vectors, Leaves(held, rows, classes, offsets), groups, random.random(n_classes) < 0.4, kinds
    )


def find_densely(tree: Tree, scale: float = SCALE, pool: Pool = Pool.SUM) -> Doubles:
    """Return the probability of each class, in the plainest way."""
    leaves = tree.leaves
    texts = leaves.texts[leaves.rows].astype(np.float64)
    logits = scale * tree.vectors.astype(np.float64) @ texts.T
    if leaves.offsets is not None:
        logits -= np.atleast_2d(leaves.offsets)[tree.kinds]
    weights = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-1e9))
    join = np.max if pool is Pool.MAX else np.sum
    by_class = np.stack(
        [join(weights[:, leaves.classes == c], axis=1) for c in range(leaves.n_classes)], axis=1
    )
    return np.asarray(by_class / by_class.sum(axis=1, keepdims=True))


def check(found: LeafScores, tree: Tree, dense: Doubles, k: int) -> None:
    groups, allowed = tree.groups, tree.allowed
    sums = np.stack([dense[:, groups == g].sum(axis=1) for g in range(groups.max() + 1)], axis=1)
    np.testing.assert_allclose(found.sums, sums, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found.share_outside, dense[:, ~allowed].sum(axis=1), rtol=1e-5)
    inside = np.flatnonzero(allowed)
    for columns, top, probabilities in (
        (np.arange(dense.shape[1]), found.top, found.top_probabilities),
        (inside, found.allowed_top, found.allowed_probabilities),
    ):
        best = columns[np.argsort(-dense[:, columns], axis=1, kind="stable")[:, :k]]
        np.testing.assert_array_equal(top, best)
        expected = np.take_along_axis(dense, best, axis=1)
        np.testing.assert_allclose(probabilities, expected, rtol=1e-5, atol=1e-6)
        assert probabilities.dtype == np.float32


@pytest.mark.parametrize("pool", [Pool.SUM, Pool.MAX])
@pytest.mark.parametrize("most_texts", [1, 4, 70])
@pytest.mark.parametrize("n_lines", [0, 1, 4])
def test_trees_with_holes_texts_and_offsets(
    way: str, n_lines: int, most_texts: int, pool: Pool
) -> None:
    for seed, k in enumerate((1, 5, 100)):
        tree = draw(most_texts=most_texts, n_lines=n_lines, seed=seed)
        scale = 20.0 if most_texts > 64 else SCALE
        found = score_leaves(
            tree.vectors, tree.leaves, k=k, logit_scale=scale, groups=tree.groups,
            allowed=tree.allowed, kinds=tree.kinds if n_lines > 1 else None, pool=pool,
        )  # fmt: skip
        check(found, tree, find_densely(tree, scale, pool), k)
