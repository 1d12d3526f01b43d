"""A plain ``.npy`` matrix with a table of the same name beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SourceError
from bioprobe.files import parse_json, read_json, read_table, replacing, write_text
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
from bioprobe.types import Vectors

if TYPE_CHECKING:
    import pandas as pd


_TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


def is_matrix(source: Path) -> bool:
    """Tell whether a file is a ``.npy``."""
    return source.is_file() and source.suffix == ".npy"


def open_npy(source: Path, options: ReadOptions) -> VectorSource:  # noqa: ARG001
    """Open a matrix of one vector a row, and the table beside it where there is one.

    Raises
    ------
    SourceError
        If it is no matrix of numbers, or the table has another number of rows.
    """
    matrix = map_matrix(source)
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


def write_npy(target: Path, rows: OutgoingRows) -> None:
    """Write the matrix, a CSV of the same rows, and a JSON that says what the vectors are."""
    names = name_columns(rows.frame, taken=())
    declaration = dataclasses.replace(rows.declaration, columns=names)
    said = json.dumps({KEY: parse_json(declaration.to_json())}, indent=2)
    # The matrix is written first and takes its name last: it is what can fail.
    with replacing(target) as matrix:
        write_matrix(matrix, rows.iter_vectors(), (len(rows), rows.dim))
        with replacing(target.with_suffix(".csv")) as table:
            rows.frame.to_csv(table, index=False)
        write_text(target.with_suffix(".json"), said)


def map_matrix(path: Path) -> npt.NDArray[Any]:
    """Memory-map a matrix of numbers.

    Raises
    ------
    SourceError
        If the file cannot be read, or holds something else.
    """
    try:
        matrix: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a .npy array: {error}"
        raise SourceError(msg) from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        msg = (
            f"{path} has shape {matrix.shape} and type {matrix.dtype}; expected a matrix of "
            "numbers, one vector a row"
        )
        raise SourceError(msg)
    return matrix


def slice_matrix(matrix: npt.NDArray[Any], table: pd.DataFrame) -> Iterator[VectorBatch]:
    """Cut a matrix and the table of its rows into batches.

    Yields
    ------
    VectorBatch
    """
    for start in range(0, len(matrix), BLOCK_ROWS):
        vectors = np.asarray(matrix[start : start + BLOCK_ROWS], dtype=np.float32)
        lengths = np.full(len(vectors), matrix.shape[1], dtype=np.int64)
        rows = table.iloc[start : start + BLOCK_ROWS].reset_index(drop=True)
        yield VectorBatch(rows, vectors, lengths)


def write_matrix(
    path: Path, blocks: Iterator[Vectors], shape: tuple[int, int]
) -> Iterator[Vectors]:
    """Write as many rows of the blocks as the shape says, and return what is left of them."""
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    start = 0
    while start < len(out):
        vectors = next(blocks)
        fitting = vectors[: len(out) - start]
        out[start : start + len(fitting)] = fitting
        start += len(fitting)
        if len(fitting) < len(vectors):
            blocks = _put_back(vectors[len(fitting) :], blocks)
    out.flush()
    return blocks


def _put_back(first: Vectors, rest: Iterator[Vectors]) -> Iterator[Vectors]:
    yield first
    yield from rest


def _read_declaration(source: Path) -> Declaration | None:
    beside = source.with_suffix(".json")
    if not beside.is_file():
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
    beside = next((file for file in candidates if file.is_file()), None)
    if beside is None:
        return pd.DataFrame(index=range(n_rows))
    table = read_table(beside, text=declaration.text_columns if declaration else IDENTITY_COLUMNS)
    if len(table) != n_rows:
        msg = f"{source} has {n_rows} rows, {beside} has {len(table)}; expected as many"
        raise SourceError(msg)
    return table


NPY = Layout(
    write=write_npy,
    suffix=".npy",
    looks_like="a .npy of one vector a row, with a .csv of the same name beside it",
    recognise=is_matrix,
    open_source=open_npy,
)
