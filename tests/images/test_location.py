from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bioprobe.embedding import embed_images
from bioprobe.errors import ImageReadError
from bioprobe.images.location import MAX_BYTES, ImageLocation, read_file, read_name, write_name
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder


@pytest.mark.parametrize(
    "raw",
    [b"plain.jpg", "café.jpg".encode(), b"caf\xe9.jpg", b"\xff\xfe\x80", "\uef80x".encode(),
     "\uefff".encode() + b"\xe9", "雪豹 🐆.jpg".encode(), b"\xee\xbe"],
)  # fmt: skip
def test_every_name_is_written_as_text_and_read_again(raw: bytes) -> None:
    name = os.fsdecode(raw)
    text = write_name(name)
    text.encode("utf-8")
    assert read_name(text) == name
    assert os.fsencode(read_name(text)) == raw


def test_names_that_tables_can_hold_stay_as_they_are() -> None:
    for name in ("a, b.jpg", 'a "quoted".jpg', "a\nb.jpg", "ñandú.jpg", "\ue000.jpg"):
        assert write_name(name) == name


def test_different_names_are_written_differently() -> None:
    # The byte, and the character that stands for it.
    assert write_name("\udce9") != write_name("\uefe9")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda file: os.mkfifo(file), "a pipe, not a file"),
        (lambda file: file.symlink_to("/dev/zero"), "a device, not a file"),
    ],
    ids=["pipe", "device"],
)
def test_what_could_wait_for_ever_is_refused(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "a.jpg")
    with pytest.raises(ImageReadError, match=reason):
        ImageLocation(str(tmp_path), "a.jpg").read_bytes()


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the whole path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("a.jpg")
        with pytest.raises(ImageReadError, match="a socket, not a file"):
            read_file(tmp_path / "a.jpg")


def test_a_file_larger_than_any_picture_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "video.jpg").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageReadError, match=r"2,147,483,649 bytes, more than any picture"):
        read_file(tmp_path / "video.jpg")


NAMES = [b"a, b.png", b'a "quoted" \'b\'.png', b"a\nb.png", b"caf\xe9.png", "雪豹.PNG".encode(),
         b" leading.png", b"%41.png", b"#1.png", b"-.png"]  # fmt: skip


def _write_odd_names(folder: Path) -> list[bytes]:
    for number, name in enumerate(NAMES):
        Image.new("RGB", (8 + number, 8), (number, 9, 9)).save(
            os.fsencode(folder) + b"/" + name, "PNG"
        )
    return sorted(NAMES)


def test_odd_names_are_embedded_and_found_again(tmp_path: Path, encoder: PlainEncoder) -> None:
    photos = tmp_path / os.fsdecode(b"photos-\xe9")
    photos.mkdir()
    names = _write_odd_names(photos)
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    table = find_images([photos], SourceOptions(folder_rank=Rank.FAMILY))
    assert embed_images(table, encoder, store).n_embedded == len(names)
    store = EmbeddingStore.open(store.folder)
    assert verify_store(store) == []
    files = [store.images.find_file(row) for row in range(len(store))]
    assert sorted(os.fsencode(file.name) for file in files) == names
    assert all(file.is_file() for file in files)
    # Listed from above it is the same file.
    assert embed_images(find_images([tmp_path]), encoder, store).n_kept == len(names)


def test_a_bad_file_with_an_odd_name_is_listed(tmp_path: Path, encoder: PlainEncoder) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"")
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    assert embed_images(find_images([tmp_path]), encoder, store).n_failed == 1
    assert store.read_failures()["path"].tolist() == ["caf\uefe9.jpg"]


def test_an_odd_name_in_a_table_names_its_file(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    file.write_bytes(b"here")
    table = tmp_path / "t.csv"
    table.write_text(f"path\n{write_name(file.name)}\n", encoding="utf-8")
    assert find_images([table]).locate(0).read_bytes() == b"here"
