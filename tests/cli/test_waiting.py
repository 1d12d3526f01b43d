"""What a person sees while a command works."""

from __future__ import annotations

import contextlib
import io
import logging
import time

import pytest

from bioprobe.cli import saying
from bioprobe.cli.saying import Clock, show_progress
from bioprobe.progress import Step

Capture = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a terminal, on which bars are drawn at once."""
    monkeypatch.setattr(saying, "_DELAY_S", 0)
    return Terminal()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let time pass only where a test says so."""
    passed = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: passed[0])
    monkeypatch.setattr(time, "monotonic", lambda: passed[0])
    return passed


def _run_batches(terminal: Terminal, now: list[float], seconds: list[float]) -> list[str]:
    """Take batches of four images, and return what the bar shows after each."""
    shown = []
    total = 4 * len(seconds) + 400
    with contextlib.redirect_stderr(terminal), show_progress(quiet=False) as progress:
        for number, took_s in enumerate(seconds):
            # All but the last of a batch wait for it.
            for place in range(1, 5):
                now[0] += took_s if place == 4 else 0.001
                progress(Step(4 * number + place, total, "images"))
            shown.append(terminal.getvalue().rpartition("\r")[2])
    return shown


def test_the_time_left_is_told_from_the_second_batch_on(
    terminal: Terminal, now: list[float]
) -> None:
    first, second, third = _run_batches(terminal, now, [30.0, 1.0, 1.0])
    assert "<" not in first
    assert "4/412" in first
    assert "00:30" in first
    assert "<" in second
    assert "<" in third


def test_pictures_that_are_known_come_in_no_batches(
    terminal: Terminal, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saying, "_QUICK_STEPS", 10)
    shown = _run_batches(terminal, now, [0.04] * 20)
    assert "<" not in shown[1]
    assert "<" in shown[-1]


@pytest.mark.parametrize(("quiet", "elsewhere"), [(True, False), (False, True)])
def test_no_bar_is_drawn_quietly_or_elsewhere_than_on_a_terminal(
    terminal: Terminal, quiet: bool, elsewhere: bool
) -> None:
    shown = io.StringIO() if elsewhere else terminal
    with contextlib.redirect_stderr(shown), show_progress(quiet=quiet) as progress:
        progress(Step(1, 2, "images"))
    assert not shown.getvalue()


def test_a_bar_that_is_done_makes_room_for_the_next(terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal), show_progress(quiet=False) as progress:
        for total in (5, 7, 7, 9):
            for done in range(1, total + (total < 9)):
                progress(Step(done, total, "groups"))
        progress(Step(1, 2, "draws"))
    # Only the bar that was left undone still has its line.
    assert terminal.getvalue().count("\x1b[A") == 1


def _watch(capsys: Capture, *, age_s: float, lasts_s: float, quiet: bool = False) -> str:
    with Clock(time.monotonic() - age_s).watching(quiet=quiet):
        time.sleep(lasts_s)
    return capsys.readouterr().err


def test_what_is_silent_says_that_it_is_at_work(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saying, "_LONG_S", 1000.0)
    assert _watch(capsys, age_s=5, lasts_s=0.5) == "loading …\n"
    assert _watch(capsys, age_s=5, lasts_s=0.5, quiet=True) == ""
    monkeypatch.setattr(saying, "_SILENT_S", 1000.0)
    assert _watch(capsys, age_s=5, lasts_s=0) == ""


def test_what_takes_long_says_how_long(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saying, "_SILENT_S", 1000.0)
    assert _watch(capsys, age_s=83, lasts_s=0).startswith("83.")
    assert _watch(capsys, age_s=0, lasts_s=0) == ""
    assert _watch(capsys, age_s=83, lasts_s=0, quiet=True) == ""


def test_a_model_is_named_before_it_is_loaded(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saying, "_LONG_S", 1000.0)
    logger = logging.getLogger("bioprobe.loading")
    with Clock(time.monotonic()).watching(quiet=False):
        logger.info("loading %s …", "bioclip-2")
        assert capsys.readouterr().err == "loading bioclip-2 …\n"
    logger.info("loading %s …", "bioclip-2")
    assert capsys.readouterr().err == ""
