"""Which labelled pictures a review learns from, where there are more than it can wait for."""

from __future__ import annotations

import numpy as np

from bioprobe.reviewing.pool import Pool
from bioprobe.types import Places

#: Pictures that are learnt from at most: a pass over them takes a fifth of a second of one core at
#: 512 numbers and 200 classes, and there are some tens of passes.
MOST_TAUGHT = 20_000


def choose_teaching(pool: Pool, seed: int, most: int = MOST_TAUGHT) -> Places:
    """Return the labelled pictures that are learnt from: all, or of more than so many a draw.

    The latest of what people said come first, up to half of them. Of the rest every second one is
    drawn by class, of each in turns, and the others by lot: so a rare class teaches all that it
    has, and a common one most. Drawn by class alone, common classes of a long tail would lose more
    than the rare gain; by lot alone, rare ones would be lost. Pictures of one group, such as
    copies, are drawn together: what is not drawn can be answered by what is. The same seed draws
    the same, whatever else gets a label.

    Parameters
    ----------
    pool : Pool
    seed : int
    most : int
        Pictures, and as many more as the last group has.

    Returns
    -------
    ndarray of int64, shape (n,)
        Places, ascending.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 2])
    >>> pool = Pool.of(np.eye(8, dtype=np.float32), ["fox", "ibex", "lynx"], labels)
    >>> labels[choose_teaching(pool, 0, most=6)].tolist()
    [0, 0, 0, 0, 1, 2]
    """
    taught = pool.taught
    if len(taught) <= most:
        return taught
    drawn = np.random.default_rng(seed).permutation(len(pool))[taught]
    by_class = _rank(np.lexsort((drawn, _number_in_class(pool.labels[taught], drawn))))
    keys = np.minimum(2 * by_class, 2 * _rank(np.argsort(drawn)) + 1)
    said = pool.said[taught]
    latest = np.argsort(said, kind="stable")[-(most // 2) :]
    latest = latest[said[latest] >= 0]
    keys[latest] = np.arange(-len(latest), 0)
    groups = np.arange(len(taught))
    if pool.groups is not None:
        own = pool.groups[taught]
        groups = np.unique(np.where(own < 0, -1 - groups, own), return_inverse=True)[1]
        # All of a group stand where the first of it does.
        first = np.full(int(groups.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, groups, keys)
        keys = first[groups]
    order = np.argsort(keys, kind="stable")
    last = np.flatnonzero(groups == groups[order[most - 1]])
    return taught[np.union1d(order[:most], last)]


def _rank(order: Places) -> Places:
    """Return where each stands in an order."""
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _number_in_class(labels: Places, drawn: Places) -> Places:
    """Return how many of its class stand before each in the order that was drawn."""
    order = np.lexsort((drawn, labels))
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    sizes = np.diff(starts, append=len(labels))
    turns = np.empty(len(labels), dtype=np.int64)
    turns[order] = np.arange(len(labels)) - np.repeat(starts, sizes)
    return turns
