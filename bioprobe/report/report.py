"""One self-contained page that a biologist can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.calibration.calibrators import measure_reliability
from bioprobe.errors import StoreError
from bioprobe.evaluation.effects import PRIOR
from bioprobe.evaluation.keeping import EVALUATIONS_NAME, list_evaluations
from bioprobe.evaluation.metrics import AT_THRESHOLD, BINARY_METRICS, COUNTED_METRICS
from bioprobe.evaluation.paired import Comparison
from bioprobe.evaluation.positive import Positive, ThresholdCurve, trace_thresholds
from bioprobe.evaluation.result import METRIC_NAMES, Evaluation, MethodResult
from bioprobe.files import write_text
from bioprobe.intervals import SIGNIFICANCE_LEVEL, Interval
from bioprobe.page.html import render_page
from bioprobe.provenance import Provenance
from bioprobe.report.advice import find_next_steps
from bioprobe.report.brief import (
    describe_failings,
    describe_pictures,
    describe_success,
    describe_usable,
)
from bioprobe.report.data import describe_data, describe_split, find_split
from bioprobe.report.errors import choose_pictures, count_unread, describe_errors, make_shower
from bioprobe.report.naming import Naming
from bioprobe.report.plots import (
    Curve,
    plot_intervals,
    plot_label_efficiency,
    plot_over_time,
    plot_precision_recall,
    plot_reliability,
    plot_risk_coverage,
    plot_roc,
    plot_thresholds,
)
from bioprobe.report.status import describe_stored
from bioprobe.result import WARNING
from bioprobe.store import EmbeddingStore
from bioprobe.task.decisions import measure_risk_coverage
from bioprobe.taxonomy import Taxon
from bioprobe.types import Doubles

if TYPE_CHECKING:
    import pandas as pd


# Bins of as many answers each, so that none is a guess.
_N_BINS = 10
_N_POINTS = 200
_N_STEPS = 400
_COVERAGES = (1.0, 0.9, 0.8, 0.5)


def describe_certainty(evaluation: Evaluation) -> dict[str, Any]:
    """Return reliability before and after calibration, and accuracy by coverage."""
    best = evaluation.best
    answers = _take(evaluation, best.method)
    curves = [_trace_reliability("as it comes", answers, "probability")]
    if answers["calibrated_probability"].notna().all():
        curves.append(_trace_reliability("calibrated", answers, "calibrated_probability"))
    covered = [
        _trace_coverage(result.method, _take(evaluation, result.method))
        for result in evaluation.results
    ]
    by_confidence = answers.sort_values("probability", ascending=False, kind="stable")
    right = by_confidence["right"].to_numpy(dtype=bool)
    kept = [max(1, round(fraction * len(right))) for fraction in _COVERAGES]
    return {
        "method": best.method,
        "reliability": plot_reliability(curves),
        "coverage": plot_risk_coverage(covered),
        "table": [
            {
                "coverage": f"{fraction:.0%}",
                "accuracy": f"{right[:n].mean():.3f}",
                "least": f"{by_confidence['probability'].iloc[n - 1]:.3f}",
            }
            for fraction, n in zip(_COVERAGES, kept, strict=True)
        ],
        "ece": best.metrics["ece"],
        "calibrated": _describe_calibration(best),
    }


def _describe_calibration(result: MethodResult) -> dict[str, Any] | None:
    """Return what a temperature did to the probabilities; None where none could be chosen."""
    scaled = result.metrics.get("ece_calibrated")
    if scaled is None:
        return None
    return {
        "on": result.calibrated_on,
        "temperatures": ", ".join(f"{value:.3g}" for value in result.temperatures),
        "ece": scaled,
        "is_kept": any(value != 1 for value in result.temperatures),
        "is_better": scaled.estimate < result.metrics["ece"].estimate,
    }


def _take(evaluation: Evaluation, method: str) -> pd.DataFrame:
    return evaluation.predictions[evaluation.predictions["method"] == method]


def _trace_reliability(name: str, answers: pd.DataFrame, column: str) -> Curve:
    measured = measure_reliability(
        answers["right"].to_numpy(dtype=bool),
        answers[column].to_numpy(dtype=np.float64),
        n_bins=_N_BINS,
    ).to_frame()
    filled = measured[measured["n_images"] > 0]
    x, y, low, high = (
        filled[key].to_numpy(dtype=np.float64) for key in ("confidence", "accuracy", "low", "high")
    )
    return Curve(name, x, y, low, high)


def _trace_coverage(method: str, answers: pd.DataFrame) -> Curve:
    frame = measure_risk_coverage(
        answers["right"].to_numpy(dtype=bool), answers["probability"].to_numpy(dtype=np.float64)
    ).to_frame()
    places = np.unique(np.linspace(0, len(frame) - 1, _N_POINTS).astype(np.int64))
    shown = frame.iloc[places]
    x = shown["coverage"].to_numpy(dtype=np.float64)
    return Curve(method, x, 1 - shown["risk"].to_numpy(dtype=np.float64))


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
                "cells": [_show(one.metrics.get(name)) for name, _ in columns],
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
                "cells": [_show(one.metrics[name]) for name in BINARY_METRICS],
            }
            for one in results
        ],
        "at_threshold": [
            {
                "method": one.method,
                "is_best": one.method == best.method,
                "threshold": _show_range(one.thresholds),
                "chosen_on": one.calibrated_on,
                "cells": [_show(one.metrics[name]) for name in AT_THRESHOLD],
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
    answers = _take(evaluation, method)
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
    """Return one row a method and figure: what columns and a prior did; empty without them."""
    return [
        {
            "method": result.method, "of": "the prior" if one.of == PRIOR else "columns",
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
        "p": _show_p(one.p_adjusted),
    }


def _show_p(p: float) -> str:
    """Write p in few digits, in so many that it stays on its side of the level."""
    for digits in range(2, 17):
        shown = f"{p:.{digits}g}"
        if (float(shown) >= SIGNIFICANCE_LEVEL) == (p >= SIGNIFICANCE_LEVEL):
            break
    return shown


TEMPLATE = "report.html.j2"


def find_newest(store: EmbeddingStore) -> str:
    """Return the name of the evaluation that a store was given last.

    Raises
    ------
    StoreError
        If it has none.
    """
    names = list_evaluations(store)
    if not names:
        msg = f"there is nothing to report of {store.folder}; first: bioprobe evaluate"
        raise StoreError(msg)
    folder = store.folder / EVALUATIONS_NAME
    return max(names, key=lambda name: (folder / f"{name}.json").stat().st_mtime_ns)


def write_report(
    store: EmbeddingStore,
    evaluation: Evaluation,
    path: Path,
    *,
    title: str | None = None,
    names: Iterable[Taxon] | None = None,
    why: dict[str, Any] | None = None,
) -> None:
    """Write what an evaluation found as one HTML file that needs no network.

    Parameters
    ----------
    store : EmbeddingStore
        That the evaluation was made on.
    evaluation : Evaluation
        See :func:`bioprobe.evaluation.keeping.read_evaluation`.
    path : Path
        HTML file; written whole or not at all, its folder is made.
    title : str, optional
        First heading; by default the store and the level.
    names : iterable of Taxon, optional
        Whose common names are shown; by default those of the labels and of added taxa.
    why : dict, optional
        Maps of wrong answers, as :func:`bioprobe.report.why.describe_why` returns them.

    Raises
    ------
    StoreError
        If the page cannot be written.
    """
    content = {**describe_report(store, evaluation, title=title, names=names), "why": why}
    write_text(path, render_page(TEMPLATE, content))


def describe_report(
    store: EmbeddingStore,
    evaluation: Evaluation,
    *,
    title: str | None = None,
    names: Iterable[Taxon] | None = None,
) -> dict[str, Any]:
    """Return everything that the page shows."""
    naming = Naming.of(store, names)
    show = make_shower(store, naming)
    split = find_split(store, evaluation)
    galleries = choose_pictures(store, evaluation, split, show)
    common, mask = naming.find_all(evaluation.classes), evaluation.provenance["options"]["mask"]
    provenance = Provenance(
        encoder=store.manifest.encoder.to_dict(),
        store=str(store.folder),
        n_rows=evaluation.provenance["n_rows"],
        options={"evaluation": evaluation.name},
    )
    return {
        "title": title or f"{store.folder.name}: {evaluation.level}",
        "rank": evaluation.level,
        "encoder": store.manifest.encoder.describe(),
        "brief": [
            describe_pictures(store, evaluation.level, naming),
            describe_usable(store, evaluation.level, mask),
            describe_success(evaluation),
            describe_failings(evaluation, common),
        ],
        "common": common,
        "names_are_asked": naming.is_asked,
        "summary": summarise(evaluation),
        "data": describe_data(store, evaluation.level, common),
        "split": describe_split(split) if split else None,
        "split_name": evaluation.provenance["options"]["split"],
        "methods": describe_methods(evaluation),
        "positive": describe_positive(evaluation),
        "status": describe_stored(store),
        "errors": describe_errors(evaluation, show, common),
        "galleries": galleries,
        "n_unread": count_unread(galleries),
        "certainty": describe_certainty(evaluation),
        "efficiency": plot_efficiency(evaluation),
        "effects": list_effects(evaluation),
        "over_time": describe_windows(evaluation),
        "next": find_next_steps(store, evaluation, split),
        "evaluated": evaluation.provenance,
        "reported": provenance.to_dict(),
    }
