"""Methods side by side on one split."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrators import TemperatureScaling, to_logits
from bioprobe.errors import ModelUnavailableError, ProbeError, SelectionError
from bioprobe.evaluation.curves import EfficiencyPlan, measure_methods
from bioprobe.evaluation.methods import ZEROSHOT, Learnt, check_methods, find_obstacle, learn
from bioprobe.evaluation.metrics import build_tree, draw_method_scores, find_best, find_intervals
from bioprobe.evaluation.mistakes import Evidence, Mistake, count_confusion, explain_pairs, keep_met
from bioprobe.evaluation.paired import Comparison, compare_pairs
from bioprobe.evaluation.result import Evaluation, MethodResult
from bioprobe.intervals import Draws, Interval, Resamples
from bioprobe.provenance import Provenance
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection
from bioprobe.task.predictions import Predictions, find_classes, find_label_classes
from bioprobe.task.target import TextPrior, hash_rows, hash_taxonomy, label_rows, name_classes
from bioprobe.taxonomy import Rank, Taxonomy
from bioprobe.types import Mask, Rows, Scores

if TYPE_CHECKING:
    import pandas as pd


def list_rounds(split: Split, labelled: Mask, kept: Mask | None = None) -> list[Split]:
    """List the splits that are evaluated one after the other, each with a part ``test``.

    Parameters
    ----------
    split : Split
        One with a test part is one round. One without is as many as it has folds: in each, a fold
        is answered by what was learnt from the others.
    labelled : ndarray of bool, shape (n_store_rows,)
        Rows that have a label at the rank; no others are answered.
    kept : ndarray of bool, shape (n_store_rows,), optional
        Rows that may be learnt from and chosen on; those that are answered are not touched.

    Raises
    ------
    SelectionError
        If no labelled row would be answered.
    """
    in_test = split.parts == "test"
    tested = in_test & labelled
    if in_test.any() and not tested.any():
        # Folds of the training part would be another question than the one that was asked.
        msg = (
            f"none of the {in_test.sum():,} images in the part test of the split {split.name!r} "
            "has a label at this rank; say another --level, or make another split"
        )
        raise SelectionError(msg)
    if tested.any():
        rounds = [_make_round(split, tested, kept)]
    else:
        folds = np.unique(split.folds[(split.folds >= 0) & labelled])
        rounds = [
            _make_round(split, (split.folds == fold) & labelled, kept, fold) for fold in folds
        ]
    if not rounds:
        msg = (
            f"the split {split.name!r} has neither a part test nor a labelled image in a fold; "
            "make one: bioprobe split"
        )
        raise SelectionError(msg)
    return rounds


def _make_round(split: Split, tested: Mask, kept: Mask | None, fold: int | None = None) -> Split:
    parts = split.parts.copy()
    parts[parts == "test"] = ""
    if kept is not None:
        parts[~kept] = ""
    folds = np.where(parts == "train", split.folds, -1)
    name, digest = split.name, split.hash
    if fold is not None:
        parts[split.folds == fold] = ""
        folds[split.folds == fold] = -1
        name, digest = f"{name} without fold {fold}", f"{digest}:{fold}"
    parts[tested] = "test"
    # Numbered from 0 again, as the folds of a split are.
    _, numbers = np.unique(folds[folds >= 0], return_inverse=True)
    folds[folds >= 0] = numbers
    return dataclasses.replace(
        split, name=name, parts=parts, folds=folds, provenance={**split.provenance, "hash": digest}
    )


def hold_out_fold(split: Split) -> Split | None:
    """Return a split whose first fold is its validation part, None where there are not two."""
    if split.n_folds < 2:
        return None
    held_out = split.folds == 0
    parts = split.parts.copy()
    parts[parts == "validation"] = ""
    parts[held_out] = "validation"
    folds = np.where(held_out, -1, split.folds - 1)
    folds[split.folds < 0] = -1
    return dataclasses.replace(
        split,
        name=f"{split.name}, first fold held out",
        parts=parts,
        folds=folds,
        provenance={**split.provenance, "hash": f"{split.hash}:held-out"},
    )


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
    probabilities: Scores
    calibrated: Scores | None
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
        One of :data:`bioprobe.evaluation.methods.METHODS`.
    store : EmbeddingStore
        Of the images.
    rank : Rank
        Rank of the classes.
    rounds : sequence of Split
        As :func:`bioprobe.evaluation.evaluate.list_rounds` returns them.
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


def _place(dense: Scores, predictions: Predictions, classes: Taxonomy, rank: Rank) -> Scores:
    """Return probabilities in the order of the classes of the evaluation."""
    places = find_classes((taxon.lineage for taxon in predictions.classes), classes, rank)
    placed = np.zeros((len(dense), len(classes)), dtype=np.float32)
    for column, place in enumerate(places):
        # A label that leaves open which homonym it is shares a place.
        placed[:, place] += dense[:, column]
    return placed


_N_ANSWERS = 5


def list_answers(
    store: EmbeddingStore,
    classes: Taxonomy,
    truth: npt.NDArray[np.int64],
    answers: Answers,
    kept: npt.NDArray[np.bool_] | None,
) -> pd.DataFrame:
    """Return one row an image, as :class:`bioprobe.evaluation.result.Evaluation` describes it.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    classes : Taxonomy
        Columns of the probabilities.
    truth : ndarray of int64, shape (n_images,)
        True class of each image.
    answers : Answers
        Of one method.
    kept : ndarray of bool, shape (n_images,), optional
        Whether a mask keeps each image; all by default.
    """
    import pandas as pd

    names = np.array([*name_classes(classes), ""], dtype=object)
    probabilities = answers.probabilities
    images = np.arange(len(truth))
    best = find_best(probabilities)
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :_N_ANSWERS]
    calibrated = np.full(len(truth), np.nan)
    if answers.calibrated is not None:
        calibrated = answers.calibrated.max(axis=1).astype(np.float64)
    return pd.DataFrame(
        {
            "method": answers.method,
            "row": answers.rows,
            "file_name": store.images.frame["path"].to_numpy()[answers.rows],
            "truth": names[truth],
            "truth_class": truth,
            "predicted": names[best],
            "predicted_class": best,
            "probability": probabilities[images, best].astype(np.float64),
            "calibrated_probability": calibrated,
            "true_probability": probabilities[images, truth].astype(np.float64),
            "right": best == truth,
            "kept": np.ones(len(truth), dtype=bool) if kept is None else kept,
            "top5": names[top].tolist(),
            "top5_probabilities": np.take_along_axis(probabilities, top, axis=1).tolist(),
        }
    )


def describe_evidence(store: EmbeddingStore, found: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Return evidence as JSON-ready mappings, with the file name beside each row."""
    paths = store.images.frame["path"].to_numpy()

    def describe(mistake: Mistake) -> dict[str, Any]:
        return {
            "row": mistake.row,
            "file_name": str(paths[mistake.row]),
            "probability": mistake.probability,
            "neighbors": [
                {
                    "row": near.row,
                    "file_name": str(paths[near.row]),
                    "similarity": near.similarity,
                    "label": near.label,
                }
                for near in mistake.neighbors
            ],
        }

    return [
        {
            "truth": one.pair.truth.name,
            "answer": one.pair.answer.name,
            "n_images": one.pair.n_images,
            "fraction": one.pair.fraction,
            "ancestor": one.pair.ancestor.name if one.pair.ancestor else "",
            "ancestor_rank": one.pair.ancestor.rank.value if one.pair.ancestor else "",
            "height": one.pair.height,
            "mistakes": [describe(mistake) for mistake in one.mistakes],
        }
        for one in found
    ]


Report = Callable[[str], None]

COMPARED = ("accuracy", "macro_f1", "balanced_accuracy", "mistake_severity")


@dataclasses.dataclass(frozen=True, eq=False)
class _Test:
    """The images that are judged, the same for every method."""

    store: EmbeddingStore
    rank: Rank
    classes: Taxonomy
    rounds: list[Split]
    rows: Rows
    truth: Rows
    training: Rows
    folds: Rows
    resamples: Resamples
    kept: Mask | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Judged:
    """One method, judged."""

    result: MethodResult
    draws: dict[str, Draws]
    right: Mask
    frame: pd.DataFrame


def evaluate(
    store: EmbeddingStore,
    rank: Rank,
    methods: Sequence[str],
    split: Split,
    *,
    name: str = "",
    mask: str | None = None,
    texts: TextPrior | None = None,
    others: Sequence[EmbeddingStore] = (),
    seed: int = 0,
    n_resamples: int = 1000,
    efficiency: EfficiencyPlan | None = None,
    report: Report = lambda _: None,
) -> Evaluation:
    """Compare methods on the same labelled images, which none of them learnt from.

    Each learns from the part ``train``, chooses on ``validation`` or on folds of ``train``, and
    answers ``test``; of a split without a test part each fold is answered by what was learnt from
    the others. An image whose class no training image has counts as wrong.

    Parameters
    ----------
    store : EmbeddingStore
        Not a masked one.
    rank : Rank
        Rank of the classes. Images without a label there are not judged.
    methods : sequence of str
        Some of :data:`bioprobe.evaluation.methods.METHODS`. One that cannot be asked of this
        store is passed over, with its reason in the result.
    split : Split
        Of the store.
    name : str
        Under which the result may be kept; the rank by default.
    mask : str, optional
        Mask in the store: what it drops is not learnt from. All test images are judged, and
        beside them those that it keeps.
    texts : TextPrior, optional
        For methods that read; its ``others`` are classes too.
    others : sequence of EmbeddingStore
        The same images by other encoders, for ``stack``.
    seed : int
        Of resamples, folds and probes.
    n_resamples : int
        Of the intervals, ≥ 1.
    efficiency : EfficiencyPlan, optional
        Also measure how accuracy grows with the images a class; of a split in folds, on the
        first.
    report : callable
        Told of progress, a line at a time.

    Raises
    ------
    ProbeError
        If a method is unknown, or none can be asked.
    SelectionError
        If no labelled image would be judged.
    StoreError
        If there is no such mask.
    """
    check_methods(methods)
    test = _gather_test(store, rank, split, texts, mask, n_resamples, seed)
    prior = dataclasses.replace(texts, others=test.classes) if texts else None
    judged: list[_Judged] = []
    skipped: dict[str, str] = {}
    for method in methods:
        obstacle = find_obstacle(method, store, texts)
        if not obstacle:
            try:
                judged.append(_judge(test, method, prior, others, seed, report))
            except ModelUnavailableError as error:
                obstacle = str(error)
        if obstacle:
            skipped[method] = obstacle
            report(f"{method} is passed over: {obstacle}")
    if not judged:
        msg = f"none of the methods can be asked of {store.folder}: {'; '.join(skipped.values())}"
        raise ProbeError(msg)
    points = []
    if efficiency is not None:
        asked = [one.result.method for one in judged]
        points = measure_methods(
            store, rank, test.rounds[0], asked, efficiency, texts=prior, seed=seed, report=report
        )
    return Evaluation(
        name or rank.value,
        rank,
        test.classes,
        tuple(one.result for one in judged),
        tuple(_compare(judged, test)),
        tuple(points),
        skipped,
        _concatenate(judged),
        _describe(test, split, mask, methods, seed).to_dict(),
    )


def _gather_test(
    store: EmbeddingStore, rank: Rank, split: Split, texts: TextPrior | None, mask: str | None,
    n_resamples: int, seed: int,
) -> _Test:  # fmt: skip
    labelled = store.images.labels(rank) != ""
    kept = read_selection(store, mask).kept if mask else None
    rounds = list_rounds(split, labelled, kept)
    inside = np.flatnonzero((split.parts != "") & labelled)
    others = texts.others if texts else None
    classes = label_rows(store.images, inside, rank, others).classes
    rows = np.sort(np.concatenate([one.rows("test") for one in rounds]))
    return _Test(
        store,
        rank,
        classes,
        rounds,
        rows,
        find_label_classes(store.images, rows, classes, rank),
        _find_training(rounds, labelled),
        split.folds,
        Resamples.of_groups(split.groups[rows], n_resamples, seed),
        kept[rows] if kept is not None else None,
    )


def _find_training(rounds: Sequence[Split], labelled: Mask) -> Rows:
    rows = np.unique(np.concatenate([one.rows("train") for one in rounds]))
    return np.asarray(rows[labelled[rows]], dtype=np.int64)


def _judge(
    test: _Test, method: str, texts: TextPrior | None, others: Sequence[EmbeddingStore], seed: int,
    report: Report,
) -> _Judged:  # fmt: skip
    store, truth = test.store, test.truth
    answers = gather_answers(
        method, store, test.rank, test.rounds, test.classes, texts=texts, others=others, seed=seed
    )
    tree = build_tree(test.classes, test.rank)
    draws = draw_method_scores(
        truth, answers.probabilities, answers.calibrated, tree, test.resamples
    )
    best = find_best(answers.probabilities)
    true, given, met = keep_met(truth, best, test.classes)
    confusion = count_confusion(true, given, met, test.rank)
    found = explain_pairs(
        store, confusion, test.rows, true, given, answers.probabilities.max(axis=1), test.training,
        folds=test.folds,
    )  # fmt: skip
    result = MethodResult(
        method,
        find_intervals(draws),
        _measure_kept(test, answers),
        answers.settings,
        answers.n_training,
        int((~answers.is_known).sum()),
        answers.temperatures,
        answers.calibrated_on,
        answers.learning_s,
        answers.answering_s,
        tuple(describe_evidence(store, found)),
    )
    report(f"{method}: accuracy {result.metrics['accuracy']}, {result.seconds:.1f} s")
    frame = list_answers(store, test.classes, truth, answers, test.kept)
    return _Judged(result, draws, best == truth, frame)


def _measure_kept(test: _Test, answers: Answers) -> dict[str, Interval]:
    kept = test.kept
    if kept is None or not kept.any():
        return {}
    _, clusters = np.unique(test.resamples.clusters[kept], return_inverse=True)
    return find_intervals(
        draw_method_scores(
            test.truth[kept],
            answers.probabilities[kept],
            answers.calibrated[kept] if answers.calibrated is not None else None,
            build_tree(test.classes, test.rank),
            dataclasses.replace(test.resamples, clusters=np.asarray(clusters, dtype=np.int64)),
        )
    )


def _compare(judged: Sequence[_Judged], test: _Test) -> list[Comparison]:
    # McNemar's test is for images that are independent of each other.
    alone = not test.resamples.is_clustered
    right: Mapping[str, Mask] = {one.result.method: one.right for one in judged}
    found = []
    for metric in COMPARED:
        draws = {one.result.method: one.draws[metric] for one in judged}
        found += compare_pairs(metric, draws, right if alone and metric == "accuracy" else None)
    return found


def _concatenate(judged: Sequence[_Judged]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([one.frame for one in judged], ignore_index=True)


def _describe(
    test: _Test, split: Split, mask: str | None, methods: Sequence[str], seed: int
) -> Provenance:
    in_test = split.parts == ("test" if (split.parts == "test").any() else "train")
    options: dict[str, Any] = {
        "rank": test.rank.value,
        "methods": list(methods),
        "n_classes": len(test.classes),
        "taxonomy_hash": hash_taxonomy(test.classes),
        "split": split.name,
        "split_hash": split.hash,
        "split_method": split.provenance.get("method", ""),
        "leakage": [leak for leak in split.provenance.get("leakage", []) if leak["n_groups"]],
        "n_rounds": len(test.rounds),
        "mask": mask or "",
        "n_kept": int(test.kept.sum()) if test.kept is not None else len(test.rows),
        "n_training": len(test.training),
        "n_not_judged": int(in_test.sum()) - len(test.rows),
        "n_groups": test.resamples.n_clusters,
        "is_clustered": test.resamples.is_clustered,
        "rows_hash": hash_rows(test.store.images, test.rows),
        "seed": seed,
        "n_resamples": test.resamples.n_resamples,
    }
    return Provenance(
        encoder=test.store.manifest.encoder.to_dict(),
        store=str(test.store.folder),
        n_rows=len(test.rows),
        options=options,
    )
