"""Zip and tar files: what is in them is read where it lies, and nothing that is not safe."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bioprobe.embedding import embed_images
from bioprobe.errors import ImageReadError, SourceError
from bioprobe.images.archives import open_archive
from bioprobe.images.location import read_image_bytes
from bioprobe.sources.listing import Listing
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder


def _draw(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (9, 8), (number * 40 % 256, 90, number * 7 % 256)).save(stream, "PNG")
    return stream.getvalue()


def _zip(file: Path, members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", method) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return file


def _tar(file: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(file, "w") as packed:
        for one in members:
            if isinstance(one, tarfile.TarInfo):
                packed.addfile(one)
            else:
                info = tarfile.TarInfo(one[0])
                info.size = len(one[1])
                packed.addfile(info, io.BytesIO(one[1]))
    return file


def _say(listing: Listing) -> str:
    return " | ".join(note.text for note in listing.notes)


def _get_paths(listing: Listing) -> list[str]:
    return listing.frame["path"].tolist()


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_members_are_read_without_unpacking(tmp_path: Path, method: int) -> None:
    file = _zip(tmp_path / "x.bin", {"a/1.png": _draw(1), "a/2.png": _draw(2)}, method)
    listing = find_images([file])
    assert _get_paths(listing) == ["a/1.png", "a/2.png"]
    assert read_image_bytes(listing.frame["root"][0], "a/2.png") == _draw(2)
    assert listing.locate(0).find_file() is None


def test_what_lies_beside_a_picture_is_its_label(tmp_path: Path) -> None:
    said = json.dumps({"species": "Panthera leo", "site": 3})
    file = _tar(
        tmp_path / "shard-000000.tar", ("1.png", _draw(1)), ("1.json", said.encode()),
        ("2.png", _draw(2)), ("2.json", b"{"), ("3.jpg", _draw(3)), ("3.cls", b"wolf"),
    )  # fmt: skip
    listing = find_images([file])
    assert listing.frame["species"].tolist() == ["Panthera leo", "", ""]
    assert "2.json" in _say(listing)


def test_a_name_with_dots_takes_the_labels_of_no_other_picture(tmp_path: Path) -> None:
    listing = find_images([
        _tar(
            tmp_path / "s.tar",
            *((f"IMG.2020.{n}.png", _draw(n)) for n in (1, 2, 3)),
            *((f"IMG.2020.{n}.json", json.dumps({"n": n}).encode()) for n in (1, 2, 4)),
        )
    ])  # fmt: skip
    assert listing.frame["n"].fillna(0).tolist() == [1, 2, 0]


def test_side_files_with_a_name_of_their_own_are_columns_of_that_name(tmp_path: Path) -> None:
    listing = find_images([
        _tar(
            tmp_path / "s.tar", ("1.png", _draw(1)), ("1.scientific_name.txt", b"Panthera leo"),
            ("1.site.cls", b"7"), ("1.txt", b"a lion"), ("1.bad.txt", b"\xff\xfe"),
        )
    ])  # fmt: skip
    assert listing.labels("species") == ["Panthera leo"]
    assert listing.frame[["site", "caption"]].to_numpy().tolist() == [["7", "a lion"]]
    assert "1.bad.txt in" in _say(listing)
    assert "it is no text in UTF-8" in _say(listing)


def test_members_that_are_not_safe_are_failures(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("device.png")
    device.type = tarfile.CHRTYPE
    file = _tar(
        tmp_path / "x.tar", ("1.png", _draw(1)), link, device, ("../up.png", _draw(2)),
        ("/top.png", _draw(2)),
    )  # fmt: skip
    listing = find_images([file])
    assert _get_paths(listing) == ["1.png"]
    reasons = {path: why for _, path, why in listing.unread}
    assert set(reasons) == {"link.png", "device.png", "../up.png", "/top.png"}
    assert "link or a device" in reasons["link.png"]
    assert "leads out" in reasons["../up.png"]
    for name in reasons:
        with pytest.raises(ImageReadError):
            read_image_bytes(listing.frame["root"][0], name)


def test_links_and_encrypted_members_of_a_zip_are_failures(tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("1.png", _draw(1))
        link = zipfile.ZipInfo("link.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
        packed.writestr("secret.png", _draw(2))
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02", data.rindex(b"PK\x01\x02") - 1)
    data[at + 8] |= 1
    file.write_bytes(data)
    listing = find_images([file])
    reasons = {path: why for _, path, why in listing.unread}
    assert _get_paths(listing) == ["1.png"]
    assert "link" in reasons["link.png"]
    assert "encrypted" in reasons["secret.png"]


def test_an_archive_that_would_be_far_more_than_its_file_is_refused(tmp_path: Path) -> None:
    file = _zip(tmp_path / "x.zip", {"1.png": _draw(1), "2.png": b"\0" * 1000})
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 100 << 20)
    file.write_bytes(data)
    listing = find_images([file])
    assert _get_paths(listing) == ["1.png"]
    assert "more than 200 times" in listing.unread[0][2]
    struct.pack_into("<I", data, at + 24, 3 << 30)
    file.write_bytes(data)
    with pytest.raises(SourceError, match="when it is unpacked"):
        find_images([file])


@pytest.mark.parametrize("n_lost", [30, 200, 400])
def test_what_is_left_of_a_zip_that_was_cut_is_read(tmp_path: Path, n_lost: int) -> None:
    file = _zip(tmp_path / "x.zip", {f"{n}.png": _draw(n) for n in range(1, 8)})
    whole = file.read_bytes()
    file.write_bytes(whole[:-n_lost])
    listing = find_images([file])
    assert _get_paths(listing)[:4] == [f"{n}.png" for n in range(1, 5)]
    assert "cut off" in _say(listing)
    for path in _get_paths(listing):
        assert read_image_bytes(listing.frame["root"][0], path) == _draw(int(path[0]))


def test_a_streamed_zip_that_was_cut_is_read(tmp_path: Path) -> None:
    class _Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    stream = _Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for n in (1, 2, 3):
            packed.writestr(f"{n}.png", _draw(n))
    file = tmp_path / "x.zip"
    file.write_bytes(bytes(stream.data[: stream.data.index(b"PK\x01\x02")]))
    listing = find_images([file])
    assert _get_paths(listing) == ["1.png", "2.png", "3.png"]
    assert read_image_bytes(listing.frame["root"][0], "3.png") == _draw(3)


def test_a_tar_that_was_cut_says_so(tmp_path: Path) -> None:
    file = _tar(tmp_path / "x.tar", *((f"{n}.png", _draw(n)) for n in (1, 2, 3)))
    file.write_bytes(file.read_bytes()[: 2 * 1024 + 512 + 20])
    listing = find_images([file])
    assert _get_paths(listing) == ["1.png", "2.png"]
    assert "cut off" in _say(listing) + str(listing.unread)


def test_names_are_read_in_whatever_form_they_are_packed(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Löwe.png")
    file = _zip(tmp_path / "x.zip", {decomposed: _draw(1), "Bär.png": _draw(2)})
    data = file.read_bytes().replace("Bär".encode(), "B\x84r ".encode("latin-1"))
    file.write_bytes(data)
    listing = find_images([file])
    assert _get_paths(listing)[0] == unicodedata.normalize("NFC", decomposed)
    for path in _get_paths(listing):
        assert read_image_bytes(listing.frame["root"][0], path)


def test_tables_in_a_zip_are_of_its_pictures(tmp_path: Path) -> None:
    table = "file_name,species\na.png,Panthera leo\n"
    file = _zip(
        tmp_path / "x.zip",
        {"in/metadata.csv": table, "in/a.png": _draw(1), "b.png": _draw(2), "inner.zip": "PK"},
    )
    listing = find_images([file])
    assert dict(zip(listing.frame["path"], listing.frame["species"], strict=True)) == {
        "in/a.png": "Panthera leo", "b.png": "",
    }  # fmt: skip
    assert "inner.zip" in _say(listing)


def test_what_is_gone_from_an_archive_is_pruned_unless_it_was_cut(tmp_path: Path) -> None:
    file = _zip(tmp_path / "x.zip", {f"{n}.png": _draw(n) for n in (1, 2, 3)})
    encoder = PlainEncoder()
    store = EmbeddingStore.create(tmp_path / "store", encoder.fingerprint, dim=encoder.dim)
    assert embed_images(find_images([file]), encoder, store).n_embedded == 3
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rindex(b"PK\x03\x04")])
    store = EmbeddingStore.open(store.folder)
    assert embed_images(find_images([file]), encoder, store, prune=True).n_pruned == 0
    _zip(file, {"1.png": _draw(1)})
    store = EmbeddingStore.open(store.folder)
    assert embed_images(find_images([file]), encoder, store, prune=True).n_pruned == 2
    images = EmbeddingStore.open(store.folder)
    assert images.images.locate(int(images.rows[0])).read_bytes() == _draw(1)


@pytest.mark.parametrize(
    "pack", [lambda data: b"\x1f\x8b" + data, lambda data: b"PK\x03\x04" + data]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(pack(b"\0" * 600))
    with pytest.raises(SourceError):
        open_archive(file)


@pytest.mark.shared
def test_the_shard_of_the_field_files_has_its_labels(shared_dir: Path) -> None:
    listing = find_images([shared_dir / "data" / "field-files" / "shard-000000.tar"])
    assert len(listing) == 8
    assert listing.frame["species"].nunique() == 4
