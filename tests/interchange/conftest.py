from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.interchange import (
    clip_retrieval,
    draft,
    layouts,
    numpy_files,
    saved_datasets,
)
from bioprobe.store import EmbeddingStore

DIM = 6
BLOCK = 4


def make_frame(n: int) -> pd.DataFrame:
    """Return an image table with holes, a comma, a quote, and numbers that look like text."""
    cats = np.arange(n) % 3 == 0
    return pd.DataFrame(
        {
            "root": "/photos",
            "path": [f"a b/{row:03d}, {row % 2}.jpg" for row in range(n)],
            "sha256": [f"{row:064x}" for row in range(n)],
            "n_bytes": np.arange(n) + 1000,
            "width_px": 40,
            "height_px": 30,
            "mode": "RGB",
            "kingdom": "Animalia",
            "family": np.where(cats, "Felidae", ""),
            "genus": np.where(cats, "Panthera", ""),
            "species": np.where(cats, "Panthera uncia", ""),
            "common_name": np.where(cats, 'snow leopard, "ounce"', ""),
            "site": [f"{row:03d}" for row in range(n)],
            "count": np.arange(n),
            "weight_kg": np.arange(n) / 7,
            "note": [None if row % 2 else "seen, twice" for row in range(n)],
        }
    )


def make_vectors(n: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@pytest.fixture
def build_store(tmp_path: Path) -> Callable[..., EmbeddingStore]:
    """Build a store of n rows in shards of three, as if an encoder had filled it."""

    def build(n: int, name: str = "store", *, frame: pd.DataFrame | None = None) -> EmbeddingStore:
        encoder = Fingerprint(model="plain-1", weights_sha256="ab" * 32, backend="numpy")
        store = EmbeddingStore.create(tmp_path / name, encoder, dim=DIM, logit_scale=20.0)
        table = make_frame(n) if frame is None else frame
        vectors = make_vectors(n)
        for start in range(0, n, 3):
            store = store.append(table[start : start + 3], vectors[start : start + 3])
        return store

    return build


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and write four rows at once, and clip-retrieval's parts of five."""
    for module in (draft, layouts, numpy_files, saved_datasets):
        monkeypatch.setattr(module, "BLOCK_ROWS", BLOCK)
    monkeypatch.setattr(clip_retrieval, "PART_ROWS", BLOCK + 1)
