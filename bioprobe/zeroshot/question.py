"""One way of answering: which of many classes, each with its texts, an image is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from bioprobe.errors import MismatchError, PromptError
from bioprobe.store.view import View
from bioprobe.task.decisions import Decisions, back_off_sums
from bioprobe.task.leaf_scores import LeafScores, Leaves, score_leaves
from bioprobe.task.predictions import Predictions
from bioprobe.task.scores import find_top, split_rows, sum_columns
from bioprobe.task.target import Classes
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import Taxonomy
from bioprobe.types import Mask, Places, Rows, Scores, Vectors

# Sums of groups that are held at once: 16 million of them are 64 MB.
_SUMS_AT_ONCE = 16_000_000
# Best classes that are looked at for the first that meets a condition.
_LOOKED_AT = 16


class Prior(Protocol):
    """What is known of classes before an image is looked at, such as by place and season."""

    def log_weights(self, taxa: Taxonomy, view: View) -> tuple[Scores, Places]:
        """Return the logarithm of the weight of each class, for each kind of image.

        Parameters
        ----------
        taxa : Taxonomy
            The lowest classes.
        view : View
            The images.

        Returns
        -------
        lines : ndarray of float32, shape (n_kinds, n_classes)
        kinds : ndarray of int64, shape (n_images,)
            Line of each image.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """The lowest classes of a question with what stands for each, however that was made.

    Parameters
    ----------
    tree : Tree
        The classes, down to the rank that is asked for.
    leaves : Leaves
        What stands for each of the lowest ones, in their order.
    logit_scale : float
        Factor from cosine similarity to logits.
    options : mapping
        What the answers come from, JSON-ready.
    by_best : bool
        Whether the score of a class is that of its best text; by default their probabilities add
        up.
    kinds : ndarray of int64, shape (n_images,), optional
        Line of the offsets that each image takes, where these have several.
    """

    tree: Tree
    leaves: Leaves
    logit_scale: float
    options: Mapping[str, Any]
    by_best: bool = False
    kinds: Places | None = None

    @property
    def n_leaves(self) -> int:
        """How many lowest classes have a name at the rank."""
        return int((self.tree.place_of >= 0).sum())

    def with_options(self, **options: object) -> Question:
        """Return the same question with more of what its answers depend on."""
        return dataclasses.replace(self, options={**self.options, **options})

    def with_prior(self, prior: Prior | None, view: View) -> Question:
        """Return the same question, in which classes count by what is known before.

        Parameters
        ----------
        prior : Prior or None
        view : View
            The images that will be asked.
        """
        if prior is None:
            return self
        lines, kinds = prior.log_weights(self.tree.taxa, view)
        offsets = -lines[:, self.leaves.classes]
        if self.leaves.offsets is not None:
            offsets = offsets + self.leaves.offsets
        leaves = dataclasses.replace(self.leaves, offsets=offsets.astype(np.float32))
        return dataclasses.replace(self, leaves=leaves, kinds=kinds)

    @cached_property
    def summed_leaves(self) -> Leaves:
        """The classes of the rank, each with the texts of all lowest ones below it.

        Lowest classes without a name at the rank take no part.
        """
        leaves, of_text = self.leaves, self.tree.place_of[self.leaves.classes]
        if len(of_text) and (np.diff(of_text) >= 0).all() and of_text[0] >= 0:
            return dataclasses.replace(leaves, classes=of_text)
        order = np.argsort(of_text, kind="stable")
        order = order[of_text[order] >= 0]
        offsets = leaves.offsets
        return Leaves(
            leaves.texts, leaves.rows[order], of_text[order],
            None if offsets is None else offsets[..., order],
        )  # fmt: skip

    def score(
        self,
        vectors: Vectors,
        leaves: Leaves,
        *,
        k: int,
        kinds: Places | None = None,
        groups: Places | None = None,
        allowed: Mask | None = None,
    ) -> LeafScores:
        """Score classes as :func:`bioprobe.task.leaf_scores.score_leaves` does.

        Raises
        ------
        MismatchError
            If images and texts have different dims.
        """
        if vectors.shape[1] != leaves.texts.shape[1]:
            msg = f"images have dim {vectors.shape[1]}, class embeddings {leaves.texts.shape[1]}"
            raise MismatchError(msg)
        ask = score_by_best if self.by_best else score_leaves
        return ask(
            vectors, leaves, k=k, logit_scale=self.logit_scale, groups=groups, allowed=allowed,
            kinds=kinds,
        )  # fmt: skip


def answer_at_rank(view: View, question: Question, k: int) -> Predictions:
    """Answer each image with the best classes of the rank that is asked for.

    Parameters
    ----------
    view : View
        Whose vectors are asked.
    question : Question
    k : int
        Answers an image, ≥ 1; no more than there are classes.

    Returns
    -------
    Predictions
        Scores are probabilities: the softmax over all texts, summed by class.

    Raises
    ------
    PromptError
        If no class has a name at the rank.
    """
    tree = question.tree
    if not len(tree.classes):
        msg = f"no taxon has a name at {tree.rank}; give a taxon list, or another rank"
        raise PromptError(msg)
    found = [
        question.score(vectors, question.summed_leaves, k=k, kinds=kinds)
        for _, vectors, kinds in _iter_parts(view, question)
    ]
    return Predictions(
        view.images, view.rows, Classes.of(tree.classes, tree.rank),
        np.concatenate([one.top for one in found]),
        np.concatenate([one.top_probabilities for one in found]), view.describe(question.options),
    )  # fmt: skip


def answer_deepest(view: View, question: Question, threshold: float) -> Decisions:
    """Answer each image at the deepest rank whose summed probability passes a threshold.

    Parameters
    ----------
    view : View
        Whose vectors are asked.
    question : Question
        Its rank is the deepest of an answer.
    threshold : float
        In (0, 1]; SpeciesNet's is 0.65.

    Raises
    ------
    PromptError
        If the threshold is out of range.

    References
    ----------
    SpeciesNet, ``geofence_utils.roll_up_labels_to_first_matching_level``: sums of scores per
    ancestor, and the lowest rank whose best sum passes.
    """
    if not 0 < threshold <= 1:
        msg = f"the threshold is a probability, above 0 and at most 1; got {threshold:g}"
        raise PromptError(msg)
    tree = question.tree
    answers = []
    for _, vectors, kinds in _iter_parts(view, question, tree.n_groups):
        best, scores, sums = score_ranks(question, vectors, kinds)
        answers.append(back_off_sums(best, scores, sums, tree.places, threshold))
    best, scores, depths = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    return Decisions(
        view.images, view.rows, tree.levels, best, scores, depths, threshold,
        view.describe(question.options),
    )  # fmt: skip


def score_ranks(
    question: Question, vectors: Vectors, kinds: Places | None
) -> tuple[Places, Scores, list[Scores]]:
    """Sum the probabilities of the lowest classes up the tree.

    Returns
    -------
    best : ndarray of int64, shape (n_images, n_ranks)
        Best class at each rank, -1 where there is none.
    scores : ndarray of float32, of the same shape
        Not a number where there is none.
    sums : list of ndarray of float32, each of shape (n_images, n_classes)
        As :meth:`bioprobe.task.tree.Tree.sum_up` returns them.
    """
    tree = question.tree
    found = question.score(
        vectors, question.leaves, k=_LOOKED_AT, kinds=kinds, groups=tree.groups
    )  # fmt: skip
    sums = tree.sum_up(found.sums)
    best = np.full((len(vectors), len(tree.levels)), -1, dtype=np.int64)
    scores = np.full(best.shape, np.nan, dtype=np.float32)
    for depth, total in enumerate(sums):
        if total.shape[1]:
            top, values = find_top(total, 1)
            best[:, depth], scores[:, depth] = top[:, 0], values[:, 0]
    if tree.has_singles and len(tree.classes):
        leaf, values = find_first(question, vectors, kinds, found, tree.place_of >= 0)
        best[:, -1], scores[:, -1] = tree.place_of[leaf], values
    return best, scores, sums


def find_first(
    question: Question, vectors: Vectors, kinds: Places | None, found: LeafScores, wanted: Mask
) -> tuple[Places, Scores]:
    """Return the best of some lowest classes for each image, and its probability.

    Parameters
    ----------
    question : Question
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    kinds : ndarray of int64, shape (n_images,), optional
    found : LeafScores
        Whose best classes are looked at first; the others are asked for where none of them is
        wanted.
    wanted : ndarray of bool, shape (n_leaves,)
        One at least.
    """
    hits = wanted[found.top]
    at = hits.argmax(axis=1)[:, np.newaxis]
    leaf = np.take_along_axis(found.top, at, axis=1)[:, 0]
    values = np.take_along_axis(found.top_probabilities, at, axis=1)[:, 0].copy()
    none = np.flatnonzero(~hits.any(axis=1))
    if none.size:
        again = question.score(
            vectors[none], question.leaves, k=1, allowed=wanted,
            kinds=None if kinds is None else kinds[none],
        )  # fmt: skip
        leaf[none], values[none] = again.allowed_top[:, 0], again.allowed_probabilities[:, 0]
    return leaf, values


def _iter_parts(
    view: View, question: Question, n_groups: int = 0
) -> Iterator[tuple[Rows, Vectors, Places | None]]:
    """Read the images some at a time, as many as have few enough sums of groups.

    Yields
    ------
    places : ndarray of int64, shape (n,)
        Of these images in the view.
    vectors : ndarray of float32, shape (n, dim), unit rows
    kinds : ndarray of int64, shape (n,), or None
    """
    start = 0
    step = max(1, _SUMS_AT_ONCE // max(1, n_groups))
    for vectors in view.iter_vectors():
        # Once for no image too, which gives empty answers of the right shape.
        for begin in range(0, max(1, len(vectors)), step):
            part = vectors[begin : begin + step]
            places = np.arange(start, start + len(part))
            yield places, part, None if question.kinds is None else question.kinds[places]
            start += len(part)


def score_by_best(
    vectors: Vectors,
    leaves: Leaves,
    *,
    k: int,
    logit_scale: float,
    groups: Places | None = None,
    allowed: Mask | None = None,
    kinds: Places | None = None,
) -> LeafScores:
    """Score as :func:`bioprobe.task.leaf_scores.score_leaves` does, a class by its best text.

    Probabilities are the softmax over the classes.
    """
    n_classes = leaves.n_classes
    allowed = np.ones(n_classes, dtype=bool) if allowed is None else allowed
    inside = np.flatnonzero(allowed)
    groups = np.full(n_classes, -1) if groups is None else groups
    lines = None if leaves.offsets is None else np.atleast_2d(leaves.offsets)
    texts = np.asarray(leaves.texts[leaves.rows], dtype=np.float32)
    starts = np.unique(leaves.classes, return_index=True)[1]
    parts = []
    for part in split_rows(len(vectors), len(texts)) if len(vectors) else (slice(0, 0),):
        logits = np.float32(logit_scale) * (vectors[part] @ texts.T)
        if lines is not None:
            logits -= lines[0] if kinds is None else lines[kinds[part]]
        shares = np.maximum.reduceat(logits, starts, axis=1)
        shares = np.exp(shares - shares.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True, dtype=np.float64)
        sums = sum_columns(shares, groups, int(groups.max(initial=-1)) + 1)
        best, values = find_top(shares[:, inside], k)
        parts.append((*find_top(shares, k), sums, inside[best], values,
                      shares[:, ~allowed].sum(axis=1)))  # fmt: skip
    return LeafScores(*(np.concatenate(one) for one in zip(*parts, strict=True)))
