"""A probe fitted on the labelled images of a store."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.learning.fitted import HeldOut, TrainedProbe
from bioprobe.learning.material import Material, gather_material
from bioprobe.probes.probe import Probe, Sweep
from bioprobe.splits import Split, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.method import find_kind, make_probe, takes_lineages
from bioprobe.task.target import LabelledRows, TextPrior, hash_rows, name_classes
from bioprobe.taxonomy import Rank, Taxonomy
from bioprobe.types import Places, Rows, Scores, Settings


def measure_values(
    kind: str,
    settings: Settings,
    X: npt.NDArray[np.float32],  # noqa: N803 - scikit-learn's name
    y: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    folds: Places,
) -> Sweep:
    """Measure a probe at many values of what is chosen, each on rows it did not learn from.

    Parameters
    ----------
    kind : str
        Kind that has something to choose.
    settings : mapping
        Its other arguments.
    X : ndarray of float32, shape (n_images, dim), unit rows
    y : ndarray, shape (n_images,)
    values : ndarray of float64, shape (n_values,)
        From the strongest regularisation to the weakest.
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.
    """
    described = find_kind(kind)
    sweep: Any = getattr(described.load(), "sweep", None)
    accepted = inspect.signature(sweep).parameters if sweep is not None else {}
    if sweep is not None and all(name in accepted for name in settings):
        found: Sweep = sweep(X, y, values, folds, **settings)
        return found
    rows = [
        measure_folds(kind, {**settings, described.parameter: as_setting(value)}, X, y, folds)
        for value in values
    ]
    accuracies, log_losses = np.stack(rows, axis=1)
    return Sweep(described.parameter, np.asarray(values), accuracies, log_losses)


def measure_folds(
    kind: str,
    settings: Settings,
    X: npt.NDArray[np.float32],  # noqa: N803 - scikit-learn's name
    y: npt.NDArray[Any],
    folds: Places,
) -> npt.NDArray[np.float64]:
    """Fit a probe without each fold and measure it there.

    Parameters
    ----------
    kind : str
        Kind of probe.
    settings : mapping
        Its arguments.
    X : ndarray of float32, shape (n_images, dim), unit rows
    y : ndarray, shape (n_images,), or (n_images, n_ranks) for a kind that takes lineages
        Rows whose last name is ``""`` are learnt from, not measured.
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.

    Returns
    -------
    ndarray of float64, shape (2, n_folds)
        Accuracies and log-losses.
    """
    names = y[:, -1] if y.ndim == 2 else y
    measured = []
    for fold in np.unique(folds[folds >= 0]):
        out = folds == fold
        probe = make_probe(kind, settings).fit(X[~out], y[~out])
        probabilities = probe.predict_proba(X[out])
        own = np.array(
            [np.flatnonzero(probe.classes_ == name) for name in names[out]], dtype=object
        )
        places = np.array([place[0] if len(place) else -1 for place in own], dtype=np.int64)
        likely = np.where(places >= 0, probabilities[np.arange(len(places)), places], 0)
        likely = np.maximum(likely, np.finfo(np.float32).eps)
        right = probabilities.argmax(axis=1) == places
        measured.append((right.mean(), -np.log(likely).mean()))
    return np.array(measured, dtype=np.float64).T.reshape(2, -1)


def as_setting(value: float) -> float | int:
    """Return a value as an integer where it is one: a number of neighbours is no 5.0."""
    return int(value) if float(value).is_integer() else float(value)


PROMPTED = "prompt+probe"


def fit_probe(
    asked: EmbeddingStore | View,
    kind: str,
    rank: Rank,
    *,
    split: str | Split | None = "default",
    settings: Settings | None = None,
    seed: int = 0,
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
    asked : EmbeddingStore or View
        A :class:`bioprobe.store.selections.MaskedStore` leaves out what its mask drops.
    kind : str
        One of :data:`bioprobe.task.method.KINDS`.
    rank : Rank
        Rank of the classes.
    split : str, Split or None
        Name of a split in the store, or one that is not kept; None takes every labelled row for
        training.
    settings : mapping, optional
        Arguments of the probe. What is given is not chosen.
    seed : int
        Of the folds, and of the probe where it draws at random.
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
    view = View.of(asked)
    store = view.store
    settings = dict(settings or {})
    make_probe(kind, settings)  # refuses unknown settings before anything is read
    if (kind == PROMPTED) != (texts is not None):
        msg = f"texts are where a {PROMPTED} starts; {kind} got {'some' if texts else 'none'}"
        raise ProbeError(msg)
    parts = read_split(store, split) if isinstance(split, str) else split
    material = gather_material(
        view, kind, rank, parts=parts, seed=seed, first_rank=first_rank, texts=texts,
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
    provenance = view.describe(
        {
            "seed": seed,
            "mask": view.mask,
            **({"first_rank": first_rank.value} if takes_lineages(kind) else {}),
            **(texts.describe() if texts else {}),
        }
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


# Below the highest logit; no softmax gives such a class any probability.
_ABSENT = 1e4


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutAnswers:
    """Logits of images that did not teach the probe that gave them.

    Parameters
    ----------
    logits : ndarray of float32, shape (n_images, n_classes)
        Of the classes of the probe, in their order; far below the others for a class that the
        probe which was asked had not learnt.
    truth : ndarray of int64, shape (n_images,)
        Class of each image, -1 where that probe had not learnt it.
    method : str
        ``validation`` part of the split, ``cross-validation`` of the training rows, or ``none``.
    """

    logits: Scores
    truth: Rows
    method: str


def answer_held_out(
    asked: EmbeddingStore | View,
    probe: TrainedProbe,
    *,
    split: str | Split | None = "default",
    seed: int = 0,
    first_rank: Rank = Rank.PHYLUM,
    texts: TextPrior | None = None,
    left_out_fraction: float = 0.0,
) -> HeldOutAnswers:
    """Ask a probe for images that it did not learn from, fitted again without them if need be.

    Images are those of the part ``validation``, which the fitted probe answers; where it is empty,
    the training rows, each answered by a probe of the same settings that learnt from the other
    folds. The part ``test`` is not read.

    Parameters
    ----------
    asked : EmbeddingStore or View
        That the probe was fitted on.
    probe : TrainedProbe
        As :func:`bioprobe.learning.fit.fit_probe` returned it.
    split, seed, first_rank, texts
        As they were given to it.
    left_out_fraction : float
        Share of the classes, in [0, 1), whose images are asked of a probe that has not learnt
        these classes at all, and come too, as images of no class.

    Raises
    ------
    ProbeError
        If the share is out of range.
    """
    view = View.of(asked)
    store = view.store
    if not 0 <= left_out_fraction < 1:
        msg = f"the share of classes left out lies in [0, 1), got {left_out_fraction:g}"
        raise ProbeError(msg)
    parts = read_split(store, split) if isinstance(split, str) else split
    material = gather_material(
        view, probe.kind, probe.rank, parts=parts, seed=seed, first_rank=first_rank, texts=texts,
    )  # fmt: skip
    settings = {**probe.settings, **(texts.embed(material.labelled.classes) if texts else {})}
    if material.method == "validation":
        rows = material.validation
        answers = probe.estimator.decision_function(store.read_vectors(rows.rows))
        # By lineage: a name that is unique in training may have a homonym among these.
        place_of = {taxon.lineage: place for place, taxon in enumerate(probe.classes)}
        truth = np.array([place_of.get(taxon.lineage, -1) for taxon in rows.classes])
        found, truths = [answers], [truth[rows.positions]]
    else:
        found, truths = (
            [np.zeros((0, len(probe.classes)), dtype=np.float32)],
            [np.zeros(0, dtype=np.int64)],
        )
        for fold in np.unique(material.folds[material.folds >= 0]):
            out = material.folds == fold
            answers, learnt = _fit_without(probe, settings, material, out)
            places = _find_places(probe.estimator, material.labelled.names[out])
            found.append(answers)
            truths.append(np.where(np.isin(places, learnt), places, -1))
    if left_out_fraction:
        out = _leave_out(material, left_out_fraction, seed)
        found.append(_fit_without(probe, settings, material, out)[0])
        truths.append(np.full(int(out.sum()), -1))
    return HeldOutAnswers(np.concatenate(found), np.concatenate(truths), material.method)


def _fit_without(
    probe: TrainedProbe, settings: dict[str, object], material: Material, out: npt.NDArray[np.bool_]
) -> tuple[Scores, Rows]:
    """Fit again without some rows, and return their logits and the classes that were learnt."""
    training = material.training & ~out
    again = make_probe(probe.kind, settings).fit(material.vectors[training], material.y[training])
    logits = again.decision_function(material.vectors[out])
    learnt = _find_places(probe.estimator, again.classes_)
    answers = np.repeat(logits.max(axis=1, keepdims=True) - _ABSENT, len(probe.classes), axis=1)
    answers[:, learnt] = logits
    return answers.astype(np.float32), learnt


def _find_places(probe: Probe, names: npt.NDArray[np.object_]) -> Rows:
    place_of = {str(name): place for place, name in enumerate(probe.classes_)}
    return np.array([place_of.get(str(name), -1) for name in names], dtype=np.int64)


def _leave_out(material: Material, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return which rows are of classes that are left out; two classes are kept at least."""
    names = material.labelled.names.astype(str)
    classes = np.unique(names[material.training & (names != "")])
    n_out = min(max(1, round(fraction * len(classes))), len(classes) - 2)
    if n_out < 1:
        msg = f"leaving classes out takes three or more, got {len(classes)}"
        raise ProbeError(msg)
    out = np.random.default_rng(seed).choice(classes, size=n_out, replace=False)
    return np.isin(names, out)
