"""What the machine allows: products at each precision, copying of memory, decoding of JPEGs.

What else is measured stands beside these: ``python -m benchmarks.limits``.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.harness import Row
from bioprobe.cores import map_alone

_SIDE = 1536
_COPIED_BYTES = 1 << 28
_N_ROUNDS = 5


def _time(run: Callable[[], object]) -> list[float]:
    run()
    took_s = []
    for _ in range(_N_ROUNDS):
        start_s = time.perf_counter()
        run()
        took_s.append(time.perf_counter() - start_s)
    return took_s


def measure_products(precision: str = "fp32", side: int = _SIDE) -> list[float]:
    """Return operations in a second of large products, round by round.

    In fp32 those of the fastest way: in PyTorch, in numpy, in numpy by threads that each have some
    of the rows. Which it is differs by processor, and a limit that is too low would flatter.

    Raises
    ------
    RuntimeError
        If PyTorch has no product of that precision here.
    """
    import torch

    if precision == "int8":
        small = torch.randint(-9, 9, (side, side), dtype=torch.int8)
        ways: list[Callable[[], object]] = [lambda: torch._int_mm(small, small)]
    else:
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        first = torch.randn(side, side).to(kind)
        ways = [lambda: torch.mm(first, first)]
        if precision == "fp32":
            numbers = first.numpy()
            parts = np.array_split(numbers, os.cpu_count() or 1)
            ways.append(lambda: numbers @ numbers)
            ways.append(lambda: list(map_alone(lambda part: part @ numbers, parts)))
    took_s = min((_time(way) for way in ways), key=statistics.median)
    return [2 * side**3 / one for one in took_s]


def measure_memory() -> list[float]:
    """Return bytes in a second that can be read, round by round."""
    import torch

    held = torch.ones(_COPIED_BYTES // 4)
    return [_COPIED_BYTES / one for one in _time(held.sum)]


def find_flops() -> float:
    """Return the operations in a second of a large product in fp32, of the fastest round.

    A limit that other work lowered would flatter.
    """
    return max(measure_products())


def find_bandwidth() -> float:
    """Return the bytes in a second that can be read, of the fastest round."""
    return max(measure_memory())


def measure_decoding(folder: Path) -> list[float]:
    """Return JPEGs decoded in a second, to twice 224 pixels at least, by a thread a processor.

    They are those of :mod:`benchmarks.pictures`, decoded as ``embed`` does by default.
    """
    from benchmarks.pictures import write_pictures
    from bioprobe.images import decode_image

    write_pictures(folder, 20)
    files = sorted(folder.iterdir())[:20]

    def decode(file: Path) -> object:
        return decode_image(file.read_bytes(), draft_side_px=2 * 224)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        took_s = _time(lambda: list(threads.map(decode, files)))
    return [len(files) / one for one in took_s]


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure them all."""
    del is_quick
    rows = []
    for precision in ("fp32", "bf16", "fp16", "int8"):
        try:
            side = _SIDE if precision == "fp32" else _SIDE // 4
            speeds = measure_products(precision, side)
        except RuntimeError:
            continue
        rows.append(Row(
            work=f"product of matrices, {precision}", size=f"{side} by {side}", unit="GFLOP/s",
            ours=tuple(one / 1e9 for one in speeds),
        ))  # fmt: skip
    rows.append(Row(
        work="reading of memory", size="256 MB", unit="GB/s",
        ours=tuple(one / 1e9 for one in measure_memory()),
    ))  # fmt: skip
    folder = Path(tempfile.gettempdir(), "bioprobe-bench", "photos")
    rows.append(Row(
        work="decoding of JPEGs", size="20 mixed", unit="images/s",
        ours=tuple(measure_decoding(folder)),
    ))  # fmt: skip
    return rows


def main() -> None:
    """Print a line for each."""
    for row in list_rows(is_quick=False):
        print(f"{row.work}, {row.size}: {statistics.median(row.ours):,.1f} {row.unit}")


if __name__ == "__main__":
    main()
