from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import MismatchError, SelectionError, StoreError, StoreLockedError
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.store.shard import ShardImages, multiply_few, widen
from bioprobe.store.view import View
from tests.conftest import PlainEncoder

FINGERPRINT = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")


def _frame(*names: str, **columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"root": "/data", "path": list(names), **columns})


def _draw(n: int, dim: int = 3, seed: int = 0) -> npt.NDArray[np.float32]:
    return normalise_rows(np.random.default_rng(seed).normal(size=(n, dim)))


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(tmp_path / "store", FINGERPRINT, dim=3)


def test_half_precision_is_widened_to_the_last_bit() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 2)
    finite = every[np.isfinite(every).all(axis=1)]
    wide = widen(finite)
    assert wide.dtype == np.float32
    assert np.array_equal(wide.view(np.int32), finite.astype(np.float32).view(np.int32))
    assert widen(finite[:0]).shape == (0, 2)
    assert widen(finite[::3, ::2]).tolist() == finite[::3, ::2].tolist()
    assert widen(wide) is wide


@pytest.mark.parametrize("dim", [6, 7])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_few_queries_are_multiplied_as_if_widened(dim: int, dtype: type) -> None:
    vectors: npt.NDArray[Any] = _draw(600, dim).astype(dtype)
    queries = _draw(3, dim, seed=1)
    vectors[:3] = [[6e-8], [-6e-8], [65504.0]]
    expected = vectors.astype(np.float64) @ queries.T.astype(np.float64)
    found = multiply_few(vectors[::2], queries)
    assert found.dtype == np.float32
    assert np.allclose(found, expected[::2], rtol=1e-5, atol=1e-6)
    assert np.allclose(multiply_few(vectors[:2], queries), expected[:2], rtol=1e-5, atol=1e-12)
    assert multiply_few(vectors[:0], queries).shape == (0, 3)


def test_each_half_counts_to_the_last_bit() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 2)
    finite = every[np.isfinite(every).all(axis=1)]
    found = multiply_few(finite, np.eye(2, dtype=np.float32))
    assert np.array_equal(found, finite.astype(np.float32))


def test_a_new_store_is_empty(store: EmbeddingStore) -> None:
    assert len(store) == len(store.images) == len(store.rows) == 0
    assert store.read_vectors().shape == (0, 3)
    assert store.read_vectors().dtype == np.float32
    assert len(store.read_failures()) == 0
    assert verify_store(store) == []


def test_a_folder_holds_a_store_once_one_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert not EmbeddingStore.exists(folder)
    EmbeddingStore.create(folder, FINGERPRINT, dim=3)
    assert EmbeddingStore.exists(folder)


def test_a_store_remembers_what_it_was_made_with(tmp_path: Path) -> None:
    EmbeddingStore.create(
        tmp_path, FINGERPRINT, dim=3, logit_scale=20.5, has_text_tower=True, dtype="float16"
    )
    manifest = EmbeddingStore.open(tmp_path).manifest
    assert manifest.encoder == FINGERPRINT
    assert (manifest.dim, manifest.logit_scale) == (3, 20.5)
    assert (manifest.has_text_tower, manifest.dtype) == (True, "float16")


def test_a_store_is_not_made_over_another(store: EmbeddingStore) -> None:
    with pytest.raises(StoreError, match="already holds a store; open it, or choose another"):
        EmbeddingStore.create(store.folder, FINGERPRINT, dim=3)


def test_a_store_is_not_made_over_the_shards_of_one_that_lost_its_manifest(
    store: EmbeddingStore,
) -> None:
    store.append(_frame("a"), _draw(1))
    manifest = (store.folder / "manifest.json").read_bytes()
    (store.folder / "manifest.json").unlink()
    with pytest.raises(StoreError, match=r"holds shards without the manifest\.json that names"):
        EmbeddingStore.create(store.folder, FINGERPRINT, dim=3)
    (store.folder / "manifest.json").write_bytes(manifest)
    assert verify_store(EmbeddingStore.open(store.folder)) == []


def test_other_number_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="stored as float32 or float16, got 'int8'"):
        EmbeddingStore.create(tmp_path, FINGERPRINT, dim=3, dtype="int8")


@pytest.mark.parametrize("sizes", [(1,), (3,), (2, 1), (1, 1, 4)])
def test_row_i_of_the_vectors_is_row_i_of_the_images(
    store: EmbeddingStore, sizes: tuple[int, ...]
) -> None:
    vectors = _draw(sum(sizes))
    names = [f"{i}.jpg" for i in range(sum(sizes))]
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        store = store.append(_frame(*names[part]), vectors[part])
        start += size
    again = EmbeddingStore.open(store.folder)
    assert len(again) == sum(sizes)
    assert again.images.file_names == names
    np.testing.assert_allclose(again.read_vectors(), vectors, atol=1e-7)
    assert [one.n_images for one in again.manifest.present_shards] == list(sizes)
    assert verify_store(again) == []


def test_rows_are_read_in_the_order_asked_for(store: EmbeddingStore) -> None:
    vectors = _draw(5)
    store = store.append(_frame("a", "b"), vectors[:2]).append(_frame("c", "d", "e"), vectors[2:])
    rows = np.array([4, 0, 2, 0])
    np.testing.assert_allclose(store.read_vectors(rows), vectors[rows], atol=1e-7)
    assert store.read_vectors(np.array([], dtype=np.int64)).shape == (0, 3)


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_that_is_not_there_is_refused(store: EmbeddingStore, row: int) -> None:
    store = store.append(_frame("a", "b"), _draw(2))
    with pytest.raises(StoreError, match=f"has 2 rows, got row {row}; count from 0"):
        store.read_vectors(np.array([0, row]))


def test_vectors_are_made_unit(store: EmbeddingStore) -> None:
    store = store.append(_frame("a", "b"), np.array([[3, 0, 4], [0, -2, 0]]))
    expected = np.array([[0.6, 0.0, 0.8], [0.0, -1.0, 0.0]])
    np.testing.assert_allclose(store.read_vectors(), expected, atol=1e-7)


def test_half_precision_takes_half_the_space_and_keeps_directions(tmp_path: Path) -> None:
    vectors = _draw(200, dim=512)
    stores = {
        dtype: EmbeddingStore.create(tmp_path / dtype, FINGERPRINT, dim=512, dtype=dtype).append(
            _frame(*map(str, range(200))), vectors
        )
        for dtype in ("float32", "float16")
    }
    file = "shards/00000/vectors.npy"
    n_bytes = {dtype: (s.folder / file).stat().st_size - 128 for dtype, s in stores.items()}
    assert n_bytes == {"float32": 200 * 512 * 4, "float16": 200 * 512 * 2}
    read = stores["float16"].read_vectors()
    assert read.dtype == np.float32
    assert (read * vectors).sum(axis=1).min() > 1 - 7e-5
    assert verify_store(stores["float16"]) == []


@pytest.mark.parametrize("shape", [(1, 3), (3, 3), (2, 4), (2, 0)])
def test_vectors_that_do_not_fit_are_refused(store: EmbeddingStore, shape: tuple[int, int]) -> None:
    with pytest.raises(StoreError, match=r"2 images of dim 3 .* got vectors of shape"):
        store.append(_frame("a", "b"), np.ones(shape))


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_is_refused_with_its_image(
    store: EmbeddingStore, bad: float
) -> None:
    vectors = np.array([[1.0, 0, 0], [bad, bad, bad]])
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(StoreError, match=r"the vector of b\.jpg has no direction"),
    ):
        store.append(_frame("a.jpg", "b.jpg"), vectors)
    assert len(EmbeddingStore.open(store.folder)) == 0


def test_appending_nothing_adds_no_shard(store: EmbeddingStore) -> None:
    assert store.append(_frame(), np.zeros((0, 3))).manifest.shards == ()


def test_a_store_that_was_opened_does_not_change(store: EmbeddingStore) -> None:
    grown = store.append(_frame("a"), _draw(1))
    assert (len(store), len(grown), len(EmbeddingStore.open(store.folder))) == (0, 1, 1)


def test_a_store_that_has_grown_elsewhere_is_not_overwritten(store: EmbeddingStore) -> None:
    grown = store.append(_frame("a"), _draw(1))
    with pytest.raises(StoreError, match="has changed since it was opened; open it again"):
        store.append(_frame("b"), _draw(1, seed=1))
    assert verify_store(grown) == []
    assert EmbeddingStore.open(store.folder).images.file_names == ["a"]


def test_a_shard_left_before_the_manifest_knew_it_is_replaced(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store.append(_frame("a"), _draw(1))

    def lose_power(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("bioprobe.store.manifest.Manifest.write", lose_power)
        with pytest.raises(KeyboardInterrupt):
            store.append(_frame("lost", "lost too"), _draw(2))
    assert (store.folder / "shards" / "00001").is_dir()
    (store.folder / "shards" / ".00001.tmp").mkdir()

    again = EmbeddingStore.open(store.folder)
    assert again.images.file_names == ["a"]
    assert verify_store(again) == []
    vectors = _draw(1, seed=5)
    again = again.append(_frame("b"), vectors)
    assert again.images.file_names == ["a", "b"]
    np.testing.assert_allclose(again.read_vectors(np.array([1])), vectors, atol=1e-7)
    assert verify_store(again) == []
    names = sorted(path.name for path in (store.folder / "shards").iterdir())
    assert names == ["00000", "00001"]


def test_retired_rows_stay_but_are_not_current(store: EmbeddingStore) -> None:
    store = store.append(_frame("a", "b", "c"), _draw(3))
    store = store.append(_frame("b"), _draw(1, seed=1), retired=[1])
    store = EmbeddingStore.open(store.folder)
    assert len(store) == 4
    assert store.rows.tolist() == [0, 2, 3]
    assert View.of(store).rows.tolist() == [0, 2, 3]
    assert View.of(store, "path == 'b'").rows.tolist() == [3]
    assert store.append(_frame("c"), _draw(1), retired=[2]).rows.tolist() == [0, 3, 4]


def test_free_columns_of_shards_are_joined(store: EmbeddingStore) -> None:
    store = store.append(_frame("a", site=[3]), _draw(1))
    store = store.append(_frame("b", family=["Felidae"]), _draw(1))
    store = store.append(_frame("c", site=["south"]), _draw(1))
    frame = EmbeddingStore.open(store.folder).images.frame
    assert frame["family"].tolist() == ["", "Felidae", ""]
    assert frame["site"].isna().tolist() == [False, True, False]


def test_a_column_of_several_types_does_not_lose_a_shard(store: EmbeddingStore) -> None:
    store = store.append(_frame("a", "b", site=[3, "south"]), _draw(2))
    assert EmbeddingStore.open(store.folder).images.frame["site"].tolist() == ["3", "south"]


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("path == 'x'", r"none of the 1 images in .* meets \"path == 'x'\""),
        ("nonsense == 1", "cannot be applied"),
    ],
)
def test_a_condition_that_leaves_nothing_is_refused(
    store: EmbeddingStore, condition: str, problem: str
) -> None:
    with pytest.raises(SelectionError, match=problem):
        View.of(store.append(_frame("a"), _draw(1)), condition)


def test_an_empty_store_has_nothing_to_select(store: EmbeddingStore) -> None:
    with pytest.raises(SelectionError, match=r"none of the 0 images in .*"):
        View.of(store)


def test_a_store_opens_for_its_encoder(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    made = make_store(encoder, dtype="float16")
    assert made.manifest.logit_scale == encoder.logit_scale
    assert made.manifest.has_text_tower
    opened = EmbeddingStore.open_for(made.folder, encoder)
    assert opened.manifest == made.manifest
    assert EmbeddingStore.open_for(made.folder, encoder, dtype="float16").manifest == made.manifest


def test_a_store_is_made_as_float32_where_nothing_is_said(
    tmp_path: Path, encoder: PlainEncoder
) -> None:
    assert EmbeddingStore.open_for(tmp_path / "s", encoder).manifest.dtype == "float32"


def test_another_dtype_than_that_of_the_store_is_refused(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    made = make_store(encoder)
    with pytest.raises(MismatchError, match="holds float32 vectors, got --dtype float16; leave"):
        EmbeddingStore.open_for(made.folder, encoder, dtype="float16")


def test_another_encoder_is_refused_with_both_names(
    make_store: Callable[..., EmbeddingStore],
) -> None:
    made = make_store(PlainEncoder(1))
    expected = (
        r"holds vectors of plain-1 .*, got plain-2 .* Use --model plain-1, or another --store"
    )
    with pytest.raises(MismatchError, match=expected):
        EmbeddingStore.open_for(made.folder, PlainEncoder(2))


def test_the_same_weights_in_another_precision_are_welcome(
    make_store: Callable[..., EmbeddingStore],
) -> None:
    made = make_store(PlainEncoder())
    made.check_encoder(PlainEncoder(precision="bf16").fingerprint)


def test_failures_come_back_as_they_were_written(store: EmbeddingStore) -> None:
    frame = pd.DataFrame([("/data", "a.jpg", "empty", "/t.csv"), ("/data", "b.jpg", "cut", "")])
    frame.columns = pd.Index(["root", "path", "reason", "source"])
    store.write_failures(frame)
    assert store.read_failures().to_dict() == frame.to_dict()
    assert pd.read_parquet(store.folder / "failures.parquet").to_dict() == frame.to_dict()
    store.write_failures(frame.iloc[:0])
    assert len(store.read_failures()) == 0


def test_failures_that_name_no_sources_are_read(store: EmbeddingStore) -> None:
    frame = pd.DataFrame({"root": ["/data"], "path": ["a.jpg"], "reason": ["empty"]})
    frame.to_parquet(store.folder / "failures.parquet")
    assert store.read_failures().to_dict("records") == [
        {"root": "/data", "path": "a.jpg", "reason": "empty", "source": ""}
    ]


HOLD = """
import sys
from bioprobe.store import EmbeddingStore
with EmbeddingStore.open(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_may_not_write_at_the_same_time(store: EmbeddingStore) -> None:
    command = [sys.executable, "-c", HOLD, str(store.folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        expected = r"another process is writing to .*store; wait until it has ended, or choose"
        with pytest.raises(StoreLockedError, match=expected), store.lock():
            pass
        other.communicate("go on\n", timeout=20)
    assert other.returncode == 0
    with store.lock():
        pass


def test_the_lock_is_free_again_after_an_error(store: EmbeddingStore) -> None:
    def fail() -> None:
        with store.lock():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.lock(), pytest.raises(StoreLockedError), store.lock():
        pass


@pytest.mark.parametrize("content", [b"", b"PAR1 cut off", b"no parquet at all"])
def test_a_damaged_list_of_failures_is_named_with_a_remedy(
    store: EmbeddingStore, content: bytes
) -> None:
    (store.folder / "failures.parquet").write_bytes(content)
    with pytest.raises(StoreError, match=r"failures\.parquet is damaged.*remove it"):
        store.read_failures()


def test_a_list_of_failures_that_holds_no_text_is_named_too(store: EmbeddingStore) -> None:
    store.write_failures(pd.DataFrame({"root": ["/x"], "path": ["a.jpg"], "reason": ["cut off"]}))
    path = store.folder / "failures.parquet"
    path.write_bytes(path.read_bytes().replace(b"cut off", b"cut\xffoff"))
    with pytest.raises(StoreError, match=r"failures\.parquet is damaged.*remove it"):
        store.read_failures()


def test_a_store_that_was_opened_before_is_opened_with_what_it_knows(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(_frame("a", "b", site=["n", "s"]), _draw(2))
    before = EmbeddingStore.open(store.folder)
    assert len(before.images.frame) == 2
    EmbeddingStore.open(store.folder).append(_frame("c", site=["w"]), _draw(1), retired=[0])
    read: list[str] = []
    read_columns = ShardImages.read

    def read_and_tell(shard: ShardImages, *asked: object, **options: object) -> object:
        read.append(shard.record.name)
        return read_columns(shard, *asked, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ShardImages, "read", read_and_tell)
    after = EmbeddingStore.open(store.folder, after=before)
    assert after.images.frame["site"].tolist() == ["n", "s", "w"]
    assert set(read) == {"00001"}
    assert (after.rows.tolist(), after.find_rows(["/data/a", "/data/c"]).tolist()) == (
        [1, 2], [2],
    )  # fmt: skip
    pd.testing.assert_frame_equal(
        after.images.frame, EmbeddingStore.open(store.folder).images.frame
    )
    # Where shards are others by now, all are read.
    others = after.manifest.take_out(["00000"])
    others.write(store.folder)
    assert EmbeddingStore.open(store.folder, after=after).images.frame["site"].tolist() == ["w"]
