"""What every method returns, and how often that is right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MismatchError
from bioprobe.images.image_table import ImageTable
from bioprobe.intervals import Accuracy
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.store.view import View
from bioprobe.task.beside import Beside, shorten
from bioprobe.task.target import Classes
from bioprobe.taxonomy import RANKS, Rank
from bioprobe.types import Mask, Names, Places, Rows, Scores, Vectors

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.task.listed import Listed


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions(Result):
    """The best classes of each image.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were asked about.
    classes : Classes
        What they could be.
    top_classes : ndarray of int64, shape (n_images, k)
        Positions in ``classes``, best first.
    scores : ndarray of float32, shape (n_images, k)
        Their probabilities.
    provenance : Provenance
        What the result was computed from.
    taught : ndarray of bool, shape (n_images,), optional
        Which images the method learnt from; None where it learnt from none, or where that is not
        known.
    columns : mapping of str to ndarray, each of shape (n_images,) or (n_images, k)
        What else is said of each image, or of each of its answers, by column.
    notes : tuple of Note
        What is to be said of it.
    beside : Beside, optional
        What stands beside the answers in a table: own columns, what pictures hold, and the pictures
        that have no answer.
    truths : ndarray of int64, shape (n_images,), optional
        Class of each unit where a row stands for several, such as a sequence: -1 for none, -2 for
        several. By default the labels of the rows say it.
    listed : Listed, optional
        Which of the classes may occur; the others are scored and not answered. Where fewer than k
        may, the rest of ``top_classes`` is -1.
    """

    __module__ = "bioprobe"

    images: ImageTable
    rows: Rows
    classes: Classes
    top_classes: Places
    scores: Scores
    provenance: Provenance
    taught: Mask | None = None
    columns: Mapping[str, npt.NDArray[Any]] = dataclasses.field(default_factory=dict)
    notes: Notes = ()
    beside: Beside | None = None
    truths: Places | None = None
    listed: Listed | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def rank(self) -> Rank | None:
        """Rank of the classes, None where they are no taxa."""
        return self.classes.rank

    @property
    def level(self) -> str:
        """Rank of the classes, or the column whose values they are; ``""`` where only named."""
        return self.classes.level

    @property
    def truth(self) -> Names:
        """Labels of the images at the level, ``""`` where unknown."""
        if self.truths is not None:
            return np.array([*self.classes.short_names, "", ""], dtype=object)[self.truths]
        return self.classes.read_labels(self.images, self.rows)

    @property
    def truth_classes(self) -> Places:
        """Position in ``classes`` of the label of each image, shape (n_images,).

        See Also
        --------
        bioprobe.task.target.Classes.find_labels : how a label is told from a homonym.
        """
        if self.truths is not None:
            return np.maximum(self.truths, -1)
        return self.classes.find_labels(self.images, self.rows)

    @property
    def is_known(self) -> Mask:
        """Whether the label of each image is a class that may be answered, shape (n_images,)."""
        truth = self.truth_classes
        return truth >= 0 if self.listed is None else self.listed.admits(truth)

    def take(self, kept: Mask | Rows) -> Predictions:
        """Return the predictions of some of the images."""
        return dataclasses.replace(
            self,
            rows=self.rows[kept],
            top_classes=self.top_classes[kept],
            scores=self.scores[kept],
            taught=None if self.taught is None else self.taught[kept],
            columns={name: values[kept] for name, values in self.columns.items()},
            truths=None if self.truths is None else self.truths[kept],
            listed=None if self.listed is None else self.listed.take(kept),
        )

    def keep_best(self, k: int) -> Predictions:
        """Return the best ``k`` classes of each image."""
        return dataclasses.replace(
            self, top_classes=self.top_classes[:, :k], scores=self.scores[:, :k],
            columns={name: values[:, :k] if values.ndim > 1 else values
                     for name, values in self.columns.items()},
        )  # fmt: skip

    def to_dense(self) -> Scores:
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
    def names(self) -> Names:
        """Names of the best classes, shape (n_images, k)."""
        names = np.array([*self.classes.short_names, ""], dtype=object)
        return np.asarray(names[self.top_classes], dtype=object)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per image and answer, in pybioclip's columns first.

        The columns are ``file_name`` (and ``image_region`` where rows are regions), the ranks down
        to the rank of the classes (with ``species_epithet`` before ``species``), ``common_name`` at
        species, and ``score``; then ``answer`` (1 is the best), ``row`` and what :attr:`columns`
        says. Classes that are no taxa have one column ``classification`` instead of the ranks, and
        ``taxon`` behind where they stand for one. Last comes what stands :attr:`beside`:
        ``content``, a person's own columns, and one row, with ``reason``, for each picture that has
        no answer.

        References
        ----------
        pybioclip, *CSV output of ``bioclip predict``*.
        """
        import pandas as pd

        k = self.top_classes.shape[1]
        flat = self.top_classes.ravel()
        names = self.images.name_rows(self.rows)
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.repeat(values, k) for name, values in names.items()
        }
        for name, values in _class_columns(self.classes).items():
            columns[name] = np.append(values, "")[flat]
        columns["score"] = self.scores.ravel().astype(np.float64)
        frame = pd.DataFrame(columns)
        frame["answer"] = np.tile(np.arange(1, k + 1), len(self.rows))
        frame["row"] = np.repeat(self.rows, k)
        if any(self.classes.meant):
            meant = ["|".join(taxon.name for taxon in taxa) for taxa in self.classes.meant]
            frame["taxon"] = np.array(meant, dtype=object)[flat]
        for name, values in self.columns.items():
            frame[name] = values.ravel() if values.ndim > 1 else values.repeat(k)
        if (flat < 0).any():
            # Fewer may be answered than were asked for; an image without any stays a row.
            kept = (flat >= 0) | (frame["answer"] == 1)
            frame = frame[kept].reset_index(drop=True)
        return frame if self.beside is None else self.beside.complete(frame)

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return one row a picture for reading: its best answer, the score, what else is known."""
        frame = self.to_frame() if frame is None else frame
        best = frame[frame["answer"].isna() | (frame["answer"] == 1)]
        return shorten(best, self.rank.value if self.rank else "classification")

    def accuracy(self) -> list[Accuracy]:
        """Measure how often the answers are the labels, where the method did not learn.

        An answer is right by lineage, so a homonym is wrong. An image whose label is not among the
        classes counts as wrong: no answer could be right.

        Returns
        -------
        list of Accuracy
            Top-1, and top-5 where that many answers are there; empty when no such image has a
            label.
        """
        judged = self.truth != ""
        if self.taught is not None:
            judged &= ~self.taught
        if not judged.any():
            return []
        truth = self.truth_classes[judged]
        right = (self.top_classes[judged] == truth[:, np.newaxis]) & (truth[:, np.newaxis] >= 0)
        k_asked = right.shape[1]
        return [
            Accuracy(k, int(right[:, :k].any(axis=1).sum()), int(judged.sum()))
            for k in (1, 5)
            if k <= k_asked
        ]


def _class_columns(classes: Classes) -> dict[str, Names]:
    rank = classes.rank
    if rank is None:
        return {"classification": np.array(classes.names, dtype=object)}
    columns: dict[str, Names] = {}
    for level in RANKS[: rank.depth + 1]:
        if level is Rank.SPECIES:
            columns["species_epithet"] = np.array([t.epithet for t in classes], dtype=object)
        names = [taxon.lineage[level.depth] for taxon in classes]
        columns[level.value] = np.array(names, dtype=object)
    if rank is Rank.SPECIES:
        columns["common_name"] = np.array([t.common_name for t in classes], dtype=object)
    return columns


def answer_in_chunks(
    view: View,
    answer: Callable[[Vectors], tuple[Places, Scores]],
) -> tuple[Places, Scores]:
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
