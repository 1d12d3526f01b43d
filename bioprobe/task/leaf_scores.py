"""The scores of all lowest classes, seen once: the best, the sums up the tree, what is allowed."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MismatchError
from bioprobe.task.scores import find_top, split_rows
from bioprobe.types import Mask, Places, Rows, Scores, Vectors


@dataclasses.dataclass(frozen=True, eq=False)
class Leaves:
    """The lowest classes of a question, by what stands for each.

    Parameters
    ----------
    texts : ndarray of float32 or float16, shape (n_rows, dim), unit rows
        May be memory-mapped.
    rows : ndarray of int64, shape (n_texts,)
        Rows of ``texts`` that take part, those of one class one after the other.
    classes : ndarray of int64, shape (n_texts,)
        Class of each of these rows, ascending from 0; every class has one at least.
    offsets : ndarray of float32, shape (n_texts,) or (n_priors, n_texts), optional
        Subtracted from the logits of these rows: the same for all images, or one line for each
        kind of image, such as those of one site.
    """

    texts: npt.NDArray[np.floating]
    rows: Rows
    classes: Rows
    offsets: Scores | None = None

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(self.classes[-1]) + 1 if len(self.classes) else 0


@dataclasses.dataclass(frozen=True, eq=False)
class LeafScores:
    """What was kept of the scores of some images.

    Parameters
    ----------
    top : ndarray of int64, shape (n_images, min(k, n_classes))
        Best classes, best first; equal ones in the order of the classes.
    top_probabilities : ndarray of float32, of the same shape
        Softmax over all texts, summed by class; exact, whether or not a class is allowed.
    sums : ndarray of float32, shape (n_images, n_groups)
        Summed probability of each group; those of classes without a group are in none.
    allowed_top : ndarray of int64, shape (n_images, min(k, n_allowed))
        Best of the allowed classes.
    allowed_probabilities : ndarray of float32, of the same shape
        As ``top_probabilities``: not made to add up to 1 among what is allowed.
    share_outside : ndarray of float32, shape (n_images,)
        Summed probability of the classes that are not allowed.
    """

    top: Places
    top_probabilities: Scores
    sums: Scores
    allowed_top: Places
    allowed_probabilities: Scores
    share_outside: Scores


def score_leaves(
    vectors: Vectors,
    leaves: Leaves,
    *,
    k: int,
    logit_scale: float,
    groups: Places | None = None,
    allowed: Mask | None = None,
    kinds: Places | None = None,
) -> LeafScores:
    """Score every class for every image, in bounded memory, and keep what is asked.

    Sums at any rank follow from those of the finest groups: give each class its parent's number,
    and add the columns of parents up.

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

    Raises
    ------
    MismatchError
        If the two have different dims.

    Examples
    --------
    >>> leaves = Leaves(np.eye(2, dtype=np.float32), np.arange(2), np.arange(2))
    >>> asked = np.array([[0.0, 1.0]], dtype=np.float32)
    >>> found = score_leaves(asked, leaves, k=1, logit_scale=1.0, allowed=np.array([True, False]))
    >>> found.top.tolist(), found.allowed_top.tolist(), found.share_outside.round(3).tolist()
    ([[1]], [[0]], [0.7310000061988831])
    """
    if vectors.shape[1] != leaves.texts.shape[1]:
        msg = f"images have dim {vectors.shape[1]}, text embeddings {leaves.texts.shape[1]}"
        raise MismatchError(msg)
    allowed = np.ones(leaves.n_classes, dtype=bool) if allowed is None else allowed
    groups = np.full(leaves.n_classes, -1) if groups is None else groups
    kinds = np.zeros(len(vectors), dtype=np.int64) if kinds is None else kinds
    texts = np.asarray(leaves.texts[leaves.rows], dtype=np.float32)
    starts = np.unique(leaves.classes, return_index=True)[1]
    inside = np.flatnonzero(allowed)
    n_groups = int(groups.max(initial=-1)) + 1
    parts = []
    # Once for no image too, which gives empty answers of the right shape.
    for part in split_rows(len(vectors), len(texts)) if len(vectors) else (slice(0, 0),):
        logits = logit_scale * (vectors[part] @ texts.T)
        if leaves.offsets is not None:
            logits -= np.atleast_2d(leaves.offsets)[kinds[part]]
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True, dtype=np.float64)
        shares = np.add.reduceat(weights, starts, axis=1)
        sums = np.zeros((len(shares), n_groups), dtype=np.float32)
        for group in range(n_groups):
            sums[:, group] = shares[:, groups == group].sum(axis=1)
        best, values = find_top(shares[:, inside], k)
        outside = shares[:, ~allowed].sum(axis=1)
        parts.append((*find_top(shares, k), sums, inside[best], values, outside))
    return LeafScores(*(np.concatenate(one) for one in zip(*parts, strict=True)))
