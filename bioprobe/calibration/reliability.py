"""Whether probabilities are met: reliability."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.intervals import Accuracy
from bioprobe.types import Doubles

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How often answers of a confidence are right.

    Parameters
    ----------
    edges : ndarray of float64, shape (n_bins + 1,)
        Confidences between which the bins lie.
    n_images : ndarray of int64, shape (n_bins,)
        Answers in each bin.
    n_right : ndarray of int64, shape (n_bins,)
        Those that are right.
    confidences : ndarray of float64, shape (n_bins,)
        Mean confidence in each bin; not a number in an empty one.
    """

    edges: Doubles
    n_images: npt.NDArray[np.int64]
    n_right: npt.NDArray[np.int64]
    confidences: Doubles

    def to_frame(self) -> pd.DataFrame:
        """Return one row a bin: edges, images, confidence, accuracy and its Wilson interval."""
        import pandas as pd

        measured = [
            Accuracy(1, int(right), int(n))
            for right, n in zip(self.n_right, self.n_images, strict=True)
        ]
        return pd.DataFrame(
            {
                "from": self.edges[:-1],
                "to": self.edges[1:],
                "n_images": self.n_images,
                "confidence": self.confidences,
                "accuracy": [one.fraction for one in measured],
                "low": [one.interval[0] for one in measured],
                "high": [one.interval[1] for one in measured],
            }
        )


def measure_reliability(
    right: npt.NDArray[np.bool_],
    confidences: npt.NDArray[Any],
    *,
    n_bins: int = 15,
) -> Reliability:
    """Measure how often answers of a confidence are right.

    Parameters
    ----------
    right : ndarray of bool, shape (n_images,)
        Whether each answer is right.
    confidences : ndarray of float, shape (n_images,)
        Its probability, in [0, 1].
    n_bins : int
        Bins of confidence, at least 1; as many answers in each, but that equal confidences stay
        together.

    Examples
    --------
    >>> right, sure = np.array([True, True, False, True]), np.array([0.9, 0.9, 0.9, 0.4])
    >>> found = measure_reliability(right, sure, n_bins=2)
    >>> found.confidences.round(2).tolist(), found.n_right.tolist()
    ([0.82, nan], [3, 0])
    """
    values = np.asarray(confidences, dtype=np.float64)
    edges = np.linspace(0, 1, n_bins + 1)
    if len(values):
        edges[1:-1] = np.quantile(values, edges[1:-1])
    # A bin holds its upper edge, as Guo et al. have it, so that 1 is in the last one.
    bins = np.searchsorted(edges[1:-1], values, side="left")
    n = np.bincount(bins, minlength=n_bins)
    total = np.bincount(bins, weights=confidences, minlength=n_bins)
    means = np.divide(total, n, out=np.full(n_bins, np.nan), where=n > 0)
    return Reliability(edges, n, np.bincount(bins[right], minlength=n_bins), means)
