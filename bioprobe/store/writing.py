"""One writer at a time, that clears away what killed ones left."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from bioprobe.access import is_file
from bioprobe.errors import StoreError, StoreLockedError
from bioprobe.files import explaining_refusal
from bioprobe.store.manifest import MANIFEST_NAME, Manifest

LOCK_NAME = ".lock"
#: How long what is written in a moment waits for another writer: longer than several such writes
#: take one after the other, shorter than anybody watches a terminal that says nothing.
QUICK_WAIT_S = 5.0
# Programs that only ask a store write derived files into it without the lock: what they are at
# work on is younger than this.
_DERIVED_AGE_S = 3600.0
_WRITTEN_UNDER_LOCK = (".manifest.json.", ".failures.parquet.", ".taxa.csv.")


@contextlib.contextmanager
def holding(folder: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Be the only writer of a store while the block runs, and begin without leftovers.

    The system frees the lock when the process ends, however it ends.

    Parameters
    ----------
    folder : Path
        Folder of the store.
    wait_s : float
        Seconds to wait for another writer, ≥ 0.

    Yields
    ------
    None

    Raises
    ------
    StoreLockedError
        If another process holds the store.
    StoreError
        If the folder cannot be written, or its disk knows no locks.
    """
    with locking(folder / LOCK_NAME, wait_s, f"writing to {folder}", "choose another --store"):
        sweep(folder)
        yield


def check_present(folder: Path) -> None:
    """Refuse to write beside a manifest that is not there: it would leave half of a store.

    Raises
    ------
    StoreError
        If there is no store in the folder.
    UnreadableError
        If that cannot be told.
    """
    if not is_file(folder / MANIFEST_NAME):
        msg = f"there is no store at {folder} any more; open it where it lies now"
        raise StoreError(msg)


@contextlib.contextmanager
def locking(file: Path, wait_s: float, doing: str, otherwise: str = "") -> Iterator[None]:
    """Hold a lock file while the block runs.

    Parameters
    ----------
    file : Path
        Lock file; its folder exists.
    wait_s : float
        Seconds to wait for another process, ≥ 0.
    doing : str
        What who holds it does, such as ``writing to embeddings/all``.
    otherwise : str
        What to do instead of waiting, if there is something.

    Yields
    ------
    None

    Raises
    ------
    StoreLockedError
        If another process holds it.
    StoreError
        If the file cannot be written, or its disk knows no locks.
    """
    import filelock

    lock = filelock.FileLock(file, timeout=wait_s)
    with explaining_refusal(file.parent):
        try:
            lock.acquire()
        except filelock.Timeout:
            waited = f", and was not done within {wait_s:g} s" if wait_s else ""
            remedy = f", or {otherwise}" if otherwise else ""
            msg = f"another process is {doing}{waited}; wait until it has ended{remedy}"
            raise StoreLockedError(msg) from None
        except NotImplementedError as error:
            msg = f"the disk of {file.parent} cannot lock files; choose a place on another disk"
            raise StoreError(msg) from error
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Remove what interrupted writers left; call it under the lock.

    These are temporary files, unfinished shards, and the one shard that had its name already but
    did not yet stand in the manifest. Other folders that no manifest names stay: after an older
    manifest was put back they may be all there is.
    """
    places = (".*.tmp", "text/**/.*.tmp", "selections/**/.*.tmp")
    for file in (file for place in places for file in folder.glob(place) if file.is_file()):
        if file.name.startswith(_WRITTEN_UNDER_LOCK) or _is_old(file):
            with contextlib.suppress(OSError):
                file.unlink()
    if not (folder / MANIFEST_NAME).is_file():
        return
    with contextlib.suppress(StoreError):
        next_name = Manifest.read(folder).next_shard_name
        shutil.rmtree(folder / "shards" / next_name, ignore_errors=True)
        for unfinished in (folder / "shards").glob(".*.tmp"):
            if re.fullmatch(r"\.\d+\.tmp", unfinished.name):
                shutil.rmtree(unfinished, ignore_errors=True)


def _is_old(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime > _DERIVED_AGE_S
    except OSError:
        return False
