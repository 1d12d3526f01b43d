"""Which files of a folder are new, and when one is whole.

A card is copied file by file, a camera dumps a picture in pieces, and a share may show a file long
before its last byte. A file is taken for whole once its size and its times have stayed the same for
a while. Whether it decodes is seen when it is read: what does not is tried again when it changes,
and a last time after it has been left alone for long.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, MutableMapping
from pathlib import Path, PurePath

from bioprobe.sources.folders import METADATA_NAMES
from bioprobe.sources.walking import Rules, walk

# Endings that programs give to what they are still writing, before or after the picture's own.
_TEMPORARY = frozenset(
    {".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".!ut"}
)
# What was last written so long ago is no longer being written, whoever's clock that is by.
_LONG_AGO_S = 60.0


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What tells that a file has changed.

    Parameters
    ----------
    n_bytes : int
    modified_ns : int
        Since 1970, as its writer may set it.
    changed_ns : int
        The same as the system keeps it; on Windows when the file was made.
    """

    n_bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, file: str | Path) -> Stamp:
        """Read that of a file.

        Raises
        ------
        OSError
            If it cannot be looked at.
        """
        found = os.stat(file)  # noqa: PTH116 - of many files
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    @property
    def content(self) -> tuple[int, int]:
        """What changes with the bytes alone, and not with a name: size and time."""
        return self.n_bytes, self.modified_ns

    @property
    def newest_s(self) -> float:
        """When it was last written, in seconds since 1970."""
        return max(self.modified_ns, self.changed_ns) / 1e9


@dataclasses.dataclass(frozen=True)
class Look:
    """What lies below a folder at one time.

    Parameters
    ----------
    is_there : bool
        Whether the folder itself could be listed.
    files : dict of str to Stamp
        Pictures by their path.
    left_out : str
        What else there is, in words.
    errors : tuple of OSError
        Of folders below that could not be listed.
    tables : dict of str to Stamp
        Files that may say something of the pictures beside and below them.
    """

    is_there: bool
    files: Mapping[str, Stamp] = dataclasses.field(default_factory=dict)
    left_out: str = ""
    errors: tuple[OSError, ...] = ()
    tables: Mapping[str, Stamp] = dataclasses.field(default_factory=dict)


def look_into(folder: Path, rules: Rules) -> Look:
    """List the pictures below a folder as ``embed`` does, but those still being written."""
    walked = walk(folder, rules)
    if any(error.filename == str(folder) for error in walked.errors):
        return Look(False)
    files = _stamp(file for file in walked.files if not is_temporary(file.name))
    tables = [file for file in walked.others if file.name in METADATA_NAMES]
    left_out = walked.describe(tables)
    return Look(True, files, left_out, tuple(walked.errors), _stamp(tables))


def _stamp(files: Iterable[Path]) -> dict[str, Stamp]:
    found: dict[str, Stamp] = {}
    for file in files:
        # It may have gone since it was listed.
        with contextlib.suppress(OSError):
            found[str(file)] = Stamp.of(file)
    return found


def is_temporary(name: str) -> bool:
    """Tell whether a file is named as programs name what they are still writing.

    Examples
    --------
    >>> is_temporary("IMG_1.part.jpg"), is_temporary("IMG_1.jpg"), is_temporary("~IMG_1.jpg")
    (True, False, True)
    """
    if name.startswith(("~", ".")):
        return True
    return any(one.lower() in _TEMPORARY for one in PurePath(name).suffixes)


def digest_path(path: str) -> bytes:
    """Return what stands for a path where no name is to be kept, 16 bytes."""
    return hashlib.blake2b(os.fsencode(path), digest_size=16).digest()


@dataclasses.dataclass
class _Waiting:
    """A file that is not taken yet: what it was like last, since when, and how often it failed."""

    stamp: Stamp
    since_s: float
    has_failed: bool = False


@dataclasses.dataclass(frozen=True)
class Ready:
    """A file that has stayed the same for long enough.

    Parameters
    ----------
    path : str
    stamp : Stamp
        What it was like all that time.
    is_last : bool
        Whether it is not waited for any longer if it does not decode.
    """

    path: str
    stamp: Stamp
    is_last: bool


class Arrivals:
    """Which files wait, which are whole, and which were done.

    Parameters
    ----------
    done : mapping of bytes to (int, int)
        Size and time of what was done, by :func:`digest_path`; it is added to.
    settle_s : float
        Seconds that size and times of a file must stay the same, ≥ 0.
    patience_s : float
        Seconds that one which does not decode is waited for after its last change, ≥ 0.
    """

    def __init__(
        self, done: MutableMapping[bytes, tuple[int, int]], settle_s: float, patience_s: float
    ) -> None:
        self._done, self._settle_s, self._patience_s = done, settle_s, patience_s
        self._looked_s = 0.0
        self._waiting: dict[str, _Waiting] = {}
        self._failed: dict[str, Stamp] = {}

    def count_waiting(self, among: Collection[str]) -> int:
        """Return how many of some files wait."""
        return sum(path in self._waiting for path in among)

    def see(self, files: Mapping[str, Stamp], now_s: float, *, ahead_s: float = 0.0) -> None:
        """Take in what lies in the folder now.

        Parameters
        ----------
        files : mapping of str to Stamp
            All of it: what waits and is not there any more waits no longer.
        now_s : float
            Seconds by a clock that nobody sets, as all that is waited for is measured by.
        ahead_s : float
            How far the clock by which files have their times, since 1970, is ahead of that.
        """
        self._looked_s = now_s
        self._waiting = {path: one for path, one in self._waiting.items() if path in files}
        for path, stamp in files.items():
            waiting = self._waiting.get(path)
            if waiting is not None:
                if waiting.stamp != stamp:
                    self._waiting[path] = _Waiting(stamp, now_s)
            elif not self._is_done(path, stamp):
                since_s = now_s
                newest_s = stamp.newest_s - ahead_s
                if newest_s < now_s - max(_LONG_AGO_S, self._settle_s):
                    since_s = newest_s
                self._waiting[path] = _Waiting(stamp, since_s)

    def _is_done(self, path: str, stamp: Stamp) -> bool:
        if self._failed.get(path) == stamp:
            return True
        return self._done.get(digest_path(path)) == stamp.content

    def list_ready(self) -> list[Ready]:
        """Return what was whole at the last look, or is waited for no longer, oldest first."""
        # Of what has become of a file since then nothing is known.
        ready = [
            (one.since_s, Ready(path, one.stamp, age_s >= self._patience_s))
            for path, one in self._waiting.items()
            if (age_s := self._looked_s - one.since_s) >= self._find_wait(one)
        ]
        return [one for _, one in sorted(ready, key=lambda pair: (pair[0], pair[1].path))]

    def find_next(self, now_s: float) -> float | None:
        """Return in how many seconds the next file may be whole; None where none waits."""
        waits = [one.since_s + self._find_wait(one) - now_s for one in self._waiting.values()]
        return max(0.0, min(waits)) if waits else None

    def find_longest(self, now_s: float) -> float:
        """Return how many seconds the file has waited that was whole first, 0 where none is."""
        waits = [now_s - one.since_s - self._find_wait(one) for one in self._waiting.values()]
        return max(0.0, *waits) if waits else 0.0

    def _find_wait(self, one: _Waiting) -> float:
        return max(self._settle_s, self._patience_s if one.has_failed else 0)

    def repeat(self, paths: Iterable[str], files: Mapping[str, Stamp], now_s: float) -> None:
        """Let files be taken again that were done, as something else is said of them."""
        for path in paths:
            if path not in self._waiting:
                self._waiting[path] = _Waiting(files[path], now_s - self._settle_s)

    def finish(self, ready: Ready) -> None:
        """Say that a file was taken: it waits again only if it changes."""
        self._waiting.pop(ready.path, None)
        self._failed.pop(ready.path, None)
        self._done[digest_path(ready.path)] = ready.stamp.content

    def wait_again(self, ready: Ready, now_s: float) -> None:
        """Say that a file changed while it was read: what it is by now is to settle anew."""
        self._waiting[ready.path] = _Waiting(ready.stamp, now_s)

    def fail(self, ready: Ready) -> None:
        """Say that a file does not decode: it waits on, or for a change where it was the last try.

        A file that failed is done with the process: the next one tries it again.
        """
        waiting = self._waiting.get(ready.path)
        if ready.is_last:
            self._waiting.pop(ready.path, None)
            self._failed[ready.path] = ready.stamp
        elif waiting is not None:
            waiting.has_failed = True
