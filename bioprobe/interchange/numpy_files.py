"""A plain ``.npy`` matrix with a table of the same name beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file
from bioprobe.errors import SourceError
from bioprobe.files import (
    find_part,
    map_matrix,
    parse_json,
    read_json,
    write_array_header,
    write_set,
)
from bioprobe.interchange.image_rows import IDENTITY_COLUMNS, name_columns
from bioprobe.interchange.vector_source import (
    BLOCK_ROWS,
    KEY,
    Declaration,
    Layout,
    OutgoingRows,
    ReadOptions,
    VectorBatch,
    VectorSource,
)
from bioprobe.tables import read_table
from bioprobe.types import Vectors

if TYPE_CHECKING:
    import pandas as pd


# What an export has beside its JSON.
_SUFFIXES = (".npy", ".csv")
_TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


def _is_matrix(source: Path) -> bool:
    """Tell whether a file is a ``.npy``."""
    return is_file(source) and source.suffix == ".npy"


def _open_npy(source: Path, options: ReadOptions) -> VectorSource:  # noqa: ARG001
    """Open a matrix of one vector a row, and the table beside it where there is one."""
    matrix = map_matrix(find_part(source.with_suffix(".json"), source))
    declaration = _read_declaration(source)
    table = _read_table_beside(source, len(matrix), declaration)
    return VectorSource(
        source,
        len(matrix),
        matrix.shape[1],
        declaration,
        (),
        lambda: slice_matrix(matrix, table),
    )


def _write_npy(target: Path, rows: OutgoingRows) -> None:
    """Write the matrix, a CSV of the same rows, and a JSON that says what the vectors are."""
    names = name_columns(rows.frame, taken=())
    declaration = dataclasses.replace(rows.declaration, columns=names)

    def fill(file: Path) -> None:
        write_matrix(file, rows.iter_vectors(), (len(rows), rows.dim))

    def describe(digests: Sequence[str]) -> str:
        # By these, files of one export are told from those of the next.
        said = {
            KEY: parse_json(declaration.to_json()),
            "sha256": dict(zip(_SUFFIXES, digests, strict=True)),
        }
        return json.dumps(said, indent=2)

    parts = [
        (target, fill),
        (target.with_suffix(".csv"), lambda file: rows.frame.to_csv(file, index=False)),
    ]
    write_set(target.with_suffix(".json"), parts, describe)


def slice_matrix(matrix: npt.NDArray[Any], table: pd.DataFrame) -> Iterator[VectorBatch]:
    """Cut a matrix and the table of its rows into batches."""
    for start in range(0, len(matrix), BLOCK_ROWS):
        vectors = np.asarray(matrix[start : start + BLOCK_ROWS], dtype=np.float32)
        lengths = np.full(len(vectors), matrix.shape[1], dtype=np.int64)
        rows = table.iloc[start : start + BLOCK_ROWS].reset_index(drop=True)
        yield VectorBatch(rows, vectors, lengths)


def write_matrix(
    path: Path, blocks: Iterator[Vectors], shape: tuple[int, int]
) -> Iterator[Vectors]:
    """Write as many rows of the blocks as the shape says, and return what is left of them."""
    # Not through a memory map: where the disk is full, a write into a hole ends the process.
    n_left = shape[0]
    with path.open("wb") as stream:
        write_array_header(stream, shape, "<f4")
        while n_left:
            vectors = next(blocks)
            fitting = np.ascontiguousarray(vectors[:n_left], dtype="<f4")
            stream.write(fitting.data)
            n_left -= len(fitting)
            if len(fitting) < len(vectors):
                blocks = _put_back(vectors[len(fitting) :], blocks)
    return blocks


def _put_back(first: Vectors, rest: Iterator[Vectors]) -> Iterator[Vectors]:
    yield first
    yield from rest


def _read_declaration(source: Path) -> Declaration | None:
    beside = source.with_suffix(".json")
    if not is_file(beside):
        return None
    try:
        said = read_json(beside)
    except ValueError as error:
        msg = f"{beside} cannot be read as JSON: {error}"
        raise SourceError(msg) from error
    if not isinstance(said, dict) or KEY not in said:
        return None
    return Declaration.from_json(json.dumps(said[KEY]), beside)


def _read_table_beside(source: Path, n_rows: int, declaration: Declaration | None) -> pd.DataFrame:
    import pandas as pd

    candidates = (source.with_suffix(suffix) for suffix in _TABLE_SUFFIXES)
    beside = next((file for file in candidates if is_file(file)), None)
    if beside is None and declaration is not None:
        msg = (
            f"{source.with_suffix('.csv')} is missing, which {source} was exported with; bring the "
            ".npy, the .csv and the .json of one export"
        )
        raise SourceError(msg)
    if beside is None:
        return pd.DataFrame(index=range(n_rows))
    part = find_part(source.with_suffix(".json"), beside)
    text = declaration.text_columns if declaration else IDENTITY_COLUMNS
    table = read_table(part, text=text, ending=beside.suffix)
    if len(table) != n_rows:
        msg = f"{source} has {n_rows} rows, {beside} has {len(table)}; expected as many"
        raise SourceError(msg)
    return table


NPY = Layout(
    write=_write_npy,
    suffix=".npy",
    looks_like="a .npy of one vector a row, with a .csv of the same name beside it",
    recognise=_is_matrix,
    open_source=_open_npy,
)
