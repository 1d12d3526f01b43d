"""What the data are, how clean they are, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import StoreError
from bioprobe.evaluation.result import Evaluation
from bioprobe.images.camera import CAPTURED_AT
from bioprobe.images.image_table import read_level
from bioprobe.images.times import read_times
from bioprobe.quality.description import Description
from bioprobe.report.plots import plot_class_sizes
from bioprobe.splits import PARTS, Split, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import list_masks, read_selection
from bioprobe.task.target import find_rank
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd

_N_LISTED = 12
# Places and months that pictures are counted by, at most.
_N_GROUPS = 60
FOLDER = "folder"
# What people call the place of a camera, a trap or a plot.
_PLACES = (
    "station", "site", "location", "camera", "deployment", "plot", "locality", "transect", "place",
)  # fmt: skip


def describe_data(
    store: EmbeddingStore, found: Description, level: str, common: Mapping[str, str]
) -> dict[str, Any]:
    """Return how the images are labelled and what masks say of them, for the page."""
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
        "masks": describe_masks(store),
    }


def find_place(store: EmbeddingStore, by: str | None = None) -> tuple[str, Names]:
    """Return what pictures are told apart by, and the value of each row of the store.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    by : str, optional
        A rank or column, or ``folder``. By default a column that says where pictures were taken,
        such as ``station``, else the folder.

    Raises
    ------
    SelectionError
        If there is no such rank or column.
    """
    columns = {name.casefold(): name for name in store.images.free_columns}
    if by is None:
        by = next((columns[name] for name in _PLACES if name in columns), FOLDER)
    if by == FOLDER and FOLDER not in store.images.free_columns:
        folders = [str(PurePosixPath(path).parent) for path in store.images.column("path")]
        return by, np.array(["" if one == "." else one for one in folders], dtype=object)
    return by, store.images.labels(read_level(by, store.images))


def list_months(store: EmbeddingStore) -> Names:
    """Return the month in which each current picture was taken, ``""`` where nobody says it."""
    if CAPTURED_AT not in store.images.columns:
        return np.full(len(store.rows), "", dtype=object)
    times, _ = read_times(store.images.labels(CAPTURED_AT), store.rows)
    months = np.datetime_as_string(times, unit="M")
    return np.where(np.isnat(times), "", months).astype(object)


def list_groups(store: EmbeddingStore, rows: Rows) -> list[str]:
    """Return what pictures can be counted by: a column that says the place, and the month."""
    place, values = find_place(store)
    found = [] if place == FOLDER else [(place, values[rows])]
    months = np.full(len(store.images), "", dtype=object)
    months[store.rows] = list_months(store)
    found.append(("month", months[rows]))
    return [name for name, of in found if 1 < len({one for one in of.tolist() if one}) <= _N_GROUPS]


def name_all(names: Sequence[str], common: Mapping[str, str]) -> list[str]:
    """Return names for a chart, each with its common name where it has one of its own."""
    own = {name: word for name, word in common.items() if ": " not in word}
    return [f"{name} ({own[name]})" if name in own else name for name in names]


def take_answers(evaluation: Evaluation, method: str) -> pd.DataFrame:
    """Return what a method answered to the pictures that judge."""
    return evaluation.predictions[evaluation.predictions["method"] == method]


def describe_masks(store: EmbeddingStore) -> list[dict[str, Any]]:
    """Return what each mask of a store drops, for the page."""
    return [_describe_mask(store, name) for name in list_masks(store)]


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
