"""Zip and tar files of pictures: what is read where it lies, and what is not."""

from __future__ import annotations

import io
import json
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioprobe.errors import ImageReadError, SourceError
from bioprobe.images import archives
from bioprobe.images.archives import find_archive_kind, open_archive
from bioprobe.sources.packages import Package
from bioprobe.sources.source import find_images


def _draw() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "JPEG")
    return stream.getvalue()


def _zip(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_members_are_read_where_they_lie(tmp_path: Path) -> None:
    data = _draw()
    members = {"x/a.jpg": data, "b.jpg": b"b" * 2000}
    for file in (_zip(tmp_path / "a.zip", **members), _tar(tmp_path / "a.tar", members)):
        archive = open_archive(file)
        assert list(archive.members) == ["x/a.jpg", "b.jpg"]
        assert archive.read("x/a.jpg") == data
        archive.write("b.jpg", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"b" * 2000
        with pytest.raises(ImageReadError, match="no such file"):
            archive.read("c.jpg")


def test_an_archive_that_changed_is_opened_again(tmp_path: Path) -> None:
    file = _zip(tmp_path / "a.zip", **{"a.jpg": b"1"})
    first = open_archive(file)
    assert open_archive(file) is first
    _zip(file, **{"a.jpg": b"1", "b.jpg": b"22"})
    assert list(open_archive(file).members) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "C:/a.jpg"])
def test_a_name_that_leads_out_is_not_read(tmp_path: Path, name: str) -> None:
    for file in (_zip(tmp_path / "a.zip", **{name: b"1"}), _tar(tmp_path / "a.tar", {name: b"1"})):
        archive = open_archive(file)
        assert not archive.members
        assert archive.unread == {name: "its name leads out of the archive"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    for file, count in ((tmp_path / "a.zip", 1), (tmp_path / "a.tar", 2)):
        opened = open_archive(file)
        assert not opened.members
        assert len(opened.unread) == count
        assert all("link" in why for why in opened.unread.values())


def test_an_encrypted_member_is_refused_with_its_reason(tmp_path: Path) -> None:
    file = _zip(tmp_path / "a.zip", **{"a.jpg": b"1", "b.jpg": b"2"})
    data = bytearray(file.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    file.write_bytes(bytes(data))
    archive = open_archive(file)
    assert list(archive.members) == ["b.jpg"]
    assert "encrypted" in archive.unread["a.jpg"]


def test_a_zip_that_is_cut_off_says_so(tmp_path: Path) -> None:
    file = _zip(tmp_path / "a.zip", **{"a.jpg": _draw()})
    file.write_bytes(file.read_bytes()[:-30])
    archive = open_archive(file)
    assert list(archive.members) == ["a.jpg"]
    assert "cut off" in archive.problem


def test_a_tar_that_is_cut_off_keeps_what_is_whole(tmp_path: Path) -> None:
    file = _tar(tmp_path / "a.tar", {"a.jpg": b"1" * 600, "b.jpg": b"2" * 3000})
    file.write_bytes(file.read_bytes()[:3000])
    archive = open_archive(file)
    assert list(archive.members) == ["a.jpg"]
    assert archive.unread == {"b.jpg": "the archive is cut off in it"}
    whole = _tar(tmp_path / "b.tar", {"a.jpg": b"1" * 512})
    whole.write_bytes(whole.read_bytes()[:1024])
    assert "cut off" in open_archive(whole).problem


def test_a_damaged_member_is_no_picture_and_stops_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.jpg", np.arange(3000, dtype=np.uint8).tobytes() * 3)
        packed.writestr("b.jpg", b"whole")
    data = bytearray(file.read_bytes())
    data[60:90] = bytes(30)
    file.write_bytes(bytes(data))
    archive = open_archive(file)
    with pytest.raises(ImageReadError):
        archive.read("a.jpg")
    assert archive.read("b.jpg") == b"whole"


def test_names_of_other_code_pages_and_forms_are_found(tmp_path: Path) -> None:
    name = "h\u00f6he.jpg"
    packed = zipfile.ZipInfo("hohe.jpg")
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(packed, b"1")
    # UTF-8 that is not marked as such, as much of what packs writes it.
    raw = file.read_bytes().replace(b"hohe.jpg", "h\u00f6he.j".encode() + b"p")
    file.write_bytes(raw)
    assert list(open_archive(file).members) == ["h\u00f6he.jp"]
    nfd = _tar(tmp_path / "a.tar", {unicodedata.normalize("NFD", name): b"1"})
    assert open_archive(nfd).read(name) == b"1"
    dos = tmp_path / "dos.zip"
    with zipfile.ZipFile(dos, "w") as archive:
        archive.writestr(zipfile.ZipInfo("hXhe.jpg"), b"1")
    dos.write_bytes(dos.read_bytes().replace(b"hXhe.jpg", b"h\x94he.jpg"))
    assert list(open_archive(dos).members) == [name]


def test_a_member_of_too_many_bytes_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBER_BYTES", 10)
    archive = open_archive(_zip(tmp_path / "a.zip", **{"a.jpg": b"1" * 11}))
    with pytest.raises(ImageReadError, match="more than any picture"):
        archive.read("a.jpg")


@pytest.mark.parametrize(("mode", "ending"), [("w:gz", "gz"), ("w:bz2", "bz2"), ("w:xz", "xz")])
def test_a_tar_that_is_compressed_as_a_whole_is_refused(
    tmp_path: Path, mode: str, ending: str
) -> None:
    file = _tar(tmp_path / f"a.tar.{ending}", {"a.jpg": _draw()}, mode)
    with pytest.raises(SourceError, match=r"unpack it to a plain \.tar"):
        find_images([file])


def test_kinds_are_told_by_first_bytes() -> None:
    assert find_archive_kind(b"PK\x03\x04") == "zip"
    assert find_archive_kind(b"\x1f\x8b") == "gzip"
    assert find_archive_kind(b"GIF89a") == ""


def test_labels_of_webdataset_lie_beside_the_pictures(tmp_path: Path) -> None:
    members = {
        "a.jpg": _draw(), "a.json": json.dumps({"species": "Lynx lynx", "n": 3}).encode(),
        "b.jpg": _draw(), "b.cls": b"7", "b.txt": b"a lynx", "c.jpg": _draw(), "c.json": b"{",
    }  # fmt: skip
    listing = find_images([_tar(tmp_path / "s.tar", members)])
    frame = listing.frame.set_index("path")
    assert frame.loc["a.jpg", "species"] == "Lynx lynx"
    assert frame.loc["b.jpg", "caption"] == "a lynx"
    assert str(frame.loc["b.jpg", "label"]) == "7"
    assert any("c.json" in str(note) for note in listing.notes)


def test_a_missing_shard_is_said_or_refused(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        _tar(tmp_path / f"s-{number}.tar", {f"{number}.jpg": _draw()})
    listing = find_images([tmp_path])
    assert len(listing) == 3
    assert any("no s-2" in str(note) for note in listing.notes)
    with pytest.raises(SourceError, match=r"s-2\.tar"):
        find_images([tmp_path / "s-{0..3}.tar"])


def test_a_package_is_a_folder_or_a_zip(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "T.csv").write_text("x")
    file = _zip(tmp_path / "a.zip", **{"in/T.csv": b"x", "in/p/a.jpg": b"1", "__MACOSX/b": b""})
    for package in (Package(tmp_path / "in"), Package(file)):
        assert package.find("no.csv", "t.csv") == "T.csv"
        assert package.holds("T.csv")
        with package.as_file("T.csv") as table:
            assert table.read_text() == "x"
        for name in ("../T.csv", "/T.csv", "gone.csv", "a\0"):
            with pytest.raises(SourceError), package.as_file(name):
                pass
    assert Package(file).place("p\\a.jpg") == (f"archive:{file}", "in/p/a.jpg")
    assert Package(tmp_path / "in").place("p/a.jpg") == (str(tmp_path / "in"), "p/a.jpg")
    assert Package(file).place("a.jpg", tmp_path) == (str(tmp_path), "a.jpg")
    assert Package.look(tmp_path / "in" / "T.csv", "t.csv") == Package(tmp_path / "in")
    assert Package.look(tmp_path / "in" / "T.csv") is None


def test_a_folder_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    assert Package(tmp_path).find("meta.xml") == ""
    (tmp_path / "Meta.xml").touch()
    assert Package(tmp_path).find("meta.xml") == "Meta.xml"
