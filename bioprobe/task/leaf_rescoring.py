"""The second pass: what may be among the best is scored again, exactly, and answers are made.

In single precision classes that are nearly as likely stand in any order. How far rounding can move
a weight is bounded, so those that can be among the best are known; they are scored in double
precision, and the sums of the first pass (:mod:`bioprobe.task.leaf_scan`) are mended by them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.task.leaf_plan import Plan
from bioprobe.task.leaf_scan import LOWEST, Weights
from bioprobe.task.leaves import LeafScores
from bioprobe.task.scores import Columns
from bioprobe.types import Doubles, Mask, Places, Rows, Scores, Vectors

if TYPE_CHECKING:
    import torch

# At so many times the lowest weight, it hardly matters that others were made no lower.
_FAR_ABOVE = 1e4
# Texts are unit rows, of half precision as near to it as this.
_LONGEST_TEXT = 1.01
# Classes of more texts are not scored again: roundings even out in their sums. Only those that are
# e⁻⁵⁰ times as likely as others may then stand in another order.
_MOST_TEXTS_AGAIN = 64
# Sums are mended by the exact weights of classes that have so much of them.
_LARGE_SHARE = 0.02
# Texts that are scored again in one go, and those of them that stay in the cache, 1 MB at 512
# numbers each; answers that are held.
_TEXTS_AGAIN, _DOTS_AT_ONCE, _ENTRIES_HELD = 8192, 256, 4_000_000


def rescore(plan: Plan, vectors: Vectors, kinds: Places, found: Weights) -> LeafScores:
    """Score what may be among the best again, and make probabilities.

    Parameters
    ----------
    plan : Plan
        Of the scan.
    vectors : ndarray of float32, shape (n_images, dim)
    kinds : ndarray of int64, shape (n_images,)
        Line of the offsets that each takes.
    found : Weights
        Of these images, in the memory of the processor; they are mended in place.
    """
    import torch

    with torch.inference_mode():
        rescoring = _Rescoring(plan, vectors, kinds, found)
        return rescoring.finish(rescoring.score())


@dataclasses.dataclass(frozen=True)
class _Entries:
    """Scores of single classes of single images, in double precision."""

    images: Rows
    classes: Rows
    scores: Doubles

    @classmethod
    def join(cls, parts: Sequence[_Entries]) -> _Entries:
        joined = (np.concatenate(one) for one in zip(*map(dataclasses.astuple, parts), strict=True))
        return cls(*joined)

    def take(self, kept: Mask | Rows) -> _Entries:
        return _Entries(self.images[kept], self.classes[kept], self.scores[kept])

    def find_best(self, k: int) -> Rows:
        """Return where the best k of each image are: by image, then best first."""
        order = np.lexsort((self.classes, -self.scores, self.images))
        images = self.images[order]
        rank = np.arange(len(order)) - np.searchsorted(images, images)
        return np.asarray(order[rank < k])


class _Rescoring:
    """Some images in their second pass.

    Strands are scored again whole. Each stands with the image it is scored for: ``of[i]`` is that
    of ``strands[i]``.
    """

    def __init__(self, plan: Plan, vectors: Vectors, kinds: Places, found: Weights) -> None:
        self._plan, self._asked = plan, plan.asked
        self._vectors, self._kinds, self._found = vectors, kinds, found
        # Views of the memory of the tensors.
        self._reference, self._totals = found.reference.numpy(), found.totals.numpy()
        self._bags, self._greatest = found.bags.numpy(), found.greatest.numpy()

    def score(self) -> _Entries:
        """Score exactly what may be among the best, and mend the sums by it."""
        strands, of, least_weights = self._choose()
        least_scores = (least_weights.double().log() + self._found.reference).numpy()
        held = [self._score_strands(strands[:0], of[:0])]
        for batch in self._iter_batches(strands):
            entries = self._score_strands(strands[batch], of[batch])
            held.append(entries.take(entries.scores >= least_scores[entries.images]))
            if sum(len(part.images) for part in held) > _ENTRIES_HELD:
                held = [self._drop(_Entries.join(held))]
        return _Entries.join(held)

    def _choose(self) -> tuple[Rows, Rows, torch.Tensor]:
        """Choose what is scored again: strands and their images, and the least weight of each."""
        import torch

        n_allowed, greatest = self._plan.n_allowed_strands, self._found.greatest
        every = Columns(greatest)
        least = least_allowed = self._find_least(every)
        if n_allowed < len(greatest):
            inside = Columns(greatest[:n_allowed])
            least_allowed = torch.minimum(least, self._find_least(inside))
        strands, of = every.find_from(least_allowed)
        # What is not allowed is no answer among the allowed.
        kept = (strands < n_allowed) | (self._greatest[strands, of] >= least.numpy()[of])
        # Neighbours in the head are read one after the other.
        strands, of = strands[kept], of[kept]
        order = np.argsort(strands, kind="stable")
        return strands[order], of[order], least_allowed

    def _find_least(self, columns: Columns) -> torch.Tensor:
        """Return the weight below which no class is scored again.

        The k best strands have k classes at least, and what rounding does to a weight is bounded.
        """
        import torch

        kth = columns.find_kth(self._asked.k)
        kth *= float(np.exp(-2 * self._most_error))
        told_apart = _FAR_ABOVE * float(np.exp(LOWEST)) * int(self._plan.sizes.max())
        large = (_LARGE_SHARE * self._found.totals).to(torch.float32)
        return torch.minimum(kth.masked_fill_(kth < told_apart, 0.0), large)

    @cached_property
    def _most_error(self) -> float:
        """Bound of what rounding does to the logarithm of a weight.

        References
        ----------
        Higham 2002, *Accuracy and Stability of Numerical Algorithms*, section 3.1; the sum of
        absolute terms is bounded by Cauchy and Schwarz.
        """
        asked = self._asked
        longest = float(np.linalg.norm(self._vectors, axis=1).max(initial=0.0))
        largest = _LONGEST_TEXT * abs(asked.logit_scale) * longest
        steps: float = (self._vectors.shape[1] + 8) * largest
        added = largest + float(self._found.reference.abs().max())
        if asked.offsets is not None:
            lines = asked.offsets[np.unique(self._kinds)]
            finite = np.abs(lines, where=np.isfinite(lines), out=np.zeros_like(lines))
            added += float(finite.max())
        return (steps + 8 * added + int(self._plan.sizes.max())) * 2.0**-24 + 1 / _FAR_ABOVE

    def _iter_batches(self, strands: Rows) -> Iterator[slice]:
        """Return strands some at a time: a batch ends where the next texts would be too many."""
        batch_of = np.cumsum(self._plan.n_texts[strands]) // _TEXTS_AGAIN
        borders = np.append(np.flatnonzero(np.diff(batch_of, prepend=-1)), len(strands))
        return (slice(start, stop) for start, stop in itertools.pairwise(borders))

    def _score_strands(self, strands: Rows, of: Rows) -> _Entries:
        """Score all classes of strands, one an image of ``of``; mend the sums."""
        n_classes = self._plan.n_classes[strands]
        places = self._plan.find_classes(strands)
        image_of = np.repeat(of, n_classes)
        scores = np.repeat(np.log(self._greatest[strands, of].astype(np.float64)), n_classes)
        scores += self._reference[image_of]
        again = np.flatnonzero(self._plan.sizes[places] <= _MOST_TEXTS_AGAIN)
        scores[again] = self._score_exactly(places[again], image_of[again])
        self._mend(strands, of, places, scores)
        return _Entries(image_of, self._plan.order[places], scores)

    def _score_exactly(self, places: Rows, of: Rows) -> Doubles:
        asked, sizes = self._asked, self._plan.sizes[places]
        texts = self._plan.find_texts(places)
        image_of = np.repeat(of, sizes)
        rows, cosines = asked.leaves.rows[texts], np.empty(len(texts))
        for start in range(0, len(texts), _DOTS_AT_ONCE):
            part = slice(start, start + _DOTS_AT_ONCE)
            pairs = asked.leaves.texts[rows[part]], self._vectors[image_of[part]]
            np.einsum("ij,ij->i", *pairs, dtype=np.float64, out=cosines[part])
        logits = asked.find_logits(cosines, texts, self._kinds[image_of])
        return asked.pool_exactly(logits, np.cumsum(sizes) - sizes)

    def _mend(self, strands: Rows, of: Rows, places: Rows, scores: Doubles) -> None:
        """Put the exact weight of the best class of each strand in place of the rounded one."""
        n_classes = self._plan.n_classes[strands]
        starts = np.cumsum(n_classes) - n_classes
        best = np.maximum.reduceat(scores, starts) if len(starts) else scores[:0]
        hits = np.flatnonzero(scores == np.repeat(best, n_classes))
        places = places[hits[np.searchsorted(hits, starts)]]
        added = np.exp(best - self._reference[of]) - self._greatest[strands, of]
        np.add.at(self._totals, of, added)
        np.add.at(self._bags, (self._plan.bag_of[places], of), added.astype(np.float32))

    def _drop(self, entries: _Entries) -> _Entries:
        """Keep the best of all and the best of the allowed classes of each image."""
        k, allowed = self._asked.k, np.flatnonzero(self._asked.allowed[entries.classes])
        best = allowed[entries.take(allowed).find_best(k)]
        return entries.take(np.union1d(best, entries.find_best(k)))

    def finish(self, entries: _Entries) -> LeafScores:
        """Make probabilities of the weights."""
        import torch

        shares = self._found.bags.mul_(self._found.totals.reciprocal().to(torch.float32))
        outside = shares[self._plan.n_allowed_bags :].sum(dim=0)
        allowed = entries.take(self._asked.allowed[entries.classes])
        return LeafScores(
            *self._answer(entries, len(self._plan.order)),
            self._sum_groups(shares).numpy().T,
            *self._answer(allowed, self._plan.n_allowed),
            outside.numpy(),
        )

    def _answer(self, entries: _Entries, n_classes: int) -> tuple[Places, Scores]:
        best = entries.take(entries.find_best(self._asked.k))
        weights = np.exp(best.scores - self._reference[best.images]) / self._totals[best.images]
        shape = len(self._totals), min(self._asked.k, n_classes)
        return best.classes.reshape(shape), weights.astype(np.float32).reshape(shape)

    def _sum_groups(self, shares: torch.Tensor) -> torch.Tensor:
        """Add up the bags of each group: it has two where some of its classes are allowed."""
        import torch

        groups, n_groups = self._plan.bag_groups, self._asked.n_groups
        if np.array_equal(groups, np.arange(n_groups)):
            return shares
        inside = np.flatnonzero(groups >= 0)
        sums = torch.zeros(n_groups, shares.shape[1])
        parts = shares if len(inside) == len(groups) else shares[torch.from_numpy(inside)]
        return sums.index_add_(0, torch.from_numpy(groups[inside]), parts)
