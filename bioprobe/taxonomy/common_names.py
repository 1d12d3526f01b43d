"""Common names of taxa, and of what lies above them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bioprobe.taxonomy.taxon import RANKS, Taxon


class CommonNames:
    """What taxa are called by people who do not speak of them in Latin.

    They are in the language of whoever wrote the labels or the list: English in the lists that
    ship. A name that taxa of one rank and scientific name share under several common names, as
    homonyms do, is not known.

    Parameters
    ----------
    taxa : iterable of Taxon
        Those with a common name, at any rank; of several in one field (``;`` or ``|`` between
        them) the first is taken.
    """

    def __init__(self, taxa: Iterable[Taxon]) -> None:
        found: dict[tuple[str, str], set[str]] = {}
        for taxon in taxa:
            if name := re.split(r"[;|]", taxon.common_name)[0].strip():
                found.setdefault((taxon.rank, taxon.name), set()).add(name)
        self._names = {key: names.pop() for key, names in found.items() if len(names) == 1}

    def __len__(self) -> int:
        return len(self._names)

    def find(self, taxon: Taxon) -> str:
        """Return the common name of a taxon, else that of the nearest taxon above it, marked.

        Returns
        -------
        str
            ``""`` where none is known.

        Examples
        --------
        >>> cat = Taxon.from_names({"family": "Felidae", "species": "Panthera leo"})
        >>> CommonNames([Taxon(cat.lineage, "lion")]).find(cat)
        'lion'
        >>> CommonNames([Taxon.from_names({"family": "Felidae"}, common_name="cats")]).find(cat)
        'Felidae: cats'
        """
        for rank in reversed(RANKS[: taxon.depth + 1]):
            name = taxon.lineage[rank.depth]
            if name and (common := self._names.get((rank, name))):
                return common if rank is taxon.rank else f"{name}: {common}"
        return ""
