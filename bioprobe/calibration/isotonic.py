"""Isotonic calibration, one class against the rest."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrator import (
    Arrays,
    Logits,
    Probabilities,
    take_known,
    to_probabilities,
)


@dataclasses.dataclass(frozen=True)
class IsotonicScaling:
    """A rising curve for each class, from its probability to the share that was right.

    The probabilities of a row are made to add up to 1. A class that no validation row has keeps
    its own.

    Parameters
    ----------
    positions, levels : ndarray of float64, shape (n_points,)
        Points of the curves, class after class: probability before, and after.
    starts : ndarray of int64, shape (n_classes + 1,)
        First point of each class.

    References
    ----------
    Zadrozny and Elkan 2002, *Transforming classifier scores into accurate multiclass probability
    estimates*.
    """

    kind: ClassVar[str] = "isotonic"
    positions: npt.NDArray[np.float64]
    levels: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]

    @classmethod
    def fit(cls, logits: Logits, truth: npt.NDArray[np.int64]) -> Self:
        """Fit the curves to validation rows.

        Parameters
        ----------
        logits : ndarray of float, shape (n_images, n_classes)
            Of rows that the classifier did not learn from.
        truth : ndarray of int64, shape (n_images,)
            Column of the true class, -1 where it is unknown or none of them.

        Raises
        ------
        SelectionError
            If no row has a known class.
        """
        from sklearn.isotonic import IsotonicRegression

        known, classes = take_known(logits, truth)
        probabilities = to_probabilities(known).astype(np.float64)
        # What few validation rows never showed is not impossible.
        least = 1 / (probabilities.size + 2)
        positions, levels = [], []
        for c in range(known.shape[1]):
            right = (classes == c).astype(np.float64)
            x, y = np.array([0.0, 1.0]), np.array([0.0, 1.0])
            if right.any():
                curve = IsotonicRegression(y_min=least, y_max=1, out_of_bounds="clip")
                curve.fit(probabilities[:, c], right)
                x, y = curve.X_thresholds_, curve.y_thresholds_
            positions.append(x)
            levels.append(y)
        starts = np.cumsum([0, *map(len, positions)])
        return cls(np.concatenate(positions), np.concatenate(levels), starts)

    def calibrate(self, logits: Logits) -> Probabilities:
        """Return the probabilities, shape (n_images, n_classes); rows add up to 1."""
        raw = to_probabilities(logits)
        risen = np.empty(raw.shape)
        for c, (start, end) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            risen[:, c] = np.interp(raw[:, c], self.positions[start:end], self.levels[start:end])
        total = risen.sum(axis=1, keepdims=True)
        return np.asarray(risen / total if raw.size else risen, dtype=np.float32)

    def to_arrays(self) -> Arrays:
        """Return what was learnt as arrays."""
        return {"positions": self.positions, "levels": self.levels, "starts": self.starts}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Take what :meth:`to_arrays` returned."""
        return cls(arrays["positions"], arrays["levels"], arrays["starts"])
