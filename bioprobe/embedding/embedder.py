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

import numpy as np

from bioprobe.cells import write_cell
from bioprobe.embedding.encoder_choice import OnDemandEncoder
from bioprobe.embedding.preparation import Listed, Prepared, prepare_on_demand
from bioprobe.embedding.shard_buffer import EmbedSummary, Outcome, ShardBuffer
from bioprobe.encoders.encoder import Encoder
from bioprobe.images.image_table import (
    FACT_COLUMNS,
    LOCATION_COLUMNS,
    ImageTable,
    find_placeholders,
)
from bioprobe.images.location import DATASET_PREFIX, find_file
from bioprobe.images.reading import MAX_PIXELS_PX, allow_pixels, ignore_pillow_warnings
from bioprobe.store import EmbeddingStore

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


def find_said(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are neither empty nor missing.

    Parameters
    ----------
    values : mapping
        Column to value, of any type that a table may hold.

    Examples
    --------
    >>> find_said({"family": "Felidae", "genus": "", "site": None, "count": 0})
    {'family': 'Felidae', 'count': 0}
    """
    return {name: value for name, value in values.items() if _says(value)}


def is_said(values: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Tell whether a row of the store has every one of the values.

    Parameters
    ----------
    values : mapping
        As :func:`find_said` returns it.
    row : mapping
        Column to value.
    """
    said = find_said(row)
    return all(name in said and _plain(said[name]) == _plain(values[name]) for name in values)


def _says(value: object) -> bool:
    import pandas as pd

    if not pd.api.types.is_scalar(value):
        return value is not None
    return not (pd.isna(value) or value == "")  # type: ignore[call-overload]


def _plain(value: object) -> object:
    # A list comes back from Parquet as an array, which compares element by element.
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    # By its text: a column is text as soon as one source has another type there.
    return write_cell(value)


_NO_DIRECTION = "the encoder gave a vector of zeros, or of numbers that are not finite"


def embed_images(
    table: ImageTable,
    encoder: Encoder | OnDemandEncoder,
    store: EmbeddingStore,
    *,
    n_threads: int | None = None,
    max_pixels_px: int = MAX_PIXELS_PX,
    advance: Callable[[Outcome], None] | None = None,
    prune: bool = False,
    no_label: Collection[str] = (),
) -> EmbedSummary:
    """Embed the images of a listing that a store does not have.

    An image is known by the SHA-256 of its file: what is in the store unchanged is not decoded,
    the same bytes under another name take the vector they have, and a file whose content changed
    is embedded and its old row retired. A known image that is listed with new labels gets a new
    row with these. What cannot be read is listed in the store's failures, and the run goes on.
    An interrupted run keeps every shard that was closed, and on Ctrl-C also what was read.

    Parameters
    ----------
    table : ImageTable
        Listing; its facts are not used.
    encoder : Encoder or OnDemandEncoder
        Encoder of the store; one on demand is loaded only when an image is new.
    store : EmbeddingStore
        Store to append to; open it again to see the result.
    n_threads : int or None
        Threads that read and decode, ≥ 1; None is one a core.
    max_pixels_px : int
        Images of more pixels fail before they are decoded.
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
        run = _Run(ShardBuffer(EmbeddingStore.open(store.folder), source), no_label)
        prepared = prepare_on_demand(
            _iter_listing(table),
            run.buffer.row_of_sha256,
            source,
            n_threads=n_threads or _count_cores(),
            max_pixels_px=max_pixels_px,
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
            run.close()
        raise
    run.close()


class _Run:
    """Decide for each prepared image what the store needs of it."""

    def __init__(self, buffer: ShardBuffer, no_label: Collection[str]) -> None:
        self.buffer = buffer
        self.counts: collections.Counter[Outcome] = collections.Counter()
        stored = find_placeholders(buffer.store.images.frame, no_label)
        self._stored, self._is_emptied = stored.frame, stored.rows
        # By the whole path: a listing may start from another root than the store did.
        locations = self._stored["root"], self._stored["path"]
        files = [_join(root, path) for root, path in zip(*locations, strict=True)]
        self._row_of_file = {files[row]: int(row) for row in buffer.store.rows}
        self._failures: dict[str, tuple[str, str, str]] = {}
        self._read: set[str] = set()

    def take(self, image: Prepared) -> Outcome:
        """Add one prepared image to the store, or to the failures, or leave it as it is."""
        listed = image.listed
        file = _join(listed.root, listed.path)
        if image.reason:
            self._failures[file] = (listed.root, listed.path, image.reason)
            outcome = Outcome.FAILED
        else:
            self._read.add(file)
            outcome = self._take_readable(image, self._row_of_file.get(file))
        self.counts[outcome] += 1
        return outcome

    def close(self) -> None:
        """Append what waits, and replace the list of failures."""
        self.buffer.close_shard()
        for rejected in self.buffer.rejected:
            root, path = rejected.row["root"], rejected.row["path"]
            self._failures[_join(root, path)] = (root, path, _NO_DIRECTION)
            self.counts[rejected.outcome] -= 1
            self.counts[Outcome.FAILED] += 1
        self._write_failures()

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
        # A data set is always listed whole.
        data_sets = {root for root in roots if root.startswith(DATASET_PREFIX)}
        listed = self._read | self._failures.keys()
        rows = [
            row
            for file, row in self._row_of_file.items()
            if stored_roots[row] in data_sets and file not in listed
        ]
        gone = Gone((*gone.rows, *rows), gone.out_of_reach)
        self.buffer.store = self.buffer.store.retire(gone.rows)
        return gone

    def _take_readable(self, image: Prepared, old_row: int | None) -> Outcome:
        labels = find_said(image.listed.labels)
        row = {"root": image.listed.root, "path": image.listed.path, **image.facts, **labels}
        if old_row is not None:
            stored = {str(name): value for name, value in self._stored.iloc[old_row].items()}
            if stored["sha256"] == image.facts["sha256"]:
                if is_said(labels, stored) and not self._is_emptied[old_row]:
                    return Outcome.KEPT
                row = stored | row
        return self.buffer.add(row, image.pixels, replaces=old_row)

    def _write_failures(self) -> None:
        import pandas as pd

        store = self.buffer.store
        earlier = store.read_failures()
        settled = self._read | set(self._failures)
        rows = [
            row
            for row in earlier.itertuples(index=False, name=None)
            if _join(row[0], row[1]) not in settled
        ]
        rows += self._failures.values()
        if rows or len(earlier):
            store.write_failures(pd.DataFrame(rows, columns=list(earlier.columns), dtype=object))


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


def _join(root: str, path: str) -> str:
    return os.path.join(root, path)  # noqa: PTH118 - a Path for each row takes ten times as long
