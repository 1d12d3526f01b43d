"""What the data are, how clean they are, and how they are split."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import StoreError
from bioprobe.evaluation.mistakes import list_lineages
from bioprobe.evaluation.result import Evaluation
from bioprobe.quality.description import describe_images
from bioprobe.report.plots import plot_class_sizes
from bioprobe.splits import PARTS, Split, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import list_selections, read_selection
from bioprobe.task.target import find_rank

_N_LISTED, _N_MODES = 12, 4


def describe_data(store: EmbeddingStore, level: str) -> dict[str, Any]:
    """Return what the images are and what masks say of them, for the page.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    level : str
        Rank or column of the evaluation.
    """
    found = describe_images(store, level)
    counts = found.listed
    assert counts is not None
    masks = [name for name in list_selections(store) if not name.startswith("splits/")]
    return {
        "found": found,
        "ranks": [one for one in found.ranks if one.names] + ([] if find_rank(level) else [counts]),
        "counts": counts,
        "n_single": int((counts.n_images == 1).sum()),
        "sizes_plot": plot_class_sizes(counts.n_images, label=f"classes ({level})"),
        "has_sizes": bool(np.isfinite(found.sizes_px).all()),
        "modes": list(found.modes.items())[:_N_MODES],
        "masks": [_describe_mask(store, name) for name in masks],
    }


def _describe_mask(store: EmbeddingStore, name: str) -> dict[str, Any]:
    selection = read_selection(store, name)
    judged, kept = selection.judged[store.rows], selection.kept[store.rows]
    n_judged = int(judged.sum())
    n_dropped = n_judged - int((kept & judged).sum())
    return {"name": name, "n_judged": n_judged, "n_dropped": n_dropped,
            "dropped_fraction": n_dropped / n_judged if n_judged else 0.0}  # fmt: skip


def find_split(store: EmbeddingStore, evaluation: Evaluation) -> Split | None:
    """Return the split that an evaluation was made on, None where it is gone or was made anew."""
    options = evaluation.provenance["options"]
    try:
        split = read_split(store, options["split"])
    except StoreError:
        return None
    return split if split.hash == options["split_hash"] else None


def find_training(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None
) -> npt.NDArray[np.int64]:
    """Return the labelled rows that an evaluation learnt from, ascending.

    None are returned where the split, or the mask that it learnt under, is gone.
    """
    if split is None:
        return np.zeros(0, dtype=np.int64)
    taught = split.parts == "train"
    taught &= store.images.labels(evaluation.level) != ""
    mask = evaluation.provenance["options"]["mask"]
    try:
        taught &= read_selection(store, mask).kept if mask else True
    except StoreError:
        taught[:] = False
    return np.flatnonzero(taught).astype(np.int64)


def describe_split(split: Split) -> dict[str, Any]:
    """Return parts, rules and leaks of a split, for the page."""
    said = split.provenance
    small = said.get("small_classes", [])
    return {
        "name": split.name,
        "hash": split.hash[:12],
        "method": said["method"],
        "rank": said["rank"],
        "seed": said["seed"],
        "n_folds": split.n_folds,
        "parts": [(part, len(split.rows(part))) for part in PARTS],
        "n_groups": len(set(split.groups.tolist()) - {""}),
        "leaks": [leak for leak in said.get("leakage", []) if leak["n_groups"]],
        "checked": ", ".join(leak["kind"] for leak in said.get("leakage", [])),
        "near_duplicates_known": bool(said.get("near_duplicates_known")),
        "n_small": len(small),
        "small": small[:_N_LISTED],
        "n_always_train": len(said.get("always_train", [])),
    }


# Below this many training pictures a class is collected first; few-shot curves flatten past it.
_FEW_IMAGES = 10
_LOW_RECALL = 0.6
_SURE = 0.9
_N_NAMED = 12


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
        "collect": collect[:_N_NAMED],
        "n_collect": len(collect),
        "few_images": _FEW_IMAGES,
        "low_recall": _LOW_RECALL,
        "check": suspicious[:_N_NAMED],
        "n_check": len(suspicious),
        "sure": _SURE,
        "n_unlabelled": int((store.images.labels(evaluation.level)[store.rows] == "").sum()),
        "rank": evaluation.level,
    }


def _count_training(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None
) -> Counter[tuple[str, str]] | None:
    """Count training pictures by lineage and name, homonyms apart; None where it is not known."""
    rows = find_training(store, evaluation, split)
    if not len(rows):
        return None
    places = evaluation.classes.find_labels(store.images, rows)
    classes = evaluation.classes
    keys = list(zip(list_lineages(classes), classes.short_names, strict=True))
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
