"""Questions whose parts are worked on elsewhere are answered as they are in one process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
import bioprobe.index.exact
import bioprobe.quality.duplicates
import bioprobe.quality.near_cells
import bioprobe.quality.near_pairs
import bioprobe.store.view
from bioprobe import engines
from bioprobe.encoders import load_encoder
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MissingExtraError, MisuseError, SourceError
from bioprobe.index import NeighborIndex
from bioprobe.quality.near_cells import NearPairs
from bioprobe.store import EmbeddingStore

N_IMAGES = 600
SPECIES = [
    ("Felidae", "Panthera", "Panthera leo"),
    ("Felidae", "Panthera", "Panthera pardus"),
    ("Felidae", "Lynx", "Lynx lynx"),
    ("Canidae", "Canis", "Canis lupus"),
    ("Canidae", "Vulpes", "Vulpes vulpes"),
]
ASKED: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "species": lambda store, on: store.zeroshot("species", k=3, **on),
    "list by site": lambda store, on: store.zeroshot("species", within="rules.csv", k=2, **on),
    "all ranks": lambda store, on: store.zeroshot("genus", every_rank=True, also="Lynx", **on),
    "deepest": lambda store, on: store.zeroshot(abstain=0.4, within="!Panthera leo", **on),
    "named": lambda store, on: store.zeroshot(classes=["a cat", "a dog", "a fox"], k=2, **on),
    "by neighbours": lambda store, on: store.predict("knn", k=2, **on),
    "nearest": lambda store, on: store.search(row=3, k=40, **on),
    "near enough": lambda store, on: store.search(row=3, min_similarity=0.3, **on),
    "best share": lambda store, on: store.search(text="a cat", share=0.2, **on),
    "copies": lambda store, on: store.dedupe(0.9, confirm=False, **on),
}


class InTurn:
    """Works on parts as a cluster does: what it gets is pickled, and the last part comes first."""

    def __init__(self) -> None:
        self.n_parts: list[int] = []

    def map(self, work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        sent = [pickle.dumps((work, part)) for part in parts]
        self.n_parts.append(len(sent))
        found = []
        for one in reversed(sent):
            done, part = pickle.loads(one)
            found.append(pickle.dumps(done(part)))
        return map(pickle.loads, reversed(found))


def cut_small(patch: pytest.MonkeyPatch) -> None:
    """Have small stores cut into many parts."""
    patch.setattr(bioprobe.store.view, "_IMAGES_AT_ONCE", 70)
    patch.setattr(bioprobe.index.exact, "_PART_ROWS", 90)
    patch.setattr(bioprobe.quality.duplicates, "FEWEST_ROWS", 100)
    patch.setattr(bioprobe.quality.near_pairs, "_PART_ROWS", 90)
    for name, value in {"FEWEST_ROWS": 100, "_PART_ROWS": 80, "_PLACED_AT_ONCE": 64}.items():
        patch.setattr(bioprobe.quality.near_cells, name, value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of vectors near five directions, some of which are copies of others."""
    folder = tmp_path_factory.mktemp("engines")
    encoder = load_encoder("sketch")
    random = np.random.default_rng(5)
    store = EmbeddingStore.create(
        folder / "store", encoder.fingerprint, dim=encoder.dim, logit_scale=encoder.logit_scale,
        has_text_tower=True,
    )  # fmt: skip
    of = random.integers(0, len(SPECIES), N_IMAGES)
    vectors = random.normal(size=(len(SPECIES), encoder.dim))[of] + random.normal(
        size=(N_IMAGES, encoder.dim)
    )
    vectors[500:] = vectors[:100] + 0.05 * random.normal(size=(100, encoder.dim))
    frame = pd.DataFrame([SPECIES[one] for one in of], columns=["family", "genus", "species"])
    frame["path"] = [f"{number:03}.jpg" for number in range(N_IMAGES)]
    frame["site"] = random.choice(["north", "south"], N_IMAGES)
    for start in range(0, N_IMAGES, 200):
        part = slice(start, start + 200)
        store = store.append(frame[part].reset_index(drop=True), normalise_rows(vectors[part]))
    rules = "species,site,rule\nPanthera leo,south,block\nLynx lynx,north,block\n"
    (folder / "rules.csv").write_text(rules)
    bp.open(folder / "store").fit("knn", split=None, setting={"k": 5}, calibration="none")
    return folder


@pytest.mark.parametrize("what", ASKED)
def test_parts_are_answered_as_the_whole(
    folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    engine = InTurn()
    monkeypatch.setattr(engines, "OnRay", lambda *_: engine)
    store = bp.open("store", model="sketch")
    if what == "copies":
        # All rows are compared where they are few.
        cut_small(monkeypatch)
    here = ASKED[what](store, {})
    cut_small(monkeypatch)
    there = ASKED[what](store, {"engine": "ray"})
    assert max(engine.n_parts) > 5
    assert len(here.to_frame())
    pd.testing.assert_frame_equal(here.to_frame(), there.to_frame(), check_exact=True)
    assert list(map(str, here.notes)) == list(map(str, there.notes))


def test_many_queries_and_near_pairs_are_merged_exactly(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_small(monkeypatch)
    store, engine = EmbeddingStore.open(folder / "store"), InTurn()
    vectors = store.read_vectors()
    # Rows of which some are the same, and fewer than k in most parts.
    rows = np.arange(0, N_IMAGES, 7)
    found = NeighborIndex.open(store).search(vectors[:50], 60, rows=rows)
    parts = NeighborIndex.open(store, engine=engine).search(vectors[:50], 60, rows=rows)
    for one, other in zip(found, parts, strict=True):
        np.testing.assert_array_equal(one, other)
    # Every row beside every other, where cells would save nothing.
    every = list(NearPairs(vectors, 0.3).iter_blocks())
    there = list(NearPairs(vectors, 0.3, engine=engine).iter_blocks())
    pairs, others = (
        pd.DataFrame(
            np.transpose([np.concatenate(one) for one in zip(*of, strict=True)]),
            columns=["first", "second", "similarity"],
        )
        .sort_values(["first", "second"])
        .reset_index(drop=True)
        for of in (every, there)
    )
    assert len(pairs) > 1000
    pd.testing.assert_frame_equal(pairs, others, rtol=1e-6)


def test_a_store_that_others_do_not_see_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "OnRay", lambda *_: InTurn())
    monkeypatch.setenv("BIOPROBE_CACHE", str(folder))
    copied = folder / "stores" / "copy"
    copied.parent.mkdir()
    copied.symlink_to(folder / "store")
    with pytest.raises(MisuseError, match="store pull"):
        bp.open(copied, model="sketch").zeroshot(engine="ray")
    store = bp.open(folder / "store", model="sketch")
    with pytest.raises(MisuseError, match="--threads"):
        store.search(row=1, threads=2)
    with pytest.raises(MisuseError, match="--against"):
        store.dedupe(against=folder / "store", engine="ray")


def test_a_node_that_does_not_see_the_store_says_so(tmp_path: Path) -> None:
    here, gone = str(tmp_path), str(tmp_path / "gone")
    engines.check_folders([here])
    with pytest.raises(SourceError, match=rf"{gone} is not there on the node"):
        engines._do([here, gone], [], 1)


def test_without_ray_it_is_said_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'bioprobe\[ray\]'"):
        bp.open(folder / "store", model="sketch").search(row=1, engine="ray")


# A driver that says when it has the third part of a question, and whose parts take a while.
DRIVER = """
import functools, sys, time
from pathlib import Path
import pytest
import bioprobe as bp
from bioprobe import engines
sys.path.insert(0, sys.argv[1])
from test_engines import ASKED, cut_small

def slowly(work, part):
    time.sleep(0.2)
    return work(part)

class Slow(engines.OnRay):
    def map(self, work, parts):
        for number, found in enumerate(super().map(functools.partial(slowly, work), parts)):
            if number == 2:
                Path(f"{what}.begun").touch()
            yield found

cut_small(pytest.MonkeyPatch())
engines.OnRay = Slow
store = bp.open("store", model="sketch")
for what in sys.argv[2:]:
    ASKED[what](store, {"engine": "ray"}).to_frame().to_pickle(f"{what}.pkl")
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nodes_that_are_killed_change_no_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs the extra bioprobe[ray]")
    from ray.cluster_utils import Cluster

    asked = ("list by site", "nearest", "copies")
    monkeypatch.chdir(folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(Path(__file__).parent), *asked],
            env={**os.environ, "RAY_ADDRESS": cluster.address}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until = time.monotonic() + 300
        for what, node in zip(asked[:2], nodes, strict=False):
            while not Path(f"{what}.begun").exists():
                assert driver.poll() is None, driver.communicate()[1]
                assert time.monotonic() < until
                time.sleep(0.02)
            assert not Path(f"{what}.pkl").exists()
            cluster.remove_node(node, allow_graceful=False)
        _, said = driver.communicate(timeout=300)
        assert driver.returncode == 0, said
    finally:
        cluster.shutdown()
    cut_small(monkeypatch)
    store = bp.open("store", model="sketch")
    for what in asked:
        here, there = ASKED[what](store, {}).to_frame(), pd.read_pickle(f"{what}.pkl")
        pd.testing.assert_frame_equal(here, there, check_exact=True)
