"""Linear discriminant analysis with a shrunk covariance."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.probes.closed_forms.closed_form import (
    AffineProbe,
    Doubles,
    Path,
    Sums,
    decompose,
    invert,
    sweep_path,
)
from bioprobe.probes.probe import Vectors
from bioprobe.probes.sweep import Sweep


class LdaProbe(AffineProbe):
    r"""Gaussian classes of one covariance, shrunk towards a multiple of the identity.

    Logits are :math:`x^T \Sigma_s^{-1} m_c - m_c^T \Sigma_s^{-1} m_c / 2 + \log p_c`, with
    :math:`\Sigma_s = (1 - s) \Sigma + s \operatorname{tr}(\Sigma) I / d` of the covariance
    within classes. All values of s share the eigenvectors of :math:`\Sigma`.

    Parameters
    ----------
    shrinkage : float
        s, in [0, 1].

    See Also
    --------
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis : The same with ``solver="lsqr"``.

    References
    ----------
    Friedman 1989, *Regularized Discriminant Analysis*; Ledoit and Wolf 2004 for the target.

    Examples
    --------
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [1.0, 0.0], [0.9, 0.1]], dtype=np.float32)
    >>> LdaProbe().fit(X, np.array(["a", "a", "b", "b"])).predict(X[:1]).tolist()
    ['a']
    """

    kind: ClassVar[str] = "lda"

    def __init__(self, shrinkage: float = 0.1) -> None:
        self.shrinkage = shrinkage

    def fit(self, X: Vectors, y: npt.NDArray[Any]) -> Self:  # noqa: N803
        """Learn from vectors, shape (n_images, dim), unit rows, and their classes."""
        centred, labels, centre = self._start(X, y)
        sums = Sums.of(centred, labels, len(self.classes_))
        return self._keep(_solve(sums, np.array([self.shrinkage])), centre)

    @classmethod
    def sweep(
        cls,
        X: Vectors,  # noqa: N803 - scikit-learn's name
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
    ) -> Sweep:
        """Measure many values of the shrinkage on each fold; one eigendecomposition a fold.

        Parameters
        ----------
        X : ndarray of float32, shape (n_images, dim), unit rows
        y : ndarray, shape (n_images,)
        values : ndarray of float64, shape (n_values,)
            In [0, 1].
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        """
        return sweep_path(
            "shrinkage", X, y, values, folds, lambda sums, asked, _: _solve(sums, asked)
        )


def _solve(sums: Sums, shrinkages: Doubles) -> Path:
    if not ((shrinkages >= 0) & (shrinkages <= 1)).all():
        msg = (
            f"shrinkage lies in [0, 1], got {shrinkages[(shrinkages < 0) | (shrinkages > 1)][0]:g}"
        )
        raise ProbeError(msg)
    variances, rotation = decompose(sums.scatter_within / sums.n_rows)
    s = shrinkages[:, np.newaxis]
    inverses = invert((1 - s) * variances + s * variances.mean())
    means = sums.class_means @ rotation
    coefficients = inverses[:, :, np.newaxis] * means.T
    with np.errstate(divide="ignore"):
        log_priors = np.log(sums.counts / sums.n_rows)
    intercepts = log_priors - np.einsum("vd,cd->vc", inverses, means**2) / 2
    return Path(rotation, coefficients, intercepts)
