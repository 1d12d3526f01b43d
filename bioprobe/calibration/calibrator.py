"""What every calibration is: logits in, probabilities out, laid down as arrays."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError

Logits = npt.NDArray[Any]
Probabilities = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]

# The smallest ordinary float32: a probability of 0 has no logarithm.
_LEAST = 1.2e-38


class Calibrator(Protocol):
    """Turns the logits of a classifier into probabilities that mean what they say.

    It is fitted on validation rows: neither those that the classifier learnt from nor those that
    judge it. Logarithms of probabilities are logits too: see :func:`to_logits`.

    Attributes
    ----------
    kind : str
        Name on the command line and on disk.
    """

    kind: ClassVar[str]

    @classmethod
    def fit(cls, logits: Logits, truth: npt.NDArray[np.int64]) -> Self:
        """Fit to logits, shape (n_images, n_classes), and true columns, -1 where unknown."""

    def calibrate(self, logits: Logits) -> Probabilities:
        """Return the probabilities, shape (n_images, n_classes); rows add up to 1."""

    def to_arrays(self) -> Arrays:
        """Return what was learnt as arrays."""

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Take what :meth:`to_arrays` returned."""


def to_logits(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return logits of which probabilities are the softmax.

    Examples
    --------
    >>> to_probabilities(to_logits(np.array([[0.25, 0.75]]))).round(2).tolist()
    [[0.25, 0.75]]
    """
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float32), _LEAST))


def to_probabilities(logits: Logits) -> Probabilities:
    """Return the softmax of each row, shape (n_images, n_classes)."""
    if not logits.shape[1]:
        return np.zeros(logits.shape, dtype=np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def take_known(
    logits: Logits, truth: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the rows whose class is known.

    Raises
    ------
    SelectionError
        If there is none, or logits and classes do not fit each other.
    """
    if logits.ndim != 2 or len(logits) != len(truth) or truth.max(initial=-1) >= logits.shape[1]:
        msg = (
            f"calibration takes logits of shape (n_images, n_classes) and one class an image, got "
            f"{logits.shape} and {truth.shape} with classes up to {truth.max(initial=-1)}"
        )
        raise SelectionError(msg)
    known = truth >= 0
    if not known.any():
        msg = (
            f"none of the {len(truth)} validation images has a label among the classes; make a "
            "split with a validation part: bioprobe split"
        )
        raise SelectionError(msg)
    return np.asarray(logits[known], dtype=np.float64), truth[known]


def measure_log_losses(
    logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the negative log-probability of each row's true class, in nats."""
    below = logits - logits.max(axis=1, keepdims=True)
    own = below[np.arange(len(truth)), truth]
    return np.asarray(np.log(np.exp(below).sum(axis=1)) - own)
