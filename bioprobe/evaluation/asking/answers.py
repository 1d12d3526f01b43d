"""What a method answers on rows it did not learn from, over all rounds of a split."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrator import to_logits
from bioprobe.calibration.temperature import TemperatureScaling
from bioprobe.classify.predictions import Predictions, find_classes
from bioprobe.evaluation.asking.learnt import Learnt
from bioprobe.evaluation.asking.methods import ZEROSHOT, learn
from bioprobe.evaluation.asking.rounds import hold_out_fold
from bioprobe.probes.text_prior import TextPrior
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank, Taxonomy

Rows = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """Probabilities of one method on all rows that are judged.

    Parameters
    ----------
    method : str
        Its name.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store, ascending.
    probabilities : ndarray of float32, shape (n_images, n_classes)
        Of the classes of the evaluation; 0 for those that the method does not know.
    calibrated : ndarray of float32, shape (n_images, n_classes), or None
        The same by temperature scaling; None where no rows were left to choose the temperature.
    is_known : ndarray of bool, shape (n_images,)
        Whether the method knows the class of each image.
    settings : tuple of dict
        What was chosen in each round.
    n_training : tuple of int
        Images learnt from in each round.
    temperatures : tuple of float
        Of each round; empty where there is none.
    calibrated_on : str
        ``validation``, ``held-out fold`` of the training rows, or ``""``.
    learning_s, answering_s : float
        Seconds, choosing included; the rows that calibrate are not counted.
    """

    method: str
    rows: Rows
    probabilities: Probabilities
    calibrated: Probabilities | None
    is_known: npt.NDArray[np.bool_]
    settings: tuple[dict[str, Any], ...]
    n_training: tuple[int, ...]
    temperatures: tuple[float, ...]
    calibrated_on: str
    learning_s: float
    answering_s: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Round:
    predictions: Predictions
    learnt: Learnt
    scaling: TemperatureScaling | None
    calibrated_on: str
    learning_s: float
    answering_s: float


def gather_answers(
    method: str,
    store: EmbeddingStore,
    rank: Rank,
    rounds: Sequence[Split],
    classes: Taxonomy,
    *,
    texts: TextPrior | None = None,
    others: Sequence[EmbeddingStore] = (),
    seed: int = 0,
) -> Answers:
    """Let a method learn and answer in each round.

    Parameters
    ----------
    method : str
        One of :data:`bioprobe.evaluation.asking.methods.METHODS`.
    store : EmbeddingStore
        Of the images.
    rank : Rank
        Rank of the classes.
    rounds : sequence of Split
        As :func:`bioprobe.evaluation.asking.rounds.list_rounds` returns them.
    classes : Taxonomy
        Every class that an image has or a method may answer.
    texts : TextPrior, optional
        For methods that read.
    others : sequence of EmbeddingStore
        For ``stack``.
    seed : int
        Of what is drawn at random.

    References
    ----------
    Guo et al. 2017, *On Calibration of Modern Neural Networks*: temperature scaling.
    """

    def run(split: Split) -> _Round:
        began = time.perf_counter()
        learnt = learn(method, store, rank, split, classes, texts=texts, others=others, seed=seed)
        learning_s = time.perf_counter() - began
        predictions = learnt.answer(split.rows("test"))
        answering_s = time.perf_counter() - began - learning_s
        rows, on, other = _find_calibration(store, rank, split)
        if other is not None and method != ZEROSHOT:
            held_out = learn(
                method, store, rank, other, classes, texts=texts, others=others,
                settings=learnt.settings, seed=seed,
            )  # fmt: skip
        else:
            held_out = learnt
        scaling = _fit_temperature(held_out.answer(rows)) if len(rows) else None
        return _Round(predictions, learnt, scaling, on, learning_s, answering_s)

    return _join(method, [run(split) for split in rounds], classes, rank)


def _find_calibration(
    store: EmbeddingStore, rank: Rank, split: Split
) -> tuple[Rows, str, Split | None]:
    """Return rows to choose a temperature on, and what to learn from when they were trained on."""
    labelled = store.images.labels(rank) != ""
    rows = split.rows("validation")
    rows = rows[labelled[rows]]
    if len(rows):
        return rows, "validation", None
    other = hold_out_fold(split)
    rows = other.rows("validation") if other else rows
    return rows[labelled[rows]], "held-out fold", other


def _fit_temperature(predictions: Predictions) -> TemperatureScaling | None:
    truth = predictions.truth_classes
    if not (truth >= 0).any():
        return None
    return TemperatureScaling.fit(to_logits(predictions.to_dense()), truth)


def _join(method: str, found: Sequence[_Round], classes: Taxonomy, rank: Rank) -> Answers:
    rows = np.concatenate([one.predictions.rows for one in found])
    order = np.argsort(rows, kind="stable")
    plain = [_place(one.predictions.to_dense(), one.predictions, classes, rank) for one in found]
    scalings = [one.scaling for one in found if one.scaling is not None]
    calibrated = None
    if len(scalings) == len(found):
        dense = [
            scaling.calibrate(to_logits(one.predictions.to_dense()))
            for one, scaling in zip(found, scalings, strict=True)
        ]
        parts = zip(dense, found, strict=True)
        calibrated = np.concatenate(
            [_place(part, one.predictions, classes, rank) for part, one in parts]
        )[order]
    return Answers(
        method,
        rows[order],
        np.concatenate(plain)[order],
        calibrated,
        np.concatenate([one.predictions.truth_classes >= 0 for one in found])[order],
        tuple(one.learnt.settings for one in found),
        tuple(one.learnt.n_training for one in found),
        tuple(scaling.temperature for scaling in scalings) if calibrated is not None else (),
        found[0].calibrated_on if calibrated is not None else "",
        sum(one.learning_s for one in found),
        sum(one.answering_s for one in found),
    )


def _place(
    dense: Probabilities, predictions: Predictions, classes: Taxonomy, rank: Rank
) -> Probabilities:
    """Return probabilities in the order of the classes of the evaluation."""
    places = find_classes((taxon.lineage for taxon in predictions.classes), classes, rank)
    placed = np.zeros((len(dense), len(classes)), dtype=np.float32)
    for column, place in enumerate(places):
        # A label that leaves open which homonym it is shares a place.
        placed[:, place] += dense[:, column]
    return placed
