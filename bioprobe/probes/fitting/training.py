"""A probe fitted on the labelled images of a store."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.probes.fitting.choosing import as_setting, measure_folds, measure_values
from bioprobe.probes.fitting.labelling import LabelledRows, hash_rows, name_classes
from bioprobe.probes.fitting.material import Material, gather_material
from bioprobe.probes.kinds import Settings, find_kind, make_probe, takes_lineages
from bioprobe.probes.probe import Probe
from bioprobe.probes.text_prior import TextPrior
from bioprobe.probes.trained import HeldOut, TrainedProbe
from bioprobe.provenance import Provenance
from bioprobe.splits import Split, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank, Taxonomy

Rows = npt.NDArray[np.int64]

PROMPTED = "prompt+probe"


def fit_probe(
    store: EmbeddingStore,
    kind: str,
    rank: Rank,
    *,
    split: str | Split | None = "default",
    settings: Settings | None = None,
    seed: int = 0,
    condition: str | None = None,
    first_rank: Rank = Rank.PHYLUM,
    texts: TextPrior | None = None,
) -> TrainedProbe:
    """Fit a probe on the labelled images of a store.

    Training rows are those of the part ``train`` that have a label at the rank. A value that is
    not given, such as the regularisation, is chosen on the part ``validation``; where that is
    empty, on the folds of the split, or five stratified ones with groups whole, of the training
    rows. Then the probe is fitted on the training rows alone. The part ``test`` is not read.

    Parameters
    ----------
    store : EmbeddingStore
        A :class:`bioprobe.store.selections.MaskedStore` leaves out what its mask drops.
    kind : str
        One of :data:`bioprobe.probes.kinds.KINDS`.
    rank : Rank
        Rank of the classes.
    split : str, Split or None
        Name of a split in the store, or one that is not kept; None takes every labelled row for
        training.
    settings : mapping, optional
        Arguments of the probe. What is given is not chosen.
    seed : int
        Of the folds, and of the probe where it draws at random.
    condition : str, optional
        Only images that meet it take part.
    first_rank : Rank
        Broadest rank of the chain, for kinds that learn from lineages.
    texts : TextPrior, optional
        Where a ``prompt+probe`` starts.

    Raises
    ------
    ProbeError
        If the kind or a setting is unknown, or fewer than two classes have a training row.
    StoreError
        If there is no such split.
    SelectionError
        If no image is left.
    """
    settings = dict(settings or {})
    make_probe(kind, settings)  # refuses unknown settings before anything is read
    if (kind == PROMPTED) != (texts is not None):
        msg = f"texts are where a {PROMPTED} starts; {kind} got {'some' if texts else 'none'}"
        raise ProbeError(msg)
    parts = read_split(store, split) if isinstance(split, str) else split
    material = gather_material(
        store, kind, rank, parts=parts, condition=condition, seed=seed, first_rank=first_rank,
        texts=texts,
    )  # fmt: skip
    fixed = complete_settings(kind, settings, seed)
    prior = texts.embed(material.labelled.classes) if texts else {}
    chosen, held_out = _choose(kind, fixed, prior, material)
    training = material.training
    probe = make_probe(kind, {**chosen, **prior})
    probe.fit(material.vectors[training], material.y[training])
    classes = _order_classes(material.labelled.classes, probe)
    if material.method == "validation":
        held_out = _measure(probe, classes, store, material.validation, held_out)
    rows = material.labelled.rows[training]
    provenance = Provenance(
        encoder=store.manifest.encoder.to_dict(),
        store=str(store.folder),
        n_rows=len(rows),
        condition=condition or "",
        options={
            "seed": seed,
            "mask": _name_mask(store),
            **({"first_rank": first_rank.value} if takes_lineages(kind) else {}),
            **(texts.describe() if texts else {}),
        },
    )
    return TrainedProbe(
        estimator=probe,
        classes=classes,
        rank=rank,
        settings=chosen,
        encoder=store.manifest.encoder,
        dim=store.manifest.dim,
        rows_hash=hash_rows(store.images, rows),
        n_rows=len(rows),
        split_name=parts.name if parts else "",
        split_hash=parts.hash if parts else "",
        held_out=held_out,
        provenance=provenance.to_dict(),
    )


def _choose(
    kind: str, settings: dict[str, Any], prior: dict[str, Any], material: Material
) -> tuple[dict[str, Any], HeldOut]:
    """Choose what is not given, and measure the probe on rows it did not learn from."""
    parameter, folds = find_kind(kind).parameter, material.folds
    is_open = bool(parameter) and parameter not in settings
    if material.method == "none" or (material.method == "validation" and not is_open):
        return settings, HeldOut(material.method)
    vectors, y = material.vectors, material.y
    if not parameter:
        accuracies = measure_folds(kind, {**settings, **prior}, vectors, y, folds)[0]
        return settings, HeldOut(material.method, *_count_right(accuracies, folds))
    others = {name: value for name, value in settings.items() if name != parameter} | prior
    values = find_kind(kind).values if is_open else (settings[parameter],)
    sweep = measure_values(kind, others, vectors, y, np.array(values), folds)
    counts = _count_right(sweep.accuracies[sweep.best_index], folds)
    if not is_open:
        return settings, HeldOut(material.method, *counts)
    return {**settings, parameter: as_setting(sweep.best_value)}, HeldOut(
        material.method,
        *counts,
        parameter,
        tuple(sweep.values.tolist()),
        tuple(sweep.accuracies.mean(axis=1).tolist()),
    )


def _count_right(accuracies: npt.NDArray[np.float64], folds: Rows) -> tuple[int, int]:
    """Return how many held-out rows are right, and how many there are."""
    sizes = np.unique(folds[folds >= 0], return_counts=True)[1]
    return int(np.rint(accuracies * sizes).sum()), int(sizes.sum())


def _order_classes(classes: Taxonomy, probe: Probe) -> Taxonomy:
    """Return the classes in the order in which the probe has them."""
    place_of = {name: place for place, name in enumerate(name_classes(classes))}
    return Taxonomy(tuple(classes.taxa[place_of[str(name)]] for name in probe.classes_))


def _measure(
    probe: Probe, classes: Taxonomy, store: EmbeddingStore, labelled: LabelledRows, chosen: HeldOut
) -> HeldOut:
    """Count the right answers of the fitted probe on the validation part."""
    answers = probe.predict_proba(store.read_vectors(labelled.rows)).argmax(axis=1)
    # By lineage: a name that is unique in training may have a homonym among these.
    place_of = {taxon.lineage: place for place, taxon in enumerate(classes)}
    truth = np.array([place_of.get(taxon.lineage, -1) for taxon in labelled.classes])
    n_correct = int((answers == truth[labelled.positions]).sum())
    return dataclasses.replace(chosen, n_correct=n_correct, n_images=len(answers))


def complete_settings(kind: str, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add the seed where the probe takes one."""
    takes_seed = "seed" in make_probe(kind).get_params()
    return {"seed": seed, **settings} if takes_seed else settings


def _name_mask(store: EmbeddingStore) -> str:
    selection = getattr(store, "selection", None)
    return str(selection.name) if selection is not None else ""
