"""Who reads a store: its shards stay as long as anybody does who opened it with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from bioprobe.store.manifest import Manifest


class Lease:
    """Holds the shards of one generation of a store, until nobody has this object any more.

    It is a shared lock (``flock``) of the folder of the first shard, which is freed when the
    process ends, however it ends. Appending keeps that shard, and compaction replaces it.

    Parameters
    ----------
    descriptor : int, optional
        Of that folder, open and locked; None where there is no shard, or no such lock.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.is_locked = descriptor is not None
        if descriptor is not None:
            weakref.finalize(self, os.close, descriptor)

    def then(self, call: Callable[..., object], *given: object, **named: object) -> None:
        """Call something once nobody has this object, at the latest when the program ends."""
        weakref.finalize(self, call, *given, **named)


def take_lease(folder: Path, manifest: Manifest) -> Lease:
    """Hold the shards of a manifest, where there are any and the disk has such a lock.

    Raises
    ------
    FileNotFoundError
        If the first shard is not there, as where a compaction has replaced it since the manifest
        was read.
    """
    shards = manifest.present_shards
    if not shards or sys.platform == "win32":
        return Lease()
    import fcntl

    place = folder / "shards" / shards[0].name
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        return Lease()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:
        os.close(descriptor)
        return Lease()
    lease = Lease(descriptor)
    # Whoever removes it holds it until it is away.
    if not os.path.samestat(os.fstat(descriptor), place.stat()):
        raise FileNotFoundError(place)
    return lease


def remove_unread(folder: Path, names: Sequence[str]) -> bool:
    """Remove shards that were replaced unless somebody reads them; tell whether all went."""
    shards_dir = folder / "shards"
    places = [shards_dir / name for name in names if (shards_dir / name).is_dir()]
    if not places:
        return True
    # Where a repair has taken out the first shard since, a reader holds it there.
    aside = [one for one in (folder / "damaged").glob("*") if one.is_dir()]
    first = _try_hold(places[0])
    if first is None:
        return False
    try:
        for place in [*places[1:], *aside]:
            held = _try_hold(place)
            if held is None:
                return False
            os.close(held)
        # The first stays to the end: by it a reader that is about to open sees that it is too late.
        for place in reversed(places):
            shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(first)
    return not any(place.exists() for place in places)


def list_outdated(folder: Path, manifest: Manifest) -> list[str]:
    """Return the names of shards that a compaction replaced, and that are on the disk still."""
    return [name for name in manifest.outdated if (folder / "shards" / name).exists()]


def _try_hold(place: Path) -> int | None:
    """Return a descriptor of a folder that nobody holds, locked where the disk can; else None."""
    if sys.platform == "win32":
        # Windows refuses to remove what is mapped.
        return os.open(os.devnull, os.O_RDONLY)
    import fcntl

    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return os.open(os.devnull, os.O_RDONLY)
    with contextlib.suppress(OSError):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
    return descriptor
