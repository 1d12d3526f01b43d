from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioprobe.embedding import embed_images
from bioprobe.errors import ImageReadError, SourceError
from bioprobe.images.location import DatasetName, open_pictures, read_image_bytes
from bioprobe.page import make_thumbnail
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder, draw_picture

SPECIES = ["Panthera leo", "Panthera pardus"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def pictures() -> list[bytes]:
    return [_encode(draw_picture(number, (20 + number, 16))) for number in range(5)]


def _encode(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _make(pictures: list[bytes], paths: list[str | None] | None = None) -> datasets.Dataset:
    n = len(pictures)
    cells = [{"bytes": b, "path": p} for b, p in zip(pictures, paths or [None] * n, strict=True)]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "species": datasets.ClassLabel(names=SPECIES),
            "label": datasets.ClassLabel(names=["night", "day"]),
            "site": datasets.Value("int64"),
        }
    )
    columns: dict[str, Any] = {
        "image": cells,
        "species": [row % 2 for row in range(n)],
        "label": [0] * n,
        "site": list(range(n)),
    }
    return datasets.Dataset.from_dict(columns, features=features)


def _save(rows: datasets.Dataset | datasets.DatasetDict, folder: Path) -> Path:
    rows.save_to_disk(str(folder))
    return folder


def test_a_saved_data_set_is_listed_with_its_labels(tmp_path: Path, pictures: list[bytes]) -> None:
    folder = _save(_make(pictures), tmp_path / "saved")
    table = find_images([folder])
    assert table.file_names == ["0", "1", "2", "3", "4"]
    assert set(table.frame["root"]) == {f"dataset:{folder}"}
    assert table.labels(Rank.SPECIES).tolist()[:3] == [SPECIES[0], SPECIES[1], SPECIES[0]]
    assert table.free_columns == ["label", "site"]
    assert set(table.frame["label"]) == {"night"}
    assert table.frame["site"].tolist() == [0, 1, 2, 3, 4]
    assert [table.locate(row).read_bytes() for row in range(5)] == pictures


def test_numbers_of_rows_are_as_long_as_the_last(tmp_path: Path, pictures: list[bytes]) -> None:
    folder = _save(_make(pictures * 3), tmp_path / "saved")
    assert find_images([folder]).file_names[::7] == ["00", "07", "14"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["b.png", "a.png"], ["b.png", "a.png"]),
        (["/data/b.png", "x/a.png"], ["data/b.png", "x/a.png"]),
        (["a.png", "a.png"], ["0", "1"]),
        (["a.png", None], ["0", "1"]),
        (["a.png", "/a.png"], ["0", "1"]),
    ],
)
def test_rows_are_named_by_their_paths_where_these_tell_them_apart(
    tmp_path: Path, pictures: list[bytes], paths: list[str | None], names: list[str]
) -> None:
    folder = tmp_path / "rows.parquet"
    _make(pictures[:2], paths).to_parquet(str(folder))
    table = find_images([folder])
    assert table.file_names == names
    assert [table.locate(row).read_bytes() for row in (0, 1)] == pictures[:2]


def test_every_split_is_listed_and_kept_in_a_column(
    tmp_path: Path, pictures: list[bytes], encoder: PlainEncoder
) -> None:
    splits = {"train": _make(pictures[:3]), "test": _make(pictures[3:])}
    folder = _save(datasets.DatasetDict(splits), tmp_path / "saved")
    table = find_images([folder])
    assert table.frame["split"].tolist() == ["train"] * 3 + ["test"] * 2
    assert table.frame["root"].tolist()[2:4] == [
        f"dataset:{folder}#train",
        f"dataset:{folder}#test",
    ]
    assert [table.locate(row).read_bytes() for row in range(5)] == pictures
    (test,) = {*find_images([Path(f"dataset:{folder}#test")]).frame["split"]}
    assert test == "test"
    # A split is a saved data set too.
    assert len(find_images([folder / "test"])) == 2
    with pytest.raises(SourceError, match=r"saved has no split 'dev'; it has train, test"):
        find_images([Path(f"dataset:{folder}#dev")])
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    embed_images(table, encoder, store)
    assert EmbeddingStore.open(store.folder).images.frame["split"].tolist()[3] == "test"


def test_a_split_column_of_its_own_stays_under_another_name(
    tmp_path: Path, pictures: list[bytes]
) -> None:
    rows = _make(pictures[:2]).add_column("split", ["a", "b"])
    folder = _save(datasets.DatasetDict({"train": rows}), tmp_path / "saved")
    frame = find_images([folder]).frame
    assert (frame["split"].tolist(), frame["source_split"].tolist()) == (["train"] * 2, ["a", "b"])


def _write_bytes_column(file: Path, pictures: list[bytes], name: str = "jpg") -> Path:
    columns = {name: pa.array(pictures, pa.binary()), "family": ["Felidae"] * len(pictures)}
    pq.write_table(pa.table(columns), file, row_group_size=2)
    return file


def test_a_parquet_file_of_bytes_is_a_data_set(tmp_path: Path, pictures: list[bytes]) -> None:
    file = _write_bytes_column(tmp_path / "rows.parquet", pictures)
    table = find_images([file])
    assert table.file_names == ["0", "1", "2", "3", "4"]
    assert set(table.labels(Rank.FAMILY)) == {"Felidae"}
    assert table.free_columns == []
    assert table.locate(3).read_bytes() == pictures[3]


def test_a_folder_of_parquet_files_has_the_splits_of_their_names(
    tmp_path: Path, pictures: list[bytes]
) -> None:
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    _make(pictures[:2]).to_parquet(str(folder / "train-00000-of-00002.parquet"))
    _make(pictures[2:4]).to_parquet(str(folder / "train-00001-of-00002.parquet"))
    _make(pictures[4:]).to_parquet(str(folder / "test-00000-of-00001.parquet"))
    (tmp_path / "hub" / "README.md").write_text("a card")
    table = find_images([tmp_path / "hub"])
    assert sorted(table.frame["split"]) == ["test"] + ["train"] * 4
    assert {table.locate(row).read_bytes() for row in range(5)} == set(pictures)
    assert set(table.labels(Rank.SPECIES)) == set(SPECIES)


def test_a_parquet_table_that_names_files_stays_a_table(tmp_path: Path) -> None:
    columns = {"path": ["a.jpg"], "thumbnail": pa.array([b"x"], pa.binary())}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert find_images([tmp_path / "t.parquet"]).file_names == ["a.jpg"]
    chosen = find_images([tmp_path / "t.parquet"], SourceOptions(path_column="thumbnail"))
    assert chosen.locate(0).read_bytes() == b"x"


def test_the_column_of_pictures_can_be_chosen(tmp_path: Path, pictures: list[bytes]) -> None:
    rows = _make(pictures[:2])
    mask = [{"bytes": picture, "path": None} for picture in pictures[2:4]]
    rows = rows.add_column("mask", mask, feature=datasets.Image())
    folder = _save(rows, tmp_path / "saved")
    assert find_images([folder]).locate(0).read_bytes() == pictures[0]
    table = find_images([folder], SourceOptions(path_column="mask"))
    assert table.locate(0).read_bytes() == pictures[2]
    assert set(table.frame["root"]) == {f"dataset:{folder}#/mask"}
    with pytest.raises(SourceError, match=r"no column of pictures named 'x'.*got image, species"):
        find_images([folder], SourceOptions(path_column="x"))


def test_labels_can_be_read_from_a_named_column(tmp_path: Path, pictures: list[bytes]) -> None:
    folder = _save(_make(pictures).rename_column("species", "what"), tmp_path / "saved")
    table = find_images([folder], SourceOptions(rank_columns={Rank.SPECIES: "what"}))
    assert set(table.labels(Rank.GENUS)) == {"Panthera"}


def test_a_row_without_a_label_has_none(tmp_path: Path, pictures: list[bytes]) -> None:
    rows = _make(pictures[:2])
    cells = {**rows.with_format("arrow")[:].to_pydict(), "species": [None, 1]}
    folder = _save(datasets.Dataset.from_dict(cells, features=rows.features), tmp_path / "saved")
    assert find_images([folder]).labels(Rank.SPECIES).tolist() == ["", SPECIES[1]]


def test_pictures_outside_of_the_rows_are_read_from_their_files(
    tmp_path: Path, pictures: list[bytes]
) -> None:
    (tmp_path / "a.png").write_bytes(pictures[0])
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = pa.array(
        [{"path": "a.png"}, {"path": str(tmp_path / "a.png")}, {"path": "no.png"}], kind
    )
    pq.write_table(pa.table({"image": cells}), tmp_path / "t.parquet")
    table = find_images([tmp_path / "t.parquet"])
    assert [table.locate(row).read_bytes() for row in (0, 1)] == [pictures[0]] * 2
    with pytest.raises(FileNotFoundError):
        table.locate(2).read_bytes()


def test_a_run_embeds_rows_and_lists_the_bad_ones(
    tmp_path: Path, pictures: list[bytes], encoder: PlainEncoder
) -> None:
    cells = [*pictures, pictures[0], b"", b"text", None]
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"image": pa.array(cells, pa.binary())}), file)
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    summary = embed_images(find_images([file]), encoder, store, n_threads=3)
    assert (summary.n_embedded, summary.n_reused, summary.n_failed) == (5, 1, 3)
    store = EmbeddingStore.open(store.folder)
    assert verify_store(store) == []
    assert store.images.frame["sha256"].tolist()[:5] == [
        hashlib.sha256(picture).hexdigest() for picture in pictures
    ]
    assert store.read_failures().set_index("path")["reason"].to_dict() == {
        "6": "the file is empty",
        "7": "not an image of a known kind",
        "8": "the row holds no picture",
    }
    expected = encoder.encode_image([Image.open(io.BytesIO(pictures[3]))])
    np.testing.assert_allclose(store.read_vectors(np.array([3])), expected, atol=1e-6)
    assert embed_images(find_images([file]), encoder, store).n_kept == 6
    assert make_thumbnail(store.images.locate(1)).startswith("data:image/jpeg;base64,")


def test_a_data_set_is_opened_once_and_read_by_threads(
    tmp_path: Path, pictures: list[bytes]
) -> None:
    table = find_images([_save(_make(pictures), tmp_path / "saved")])
    root = str(table.frame["root"].iloc[0])
    opened = open_pictures(root)
    found: list[bool] = []

    def read() -> None:
        found.extend(
            read_image_bytes(root, str(number % 5)) == pictures[number % 5] for number in range(100)
        )

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 400
    assert open_pictures(root) is opened
    with pytest.raises(ImageReadError, match="has no row '9'; it has changed since it was listed"):
        opened.read("9")


def test_a_data_set_that_changed_is_opened_again(tmp_path: Path, pictures: list[bytes]) -> None:
    file = _write_bytes_column(tmp_path / "rows.parquet", pictures[:2])
    assert len(find_images([file])) == 2
    _write_bytes_column(file, pictures[1:])
    table = find_images([file])
    assert len(table) == 4
    assert table.locate(0).read_bytes() == pictures[1]


def test_a_hub_that_cannot_be_reached_is_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    expected = (
        r"data set org/name@v1 cannot be opened \(.*\); check the id; .*save_to_disk\(FOLDER\)"
    )
    with pytest.raises(SourceError, match=expected):
        find_images([Path("dataset:org/name@v1#train")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dataset:org/name", ("org/name", "", "")),
        ("dataset:org/name@v1#train", ("org/name@v1", "train", "")),
        ("dataset:/no/such#a#test/photo", ("/no/such#a", "test", "photo")),
        ("dataset:/no/such#/photo", ("/no/such", "", "photo")),
    ],
)
def test_the_name_of_a_data_set_is_read_and_written(
    text: str, expected: tuple[str, str, str]
) -> None:
    name = DatasetName.parse(text)
    assert (name.source, name.split, name.column) == expected
    assert str(name) == text


def test_a_folder_with_a_hash_in_its_name_is_found(tmp_path: Path, pictures: list[bytes]) -> None:
    folder = _save(_make(pictures), tmp_path / "a#b")
    table = find_images([folder])
    assert table.locate(4).read_bytes() == pictures[4]


@pytest.mark.parametrize("damage", ["state.json", "data-00000-of-00001.arrow"])
def test_a_damaged_data_set_is_refused(tmp_path: Path, pictures: list[bytes], damage: str) -> None:
    folder = _save(_make(pictures), tmp_path / "saved")
    (folder / damage).write_bytes(b"no")
    with pytest.raises(SourceError, match=r"saved cannot be opened \(.*\); expected a folder of"):
        find_images([folder])


def test_a_data_set_without_pictures_is_refused(tmp_path: Path) -> None:
    folder = _save(datasets.Dataset.from_dict({"text": ["a"]}), tmp_path / "saved")
    with pytest.raises(SourceError, match=r"saved has no column of pictures; .*got text; name it"):
        find_images([folder])


METADATA = pd.DataFrame({"file_name": ["a.png", "x/b.png"], "family": ["Felidae", "Canidae"],
                         "night": [True, False]})  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_metadata_of_an_image_folder_is_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "x").mkdir()
    for name in ("a.png", "x/b.png", "c.png"):
        (tmp_path / name).touch()
    file = tmp_path / f"metadata{suffix}"
    if suffix == ".csv":
        METADATA.to_csv(file, index=False)
    elif suffix == ".jsonl":
        METADATA.to_json(file, orient="records", lines=True)
    else:
        METADATA.to_parquet(file)
    table = find_images([tmp_path])
    assert table.file_names == ["a.png", "x/b.png", "c.png"]
    assert set(table.frame["root"]) == {str(tmp_path)}
    assert table.labels(Rank.FAMILY).tolist() == ["Felidae", "Canidae", ""]
    assert table.frame["night"].tolist()[:2] == [True, False]


def test_the_metadata_of_each_split_names_files_of_its_own_folder(tmp_path: Path) -> None:
    for split in ("test", "train"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").touch()
        (tmp_path / split / "metadata.csv").write_text(f"file_name,site\na.png,{split}-1\n")
    table = find_images([tmp_path])
    assert table.file_names == ["test/a.png", "train/a.png"]
    assert table.frame["site"].tolist() == ["test-1", "train-1"]


def test_folders_are_the_labels_where_the_metadata_has_none(tmp_path: Path) -> None:
    for folder in ("panthera-leo", "panthera-pardus"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    (tmp_path / "metadata.csv").write_text("file_name,site\npanthera-leo/a.png,7\ngone/b.png,8\n")
    table = find_images([tmp_path], SourceOptions(folder_rank=Rank.SPECIES))
    assert table.labels(Rank.SPECIES).tolist() == [SPECIES[0], "", SPECIES[1]]
    assert table.frame["site"].tolist()[:2] == [7, 8]


def test_a_metadata_table_of_another_sort_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "metadata.csv").write_text("camera,site\nx,1\n")
    assert find_images([tmp_path]).free_columns == []


def test_damaged_metadata_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png"\n')
    with pytest.raises(SourceError, match=r"metadata\.jsonl cannot be read as a table: line 1 is"):
        find_images([tmp_path])
