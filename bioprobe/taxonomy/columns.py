"""Which columns of a table hold ranks, and what their values mean."""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.cells import PLACEHOLDERS
from bioprobe.content import (
    CONTENT,
    PRECEDENCE,
    Content,
    join_contents,
    read_content,
    tell_content,
)
from bioprobe.errors import TaxonomyError
from bioprobe.names import unify
from bioprobe.taxonomy.parsed_name import TIMES, ParsedName
from bioprobe.taxonomy.scientific_names import (
    Kind,
    is_plain,
    judge_name,
    read_name,
    recognise_names,
    tell_rank,
)
from bioprobe.taxonomy.taxon import RANKS, Rank, Taxon, complete_binomial
from bioprobe.taxonomy.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd


_BELOW_GENUS = {"subgenus", "section", "subsection", "series"}
_BELOW_SPECIES = {
    "subspecies", "variety", "form", "forma", "varietas", "infraspecificname", "subsp", "ssp",
    "var", "f", "fo", "unterart", "sousesp\u00e8ce", "subespecie", "subesp\u00e9cie",
    "sottospecie", "ondersoort",
}  # fmt: skip


def find_synonym_rows(columns: Mapping[str, Sequence[str]]) -> list[int]:
    """Return the rows whose ``taxonomicStatus`` says that the name is a synonym."""
    status = next((values for name, values in columns.items() if name == "taxonomicstatus"), ())
    return [row for row, value in enumerate(status) if "synonym" in str(value).lower()]


# Spellings met in museum exports, Darwin Core, TreeOfLife, pybioclip, iNaturalist and camera-trap
# tables, as :func:`spell_column` writes them; an earlier one wins where a table has several.
_OF_RANK = ("{}", "{}name", "taxon{}", "taxon{}name")
_FULL_NAMES = (
    "scientificname", "sciname", "latinname", "binomial", "binomialname", "acceptedscientificname",
    "acceptedname", "taxonname", "wissenschaftlichername", "lateinischername", "nomscientifique",
    "nomlatin", "nombrecient\u00edfico", "nombrecientifico", "nomecient\u00edfico",
    "nomecientifico", "nomescientifico", "wetenschappelijkenaam",
)  # fmt: skip
_EPITHETS = ("speciesepithet", "specificepithet")
_SPELLINGS: dict[Rank, tuple[str, ...]] = {
    rank: tuple(form.format(rank.value) for form in _OF_RANK) for rank in RANKS
}
_SPELLINGS[Rank.PHYLUM] += ("division",)
_SPELLINGS[Rank.CLASS] = ("classrank", "cls", *_SPELLINGS[Rank.CLASS])
_SPELLINGS[Rank.SPECIES] += (*_FULL_NAMES, *_EPITHETS)
# The same in tables that were made in German, French, Spanish, Portuguese, Italian and Dutch.
_IN_OTHER_LANGUAGES: dict[Rank, tuple[str, ...]] = {
    Rank.KINGDOM: ("reich", "r\u00e8gne", "regne", "reino", "regno", "rijk"),
    Rank.PHYLUM: ("stamm", "embranchement", "filo", "stam"),
    Rank.CLASS: ("klasse", "classe", "clase"),
    Rank.ORDER: ("ordnung", "ordre", "orden", "ordem", "ordine", "orde"),
    Rank.FAMILY: ("familie", "famille", "familia", "fam\u00edlia", "famiglia"),
    Rank.GENUS: ("gattung", "genre", "g\u00e9nero", "genero", "g\u00eanero", "genere"),
    Rank.SPECIES: (
        "art", "artname", "esp\u00e8ce", "espece", "especie", "esp\u00e9cie", "specie", "soort",
    ),
}  # fmt: skip
for _rank, _spellings in _IN_OTHER_LANGUAGES.items():
    _SPELLINGS[_rank] += _spellings
# Words of a column taxonRank, as spell_column writes them.
_RANK_WORDS = {
    word: rank
    for rank, words in {
        Rank.KINGDOM: ("kingdom", "regnum", "k"), Rank.PHYLUM: ("phylum", "division", "divisio"),
        Rank.CLASS: ("class", "classis", "cl"), Rank.ORDER: ("order", "ordo", "ord"),
        Rank.FAMILY: ("family", "familia", "fam"), Rank.GENUS: ("genus", "gen"),
        Rank.SPECIES: ("species", "sp", "spec", *_BELOW_SPECIES),
    }.items()
    for word in (*words, *_IN_OTHER_LANGUAGES[rank])
}  # fmt: skip
# These words have other meanings too: an order of rows, a genre, a class of anything.
_OF_SPECIES_ALONE = frozenset(
    one
    for rank, spellings in _IN_OTHER_LANGUAGES.items()
    for one in spellings
    if rank is not Rank.SPECIES
)
_COMMON_NAME_SPELLINGS = (
    "commonname", "vernacularname", "common", "comname", "vernacular", "englishname", "trivialname",
)  # fmt: skip

COMMON_NAME = "common_name"
#: Column that tells labels which somebody wrote from those made of a folder's name, and from
#: lineages that a list gave for the label in a column, whose name follows.
LABELS_FROM = "labels_from"
FROM_FOLDER, FROM_LIST = "folder", "list:"
#: Before the name of what made a label, in the column ``labels_from``.
FROM_MACHINE = "machine:"
LABEL_COLUMNS: tuple[str, ...] = (*(rank.value for rank in RANKS), COMMON_NAME)
#: Free columns of what a table says of a taxon that has no rank: a label that is no scientific
#: name, what of a name is not sure (Darwin Core's ``identificationQualifier``), and the whole name
#: of a subspecies, variety or form, which counts at its species.
LABEL, QUALIFIER, SUBSPECIES = "label", "identification_qualifier", "subspecies"
# What stands for nothing where a name belongs.
_NOTHING = frozenset({"na", "n/a", "nan", "null", "none", "<na>", "-", "--"})
# Two words or three with a capital each, and as many of them as are no chance.
_TITLED = re.compile(r"[A-Z][a-z]+(?: [A-Z][a-z]+){1,2}")
_SEVERAL = 3
#: Free columns that are read out of labels.
SIDE_COLUMNS = (LABEL, QUALIFIER, SUBSPECIES, CONTENT)
# Headers, as spell_column writes them, of what a picture holds, and of flags that it is blank.
_OF_CONTENT = ("content", "observationtype", "category")
# Any label, such as LILA's of a picture before it was made one of taxa.
_LABELS = (LABEL, "originallabel")
_BLANK_FLAGS = ("isblank", "isempty", "blank", "empty")
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}


def spell_column(column: object) -> str:
    """Return the form in which headers compare: case, blanks and ``_ - .`` do not count.

    Examples
    --------
    >>> {spell_column(name) for name in ("Scientific Name", "scientific_name", "scientificName")}
    {'scientificname'}
    """
    return re.sub(r"[\s_.-]+", "", unify(str(column)).casefold())


def spell_columns(columns: Iterable[str]) -> dict[str, str]:
    """Return columns by how they are spelt; of several that are spelt alike the first.

    Examples
    --------
    >>> spell_columns(["Scientific Name", "scientificName", "lat"])
    {'lat': 'lat', 'scientificname': 'Scientific Name'}
    """
    return {spell_column(name): name for name in reversed(list(columns))}


def find_first(spellings: Iterable[str], spelt: Mapping[str, str]) -> str | None:
    """Return the column of the first of several spellings that a table has."""
    return next((spelt[one] for one in spellings if one in spelt), None)


def is_full_name(column: object) -> bool:
    """Tell whether a header is one of names of any rank, such as ``scientificName``."""
    return spell_column(column) in _FULL_NAMES


def find_rank_columns(
    columns: Iterable[Hashable], given: Mapping[Rank, str] | None = None
) -> dict[str, str]:
    """Find the column of each rank and of the common name.

    ``class`` is also what machine-learning tables call any label, so it counts as the rank only
    beside another rank column, and a rank above species in another language only beside a species.
    A column that the user named for one rank is not found for
    another.

    Parameters
    ----------
    columns : iterable of str
        Column names of a table, in any case and with spaces or underscores.
    given : mapping of Rank to str, optional
        Columns that the user named; these win. ``""`` is no column: the rank is not looked for.

    Returns
    -------
    dict of str to str
        Rank (or ``common_name``) to the column that holds it.

    Raises
    ------
    TaxonomyError
        If a column that the user named is not in the table.

    Examples
    --------
    >>> find_rank_columns(["path", "cls", "Family", "vernacularName"])
    {'class': 'cls', 'family': 'Family', 'common_name': 'vernacularName'}
    >>> find_rank_columns(["path", "class"])
    {}
    >>> find_rank_columns(["class", "family"], {Rank.CLASS: ""})
    {'family': 'family'}
    """
    given = given or {}
    names = [str(column) for column in columns]
    for rank, named in given.items():
        if named and named not in names:
            msg = f"no column {named!r} for {rank.value}; the table has {', '.join(names)}"
            raise TaxonomyError(msg)
    free = spell_columns(name for name in names if name not in given.values())
    found: dict[str, str] = {}
    for rank, spellings in _SPELLINGS.items():
        column = given[rank] if rank in given else find_first(spellings, free)
        if column:
            found[rank.value] = column
    if (
        list(found) == [Rank.CLASS]
        and not any(given.values())
        and spell_column(found[Rank.CLASS]) == "class"
    ):
        found = {}
    if Rank.SPECIES not in found:
        found = {
            rank: column
            for rank, column in found.items()
            if column in given.values() or spell_column(column) not in _OF_SPECIES_ALONE
        }
    common_name = find_first(_COMMON_NAME_SPELLINGS, free)
    return {**found, COMMON_NAME: common_name} if common_name else found


def read_labels(
    frame: pd.DataFrame,
    given: Mapping[Rank, str] | None = None,
    *,
    meant: bool = True,
    apart: bool = True,
    tell: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Return the seven ranks and the common name of each row of a table.

    All three meanings of a ``species`` column are read: the binomial, the epithet beside a genus
    column, and both in two columns. A name as a folder or a file has it (``acinonyx-jubatus``,
    ``Acinonyx_jubatus``), in lower or in upper case, is written as a name; it loses its author, and
    stands at its ``taxonRank``. A species that is no scientific name (``Red Fox``) is no taxon: it
    is a label.

    Parameters
    ----------
    frame : DataFrame
        Any table.
    given : mapping of Rank to str, optional
        Columns that the user named; ``""`` is none.
    meant : bool
        Whether the columns say that they hold scientific names; folders do not.
    apart : bool
        Whether a label that is no scientific name leaves its rank; in a list of classes it stays
        the name of one, of no genus.
    tell : callable, optional
        Told in a sentence what was changed or is no taxon, with its number of rows.

    Returns
    -------
    DataFrame of str
        Columns :data:`LABEL_COLUMNS`, index of ``frame``; ``""`` where nothing is known. Where
        there are any, ``label`` holds what is no scientific name, as it was written,
        ``identification_qualifier`` what is not sure (``cf. alces``), ``subspecies`` the whole name
        of what is below a species, and ``content`` what a picture holds by the words of the tools
        (:func:`bioprobe.content.read_content`), which are names of no taxon; beside them a taxon
        is an animal.
    """
    import pandas as pd

    columns = find_rank_columns(frame.columns, given)
    labels = {name: [""] * len(frame) for name in LABEL_COLUMNS}
    labels |= {name: _clean(frame[column]) for name, column in columns.items()}
    contents, unsure = [""] * len(frame), [""] * len(frame)
    if apart:
        # A list says what it says; beside images these words are what tools leave.
        labels[COMMON_NAME] = _drop_nothing(labels[COMMON_NAME])
        contents = _take_contents(labels, frame, columns)
        _fill_species(labels, contents, frame, columns)
        _take_absent(labels, frame, tell)
    _leave_genera(labels)
    if apart:
        unsure = _take_unsure(labels)
    labels[Rank.SPECIES] = _drop_numbers(labels[Rank.SPECIES], tell)
    of_species = spell_column(columns.get(Rank.SPECIES, ""))
    if meant:
        is_told = of_species in _FULL_NAMES
        labels[Rank.SPECIES] = _lower_epithets(labels[Rank.SPECIES], is_told=is_told, tell=tell)
    # A folder, and a person who names a column, say the rank; a header tells it less surely.
    by_ending = meant and Rank.SPECIES not in (given or {})
    is_epithet = of_species in _EPITHETS and Rank.SPECIES not in (given or {})
    ranks = _read_ranks(frame) if of_species in _FULL_NAMES else [""] * len(frame)
    read = _Reading(
        labels, meant=meant, by_ending=by_ending, is_epithet=is_epithet,
        of_any_rank=apart and of_species in _FULL_NAMES and Rank.SPECIES not in (given or {}),
    )  # fmt: skip
    triples = list(zip(labels[Rank.GENUS], labels[Rank.SPECIES], ranks, strict=True))
    found = {triple: read.place(*triple) for triple in dict.fromkeys(triples)}
    placed = [found[triple] for triple in triples]
    for rank in (*RANKS[:5], Rank.GENUS, Rank.SPECIES):
        usual = {name: _write_usually(name, rank) for name in dict.fromkeys(labels[rank])}
        labels[rank] = [
            one.names[rank] if rank in one.names else usual[name]
            for one, name in zip(placed, labels[rank], strict=True)
        ]
    if apart:
        _take_domestic(labels[Rank.SPECIES], frame)
    labels[LABEL] = _find_labels(placed, labels)
    if not apart:
        # A list leaves out what is at none of the ranks.
        said = zip(labels[Rank.SPECIES], labels[LABEL], ranks, strict=True)
        labels[Rank.SPECIES] = [name or ("" if rank else label) for name, label, rank in said]
    labels[QUALIFIER] = [
        f"{one}; {place.qualifier}" if one and place.qualifier else one or place.qualifier
        for one, place in zip(unsure, placed, strict=True)
    ]
    if apart:
        _take_people(labels, contents)
    labels[SUBSPECIES] = _take_subspecies(labels[Rank.SPECIES]) if apart else [""] * len(frame)
    if any(contents):
        named = zip(*(labels[rank] for rank in RANKS), strict=True)
        contents = [
            content
            or (tell_content(names[0]) if any(map(_says_taxon, filter(None, names))) else "")
            for content, names in zip(contents, named, strict=True)
        ]
    labels[CONTENT] = contents
    if tell is not None:
        _tell_changes(placed, meant=meant, tell=tell)
        _tell_aside(labels[SUBSPECIES], contents, tell)
    kept = [*LABEL_COLUMNS, *(name for name in SIDE_COLUMNS if any(labels[name]))]
    # From lists pandas takes eight times as long.
    arrays = {name: np.array(labels[name], dtype=object) for name in kept}
    return pd.DataFrame(arrays, index=frame.index, columns=kept, dtype=object)


def _leave_genera(labels: dict[str, list[str]]) -> None:
    """Empty words for nothing in the column of genera, where a binomial says the genus."""
    genera = labels[Rank.GENUS]
    nothing = {genus for genus in set(genera) if genus.casefold() in PLACEHOLDERS}
    if nothing:
        pairs = zip(genera, labels[Rank.SPECIES], strict=True)
        labels[Rank.GENUS] = [
            "" if " " in one and genus in nothing else genus for genus, one in pairs
        ]


# As data sets number their classes: 001.Black_footed_Albatross, n02085620-Chihuahua.
_NUMBER_BEFORE = re.compile(r"(?:\d{1,5}|n\d{8})(?:[._-]\s?|\s)(?=[^\W\d_]{2})")


def _drop_numbers(names: list[str], tell: Callable[[str], None] | None) -> list[str]:
    """Leave out the numbers before names, where each of several names has one of its own."""
    bare = {name: _NUMBER_BEFORE.sub("", name, count=1) for name in set(names) if name}
    if len(bare) < _FEWEST_NUMBERED or len(set(bare.values())) < len(bare):
        return names
    if not all(map(_NUMBER_BEFORE.match, bare)):
        return names
    if tell is not None:
        tell(f"numbers before names, left out: {sum(map(bool, names)):,}")
    return [bare.get(name, "") for name in names]


_FEWEST_NUMBERED = 2


def _fill_species(
    labels: dict[str, list[str]], contents: Sequence[str], frame: pd.DataFrame,
    columns: Mapping[str, str],
) -> None:  # fmt: skip
    """Take the species of a full name where the columns of ranks have none, or its epithet alone.

    Of ``SPECIES`` and ``SCIENTIFIC_NAME`` without a genus the second says more.
    """
    species = columns.get(Rank.SPECIES, "")
    full = find_first(_FULL_NAMES, spell_columns(map(str, frame.columns)))
    if full is None or full in columns.values() or is_full_name(species):
        return
    genera, epithets = labels[Rank.GENUS], labels[Rank.SPECIES]
    for row, name in enumerate(_clean(frame[full])):
        genus, _, rest = name.partition(" ")
        is_open = genera[row] in {"", genus} and epithets[row] in {"", rest.partition(" ")[0]}
        if not (is_open and rest) or contents[row] or (genera[row] and epithets[row]):
            continue
        parsed = read_name(name)
        if parsed is not None and not parsed.is_uninomial:
            epithets[row] = parsed.certain


def _take_absent(
    labels: dict[str, list[str]], frame: pd.DataFrame, tell: Callable[[str], None] | None
) -> None:
    """Empty the names of taxa that ``occurrenceStatus`` says were not there."""
    column = spell_columns(map(str, frame.columns)).get("occurrencestatus")
    status = [] if column is None else _clean(frame[column])
    absent = [row for row, said in enumerate(status) if said.casefold() == "absent"]
    for names in labels.values():
        for row in absent:
            names[row] = ""
    if absent and tell is not None:
        tell(f"taxa that were looked for and are absent ({column}), no labels: {len(absent):,}")


# A name above species that is not sure: cf. Panthera, Felidae?
# The first letter is looked for, not any: of a long label that would take the square of its length.
_UNSURE = re.compile(
    r"(?:cf|aff|nr|near|prox)\b\.?\s.*|\?[^a-z\n]*[a-z].*|[^a-z\n]*[a-z].*\?", re.I
)


def _take_unsure(labels: dict[str, list[str]]) -> list[str]:
    """Take names above species that are not sure out of their ranks, and return them.

    Of a genus that is not sure the species is none either.
    """
    taken: list[list[str]] = [[] for _ in labels[Rank.SPECIES]]
    for rank in RANKS[: Rank.SPECIES.depth]:
        unsure = {name for name in set(labels[rank]) if _UNSURE.fullmatch(name)}
        for row, name in enumerate(labels[rank] if unsure else ()):
            if name in unsure:
                labels[rank][row] = ""
                species = labels[Rank.SPECIES][row] if rank is Rank.GENUS else ""
                if species:
                    labels[Rank.SPECIES][row] = ""
                taken[row].append(species if " " in species else f"{name} {species}".strip())
    return ["; ".join(names) for names in taken]


def _find_labels(placed: Sequence[_Placed], labels: Mapping[str, list[str]]) -> list[str]:
    """Return what names no taxon, or is of no known rank, and stands at none of the row."""
    found = [one.label for one in placed]
    for row, label in enumerate(found):
        if label and any(labels[rank][row] == label for rank in RANKS):
            found[row] = ""
    return found


def _lower_epithets(
    names: list[str], *, is_told: bool, tell: Callable[[str], None] | None
) -> list[str]:
    """Write names whose every word has a capital (``Panthera Leo``) as names of species are.

    ``Gila Monster`` has that form too. So this is done where the header tells that names are
    scientific, where a name stands there in the usual form as well, or where there are several and
    all could be Latin.
    """
    distinct = dict.fromkeys(names)
    titled = {name: name.capitalize() for name in distinct if _TITLED.fullmatch(name)}
    titled = {n: usual for n, usual in titled.items() if judge_name(usual) is Kind.SCIENTIFIC}
    if not titled:
        return names
    n_common = sum(judge_name(one) is Kind.COMMON for one in distinct if one not in titled)
    if not is_told and (len(titled) < _SEVERAL or n_common):
        titled = {name: usual for name, usual in titled.items() if usual in distinct}
    n_changed = sum(name in titled for name in names)
    if n_changed and tell is not None:
        tell(_CHANGES[_IN_CAPITALS].format(n_changed))
    return [titled.get(name, name) for name in names]


def _take_contents(
    labels: dict[str, list[str]], frame: pd.DataFrame, columns: Mapping[str, str]
) -> list[str]:
    """Take the words of tools out of the labels, and return what each row holds.

    A row that has a taxon beside such a word is of that taxon, but a person is no animal: where
    something is called human, its whole lineage is taken out.
    """
    said: list[list[str]] = [[] for _ in range(len(frame))]
    for name in columns:
        contents = _read_contents(labels[name])
        if any(contents):
            labels[name] = [
                "" if one else cell for one, cell in zip(contents, labels[name], strict=True)
            ]
        _add(said, contents)
    for column in frame.columns:
        if column not in columns.values():
            _add(said, _read_content_column(frame[column], spell_column(column)))
    taken = []
    for row, contents in enumerate(said):
        content = join_contents(contents)
        if content == Content.HUMAN and labels[Rank.GENUS][row].casefold() in {"", "homo"}:
            for name in columns:
                labels[name][row] = ""
        elif content and any(labels[rank][row] for rank in RANKS):
            content = tell_content(labels[Rank.KINGDOM][row], content)
        taken.append(content)
    return taken


def _add(said: list[list[str]], contents: Sequence[str]) -> None:
    for row, content in enumerate(contents):
        if content:
            said[row].append(content)


def _read_contents(cells: Sequence[str]) -> list[str]:
    read = {cell: read_content(cell) for cell in dict.fromkeys(cells)}
    return [read[cell] for cell in cells] if any(read.values()) else []


def _take_people(labels: dict[str, list[str]], contents: list[str]) -> None:
    """Say of what is named as a person that it is one; no picture of one is sorted as an animal."""
    for row, (genus, species) in enumerate(
        zip(labels[Rank.GENUS], labels[Rank.SPECIES], strict=True)
    ):
        if genus == "Homo" and species.split(" ")[1:2] in ([], ["sapiens"]):
            contents[row] = Content.HUMAN.value
            for name in (*LABEL_COLUMNS, *SIDE_COLUMNS):
                if name in labels:
                    labels[name][row] = ""


def _read_content_column(values: pd.Series[Any], spelling: str) -> list[str]:
    """Return what a free column says of the content of each row; nothing where it is another's."""
    if spelling in _BLANK_FLAGS:
        flags = [_FLAGS.get(cell.casefold()) for cell in _clean(values)]
        return [Content.BLANK.value if flag and None not in flags else "" for flag in flags]
    if spelling in _LABELS or (spelling in _OF_CONTENT and _is_content(_clean(values))):
        return _read_contents(_clean(values))
    return []


# Forms that people bred: who counts wolves counts no dogs.
_DOMESTIC = frozenset({"familiaris", "domesticus", "domestica"})


def _take_domestic(species: list[str], frame: pd.DataFrame) -> None:
    """Complete the names of domestic forms whose last epithet stands in a column of its own."""
    column = next((name for name in frame.columns if spell_column(name) in _BELOW_COLUMNS), None)
    if column is None:
        return
    for row, cell in enumerate(_clean(frame[column])):
        epithet = cell.casefold().rpartition(" ")[2]
        if epithet in _DOMESTIC and species[row].count(" ") == 1:
            species[row] = f"{species[row]} {epithet}"


_BELOW_COLUMNS = frozenset({"subspecies", "infraspecificepithet", "infraspecificname"})


def _take_subspecies(species: list[str]) -> list[str]:
    """Cut names below species down to those of their species, and return the whole ones.

    Names of domestic forms, such as *Canis lupus familiaris*, stay whole: they are told apart from
    their wild species wherever animals are counted.
    """
    below = {name: _name_species(name) for name in set(species) if name.count(" ") > 1}
    whole = [name if below.get(name) else "" for name in species]
    species[:] = [below.get(name) or name for name in species]
    return whole


def _name_species(name: str) -> str:
    """Return the species of a name below it, ``""`` where it is no such name."""
    parsed = read_name(name)
    if parsed is None or parsed.hybrid == "formula" or len(parsed.epithets) < 2:
        return ""
    if parsed.epithets[-1] in _DOMESTIC:
        return ""
    words = parsed.certain.split(" ")
    n_words = 3 + (words[0] == TIMES) if TIMES in words[1:3] else 2 + (words[0] == TIMES)
    return " ".join(words[:n_words])


def _is_content(cells: Sequence[str]) -> bool:
    return any(cells) and all(read_content(cell) for cell in cells if cell)


def _tell_aside(
    subspecies: Sequence[str], contents: Sequence[str], tell: Callable[[str], None]
) -> None:
    n_below = sum(map(bool, subspecies))
    if n_below:
        tell(
            "names of subspecies and what else is below species, counted at their species, whole "
            f"in the column {SUBSPECIES}: {n_below:,}"
        )
    counts = collections.Counter(filter(None, contents))
    if counts:
        shown = ", ".join(f"{one.value} {counts[one]:,}" for one in PRECEDENCE if counts[one])
        tell(f"what pictures hold by words that name no taxon, in the column {CONTENT}: {shown}")


def split_columns(
    frame: pd.DataFrame,
    given: Mapping[Rank, str] | None = None,
    *,
    tell: Callable[[str], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the labels of a table, and its other columns as they are.

    Returns
    -------
    labels : DataFrame of str
        As :func:`read_labels` returns them. Where the table has a column ``label`` of its own,
        what is no scientific name stands in ``source_species``.
    free : DataFrame
        All columns that hold no rank and no common name.
    """
    labels = read_labels(frame, given, tell=tell)
    used = set(find_rank_columns(frame.columns, given).values())
    # What is read by its own words replaces them.
    used |= {name for name in frame if name == CONTENT and _is_content(_clean(frame[name]))}
    free = frame.drop(columns=[name for name in frame.columns if name in used])
    taken = {name: f"source_{Rank.SPECIES}" if name == LABEL else f"read_{name}"
             for name in SIDE_COLUMNS if name in labels and name in free}  # fmt: skip
    return labels.rename(columns=taken), free


def read_folder_names(
    names: Sequence[str], rank: Rank, *, tell: Callable[[str], None] | None = None
) -> pd.DataFrame:
    """Return the labels of images whose folders are named by taxa of a rank.

    A folder says nothing of what its name is, so that a name that may be either follows the
    others: beside ``American Robin`` also ``Panda`` is a label and no taxon.

    Returns
    -------
    DataFrame of str
        As :func:`read_labels` returns it.
    """
    import pandas as pd

    if rank is Rank.SPECIES:
        frame = pd.DataFrame({rank.value: list(names)}, dtype=object)
        return read_labels(frame, meant=False, tell=tell)
    _, common = recognise_names([name for name in names if not read_content(name)], meant=False)
    kept = ["" if name in common else name for name in names]
    labels = read_labels(pd.DataFrame({rank.value: kept}, dtype=object), {rank: rank.value})
    if common:
        placed = [_Placed({}, label=name if name in common else "") for name in names]
        labels[LABEL] = [one.label for one in placed]
        if tell is not None:
            _tell_changes(placed, meant=False, tell=tell)
    return labels


# As iNaturalist names the folders of its competition of 2021: a number and the whole lineage.
_LINEAGE_FOLDER = re.compile(
    r"(?:\d+_)?((?:Animalia|Plantae|Fungi|Chromista|Protozoa|Bacteria|Archaea)(?:_[^_]+){5,})"
)


def read_lineage_folders(names: Sequence[str]) -> pd.DataFrame | None:
    """Return the labels of images whose folders are named by whole lineages.

    Parameters
    ----------
    names : sequence of str
        Name of the folder of each image, such as
        ``00000_Animalia_Chordata_Mammalia_Carnivora_Felidae_Panthera_tigris``.

    Returns
    -------
    DataFrame of str or None
        As :func:`read_labels` returns it, empty where a folder is named otherwise; None where all
        are.

    References
    ----------
    Van Horn et al. 2021, *Benchmarking representation learning for natural world image
    collections*: the folders of iNat2021.
    """
    import pandas as pd

    found = {name: _LINEAGE_FOLDER.fullmatch(name) for name in dict.fromkeys(names)}
    if not any(found.values()):
        return None
    above = RANKS[: Rank.SPECIES.depth]
    rows = []
    for name in names:
        match = found[name]
        parts = match[1].split("_", len(above)) if match is not None else []
        lineage = dict(zip((*above, Rank.SPECIES), parts, strict=False))
        if Rank.SPECIES in lineage:
            lineage[Rank.SPECIES] = lineage[Rank.SPECIES].replace("_", " ")
        rows.append({rank.value: lineage.get(rank, "") for rank in RANKS})
    return read_labels(pd.DataFrame(rows, dtype=object))


@dataclasses.dataclass(frozen=True, slots=True)
class _Placed:
    """What one name says: names at ranks, a label that is no taxon, and what was changed."""

    names: Mapping[Rank, str]
    label: str = ""
    qualifier: str = ""
    changed: str = ""


class _Reading:
    """Reads the genus and the species of each row of a table."""

    def __init__(
        self, labels: Mapping[str, list[str]], *, meant: bool, by_ending: bool, is_epithet: bool,
        of_any_rank: bool,
    ) -> None:  # fmt: skip
        pairs = zip(labels[Rank.GENUS], labels[Rank.SPECIES], strict=True)
        alone = (species for genus, species in dict.fromkeys(pairs) if not genus)
        self._by_ending = by_ending
        self._of_any_rank = of_any_rank
        self._scientific: dict[str, ParsedName] = {}
        self._common: set[str] = set()
        if not is_epithet:
            self._scientific, self._common = recognise_names(alone, meant=meant)

    def place(self, genus: str, species: str, rank: str) -> _Placed:
        if not species:
            return _Placed({})
        if rank:
            return _place_at(species, rank)
        if genus:
            return _place_beside(genus, species)
        if species in self._common:
            return _Placed({Rank.SPECIES: ""}, label=species)
        name = self._scientific.get(species)
        is_told = name is not None and tell_rank(name.certain) and self._by_ending
        if self._of_any_rank and " " not in species and not is_told:
            # scientificName holds names of any rank, and one word says not which.
            return _Placed({Rank.SPECIES: ""}, label=species)
        if name is None and self._of_any_rank:
            return _Placed({Rank.SPECIES: ""}, label=species)
        if name is None:
            return _Placed({Rank.SPECIES: species})
        return _place(name, species, by_ending=self._by_ending)


def _place(name: ParsedName, written: str, *, by_ending: bool) -> _Placed:
    """Place a name that stands alone.

    One word is a genus only where a qualifier or subgenus follows it, and above genus where it
    tells that itself; one of a longer text has no rank that is known.
    """
    changed = _describe_change(name, written)
    above = tell_rank(name.certain)
    is_longer = bool(name.rest or name.has_author)
    if above and (by_ending or name.qualifier or is_longer):
        if above not in set(RANKS):
            return _Placed({Rank.SPECIES: ""}, label=written)
        names = {Rank.SPECIES: "", Rank(above): name.certain}
        return _Placed(names, qualifier=name.qualifier, changed=_BY_ENDING)
    if name.is_uninomial and (name.qualifier or name.rank in _BELOW_GENUS):
        names = {Rank.SPECIES: "", Rank.GENUS: name.certain}
        return _Placed(names, qualifier=name.qualifier, changed=_NOT_SURE)
    if name.is_uninomial and is_longer:
        return _Placed({Rank.SPECIES: ""}, label=written)
    names = {Rank.SPECIES: name.certain}
    if not name.is_uninomial:
        names[Rank.GENUS] = name.certain.removeprefix(f"{TIMES} ").split(" ", 1)[0]
    return _Placed(names, qualifier=name.qualifier, changed=changed)


def _place_at(species: str, rank: str) -> _Placed:
    """Place a name at its ``taxonRank``; at one that is none of the seven it is left out."""
    place = _RANK_WORDS.get(spell_column(rank))
    if place is None:
        return _Placed({Rank.SPECIES: ""}, label=species)
    name = read_name(species)
    stripped = name.certain if name else species
    names = {Rank.SPECIES: "", place: stripped}
    if place is Rank.SPECIES and " " in stripped:
        names[Rank.GENUS] = complete_binomial("", stripped)[0]
    return _Placed(names, changed=_describe_change(name, species) if name else "")


def _place_beside(genus: str, species: str) -> _Placed:
    """Place a species beside its genus: an epithet, a binomial, or what is neither."""
    # A list may have a million.
    is_binomial = species.startswith(f"{genus} ")
    whole = species if is_binomial else f"{genus} {species}"
    if is_plain(whole) and (is_binomial or " " not in species):
        return _Placed({Rank.SPECIES: whole})
    begins_so = species.lower().startswith(f"{genus} ".lower())
    is_open = _UNSURE.fullmatch(species) is not None
    if not (begins_so or is_open) and " " in species and judge_name(species) is Kind.COMMON:
        return _Placed({Rank.SPECIES: ""}, label=species)
    genus = _write_usually(genus, Rank.GENUS)
    if species.casefold() in PLACEHOLDERS and "?" not in species:
        return _Placed({Rank.GENUS: genus, Rank.SPECIES: ""}, changed=_NO_EPITHET)
    both = (genus, species)
    if species.lower().startswith((f"{genus}-".lower(), f"{genus}_".lower())):
        both = genus, species.replace("_", " ") if "_" in species else species.replace("-", " ")
    _, whole = complete_binomial(*both)
    if whole.lower().startswith(f"{genus} ".lower()):
        # The genus says that it is a name, whatever its capitals.
        name = read_name(f"{genus} {_lower(whole[len(genus) + 1 :])}")
        is_told = name is not None and (name.qualifier or not name.is_uninomial)
        if name is not None and is_told and name.certain.split(" ", 1)[0] == genus:
            species = "" if name.is_uninomial else name.certain
            names = {Rank.GENUS: genus, Rank.SPECIES: species}
            changed = _WITHOUT_AUTHOR if name.has_author else _NOT_SURE if not species else ""
            return _Placed(names, qualifier=name.qualifier, changed=changed)
    return _Placed({Rank.GENUS: genus, Rank.SPECIES: whole})


def _lower(epithets: str) -> str:
    """Return epithets in lower case where they are in upper case, or in a capital each."""
    words = epithets.split()
    if all(word.isalpha() and word[0].isupper() for word in words):
        return epithets.lower()
    return epithets


def _write_usually(name: str, rank: Rank) -> str:
    """Return a name above species in the usual capitals, if it has the form of one."""
    if not name or rank is Rank.SPECIES:
        return name
    if not (name.islower() or name.isupper()):
        parsed = read_name(name) if " " in name else None
        if parsed is None or not parsed.is_uninomial:
            return name
        is_one = parsed.has_author or parsed.qualifier or parsed.rank in _BELOW_GENUS
        return parsed.certain if is_one or parsed.rest.startswith(("(", "[")) else name
    parsed = read_name(name)
    is_name = len(name) > 3 and judge_name(name) is Kind.SCIENTIFIC
    return parsed.certain if parsed and parsed.is_uninomial and is_name else name


_WITHOUT_AUTHOR, _IN_CAPITALS, _BY_ENDING, _NOT_SURE = "author", "capitals", "ending", "qualifier"
_WITHOUT_NOTE, _NO_EPITHET = "note", "no epithet"
_CHANGES = {
    _WITHOUT_AUTHOR: "species kept without author, year and marks of rank: {:,}",
    _IN_CAPITALS: "names written in the usual capitals (Panthera leo): {:,}",
    _BY_ENDING: "names that tell by themselves that they are of a family, order or class, kept "
    "there: {:,}",
    _NOT_SURE: f"names of open nomenclature (sp., cf.), kept at genus, the rest in the column "
    f"{QUALIFIER}: {{:,}}",
    _WITHOUT_NOTE: "species kept without what is written behind or before them, such as age, sex "
    "or a common name: {:,}",
    _NO_EPITHET: "species that are no epithet beside their genus (NA, none), kept at genus: {:,}",
}


def _describe_change(name: ParsedName, written: str) -> str:
    if name.has_author:
        return _WITHOUT_AUTHOR
    if name.rest and not name.is_uninomial:
        return _WITHOUT_NOTE
    return _IN_CAPITALS if not any(c.isupper() for c in written) or written.isupper() else ""


def _tell_changes(placed: Sequence[_Placed], *, meant: bool, tell: Callable[[str], None]) -> None:
    # Names of folders are in lower case for other reasons.
    counts = collections.Counter(one.changed for one in placed)
    for change, text in _CHANGES.items():
        if counts[change] and (meant or change != _IN_CAPITALS):
            tell(text.format(counts[change]))
    labels = [one.label for one in placed if one.label]
    if labels:
        shown = ", ".join(list(dict.fromkeys(labels))[:3])
        tell(
            "labels that are no scientific names, or of no rank that is known, kept in the column "
            f"{LABEL} without ranks: "
            f"{len(labels):,} ({shown}). Give a list that has common names: --names LIST, or "
            "later: bioprobe taxa resolve"
        )


@functools.lru_cache(maxsize=1 << 14)
def _says_taxon(name: str) -> bool:
    return any(c.isalpha() for c in name) and name.casefold() not in PLACEHOLDERS


def _drop_nothing(names: list[str]) -> list[str]:
    nothing = {name for name in set(names) if name.lower() in _NOTHING}
    return [("" if name in nothing else name) for name in names] if nothing else names


def _clean(values: pd.Series[Any]) -> list[str]:
    """Return names in their one form, ``""`` for holes; equal names are one object."""
    import pandas as pd

    codes, distinct = pd.factorize(values)
    cleaned = [*(unify(str(value)) for value in distinct.tolist()), ""]
    return [cleaned[code] for code in codes]


def _read_ranks(frame: pd.DataFrame) -> list[str]:
    column = next((name for name in frame.columns if spell_column(name) == "taxonrank"), None)
    return _clean(frame[column]) if column is not None else [""] * len(frame)


def fill_holes(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of any type with ``""`` where nothing is known."""
    is_known, filled = values.notna(), values.astype(object)
    return filled if is_known.all() else filled.where(is_known, "")


def to_taxonomy(labels: Mapping[str, Iterable[str]] | pd.DataFrame) -> Taxonomy:
    """Build the taxonomy of the distinct labels of images; rows without any name are left out.

    An image's common name is that of its species: where the species is unknown it says nothing
    of the genus or family and is left out.

    Parameters
    ----------
    labels : DataFrame, or mapping of str to sequence of str
        As :func:`read_labels` returns it; more columns do no harm.
    """
    distinct = dict.fromkeys(zip(*(labels[name] for name in LABEL_COLUMNS), strict=True))
    taxa = (Taxon(tuple(row[:-1]), row[-1] if row[-2] else "") for row in distinct if any(row[:-1]))
    return Taxonomy.merge(taxa)
