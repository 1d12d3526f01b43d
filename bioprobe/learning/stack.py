"""Probes of several encoders over the same images, combined and kept in the store of the first."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import MismatchError, ProbeError, StoreError
from bioprobe.images.regions import REGION, get_number
from bioprobe.learning.fit import as_setting, describe_fitted, describe_sweep, measure_values
from bioprobe.learning.fitted import FittedProbe, HeldOut
from bioprobe.learning.keeping import read_probe
from bioprobe.probes.stacked import StackProbe
from bioprobe.provenance import Provenance
from bioprobe.splits import read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.method import find_probe, make_probe
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes, Labelled
from bioprobe.task.task import N_FOLDS, Task
from bioprobe.types import Mask, Rows, Settings, Vectors

if TYPE_CHECKING:
    from bioprobe.probes.probe import Sweep


@dataclasses.dataclass(frozen=True, eq=False)
class SharedImages:
    """Images with their row in each of several stores.

    Parameters
    ----------
    stores : tuple of EmbeddingStore
        Stores of the same images.
    rows : ndarray of int64, shape (n_images, n_stores)
        Row of each image in each store.
    n_missing : tuple of int
        Of each store but the first, how many of the images asked for it lacks; an image that two
        of them lack is counted in both.
    """

    stores: tuple[EmbeddingStore, ...]
    rows: Rows
    n_missing: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept: Mask) -> Self:
        """Return some of the images."""
        return dataclasses.replace(self, rows=self.rows[kept])

    def divide(self, n_at_once: int) -> Iterator[Self]:
        """Return the images some at a time.

        Yields
        ------
        SharedImages
            An empty one where there is no image.
        """
        for start in range(0, max(1, len(self)), n_at_once):
            yield dataclasses.replace(self, rows=self.rows[start : start + n_at_once])

    def read_vectors(self) -> list[Vectors]:
        """Read the vectors of the images, of each store an array of shape (n_images, dim)."""
        return [store.read_vectors(self.rows[:, place]) for place, store in enumerate(self.stores)]


def find_shared_images(stores: Sequence[EmbeddingStore], rows: Rows) -> SharedImages:
    """Find which images of the first store the others hold too.

    Images are known by the SHA-256 of their bytes. Where one of the two stores does not have it,
    as of imported vectors, they are known by a path that only one image of each store has.

    Parameters
    ----------
    stores : sequence of EmbeddingStore
        The images that are current in each take part.
    rows : ndarray of int64, shape (n,)
        Rows of the first.

    Raises
    ------
    MismatchError
        If a store has none of the images.
    """
    first = stores[0]
    columns = [np.asarray(rows, dtype=np.int64)]
    for other in stores[1:]:
        columns.append(_find_rows(first, columns[0], other))
        if len(rows) and not (columns[-1] >= 0).any():
            msg = (
                f"{other.folder} holds none of the {len(rows):,} images of {first.folder} that "
                "are asked for: by neither the SHA-256 of their bytes nor, where that is unknown, "
                "their paths; embed the same images into it"
            )
            raise MismatchError(msg)
    places = np.stack(columns, axis=1)
    n_missing = tuple(int((column < 0).sum()) for column in columns[1:])
    return SharedImages(tuple(stores), places[(places >= 0).all(axis=1)], n_missing)


def _find_rows(store: EmbeddingStore, rows: Rows, other: EmbeddingStore) -> Rows:
    """Return the row of each image in another store, -1 where it is not there."""
    frame, there = store.images.frame, other.images.frame.iloc[other.rows]
    contents = other.images.contents[other.rows].tolist()
    keys_there = zip(contents, map(get_number, there[REGION]), strict=True)
    by_bytes = dict(zip(keys_there, other.rows.tolist(), strict=True))
    times = collections.Counter(there["path"])
    by_path = {
        path: (row, sha256)
        for path, row, sha256 in zip(there["path"], other.rows.tolist(), there["sha256"],
                                     strict=True)
        if times[path] == 1
    }  # fmt: skip
    times_here = collections.Counter(frame["path"].iloc[store.rows])
    asked = frame.iloc[rows]
    found = np.full(len(rows), -1, dtype=np.int64)
    keys = zip(store.images.contents[rows].tolist(), map(get_number, asked[REGION]), strict=True)
    of_rows = zip(keys, asked["sha256"], asked["path"], strict=True)
    for place, (key, sha256, path) in enumerate(of_rows):
        row, its = by_path.get(path, (-1, ""))
        if sha256 and key in by_bytes:
            found[place] = by_bytes[key]
        elif not (sha256 and its) and times_here[path] == 1:
            found[place] = row
    return found


_IMAGES_AT_ONCE = 16_384


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedStack:
    """A stack with the encoders that it takes vectors of.

    Parameters
    ----------
    probe : FittedProbe
        Of kind ``stack``; its provenance names the encoders.
    n_missing : tuple of int
        Of each further store, labelled images of the split that it lacked at the fit.
    others : tuple of EmbeddingStore
        The further stores, in the order of their encoders; needed to answer a view.
    """

    probe: FittedProbe
    n_missing: tuple[int, ...] = ()
    others: tuple[EmbeddingStore, ...] = ()

    @property
    def classes(self) -> Classes:
        """What it can answer."""
        return self.probe.classes

    @property
    def settings(self) -> dict[str, Any]:
        """Bases with what was chosen for them, how they are combined, and of what encoders."""
        models = [one["model"] for one in self.probe.provenance["options"]["encoders"]]
        return {**self.probe.settings, "encoders": models}

    @property
    def n_rows(self) -> int:
        """Images that it learnt from."""
        return self.probe.n_rows

    def ask(self, view: View, k: int = 5) -> Predictions:
        """Label the images of a view of the first store.

        Raises
        ------
        MismatchError
            If a further store lacks some of the images: what is judged is the same for all methods.
        """
        shared = find_shared_images((view.store, *self.others), view.rows)
        for other, n_missing in zip(self.others, shared.n_missing, strict=True):
            if n_missing:
                msg = (
                    f"{other.folder} lacks {n_missing:,} of the {len(view):,} images that are "
                    "stacked; embed the same images into it, or leave --with-store out"
                )
                raise MismatchError(msg)
        return self.predict(shared, k)

    @property
    def estimator(self) -> StackProbe:
        """The classifier.

        Raises
        ------
        ProbeError
            If it is of another kind.
        """
        estimator = self.probe.estimator
        if not isinstance(estimator, StackProbe):
            msg = f"a probe of kind {estimator.kind} is no stack; ask it by bioprobe probe predict"
            raise ProbeError(msg)
        return estimator

    @property
    def encoders(self) -> tuple[Fingerprint, ...]:
        """Encoders, that of the store that keeps the stack first."""
        fields = self.probe.provenance["options"]["encoders"]
        return tuple(Fingerprint.from_dict(one) for one in fields)

    @property
    def base_names(self) -> list[str]:
        """Kind and encoder of each base."""
        kinds = [kind for kind, _ in self.probe.settings["bases"]]
        n_each = len(kinds) // len(self.encoders)
        return [f"{kind} of {self.encoders[place // n_each].model}" for place, kind in
                enumerate(kinds)]  # fmt: skip

    def arrange(self, stores: Sequence[EmbeddingStore]) -> list[EmbeddingStore]:
        """Put stores in the order in which the stack learnt from them.

        Parameters
        ----------
        stores : sequence of EmbeddingStore
            That which keeps the stack first, then the others in any order.

        Raises
        ------
        MismatchError
            If one is missing, or is of an encoder that the stack did not learn from.
        """
        first, *others = stores
        self.probe.check_encoder(first.manifest.encoder)
        ordered = [first]
        for encoder in self.encoders[1:]:
            fit = [one for one in others if encoder.is_compatible(one.manifest.encoder)]
            if not fit:
                raise _describe_mismatch(encoder, others)
            ordered.append(fit[0])
            others.remove(fit[0])
        if others:
            msg = (
                f"the stack learnt from {len(self.encoders)} stores, and {others[0].folder} of "
                f"{others[0].manifest.encoder.describe()} is one too many; leave it out"
            )
            raise MismatchError(msg)
        return ordered

    def predict(self, shared: SharedImages, k: int = 5) -> Predictions:
        """Label images that are in all stores.

        Parameters
        ----------
        shared : SharedImages
            Of stores in the order of :meth:`arrange`.
        k : int
            Answers an image, ≥ 1; no more than there are classes.

        Raises
        ------
        MismatchError
            If a store is not of the encoder that the stack learnt from.
        """
        self._check_order(shared)
        tops, scores = [], []
        for some in shared.divide(_IMAGES_AT_ONCE):
            probabilities = self.estimator.predict_proba(self._spread(some.read_vectors()))
            top = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
            tops.append(top)
            scores.append(np.take_along_axis(probabilities, top, axis=1))
        images, rows = shared.stores[0].images, shared.rows[:, 0]
        taught = self.probe.find_taught(images, rows)
        return Predictions(
            images, rows, self.classes, np.concatenate(tops), np.concatenate(scores),
            self.describe(shared), taught,
        )  # fmt: skip

    def describe(self, shared: SharedImages, *, part: str = "") -> Provenance:
        """Return what answers to images come from, of a part of the split where it is named."""
        probe = self.probe
        return Provenance(
            encoder=probe.encoder.to_dict(),
            store=str(shared.stores[0].folder),
            n_rows=len(shared),
            options={
                "probe": probe.kind,
                "settings": probe.settings,
                "encoders": [one.to_dict() for one in self.encoders],
                "stores": [str(one.folder) for one in shared.stores],
                "n_missing": list(shared.n_missing),
                "rank": probe.level,
                "taxonomy_hash": probe.taxonomy_hash,
                "split": probe.split_name,
                "split_hash": probe.split_hash,
                "part": part,
                "training_rows_hash": probe.rows_hash,
            },
        )

    def find_judged_rows(self, store: EmbeddingStore, part: str) -> Rows:
        """Find the labelled images of a part that the stack did not learn from.

        Parameters
        ----------
        store : EmbeddingStore
            That which keeps the stack.
        part : str
            ``validation`` or ``test`` of the split that the stack was fitted on.

        Raises
        ------
        ProbeError
            If the stack learnt from it, or no image of it has a label at the rank.
        MismatchError
            If the split was made again since.
        """
        probe = self.probe
        if part not in ("validation", "test") or not probe.split_name:
            msg = (
                "a stack is judged on the part validation or test of the split that it was fitted "
                f"on; got the part {part!r} of the split {probe.split_name or 'none'!r}"
            )
            raise ProbeError(msg)
        split = read_split(store, probe.split_name)
        if split.hash != probe.split_hash:
            msg = (
                f"the split {split.name!r} was made again since the stack was fitted on it: its "
                f"part {part} may hold images that the stack learnt from; fit the stack again"
            )
            raise MismatchError(msg)
        rows = split.rows(part)
        labels = store.images.labels(probe.level)[rows]
        rows = rows[np.flatnonzero(labels)]
        if not len(rows):
            msg = (
                f"no image of the part {part} of the split {split.name!r} has a label at "
                f"{probe.level}; choose another --part"
            )
            raise ProbeError(msg)
        return rows

    def judge(self, shared: SharedImages) -> Mask:
        """Tell which images the stack, and each base alone, has right.

        Parameters
        ----------
        shared : SharedImages
            Labelled at the rank; a label that no training image has is wrong.

        Returns
        -------
        ndarray of bool, shape (1 + n_bases, n_images)
            The stack first, then the bases in the order of :attr:`base_names`.
        """
        self._check_order(shared)
        first = shared.stores[0]
        truth = self.classes.find_labels(first.images, shared.rows[:, 0])
        stack = self.estimator
        matrices = self._spread(shared.read_vectors())
        answers = [stack.predict_proba(matrices)]
        answers += [
            base.predict_proba(one) for base, one in zip(stack.bases_, matrices, strict=True)
        ]
        return np.array([one.argmax(axis=1) == truth for one in answers])

    def _spread(self, matrices: list[Vectors]) -> list[Vectors]:
        n_each = len(self.probe.settings["bases"]) // len(matrices)
        return [matrix for matrix in matrices for _ in range(n_each)]

    def _check_order(self, shared: SharedImages) -> None:
        if self.arrange(shared.stores) != list(shared.stores):
            msg = (
                "the stores are in another order than at the fit; give them as arrange returns them"
            )
            raise MismatchError(msg)


def read_stack(store: EmbeddingStore, name: str) -> FittedStack:
    """Read a stack that a store keeps.

    Raises
    ------
    ProbeError
        If the probe of that name is not a stack of several encoders.
    StoreError
        If there is none of that name, or its files are damaged.
    MismatchError
        If its first encoder is not the store's.
    """
    stack = FittedStack(probe=read_probe(store, name))
    if stack.estimator.is_shared_:
        msg = f"{name!r} is a stack of one encoder; ask it by bioprobe probe predict {name}"
        raise ProbeError(msg)
    try:
        damage = "" if stack.encoders[0].is_compatible(stack.probe.encoder) else "they differ"
    except (KeyError, TypeError, IndexError) as error:
        damage = repr(error)
    if damage:
        msg = (
            f"the stack {name!r} in {store.folder} is damaged: its encoders: {damage}; fit it again"
        )
        raise StoreError(msg)
    return stack


def _describe_mismatch(encoder: Fingerprint, given: Sequence[EmbeddingStore]) -> MismatchError:
    got = ", ".join(f"{one.folder} of {one.manifest.encoder.describe()}" for one in given)
    return MismatchError(
        f"the stack learnt from vectors of {encoder.describe()}, got {got or 'no store of it'}: "
        f"name the store of {encoder.model} by --with, or fit the stack again: bioprobe probe "
        "stack fit --with STORE"
    )


# Those that learn from vectors and single labels alone.
BASE_KINDS = ("linear", "lda", "ridge", "knn", "centroid")
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
_EACH: tuple[tuple[str, Settings], ...] = (("lda", {}),)
_ALONE: tuple[tuple[str, Settings], ...] = (*_EACH, ("centroid", {}))


class Stack:
    """The method ``stack``: several probes, of one encoder or of each of several, combined."""

    needs_texts = False
    answers_untaught = False
    estimator = StackProbe

    def fit(self, task: Task, settings: Settings | None = None) -> FittedStack:
        """Fit a stack; settings are those that an earlier fit has chosen."""
        given = dict(settings or {})
        unknown = sorted(set(given) - {"bases", "C", "n_folds", "seed", "encoders"})
        if unknown:
            msg = f"stack has no setting {unknown[0]!r}; it has bases and C"
            raise ProbeError(msg)
        bases = given.get("bases")
        return fit_stack(task, bases=bases, C=given.get("C"), is_chosen=bases is not None)


def fit_stack(
    task: Task,
    *,
    bases: Sequence[tuple[str, Settings]] | None = None,
    C: float | None = None,  # noqa: N803 - scikit-learn's name
    is_chosen: bool = False,
) -> FittedStack:
    """Fit probes of one or several encoders on the same images, and how to combine them.

    Everything is learnt and chosen on the part ``train``, images that a store lacks left out: the
    value that a base leaves open, such as its regularisation, on the folds of the split or on
    stratified ones with groups whole; the combination on the bases' answers to the fold that they
    did not see. The part ``validation`` only measures, the part ``test`` is not read.

    Parameters
    ----------
    task : Task
        Its ``others`` are stores of the same images by other encoders.
    bases : sequence of (str, mapping), optional
        Kinds, of :data:`BASE_KINDS`, with settings: one probe of each for each store. By default
        ``lda``, and of a single encoder ``centroid`` beside it.
    C : float, optional
        Inverse strength of the penalty of the combination; by default chosen on the folds.
    is_chosen : bool
        Whether ``bases`` are those of an earlier fit, one for each matrix, with all settings.

    Raises
    ------
    ProbeError
        If a base cannot be stacked, or fewer than two classes have a row.
    MismatchError
        If a store has none of the images.
    """
    stores = (task.store, *task.others)
    asked = list(bases) if bases is not None else list(_EACH if task.others else _ALONE)
    _check_bases(asked)
    training, validation, n_missing = _gather(task, stores)
    labelled, names = training.labelled, training.labelled.names
    n_classes = len(np.unique(labelled.positions))
    if n_classes < 2:
        msg = (
            f"a probe tells classes apart, and {len(names)} training images that all stores hold "
            f"have labels of {n_classes} at {task.target.name}; choose another --level or --split"
        )
        raise ProbeError(msg)
    folds = task.fold(labelled)
    matrices = training.shared.read_vectors()
    n_each = len(asked) // len(matrices) if is_chosen else len(asked)
    spread = [matrix for matrix in matrices for _ in range(n_each)]
    wanted = asked if is_chosen else asked * len(matrices)
    chosen = [
        (kind, _choose(kind, dict(settings), matrix, names, folds))
        for (kind, settings), matrix in zip(wanted, spread, strict=True)
    ]
    strengths = STRENGTHS if C is None else (C,)
    estimator = StackProbe(chosen, C=strengths, n_folds=N_FOLDS, seed=task.seed)
    estimator.fit(spread if task.others else matrices[0], names, folds)
    settings = {
        "bases": [list(base) for base in chosen],
        "C": as_setting(estimator.C_),
        "n_folds": N_FOLDS,
        "seed": task.seed,
    }
    estimator.set_params(C=settings["C"])
    provenance = task.view.take(labelled.rows).describe(
        {
            "seed": task.seed,
            "encoders": [one.manifest.encoder.to_dict() for one in stores],
            "stores": [str(one.folder) for one in stores],
            "n_missing": list(n_missing),
            "chosen_on": "folds of the training images",
        }
    )
    stack = FittedStack(
        probe=describe_fitted(task, estimator, labelled, settings, provenance),
        n_missing=n_missing,
        others=task.others,
    )
    held_out = _measure(stack, validation, folds, is_open=C is None)
    return dataclasses.replace(stack, probe=dataclasses.replace(stack.probe, held_out=held_out))


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """Labelled images of a part of the split, and where the stores have them."""

    labelled: Labelled
    shared: SharedImages


def _check_bases(bases: Sequence[tuple[str, Settings]]) -> None:
    if not bases:
        msg = "a stack combines probes, and no kind of them was named"
        raise ProbeError(msg)
    for kind, settings in bases:
        if kind not in BASE_KINDS:
            msg = f"a base of a stack is one of {', '.join(BASE_KINDS)}; got {kind!r}"
            raise ProbeError(msg)
        make_probe(kind, settings)  # refuses unknown settings before anything is read
        find_probe(kind).check_settings(settings)


def _gather(task: Task, stores: Sequence[EmbeddingStore]) -> tuple[_Part, _Part, tuple[int, ...]]:
    """Return what teaches, what measures, and how many images each further store lacks."""
    labelled = task.labelled.take(task.labelled.positions >= 0)
    shared = find_shared_images(stores, labelled.rows)
    labelled = labelled.take(np.isin(labelled.rows, shared.rows[:, 0]))
    learns = np.isin(labelled.rows, task.training)
    found = [_Part(labelled.take(kept), shared.take(kept)) for kept in (learns, ~learns)]
    return found[0], found[1], shared.n_missing


def _choose(
    kind: str, settings: dict[str, Any], vectors: Vectors, names: npt.NDArray[np.object_],
    folds: Rows,
) -> dict[str, Any]:  # fmt: skip
    """Choose what a base leaves open, on the folds of the training images."""
    described = find_probe(kind)
    if not described.parameter or described.parameter in settings or not (folds >= 0).any():
        return settings
    values = np.array(described.values)
    sweep = measure_values(kind, settings, vectors, names, values, folds)
    return {**settings, described.parameter: as_setting(sweep.best_value)}


def _measure(stack: FittedStack, validation: _Part, folds: Rows, *, is_open: bool) -> HeldOut:
    """Measure on the validation part; where that is empty, take the figures of the folds."""
    if len(validation.shared):
        (measured, *_) = stack.predict(validation.shared, k=1).accuracy()
        return HeldOut("validation", measured.n_correct, measured.n_images)
    sweep = cast("Sweep", stack.estimator.sweep_)
    return describe_sweep("cross-validation", sweep, folds, is_open=is_open)
