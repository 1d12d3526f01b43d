"""A method fitted on a task: what is not given is chosen, and what it answers on held-out rows."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.keeping import PROJECTION_INPUT
from bioprobe.errors import ProbeError
from bioprobe.learning.excluded import find_excluded, fit_with_excluded, takes_weights
from bioprobe.learning.fitted import FittedProbe, HeldOut
from bioprobe.probes.never_held_out import find_never, imagine_rows
from bioprobe.probes.probe import Probe, Sweep, judge_each
from bioprobe.provenance import Provenance
from bioprobe.registry import METHODS
from bioprobe.splits.groups import number_groups
from bioprobe.task.columns import WEIGHT, WEIGHTS
from bioprobe.task.lazy_rows import AnyRows, stack_rows
from bioprobe.task.method import Fitted, Method, find_probe, is_estimator, make_probe
from bioprobe.task.scores import split_rows
from bioprobe.task.target import Classes, Labelled, hash_rows, mark_rows
from bioprobe.task.task import Inner, Task
from bioprobe.types import Arrays, Mask, Places, Rows, Scores, Settings, Vectors

# Below the highest logit; no softmax gives such a class any probability.
_ABSENT = 1e4
# Rows imagined for each of a class that is never held out: one alone may be an easy one.
_N_IMAGINED = 5
#: Held-out logits that are computed with, 256 MB of them; a thousand images always are.
MOST_LOGITS, LEAST_IMAGES = 64_000_000, 1_000
#: Log-loss of an image whose class has no probability: that of the least float32 beside 1.
LEAST_LIKELY_LOSS = float(-np.log(np.finfo(np.float32).eps))


def fit(task: Task, method: str, settings: Settings | None = None) -> Fitted:
    """Fit a method on the training rows of a task.

    Parameters
    ----------
    task : Task
        What is to be learnt.
    method : str
        One of :data:`bioprobe.registry.METHODS`.
    settings : mapping, optional
        What is given is not chosen.

    Raises
    ------
    ProbeError
        If the method or a setting is unknown, it lacks texts, or fewer than two classes have a
        training row.
    """
    if method in METHODS.names and not is_estimator(method):
        made: Method = METHODS.load(method)()
        return made.fit(task, settings)
    return fit_probe(task, method, settings)


def read_texts(task: Task, method: str) -> None:
    """Have the encoder read the texts that a method asks for, where it reads.

    Called before a clock runs: the first text loads the encoder, and no method takes longer for
    being asked first.
    """
    reads = method in METHODS.names and METHODS.load(method).needs_texts
    if reads and task.texts is not None:
        task.texts.embed(task.classes)


def fit_probe(task: Task, kind: str, settings: Settings | None = None) -> FittedProbe:
    """Fit a probe on the labelled images of a task.

    Training rows are those of the part ``train`` that have a label. A value that is not given,
    such as the regularisation, is chosen on the rows that :meth:`bioprobe.task.task.Task.inner`
    holds out; then the probe is fitted on the training rows alone. The part ``test`` is not read.

    Parameters
    ----------
    task : Task
        What is to be learnt.
    kind : str
        A method that is a classifier of plain arrays.
    settings : mapping, optional
        Arguments of the probe. What is given is not chosen.

    Raises
    ------
    ProbeError
        If the kind or a setting is unknown, it lacks texts, or fewer than two classes have a
        training row.
    SelectionError
        If no image is left.
    """
    if task.columns is not None and task.columns.weight is None:
        return _choose_weight(task, kind, settings)
    own = dict(settings or {})
    make_probe(kind, own)  # refuses unknown settings before anything is read
    described = find_probe(kind)
    described.check_settings(own)
    if described.needs_texts and task.texts is None:
        msg = f"{kind} starts from the texts of classes, and there are none: its encoder reads none"
        raise ProbeError(msg)
    if task.columns is not None and not described.takes_columns:
        msg = (
            f"{kind} compares vectors of one length, so that no columns stand beside them; take "
            f"{', '.join(list_taking_columns())}, or leave --with out"
        )
        raise ProbeError(msg)
    if task.extra is not None and described.reads:
        msg = (
            f"{kind} learns from {described.reads}, which is kept of whole pictures, not of their "
            "views; leave --augment-views out"
        )
        raise ProbeError(msg)
    texts = task.texts if described.needs_texts else None
    inner = gather_inner(task, kind)
    fixed = complete_settings(kind, own, task.seed)
    prior = gather_prior(task, kind, inner.labelled.classes)
    extra = gather_extra(task, inner)
    chosen, held_out = _choose(kind, fixed, prior, inner, extra)
    training = inner.training
    probe = make_probe(kind, {**chosen, **prior})
    taught_rows = teach(inner.vectors, inner.y, training, extra)
    probe.fit(*taught_rows)
    excluded = _learn_excluded(task, probe, taught_rows)
    if inner.method == "validation":
        held_out = _measure(probe, inner, held_out)
    elif held_out.n_images:
        held_out = dataclasses.replace(held_out, n_images=inner.n_held_out)
    held_out = dataclasses.replace(
        held_out, reason=inner.reason, n_never=inner.n_never, n_classes=len(inner.labelled.classes)
    )
    taught = inner.labelled.take(training)
    provenance = task.view.describe(
        {
            "seed": task.seed,
            "mask": task.view.mask,
            **({"first_rank": task.target.chain[0]} if described.takes_lineages else {}),
            **(texts.describe() if texts else {}),
            **({"columns": task.block.to_dict()} if task.block else {}),
            **({"reads": described.reads} if described.reads else {}),
            **({"n_copies": extra.shape[1]} if extra is not None else {}),
            **excluded,
        },
        n_rows=len(taught),
    )
    return describe_fitted(task, probe, taught, chosen, provenance, held_out)


def _learn_excluded(
    task: Task, probe: Probe, taught: tuple[AnyRows, npt.NDArray[Any]]
) -> dict[str, int]:
    """Let images teach of which only what they are not is known, and return how many do not."""
    X, y = taught  # noqa: N806 - scikit-learn's name
    if not task.store.annotations.standing or y.ndim > 1:
        return {}
    classes = task.labelled.classes.take(task.labelled.classes.find(probe.classes_))
    excluded = find_excluded(task, classes)
    if not len(excluded):
        return {}
    if not takes_weights(probe):
        return {"n_excluded_unused": len(excluded)}
    others = task.seen.read_vectors(excluded.rows)
    fit_with_excluded(probe, X, y, others, excluded.is_left)
    return {"n_excluded": len(excluded)}


def _choose_weight(task: Task, kind: str, settings: Settings | None) -> FittedProbe:
    """Fit with each weight of the columns, and return what is right most often on held-out rows.

    Of those that are equally often right it is the one of the lowest weight.
    """
    if not find_probe(kind).takes_columns or gather_inner(task, kind).method == "none":
        return fit_probe(task.weigh_columns(WEIGHT), kind, settings)
    found = {one: fit_probe(task.weigh_columns(one), kind, settings) for one in WEIGHTS}
    counts = {one: probe.held_out.n_correct for one, probe in found.items()}
    best = found[max(counts, key=lambda one: counts[one])]
    tried = {f"{one:g}": n / max(1, best.held_out.n_images) for one, n in counts.items()}
    options = {**best.provenance["options"], "column_weights": tried}
    return dataclasses.replace(best, provenance={**best.provenance, "options": options})


def describe_fitted(
    task: Task,
    estimator: Probe,
    taught: Labelled,
    settings: dict[str, Any],
    provenance: Provenance,
    held_out: HeldOut = HeldOut("none"),  # noqa: B008 - it cannot be changed
) -> FittedProbe:
    """Return a classifier that was fitted on labelled images of a task, with what says so."""
    store, split = task.store, task.split
    return FittedProbe(
        estimator=estimator,
        classes=taught.classes.take(taught.classes.find(estimator.classes_)),
        settings=settings,
        encoder=store.manifest.encoder,
        dim=(
            estimator.n_features_in_
            if estimator.reads
            else store.manifest.dim + (task.block.width if task.block else 0)
        ),
        rows_hash=hash_rows(store.images, taught.rows),
        n_rows=len(taught),
        taught=np.unique(mark_rows(store.images, taught.rows)),
        split_name=split.name if split else "",
        split_hash=split.hash if split else "",
        held_out=held_out,
        provenance=provenance.to_dict(),
        block=task.block,
    )


def list_taking_columns(methods: Iterable[str] | None = None) -> list[str]:
    """Return those of some methods, by default of ours, that take columns beside the vectors."""
    listed = METHODS.places if methods is None else methods
    return [one for one in listed if is_estimator(one) and find_probe(one).takes_columns]


def gather_inner(task: Task, kind: str) -> Inner:
    """Return the rows of a task as a kind of probe learns them."""
    described = find_probe(kind)
    return task.reading(described.reads).inner(
        lineages=described.takes_lineages,
        untaught=described.answers_untaught,
        lazy=described.takes_lazy_rows,
    )


def gather_prior(task: Task, kind: str, classes: Classes) -> dict[str, Any]:
    """Return what a kind of probe starts from: texts of the classes, the encoder's projection.

    Returns
    -------
    dict
        Arguments of the probe; none for most.

    Raises
    ------
    SelectionError
        If the store keeps none of what the probe learns from.
    """
    described, prior = find_probe(kind), dict[str, Any]()
    if described.needs_texts and task.texts is not None:
        prior |= task.texts.embed(classes)
    if described.reads == PROJECTION_INPUT:
        matrix, bias = task.view.reading(PROJECTION_INPUT).read_projection()
        prior |= {"projection": matrix, "projection_bias": bias}
    return prior


def gather_extra(task: Task, inner: Inner) -> Vectors | None:
    """Return the altered copies of the rows that a task gives, with the columns beside each.

    Returns
    -------
    ndarray of float32, shape (n_images, n_copies, dim), or None
    """
    if task.extra is None:
        return None
    copies = task.extra(inner.labelled.rows)
    columns = np.asarray(inner.vectors)[:, copies.shape[2] :]
    if not columns.shape[1]:
        return copies
    beside = np.repeat(columns[:, None], copies.shape[1], axis=1)
    return np.concatenate([copies, beside], axis=2)


def teach(
    X: AnyRows,  # noqa: N803 - scikit-learn's name
    y: npt.NDArray[Any],
    kept: Mask,
    extra: Vectors | None,
) -> tuple[AnyRows, npt.NDArray[Any]]:
    """Return the rows that teach, each with its altered copies where there are any.

    Parameters
    ----------
    X : ndarray of float32, or LazyRows, shape (n_images, dim)
    y : ndarray, shape (n_images,) or (n_images, n_ranks)
    kept : ndarray of bool, shape (n_images,)
        Which teach.
    extra : ndarray of float32, shape (n_images, n_copies, dim), or None
    """
    if extra is None:
        # A copy of a million vectors is 2 GB.
        return (X, y) if kept.all() else (X[kept], y[kept])
    copies = extra[kept]
    n_copies = copies.shape[1]
    return (
        stack_rows(X[kept], copies.reshape(-1, X.shape[1])),
        np.concatenate([y[kept], np.repeat(y[kept], n_copies, axis=0)]),
    )


def complete_settings(kind: str, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add what every question gives a probe that takes it, unless it is given: seed and balance.

    Classes weigh the same, so that those of few images are not lost to an intercept that nothing
    penalises. This is said here and kept with the probe; an estimator by itself is scikit-learn's.

    References
    ----------
    King and Zeng 2001, *Logistic Regression in Rare Events Data*: weighting by the classes' shares.
    """
    usual = {"seed": seed, "balance": "class-weight"}
    taken = make_probe(kind).get_params()
    return {**{name: value for name, value in usual.items() if name in taken}, **settings}


def _choose(
    kind: str,
    settings: dict[str, Any],
    prior: dict[str, Any],
    inner: Inner,
    extra: Vectors | None,
) -> tuple[dict[str, Any], HeldOut]:
    """Choose what is not given, and measure the probe on rows it did not learn from."""
    described, folds = find_probe(kind), inner.folds
    parameter = described.parameter
    is_open = bool(parameter) and parameter not in settings
    if inner.method == "none" or (inner.method == "validation" and not is_open):
        return settings, HeldOut(inner.method)
    if not (folds >= 0).any():
        # All held-out images are of classes that the probe cannot answer.
        return settings, HeldOut(inner.method, 0, inner.n_held_out)
    vectors, y = inner.vectors, inner.y
    if not parameter:
        accuracies = measure_folds(kind, {**settings, **prior}, vectors, y, folds, extra)[0]
        return settings, HeldOut(inner.method, *_count_right(accuracies, folds))
    others = {name: value for name, value in settings.items() if name != parameter} | prior
    values = described.values if is_open else (settings[parameter],)
    sweep = measure_values(kind, others, vectors, y, np.array(values), folds, extra)
    held_out = describe_sweep(inner.method, sweep, folds, is_open=is_open)
    if not is_open:
        return settings, held_out
    return {**settings, parameter: as_setting(sweep.best_value)}, held_out


def describe_sweep(method: str, sweep: Sweep, folds: Places, *, is_open: bool) -> HeldOut:
    """Return how the best value of a sweep did; where it was open, what was tried too."""
    counts = _count_right(sweep.accuracies[sweep.best_index], folds)
    if not is_open:
        return HeldOut(method, *counts)
    means = sweep.accuracies.mean(axis=1)
    return HeldOut(
        method, *counts, sweep.parameter, tuple(sweep.values.tolist()), tuple(means.tolist())
    )


def _count_right(accuracies: npt.NDArray[np.float64], folds: Places) -> tuple[int, int]:
    """Return how many held-out rows are right, and how many there are."""
    sizes = np.unique(folds[folds >= 0], return_counts=True)[1]
    return int(np.rint(accuracies * sizes).sum()), int(sizes.sum())


def _measure(probe: Probe, inner: Inner, chosen: HeldOut) -> HeldOut:
    """Count the right answers of the fitted probe on the validation part."""
    out = inner.folds >= 0
    answers = probe.predict(inner.vectors[out])
    n_correct = int((answers == inner.labelled.names[out]).sum())
    return dataclasses.replace(chosen, n_correct=n_correct, n_images=inner.n_held_out)


def measure_values(
    kind: str,
    settings: Settings,
    X: AnyRows,  # noqa: N803 - scikit-learn's name
    y: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    folds: Places,
    extra: Vectors | None = None,
) -> Sweep:
    """Measure a probe at many values of what is chosen, each on rows it did not learn from.

    Classes of which no row is held out could be lost unseen by the strongest regularisation. So a
    fit that learnt from their rows is asked of rows as far from these as held-out rows lie from
    others of their class (:func:`bioprobe.probes.never_held_out.imagine_rows`), and this counts
    when a value is chosen.

    Parameters
    ----------
    kind : str
        Kind that has something to choose.
    settings : mapping
        Its other arguments.
    X : ndarray of float32, or LazyRows, shape (n_images, dim), unit rows
    y : ndarray, shape (n_images,)
    values : ndarray of float64, shape (n_values,)
        From the strongest regularisation to the weakest.
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.
    extra : ndarray of float32, shape (n_images, n_copies, dim), optional
        Altered copies of each, which teach where it does.
    """
    found = _sweep_extra(kind, settings, X, y, values, folds, extra)
    names = y[:, -1] if y.ndim == 2 else y
    never = find_never(names, folds)
    # Of tokens none are imagined: what is not held out is learnt from all the same.
    if not never.any() or not (folds >= 0).any() or X.ndim != 2:
        return found
    taught = folds != folds[folds >= 0].min()
    imagined, likes = imagine_rows(X, names, folds, _N_IMAGINED)
    again = np.concatenate([np.full(int(taught.sum()), -1), np.zeros(len(likes), np.int64)])
    asked, of = stack_rows(X[taught], imagined), np.concatenate([y[taught], y[likes]])
    marks = _sweep(kind, settings, asked, of, values, again)
    remembered = np.stack([marks.accuracies[:, 0], marks.log_losses[:, 0]])
    weight = float(never.sum() / (folds >= 0).sum())
    return dataclasses.replace(found, remembered=remembered, weight=weight)


def _sweep_extra(
    kind: str,
    settings: Settings,
    X: AnyRows,  # noqa: N803 - scikit-learn's name
    y: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    folds: Places,
    extra: Vectors | None,
) -> Sweep:
    """Sweep fold by fold, as the copies of what is held out teach nothing and are not judged."""
    if extra is None or not (folds >= 0).any():
        return _sweep(kind, settings, X, y, values, folds)
    found = []
    for fold in np.unique(folds[folds >= 0]):
        out = folds == fold
        taught, names = teach(X, y, ~out, extra)
        again = np.concatenate([np.full(len(taught), -1), np.zeros(int(out.sum()), np.int64)])
        rows = stack_rows(taught, np.asarray(X[out])), np.concatenate([names, y[out]])
        found.append(_sweep(kind, settings, *rows, values, again))
    return dataclasses.replace(
        found[0],
        accuracies=np.concatenate([one.accuracies for one in found], axis=1),
        log_losses=np.concatenate([one.log_losses for one in found], axis=1),
    )


def _sweep(
    kind: str,
    settings: Settings,
    X: AnyRows,  # noqa: N803 - scikit-learn's name
    y: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    folds: Places,
) -> Sweep:
    described = find_probe(kind)
    sweep: Any = getattr(described, "sweep", None)
    accepted = inspect.signature(sweep).parameters if sweep is not None else {}
    # A sweep knows the classes that its rows teach, not those that only a text stands for.
    alone = described.answers_untaught and not np.isin(y[folds >= 0], y[folds != 0]).all()
    if sweep is not None and not alone and all(name in accepted for name in settings):
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
    X: AnyRows,  # noqa: N803 - scikit-learn's name
    y: npt.NDArray[Any],
    folds: Places,
    extra: Vectors | None = None,
) -> npt.NDArray[np.float64]:
    """Fit a probe without each fold and measure it there.

    Parameters
    ----------
    kind : str
        Kind of probe.
    settings : mapping
        Its arguments.
    X : ndarray of float32, or LazyRows, shape (n_images, dim), unit rows
    y : ndarray, shape (n_images,), or (n_images, n_ranks) for a kind that takes lineages
        Rows whose last name is ``""`` are learnt from, not measured.
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.
    extra : ndarray of float32, shape (n_images, n_copies, dim), optional
        Altered copies of each, which teach where it does.

    Returns
    -------
    ndarray of float64, shape (2, n_folds)
        Accuracies and log-losses.
    """
    names = y[:, -1] if y.ndim == 2 else y
    measured = []
    for fold in np.unique(folds[folds >= 0]):
        out = folds == fold
        probe = make_probe(kind, settings).fit(*teach(X, y, ~out, extra))
        asked = X[out]
        place_of = {name: place for place, name in enumerate(probe.classes_)}
        places = np.array([place_of.get(name, -1) for name in names[out]], dtype=np.int64)
        judged = [
            judge_each(probe.predict_proba(asked[part]), places[part])
            for part in split_rows(len(asked), max(len(probe.classes_), asked.shape[1]))
        ]
        measured.append([float(np.concatenate(one).mean()) for one in zip(*judged, strict=True)])
    return np.array(measured, dtype=np.float64).T.reshape(2, -1)


def as_setting(value: float) -> float | int:
    """Return a value as an integer where it is one: a number of neighbours is no 5.0."""
    return int(value) if float(value).is_integer() else float(value)


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutAnswers:
    """Logits of images that did not teach the probe that gave them.

    Parameters
    ----------
    logits : ndarray of float32, shape (n_images, n_classes)
        Of the classes of the probe, in their order; far below the others for a class that the
        probe which was asked had not learnt.
        Of many classes only of some images, evenly spaced: of so many that they have
        :data:`MOST_LOGITS`, of a thousand at least.
    truth : ndarray of int64, shape (n_images,)
        Class of each image, -1 where that probe had not learnt it. An image of a class that the
        method cannot answer is here too, with its logits, and no class.
    method : str
        ``validation`` part of the split, ``cross-validation`` of the training rows, or ``none``.
    groups : ndarray of int64, shape (n_images,), optional
        Group of each image in the split; None where each is on its own.
    labels : ndarray of int64, shape (n_images,), optional
        Number of the label of each image; None where an earlier version kept none.
    left_out : ndarray of bool, shape (n_images,), optional
        Whether its class was left out on purpose; None where none was.
    n_held_out : int
        Images that were held out, of which these are all or some.
    """

    logits: Scores
    truth: Places
    method: str
    groups: Places | None = None
    labels: Places | None = None
    left_out: Mask | None = None
    n_held_out: int = 0

    def take(self, kept: Rows) -> HeldOutAnswers:
        """Return the answers for some of the images."""
        if len(kept) == len(self.truth):
            return self
        arrays = {name: one[kept] for name, one in self.to_arrays().items()}
        return HeldOutAnswers(**arrays, method=self.method, n_held_out=self.n_held_out)

    def to_arrays(self) -> Arrays:
        """Return what there is of them as arrays."""
        named = ((one.name, getattr(self, one.name)) for one in dataclasses.fields(self))
        return {name: values for name, values in named if isinstance(values, np.ndarray)}


def answer_held_out(
    task: Task, fitted: Fitted, method: str, *, left_out_fraction: float = 0.0
) -> HeldOutAnswers:
    """Ask a method for images that it did not learn from, fitted again without them if need be.

    Images are those that :meth:`bioprobe.task.task.Task.inner` holds out: of the part
    ``validation``, which the fitted method answers; where that is empty, the training rows, each
    answered by one of the same settings that learnt from the other folds.

    Parameters
    ----------
    task : Task
        That the method was fitted on.
    fitted : Fitted
        As :func:`fit` returned it.
    method : str
        Its name.
    left_out_fraction : float
        Share of the classes, in [0, 1), whose images are asked of a probe that has not learnt
        these classes at all, and come too, as images of no class.

    Raises
    ------
    ProbeError
        If the share is out of range, or classes are to be left out of what is no probe.
    """
    if not 0 <= left_out_fraction < 1:
        msg = f"the share of classes left out lies in [0, 1), got {left_out_fraction:g}"
        raise ProbeError(msg)
    if isinstance(fitted, FittedProbe) and is_estimator(method):
        return _answer_by_probe(task, fitted, left_out_fraction)
    if left_out_fraction:
        msg = f"classes are left out of probes; {method} is none"
        raise ProbeError(msg)
    return _answer_by_method(task, fitted, method)


def _answer_by_probe(task: Task, fitted: FittedProbe, left_out_fraction: float) -> HeldOutAnswers:
    if fitted.block is not None:
        task = task.weigh_columns(fitted.block.weight)
    inner = gather_inner(task, fitted.kind)
    extra = gather_extra(task, inner)
    prior = gather_prior(task, fitted.kind, inner.labelled.classes)
    settings = {**fitted.settings, **prior}
    places = fitted.classes.find(inner.labelled.names)
    left_out: Rows = np.zeros(0, dtype=np.int64)
    if left_out_fraction:
        left_out = np.flatnonzero(_leave_out(inner, left_out_fraction, task.seed))
    n_held_out = int((inner.folds >= 0).sum()) + len(inner.unknown) + len(left_out)
    answers = _Gathering(n_held_out, len(fitted.classes))
    for fold in np.unique(inner.folds[inner.folds >= 0]):
        out = np.flatnonzero(inner.folds == fold)
        kept, truth, probe = out[answers.choose(len(out))], places, fitted.estimator
        if inner.method != "validation":
            probe = _fit_without(fitted, settings, inner, out, extra)
            truth = np.where(np.isin(places, fitted.classes.find(probe.classes_)), places, -1)
        answers.ask(fitted, probe, inner.vectors[kept])
        answers.add(inner.labelled.rows[kept], truth[kept])
    if len(inner.unknown):
        rows = inner.unknown.rows[answers.choose(len(inner.unknown))]
        reading = task.reading(fitted.estimator.reads)
        vectors = reading.take_vectors(rows, lazy=fitted.estimator.takes_lazy_rows)
        answers.ask(fitted, fitted.estimator, vectors)
        answers.add(rows)
    n_left_out = 0
    if len(left_out):
        kept = left_out[answers.choose(len(left_out))]
        again = _fit_without(fitted, settings, inner, left_out, extra)
        answers.ask(fitted, again, inner.vectors[kept])
        answers.add(inner.labelled.rows[kept])
        n_left_out = len(kept)
    return _gather_answers(task, inner, answers, n_left_out)


class _Gathering:
    """Logits of held-out images, evenly spaced where all of them would be too many."""

    def __init__(self, n_held_out: int, n_classes: int) -> None:
        n = min(n_held_out, max(LEAST_IMAGES, MOST_LOGITS // max(1, n_classes)))
        self.n_held_out = n_held_out
        self.logits = np.zeros((n, n_classes), dtype=np.float32)
        self.truths: list[Places] = [np.zeros(0, dtype=np.int64)]
        self.rows: list[Rows] = [np.zeros(0, dtype=np.int64)]
        self._kept = np.linspace(0, n_held_out, n, endpoint=False).astype(np.int64)
        self._n_seen = self._n_asked = 0

    def choose(self, n: int) -> Rows:
        """Return which of the next ``n`` held-out images are asked."""
        self._n_seen += n
        own = self._kept[(self._kept >= self._n_seen - n) & (self._kept < self._n_seen)]
        return own - (self._n_seen - n)

    def ask(self, fitted: FittedProbe, probe: Probe, vectors: AnyRows) -> None:
        """Take the logits of a probe that was fitted as another, for the chosen images."""
        learnt, n_classes = fitted.classes.find(probe.classes_), self.logits.shape[1]
        for part in split_rows(len(vectors), max(n_classes, vectors.shape[1])):
            logits = probe.logits(vectors[part])
            self.put(logits if probe is fitted.estimator else _spread(logits, learnt, n_classes))

    def put(self, logits: Scores) -> None:
        """Take logits of the next of the chosen images."""
        self.logits[self._n_asked : self._n_asked + len(logits)] = logits
        self._n_asked += len(logits)

    def add(self, rows: Rows, truth: Places | None = None) -> None:
        """Take which images these are, and their classes; by default none of those asked for."""
        self.rows.append(rows)
        self.truths.append(np.full(len(rows), -1) if truth is None else truth)


def _answer_by_method(task: Task, fitted: Fitted, method: str) -> HeldOutAnswers:
    """Ask any method through its own face; probabilities stand for logits by their logarithm."""
    made: Method = METHODS.load(method)()
    inner = task.inner(untaught=made.answers_untaught, lazy=True)
    gathered = _Gathering(int((inner.folds >= 0).sum()), len(fitted.classes))
    learns = fitted.n_rows > 0 and inner.method != "validation"
    for fold in np.unique(inner.folds[inner.folds >= 0]):
        rows = inner.labelled.rows[inner.folds == fold]
        asked = made.fit(task.without(rows), fitted.settings) if learns else fitted
        rows = rows[gathered.choose(len(rows))]
        if not len(rows):
            continue
        answers = asked.ask(task.view.take(rows), len(asked.classes))
        logs = np.log(np.maximum(answers.to_dense(), np.finfo(np.float32).tiny))
        gathered.put(_spread(logs, fitted.classes.place(asked.classes), len(fitted.classes)))
        truth = fitted.classes.find_labels(answers.images, answers.rows)
        gathered.add(rows, truth if answers.taught is None else np.where(answers.taught, -1, truth))
    return _gather_answers(task, inner, gathered)


def _gather_answers(
    task: Task, inner: Inner, gathered: _Gathering, n_left_out: int = 0
) -> HeldOutAnswers:
    """Join answers, with the groups and labels of their rows; the last ones were left out."""
    asked, groups = np.concatenate(gathered.rows), None
    if task.split is not None:
        groups = number_groups(task.split.groups[asked], len(asked))
    names = task.store.images.labels(task.target.name)[asked].astype(str)
    _, labels = np.unique(names, return_inverse=True)
    left_out = np.arange(len(asked)) >= len(asked) - n_left_out if n_left_out else None
    return HeldOutAnswers(
        gathered.logits, np.concatenate(gathered.truths), inner.method, groups,
        np.asarray(labels, dtype=np.int64), left_out, gathered.n_held_out,
    )  # fmt: skip


def _fit_without(
    fitted: FittedProbe,
    settings: dict[str, object],
    inner: Inner,
    out: Rows,
    extra: Vectors | None,
) -> Probe:
    """Fit again without some rows."""
    training = inner.training | bool(inner.reason)
    training[out] = False
    again: Probe = make_probe(fitted.kind, settings)
    return again.fit(*teach(inner.vectors, inner.y, training, extra))


def _spread(logits: Scores, places: Places, n_classes: int) -> Scores:
    """Return logits in the order of all classes, those that are not among them far below."""
    spread = np.repeat(logits.max(axis=1, keepdims=True) - _ABSENT, n_classes, axis=1)
    spread[:, places] = logits
    return spread.astype(np.float32)


def _leave_out(inner: Inner, fraction: float, seed: int) -> Mask:
    """Return which rows are of classes that are left out; two classes are kept at least."""
    names = inner.labelled.names.astype(str)
    classes = np.unique(names[inner.training & (names != "")])
    n_out = min(max(1, round(fraction * len(classes))), len(classes) - 2)
    if n_out < 1:
        msg = f"leaving classes out takes three or more, got {len(classes)}"
        raise ProbeError(msg)
    out = np.random.default_rng(seed).choice(classes, size=n_out, replace=False)
    return np.isin(names, out)
