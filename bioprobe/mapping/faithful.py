"""How much of what is near stays near on a map."""

from __future__ import annotations

import dataclasses

import numpy as np

from bioprobe.intervals import Draws, Interval, Resamples, draw_scores, find_interval
from bioprobe.types import Doubles, Rows, Scores, Vectors

#: Neighbours that are looked at.
N_NEIGHBORS = 15
# Numbers that are held at once.
_HELD = 1 << 24


@dataclasses.dataclass(frozen=True)
class Faith:
    """What a map keeps of the neighbourhoods of the vectors.

    Parameters
    ----------
    trustworthiness : Interval
        1 where no image lies near that is not alike: of those that intrude it is counted how far
        away they really are.
    continuity : Interval
        1 where no image lies far that is alike.
    kept : Interval
        Share of the nearest by their vectors that are the nearest on the map.
    n_neighbors : int
        How many of the nearest were looked at.
    n_sample : int
        Images that were drawn, each compared with all of the map.
    """

    trustworthiness: Interval
    continuity: Interval
    kept: Interval
    n_neighbors: int
    n_sample: int


def judge_layout(
    vectors: Vectors, layout: Doubles, sample: Rows, *, n_neighbors: int = N_NEIGHBORS
) -> Faith:
    r"""Measure what a map keeps of the neighbourhoods of a sample.

    The trustworthiness is :math:`1 - \frac{2}{m k (2n - 3k - 1)} \sum_i \sum_j (r(i, j) - k)`
    over the :math:`m` images of the sample and those of the :math:`k` nearest on the map that are
    none of the :math:`k` nearest by their vectors, :math:`r` being their rank by these among all
    :math:`n`; the continuity is the same with map and vectors exchanged. With all images as
    sample it is what scikit-learn's ``trustworthiness`` returns.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    layout : ndarray of float64, shape (n, 2)
    sample : ndarray of int64, shape (n_sample,)
        Places of images whose neighbours are looked at.
    n_neighbors : int
        Fewer than half of the images are.

    References
    ----------
    Venna and Kaski 2001, *Neighborhood preservation in nonlinear projection methods*.
    """
    n = len(vectors)
    k = max(1, min(n_neighbors, (n - 1) // 2))
    trust, continuity, kept = (np.ones(len(sample)) for _ in range(3))
    if n < 3:
        return Faith(_average(trust), _average(continuity), _average(kept), k, len(sample))
    at_once = max(1, _HELD // n)
    scale = 2 / (k * (2 * n - 3 * k - 1))
    for start in range(0, len(sample), at_once):
        part = sample[start : start + at_once]
        here = slice(start, start + len(part))
        by_vector = -(vectors[part] @ vectors.T).astype(np.float64)
        by_map = np.stack([np.square(layout - layout[one]).sum(axis=1) for one in part])
        for one in (by_vector, by_map):
            one[np.arange(len(part)), part] = -np.inf
        ranks = [_rank(one) for one in (by_vector, by_map)]
        near = [(one <= k) & (one > 0) for one in ranks]
        trust[here] = 1 - scale * (np.where(near[1] & ~near[0], ranks[0] - k, 0)).sum(axis=1)
        continuity[here] = 1 - scale * (np.where(near[0] & ~near[1], ranks[1] - k, 0)).sum(axis=1)
        kept[here] = (near[0] & near[1]).sum(axis=1) / k
    return Faith(_average(trust), _average(continuity), _average(kept), k, len(sample))


def _rank(distances: Doubles) -> Rows:
    """Return the rank of each by its distance, 0 of the image itself."""
    order = np.argsort(distances, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
    return ranks


def _average(values: Doubles) -> Interval:
    def score(weights: Scores) -> dict[str, Doubles]:
        return {"mean": np.asarray(weights @ values / weights.sum(axis=1), dtype=np.float64)}

    groups = np.full(len(values), "", dtype=object)
    drawn: Draws = draw_scores(score, Resamples.of_groups(groups, 1000, 0))["mean"]
    return find_interval(drawn)
