"""Most unlike what is labelled: greedy k-centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioprobe.reviewing.pool import Ranked
from bioprobe.task.lazy_rows import AnyRows, average_rows
from bioprobe.types import Places, Scores

if TYPE_CHECKING:
    from bioprobe.reviewing.desk import Desk

# Pictures farthest from what is labelled that are compared with each new centre.
_CANDIDATES = 512


def rank_by_coverage(desk: Desk, n: int) -> Ranked:
    """Return the pictures farthest from all that are labelled and from those before them.

    References
    ----------
    Gonzalez 1985, *Clustering to Minimize the Maximum Intercluster Distance*; Sener and Savarese
    2018, *Active Learning for Convolutional Neural Networks: A Core-Set Approach*.
    """
    pool = desk.pool
    asked = np.flatnonzero(pool.waiting)
    if not len(asked):
        return Ranked.of(asked, ())
    near = desk.nearest.similarities[:, 0]
    if not np.isfinite(near[asked[0]]):
        # Nothing is labelled: begin in the middle.
        middle = average_rows(pool.vectors[asked]).astype(np.float32)
        near = np.where(np.isfinite(near), near, -1 - pool.compare(middle))
        first = "nearest to the middle of all"
    else:
        first = ""
    places, similarities = choose_centres(pool.vectors, asked, near, n)
    reasons = [f"its nearest labelled picture is {one:.2f} like it" for one in similarities]
    if first:
        reasons[:1] = [first]
    return Ranked.of(places, reasons)


def choose_centres(vectors: AnyRows, asked: Places, near: Scores, n: int) -> tuple[Places, Scores]:
    """Choose pictures one by one, each the least similar to all that are covered so far.

    Only pictures that can still be the next are compared: similarity to what is covered never
    falls, so what lies behind the farthest of all others cannot be it.

    Parameters
    ----------
    vectors : ndarray of float32 or LazyRows, shape (n_images, dim), unit rows
    asked : ndarray of int64, shape (n_asked,)
        Places that may be chosen.
    near : ndarray of float32, shape (n_images,)
        Similarity of each to the nearest that is covered.
    n : int

    Returns
    -------
    places : ndarray of int64, shape (min(n, n_asked),)
    similarities : ndarray of float32, of the same shape
        To the nearest that was covered when it was chosen.
    """
    n = min(n, len(asked))
    order = asked[np.argsort(near[asked], kind="stable")]
    taken: list[int] = []
    values: list[float] = []
    size = min(len(order), max(_CANDIDATES, 2 * n))
    chunk, own = order[:size], near[order[:size]].copy()
    held = np.asarray(vectors[chunk])
    while len(taken) < n:
        at = int(own.argmin())
        beyond = near[order[size]] if size < len(order) else np.inf
        if own[at] > beyond:
            # One outside may be farther: take in as many again, compared with all chosen.
            more = order[size : 2 * size]
            size += len(more)
            theirs, further = near[more].copy(), np.asarray(vectors[more])
            if taken:
                np.maximum(theirs, (further @ held[taken].T).max(axis=1), out=theirs)
            chunk, own = np.concatenate([chunk, more]), np.concatenate([own, theirs])
            held = np.concatenate([held, further])
            continue
        taken.append(at)
        values.append(float(own[at]))
        np.maximum(own, held @ held[at], out=own)
        own[at] = np.inf
    return chunk[taken], np.array(values, dtype=np.float32)
