"""One shard on disk: vectors and the image table of the same rows."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file, list_names, reading
from bioprobe.cells import mark
from bioprobe.errors import StoreError, UnreadableError
from bioprobe.files import explaining_refusal, hash_file, save_array, sync
from bioprobe.store.manifest import MANIFEST_NAME, ShardRecord

if TYPE_CHECKING:
    import pandas as pd


VECTORS_NAME = "vectors.npy"
IMAGES_NAME = "images.parquet"
# What pandas and pyarrow are known to raise for a damaged file.
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, NotImplementedError)
_REMEDY = "run: bioprobe store verify --repair"


def write_shard(
    shards_dir: Path,
    name: str,
    vectors: npt.NDArray[Any] | Callable[[Path], object],
    frame: pd.DataFrame,
) -> ShardRecord:
    """Write a shard whole, then give it its name.

    A folder of that name is what an interrupted run left before the manifest knew it, and is
    replaced.

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
    temporary, final = shards_dir / f".{name}.tmp", shards_dir / name
    with explaining_refusal(final):
        if not shards_dir.is_dir():
            shards_dir.mkdir(parents=True)
            sync(shards_dir.parent)
        for leftover in (temporary, final):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            record = _write_files(temporary, name, vectors, frame)
            temporary.rename(final)
            sync(shards_dir)
        finally:
            # A full disk gets its space back.
            shutil.rmtree(temporary, ignore_errors=True)
    return record


def _write_files(
    folder: Path,
    name: str,
    vectors: npt.NDArray[Any] | Callable[[Path], object],
    frame: pd.DataFrame,
) -> ShardRecord:
    folder.mkdir()
    vectors_path, images_path = folder / VECTORS_NAME, folder / IMAGES_NAME
    if callable(vectors):
        vectors(vectors_path)
    else:
        save_array(vectors_path, vectors)
    mark(frame).to_parquet(images_path, index=False)
    # The folder last: its entries are on disk before it gets the name that the manifest lists.
    for path in (vectors_path, images_path, folder):
        sync(path)
    return ShardRecord(name, len(frame), hash_file(vectors_path), hash_file(images_path))


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


@contextlib.contextmanager
def reading_shard(path: Path) -> Iterator[None]:
    """Read a file of a shard: it is missing only where the store and other shards are there.

    Parameters
    ----------
    path : Path
        The file, in a folder below ``shards/``.

    Yields
    ------
    None

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
    cause = None
    try:
        with reading_shard(path):
            data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == record.images_sha256:
            return pd.read_parquet(io.BytesIO(data))
        reason = "its SHA-256 is not the one in the manifest"
    except READ_ERRORS as error:
        cause, reason = error, str(error)
    msg = f"{path} cannot be read ({reason}); {_REMEDY}"
    raise StoreError(msg) from cause
