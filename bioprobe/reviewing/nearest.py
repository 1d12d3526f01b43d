"""The nearest pictures that teach of each picture, kept up to date as more do."""

from __future__ import annotations

import numpy as np

from bioprobe.task.lazy_rows import AnyRows, iter_parts
from bioprobe.types import Doubles, Places, Scores

# Neighbours that vote.
N_NEIGHBORS = 5
# What a vote weighs: e to the similarity over this.
_TEMPERATURE = 0.07
_ROWS, _COLUMNS = 8_192, 2_048


class Nearest:
    """Nearest taught pictures; only what is new is compared.

    Parameters
    ----------
    vectors : ndarray of float32 or LazyRows, shape (n_images, dim), unit rows
    """

    def __init__(self, vectors: AnyRows) -> None:
        self._vectors = vectors
        self._is_known = np.zeros(len(vectors), dtype=bool)
        #: Places of the nearest, shape (n_images, N_NEIGHBORS), -1 where there are fewer.
        self.places: Places = np.full((len(vectors), N_NEIGHBORS), -1, dtype=np.int64)
        #: Their similarities, -inf where there are fewer.
        self.similarities: Scores = np.full(self.places.shape, -np.inf, dtype=np.float32)

    def update(self, taught: Places) -> None:
        """Make these the pictures that teach.

        Parameters
        ----------
        taught : ndarray of int64, shape (n_taught,)
            Places, ascending.
        """
        is_taught = np.zeros(len(self._vectors), dtype=bool)
        is_taught[taught] = True
        gone = self._is_known & ~is_taught
        if gone.any():
            # Who had one of these for a neighbour is compared with all again.
            had = np.flatnonzero(gone[self.places].any(axis=1) & (self.places[:, 0] >= 0))
            self.places[had], self.similarities[had] = -1, -np.inf
            self._add(had, np.flatnonzero(self._is_known & is_taught))
        self._add(np.arange(len(self._vectors)), np.flatnonzero(is_taught & ~self._is_known))
        self._is_known = is_taught

    def _add(self, asked: Places, new: Places) -> None:
        import torch

        numbers = [torch.from_numpy(new[part]) for part in iter_parts(len(new), _COLUMNS)]
        others = [torch.from_numpy(np.asarray(self._vectors[one.numpy()])).T for one in numbers]
        others = [one.contiguous() for one in others]
        for part in iter_parts(len(asked) if numbers else 0, _ROWS):
            rows = asked[part]
            vectors = torch.from_numpy(np.asarray(self._vectors[rows]))
            for number, other in zip(numbers, others, strict=True):
                found = vectors @ other
                # No picture is its own neighbour.
                found.masked_fill_(torch.from_numpy(rows)[:, None] == number, -torch.inf)
                k = min(N_NEIGHBORS, found.shape[1])
                near, at = found.topk(k, dim=1)
                both = np.concatenate([self.similarities[rows], near.numpy()], axis=1)
                places = np.concatenate([self.places[rows], number[at].numpy()], axis=1)
                order = np.argsort(-both, axis=1, kind="stable")[:, :N_NEIGHBORS]
                self.similarities[rows] = np.take_along_axis(both, order, axis=1)
                self.places[rows] = np.take_along_axis(places, order, axis=1)

    def vote(self, labels: Places) -> tuple[Places, Doubles]:
        """Return the class that the neighbours of each picture vote for, and its share.

        Parameters
        ----------
        labels : ndarray of int64, shape (n_images,)
            Class that each picture teaches.

        Returns
        -------
        classes : ndarray of int64, shape (n_images,)
            -1 where there is no neighbour.
        shares : ndarray of float64, shape (n_images,)
            Of the weight of all votes.
        """
        votes = np.where(self.places >= 0, labels[self.places], -1)
        highest = np.maximum(self.similarities[:, :1], -1)
        weights = np.exp((self.similarities - highest) / _TEMPERATURE).astype(np.float64)
        weights[votes < 0] = 0
        same = votes[:, :, np.newaxis] == votes[:, np.newaxis, :]
        sums = (same * weights[:, np.newaxis, :]).sum(axis=2)
        at = sums.argmax(axis=1)
        total = np.maximum(weights.sum(axis=1), np.finfo(np.float64).tiny)
        rows = np.arange(len(votes))
        return votes[rows, at], sums[rows, at] / total
