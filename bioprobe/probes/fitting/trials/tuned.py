"""What tuning found."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bioprobe.probes.text_prior import TextPrior
from bioprobe.probes.trained import TrainedProbe

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
