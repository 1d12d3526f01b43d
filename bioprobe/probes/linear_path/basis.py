"""The coordinates in which the logistic regression is solved: eigenvectors of the Gram matrix."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

# Directions this much shorter than the longest hold only rounding errors.
_LEAST_RATIO = 1e-12


@dataclasses.dataclass(frozen=True)
class EigenBasis:
    """Rotation of centred rows onto the eigenvectors of their Gram matrix.

    A rotation leaves the ridge penalty as it is, and the intercept, which nothing penalises,
    takes up the shift. So the objective is the same in these coordinates, but its Hessian is
    nearly diagonal: at equal probabilities it is exactly the eigenvalues times a matrix of
    classes.

    Parameters
    ----------
    centre : ndarray of float64, shape (dim,)
        Mean of the rows.
    directions : ndarray of float64, shape (dim, rank)
        Orthonormal eigenvectors, the longest first; those without extent are left out,
        but for the first.
    eigenvalues : ndarray of float64, shape (rank,)
        Of the Gram matrix of the centred rows (a sum over rows, no mean).
    """

    centre: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]
    eigenvalues: npt.NDArray[np.float64]

    @classmethod
    def of(cls, X: npt.NDArray[np.floating]) -> EigenBasis:  # noqa: N803
        """Find the basis of rows, shape (n_images, dim)."""
        centre = X.mean(axis=0, dtype=np.float64)
        centred = X - centre.astype(X.dtype)
        n_images, dim = X.shape
        if n_images < dim:
            _, lengths, rows = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
            eigenvalues, directions = lengths**2, rows.T
        else:
            gram = (centred.T @ centred).astype(np.float64)
            eigenvalues, directions = np.linalg.eigh(gram)
            eigenvalues, directions = eigenvalues[::-1], directions[:, ::-1]
        kept = eigenvalues > _LEAST_RATIO * max(eigenvalues[0], np.finfo(np.float64).tiny)
        kept[0] = True  # torch has no products over no directions
        return cls(centre, np.ascontiguousarray(directions[:, kept]), eigenvalues[kept])

    def rotate(self, X: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:  # noqa: N803
        """Return rows in this basis, shape (n_images, rank), in the dtype of ``X``."""
        centred = X - self.centre.astype(X.dtype)
        return np.asarray(centred @ self.directions.astype(X.dtype))
