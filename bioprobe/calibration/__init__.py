"""Probabilities that mean what they say, and when not to answer."""

from bioprobe.calibration.calibrators import (
    KINDS,
    Calibrator,
    fit_calibrator,
    restore_calibrator,
    to_logits,
    to_probabilities,
)
from bioprobe.calibration.conformal import fit_conformal, measure_sets
from bioprobe.calibration.reliability import measure_reliability
from bioprobe.calibration.unknown import measure_detection
from bioprobe.task.decisions import choose_roll_up, measure_risk_coverage, roll_up

__all__ = [
    "KINDS",
    "Calibrator",
    "choose_roll_up",
    "fit_calibrator",
    "fit_conformal",
    "measure_detection",
    "measure_reliability",
    "measure_risk_coverage",
    "measure_sets",
    "restore_calibrator",
    "roll_up",
    "to_logits",
    "to_probabilities",
]
