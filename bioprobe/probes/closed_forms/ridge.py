"""Ridge regression on ±1 targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.probes.closed_forms.closed_form import (
    AffineProbe,
    Doubles,
    Labels,
    Path,
    Rows,
    Sums,
    decompose,
    invert,
    spread_rows,
    sweep_path,
)
from bioprobe.probes.probe import Vectors
from bioprobe.probes.sweep import Sweep
from bioprobe.probes.temperature import fit_scale

# Rows that the temperature is fitted on: more change one number in its third digit.
_N_DRAWN = 512


class RidgeProbe(AffineProbe):
    """Least squares from vectors to +1 for the own class and -1 for others, with a penalty.

    Coefficients and intercepts, which are not penalised, are those of scikit-learn's
    ``RidgeClassifier`` times one factor, at which the softmax of the leave-one-out scores of
    training rows (512 at most, evenly spaced) is most likely. These scores have a closed form:
    each residual is divided by one less the row's leverage.

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
    scale_: float

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, X: Vectors, y: npt.NDArray[Any]) -> Self:  # noqa: N803
        """Learn from vectors, shape (n_images, dim), unit rows, and their classes."""
        centred, labels, centre = self._start(X, y)
        sums = Sums.of(centred, labels, len(self.classes_))
        chosen = spread_rows(len(centred), _N_DRAWN)
        path, leverages = _solve(sums, np.array([self.alpha], dtype=np.float64))
        self.scale_ = _fit_scales(path, leverages, sums, centred[chosen], labels[chosen])[0]
        return self._keep(path, centre, self.scale_)

    @classmethod
    def sweep(
        cls,
        X: Vectors,  # noqa: N803 - scikit-learn's name
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
    ) -> Sweep:
        """Measure many values of alpha on each fold; one eigendecomposition a fold.

        Parameters
        ----------
        X : ndarray of float32, shape (n_images, dim), unit rows
        y : ndarray, shape (n_images,)
        values : ndarray of float64, shape (n_values,)
            At least 0.
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        """
        return sweep_path("alpha", X, y, values, folds, _solve_scaled)


def _solve_scaled(sums: Sums, alphas: Doubles, draw: Callable[[int], tuple[Rows, Labels]]) -> Path:
    path, inverses = _solve(sums, alphas)
    scales = _fit_scales(path, inverses, sums, *draw(_N_DRAWN))[:, np.newaxis]
    return Path(
        path.rotation, path.coefficients * scales[:, :, np.newaxis], path.intercepts * scales
    )


def _solve(sums: Sums, alphas: Doubles) -> tuple[Path, Doubles]:
    """Return the path, and the inverse eigenvalues of which leverages are made."""
    if not (alphas >= 0).all():
        msg = f"alpha is at least 0, got {alphas[~(alphas >= 0)][0]:g}"
        raise ProbeError(msg)
    lengths, rotation = decompose(sums.scatter)
    inverses = invert(lengths + alphas[:, np.newaxis])
    mean = sums.mean
    # Of targets +1 and -1, of which the mean over rows is taken off.
    targets = 2 * (sums.totals - np.outer(sums.counts, mean)) @ rotation
    coefficients = inverses[:, :, np.newaxis] * targets.T
    intercepts = 2 * sums.counts / sums.n_rows - 1 - (mean @ rotation) @ coefficients
    return Path(rotation, coefficients, intercepts), inverses


def _fit_scales(path: Path, inverses: Doubles, sums: Sums, X: Rows, y: Labels) -> Doubles:  # noqa: N803
    """Fit the factor of each value on the leave-one-out scores of training rows."""
    rotated = X @ path.rotation.astype(np.float32)
    centred = rotated - (sums.mean @ path.rotation).astype(np.float32)
    leverages = 1 / sums.n_rows + centred.astype(np.float64) ** 2 @ inverses.T
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
        scores += (scores - own) * ((1 - rest[:, place]) / rest[:, place])[:, np.newaxis]
        scales[place] = fit_scale(scores, y)
    return scales
