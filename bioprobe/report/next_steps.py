"""What to do next: classes to collect, labels to check, leaks to close."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from bioprobe.classify.predictions import find_label_classes
from bioprobe.evaluation.mistakes.errors import describe_lineage
from bioprobe.evaluation.result import Evaluation
from bioprobe.report.data import find_training
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore

# Below this many training pictures a class is collected first; few-shot curves flatten past it.
_FEW_IMAGES = 10
_LOW_RECALL = 0.6
_SURE = 0.9
_N_LISTED = 12


def find_next_steps(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None
) -> dict[str, Any]:
    """Return what would help most, from what the evaluation found.

    Classes to collect are those with fewer than ten training pictures or a recall below .6, the
    ones with the most lost pictures first. Labels to check are wrong answers of the best method
    with a probability of .9 or more that most of the other methods give too.
    """
    best = evaluation.best.method
    training = _count_training(store, evaluation, split)
    table = evaluation.tabulate_classes(best)
    collect = []
    for one in table.to_dict("records"):
        key = (one["lineage"], one["class"])
        n_training = training.get(key, 0) if training is not None else None
        few = n_training is not None and n_training < _FEW_IMAGES
        n_images = int(one["n_images"])
        if n_images and (few or one["recall"] < _LOW_RECALL):
            collect.append({**one, "n_training": n_training,
                            "n_lost": round(n_images * (1 - one["recall"]))})  # fmt: skip
    collect.sort(key=lambda one: (-one["n_lost"], one["class"]))
    suspicious = _find_suspicious(evaluation)
    return {
        "collect": collect[:_N_LISTED],
        "n_collect": len(collect),
        "few_images": _FEW_IMAGES,
        "low_recall": _LOW_RECALL,
        "check": suspicious[:_N_LISTED],
        "n_check": len(suspicious),
        "sure": _SURE,
        "n_unlabelled": int((store.images.labels(evaluation.rank)[store.rows] == "").sum()),
        "rank": evaluation.rank.value,
    }


def _count_training(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None
) -> Counter[tuple[str, str]] | None:
    """Count training pictures by lineage and name, homonyms apart; None where it is not known."""
    rows = find_training(store, evaluation, split)
    if not len(rows):
        return None
    places = find_label_classes(store.images, rows, evaluation.classes, evaluation.rank)
    taxa, depth = evaluation.classes.taxa, evaluation.rank.depth
    keys = [(describe_lineage(taxon, depth), taxon.name) for taxon in taxa]
    return Counter(keys[place] for place in places[places >= 0].tolist())


def _find_suspicious(evaluation: Evaluation) -> list[dict[str, Any]]:
    answers = evaluation.predictions
    agreed = answers.groupby(["row", "predicted_class"]).size().rename("n_agreed")
    best = answers[answers["method"] == evaluation.best.method]
    best = best[~best["right"].to_numpy(dtype=bool) & (best["truth_class"] >= 0)]
    best = best.join(agreed, on=["row", "predicted_class"])
    most = best["n_agreed"].to_numpy() * 2 > len(evaluation.results)
    found = best[most & (best["probability"].to_numpy(dtype=np.float64) >= _SURE)]
    found = found.sort_values("probability", ascending=False, kind="stable")
    columns = ["row", "file_name", "truth", "predicted", "probability", "n_agreed"]
    return [dict(zip(columns, one, strict=True)) for one in found[columns].itertuples(index=False)]
