"""The image table: one row an image."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.cells import join_column, name_cells, settle
from bioprobe.errors import SelectionError, SourceError, TaxonomyError
from bioprobe.images.conditions import list_names, match_rows
from bioprobe.images.identity import (
    IDENTITY,
    digest_rows,
    join_texts,
    name_contents,
    number_rows,
)
from bioprobe.images.location import ImageLocation, find_file
from bioprobe.images.people import PERSON_COLUMNS, WHOLE, find_people, tell_people
from bioprobe.images.regions import REGION, Region, get_box, name_content
from bioprobe.names import find_nearest, unify
from bioprobe.options import KEEP, LEAVE_OUT
from bioprobe.taxonomy import RANKS, Rank, Taxonomy
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    LABEL_COLUMNS,
    LABELS_FROM,
    fill_holes,
    to_taxonomy,
)
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LOCATION_COLUMNS = ("root", "path")
#: Rows of the table that are read together where these are many.
ROWS_AT_ONCE = 65_536
# Where more values are possible for each row, these are sorted, not counted.
_SPARSE = 8
FACT_COLUMNS = ("sha256", "n_bytes", "width_px", "height_px", "mode")
#: Free columns that a run gives a picture that is not whole: the share of its rows that is there,
#: in [0, 1], and what is wrong, in the words of :mod:`bioprobe.images.damage`.
DAMAGE_COLUMNS = ("share_present", "damage")
COLUMNS: tuple[str, ...] = (*LOCATION_COLUMNS, REGION, *FACT_COLUMNS, *LABEL_COLUMNS, LABELS_FROM)


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """Images with their facts, labels and whatever else their source said of them.

    That of a store (:class:`bioprobe.store.stored_table.StoredTable`) reads a column once it is
    asked for; :meth:`column`, :meth:`select` and :meth:`take` ask for no more than they return.

    Parameters
    ----------
    frame : DataFrame
        One row an image, with the columns

        - ``root`` and ``path``: a folder, and the image's path relative to it; or a data set,
          ``dataset:SOURCE#SPLIT``, and the name of the row;
        - ``image_region``: which part of the image the row is of, ``""`` for the whole
          (:mod:`bioprobe.images.regions`); root, path and region name a row;
        - ``sha256`` of the file's bytes, ``n_bytes``, ``width_px`` and ``height_px`` when
          upright, ``mode`` as PIL names it before conversion;
        - the seven ranks and ``common_name``, ``""`` where unknown, in the one form in which
          names compare (:func:`bioprobe.names.unify`);
        - ``labels_from``: ``folder`` where these were made from the name of the image's folder,
          ``list:COLUMN`` where a taxon list gave them for the label in that column,
          ``machine:NAME`` where a classifier made them, else ``""``;
        - any further columns, as the source had them.

    derived : tuple of str
        Those of the columns that no source says: they were computed, and are kept beside the table.
    not_derived : mapping of str to str
        Why columns that were computed could not be read, by name.

    Raises
    ------
    SourceError
        If one of these columns is missing.
    """

    frame: pd.DataFrame
    derived: tuple[str, ...] = ()
    not_derived: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [column for column in COLUMNS if column not in self.frame.columns]
        if missing:
            msg = f"an image table lacks the columns {', '.join(missing)}"
            raise SourceError(msg)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in their order."""
        return [str(name) for name in self.frame.columns]

    def column(self, name: str) -> pd.Series[Any]:
        """Return a column of all rows."""
        return self.frame[name]

    def select(self, names: Sequence[str]) -> pd.DataFrame:
        """Return some columns of all rows."""
        return self.frame[list(names)]

    def take(self, rows: npt.NDArray[np.int64], names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return some rows in their order, numbered as in the table.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)
        names : sequence of str, optional
            Columns; by default all.
        """
        frame = self.frame if names is None else self.frame[list(names)]
        return frame.iloc[rows]

    def iter_frames(self, names: Sequence[str], rows: Rows | None = None) -> Iterator[pd.DataFrame]:
        """Return some rows as :meth:`take` does, some at a time.

        Parameters
        ----------
        names : sequence of str
            Columns.
        rows : ndarray of int64, shape (n_rows,), optional
            By default all.
        """
        asked = np.arange(len(self)) if rows is None else rows
        for start in range(0, len(asked), ROWS_AT_ONCE):
            yield self.take(asked[start : start + ROWS_AT_ONCE], names)

    def read_texts(self, rows: Rows, names: Sequence[str]) -> dict[str, Names]:
        """Return columns of some rows in their order, which are of text.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)
        names : sequence of str
            Of :data:`LOCATION_COLUMNS`, the region, ``sha256``, the ranks and the common name.

        Returns
        -------
        dict of str to ndarray of object, each of shape (n_rows,)
        """
        frame = self.take(rows, names)
        return {name: frame[name].astype(str).to_numpy(dtype=object) for name in names}

    def with_columns(self, columns: Mapping[str, pd.Series[Any]]) -> ImageTable:
        """Return the same table with some columns in place of those of their names, or beside.

        Parameters
        ----------
        columns : mapping of str to Series, each of all rows
            None of them says where an image lies, or which its bytes are.
        """
        table = ImageTable(self.frame.assign(**columns), self.derived, self.not_derived)
        for name in ("contents", "file_names", "identities"):
            if name in self.__dict__:
                table.__dict__[name] = self.__dict__[name]
        return table

    @classmethod
    def build(cls, frame: pd.DataFrame) -> ImageTable:
        """Complete a table of images with the columns it lacks.

        Parameters
        ----------
        frame : DataFrame
            Any subset of the columns; facts that are missing are 0 or ``""``. A free column
            whose values have several types is made text.
        """
        import pandas as pd

        given = frame.reset_index(drop=True).rename(columns=str)
        free = [column for column in given.columns if column not in COLUMNS]
        # One of each kind for all that are missing.
        fill = functools.cache(_fill_column)
        columns = {
            name: complete_column(name, given[name], len(given))
            if name in given
            else fill(_is_number(name), len(given))
            for name in (*COLUMNS, *free)
        }
        return cls(pd.DataFrame(columns, index=given.index))

    def with_derived(self, columns: Mapping[str, Names], unread: Mapping[str, str]) -> ImageTable:
        """Return the same table with columns that were computed.

        Parameters
        ----------
        columns : mapping of str to ndarray of object, shape (n_images,)
        unread : mapping of str to str
            Why others could not be read.

        Notes
        -----
        A column of whole numbers is one of numbers, so that it is ordered as such.
        """
        if not columns and not unread:
            return self
        typed = {name: _type_values(values) for name, values in columns.items()}
        table = self.with_columns(typed) if typed else copy.copy(self)
        table.__dict__.update(derived=tuple(columns), not_derived=dict(unread))
        return table

    def find_rows(self, files: Collection[str]) -> npt.NDArray[np.int64]:
        """Return the rows of files by their whole paths, ascending."""
        wanted = set(files)
        # The path of a row ends that of its file: few are to be put together.
        ends = {file[at:] for file in wanted for at in _list_starts(file)}
        roots, paths = self.column("root"), self.column("path")
        near = np.flatnonzero(paths.isin(list(ends)).to_numpy())
        pairs = zip(near.tolist(), roots.iloc[near], paths.iloc[near], strict=True)
        found = [row for row, root, path in pairs if os.path.join(root, path) in wanted]  # noqa: PTH118
        return np.array(found, dtype=np.int64)

    @property
    def free_columns(self) -> list[str]:
        """Columns that bioprobe gives no meaning to."""
        return [column for column in self.columns if column not in COLUMNS]

    @cached_property
    def file_names(self) -> list[str]:
        """Names of the files, as answers name the images.

        The path relative to the root. Where files of several roots have the same, theirs start
        from the nearest folder that these files have in common.
        """
        paths = list(map(str, self.column("path").tolist()))
        if self.has_one_root:
            return paths
        root_of: dict[str, str] = {}
        twice = {
            path for root, path in zip(self.column("root").tolist(), paths, strict=True)
            if root_of.setdefault(path, root) != root
        }  # fmt: skip
        if not twice:
            return paths
        rows = [row for row, path in enumerate(paths) if path in twice]
        files = [os.path.join(self.column("root").iloc[row], paths[row]) for row in rows]  # noqa: PTH118
        names = _name_from_common(files)
        if not set(names).isdisjoint(set(paths) - twice):
            names = files
        for row, name in zip(rows, names, strict=True):
            paths[row] = name
        return paths

    @cached_property
    def has_one_root(self) -> bool:
        """Whether all paths start from one folder, so that they name the files."""
        return self.column("root").nunique() < 2

    @cached_property
    def contents(self) -> npt.NDArray[np.str_]:
        """What the vector of each row is of: a SHA-256 of the bytes, of a box with it.

        ``""`` where nobody saw the bytes; see :func:`bioprobe.images.regions.name_content`.
        """
        hashes, regions = self.column("sha256"), self.column(REGION)
        return np.array(list(map(name_content, hashes.tolist(), regions.tolist())), dtype=str)

    @cached_property
    def identities(self) -> pa.FixedSizeBinaryArray:
        """16 bytes of each row that tell it from all others; see :data:`IDENTITY`."""
        return digest_rows(self.iter_frames(IDENTITY))

    def number_contents(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return which rows have one of :attr:`contents`, without holding the texts.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)

        Returns
        -------
        ndarray of int64, shape (n_rows,)
            From 0 in their order, the same for the same content; below 0 where nobody saw the
            bytes, and then of each row another one.
        """
        is_known: list[npt.NDArray[np.bool_]] = []

        def name(frame: pd.DataFrame) -> pd.DataFrame:
            contents = name_contents(frame)
            is_known.append((contents != "").to_numpy(dtype=bool))
            return contents.to_frame()

        frames = map(name, self.iter_frames(["sha256", REGION], rows))
        numbers = number_rows(digest_rows(frames)).astype(np.int64)
        unknown = np.flatnonzero(~np.concatenate([np.zeros(0, dtype=bool), *is_known]))
        numbers[unknown] = -1 - unknown
        return numbers

    @cached_property
    def has_regions(self) -> bool:
        """Whether any row is not the only one of a whole image."""
        return bool((self.column(REGION) != "").any())

    def name_rows(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.object_]]:
        """Return what names rows in an answer: ``file_name``, and ``image_region`` where any has.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)

        Returns
        -------
        dict of str to ndarray of object, each of shape (n_rows,)
            By column, in their order.
        """
        names = {"file_name": self.name_files(rows)}
        if self.has_regions:
            names |= self.read_texts(rows, [REGION])
        return names

    def name_row(self, row: int) -> str:
        """Return how a row is called in a line of text: its file, and its region if it has one."""
        rows = np.array([row], dtype=np.int64)
        name = str(self.name_files(rows)[0])
        region = str(self.read_texts(rows, [REGION])[REGION][0]) if self.has_regions else ""
        return f"{name} [{region}]" if region else name

    def describe_several(self, rows: npt.NDArray[np.int64], level: str) -> list[str]:
        """Say how many boxes or whole images of some rows have several labels at a level.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)
        level : str
            Rank or column.

        Returns
        -------
        list of str
            One sentence, or none.
        """
        if not self.has_regions or (level not in LABEL_COLUMNS and level not in self.columns):
            return []
        regions, labels = self.column(REGION).to_numpy()[rows], self.labels(level)[rows]
        found: dict[tuple[int, str], set[str]] = {}
        for file, region, label in zip(
            self.number_files(rows).tolist(), regions, labels, strict=True
        ):
            if label:
                found.setdefault((file, get_box(region)), set()).add(label)
        n_several = sum(len(one) > 1 for one in found.values())
        if not n_several:
            return []
        return [
            f"{n_several:,} regions or whole pictures have several labels at {level}: they are "
            "kept, each label as a row of its own, so that no one answer is right for all of these"
        ]

    def number_files(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return of which image each row is, numbered from 0 in their order.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)

        Returns
        -------
        ndarray of int64, shape (n_rows,)
        """
        import pandas as pd

        found = self.take(rows, LOCATION_COLUMNS)
        places = zip(*(found[name] for name in LOCATION_COLUMNS), strict=True)
        files = [f"{root}\0{path}" for root, path in places]
        return np.asarray(pd.factorize(np.array(files, dtype=object))[0], dtype=np.int64)

    def name_files(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
        """Return the names of the files of rows, as answers name them."""
        if self.has_one_root:
            # Of a million files the names of all need not be made.
            return self.read_texts(rows, ["path"])["path"]
        names = self.file_names
        return np.array([names[row] for row in rows.tolist()], dtype=object)

    def find_file(self, row: int) -> Path:
        """Return where the file of a row was when it was embedded.

        The row of a data set has no file; :meth:`locate` serves both.
        """
        place = self.locate(row)
        return find_file(place.root, place.path)

    def locate(self, row: int) -> ImageLocation:
        """Return the place of a row's image, from which its bytes can be read."""
        return self.locate_all(np.array([row], dtype=np.int64))[0]

    def locate_all(self, rows: npt.NDArray[np.int64]) -> list[ImageLocation]:
        """Return the places of the images of some rows, which are read from the table at once."""
        names = (LOCATION_COLUMNS[0], LOCATION_COLUMNS[1], "sha256", REGION)
        known = self.read_texts(rows, names)
        return [
            ImageLocation(root, path, sha256, region, self._people.get((root, path), ()))
            for root, path, sha256, region in zip(*(known[name] for name in names), strict=True)
        ]

    def excerpt(self, rows: Rows) -> ImageTable:
        """Return a table of where some rows lie and how they are labelled, without other facts.

        They are read at once, and then located and named as in this table.

        Parameters
        ----------
        rows : ndarray of int64, shape (n_rows,)
        """
        import pandas as pd

        texts = self.read_texts(rows, [*LOCATION_COLUMNS, REGION, "sha256", *LABEL_COLUMNS])
        table = ImageTable.build(pd.DataFrame(texts))
        known = {"has_one_root": self.has_one_root, "has_regions": self.has_regions}
        if not self.has_one_root:
            # What a file is called depends on all others.
            known["file_names"] = self.name_files(rows).tolist()
        table.__dict__.update(known, _people=self._people)
        return table

    @cached_property
    def _people(self) -> Mapping[tuple[str, str], tuple[Region, ...]]:
        """Where people are, by root and path."""
        names = [name for name in PERSON_COLUMNS if name in self.columns]
        if not names:
            return {}
        rows = np.flatnonzero(tell_people(self.select(names)))
        return find_people(self.take(rows, [*LOCATION_COLUMNS, REGION, *names]))

    def with_people(self, people: str) -> ImageTable:
        """Return the same table, of which pages show people otherwise.

        Parameters
        ----------
        people : {"leave-out", "obscure", "keep"}
            Whether pictures with people are obscured as a whole, in part as by default, or not.
        """
        shown = copy.copy(self)
        found = self._people
        if people == LEAVE_OUT:
            found = dict.fromkeys(found, (WHOLE,))
        shown.__dict__["_people"] = {} if people == KEEP else found
        return shown

    def order(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the positions that sort rows by what they are: bytes, path, root, region.

        What is drawn in this order does not depend on the order of the rows in the store.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)

        Returns
        -------
        ndarray of int64, shape (n,)
            ``rows[images.order(rows)]`` is sorted; rows that do not differ stay as they come.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        # Most rows are told apart by their bytes: of these nothing else is read.
        hashes = join_texts(frame["sha256"] for frame in self.iter_frames(["sha256"], rows))
        # It is stable, and the bytes of UTF-8 are in the order of what they write.
        order: Rows = pc.sort_indices(hashes).to_numpy().astype(np.int64)
        tied = _find_tied(hashes, order)
        if len(tied):
            others = ["path", "root", REGION]
            texts = self.take(rows[order[tied]], ["sha256", *others])
            table = pa.Table.from_pandas(texts, preserve_index=False)
            kind = pa.large_string()
            table = table.cast(pa.schema([(name, kind) for name in table.column_names]))
            keys = [(name, "ascending") for name in table.column_names]
            order[tied] = order[tied][pc.sort_indices(table, sort_keys=keys).to_numpy()]
        return order

    def labels(self, level: str) -> npt.NDArray[np.object_]:
        """Return the label of every row at a rank, or its value in any column, as text.

        Parameters
        ----------
        level : str
            Name of a rank or a column, as :func:`read_level` returns it.

        Returns
        -------
        ndarray of object, shape (n_images,)
            ``""`` where unknown.
        """
        if level in LABEL_COLUMNS:
            return self.read_texts(np.arange(len(self)), [level])[level]
        if level not in self._texts:
            self._texts[level] = name_cells(self.column(read_level(level, self)))
        return self._texts[level]

    def number_labels(self, level: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.object_]]:
        """Return the distinct labels at a rank or in a column, and which of them each row has.

        Returns
        -------
        numbers : ndarray of int32, shape (n_images,)
        distinct : ndarray of object, shape (n_distinct,)
            Sorted; ``""`` where unknown.
        """
        import pandas as pd

        numbers, distinct = pd.factorize(self.labels(level), sort=True)
        return numbers.astype(np.int32), np.asarray(distinct, dtype=object)

    def count_labels(self, levels: Sequence[str], rows: Rows) -> dict[str, tuple[Rows, Names]]:
        """Return the distinct labels at some ranks, and how many of some rows have each.

        Parameters
        ----------
        levels : sequence of str
            As for :meth:`labels`.
        rows : ndarray of int64, shape (n_rows,)
            Ascending.

        Returns
        -------
        dict of str to (ndarray of int64, ndarray of object), each of shape (n_distinct,)
            Counts, some of them 0, and labels in no order, ``""`` where unknown.
        """
        found = {level: self.number_labels(level) for level in levels}
        return {
            level: (np.bincount(numbers[rows], minlength=len(distinct)).astype(np.int64), distinct)
            for level, (numbers, distinct) in found.items()
        }

    def has_label(self, level: str) -> bool:
        """Tell whether any row has a label at a rank, or a common name."""
        return bool((self.number_labels(level)[1] != "").any())

    def number_lineages(
        self, names: Sequence[str], rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return which rows have the same labels in several columns.

        Parameters
        ----------
        names : sequence of str
            Ranks, and the common name.
        rows : ndarray of int64, shape (n_rows,)

        Returns
        -------
        numbers : ndarray of int64, shape (n_rows,)
            From 0, in the order in which they come.
        firsts : ndarray of int64, shape (n_distinct,)
            Place among the rows of the first of each.
        """
        together = np.zeros(len(rows), dtype=np.int64)
        for name in names:
            numbers, distinct = self.number_labels(name)
            together = _close_gaps(together * len(distinct) + numbers[rows])
        firsts = np.zeros(int(together.max(initial=-1)) + 1, dtype=np.int64)
        firsts[together[::-1]] = np.arange(len(rows))[::-1]
        order = np.argsort(firsts)
        places = np.empty(len(firsts), dtype=np.int64)
        places[order] = np.arange(len(firsts))
        return places[together], firsts[order]

    @cached_property
    def _texts(self) -> dict[str, npt.NDArray[np.object_]]:
        """Columns as text, by name; read once."""
        return {}

    @property
    def taxa(self) -> Taxonomy:
        """Distinct taxa of the labels."""
        return to_taxonomy(self.select(LABEL_COLUMNS))

    def match(self, condition: str) -> npt.NDArray[np.int64]:
        """Return the rows that meet a condition, such as ``family == 'Felidae'``.

        Raises
        ------
        SelectionError
            If the condition cannot be read, or names no column of the table.
        """
        self.refuse_unread(list_names(condition))
        frame = self.select(self.list_columns(condition))
        return np.flatnonzero(match_rows(frame, condition, self.columns)).astype(np.int64)

    def list_columns(self, condition: str) -> list[str]:
        """Return the columns that a condition names."""
        names = {unicodedata.normalize("NFKC", name) for name in list_names(condition)}
        return [one for one in self.columns if unicodedata.normalize("NFKC", one) in names]

    def refuse_unread(self, names: Collection[str]) -> None:
        """Refuse names of columns that were computed and cannot be read.

        Raises
        ------
        SelectionError
            If one of them is.
        """
        for name in names:
            if name in self.not_derived and name not in self.columns:
                raise SelectionError(self.not_derived[name])


def _find_tied(texts: pa.Array, order: Rows) -> Rows:
    """Return the places in an order at which a text stands that stands beside it too."""
    import pyarrow.compute as pc

    is_tied = np.zeros(len(order) + 1, dtype=bool)
    for start in range(0, len(order) - 1, ROWS_AT_ONCE):
        near = texts.take(order[start : start + ROWS_AT_ONCE + 1])
        same = pc.equal(near[1:], near[:-1]).to_numpy(zero_copy_only=False)
        is_tied[start : start + len(same)] |= same
        is_tied[start + 1 : start + 1 + len(same)] |= same
    return np.flatnonzero(is_tied[: len(order)])


def _close_gaps(numbers: Rows) -> Rows:
    """Return numbers from 0 in the order of some, without those that none of them is."""
    n_values = int(numbers.max(initial=-1)) + 1
    if n_values > _SPARSE * len(numbers):
        return np.unique(numbers, return_inverse=True)[1].reshape(len(numbers))
    is_there = np.zeros(n_values, dtype=bool)
    is_there[numbers] = True
    return (np.cumsum(is_there) - 1)[numbers]


def complete_column(name: str, values: pd.Series[Any] | None, n_rows: int) -> pd.Series[Any]:
    """Return a column as an image table has it.

    Parameters
    ----------
    name : str
    values : Series, optional
        As the source had it; None where it has none of the name.
    n_rows : int
    """
    if values is None:
        return _fill_column(_is_number(name), n_rows)
    if name in LABEL_COLUMNS:
        return _unify(fill_holes(values))
    if name in (REGION, LABELS_FROM):
        return fill_holes(values)
    return values if name in LOCATION_COLUMNS else settle(values)


def _is_number(name: str) -> bool:
    return name.startswith("n_") or name.endswith("_px")


def _fill_column(is_number: bool, n_rows: int) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series(0 if is_number else "", index=range(n_rows))


def _type_values(values: Names) -> Any:  # noqa: ANN401 - pandas is heavy
    import pandas as pd

    codes, known = pd.factorize(values)
    if not all(text == "" or (text.isdecimal() and text == str(int(text))) for text in known):
        return pd.Series(values, dtype="str")
    numbers = np.array([int(text or 0) for text in known], dtype=np.int64)
    holes = np.array([text == "" for text in known], dtype=bool)
    return pd.Series(pd.arrays.IntegerArray(numbers[codes], holes[codes]))


def read_level(level: str, images: ImageTable | None = None) -> str:
    """Read what a person calls a level: a rank, or any column of an image table.

    Parameters
    ----------
    level : str
        A rank in any case, or the name of a column.
    images : ImageTable, optional
        Whose column it must be, if it is no rank.

    Returns
    -------
    str
        Value of the rank, or name of the column.

    Raises
    ------
    SelectionError
        If it is neither; the error names what there is.

    Examples
    --------
    >>> read_level("Family"), read_level("cls"), read_level("life_stage")
    ('family', 'class', 'life_stage')
    """
    try:
        return Rank.parse(level).value
    except TaxonomyError:
        if images is None or level in images.columns:
            return level
    images.refuse_unread([level])
    columns = [COMMON_NAME, *images.free_columns]
    near = find_nearest(level, [*RANKS, *columns])
    hint = "." if near is None else f"; did you mean {near}?"
    msg = (
        f"no rank and no column {level!r}{hint} Ranks are {', '.join(RANKS)}; columns are "
        f"{', '.join(columns)}"
    )
    raise SelectionError(msg)


def concatenate(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join frames of image tables; free columns that a frame lacks are empty in its rows.

    Each cell keeps what was written: whole numbers stay such beside holes, and a column that has
    another type in another frame is text.
    """
    import pandas as pd

    if len(tables) == 1:
        return tables[0].reset_index(drop=True)
    names = dict.fromkeys(name for table in tables for name in table.columns)
    sizes = [len(table) for table in tables]
    joined = {
        name: join_column([t[name] if name in t.columns else None for t in tables], sizes)
        for name in names
    }
    return pd.DataFrame(joined, index=range(sum(sizes)), columns=list(names))


def concatenate_columns(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put frames of the same rows side by side."""
    import pandas as pd

    return pd.concat([frame.reset_index(drop=True) for frame in frames], axis=1)


def _name_from_common(files: Sequence[str]) -> list[str]:
    try:
        common = os.path.commonpath([os.path.dirname(file) for file in files])  # noqa: PTH120
    except ValueError:  # files and rows of data sets
        return list(files)
    return [file.removeprefix(common.rstrip(os.sep) + os.sep) if common else file for file in files]


def _list_starts(file: str) -> list[int]:
    """Return where in a path that of a file below one of its folders may begin."""
    return [0, *(at for at, one in enumerate(file, start=1) if one in "/\\")]


def _unify(labels: pd.Series[Any]) -> pd.Series[Any]:
    """Return labels in the one form in which names compare."""
    import pandas as pd

    distinct = pd.unique(labels)
    others = {label: unify(str(label)) for label in distinct if unify(str(label)) != label}
    return labels.map(lambda label: others.get(label, label)) if others else labels
