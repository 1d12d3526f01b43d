"""Answers at the deepest rank that is sure enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.classify.added.seen_offset import SeenOffset
from bioprobe.classify.backed_off import BackedOff, back_off_rows
from bioprobe.classify.class_embeddings import embed_classes
from bioprobe.classify.streaming import iter_vectors
from bioprobe.classify.zeroshot import describe_question
from bioprobe.errors import PromptError
from bioprobe.prompts import PromptSet
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import RANKS, Rank

if TYPE_CHECKING:
    pass

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

# Bounds the memory of the scores: 16 million of them are 64 MB.
_SCORES_AT_ONCE = 16_000_000


def back_off(
    store: EmbeddingStore,
    prompts: PromptSet,
    encode_text: Callable[[Sequence[str]], Vectors],
    *,
    threshold: float,
    rank: Rank = Rank.SPECIES,
    condition: str | None = None,
    seen_offset: SeenOffset | None = None,
) -> BackedOff:
    """Answer each image at the deepest rank whose summed probability passes a threshold.

    Parameters
    ----------
    store : EmbeddingStore
        Whose vectors are asked.
    prompts : PromptSet
        The lowest taxa of a list, :meth:`bioprobe.taxonomy.Taxonomy.leaves`.
    encode_text : callable
        From texts to unit vectors of the store's encoder.
    threshold : float
        In (0, 1]; SpeciesNet's is 0.65.
    rank : Rank
        Deepest rank of an answer.
    condition : str, optional
        Only images that meet it are asked about.
    seen_offset : SeenOffset, optional
        Subtracted from the logits of the lowest taxa that are not new.

    Raises
    ------
    PromptError
        If the threshold is out of range.
    SelectionError
        If no image is left.

    References
    ----------
    SpeciesNet, ``geofence_utils.roll_up_labels_to_first_matching_level``: sums of scores per
    ancestor, and the lowest rank whose best sum passes.
    """
    if not 0 < threshold <= 1:
        msg = f"the threshold is a probability, above 0 and at most 1; got {threshold:g}"
        raise PromptError(msg)
    rows = store.select(condition)
    groups = [prompts.taxa.group(level) for level in RANKS[: rank.depth + 1]]
    found = embed_classes(store, prompts, encode_text, seen_offset=seen_offset)
    leaves, scale = found.vectors, store.manifest.logit_scale
    positions = [places for _, places in groups]
    step = max(1, _SCORES_AT_ONCE // len(leaves))
    answers = [
        back_off_rows(_softmax(scale * (part @ leaves.T) - found.offsets), positions, threshold)
        for vectors in iter_vectors(store, rows)
        for part in (vectors[start : start + step] for start in range(0, len(vectors), step))
    ]
    best, scores, depths = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    provenance = describe_question(
        store, prompts, len(rows), condition, rank, seen_offset, abstain=threshold
    )
    levels = tuple(classes for classes, _ in groups)
    return BackedOff(store.images, rows, levels, best, scores, depths, threshold, provenance)


def _softmax(logits: Vectors) -> Vectors:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
