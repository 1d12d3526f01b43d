"""Aims and encoders to explain, without a file of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.encoders.families.runtime import Runtime
from bioprobe.encoders.families.torch_encoder import ImageTower, TorchEncoder
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


def wrap(
    module: torch.nn.Module,
    embed: Callable[[Any, torch.Tensor], torch.Tensor],
    side_px: int | tuple[int, int],
    precision: str = "fp32",
) -> TorchEncoder:
    """Make an encoder of a module; its pictures are squashed to one size."""
    height_px, width_px = (side_px, side_px) if isinstance(side_px, int) else side_px
    runtime = Runtime(
        device=torch.device("cpu"), precision=precision, batch_size=3, decoding="exact"
    )
    runtime.place(module)

    def to_pixels(image: Image.Image) -> Any:  # noqa: ANN401
        values = np.asarray(image.resize((width_px, height_px)), dtype=np.float32)
        return values.transpose(2, 0, 1) / 127.5 - 1

    with torch.inference_mode():
        blank = torch.zeros(1, 3, height_px, width_px, dtype=runtime.dtype)
        dim = int(embed(module, blank).shape[1])
    return TorchEncoder(
        name="tiny",
        module=module,
        image_tower=ImageTower(transform=to_pixels, embed=embed, dim=dim),
        text_tower=None,
        logit_scale=1.0,
        fingerprint=Fingerprint(model="tiny", backend="timm", precision=precision),
        runtime=runtime,
    )
