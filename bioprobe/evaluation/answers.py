"""What a method answers to the images that judge it, round by round."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np

from bioprobe.calibration.calibrators import TemperatureScaling, fit_judged, to_logits
from bioprobe.errors import ProbeError, SelectionError
from bioprobe.evaluation.binary_metrics import score_positive
from bioprobe.evaluation.positive import trace_thresholds
from bioprobe.learning.fit import (
    answer_held_out,
    fit,
    gather_inner,
    read_texts,
)
from bioprobe.names import suggest
from bioprobe.registry import METHODS
from bioprobe.store.view import View
from bioprobe.task.lazy_rows import iter_parts
from bioprobe.task.method import Fitted, is_estimator
from bioprobe.task.predictions import Predictions
from bioprobe.task.prior import Prior
from bioprobe.task.scores import count_rows, split_rows
from bioprobe.task.sequences import pool_sequences
from bioprobe.task.target import Classes
from bioprobe.task.task import Task
from bioprobe.task.units import RULES, Pooling
from bioprobe.types import Mask, Places, Rows, Scores, Settings

# Judged images that are asked at once, and scores of all classes, which come with their places.
_IMAGES_AT_ONCE, _SCORES_AT_ONCE = 16_384, 64_000_000


class Keeping(Protocol):
    """What is kept of probabilities, which come some images at a time."""

    def add(self, images: Places, probabilities: Scores, calibrated: Scores | None = None) -> None:
        """Take the probabilities of some of the images, and the same calibrated."""


class Held:
    """All probabilities as they come, held in memory.

    Parameters
    ----------
    n_images, n_classes : int

    Attributes
    ----------
    probabilities : ndarray of float32, shape (n_images, n_classes)
    calibrated : ndarray of float32, of the same shape, or None
        The same by temperature scaling; None where no temperature was chosen.
    """

    def __init__(self, n_images: int, n_classes: int) -> None:
        self.probabilities: Scores = np.zeros((n_images, n_classes), dtype=np.float32)
        self.calibrated: Scores | None = None

    def add(self, images: Places, probabilities: Scores, calibrated: Scores | None = None) -> None:
        """Take the probabilities of some of the images."""
        self.probabilities[images] = probabilities
        if calibrated is not None:
            if self.calibrated is None:
                self.calibrated = np.zeros(self.probabilities.shape, dtype=np.float32)
            self.calibrated[images] = calibrated


_Kept = TypeVar("_Kept", bound=Keeping)


@dataclasses.dataclass(frozen=True, eq=False)
class Answers(Generic[_Kept]):
    """What one method answers to all rows that are judged.

    Parameters
    ----------
    method : str
        Its name.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store, ascending.
    kept : Keeping
        Of the probabilities of the classes of the evaluation, which are 0 for those that the
        method does not know, and of the same by temperature scaling.
    is_known : ndarray of bool, shape (n_images,)
        Whether the method knows the class of each image.
    settings : tuple of dict
        What was chosen in each round.
    n_training : tuple of int
        Images learnt from in each round.
    temperatures : tuple of float
        Of each round; empty where no rows were left to choose one in some round: what was
        calibrated in others does not count then.
    calibrated_on : str
        ``validation``, ``cross-validation`` of the training rows, or ``""``.
    learning_s, answering_s : float
        Seconds, choosing included; neither the rows that calibrate nor the reading of texts by the
        encoder, which loads it, are counted.
    thresholds : tuple of float
        Of the positive class's probability, one a round; empty where there is none.
    flagged : ndarray of bool, shape (n_images,), or None
        Whether the positive class's probability reaches the threshold of the round.
    rules : mapping of str to (int, int)
        Of each rule that pools the answers to a sequence, how many sequences of the part
        ``validation`` it gets right, and of how many; empty where they were not compared.
    with_prior : Answers, optional
        The same with a prior, where there is one: without thresholds, which it would move.
    """

    method: str
    rows: Rows
    kept: _Kept
    is_known: Mask
    settings: tuple[dict[str, Any], ...]
    n_training: tuple[int, ...]
    temperatures: tuple[float, ...]
    calibrated_on: str
    learning_s: float
    answering_s: float
    thresholds: tuple[float, ...] = ()
    flagged: Mask | None = None
    rules: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    with_prior: Answers[_Kept] | None = None

    @property
    def is_calibrated(self) -> bool:
        """Whether a temperature was chosen in every round."""
        return bool(self.temperatures)


@dataclasses.dataclass(frozen=True, eq=False)
class _Round:
    """A method that has learnt, and what was chosen on rows that neither taught it nor judge it."""

    fitted: Fitted
    scaling: TemperatureScaling | None
    threshold: float
    calibrated_on: str
    learning_s: float

    def calibrate(self, dense: Scores) -> Scores:
        """Return probabilities of its classes that mean what they say, where that was learnt."""
        if self.scaling is None:
            return dense
        calibrated = np.empty_like(dense)
        for part in split_rows(*dense.shape):
            calibrated[part] = self.scaling.calibrate(to_logits(dense[part]))
        return calibrated


def gather_answers(
    method: str,
    rounds: Sequence[Task],
    classes: Classes,
    keep: Callable[[int, int], _Kept],
    *,
    positive: int | None = None,
    pooling: Pooling | None = None,
    prior: Prior | None = None,
    settings: Settings | None = None,
) -> Answers[_Kept]:
    """Let a method learn and answer in each round.

    Parameters
    ----------
    method : str
        One of :data:`bioprobe.registry.METHODS`.
    rounds : sequence of Task
        As :meth:`bioprobe.task.task.Task.rounds` returns them.
    classes : Classes
        Every class that an image has or a method may answer.
    keep : callable
        From the numbers of images and of classes to what keeps the answers, such as :class:`Held`.
        It is asked again for those with a prior.
    positive : int, optional
        The positive one of two classes. The threshold of its probability is that of the best F1 on
        the rows that calibrate, which neither taught nor judge.
    pooling : Pooling, optional
        What makes sequences, where the rules that pool their answers are to be compared.
    prior : Prior, optional
        What the answers are given with too.
    settings : mapping, optional
        Of the method; what is left open is chosen.

    References
    ----------
    Guo et al. 2017, *On Calibration of Modern Neural Networks*: temperature scaling.
    """
    judged = [task.judged for task in rounds]
    rows = np.concatenate([view.rows for view in judged])
    order = np.argsort(rows, kind="stable")
    places = np.split(np.argsort(order), np.cumsum([len(view) for view in judged])[:-1])
    kept = keep(len(rows), len(classes))
    with_prior = keep(len(rows), len(classes)) if prior else None
    is_known, flagged = (np.zeros(len(rows), dtype=bool) for _ in range(2))
    found: list[_Round] = []
    rules: Mapping[str, tuple[int, int]] = {}
    answering_s = 0.0
    for task, asked, here in zip(rounds, judged, places, strict=True):
        one = _learn(method, task, settings, classes, positive)
        found.append(one)
        put, weighed = None, None
        for part in _ask_parts(one.fitted, asked):
            answering_s += part.seconds
            images = here[part.images]
            is_known[images] = part.is_known
            if put is None:
                put = _Placing.find(part.classes, classes)
            dense, calibrated = part.dense, one.calibrate(part.dense)
            plain = put.place(dense)
            if positive is not None:
                flagged[images] = score_positive(plain, positive) >= one.threshold
            kept.add(images, plain, put.place(calibrated) if one.scaling else None)
            if prior is None or with_prior is None:
                continue
            if weighed is None:
                weighed = prior.weigh(part.classes, View(task.store, asked.rows))
            after = put.place(weighed.apply(calibrated, part.images))
            # What learns is asked calibrated where there is a prior, as probe predict asks it.
            is_learnt = one.fitted.n_rows > 0
            before = after if is_learnt else put.place(weighed.apply(dense, part.images))
            with_prior.add(images, before, after if one.scaling else None)
        if pooling is not None and len(rounds) == 1:
            rules = _compare_rules(task, one.fitted, pooling)
    scalings = [one.scaling for one in found if one.scaling is not None]
    is_calibrated = len(scalings) == len(found)
    thresholds = tuple(one.threshold for one in found)
    if positive is None or not np.isfinite(thresholds).all():
        thresholds = ()
    answers = Answers(
        method,
        rows[order],
        kept,
        is_known,
        tuple(one.fitted.settings for one in found),
        tuple(one.fitted.n_rows for one in found),
        tuple(scaling.temperature for scaling in scalings) if is_calibrated else (),
        found[0].calibrated_on if is_calibrated else "",
        sum(one.learning_s for one in found),
        answering_s,
        thresholds,
        flagged if thresholds else None,
        rules,
    )
    if with_prior is None:
        return answers
    after_all = dataclasses.replace(answers, kept=with_prior, thresholds=(), flagged=None)
    return dataclasses.replace(answers, with_prior=after_all)


def _learn(
    method: str, task: Task, settings: Settings | None, classes: Classes, positive: int | None
) -> _Round:
    """Let a method learn, and choose temperature and threshold on images that it has not seen."""
    read_texts(task, method)
    began = time.perf_counter()
    fitted = fit(task, method, settings)
    learning_s = time.perf_counter() - began
    held_out = answer_held_out(task, fitted, method)
    scaling, threshold = None, math.nan
    known = held_out.truth >= 0
    if known.any():
        from scipy.special import softmax

        logits = held_out.logits
        if positive is not None:
            own = classes.place(fitted.classes)[held_out.truth[known]] == positive
            put = _Placing.find(fitted.classes, classes)
            placed = put.place(softmax(logits[known], axis=1))
            threshold = trace_thresholds(own, score_positive(placed, positive)).best
        # In place: they are no one else's, and may be many.
        for part in split_rows(*logits.shape):
            logits[part] = to_logits(softmax(logits[part], axis=1))
        asked = logits, held_out.truth, held_out.groups
        scaling = cast("TemperatureScaling", fit_judged("temperature", *asked)[0])
    return _Round(fitted, scaling, threshold, held_out.method, learning_s)


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """The scores of all classes of some of the images that were asked."""

    images: slice
    classes: Classes
    dense: Scores
    is_known: Mask
    seconds: float


def _ask_parts(fitted: Fitted, asked: View) -> Iterator[_Part]:
    """Ask for the score of every class of each image, of some images at a time."""
    k = len(fitted.classes)
    # Whole blocks of what is computed at once.
    block = count_rows(k)
    size = min(_IMAGES_AT_ONCE, block * max(1, _SCORES_AT_ONCE // (block * max(1, k))))
    for part in iter_parts(len(asked), size):
        began = time.perf_counter()
        found = fitted.ask(dataclasses.replace(asked, rows=asked.rows[part]), k)
        dense, is_known = found.to_dense(), found.truth_classes >= 0
        yield _Part(part, found.classes, dense, is_known, time.perf_counter() - began)


@dataclasses.dataclass(frozen=True, eq=False)
class _Placing:
    """Where classes of a method stand among those of the evaluation."""

    columns: Places
    n_classes: int

    @classmethod
    def find(cls, of: Classes, classes: Classes) -> _Placing:
        return cls(classes.place(of), len(classes))

    def place(self, dense: Scores) -> Scores:
        """Return probabilities in the order of the classes of the evaluation."""
        if np.array_equal(self.columns, np.arange(self.n_classes)):
            return dense
        placed = np.zeros((len(dense), self.n_classes), dtype=np.float32)
        for column, place in enumerate(self.columns):
            # A label that leaves open which homonym it is shares a place.
            placed[:, place] += dense[:, column]
        return placed


def _compare_rules(task: Task, fitted: Fitted, how: Pooling) -> dict[str, tuple[int, int]]:
    """Measure each rule of pooling on the validation part, which neither taught nor judges."""
    try:
        inner = task.inner(lazy=True)
    except ProbeError:
        return {}
    if inner.method != "validation":
        return {}
    rows = inner.labelled.rows[inner.folds >= 0]
    answers = fitted.ask(task.view.take(rows), len(fitted.classes))
    found = {}
    for rule in RULES:
        pooled = pool_sequences(answers, dataclasses.replace(how, rule=rule)).answers
        judged = pooled.accuracy() if isinstance(pooled, Predictions) else []
        if judged:
            found[rule] = judged[0].n_correct, judged[0].n_images
    return found


def check_methods(methods: Sequence[str]) -> None:
    """Refuse what is no method, or stands twice.

    Raises
    ------
    ProbeError
        If one is.
    """
    unknown = [name for name in methods if name not in METHODS.names]
    if unknown or not methods or len(set(methods)) < len(methods):
        got = ", ".join(methods) or "none"
        near = suggest(unknown[0], METHODS.names) if unknown else ""
        wrong = f"no method {unknown[0]!r}{near}; " if unknown else ""
        msg = f"{wrong}methods are {', '.join(METHODS.names)}, each once; got {got}"
        raise ProbeError(msg)


def find_obstacle(method: str, task: Task) -> str:
    """Say why a method cannot be asked of a task; ``""`` where it can.

    Nothing is fitted or encoded for it.
    """
    reads = METHODS.load(method).needs_texts
    if reads and not task.store.manifest.has_text_tower:
        return f"the encoder {task.store.manifest.encoder.model} embeds no text"
    if reads and task.texts is None:
        return "no texts were given"
    try:
        if is_estimator(method):
            gather_inner(task, method)
    except (ProbeError, SelectionError) as error:
        return str(error)
    if reads and len(task.classes) < 2:
        named = "".join(task.classes.names) or "no class"
        return f"it can answer {named} alone; name further classes by --taxa or --classes"
    return ""
