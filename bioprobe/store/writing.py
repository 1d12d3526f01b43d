"""One writer at a time, that clears away what killed ones left."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from bioprobe.errors import StoreError, StoreLockedError
from bioprobe.files import explaining_refusal
from bioprobe.store.manifest import MANIFEST_NAME, Manifest

LOCK_NAME = ".lock"
# Programs that only ask a store write derived files into it without the lock: what they are at
# work on is younger than this.
_DERIVED_AGE_S = 3600.0
_WRITTEN_UNDER_LOCK = (".manifest.json.", ".failures.parquet.", ".taxa.csv.")


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Be the only writer of a store while the block runs, and begin without leftovers.

    The system frees the lock when the process ends, however it ends.

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
    import filelock

    lock = filelock.FileLock(folder / LOCK_NAME, timeout=0)
    with explaining_refusal(folder):
        try:
            lock.acquire()
        except filelock.Timeout:
            msg = (
                f"another process is writing to {folder}; wait until it has ended, or choose "
                "another --store"
            )
            raise StoreLockedError(msg) from None
        except NotImplementedError as error:
            msg = f"the disk of {folder} cannot lock files; choose a --store on another disk"
            raise StoreError(msg) from error
    try:
        sweep(folder)
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
