"""Stores at addresses: copied from there to be read, and sent there whole.

A store lies at an address as it lies in a folder. The manifest is the last that is sent and the
last that is copied: who reads sees all that it names. Shards are sent once, under names at which
nothing is; other files and the manifest are replaced only where they are what this store last saw
there. The servers of ``s3://`` compare and write in one step, so that of two who send at once one
is told that the other was first; elsewhere it is looked at right before.

What a store last saw at an address stands in ``.remote.json`` beside its manifest: each file's
SHA-256, and its version there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from bioprobe import remote
from bioprobe.cache import find_cache
from bioprobe.errors import StoreError, UnreadableError
from bioprobe.files import (
    closing,
    hash_file,
    opening,
    parse_json,
    replacing,
    scratch_beside,
    sync,
    write_text,
)
from bioprobe.progress import Progress, Step
from bioprobe.remote import ChangedError, Found
from bioprobe.result import Notes, Record
from bioprobe.store.lease import remove_unread
from bioprobe.store.manifest import MANIFEST_NAME, Manifest
from bioprobe.store.shard import IMAGES_NAME, VECTORS_NAME
from bioprobe.store.writing import LOCK_NAME, check_present, holding, locking

RECORD_NAME = ".remote.json"
# How long another process may take to copy the same store.
_WAIT_S = 3600.0
# How often a store is copied anew that was replaced while it was copied.
_TRIES = 3
_WRITTEN_EACH_S = 1.0
# What who only asks writes into a copy: it can be made again.
_OWN = "text"


@dataclasses.dataclass(frozen=True)
class Seen:
    """A file as it was last seen at an address.

    Parameters
    ----------
    sha256 : str
        Of what lay here.
    version : str
        Of what lay there.
    """

    sha256: str
    version: str


@dataclasses.dataclass(frozen=True)
class Moved(Record):
    """What was copied from an address, or sent there.

    Parameters
    ----------
    n_images : int
        Rows of the store, those that are retired included.
    n_moved, n_kept, n_removed : int
        Files that were moved, that were there already, and that were removed.
    n_bytes : int
        Of what was moved.
    notes : tuple of Note
    """

    n_images: int
    n_moved: int
    n_kept: int
    n_removed: int
    n_bytes: int
    notes: Notes = ()


class LastSeen:
    """What a store last saw at one address."""

    def __init__(self, folder: Path, address: str) -> None:
        self._file, self.address = folder / RECORD_NAME, address
        self._all: dict[str, dict[str, dict[str, str]]] = {}
        try:
            known = parse_json(self._file.read_bytes())
        except (OSError, ValueError):
            # What is not known is compared anew.
            known = {}
        if isinstance(known, dict):
            self._all = known
        self._files = self._all.setdefault(address, {})
        self._written_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._files))

    def find(self, path: str) -> Seen:
        """Return what was seen of a file, of which nothing is empty."""
        return Seen(**self._files.get(path, {"sha256": "", "version": ""}))

    def keep(self, path: str, seen: Seen) -> None:
        """Keep what was seen; who is killed goes on from a second ago."""
        self._files[path] = dataclasses.asdict(seen)
        if time.monotonic() - self._written_s > _WRITTEN_EACH_S:
            self._write()

    def forget(self, path: str) -> None:
        """Forget a file that is removed."""
        self._files.pop(path, None)

    def _write(self) -> None:
        self._written_s = time.monotonic()
        write_text(self._file, json.dumps(self._all, indent=1, ensure_ascii=False))


def holds_store(address: str) -> bool:
    """Tell whether a store lies at an address.

    Raises
    ------
    UnreadableError
        If that cannot be told.
    """
    with _reading(address):
        return remote.look_again(f"{address}/{MANIFEST_NAME}") is not None


def open_copy(address: str) -> Path:
    """Return the folder in the cache that holds the store at an address, as it is there now.

    What has not changed there since is not copied again. Nothing but texts may be written there.

    Raises
    ------
    StoreError
        If no store is there, or it is damaged.
    UnreadableError
        If it cannot be read just now.
    """
    remote.name(address)
    place = find_cache("stores") / hashlib.sha256(address.encode()).hexdigest()[:32]
    folder = place / (address.rpartition("/")[2] or "store")
    place.mkdir(parents=True, exist_ok=True)
    with locking(place / LOCK_NAME, _WAIT_S, f"copying {address}"):
        opening(folder)
        _bring(address, folder, is_own=False, progress=None)
    closing(folder, _CLOSED.format(address), but=_OWN)
    return folder


_CLOSED = (
    "this is the copy of the store at {0}, where nothing is written in place; bioprobe store pull "
    "{0} --store FOLDER, write into that folder, and bioprobe store push {0} --store FOLDER"
)


def refuse_writing(address: str) -> None:
    """Refuse to write into a store at an address.

    Raises
    ------
    StoreError
        Always.
    """
    msg = (
        f"{address}: a store is not written in place at an address, where no writer can be the "
        "only one; write it into a folder with --store FOLDER, and send that: bioprobe store push "
        f"{address} --store FOLDER"
    )
    raise StoreError(msg)


def pull(address: str, folder: Path, progress: Progress | None = None) -> Moved:
    """Copy the store at an address into a folder, or bring what is there up to date.

    Parameters
    ----------
    address : str
    folder : Path
        New or empty, or of a store that was pulled from there or sent there.
    progress : callable, optional
        Told after each file.

    Raises
    ------
    StoreError
        If no store is there, it is damaged, or a file was changed both here and there; nothing is
        changed then.
    """
    remote.name(address)
    is_begun = (folder / MANIFEST_NAME).exists() or (folder / RECORD_NAME).exists()
    if not is_begun and (folder / "shards").exists():
        msg = f"{folder} holds shards of another store; choose another --store"
        raise StoreError(msg)
    if not holds_store(address):
        raise _describe_none(address)
    folder.mkdir(parents=True, exist_ok=True)
    with holding(folder):
        return _bring(address, folder, is_own=True, progress=progress)


def push(folder: Path, address: str, progress: Progress | None = None) -> Moved:
    """Send a store to an address: shards first, then other files, the manifest last.

    Raises
    ------
    StoreError
        If what is there is not what this store last saw there: it stays.
    UnreadableError
        If the address cannot be read or written just now; the same again goes on from there.
    """
    remote.name(address)
    check_present(folder)
    with holding(folder), _reading(address), LastSeen(folder, address) as record:
        return _send(folder, record, progress)


def _send(folder: Path, record: LastSeen, progress: Progress | None) -> Moved:
    address = record.address
    manifest, written = Manifest.read(folder), (folder / MANIFEST_NAME).read_bytes()
    there = remote.list_below(address)
    _check_manifest(there.get(MANIFEST_NAME), record, written)
    shards = _list_shards(manifest)
    paths = [path for path in _list_files(folder) if path not in shards and path != MANIFEST_NAME]
    outdated = [path for path in paths if path.startswith("shards/")]
    paths = [*shards, *(path for path in paths if path not in outdated)]
    n_bytes = n_moved = 0
    for n_done, path in enumerate(paths, start=1):
        size = _send_file(folder, path, record, there.get(path), shards.get(path, ""))
        n_moved, n_bytes = n_moved + (size is not None), n_bytes + (size or 0)
        if progress is not None:
            progress(Step(n_done, len(paths) + 1, "files sent"))
    sha256 = hashlib.sha256(written).hexdigest()
    is_new = record.find(MANIFEST_NAME).sha256 != sha256 or MANIFEST_NAME not in there
    if is_new:
        try:
            found = remote.send(written, f"{address}/{MANIFEST_NAME}", there.get(MANIFEST_NAME))
        except ChangedError as error:
            raise _describe_change(address, [MANIFEST_NAME]) from error
        record.keep(MANIFEST_NAME, Seen(sha256, found.version))
        n_moved, n_bytes = n_moved + 1, n_bytes + len(written)
    gone = [path for path in record if path not in {*paths, MANIFEST_NAME}]
    for path in gone:
        # What this store sent, and has no more. What others laid there stays.
        if path in there and there[path].version == record.find(path).version:
            remote.remove(f"{address}/{path}")
        record.forget(path)
    n_kept = len(paths) + 1 - n_moved
    return Moved(manifest.n_images, n_moved, n_kept, len(gone), n_bytes)


def _check_manifest(now: Found | None, record: LastSeen, ours: bytes) -> None:
    """Refuse to replace a manifest that this store does not know."""
    address = record.address
    if now is None:
        return
    known = record.find(MANIFEST_NAME)
    if known.version and known.version == now.version:
        return
    theirs = remote.read(f"{address}/{MANIFEST_NAME}")
    sha256 = hashlib.sha256(theirs).hexdigest()
    if theirs != ours and sha256 != known.sha256:
        raise _describe_change(address, [MANIFEST_NAME])
    record.keep(MANIFEST_NAME, Seen(sha256, now.version))


def _send_file(
    folder: Path, path: str, record: LastSeen, there: Found | None, sha256: str
) -> int | None:
    """Send one file unless it is there; return its size, None where it was."""
    address = record.address
    file, target, known = folder / path, f"{address}/{path}", record.find(path)
    sha256 = sha256 or hash_file(file)
    if there is not None and there.version and there.version == known.version:
        if known.sha256 == sha256:
            return None
    elif there is not None:
        # It was sent by a run that was killed before it was noted, or by somebody else.
        if there.n_bytes != file.stat().st_size or _hash_there(target) != sha256:
            raise _describe_change(address, [path])
        record.keep(path, Seen(sha256, there.version))
        return None
    try:
        found = remote.send(file, target, there)
    except ChangedError as error:
        raise _describe_change(address, [path]) from error
    record.keep(path, Seen(sha256, found.version))
    return file.stat().st_size


def _hash_there(target: str) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy"
        remote.fetch(target, copy)
        return hash_file(copy)


def _bring(address: str, folder: Path, *, is_own: bool, progress: Progress | None) -> Moved:
    """Copy what has changed there; of a folder of one's own, what was changed here stays."""
    folder.mkdir(parents=True, exist_ok=True)
    with _reading(address):
        for _ in range(_TRIES):
            there = remote.list_below(address)
            if MANIFEST_NAME not in there:
                raise _describe_none(address)
            with LastSeen(folder, address) as record:
                moved = _bring_once(folder, record, there, is_own=is_own, progress=progress)
            if moved is not None:
                return moved
    msg = f"{address} was replaced while it was copied, {_TRIES} times; try again later"
    raise UnreadableError(msg)


def _bring_once(
    folder: Path, record: LastSeen, there: dict[str, Found], *, is_own: bool,
    progress: Progress | None,
) -> Moved | None:  # fmt: skip
    """Copy a store; None where it was replaced meanwhile."""
    address = record.address
    data = remote.read(f"{address}/{MANIFEST_NAME}")
    manifest = Manifest.parse(data, f"{address}/{MANIFEST_NAME}")
    shards = _list_shards(manifest)
    others = [p for p in there if _is_sent(p) and not p.startswith("shards/")]
    paths = [*shards, *(path for path in others if path != MANIFEST_NAME)]
    wanted = _choose(folder, record, paths, there, data, is_own=is_own)
    n_bytes = 0
    for n_done, path in enumerate(paths, start=1):
        if path in wanted:
            try:
                n_bytes += _fetch_file(folder, path, record, shards.get(path, ""))
            except FileNotFoundError:
                if remote.read(f"{address}/{MANIFEST_NAME}") != data:
                    return None
                msg = f"{address} lacks {path}, which its manifest names; send the store again"
                raise StoreError(msg) from None
        if progress is not None:
            progress(Step(n_done, len(paths) + 1, "files copied"))
    sha256, now = hashlib.sha256(data).hexdigest(), there[MANIFEST_NAME]
    is_new = MANIFEST_NAME in wanted
    if is_new:
        with replacing(folder / MANIFEST_NAME) as temporary:
            temporary.write_bytes(data)
        record.keep(MANIFEST_NAME, Seen(sha256, now.version))
    n_removed = _remove_gone(folder, record, {*paths, MANIFEST_NAME}, is_own=is_own)
    n_moved = len(wanted)
    n_kept = len(paths) + 1 - n_moved
    return Moved(manifest.n_images, n_moved, n_kept, n_removed, n_bytes)


def _remove_gone(folder: Path, record: LastSeen, there: set[str], *, is_own: bool) -> int:
    """Remove files that are there no longer, shards once nobody reads them; return how many."""
    gone = [path for path in record if path not in there]
    named = {_find_shard(path) for path in there}
    shards = dict.fromkeys(_find_shard(path) for path in gone)
    if not remove_unread(folder, [name for name in shards if name and name not in named]):
        # Whoever brings the store the next time tries it again.
        gone = [path for path in gone if not _find_shard(path)]
    for path in gone:
        if not is_own or _hash_here(folder / path) == record.find(path).sha256:
            (folder / path).unlink(missing_ok=True)
        record.forget(path)
    return len(gone)


def _find_shard(path: str) -> str:
    """Return the name of the shard that a file is of, ``""`` where it is of none."""
    return path.split("/")[1] if path.startswith("shards/") else ""


def _choose(
    folder: Path, record: LastSeen, paths: list[str], there: dict[str, Found],
    data: bytes, *, is_own: bool,
) -> set[str]:  # fmt: skip
    """Choose what is to be copied.

    Raises
    ------
    StoreError
        If files were changed both here and there.
    """
    wanted, changed = set[str](), list[str]()
    for path in [*paths, MANIFEST_NAME]:
        file, known, now = folder / path, record.find(path), there.get(path)
        is_same_there = now is not None and now.version != "" and now.version == known.version
        if not file.exists():
            wanted.add(path)
        elif not is_own:
            if not is_same_there or (now is not None and file.stat().st_size != now.n_bytes):
                wanted.add(path)
        elif not is_same_there:
            here = _hash_here(file)
            if path == MANIFEST_NAME and here == hashlib.sha256(data).hexdigest():
                record.keep(path, Seen(here, now.version if now is not None else ""))
            elif here == known.sha256:
                wanted.add(path)
            elif now is None or here != _hash_there(f"{record.address}/{path}"):
                changed.append(path)
            else:
                record.keep(path, Seen(here, now.version))
    if changed:
        shown = ", ".join(changed[:3]) + (", …" if len(changed) > 3 else "")
        msg = (
            f"{len(changed)} files were changed both in {folder} and at {record.address}: {shown}. "
            "Pull into another folder, and bring together what you want to keep"
        )
        raise StoreError(msg)
    return wanted


def _fetch_file(folder: Path, path: str, record: LastSeen, sha256: str) -> int:
    """Copy one file, that of a shard compared with the manifest; return its size."""
    address = record.address
    found = remote.look(f"{address}/{path}")
    target = folder / path
    with scratch_beside(target) as scratch:
        copy = scratch / "copy"
        remote.fetch(f"{address}/{path}", copy)
        got, n_bytes = hash_file(copy), copy.stat().st_size
        if sha256 and got != sha256:
            msg = (
                f"{path} of the store at {address} is damaged: its SHA-256 is {got[:12]}…, the "
                f"manifest says {sha256[:12]}…; send it again"
            )
            raise StoreError(msg)
        sync(copy)
        copy.replace(target)
        sync(target.parent)
    record.keep(path, Seen(got, found.version if found is not None else ""))
    return n_bytes


def _hash_here(file: Path) -> str:
    return hash_file(file) if file.exists() else ""


def _list_shards(manifest: Manifest) -> dict[str, str]:
    """Return the files of the shards that have rows, with the SHA-256 of each."""
    return {
        f"shards/{one.name}/{name}": sha256
        for one in manifest.present_shards
        for name, sha256 in (
            (VECTORS_NAME, one.vectors_sha256), (IMAGES_NAME, one.images_sha256),
        )
    }  # fmt: skip


def _list_files(folder: Path) -> list[str]:
    files = (one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
    return sorted(path for path in files if _is_sent(path))


def _is_sent(path: str) -> bool:
    """Tell whether a file is of the store: no lock, nothing half written or laid aside."""
    parts = path.split("/")
    # A name in a bucket could lead out of the folder.
    is_odd = any(not part or part.startswith(".") or "\\" in part for part in parts)
    return not is_odd and parts[0] != "damaged"


def _describe_none(address: str) -> StoreError:
    return StoreError(f"no store at {address}; send one there with: bioprobe store push {address}")


def _describe_change(address: str, paths: list[str]) -> StoreError:
    return StoreError(
        f"{', '.join(paths)} at {address} is not what this store last saw there: somebody else "
        "sent theirs, or it is of another store. It was not replaced; pull it into another folder "
        f"(bioprobe store pull {address} --store FOLDER), or send this store to another address"
    )


@contextlib.contextmanager
def _reading(address: str) -> Iterator[None]:
    """Turn what an address says into errors of the store."""
    try:
        yield
    except FileNotFoundError as error:
        msg = f"there is nothing at {address}: {error}"
        raise StoreError(msg) from error
    except PermissionError as error:
        msg = f"{address} may not be read or written: {error}"
        raise UnreadableError(msg) from error
    except OSError as error:
        raise UnreadableError(str(error)) from error
    except NotImplementedError as error:
        msg = f"{address} cannot be written as a store is: {error}; choose another address"
        raise StoreError(msg) from error
