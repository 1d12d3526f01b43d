"""One way of answering: which of many classes, each with its texts, an image is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import PromptError
from bioprobe.store.view import View
from bioprobe.task.also import Also, Wanted, sum_inside, sum_wanted
from bioprobe.task.decisions import LEFT_OUT, Decisions, back_off_sums
from bioprobe.task.leaf_scores import iter_leaf_scores, score_leaves
from bioprobe.task.leaves import LeafScores, Leaves
from bioprobe.task.predictions import Predictions, RolledUp, answer_in_chunks
from bioprobe.task.scores import find_top, sum_columns, sum_up
from bioprobe.task.target import Classes
from bioprobe.task.text_pooling import Pool
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import RANKS, Taxon, Taxonomy
from bioprobe.types import Mask, Names, Places, Rows, Scores, Vectors

if TYPE_CHECKING:
    from bioprobe.task.listed import Listed
    from bioprobe.task.prior import Weighed

# Best classes that are looked at for the first that meets a condition.
_LOOKED_AT = 16


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
    pool : Pool
        ``sum`` or ``max``: how the texts of a class become one score.
    kinds : ndarray of int64, shape (n_images,), optional
        Line of the offsets that each image takes, where these have several.
    listed : Listed, optional
        What may be answered; all is scored.
    wanted : Wanted, optional
        Taxa whose scores are given always.
    matrix : ndarray of float32, shape (dim, dim), optional
        What images are seen through: of a vector x, the product with x is asked.
    """

    tree: Tree
    leaves: Leaves
    logit_scale: float
    options: Mapping[str, Any]
    pool: Pool = Pool.SUM
    kinds: Places | None = None
    listed: Listed | None = None
    wanted: Wanted | None = None
    matrix: Vectors | None = None

    @property
    def n_leaves(self) -> int:
        """How many lowest classes have a name at the rank."""
        return int((self.tree.place_of >= 0).sum())

    def with_options(self, **options: object) -> Question:
        """Return the same question with more of what its answers depend on."""
        return dataclasses.replace(self, options={**self.options, **options})

    def with_prior(self, weighed: Weighed | None) -> Question:
        """Return the same question, in which classes count by what is known before.

        Parameters
        ----------
        weighed : Weighed or None
            Weights of the lowest classes for the images that will be asked.
        """
        if weighed is None:
            return self
        offsets = -np.log(weighed.lines)[:, self.leaves.classes]
        if self.leaves.offsets is not None:
            offsets = offsets + self.leaves.offsets
        leaves = dataclasses.replace(self.leaves, offsets=offsets.astype(np.float32))
        return dataclasses.replace(self, leaves=leaves, kinds=weighed.kinds)

    def see(self, places: slice, vectors: Vectors) -> tuple[Vectors, Places | None]:
        """Return what is asked of some images, and the line of the offsets that each takes.

        Parameters
        ----------
        places : slice
            Of these images among all that are asked.
        vectors : ndarray of float32, shape (n, dim), unit rows
        """
        seen = vectors if self.matrix is None else vectors @ self.matrix.T
        return seen, None if self.kinds is None else self.kinds[places]

    def named(self) -> Question:
        """Return the same question of the lowest classes alone that have a name at the rank."""
        named = self.tree.place_of >= 0
        if named.all():
            return self
        taxa = Taxonomy(tuple(t for t, one in zip(self.tree.taxa, named, strict=True) if one))
        kept = named[self.leaves.classes]
        offsets = self.leaves.offsets
        leaves = Leaves(
            self.leaves.texts, self.leaves.rows[kept],
            (np.cumsum(named) - 1)[self.leaves.classes[kept]],
            None if offsets is None else offsets[..., kept],
        )  # fmt: skip
        return dataclasses.replace(self, tree=Tree(taxa, self.tree.rank), leaves=leaves)

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
        """Score classes as :func:`bioprobe.task.leaf_scores.score_leaves` does."""
        return score_leaves(
            vectors, leaves, k=k, logit_scale=self.logit_scale, groups=groups, allowed=allowed,
            kinds=kinds, pool=self.pool,
        )  # fmt: skip


def answer_at_rank(view: View, question: Question, k: int, *, whole: bool = False) -> Predictions:
    """Answer each image with the best classes of the rank that is asked for.

    Parameters
    ----------
    view : View
        Whose vectors are asked.
    question : Question
    k : int
        Answers an image, ≥ 1; no more than there are classes.
    whole : bool
        Whether classes are among the best that may not occur by a list, for what pools answers.

    Returns
    -------
    Predictions
        Scores are probabilities: the softmax over all texts, summed by class. With a list the
        columns ``share_outside``, ``best_outside`` with its score, ``rolled_up_to`` and ``reason``
        say what it left out: where the best class of all may not occur, the first class above it
        that may is named.

    Raises
    ------
    PromptError
        If no class has a name at the rank.
    """
    tree = question.tree
    if not len(tree.classes):
        msg = f"no taxon has a name at {tree.rank}; give a taxon list, or another rank"
        raise PromptError(msg)
    if question.listed is not None or question.wanted is not None:
        return _answer_ranks(view, question, k, [tree.rank.depth], whole=whole)[0]
    top, scores = answer_in_chunks(view, partial(_answer_best, question, k))
    return Predictions(
        view.images, view.rows, Classes.of(tree.classes, tree.rank), top, scores,
        view.describe(question.options), view.find_taught(),
    )  # fmt: skip


def _answer_best(
    question: Question, k: int, places: slice, vectors: Vectors
) -> tuple[Places, Scores]:
    seen, kinds = question.see(places, vectors)
    found = question.score(seen, question.summed_leaves, k=k, kinds=kinds)
    return found.top, found.top_probabilities


def answer_every_rank(
    view: View, question: Question, k: int, *, whole: bool = False
) -> Predictions:
    """Answer each image with the best classes of each rank, from kingdom to what is asked for.

    All are scored once, and their probabilities are summed up.

    Parameters
    ----------
    view, question, k, whole
        As in :func:`answer_at_rank`. Lowest classes without a name at the rank take no part.

    Returns
    -------
    Predictions
        With those of the ranks above in ``above``.

    Raises
    ------
    PromptError
        If no class has a name at the rank.
    """
    tree = question.tree
    if not len(tree.classes):
        msg = f"no taxon has a name at {tree.rank}; give a taxon list, or another rank"
        raise PromptError(msg)
    depths = [depth for depth, level in enumerate(tree.levels) if len(level)]
    *above, lowest = _answer_ranks(view, question, k, depths, whole=whole)
    return dataclasses.replace(lowest, above=tuple(above))


def _answer_ranks(
    view: View, question: Question, k: int, depths: Sequence[int], *, whole: bool
) -> list[Predictions]:
    """Answer at ranks by the scores of all lowest classes, whatever may occur."""
    parts = view.map_vectors(partial(_score_ranks, question, k, depths, whole))
    outsides, alsos, *ranks = zip(*parts, strict=True)
    outside, also = _Outside.join(outsides), _Also.join(alsos)
    return [_AtRank.join(rank).finish(view, question, outside, also) for rank in ranks]


def _score_ranks(
    question: Question,
    k: int,
    depths: Sequence[int],
    whole: bool,
    places: slice,
    vectors: Vectors,
) -> tuple[Any, ...]:
    """Return what is answered to some images: outside, also, and at each rank."""
    listed, n_images = question.listed, len(vectors)
    outside, also = _Outside.of(n_images), _Also.of(n_images, question.wanted)
    answers = [_AtRank.of(question, depth, n_images, k) for depth in depths]
    for part in _iter_scored(question, k, places, vectors, needs_sums=listed is not None):
        also.write(part)
        if listed is not None:
            outside.write(question, part, listed.leaves[part.kind])
        for one in answers:
            one.write(part, question, whole=whole)
    return outside, also, *answers


@dataclasses.dataclass(frozen=True, eq=False)
class _Scored:
    """What was found for some images of one kind, by their places among those that were read."""

    places: Rows
    vectors: Vectors
    lines: Places | None
    kind: int
    found: LeafScores
    sums: list[Scores]
    best: list[tuple[Places, Scores]]
    also: Scores


def _iter_scored(
    question: Question, k: int, asked: slice, vectors: Vectors, *, needs_sums: bool = True
) -> Iterator[_Scored]:
    """Score all lowest classes for some images, those of one kind at a time, and sum them up.

    Parameters
    ----------
    question, k
        As in :func:`answer_at_rank`.
    asked : slice
        Places of these images among all that are asked.
    vectors : ndarray of float32, shape (n, dim)
    needs_sums : bool
        Whether the sums of all classes are wanted, or those of the best alone.
    """
    tree, listed = question.tree, question.listed
    groups, group_of, inside = sum_wanted(question.wanted, tree)
    parents = [one if group_of is None else one[group_of] for one in tree.parents]
    seen, lines = question.see(asked, vectors)
    of_image = np.zeros(len(seen), dtype=np.int64) if listed is None else listed.kinds[asked]
    for kind in np.unique(of_image).tolist() if len(seen) else [0]:
        mine = np.flatnonzero(of_image == kind)
        start = 0
        for found in iter_leaf_scores(
            seen[mine], question.leaves, k=max(k, _LOOKED_AT), logit_scale=question.logit_scale,
            groups=groups, allowed=None if listed is None else listed.leaves[kind],
            kinds=None if lines is None else lines[mine], pool=question.pool,
        ):  # fmt: skip
            places = mine[start : start + len(found.top)]
            start += len(places)
            sums, best = [], []
            if needs_sums:
                sums = [
                    sum_columns(found.sums, one, len(level))
                    for one, level in zip(parents, tree.levels, strict=False)
                ]
            else:
                best = sum_up(found.sums, parents, k)
            yield _Scored(
                places, seen[places], None if lines is None else lines[places], kind, found, sums,
                best, sum_inside(found.sums, inside),
            )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class _AtRank:
    """Answers at one rank, as they are gathered."""

    depth: int
    top: Places
    scores: Scores
    rolled: list[tuple[Taxon | None, float] | None]
    reasons: Names

    @classmethod
    def of(cls, question: Question, depth: int, n_images: int, k: int) -> _AtRank:
        top = np.full((n_images, min(k, len(question.tree.levels[depth]))), -1, dtype=np.int64)
        return cls(
            depth, top, np.full(top.shape, np.nan, dtype=np.float32), [None] * n_images,
            np.full(n_images, "", dtype=object),
        )  # fmt: skip

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put the answers to images one after the other."""
        return dataclasses.replace(
            parts[0],
            top=np.concatenate([part.top for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            rolled=[one for part in parts for one in part.rolled],
            reasons=np.concatenate([part.reasons for part in parts]),
        )

    def write(self, part: _Scored, question: Question, *, whole: bool) -> None:
        """Take the answers to some images of one kind."""
        listed, at = question.listed, part.places
        best, values = self._find(part, question, self.top.shape[1], None if whole else listed)
        self.top[at, : best.shape[1]], self.scores[at, : best.shape[1]] = best, values
        if listed is None or not len(at):
            return
        every, highest = self._find(part, question, 1, None)
        classes = question.tree.levels[self.depth]
        changed = np.flatnonzero(~listed.levels[self.depth][part.kind, every[:, 0]])
        to, above = listed.climb(
            np.full(len(changed), self.depth), every[changed, 0], np.full(len(changed), part.kind)
        )
        for place, depth, node in zip(changed.tolist(), to.tolist(), above.tolist(), strict=True):
            name, image = classes.taxa[int(every[place, 0])].name, int(at[place])
            reason = f"{LEFT_OUT} {RANKS[self.depth]} {name} {highest[place, 0]:.3f}"
            self.rolled[image] = None, np.nan
            if depth >= 0:
                taxon = question.tree.levels[depth].taxa[node]
                share = float(part.sums[depth][place, node])
                self.rolled[image] = taxon, share
                reason += f"; {RANKS[depth]} {taxon.name} {share:.3f}"
            self.reasons[image] = reason

    def _find(
        self, part: _Scored, question: Question, k: int, listed: Listed | None
    ) -> tuple[Places, Scores]:
        """Return the best classes of some images of one kind, of all or of what may occur."""
        tree, found = question.tree, part.found
        if self.depth < len(part.best):
            top, values = part.best[self.depth]
            return top[:, :k], values[:, :k]
        if self.depth < len(part.sums):
            total = part.sums[self.depth]
            if listed is None:
                return find_top(total, k)
            inside = np.flatnonzero(listed.levels[self.depth][part.kind])
            top, values = find_top(total[:, inside], k)
            return inside[top], values
        if listed is None:
            return tree.place_of[found.top[:, :k]], found.top_probabilities[:, :k]
        return tree.place_of[found.allowed_top[:, :k]], found.allowed_probabilities[:, :k]

    def finish(self, view: View, question: Question, outside: _Outside, also: _Also) -> Predictions:
        """Return the answers to all images."""
        rank, tree, listed = RANKS[self.depth], question.tree, question.listed
        answers = Predictions(
            view.images, view.rows, Classes.of(tree.levels[self.depth], rank), self.top,
            self.scores, view.describe({**question.options, "rank": rank.value}),
            view.find_taught(),
            also=also.finish(),
        )  # fmt: skip
        if listed is None:
            return answers
        names = [one[0].name if one and one[0] else "" for one in self.rolled]
        said = {"rolled_up_to": np.array(names, dtype=object), "reason": self.reasons}
        if self.depth != tree.rank.depth:
            levels = listed.levels[: self.depth + 1]
            listed = dataclasses.replace(listed, tree=Tree(tree.taxa, rank), levels=levels)
        return dataclasses.replace(
            answers, columns={**outside.columns, **said, **answers.columns}, listed=listed,
            rolled=RolledUp.of(self.rolled),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class _Also:
    """Scores of taxa that are given always, as they are gathered."""

    taxa: tuple[Taxon, ...]
    scores: Scores

    @classmethod
    def of(cls, n_images: int, wanted: Wanted | None) -> _Also:
        taxa = () if wanted is None else wanted.taxa
        return cls(taxa, np.zeros((n_images, len(taxa)), dtype=np.float32))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put the scores of images one after the other."""
        scores = np.concatenate([part.scores for part in parts])
        return dataclasses.replace(parts[0], scores=scores)

    def write(self, part: _Scored) -> None:
        self.scores[part.places] = part.also

    def finish(self) -> Also | None:
        return Also(self.taxa, self.scores) if self.taxa else None


@dataclasses.dataclass(frozen=True, eq=False)
class _Outside:
    """What is said of the classes that may not occur, by image."""

    columns: dict[str, npt.NDArray[Any]]

    @classmethod
    def of(cls, n_images: int) -> _Outside:
        return cls({
            "share_outside": np.zeros(n_images, dtype=np.float32),
            "best_outside": np.full(n_images, "", dtype=object),
            "best_outside_score": np.full(n_images, np.nan, dtype=np.float32),
        })  # fmt: skip

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put what is said of images one after the other."""
        names = parts[0].columns
        return cls({name: np.concatenate([one.columns[name] for one in parts]) for name in names})

    def write(self, question: Question, part: _Scored, allowed: Mask) -> None:
        """Take what was found for some images of one kind."""
        if allowed.all() or not len(part.places):
            return
        self.columns["share_outside"][part.places] = part.found.share_outside
        leaf, values = find_first(question, part.vectors, part.lines, part.found, ~allowed)
        taxa = question.tree.taxa.taxa
        self.columns["best_outside"][part.places] = [taxa[one].name for one in leaf.tolist()]
        self.columns["best_outside_score"][part.places] = values


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
    parts = view.map_vectors(partial(_decide, question, threshold))
    outsides, alsos, *arrays = zip(*parts, strict=True)
    best, scores, depths, left_out = map(np.concatenate, arrays)
    is_free = question.listed is None
    return Decisions(
        view.images, view.rows, question.tree.levels, best, scores, depths, threshold,
        view.describe(question.options), taught=view.find_taught(),
        columns={} if is_free else _Outside.join(outsides).columns,
        left_out=None if is_free else left_out, also=_Also.join(alsos).finish(),
    )  # fmt: skip


def _decide(
    question: Question, threshold: float, places: slice, vectors: Vectors
) -> tuple[_Outside, _Also, Places, Scores, Places, Places]:
    """Return what is answered to some images: outside, also, and the arrays of decisions."""
    tree, listed = question.tree, question.listed
    n_images = len(vectors)
    best = np.full((n_images, len(tree.levels)), -1, dtype=np.int64)
    scores = np.full(best.shape, np.nan, dtype=np.float32)
    depths = np.full(n_images, -1, dtype=np.int64)
    left_out, outside = depths.copy(), _Outside.of(n_images)
    also = _Also.of(n_images, question.wanted)
    for part in _iter_scored(question, 1, places, vectors):
        at, kind = part.places, part.kind
        also.write(part)
        answer = back_off_sums(*_find_best(question, part), part.sums, tree.places, threshold)
        best[at], scores[at], depths[at] = answer
        if listed is None:
            continue
        outside.write(question, part, listed.leaves[kind])
        given = np.flatnonzero(answer[2] >= 0)
        for depth in np.unique(answer[2][given]).tolist():
            these = given[answer[2][given] == depth]
            these = these[~listed.levels[depth][kind, answer[0][these, depth]]]
            left_out[at[these]] = depth
            depths[at[these]], _ = listed.climb(
                np.full(len(these), depth), answer[0][these, depth], np.full(len(these), kind)
            )
    return outside, also, best, scores, depths, left_out


def _find_best(question: Question, part: _Scored) -> tuple[Places, Scores]:
    """Return the best class at each rank, -1 where there is none, and its summed probability."""
    tree = question.tree
    best = np.full((len(part.places), len(tree.levels)), -1, dtype=np.int64)
    scores = np.full(best.shape, np.nan, dtype=np.float32)
    for depth, total in enumerate(part.sums):
        if total.shape[1]:
            top, values = find_top(total, 1)
            best[:, depth], scores[:, depth] = top[:, 0], values[:, 0]
    if tree.has_singles and len(tree.classes):
        wanted = tree.place_of >= 0
        leaf, values = find_first(question, part.vectors, part.lines, part.found, wanted)
        best[:, -1], scores[:, -1] = tree.place_of[leaf], values
    return best, scores


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
