"""What every probe is: a scikit-learn classifier that can be laid down without pickle."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin

from bioprobe.types import Arrays, Vectors


class Probe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classifier of vectors.

    A probe follows scikit-learn's rules: its parameters are the arguments of ``__init__``, what
    it learns ends in an underscore, and ``fit`` may be called again. Classes are anything that
    ``numpy.unique`` can sort.

    Attributes
    ----------
    kind : str
        Name on the command line and on disk.
    classes_ : ndarray, shape (n_classes,)
        Sorted classes of the training rows.
    """

    kind: ClassVar[str]
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
    """

    parameter: str
    values: npt.NDArray[np.float64]
    accuracies: npt.NDArray[np.float64]
    log_losses: npt.NDArray[np.float64]

    @property
    def best_index(self) -> int:
        """Position of the highest mean accuracy; of equal ones, the strongest regularisation."""
        return int(self.accuracies.mean(axis=1).argmax())

    @property
    def best_value(self) -> float:
        """Value at :attr:`best_index`."""
        return float(self.values[self.best_index])
