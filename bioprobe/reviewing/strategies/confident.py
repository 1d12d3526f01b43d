"""A class's most confident: many can be confirmed at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioprobe.reviewing.pool import Ranked, take_least

if TYPE_CHECKING:
    from bioprobe.reviewing.desk import Desk


def rank_by_confidence(desk: Desk, n: int) -> Ranked:
    """Return the surest pictures of one class: that of ``desk.wanted``, else of the commonest.

    The commonest is the one that most waiting pictures are taken for.
    """
    pool = desk.pool
    asked = np.flatnonzero(pool.waiting & (pool.best[:, 0] >= 0))
    if not len(asked):
        return Ranked.of(asked, ())
    wanted = desk.wanted
    if wanted is None:
        wanted = int(np.bincount(pool.best[asked, 0]).argmax())
    own = asked[pool.best[asked, 0] == wanted]
    places = take_least(-pool.scores[:, 0], own, n)
    return Ranked.of(places, [
        f"one of the surest {pool.names[wanted]}: {pool.scores[one, 0]:.2f}" for one in places
    ])  # fmt: skip
