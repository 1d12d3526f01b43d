"""Vectors as lines of JSON, after one that says what they are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bioprobe.interchange.vector_source import (
    Declaration,
    Layout,
    OutgoingRows,
    ReadOptions,
    VectorBatch,
    VectorSource,
)


def write_lines(target: Path, rows: OutgoingRows) -> None:
    """Write the rows; the file takes its name when it is whole."""
    columns = {str(name): str(name) for name in rows.frame.columns}
    said = dataclasses.replace(rows.declaration, columns=columns).to_json()
    vectors = (vector.tolist() for block in rows.iter_vectors() for vector in block)
    begun = target.with_name(f"{target.name}.part")
    with begun.open("w", encoding="utf-8") as file:
        for line in (said, *zip(rows.frame.to_dict("records"), vectors, strict=True)):
            file.write(json.dumps(line) + "\n")
    begun.replace(target)


def open_lines(source: Path, _options: ReadOptions) -> VectorSource:
    """Open a file that :func:`write_lines` wrote."""
    import pandas as pd

    with source.open(encoding="utf-8") as file:
        said, *pairs = map(json.loads, file)
    table = pd.DataFrame([record for record, _ in pairs])
    vectors = np.array([vector for _, vector in pairs], dtype=np.float32)
    declaration = Declaration.from_json(said, source)

    def read() -> Iterator[VectorBatch]:
        yield VectorBatch(table, vectors, np.full(len(vectors), vectors.shape[1]))

    return VectorSource(source, len(vectors), vectors.shape[1], declaration, (), read)


JSON_LINES = Layout(
    write=write_lines,
    suffix=".jsonl",
    looks_like="lines of JSON, named .jsonl",
    recognise=lambda source: source.suffix == ".jsonl",
    open_source=open_lines,
)
