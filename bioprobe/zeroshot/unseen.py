"""Generalised zero-shot: seen and new classes among each other, and an offset between them."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.intervals import Draws, Interval, Resamples, draw_scores, find_interval
from bioprobe.prompts import PromptSet
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.target import find_label_classes
from bioprobe.taxonomy import Rank
from bioprobe.types import Doubles, EncodeText, Mask, Rows, Scores, Vectors
from bioprobe.zeroshot.class_embeddings import embed_classes
from bioprobe.zeroshot.seen_offset import SeenOffset, choose_threshold, harmonic_mean

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Generalised:
    """How often images of seen and of unseen classes are right among the names of both.

    Intervals are of 95% and by class: how far a figure would move with other species, whose images
    come or do not come together.

    Parameters
    ----------
    seen, unseen : Interval
        Top-1 on images of classes that the encoder was trained with, and of others.
    harmonic_mean : Interval
        Of the two.
    n_seen, n_unseen : int
        Images.
    n_seen_classes, n_unseen_classes : int
        Classes that they are of.

    References
    ----------
    Xian, Schiele and Akata 2017, *Zero-Shot Learning: The Good, the Bad and the Ugly*.
    """

    seen: Interval
    unseen: Interval
    harmonic_mean: Interval
    n_seen: int
    n_unseen: int
    n_seen_classes: int
    n_unseen_classes: int


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class GeneralisedReport(Result):
    """Generalised zero-shot before and after an offset.

    Parameters
    ----------
    before : Generalised
        Without an offset.
    after : Generalised
        Each image is answered with an offset that was chosen on other species and other images;
        the figures are means over the repeats.
    offset : SeenOffset
        Chosen on all images, for use on new ones.
    fold_offsets : tuple of float
        Offsets of the folds.
    provenance : Provenance
        What the result was computed from.
    notes : tuple of Note
        What is to be said of it.
    """

    before: Generalised
    after: Generalised
    offset: SeenOffset
    fold_offsets: tuple[float, ...]
    provenance: Provenance
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row without and one with the offset."""
        import pandas as pd

        rows = []
        for name, measured in (("without", self.before), ("with", self.after)):
            row: dict[str, object] = {"offset": name}
            for side in ("seen", "unseen"):
                found: Interval = getattr(measured, side)
                row[f"{side}_accuracy"] = found.estimate
                row[f"{side}_low"], row[f"{side}_high"] = found.low, found.high
                row[f"n_{side}"] = getattr(measured, f"n_{side}")
                row[f"n_{side}_classes"] = getattr(measured, f"n_{side}_classes")
            harmonic = measured.harmonic_mean
            row["harmonic_mean"] = harmonic.estimate
            row["harmonic_low"], row["harmonic_high"] = harmonic.low, harmonic.high
            rows.append(row)
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as a JSON-ready mapping."""
        return {
            "before": _to_figures(self.before),
            "after": _to_figures(self.after),
            "fold_offsets": list(self.fold_offsets),
        }


def measure_generalised(
    store: EmbeddingStore,
    prompts: PromptSet,
    encode_text: EncodeText,
    *,
    rank: Rank,
    unseen_condition: str,
    seen_condition: str | None = None,
    n_repeats: int = 5,
    seed: int = 0,
    matrix: Vectors | None = None,
    adapter: str = "",
    taught: Mask | None = None,
) -> GeneralisedReport:
    """Measure generalised zero-shot, and an offset by cross-fitting among the unseen species.

    The unseen species are halved, and so are the images of the seen ones. On one half the offset
    of the highest harmonic mean is chosen, on the other it is tried, then the other way round; so
    no image is answered with an offset that its species had a part in. This is repeated with
    other halves. All classes are candidates all the time.

    Parameters
    ----------
    store : EmbeddingStore
        With labels.
    prompts : PromptSet
        Seen and unseen classes, at one rank.
    encode_text : callable
        From texts to unit vectors.
    rank : Rank
        That rank.
    unseen_condition : str
        Meets the images of classes that the encoder was not trained with.
    seen_condition : str, optional
        Meets the images of the other classes; better such as the training did not see. By default
        all that are of other classes.
    n_repeats : int
        Ways to halve, ≥ 1.
    seed : int
        Of the halving.
    matrix : ndarray of float32, shape (dim, dim), optional
        What images are seen through, as in :class:`bioprobe.zeroshot.question.Question`.
    adapter : str
        Key of what it is of; kept with the offset.
    taught : ndarray of bool, shape (n_rows,), optional
        Rows of the store that it was learnt from, which are left out.

    Raises
    ------
    SelectionError
        If fewer than two unseen classes, or fewer than two images of seen ones, have labels.

    References
    ----------
    Chao et al. 2016, *An Empirical Study and Analysis of Generalized Zero-Shot Learning for
    Object Recognition in the Wild* (calibrated stacking); Chernozhukov et al. 2018,
    *Double/debiased machine learning* (cross-fitting).
    """
    left_out = np.flatnonzero(taught) if taught is not None else np.zeros(0, dtype=np.int64)
    sides = _find_sides(store, prompts, rank, unseen_condition, seen_condition, left_out)
    answers = _answer(store, prompts, encode_text, sides, matrix)
    random = np.random.default_rng(seed)
    repeats, fold_offsets = [], []
    for _ in range(max(1, n_repeats)):
        half = _halve(answers, random)
        offsets = [_choose(answers, half == fold) for fold in (0, 1)]
        fold_offsets += offsets
        # Each half is answered with the offset of the other one.
        repeats.append(_find_right(answers, np.array([offsets[1], offsets[0]])[half]))
    new = tuple(prompts.taxa.taxa[place] for place in np.flatnonzero(sides.is_new_class))
    everything = np.ones(len(answers.is_new), dtype=bool)
    return GeneralisedReport(
        _measure(answers, _find_right(answers, np.zeros(len(answers.is_new))), seed),
        _measure(answers, np.mean(repeats, axis=0), seed),
        SeenOffset(_choose(answers, everything), new, adapter),
        tuple(fold_offsets),
        View(store, sides.rows).describe(
            {
                "rank": rank.value,
                "text_type": prompts.text_type.value,
                "templates": list(prompts.templates),
                "unseen_where": unseen_condition,
                "seen_where": seen_condition,
                "n_repeats": n_repeats,
                "seed": seed,
                **({"adapter": adapter} if adapter else {}),
            }
        ),
    )


@dataclasses.dataclass(frozen=True)
class _Sides:
    rows: Rows
    labels: Rows
    is_new_class: Mask


@dataclasses.dataclass(frozen=True)
class _Answers:
    """The best seen and the best unseen class of each image.

    Parameters
    ----------
    margins : ndarray of float64, shape (n_images,)
        How far the best seen class lies above the best unseen one, in logits.
    is_right : ndarray of bool, shape (n_images,)
        Whether the best class of the image's own side is the label.
    is_new : ndarray of bool, shape (n_images,)
        Whether the image is of an unseen class.
    labels : ndarray of int64, shape (n_images,)
        Class of the label.
    """

    margins: npt.NDArray[np.float64]
    is_right: Mask
    is_new: Mask
    labels: Rows


def _find_sides(
    store: EmbeddingStore,
    prompts: PromptSet,
    rank: Rank,
    unseen_condition: str,
    seen_condition: str | None,
    left_out: Rows,
) -> _Sides:
    taxa = prompts.taxa
    unseen = np.setdiff1d(View.of(store, unseen_condition).rows, left_out)
    asked = np.setdiff1d(View.of(store, seen_condition).rows, left_out)
    unseen_labels = find_label_classes(store.images, unseen, taxa, rank)
    is_new_class = np.zeros(len(taxa), dtype=bool)
    is_new_class[unseen_labels[unseen_labels >= 0]] = True
    asked = np.setdiff1d(asked, unseen)
    labels = find_label_classes(store.images, asked, taxa, rank) if len(asked) else asked
    is_seen = (labels >= 0) & ~is_new_class[labels]
    if is_new_class.sum() < 2 or is_seen.sum() < 2:
        msg = (
            f"{int(is_new_class.sum())} unseen {rank.value} classes meet {unseen_condition!r}, and "
            f"{int(is_seen.sum())} labelled images are of others; two at least of each are needed "
            "to choose an offset on one half and try it on the other"
        )
        raise SelectionError(msg)
    known = unseen_labels >= 0
    rows = np.concatenate([asked[is_seen], unseen[known]])
    return _Sides(rows, np.concatenate([labels[is_seen], unseen_labels[known]]), is_new_class)


def _answer(
    store: EmbeddingStore,
    prompts: PromptSet,
    encode_text: EncodeText,
    sides: _Sides,
    matrix: Vectors | None,
) -> _Answers:
    found, scale = embed_classes(store, prompts, encode_text), store.manifest.logit_scale
    places = [np.flatnonzero(~sides.is_new_class), np.flatnonzero(sides.is_new_class)]
    best: list[list[npt.NDArray[np.float64]]] = [[], []]
    chosen: list[list[Rows]] = [[], []]
    for vectors in View(store, sides.rows).iter_vectors():
        asked = vectors if matrix is None else vectors @ matrix.T
        logits = scale * (asked @ found.vectors.T) - found.offsets
        for side, inside in enumerate(places):
            best[side].append(logits[:, inside].max(axis=1).astype(np.float64))
            chosen[side].append(inside[logits[:, inside].argmax(axis=1)])
    seen, new = (np.concatenate(parts) for parts in best)
    is_new = sides.is_new_class[sides.labels]
    answers = np.where(is_new, np.concatenate(chosen[1]), np.concatenate(chosen[0]))
    return _Answers(seen - new, answers == sides.labels, is_new, sides.labels)


def _halve(answers: _Answers, random: np.random.Generator) -> Rows:
    """Return the half of each image: whole species where unseen, image by image where seen."""
    half = np.zeros(len(answers.is_new), dtype=np.int64)
    seen = random.permutation(np.flatnonzero(~answers.is_new))
    half[seen[len(seen) // 2 :]] = 1
    species = random.permutation(np.unique(answers.labels[answers.is_new]))
    half[answers.is_new & np.isin(answers.labels, species[len(species) // 2 :])] = 1
    return half


def _choose(answers: _Answers, chosen: Mask) -> float:
    seen, new = chosen & ~answers.is_new, chosen & answers.is_new
    # A seen class is answered where its margin is above the offset.
    return choose_threshold(
        answers.is_right[new], answers.margins[new], answers.is_right[seen], answers.margins[seen]
    )


def _find_right(answers: _Answers, offsets: Doubles) -> Mask:
    # At equal logits the class that stands first is answered; as good as never, so seen ones.
    says_seen = answers.margins >= offsets
    return np.asarray(answers.is_right & (says_seen != answers.is_new))


def _measure(answers: _Answers, right: npt.NDArray[Any], seed: int) -> Generalised:
    """Measure both sides, ``right`` being how often each image is; classes are resampled."""
    draws: list[Draws] = []
    for side, is_side in enumerate((~answers.is_new, answers.is_new)):
        values = np.asarray(right[is_side], dtype=np.float64)
        resamples = Resamples.of_groups(answers.labels[is_side].astype(str), seed=seed + side)
        draws.append(draw_scores(partial(_score, values), resamples)["accuracy"])
    seen, new = draws
    both = Draws(
        float(harmonic_mean(seen.estimate, new.estimate)),
        np.asarray(harmonic_mean(seen.resampled, new.resampled)),
        min(seen.n_units, new.n_units),
        is_clustered=True,
    )
    n_new = int(answers.is_new.sum())
    return Generalised(
        find_interval(seen), find_interval(new), find_interval(both),
        len(answers.is_new) - n_new, n_new, seen.n_units, new.n_units,
    )  # fmt: skip


def _score(right: Doubles, weights: Scores) -> dict[str, Doubles]:
    total = weights.sum(axis=1, dtype=np.float64)
    return {"accuracy": np.asarray(weights @ right / total)}


def _to_figures(measured: Generalised) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for side in ("seen", "unseen"):
        found: Interval = getattr(measured, side)
        figures[f"{side}_accuracy"] = found.estimate
        figures[f"{side}_interval"] = [found.low, found.high]
        figures[f"n_{side}"] = getattr(measured, f"n_{side}")
        figures[f"n_{side}_classes"] = getattr(measured, f"n_{side}_classes")
    harmonic = measured.harmonic_mean
    figures["harmonic_mean"] = harmonic.estimate
    figures["harmonic_mean_interval"] = [harmonic.low, harmonic.high]
    return figures
