"""What the processes of tests embed with, that are killed or run beside each other."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import normalise_rows
from tests.conftest import PlainEncoder, Vectors


class ExactEncoder(PlainEncoder):
    """Give the same bits in every process.

    The last one of a float32 product may depend on where in the memory its factors lie.
    """

    def encode_pixels(self, pixels: npt.NDArray[np.float32]) -> Vectors:
        rows = pixels.reshape(len(pixels), -1).astype(np.float64)
        return normalise_rows((rows @ self._projection.astype(np.float64)).round(4))


def wait_for_no_disk() -> None:
    """As the tests themselves do: what is written outlasts the process, if not a power cut."""
    os.fsync = os.fstat  # type: ignore[assignment]
