"""Least certain, and no two alike: pictures that stand for answers that are probably wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioprobe.reviewing.pool import Ranked, take_least
from bioprobe.task.lazy_rows import AnyRows
from bioprobe.types import Places, Scores

if TYPE_CHECKING:
    from bioprobe.reviewing.desk import Desk

# The least certain pictures among which is chosen: so many for each, but no more than this share.
_FOR_EACH, _MOST_SHARE = 8, 0.25
# Before anything answers, pictures that are chosen among, by lot where there are more.
_MOST_AT_FIRST = 2_000
# Similarities are raised to this: only what is much alike stands for another.
_POWER = 8
# What a certain answer weighs, so that there is an order even where all are.
_LEAST_WEIGHT = 1e-6


def rank_by_doubt(desk: Desk, n: int) -> Ranked:
    """Return pictures that stand for as many wrong answers as can be expected.

    Margin alone shows many pictures of one kind at once, and odd ones; where few are labelled that
    is worse than chance. So of the least certain, eight for each that is wanted and a quarter of
    all at most, those are taken one by one that add most to how well all of them are represented.
    Each weighs the chance that its answer is wrong: else the many that are hardly in doubt, which
    in a long tail are of the commonest class, would be represented first. Before anything answers,
    all weigh the same.

    References
    ----------
    Wei, Iyer and Bilmes 2015, *Submodularity in Data Subset Selection and Active Learning*
    (facility location over what is least certain).
    """
    pool = desk.pool
    asked = np.flatnonzero(pool.waiting)
    if pool.has_answers:
        n_asked = min(_FOR_EACH * n, round(_MOST_SHARE * len(asked)))
        asked = take_least(pool.margins, asked, max(n_asked, n))
        weights = np.maximum(1 - pool.scores[asked, 0], _LEAST_WEIGHT)
        covered = np.zeros(len(asked), dtype=np.float32)
    else:
        if len(asked) > _MOST_AT_FIRST:
            asked = np.sort(desk.random.permutation(asked)[:_MOST_AT_FIRST])
        weights = np.ones(len(asked), dtype=np.float32)
        covered = np.maximum(desk.nearest.similarities[asked, 0], 0)
    places, counts = choose_representatives(pool.vectors, asked, weights, covered, n)
    return Ranked.of(places, [
        _explain(desk, place, n_like) for place, n_like in zip(places.tolist(), counts, strict=True)
    ])  # fmt: skip


def _explain(desk: Desk, place: int, n_like: int) -> str:
    pool = desk.pool
    stands = f"it stands for {n_like:,} in doubt" if n_like > 1 else "no other in doubt is like it"
    first, second = pool.best[place].tolist()
    if second < 0:
        return stands
    gap = float(pool.margins[place])
    return f"{pool.names[first]} is {gap:.2f} ahead of {pool.names[second]}; {stands}"


def choose_representatives(
    vectors: AnyRows, asked: Places, weights: Scores, covered: Scores, n: int
) -> tuple[Places, list[int]]:
    """Choose those of some pictures, one by one, that represent most of what is not yet.

    Parameters
    ----------
    vectors : ndarray of float32 or LazyRows, shape (n_images, dim), unit rows
    asked : ndarray of int64, shape (n_asked,)
        Places that may be chosen, and are to be represented.
    weights : ndarray of float32, shape (n_asked,)
        What it is worth to represent each, above 0.
    covered : ndarray of float32, shape (n_asked,)
        Similarity of each to the nearest that represents it already, at least 0.
    n : int

    Returns
    -------
    places : ndarray of int64, shape (min(n, n_asked),)
    counts : list of int
        Of how many each is the nearest of all that were chosen.
    """
    n = min(n, len(asked))
    if n <= 0:
        return asked[:0], []
    own = np.asarray(vectors[asked])
    alike = np.maximum(own @ own.T, 0) ** _POWER
    best = covered.astype(np.float32) ** _POWER
    taken: list[int] = []
    for _ in range(n):
        gains = np.maximum(alike - best, 0) @ weights
        gains[taken] = -1
        taken.append(int(gains.argmax()))
        np.maximum(best, alike[taken[-1]], out=best)
    nearest = alike[taken].argmax(axis=0)
    return asked[taken], np.bincount(nearest, minlength=n).tolist()
