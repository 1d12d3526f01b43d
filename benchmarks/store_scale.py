"""What a store costs: seconds of CPU and by the clock, memory and disk, at more and more rows.

Draws stores of float16 vectors in clusters as orders, families, genera and species have them, with
an image table as camera traps have it, and asks each by commands in processes of their own. The
smallest shows what starting costs:
``python -m benchmarks.store_scale [--rows 1000 100000 1000000] [--dim 512] [--keep FOLDER]``.

With ``--compact`` a copy of each store, of which a twentieth is removed, is compacted while one
process goes on with what it opened before and another opens the store anew for each search. Every
answer is compared with that of before.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import DRAWN, Row
from bioprobe.cells import mark
from bioprobe.files import hash_file
from bioprobe.images.image_table import ImageTable
from bioprobe.store import EmbeddingStore
from bioprobe.store.manifest import ShardRecord
from bioprobe.store.shard import GROUP_ROWS, IMAGES_NAME, VECTORS_NAME
from bioprobe.types import Rows, Vectors

N_ORDERS, N_FAMILIES, N_GENERA, N_SPECIES = 20, 200, 600, 2000
# Those that zero-shot asks.
N_CLASSES = 1000
KINDS = ("ivfpqfs", "ivfsq8", "sq8")
# Of so many rows one was looked at by a person, for whom animals are what some orders are.
CHECKED_EVERY = 500


def draw_store(folder: Path, n_rows: int, dim: int, shard_rows: int) -> EmbeddingStore:
    """Fill a store with vectors in nested clusters, of species as common as 1 / their place.

    Shards are written as the store writes them, but all under one manifest: ten million rows take
    minutes.
    """
    random = np.random.default_rng(0)
    upper, centres = _draw_centres(random, dim)
    names = _name_species(*upper)
    chances = 1.0 / np.arange(1, N_SPECIES + 1)
    # The commonest are not all of one order.
    chances = random.permutation(chances / chances.sum())
    store = EmbeddingStore.create(folder, DRAWN, dim=dim, dtype="float16")
    records = []
    for number, start in enumerate(range(0, n_rows, shard_rows)):
        rows = range(start, min(start + shard_rows, n_rows))
        of = random.choice(N_SPECIES, len(rows), p=chances)
        vectors = random.standard_normal((len(rows), dim), dtype=np.float32)
        vectors *= 1.5
        vectors += centres[of]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        table = _draw_table(rows, {rank: column.take(of) for rank, column in names.items()}, random)
        name = store.manifest.name_shard(number)
        records.append(_write_shard(folder / "shards" / name, vectors, table))
    dataclasses.replace(store.manifest, shards=tuple(records)).write(folder)
    draw_head(folder.with_name(f"{folder.name}.npy"), dim)
    return EmbeddingStore.open(folder)


def draw_head(file: Path, dim: int) -> None:
    """Write the directions of the first species as a text head is published: vectors and names."""
    upper, centres = _draw_centres(np.random.default_rng(0), dim)
    np.save(file, (centres[:N_CLASSES] / np.linalg.norm(centres[:N_CLASSES], axis=1)[:, None]).T)
    columns = [column.to_pylist()[:N_CLASSES] for column in _name_species(*upper).values()]
    names = [[*above, name.split()[1]] for *above, name in zip(*columns, strict=True)]
    file.with_suffix(".json").write_text(json.dumps([[one, ""] for one in names]))


def _draw_centres(random: np.random.Generator, dim: int) -> tuple[list[Rows], Vectors]:
    """Return the order, family and genus of each species, and where it lies."""
    species = np.arange(N_SPECIES)
    upper = [species * n // N_SPECIES for n in (N_ORDERS, N_FAMILIES, N_GENERA)]
    centres = np.zeros((N_SPECIES, dim), dtype=np.float32)
    for numbers in (*upper, species):
        centres += random.standard_normal((N_SPECIES, dim), dtype=np.float32)[numbers]
    return upper, centres


def _name_species(order: Rows, family: Rows, genus: Rows) -> dict[str, pa.Array]:
    genera = [f"Genus{number:04d}" for number in genus]
    fixed = {"kingdom": "Animalia", "phylum": "Chordata", "class": "Mammalia"}
    return {
        **{rank: pa.array([name] * N_SPECIES) for rank, name in fixed.items()},
        "order": pa.array([f"Order{number:04d}" for number in order]),
        "family": pa.array([f"Family{number:04d}" for number in family]),
        "genus": pa.array(genera),
        "species": pa.array([f"{one} species{at:04d}" for at, one in enumerate(genera)]),
    }


def _draw_table(rows: range, labels: dict[str, pa.Array], random: np.random.Generator) -> pa.Table:
    digests = random.bytes(32 * len(rows)).hex()
    sites = [f"site{row % 200:03d}" for row in rows]
    columns = {
        "root": ["/data/pictures"] * len(rows),
        "path": [f"{site}/IMG_{row:08d}.JPG" for site, row in zip(sites, rows, strict=True)],
        "sha256": [digests[at : at + 64] for at in range(0, len(digests), 64)],
        "n_bytes": random.integers(1_000_000, 3_000_000, len(rows)),
        "width_px": [2048] * len(rows), "height_px": [1536] * len(rows),
        "mode": ["RGB"] * len(rows), **labels,
        "common_name": [""] * len(rows), "labels_from": [""] * len(rows), "site": sites,
        "checked": [
            "" if row % CHECKED_EVERY else "animal" if order < "Order0010" else "not animal"
            for row, order in zip(rows, labels["order"].to_pylist(), strict=True)
        ],
    }  # fmt: skip
    return pa.table(columns, schema=_find_schema(columns))


def _find_schema(columns: dict[str, Any]) -> pa.Schema:
    """Return the types that a store gives such columns, with what it says of them."""
    first = pa.table({name: column[:1] for name, column in columns.items()}).to_pandas()
    written = io.BytesIO()
    mark(ImageTable.build(first).frame[list(columns)]).to_parquet(written, index=False)
    return pq.read_schema(written)


def _write_shard(folder: Path, vectors: Vectors, table: pa.Table) -> ShardRecord:
    folder.mkdir(parents=True)
    files = folder / VECTORS_NAME, folder / IMAGES_NAME
    np.save(files[0], vectors.astype(np.float16))
    pq.write_table(table, files[1], row_group_size=GROUP_ROWS)
    return ShardRecord(folder.name, len(vectors), *map(hash_file, files))


def list_commands(store: Path) -> dict[str, list[str]]:
    """Return what is asked of a store, by what it is called; later ones need what earlier kept."""
    bioprobe, at = [sys.executable, "-m", "bioprobe"], ["--store", str(store)]
    opened = f"import bioprobe as bp; store = bp.open({str(store)!r})"
    page = "store.columns(); store.groups('family'); store.browse()"
    answers = str(store.with_name(f"{store.name}.csv"))
    head = ["--head", str(store.with_name(f"{store.name}.npy")), "--model", DRAWN.model]
    search = [*bioprobe, "search", "--row", "5", *at]
    level = ["--level", "family"]
    return {
        "open": [sys.executable, "-c", f"{opened}; len(store)"],
        "store info": [*bioprobe, "store", "info", *at],
        "search --row": search,
        "… --where": [*search, "--where", "family == 'Family0003'"],
        "first page": [sys.executable, "-c", f"{opened}; {page}"],
        "zeroshot": [*bioprobe, "zeroshot", *head, "--k", "1", "--output", answers, *at],
        "… every rank": [
            *bioprobe, "zeroshot", *head, "--k", "1", "--every-rank", "--output", answers, *at
        ],
        "filter": [*bioprobe, "filter", "--labels", "checked", "--output", answers, *at],
        "… --mask": [*search, "--mask", "filters/animal"],
        "split": [*bioprobe, "split", "--level", "species", *at],
        "dedupe": [*bioprobe, "dedupe", "--threshold", "0.95", "--no-confirm", *at],
        "probe fit lda": [*bioprobe, "probe", "fit", "lda", *level, "--name", "drawn", *at],
        "probe fit ridge": [*bioprobe, "probe", "fit", "ridge", *level, "--name", "ridge", *at],
        "probe fit linear": [
            *bioprobe, "probe", "fit", "linear", "--level", "order", "--setting", "C=1",
            "--name", "linear", *at,
        ],
        "probe predict": [*bioprobe, "probe", "predict", "drawn", "--output", answers, *at],
        "evaluate": [
            *bioprobe, "evaluate", *level, "--methods", "centroid", "--name", "drawn", *at
        ],
        "report": [
            *bioprobe, "report", "drawn", "--output", str(store.with_suffix(".html")), *at
        ],
        "review": [*bioprobe, "review", *level, "--propose", "20", "--by", "anna", *at],
        **{f"index {kind}": [*bioprobe, "store", "index", "--kind", kind, *at] for kind in KINDS},
        "… search --row": search,
    }  # fmt: skip


# What the page of figures shows, with the seconds and megabytes that are good enough of a million.
_MILLION = 1_000_000
_SHOWN: dict[str, tuple[float | None, float | None]] = {
    "store info": (1.0, 200),
    "search --row": (2.5, 600),
    "probe fit lda": (60, 2000),
    "probe fit linear": (None, 2000),
}


class Spent(NamedTuple):
    """What a command took: seconds of processor time, by the clock, and megabytes at its peak.

    Those of its own are without pages of files that it had mapped, which are given up where memory
    is short. They are looked at five times a second, and 0 where the system does not say.
    """

    cpu_s: float
    clock_s: float
    peak_mb: float
    own_mb: float


class FailedError(Exception):
    """A command failed, and what it said last."""


def measure(command: list[str]) -> Spent:
    """Run a command to its end, and return what it took."""
    start_s = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        own_mb = [0.0]
        has_ended = threading.Event()

        def watch() -> None:
            while not has_ended.wait(0.2):
                own_mb.append(_find_own_mb(process.pid))

        watching = threading.Thread(target=watch)
        watching.start()
        _, status, used = os.wait4(process.pid, 0)
        has_ended.set()
        watching.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            msg = f"exit {process.returncode}: {said.read().strip()[-200:]}"
            raise FailedError(msg)
    clock_s = time.perf_counter() - start_s
    return Spent(used.ru_utime + used.ru_stime, clock_s, used.ru_maxrss / 1024, max(own_mb))


def _find_own_mb(process: int) -> float:
    with contextlib.suppress(OSError):
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0
    return 0.0


def read_on(place: Path, pipe: Any, *, opens_again: bool) -> None:  # noqa: ANN401 - a Connection
    """Search until the pipe says stop, and send what the searches came to.

    It sends once it has its first answers, which later ones are compared with, and at the end how
    many searches there were, how many were answered otherwise, and the seconds of the longest.
    """
    import bioprobe as bp

    store = bp.open(place)
    rows = np.array([5, len(store) // 2, len(store) - 1])
    queries = EmbeddingStore.open(place).read_vectors(rows)

    def ask(number: int) -> list[tuple[str, float]]:
        found = store.search(vector=[queries[number]]).to_frame()
        return list(zip(found["file_name"], found["similarity"], strict=True))

    expected = [ask(number) for number in range(len(queries))]
    pipe.send(expected)
    n_asked = n_wrong = 0
    longest_s = 0.0
    while not pipe.poll() or n_asked < len(queries):
        start_s = time.perf_counter()
        if opens_again:
            store = bp.open(place)
        n_wrong += ask(n_asked % len(queries)) != expected[n_asked % len(queries)]
        longest_s = max(longest_s, time.perf_counter() - start_s)
        n_asked += 1
    pipe.send((n_asked, n_wrong, longest_s))


def compact(place: Path) -> None:
    """Compact a copy of a store while two processes search it, and print what that came to."""
    copy = place.with_name(f"{place.name}-compacted")
    shutil.rmtree(copy, ignore_errors=True)
    # What is written anew is put in place of the old: links do for a copy.
    shutil.copytree(place, copy, copy_function=os.link)
    bioprobe, at = [sys.executable, "-m", "bioprobe", "store"], ["--store", str(copy)]
    gone = ", ".join(f"'site{number:03d}'" for number in range(10))
    measure([*bioprobe, "remove", "--where", f"site in ({gone})", "--yes", *at])
    spawn = multiprocessing.get_context("spawn")
    readers = {}
    for name, opens_again in (("one that stays", False), ("one that comes back", True)):
        pipe, theirs = spawn.Pipe()
        process = spawn.Process(
            target=read_on, args=(copy, theirs), kwargs={"opens_again": opens_again}
        )
        process.start()
        theirs.close()
        pipe.recv()
        readers[name] = pipe, process
    spent = measure([*bioprobe, "compact", *at])
    print(f"store compact: {spent}, {_count_shards(copy)} shards")
    for name, (pipe, process) in readers.items():
        pipe.send("stop")
        n_asked, n_wrong, longest_s = pipe.recv()
        process.join()
        print(
            f"{name}: {n_asked} searches, {n_wrong} answered otherwise, the longest in "
            f"{longest_s:.1f} s"
        )
    measure([*bioprobe, "compact", *at])
    print(f"compacted again when nobody reads: {_count_shards(copy)} shards")
    shutil.rmtree(copy)


def _count_shards(folder: Path) -> int:
    return sum(1 for one in (folder / "shards").iterdir() if one.is_dir())


def draw_apart(folder: Path, n_rows: int, dim: int, shard_rows: int) -> None:
    """Draw a store in a process of its own.

    The peak memory of a command is no less than that of the process that starts it.
    """
    drawn = multiprocessing.get_context("spawn").Process(
        target=draw_store, args=(folder, n_rows, dim, shard_rows)
    )
    drawn.start()
    drawn.join()
    if drawn.exitcode:
        sys.exit(f"{folder} could not be drawn")


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure processor seconds and peak memory of questions to some stores."""
    rows = []
    for n_rows in (1_000, 6_000, 30_000) if is_quick else (10_000, 100_000, _MILLION):
        with tempfile.TemporaryDirectory() as folder:
            draw_apart(Path(folder, "store"), n_rows, 512, 16_384)
            commands = list_commands(Path(folder, "store"))
            measure(commands["split"])
            for name, enough in _SHOWN.items():
                is_long = name.startswith("probe fit")
                if name == "probe fit linear" and n_rows < _MILLION:
                    continue
                # What takes minutes is run once.
                n_runs = 1 if is_quick or (is_long and n_rows == _MILLION) else 3
                runs = [measure(commands[name]) for _ in range(n_runs)]
                seconds, _, peaks, _ = (tuple(one) for one in zip(*runs, strict=True))
                most_s, most_mb = enough if n_rows == _MILLION else (None, None)
                size = f"{n_rows:,} x 512"
                rows += [
                    Row(work=f"{name}, CPU", size=size, unit="s", ours=seconds, most=most_s,
                        n=n_rows),
                    Row(work=f"{name}, memory", size=size, unit="MB", ours=peaks, most=most_mb,
                        n=n_rows),
                ]  # fmt: skip
    return rows


def main() -> None:
    """Print a line for each question to each store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--shard-rows", type=int, default=16_384)
    parser.add_argument("--asked", nargs="+", help="Only these questions, as the table names them.")
    parser.add_argument("--runs", type=int, default=3, help="The median is shown.")
    parser.add_argument("--compact", action="store_true", help="Compact them, as it says above.")
    parser.add_argument("--keep", type=Path, help="Folder where stores stay, and are found again.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        stores = {}
        for n_rows in given.rows:
            place = stores[n_rows] = folder / f"rows{n_rows}x{given.dim}"
            if not EmbeddingStore.exists(place) or len(EmbeddingStore.open(place)) < n_rows:
                shutil.rmtree(place, ignore_errors=True)
                draw_apart(place, n_rows, given.dim, given.shard_rows)
        if given.compact:
            for place in stores.values():
                compact(place)
            return
        print(
            f"{'rows':>11} {'disk MB':>9} {'asked':17} {'CPU s':>7} {'clock s':>7} {'peak MB':>8} "
            f"{'own MB':>8}",
            flush=True,
        )
        for n_rows, place in stores.items():
            for name, command in list_commands(place).items():
                if given.asked and name not in given.asked:
                    continue
                try:
                    runs = [measure(command) for _ in range(given.runs)]
                except FailedError as error:
                    print(f"{n_rows:>11,} {'':>9} {name:17} {error}", flush=True)
                    continue
                spent = Spent(*(statistics.median(one) for one in zip(*runs, strict=True)))
                n_bytes = sum(one.stat().st_size for one in place.rglob("*") if one.is_file())
                print(
                    f"{n_rows:>11,} {n_bytes / 1e6:>9,.0f} {name:17} {spent.cpu_s:>7.2f} "
                    f"{spent.clock_s:>7.1f} {spent.peak_mb:>8,.0f} {spent.own_mb:>8,.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
