"""Who is told that an animal was seen: a command, or an address on the web.

A command is run with its arguments as they are, by no shell: names of files and labels are
arguments of their own, whatever they hold. It gets all that is told as JSON on standard input, and
in environment variables. An address is sent the same JSON.

Where it fails it is tried again, later each time. A command that a killed watch has begun runs on
to its end, and the next watch reads from a receipt how it ended, so that it is run once. Of what
was sent to an address and not acknowledged nobody can tell whether it arrived: it is sent again
with the same ``Idempotency-Key``, by which the receiver knows it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from bioprobe.errors import BioprobeError, MisuseError
from bioprobe.files import explaining_refusal, is_full
from bioprobe.watching.ledger import LONGEST_PAUSE_S, Due, Ledger

#: What can stand in braces in a command.
PLACEHOLDERS = (
    "id", "alert", "over", "score", "answer", "answer_score", "file", "region", "time", "place",
    "event", "store",
)  # fmt: skip
_PLACEHOLDER = re.compile(r"\{([a-z_]*)\}")
_VARIABLE = "BIOPROBE_ALERT_"
# A command that takes longer hangs; an address that is silent for so long does not answer.
_COMMAND_S = 300.0
_ANSWER_S = 20.0
# From the first failure on the waiting doubles, up to
# LONGEST_PAUSE_S.
_FIRST_PAUSE_S = 1.0
# Positional, so that no argument is read as part of the script: who killed the watch has not
# killed this shell, which writes how the command ended.
_SUPERVISE = 'receipt=$1; shift; "$@"; echo $? >"$receipt.new" && mv "$receipt.new" "$receipt"'
_SAID_BYTES = 500


@dataclasses.dataclass(frozen=True)
class Attempt:
    """How a try to deliver an alert ended.

    Parameters
    ----------
    problem : str
        Why it failed, ``""`` where it was delivered.
    pause_s : float
        Least seconds that the receiver asks to be left alone.
    """

    problem: str = ""
    pause_s: float = 0.0


class Channel(Protocol):
    """Whoever is told."""

    def deliver(self, due: Due) -> Attempt:
        """Tell one alert."""

    def forget(self, due: Due) -> None:
        """Remove what was kept of a try, once the ledger knows how it ended."""


def _pause_after(n_tries: int) -> float:
    """Return how many seconds to wait after so many failures.

    Examples
    --------
    >>> [_pause_after(n) for n in (1, 2, 3, 20)]
    [1.0, 2.0, 4.0, 600.0]
    """
    return float(min(LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(n_tries - 1, 30)))


class Said:
    """Whoever reads what the watch says."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def deliver(self, due: Due) -> Attempt:
        """Say one alert."""
        told = due.payload
        self._tell(f"ALERT {told['alert']} {told['score']:.3g}: {told['file']} ({told['place']})")
        return Attempt()

    def forget(self, due: Due) -> None:
        """Remove nothing: nothing is kept."""


class Command:
    """A command that is run for each alert.

    Parameters
    ----------
    line : str
        Program and arguments as a shell splits them; ``{file}`` and its like stand for what is
        told, each within its argument.
    folder : Path
        Where what the command reads and its receipt lie until it has ended; made when needed.

    Raises
    ------
    MisuseError
        If it cannot be split, names nothing that can be run, or has unknown braces.
    """

    def __init__(self, line: str, folder: Path) -> None:
        try:
            self._arguments = shlex.split(line, posix=os.name == "posix")
        except ValueError as error:
            msg = f"--command {line!r} cannot be split into arguments: {str(error).lower()}"
            raise MisuseError(msg) from error
        unknown = [one for one in _PLACEHOLDER.findall(line) if one not in PLACEHOLDERS]
        if unknown:
            known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            msg = f"--command has {{{unknown[0]}}}, which stands for nothing; there are {known}"
            raise MisuseError(msg)
        if not self._arguments or shutil.which(self._arguments[0]) is None:
            msg = (
                f"--command begins with {' '.join(self._arguments[:1]) or 'nothing'!r}, which is "
                "no program that can be run; name one by its path"
            )
            raise MisuseError(msg)
        self._folder = folder

    def fill(self, payload: Mapping[str, Any]) -> list[str]:
        """Return the arguments for one alert."""

        def name(found: re.Match[str]) -> str:
            return _write(payload.get(found[1]))

        return [_PLACEHOLDER.sub(name, one) for one in self._arguments]

    def deliver(self, due: Due) -> Attempt:
        """Run the command, unless it has run for this alert already, and wait for its end."""
        with explaining_refusal(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            # Of each try its own, so that none reads how another ended.
            told = self._folder / f"{due.id}-{due.n_tries}.json"
            receipt, said = told.with_suffix(".receipt"), told.with_suffix(".log")
            # In ASCII, as a name may be no text that UTF-8 can hold.
            told.write_text(json.dumps(due.payload), encoding="ascii")
            code = self._run(due.payload, told, receipt, said)
            return Attempt("" if code == 0 else f"the command ended with {code}{_read_end(said)}")

    def forget(self, due: Due) -> None:
        """Remove what the command read, wrote and left of a receipt."""
        with contextlib.suppress(OSError):
            for file in self._folder.glob(f"{due.id}-*"):
                file.unlink()
            self._folder.rmdir()

    def _run(self, payload: Mapping[str, Any], told: Path, receipt: Path, said: Path) -> int | str:
        """Return the exit status, or why there is none."""
        environment = {
            **os.environ,
            **{f"{_VARIABLE}{key.upper()}": _write(value) for key, value in payload.items()},
        }
        arguments = self.fill(payload)
        deadline_s = time.monotonic() + _COMMAND_S
        if sys.platform == "win32":
            with told.open("rb") as read, said.open("wb") as log:
                try:
                    return subprocess.run(
                        arguments, stdin=read, stdout=log, stderr=log, env=environment,
                        timeout=_COMMAND_S, check=False,
                    ).returncode  # fmt: skip
                except (OSError, subprocess.TimeoutExpired) as error:
                    return str(error)
        with receipt.with_suffix(".lock").open("ab") as lock:
            # Whoever was begun by a watch that was killed holds it until it has ended.
            while not receipt.exists() and not _try_lock(lock.fileno()):
                if time.monotonic() > deadline_s:
                    return f"no end within {_COMMAND_S:g} s, begun by an earlier watch"
                time.sleep(0.05)
            if receipt.exists():
                return _read_receipt(receipt)
            with told.open("rb") as read, said.open("wb") as log:
                try:
                    # A session of its own: Ctrl-C is for the watch, not for it.
                    running = subprocess.Popen(
                        ["/bin/sh", "-c", _SUPERVISE, "sh", str(receipt), *arguments],
                        stdin=read, stdout=log, stderr=log, env=environment,
                        pass_fds=[lock.fileno()], start_new_session=True,
                    )  # fmt: skip
                except (OSError, ValueError) as error:
                    return str(error)
            try:
                running.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                running.wait()
                return f"no end within {_COMMAND_S:g} s"
            return _read_receipt(receipt)


def _try_lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_receipt(receipt: Path) -> int | str:
    try:
        return int(receipt.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return "nothing, as it was killed"


def _read_end(said: Path) -> str:
    """Return the last line that a command wrote, for a message."""
    try:
        text = said.read_bytes()[-_SAID_BYTES:].decode(errors="replace").strip()
    except OSError:
        return ""
    return f" ({text.splitlines()[-1].strip()})" if text else ""


def _write(value: object) -> str:
    """Write what is told as an argument, or in a variable, which hold no NUL."""
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("\0", "")


class Webhook:
    """An address that is sent each alert.

    Parameters
    ----------
    url : str
        ``http`` or ``https``, with ``USER:PASSWORD@`` before the host where it asks for them; a
        machine of one's own network too, as the user names it himself.

    Raises
    ------
    MisuseError
        If it is no such address.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = f"--webhook is an address that begins with http:// or https://, got {url!r}"
            raise MisuseError(msg)
        self._url, self._host = url, parts.hostname
        self._login = ""
        if parts.username is not None:
            self._login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        self._pool: Any = None

    def forget(self, due: Due) -> None:
        """Remove nothing: nothing is kept."""

    def deliver(self, due: Due) -> Attempt:
        """Send one alert; anything but a status of 200 to 299 is a failure."""
        import urllib3

        if self._pool is None:
            self._pool = urllib3.PoolManager(retries=False, timeout=_ANSWER_S)
        login = urllib3.make_headers(basic_auth=self._login) if self._login else {}
        try:
            answer = self._pool.request(
                "POST",
                self._url,
                body=json.dumps(due.payload, ensure_ascii=False).encode(errors="replace"),
                headers={"Content-Type": "application/json", "Idempotency-Key": due.id, **login},
                redirect=False,
                # Nobody needs what it says beyond that, which may have no end.
                preload_content=False,
            )
            answer.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # The address may hold a key, which is nobody's business.
            kind = type(error).__name__
            return Attempt(f"{self._host} could not be reached ({kind})")
        if 200 <= answer.status < 300:
            return Attempt()
        where = " elsewhere: name the new address" if 300 <= answer.status < 400 else ""
        reason = f" {answer.reason}" if answer.reason else ""
        return Attempt(
            f"{self._host} answers {answer.status}{reason}{where}",
            _read_pause(answer.headers.get("Retry-After", "")),
        )


def _read_pause(text: str) -> float:
    return min(float(text), LONGEST_PAUSE_S) if text.strip().isdecimal() else 0.0


class Delivery:
    """Tells what is due, in a thread for each channel: neither waits for the other.

    Parameters
    ----------
    ledger : Ledger
    channels : mapping of str to Channel
    tell : callable
        Told in a sentence what failed.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        ledger: Ledger,
        channels: Mapping[str, Channel],
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._channels, self._tell, self._clock = ledger, channels, tell, clock
        # What an earlier run has left does not wait for its time.
        ledger.wake_alerts(clock())
        self._works = {name: threading.Event() for name in channels}
        self._stops = False
        self._threads: list[threading.Thread] = []
        self._error: BioprobeError | None = None
        self._n_done = dict.fromkeys(channels, 0)

    @property
    def n_done(self) -> int:
        """How many were delivered."""
        return sum(self._n_done.values())

    def deliver_due(self, channels: Collection[str] | None = None) -> Sequence[Due]:
        """Try all that is due now, once each; return what failed.

        Parameters
        ----------
        channels : collection of str, optional
            To whom; by default to all.
        """
        failed = []
        for due in self._ledger.list_due(self._clock(), channels or self._channels):
            if self._stops:
                break
            attempt = self._channels[due.channel].deliver(due)
            if not attempt.problem:
                self._ledger.finish_alert(due.id)
                self._channels[due.channel].forget(due)
                self._n_done[due.channel] += 1
                continue
            n_tries = due.n_tries + 1
            pause_s = max(_pause_after(n_tries), attempt.pause_s)
            self._ledger.postpone_alert(due.id, self._clock() + pause_s)
            self._channels[due.channel].forget(due)
            failed.append(due)
            # The first failures are news, and of the later ones fewer and fewer.
            if n_tries & (n_tries - 1) == 0:
                self._tell(
                    f"alert of {due.payload.get('alert')} for {due.payload.get('file')} failed: "
                    f"{attempt.problem}; tried {n_tries:,} times, again in {pause_s:g} s"
                )
        return failed

    def start(self) -> None:
        """Begin to deliver."""
        for name in self._channels:
            thread = threading.Thread(
                target=self._run, args=(name,), name=f"bioprobe-{name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def wake(self) -> None:
        """Say that something may be due.

        Raises
        ------
        BioprobeError
            If the ledger could not be used meanwhile.
        """
        if self._error is not None:
            raise self._error
        for work in self._works.values():
            work.set()

    def stop(self) -> None:
        """Deliver nothing more; a command that runs comes to its end by itself."""
        self._stops = True
        for work in self._works.values():
            work.set()
        deadline_s = time.monotonic() + 1.0
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline_s - time.monotonic()))

    def _run(self, channel: str) -> None:
        work = self._works[channel]
        while not self._stops:
            waits = 1
            try:
                self.deliver_due([channel])
                waits = self._ledger.count_waiting([channel])
            except BioprobeError as error:
                if not is_full(error):
                    self._error = error
                    return
            work.wait(timeout=1.0 if waits else 5.0)
            work.clear()
