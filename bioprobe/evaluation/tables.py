"""Answers and evidence as tables that can be kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.evaluation.asking.answers import Answers
from bioprobe.evaluation.metrics.flat_metrics import find_best
from bioprobe.evaluation.mistakes.errors import Evidence, Mistake
from bioprobe.probes.fitting.labelling import name_classes
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

_N_ANSWERS = 5


def list_answers(
    store: EmbeddingStore,
    classes: Taxonomy,
    truth: npt.NDArray[np.int64],
    answers: Answers,
    kept: npt.NDArray[np.bool_] | None,
) -> pd.DataFrame:
    """Return one row an image, as :class:`bioprobe.evaluation.result.Evaluation` describes it.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    classes : Taxonomy
        Columns of the probabilities.
    truth : ndarray of int64, shape (n_images,)
        True class of each image.
    answers : Answers
        Of one method.
    kept : ndarray of bool, shape (n_images,), optional
        Whether a mask keeps each image; all by default.
    """
    import pandas as pd

    names = np.array([*name_classes(classes), ""], dtype=object)
    probabilities = answers.probabilities
    images = np.arange(len(truth))
    best = find_best(probabilities)
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :_N_ANSWERS]
    calibrated = np.full(len(truth), np.nan)
    if answers.calibrated is not None:
        calibrated = answers.calibrated.max(axis=1).astype(np.float64)
    return pd.DataFrame(
        {
            "method": answers.method,
            "row": answers.rows,
            "file_name": store.images.frame["path"].to_numpy()[answers.rows],
            "truth": names[truth],
            "truth_class": truth,
            "predicted": names[best],
            "predicted_class": best,
            "probability": probabilities[images, best].astype(np.float64),
            "calibrated_probability": calibrated,
            "true_probability": probabilities[images, truth].astype(np.float64),
            "right": best == truth,
            "kept": np.ones(len(truth), dtype=bool) if kept is None else kept,
            "top5": names[top].tolist(),
            "top5_probabilities": np.take_along_axis(probabilities, top, axis=1).tolist(),
        }
    )


def describe_evidence(store: EmbeddingStore, found: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Return evidence as JSON-ready mappings, with the file name beside each row."""
    paths = store.images.frame["path"].to_numpy()

    def describe(mistake: Mistake) -> dict[str, Any]:
        return {
            "row": mistake.row,
            "file_name": str(paths[mistake.row]),
            "probability": mistake.probability,
            "neighbors": [
                {
                    "row": near.row,
                    "file_name": str(paths[near.row]),
                    "similarity": near.similarity,
                    "label": near.label,
                }
                for near in mistake.neighbors
            ],
        }

    return [
        {
            "truth": one.pair.truth.name,
            "answer": one.pair.answer.name,
            "n_images": one.pair.n_images,
            "fraction": one.pair.fraction,
            "ancestor": one.pair.ancestor.name if one.pair.ancestor else "",
            "ancestor_rank": one.pair.ancestor.rank.value if one.pair.ancestor else "",
            "height": one.pair.height,
            "mistakes": [describe(mistake) for mistake in one.mistakes],
        }
        for one in found
    ]
