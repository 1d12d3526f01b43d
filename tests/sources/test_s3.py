"""Pictures and stores in a bucket, of a server that fails: nothing is lost, nothing doubled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe import remote
from tests.s3_server import Faults, FaultyServer, serve_s3

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

N_PICTURES = 16


@pytest.fixture(name="server")
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    with serve_s3(monkeypatch) as app:
        yield app


@pytest.fixture(name="photos")
def draw_photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(N_PICTURES):
        file = tmp_path / "photos" / ("Felidae", "Canidae")[number % 2] / f"{number} é#.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, quality=95)
    return tmp_path / "photos"


def put(photos: Path) -> None:
    for file in sorted(photos.rglob("*.*")):
        remote.send(file, f"s3://bucket/photos/{file.relative_to(photos).as_posix()}", None)


def hash_shards(store: Path) -> list[str]:
    return [
        hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(store.glob("shards/*/vectors.npy"))
    ]


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2))])
def test_a_bucket_that_fails_fills_the_same_store_as_a_folder(
    server: FaultyServer, photos: Path, tmp_path: Path, seed: int
) -> None:
    put(photos)
    here = bp.embed(photos, store=tmp_path / "here", model="sketch", folder_rank="family")
    server.faults = faults = Faults(share=0.4, seed=seed)
    there = bp.embed(
        "s3://bucket/photos", store=tmp_path / "there", model="sketch", folder_rank="family"
    )
    assert sum(faults.counts.values()) >= 3, faults.counts
    assert len(there.failures) == 0
    assert hash_shards(tmp_path / "there") == hash_shards(tmp_path / "here")
    pd.testing.assert_frame_equal(
        there.images.drop(columns="root"), here.images.drop(columns="root")
    )
    assert set(there.images["root"]) == {"s3://bucket/photos"}


def test_what_never_answers_is_a_failure_that_a_later_run_tries_again(
    server: FaultyServer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TRIES", 2)
    put(photos)
    server.faults = Faults(never="/7 é#.jpg")
    store = tmp_path / "there"
    first = bp.embed("s3://bucket/photos", store=store, model="sketch")
    assert len(first) == N_PICTURES - 1
    (path,), (reason,) = first.failures["path"], first.failures["reason"]
    assert path == "Canidae/7 é#.jpg"
    assert "a later run tries again" in reason
    assert "secret-of-nobody" not in reason + "".join(map(str, first.notes))
    server.faults = faults = Faults()
    second = bp.embed("s3://bucket/photos", store=store, model="sketch")
    assert (len(second), len(second.failures)) == (N_PICTURES, 0)
    assert second.images["sha256"].is_unique
    # Nothing else was read again.
    assert {one for one in faults.sent if one.endswith(".jpg")} == {
        "/bucket/photos/Canidae/7 é#.jpg"
    }


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2))])
def test_a_store_is_sent_and_read_whole_whatever_fails(
    server: FaultyServer, photos: Path, tmp_path: Path, seed: int
) -> None:
    address = "s3://bucket/stores/photos"
    here = bp.embed(photos, store=tmp_path / "here", model="sketch", folder_rank="family")
    server.faults = Faults(share=0.4, seed=seed)
    here.push(address)
    opened = bp.open(address)
    np.testing.assert_array_equal(opened.X, here.X)
    pd.testing.assert_frame_equal(opened.images, here.images)
    bp.pull(address, store=tmp_path / "there")
    there = bp.open(tmp_path / "there")
    assert there.verify().is_whole
    there.keep_mask("some", [0])
    there.push(address)
    assert bp.open(address).masks().to_frame()["name"].tolist() == ["some"]
    assert sum(server.faults.counts.values()) >= 3, server.faults.counts
    server.faults = Faults()
    sent = sorted(remote.list_below(address))
    assert sent == sorted(
        one.relative_to(tmp_path / "there").as_posix()
        for one in (tmp_path / "there").rglob("*")
        if one.is_file() and not one.name.startswith(".")
    )


@pytest.mark.usefixtures("server")
def test_the_server_itself_refuses_the_second_of_two_writers() -> None:
    address = "s3://bucket/manifest.json"
    first = remote.send(b"1", address, None)
    with pytest.raises(remote.ChangedError):
        remote.send(b"2", address, None)
    second = remote.send(b"3", address, first)
    with pytest.raises(remote.ChangedError):
        remote.send(b"4", address, first)
    assert remote.read(address) == b"3"
    # A first try of which the answer was lost is no change.
    assert remote.send(b"3", address, first) == second
    assert remote.send(b"3", address, None) == second
