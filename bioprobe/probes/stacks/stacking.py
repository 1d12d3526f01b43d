"""Probes of several encoders over the same images, combined and kept in the store of the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from bioprobe.classify.measured import measure_accuracy
from bioprobe.errors import ProbeError
from bioprobe.probes.fitting.choosing import as_setting, measure_values
from bioprobe.probes.fitting.labelling import LabelledRows, hash_rows, label_rows, name_classes
from bioprobe.probes.kinds import Settings, find_kind, make_probe
from bioprobe.probes.probe import Vectors
from bioprobe.probes.stacks.shared_images import SharedImages, find_shared_images
from bioprobe.probes.stacks.stacked import StackProbe
from bioprobe.probes.stacks.trained_stack import TrainedStack
from bioprobe.probes.trained import HeldOut, TrainedProbe
from bioprobe.provenance import Provenance
from bioprobe.splits import Split, assign_folds, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank, Taxonomy

if TYPE_CHECKING:
    from bioprobe.probes.sweep import Sweep

Rows = npt.NDArray[np.int64]

# Those that learn from vectors and single labels alone.
BASE_KINDS = ("linear", "lda", "ridge", "knn", "centroid")
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


def fit_stack(
    stores: Sequence[EmbeddingStore],
    rank: Rank,
    *,
    bases: Sequence[tuple[str, Settings]] = (("lda", {}),),
    split: str | Split | None = "default",
    C: float | None = None,  # noqa: N803 - scikit-learn's name
    n_folds: int = 5,
    seed: int = 0,
    condition: str | None = None,
) -> TrainedStack:
    """Fit probes of several encoders on the same images, and how to combine them.

    Everything is learnt and chosen on the part ``train``, images that a store lacks left out: the
    value that a base leaves open, such as its regularisation, on the folds of the split or on
    stratified ones with groups whole; the combination on the bases' answers to the fold that they
    did not see. The part ``validation`` only measures, the part ``test`` is not read.

    Parameters
    ----------
    stores : sequence of EmbeddingStore
        At least two; labels and split are those of the first.
    rank : Rank
        Rank of the classes.
    bases : sequence of (str, mapping)
        Kinds, of :data:`BASE_KINDS`, with settings: one probe of each for each store.
    split : str, Split or None
        Split of the first store; None takes every labelled row for training.
    C : float, optional
        Inverse strength of the penalty of the combination; by default chosen on the folds.
    n_folds : int
        Folds, where the split has none.
    seed : int
        Of these folds.
    condition : str, optional
        Only images of the first store that meet it take part.

    Raises
    ------
    ProbeError
        If there is one store, a base cannot be stacked, or fewer than two classes have a row.
    MismatchError
        If a store has none of the images.
    """
    _check_bases(stores, bases)
    first = stores[0]
    parts = read_split(first, split) if isinstance(split, str) else split
    training, validation, n_missing = _gather(stores, rank, parts, condition)
    labelled, names = training.labelled, training.labelled.names
    n_classes = len(np.unique(labelled.positions))
    if n_classes < 2:
        msg = (
            f"a probe tells classes apart, and {len(names)} training images that all stores hold "
            f"have labels of {n_classes} at {rank.value}; choose another --level or --split"
        )
        raise ProbeError(msg)
    folds = _hold_out(labelled, parts, n_folds, seed)
    matrices = training.shared.read_vectors()
    chosen = [
        (kind, _choose(kind, dict(settings), matrix, names, folds))
        for matrix in matrices
        for kind, settings in bases
    ]
    spread = [matrix for matrix in matrices for _ in bases]
    strengths = STRENGTHS if C is None else (C,)
    estimator = StackProbe(chosen, C=strengths, n_folds=n_folds, seed=seed)
    estimator.fit(spread, names, folds)
    settings = {
        "bases": [list(base) for base in chosen],
        "C": as_setting(estimator.C_),
        "n_folds": n_folds,
        "seed": seed,
    }
    estimator.set_params(C=settings["C"])
    place_of = {name: place for place, name in enumerate(name_classes(labelled.classes))}
    taxa = labelled.classes.taxa
    provenance = Provenance(
        encoder=first.manifest.encoder.to_dict(),
        store=str(first.folder),
        n_rows=len(names),
        condition=condition or "",
        options={
            "seed": seed,
            "encoders": [one.manifest.encoder.to_dict() for one in stores],
            "stores": [str(one.folder) for one in stores],
            "n_missing": list(n_missing),
            "chosen_on": "folds of the training images",
        },
    )
    stack = TrainedStack(
        probe=TrainedProbe(
            estimator=estimator,
            classes=Taxonomy(tuple(taxa[place_of[str(name)]] for name in estimator.classes_)),
            rank=rank,
            settings=settings,
            encoder=first.manifest.encoder,
            dim=first.manifest.dim,
            rows_hash=hash_rows(first.images, labelled.rows),
            n_rows=len(names),
            split_name=parts.name if parts else "",
            split_hash=parts.hash if parts else "",
            provenance=provenance.to_dict(),
        ),
        n_missing=n_missing,
    )
    held_out = _measure(stack, validation, folds, is_open=C is None)
    return dataclasses.replace(stack, probe=dataclasses.replace(stack.probe, held_out=held_out))


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """Labelled images of a part of the split, and where the stores have them."""

    labelled: LabelledRows
    shared: SharedImages


def _check_bases(stores: Sequence[EmbeddingStore], bases: Sequence[tuple[str, Settings]]) -> None:
    if len(stores) < 2 or not bases:
        msg = (
            f"a stack combines the probes of several stores, got {len(stores)} of them and "
            f"{len(bases)} kinds; name the others by --with STORE"
        )
        raise ProbeError(msg)
    for kind, settings in bases:
        if kind not in BASE_KINDS:
            msg = f"a base of a stack is one of {', '.join(BASE_KINDS)}; got {kind!r}"
            raise ProbeError(msg)
        make_probe(kind, settings)  # refuses unknown settings before anything is read


def _gather(
    stores: Sequence[EmbeddingStore], rank: Rank, parts: Split | None, condition: str | None
) -> tuple[_Part, _Part, tuple[int, ...]]:
    first = stores[0]
    selected = first.select(condition)
    training = selected if parts is None else np.intersect1d(parts.rows("train"), selected)
    validation = selected[:0]
    if parts is not None:
        validation = np.intersect1d(parts.rows("validation"), selected)
    labelled = label_rows(first.images, np.concatenate([training, validation]), rank)
    labelled = labelled.take(labelled.positions >= 0)
    shared = find_shared_images(stores, labelled.rows)
    labelled = labelled.take(np.isin(labelled.rows, shared.rows[:, 0]))
    learns = np.isin(labelled.rows, training)
    found = [_Part(labelled.take(kept), shared.take(kept)) for kept in (learns, ~learns)]
    return found[0], found[1], shared.n_missing


def _hold_out(labelled: LabelledRows, parts: Split | None, n_folds: int, seed: int) -> Rows:
    """Return the fold in which each training image is held out, groups whole."""
    if parts is not None and parts.n_folds > 1:
        return parts.folds[labelled.rows]
    groups = parts.groups[labelled.rows] if parts is not None else None
    return assign_folds(labelled.positions, n_folds, seed, groups)


def _choose(
    kind: str, settings: dict[str, Any], vectors: Vectors, names: npt.NDArray[np.object_],
    folds: Rows,
) -> dict[str, Any]:  # fmt: skip
    """Choose what a base leaves open, on the folds of the training images."""
    described = find_kind(kind)
    if not described.parameter or described.parameter in settings or not (folds >= 0).any():
        return settings
    values = np.array(described.values)
    sweep = measure_values(kind, settings, vectors, names, values, folds)
    return {**settings, described.parameter: as_setting(sweep.best_value)}


def _measure(stack: TrainedStack, validation: _Part, folds: Rows, *, is_open: bool) -> HeldOut:
    """Measure on the validation part; where that is empty, take the figures of the folds."""
    if len(validation.shared):
        (measured, *_) = measure_accuracy(stack.predict(validation.shared, k=1))
        return HeldOut("validation", measured.n_correct, measured.n_images)
    sweep = cast("Sweep", stack.estimator.sweep_)
    sizes = np.unique(folds[folds >= 0], return_counts=True)[1]
    n_correct = int(np.rint(sweep.accuracies[sweep.best_index] * sizes).sum())
    if not is_open:
        return HeldOut("cross-validation", n_correct, int(sizes.sum()))
    return HeldOut(
        "cross-validation",
        n_correct,
        int(sizes.sum()),
        "C",
        tuple(sweep.values.tolist()),
        tuple(sweep.accuracies.mean(axis=1).tolist()),
    )
