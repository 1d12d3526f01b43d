"""A method that has learnt, whatever kind it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.classify.predictions import Predictions

Rows = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Learnt:
    """A method that has learnt what it can from a split.

    Parameters
    ----------
    method : str
        Its name.
    settings : dict
        What was chosen, JSON-ready.
    n_training : int
        Images learnt from; 0 for zero-shot.
    answer : callable
        From rows of the store to :class:`Predictions` of all classes, in the order of the rows.
    """

    method: str
    settings: dict[str, Any]
    n_training: int
    answer: Callable[[Rows], Predictions]
