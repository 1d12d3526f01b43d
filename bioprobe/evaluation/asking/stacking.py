"""Probes of several encoders, combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.classify.predictions import Predictions
from bioprobe.errors import MismatchError
from bioprobe.evaluation.asking.learnt import Learnt
from bioprobe.probes.fitting.choosing import measure_values
from bioprobe.probes.fitting.labelling import label_rows, name_classes
from bioprobe.probes.kinds import find_kind
from bioprobe.probes.stacks.shared_images import find_shared_images
from bioprobe.probes.stacks.stacked import StackProbe
from bioprobe.provenance import Provenance
from bioprobe.splits import Split, assign_folds
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank, Taxonomy

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

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
    bioprobe.probes.stacks.shared_images.find_shared_images : how images are known.
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
