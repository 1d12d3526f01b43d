"""Where the best method errs: on the tree, class by class, pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioprobe.evaluation.mistakes.confusion import Confusion
from bioprobe.evaluation.result import Evaluation
from bioprobe.report.galleries import ShowPicture
from bioprobe.report.plots import plot_confusion
from bioprobe.taxonomy import RANKS

# A matrix of more classes than this cannot be read; those with the most mistakes are shown.
_MOST_CLASSES = 60
# Lines between groups help where a group has so many classes in the mean.
_LEAST_GATHERED = 3
_N_PAIRS_SHOWN, _N_PAIRS_LISTED = 5, 15


def describe_errors(evaluation: Evaluation, show: ShowPicture) -> dict[str, Any]:
    """Return confusions at each rank, the worst classes, and the most confused pairs.

    Parameters
    ----------
    evaluation : Evaluation
        Whose best method is looked at.
    show : callable
        From a row of the store, a caption and further lines to a picture for the page.
    """
    best = evaluation.best
    confusion = evaluation.count_confusion(best.method)
    table = evaluation.tabulate_classes(best.method)
    pairs = list(best.pairs)
    return {
        "method": best.method,
        "ranks": _describe_ranks(confusion),
        "pairs": pairs[:_N_PAIRS_LISTED],
        "evidence": [_show_pair(pair, show) for pair in pairs[:_N_PAIRS_SHOWN]],
        "classes": table.to_dict("records"),
    }


def _describe_ranks(confusion: Confusion) -> list[dict[str, Any]]:
    """Return accuracy and matrix at the rank of the answers and at each above, broadest first."""
    described = []
    for rank in RANKS[: confusion.rank.depth + 1]:
        at_rank = confusion if rank is confusion.rank else confusion.collapse(rank)
        n_images, n_classes = int(at_rank.counts.sum()), len(at_rank.classes)
        if not n_images:
            continue
        n_right = int(np.trace(at_rank.counts))
        described.append(
            {
                "rank": rank.value,
                "n_classes": n_classes,
                "n_images": n_images,
                "n_wrong": n_images - n_right,
                "accuracy": n_right / n_images,
                "plot": _plot(at_rank) if n_classes > 1 else None,
                "n_shown": min(n_classes, _MOST_CLASSES),
            }
        )
    return described


def _plot(confusion: Confusion) -> str:
    counts, depth = confusion.counts, confusion.rank.depth
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    chosen = np.argsort(-wrong, kind="stable")[:_MOST_CLASSES].tolist()
    taxa = confusion.classes.taxa
    order = sorted(chosen, key=lambda place: taxa[place].lineage[: depth + 1])
    above = _find_groups([taxa[place].lineage[:depth] for place in order])
    names = [taxa[place].name for place in order]
    shown = counts[np.ix_(order, order)].astype(np.float64)
    return plot_confusion(shown, names, above, label=confusion.rank.value)


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
