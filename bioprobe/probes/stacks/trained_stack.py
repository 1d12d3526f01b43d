"""A stack of several encoders' probes that was fitted on their stores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.classify.predictions import Predictions, find_label_classes
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import MismatchError, ProbeError, StoreError
from bioprobe.probes.probe import Vectors
from bioprobe.probes.saving import read_probe
from bioprobe.probes.stacks.shared_images import SharedImages
from bioprobe.probes.stacks.stacked import StackProbe
from bioprobe.probes.trained import TrainedProbe
from bioprobe.provenance import Provenance
from bioprobe.splits import read_split
from bioprobe.store import EmbeddingStore

Rows = npt.NDArray[np.int64]

_IMAGES_AT_ONCE = 16_384


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedStack:
    """A stack with the encoders that it takes vectors of.

    Parameters
    ----------
    probe : TrainedProbe
        Of kind ``stack``; its provenance names the encoders.
    n_missing : tuple of int
        Of each further store, labelled images of the split that it lacked at the fit.
    """

    probe: TrainedProbe
    n_missing: tuple[int, ...] = ()

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
        probe = self.probe
        return Predictions(
            shared.stores[0].images, shared.rows[:, 0], probe.classes, probe.rank,
            np.concatenate(tops), np.concatenate(scores), "probability", self.describe(shared),
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
                "rank": probe.rank.value,
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
        labels = store.images.labels(probe.rank)[rows]
        rows = rows[np.flatnonzero(labels)]
        if not len(rows):
            msg = (
                f"no image of the part {part} of the split {split.name!r} has a label at "
                f"{probe.rank.value}; choose another --part"
            )
            raise ProbeError(msg)
        return rows

    def judge(self, shared: SharedImages) -> npt.NDArray[np.bool_]:
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
        truth = find_label_classes(
            first.images, shared.rows[:, 0], self.probe.classes, self.probe.rank
        )
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


def read_stack(store: EmbeddingStore, name: str) -> TrainedStack:
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
    stack = TrainedStack(probe=read_probe(store, name))
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
