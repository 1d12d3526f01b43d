"""Time and memory of finding near duplicates among many vectors, and how many of them are found.

The vectors are clustered, and one in ten is a near copy of another; they lie in a store as float16.
Each run is a process of its own. The plain numpy loop compares every block of rows with all others;
of more than 200,000 images it is left out, as it takes hours.

Run it with ``python -m benchmarks.dedupe [--images 1000000]``.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.harness import DRAWN, Row, alternate, find_peak_mb, make_rows
from benchmarks.limits import find_flops
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.quality import find_duplicates
from bioprobe.splits.groups import find_components
from bioprobe.store import EmbeddingStore

THRESHOLD = 0.95
_SHARD_ROWS, _CHECKED_ROWS, _MOST_BY_NUMPY = 50_000, 500, 200_000
_CHECKED_AT_ONCE = 100_000


def draw_store(folder: Path, n_images: int, dim: int) -> EmbeddingStore:
    """Fill a store with clustered vectors of which every tenth is a near copy of the one before."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((1000, dim), dtype=np.float32)
    store = EmbeddingStore.create(folder, DRAWN, dim=dim, dtype="float16")
    for start in range(0, n_images, _SHARD_ROWS):
        n = min(_SHARD_ROWS, n_images - start)
        vectors = rng.standard_normal((n, dim), dtype=np.float32)
        vectors += centres[rng.integers(0, len(centres), n)]
        copies = np.arange(1, n, 10)
        noise = rng.standard_normal((len(copies), dim), dtype=np.float32)
        vectors[copies] = vectors[copies - 1] + np.float32(0.2) * noise
        names = [f"{row:08d}.jpg" for row in range(start, start + n)]
        hashes = [rng.bytes(32).hex() for _ in range(n)]
        frame = pd.DataFrame({"root": "", "path": names, "sha256": hashes})
        store = store.append(frame, normalise_rows(vectors))
    return store


def group_by_bioprobe(store: EmbeddingStore) -> npt.NDArray[np.int64]:
    """Return the group of each image that bioprobe finds."""
    return find_duplicates(store, threshold=THRESHOLD, confirm=False).groups


def group_by_numpy(store: EmbeddingStore) -> npt.NDArray[np.int64]:
    """Return the groups by a plain loop over blocks of rows, each with those from it on."""
    vectors = store.read_vectors()
    first, second = [], []
    for start in range(0, len(vectors), 1000):
        row, column = np.nonzero(vectors[start : start + 1000] @ vectors[start:].T >= THRESHOLD)
        first.append(row + start)
        second.append(column + start)
    return find_components(np.concatenate(first), np.concatenate(second), len(vectors))


def measure_recall(store: EmbeddingStore, groups: npt.NDArray[np.int64]) -> tuple[int, float]:
    """Return how many near pairs sampled rows have, and which share is in one group."""
    n_checked = min(_CHECKED_ROWS, len(store))
    rows = np.sort(np.random.default_rng(1).choice(len(store), n_checked, replace=False))
    queries, n_pairs, n_found = store.read_vectors(rows), 0, 0
    for start in range(0, len(store), _CHECKED_AT_ONCE):
        rows_there = np.arange(start, min(start + _CHECKED_AT_ONCE, len(store)))
        one, other = np.nonzero(queries @ store.read_vectors(rows_there).T >= THRESHOLD)
        others = other + start
        apart = rows[one] != others
        n_pairs += int(apart.sum())
        n_found += int((groups[rows[one]] == groups[others])[apart].sum())
    return n_pairs, n_found / n_pairs if n_pairs else math.nan


WAYS = {"bioprobe": group_by_bioprobe, "numpy": group_by_numpy}


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure three numbers of vectors beside plain numpy, and a million alone, once."""
    dim, flops, rows = 512, find_flops(), []
    for n in (2_000, 4_000, 8_000) if is_quick else (10_000, 30_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            store = draw_store(Path(folder), n, dim)
            took_s = alternate({
                name: functools.partial(way, store) for name, way in WAYS.items()
            }, 3, warm=n < 20_000)  # fmt: skip
        rows += make_rows(
            "dedupe", f"{n:,} x {dim}", took_s, own="bioprobe", n=n, limit="fp32 product",
            best=n * n * dim / flops,
        )  # fmt: skip
    return rows + list_large_rows(20_000 if is_quick else 1_000_000, dim)


def list_large_rows(n: int, dim: int) -> list[Row]:
    """Measure time, memory and what is found of many vectors, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        draw_store(Path(folder), n, dim)
        found = measure_apart("bioprobe", Path(folder))
    size = f"{n:,} x {dim}"
    sampled = f"{size}, {found['pairs']:.0f} pairs of {_CHECKED_ROWS} rows"
    return [
        Row(work="dedupe alone", size=size, unit="s", ours=(found["s"],), most=600, n=n),
        Row(work="dedupe, memory", size=size, unit="MB", ours=(found["peak MB"],), most=3000),
        Row(work="dedupe", size=sampled, unit="found", ours=(found["recall"],), most=0.999),
    ]


def measure_apart(way: str, store: Path) -> dict[str, float]:
    """Measure a way in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.dedupe", "--way", way, "--store", str(store)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def main(given: Sequence[str] | None = None) -> None:
    """Print the time, peak memory and recall of each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.way:
        store = EmbeddingStore.open(arguments.store)
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        groups = WAYS[arguments.way](store)
        took_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
        peak_mb = find_peak_mb()
        n_pairs, recall = measure_recall(store, groups)
        print(json.dumps({
            "groups": int(groups.max()) + 1, "s": took_s, "CPU s": cpu_s, "peak MB": peak_mb,
            "recall": recall, "pairs": n_pairs,
        }))  # fmt: skip
        return
    print(f"{arguments.images:,} vectors of dim {arguments.dim}, threshold {THRESHOLD}\n")
    print("| way | groups | s | s of CPU | peak MB | pairs found |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        draw_store(Path(folder), arguments.images, arguments.dim)
        ways = list(WAYS)[: 1 if arguments.images > _MOST_BY_NUMPY else None]
        for way in ways:
            found = measure_apart(way, Path(folder))
            print(
                f"| {way} | {found['groups']:,} | {found['s']:.1f} | {found['CPU s']:.1f} "
                f"| {found['peak MB']:.0f} | {found['recall']:.4f} of {found['pairs']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
