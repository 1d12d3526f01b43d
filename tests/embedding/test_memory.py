"""Bounds of memory hold for the run, not for one picture."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from bioprobe.cli.app import run
from bioprobe.embedding.preparation import Listed, MemoryBudget, prepare_all
from bioprobe.images.damage import Damage
from bioprobe.images.reading import decode_marked

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

_SIDE_PX = 2800


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Eight small files of large pictures."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for number in range(8):
        Image.new("RGB", (_SIDE_PX, _SIDE_PX), (number, 90, 40)).save(
            folder / f"{number}.png", compress_level=1
        )
    return folder


_PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from bioprobe.embedding.preparation import Listed, MemoryBudget, prepare_all

class Encoder:
    device, draft_side_px = "cpu", 0

    def preprocess(self, image):
        return np.asarray(image.resize((8, 8)), dtype=np.float32)

def measure_kb():
    # Of this program alone: what rusage says may be the peak of the one that started it.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line[:5] == "VmHWM")

folder, memory = Path(sys.argv[1]), MemoryBudget(int(sys.argv[2]))
listing = [Listed(str(folder), path.name, {}) for path in sorted(folder.iterdir())]
before = measure_kb()
options = {"n_threads": 8, "n_ahead": 8, "memory": memory}
reasons = [one.reason for one in prepare_all(listing, set(), Encoder(), **options)]
assert reasons == [""] * 8, reasons
print((measure_kb() - before) // 1024)
"""


def _measure_mb(folder: Path, memory_bytes: int) -> int:
    command = [sys.executable, "-c", _PROGRAM, str(folder), str(memory_bytes)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_pictures_above_the_budget_are_decoded_one_at_a_time(flat: Path) -> None:
    # As Pillow holds it, each has 31 MB; freed memory must not stay with each of the threads.
    assert _measure_mb(flat, 1) < 130 < 170 < _measure_mb(flat, 10**11)


def test_no_more_is_held_than_the_budget_and_what_is_larger_is_alone() -> None:
    budget, held, most, lock = MemoryBudget(10), [0], [0], threading.Lock()

    def hold(n_bytes: int) -> None:
        with budget.holding(n_bytes):
            with lock:
                held[0] += min(n_bytes, 10)
                most[0] = max(most[0], held[0])
            threading.Event().wait(0.01)
            with lock:
                held[0] -= min(n_bytes, 10)

    threads = [threading.Thread(target=hold, args=(size,)) for size in (3, 4, 5, 30, 6, 7, 99) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [10]


@pytest.mark.parametrize("n_failures", [1, 2])
def test_lack_of_memory_is_tried_again_alone_and_is_no_fault_of_the_picture(
    tmp_path: Path, encoder: PlainEncoder, monkeypatch: pytest.MonkeyPatch, n_failures: int
) -> None:
    Image.new("RGB", (20, 20), "green").save(tmp_path / "a.png")
    calls: list[bytes] = []

    def fail_first(
        data: bytes, *, draft_side_px: int, max_pixels_px: int, damaged: str
    ) -> tuple[Image.Image, Damage | None]:
        calls.append(data)
        if len(calls) <= n_failures:
            raise MemoryError
        return decode_marked(
            data, draft_side_px=draft_side_px, max_pixels_px=max_pixels_px, damaged=damaged
        )

    monkeypatch.setattr("bioprobe.embedding.preparation.decode_marked", fail_first)
    listing = [Listed(str(tmp_path), "a.png", {})]
    (prepared,) = prepare_all(listing, set(), encoder, n_threads=2, n_ahead=2)
    if n_failures == 1:
        assert prepared.pixels is not None
    else:
        assert prepared.reason.startswith("this machine has too little memory for it now")


def test_memory_below_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["embed", str(tmp_path), "--memory", "0", "--store", str(tmp_path / "s")]) == 2
    assert "--memory" in capsys.readouterr().err
