"""What a fitted probe answers on images that it did not learn from."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.probes.fitting.material import Material, gather_material
from bioprobe.probes.kinds import make_probe
from bioprobe.probes.probe import Probe
from bioprobe.probes.text_prior import TextPrior
from bioprobe.probes.trained import TrainedProbe
from bioprobe.splits import Split, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank

Rows = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]

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

    logits: Logits
    truth: Rows
    method: str


def answer_held_out(
    store: EmbeddingStore,
    probe: TrainedProbe,
    *,
    split: str | Split | None = "default",
    seed: int = 0,
    condition: str | None = None,
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
    store : EmbeddingStore
        That the probe was fitted on.
    probe : TrainedProbe
        As :func:`bioprobe.probes.fitting.training.fit_probe` returned it.
    split, seed, condition, first_rank, texts
        As they were given to it.
    left_out_fraction : float
        Share of the classes, in [0, 1), whose images are asked of a probe that has not learnt
        these classes at all, and come too, as images of no class.

    Raises
    ------
    ProbeError
        If the share is out of range.
    """
    if not 0 <= left_out_fraction < 1:
        msg = f"the share of classes left out lies in [0, 1), got {left_out_fraction:g}"
        raise ProbeError(msg)
    parts = read_split(store, split) if isinstance(split, str) else split
    material = gather_material(
        store, probe.kind, probe.rank, parts=parts, condition=condition, seed=seed,
        first_rank=first_rank, texts=texts,
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
) -> tuple[Logits, Rows]:
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
