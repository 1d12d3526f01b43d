"""A stand-in of published vectors, in the layout of imageomics/TreeOfLife-200M-Embeddings."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CAT = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
DOG = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae")
BIRD = ("Animalia", "Chordata", "Aves", "Passeriformes", "Corvidae")
GANNET = ("Animalia", "Chordata", "Aves", "Suliformes", "Sulidae")
FLY = ("Animalia", "Arthropoda", "Insecta", "Diptera", "Syrphidae")
MULBERRY = ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Moraceae")
MICROBE = ("Bacteria", "Actinobacteria", "Actinobacteria", "Frankiales", "Frankiaceae")
#: Lineages as the set has them: the epithet alone stands at species.
SPECIES = (
    (*CAT, "Panthera", "leo"), (*CAT, "Panthera", "onca"), (*CAT, "Lynx", "lynx"),
    (*CAT, "Felis", "catus"), (*DOG, "Canis", "lupus"), (*DOG, "Vulpes", "vulpes"),
    (*BIRD, "Corvus", "corax"), (*BIRD, "Pica", "pica"), (*GANNET, "Morus", "bassanus"),
    (*FLY, "Syrphus", "ribesii"), (*MULBERRY, "Morus", "alba"), (*MICROBE, "Frankia", "alni"),
)  # fmt: skip
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
SOURCES = ("eol", "gbif")
#: Folder and dim of each model, and whether its rows are unit.
MODELS = {
    "bioclip-2_float16": (768, False),
    "bioclip-2.5-vith14_float16": (1024, True),
}


def draw_rows(n: int, seed: int = 0) -> pa.Table:
    """Draw the columns beside the vectors, sorted as the set is: by source, then by taxonomy."""
    rng = np.random.default_rng(seed)
    lineages = rng.integers(0, len(SPECIES), n)
    sources = rng.integers(0, len(SOURCES), n)
    order = sorted(range(n), key=lambda row: (SOURCES[sources[row]], SPECIES[lineages[row]]))
    rows: list[dict[str, Any]] = []
    for place, row in enumerate(order):
        lineage = SPECIES[lineages[row]]
        rows.append(
            {
                "uuid": str(uuid.UUID(bytes=rng.bytes(16), version=4)),
                "source_dataset": SOURCES[sources[row]],
                "source_id": str(4_000_000_000 + row),
                **dict(zip(RANKS, lineage, strict=True)),
                "scientific_name": f"{lineage[5]} {lineage[6]} Linnaeus, 1758",
                "common_name": "Lion" if lineage[6] == "leo" else None,
                "resolution_status": "EXACT_MATCH_PRIMARY_SOURCE_ACCEPTED",
                "publisher": "iNaturalist.org",
                "basisOfRecord": "HUMAN_OBSERVATION",
                "identifier": f"https://example.org/{place}.jpg",
                "img_type": "Citizen Science",
            }
        )
    return pa.Table.from_pylist(rows)


def draw_vectors(n: int, dim: int, *, is_unit: bool, seed: int = 1) -> np.ndarray:
    """Draw vectors of float16, unit ones or of norms from 36 to 70."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    if not is_unit:
        vectors *= rng.uniform(36, 70, size=(n, 1)).astype(np.float32)
    return vectors.astype(np.float16)


def write_published(
    address: str,
    rows: pa.Table,
    vectors: dict[str, np.ndarray],
    *,
    n_files: int = 3,
    group_rows: int = 20,
    write_statistics: bool | Sequence[str] = True,
) -> None:
    """Write a folder a model below an address: several files of sorted row groups."""
    system, root = fsspec.core.url_to_fs(address)
    per_file = -(-len(rows) // n_files)
    for folder, matrix in vectors.items():
        values = pa.array(matrix.ravel(), type=pa.float16())
        emb = pa.FixedSizeListArray.from_arrays(values, matrix.shape[1])
        table = rows.append_column("emb", emb)
        system.makedirs(f"{root}/{folder}", exist_ok=True)
        for number in range(n_files):
            name = f"{root}/{folder}/train-{number:05d}-of-{n_files:05d}.parquet"
            with system.open(name, "wb") as stream:
                pq.write_table(
                    table.slice(number * per_file, per_file), stream, compression="zstd",
                    row_group_size=group_rows, write_statistics=write_statistics,
                    write_page_index=True,
                )  # fmt: skip
