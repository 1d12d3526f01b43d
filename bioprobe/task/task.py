"""A task: which images teach, choose and judge, and what they are labelled with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import numpy as np

from bioprobe.errors import ProbeError, SelectionError
from bioprobe.splits import Split, assign_folds, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.columns import ColumnBlock, Columns
from bioprobe.task.lazy_rows import AnyRows, take_rows
from bioprobe.task.target import Classes, Labelled, Target, Texts, find_classes, label_rows
from bioprobe.taxonomy import Taxonomy
from bioprobe.types import Mask, Names, Places, Rows, Vectors

N_FOLDS = 5
# Held-out images that are enough to choose on: so many, and so many a class unless they are many.
_FEWEST, _FEWEST_EACH, _MANY = 30, 2, 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Inner:
    """What a method learns from, and how rows are held out to choose and to calibrate.

    Parameters
    ----------
    labelled : Labelled
        Training and held-out rows with the classes that the method can answer. A row that teaches
        only what is above the target has none.
    vectors : ndarray of float32, or LazyRows, shape (n_images, dim), unit rows
    y : ndarray of object, shape (n_images,), or (n_images, n_ranks)
        What the method learns: names, or lineages for one that takes them.
    training : ndarray of bool, shape (n_images,)
        Rows that the method learns from in the end.
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that never is.
    method : str
        ``validation`` part of the split, ``cross-validation`` of the training rows, or ``none``
        where no row can be held out.
    unknown : Labelled
        Held-out images of a class that the method cannot answer. They are not among the rows, and
        count as wrong in every score.
    reason : str
        Why folds are held out although there is a part ``validation``, else ``""``.
    """

    labelled: Labelled
    vectors: AnyRows
    y: Names
    training: Mask
    folds: Places
    method: str
    unknown: Labelled
    reason: str = ""

    @property
    def n_never(self) -> int:
        """Number of classes that teach and of which no image is ever held out."""
        positions, held_out = self.labelled.positions, self.folds >= 0
        taught = np.unique(positions[self.training & (positions >= 0)])
        return int((~np.isin(taught, positions[held_out])).sum())

    @property
    def n_held_out(self) -> int:
        """Held-out images, those of unknown classes too."""
        return int((self.folds >= 0).sum()) + len(self.unknown)


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What is to be learnt from which images. Make one with :meth:`of`.

    Parameters
    ----------
    view : View
        Images that may take part.
    target : Target
        What they are labelled with.
    split : Split, optional
        Which of them teach, choose and judge; without one all labelled images teach.
    texts : Texts, optional
        How classes are written, for methods that read; its ``others`` are classes too.
    seed : int
        Of whatever is drawn.
    others : tuple of EmbeddingStore
        Stores of the same images by other encoders, for methods that take several.
    columns : Columns, optional
        What is to stand beside the vectors, for methods that take it.
    extra : callable, optional
        Returns of rows the vectors of altered copies, shape (n_rows, n_copies, dim), which teach
        beside them wherever they teach, and are never judged.
    reads : str
        What is learnt from instead of the vectors, of what the store keeps beside them; ``""`` for
        the vectors.
    """

    view: View
    target: Target
    split: Split | None = None
    texts: Texts | None = None
    seed: int = 0
    others: tuple[EmbeddingStore, ...] = ()
    columns: Columns | None = None
    extra: Callable[[Rows], Vectors] | None = None
    reads: str = ""

    @classmethod
    def of(
        cls,
        asked: EmbeddingStore | View,
        level: Target | str,
        *,
        split: Split | str | None = "default",
        texts: Texts | None = None,
        seed: int = 0,
        others: tuple[EmbeddingStore, ...] = (),
        columns: Columns | None = None,
    ) -> Task:
        """Return a task by the names of its rank or column and of its split.

        Raises
        ------
        StoreError
            If there is no such split.
        SelectionError
            If there is no image.
        """
        view = View.of(asked)
        parts = read_split(view.store, split) if isinstance(split, str) else split
        target = Target.of(level, images=view.images)
        return cls(view, target, parts, texts, seed, others, columns)

    @property
    def store(self) -> EmbeddingStore:
        """Store of the images."""
        return self.view.store

    @cached_property
    def training(self) -> Rows:
        """Rows that teach, labelled or not: the part ``train``, or all."""
        return self.view.rows if self.split is None else self._find_part("train")

    @cached_property
    def labelled(self) -> Labelled:
        """Rows of the parts ``train`` and ``validation`` with the classes that they have."""
        return label_rows(self.store.images, self._learning, self.target)

    @cached_property
    def block(self) -> ColumnBlock | None:
        """The columns as they are measured on the rows that teach and have a label."""
        if self.columns is None:
            return None
        positions = self.labelled.positions[: len(self.training)]
        rows = self.labelled.rows[: len(self.training)][positions >= 0]
        return self.columns.fit(self.store.images, rows, _measure_spread(View(self.store, rows)))

    @cached_property
    def seen(self) -> View:
        """The view with what stands beside the vectors, or is read instead of them."""
        return self.view.beside(self.block).reading(self.reads)

    @cached_property
    def listed(self) -> Labelled:
        """The same rows with the classes of :attr:`texts` too, which come first."""
        others = self.texts.others if self.texts else None
        if not others:
            return self.labelled
        return label_rows(self.store.images, self._learning, self.target, others)

    @cached_property
    def classes(self) -> Classes:
        """Classes that a method which reads may answer: one rule for every question.

        Those that a training image is labelled with, those of a taxon list that was given, and
        those that a user added. Labels of images that choose or judge are no input.
        """
        return self.listed.classes.take(self._find_known(self.listed, untaught=True))

    @property
    def judged(self) -> View:
        """Images that judge: the part ``test``."""
        return self.view.take(self._find_part("test"))

    def fold(self, labelled: Labelled) -> Places:
        """Return the fold of each training row: that of the split, or one of five stratified ones.

        Groups of the split are whole; -1 is for a row that is never held out.
        """
        if self.split is not None:
            folds = self.split.folds[labelled.rows]
            if len(np.unique(folds[folds >= 0])) > 1:
                return folds
        order = self.store.images.order(labelled.rows)
        groups = self._find_groups(labelled.rows[order])
        folds = np.empty(len(labelled), dtype=np.int64)
        folds[order] = assign_folds(labelled.names[order], N_FOLDS, self.seed, groups)
        return folds

    def inner(self, *, lineages: bool = False, untaught: bool = False, lazy: bool = False) -> Inner:
        """Return how rows are held out to choose and to calibrate: the one place that says it.

        The part ``validation`` is held out. Where it is empty, each fold of the training rows is in
        turn. Where it is too small to choose on, each fold of the training and validation rows
        together is: where it has fewer than 30 labelled images, or fewer than 1,000 and fewer than
        two a class in the mean. What is fitted in the end learns from the training rows alone. The
        part ``test`` is not read.

        Parameters
        ----------
        lineages : bool
            Whether the method learns lineages: a row with a hole at the target may then teach what
            is above it.
        untaught : bool
            Whether the method can answer classes that no row teaches, from their texts.
        lazy : bool
            As for :meth:`take_vectors`.

        Raises
        ------
        ProbeError
            If fewer than two classes have a training row.
        """
        key = (lineages, untaught, lazy)
        if key not in self._inner:
            self._inner[key] = self._hold_out(lineages=lineages, untaught=untaught, lazy=lazy)
        return self._inner[key]

    def take_vectors(self, rows: Rows, *, lazy: bool = False) -> AnyRows:
        """Return the vectors of some rows as a method learns them.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)
            Rows of the store.
        lazy : bool
            Whether the method takes :class:`~bioprobe.task.lazy_rows.LazyRows`: many vectors are
            then read where they are used, some at a time.

        Returns
        -------
        ndarray of float32, or LazyRows, shape (n_rows, dim)
        """
        if not lazy or self.reads:
            return self.seen.read_vectors(rows)
        dim = self.store.manifest.dim + (self.block.width if self.block else 0)
        return take_rows(self.seen.read_vectors, rows, dim)

    def rounds(self, kept: Mask | None = None, known: Mask | None = None) -> list[Task]:
        """Return what is learnt from and judged: one task, or one for each fold.

        Of a split with a part ``test`` that is judged; of one without, each fold is judged by what
        was learnt from the others.

        Parameters
        ----------
        kept : ndarray of bool, shape (n_rows,), optional
            Rows of the store that may teach and choose; all images are judged.
        known : ndarray of bool, shape (n_rows,), optional
            Rows of the store that may not judge, as something that is asked knows them already.

        Raises
        ------
        SelectionError
            If no labelled image would be judged.
        """
        split, labelled = self.need_split(), self.store.images.labels(self.target.name) != ""
        if known is not None and labelled[split.judging].any():
            labelled &= ~known
            if not labelled[split.judging].any():
                msg = (
                    f"every labelled image of the split {split.name!r} that would judge is known "
                    "to what is asked; have that made of images that teach, as by --split "
                    f"{split.name}:train, or judge on another split"
                )
                raise SelectionError(msg)
        found = list_rounds(split, labelled, kept)
        return [dataclasses.replace(self, split=one) for one in found]

    def write(self, texts: Texts) -> Task:
        """Return the same task with its classes written in another way."""
        changed = dataclasses.replace(self, texts=texts)
        if self.texts is not None and self.texts.others is texts.others:
            # What is labelled and held out does not depend on how classes are written.
            names = ("training", "labelled", "listed", "_learning", "_inner")
            shared = {name: getattr(self, name) for name in names}
            changed.__dict__.update(shared)
        return changed

    def weigh_columns(self, weight: float) -> Task:
        """Return the same task with another weight of its columns, without them where it is 0."""
        if self.columns is None:
            return self
        if weight not in self._by_weight:
            columns = dataclasses.replace(self.columns, weight=weight) if weight else None
            self._by_weight[weight] = dataclasses.replace(self, columns=columns)
        return self._by_weight[weight]

    def reading(self, kind: str) -> Task:
        """Return the same task that learns from something else; ``""`` is the vectors."""
        if kind == self.reads:
            return self
        if kind not in self._by_reading:
            self._by_reading[kind] = dataclasses.replace(self, reads=kind)
        return self._by_reading[kind]

    def need_split(self) -> Split:
        """Return the split of a question that cannot do without one.

        Raises
        ------
        SelectionError
            If there is none.
        """
        if self.split is None:
            msg = "images are judged on a split; make one: bioprobe split"
            raise SelectionError(msg)
        return self.split

    def without(self, rows: Rows) -> Task:
        """Return the task of which some rows do not teach, with all others as they are."""
        view = self.view.take(np.setdiff1d(self.view.rows, rows, assume_unique=True))
        return dataclasses.replace(self, view=view)

    @cached_property
    def _by_weight(self) -> dict[float, Task]:
        """The task by the weight of its columns, each of which reads the vectors once."""
        return {}

    @cached_property
    def _by_reading(self) -> dict[str, Task]:
        """The task by what is read, each of which holds out once."""
        return {}

    @cached_property
    def _inner(self) -> dict[tuple[bool, bool, bool], Inner]:
        return {}

    def _find_groups(self, rows: Rows) -> Names | None:
        """Return what is held out together: groups of the split, or regions of one picture."""
        if self.split is not None:
            return self.split.groups[rows]
        images = self.store.images
        if not images.has_regions:
            return None
        return np.array([f"picture {one}" for one in images.number_files(rows)], dtype=object)

    def _find_part(self, part: str) -> Rows:
        if self.split is None:
            return self.view.rows[:0]
        rows, is_asked = self.split.rows(part), np.zeros(len(self.store), dtype=bool)
        is_asked[self.view.rows] = True
        return rows[is_asked[rows]]

    @cached_property
    def _learning(self) -> Rows:
        validation = self.training[:0] if self.split is None else self._find_part("validation")
        return np.concatenate([self.training, validation])

    def _find_known(self, labelled: Labelled, *, untaught: bool) -> Places:
        """Return the classes that can be answered, in their order."""
        positions = labelled.positions[: len(self.training)]
        taught = np.unique(positions[positions >= 0])
        if not untaught or self.texts is None or not self.texts.others:
            return taught
        rank, others = self.target.rank, self.texts.others
        if rank is not None and isinstance(others, Taxonomy):
            lineages = (taxon.lineage for taxon in others.at(rank))
            listed = find_classes(lineages, labelled.classes, rank)
        else:
            listed = labelled.classes.find(others)
        return np.union1d(taught, listed[listed >= 0])

    def _hold_out(self, *, lineages: bool, untaught: bool, lazy: bool) -> Inner:
        labelled = self.listed if untaught else self.labelled
        is_training = np.arange(len(labelled)) < len(self.training)
        in_class = labelled.positions >= 0
        known = self._find_known(labelled, untaught=untaught)
        n_taught = len(np.unique(labelled.positions[is_training & in_class]))
        if n_taught < 2 and not (n_taught and untaught):
            where = f"the part train of the split {self.split.name!r}" if self.split else ""
            msg = (
                f"a probe tells classes apart, and the {len(self.training)} images in "
                f"{where or 'the selected images'} have labels of {n_taught} at "
                f"{self.target.name}; choose another --level, or a wider --where"
            )
            raise ProbeError(msg)
        is_known = np.isin(labelled.positions, known)
        usable = np.where(is_training, in_class | lineages, is_known)
        unknown = labelled.take(~is_training & in_class & ~usable)
        has_validation = bool((~is_training & in_class).any())
        if not usable.all():
            labelled, is_training = labelled.take(usable), is_training[usable]
        if len(known) < len(labelled.classes):
            labelled = labelled.keep_classes(known)
        folds = np.full(len(labelled), -1, dtype=np.int64)
        method, reason, judged = "validation", "", labelled.positions >= 0
        if has_validation:
            reason = _describe_few(int((~is_training).sum()) + len(unknown), n_taught)
            folds[~is_training] = 0
        if reason:
            # The folds of a split know training rows alone.
            groups = self._find_groups(labelled.rows[judged])
            found = assign_folds(labelled.positions[judged], N_FOLDS, self.seed, groups)
            if (found >= 0).any():
                folds[:], folds[judged] = -1, found
                method = "cross-validation"
            else:
                reason = ""
        elif not has_validation:
            folds[judged] = self.fold(labelled.take(judged))
            method = "cross-validation" if (folds >= 0).any() else "none"
        y = labelled.chain if lineages else labelled.names
        vectors = self.take_vectors(labelled.rows, lazy=lazy)
        return Inner(labelled, vectors, y, is_training, folds, method, unknown, reason)


def _measure_spread(view: View) -> float:
    """Return the root of the mean squared distance of vectors from their middle."""
    if not len(view):
        return 0.0
    total, squares = np.zeros(view.manifest.dim), 0.0
    for vectors in view.iter_vectors():
        total += vectors.sum(axis=0, dtype=np.float64)
        squares += float((vectors.astype(np.float64) ** 2).sum())
    return float(np.sqrt(max(0.0, squares / len(view) - ((total / len(view)) ** 2).sum())))


def _describe_few(n_images: int, n_classes: int) -> str:
    """Say why a validation part is too small to choose on; ``""`` where it is not.

    Examples
    --------
    >>> _describe_few(40, 10)
    ''
    >>> _describe_few(40, 30)
    'the part validation has 40 images of 30 classes, fewer than 2 a class'
    """
    said = f"the part validation has {n_images:,} images"
    if n_images < _FEWEST:
        return f"{said}, fewer than {_FEWEST}"
    if n_images < min(_MANY, _FEWEST_EACH * n_classes):
        return f"{said} of {n_classes:,} classes, fewer than {_FEWEST_EACH} a class"
    return ""


def list_rounds(split: Split, labelled: Mask, kept: Mask | None = None) -> list[Split]:
    """List the splits that are judged one after the other, each with a part ``test``.

    Parameters
    ----------
    split : Split
        One with a test part is one round. One without is as many as it has folds: in each, a fold
        is answered by what was learnt from the others.
    labelled : ndarray of bool, shape (n_store_rows,)
        Rows that have a label; no others are answered.
    kept : ndarray of bool, shape (n_store_rows,), optional
        Rows that may be learnt from and chosen on; those that are answered are not touched.

    Raises
    ------
    SelectionError
        If no row would be answered.
    """
    in_test = split.parts == "test"
    tested = in_test & labelled
    if in_test.any() and not tested.any():
        # Folds of the training part would be another question than the one that was asked.
        msg = (
            f"none of the {in_test.sum():,} images in the part test of the split {split.name!r} "
            "has a label at this rank; say another --level, or make another split"
        )
        raise SelectionError(msg)
    if tested.any():
        rounds = [_make_round(split, tested, kept)]
    else:
        folds = np.unique(split.folds[(split.folds >= 0) & labelled])
        rounds = [
            _make_round(split, (split.folds == fold) & labelled, kept, fold) for fold in folds
        ]
    if not rounds:
        msg = (
            f"the split {split.name!r} has neither a part test nor a labelled image in a fold; "
            "make one: bioprobe split"
        )
        raise SelectionError(msg)
    return rounds


def _make_round(split: Split, tested: Mask, kept: Mask | None, fold: int | None = None) -> Split:
    parts = split.parts.copy()
    parts[parts == "test"] = ""
    if kept is not None:
        parts[~kept] = ""
    folds = np.where(parts == "train", split.folds, -1)
    name, digest = split.name, split.hash
    if fold is not None:
        parts[split.folds == fold] = ""
        folds[split.folds == fold] = -1
        name, digest = f"{name} without fold {fold}", f"{digest}:{fold}"
    parts[tested] = "test"
    # Numbered from 0 again, as the folds of a split are.
    _, numbers = np.unique(folds[folds >= 0], return_inverse=True)
    folds[folds >= 0] = numbers
    return dataclasses.replace(
        split, name=name, parts=parts, folds=folds, provenance={**split.provenance, "hash": digest}
    )
