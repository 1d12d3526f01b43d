"""Where large products run, and that it changes no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import bioprobe
from bioprobe import devices
from bioprobe.cores import map_alone
from bioprobe.devices import (
    LEAST_USES,
    LEAST_WORK,
    choose_device,
    find_gpu,
    multiplying,
    name_used,
    products_on,
)
from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import BioprobeError
from bioprobe.index import NeighborIndex, on_device
from bioprobe.index import exact as exact_search
from bioprobe.probes import objective
from bioprobe.probes.knn import KnnProbe
from bioprobe.probes.linear import LinearProbe
from bioprobe.provenance import Provenance
from bioprobe.store import EmbeddingStore
from bioprobe.task.lazy_rows import LazyRows
from bioprobe.task.leaf_scores import score_leaves
from bioprobe.task.leaves import Leaves
from bioprobe.types import Names, Vectors
from tests.on_gpu import THERE, on_gpu

World = tuple[Vectors, Names]
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names by which a GPU was looked for; there is one."""
    names = list[str]()

    def find(name: str) -> torch.device:
        names.append(name)
        return THERE

    monkeypatch.setattr(devices, "_find_gpu", find)
    return names


@pytest.fixture(scope="module")
def real(shared_dir: Path) -> World:
    """Return embeddings of BioCLIP 2 with their families, and a third of them once more."""
    frame = pd.read_parquet(shared_dir / "data" / "tol200m-bioclip2-1k" / "example_1k.parquet")
    vectors = normalise_rows(np.stack(frame["emb"].tolist()).astype(np.float32))
    families = frame["family"].fillna("").to_numpy(dtype=object)
    again = np.arange(0, len(vectors), 3)
    return np.concatenate([vectors, vectors[again]]), np.concatenate([families, families[again]])


@pytest.fixture(scope="module")
def tied() -> World:
    """Return drawn vectors, of which one stands there sixty times."""
    rng = np.random.default_rng(0)
    vectors = normalise_rows(rng.normal(size=(400, 24)).astype(np.float32))
    vectors[20:380:6] = vectors[3]
    labels = np.array([f"class {n}" for n in rng.integers(0, 7, 400)], dtype=object)
    labels[20:380:6] = labels[3]
    return vectors, labels


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.shared), "tied"])
def world(request: pytest.FixtureRequest) -> World:
    """Return vectors with labels."""
    found: World = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send few numbers at once, and compare the candidates of few questions."""
    monkeypatch.setattr(exact_search, "_BATCH", 2)
    monkeypatch.setattr(exact_search, "_CHUNK_ROWS", 150)
    monkeypatch.setattr(on_device, "_PRODUCTS", 1000)
    monkeypatch.setattr(on_device, "_KEPT", 1000)
    monkeypatch.setattr(objective, "_BLOCK_THERE", 3000)


def _store(folder: Path, vectors: Vectors, dtype: str) -> EmbeddingStore:
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    dim = vectors.shape[1]
    store = EmbeddingStore.create(folder / "store", fingerprint, dim=dim, dtype=dtype)
    return store.append(pd.DataFrame({"path": [f"{n}.jpg" for n in range(len(vectors))]}), vectors)


@pytest.mark.parametrize(
    ("n_sent", "n_uses", "goes"),
    [
        (LEAST_WORK / LEAST_USES, LEAST_USES, True),
        (LEAST_WORK / LEAST_USES, LEAST_USES - 1, False),
        (LEAST_WORK / LEAST_USES - 1, LEAST_USES, False),
        (1e15, 4, False),
    ],
)
def test_what_is_little_work_or_used_seldom_stays(
    opened: list[str], n_sent: float, n_uses: float, goes: bool
) -> None:
    assert find_gpu(n_sent, n_uses) == (THERE if goes else None)
    assert opened == ["auto"] * goes
    with products_on("cpu:0", always=True):
        assert find_gpu(1, 1) == THERE


def test_the_choice_holds_in_threads_and_inside_and_what_was_used_is_told(
    opened: list[str],
) -> None:
    def use(_: int) -> str:
        find_gpu(LEAST_WORK, LEAST_USES)
        return name_used()

    with products_on("cuda:1"):
        assert name_used() == ""
        with products_on("auto"):
            assert list(map_alone(use, range(3), n_threads=2)) == ["cpu:0"] * 3
        assert Provenance(encoder={}, store="", n_rows=0).device == "cpu:0"
    assert opened == ["cuda:1"] * 3
    assert name_used() == ""


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_who_names_another_device_has_no_product_on_a_gpu(name: str) -> None:
    with products_on(name):
        assert find_gpu(LEAST_WORK, LEAST_USES) is None


@without_gpu
def test_a_gpu_that_is_not_there_is_refused_by_name_alone() -> None:
    assert find_gpu(LEAST_WORK, LEAST_USES) is None
    with (
        products_on("cuda"),
        pytest.raises(BioprobeError, match='"cuda" is not on this machine; choose auto or'),
    ):
        find_gpu(LEAST_WORK, LEAST_USES)


def test_a_device_has_no_more_than_there_are() -> None:
    assert choose_device("cpu:0") == torch.device("cpu:0")
    for name in ("cpu:1", "cpu:x", "tpu"):
        with pytest.raises(BioprobeError, match=f'"{name}" is not on this machine'):
            choose_device(name)


def test_single_precision_is_whole_meanwhile_and_as_before_afterwards() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with multiplying(torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
        with multiplying(None):
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_full_memory_says_what_to_do() -> None:
    with (
        pytest.raises(BioprobeError, match=r"memory of cuda:1 is full; .* --device cpu"),
        multiplying(torch.device("cuda:1")),
    ):
        raise torch.OutOfMemoryError


def test_of_equal_products_the_lower_row_stands_first() -> None:
    # Of two chunks, in which rows stand in no order; all but one are alike.
    unit = np.eye(2, dtype=np.float32)
    chunks = [(np.array([7, 3, 5]), unit[[0, 0, 0]]), (np.array([1, 9]), unit[[1, 0]])]
    rows, products = on_device.find_nearest(torch.device("cpu"), unit[:1], lambda: chunks, 5)
    assert rows.tolist() == [[3, 5, 7, 9, 1]]
    assert products.tolist() == [[1, 1, 1, 1, 0]]
    # One chunk may hold all that is asked for.
    rows, _ = on_device.find_nearest(torch.device("cpu"), unit[:1], lambda: chunks[:1], 3)
    assert rows.tolist() == [[3, 5, 7]]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("k", [1, 10, 500])
@pytest.mark.usefixtures("small_tiles")
def test_search_finds_the_same_to_the_last_digit(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, k: int
) -> None:
    store = _store(tmp_path, world[0], dtype)
    queries, rows = store.read_vectors(np.arange(0, 330, 5)), np.arange(2, len(store))
    here = NeighborIndex.open(store).search(queries, k, rows=rows)
    with on_gpu(monkeypatch), products_on("auto"):
        there = NeighborIndex.open(store).search(queries, k, rows=rows)
        assert name_used()
    np.testing.assert_array_equal(there[0], here[0])
    np.testing.assert_array_equal(there[1], here[1])


@pytest.mark.parametrize("k", [1, 5, 70])
@pytest.mark.usefixtures("small_tiles")
def test_the_same_neighbours_vote(world: World, monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    vectors, labels = world
    probe = KnnProbe(k).fit(vectors[100:], labels[100:])
    here = probe.predict_proba(vectors[:100])
    with on_gpu(monkeypatch), products_on("auto"):
        there = probe.predict_proba(vectors[:100])
        assert name_used()
        assert probe.predict_proba(vectors[:0]).shape == (0, here.shape[1])
    # A similarity in single precision is off by 1e-7 or so, a vote by that over the temperature.
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-5)


@pytest.mark.shared
def test_zero_shot_answers_the_same(real: World, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = real[0]
    leaves = Leaves.of(vectors[50:])
    here = score_leaves(vectors[:50], leaves, k=5, logit_scale=100.0)
    with on_gpu(monkeypatch), products_on("auto"):
        there = score_leaves(vectors[:50], leaves, k=5, logit_scale=100.0)
        assert name_used()
    np.testing.assert_array_equal(there.top, here.top)
    np.testing.assert_allclose(there.top_probabilities, here.top_probabilities, atol=1e-6)


@pytest.mark.parametrize("way", ["held there", "sent in parts", "lazy"])
@pytest.mark.usefixtures("small_tiles")
def test_a_linear_sweep_and_fit_end_where_they_did(
    world: World, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    vectors, labels = world[0][::3, :64], world[1][::3]
    # As many classes as take little time.
    labels = np.array([name[:7] for name in labels], dtype=object)
    labels[pd.Series(labels).groupby(labels).transform("size") < 9] = "other"
    lazy = LazyRows(vectors.__getitem__, np.arange(len(vectors)), vectors.shape[1])
    rows = lazy if way == "lazy" else vectors
    if way == "sent in parts":
        monkeypatch.setattr(objective, "_ROWS_THERE", 100)
    folds, values = np.arange(len(vectors)) % 3, np.array([0.1, 10.0])
    here, own = LinearProbe.sweep(rows, labels, values, folds), LinearProbe(10.0).fit(rows, labels)
    with on_gpu(monkeypatch), products_on("auto"):
        there = LinearProbe.sweep(rows, labels, values, folds)
        assert name_used()
        other = LinearProbe(10.0).fit(rows, labels)
    np.testing.assert_allclose(there.accuracies, here.accuracies, atol=0.01)
    np.testing.assert_allclose(there.log_losses, here.log_losses, rtol=1e-3)
    np.testing.assert_allclose(
        other.predict_proba(vectors), own.predict_proba(vectors), rtol=0, atol=1e-4
    )


def test_the_provenance_of_a_question_names_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = normalise_rows(np.random.default_rng(0).normal(size=(30, 8)))
    _store(tmp_path, vectors, "float32")
    asked = bioprobe.open(tmp_path / "store")
    assert asked.search(row=0, k=3).provenance.device == ""
    with on_gpu(monkeypatch):
        assert asked.search(row=0, k=3).provenance.device
        on_cpu = bioprobe.open(tmp_path / "store", device="cpu")
        if torch.cuda.is_available():
            assert on_cpu.search(row=0, k=3).provenance.device == ""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU here")
def test_a_gpu_is_found_and_used_where_there_is_one(real: World, tmp_path: Path) -> None:
    assert devices._may_have_gpu()
    assert choose_device("auto").type == "cuda"
    store = _store(tmp_path, real[0], "float16")
    queries = store.read_vectors()
    here = NeighborIndex.open(store).search(queries, 10)
    torch.set_float32_matmul_precision("medium")
    try:
        with products_on("cuda", always=True):
            there = NeighborIndex.open(store).search(queries, 10)
            assert name_used().startswith("cuda NVIDIA")
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(there[0], here[0])
    np.testing.assert_array_equal(there[1], here[1])
