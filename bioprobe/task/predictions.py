"""What every classifier returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MismatchError
from bioprobe.images.image_table import ImageTable
from bioprobe.intervals import Accuracy
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.store.view import View
from bioprobe.taxonomy import RANKS, Rank, Taxonomy
from bioprobe.types import Floats, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd


SCORE_KINDS = ("similarity", "logit", "probability")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions(Result):
    """The best classes of each image.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were asked about.
    classes : Taxonomy
        Classes, all at one rank.
    rank : Rank
        That rank.
    top_classes : ndarray of int64, shape (n_images, k)
        Positions in ``classes``, best first.
    scores : ndarray of float32, shape (n_images, k)
        Their scores.
    score_kind : str
        ``similarity``, ``logit`` or ``probability``.
    provenance : Provenance
        What the result was computed from.
    columns : mapping of str to ndarray, each of shape (n_images,)
        What else is said of each image, such as how little it is like any class.
    notes : tuple of Note
        What is to be said of it.
    """

    __module__ = "bioprobe"

    images: ImageTable
    rows: npt.NDArray[np.int64]
    classes: Taxonomy
    rank: Rank
    top_classes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    score_kind: str
    provenance: Provenance
    columns: Mapping[str, Floats] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def truth(self) -> npt.NDArray[np.object_]:
        """Labels of the images at the rank, ``""`` where unknown."""
        return self.images.labels(self.rank)[self.rows]

    @property
    def truth_classes(self) -> npt.NDArray[np.int64]:
        """Position in ``classes`` of the label of each image, shape (n_images,).

        See Also
        --------
        find_label_classes : how a label is told from a homonym.
        """
        return find_label_classes(self.images, self.rows, self.classes, self.rank)

    def to_dense(self) -> npt.NDArray[np.float32]:
        """Return the score of every class, shape (n_images, n_classes), in their order.

        Raises
        ------
        MismatchError
            If only some of the classes were answered.
        """
        n_classes = len(self.classes)
        if self.top_classes.shape != (len(self.rows), n_classes):
            msg = (
                f"each of the {n_classes} classes needs a score, got the best "
                f"{self.top_classes.shape[1]}; make the predictions with k={n_classes}"
            )
            raise MismatchError(msg)
        dense = np.empty(self.scores.shape, dtype=np.float32)
        np.put_along_axis(dense, self.top_classes, self.scores, axis=1)
        return dense

    @property
    def names(self) -> npt.NDArray[np.object_]:
        """Names of the best classes, shape (n_images, k)."""
        names = np.array([taxon.name for taxon in self.classes], dtype=object)
        return np.asarray(names[self.top_classes], dtype=object)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per image and answer, in pybioclip's columns first.

        The columns are ``file_name``, the ranks down to the rank of the classes (with
        ``species_epithet`` before ``species``), ``common_name`` at species, and ``score``; then
        ``answer`` (1 is the best), ``row``, and :attr:`columns`.

        References
        ----------
        pybioclip, *CSV output of ``bioclip predict``*.
        """
        import pandas as pd

        k = self.top_classes.shape[1]
        flat = self.top_classes.ravel()
        file_names = self.images.frame["path"].to_numpy()[self.rows]
        columns: dict[str, npt.NDArray[np.object_] | npt.NDArray[np.float64]] = {
            "file_name": np.repeat(file_names, k)
        }
        for name, values in _class_columns(self.classes, self.rank).items():
            columns[name] = values[flat]
        columns["score"] = self.scores.ravel().astype(np.float64)
        frame = pd.DataFrame(columns)
        frame["answer"] = np.tile(np.arange(1, k + 1), len(self.rows))
        frame["row"] = np.repeat(self.rows, k)
        return frame.assign(**{name: values.repeat(k) for name, values in self.columns.items()})


def find_label_classes(
    images: ImageTable, rows: npt.NDArray[np.int64], classes: Taxonomy, rank: Rank
) -> npt.NDArray[np.int64]:
    """Find the class that the label of each image stands for.

    Label and class have the same name at the rank and differ at no rank above that both name, so
    homonyms stay apart; where a label leaves it open, the class that shares most names with it is
    taken, of equal ones the first.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of it.
    classes : Taxonomy
        Classes, all at one rank.
    rank : Rank
        That rank.

    Returns
    -------
    ndarray of int64, shape (n_images,)
        Position in ``classes``; -1 where the image has no label, or one that is no class.
    """
    lineages = images.frame[[level.value for level in RANKS[: rank.depth + 1]]].iloc[rows]
    numbers = lineages.groupby(list(lineages.columns), sort=False, dropna=False).ngroup()
    distinct = lineages.drop_duplicates().itertuples(index=False, name=None)
    return find_classes(distinct, classes, rank)[numbers.to_numpy(dtype=np.int64)]


def find_classes(
    lineages: Iterable[tuple[str, ...]], classes: Taxonomy, rank: Rank
) -> npt.NDArray[np.int64]:
    """Find the class of each lineage, as :func:`find_label_classes` does.

    Parameters
    ----------
    lineages : iterable of tuple of str
        Names from kingdom down to the rank at least; what lies below plays no part.
    classes : Taxonomy
        Classes, all at one rank.
    rank : Rank
        That rank.

    Returns
    -------
    ndarray of int64, shape (n_lineages,)
        Position in ``classes``, -1 for none.
    """
    by_name: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for position, taxon in enumerate(classes):
        upper = taxon.lineage[: rank.depth + 1]
        by_name.setdefault(upper[-1], []).append((position, upper))
    asked = (lineage[: rank.depth + 1] for lineage in lineages)
    places = [_place(lineage, by_name.get(lineage[-1], [])) for lineage in asked]
    return np.array(places, dtype=np.int64)


def _place(lineage: tuple[str, ...], known: list[tuple[int, tuple[str, ...]]]) -> int:
    """Return the position of the lineage that agrees in most names, -1 where none agrees."""
    best, most = -1, 0
    for position, other in known:
        named = [(a, b) for a, b in zip(lineage, other, strict=True) if a and b]
        if len(named) > most and all(a == b for a, b in named):
            best, most = position, len(named)
    return best


def _class_columns(classes: Taxonomy, rank: Rank) -> dict[str, npt.NDArray[np.object_]]:
    columns: dict[str, npt.NDArray[np.object_]] = {}
    for level in RANKS[: rank.depth + 1]:
        if level is Rank.SPECIES:
            columns["species_epithet"] = np.array([t.epithet for t in classes], dtype=object)
        names = [taxon.lineage[level.depth] for taxon in classes]
        columns[level.value] = np.array(names, dtype=object)
    if rank is Rank.SPECIES:
        columns["common_name"] = np.array([t.common_name for t in classes], dtype=object)
    return columns


def measure_accuracy(predictions: Predictions) -> list[Accuracy]:
    """Measure top-1 and top-5 accuracy on the images that have a label.

    An image whose label is not among the classes counts as wrong: no answer could be right.

    Returns
    -------
    list of Accuracy
        Top-1, and top-5 where that many answers are there; empty when no image has a label.
    """
    labelled = predictions.truth != ""
    if not labelled.any():
        return []
    # By lineage, so that a homonym is not right.
    truth = predictions.truth_classes[labelled]
    right = predictions.top_classes[labelled] == truth[:, np.newaxis]
    k_asked = right.shape[1]
    return [
        Accuracy(k, int(right[:, :k].any(axis=1).sum()), int(labelled.sum()))
        for k in (1, 5)
        if k <= k_asked
    ]


def answer_in_chunks(
    view: View,
    answer: Callable[[Vectors], tuple[Rows, npt.NDArray[np.float32]]],
) -> tuple[Rows, npt.NDArray[np.float32]]:
    """Ask for the best classes of each image, with no more than a chunk of vectors in memory.

    Parameters
    ----------
    view : View
        Whose vectors are asked.
    answer : callable
        From vectors to classes and scores, both of shape (n, k).

    Returns
    -------
    top : ndarray of int64, shape (n_images, k)
    scores : ndarray of float32, of the same shape
    """
    top, scores = zip(*map(answer, view.iter_vectors()), strict=True)
    return np.concatenate(top), np.concatenate(scores)
