"""What is kept of the probabilities that a method gives: all that figures need, and not these.

A million images of 200 classes have 800 MB of probabilities. They are measured some images at a
time, as they come; only where an image stands among those of each class is left of the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from bioprobe.evaluation.binary_metrics import score_positive
from bioprobe.evaluation.metrics import BY_IMAGE, FlatRows, measure_flat
from bioprobe.evaluation.tree_metrics import TreeRows, find_consistent, measure_rows
from bioprobe.evaluation.weighted_rows import ClassRanks
from bioprobe.probes.label_tree import LabelTree
from bioprobe.task.scores import find_top
from bioprobe.types import Arrays, Doubles, Floats, Mask, Places, Scores

#: Answers of each image that are listed.
N_LISTED = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """The answers of a method, of which each image is measured once for all weightings.

    Parameters
    ----------
    flat : FlatRows
        Of the probabilities as they come.
    calibrated : FlatRows or None
        Of the calibrated ones, without ranks; None where there are none.
    tree : TreeRows or None
        None of classes without a tree.
    n_ranks : int
        Of the tree, 0 without one.
    top : ndarray of int32, shape (n_images, min(5, n_classes))
        Most probable classes, best first.
    top_probabilities : ndarray of float32, of the same shape
    positive : int or None
        The positive class, of two.
    scores : ndarray of float64, shape (n_images,), or None
        Its probability; see :func:`bioprobe.evaluation.binary_metrics.score_positive`.
    """

    flat: FlatRows
    calibrated: FlatRows | None
    tree: TreeRows | None
    n_ranks: int
    top: npt.NDArray[np.int32]
    top_probabilities: Scores
    positive: int | None = None
    scores: Doubles | None = None

    def take(self, kept: Mask) -> Measured:
        """Return what is kept of some of the images."""
        return dataclasses.replace(
            self, flat=self.flat.take(kept),
            calibrated=self.calibrated and self.calibrated.take(kept),
            tree=self.tree and self.tree.take(kept),
            top=self.top[kept], top_probabilities=self.top_probabilities[kept],
            scores=None if self.scores is None else self.scores[kept],
        )  # fmt: skip


class Measuring:
    """Takes probabilities some images at a time.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
        True class of each image.
    n_classes : int
    tree : LabelTree, optional
        Of the classes.
    positive : int, optional
        The positive class, of two.
    """

    def __init__(
        self, truth: Places, n_classes: int, tree: LabelTree | None = None,
        positive: int | None = None,
    ) -> None:  # fmt: skip
        self._truth, self._n_classes, self._tree, self._positive = truth, n_classes, tree, positive
        n_images, n_listed = len(truth), min(N_LISTED, n_classes)
        self._flat: Arrays = {}
        self._calibrated: Arrays = {}
        self._of_tree: Arrays = {}
        self._top = np.empty((n_images, n_listed), dtype=np.int32)
        self._top_probabilities = np.empty((n_images, n_listed), dtype=np.float32)
        # Of two classes AUROC is that of the positive one.
        self._scores = None if positive is None else np.empty(n_images)
        self._ranked = np.unique(truth[truth >= 0]).tolist() if positive is None else []
        self._of_class: dict[int, Floats] = {}

    def add(self, images: Places, probabilities: Scores, calibrated: Scores | None = None) -> None:
        """Measure some of the images.

        Parameters
        ----------
        images : ndarray of int64, shape (n,)
            Which these are.
        probabilities : ndarray of float32, shape (n, n_classes)
            As they come.
        calibrated : ndarray of float32, of the same shape, optional
        """
        truth = self._truth[images]
        flat = measure_flat(truth, probabilities)
        self._put(self._flat, flat, BY_IMAGE, images)
        if calibrated is not None:
            self._put(self._calibrated, measure_flat(truth, calibrated), BY_IMAGE, images)
        if self._tree is not None:
            rows = dataclasses.replace(
                measure_rows(truth, flat.predicted, self._tree),
                is_consistent=find_consistent(probabilities, self._tree),
            )
            self._put(self._of_tree, rows, [one.name for one in dataclasses.fields(rows)], images)
        top, values = find_top(probabilities, N_LISTED)
        self._top[images], self._top_probabilities[images] = top, values
        if self._scores is not None and self._positive is not None:
            self._scores[images] = score_positive(probabilities, self._positive)
        for c in self._ranked:
            if c not in self._of_class:
                self._of_class[c] = np.empty(len(self._truth), dtype=probabilities.dtype)
            self._of_class[c][images] = probabilities[:, c]

    def _put(
        self, arrays: Arrays, rows: FlatRows | TreeRows, names: Iterable[str], images: Places
    ) -> None:
        for name in names:
            values = getattr(rows, name)
            if name not in arrays:
                arrays[name] = np.empty(len(self._truth), dtype=values.dtype)
            arrays[name][images] = values

    def finish(self, *, is_calibrated: bool = True) -> Measured:
        """Return what is kept, once all images were added.

        Parameters
        ----------
        is_calibrated : bool
            Whether calibrated probabilities count where there were any.
        """

        def join(arrays: Arrays, of_class: Mapping[int, Floats]) -> FlatRows:
            ranks = ClassRanks(self._truth, of_class)
            return FlatRows(self._n_classes, self._truth, **arrays, ranks=ranks)

        # Whoever ranks them gives them up: they are held nowhere else.
        of_class, self._of_class = self._of_class, {}
        return Measured(
            join(self._flat, of_class),
            join(self._calibrated, {}) if self._calibrated and is_calibrated else None,
            TreeRows(**self._of_tree) if self._tree is not None else None,
            0 if self._tree is None else self._tree.n_ranks,
            self._top, self._top_probabilities, self._positive, self._scores,
        )  # fmt: skip


def measure(
    truth: Places,
    probabilities: Scores,
    calibrated: Scores | None = None,
    tree: LabelTree | None = None,
    positive: int | None = None,
) -> Measured:
    """Measure images whose probabilities are all there.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
        True class of each image.
    probabilities : ndarray of float32, shape (n_images, n_classes)
        As they come.
    calibrated : ndarray of float32, shape (n_images, n_classes), optional
    tree : LabelTree, optional
        Of the classes; classes without one have no figures of the tree.
    positive : int, optional
        The positive class, of two.
    """
    measuring = Measuring(truth, probabilities.shape[1], tree, positive)
    measuring.add(np.arange(len(truth)), probabilities, calibrated)
    return measuring.finish()
