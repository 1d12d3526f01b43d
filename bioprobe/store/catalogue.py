"""Rows of a store as people leaf through them: in groups, in an order, a page at a time."""

from __future__ import annotations

import dataclasses
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.images.image_table import LOCATION_COLUMNS, read_level
from bioprobe.images.sequences import find_sequences
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.selections import read_selection, stamp_selection
from bioprobe.types import Names, Rows

T = TypeVar("T")

#: What groups rows beside the columns: their bursts and events, and what a mask says of them.
SEQUENCE, MASK = "sequence", "mask:"
#: Orders beside those by a column: as the rows were added, by the name of the file.
ADDED, FILE = "added", "file"
# A column of a million rows takes 4 MB, an order of them 8.
_KEPT = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Groups:
    """Which group each row of a store is of.

    Parameters
    ----------
    names : list of str
        Of the groups, sorted; ``""`` is that of rows of which nothing is said.
    numbers : ndarray of int32, shape (n_rows,)
        Place of each row's group among the names.
    """

    names: list[str]
    numbers: npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """How many rows each group has.

    Parameters
    ----------
    names : list of str
    n_rows : ndarray of int64, shape (n_groups,)
    firsts : ndarray of int64, shape (n_groups,)
        The first row of each.
    """

    names: list[str]
    n_rows: npt.NDArray[np.int64]
    firsts: Rows


class Memory:
    """The last things that were worked out, each by what it depends on."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def keep(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Return what was made under a key, or make it."""
        try:
            kept: T = self._kept[key]
            # Of several threads another may have put it out meanwhile.
            self._kept.move_to_end(key)
        except KeyError:
            kept = self._kept[key] = make()
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return kept


class Catalogue:
    """What is asked again and again of the table of a store, worked out once.

    Make one with :meth:`of`.

    Parameters
    ----------
    store : EmbeddingStore
        As it was opened; it does not change.
    """

    def __init__(self, store: EmbeddingStore) -> None:
        # It lasts as long as the store, which must not last because of it.
        self._find_store = weakref.ref(store)
        self._memory = Memory()

    @classmethod
    def of(cls, store: EmbeddingStore) -> Catalogue:
        """Return the catalogue of a store, the same one for the same store."""
        found = _CATALOGUES.get(store)
        if found is None:
            found = _CATALOGUES[store] = cls(store)
        return found

    def keep(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Return what was worked out of the whole store under a key, or work it out."""
        return self._memory.keep(key, make)

    def group(self, by: str) -> Groups:
        """Return the groups of all rows.

        Parameters
        ----------
        by : str
            A rank or column; :data:`SEQUENCE` where no column has that name; :data:`MASK` and the
            name of a mask: its reason for each row that it drops, ``kept``, ``dropped`` where it
            gives none, and ``not judged``.

        Raises
        ------
        SelectionError
            If there is no such column.
        StoreError
            If there is no such mask.
        """
        store = self._store
        if by.startswith(MASK):
            name = by.removeprefix(MASK)
            return self._memory.keep(
                (by, stamp_selection(store, name)), lambda: _group_mask(store, name)
            )
        images = store.images
        if by == SEQUENCE and by not in images.columns:
            return self._memory.keep(
                (SEQUENCE,),
                lambda: _number(find_sequences(images, np.arange(len(images))).names),
            )
        level = read_level(by, images)
        return self._memory.keep((level,), lambda: _to_groups(*images.number_labels(level)))

    def count(self, rows: Rows, by: str) -> Counts:
        """Count some rows by group; groups without any are left out."""
        groups = self.group(by)
        numbers = groups.numbers[rows]
        n_rows = np.bincount(numbers, minlength=len(groups.names))
        firsts = np.zeros(len(groups.names), dtype=np.int64)
        firsts[numbers[::-1]] = rows[::-1]
        there = np.flatnonzero(n_rows)
        names = [groups.names[at] for at in there.tolist()]
        return Counts(names, n_rows[there], firsts[there])

    def choose(self, rows: Rows, by: str, value: str) -> Rows:
        """Return those of some rows that are of a group, in their order.

        Raises
        ------
        SelectionError
            If there is no such group.
        """
        groups = self.group(by)
        at = int(np.searchsorted(np.array(groups.names, dtype=object), value))
        if at == len(groups.names) or groups.names[at] != value:
            msg = f"nothing in {self._store.folder} has {value!r} as its {by}"
            raise SelectionError(msg)
        chosen: Rows = rows[groups.numbers[rows] == at]
        return chosen

    def order(self, rows: Rows, by: str) -> Rows:
        """Return some rows in an order.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)
        by : str
            :data:`ADDED`, :data:`FILE`, or a rank or column; with ``-`` before it the other way
            round. Numbers are ordered as such, holes come last.
        """
        key = by.removeprefix("-")
        sign = -1 if key != by else 1
        if key == ADDED:
            return rows if sign > 0 else rows[::-1]
        places = self._memory.keep(("order", key), lambda: self._find_places(key))
        keys = places[rows]
        if sign < 0:
            # What nothing is said of stays last.
            keys = np.where(keys == _LAST, _LAST, -keys)
        ordered: Rows = rows[np.argsort(keys, kind="stable")]
        return ordered

    def find_regions(self, row: int) -> Rows:
        """Return the current rows of the same picture as a row, ascending."""
        store = self._store
        images, own = store.images, np.array([row], dtype=np.int64)
        if not images.has_regions:
            return own[np.isin(own, store.rows)]
        root, path = images.take(own, LOCATION_COLUMNS).iloc[0]
        same = np.flatnonzero((images.column("path") == path).to_numpy())
        same = same[(images.column("root").iloc[same] == root).to_numpy()].astype(np.int64)
        current: Rows = same[np.isin(same, store.rows)]
        return current

    def _find_places(self, by: str) -> npt.NDArray[np.int64]:
        """Return the place of each row's value among the values of a column."""
        import pandas as pd

        images = self._store.images
        if by == FILE:
            values = pd.Series(images.file_names)
        else:
            level = read_level(by, images)
            values = images.column(level)
            if values.dtype == object or str(values.dtype) == "str":
                values = pd.Series(images.labels(level))
        numbers, _ = pd.factorize(values.where(values != ""), sort=True)
        return np.where(numbers < 0, _LAST, numbers).astype(np.int64)

    @property
    def _store(self) -> EmbeddingStore:
        store = self._find_store()
        assert store is not None  # whoever asks has it
        return store


_CATALOGUES: weakref.WeakKeyDictionary[EmbeddingStore, Catalogue] = weakref.WeakKeyDictionary()
# Beyond the place of any value.
_LAST = np.int64(2**62)


def _number(values: npt.NDArray[np.object_]) -> Groups:
    import pandas as pd

    numbers, names = pd.factorize(values, sort=True)
    return _to_groups(numbers.astype(np.int32), np.asarray(names, dtype=object))


def _to_groups(numbers: npt.NDArray[np.int32], names: Names) -> Groups:
    return Groups(list(map(str, names)), numbers)


def _group_mask(store: EmbeddingStore, name: str) -> Groups:
    found = read_selection(store, name)
    values = np.full(len(store), "not judged", dtype=object)
    values[found.judged] = "dropped"
    if "reason" in found.frame:
        reasons = found.frame["reason"].to_numpy(dtype=object)
        said = np.array([isinstance(one, str) and bool(one) for one in reasons])
        values[said] = reasons[said]
    values[found.kept] = "kept"
    return _number(values)
