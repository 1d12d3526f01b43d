from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import StoreLockedError
from bioprobe.index import NeighborIndex
from bioprobe.store import EmbeddingStore, Problem, repair_store, verify_store

VECTORS, IMAGES = "shards/00001/vectors.npy", "shards/00001/images.parquet"


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """Three shards of two rows; rows 1, 3 and 4 are retired."""
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    made = EmbeddingStore.create(tmp_path / "store", fingerprint, dim=6)
    for start in (0, 2, 4):
        frame = pd.DataFrame({"root": "/data", "path": [f"{start}.jpg", f"{start + 1}.jpg"]})
        made = made.append(frame, np.eye(6)[start : start + 2])
    return made.retire([1, 3, 4])


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [_truncate, _flip, Path.unlink])
def test_a_damaged_shard_is_taken_out_and_laid_aside(
    store: EmbeddingStore, damage: Callable[[Path], None]
) -> None:
    damage(store.folder / VECTORS)
    aside = {file.name for file in (store.folder / "shards" / "00001").iterdir()}
    repair = repair_store(store.folder)
    assert (repair.shards, repair.lost, repair.n_unlisted) == (
        ("00001",),
        (Path("/data/2.jpg"),),
        0,
    )
    assert [problem.where for problem in repair.problems] == [VECTORS]
    assert {file.name for file in (store.folder / "damaged" / "00001").iterdir()} == aside
    left = EmbeddingStore.open(store.folder)
    assert verify_store(left) == []
    assert left.images.file_names == ["0.jpg", "1.jpg", "4.jpg", "5.jpg"]
    np.testing.assert_array_equal(left.read_vectors(), np.eye(6)[[0, 1, 4, 5]])
    assert left.manifest.retired == (1, 2)
    assert left.rows.tolist() == [0, 3]


@pytest.mark.parametrize("damage", [_truncate, Path.unlink])
def test_with_a_damaged_image_table_what_is_lost_is_counted(
    store: EmbeddingStore, damage: Callable[[Path], None]
) -> None:
    damage(store.folder / IMAGES)
    repair = repair_store(store.folder)
    assert (repair.lost, repair.n_unlisted, repair.n_lost) == ((), 1, 1)
    assert verify_store(EmbeddingStore.open(store.folder)) == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_missing_shard_is_taken_out(store: EmbeddingStore, number: int) -> None:
    shutil.rmtree(store.folder / "shards" / f"{number:05d}")
    assert repair_store(store.folder).shards == (f"{number:05d}",)
    left = EmbeddingStore.open(store.folder)
    assert len(left) == 4
    assert verify_store(left) == []
    assert not (store.folder / "damaged").exists()


def test_all_shards_can_be_taken_out(store: EmbeddingStore) -> None:
    for file in store.folder.glob("shards/*/vectors.npy"):
        _flip(file)
    assert repair_store(store.folder).n_lost == 3
    left = EmbeddingStore.open(store.folder)
    assert (len(left), left.manifest.retired, verify_store(left)) == (0, (), [])
    assert left.read_vectors().shape == (0, 6)
    assert len(left.images) == 0


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_name_of_a_shard_that_was_taken_out_is_not_given_again(
    store: EmbeddingStore, number: int
) -> None:
    _flip(store.folder / "shards" / f"{number:05d}" / "vectors.npy")
    repair_store(store.folder)
    before = EmbeddingStore.open(store.folder)
    grown = before.append(pd.DataFrame({"path": ["new.jpg"]}), np.ones((1, 6)))
    assert grown.manifest.shards[-1].name == "00003"
    assert verify_store(grown) == []
    np.testing.assert_array_equal(grown.read_vectors()[:4], before.read_vectors())


def test_the_index_is_built_anew(store: EmbeddingStore) -> None:
    NeighborIndex.open(store)
    _flip(store.folder / VECTORS)
    repair_store(store.folder)
    left = EmbeddingStore.open(store.folder)
    rows, similarities = NeighborIndex.open(left).search(np.eye(6, dtype=np.float32)[5:], 1)
    assert (rows.tolist(), similarities.tolist()) == ([[3]], [[1.0]])


def test_a_whole_store_is_left_as_it_is(store: EmbeddingStore) -> None:
    repair = repair_store(store.folder)
    assert (repair.problems, repair.shards, repair.n_lost) == ((), (), 0)
    assert EmbeddingStore.open(store.folder).manifest == store.manifest


def test_retired_rows_that_do_not_exist_are_forgotten(store: EmbeddingStore) -> None:
    store.retire([9])
    assert [p.where for p in repair_store(store.folder).problems] == ["manifest.json"]
    left = EmbeddingStore.open(store.folder)
    assert (left.manifest.retired, verify_store(left)) == ((1, 3, 4), [])


def test_a_repair_that_was_interrupted_is_finished_by_the_next(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _flip(store.folder / VECTORS)

    def lose_power(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("bioprobe.store.health._lay_aside", lose_power)
        with pytest.raises(KeyboardInterrupt):
            repair_store(store.folder)
    left = EmbeddingStore.open(store.folder)
    assert verify_store(left) == []
    with left.lock():
        left.append(pd.DataFrame({"path": ["new.jpg"]}), np.ones((1, 6)))
    assert repair_store(store.folder).problems == ()
    assert (store.folder / "damaged" / "00001" / "vectors.npy").is_file()
    names = sorted(path.name for path in (store.folder / "shards").iterdir())
    assert names == ["00000", "00002", "00003"]


def test_what_lies_aside_is_not_replaced(store: EmbeddingStore) -> None:
    manifest = store.folder / "manifest.json"
    before = manifest.read_bytes()
    for _ in range(2):
        _flip(store.folder / VECTORS)
        kept = (store.folder / VECTORS).read_bytes()
        repair_store(store.folder)
        # A shard and the manifest come back from a copy, and the shard breaks again.
        manifest.write_bytes(before)
        (store.folder / "shards" / "00001").mkdir()
        (store.folder / VECTORS).write_bytes(kept)
    assert sorted(p.name for p in (store.folder / "damaged").iterdir()) == ["00001", "00001-2"]


def test_a_store_that_is_being_written_is_not_repaired(store: EmbeddingStore) -> None:
    with store.lock(), pytest.raises(StoreLockedError):
        repair_store(store.folder)


def test_problems_tell_their_shard() -> None:
    assert Problem("shards/00001", "").shard == Problem(VECTORS, "").shard == "00001"
    assert Problem("manifest.json", "").shard == ""
