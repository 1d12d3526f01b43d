"""Compare a store with what its manifest says it is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.access import list_names
from bioprobe.errors import StoreError, UnreadableError
from bioprobe.files import explaining_refusal, hash_file, lay_aside, sync
from bioprobe.result import Notes, Result
from bioprobe.sources.listing import join
from bioprobe.store.annotations import FOLDER_NAME, LOG_NAME, repair_log, verify_log
from bioprobe.store.columns import repair_columns, verify_columns
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.kept import repair_kept, restore_kept, verify_kept
from bioprobe.store.manifest import ShardRecord, TakenOut
from bioprobe.store.maps import repair_maps, verify_maps
from bioprobe.store.shard import (
    IMAGES_NAME,
    VECTORS_NAME,
    map_vectors,
    read_images,
    reading_shard,
)

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
    is_damage : bool
        Whether it was read and differs, or is missing; False where it cannot be read just now,
        which says nothing of what it is.
    """

    where: str
    what: str
    is_damage: bool = True

    @property
    def shard(self) -> str:
        """Name of the shard that it is in, ``""`` where it is in none."""
        parts = self.where.split("/")
        return parts[1] if parts[0] == "shards" else ""


def verify_store(store: EmbeddingStore) -> list[Problem]:
    """Read every byte of a store and compare it with the manifest.

    Checksums, shapes, row counts and unit norms are checked, of what is kept beside the vectors
    of computed columns and of maps too, and each record of the log of annotations.

    Returns
    -------
    list of Problem
        Empty when the store is whole.
    """
    problems: list[Problem] = []
    for record in store.manifest.present_shards:
        problems += _verify_shard(store.folder / "shards", record, store.manifest.dim)
    problems += [Problem(one.where, one.what, one.is_damage) for one in verify_kept(store.folder)]
    problems += _verify_annotations(store.folder)
    problems += [Problem(*one) for one in verify_maps(store.folder)]
    problems += [Problem(*one) for one in verify_columns(store.folder)]
    outside = [row for row in store.manifest.retired if not 0 <= row < len(store)]
    if outside:
        problems.append(Problem("manifest.json", f"retired rows {outside} do not exist"))
    return problems


def _verify_annotations(folder: Path) -> list[Problem]:
    where = f"{FOLDER_NAME}/{LOG_NAME}"
    try:
        return [Problem(f"{where} line {one.line}", one.what) for one in verify_log(folder)]
    except UnreadableError as error:
        return [Problem(where, str(error), is_damage=False)]


def find_repairable(problems: Collection[Problem]) -> set[str]:
    """Return the names of the shards that are damaged, and ``""`` where the manifest itself is.

    A shard of which one file cannot be read just now is not among them.
    """
    damaged = {problem.shard for problem in problems if problem.is_damage}
    return damaged - {problem.shard for problem in problems if not problem.is_damage}


def _verify_shard(folder: Path, record: ShardRecord, dim: int) -> list[Problem]:
    problems = _verify_checksums(folder, record)
    return problems or _verify_content(folder, record, dim)


def _verify_checksums(folder: Path, record: ShardRecord) -> list[Problem]:
    problems = []
    expected = {VECTORS_NAME: record.vectors_sha256, IMAGES_NAME: record.images_sha256}
    for name, checksum in expected.items():
        where = f"{folder.name}/{record.name}/{name}"
        path = folder / record.name / name
        try:
            with reading_shard(path):
                got = hash_file(path)
        except FileNotFoundError:
            problems.append(Problem(where, "the file is missing"))
            continue
        except UnreadableError as error:
            problems.append(Problem(where, str(error), is_damage=False))
            continue
        except OSError as error:
            problems.append(Problem(where, f"it is no file ({error.strerror})"))
            continue
        if got != checksum:
            problems.append(
                Problem(where, f"its SHA-256 is {got[:12]}…, the manifest says {checksum[:12]}…")
            )
    return problems


def _verify_content(folder: Path, record: ShardRecord, dim: int) -> list[Problem]:
    where = f"{folder.name}/{record.name}"
    try:
        vectors = map_vectors(folder, record, dim)
        frame = read_images(folder, record)
    except StoreError as error:
        return [Problem(where, str(error), is_damage=not isinstance(error, UnreadableError))]
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
        What was found; empty where the store was whole and nothing was done. What cannot be read
        just now is among them, and was left as it is.
    shards : tuple of str
        Names of the shards that were taken out; they lie in ``damaged/`` of the store.
    lost : tuple of Path
        Files of the current rows that these held, as far as their image tables can be read.
    n_unlisted : int
        Current rows whose file cannot be told because the image table is damaged too.
    n_kept_lost : int
        Pictures of which something that was kept beside the vector was taken out; their rows stay.
    n_lines_lost : int
        Damaged lines of the log of annotations, which lies in ``damaged/`` as it was.
    maps : tuple of str
        Names of damaged maps, which lie in ``damaged/`` of the store.
    columns : tuple of str
        Files of damaged columns, relative to the store; they lie in ``damaged/`` too.
    """

    problems: tuple[Problem, ...]
    shards: tuple[str, ...]
    lost: tuple[Path, ...]
    n_unlisted: int
    n_kept_lost: int = 0
    n_lines_lost: int = 0
    maps: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def n_lost(self) -> int:
        """Number of current rows that were taken out."""
        return len(self.lost) + self.n_unlisted


def repair_store(folder: Path) -> Repair:
    """Take the damaged shards of a store out of its manifest, and lay them aside.

    Damaged is what was read and differs from what the manifest says, and what is missing beside
    other shards. What cannot be read just now is never taken out.

    The manifest is replaced first and at once: whoever opens the store sees it with the damaged
    shards or without. The rows of later shards move up; retired rows follow, and the index is
    built anew because it no longer fits. The next run over the same sources embeds what was lost.

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
        repairable = find_repairable(problems)
        damaged = repairable - {""}
        lost, n_unlisted = _list_lost(store, damaged)
        if repairable:
            store.manifest.take_out(damaged).write(folder)
        _lay_aside(EmbeddingStore.open(folder))
        n_kept_lost = repair_kept(folder, verify_kept(folder), folder / DAMAGED_NAME)
        n_lines_lost = repair_log(folder, folder / DAMAGED_NAME)
        columns = repair_columns(folder, folder / DAMAGED_NAME)
        maps = repair_maps(folder, folder / DAMAGED_NAME)
    return Repair(
        tuple(problems),
        tuple(sorted(damaged)),
        tuple(lost),
        n_unlisted,
        n_kept_lost=n_kept_lost,
        n_lines_lost=n_lines_lost,
        maps=tuple(maps),
        columns=tuple(columns),
    )


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
        if record.name not in present:
            # A shard of that name is there already where an older manifest was put back.
            lay_aside(shards_dir / record.name, aside, record.name)


@dataclasses.dataclass(frozen=True)
class Restoration:
    """What was put back into a store of what had been taken out.

    Parameters
    ----------
    shards : tuple of str
        Names of the shards that are back.
    n_images : int
        Their current rows.
    n_replaced : int
        Their rows that stay retired because the same files were embedded again since.
    left : tuple of Problem
        Why others were not put back.
    n_kept : int
        Pictures of which something is back that is kept beside the vector.
    """

    shards: tuple[str, ...]
    n_images: int
    n_replaced: int
    left: tuple[Problem, ...]
    n_kept: int = 0


def restore_store(folder: Path) -> Restoration:
    """Put back what was taken out of a store, where it is whole by now.

    A shard is put back at the place that it had if both of its files, in ``damaged/``, have the
    checksums that the manifest said before, as after they were restored from a copy. What was
    embedded again since replaces it.

    Raises
    ------
    StoreError
        If there is no store, it is damaged, or the disk refuses.
    StoreLockedError
        If another process is writing to the store.
    """
    left: list[Problem] = []
    shards: list[str] = []
    n_images = n_replaced = 0
    with EmbeddingStore.open(folder).lock():
        store = EmbeddingStore.open(folder)
        _lay_aside(store)
        known = {taken.name: taken for taken in store.manifest.taken_out}
        # The newest first: what it says of a file stands, also against those before it.
        for record in reversed(store.manifest.shards):
            if record.n_images:
                continue
            taken = known.get(record.name)
            if taken is None:
                what = (
                    "its checksums are not known, as an older bioprobe took it out; put back a "
                    "copy of manifest.json from before, or embed the images again"
                )
                left.append(Problem(f"{DAMAGED_NAME}/{record.name}", what))
                continue
            found, problems = _find_whole(store, taken)
            if found is None:
                left += problems
                continue
            store, n_back = _put_back(store, taken, found)
            shards.append(taken.name)
            n_images += n_back
            n_replaced += taken.n_images - len(taken.retired) - n_back
        n_kept = restore_kept(folder, folder / DAMAGED_NAME)
    return Restoration(tuple(sorted(shards)), n_images, n_replaced, tuple(left), n_kept)


def _find_whole(store: EmbeddingStore, taken: TakenOut) -> tuple[str | None, list[Problem]]:
    """Find the folder in ``damaged/`` that holds a shard as it was, or say what is wrong."""
    aside = store.folder / DAMAGED_NAME
    problems: list[Problem] = []
    for name in list_names(aside):
        if re.fullmatch(rf"{taken.name}(-\d+)?", name):
            wrong = _verify_shard(aside, dataclasses.replace(taken, name=name), store.manifest.dim)
            if not wrong:
                return name, []
            problems += wrong
    return None, problems or [Problem(f"{DAMAGED_NAME}/{taken.name}", "it is not there")]


def _put_back(store: EmbeddingStore, taken: TakenOut, found: str) -> tuple[EmbeddingStore, int]:
    """Return the store with a shard that is whole, and how many of its rows are current."""
    shards_dir, aside = store.folder / "shards", store.folder / DAMAGED_NAME
    images = store.images.frame.iloc[store.rows]
    current = set(map(join, images["root"], images["path"])) if len(images) else set()
    frame = read_images(aside, dataclasses.replace(taken, name=found))
    files = map(join, frame["root"], frame["path"])
    retired = {row for row, file in enumerate(files) if file in current} | set(taken.retired)
    with explaining_refusal(shards_dir):
        shards_dir.mkdir(exist_ok=True)
        (aside / found).rename(shards_dir / taken.name)
        sync(shards_dir)
        sync(aside)
    manifest = store.manifest.put_back(taken, retired=retired)
    manifest.write(store.folder)
    return EmbeddingStore.open(store.folder), taken.n_images - len(retired)


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
    restoration : Restoration or None
        What was put back, where that was asked for.
    notes : tuple of Note
        What is to be said of it.
    """

    store: Path
    n_images: int
    problems: tuple[Problem, ...]
    repair: Repair | None = None
    restoration: Restoration | None = None
    notes: Notes = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong, and whatever was to be put back is."""
        return not self.problems and not (self.restoration and self.restoration.left)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a problem."""
        import pandas as pd

        rows = [(one.where, one.what) for one in self.problems]
        return pd.DataFrame(rows, columns=["where", "what"])
