"""A probe that was fitted on a store: what it answers, and what it may be asked of."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrators import Calibrator
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.encoders.keeping import TOKENS
from bioprobe.errors import MismatchError
from bioprobe.images.image_table import ImageTable
from bioprobe.probes.probe import Probe
from bioprobe.provenance import Provenance
from bioprobe.settings import check_types
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.columns import ColumnBlock
from bioprobe.task.predictions import Predictions, answer_in_chunks
from bioprobe.task.prior import Prior, Weighed
from bioprobe.task.probabilities import check_probabilities
from bioprobe.task.scores import find_top, split_rows
from bioprobe.task.target import Classes, mark_rows
from bioprobe.types import Mask, Rows, Scores, Vectors

Answers = tuple[Rows, npt.NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """How a value was chosen, and how the probe did on rows it did not learn from.

    Parameters
    ----------
    method : str
        ``validation`` part of the split, ``cross-validation`` of the training rows, or ``none``.
    n_correct, n_images : int
        Held-out images that were right, and all of them. A label that no training row has is
        wrong.
    parameter : str
        What was chosen, ``""`` where there was nothing to choose.
    values, accuracies : tuple of float
        Values tried, and the mean accuracy over folds at each.
    reason : str
        Why folds are held out although there is a part ``validation``, else ``""``.
    n_never, n_classes : int
        Classes of which no image is ever held out, and all classes.
    """

    method: str
    n_correct: int = 0
    n_images: int = 0
    parameter: str = ""
    values: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    reason: str = ""
    n_never: int = 0
    n_classes: int = 0

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> HeldOut:
        """Build one from its fields, as JSON has them.

        Raises
        ------
        ValueError
            If one is of another type, or more were right than there are.
        """
        listed = {name: tuple(fields[name]) for name in ("values", "accuracies")}
        held_out = check_types(cls(**{**fields, **listed}))
        if held_out.n_correct > held_out.n_images:
            msg = f"{held_out.n_correct} of {held_out.n_images} held-out images are right"
            raise ValueError(msg)
        return held_out


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedProbe:
    """A fitted probe with everything that says what it is.

    Parameters
    ----------
    estimator : Probe
        The classifier.
    classes : Classes
        Its classes, in the order of ``estimator.classes_``.
    settings : dict
        Arguments of the estimator, the chosen one among them; JSON-ready.
    encoder : Fingerprint
        Encoder whose vectors it learnt from.
    dim : int
        Length of a vector, with what stands beside it.
    rows_hash : str
        SHA-256 of which images the training rows are.
    n_rows : int
        Training rows.
    taught : ndarray of uint64, shape (n_distinct,), optional
        What stands for each training image, sorted; see
        :func:`bioprobe.task.target.mark_rows`. None in a probe that an earlier version kept.
    split_name, split_hash : str
        Split of which these are the training part; ``""`` where all labelled rows were taken.
    held_out : HeldOut
        How it did on rows it did not learn from.
    provenance : dict
        JSON-ready; the exact command, the condition, the mask, the seed.
    calibrator : Calibrator, optional
        What makes probabilities of the logits, if they are to mean what they say.
    block : ColumnBlock, optional
        Columns that stand beside the vectors.
    prior : Prior, optional
        What probabilities are multiplied by, after the calibrator; see :meth:`with_prior`.
    """

    estimator: Probe
    classes: Classes
    settings: dict[str, Any]
    encoder: Fingerprint
    dim: int
    rows_hash: str
    n_rows: int
    taught: npt.NDArray[np.uint64] | None = None
    split_name: str = ""
    split_hash: str = ""
    held_out: HeldOut = HeldOut("none")
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    calibrator: Calibrator | None = None
    block: ColumnBlock | None = None
    prior: Prior | None = None

    @property
    def kind(self) -> str:
        """Kind of the estimator."""
        return self.estimator.kind

    @property
    def level(self) -> str:
        """Rank of the classes, or the column whose values they are."""
        return self.classes.level

    @property
    def taxonomy_hash(self) -> str:
        """SHA-256 of the lineages of the classes, or of their names."""
        return self.classes.hash

    def check_encoder(self, encoder: Fingerprint) -> None:
        """Refuse vectors of another encoder.

        Raises
        ------
        MismatchError
            If weights or preprocessing differ.
        """
        if not self.encoder.is_compatible(encoder):
            msg = (
                f"the probe learnt from vectors of {self.encoder.describe()}, got those of "
                f"{encoder.describe()}: they cannot be compared. Ask a store of "
                f"{self.encoder.model}, or fit the probe again on this store: bioprobe probe fit "
                f"{self.kind} --level {self.level}"
            )
            raise MismatchError(msg)

    def with_prior(self, prior: Prior | None) -> FittedProbe:
        """Return the same probe, whose answers have a prior: before the best k are chosen."""
        return dataclasses.replace(self, prior=prior)

    def weigh(self, asked: EmbeddingStore | View) -> Weighed | None:
        """Return the weights of the classes for some images; None without a prior."""
        return self.prior.weigh(self.classes, View.of(asked)) if self.prior else None

    def predict_vectors(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """Return the probabilities of the classes.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n_images, dim), unit rows
            Or what the estimator reads instead.

        Returns
        -------
        ndarray of float32, shape (n_images, n_classes)

        Raises
        ------
        MismatchError
            If the vectors have another dim.
        ProbeError
            If the probabilities are not finite, or do not add up to 1.
        """
        if vectors.ndim != 2 + (self.estimator.reads == TOKENS) or vectors.shape[-1] != self.dim:
            msg = f"the probe takes vectors of dim {self.dim}, got an array of {vectors.shape}"
            raise MismatchError(msg)
        if self.calibrator is None:
            return self.estimator.predict_proba(vectors)
        probabilities = self.calibrator.calibrate(self.estimator.logits(vectors))
        whose = f"the calibration {self.calibrator.kind} of {self.kind} with {self.settings}"
        return check_probabilities(probabilities, whose)

    def ask(self, asked: EmbeddingStore | View, k: int = 5) -> Predictions:
        """Label the images of a store.

        Parameters
        ----------
        asked : EmbeddingStore or View
            Of the same encoder.
        k : int
            Answers an image, ≥ 1; no more than there are classes.

        Raises
        ------
        MismatchError
            If the store has vectors of another encoder.
        SelectionError
            If no image is left.
        """
        view = View.of(asked).beside(self.block).reading(self.estimator.reads)
        self.check_encoder(view.manifest.encoder)
        weighed = self.weigh(view)
        top, scores = answer_in_chunks(view, partial(self._answer, k, weighed))
        answers = Predictions(
            view.images, view.rows, self.classes, top, scores,
            self._describe(str(view.folder), len(view), view.condition),
            view.find_taught(self.find_taught(view.images, view.rows)),
        )  # fmt: skip
        if self.block is not None:
            answers = answers.say(self.block.describe_missing(view.images, view.rows))
        if weighed is None:
            return answers
        return weighed.complete(answers).say(weighed.list_notes(self.classes.names))

    def find_taught(self, images: ImageTable, rows: Rows) -> Mask | None:
        """Return which images the probe learnt from, wherever they lie now."""
        if self.taught is None:
            return None
        # They are sorted: many are asked after some at a time, and would else be sorted each time.
        marks = mark_rows(images, rows)
        places = np.searchsorted(self.taught, marks)
        found: Mask = places < len(self.taught)
        found[found] = self.taught[places[found]] == marks[found]
        return found

    def _answer(self, k: int, weighed: Weighed | None, places: slice, vectors: Vectors) -> Answers:
        """Answer some images, by their places among those that are weighed."""

        def predict(part: slice) -> Scores:
            probabilities = self.predict_vectors(vectors[part])
            if weighed is None:
                return probabilities
            begin = places.start
            return weighed.apply(probabilities, slice(begin + part.start, begin + part.stop))

        # Once for no image too, which gives empty answers of the right shape.
        parts = list(split_rows(len(vectors), len(self.classes))) or [slice(0, 0)]
        top, scores = zip(*(find_top(predict(part), k) for part in parts), strict=True)
        return np.concatenate(top), np.concatenate(scores)

    def _describe(self, place: str, n_rows: int, condition: str) -> Provenance:
        return Provenance(
            encoder=self.encoder.to_dict(),
            store=place,
            n_rows=n_rows,
            condition=condition,
            options={
                "probe": self.kind,
                "settings": self.settings,
                "rank": self.level,
                "n_classes": len(self.classes),
                "taxonomy_hash": self.taxonomy_hash,
                "split": self.split_name,
                "split_hash": self.split_hash,
                "n_training_rows": self.n_rows,
                "training_rows_hash": self.rows_hash,
                **({"columns": self.block.to_dict()} if self.block else {}),
            },
        )
