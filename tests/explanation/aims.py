"""Aims to explain."""

from __future__ import annotations

import dataclasses

import numpy as np

from bioprobe.types import Doubles, Vectors


@dataclasses.dataclass(frozen=True)
class Direction:
    """The logit of a vector is its similarity to this one, times a scale."""

    vector: Doubles
    scale: float = 20.0

    def measure(self, vectors: Vectors) -> tuple[Doubles, Vectors]:
        gradient = np.asarray(self.scale * self.vector, dtype=np.float32)
        return self.scale * (vectors @ self.vector), np.tile(gradient, (len(vectors), 1))


def make_aim(dim: int) -> Direction:
    """Make an aim of a dim: a direction by lot."""
    vector = np.random.default_rng(dim).normal(size=dim)
    return Direction(vector / np.linalg.norm(vector))
