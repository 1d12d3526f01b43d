"""Stores of clustered vectors, as embeddings of photographs are."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.index.tuning import build_index
from bioprobe.store import EmbeddingStore

DIM, N_CLUSTERS = 16, 30


def draw_clustered(n: int, seed: int) -> npt.NDArray[np.float32]:
    centres = np.random.default_rng(0).normal(size=(N_CLUSTERS, DIM))
    random = np.random.default_rng(seed)
    spread = 0.4 * random.normal(size=(n, DIM))
    return normalise_rows(centres[random.integers(0, N_CLUSTERS, n)] + spread)


def add_rows(
    store: EmbeddingStore, vectors: npt.NDArray[np.float32], retired: list[int] | None = None
) -> EmbeddingStore:
    frame = pd.DataFrame({"path": [f"{len(store) + i}.jpg" for i in range(len(vectors))]})
    return store.append(frame, vectors, retired=retired or [])


@pytest.fixture
def clustered(tmp_path: Path) -> EmbeddingStore:
    """Two shards of 1,400 clustered vectors together."""
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    store = EmbeddingStore.create(tmp_path / "clustered", fingerprint, dim=DIM)
    return add_rows(add_rows(store, draw_clustered(900, 1)), draw_clustered(500, 2))


@pytest.fixture(scope="session")
def _indexed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @functools.cache
    def build(kind: str) -> Path:
        fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
        folder = tmp_path_factory.mktemp(kind) / "store"
        store = EmbeddingStore.create(folder, fingerprint, dim=DIM)
        store = add_rows(add_rows(store, draw_clustered(900, 1)), draw_clustered(500, 2))
        build_index(store, kind, recall=0.9)
        return folder

    return build


@pytest.fixture
def indexed(_indexed: Callable[[str], Path], tmp_path: Path) -> Callable[[str], EmbeddingStore]:
    """Copy the same store with an index of a kind that was built for a recall of 0.9."""

    def copy(kind: str) -> EmbeddingStore:
        shutil.copytree(_indexed(kind), tmp_path / kind)
        return EmbeddingStore.open(tmp_path / kind)

    return copy
