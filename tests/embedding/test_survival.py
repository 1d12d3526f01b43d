"""Runs that are killed, and disks that are full: the store stays whole, and the run goes on.

The runs are processes of their own, ended by SIGKILL, once after a time and once before a chosen
one of their operations on files. They are forked from a server that has imported everything.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.cli.app import main
from bioprobe.cli.app import run as run_command
from bioprobe.embedding import embed_images, shard_buffer
from bioprobe.sketch import write_pictures as draw_scenes
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore, repair_store, verify_store
from bioprobe.taxonomy import Rank
from tests.conftest import Vectors, draw_picture
from tests.embedding.processes import ExactEncoder, wait_for_no_disk

pytestmark = pytest.mark.slow

SHARD_IMAGES = 4
N_MOMENTS = 12
# Audit events of changes to files. An open is one too, but only some open to write.
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "open"}

Rows = list[dict[str, Any]]
Described = tuple[Rows, Rows, bytes]


def _embed(store: Path, photos: Path) -> None:
    shard_buffer.SHARD_IMAGES = SHARD_IMAGES
    encoder = ExactEncoder()
    encoder.batch_size = 3
    opened = EmbeddingStore.open_for(store, encoder)
    table = find_images([photos], SourceOptions(folder_rank=Rank.GENUS))
    embed_images(table, encoder, opened, n_threads=2)


def _at_change(store: Path, number: int, act: Callable[[], None]) -> None:
    """Call a function before a numbered change to the files of a store."""
    seen = iter(range(1, number + 1))

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in CHANGES and str(arguments[0]).startswith(str(store))
        if is_change and next(seen, None) == number:
            act()

    sys.addaudithook(watch)


def _embed_alone(store: Path, photos: Path) -> None:
    wait_for_no_disk()
    _embed(store, photos)


def _embed_until_change(store: Path, photos: Path, number: int) -> None:
    wait_for_no_disk()
    _at_change(store, number, lambda: os.kill(os.getpid(), signal.SIGKILL))
    _embed(store, photos)


def _allow_no_more_bytes() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))


def _embed_by_command(told: Connection, store: Path, photos: Path, full_from: int) -> None:
    """Run ``bioprobe embed`` with the plain encoder, and send its exit code and messages."""
    import bioprobe.embedding

    wait_for_no_disk()
    shard_buffer.SHARD_IMAGES = SHARD_IMAGES
    bioprobe.embedding.load_encoder_for = lambda *_, **__: ExactEncoder()
    if full_from:
        _at_change(store, full_from, _allow_no_more_bytes)
    with contextlib.redirect_stderr(io.StringIO()) as messages:
        code = run_command(
            ["embed", str(photos), "--store", str(store), "--folder-rank", "genus", "--quiet",
             "--batch-size", "3"]
        )  # fmt: skip
    told.send((code, messages.getvalue()))


def _end_itself(number: int, *arguments: str) -> None:
    """Run the program with the plain encoder, asked by a signal to end after 12 images."""
    import bioprobe.embedding

    wait_for_no_disk()
    # What a shell starts in the background, or under nohup, ignores them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if number != signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)

    class Ending(ExactEncoder):
        n_batches = 0

        def encode_pixels(self, pixels: npt.NDArray[np.float32]) -> Vectors:
            self.n_batches += 1
            if self.n_batches == 3:
                os.kill(os.getpid(), number)
            if self.n_batches == 4 and number != signal.SIGINT:
                # While the rest is kept: a queue asks again before it kills.
                os.kill(os.getpid(), signal.SIGTERM)
            return super().encode_pixels(pixels)

    Ending.batch_size = 5
    bioprobe.embedding.load_encoder_for = lambda *_, **__: Ending()
    sys.argv[1:] = arguments
    main()


def _append_for_ever(store: Path) -> None:
    opened = EmbeddingStore.open(store)
    with opened.lock():
        while True:
            start = len(opened)
            frame = pd.DataFrame({"path": [f"{start + i}" for i in range(SHARD_IMAGES)]})
            opened = opened.append(frame, np.eye(16)[:SHARD_IMAGES])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 pictures in two folders; with copies, and with files that cannot be read."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(24):
        genus = folder / ("Lynx" if number % 3 else "Puma")
        genus.mkdir(exist_ok=True)
        draw_picture(number, (16, 16)).save(genus / f"{number:03d}.png")
    for number in (1, 20):
        shutil.copy(
            folder / "Lynx" / f"{number:03d}.png", folder / "Puma" / f"{number:03d}-copy.png"
        )
        (folder / "Lynx" / f"{number:03d}-bad.png").write_bytes(b"")
    return folder


def _describe(folder: Path) -> Described:
    """Return all that a store holds, row by row: its table, its failures, and its vectors."""
    store = EmbeddingStore.open(folder)
    assert verify_store(store) == []
    failures = store.read_failures().sort_values("path")
    vectors = store.read_vectors(store.rows).tobytes()
    return _to_rows(store.images.frame.iloc[store.rows]), _to_rows(failures), vectors


# What nothing disturbed stays as it is, and many runs are compared with it.
_describe_once = functools.cache(_describe)


def _to_rows(frame: pd.DataFrame) -> Rows:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _list_files(folder: Path) -> set[str]:
    # What pictures look like, and how sharp and light they are, is kept by what one run read.
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return {str(path) for path in found if path.parent.name not in {"looks", "measures"}}


@pytest.fixture(scope="module")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shard_buffer, "SHARD_IMAGES", SHARD_IMAGES)
        _embed(folder, photos)
    rows, failures, _ = _describe(folder)
    assert (len(rows), len(failures)) == (26, 2)
    assert len(list((folder / "shards").iterdir())) == 7
    return folder


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_buffer, "SHARD_IMAGES", SHARD_IMAGES)


def _check_whole(folder: Path) -> int:
    """Check what a killed run left, and return its number of rows."""
    if not EmbeddingStore.exists(folder):
        return 0
    store = EmbeddingStore.open(folder)
    assert verify_store(store) == []
    return len(store)


def _resume(folder: Path, photos: Path, undisturbed: Path) -> None:
    _embed(folder, photos)
    assert _describe(folder) == _describe_once(undisturbed)
    assert _list_files(folder) == _list_files(undisturbed)


def _time_whole(processes: ForkServerContext, folder: Path, photos: Path) -> float:
    start_s = time.monotonic()
    process = processes.Process(target=_embed_alone, args=(folder, photos))
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - start_s


@pytest.mark.long
def test_a_run_that_is_killed_at_any_time_goes_on(
    processes: ForkServerContext, photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    duration_s = _time_whole(processes, tmp_path / "timed", photos)
    seeded = random.Random(1)
    n_rows: set[int] = set()
    n_killed = 0
    # On a busy machine the moments come early or late; more are tried until they differ.
    for moment in range(4 * N_MOMENTS):
        if moment >= N_MOMENTS and len(n_rows) > 3:
            break
        folder = tmp_path / str(moment)
        process = processes.Process(target=_embed_alone, args=(folder, photos))
        process.start()
        process.join(duration_s * (moment % N_MOMENTS + seeded.random()) / N_MOMENTS)
        process.kill()
        process.join()
        n_killed += process.exitcode == -signal.SIGKILL
        n_rows.add(_check_whole(folder))
        _resume(folder, photos, undisturbed)
    assert n_killed >= N_MOMENTS // 2
    assert len(n_rows) > 3


def test_a_run_that_is_killed_before_any_change_to_a_file_goes_on(
    processes: ForkServerContext, photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Kill before changes all through the run, one in the writing of each shard."""
    n_rows, number, steps = set(), 1, random.Random(2)
    while True:
        folder = tmp_path / str(number)
        process = processes.Process(target=_embed_until_change, args=(folder, photos, number))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        n_rows.add(_check_whole(folder))
        _resume(folder, photos, undisturbed)
        number += steps.randint(14, 18)
    assert n_rows == {0, 4, 8, 12, 16, 20, 24, 26}


def test_a_run_that_is_killed_again_and_again_leaves_nothing_behind(
    processes: ForkServerContext, photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    for number in range(6, 30, 3):
        process = processes.Process(target=_embed_until_change, args=(folder, photos, number))
        process.start()
        process.join()
        _check_whole(folder)
        assert len(list(folder.rglob("*.tmp"))) <= 1
    _resume(folder, photos, undisturbed)


def _embed_in_process(processes: ForkServerContext, *arguments: Any) -> tuple[int, str]:  # noqa: ANN401
    told, tells = processes.Pipe(duplex=False)
    process = processes.Process(target=_embed_by_command, args=(tells, *arguments))
    process.start()
    tells.close()
    code, messages = told.recv()
    process.join()
    assert process.exitcode == 0
    return code, messages


def test_a_run_that_may_write_no_more_says_so_and_goes_on_later(
    processes: ForkServerContext, photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    n_rows = set()
    for number in range(8, 132, 30):
        folder = tmp_path / str(number)
        code, messages = _embed_in_process(processes, folder, photos, number)
        assert code == 1
        (line,) = messages.splitlines()
        assert line.startswith(f"Error: {folder}")
        assert "cannot be written: " in line
        assert line.endswith("free space, then run the same command again")
        n_rows.add(_check_whole(folder))
        _resume(folder, photos, undisturbed)
    assert len(n_rows) > 3


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_run_that_is_asked_to_end_keeps_what_was_read_and_goes_on(
    processes: ForkServerContext, photos: Path, undisturbed: Path, tmp_path: Path, name: str
) -> None:
    folder, number = tmp_path / "store", getattr(signal, name)
    arguments = ("embed", str(photos), "--store", str(folder), "--folder-rank", "genus", "-q")
    process = processes.Process(target=_end_itself, args=(number, *arguments))
    process.start()
    process.join()
    assert process.exitcode == 128 + number
    assert 0 < _check_whole(folder) < 26
    _embed(folder, photos)
    _check_same_rows(folder, undisturbed)


@contextlib.contextmanager
def _mount_small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=72k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_run_that_fills_a_disk_says_so_and_goes_on_when_there_is_space(
    processes: ForkServerContext, photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with _mount_small_disk(disk):
        for _ in range(2):
            code, messages = _embed_in_process(processes, disk / "store", photos, 0)
            assert code == 1
            (line,) = messages.splitlines()
            assert line.startswith(f"Error: {disk}/store/")
            assert "cannot be written: " in line
            assert "no space left on device; what was there before is whole; free" in line
            assert 0 < _check_whole(disk / "store") < 26
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert _embed_in_process(processes, disk / "store", photos, 0)[0] == 0
        assert _describe(disk / "store") == _describe_once(undisturbed)
        assert _list_files(disk / "store") == _list_files(undisturbed)


@pytest.mark.parametrize("number", [0, pytest.param(3, marks=pytest.mark.long), 6])
@pytest.mark.parametrize("name", ["vectors.npy", "images.parquet"])
def test_what_a_damaged_shard_held_is_embedded_again(
    photos: Path, undisturbed: Path, tmp_path: Path, number: int, name: str
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(undisturbed, folder)
    before = EmbeddingStore.open(folder)
    rows = range(number * SHARD_IMAGES, min((number + 1) * SHARD_IMAGES, 26))
    file = folder / "shards" / f"{number:05d}" / name
    file.write_bytes(file.read_bytes()[:-9])
    assert [problem.where for problem in verify_store(before)] == [str(file.relative_to(folder))]
    repair = repair_store(folder)
    assert repair.n_lost == len(rows)
    if name == "vectors.npy":
        assert list(repair.lost) == [
            EmbeddingStore.open(undisturbed).images.find_file(r) for r in rows
        ]
    left = EmbeddingStore.open(folder)
    assert verify_store(left) == []
    encoder = ExactEncoder()
    encoder.batch_size = 3
    table = find_images([photos], SourceOptions(folder_rank=Rank.GENUS))
    summary = embed_images(table, encoder, left)
    assert summary.n_embedded + summary.n_reused == len(rows)
    assert summary.n_kept == 26 - len(rows)
    _check_same_rows(folder, undisturbed)


def _check_same_rows(folder: Path, other: Path) -> None:
    """Compare two stores whose rows may be in another order and were encoded in other batches."""
    (rows, vectors), (other_rows, other_vectors) = _sort(folder), _sort(other)
    assert rows == other_rows
    np.testing.assert_allclose(vectors, other_vectors, atol=1e-6)


def _sort(folder: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    rows, _, raw = _describe(folder)
    texts = [json.dumps(row, default=str) for row in rows]
    order = sorted(range(len(texts)), key=texts.__getitem__)
    vectors = np.frombuffer(raw, dtype=np.float32).reshape(len(rows), -1)
    return [texts[row] for row in order], vectors[order]


def test_a_store_can_be_read_while_it_is_written(
    processes: ForkServerContext, tmp_path: Path
) -> None:
    encoder = ExactEncoder()
    encoder.batch_size = 3
    EmbeddingStore.open_for(tmp_path / "store", encoder)
    process = processes.Process(target=_append_for_ever, args=(tmp_path / "store",))
    process.start()
    try:
        while not (early := EmbeddingStore.open(tmp_path / "store")):
            time.sleep(0.01)
        before, n_rows = early.read_vectors(), set()
        until_s = time.monotonic() + 2
        while time.monotonic() < until_s:
            store = EmbeddingStore.open(tmp_path / "store")
            assert verify_store(store) == []
            assert store.images.file_names == [str(row) for row in range(len(store))]
            n_rows.add(len(store))
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert all(n % SHARD_IMAGES == 0 for n in n_rows)
    assert len(n_rows) > 1
    assert len(early) == len(before) == len(early.images) < max(n_rows)
    np.testing.assert_array_equal(early.read_vectors(), before)


SHORT_SHARDS = """
from bioprobe.embedding import shard_buffer
shard_buffer.SHARD_IMAGES = 4
from bioprobe.cli.app import main
main()
"""


@pytest.mark.long
def test_the_command_with_a_real_model_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    draw_scenes(tmp_path / "photos", 1, 2, 1)
    table = tmp_path / "photos" / "pictures.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:25]))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = ["embed", str(table), "--model", "sketch", "--precision", "fp32"]
    command += ["--batch-size", "4", "--quiet", "--store"]
    process = subprocess.Popen([sys.executable, "-c", SHORT_SHARDS, *command, str(killed)])
    while not (killed / "shards" / "00000").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert _check_whole(killed) < 24
    for folder in (killed, whole):
        assert run_command([*command, str(folder)]) == 0
    assert _list_files(killed) == _list_files(whole)
    _check_same_rows(killed, whole)
    assert _describe(killed)[:2] == _describe(whole)[:2]
