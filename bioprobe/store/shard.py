"""One shard on disk: vectors and the image table of the same rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import StoreError
from bioprobe.files import hash_file, sync
from bioprobe.store.manifest import ShardRecord

if TYPE_CHECKING:
    import pandas as pd

VECTORS_NAME = "vectors.npy"
IMAGES_NAME = "images.parquet"


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
    """
    shards_dir.mkdir(parents=True, exist_ok=True)
    temporary, final = shards_dir / f".{name}.tmp", shards_dir / name
    for leftover in (temporary, final):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    np.save(temporary / VECTORS_NAME, vectors)
    frame.to_parquet(temporary / IMAGES_NAME, index=False)
    for file in temporary.iterdir():
        sync(file)
    record = ShardRecord(
        name,
        len(frame),
        hash_file(temporary / VECTORS_NAME),
        hash_file(temporary / IMAGES_NAME),
    )
    temporary.rename(final)
    sync(shards_dir)
    return record


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
        msg = f"{path} cannot be read ({error}); run: bioprobe store verify"
        raise StoreError(msg) from error
    if vectors.shape != (record.n_images, dim):
        msg = (
            f"{path} has shape {vectors.shape}, the manifest says {(record.n_images, dim)}; "
            "run: bioprobe store verify"
        )
        raise StoreError(msg)
    return vectors


def read_images(folder: Path, record: ShardRecord) -> pd.DataFrame:
    """Read the image table of a shard.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    import pandas as pd

    path = folder / record.name / IMAGES_NAME
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read ({error}); run: bioprobe store verify"
        raise StoreError(msg) from error
