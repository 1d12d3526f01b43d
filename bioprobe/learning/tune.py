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
    PROMPTED,
    as_setting,
    complete_settings,
    fit_probe,
    measure_folds,
    measure_values,
)
from bioprobe.learning.fitted import TrainedProbe
from bioprobe.learning.material import Material, gather_material
from bioprobe.learning.proposals import (
    TEMPLATES,
    TEXT_TYPE,
    TUNED_KINDS,
    Proposals,
    list_dimensions,
)
from bioprobe.prompts import TextType
from bioprobe.splits import Split, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.method import find_kind, make_probe
from bioprobe.task.target import TextPrior
from bioprobe.taxonomy import Rank
from bioprobe.types import Settings

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


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Parameters
    ----------
    probe : TrainedProbe
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
    texts : TextPrior or None
        Where the best starts, if it starts from texts.
    """

    probe: TrainedProbe
    trials: tuple[Trial, ...]
    metric: str
    n_repeated: int
    method: str
    n_held_out: int
    texts: TextPrior | None = None

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
    asked: EmbeddingStore | View,
    rank: Rank,
    *,
    kinds: Sequence[str] = TUNED_KINDS[:-1],
    n_trials: int = 30,
    timeout_s: float | None = None,
    metric: str = "accuracy",
    split: str | Split | None = "default",
    seed: int = 0,
    first_rank: Rank = Rank.PHYLUM,
    texts: TextPrior | None = None,
    text_types: Sequence[str] = TEXT_TYPES,
    templates: Mapping[str, Sequence[str]] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Tuned:
    """Choose a kind of probe and its settings on held-out rows, and fit the best.

    Rows are held out as :func:`bioprobe.learning.fit.fit_probe` does it: the part
    ``validation``, or folds of the training rows where it is empty; the part ``test`` is not
    read. Each kind is tried once with its usual settings, in the order of ``kinds``; from then on
    a tree-structured Parzen estimator proposes. A kind whose whole regularisation path is measured
    together gives the best of the path in one trial; by ``macro_f1``, which paths do not know, each
    value is a trial. What was tried already is not run again. The score is that of the rows it was
    chosen on: the best of many is a little too high.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Of the images.
    rank : Rank
        Rank of the classes.
    kinds : sequence of str
        Of :data:`bioprobe.learning.proposals.TUNED_KINDS`.
    n_trials : int
        Trials, ≥ 1; fewer where there are no more settings.
    timeout_s : float, optional
        No trial is begun later; one always is run.
    metric : str
        ``accuracy`` or ``log_loss``, means over the folds, or ``macro_f1`` of all held-out rows,
        over the classes that they have.
    split : str, Split or None
        Name of a split in the store, or one that is not kept; None takes every labelled row.
    seed : int
        Of the proposals, the folds, and the probes that draw.
    first_rank : Rank
        Broadest rank of the chain, for kinds that learn from lineages.
    texts : TextPrior, optional
        For ``prompt+probe``; how it writes classes is chosen.
    text_types : sequence of str
        Text types to choose from.
    templates : mapping of str to sequence of str, optional
        Template sets to choose from, by name; by default those of ``texts``.
    on_trial : callable, optional
        Told each trial when it is done.

    Raises
    ------
    ProbeError
        If a kind, the metric or a number is not one that is known, or every trial failed.
    StoreError
        If there is no such split.
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
    if PROMPTED in kinds and texts is None:
        msg = f"{PROMPTED} starts from texts, and there are none; leave it out of the kinds"
        raise ProbeError(msg)
    view = View.of(asked)
    parts = read_split(view.store, split) if isinstance(split, str) else split
    named = dict(templates or ({"given": texts.templates} if texts else {}))
    spaces = {
        kind: list_dimensions(
            kind,
            whole_path=metric != "macro_f1",
            text_types=[str(TextType.parse(one)) for one in text_types],
            templates=list(named),
        )
        for kind in dict.fromkeys(kinds)
    }
    bench = _Bench(view, rank, parts, seed, first_rank, texts, named, metric, {})
    method, n_held_out = bench.describe(next(iter(spaces)))
    proposals = Proposals(spaces, seed, lower_is_better=metric == "log_loss")
    trials = []
    for trial in _iter_trials(bench, proposals, n_trials, timeout_s):
        trials.append(trial)
        if on_trial is not None:
            on_trial(trial)
    if all(one.problem for one in trials):
        msg = f"each of {len(trials)} trials failed; the first: {trials[0].problem}"
        raise ProbeError(msg)
    about = {
        "metric": metric, "seed": seed, "kinds": list(spaces), "n_trials": n_trials,
        "timeout_s": timeout_s, "held_out": method, "n_held_out": n_held_out,
        "n_repeated": proposals.n_repeated, "trials": [dataclasses.asdict(one) for one in trials],
    }  # fmt: skip
    best = rank_trials(trials, metric)[0]
    return Tuned(
        bench.fit(best, about), tuple(trials), metric, proposals.n_repeated, method, n_held_out,
        bench.find_texts(best.kind, best.settings),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class _Bench:
    """Where trials are measured; what they learn from is gathered once for each sort of kind."""

    view: View
    rank: Rank
    parts: Split | None
    seed: int
    first_rank: Rank
    texts: TextPrior | None
    templates: Mapping[str, Sequence[str]]
    metric: str
    gathered: dict[str, Material]

    def gather(self, kind: str) -> Material:
        sort = kind if kind in {PROMPTED, "hierarchical"} else ""
        if sort not in self.gathered:
            self.gathered[sort] = gather_material(
                self.view, kind, self.rank, parts=self.parts, seed=self.seed,
                first_rank=self.first_rank, texts=self.texts if kind == PROMPTED else None,
            )  # fmt: skip
        return self.gathered[sort]

    def describe(self, kind: str) -> tuple[str, int]:
        """Return how rows are held out, and how many.

        Raises
        ------
        ProbeError
            If none can be.
        """
        material = self.gather(kind)
        if material.method == "none":
            msg = (
                "no image can be held out to choose on: every class has one group of images; "
                "label more, or choose a broader --level"
            )
            raise ProbeError(msg)
        return material.method, int((material.folds >= 0).sum())

    def measure(self, kind: str, settings: Settings) -> tuple[float, dict[str, Any], int]:
        """Return the score, the settings that have it, and how many values were measured."""
        material = self.gather(kind)
        own = {name: one for name, one in settings.items() if name not in {TEXT_TYPE, TEMPLATES}}
        own = complete_settings(kind, own, self.seed)
        texts = self.find_texts(kind, settings)
        prior = texts.embed(material.labelled.classes) if texts else {}
        found, folds = find_kind(kind), material.folds
        if self.metric == "macro_f1":
            return _measure_macro_f1(kind, {**own, **prior}, material), dict(settings), 1
        row = METRICS.index(self.metric) // 2
        if not found.parameter:
            measured = measure_folds(kind, {**own, **prior}, material.vectors, material.y, folds)
            return float(measured[row].mean()), dict(settings), 1
        sweep = measure_values(
            kind, {**own, **prior}, material.vectors, material.y, np.array(found.values), folds
        )
        scores = (sweep.accuracies, sweep.log_losses)[row].mean(axis=1)
        place = int(scores.argmin() if row else scores.argmax())
        value = as_setting(sweep.values[place])
        return float(scores[place]), {**settings, found.parameter: value}, len(sweep.values)

    def fit(self, trial: Trial, about: dict[str, Any]) -> TrainedProbe:
        """Fit what a trial measured on the training rows."""
        own = {n: one for n, one in trial.settings.items() if n not in {TEXT_TYPE, TEMPLATES}}
        probe = fit_probe(
            self.view, trial.kind, self.rank, split=self.parts, settings=own, seed=self.seed,
            first_rank=self.first_rank,
            texts=self.find_texts(trial.kind, trial.settings),
        )  # fmt: skip
        options = {**probe.provenance["options"], "tuning": about}
        return dataclasses.replace(probe, provenance={**probe.provenance, "options": options})

    def find_texts(self, kind: str, settings: Settings) -> TextPrior | None:
        """Return the texts that a trial starts from."""
        if kind != PROMPTED or self.texts is None:
            return None
        return dataclasses.replace(
            self.texts,
            text_type=TextType.parse(settings[TEXT_TYPE]),
            templates=tuple(self.templates[settings[TEMPLATES]]),
        )


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
            score, chosen, n_values = bench.measure(kind, settings)
            problem = ""
        except BioprobeError as error:
            # One kind that cannot be had, such as one whose model is elsewhere, stops no other.
            score, chosen, n_values, problem = math.nan, dict(settings), 0, str(error)
        proposals.tell(score)
        yield Trial(number, kind, chosen, score, n_values, time.monotonic() - start, problem)


def _measure_macro_f1(kind: str, settings: Settings, material: Material) -> float:
    """Return the macro-F1 of all held-out rows together, over the classes that they have."""
    from sklearn.metrics import f1_score

    names = material.labelled.names
    answers = np.full(len(names), "", dtype=object)
    judged = material.folds >= 0
    for fold in np.unique(material.folds[judged]):
        out = material.folds == fold
        probe = make_probe(kind, settings).fit(material.vectors[~out], material.y[~out])
        answers[out] = probe.predict(material.vectors[out])
    truth: npt.NDArray[np.str_] = names[judged].astype(str)
    return float(
        f1_score(
            truth, answers[judged].astype(str), labels=np.unique(truth), average="macro",
            zero_division=0,
        )
    )  # fmt: skip
