"""Where a method errs: class by class, pair by pair, with the pictures that explain it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.classify.streaming import iter_vectors
from bioprobe.evaluation.mistakes.confusion import ConfusedPair, Confusion, find_confused_pairs
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxon

if TYPE_CHECKING:
    import pandas as pd

Classes = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]


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
    names = np.array([taxon.name for taxon in confusion.classes], dtype=object)
    n_confused = wrong.max(axis=1, initial=0)
    with np.errstate(invalid="ignore"):
        recall = np.where(n_images > 0, n_right / n_images, np.nan)
        f1 = np.where(n_images > 0, 2 * n_right / (n_images + n_answers), np.nan)
        precision = np.where(n_answers > 0, n_right / n_answers, 0.0)
    frame = pd.DataFrame(
        {
            "class": names,
            "lineage": [
                describe_lineage(taxon, confusion.rank.depth) for taxon in confusion.classes
            ],
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


def describe_lineage(taxon: Taxon, depth: int) -> str:
    """Return the names of a taxon above a rank of that depth, the broadest first."""
    return " > ".join(name for name in taxon.lineage[:depth] if name)


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
        Its label at the rank, ``""`` where unknown.
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
    truth: Classes,
    predicted: Classes,
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
    labels = store.images.labels(confusion.rank)
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
    parts = [queries @ vectors.T for vectors in iter_vectors(store, training)]
    similarities = np.concatenate(parts, axis=1)
    # Where each fold is answered by the others, an image and its own fold are among the training
    # images too, and taught nothing of it.
    unseen = rows[:, np.newaxis] == training
    if folds is not None:
        own = folds[rows][:, np.newaxis]
        unseen |= (own >= 0) & (own == folds[training])
    similarities[unseen] = -np.inf
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return training[order], np.take_along_axis(similarities, order, axis=1)
