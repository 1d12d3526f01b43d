"""The figures of a method with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bioprobe.evaluation.intervals.bootstrap import (
    Draws,
    Interval,
    Resamples,
    Weights,
    draw_scores,
    find_interval,
)
from bioprobe.evaluation.metrics.flat_metrics import FLAT_METRICS, find_best, score_flat
from bioprobe.evaluation.metrics.tree_metrics import TREE_METRICS, measure_rows, score_tree
from bioprobe.probes.hierarchy.label_tree import LabelTree
from bioprobe.taxonomy import Rank, Taxonomy

Classes = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]

# Of answers that never back off, right or above is accuracy again.
METRICS = (*FLAT_METRICS, *(name for name in TREE_METRICS if name != "right_or_above"))
CALIBRATED = ("ece_calibrated", "log_loss_calibrated")
LOWER_IS_BETTER = frozenset(
    {"log_loss", "ece", "mistake_severity", "average_lca_height", *CALIBRATED}
)
# Resampling shifts these, so the shift is taken back: see find_interval.
_SHIFTED = frozenset({"macro_f1", "macro_precision", "ece", "ece_calibrated"})


def draw_method_scores(
    truth: Classes,
    probabilities: Probabilities,
    calibrated: Probabilities | None,
    tree: LabelTree,
    resamples: Resamples,
) -> dict[str, Draws]:
    """Measure a method on all images and on each resample.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_images,)
        True class of each image.
    probabilities : ndarray of float32, shape (n_images, n_classes)
        As they come.
    calibrated : ndarray of float32, shape (n_images, n_classes), or None
        Calibrated.
    tree : LabelTree
        Of the classes.
    resamples : Resamples
        Of the images.

    Returns
    -------
    dict of str to Draws
        :data:`METRICS`, and :data:`CALIBRATED` where probabilities were calibrated.
    """
    rows = measure_rows(truth, find_best(probabilities), tree)

    def score(weights: Weights) -> Mapping[str, npt.NDArray[np.float64]]:
        found = {**score_flat(truth, probabilities, weights), **score_tree(rows, weights)}
        if calibrated is not None:
            again = score_flat(truth, calibrated, weights, metrics=("ece", "log_loss"))
            found |= {f"{name}_calibrated": values for name, values in again.items()}
        return {name: found[name] for name in (*METRICS, *CALIBRATED) if name in found}

    return draw_scores(score, resamples)


def find_intervals(draws: Mapping[str, Draws]) -> dict[str, Interval]:
    """Find the interval of each figure, of 95%."""
    found = {}
    for name, of in draws.items():
        if name in _SHIFTED:
            interval = find_interval(of, method="basic")
            found[name] = Interval(of.estimate, _bound(interval.low), _bound(interval.high))
        else:
            found[name] = find_interval(of)
    return found


def _bound(end: float) -> float:
    return end if math.isnan(end) else min(1.0, max(0.0, end))


def build_tree(classes: Taxonomy, rank: Rank) -> LabelTree:
    """Build the tree of classes from kingdom down to their rank, in their order."""
    ranks = rank.depth + 1
    leaves = np.empty((len(classes), ranks), dtype=object)
    for place, taxon in enumerate(classes):
        leaves[place] = taxon.lineage[:ranks]
    return LabelTree.from_leaves(leaves)
