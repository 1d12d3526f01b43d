"""What lies in a folder or a zip, by names from its top: where packages of tables are read from."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bioprobe.access import is_file, is_folder, reading
from bioprobe.errors import SourceError
from bioprobe.images.addresses import ARCHIVE_PREFIX
from bioprobe.images.archives import Archive, find_archive_kind, is_hidden, open_archive
from bioprobe.images.location import write_name
from bioprobe.sources.files import absolute, locate

# Tables of more bytes are unpacked by whoever has the room.
_MOST_TABLE_BYTES = 8 << 30
_SETTLED_NS = 2_000_000_000


@dataclasses.dataclass(frozen=True)
class Package:
    """Files by their names below a folder, or in a zip."""

    path: Path

    @classmethod
    def look(cls, path: Path, *names: str) -> Package | None:
        """Return what a folder, a zip, or one of some files in a folder is the package of.

        Parameters
        ----------
        path : Path
            Whatever a person named.
        names : str
            Names of files that describe a package, or are a part of it.
        """
        if is_folder(path):
            return cls(path)
        if path.name.casefold() in {name.casefold() for name in names} and is_file(path):
            return cls(path.parent)
        if not is_file(path):
            return None
        with reading(path), path.open("rb") as file:
            is_zip = find_archive_kind(file.read(4)) == "zip"
        return cls(path) if is_zip else None

    @property
    def folder(self) -> Path:
        """The folder itself, or the one that the zip lies in."""
        return self.path if self.archive is None else self.path.parent

    @functools.cached_property
    def archive(self) -> Archive | None:
        """The zip, None of a folder."""
        return None if is_folder(self.path) else open_archive(self.path)

    @functools.cached_property
    def prefix(self) -> str:
        """The one folder that a zip holds all in, with its slash; else ``""``."""
        names = [] if self.archive is None else list(self.archive.members)
        tops = {PurePosixPath(name).parts[0] for name in names if not is_hidden(name)}
        lies_below = all("/" in name for name in names if not is_hidden(name))
        return f"{tops.pop()}/" if len(tops) == 1 and lies_below else ""

    def holds(self, name: str) -> bool:
        """Tell whether there is a file of that name."""
        if self.archive is not None:
            return self._name(name) in self.archive.members
        return is_file(self.path / name)

    def find(self, *names: str) -> str:
        """Return the first of some names that there is a file of, whatever its case; ``""``."""
        known = {name.casefold(): name for name in self.top}
        return next((known[n.casefold()] for n in names if n.casefold() in known), "")

    @functools.cached_property
    def top(self) -> frozenset[str]:
        """Names of the files that lie in no folder of it."""
        if self.archive is not None:
            names = [name.removeprefix(self.prefix) for name in self.archive.members]
            return frozenset(name for name in names if "/" not in name)
        try:
            changed_ns = self.path.stat().st_mtime_ns
            # A folder that changes twice in a tick of the clock has one time.
            is_new = time.time_ns() - changed_ns < _SETTLED_NS
            list_top = _list_top.__wrapped__ if is_new else _list_top
            return list_top(os.path.abspath(self.path), changed_ns)  # noqa: PTH100
        except OSError:  # whoever lists its pictures says so
            return frozenset()

    @contextlib.contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        """Yield a file of the package as a path; of a zip it is there while the block runs.

        Raises
        ------
        SourceError
            If there is no such file, or its name leads out of the package.
        """
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            msg = f"{self.path} names {name} as a part of it, which lies outside"
            raise SourceError(msg)
        if "\0" in name or not self.holds(name):
            msg = f"{self.path} holds no file {name}, though it names it"
            raise SourceError(msg)
        if self.archive is None:
            yield self.path / name
            return
        member = self.archive.members[self._name(name)]
        if member.n_bytes > _MOST_TABLE_BYTES:
            msg = f"{name} in {self.path} has {member.n_bytes:,} bytes; unpack the archive"
            raise SourceError(msg)
        with tempfile.TemporaryDirectory(prefix="bioprobe-") as folder:
            file = Path(folder) / PurePosixPath(name).name
            self.archive.write(self._name(name), file)
            yield file

    def place(self, name: str, root: Path | None = None) -> tuple[str, str]:
        r"""Return the root and path by which an image table names a picture of the package.

        Parameters
        ----------
        name : str
            As the package writes it, ``/`` or ``\`` between folders.
        root : Path, optional
            Folder that the names start from instead; the pictures of a zip may lie beside it.
        """
        name = name.replace("\\", "/").removeprefix("./")
        if root is None and self.archive is not None:
            return archive_root(self.path), self._name(name)
        base = absolute(root or self.path)
        return locate(write_name(os.path.normpath(os.path.join(base, name))), write_name(base))  # noqa: PTH118

    def _name(self, name: str) -> str:
        full = f"{self.prefix}{name}"
        return full if self.archive is not None and full in self.archive.members else name


@functools.lru_cache(maxsize=8)
def _list_top(folder: str, _changed_ns: int) -> frozenset[str]:
    # Each format looks for its own names, and a folder of pictures may hold a million.
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if entry.is_file())


def archive_root(path: Path) -> str:
    """Return the root of the rows of an archive."""
    return f"{ARCHIVE_PREFIX}{write_name(absolute(path))}"
