"""What is exported and imported again is the same, in every layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.interchange import export_store, import_vectors, recognise_layout
from bioprobe.interchange.layouts import ExportSummary
from bioprobe.registry import EXPORTERS
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.store.view import View

TARGETS = {
    "emb-explorer": "vectors.parquet",
    "hpc-inference": "vectors.parquet",
    "clip-retrieval": "vectors",
    "npy": "vectors.npy",
    "datasets": "vectors",
    "json-lines": "vectors.jsonl",
}
pytestmark = pytest.mark.usefixtures("example_package")
# Blocks are of four rows, parts of clip-retrieval of five: a rest alone, a full block, full parts.
SIZES = [1, 4, 10, *(pytest.param(n, marks=pytest.mark.long) for n in (3, 5, 9))]

BuildStore = Callable[..., EmbeddingStore]


def export(store: EmbeddingStore, folder: Path, layout: str) -> ExportSummary:
    return export_store(store, folder / TARGETS[layout], layout)


def assert_same_table(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(got.columns) == list(expected.columns)
    for name in expected.columns:
        same = (got[name] == expected[name]) | (got[name].isna() & expected[name].isna())
        assert same.all(), name


def test_every_layout_is_tested_here() -> None:
    assert set(TARGETS) == set(EXPORTERS.names)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("layout", TARGETS)
def test_vectors_labels_names_and_columns_come_back(
    layout: str, n: int, build_store: BuildStore, tmp_path: Path
) -> None:
    store = build_store(n)
    summary = export(store, tmp_path, layout)
    assert (summary.n_exported, summary.dim) == (n, 6)
    assert recognise_layout(summary.target) == layout
    came = import_vectors(summary.target, tmp_path / "copy", model="plain-1")
    assert (came.layout, came.n_imported, came.n_failed) == (layout, n, 0)
    assert came.n_unlabelled == 0
    assert came.is_normalised
    assert came.left_out == ()
    copy = EmbeddingStore.open(tmp_path / "copy")
    np.testing.assert_allclose(copy.read_vectors(), store.read_vectors(), atol=1e-7, rtol=0)
    assert_same_table(copy.images.frame, store.images.frame)
    assert copy.images.taxa == store.images.taxa
    assert copy.manifest.logit_scale == 20.0
    assert copy.manifest.encoder.backend == "imported"
    assert copy.manifest.encoder.model == "plain-1"
    assert verify_store(copy) == []


@pytest.mark.parametrize("layout", TARGETS)
def test_the_same_export_twice_gives_the_same_rows(
    layout: str, build_store: BuildStore, tmp_path: Path
) -> None:
    store = build_store(5)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        export(store, tmp_path / name, layout)
        import_vectors(tmp_path / name / TARGETS[layout], tmp_path / name / "S", model="plain-1")
    one, two = (EmbeddingStore.open(tmp_path / name / "S") for name in ("one", "two"))
    assert one.manifest == two.manifest


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("layout", TARGETS)
def test_rows_go_out_in_the_order_of_the_view_whichever_shard_they_are_of(
    layout: str, build_store: BuildStore, tmp_path: Path
) -> None:
    store, order = build_store(8), np.array([7, 0, 4, 3, 1, 6])
    target = tmp_path / TARGETS[layout]
    export_store(View.all(store).take(order), target, layout)
    import_vectors(target, tmp_path / "copy", model="plain-1")
    copy = EmbeddingStore.open(tmp_path / "copy")
    for name in ("path", "count"):
        assert list(copy.images.frame[name]) == list(store.images.frame[name].iloc[order])
    np.testing.assert_allclose(copy.read_vectors(), store.read_vectors(order), atol=1e-7)


@pytest.mark.parametrize("layout", TARGETS)
def test_a_condition_and_retired_rows_limit_what_is_written(
    layout: str, build_store: BuildStore, tmp_path: Path
) -> None:
    store = build_store(5)
    fresh = store.images.frame.iloc[[0]].assign(note="again")
    store = store.append(fresh, np.eye(1, 6, dtype=np.float32), retired=[0])
    target = tmp_path / TARGETS[layout]
    assert export_store(View.of(store, "count != 3"), target, layout).n_exported == 4
    import_vectors(target, tmp_path / "copy", model="plain-1")
    copy = EmbeddingStore.open(tmp_path / "copy")
    assert list(copy.images.frame["count"]) == [1, 2, 4, 0]
    assert copy.images.frame["note"].iloc[3] == "again"
    np.testing.assert_allclose(copy.read_vectors()[3], np.eye(1, 6)[0], atol=1e-7)


@pytest.mark.parametrize("layout", TARGETS)
def test_columns_with_the_names_of_a_layout_come_back_too(
    layout: str, build_store: BuildStore, tmp_path: Path
) -> None:
    frame = pd.DataFrame(
        {
            "path": ["a.jpg", "b.jpg"],
            "uuid": ["same", "same"],
            "emb": [1, 2],
            "emb_plain-1": ["x", "y"],
            "image_path": ["p", "q"],
            "embeddings": [0.5, 0.25],
            "store_emb": ["m", "n"],
        }
    )
    store = build_store(2, frame=frame)
    summary = export(store, tmp_path, layout)
    import_vectors(summary.target, tmp_path / "copy", model="plain-1")
    assert_same_table(EmbeddingStore.open(tmp_path / "copy").images.frame, store.images.frame)


def test_values_of_several_types_in_one_column_are_written_as_text(
    build_store: BuildStore, tmp_path: Path
) -> None:
    store = build_store(3, frame=pd.DataFrame({"path": ["a", "b", "c"], "age": [1, 2, 3]}))
    more = pd.DataFrame({"path": ["d"], "age": ["adult"]})
    store = store.append(more, np.eye(1, 6, dtype=np.float32))
    export_store(store, tmp_path / "v.parquet", "emb-explorer")
    ages = pd.read_parquet(tmp_path / "v.parquet")["age"]
    assert list(ages) == ["1", "2", "3", "adult"]


def test_half_precision_survives(build_store: BuildStore, tmp_path: Path) -> None:
    store = build_store(5)
    export_store(store, tmp_path / "v.npy", "npy")
    import_vectors(tmp_path / "v.npy", tmp_path / "half", model="plain-1", dtype="float16")
    half = EmbeddingStore.open(tmp_path / "half")
    assert half.manifest.dtype == "float16"
    np.testing.assert_allclose(half.read_vectors(), store.read_vectors(), atol=1e-3)
    export_store(half, tmp_path / "w.npy", "npy")
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), half.read_vectors())
