"""Arrow tables whose rows hold a vector: lists of numbers to a matrix and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.cells import from_arrow, settle
from bioprobe.interchange.vector_source import VectorBatch
from bioprobe.types import Vectors

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def find_vector_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that hold lists of numbers, in the order of the table."""
    import pyarrow.types as kinds

    return [
        field.name
        for field in schema
        if _is_list(field.type)
        and (kinds.is_floating(field.type.value_type) or kinds.is_integer(field.type.value_type))
    ]


def find_plain_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that an image table can hold: neither nested nor binary."""
    import pyarrow.types as kinds

    return [
        field.name
        for field in schema
        if not kinds.is_nested(field.type)
        and not kinds.is_binary(field.type)
        and not kinds.is_large_binary(field.type)
        and not kinds.is_fixed_size_binary(field.type)
    ]


def find_dim(column: pa.ChunkedArray) -> int:
    """Return the length that most vectors have, 0 where there is none."""
    lengths = _measure_lengths(column)
    present = lengths[lengths > 0]
    return int(np.bincount(present).argmax()) if present.size else 0


def _measure_lengths(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the length of each vector, -1 where there is none."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).fill_null(-1)
    return np.asarray(lengths.to_numpy(), dtype=np.int64)


def _to_matrix(column: pa.ChunkedArray, dim: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """Turn a column of lists into a matrix without a Python object a number.

    Returns
    -------
    vectors : ndarray of float32, shape (n, dim)
        Not numbers in the rows that have no vector of that length.
    lengths : ndarray of int64, shape (n,)
        Length of each list, -1 where there is none.
    """
    lengths = _measure_lengths(column)
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    values = np.concatenate(chunks) if chunks else np.zeros(0)
    vectors = np.full((len(lengths), dim), np.nan, dtype=np.float32)
    fits = np.flatnonzero(lengths == dim)
    starts = np.cumsum(np.maximum(lengths, 0)) - np.maximum(lengths, 0)
    if fits.size == len(lengths):
        vectors[:] = values.reshape(len(lengths), dim)
    else:
        vectors[fits] = values[starts[fits, np.newaxis] + np.arange(dim)]
    return vectors, lengths


def to_batch(table: pa.Table, column: str, plain: list[str], dim: int) -> VectorBatch:
    """Split a table into its vectors and its other columns."""
    vectors, lengths = _to_matrix(table[column], dim)
    return VectorBatch(from_arrow(table.select(plain)), vectors, lengths)


def to_lists(vectors: Vectors, *, fixed: bool = False) -> pa.Array:
    """Turn a matrix into a column of lists of float32.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim)
    fixed : bool
        Whether the type of the column says the length.
    """
    import pyarrow as pa

    n, dim = vectors.shape
    values = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    if fixed:
        return pa.FixedSizeListArray.from_arrays(values, dim)
    offsets = np.arange(0, (n + 1) * dim, dim, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def to_table(frame: pd.DataFrame) -> pa.Table:
    """Turn a frame into an Arrow table; values of several types in one column become text."""
    import pyarrow as pa

    columns = {n: pa.array(settle(frame[n]), from_pandas=True) for n in map(str, frame.columns)}
    return pa.table(columns)


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))
