"""What an evaluation found, as the report and other programs read it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.errors import ProbeError
from bioprobe.evaluation.binary_metrics import BINARY_METRICS
from bioprobe.evaluation.curves import Efficiency
from bioprobe.evaluation.effects import Effect, describe_effects
from bioprobe.evaluation.mistakes import Confusion, count_confusion, keep_met, tabulate_classes
from bioprobe.evaluation.paired import Comparison
from bioprobe.evaluation.positive import AFFIRMED, GIVEN, Positive
from bioprobe.intervals import Interval
from bioprobe.result import WARNING, Note, Notes, Result
from bioprobe.task.target import Classes

if TYPE_CHECKING:
    import pandas as pd

TABLE_METRICS = (
    "accuracy", "macro_f1", "balanced_accuracy", "top5", "auroc", "ece", "mistake_severity",
)  # fmt: skip
# How people write them.
METRIC_NAMES = {name: name.replace("_", " ") for name in BINARY_METRICS} | {
    "f1": "F1", "auroc": "AUROC",
}  # fmt: skip
# Above this share of the resamples, what an interval leaves out is said.
_MUCH_LEFT_OUT = 0.05


@dataclasses.dataclass(frozen=True)
class MethodResult:
    """How one method did.

    Parameters
    ----------
    method : str
        Its name.
    metrics : dict of str to Interval
        :data:`bioprobe.evaluation.method_scores.METRICS` on all judged images, with intervals of
        95%;
        ``ece_calibrated`` and ``log_loss_calibrated`` where a temperature could be chosen. Of two
        classes also :data:`~bioprobe.evaluation.binary_metrics.BINARY_METRICS` of the positive one,
        and :data:`~bioprobe.evaluation.method_scores.AT_THRESHOLD` where a threshold could be
        chosen.
    kept_metrics : dict of str to Interval
        The same on the images that the mask keeps; empty without a mask, or if it keeps none.
    settings : tuple of dict
        What was chosen in each round.
    n_training : tuple of int
        Images learnt from in each round.
    n_unknown : int
        Judged images of a class that the method does not know: they are wrong.
    temperatures : tuple of float
        Of each round; empty where none could be chosen.
    calibrated_on : str
        ``validation``, ``cross-validation`` of the training rows, or ``""``.
    learning_s, answering_s : float
        Seconds to learn, choosing included, and to answer all judged images; texts were read by the
        encoder before.
    pairs : tuple of dict
        Most confused pairs, JSON-ready: ``truth``, ``answer``, ``n_images``, ``fraction``,
        ``ancestor``, ``ancestor_rank``, ``height`` and ``mistakes``, each with its ``row``,
        ``file_name``, ``probability`` and nearest training ``neighbors``.
    thresholds : tuple of float
        Of two classes the least probability of the positive one that gives the best F1 on the
        images of ``calibrated_on``, one a round; empty where none could be chosen.
    unmeasured : dict of str to float
        Share of the resamples in which a figure of the positive class is not defined, and which
        its interval leaves out; without those of none.
    rules : dict of str to (int, int)
        Where sequences were judged, of each rule that pools their answers the sequences of the
        validation part that it gets right, and of how many; empty without that part.
    effects : tuple of Effect
        What columns beside the vectors, image prototypes and a prior did; all other figures are
        with them.
    """

    method: str
    metrics: dict[str, Interval]
    kept_metrics: dict[str, Interval]
    settings: tuple[dict[str, Any], ...]
    n_training: tuple[int, ...]
    n_unknown: int
    temperatures: tuple[float, ...]
    calibrated_on: str
    learning_s: float
    answering_s: float
    pairs: tuple[dict[str, Any], ...] = ()
    thresholds: tuple[float, ...] = ()
    unmeasured: dict[str, float] = dataclasses.field(default_factory=dict)
    rules: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    effects: tuple[Effect, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds to learn and to answer."""
        return self.learning_s + self.answering_s


@dataclasses.dataclass(frozen=True)
class TimeWindow:
    """How one method did on the images of a time.

    Parameters
    ----------
    method : str
        Its name.
    start, end : str
        ISO 8601, UTC; the end is no part of it.
    n_images : int
        Judged images that were taken in it.
    accuracy : Interval
        With its interval of 95%.
    """

    method: str
    start: str
    end: str
    n_images: int
    accuracy: Interval


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Result):
    """Methods side by side on the same images.

    Parameters
    ----------
    name : str
        Under which it may be kept.
    classes : Classes
        Every class that an image has or a method may answer.
    results : tuple of MethodResult
        In the order asked for.
    comparisons : tuple of Comparison
        Every two methods in each of some figures.
    efficiency : tuple of Efficiency
        Accuracy by images a class; empty where it was not asked for.
    skipped : dict of str to str
        Methods that could not be asked, with the reason.
    predictions : DataFrame
        One row an image and method: ``method``, ``row``, ``file_name``, ``truth``,
        ``truth_class`` and ``predicted_class`` (positions in ``classes``), ``predicted``,
        ``probability``, ``calibrated_probability`` (a hole where there is none),
        ``true_probability``, ``right``, ``kept`` (by the mask), ``top5`` and
        ``top5_probabilities`` (lists); of two classes ``positive_probability``.
    provenance : dict
        JSON-ready; ``options`` says split, hash, rounds, mask, seed, numbers of images and
        groups.
    positive : Positive, optional
        The class that is looked for; None where there are not two.
    windows : tuple of TimeWindow
        Accuracy over time, method by method; empty where times are not known or not asked for.
    notes : tuple of Note
        What is to be said of it.
    """

    name: str
    classes: Classes
    results: tuple[MethodResult, ...]
    comparisons: tuple[Comparison, ...]
    efficiency: tuple[Efficiency, ...]
    skipped: dict[str, str]
    predictions: pd.DataFrame
    provenance: dict[str, Any]
    positive: Positive | None = None
    windows: tuple[TimeWindow, ...] = ()
    notes: Notes = ()

    @property
    def level(self) -> str:
        """Rank of the classes, or the column whose values they are."""
        return self.classes.level

    @property
    def best(self) -> MethodResult:
        """The method of the highest accuracy, of equal ones the first."""
        return max(self.results, key=lambda result: result.metrics["accuracy"].estimate)

    @property
    def most_reliable(self) -> tuple[MethodResult, str]:
        """The method whose probabilities have the lowest ECE, and which ECE that is.

        ``ece`` as they come, or ``ece_calibrated``: a temperature that a held-out log-loss speaks
        for may still make the ECE of the judged images worse.
        """
        found = [
            (one, name)
            for name in ("ece", "ece_calibrated")
            for one in self.results
            if name in one.metrics
        ]
        return min(found, key=lambda pair: pair[0].metrics[pair[1]].estimate)

    def find(self, method: str) -> MethodResult:
        """Return the result of a method.

        Raises
        ------
        ProbeError
            If it was not evaluated.
        """
        for result in self.results:
            if result.method == method:
                return result
        msg = f"{method} was not evaluated; there are {', '.join(r.method for r in self.results)}"
        raise ProbeError(msg)

    def count_confusion(self, method: str) -> Confusion:
        """Return which class a method took for which; collapse it to see a rank above.

        Classes that no judged image has or was given are left out.
        """
        rows = self.predictions[self.predictions["method"] == self.find(method).method]
        truth, answers = (
            rows[column].to_numpy(dtype=np.int64) for column in ("truth_class", "predicted_class")
        )
        return count_confusion(*keep_met(truth, answers, self.classes))

    def tabulate_classes(self, method: str) -> pd.DataFrame:
        """Return the figures of each class, the worst first.

        See Also
        --------
        bioprobe.evaluation.mistakes.tabulate_classes : what the columns are.
        """
        return tabulate_classes(self.count_confusion(method))

    def compare_with_best(self, metric: str = "accuracy") -> dict[str, Comparison]:
        """Return how each other method compares with the best, by method."""
        best = self.best.method
        found = {}
        for one in self.comparisons:
            if one.metric == metric and best in (one.first, one.second):
                found[one.second if one.first == best else one.first] = one
        return found

    def to_frame(self) -> pd.DataFrame:
        """Return one row a method: figures, interval of the accuracy, seconds.

        ``p_vs_best`` is that of the paired test in accuracy against the best method, adjusted for
        the number of pairs. With a mask, ``accuracy_kept`` and ``macro_f1_kept`` are those of the
        images that it keeps. Of two classes the figures of the positive one stand first, and
        their intervals behind: ``precision_low``, ``precision_high`` and so on. What a prior
        did is in ``prior_accuracy_before``, ``prior_accuracy_difference``, its ``_low`` and
        ``_high``, the same of ``macro_f1``, ``balanced_accuracy``, ``rare_recall`` and
        ``unlikely_recall``; what columns did, in ``columns_accuracy_before`` and so on.
        """
        import pandas as pd

        compared = self.compare_with_best()
        rows = []
        for result in self.results:
            row: dict[str, Any] = {"method": result.method}
            # A narrow terminal shows the first ones.
            of_two = BINARY_METRICS if self.positive else ()
            row |= {name: result.metrics[name].estimate for name in of_two}
            for name in (one for one in TABLE_METRICS if one in result.metrics and one not in row):
                row[name] = result.metrics[name].estimate
                if name == "accuracy":
                    row["low"], row["high"] = result.metrics[name].low, result.metrics[name].high
                if name in ("accuracy", "macro_f1") and result.kept_metrics:
                    row[f"{name}_kept"] = result.kept_metrics[name].estimate
                if name == "ece" and "ece_calibrated" in result.metrics:
                    row["ece_calibrated"] = result.metrics["ece_calibrated"].estimate
            for name in of_two:
                ends = result.metrics[name]
                row[f"{name}_low"], row[f"{name}_high"] = ends.low, ends.high
            row["seconds"] = result.seconds
            for effect in result.effects:
                name, between = f"{effect.of}_{effect.metric}", effect.difference
                row |= {
                    f"{name}_before": effect.before.estimate,
                    f"{name}_after": effect.after.estimate,
                    f"{name}_difference": between.estimate,
                    f"{name}_low": between.low,
                    f"{name}_high": between.high,
                }
            one = compared.get(result.method)
            row["p_vs_best"] = one.p_adjusted if one else np.nan
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def over_time(self) -> pd.DataFrame:
        """One row a method and window: ``start``, ``end``, ``n_images``, ``accuracy``, its ends."""
        import pandas as pd

        columns = ["method", "start", "end", "n_images", "accuracy", "low", "high"]
        rows = [
            (one.method, pd.Timestamp(one.start), pd.Timestamp(one.end), one.n_images,
             one.accuracy.estimate, one.accuracy.low, one.accuracy.high)
            for one in self.windows
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=columns)

    def describe_effects(self) -> list[str]:
        """Say what columns, prototypes and a prior did to each method; nothing without them."""
        said: list[str] = []
        for result in self.results:
            said += describe_effects(result.method, result.effects)
        return said

    def describe_windows(self) -> list[Note]:
        """Say where what learns is worse than what does not; nothing without both."""
        by_method: dict[str, dict[str, float]] = {}
        for one in self.windows:
            by_method.setdefault(one.method, {})[one.start] = one.accuracy.estimate
        unlearnt = by_method.pop("zeroshot", {})
        said = []
        for method, found in by_method.items() if unlearnt else ():
            n_worse = sum(found[start] < unlearnt[start] for start in found)
            if n_worse:
                text = f"learning made it worse in {n_worse} of {len(found)} windows of time"
                said.append(Note(f"{method}: {text} (accuracy below zeroshot)"))
        return said

    def describe_positive(self) -> list[Note | str]:
        """Say which of two classes is positive, how each method tells it, and what is not defined.

        Nothing is said where there are not two classes.
        """
        if self.positive is None:
            return []
        one = self.positive
        (n_own, n_other), (n_judged, n_judged_other) = one.n_training, one.n_judged
        counted = f"{one.name} {n_own:,}, {one.other} {n_other:,} training images"
        why = {GIVEN: "as given", AFFIRMED: "it reads as a yes"}.get(one.reason, "the rarer one")
        if one.reason not in (GIVEN, AFFIRMED) and n_own == n_other:
            why = "the first of two as frequent"
        other = "" if one.reason == GIVEN else "; say another with --positive"
        said: list[Note | str] = [f"positive class: {one.name}, {why} (of {counted}){other}"]
        if not n_judged:
            said.append(Note(f"WARNING: no judged image is {one.name}: of its figures only "
                             "specificity is defined", WARNING))  # fmt: skip
        if not n_judged_other:
            said.append(Note(f"WARNING: every judged image is {one.name}: of its figures only "
                             "recall is defined", WARNING))  # fmt: skip
        for result in self.results:
            said += _describe_binary(result, one)
        shares = [result.unmeasured.get("auroc", 0.0) for result in self.results]
        if n_judged and n_judged_other and max(shares) > _MUCH_LEFT_OUT:
            said.append(Note(f"WARNING: {max(shares):.0%} of the resamples have not both classes; "
                             f"the intervals of {one.name} leave them out", WARNING))  # fmt: skip
        return said


def _describe_binary(result: MethodResult, positive: Positive) -> list[Note | str]:
    metrics = result.metrics
    shown = [(METRIC_NAMES[name], metrics[name]) for name in BINARY_METRICS]
    defined = [f"{name} {one}" for name, one in shown if np.isfinite(one.estimate)]
    said: list[Note | str] = [f"  {result.method}: {', '.join(defined)}"] if defined else []
    if not all(positive.n_judged):
        return said
    lost = result.unmeasured.get("precision", 0.0) - result.unmeasured.get("auroc", 0.0)
    if not np.isfinite(metrics["precision"].estimate):
        said.append(Note(f"WARNING: {result.method} answers {positive.name} for no image: its "
                         "precision is not defined, its recall and F1 are 0", WARNING))  # fmt: skip
    elif lost > _MUCH_LEFT_OUT:
        said.append(Note(f"WARNING: {result.method} answers {positive.name} for no image of "
                         f"{lost:.0%} of the resamples, which the interval of its precision leaves "
                         "out", WARNING))  # fmt: skip
    return said
