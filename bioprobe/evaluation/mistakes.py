"""Which class is taken for which, at the rank of the answers or above it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.scores import find_top
from bioprobe.task.target import Classes
from bioprobe.taxonomy import Rank, Taxon
from bioprobe.taxonomy.taxonomy import find_lowest_common_ancestor
from bioprobe.types import Places, Rows

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How many images of each class were given each class.

    Parameters
    ----------
    classes : Classes
        At one rank, or of one column.
    counts : ndarray of int64, shape (n_classes, n_classes)
        Images by true class (row) and answer (column).
    n_left_out : int
        Images whose truth or answer is none of the classes.
    """

    classes: Classes
    counts: npt.NDArray[np.int64]
    n_left_out: int = 0

    def collapse(self, rank: Rank) -> Confusion:
        """Return the confusion of the taxa above, so that errors within one of them vanish.

        Parameters
        ----------
        rank : Rank
            Rank of the classes or one above it; a class with a hole there is left out and
            counted.
        """
        upper, places = self.classes.group(rank)
        known = places >= 0
        counts = np.zeros((len(upper), len(upper)), dtype=np.int64)
        inside = self.counts[np.ix_(known, known)]
        np.add.at(counts, np.ix_(places[known], places[known]), inside)
        n_lost = int(self.counts.sum() - inside.sum())
        return Confusion(upper, counts, self.n_left_out + n_lost)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each pair that occurs: truth, answer, n_images; most images first."""
        import pandas as pd

        names = self.classes.short_names
        truth, answers = np.nonzero(self.counts)
        frame = pd.DataFrame(
            {
                "truth": [names[row] for row in truth],
                "answer": [names[row] for row in answers],
                "n_images": self.counts[truth, answers],
            }
        )
        return frame.sort_values("n_images", ascending=False, kind="stable", ignore_index=True)


@dataclasses.dataclass(frozen=True)
class ConfusedPair:
    """A class that is taken for another.

    Parameters
    ----------
    truth, answer : str
        Name of the class, and of what it is taken for.
    positions : tuple of int, length 2
        Of the two among the classes.
    n_images : int
        Images of the one that were given the other.
    fraction : float
        Of the images of the true class.
    ancestor : Taxon or None
        Lowest taxon above both; None where they share none that is named, or are no taxa.
    height : int
        Ranks from the classes up to it, of those at which a class has a name; one more than there
        are such ranks above where it is None, 1 where they are no taxa.
    """

    truth: str
    answer: str
    positions: tuple[int, int]
    n_images: int
    fraction: float
    ancestor: Taxon | None
    height: int


def count_confusion(truth: Places, predicted: Places, classes: Classes) -> Confusion:
    """Count which class was given which.

    Parameters
    ----------
    truth, predicted : ndarray of int64, shape (n_images,)
        Positions in ``classes``; an image with -1 in either is left out and counted.
    classes : Classes
        At one rank, or of one column.
    """
    known = (truth >= 0) & (predicted >= 0)
    n = len(classes)
    counts = np.bincount(truth[known] * n + predicted[known], minlength=n * n).reshape(n, n)
    return Confusion(classes, counts.astype(np.int64), int((~known).sum()))


def keep_met(truth: Places, predicted: Places, classes: Classes) -> tuple[Places, Places, Classes]:
    """Keep the classes that an image has or was given: of a long list of taxa these are few.

    Parameters
    ----------
    truth, predicted : ndarray of int64, shape (n_images,)
        Positions in ``classes``, -1 for none.
    classes : Classes
        At one rank, or of one column.

    Returns
    -------
    truth, predicted : ndarray of int64, shape (n_images,)
        Positions in those that are kept, -1 for none.
    classes : Classes
        Those, in their order.
    """
    met = np.union1d(truth, predicted)
    met = met[met >= 0]
    places = np.full(len(classes) + 1, -1, dtype=np.int64)
    places[met] = np.arange(len(met))
    return places[truth], places[predicted], classes.take(met)


def find_confused_pairs(confusion: Confusion, n_pairs: int = 20) -> list[ConfusedPair]:
    """Find the pairs that are confused most, with what they have in common.

    Parameters
    ----------
    confusion : Confusion
        Of any rank.
    n_pairs : int
        At most so many; of equal ones those whose class loses the greater fraction come first.
    """
    classes = confusion.classes
    wrong = confusion.counts.copy()
    np.fill_diagonal(wrong, 0)
    totals = confusion.counts.sum(axis=1)
    pairs = np.argwhere(wrong)
    n_images = wrong[pairs[:, 0], pairs[:, 1]]
    fractions = n_images / totals[pairs[:, 0]]
    order = np.lexsort((-fractions, -n_images))[:n_pairs]
    found = []
    names_any = [any(names) for names in zip(*(one.lineage for one in classes.taxa), strict=True)]
    for row, column in pairs[order].tolist():
        ancestor, height = None, 1
        if classes.rank is not None:
            ancestor = find_lowest_common_ancestor(classes.taxa[row], classes.taxa[column])
            above = ancestor.depth if ancestor else -1
            height = sum(names_any[above + 1 : classes.rank.depth + 1])
        n = int(wrong[row, column])
        names = classes.short_names[row], classes.short_names[column]
        found.append(
            ConfusedPair(*names, (row, column), n, float(n / totals[row]), ancestor, height)
        )
    return found


def tabulate_classes(confusion: Confusion) -> pd.DataFrame:
    """Return one row a class that has images or answers, the worst F1 first.

    Returns
    -------
    DataFrame
        ``class``, ``lineage`` (the names above it), ``n_images``, ``n_answers``, ``precision``,
        ``recall`` and ``f1`` (0 where nothing was answered, not a number where the class has no
        image), ``confused_with`` (the class it is taken for most, ``""`` for none) and
        ``n_confused``.
    """
    import pandas as pd

    counts = confusion.counts
    n_images, n_answers, n_right = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    wrong = counts - np.diag(n_right)
    most = wrong.argmax(axis=1) if len(wrong) else np.zeros(0, dtype=np.int64)
    names = np.array(confusion.classes.short_names, dtype=object)
    n_confused = wrong.max(axis=1, initial=0)
    with np.errstate(invalid="ignore"):
        recall = np.where(n_images > 0, n_right / n_images, np.nan)
        f1 = np.where(n_images > 0, 2 * n_right / (n_images + n_answers), np.nan)
        precision = np.where(n_answers > 0, n_right / n_answers, 0.0)
    frame = pd.DataFrame(
        {
            "class": names,
            "lineage": list_lineages(confusion.classes),
            "n_images": n_images,
            "n_answers": n_answers,
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "confused_with": np.where(n_confused > 0, names[most], "") if len(names) else names,
            "n_confused": n_confused,
        }
    )
    met = frame[(frame["n_images"] > 0) | (frame["n_answers"] > 0)]
    return met.sort_values(["f1", "class"], kind="stable", ignore_index=True)


def list_lineages(classes: Classes) -> list[str]:
    """Return the names above each class, the broadest first; ``""`` where it is no taxon."""
    if classes.rank is None:
        return [""] * len(classes)
    depth = classes.rank.depth
    return [" > ".join(filter(None, taxon.lineage[:depth])) for taxon in classes]


@dataclasses.dataclass(frozen=True)
class Neighbor:
    """A training image near a wrong answer.

    Parameters
    ----------
    row : int
        Row of the store.
    similarity : float
        Cosine similarity in [-1, 1].
    label : str
        Its label, ``""`` where unknown.
    """

    row: int
    similarity: float
    label: str


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An image that was answered wrongly, with what the method may have gone by.

    Parameters
    ----------
    row : int
        Row of the store.
    probability : float
        Of the answer.
    neighbors : tuple of Neighbor
        Training images, nearest first.
    """

    row: int
    probability: float
    neighbors: tuple[Neighbor, ...]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A confused pair with some of its images.

    Parameters
    ----------
    pair : ConfusedPair
        The pair.
    mistakes : tuple of Mistake
        The surest of its wrong answers first.
    """

    pair: ConfusedPair
    mistakes: tuple[Mistake, ...]


def explain_pairs(
    store: EmbeddingStore,
    confusion: Confusion,
    rows: Rows,
    truth: Places,
    predicted: Places,
    confidence: npt.NDArray[np.floating],
    training: Rows,
    *,
    folds: Rows | None = None,
    n_pairs: int = 20,
    n_mistakes: int = 3,
    n_neighbors: int = 3,
) -> list[Evidence]:
    """Show the images behind the pairs that are confused most.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    confusion : Confusion
        Of these answers, at their own rank.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were answered.
    truth, predicted : ndarray of int64, shape (n_images,)
        Positions in the classes of the confusion.
    confidence : ndarray of float, shape (n_images,)
        Probability of each answer.
    training : ndarray of int64
        Rows of the store that were learnt from. An image is no neighbour of its own.
    folds : ndarray of int64, shape (n_store_rows,), optional
        Fold of each row of the store, -1 for none, where each fold was answered by what was learnt
        from the others: an image is no neighbour of those in its own fold.
    n_pairs, n_mistakes, n_neighbors : int
        At most so many pairs, images a pair, and neighbours an image.
    """
    pairs = find_confused_pairs(confusion, n_pairs)
    chosen = []
    for pair in pairs:
        found = np.flatnonzero((truth == pair.positions[0]) & (predicted == pair.positions[1]))
        chosen.append(found[np.argsort(-confidence[found], kind="stable")][:n_mistakes])
    shown = np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)
    near, similarities = _find_nearest(store, rows[shown], training, folds, n_neighbors)
    labels = store.images.labels(confusion.classes.level)
    mistakes = iter(
        Mistake(
            int(rows[image]),
            float(confidence[image]),
            tuple(
                Neighbor(row, similarity, str(labels[row]))
                for row, similarity in zip(rows_near.tolist(), alike.tolist(), strict=True)
                if np.isfinite(similarity)
            ),
        )
        for image, rows_near, alike in zip(shown, near, similarities, strict=True)
    )
    return [
        Evidence(pair, tuple(next(mistakes) for _ in images))
        for pair, images in zip(pairs, chosen, strict=True)
    ]


def _find_nearest(
    store: EmbeddingStore, rows: Rows, training: Rows, folds: Rows | None, k: int
) -> tuple[Rows, npt.NDArray[np.float32]]:
    # A few dozen questions: asked of all training vectors, they need no index.
    queries = store.read_vectors(rows)
    near = np.zeros((len(rows), 0), dtype=np.int64)
    similarities = np.zeros(near.shape, dtype=np.float32)
    start = 0
    for vectors in View(store, training).iter_vectors():
        asked = training[start : start + len(vectors)]
        start += len(vectors)
        found = queries @ vectors.T
        # Where each fold is answered by the others, an image and its own fold are among the
        # training images too, and taught nothing of it.
        unseen = rows[:, np.newaxis] == asked
        if folds is not None:
            own = folds[rows][:, np.newaxis]
            unseen |= (own >= 0) & (own == folds[asked])
        found[unseen] = -np.inf
        near = np.concatenate([near, np.broadcast_to(asked, found.shape)], axis=1)
        top, similarities = find_top(np.concatenate([similarities, found], axis=1), k)
        near = np.take_along_axis(near, top, axis=1)
    return near, similarities
