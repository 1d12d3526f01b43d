"""Suspected wrong labels: what the other labelled pictures teach gives a label little chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioprobe.reviewing.pool import Ranked
from bioprobe.reviewing.wrong_labels import predict_left_out, rank_labels

if TYPE_CHECKING:
    from bioprobe.reviewing.desk import Desk


def rank_by_suspicion(desk: Desk, n: int) -> Ranked:
    """Return labelled pictures that no person checked, the label of least probability first.

    References
    ----------
    Northcutt, Jiang and Chuang 2021, *Confident Learning: Estimating Uncertainty in Dataset
    Labels*.
    """
    pool = desk.pool
    places, classes, probabilities = predict_left_out(desk.learner)
    free = ~(pool.is_checked | pool.is_out | pool.is_held)[places]
    if not free.any():
        return Ranked.of(np.zeros(0, dtype=np.int64), ())
    own = np.searchsorted(classes, pool.labels[places])
    found = rank_labels(own, probabilities)
    order = found.order[free[found.order]][:n]
    reasons = [
        f"labelled {pool.names[pool.labels[places[at]]]}, which the others give "
        f"{found.confidences[at]:.2f}; {pool.names[classes[probabilities[at].argmax()]]} "
        f"{probabilities[at].max():.2f}"
        for at in order.tolist()
    ]
    return Ranked.of(places[order], reasons)
