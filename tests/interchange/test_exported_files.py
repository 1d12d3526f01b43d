"""Each file read as a user of the other tool reads it, without bioprobe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import faiss
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioprobe.errors import SelectionError, SourceError
from bioprobe.interchange import export_store
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View

BuildStore = Callable[..., EmbeddingStore]


def test_emb_explorer_finds_its_two_columns_and_a_tree(
    build_store: BuildStore, tmp_path: Path
) -> None:
    store = build_store(5)
    export_store(store, tmp_path / "v.parquet", "emb-explorer")
    schema = pq.read_schema(tmp_path / "v.parquet")
    assert schema.names[:2] == ["uuid", "emb"]
    assert schema.field("uuid").type == pa.string()
    assert schema.field("emb").type == pa.list_(pa.float32())
    frame = pd.read_parquet(tmp_path / "v.parquet")
    assert frame["uuid"].is_unique
    np.testing.assert_array_equal(np.stack(list(frame["emb"])), store.read_vectors())
    assert list(frame["family"].fillna("?")) == ["Felidae", "?", "?", "Felidae", "?"]
    assert frame["phylum"].isna().all()


def test_hpc_inference_files_hold_one_column_a_model(
    build_store: BuildStore, tmp_path: Path
) -> None:
    store = build_store(4)
    export_store(store, tmp_path / "v.parquet", "hpc-inference")
    file = pq.ParquetFile(tmp_path / "v.parquet")
    assert file.schema_arrow.names[:2] == ["uuid", "emb_plain-1"]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    column = pd.read_parquet(tmp_path / "v.parquet", columns=["emb_plain-1"])["emb_plain-1"]
    np.testing.assert_array_equal(np.stack(list(column)), store.read_vectors())


def test_parquet_says_that_vectors_are_unit(build_store: BuildStore, tmp_path: Path) -> None:
    for layout in ("emb-explorer", "hpc-inference"):
        export_store(build_store(2, layout), tmp_path / f"{layout}.parquet", layout)
        said = json.loads(pq.read_schema(tmp_path / f"{layout}.parquet").metadata[b"bioprobe"])
        assert said["normalised"] is True
        assert (said["model"], said["logit_scale"]) == ("plain-1", 20.0)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("n", "sizes"), [(4, [4]), (5, [5]), (6, [5, 1]), (11, [5, 5, 1])])
def test_clip_retrieval_pairs_numbered_parts(
    n: int, sizes: list[int], build_store: BuildStore, tmp_path: Path
) -> None:
    store = build_store(n)
    export_store(store, tmp_path / "out", "clip-retrieval")
    vectors = [np.load(tmp_path / f"out/img_emb/img_emb_{i}.npy") for i in range(len(sizes))]
    tables = [
        pd.read_parquet(tmp_path / f"out/metadata/metadata_{i}.parquet") for i in range(len(sizes))
    ]
    assert [len(part) for part in vectors] == [len(part) for part in tables] == sizes
    np.testing.assert_array_equal(np.concatenate(vectors), store.read_vectors())
    assert tables[0].columns[0] == "image_path"
    assert tables[0]["image_path"].iloc[1] == "/photos/a b/001, 1.jpg"
    assert len(list((tmp_path / "out/img_emb").iterdir())) == len(sizes)


@pytest.mark.usefixtures("small_blocks")
def test_clip_retrieval_pads_the_numbers_of_ten_parts_and_more(
    build_store: BuildStore, tmp_path: Path
) -> None:
    export_store(build_store(46), tmp_path / "out", "clip-retrieval")
    names = sorted(path.name for path in (tmp_path / "out/img_emb").iterdir())
    assert names == [f"img_emb_{number:02d}.npy" for number in range(10)]


def test_numpy_reads_the_matrix_and_pandas_the_table(
    build_store: BuildStore, tmp_path: Path
) -> None:
    store = build_store(5)
    export_store(store, tmp_path / "v.npy", "npy")
    matrix = np.load(tmp_path / "v.npy")
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, store.read_vectors())
    table = pd.read_csv(tmp_path / "v.csv", dtype={"site": str})
    assert list(table["path"]) == list(store.images.frame["path"])
    assert list(table["site"]) == ["000", "001", "002", "003", "004"]
    assert json.loads((tmp_path / "v.json").read_text())["bioprobe"]["normalised"] is True


def test_datasets_loads_the_folder_and_searches_it(build_store: BuildStore, tmp_path: Path) -> None:
    store = build_store(5)
    export_store(store, tmp_path / "set", "datasets")
    loaded = datasets.load_from_disk(str(tmp_path / "set"))
    assert isinstance(loaded, datasets.Dataset)
    np.testing.assert_array_equal(
        loaded.with_format("numpy")["embeddings"][:], store.read_vectors()
    )
    assert loaded[3]["species"] == "Panthera uncia"
    assert loaded[1]["species"] is None
    loaded.add_faiss_index("embeddings", metric_type=faiss.METRIC_INNER_PRODUCT)
    _, found = loaded.get_nearest_examples("embeddings", store.read_vectors()[2], k=1)
    assert found["count"] == [2]
    assert json.loads(loaded.info.description)["normalised"] is True


@pytest.mark.parametrize("layout", ["datasets", "clip-retrieval"])
def test_a_folder_that_holds_something_is_not_replaced(
    layout: str, build_store: BuildStore, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(SourceError, match="is there already"):
        export_store(build_store(2), tmp_path / "out", layout)
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("layout", "name"), [("npy", "v.parquet"), ("emb-explorer", "v.npy"), ("hpc-inference", "v")]
)
def test_an_ending_of_another_layout_is_refused(
    layout: str, name: str, build_store: BuildStore, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="name it so"):
        export_store(build_store(2), tmp_path / name, layout)


def test_an_unknown_layout_is_refused_with_those_there_are(
    build_store: BuildStore, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="expected one of clip-retrieval, datasets"):
        export_store(build_store(2), tmp_path / "v.parquet", "hdf5")


def test_an_export_of_no_image_is_refused(build_store: BuildStore, tmp_path: Path) -> None:
    with pytest.raises(SelectionError):
        export_store(View.of(build_store(2), "count > 9"), tmp_path / "v.npy", "npy")
    assert not (tmp_path / "v.npy").exists()


@pytest.mark.parametrize("layout", ["emb-explorer", "npy", "datasets", "clip-retrieval"])
def test_a_failed_export_leaves_nothing_behind(
    layout: str, build_store: BuildStore, tmp_path: Path
) -> None:
    store = build_store(4)
    # The second shard is lost, which shows only when its vectors are read.
    (store.folder / "shards/00001/vectors.npy").unlink()
    target = tmp_path / "out" / {"emb-explorer": "v.parquet", "npy": "v.npy"}.get(layout, "v")
    with pytest.raises(RuntimeError, match="store verify"):
        export_store(store, target, layout)
    assert not target.exists()
    assert list(target.parent.iterdir()) == []
