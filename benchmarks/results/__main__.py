"""Measure everything in one go and write the page: ``python -m benchmarks.results [--quick]``.

Each benchmark gives rows (``list_rows``) from a process of its own, in which ours and what one
would otherwise run take turns. What could not be had here is said, and the others go on.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import Row, tell_openblas
from benchmarks.results.machine import (
    describe_machine,
    find_load,
    find_revision,
    list_versions,
)
from benchmarks.results.page import draw_growth, write_table

BENCHMARKS = (
    "limits",
    "embed_speed",
    "search_index",
    "zeroshot_scale",
    "head_speed",
    "dedupe",
    "probe_speed",
    "review_speed",
    "start",
    "store_scale",
    "serve",
)
ROOT = Path(__file__).parents[2]
PAGE, GROWTH = ROOT / "benchmarks" / "RESULTS.md", ROOT / "docs" / "growth.png"
# Why what one might expect beside ours is not there.
_ABSENT = (
    "clip-retrieval has no row: it asks for NumPy 1 and open_clip 2, and does not install beside "
    "either of today. rclip has none: it runs a model of its own, which it fetches. FAISS is told "
    "what the processor has."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    asked = _read_arguments(arguments)
    if asked.rows:
        rows = importlib.import_module(f"benchmarks.{asked.rows}").list_rows(is_quick=asked.quick)
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    import torch

    tell_openblas(torch.backends.cpu.get_cpu_capability())
    begun_s, load_before = time.monotonic(), find_load()
    left_out = [
        f"{one} was not asked for" for one in BENCHMARKS if one not in (asked.only or BENCHMARKS)
    ]
    rows, said = [], []
    for name in asked.only or BENCHMARKS:
        found, note = run_one(name, is_quick=asked.quick)
        rows += found
        said += [note] if note else []
        # Written each time: hours are not lost with the last of them.
        took_s = time.monotonic() - begun_s
        page = _write_page(rows, [*left_out, *said], took_s, load_before, asked.quick)
        asked.output.write_text(page, encoding="utf-8")
        draw_growth(rows, asked.growth)
    print(f"{asked.output}, in {took_s:.0f} s")


def run_one(name: str, *, is_quick: bool) -> tuple[list[Row], str]:
    """Return the rows of a benchmark, and what is to be said of it where it has none."""
    print(f"{datetime.now().astimezone():%H:%M:%S} {name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.results", "--rows", name]
    done = subprocess.run(
        [*command, "--quick"] if is_quick else command,
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_list_paths()])},
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return [], f"{name} did not run: {last}"
    return [Row.from_dict(one) for one in json.loads(done.stdout.splitlines()[-1])], ""


def _list_paths() -> list[str]:
    return [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]


def _write_page(
    rows: Sequence[Row], said: Sequence[str], took_s: float, load_before: float, is_quick: bool
) -> str:
    n_busy = load_before - 0.5
    busy = (
        f"**The machine had other work: {load_before:.1f} processes wanted a processor when this "
        "began. Ratios are of runs in turn; times are longer than they would be alone.**"
    )
    lines = [
        "# What was measured",
        "",
        f"Written by `make bench{'-quick' if is_quick else ''}` on {datetime.now(UTC):%d %B %Y} at "
        f"{find_revision()}, in {took_s / 60:.1f} minutes. Not edited by hand.",
        "",
        *([busy, ""] if n_busy > 0 else []),
        "Each row: the median of its rounds with their range, and beside it what one would "
        "otherwise run, in turn with ours in one process. *Times as good* is the median of the "
        "rounds' ratios, above 1 where ours is faster or smaller; *wanted* is the least that is "
        "good enough. "
        "*Limit* is what the machine allows at that time, *share* how much of it ours "
        "reaches: products of matrices, reading of memory, or what is named. Pictures, vectors and "
        "weights are drawn.",
        "",
        *(["These sizes are small ones, which take minutes; `make bench` takes hours.", ""]
          if is_quick else []),
        *[f"- {line}" for line in describe_machine()],
        f"- versions: {', '.join(list_versions())}",
        "",
        _ABSENT,
        "",
        *[f"- {one}" for one in said],
        *([""] if said else []),
        write_table(rows),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.results", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: minutes, not hours")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, help="these alone")
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.add_argument("--growth", type=Path, default=GROWTH, help="picture of the curves")
    parser.add_argument("--rows", choices=BENCHMARKS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
