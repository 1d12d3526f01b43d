"""The scores of all lowest classes against a dense softmax in double precision."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, PromptError
from bioprobe.task import leaf_plan, leaf_rescoring, leaf_scan, scores
from bioprobe.task import leaf_scores as engine
from bioprobe.task.leaf_scores import iter_leaf_scores, score_leaves
from bioprobe.task.leaves import LeafScores, Leaves
from bioprobe.task.scores import sum_columns, sum_up
from bioprobe.task.text_pooling import Pool
from tests.on_gpu import on_gpu

Doubles = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
SCALE = 100.0


@pytest.fixture(params=["plain", "scan", "small blocks", "shared texts", "GPU"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Take each way through the classes."""
    monkeypatch.setattr(engine, "_PLAINLY_AT_ONCE", 200)
    monkeypatch.setattr(engine, "_FEWEST_IMAGES", 1)
    if request.param != "plain":
        monkeypatch.setattr(engine, "_FEW_SCORES", -1)
    if request.param in {"small blocks", "shared texts", "GPU"}:
        monkeypatch.setattr(leaf_plan, "_TEXTS_AT_ONCE", 20)
        monkeypatch.setattr(engine, "_IMAGES_AT_ONCE", 99 if request.param == "shared texts" else 3)
        monkeypatch.setattr(leaf_plan, "_STRANDS_A_BLOCK", 7)
        monkeypatch.setattr(leaf_rescoring, "_TEXTS_AGAIN", 7)
        monkeypatch.setattr(leaf_rescoring, "_ENTRIES_HELD", 10)
        monkeypatch.setattr(scores, "_FEW_ROWS", 4)
        monkeypatch.setattr(scores, "_ROWS_A_STRAND", 2)
        monkeypatch.setattr(scores, "_FEW_SCORES", 0)
        monkeypatch.setattr(leaf_scan, "_FEW_LINES", 2)
        monkeypatch.setattr(leaf_rescoring, "_DOTS_AT_ONCE", 3)
    # Some of the texts stay there.
    monkeypatch.setattr(leaf_scan, "_NUMBERS_KEPT_THERE", 1000)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    with on_gpu(monkeypatch) if request.param == "GPU" else contextlib.nullcontext():
        yield str(request.param)
    torch.set_num_threads(n_threads)


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
    texts: npt.NDArray[Any] = normalise_rows(
        (centres[groups[classes]] + random.normal(0, 0.4, (len(classes), dim))).astype(np.float32)
    ).astype(dtype)
    rows = random.permutation(len(classes))
    near = centres[random.integers(0, n_groups, n_images)] + random.normal(0, 0.4, (n_images, dim))
    vectors = normalise_rows(near.astype(np.float32))
    held = np.empty_like(texts)
    held[rows] = texts
    offsets = (
        random.uniform(0, 4.6, (n_lines, len(classes))).astype(np.float32) if n_lines else None
    )
    kinds = random.integers(0, max(1, n_lines), n_images)
    return Tree(
        vectors,
        Leaves(held, rows, classes, offsets if n_lines else None),
        groups,
        random.random(n_classes) < 0.4,
        kinds,
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
    np.testing.assert_allclose(found.sums, sums, rtol=3e-5, atol=1e-12)
    np.testing.assert_allclose(found.share_outside, dense[:, ~allowed].sum(axis=1), rtol=3e-5)
    inside = np.flatnonzero(allowed)
    for columns, top, probabilities in (
        (np.arange(dense.shape[1]), found.top, found.top_probabilities),
        (inside, found.allowed_top, found.allowed_probabilities),
    ):
        best = columns[np.argsort(-dense[:, columns], axis=1, kind="stable")[:, :k]]
        np.testing.assert_array_equal(top, best)
        expected = np.take_along_axis(dense, best, axis=1)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)
        assert probabilities.dtype == np.float32


@pytest.mark.parametrize(
    ("most_texts", "n_lines", "pool"),
    [
        (1, 0, Pool.SUM), (1, 4, Pool.SUM), (4, 1, Pool.SUM), (4, 4, Pool.MAX),
        (70, 0, Pool.MAX), (70, 4, Pool.SUM),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("way")
def test_trees_with_holes_texts_and_offsets(most_texts: int, n_lines: int, pool: Pool) -> None:
    n_classes, scale = (20, 20.0) if most_texts > 64 else (60, SCALE)
    for seed, k in enumerate((1, 5, 100)):
        tree = draw(4, n_classes, most_texts=most_texts, n_lines=n_lines, seed=seed)
        found = score_leaves(
            tree.vectors, tree.leaves, k=k, logit_scale=scale, groups=tree.groups,
            allowed=tree.allowed, kinds=tree.kinds if n_lines > 1 else None, pool=pool,
        )  # fmt: skip
        check(found, tree, find_densely(tree, scale, pool), k)


def test_tops_and_sums_of_higher_ranks(way: str) -> None:
    tree = draw(20, seed=5)
    n_groups = int(tree.groups.max()) + 1
    random = np.random.default_rng(1)
    families = random.integers(-1, 6, n_groups)
    # A hole below which the order is known again.
    parents = [np.arange(n_groups), families, np.where(families < 0, 1, families // 3)]
    ask = partial(
        iter_leaf_scores, tree.vectors, tree.leaves, k=4, logit_scale=SCALE, groups=tree.groups
    )
    found = score_leaves(*ask.args, **ask.keywords)
    dense = find_densely(tree)
    sums = np.stack([dense[:, tree.groups == g].sum(axis=1) for g in range(n_groups)], axis=1)
    for parent, (top, values) in zip(parents, sum_up(found.sums, parents, 4), strict=True):
        expected = np.stack(
            [sums[:, parent == p].sum(axis=1) for p in range(parent.max() + 1)], axis=1
        )
        best = np.argsort(-expected, axis=1, kind="stable")[:, :4]
        likely = np.take_along_axis(expected, best, axis=1)
        assert top.shape == best.shape
        np.testing.assert_allclose(values, likely, rtol=3e-5, atol=1e-12)
        assert (top == best)[likely > 1e-12].all()
    parts = list(ask())
    np.testing.assert_array_equal(np.concatenate([part.top for part in parts]), found.top)
    assert len(parts) > 1 or way == "scan"
    assert sum_up(found.sums, (), 4) == []


@pytest.mark.parametrize(
    ("n_images", "n_classes"), [(0, 41), (1, 1), (2, 2), (3, 19), (4, 20), (7, 21), (1, 41)]
)
@pytest.mark.usefixtures("way")
def test_sizes(n_images: int, n_classes: int) -> None:
    tree = draw(n_images, n_classes, most_texts=1, dtype=np.float32)
    found = score_leaves(tree.vectors, tree.leaves, k=3, logit_scale=SCALE)
    dense = find_densely(tree)
    best = np.argsort(-dense, axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(found.top, best)
    np.testing.assert_array_equal(found.allowed_top, best)
    np.testing.assert_allclose(
        found.top_probabilities, np.take_along_axis(dense, best, axis=1), rtol=0, atol=1e-6
    )
    assert found.sums.shape == (n_images, 0)
    assert found.share_outside.tolist() == [0.0] * n_images


@pytest.mark.usefixtures("way")
def test_equal_classes_stand_in_their_order_wherever_they_are() -> None:
    tree = draw(3, 60, most_texts=1)
    texts = np.array(tree.leaves.texts)
    texts[[3, 50, 8, 27, 41, 19, 33, 55]] = tree.vectors[0].astype(np.float16)
    for k in (1, 3, 8, 9):
        groups = np.arange(60)[::-1] // 7
        found = score_leaves(tree.vectors, Leaves.of(texts), k=k, logit_scale=50, groups=groups)
        assert found.top[0, :8].tolist() == [3, 8, 19, 27, 33, 41, 50, 55][:k]
    alike = np.ones((50, 1), dtype=np.float32)
    found = score_leaves(alike[:4], Leaves.of(alike), k=20, logit_scale=5)
    assert (found.top == np.arange(20)).all()
    np.testing.assert_allclose(found.top_probabilities, 0.02, rtol=1e-6)


@pytest.mark.parametrize("logit_scale", [1e-3, 1.0, 1e4])
@pytest.mark.usefixtures("way")
def test_any_scale(logit_scale: float) -> None:
    tree = draw(8, most_texts=3, dim=4, seed=3)
    tree.vectors[0] *= -1
    with np.errstate(over="raise", invalid="raise"):
        found = score_leaves(tree.vectors, tree.leaves, k=2, logit_scale=logit_scale)
    dense = find_densely(tree, logit_scale)
    best = np.argsort(-dense, axis=1, kind="stable")[:, :1]
    np.testing.assert_array_equal(found.top[:, :1], best)
    np.testing.assert_allclose(
        found.top_probabilities[:, :1], np.take_along_axis(dense, best, axis=1), rtol=1e-3
    )


@pytest.mark.usefixtures("way")
def test_one_image_far_above_the_texts_that_were_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only the first text is sampled, and the last is the image: 200 apart is too much for float32.
    monkeypatch.setattr(leaf_scan, "_SAMPLED_TEXTS", 1)
    texts = np.zeros((40, 2), dtype=np.float32)
    texts[:, 0], texts[39, 0] = -1, 1
    found = score_leaves(texts[38:], Leaves.of(texts), k=1, logit_scale=SCALE)
    assert found.top.tolist() == [[0], [39]]
    expected = np.array([[1 / 39], [1]])
    np.testing.assert_allclose(found.top_probabilities, expected, rtol=1e-6)


@pytest.mark.usefixtures("way")
def test_an_infinite_offset_leaves_nothing() -> None:
    tree = draw(6, 40, n_lines=3, seed=2)
    assert tree.leaves.offsets is not None
    tree.leaves.offsets[1, tree.leaves.classes == 4] = np.inf
    found = score_leaves(
        tree.vectors, tree.leaves, k=40, logit_scale=SCALE, groups=np.arange(40), kinds=tree.kinds
    )
    np.testing.assert_allclose(found.sums, find_densely(tree), rtol=3e-5, atol=1e-12)
    assert (found.sums[tree.kinds == 1, 4] < 1e-30).all()
    assert (found.top[tree.kinds == 1, -1] == 4).all()


def test_a_mapped_head_of_many_classes(tmp_path: Path) -> None:
    # Each of what is decided by size is on its usual side here.
    tree = draw(40, 30_000, most_texts=1, dim=8, seed=4)
    np.save(tmp_path / "head.npy", tree.leaves.texts)
    head = np.load(tmp_path / "head.npy", mmap_mode="r")
    leaves = dataclasses.replace(tree.leaves, texts=head)
    found = score_leaves(
        tree.vectors, leaves, k=5, logit_scale=SCALE, groups=tree.groups, allowed=tree.allowed
    )
    texts = head[leaves.rows].astype(np.float64)
    logits = SCALE * tree.vectors.astype(np.float64) @ texts.T
    dense = np.exp(logits - logits.max(axis=1, keepdims=True))
    dense /= dense.sum(axis=1, keepdims=True)
    best = np.argsort(-dense, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.top, best)
    np.testing.assert_allclose(
        found.top_probabilities, np.take_along_axis(dense, best, axis=1), rtol=0, atol=1e-6
    )
    sums = sum_columns(dense, tree.groups, int(tree.groups.max()) + 1)
    np.testing.assert_allclose(found.sums, sums, rtol=3e-5, atol=1e-12)
    outside = dense[:, ~tree.allowed].sum(axis=1)
    np.testing.assert_allclose(found.share_outside, outside, rtol=3e-5)


def test_the_threads_of_torch_are_as_many_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_FEW_SCORES", -1)
    tree, before = draw(5, most_texts=1), torch.get_num_threads()
    score_leaves(tree.vectors, tree.leaves, k=1, logit_scale=SCALE)
    assert torch.get_num_threads() == before


def test_other_dims_and_means_are_refused() -> None:
    tree = draw()
    with pytest.raises(MismatchError, match="images have dim 8, class embeddings 16"):
        score_leaves(tree.vectors[:, :8], tree.leaves, k=1, logit_scale=1.0)
    with pytest.raises(PromptError, match="make the means the texts"):
        score_leaves(tree.vectors, tree.leaves, k=1, logit_scale=1.0, pool=Pool.MEAN)
