"""Which columns of a table hold ranks, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.errors import TaxonomyError
from bioprobe.names import unify
from bioprobe.taxonomy.taxon import RANKS, Rank, Taxon, complete_binomial
from bioprobe.taxonomy.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd


# The sign of a hybrid.
_TIMES = "\u00d7"
_EPITHET = re.compile(r"[a-zß-öø-ÿ]+(?:-[a-zß-öø-ÿ]+)*")
_SUBGENUS = re.compile(r"\([A-Z][a-z-]+\)")
# Ranks below species are marked in botany; the epithet follows the mark.
_MARKS = {"subsp.", "ssp.", "var.", "f.", "forma", "subvar.", "cv."}
# Small words that begin or join authors' names.
_OF_AUTHORS = {"de", "da", "del", "der", "den", "di", "du", "van", "von", "ex", "et", "in", "and"}
_BELOW_SPECIES = {"subspecies", "variety", "form", "forma", "varietas", "infraspecificname"}


def strip_author(name: str) -> str:
    """Return a scientific name without its author, year and subgenus.

    Parameters
    ----------
    name : str
        Uninomial, binomial or trinomial, with or without author.

    References
    ----------
    Darwin Core, term ``scientificName``: *the full scientific name, with authorship and date
    information if known*.

    Examples
    --------
    >>> strip_author("Panthera leo (Linnaeus, 1758)"), strip_author("Panthera Oken, 1816")
    ('Panthera leo', 'Panthera')
    >>> strip_author("Aedes (Stegomyia) aegypti (Linnaeus, 1762)")
    'Aedes aegypti'
    >>> strip_author("Quercus robur subsp. brutia (Ten.) O.Schwarz")
    'Quercus robur brutia'
    """
    words = name.split()
    if not words:
        return ""
    kept, rest = [words[0]], words[1:]
    if kept == [_TIMES] and rest:
        kept, rest = [f"{_TIMES} {rest[0]}"], rest[1:]
    if rest and _SUBGENUS.fullmatch(rest[0]) and any(_is_epithet(word) for word in rest[1:2]):
        rest = rest[1:]
    is_after_mark = False
    for word in rest:
        if word == _TIMES or (word in _MARKS and len(kept) > 1):
            is_after_mark = True
        elif _is_epithet(word):
            kept.append(word)
            is_after_mark = False
        elif len(kept) == 1 or is_after_mark or not _has_mark(rest):
            break
    return " ".join(kept)


def place_scientific_names(labels: MutableMapping[str, list[str]], ranks: Sequence[str]) -> None:
    """Move each scientific name from the species to its rank, without its author, in place.

    Parameters
    ----------
    labels : mapping of str to list of str
        Rank to its column; the scientific names are in that of the species.
    ranks : sequence of str
        ``taxonRank`` of each row; ``""`` where unknown, which leaves the name a species. A name
        at a rank that is none of the seven, such as a tribe, is left out: the ranks above it stay.
    """
    for row, (name, rank) in enumerate(zip(labels[Rank.SPECIES], ranks, strict=True)):
        stripped, place = strip_author(name), rank.strip().lower()
        place = "species" if not place or place in _BELOW_SPECIES else place
        labels[Rank.SPECIES][row] = ""
        if place in set(RANKS) and stripped:
            labels[Rank(place)][row] = stripped


def find_synonym_rows(columns: Mapping[str, Sequence[str]]) -> list[int]:
    """Return the rows whose ``taxonomicStatus`` says that the name is a synonym."""
    status = next((values for name, values in columns.items() if name == "taxonomicstatus"), ())
    return [row for row, value in enumerate(status) if "synonym" in str(value).lower()]


def _is_epithet(word: str) -> bool:
    return _EPITHET.fullmatch(word) is not None and word not in _OF_AUTHORS


def _has_mark(words: Sequence[str]) -> bool:
    return any(word in _MARKS - {"f."} for word in words)


# Spellings met in museum exports, Darwin Core, TreeOfLife, pybioclip and camera-trap tables; an
# earlier spelling wins where a table has several.
_SPELLINGS: dict[Rank, tuple[str, ...]] = {
    Rank.KINGDOM: ("kingdom",),
    Rank.PHYLUM: ("phylum", "division"),
    Rank.CLASS: ("class_rank", "cls", "class_", "class"),
    Rank.ORDER: ("order", "order_"),
    Rank.FAMILY: ("family",),
    Rank.GENUS: ("genus",),
    Rank.SPECIES: (
        "species",
        "scientificname",
        "sci_name",
        "binomial",
        "species_epithet",
        "specificepithet",
    ),
}
_COMMON_NAME_SPELLINGS = ("common_name", "vernacularname", "common", "com_name")

COMMON_NAME = "common_name"
LABEL_COLUMNS: tuple[str, ...] = (*(rank.value for rank in RANKS), COMMON_NAME)


def find_rank_columns(
    columns: Iterable[Hashable], given: Mapping[Rank, str] | None = None
) -> dict[str, str]:
    """Find the column of each rank and of the common name.

    ``class`` is also what machine-learning tables call any label, so it counts as the rank only
    beside another rank column. A column that the user named for one rank is not found for
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
    free = {_spell(name): name for name in names if name not in given.values()}
    found = {
        rank.value: name
        for rank, spellings in _SPELLINGS.items()
        if (name := given[rank] if rank in given else _find_first(spellings, free))
    }
    if (
        list(found) == [Rank.CLASS]
        and not any(given.values())
        and _spell(found[Rank.CLASS]) == "class"
    ):
        found = {}
    common_name = _find_first(_COMMON_NAME_SPELLINGS, free)
    return {**found, COMMON_NAME: common_name} if common_name else found


def _spell(column: str) -> str:
    return column.strip().lower().replace(" ", "_")


def _find_first(spellings: Iterable[str], columns: Mapping[str, str]) -> str | None:
    return next((columns[spelling] for spelling in spellings if spelling in columns), None)


def read_labels(frame: pd.DataFrame, given: Mapping[Rank, str] | None = None) -> pd.DataFrame:
    """Return the seven ranks and the common name of each row of a table.

    All three meanings of a ``species`` column are read: the binomial, the epithet beside a genus
    column, and both in two columns. A species written as a folder or file name
    (``acinonyx-jubatus``, ``Acinonyx_jubatus``) is written as a name. A Darwin Core
    ``scientificName`` loses its author and stands at its ``taxonRank``.

    Parameters
    ----------
    frame : DataFrame
        Any table.
    given : mapping of Rank to str, optional
        Columns that the user named; ``""`` is none.

    Returns
    -------
    DataFrame of str
        Columns :data:`LABEL_COLUMNS`, index of ``frame``; ``""`` where nothing is known.
    """
    import pandas as pd

    columns = find_rank_columns(frame.columns, given)
    labels = {name: [""] * len(frame) for name in LABEL_COLUMNS}
    labels |= {name: _clean(frame[column]) for name, column in columns.items()}
    if _spell(columns.get(Rank.SPECIES, "")) == "scientificname":
        place_scientific_names(labels, _read_ranks(frame))
    pairs = zip(labels[Rank.GENUS], labels[Rank.SPECIES], strict=True)
    known: dict[tuple[str, str], tuple[str, str]] = {}
    completed = [known.get(pair) or known.setdefault(pair, _complete(*pair)) for pair in pairs]
    labels[Rank.GENUS] = [genus for genus, _ in completed]
    labels[Rank.SPECIES] = [species for _, species in completed]
    # From lists pandas takes eight times as long.
    arrays = {name: np.array(values, dtype=object) for name, values in labels.items()}
    return pd.DataFrame(arrays, index=frame.index, columns=list(LABEL_COLUMNS), dtype=object)


def _clean(values: pd.Series[Any]) -> list[str]:
    """Return names in their one form, ``""`` for holes; equal names are one object."""
    import pandas as pd

    codes, distinct = pd.factorize(values)
    cleaned = [*(unify(str(value)) for value in distinct.tolist()), ""]
    return [cleaned[code] for code in codes]


def _read_ranks(frame: pd.DataFrame) -> list[str]:
    column = next((name for name in frame.columns if _spell(str(name)) == "taxonrank"), None)
    return _clean(frame[column]) if column is not None else [""] * len(frame)


def fill_holes(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of any type with ``""`` where nothing is known."""
    return values.astype(object).where(values.notna(), "")


def to_taxonomy(labels: pd.DataFrame) -> Taxonomy:
    """Build the taxonomy of the distinct labels of images; rows without any name are left out.

    An image's common name is that of its species: where the species is unknown it says nothing
    of the genus or family and is left out.

    Parameters
    ----------
    labels : DataFrame
        As :func:`read_labels` returns it; more columns do no harm.
    """
    distinct = labels.loc[:, list(LABEL_COLUMNS)].drop_duplicates()
    taxa = (
        Taxon(tuple(row[:-1]), row[-1] if row[-2] else "")
        for row in distinct.itertuples(index=False, name=None)
        if any(row[:-1])
    )
    return Taxonomy.merge(taxa)


def _complete(genus: str, species: str) -> tuple[str, str]:
    return complete_binomial(genus, _unslug(species, genus) if species else "")


def _unslug(name: str, genus: str) -> str:
    if "_" not in name and "-" not in name:
        return name
    # Beside its genus a name that does not begin with it is an epithet, which may be hyphenated:
    # Polygonia c-album.
    is_epithet = genus and not name.lower().startswith((f"{genus}-".lower(), f"{genus}_".lower()))
    if " " in name or is_epithet:
        return name
    if "_" in name:
        words = name.replace("_", " ")
    elif name.islower():
        words = name.replace("-", " ")
    else:
        return name
    return words[:1].upper() + words[1:]
