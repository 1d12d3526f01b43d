"""Temperature and vector scaling."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrator import (
    Arrays,
    Logits,
    Probabilities,
    measure_log_losses,
    take_known,
    to_probabilities,
)
from bioprobe.probes.temperature import fit_scale
from bioprobe.splits import assign_folds

# Of the mean squared deviation from temperature scaling, in nats; infinite is no deviation.
_PENALTIES = (np.inf, 1.0, 0.1, 0.01)
_N_FOLDS = 3
# Enough to be near enough where the penalty is weak.
_MAX_STEPS = 40


@dataclasses.dataclass(frozen=True)
class TemperatureScaling:
    """Divides all logits by one number: the answers stay, their probabilities change.

    Parameters
    ----------
    temperature : float
        Above 1 where the classifier was too sure, below 1 where it was not sure enough.

    References
    ----------
    Guo et al. 2017, *On Calibration of Modern Neural Networks*.
    """

    kind: ClassVar[str] = "temperature"
    temperature: float

    @classmethod
    def fit(cls, logits: Logits, truth: npt.NDArray[np.int64]) -> Self:
        """Find the temperature of the least log-loss on validation rows.

        Parameters
        ----------
        logits : ndarray of float, shape (n_images, n_classes)
            Of rows that the classifier did not learn from.
        truth : ndarray of int64, shape (n_images,)
            Column of the true class, -1 where it is unknown or none of them.

        Returns
        -------
        TemperatureScaling
            Its temperature lies in [e⁻¹², e¹²].

        Raises
        ------
        SelectionError
            If no row has a known class.

        See Also
        --------
        bioprobe.probes.temperature.fit_scale : The search; few rows that are all right do not
            make it certain.

        Examples
        --------
        >>> logits = np.tile([1.0, 0.0], (1000, 1))
        >>> fitted = TemperatureScaling.fit(logits, np.repeat([0, 1], [750, 250]))
        >>> fitted.calibrate(logits)[0].round(2).tolist()  # right three times of four
        [0.75, 0.25]
        """
        return cls(1 / fit_scale(*take_known(logits, truth)))

    def calibrate(self, logits: Logits) -> Probabilities:
        """Return the probabilities, shape (n_images, n_classes); rows add up to 1."""
        return to_probabilities(logits / self.temperature)

    def to_arrays(self) -> Arrays:
        """Return what was learnt as arrays."""
        return {"temperature": np.array([self.temperature])}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Take what :meth:`to_arrays` returned."""
        return cls(float(arrays["temperature"][0]))


@dataclasses.dataclass(frozen=True)
class VectorScaling:
    """Multiplies the logits of each class by a number of its own, and adds one.

    Parameters
    ----------
    scales, biases : ndarray of float64, shape (n_classes,)
        Of each class.

    References
    ----------
    Guo et al. 2017, *On Calibration of Modern Neural Networks*. The deviation from temperature
    scaling is penalised, as Kull et al. 2019, *Beyond temperature scaling*, penalise theirs: many
    classes have few validation rows. How much is chosen by cross-validation over these rows.
    """

    kind: ClassVar[str] = "vector"
    scales: npt.NDArray[np.float64]
    biases: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, logits: Logits, truth: npt.NDArray[np.int64]) -> Self:
        """Find the scales and biases of the least penalised log-loss on validation rows.

        Parameters
        ----------
        logits : ndarray of float, shape (n_images, n_classes)
            Of rows that the classifier did not learn from.
        truth : ndarray of int64, shape (n_images,)
            Column of the true class, -1 where it is unknown or none of them.

        Raises
        ------
        SelectionError
            If no row has a known class.
        """
        known, classes = take_known(logits, truth)
        start = 1 / TemperatureScaling.fit(known, classes).temperature
        known = (known - known.max(axis=1, keepdims=True)) * start
        folds = assign_folds(classes, _N_FOLDS)
        losses = np.stack([_cross_validate(known, classes, folds, each) for each in _PENALTIES])
        scales, biases = _fit_vector(known, classes, _PENALTIES[_choose_simplest(losses)])
        return cls(scales * start, biases)

    def calibrate(self, logits: Logits) -> Probabilities:
        """Return the probabilities, shape (n_images, n_classes); rows add up to 1."""
        # Scales of their own are of logits below the highest, as they were fitted.
        below = logits - logits.max(axis=1, keepdims=True) if logits.size else logits
        return to_probabilities(below * self.scales + self.biases)

    def to_arrays(self) -> Arrays:
        """Return what was learnt as arrays."""
        return {"scales": self.scales, "biases": self.biases}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Take what :meth:`to_arrays` returned."""
        return cls(arrays["scales"], arrays["biases"])


def _fit_vector(
    logits: npt.NDArray[np.float64], classes: npt.NDArray[np.int64], penalty: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    from scipy.optimize import minimize

    n, k = logits.shape
    if not np.isfinite(penalty):
        return np.ones(k), np.zeros(k)
    rows = np.arange(n)

    def measure_loss(x: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        scores = logits * x[:k] + x[k:]
        scores -= scores.max(axis=1, keepdims=True)
        powers = np.exp(scores)
        total = powers.sum(axis=1)
        loss = float((np.log(total) - scores[rows, classes]).mean())
        excess = powers / total[:, np.newaxis]
        excess[rows, classes] -= 1
        away = x - initial
        slope = np.concatenate([(excess * logits).sum(axis=0), excess.sum(axis=0)]) / n
        return loss + penalty * float(away @ away) / k, slope + 2 * penalty * away / k

    initial = np.repeat([1.0, 0.0], k)
    steps = {"maxiter": _MAX_STEPS}
    x = minimize(measure_loss, initial, jac=True, method="L-BFGS-B", options=steps).x
    return x[:k], x[k:]


def _cross_validate(
    logits: npt.NDArray[np.float64],
    classes: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    penalty: float,
) -> npt.NDArray[np.float64]:
    """Return the log-loss of each row that is held out, fold after fold."""
    losses = [np.zeros(0)]
    for fold in range(int(folds.max(initial=-1)) + 1):
        out = folds == fold
        scales, biases = _fit_vector(logits[~out], classes[~out], penalty)
        losses.append(measure_log_losses(logits[out] * scales + biases, classes[out]))
    return np.concatenate(losses)


def _choose_simplest(losses: npt.NDArray[np.float64]) -> int:
    """Return the first of the rows that is not worse than the best by more than chance.

    References
    ----------
    Breiman et al. 1984, *Classification and Regression Trees*: the rule of one standard error.
    """
    if losses.shape[1] < 2:
        return 0
    excess = losses - losses[losses.mean(axis=1).argmin()]
    error = excess.std(axis=1, ddof=1) / np.sqrt(losses.shape[1])
    return int(np.flatnonzero(excess.mean(axis=1) <= error)[0])
