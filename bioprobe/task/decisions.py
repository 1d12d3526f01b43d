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
from bioprobe.intervals import Accuracy, bound_share, count_effective
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.task.beside import Beside, shorten
from bioprobe.task.predictions import Predictions
from bioprobe.task.scores import sum_columns
from bioprobe.task.target import Classes
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.types import Doubles, Mask, Places, Rows, Scores, Vectors

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.task.also import Also


#: How it is said that a list of what may occur changed an answer.
LEFT_OUT = "the list leaves out"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Decisions(Result):
    """One answer an image, at the deepest rank whose summed probability passes a threshold.

    Of classes that are no taxa it is the best one, where its probability passes.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were asked about.
    levels : tuple of Taxonomy
        Classes at each rank, from kingdom down to the deepest rank that was asked for; empty where
        the classes are no taxa.
    best : ndarray of int64, shape (n_images, n_ranks)
        Class at each rank: down to the answer those of its path, below it the most probable;
        -1 where there is none. Classes that are no taxa are all of one rank.
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
    classes : Classes, optional
        Those that are no taxa.
    beside : Beside, optional
        What stands beside the answers in a table.
    left_out : ndarray of int64, shape (n_images,), optional
        Rank of what would have been answered, and may not occur by a list; -1 where that did not
        change the answer.
    also : Also, optional
        Taxa that are given always, after the answer.
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
    classes: Classes | None = None
    beside: Beside | None = None
    left_out: Places | None = None
    also: Also | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def answer(self, image: int) -> Taxon | None:
        """Return the answer for one of the images, None where there is none or it is no taxon."""
        depth = int(self.depths[image])
        if depth < 0 or self.classes is not None:
            return None
        return self.levels[depth].taxa[int(self.best[image, depth])]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of the answer for each image, ``""`` where there is none."""
        return tuple(
            self._name(image, int(depth)) if depth >= 0 else ""
            for image, depth in enumerate(self.depths)
        )

    def _name(self, image: int, depth: int) -> str:
        place = int(self.best[image, depth])
        if self.classes is not None:
            return self.classes.names[place]
        return self.levels[depth].taxa[place].name

    def reason(self, image: int) -> str:
        """Say which rank passed the threshold and which failed below it."""
        depth, limit = int(self.depths[image]), f"{self.threshold:g}"
        said = []
        if depth >= 0:
            said.append(f"{self._describe(image, depth)} >= {limit}")
        left_out = -1 if self.left_out is None else int(self.left_out[image])
        if left_out >= 0:
            return "; ".join([*said, f"{LEFT_OUT} {self._describe(image, left_out)}"])
        below = (d for d in range(depth + 1, self.best.shape[1]) if self.best[image, d] >= 0)
        failed = next(below, None)
        if failed is not None:
            said.append(f"{self._describe(image, failed)} < {limit}")
        return "; ".join(said)

    def _describe(self, image: int, depth: int) -> str:
        level = RANKS[depth].value if self.classes is None else self.classes.level
        return f"{level} {self._name(image, depth)} {self.scores[image, depth]:.3f}".lstrip()

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
            classes = self.classes or Classes.of(self.levels[depth], RANKS[depth])
            truth = classes.find_labels(self.images, self.rows[answered])
            right[answered] = self.best[answered, depth] == truth
        return right

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image, in pybioclip's columns first.

        After ``file_name``, the path, ``common_name`` and ``score`` come ``answer`` (always 1),
        ``row``, ``rank`` of the answer, the score at each rank, and ``reason``. Classes that are no
        taxa have one column ``classification`` in place of the ranks, empty where there is no
        answer, and one score: that of the best class, answered or not. What stands :attr:`beside`
        comes last.
        """
        frame = self._list_answers()
        if self.also is not None:
            shared = [*self.images.name_rows(self.rows), *self.columns, "row"]
            frame = self.also.add_to(frame, ["row"], shared)
        return frame if self.beside is None else self.beside.complete(frame)

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return one row a picture for reading: its answer, at which rank it is sure, the score."""
        frame = self.to_frame() if frame is None else frame
        if self.also is not None:
            frame = frame[frame["answer"].isna() | (frame["answer"] == 1)]
        return shorten(frame, "classification" if self.classes else "")

    def _list_answers(self) -> pd.DataFrame:
        import pandas as pd

        if self.classes is not None:
            frame = pd.DataFrame(
                {
                    **self.images.name_rows(self.rows),
                    "classification": self.names,
                    "score": self.scores[:, 0].astype(np.float64),
                    "answer": 1,
                    "row": self.rows,
                    "reason": [self.reason(image) for image in range(len(self))],
                }
            )
            return frame.assign(**self.columns)
        answers = [self.answer(image) for image in range(len(self))]
        columns: dict[str, object] = {**self.images.name_rows(self.rows)}
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
    sums = [
        sum_columns(probabilities, of_leaf, int(of_leaf.max(initial=-1)) + 1)
        for of_leaf in positions
    ]
    best, scores = zip(*map(_find_best, sums), strict=True)
    return back_off_sums(
        np.stack(best, axis=1), np.stack(scores, axis=1), sums, positions, threshold
    )


def _find_best(sums: Scores) -> tuple[Places, Scores]:
    """Return the best class of each row and its sum; -1 and not a number where there is none."""
    if not sums.shape[1]:
        return np.full(len(sums), -1, dtype=np.int64), np.full(len(sums), np.nan, dtype=np.float32)
    best = sums.argmax(axis=1)
    return best, sums[np.arange(len(sums)), best]


def back_off_sums(
    best: Places,
    scores: Scores,
    sums: Sequence[Scores],
    positions: Sequence[Places],
    threshold: float,
) -> tuple[Places, Scores, Places]:
    """Find the deepest rank of each row whose best sum passes a threshold, and the path to it.

    Parameters
    ----------
    best : ndarray of int64, shape (n_images, n_ranks)
        Best class at each rank, -1 where there is none.
    scores : ndarray of float32, of the same shape
        Their summed probabilities.
    sums : sequence of ndarray of float32, each of shape (n_images, n_classes)
        Of all classes at each rank; those of the deepest rank are not needed.
    positions : sequence of ndarray of int64, each of shape (n_leaves,)
        Class of each lowest class at each rank; -1 where it has none.
    threshold : float
        In (0, 1].

    Returns
    -------
    best, scores, depths : ndarray
        As :class:`Decisions` has them.
    """
    depths = np.full(len(best), -1, dtype=np.int64)
    for depth in range(best.shape[1]):
        # Float32 sums of a certain answer may end just below 1.
        depths[scores[:, depth] >= threshold - 1e-6] = depth
    _follow_paths(best, scores, depths, sums, positions)
    return best, scores, depths


def _follow_paths(
    best: Places,
    scores: Scores,
    depths: Places,
    sums: Sequence[Scores],
    positions: Sequence[Places],
) -> None:
    """Write into ``best`` and ``scores``, above each answer, what lies above it.

    The best class of an upper rank need not lie above the answer where a threshold is low.
    """
    for depth, of_leaf in enumerate(positions):
        answered = np.flatnonzero(depths == depth)
        if not answered.size:
            continue
        present, firsts = np.unique(of_leaf, return_index=True)
        leaves = firsts[np.searchsorted(present, best[answered, depth])]
        for upper in range(depth):
            path = positions[upper][leaves]
            best[answered, upper] = path
            named = path >= 0
            scores[answered, upper] = np.nan
            scores[answered[named], upper] = sums[upper][answered[named], path[named]]


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

    References
    ----------
    El-Yaniv and Wiener 2010, *On the Foundations of Noise-free Selective Classification*.
    """

    confidences: Doubles
    coverages: Doubles
    risks: Doubles

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
    >>> curve.coverages.round(2).tolist(), curve.risks.round(2).tolist()
    ([0.33, 0.67, 1.0], [0.0, 0.5, 0.33])
    """
    values, inverse = np.unique(np.asarray(confidences, dtype=np.float64), return_inverse=True)
    given = np.bincount(inverse, minlength=len(values))[::-1].cumsum()
    wrong = np.bincount(inverse[~right], minlength=len(values))[::-1].cumsum()
    return RiskCoverage(values[::-1], given / len(right), wrong / given)


@dataclasses.dataclass(frozen=True)
class ChosenConfidence:
    """A confidence from which answers are given, and what it promises.

    Parameters
    ----------
    confidence : float
        Infinite where none is shown to reach what was asked: no answer is given then.
    accuracy : Accuracy
        That of the held-out images answered.
    n_images : int
        Held-out images.
    bound : float
        Share of wrong answers that is not passed with the chance; 1 where nothing is promised.
    n_units : float
        Units that the held-out images are: images, or, where these come in groups, groups.
    n_needed : float
        Units, all of them right, that are the fewest to promise the accuracy with the chance.
    """

    confidence: float
    accuracy: Accuracy
    n_images: int
    bound: float
    n_units: float
    n_needed: float

    @property
    def coverage_fraction(self) -> float:
        """Share of the held-out images that are answered."""
        return self.accuracy.n_images / self.n_images if self.n_images else math.nan


#: Chance with which a chosen confidence keeps what it promises.
CHANCE = 0.95
# Confidences that are tried, from the strictest down: near 1, then every hundredth.
_TRIED = (1.0, 0.9999, 0.9995, 0.999, 0.998, 0.995, *(place / 100 for place in range(99, 0, -1)))
# With so many times the units that suffice without an error, five errors are allowed.
_ALLOWING = 3.5


def decide(predictions: Predictions, confidence: float) -> Decisions:
    """Answer each image of predictions at the deepest rank that passes a confidence.

    Classes that are no taxa have one rank: the best class is answered, or none.

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
        If the confidence is out of range.
    """
    if not 0 < confidence <= 1:
        msg = f"an answer is given from a confidence in (0, 1], got {confidence:g}"
        raise SelectionError(msg)
    levels, positions = group_classes(predictions.classes)
    best, scores, depths = back_off_rows(predictions.to_dense(), positions, confidence)
    # What is said of each answer by itself is not said of a sum.
    columns = {name: one for name, one in predictions.columns.items() if one.ndim == 1}
    return Decisions(
        predictions.images, predictions.rows, levels, best, scores, depths, confidence,
        predictions.provenance, predictions.taught, columns, predictions.notes,
        None if levels else predictions.classes, predictions.beside,
    )  # fmt: skip


def choose_roll_up(
    probabilities: npt.NDArray[Any],
    classes: Classes,
    truth: Places,
    accuracy: float,
    groups: Places | None = None,
) -> ChosenConfidence:
    """Choose on held-out rows the lowest confidence at which answers are right often enough.

    An answer is right if it is the label or an ancestor of it; where no rank passes, none is given.
    Of other images drawn as these were, at least this share of the answers is right, with the
    chance :data:`CHANCE` over the draw of the held-out images: a fixed list of confidences is
    tested from the strictest down, each by the exact binomial bound of its share of wrong answers,
    and the last before the first that fails is chosen. Confidences at which too few are answered
    for a test that could pass, or that a few errors would end (of few held-out images: fewer
    than half of them), are passed over, which takes no label.

    Where images come in groups, a group counts as one: the bound is that of as many images as
    there are groups of one size, as if all answers within a group were right or wrong together.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n_images, n_classes)
        Of rows that the classifier did not learn from.
    classes : Classes
        In the order of the columns.
    truth : ndarray of int64, shape (n_images,)
        Position in the classes; rows of -1 are left out.
    accuracy : float
        Least share of right answers among those given, in (0, 1].
    groups : ndarray of int64, shape (n_images,), optional
        Group of each image; by default each is on its own.

    Raises
    ------
    SelectionError
        If no row has a label among the classes, or a fraction is out of range.

    References
    ----------
    Angelopoulos et al. 2021, *Learn then Test: Calibrating Predictive Algorithms to Achieve Risk
    Control* (fixed-sequence testing); Geifman and El-Yaniv 2017, *Selective Classification for Deep
    Neural Networks* (a guaranteed risk); SpeciesNet,
    ``geofence_utils.roll_up_labels_to_first_matching_level``; Valmadre 2022, *Hierarchical
    classification at multiple operating points*.
    """
    known = truth >= 0
    if not known.any() or not 0 < accuracy <= 1:
        msg = (
            f"choosing takes labelled rows ({known.sum()}) and an accuracy in (0, 1]: {accuracy:g}"
        )
        raise SelectionError(msg)
    values, n_known = np.asarray(probabilities[known], dtype=np.float32), int(known.sum())
    own = np.arange(n_known) if groups is None else groups[known]
    _, positions = group_classes(classes)
    ancestors = np.stack(positions, axis=1)[truth[known]]
    needed = math.log(1 - CHANCE) / math.log(accuracy) if accuracy < 1 else math.inf
    n_units = count_effective(own)
    chosen = ChosenConfidence(math.inf, Accuracy(1, 0, 0), n_known, 1.0, n_units, needed)
    first, begun = max(needed, min(_ALLOWING * needed, n_units / 2)), False
    if n_units < needed:
        return chosen
    for confidence in _TRIED:
        best, _, depths = back_off_rows(values, positions, confidence)
        answered = np.flatnonzero(depths >= 0)
        units = count_effective(own[answered])
        begun |= units >= first
        if not begun:
            continue
        at = depths[answered]
        n_right = int((best[answered, at] == ancestors[answered, at]).sum())
        measured = Accuracy(1, n_right, len(answered))
        bound = bound_share((1 - measured.fraction) * units, units, CHANCE)
        if bound > 1 - accuracy:
            break
        chosen = ChosenConfidence(confidence, measured, n_known, bound, n_units, needed)
    return chosen


def group_classes(classes: Classes) -> tuple[tuple[Taxonomy, ...], tuple[Places, ...]]:
    """Return the classes at each rank down to the deepest, and where each class belongs.

    Classes that are no taxa have no tree, and one rank: themselves.
    """
    if classes.rank is None:
        return (), (np.arange(len(classes)),)
    deepest = max(taxon.depth for taxon in classes)
    levels, positions = zip(*map(classes.taxonomy.group, RANKS[: deepest + 1]), strict=True)
    return levels, positions
