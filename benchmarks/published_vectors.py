"""What a published set of vectors costs: a family of it, all of it, and prototypes of its species.

Draws a folder in the layout of TreeOfLife-200M-Embeddings (float16, not unit, sorted by source and
taxonomy, row groups of 50,000 rows, species as common as 1 / their place) and asks commands in
processes of their own, for seconds of CPU, peak memory, bytes read and bytes kept:
``python -m benchmarks published_vectors [--rows 500000] [--species 20000] [--index ivfpqfs]``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.store_scale import measure
from bioprobe.store import EmbeddingStore

if TYPE_CHECKING:
    import pyarrow as pa

_PER_GENUS, _PER_FAMILY, _PER_ORDER, _PER_CLASS = 5, 100, 1000, 5000
_MODEL = "bioclip-2_float16"
_SOURCES = ("bioscan", "eol", "gbif")
_SHARES = (0.02, 0.08, 0.9)


def draw_published(
    folder: Path, n_rows: int, n_species: int, *, dim: int, file_rows: int, group_rows: int
) -> None:
    """Write the folder of one model, row group by row group."""
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    chances = random.permutation(1.0 / np.arange(1, n_species + 1))
    centres = random.standard_normal((n_species, dim), dtype=np.float32)
    sources = np.sort(random.choice(len(_SOURCES), n_rows, p=_SHARES))
    species = random.choice(n_species, n_rows, p=chances / chances.sum())
    species = species[np.lexsort((species, sources))]
    folder.mkdir(parents=True)
    n_files = -(-n_rows // file_rows)
    for number in range(n_files):
        rows = np.arange(number * file_rows, min((number + 1) * file_rows, n_rows))
        name = folder / f"train-{number:05d}-of-{n_files:05d}.parquet"
        writer = None
        for part in np.split(rows, range(group_rows, len(rows), group_rows)):
            vectors = random.standard_normal((len(part), dim), dtype=np.float32)
            vectors = centres[species[part]] + 1.5 * vectors
            # As published ones have them, lengths differ twofold.
            vectors *= random.uniform(0.7, 1.4, (len(part), 1)).astype(np.float32)
            table = _make_table(sources[part], species[part], vectors.astype(np.float16), random)
            if writer is None:
                plain = [one for one in table.column_names if one not in {"emb", "uuid"}]
                writer = pq.ParquetWriter(
                    name, table.schema, compression="zstd", write_page_index=True,
                    use_dictionary=plain,
                )  # fmt: skip
            writer.write_table(table, row_group_size=group_rows)
        if writer is not None:
            writer.close()


def _make_table(
    sources: np.ndarray, species: np.ndarray, vectors: np.ndarray, random: np.random.Generator
) -> pa.Table:
    import pyarrow as pa

    def name(word: str, per: int) -> pa.Array:
        return pa.array([f"{word}{number // per:05d}" for number in species.tolist()])

    n = len(species)
    ids = [str(uuid.UUID(bytes=random.bytes(16), version=4)) for _ in range(n)]
    return pa.table({
        "uuid": ids,
        "emb": pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.ravel(), type=pa.float16()), vectors.shape[1]
        ),
        "source_dataset": [_SOURCES[one] for one in sources],
        "source_id": [str(number) for number in random.integers(10**9, 5 * 10**9, n)],
        "kingdom": ["Animalia"] * n, "phylum": ["Chordata"] * n,
        "class": name("Class", _PER_CLASS), "order": name("Order", _PER_ORDER),
        "family": name("Family", _PER_FAMILY), "genus": name("Genus", _PER_GENUS),
        "species": [f"s{number:05d}" for number in species.tolist()],
        "scientific_name": [
            f"Genus{number // _PER_GENUS:05d} s{number:05d} Linnaeus, 1758"
            for number in species.tolist()
        ],
        "common_name": pa.nulls(n, pa.string()),
        "resolution_status": ["EXACT_MATCH_PRIMARY_SOURCE_ACCEPTED"] * n,
        "publisher": ["iNaturalist.org"] * n, "basisOfRecord": ["HUMAN_OBSERVATION"] * n,
        "identifier": [f"https://inaturalist.example/photos/{one}/original.jpg" for one in ids],
        "img_type": ["Citizen Science"] * n,
    })  # fmt: skip


def count_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())


def tell_store(store: Path) -> str:
    """Say what a row of a store takes on the disk, of vectors and of the table."""
    n_rows = len(EmbeddingStore.open(store))
    shards = [one for one in (store / "shards").rglob("*") if one.is_file()]
    vectors = sum(one.stat().st_size for one in shards if one.suffix == ".npy")
    table = sum(one.stat().st_size for one in shards) - vectors
    return (
        f"{n_rows:,} rows: {vectors / n_rows:,.0f} bytes of vectors and {table / n_rows:,.0f} of "
        "table each"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--species", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--file-rows", type=int, default=350_000)
    parser.add_argument("--group-rows", type=int, default=50_000)
    parser.add_argument("--index", help="Kind of index that is built too, such as ivfpqfs.")
    parser.add_argument("--keep", type=Path, help="Folder where all stays, and is found again.")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        source = folder / "set"
        if not source.exists():
            # The peak memory of a command is never below that of who started it.
            drawing = multiprocessing.get_context("spawn").Process(
                target=draw_published, args=(source / _MODEL, given.rows, given.species),
                kwargs={
                    "dim": given.dim, "file_rows": given.file_rows, "group_rows": given.group_rows
                },
            )  # fmt: skip
            drawing.start()
            drawing.join()
        print(f"the set: {count_bytes(source) / given.rows:,.0f} bytes a row", flush=True)
        bring = ["store", "import", str(source), "--store"]
        family, whole = folder / "family", folder / "all"
        commands = {
            "a family": [*bring, str(family), "--within", "Family00001"],
            "the same again": [*bring, str(family), "--within", "Family00001"],
            "all": [*bring, str(whole)],
            "prototypes": ["taxa", "prototypes", "--level", "species", "--store", str(whole),
                           "--output", str(folder / "prototypes.csv")],
        }  # fmt: skip
        if given.index:
            commands["index"] = ["store", "index", "--kind", given.index, "--store", str(whole)]
        for name, command in commands.items():
            spent = measure([sys.executable, "-m", "bioprobe", *command])
            print(f"{name:16} {spent.cpu_s:8.1f} s CPU {spent.peak_mb:8.0f} MB peak", flush=True)
        print(tell_store(whole))
        for part in ("text", "index"):
            print(f"{part}: {count_bytes(whole / part) / 1e6:,.1f} MB")


if __name__ == "__main__":
    main()
