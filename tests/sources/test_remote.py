"""Folders, tables and pictures at addresses are sources as those of a disk are."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe import remote
from bioprobe.errors import MisuseError, SourceError
from bioprobe.images.location import read_image_bytes
from bioprobe.sources.source import SourceOptions, find_images, recognise_source

ADDRESS = "memory://bucket/photos"


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").store.clear()
    monkeypatch.setattr(remote, "_named", set())
    monkeypatch.setattr(remote, "_FIRST_PAUSE_S", 0.0)


@pytest.fixture(name="photos")
def draw_photos(tmp_path: Path) -> Path:
    """Return a folder of pictures, one of them no picture, with thumbnails and labels."""
    photos = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for name in ("Felidae/a é#?.jpg", "Felidae/b.jpg", "Canidae/c.png", "@eaDir/b.jpg"):
        file = photos / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(file)
    (photos / "Canidae" / "broken.jpg").write_bytes(b"no picture")
    (photos / "Felidae" / "notes.doc").write_bytes(b"")
    table = "file_name,site\nFelidae/b.jpg,north\nFelidae/gone.jpg,south\n"
    (photos / "metadata.csv").write_text(table, encoding="utf-8")
    return photos


def put(folder: Path, address: str = ADDRESS) -> None:
    for file in filter(Path.is_file, sorted(folder.rglob("*"))):
        remote.send(file, f"{address}/{file.relative_to(folder).as_posix()}", None)


def test_a_folder_at_an_address_fills_the_same_store_as_one_of_a_disk(
    photos: Path, tmp_path: Path
) -> None:
    put(photos)
    here, there = (
        bp.embed(source, store=tmp_path / name, model="sketch", folder_rank="family")
        for name, source in (("here", photos), ("there", ADDRESS))
    )
    pd.testing.assert_frame_equal(
        there.images.drop(columns="root"), here.images.drop(columns="root")
    )
    assert set(there.images["root"]) == {ADDRESS}
    vectors = [
        [file.read_bytes() for file in sorted((tmp_path / one).glob("shards/*/vectors.npy"))]
        for one in ("here", "there")
    ]
    assert vectors[0]
    assert vectors[0] == vectors[1]
    columns = ["path", "reason"]
    pd.testing.assert_frame_equal(there.failures[columns], here.failures[columns])
    said = [[str(n) for n in one.notes if "left out" in str(n)] for one in (here, there)]
    assert said[1] == [text.replace(str(photos), ADDRESS) for text in said[0]]


def test_what_has_not_changed_is_not_read_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(photos)
    bp.embed(ADDRESS, store=tmp_path / "store", model="sketch")
    asked: list[str] = []
    read = remote.read

    def note(address: str, **given: int | None) -> bytes:
        asked.append(address)
        return read(address, **given)

    monkeypatch.setattr(remote, "read", note)
    again = bp.embed(ADDRESS, store=tmp_path / "store", model="sketch")
    failed = {f"{ADDRESS}/Canidae/broken.jpg", f"{ADDRESS}/Felidae/gone.jpg"}
    assert again.summary is not None
    assert (set(asked), again.summary.n_kept) == (failed, 3)
    asked.clear()
    fsspec.filesystem("memory").pipe_file(
        "/bucket/photos/Felidae/b.jpg", (photos / "Canidae" / "c.png").read_bytes()
    )
    fsspec.filesystem("memory").rm_file("/bucket/photos/Canidae/c.png")
    changed = bp.embed(ADDRESS, store=tmp_path / "store", model="sketch", prune=True)
    assert set(asked) - failed == {f"{ADDRESS}/Felidae/b.jpg"}
    assert sorted(changed.images["path"]) == ["Felidae/a é#?.jpg", "Felidae/b.jpg"]


def test_an_address_that_fails_now_and_then_is_asked_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(photos)
    system, failing = fsspec.filesystem("memory"), {"a é#?.jpg": 3, "b.jpg": remote.TRIES}
    cat = type(system).cat_file

    def fail(self: object, path: str, **given: object) -> bytes:
        name = path.rpartition("/")[2]
        data: bytes = cat(self, path, **given)
        failing[name] = failing.get(name, 0) - 1
        # Half of it comes, as over a connection that breaks.
        return data[: len(data) // 2] if failing[name] >= 0 else data

    monkeypatch.setattr(type(system), "cat_file", fail)
    first = bp.embed(ADDRESS, store=tmp_path / "store", model="sketch")
    assert sorted(first.images["path"]) == ["Canidae/c.png", "Felidae/a é#?.jpg"]
    (reason,) = first.failures.query("path == 'Felidae/b.jpg'")["reason"]
    assert reason.startswith("the address does not answer as it should; a later run tries again")
    assert f"asked {remote.TRIES} times" in reason
    second = bp.embed(ADDRESS, store=tmp_path / "store", model="sketch")
    assert sorted(second.images["path"]) == ["Canidae/c.png", "Felidae/a é#?.jpg", "Felidae/b.jpg"]


def test_a_table_on_a_disk_or_at_an_address_names_objects(photos: Path, tmp_path: Path) -> None:
    put(photos)
    rows = "path,site\nFelidae\\b.jpg,north\n../secret.jpg,south\n/Canidae/c.png,east\n"
    table = tmp_path / "table.csv"
    table.write_text(rows, encoding="utf-8")
    remote.send(table, f"{ADDRESS}/labels.csv", None)
    from_disk = find_images([table], SourceOptions(root=Path(ADDRESS)))
    from_there = find_images([Path(f"{ADDRESS}/labels.csv")])
    for listed in (from_disk, from_there):
        assert listed.frame["path"].tolist() == [
            "Felidae/b.jpg", "../secret.jpg", "Canidae/c.png",
        ]  # fmt: skip
        assert set(listed.frame["root"]) == {ADDRESS}
        assert list(listed.reasons) == [f"{ADDRESS}/../secret.jpg"]
    assert not any("cache" in str(note) for note in from_there.notes)
    paths = tmp_path / "list.txt"
    paths.write_text("Felidae/b.jpg\n", encoding="utf-8")
    listed = find_images([paths], SourceOptions(root=Path(ADDRESS)))
    assert listed.frame[["root", "path"]].values.tolist() == [[ADDRESS, "Felidae/b.jpg"]]


def test_a_row_of_an_address_that_nobody_named_is_not_asked(photos: Path, tmp_path: Path) -> None:
    put(photos)
    table = tmp_path / "elsewhere" / "table.csv"
    table.parent.mkdir()
    table.write_text(f"path\n{ADDRESS}/Felidae/b.jpg\n", encoding="utf-8")
    with pytest.raises(SourceError, match="nothing is fetched unless asked"):
        bp.embed(table, store=tmp_path / "store", model="sketch")
    assert not remote.is_named(ADDRESS)
    remote.name("memory://bucket")
    assert remote.is_named(ADDRESS)
    assert not remote.is_named("memory://buckets/photos")
    assert not remote.is_named("memory://bucket/../other")
    with pytest.raises(bp.ImageReadError, match="leads out of the address"):
        read_image_bytes("memory://bucket/photos", "../secret.jpg")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "nothing is below"),
        ("none.csv", "nothing is there"),
        ("photos.zip", "an archive, which is read from a disk alone"),
        ("photos/Felidae/notes.doc", "is no picture, table or list by its name"),
    ],
)
def test_what_is_no_source_is_refused(photos: Path, name: str, reason: str) -> None:
    put(photos)
    with pytest.raises(SourceError, match=reason):
        find_images([Path(f"memory://bucket/{name}")])


def test_an_address_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(MisuseError, match="with a password in it") as told:
        recognise_source(Path("sftp://me:sesame@host/photos"), SourceOptions())
    assert "sesame" not in str(told.value)


def test_a_library_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_address: str) -> None:
        msg = "Install s3fs to access S3"
        raise ImportError(msg)

    monkeypatch.setattr(fsspec, "get_filesystem_class", refuse)
    with pytest.raises(bp.MissingExtraError, match=r"pip install 'bioprobe\[remote\]'"):
        find_images([Path("s3://bucket/photos")])


def test_an_object_that_no_folder_could_hold_is_a_failure(photos: Path) -> None:
    put(photos)
    fsspec.filesystem("memory").pipe_file("/bucket/photos/Felidae//d.jpg", b"")
    listed = find_images([Path(ADDRESS)])
    assert [path for _, path, _ in listed.unread] == ["Felidae//d.jpg"]


def test_many_pictures_are_waited_for_at_one_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for number in range(24):
        file = tmp_path / "photos" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file)
    put(tmp_path / "photos")
    waiting, most, turn, read = [0], [0], threading.Lock(), remote.read

    def wait(address: str, **given: int | None) -> bytes:
        with turn:
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
        time.sleep(0.1)
        with turn:
            waiting[0] -= 1
        return read(address, **given)

    monkeypatch.setattr(remote, "read", wait)
    bp.embed(ADDRESS, store=tmp_path / "store", model="sketch")
    assert 4 < most[0] <= 16
    most[0] = 0
    bp.embed(ADDRESS, store=tmp_path / "other", model="sketch", threads=1)
    assert most[0] == 1


def test_a_name_leads_to_no_other_address() -> None:
    """Where fsspec chains addresses by ``::``, a listing or a table has it in a name."""
    for name in ("a::b.jpg", "a::memory://bucket/private/c.jpg"):
        remote.send(b"1", f"{ADDRESS}/{name}", None)
        assert remote.read(f"{ADDRESS}/{name}") == b"1"
    assert remote.look(f"{ADDRESS}/a") is None
    assert remote.list_below("memory://bucket/private") == {}
