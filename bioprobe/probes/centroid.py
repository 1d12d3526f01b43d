"""The nearest class mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.probes.closed_form import spread_rows
from bioprobe.probes.probe import Limits, Probe
from bioprobe.task.lazy_rows import AnyRows, average_rows, iter_parts
from bioprobe.task.probabilities import fit_scale
from bioprobe.task.scores import split_rows
from bioprobe.types import Arrays, Places, Vectors

_N_DRAWN = 1024
# Where no class has two training rows, nothing tells how far its images lie from its mean.
_DEFAULT_SCALE = 10.0


class CentroidProbe(Probe):
    """Nearest class mean after the training mean is taken off and rows are made unit again.

    Logits are minus the squared Euclidean distance times ``scale``.

    Parameters
    ----------
    scale : float, optional
        > 0. By default the factor at which the softmax is most likely over training rows (1,024
        at most, evenly spaced), each judged without its part in the mean of its own class; 10
        where every class has one row.

    Attributes
    ----------
    scale_ : float
        The factor used.

    References
    ----------
    Wang et al. 2019, *SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot
    Learning*: centring and unit rows (CL2N).

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=np.float32)
    >>> probe = CentroidProbe(scale=1.0).fit(X, np.array(["a", "a", "b"]))
    >>> probe.predict(X).tolist()
    ['a', 'a', 'b']
    """

    kind: ClassVar[str] = "centroid"
    takes_lazy_rows: ClassVar[bool] = True
    summary: ClassVar[str] = "nearest class mean (SimpleShot)"
    limits: ClassVar[Mapping[str, Limits]] = {"scale": Limits(0, above=True)}
    scale_: float

    def __init__(self, scale: float | None = None) -> None:
        self.scale = scale

    def _fit(self, X: AnyRows, y: npt.NDArray[Any]) -> None:  # noqa: N803
        self.classes_, labels = np.unique(y, return_inverse=True)
        self.centre_ = average_rows(X).astype(np.float32)
        counts = np.bincount(labels, minlength=len(self.classes_))
        totals = np.zeros((len(counts), X.shape[1]))
        for part in iter_parts(len(X)):
            order = np.argsort(labels[part], kind="stable")
            present, starts = np.unique(labels[part][order], return_index=True)
            rows = self._centre(X[part])[order]
            totals[present] += np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
        self.means_ = (totals / counts[:, np.newaxis]).astype(np.float32)
        self.scale_ = float(self.scale or self._fit_scale(X, labels, counts))

    def _centre(self, X: AnyRows) -> Vectors:  # noqa: N803
        return normalise_rows(np.asarray(X) - self.centre_)

    def _logits(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        return np.asarray(-self.scale_ * self._measure(self._centre(X)), dtype=np.float32)

    def to_arrays(self) -> Arrays:
        """Return the training mean, the class means and the scale."""
        scale = np.array([self.scale_], dtype=np.float64)
        return {"centre": self.centre_, "means": self.means_, "scale": scale}

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.classes_ = classes
        self.centre_, self.means_ = arrays["centre"], arrays["means"]
        self.scale_ = float(arrays["scale"][0])
        self.n_features_in_ = len(self.centre_)
        return self

    def _measure(self, rows: Vectors) -> npt.NDArray[np.float32]:
        """Return the squared distances of rows from the class means."""
        squares = (rows**2).sum(axis=1)[:, np.newaxis] + (self.means_**2).sum(axis=1)
        return np.asarray(np.maximum(squares - 2 * rows @ self.means_.T, 0), dtype=np.float32)

    def _fit_scale(self, X: AnyRows, labels: Places, counts: Places) -> float:  # noqa: N803
        chosen = spread_rows(len(X), _N_DRAWN)
        chosen = chosen[counts[labels[chosen]] > 1]
        if not len(chosen) or len(counts) < 2:
            return _DEFAULT_SCALE
        rows = self._centre(X[chosen])
        own, n_own = labels[chosen], counts[labels[chosen]].astype(np.float32)
        distances = np.empty((len(chosen), len(counts)), dtype=np.float32)
        for part in split_rows(*distances.shape):
            distances[part] = self._measure(rows[part])
        # Without the row, the mean of its class lies further away by n / (n - 1).
        distances[np.arange(len(chosen)), own] *= (n_own / (n_own - 1)) ** 2
        return fit_scale(np.negative(distances, out=distances), own)
