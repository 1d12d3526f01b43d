from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import watchfiles

from bioprobe.watching.waking import Waker


def test_a_change_wakes_and_so_does_a_folder_that_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    (folder / "deep").mkdir(parents=True)
    waker = Waker(folder, print)

    def wakes(act: Callable[[], object]) -> bool:
        while waker.wait(0.6):  # until all of before was told
            pass
        threading.Timer(0.05, act).start()
        return waker.wait(20)

    away = tmp_path / "away"
    assert waker.wait(20)  # as from now on it listens
    assert wakes(lambda: (folder / "deep" / "a").write_text("x"))
    assert wakes(lambda: folder.rename(away))
    assert wakes(lambda: away.rename(folder))
    assert wakes(lambda: (folder / "b").write_text("x"))
    waker.close()


def test_where_the_system_tells_nothing_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "no space left on device"
        raise OSError(msg)

    monkeypatch.setattr(watchfiles, "watch", refuse)
    said: list[str] = []
    waker = Waker(tmp_path, said.append)
    for _ in range(3):
        assert not waker.wait(0.1)
    assert len(said) == 1
    assert "at each --rescan" in said[0]
