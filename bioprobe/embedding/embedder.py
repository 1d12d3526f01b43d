"""Embed what is new of a listing into a store."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.embedding.encoder_choice import OnDemandEncoder
from bioprobe.embedding.preparation import Listed, MemoryBudget, Prepared, prepare_on_demand
from bioprobe.embedding.shard_buffer import Changes, EmbedSummary, Outcome, ShardBuffer
from bioprobe.encoders.encoder import Encoder
from bioprobe.images.archives import ARCHIVE_PREFIX
from bioprobe.images.image_table import (
    FACT_COLUMNS,
    LOCATION_COLUMNS,
    ImageTable,
    find_placeholders,
)
from bioprobe.images.location import DATASET_PREFIX, find_file
from bioprobe.images.reading import MAX_PIXELS_PX, allow_pixels, ignore_pillow_warnings
from bioprobe.sources.files import locate
from bioprobe.sources.listing import (
    Listing,
    Said,
    find_said,
    get_lineage,
    is_same,
    join,
)
from bioprobe.store import EmbeddingStore
from bioprobe.store.failures import Failure
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL_COLUMNS, LABELS_FROM

if TYPE_CHECKING:
    import pandas as pd


class Presence(enum.Enum):
    """What is known of a file."""

    PRESENT = enum.auto()
    GONE = enum.auto()
    OUT_OF_REACH = enum.auto()


@dataclasses.dataclass(frozen=True)
class Gone:
    """Rows whose file is not there.

    Parameters
    ----------
    rows : tuple of int
        Rows whose file is gone from a folder that is there.
    out_of_reach : tuple of Path
        Files of rows whose folder is missing, empty or forbidden, as when a disk is not mounted.
    """

    rows: tuple[int, ...] = ()
    out_of_reach: tuple[Path, ...] = ()


def find_gone(rows: Iterable[tuple[int, Path, Path]], below: Collection[Path]) -> Gone:
    """Look for the files of rows below some folders.

    Parameters
    ----------
    rows : iterable of (int, Path, Path)
        Row, the folder it was listed from, and its file.
    below : collection of Path
        Folders; rows of files elsewhere are not looked at, nor are folders that are relative.
    """
    folders = {folder for folder in below if folder.is_absolute()}
    gone: list[int] = []
    out_of_reach: list[Path] = []
    for row, root, file in rows:
        listed = next((parent for parent in file.parents if parent in folders), None)
        if listed is None:
            continue
        presence = look_for(file, root=root, listed=listed)
        if presence is Presence.GONE:
            gone.append(row)
        elif presence is Presence.OUT_OF_REACH:
            out_of_reach.append(file)
    return Gone(tuple(gone), tuple(out_of_reach))


def look_for(file: Path, *, root: Path, listed: Path) -> Presence:
    """Tell whether a file is there, was removed, or cannot be told.

    A file is gone where the folder it was listed from is still there, and the nearest folder
    above it holds something: the place where a disk is mounted is empty while the disk is away.

    Parameters
    ----------
    file : Path
        Absolute.
    root : Path
        Folder that it was listed from when it was embedded.
    listed : Path
        Folder above it that was listed now.
    """
    try:
        if _is_there(file):
            return Presence.PRESENT
        folder = next(parent for parent in file.parents if _is_there(parent))
        is_inside = folder.is_relative_to(listed) and root.is_absolute() and root.is_dir()
        holds_some = any(not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError:
        return Presence.OUT_OF_REACH
    return Presence.GONE if is_inside and holds_some else Presence.OUT_OF_REACH


def _is_there(path: Path) -> bool:
    # A link whose target is away is there. An error other than these two tells nothing.
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


# Columns that no source says, and those that count as one label.
_GIVEN = {*LOCATION_COLUMNS, *FACT_COLUMNS}
_LABELS = {*LABEL_COLUMNS, LABELS_FROM}
_NO_DIRECTION = "the encoder gave a vector of zeros, or of numbers that are not finite"


def embed_images(
    table: ImageTable,
    encoder: Encoder | OnDemandEncoder,
    store: EmbeddingStore,
    *,
    n_threads: int | None = None,
    max_pixels_px: int = MAX_PIXELS_PX,
    memory_bytes: int | None = None,
    advance: Callable[[Outcome], None] | None = None,
    prune: bool = False,
    no_label: Collection[str] = (),
) -> EmbedSummary:
    """Embed the images of a listing that a store does not have.

    An image is known by the SHA-256 of its file: what is in the store unchanged is not decoded,
    the same bytes under another name take the vector they have, and a file whose content changed
    is embedded and its old row retired. A known image of which the sources now say something else
    gets a new row with that, by the rule of :mod:`bioprobe.sources.listing`. What cannot be read
    is listed in the store's failures, and the run goes on. An interrupted run keeps every shard
    that was closed, and on Ctrl-C also what was read.

    Parameters
    ----------
    table : ImageTable
        Listing; its facts are not used. Of one that no source listed, what is filled is said.
    encoder : Encoder or OnDemandEncoder
        Encoder of the store; one on demand is loaded only when an image is new.
    store : EmbeddingStore
        Store to append to; open it again to see the result.
    n_threads : int or None
        Threads that read and decode, ≥ 1; None is one a core.
    max_pixels_px : int
        Images of more pixels fail before they are decoded.
    memory_bytes : int or None
        Memory for what the threads decode at one time; a larger image is decoded alone. None is
        half of this machine's.
    advance : callable, optional
        Told the outcome of each image, for a progress bar.
    prune : bool
        Whether rows are retired whose file is gone from the folders that the listing starts
        from, or whose row is gone from a data set that is listed. Where such a folder is missing
        or empty, as when a disk is not mounted, they stay.
    no_label : collection of str
        Labels that are none: where a listed image has one in the store, it is emptied.

    Returns
    -------
    EmbedSummary

    Raises
    ------
    MismatchError
        If the encoder is not that of the store.
    StoreLockedError
        If another process is writing to the store.
    StoreError
        If the disk refuses; every shard that was closed before is kept.
    """
    source = _bind(encoder, store)
    start_s = time.monotonic()
    with store.lock(), ignore_pillow_warnings(), allow_pixels(max_pixels_px):
        buffer = ShardBuffer(EmbeddingStore.open(store.folder), source)
        listing = table if isinstance(table, Listing) else Listing(table.frame)
        run = _Run(buffer, listing, no_label)
        prepared = prepare_on_demand(
            _iter_listing(table),
            run.buffer.row_of_sha256,
            source,
            n_threads=n_threads or _count_cores(),
            max_pixels_px=max_pixels_px,
            memory=MemoryBudget(memory_bytes),
        )
        with _closing(run):
            for image in prepared:
                outcome = run.take(image)
                if advance is not None:
                    advance(outcome)
        gone = run.prune(set(table.frame["root"])) if prune else Gone()
    counts = run.counts
    return EmbedSummary(
        n_embedded=counts[Outcome.EMBEDDED],
        n_reused=counts[Outcome.REUSED],
        n_kept=counts[Outcome.KEPT],
        n_failed=counts[Outcome.FAILED],
        seconds_s=time.monotonic() - start_s,
        n_pruned=len(gone.rows),
        n_out_of_reach=len(gone.out_of_reach),
        labels=run.labels,
        values=run.values,
        reasons=tuple((join(one.root, one.path), one.reason) for one in run.failures),
    )


def _bind(encoder: Encoder | OnDemandEncoder, store: EmbeddingStore) -> OnDemandEncoder:
    """Return the encoder as one on demand, one that is there already checked."""
    if isinstance(encoder, OnDemandEncoder):
        return encoder
    bound = OnDemandEncoder(store, lambda: encoder)
    bound.get()
    return bound


@contextlib.contextmanager
def _closing(run: _Run) -> Iterator[None]:
    """Keep what was read also when a run ends early; what ended it is then what is told."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            run.close(is_whole=False)
        raise
    run.close(is_whole=True)


class _Run:
    """Decide for each prepared image what the store needs of it."""

    def __init__(self, buffer: ShardBuffer, listing: Listing, no_label: Collection[str]) -> None:
        self.buffer = buffer
        self.counts: collections.Counter[Outcome] = collections.Counter()
        self.labels, self.values = Changes(), Changes()
        self._listing = listing
        stored = find_placeholders(buffer.store.images.frame, no_label)
        self._stored, self._is_emptied = stored.frame, stored.rows
        # A row of a frame takes many times as long as one cell of each column.
        self._columns = {str(name): values.array for name, values in self._stored.items()}
        # By the whole path: a listing may start from another root than the store did.
        locations = self._stored["root"], self._stored["path"]
        files = [join(root, path) for root, path in zip(*locations, strict=True)]
        self._row_of_file = {files[row]: int(row) for row in buffer.store.rows}
        unread = [(join(root, path), root, why) for root, path, why in listing.unread]
        self._failures = {
            file: Failure(*locate(file, root), why, listing.listed_by.get(file, root))
            for file, root, why in unread
        }
        self.counts[Outcome.FAILED] = len(self._failures)
        self._read: set[str] = set()

    def take(self, image: Prepared) -> Outcome:
        """Add one prepared image to the store, or to the failures, or leave it as it is."""
        listed = image.listed
        file = join(listed.root, listed.path)
        if image.reason:
            reason = self._listing.reasons.get(file, image.reason)
            self._fail(listed.root, listed.path, reason)
            outcome = Outcome.FAILED
        else:
            self._read.add(file)
            outcome = self._take_readable(image, self._row_of_file.get(file))
        self.counts[outcome] += 1
        return outcome

    def close(self, *, is_whole: bool) -> None:
        """Append what waits, and bring the list of failures up to date.

        Parameters
        ----------
        is_whole : bool
            Whether all that is listed was taken.
        """
        self.buffer.close_shard()
        for rejected in self.buffer.rejected:
            root, path = rejected.row["root"], rejected.row["path"]
            self._fail(root, path, _NO_DIRECTION)
            self.counts[rejected.outcome] -= 1
            self.counts[Outcome.FAILED] += 1
        listed = self._listing.sources if is_whole else ()
        self.buffer.store.renew_failures(self.failures, read=self._read, listed=listed)

    def prune(self, roots: Collection[str]) -> Gone:
        """Retire the rows whose file, or row of a data set, is gone; call it after closing.

        Parameters
        ----------
        roots : collection of str
            Folders and data sets of the listing.
        """
        stored_roots, paths = self._stored["root"].tolist(), self._stored["path"].tolist()
        unread = [
            (row, find_file(stored_roots[row], ""), find_file(stored_roots[row], paths[row]))
            for file, row in self._row_of_file.items()
            if file not in self._read
        ]
        gone = find_gone(unread, below={find_file(root, "") for root in roots})
        # A data set or an archive is always listed whole.
        whole = (DATASET_PREFIX, ARCHIVE_PREFIX)
        data_sets = {root for root in roots if root.startswith(whole)}
        listed = self._read | self._failures.keys()
        rows = [
            row
            for file, row in self._row_of_file.items()
            if stored_roots[row] in data_sets and file not in listed
        ]
        gone = Gone((*gone.rows, *rows), gone.out_of_reach)
        self.buffer.store = self.buffer.store.retire(gone.rows)
        return gone

    @property
    def failures(self) -> list[Failure]:
        """What could not be read."""
        return list(self._failures.values())

    def _fail(self, root: str, path: str, reason: str) -> None:
        file = join(root, path)
        source = self._listing.listed_by.get(file, "")
        self._failures[file] = Failure(root, path, reason, source)

    def _take_readable(self, image: Prepared, old_row: int | None) -> Outcome:
        root, path = image.listed.root, image.listed.path
        said = self._listing.says.get(join(root, path)) or Said.infer(image.listed.labels)
        stored = {} if old_row is None else {n: c[old_row] for n, c in self._columns.items()}
        is_same_file = stored.get("sha256") == image.facts["sha256"]
        before = find_said({name: stored[name] for name in stored if name not in _GIVEN})
        # What was said of a file is not said of another that has its name.
        known = said.replace(before if is_same_file else {}, image.listed.labels)
        if old_row is not None:
            self._count_changes(before, known, said)
            is_known = _are_same(known, before) and not self._is_emptied[old_row]
            if is_same_file and is_known:
                return Outcome.KEPT
            if root != stored["root"] and root.startswith(stored["root"].rstrip(os.sep) + os.sep):
                # The outermost of the folders that it was listed from, in whatever order.
                root, path = stored["root"], stored["path"]
        row = {"root": root, "path": path, **image.facts, **known}
        return self.buffer.add(row, image.pixels, image.look, replaces=old_row)

    def _count_changes(
        self, before: Mapping[str, Any], after: Mapping[str, Any], said: Said
    ) -> None:
        old, new = get_lineage(before), get_lineage(after)
        if said.lineage or said.derives or COMMON_NAME in said.columns or old != new:
            self.labels.count(old if any(old) else None, new if any(new) else None)
        for name in (said.columns | before.keys()) - _LABELS:
            if name in said.columns or name not in after:
                self.values.count(before.get(name), after.get(name))


def _are_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)


def _count_cores() -> int:
    # What this process may use, which on a shared machine is less than there are.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _iter_listing(table: ImageTable) -> Iterator[Listed]:
    frame: pd.DataFrame = table.frame
    labels = [c for c in frame.columns if c not in LOCATION_COLUMNS and c not in FACT_COLUMNS]
    locations = zip(frame["root"], frame["path"], strict=True)
    values = frame[labels].itertuples(index=False, name=None)
    for (root, path), row in zip(locations, values, strict=True):
        by_name: Mapping[str, Any] = dict(zip(labels, row, strict=True))
        yield Listed(str(root), str(path), by_name)
