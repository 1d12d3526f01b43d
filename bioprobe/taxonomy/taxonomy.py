"""A set of taxa, and how lineages that say the same thing are made one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from bioprobe.errors import TaxonomyError
from bioprobe.names import fold
from bioprobe.taxonomy.taxon import RANKS, Rank, Taxon


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
    bioprobe.taxonomy.lists.read_taxonomy : read one from a table.
    """

    taxa: tuple[Taxon, ...]

    def __post_init__(self) -> None:
        if len({taxon.lineage for taxon in self.taxa}) == len(self.taxa):
            return
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
        taxa = tuple(taxa)
        if _are_distinct_species(taxa):
            return cls(taxa)
        groups: dict[tuple[int, str], list[Taxon]] = {}
        for taxon in taxa:
            depth = taxon.depth
            group = groups.setdefault((depth, taxon.lineage[depth]), [])
            for position, known in enumerate(group):
                if known == taxon:
                    break
                if agree_by_name(known.lineage, taxon.lineage):
                    group[position] = _join(known, taxon)
                    break
            else:
                group.append(taxon)
        return cls(tuple(taxon for group in groups.values() for taxon in group))

    def at(self, rank: Rank) -> Taxonomy:
        """Return the distinct taxa at a rank; taxa without a name there have no part in it."""
        if rank is RANKS[-1] and _are_distinct_species(self.taxa):
            return self
        taxa = tuple(self._iter_ancestors(rank))
        if len({taxon.lineage[rank.depth] for taxon in taxa}) == len(taxa):
            # No two share a name: there is nothing to merge.
            return Taxonomy(taxa)
        return Taxonomy.merge(taxa)

    def group(self, rank: Rank) -> tuple[Taxonomy, npt.NDArray[np.int64]]:
        """Return the taxa at a rank, and to which of them each taxon belongs.

        Returns
        -------
        classes : Taxonomy
            As :meth:`at` returns them.
        positions : ndarray of int64, shape (n_taxa,)
            Position in ``classes``; -1 where a taxon has no name at the rank.
        """
        classes, end = self.at(rank), rank.depth + 1
        by_name: dict[str, list[int]] = {}
        for position, known in enumerate(classes):
            by_name.setdefault(known.name, []).append(position)
        places: dict[tuple[str, ...], int] = {}
        positions = np.full(len(self), -1, dtype=np.int64)
        for row, taxon in enumerate(self.taxa):
            upper = taxon.lineage[:end]
            if upper[-1]:
                if upper not in places:
                    places[upper] = next(
                        place
                        for place in by_name[upper[-1]]
                        if agree_by_name(upper, classes.taxa[place].lineage)
                    )
                positions[row] = places[upper]
        return classes, positions

    def count(self) -> dict[Rank, int]:
        """Return how many distinct taxa there are at each rank."""
        return {rank: len(self.at(rank)) for rank in RANKS}

    def leaves(self) -> Taxonomy:
        """Return the lowest taxa: those that no other taxon lies below."""
        above: dict[str, set[tuple[str, ...]]] = {}
        for rank in RANKS:
            for ancestor in self._iter_ancestors(rank, proper=True):
                above.setdefault(ancestor.name, set()).add(ancestor.lineage[: rank.depth + 1])
        return Taxonomy(
            tuple(
                taxon
                for taxon in self.taxa
                if not any(
                    len(upper) == taxon.depth + 1 and agree_by_name(upper, taxon.lineage)
                    for upper in above.get(taxon.name, ())
                )
            )
        )

    def below(self, parents: Iterable[Taxon]) -> Taxonomy:
        """Return the taxa that are one of the parents or lie below one."""
        wanted: dict[tuple[int, str], list[Taxon]] = {}
        for parent in parents:
            wanted.setdefault((parent.depth, parent.name), []).append(parent)
        depths = sorted({depth for depth, _ in wanted})
        return Taxonomy(
            tuple(
                taxon
                for taxon in self.taxa
                if any(
                    agree_by_name(taxon.lineage[: depth + 1], parent.lineage)
                    for depth in depths
                    for parent in wanted.get((depth, taxon.lineage[depth]), ())
                )
            )
        )

    def ancestors(self, taxon: Taxon) -> tuple[Taxon, ...]:
        """Return the taxa above a taxon, broadest first, with the common names known here."""
        known = {other.lineage: other for other in self.taxa if other.depth < taxon.depth}
        above = (taxon.at(rank) for rank in RANKS[: taxon.depth])
        return tuple(known.get(upper.lineage, upper) for upper in above if upper is not None)

    def children(self, taxon: Taxon) -> Taxonomy:
        """Return the distinct taxa one named rank below a taxon; a hole is passed over."""
        start = taxon.depth + 1
        found: dict[Taxon, None] = {}
        for other in self.below([taxon]):
            depth = next((d for d in range(start, len(RANKS)) if other.lineage[d]), None)
            child = other.at(RANKS[depth]) if depth is not None else None
            if child is not None:
                found[child] = None
        return Taxonomy.merge(found)

    def find_all(self, name: str) -> list[Taxon]:
        """Return the taxa of a name at any rank, listed or above a listed one; broadest first.

        A scientific name stands before a common name, and homonyms all come.
        """
        wanted = fold(name)
        found: dict[Taxon, None] = {}
        for rank in RANKS:
            depth = rank.depth
            hits = Taxonomy(tuple(t for t in self.taxa if t.lineage[depth].casefold() == wanted))
            found |= dict.fromkeys(hits.at(rank) if wanted else ())
        if not found and wanted:
            found |= {t: None for t in self.taxa if t.common_name.casefold() == wanted}
        return list(found)

    def _iter_ancestors(self, rank: Rank, *, proper: bool = False) -> Iterator[Taxon]:
        """Yield each distinct ancestor at a rank once, and the taxa of that rank as they are."""
        end, below = rank.depth + 1, range(rank.depth + 1, len(RANKS))
        rest = ("",) * len(below)
        seen: set[tuple[str, ...]] = set()
        for taxon in self.taxa:
            lineage = taxon.lineage
            if not lineage[end - 1]:
                continue
            if any(lineage[depth] for depth in below):
                upper = lineage[:end]
                if upper not in seen:
                    seen.add(upper)
                    yield Taxon(upper + rest)
            elif not proper:
                yield taxon

    def find_listed(self, name: str, *, lineage: str = "", parent: str = "") -> list[Taxon]:
        """Return the listed taxa of a scientific or common name, in any case; homonyms all come.

        Parameters
        ----------
        name : str
            Scientific or common name.
        lineage : str
            Names from kingdom down, separated by commas, that they have; an empty one is any.
        parent : str
            Name at any rank above them.
        """
        wanted, above = fold(name), fold(parent)
        asked = [fold(part) for part in lineage.split(",")]
        return [
            taxon
            for taxon in self.taxa
            if wanted
            and wanted in (taxon.name.casefold(), taxon.common_name.casefold())
            and len(asked) <= len(taxon.lineage)
            and all(
                not one or one == mine.casefold()
                for one, mine in zip(asked, taxon.lineage, strict=False)
            )
            and (not above or above in map(str.casefold, taxon.lineage[: taxon.depth]))
        ]

    def find(self, name: str) -> Taxon | None:
        """Return the first taxon of a scientific or common name, in any case, or None."""
        return next(iter(self.find_listed(name)), None)


def name_lineages(taxa: Iterable[Taxon]) -> str:
    """Write taxa by their lineages, for a sentence that tells homonyms apart.

    Examples
    --------
    >>> bird = Taxon.from_names({"kingdom": "Animalia", "genus": "Prunella"})
    >>> herb = Taxon.from_names({"kingdom": "Plantae", "genus": "Prunella"})
    >>> name_lineages([bird, herb])
    'Animalia > Prunella; Plantae > Prunella'
    """
    return "; ".join(" > ".join(filter(None, taxon.lineage)) for taxon in taxa)


def find_lowest_common_ancestor(one: Taxon, other: Taxon) -> Taxon | None:
    """Return the lowest taxon that two taxa lie below or are, or None.

    A hole is no name, so it is passed over; names below a rank at which the two differ are those
    of homonyms.

    Examples
    --------
    >>> lion = Taxon.from_names({"family": "Felidae", "species": "Panthera leo"})
    >>> lynx = Taxon.from_names({"family": "Felidae", "species": "Lynx lynx"})
    >>> ancestor = find_lowest_common_ancestor(lion, lynx)
    >>> ancestor.name if ancestor else None
    'Felidae'
    """
    lowest: Rank | None = None
    for rank, first, second in zip(RANKS, one.lineage, other.lineage, strict=True):
        if first and second and first != second:
            break
        if first and second:
            lowest = rank
    return one.at(lowest) if lowest is not None else None


def _are_distinct_species(taxa: tuple[Taxon, ...]) -> bool:
    """Tell whether all are species and no two share a name: then none is another or above one."""
    names = {taxon.lineage[-1] for taxon in taxa}
    return len(names) == len(taxa) and "" not in names


def agree_by_name(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether two lineages differ at no rank that both name; the shorter one counts."""
    return all(not a or not b or a == b for a, b in zip(one, other, strict=False))


def _join(known: Taxon, other: Taxon) -> Taxon:
    lineage = tuple(a or b for a, b in zip(known.lineage, other.lineage, strict=True))
    prompts = tuple(dict.fromkeys(known.prompts + other.prompts))
    return Taxon(lineage, known.common_name or other.common_name, prompts)
