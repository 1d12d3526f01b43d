"""The image table of a store, read by column and row group as it is asked for.

The file of a shard says in its footer which columns it has, of which types, and the least and
largest value of each row group: whether all paths start from one folder, or any row is a region, is
known without reading a cell. A label is read as the place of its name among the few distinct ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.cells import join_column, mend_floats
from bioprobe.images.image_table import COLUMNS, ROWS_AT_ONCE, ImageTable, complete_column
from bioprobe.images.regions import REGION
from bioprobe.names import unify
from bioprobe.store.lease import Lease
from bioprobe.store.manifest import ShardRecord
from bioprobe.store.shard import ShardImages
from bioprobe.taxonomy.columns import LABEL_COLUMNS, LABELS_FROM
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Texts of few distinct values, "" where there is none.
_CODED = (*LABEL_COLUMNS, REGION, LABELS_FROM)
# Of a larger share of the rows the whole column is read.
_FEW = 0.25
# Of so few rows columns are read together: to read each alone takes longer than what is read.
_FEW_ROWS = 20_000
# Types that a column keeps when rows come to it, whatever these rows lack.
_PLAIN = frozenset({"str", "float64", "Int64"})


@dataclasses.dataclass
class _Known:
    """What was read of the first shards of a store before."""

    columns: dict[str, pd.Series[Any]] = dataclasses.field(default_factory=dict)
    codes: dict[str, tuple[npt.NDArray[np.int32], Names]] = dataclasses.field(default_factory=dict)
    contents: npt.NDArray[np.str_] | None = None


@dataclasses.dataclass(frozen=True)
class _Texts:
    """A column of text as its bytes one after the other: half of what as many texts take.

    Parameters
    ----------
    data : bytes
        In UTF-8.
    ends : ndarray of int64, shape (n_rows + 1,)
        Where each text begins, and the last one ends.
    """

    data: bytes
    ends: Rows

    @classmethod
    def of(cls, chunks: Iterable[pa.Array]) -> _Texts:
        """Put arrays of strings together; a hole is as ``""``."""
        parts, n_bytes = list[bytes](), 0
        ends: list[Rows] = [np.zeros(1, dtype=np.int64)]
        for chunk in filter(len, chunks):
            _, offsets, data = chunk.buffers()
            kind = np.int64 if str(chunk.type).startswith("large") else np.int32
            read = np.frombuffer(offsets, dtype=kind)[chunk.offset :][: len(chunk) + 1]
            places: Rows = read.astype(np.int64)
            first, last = int(places[0]), int(places[-1])
            parts.append(data[first:last].to_pybytes() if last > first else b"")
            ends.append(places[1:] + (n_bytes - first))
            n_bytes += last - first
        return cls(b"".join(parts), np.concatenate(ends))

    def take(self, rows: Rows) -> Names:
        """Return the texts of some rows."""
        bounds = zip(self.ends[rows].tolist(), self.ends[rows + 1].tolist(), strict=True)
        return np.array([self.data[start:end].decode() for start, end in bounds], dtype=object)


class Columns:
    """Columns of the image tables of shards, one below the other; what was read is kept.

    Parameters
    ----------
    folder : Path
        Folder of all shards.
    records : sequence of ShardRecord
        In row order.
    before : Columns, optional
        Of the same store as it was before; what it has read of the same shards is not read again.
    lease : Lease, optional
        Keeps the shards where they are: what is not read yet is read from them later.
    """

    def __init__(
        self, folder: Path, records: Sequence[ShardRecord], before: Columns | None = None,
        lease: Lease | None = None,
    ) -> None:  # fmt: skip
        self._lease = lease
        self.records = tuple(records)
        self.starts: Rows = np.cumsum([0, *(one.n_images for one in records)], dtype=np.int64)
        self._shards = [ShardImages(folder, record) for record in records]
        # What is known of the first shards already, and how many these are.
        self._old, self._n_old = _Known(), 0
        if before is not None and self.records[: len(before.records)] == before.records:
            self._n_old = len(before.records)
            self._shards[: self._n_old] = before._shards
            contents = before.kept.get("contents")
            self._old = _Known(dict(before._read), dict(before._codes), contents)
        self._read: dict[str, pd.Series[Any]] = {}
        self._codes: dict[str, tuple[npt.NDArray[np.int32], Names]] = {}
        self._texts: dict[str, _Texts] = {}
        # Whether some rows of a column have the type of the whole, and of how many shards it was
        # read in part.
        self._alike: dict[str, bool] = {}
        self._n_parts: dict[str, int] = {}
        #: What was worked out of columns that never change, by name.
        self.kept: dict[str, Any] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def old_contents(self) -> npt.NDArray[np.str_] | None:
        """What the vectors of the first rows are of, where that is known of before."""
        return self._old.contents

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns, in their order."""
        there = dict.fromkeys(name for one in self._shards for name in one.schema.names)
        return [*COLUMNS, *(name for name in there if name not in COLUMNS)]

    @cached_property
    def is_marked(self) -> bool:
        """Whether no shard is from before cells kept what was written."""
        return all(one.is_marked for one in self._shards)

    def read(self, name: str) -> pd.Series[Any]:
        """Return a column of all rows."""
        if name not in self._read:
            codes = self.number(name) if name in _CODED else None
            self._read[name] = self._join(name) if codes is None else _spell(*codes)
        return self._read[name]

    def read_all(self, names: Sequence[str]) -> dict[str, pd.Series[Any]]:
        """Return some columns of all rows."""
        if len(self) <= _FEW_ROWS:
            known = {*self._read, *self._old.columns, *filter(self._is_numbered, _CODED)}
            read = self._read_shards([name for name in names if name not in known], 0)
            self._read |= {name: column for name, (column, _) in read.items()}
        return {name: self.read(name) for name in names}

    def number(self, name: str) -> tuple[npt.NDArray[np.int32], Names] | None:
        """Return the distinct labels of a column, sorted, and which of them each row has.

        None where the column is not of text in each shard that has it.
        """
        if name not in self._codes:
            if not self._is_numbered(name):
                return None
            self._codes[name] = self._number(name)
        return self._codes[name]

    def _is_numbered(self, name: str) -> bool:
        """Tell whether some shard has a column, and each that has it has it of text."""
        there = [one for one in self._shards if name in one.schema.names]
        return bool(there) and all(_is_text(one.schema.field(name).type) for one in there)

    def count(self, names: Sequence[str], rows: Rows) -> dict[str, tuple[Rows, Names]] | None:
        """Return the distinct labels of columns, and how many of some rows have each.

        The rows are read shard by shard, and not kept. None where a column is not of text.

        Parameters
        ----------
        names : sequence of str
        rows : ndarray of int64, shape (n_rows,)
            Ascending.
        """
        if not all(map(self._is_numbered, names)):
            return None
        place_of: dict[str, dict[str, int]] = {name: {} for name in names}
        counts = {name: np.zeros(0, dtype=np.int64) for name in names}
        bounds = np.searchsorted(rows, self.starts)
        for number, shard in enumerate(self._shards):
            inside = rows[bounds[number] : bounds[number + 1]] - self.starts[number]
            for name, found in _number_shard(shard, place_of).items():
                longer = np.zeros(len(place_of[name]), dtype=np.int64)
                longer[: len(counts[name])] = counts[name]
                if isinstance(found, int):
                    longer[found] += len(inside)
                else:
                    longer += np.bincount(found[inside], minlength=len(longer))
                counts[name] = longer
        return {
            name: (counts[name], np.array(list(place_of[name]), dtype=object)) for name in names
        }

    def take(self, rows: Rows, names: Sequence[str]) -> pd.DataFrame:
        """Return some rows in their order, of the row groups that they are in where these are few.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)
        names : sequence of str
        """
        import pandas as pd

        shards, few = self._divide(rows, names)
        parts = self._take(rows, shards, few) if few else {}
        whole = self.read_all([name for name in names if name not in parts])
        columns = {name: parts[name] if name in parts else whole[name].iloc[rows] for name in names}
        return pd.DataFrame(columns, index=pd.Index(rows), columns=list(names))

    def read_texts(self, rows: Rows, names: Sequence[str]) -> dict[str, Names] | None:
        """Return columns of text of some rows, read as :meth:`take` reads them.

        None where one of them is not of text in each shard.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)
        names : sequence of str
        """
        absent = {name for name in names if name in _CODED and not self._is_anywhere(name)}
        there = [name for name in names if name not in absent]
        if not self._shards or not all(map(self._is_text, there)):
            return None
        shards, few = self._divide(rows, [name for name in there if name not in self._codes])
        parts: dict[str, list[Names]] = {name: [] for name in few}
        asked = [rows[:0]]
        for table, places, here in self._read_parts(rows, shards, few, as_codes=True):
            asked.append(here)
            for name in few:
                parts[name].append(_read_texts(table.column(name))[places])
        order = np.argsort(np.concatenate(asked), kind="stable")
        found: dict[str, Names] = {}
        for name in names:
            if name in absent:
                found[name] = np.full(len(rows), "", dtype=object)
            elif name in few:
                read = np.concatenate(parts[name])[order]
                is_label = name in LABEL_COLUMNS
                found[name] = np.array(list(map(unify, read)), dtype=object) if is_label else read
            elif name in _CODED:
                numbers, distinct = self.number(name) or self._number(name)
                found[name] = distinct[numbers[rows]]
            else:
                found[name] = self._find_texts(name).take(rows)
        return found

    def _is_anywhere(self, name: str) -> bool:
        return any(name in one.schema.names for one in self._shards)

    def _is_text(self, name: str) -> bool:
        return all(
            name in one.schema.names and _is_text(one.schema.field(name).type)
            for one in self._shards
        )

    def _find_texts(self, name: str) -> _Texts:
        if name not in self._texts:
            read = (one.read([name]).column(name) for one in self._shards)
            self._texts[name] = _Texts.of(chunk for column in read for chunk in column.chunks)
        return self._texts[name]

    def _divide(self, rows: Rows, names: Sequence[str]) -> tuple[Rows, list[str]]:
        """Return the shards of few rows, and those of some columns that are read of these alone."""
        shards = np.flatnonzero(np.bincount(np.searchsorted(self.starts, rows, side="right") - 1))
        if not len(rows):
            # The types of its columns are those of none.
            shards = np.arange(min(1, len(self._shards)))
        if len(rows) > _FEW * len(self):
            shards = shards[:0]
        # Many rows are read again when they are asked for again, and not kept.
        counted = len(shards) if 0 < len(rows) <= _FEW_ROWS else 0
        can_be = (name for name in names if len(shards) and self._can_be_read_in_part(name))
        return shards, [name for name in can_be if self._is_read_in_part(name, counted)]

    def find_ends(self, name: str) -> tuple[str, str] | None:
        """Return the first and last text of a column in their order, as footers have them.

        None where they do not say so.

        Parameters
        ----------
        name : str
            Of a column that is ``""`` where a shard has none.
        """
        ends = [
            one.find_ends(name) if name in one.schema.names else ("", "") for one in self._shards
        ]
        known = [one for one in ends if one is not None]
        if not known or len(known) < len(ends):
            return None
        return min(first for first, _ in known), max(last for _, last in known)

    def _can_be_read_in_part(self, name: str) -> bool:
        """Tell whether rows of a column that is not read yet may be read alone."""
        if name in self._read or name in self._texts:
            return False
        if name not in self._alike:
            self._alike[name] = self._is_alike(name)
        return self._alike[name]

    def _is_read_in_part(self, name: str, n_shards: int) -> bool:
        """Tell whether rows of a column are read alone: until all might have been read instead."""
        self._n_parts[name] = self._n_parts.get(name, 0) + n_shards
        return self._n_parts[name] <= len(self._shards)

    def _is_alike(self, name: str) -> bool:
        """Tell whether some rows of a column have the type that it has as a whole."""
        there = [one for one in self._shards if name in one.schema.names]
        if not there or not self.is_marked:
            return False
        kinds = {_describe_type(one.schema, name) for one in there}
        is_whole = len(there) == len(self._shards)
        if len(kinds) > 1 or not kinds <= {"text", "int64", "float64"}:
            return False
        if kinds == {"int64"} and not is_whole:
            return False
        if name in COLUMNS:
            return is_whole or name in _CODED
        # One that is of holes alone in a shard may be of any type.
        return all((one.count_holes(name) or 0) < one.record.n_images for one in there)

    def _take(self, rows: Rows, shards: Rows, names: Sequence[str]) -> dict[str, pd.Series[Any]]:
        import pandas as pd
        import pyarrow as pa

        tables, asked = list[pd.DataFrame](), [rows[:0]]
        for table, places, here in self._read_parts(rows, shards, names):
            asked.append(here)
            some = table.take(pa.array(places)).replace_schema_metadata(None)
            tables.append(some.to_pandas())
        order = np.argsort(np.concatenate(asked), kind="stable")
        found: dict[str, pd.Series[Any]] = {}
        for name in names:
            pieces = [
                one[name]
                if name in one
                else pd.Series([None] * len(one), dtype=self._find_type(name))
                for one in tables
            ]
            joined = complete_column(name, pd.concat(pieces, ignore_index=True), len(rows))
            found[name] = joined.iloc[order].set_axis(rows)
        return found

    def _read_parts(
        self, rows: Rows, shards: Rows, names: Sequence[str], *, as_codes: bool = False
    ) -> Iterator[tuple[pa.Table, Rows, Rows]]:
        """Read the row groups of some shards that some rows are in, a shard at a time.

        Yields
        ------
        table : Table, of the groups of a shard
        places : ndarray of int64, shape (n_here,)
            Where in it rows are.
        here : ndarray of int64, shape (n_here,)
            Which of the rows these are.
        """
        by_row = np.argsort(rows, kind="stable")
        bounds = np.searchsorted(rows[by_row], self.starts)
        for number in shards.tolist() if len(names) else ():
            shard, start = self._shards[number], self.starts[number]
            here = by_row[bounds[number] : bounds[number + 1]]
            groups = np.searchsorted(shard.group_starts, rows[here] - start, side="right") - 1
            needed, of_group = np.unique(groups, return_inverse=True)
            sizes = np.diff(shard.group_starts)[needed]
            before = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
            has = [name for name in names if name in shard.schema.names]
            places = rows[here] - start - shard.group_starts[groups] + before[of_group]
            yield shard.read(has, needed.tolist(), as_codes=as_codes), places, here

    def _find_type(self, name: str) -> Any:  # noqa: ANN401 - of numpy or of pandas
        """Return the type of a column, which some shard has."""
        shard = next(one for one in self._shards if name in one.schema.names)
        return shard.schema.remove_metadata().empty_table().select([name]).to_pandas()[name].dtype

    def _join(self, name: str) -> pd.Series[Any]:
        before = self._old.columns.pop(name, None)
        if before is not None and self.is_marked:
            below, is_there = self._read_shards([name], self._n_old)[name]
            extended = self._extend(before, below, is_there, name=name)
            if extended is not None:
                return extended
        return self._read_shards([name], 0)[name][0]

    def _extend(
        self, before: pd.Series[Any], below: pd.Series[Any], is_there: bool, *, name: str
    ) -> pd.Series[Any] | None:
        """Return a column with the rows that came since; None where its type may be another now."""
        import pandas as pd

        is_plain = str(before.dtype) in _PLAIN
        if not is_there and name not in COLUMNS:
            # Of whole numbers a hole makes another type, and of objects nobody knows what they are.
            below = pd.Series([None] * len(below), dtype=before.dtype) if is_plain else below
        if below.dtype != before.dtype or not (is_plain or name in COLUMNS):
            return None
        return pd.concat([before, below], ignore_index=True)

    def iter_frames(self, names: Sequence[str], rows: Rows) -> Iterator[pd.DataFrame]:
        """Return some rows, those of some shards at a time, which are not kept.

        Parameters
        ----------
        names : sequence of str
            Of columns that have one type in all shards.
        rows : ndarray of int64, shape (n_rows,)
            Ascending.
        """
        import pandas as pd

        bounds, first = np.searchsorted(rows, self.starts), 0
        while first < len(self._shards):
            # Shards of a store that grew picture by picture are read together.
            at = self.starts[first] + ROWS_AT_ONCE
            last = max(first + 1, int(np.searchsorted(self.starts, at, side="right")) - 1)
            asked = rows[bounds[first] : bounds[last]]
            if len(asked):
                read = self._read_shards(names, first, last)
                frame = pd.DataFrame({name: column for name, (column, _) in read.items()})
                yield frame.iloc[asked - self.starts[first]].set_axis(asked)
            first = last

    def _read_shards(
        self, names: Sequence[str], first: int, last: int | None = None
    ) -> dict[str, tuple[pd.Series[Any], bool]]:
        """Read columns of the shards from one on; and tell of each whether any of them has it."""
        shards = self._shards[first:last]
        frames = mend_floats([_to_frame(one, names) for one in shards]) if names else []
        sizes = [one.record.n_images for one in shards]
        found: dict[str, tuple[pd.Series[Any], bool]] = {}
        for name in names:
            parts = [one.get(name) for one in frames]
            joined, is_there = None, any(one is not None for one in parts)
            if is_there:
                joined = parts[0] if len(parts) == 1 else join_column(parts, sizes)
            found[name] = complete_column(name, joined, sum(sizes)), is_there
        return found

    def _number(self, name: str) -> tuple[npt.NDArray[np.int32], Names]:
        numbers = np.empty(len(self), dtype=np.int32)
        place_of: dict[str, int] = {}
        first = 0
        if name in self._old.codes:
            known, distinct = self._old.codes.pop(name)
            place_of = {label: place for place, label in enumerate(distinct.tolist())}
            numbers[: len(known)] = known
            first = self._n_old
        for number, shard in enumerate(self._shards[first:], start=first):
            start, stop = self.starts[number], self.starts[number + 1]
            numbers[start:stop] = _number_shard(shard, {name: place_of})[name]
        labels = np.array(list(place_of), dtype=object)
        order = np.argsort(labels, kind="stable")
        places = np.empty(len(labels), dtype=np.int32)
        places[order] = np.arange(len(labels), dtype=np.int32)
        if len(labels) == 1:
            # All rows have it: nothing is held of each.
            return np.broadcast_to(places, len(numbers)), labels
        return places[numbers], labels[order]


class StoredTable(ImageTable):
    """The image table of a store, of which only what is asked for is read.

    Parameters
    ----------
    stored : Columns
    changed : mapping of str to Series, optional
        Columns in place of those of their names, or beside them.
    """

    def __init__(
        self, stored: Columns, changed: Mapping[str, pd.Series[Any]] | None = None
    ) -> None:
        self.stored = stored
        self._changed = dict(changed or {})
        self.__dict__.update(derived=(), not_derived={})

    def __len__(self) -> int:
        return len(self.stored)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All columns of all rows."""
        return self.select(self.columns)

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns, in their order."""
        names = self.stored.names
        return [*names, *(name for name in self._changed if name not in names)]

    def column(self, name: str) -> pd.Series[Any]:
        """Return a column of all rows."""
        if name not in self.columns:
            raise KeyError(name)
        return self._changed[name] if name in self._changed else self.stored.read(name)

    def select(self, names: Sequence[str]) -> pd.DataFrame:
        """Return some columns of all rows."""
        import pandas as pd

        if gone := set(names).difference(self.columns):
            raise KeyError(min(gone))
        stored = self.stored.read_all([name for name in names if name not in self._changed])
        columns = {
            name: self._changed[name] if name in self._changed else stored[name] for name in names
        }
        return pd.DataFrame(columns, index=range(len(self)), columns=list(names), copy=False)

    def take(self, rows: Rows, names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return some rows in their order, numbered as in the table.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)
        names : sequence of str, optional
            Columns; by default all.
        """
        wanted = self.columns if names is None else list(names)
        stored = [name for name in wanted if name not in self._changed]
        frame = self.stored.take(rows, stored)
        if len(stored) < len(wanted):
            others = {
                name: self._changed[name].iloc[rows] for name in wanted if name in self._changed
            }
            frame = frame.assign(**others)[wanted]
        return frame

    def iter_frames(self, names: Sequence[str], rows: Rows | None = None) -> Iterator[pd.DataFrame]:
        """Return some rows as :meth:`take` does, some at a time.

        Of many rows, in their order, what is read is not kept.
        """
        asked = np.arange(len(self)) if rows is None else rows
        is_streamed = len(asked) > _FEW_ROWS and set(names).isdisjoint(self._changed)
        if is_streamed and bool((np.diff(asked) > 0).all()):
            return self.stored.iter_frames(names, asked)
        return super().iter_frames(names, asked)

    def read_texts(self, rows: Rows, names: Sequence[str]) -> dict[str, Names]:
        """Return columns of some rows in their order, which are of text."""
        found = None
        if not any(name in self._changed for name in names):
            found = self.stored.read_texts(rows, names)
        return super().read_texts(rows, names) if found is None else found

    def with_columns(self, columns: Mapping[str, pd.Series[Any]]) -> StoredTable:
        """Return the same table with some columns in place of those of their names, or beside."""
        table = StoredTable(self.stored, {**self._changed, **columns})
        table.__dict__.update(derived=self.derived, not_derived=self.not_derived)
        return table

    def number_labels(self, level: str) -> tuple[npt.NDArray[np.int32], Names]:
        """Return the distinct labels at a rank or in a column, and which of them each row has."""
        codes = None
        if level in LABEL_COLUMNS and level not in self._changed:
            codes = self.stored.number(level)
        return super().number_labels(level) if codes is None else codes

    def count_labels(self, levels: Sequence[str], rows: Rows) -> dict[str, tuple[Rows, Names]]:
        """Return the distinct labels at some ranks, and how many of some rows have each."""
        counts = None
        if not any(level in self._changed or level not in LABEL_COLUMNS for level in levels):
            counts = self.stored.count(levels, rows)
        return super().count_labels(levels, rows) if counts is None else counts

    def has_label(self, level: str) -> bool:
        """Tell whether any row has a label at a rank, or a common name."""
        ends = None if level in self._changed else self.stored.find_ends(level)
        return super().has_label(level) if ends is None else ends != ("", "")

    @cached_property
    def has_one_root(self) -> bool:
        """Whether all paths start from one folder, so that they name the files."""
        ends = self.stored.find_ends("root")
        return (ends is not None and ends[0] == ends[1]) or super().has_one_root

    @cached_property
    def has_regions(self) -> bool:
        """Whether any row is not the only one of a whole image."""
        return self.stored.find_ends(REGION) != ("", "") and super().has_regions

    @cached_property
    def file_names(self) -> list[str]:
        """Names of the files, as answers name the images."""
        if "file_names" not in self.stored.kept:
            self.stored.kept["file_names"] = super().file_names
        return self.stored.kept["file_names"]  # type: ignore[no-any-return]

    @cached_property
    def contents(self) -> npt.NDArray[np.str_]:
        """What the vector of each row is of: a SHA-256 of the bytes, of a box with it."""
        if "contents" not in self.stored.kept:
            before = self.stored.old_contents
            if before is None:
                self.stored.kept["contents"] = super().contents
            else:
                later = np.arange(len(before), len(self), dtype=np.int64)
                added = ImageTable(self.take(later, COLUMNS)).contents
                self.stored.kept["contents"] = np.concatenate([before, added])
        return self.stored.kept["contents"]  # type: ignore[no-any-return]

    @cached_property
    def identities(self) -> pa.FixedSizeBinaryArray:
        """16 bytes of each row that tell it from all others."""
        if "identities" not in self.stored.kept:
            self.stored.kept["identities"] = super().identities
        return self.stored.kept["identities"]


def _spell(numbers: npt.NDArray[np.int32], distinct: Names) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series(distinct[numbers], dtype=object)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)  # type: ignore[no-any-return]


def _describe_type(schema: pa.Schema, name: str) -> str:
    """Return the type of a column as Parquet and the frame that was written have it."""
    kind = schema.field(name).type
    if _is_text(kind):
        return "text"
    said = (schema.pandas_metadata or {}).get("columns", ())
    written = next((one["numpy_type"] for one in said if one["name"] == name), "")
    return str(kind).replace("double", "float64") if written in {"int64", "float64"} else written


def _number_shard(
    shard: ShardImages, place_of: Mapping[str, dict[str, int]]
) -> dict[str, int | npt.NDArray[np.int32]]:
    """Return the place of each row's label in some columns, or the one place that all have.

    New labels are added.
    """
    found: dict[str, int | npt.NDArray[np.int32]] = {}
    for name, places in place_of.items():
        ends = shard.find_ends(name) if name in shard.schema.names else ("", "")
        if ends is not None and ends[0] == ends[1]:
            # The footer says that all rows have this one.
            found[name] = places.setdefault(unify(ends[0]), len(places))
    read = [name for name in place_of if name not in found]
    if read:
        table = shard.read(read, as_codes=True)
        found |= {name: _number_column(table.column(name), place_of[name]) for name in read}
    return found


def _number_column(column: pa.ChunkedArray, place_of: dict[str, int]) -> npt.NDArray[np.int32]:
    parts = []
    for chunk in column.chunks:
        labels = chunk.dictionary.to_pylist()
        # Of a name that is known already nothing is to be made.
        places = [
            place_of.setdefault(unify(label), len(place_of)) if place is None else place
            for label, place in zip(labels, map(place_of.get, labels), strict=True)
        ]
        hole = place_of.setdefault("", len(place_of)) if chunk.null_count else -1
        parts.append(np.array([*places, hole], dtype=np.int32)[_read_indices(chunk)])
    return np.concatenate(parts)


def _read_texts(column: pa.ChunkedArray) -> Names:
    """Return texts that were read as codes, ``""`` for holes."""
    texts = [
        np.array([*one.dictionary.to_pylist(), ""], dtype=object)[_read_indices(one)]
        for one in column.chunks
    ]
    return np.concatenate(texts) if texts else np.array([], dtype=object)


def _read_indices(codes: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    """Return the places of codes in their dictionary, the one after its last for holes.

    They are read where they lie: the functions of pyarrow import pandas.
    """
    indices, n_codes = codes.indices, len(codes)
    start, stop = indices.offset, indices.offset + n_codes
    validity, data = indices.buffers()
    places = np.frombuffer(data, dtype=str(indices.type))[start:stop].astype(np.int32)
    if indices.null_count:
        bits = np.unpackbits(np.frombuffer(validity, dtype=np.uint8), bitorder="little")
        places[bits[start:stop] == 0] = len(codes.dictionary)
    return places


def _to_frame(shard: ShardImages, names: Sequence[str]) -> pd.DataFrame:
    """Return those columns of a shard that it has, with what the frame said of itself."""
    import pandas as pd

    has = [name for name in names if name in shard.schema.names]
    if not has:
        frame = pd.DataFrame(index=range(shard.record.n_images))
    else:
        frame = shard.read(has).to_pandas()
    frame.attrs = {"bioprobe_cells": 1} if shard.is_marked else {}
    return frame
