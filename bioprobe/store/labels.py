"""Which labels count: those that came with the pictures, those that people gave, or both.

The rule, of a unit (an image or region) and a level (a rank or column):

- Of each person the latest counts: *is* or *unsure* takes the place of whatever they said before,
  *is not* of an *is* of the same class, and stands beside their other *is not*.
- The label is the class that most people say it is, less those who say that it is not. Where two
  classes have as many, or nobody is left who says it is one, it is *unresolved*: there is no label.
- Where people only say what it is not, or that they are unsure, the label that came with the
  picture stands, unless it is what they say it is not.
- Where nobody said anything, the label that came with the picture stands.

A class has its lineage: who says the species says genus and family too, as other rows of the store
and its added taxa have them, and a label below what was corrected goes. A picture that is said to
hold no animal has no taxon. What was said last goes over what was said before.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.cells import name_cells, read_cells, settle, write_cells
from bioprobe.content import CONTENT, NO_TAXON, Content, read_content
from bioprobe.images.image_table import ImageTable
from bioprobe.images.regions import REGION
from bioprobe.options import BOTH, CONFIRMED, GIVEN, RANK_NAMES
from bioprobe.result import PROBLEM, Note, count
from bioprobe.store.annotations import IS_NOT, Annotation, Log, Unit
from bioprobe.taxonomy import Rank, Taxon
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL, LABEL_COLUMNS, LABELS_FROM
from bioprobe.types import Rows

if TYPE_CHECKING:
    import pandas as pd

#: What became of what people said of a unit.
RESOLVED, TIED, EXCLUDED, OPEN = "resolved", "unresolved", "is not", "unsure"
# What says what a picture holds.
_OF_TAXON = frozenset({*RANK_NAMES, CONTENT, LABEL})
_NO_ANIMAL = frozenset({Content.BLANK, Content.VEHICLE, Content.UNKNOWN})


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What people together say of a unit at a level.

    Parameters
    ----------
    unit : Unit
    level : str
        Rank or column.
    value : str
        The label, ``""`` where there is none.
    status : {"resolved", "unresolved", "is not", "unsure"}
        Whether there is one; people contradict each other; they only say what it is not; or only
        that they are unsure.
    excluded : tuple of str
        Classes that it is not, as more people say so than that it is.
    people : tuple of str
        Who said anything.
    agreeing : tuple of str
        Who said that it is of the class of its label.
    at : str
        When the last of them did.
    """

    unit: Unit
    level: str
    value: str
    status: str
    excluded: tuple[str, ...]
    people: tuple[str, ...]
    agreeing: tuple[str, ...]
    at: str

    def count(self, given: str) -> str:
        """Return the label that counts beside one that came with the picture."""
        if self.status in (RESOLVED, TIED):
            return self.value
        return "" if given in self.excluded else given


@dataclasses.dataclass
class _Said:
    """What one person says of a unit at a level."""

    value: str = ""
    excluded: dict[str, None] = dataclasses.field(default_factory=dict)

    def take(self, one: Annotation) -> None:
        if one.verdict == IS_NOT:
            self.value = "" if self.value == one.value else self.value
            self.excluded[one.value] = None
        else:
            self.value, self.excluded = one.value, {}


def collect_answers(standing: Iterable[Annotation]) -> dict[tuple[Unit, str], dict[str, _Said]]:
    """Return what each person says of each unit and level."""
    found: dict[tuple[Unit, str], dict[str, _Said]] = {}
    for one in standing:
        people = found.setdefault((one.unit, one.level), {})
        people.setdefault(one.by, _Said()).take(one)
    return found


def resolve(standing: Sequence[Annotation], level: str | None = None) -> list[Resolved]:
    """Return what people together say, by the rule of this module; what was said last comes last.

    Parameters
    ----------
    standing : sequence of Annotation
        Not taken back, the oldest first.
    level : str, optional
        Rank or column; by default all.
    """
    chosen = [one for one in standing if level in (None, one.level)]
    last = {(one.unit, one.level): one.at for one in chosen}
    resolved = [
        _resolve(unit, level, people, last[unit, level])
        for (unit, level), people in collect_answers(chosen).items()
    ]
    return sorted(resolved, key=lambda one: one.at)


def _resolve(unit: Unit, level: str, people: Mapping[str, _Said], at: str) -> Resolved:
    support = collections.Counter[str]()
    for said in people.values():
        support.subtract(list(said.excluded))
        if said.value:
            support[said.value] += 1
    excluded = tuple(sorted(name for name, n in support.items() if n < 0))
    named = {said.value for said in people.values() if said.value}
    value, status = "", OPEN
    if named:
        status = TIED
        ranked = sorted(named, key=lambda name: -support[name])
        first = support[ranked[0]]
        if first > 0 and (len(ranked) == 1 or support[ranked[1]] < first):
            value, status = ranked[0], RESOLVED
    elif excluded:
        status = EXCLUDED
    agreeing = sorted(name for name, said in people.items() if value and said.value == value)
    return Resolved(
        unit, level, value, status, excluded, tuple(sorted(people)), tuple(agreeing), at
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """The image table of a store, with the labels that count.

    Parameters
    ----------
    given : ImageTable
        As it came with the pictures.
    rows : ndarray of int64, shape (n_current,)
        Its current rows.
    log : Log
        What people said.
    counts : {"both", "given", "confirmed"}
        Which labels count.
    lineages : Lineages, optional
        What is known of names; by default what the table knows.
    """

    given: ImageTable
    rows: Rows
    log: Log
    counts: str = BOTH
    lineages: Lineages | None = None

    @property
    def _counts_given(self) -> bool:
        return self.counts == GIVEN or (self.counts == BOTH and not self.resolved)

    @cached_property
    def resolved(self) -> tuple[Resolved, ...]:
        """What people say of each unit and level; what was said last comes last."""
        return tuple(resolve(self.log.standing))

    @cached_property
    def rows_of(self) -> dict[Unit, list[int]]:
        """Rows of the table of each unit that was annotated; of one that is not there none."""
        return find_unit_rows(self.given, self.rows, {one.unit for one in self.log.standing})

    @cached_property
    def images(self) -> ImageTable:
        """The image table; that which came with the pictures where no other label counts."""
        if self._counts_given:
            return self.given
        levels = {one.level for one in self.resolved}
        rows = sorted({row for one in self.resolved for row in self.rows_of[one.unit]})
        chosen = np.array(rows, dtype=np.int64)
        columns = _Columns(self.given, chosen, levels, keeps=self.counts == BOTH)
        lineages = self.lineages or Lineages(self.given)
        for one in self.resolved:
            for row in self.rows_of[one.unit]:
                columns.take(row, one, lineages)
        return self.given.with_columns(columns.write())

    def find_excluded(self, level: str) -> dict[int, tuple[str, ...]]:
        """Return the classes that rows are known not to be of, by row.

        Parameters
        ----------
        level : str
            Rank or column.
        """
        if self.counts == GIVEN:
            return {}
        return {
            row: one.excluded
            for one in self.resolved if one.level == level and one.excluded
            for row in self.rows_of[one.unit]
        }  # fmt: skip

    @cached_property
    def givers(self) -> dict[int, tuple[str, str]]:
        """Who gave the taxon or content of rows, by row: people with `` | `` between, and when."""
        found: dict[int, tuple[str, str]] = {}
        for one in () if self.counts == GIVEN else self.resolved:
            if one.level in _OF_TAXON and one.status == RESOLVED:
                for row in self.rows_of[one.unit]:
                    found[row] = (" | ".join(one.agreeing), one.at)
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what people say, ``""`` where nobody says anything that counts."""
        if self._counts_given:
            return ""
        lines = sorted(
            repr((*one.unit, one.level, one.value, one.status, one.excluded))
            for one in self.resolved
        )
        text = "\n".join([self.counts, *lines])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def describe_labels(log: Log, counts: str) -> list[Note]:
    """Say which labels count where people gave any, and what of these cannot be read."""
    said = []
    if log.standing:
        n_people = len({one.by for one in log.standing})
        by = count(n_people, "person", "people")
        of = f"{count(len(log.standing), 'annotation')} by {by}"
        text = f"labels of {of} count before those that came with the pictures"
        if counts == GIVEN:
            text = f"labels that came with the pictures count, those of {of} do not"
        elif counts == CONFIRMED:
            text = f"labels of {of} count, and no others"
        said.append(Note(f"{text} (--labels {counts})", is_aside=True))
    if log.damaged:
        text = (
            f"{len(log.damaged):,} lines of the log of annotations are damaged, and what they said "
            "does not count; see: bioprobe store verify"
        )
        said.append(Note(text, PROBLEM))
    return said


def list_units(images: ImageTable, rows: Rows) -> list[Unit]:
    """Return what rows of an image table are, wherever these rows are later."""
    names = ("root", "path", REGION, "sha256")
    found = images.take(rows, names)
    columns = (found[name].tolist() for name in names)
    return [Unit(*map(str, one)) for one in zip(*columns, strict=True)]


def find_unit_rows(images: ImageTable, rows: Rows, units: Iterable[Unit]) -> dict[Unit, list[int]]:
    """Find the rows of units: where they were, else where the same bytes are.

    A file whose bytes are others now is another picture. One that was moved, and is nowhere under
    its old name, is the same.

    Parameters
    ----------
    images : ImageTable
    rows : ndarray of int64, shape (n_current,)
        Current rows of it, among which is looked.
    units : iterable of Unit

    Returns
    -------
    dict of Unit to list of int
        Rows of each, ascending.
    """
    wanted = set(units)
    if not wanted:
        return {}
    by_place: dict[tuple[str, str, str], list[int]] = {}
    by_bytes: dict[tuple[str, str], list[int]] = {}
    hashes_of = images.column("sha256")
    near = images.column("path").isin({one.path for one in wanted})
    near |= hashes_of.isin({one.sha256 for one in wanted} - {""})
    chosen = rows[near.to_numpy(dtype=bool)[rows]]
    for row, unit in zip(chosen.tolist(), list_units(images, chosen), strict=True):
        by_place.setdefault((unit.root, unit.path, unit.region), []).append(row)
        if unit.sha256:
            by_bytes.setdefault((unit.sha256, unit.region), []).append(row)
    hashes = dict(zip(chosen.tolist(), hashes_of.iloc[chosen].astype(str), strict=True))

    def find(unit: Unit) -> list[int]:
        there = [
            row for row in by_place.get((unit.root, unit.path, unit.region), [])
            if not unit.sha256 or hashes[row] in ("", unit.sha256)
        ]  # fmt: skip
        return there or by_bytes.get((unit.sha256, unit.region), [])

    return {unit: find(unit) for unit in wanted}


class Lineages:
    """Lineages of names, as rows and added taxa have them; each is looked for once."""

    def __init__(self, images: ImageTable, taxa: Iterable[Taxon] = ()) -> None:
        self._images = images
        self._taxa = tuple(taxa)
        self._known: dict[tuple[Rank, str], tuple[str, ...]] = {}

    def find(self, rank: Rank, name: str) -> tuple[str, ...]:
        """Return names from kingdom down to the rank, and the common name of a species."""
        key = (rank, name)
        if key not in self._known:
            self._known[key] = self._find(rank, name)
        return self._known[key]

    def _find(self, rank: Rank, name: str) -> tuple[str, ...]:
        upper = [*RANK_NAMES[: rank.depth + 1], COMMON_NAME]
        alike = np.flatnonzero((self._images.column(rank.value) == name).to_numpy())
        found = collections.Counter(
            self._images.take(alike, upper).itertuples(index=False, name=None)
        )
        for taxon in self._taxa:
            if len(taxon.lineage) > rank.depth and taxon.lineage[rank.depth] == name:
                common = taxon.common_name if rank is taxon.rank else ""
                found[*taxon.lineage[: rank.depth + 1], common] += 1
        if found:
            # The fullest, of these the commonest.
            best = max(found, key=lambda one: (sum(map(bool, one[:-1])), found[one]))
            common = str(best[-1]) if rank is Rank.SPECIES else ""
            return (*map(str, best[:-1]), common)
        if rank is Rank.SPECIES and " " in name:
            genus = name.split()[0]
            return (*self.find(Rank.GENUS, genus)[:-1], name, "")
        return (*("" for _ in range(rank.depth)), name, "")


class _Columns:
    """Columns of an image table that labels of people change, at the rows that they change."""

    def __init__(self, images: ImageTable, rows: Rows, levels: set[str], *, keeps: bool) -> None:
        self._images = images
        self._rows = rows
        self._place_of = {row: place for place, row in enumerate(rows.tolist())}
        self._keeps = keeps
        self._labels = {*LABEL_COLUMNS, LABELS_FROM, *levels}
        self._texts: dict[str, npt.NDArray[np.object_]] = {}

    def take(self, row: int, one: Resolved, lineages: Lineages) -> None:
        """Let what people say of a row count."""
        place = self._place_of[row]
        given = str(self._read(one.level)[place])
        value = one.count(given)
        if one.level in RANK_NAMES:
            rank = Rank(one.level)
            if value != given:
                self._clear(place, rank.depth)
                if value:
                    *lineage, common = lineages.find(rank, value)
                    for name, upper in zip(RANK_NAMES, lineage, strict=False):
                        self._write(name, place, upper)
                    self._write(COMMON_NAME, place, common)
            if one.status == RESOLVED:
                self._confirm(place)
            return
        self._write(one.level, place, value)
        if one.level == CONTENT and one.status == RESOLVED and read_content(value) in NO_TAXON:
            self._clear(place, 0)

    def _confirm(self, place: int) -> None:
        """Let the taxon of a row be a person's: there is an animal, or whatever it is."""
        self._write(LABELS_FROM, place, "")
        has_content = CONTENT in self._images.columns or CONTENT in self._texts
        if has_content and read_content(str(self._read(CONTENT)[place])) in _NO_ANIMAL:
            self._write(CONTENT, place, Content.ANIMAL.value)

    def _clear(self, place: int, depth: int) -> None:
        for name in (*RANK_NAMES[depth:], COMMON_NAME):
            self._write(name, place, "")

    def _read(self, name: str) -> npt.NDArray[np.object_]:
        if name not in self._texts:
            is_kept = name in self._images.columns and (self._keeps or name not in self._labels)
            self._texts[name] = (
                name_cells(self._images.take(self._rows, [name])[name]).copy()
                if is_kept
                else np.full(len(self._rows), "", dtype=object)
            )
        return self._texts[name]

    def _write(self, name: str, place: int, value: str) -> None:
        self._read(name)[place] = value

    def write(self) -> dict[str, pd.Series[Any]]:
        """Return these columns, of all rows."""
        import pandas as pd

        written = {}
        names = self._texts.keys() if self._keeps else self._texts.keys() | self._labels
        for name in sorted(names):
            texts = self._read(name)
            is_core = name in (*LABEL_COLUMNS, LABELS_FROM)
            is_there = name in self._images.columns
            if is_there and (self._keeps or name not in self._labels):
                column = self._images.column(name).copy()
            else:
                dtype = self._images.column(name).dtype if is_core else object
                column = pd.Series(
                    "" if is_core else None, index=range(len(self._images)), dtype=dtype
                )
            written[name] = _put(column, self._rows, texts, is_core=is_core)
        return written


def _put(column: pd.Series[Any], rows: Rows, texts: Any, *, is_core: bool) -> pd.Series[Any]:  # noqa: ANN401
    """Return a column with other cells, as it would be had it been written so."""
    import pandas as pd

    if is_core:
        column.iloc[rows] = texts
        return column
    cells = pd.Series(texts, dtype=object)
    cells = cells.where(cells != "", None)
    if pd.api.types.is_numeric_dtype(column.dtype):
        written = read_cells(pd.DataFrame({"cells": texts[texts != ""]}))["cells"]
        if pd.api.types.is_numeric_dtype(written.dtype):
            cells[texts != ""] = written.astype(object).tolist()
        else:
            column = write_cells(column)
    column = column.astype(object)
    column.iloc[rows] = cells.to_numpy(dtype=object)
    return settle(column.where(column.notna(), None))
