"""The scores of all lowest classes, seen once: the best, the sums up the tree, what is allowed.

Few are made at once in double precision. Of many, a first pass in single precision finds what may
be among the best (:mod:`bioprobe.task.leaf_scan`), and a second scores that again exactly
(:mod:`bioprobe.task.leaf_rescoring`). Threads have images by themselves; of few images, which meet
all texts at once, each has some of the texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.cores import keep_torch_threads, map_alone
from bioprobe.devices import find_gpu, multiplying
from bioprobe.errors import MismatchError, PromptError
from bioprobe.task.leaf_plan import Plan
from bioprobe.task.leaf_rescoring import rescore
from bioprobe.task.leaf_scan import Scan
from bioprobe.task.leaves import LeafQuestion, LeafScores, Leaves
from bioprobe.task.scores import find_top, sum_columns
from bioprobe.task.text_pooling import Pool
from bioprobe.types import Doubles, Mask, Places, Rows, Scores, Vectors

if TYPE_CHECKING:
    import torch

# So few scores are made by plain numpy before torch is loaded, with all texts at once.
_FEW_SCORES, _FEW_TEXTS = 16_000_000, 20_000
# Scores that are made at once, 2 MB in double precision, but of so many images at least. From so
# many parts, threads are worth their beginning.
_PLAINLY_AT_ONCE, _FEWEST_IMAGES, _MANY_PARTS = 250_000, 64, 4
# Of so many images a product with a block of texts is as fast as it gets.
_IMAGES_AT_ONCE = 1024
# Numbers that all threads together hold of their images, as the sums of all groups: 512 MB. A GPU
# wants more images at once than the share of one of many threads, and has few threads: 2 GB there,
# and as many here.
_NUMBERS_HELD, _NUMBERS_HELD_THERE, _THREADS_THERE = 1 << 27, 1 << 29, 4


def score_leaves(
    vectors: Vectors,
    leaves: Leaves,
    *,
    k: int,
    logit_scale: float,
    groups: Places | None = None,
    allowed: Mask | None = None,
    kinds: Places | None = None,
    pool: Pool = Pool.SUM,
) -> LeafScores:
    """Score every class for every image, in bounded memory, and keep what is asked.

    Sums at any rank follow from those of the finest groups, by
    :func:`bioprobe.task.scores.sum_up`. These are held for all images: of many images and groups,
    take :func:`iter_leaf_scores`.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    leaves : Leaves
    k : int
        Answers, ≥ 1.
    logit_scale : float
        Factor from cosine similarity to logits.
    groups : ndarray of int64, shape (n_classes,), optional
        Group of each class, -1 for none.
    allowed : ndarray of bool, shape (n_classes,), optional
        Which classes may be answered; by default all.
    kinds : ndarray of int64, shape (n_images,), optional
        Line of the offsets that each image takes, where these have several.
    pool : Pool
        ``sum`` adds the probabilities of the texts of a class, ``max`` takes its best text, and
        softmax is then over the classes. A mean of texts is a text, and no way to pool scores.

    Raises
    ------
    MismatchError
        If the two have different dims.
    PromptError
        If the mean of texts is asked.

    Examples
    --------
    >>> leaves = Leaves(np.eye(2, dtype=np.float32), np.arange(2), np.arange(2))
    >>> asked = np.array([[0.0, 1.0]], dtype=np.float32)
    >>> found = score_leaves(asked, leaves, k=1, logit_scale=1.0, allowed=np.array([True, False]))
    >>> found.top.tolist(), found.allowed_top.tolist(), found.share_outside.round(3).tolist()
    ([[1]], [[0]], [0.7310000061988831])
    """
    parts = list(
        iter_leaf_scores(
            vectors, leaves, k=k, logit_scale=logit_scale, groups=groups, allowed=allowed,
            kinds=kinds, pool=pool,
        )
    )  # fmt: skip
    if len(parts) == 1:
        return parts[0]
    names = ("top", "top_probabilities", "allowed_top", "allowed_probabilities", "share_outside")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    # By groups, as they are made: to turn them round would take longer than to add them up.
    sums = np.concatenate([part.sums.T for part in parts], axis=1).T
    return LeafScores(sums=sums, **joined)


def iter_leaf_scores(
    vectors: Vectors,
    leaves: Leaves,
    *,
    k: int,
    logit_scale: float,
    groups: Places | None = None,
    allowed: Mask | None = None,
    kinds: Places | None = None,
    pool: Pool = Pool.SUM,
) -> Iterator[LeafScores]:
    """Score every class as :func:`score_leaves` does, some images at a time.

    So the sums of 80,000 genera, 320 kB an image, need not be held of all images.

    Yields
    ------
    LeafScores
        Of the next images, some hundreds where there are many classes; of no image once.
    """
    if vectors.shape[1] != leaves.texts.shape[1]:
        msg = f"images have dim {vectors.shape[1]}, class embeddings {leaves.texts.shape[1]}"
        raise MismatchError(msg)
    if pool is Pool.MEAN:
        msg = "a mean of texts is no pool of their scores; make the means the texts"
        raise PromptError(msg)
    if kinds is None:
        kinds = np.zeros(len(vectors), dtype=np.int64)
    asked = LeafQuestion(leaves, k, logit_scale, pool, groups, allowed)
    n_texts = len(leaves.rows)
    if not len(vectors):
        yield _answer_none(asked)
        return
    device = find_gpu(float(n_texts) * vectors.shape[1], len(vectors))
    if device is None and n_texts <= _FEW_TEXTS and len(vectors) * n_texts <= _FEW_SCORES:
        yield from _score_few(vectors, kinds, asked)
    else:
        yield from _scan(vectors, kinds, asked, device)


def _answer_none(asked: LeafQuestion) -> LeafScores:
    """Return empty answers of the right shape."""

    def answer(n_classes: int) -> tuple[Places, Scores]:
        shape = 0, min(asked.k, n_classes)
        return np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)

    sums = np.zeros((0, asked.n_groups), dtype=np.float32)
    return LeafScores(
        *answer(asked.leaves.n_classes),
        sums,
        *answer(int(asked.allowed.sum())),
        sums.sum(axis=1),
    )


def _score_few(vectors: Vectors, kinds: Places, asked: LeafQuestion) -> Iterator[LeafScores]:
    """Score images some at a time, without torch.

    Yields
    ------
    LeafScores
        Of the next images.
    """
    texts = np.asarray(asked.leaves.texts[asked.leaves.rows], dtype=np.float64)
    size = max(_FEWEST_IMAGES, _PLAINLY_AT_ONCE // max(1, len(texts)))
    parts = [slice(start, start + size) for start in range(0, len(vectors), size)]
    at_once = map if len(parts) < _MANY_PARTS else map_alone
    yield from at_once(lambda part: _score_plainly(vectors[part], texts, kinds[part], asked), parts)


def _score_plainly(
    vectors: Vectors, texts: Doubles, kinds: Places, asked: LeafQuestion
) -> LeafScores:
    """Score all classes at once, in double precision."""
    cosines = vectors.astype(np.float64) @ texts.T
    logits = asked.find_logits(cosines, slice(None), kinds)
    scores = asked.pool_exactly(logits, asked.starts[:-1])
    # Rounding a gap moves its weight by 3e-8 at most: where gaps are large, weights are small.
    gaps = (scores - scores.max(axis=1, keepdims=True, initial=-np.inf)).astype(np.float32)
    weights = np.exp(gaps).astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    sums = sum_columns(weights, asked.groups, asked.n_groups)

    def take(columns: Rows | None) -> tuple[Places, Scores]:
        # Ordered by what is not rounded yet. Indexing by columns would lay them out by columns.
        top = find_top(scores if columns is None else scores.take(columns, axis=1), asked.k)[0]
        top = top if columns is None else columns[top]
        return top, np.take_along_axis(weights, top, axis=1).astype(np.float32)

    outside = weights[:, ~asked.allowed].sum(axis=1)
    best = take(None)
    return LeafScores(
        *best,
        sums,
        *(best if asked.allowed.all() else take(np.flatnonzero(asked.allowed))),
        outside.astype(np.float32),
    )


def _scan(
    vectors: Vectors, kinds: Places, asked: LeafQuestion, device: torch.device | None
) -> Iterator[LeafScores]:
    """Score images in two passes, in as many threads as torch has, or in a few on a GPU.

    Yields
    ------
    LeafScores
        Of the next images.
    """
    import torch

    with keep_torch_threads() as n_threads:
        plan, n_images = Plan(asked, device), len(vectors)
        scan, n_held, n_scans = Scan(plan, device), _NUMBERS_HELD, n_threads
        if device is not None:
            n_held, n_scans = _NUMBERS_HELD_THERE, min(n_threads, _THREADS_THERE)
        held = n_held // plan.n_held
        size = max(1, min(_IMAGES_AT_ONCE, held // n_scans, -(-n_images // n_scans)))
        parts = [slice(start, start + size) for start in range(0, n_images, size)]
        at_once = partial(map_alone, n_threads=n_scans, begin=partial(torch.set_num_threads, 1))
        # What threads found together is copied for each, image by image.
        is_shared = n_scans > 1 and device is None and n_images <= min(_IMAGES_AT_ONCE, held // 2)

        def score(part: slice) -> LeafScores:
            found = scan.weigh(vectors[part], kinds[part]) if shared is None else shared.take(part)
            return rescore(plan, vectors[part], kinds[part], found)

        with multiplying(device):
            shared = None
            if is_shared:
                shared = scan.weigh(vectors, kinds, at_once, plan.split(n_scans))
            yield from at_once(score, parts)
