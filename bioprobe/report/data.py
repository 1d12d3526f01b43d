"""What the data are, how clean they are, and how they are split."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.errors import StoreError
from bioprobe.evaluation.result import Evaluation
from bioprobe.report.plots import plot_class_sizes
from bioprobe.splits import PARTS, Split, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import list_selections, read_selection
from bioprobe.taxonomy import RANKS, Rank

if TYPE_CHECKING:
    import pandas as pd

_N_LISTED = 12


def describe_data(store: EmbeddingStore, rank: Rank) -> dict[str, Any]:
    """Return counts of images and taxa, picture sizes, failures and masks, for the page.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    rank : Rank
        Rank of the evaluation.
    """
    frame = store.images.frame.iloc[store.rows]
    sizes = Counter(name for name in frame[rank.value] if name)
    masks = [name for name in list_selections(store) if not name.startswith("splits/")]
    counts = np.array(list(sizes.values()))
    return {
        "n_images": len(frame),
        "n_failures": len(store.read_failures()),
        "ranks": _count_ranks(frame),
        "sizes": _describe_sizes(sizes),
        "sizes_plot": plot_class_sizes(counts, label=f"classes ({rank.value})"),
        "pictures": _describe_pictures(frame),
        "masks": [_describe_mask(store, name) for name in masks],
    }


def _count_ranks(frame: pd.DataFrame) -> list[dict[str, Any]]:
    counted = []
    for rank in RANKS:
        named = frame[rank.value][frame[rank.value] != ""]
        if len(named):
            counted.append(
                {
                    "rank": rank.value,
                    "n_classes": int(named.nunique()),
                    "n_images": len(named),
                    "n_unlabelled": len(frame) - len(named),
                }
            )
    return counted


def _describe_sizes(sizes: Counter[str]) -> dict[str, Any]:
    ordered = sizes.most_common()
    return {
        "n_classes": len(ordered),
        "largest": ordered[0],
        "smallest": ordered[-1],
        "ratio": ordered[0][1] / ordered[-1][1],
        "n_single": sum(n == 1 for n in sizes.values()),
    }


def _describe_pictures(frame: pd.DataFrame) -> dict[str, Any] | None:
    width_px, height_px = frame["width_px"], frame["height_px"]
    # Imported vectors have no pictures.
    known = width_px.notna() & (width_px > 0)
    if not known.any():
        return None
    megapixels = (width_px * height_px)[known] / 1e6
    return {
        "median_px": (int(width_px[known].median()), int(height_px[known].median())),
        "least_megapixels": float(megapixels.min()),
        "most_megapixels": float(megapixels.max()),
        "modes": Counter(frame["mode"][known]).most_common(4),
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
