"""Answers at the deepest rank that is sure enough, from any classifier's probabilities."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.abstention import ChosenConfidence
from bioprobe.classify.accuracy import Accuracy
from bioprobe.classify.backed_off import back_off_rows
from bioprobe.errors import SelectionError
from bioprobe.taxonomy import RANKS, Taxonomy

Positions = npt.NDArray[np.int64]

# Confidences that are tried on validation rows: every hundredth.
_N_TRIED = 100


@dataclasses.dataclass(frozen=True)
class RolledUp:
    """One answer an image, at the deepest rank whose summed probability passes a confidence.

    Parameters
    ----------
    levels : tuple of Taxonomy
        Classes at each rank, from kingdom down to that of the classifier.
    best : ndarray of int64, shape (n_images, n_ranks)
        Class at each rank, as in :class:`bioprobe.classify.abstention.BackedOff`.
    scores : ndarray of float32, shape (n_images, n_ranks)
        Their summed probabilities.
    depths : ndarray of int64, shape (n_images,)
        Rank of the answer, 0 for kingdom; -1 where no rank passes.
    """

    levels: tuple[Taxonomy, ...]
    best: Positions
    scores: npt.NDArray[np.float32]
    depths: Positions

    def find_right(self, ancestors: Positions) -> npt.NDArray[np.bool_]:
        """Tell which answers are the truth or an ancestor of it, shape (n_images,).

        Parameters
        ----------
        ancestors : ndarray of int64, shape (n_images, n_ranks)
            True class at each rank, -1 where unknown: see :func:`find_ancestors`.
        """
        images = np.flatnonzero(self.depths >= 0)
        right = np.zeros(len(self.depths), dtype=bool)
        at = self.depths[images]
        truth = ancestors[images, at]
        right[images] = (truth >= 0) & (self.best[images, at] == truth)
        return right


def roll_up(probabilities: npt.NDArray[Any], classes: Taxonomy, confidence: float) -> RolledUp:
    """Answer each image at the deepest rank whose summed probability passes a confidence.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n_images, n_classes)
        Calibrated, if the confidence is to mean what it says.
    classes : Taxonomy
        In the order of the columns.
    confidence : float
        In (0, 1].

    Raises
    ------
    SelectionError
        If probabilities and classes do not fit each other, or the confidence is out of range.

    References
    ----------
    SpeciesNet, ``geofence_utils.roll_up_labels_to_first_matching_level``; Valmadre 2022,
    *Hierarchical classification at multiple operating points*.
    """
    if probabilities.shape[1] != len(classes) or not 0 < confidence <= 1:
        msg = (
            f"rolling up takes one column a class and a confidence in (0, 1]; got "
            f"{probabilities.shape[1]} columns, {len(classes)} classes, {confidence:g}"
        )
        raise SelectionError(msg)
    return _roll_up(probabilities, _group(classes), confidence)


def find_ancestors(classes: Taxonomy, truth: Positions) -> Positions:
    """Return the true class at each rank down to that of the classes, -1 where unknown.

    Parameters
    ----------
    classes : Taxonomy
        Of the classifier.
    truth : ndarray of int64, shape (n_images,)
        Position in them, -1 where unknown.

    Returns
    -------
    ndarray of int64, shape (n_images, n_ranks)
    """
    table = np.stack([positions for _, positions in _group(classes)], axis=1)
    found = np.full((len(truth), table.shape[1]), -1, dtype=np.int64)
    found[truth >= 0] = table[truth[truth >= 0]]
    return found


def choose_roll_up(
    probabilities: npt.NDArray[Any], classes: Taxonomy, truth: Positions, accuracy: float
) -> ChosenConfidence:
    """Choose on validation rows the lowest confidence at which rolled-up answers are right enough.

    An answer is right if it is the label or an ancestor of it; where no rank passes, none is given.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n_images, n_classes)
        Of rows that the classifier did not learn from.
    classes : Taxonomy
        In the order of the columns.
    truth : ndarray of int64, shape (n_images,)
        Position in the classes; rows of -1 are left out.
    accuracy : float
        Least share of right answers among those given, in (0, 1].

    Raises
    ------
    SelectionError
        If no row has a label among the classes, or a fraction is out of range.
    """
    known = truth >= 0
    if not known.any() or not 0 < accuracy <= 1:
        msg = (
            f"choosing takes labelled rows ({known.sum()}) and an accuracy in (0, 1]: {accuracy:g}"
        )
        raise SelectionError(msg)
    values, groups = probabilities[known], _group(classes)
    ancestors, n_known = find_ancestors(classes, truth[known]), int(known.sum())
    chosen = ChosenConfidence(math.inf, accuracy, Accuracy(1, 0, 0), n_known)
    for confidence in np.linspace(1, 0, _N_TRIED, endpoint=False).tolist():
        rolled = _roll_up(values, groups, confidence)
        n = int((rolled.depths >= 0).sum())
        measured = Accuracy(1, int(rolled.find_right(ancestors).sum()), n)
        if n and measured.fraction >= accuracy - 1e-9:
            chosen = ChosenConfidence(confidence, accuracy, measured, n_known)
    return chosen


def _group(classes: Taxonomy) -> list[tuple[Taxonomy, Positions]]:
    deepest = max(taxon.depth for taxon in classes)
    return [classes.group(rank) for rank in RANKS[: deepest + 1]]


def _roll_up(
    probabilities: npt.NDArray[Any], groups: list[tuple[Taxonomy, Positions]], confidence: float
) -> RolledUp:
    values = np.asarray(probabilities, dtype=np.float32)
    answers = back_off_rows(values, [positions for _, positions in groups], confidence)
    return RolledUp(tuple(level for level, _ in groups), *answers)
