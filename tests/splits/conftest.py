"""A store of labelled rows without pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.store import EmbeddingStore

MakeStore = Callable[..., EmbeddingStore]


def add_rows(store: EmbeddingStore, first: int, columns: dict[str, list[Any]]) -> EmbeddingStore:
    """Add rows that have the columns, and a place and a hash by their number."""
    n = len(next(iter(columns.values())))
    names = [f"{first + i}.jpg" for i in range(n)]
    frame = pd.DataFrame({"root": "/photos", "path": names, "sha256": names} | columns)
    vectors = np.random.default_rng(first).normal(size=(n, store.manifest.dim))
    return store.append(frame, vectors)


@pytest.fixture
def label_store(make_store: MakeStore, encoder: Any) -> Callable[..., EmbeddingStore]:  # noqa: ANN401
    """Make a store of rows with the columns that are given."""

    def make(name: str = "labelled", **columns: list[Any]) -> EmbeddingStore:
        return add_rows(make_store(encoder, name), 0, columns)

    return make


@pytest.fixture
def rare_species(shared_dir: Path) -> pd.DataFrame:
    return pd.read_csv(shared_dir / "data" / "rare-species" / "rare_species.csv")
