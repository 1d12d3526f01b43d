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
)
from bioprobe.evaluation.measured import Measured
from bioprobe.evaluation.metrics import FLAT_METRICS, N_BINS, FlatRows, find_bins, score_rows
from bioprobe.evaluation.tree_metrics import CONSISTENCY, TREE_METRICS, score_tree
from bioprobe.evaluation.weighted_rows import Ranks
from bioprobe.intervals import Draws, Interval, Resamples, draw_scores, find_interval
from bioprobe.types import Doubles, Mask, Scores

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
    measured: Measured, resamples: Resamples, flagged: Mask | None = None
) -> dict[str, Draws]:
    """Measure a method on all images and on each resample.

    Parameters
    ----------
    measured : Measured
        Its answers, from :class:`bioprobe.evaluation.measured.Measuring`.
    resamples : Resamples
        Of the images.
    flagged : ndarray of bool, shape (n_images,), optional
        Whether the probability of the positive class reaches a threshold that was chosen on other
        images.

    Returns
    -------
    dict of str to Draws
        :data:`METRICS`, and :data:`CALIBRATED` where probabilities were calibrated; of two classes
        :data:`BINARY_METRICS` of the positive one, and :data:`AT_THRESHOLD` where it is flagged.
    """
    method = _Method(measured, flagged)
    found = draw_scores(method.score, resamples, method.list_units())
    return {**found, **_find_shifts(found, measured.flat, resamples)}


class _Method:
    """The answers of a method, and whether images are flagged."""

    def __init__(self, measured: Measured, flagged: Mask | None) -> None:
        self._measured, self._flagged = measured, flagged
        flat, positive = measured.flat, measured.positive
        # Of two classes AUROC is that of the positive one.
        self._flat = [
            name for name in FLAT_METRICS if positive is None or name not in BINARY_METRICS
        ]
        if measured.scores is not None:
            self._is_positive, self._answers = flat.truth == positive, flat.predicted == positive
            self._ranks = Ranks.find(measured.scores, self._is_positive)

    def score(self, weights: Scores) -> Mapping[str, Doubles]:
        """Return every figure of each weighting."""
        measured = self._measured
        found = score_rows(measured.flat, weights, self._flat)
        found |= score_tree(measured.tree, weights) if measured.tree is not None else {}
        if measured.calibrated is not None:
            again = score_rows(measured.calibrated, weights, ("ece", "log_loss"))
            found |= {f"{name}_calibrated": values for name, values in again.items()}
        if measured.scores is not None:
            found |= score_binary(
                self._is_positive, measured.scores, self._answers, weights, ranks=self._ranks
            )
            if self._flagged is not None:
                counted = count_flagged(self._is_positive, self._flagged, weights)
                found |= dict(zip(AT_THRESHOLD, counted.values(), strict=True))
        return {name: found[name] for name in _ORDER if name in found}

    def list_units(self) -> dict[str, Mask]:
        """Return the images that figures are of which are not of all."""
        units = {"mistake_severity": ~self._measured.flat.is_right}
        if self._measured.scores is not None:
            units |= _list_units("", self._is_positive, self._answers)
            if self._flagged is not None:
                units |= _list_units("_at_threshold", self._is_positive, self._flagged)
        return units


def _find_shifts(
    found: Mapping[str, Draws], flat: FlatRows, resamples: Resamples
) -> dict[str, Draws]:
    """Return the figures that are off where classes are small, with how much they may be."""
    few = dataclasses.replace(resamples, n_resamples=min(_N_SHIFTED, resamples.n_resamples))
    parts = [score_rows(flat, weights, _SHIFTED) for weights in few.iter_weights(smooth=True)]
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
    draws: Mapping[str, Draws], measured: Measured, resamples: Resamples
) -> dict[str, Interval]:
    """Find the interval of each figure that :func:`draw_method_scores` returns, of 95%.

    See Also
    --------
    bioprobe.intervals.find_interval : what they are.
    """
    chance = find_chance_errors(measured, resamples)
    found = {}
    for name, of in draws.items():
        if name in _ERRORS:
            found[name] = _find_error_interval(of, chance.get(name, 0.0))
        elif name in _HEIGHTS and measured.tree is not None:
            found[name] = find_interval(of, high=measured.n_ranks)
        elif name in _LOSSES:
            # A loss has no end that it comes near to: twice that of what knows nothing, if no more,
            # with which ``benchmarks/coverage.py`` finds what is promised.
            ignorant = 2 * math.log(max(2, measured.flat.n_classes))
            most = np.nanmax([ignorant, *of.resampled])
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


def find_chance_errors(measured: Measured, resamples: Resamples) -> dict[str, float]:
    """Return the errors that probabilities which mean what they say pass in one of 100 draws.

    Each answer is drawn right with its own probability, alike for the images of a group.

    References
    ----------
    Bröcker and Smith 2007, *Increasing the Reliability of Reliability Diagrams* (consistency
    resampling).
    """
    random = np.random.default_rng(resamples.seed)
    found = {}
    for name, rows in (("ece", measured.flat), ("ece_calibrated", measured.calibrated)):
        if rows is None or not len(rows.confidence):
            continue
        confidence = rows.confidence
        bins, errors = find_bins(confidence), np.empty(_N_CONSISTENT)
        for draw in range(_N_CONSISTENT):
            luck = random.random(resamples.n_clusters)[resamples.clusters]
            gaps = np.bincount(bins, (luck < confidence) - confidence, N_BINS)
            errors[draw] = np.abs(gaps).sum() / len(confidence)
        found[name] = float(np.quantile(errors, _CONSISTENT))
    return found
