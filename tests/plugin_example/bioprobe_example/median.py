"""The class whose median vector is the most similar."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.probes.probe import Probe
from bioprobe.types import Arrays, Vectors


class MedianProbe(Probe):
    """Inner product with the median of each class.

    Parameters
    ----------
    sharpness : float
        > 0, factor of the logits.
    """

    kind: ClassVar[str] = "median"
    summary: ClassVar[str] = "most similar class median"
    parameter: ClassVar[str] = "sharpness"
    values: ClassVar[tuple[float, ...]] = (1.0, 4.0, 16.0)

    def __init__(self, sharpness: float = 4.0) -> None:
        self.sharpness = sharpness

    def fit(self, X: Vectors, y: npt.NDArray[Any]) -> Self:  # noqa: N803
        """Learn the medians of vectors, shape (n_images, dim), of each class."""
        if not self.sharpness > 0:
            msg = f"the sharpness of median is > 0, got {self.sharpness}"
            raise ProbeError(msg)
        self.classes_ = np.unique(y)
        self.medians_ = np.stack([np.median(X[y == name], axis=0) for name in self.classes_])
        return self

    def decision_function(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        """Return the logits, float32 of shape (n_images, n_classes)."""
        return np.asarray(self.sharpness * (X @ self.medians_.T), dtype=np.float32)

    def to_arrays(self) -> Arrays:
        """Return the medians."""
        return {"medians": self.medians_}

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.classes_, self.medians_ = classes, arrays["medians"]
        return self
