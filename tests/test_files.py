from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bioprobe.errors import StoreError
from bioprobe.files import (
    check_target,
    find_data,
    find_part,
    hash_file,
    read_whole,
    remove_folder,
    replacing,
    sweep_temporaries,
    write_card,
    write_set,
    write_text,
)


def test_a_file_is_replaced_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_whoever_reads_the_old_file_reads_it_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old and long")
    with path.open() as reader:
        assert reader.read(3) == "old"
        write_text(path, "new")
        assert reader.read() == " and long"
    assert path.read_text() == "new"


def test_the_old_file_stands_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    dead, other = tmp_path / ".note.txt.ab12cd34.tmp", tmp_path / ".else.txt.ab12cd34.tmp"
    for left in (dead, other):
        left.touch()
    with replacing(path) as first:
        first.write_text("first")
        write_text(path, "second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert sorted(tmp_path.iterdir()) == [other, path]
    sweep_temporaries(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one_and_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "a" / "target", tmp_path / "link", tmp_path / "pipe"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    check_target(pipe)
    write_text(pipe, "through")
    assert os.read(reader, 99) == b"through"
    os.close(reader)


@contextlib.contextmanager
def _let_no_file_grow() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _write_card(card: Path, content: bytes) -> None:
    write_card(card, [(".bin", lambda file: file.write_bytes(content))], "".join)


def _read_card(card: Path) -> bytes:
    return find_data(card, card.read_text(), ".bin").read_bytes()


def test_data_are_replaced_by_the_rename_of_their_card(tmp_path: Path) -> None:
    card = tmp_path / "new" / "card.json"
    _write_card(card, b"old")
    (old,) = card.parent.glob("*.bin")

    def describe(digests: Sequence[str]) -> str:
        # The new data are there already.
        assert len(list(card.parent.glob("*.bin"))) == 2
        assert _read_card(card) == b"old"
        raise KeyboardInterrupt(digests[0])

    with pytest.raises(KeyboardInterrupt):
        write_card(card, [(".bin", lambda file: file.write_bytes(b"half"))], describe)
    assert list(card.parent.glob("*.bin")) == [old]
    _write_card(card, b"new")
    assert _read_card(card) == b"new"
    assert not old.exists()
    assert len(list(card.parent.iterdir())) == 2


def test_data_that_earlier_versions_named_are_found_and_go(tmp_path: Path) -> None:
    card, old = tmp_path / "card.json", tmp_path / "card.bin"
    card.write_text(hashlib.sha256(b"old").hexdigest())
    old.write_bytes(b"old")
    assert _read_card(card) == b"old"
    _write_card(card, b"new")
    assert _read_card(card) == b"new"
    assert not old.exists()


def test_a_reader_beside_a_writer_reads_again(tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    _write_card(card, b"old")
    seen: list[str] = []

    def read() -> bytes:
        seen.append(card.read_text())
        if len(seen) == 1:
            _write_card(card, b"new")
        path = find_data(card, seen[-1], ".bin")
        if not path.exists():
            msg = "gone"
            raise StoreError(msg)
        return path.read_bytes()

    assert read_whole(card, read) == b"new"
    for data in tmp_path.glob("*.bin"):
        data.unlink()
    with pytest.raises(StoreError, match="gone"):
        read_whole(card, read)


def test_a_card_that_holds_again_what_it_held_was_replaced_all_the_same(tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    _write_card(card, b"one")
    n_read = 0

    def read() -> bytes:
        nonlocal n_read
        n_read += 1
        if n_read == 1:
            _write_card(card, b"other")
            _write_card(card, b"one")
            msg = "the data of the first were gone meanwhile"
            raise StoreError(msg)
        return find_data(card, card.read_text(), ".bin").read_bytes()

    assert (read_whole(card, read), n_read) == (b"one", 2)


def test_a_disk_that_is_full_is_told_and_the_old_file_stands(tmp_path: Path) -> None:
    (path := tmp_path / "note.txt").write_text("old")
    writes: tuple[Callable[[], None], ...] = (
        lambda: write_text(path, "long enough"),
        lambda: _write_card(tmp_path / "card.json", b"long enough"),
        lambda: write_set(path, [(tmp_path / "x", lambda f: f.write_bytes(b"12345"))], "".join),
    )
    for write in writes:
        with (
            pytest.raises(StoreError, match=r"cannot be written: file too large; .* free space"),
            _let_no_file_grow(),
        ):
            write()
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


def test_files_that_belong_together_are_read_together(tmp_path: Path) -> None:
    card, part = tmp_path / "set.json", tmp_path / "set.bin"

    def write(content: bytes) -> None:
        write_set(card, [(part, lambda file: file.write_bytes(content))], "".join)

    write(b"old")
    assert (find_part(card, part), part.read_bytes()) == (part, b"old")
    before = card.read_text()
    digest = hashlib.sha256(b"new").hexdigest()
    waiting = tmp_path / f".set.bin.{hashlib.sha256(digest.encode()).hexdigest()[:16]}.tmp"
    # As a killed writer leaves it: before the card has its name, and after that.
    waiting.write_bytes(b"new")
    assert find_part(card, part) == part
    card.write_text(digest)
    assert find_part(card, part) == waiting
    write(b"next")
    assert find_part(card, part).read_bytes() == b"next"
    assert before != card.read_text()
    assert sorted(tmp_path.iterdir()) == [part, card]


def test_what_cannot_be_written_is_refused_before(tmp_path: Path) -> None:
    check_target(tmp_path / "new" / "folder" / "file")
    (tmp_path / "file").touch()
    check_target(tmp_path, is_file=False)
    for path in (tmp_path, tmp_path / "file" / "below", Path("/proc/none/file")):
        with pytest.raises(StoreError, match="cannot be written: "):
            check_target(path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_folder_is_removed_by_one_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "folder").mkdir()
    (folder / "file").touch()
    monkeypatch.setattr("bioprobe.files._remove", lambda _: None)
    remove_folder(folder)
    assert not folder.exists()
    monkeypatch.undo()
    sweep_temporaries(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_replaced_file_is_as_readable_as_any_new_file(
    tmp_path: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "note.txt", "text")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "note.txt").stat().st_mode) == mode


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "ñandú\n")
    assert (tmp_path / "note.txt").read_bytes() == b"\xc3\xb1and\xc3\xba\n"


@pytest.mark.parametrize("n_bytes", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_the_hash_is_that_of_all_bytes(tmp_path: Path, n_bytes: int) -> None:
    data = bytes(range(251)) * (n_bytes // 251 + 1)
    path = tmp_path / "data"
    path.write_bytes(data[:n_bytes])
    assert hash_file(path) == hashlib.sha256(data[:n_bytes]).hexdigest()


def test_the_hash_of_one_file_is_its_sha256_and_of_two_that_of_both(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"first")
    two.write_bytes(b"second")
    assert hash_file(one) == hashlib.sha256(b"first").hexdigest()
    assert hash_file(one, two) == hashlib.sha256(b"firstsecond").hexdigest()
