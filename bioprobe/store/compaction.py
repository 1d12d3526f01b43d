"""Many small shards made few, without the rows that are retired: a new generation of a store."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.access import exists, list_names
from bioprobe.files import sync, write_array_header
from bioprobe.images.image_table import ImageTable
from bioprobe.images.regions import REGION
from bioprobe.progress import Progress, Step
from bioprobe.sources.listing import join
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.gone import Changes, Gone, list_places
from bioprobe.store.lease import list_outdated
from bioprobe.store.manifest import Manifest, Replaced, ShardRecord, find_inside
from bioprobe.store.shard import (
    IMAGES_NAME,
    VECTORS_NAME,
    check_vectors,
    map_vectors,
    write_shard,
    writing_folder,
)
from bioprobe.store.stored_table import Columns, StoredTable
from bioprobe.types import Rows

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

#: Bytes of the vectors of a shard, at most: at 512 numbers of 4 bytes 131,072 rows.
SHARD_BYTES = 1 << 28
# A shard of so large a share of that, of which nothing goes, is taken as it is.
_LARGE_FRACTION = 0.5
# Shards, at least, of which most could be joined, before compaction is advised.
_MANY = 16
_ROWS_AT_ONCE = 8192


@dataclasses.dataclass(frozen=True)
class Output:
    """A shard that a compaction makes.

    Parameters
    ----------
    parts : tuple of (int, ndarray of int64)
        Place of an old shard, and which of its rows are taken, counted from its first.
    n_images : int
        Rows of it.
    is_whole : bool
        Whether it is one old shard as it is.
    """

    parts: tuple[tuple[int, Rows], ...]
    n_images: int
    is_whole: bool = False


def count_shard_rows(manifest: Manifest, shard_rows: int | None = None) -> int:
    """Return the rows of a shard, at most; by default as many as make :data:`SHARD_BYTES`."""
    row_bytes = manifest.dim * np.dtype(manifest.dtype).itemsize
    return shard_rows or max(1, SHARD_BYTES // row_bytes)


def plan_shards(manifest: Manifest, shard_rows: int | None = None) -> list[Output]:
    """Choose which rows make which shards; their order stays.

    Parameters
    ----------
    manifest : Manifest
    shard_rows : int, optional
        Rows of a shard, at most.
    """
    most = count_shard_rows(manifest, shard_rows)
    outputs: list[Output] = []
    waiting: list[tuple[int, Rows]] = []
    n_waiting = start = 0

    def close() -> None:
        nonlocal waiting, n_waiting
        if n_waiting:
            outputs.append(Output(tuple(waiting), n_waiting))
        waiting, n_waiting = [], 0

    for place, record in enumerate(manifest.shards):
        retired = find_inside(manifest.retired, start, start + record.n_images)
        start += record.n_images
        rows = np.delete(np.arange(record.n_images), np.array(retired, dtype=np.int64))
        is_large = _LARGE_FRACTION * most <= record.n_images <= most
        if is_large and len(rows) == record.n_images:
            close()
            outputs.append(Output(((place, rows),), len(rows), is_whole=True))
            continue
        while len(rows):
            taken = rows[: most - n_waiting]
            waiting.append((place, taken))
            n_waiting += len(taken)
            rows = rows[len(taken) :]
            if n_waiting == most:
                close()
    close()
    return outputs


def is_compact(manifest: Manifest, shard_rows: int | None = None) -> bool:
    """Tell whether nothing would go and no shards would be joined or cut."""
    if manifest.retired or any(one.failed for one in manifest.removals):
        return False
    plan = plan_shards(manifest, shard_rows)
    return len(plan) == len(manifest.present_shards) and all(len(one.parts) == 1 for one in plan)


def is_scattered(manifest: Manifest) -> bool:
    """Tell whether a store has so many small shards that it should be compacted."""
    n_shards = len(manifest.present_shards)
    return n_shards >= _MANY and 2 * len(plan_shards(manifest)) <= n_shards


def estimate_space(manifest: Manifest, plan: Sequence[Output], folder: Path) -> tuple[int, int]:
    """Return the bytes of the shards that are written anew, and of those that go.

    The first are needed on the disk while both are there. Image tables are counted by their share
    of rows.
    """
    written = 0.0
    for output in plan:
        if output.is_whole:
            continue
        for place, rows in output.parts:
            record = manifest.shards[place]
            written += _measure(folder, record) * len(rows) / record.n_images
    linked = {output.parts[0][0] for output in plan if output.is_whole}
    freed = sum(
        _measure(folder, record)
        for place, record in enumerate(manifest.shards)
        if record.n_images and place not in linked
    )
    return round(written), freed


def _measure(folder: Path, record: ShardRecord) -> int:
    place = folder / "shards" / record.name
    with contextlib.suppress(OSError):
        return sum((place / name).stat().st_size for name in (VECTORS_NAME, IMAGES_NAME))
    return 0


@contextlib.contextmanager
def writing_generation(
    store: EmbeddingStore, plan: Sequence[Output], progress: Progress | None
) -> Iterator[Manifest]:
    """Write the shards of the next generation, which go again if the block fails.

    Vectors are read and written some at a time, and old ones compared with their checksums
    first: damage is never copied.

    Yields
    ------
    Manifest
        Of the next generation; written by the block.

    Raises
    ------
    StoreError
        If a shard is damaged, or the disk refuses.
    """
    manifest, shards_dir = store.manifest, store.folder / "shards"
    after = dataclasses.replace(
        manifest, shards=(), retired=(), removals=(), generation=manifest.generation + 1,
        replaced=_list_replaced(manifest), is_cleared=False,
        older=tuple(list_outdated(store.folder, manifest)),
    )  # fmt: skip
    records: list[ShardRecord] = []
    checked = set[str]()
    n_rows, n_done = sum(output.n_images for output in plan), 0
    try:
        for place, output in enumerate(plan):
            name = after.name_shard(place)
            if output.is_whole:
                old = manifest.shards[output.parts[0][0]]
                records.append(_link_shard(shards_dir, old, name))
            else:
                frame = _cut_table(store, output)
                copy = _Copy(store, output, checked)
                records.append(write_shard(shards_dir, name, copy.write, frame))
            n_done += output.n_images
            if progress is not None:
                progress(Step(n_done, n_rows, "rows"))
        # Of what a repair took out the place stays, where it may be put back.
        away = tuple(
            one for one in manifest.shards
            if not one.n_images and any(one.name == taken.name for taken in manifest.taken_out)
        )  # fmt: skip
        yield dataclasses.replace(after, shards=(*records, *away))
    except BaseException:
        # It may have been interrupted when the manifest named them already.
        if Manifest.read(store.folder).generation == manifest.generation:
            for place in range(len(plan)):
                shutil.rmtree(shards_dir / after.name_shard(place), ignore_errors=True)
        raise


def _cut_table(store: EmbeddingStore, output: Output) -> pd.DataFrame:
    manifest, given = store.manifest, store.given
    places = [place for place, _ in output.parts]
    if isinstance(given, StoredTable) and given.stored.is_marked:
        # Of no other shard anything is read. What older versions wrote is read as all of it says.
        given = StoredTable(Columns(store.folder / "shards", [manifest.shards[p] for p in places]))
        starts = given.stored.starts
    else:
        starts = np.cumsum([0, *(record.n_images for record in manifest.shards)])[places]
    parts = zip(starts.tolist(), output.parts, strict=False)
    rows = np.concatenate([start + rows for start, (_, rows) in parts])
    frame = given.take(rows).reset_index(drop=True)
    drop_unused(frame)
    table = ImageTable.build(frame)
    return table.frame if table.has_regions else table.frame.drop(columns=REGION)


@dataclasses.dataclass(frozen=True)
class _Copy:
    """Writes the vectors of a new shard."""

    store: EmbeddingStore
    output: Output
    checked: set[str]

    def write(self, path: Path) -> None:
        manifest = self.store.manifest
        shape, dtype = (self.output.n_images, manifest.dim), manifest.dtype
        with path.open("wb") as stream:
            write_array_header(stream, shape, dtype)
            for place, rows in self.output.parts:
                vectors = self._map(manifest.shards[place])
                for start in range(0, len(rows), _ROWS_AT_ONCE):
                    chosen = rows[start : start + _ROWS_AT_ONCE]
                    first, stop = int(chosen[0]), int(chosen[-1]) + 1
                    part = vectors[first:stop]
                    if len(part) > len(chosen):
                        part = part[chosen - first]
                    stream.write(np.ascontiguousarray(part, dtype).data)

    def _map(self, record: ShardRecord) -> npt.NDArray[Any]:
        shards_dir = self.store.folder / "shards"
        vectors = map_vectors(shards_dir, record, self.store.manifest.dim)
        if record.name not in self.checked:
            check_vectors(shards_dir, record, "compacted", "bioprobe store verify --repair")
        self.checked.add(record.name)
        # A plain array of the same bytes: slices of a memmap are slow to make.
        return np.asarray(vectors)


def drop_unused(frame: pd.DataFrame) -> None:
    """Drop the categories that no row of a frame has: they would name values that others had."""
    for name, values in frame.select_dtypes("category").items():
        frame[name] = values.cat.remove_unused_categories()


def _link_shard(shards_dir: Path, record: ShardRecord, name: str) -> ShardRecord:
    """Give the files of a shard a second name; where the disk has no links they are copied."""
    with writing_folder(shards_dir / name) as folder:
        for one in (VECTORS_NAME, IMAGES_NAME):
            try:
                os.link(shards_dir / record.name / one, folder / one)
            except OSError:
                shutil.copyfile(shards_dir / record.name / one, folder / one)
                sync(folder / one)
    return dataclasses.replace(record, name=name)


def _list_replaced(manifest: Manifest) -> tuple[Replaced, ...]:
    """Return the shards of a manifest as those that a compaction replaces."""
    found, start = [], 0
    for record in manifest.shards:
        if record.n_images:
            stop = start + record.n_images
            retired, removed = (
                find_inside(rows, start, stop) for rows in (manifest.retired, manifest.removed)
            )
            found.append(Replaced(**vars(record), retired=retired, removed=removed))
            start = stop
    return tuple(found)


def find_gone_before(store: EmbeddingStore) -> Gone:
    """Return what the last compaction of a store took out, which has not come to its end.

    Raises
    ------
    StoreError
        If a shard that it replaced is not there or damaged.
    """
    replaced = store.manifest.replaced
    retired, removed = list[int](), list[int]()
    start = 0
    for one in replaced:
        retired += [start + row for row in one.retired]
        removed += [start + row for row in one.removed]
        start += one.n_images
    before = dataclasses.replace(
        store.manifest, shards=replaced, retired=tuple(retired), replaced=(),
        generation=store.manifest.generation - 1,
    )  # fmt: skip
    images = StoredTable(Columns(store.folder / "shards", replaced))
    # Each of them is looked at before anything is made of any.
    assert images.columns
    stays = tuple((one, np.arange(one.n_images)) for one in store.manifest.present_shards)
    return Gone(
        store.folder, before, images, np.array(retired, dtype=np.int64),
        np.array(removed, dtype=np.int64), stays,
    )  # fmt: skip


def forget_aside(manifest: Manifest, gone: Gone, changes: Changes) -> list[str]:
    """Remove shards that no manifest counts where they hold what is gone, and return their names.

    These are what a repair laid aside, and what was left after an older manifest was put back. One
    whose image table cannot be read goes where a person removed anything, as nobody can tell.

    Returns
    -------
    list of str
        Names of shards that cannot be put back any more.
    """
    counted = {one.name for one in manifest.shards if one.n_images} | {*manifest.outdated}
    taken = {one.name: one for one in manifest.taken_out}
    forgotten = []
    for parent, known in (("damaged", set[str]()), ("shards", counted)):
        for name in list_names(gone.folder / parent):
            place, shard = gone.folder / parent / name, name.partition("-")[0]
            if name in known or not place.is_dir():
                continue
            if _holds_gone(place, gone, has_removed=shard in taken and bool(taken[shard].removed)):
                forgotten.append(shard)
                changes.afterwards(functools.partial(shutil.rmtree, place, ignore_errors=True))
    forgotten += [
        name for name, one in taken.items()
        if one.removed and not exists(gone.folder / "damaged" / name)
    ]  # fmt: skip
    return forgotten


def _holds_gone(place: Path, gone: Gone, *, has_removed: bool) -> bool:
    import pandas as pd
    import pyarrow as pa

    if has_removed:
        return True
    try:
        frame = pd.read_parquet(place / IMAGES_NAME)
        frame = frame if REGION in frame else frame.assign(**{REGION: ""})
        places = list_places(frame)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return len(gone.removed) > 0
    files = {join(root, path) for root, path, _ in places}
    return bool(gone.places.intersection(places) or gone.files & files)
