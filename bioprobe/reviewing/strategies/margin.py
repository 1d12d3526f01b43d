"""Least certain: the two best classes of a picture are nearly as probable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioprobe.reviewing.pool import Ranked, take_least

if TYPE_CHECKING:
    from bioprobe.reviewing.desk import Desk


def rank_by_margin(desk: Desk, n: int) -> Ranked:
    """Return the pictures whose best class is least ahead of the second.

    References
    ----------
    Scheffer, Decomain and Wrobel 2001, *Active Hidden Markov Models for Information Extraction*.
    """
    pool = desk.pool
    if not pool.has_answers:
        return Ranked.of(np.zeros(0, dtype=np.int64), ())
    asked = np.flatnonzero(pool.waiting & (pool.best[:, 0] >= 0))
    places = take_least(pool.margins, asked, n)
    return Ranked.of(places, [_explain(desk, int(one)) for one in places])


def _explain(desk: Desk, place: int) -> str:
    pool = desk.pool
    first, second = pool.best[place].tolist()
    if second < 0:
        return "nothing but one class is known"
    gap = float(pool.margins[place])
    return f"{pool.names[first]} is {gap:.2f} ahead of {pool.names[second]}"
