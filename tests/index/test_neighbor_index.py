from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.cores import limit_products
from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import MismatchError, StoreError
from bioprobe.index import NeighborIndex, exact
from bioprobe.index.exact import StoredVectors
from bioprobe.store import EmbeddingStore

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

DIM = 8


def _draw(n: int, seed: int) -> Vectors:
    return normalise_rows(np.random.default_rng(seed).normal(size=(n, DIM)))


def _add(
    store: EmbeddingStore, vectors: Vectors, retired: list[int] | None = None
) -> EmbeddingStore:
    names = [f"{len(store) + i}.jpg" for i in range(len(vectors))]
    return store.append(pd.DataFrame({"path": names}), vectors, retired=retired or [])


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., EmbeddingStore]:
    def build(*sizes: int, dtype: str = "float32", dim: int = DIM) -> EmbeddingStore:
        fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
        store = EmbeddingStore.create(tmp_path / "store", fingerprint, dim=dim, dtype=dtype)
        for seed, size in enumerate(sizes):
            store = _add(store, _draw(size, seed))
        return store

    return build


def _search_plainly(
    store: EmbeddingStore, queries: Vectors, k: int, allowed: Rows
) -> tuple[Rows, Vectors]:
    """Search by the definition: all products, sorted."""
    similarities = queries.astype(np.float64) @ store.read_vectors(allowed).astype(np.float64).T
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return allowed[order], np.take_along_axis(similarities, order, axis=1).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("can_pick", [True, False])
def test_a_few_rows_are_read_alone_in_any_order(
    make: Callable[..., EmbeddingStore],
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    *,
    can_pick: bool,
) -> None:
    store = make(40, 200, 30, dtype=dtype)
    monkeypatch.setattr(exact, "_CAN_PICK", can_pick)
    # As of a store that is too large to stay in memory.
    monkeypatch.setattr(exact, "_STAYING_BYTES", 0)
    vectors, whole = StoredVectors(store), store.read_vectors()
    for rows in ([269], [0, 239, 41, 239, 3], list(range(60, 200)), []):
        assert (vectors.take(np.array(rows, dtype=np.int64)) == whole[rows]).all()
    if can_pick:
        # Its file is cut while it is open.
        with (store.folder / "shards" / "00001" / "vectors.npy").open("r+b") as file:
            file.truncate(200)
        with pytest.raises(StoreError, match=r"00001.vectors\.npy is shorter than it was; run"):
            vectors.take(np.array([150]))


def test_few_files_are_open_and_closed_with_what_reads_them(
    make: Callable[..., EmbeddingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    store = make(*[20] * 8)
    monkeypatch.setattr(exact, "_STAYING_BYTES", 0)
    # As a system that lets a process open 24 files.
    monkeypatch.setattr(resource, "getrlimit", lambda _: (24, 24))
    vectors, n_before = StoredVectors(store), _count_files()
    taken = vectors.take(np.arange(0, 160, 20))
    for rows, chunk in vectors.iter_chunks(np.ones(160, dtype=bool)):
        assert (taken[rows[0] // 20] == chunk[0]).all()
    del chunk
    # Of three shards each a file and what is mapped.
    assert _count_files() == n_before + 6
    del vectors
    assert _count_files() == n_before


def _count_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_neighbours_stand_from_near_to_far(make: Callable[..., EmbeddingStore]) -> None:
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]], dtype=np.float32)
    store = _add(make(dim=2), vectors)
    queries = np.array([[1, 0], [0, -1]], dtype=np.float32)
    rows, similarities = NeighborIndex.open(store).search(queries, 4)
    assert rows[0].tolist() == [0, 3, 1, 2]
    np.testing.assert_allclose(similarities[0], [1, 0.6, 0, -1], atol=1e-6)
    assert set(rows[1, :2]) == {0, 2}
    assert rows[1, 2:].tolist() == [3, 1]


@pytest.mark.parametrize("k", [1, 4, 5, 6, 100])
@pytest.mark.parametrize("n_queries", [0, 1, 7])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_it_finds_what_exact_search_finds(
    make: Callable[..., EmbeddingStore], k: int, n_queries: int, dtype: str
) -> None:
    store = make(3, 2, dtype=dtype)
    queries = _draw(n_queries, 9)
    rows, similarities = NeighborIndex.open(store).search(queries, k)
    expected = _search_plainly(store, queries, k, np.arange(5))
    assert rows.shape == (n_queries, min(k, 5))
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_allclose(similarities, expected[1], atol=1e-6)
    assert rows.dtype == np.int64
    assert similarities.dtype == np.float32


@pytest.mark.parametrize("allowed", [[], [3], [0, 5, 39], [39, 0, 5], list(range(40))])
@pytest.mark.parametrize("k", [1, 3, 50])
def test_only_allowed_rows_are_answers(
    make: Callable[..., EmbeddingStore], allowed: list[int], k: int
) -> None:
    store = make(25, 15)
    queries = _draw(4, 9)
    asked = np.array(allowed, dtype=np.int64)
    rows, similarities = NeighborIndex.open(store).search(queries, k, rows=asked)
    expected = _search_plainly(store, queries, k, np.sort(asked))
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_allclose(similarities, expected[1], atol=1e-6)


def test_retired_rows_are_no_answers_even_when_asked_for(
    make: Callable[..., EmbeddingStore],
) -> None:
    store = _add(make(5), _draw(1, 7), retired=[1, 4])
    index = NeighborIndex.open(store)
    queries = _draw(3, 9)
    expected = _search_plainly(store, queries, 9, np.array([0, 2, 3, 5]))
    np.testing.assert_array_equal(index.search(queries, 9)[0], expected[0])
    rows, _ = index.search(queries, 9, rows=np.array([1, 2, 4, 5]))
    assert {tuple(sorted(row)) for row in rows.tolist()} == {(2, 5)}


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_ties_are_all_found(make: Callable[..., EmbeddingStore], k: int) -> None:
    same = np.tile(_draw(1, 0), (3, 1))
    store = _add(make(), np.concatenate([same, -same[:1]]))
    rows, similarities = NeighborIndex.open(store).search(same[:1], k)
    assert len(set(rows[0])) == k
    assert set(rows[0]) <= {0, 1, 2} if k < 4 else set(rows[0]) == {0, 1, 2, 3}
    np.testing.assert_allclose(similarities[0, :3], np.ones(min(k, 3)), atol=1e-6)


def test_an_empty_store_has_no_neighbours(make: Callable[..., EmbeddingStore]) -> None:
    rows, similarities = NeighborIndex.open(make()).search(_draw(2, 0), 3)
    assert rows.shape == similarities.shape == (2, 0)


def test_queries_of_another_dim_are_refused(make: Callable[..., EmbeddingStore]) -> None:
    index = NeighborIndex.open(make(2))
    with pytest.raises(MismatchError, match="holds vectors of dim 8, got 3"):
        index.search(np.ones((1, 3), dtype=np.float32), 1)


def test_retiring_and_relabelling_keep_the_index_current(
    make: Callable[..., EmbeddingStore],
) -> None:
    store = make(3)
    NeighborIndex.open(store)
    store = _add(store, store.read_vectors(np.array([0])), retired=[0])
    rows, _ = NeighborIndex.open(store).search(store.read_vectors(np.array([0])), 1)
    assert rows.tolist() == [[3]]


def test_it_grows_with_the_store(make: Callable[..., EmbeddingStore]) -> None:
    store = make(5)
    NeighborIndex.open(store)
    new = _draw(2, 8)
    store = _add(store, new)
    rows, similarities = NeighborIndex.open(store).search(new, 1)
    assert rows.tolist() == [[5], [6]]
    np.testing.assert_allclose(similarities, 1, atol=1e-6)


@pytest.mark.parametrize("k", [1, 9, 10, 11, 40, 99, 100])
@pytest.mark.parametrize("chunk_rows", [7, 1000])
def test_rows_as_near_as_each_other_stand_in_their_order(
    make: Callable[..., EmbeddingStore], monkeypatch: pytest.MonkeyPatch, k: int, chunk_rows: int
) -> None:
    # More copies than are looked at beyond the answers, spread over the rows.
    monkeypatch.setattr("bioprobe.index.exact._CHUNK_ROWS", chunk_rows)
    vectors = _draw(100, 0)
    vectors[10:90:2] = vectors[11]
    store = _add(make(), vectors)
    queries = np.concatenate([vectors[11:12], _draw(3, 5)])
    rows, similarities = NeighborIndex.open(store).search(queries, k)
    exact = queries.astype(np.float64) @ store.read_vectors().astype(np.float64).T
    order = np.argsort(-exact.astype(np.float32), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows, order)
    expected = np.take_along_axis(exact.astype(np.float32), order, axis=1)
    np.testing.assert_allclose(similarities, expected, rtol=0, atol=1e-7)


def test_of_equals_in_parts_of_an_engine_the_lower_rows_are_answers(
    make: Callable[..., EmbeddingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.index.exact._PART_ROWS", 7)
    vectors = _draw(40, 0)
    vectors[3::2] = vectors[3]
    store = _add(make(), vectors)
    # What is sent elsewhere has no engine of its own.
    in_turn: Any = SimpleNamespace(
        map=lambda work, parts: map(pickle.loads(pickle.dumps(work)), parts)
    )
    allowed = np.ones(40, dtype=bool)
    rows, _ = exact.search_exactly(StoredVectors(store, in_turn), vectors[3:4], 6, allowed)
    assert rows.tolist() == [[3, 5, 7, 9, 11, 13]]


@pytest.mark.parametrize("n_queries", [1, 8])
def test_what_single_precision_does_not_tell_apart_is_told_apart(
    make: Callable[..., EmbeddingStore], n_queries: int
) -> None:
    # Similarities differ by a few of the last digits of single precision.
    random = np.random.default_rng(0)
    queries = np.tile(normalise_rows(random.normal(size=(1, 512))), (n_queries, 1))
    vectors = normalise_rows(queries[0] + 2e-5 * random.normal(size=(600, 512)))
    store = _add(make(dim=512), vectors)
    rows, _ = NeighborIndex.open(store).search(queries, 40)
    similarities = queries.astype(np.float64) @ store.read_vectors().astype(np.float64).T
    order = np.argsort(-similarities.astype(np.float32), axis=1, kind="stable")[:, :40]
    np.testing.assert_array_equal(rows, order)
    found = exact.find_all(StoredVectors(store), queries[:1], np.ones(600, bool), most=40)
    np.testing.assert_array_equal(found[0], order[0])


@pytest.mark.parametrize("n_rows", [32 * 40, 32 * 40 + 31, 100])
def test_the_greatest_of_many_products_are_picked_wherever_they_stand(n_rows: int) -> None:
    products = np.random.default_rng(0).normal(size=n_rows).astype(np.float32)
    for last in (0, 3):
        products[n_rows - last :] = 9
        picked = exact._pick(products, 8)
        assert sorted(products[picked]) == sorted(products)[-8:]
        assert len(set(picked)) == 8


def test_an_answer_does_not_depend_on_the_other_queries(
    make: Callable[..., EmbeddingStore],
) -> None:
    index, queries = NeighborIndex.open(make(300)), _draw(200, 9)
    together = index.search(queries, 5)
    for position in (0, 150):
        alone = index.search(queries[position : position + 1], 5)
        np.testing.assert_array_equal(alone[0][0], together[0][position])
        np.testing.assert_array_equal(alone[1][0], together[1][position])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("share", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_many_queries_find_the_same_by_any_cut_and_when_asked_again(
    make: Callable[..., EmbeddingStore],
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    share: float,
    k: int,
) -> None:
    monkeypatch.setattr("bioprobe.index.exact._CHUNK_ROWS", 70)
    store = make(300, 50, 400, dtype=dtype)
    # The copies of one vector are more than candidates are kept.
    store = _add(store, np.tile(_draw(1, 0), (60, 1)))
    rows = np.flatnonzero(np.random.default_rng(0).random(len(store)) < share)
    queries = np.concatenate([store.read_vectors()[[0, 800]], _draw(20, 9)])
    expected, exact = _search_plainly(store, queries, min(k, len(rows)), rows)
    index = NeighborIndex.open(store)
    for asked in (queries, queries, queries[:1], queries[:3]):
        found, similarities = index.search(asked, k, rows=rows)
        np.testing.assert_allclose(similarities, exact[: len(asked)], rtol=0, atol=1e-7)
        np.testing.assert_array_equal(found[2:], expected[2 : len(asked)])


def test_exact_search_writes_nothing(make: Callable[..., EmbeddingStore]) -> None:
    store = make(5)
    before = sorted(store.folder.rglob("*"))
    NeighborIndex.open(store).search(_draw(2, 9), 3)
    assert sorted(store.folder.rglob("*")) == before


def test_shards_beyond_those_held_open_are_read_too(
    make: Callable[..., EmbeddingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.index.exact._MAX_OPEN_SHARDS", 2)
    store = make(3, 2, 4, 1)
    vectors = store.read_vectors()
    assert NeighborIndex.open(store).search(vectors, 1)[0].ravel().tolist() == list(range(10))


@pytest.mark.parametrize("n_queries", [9, 600])
def test_answers_and_what_faiss_was_told_are_the_same_in_any_number_of_threads(
    make: Callable[..., EmbeddingStore], n_queries: int
) -> None:
    import faiss

    index, queries = NeighborIndex.open(make(700, 300)), _draw(n_queries, seed=7)
    before = faiss.omp_get_max_threads()
    found = []
    for n_threads in (1, 2):
        with limit_products(n_threads):
            found.append(index.search(queries, 5))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert faiss.omp_get_max_threads() == before
