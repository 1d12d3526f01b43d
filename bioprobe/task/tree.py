"""The lowest classes of a question and the classes above them, as arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from bioprobe.taxonomy import RANKS, Rank, Taxonomy
from bioprobe.taxonomy.lists import collecting_later
from bioprobe.types import Places


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """The lowest classes of a question, and those above them from kingdom down to a rank."""

    taxa: Taxonomy
    rank: Rank

    @cached_property
    def _deepest(self) -> tuple[Taxonomy, Places]:
        deepest = self.rank.depth
        lineages = [taxon.lineage for taxon in self.taxa]
        if all(one[deepest] for one in lineages) and not any(
            any(one[deepest + 1 :]) for one in lineages
        ):
            return self.taxa, np.arange(len(self.taxa))
        return group_ranks(self.taxa, RANKS[: deepest + 1])[-1]

    @cached_property
    def _above(self) -> list[tuple[Taxonomy, Places]]:
        return group_ranks(self.taxa, RANKS[: self.rank.depth])

    @property
    def classes(self) -> Taxonomy:
        """Classes at the deepest rank."""
        return self._deepest[0]

    @property
    def levels(self) -> tuple[Taxonomy, ...]:
        """Classes at each rank, from kingdom down to the deepest."""
        return tuple(level for level, _ in (*self._above, self._deepest))

    @property
    def places(self) -> tuple[Places, ...]:
        """Class of each lowest one at each rank, -1 for none; each of shape (n_leaves,)."""
        return tuple(places for _, places in (*self._above, self._deepest))

    @property
    def place_of(self) -> Places:
        """Class at the deepest rank of each lowest one, -1 for none, shape (n_leaves,)."""
        return self._deepest[1]

    @cached_property
    def has_singles(self) -> bool:
        """Whether each class of the deepest rank is one lowest class: nothing is summed there."""
        return int((self.place_of >= 0).sum()) == len(self.classes)

    @cached_property
    def _finest(self) -> tuple[Places, Places]:
        """Group of each lowest class, and the class at each summed rank of each group."""
        summed = [*(places for _, places in self._above)]
        summed += [] if self.has_singles else [self.place_of]
        numbers = np.zeros(len(self.taxa), dtype=np.int64)
        for places in summed:
            numbers = numbers * (int(places.max(initial=-1)) + 2) + places + 1
            numbers = np.unique(numbers, return_inverse=True)[1].astype(np.int64)
        firsts = np.unique(numbers, return_index=True)[1]
        return numbers, np.array([places[firsts] for places in summed], dtype=np.int64)

    @property
    def groups(self) -> Places:
        """Number of the finest group of each lowest class: what is summed, shape (n_leaves,)."""
        return self._finest[0]

    @property
    def n_groups(self) -> int:
        """How many of these groups there are."""
        return int(self.groups.max(initial=-1)) + 1

    @property
    def parents(self) -> list[Places]:
        """Class of each finest group at each rank that is summed, from kingdom down; -1 for none.

        The deepest rank is not among them where the tree :attr:`has_singles`.
        """
        return list(self._finest[1])


@collecting_later()
def group_ranks(taxa: Taxonomy, ranks: Sequence[Rank]) -> list[tuple[Taxonomy, Places]]:
    """Return what :meth:`bioprobe.taxonomy.Taxonomy.group` does, of a million taxa too.

    Examples
    --------
    >>> from bioprobe.taxonomy import Taxon
    >>> cats = [Taxon.from_names({"kingdom": "Animalia", "species": f"Felis {n}"}) for n in "ab"]
    >>> [places.tolist() for _, places in group_ranks(Taxonomy(tuple(cats)), RANKS[:2])]
    [[0, 0], [-1, -1]]
    """
    import pandas as pd

    ids, n_taxa = np.zeros(len(taxa), dtype=np.int64), len(taxa)
    depths = np.fromiter((taxon.depth for taxon in taxa), np.int64, n_taxa)
    found = []
    for rank in ranks:
        names, depth = np.empty(n_taxa, dtype=object), rank.depth
        names[:] = [taxon.lineage[depth] for taxon in taxa]
        codes, distinct = pd.factorize(names)
        ids = pd.factorize(ids * len(distinct) + codes)[0].astype(np.int64)
        # One taxon stands for all of its lineage down to the rank, beside those that are of it.
        firsts = np.unique(ids, return_index=True)[1]
        shown = np.union1d(firsts, np.flatnonzero(depths == depth))
        classes, places = Taxonomy(tuple(taxa.taxa[place] for place in shown)).group(rank)
        place_of = np.full(len(firsts), -1, dtype=np.int64)
        place_of[ids[shown]] = places
        found.append((classes, place_of[ids]))
    return found
