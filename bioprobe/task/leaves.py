"""The lowest classes of a question: what stands for each, what is asked, and what is answered.

A class has one text or several, whose rows in a head need not stand together. Its logit is that of
its text, or is pooled from those of all its texts. In double precision this is the exact score, by
which every way through the classes orders its answers.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bioprobe.task.text_pooling import Pool
from bioprobe.types import Doubles, Mask, Places, Rows, Scores


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

    @classmethod
    def of(cls, texts: npt.NDArray[np.floating], offsets: Scores | None = None) -> Leaves:
        """Return classes that have one text each, shape (n_classes, dim)."""
        return cls(texts, np.arange(len(texts)), np.arange(len(texts)), offsets)

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


# Steps of a cosine from 0 to 1 that logits tell apart.
_COSINE_STEPS = 2.0**30


class LeafQuestion:
    """What is asked of the lowest classes, with nothing left open, and their exact logits."""

    def __init__(
        self,
        leaves: Leaves,
        k: int,
        logit_scale: float,
        pool: Pool,
        groups: Places | None,
        allowed: Mask | None,
    ) -> None:
        self.leaves, self.k, self.logit_scale, self.pool = leaves, k, logit_scale, pool
        n_classes = leaves.n_classes
        self.groups = np.full(n_classes, -1, dtype=np.int64) if groups is None else groups
        self.allowed = np.ones(n_classes, dtype=bool) if allowed is None else allowed
        self.n_groups = int(self.groups.max(initial=-1)) + 1
        self.offsets = None if leaves.offsets is None else np.atleast_2d(leaves.offsets)
        # Where the texts of each class begin, and where the last ones end.
        starts = np.flatnonzero(np.diff(leaves.classes, prepend=-1))
        self.starts = np.append(starts, len(leaves.classes))

    def find_logits(self, cosines: Doubles, texts: Rows | slice, kinds: Places) -> Doubles:
        """Return logits, in double precision, of exact cosines.

        Parameters
        ----------
        cosines : ndarray of float64, shape (n_images, n_texts) or (n_pairs,)
            Rounded to 2⁻³⁰ here, so that equal texts have equal logits however they were
            multiplied.
        texts : ndarray of int64 or slice
            Of each column, or each pair, its place among ``leaves.rows``.
        kinds : ndarray of int64
            Of each image, or each pair, its line of the offsets.
        """
        logits = cosines * _COSINE_STEPS
        np.rint(logits, out=logits)
        logits *= self.logit_scale / _COSINE_STEPS
        if self.offsets is not None:
            logits -= self.offsets[kinds, texts]
        return logits

    def pool_exactly(self, logits: Doubles, starts: Rows) -> Doubles:
        """Make the logits of texts, the last axis, one score a class, which begin at ``starts``."""
        if len(starts) == logits.shape[-1]:
            return logits
        highest = np.maximum.reduceat(logits, starts, axis=-1)
        if self.pool is Pool.MAX:
            return highest
        sizes = np.diff(starts, append=logits.shape[-1])
        # A class whose texts all have an infinite offset has no weight.
        shift = np.where(np.isfinite(highest), highest, 0.0)
        weights = np.exp(logits - np.repeat(shift, sizes, axis=-1))
        with np.errstate(divide="ignore"):
            return shift + np.log(np.add.reduceat(weights, starts, axis=-1))
