"""Whether probabilities are met: reliability, and the expected calibration error."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.intervals import Accuracy
from bioprobe.types import Doubles

if TYPE_CHECKING:
    import pandas as pd


BINNINGS = ("equal-width", "equal-mass")


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

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap of confidence and accuracy, in [0, 1].

        References
        ----------
        Naeini, Cooper and Hauskrecht 2015, *Obtaining well calibrated probabilities using
        Bayesian binning*; Guo et al. 2017.
        """
        filled = self.n_images > 0
        gaps = np.abs(self.confidences * self.n_images - self.n_right)[filled]
        return float(gaps.sum() / self.n_images.sum()) if filled.any() else float("nan")

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
    binning: str = "equal-width",
) -> Reliability:
    """Measure how often answers of a confidence are right.

    Parameters
    ----------
    right : ndarray of bool, shape (n_images,)
        Whether each answer is right.
    confidences : ndarray of float, shape (n_images,)
        Its probability, in [0, 1].
    n_bins : int
        Bins of confidence, at least 1.
    binning : str
        ``equal-width``, or ``equal-mass``: as many answers in each bin, but that equal
        confidences stay together.

    Raises
    ------
    SelectionError
        If there is no such binning, or the number of bins is below 1.

    Examples
    --------
    >>> right, sure = np.array([True, True, False, True]), np.array([0.9, 0.9, 0.9, 0.4])
    >>> round(measure_reliability(right, sure, n_bins=2).ece, 3)  # (3 · .233 + 1 · .6) / 4
    0.325
    """
    edges = _find_edges(confidences, n_bins, binning)
    bins = _find_bins(confidences, edges)
    n = np.bincount(bins, minlength=n_bins)
    total = np.bincount(bins, weights=confidences, minlength=n_bins)
    means = np.divide(total, n, out=np.full(n_bins, np.nan), where=n > 0)
    return Reliability(edges, n, np.bincount(bins[right], minlength=n_bins), means)


def _find_edges(confidences: npt.NDArray[Any], n_bins: int, binning: str) -> Doubles:
    if binning not in BINNINGS or n_bins < 1:
        msg = f"bins are {' or '.join(BINNINGS)}, 1 or more; got {binning!r}, {n_bins}"
        raise SelectionError(msg)
    edges = np.linspace(0, 1, n_bins + 1)
    if binning == "equal-mass" and len(confidences):
        inner = np.quantile(np.asarray(confidences, dtype=np.float64), edges[1:-1])
        edges = np.concatenate([[0.0], inner, [1.0]])
    return edges


def _find_bins(confidences: npt.NDArray[Any], edges: Doubles) -> npt.NDArray[np.int64]:
    # A bin holds its upper edge, as Guo et al. have it, so that 1 is in the last one.
    inner = np.searchsorted(edges[1:-1], np.asarray(confidences, dtype=np.float64), side="left")
    return np.asarray(inner, dtype=np.int64)
