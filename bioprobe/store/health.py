"""Compare a store with what its manifest says it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.errors import StoreError
from bioprobe.files import explaining_refusal, hash_file, sync
from bioprobe.result import Notes, Result
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.manifest import ShardRecord
from bioprobe.store.shard import IMAGES_NAME, VECTORS_NAME, map_vectors, read_images

if TYPE_CHECKING:
    import pandas as pd


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


DAMAGED_NAME = "damaged"


@dataclasses.dataclass(frozen=True)
class Repair:
    """What was taken out of a store.

    Parameters
    ----------
    problems : tuple of Problem
        What was found; empty where the store was whole and nothing was done.
    shards : tuple of str
        Names of the shards that were taken out; they lie in ``damaged/`` of the store.
    lost : tuple of Path
        Files of the current rows that these held, as far as their image tables can be read.
    n_unlisted : int
        Current rows whose file cannot be told because the image table is damaged too.
    """

    problems: tuple[Problem, ...]
    shards: tuple[str, ...]
    lost: tuple[Path, ...]
    n_unlisted: int

    @property
    def n_lost(self) -> int:
        """Number of current rows that were taken out."""
        return len(self.lost) + self.n_unlisted


def repair_store(folder: Path) -> Repair:
    """Take the damaged shards of a store out of its manifest, and lay them aside.

    The manifest is replaced first and at once: whoever opens the store sees it with the damaged
    shards or without. The rows of later shards move up; retired rows follow, and the index is
    built anew because it no longer fits. The next run over the same sources embeds what was lost.

    Parameters
    ----------
    folder : Path
        Folder of the store.

    Raises
    ------
    StoreError
        If there is no store, its manifest is damaged, or the disk refuses.
    StoreLockedError
        If another process is writing to the store.
    """
    store = EmbeddingStore.open(folder)
    with store.lock():
        store = EmbeddingStore.open(folder)
        problems = verify_store(store)
        damaged = {problem.shard for problem in problems} - {""}
        lost, n_unlisted = _list_lost(store, damaged)
        if problems:
            store.manifest.take_out(damaged).write(folder)
        _lay_aside(EmbeddingStore.open(folder))
    return Repair(tuple(problems), tuple(sorted(damaged)), tuple(lost), n_unlisted)


def _list_lost(store: EmbeddingStore, damaged: Collection[str]) -> tuple[list[Path], int]:
    lost: list[Path] = []
    n_unlisted = start = 0
    for record in store.manifest.shards:
        stop = start + record.n_images
        if record.name in damaged:
            rows = store.rows[(store.rows >= start) & (store.rows < stop)] - start
            frame = _read_what_can_be(store, record)
            if frame is None:
                n_unlisted += len(rows)
            else:
                places = frame[["root", "path"]].iloc[rows].astype(str)
                lost += [Path(*place) for place in places.itertuples(index=False, name=None)]
        start = stop
    return lost, n_unlisted


def _read_what_can_be(store: EmbeddingStore, record: ShardRecord) -> pd.DataFrame | None:
    try:
        frame = read_images(store.folder / "shards", record)
    except StoreError:
        return None
    fits = len(frame) == record.n_images and {"root", "path"} <= set(frame.columns)
    return frame if fits else None


def _lay_aside(store: EmbeddingStore) -> None:
    """Move what the manifest no longer counts, also what an interrupted repair left in place."""
    shards_dir, aside = store.folder / "shards", store.folder / DAMAGED_NAME
    present = {record.name for record in store.manifest.present_shards}
    for record in store.manifest.shards:
        folder = shards_dir / record.name
        if record.name in present or not folder.exists():
            continue
        with explaining_refusal(aside):
            aside.mkdir(exist_ok=True)
            folder.rename(_choose_name(aside, record.name))
            sync(shards_dir)
            sync(aside)


def _choose_name(folder: Path, name: str) -> Path:
    # A shard of that name is there already where an older manifest was put back.
    number, chosen = 1, folder / name
    while chosen.exists():
        number += 1
        chosen = folder / f"{name}-{number}"
    return chosen


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Verification(Result):
    """Whether a store is whole.

    Parameters
    ----------
    store : Path
        Its folder.
    n_images : int
        Current rows.
    problems : tuple of Problem
        What is not as the manifest says, after the repair where there was one.
    repair : Repair or None
        What was taken out, where that was asked for.
    notes : tuple of Note
        What is to be said of it.
    """

    store: Path
    n_images: int
    problems: tuple[Problem, ...]
    repair: Repair | None = None
    notes: Notes = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_frame(self) -> pd.DataFrame:
        """Return one row a problem."""
        import pandas as pd

        rows = [(one.where, one.what) for one in self.problems]
        return pd.DataFrame(rows, columns=["where", "what"])
