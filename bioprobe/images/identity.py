"""Which image a row is: 16 bytes of each, and one digest of many, where texts are too large."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.images.regions import REGION, name_content
from bioprobe.types import Places

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: What tells a row from all others; what was said of it holds wherever it lies in the table.
IDENTITY = ("sha256", "root", "path", REGION)
_DIGEST_BYTES = 16
_LINES_AT_ONCE, _MERGED_AT_ONCE = 8192, 512


def digest_rows(frames: Iterable[pd.DataFrame]) -> pa.FixedSizeBinaryArray:
    """Return 16 bytes of BLAKE2b for each row of tables: rows that differ have other ones.

    Of a billion rows that differ, the chance that any two have the same is under 2·10⁻²¹.

    Parameters
    ----------
    frames : iterable of DataFrame
        One below the other; all their columns count, and are of text. A hole is as ``""``.

    Returns
    -------
    FixedSizeBinaryArray, shape (n_rows,)
    """
    import pyarrow as pa

    parts = [_digest(frame) for frame in frames]
    data, n_rows = b"".join(parts), sum(map(len, parts)) // _DIGEST_BYTES
    kind = pa.binary(_DIGEST_BYTES)
    return pa.FixedSizeBinaryArray.from_buffers(kind, n_rows, [None, pa.py_buffer(data)])


def _digest(frame: pd.DataFrame) -> bytes:
    # No path holds a NUL.
    texts = (frame[name].fillna("").astype(str).tolist() for name in frame.columns)
    rows = ("\0".join(row).encode() for row in zip(*texts, strict=True))
    return b"".join(hashlib.blake2b(row, digest_size=_DIGEST_BYTES).digest() for row in rows)


def find_rows(asked: pa.FixedSizeBinaryArray, known: pa.FixedSizeBinaryArray) -> Places:
    """Return where each of some rows first is among others, -1 where it is not.

    Parameters
    ----------
    asked, known : FixedSizeBinaryArray, shapes (n_asked,) and (n_known,)
        From :func:`digest_rows`.

    Returns
    -------
    ndarray of int32, shape (n_asked,)
    """
    import pyarrow.compute as pc

    return np.asarray(pc.index_in(asked, value_set=known).fill_null(-1).to_numpy())


def number_rows(digests: pa.FixedSizeBinaryArray) -> Places:
    """Return a number for each row, from 0 in their order, the same for rows that do not differ.

    Parameters
    ----------
    digests : FixedSizeBinaryArray, shape (n_rows,)
        From :func:`digest_rows`.

    Returns
    -------
    ndarray of int32, shape (n_rows,)
    """
    import pyarrow.compute as pc

    return np.asarray(pc.dictionary_encode(digests).indices.to_numpy())


def name_contents(frame: pd.DataFrame) -> pd.Series[str]:
    """Return what each row is of by its ``sha256`` and region, as :func:`name_content` says."""
    import pandas as pd

    hashes = frame["sha256"].astype("str")
    if (frame[REGION] == "").all():
        return hashes
    named = map(name_content, hashes.tolist(), frame[REGION].tolist())
    return pd.Series(list(named), index=frame.index, dtype="str")


def join_texts(columns: Iterable[pd.Series[str]]) -> pa.LargeStringArray:
    """Return columns of text one below the other, as Arrow has them."""
    import pyarrow as pa

    kind = pa.large_string()
    chunks: list[pa.Array] = []
    for column in columns:
        read = pa.array(column, type=kind, from_pandas=True)
        chunks += read.chunks if isinstance(read, pa.ChunkedArray) else [read]
    return pa.concat_arrays(chunks or [pa.array([], type=kind)])


def hash_sorted(columns: Iterable[pd.Series[str]]) -> str:
    """Return the SHA-256 of texts in their order, a line each, in UTF-8.

    Each column is sorted as it comes and held as Arrow has it, and all are merged.
    """
    digest, between = hashlib.sha256(), b""
    parts = [_sort(join_texts([column])) for column in columns]
    lines = heapq.merge(*map(_iter_lines, parts))
    while some := list(itertools.islice(lines, _LINES_AT_ONCE)):
        digest.update(between + b"\n".join(some))
        between = b"\n"
    del lines, parts
    release_unused()
    return digest.hexdigest()


def release_unused() -> None:
    """Give back what Arrow holds of texts of many rows that are gone: only Arrow could use it."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _sort(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    import pyarrow.compute as pc

    return texts.take(pc.sort_indices(texts))


def _iter_lines(texts: pa.LargeStringArray) -> Iterator[bytes]:
    # The bytes of UTF-8 are in the order of what they write.
    binary = texts.view("large_binary")
    for start in range(0, len(binary), _MERGED_AT_ONCE):
        yield from binary[start : start + _MERGED_AT_ONCE].to_pylist()
