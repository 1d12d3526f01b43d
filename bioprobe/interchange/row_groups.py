"""Which row groups of Parquet files may hold a taxon, by their footers, and which rows do."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError, SourceError
from bioprobe.interchange.ranges import Place, RangedFile
from bioprobe.names import fold, unify
from bioprobe.taxonomy import RANKS, Rank
from bioprobe.types import Mask

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Requests under way at once; a footer, and the names of a row group, are small, and wait on the
# network alone.
_THREADS = 8
# Bytes of the columns of a row group that are read at once; of larger ones they are streamed.
_AT_ONCE_BYTES = 256 << 20
_BUFFER_BYTES = 1 << 20
_SHOWN = 4
_T = TypeVar("_T")
_U = TypeVar("_U")


@dataclasses.dataclass(frozen=True)
class Sought:
    """A taxon whose rows are wanted.

    Parameters
    ----------
    text : str
        As it was asked for.
    name : str
        Its name; of a species the binomial.
    ranks : tuple of Rank
        At which it is looked for.
    above : tuple of str
        Names that its lineage holds, such as a kingdom.

    Examples
    --------
    >>> Sought.parse("family=Felidae").ranks, Sought.parse("Animalia/Morus").above
    ((<Rank.FAMILY: 'family'>,), ('Animalia',))
    >>> Sought.parse("panthera leo").name
    'Panthera leo'
    """

    text: str
    name: str
    ranks: tuple[Rank, ...]
    above: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Sought:
        """Read a name, ``RANK=NAME`` or, of two of one name, ``KINGDOM/NAME``.

        Raises
        ------
        TaxonomyError
            If what stands before ``=`` is no rank.
        SelectionError
            If there is no name.
        """
        named, equals, rest = text.partition("=")
        *above, name = map(unify, (rest if equals else named).split("/"))
        if not name or not all(above):
            msg = f"{text!r} names no taxon; give a name, RANK=NAME or KINGDOM/NAME"
            raise SelectionError(msg)
        name = name[0].upper() + name[1:]
        if equals:
            ranks: tuple[Rank, ...] = (Rank.parse(named),)
        else:
            ranks = (Rank.SPECIES,) if " " in name else RANKS[: Rank.SPECIES.depth]
        return cls(unify(text), name, ranks, tuple(one[0].upper() + one[1:] for one in above))


#: Least and greatest name of a column in a row group; None where a footer does not say, and
#: ``()`` where it says that there is no name.
Bounds = tuple[str, ...] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A file whose footer was read."""

    file: RangedFile
    footer: pq.FileMetaData
    schema: pa.Schema


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """A row group, with what its footer says of the names in it.

    Parameters
    ----------
    part : Part
    number : int
        Of the group in its file.
    n_rows : int
    bounds : mapping of str to tuple or None
        By column.
    """

    part: Part
    number: int
    n_rows: int
    bounds: Mapping[str, Bounds]

    def may_hold(self, name: str, column: str) -> bool:
        """Tell whether its footer leaves room for a name in a column."""
        bounds = self.bounds[column]
        if not bounds:
            return bounds is None
        least, greatest = bounds
        # Long names are cut off in some footers.
        return least <= name and name[: len(greatest)] <= greatest


def _map_in_threads(ask: Callable[[_T], _U], of: Sequence[_T]) -> Iterable[_U]:
    """Ask for many answers at once, and return them in order."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="bioprobe-ranges") as pool:
        yield from pool.map(ask, of)


class Outline:
    """The row groups of a place, in order, and in which columns names of ranks stand.

    Parameters
    ----------
    place : Place
    parts : sequence of Part
        Its files that have rows; the first where none has.
    schema : Schema
        All columns of the files, in the order in which they are met; where files have a column
        as several types, that of the first.
    columns : mapping of Rank to str
        Column of each rank that there is.
    """

    def __init__(
        self, place: Place, parts: Sequence[Part], schema: pa.Schema, columns: Mapping[Rank, str]
    ) -> None:
        self.place, self.parts, self.schema, self.columns = place, tuple(parts), schema, columns
        self.groups = tuple(group for part in parts for group in _list_groups(part, columns))

    @classmethod
    def read(
        cls,
        place: Place,
        files: Sequence[RangedFile],
        find_columns: Callable[[pa.Schema], Mapping[Rank, str]],
    ) -> Outline:
        """Read the footers of some files.

        Parameters
        ----------
        place : Place
        files : sequence of RangedFile
        find_columns : callable
            Tells from all columns which of them hold ranks.

        Raises
        ------
        SourceError
            If one cannot be read as Parquet.
        """
        import pyarrow as pa

        read = list(_map_in_threads(lambda file: _read_part(place, file), files))
        parts = [part for part in read if part.footer.num_rows] or read[:1]
        fields = {field.name: field for part in reversed(parts) for field in part.schema}
        names = dict.fromkeys(name for part in parts for name in part.schema.names)
        schema = pa.schema([fields[name] for name in names])
        return cls(place, parts, schema, find_columns(schema))

    @property
    def n_rows(self) -> int:
        """Rows of all groups."""
        return sum(group.n_rows for group in self.groups)

    @property
    def n_unknown(self) -> int:
        """Groups of which footers do not say between which names theirs lie."""
        return sum(None in group.bounds.values() for group in self.groups)

    def read_table(self, group: Group, columns: Sequence[str]) -> pa.Table:
        """Read some columns of one group."""
        import pyarrow as pa

        return pa.Table.from_batches(list(self.iter_batches(group, columns, group.n_rows)))

    def iter_batches(
        self, group: Group, columns: Sequence[str], n_rows: int, *, at_once: bool = True
    ) -> Generator[pa.RecordBatch]:
        """Read some columns of one group, some rows at a time.

        Parameters
        ----------
        group : Group
        columns : sequence of str
        n_rows : int
            Of a batch.
        at_once : bool
            Whether all bytes of a group that is not large are asked for first; else they come as
            rows are read, so that who stops early has read little.

        Yields
        ------
        RecordBatch
            Columns in the order in which they are named; one that the file lacks is empty.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        part = group.part
        there = [name for name in columns if name in part.schema.names]
        n_bytes = _count_column_bytes(part.footer, group.number, columns)
        is_whole = at_once and n_bytes <= _AT_ONCE_BYTES
        try:
            with self.place.open(part.file) as raw:
                file = pq.ParquetFile(
                    raw, metadata=part.footer, pre_buffer=is_whole,
                    buffer_size=0 if is_whole else _BUFFER_BYTES,
                )  # fmt: skip
                batches = file.iter_batches(n_rows, row_groups=[group.number], columns=there)
                for batch in batches:
                    arrays = [
                        _simplify(
                            batch.column(name) if name in there
                            else pa.nulls(batch.num_rows, self.schema.field(name).type)
                        )
                        for name in columns
                    ]  # fmt: skip
                    yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
        except (pa.ArrowException, OSError) as error:
            said = " ".join(str(error).split())
            msg = f"row group {group.number} of {part.file.path} cannot be read: {said}"
            raise SourceError(msg) from error

    def find(self, sought: Sequence[Sought]) -> list[Found]:
        """Find the rows of some taxa, and read no more than the names of groups that may hold any.

        Returns
        -------
        list of Found
            Groups that hold any, in order.

        Raises
        ------
        SelectionError
            If a taxon is nowhere, or a name that was given without its rank is at two places.
        """
        found, places, seen = self._search(sought)
        for one in sought:
            if not places[one]:
                raise SelectionError(self._tell_missing(one, seen))
            _check_one_place(one, places[one])
        return found

    def _search(
        self, sought: Sequence[Sought]
    ) -> tuple[list[Found], dict[Sought, set[tuple[Rank, str]]], set[str]]:
        """Return groups with rows of some taxa, where each taxon is, and names that were seen."""
        wanted = [(one, rank) for one in sought for rank in one.ranks if rank in self.columns]
        asked = [
            (group, [want for want in wanted if self._may_hold(group, *want)])
            for group in self.groups
        ]
        asked = [(group, wants) for group, wants in asked if wants]
        looked = _map_in_threads(lambda one: self._look(*one), asked)
        places: dict[Sought, set[tuple[Rank, str]]] = {one: set() for one in sought}
        seen: set[str] = set()
        found = []
        for (group, _), look in zip(asked, looked, strict=True):
            for one, place in look.places:
                places[one].add(place)
            if len(seen) < _MOST_NAMES:
                seen |= look.names
            if len(look.runs):
                found.append(Found(group, look.runs))
        return found, places, seen

    def _may_hold(self, group: Group, sought: Sought, rank: Rank) -> bool:
        for name in sought.above:
            higher = [self.columns[one] for one in RANKS[: rank.depth] if one in self.columns]
            if not any(group.may_hold(name, column) for column in higher):
                return False
        if rank is not Rank.SPECIES:
            return group.may_hold(sought.name, self.columns[rank])
        genus, _, epithet = sought.name.partition(" ")
        if group.may_hold(sought.name, self.columns[rank]):
            return True
        return (
            bool(epithet) and Rank.GENUS in self.columns
            and group.may_hold(genus, self.columns[Rank.GENUS])
            and group.may_hold(epithet, self.columns[rank])
        )  # fmt: skip

    def _look(self, group: Group, wants: Sequence[tuple[Sought, Rank]]) -> _Look:
        table = self.read_table(group, list(self.columns.values()))
        of_any = np.zeros(group.n_rows, dtype=bool)
        places = []
        for one, rank in wants:
            mask = self._find_rows(table, one, rank)
            of_any |= mask
            kingdoms = self._list_kingdoms(table, mask) if mask.any() else ()
            places += [(one, (rank, kingdom)) for kingdom in kingdoms]
        names = [] if places else [self._list_names(table, rank) for _, rank in wants]
        return _Look(_find_runs(of_any), places, set().union(*names))

    def _find_rows(self, table: pa.Table, sought: Sought, rank: Rank) -> Mask:
        mask = _equal(table[self.columns[rank]], sought.name)
        genus, _, epithet = sought.name.partition(" ")
        if rank is Rank.SPECIES and epithet and Rank.GENUS in self.columns:
            is_genus = _equal(table[self.columns[Rank.GENUS]], genus)
            mask |= is_genus & _equal(table[self.columns[rank]], epithet)
        for name in sought.above:
            higher = [self.columns[one] for one in RANKS[: rank.depth] if one in self.columns]
            mask &= np.logical_or.reduce([_equal(table[column], name) for column in higher])
        return mask

    def _list_kingdoms(self, table: pa.Table, mask: Mask) -> set[str]:
        import pyarrow as pa

        if Rank.KINGDOM not in self.columns:
            return {""}
        kingdoms = table[self.columns[Rank.KINGDOM]].filter(pa.array(mask)).unique().to_pylist()
        return {str(one or "") for one in kingdoms}

    def _list_names(self, table: pa.Table, rank: Rank) -> set[str]:
        names = {str(one) for one in table[self.columns[rank]].unique().to_pylist() if one}
        if rank is Rank.SPECIES and Rank.GENUS in self.columns:
            pairs = table.select([self.columns[Rank.GENUS], self.columns[rank]])
            for row in pairs.group_by(pairs.column_names).aggregate([]).to_pylist():
                genus, species = row.values()
                if genus and species and " " not in species:
                    names.add(f"{genus} {species}")
        return names

    def _tell_missing(self, sought: Sought, seen: set[str]) -> str:
        """Say that a taxon is nowhere, and which names that were seen are like it."""
        is_open = len(sought.ranks) > 1
        there = "any rank above species" if is_open else sought.ranks[0].value
        msg = f"{self.place.address} has no {sought.text!r} at {there}"
        if not any(rank in self.columns for rank in sought.ranks):
            rank = sought.ranks[-1].value
            return f"{msg}, as no column holds it; name the column: --rank-column {rank}=COLUMN"
        if sought.above:
            bare = dataclasses.replace(sought, above=())
            if kingdoms := sorted({one for _, one in self._search([bare])[1][bare] if one}):
                return f"{msg}; {sought.name} is in {' and '.join(kingdoms)}"
        if near := _find_near(sought.name, seen | self._list_bounds(sought.ranks)):
            return f"{msg}; near it: {', '.join(near)}"
        genus, _, epithet = sought.name.partition(" ")
        if epithet and (near := _find_near(genus, self._list_bounds((Rank.GENUS,)))):
            return f"{msg}; at genus there is {', '.join(near)}"
        binomial = "" if epithet else " (a species is a binomial: 'Panthera leo')"
        return f"{msg}; check the spelling{binomial}"

    def _list_bounds(self, ranks: Sequence[Rank]) -> set[str]:
        """Return the names that footers say; epithets alone are none."""
        columns = [(rank, self.columns[rank]) for rank in ranks if rank in self.columns]
        return {
            name
            for group in self.groups
            for rank, column in columns
            for name in group.bounds[column] or ()
            if rank is not Rank.SPECIES or " " in name
        }


def _find_near(name: str, known: Iterable[str]) -> list[str]:
    spelt = {fold(one): one for one in sorted(known)}
    return [spelt[one] for one in difflib.get_close_matches(fold(name), spelt, n=_SHOWN)]


# Names that are remembered to tell which are near a misspelt one.
_MOST_NAMES = 200_000


@dataclasses.dataclass(frozen=True, eq=False)
class _Look:
    """What the names of a group say: runs of rows that are wanted, of what, and else all names."""

    runs: npt.NDArray[np.int64]
    places: Sequence[tuple[Sought, tuple[Rank, str]]]
    names: set[str]


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """A group with rows that are wanted.

    Parameters
    ----------
    group : Group
    runs : ndarray of int64, shape (n_runs, 2)
        First row of each run, and the first after it.
    """

    group: Group
    runs: npt.NDArray[np.int64]

    @property
    def n_rows(self) -> int:
        """Rows that are wanted."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    @property
    def mask(self) -> Mask:
        """Which rows of the group are wanted."""
        steps = np.zeros(self.group.n_rows + 1, dtype=np.int64)
        steps[self.runs[:, 0]] += 1
        steps[self.runs[:, 1]] -= 1
        return np.asarray(np.cumsum(steps[:-1]) > 0)


def take_all(outline: Outline) -> list[Found]:
    """Return every row of every group."""
    return [Found(group, np.array([[0, group.n_rows]])) for group in outline.groups if group.n_rows]


def _find_runs(mask: Mask) -> npt.NDArray[np.int64]:
    steps = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], axis=1)


def _check_one_place(sought: Sought, places: set[tuple[Rank, str]]) -> None:
    """Refuse a name that stands for two taxa: at two ranks, or in two kingdoms."""
    ranks = sorted({rank for rank, _ in places}, key=lambda rank: rank.depth)
    if len(ranks) > 1:
        forms = " or ".join(f"{rank.value}={sought.text}" for rank in ranks)
        msg = f"{sought.text!r} is at two places: say {forms}"
        raise SelectionError(msg)
    kingdoms = sorted({kingdom for _, kingdom in places if kingdom})
    if len(kingdoms) > 1:
        forms = " or ".join(f"{ranks[0].value}={one}/{sought.name}" for one in kingdoms)
        msg = f"{sought.text!r} is at two places, in {' and '.join(kingdoms)}: say {forms}"
        raise SelectionError(msg)


def _equal(column: pa.ChunkedArray, name: str) -> Mask:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        column = column.cast(pa.string())
    mask: Mask = pc.equal(column, name).fill_null(fill_value=False).to_numpy()
    return mask.copy()


def _read_part(place: Place, file: RangedFile) -> Part:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with place.open(file) as raw:
            opened = pq.ParquetFile(raw)
            return Part(file, opened.metadata, opened.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        msg = f"{file.path} cannot be read as Parquet: {' '.join(str(error).split())}"
        raise SourceError(msg) from error


def _simplify(column: pa.Array) -> pa.Array:
    """Return texts in a form that Arrow's functions take."""
    import pyarrow as pa

    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column


def _list_groups(part: Part, columns: Mapping[Rank, str]) -> list[Group]:
    footer = part.footer
    places = {footer.schema.column(place).path: place for place in range(footer.num_columns)}
    groups = []
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        bounds: dict[str, Bounds] = {
            name: _read_bounds(group.column(places[name])) if name in places else ()
            for name in columns.values()
        }
        if group.num_rows:
            groups.append(Group(part, number, group.num_rows, bounds))
    return groups


def _read_bounds(chunk: Any) -> Bounds:  # noqa: ANN401 - of pyarrow, which has no types
    said = chunk.statistics if chunk.is_stats_set else None
    if said is None:
        return None
    if said.has_null_count and said.null_count == chunk.num_values:
        return ()
    if not said.has_min_max:
        return None
    try:
        bounds = said.min, said.max
    except UnicodeDecodeError:
        # Cut off within a character.
        return None
    return bounds if all(isinstance(one, str) for one in bounds) else None


def _count_column_bytes(footer: pq.FileMetaData, number: int, columns: Sequence[str]) -> int:
    group, wanted = footer.row_group(number), set(columns)
    chunks = (group.column(place) for place in range(footer.num_columns))
    return sum(
        chunk.total_compressed_size for chunk in chunks
        if chunk.path_in_schema.split(".", 1)[0] in wanted
    )  # fmt: skip
