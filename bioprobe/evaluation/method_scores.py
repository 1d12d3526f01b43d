"""All figures of a method, on all images and on each resample, and their intervals.

Which figures there are is said here, and what interval each one has: one of a share of images, of a
mean, or of a calibration error, which chance makes larger than it is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from bioprobe.evaluation.binary_metrics import (
    BINARY_METRICS,
    COUNTED_METRICS,
    count_flagged,
    score_binary,
    score_positive,
)
from bioprobe.evaluation.metrics import (
    FLAT_METRICS,
    N_BINS,
    FlatRows,
    find_best,
    find_bins,
    measure_flat,
    score_flat,
)
from bioprobe.evaluation.tree_metrics import (
    CONSISTENCY,
    TREE_METRICS,
    find_consistent,
    measure_rows,
    score_tree,
)
from bioprobe.evaluation.weighted_rows import Ranks
from bioprobe.intervals import Draws, Interval, Resamples, draw_scores, find_interval
from bioprobe.probes.label_tree import LabelTree
from bioprobe.types import Doubles, Mask, Places, Scores

# Of answers that never back off, right or above is accuracy again.
METRICS = (*FLAT_METRICS, *(name for name in TREE_METRICS if name != "right_or_above"))
CALIBRATED = ("ece_calibrated", "log_loss_calibrated")
AT_THRESHOLD = tuple(f"{name}_at_threshold" for name in COUNTED_METRICS)
_ORDER = dict.fromkeys((*METRICS, *BINARY_METRICS, *CALIBRATED, *AT_THRESHOLD))
# Shares of images: their interval needs no resamples where images are independent.
_SHARES = frozenset({
    "accuracy", "top5", "precision", "recall", "specificity", "right_or_above",
    "precision_at_threshold", "recall_at_threshold", "specificity_at_threshold", *CONSISTENCY,
})  # fmt: skip
# Those that are no means, and are off where classes have few images.
_SHIFTED, _N_SHIFTED = ("macro_f1", "macro_precision"), 200
_HEIGHTS = frozenset({"mistake_severity", "average_lca_height"})
_LOSSES = frozenset({"log_loss", "log_loss_calibrated"})
_ERRORS = frozenset({"ece", "ece_calibrated"})
# How often probabilities that mean what they say are drawn right or wrong, and how many of these
# errors may be below one that is more than chance.
_N_CONSISTENT, _CONSISTENT = 200, 0.99


def draw_method_scores(
    truth: Places,
    probabilities: Scores,
    calibrated: Scores | None,
    tree: LabelTree | None,
    resamples: Resamples,
    positive: int | None = None,
    flagged: Mask | None = None,
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
    tree : LabelTree or None
        Of the classes; classes without one have no figures of the tree.
    resamples : Resamples
        Of the images.
    positive : int, optional
        The positive class, of two.
    flagged : ndarray of bool, shape (n_images,), optional
        Whether its probability reaches a threshold that was chosen on other images.

    Returns
    -------
    dict of str to Draws
        :data:`METRICS`, and :data:`CALIBRATED` where probabilities were calibrated; of two classes
        :data:`BINARY_METRICS` of the positive one, and :data:`AT_THRESHOLD` where it is flagged.
    """
    method = _Method(truth, probabilities, calibrated, tree, positive, flagged)
    found = draw_scores(method.score, resamples, method.list_units())
    return {**found, **_find_shifts(found, truth, probabilities, method.rows, resamples)}


class _Method:
    """The answers of a method, of which each image is measured once for all weightings."""

    def __init__(
        self,
        truth: Places,
        probabilities: Scores,
        calibrated: Scores | None,
        tree: LabelTree | None,
        positive: int | None,
        flagged: Mask | None,
    ) -> None:
        self._truth, self._flagged = truth, flagged
        self._probabilities, self._calibrated = probabilities, calibrated
        self._best = find_best(probabilities)
        self.rows = measure_flat(truth, probabilities)
        self._recalibrated = None if calibrated is None else measure_flat(truth, calibrated)
        self._tree_rows = None
        if tree is not None:
            consistent = find_consistent(probabilities, tree)
            of_tree = measure_rows(truth, self._best, tree)
            self._tree_rows = dataclasses.replace(of_tree, is_consistent=consistent)
        # Of two classes AUROC is that of the positive one.
        self._flat = [
            name for name in FLAT_METRICS if positive is None or name not in BINARY_METRICS
        ]
        self._is_positive = None
        if positive is not None:
            self._is_positive, self._answers = truth == positive, self._best == positive
            self._scores = score_positive(probabilities, positive)
            self._ranks = Ranks.find(self._scores, self._is_positive)

    def score(self, weights: Scores) -> Mapping[str, Doubles]:
        """Return every figure of each weighting."""
        found = score_flat(
            self._truth, self._probabilities, weights, metrics=self._flat, rows=self.rows
        )
        found |= score_tree(self._tree_rows, weights) if self._tree_rows is not None else {}
        if self._calibrated is not None:
            again = score_flat(
                self._truth, self._calibrated, weights, metrics=("ece", "log_loss"),
                rows=self._recalibrated,
            )  # fmt: skip
            found |= {f"{name}_calibrated": values for name, values in again.items()}
        if self._is_positive is not None:
            found |= score_binary(
                self._is_positive, self._scores, self._answers, weights, ranks=self._ranks
            )
            if self._flagged is not None:
                counted = count_flagged(self._is_positive, self._flagged, weights)
                found |= dict(zip(AT_THRESHOLD, counted.values(), strict=True))
        return {name: found[name] for name in _ORDER if name in found}

    def list_units(self) -> dict[str, Mask]:
        """Return the images that figures are of which are not of all."""
        units = {"mistake_severity": self._best != self._truth}
        if self._is_positive is not None:
            units |= _list_units("", self._is_positive, self._answers)
            if self._flagged is not None:
                units |= _list_units("_at_threshold", self._is_positive, self._flagged)
        return units


def _find_shifts(
    found: Mapping[str, Draws],
    truth: Places,
    probabilities: Scores,
    known: FlatRows,
    resamples: Resamples,
) -> dict[str, Draws]:
    """Return the figures that are off where classes are small, with how much they may be."""
    few = dataclasses.replace(resamples, n_resamples=min(_N_SHIFTED, resamples.n_resamples))
    parts = [
        score_flat(truth, probabilities, weights, metrics=_SHIFTED, rows=known)
        for weights in few.iter_weights(smooth=True)
    ]
    means = {name: np.concatenate([part[name] for part in parts]).mean() for name in _SHIFTED}
    return {
        name: dataclasses.replace(found[name], shift=float(mean - found[name].estimate))
        for name, mean in means.items()
        if math.isfinite(mean)
    }


def _list_units(suffix: str, is_positive: Mask, flagged: Mask) -> dict[str, Mask]:
    """Return the images that the figures of the positive class are of."""
    rarer = is_positive if is_positive.mean() <= 0.5 else ~is_positive
    return {
        f"precision{suffix}": flagged, f"recall{suffix}": is_positive,
        f"specificity{suffix}": ~is_positive,
        **({} if suffix else {"auroc": rarer, "average_precision": is_positive}),
    }  # fmt: skip


def find_intervals(
    draws: Mapping[str, Draws],
    probabilities: Scores,
    calibrated: Scores | None,
    tree: LabelTree | None,
    resamples: Resamples,
) -> dict[str, Interval]:
    """Find the interval of each figure that :func:`draw_method_scores` returns, of 95%.

    See Also
    --------
    bioprobe.intervals.find_interval : what they are.
    """
    chance = find_chance_errors(probabilities, calibrated, resamples)
    found = {}
    for name, of in draws.items():
        if name in _ERRORS:
            found[name] = _find_error_interval(of, chance.get(name, 0.0))
        elif name in _HEIGHTS and tree is not None:
            found[name] = find_interval(of, high=tree.n_ranks)
        elif name in _LOSSES:
            # A loss has no end that it comes near to: twice that of what knows nothing, if no more,
            # with which ``benchmarks/coverage.py`` finds what is promised.
            most = np.nanmax([2 * math.log(max(2, probabilities.shape[1])), *of.resampled])
            found[name] = find_interval(of, high=float(most))
        else:
            found[name] = find_interval(of, is_share=name in _SHARES)
    return found


def _find_error_interval(draws: Draws, chance: float) -> Interval:
    """Find the interval of a calibration error, which noise makes larger than it is.

    The shift by resampling is taken back (the basic bootstrap), the interval of a figure that is
    not shifted is joined, and it begins at 0 where chance alone gives as large an error.
    """
    values = draws.resampled[np.isfinite(draws.resampled)]
    centred = dataclasses.replace(draws, resampled=values - values.mean() + draws.estimate)
    plain = find_interval(centred)
    if math.isnan(plain.low):
        return plain
    reflected = 2 * draws.estimate - np.quantile(values, [0.975, 0.025])
    least, most = (float(end) for end in reflected)
    low = 0.0 if draws.estimate <= chance else max(0.0, min(plain.low, least))
    return Interval(draws.estimate, low, min(1.0, max(plain.high, most)))


def find_chance_errors(
    probabilities: Scores, calibrated: Scores | None, resamples: Resamples
) -> dict[str, float]:
    """Return the errors that probabilities which mean what they say pass in one of 100 draws.

    Each answer is drawn right with its own probability, alike for the images of a group.

    References
    ----------
    Bröcker and Smith 2007, *Increasing the Reliability of Reliability Diagrams* (consistency
    resampling).
    """
    random = np.random.default_rng(resamples.seed)
    found = {}
    for name, given in (("ece", probabilities), ("ece_calibrated", calibrated)):
        if given is None or not given.size:
            continue
        confidence = given.max(axis=1).astype(np.float64)
        bins, errors = find_bins(confidence), np.empty(_N_CONSISTENT)
        for draw in range(_N_CONSISTENT):
            luck = random.random(resamples.n_clusters)[resamples.clusters]
            gaps = np.bincount(bins, (luck < confidence) - confidence, N_BINS)
            errors[draw] = np.abs(gaps).sum() / len(confidence)
        found[name] = float(np.quantile(errors, _CONSISTENT))
    return found
