"""What wakes a watch: the system's word that something changed in a folder, or time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# How often a wait looks for changes, and how long it lets them come in together.
_STEP_MS, _DEBOUNCE_MS = 100, 300


class Waker:
    """Waits for changes below a folder, which may go away and come back.

    On network shares, of what another machine writes, no change is told: time wakes then.

    Parameters
    ----------
    folder : Path
    tell : callable
        Told in a sentence where the system tells of no changes.

    References
    ----------
    watchfiles, which has them of inotify, FSEvents or ReadDirectoryChangesW by the library notify.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder, self._tell = folder, tell
        self._changes: Iterator[Any] | None = None
        self._of: tuple[int, int] | None = None
        self._failed_of: tuple[int, int] | None = None

    def wait(self, seconds_s: float) -> bool:
        """Wait so long at most; return sooner, and true, where something changed.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C.
        """
        deadline_s = time.monotonic() + seconds_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            changes = self._open()
            if changes is None:
                time.sleep(min(left_s, _STEP_MS / 1000))
                if self._identify() not in {None, self._failed_of}:
                    # The folder came back.
                    return True
                continue
            try:
                if next(changes):
                    return True
            except StopIteration:
                self.close()
            except OSError as error:
                self._give_up(error)
            if self._identify() != self._of:
                # It was moved away, or another stands in its place.
                self.close()
                return True
        return False

    def _identify(self) -> tuple[int, int] | None:
        try:
            found = self._folder.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> Iterator[Any] | None:
        import watchfiles

        if self._changes is None:
            found = self._identify()
            if found is None or found == self._failed_of:
                return None
            self._of = found
            self._changes = watchfiles.watch(
                self._folder, watch_filter=None, debounce=_DEBOUNCE_MS, step=_STEP_MS // 2,
                rust_timeout=_STEP_MS, yield_on_timeout=True, ignore_permission_denied=True,
            )  # fmt: skip
        return self._changes

    def _give_up(self, error: OSError) -> None:
        is_there = self._identify() is not None
        self.close()
        if is_there:
            self._failed_of = self._identify()
            self._tell(
                f"the system tells of no changes in {self._folder} ({error}); it is looked through "
                "at each --rescan. On Linux sysctl fs.inotify.max_user_watches says how many "
                "folders may be watched"
            )

    def close(self) -> None:
        """Wait for changes no longer."""
        changes, self._changes, self._of = self._changes, None, None
        close = getattr(changes, "close", None)
        if close is not None:
            with contextlib.suppress(RuntimeError):
                close()
