"""Logits of a known temperature, and their true classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrators import to_probabilities


def draw_logits(
    n: int, n_classes: int = 8, *, temperature: float = 1.0, spread: float = 2.0, seed: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Draw logits whose softmax at a temperature is the chance of each class, and the class."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, spread, (n, n_classes))
    chances = np.cumsum(to_probabilities(logits / temperature).astype(np.float64), axis=1)
    truth = (random.random((n, 1)) * chances[:, -1:] > chances).sum(axis=1)
    return logits, truth.astype(np.int64)
