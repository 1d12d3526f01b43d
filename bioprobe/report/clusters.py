"""Clusters that a store keeps: how large and how stable they are, and whether they are species."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioprobe.clustering.agreement import measure_agreement
from bioprobe.clustering.clusters import find_units
from bioprobe.errors import BioprobeError
from bioprobe.images.image_table import read_level
from bioprobe.report.errors import ShowPicture
from bioprobe.report.section import Section
from bioprobe.store import EmbeddingStore
from bioprobe.store.columns import CLUSTERS, KeptColumn, list_columns
from bioprobe.store.computed import read_column
from bioprobe.store.view import View
from bioprobe.taxonomy import RANKS
from bioprobe.types import Names, Places, Rows

# Columns of clusters, and clusters of each, that are shown.
_MOST_COLUMNS, _MOST_CLUSTERS = 3, 24
# Below, a cluster hardly comes back.
_STABLE = 0.5


def describe_clusters(
    store: EmbeddingStore, show: ShowPicture, level: str | None = None
) -> list[Section]:
    """Return what clusters a store keeps; no part where it keeps none.

    Parameters
    ----------
    store : EmbeddingStore
    show : callable
        From a row, a caption and further lines to a picture for the page.
    level : str, optional
        Rank or column whose labels they are compared with, where there are any; by default the
        lowest rank that has two.
    """
    names = [name for _, name in list_columns(store.folder, CLUSTERS)]
    if not names:
        return []
    view = View.all(store)
    level = _choose_level(store) if level is None else read_level(level, store.images)
    labels = store.images.labels(level)
    units, _ = find_units(view, None)
    shown, unread = [], []
    for name in names[:_MOST_COLUMNS]:
        try:
            kept = read_column(store, name)
        except BioprobeError as error:
            unread.append(str(error))
            continue
        shown.append(_describe(kept, store.rows, labels, units, level, show))
    lead = "Pictures that look alike were put together without a label"
    if shown:
        first = shown[0]
        lead += f": {first['n_in']:,} of them in {first['n_clusters']:,} clusters"
    content = {"columns": shown, "unread": unread, "n_more": max(0, len(names) - _MOST_COLUMNS)}
    return [Section("clusters", "Clusters", "Which pictures look alike", f"{lead}.", content)]


def _describe(
    kept: KeptColumn, rows: Rows, labels: Names, units: Places, level: str, show: ShowPicture
) -> dict[str, Any]:
    values, numbers = kept.values[rows], kept.numbers[rows]
    known, places = np.unique(values.astype(str), return_inverse=True)
    sizes = np.bincount(places, minlength=len(known))
    order = [at for at in np.argsort(-sizes, kind="stable").tolist() if known[at]]
    stability = kept.facts.get("stability") or []
    scores = kept.facts.get("scores") or []
    clusters = []
    for at in order[:_MOST_CLUSTERS]:
        value, inside = str(known[at]), np.flatnonzero(places == at)
        medoid = int(rows[inside[np.nan_to_num(numbers[inside], nan=-2).argmax()]])
        label, share = _find_label(labels[rows[inside]])
        # Values are numbers from 1, but those that somebody named otherwise.
        place = int(value) - 1 if value.isdecimal() else -1
        steady = stability[place] if 0 <= place < len(stability) else None
        proposed, score = kept.names.get(value, ""), None
        if proposed and 0 <= place < len(scores):
            score = scores[place]
        said = [f"{len(inside):,} pictures"]
        said += [f"labels: {label} {share:.0%}"] if label else []
        caption = f"{value}: {proposed} (proposed)" if proposed else value
        clusters.append({
            "value": value, "n": len(inside), "stability": steady, "proposed": proposed,
            "score": score, "label": label, "share": share,
            "picture": show(medoid, caption, tuple(said)),
        })  # fmt: skip
    has = (labels[rows] != "") & (values != "")
    agreed = {}
    if len(np.unique(labels[rows][has].astype(str))) > 1:
        codes = np.unique(labels[rows][has].astype(str), return_inverse=True)[1]
        agreed = measure_agreement(places[has], codes, units[has], n_resamples=200)
    return {
        "name": kept.name, "method": kept.facts.get("method", ""), "level": level,
        "n_in": int((values != "").sum()), "n_none": int((values == "").sum()),
        "n_clusters": len(order), "clusters": clusters,
        "n_unstable": sum(one is not None and one < _STABLE for one in stability),
        "has_stability": any(one is not None for one in stability),
        "has_names": bool(kept.names), "has_labels": any(one["label"] for one in clusters),
        "agreed": [
            {"name": name.replace("_", " "), "interval": one} for name, one in agreed.items()
        ],
    }  # fmt: skip


def _choose_level(store: EmbeddingStore) -> str:
    for rank in reversed(RANKS):
        if len(set(store.images.labels(rank.value)[store.rows].tolist()) - {""}) > 1:
            return rank.value
    return RANKS[-1].value


def _find_label(labels: Names) -> tuple[str, float]:
    """Return the most frequent label, and its share of those there are."""
    names, counts = np.unique(labels[labels != ""].astype(str), return_counts=True)
    if not len(names):
        return "", float("nan")
    at = int(counts.argmax())
    return str(names[at]), float(counts[at] / counts.sum())
