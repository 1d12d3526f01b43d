"""Time and peak memory of zero-shot for many images and classes.

Random unit vectors are put on disk as a store of float16 shards, in a temporary folder that is
removed afterwards, and labelled with random class embeddings by the function that the command
calls. Each run is a process of its own; the second has ten times fewer images, to show what of the
memory grows with them.

Run it with ``python -m benchmarks.zeroshot_scale``.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.harness import Row, alternate, find_peak_mb, make_rows, tell_openblas
from benchmarks.limits import find_flops
from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.prompts import PromptSet, TextType
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.zeroshot.zeroshot import zeroshot

LIMIT_MB = 6 * 1024
_SHARD_ROWS = 50_000


def write_store(folder: Path, n_images: int, dim: int) -> None:
    """Write a store of random vectors, shard by shard."""
    random = np.random.default_rng(0)
    fingerprint = Fingerprint(model="random", backend="imported")
    store = EmbeddingStore.create(
        folder, fingerprint, dim=dim, logit_scale=100.0, has_text_tower=True, dtype="float16"
    )
    for start in range(0, n_images, _SHARD_ROWS):
        n = min(_SHARD_ROWS, n_images - start)
        frame = pd.DataFrame({"path": [f"{row:08d}.jpg" for row in range(start, start + n)]})
        store = store.append(frame, random.standard_normal((n, dim), dtype=np.float32))


def make_prompts(n_classes: int) -> PromptSet:
    """Make a class of each number."""
    taxa = tuple(Taxon.from_names({"species": f"Genus s{n:05d}"}) for n in range(n_classes))
    return PromptSet(Taxonomy(taxa), TextType.SCI, ("{}",))


def encode_text(texts: Sequence[str], dim: int) -> npt.NDArray[np.float32]:
    """Return random unit vectors in place of text embeddings."""
    random = np.random.default_rng(1)
    return normalise_rows(random.standard_normal((len(texts), dim), dtype=np.float32))


def label(folder: Path, n_classes: int, k: int) -> None:
    """Label a store and print time and peak memory."""
    store, prompts = EmbeddingStore.open(folder), make_prompts(n_classes)
    start_s = time.perf_counter()
    found = zeroshot(
        store, prompts, lambda texts: encode_text(texts, store.manifest.dim),
        rank=Rank.SPECIES, k=k,
    )  # fmt: skip
    took_s = time.perf_counter() - start_s
    peak_mb = find_peak_mb()
    print(f"| {len(found):,} | {n_classes:,} | {took_s:.0f} | {peak_mb:,.0f} |", flush=True)
    if peak_mb > LIMIT_MB:
        sys.exit(f"peak memory {peak_mb:,.0f} MB is over {LIMIT_MB:,} MB")


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure a small list of classes at three numbers of images, beside plain numpy."""
    sizes = (2_000, 8_000, 20_000) if is_quick else (10_000, 30_000, 100_000)
    n_classes, dim, k = 200, 512, 5
    prompts, flops, rows = make_prompts(n_classes), find_flops(), []
    texts = encode_text([""] * n_classes, dim)
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_store(Path(folder) / "store", n, dim)
            store = EmbeddingStore.open(Path(folder) / "store")

            def by_numpy(store: EmbeddingStore = store) -> None:
                logits = 100 * (store.read_vectors() @ texts.T)
                chances = np.exp(logits - logits.max(axis=1, keepdims=True))
                chances /= chances.sum(axis=1, keepdims=True)
                best = np.argpartition(-chances, k, axis=1)[:, :k]
                np.argsort(-np.take_along_axis(chances, best, axis=1), axis=1)

            took_s = alternate({
                "bioprobe": lambda store=store: zeroshot(
                    store, prompts, lambda asked: encode_text(asked, dim), rank=Rank.SPECIES, k=k
                ),
                "numpy": by_numpy,
            }, 3 if is_quick else 5)  # fmt: skip
        rows += make_rows(
            f"zero-shot, {n_classes} classes x {dim}", f"{n:,} images", took_s, own="bioprobe",
            limit="fp32 product", best=2 * n * n_classes * dim / flops, n=n,
        )  # fmt: skip
    return rows + list_huge_rows(is_quick=is_quick)


def list_huge_rows(*, is_quick: bool) -> list[Row]:
    """Measure as many classes as the tree of life has, beside FAISS flat, in turn.

    Texts are embedded before; what is made of so many taxa counts.
    """
    import torch

    tell_openblas(torch.backends.cpu.get_cpu_capability())
    import faiss

    n, n_classes, dim, k = (1_024, 60_000, 512, 5) if is_quick else (12_000, 450_000, 512, 5)
    faiss.omp_set_num_threads(torch.get_num_threads())
    prompts, texts = make_prompts(n_classes), encode_text([""] * n_classes, dim)
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder) / "store", n, dim)
        store = EmbeddingStore.open(Path(folder) / "store")
        vectors = store.read_vectors()
        took_s = alternate({
            "bioprobe": lambda: zeroshot(
                # Not the same object: it keeps its texts.
                store, dataclasses.replace(prompts), lambda _: texts, rank=Rank.SPECIES, k=k
            ),
            "FAISS flat, top 5": lambda: faiss.knn(
                vectors, texts, k, metric=faiss.METRIC_INNER_PRODUCT
            ),
        }, 3 if is_quick else 2, warm=is_quick)  # fmt: skip
    return make_rows(
        f"zero-shot, {n_classes:,} classes x {dim}", f"{n:,} images", took_s, own="bioprobe",
        limit="fp32 product", best=2 * n * n_classes * dim / find_flops(), wanted=1 / 1.3,
    )  # fmt: skip


def main() -> None:
    """Print the time and peak memory of each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--store", type=Path)
    arguments = parser.parse_args()
    if arguments.store:
        label(arguments.store, arguments.classes, arguments.k)
        return
    print(f"vectors of dim {arguments.dim}, best {arguments.k} classes\n")
    print("| images | classes | s | peak MB |")
    print("|---|---|---|---|", flush=True)
    for n_images in (arguments.images // 10, arguments.images):
        with tempfile.TemporaryDirectory() as folder:
            write_store(Path(folder) / "store", n_images, arguments.dim)
            command = [sys.executable, "-m", "benchmarks.zeroshot_scale"]
            command += ["--store", str(Path(folder) / "store"), "--k", str(arguments.k)]
            subprocess.run([*command, "--classes", str(arguments.classes)], check=True)


if __name__ == "__main__":
    main()
