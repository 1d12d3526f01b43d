"""The pictures of a review as arrays: what is known of each, and what the methods say of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.task.lazy_rows import AnyRows, iter_parts
from bioprobe.types import Doubles, Mask, Places, Scores, Vectors

# Vectors that are compared at once: 8,192 logits of 200 classes are 6.5 MB.
_AT_ONCE = 8_192


@dataclasses.dataclass
class Pool:
    """Pictures that are reviewed. Places count from 0 in their order; arrays change in time.

    Parameters
    ----------
    vectors : ndarray of float32 or LazyRows, shape (n_images, dim), unit rows
        Lazy ones are read some at a time, each time that all are answered.
    names : list of str
        Classes; one that a person names is added at the end.
    labels : ndarray of int64, shape (n_images,)
        Class that each picture teaches, -1 for none.
    is_checked : ndarray of bool, shape (n_images,)
        Whether a person has said what it is.
    is_out : ndarray of bool, shape (n_images,)
        Whether it is not to be shown now: skipped, unsure, or shown already.
    is_held : ndarray of bool, shape (n_images,)
        Whether somebody else is looking at it; a random sample may hold it all the same.
    excluded : dict of int to set of int
        Of a picture the classes that a person said it is not.
    is_trusted : ndarray of bool, shape (n_images,)
        Whether the label that came with it counts as right, so that nobody is to check it.
    groups : ndarray of int64, shape (n_images,), optional
        Pictures of one group, such as copies, are left out together; -1 for one of its own.
    said : ndarray of int64, shape (n_images,)
        When people last said something of each: the later, the larger; -1 for never.
    best : ndarray of int64, shape (n_images, 2)
        The two most probable classes, -1 where there is none.
    scores : ndarray of float32, shape (n_images, 2)
        Their probabilities.
    """

    vectors: AnyRows
    names: list[str]
    labels: Places
    is_checked: Mask
    is_out: Mask
    is_held: Mask
    is_trusted: Mask
    excluded: dict[int, set[int]] = dataclasses.field(default_factory=dict)
    groups: Places | None = None
    said: Places = dataclasses.field(init=False)
    best: Places = dataclasses.field(init=False)
    scores: Scores = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.said = np.full(len(self), -1, dtype=np.int64)
        self.forget_answers()

    @classmethod
    def of(cls, vectors: AnyRows, names: Sequence[str], labels: Places) -> Pool:
        """Return a pool that nobody has looked at."""
        none = np.zeros(len(vectors), dtype=bool)
        numbers = labels.astype(np.int64)
        copies = none.copy(), none.copy(), none.copy()
        return cls(vectors, list(names), numbers, none, *copies)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def waiting(self) -> Mask:
        """Which pictures have no label and may be shown."""
        return (self.labels < 0) & ~self.is_checked & ~self.is_out & ~self.is_held

    @property
    def taught(self) -> Places:
        """Places of the pictures that teach, ascending."""
        return np.flatnonzero(self.labels >= 0).astype(np.int64)

    @property
    def n_taught_classes(self) -> int:
        """Number of classes that a picture teaches."""
        return len(np.unique(self.labels[self.labels >= 0]))

    @property
    def margins(self) -> Scores:
        """Probability of the best class less that of the second, shape (n_images,)."""
        return np.asarray(self.scores[:, 0] - self.scores[:, 1])

    @property
    def has_answers(self) -> bool:
        """Whether a method has said something of the pictures."""
        return len(self) > 0 and bool((self.best[:, 0] >= 0).any())

    def read(self, places: Places) -> Vectors:
        """Return the vectors of some pictures, shape (n, dim)."""
        return np.asarray(self.vectors[places])

    def compare(self, vector: npt.NDArray[np.float32]) -> Scores:
        """Return the similarity of each picture to a unit vector, shape (n_images,)."""
        parts = [np.asarray(self.vectors[part]) @ vector for part in iter_parts(len(self))]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)

    def forget_answers(self) -> None:
        """Have no method's word of any picture."""
        self.best = np.full((len(self), 2), -1, dtype=np.int64)
        self.scores = np.zeros((len(self), 2), dtype=np.float32)

    def exclude(self, place: int, logits: npt.NDArray[np.floating], known: Places) -> None:
        """Lower the logits of what a person said that a picture is not, in place.

        Parameters
        ----------
        place : int
        logits : ndarray, shape (n_known,)
        known : ndarray of int64, shape (n_known,)
            Class of each.
        """
        for one in self.excluded.get(place, ()):
            logits[known == one] = -np.inf


@dataclasses.dataclass(frozen=True, eq=False)
class Ranked:
    """What a strategy would have looked at, the best first.

    Parameters
    ----------
    places : ndarray of int64, shape (n,)
    reasons : tuple of str
        Why, for people; one for each.
    chances : ndarray of float64, shape (n,)
        Probability with which each was drawn, NaN where it was not drawn by chance.
    """

    places: Places
    reasons: tuple[str, ...]
    chances: Doubles

    @classmethod
    def of(cls, places: npt.NDArray[np.integer], reasons: Sequence[str]) -> Ranked:
        """Return what was not drawn by chance."""
        return cls(np.asarray(places, dtype=np.int64), tuple(reasons), np.full(len(places), np.nan))


def take_least(values: npt.NDArray[np.floating], among: Places, n: int) -> Places:
    """Return those n of some places whose values are least, the least first, ties in order."""
    n = min(n, len(among))
    if n == 0:
        return among[:0]
    own = values[among]
    if n < len(own):
        # All that tie with the last are sorted too, so that ties stand in their order.
        edge = np.partition(own, n - 1)[n - 1]
        among, own = among[own <= edge], own[own <= edge]
    return among[np.argsort(own, kind="stable")[:n]]


def find_best_two(
    vectors: AnyRows, coefficients: npt.NDArray[np.float32], intercepts: npt.NDArray[np.float32]
) -> tuple[Places, Scores]:
    """Find the two most probable classes of each vector, some vectors at a time.

    Parameters
    ----------
    vectors : ndarray of float32 or LazyRows, shape (n_images, dim)
    coefficients : ndarray of float32, shape (n_classes, dim)
    intercepts : ndarray of float32, shape (n_classes,)

    Returns
    -------
    best : ndarray of int64, shape (n_images, 2)
        -1 where there is no second class.
    scores : ndarray of float32, of the same shape
        Softmax over the classes; 0 where there is none.
    """
    import torch

    n, n_classes = len(vectors), len(intercepts)
    best = np.full((n, 2), -1, dtype=np.int64)
    scores = np.zeros((n, 2), dtype=np.float32)
    if not n_classes:
        return best, scores
    weights = torch.from_numpy(np.ascontiguousarray(coefficients.T))
    added = torch.from_numpy(np.ascontiguousarray(intercepts))
    buffer = torch.empty(min(n, _AT_ONCE), n_classes)
    found, values = torch.from_numpy(best), torch.from_numpy(scores)
    for start in range(0, n, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, n))
        logits = buffer[: part.stop - start]
        torch.addmm(added, torch.from_numpy(np.asarray(vectors[part])), weights, out=logits)
        highest, first = logits.max(dim=1, keepdim=True)
        logits.sub_(highest).exp_()
        total = logits.sum(dim=1)
        found[part, 0], values[part, 0] = first[:, 0], 1 / total
        if n_classes > 1:
            logits.scatter_(1, first, -1.0)
            second, at = logits.max(dim=1)
            found[part, 1], values[part, 1] = at, second / total
    return best, scores
