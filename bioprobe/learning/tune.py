"""The best kind of probe and its settings, chosen on held-out rows."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import BioprobeError, ProbeError
from bioprobe.learning.fit import (
    LEAST_LIKELY_LOSS,
    as_setting,
    complete_settings,
    fit_probe,
    gather_extra,
    gather_inner,
    gather_prior,
    measure_folds,
    measure_values,
    read_texts,
    teach,
)
from bioprobe.learning.fitted import FittedProbe
from bioprobe.learning.proposals import (
    COLUMN_WEIGHT,
    TEMPLATES,
    TEXT_TYPE,
    TUNED_KINDS,
    VIEWS,
    Proposals,
    list_dimensions,
)
from bioprobe.prompts import TextType
from bioprobe.registry import METHODS
from bioprobe.result import Notes, Result
from bioprobe.task.method import find_probe, make_probe
from bioprobe.task.task import Inner, Task
from bioprobe.types import Settings, Vectors

if TYPE_CHECKING:
    import pandas as pd


METRICS = ("accuracy", "macro_f1", "log_loss")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One kind and its settings, measured on rows that it did not learn from.

    Parameters
    ----------
    number : int
        From 1, in the order in which they were run.
    kind : str
        Kind of probe.
    settings : dict
        Its settings, JSON-ready; for a kind that starts from texts, how these are written too.
    score : float
        By the metric of the tuning; not a number where the trial failed.
    n_values : int
        Values of the regularisation that were measured; the settings have the best of them.
    seconds_s : float
        Time it took.
    problem : str
        Why it failed, else ``""``.
    """

    number: int
    kind: str
    settings: dict[str, Any]
    score: float
    n_values: int
    seconds_s: float
    problem: str = ""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Tuned(Result):
    """What tuning found.

    Parameters
    ----------
    probe : FittedProbe
        The best, fitted on the training rows; its provenance has the trials.
    trials : tuple of Trial
        In the order in which they were run.
    metric : str
        One of :data:`METRICS`; the highest is best, of ``log_loss`` the lowest.
    n_repeated : int
        Proposals that had been tried already and were not run again.
    method : str
        ``validation``, or ``cross-validation`` of the training rows.
    n_held_out : int
        Rows that the scores are of.
    task : Task
        With the texts from which the best starts, if it starts from texts.
    notes : tuple of Note
        What is to be said of it.
    """

    probe: FittedProbe
    trials: tuple[Trial, ...]
    metric: str
    n_repeated: int
    method: str
    n_held_out: int
    task: Task
    notes: Notes = ()

    @property
    def provenance(self) -> dict[str, Any]:
        """What the best was fitted on, with all trials."""
        return self.probe.provenance

    @property
    def ranked(self) -> list[Trial]:
        """Trials, the best first; of equal scores the earlier one, those that failed last."""
        return rank_trials(self.trials, self.metric)

    @property
    def best(self) -> Trial:
        """The trial that was kept."""
        return self.ranked[0]

    @property
    def n_compared(self) -> int:
        """Settings among which the best was chosen, values of regularisation counted."""
        return sum(one.n_values for one in self.trials)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a trial, the best first."""
        import pandas as pd

        columns = ["kind", "settings", self.metric, "n_values", "seconds", "trial", "problem"]
        rows = [
            (
                one.kind, json.dumps(one.settings), one.score, one.n_values, one.seconds_s,
                one.number, one.problem,
            )
            for one in self.ranked
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=columns)


def rank_trials(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Return trials, the best first; of equal scores the earlier one, those that failed last."""
    sign = 1 if metric == "log_loss" else -1
    return sorted(trials, key=lambda one: math.inf if one.problem else sign * one.score)


TEXT_TYPES = (TextType.TAXON_COM, TextType.SCI, TextType.SCI_COM, TextType.TAXON)


def tune_probe(
    task: Task,
    *,
    kinds: Sequence[str] = TUNED_KINDS[:-1],
    n_trials: int = 30,
    timeout_s: float | None = None,
    metric: str = "accuracy",
    text_types: Sequence[str] = TEXT_TYPES,
    templates: Mapping[str, Sequence[str]] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Tuned:
    """Choose a kind of probe and its settings on held-out rows, and fit the best.

    Rows are held out by :meth:`bioprobe.task.task.Task.inner`, the same for all kinds; an image
    of a class that a kind cannot answer counts as wrong. Each kind is tried once with its usual
    settings, in the order of ``kinds``; from then on a tree-structured Parzen estimator proposes.
    A kind whose whole regularisation path is measured together gives the best of the path in one
    trial; by ``macro_f1``, which paths do not know, each value is a trial. What was tried already
    is not run again. The score is that of the rows it was chosen on: the best of many is a little
    too high.

    Parameters
    ----------
    task : Task
        What is to be learnt; its texts are for kinds that start from them, how these write classes
        is chosen.
    kinds : sequence of str
        Of :data:`bioprobe.learning.proposals.TUNED_KINDS` and ``NAMED_KINDS``.
    n_trials : int
        Trials, ≥ 1; fewer where there are no more settings.
    timeout_s : float, optional
        No trial is begun later; one always is run.
    metric : str
        ``accuracy`` or ``log_loss``, means over the folds, or ``macro_f1`` of all held-out rows,
        over the classes that they have.
    text_types : sequence of str
        Text types to choose from.
    templates : mapping of str to sequence of str, optional
        Template sets to choose from, by name; by default those of the task's texts.
    on_trial : callable, optional
        Told each trial when it is done.

    Raises
    ------
    ProbeError
        If a kind, the metric or a number is not one that is known, or every trial failed.
    SelectionError
        If no image is left.

    References
    ----------
    Bergstra et al. 2011, *Algorithms for Hyper-Parameter Optimization*; Akiba et al. 2019,
    *Optuna*; Cawley and Talbot 2010, *On Over-fitting in Model Selection* for the optimism.
    """
    if metric not in METRICS or n_trials < 1 or not kinds:
        msg = (
            f"tuning takes at least one kind and one trial, and a metric of {', '.join(METRICS)}; "
            f"got {len(kinds)}, {n_trials} and {metric!r}"
        )
        raise ProbeError(msg)
    reading = [kind for kind in kinds if kind in METHODS.names and find_probe(kind).needs_texts]
    if reading and task.texts is None:
        msg = f"{reading[0]} starts from texts, and there are none; leave it out of the kinds"
        raise ProbeError(msg)
    named = dict(templates or ({"given": task.texts.templates} if task.texts else {}))
    spaces = {
        kind: list_dimensions(
            kind,
            whole_path=metric != "macro_f1",
            text_types=[str(TextType.parse(one)) for one in text_types],
            templates=list(named),
            has_columns=task.columns is not None,
            has_copies=task.extra is not None,
        )
        for kind in dict.fromkeys(kinds)
    }
    bench = _Bench(task, named, metric)
    method, n_held_out = bench.describe(next(iter(spaces)))
    proposals = Proposals(spaces, task.seed, lower_is_better=metric == "log_loss")
    trials = []
    for trial in _iter_trials(bench, proposals, n_trials, timeout_s):
        trials.append(trial)
        if on_trial is not None:
            on_trial(trial)
    if all(one.problem for one in trials):
        msg = f"each of {len(trials)} trials failed; the first: {trials[0].problem}"
        raise ProbeError(msg)
    about = {
        "metric": metric, "seed": task.seed, "kinds": list(spaces), "n_trials": n_trials,
        "timeout_s": timeout_s, "held_out": method, "n_held_out": n_held_out,
        "n_repeated": proposals.n_repeated, "trials": [dataclasses.asdict(one) for one in trials],
    }  # fmt: skip
    best = rank_trials(trials, metric)[0]
    return Tuned(
        bench.fit(best, about), tuple(trials), metric, proposals.n_repeated, method, n_held_out,
        bench.find_task(best.kind, best.settings),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class _Bench:
    """Where trials are measured."""

    task: Task
    templates: Mapping[str, Sequence[str]]
    metric: str

    def describe(self, kind: str) -> tuple[str, int]:
        """Return how rows are held out, and how many."""
        inner = gather_inner(self.task, kind)
        if inner.method == "none":
            msg = (
                "no image can be held out to choose on: every class has one group of images; "
                "label more, or choose a broader --level"
            )
            raise ProbeError(msg)
        return inner.method, inner.n_held_out

    def measure(self, kind: str, settings: Settings) -> tuple[float, dict[str, Any], int]:
        """Return the score, the settings that have it, and how many values were measured."""
        task = self.find_task(kind, settings)
        inner, found = gather_inner(task, kind), find_probe(kind)
        own = complete_settings(kind, _leave_texts(settings), task.seed)
        own |= gather_prior(task, kind, inner.labelled.classes)
        extra = gather_extra(task, inner)
        if self.metric == "macro_f1":
            return _measure_macro_f1(kind, own, inner, extra), dict(settings), 1
        if not found.parameter:
            accuracies, log_losses = measure_folds(
                kind, own, inner.vectors, inner.y, inner.folds, extra
            )
            score = self._score(inner, accuracies.mean(), log_losses.mean())
            return score, dict(settings), 1
        values = np.array(found.values)
        sweep = measure_values(kind, own, inner.vectors, inner.y, values, inner.folds, extra)
        scores = [
            self._score(inner, accuracy, log_loss)
            for accuracy, log_loss in zip(
                sweep.accuracies.mean(axis=1), sweep.log_losses.mean(axis=1), strict=True
            )
        ]
        place = int(np.argmin(scores)) if self.metric == "log_loss" else sweep.best_index
        value = as_setting(sweep.values[place])
        return scores[place], {**settings, found.parameter: value}, len(sweep.values)

    def fit(self, trial: Trial, about: dict[str, Any]) -> FittedProbe:
        """Fit what a trial measured on the training rows."""
        task = self.find_task(trial.kind, trial.settings)
        probe = fit_probe(task, trial.kind, _leave_texts(trial.settings))
        options = {**probe.provenance["options"], "tuning": about}
        return dataclasses.replace(probe, provenance={**probe.provenance, "options": options})

    def find_task(self, kind: str, settings: Settings) -> Task:
        """Return the task as a trial writes its classes, and weighs its columns."""
        task = self.task.weigh_columns(settings.get(COLUMN_WEIGHT, 0.0))
        if not settings.get(VIEWS, False):
            task = dataclasses.replace(task, extra=None)
        if task.texts is None or not find_probe(kind).needs_texts:
            return task
        return task.write(
            dataclasses.replace(
                task.texts,
                text_type=TextType.parse(settings[TEXT_TYPE]),
                templates=tuple(self.templates[settings[TEMPLATES]]),
            )
        )

    def _score(self, inner: Inner, accuracy: float, log_loss: float) -> float:
        """Return the score of all held-out images; of an unknown class none is right or likely."""
        share = 1 - len(inner.unknown) / inner.n_held_out
        if self.metric == "accuracy":
            return float(accuracy) * share
        return float(log_loss) * share + LEAST_LIKELY_LOSS * (1 - share)


def _leave_texts(settings: Settings) -> dict[str, Any]:
    others = {TEXT_TYPE, TEMPLATES, COLUMN_WEIGHT, VIEWS}
    return {name: one for name, one in settings.items() if name not in others}


def _iter_trials(
    bench: _Bench, proposals: Proposals, n_trials: int, timeout_s: float | None
) -> Iterator[Trial]:
    began = time.monotonic()
    for number in range(1, n_trials + 1):
        start = time.monotonic()
        late = number > 1 and timeout_s is not None and start - began >= timeout_s
        proposal = None if late else proposals.ask()
        if proposal is None:
            return
        kind, settings = proposal
        try:
            read_texts(bench.find_task(kind, settings), kind)
            start = time.monotonic()
            score, chosen, n_values = bench.measure(kind, settings)
            problem = ""
        except BioprobeError as error:
            # One kind that cannot be had, such as one whose model is elsewhere, stops no other.
            score, chosen, n_values, problem = math.nan, dict(settings), 0, str(error)
        proposals.tell(score)
        yield Trial(number, kind, chosen, score, n_values, time.monotonic() - start, problem)


def _measure_macro_f1(kind: str, settings: Settings, inner: Inner, extra: Vectors | None) -> float:
    """Return the macro-F1 of all held-out rows together, over the classes that they have."""
    from sklearn.metrics import f1_score

    names = inner.labelled.names
    answers = np.full(len(names), "", dtype=object)
    judged = inner.folds >= 0
    for fold in np.unique(inner.folds[judged]):
        out = inner.folds == fold
        probe = make_probe(kind, settings).fit(*teach(inner.vectors, inner.y, ~out, extra))
        answers[out] = probe.predict(inner.vectors[out])
    truth: npt.NDArray[np.str_] = np.append(names[judged], inner.unknown.names).astype(str)
    given = np.append(answers[judged], np.full(len(inner.unknown), "")).astype(str)
    return float(f1_score(truth, given, labels=np.unique(truth), average="macro", zero_division=0))
