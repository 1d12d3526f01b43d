"""Rows that go: removed at once, undone until compaction, and gone with all that quotes them."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.errors import BioprobeError, SelectionError, StoreError
from bioprobe.evaluation import keeping as evaluations
from bioprobe.images.regions import REGION
from bioprobe.index import index_file
from bioprobe.index.neighbor_index import NeighborIndex
from bioprobe.learning import keeping as probes
from bioprobe.learning.kept import list_probes
from bioprobe.progress import Progress
from bioprobe.result import Notes, Result
from bioprobe.sources.listing import join
from bioprobe.splits import list_splits
from bioprobe.store import (
    EmbeddingStore,
    columns,
    computed,
    failures,
    kept,
    labels,
    look_cache,
    maps,
    selections,
    text_cache,
)
from bioprobe.store import annotations as annotation_log
from bioprobe.store.added_taxa import find_added_taxa, read_added_taxa
from bioprobe.store.compaction import (
    estimate_space,
    find_gone_before,
    forget_aside,
    is_compact,
    plan_shards,
    writing_generation,
)
from bioprobe.store.gone import Changes, Gone, find_gone
from bioprobe.store.lease import remove_unread
from bioprobe.store.manifest import Manifest, Removal
from bioprobe.store.writing import QUICK_WAIT_S, check_present, holding
from bioprobe.task.target import mark_rows
from bioprobe.types import Rows
from bioprobe.watching import ledger
from bioprobe.zeroshot import examples, seen_offset, text_head

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Removed(Result):
    """What was removed from a store, or would be.

    Parameters
    ----------
    store : Path
        Its folder.
    number : int or None
        By which it is undone; None where nothing was done.
    files : tuple of str
        Whole path of each row, in the store's order.
    regions : tuple of str
        Region of each, ``""`` where it is a whole picture.
    rows : ndarray of int64, shape (n_rows,)
        Rows of the store.
    hangs : DataFrame
        What hangs on them: ``what``, ``name``, ``n`` rows, and ``becomes``.
    is_declined : bool
        Whether it was asked first, and the answer was no.
    notes : tuple of Note
        What is to be said of it.
    """

    store: Path
    number: int | None
    files: tuple[str, ...]
    regions: tuple[str, ...]
    rows: Rows
    hangs: pd.DataFrame
    is_declined: bool = False
    notes: Notes = ()

    @property
    def is_done(self) -> bool:
        """Whether anything was removed."""
        return self.number is not None

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each row of the store: ``row``, ``file``, ``image_region``."""
        import pandas as pd

        named = {"row": self.rows, "file": self.files, REGION: self.regions}
        return pd.DataFrame(named)


def remove_rows(
    store: EmbeddingStore, rows: Rows, failed: Sequence[str] = ()
) -> tuple[EmbeddingStore, int]:
    """Remove rows from a store, undone until compaction, and return the number of the removal.

    Parameters
    ----------
    store : EmbeddingStore
        As it was when the rows were chosen.
    rows : ndarray of int64, shape (n_rows,)
        Current rows.
    failed : sequence of str
        Whole paths of pictures that could not be read.

    Raises
    ------
    StoreLockedError
        If another process is writing to the store.
    StoreError
        If rows have other numbers by now, or the disk refuses.
    """
    with store.lock(wait_s=QUICK_WAIT_S):
        now = EmbeddingStore.open(store.folder)
        # What was appended since gave no row another number.
        known = store.manifest.shards
        if now.manifest.shards[: len(known)] != known:
            msg = f"{store.folder} has changed since it was opened; open it again, then remove"
            raise StoreError(msg)
        removed = now.remove(rows.tolist(), failed=failed)
    return removed, removed.manifest.removals[-1].number


def find_paths(store: EmbeddingStore, paths: Sequence[str]) -> tuple[Rows, list[str], list[str]]:
    """Find pictures by their paths, with all their regions.

    Parameters
    ----------
    store : EmbeddingStore
    paths : sequence of str
        As the store has them, as answers name them, or where the files lie or lay.

    Returns
    -------
    rows : ndarray of int64, shape (n_rows,)
        Current rows, ascending.
    failed : list of str
        Whole paths of those that could not be read when they were embedded.
    unknown : list of str
        Those that the store has not.
    """
    names = store.images.file_names
    roots, files = (store.images.column(name).astype(str).tolist() for name in ("root", "path"))
    by_name: dict[str, set[int]] = {}
    for row in store.rows.tolist():
        file = join(roots[row], files[row])
        for name in {files[row], names[row], file, _resolve(file)}:
            by_name.setdefault(name, set()).add(row)
    listed = store.read_failures()
    failed_files = {
        name: file
        for root, path in zip(listed["root"], listed["path"], strict=True)
        for file in [join(root, path)]
        for name in (path, file, _resolve(file))
    }
    rows, failed, unknown = set[int](), list[str](), list[str]()
    for path in dict.fromkeys(paths):
        found = by_name.get(path) or by_name.get(_resolve(path))
        lost = failed_files.get(path) or failed_files.get(_resolve(path))
        rows |= found or set()
        if lost:
            failed.append(lost)
        if not found and not lost:
            unknown.append(path)
    return np.array(sorted(rows), dtype=np.int64), failed, unknown


def _resolve(file: str) -> str:
    return os.path.normpath(os.path.abspath(file))  # noqa: PTH100 - as it is written, links and all


def describe_hanging(store: EmbeddingStore, rows: Rows) -> pd.DataFrame:
    """Return what hangs on rows of a store, and what becomes of it at compaction.

    Returns
    -------
    DataFrame
        ``what`` and ``name`` of it, ``n`` rows, images or lines, and ``becomes``.
    """
    import pandas as pd

    images, marks = store.images, mark_rows(store.images, rows)
    files = set(images.name_files(rows))
    hashes = set(images.column("sha256").iloc[rows]) - {""}

    def count_judged(name: str) -> int:
        return int(selections.read_selection(store, name).judged[rows].sum())

    def count_taught(name: str) -> int:
        taught = probes.read_probe(store, name).taught
        return len(rows) if taught is None else int(np.isin(taught, marks).sum())

    def count_quoted(name: str) -> int:
        judged = evaluations.read_evaluation(store, name).predictions["file_name"]
        return len(files.intersection(judged))

    def count_placed(name: str) -> int:
        return int(maps.read_map(store, name).known[rows].sum())

    def count_grouped(name: str) -> int:
        return int((computed.read_column(store, name).values[rows] != "").sum())

    def count_shown(name: str) -> int:
        known = examples.read_examples(store)
        return sum(len(hashes.intersection(one.sha256s)) for one in known if one.taxon.name == name)

    def count_said(name: str) -> int:
        said = [one for one in annotation_log.read_log(store.folder).standing if one.level == name]
        there = labels.find_unit_rows(store.given, rows, {one.unit for one in said})
        return sum(bool(there[one.unit]) for one in said)

    levels = list(
        dict.fromkeys(one.level for one in annotation_log.read_log(store.folder).standing)
    )
    splits = [selections.SPLITS + name for name in list_splits(store)]
    kinds: list[tuple[str, Sequence[str], Callable[[str], int], str]] = [
        ("mask", selections.list_masks(store), count_judged, "tells the others"),
        ("split", splits, count_judged, "has the others"),
        ("map", maps.list_maps(store.folder), count_placed, "has the others"),
        ("clusters", [name for _, name in columns.list_columns(store.folder, columns.CLUSTERS)],
         count_grouped, "has the others"),
        ("probe", list_probes(store), count_taught, "keeps none of their vectors"),
        ("evaluation", evaluations.list_evaluations(store), count_quoted,
         "keeps its figures, lists the others"),
        ("taxon", list(dict.fromkeys(one.name for one in read_added_taxa(store))), count_shown,
         "loses these example pictures"),
        ("annotations of", levels, count_said, "keeps those of the others"),
    ]  # fmt: skip
    found = [
        (what, name.removeprefix(selections.SPLITS), n, says)
        for what, names, count, becomes in kinds
        for name in names
        for n, says in _count_hanging(count, name, becomes)
    ]
    return pd.DataFrame(found, columns=["what", "name", "n", "becomes"])


def _count_hanging(
    count: Callable[[str], int], name: str, becomes: str
) -> Iterator[tuple[int, str]]:
    try:
        n_rows = count(name)
    except BioprobeError as error:
        # Whoever asks it is told; it is no reason to keep rows.
        yield 0, f"cannot be read: {error}"
        return
    if n_rows:
        yield n_rows, becomes


def count_copies(store: EmbeddingStore, rows: Rows) -> int:
    """Return how many current rows are of the same bytes as some rows, in other files."""
    frame = store.images.select(["root", "path", "sha256"])
    mine = frame.iloc[rows]
    places = set(zip(mine["root"], mine["path"], strict=True))
    alike = np.flatnonzero(frame["sha256"].isin(set(mine["sha256"]) - {""}))
    same = frame.iloc[np.intersect1d(alike, store.rows)]
    return sum(place not in places for place in zip(same["root"], same["path"], strict=True))


def count_regions(store: EmbeddingStore, rows: Rows) -> int:
    """Return how many further current rows are of the same pictures as some rows."""
    frame = store.images.select(["root", "path"])
    mine = frame.iloc[rows]
    places = set(zip(mine["root"], mine["path"], strict=True))
    alike = np.flatnonzero(frame["path"].isin(set(mine["path"])))
    others = frame.iloc[np.setdiff1d(np.intersect1d(alike, store.rows), rows)]
    return sum(place in places for place in zip(others["root"], others["path"], strict=True))


def list_removals(store: EmbeddingStore) -> pd.DataFrame:
    """Return one row for each removal that can be undone: ``number``, ``time``, counts."""
    import pandas as pd

    frame = store.images.frame

    def name(removal: Removal) -> str:
        shown = [str(frame["path"].iloc[row]) for row in removal.rows[:1]]
        return (shown or list(removal.failed[:1]))[0]

    rows = [
        (one.number, one.time, len(one.rows), len(one.failed), name(one))
        for one in store.manifest.removals
    ]
    return pd.DataFrame(rows, columns=["number", "time", "rows", "failures", "such_as"])


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Compaction(Result):
    """What a compaction did, or would do.

    Parameters
    ----------
    store : Path
        Folder of the store.
    is_done : bool
        Whether it was done.
    n_rows : int
        Rows that stay.
    n_removed : int
        Rows that a person removed.
    n_retired : int
        Other rows that go, which newer ones of the same pictures replaced, or whose file is gone.
    n_before, n_after : int
        Shards.
    needed_bytes : int
        What is written anew, before anything goes: so much space the disk must have.
    saved_bytes : int
        By how much the shards are smaller afterwards.
    counts : dict of str to int
        What else quoted rows that go: ``selections``, ``columns``, ``maps``, ``probes``,
        ``evaluations``, ``examples``, ``prototypes``, ``texts``, ``looks``, ``kept``,
        ``annotations``, ``failures``, by how many were changed or went.
    forgotten : tuple of str
        What could not stay without them, and why.
    is_waiting : bool
        Whether the old shards are on the disk still, because another program reads them.
    notes : tuple of Note
        What is to be said of it.
    """

    store: Path
    is_done: bool
    n_rows: int
    n_removed: int
    n_retired: int
    n_before: int
    n_after: int
    needed_bytes: int
    saved_bytes: int
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    forgotten: tuple[str, ...] = ()
    is_waiting: bool = False
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return the counts as one row."""
        import pandas as pd

        names = [one.name for one in dataclasses.fields(self)]
        left_out = {"store", "counts", "forgotten", "notes"}
        row: dict[str, Any] = {one: getattr(self, one) for one in names if one not in left_out}
        return pd.DataFrame([row | self.counts])


def compact_store(
    folder: Path,
    *,
    shard_rows: int | None = None,
    is_trial: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], object] | None = None,
) -> Compaction:
    """Join the shards of a store, without retired rows, and make what was removed be gone.

    The manifest's replacement is the one change: before it the store is as it was, after it as it
    will be. All that is written is written before. Then what quotes rows that are gone takes the
    place of what did, and the old shards go once nobody reads them. Where that was interrupted,
    another compaction comes to the end of it.

    Parameters
    ----------
    folder : Path
        Of the store.
    shard_rows : int, optional
        Rows of a shard, at most; by default as many as make
        :data:`~bioprobe.store.compaction.SHARD_BYTES`.
    is_trial : bool
        Whether nothing is done, and what would be is returned.
    progress : callable, optional
        Told how many rows are written.
    tell : callable, optional
        Told, before anything is written, how much space that takes.

    Raises
    ------
    StoreLockedError
        If another process is writing to the store.
    StoreError
        If there is no store, a part of it is damaged, or the disk refuses.
    """
    check_present(folder)
    if is_trial:
        opened = EmbeddingStore.open(folder)
        changes = Changes(is_trial=True)
        with changes.together():
            gone = find_gone(folder, opened.manifest, opened.images)
            _draft(opened, gone, changes, opened.manifest)
        return dataclasses.replace(
            _plan(opened, shard_rows),
            counts=dict(changes.counts), forgotten=tuple(changes.said),
        )  # fmt: skip
    with holding(folder):
        # Its own lease would keep the old shards.
        store = EmbeddingStore(folder, Manifest.read(folder))
        ended = _finish(store) if not store.manifest.is_cleared else None
        store = EmbeddingStore(folder, Manifest.read(folder))
        planned = _plan(store, shard_rows)
        done = [] if ended is None else [ended]
        if not is_compact(store.manifest, shard_rows):
            _check_space(folder, planned.needed_bytes)
            if tell is not None:
                tell(f"writing {planned.needed_bytes:,} bytes before anything goes …")
            done.append(_compact(store, shard_rows, progress))
        is_waiting = not _clear(folder)
        if done:
            # What was kept of the vectors that are gone is built of those that stay.
            NeighborIndex.open(EmbeddingStore.open(folder))
    counts = sum((one.counts for one in done), collections.Counter[str]())
    return dataclasses.replace(
        planned, is_done=bool(done), counts=dict(counts), is_waiting=is_waiting,
        forgotten=tuple(text for one in done for text in one.said),
    )  # fmt: skip


def _plan(store: EmbeddingStore, shard_rows: int | None) -> Compaction:
    folder, manifest = store.folder, store.manifest
    plan = plan_shards(manifest, shard_rows)
    needed, freed = estimate_space(manifest, plan, folder)
    if kept.list_kept(folder):
        more = kept.estimate_space(folder, store.images.contents[store.rows])
        needed, freed = needed + more[0], freed + more[1]
    n_rows = sum(one.n_images for one in plan)
    n_removed = len(manifest.removed)
    n_retired = len(manifest.retired) - n_removed
    n_before = len(manifest.present_shards)
    is_small = is_compact(manifest, shard_rows)
    return Compaction(
        folder, False, n_rows, n_removed, n_retired, n_before, len(plan),
        0 if is_small else needed, 0 if is_small else freed - needed,
    )  # fmt: skip


def _compact(store: EmbeddingStore, shard_rows: int | None, progress: Progress | None) -> Changes:
    gone = find_gone(store.folder, store.manifest, store.given)
    plan = plan_shards(store.manifest, shard_rows)
    changes = Changes()
    with changes.together(), writing_generation(store, plan, progress) as manifest:
        manifest = _draft(store, gone, changes, manifest)
        manifest.write(store.folder)
    return changes


def _finish(store: EmbeddingStore) -> Changes:
    """Come to the end of a compaction that was interrupted after its one change."""
    try:
        gone = find_gone_before(store)
    except StoreError as error:
        msg = (
            f"{error}. A compaction of {store.folder} was interrupted, and this is what it took "
            "rows out of: restore it from a copy, then compact again"
        )
        raise StoreError(msg) from error
    changes = Changes()
    with changes.together():
        manifest = _draft(store, gone, changes, store.manifest)
        if manifest != store.manifest:
            manifest.write(store.folder)
    return changes


def _draft(store: EmbeddingStore, gone: Gone, changes: Changes, manifest: Manifest) -> Manifest:
    """Write what is to take the place of what quotes rows that go, and return the manifest."""
    changes.afterwards(lambda: index_file.forget_gone(store.folder))
    forgotten = forget_aside(manifest, gone, changes)
    probes.forget_gone(store, gone, changes)
    evaluations.forget_gone(store, gone, changes)
    examples.forget_gone(store, gone, changes)
    text_head.forget_gone(store, gone, changes)
    for part in (
        seen_offset.forget_gone, selections.forget_gone, annotation_log.forget_gone,
        maps.forget_gone, failures.forget_gone, look_cache.forget_gone, kept.forget_gone,
        ledger.forget_gone,
    ):  # fmt: skip
        part(gone, changes)
    columns.forget_gone(manifest, gone, changes)
    text_cache.forget_gone(gone, _find_labels(store, gone), changes)
    names = {one.name for one in manifest.taken_out if one.name in forgotten}
    if names:
        changes.counts["damaged shards"] = len(names)
    return dataclasses.replace(
        manifest,
        shards=tuple(one for one in manifest.shards if one.n_images or one.name not in names),
        taken_out=tuple(one for one in manifest.taken_out if one.name not in names),
    )


def _find_labels(store: EmbeddingStore, gone: Gone) -> list[str]:
    """Return labels that only removed pictures had, and that nobody added as a taxon."""
    added = {
        name.casefold() for taxon in find_added_taxa(store)
        for name in (*taxon.lineage, taxon.common_name)
    }  # fmt: skip
    return [label for label in gone.labels if label.casefold() not in added]


def _clear(folder: Path) -> bool:
    """Remove the shards that compaction replaced, and tell whether none is left."""
    manifest = Manifest.read(folder)
    if not manifest.is_cleared:
        # First: whoever goes on from here needs none of them.
        manifest = dataclasses.replace(manifest, is_cleared=True)
        manifest.write(folder)
    is_clear = remove_unread(folder, manifest.outdated)
    if is_clear and manifest.outdated:
        # That they are named although they are gone harms nothing.
        with contextlib.suppress(StoreError):
            dataclasses.replace(manifest, replaced=(), older=()).write(folder)
    return is_clear


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        msg = (
            f"{folder} cannot be written: {needed_bytes:,} bytes are written before anything goes, "
            f"{free_bytes:,} are free; nothing was changed. Free space, then run the same command "
            "again"
        )
        raise StoreError(msg)


def find_rows(store: EmbeddingStore, rows: Sequence[int]) -> Rows:
    """Return rows of a store that a person names by number, if it has them.

    Raises
    ------
    SelectionError
        If one is none of its current rows.
    """
    wanted = np.unique(np.asarray(rows, dtype=np.int64))
    current = store.rows
    # They are sorted: of a million none but these few are looked at.
    places = np.minimum(np.searchsorted(current, wanted), max(len(current) - 1, 0))
    unknown = wanted[current[places] != wanted] if len(current) else wanted
    if unknown.size:
        there = "was removed or replaced" if 0 <= unknown[0] < len(store) else "is not there"
        msg = f"{store.folder} has no row {unknown[0]}: it {there}; see the rows in an export"
        raise SelectionError(msg)
    return wanted
