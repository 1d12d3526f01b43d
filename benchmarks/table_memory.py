"""Memory and time of listing a table of a million rows, without embedding a picture.

Writes a table of pictures that are not there, and one that names a few that are, and lists each in
a process of its own: ``python -m benchmarks.table_memory [--rows 1000000]``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_MB = 1024
_PICTURES = 1000


def write_table(path: Path, n_rows: int) -> None:
    """Write rows of two per picture: semicolons, decimal commas, a lineage, a place."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("path;species;family;site;height;date\n")
        for row in range(n_rows):
            folder, name = (row // 2) % _PICTURES, row // 2
            stream.write(
                f"CAM{folder}/{name:07d}.JPG;Panthera leo;Felidae;S{row % 50};{row % 10},5;"
                f"2024-05-{row % 28 + 1:02d}\n"
            )


def list_one(path: Path) -> None:
    """List a table, and print its rows, seconds and peak memory in megabytes."""
    from bioprobe.sources.source import find_images

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB
    start_s = time.monotonic()
    listing = find_images([path])
    took_s = time.monotonic() - start_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB
    print(f"{len(listing):>9,} rows {took_s:7.1f} s {peak:8,.0f} MB (before: {before:,.0f} MB)")


def main() -> None:
    """List tables of a tenth of the rows and of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--list", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.list:
        list_one(given.list)
        return
    with tempfile.TemporaryDirectory() as folder:
        for n_rows in (given.rows // 10, given.rows):
            table = Path(folder, f"{n_rows}.csv")
            write_table(table, n_rows)
            print(f"table of {table.stat().st_size / 1e6:.0f} MB", flush=True)
            command = [sys.executable, "-m", "benchmarks.table_memory", "--list", str(table)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
