"""Synonyms: names that stand for another, accepted name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy.columns import fill_holes, find_first, spell_columns
from bioprobe.taxonomy.scientific_names import write_name
from bioprobe.taxonomy.taxon import Rank, Taxon
from bioprobe.taxonomy.taxonomy import Taxonomy

# As spell_column writes them; Darwin Core says acceptedNameUsage.
_SYNONYM_SPELLINGS = ("synonym", "synonyms", "synonymname")
_ACCEPTED_SPELLINGS = ("accepted", "acceptedname", "acceptednameusage", "acceptedscientificname",
                       "validname")  # fmt: skip


def read_synonyms(path: str | Path) -> dict[str, str]:
    """Read a table of two columns: synonym, accepted; names are read without their authors.

    Returns
    -------
    dict of str to str
        Synonym to the name that is accepted in the end, where synonyms form a chain.

    Raises
    ------
    TaxonomyError
        If a column is missing, a line has one name only, or synonyms stand for each other.
    SourceError
        If the file is no table.
    """
    from bioprobe.tables import read_table

    frame = read_table(Path(path))
    by_spelling = spell_columns(frame.columns)
    spellings = (_SYNONYM_SPELLINGS, _ACCEPTED_SPELLINGS)
    columns = [find_first(one, by_spelling) for one in spellings]
    if None in columns:
        found = ", ".join(map(str, frame.columns))
        msg = f"{path} has the columns {found}; expected synonym and accepted"
        raise TaxonomyError(msg)
    pairs = zip(*(fill_holes(frame[name]).map(str) for name in columns), strict=True)
    accepted_of: dict[str, str] = {}
    for line, (synonym, accepted) in enumerate(pairs, start=2):
        synonym, accepted = write_name(synonym), write_name(accepted)
        if not synonym or not accepted:
            msg = f"{path} line {line}: a synonym and its accepted name are needed; fill both in"
            raise TaxonomyError(msg)
        if accepted_of.setdefault(synonym, accepted) != accepted:
            msg = (
                f"{path} line {line}: {synonym!r} stands for {accepted_of[synonym]!r} and "
                f"{accepted!r}; keep one"
            )
            raise TaxonomyError(msg)
    return {synonym: _follow(synonym, accepted_of, path) for synonym in accepted_of}


def _follow(synonym: str, accepted_of: Mapping[str, str], path: str | Path) -> str:
    seen, name = {synonym}, accepted_of[synonym]
    while name in accepted_of and accepted_of[name] != name:
        if name in seen:
            msg = f"{path}: the synonyms {', '.join(sorted(seen))} stand for each other; keep one"
            raise TaxonomyError(msg)
        seen.add(name)
        name = accepted_of[name]
    return name


def accept_names(lineage: tuple[str, ...], synonyms: Mapping[str, str]) -> tuple[str, ...]:
    """Return a lineage with the accepted name at every rank.

    A species whose accepted name is of another genus takes that genus.

    Examples
    --------
    >>> lineage = ("", "", "", "", "Felidae", "Felis", "Felis concolor")
    >>> accept_names(lineage, {"Felis concolor": "Puma concolor"})[5:]
    ('Puma', 'Puma concolor')
    """
    # Labels of stores that were written before may be in lower case.
    lineage = tuple(
        name if name in synonyms or write_name(name) not in synonyms else write_name(name)
        for name in lineage
    )
    accepted = [synonyms.get(name, name) for name in lineage]
    genus, species = lineage[Rank.GENUS.depth], lineage[Rank.SPECIES.depth]
    if species in synonyms and " " in accepted[Rank.SPECIES.depth]:
        accepted[Rank.GENUS.depth] = accepted[Rank.SPECIES.depth].split(" ", 1)[0]
    elif genus in synonyms and species.startswith(f"{genus} "):
        accepted[Rank.SPECIES.depth] = f"{synonyms[genus]}{species.removeprefix(genus)}"
    return tuple(accepted)


def replace_synonyms(taxa: Iterable[Taxon], synonyms: Mapping[str, str]) -> Taxonomy:
    """Return taxa under their accepted names; a synonym and its accepted taxon become one."""
    return Taxonomy.merge(
        Taxon(accept_names(taxon.lineage, synonyms), taxon.common_name, taxon.prompts)
        for taxon in taxa
    )
