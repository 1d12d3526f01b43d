"""Columns that were computed: read beside the image table, whatever becomes of the shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.errors import SelectionError, StoreError
from bioprobe.images.image_table import read_level
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.store.columns import CLUSTERS, list_columns
from bioprobe.store.computed import read_column, remove_column, write_column
from bioprobe.store.view import View

MakeStore = Callable[..., EmbeddingStore]


def _frame(first: int, n: int) -> pd.DataFrame:
    numbers = range(first, first + n)
    names = {"path": [f"{i}.jpg" for i in numbers], "sha256": [f"{i:064d}" for i in numbers]}
    return pd.DataFrame({"root": "/photos", "site": "north", **names})


def _add(store: EmbeddingStore, first: int, n: int, **kwargs: Any) -> EmbeddingStore:  # noqa: ANN401
    vectors = np.random.default_rng(first).normal(size=(n, store.manifest.dim))
    return store.append(_frame(first, n), vectors, **kwargs)


@pytest.fixture
def store(make_store: MakeStore, encoder: Any) -> EmbeddingStore:  # noqa: ANN401
    store = _add(_add(make_store(encoder), 0, 3), 3, 3)
    write_column(
        store, "cluster", np.arange(1, 6), ["1", "1", "2", "", "2"],
        numbers=np.array([0.9, 0.8, 0.7, np.nan, 0.6]), names={"2": "moths"},
        provenance={"method": "ward"}, facts={"rand": [0.5]},
    )  # fmt: skip
    return store


VALUES = ["", "1", "1", "2", "", "2"]


def test_a_column_is_one_of_the_image_table(store: EmbeddingStore) -> None:
    shards = [path.read_bytes() for path in sorted(store.folder.glob("shards/*/images.parquet"))]
    assert store.images.labels("cluster").tolist() == VALUES
    assert store.images.labels("cluster_name").tolist() == ["", "", "", "moths", "", "moths"]
    assert store.images.derived == ("cluster", "cluster_name")
    assert View.of(store, "cluster == 2").rows.tolist() == [3, 5]
    assert read_level("cluster", store.images) == "cluster"
    kept = read_column(store, "cluster")
    assert kept.provenance == {"method": "ward"}
    assert kept.facts == {"rand": [0.5]}
    assert kept.numbers.tolist()[1] == 0.9
    again = [path.read_bytes() for path in sorted(store.folder.glob("shards/*/images.parquet"))]
    assert again == shards
    assert "cluster" not in store.given.frame


def test_later_pictures_have_none_and_what_is_relabelled_keeps_its_own(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A shard of new rows for each.
    monkeypatch.setattr("bioprobe.store.embedding_store._RELABELLED_ROWS", 1)
    grown = _add(store, 6, 2)
    assert grown.images.labels("cluster").tolist() == [*VALUES, "", ""]
    changed = grown.relabel(np.array([3, 1]), pd.DataFrame({"site": ["south", "east"]}))
    assert changed.images.labels("cluster").tolist() == [*VALUES, "", "", "2", "1"]
    assert changed.images.labels("site").tolist()[-2:] == ["south", "east"]
    for record in changed.manifest.present_shards:
        table = pd.read_parquet(store.folder / "shards" / record.name / "images.parquet")
        assert "cluster" not in table
    replaced = _frame(5, 1).assign(sha256="f" * 64)
    other = changed.append(replaced, np.ones((1, changed.manifest.dim)), retired=[5])
    assert other.images.labels("cluster").tolist()[-1] == ""


def test_a_column_follows_its_pictures_when_rows_move(store: EmbeddingStore) -> None:
    store.manifest.take_out({store.manifest.shards[0].name}).write(store.folder)
    assert EmbeddingStore.open(store.folder).images.labels("cluster").tolist() == ["2", "", "2"]


def test_compaction_keeps_columns_and_forgets_what_is_gone(store: EmbeddingStore) -> None:
    grown = _add(store, 6, 2)
    opened = bp.open(grown.folder)
    opened.remove(row=[3])
    done = bp.open(grown.folder).compact()
    assert done.counts["columns"] == 1
    after = EmbeddingStore.open(grown.folder)
    assert after.images.labels("cluster").tolist() == ["", "1", "1", "", "2", "", ""]
    assert "3.jpg" not in (store.folder / "clusters/cluster.parquet").read_bytes().decode("latin-1")
    assert _add(after, 9, 1).images.labels("cluster").tolist()[-1] == ""
    for record in after.manifest.present_shards:
        table = pd.read_parquet(store.folder / "shards" / record.name / "images.parquet")
        assert "cluster" not in table


def test_what_the_sources_say_stands_before_what_is_kept(store: EmbeddingStore) -> None:
    with pytest.raises(SelectionError, match=r"have a column 'site' already"):
        write_column(store, "site", store.rows, ["1"] * 6)
    for name in ("species", "two words", "and", "1st", "a/b", ""):
        with pytest.raises(SelectionError):
            write_column(store, name, store.rows, ["1"] * 6)
    with pytest.raises(SelectionError, match=r"keeps clusters/cluster already"):
        write_column(store, "cluster", store.rows, ["1"] * 6, folder="orders")
    frame = _frame(6, 1).assign(cluster="mine")
    grown = store.append(frame, np.ones((1, store.manifest.dim)))
    assert grown.images.labels("cluster").tolist() == [""] * 6 + ["mine"]
    assert read_column(grown, "cluster").values.tolist() == [*VALUES, ""]


def test_a_damaged_column_is_named_where_it_is_asked_for(store: EmbeddingStore) -> None:
    path = store.folder / "clusters/cluster.parquet"
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(bytes(data))
    assert [one.where for one in verify_store(store)] == ["clusters/cluster.parquet"]
    path.write_bytes(bytes(data[:-300]))
    damaged = EmbeddingStore.open(store.folder)
    assert damaged.images.labels("site").tolist() == ["north"] * 6
    for ask in (
        lambda: read_level("cluster", damaged.images),
        lambda: View.of(damaged, "cluster == 1"),
        lambda: View.of(damaged, "cluster == 1 and aspect > 1"),
    ):
        with pytest.raises(SelectionError, match=r"cluster\.parquet cannot be read"):
            ask()
    assert [one.where for one in verify_store(damaged)] == ["clusters/cluster.parquet"]
    repaired = bp.open(store.folder).verify(repair=True)
    assert "columns clusters/cluster.parquet are damaged" in str(repaired.notes[0])
    assert not list_columns(store.folder)
    assert (store.folder / "damaged/clusters-cluster.parquet").is_file()
    assert not verify_store(EmbeddingStore.open(store.folder))


def test_a_column_is_replaced_and_removed(store: EmbeddingStore) -> None:
    assert list_columns(store.folder) == [(CLUSTERS, "cluster")]
    write_column(store, "cluster", store.rows, ["9"] * 6)
    assert store.images.labels("cluster").tolist() == ["9"] * 6
    assert "cluster_name" not in store.images.frame
    remove_column(store, "cluster")
    assert "cluster" not in store.images.frame
    with pytest.raises(StoreError, match=r"no clusters/cluster in .*; there are: none"):
        remove_column(store, "cluster")
    with pytest.raises(StoreError, match=r"no clusters/other in"):
        read_column(store, "other")
