"""Recall, speed and memory of each kind of index beside exact search, FAISS flat and numpy.

The vectors are clustered and unit. All ways answer the same queries, which are not in the store,
in one process, and the median of three runs is given. Recall is over the exact 10 nearest.

Run it with ``python -m benchmarks.search_index``; with ``--exact`` exact search, FAISS flat and
numpy alone take turns, and the medians of the ratios are given, of processor time too. FAISS is
told what the processor has, as :mod:`benchmarks.head_speed` says.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.harness import Row, alternate, make_rows, tell_openblas
from benchmarks.limits import find_bandwidth, find_flops
from benchmarks.results.machine import find_processor
from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import StoreError
from bioprobe.index import NeighborIndex
from bioprobe.index.tuning import build_index
from bioprobe.store import EmbeddingStore

Vectors = npt.NDArray[np.float32]
Search = Callable[[Vectors], npt.NDArray[np.int64]]

K, N_QUERIES, N_SINGLE, N_RUNS = 10, 1024, 50, 3


def draw_vectors(n_images: int, dim: int, n_clusters: int) -> Vectors:
    """Draw clustered unit vectors, as the pictures of many species give."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(n_clusters, dim)).astype(np.float32)
    vectors = random.normal(size=(n_images, dim)).astype(np.float32)
    vectors += centres[random.integers(0, n_clusters, n_images)]
    return normalise_rows(vectors)


def make_store(folder: Path, vectors: Vectors, dtype: str = "float32") -> EmbeddingStore:
    """Write vectors as a store."""
    fingerprint = Fingerprint(model="drawn", weights_sha256="00", backend="numpy")
    store = EmbeddingStore.create(folder, fingerprint, dim=vectors.shape[1], dtype=dtype)
    names = [f"{number}.jpg" for number in range(len(vectors))]
    return store.append(pd.DataFrame({"path": names}), vectors)


def search_by_numpy(vectors: Vectors) -> Search:
    """Return a search by a plain product."""

    def search(queries: Vectors) -> npt.NDArray[np.int64]:
        found = []
        for start in range(0, len(queries), 256):
            similarities = queries[start : start + 256] @ vectors.T
            near = np.argpartition(-similarities, K, axis=1)[:, :K]
            order = np.argsort(-np.take_along_axis(similarities, near, axis=1), axis=1)
            found.append(np.take_along_axis(near, order, axis=1))
        return np.concatenate(found)

    return search


def search_by_faiss(vectors: Vectors) -> Search:
    """Return a search by FAISS's flat index."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries: index.search(queries, K)[1]


def time_median(run: Callable[[], object]) -> float:
    """Return the median time of some runs, in seconds."""
    took_s = []
    for _ in range(N_RUNS):
        start_s = time.perf_counter()
        run()
        took_s.append(time.perf_counter() - start_s)
    return float(np.median(took_s))


def measure(search: Search, queries: Vectors, truth: npt.NDArray[np.int64]) -> list[float]:
    """Return recall, and queries a second at once and one by one."""
    found = search(queries)
    shares = [len(np.intersect1d(*pair)) / K for pair in zip(found, truth, strict=True)]
    single = [queries[position : position + 1] for position in range(N_SINGLE)]
    at_once_s = time_median(lambda: search(queries))
    singly_s = time_median(lambda: [search(query) for query in single])
    return [float(np.mean(shares)), len(queries) / at_once_s, N_SINGLE / singly_s]


def compare_exact(vectors: Vectors, queries: Vectors, n_turns: int) -> None:
    """Print how exact search stands beside FAISS flat and numpy, which take turns with it."""
    with tempfile.TemporaryDirectory() as folder:
        ways = {"FAISS flat": search_by_faiss(vectors), "numpy": search_by_numpy(vectors)}
        for dtype in ("float32", "float16"):
            index = NeighborIndex.open(make_store(Path(folder) / dtype, vectors, dtype))
            ways[f"exact, {dtype}"] = lambda q, index=index: index.search(q, K)[0]  # type: ignore[misc]
        print(f"{find_processor()}, {os.cpu_count()} cores\n")
        print(
            "| way | queries | a second | CPU ms each | of FAISS | of its CPU | of numpy | same |"
        )
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for asked in (queries, queries[:1]):
            turns, truth = n_turns if len(asked) > 1 else 10 * n_turns, ways["numpy"](asked)
            spent = {name: np.empty((turns, 2)) for name in ways}
            for turn, (name, search) in itertools.product(range(-1, turns), ways.items()):
                before = time.perf_counter(), time.process_time()
                found = search(asked)
                spent[name][turn] = np.subtract((time.perf_counter(), time.process_time()), before)
                # Threads of the one before would be counted to the next.
                time.sleep(0.2)
                same = float((found == truth).mean())
                if turn == turns - 1:
                    took_s, cpu_s = np.median(spent[name], axis=0) / len(asked)
                    faiss = np.median(spent["FAISS flat"] / spent[name], axis=0)
                    plain = np.median(spent["numpy"] / spent[name], axis=0)
                    print(
                        f"| {name} | {len(asked):,} | {1 / took_s:,.0f} | {1000 * cpu_s:.2f} "
                        f"| {faiss[0]:.2f} | {faiss[1]:.2f} | {plain[0]:.2f} | {same:.4f} |",
                        flush=True,
                    )


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure exact search at three sizes, and the kinds of index at the largest."""
    dim, n_rounds = 512, 3 if is_quick else 5
    sizes = (2_000, 8_000, 20_000) if is_quick else (10_000, 100_000, 300_000)
    flops, bandwidth = find_flops(), find_bandwidth()
    rows = []
    for n in sizes:
        drawn = draw_vectors(n + N_QUERIES, dim, 1000)
        vectors, queries = drawn[:-N_QUERIES].copy(), drawn[-N_QUERIES:].copy()
        # Of few a product is nothing, and what is around it all.
        wanted = 1.0 if n == sizes[-1] else None
        peers = {"FAISS flat": search_by_faiss(vectors), "numpy": search_by_numpy(vectors)}
        with tempfile.TemporaryDirectory() as folder:
            store = make_store(Path(folder) / "store", vectors)
            exact = _search_by(NeighborIndex.open(store))
            rows += _compare(
                "exact search at once", f"{n:,} x {dim}, {N_QUERIES:,} queries", exact, peers,
                queries, n_rounds, limit="fp32 product", best=flops / (2 * n * dim), n=n,
                wanted=wanted,
            )  # fmt: skip
            rows += _compare(
                "exact search singly", f"{n:,} x {dim}", exact, peers, queries[:1], 5 * n_rounds,
                limit="reading of memory", best=bandwidth / (4 * n * dim), n=n,
                wanted=wanted,
            )  # fmt: skip
            if n == sizes[-1]:
                truth = peers.pop("numpy")(queries)
                rows += _list_kinds(store, peers, queries, truth, n_rounds, is_quick=is_quick)
    return rows


def _list_kinds(
    store: EmbeddingStore, peers: dict[str, Search], queries: Vectors,
    truth: npt.NDArray[np.int64], n_rounds: int, *, is_quick: bool,
) -> list[Row]:  # fmt: skip
    rows = []
    for kind in ("ivf",) if is_quick else ("ivf", "hnsw", "ivfpq", "sq8"):
        try:
            build_index(store, kind, recall=0.95, k=K)
        except StoreError:
            continue
        search = _search_by(NeighborIndex.open(store))
        found = search(queries)
        recall = np.mean([len(np.intersect1d(*one)) / K for one in zip(found, truth, strict=True)])
        size = f"{len(store):,} x {queries.shape[1]}, recall@{K} {recall:.3f}"
        rows += _compare(f"search by {kind} at once", size, search, peers, queries, n_rounds)
    return rows


def _search_by(index: NeighborIndex) -> Search:
    return lambda queries: index.search(queries, K)[0]


def _compare(
    work: str, size: str, own: Search, peers: dict[str, Search], queries: Vectors, n_rounds: int,
    **more: Any,  # noqa: ANN401 -- as make_rows takes it
) -> list[Row]:  # fmt: skip
    ways = {"bioprobe": own, **peers}
    took_s = alternate(
        {name: functools.partial(way, queries) for name, way in ways.items()}, n_rounds
    )
    return make_rows(work, size, took_s, own="bioprobe", n_done=len(queries), unit="queries/s",
                     **more)  # fmt: skip


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--kinds", nargs="*", default=["ivf", "hnsw", "ivfpq", "sq8"])
    parser.add_argument("--exact", action="store_true", help="exact search alone, in turns")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    import torch

    tell_openblas(torch.backends.cpu.get_cpu_capability())
    drawn = draw_vectors(arguments.images + N_QUERIES, arguments.dim, arguments.clusters)
    vectors, queries = drawn[:-N_QUERIES].copy(), drawn[-N_QUERIES:].copy()
    if arguments.exact:
        compare_exact(vectors, queries, arguments.turns)
        return
    numpy_search = search_by_numpy(vectors)
    truth = numpy_search(queries)
    faiss_rates = measure(search_by_faiss(vectors), queries, truth)
    print(f"{len(vectors):,} vectors of dim {arguments.dim}, {arguments.clusters:,} clusters\n")
    print(
        "| way | recall@10 | queries/s | of FAISS flat | single | of FAISS flat | MB | built, s |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)

    def show(name: str, rates: list[float], size_bytes: int, build_s: float) -> None:
        recall, batch, single = rates
        print(
            f"| {name} | {recall:.3f} | {batch:,.0f} | {batch / faiss_rates[1]:.2f} | "
            f"{single:,.0f} | {single / faiss_rates[2]:.2f} | {size_bytes / 1e6:.0f} | "
            f"{build_s:.0f} |",
            flush=True,
        )

    show("numpy", measure(numpy_search, queries, truth), vectors.nbytes, 0)
    show("FAISS flat", faiss_rates, vectors.nbytes, 0)
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", vectors)
        exact = NeighborIndex.open(store)
        show("exact", measure(lambda q: exact.search(q, K)[0], queries, truth), 0, 0)
        for kind in arguments.kinds:
            try:
                report = build_index(store, kind, recall=arguments.recall, k=K)
            except StoreError as error:
                print(f"| {kind} | {error} |", flush=True)
                continue
            index = NeighborIndex.open(store)
            rates = measure(lambda q, index=index: index.search(q, K)[0], queries, truth)  # type: ignore[misc]
            show(kind, rates, report.index_bytes, report.build_s)
            print(f"  {report.to_dict()}", flush=True)


if __name__ == "__main__":
    main()
