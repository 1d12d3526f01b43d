"""Pictures in archives: zip and tar files, read where they lie, without being unpacked.

The root of such a row is ``archive:`` and the path of the archive; its path is the member's name.
Only plain members are read: a link, a device, or a name that leads out of the archive could stand
for any file of this machine. What a member holds is known before it is read, so that one that would
fill the memory is refused. A tar that is compressed as a whole can be read from its beginning only,
each picture anew, and is refused with what to do.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from bioprobe.access import reading
from bioprobe.errors import ImageReadError, SourceError
from bioprobe.names import unify

ARCHIVE_PREFIX = "archive:"
#: A picture of more bytes is no picture.
MOST_MEMBER_BYTES = 512 << 20
#: Names take memory before any picture is read.
MOST_MEMBERS = 20_000_000
_ENCRYPTED, _UTF8 = 0x1, 0x800
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
    handle : ZipFile or Descriptor
        An open zip, or tar.
    """

    path: Path
    members: Mapping[str, Member]
    unread: Mapping[str, str]
    problem: str
    handle: zipfile.ZipFile | Descriptor

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


class Descriptor:
    """A file that threads read at places of their own, closed when nobody has it any more.

    Parameters
    ----------
    path : Path
        Of the file.
    """

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
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        msg = (
            f"{file} cannot be read as a zip ({error}); a download that broke off has no list of "
            "its files: fetch it again"
        )
        raise SourceError(msg) from error
    members: dict[str, Member] = {}
    unread: dict[str, str] = {}
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
        if why:
            unread[name] = why
        else:
            members[name] = Member(name, entry.file_size, entry)
    return Archive(file, members, unread, "", handle)


def _name_entry(entry: zipfile.ZipInfo) -> str:
    name = entry.filename
    if not entry.flag_bits & _UTF8:
        # Python took it for the code page of DOS; much of what is not marked is UTF-8.
        try:
            name = name.encode("cp437").decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            name = entry.filename
    return unify_path(name.replace("\\", "/"))


def unify_path(name: str) -> str:
    """Return a member's name in composed Unicode; blanks are part of a name."""
    import unicodedata

    return unicodedata.normalize("NFC", name.removeprefix("./"))


def _refuse_name(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or (len(name) > 1 and name[1] == ":"):
        return "its name leads out of the archive"
    return ""


def _open_tar(file: Path) -> Archive:
    members: dict[str, Member] = {}
    unread: dict[str, str] = {}
    problem = ""
    with reading(file):
        n_bytes = file.stat().st_size
        descriptor = Descriptor(file)
    try:
        with tarfile.open(file, "r:", errors="surrogateescape") as tar:
            for entry in tar:
                _check_count(file, len(members))
                if entry.isdir():
                    continue
                name = unify_path(entry.name)
                why = _refuse_name(name)
                if not entry.isreg() or entry.issparse():
                    why = "it is a link or a device in the archive, not a file"
                elif entry.offset_data + entry.size > n_bytes:
                    why = "the archive is cut off in it"
                if why:
                    unread[name] = why
                    continue
                # A later one of the same name takes the place of an earlier, as unpacking does.
                members.pop(name, None)
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
    return Archive(file, members, unread, problem, descriptor)


def _ends_in_zeros(descriptor: Descriptor, n_bytes: int) -> bool:
    return n_bytes >= 1024 and descriptor.read(1024, n_bytes - 1024) == bytes(1024)


def _check_count(file: Path, n_members: int) -> None:
    if n_members > MOST_MEMBERS:
        msg = f"{file} holds more than {MOST_MEMBERS:,} files; part it into several"
        raise SourceError(msg)
