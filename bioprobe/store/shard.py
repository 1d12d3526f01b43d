"""One shard on disk: vectors and the image table of the same rows."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file, list_names, reading
from bioprobe.cells import is_marked, mark
from bioprobe.errors import StoreError, UnreadableError
from bioprobe.files import explaining_refusal, hash_file, parse_json, save_array, sync
from bioprobe.store.manifest import MANIFEST_NAME, ShardRecord
from bioprobe.types import Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq


VECTORS_NAME = "vectors.npy"
IMAGES_NAME = "images.parquet"
#: How vectors, and what is kept beside them, may be stored.
DTYPES = ("float32", "float16")
#: Rows of a row group: what is read of a table where a few rows are asked.
GROUP_ROWS = 16_384
# What pandas and pyarrow are known to raise for a damaged file.
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, NotImplementedError)
_REMEDY = "run: bioprobe store verify --repair"


def write_shard(
    shards_dir: Path,
    name: str,
    vectors: npt.NDArray[Any] | Callable[[Path], object],
    frame: pd.DataFrame,
) -> ShardRecord:
    """Write a shard whole, then give it its name, as :func:`writing_folder` does.

    Parameters
    ----------
    shards_dir : Path
        Folder of all shards.
    name : str
        Name of the new one.
    vectors : ndarray of float32 or float16, shape (n_images, dim), unit rows; or callable
        That writes them to a file.
    frame : DataFrame
        Image table of the same rows.

    Raises
    ------
    StoreError
        If the disk refuses; what was written of the shard is gone again.
    """
    if not shards_dir.is_dir():
        with explaining_refusal(shards_dir / name):
            shards_dir.mkdir(parents=True)
            sync(shards_dir.parent)
    with writing_folder(shards_dir / name) as folder:
        vectors_path, images_path = folder / VECTORS_NAME, folder / IMAGES_NAME
        if callable(vectors):
            vectors(vectors_path)
        else:
            save_array(vectors_path, vectors)
        mark(frame).to_parquet(images_path, index=False, row_group_size=GROUP_ROWS)
        for path in (vectors_path, images_path):
            sync(path)
        return ShardRecord(name, len(frame), hash_file(vectors_path), hash_file(images_path))


@contextlib.contextmanager
def writing_folder(final: Path) -> Iterator[Path]:
    """Have a folder written whole, then give it its name.

    One that has it is what an interrupted run left before anything listed it, and is replaced.

    Yields
    ------
    Path
        The folder, empty; where the block fails, what it wrote is gone again.
    """
    temporary = final.with_name(f".{final.name}.tmp")
    with explaining_refusal(final):
        for leftover in (temporary, final):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            temporary.mkdir()
            yield temporary
            # Its entries are on disk before it gets the name that is listed.
            sync(temporary)
            temporary.rename(final)
            sync(final.parent)
        finally:
            # A full disk gets its space back.
            shutil.rmtree(temporary, ignore_errors=True)


def map_vectors(folder: Path, record: ShardRecord, dim: int) -> npt.NDArray[Any]:
    """Memory-map the vectors of a shard.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or of another shape than the manifest says.
    UnreadableError
        If it cannot be read just now, or the store has gone.
    """
    path = folder / record.name / VECTORS_NAME
    try:
        with reading_shard(path):
            vectors: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        msg = f"{path} cannot be read ({error}); {_REMEDY}"
        raise StoreError(msg) from error
    if vectors.shape != (record.n_images, dim):
        msg = (
            f"{path} has shape {vectors.shape}, the manifest says {(record.n_images, dim)}; "
            f"{_REMEDY}"
        )
        raise StoreError(msg)
    return vectors


# Half precision has 13 bits fewer after the point, and an exponent that begins 112 lower; a shifted
# sign leaves ones in between.
_FEWER_BITS, _LOWER, _IN_BETWEEN = 13, np.float32(2.0**112), np.int32(~0x70000000)
# So many rows stay in the processor's cache.
_WIDENED_AT_ONCE = 512


def widen(vectors: npt.NDArray[Any]) -> Vectors:
    """Return stored vectors in single precision: what numpy returns, in half of its time.

    Parameters
    ----------
    vectors : ndarray of float32 or float16, shape (n, dim)
        Finite.

    Returns
    -------
    ndarray of float32, shape (n, dim)
        Not a copy where it is that already.
    """
    if vectors.dtype != np.float16:
        return np.ascontiguousarray(vectors, dtype=np.float32)
    wide = np.empty(vectors.shape, dtype=np.float32)
    narrow, bits = np.ascontiguousarray(vectors).view(np.int16), wide.view(np.int32)
    for start in range(0, len(wide), _WIDENED_AT_ONCE):
        part = slice(start, start + _WIDENED_AT_ONCE)
        np.left_shift(narrow[part], _FEWER_BITS, out=bits[part], dtype=np.int32)
        bits[part] &= _IN_BETWEEN
        wide[part] *= _LOWER
    return wide


# Two halves are a word: the second, whose sign is that of the word, is moved to where a single has
# its exponent, and all but its own bits are cleared. The first is moved to its place before.
_HALF_BITS, _SHIFT, _OWN_BITS = 16, 3, np.int32(~0x70001FFF)
_MULTIPLIED_AT_ONCE = 256


def multiply_few(vectors: npt.NDArray[Any], queries: Vectors) -> Vectors:
    """Multiply stored vectors with a few queries, in half of the time that :func:`widen` takes.

    Of half precision two neighbouring numbers are one word, from which each is taken as a single
    that is 2 ** 112 times too small; the queries are as many times larger.

    Parameters
    ----------
    vectors : ndarray of float32 or float16, shape (n, dim)
        Finite.
    queries : ndarray of float32, shape (n_queries, dim)

    Returns
    -------
    ndarray of float32, shape (n, n_queries)
    """
    products = np.empty((len(vectors), len(queries)), dtype=np.float32)
    if vectors.dtype != np.float16 or vectors.shape[1] % 2:
        np.matmul(widen(vectors), queries.T, out=products)
        return products
    pairs = np.ascontiguousarray(vectors).view(np.int32)
    first, second = (np.ascontiguousarray((queries[:, at::2] * _LOWER).T) for at in (0, 1))
    block = np.empty((_MULTIPLIED_AT_ONCE, pairs.shape[1]), dtype=np.int32)
    for start in range(0, len(pairs), _MULTIPLIED_AT_ONCE):
        part = pairs[start : start + _MULTIPLIED_AT_ONCE]
        bits, out = block[: len(part)], products[start : start + len(part)]
        singles = bits.view(np.float32)
        np.right_shift(part, _SHIFT, out=bits)
        bits &= _OWN_BITS
        np.matmul(singles, second, out=out)
        np.left_shift(part, _HALF_BITS, out=bits)
        bits >>= _SHIFT
        bits &= _OWN_BITS
        out += singles @ first
    return products


@contextlib.contextmanager
def reading_shard(path: Path) -> Iterator[None]:
    """Read a file of a shard: it is missing only where the store and other shards are there.

    Parameters
    ----------
    path : Path
        The file, in a folder below ``shards/``.

    Raises
    ------
    FileNotFoundError
        If it is missing.
    UnreadableError
        If it cannot be read just now, the store has gone, or all of its shards are away.
    """
    try:
        with reading(path):
            yield
    except FileNotFoundError:
        shards_dir = path.parents[1]
        folder = shards_dir.parent
        if not is_file(folder / MANIFEST_NAME):
            msg = f"there is no store at {folder} any more; open it where it lies now"
            raise UnreadableError(msg) from None
        if not list_names(shards_dir):
            msg = (
                f"{shards_dir} holds none of the shards of the store; mount the disk that they are "
                "on, or restore them from a copy"
            )
            raise UnreadableError(msg) from None
        raise


def read_images(folder: Path, record: ShardRecord) -> pd.DataFrame:
    """Read the image table of a shard.

    Its bytes are compared with the manifest first: a damaged table can be read in part, or as
    one of other names.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    UnreadableError
        If it cannot be read just now, or the store has gone.
    """
    import pandas as pd

    path = folder / record.name / IMAGES_NAME
    with _explaining(path):
        with reading_shard(path):
            data = path.read_bytes()
        _check_bytes(hashlib.sha256(data).hexdigest(), record)
        return pd.read_parquet(io.BytesIO(data))


class ShardImages:
    """The image table of a shard, of which columns and row groups are read as they are asked for.

    Its bytes are compared with the manifest before anything of it is read.
    """

    def __init__(self, folder: Path, record: ShardRecord) -> None:
        self.record = record
        self._path = folder / record.name / IMAGES_NAME

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        import pyarrow.parquet as pq

        with _explaining(self._path):
            with reading_shard(self._path):
                _check_bytes(hash_file(self._path), self.record)
            metadata = pq.read_metadata(self._path)
            if metadata.num_rows != self.record.n_images:
                msg = f"{metadata.num_rows} rows, the manifest says {self.record.n_images}"
                raise ValueError(msg)
        return metadata

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of the table, and what the frame that was written said of itself.

        Raises
        ------
        StoreError
            If the file is missing or damaged.
        UnreadableError
            If it cannot be read just now, or the store has gone.
        """
        return self._metadata.schema.to_arrow_schema()

    @property
    def is_marked(self) -> bool:
        """Whether its cells keep what was written; see :func:`bioprobe.cells.mark`."""
        said = parse_json((self.schema.metadata or {}).get(b"PANDAS_ATTRS", b"{}"), dict)
        return is_marked(said)

    @cached_property
    def group_starts(self) -> Rows:
        """First row of each row group, and the number of rows after them."""
        groups = range(self._metadata.num_row_groups)
        sizes = [self._metadata.row_group(one).num_rows for one in groups]
        return np.cumsum([0, *sizes], dtype=np.int64)

    def find_ends(self, name: str) -> tuple[str, str] | None:
        """Return the first and last text of a column in their order, as the footer has them.

        None where it does not say so, or there are holes.
        """
        place = self.schema.get_field_index(name)
        ends: list[str] = []
        for group in range(self._metadata.num_row_groups):
            said = self._metadata.row_group(group).column(place).statistics
            if said is None or not said.has_min_max or said.null_count:
                return None
            ends += [said.min, said.max]
        is_text = bool(ends) and all(isinstance(one, str) for one in ends)
        return (min(ends), max(ends)) if is_text else None

    def count_holes(self, name: str) -> int | None:
        """Return how many cells of a column are holes; None where the file does not say."""
        place, n_holes = self.schema.get_field_index(name), 0
        for group in range(self._metadata.num_row_groups):
            said = self._metadata.row_group(group).column(place).statistics
            if said is None or not said.has_null_count:
                return None
            n_holes += said.null_count
        return n_holes

    def read(
        self,
        names: Sequence[str],
        groups: Sequence[int] | None = None,
        *,
        as_codes: bool = False,
    ) -> pa.Table:
        """Read some columns.

        Parameters
        ----------
        names : sequence of str
        groups : sequence of int, optional
            Row groups; by default all.
        as_codes : bool
            Whether text is read as its distinct values and their places.

        Raises
        ------
        StoreError
            If the file is missing or damaged.
        UnreadableError
            If it cannot be read just now, or the store has gone.
        """
        import pyarrow.parquet as pq

        metadata, path = self._metadata, self._path
        coded = list(names) if as_codes else None
        with (
            _explaining(path),
            reading_shard(path),
            pq.ParquetFile(path, metadata=metadata, read_dictionary=coded) as file,
        ):
            if groups is None:
                return file.read(list(names), use_threads=False)
            return file.read_row_groups(list(groups), list(names), use_threads=False)


@contextlib.contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except READ_ERRORS as error:
        msg = f"{path} cannot be read ({error}); {_REMEDY}"
        raise StoreError(msg) from error


def check_vectors(folder: Path, record: ShardRecord, undone: str, remedy: str) -> None:
    """Refuse to copy the vectors of a shard that are not those of the manifest.

    Parameters
    ----------
    folder : Path
        Of the shards.
    record : ShardRecord
    undone : str
        What nothing was done of, such as ``merged``.
    remedy : str
        Command that mends it.

    Raises
    ------
    StoreError
        If they are damaged.
    """
    path = folder / record.name / VECTORS_NAME
    if hash_file(path) != record.vectors_sha256:
        msg = (
            f"{path} is damaged: its SHA-256 is not the one in the manifest; nothing was {undone}. "
            f"First run: {remedy}"
        )
        raise StoreError(msg)


def _check_bytes(sha256: str, record: ShardRecord) -> None:
    if sha256 != record.images_sha256:
        msg = "its SHA-256 is not the one in the manifest"
        raise ValueError(msg)
