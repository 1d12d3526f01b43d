"""What a method answers to the images that judge it, round by round."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

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
from bioprobe.task.method import Fitted, is_estimator
from bioprobe.task.predictions import Predictions
from bioprobe.task.prior import Prior, Weighed
from bioprobe.task.scores import split_rows
from bioprobe.task.sequences import pool_sequences
from bioprobe.task.target import Classes
from bioprobe.task.task import Task
from bioprobe.task.units import RULES, Pooling
from bioprobe.types import Mask, Rows, Scores, Settings

if TYPE_CHECKING:
    pass


# Judged images that are asked at once: of each the scores of all classes come with their places.
_IMAGES_AT_ONCE = 16_384


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
    probabilities: Scores
    calibrated: Scores | None
    is_known: npt.NDArray[np.bool_]
    settings: tuple[dict[str, Any], ...]
    n_training: tuple[int, ...]
    temperatures: tuple[float, ...]
    calibrated_on: str
    learning_s: float
    answering_s: float
    thresholds: tuple[float, ...] = ()
    flagged: Mask | None = None
    rules: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    with_prior: Answers | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Round:
    rows: Rows
    classes: Classes
    dense: Scores
    is_known: Mask
    fitted: Fitted
    scaling: TemperatureScaling | None
    threshold: float
    calibrated_on: str
    learning_s: float
    answering_s: float
    rules: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    weighed: Weighed | None = None

    def answer(self) -> Scores:
        """Return the probabilities of its classes."""
        # What learns is asked calibrated where there is a prior, as probe predict asks it.
        if self.weighed is not None and self.fitted.n_rows:
            return self.answer_calibrated()
        return self.dense if self.weighed is None else self.weighed.apply(self.dense)

    def answer_calibrated(self) -> Scores:
        """Return them calibrated; a prior comes after."""
        dense = self.dense
        if self.scaling is not None:
            dense = np.empty_like(self.dense)
            for part in split_rows(*dense.shape):
                dense[part] = self.scaling.calibrate(to_logits(self.dense[part]))
        return dense if self.weighed is None else self.weighed.apply(dense)


def gather_answers(
    method: str,
    rounds: Sequence[Task],
    classes: Classes,
    positive: int | None = None,
    pooling: Pooling | None = None,
    prior: Prior | None = None,
    settings: Settings | None = None,
) -> Answers:
    """Let a method learn and answer in each round.

    Parameters
    ----------
    method : str
        One of :data:`bioprobe.registry.METHODS`.
    rounds : sequence of Task
        As :meth:`bioprobe.task.task.Task.rounds` returns them.
    classes : Classes
        Every class that an image has or a method may answer.
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

    def run(task: Task) -> _Round:
        read_texts(task, method)
        began = time.perf_counter()
        fitted = fit(task, method, settings)
        learning_s = time.perf_counter() - began
        answers = _ask_all(fitted, task.judged)
        answering_s = time.perf_counter() - began - learning_s
        held_out = answer_held_out(task, fitted, method)
        scaling, threshold = None, math.nan
        known = held_out.truth >= 0
        if known.any():
            from scipy.special import softmax

            logits = held_out.logits
            if positive is not None:
                own = classes.place(fitted.classes)[held_out.truth[known]] == positive
                placed = _place(softmax(logits[known], axis=1), fitted.classes, classes)
                threshold = trace_thresholds(own, score_positive(placed, positive)).best
            # In place: they are no one else's, and may be many.
            for part in split_rows(*logits.shape):
                logits[part] = to_logits(softmax(logits[part], axis=1))
            asked = logits, held_out.truth, held_out.groups
            scaling = cast("TemperatureScaling", fit_judged("temperature", *asked)[0])
        return _Round(
            *answers, fitted, scaling, threshold, held_out.method, learning_s, answering_s,
            _compare_rules(task, fitted, pooling) if pooling else {},
        )  # fmt: skip

    found = [run(task) for task in rounds]
    answers = _join(method, found, classes, positive)
    if prior is None:
        return answers
    weighed = [
        dataclasses.replace(one, weighed=prior.weigh(one.classes, View(task.store, one.rows)))
        for one, task in zip(found, rounds, strict=True)
    ]  # fmt: skip
    with_prior = _join(method, weighed, classes, None)
    return dataclasses.replace(answers, with_prior=with_prior)


def _ask_all(fitted: Fitted, asked: View) -> tuple[Rows, Classes, Scores, Mask]:
    """Ask for the score of every class of each image, of some images at a time.

    Returns
    -------
    rows : ndarray of int64, shape (n_images,)
    classes : Classes
    scores : ndarray of float32, shape (n_images, n_classes)
    is_known : ndarray of bool, shape (n_images,)
        Whether the label of each image is one of the classes.
    """
    n_images, k = len(asked), len(fitted.classes)
    if n_images <= _IMAGES_AT_ONCE:
        found = fitted.ask(asked, k)
        return found.rows, found.classes, found.to_dense(), found.truth_classes >= 0
    dense = np.empty((n_images, k), dtype=np.float32)
    is_known = np.empty(n_images, dtype=bool)
    for start in range(0, n_images, _IMAGES_AT_ONCE):
        part = slice(start, start + _IMAGES_AT_ONCE)
        found = fitted.ask(dataclasses.replace(asked, rows=asked.rows[part]), k)
        dense[part], is_known[part] = found.to_dense(), found.truth_classes >= 0
    return asked.rows, found.classes, dense, is_known


def _join(method: str, found: Sequence[_Round], classes: Classes, positive: int | None) -> Answers:
    rows = np.concatenate([one.rows for one in found])
    order = np.argsort(rows, kind="stable")
    ends = np.cumsum([len(one.rows) for one in found])[:-1]
    places = np.split(np.argsort(order), ends)

    # What is in order already is not copied: it may be large.
    is_joined = len(found) == 1 and all(
        np.array_equal(one, np.arange(len(one)))
        for one in (order, classes.place(found[0].classes), found[0].classes.place(classes))
    )

    def gather(answer: Callable[[_Round], Scores]) -> Scores:
        if is_joined:
            return answer(found[0])
        joined = np.zeros((len(rows), len(classes)), dtype=np.float32)
        for one, here in zip(found, places, strict=True):
            _add(answer(one), one.classes, classes, joined, here)
        return joined

    plain = gather(_Round.answer)
    scalings = [one.scaling for one in found if one.scaling is not None]
    calibrated = gather(_Round.answer_calibrated) if len(scalings) == len(found) else None
    thresholds, flagged = tuple(one.threshold for one in found), None
    if positive is None or not np.isfinite(thresholds).all():
        thresholds = ()
    else:
        flagged = np.zeros(len(rows), dtype=bool)
        for here, least in zip(places, thresholds, strict=True):
            flagged[here] = score_positive(plain[here], positive) >= least
    return Answers(
        method,
        rows[order],
        plain,
        calibrated,
        np.concatenate([one.is_known for one in found])[order],
        tuple(one.fitted.settings for one in found),
        tuple(one.fitted.n_rows for one in found),
        tuple(scaling.temperature for scaling in scalings) if calibrated is not None else (),
        found[0].calibrated_on if calibrated is not None else "",
        sum(one.learning_s for one in found),
        sum(one.answering_s for one in found),
        thresholds,
        flagged,
        found[0].rules if len(found) == 1 else {},
    )


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


def _place(dense: Scores, of: Classes, classes: Classes) -> Scores:
    """Return probabilities in the order of the classes of the evaluation."""
    placed = np.zeros((len(dense), len(classes)), dtype=np.float32)
    _add(dense, of, classes, placed, np.arange(len(dense)))
    return placed


def _add(dense: Scores, of: Classes, classes: Classes, placed: Scores, rows: Rows) -> None:
    """Add probabilities to rows of others, of which the classes are others."""
    columns = classes.place(of)
    for part in split_rows(*dense.shape):
        for column, place in enumerate(columns):
            # A label that leaves open which homonym it is shares a place.
            placed[rows[part], place] += dense[part, column]


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
