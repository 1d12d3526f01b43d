"""Time and peak memory of a probe for many classes: fitted, calibrated, and asked.

Random unit vectors near the centre of their species are put on disk as a store, in a temporary
folder that is removed afterwards. Each command is a process of its own; what it takes beside the
vectors and the libraries must not grow with images times classes.

Run it with ``python -m benchmarks.many_classes``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.store import EmbeddingStore

LIMIT_MB = 1024
_SHARD_ROWS = 50_000
_CODE = (
    "import resource, sys; from bioprobe.cli.app import run; code = run(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
)


def write_store(folder: Path, n_images: int, n_classes: int, dim: int) -> None:
    """Write a store of random species, of about as many images each."""
    random = np.random.default_rng(0)
    fingerprint = Fingerprint(model="random", backend="imported")
    store = EmbeddingStore.create(folder, fingerprint, dim=dim)
    centres = normalise_rows(random.standard_normal((n_classes, dim), dtype=np.float32))
    for start in range(0, n_images, _SHARD_ROWS):
        rows = np.arange(start, min(start + _SHARD_ROWS, n_images))
        species = rows % n_classes
        noise = random.standard_normal((len(rows), dim), dtype=np.float32) / dim**0.5
        frame = pd.DataFrame(
            {
                "root": "/pictures",
                "path": [f"{row:08d}.jpg" for row in rows],
                "sha256": [f"{row:064x}" for row in rows],
                "genus": "Genus",
                "species": [f"s{number:06d}" for number in species],
            }
        )
        store = store.append(frame, normalise_rows(centres[species] + noise))


def measure(command: list[str]) -> tuple[float, float, float]:
    """Run a command of bioprobe in a new process; return seconds, of a core too, and its peak."""
    start_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *command, "--quiet"], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    took_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    core_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took_s, core_s, float(done.stdout.split()[-1]) / 1024


def main() -> None:
    """Print the time and peak memory of each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, nargs="+", default=[200, 20_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--kind", default="centroid")
    arguments = parser.parse_args()
    print("| images | classes | command | s | CPU s | peak MB | beyond the fewest classes |")
    print("|---|---|---|---|---|---|---|", flush=True)
    first_mb: dict[str, float] = {}
    for n_classes in arguments.classes:
        with tempfile.TemporaryDirectory() as folder:
            write_store(Path(folder, "store"), arguments.images, n_classes, arguments.dim)
            asked = ["--store", f"{folder}/store"]
            measure(["split", "--level", "species", *asked])
            commands = {
                "probe fit": [
                    "probe",
                    "fit",
                    arguments.kind,
                    "--level",
                    "species",
                    "--name",
                    "p",
                    *asked,
                ],
                "probe predict": ["probe", "predict", "p", *asked, "--output", f"{folder}/out.csv"],
            }
            for name, command in commands.items():
                took_s, core_s, peak_mb = measure(command)
                beyond_mb = peak_mb - first_mb.setdefault(name, peak_mb)
                print(
                    f"| {arguments.images:,} | {n_classes:,} | {name} | {took_s:.0f} "
                    f"| {core_s:.0f} | {peak_mb:,.0f} | {beyond_mb:,.0f} |",
                    flush=True,
                )
                if beyond_mb > LIMIT_MB:
                    sys.exit(f"{name} takes {beyond_mb:,.0f} MB, over {LIMIT_MB:,} MB")


if __name__ == "__main__":
    main()
