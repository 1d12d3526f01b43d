"""The pairs nearest to a threshold, by which a person judges it."""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np

from bioprobe.types import Mask, Rows, Vectors

#: Pairs that are shown on either side of a threshold.
SHOWN = 6
#: Below a threshold pairs are looked at as far as this, so that the nearest of them are known.
MARGIN = 0.02


@dataclasses.dataclass(frozen=True, eq=False)
class ClosestPairs:
    """Pairs whose similarity is nearest to a threshold, on either side of it.

    Parameters
    ----------
    threshold : float
        Cosine similarity.
    first, second : ndarray of int64, shape (n_pairs,)
        What is paired, by the numbers that were given.
    similarities : ndarray of float32, shape (n_pairs,)
    same : ndarray of bool, shape (n_pairs,)
        Whether each is taken for copies.
    by_picture : ndarray of bool, shape (n_pairs,)
        Whether the pictures decided, not the vectors alone.
    """

    threshold: float
    first: Rows
    second: Rows
    similarities: Vectors
    same: Mask
    by_picture: Mask

    @classmethod
    def none(cls, threshold: float) -> Self:
        """Return no pairs yet."""
        nothing, no = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
        return cls(threshold, nothing, nothing, np.zeros(0, dtype=np.float32), no, no)

    def __len__(self) -> int:
        return len(self.first)

    def add(
        self, first: Rows, second: Rows, similarities: Vectors, same: Mask, by_picture: Mask
    ) -> Self:
        """Return the nearest of these and of further pairs: those above, the nearest first.

        A pair that comes a second time is left out.
        """
        first, second = np.append(self.first, first), np.append(self.second, second)
        similarities = np.append(self.similarities, similarities)
        same, by_picture = np.append(self.same, same), np.append(self.by_picture, by_picture)
        distances = similarities.astype(np.float64) - self.threshold
        kept = []
        for side in (distances >= 0, distances < 0):
            places = np.flatnonzero(side)
            order = np.lexsort((second[places], first[places], np.abs(distances[places])))
            nearest = places[order[: 2 * SHOWN]]
            pairs = np.stack([first[nearest], second[nearest]], axis=1)
            _, once = np.unique(pairs, axis=0, return_index=True)
            kept.append(nearest[np.sort(once)[:SHOWN]])
        chosen = np.concatenate(kept)
        return dataclasses.replace(
            self, first=first[chosen], second=second[chosen], similarities=similarities[chosen],
            same=same[chosen], by_picture=by_picture[chosen],
        )  # fmt: skip

    def explain(self, at: int) -> str:
        """Say what a pair is taken for, and what decided."""
        by = "their pictures" if self.by_picture[at] else "their vectors alone"
        return f"{'taken for copies' if self.same[at] else 'not taken for copies'} by {by}"
