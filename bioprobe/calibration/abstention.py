"""When not to answer: risk against coverage, and a confidence that keeps a promise."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.classify.accuracy import Accuracy
from bioprobe.errors import SelectionError

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]


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

    confidences: Floats
    coverages: Floats
    risks: Floats
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
) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return distinct confidences, descending, with the answers at or above, and the wrong ones."""
    values, inverse = np.unique(np.asarray(confidences, dtype=np.float64), return_inverse=True)
    given = np.bincount(inverse, minlength=len(values))[::-1].cumsum()
    wrong = np.bincount(inverse[~right], minlength=len(values))[::-1].cumsum()
    return values[::-1], given, wrong
