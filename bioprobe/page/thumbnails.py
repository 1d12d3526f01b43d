"""Small pictures for pages, made once and kept by what they show."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bioprobe.cache import find_cache
from bioprobe.errors import ImageReadError, StoreError
from bioprobe.files import replacing
from bioprobe.images.location import ImageLocation
from bioprobe.images.regions import Region
from bioprobe.page.html import make_thumbnail

#: Most bytes of all that are kept; those that were not shown for longest go first.
MOST_BYTES = 2 << 30
# Bytes that are written before it is looked how many there are.
_BYTES_A_SWEEP = 64 << 20
# How they are made; another number is another thumbnail.
_VERSION = 1
_START = "data:image/jpeg;base64,"


class Thumbnails:
    """Thumbnails in a folder of the cache, whichever store they are of.

    A store may be on a disk that cannot be written, or that many read; its thumbnails lie in the
    cache of who looks. Each is named by the SHA-256 of the picture, what part of it is shown and
    who is obscured in it, so that none is ever shown of what has changed.

    Parameters
    ----------
    folder : Path, optional
        By default ``thumbnails`` in the cache.
    most_bytes : int
        Of all of them.
    """

    def __init__(self, folder: Path | None = None, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder or find_cache("thumbnails")
        self._most_bytes = most_bytes
        self._n_unseen = _BYTES_A_SWEEP
        self._sweeping = threading.Lock()

    def read(self, place: ImageLocation, size_px: int) -> bytes:
        """Return a JPEG of a picture, its longer side at most ``size_px``; people are obscured.

        Parameters
        ----------
        place : ImageLocation
            Of a store; a region is shown framed, in its surroundings.
        size_px : int
            One of few: each picture is kept at each.

        Raises
        ------
        ImageReadError
            If the picture is gone or cannot be read, and was never shown.
        """
        file = self._folder / _name(place, size_px)
        with contextlib.suppress(OSError):
            data = file.read_bytes()
            # What is shown is kept longest.
            with contextlib.suppress(OSError):
                os.utime(file)
            return data
        drawn = make_thumbnail(place, size_px)
        if not drawn:
            msg = f"{place.path} is gone or cannot be read; look where {place.root} is now"
            raise ImageReadError(msg)
        data = base64.b64decode(drawn[len(_START) :])
        # A disk that is full or cannot be written makes it slower and nothing else.
        with contextlib.suppress(StoreError, OSError):
            with replacing(file) as temporary:
                temporary.write_bytes(data)
            self._count(len(data))
        return data

    def _count(self, n_bytes: int) -> None:
        self._n_unseen += n_bytes
        if self._n_unseen < min(_BYTES_A_SWEEP, self._most_bytes):
            return
        if self._sweeping.acquire(blocking=False):
            try:
                self._n_unseen = 0
                _sweep(self._folder, self._most_bytes)
            finally:
                self._sweeping.release()


def name_thumbnail(place: ImageLocation, size_px: int) -> str:
    """Return what a thumbnail is of, by which browsers tell whether theirs is the same."""
    return _name(place, size_px).stem


def _name(place: ImageLocation, size_px: int) -> Path:
    shown = [str(place.sha256), place.region, _write(place.people)]
    key = hashlib.sha256("\0".join([str(_VERSION), *shown]).encode("utf-8", "replace")).hexdigest()
    return Path(key[:2]) / f"{key[:40]}-{size_px}.jpg"


def _write(people: Sequence[Region]) -> str:
    return ";".join(f"{one.x},{one.y},{one.width},{one.height}" for one in people)


def _sweep(folder: Path, most_bytes: int) -> None:
    """Remove those that were not shown for longest, until a tenth of the room is free."""
    kept = []
    for part in folder.iterdir():
        with contextlib.suppress(OSError), os.scandir(part) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    facts = entry.stat()
                    kept.append((facts.st_mtime, facts.st_size, entry.path))
    total = sum(size for _, size, _ in kept)
    if total <= most_bytes:
        return
    now = time.time()
    for shown, size, path in sorted(kept):
        if total <= 0.9 * most_bytes or shown > now:
            break
        with contextlib.suppress(OSError):
            Path(path).unlink()
            total -= size
