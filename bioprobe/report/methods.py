"""Which method is best, and by how much; how many labels it takes, and what columns did."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioprobe.evaluation.effects import DONE
from bioprobe.evaluation.paired import Comparison
from bioprobe.evaluation.result import Evaluation
from bioprobe.intervals import SIGNIFICANCE_LEVEL, Interval
from bioprobe.report.plots import Curve, plot_intervals, plot_label_efficiency, plot_over_time

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
    ("hierarchical_consistent_accuracy", "HCA"),
    ("top_down_consistency", "top-down consistency"),
)


def describe_methods(evaluation: Evaluation) -> dict[str, Any]:
    """Return the table of methods, its plot, and what the paired tests say."""
    results = evaluation.results
    metrics = [one.metrics["accuracy"] for one in results]
    compared = evaluation.compare_with_best()
    # Classes of a column have no tree, and no figures of one.
    columns = [one for one in _COLUMNS if any(one[0] in result.metrics for result in results)]
    return {
        "has_tree": evaluation.classes.rank is not None,
        "columns": [title for _, title in columns],
        "rows": [
            {
                "method": one.method,
                "is_best": one.method == evaluation.best.method,
                "cells": [show_interval(one.metrics.get(name)) for name, _ in columns],
                "kept": show_interval(one.kept_metrics["accuracy"]) if one.kept_metrics else None,
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
            label=f"accuracy at {evaluation.level}",
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
        f"The best method is {best.method}: of {n_images:,} test pictures it gives "
        f"{accuracy.estimate:.1%} the right {evaluation.level} (95% interval "
        f"{accuracy.low:.1%} to {accuracy.high:.1%}), out of {options['n_classes']:,} classes."
    ]
    said += _summarise_positive(evaluation)
    equal = [
        method
        for method, one in evaluation.compare_with_best().items()
        if one.p_adjusted >= SIGNIFICANCE_LEVEL
    ]
    if equal:
        said.append(
            f"It is not told apart from {', '.join(equal)} (paired test, p ≥ "
            f"{SIGNIFICANCE_LEVEL}): these may be used as well."
        )
    if len(evaluation.results) > 1:
        said.append(_summarise_reliability(evaluation))
    severity = best.metrics.get("mistake_severity")
    if severity is not None and np.isfinite(severity.estimate):
        said.append(
            f"Where it errs, the answer and the truth meet {severity.estimate:.1f} ranks above the "
            f"{evaluation.level} on average."
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


def _summarise_reliability(evaluation: Evaluation) -> str:
    surest, figure = evaluation.most_reliable
    ece, scaled = surest.metrics["ece"], surest.metrics.get("ece_calibrated")
    said = f"Of all methods the probabilities of {surest.method} mean most what they say"
    if figure == "ece_calibrated":
        return (
            f"{said} once calibrated: expected calibration error "
            f"{surest.metrics[figure].estimate:.3f}, {ece.estimate:.3f} as they come."
        )
    other = ""
    if scaled is not None:
        other = f", and calibration makes them no better ({scaled.estimate:.3f})"
    return f"{said} as they come: expected calibration error {ece.estimate:.3f}{other}."


def _summarise_positive(evaluation: Evaluation) -> list[str]:
    positive, metrics = evaluation.positive, evaluation.best.metrics
    if positive is None or not all(positive.n_judged):
        return []
    recall, precision = metrics["recall"], metrics["precision"]
    found = (
        f"It finds {recall.estimate:.1%} of the {positive.n_judged[0]:,} test pictures that are "
        f"{positive.name} ({recall.low:.1%} to {recall.high:.1%})"
    )
    if not np.isfinite(precision.estimate):
        return [f"{found}."]
    return [
        f"{found}; of those that it calls so, {precision.estimate:.1%} are "
        f"({precision.low:.1%} to {precision.high:.1%})."
    ]


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


def list_effects(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one row a method and figure: what was done besides, and what it did."""
    return [
        {
            "method": result.method, "of": DONE[one.of],
            "figure": one.name, "before": one.before.estimate, "after": one.after.estimate,
            "difference": one.difference.estimate, "low": one.difference.low,
            "high": one.difference.high,
        }
        for result in evaluation.results
        for one in result.effects
    ]  # fmt: skip


def describe_windows(evaluation: Evaluation) -> dict[str, Any] | None:
    """Plot accuracy over time, with what is said of it; None where it was not measured."""
    import pandas as pd

    frame = evaluation.over_time
    if not len(frame):
        return None
    days = (frame["start"] - pd.Timestamp(0)) / pd.Timedelta(days=1)
    curves = [
        Curve(str(method), *(of[name].to_numpy(dtype=np.float64) for name in _OVER_TIME))
        for method, of in frame.assign(day=days).groupby("method", sort=False)
    ]
    options = evaluation.provenance["options"]
    return {
        "plot": plot_over_time(curves),
        "said": [note.text for note in evaluation.describe_windows()],
        "window": options["window"],
        "column": options["over"],
    }


_OVER_TIME = ("day", "accuracy", "low", "high")


def show_interval(interval: Interval | None) -> dict[str, str]:
    """Return a figure and its interval as a table shows them; nothing where it is not defined."""
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
        "p": _show_p(one.p_adjusted),
    }


def _show_p(p: float) -> str:
    """Write p in few digits, in so many that it stays on its side of the level."""
    for digits in range(2, 17):
        shown = f"{p:.{digits}g}"
        if (float(shown) >= SIGNIFICANCE_LEVEL) == (p >= SIGNIFICANCE_LEVEL):
            break
    return shown
