"""Rows on their way into a store: shard by shard, or all at once when all are there."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.embedding.preparation import Listed, prepare
from bioprobe.errors import SourceError
from bioprobe.files import explaining_refusal, sync
from bioprobe.images.image_table import FACT_COLUMNS, concatenate
from bioprobe.images.location import Bounds, find_file
from bioprobe.images.placeholders import find_placeholders
from bioprobe.interchange.image_rows import RowNaming, read_image_rows
from bioprobe.interchange.vector_source import BLOCK_ROWS, VectorBatch, VectorSource
from bioprobe.result import Notes, Record
from bioprobe.sources.listing import join
from bioprobe.store import EmbeddingStore
from bioprobe.store.failures import Failure
from bioprobe.taxonomy import RANKS

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd


# How far the length of a unit vector of float16 may be from 1.
_UNIT_TOLERANCE = 2e-3


@dataclasses.dataclass(frozen=True, repr=False)
class ImportSummary(Record):
    """What came of an import.

    Parameters
    ----------
    store : Path
        Folder of the store.
    layout : str
        Layout of the source.
    n_imported : int
        Rows added.
    n_failed : int
        Rows without a usable vector; the store's failures list them.
    n_unlabelled : int
        Added rows without a name at any rank.
    dim : int
        Length of a vector.
    norms : tuple of float
        Smallest and largest norm of the vectors in the source.
    logit_scale : float
        Of the store; 1.0 where nobody knows it.
    left_out : tuple of str
        Columns of the source that an image table cannot hold.
    n_placeholders : int
        Added rows with a label that looks like none, such as ``#N/A``.
    placeholders : dict of str to int
        Added rows of each such label.
    n_emptied, emptied
        The same of labels that were said to be none, and are left empty.
    is_whole_numbers : bool
        Whether all numbers of all vectors are whole, which no encoder's are.
    mean_cosine : float
        Mean over all pairs of the added rows.
    notes : tuple of Note
        What is to be said of it.
    """

    store: Path
    layout: str
    n_imported: int
    n_failed: int
    n_unlabelled: int
    dim: int
    norms: tuple[float, float]
    logit_scale: float
    left_out: tuple[str, ...]
    n_placeholders: int = 0
    placeholders: dict[str, int] = dataclasses.field(default_factory=dict)
    n_emptied: int = 0
    emptied: dict[str, int] = dataclasses.field(default_factory=dict)
    is_whole_numbers: bool = False
    mean_cosine: float = 0.0
    notes: Notes = ()

    @property
    def is_normalised(self) -> bool:
        """Whether the vectors had unit length in the source, to the precision of float16."""
        return all(abs(norm - 1) < _UNIT_TOLERANCE for norm in self.norms)


class Intake:
    """Takes rows into a store, shard by shard, and counts what comes.

    Whatever ends it, the store has whole shards of the rows until then.
    """

    def __init__(self, target: EmbeddingStore, source: VectorSource, naming: RowNaming) -> None:
        self._target = self._store = target
        self._source = source
        self._naming = naming
        earlier = target.read_failures()
        self._failed_before = set(map(join, earlier["root"], earlier["path"]))
        self._read: set[str] = set()
        self._failures: list[Failure] = []
        self._waiting: list[tuple[pd.DataFrame, npt.NDArray[np.float32]]] = []
        self._n_waiting = self._n_read = self._n_unlabelled = 0
        self._norms = (np.inf, 0.0)
        self._sum = np.zeros(source.dim)
        self._is_whole_numbers = True
        self._n_placeholders = self._n_emptied = 0
        self._placeholders: collections.Counter[str] = collections.Counter()
        self._emptied: collections.Counter[str] = collections.Counter()

    def add(self, batch: VectorBatch) -> None:
        """Take the rows of a batch, or list why not."""
        frame = read_image_rows(
            batch.table, self._source.path, self._n_read, self._naming, self._source.declaration
        )
        self._check_names(frame)
        self._n_read += len(frame)
        norms = np.linalg.norm(batch.vectors.astype(np.float64), axis=1)
        usable = np.isfinite(norms) & (norms > 0)
        if self._source.is_unit:
            usable &= np.abs(norms - 1) < _UNIT_TOLERANCE
        for row in np.flatnonzero(~usable):
            reason = _explain(int(batch.lengths[row]), float(norms[row]), self._source.dim)
            self._failures.append(Failure(frame["root"].iloc[row], frame["path"].iloc[row], reason))
        if usable.any():
            said = find_placeholders(frame[usable].reset_index(drop=True), self._naming.no_label)
            kept = said.frame
            if self._naming.root is not None:
                kept = _read_pictures(kept)
            if self._failed_before:
                self._read |= self._failed_before & set(map(join, kept["root"], kept["path"]))
            left = find_placeholders(kept)
            self._n_emptied += said.n_rows
            self._emptied.update(said.counts)
            self._n_placeholders += left.n_rows
            self._placeholders.update(left.counts)
            # In float64 first: what is very long or short in float32 has a direction too.
            unit = batch.vectors[usable] / norms[usable, np.newaxis]
            self._sum += unit.sum(axis=0)
            rounded = np.rint(batch.vectors[usable])
            self._is_whole_numbers &= bool((rounded == batch.vectors[usable]).all())
            self._take(kept, unit.astype(np.float32), norms[usable])

    def finish(self) -> None:
        """Write the rows that wait, and the list of failures.

        Raises
        ------
        SourceError
            If the store is empty, as no row can be used.
        """
        self._close_shard()
        self._check_any()
        self._store.renew_failures(self._failures, read=self._read)

    def summarise(self, layout: str) -> ImportSummary:
        """Return the counts."""
        return ImportSummary(
            store=self._target.folder,
            layout=layout,
            n_imported=self._n_read - len(self._failures),
            n_failed=len(self._failures),
            n_unlabelled=self._n_unlabelled,
            dim=self._source.dim,
            norms=(float(self._norms[0]), float(self._norms[1])),
            logit_scale=self._target.manifest.logit_scale,
            left_out=self._source.left_out,
            n_placeholders=self._n_placeholders,
            n_emptied=self._n_emptied,
            placeholders=dict(self._placeholders.most_common()),
            emptied=dict(self._emptied.most_common()),
            is_whole_numbers=self._is_whole_numbers,
            mean_cosine=self._find_mean_cosine(),
        )

    def _find_mean_cosine(self) -> float:
        n = self._n_read - len(self._failures)
        # The square of the sum is n ones and each pair twice.
        return float((self._sum @ self._sum - n) / (n * (n - 1))) if n > 1 else 0.0

    def _check_names(self, frame: pd.DataFrame) -> None:
        """Refuse names that may not come; who gives rows has looked already."""

    def _check_any(self) -> None:
        if not len(self._store) and self._failures:
            reason = self._failures[0].reason
            msg = (
                f"{self._source.path}: none of {self._n_read} rows can be used; the first: {reason}"
            )
            raise SourceError(msg)

    def _take(
        self, frame: pd.DataFrame, unit: npt.NDArray[np.float32], norms: npt.NDArray[np.float64]
    ) -> None:
        self._norms = (min(self._norms[0], norms.min()), max(self._norms[1], norms.max()))
        self._n_unlabelled += int((frame[list(RANKS)] == "").all(axis=1).sum())
        self._waiting.append((frame, unit))
        self._n_waiting += len(frame)
        if self._n_waiting >= BLOCK_ROWS:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._waiting:
            frames, vectors = zip(*self._waiting, strict=True)
            self._store = self._store.append(concatenate(frames), np.concatenate(vectors))
        self._waiting, self._n_waiting = [], 0


class Draft(Intake):
    """A store beside the target, which the target takes over when it is complete."""

    def __init__(self, target: EmbeddingStore, source: VectorSource, naming: RowNaming) -> None:
        super().__init__(target, source, naming)
        stored = target.images.frame.iloc[target.rows]
        self._seen = set(zip(stored["root"], stored["path"], strict=True))

    @contextlib.contextmanager
    def build(self) -> Iterator[Draft]:
        """Keep the draft in a temporary folder inside the target's while the block runs."""
        manifest, folder = self._target.manifest, self._target.folder
        with contextlib.ExitStack() as held:
            with explaining_refusal(folder):
                scratch = held.enter_context(
                    tempfile.TemporaryDirectory(prefix=".import-", dir=folder)
                )
            self._store = EmbeddingStore.create(
                Path(scratch, "store"), manifest.encoder, dim=manifest.dim, dtype=manifest.dtype
            )
            yield self

    def finish(self) -> None:
        """Hand everything over to the target."""
        self._close_shard()
        self._check_any()
        _move_shards(self._store, self._target)
        self._target.renew_failures(self._failures, read=self._read)

    def _check_names(self, frame: pd.DataFrame) -> None:
        for row, place in enumerate(zip(frame["root"], frame["path"], strict=True)):
            if place in self._seen:
                _refuse_name(self._source.path, self._n_read + row, place[1], self._target)
            self._seen.add(place)


def _read_pictures(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill in what the picture files of rows say that nobody read yet, where they are there.

    A store shows no picture whose bytes it does not know
    (:meth:`bioprobe.images.location.ImageLocation.read_bytes`).
    """
    places = list(zip(frame["root"], frame["path"], strict=True))
    unread = np.flatnonzero(frame["sha256"] == "")
    bounds = {root: Bounds.below(find_file(root, "")) for root, _ in places}

    def read(row: int) -> Mapping[str, Any]:
        root, path = places[row]
        file = find_file(root, path)
        if not file.is_file() or not bounds[root].hold(os.path.normpath(file)):
            return {}
        return prepare(Listed(root, path, {}), (), None).facts

    with ThreadPoolExecutor(thread_name_prefix="bioprobe-read") as pool:
        known = dict(zip(unread.tolist(), pool.map(read, unread.tolist()), strict=True))
    filled = {
        name: [known.get(row, {}).get(name, value) for row, value in enumerate(frame[name])]
        for name in FACT_COLUMNS
    }
    return frame.assign(**filled)


def _refuse_name(source: Path | str, row: int, path: str, target: EmbeddingStore) -> None:
    stored = target.images.column("path").iloc[target.rows]
    if (stored == path).any():
        msg = (
            f"{source} row {row}: {path!r} is in {target.folder} already; import only what is new, "
            "or into another --store"
        )
    else:
        msg = (
            f"{source} row {row}: {path!r} names an earlier row too; name a column that tells the "
            "rows apart: --path-column"
        )
    raise SourceError(msg)


def _explain(length: int, norm: float, dim: int) -> str:
    if length < 0:
        return "no vector"
    if length != dim:
        return f"a vector of dim {length}, expected {dim}"
    if norm == 0:
        return "a vector of zeros"
    if not np.isfinite(norm):
        return "a vector of numbers that are not finite"
    return f"a vector of length {norm:.3g}, where the source says that all have length 1"


def _move_shards(draft: EmbeddingStore, target: EmbeddingStore) -> None:
    shards_dir = target.folder / "shards"
    records = []
    first = len(target.manifest.shards)
    with explaining_refusal(shards_dir):
        shards_dir.mkdir(exist_ok=True)
        for number, record in enumerate(draft.manifest.shards, start=first):
            name = target.manifest.name_shard(number)
            # What an interrupted run left under this name is in no manifest.
            shutil.rmtree(shards_dir / name, ignore_errors=True)
            (draft.folder / "shards" / record.name).rename(shards_dir / name)
            records.append(dataclasses.replace(record, name=name))
        sync(shards_dir)
    shards = (*target.manifest.shards, *records)
    dataclasses.replace(target.manifest, shards=shards).write(target.folder)
