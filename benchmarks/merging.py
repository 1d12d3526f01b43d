"""What merging the shares of a run costs: seconds of CPU, peak memory and disk, by number of rows.

Draws one store as :mod:`benchmarks.store_scale` does, deals its rows to shares by their paths, and
merges these in a process of its own; the rows must then be those of the first store, in its order:
``python -m benchmarks.merging [--rows 20000 100000] [--shares 8] [--dim 512]``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.store_scale import draw_store, measure
from bioprobe.sources.shares import Share, find_number
from bioprobe.store import EmbeddingStore
from bioprobe.store.share_card import ShareCard


def deal(store: EmbeddingStore, target: Path, n_shares: int) -> list[Path]:
    """Write the rows of a store into stores of shares, and return their folders."""
    manifest = store.manifest
    numbers = np.array([find_number(path, n_shares) for path in store.images.column("path")])
    folders = []
    for number in range(1, n_shares + 1):
        rows = np.flatnonzero(numbers == number)
        folder = Share(number, n_shares).name_store(target)
        share = EmbeddingStore.create(
            folder, manifest.encoder, dim=manifest.dim, dtype=manifest.dtype
        )
        share.append(store.images.take(rows).reset_index(drop=True), store.read_vectors(rows))
        card = ShareCard(number=number, of=n_shares, listing="drawn", n_files=len(store))
        card.finish(folder, rows, 0)
        folders.append(folder)
    return folders


def main() -> None:
    """Print a line for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--shares", type=int, default=8)
    parser.add_argument("--dim", type=int, default=512)
    given = parser.parse_args()
    print(f"{'rows':>11} {'disk MB':>9} {'CPU s':>7} {'peak MB':>8}", flush=True)
    for n_rows in given.rows:
        with tempfile.TemporaryDirectory() as temporary:
            once = draw_store(Path(temporary, "once"), n_rows, given.dim, 16_384)
            folders = deal(once, Path(temporary, "all"), given.shares)
            target = Path(temporary, "all")
            command = [sys.executable, "-m", "bioprobe", "store", "merge", *map(str, folders)]
            spent = measure([*command, "--store", str(target)])
            merged = EmbeddingStore.open(target)
            some = np.random.default_rng(0).choice(n_rows, 1000)
            for name in ("path", "species", "n_bytes"):
                assert merged.images.column(name).equals(once.images.column(name))
            assert np.allclose(merged.read_vectors(some), once.read_vectors(some), atol=1e-3)
            n_bytes = sum(one.stat().st_size for one in target.rglob("*") if one.is_file())
            print(
                f"{n_rows:>11,} {n_bytes / 1e6:>9,.0f} {spent.cpu_s:>7.2f} {spent.peak_mb:>8,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
