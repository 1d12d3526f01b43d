"""What goes with a compaction, and what in a store may quote it."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.files import replacing
from bioprobe.images.image_table import ImageTable
from bioprobe.images.regions import REGION, name_content
from bioprobe.store.manifest import Manifest, ShardRecord, find_inside
from bioprobe.store.shard import map_vectors
from bioprobe.store.stored_table import Columns, StoredTable
from bioprobe.taxonomy.columns import LABEL, LABEL_COLUMNS
from bioprobe.types import Mask, Rows

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

Place = tuple[str, str, str]
#: Stands where the name of a picture stood that is gone.
REMOVED_NAME = "(removed)"
# Vectors that are read and compared at once.
_ROWS_AT_ONCE = 8192
# What a person would take for part of the same name.
_PART = r"[\w./\\-]"
_LABELS = (*LABEL_COLUMNS, LABEL)
#: Columns that say where an image is.
PLACE = ("root", "path", REGION)


@dataclasses.dataclass(frozen=True, eq=False)
class Gone:
    """Rows of a store that go, and what is known of those that stay.

    Parameters
    ----------
    folder : Path
        Of the store.
    manifest : Manifest
        As it was before the compaction.
    images : ImageTable
        Of that manifest, row by row.
    rows : ndarray of int64, shape (n_gone,)
        Rows that go: whatever is retired.
    removed : ndarray of int64, shape (n_removed,)
        Those of them that a person had removed.
    stays : tuple of (ShardRecord, ndarray of int64)
        Shards with those of their rows, counted from the first, that the store has afterwards, in
        its order. They are read shard by shard, so that a large table is never held as a whole
        unless something in the store is kept for each of its rows.
    """

    folder: Path
    manifest: Manifest
    images: ImageTable
    rows: Rows
    removed: Rows
    stays: tuple[tuple[ShardRecord, Rows], ...]

    @cached_property
    def kept(self) -> ImageTable:
        """Image table of the rows that the store has afterwards."""
        table = StoredTable(Columns(self.folder / "shards", [record for record, _ in self.stays]))
        starts = table.stored.starts.tolist()
        parts = [start + rows for start, (_, rows) in zip(starts, self.stays, strict=False)]
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
        if len(rows) == len(table):
            return table
        return ImageTable.build(table.take(rows).reset_index(drop=True))

    def _iter_kept(self, names: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Read columns of the rows that the store has afterwards; those that a shard has.

        Yields
        ------
        DataFrame
            Of one shard.
        """
        for record, rows in self.stays:
            table = StoredTable(Columns(self.folder / "shards", [record]))
            yield table.take(rows, [name for name in names if name in table.columns])

    @cached_property
    def is_gone(self) -> Mask:
        """Whether each row goes."""
        gone = np.zeros(len(self.images), dtype=bool)
        gone[self.rows] = True
        return gone

    @cached_property
    def row_of_place(self) -> dict[Place, int]:
        """Row after the compaction by root, path and region; of several the last."""
        places = (place for part in self._iter_kept(PLACE) for place in list_places(part))
        return {place: row for row, place in enumerate(places)}

    @cached_property
    def row_of_content(self) -> dict[str, int]:
        """Row after the compaction by what its vector is of; of several the last."""
        return {content: row for row, content in enumerate(self.kept.contents.tolist()) if content}

    @cached_property
    def places(self) -> frozenset[Place]:
        """Root, path and region of rows that go where no row stays of the same."""
        return self._went[0]

    @cached_property
    def files(self) -> frozenset[str]:
        """Whole paths of pictures of which no row stays, and of failures that are to go."""
        failed = {file for one in self.manifest.removals for file in one.failed}
        return self._went[1] | failed

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What these pictures are called, as no picture that stays is; the longest first."""
        from bioprobe.sources.listing import join

        named, files = set(self.files), self.images.name_files(self.rows).tolist()
        for (root, path, _), name in zip(self._gone_places, files, strict=True):
            if (file := join(root, path)) in self.files:
                named |= {file, path, name}
        for part in self._iter_kept(PLACE) if named else ():
            named.difference_update(part["path"].astype(str))
            named.difference_update(map(join, part["root"].astype(str), part["path"].astype(str)))
        return tuple(sorted(named - {""}, key=lambda one: (-len(one), one)))

    @cached_property
    def _gone_places(self) -> list[Place]:
        return list_places(self.images.take(self.rows, PLACE))

    @cached_property
    def _went(self) -> tuple[frozenset[Place], frozenset[str]]:
        """Places and whole paths of rows that go, but such as a row that stays has too."""
        from bioprobe.sources.listing import join

        places = set(self._gone_places)
        files = {join(root, path) for root, path, _ in places}
        for part in self._iter_kept(PLACE) if places else ():
            places.difference_update(list_places(part))
            files.difference_update(map(join, part["root"], part["path"]))
        return frozenset(places), frozenset(files)

    @cached_property
    def _places(self) -> list[Place]:
        return list_places(self.images.select(PLACE))

    @cached_property
    def hashes(self) -> frozenset[str]:
        """SHA-256 of pictures of which no row stays."""
        gone = set(self.images.take(self.rows, ["sha256"])["sha256"].astype(str)) - {""}
        for part in self._iter_kept(["sha256"]) if gone else ():
            gone.difference_update(part["sha256"].astype(str))
        return frozenset(gone)

    @cached_property
    def contents(self) -> npt.NDArray[np.bytes_]:
        """What the vectors that stay are of, and the pictures that these are in; sorted."""
        parts = [np.zeros(0, dtype="S64")]
        for part in self._iter_kept(["sha256", REGION]):
            hashes = part["sha256"].astype(str)
            parts.append(np.array(hashes, dtype=bytes))
            if (part[REGION] != "").any():
                parts.append(np.array(list(map(name_content, hashes, part[REGION])), dtype=bytes))
        joined = np.concatenate(parts)
        found: npt.NDArray[np.bytes_] = np.unique(joined[joined != b""])
        return found

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels that only pictures had that a person removed, the longest first."""
        there = [one for one in _LABELS if one in self.images.columns]
        old = self.images.take(self.removed, there)
        found = {label for name in there for label in old[name].dropna().unique()}
        for part in self._iter_kept(_LABELS) if found else ():
            for name in part.columns:
                found.difference_update(part[name].dropna().unique())
        return tuple(sorted(map(str, found - {""}), key=lambda one: (-len(one), one)))

    def renumber(self, row: int, name: str) -> int:
        """Return the row of a picture afterwards; -1 where there is none.

        Parameters
        ----------
        row : int
            Its row before.
        name : str
            Its file, as answers name it; what was written of another row is gone.
        """
        if not 0 <= row < len(self._places) or self.images.file_names[row] != name:
            return -1
        if not self.is_gone[row]:
            return int(self._moved[row])
        return self.row_of_place.get(self._places[row], -1)

    @cached_property
    def _moved(self) -> Rows:
        return np.cumsum(~self.is_gone) - 1

    @cached_property
    def _digests(self) -> frozenset[bytes]:
        """What tells the vectors that go, but those of which an equal one stays."""
        found = set[bytes]()
        for gone, vectors in self._iter_vectors(is_gone=True):
            found.update(_digest(vectors[gone]))
        if not found:
            return frozenset()
        for kept, vectors in self._iter_vectors(is_gone=False):
            found.difference_update(_digest(vectors[kept]))
        return frozenset(found)

    def _iter_vectors(self, *, is_gone: bool) -> Iterator[tuple[Mask, npt.NDArray[Any]]]:
        start = 0
        shards = self.manifest.present_shards
        for record in shards:
            chosen = self.is_gone[start : start + record.n_images] == is_gone
            start += record.n_images
            if not chosen.any():
                continue
            vectors = map_vectors(self.folder / "shards", record, self.manifest.dim)
            for first in range(0, len(vectors), _ROWS_AT_ONCE):
                part = slice(first, first + _ROWS_AT_ONCE)
                if chosen[part].any():
                    yield chosen[part], np.asarray(vectors[part])

    def find_vectors(self, array: npt.NDArray[Any]) -> Mask:
        """Tell which rows of an array are vectors that go, in half precision at least.

        Parameters
        ----------
        array : ndarray of float, shape (n, dim)

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        # In this order: whoever keeps no vectors has none read for it.
        if array.ndim != 2 or array.shape[1] != self.manifest.dim or not self._digests:
            return np.zeros(len(array), dtype=bool)
        return np.array([one in self._digests for one in _digest(array)], dtype=bool)

    def find_quoted(self, value: Any) -> list[str]:  # noqa: ANN401 - whatever JSON holds
        """Return the names of :attr:`names` that a value of JSON may quote."""
        text = json.dumps(value, ensure_ascii=False)
        return [name for name in self.names if json.dumps(name, ensure_ascii=False)[1:-1] in text]

    def scrub(self, value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return a value of JSON in which no picture is named that is gone."""
        quoted = self.find_quoted(value)
        return _scrub(value, quoted) if quoted else value


def _scrub(value: Any, names: Sequence[str]) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, str):
        for name in names:
            if value == name:
                return REMOVED_NAME
            value = write_pattern(name).sub(REMOVED_NAME, value)
        return value
    if isinstance(value, dict):
        return {_scrub(key, names): _scrub(inner, names) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_scrub(inner, names) for inner in value]
    return value


def find_gone(folder: Path, manifest: Manifest, images: ImageTable) -> Gone:
    """Return what a compaction of a store takes out."""
    rows = np.array(manifest.retired, dtype=np.int64)
    removed = np.array(manifest.removed, dtype=np.int64)
    stays, start = [], 0
    for record in manifest.present_shards:
        retired = find_inside(manifest.retired, start, start + record.n_images)
        stays.append((record, np.delete(np.arange(record.n_images), np.array(retired, np.int64))))
        start += record.n_images
    return Gone(folder, manifest, images, rows, removed, tuple(stays))


def list_places(frame: pd.DataFrame) -> list[Place]:
    """Return root, path and region of each row of an image table."""
    columns = (frame[name].to_numpy(dtype=object) for name in PLACE)
    return list(zip(*columns, strict=True))


def write_pattern(name: str) -> re.Pattern[str]:
    """Return what finds a name, and not another that it is a part of.

    One that looks like no file, such as a number, is found between quotes alone.
    """
    if re.search(r"[./\\]", name):
        return re.compile(rf"(?<!{_PART}){re.escape(name)}(?!{_PART})")
    return re.compile(rf"(?<=['\"]){re.escape(name)}(?=['\"])")


def _digest(vectors: npt.NDArray[Any]) -> list[bytes]:
    # Zero is added so that there is one zero.
    halves = np.ascontiguousarray(np.asarray(vectors, dtype=np.float16) + np.float16(0))
    return [hashlib.blake2b(row, digest_size=16).digest() for row in halves]


class Changes:
    """Changes to files of a store that are made at once, or not at all.

    What is written waits under other names until :meth:`together` ends; what is to go is removed
    after that. Whoever keeps something of pictures has a ``forget_gone`` of what is gone and of
    these changes: it counts here what it takes out, says what goes as a whole, and raises
    ``StoreError`` where what it reads is damaged or the disk refuses.

    Parameters
    ----------
    is_trial : bool
        Whether nothing is changed, and what would be is counted.
    """

    def __init__(self, *, is_trial: bool = False) -> None:
        self.is_trial = is_trial
        self._stack = contextlib.ExitStack()
        self._after: list[Callable[[], object]] = []
        #: What is to be said of them: sentences.
        self.said: list[str] = []
        #: How many of what was changed.
        self.counts: collections.Counter[str] = collections.Counter()

    def enter(self, context: contextlib.AbstractContextManager[None]) -> None:
        """Enter a context that writes a draft, and gives it its name when it ends."""
        if not self.is_trial:
            self._stack.enter_context(context)

    def replace(self, path: Path) -> Path:
        """Return a temporary path that takes the place of a file at the end."""
        if self.is_trial:
            return Path(self._stack.enter_context(tempfile.TemporaryDirectory()), path.name)
        return self._stack.enter_context(replacing(path))

    def afterwards(self, act: Callable[[], object]) -> None:
        """Do something once all is in place: what needs no space on the disk."""
        self._after.append(act)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Drafts are made and the one change of the block; then all take their names."""
        with self._stack:
            yield
        for act in () if self.is_trial else self._after:
            act()
