"""How often predictions are right."""

from __future__ import annotations

import numpy as np

from bioprobe.classify.accuracy import Accuracy
from bioprobe.classify.predictions import Predictions


def measure_accuracy(predictions: Predictions) -> list[Accuracy]:
    """Measure top-1 and top-5 accuracy on the images that have a label.

    An image whose label is not among the classes counts as wrong: no answer could be right.

    Returns
    -------
    list of Accuracy
        Top-1, and top-5 where that many answers are there; empty when no image has a label.
    """
    labelled = predictions.truth != ""
    if not labelled.any():
        return []
    # By lineage, so that a homonym is not right.
    truth = predictions.truth_classes[labelled]
    right = predictions.top_classes[labelled] == truth[:, np.newaxis]
    k_asked = right.shape[1]
    return [
        Accuracy(k, int(right[:, :k].any(axis=1).sum()), int(labelled.sum()))
        for k in (1, 5)
        if k <= k_asked
    ]
