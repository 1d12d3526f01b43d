"""Methods side by side on one split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.classify.predictions import find_label_classes
from bioprobe.errors import ModelUnavailableError, ProbeError
from bioprobe.evaluation.asking.answers import Answers, gather_answers
from bioprobe.evaluation.asking.few_shot import EfficiencyPlan, measure_methods
from bioprobe.evaluation.asking.methods import check_methods, find_obstacle
from bioprobe.evaluation.asking.rounds import list_rounds
from bioprobe.evaluation.intervals.bootstrap import Draws, Interval, Resamples
from bioprobe.evaluation.intervals.paired import Comparison, compare_pairs
from bioprobe.evaluation.metrics.flat_metrics import find_best
from bioprobe.evaluation.metrics.scores import build_tree, draw_method_scores, find_intervals
from bioprobe.evaluation.mistakes.confusion import count_confusion, keep_met
from bioprobe.evaluation.mistakes.errors import explain_pairs
from bioprobe.evaluation.result import Evaluation, MethodResult
from bioprobe.evaluation.tables import describe_evidence, list_answers
from bioprobe.probes.fitting.labelling import hash_rows, hash_taxonomy, label_rows
from bioprobe.probes.text_prior import TextPrior
from bioprobe.provenance import Provenance
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection
from bioprobe.taxonomy import Rank, Taxonomy

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
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
        Some of :data:`bioprobe.evaluation.asking.methods.METHODS`. One that cannot be asked of this
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
