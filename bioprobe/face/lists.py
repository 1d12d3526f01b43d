"""Lists of taxa and the texts of them, as options name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import MisuseError
from bioprobe.options import list_given

if TYPE_CHECKING:
    from bioprobe.prompts import PromptSet
    from bioprobe.taxonomy import Rank, Taxon, Taxonomy
    from bioprobe.taxonomy.matching import NameList


def open_names(
    names: str | Path | None,
    synonyms: str | Path | None,
    rank_column: Mapping[str, str] | str | Sequence[str] | None = None,
    *,
    added: Iterable[Taxon] = (),
) -> NameList:
    """Open a list to find labels in; without one, what was added and the lists that ship."""
    from bioprobe.taxonomy.lists import read_taxa, shipped_taxonomies
    from bioprobe.taxonomy.matching import NameList
    from bioprobe.taxonomy.synonyms import read_synonyms

    accepted = read_synonyms(str(synonyms)) if synonyms is not None else {}
    if names is not None:
        return NameList(read_taxa(str(names), read_rank_columns(rank_column)), accepted)
    shipped = (taxon for name in shipped_taxonomies() for taxon in read_taxa(name))
    return NameList((*added, *shipped), accepted)


def open_list(
    taxa: str | Path | None,
    rank_column: Mapping[str, str] | str | Sequence[str] | None = None,
) -> str | Taxonomy | None:
    """Return the name of a taxon list, or what is read of one whose columns are told."""
    from bioprobe.taxonomy.lists import read_taxonomy

    if taxa is None or not rank_column:
        return None if taxa is None else str(taxa)
    return read_taxonomy(str(taxa), read_rank_columns(rank_column))


def read_rank_columns(given: Mapping[str, str] | str | Sequence[str] | None) -> dict[Rank, str]:
    """Read what ``--rank-column`` says: rank to column, or ``rank=column``."""
    from bioprobe.taxonomy import Rank

    if isinstance(given, Mapping):
        return {Rank.parse(rank): column for rank, column in given.items()}
    columns = {}
    for text in list_given(given):
        rank, equals, column = text.partition("=")
        if not equals:
            msg = (
                f"--rank-column is RANK=COLUMN, such as species=label, or RANK= where no column "
                f"holds the rank; got {text!r}"
            )
            raise MisuseError(msg)
        columns[Rank.parse(rank)] = column
    return columns


def write_texts(taxa: Taxonomy, text_type: str, templates: str) -> PromptSet:
    """Return the texts of taxa, as options say how they are written."""
    from bioprobe.prompts import PromptSet, TextType, read_templates

    return PromptSet(taxa, TextType.parse(text_type), read_templates(templates))
