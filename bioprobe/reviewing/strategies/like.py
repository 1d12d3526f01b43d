"""Nearest to a picture: what is like one that a person has found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioprobe.reviewing.pool import Ranked, take_least

if TYPE_CHECKING:
    from bioprobe.reviewing.desk import Desk


def rank_by_likeness(desk: Desk, n: int) -> Ranked:
    """Return the pictures most like ``desk.shown``; none where none is given."""
    pool, shown = desk.pool, desk.shown
    if shown is None:
        return Ranked.of(np.zeros(0, dtype=np.int64), ())
    similarities = pool.compare(shown)
    asked = np.flatnonzero(pool.waiting)
    places = take_least(-similarities, asked, n)
    return Ranked.of(places, [f"{similarities[one]:.2f} like the picture named" for one in places])
