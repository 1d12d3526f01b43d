"""Results in the shape that CLIP_benchmark writes, with further fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bioprobe.evaluation.asking.methods import ZEROSHOT
from bioprobe.evaluation.intervals.bootstrap import Interval
from bioprobe.evaluation.result import Evaluation, MethodResult

# What CLIP_benchmark calls the figures and tasks that it has too.
_METRICS = {"acc1": "accuracy", "acc5": "top5", "mean_per_class_recall": "balanced_accuracy"}
_TASKS = {ZEROSHOT: "zeroshot_classification", "linear": "linear_probe"}


def to_clip_benchmark(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one entry a method.

    ``dataset``, ``model``, ``pretrained``, ``task``, ``metrics`` and ``language`` are
    CLIP_benchmark's; what follows is ours, and so are the further metrics.

    References
    ----------
    LAION, *CLIP_benchmark*, ``clip_benchmark/cli.py``.
    """
    provenance = evaluation.provenance
    encoder = provenance["encoder"]
    return [
        {
            "dataset": Path(provenance["store"]).name,
            "model": encoder["model"],
            "pretrained": encoder["revision"] or encoder["weights_sha256"],
            "task": _TASKS.get(result.method, f"{result.method}_probe"),
            "metrics": _list_metrics(result),
            "language": "en",
            "method": result.method,
            "rank": evaluation.rank.value,
            "intervals": _list_ends(result.metrics),
            "kept_metrics": {name: one.estimate for name, one in result.kept_metrics.items()},
            "kept_intervals": _list_ends(result.kept_metrics),
            "comparisons": [
                one.to_dict()
                for one in evaluation.comparisons
                if result.method in (one.first, one.second)
            ],
            "efficiency": [
                point.to_dict() for point in evaluation.efficiency if point.method == result.method
            ],
            "settings": list(result.settings),
            "n_training": list(result.n_training),
            "n_unknown": result.n_unknown,
            "temperatures": list(result.temperatures),
            "calibrated_on": result.calibrated_on,
            "learning_s": result.learning_s,
            "answering_s": result.answering_s,
            "per_class": evaluation.tabulate_classes(result.method).to_dict("records"),
            "confusion": evaluation.count_confusion(result.method).to_frame().to_dict("records"),
            "confused_pairs": list(result.pairs),
            "provenance": provenance,
        }
        for result in evaluation.results
    ]


def _list_metrics(result: MethodResult) -> dict[str, float]:
    ours = {name: one.estimate for name, one in result.metrics.items()}
    return {**{theirs: ours[name] for theirs, name in _METRICS.items()}, **ours}


def _list_ends(metrics: dict[str, Interval]) -> dict[str, list[float]]:
    return {name: [one.low, one.high] for name, one in metrics.items()}
