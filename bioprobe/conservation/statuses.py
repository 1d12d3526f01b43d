"""Tables of conservation statuses: the user's own, or a download of the Red List."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.access import is_file
from bioprobe.cells import PLACEHOLDERS, name_cells
from bioprobe.conservation.categories import Category, read_category
from bioprobe.errors import TaxonomyError
from bioprobe.names import unify
from bioprobe.result import WARNING, Note, Notes
from bioprobe.tables import WORKBOOK_SUFFIXES, open_table
from bioprobe.taxonomy import RANKS, Rank
from bioprobe.taxonomy.checklists import (
    ANY_NAME,
    NAMES_ALONE,
    accept_rows,
    read_names,
    strip_marks,
)
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    find_first,
    find_rank_columns,
    is_full_name,
    spell_column,
    spell_columns,
)
from bioprobe.taxonomy.scientific_names import Kind, judge_name, read_name
from bioprobe.taxonomy.synonyms import accept_names

if TYPE_CHECKING:
    import pandas as pd

Lineage = tuple[str, ...]
NO_LINEAGE: Lineage = ("",) * len(RANKS)
#: Headers of statuses, as :func:`bioprobe.taxonomy.columns.spell_column` writes them; an earlier
#: one wins where a table has several that hold any.
STATUS_SPELLINGS = (
    "redlistcategory", "iucncategory", "iucnstatus", "iucnredlist", "iucnredliststatus",
    "iucnredlistcategory", "redlistcategorycode", "redliststatus", "iucn", "iucncode",
    "conservationstatus", "threatstatus", "threatcategory", "redlist", "categorycode", "category",
    "status", "cat", "code",
)  # fmt: skip
_SCOPES = ("scopes", "scope", "scopecode", "assessmentscope")
_YEARS = ("yearpublished", "publishedyear", "year", "assessmentyear", "yearassessed")
_TAGS = {"possiblyextinct": "possibly_extinct",
         "possiblyextinctinthewild": "possibly_extinct_in_the_wild"}  # fmt: skip
_ACCEPTED = ("acceptedname", "acceptedscientificname", "acceptednameusage", "accepted",
             "validname")  # fmt: skip
_SYNONYMS = ("synonyms", "synonym", "synonymname")
_YES = frozenset({"true", "t", "yes", "y", "1", "1.0"})
#: What is no taxon of a list: a part of a species that has an assessment of its own.
PARTS = re.compile(r"\b(?:sub[\s-]?populations?|populations?|stocks?|pod)\b", re.IGNORECASE)
# A column holds statuses where half of its cells are some.
_LEAST_SHARE = 0.5
# Headers of statuses of the world, of those of a part of it, and of common names in languages.
_OF_WORLD = re.compile(r"global|world|iucn|uicn|mond|mund|welt", re.IGNORECASE)
_OF_COUNTRY = re.compile(r"region|nation|local|country|state|land|pays|pa[ií]s", re.IGNORECASE)
_OF_COMMON = re.compile(
    r"vernacul|vernaculaire|vulgar|popular|comun|comum|commun|volgare|trivial|deutsch|english"
    r"|fran[cç]ais|espa[nñ]ol|nederlands|svensk|norsk|dansk|suomi|polska|和名|中文",
    re.IGNORECASE,
)
_SHOWN = 3
# Rows that say what a column holds.
_SAMPLED = 2000
# Headers that may be of common names.
_MAYBE_COMMON = ("name", "label", "taxon", "organism", "names", "animal", "english", "commonnames",
                 "popularname", "localname")  # fmt: skip
# NA is a category of regional lists: not applicable.
_HOLES = frozenset(PLACEHOLDERS) - {"na"}
_MOST_BYTES = 2_000_000_000
# The tables of a download of the Red List, the fullest first.
_DOWNLOADED = ("assessments.csv", "simple_summary.csv")
# Of the Red Lists of Germany and Austria.
_NUMBERS = frozenset("0123*G")
_REMEDY = "write a code such as VU, or its name"


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """The status of one taxon.

    Parameters
    ----------
    name : str
        Its scientific name, a common one where a table has no other.
    category : Category
    lineage : tuple of str, length 7
        As far as it is known; the species of what is below one.
    rank : Rank or None
        None where it is not known.
    common_names : tuple of str
    row : int
        Of the table that says it, -1 where it is none.
    scope : str
        Where it counts, ``""`` where that is not said: all over the world.
    year : int
        When it was published, 0 where that is not said.
    regional : tuple of str
        What is said for regions where nothing is for the world, such as ``Europe LC``.
    synonyms : tuple of str
        Other names of the taxon.
    """

    name: str
    category: Category
    lineage: Lineage = NO_LINEAGE
    rank: Rank | None = None
    common_names: tuple[str, ...] = ()
    row: int = -1
    scope: str = ""
    year: int = 0
    regional: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()

    @property
    def is_below_species(self) -> bool:
        """Whether it is that of a subspecies, variety or form."""
        return bool(self.lineage[-1]) and self.name.casefold() != self.lineage[-1].casefold()

    def describe(self) -> str:
        """Write the name with the code, and what is said for regions."""
        code = self.category.label or f"({self.category.written or 'none'})"
        if self.category.is_old and self.category.code:
            code += f" ({self.category.written})"
        if self.regional:
            code += f" (global; {', '.join(self.regional)})"
        return f"{self.name} {code}"


@dataclasses.dataclass(frozen=True)
class Statuses:
    """The statuses of taxa, from one source.

    Parameters
    ----------
    listed : tuple of Status
        One a taxon.
    source : str
        File, or the Red List with its version.
    notes : tuple of Note
        What was left out, and what contradicts itself.
    about : mapping
        What the source is, JSON-ready.
    """

    listed: tuple[Status, ...]
    source: str
    notes: Notes = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.listed)


def read_statuses(
    path: str | Path,
    *,
    column: str | None = None,
    rank_columns: Mapping[Rank, str] | None = None,
    synonyms: Mapping[str, str] | None = None,
) -> Statuses:
    """Read the statuses of a table, whatever its columns are called.

    Parameters
    ----------
    path : str or Path
        A table of text, a workbook, Parquet or JSON with names of taxa as a taxon list has them,
        and a column of categories; or a zip with one, such as a download of the Red List.
    column : str, optional
        Of the categories. By default the first that is called so (:data:`STATUS_SPELLINGS`), else
        the one of which most cells are categories.
    rank_columns : mapping of Rank to str, optional
        Columns that hold a rank under another name.
    synonyms : mapping of str to str, optional
        Synonym to accepted name, under which taxa are listed.

    Returns
    -------
    Statuses
        Of several rows of one taxon the global one counts, of these the newest. Where they
        contradict each other, none does, and it is said.

    Raises
    ------
    TaxonomyError
        If there is no such column, no cell of it is a category, or no row names a taxon.
    SourceError
        If the file is no table.
    """
    file = Path(path)
    with contextlib.ExitStack() as stack:
        # Where a row stands is looked up in the file, which must stay as long.
        if is_file(file) and _is_plain_zip(file):
            frame, place, said = _open_zip(file, stack)
        else:
            ending = ".csv" if file.suffix.lower() in {".txt", ".lst", ""} else ""
            opened = open_table(file, ending=ending, prefers=_has_statuses)
            frame, place, said = opened.frame, opened.place, list(opened.notes)
        frame = _rename(frame, rank_columns or {}, str(path))
        found = _find_column(frame, column, str(path))
        if column is None:
            said += _list_rivals(frame, found, str(path))
        listed, notes = _read_rows(frame, found, place, str(path), synonyms or {})
    about = {"table": str(path), "column": found, "n_taxa": len(listed)}
    return Statuses(tuple(listed), str(path), (*said, *notes), about)


def _is_plain_zip(path: Path) -> bool:
    """Tell whether a file is a zip and no workbook, whatever its name is."""
    if path.suffix.lower() in WORKBOOK_SUFFIXES or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as packed:
        return {"[Content_Types].xml", "content.xml"}.isdisjoint(packed.namelist())


def _open_zip(
    path: Path, stack: contextlib.ExitStack
) -> tuple[pd.DataFrame, Callable[[int], str], list[Note]]:
    """Open the table of a zip; of a Red List download, with its common names and synonyms."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    with zipfile.ZipFile(path) as packed:
        tables = {
            Path(one.filename).name.lower(): one
            for one in packed.infolist()
            if Path(one.filename).suffix.lower() in {".csv", ".tsv", ".xlsx", ".ods", ".parquet"}
            and not Path(one.filename).name.startswith(("._", "~$"))
        }
        if sum(one.file_size for one in tables.values()) > _MOST_BYTES:
            msg = f"{path} holds more than 2 GB of tables; unpack it, and give one"
            raise TaxonomyError(msg)
        chosen = next((one for one in _DOWNLOADED if one in tables), None)
        chosen = chosen or (next(iter(tables)) if len(tables) == 1 else None)
        if chosen is None:
            listed = ", ".join(sorted(tables)) or "none"
            msg = f"{path} has no {' or '.join(_DOWNLOADED)} and not one table alone (tables: "
            msg += f"{listed}); unpack it, and give one"
            raise TaxonomyError(msg)

        def unpack(name: str) -> Path:
            target = Path(folder) / name
            target.write_bytes(packed.read(tables[name]))
            return target

        opened = open_table(unpack(chosen), prefers=_has_statuses)
        frame = opened.frame
        for name, header in (("taxonomy.csv", ""), ("common_names.csv", "commonName"),
                             ("synonyms.csv", "synonyms")):  # fmt: skip
            if name in tables and name != chosen:
                frame = _join_download(frame, open_table(unpack(name)).frame, header)
        notes = [dataclasses.replace(one) for one in opened.notes]

        def place(row: int) -> str:
            return f"{chosen} {opened.place(row)}"

        return frame, place, notes


def _join_download(frame: pd.DataFrame, other: pd.DataFrame, header: str) -> pd.DataFrame:
    """Join further columns of a download by ``internalTaxonId``; of several rows, all names."""
    keys = [next((c for c in one if spell_column(c) == "internaltaxonid"), None)
            for one in (frame, other)]  # fmt: skip
    if None in keys:
        return frame
    own, theirs = (name_cells(one[key]).tolist() for one, key in zip((frame, other), keys,
                                                                     strict=True))  # fmt: skip
    if not header:
        firsts = {key: row for row, key in reversed(list(enumerate(theirs)))}
        at = [firsts.get(key, -1) for key in own]
        further = {
            str(name): [cells[row] if row >= 0 else "" for row in at]
            for name in other.columns
            if name not in frame.columns and name != keys[1]
            for cells in [name_cells(other[name]).tolist()]
        }
        return frame.assign(**further)
    names = next((c for c in other if spell_column(c) == "name"), None)
    if names is None:
        return frame
    said: dict[str, list[str]] = collections.defaultdict(list)
    for key, name in zip(theirs, name_cells(other[names]).tolist(), strict=True):
        if name:
            said[key].append(name)
    return frame.assign(**{header: ["; ".join(said.get(key, ())) for key in own]})


def _rename(frame: pd.DataFrame, given: Mapping[Rank, str], source: str) -> pd.DataFrame:
    """Give columns that hold a rank its name, where a person said which they are."""
    for rank, column in given.items():
        if not column:
            continue
        if column not in frame.columns:
            listed = ", ".join(map(str, frame.columns))
            msg = f"{source} has no column {column!r} for {rank.value}; it has {listed}"
            raise TaxonomyError(msg)
        if column != rank.value:
            frame = frame.drop(columns=[rank.value], errors="ignore")
            frame = frame.rename(columns={column: rank.value})
    return frame


def _count_categories(values: Sequence[str]) -> tuple[int, int]:
    """Return how many cells say something, and how many of them a category."""
    counts = collections.Counter(one for one in values if one)
    if len(counts) > _SAMPLED:
        # No column of statuses has so many different ones.
        counts = collections.Counter(one for one in values[:_SAMPLED] if one)
    said = {one: n for one, n in counts.items() if one.casefold() not in _HOLES}
    n_read = sum(n for one, n in said.items() if read_category(one) is not None)
    return sum(said.values()), n_read


def _is_status(values: Sequence[str]) -> bool:
    n_said, n_read = _count_categories(values)
    return n_read > 0 and n_read >= _LEAST_SHARE * n_said


def _has_statuses(frame: pd.DataFrame) -> bool:
    """Tell whether a sheet has a column of categories."""
    return any(_is_status(name_cells(frame[column]).tolist()) for column in frame.columns)


def _find_column(frame: pd.DataFrame, given: str | None, source: str) -> str:
    """Find the column of the categories."""
    listed = ", ".join(map(str, frame.columns))
    if given is not None:
        alike = [c for c in frame.columns if spell_column(c) == spell_column(given)]
        if given not in frame.columns and not alike:
            msg = f"{source} has no column {given!r}; it has {listed}"
            raise TaxonomyError(msg)
        found = given if given in frame.columns else str(alike[0])
        values = name_cells(frame[found]).tolist()
        if not _count_categories(values)[1]:
            msg = f"{source}: no cell of the column {found} is a category ({_show(values)}); "
            raise TaxonomyError(msg + _REMEDY)
        return found
    spelt = spell_columns(frame.columns)
    named = [spelt[one] for one in STATUS_SPELLINGS if one in spelt]
    cells = {name: name_cells(frame[name]).tolist() for name in map(str, frame.columns)}
    for name in named:
        if _is_status(cells[name]):
            return name
    # A column of single letters or of NA is none, however it is called; of several that of the
    # world counts before that of a country.
    others = [
        (_OF_WORLD.search(name) is not None, _OF_COUNTRY.search(name) is None, n, -at, name)
        for at, (name, values) in enumerate(cells.items())
        if name not in named and _is_status(values)
        and (n := sum(len(one) > 1 and one.casefold() != "na" for one in values))
    ]  # fmt: skip
    likely = [one[-1] for one in sorted(others, reverse=True)]
    if likely:
        return likely[0]
    shown = f" ({named[0]} holds {_show(cells[named[0]])})" if named else ""
    msg = (
        f"{source} has no column of Red List categories{shown}; its columns are {listed}. Name it "
        "with --status-column, with cells such as VU or Vulnerable"
    )
    raise TaxonomyError(msg)


def _list_rivals(frame: pd.DataFrame, found: str, source: str) -> list[Note]:
    """Say which columns hold categories beside the one that is taken."""
    rivals = [
        str(name) for name in frame.columns
        if str(name) != found and _is_status(values := name_cells(frame[name]).tolist())
        and any(len(one) > 1 and one.casefold() != "na" for one in values)
    ]  # fmt: skip
    if not rivals:
        return []
    text = (
        f"{source}: the categories are those of the column {found}; "
        f"{_list(rivals[:_SHOWN], len(rivals))} hold some too: --status-column takes another"
    )
    return [Note(text)]


def _show(values: Iterable[str]) -> str:
    listed = list(dict.fromkeys(one for one in values if one))[:_SHOWN]
    return ", ".join(map(repr, listed)) or "nothing"


def _read_rows(
    frame: pd.DataFrame,
    column: str,
    place: Callable[[int], str],
    source: str,
    synonyms: Mapping[str, str],
) -> tuple[list[Status], list[Note]]:
    """Read one status a row, and make of several of one taxon one."""
    cells = name_cells(frame[column]).tolist()
    spelt: dict[str, str] = {}
    rest = frame.drop(columns=[column]).reset_index(drop=True)
    for name in rest.columns:
        spelt.setdefault(spell_column(name), str(name))
    rest = _name_columns(_prefer_full_names(rest), source)
    columns = find_rank_columns(rest.columns)
    names_of = spell_columns(rest.columns)
    rest = strip_marks(rest, names_of, columns)
    parts = _find_parts(rest, names_of, columns)
    rest, were = accept_rows(rest, names_of, columns)
    called, lineages, ranks = read_names(rest, names_of, columns, Path(source))
    others = _read_others(rest, names_of)
    scopes, years = _read_texts(frame, spelt, _SCOPES), _read_texts(frame, spelt, _YEARS)
    tags = {tag: _read_texts(frame, spelt, (spelling,)) for spelling, tag in _TAGS.items()}
    commons = _list_commons(rest, columns, names_of)
    rows: list[Status] = []
    bad: dict[str, list[int]] = collections.defaultdict(list)
    # V is Vulnerable to the Red Data Books, and the list of forewarning to those with numbers.
    is_numbered = not _NUMBERS.isdisjoint(cells)
    for row, cell in enumerate(cells):
        category = None if is_numbered and len(cell) == 1 else read_category(cell)
        why = _find_reason(cell, category, is_part=parts[row], is_named=bool(called[row]))
        if why:
            bad[why].append(row)
        if why in {"", _OLD} and category is not None:
            own: dict[str, Any] = {
                tag: values[row].casefold() in _YES for tag, values in tags.items()
            }
            if category.code == "CR" and any(own.values()):
                category = dataclasses.replace(category, **own)
            synonym = (were[row],) if were[row] else ()
            rows.append(_make(
                called[row], lineages[row], ranks[row], category, row, synonyms,
                common=commons[row], scope=scopes[row], year=years[row],
                others=(*synonym, *others[row]),
            ))  # fmt: skip
    if not rows:
        msg = (
            f"{source}: no row names a taxon with a category in the column {column} "
            f"({_show(cells)}); {_REMEDY}"
        )
        raise TaxonomyError(msg)
    listed, said = _join(rows, source, place)
    return listed, [*_describe(bad, cells, source, column, place), *said]


_UNREAD, _EMPTY, _UNNAMED, _PART, _OLD = "unread", "empty", "unnamed", "part", "old"


def _find_reason(cell: str, category: Category | None, *, is_part: bool, is_named: bool) -> str:
    """Return why a row is to be spoken of, ``""`` where it is as it should be."""
    if not cell or cell.casefold() in _HOLES:
        return _EMPTY
    if category is None:
        return _UNREAD
    if is_part:
        return _PART
    if not is_named:
        return _UNNAMED
    return "" if category.code else _OLD


def _read_texts(
    frame: pd.DataFrame, spelt: Mapping[str, str], spellings: Sequence[str]
) -> list[str]:
    column = find_first(spellings, spelt)
    return name_cells(frame[column]).tolist() if column is not None else [""] * len(frame)


def _prefer_full_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out epithets where another column has whole names: these say what is below species."""
    full = [one for one in frame.columns if is_full_name(one)]
    if not full:
        return frame
    epithets = [
        one
        for one in frame.columns
        if spell_column(one) in {"species", "speciesname", "speciesepithet", "specificepithet"}
        and not any(" " in cell for cell in name_cells(frame[one]))
    ]
    return frame.drop(columns=epithets)


def _find_parts(
    frame: pd.DataFrame, spelt: Mapping[str, str], columns: Mapping[str, str]
) -> list[bool]:
    """Tell which rows are of a part of a species, such as a subpopulation."""
    named = dict.fromkeys([*columns.values(), *(spelt[one] for one in ANY_NAME if one in spelt)])
    found = [False] * len(frame)
    for column in named:
        cells = name_cells(frame[column]).tolist()
        found = [one or PARTS.search(cell) is not None
                 for one, cell in zip(found, cells, strict=True)]  # fmt: skip
    for one in ("subpopulationname", "subpopulation"):
        if one in spelt:
            cells = name_cells(frame[spelt[one]]).tolist()
            found = [is_part or bool(cell) for is_part, cell in zip(found, cells, strict=True)]
    return found


def _name_columns(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Rename the column of scientific names, and that of common ones, where no header says them.

    ``Taxon`` and ``Name`` hold either.
    """
    found = find_rank_columns(frame.columns)
    named = {rank: column for rank, column in found.items() if rank != COMMON_NAME}
    shares = {
        str(column): _count_names(name_cells(frame[column]).tolist()) for column in frame.columns
    }
    free = [one for one in shares if one not in found.values()]
    best = max(free, key=lambda one: (not _OF_COMMON.search(one), shares[one][0]), default=None)
    if Rank.SPECIES not in named and best is not None and shares[best][0] > _LEAST_SHARE:
        frame = frame.rename(columns={best: "scientificName"})
        free.remove(best)
        named = {**named, Rank.SPECIES: best}
    elif any(spell_column(one) in _ACCEPTED for one in frame.columns) and not any(
        is_full_name(one) and spell_column(one) not in _ACCEPTED for one in frame.columns
    ):
        # Beside an accepted name, the species is that which is written.
        frame = frame.rename(columns={named[Rank.SPECIES]: "scientificName"})
    if COMMON_NAME not in found and named:
        words = [one for one in free if _OF_COMMON.search(one)]
        words += [one for one in free if spell_column(one) in _MAYBE_COMMON
                  and shares[one][1] > _LEAST_SHARE]  # fmt: skip
        if words:
            frame = frame.rename(columns={words[0]: COMMON_NAME})
    known = any(spell_column(one) in (*ANY_NAME, *NAMES_ALONE) for one in free)
    if not named and COMMON_NAME not in found and not known:
        listed = ", ".join(map(str, frame.columns)) or "none"
        msg = (
            f"{source} has no column of names beside the categories (columns: {listed}); expected "
            "scientificName, species, taxon or common_name, or say --rank-column species=COLUMN"
        )
        raise TaxonomyError(msg)
    return frame


def _count_names(cells: Sequence[str]) -> tuple[float, float]:
    """Return the share of cells that are names of species, and that of those that are no name."""
    said = [one for one in cells if one]
    if not said:
        return 0.0, 0.0
    parsed = [read_name(one) for one in said[:_SAMPLED]]
    n_species = sum(one is not None and not one.is_uninomial for one in parsed)
    kinds = [judge_name(one) for one in said[:_SAMPLED]]
    n_common = sum(one is Kind.COMMON for one in kinds)
    n_open = sum(one is Kind.OPEN for one in kinds)
    return n_species / len(parsed), (n_common + n_open) / len(parsed) if n_common else 0.0


def _list_commons(
    frame: pd.DataFrame, columns: Mapping[str, str], spelt: Mapping[str, str]
) -> list[list[str]]:
    column = columns.get("common_name") or spelt.get("commonnames") or spelt.get("primarycomname")
    if column is None:
        return [[]] * len(frame)
    cells = name_cells(frame[column]).tolist()
    return [[unify(one) for one in re.split(r"[;|,]", cell) if one.strip()] for cell in cells]


def _read_others(frame: pd.DataFrame, spelt: Mapping[str, str]) -> list[list[str]]:
    """Return the further names of each row, that a column of synonyms has."""
    column = find_first(_SYNONYMS, spelt)
    if column is None:
        return [[]] * len(frame)
    found = []
    for cell in name_cells(frame[column]).tolist():
        parsed = [read_name(one) for one in re.split(r"[;|]|,(?!\s*\d{4})", cell) if one.strip()]
        found.append([one.certain for one in parsed if one is not None and not one.is_uninomial])
    return found


def _make(
    called: Sequence[str],
    lineage: Lineage,
    rank: Rank | None,
    category: Category,
    row: int,
    synonyms: Mapping[str, str],
    *,
    common: Sequence[str],
    scope: str,
    year: str,
    others: Sequence[str],
) -> Status:
    """Make the status of one row."""
    name = unify(called[0])
    parsed = read_name(name)
    names = list(lineage)
    if rank is not None and not names[rank.depth]:
        names[rank.depth] = name
    commons = [*called[1:], *common]
    if parsed is not None and not parsed.is_uninomial:
        # "Lion" is a genus to no one; a name of two words or more is one of a species.
        name, rank = parsed.certain, Rank.SPECIES
        words = name.split(" ")
        names[Rank.SPECIES.depth] = " ".join(words[:2]) if "\u00d7" not in words else name
        names[Rank.GENUS.depth] = words[0]
    elif rank is None and called[0] in common and len(called) == 1:
        commons = [*common]
    accepted = accept_names(tuple(names), synonyms) if synonyms else tuple(names)
    if accepted[-1] != names[-1] and names[-1]:
        others = [*others, name]
        name = accepted[-1] + name.removeprefix(names[-1])
    elif name in synonyms:
        others, name = [*others, name], synonyms[name]
    return Status(
        name, category, accepted, rank, tuple(dict.fromkeys(filter(None, commons))), row,
        "" if _is_global(scope) else scope, read_year(year), (), tuple(dict.fromkeys(others)),
    )  # fmt: skip


def _is_global(scope: str) -> bool:
    parts = [one.strip().casefold() for one in re.split(r"[;,|&]", scope)]
    return not scope or any(one in {"global", "1", "world", "worldwide"} for one in parts)


def read_year(text: str) -> int:
    """Return the year that a text names, 0 where it names none."""
    found = re.search(r"(?:19|20)\d\d", text)
    return int(found.group()) if found else 0


def _join(
    rows: Iterable[Status], source: str, place: Callable[[int], str]
) -> tuple[list[Status], list[Note]]:
    """Make one of several statuses of a taxon: the global one counts, of these the newest."""
    by_name = _group(rows)
    listed: list[Status] = []
    twice: list[Sequence[Status]] = []
    contradicting: list[Sequence[Status]] = []
    for several in by_name.values():
        chosen, against = _choose(several)
        listed.append(chosen)
        if against:
            contradicting.append(against)
        elif len(several) > 1 and not chosen.regional and not any(one.scope for one in several):
            twice.append(several)

    def show(found: Sequence[Sequence[Status]], *, says_what: bool) -> str:
        texts = []
        for rows_of in found[:_SHOWN]:
            places = [place(one.row) + (f" {one.category.written}" if says_what else "")
                      for one in rows_of[:_SHOWN]]  # fmt: skip
            texts.append(f"{rows_of[0].name} ({_list(places, len(rows_of))})")
        return _list(texts, len(found))

    notes = []
    if twice:
        notes.append(Note(f"{source}: {len(twice):,} taxa stand in several rows that agree, or of "
                          f"which the newest counts: {show(twice, says_what=False)}"))  # fmt: skip
    if contradicting:
        notes.append(Note(
            f"warning: {source}: the rows of {len(contradicting):,} taxa contradict each other, "
            f"which have no status here: {show(contradicting, says_what=True)}; keep one row each",
            WARNING,
        ))  # fmt: skip
    return listed, notes


def _group(rows: Iterable[Status]) -> dict[tuple[str, ...], list[Status]]:
    """Return the statuses of each taxon; one without a kingdom is of the one that is said."""
    by_name: dict[tuple[str, ...], list[Status]] = collections.defaultdict(list)
    for one in rows:
        by_name[one.name.casefold(), one.lineage[0].casefold()].append(one)
    kingdoms: dict[str, list[str]] = collections.defaultdict(list)
    for name, kingdom in by_name:
        kingdoms[name] += [kingdom] if kingdom else []
    for name, known in kingdoms.items():
        if len(known) == 1 and (name, "") in by_name:
            by_name[name, known[0]] += by_name.pop((name, ""))
    return by_name


def _choose(several: Sequence[Status]) -> tuple[Status, Sequence[Status]]:
    """Choose the status that counts, and return those that contradict each other."""
    whole = [one for one in several if not one.scope]
    regional = [one for one in several if one.scope]
    commons = tuple(dict.fromkeys(name for one in several for name in one.common_names))
    others = tuple(dict.fromkeys(name for one in several for name in one.synonyms))
    lineage = tuple(next(filter(None, names), "")
                    for names in zip(*(one.lineage for one in several), strict=True))  # fmt: skip
    joined = {"common_names": commons, "synonyms": others, "lineage": lineage}
    if not whole:
        newest: dict[str, Status] = {}
        for one in sorted(regional, key=lambda one: one.year):
            newest[one.scope] = one
        said = tuple(f"{scope} {one.category.label}" for scope, one in sorted(newest.items()))
        first = regional[0]
        return dataclasses.replace(first, category=Category("NE"), scope="", regional=said,
                                   **joined), ()  # type: ignore[arg-type]  # fmt: skip
    year = max(one.year for one in whole)
    newest_of = [one for one in whole if one.year == year]
    codes = {one.category.code for one in newest_of}
    chosen = max(newest_of, key=lambda one: one.category.label)
    chosen = dataclasses.replace(chosen, **joined)  # type: ignore[arg-type]
    if len(codes) == 1:
        return chosen, ()
    said_all = " and ".join(dict.fromkeys(one.category.written for one in newest_of))
    return dataclasses.replace(chosen, category=Category("", said_all)), newest_of


def _describe(
    bad: Mapping[str, Sequence[int]],
    cells: Sequence[str],
    source: str,
    column: str,
    place: Callable[[int], str],
) -> Iterable[Note]:
    """Say which rows were left out, and why."""
    texts = {
        _UNREAD: f"have what is no Red List category in the column {column}, and are left out",
        _EMPTY: f"have no status in the column {column}, and are left out",
        _UNNAMED: "name no single taxon, and are left out",
        _PART: "are of a part of a species, such as a subpopulation, and are left out",
        _OLD: "have a category without an equivalent today, and count as without a status",
    }
    for why, text in texts.items():
        rows = bad.get(why, ())
        if not rows:
            continue
        says_what = why in {_UNREAD, _OLD}
        shown = [place(row) + (f" {cells[row]!r}" if says_what else "") for row in rows[:_SHOWN]]
        said = f"{source}: {len(rows):,} rows {text}: {_list(shown, len(rows))}"
        if why == _UNREAD:
            yield Note(f"warning: {said}; {_REMEDY}", WARNING)
        else:
            yield Note(said)


def _list(texts: Sequence[str], n: int) -> str:
    return ", ".join(texts) + (", …" if n > len(texts) else "")
