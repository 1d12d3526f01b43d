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
from bioprobe.files import explaining_refusal, refuse_closed, sweep_data, sweep_temporaries
from bioprobe.store.lease import remove_unread
from bioprobe.store.manifest import MANIFEST_NAME, Manifest

LOCK_NAME = ".lock"
#: How long what is written in a moment waits for another writer: longer than several such writes
#: take one after the other, shorter than anybody watches a terminal that says nothing.
QUICK_WAIT_S = 5.0
# Programs that only ask a store add texts to it without the lock, in two files one after the other.
_ABANDONED_AGE_S = 3600.0


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

    Raises
    ------
    StoreLockedError
        If another process holds it.
    StoreError
        If the file cannot be written, or its disk knows no locks.
    """
    import filelock

    refuse_closed(file)
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

    These are temporary files and folders that nobody is at work on, data that no card names,
    drafts of imports, unfinished shards, the shards that had their names already but did not yet
    stand in the manifest, and those that a compaction replaced, once nobody reads them. Other
    folders that no manifest names stay: after an older manifest was put back they may be all there
    is.
    """
    from bioprobe.store.kept import sweep_kept

    for place in (
        "",
        "probes",
        "probes/*",
        "evaluations",
        "selections/**",
        "annotations",
        "text/**",
        "kept/*",
        "maps",
    ):
        for inside in [folder] if not place else folder.glob(place):
            if inside.is_dir():
                sweep_temporaries(inside)
    _sweep_texts(folder / "text")
    _sweep_data(folder)
    sweep_kept(folder)
    with contextlib.suppress(StoreError):
        has_manifest = (folder / MANIFEST_NAME).is_file()
        manifest = Manifest.read(folder) if has_manifest else None
        for draft in folder.glob(".import-*"):
            _sweep_import(folder, draft, manifest)
        if manifest is not None:
            _sweep_shards(folder / "shards", manifest)
            if manifest.is_cleared:
                remove_unread(folder, manifest.outdated)


def _sweep_shards(folder: Path, manifest: Manifest) -> None:
    shutil.rmtree(folder / manifest.next_shard_name, ignore_errors=True)
    for unfinished in folder.glob(".*.tmp"):
        if re.fullmatch(r"\.(\d+|c\d+n\d+)\.tmp", unfinished.name):
            shutil.rmtree(unfinished, ignore_errors=True)
    # Of a compaction that did not come to its end.
    for unfinished in folder.glob(f"c{manifest.generation + 1}n*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def _sweep_texts(folder: Path) -> None:
    for head in folder.glob("heads/.*.tmp"):
        # As earlier versions named them; they are written under the lock.
        shutil.rmtree(head, ignore_errors=True)
    for data in folder.glob("*/*.npy"):
        if not data.with_suffix(".json").is_file() and _is_old(data):
            data.unlink(missing_ok=True)


def _sweep_data(folder: Path) -> None:
    # Also of a card that was never written.
    data = [
        *folder.glob("index-*.faiss"),
        *folder.glob("evaluations/*-*.parquet"),
        *folder.glob("probes/*/probe-*.safetensors"),
    ]
    for card in {one.with_name(f"{one.stem.rpartition('-')[0]}.json") for one in data}:
        sweep_data(card)
    for probe in folder.glob("probes/*"):
        with contextlib.suppress(OSError):
            probe.rmdir()


def _sweep_import(folder: Path, draft: Path, manifest: Manifest | None) -> None:
    """Remove a draft, and the shards of it that were moved but are not in the manifest."""
    with contextlib.suppress(StoreError):
        drafted = Manifest.read(draft / "store")
        target = manifest or drafted
        n_shards = len(manifest.shards) if manifest else 0
        for place, record in enumerate(drafted.shards, start=n_shards):
            if not (draft / "store" / "shards" / record.name).exists():
                shutil.rmtree(folder / "shards" / target.name_shard(place), ignore_errors=True)
    shutil.rmtree(draft, ignore_errors=True)


def _is_old(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime > _ABANDONED_AGE_S
    except OSError:
        return False
