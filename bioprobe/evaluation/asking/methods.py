"""The methods that are compared, under one face: learn from a split, then answer rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.classify.predictions import Predictions
from bioprobe.classify.zeroshot import zeroshot
from bioprobe.errors import ProbeError
from bioprobe.evaluation.asking.learnt import Learnt
from bioprobe.evaluation.asking.stacking import STACK, learn_stack
from bioprobe.probes.fitting.training import PROMPTED, fit_probe
from bioprobe.probes.text_prior import TextPrior
from bioprobe.prompts import PromptSet
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import MaskedStore, Selection
from bioprobe.taxonomy import Rank, Taxonomy

Rows = npt.NDArray[np.int64]

ZEROSHOT = "zeroshot"
METHODS = (ZEROSHOT, "knn", "centroid", "lda", "ridge", "linear", "hierarchical", PROMPTED, STACK)
_WITH_TEXTS = (ZEROSHOT, PROMPTED)


def check_methods(methods: Sequence[str]) -> None:
    """Refuse what is no method.

    Raises
    ------
    ProbeError
        If a method is unknown, named twice, or there is none.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods or len(set(methods)) < len(methods):
        got = ", ".join(methods) or "none"
        msg = f"methods are {', '.join(METHODS)}, each once; got {got}"
        raise ProbeError(msg)


def find_obstacle(method: str, store: EmbeddingStore, texts: TextPrior | None) -> str:
    """Say why a method cannot be asked of a store; ``""`` where it can."""
    if method in _WITH_TEXTS and not store.manifest.has_text_tower:
        return f"the encoder {store.manifest.encoder.model} embeds no text"
    if method in _WITH_TEXTS and texts is None:
        return "no texts were given"
    return ""


def learn(
    method: str,
    store: EmbeddingStore,
    rank: Rank,
    split: Split,
    classes: Taxonomy,
    *,
    texts: TextPrior | None = None,
    others: Sequence[EmbeddingStore] = (),
    settings: dict[str, Any] | None = None,
    seed: int = 0,
) -> Learnt:
    """Let a method learn from the training part of a split, and choose on validation or folds.

    Parameters
    ----------
    method : str
        One of :data:`METHODS`.
    store : EmbeddingStore
        Of the images.
    rank : Rank
        Rank of the classes.
    split : Split
        Its part ``test`` is not read.
    classes : Taxonomy
        What zero-shot is asked about; a probe knows those that it has learnt.
    texts : TextPrior, optional
        How the classes are written, for methods that read.
    others : sequence of EmbeddingStore
        The same images by other encoders, for ``stack``; without any it combines two probes of
        this one.
    settings : dict, optional
        What an earlier fit has chosen, so that it is not chosen again.
    seed : int
        Of what is drawn at random.
    """
    if method == ZEROSHOT:
        return _ask_texts(store, rank, classes, texts)
    if method == STACK and others:
        return learn_stack((store, *others), rank, split, settings=settings, seed=seed)
    probe = fit_probe(
        store,
        method,
        rank,
        split=split,
        settings=settings,
        seed=seed,
        first_rank=find_first_rank(rank),
        texts=texts if method == PROMPTED else None,
    )
    return Learnt(
        method,
        probe.settings,
        probe.n_rows,
        lambda rows: probe.predict(store, rows, k=len(probe.classes)),
    )


def find_first_rank(rank: Rank) -> Rank:
    """Return the broadest rank of a chain that ends at a rank: phylum, or the rank if above."""
    return min(Rank.PHYLUM, rank, key=lambda one: one.depth)


def _ask_texts(
    store: EmbeddingStore, rank: Rank, classes: Taxonomy, texts: TextPrior | None
) -> Learnt:
    if texts is None:
        msg = f"{ZEROSHOT} asks by text; give texts"
        raise ProbeError(msg)
    prompts = PromptSet(classes, texts.text_type, texts.templates)

    def answer(rows: Rows) -> Predictions:
        found = zeroshot(
            _show_only(store, rows), prompts, texts.encode_text, rank=rank, k=len(classes)
        )
        # It answers in the order of the store.
        order = np.searchsorted(found.rows, rows)
        return dataclasses.replace(
            found, rows=rows, top_classes=found.top_classes[order], scores=found.scores[order]
        )

    return Learnt(ZEROSHOT, texts.describe(), 0, answer)


def _show_only(store: EmbeddingStore, rows: Rows) -> MaskedStore:
    import pandas as pd

    kept = np.zeros(len(store), dtype=bool)
    kept[rows] = True
    selection = Selection("evaluated", pd.DataFrame({"judged": True, "kept": kept}), {})
    return MaskedStore(store.folder, store.manifest, selection)
