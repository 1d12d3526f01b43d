"""Scientific names as Darwin Core writes them: with authors, at any rank."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence

from bioprobe.taxonomy.rank import RANKS, Rank

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
