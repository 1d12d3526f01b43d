"""What would help most, from what an evaluation found: pictures, checks, labels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bioprobe.errors import StoreError
from bioprobe.evaluation.curves import Efficiency
from bioprobe.evaluation.mistakes import list_lineages
from bioprobe.evaluation.result import Evaluation, MethodResult
from bioprobe.report.data import find_training
from bioprobe.reviewing.wrong_labels import find_wrong_labels
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import list_selections, read_selection
from bioprobe.task.lazy_rows import LazyRows
from bioprobe.types import Mask, Names, Places

_N_NAMED = 12
_FILTERS = "filters/"


def find_usable(store: EmbeddingStore, *names: str | None) -> tuple[Mask, tuple[str, ...]]:
    """Return which rows no filter of a store drops, and the filters.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images; its filters are the masks below ``filters/``.
    *names : str or None
        Further masks that count.

    Returns
    -------
    kept : ndarray of bool, shape (n_rows,)
        What a filter has not judged is kept.
    names : tuple of str
        Of the filters.
    """
    listed = [name for name in list_selections(store) if name.startswith(_FILTERS)]
    listed += [name for name in names if name and name not in listed]
    kept, found = np.ones(len(store.images), dtype=bool), []
    for name in listed:
        try:
            selection = read_selection(store, name)
        except StoreError:  # a mask that is gone drops nothing now
            continue
        kept &= selection.kept | ~selection.judged
        found.append(name)
    return kept, tuple(found)


@dataclasses.dataclass(frozen=True)
class LearningCurve:
    """How a method's mistakes went down with training pictures a class, as it was measured.

    Parameters
    ----------
    method : str
    n_per_class : tuple of int
        Ascending.
    errors : tuple of float
        Mean share of wrong answers at each.
    """

    method: str
    n_per_class: tuple[int, ...]
    errors: tuple[float, ...]

    @classmethod
    def of(cls, points: Sequence[Efficiency], method: str) -> LearningCurve | None:
        """Return the curve of a method; None where it has not two points."""
        own = sorted((p for p in points if p.method == method), key=lambda p: p.n_per_class)
        if len(own) < 2:
            return None
        return cls(method, tuple(p.n_per_class for p in own), tuple(1 - p.mean for p in own))

    def save(self, n: int) -> float:
        """Return the share of mistakes that twice as many pictures than n a class take away.

        Between two points, and beyond the ends, mistakes go down by a power of the number of
        pictures: that of the nearest two points. What a class without a picture gains is the
        accuracy at the first point.

        References
        ----------
        Cortes et al. 1993, *Learning Curves: Asymptotic Values and Rate of Convergence* (power
        laws of learning curves).
        """
        if n <= 0:
            return 1 - self.errors[0]
        place = int(np.clip(np.searchsorted(self.n_per_class, n, side="right"), 1,
                            len(self.errors) - 1))  # fmt: skip
        before, after = self.errors[place - 1], self.errors[place]
        if not before or after >= before:
            return 0.0
        if not after:
            return 1.0
        octaves = np.log2(self.n_per_class[place] / self.n_per_class[place - 1])
        return float(1 - (after / before) ** (1 / octaves))


def _find_learner(evaluation: Evaluation) -> MethodResult | None:
    """Return the best of the methods that learn from labelled pictures; None where none does."""
    learners = [one for one in evaluation.results if max(one.n_training, default=0)]
    return max(learners, key=lambda one: one.metrics["accuracy"].estimate, default=None)


def find_next_steps(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None
) -> dict[str, Any]:
    """Return what would help most, from what the evaluation found.

    What a filter dropped, or the mask of the evaluation, is in no advice. Classes to collect are
    those with a mistake of the best method that learns, by expected gain: mistakes, times the
    share of mistakes that twice as many pictures took away on its curve; by mistakes alone where
    no curve was measured. Labels to check are those that confident learning would call wrong, of
    all pictures that have one: each is left out in turn, and ranked by the probability that the
    others give its label.
    """
    usable, masks = find_usable(store, evaluation.provenance["options"]["mask"])
    learner = _find_learner(evaluation)
    collect: list[dict[str, Any]] = []
    curve, n_wrong = None, 0
    if learner is not None:
        curve = LearningCurve.of(evaluation.efficiency, learner.method)
        ranked = _rank_classes(store, evaluation, split, learner.method, curve, usable)
        n_wrong = sum(one["n_lost"] for one in ranked)
        # A curve that went no further down promises nothing of more pictures.
        collect = [one for one in ranked if one["gain"] is None or one["gain"] > 0]
    suspicious, n_ranked = _find_suspicious(store, evaluation, split, usable)
    unlabelled = store.images.labels(evaluation.level)[store.rows] == ""
    n_unlabelled = int((unlabelled & usable[store.rows]).sum())
    return {
        "learner": learner.method if learner else None,
        "n_wrong": n_wrong,
        "collect": collect[:_N_NAMED],
        "n_collect": len(collect),
        "has_curve": curve is not None,
        "check": suspicious[:_N_NAMED],
        "n_check": len(suspicious),
        "n_ranked": n_ranked,
        "n_unlabelled": n_unlabelled,
        "n_dropped": int(unlabelled.sum()) - n_unlabelled,
        "masks": masks,
        "rank": evaluation.level,
    }


def _rank_classes(
    store: EmbeddingStore,
    evaluation: Evaluation,
    split: Split | None,
    method: str,
    curve: LearningCurve | None,
    usable: Mask,
) -> list[dict[str, Any]]:
    answers = evaluation.predictions
    kept = answers[(answers["method"] == method) & usable[answers["row"].to_numpy()]]
    kept = kept[kept["truth_class"] >= 0]
    training = _count_training(store, evaluation, split)
    classes = evaluation.classes
    lineages, shorts = list_lineages(classes), classes.short_names
    ranked: list[tuple[float, int, str, dict[str, Any]]] = []
    for place, of_class in kept.groupby("truth_class"):
        wrong = of_class[~of_class["right"].to_numpy(dtype=bool)]
        if not len(wrong):
            continue
        n_training = training.get(int(place), 0) if training is not None else None
        gain = None
        if curve is not None and n_training is not None:
            gain = curve.save(n_training) * len(wrong)
        most = wrong["predicted_class"].value_counts(sort=True)
        told = {
            "class": shorts[int(place)],
            "lineage": lineages[int(place)],
            "n_training": n_training,
            "n_images": len(of_class),
            "n_lost": len(wrong),
            "recall": 1 - len(wrong) / len(of_class),
            "gain": gain,
            "confused_with": shorts[int(most.index[0])],
        }
        ranked.append((-(gain or 0.0), -len(wrong), shorts[int(place)], told))
    return [told for *_, told in sorted(ranked, key=lambda one: one[:3])]


def _count_training(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None
) -> Counter[int] | None:
    """Count training pictures by class; None where it is not known."""
    rows = find_training(store, evaluation, split)
    if not len(rows):
        return None
    places = evaluation.classes.find_labels(store.images, rows)
    return Counter(places[places >= 0].tolist())


def _find_suspicious(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None, usable: Mask
) -> tuple[list[dict[str, Any]], int]:
    """Return the labels to check, the most suspected first, and how many were ranked."""
    rows = store.rows[usable[store.rows]]
    labels = store.images.labels(evaluation.level)[rows]
    rows, labels = rows[labels != ""], labels[labels != ""]

    def find_groups(places: Places) -> Names:
        # Copies of a picture, and what a split keeps together, would speak for each other.
        asked = rows[places]
        groups = store.images.read_texts(asked, ["sha256"])["sha256"]
        if split is None:
            return groups
        together = split.groups[asked]
        return np.where(together != "", together, groups)

    vectors = LazyRows(store.read_vectors, rows, store.manifest.dim)
    found = find_wrong_labels(vectors, labels, find_groups)
    names = store.images.name_rows(rows[found.places])["file_name"]
    suspicious = [
        {
            "row": int(rows[place]),
            "file_name": name,
            "truth": labels[place],
            "confidence": confidence,
            "predicted": answer,
            "probability": score,
        }
        for place, name, confidence, answer, score in zip(
            found.places.tolist(), names.tolist(), found.confidences.tolist(),
            found.answers.tolist(), found.scores.tolist(), strict=True,
        )
    ]  # fmt: skip
    return suspicious, found.n_ranked
