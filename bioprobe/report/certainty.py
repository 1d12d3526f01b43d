"""Whether probabilities can be believed: reliability, calibration, and accuracy by coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.calibration.calibrators import measure_reliability
from bioprobe.evaluation.result import Evaluation, MethodResult
from bioprobe.report.data import take_answers
from bioprobe.report.plots import Curve, plot_reliability, plot_risk_coverage
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
    answers = take_answers(evaluation, best.method)
    curves = [_trace_reliability("as it comes", answers, "probability")]
    if answers["calibrated_probability"].notna().all():
        curves.append(_trace_reliability("calibrated", answers, "calibrated_probability"))
    covered = [
        _trace_coverage(result.method, take_answers(evaluation, result.method))
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
