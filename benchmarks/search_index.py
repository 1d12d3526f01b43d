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

K, N_QUERIES, N_SINGLE, N_RUNS, RECALL = 10, 1024, 50, 3, 0.95
# What FAISS calls them, and what makes them find more.
_FAISS_KINDS = {"ivf": ("IVF{n_lists},Flat", "nprobe"), "hnsw": ("HNSW16", "efSearch")}


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
    single = [queries[position : position + 1] for position in range(N_SINGLE)]
    at_once_s = time_median(lambda: search(queries))
    singly_s = time_median(lambda: [search(query) for query in single])
    return [measure_recall(found, truth), len(queries) / at_once_s, N_SINGLE / singly_s]


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
    sizes = (2_000, 8_000, 20_000) if is_quick else (10_000, 30_000, 100_000)
    flops, bandwidth = find_flops(), find_bandwidth()
    rows = []
    for n in sizes:
        drawn = draw_vectors(n + N_QUERIES, dim, 1000)
        vectors, queries = drawn[:-N_QUERIES].copy(), drawn[-N_QUERIES:].copy()
        # Of few a product is nothing, and what is around it all.
        wanted = 1.0 if n == sizes[-1] else None
        peers = {"FAISS flat": search_by_faiss(vectors), "numpy": search_by_numpy(vectors)}
        truth = peers["numpy"](queries)
        with tempfile.TemporaryDirectory() as folder:
            store = make_store(Path(folder) / "store", vectors)
            exact = _search_by(NeighborIndex.open(store))
            found = measure_recall(exact(queries), truth)
            size = f"{n:,} x {dim}, recall@{K} {found:.4f}"
            rows += _compare(
                "exact search at once", f"{size}, {N_QUERIES:,} queries", exact, peers, queries,
                n_rounds, limit="fp32 product", best=flops / (2 * n * dim), n=n, wanted=wanted,
            )  # fmt: skip
            rows += _compare(
                "exact search singly", size, one_by_one(exact),
                {name: one_by_one(way) for name, way in peers.items()}, queries[:10], n_rounds,
                limit="reading of memory", best=bandwidth / (4 * n * dim), n=n, wanted=wanted,
            )  # fmt: skip
            if n == sizes[-1]:
                for kind in ("ivf",) if is_quick else ("ivf", "hnsw", "ivfpq", "sq8"):
                    rows += _list_kind(store, kind, vectors, queries, truth, n_rounds)
    return rows


def measure_recall(found: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> float:
    """Return the share of the nearest that were found."""
    return float(np.mean([len(np.intersect1d(*one)) / K for one in zip(found, truth, strict=True)]))


def one_by_one(search: Search) -> Search:
    """Return a search that is asked each query by itself."""
    return lambda queries: np.concatenate([search(one[np.newaxis]) for one in queries])


def _list_kind(
    store: EmbeddingStore, kind: str, vectors: Vectors, queries: Vectors,
    truth: npt.NDArray[np.int64], n_rounds: int,
) -> list[Row]:  # fmt: skip
    """Measure a kind of index beside FAISS flat, and beside FAISS's own of the kind."""
    work, size = f"search by {kind} at once", f"{len(store):,} x {queries.shape[1]}"
    start_s = time.perf_counter()
    try:
        build_index(store, kind, recall=RECALL, k=K)
    except StoreError as error:
        return [Row(work=work, size=f"{size}: {error}", unit="queries/s", ours=())]
    built_s = time.perf_counter() - start_s
    search = _search_by(NeighborIndex.open(store))
    peers, others_s = {"FAISS flat": search_by_faiss(vectors)}, dict[str, float]()
    if kind in _FAISS_KINDS:
        start_s = time.perf_counter()
        index = build_by_faiss(kind, vectors)
        other_s = time.perf_counter() - start_s
        name = tune_faiss(index, kind, queries, truth)
        peers[name], others_s[name] = lambda asked: index.search(asked, K)[1], other_s
    recall = measure_recall(search(queries), truth)
    rows = _compare(work, f"{size}, recall@{K} {recall:.3f}", search, peers, queries, n_rounds)
    for name, other_s in (others_s or {"": 0.0}).items():
        rows.append(Row(
            work=f"index {kind}, built and tuned", size=size, unit="s", ours=(built_s,),
            peer=f"{name}, built alone" if name else "", theirs=(other_s,) if name else (),
        ))  # fmt: skip
    return rows


def build_by_faiss(kind: str, vectors: Vectors) -> Any:  # noqa: ANN401 - faiss has no types
    """Build FAISS's own index, of as many lists, or links, as ours."""
    import faiss

    described = _FAISS_KINDS[kind][0].format(n_lists=round(4 * len(vectors) ** 0.5))
    index = faiss.index_factory(vectors.shape[1], described, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


def tune_faiss(
    index: Any, kind: str, queries: Vectors, truth: npt.NDArray[np.int64]  # noqa: ANN401
) -> str:  # fmt: skip
    """Set the least of what doubles by which the recall is reached that ours is asked for."""
    import faiss

    described, parameter = _FAISS_KINDS[kind]
    for number in range(3, 13):
        faiss.ParameterSpace().set_index_parameter(index, parameter, 2**number)
        recall = measure_recall(index.search(queries, K)[1], truth)
        if recall >= RECALL:
            break
    return f"FAISS {described.partition('{')[0]}, recall@{K} {recall:.3f}"


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
    parser.add_argument("--recall", type=float, default=RECALL)
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
