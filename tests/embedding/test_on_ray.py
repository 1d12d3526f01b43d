"""A run on a Ray cluster whose driver is killed, and then a node: its store is that of one run."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.embedding.on_ray import Settings, _Embed, _find_folders, _is_done, _plan_actors
from bioprobe.errors import MissingExtraError, MisuseError, SourceError
from bioprobe.sources.shares import Order, Share
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.store.share_card import ShareCard

N_PICTURES, N_SHARES = 240, 8
# A driver, whose shares are small.
DRIVER = """
import sys
import bioprobe as bp
from bioprobe.embedding import on_ray
on_ray.SHARE_IMAGES = int(sys.argv[3])
store = bp.embed(
    sys.argv[1], store=sys.argv[2], model="sketch", threads=1, folder_label="place", engine="ray"
)
print(store.summary.n_kept, store.summary.n_embedded, store.summary.n_failed)
"""


def _draw(folder: Path) -> None:
    random = np.random.default_rng(3)
    for number in range(N_PICTURES):
        file = folder / "abc"[number % 3] / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (300, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    (folder / "a" / "torn.png").write_bytes(b"no picture")


def _count_finished(store: Path) -> int:
    cards = map(ShareCard.read, store.parent.glob(f"{store.name}-*-of-*"))
    return sum(card is not None and card.is_finished for card in cards)


def _wait_for(driver: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 300
    while driver.poll() is None and not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_whose_driver_and_node_are_killed_is_that_of_one_machine(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra bioprobe[ray]")
    from ray.cluster_utils import Cluster

    photos, store = tmp_path / "photos", tmp_path / "all"
    _draw(photos)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]

    def drive() -> subprocess.Popen[str]:
        share_images = str(-(-(N_PICTURES + 1) // N_SHARES))
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, photos, store, share_images],
            env={**os.environ, "RAY_ADDRESS": cluster.address}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    try:
        killed = drive()
        _wait_for(killed, lambda: _count_finished(store) >= 2)
        killed.send_signal(signal.SIGKILL)
        _, said = killed.communicate()
        assert killed.returncode == -signal.SIGKILL, said
        # Actors of a driver that is gone end too, and let go of their shares.
        time.sleep(5)
        n_finished = _count_finished(store)
        assert 2 <= n_finished < N_SHARES
        assert not store.exists()
        again = drive()
        _wait_for(again, lambda: _count_finished(store) > n_finished)
        assert n_finished < _count_finished(store) < N_SHARES
        cluster.remove_node(nodes[0], allow_graceful=False)
        out, said = again.communicate(timeout=300)
        assert again.returncode == 0, said
    finally:
        cluster.shutdown()
    # Ray says of the node, there too, that it is lost.
    (counts,) = re.findall(r"^(\d+) (\d+) (\d+)$", out, re.M)
    n_kept, n_embedded, n_failed = map(int, counts)
    assert n_kept + n_embedded == N_PICTURES
    assert n_kept > 0
    assert n_failed <= 1
    assert not list(tmp_path.glob("all-*"))
    made = EmbeddingStore.open(store)
    assert list(verify_store(made)) == []
    once = bp.embed(photos, store=tmp_path / "once", model="sketch", folder_label="place")
    once_store = EmbeddingStore.open(once.folder)
    pd.testing.assert_frame_equal(made.images.frame, once_store.images.frame)
    pd.testing.assert_frame_equal(made.read_failures(), once_store.read_failures())
    np.testing.assert_allclose(made.read_vectors(), once_store.read_vectors(), atol=3e-7)


def test_without_ray_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    Image.new("RGB", (9, 9)).save(tmp_path / "one.png")
    with pytest.raises(MissingExtraError, match=r"pip install 'bioprobe\[ray\]'"):
        bp.embed(tmp_path / "one.png", store=tmp_path / "s", model="sketch", engine="ray")
    assert not list(tmp_path.glob("s*"))


def test_a_store_that_is_there_and_a_share_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "one.png")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "manifest.json").write_text("{}")
    with pytest.raises(SourceError, match="is there already"):
        bp.embed(tmp_path / "one.png", store=tmp_path / "s", model="sketch", engine="ray")
    with pytest.raises(MisuseError, match="--shard"):
        bp.embed(tmp_path / "one.png", store=tmp_path / "t", engine="ray", shard="1/2")


def test_a_share_of_other_options_is_no_finished_one(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "one.png")
    bp.embed(tmp_path / "one.png", store=tmp_path / "s", model="sketch", shard="1/1")
    order = Order.of(find_images([tmp_path / "one.png"]))
    card = ShareCard.read(tmp_path / "s-1-of-1")
    assert card is not None
    settings = Settings(tmp_path / "s", {"model": "sketch"}, None, {}, card.options)
    assert _is_done(Share(1, 1), order, settings)
    others = dataclasses.replace(settings, options={**card.options, "--exif": "True"})
    assert not _is_done(Share(1, 1), order, others)


def test_a_node_that_does_not_see_the_pictures_says_so(tmp_path: Path) -> None:
    photos, store = tmp_path / "photos", tmp_path / "s"
    photos.mkdir()
    Image.new("RGB", (9, 9)).save(photos / "one.png")
    listing = find_images([photos])
    settings = Settings(store, {"model": "sketch"}, None, {}, {})
    settings = dataclasses.replace(settings, folders=_find_folders(listing, store))
    assert settings.folders == (str(tmp_path), str(photos))
    photos.rename(tmp_path / "elsewhere")
    work = pickle.dumps((Share(1, 1), listing, Order.of(listing)))
    (done,) = _Embed(settings)({"work": [work]})["done"]
    with pytest.raises(SourceError, match="photos is not there on the node"):
        raise pickle.loads(done)
    assert not list(tmp_path.glob("s-*"))


def test_an_actor_takes_a_gpu_or_a_few_cores() -> None:
    def node(**resources: float) -> dict[str, object]:
        return {"Alive": True, "Resources": resources}

    gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    assert _plan_actors([node(), node(CPU=16.0), node(CPU=8.0), gone], None) == ({"num_cpus": 4}, 6)
    assert _plan_actors([node(CPU=2.0)], None) == ({"num_cpus": 2}, 1)
    assert _plan_actors([node(CPU=16.0)], 8) == ({"num_cpus": 8}, 2)
    both = [node(CPU=32.0, GPU=4.0), node(CPU=32.0, GPU=4.0), node(CPU=16.0)]
    assert _plan_actors(both, None) == ({"num_cpus": 8, "num_gpus": 1}, 8)
