"""What tuning tries next."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bioprobe.errors import ProbeError
from bioprobe.probes.probe import Dimension
from bioprobe.registry import METHODS
from bioprobe.task.columns import WEIGHTS
from bioprobe.task.method import find_probe

KIND = "kind"
TEXT_TYPE, TEMPLATES = "text_type", "templates"
#: Setting of columns that stand beside the vectors; 0 is without them.
COLUMN_WEIGHT = "weight"
#: Setting of whether altered copies teach too.
VIEWS = "views"
#: What tuning compares unasked, the quickest first: what there is no time for is missed least.
TUNED_KINDS = ("lda", "ridge", "centroid", "knn", "linear", "hierarchical", "prompt+probe")
#: What it compares where it is named, too; the last two learn from what only some stores keep.
NAMED_KINDS = ("adapter", "clap", "tip-adapter", "prolip", "attentive")


def list_dimensions(
    kind: str,
    *,
    whole_path: bool,
    text_types: Sequence[str] = (),
    templates: Sequence[str] = (),
    has_columns: bool = False,
    has_copies: bool = False,
) -> tuple[Dimension, ...]:
    """List what is chosen for a kind.

    Parameters
    ----------
    kind : str
        One of :data:`TUNED_KINDS` or :data:`NAMED_KINDS`, or a probe that another package adds.
    whole_path : bool
        Whether all values of the regularisation are measured together, so that it is no choice
        of a trial.
    text_types, templates : sequence of str
        Names of the choices for a kind that starts from texts.
    has_columns : bool
        Whether columns may stand beside the vectors: how much they weigh is then chosen, for a kind
        that takes them.
    has_copies : bool
        Whether altered copies may teach beside the rows: whether they do is then chosen.

    Raises
    ------
    ProbeError
        If the kind is not one that is tuned.
    """
    known = (*TUNED_KINDS, *NAMED_KINDS)
    if kind not in (*known, *METHODS.added):
        msg = f"tuning compares {', '.join(known)}; got {kind!r}"
        raise ProbeError(msg)
    found = find_probe(kind)
    dimensions: tuple[Dimension, ...] = found.space
    if found.parameter and not whole_path:
        # The middle of the path first.
        middle = len(found.values) // 2
        values = (found.values[middle], *found.values[:middle], *found.values[middle + 1 :])
        dimensions += (Dimension(found.parameter, values),)
    if found.needs_texts:
        dimensions += (Dimension(TEXT_TYPE, tuple(text_types)),)
        dimensions += (Dimension(TEMPLATES, tuple(templates)),)
    if has_columns and found.takes_columns:
        dimensions += (Dimension(COLUMN_WEIGHT, (*reversed(WEIGHTS), 0.0)),)
    if has_copies and not found.reads:
        dimensions += (Dimension(VIEWS, (False, True)),)
    return dimensions


def list_settings(dimensions: Sequence[Dimension]) -> list[dict[str, Any]]:
    """List every combination of choices once, the first of all choices first.

    Examples
    --------
    >>> way = Dimension("way", ("plain", "bent"))
    >>> list_settings([way, Dimension("angle", (1, 2), ("way", "bent"))])
    [{'way': 'plain'}, {'way': 'bent', 'angle': 1}, {'way': 'bent', 'angle': 2}]
    """
    found: list[dict[str, Any]] = []
    for values in itertools.product(*(dimension.choices for dimension in dimensions)):
        settings: dict[str, Any] = {}
        for dimension, value in zip(dimensions, values, strict=True):
            if dimension.plays_part(settings):
                settings[dimension.name] = value
        if settings not in found:
            found.append(settings)
    return found


Proposal = tuple[str, dict[str, Any]]
Spaces = Mapping[str, tuple[Dimension, ...]]

# After so many proposals in a row that were tried already, one is drawn from the rest.
_MOST_REPEATED = 10


class Proposals:
    """Kinds and settings, no two the same, proposed by what earlier ones were worth.

    Each kind comes first with the first choice of each setting, in the order given; then Optuna's
    tree-structured Parzen estimator proposes. It is told of a repeated proposal what that was
    worth, without a new trial.

    Parameters
    ----------
    spaces : mapping of str to tuple of Dimension
        What is chosen for each kind.
    seed : int
        The same seed and scores give the same proposals.
    lower_is_better : bool
        Whether the lowest score is the best.

    Attributes
    ----------
    n_repeated : int
        Proposals that were not run again.

    References
    ----------
    Bergstra et al. 2011, *Algorithms for Hyper-Parameter Optimization*; Akiba et al. 2019,
    *Optuna*.
    """

    def __init__(self, spaces: Spaces, seed: int, *, lower_is_better: bool) -> None:
        self.n_repeated = 0
        self._spaces = spaces
        # No accuracy is lower, no log-loss of float32 higher.
        self._failed = 16.0 if lower_is_better else 0.0
        self._random = np.random.default_rng(seed)
        self._untried = {
            _key(kind, settings): (kind, settings)
            for kind, dimensions in spaces.items()
            for settings in list_settings(dimensions)
        }
        self._scores: dict[str, float] = {}
        self._asked: tuple[Any, str] | None = None
        with _quiet_optuna() as optuna:
            direction = "minimize" if lower_is_better else "maximize"
            sampler = optuna.samplers.TPESampler(seed=seed)
            self._study = optuna.create_study(sampler=sampler, direction=direction)
        for kind, dimensions in spaces.items():
            self._enqueue(kind, list_settings(dimensions)[0])

    def ask(self) -> Proposal | None:
        """Return a kind and settings that were not tried, None where there is nothing left."""
        if not self._untried:
            return None
        with _quiet_optuna():
            for repeated in range(_MOST_REPEATED + 1):
                if repeated == _MOST_REPEATED:
                    rest = list(self._untried.values())
                    self._enqueue(*rest[int(self._random.integers(len(rest)))])
                trial = self._study.ask()
                kind, settings = self._suggest(trial)
                key = _key(kind, settings)
                if key not in self._scores:
                    break
                self.n_repeated += 1
                self._study.tell(trial, self._scores[key])
        self._asked = (trial, key)
        return self._untried.pop(key)

    def tell(self, score: float) -> None:
        """Say what the last proposal was worth; not a number where it failed."""
        if self._asked is None:
            return
        (trial, key), self._asked = self._asked, None
        self._scores[key] = self._failed if math.isnan(score) else score
        with _quiet_optuna():
            self._study.tell(trial, self._scores[key])

    def _enqueue(self, kind: str, settings: dict[str, Any]) -> None:
        given: dict[str, Any] = {KIND: kind}
        for dimension in self._spaces[kind]:
            if dimension.name in settings:
                value = settings[dimension.name]
                given[_name(kind, dimension)] = (
                    sorted(dimension.choices).index(value) if _is_ordered(dimension) else value
                )
        self._study.enqueue_trial(given)

    def _suggest(self, trial: Any) -> Proposal:  # noqa: ANN401 - optuna ships no types
        kind = trial.suggest_categorical(KIND, list(self._spaces))
        settings: dict[str, Any] = {}
        for dimension in self._spaces[kind]:
            if not dimension.plays_part(settings):
                continue
            name, choices = _name(kind, dimension), dimension.choices
            if _is_ordered(dimension):
                place = trial.suggest_int(name, 0, len(choices) - 1)
                settings[dimension.name] = sorted(choices)[place]
            else:
                settings[dimension.name] = trial.suggest_categorical(name, choices)
        return kind, settings


def _is_ordered(dimension: Dimension) -> bool:
    return not isinstance(dimension.choices[0], str)


def _name(kind: str, dimension: Dimension) -> str:
    return f"{kind}.{dimension.name}"


def _key(kind: str, settings: Mapping[str, Any]) -> str:
    return json.dumps([kind, settings], sort_keys=True)


@contextlib.contextmanager
def _quiet_optuna() -> Iterator[Any]:
    """Silence Optuna's log for a while; the setting is one for the whole process.

    Yields
    ------
    module
        Optuna.
    """
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield optuna
    finally:
        optuna.logging.set_verbosity(before)
