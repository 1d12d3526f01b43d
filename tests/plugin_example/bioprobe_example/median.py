"""The class whose median vector is the most similar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.probes.probe import Limits, Probe
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
    limits: ClassVar[Mapping[str, Limits]] = {"sharpness": Limits(0, above=True)}

    def __init__(self, sharpness: float = 4.0) -> None:
        self.sharpness = sharpness

    def _fit(self, X: Vectors, y: npt.NDArray[Any]) -> None:  # noqa: N803
        self.classes_ = np.unique(y)
        self.medians_ = np.stack([np.median(X[y == name], axis=0) for name in self.classes_])

    def _logits(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        return np.asarray(self.sharpness * (X @ self.medians_.T), dtype=np.float32)

    def to_arrays(self) -> Arrays:
        """Return the medians."""
        return {"medians": self.medians_}

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.classes_, self.medians_ = classes, arrays["medians"]
        return self
