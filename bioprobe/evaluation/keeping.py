"""Evaluations kept in a store, and written for other programs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioprobe.access import describe_absence, is_file, list_names, read_bytes, reading
from bioprobe.errors import StoreError
from bioprobe.evaluation.curves import Efficiency
from bioprobe.evaluation.effects import Effect
from bioprobe.evaluation.paired import Comparison
from bioprobe.evaluation.positive import Positive
from bioprobe.evaluation.result import Evaluation, MethodResult, TimeWindow
from bioprobe.files import (
    drafting_card,
    explaining_refusal,
    find_data,
    read_json,
    read_whole,
    sweep_data,
    write_text,
)
from bioprobe.intervals import Interval
from bioprobe.result import WARNING, Note, Notes
from bioprobe.settings import check_types
from bioprobe.store import EmbeddingStore
from bioprobe.store.gone import Changes, Gone
from bioprobe.task.target import read_classes, write_classes

# What CLIP_benchmark calls the figures and tasks that it has too.
_METRICS = {"acc1": "accuracy", "acc5": "top5", "mean_per_class_recall": "balanced_accuracy"}
_TASKS = {"zeroshot": "zeroshot_classification", "linear": "linear_probe"}


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
            "rank": evaluation.level,
            "positive": evaluation.positive.name if evaluation.positive else None,
            "thresholds": list(result.thresholds),
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
            "over_time": [
                _describe_window(one) for one in evaluation.windows if one.method == result.method
            ],
            "settings": list(result.settings),
            "n_training": list(result.n_training),
            "n_unknown": result.n_unknown,
            "temperatures": list(result.temperatures),
            "calibrated_on": result.calibrated_on,
            "learning_s": result.learning_s,
            "answering_s": result.answering_s,
            "effects": [one.to_dict() for one in result.effects],
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


EVALUATIONS_NAME, _SUFFIX = "evaluations", ".parquet"
SCHEMA_VERSION = 1
_NAME = re.compile(r"\w[\w.+-]*")


def write_evaluation(store: EmbeddingStore, evaluation: Evaluation) -> Path:
    """Keep an evaluation in a store under its name, in place of one of that name.

    ``NAME.json`` names the SHA-256 of the predictions, which lie beside it, and is replaced last:
    the evaluation that was there stands until this one is whole.

    Returns
    -------
    Path
        The JSON file.

    Raises
    ------
    StoreError
        If the name cannot be used, or the disk refuses.
    """
    store.check_current()
    path = _find_file(store, evaluation.name)
    fields = {
        **({"generation": store.manifest.generation} if store.manifest.generation else {}),
        "schema_version": SCHEMA_VERSION,
        "name": evaluation.name,
        "rank": evaluation.level,
        "classes": write_classes(evaluation.classes),
        "results": [_describe_result(result) for result in evaluation.results],
        "comparisons": [one.to_dict() for one in evaluation.comparisons],
        "efficiency": [dataclasses.asdict(point) for point in evaluation.efficiency],
        "skipped": evaluation.skipped,
        "provenance": evaluation.provenance,
        "positive": evaluation.positive.to_dict() if evaluation.positive else None,
        "windows": [_describe_window(one) for one in evaluation.windows],
    }

    with _drafting(path, fields, evaluation.predictions):
        return path


def read_evaluation(store: EmbeddingStore, name: str) -> Evaluation:
    """Read an evaluation of a store.

    Raises
    ------
    StoreError
        If there is none of that name, or its files are damaged.
    UnreadableError
        If they cannot be read just now.
    """
    path = _find_file(store, name)
    return read_whole(path, lambda: _read(store, path, name))


def _read(store: EmbeddingStore, path: Path, name: str) -> Evaluation:
    if not is_file(path):
        maker = "bioprobe evaluate makes one"
        raise describe_absence(store.folder, "evaluation", name, list_evaluations(store), maker)
    fields, predictions = _read_files(path)
    try:
        return _build(fields, predictions)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _describe_damage(path, str(error)) from error


def _read_files(path: Path) -> tuple[dict[str, Any], Any]:
    import pandas as pd

    try:
        with reading(path):
            fields = read_json(path, dict)
        digest = fields["predictions_sha256"]
        table = find_data(path, digest, _SUFFIX)
        data = read_bytes(table)
        # Before it is read: a damaged table can be read in part, or not even be refused.
        if hashlib.sha256(data).hexdigest() == digest:
            return fields, pd.read_parquet(io.BytesIO(data))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _describe_damage(path, str(error)) from error
    raise _describe_damage(path, "its predictions are not what it was written with")


def list_evaluations(store: EmbeddingStore) -> list[str]:
    """Return the names of the evaluations that a store keeps, sorted.

    Raises
    ------
    UnreadableError
        If their folder may not be listed.
    """
    names = list_names(store.folder / EVALUATIONS_NAME)
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def forget_gone(store: EmbeddingStore, gone: Gone, changes: Changes) -> None:
    """Take images that are gone out of the evaluations of a store, and give rows their new numbers.

    The figures stay, which were computed with these images; the evaluation says how many they are.
    One of which no image is left is forgotten.
    """
    generation = gone.manifest.generation + 1
    for name in list_evaluations(store):
        path = _find_file(store, name)
        fields, predictions = _read_files(path)
        if fields.get("generation", 0) >= generation:
            continue
        named = predictions[["row", "file_name"]].drop_duplicates()
        rows = {
            (row, file): gone.renumber(row, file)
            for row, file in zip(named["row"].tolist(), named["file_name"], strict=True)
        }
        places = zip(predictions["row"].tolist(), predictions["file_name"], strict=True)
        new = np.array([rows[place] for place in places], dtype=np.int64)
        n_gone = sum(row < 0 for row in rows.values())
        rest = predictions.assign(row=new)[new >= 0].reset_index(drop=True)
        if not len(rest):
            changes.said.append(f"the evaluation {name} judged no other images: forgotten")
            changes.afterwards(functools.partial(_forget, path))
            continue
        for result in fields["results"]:
            for pair in result.get("pairs", ()):
                pair["mistakes"] = _renumber(pair["mistakes"], gone)
        fields = {**gone.scrub(fields), "generation": generation}
        if n_gone:
            fields["provenance"]["n_removed"] = n_gone + fields["provenance"].get("n_removed", 0)
            changes.counts["evaluations"] += 1
        changes.enter(_drafting(path, fields, rest))


def _drafting(
    path: Path,
    fields: dict[str, Any],
    predictions: Any,  # noqa: ANN401 - pandas is heavy
) -> contextlib.AbstractContextManager[None]:
    def fill(file: Path) -> None:
        predictions.to_parquet(file, index=False)

    def describe(digests: Sequence[str]) -> str:
        return dump_json({**fields, "predictions_sha256": digests[0]})

    return drafting_card(path, [(_SUFFIX, fill)], describe)


def _renumber(shown: Sequence[dict[str, Any]], gone: Gone) -> list[dict[str, Any]]:
    """Return the pictures that an evaluation shows under their new rows, but those gone."""
    found = []
    for one in shown:
        row = gone.renumber(one["row"], one["file_name"])
        if row >= 0:
            near = {"neighbors": _renumber(one["neighbors"], gone)} if "neighbors" in one else {}
            found.append({**one, "row": row, **near})
    return found


def _forget(path: Path) -> None:
    with explaining_refusal(path):
        path.unlink(missing_ok=True)
        path.with_suffix(_SUFFIX).unlink(missing_ok=True)
    sweep_data(path)


def write_results(path: Path, evaluation: Evaluation) -> None:
    """Write a JSON list with one entry a method, in the shape of CLIP_benchmark's results.

    See Also
    --------
    bioprobe.evaluation.keeping.to_clip_benchmark : the entries.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    write_text(path, dump_json(to_clip_benchmark(evaluation)))


def dump_json(fields: object) -> str:
    """Return JSON in which what is not a number is null, as the standard has it."""
    return json.dumps(_replace_nan(fields), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _replace_nan(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _replace_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_nan(inner) for inner in value]
    return value


def _describe_result(result: MethodResult) -> dict[str, Any]:
    fields = dataclasses.asdict(result)
    for name in ("metrics", "kept_metrics"):
        intervals: dict[str, Interval] = getattr(result, name)
        fields[name] = {key: [one.estimate, one.low, one.high] for key, one in intervals.items()}
    return fields


def _build(fields: dict[str, Any], predictions: Any) -> Evaluation:  # noqa: ANN401 - pandas is heavy
    if not fields["results"]:
        msg = "no method is in it"
        raise ValueError(msg)
    return Evaluation(
        fields["name"],
        read_classes(fields["classes"], fields["rank"]),
        tuple(_build_result(one) for one in fields["results"]),
        tuple(check_types(Comparison(**_restore_nan(one))) for one in fields["comparisons"]),
        tuple(
            check_types(Efficiency(**{**one, "accuracies": tuple(one["accuracies"])}))
            for one in fields["efficiency"]
        ),
        fields["skipped"],
        predictions,
        fields["provenance"],
        _build_positive(fields.get("positive")),
        tuple(_build_window(one) for one in fields.get("windows", ())),
        _tell_removed(int(fields["provenance"].get("n_removed", 0))),
    )


def _tell_removed(n_images: int) -> Notes:
    if not n_images:
        return ()
    text = (
        f"{n_images:,} of the judged images are no longer in the store: the figures were computed "
        "with them, and what is listed is without; evaluate again for figures of what is there"
    )
    return (Note(text, WARNING),)


def _describe_window(window: TimeWindow) -> dict[str, Any]:
    ends = window.accuracy
    return {**dataclasses.asdict(window), "accuracy": [ends.estimate, ends.low, ends.high]}


def _build_window(fields: dict[str, Any]) -> TimeWindow:
    accuracy = check_types(Interval(*fields["accuracy"]))
    return check_types(TimeWindow(**{**fields, "accuracy": accuracy}))


def _build_positive(fields: dict[str, Any] | None) -> Positive | None:
    """Return the positive class; evaluations that were kept before there was one have none."""
    if fields is None:
        return None
    counts = {name: tuple(fields[name]) for name in ("n_training", "n_judged")}
    return Positive(**{**fields, **counts})


def _build_result(fields: dict[str, Any]) -> MethodResult:
    intervals = {
        name: {
            key: check_types(Interval(*(math.nan if end is None else end for end in ends)))
            for key, ends in fields[name].items()
        }
        for name in ("metrics", "kept_metrics")
    }
    listed = {
        name: tuple(fields.get(name, ()))
        for name in ("settings", "n_training", "temperatures", "pairs", "thresholds")
    }
    if "accuracy" not in intervals["metrics"]:
        msg = "a method has no accuracy"
        raise ValueError(msg)
    rules = {rule: tuple(counts) for rule, counts in fields.get("rules", {}).items()}
    effects = tuple(Effect.from_dict(one) for one in fields.get("effects", ()))
    made = {**fields, **intervals, **listed, "rules": rules, "effects": effects}
    return check_types(MethodResult(**made))


def _describe_damage(path: Path, reason: str) -> StoreError:
    return StoreError(
        f"the evaluation {path} cannot be read ({reason}); make it again: bioprobe evaluate"
    )


def _restore_nan(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in fields.items()}


def _find_file(store: EmbeddingStore, name: str) -> Path:
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name an evaluation; use letters, digits, '_', '-', '+' and '.'"
        raise StoreError(msg)
    return store.folder / EVALUATIONS_NAME / f"{name}.json"
