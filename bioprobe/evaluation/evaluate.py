"""Methods side by side on one split: judged, compared and described."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import BioprobeError, MisuseError, ProbeError, SelectionError
from bioprobe.evaluation.answers import (
    Answers,
    Held,
    check_methods,
    find_obstacle,
    gather_answers,
)
from bioprobe.evaluation.binary_metrics import BINARY_METRICS
from bioprobe.evaluation.curves import EfficiencyPlan, measure_methods
from bioprobe.evaluation.effects import (
    COLUMNS,
    PRIOR,
    PROTOTYPES,
    RARE,
    UNLIKELY,
    Effect,
    find_lowest,
    measure_effects,
)
from bioprobe.evaluation.measured import Measured, Measuring
from bioprobe.evaluation.method_scores import draw_method_scores, find_intervals
from bioprobe.evaluation.mistakes import Evidence, Mistake, count_confusion, explain_pairs, keep_met
from bioprobe.evaluation.paired import Comparison, compare_pairs
from bioprobe.evaluation.positive import Positive, find_positive
from bioprobe.evaluation.result import Evaluation, MethodResult, TimeWindow
from bioprobe.evaluation.tree_metrics import build_tree
from bioprobe.images.sequences import find_sequences
from bioprobe.images.times import Times, read_span, read_times
from bioprobe.intervals import Draws, Interval, Resamples, draw_scores, find_interval, measure_share
from bioprobe.learning.fit import (
    list_taking_columns,
)
from bioprobe.provenance import Provenance
from bioprobe.splits.groups import read_column
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection
from bioprobe.store.view import View
from bioprobe.task.columns import Columns
from bioprobe.task.prior import Prior, Weighed
from bioprobe.task.scores import count_rows
from bioprobe.task.sequences import SEVERAL, find_blank_classes, find_truth, pool_rows
from bioprobe.task.target import Classes, hash_rows, label_rows
from bioprobe.task.task import Task
from bioprobe.task.units import SEQUENCE, Pooling
from bioprobe.types import Doubles, Mask, Places, Rows, Scores, Settings
from bioprobe.zeroshot.fusion import get_made_of
from bioprobe.zeroshot.text_head import read_head

if TYPE_CHECKING:
    import pandas as pd


def list_answers(
    store: EmbeddingStore,
    classes: Classes,
    answers: Answers[Any],
    measured: Measured,
    kept: npt.NDArray[np.bool_] | None,
) -> pd.DataFrame:
    """Return one row an image, as :class:`bioprobe.evaluation.result.Evaluation` describes it.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    classes : Classes
        Columns of the probabilities.
    answers : Answers
        Of one method.
    measured : Measured
        What is kept of its probabilities.
    kept : ndarray of bool, shape (n_images,), optional
        Whether a mask keeps each image; all by default.
    """
    import pandas as pd

    names = np.array([*classes.names, ""], dtype=object)
    flat, calibrated = measured.flat, measured.calibrated
    n_images = len(flat.truth)
    frame = pd.DataFrame(
        {
            "method": answers.method,
            "row": answers.rows,
            **store.images.name_rows(answers.rows),
            "truth": names[flat.truth],
            "truth_class": flat.truth,
            "predicted": names[flat.predicted],
            "predicted_class": flat.predicted,
            "probability": flat.confidence,
            "calibrated_probability": np.full(n_images, np.nan)
            if calibrated is None
            else calibrated.confidence,
            "true_probability": flat.own.astype(np.float64),
            "right": flat.is_right,
            "kept": np.ones(n_images, dtype=bool) if kept is None else kept,
            "top5": names[measured.top].tolist(),
            "top5_probabilities": measured.top_probabilities.tolist(),
        }
    )
    if measured.scores is not None:
        frame["positive_probability"] = measured.scores
    return frame


def _describe_evidence(store: EmbeddingStore, found: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Return evidence as JSON-ready mappings, with the file name beside each row."""
    name = store.images.name_row

    def describe(mistake: Mistake) -> dict[str, Any]:
        return {
            "row": mistake.row,
            "file_name": name(mistake.row),
            "probability": mistake.probability,
            "neighbors": [
                {
                    "row": near.row,
                    "file_name": name(near.row),
                    "similarity": near.similarity,
                    "label": near.label,
                }
                for near in mistake.neighbors
            ],
        }

    return [
        {
            "truth": one.pair.truth,
            "answer": one.pair.answer,
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
class _Units:
    """The sequences that judged images make, where sequences are judged.

    Parameters
    ----------
    numbers : ndarray of int64, shape (n_images,)
        Sequence of each judged image.
    judged : ndarray of int64, shape (n_units,)
        Sequences of one label.
    how : Pooling
        How their answers are put together.
    said : tuple of str
        How sequences are made.
    n_several : int
        Sequences of several labels, which are not judged.
    n_shared : int
        Judged sequences of which training images are too.
    """

    numbers: Places
    judged: Places
    how: Pooling
    said: tuple[str, ...]
    n_several: int
    n_shared: int

    def pool(self, held: Held, classes: Classes, into: Measuring) -> None:
        """Measure the answers to the judged sequences, some of them at a time."""
        blank = find_blank_classes(classes)
        order = np.argsort(self.numbers, kind="stable")
        ends = np.cumsum(np.bincount(self.numbers))
        place_of = np.full(len(ends), -1)
        place_of[self.judged] = np.arange(len(self.judged))
        # Whole sequences, of so many images that copies of their probabilities are no matter.
        blocks = (ends - 1) // count_rows(len(classes))
        bounds = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(ends)]
        for first, last in itertools.pairwise(bounds):
            images = order[ends[first - 1] if first else 0 : ends[last - 1]]
            numbers, places = self.numbers[images] - first, place_of[first:last]

            def pool(
                dense: Scores, images: Places = images, numbers: Places = numbers,
                judged: Mask = places >= 0,
            ) -> Scores:  # fmt: skip
                pooled = pool_rows(dense[images], numbers, self.how.rule, blank_classes=blank)
                return pooled[judged].astype(np.float32)

            calibrated = None if held.calibrated is None else pool(held.calibrated)
            into.add(places[places >= 0], pool(held.probabilities), calibrated)

    def join(self, answers: Answers[Any], rows: Rows) -> Answers[Any]:
        """Return what is said of the answers to the images, of their judged sequences.

        A row stands for each.
        """
        known = np.bincount(self.numbers[answers.is_known], minlength=self.numbers.max() + 1) > 0
        return dataclasses.replace(
            answers, rows=rows, is_known=known[self.judged], thresholds=(), flagged=None
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Pictured:
    """Image prototypes that stand beside the texts of zero-shot, and whom they know.

    Parameters
    ----------
    settings : mapping
        ``prototypes``, the name of the head, and ``text_worth`` where it is said, as
        :class:`bioprobe.zeroshot.method.ZeroShot` takes them.
    sha256 : str
        Of the prototypes.
    known : ndarray of bool, shape (n_rows,)
        Rows of the store that made them, or are of one group of the split with such; none judges.
    """

    settings: Settings
    sha256: str
    known: Mask

    @classmethod
    def of(cls, task: Task, name: str, text_worth: float | None = None) -> Pictured:
        """Read which images of a task made the prototypes of a head.

        Raises
        ------
        StoreError
            If there is no such head.
        PromptError
            If it is of texts.
        """
        head, images = read_head(task.store, name), task.store.images
        known = get_made_of(head).find_taught(images, np.arange(len(images)))
        groups = task.need_split().groups
        shared = np.unique(groups[known & (groups != "")].astype(str))
        known |= np.isin(groups.astype(str), shared)
        worth = {} if text_worth is None else {"text_worth": text_worth}
        return cls({PROTOTYPES: name, **worth}, head.about["vectors_sha256"], known)


@dataclasses.dataclass(frozen=True, eq=False)
class _Test:
    """The images that are judged, the same for every method."""

    task: Task
    classes: Classes
    rounds: list[Task]
    rows: Rows
    truth: Places
    training: Rows
    folds: Places
    resamples: Resamples
    kept: Mask | None
    positive: Positive | None
    units: _Units | None = None
    columns: Columns | None = None
    weighed: Weighed | None = None
    pictured: Pictured | None = None

    @property
    def prior(self) -> Prior | None:
        """What answers are given with."""
        return self.weighed.prior if self.weighed else None

    @cached_property
    def low_classes(self) -> dict[str, Places]:
        """Classes that few images teach, and those that the prior makes unlikely, by figure."""
        classes = np.unique(self.truth)
        taught = self.classes.find_labels(self.task.store.images, self.training)
        n_taught = np.bincount(taught[taught >= 0], minlength=len(self.classes))
        found = {RARE: find_lowest(n_taught[classes].astype(np.float64), classes)}
        if self.weighed is not None:
            weights = self.weighed.list_weights(self.truth[:, np.newaxis])[:, 0]
            known = np.isfinite(weights)
            sums = np.bincount(self.truth[known], weights[known], len(self.classes))
            counts = np.bincount(self.truth[known], minlength=len(self.classes))
            means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
            found[UNLIKELY] = find_lowest(means[classes], classes)
        return found

    @property
    def place(self) -> int | None:
        """Of the positive one of two classes."""
        return self.classes.names.index(self.positive.name) if self.positive else None


@dataclasses.dataclass(frozen=True, eq=False)
class _Judged:
    """One method, judged."""

    result: MethodResult
    draws: dict[str, Draws]
    right: Mask
    frame: pd.DataFrame


def evaluate(
    task: Task,
    methods: Sequence[str],
    *,
    name: str = "",
    mask: str | None = None,
    positive: str | None = None,
    n_resamples: int = 1000,
    efficiency: EfficiencyPlan | None = None,
    over: str | None = None,
    window: str | None = None,
    pooling: Pooling | None = None,
    columns: Columns | None = None,
    prior: Prior | None = None,
    pictured: Pictured | None = None,
    report: Report = lambda _: None,
) -> Evaluation:
    """Compare methods on the same labelled images, which none of them learnt from.

    Each learns from the part ``train``, chooses on ``validation`` or on folds of ``train``, and
    answers ``test``; of a split without a test part each fold is answered by what was learnt from
    the others. An image whose class no training image has counts as wrong.

    Parameters
    ----------
    task : Task
        On a split. Images without a label are not judged. Its texts are for methods that read;
        its further stores for ``stack``.
    methods : sequence of str
        Some of :data:`bioprobe.registry.METHODS`. One that cannot be asked of this task, or that
        fails for want of images or memory, is passed over, with its reason in the result.
    name : str
        Under which the result may be kept; the rank by default.
    mask : str, optional
        Mask in the store: what it drops is not learnt from. All test images are judged, and
        beside them those that it keeps.
    positive : str, optional
        Name of the positive one of two classes; see
        :func:`bioprobe.evaluation.positive.find_positive` for the default.
    n_resamples : int
        Of the intervals, ≥ 1.
    efficiency : EfficiencyPlan, optional
        Also measure how accuracy grows with the images a class; of a split in folds, on the
        first.
    over : str, optional
        Column that says when images were taken, for accuracy over time; by default that of a
        chronological split.
    window : str, optional
        Length of a window of time, such as ``7d``; by default 30 days.
    pooling : Pooling, optional
        Judge sequences in place of single images: the answers to the images of each are pooled.
    columns : Columns, optional
        What stands beside the vectors of the methods that take it; what that does is measured
        against the same without.
    prior : Prior, optional
        What all answers are given with; what that does is measured against the same without.
    pictured : Pictured, optional
        Image prototypes beside the texts of zero-shot; what they do is measured against the texts
        alone. Images that made them judge no method.
    report : callable
        Told of progress, a line at a time.

    Raises
    ------
    ProbeError
        If a method is unknown, none can be asked, or there is one class only.
    SelectionError
        If no labelled image would be judged.
    StoreError
        If there is no such mask.
    MisuseError
        If a positive class is given and there are not two classes, or it is neither; or a window
        without a column of times.
    """
    check_methods(methods)
    test = _gather_test(task, mask, n_resamples, positive, pictured)
    test = _join_sequences(test, pooling, n_resamples) if pooling else test
    weighed = prior.weigh(test.classes, View(task.store, test.rows)) if prior else None
    test = dataclasses.replace(test, columns=columns, weighed=weighed)
    clock = _find_clock(test, over, window)
    judged: list[_Judged] = []
    skipped: dict[str, str] = {}

    def skip(method: str, reason: str) -> None:
        skipped[method] = reason
        report(f"{method} is passed over: {reason}")

    for method in methods:
        if obstacle := next(filter(None, (find_obstacle(method, one) for one in test.rounds)), ""):
            skip(method, obstacle)
    for method in (one for one in methods if one not in skipped):
        try:
            judged.append(_judge(test, method))
        except MisuseError:
            raise
        except (BioprobeError, MemoryError, RuntimeError) as error:
            if not isinstance(error, BioprobeError) and not _is_of_memory(error):
                raise
            skip(method, str(error) or "there is not enough memory")
            continue
        found = judged[-1].result
        report(f"{method}: accuracy {found.metrics['accuracy']}, {found.seconds:.1f} s")
    if not judged:
        why = "; ".join(skipped.values())
        msg = f"none of the methods can be asked of {task.store.folder}: {why}"
        raise ProbeError(msg)
    points = []
    if efficiency is not None:
        asked = [one.result.method for one in judged]
        points = measure_methods(test.rounds[0], asked, efficiency, report=report)
    return Evaluation(
        name or task.target.name,
        test.classes,
        tuple(one.result for one in judged),
        tuple(_compare(judged)),
        tuple(points),
        skipped,
        _concatenate(judged),
        _describe(test, mask, methods, clock).to_dict(),
        test.positive,
        tuple(_measure_windows(judged, test, clock)) if clock else (),
    ).say(weighed.list_notes(test.classes.names) if weighed else ())


def _is_of_memory(error: Exception) -> bool:
    """Tell whether memory is what was lacking; torch has no one class for it."""
    lacking = ("out of memory", "allocate memory")
    return isinstance(error, MemoryError) or any(one in str(error) for one in lacking)


def _gather_test(
    task: Task, mask: str | None, n_resamples: int, positive: str | None, pictured: Pictured | None
) -> _Test:
    store, split = task.store, task.need_split()
    labelled = store.images.labels(task.target.name) != ""
    kept = read_selection(store, mask).kept if mask else None
    rounds = task.rounds(kept, pictured.known if pictured else None)
    inside = np.flatnonzero((split.parts != "") & labelled)
    others = task.texts.others if task.texts else None
    classes = label_rows(store.images, inside, task.target, others).classes
    if len(classes) < 2:
        msg = (
            f"every labelled image is {''.join(classes.names)} at {task.target.name}, and accuracy "
            "among one class is no figure: say another --level, split more classes, or name what "
            "else there may be by --taxa or --classes"
        )
        raise ProbeError(msg)
    rows = np.sort(np.concatenate([one.judged.rows for one in rounds]))
    truth, training = classes.find_labels(store.images, rows), _find_training(rounds, labelled)
    taught = classes.find_labels(store.images, training)
    return _Test(
        task,
        classes,
        rounds,
        rows,
        truth,
        training,
        split.folds,
        Resamples.of_groups(
            split.groups[rows], n_resamples, task.seed, order=task.store.images.order(rows)
        ),
        kept[rows] if kept is not None else None,
        _find_positive(classes, taught, truth, positive),
        pictured=pictured,
    )


def _join_sequences(test: _Test, how: Pooling, n_resamples: int) -> _Test:
    """Return the same images as sequences; those of several labels are not judged."""
    task, images = test.task, test.task.store.images
    both = np.concatenate([test.rows, test.training])
    found = find_sequences(images, both, column=how.column, gap_seconds=how.gap_seconds)
    numbers, n_judged = found.numbers[: len(test.rows)], len(test.rows)
    blank = find_blank_classes(test.classes)
    truth = find_truth(test.truth, np.ones(n_judged, dtype=bool), numbers, blank)
    judged = np.flatnonzero(truth >= 0)
    if not len(judged):
        msg = "no sequence has one label: judge single images, or say another --sequence"
        raise SelectionError(msg)
    # Numbers follow the first rows, so that each sequence has one here.
    firsts = np.unique(numbers, return_index=True)[1][judged]
    rows = test.rows[firsts]
    in_fold = len(test.rounds) > 1
    shared = np.zeros(0) if in_fold else np.intersect1d(judged, found.numbers[n_judged:])
    kept = None
    if test.kept is not None:
        kept = np.bincount(numbers[test.kept], minlength=len(truth))[judged] > 0
    units = _Units(numbers, judged, how, tuple(dataclasses.replace(
        found, names=found.names[:n_judged]).describe()), int((truth == SEVERAL).sum()), len(shared)
    )  # fmt: skip
    groups = task.need_split().groups[rows]
    return dataclasses.replace(
        test, rows=rows, truth=truth[judged], kept=kept, units=units,
        resamples=Resamples.of_groups(
            groups, n_resamples, task.seed, order=task.store.images.order(rows)
        ),
    )  # fmt: skip


def _find_positive(
    classes: Classes, taught: Places, truth: Places, given: str | None
) -> Positive | None:
    n_training = np.bincount(taught[taught >= 0], minlength=len(classes)).tolist()
    found = find_positive(classes.names, n_training, given)
    if found is None:
        return None
    n_judged = int((truth == classes.names.index(found.name)).sum())
    return dataclasses.replace(found, n_judged=(n_judged, len(truth) - n_judged))


def _find_training(rounds: Sequence[Task], labelled: Mask) -> Rows:
    taught = np.zeros(len(labelled), dtype=bool)
    for one in rounds:
        taught[one.training] = True
    return np.flatnonzero(taught & labelled)


def _judge(test: _Test, method: str) -> _Judged:
    store, truth = test.task.store, test.truth
    effects: list[Effect] = []
    before: tuple[dict[str, Draws], Mask] | None = None
    for of, answers, measured in _iter_stages(test, method):
        draws = draw_method_scores(measured, test.resamples, answers.flagged)
        right = measured.flat.is_right
        if before is not None:
            effects += measure_effects(
                of, (before[0], draws), (before[1], right), truth, test.resamples,
                {name: found for name, found in test.low_classes.items()
                 if name == RARE or of == PRIOR},
            )  # fmt: skip
        before = draws, right
    kept_metrics = _measure_kept(test, answers, measured)
    # They are most of what is held, and nothing is weighed any more.
    measured.flat.ranks.clear()
    true, given, met = keep_met(truth, measured.flat.predicted, test.classes)
    confusion = count_confusion(true, given, met)
    found = explain_pairs(
        store, confusion, test.rows, true, given, measured.flat.confidence, test.training,
        folds=test.folds,
    )  # fmt: skip
    result = MethodResult(
        method,
        find_intervals(draws, measured, test.resamples),
        kept_metrics,
        answers.settings,
        answers.n_training,
        int((~answers.is_known).sum()),
        answers.temperatures,
        answers.calibrated_on,
        answers.learning_s,
        answers.answering_s,
        tuple(_describe_evidence(store, found)),
        answers.thresholds,
        _find_unmeasured(draws) if test.positive else {},
        dict(answers.rules),
        tuple(effects),
    )
    frame = list_answers(store, test.classes, answers, measured, test.kept)
    return _Judged(result, draws, right, frame)


def _iter_stages(test: _Test, method: str) -> Iterator[tuple[str, Answers[Any], Measured]]:
    """Return the answers of a method, then those with each thing that is done besides.

    The ranks of one are given up once the next is asked for.
    """
    asked: list[tuple[str, list[Task], Settings | None]] = [("", test.rounds, None)]
    if test.columns is not None and method in list_taking_columns([method]):
        rounds = [dataclasses.replace(one, columns=test.columns) for one in test.rounds]
        asked.append((COLUMNS, rounds, None))
    if test.pictured is not None and method == "zeroshot":
        asked.append((PROTOTYPES, test.rounds, test.pictured.settings))
    tree, units = build_tree(test.classes), test.units

    def keep(n_images: int, n_classes: int) -> Measuring | Held:
        # Sequences are pooled of all their images, wherever these stand.
        return Held(n_images, n_classes) if units else start(n_classes)

    def start(n_classes: int) -> Measuring:
        return Measuring(test.truth, n_classes, tree, test.place)

    def finish(answers: Answers[Any]) -> tuple[Answers[Any], Measured]:
        measuring = answers.kept
        if units is not None:
            measuring = start(len(test.classes))
            units.pool(answers.kept, test.classes, measuring)
        measured = measuring.finish(is_calibrated=answers.is_calibrated)
        return (units.join(answers, test.rows) if units else answers), measured

    measured = None
    for of, rounds, settings in asked:
        if measured is not None:
            measured.flat.ranks.clear()
        found = gather_answers(
            method, rounds, test.classes, keep, positive=test.place, prior=test.prior,
            pooling=units.how if units else None, settings=settings,
        )  # fmt: skip
        answers, measured = finish(found)
        yield of, answers, measured
    if found.with_prior is not None and measured is not None:
        measured.flat.ranks.clear()
        yield PRIOR, *finish(found.with_prior)


def _find_unmeasured(draws: Mapping[str, Draws]) -> dict[str, float]:
    shares = {name: float(np.isnan(draws[name].resampled).mean()) for name in BINARY_METRICS}
    return {name: share for name, share in shares.items() if share}


_WINDOW = "30d"


@dataclasses.dataclass(frozen=True, eq=False)
class _Clock:
    """When the judged images were taken, and how long a window is."""

    column: str
    window: str
    times: Times


def _find_clock(test: _Test, over: str | None, window: str | None) -> _Clock | None:
    said = test.task.need_split().provenance
    column = over or (said["column"] if said.get("method") == "chronological" else None)
    if column is None:
        if window is not None:
            msg = f"--window {window} counts only with --over, or on a chronological split"
            raise MisuseError(msg)
        return None
    if not read_span(window or _WINDOW):
        msg = f"a window has a length, such as {_WINDOW}; got {window}"
        raise MisuseError(msg)
    times, unread = read_times(read_column(test.task.store, column), test.rows)
    if np.isnat(times).all():
        listed = ", ".join(list(unread)[:5]) or "nothing"
        msg = f"the column {column!r} has no date of a judged image; it says {listed}"
        raise SelectionError(msg)
    return _Clock(column, window or _WINDOW, times)


def _measure_windows(judged: Sequence[_Judged], test: _Test, clock: _Clock) -> list[TimeWindow]:
    """Measure accuracy in windows that follow each other; one without an image is left out."""
    length, dated = read_span(clock.window), ~np.isnat(clock.times)
    begin = clock.times[dated].min().astype("datetime64[D]").astype("datetime64[ns]")
    numbers = np.full(len(dated), -1)
    numbers[dated] = (clock.times[dated] - begin) // length
    found = []
    for one in judged:
        for number in np.unique(numbers[dated]).tolist():
            inside = numbers == number
            right = one.right[inside].astype(np.float64)

            def score(weights: Scores, right: Doubles = right) -> dict[str, Doubles]:
                with np.errstate(invalid="ignore"):
                    return {"accuracy": weights @ right / weights.sum(axis=1)}

            draws = draw_scores(score, _take_resamples(test.resamples, inside))["accuracy"]
            start = begin + number * length
            start_s, end_s = (str(time.astype("datetime64[s]")) for time in (start, start + length))
            accuracy = find_interval(draws, is_share=True)
            n_images = int(inside.sum())
            found.append(TimeWindow(one.result.method, start_s, end_s, n_images, accuracy))
    return found


def _take_resamples(resamples: Resamples, kept: Mask) -> Resamples:
    """Return the resamples of some of the images."""
    _, clusters = np.unique(resamples.clusters[kept], return_inverse=True)
    return dataclasses.replace(resamples, clusters=np.asarray(clusters, dtype=np.int64))


def _measure_kept(test: _Test, answers: Answers[Any], measured: Measured) -> dict[str, Interval]:
    kept = test.kept
    if kept is None or not kept.any():
        return {}
    asked = measured.take(kept), _take_resamples(test.resamples, kept)
    flagged = answers.flagged[kept] if answers.flagged is not None else None
    return find_intervals(draw_method_scores(*asked, flagged), *asked)


def _compare(judged: Sequence[_Judged]) -> list[Comparison]:
    right: Mapping[str, Mask] = {one.result.method: one.right for one in judged}
    found = []
    for metric in COMPARED:
        if metric not in judged[0].draws:
            continue
        draws = {one.result.method: one.draws[metric] for one in judged}
        found += compare_pairs(metric, draws, right if metric == "accuracy" else None)
    return found


def _concatenate(judged: Sequence[_Judged]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([one.frame for one in judged], ignore_index=True)


def _describe(
    test: _Test, mask: str | None, methods: Sequence[str], clock: _Clock | None
) -> Provenance:
    task, split = test.task, test.task.need_split()
    in_test = split.parts == ("test" if (split.parts == "test").any() else "train")
    options: dict[str, Any] = {
        "rank": task.target.name,
        "methods": list(methods),
        "n_classes": len(test.classes),
        "taxonomy_hash": test.classes.hash,
        "split": split.name,
        "split_hash": split.hash,
        "split_method": split.provenance.get("method", ""),
        "leakage": [leak for leak in split.provenance.get("leakage", []) if leak["n_groups"]],
        "n_rounds": len(test.rounds),
        "mask": mask or "",
        "positive": test.positive.name if test.positive else "",
        "n_kept": int(test.kept.sum()) if test.kept is not None else len(test.rows),
        "n_training": len(test.training),
        "n_not_judged": int(in_test.sum())
        - (len(test.units.numbers) if test.units else len(test.rows)),
        **_describe_units(test.units),
        "n_never_judged": _count_never_judged(test),
        "folds_because": _find_reason(test),
        "n_groups": test.resamples.n_clusters,
        "is_clustered": test.resamples.is_clustered,
        "rows_hash": hash_rows(task.store.images, test.rows),
        "seed": task.seed,
        "n_resamples": test.resamples.n_resamples,
        **({"prior": test.weighed.describe()} if test.weighed else {}),
        **_describe_columns(test),
        **_describe_pictured(test),
        "over": clock.column if clock else "",
        "window": clock.window if clock else "",
        "n_undated": int(np.isnat(clock.times).sum()) if clock else 0,
    }
    return task.view.take(test.rows).describe(options)


def _describe_columns(test: _Test) -> dict[str, Any]:
    """Say what stands beside the vectors, as the first round measures it."""
    if test.columns is None:
        return {}
    block = dataclasses.replace(test.rounds[0], columns=test.columns).block
    return {"columns": block.describe() if block else ""}


def _describe_pictured(test: _Test) -> dict[str, Any]:
    """Say which prototypes stand beside texts, and how many images they keep from judging."""
    if test.pictured is None:
        return {}
    split, labelled = test.task.need_split(), test.task.store.images.labels(test.task.target.name)
    judging = split.judging[labelled[split.judging] != ""]
    return {
        **test.pictured.settings,
        "prototypes_sha256": test.pictured.sha256,
        "n_made_prototypes": int(test.pictured.known[judging].sum()),
    }


def _describe_units(units: _Units | None) -> dict[str, Any]:
    if units is None:
        return {}
    return {
        "per": SEQUENCE,
        "rule": units.how.rule,
        "sequences": list(units.said),
        "n_several": units.n_several,
        "n_shared": units.n_shared,
    }


def _count_never_judged(test: _Test) -> int:
    """Return how many classes teach in some fold and are held out in none."""
    if len(test.rounds) < 2:
        return 0
    taught = test.classes.find_labels(test.task.store.images, test.training)
    return len(np.setdiff1d(taught[taught >= 0], test.truth))


def _find_reason(test: _Test) -> str:
    """Say why folds are held out to choose although there is a validation part."""
    try:
        return test.rounds[0].inner(lazy=True).reason
    except ProbeError:
        return ""  # one class: what reads may be judged all the same


def measure_without(
    found: Evaluation, rows: Rows, task: Task, n_resamples: int
) -> list[dict[str, Any]]:
    """Measure the accuracy of each method with and without some of the images that judge.

    Parameters
    ----------
    found : Evaluation
    rows : ndarray of int64
        Of the images that are left out.
    task : Task
        That was judged; it knows which images belong together.
    n_resamples : int
        Of the intervals.

    Returns
    -------
    list of dict
        JSON-ready, one a method: ``method``, ``n_images``, ``n_without``, and ``accuracy`` and
        ``without`` with the estimate and both ends of the interval, None where nothing is left.
    """
    groups = task.need_split().groups
    figures = []
    for result in found.results:
        frame = found.predictions[found.predictions["method"] == result.method]
        left = ~frame["row"].isin(rows).to_numpy(dtype=bool)
        judged = frame["row"].to_numpy(dtype=np.int64)
        right = frame["right"].to_numpy(dtype=bool)
        ends: list[list[float | None]] = []
        for kept in (np.ones(len(frame), dtype=bool), left):
            share = measure_share(right[kept], groups[judged[kept]], n_resamples, task.seed)
            is_known = bool(kept.any())
            ends.append([share.estimate, share.low, share.high] if is_known else [None] * 3)
        figures.append(
            {"method": result.method, "n_images": len(frame), "n_without": int(left.sum()),
             "accuracy": ends[0], "without": ends[1]}
        )  # fmt: skip
    return figures
