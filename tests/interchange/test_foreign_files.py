"""Files written as the other tools write them, by their own code's words."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioprobe.encoders import load_encoder
from bioprobe.errors import MismatchError, SourceError
from bioprobe.files import sketch_weights_dir
from bioprobe.interchange import import_vectors, recognise_layout
from bioprobe.store import EmbeddingStore

VECTORS = np.array([[3, 4, 0], [0, 0, 2], [1, 0, 0], [0, 5, 12], [6, 0, 8]], dtype=np.float32)
# 3-4-5 and 5-12-13: unit rows that are seen by eye.
UNIT = np.array([[0.6, 0.8, 0], [0, 0, 1], [1, 0, 0], [0, 5 / 13, 12 / 13], [0.6, 0, 0.8]])


def bring(source: Path, folder: Path, *, root: Path | None = None) -> EmbeddingStore:
    import_vectors(source, folder, model="mine", root=root)
    return EmbeddingStore.open(folder)


def write_emb_explorer(path: Path, **columns: list[object]) -> None:
    n = len(next(iter(columns.values()))) if columns else len(VECTORS)
    frame = pd.DataFrame({**columns, "emb": [row.tolist() for row in VECTORS[:n]]})
    frame.to_parquet(path)


def save_like_hpc_inference(
    path: Path, uuids: list[str], embeddings: dict[str, npt.NDArray[np.float32]]
) -> None:
    names = ["uuid", *embeddings]
    lists = [pa.array(rows.tolist(), type=pa.list_(pa.float32())) for rows in embeddings.values()]
    table = pa.Table.from_arrays([pa.array(uuids, type=pa.string()), *lists], names=names)
    pq.write_table(table, path, compression="zstd")


def write_clip_retrieval(folder: Path, sizes: list[int], width: int = 1) -> None:
    for name in ("img_emb", "metadata", "text_emb"):
        (folder / name).mkdir(parents=True)
    start = 0
    for number, size in enumerate(sizes):
        label = str(number).zfill(width)
        rows = np.arange(start, start + size) % len(UNIT)
        half = UNIT[rows].astype(np.float16)
        np.save(folder / f"img_emb/img_emb_{label}.npy", half)
        np.save(folder / f"text_emb/text_emb_{label}.npy", half)
        paths = [f"/data/{row}.jpg" for row in range(start, start + size)]
        captions = [f"picture {row}" for row in rows]
        pd.DataFrame({"image_path": paths, "caption": captions}).to_parquet(
            folder / f"metadata/metadata_{label}.parquet"
        )
        start += size


def test_how_alike_two_vectors_are_is_told_without_each_itself(tmp_path: Path) -> None:
    write_emb_explorer(tmp_path / "v.parquet", uuid=list("abcde"))
    summary = import_vectors(tmp_path / "v.parquet", tmp_path / "s", model="mine")
    pairs = (UNIT @ UNIT.T)[np.triu_indices(5, 1)]
    assert summary.mean_cosine == pytest.approx(pairs.mean(), abs=1e-6)


def test_emb_explorer_rows_are_made_unit_and_keep_ranks_names_and_columns(tmp_path: Path) -> None:
    write_emb_explorer(
        tmp_path / "v.parquet",
        uuid=["a1", "a2", "a3"],
        identifier=["https://x.org/1", None, "https://x.org/3"],
        kingdom=["Animalia", "Plantae", None],
        genus=["Panthera", "Rosa", None],
        species=["leo", "Rosa canina", None],
        common_name=["lion", None, None],
        source=["iNaturalist", "GBIF", None],
        mode=["fast", "slow", None],
    )
    assert recognise_layout(tmp_path / "v.parquet") == "emb-explorer"
    summary = import_vectors(tmp_path / "v.parquet", tmp_path / "S", model="mine")
    assert (summary.n_imported, summary.n_unlabelled, summary.n_failed) == (3, 1, 0)
    assert summary.norms == (1.0, 5.0)
    assert not summary.is_normalised
    store = EmbeddingStore.open(tmp_path / "S")
    np.testing.assert_allclose(store.read_vectors(), UNIT[:3], atol=1e-7)
    frame = store.images.frame
    assert list(frame["path"]) == list(frame["uuid"]) == ["a1", "a2", "a3"]
    assert set(frame["root"]) == {""}
    assert list(frame["species"]) == ["Panthera leo", "Rosa canina", ""]
    assert list(frame["common_name"]) == ["lion", "", ""]
    assert list(frame["source"].fillna("")) == ["iNaturalist", "GBIF", ""]
    # What a column of bioprobe's own is called stays under another name.
    assert list(frame["source_mode"].fillna("")) == ["fast", "slow", ""]
    assert list(frame["mode"]) == ["", "", ""]


@pytest.mark.usefixtures("small_blocks")
def test_a_folder_of_parquet_files_is_read_with_its_partitions(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for genus, rows in (("Panthera", [0, 1]), ("Rosa", [2, 3, 4])):
        (folder / f"genus={genus}").mkdir(parents=True)
        frame = pd.DataFrame(
            {"uuid": [f"u{row}" for row in rows], "emb": [VECTORS[row].tolist() for row in rows]}
        )
        frame.to_parquet(folder / f"genus={genus}" / "part.parquet")
    (folder / "processed_files.log").write_text("not a table")
    store = bring(folder, tmp_path / "S")
    assert list(store.images.frame["path"]) == ["u0", "u1", "u2", "u3", "u4"]
    assert list(store.images.frame["genus"]) == ["Panthera"] * 2 + ["Rosa"] * 3
    np.testing.assert_allclose(store.read_vectors(), UNIT, atol=1e-7)


def test_files_of_a_folder_may_have_different_columns(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write_emb_explorer(folder / "a.parquet", uuid=["a1"], site=["north"])
    write_emb_explorer(folder / "b.parquet", uuid=["b1", "b2"], year=[2020, 2021])
    frame = bring(folder, tmp_path / "S").images.frame
    assert list(frame["site"].fillna("")) == ["north", "", ""]
    assert list(frame["year"].fillna(0)) == [0, 2020, 2021]


def test_a_column_of_another_type_in_another_file_is_what_was_written(tmp_path: Path) -> None:
    parts: list[tuple[str, dict[str, list[object]]]] = [
        ("007", {"uuid": ["a1", "a2"], "id": [20240513123045001, None], "n": [1, 2]}),
        ("7", {"uuid": ["b1"], "id": ["007"], "n": [1.5]}),
    ]
    for site, columns in parts:
        folder = tmp_path / "set" / f"site={site}" / f"year={len(site)}"
        folder.mkdir(parents=True)
        emb = pa.array(VECTORS[: len(columns["n"])].tolist(), pa.list_(pa.float32()))
        pq.write_table(pa.table({**columns, "emb": emb}), folder / "a.parquet")
    frame = bring(tmp_path / "set", tmp_path / "S").images.frame
    assert list(frame["id"].fillna("")) == ["20240513123045001", "", "007"]
    assert list(frame["n"]) == ["1", "2", "1.5"]
    assert list(frame["site"]) == ["007", "007", "7"]
    assert list(frame["year"]) == [3, 3, 1]


def test_hpc_inference_takes_the_column_of_the_model_named(tmp_path: Path) -> None:
    other = np.roll(VECTORS, 1, axis=1)
    path = tmp_path / "embed_results_rank_0_0.parquet"
    save_like_hpc_inference(
        path, ["a", "b", "c", "d", "e"], {"emb_bio": other, "emb_mine": VECTORS}
    )
    assert recognise_layout(path) == "hpc-inference"
    summary = import_vectors(path, tmp_path / "S", model="mine")
    np.testing.assert_allclose(EmbeddingStore.open(tmp_path / "S").read_vectors(), UNIT, atol=1e-7)
    assert summary.left_out == ("emb_bio",)
    import_vectors(path, tmp_path / "T", model="mine", column="emb_bio")
    np.testing.assert_allclose(
        EmbeddingStore.open(tmp_path / "T").read_vectors(), np.roll(UNIT, 1, axis=1), atol=1e-7
    )
    with pytest.raises(SourceError, match=r"several columns of vectors \(emb_bio, emb_mine\)"):
        import_vectors(path, tmp_path / "U", model="theirs")


def test_hpc_inference_needs_no_name_where_there_is_one_column(tmp_path: Path) -> None:
    save_like_hpc_inference(tmp_path / "v.parquet", ["a", "b"], {"emb_default": VECTORS[:2]})
    np.testing.assert_allclose(
        bring(tmp_path / "v.parquet", tmp_path / "S").read_vectors(), UNIT[:2], atol=1e-7
    )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("sizes", "width"), [([3], 1), ([4, 5, 1], 1), ([2] * 12, 2), ([1] * 11, 1)]
)
def test_clip_retrieval_parts_come_in_the_order_of_their_numbers(
    sizes: list[int], width: int, tmp_path: Path
) -> None:
    write_clip_retrieval(tmp_path / "out", sizes, width)
    assert recognise_layout(tmp_path / "out") == "clip-retrieval"
    store = bring(tmp_path / "out", tmp_path / "S")
    n = sum(sizes)
    assert list(store.images.frame["path"]) == [f"/data/{row}.jpg" for row in range(n)]
    assert list(store.images.frame["caption"]) == [f"picture {row % 5}" for row in range(n)]
    np.testing.assert_allclose(store.read_vectors(), UNIT[np.arange(n) % 5], atol=1e-3)


def test_a_matrix_alone_gets_names_that_stay_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "feats.npy", VECTORS.astype(np.float64))
    store = bring(tmp_path / "feats.npy", tmp_path / "S")
    assert list(store.images.frame["path"]) == [f"feats-{row:08d}" for row in range(5)]
    np.testing.assert_allclose(store.read_vectors(), UNIT, atol=1e-7)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_matrix_with_a_table_beside_it_takes_its_paths(suffix: str, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    table = pd.DataFrame(
        {"file_name": [f"{row:03d}" for row in range(5)], "family": ["Felidae"] * 5, "x": range(5)}
    )
    if suffix == ".parquet":
        table.to_parquet(tmp_path / "v.parquet")
    else:
        table.to_csv(tmp_path / f"v{suffix}", sep="\t" if suffix == ".tsv" else ",", index=False)
    store = bring(tmp_path / "v.npy", tmp_path / "S", root=tmp_path / "photos")
    assert list(store.images.frame["family"]) == ["Felidae"] * 5
    assert list(store.images.frame["x"]) == [0, 1, 2, 3, 4]
    assert set(store.images.frame["root"]) == {str(tmp_path / "photos")}
    if suffix != ".tsv":
        assert store.images.frame["path"].iloc[1] == "001"
        assert store.images.find_file(1) == tmp_path / "photos" / "001"


@pytest.mark.usefixtures("small_blocks")
def test_a_saved_dataset_keeps_its_order_and_leaves_pictures_out(tmp_path: Path) -> None:
    saved = datasets.Dataset.from_dict(
        {
            "image": [Image.new("RGB", (2, 2))] * 5,
            "image_embedding": VECTORS.tolist(),
            "family": ["Felidae", "Canidae", None, "Felidae", "Ursidae"],
            "url": [f"https://x.org/{row}" for row in range(5)],
        },
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "image_embedding": datasets.Sequence(datasets.Value("float64")),
                "family": datasets.Value("string"),
                "url": datasets.Value("string"),
            }
        ),
    )
    # An order other than that of the file is an index of its own on disk.
    saved.select([4, 0, 2, 1, 3]).save_to_disk(str(tmp_path / "set"))
    assert recognise_layout(tmp_path / "set") == "datasets"
    summary = import_vectors(tmp_path / "set", tmp_path / "S", model="mine")
    store = EmbeddingStore.open(tmp_path / "S")
    assert [path[-1] for path in store.images.frame["path"]] == ["4", "0", "2", "1", "3"]
    assert list(store.images.frame["family"]) == ["Ursidae", "Felidae", "", "Canidae", "Felidae"]
    np.testing.assert_allclose(store.read_vectors(), UNIT[[4, 0, 2, 1, 3]], atol=1e-7)
    assert summary.left_out == ("image",)


def test_splits_are_named_for_choice(tmp_path: Path) -> None:
    part = datasets.Dataset.from_dict({"emb": VECTORS.tolist()})
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(SourceError, match=r"holds several splits.*set/train"):
        import_vectors(tmp_path / "set", tmp_path / "S", model="mine")
    assert len(bring(tmp_path / "set" / "test", tmp_path / "S")) == 5


def test_another_column_can_name_the_images(tmp_path: Path) -> None:
    write_emb_explorer(tmp_path / "v.parquet", uuid=["a", "b"], url=["u1", "u2"])
    import_vectors(tmp_path / "v.parquet", tmp_path / "S", model="mine", path_column="url")
    frame = EmbeddingStore.open(tmp_path / "S").images.frame
    assert list(frame["path"]) == ["u1", "u2"]
    assert list(frame["uuid"]) == ["a", "b"]
    with pytest.raises(SourceError, match="no column 'file'; it has uuid, url"):
        import_vectors(tmp_path / "v.parquet", tmp_path / "T", model="mine", path_column="file")


@pytest.mark.parametrize(
    ("model", "scale"), [("clip-b32", 100.0), ("bioclip", 100.0), ("siglip2-b16", 1.0), ("x", 1.0)]
)
def test_the_logit_scale_is_that_of_the_model_where_it_is_known(
    model: str, scale: float, tmp_path: Path
) -> None:
    dim = 512 if model != "siglip2-b16" else 768
    np.save(tmp_path / "v.npy", np.eye(2, dim))
    assert import_vectors(tmp_path / "v.npy", tmp_path / "S", model=model).logit_scale == scale
    import_vectors(tmp_path / "v.npy", tmp_path / "T", model=model, logit_scale=7.5)
    assert EmbeddingStore.open(tmp_path / "T").manifest.logit_scale == 7.5


def test_a_dim_that_the_model_does_not_make_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(2, 512))
    with pytest.raises(MismatchError, match=r"dim 512, bioclip-2 makes 768"):
        import_vectors(tmp_path / "v.npy", tmp_path / "S", model="bioclip-2")
    assert not (tmp_path / "S").exists()


@pytest.mark.parametrize("column", ["embedding", "embeddings", "vector", "clip_features"])
def test_other_names_of_the_column_are_known(column: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"uuid": ["a", "b"], column: [row.tolist() for row in VECTORS[:2]]})
    frame.to_parquet(tmp_path / "v.parquet")
    import_vectors(tmp_path / "v.parquet", tmp_path / "S", model="m", layout="emb-explorer")
    np.testing.assert_allclose(
        EmbeddingStore.open(tmp_path / "S").read_vectors(), UNIT[:2], atol=1e-7
    )


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float16()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 3),
     pa.list_(pa.int32())],
)  # fmt: skip
def test_any_list_of_numbers_is_a_vector(kind: pa.DataType, tmp_path: Path) -> None:
    values = pa.array(VECTORS.astype(np.int64).tolist(), type=pa.list_(pa.int32())).cast(kind)
    pq.write_table(pa.table({"uuid": list("abcde"), "emb": values}), tmp_path / "v.parquet")
    np.testing.assert_allclose(
        bring(tmp_path / "v.parquet", tmp_path / "S").read_vectors(), UNIT, atol=1e-7
    )


def test_very_long_and_very_short_vectors_have_a_direction(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[3e30, 4e30], [3e-30, 4e-30]], dtype=np.float32))
    store = bring(tmp_path / "v.npy", tmp_path / "S")
    np.testing.assert_allclose(store.read_vectors(), [[0.6, 0.8]] * 2, atol=1e-6)


def test_what_a_model_on_this_machine_says_of_itself_is_taken(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(2, 192))
    sketch = load_encoder("sketch", device="cpu")
    for number, model in enumerate(("sketch", f"local-dir:{sketch_weights_dir()}")):
        summary = import_vectors(tmp_path / "v.npy", tmp_path / f"S{number}", model=model)
        manifest = EmbeddingStore.open(tmp_path / f"S{number}").manifest
        assert summary.logit_scale == manifest.logit_scale == sketch.logit_scale > 1
        assert manifest.has_text_tower
    import_vectors(tmp_path / "v.npy", tmp_path / "T", model="sketch", logit_scale=7.5)
    assert EmbeddingStore.open(tmp_path / "T").manifest.logit_scale == 7.5


@pytest.mark.parametrize("model", ["sketch", "local-dir:SKETCH"])
def test_a_dim_that_a_model_on_this_machine_does_not_make_is_refused(
    model: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", np.eye(2, 191))
    name = model.replace("SKETCH", str(sketch_weights_dir()))
    with pytest.raises(MismatchError, match=r"dim 191, .* makes 192; name the encoder"):
        import_vectors(tmp_path / "v.npy", tmp_path / "S", model=name)
    assert not (tmp_path / "S").exists()


@pytest.mark.parametrize("name", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_of_a_model_that_cannot_be_loaded_nothing_is_known(name: str, tmp_path: Path) -> None:
    shutil.copytree(sketch_weights_dir(), tmp_path / "model")
    (tmp_path / "model" / name).write_text("{")
    np.save(tmp_path / "v.npy", np.eye(2, 192))
    model = f"local-dir:{tmp_path / 'model'}"
    assert import_vectors(tmp_path / "v.npy", tmp_path / "S", model=model).logit_scale == 1
