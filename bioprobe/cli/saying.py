"""Messages and progress, on standard error."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from bioprobe.errors import MisuseError
from bioprobe.progress import Progress, Step

if TYPE_CHECKING:
    from tqdm import tqdm

# A command that says nothing for so long says that it is at work.
_SILENT_S = 0.7
# From here on a command says how long it took.
_LONG_S = 2.0
# What loads models tells it there.
_LOADING = "bioprobe.loading"
# Work that ends before shows no bar.
_DELAY_S = 0.5
_WITHOUT_TIME_LEFT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"
# A step that takes longer ends a batch; so many that do not are no part of one.
_BATCH_S = 0.05
_QUICK_STEPS = 1000


def say(message: str, *, quiet: bool = False) -> None:
    """Print one message to standard error."""
    if not quiet:
        typer.echo(spell(message), err=True)


def confirm(lines: Sequence[str], question: str, *, yes: bool) -> bool:
    """Say what is to be done on standard error, and ask whether it is to be.

    Parameters
    ----------
    lines : sequence of str
        What is to be done.
    question : str
    yes : bool
        Whether the answer is known: it is said, and not asked.

    Raises
    ------
    MisuseError
        If it is not known and nobody can be asked, as in a script.
    """
    for line in lines:
        say(line)
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = (
            "this asks first, and there is no terminal to ask at; nothing was changed. Where it is "
            "to be done without asking, say --yes"
        )
        raise MisuseError(msg)
    return typer.confirm(question, err=True)


def spell(text: str) -> str:
    r"""Write out what would move the cursor, or is no character, in a text for a terminal.

    Examples
    --------
    >>> spell("a\x1b[2Jb\nc")
    'a\\x1b[2Jb\nc'
    """
    return "".join(
        one
        if one.isprintable() or one in "\n\t"
        else one.encode("unicode_escape", "surrogatepass").decode("ascii")
        for one in text
    )


class Clock:
    """Says within a second that a command is at work, what it loads, and how long all took.

    Parameters
    ----------
    started_s : float
        When the process began, by :func:`time.monotonic`.
    """

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s

    @contextlib.contextmanager
    def watching(self, *, quiet: bool) -> Iterator[None]:
        """Say what takes long while the block runs, and at its end how long it took."""
        if quiet:
            yield
            return
        left_s = self._started_s + _SILENT_S - time.monotonic()
        timer = threading.Timer(max(0.0, left_s), say, ["loading …"])
        timer.daemon = True
        announcer = _Announcer(timer)
        logger = logging.getLogger(_LOADING)
        logger.addHandler(announcer)
        before = logger.level
        logger.setLevel(logging.INFO)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            logger.setLevel(before)
            logger.removeHandler(announcer)
        took_s = time.monotonic() - self._started_s
        if took_s > _LONG_S:
            say(f"{took_s:,.1f} s in all")


class _Announcer(logging.Handler):
    """Says which model is loaded, in place of that anything is."""

    def __init__(self, timer: threading.Timer) -> None:
        super().__init__()
        self._timer = timer

    def emit(self, record: logging.LogRecord) -> None:
        self._timer.cancel()
        say(record.getMessage())


class Pace:
    """Tells from when on the time that is left can be told: once two batches are done.

    The first takes longer than those that follow, and within one the steps come all at once.
    """

    def __init__(self) -> None:
        self._last_s = time.monotonic()
        self._n_batches = 0
        self._n_quick = 0

    def take(self, n_steps: int) -> bool:
        """Take steps that are done now, and tell whether the time that is left can be told."""
        now_s = time.monotonic()
        is_slow = now_s - self._last_s > _BATCH_S
        self._last_s = now_s
        self._n_batches += is_slow
        self._n_quick += n_steps * (not is_slow)
        # Pictures that are known already come in no batches.
        return self._n_batches > 1 or self._n_quick > _QUICK_STEPS


@contextlib.contextmanager
def show_progress(*, quiet: bool) -> Iterator[Progress]:
    """Show a bar of what takes long, with rate and failures, and the time left once it is known.

    Yields
    ------
    callable
        To be told each step; a bar begins with the first of a kind.
    """
    is_shown = not quiet and sys.stderr.isatty()
    bars: dict[str, tqdm[Any]] = {}
    paces: dict[str, Pace] = {}

    def advance(step: Step) -> None:
        if not is_shown:
            return
        from tqdm import tqdm

        if step.what in bars and bars[step.what].total != step.total:
            bars.pop(step.what).close()
        if step.what not in bars:
            bars[step.what] = tqdm(
                total=step.total, unit=f" {step.what}", smoothing=0.1, delay=_DELAY_S,
                bar_format=_WITHOUT_TIME_LEFT,
            )  # fmt: skip
            paces[step.what] = Pace()
        bar = bars[step.what]
        if paces[step.what].take(step.done - int(bar.n)):
            bar.bar_format = None
        if step.n_failed:
            bar.set_postfix(failed=step.n_failed, refresh=False)
        bar.update(step.done - bar.n)
        if step.done == step.total:
            # One that stays open keeps its line, and the next is written below it.
            bars.pop(step.what).close()

    try:
        yield advance
    finally:
        for bar in bars.values():
            bar.close()
