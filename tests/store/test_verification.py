from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import StoreError
from bioprobe.store import EmbeddingStore, Problem, verify_store
from bioprobe.store.shard import write_shard

VECTORS, IMAGES = "shards/00001/vectors.npy", "shards/00001/images.parquet"


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """Two shards of three rows."""
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    made = EmbeddingStore.create(tmp_path / "store", fingerprint, dim=4)
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    for part in (slice(0, 3), slice(3, 6)):
        frame = pd.DataFrame({"path": [f"{i}.jpg" for i in range(part.start, part.stop)]})
        made = made.append(frame, vectors[part])
    return made


def _flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def _flip_first(path: Path) -> None:
    _flip(path, 0)


def _flip_last(path: Path) -> None:
    _flip(path, -1)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def test_a_whole_store_has_no_problem(store: EmbeddingStore) -> None:
    assert verify_store(store) == []


@pytest.mark.parametrize("file", [VECTORS, IMAGES])
@pytest.mark.parametrize("damage", [_flip_first, _flip_last, _truncate, _empty])
def test_every_changed_byte_is_found(
    store: EmbeddingStore, file: str, damage: Callable[[Path], None]
) -> None:
    damage(store.folder / file)
    (problem,) = verify_store(store)
    assert problem.where == file
    assert "its SHA-256 is " in problem.what
    assert "the manifest says" in problem.what


@pytest.mark.parametrize("file", [VECTORS, IMAGES])
def test_a_missing_file_is_found(store: EmbeddingStore, file: str) -> None:
    (store.folder / file).unlink()
    assert verify_store(store) == [Problem(file, "the file is missing")]


def test_a_missing_shard_is_found(store: EmbeddingStore) -> None:
    shutil.rmtree(store.folder / "shards" / "00001")
    assert [problem.where for problem in verify_store(store)] == [VECTORS, IMAGES]


def test_shards_that_changed_places_are_found(store: EmbeddingStore) -> None:
    shards = store.folder / "shards"
    (shards / "00000").rename(shards / "x")
    (shards / "00001").rename(shards / "00000")
    (shards / "x").rename(shards / "00001")
    problems = verify_store(store)
    assert sorted(problem.where for problem in problems) == [
        "shards/00000/images.parquet",
        "shards/00000/vectors.npy",
        "shards/00001/images.parquet",
        "shards/00001/vectors.npy",
    ]
    assert all("its SHA-256 is " in problem.what for problem in problems)


def _write_consistent(store: EmbeddingStore, n_images: int, n_vectors: int, length: float) -> None:
    """Write a third shard whose checksums are right and whose content is not."""
    vectors = normalise_rows(np.ones((n_vectors, 4))) * np.float32(length)
    frame = pd.DataFrame({"path": [f"{i}.jpg" for i in range(n_images)]})
    record = write_shard(store.folder / "shards", "00002", vectors, frame)
    shards = (*store.manifest.shards, dataclasses.replace(record, n_images=2))
    dataclasses.replace(store.manifest, shards=shards).write(store.folder)


@pytest.mark.parametrize(
    ("n_images", "n_vectors", "length", "problem"),
    [
        (2, 1, 1.0, "has shape (1, 4), the manifest says (2, 4)"),
        (2, 3, 1.0, "has shape (3, 4), the manifest says (2, 4)"),
        (1, 2, 1.0, "1 images for 2 vectors"),
        (3, 2, 1.0, "3 images for 2 vectors"),
        (2, 2, 1.01, "2 vectors are not unit, first in row 0"),
        (2, 2, 0.0, "2 vectors are not unit, first in row 0"),
        (2, 2, float("nan"), "2 vectors are not unit, first in row 0"),
    ],
)
def test_content_that_does_not_fit_is_found(
    store: EmbeddingStore, n_images: int, n_vectors: int, length: float, problem: str
) -> None:
    _write_consistent(store, n_images, n_vectors, length)
    (found,) = verify_store(EmbeddingStore.open(store.folder))
    assert found.where == "shards/00002"
    assert problem in found.what


def test_a_shard_of_unit_vectors_that_fit_is_whole(store: EmbeddingStore) -> None:
    _write_consistent(store, 2, 2, 1.0)
    assert verify_store(EmbeddingStore.open(store.folder)) == []


def test_retired_rows_that_do_not_exist_are_found(store: EmbeddingStore) -> None:
    dataclasses.replace(store.manifest, retired=(5, 6, 9)).write(store.folder)
    (problem,) = verify_store(EmbeddingStore.open(store.folder))
    assert problem == Problem("manifest.json", "retired rows [6, 9] do not exist")


@pytest.mark.parametrize("damage", [_flip_first, _truncate, _empty])
def test_damaged_vectors_are_refused_when_they_are_read(
    store: EmbeddingStore, damage: Callable[[Path], None]
) -> None:
    damage(store.folder / VECTORS)
    with pytest.raises(StoreError, match=r"vectors\.npy .*run: bioprobe store verify"):
        EmbeddingStore.open(store.folder).read_vectors()


@pytest.mark.parametrize("damage", [_flip_last, _truncate, _empty])
def test_a_damaged_image_table_is_refused_when_it_is_read(
    store: EmbeddingStore, damage: Callable[[Path], None]
) -> None:
    damage(store.folder / IMAGES)
    with pytest.raises(StoreError, match=r"images\.parquet cannot be read .*store verify"):
        _ = EmbeddingStore.open(store.folder).images.frame


@pytest.mark.parametrize("place", [b"3.jpg", b"n_bytes", b"pandas_type"])
def test_a_table_of_other_names_is_refused_although_it_could_be_read(
    store: EmbeddingStore, place: bytes
) -> None:
    """What is no text makes Arrow fail when it is asked for, with an error of its own."""
    path = store.folder / IMAGES
    data = path.read_bytes()
    assert place in data
    path.write_bytes(data.replace(place, place[:1] + b"\xff" + place[2:]))
    expected = rf"{path} cannot be read \(its SHA-256 is not .*run: bioprobe store verify --repair"
    with pytest.raises(StoreError, match=expected):
        _ = EmbeddingStore.open(store.folder).images.frame
