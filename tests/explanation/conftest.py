"""Aims to explain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from bioprobe.types import Doubles, Vectors


@dataclasses.dataclass(frozen=True)
class Direction:
    """The logit of a vector is its similarity to this one, times a scale."""

    vector: Doubles
    scale: float = 20.0

    def measure(self, vectors: Vectors) -> tuple[Doubles, Vectors]:
        gradient = np.asarray(self.scale * self.vector, dtype=np.float32)
        return self.scale * (vectors @ self.vector), np.tile(gradient, (len(vectors), 1))


@pytest.fixture(scope="session")
def make_aim() -> Callable[[int], Direction]:
    """Make an aim of a dim: a direction by lot."""

    def make(dim: int) -> Direction:
        vector = np.random.default_rng(dim).normal(size=dim)
        return Direction(vector / np.linalg.norm(vector))

    return make
