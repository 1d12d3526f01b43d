"""Measure in one go and write the page: ``python -m benchmarks.results [--quick] [--only PART …]``.

Each part is a benchmark, which gives its rows (``list_rows``) from a process of its own, in which
ours and what one would otherwise run take turns. They are kept in ``benchmarks/measured`` as soon
as they are known. A run that was ended goes on with what is not yet measured of this commit, on
this machine and with these versions. ``--only`` measures some anew, and leaves what the page says
of the others. What could not be had here is said, and the others go on.
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
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import Row, tell_openblas
from benchmarks.results.machine import (
    ROOT,
    describe_machine,
    find_others,
    find_revision,
    list_versions,
    look_at_cores,
)
from benchmarks.results.measured import Measured, Place
from benchmarks.results.page import draw_growth, read_sections, write_section

PARTS = (
    "limits",
    "embed_speed",
    "gpu",
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
PAGE, GROWTH = ROOT / "benchmarks" / "RESULTS.md", ROOT / "docs" / "growth.png"
KEPT = ROOT / "benchmarks" / "measured"
_HEAD = """# What was measured

Written by `make bench` or `make bench-quick`, part by part. Not edited by hand.

Each row: the median of its rounds with their range, and beside it what one would otherwise run, in
turn with ours in one process, with as many threads. *Times as good* is the median of the rounds'
ratios, above 1 where ours is faster or smaller; *wanted* is what is good enough: the least ratio,
or, with its unit, the most or the least of ours. *Limit* is what the machine allowed at its best
just then, *share* how much of it ours reaches: products of matrices, reading of memory, or what is
named. Pictures, vectors and weights are drawn. A row without a range was run once.

clip-retrieval has no row: today's asks for NumPy 1 and open_clip 2. rclip has none: today's asks
for Python 3.12, an older one for open_clip 2, and either runs a model of its own, which it fetches.
FAISS is told what the processor has.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    asked = _read_arguments(arguments)
    if asked.rows:
        rows = importlib.import_module(f"benchmarks.{asked.rows}").list_rows(is_quick=asked.quick)
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    import torch

    tell_openblas(torch.backends.cpu.get_cpu_capability())
    place = Place(tuple(describe_machine()), tuple(list_versions()))
    kept = _read_kept(asked.kept, is_quick=asked.quick)
    standing = (find_revision(), place)
    names = [] if asked.only or asked.anew else [
        name for name, one in kept.items() if (one.revision, one.place) == standing
    ]  # fmt: skip
    left = [name for name in asked.only or PARTS if name not in names]
    _tell_plan(left, names, kept)
    failed = {}
    for name in left:
        found = run_part(name, place, is_quick=asked.quick)
        if isinstance(found, str):
            failed[name] = found
        else:
            found.write(asked.kept)
            kept[name] = found
            names.append(name)
        # Each time: hours are not lost with the last of them.
        _write_page(asked.output, {name: kept[name] for name in names}, failed)
    if not left:
        _write_page(asked.output, {name: kept[name] for name in names}, {})
    if read_sections(asked.output.read_text(encoding="utf-8")).keys() <= kept.keys():
        draw_growth([row for one in kept.values() for row in one.rows], asked.growth)
    else:
        print(f"{asked.growth} is left as it was: not all parts were measured here")
    print(asked.output)


def run_part(name: str, place: Place, *, is_quick: bool) -> Measured | str:
    """Measure a part; where it does not run, return why."""
    begun, revision = datetime.now(UTC), find_revision()
    print(f"{begun.astimezone():%H:%M:%S} {name}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.results", "--rows", name]
    before, begun_s = look_at_cores(), time.monotonic()
    done = subprocess.run(
        [*command, "--quick"] if is_quick else command,
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_list_paths()])},
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return last.removeprefix("RuntimeError: ")
    return Measured(
        part=name, is_quick=is_quick, revision=revision, place=place, begun=begun,
        took_s=time.monotonic() - begun_s, others=find_others(before, look_at_cores()),
        rows=tuple(map(Row.from_dict, json.loads(done.stdout.splitlines()[-1]))),
    )  # fmt: skip


def _list_paths() -> list[str]:
    return [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]


def _read_kept(folder: Path, *, is_quick: bool) -> dict[str, Measured]:
    found = {name: Measured.read(folder, name, is_quick=is_quick) for name in PARTS}
    return {name: one for name, one in found.items() if one}


def _tell_plan(left: Sequence[str], done: Sequence[str], kept: Mapping[str, Measured]) -> None:
    """Say what will be measured, and how long that took the last time."""
    if done:
        print(f"measured before, and taken from there: {', '.join(done)} (--anew measures again)")
    if not left:
        return
    took_s = sum(kept[name].took_s for name in left if name in kept)
    unknown = [name for name in left if name not in kept]
    said = f"about {took_s / 60:.0f} minutes, as the last time" if took_s else "no time is known"
    but = f"; not measured here before: {', '.join(unknown)}" if unknown else ""
    print(f"to measure: {', '.join(left)}; {said}{but}", flush=True)


def _write_page(output: Path, new: Mapping[str, Measured], failed: Mapping[str, str]) -> None:
    """Write the page anew, and of what is not new what it said before."""
    before = output.read_text(encoding="utf-8") if output.exists() else ""
    sections = read_sections(before) | {name: write_section(one) for name, one in new.items()}
    lines = [f"- {name} did not run: {why}" for name, why in failed.items()]
    lines += [f"- {name} was not measured" for name in PARTS if name not in {*sections, *failed}]
    parts = [f"## {name}\n\n{sections[name]}\n" for name in PARTS if name in sections]
    said = ["\n".join(lines) + "\n"] if lines else []
    output.write_text("\n".join([_HEAD, *said, *parts]), encoding="utf-8")


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.results", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: minutes, not an hour")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART",
                        help=f"measure these alone, anew: {', '.join(PARTS)}")  # fmt: skip
    parser.add_argument("--anew", action="store_true", help="measure also what was measured before")
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.add_argument("--growth", type=Path, default=GROWTH, help="picture of the curves")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where what is measured is kept")
    parser.add_argument("--rows", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
