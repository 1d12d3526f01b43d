"""Pictures in archives: zip and tar files, read where they lie, without being unpacked.

The root of such a row is ``archive:`` and the path of the archive; its path is the member's name.
Only plain members are read: a link, a device, or a name that leads out of the archive could stand
for any file of this machine. What a member holds is known before it is read, so that one that would
fill the memory is refused, and so is an archive whose few bytes stand for far more. Of a zip that
was cut, whose list is at its end, what is left is found by the header before each member. A tar
that is compressed as a whole can be read from its beginning only, each picture anew, and is refused
with what to do.

References
----------
PKWARE, *APPNOTE.TXT* 6.3.10: local headers, general purpose bits 0 (encrypted), 3 (sizes follow the
data) and 11 (names are UTF-8, else code page 437), and "Info-ZIP Unicode Path Extra Field".
"""

from __future__ import annotations

import dataclasses
import functools
import os
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from bioprobe.access import reading
from bioprobe.errors import ImageReadError, SourceError
from bioprobe.images.addresses import ARCHIVE_PREFIX
from bioprobe.names import unify

#: A picture of more bytes is no picture.
MOST_MEMBER_BYTES = 512 << 20
#: Names take memory before any picture is read.
MOST_MEMBERS = 20_000_000
#: A member of more bytes is at most so many times what it takes in the archive: text that repeats
#: itself deflates to a hundredth, and pictures hardly at all.
MOST_RATIO, SMALL_BYTES = 200, 64 << 20
#: So is all of an archive that has more bytes than these when it is unpacked.
SMALL_TOTAL_BYTES = 1 << 30
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 0x1, 0x8, 0x800
_LOCAL, _DESCRIPTOR = b"PK\x03\x04", b"PK\x07\x08"
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"(\xb5/\xfd": "zstd"}
_TAR_MAGIC = slice(257, 262)
_OPEN = 8
_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Member:
    """A file in an archive.

    Parameters
    ----------
    name : str
        As answers name it, in composed Unicode.
    n_bytes : int
        Of its content.
    place : object
        Where it lies: an entry of a zip, an offset of a tar.
    """

    name: str
    n_bytes: int
    place: object


@dataclasses.dataclass(frozen=True, eq=False)
class Archive:
    """An archive that is open, with the names of what it holds; threads may read at one time.

    Parameters
    ----------
    path : Path
        Of the archive.
    members : mapping of str to Member
        Plain files, in the archive's order.
    unread : mapping of str to str
        Why members are not read, by name.
    problem : str
        What is wrong with the archive as a whole, such as that it is cut off; ``""`` for nothing.
    handle : ZipFile, LocalEntries or Descriptor
        An open zip, one without its list, or a tar.
    said : tuple of str
        What else a person must know of it.
    """

    path: Path
    members: Mapping[str, Member]
    unread: Mapping[str, str]
    problem: str
    handle: zipfile.ZipFile | LocalEntries | Descriptor
    said: tuple[str, ...] = ()

    def read(self, name: str) -> bytes:
        """Return the content of a member.

        Raises
        ------
        ImageReadError
            If there is no such plain member, it is too large, or damaged.
        """
        member = self.members.get(name) or self.members.get(unify(name))
        if member is None:
            why = self.unread.get(name, f"{self.path} holds no such file")
            raise ImageReadError(why)
        if member.n_bytes > MOST_MEMBER_BYTES:
            msg = f"it has {member.n_bytes:,} bytes, more than any picture ({MOST_MEMBER_BYTES:,})"
            raise ImageReadError(msg)
        try:
            data = self._read(member)
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
            msg = f"it cannot be read from {self.path.name}: {error}"
            raise ImageReadError(msg) from error
        except Exception as error:  # zlib, lzma and bz2 have errors of their own
            msg = f"it is damaged in {self.path.name}: {error}"
            raise ImageReadError(msg) from error
        if len(data) != member.n_bytes:
            msg = f"{self.path.name} is cut off in it: {len(data):,} of {member.n_bytes:,} bytes"
            raise ImageReadError(msg)
        return data

    def write(self, name: str, target: Path) -> None:
        """Write the content of a member to a file, of any size, no more than it announces.

        Raises
        ------
        ImageReadError
            If it is damaged or cut off.
        """
        member = self.members[name]
        try:
            with target.open("wb") as file:
                for chunk in self._iter_chunks(member):
                    file.write(chunk)
                n_bytes = file.tell()
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            msg = f"{name} cannot be read from {self.path.name}: {error}"
            raise ImageReadError(msg) from error
        if n_bytes != member.n_bytes:
            msg = f"{self.path.name} is cut off in {name}"
            raise ImageReadError(msg)

    def _iter_chunks(self, member: Member) -> Iterator[bytes]:
        if isinstance(self.handle, Descriptor):
            for start in range(0, member.n_bytes, _CHUNK_BYTES):
                size = min(_CHUNK_BYTES, member.n_bytes - start)
                yield self.handle.read(size, int(member.place) + start)  # type: ignore[call-overload]
            return
        if isinstance(self.handle, LocalEntries):
            yield self._read(member)
            return
        n_left = member.n_bytes
        with self.handle.open(member.place) as file:  # type: ignore[arg-type]
            while n_left and (chunk := file.read(min(_CHUNK_BYTES, n_left))):
                n_left -= len(chunk)
                yield chunk

    def _read(self, member: Member) -> bytes:
        if isinstance(self.handle, zipfile.ZipFile):
            with self.handle.open(member.place) as file:  # type: ignore[arg-type]
                # No more than was announced, whatever is packed there.
                data: bytes = file.read(member.n_bytes + 1)
                return data
        return self.handle.read(member.n_bytes, int(member.place))  # type: ignore[call-overload]


class LocalEntries:
    """Members of a zip that has no list, by the header before each."""

    def __init__(self, file: Path) -> None:
        self._file = Descriptor(file)
        self._size = file.stat().st_size

    def read(self, n_bytes: int, start: int) -> bytes:
        """Return what a member holds.

        Parameters
        ----------
        n_bytes : int
            As many as it has.
        start : int
            Where its header lies.

        Raises
        ------
        BadZipFile
            If its data are damaged.
        """
        found = self.measure(start)
        if found is None:
            msg = "there is no header"
            raise zipfile.BadZipFile(msg)
        data = self._file.read(found.n_packed, found.start)
        if found.method == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, n_bytes) if n_bytes else b""
        if zlib.crc32(data) != found.crc:
            msg = "its check sum is another"
            raise zipfile.BadZipFile(msg)
        return data

    def iter_entries(self) -> Iterator[tuple[int, LocalEntry]]:
        """Yield the members, as far as their headers follow each other.

        Yields
        ------
        int
            Where the header lies.
        LocalEntry
        """
        at = 0
        while (found := self.measure(at)) is not None:
            yield at, found
            if found.n_bytes < 0:
                return
            at = found.end

    def measure(self, at: int) -> LocalEntry | None:
        """Read the header at a place; None where there is none."""
        header = self._file.read(30, at)
        if len(header) < 30 or not header.startswith(_LOCAL):
            return None
        flags, method = struct.unpack_from("<HH", header, 6)
        crc, n_packed, n_bytes, n_name, n_extra = struct.unpack_from("<IIIHH", header, 14)
        entry = zipfile.ZipInfo()
        raw = self._file.read(n_name, at + 30)
        entry.filename = raw.decode("utf-8" if flags & _UTF8 else "cp437", errors="replace")
        entry.flag_bits, entry.extra = flags, self._file.read(n_extra, at + 30 + n_name)
        start = at + 30 + n_name + n_extra
        end = start + n_packed
        if flags & _SIZES_FOLLOW and not n_packed and method == zipfile.ZIP_DEFLATED:
            n_packed, n_bytes, crc = self._inflate(start)
            end = start + n_packed
            end += 16 if self._file.read(4, end) == _DESCRIPTOR else 12
        is_cut = start + n_packed > self._size or method not in (0, zipfile.ZIP_DEFLATED)
        return LocalEntry(entry, start, n_packed, -1 if is_cut else n_bytes, method, crc, end)

    def _inflate(self, start: int) -> tuple[int, int, int]:
        """Inflate a member to see where it ends; its size is -1 where the archive ends before."""
        inflating, n_packed, n_bytes, crc = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0, 0
        waiting = b""
        try:
            while not inflating.eof and n_bytes <= MOST_MEMBER_BYTES:
                block = waiting or self._file.read(_CHUNK_BYTES, start + n_packed)
                if not block:
                    return n_packed, -1, 0
                data = inflating.decompress(block, _CHUNK_BYTES)
                waiting = inflating.unconsumed_tail
                n_packed += len(block) - len(waiting)
                n_bytes, crc = n_bytes + len(data), zlib.crc32(data, crc)
        except zlib.error:
            return n_packed, -1, 0
        return n_packed - len(inflating.unused_data), n_bytes, crc


@dataclasses.dataclass(frozen=True)
class LocalEntry:
    """What the header of a member says of it.

    Parameters
    ----------
    entry : ZipInfo
        Its name and marks.
    start : int
        Where its data begin.
    n_packed : int
        Bytes that they take.
    n_bytes : int
        When they are inflated; -1 where the archive ends before.
    method : int
        Of compression.
    crc : int
    end : int
        Where the next header should be.
    """

    entry: zipfile.ZipInfo
    start: int
    n_packed: int
    n_bytes: int
    method: int
    crc: int
    end: int


class Descriptor:
    """A file that threads read at places of their own, closed when nobody has it any more."""

    def __init__(self, path: Path) -> None:
        self._number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def read(self, n_bytes: int, start: int) -> bytes:
        """Return so many bytes from a place, fewer at the end of the file."""
        return os.pread(self._number, n_bytes, start)

    def __del__(self) -> None:
        os.close(self._number)


def find_archive_kind(head: bytes) -> str:
    """Tell what archive a file is, by its first bytes.

    Returns
    -------
    str
        ``zip``, ``tar``, the compression of what may be a tar, or ``""``.
    """
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if head[_TAR_MAGIC] == b"ustar" or _is_old_tar(head):
        return "tar"
    return next((kind for magic, kind in _COMPRESSED.items() if head.startswith(magic)), "")


def _is_old_tar(head: bytes) -> bool:
    # Before POSIX a tar had no mark, and a sum of its heading.
    if len(head) < 512 or not head[0]:
        return False
    try:
        said = int(head[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return said == 256 + sum(head[:148]) + sum(head[156:512])


def open_archive(path: Path) -> Archive:
    """Open an archive; one that was opened and has not changed since stays open.

    Raises
    ------
    SourceError
        If it is none, is compressed as a whole, damaged from its beginning, or holds more files
        than any collection.
    """
    with reading(path):
        facts = path.stat()
    with _lock:
        return _open(os.path.abspath(path), facts.st_mtime_ns, facts.st_size)  # noqa: PTH100


_lock = threading.Lock()


@functools.lru_cache(maxsize=_OPEN)
def _open(path: str, _changed_ns: int, _n_bytes: int) -> Archive:
    file = Path(path)
    with reading(file), file.open("rb") as opened:
        head = opened.read(1024)
    kind = find_archive_kind(head)
    if kind == "zip":
        return _open_zip(file)
    if kind == "tar":
        return _open_tar(file)
    if kind:
        msg = (
            f"{file} is compressed as a whole ({kind}): each picture could be reached from its "
            "beginning only; unpack it to a plain .tar, which takes little more room, as pictures "
            "are compressed already"
        )
        raise SourceError(msg)
    msg = f"{file} is no zip or tar"
    raise SourceError(msg)


def _open_zip(file: Path) -> Archive:
    try:
        handle = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        return _recover_zip(file, str(error))
    members: dict[str, Member] = {}
    unread: dict[str, str] = {}
    n_twice = 0
    entries = handle.infolist()
    _check_count(file, len(entries))
    for entry in entries:
        if entry.is_dir():
            continue
        name = _name_entry(entry)
        mode = entry.external_attr >> 16
        why = _refuse_name(name)
        if mode and (mode & 0o170000) not in (0, 0o100000):
            why = "it is a link or a device in the archive, not a file"
        elif entry.flag_bits & _ENCRYPTED:
            why = "it is encrypted; unpack the archive with its password"
        why = why or _refuse_size(entry.file_size, entry.compress_size)
        n_twice += name in members
        if why:
            unread[name] = why
        else:
            members[name] = Member(name, entry.file_size, entry)
    _check_total(file, sum(entry.file_size for entry in entries))
    return Archive(file, members, unread, "", handle, _tell_twice(n_twice))


def _refuse_size(n_bytes: int, n_packed: int) -> str:
    if n_bytes > SMALL_BYTES and n_bytes > MOST_RATIO * max(n_packed, 1):
        return (
            f"its {n_packed:,} bytes would be {n_bytes:,} when it is inflated, more than "
            f"{MOST_RATIO} times; it is not read"
        )
    return ""


def _check_total(file: Path, total: int) -> None:
    size = file.stat().st_size
    most = max(SMALL_TOTAL_BYTES, MOST_RATIO * size)
    if total > most:
        msg = (
            f"{file} has {size:,} bytes and would be {total:,} when it is unpacked; expected "
            f"{most:,} at most ({MOST_RATIO} times the file, or {SMALL_TOTAL_BYTES:,}). Nothing of "
            "it is read"
        )
        raise SourceError(msg)


def _tell_twice(n_twice: int) -> tuple[str, ...]:
    if not n_twice:
        return ()
    return (f"{n_twice:,} files have the name of a later one, which is read instead",)


def _recover_zip(file: Path, error: str) -> Archive:
    """List a zip that has no list of its files."""
    handle = LocalEntries(file)
    members: dict[str, Member] = {}
    unread: dict[str, str] = {}
    for start, found in handle.iter_entries():
        name = _name_entry(found.entry)
        _check_count(file, len(members))
        if name.endswith("/"):
            continue
        why = _refuse_name(name) or _refuse_size(found.n_bytes, found.n_packed)
        if found.entry.flag_bits & _ENCRYPTED:
            why = "it is encrypted; unpack the archive with its password"
        elif found.n_bytes < 0:
            why = "the archive is cut off in it"
        if why:
            unread[name] = why
        else:
            members[name] = Member(name, found.n_bytes, start)
    if not members:
        msg = f"{file} cannot be read as a zip ({error}); fetch or copy it again"
        raise SourceError(msg)
    _check_total(file, sum(member.n_bytes for member in members.values()))
    problem = (
        f"{file} is damaged or was cut off ({error}); what is left of it is read, and it may have "
        "held more: fetch or copy it again"
    )
    return Archive(file, members, unread, problem, handle)


def _name_entry(entry: zipfile.ZipInfo) -> str:
    name = _read_unicode_name(entry.extra) or entry.filename
    if name == entry.filename and not entry.flag_bits & _UTF8:
        # Python took it for the code page of DOS; much of what is not marked is UTF-8.
        try:
            name = name.encode("cp437").decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            name = entry.filename
    return _unify_path(name.replace("\\", "/"))


def _read_unicode_name(extra: bytes) -> str:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 0x7075 and length > 5:
            return extra[at + 9 : at + 4 + length].decode(errors="ignore")
        at += 4 + length
    return ""


def _unify_path(name: str) -> str:
    """Return a member's name in composed Unicode; blanks are part of a name."""
    import unicodedata

    return unicodedata.normalize("NFC", name.removeprefix("./"))


def is_hidden(name: str) -> bool:
    """Tell whether a member is hidden, or what a Mac packs beside a file."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _refuse_name(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or (len(name) > 1 and name[1] == ":"):
        return "its name leads out of the archive"
    return ""


def _open_tar(file: Path) -> Archive:
    members: dict[str, Member] = {}
    unread: dict[str, str] = {}
    problem, n_twice = "", 0
    with reading(file):
        n_bytes = file.stat().st_size
        descriptor = Descriptor(file)
    try:
        with tarfile.open(file, "r:", errors="surrogateescape") as tar:
            for entry in tar:
                _check_count(file, len(members))
                if entry.isdir():
                    continue
                name = _unify_path(entry.name)
                why = _refuse_name(name)
                if not entry.isreg() or entry.issparse():
                    why = "it is a link or a device in the archive, not a file"
                elif entry.offset_data + entry.size > n_bytes:
                    why = "the archive is cut off in it"
                if why:
                    unread[name] = why
                    continue
                # A later one of the same name takes the place of an earlier, as unpacking does.
                n_twice += members.pop(name, None) is not None
                members[name] = Member(name, entry.size, entry.offset_data)
            end = tar.offset
    except (tarfile.TarError, OSError, ValueError) as error:
        if not members:
            msg = f"{file} cannot be read as a tar: {error}"
            raise SourceError(msg) from error
        problem = f"{file} is damaged behind {next(reversed(members))}: {error}"
    else:
        if end >= n_bytes and not any(unread.values()) and not _ends_in_zeros(descriptor, n_bytes):
            problem = f"{file} has no end: it may be cut off, and hold more than is here"
    return Archive(file, members, unread, problem, descriptor, _tell_twice(n_twice))


def is_whole(root: str) -> bool:
    """Tell whether all that an archive holds can be listed, by the root of its rows."""
    try:
        return not open_archive(Path(root.removeprefix(ARCHIVE_PREFIX))).problem
    except (SourceError, OSError):
        return False


def _ends_in_zeros(descriptor: Descriptor, n_bytes: int) -> bool:
    return n_bytes >= 1024 and descriptor.read(1024, n_bytes - 1024) == bytes(1024)


def _check_count(file: Path, n_members: int) -> None:
    if n_members > MOST_MEMBERS:
        msg = f"{file} holds more than {MOST_MEMBERS:,} files; part it into several"
        raise SourceError(msg)
