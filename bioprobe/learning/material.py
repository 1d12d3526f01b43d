"""What a probe learns from and is judged on: rows, vectors and classes of a store."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.splits import Split, assign_folds
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.method import takes_lineages
from bioprobe.task.target import LabelledRows, TextPrior, label_rows
from bioprobe.taxonomy import Rank, Taxonomy
from bioprobe.types import Rows

_N_FOLDS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """Vectors and classes to learn from and to choose on, and what the result is measured on.

    Parameters
    ----------
    labelled : LabelledRows
        Rows of training, and those that a value is chosen on, which are of classes that training
        rows have.
    vectors : ndarray of float32, shape (n_images, dim), unit rows
        Of these rows.
    y : ndarray of object, shape (n_images,) or (n_images, n_ranks)
        What ``fit`` takes.
    training : ndarray of bool, shape (n_images,)
        Which of them are training rows.
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.
    method : str
        ``validation``, ``cross-validation`` or ``none``.
    validation : LabelledRows
        All labelled rows of the part ``validation``, those of classes without a training row too.
    """

    labelled: LabelledRows
    vectors: npt.NDArray[np.float32]
    y: npt.NDArray[np.object_]
    training: npt.NDArray[np.bool_]
    folds: Rows
    method: str
    validation: LabelledRows


def gather_material(
    asked: EmbeddingStore | View,
    kind: str,
    rank: Rank,
    *,
    parts: Split | None,
    seed: int = 0,
    first_rank: Rank = Rank.PHYLUM,
    texts: TextPrior | None = None,
) -> Material:
    """Gather what a kind of probe learns from and is judged on; the part ``test`` is not read.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Of the images.
    kind : str
        Kind of probe.
    rank : Rank
        Rank of the classes.
    parts : Split or None
        None takes every labelled row for training.
    seed : int
        Of folds that are drawn.
    first_rank : Rank
        Broadest rank of the chain, for kinds that learn from lineages.
    texts : TextPrior, optional
        For a kind that starts from texts.

    Raises
    ------
    ProbeError
        If fewer than two classes have a training row.
    SelectionError
        If no image is left.
    """
    view = View.of(asked)
    store, selected = view.store, view.rows
    if parts is None:
        training, validation = selected, selected[:0]
    else:
        training = np.intersect1d(parts.rows("train"), selected)
        validation = np.intersect1d(parts.rows("validation"), selected)
    rows = np.concatenate([training, validation])
    labelled = label_rows(store.images, rows, rank, texts.others if texts else None)
    is_training = np.arange(len(rows)) < len(training)
    # A row with a hole at the rank may still teach what is above it, but tells no answer.
    in_class = labelled.positions >= 0
    learnt = np.unique(labelled.positions[is_training & in_class])
    usable = np.where(
        is_training, in_class | takes_lineages(kind), np.isin(labelled.positions, learnt)
    )
    held_out = labelled.take(~is_training & in_class)
    if len(learnt) < 2 and not (len(learnt) and texts):
        where = f"the part train of the split {parts.name!r}" if parts else "the selected images"
        msg = (
            f"a probe tells classes apart, and the {len(training)} images in {where} have labels "
            f"of {len(learnt)} at {rank.value}; choose another --level, or a wider --where"
        )
        raise ProbeError(msg)
    labelled, is_training = labelled.take(usable), is_training[usable]
    if not texts:
        labelled = _drop_empty_classes(labelled)
    folds, method = _hold_out(labelled, is_training, parts, seed)
    y = labelled.chain(first_rank) if takes_lineages(kind) else labelled.names
    vectors = store.read_vectors(labelled.rows)
    return Material(labelled, vectors, y, is_training, folds, method, held_out)


def _hold_out(
    labelled: LabelledRows, is_training: npt.NDArray[np.bool_], parts: Split | None, seed: int
) -> tuple[Rows, str]:
    """Return the fold in which each row is held out, and what this is called."""
    folds = np.full(len(is_training), -1, dtype=np.int64)
    if not is_training.all():
        folds[~is_training] = 0
        return folds, "validation"
    judged = np.flatnonzero(labelled.positions >= 0)
    rows = labelled.rows[judged]
    if parts is not None and parts.n_folds > 1:
        folds[judged] = parts.folds[rows]
    else:
        groups = parts.groups[rows] if parts is not None else None
        folds[judged] = assign_folds(labelled.positions[judged], _N_FOLDS, seed, groups)
    return folds, "cross-validation" if (folds >= 0).any() else "none"


def _drop_empty_classes(labelled: LabelledRows) -> LabelledRows:
    used = np.unique(labelled.positions[labelled.positions >= 0])
    place = np.full(len(labelled.classes) + 1, -1, dtype=np.int64)
    place[used] = np.arange(len(used))
    return dataclasses.replace(
        labelled,
        classes=Taxonomy(tuple(labelled.classes.taxa[position] for position in used)),
        positions=place[labelled.positions],
    )
