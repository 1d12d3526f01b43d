"""Files below an address, or a folder of this machine, read by ranges of bytes and no more."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bioprobe import remote
from bioprobe.errors import SourceError

if TYPE_CHECKING:
    import fsspec

_T = TypeVar("_T")
# Bytes that are asked for at once: what a dropped connection costs.
_MOST_BYTES = 8 << 20


class Meter:
    """Counts what was read: bytes, requests, and tries after one that failed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.n_bytes = self.n_requests = self.n_retries = 0

    def count(self, *, n_bytes: int = 0, n_requests: int = 0, n_retries: int = 0) -> None:
        """Add to the counts, from any thread."""
        with self._lock:
            self.n_bytes += n_bytes
            self.n_requests += n_requests
            self.n_retries += n_retries


@dataclasses.dataclass(frozen=True)
class RangedFile:
    """One file of a place.

    Parameters
    ----------
    name : str
        Path below the place.
    path : str
        As its file system has it.
    n_bytes : int
    tag : str
        What tells this version of it from others: ETag, hash or time; ``""`` where nothing does.
    """

    name: str
    path: str
    n_bytes: int
    tag: str


@dataclasses.dataclass(frozen=True)
class Place:
    """What lies below an address or a folder.

    Parameters
    ----------
    address : str
        Whole; of a folder of this machine its path.
    system : fsspec.AbstractFileSystem
    files : tuple of RangedFile
        Those with the ending that was asked for, by name.
    revision : str
        Commit of a data set of the Hugging Face hub, to which all reading is bound; ``""``
        elsewhere.
    meter : Meter
        Of all that is read of it.
    """

    address: str
    system: fsspec.AbstractFileSystem
    files: tuple[RangedFile, ...]
    revision: str = ""
    meter: Meter = dataclasses.field(default_factory=Meter)

    def open(self, file: RangedFile) -> Ranges:
        """Open one of its files."""
        return Ranges(self.system, file, self.meter)


def open_place(source: str | Path, *endings: str) -> Place:
    """List the files below an address or a folder; a single file is one too.

    Parameters
    ----------
    source : str or Path
        Address that fsspec knows, such as ``hf://datasets/org/name``, ``s3://bucket/folder`` or
        ``memory://folder``, or a path of this machine.
    *endings : str
        Of names, such as ``.parquet``.

    Raises
    ------
    MissingExtraError
        If the package that reads such addresses is not installed.
    SourceError
        If there is nothing of such a name, it cannot be reached or may not be read, or a password
        stands in the address.
    """
    address = remote.find_address(source)
    named = address or str(Path(source).absolute())
    system, root = remote.open_system(named)
    # What was listed before may be another now.
    system.invalidate_cache()
    meter = Meter()
    revision = ""
    if named.startswith("hf://"):
        root, revision = _retry(lambda: _pin(system, root), named, meter)
    found = _retry(lambda: system.find(root, detail=True), named, meter)
    files = tuple(
        RangedFile(_shorten(path, root), path, int(facts["size"]), _find_tag(facts))
        for path, facts in sorted(found.items())
        if path.lower().endswith(endings) and not path.rsplit("/", 1)[-1].startswith(("_", "."))
    )
    if not files:
        what = f"no file that ends in {' or '.join(endings)}"
        msg = f"{named} holds {what}; name a folder, or an address, that does"
        raise SourceError(msg)
    return Place(named, system, files, revision, meter)


def _pin(system: Any, root: str) -> tuple[str, str]:  # noqa: ANN401 - of the hub's package
    """Bind a path of the hub to the commit that its revision is now."""
    where = system.resolve_path(root)
    if not hasattr(where, "repo_id"):
        return root, ""
    commit = system._api.repo_info(
        where.repo_id, revision=where.revision, repo_type=where.repo_type
    ).sha
    return dataclasses.replace(where, revision=commit, _raw_revision=commit).unresolve(), commit


def _shorten(path: str, root: str) -> str:
    root = root.rstrip("/")
    return path.removeprefix(root).lstrip("/") or path.rsplit("/", 1)[-1]


def _find_tag(facts: dict[str, Any]) -> str:
    lfs = facts.get("lfs")
    return str(lfs["sha256"]) if lfs is not None else remote.describe(facts).version


def _retry(ask: Callable[[], _T], what: str, meter: Meter) -> _T:
    """Ask until there is an answer, as :func:`bioprobe.remote.retry` does.

    Raises
    ------
    SourceError
        If it is not there, may not be read, was replaced, or every try failed.
    """
    meter.count(n_requests=1)
    try:
        return remote.retry(what, ask, tell=lambda: meter.count(n_requests=1, n_retries=1))
    except FileNotFoundError as error:
        msg = f"there is nothing at {what}"
        raise SourceError(msg) from error
    except PermissionError as error:
        msg = (
            f"{what} may not be read: {error}. Log in where it asks for that (for the Hugging Face "
            "hub: hf auth login, and accept the conditions of the data set on its page)"
        )
        raise SourceError(msg) from error
    except remote.ChangedError as error:
        msg = f"{what} was replaced while it was read; run the same command again"
        raise SourceError(msg) from error
    except ConnectionError as error:
        msg = f"{error}. Run the same command again: it goes on where it stopped"
        raise SourceError(msg) from error
    except OSError as error:
        msg = f"{what} cannot be read: {error}"
        raise SourceError(msg) from error


class Ranges(io.RawIOBase):
    """A file that is read by ranges of bytes; a range that fails is asked for again."""

    def __init__(self, system: fsspec.AbstractFileSystem, file: RangedFile, meter: Meter) -> None:
        self._system, self._file, self._meter = system, file, meter
        self._place = 0
        self._opened: Any = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def size(self) -> int:
        """Return the number of its bytes."""
        return self._file.n_bytes

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read on elsewhere."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size()}[whence]
        self._place = start + offset
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Read bytes from where it stands."""
        stop = self.size() if size < 0 else min(self._place + size, self.size())
        parts: list[bytes] = []
        while self._place < stop:
            parts.append(self._read_range(self._place, min(stop, self._place + _MOST_BYTES)))
            self._place += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close it."""
        self._drop()
        super().close()

    def _read_range(self, start: int, stop: int) -> bytes:
        def ask() -> bytes:
            try:
                if self._opened is None:
                    # Nothing is read ahead: what is not asked for is not paid for.
                    self._opened = self._system.open(self._file.path, "rb", cache_type="none")
                    self._check_version()
                self._opened.seek(start)
                data: bytes = self._opened.read(stop - start)
            except BaseException as error:
                self._drop()
                if type(error).__name__ == "FileExpired":
                    # What s3fs says of another ETag than it saw first.
                    raise remote.ChangedError(self._file.path) from error
                raise
            if not data:
                self._drop()
                msg = f"nothing came for the bytes {start:,} to {stop:,}"
                raise EOFError(msg)
            return data

        data = _retry(ask, self._file.path, self._meter)
        self._meter.count(n_bytes=len(data))
        return data

    def _check_version(self) -> None:
        """Refuse what is not what was listed, as its footer would be of another file."""
        facts = getattr(self._opened, "details", None) or self._system.info(self._file.path)
        size, tag = facts.get("size"), _find_tag(facts)
        # Some systems tell other things of one file than of a list of them.
        is_alike = tag.partition("=")[0] == self._file.tag.partition("=")[0]
        if size != self._file.n_bytes or (is_alike and tag != self._file.tag):
            raise remote.ChangedError(self._file.path)

    def _drop(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            # Of a connection that is lost already.
            with contextlib.suppress(Exception):
                opened.close()
