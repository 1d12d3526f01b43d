"""Most disagreed on: what was learnt, the nearest labelled pictures and the texts differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioprobe.reviewing.pool import Ranked, take_least

if TYPE_CHECKING:
    from bioprobe.reviewing.desk import Desk


def rank_by_disagreement(desk: Desk, n: int) -> Ranked:
    """Return the pictures of which methods say different things, surest on both sides first.

    The methods are the one that answers, the five nearest labelled pictures, and the texts of
    classes where there are any. What counts is the product of the probabilities that the two of
    them give their answers, of the pair in which it is largest.

    References
    ----------
    Seung, Opper and Sompolinsky 1992, *Query by Committee*.
    """
    pool = desk.pool
    said = desk.list_opinions()
    asked = np.flatnonzero(pool.waiting)
    strength = np.zeros(len(pool))
    for at, (_, classes, scores) in enumerate(said):
        for _, others, theirs in said[at + 1 :]:
            differ = (classes != others) & (classes >= 0) & (others >= 0)
            np.maximum(strength, np.where(differ, scores * theirs, 0), out=strength)
    places = take_least(-strength, asked[strength[asked] > 0], n)
    return Ranked.of(places, [
        "; ".join(f"{name}: {pool.names[classes[one]]} ({scores[one]:.2f})"
                  for name, classes, scores in said if classes[one] >= 0)
        for one in places.tolist()
    ])  # fmt: skip
