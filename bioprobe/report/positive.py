"""How one class of two is told from the other, and from what probability on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioprobe.evaluation.binary_metrics import BINARY_METRICS, COUNTED_METRICS
from bioprobe.evaluation.method_scores import AT_THRESHOLD
from bioprobe.evaluation.positive import Positive, ThresholdCurve, trace_thresholds
from bioprobe.evaluation.result import METRIC_NAMES, Evaluation, MethodResult
from bioprobe.report.data import take_answers
from bioprobe.report.methods import show_interval
from bioprobe.report.plots import Curve, plot_precision_recall, plot_roc, plot_thresholds
from bioprobe.result import WARNING
from bioprobe.types import Doubles

_N_STEPS = 400


def describe_positive(evaluation: Evaluation) -> dict[str, Any] | None:
    """Return how the positive class of two is told; None where there are not two."""
    positive, results = evaluation.positive, evaluation.results
    if positive is None:
        return None
    best = evaluation.best
    # Which class it is comes first; a line a method is in the table.
    first, *others = evaluation.describe_positive()
    found: dict[str, Any] = {
        "name": positive.name,
        "other": positive.other,
        "said": str(first)[:1].upper() + str(first)[1:],
        "warnings": [str(one) for one in others if getattr(one, "kind", "") == WARNING],
        "columns": [METRIC_NAMES[name] for name in BINARY_METRICS],
        "rows": [
            {
                "method": one.method,
                "is_best": one.method == best.method,
                "cells": [show_interval(one.metrics[name]) for name in BINARY_METRICS],
            }
            for one in results
        ],
        "at_threshold": [
            {
                "method": one.method,
                "is_best": one.method == best.method,
                "threshold": _show_range(one.thresholds),
                "chosen_on": one.calibrated_on,
                "cells": [show_interval(one.metrics[name]) for name in AT_THRESHOLD],
            }
            for one in results
            if one.thresholds
        ],
        "threshold_columns": [METRIC_NAMES[name] for name in COUNTED_METRICS],
        "method": best.method,
        "n_rounds": evaluation.provenance["options"]["n_rounds"],
        "roc": None,
    }
    if all(positive.n_judged):
        curves = {one.method: _trace_positive(evaluation, one.method, positive) for one in results}
        found |= _plot_positive(results, curves, positive)
        found["thresholds"] = _plot_thresholds(curves[best.method], best.thresholds)
    return found


def _trace_positive(evaluation: Evaluation, method: str, positive: Positive) -> ThresholdCurve:
    answers = take_answers(evaluation, method)
    truth = answers["truth"].to_numpy() == positive.name
    return trace_thresholds(truth, answers["positive_probability"].to_numpy(dtype=np.float64))


def _plot_positive(
    results: Sequence[MethodResult], curves: Mapping[str, ThresholdCurve], positive: Positive
) -> dict[str, str]:
    roc, precision_recall, alarms, precisions = [], [], [], []
    for one in results:
        curve, metrics = curves[one.method], one.metrics
        # From the highest threshold to the lowest: both shares rise.
        x, recall, precision = (
            values[::-1] for values in (curve.false_positive_rates, curve.recalls, curve.precisions)
        )
        shown = _thin(np.append(0.0, x), np.append(0.0, recall))
        roc.append(Curve(f"{one.method}, AUROC {metrics['auroc'].estimate:.3f}", *shown))
        shown = _thin(np.append(0.0, recall), np.append(precision[0], precision))
        name = f"{one.method}, average precision {metrics['average_precision'].estimate:.3f}"
        precision_recall.append(Curve(name, *shown))
        alarms.append((1 - metrics["specificity"].estimate, metrics["recall"].estimate))
        precisions.append((metrics["recall"].estimate, metrics["precision"].estimate))
    share = positive.n_judged[0] / sum(positive.n_judged)
    label = positive.name
    return {
        "roc": plot_roc(roc, alarms, label=label),
        "precision_recall": plot_precision_recall(precision_recall, precisions, share, label=label),
    }


def _plot_thresholds(curve: ThresholdCurve, chosen: Sequence[float]) -> str:
    shares = {
        "precision": (curve.precisions, np.nan),
        "recall": (curve.recalls, 0.0),
        "F1": (curve.f1s, 0.0),
        "share flagged": (curve.flagged, 0.0),
    }
    curves = []
    for name, (values, above) in shares.items():
        # Below the least score all images are flagged, above the highest none.
        y = np.concatenate([values[:1], values, [above]])
        x = np.concatenate([[0.0], curve.thresholds, [1.0]])
        curves.append(Curve(name, *_thin(x, y)))
    return plot_thresholds(curves, chosen)


def _thin(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """Keep the first and the last point of those that no eye tells apart along x."""
    steps = np.round(x * _N_STEPS)
    changes = steps[1:] != steps[:-1]
    kept = np.append(True, changes) | np.append(changes, True)
    return x[kept], y[kept]


def _show_range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"
