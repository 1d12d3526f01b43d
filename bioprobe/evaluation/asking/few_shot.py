"""Probes that learn from few images of each class of a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.evaluation.asking.label_efficiency import (
    N_SEEDS,
    SHOTS,
    Answer,
    Efficiency,
    measure_efficiency,
)
from bioprobe.evaluation.asking.methods import ZEROSHOT, find_first_rank
from bioprobe.probes.fitting.labelling import LabelledRows, label_rows
from bioprobe.probes.fitting.training import PROMPTED, complete_settings
from bioprobe.probes.kinds import make_probe, takes_lineages
from bioprobe.probes.text_prior import TextPrior
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

# What learns nothing has no curve; what stacks encoders needs many images to learn from.
_WITHOUT_CURVE = (ZEROSHOT, "stack")


@dataclasses.dataclass(frozen=True)
class EfficiencyPlan:
    """How many images a class are drawn, and how often.

    Parameters
    ----------
    shots : tuple of int
        Images a class.
    n_seeds : int
        Draws of each.
    """

    shots: tuple[int, ...] = SHOTS
    n_seeds: int = N_SEEDS


def measure_methods(
    store: EmbeddingStore,
    rank: Rank,
    split: Split,
    methods: Sequence[str],
    plan: EfficiencyPlan,
    *,
    texts: TextPrior | None = None,
    seed: int = 0,
    report: Callable[[str], None],
) -> list[Efficiency]:
    """Measure how the accuracy of probes on the test part grows with the images a class.

    Nothing is chosen: each probe has its default settings.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    rank : Rank
        Rank of the classes.
    split : Split
        Images are drawn from its part ``train``, and its part ``test`` is answered.
    methods : sequence of str
        Zero-shot and stack, which have no curve, are passed over.
    plan : EfficiencyPlan
        How many are drawn.
    texts : TextPrior, optional
        For a ``prompt+probe``.
    seed : int
        The first of the seeds.
    report : callable
        Told of progress, a line at a time.
    """
    training, test = split.rows("train"), split.rows("test")
    others = texts.others if texts else None
    labelled = label_rows(store.images, np.concatenate([training, test]), rank, others)
    is_training = np.arange(len(labelled.rows)) < len(training)
    vectors = store.read_vectors(labelled.rows)
    answers: dict[str, Answer] = {
        method: partial(_answer, method, labelled, vectors, is_training, texts, seed)
        for method in methods
        if method not in _WITHOUT_CURVE
    }
    points = []
    for point in measure_efficiency(
        labelled.positions[is_training], answers, shots=plan.shots, n_seeds=plan.n_seeds, seed=seed
    ):
        report(
            f"{point.method}, {point.n_per_class} images a class: accuracy {point.mean:.3f} "
            f"± {point.deviation:.3f}"
        )
        points.append(point)
    return points


def _answer(
    method: str,
    labelled: LabelledRows,
    vectors: Vectors,
    is_training: npt.NDArray[np.bool_],
    texts: TextPrior | None,
    seed: int,
    rows: Rows,
) -> npt.NDArray[np.bool_]:
    first_rank = find_first_rank(labelled.rank)
    y = labelled.chain(first_rank) if takes_lineages(method) else labelled.names
    settings: dict[str, Any] = {}
    if method == PROMPTED and texts is not None:
        settings = texts.embed(labelled.classes)
    settings = complete_settings(method, settings, seed)
    # The training rows come first, so their positions are those of all rows.
    probe = make_probe(method, settings).fit(vectors[rows], y[rows])
    return np.asarray(probe.predict(vectors[~is_training]) == labelled.names[~is_training])
