"""Time and memory of finding near duplicates among many vectors.

The vectors are clustered, and one in ten is a near copy of another. Each run is a process of its
own. The plain numpy loop compares every block of rows with all others.

Run it with ``python -m benchmarks.dedupe``.
"""

from __future__ import annotations

import argparse
import functools
import resource
import subprocess
import sys
import time

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Row, alternate, make_rows
from benchmarks.limits import find_flops
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.quality.duplicates import SpanningForest, find_components, iter_near_pairs

THRESHOLD = 0.95


def draw_vectors(n_images: int, dim: int) -> npt.NDArray[np.float32]:
    """Draw clustered unit vectors of which the last tenth are near copies."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, dim)).astype(np.float32)
    vectors = rng.normal(size=(n_images, dim)).astype(np.float32)
    vectors += centres[rng.integers(0, len(centres), n_images)]
    n_copies = n_images // 10
    vectors[-n_copies:] = vectors[:n_copies]
    vectors[-n_copies:] += 0.2 * rng.normal(size=(n_copies, dim)).astype(np.float32)
    return normalise_rows(vectors)


def group_by_bioprobe(vectors: npt.NDArray[np.float32]) -> int:
    """Return the number of groups that bioprobe finds."""
    forest = SpanningForest(len(vectors))
    for pairs in iter_near_pairs(vectors, THRESHOLD):
        forest.add(*pairs)
    first, second, _ = forest.links
    return int(find_components(first, second, len(vectors)).max()) + 1


def group_by_numpy(vectors: npt.NDArray[np.float32]) -> int:
    """Return the number of groups by a plain loop over blocks of rows."""
    first, second = [], []
    for start in range(0, len(vectors), 1000):
        row, column = np.nonzero(vectors[start : start + 1000] @ vectors.T >= THRESHOLD)
        first.append(row + start)
        second.append(column)
    groups = find_components(np.concatenate(first), np.concatenate(second), len(vectors))
    return int(groups.max()) + 1


WAYS = {"bioprobe": group_by_bioprobe, "numpy": group_by_numpy}


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure three numbers of vectors, beside plain numpy."""
    dim, flops, rows = 512, find_flops(), []
    for n in (2_000, 4_000, 8_000) if is_quick else (10_000, 30_000, 100_000):
        vectors = draw_vectors(n, dim)
        took_s = alternate({
            name: functools.partial(way, vectors) for name, way in WAYS.items()
        }, 3, warm=n < 20_000)  # fmt: skip
        rows += make_rows(
            "dedupe", f"{n:,} x {dim}", took_s, own="bioprobe", n=n, limit="fp32 product",
            best=n * n * dim / flops,
        )  # fmt: skip
    return rows


def main() -> None:
    """Print the time and peak memory of each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--way", choices=list(WAYS))
    arguments = parser.parse_args()
    if arguments.way:
        vectors = draw_vectors(arguments.images, arguments.dim)
        start_s = time.perf_counter()
        n_groups = WAYS[arguments.way](vectors)
        took_s = time.perf_counter() - start_s
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {arguments.way} | {n_groups:,} | {took_s:.1f} | {peak_mb:.0f} |")
        return
    print(f"{arguments.images:,} vectors of dim {arguments.dim}\n")
    print("| way | groups | s | peak MB |")
    print("|---|---|---|---|", flush=True)
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.dedupe", "--way", way]
        command += ["--images", str(arguments.images), "--dim", str(arguments.dim)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
