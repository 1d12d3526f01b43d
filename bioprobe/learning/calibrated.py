"""A probe whose probabilities mean what they say, and what its held-out answers promise."""

from __future__ import annotations

import dataclasses

import numpy as np

from bioprobe.calibration.calibrators import (
    Calibrator,
    TemperatureScaling,
    fit_judged,
)
from bioprobe.calibration.conformal import ConformalSets, fit_conformal
from bioprobe.calibration.unknown import (
    UnknownDetection,
    find_limit,
    measure_detection,
    score_max_softmax,
)
from bioprobe.learning.fit import LEAST_IMAGES, HeldOutAnswers
from bioprobe.learning.fitted import FittedProbe
from bioprobe.task.decisions import ChosenConfidence, choose_roll_up
from bioprobe.task.scores import split_rows
from bioprobe.types import Scores

# Held-out answers that are kept: 8 million numbers are 32 MB.
_MOST_KEPT = 8_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """A calibrator and the held-out answers that it, and every threshold, is chosen on.

    Parameters
    ----------
    calibrator : Calibrator
        Fitted on these answers.
    answers : HeldOutAnswers
        As the probe gave them, before the calibrator.
    n_held_out : int
        Held-out images that there were; ``answers`` may have fewer of them, evenly spaced.
    left : str
        Why the probabilities are left as they come, ``""`` where they are not.
    """

    calibrator: Calibrator
    answers: HeldOutAnswers
    n_held_out: int
    left: str = ""

    @property
    def probabilities(self) -> Scores:
        """Calibrated probabilities of the held-out images, shape (n_images, n_classes)."""
        logits = self.answers.logits
        found = np.empty(logits.shape, dtype=np.float32)
        for part in split_rows(*logits.shape):
            found[part] = self.calibrator.calibrate(logits[part])
        return found

    @property
    def n_known(self) -> int:
        """Held-out images whose class the probe has."""
        return int((self.answers.truth >= 0).sum())

    def apply(self, probe: FittedProbe) -> FittedProbe:
        """Return the probe with calibrated probabilities."""
        return dataclasses.replace(probe, calibrator=self.calibrator)

    def without_calibrator(self) -> Calibration:
        """Return the same of the probabilities as the probe gives them."""
        return dataclasses.replace(self, calibrator=TemperatureScaling(1.0))

    def choose_confidence(self, probe: FittedProbe, accuracy: float) -> ChosenConfidence:
        """Choose the confidence from which answers, rolled up the tree, are right often enough.

        See Also
        --------
        bioprobe.task.decisions.choose_roll_up : How.
        """
        answers = self.answers
        return choose_roll_up(
            self.probabilities, probe.classes, answers.truth, accuracy, answers.groups
        )

    def fit_sets(self, coverage_fraction: float, kind: str = "lac") -> ConformalSets:
        """Choose the limit of conformal sets of a kind with a coverage.

        See Also
        --------
        bioprobe.calibration.conformal.fit_conformal : How.
        """
        return fit_conformal(self.probabilities, self.answers.truth, coverage_fraction, kind)

    def find_unknown_limit(self, recall_fraction: float = 0.95) -> float:
        """Return the score above which an image is called unknown.

        It is that of :func:`bioprobe.calibration.unknown.score_max_softmax` which so many of the
        held-out images of known classes do not pass.

        Parameters
        ----------
        recall_fraction : float
            Share of known images that is to be taken for known, in (0, 1].
        """
        known = score_max_softmax(self.probabilities)[self.answers.truth >= 0]
        return find_limit(known, recall_fraction)

    @property
    def has_left_out(self) -> bool:
        """Whether classes were left out on purpose, to be the unknown ones."""
        return self.answers.left_out is not None and bool(self.answers.left_out.any())

    def measure_unknown(self, recall_fraction: float = 0.95) -> UnknownDetection | None:
        """Measure on held-out images how well unknown ones are told; None if there are none.

        Unknown are the images of classes that were left out on purpose, where any were; else the
        held-out images of classes that happen not to be learnt.
        """
        answers, is_unknown = self.answers, self.answers.truth < 0
        if not is_unknown.any() or is_unknown.all():
            return None
        asked = np.ones(len(is_unknown), dtype=bool)
        if self.has_left_out and answers.left_out is not None:
            asked = ~is_unknown | answers.left_out
        limit = self.find_unknown_limit(recall_fraction)
        scores = score_max_softmax(self.probabilities)[asked]
        labels = None if answers.labels is None else answers.labels[asked]
        return measure_detection(scores, is_unknown[asked], limit, labels)


def fit_calibration(answers: HeldOutAnswers, kind: str = "temperature") -> Calibration:
    """Fit a calibrator to what a probe answered on held-out images.

    Parameters
    ----------
    answers : HeldOutAnswers
        See :func:`bioprobe.learning.fit.answer_held_out`.
    kind : str
        One of :data:`bioprobe.calibration.calibrators.KINDS`. It is not used where it makes
        held-out answers worse; see :func:`bioprobe.calibration.calibrators.fit_judged`.

    Raises
    ------
    SelectionError
        If no held-out image is of a class that the probe has, or there is no such kind.
    """
    n, n_classes = answers.logits.shape
    calibrator, left = fit_judged(kind, answers.logits, answers.truth, answers.groups)
    n_kept = min(n, max(LEAST_IMAGES, _MOST_KEPT // max(1, n_classes)))
    kept = np.linspace(0, n, n_kept, endpoint=False).astype(np.int64)
    return Calibration(calibrator, answers.take(kept), answers.n_held_out or n, left)
