"""A random sample, whose chances are known: what is said of all pictures stands on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioprobe.reviewing.pool import Ranked

if TYPE_CHECKING:
    from bioprobe.reviewing.desk import Desk


def draw_audit(desk: Desk, n: int) -> Ranked:
    """Draw pictures that nobody has looked at, each with the same chance, one after the other.

    The chance of each is one in those that were left when it was drawn, those that another person
    has before them included: that somebody else may answer first is no reason to look away.
    """
    left = desk.auditable
    drawn = desk.random.permutation(left)[:n]
    counts = len(left) - np.arange(len(drawn))
    reasons = [f"drawn at random, one of {one:,}" for one in counts.tolist()]
    return Ranked(drawn.astype(np.int64), tuple(reasons), 1 / np.maximum(counts, 1))
