"""The kinds of calibration, by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrator import Arrays, Calibrator, Logits
from bioprobe.calibration.isotonic import IsotonicScaling
from bioprobe.calibration.temperature import TemperatureScaling, VectorScaling
from bioprobe.errors import SelectionError

_CLASSES: dict[str, type[TemperatureScaling] | type[VectorScaling] | type[IsotonicScaling]] = {
    one.kind: one for one in (TemperatureScaling, VectorScaling, IsotonicScaling)
}
KINDS = tuple(_CLASSES)


def fit_calibrator(kind: str, logits: Logits, truth: npt.NDArray[np.int64]) -> Calibrator:
    """Fit a calibration to validation rows.

    Parameters
    ----------
    kind : str
        ``temperature``, ``vector`` or ``isotonic``.
    logits : ndarray of float, shape (n_images, n_classes)
        Of rows that the classifier did not learn from; logarithms of probabilities will do.
    truth : ndarray of int64, shape (n_images,)
        Column of the true class, -1 where it is unknown or none of them.

    Raises
    ------
    SelectionError
        If there is no such kind, or no row has a known class.
    """
    return _find(kind).fit(logits, truth)


def restore_calibrator(kind: str, arrays: Arrays) -> Calibrator:
    """Return the calibration of a kind whose arrays were kept.

    Raises
    ------
    SelectionError
        If there is no such kind.
    """
    return _find(kind).from_arrays(arrays)


def _find(kind: str) -> type[TemperatureScaling] | type[VectorScaling] | type[IsotonicScaling]:
    if kind not in _CLASSES:
        msg = f"probabilities are calibrated by {', '.join(KINDS)}; got {kind!r}"
        raise SelectionError(msg)
    return _CLASSES[kind]
