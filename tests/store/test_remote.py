"""Stores at addresses: sent whole or not at all, copied once, never written over another's."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest
from filelock import FileLock

import bioprobe as bp
from bioprobe import remote
from bioprobe.store import EmbeddingStore
from bioprobe.store.remote import pull, push
from tests.conftest import PlainEncoder

ADDRESS = "memory://bucket/stores/photos"


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").store.clear()
    monkeypatch.setattr(remote, "_named", set())
    monkeypatch.setattr(remote, "_FIRST_PAUSE_S", 0.0)


def fill(folder: Path, seed: int, n_rows: int = 5) -> EmbeddingStore:
    """Append a shard of drawn vectors to a store, made where there is none."""
    import pandas as pd

    encoder = PlainEncoder()
    store = (
        EmbeddingStore.open(folder)
        if EmbeddingStore.exists(folder)
        else EmbeddingStore.create(folder, encoder.fingerprint, dim=16, has_text_tower=True)
    )
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n_rows, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    frame = pd.DataFrame(
        {
            "root": "/photos",
            "path": [f"{seed}-{n}.jpg" for n in range(n_rows)],
            "sha256": [f"{seed}{n:063}" for n in range(n_rows)],
            "family": "Felidae",
        }
    )
    with store.lock():
        store.append(frame, vectors)
    return EmbeddingStore.open(folder)


def list_objects() -> dict[str, bytes]:
    system = fsspec.filesystem("memory")
    return {path: system.cat_file(path) for path in system.find("/bucket/stores/photos")}


def list_files(folder: Path) -> dict[str, bytes]:
    return {
        one.relative_to(folder).as_posix(): one.read_bytes()
        for one in folder.rglob("*")
        if one.is_file() and not one.name.startswith(".")
    }


def test_a_store_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here, 1)
    bp.open(here).keep_mask("some", [0, 2])
    sent = push(here, ADDRESS)
    assert (sent.n_kept, sent.n_moved) == (0, len(list_files(here)))
    assert push(here, ADDRESS).n_moved == 0
    pulled = pull(ADDRESS, there)
    assert pulled.n_images == 5
    assert list_files(there) == list_files(here)
    assert pull(ADDRESS, there).n_moved == 0
    assert bp.open(there).verify().is_whole
    fill(here, 2)
    bp.open(here).remove_mask("some")
    again = push(here, ADDRESS)
    # Two files of a shard and the manifest.
    assert (again.n_moved, again.n_removed) == (3, 1)
    brought = pull(ADDRESS, there)
    assert (brought.n_moved, brought.n_removed) == (3, 1)
    assert list_files(there) == list_files(here)


def test_a_store_at_an_address_is_asked_and_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "here", 1)
    push(tmp_path / "here", ADDRESS)
    fetched: list[str] = []
    fetch = remote.fetch

    def note(address: str, file: Path) -> None:
        fetched.append(address)
        fetch(address, file)

    monkeypatch.setattr(remote, "fetch", note)
    opened = bp.open(ADDRESS)
    np.testing.assert_array_equal(opened.X, bp.open(tmp_path / "here").X)
    assert len(fetched) == 2
    bp.open(ADDRESS)
    assert len(fetched) == 2
    fill(tmp_path / "here", 2)
    push(tmp_path / "here", ADDRESS)
    assert len(bp.open(ADDRESS)) == 10
    assert len(fetched) == 4
    # What was opened before is what it was.
    assert len(opened.X) == 5


def test_a_copy_that_was_cut_here_is_copied_again(tmp_path: Path) -> None:
    fill(tmp_path / "here", 1)
    push(tmp_path / "here", ADDRESS)
    (vectors,) = bp.open(ADDRESS).folder.glob("shards/*/vectors.npy")
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-10])
    opened = bp.open(ADDRESS)
    assert (vectors.read_bytes(), len(opened.X)) == (whole, 5)


def test_a_file_of_which_half_came_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "here", 1)
    push(tmp_path / "here", ADDRESS)
    system, cuts = type(fsspec.filesystem("memory")), [True]
    get = system.get_file

    def cut(self: object, path: str, target: str, **given: object) -> None:
        get(self, path, target, **given)
        if cuts.pop() if cuts else False:
            data = Path(target).read_bytes()
            Path(target).write_bytes(data[: len(data) // 2])

    monkeypatch.setattr(system, "get_file", cut)
    assert bp.open(ADDRESS).verify().is_whole
    assert not cuts


def test_who_reads_a_copy_reads_on_when_the_store_there_was_compacted(tmp_path: Path) -> None:
    here = tmp_path / "here"
    fill(here, 1)
    expected = fill(here, 2).read_vectors()
    push(here, ADDRESS)
    # Of it nothing is read yet.
    reader = EmbeddingStore.open(ADDRESS)
    bp.open(here).compact()
    push(here, ADDRESS)
    assert len(EmbeddingStore.open(ADDRESS).manifest.shards) == 1
    np.testing.assert_array_equal(reader.read_vectors(), expected)
    assert len(reader.images.column("path")) == 10
    # What nobody reads goes with the next question.
    shards = reader.folder / "shards"
    del reader
    EmbeddingStore.open(ADDRESS)
    assert [one.name for one in shards.iterdir()] == ["c1n00000"]


def test_a_store_that_is_replaced_while_it_is_copied_is_copied_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    fill(here, 1)
    fill(here, 2)
    push(here, ADDRESS)
    fetch, is_first = remote.fetch, [True]

    def fetch_after(address: str, file: Path) -> None:
        if is_first.pop() if is_first else False:
            bp.open(here).compact()
            push(here, ADDRESS)
        fetch(address, file)

    monkeypatch.setattr(remote, "fetch", fetch_after)
    opened = bp.open(ADDRESS)
    assert opened.verify().is_whole
    np.testing.assert_array_equal(opened.X, bp.open(here).X)
    assert len(EmbeddingStore.open(opened.folder).manifest.shards) == 1


def test_nothing_is_written_in_place(tmp_path: Path) -> None:
    fill(tmp_path / "here", 1)
    push(tmp_path / "here", ADDRESS)
    before = list_objects()
    opened = bp.open(ADDRESS)
    for write in (
        lambda: opened.keep_mask("some", [0]),
        lambda: opened.split("family"),
        opened.compact,
        lambda: opened.push("memory://other"),
    ):
        with pytest.raises(bp.StoreError, match="bioprobe store pull"):
            write()
    with pytest.raises(bp.StoreError, match="bioprobe store push"):
        bp.embed(tmp_path, store=ADDRESS, model="sketch")
    assert list_objects() == before
    assert "mask" not in "".join(list_files(opened.folder))


def test_of_two_who_send_the_second_is_told_and_nothing_is_overwritten(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    fill(one, 1)
    push(one, ADDRESS)
    pull(ADDRESS, other)
    fill(one, 2)
    fill(other, 3)
    push(one, ADDRESS)
    before = list_objects()
    with pytest.raises(bp.StoreError, match="is not what this store last saw there"):
        push(other, ADDRESS)
    assert list_objects() == before
    with pytest.raises(bp.StoreError, match=r"changed both in .* and at"):
        pull(ADDRESS, other)
    assert len(EmbeddingStore.open(other)) == 10
    assert bp.open(ADDRESS).verify().is_whole


def test_one_who_sends_between_the_look_and_the_manifest_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    fill(one, 1)
    push(one, ADDRESS)
    pull(ADDRESS, other)
    fill(one, 2)
    fill(other, 3)
    send, is_first = remote.send, [True]

    def send_after(content: bytes | Path, address: str, expected: object) -> object:
        if is_first.pop() if is_first else False:
            push(one, ADDRESS)
        return send(content, address, expected)  # type: ignore[arg-type]

    monkeypatch.setattr(remote, "send", send_after)
    with pytest.raises(bp.StoreError, match="is not what this store last saw there"):
        push(other, ADDRESS)
    opened = bp.open(ADDRESS)
    assert opened.verify().is_whole
    np.testing.assert_array_equal(opened.X, bp.open(one).X)


@pytest.mark.parametrize("n_sent", range(1, 6))
def test_what_was_interrupted_goes_on_and_is_seen_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_sent: int
) -> None:
    here = tmp_path / "here"
    fill(here, 1)
    push(here, ADDRESS)
    fill(here, 2)
    fill(here, 3)
    send, left = remote.send, [n_sent - 1]

    def stop(content: bytes | Path, address: str, expected: object) -> object:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return send(content, address, expected)  # type: ignore[arg-type]

    monkeypatch.setattr(remote, "send", stop)
    with pytest.raises(KeyboardInterrupt):
        push(here, ADDRESS)
    monkeypatch.setattr(remote, "send", send)
    seen = bp.open(ADDRESS)
    assert (len(seen), seen.verify().is_whole) == (5, True)
    done = push(here, ADDRESS)
    assert done.n_moved == 5 - (n_sent - 1)
    assert len(bp.open(ADDRESS)) == 15
    assert len(list_objects()) == len(list_files(here))


def test_what_was_sent_and_not_noted_is_compared_and_not_sent_twice(tmp_path: Path) -> None:
    here = tmp_path / "here"
    fill(here, 1)
    push(here, ADDRESS)
    (here / ".remote.json").unlink()
    assert push(here, ADDRESS).n_moved == 0
    system = fsspec.filesystem("memory")
    (path,) = system.glob("/bucket/stores/photos/shards/*/vectors.npy")
    data = system.cat_file(path)
    system.pipe_file(path, bytes(len(data)))
    with pytest.raises(bp.StoreError, match="is not what this store last saw there"):
        push(here, ADDRESS)


def test_damage_at_an_address_is_told_and_no_store_is_made_of_it(tmp_path: Path) -> None:
    fill(tmp_path / "here", 1)
    push(tmp_path / "here", ADDRESS)
    system = fsspec.filesystem("memory")
    (path,) = system.glob("/bucket/stores/photos/shards/*/vectors.npy")
    data = system.cat_file(path)
    system.pipe_file(path, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(bp.StoreError, match="is damaged: its SHA-256"):
        bp.open(ADDRESS)
    with pytest.raises(bp.StoreError, match="is damaged: its SHA-256"):
        pull(ADDRESS, tmp_path / "there")
    assert not EmbeddingStore.exists(tmp_path / "there")
    system.rm_file(path)
    with pytest.raises(bp.StoreError, match="which its manifest names"):
        bp.open(ADDRESS)


def test_objects_whose_names_lead_out_of_the_store_are_left_where_they_are(tmp_path: Path) -> None:
    fill(tmp_path / "here", 1)
    # What a repair laid aside is of the store here alone.
    aside = tmp_path / "here" / "damaged" / "00000" / "vectors.npy"
    aside.parent.mkdir(parents=True)
    aside.write_bytes(b"damaged")
    push(tmp_path / "here", ADDRESS)
    assert not [path for path in list_objects() if "damaged" in path]
    system = fsspec.filesystem("memory")
    system.store["/bucket/stores/photos/../../escaped.txt"] = system.store[
        "/bucket/stores/photos/manifest.json"
    ]
    pull(ADDRESS, tmp_path / "deep" / "there")
    assert not list(tmp_path.rglob("escaped.txt"))


def test_where_no_store_is_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(bp.StoreError, match="no store at memory://bucket/stores/photos"):
        bp.open(ADDRESS)
    with pytest.raises(bp.StoreError, match="no store at memory://bucket/stores/photos"):
        pull(ADDRESS, tmp_path / "there")
    assert not (tmp_path / "there").exists()
    fill(tmp_path / "here", 1)
    with pytest.raises(bp.MisuseError, match="is no address of a bucket or hub"):
        bp.open(tmp_path / "here").push("https://host/store")


def test_a_store_that_is_written_is_not_sent(tmp_path: Path) -> None:
    store = fill(tmp_path / "here", 1)
    with FileLock(store.folder / ".lock"), pytest.raises(bp.StoreLockedError):
        push(store.folder, ADDRESS)
    assert list_objects() == {}
