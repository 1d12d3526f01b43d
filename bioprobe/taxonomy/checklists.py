"""Lists of what may occur: taxa that are allowed and taxa that are not, everywhere or somewhere."""

from __future__ import annotations

import dataclasses
import functools
import re
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.access import is_file
from bioprobe.cells import name_cells
from bioprobe.errors import TaxonomyError
from bioprobe.files import read_json, read_lines
from bioprobe.names import unify
from bioprobe.options import split_names
from bioprobe.table_bounds import check_json
from bioprobe.tables import WORKBOOK_SUFFIXES, read_table
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    find_first,
    find_rank_columns,
    is_full_name,
    read_labels,
    spell_column,
    spell_columns,
)
from bioprobe.taxonomy.lists import shipped_taxonomies
from bioprobe.taxonomy.scientific_names import read_name
from bioprobe.taxonomy.taxon import RANKS, Rank

if TYPE_CHECKING:
    import pandas as pd

#: What says where a rule counts, the widest first.
COUNTRY, ADMIN1, SITE = PLACE_PARTS = ("country", "admin1", "site")
#: Headers, as :func:`bioprobe.taxonomy.columns.spell_column` writes them, of each part.
PLACE_SPELLINGS: dict[str, tuple[str, ...]] = {
    COUNTRY: ("country", "countrycode", "iso3", "iso3code", "countryiso3", "iso2", "countryname"),
    ADMIN1: ("admin1", "admin1region", "admin1regioncode", "admin1code", "stateprovince",
             "stateprovincecode", "state", "province", "state/province"),
    SITE: ("site", "siteid", "sitename", "park", "reserve"),
}  # fmt: skip
# Columns of pictures that say their site, where none is called so.
SITES_OF_PICTURES = (*PLACE_SPELLINGS[SITE], "locationid", "locationname", "location", "locality",
                     "station", "deploymentid")  # fmt: skip
_RULES = ("rule", "allow", "allowed", "occurrencestatus", "occurs", "presence", "present", "status")
_ALLOW = frozenset({"allow", "allowed", "include", "included", "yes", "y", "true", "1", "present",
                    "common", "+"})  # fmt: skip
_BLOCK = frozenset({"block", "blocked", "deny", "exclude", "excluded", "no", "n", "false", "0",
                    "absent", "extinct", "extirpated", "eradicated", "ex", "ew", "re",
                    "extinct in the wild", "locally extinct", "regionally extinct", "not present",
                    "not recorded", "not occurring", "no record", "no records", "!",
                    "-"})  # fmt: skip
# Columns that say the reverse: what they are true of may not occur.
_REVERSED = ("block", "blocked", "exclude", "excluded", "absent")
# Columns that hold a name of any rank where no header says a rank.
ANY_NAME = ("taxon", "name", "taxonname", "organism", "label")
NAMES_ALONE = frozenset({"species", "genus", "family", "order", "class"})
# Of eBird's categories, those that are names of birds: no slash, hybrid, or "sp.".
_EBIRD_KEPT = frozenset({"species", "issf", "form", "domestic", ""})
# Columns of lists that are made of records or hold a whole tree: a row of a genus is of what was
# named no further, or stands there for its species, and says of no other species that it occurs.
_OF_TREES = frozenset({"taxonid", "taxonkey", "acceptedtaxonkey", "parentnameusageid", "gbifid",
                       "numberofoccurrences", "occurrenceid", "basisofrecord", "submissionid",
                       "qualitygrade"})  # fmt: skip
_ACCEPTED = ("acceptednameusage", "acceptedscientificname", "acceptedname", "accepted", "validname")
# Names of countries that ISO 3166 has otherwise, as people and GBIF write them.
_USUAL_COUNTRIES = {
    "uk": "GBR",
    "great britain": "GBR",
    "united kingdom": "GBR",
    "england": "GBR",
    "scotland": "GBR",
    "wales": "GBR",
    "northern ireland": "GBR",
    "united states": "USA",
    "america": "USA",
    "u s a": "USA",
    "u s": "USA",
    "u k": "GBR",
    "russia": "RUS",
    "south korea": "KOR",
    "north korea": "PRK",
    "laos": "LAO",
    "vietnam": "VNM",
    "syria": "SYR",
    "brunei": "BRN",
    "czech republic": "CZE",
    "ivory coast": "CIV",
    "cote d ivoire": "CIV",
    "turkey": "TUR",
    "swaziland": "SWZ",
    "cape verde": "CPV",
    "macedonia": "MKD",
    "burma": "MMR",
    "east timor": "TLS",
    "dr congo": "COD",
    "drc": "COD",
    "democratic republic of the congo": "COD",
    "congo kinshasa": "COD",
    "congo brazzaville": "COG",
    "republic of the congo": "COG",
    "holland": "NLD",
    "the netherlands": "NLD",
    "netherlands": "NLD",
    "vatican": "VAT",
    "falkland islands": "FLK",
    "micronesia": "FSM",
    "taiwan": "TWN",
    "palestine": "PSE",
    "bolivia": "BOL",
    "venezuela": "VEN",
    "iran": "IRN",
    "tanzania": "TZA",
    "moldova": "MDA",
}
_SPECIESNET_RANKS = RANKS[Rank.CLASS.depth :]
_EM = re.compile(r'(.*?)\(<em class="sci">(.*?)</em>\)')
_TIMES = re.compile("\u00d7| x ")
# A record of no single species, as eBird writes it where no column says so.
_SEVERAL = re.compile("/|\u00d7| x | sp[.]")
# Marks that lists set beside names: footnotes, extinct, not sure.
_MARKS = re.compile("^[*\u2020\u2021]+\\s*|[\\s*?\u2020\u2021\u00a7\u00b2\u00b3\u00b9]+$")
# What is written as a file and is none is no name.
_A_FILE = re.compile(r"\.(?:csv|tsv|txt|lst|json|jsonl|parquet|xlsx?|ods|zip|gz)$", re.IGNORECASE)
_BULLET = re.compile(r"(?:\d+[.)]|[*\u2022])\s+")
_IN_BRACKETS = re.compile(r"(.+?)\s*[(\[]([^)\]]+)[)\]]\s*")
_PARTED = re.compile(r"\s+[-\u2013\u2014:]\s+|\t+|[;,]\s*")
# A zip of a list is a few tables; what is larger is something else.
_MOST_BYTES = 2_000_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One taxon that may occur or may not, with everything below it.

    Parameters
    ----------
    names : tuple of str
        How it is called; of several the first that is known counts.
    lineage : tuple of str, length 7
        What is said of the names above it, ``""`` where nothing is.
    rank : Rank or None
        Its rank, None where that is not said.
    allows : bool
        Whether it may occur.
    where : tuple of str, length 3
        Country, first part of the country, and site where the rule counts; ``""`` is any.
    spreads : bool
        Whether it counts for everything below its taxon too.
    """

    names: tuple[str, ...]
    lineage: tuple[str, ...] = ("",) * len(RANKS)
    rank: Rank | None = None
    allows: bool = True
    where: tuple[str, str, str] = ("", "", "")
    spreads: bool = True


@dataclasses.dataclass(frozen=True)
class Checklist:
    """Rules that were read of one source.

    Parameters
    ----------
    rules : tuple of Rule
    source : str
        File, or ``--within``.
    by_entry : bool
        Whether each taxon that is named is judged by its own rules, and all others may occur, as
        in a geofence; by default what nothing allows may not occur, if anything is allowed.
    n_left_out : int
        Rows that name no taxon: those of groups, hybrids and the like.
    """

    rules: tuple[Rule, ...]
    source: str
    by_entry: bool = False
    n_left_out: int = 0


def read_checklists(
    within: str | Path | Sequence[str | Path], option: str = "--within"
) -> list[Checklist]:
    """Read what ``--within`` says: names of taxa, with ``!`` before one that may not occur; files.

    Parameters
    ----------
    within : str, Path, or sequence of them
        Names may stand in one text with commas between.
    option : str
        What says so.

    Raises
    ------
    TaxonomyError
        If a file is missing, holds no taxon, or cannot be read.
    """
    found, rules = [], []
    for one in [within] if isinstance(within, (str, Path)) else within:
        parts = [str(one)] if is_list(one) else split_names(str(one))
        for part in parts:
            if is_list(part):
                found.append(read_checklist(Path(part) if is_file(Path(part)) else part))
            else:
                if _A_FILE.search(part):
                    msg = (
                        f"no list at {part}, given by {option}; give a file that is there, or names"
                    )
                    raise TaxonomyError(msg)
                name = part.removeprefix("!").strip()
                rules.append(Rule((unify(name),), allows=not part.startswith("!")))
    if rules:
        found.insert(0, Checklist(tuple(rules), option))
    if not found:
        msg = f"{option} names no taxon; give names at any rank, or a list in a file"
        raise TaxonomyError(msg)
    return found


def is_list(text: str | Path) -> bool:
    """Tell whether a text names a file or a list that ships."""
    return is_file(Path(text)) or str(text) in shipped_taxonomies()


def read_checklist(source: str | Path) -> Checklist:
    """Read one list of what may occur.

    Parameters
    ----------
    source : str or Path
        A table with names (Darwin Core, GBIF's species list, eBird's taxonomy or one's own eBird
        data), a zip with one, eBird's bar chart, a geofence of SpeciesNet, or a text file with a
        name a line, in which ``!`` or ``-`` stands before what may not occur; or the name of a
        list that ships. Columns ``rule`` or ``occurrenceStatus`` say which, and ``country``,
        ``admin1`` and ``site`` (also as Darwin Core has them) where.

    Raises
    ------
    TaxonomyError
        If it holds no taxon, or a rule is neither to allow nor to block.
    SourceError
        If the file is no table or text that bioprobe reads.

    References
    ----------
    GBIF, *Species list* downloads; eBird, *Bar charts* and *Download My Data*; Darwin Core archive
    with the extension *Species Distribution*; SpeciesNet, ``geofence_release.json``.
    """
    path = Path(source)
    if not is_file(path):
        from bioprobe.files import prompts_dir

        path = prompts_dir() / "taxonomies" / f"{source}.csv"
    suffix = path.suffix.lower()
    if suffix == ".json":
        found = _read_json(path)
    elif zipfile.is_zipfile(path) and suffix not in WORKBOOK_SUFFIXES:
        found = _read_zip(path)
    elif suffix in {".txt", ".lst", ""}:
        found = _read_text(path)
    else:
        found = _read_rows(read_table(path), path)
    if not found.rules:
        msg = f"{path} names no taxon; expected names in columns, or one a line"
        raise TaxonomyError(msg)
    return found


def _read_json(path: Path) -> Checklist:
    check_json(path)
    try:
        entries = read_json(path)
    except ValueError as error:
        msg = f"{path} is not JSON ({error}); save it as UTF-8 JSON"
        raise TaxonomyError(msg) from error
    if isinstance(entries, dict):
        return _read_geofence(entries, path)
    from bioprobe.taxonomy.lists import read_list

    if isinstance(entries, list) and entries and all(isinstance(one, str) for one in entries):
        return Checklist(tuple(_read_lines(entries)), str(path))
    return _read_rows(read_list(path)[0], path)


def _read_geofence(entries: Mapping[str, Any], path: Path) -> Checklist:
    rules = []
    for taxon, said in entries.items():
        if not isinstance(said, dict) or not said or not set(said) <= {"allow", "block"}:
            msg = (
                f"{path}: the entry {taxon!r} is {str(said)[:60]}; expected a geofence, "
                '{"allow": {"KEN": []}, "block": {"USA": ["NY"]}}, or a list of taxa'
            )
            raise TaxonomyError(msg)
        lineage = _split_speciesnet(taxon)
        if lineage is None:
            names, above, rank = (unify(taxon),), ("",) * len(RANKS), None
        else:
            depth = max((d for d, name in enumerate(lineage) if name), default=0)
            names, rank = (lineage[depth] or "Animalia",), RANKS[depth]
            above = (*lineage[:depth], *[""] * (len(RANKS) - depth))
        for word, places in said.items():
            if not isinstance(places, dict):
                msg = f"{path}: {word} of {taxon!r} is {str(places)[:60]}; expected countries"
                raise TaxonomyError(msg)
            for country, regions in places.items():
                for region in regions or [""]:
                    where = (_read_country(str(country)), _read_admin1(str(region)), "")
                    rules.append(Rule(names, above, rank, word == "allow", where))
    return Checklist(tuple(rules), str(path), by_entry=True)


def _split_speciesnet(text: str) -> tuple[str, ...] | None:
    """Return the lineage of ``class;order;family;genus;species``, None of another text.

    A whole label, with its identifier before and the common name after, is read too.
    """
    parts = [part.strip() for part in text.split(";")]
    parts = parts[1:6] if len(parts) == 7 else parts
    if len(parts) != len(_SPECIESNET_RANKS):
        return None
    names = [part.capitalize() for part in parts[:-1]]
    species = f"{names[-1]} {parts[-1].lower()}" if parts[-1] and names[-1] else ""
    lineage = ("", "", *names, species)
    # The string of no name at all is that of all animals.
    return lineage if any(names) else ("Animalia", *[""] * (len(RANKS) - 1))


def _read_zip(path: Path) -> Checklist:
    """Read a list that was packed: a Darwin Core archive, or a single table."""
    with zipfile.ZipFile(path) as packed, tempfile.TemporaryDirectory() as folder:
        listed = [one for one in packed.infolist() if not one.is_dir()]
        tables = {
            Path(one.filename).name: one
            for one in listed
            if Path(one.filename).suffix.lower() in {".txt", ".csv", ".tsv", ".parquet", ".json"}
        }
        if sum(one.file_size for one in tables.values()) > _MOST_BYTES:
            size = f"{_MOST_BYTES / 1e9:.0f} GB"
            msg = f"{path} holds more than {size} of tables; unpack it, and give one"
            raise TaxonomyError(msg)
        spelt = {name.lower(): name for name in tables}
        files = ("taxon.txt", "taxa.txt", "taxon.tsv", "taxon.csv", "occurrence.txt")
        core = find_first(files, spelt)
        wanted = core or (next(iter(tables)) if len(tables) == 1 else None)
        if wanted is None:
            names = ", ".join(tables) or "none"
            msg = f"{path} has no taxon.txt and not one table alone (tables: {names}); give one"
            raise TaxonomyError(msg)

        def unpack(name: str) -> Path:
            target = Path(folder) / f"{len(name)}{Path(name).suffix.lower()}"
            target.write_bytes(packed.read(tables[name]))
            return target

        frame = read_table(unpack(wanted), ending=".tsv" if wanted.endswith(".txt") else "")
        endings = ("distribution.txt", "speciesdistribution.txt", "distribution.tsv")
        further = find_first(endings, spelt)
        if further is not None:
            frame = _join_distribution(frame, read_table(unpack(further), ending=".tsv"))
        return _read_rows(frame, path)


def _join_distribution(taxa: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each taxon and place of a Darwin Core archive."""
    keys = [
        next((c for c in one if spell_column(c) in {"id", "coreid", "taxonid"}), None)
        for one in (taxa, places)
    ]
    if None in keys:
        return taxa
    named = {column: column for column in places if column != keys[1]}
    renamed = places.rename(columns={c: f"place {c}" for c in named if c in taxa})
    for column in [c for c in renamed if spell_column(c) == "locationid"]:
        codes = renamed[column].astype(str).str.extract(r"ISO(?:3166)?(?:-1)?:([A-Za-z]{2,3})$")[0]
        if codes.notna().any() and "countryCode" not in renamed:
            renamed["countryCode"] = codes
    renamed["_key"], left = (
        renamed[keys[1]].astype(str),
        taxa.assign(_key=taxa[keys[0]].astype(str)),
    )
    return left.merge(renamed.drop(columns=[keys[1]]), on="_key", how="left").drop(columns="_key")


def _read_text(path: Path) -> Checklist:
    lines = [(n, line) for n, line in enumerate(read_lines(path), start=1)]
    if any('<em class="sci">' in line for _, line in lines):
        return _read_bar_chart(lines, path)
    written = [(n, line) for n, line in lines if line.strip() and not line.startswith("#")]
    # A table is a table whatever its file is called.
    headers = [one.strip(' "') for one in re.split("[\t;,]", written[0][1])] if written else []
    if find_rank_columns(headers) or any(spell_column(one) in ANY_NAME for one in headers):
        ending = ".tsv" if "\t" in written[0][1] else ".csv"
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / f"list{ending}"
            table.write_text("\n".join(line for _, line in written) + "\n", encoding="utf-8")
            return _read_rows(read_table(table), path)
    return Checklist(tuple(_read_lines(line for _, line in written)), str(path))


def _read_bar_chart(lines: Iterable[tuple[int, str]], path: Path) -> Checklist:
    rules, n_left_out = [], 0
    for _, line in lines:
        found = _EM.match(line)
        if found is None:
            continue
        common, name = unify(found.group(1)), unify(found.group(2))
        parsed = None if "/" in name else read_name(name)
        if parsed is None or parsed.is_uninomial or _TIMES.search(name):
            n_left_out += 1
            continue
        rules.append(Rule((name, common), rank=Rank.SPECIES))
    return Checklist(tuple(rules), str(path), n_left_out=n_left_out)


def _read_lines(lines: Iterable[str]) -> Iterator[Rule]:
    """Read a name a line, scientific or common, as people write lists."""
    written = [_MARKS.sub("", unify(line.split("#")[0])) for line in lines]
    written = [line for line in written if line]
    # A list whose every line has a stroke before it has bullets.
    is_bulleted = len(written) > 1 and all(line.startswith("-") for line in written)
    for line in written:
        blocks = line.startswith("!") or (line.startswith("-") and not is_bulleted)
        text = _BULLET.sub("", line.lstrip("!-").strip(), count=1)
        lineage = _split_speciesnet(text)
        if lineage is not None:
            depth = max(d for d, name in enumerate(lineage) if name)
            above = (*lineage[:depth], *[""] * (len(RANKS) - depth))
            yield Rule((lineage[depth],), above, RANKS[depth], allows=not blocks)
            continue
        names = [text]
        bracketed = _IN_BRACKETS.fullmatch(text)
        if bracketed:
            names += [bracketed.group(2), bracketed.group(1)]
        parts = [part for part in _PARTED.split(text) if part != text]
        # "Panthera leo, lion" is the species, and no genus of which the rest is not sure.
        names = [*parts, *names] if parts and _is_surer(parts[0], text) else [*names, *parts]
        unified = dict.fromkeys(unify(name) for name in names if name.strip())
        if unified:
            yield Rule(tuple(unified), allows=not blocks)


def _is_surer(part: str, whole: str) -> bool:
    """Tell whether a part of a line says a species where the whole line says a genus."""
    one, other = read_name(part), read_name(whole)
    return bool(one and other and other.is_uninomial and not one.is_uninomial)


def _read_rows(frame: pd.DataFrame, path: Path) -> Checklist:
    """Read the rules of a table, one a row."""
    spelt = spell_columns(frame.columns)
    if {"category", "taxonorder"} <= set(spelt):
        # eBird's order is a number.
        frame = frame.drop(columns=[spelt["taxonorder"]])
    columns = find_rank_columns(frame.columns)
    # A table of one column may be a list without a header, or with one of a rank alone.
    if len(frame.columns) == 1 and not columns and spell_column(frame.columns[0]) not in {
        *ANY_NAME, *NAMES_ALONE
    }:  # fmt: skip
        lines = [str(frame.columns[0]), *name_cells(frame.iloc[:, 0]).tolist()]
        return Checklist(tuple(_read_lines(lines)), str(path))
    n_rows = len(frame)
    kept = [True] * n_rows
    if "category" in spelt and {"speciescode", "taxonorder", "taxonomicorder"} & set(spelt):
        kept = [one.lower() in _EBIRD_KEPT for one in name_cells(frame[spelt["category"]])]
    elif {"submissionid", "scientificname"} <= set(spelt):
        names_written = name_cells(frame[spelt["scientificname"]])
        kept = [_SEVERAL.search(one) is None for one in names_written]
    frame = strip_marks(frame.loc[kept].reset_index(drop=True), spelt, columns)
    if frame.empty:
        return Checklist((), str(path), n_left_out=n_rows)
    frame, synonyms = accept_rows(frame, spelt, columns)
    names, lineages, ranks = read_names(frame, spelt, columns, path)
    allows = _read_allows(frame, spelt, path)
    where = _read_where(frame, spelt)
    rules: dict[Rule, None] = {}
    n_left_out = n_rows - len(frame)
    parents = _find_parents(frame, spelt, names, lineages)
    for row, (name, lineage, rank, allow, places) in enumerate(
        zip(names, lineages, ranks, allows, where, strict=True)
    ):
        called = tuple(dict.fromkeys((*name, synonyms[row]) if synonyms[row] else name))
        for place in places if name else ():
            rules[Rule(called, lineage, rank, allow, place, not allow or not parents[row])] = None
        n_left_out += not name
    return Checklist(tuple(rules), str(path), n_left_out=n_left_out)


def strip_marks(
    frame: pd.DataFrame, spelt: Mapping[str, str], columns: Mapping[str, str]
) -> pd.DataFrame:
    """Return a table whose names have no marks of footnotes beside them."""
    named = [
        *columns.values(),
        *(spelt[one] for one in (*ANY_NAME, *NAMES_ALONE) if one in spelt),
    ]
    stripped = {}
    for column in dict.fromkeys(named):
        cells = name_cells(frame[column]).tolist()
        bare = [_MARKS.sub("", one) for one in cells]
        if bare != cells:
            stripped[column] = bare
    return frame.assign(**stripped) if stripped else frame


def accept_rows(
    frame: pd.DataFrame, spelt: Mapping[str, str], columns: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return a table with accepted names, and the synonym of each row that has one.

    The accepted name is said by its own column, or by the row that ``acceptedNameUsageID`` names.
    """
    none = [""] * len(frame)
    full = columns.get(Rank.SPECIES, "")
    if not full or not is_full_name(full) or spell_column(full) in _ACCEPTED:
        return frame, none
    written = name_cells(frame[full]).tolist()
    column = find_first(_ACCEPTED, spelt)
    accepted = name_cells(frame[column]).tolist() if column else list(none)
    if "acceptednameusageid" in spelt:
        key = find_first(("taxonid", "id"), spelt)
        keys = name_cells(frame[key]).tolist() if key else []
        named = dict(zip(keys, written, strict=False))
        to = name_cells(frame[spelt["acceptednameusageid"]])
        accepted = [one or named.get(other, "") for one, other in zip(accepted, to, strict=True)]
    changed = [
        bool(one) and unify(one) != unify(name) for one, name in zip(accepted, written, strict=True)
    ]
    if not any(changed):
        return frame, none
    frame = frame.copy()
    frame[full] = [one if new else name
                   for one, name, new in zip(accepted, written, changed, strict=True)]  # fmt: skip
    # The genus and the epithets are those of the synonym.
    for part in ("genus", "genericname", "specificepithet", "infraspecificepithet", "subgenus"):
        if part in spelt:
            cells = name_cells(frame[spelt[part]]).tolist()
            frame[spelt[part]] = ["" if new else one
                                  for one, new in zip(cells, changed, strict=True)]  # fmt: skip
    return frame, [name if new else "" for name, new in zip(written, changed, strict=True)]


def _find_parents(
    frame: pd.DataFrame,
    spelt: Mapping[str, str],
    names: Sequence[tuple[str, ...]],
    lineages: Sequence[tuple[str, ...]],
) -> list[bool]:
    """Tell which rows stand above other rows, in a list of records or of a whole tree."""
    if not _OF_TREES & set(spelt):
        return [False] * len(frame)
    above = {name for lineage in lineages for name in lineage if name}
    parents = [bool(name) and name[0] in above for name in names]
    if {"parentnameusageid", "taxonid"} <= set(spelt):
        named = set(name_cells(frame[spelt["parentnameusageid"]])) - {""}
        keys = name_cells(frame[spelt["taxonid"]])
        parents = [one or key in named for one, key in zip(parents, keys, strict=True)]
    return parents


def read_names(
    frame: pd.DataFrame, spelt: Mapping[str, str], columns: Mapping[str, str], path: Path
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], list[Rank | None]]:
    """Return how the taxon of each row is called, what stands above it, and its rank."""
    any_column = find_first(ANY_NAME, spelt)
    # A column class, family … alone holds names of that rank.
    alone = find_first(NAMES_ALONE, spelt)
    common = columns.get(COMMON_NAME) or spelt.get("primarycomname")
    ranked = {name: column for name, column in columns.items() if name != COMMON_NAME}
    if not ranked and any_column is None and common is None and alone is None:
        shown = ", ".join(map(str, frame.columns))
        msg = (
            f"{path} has no column of names among {shown}; expected a rank (species, genus, family "
            "…), scientificName, taxon or common_name"
        )
        raise TaxonomyError(msg)
    n_rows = len(frame)
    commons = name_cells(frame[common]).tolist() if common else [""] * n_rows
    if not ranked:
        column = any_column or alone
        given = name_cells(frame[column]).tolist() if column else [""] * n_rows
        rank = Rank.parse(str(column)) if column and column != any_column else None
        return _name_any(given, commons, rank)
    full = ranked.get(Rank.SPECIES, "")
    is_full = bool(full) and is_full_name(full)
    written = name_cells(frame[full]).tolist() if full else [""] * n_rows
    if any(text.count(";") in (4, 6) for text in written):
        return _name_any(written, commons, None)
    labels = read_labels(frame, apart=False)
    said = name_cells(frame[spelt["taxonrank"]]).tolist() if "taxonrank" in spelt else [""] * n_rows
    names: list[tuple[str, ...]] = []
    lineages: list[tuple[str, ...]] = []
    ranks: list[Rank | None] = []
    rows = zip(*(labels[rank.value].tolist() for rank in RANKS), strict=True)
    for row, text, other, rank_said in zip(rows, written, commons, said, strict=True):
        lineage = (*(re.sub(r"\s*\(.*\)$", "", name) for name in row[:-1]), row[-1])
        depth = max((d for d, name in enumerate(lineage) if name), default=-1)
        called = lineage[depth] if depth >= 0 else ""
        # What one column holds of any rank is placed by its form alone; its name is sure.
        is_open = is_full and bool(text) and not rank_said and " " not in called
        names.append(tuple(dict.fromkeys(filter(None, (called, other)))))
        lineages.append((*lineage[: max(depth, 0)], *[""] * (len(RANKS) - max(depth, 0))))
        ranks.append(None if is_open or depth < 0 else RANKS[depth])
        if is_open:
            lineages[-1] = ("",) * len(RANKS)
    return names, lineages, ranks


def _name_any(
    given: Sequence[str], commons: Sequence[str], rank: Rank | None
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], list[Rank | None]]:
    names: list[tuple[str, ...]] = []
    lineages: list[tuple[str, ...]] = []
    ranks: list[Rank | None] = []
    for text, other in zip(given, commons, strict=True):
        lineage = _split_speciesnet(text)
        if lineage is None:
            names.append(tuple(dict.fromkeys(filter(None, (text, other)))))
            lineages.append(("",) * len(RANKS))
            ranks.append(rank)
            continue
        depth = max(d for d, name in enumerate(lineage) if name)
        names.append((lineage[depth],))
        lineages.append((*lineage[:depth], *[""] * (len(RANKS) - depth)))
        ranks.append(RANKS[depth])
    return names, lineages, ranks


def _read_allows(frame: pd.DataFrame, spelt: Mapping[str, str], path: Path) -> list[bool]:
    column = next((name for name in _RULES if name in spelt), None)
    if column is None:
        column = next((name for name in _REVERSED if name in spelt), None)
        if column is None:
            return [True] * len(frame)
        said = [_read_flag(one) for one in name_cells(frame[spelt[column]])]
        return [one in _BLOCK or not one for one in said]
    values = [_read_flag(one) for one in name_cells(frame[spelt[column]])]
    for row, value in enumerate(values):
        if column in ("rule", "allow", "allowed") and value and value not in _ALLOW | _BLOCK:
            msg = (
                f"{path} row {row + 1}: the {column} is {value!r}; expected allow or block, for a "
                "taxon that may occur or may not"
            )
            raise TaxonomyError(msg)
    return [value not in _BLOCK for value in values]


def _read_flag(text: str) -> str:
    """Return a rule as lists of them have it; a workbook writes 0 as 0.0 beside empty cells."""
    flag = unify(text).lower()
    return flag.removesuffix(".0") if flag in {"0.0", "1.0"} else flag


def _read_where(frame: pd.DataFrame, spelt: Mapping[str, str]) -> list[list[tuple[str, str, str]]]:
    """Return where each row counts: of several countries in one cell, in each."""
    parts: list[list[str]] = []
    for spellings in PLACE_SPELLINGS.values():
        column = find_first(spellings, spelt)
        parts.append(name_cells(frame[column]).tolist() if column else [""] * len(frame))
    return [
        [read_place(one, *rest) for one in re.split(r"\s*[;|]\s*", country.strip("; |"))]
        for country, *rest in zip(*parts, strict=True)
    ]


def read_place(country: str, admin1: str = "", site: str = "") -> tuple[str, str, str]:
    """Return a place in the form in which places compare.

    Examples
    --------
    >>> read_place("ke"), read_place("", "US-NY"), read_place("Kenya", site="North ")
    (('KEN', '', ''), ('USA', 'NY', ''), ('KEN', '', 'north'))
    """
    code = re.fullmatch(r"([A-Za-z]{2})-([A-Za-z0-9]{1,3})", admin1.strip())
    if code and (not country or _read_country(country) == _read_country(code.group(1))):
        country, admin1 = country or code.group(1), code.group(2)
    return _read_country(country), _read_admin1(admin1), unify(site).casefold()


def _read_admin1(text: str) -> str:
    name = unify(text)
    return name.upper() if len(name) <= 3 else name.casefold()


def _read_country(text: str) -> str:
    """Return the three letters of a country that is named by two, by three or by name.

    What is none of these is itself, in lower case. Of a name such as "Tanzania, United Republic
    of" what stands before the comma is enough, where one country alone begins so.

    References
    ----------
    ISO 3166-1.
    """
    import iso3166

    name = unify(text)
    found = iso3166.countries.get(name, None) if name else None
    if found is not None:
        return str(found.alpha3)
    return _name_countries().get(_fold_country(name), name.casefold())


def _fold_country(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.casefold())
    words = re.sub(
        r"[^a-z ]+", " ", "".join(one for one in plain if not unicodedata.combining(one))
    )
    return " ".join(words.removeprefix("the ").split())


@functools.cache
def _name_countries() -> dict[str, str]:
    """Return the three letters of countries by the names that people write."""
    import iso3166

    found: dict[str, set[str]] = {}
    for one in iso3166.countries:
        for name in (one.name, one.apolitical_name):
            for form in (name, re.split(r"[,(]", name)[0]):
                found.setdefault(_fold_country(form), set()).add(one.alpha3)
    # A name that begins several, such as Congo, is none of them.
    letters = {name: codes.pop() for name, codes in found.items() if len(codes) == 1}
    return {**letters, **_USUAL_COUNTRIES}
