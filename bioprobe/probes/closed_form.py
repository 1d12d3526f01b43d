"""What the probes with a closed form share: sums over rows, and scores along a path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.cores import map_alone
from bioprobe.errors import ProbeError
from bioprobe.probes.probe import Limits, Probe, Sweep, space_values
from bioprobe.task.lazy_rows import AnyRows, average_rows, iter_parts
from bioprobe.task.probabilities import fit_scale
from bioprobe.types import Arrays, Doubles, Places, Vectors

Rows = npt.NDArray[Any]
# Returns at most so many training rows, with their classes and weights.
Draw = Callable[[int], tuple[Rows, Places, Doubles]]

# Logits of a path that are judged at once: 4 MB, which stay in the cache of a core.
_LOGITS_AT_ONCE = 1 << 20
# Directions this much shorter than the longest hold only rounding errors.
_LEAST_RATIO = 1e-13


class Centred:
    """Rows less their mean, made where they are asked for: no copy of all is held.

    Parameters
    ----------
    X : ndarray of float32, or LazyRows, shape (n_images, dim)
    """

    def __init__(self, X: AnyRows) -> None:  # noqa: N803
        self._rows = X
        #: The mean, of the dtype of the rows, shape (dim,).
        self.centre = average_rows(X).astype(X.dtype)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows."""
        return self._rows.shape

    def __getitem__(self, chosen: slice | Places) -> Rows:
        rows: Rows = np.asarray(self._rows[chosen]) - self.centre
        return rows


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """Sums over rows, from which every closed form follows; those of a part may be taken off.

    Parameters
    ----------
    counts : ndarray of float64, shape (n_classes,)
        Rows of each class, or the sum of their weights.
    totals : ndarray of float64, shape (n_classes, dim)
        Sum of the rows of each class.
    gram : ndarray of float64, shape (dim, dim)
        Sum of the outer products of the rows with themselves.
    """

    counts: Doubles
    totals: Doubles
    gram: Doubles

    @classmethod
    def of(
        cls,
        X: Rows | Centred,  # noqa: N803
        y: Places,
        n_classes: int,
        weights: Doubles | None = None,
        *,
        chosen: Places | None = None,
    ) -> Self:
        """Sum up rows, shape (n, dim), and their classes, from 0; in float64.

        Each row counts as often as its weight says, once by default. Of ``X`` the chosen rows
        count, to which the classes and weights belong; by default all.
        """
        from scipy.sparse import csr_array

        dim = X.shape[1]
        totals, gram = np.zeros((n_classes, dim)), np.zeros((dim, dim))

        def add_up(part: slice) -> tuple[Doubles, Doubles]:
            rows = X[part if chosen is None else chosen[part]].astype(np.float64)
            roots = np.ones(len(rows)) if weights is None else np.sqrt(weights[part])
            if weights is not None:
                rows *= roots[:, np.newaxis]
            members = csr_array((roots, (y[part], np.arange(len(rows)))), (n_classes, len(rows)))
            # The product of a matrix with itself takes half of the time of one with another.
            return members @ rows, rows.T @ rows

        for of_classes, of_products in map_alone(add_up, iter_parts(len(y))):
            totals += of_classes
            gram += of_products
        return cls(np.bincount(y, weights, n_classes).astype(np.float64), totals, gram)

    def __sub__(self, part: Sums) -> Sums:
        return Sums(self.counts - part.counts, self.totals - part.totals, self.gram - part.gram)

    @property
    def n_rows(self) -> float:
        """Number of rows, or the sum of their weights."""
        return float(self.counts.sum())

    @property
    def mean(self) -> Doubles:
        """Mean of the rows, shape (dim,)."""
        return np.asarray(self.totals.sum(axis=0) / self.n_rows)

    @property
    def class_means(self) -> Doubles:
        """Mean of the rows of each class, zeros for a class without rows."""
        return np.asarray(self.totals / np.maximum(self.counts, 1)[:, np.newaxis])

    @property
    def scatter(self) -> Doubles:
        """Gram matrix of the rows about their mean."""
        return np.asarray(self.gram - self.n_rows * np.outer(self.mean, self.mean))

    @property
    def scatter_within(self) -> Doubles:
        """Gram matrix of the rows about the mean of their class."""
        weighted = self.class_means * self.counts[:, np.newaxis]
        return np.asarray(self.gram - weighted.T @ self.class_means)


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """Scores at many regularisation values, in one rotated space.

    Parameters
    ----------
    rotation : ndarray of float64, shape (dim, dim)
        Eigenvectors, in columns. With fewer rows than dimensions, ``dim`` is the number of rows:
        see :func:`_centre_rows`.
    coefficients : ndarray of float64, shape (n_values, dim, n_classes)
        Of rotated rows.
    intercepts : ndarray of float64, shape (n_values, n_classes)
    """

    rotation: Doubles
    coefficients: Doubles
    intercepts: Doubles

    def measure(self, X: Rows | Centred, y: Places, chosen: Places) -> tuple[Doubles, Doubles]:  # noqa: N803
        """Measure the scores on the chosen rows, whose classes are given.

        Returns
        -------
        accuracies, log_losses : ndarray of float64, shape (n_values,)
        """
        n_values, dim, n_classes = self.coefficients.shape
        stacked = self.coefficients.transpose(1, 0, 2).reshape(dim, -1).astype(np.float32)
        shifts = self.intercepts.reshape(-1).astype(np.float32)
        rotation = self.rotation.astype(np.float32)
        right, losses = np.zeros(n_values), np.zeros(n_values)

        def judge(part: slice) -> tuple[Doubles, Doubles]:
            logits = (X[chosen[part]] @ rotation) @ stacked
            logits += shifts
            # What overflows is seen by the losses; threads are told so one by one.
            with np.errstate(all="ignore"):
                return _judge(logits.reshape(-1, n_values, n_classes), y[part])

        step = max(1, _LOGITS_AT_ONCE // max(stacked.shape[1], dim))
        for of_right, of_losses in map_alone(judge, iter_parts(len(chosen), step)):
            right += of_right
            losses += of_losses
        return right / max(len(chosen), 1), losses / max(len(chosen), 1)


def _decompose(matrix: Doubles) -> tuple[Doubles, Doubles]:
    """Return the eigenvalues, none below 0, and the eigenvectors of a symmetric matrix."""
    eigenvalues, rotation = np.linalg.eigh(matrix)
    return np.maximum(eigenvalues, 0), rotation


def _centre_rows(X: AnyRows) -> tuple[Rows | Centred, Shift]:  # noqa: N803
    """Return rows less their mean, in as many coordinates as there are rows, where these are fewer.

    What a penalty or a shrunk covariance makes of rows lies in their span, so the dual says the
    same as the primal, and no matrix is larger than the rows are many.

    Parameters
    ----------
    X : ndarray of float32, or LazyRows, shape (n_images, dim)

    Returns
    -------
    rows : Centred, or ndarray of float64, shape (n_images, n_images)
        The latter in the new coordinates.
    shift : Shift
        What was done.
    """
    centred = Centred(X)
    centre = centred.centre.astype(np.float64)
    if len(X) >= X.shape[1]:
        return centred, Shift(centre, None)
    directions, coordinates = np.linalg.qr(centred[:].T.astype(np.float64))
    return coordinates.T, Shift(centre, directions)


def invert(diagonals: Doubles) -> Doubles:
    """Return one over each number; 0 where it is nothing beside the largest of its row."""
    least = _LEAST_RATIO * diagonals.max(axis=-1, keepdims=True, initial=0)
    kept = diagonals > least
    return np.where(kept, 1 / np.where(kept, diagonals, 1), 0)


def _sweep_path(
    parameter: str,
    X: AnyRows,  # noqa: N803 - scikit-learn's name
    y: Rows,
    values: npt.NDArray[Any],
    folds: npt.NDArray[np.int64],
    solve: Callable[[Sums, Doubles, Draw], Path],
    *,
    balanced: bool = False,
) -> Sweep:
    """Measure a closed form at many values on each fold.

    The Gram matrix of the training rows of a fold is the total less that of the held-out rows;
    where classes are balanced, each fold has weights of its own. With fewer rows than dimensions
    it is that of :func:`_centre_rows`.

    Parameters
    ----------
    parameter : str
        Name of what is varied.
    X : ndarray of float32, or LazyRows, shape (n_images, dim)
    y : ndarray, shape (n_images,)
    values : ndarray of float64, shape (n_values,)
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.
    solve : callable
        From the sums of the training rows, the values, and a function that draws at most so many
        training rows with their classes and weights, to the path.
    balanced : bool
        Whether each class counts as much as any other, however many rows it has.
    """
    _, labels = np.unique(y, return_inverse=True)
    n_classes = int(labels.max(initial=-1)) + 1
    centred, _ = _centre_rows(X)
    numbers = np.unique(folds[folds >= 0])
    if not len(numbers):
        msg = "no row is held out in a fold; give folds from 0"
        raise ProbeError(msg)
    asked = np.asarray(values, dtype=np.float64)
    accuracies = np.empty((len(asked), len(numbers)))
    log_losses = np.empty_like(accuracies)
    without = None if balanced else _sum_without(centred, labels, folds, numbers, n_classes)
    for column, number in enumerate(numbers):
        out, training = np.flatnonzero(folds == number), np.flatnonzero(folds != number)
        weights = _balance_rows(labels[training]) if balanced else np.ones(len(training))
        if without is None:
            sums = Sums.of(centred, labels[training], n_classes, weights, chosen=training)
        else:
            sums = without[column]

        def draw(
            at_most: int, rows: Places = training, weights: Doubles = weights
        ) -> tuple[Rows, Places, Doubles]:
            chosen = spread_rows(len(rows), at_most)
            return centred[rows[chosen]], labels[rows[chosen]], weights[chosen]

        path = solve(sums, asked, draw)
        accuracies[:, column], log_losses[:, column] = path.measure(centred, labels[out], out)
    return Sweep(parameter, asked, accuracies, log_losses)


def _sum_without(
    X: Rows | Centred,  # noqa: N803
    labels: Places,
    folds: Places,
    numbers: Places,
    n_classes: int,
) -> list[Sums]:
    """Sum up the rows outside each fold: the total less those that are held out."""
    parts = [np.flatnonzero(folds == number) for number in numbers]
    always = np.flatnonzero(folds < 0)
    if len(parts) == 1:
        return [Sums.of(X, labels[always], n_classes, chosen=always)]
    held = [Sums.of(X, labels[rows], n_classes, chosen=rows) for rows in parts]
    total = Sums.of(X, labels[always], n_classes, chosen=always)
    for part in held:
        total = Sums(total.counts + part.counts, total.totals + part.totals, total.gram + part.gram)
    return [total - part for part in held]


def _balance_rows(labels: Places) -> Doubles:
    """Return weights by which each class adds up to the same, and all to the number of rows."""
    counts = np.bincount(labels)
    n_classes = np.count_nonzero(counts)
    return np.asarray(len(labels) / (n_classes * counts[labels]), dtype=np.float64)


def spread_rows(n_rows: int, at_most: int) -> npt.NDArray[np.int64]:
    """Return at most so many rows of all, evenly spaced, ascending."""
    return np.linspace(0, max(n_rows - 1, 0), min(n_rows, at_most)).astype(np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Shift:
    """What was done to the vectors before they were solved.

    Parameters
    ----------
    centre : ndarray of float64, shape (dim,)
        Taken off them.
    directions : ndarray of float64, shape (dim, n_images), or None
        Orthonormal axes of the new coordinates, in columns; None where they are the old ones.
    """

    centre: Doubles
    directions: Doubles | None


class AffineProbe(Probe):
    """A probe whose logits are an affine function of the vectors.

    Attributes
    ----------
    coef_ : ndarray of float32, shape (n_classes, dim)
    intercept_ : ndarray of float32, shape (n_classes,)
    """

    coef_: npt.NDArray[np.float32]
    intercept_: npt.NDArray[np.float32]

    def _logits(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        return np.asarray(X @ self.coef_.T + self.intercept_, dtype=np.float32)

    def to_arrays(self) -> Arrays:
        """Return coefficients and intercepts."""
        return {"coef": self.coef_, "intercept": self.intercept_}

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.classes_ = classes
        self.coef_, self.intercept_ = arrays["coef"], arrays["intercept"]
        self.n_features_in_ = self.coef_.shape[1]
        return self

    def _start(self, X: AnyRows, y: Rows) -> tuple[Rows | Centred, Places, Shift]:  # noqa: N803
        """Set the classes; return rows as they are solved, their classes from 0, and the shift."""
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._check_classes(self.classes_)
        rows, shift = _centre_rows(X)
        return rows, labels, shift

    def _keep(self, path: Path, shift: Shift, factor: float = 1.0) -> None:
        """Keep the first value of a path as coefficients of the vectors as they were given."""
        coefficients = factor * (path.rotation @ path.coefficients[0])
        if shift.directions is not None:
            coefficients = shift.directions @ coefficients
        intercepts = factor * path.intercepts[0] - shift.centre @ coefficients
        self.coef_ = np.ascontiguousarray(coefficients.T, dtype=np.float32)
        self.intercept_ = intercepts.astype(np.float32)


def _judge(logits: npt.NDArray[np.float32], truth: Places) -> tuple[Doubles, Doubles]:
    """Return the number of right answers and the summed log-loss, each of shape (n_values,)."""
    best = logits.argmax(axis=2)
    highest = np.take_along_axis(logits, best[:, :, np.newaxis], axis=2)
    own = logits[np.arange(len(truth)), :, truth] - highest[:, :, 0]
    logits -= highest
    np.exp(logits, out=logits)
    losses = np.log(logits.sum(axis=2)) - own
    # A class without a training row has no probability at all; scikit-learn's log_loss clips so.
    np.minimum(losses, -np.log(np.finfo(np.float32).eps), out=losses)
    right = (best == truth[:, np.newaxis]).sum(axis=0)
    return right.astype(np.float64), losses.sum(axis=0, dtype=np.float64)


class LdaProbe(AffineProbe):
    r"""Gaussian classes of one covariance, shrunk towards a multiple of the identity.

    Logits are :math:`x^T \Sigma_s^{-1} m_c - m_c^T \Sigma_s^{-1} m_c / 2 + \log p_c`, with
    :math:`\Sigma_s = (1 - s) \Sigma + s \operatorname{tr}(\Sigma) I / d` of the covariance
    within classes. All values of s share the eigenvectors of :math:`\Sigma`.

    Where no class has two rows that differ, :math:`\Sigma` is zero, and the limit of what any s
    gives is the nearest class mean: the logits are then those of the covariance about the common
    mean, as a multiple of the identity.

    Parameters
    ----------
    shrinkage : float, optional
        s, in [0, 1]. By default that of the oracle approximating shrinkage, for as many samples as
        there are rows beyond the first of each class: the fewer, the nearer to the nearest mean.

    Attributes
    ----------
    shrinkage_ : float
        The s used.

    See Also
    --------
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis : The same with ``solver="lsqr"``.
    sklearn.covariance.OAS : The same default, of one class.

    References
    ----------
    Friedman 1989, *Regularized Discriminant Analysis*; Ledoit and Wolf 2004 for the target; Chen,
    Wiesel, Eldar and Hero 2010, *Shrinkage Algorithms for MMSE Covariance Estimation*.

    Examples
    --------
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [1.0, 0.0], [0.9, 0.1]], dtype=np.float32)
    >>> LdaProbe().fit(X, np.array(["a", "a", "b", "b"])).predict(X[:1]).tolist()
    ['a']
    """

    kind: ClassVar[str] = "lda"
    takes_columns: ClassVar[bool] = True
    takes_lazy_rows: ClassVar[bool] = True
    summary: ClassVar[str] = "linear discriminant analysis, shrunk"
    parameter: ClassVar[str] = "shrinkage"
    values: ClassVar[tuple[float, ...]] = space_values(1, 1e-4)
    limits: ClassVar[Mapping[str, Limits]] = {"shrinkage": Limits(0, 1)}

    shrinkage_: float

    def __init__(self, shrinkage: float | None = None) -> None:
        self.shrinkage = shrinkage

    def _fit(self, X: AnyRows, y: npt.NDArray[Any]) -> None:  # noqa: N803
        rows, labels, shift = self._start(X, y)
        sums = Sums.of(rows, labels, len(self.classes_))
        given = self.shrinkage
        self.shrinkage_ = float(
            _approximate_shrinkage(sums, X.shape[1]) if given is None else given
        )
        self._keep(_solve(sums, np.array([self.shrinkage_]), X.shape[1]), shift)

    @classmethod
    def sweep(
        cls,
        X: AnyRows,  # noqa: N803 - scikit-learn's name
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
    ) -> Sweep:
        """Measure many values of the shrinkage on each fold; one eigendecomposition a fold.

        Parameters
        ----------
        X : ndarray of float32, or LazyRows, shape (n_images, dim), unit rows
        y : ndarray, shape (n_images,)
        values : ndarray of float64, shape (n_values,)
            In [0, 1].
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        """
        for value in values:
            cls.check_settings({"shrinkage": value})
        return _sweep_path(
            "shrinkage", X, y, values, folds,
            lambda sums, asked, _: _solve(sums, asked, X.shape[1]),
        )  # fmt: skip


def _approximate_shrinkage(sums: Sums, dim: int) -> float:
    """Return the oracle approximating shrinkage of the covariance within classes.

    References
    ----------
    Chen et al. 2010, equation 23; the samples are the degrees of freedom within classes.
    """
    n_free = sums.n_rows - np.count_nonzero(sums.counts)
    scatter = sums.scatter_within
    square, of_squares = np.trace(scatter) ** 2, float((scatter**2).sum())
    excess = (n_free + 1 - 2 / dim) * (of_squares - square / dim)
    wanted = (1 - 2 / dim) * of_squares + square
    return float(min(1, wanted / excess)) if excess > 0 else 1.0


def _solve(sums: Sums, shrinkages: Doubles, dim: int) -> Path:
    """Solve in the coordinates of the sums, which may be fewer than the vectors have."""
    variances, rotation = _decompose(sums.scatter_within / sums.n_rows)
    s, spread = shrinkages[:, np.newaxis], np.trace(sums.scatter) / sums.n_rows / dim
    mean = variances.sum() / dim
    if mean > _LEAST_RATIO * spread:
        inverses = invert((1 - s) * variances + s * mean)
    else:
        inverses = invert(np.full((len(shrinkages), len(variances)), spread))
    means = sums.class_means @ rotation
    coefficients = inverses[:, :, np.newaxis] * means.T
    with np.errstate(divide="ignore"):
        log_priors = np.log(sums.counts / sums.n_rows)
    intercepts = log_priors - np.einsum("vd,cd->vc", inverses, means**2) / 2
    return Path(rotation, coefficients, intercepts)


# Where the factor of scores is sought, as its logarithm, and how finely.
_LOG_RANGE, _HALVINGS = 20.0, 40
# Rows that the temperature is fitted on: more change one number in its third digit.
_N_DRAWN = 512


class RidgeProbe(AffineProbe):
    """Least squares from vectors to +1 for the own class and -1 for others, with a penalty.

    Each class has the same weight: without it the intercepts, which are not penalised, let the
    largest classes win wherever the penalty is strong, and classes of one image are lost.
    Coefficients and intercepts are those of scikit-learn's
    ``RidgeClassifier(class_weight="balanced")`` times one factor, at which the softmax of the
    leave-one-out scores of training rows (512 at most, evenly spaced) is most likely. These scores
    have a closed form: each residual is divided by one less the row's leverage. Where each class
    has one row, which cannot be left out, training rows have their class with a probability half
    way from chance to certainty.

    Parameters
    ----------
    alpha : float
        Penalty on the squared coefficients, ≥ 0.

    Attributes
    ----------
    scale_ : float
        The factor.

    See Also
    --------
    sklearn.linear_model.RidgeClassifier : The same predictions, without probabilities.

    References
    ----------
    Golub, Heath and Wahba 1979, *Generalized Cross-Validation*: leave-one-out residuals.

    Examples
    --------
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [1.0, 0.0], [0.9, 0.1]], dtype=np.float32)
    >>> RidgeProbe().fit(X, np.array(["a", "a", "b", "b"])).predict(X[:1]).tolist()
    ['a']
    """

    kind: ClassVar[str] = "ridge"
    takes_columns: ClassVar[bool] = True
    takes_lazy_rows: ClassVar[bool] = True
    summary: ClassVar[str] = "ridge regression on ±1"
    parameter: ClassVar[str] = "alpha"
    values: ClassVar[tuple[float, ...]] = space_values(1e3, 1e-3)
    limits: ClassVar[Mapping[str, Limits]] = {"alpha": Limits(0)}
    scale_: float

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def _fit(self, X: AnyRows, y: npt.NDArray[Any]) -> None:  # noqa: N803
        rows, labels, shift = self._start(X, y)
        weights = _balance_rows(labels)
        sums = Sums.of(rows, labels, len(self.classes_), weights)
        chosen = spread_rows(len(rows), _N_DRAWN)
        path, leverages = _solve_path(sums, np.array([self.alpha], dtype=np.float64))
        drawn = rows[chosen], labels[chosen], weights[chosen]
        self.scale_ = _fit_scales(path, leverages, sums, *drawn)[0]
        self._keep(path, shift, self.scale_)

    @classmethod
    def sweep(
        cls,
        X: AnyRows,  # noqa: N803 - scikit-learn's name
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
    ) -> Sweep:
        """Measure many values of alpha on each fold; one eigendecomposition a fold.

        Parameters
        ----------
        X : ndarray of float32, or LazyRows, shape (n_images, dim), unit rows
        y : ndarray, shape (n_images,)
        values : ndarray of float64, shape (n_values,)
            At least 0.
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        """
        for value in values:
            cls.check_settings({"alpha": value})
        return _sweep_path("alpha", X, y, values, folds, _solve_scaled, balanced=True)


def _solve_scaled(sums: Sums, alphas: Doubles, draw: Draw) -> Path:
    path, inverses = _solve_path(sums, alphas)
    scales = _fit_scales(path, inverses, sums, *draw(_N_DRAWN))[:, np.newaxis]
    return Path(
        path.rotation, path.coefficients * scales[:, :, np.newaxis], path.intercepts * scales
    )


def _solve_path(sums: Sums, alphas: Doubles) -> tuple[Path, Doubles]:
    """Return the path, and the inverse eigenvalues of which leverages are made."""
    lengths, rotation = _decompose(sums.scatter)
    inverses = invert(lengths + alphas[:, np.newaxis])
    mean = sums.mean
    # Of targets +1 and -1, of which the mean over rows is taken off.
    targets = 2 * (sums.totals - np.outer(sums.counts, mean)) @ rotation
    coefficients = inverses[:, :, np.newaxis] * targets.T
    intercepts = 2 * sums.counts / sums.n_rows - 1 - (mean @ rotation) @ coefficients
    return Path(rotation, coefficients, intercepts), inverses


def _fit_scales(
    path: Path,
    inverses: Doubles,
    sums: Sums,
    X: Rows,  # noqa: N803
    y: Places,
    weights: Doubles,
) -> Doubles:
    """Fit the factor of each value on the leave-one-out scores of training rows.

    A class keeps its weight when one of its rows is left out, so the intercepts are held. The only
    row of a class cannot be left out; where all are such, the factor is that at which training
    rows have their own class with a probability half way from chance to certainty.
    """
    rotated = X @ path.rotation.astype(np.float32)
    centred = rotated - (sums.mean @ path.rotation).astype(np.float32)
    leverages = weights[:, np.newaxis] * (centred.astype(np.float64) ** 2 @ inverses.T)
    alone = np.isclose(weights * np.count_nonzero(sums.counts), sums.n_rows)
    # A row that its own coefficient fits alone says nothing when it is left out.
    rest = np.maximum(1 - leverages, 1e-4).astype(np.float32)
    own = np.zeros((len(X), len(sums.counts)), dtype=np.float32)
    own[np.arange(len(X)), y] = 2
    own -= 1
    scales = np.empty(len(inverses))
    for place, (coefficients, intercepts) in enumerate(
        zip(path.coefficients, path.intercepts, strict=True)
    ):
        scores = rotated @ coefficients.astype(np.float32) + intercepts.astype(np.float32)
        if alone.all():
            scales[place] = _find_cautious_scale(scores, y)
            continue
        scores += (scores - own) * ((1 - rest[:, place]) / rest[:, place])[:, np.newaxis]
        scales[place] = fit_scale(scores[~alone], y[~alone])
    return scales


def _find_cautious_scale(scores: Rows, y: Places) -> float:
    """Return the factor at which rows have their class half way from chance to certainty."""
    wanted = (1 + 1 / scores.shape[1]) / 2
    gaps = scores - scores[np.arange(len(y)), y][:, np.newaxis]
    low, high = -_LOG_RANGE, _LOG_RANGE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # Gaps far above 0 are of rows that the fit has wrong: their probability is none.
        powers = np.exp(np.minimum(np.exp(middle) * gaps, 80))
        reached = (1 / powers.sum(axis=1)).mean() > wanted
        low, high = (low, middle) if reached else (middle, high)
    return float(np.exp(middle))
