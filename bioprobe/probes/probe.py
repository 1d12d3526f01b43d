"""What every probe is: a scikit-learn classifier that can be laid down without pickle."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import numbers
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from bioprobe.errors import ProbeError
from bioprobe.task.lazy_rows import LazyRows, iter_parts
from bioprobe.task.probabilities import check_probabilities
from bioprobe.task.scores import split_rows
from bioprobe.types import Arrays, Doubles, Mask, Places, Settings, Vectors

_Scores = npt.NDArray[np.float32]


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


@dataclasses.dataclass(frozen=True)
class Limits:
    """Numbers that a setting may be; never one that is infinite, or no number.

    Parameters
    ----------
    least, most : float
        Smallest and largest.
    above : bool
        Whether it lies above ``least``, which it may be otherwise.
    whole : bool
        Whether it has no fraction.
    several : bool
        Whether it may be a sequence of such numbers, of one at least.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    whole: bool = False
    several: bool = False

    def hold(self, value: object) -> bool:
        """Tell whether a setting is what it may be."""
        if self.several and isinstance(value, (list, tuple, np.ndarray)):
            return np.ndim(value) == 1 and len(value) > 0 and all(map(self._hold_one, value))
        return self._hold_one(value)

    def _hold_one(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False
        try:
            number = float(value)
        except OverflowError:
            return False
        return (
            math.isfinite(number)
            and (self.least < number if self.above else self.least <= number)
            and number <= self.most
            and (not self.whole or number.is_integer())
        )

    def describe(self, name: str) -> str:
        """Return in words what a setting of a name may be."""
        said = f"a {'whole' if self.whole else 'finite'} {name}"
        if math.isfinite(self.most):
            return f"{said} in {'(' if self.above else '['}{self.least:g}, {self.most:g}]"
        if math.isfinite(self.least):
            return f"{said} {'>' if self.above else '>='} {self.least:g}"
        return said


#: What numpy's generators take.
SEED = Limits(0, 2**32 - 1, whole=True)
#: Steps of a search at most.
STEPS = Limits(1, 10**9, whole=True)
#: Inverse strength of a penalty whose reciprocal float32 holds.
STRENGTH = Limits(1e-30)


class Probe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classifier of vectors.

    A probe follows scikit-learn's rules: its parameters are the arguments of ``__init__``, what
    it learns ends in an underscore, and ``fit`` may be called again. Classes are anything that
    ``numpy.unique`` can sort. What it is given is checked here, once for all probes; one of its
    own defines ``_fit`` and ``_logits``, which take float32 of shape (n_images, dim).

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
    limits : mapping of str to Limits
        What each numeric argument of ``__init__`` may be; beside it, None where that is the
        default.
    space : tuple of Dimension
        What else tuning may choose.
    takes_lineages : bool
        Whether ``fit`` takes, for ``y``, an ndarray of object of shape (n_images, n_ranks): names
        from the broadest rank to that of the classes, ``""`` where unknown.
    needs_texts : bool
        Whether a task gives it texts: the arguments ``texts``, ``text_classes`` and ``scale``.
    answers_untaught : bool
        Whether it can answer classes that no training row has.
    takes_columns : bool
        Whether numbers may stand beside the vectors that it learns from: it then takes rows of any
        length.
    takes_lazy_rows : bool
        Whether it learns from rows some at a time, so that they may be
        :class:`~bioprobe.task.lazy_rows.LazyRows`: more than memory holds.
    reads : str
        What it learns from where that is not the vectors: one of
        :data:`bioprobe.encoders.keeping.KEPT_KINDS`, which the store must keep.
    classes_ : ndarray, shape (n_classes,)
        Sorted classes of the training rows.
    n_features_in_ : int
        Length of the vectors.
    """

    kind: ClassVar[str]
    summary: ClassVar[str] = ""
    parameter: ClassVar[str] = ""
    values: ClassVar[tuple[float, ...]] = ()
    limits: ClassVar[Mapping[str, Limits]] = {}
    space: ClassVar[tuple[Dimension, ...]] = ()
    takes_lineages: ClassVar[bool] = False
    needs_texts: ClassVar[bool] = False
    answers_untaught: ClassVar[bool] = False
    takes_columns: ClassVar[bool] = False
    takes_lazy_rows: ClassVar[bool] = False
    reads: ClassVar[str] = ""
    classes_: npt.NDArray[Any]
    n_features_in_: int

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:  # noqa: N803 - scikit-learn's names
        """Learn from vectors and their classes.

        Parameters
        ----------
        X : array-like, shape (n_images, dim)
            Unit rows; read as float32. Of :class:`~bioprobe.task.lazy_rows.LazyRows` no more than
            some are in memory at once, where the kind of probe takes them.
        y : array-like, shape (n_images,)
            Classes.

        Raises
        ------
        ProbeError
            If there is nothing to learn from, or a setting is out of its limits.
        """
        return self._learn(X, y)

    def logits(self, X: npt.ArrayLike) -> _Scores:  # noqa: N803
        """Return the logits, float32 of shape (n_images, n_classes).

        Raises
        ------
        ProbeError
            If the vectors are not as they were for :meth:`fit`, or a logit is not finite.
        """
        return self._answer(self._check_asked(X))

    def decision_function(self, X: npt.ArrayLike) -> _Scores:  # noqa: N803
        """Return what scikit-learn wants: of two classes, how far the second is above the first.

        Returns
        -------
        ndarray of float32, shape (n_images,) or (n_images, n_classes)
            The difference of the two logits, or else the logits themselves.
        """
        logits = self.logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: npt.ArrayLike) -> _Scores:  # noqa: N803
        """Return the probabilities, float32 of shape (n_images, n_classes); rows add up to 1."""
        with np.errstate(all="ignore"):
            probabilities = self._probabilities(self._check_asked(X))
        return check_probabilities(probabilities, self._describe())

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:  # noqa: N803
        """Return the best class of each image, shape (n_images,)."""
        if isinstance(X, LazyRows) and len(X):
            parts = iter_parts(len(X))
            return np.concatenate([self.predict(np.asarray(X[part])) for part in parts])
        checked = self._check_asked(X)
        places = np.zeros(len(checked), dtype=np.int64)
        for part in split_rows(len(checked), len(self.classes_)):
            places[part] = self._answer(checked[part]).argmax(axis=1)
        return np.asarray(self.classes_[places])

    @abstractmethod
    def to_arrays(self) -> Arrays:
        """Return what was learnt, but for ``classes_``, as arrays."""

    @abstractmethod
    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned, so that predictions are the same again."""

    @abstractmethod
    def _fit(self, X: Vectors, y: npt.NDArray[Any]) -> None:  # noqa: N803
        """Learn from vectors and their classes, which are checked."""

    @abstractmethod
    def _logits(self, X: Vectors) -> _Scores:  # noqa: N803
        """Return the logits of vectors, which are checked; shape (n_images, n_classes)."""

    def _probabilities(self, X: Vectors) -> _Scores:  # noqa: N803
        return np.asarray(softmax(self._logits(X), axis=1), dtype=np.float32)

    @classmethod
    def check_settings(cls, settings: Settings) -> None:
        """Refuse settings that are out of their limits.

        Raises
        ------
        ProbeError
            If one is.
        """
        defaults = inspect.signature(cls).parameters
        for name, limits in cls.limits.items():
            value = settings.get(name, defaults[name].default)
            if not (limits.hold(value) or (value is None and defaults[name].default is None)):
                msg = f"{cls.kind} takes {limits.describe(name)}, got {value!r}"
                raise ProbeError(msg)

    def _check_classes(self, classes: npt.NDArray[Any]) -> None:
        """Raise ProbeError where there are not two classes to tell apart."""
        if len(classes) < 2:
            msg = f"a probe tells classes apart: two are needed, got {len(classes)} class"
            raise ProbeError(msg)

    def _check_balance(self, balance: str, balances: Sequence[str]) -> None:
        """Raise ProbeError where there is no such balance."""
        if balance not in balances:
            msg = f"{self.kind} has no balance {balance!r}; there are {', '.join(balances)}"
            raise ProbeError(msg)

    def _learn(self, X: npt.ArrayLike, y: npt.ArrayLike, **others: Any) -> Self:  # noqa: ANN401, N803
        vectors, classes = self._check_training(X, y)
        # What overflows is seen by what is then answered.
        with np.errstate(all="ignore"):
            self._fit(vectors, classes, **others)
        self._answer_first(np.asarray(vectors[:1]) if self._stays_lazy(vectors) else vectors)
        return self

    def _answer_first(self, X: Vectors) -> None:  # noqa: N803
        """See by the first row that what was learnt can answer."""
        self._answer(X[:1])

    def _answer(self, X: Vectors) -> _Scores:  # noqa: N803
        with np.errstate(all="ignore"):
            logits = self._logits(X)
        if not np.isfinite(logits).all():
            msg = f"{self._describe()} gives logits that are not finite; choose other settings"
            raise ProbeError(msg)
        return logits

    def _check_training(
        self,
        X: npt.ArrayLike | LazyRows,  # noqa: N803
        y: npt.ArrayLike,
    ) -> tuple[Any, npt.NDArray[Any]]:
        """Return what is learnt from as it is needed: the one check of all probes.

        Returns
        -------
        vectors : ndarray of float32, shape (n_images, dim)
            Or LazyRows, where such were given to a probe that takes them.
        classes : ndarray, shape (n_images,)
        """
        self.check_settings(self.get_params(deep=False))
        if self._stays_lazy(X):
            return self._check_lazy(X, y)
        with _as_probe_errors():
            vectors, classes = validate_data(
                self, X, y, dtype=np.float32, multi_output=self._takes_table(y)
            )
            if classes.ndim == 1:
                with warnings.catch_warnings():
                    # A class of one image is no sign of a regression.
                    warnings.filterwarnings("ignore", "The number of unique classes")
                    check_classification_targets(classes)
        return vectors, classes

    def _stays_lazy(self, X: object) -> bool:  # noqa: N803
        """Tell whether rows are learnt from some at a time."""
        return self.takes_lazy_rows and isinstance(X, LazyRows)

    def _check_lazy(self, X: Any, y: npt.ArrayLike) -> tuple[Any, npt.NDArray[Any]]:  # noqa: N803, ANN401
        """Check what can be checked of rows that are not read yet, by the first of them."""
        classes = np.asarray(y)
        if classes.shape != (len(X),):
            msg = f"{len(X):,} images need a class each, got classes of the shape {classes.shape}"
            raise ProbeError(msg)
        with _as_probe_errors():
            validate_data(self, np.asarray(X[:1]), classes[:1], dtype=np.float32)
        return X, classes

    def _takes_table(self, y: npt.ArrayLike) -> bool:  # noqa: ARG002 - others look at it
        """Tell whether classes are learnt from as an array of two dimensions."""
        return False

    def _check_asked(self, X: npt.ArrayLike) -> Vectors:  # noqa: N803
        """Return what is asked about as it is needed: the other check of all probes."""
        check_is_fitted(self)
        with _as_probe_errors():
            checked = validate_data(self, X, dtype=np.float32, reset=False, ensure_min_samples=0)
        return np.asarray(checked)

    def _describe(self) -> str:
        """Return the probe and its numeric settings in words."""
        given = (f"{name}={getattr(self, name)!r}" for name in self.limits)
        return f"{self.kind} with {', '.join(given)}" if self.limits else self.kind


@contextlib.contextmanager
def _as_probe_errors() -> Iterator[None]:
    """Say what scikit-learn refuses as an error of ours, which is a ValueError too."""
    try:
        yield
    except ProbeError:
        raise
    except ValueError as error:
        raise ProbeError(str(error)) from error


def find_places(classes: npt.NDArray[Any], y: npt.NDArray[Any]) -> Places:
    """Return the place of each label among sorted classes, -1 where it is none of them."""
    places = np.searchsorted(classes, y)
    places[places == len(classes)] = 0
    return np.where(classes[places] == y, places, -1)


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
    remembered : ndarray of float64, shape (2, n_values), optional
        Accuracy and log-loss on rows like those of classes that are never held out, by a fit that
        learnt from these. They are no measurement, and count only when a value is chosen.
    weight : float
        Number of these rows for each held-out one.

    References
    ----------
    Gneiting and Raftery 2007, *Strictly Proper Scoring Rules, Prediction, and Estimation*: what
    the log-loss tells of answers that are equally often right.
    """

    parameter: str
    values: npt.NDArray[np.float64]
    accuracies: npt.NDArray[np.float64]
    log_losses: npt.NDArray[np.float64]
    remembered: npt.NDArray[np.float64] | None = None
    weight: float = 0.0

    @property
    def best_index(self) -> int:
        """Position of the most right rows; of equal ones, of the least log-loss, in thousandths.

        Where this is equal too, it is the strongest regularisation. That alone would be no rule:
        a penalty so strong that all but the largest classes are lost is told by the log-loss
        first.
        """
        scores = np.stack([self.accuracies.mean(axis=1), -self.log_losses.mean(axis=1)])
        if self.remembered is not None:
            scores += self.weight * (self.remembered * [[1], [-1]])
        # Sums that differ by rounding alone are equal.
        right, likely = np.round(scores[0], 12), np.round(scores[1], 3)
        return int(np.where(right == right.max(), likely, -np.inf).argmax())

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
    right, log_losses = judge_each(probabilities, places)
    return float(right.mean()), float(log_losses.mean())


def judge_each(probabilities: npt.NDArray[Any], places: Places) -> tuple[Mask, Doubles]:
    """Return of each held-out row whether it is right, and its log-loss; see :func:`judge`."""
    own = np.where(places >= 0, probabilities[np.arange(len(places)), places], 0)
    right = probabilities.argmax(axis=1) == places
    return right, -np.log(np.maximum(own, np.finfo(np.float32).eps))
