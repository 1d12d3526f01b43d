"""How long a first answer takes: each command in a process of its own, from nothing.

What is counted is processor time, user and system, which other programs disturb less than the
clock; and as a ratio to importing typer alone, which every command must, from runs that alternate.
The store is drawn, embedded by ``sketch`` and asked once before, so that its texts are known.

Run it with ``python -m benchmarks.start``, or ``--store FOLDER`` for a store of your own.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Row
from bioprobe.cli.app import run
from bioprobe.sketch import write_pictures

_BARE, _TYPER = "python", "import typer"
_HELP = ("--help", "zeroshot --help", "store --help")
_OF_TEXTS = ("search --text cat -k 5", "zeroshot --level family")
_QUESTIONS = (
    "store info",
    "store masks",
    "annotations show",
    "taxa list",
    "search --row 5 -k 5",
    *_OF_TEXTS,
)


def measure_ms(command: Sequence[str], environment: dict[str, str]) -> float:
    """Return the processor time of a new process, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user_s, system_s = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return 1e3 * (user_s + system_s)


def ask_before(store: Path, output: Path) -> None:
    """Embed the texts of the questions, which later ones read from the store."""
    for number, question in enumerate(_OF_TEXTS):
        asked = [*question.split(), "--store", str(store), "--quiet"]
        if code := run([*asked, "--output", str(output / f"{number}.csv")]):
            raise SystemExit(code)


def draw_store(folder: Path) -> Path:
    """Draw pictures and embed them."""
    write_pictures(folder / "photos", 1, 4, 5)
    store = folder / "store"
    table = str(folder / "photos" / "pictures.csv")
    if run(["embed", table, "--model", "sketch", "--store", str(store), "--quiet"]):
        raise SystemExit(1)
    return store


def measure_starts(
    given: Path | None, n_runs: int, questions: Sequence[str]
) -> dict[str, list[float]]:
    """Return the processor time of commands, in milliseconds, from runs that alternate."""
    with tempfile.TemporaryDirectory() as folder:
        store = given or draw_store(Path(folder))
        ask_before(store, Path(folder))
        environment = {**os.environ, "BIOPROBE_STORE": str(store), "OMP_NUM_THREADS": "1"}
        # Without bytecode each run would compile all that it imports.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        commands = {_BARE: [sys.executable, "-c", "pass"]}
        commands[_TYPER] = [sys.executable, "-c", _TYPER]
        for asked in questions:
            commands[f"bioprobe {asked}"] = [sys.executable, "-m", "bioprobe", *asked.split()]
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(n_runs + 1):
            for name, command in commands.items():
                took_ms = measure_ms(command, environment)
                # The first writes bytecode, and brings the files into memory.
                if number:
                    taken[name].append(took_ms)
    return taken


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure commands beside importing typer alone; processor time, in milliseconds."""
    # What is good enough, in milliseconds.
    most = {"--help": 250, "store info": 700, "search --row 5 -k 5": 700,
            "zeroshot --level family": 700}  # fmt: skip
    taken = measure_starts(None, 2 if is_quick else 9, tuple(most))
    return [
        Row(work="start, CPU", size=f"bioprobe {asked}", unit="ms",
            ours=tuple(taken[f"bioprobe {asked}"]), peer=_TYPER, theirs=tuple(taken[_TYPER]),
            most=enough)
        for asked, enough in most.items()
    ]  # fmt: skip


def main() -> None:
    """Print medians, ranges and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    taken = measure_starts(arguments.store, arguments.runs, (*_HELP, *_QUESTIONS))
    print("| command | ms | range | beside typer alone |")
    print("|---|---|---|---|")
    for name, all_ms in taken.items():
        ratio = statistics.median(
            one / other for one, other in zip(all_ms, taken[_TYPER], strict=True)
        )
        middle = statistics.median(all_ms)
        print(f"| {name} | {middle:.0f} | {min(all_ms):.0f}-{max(all_ms):.0f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
