"""Names whose lineages contradict each other."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Sequence

from bioprobe.taxonomy.taxon import RANKS, Rank

Lineage = tuple[str, ...]

# The sign of a hybrid, before its name.
_TIMES = "\u00d7"
_PLURALS = ("kingdoms", "phyla", "classes", "orders", "families", "genera", "species")
# Two names that agree in letters but not in kingdom or phylum are homonyms, not a contradiction.
_APART = (Rank.KINGDOM.depth, Rank.PHYLUM.depth)


@dataclasses.dataclass(frozen=True)
class Contradiction:
    """A name that two rows place differently or at two ranks, or a binomial of another genus.

    Parameters
    ----------
    rank : Rank
        Rank of the name.
    name : str
        The name.
    above : Rank
        Rank at which its parents differ, or the upper one of two that it is named at.
    parents : tuple of str
        The two parents, or for a binomial of another genus that genus alone; none for a name at
        two ranks.
    rows : tuple of int
        Positions of the rows: as many as parents, or one of each rank, the upper first.
    """

    rank: Rank
    name: str
    above: Rank
    parents: tuple[str, ...]
    rows: tuple[int, ...]

    def describe(self, places: Sequence[str] = ()) -> str:
        """Say it in words.

        Parameters
        ----------
        places : sequence of str
            Place of each of the rows, such as ``line 3``; none are named by default.
        """
        if not self.parents:
            at = [f" ({place})" for place in places] or ["", ""]
            return (
                f'"{self.name}" is named at the rank {self.above.value}{at[0]} and at the rank '
                f"{self.rank.value}{at[1]}; keep one"
            )
        if len(self.parents) == 1:
            return (
                f'{self.rank.value} "{self.name}" stands beside the {self.above.value} '
                f'"{self.parents[0]}"; make them the same'
            )
        first, second = self.parents
        on = f" on {places[0]}" if places else ""
        plural = _PLURALS[self.above.depth]
        return f'{self.rank.value} "{self.name}" has two {plural} ({first}{on}, {second}); keep one'


def find_all_contradictions(lineages: Sequence[Lineage]) -> list[Contradiction]:
    """Find what no list may say: names of two parents, then names at two ranks."""
    return [*find_contradictions(lineages), *_find_names_at_two_ranks(lineages)]


def find_contradictions(lineages: Sequence[Lineage]) -> list[Contradiction]:
    """Find names of one rank whose parents differ at a rank where both are named.

    Names whose kingdoms or phyla differ are homonyms and no contradiction: the codes of
    nomenclature forbid homonyms only within their realm. A binomial whose first word is not the
    genus beside it is a contradiction in one row.

    Parameters
    ----------
    lineages : sequence of tuple of str, length 7
        Rows of one list.

    Returns
    -------
    list of Contradiction
        Broadest rank first; one a name and rank.

    References
    ----------
    International Code of Zoological Nomenclature, article 52 (principle of homonymy) and 1.4
    (names of animals are independent of those of plants).

    Examples
    --------
    >>> one = ("", "", "", "", "Felidae", "Panthera", "")
    >>> other = ("", "", "", "", "Canidae", "Panthera", "")
    >>> [found.describe() for found in find_contradictions([one, other])]
    ['genus "Panthera" has two families (Felidae, Canidae); keep one']
    """
    distinct: dict[Lineage, int] = {}
    for row, lineage in enumerate(lineages):
        distinct.setdefault(lineage, row)
    of_rank: list[list[Contradiction]] = []
    for rank in reversed(RANKS):
        if rank is not Rank.KINGDOM:
            of_rank.append(_find_at(rank, distinct))
        upper: dict[Lineage, int] = {}
        depth = rank.depth
        for lineage, row in distinct.items():
            above = lineage[:depth]
            if row < upper.setdefault(above, row):
                upper[above] = row
        distinct = upper
    found = [one for group in reversed(of_rank) for one in group]
    return _keep_causes([*_find_other_genera(lineages), *found])


def _find_names_at_two_ranks(lineages: Sequence[Lineage]) -> list[Contradiction]:
    """Find names that a list has at two ranks; where each is above the other they make a circle.

    As elsewhere, names whose kingdoms or phyla differ are homonyms: Ctenophora is a phylum, and a
    genus of flies.

    Examples
    --------
    >>> one = ("", "", "", "", "Felidae", "Panthera", "")
    >>> other = ("", "", "", "", "Panthera", "Felidae", "")
    >>> [found.describe() for found in _find_names_at_two_ranks([one, other])][0]
    '"Felidae" is named at the rank family and at the rank genus; keep one'
    """
    at_rank = [set(names) - {""} for names in zip(*lineages, strict=True)]
    times = collections.Counter(name for names in at_rank for name in names)
    doubtful = {name for name, n in times.items() if n > 1}
    if not doubtful:
        return []
    places: dict[str, dict[tuple[int, Lineage], int]] = {}
    for row, lineage in enumerate(lineages):
        for depth, name in enumerate(lineage):
            if name in doubtful:
                key = depth, tuple(lineage[above] for above in _APART)
                places.setdefault(name, {}).setdefault(key, row)
    found = []
    for name, of_name in places.items():
        for (upper, one), (lower, other) in itertools.combinations(sorted(of_name), 2):
            is_apart = any(a and b and a != b for a, b in zip(one, other, strict=True))
            if upper != lower and not is_apart:
                rows = of_name[upper, one], of_name[lower, other]
                found.append(Contradiction(RANKS[lower], name, RANKS[upper], (), rows))
                break
    return found


def _find_at(rank: Rank, distinct: dict[Lineage, int]) -> list[Contradiction]:
    depth = rank.depth
    if len({lineage[depth] for lineage in distinct}) == len(distinct):
        return []
    groups: dict[str, list[tuple[Lineage, int]]] = {}
    for lineage, row in distinct.items():
        if lineage[depth]:
            groups.setdefault(lineage[depth], []).append((lineage, row))
    pairs = (
        _compare(rank, group, later)
        for group in groups.values()
        if len(group) > 1
        for later in range(1, len(group))
    )
    found: dict[str, Contradiction] = {}
    for one in pairs:
        if one is not None:
            found.setdefault(one.name, one)
    return list(found.values())


def _compare(rank: Rank, group: list[tuple[Lineage, int]], later: int) -> Contradiction | None:
    second, second_row = group[later]
    for first, first_row in group[:later]:
        differing = [
            depth
            for depth in range(rank.depth)
            if first[depth] and second[depth] and first[depth] != second[depth]
        ]
        if differing and not set(differing) & set(_APART):
            # The nearest of the ranks that differ is the one whose names a reader compares.
            above = RANKS[differing[-1]]
            rows = sorted([(first_row, first[differing[-1]]), (second_row, second[differing[-1]])])
            return Contradiction(
                rank,
                first[rank.depth],
                above,
                tuple(name for _, name in rows),
                tuple(row for row, _ in rows),
            )
    return None


def _find_other_genera(lineages: Sequence[Lineage]) -> list[Contradiction]:
    return [
        Contradiction(Rank.SPECIES, species, Rank.GENUS, (genus,), (row,))
        for row, (*_, genus, species) in enumerate(lineages)
        if genus
        and " " in species
        and not species.startswith((f"{genus} ", _TIMES))
        and species.split(" ", 1)[0].lower() != genus.lower()
    ]


def _keep_causes(found: Iterable[Contradiction]) -> list[Contradiction]:
    """Leave out what follows from a contradiction that stands before, between the same rows."""
    kept: dict[tuple[Rank, tuple[str, ...]], Contradiction] = {}
    alone: list[Contradiction] = []
    for one in found:
        if len(one.parents) == 1:
            alone.append(one)
        else:
            kept.setdefault((one.above, tuple(sorted(one.parents))), one)
    return [*alone, *kept.values()]
