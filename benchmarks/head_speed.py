"""Exact probabilities at every rank from a head as large as the tree of life, beside FAISS flat.

A head is drawn and put on disk in half precision: species around the directions of their genera,
families and higher groups, in a tree of the true shape. The same images are then asked in turns,
part by part, of FAISS flat, on the head in float32, for the bare five nearest texts, and of
``bioprobe.task.leaf_scores`` for the probability of the five best at each of seven ranks. The peak
of the memory is that of another process, which asks all images and has no FAISS, less the size of
the head, which is mapped.

FAISS comes with a BLAS that does not know recent processors and then multiplies ten times as slowly
as it could; where no ``OPENBLAS_CORETYPE`` is set, it is told what the processor has.

Run it with ``python -m benchmarks.head_speed``; ``--classes 867000 --dim 768`` is the largest head
that is published.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Row, alternate, find_peak_mb, make_rows, tell_openblas
from benchmarks.limits import find_flops
from benchmarks.results.machine import find_processor
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.task.leaf_scores import iter_leaf_scores
from bioprobe.task.leaves import Leaves
from bioprobe.task.scores import sum_up

K, SCALE, LIMIT_MB = 5, 100.0, 2000
# Groups of each rank above the species, from kingdom to genus, for 450,000 of these.
SHARES = (7, 100, 350, 1500, 8000, 70_000)
_AT_ONCE = 50_000

Vectors = npt.NDArray[np.float32]


def draw_tree(n_species: int, random: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Draw the group of each species at each rank, kingdom first; few groups hold most of them."""
    places = np.arange(n_species)
    found = []
    for share in reversed(SHARES):
        n_groups = max(1, round(share * n_species / 450_000)) if share > 1000 else share
        weights = random.pareto(1.0, n_groups) + 0.1
        below = int(places.max()) + 1
        # Every group has one member; the others go by weight, one after the other in the tree.
        own = np.arange(min(n_groups, below))
        others = random.choice(
            len(own), below - len(own), p=weights[: len(own)] / weights[: len(own)].sum()
        )
        places = np.sort(np.concatenate([own, others]))[places]
        found.append(places)
    return found[::-1]


def write_head(folder: Path, n_species: int, n_images: int, dim: int) -> None:
    """Write a head, its tree, and images of some of its species."""
    random = np.random.default_rng(0)
    tree = draw_tree(n_species, random)
    np.save(folder / "tree.npy", np.stack(tree))
    head = np.lib.format.open_memmap(folder / "head.npy", "w+", np.float16, (n_species, dim))
    depths = (0.3, 0.3, 0.4, 0.5, 0.6, 0.6)
    directions = [
        depth * normalise_rows(random.standard_normal((int(one.max()) + 1, dim), dtype=np.float32))
        for depth, one in zip(depths, tree, strict=True)
    ]
    for start in range(0, n_species, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, n_species))
        texts = random.standard_normal((part.stop - start, dim), dtype=np.float32)
        texts = 0.6 * normalise_rows(texts)
        for one, direction in zip(tree, directions, strict=True):
            texts += direction[one[part]]
        head[part] = normalise_rows(texts)
    chosen = np.sort(random.choice(n_species, n_images))
    noise = normalise_rows(random.standard_normal((n_images, dim), dtype=np.float32))
    images = normalise_rows(head[chosen].astype(np.float32) + 1.2 * noise)
    np.save(folder / "images.npy", images[random.permutation(n_images)])


class Head:
    """A head as it is mapped, with the groups that are asked."""

    def __init__(self, folder: Path) -> None:
        self.texts = np.load(folder / "head.npy", mmap_mode="r")
        tree = np.load(folder / "tree.npy")
        self.genus = tree[-1]
        first = np.unique(self.genus, return_index=True)[1]
        self.parents = [np.arange(len(first)), *tree[-2::-1, first]]

    def ask(self, images: Vectors) -> list[tuple[npt.NDArray[np.int64], Vectors]]:
        """Return the best at each rank, species first, and their probabilities."""
        best = [
            ((part.top, part.top_probabilities), *sum_up(part.sums, self.parents, K))
            for part in iter_leaf_scores(
                images, Leaves.of(self.texts), k=K, logit_scale=SCALE, groups=self.genus,
            )
        ]  # fmt: skip
        return [
            (np.concatenate([one[0] for one in rank]), np.concatenate([one[1] for one in rank]))
            for rank in zip(*best, strict=True)
        ]


def measure_memory(folder: Path) -> None:
    """Ask all images and print the peak memory beyond the head, in MB."""
    head = Head(folder)
    head.ask(np.load(folder / "images.npy"))
    print(round(find_peak_mb() - head.texts.nbytes / 2**20))


def compare(folder: Path, n_parts: int) -> None:
    """Print the time of both, part by part, and their ratio."""
    import torch

    tell_openblas(torch.backends.cpu.get_cpu_capability())
    import faiss

    n_threads = torch.get_num_threads()
    faiss.omp_set_num_threads(n_threads)
    head, images = Head(folder), np.load(folder / "images.npy")
    index = faiss.IndexFlatIP(images.shape[1])
    for start in range(0, len(head.texts), _AT_ONCE):
        index.add(head.texts[start : start + _AT_ONCE].astype(np.float32))
    groups = [int(one.max()) + 1 for one in head.parents]
    print(
        f"{find_processor()}, {n_threads} threads, FAISS for {os.environ['OPENBLAS_CORETYPE']}\n"
        f"{len(head.texts):,} classes of dim {images.shape[1]}; groups from genera to kingdoms: "
        f"{', '.join(f'{one:,}' for one in groups)}\n{len(images):,} images\n"
    )
    print("| images | FAISS flat, s | CPU s | every rank, s | CPU s | ratio | of CPU | same best |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for part in np.array_split(images, n_parts):
        times = [(time.perf_counter(), time.process_time())]
        nearest = index.search(part, K)[1]
        times.append((time.perf_counter(), time.process_time()))
        found = head.ask(part)
        times.append((time.perf_counter(), time.process_time()))
        spent = np.diff(np.array(times), axis=0)
        same = float((found[0][0] == nearest).mean())
        rows.append([len(part), *spent[0], *spent[1], *(spent[1] / spent[0]), same])
        show(rows[-1])
    every = np.array(rows)
    print("\nall, and the medians of the ratios:")
    show([*every[:, :5].sum(axis=0), *np.median(every[:, 5:], axis=0)])


def show(row: list[float]) -> None:
    """Print a line of the table."""
    seconds = " | ".join(f"{one:.1f}" for one in row[1:5])
    print(f"| {row[0]:,.0f} | {seconds} | {row[5]:.2f} | {row[6]:.2f} | {row[7]:.4f} |", flush=True)


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure probabilities at every rank of a huge head, beside FAISS flat, in turn."""
    import torch

    tell_openblas(torch.backends.cpu.get_cpu_capability())
    import faiss

    n_classes, n_images, n_parts = (30_000, 768, 3) if is_quick else (450_000, 12_000, 6)
    dim = 512
    flops = find_flops()
    with tempfile.TemporaryDirectory() as name:
        write_head(Path(name), n_classes, n_images, dim)
        head, images = Head(Path(name)), np.load(Path(name) / "images.npy")
        index = faiss.IndexFlatIP(dim)
        index.add(np.asarray(head.texts, dtype=np.float32))
        parts = iter(np.array_split(images, n_parts))
        took_s: dict[str, list[float]] = {"every rank": [], "FAISS flat, top 5": []}
        head.ask(images[:64])
        for part in parts:
            one = alternate({
                "every rank": lambda part=part: head.ask(part),
                "FAISS flat, top 5": lambda part=part: index.search(part, K),
            }, 1, warm=False)  # fmt: skip
            for way, seconds in one.items():
                took_s[way] += seconds
    n_part = n_images // n_parts
    return make_rows(
        f"zero-shot at seven ranks, {n_classes:,} x {dim}", f"{n_part:,} images", took_s,
        own="every rank", limit="fp32 product", best=2 * n_part * n_classes * dim / flops,
        wanted=1 / 1.3,
    )  # fmt: skip


def main() -> None:
    """Draw a head, compare, and measure the memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=450_000)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--parts", type=int, default=6)
    parser.add_argument("--only-memory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_memory:
        measure_memory(arguments.only_memory)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_head(folder, arguments.classes, arguments.images, arguments.dim)
        compare(folder, arguments.parts)
        command = [sys.executable, "-m", "benchmarks.head_speed", "--only-memory", name]
        spoken = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"\npeak memory beyond the head: {int(spoken):,} MB")
        if int(spoken) > LIMIT_MB:
            sys.exit(f"over {LIMIT_MB:,} MB")


if __name__ == "__main__":
    main()
