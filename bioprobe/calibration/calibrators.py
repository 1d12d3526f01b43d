"""What every calibration is: logits in, probabilities out; and whether these are met."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.intervals import Accuracy
from bioprobe.splits.making import assign_folds
from bioprobe.task.probabilities import fit_scale
from bioprobe.task.scores import split_rows
from bioprobe.types import Arrays, Doubles, Scores

if TYPE_CHECKING:
    import pandas as pd

Logits = npt.NDArray[Any]

# The smallest ordinary float32: a probability of 0 has no logarithm.
_LEAST = 1.2e-38


@dataclasses.dataclass(frozen=True)
class Calibrator(ABC):
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
    @abstractmethod
    def fit(cls, logits: Logits, truth: npt.NDArray[np.int64]) -> Self:
        """Fit to logits, shape (n_images, n_classes), and true columns, -1 where unknown."""

    @abstractmethod
    def calibrate(self, logits: Logits) -> Scores:
        """Return the probabilities, shape (n_images, n_classes); rows add up to 1."""

    def to_arrays(self) -> Arrays:
        """Return what was learnt as arrays."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Take what :meth:`to_arrays` returned."""
        return cls(**arrays)


def to_logits(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return logits of which probabilities are the softmax.

    Examples
    --------
    >>> to_probabilities(to_logits(np.array([[0.25, 0.75]]))).round(2).tolist()
    [[0.25, 0.75]]
    """
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float32), _LEAST))


def to_probabilities(logits: Logits) -> Scores:
    """Return the softmax of each row, shape (n_images, n_classes)."""
    if not logits.shape[1]:
        return np.zeros(logits.shape, dtype=np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class _Known:
    """Rows whose class is known, read some at a time: of many classes no copy is made."""

    logits: Logits
    rows: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]

    def take(self, kept: npt.NDArray[np.bool_]) -> _Known:
        """Return some of the rows."""
        return _Known(self.logits, self.rows[kept], self.classes[kept])

    def read(self, scale: float) -> Iterator[tuple[Doubles, npt.NDArray[np.int64]]]:
        # How far the logits lie below the highest, times a number; and the classes.
        for part in split_rows(len(self.rows), self.logits.shape[1]):
            some = self.logits[self.rows[part]].astype(np.float64)
            some -= some.max(axis=1, keepdims=True)
            some *= scale
            yield some, self.classes[part]


def take_known(
    logits: Logits, truth: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the rows whose class is known.

    Raises
    ------
    SelectionError
        If there is none, or logits and classes do not fit each other.
    """
    known = _find_known(logits, truth)
    return np.asarray(logits[known.rows], dtype=np.float64), known.classes


def _find_known(logits: Logits, truth: npt.NDArray[np.int64]) -> _Known:
    """Return where the rows are whose class is known.

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
    rows = np.flatnonzero(truth >= 0)
    if not len(rows):
        msg = (
            f"none of the {len(truth)} validation images has a label among the classes; make a "
            "split with a validation part: bioprobe split"
        )
        raise SelectionError(msg)
    return _Known(logits, rows, truth[rows])


def _measure_log_losses(
    logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the negative log-probability of each row's true class, in nats."""
    below = logits - logits.max(axis=1, keepdims=True)
    own = below[np.arange(len(truth)), truth]
    return np.asarray(np.log(np.exp(below).sum(axis=1)) - own)


# Of the mean squared deviation from temperature scaling, in nats; infinite is no deviation.
_PENALTIES = (np.inf, 1.0, 0.1, 0.01)
_N_FOLDS = 3
# Enough to be near enough where the penalty is weak.
_MAX_STEPS = 40


@dataclasses.dataclass(frozen=True)
class TemperatureScaling(Calibrator):
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
        bioprobe.task.probabilities.fit_scale : The search; few rows that are all right do not
            make it certain.

        Examples
        --------
        >>> logits = np.tile([1.0, 0.0], (1000, 1))
        >>> fitted = TemperatureScaling.fit(logits, np.repeat([0, 1], [750, 250]))
        >>> fitted.calibrate(logits)[0].round(2).tolist()  # right three times of four
        [0.75, 0.25]
        """
        _find_known(logits, truth)
        return cls(1 / fit_scale(logits, truth))

    def calibrate(self, logits: Logits) -> Scores:
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
class VectorScaling(Calibrator):
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
        known = _find_known(logits, truth)
        start = 1 / TemperatureScaling.fit(logits, truth).temperature
        folds = assign_folds(known.classes, _N_FOLDS)
        losses = np.stack([_cross_validate(known, start, folds, each) for each in _PENALTIES])
        scales, biases = _fit_vector(known, start, _PENALTIES[_choose_simplest(losses)])
        return cls(scales * start, biases)

    def calibrate(self, logits: Logits) -> Scores:
        """Return the probabilities, shape (n_images, n_classes); rows add up to 1."""
        # Scales of their own are of logits below the highest, as they were fitted.
        below = logits - logits.max(axis=1, keepdims=True) if logits.size else logits
        return to_probabilities(below * self.scales + self.biases)


def _fit_vector(known: _Known, start: float, penalty: float) -> tuple[Doubles, Doubles]:
    from scipy.optimize import minimize

    n, k = len(known.rows), known.logits.shape[1]
    if not np.isfinite(penalty):
        return np.ones(k), np.zeros(k)

    def measure_loss(x: Doubles) -> tuple[float, Doubles]:
        away = x - initial
        loss, slope = penalty * float(away @ away) / k, 2 * penalty * away / k
        for logits, classes in known.read(start):
            rows = np.arange(len(classes))
            scores = logits * x[:k] + x[k:]
            scores -= scores.max(axis=1, keepdims=True)
            powers = np.exp(scores)
            total = powers.sum(axis=1)
            loss += float((np.log(total) - scores[rows, classes]).sum()) / n
            excess = powers / total[:, np.newaxis]
            excess[rows, classes] -= 1
            slope[:k] += (excess * logits).sum(axis=0) / n
            slope[k:] += excess.sum(axis=0) / n
        return loss, slope

    initial = np.repeat([1.0, 0.0], k)
    steps = {"maxiter": _MAX_STEPS}
    x = minimize(measure_loss, initial, jac=True, method="L-BFGS-B", options=steps).x
    return x[:k], x[k:]


def _cross_validate(
    known: _Known, start: float, folds: npt.NDArray[np.int64], penalty: float
) -> Doubles:
    """Return the log-loss of each row that is held out, fold after fold."""
    losses = [np.zeros(0)]
    for fold in range(int(folds.max(initial=-1)) + 1):
        out = folds == fold
        scales, biases = _fit_vector(known.take(~out), start, penalty)
        losses += [
            _measure_log_losses(logits * scales + biases, classes)
            for logits, classes in known.take(out).read(start)
        ]
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


@dataclasses.dataclass(frozen=True)
class IsotonicScaling(Calibrator):
    """A rising curve for each class, from its probability to the share that was right.

    The probabilities of a row are made to add up to 1. A class that no validation row has keeps
    its own.

    Parameters
    ----------
    positions, levels : ndarray of float64, shape (n_points,)
        Points of the curves, class after class: probability before, and after.
    starts : ndarray of int64, shape (n_classes + 1,)
        First point of each class.

    References
    ----------
    Zadrozny and Elkan 2002, *Transforming classifier scores into accurate multiclass probability
    estimates*.
    """

    kind: ClassVar[str] = "isotonic"
    positions: npt.NDArray[np.float64]
    levels: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]

    @classmethod
    def fit(cls, logits: Logits, truth: npt.NDArray[np.int64]) -> Self:
        """Fit the curves to validation rows.

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
        from sklearn.isotonic import IsotonicRegression

        known = _find_known(logits, truth)
        shape = (len(known.rows), logits.shape[1])
        probabilities = np.empty(shape, dtype=np.float32)
        for part in split_rows(*shape):
            probabilities[part] = to_probabilities(logits[known.rows[part]].astype(np.float64))
        # What few validation rows never showed is not impossible.
        least = 1 / (probabilities.size + 2)
        positions, levels = [], []
        for c in range(shape[1]):
            right = (known.classes == c).astype(np.float64)
            x, y = np.array([0.0, 1.0]), np.array([0.0, 1.0])
            if right.any():
                curve = IsotonicRegression(y_min=least, y_max=1, out_of_bounds="clip")
                curve.fit(probabilities[:, c].astype(np.float64), right)
                x, y = curve.X_thresholds_, curve.y_thresholds_
            positions.append(x)
            levels.append(y)
        starts = np.cumsum([0, *map(len, positions)])
        return cls(np.concatenate(positions), np.concatenate(levels), starts)

    def calibrate(self, logits: Logits) -> Scores:
        """Return the probabilities, shape (n_images, n_classes); rows add up to 1."""
        raw = to_probabilities(logits)
        risen = np.empty(raw.shape)
        for c, (start, end) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            risen[:, c] = np.interp(raw[:, c], self.positions[start:end], self.levels[start:end])
        total = risen.sum(axis=1, keepdims=True)
        return np.asarray(risen / total if raw.size else risen, dtype=np.float32)


_CLASSES: dict[str, type[Calibrator]] = {
    one.kind: one for one in (TemperatureScaling, VectorScaling, IsotonicScaling)
}
KINDS = tuple(_CLASSES)


def find_calibrator(kind: str) -> type[Calibrator]:
    """Return the class of a kind of calibration.

    Raises
    ------
    SelectionError
        If there is no such kind.
    """
    if kind not in _CLASSES:
        msg = f"probabilities are calibrated by {', '.join(KINDS)}; got {kind!r}"
        raise SelectionError(msg)
    return _CLASSES[kind]


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How often answers of a confidence are right.

    Parameters
    ----------
    edges : ndarray of float64, shape (n_bins + 1,)
        Confidences between which the bins lie.
    n_images : ndarray of int64, shape (n_bins,)
        Answers in each bin.
    n_right : ndarray of int64, shape (n_bins,)
        Those that are right.
    confidences : ndarray of float64, shape (n_bins,)
        Mean confidence in each bin; not a number in an empty one.
    """

    edges: Doubles
    n_images: npt.NDArray[np.int64]
    n_right: npt.NDArray[np.int64]
    confidences: Doubles

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of confidence and share right.

        References
        ----------
        Guo et al. 2017, *On Calibration of Modern Neural Networks*.
        """
        filled = self.n_images > 0
        away = np.abs(self.confidences[filled] * self.n_images[filled] - self.n_right[filled])
        return float(away.sum() / max(1, self.n_images.sum()))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a bin: edges, images, confidence, accuracy and its Wilson interval."""
        import pandas as pd

        measured = [
            Accuracy(1, int(right), int(n))
            for right, n in zip(self.n_right, self.n_images, strict=True)
        ]
        return pd.DataFrame(
            {
                "from": self.edges[:-1],
                "to": self.edges[1:],
                "n_images": self.n_images,
                "confidence": self.confidences,
                "accuracy": [one.fraction for one in measured],
                "low": [one.interval[0] for one in measured],
                "high": [one.interval[1] for one in measured],
            }
        )


def measure_reliability(
    right: npt.NDArray[np.bool_],
    confidences: npt.NDArray[Any],
    *,
    n_bins: int = 15,
) -> Reliability:
    """Measure how often answers of a confidence are right.

    Parameters
    ----------
    right : ndarray of bool, shape (n_images,)
        Whether each answer is right.
    confidences : ndarray of float, shape (n_images,)
        Its probability, in [0, 1].
    n_bins : int
        Bins of confidence, at least 1; as many answers in each, but that equal confidences stay
        together.

    Examples
    --------
    >>> right, sure = np.array([True, True, False, True]), np.array([0.9, 0.9, 0.9, 0.4])
    >>> found = measure_reliability(right, sure, n_bins=2)
    >>> found.confidences.round(3).tolist(), found.n_right.tolist()
    ([0.775, nan], [3, 0])
    """
    values = np.asarray(confidences, dtype=np.float64)
    edges = np.linspace(0, 1, n_bins + 1)
    if len(values):
        edges[1:-1] = np.quantile(values, edges[1:-1])
    # A bin holds its upper edge, as Guo et al. have it, so that 1 is in the last one.
    bins = np.searchsorted(edges[1:-1], values, side="left")
    n = np.bincount(bins, minlength=n_bins)
    total = np.bincount(bins, weights=confidences, minlength=n_bins)
    means = np.divide(total, n, out=np.full(n_bins, np.nan), where=n > 0)
    return Reliability(edges, n, np.bincount(bins[right], minlength=n_bins), means)


_LEAST_BIN = 20


def fit_judged(
    kind: str,
    logits: Logits,
    truth: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64] | None = None,
) -> tuple[Calibrator, str]:
    """Fit a calibrator to held-out answers, and leave them as they come where it makes them worse.

    It is judged by cross-fitting: fitted on either half of the held-out images and asked of the
    other. Where log-loss or expected calibration error is higher than without, or there are too
    few images to halve, a temperature of 1 is returned. The error is that of 15 bins, or of fewer
    that have 20 images each.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    logits : ndarray of float, shape (n_images, n_classes)
        Of rows that the classifier did not learn from.
    truth : ndarray of int64, shape (n_images,)
        Column of the true class, -1 where it is unknown or none of them.
    groups : ndarray of int64, shape (n_images,), optional
        Images that are in one half together; by default each is on its own.

    Returns
    -------
    calibrator : Calibrator
    left : str
        Why the answers are left as they come; ``""`` where they are not.

    Raises
    ------
    SelectionError
        If no row has a known class, or there is no such kind.

    References
    ----------
    Chernozhukov et al. 2018, *Double/debiased machine learning* (cross-fitting).
    """
    made = find_calibrator(kind)
    known = _find_known(logits, truth)
    own = np.arange(len(known.rows)) if groups is None else groups[known.rows]
    names, places = np.unique(own, return_inverse=True)
    half = np.random.default_rng(0).permutation(len(names))[places] % 2 == 0
    if half.all() or not half.any():
        return TemperatureScaling(1.0), f"too few images to judge a calibration by {kind} on"
    halves = []
    for out in (half, ~half):
        others = truth.copy()
        others[known.rows[out]] = -1
        halves.append((made.fit(logits, others), out))
    befores = _judge(known, [(TemperatureScaling(1.0), np.ones(len(half), dtype=np.bool_))])
    afters = _judge(known, halves)
    for name, before, after in zip(("log-loss", "calibration error"), befores, afters, strict=True):
        if after > before + 1e-9:
            return TemperatureScaling(1.0), (
                f"a calibration by {kind} would make the {name} of images that it was not fitted "
                f"on {after:.3f} in place of {before:.3f}"
            )
    return made.fit(logits, truth), ""


def _judge(
    known: _Known, calibrators: Sequence[tuple[Calibrator, npt.NDArray[np.bool_]]]
) -> tuple[float, float]:
    """Return the log-loss and the expected calibration error of rows, each asked of one."""
    losses, confidences = np.empty(len(known.rows)), np.empty(len(known.rows), dtype=np.float32)
    right = np.empty(len(known.rows), dtype=np.bool_)
    for calibrator, asked in calibrators:
        places = np.flatnonzero(asked)
        for part in split_rows(len(places), known.logits.shape[1]):
            at = places[part]
            classes = known.classes[at]
            probabilities = calibrator.calibrate(known.logits[known.rows[at]].astype(np.float64))
            losses[at] = _measure_log_losses(to_logits(probabilities).astype(np.float64), classes)
            right[at] = probabilities.argmax(axis=1) == classes
            confidences[at] = probabilities.max(axis=1)
    # Bins of a few images would measure their noise.
    n_bins = min(15, max(1, len(right) // _LEAST_BIN))
    return float(losses.mean()), measure_reliability(right, confidences, n_bins=n_bins).error
