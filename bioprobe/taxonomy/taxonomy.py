"""A set of taxa, and how lineages that say the same thing are made one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy.rank import Rank
from bioprobe.taxonomy.taxon import Taxon


@dataclasses.dataclass(frozen=True)
class Taxonomy:
    """Distinct taxa in the order in which they were first met.

    Parameters
    ----------
    taxa : tuple of Taxon
        No two have the same lineage.

    Raises
    ------
    TaxonomyError
        If two taxa have the same lineage.

    See Also
    --------
    bioprobe.taxonomy.reading.read_taxonomy : read one from a table.
    """

    taxa: tuple[Taxon, ...]

    def __post_init__(self) -> None:
        seen: set[tuple[str, ...]] = set()
        for taxon in self.taxa:
            if taxon.lineage in seen:
                msg = f"the taxon {taxon.name!r} is listed twice; keep one of the two"
                raise TaxonomyError(msg)
            seen.add(taxon.lineage)

    def __len__(self) -> int:
        return len(self.taxa)

    def __iter__(self) -> Iterator[Taxon]:
        return iter(self.taxa)

    @classmethod
    def merge(cls, taxa: Iterable[Taxon]) -> Taxonomy:
        """Make one taxon of those that agree, and keep homonyms apart.

        Two taxa of the same name and rank are the same when no rank names them differently: a
        hole agrees with any name, and what one of them knows completes the other. Two that
        differ at some rank above are homonyms and both stay.

        Parameters
        ----------
        taxa : iterable of Taxon
            In order of preference: the first common name met is kept, prompts are joined.

        Returns
        -------
        Taxonomy
            Taxa in the order in which each was first met.

        Examples
        --------
        >>> felidae = Taxon.from_names({"family": "Felidae"})
        >>> placed = Taxon.from_names({"order": "Carnivora", "family": "Felidae"})
        >>> [taxon.lineage[3] for taxon in Taxonomy.merge([felidae, placed])]
        ['Carnivora']
        """
        groups: dict[tuple[Rank, str], list[Taxon]] = {}
        for taxon in dict.fromkeys(taxa):
            group = groups.setdefault((taxon.rank, taxon.name), [])
            for position, known in enumerate(group):
                if _agree(known, taxon):
                    group[position] = _join(known, taxon)
                    break
            else:
                group.append(taxon)
        return cls(tuple(taxon for group in groups.values() for taxon in group))

    def at(self, rank: Rank) -> Taxonomy:
        """Return the distinct taxa at a rank; taxa without a name there have no part in it."""
        ancestors = (taxon.at(rank) for taxon in self.taxa)
        return Taxonomy.merge(taxon for taxon in ancestors if taxon is not None)

    def find(self, name: str) -> Taxon | None:
        """Return the taxon of a scientific or common name, in any case, or None."""
        wanted = name.strip().casefold()
        for taxon in self.taxa:
            if wanted and wanted in (taxon.name.casefold(), taxon.common_name.casefold()):
                return taxon
        return None


def _agree(one: Taxon, other: Taxon) -> bool:
    return all(not a or not b or a == b for a, b in zip(one.lineage, other.lineage, strict=True))


def _join(known: Taxon, other: Taxon) -> Taxon:
    lineage = tuple(a or b for a, b in zip(known.lineage, other.lineage, strict=True))
    prompts = tuple(dict.fromkeys(known.prompts + other.prompts))
    return Taxon(lineage, known.common_name or other.common_name, prompts)
