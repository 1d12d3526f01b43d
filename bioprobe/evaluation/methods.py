"""The methods that are compared, under one face: learn from a split, then answer rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MismatchError, ProbeError
from bioprobe.learning.fit import PROMPTED, fit_probe, measure_values
from bioprobe.learning.stack import find_shared_images
from bioprobe.probes.stacked import StackProbe
from bioprobe.prompts import PromptSet
from bioprobe.provenance import Provenance
from bioprobe.splits import Split, assign_folds
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.method import find_kind
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import TextPrior, label_rows, name_classes
from bioprobe.taxonomy import Rank, Taxonomy
from bioprobe.types import Rows, Vectors
from bioprobe.zeroshot.zeroshot import zeroshot


@dataclasses.dataclass(frozen=True)
class Learnt:
    """A method that has learnt what it can from a split.

    Parameters
    ----------
    method : str
        Its name.
    settings : dict
        What was chosen, JSON-ready.
    n_training : int
        Images learnt from; 0 for zero-shot.
    answer : callable
        From rows of the store to :class:`Predictions` of all classes, in the order of the rows.
    """

    method: str
    settings: dict[str, Any]
    n_training: int
    answer: Callable[[Rows], Predictions]


STACK = "stack"
# Of each encoder: as good as logistic regression on photographs, and chosen in seconds.
_BASE = "lda"
_N_FOLDS = 5


def learn_stack(
    stores: Sequence[EmbeddingStore],
    rank: Rank,
    split: Split,
    *,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
) -> Learnt:
    """Learn one LDA an encoder, and how to combine them.

    Parameters
    ----------
    stores : sequence of EmbeddingStore
        The first is that of the split; the others hold the same images.
    rank : Rank
        Rank of the classes.
    split : Split
        Its part ``train`` is learnt from, in its folds, or five stratified ones.
    settings : dict, optional
        What an earlier fit has chosen.
    seed : int
        Of folds.

    Raises
    ------
    MismatchError
        If a store lacks some of the images.
    """
    first = stores[0]
    labelled = label_rows(first.images, split.rows("train"), rank)
    labelled = labelled.take(labelled.positions >= 0)
    rows, names = labelled.rows, labelled.names
    folds = split.folds[rows]
    if split.n_folds < 2:
        folds = assign_folds(labelled.positions, _N_FOLDS, seed, split.groups[rows])
    matrices = _read(stores, rows)
    bases = (settings or {}).get("bases") or [_choose(one, names, folds) for one in matrices]
    probe = StackProbe(bases, seed=seed).fit(matrices, names, folds)
    place_of = {name: place for place, name in enumerate(name_classes(labelled.classes))}
    taxa = labelled.classes.taxa
    classes = Taxonomy(tuple(taxa[place_of[str(name)]] for name in probe.classes_))
    chosen = {"bases": bases, "encoders": [one.manifest.encoder.model for one in stores]}

    def answer(asked: Rows) -> Predictions:
        probabilities = probe.predict_proba(_read(stores, asked))
        top = np.argsort(-probabilities, axis=1, kind="stable")
        scores = np.take_along_axis(probabilities, top, axis=1)
        provenance = Provenance(
            encoder=first.manifest.encoder.to_dict(),
            store=str(first.folder),
            n_rows=len(asked),
            options={"probe": STACK, "settings": chosen, "split_hash": split.hash},
        )
        return Predictions(
            first.images, asked, classes, rank, top, scores, "probability", provenance
        )

    return Learnt(STACK, chosen, len(rows), answer)


def find_same_images(store: EmbeddingStore, rows: Rows, other: EmbeddingStore) -> Rows:
    """Find the rows of another store that hold the same images.

    Raises
    ------
    MismatchError
        If some are not there.

    See Also
    --------
    bioprobe.learning.stack.find_shared_images : how images are known.
    """
    shared = find_shared_images((store, other), rows)
    (n_missing,) = shared.n_missing
    if n_missing:
        msg = (
            f"{other.folder} lacks {n_missing:,} of the {len(rows):,} images that are stacked; "
            "embed the same images into it, or leave --with-store out"
        )
        raise MismatchError(msg)
    return shared.rows[:, 1]


def _read(stores: Sequence[EmbeddingStore], rows: Rows) -> list[Vectors]:
    first, *others = stores
    found = [first.read_vectors(rows)]
    found += [other.read_vectors(find_same_images(first, rows, other)) for other in others]
    return found


def _choose(vectors: Vectors, names: npt.NDArray[np.object_], folds: Rows) -> list[Any]:
    kind = find_kind(_BASE)
    sweep = measure_values(_BASE, {}, vectors, names, np.array(kind.values), folds)
    return [_BASE, {kind.parameter: sweep.best_value}]


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
        lambda rows: probe.predict(View(store, rows), len(probe.classes)),
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
        view = View(store, rows)
        return zeroshot(view, prompts, texts.encode_text, rank=rank, k=len(classes))

    return Learnt(ZEROSHOT, texts.describe(), 0, answer)
