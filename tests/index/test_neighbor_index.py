from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import MismatchError
from bioprobe.index import NeighborIndex
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


def _open_without_building(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> NeighborIndex:
    def refuse(*_: object) -> None:
        pytest.fail("the index was built again")

    with monkeypatch.context() as patched:
        patched.setattr("bioprobe.index.neighbor_index._write", refuse)
        return NeighborIndex.open(store)


def test_it_is_built_once(
    make: Callable[..., EmbeddingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(5)
    first = NeighborIndex.open(store).search(_draw(2, 9), 3)
    again = _open_without_building(EmbeddingStore.open(store.folder), monkeypatch)
    np.testing.assert_array_equal(again.search(_draw(2, 9), 3)[0], first[0])


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


def test_an_index_of_other_vectors_is_never_used(
    make: Callable[..., EmbeddingStore], tmp_path: Path
) -> None:
    store = make(5)
    other = EmbeddingStore.create(tmp_path / "other", store.manifest.encoder, dim=DIM)
    other = _add(other, _draw(5, 77))
    NeighborIndex.open(other)
    for name in ("index.faiss", "index.json"):
        (store.folder / name).write_bytes((other.folder / name).read_bytes())
    vectors = store.read_vectors()
    assert NeighborIndex.open(store).search(vectors, 1)[0].ravel().tolist() == [0, 1, 2, 3, 4]


def _drop_index(store: EmbeddingStore) -> None:
    (store.folder / "index.faiss").unlink()


def _drop_note(store: EmbeddingStore) -> None:
    (store.folder / "index.json").unlink()


def _damage_note(store: EmbeddingStore) -> None:
    (store.folder / "index.json").write_text("{")


def _truncate_index(store: EmbeddingStore) -> None:
    path = store.folder / "index.faiss"
    path.write_bytes(path.read_bytes()[:-10])


def _empty_index(store: EmbeddingStore) -> None:
    (store.folder / "index.faiss").write_bytes(b"")


def _put_smaller_index(store: EmbeddingStore) -> None:
    import faiss

    faiss.write_index(faiss.IndexFlatIP(DIM), str(store.folder / "index.faiss"))


@pytest.mark.parametrize(
    "damage",
    [_drop_index, _drop_note, _damage_note, _truncate_index, _empty_index, _put_smaller_index],
)
def test_a_damaged_index_is_built_again(
    make: Callable[..., EmbeddingStore],
    damage: Callable[[EmbeddingStore], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = make(5)
    NeighborIndex.open(store)
    damage(store)
    for index in (NeighborIndex.open(store), _open_without_building(store, monkeypatch)):
        rows, _ = index.search(store.read_vectors(), 1)
        assert rows.ravel().tolist() == [0, 1, 2, 3, 4]


def test_an_interrupted_build_leaves_nothing_that_is_believed(
    make: Callable[..., EmbeddingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(5)
    NeighborIndex.open(store)
    store = _add(store, _draw(1, 8))

    def lose_power(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("faiss.write_index", lose_power)
        with pytest.raises(KeyboardInterrupt):
            NeighborIndex.open(store)
    assert NeighborIndex.open(store).search(_draw(1, 8), 1)[0].tolist() == [[5]]


def test_the_note_says_what_the_index_was_built_from(make: Callable[..., EmbeddingStore]) -> None:
    store = make(2)
    NeighborIndex.open(store)
    note = json.loads((store.folder / "index.json").read_text())
    assert note == {"kind": "flat", "vectors_sha256": store.manifest.vectors_sha256}
