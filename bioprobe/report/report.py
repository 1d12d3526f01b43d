"""One self-contained page that a biologist can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.calibration.calibrators import measure_reliability
from bioprobe.errors import StoreError
from bioprobe.evaluation.keeping import EVALUATIONS_NAME, list_evaluations
from bioprobe.evaluation.paired import SIGNIFICANCE_LEVEL, Comparison
from bioprobe.evaluation.result import Evaluation
from bioprobe.files import write_text
from bioprobe.intervals import Interval
from bioprobe.page.html import render_page
from bioprobe.provenance import Provenance
from bioprobe.report.data import describe_data, describe_split, find_next_steps, find_split
from bioprobe.report.errors import choose_pictures, count_unread, describe_errors, make_shower
from bioprobe.report.plots import (
    Curve,
    plot_intervals,
    plot_label_efficiency,
    plot_reliability,
    plot_risk_coverage,
)
from bioprobe.store import EmbeddingStore
from bioprobe.task.decisions import measure_risk_coverage

if TYPE_CHECKING:
    import pandas as pd


# Bins of as many answers each, so that none is a guess.
_N_BINS = 10
_N_POINTS = 200
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
        "ece_calibrated": best.metrics.get("ece_calibrated"),
        "calibrated_on": best.calibrated_on,
        "temperatures": ", ".join(f"{value:.3g}" for value in best.temperatures),
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


def write_report(store: EmbeddingStore, evaluation: Evaluation, path: Path) -> None:
    """Write what an evaluation found as one HTML file that needs no network.

    Parameters
    ----------
    store : EmbeddingStore
        That the evaluation was made on.
    evaluation : Evaluation
        See :func:`bioprobe.evaluation.keeping.read_evaluation`.
    path : Path
        HTML file; written whole or not at all, its folder is made.

    Raises
    ------
    OSError
        If the page cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page(TEMPLATE, describe_report(store, evaluation)))


def describe_report(store: EmbeddingStore, evaluation: Evaluation) -> dict[str, Any]:
    """Return everything that the page shows."""
    show = make_shower(store)
    split = find_split(store, evaluation)
    galleries = choose_pictures(store, evaluation, split, show)
    provenance = Provenance(
        encoder=store.manifest.encoder.to_dict(),
        store=str(store.folder),
        n_rows=evaluation.provenance["n_rows"],
        options={"evaluation": evaluation.name},
    )
    return {
        "title": f"{store.folder.name}: {evaluation.rank.value}",
        "rank": evaluation.rank.value,
        "encoder": store.manifest.encoder.describe(),
        "summary": summarise(evaluation),
        "data": describe_data(store, evaluation.rank),
        "split": describe_split(split) if split else None,
        "split_name": evaluation.provenance["options"]["split"],
        "methods": describe_methods(evaluation),
        "errors": describe_errors(evaluation, show),
        "galleries": galleries,
        "n_unread": count_unread(galleries),
        "certainty": describe_certainty(evaluation),
        "efficiency": plot_efficiency(evaluation),
        "next": find_next_steps(store, evaluation, split),
        "evaluated": evaluation.provenance,
        "reported": provenance.to_dict(),
    }
