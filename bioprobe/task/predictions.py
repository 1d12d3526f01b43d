"""What every method returns, and how often that is right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MismatchError
from bioprobe.images.image_table import ROWS_AT_ONCE, ImageTable
from bioprobe.intervals import Accuracy
from bioprobe.provenance import Provenance
from bioprobe.result import Columns, Notes, Result
from bioprobe.store.view import View
from bioprobe.task.beside import Beside, name_short, shorten
from bioprobe.task.target import Classes
from bioprobe.taxonomy import RANKS, Rank, Taxon
from bioprobe.types import Mask, Names, Places, Rows, Scores, Vectors

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.task.also import Also
    from bioprobe.task.listed import Listed


@dataclasses.dataclass(frozen=True, eq=False)
class RolledUp:
    """What is answered in place of classes that may not occur.

    Parameters
    ----------
    taxa : tuple of Taxon
        Distinct taxa above such classes.
    places : ndarray of int64, shape (n_images,)
        Position in ``taxa``; -1 where the best class may occur, -2 where nothing above it may.
    scores : ndarray of float32, shape (n_images,)
        Summed probability of the taxon, not a number where there is none.
    """

    taxa: tuple[Taxon, ...]
    places: Places
    scores: Scores

    @classmethod
    def of(cls, answers: Sequence[tuple[Taxon | None, float] | None]) -> RolledUp:
        """Make one of a taxon and its score for each image, None where nothing was changed."""
        taxa: dict[Taxon, int] = {}
        places = [
            -1 if one is None else -2 if one[0] is None else taxa.setdefault(one[0], len(taxa))
            for one in answers
        ]
        scores = np.array([np.nan if one is None else one[1] for one in answers], dtype=np.float32)
        return cls(tuple(taxa), np.array(places, dtype=np.int64), scores)

    def take(self, kept: Mask | Rows) -> RolledUp:
        """Return the same for some of the images."""
        return dataclasses.replace(self, places=self.places[kept], scores=self.scores[kept])


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
    rolled : RolledUp, optional
        What is answered first where the best class of all may not occur; the best of those that may
        follow.
    also : Also, optional
        Taxa that are given always, after the best.
    above : tuple of Predictions
        Answers to the same images at ranks above, from the broadest down.
    n_shown : int
        Answers an image that a terminal shows.
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
    rolled: RolledUp | None = None
    also: Also | None = None
    above: tuple[Predictions, ...] = ()
    n_shown: int = 1

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

    @cached_property
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
            rolled=None if self.rolled is None else self.rolled.take(kept),
            also=None if self.also is None else self.also.take(kept),
            above=tuple(one.take(kept) for one in self.above),
        )

    def keep_best(self, k: int) -> Predictions:
        """Return the best ``k`` classes of each image."""
        return dataclasses.replace(
            self, top_classes=self.top_classes[:, :k], scores=self.scores[:, :k],
            columns={name: values[:, :k] if values.ndim > 1 else values
                     for name, values in self.columns.items()},
            above=tuple(one.keep_best(k) for one in self.above),
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
        """Names of the answers, shape (n_images, k), ``""`` where there is none."""
        return self._spell(self.answers)

    @property
    def best_names(self) -> Names:
        """Names of the first answers alone, shape (n_images,)."""
        return self._spell(self.answers[:, 0])

    def _spell(self, answers: Places) -> Names:
        answered, at = np.unique(answers, return_inverse=True)
        names = np.empty(len(answered), dtype=object)
        for place, one in enumerate(answered.tolist()):
            taxon = self.find_taxon(one)
            names[place] = taxon.name if taxon else self.classes.names[one] if one >= 0 else ""
        return np.asarray(names[at.reshape(answers.shape)], dtype=object)

    @cached_property
    def answer_scores(self) -> Scores:
        """Probability of each of :attr:`answers`, not a number where there is none."""
        return self.scores if self.rolled is None else self._put_first(
            self.scores, self.rolled.scores
        )  # fmt: skip

    @cached_property
    def answers(self) -> Places:
        """Position of each answer in the classes, shape (n_images, k); -1 where there is none.

        Those from ``len(classes)`` are the taxa of :attr:`rolled`.
        """
        if self.rolled is None:
            return self.top_classes
        at = np.where(self.rolled.places >= 0, self.rolled.places + len(self.classes), -1)
        return self._put_first(self.top_classes, at)

    def _put_first(self, values: npt.NDArray[Any], first: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Put what is answered in place of classes before these, where there is such an answer."""
        if self.rolled is None or not values.shape[1]:
            return values
        moved = np.column_stack([first, values[:, :-1]])
        return np.where(self.rolled.places[:, np.newaxis] != -1, moved, values)

    def find_taxon(self, answer: int) -> Taxon | None:
        """Return the taxon of one of :attr:`answers`, None where it is none."""
        n_classes = len(self.classes)
        if answer >= n_classes and self.rolled is not None:
            return self.rolled.taxa[answer - n_classes]
        return self.classes.taxa[answer] if answer >= 0 and self.classes.taxa else None

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
        if self.above:
            return self._join_ranks()
        frame = self._make_frame()
        if self.also is not None:
            own = [*self.images.name_rows(self.rows), *self._whole_columns]
            frame = self.also.add_to(frame, ["row"], [*own, "row"])
        return frame if self.beside is None else self.beside.complete(frame)

    def to_columns(self, *, short: bool = False) -> Columns | None:
        """Return the same by column; None where that needs a frame."""
        if self.above or self.also is not None or (short and self.rolled is not None):
            return None
        listed = self._list_answers()
        columns = listed if self.beside is None else self.beside.complete_columns(listed)
        if columns is None or not short:
            return columns
        best = columns["answer"] <= self.n_shown
        columns["answer"] = columns[self.rank.value if self.rank else "classification"]
        return {name: columns[name][best] for name in name_short(list(columns))}

    def iter_tables(self) -> Iterator[pd.DataFrame | Columns]:
        """Return the table in parts, one below the other, so that a large one is never whole."""
        beside = self.beside
        # Pictures without an answer stand among the others, or below all of them.
        is_apart = beside is not None and (len(beside.left_out) or len(beside.unread))
        if is_apart or self.also is not None or len(self) <= ROWS_AT_ONCE:
            yield from super().iter_tables()
            return
        for start in range(0, len(self), ROWS_AT_ONCE):
            part = self.take(np.arange(start, min(start + ROWS_AT_ONCE, len(self))))
            yield from super(Predictions, part).iter_tables()

    @property
    def _whole_columns(self) -> list[str]:
        """Columns that say the same of all answers to an image."""
        return [name for name, values in self.columns.items() if values.ndim == 1]

    def _join_ranks(self) -> pd.DataFrame:
        """Return the answers at every rank, image by image."""
        import pandas as pd

        frames = []
        for one in (*self.above, dataclasses.replace(self, above=())):
            frame = dataclasses.replace(one, beside=None, also=None).to_frame()
            place = list(frame.columns).index("row") + 1
            frame.insert(place, "rank", one.level)
            frames.append(frame)
        # The lowest has the columns of all.
        joined = pd.concat([frames[-1].iloc[:0], *frames], ignore_index=True)
        for name in [one for one in joined if joined[one].dtype.kind not in "fiub"]:
            joined[name] = joined[name].fillna("")
        place_of = pd.Series(np.arange(len(self.rows)), index=self.rows)
        order = np.argsort(place_of.loc[joined["row"]].to_numpy(), kind="stable")
        joined = joined.iloc[order].reset_index(drop=True)
        if self.also is not None:
            own = [*self.images.name_rows(self.rows), *self._whole_columns]
            joined = self.also.add_to(joined, ["row"], [*own, "row"])
        return joined if self.beside is None else self.beside.complete(joined)

    def _make_frame(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(self._list_answers())

    def _list_answers(self) -> dict[str, npt.NDArray[Any]]:
        k = self.top_classes.shape[1]
        flat = self.answers.ravel()
        names = self.images.name_rows(self.rows)
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.repeat(values, k) for name, values in names.items()
        }
        # Of a million classes few are answered.
        answered, at = np.unique(flat, return_inverse=True)
        for name, values in self._name_answers(answered.tolist()).items():
            columns[name] = values[at]
        columns["score"] = self.answer_scores.ravel().astype(np.float64)
        columns["answer"] = np.tile(np.arange(1, k + 1), len(self.rows))
        columns["row"] = np.repeat(self.rows, k)
        if any(self.classes.meant):
            meant = ["|".join(taxon.name for taxon in taxa) for taxa in self.classes.meant]
            columns["taxon"] = np.array(meant, dtype=object)[flat]
        for name, values in self.columns.items():
            each = values
            if values.ndim > 1:
                each = self._put_first(values, np.full(len(values), np.nan, dtype=np.float32))
            columns[name] = each.ravel() if values.ndim > 1 else values.repeat(k)
        if (flat < 0).any():
            # Fewer may be answered than were asked for; an image without any stays a row.
            kept = (flat >= 0) | (columns["answer"] == 1)
            columns = {name: values[kept] for name, values in columns.items()}
        return columns

    def _name_answers(self, answers: Sequence[int]) -> dict[str, Names]:
        """Return what a table says of some of :attr:`answers`, by column."""
        rank = self.rank
        if rank is None:
            names = [self.classes.names[one] if one >= 0 else "" for one in answers]
            return {"classification": np.array(names, dtype=object)}
        columns: dict[str, Names] = {}
        taxa = [self.find_taxon(one) for one in answers]
        for level in RANKS[: rank.depth + 1]:
            if level is Rank.SPECIES:
                epithets = [taxon.epithet if taxon else "" for taxon in taxa]
                columns["species_epithet"] = np.array(epithets, dtype=object)
            depth = level.depth
            names = [taxon.lineage[depth] if taxon else "" for taxon in taxa]
            columns[level.value] = np.array(names, dtype=object)
        if rank is Rank.SPECIES:
            common = [taxon.common_name if taxon else "" for taxon in taxa]
            columns["common_name"] = np.array(common, dtype=object)
        return columns

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return what is read: the best answers of each picture, the scores, what else is known."""
        frame = self.to_frame() if frame is None else frame
        best = frame[frame["answer"].isna() | (frame["answer"] <= self.n_shown)]
        # What is rolled up has no name at the rank.
        level = (
            "" if self.rolled is not None else self.rank.value if self.rank else "classification"
        )
        return shorten(best, level)

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
        right = (self.answers[judged] == truth[:, np.newaxis]) & (truth[:, np.newaxis] >= 0)
        k_asked = right.shape[1]
        return [
            Accuracy(k, int(right[:, :k].any(axis=1).sum()), int(judged.sum()))
            for k in (1, 5)
            if k <= k_asked
        ]


def answer_in_chunks(
    view: View,
    answer: Callable[[slice, Vectors], tuple[Places, Scores]],
) -> tuple[Places, Scores]:
    """Ask for the best classes of each image, with no more than a chunk of vectors in memory.

    Parameters
    ----------
    view : View
        Whose vectors are asked.
    answer : callable
        From the places of some images in the view and their vectors to classes and scores, both of
        shape (n, k); see :meth:`bioprobe.store.view.View.map_vectors`.

    Returns
    -------
    top : ndarray of int64, shape (n_images, k)
    scores : ndarray of float32, of the same shape
    """
    parts = view.map_vectors(answer)
    some, likely = next(parts)
    # Into arrays of their whole size, so that nothing is held twice.
    top = np.empty((len(view), some.shape[1]), dtype=some.dtype)
    scores = np.empty(top.shape, dtype=likely.dtype)
    at = len(some)
    top[:at], scores[:at] = some, likely
    for some, likely in parts:
        place = slice(at, at + len(some))
        top[place], scores[place] = some, likely
        at = place.stop
    return top, scores
