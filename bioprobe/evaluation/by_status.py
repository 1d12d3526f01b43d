"""Two ways to tell what is threatened: learn the threat, or learn species and look it up."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.conservation import (
    CODES,
    NOT_THREATENED,
    STATUS,
    THREAT,
    THREATENED,
    Finder,
    Judged,
    find_members,
)
from bioprobe.errors import ProbeError, SelectionError
from bioprobe.evaluation.answers import Held, gather_answers
from bioprobe.evaluation.binary_metrics import score_binary
from bioprobe.evaluation.paired import compare_pairs
from bioprobe.images.image_table import ImageTable
from bioprobe.intervals import Resamples, draw_scores, find_interval
from bioprobe.result import WARNING, Note
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.target import Classes, label_rows
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from bioprobe.types import Doubles, Mask, Scores

if TYPE_CHECKING:
    import pandas as pd

DIRECT, SPECIES = "threat learnt", "from species"
# Figures that are compared, with what a page calls them.
_FIGURES = {"accuracy": "accuracy", "auroc": "AUROC", "average_precision": "average precision",
            "recall": "recall", "specificity": "specificity"}  # fmt: skip


def compare_routes(
    view: View,
    judged: Judged,
    finder: Finder,
    kind: str,
    *,
    split: str = "default",
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[pd.DataFrame, list[Note | str]]:
    """Compare a probe that learns the threat with the threat that a probe of species gives.

    Both learn from the same part of a split and answer the same held-out images: those whose label
    is threatened or not. From species, the probability of being threatened is that of all
    threatened species among that of all of which it is known whether they are.

    Parameters
    ----------
    view : View
        Images of a store with the split.
    judged : Judged
        Status of the labels of images of the view.
    finder : Finder
        Of the statuses of species.
    kind : str
        Method of both, such as ``linear``.
    split : str
        In the store.
    n_resamples : int
        Of groups of the split, for intervals.
    seed : int

    Returns
    -------
    frame : DataFrame
        One row a figure: of both, with intervals, their difference with a paired interval and a
        p-value; ``better`` names the better one where the interval of the difference does not hold
        0.
    notes : list of Note or str

    Raises
    ------
    StoreError
        If there is no such split.
    SelectionError
        If no held-out image is known to be threatened or not.
    ProbeError
        If there is nothing to tell apart.
    """
    asked = dataclasses.replace(view, store=_with_threat(view.store, judged))
    of_threat, of_species = (
        Task.of(asked, level, split=split, seed=seed) for level in (THREAT, Rank.SPECIES.value)
    )
    images = asked.images
    classes = Classes((NOT_THREATENED, THREATENED), level=THREAT)
    _refuse_one_sided(of_threat)
    direct = gather_answers(kind, of_threat.rounds(), classes, Held, positive=1)
    parts = of_species.need_split().parts
    labelled = images.labels(Rank.SPECIES.value) != ""
    inside = np.flatnonzero((parts != "") & labelled)
    if not len(inside):
        msg = f"no image of the split {split!r} has a label at species, from which a threat follows"
        raise SelectionError(msg)
    species = label_rows(images, inside, of_species.target, None).classes
    by_species = gather_answers(kind, of_species.rounds(), species, Held)
    rows = np.intersect1d(direct.rows, by_species.rows)
    is_threatened = images.labels(THREAT)[rows] == THREATENED
    if not len(rows) or is_threatened.all() or not is_threatened.any():
        msg = (
            f"of {len(rows):,} held-out images with a species, {int(is_threatened.sum()):,} are "
            "threatened: both are needed, threatened and not; make another split"
        )
        raise SelectionError(msg)
    scores = {
        DIRECT: direct.kept.probabilities[np.searchsorted(direct.rows, rows), 1].astype(np.float64),
        SPECIES: _find_threat(
            by_species.kept.probabilities[np.searchsorted(by_species.rows, rows)], species, finder
        ),
    }
    groups = of_threat.need_split().groups[rows]
    drawn = Resamples.of_groups(groups, n_resamples, seed, order=images.order(rows))
    frame = _measure(is_threatened, scores, drawn)
    known = np.array([bool(one.statuses) for one in finder.find_classes(species)], dtype=bool)
    said: list[Note | str] = [
        f"compared on {len(rows):,} held-out images of the split {split}, {is_threatened.sum():,} "
        f"of them threatened: {kind} learns {THREAT} from {direct.n_training[0]:,} images, and "
        f"species from {by_species.n_training[0]:,} ({len(species):,} species, {known.sum():,} "
        "with a status)"
    ]
    n_unlearnt = int((~by_species.is_known[np.searchsorted(by_species.rows, rows)]).sum())
    if n_unlearnt:
        said.append(Note(
            f"{n_unlearnt:,} of them are of species that taught nothing, of which a probe of "
            "species can only say what is like them", WARNING,
        ))  # fmt: skip
    first = frame.iloc[0]
    better = f"{first['better']} is better" if first["better"] else "neither is better for sure"
    said.append(
        f"accuracy: {DIRECT} {first['direct']:.3f}, {SPECIES} {first['species']:.3f}; difference "
        f"{first['difference']:+.3f} [{first['low']:+.3f}, {first['high']:+.3f}]: {better}"
    )
    return frame, said


def _with_threat(store: EmbeddingStore, judged: Judged) -> EmbeddingStore:
    """Return a store whose image table has the columns of status, which are written nowhere."""
    frame = store.images.frame.copy(deep=False)
    for name, values in ((STATUS, judged.codes), (THREAT, judged.threatened)):
        column = np.full(len(frame), "", dtype=object)
        column[judged.rows] = values
        frame[name] = column
    changed = copy.copy(store)
    changed.__dict__["images"] = ImageTable(frame)
    return changed


def _refuse_one_sided(task: Task) -> None:
    labels = task.store.images.labels(THREAT)[task.training]
    n_each = {name: int((labels == name).sum()) for name in (THREATENED, NOT_THREATENED)}
    if not all(n_each.values()):
        said = ", ".join(f"{name} {n:,}" for name, n in n_each.items())
        msg = f"a probe tells threatened from not threatened, and the images that teach are: {said}"
        raise ProbeError(msg)


def _find_threat(probabilities: Scores, species: Classes, finder: Finder) -> Doubles:
    """Return the probability of being threatened, among what is known to be or not to be.

    Half where nothing is known.
    """
    members = find_members(finder.find_classes(species))[:, len(CODES) :]
    shares = probabilities.astype(np.float64) @ members
    known = shares[:, :2].sum(axis=1)
    found = np.full(len(known), 0.5)
    np.divide(shares[:, 0], known, out=found, where=known > 0)
    return found


def _measure(is_threatened: Mask, scores: dict[str, Doubles], drawn: Resamples) -> pd.DataFrame:
    import pandas as pd

    draws: dict[str, dict[str, Any]] = {}
    right: dict[str, Mask] = {}
    for name, values in scores.items():
        flagged = values >= 0.5
        right[name] = flagged == is_threatened

        def score(
            weights: Scores, values: Doubles = values, flagged: Mask = flagged,
            right: Mask = right[name],
        ) -> dict[str, Doubles]:  # fmt: skip
            total = weights.astype(np.float64)
            return {
                "accuracy": (total @ right) / total.sum(axis=1),
                **score_binary(is_threatened, values, flagged, weights),
            }

        draws[name] = draw_scores(score, drawn)
    rows = []
    for figure, word in _FIGURES.items():
        both = {name: draws[name][figure] for name in scores}
        found = compare_pairs(figure, both, right if figure == "accuracy" else None)[0]
        ends = {
            name: find_interval(one, is_share=figure == "accuracy") for name, one in both.items()
        }
        is_sure = found.low > 0 or found.high < 0
        better = (DIRECT if found.difference > 0 else SPECIES) if is_sure else ""
        rows.append({
            "figure": figure, "word": word,
            "direct": ends[DIRECT].estimate, "direct_low": ends[DIRECT].low,
            "direct_high": ends[DIRECT].high, "species": ends[SPECIES].estimate,
            "species_low": ends[SPECIES].low, "species_high": ends[SPECIES].high,
            "difference": found.difference, "low": found.low, "high": found.high,
            "p_value": found.p_value, "n_images": len(is_threatened), "better": better,
        })  # fmt: skip
    return pd.DataFrame(rows)
