"""Answers at the deepest rank that is sure enough, with the reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.images.image_table import ImageTable
from bioprobe.intervals import Accuracy
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.types import Doubles, Mask, Places, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd


# Bounds the memory of the scores: 16 million of them are 64 MB.
_SCORES_AT_ONCE = 16_000_000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Decisions(Result):
    """One answer an image, at the deepest rank whose summed probability passes a threshold.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were asked about.
    levels : tuple of Taxonomy
        Classes at each rank, from kingdom down to the deepest rank that was asked for.
    best : ndarray of int64, shape (n_images, n_ranks)
        Class at each rank: down to the answer those of its path, below it the most probable;
        -1 where there is none.
    scores : ndarray of float32, shape (n_images, n_ranks)
        Summed probability of these classes; not a number where there is none.
    depths : ndarray of int64, shape (n_images,)
        Rank of the answer, 0 for kingdom; -1 where no rank passes.
    threshold : float
        In (0, 1].
    provenance : Provenance
        What the result was computed from.
    taught : ndarray of bool, shape (n_images,), optional
        Which images the method learnt from; None where it learnt from none, or where that is not
        known.
    columns : mapping of str to ndarray, each of shape (n_images,)
        What else is said of each image, by column.
    notes : tuple of Note
        What is to be said of it.
    """

    __module__ = "bioprobe"

    images: ImageTable
    rows: Rows
    levels: tuple[Taxonomy, ...]
    best: Rows
    scores: npt.NDArray[np.float32]
    depths: Rows
    threshold: float
    provenance: Provenance
    taught: Mask | None = None
    columns: Mapping[str, npt.NDArray[Any]] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.rows)

    def answer(self, image: int) -> Taxon | None:
        """Return the answer for one of the images, or None."""
        depth = int(self.depths[image])
        return self.levels[depth].taxa[self.best[image, depth]] if depth >= 0 else None

    def reason(self, image: int) -> str:
        """Say which rank passed the threshold and which failed below it."""
        depth, limit = int(self.depths[image]), f"{self.threshold:g}"
        said = []
        if depth >= 0:
            said.append(f"{self._describe(image, depth)} >= {limit}")
        below = (d for d in range(depth + 1, len(self.levels)) if self.best[image, d] >= 0)
        failed = next(below, None)
        if failed is not None:
            said.append(f"{self._describe(image, failed)} < {limit}")
        return "; ".join(said)

    def _describe(self, image: int, depth: int) -> str:
        taxon = self.levels[depth].taxa[self.best[image, depth]]
        return f"{RANKS[depth].value} {taxon.name} {self.scores[image, depth]:.3f}"

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether the answer is the label or an ancestor of it, shape (n_images,); by lineage.

        References
        ----------
        Valmadre 2022, *Hierarchical classification at multiple operating points*.
        """
        right = np.zeros(len(self), dtype=bool)
        for depth in np.unique(self.depths[self.depths >= 0]).tolist():
            answered = self.depths == depth
            classes = Classes.of(self.levels[depth], RANKS[depth])
            truth = classes.find_labels(self.images, self.rows[answered])
            right[answered] = self.best[answered, depth] == truth
        return right

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image, in pybioclip's columns first.

        After ``file_name``, the path, ``common_name`` and ``score`` come ``answer`` (always 1),
        ``row``, ``rank`` of the answer, the score at each rank, and ``reason``.
        """
        import pandas as pd

        answers = [self.answer(image) for image in range(len(self))]
        columns: dict[str, object] = {
            "file_name": self.images.name_files(self.rows),
        }
        for rank in RANKS[: len(self.levels)]:
            if rank is Rank.SPECIES:
                columns["species_epithet"] = [t.epithet if t else "" for t in answers]
            columns[rank.value] = [t.lineage[rank.depth] if t else "" for t in answers]
        columns["common_name"] = [t.common_name if t else "" for t in answers]
        columns["score"] = [
            float(self.scores[image, depth]) if depth >= 0 else np.nan
            for image, depth in enumerate(self.depths)
        ]
        columns |= {"answer": 1, "row": self.rows}
        columns["rank"] = [t.rank.value if t else "" for t in answers]
        for rank, scores in zip(RANKS, self.scores.T, strict=False):
            columns[f"score_{rank.value}"] = scores.astype(np.float64)
        columns["reason"] = [self.reason(image) for image in range(len(self))]
        return pd.DataFrame(columns).assign(**self.columns)


def back_off_rows(
    probabilities: Vectors, positions: Sequence[Rows], threshold: float
) -> tuple[Rows, npt.NDArray[np.float32], Rows]:
    """Find the deepest rank of each row whose summed probability passes a threshold.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (n_images, n_leaves)
        Of the lowest taxa.
    positions : sequence of ndarray of int64, each of shape (n_leaves,)
        Class of each leaf at each rank, from kingdom down; -1 where it has none.
    threshold : float
        In (0, 1].

    Returns
    -------
    best, scores, depths : ndarray
        As :class:`Decisions` has them.
    """
    n_images = len(probabilities)
    images = np.arange(n_images)
    best = np.full((n_images, len(positions)), -1, dtype=np.int64)
    scores = np.full(best.shape, np.nan, dtype=np.float32)
    depths = np.full(n_images, -1, dtype=np.int64)
    sums = [_sum_groups(probabilities, of_leaf) for of_leaf in positions]
    for depth, total in enumerate(sums):
        if total.shape[1]:
            best[:, depth] = total.argmax(axis=1)
            scores[:, depth] = total[images, best[:, depth]]
            # Float32 sums of a certain answer may end just below 1.
            depths[scores[:, depth] >= threshold - 1e-6] = depth
    # The best class of an upper rank need not lie above the answer where a threshold is low.
    for depth, of_leaf in enumerate(positions):
        answered = np.flatnonzero(depths == depth)
        if not answered.size:
            continue
        leaf = np.unique(of_leaf, return_index=True)
        first = dict(zip(leaf[0].tolist(), leaf[1].tolist(), strict=True))
        leaves = np.array([first[place] for place in best[answered, depth].tolist()])
        for upper in range(depth):
            path = positions[upper][leaves]
            best[answered, upper] = path
            named = path >= 0
            scores[answered, upper] = np.nan
            scores[answered[named], upper] = sums[upper][answered[named], path[named]]
    return best, scores, depths


def _sum_groups(probabilities: Vectors, of_leaf: Rows) -> Vectors:
    """Return the sum of each group's columns; leaves without a group (-1) are in none."""
    order = np.argsort(of_leaf, kind="stable")
    order = order[of_leaf[order] >= 0]
    if not order.size:
        return np.zeros((len(probabilities), 0), dtype=np.float32)
    starts = np.unique(of_leaf[order], return_index=True)[1]
    return np.asarray(np.add.reduceat(probabilities[:, order], starts, axis=1))


@dataclasses.dataclass(frozen=True)
class RiskCoverage:
    """Share of wrong answers among those given, as fewer and fewer are given.

    Answers of equal confidence are given together.

    Parameters
    ----------
    confidences : ndarray of float64, shape (n_steps,)
        Confidence from which answers are given, descending.
    coverages : ndarray of float64, shape (n_steps,)
        Share of the images that are answered.
    risks : ndarray of float64, shape (n_steps,)
        Share of wrong answers among these.
    aurc : float
        Mean risk over all coverages; lower is better. Not a number without an image.
    least_aurc : float
        What it would be if every wrong answer were less confident than every right one.

    References
    ----------
    El-Yaniv and Wiener 2010, *On the Foundations of Noise-free Selective Classification*;
    Geifman, Uziel and El-Yaniv 2019, *Bias-Reduced Uncertainty Estimation* (AURC and its excess).
    """

    confidences: Doubles
    coverages: Doubles
    risks: Doubles
    aurc: float
    least_aurc: float

    @property
    def excess_aurc(self) -> float:
        """AURC beyond the least there could be: what the order of confidences costs."""
        return self.aurc - self.least_aurc

    def to_frame(self) -> pd.DataFrame:
        """Return one row a step."""
        import pandas as pd

        return pd.DataFrame(
            {"confidence": self.confidences, "coverage": self.coverages, "risk": self.risks}
        )


def measure_risk_coverage(
    right: npt.NDArray[np.bool_], confidences: npt.NDArray[Any]
) -> RiskCoverage:
    """Measure the risk at every coverage.

    Parameters
    ----------
    right : ndarray of bool, shape (n_images,)
        Whether each answer is right.
    confidences : ndarray of float, shape (n_images,)
        The higher, the sooner an answer is given.

    Examples
    --------
    >>> curve = measure_risk_coverage(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    >>> curve.risks.round(2).tolist(), round(curve.aurc, 3)
    ([0.0, 0.5, 0.33], 0.278)
    """
    steps, n_given, n_wrong = _count_given(right, confidences)
    n = len(right)
    if not n:
        return RiskCoverage(steps, np.zeros(0), np.zeros(0), math.nan, math.nan)
    risks = n_wrong / n_given
    # Among equal confidences any order may be: the mean over all of them is a straight line.
    sizes = np.diff(n_given, prepend=0)
    before = np.repeat(n_wrong - np.diff(n_wrong, prepend=0), sizes)
    rate = np.repeat(np.diff(n_wrong, prepend=0) / sizes, sizes)
    given = np.arange(1, n + 1)
    expected = before + rate * (given - np.repeat(n_given - sizes, sizes))
    total = int(n_wrong[-1])
    least = np.maximum(given - (n - total), 0) / given
    return RiskCoverage(
        steps, n_given / n, risks, float((expected / given).mean()), float(least.mean())
    )


@dataclasses.dataclass(frozen=True)
class ChosenConfidence:
    """A confidence from which answers are given.

    Parameters
    ----------
    confidence : float
        Infinite where none reaches what was asked: no answer is given then.
    wanted_accuracy : float
        What was asked of the answers that are given.
    accuracy : Accuracy
        That of the validation images answered, with its interval.
    n_images : int
        Validation images.
    """

    confidence: float
    wanted_accuracy: float
    accuracy: Accuracy
    n_images: int

    @property
    def coverage_fraction(self) -> float:
        """Share of the validation images that are answered."""
        return self.accuracy.n_images / self.n_images if self.n_images else math.nan

    def accept(self, confidences: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell which answers are given, shape (n_images,)."""
        return np.asarray(confidences >= self.confidence)


def choose_confidence(
    right: npt.NDArray[np.bool_],
    confidences: npt.NDArray[Any],
    accuracy: float,
    *,
    doubt_fraction: float | None = None,
) -> ChosenConfidence:
    """Choose on validation rows the lowest confidence at which answers are right often enough.

    Parameters
    ----------
    right : ndarray of bool, shape (n_images,)
        Whether each answer is right.
    confidences : ndarray of float, shape (n_images,)
        Its probability, or any score.
    accuracy : float
        Least share of right answers among those given: one less the risk, in (0, 1].
    doubt_fraction : float, optional
        Chance, at most, that the answers of new images fall short of it, such as 0.05. By
        default the accuracy on the validation images alone is looked at, and is missed about
        every second time.

    Raises
    ------
    SelectionError
        If a fraction is out of range.

    References
    ----------
    Geifman and El-Yaniv 2017, *Selective Classification for Deep Neural Networks*: a binary
    search with an exact binomial bound at each of its steps (``doubt_fraction``).
    """
    if not 0 < accuracy <= 1 or not (doubt_fraction is None or 0 < doubt_fraction < 1):
        msg = f"accuracy lies in (0, 1], doubt in (0, 1); got {accuracy:g}, {doubt_fraction}"
        raise SelectionError(msg)
    steps, n_given, n_wrong = _count_given(right, confidences)
    if doubt_fraction is None:
        # Fractions such as 0.95 have no exact float.
        passing = np.flatnonzero(n_wrong <= (1 - accuracy) * n_given + 1e-9)
        at = int(passing[-1]) if passing.size else -1
    else:
        at = _search_with_bound(n_given, n_wrong, 1 - accuracy, doubt_fraction)
    if at < 0:
        return ChosenConfidence(math.inf, accuracy, Accuracy(1, 0, 0), len(right))
    n = int(n_given[at])
    measured = Accuracy(1, n - int(n_wrong[at]), n)
    return ChosenConfidence(float(steps[at]), accuracy, measured, len(right))


def _search_with_bound(
    n_given: npt.NDArray[np.int64], n_wrong: npt.NDArray[np.int64], risk: float, doubt: float
) -> int:
    from scipy.stats import beta

    low, high, found = 0, len(n_given) - 1, -1
    n_steps = max(1, math.ceil(math.log2(len(n_given) + 1)))
    while low <= high:
        middle = (low + high) // 2
        n, wrong = int(n_given[middle]), int(n_wrong[middle])
        # Clopper and Pearson's upper bound.
        bound = 1.0 if wrong == n else float(beta.ppf(1 - doubt / n_steps, wrong + 1, n - wrong))
        if bound <= risk:
            found, low = middle, middle + 1
        else:
            high = middle - 1
    return found


def _count_given(
    right: npt.NDArray[np.bool_], confidences: npt.NDArray[Any]
) -> tuple[Doubles, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return distinct confidences, descending, with the answers at or above, and the wrong ones."""
    values, inverse = np.unique(np.asarray(confidences, dtype=np.float64), return_inverse=True)
    given = np.bincount(inverse, minlength=len(values))[::-1].cumsum()
    wrong = np.bincount(inverse[~right], minlength=len(values))[::-1].cumsum()
    return values[::-1], given, wrong


# Confidences that are tried on validation rows: every hundredth.
_N_TRIED = 100


@dataclasses.dataclass(frozen=True)
class RolledUp:
    """One answer an image, at the deepest rank whose summed probability passes a confidence.

    Parameters
    ----------
    levels : tuple of Taxonomy
        Classes at each rank, from kingdom down to that of the classifier.
    best : ndarray of int64, shape (n_images, n_ranks)
        Class at each rank, as in :class:`bioprobe.zeroshot.zeroshot.Decisions`.
    scores : ndarray of float32, shape (n_images, n_ranks)
        Their summed probabilities.
    depths : ndarray of int64, shape (n_images,)
        Rank of the answer, 0 for kingdom; -1 where no rank passes.
    """

    levels: tuple[Taxonomy, ...]
    best: Places
    scores: npt.NDArray[np.float32]
    depths: Places

    def find_right(self, ancestors: Places) -> npt.NDArray[np.bool_]:
        """Tell which answers are the truth or an ancestor of it, shape (n_images,).

        Parameters
        ----------
        ancestors : ndarray of int64, shape (n_images, n_ranks)
            True class at each rank, -1 where unknown: see :func:`find_ancestors`.
        """
        images = np.flatnonzero(self.depths >= 0)
        right = np.zeros(len(self.depths), dtype=bool)
        at = self.depths[images]
        truth = ancestors[images, at]
        right[images] = (truth >= 0) & (self.best[images, at] == truth)
        return right


def roll_up(probabilities: npt.NDArray[Any], classes: Taxonomy, confidence: float) -> RolledUp:
    """Answer each image at the deepest rank whose summed probability passes a confidence.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n_images, n_classes)
        Calibrated, if the confidence is to mean what it says.
    classes : Taxonomy
        In the order of the columns.
    confidence : float
        In (0, 1].

    Raises
    ------
    SelectionError
        If probabilities and classes do not fit each other, or the confidence is out of range.

    References
    ----------
    SpeciesNet, ``geofence_utils.roll_up_labels_to_first_matching_level``; Valmadre 2022,
    *Hierarchical classification at multiple operating points*.
    """
    if probabilities.shape[1] != len(classes) or not 0 < confidence <= 1:
        msg = (
            f"rolling up takes one column a class and a confidence in (0, 1]; got "
            f"{probabilities.shape[1]} columns, {len(classes)} classes, {confidence:g}"
        )
        raise SelectionError(msg)
    return _roll_up(probabilities, _group(classes), confidence)


def decide(predictions: Predictions, confidence: float) -> Decisions:
    """Answer each image of predictions at the deepest rank that passes a confidence.

    Parameters
    ----------
    predictions : Predictions
        With every class.
    confidence : float
        In (0, 1].

    Raises
    ------
    MismatchError
        If only some of the classes were answered.
    SelectionError
        If the confidence is out of range, or the classes are no taxa.
    """
    if predictions.rank is None:
        msg = "classes that are no taxa have no ranks above to answer at"
        raise SelectionError(msg)
    rolled = roll_up(predictions.to_dense(), predictions.classes.taxonomy, confidence)
    return Decisions(
        predictions.images, predictions.rows, rolled.levels, rolled.best, rolled.scores,
        rolled.depths, confidence, predictions.provenance, predictions.taught, predictions.columns,
        predictions.notes,
    )  # fmt: skip


def find_ancestors(classes: Taxonomy, truth: Places) -> Places:
    """Return the true class at each rank down to that of the classes, -1 where unknown.

    Parameters
    ----------
    classes : Taxonomy
        Of the classifier.
    truth : ndarray of int64, shape (n_images,)
        Position in them, -1 where unknown.

    Returns
    -------
    ndarray of int64, shape (n_images, n_ranks)
    """
    table = np.stack([positions for _, positions in _group(classes)], axis=1)
    found = np.full((len(truth), table.shape[1]), -1, dtype=np.int64)
    found[truth >= 0] = table[truth[truth >= 0]]
    return found


def choose_roll_up(
    probabilities: npt.NDArray[Any], classes: Taxonomy, truth: Places, accuracy: float
) -> ChosenConfidence:
    """Choose on validation rows the lowest confidence at which rolled-up answers are right enough.

    An answer is right if it is the label or an ancestor of it; where no rank passes, none is given.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n_images, n_classes)
        Of rows that the classifier did not learn from.
    classes : Taxonomy
        In the order of the columns.
    truth : ndarray of int64, shape (n_images,)
        Position in the classes; rows of -1 are left out.
    accuracy : float
        Least share of right answers among those given, in (0, 1].

    Raises
    ------
    SelectionError
        If no row has a label among the classes, or a fraction is out of range.
    """
    known = truth >= 0
    if not known.any() or not 0 < accuracy <= 1:
        msg = (
            f"choosing takes labelled rows ({known.sum()}) and an accuracy in (0, 1]: {accuracy:g}"
        )
        raise SelectionError(msg)
    values, groups = probabilities[known], _group(classes)
    ancestors, n_known = find_ancestors(classes, truth[known]), int(known.sum())
    chosen = ChosenConfidence(math.inf, accuracy, Accuracy(1, 0, 0), n_known)
    for confidence in np.linspace(1, 0, _N_TRIED, endpoint=False).tolist():
        rolled = _roll_up(values, groups, confidence)
        n = int((rolled.depths >= 0).sum())
        measured = Accuracy(1, int(rolled.find_right(ancestors).sum()), n)
        if n and measured.fraction >= accuracy - 1e-9:
            chosen = ChosenConfidence(confidence, accuracy, measured, n_known)
    return chosen


def _group(classes: Taxonomy) -> list[tuple[Taxonomy, Places]]:
    deepest = max(taxon.depth for taxon in classes)
    return [classes.group(rank) for rank in RANKS[: deepest + 1]]


def _roll_up(
    probabilities: npt.NDArray[Any], groups: list[tuple[Taxonomy, Places]], confidence: float
) -> RolledUp:
    values = np.asarray(probabilities, dtype=np.float32)
    answers = back_off_rows(values, [positions for _, positions in groups], confidence)
    return RolledUp(tuple(level for level, _ in groups), *answers)
