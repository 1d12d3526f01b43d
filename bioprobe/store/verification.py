"""Compare a store with what its manifest says it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from bioprobe.errors import StoreError
from bioprobe.files import hash_file
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.manifest import ShardRecord
from bioprobe.store.shard import IMAGES_NAME, VECTORS_NAME, map_vectors, read_images

# What float16 leaves of a unit norm, with room for the sum over 4,096 dimensions.
_NORM_TOLERANCE = 2e-3


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something in a store that is not as the manifest says.

    Parameters
    ----------
    where : str
        Shard, or file, relative to the store.
    what : str
        What was got and what was expected.
    """

    where: str
    what: str

    @property
    def shard(self) -> str:
        """Name of the shard that it is in, ``""`` where it is in none."""
        parts = self.where.split("/")
        return parts[1] if parts[0] == "shards" else ""


def verify_store(store: EmbeddingStore) -> list[Problem]:
    """Read every byte of a store and compare it with the manifest.

    Checksums, shapes, row counts and unit norms are checked.

    Returns
    -------
    list of Problem
        Empty when the store is whole.
    """
    problems: list[Problem] = []
    for record in store.manifest.present_shards:
        problems += _verify_shard(store, record)
    outside = [row for row in store.manifest.retired if not 0 <= row < len(store)]
    if outside:
        problems.append(Problem("manifest.json", f"retired rows {outside} do not exist"))
    return problems


def _verify_shard(store: EmbeddingStore, record: ShardRecord) -> list[Problem]:
    shards_dir = store.folder / "shards"
    problems = _verify_checksums(shards_dir, record)
    return problems or _verify_content(shards_dir, record, store.manifest.dim)


def _verify_checksums(shards_dir: Path, record: ShardRecord) -> list[Problem]:
    problems = []
    expected = {VECTORS_NAME: record.vectors_sha256, IMAGES_NAME: record.images_sha256}
    for name, checksum in expected.items():
        where = f"shards/{record.name}/{name}"
        path = shards_dir / record.name / name
        try:
            got = hash_file(path)
        except FileNotFoundError:
            problems.append(Problem(where, "the file is missing"))
            continue
        except OSError as error:
            problems.append(Problem(where, f"the file cannot be read ({error.strerror})"))
            continue
        if got != checksum:
            problems.append(
                Problem(where, f"its SHA-256 is {got[:12]}…, the manifest says {checksum[:12]}…")
            )
    return problems


def _verify_content(shards_dir: Path, record: ShardRecord, dim: int) -> list[Problem]:
    where = f"shards/{record.name}"
    try:
        vectors = map_vectors(shards_dir, record, dim)
        frame = read_images(shards_dir, record)
    except StoreError as error:
        return [Problem(where, str(error))]
    if len(frame) != record.n_images:
        return [Problem(where, f"{len(frame)} images for {record.n_images} vectors")]
    norms = np.linalg.norm(np.asarray(vectors, dtype=np.float32), axis=1)
    off = np.flatnonzero(~(np.abs(norms - 1) <= _NORM_TOLERANCE))
    if off.size:
        return [Problem(where, f"{off.size} vectors are not unit, first in row {off[0]}")]
    return []
