"""What wakes a watch: the system's word that something changed in a folder, or time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

# How long changes are let come in together, and how often it is seen whether the folder is the
# one that it was.
_DEBOUNCE_MS, _STEP_MS, _TIMEOUT_MS = 300, 50, 200
_GLANCE_S = 0.25

Identity = tuple[int, int] | None


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
        self._woke, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._of: Identity = None
        self._failed_of: Identity = None
        self._error = ""

    def wait(self, seconds_s: float) -> bool:
        """Wait so long at most; return sooner, and true, where something may have changed."""
        deadline_s = time.monotonic() + seconds_s
        while True:
            self._listen()
            left_s = deadline_s - time.monotonic()
            # In slices, as the folder may go, which no event tells.
            if self._woke.wait(max(0.0, min(left_s, _GLANCE_S))):
                self._woke.clear()
                return True
            if left_s <= _GLANCE_S:
                return False

    def close(self) -> None:
        """Wait for changes no longer."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)
        self._thread, self._of = None, None

    def _listen(self) -> None:
        """Listen to the folder that is there now; wake where it is another than before."""
        found = self._identify()
        if self._error:
            self._tell(
                f"the system tells of no changes in {self._folder} ({self._error}); it is looked "
                "through at each --rescan. On Linux sysctl fs.inotify.max_user_watches says how "
                "many folders may be watched"
            )
            self._error, self._failed_of = "", found
        if found == self._of:
            return
        if self._of is not None or self._thread is not None:
            self.close()
            self._woke.set()
        if found is None or found == self._failed_of:
            return
        self._of, self._stop = found, threading.Event()
        # Not in the main thread, in which a library would keep signals from it.
        self._thread = threading.Thread(
            target=self._run, args=(self._stop,), name="bioprobe-waking", daemon=True
        )
        self._thread.start()

    def _run(self, stop: threading.Event) -> None:
        import watchfiles

        try:
            changes = watchfiles.watch(
                self._folder, watch_filter=None, debounce=_DEBOUNCE_MS, step=_STEP_MS,
                stop_event=stop, rust_timeout=_TIMEOUT_MS, yield_on_timeout=True,
                ignore_permission_denied=True,
            )  # fmt: skip
            # The first says that it listens from now on: what came before is to be looked for.
            is_first = True
            for found in changes:
                if found or is_first:
                    self._woke.set()
                is_first = False
        except OSError as error:
            if self._identify() is not None:
                self._error = str(error)

    def _identify(self) -> Identity:
        try:
            found = self._folder.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
