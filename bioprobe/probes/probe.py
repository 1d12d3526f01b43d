"""What every probe is: a scikit-learn classifier that can be laid down without pickle."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin

from bioprobe.types import Arrays, Places, Settings, Vectors


@dataclasses.dataclass(frozen=True)
class Dimension:
    """Something that tuning may choose.

    Parameters
    ----------
    name : str
        Argument of the method.
    choices : tuple
        Values, the most promising first.
    when : tuple of str and str, optional
        Name and value of what must be chosen for this to play a part.
    """

    name: str
    choices: tuple[Any, ...]
    when: tuple[str, str] | None = None

    def plays_part(self, settings: Settings) -> bool:
        """Tell whether this is to be chosen beside other settings."""
        return self.when is None or settings.get(self.when[0]) == self.when[1]


def space_values(first: float, last: float, n: int = 20) -> tuple[float, ...]:
    """Return values in equal ratios, of three digits.

    Examples
    --------
    >>> space_values(0.1, 1000, 5)
    (0.1, 1.0, 10.0, 100.0, 1000.0)
    """
    values = np.logspace(math.log10(first), math.log10(last), n)
    return tuple(float(f"{value:.3g}") for value in values)


class Probe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classifier of vectors.

    A probe follows scikit-learn's rules: its parameters are the arguments of ``__init__``, what
    it learns ends in an underscore, and ``fit`` may be called again. Classes are anything that
    ``numpy.unique`` can sort.

    Attributes
    ----------
    kind : str
        Name on the command line and on disk.
    summary : str
        One line for people.
    parameter : str
        Argument of ``__init__`` that is chosen on held-out rows when it is not given; ``""`` where
        there is nothing to choose.
    values : tuple of float
        Values of it that are tried, from the strongest regularisation to the weakest.
    space : tuple of Dimension
        What else tuning may choose.
    takes_lineages : bool
        Whether ``fit`` takes, for ``y``, an ndarray of object of shape (n_images, n_ranks): names
        from the broadest rank to that of the classes, ``""`` where unknown.
    needs_texts : bool
        Whether it starts from texts: the arguments ``texts``, ``text_classes`` and ``scale``.
    answers_untaught : bool
        Whether it can answer classes that no training row has.
    classes_ : ndarray, shape (n_classes,)
        Sorted classes of the training rows.
    """

    kind: ClassVar[str]
    summary: ClassVar[str] = ""
    parameter: ClassVar[str] = ""
    values: ClassVar[tuple[float, ...]] = ()
    space: ClassVar[tuple[Dimension, ...]] = ()
    takes_lineages: ClassVar[bool] = False
    needs_texts: ClassVar[bool] = False
    answers_untaught: ClassVar[bool] = False
    classes_: npt.NDArray[Any]

    @abstractmethod
    def fit(self, X: Vectors, y: npt.NDArray[Any]) -> Self:  # noqa: N803 - scikit-learn's names
        """Learn from vectors, shape (n_images, dim), unit rows, and their classes."""

    @abstractmethod
    def decision_function(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        """Return the logits, float32 of shape (n_images, n_classes)."""

    def predict_proba(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        """Return the probabilities, float32 of shape (n_images, n_classes); rows add up to 1."""
        return np.asarray(softmax(self.decision_function(X), axis=1), dtype=np.float32)

    def predict(self, X: Vectors) -> npt.NDArray[Any]:  # noqa: N803
        """Return the best class of each image, shape (n_images,)."""
        return np.asarray(self.classes_[self.decision_function(X).argmax(axis=1)])

    @abstractmethod
    def to_arrays(self) -> Arrays:
        """Return what was learnt, but for ``classes_``, as arrays."""

    @abstractmethod
    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned, so that predictions are the same again."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Cross-validated accuracy along a path of regularisation values.

    Parameters
    ----------
    parameter : str
        Name of the parameter, as the probe's ``__init__`` has it.
    values : ndarray of float64, shape (n_values,)
        Values tried, from the strongest regularisation to the weakest.
    accuracies : ndarray of float64, shape (n_values, n_folds)
        Fraction of the held-out rows of each fold that are right.
    log_losses : ndarray of float64, shape (n_values, n_folds)
        Mean negative log-probability of the true class over the held-out rows of each fold.
    remembered : ndarray of float64, shape (n_values,), optional
        Fraction that is right of rows like those of classes that are never held out, by a fit that
        learnt from these. It is no accuracy, and counts only when a value is chosen.
    weight : float
        Number of these rows for each held-out one.
    """

    parameter: str
    values: npt.NDArray[np.float64]
    accuracies: npt.NDArray[np.float64]
    log_losses: npt.NDArray[np.float64]
    remembered: npt.NDArray[np.float64] | None = None
    weight: float = 0.0

    @property
    def best_index(self) -> int:
        """Position of the most right rows; of equal ones, the strongest regularisation."""
        scores = self.accuracies.mean(axis=1)
        if self.remembered is not None:
            # Sums that differ by rounding alone are equal.
            scores = np.round(scores + self.weight * self.remembered, 12)
        return int(scores.argmax())

    @property
    def best_value(self) -> float:
        """Value at :attr:`best_index`."""
        return float(self.values[self.best_index])


def judge(probabilities: npt.NDArray[Any], places: Places) -> tuple[float, float]:
    """Return the accuracy and the log-loss of held-out rows.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (n_images, n_classes)
    places : ndarray of int64, shape (n_images,)
        Column of the true class; -1 where no row of it was learnt from, so that it has no
        probability. Probabilities are clipped as scikit-learn's ``log_loss`` clips them.
    """
    own = np.where(places >= 0, probabilities[np.arange(len(places)), places], 0)
    right = probabilities.argmax(axis=1) == places
    log_losses = -np.log(np.maximum(own, np.finfo(np.float32).eps))
    return float(right.mean()), float(log_losses.mean())
