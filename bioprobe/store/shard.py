"""One shard on disk: vectors and the image table of the same rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.cells import mark
from bioprobe.errors import StoreError
from bioprobe.files import explaining_refusal, hash_file, sync
from bioprobe.store.manifest import ShardRecord

if TYPE_CHECKING:
    import pandas as pd


VECTORS_NAME = "vectors.npy"
IMAGES_NAME = "images.parquet"
# What pandas and pyarrow are known to raise for a damaged file.
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, NotImplementedError, MemoryError)


def write_shard(
    shards_dir: Path, name: str, vectors: npt.NDArray[Any], frame: pd.DataFrame
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
    vectors : ndarray of float32 or float16, shape (n_images, dim), unit rows
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
    folder: Path, name: str, vectors: npt.NDArray[Any], frame: pd.DataFrame
) -> ShardRecord:
    folder.mkdir()
    vectors_path, images_path = folder / VECTORS_NAME, folder / IMAGES_NAME
    _save(vectors_path, vectors)
    mark(frame).to_parquet(images_path, index=False)
    # The folder last: its entries are on disk before it gets the name that the manifest lists.
    for path in (vectors_path, images_path, folder):
        sync(path)
    return ShardRecord(name, len(frame), hash_file(vectors_path), hash_file(images_path))


def _save(path: Path, vectors: npt.NDArray[Any]) -> None:
    # numpy.save does not say why it wrote less than it should have: a full disk has no errno.
    layout = np.lib.format
    whole = np.ascontiguousarray(vectors)
    with path.open("wb") as stream:
        layout.write_array_header_1_0(stream, layout.header_data_from_array_1_0(whole))
        stream.write(whole.data)


def map_vectors(folder: Path, record: ShardRecord, dim: int) -> npt.NDArray[Any]:
    """Memory-map the vectors of a shard.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or of another shape than the manifest says.
    """
    path = folder / record.name / VECTORS_NAME
    try:
        vectors: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        msg = f"{path} cannot be read ({error}); run: bioprobe store verify --repair"
        raise StoreError(msg) from error
    if vectors.shape != (record.n_images, dim):
        msg = (
            f"{path} has shape {vectors.shape}, the manifest says {(record.n_images, dim)}; "
            "run: bioprobe store verify --repair"
        )
        raise StoreError(msg)
    return vectors


def read_images(folder: Path, record: ShardRecord) -> pd.DataFrame:
    """Read the image table of a shard.

    Its bytes are compared with the manifest first: a damaged table can be read in part, or as
    one of other names.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    import pandas as pd

    path = folder / record.name / IMAGES_NAME
    cause = None
    try:
        if hash_file(path) == record.images_sha256:
            return pd.read_parquet(path)
        reason = "its SHA-256 is not the one in the manifest"
    except READ_ERRORS as error:
        cause, reason = error, str(error)
    msg = f"{path} cannot be read ({reason}); run: bioprobe store verify --repair"
    raise StoreError(msg) from cause
