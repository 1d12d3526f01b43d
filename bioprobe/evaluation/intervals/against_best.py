"""Which ways of answering are worse than the best one, and which only had less luck."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.evaluation.intervals.paired import (
    adjust_by_holm,
    count_disagreements,
    measure_mcnemar,
)

SIGNIFICANCE_LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class AgainstBest:
    """One way of answering beside the best, on the same images.

    Parameters
    ----------
    difference : float
        Its accuracy less that of the best; at most 0.
    n_only_best, n_only_this : int
        Images that one of the two alone has right.
    p_value : float
        That both are right equally often, adjusted.
    """

    difference: float
    n_only_best: int
    n_only_this: int
    p_value: float

    @property
    def is_worse(self) -> bool:
        """Whether chance alone would seldom make it so much worse."""
        return self.p_value < SIGNIFICANCE_LEVEL


def compare_with_best(right: Sequence[npt.NDArray[np.bool_]]) -> list[AgainstBest]:
    """Compare the best of several ways of answering with each of the others.

    The best was found on the same images, so any two could have come to be compared: the p-values
    are adjusted for all pairs, not for those with the best only.

    Parameters
    ----------
    right : sequence of ndarray of bool, shape (n_images,)
        Which images each has right, the best first.

    Returns
    -------
    list of AgainstBest
        Of all but the first, in their order.

    References
    ----------
    McNemar 1947, *Note on the sampling error of the difference between correlated proportions or
    percentages* (in its exact form); Holm 1979, *A simple sequentially rejective multiple test
    procedure*.

    Examples
    --------
    >>> best = np.array([True] * 8 + [False])
    >>> compare_with_best([best, ~best])[0].p_value
    0.0390625
    """
    pairs = list(itertools.combinations(range(len(right)), 2))
    counts = [count_disagreements(right[first], right[second]) for first, second in pairs]
    adjusted = adjust_by_holm([measure_mcnemar(*count) for count in counts])
    return [
        AgainstBest((only_this - only_best) / len(right[0]), only_best, only_this, p_value)
        for (first, _), (only_best, only_this), p_value in zip(pairs, counts, adjusted, strict=True)
        if first == 0
    ]
