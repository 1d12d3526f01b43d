"""Which method is best and by how much."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioprobe.evaluation.intervals.against_best import SIGNIFICANCE_LEVEL
from bioprobe.evaluation.intervals.bootstrap import Interval
from bioprobe.evaluation.intervals.paired import Comparison
from bioprobe.evaluation.result import Evaluation
from bioprobe.report.plots import Curve, plot_intervals, plot_label_efficiency

_COLUMNS = (
    ("accuracy", "accuracy"),
    ("top5", "top 5"),
    ("macro_f1", "macro-F1"),
    ("balanced_accuracy", "balanced accuracy"),
    ("auroc", "AUROC"),
    ("log_loss", "log-loss"),
    ("ece", "ECE as it comes"),
    ("ece_calibrated", "ECE calibrated"),
    ("mistake_severity", "mistake severity"),
)


def describe_methods(evaluation: Evaluation) -> dict[str, Any]:
    """Return the table of methods, its plot, and what the paired tests say."""
    results = evaluation.results
    metrics = [one.metrics["accuracy"] for one in results]
    compared = evaluation.compare_with_best()
    return {
        "columns": [title for _, title in _COLUMNS],
        "rows": [
            {
                "method": one.method,
                "is_best": one.method == evaluation.best.method,
                "cells": [_show(one.metrics.get(name)) for name, _ in _COLUMNS],
                "kept": _show(one.kept_metrics["accuracy"]) if one.kept_metrics else None,
                "seconds": one.seconds,
                "n_unknown": one.n_unknown,
                "settings": _show_settings(one.settings),
                "against_best": _tell(compared.get(one.method), one.method),
            }
            for one in results
        ],
        "has_mask": any(one.kept_metrics for one in results),
        "plot": plot_intervals(
            [one.method for one in results],
            np.array([metric.estimate for metric in metrics]),
            np.array([metric.low for metric in metrics]),
            np.array([metric.high for metric in metrics]),
            label=f"accuracy at {evaluation.rank.value}",
        ),
        "skipped": evaluation.skipped,
    }


def summarise(evaluation: Evaluation) -> list[str]:
    """Return the findings that matter most, a sentence each."""
    best = evaluation.best
    options = evaluation.provenance["options"]
    accuracy = best.metrics["accuracy"]
    n_images = evaluation.provenance["n_rows"]
    said = [
        f"The best method is {best.method}: it names the {evaluation.rank.value} of "
        f"{accuracy.estimate:.1%} of {n_images:,} test pictures rightly (95% interval "
        f"{accuracy.low:.1%} to {accuracy.high:.1%}), out of {options['n_classes']:,} classes."
    ]
    equal = [
        method
        for method, one in evaluation.compare_with_best().items()
        if one.p_adjusted >= SIGNIFICANCE_LEVEL
    ]
    if equal:
        said.append(
            f"Its lead over {', '.join(equal)} is within chance (paired test, p ≥ "
            f"{SIGNIFICANCE_LEVEL}): these may be used as well."
        )
    surest = evaluation.best_calibrated
    if surest is not None and len(evaluation.results) > 1:
        said.append(
            f"Once calibrated, the probabilities of {surest.method} mean most what they say: "
            f"expected calibration error {surest.metrics['ece_calibrated'].estimate:.3f}, "
            f"{surest.metrics['ece'].estimate:.3f} as they come."
        )
    severity = best.metrics["mistake_severity"].estimate
    if np.isfinite(severity):
        said.append(
            f"Where it errs, the answer and the truth meet {severity:.1f} ranks above the "
            f"{evaluation.rank.value} on average."
        )
    if best.n_unknown:
        said.append(
            f"{best.n_unknown:,} test pictures are of a class that no training picture has; they "
            "count as wrong."
        )
    if best.kept_metrics:
        kept = best.kept_metrics["accuracy"]
        said.append(
            f"On the {options['n_kept']:,} test pictures that the mask {options['mask']} keeps it "
            f"is {kept.estimate:.1%} ({kept.low:.1%} to {kept.high:.1%}); the figure above, over "
            "all test pictures, is the one to quote."
        )
    return said


def plot_efficiency(evaluation: Evaluation) -> str | None:
    """Plot accuracy by images a class; None where it was not measured."""
    if not evaluation.efficiency:
        return None
    curves = []
    for method in dict.fromkeys(point.method for point in evaluation.efficiency):
        points = [point for point in evaluation.efficiency if point.method == method]
        mean = np.array([point.mean for point in points])
        spread = np.nan_to_num(np.array([point.deviation for point in points]))
        n_per_class = np.array([point.n_per_class for point in points], dtype=np.float64)
        curves.append(Curve(method, n_per_class, mean, mean - spread, mean + spread))
    return plot_label_efficiency(curves)


def _show(interval: Interval | None) -> dict[str, str]:
    if interval is None or not np.isfinite(interval.estimate):
        return {"value": "", "range": ""}
    return {
        "value": f"{interval.estimate:.3f}",
        "range": f"{interval.low:.3f} to {interval.high:.3f}",
    }


def _show_settings(settings: tuple[dict[str, Any], ...]) -> str:
    said = dict.fromkeys(
        ", ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in one.items()
            if isinstance(value, int | float | str)
        )
        for one in settings
    )
    return "; ".join(text for text in said if text)


def _tell(one: Comparison | None, method: str) -> dict[str, str] | None:
    if one is None:
        return None
    sign = 1 if one.first == method else -1
    low, high = sorted((sign * one.low, sign * one.high))
    return {
        "difference": f"{sign * one.difference:+.3f}",
        "range": f"{low:+.3f} to {high:+.3f}",
        "p": f"{one.p_adjusted:.2g}",
    }
