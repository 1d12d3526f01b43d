"""Rows may be asked in any order, of whichever shard they are: each keeps what is its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

Ask = Callable[[Store, Path], pd.DataFrame]
N_ROWS, OF_A_SHARD = 24, 5
ORDER = np.random.default_rng(4).permutation(N_ROWS)[:20]


@pytest.fixture
def shards(make_store: Callable[..., EmbeddingStore]) -> Store:
    vectors = normalise_rows(np.random.default_rng(3).normal(size=(N_ROWS, 6)))
    frame = pd.DataFrame(
        {
            "root": "photos",
            "path": [f"{number}.jpg" for number in range(N_ROWS)],
            "family": np.where(np.arange(N_ROWS) % 3 == 0, "Canidae", "Felidae"),
            "sha256": [f"{number:064x}" for number in range(N_ROWS)],
        }
    )
    made = make_store(PlainEncoder(dim=6))
    for start in range(0, N_ROWS, OF_A_SHARD):
        made = made.append(frame[start : start + OF_A_SHARD], vectors[start : start + OF_A_SHARD])
    return open_store(made.folder)


def _export(store: Store, folder: Path) -> pd.DataFrame:
    store.export(folder / "vectors.parquet", "emb-explorer")
    found = pd.read_parquet(folder / "vectors.parquet")
    numbers = found["path"].str.removesuffix(".jpg").astype(int)
    return pd.DataFrame(np.stack(list(found["emb"]))).assign(row=numbers)


def _write(store: Store, folder: Path) -> pd.DataFrame:
    store.write_table(folder / "table.parquet")
    return pd.read_parquet(folder / "table.parquet")


def _predict(store: Store, _: Path) -> pd.DataFrame:
    whole = bp.open(store.folder)
    whole.split("family", fractions=(0.5, 0.25, 0.25))
    whole.fit("knn", "family", calibration="none")
    return store.predict("knn", k=2).to_frame()


ASKED: dict[str, Ask] = {
    "vectors": lambda store, _: pd.DataFrame(store.X).assign(row=store.rows),
    "images": lambda store, _: store.images[["path", "family"]].assign(row=store.rows),
    "search": lambda store, _: store.search(row=int(ORDER[3]), k=7).to_frame(),
    "list_images": lambda store, _: store.list_images(n=9).to_frame(),
    "predict": _predict,
    "export": _export,
    "write_table": _write,
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_said_of_a_row_is_the_same_in_any_order(
    name: str, shards: Store, tmp_path: Path
) -> None:
    keys = ["row", "answer"] if name == "predict" else ["row"]
    found = [
        ASKED[name](shards.where(rows=rows.tolist()), tmp_path).sort_values(keys)
        for rows in (np.sort(ORDER), ORDER)
    ]
    first, second = (one.reset_index(drop=True) for one in found)
    assert len(first)
    pd.testing.assert_frame_equal(first, second)
