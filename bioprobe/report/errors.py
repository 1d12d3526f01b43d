"""Where the best method errs: on the tree, class by class, pair by pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.evaluation.mistakes import Confusion
from bioprobe.evaluation.result import Evaluation
from bioprobe.index import NeighborIndex
from bioprobe.page.html import make_thumbnail
from bioprobe.report.data import find_training, name_all
from bioprobe.report.naming import Naming
from bioprobe.report.plots import plot_confusion
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import RANKS
from bioprobe.types import Rows

if TYPE_CHECKING:
    import pandas as pd


ShowPicture = Callable[[int, str, tuple[str, ...]], dict[str, Any]]

_N_PICTURES, _N_NEIGHBORS = 12, 3
_SIZE_PX = 180


def make_shower(store: EmbeddingStore, naming: Naming) -> ShowPicture:
    """Return a function that turns a row into a picture for the page; each is read once.

    Below what is said of it stand its common name and its file.
    """
    known: dict[int, dict[str, str]] = {}

    def show(row: int, caption: str, lines: tuple[str, ...]) -> dict[str, Any]:
        if row not in known:
            one = store.images.excerpt(np.array([row]))
            known[row] = {
                "thumbnail": make_thumbnail(one.locate(0), _SIZE_PX),
                "place": one.name_row(0),
                "common": dataclasses.replace(naming, images=one).find_picture(0),
            }
        return {**known[row], "caption": caption, "lines": lines}

    return show


def choose_pictures(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None, show: ShowPicture
) -> list[dict[str, Any]]:
    """Return the galleries: surely right, surely wrong, least certain.

    Of surely right pictures at most one a class is shown, so that the page does not show one
    easy class alone. Below each picture stand its nearest training pictures, where the split is
    still there.
    """
    answers = evaluation.predictions
    answers = answers[answers["method"] == evaluation.best.method]
    answers = answers.sort_values("probability", ascending=False, kind="stable")
    right = answers["right"].to_numpy(dtype=bool)
    chosen = (
        (
            "Right and sure",
            "The surest right answer of each class.",
            answers[right].drop_duplicates("truth_class").head(_N_PICTURES),
        ),
        (
            "Wrong and sure",
            "The surest wrong answers: a look-alike, a wrong label, or a picture of something "
            "else.",
            answers[~right].head(_N_PICTURES),
        ),
        (
            "Least certain",
            "Right or wrong, the answers of the lowest probability.",
            answers.iloc[::-1].head(_N_PICTURES),
        ),
    )
    rows = np.unique(np.concatenate([frame["row"] for *_, frame in chosen]).astype(np.int64))
    below = _find_neighbors(store, evaluation, split, rows, show)
    return [
        {"heading": heading, "note": note, "pictures": _show_all(frame, show, below)}
        for heading, note, frame in chosen
        if len(frame)
    ]


def _find_neighbors(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None, rows: Rows,
    show: ShowPicture,
) -> dict[int, list[dict[str, Any]]]:  # fmt: skip
    """Return the nearest training pictures of each picture, by its row: all vectors are read once.

    Of pictures of a fold, once for each: where a fold was answered by the others, its own taught
    nothing of it.
    """
    labels = store.images.labels(evaluation.level)
    training = find_training(store, evaluation, split)
    fold_of = split.folds if split else np.full(len(store), -1)
    # Evidence: an approximate index that the store may keep would miss some.
    index = NeighborIndex.open(store, exact=True)
    found: dict[int, list[dict[str, Any]]] = {row: [] for row in rows.tolist()}
    for fold in np.unique(fold_of[rows]).tolist():
        asked = rows[fold_of[rows] == fold]
        others = training[fold_of[training] != fold] if fold >= 0 else training
        # One more than are shown, as a picture is the nearest to itself.
        near, similarities = index.search(store.read_vectors(asked), _N_NEIGHBORS + 1, rows=others)
        for row, ones, its in zip(asked.tolist(), near, similarities, strict=True):
            shown = np.flatnonzero(ones != row)[:_N_NEIGHBORS]
            found[row] = [
                show(one, str(labels[one]), (f"similarity {similarity:.2f}",))
                for one, similarity in zip(ones[shown].tolist(), its[shown].tolist(), strict=True)
            ]
    return found


def _show_all(
    answers: pd.DataFrame, show: ShowPicture, below: dict[int, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    shown = []
    for one in answers.to_dict("records"):
        truth = one["truth"] or "(a class without training pictures)"
        lines = [] if one["right"] else [f"answer: {one['predicted']}"]
        lines.append(f"probability {one['probability']:.2f}")
        row = int(one["row"])
        picture = show(row, str(truth), tuple(lines))
        tone = "right" if one["right"] else "wrong"
        shown.append({**picture, "tone": tone, "neighbors": below[row]})
    return shown


def count_unread(groups: list[dict[str, Any]]) -> int:
    """Count the pictures of galleries whose files could not be read."""
    empty = [not picture["thumbnail"] for group in groups for picture in group["pictures"]]
    return int(np.sum(empty))


# A matrix of more classes than this cannot be read; those with the most mistakes are shown.
_MOST_CLASSES = 60
# Lines between groups help where a group has so many classes in the mean.
_LEAST_GATHERED = 3
_N_PAIRS_SHOWN, _N_PAIRS_LISTED = 5, 15


def describe_errors(
    evaluation: Evaluation, show: ShowPicture, common: Mapping[str, str]
) -> dict[str, Any]:
    """Return confusions at each rank, the worst classes, and the most confused pairs.

    Parameters
    ----------
    evaluation : Evaluation
        Whose best method is looked at.
    show : callable
        From a row of the store, a caption and further lines to a picture for the page.
    common : mapping of str to str
        Common names of classes, by their names.
    """
    best = evaluation.best
    confusion = evaluation.count_confusion(best.method)
    table = evaluation.tabulate_classes(best.method)
    pairs = list(best.pairs)
    return {
        "method": best.method,
        "has_tree": confusion.classes.rank is not None,
        "ranks": _describe_ranks(confusion, common),
        "pairs": pairs[:_N_PAIRS_LISTED],
        "evidence": [_show_pair(pair, show) for pair in pairs[:_N_PAIRS_SHOWN]],
        "classes": table.to_dict("records"),
    }


def _describe_ranks(confusion: Confusion, common: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return accuracy and matrix at the rank of the answers and at each above, broadest first.

    Classes of a column have no ranks above.
    """
    described = []
    rank = confusion.classes.rank
    above = RANKS[: rank.depth] if rank is not None else ()
    for at_rank in (*(confusion.collapse(one) for one in above), confusion):
        n_images, n_classes = int(at_rank.counts.sum()), len(at_rank.classes)
        if not n_images:
            continue
        n_right = int(np.trace(at_rank.counts))
        described.append(
            {
                "rank": at_rank.classes.level,
                "n_classes": n_classes,
                "n_images": n_images,
                "n_wrong": n_images - n_right,
                "accuracy": n_right / n_images,
                "plot": _plot(at_rank, common) if n_classes > 1 else None,
                "n_shown": min(n_classes, _MOST_CLASSES),
            }
        )
    return described


def _plot(confusion: Confusion, common: Mapping[str, str]) -> str:
    counts, classes = confusion.counts, confusion.classes
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    chosen = np.argsort(-wrong, kind="stable")[:_MOST_CLASSES].tolist()
    depth = classes.rank.depth if classes.rank is not None else 0
    lineages = [taxon.lineage[:depth] for taxon in classes] or [()] * len(classes)
    names = classes.short_names
    order = sorted(chosen, key=lambda place: (*lineages[place], names[place]))
    above = _find_groups([lineages[place] for place in order])
    shown = counts[np.ix_(order, order)].astype(np.float64)
    named = name_all([names[place] for place in order], common)
    return plot_confusion(shown, named, above, label=classes.level)


def _find_groups(lineages: list[tuple[str, ...]]) -> list[str]:
    """Return the taxon above each class, at the lowest rank that still gathers several in one."""
    for rank in reversed(range(len(lineages[0]))):
        names = [lineage[rank] for lineage in lineages]
        if len(set(names)) * _LEAST_GATHERED <= len(names):
            return names
    return [""] * len(lineages)


def _show_pair(pair: dict[str, Any], show: ShowPicture) -> dict[str, Any]:
    return {
        **pair,
        "shown": [
            {
                "mistake": show(
                    mistake["row"],
                    f"{pair['truth']}, taken for {pair['answer']}",
                    (f"probability {mistake['probability']:.2f}",),
                ),
                "neighbors": [
                    show(near["row"], near["label"], (f"similarity {near['similarity']:.2f}",))
                    for near in mistake["neighbors"]
                ],
            }
            for mistake in pair["mistakes"]
        ],
    }
