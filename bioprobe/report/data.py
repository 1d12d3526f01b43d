"""What the data are, how clean they are, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import StoreError
from bioprobe.evaluation.result import Evaluation
from bioprobe.quality.description import describe_images
from bioprobe.report.plots import plot_class_sizes
from bioprobe.splits import PARTS, Split, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import list_selections, read_selection
from bioprobe.task.target import find_rank

_N_LISTED, _N_MODES = 12, 4


def describe_data(store: EmbeddingStore, level: str, common: Mapping[str, str]) -> dict[str, Any]:
    """Return what the images are and what masks say of them, for the page.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    level : str
        Rank or column of the evaluation.
    common : mapping of str to str
        Common names of classes, by their names.
    """
    found = describe_images(store, level)
    counts = found.listed
    assert counts is not None
    return {
        "found": found,
        "ranks": [one for one in found.ranks if one.names] + ([] if find_rank(level) else [counts]),
        "counts": counts,
        "n_single": int((counts.n_images == 1).sum()),
        "sizes_plot": plot_class_sizes(
            name_all(counts.names, common), counts.n_images, label=f"pictures of each {level}"
        ),
        "has_sizes": bool(np.isfinite(found.sizes_px).all()),
        "modes": list(found.modes.items())[:_N_MODES],
        "masks": describe_masks(store),
    }


def name_all(names: Sequence[str], common: Mapping[str, str]) -> list[str]:
    """Return names for a chart, each with its common name where it has one of its own."""
    own = {name: word for name, word in common.items() if ": " not in word}
    return [f"{name} ({own[name]})" if name in own else name for name in names]


def describe_masks(store: EmbeddingStore) -> list[dict[str, Any]]:
    """Return what each mask of a store drops, for the page."""
    names = [name for name in list_selections(store) if not name.startswith("splits/")]
    return [_describe_mask(store, name) for name in names]


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
