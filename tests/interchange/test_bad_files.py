"""What cannot be imported is refused with a remedy or listed, and leaves no half store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import MismatchError, SourceError, StoreLockedError
from bioprobe.interchange import export_store, import_vectors, recognise_layout
from bioprobe.store import EmbeddingStore, verify_store

VECTORS = np.array([[3, 4], [0, 2], [1, 0], [5, 12], [8, 6]], dtype=np.float32)


def write_parquet(path: Path, vectors: list[object], uuids: list[object] | None = None) -> Path:
    names = uuids or [f"u{row}" for row in range(len(vectors))]
    pd.DataFrame({"uuid": names, "emb": vectors}).to_parquet(path)
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.usefixtures("small_blocks")
def test_rows_without_a_usable_vector_are_listed_and_the_rest_comes(tmp_path: Path) -> None:
    vectors: list[object] = [
        [3.0, 4.0], None, [1.0], [np.nan, 1.0], [0.0, 0.0], [np.inf, 1.0], [], [1.0, 2.0, 3.0],
        [0.0, 2e30],
    ]  # fmt: skip
    source = write_parquet(tmp_path / "v.parquet", vectors)
    summary = import_vectors(source, tmp_path / "S", model="m")
    # A length whose square float32 does not hold is a length.
    assert (summary.n_imported, summary.n_failed) == (2, 7)
    store = EmbeddingStore.open(tmp_path / "S")
    assert list(store.images.frame["path"]) == ["u0", "u8"]
    np.testing.assert_allclose(store.read_vectors(), np.array([[0.6, 0.8], [0, 1]]), atol=1e-7)
    failures = store.read_failures()
    assert list(failures["path"]) == ["u1", "u2", "u3", "u4", "u5", "u6", "u7"]
    assert list(failures["reason"]) == [
        "no vector",
        "a vector of dim 1, expected 2",
        "a vector of numbers that are not finite",
        "a vector of zeros",
        "a vector of numbers that are not finite",
        "a vector of dim 0, expected 2",
        "a vector of dim 3, expected 2",
    ]


def test_a_first_row_of_another_length_does_not_set_the_dim(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "v.parquet", [[1.0], [3.0, 4.0], [0.0, 1.0]])
    assert import_vectors(source, tmp_path / "S", model="m").dim == 2


@pytest.mark.parametrize("row", [[0.0, 0.0], [np.nan, 1.0]])
def test_a_file_without_any_usable_vector_is_refused(row: list[float], tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "v.parquet", [row, row])
    with pytest.raises(SourceError, match="none of 2 rows can be used; the first: a vector of"):
        import_vectors(source, tmp_path / "S", model="m")
    assert not (tmp_path / "S").exists()


def test_a_file_of_missing_vectors_is_refused(tmp_path: Path) -> None:
    vectors = pd.Series([[1.0], [1.0]])
    frame = pd.DataFrame({"uuid": ["a", "b"], "emb": vectors})
    frame.to_parquet(tmp_path / "w.parquet")
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "w.parquet")
    nothing = table.set_column(1, "emb", [[None, None]])
    pq.write_table(nothing.cast(table.schema), tmp_path / "v.parquet")
    with pytest.raises(SourceError, match="holds no vector: every one of them is missing"):
        import_vectors(tmp_path / "v.parquet", tmp_path / "S", model="m")


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("twin", [1, 4])
def test_two_rows_of_one_name_are_refused(twin: int, tmp_path: Path) -> None:
    names: list[object] = ["a", "b", "c", "d", "e"]
    names[twin] = "a"
    source = write_parquet(tmp_path / "v.parquet", VECTORS.tolist(), names)
    with pytest.raises(SourceError, match=rf"row {twin}: 'a' names an earlier row.*--path-column"):
        import_vectors(source, tmp_path / "S", model="m")
    assert not (tmp_path / "S").exists()


@pytest.mark.parametrize("name", [None, "", "  "])
def test_a_row_without_a_name_is_refused(name: str | None, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "v.parquet", [[1.0], [1.0]], ["a", name])
    with pytest.raises(SourceError, match="row 1: nothing in column 'uuid'"):
        import_vectors(source, tmp_path / "S", model="m")


def test_a_table_without_vectors_says_what_was_looked_for(tmp_path: Path) -> None:
    pd.DataFrame({"uuid": ["a"], "emb": ["[1, 2]"]}).to_parquet(tmp_path / "v.parquet")
    with pytest.raises(SourceError, match=r"no layout that bioprobe knows. Looked for: a folder"):
        import_vectors(tmp_path / "v.parquet", tmp_path / "S", model="m")
    with pytest.raises(SourceError, match="no column of vectors among uuid, emb; expected lists"):
        import_vectors(tmp_path / "v.parquet", tmp_path / "S", model="m", layout="emb-explorer")
    with pytest.raises(
        SourceError, match="no column 'x' of lists of numbers; those it has are none"
    ):
        import_vectors(
            tmp_path / "v.parquet", tmp_path / "S", model="m", layout="emb-explorer", column="x"
        )


@pytest.mark.parametrize("layout", ["emb-explorer", "npy"])
def test_an_empty_file_is_refused(layout: str, tmp_path: Path) -> None:
    if layout == "npy":
        source = tmp_path / "v.npy"
        np.save(source, np.zeros((0, 4), dtype=np.float32))
    else:
        source = write_parquet(tmp_path / "w.parquet", [[1.0, 2.0]])
        source = tmp_path / "v.parquet"
        pd.read_parquet(tmp_path / "w.parquet").iloc[:0].to_parquet(source)
    with pytest.raises(SourceError, match=r"holds no row|no column of vectors|cannot be read"):
        import_vectors(source, tmp_path / "S", model="m", layout=layout)
    assert not (tmp_path / "S").exists()


@pytest.mark.parametrize("name", ["v.parquet", "v.npy"])
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PAR1 not really")
    with pytest.raises(SourceError, match="cannot be read as"):
        import_vectors(tmp_path / name, tmp_path / "S", model="m")


@pytest.mark.parametrize(
    "array",
    [np.zeros(3, dtype=np.float32), np.zeros((2, 2, 2), dtype=np.float32), np.array([["a", "b"]])],
)
def test_an_array_that_is_no_matrix_of_numbers_is_refused(
    array: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(SourceError, match="expected a matrix of numbers, one vector a row"):
        import_vectors(tmp_path / "v.npy", tmp_path / "S", model="m")


def test_a_table_of_other_rows_than_the_matrix_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    (tmp_path / "v.csv").write_text("path\na\nb\n")
    with pytest.raises(SourceError, match=r"v.npy has 5 rows, .*v.csv has 2; expected as many"):
        import_vectors(tmp_path / "v.npy", tmp_path / "S", model="m")


def test_parts_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    for name in ("img_emb", "metadata"):
        (tmp_path / "out" / name).mkdir(parents=True)
    np.save(tmp_path / "out/img_emb/img_emb_0.npy", VECTORS)
    with pytest.raises(SourceError, match=r"metadata_0.parquet is missing: .*img_emb_0.npy is"):
        import_vectors(tmp_path / "out", tmp_path / "S", model="m")
    table = pd.DataFrame({"image_path": ["a", "b"]})
    table.to_parquet(tmp_path / "out/metadata/metadata_0.parquet")
    with pytest.raises(SourceError, match=r"has 5 rows, .* has 2"):
        import_vectors(tmp_path / "out", tmp_path / "S", model="m")
    np.save(tmp_path / "out/img_emb/img_emb_0.npy", VECTORS[:2])
    np.save(tmp_path / "out/img_emb/img_emb_1.npy", np.eye(2, 3))
    table.to_parquet(tmp_path / "out/metadata/metadata_1.parquet")
    with pytest.raises(SourceError, match=r"different dims \(\[2, 3\]\)"):
        import_vectors(tmp_path / "out", tmp_path / "S", model="m")


def test_nothing_there_and_nothing_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file or folder at"):
        recognise_layout(tmp_path / "none.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="Say which it is with --layout"):
        recognise_layout(tmp_path / "empty")
    with pytest.raises(SourceError, match="'hdf5' is not a layout of images"):
        import_vectors(tmp_path / "empty", tmp_path / "S", model="m", layout="hdf5")
    for layout, message in (
        ("clip-retrieval", "has no img_emb/img_emb_0.npy"),
        ("datasets", "cannot be read as a saved dataset"),
        ("emb-explorer", "holds no Parquet file"),
    ):
        with pytest.raises(SourceError, match=message):
            import_vectors(tmp_path / "empty", tmp_path / "S", model="m", layout=layout)


def test_new_rows_of_the_same_imported_encoder_are_appended(tmp_path: Path) -> None:
    one = write_parquet(tmp_path / "a.parquet", VECTORS[:2].tolist(), ["a", "b"])
    two = write_parquet(tmp_path / "b.parquet", [*VECTORS[2:].tolist(), None], ["c", "d", "e", "f"])
    import_vectors(one, tmp_path / "S", model="m", logit_scale=5.0)
    first = EmbeddingStore.open(tmp_path / "S").manifest.shards
    summary = import_vectors(two, tmp_path / "S", model="m")
    store = EmbeddingStore.open(tmp_path / "S")
    assert (summary.n_imported, summary.logit_scale, len(store)) == (3, 5.0, 5)
    assert store.manifest.shards[: len(first)] == first
    assert list(store.images.frame["path"]) == ["a", "b", "c", "d", "e"]
    assert list(store.read_failures()["path"]) == ["f"]
    assert verify_store(store) == []


def test_a_refused_append_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    one = write_parquet(tmp_path / "a.parquet", VECTORS[:2].tolist(), ["a", "b"])
    import_vectors(one, tmp_path / "S", model="m")
    before = snapshot(tmp_path / "S")
    again = write_parquet(tmp_path / "b.parquet", VECTORS[2:4].tolist(), ["c", "b"])
    wide = write_parquet(tmp_path / "c.parquet", [[1.0, 0.0, 0.0]], ["w"])
    attempts: list[tuple[Path, dict[str, object], type[Exception], str]] = [
        (again, {"model": "m"}, SourceError, "row 1: 'b' is in .* already"),
        (wide, {"model": "m"}, MismatchError, "has dim 2, got 3"),
        (wide, {"model": "other"}, MismatchError, "cannot be compared"),
        (again, {"model": "m", "dtype": "float16"}, MismatchError, "dtype float32, got float16"),
        (again, {"model": "m", "logit_scale": 3.0}, MismatchError, "logit scale 1.0, got 3.0"),
    ]
    for source, options, error, message in attempts:
        with pytest.raises(error, match=message):
            import_vectors(source, tmp_path / "S", **options)  # type: ignore[arg-type]
        assert snapshot(tmp_path / "S") == before


@pytest.mark.usefixtures("small_blocks")
def test_an_import_that_is_stopped_half_way_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "v.npy"
    np.save(source, np.eye(9, 9))

    def stop(_n_rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_vectors(source, tmp_path / "S", model="m", advance=stop)
    assert not (tmp_path / "S").exists()
    (tmp_path / "T").mkdir()
    with pytest.raises(KeyboardInterrupt):
        import_vectors(source, tmp_path / "T", model="m", advance=stop)
    assert snapshot(tmp_path / "T") == {}
    counts: list[int] = []
    import_vectors(source, tmp_path / "T", model="m", advance=counts.append)
    assert counts == [4, 4, 1]


def test_a_store_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "a.parquet", VECTORS[:2].tolist())
    import_vectors(source, tmp_path / "S", model="m")
    with (
        EmbeddingStore.open(tmp_path / "S").lock(),
        pytest.raises(StoreLockedError, match="another process is writing"),
    ):
        import_vectors(source, tmp_path / "S", model="m")


def test_a_store_of_an_encoder_that_was_seen_takes_no_imported_vectors(
    build_store: Callable[..., EmbeddingStore], tmp_path: Path
) -> None:
    store = build_store(3)
    export_store(store, tmp_path / "v.parquet", "emb-explorer")
    with pytest.raises(MismatchError, match="cannot be compared"):
        import_vectors(tmp_path / "v.parquet", store.folder, model="plain-1")


def test_a_file_that_says_another_model_is_refused(
    build_store: Callable[..., EmbeddingStore], tmp_path: Path
) -> None:
    export_store(build_store(3), tmp_path / "v.npy", "npy")
    with pytest.raises(MismatchError, match="holds vectors of plain-1, got --model bioclip-2"):
        import_vectors(tmp_path / "v.npy", tmp_path / "S", model="bioclip-2")


def test_an_exported_file_that_was_edited_is_read_or_refused(
    build_store: Callable[..., EmbeddingStore], tmp_path: Path
) -> None:
    export_store(build_store(3), tmp_path / "v.npy", "npy")
    table = pd.read_csv(tmp_path / "v.csv").drop(columns=["count"])
    table.to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(SourceError, match="lacks the columns count that it was exported with"):
        import_vectors(tmp_path / "v.npy", tmp_path / "S", model="plain-1")
    import_vectors(tmp_path / "v.npy", tmp_path / "S", model="plain-1", path_column="path")
    assert "count" not in EmbeddingStore.open(tmp_path / "S").images.frame
    (tmp_path / "v.json").write_text(json.dumps({"bioprobe": {"model": 1}}))
    with pytest.raises(SourceError, match="export it again"):
        import_vectors(tmp_path / "v.npy", tmp_path / "T", model="plain-1")
