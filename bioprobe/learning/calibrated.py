"""A probe whose probabilities mean what they say, and what its held-out answers promise."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrators import (
    Calibrator,
    TemperatureScaling,
    fit_calibrator,
    to_logits,
)
from bioprobe.calibration.conformal import ConformalSets, fit_conformal
from bioprobe.calibration.unknown import (
    UnknownDetection,
    find_limit,
    measure_detection,
    score_max_softmax,
)
from bioprobe.learning.fit import HeldOutAnswers
from bioprobe.learning.fitted import FittedProbe
from bioprobe.probes.probe import Probe
from bioprobe.task.decisions import ChosenConfidence, choose_roll_up
from bioprobe.types import Arrays, Scores, Vectors

# Held-out answers that are kept: 8 million numbers are 32 MB. A thousand images always are.
_MOST_KEPT, _LEAST_IMAGES = 8_000_000, 1_000


class CalibratedProbe(Probe):
    """A probe and a calibrator after it, as one classifier.

    Parameters
    ----------
    probe : Probe
        Fitted.
    calibrator : Calibrator
        Fitted on what the probe answers on held-out images.
    """

    def __init__(self, probe: Probe, calibrator: Calibrator) -> None:
        self.probe = probe
        self.calibrator = calibrator
        self.classes_ = probe.classes_

    @property
    def kind(self) -> str:  # type: ignore[override]
        """Kind of the probe."""
        return self.probe.kind

    def fit(self, X: Vectors, y: npt.NDArray[Any]) -> Self:  # noqa: N803
        """Fit the probe again; the calibrator stays."""
        self.probe.fit(X, y)
        self.classes_ = self.probe.classes_
        return self

    def decision_function(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        """Return the logarithms of the probabilities."""
        return to_logits(self.predict_proba(X))

    def predict_proba(self, X: Vectors) -> Scores:  # noqa: N803
        """Return the calibrated probabilities, shape (n_images, n_classes)."""
        return self.calibrator.calibrate(self.probe.decision_function(X))

    def to_arrays(self) -> Arrays:
        """Return what the probe learnt."""
        return self.probe.to_arrays()

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what the probe had learnt."""
        self.probe.set_arrays(arrays, classes)
        self.classes_ = classes
        return self


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
    """

    calibrator: Calibrator
    answers: HeldOutAnswers
    n_held_out: int

    @property
    def probabilities(self) -> Scores:
        """Calibrated probabilities of the held-out images, shape (n_images, n_classes)."""
        return self.calibrator.calibrate(self.answers.logits)

    @property
    def n_known(self) -> int:
        """Held-out images whose class the probe has."""
        return int((self.answers.truth >= 0).sum())

    def apply(self, probe: FittedProbe) -> FittedProbe:
        """Return the probe with calibrated probabilities."""
        estimator = CalibratedProbe(probe.estimator, self.calibrator)
        return dataclasses.replace(probe, estimator=estimator)

    def without_calibrator(self) -> Calibration:
        """Return the same of the probabilities as the probe gives them."""
        return dataclasses.replace(self, calibrator=TemperatureScaling(1.0))

    def choose_confidence(self, probe: FittedProbe, accuracy: float) -> ChosenConfidence:
        """Choose the confidence at which answers, rolled up the tree, are right often enough.

        See Also
        --------
        bioprobe.task.decisions.choose_roll_up : How.
        """
        return choose_roll_up(
            self.probabilities, probe.classes.taxonomy, self.answers.truth, accuracy
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

    def measure_unknown(self, recall_fraction: float = 0.95) -> UnknownDetection | None:
        """Measure on the held-out images how well unknown ones are told; None if there are none."""
        is_unknown = self.answers.truth < 0
        if not is_unknown.any() or is_unknown.all():
            return None
        scores = score_max_softmax(self.probabilities)
        return measure_detection(scores, is_unknown, self.find_unknown_limit(recall_fraction))


def fit_calibration(answers: HeldOutAnswers, kind: str = "temperature") -> Calibration:
    """Fit a calibrator to what a probe answered on held-out images.

    Parameters
    ----------
    answers : HeldOutAnswers
        See :func:`bioprobe.learning.fit.answer_held_out`.
    kind : str
        One of :data:`bioprobe.calibration.calibrators.KINDS`.

    Raises
    ------
    SelectionError
        If no held-out image is of a class that the probe has, or there is no such kind.
    """
    n, n_classes = answers.logits.shape
    calibrator = fit_calibrator(kind, answers.logits, answers.truth)
    n_kept = min(n, max(_LEAST_IMAGES, _MOST_KEPT // max(1, n_classes)))
    kept = np.linspace(0, n, n_kept, endpoint=False).astype(np.int64)
    fewer = dataclasses.replace(answers, logits=answers.logits[kept], truth=answers.truth[kept])
    return Calibration(calibrator, fewer, n)
