"""The seven ranks of a lineage."""

from __future__ import annotations

import enum

from bioprobe.errors import TaxonomyError


class Rank(enum.StrEnum):
    """One of the seven ranks that BioCLIP's names are built of, broadest first."""

    KINGDOM = "kingdom"
    PHYLUM = "phylum"
    CLASS = "class"
    ORDER = "order"
    FAMILY = "family"
    GENUS = "genus"
    SPECIES = "species"

    @property
    def depth(self) -> int:
        """Position in the lineage: 0 for kingdom, 6 for species."""
        return RANKS.index(self)

    @classmethod
    def parse(cls, text: str) -> Rank:
        """Read a rank as people write it.

        Parameters
        ----------
        text : str
            A rank in any case; ``cls`` and ``division`` are read as class and phylum.

        Raises
        ------
        TaxonomyError
            If the text names none of the seven ranks.

        Examples
        --------
        >>> Rank.parse("Family"), Rank.parse("cls")
        (<Rank.FAMILY: 'family'>, <Rank.CLASS: 'class'>)
        """
        word = text.strip().lower()
        word = {"cls": "class", "division": "phylum"}.get(word, word)
        try:
            return cls(word)
        except ValueError:
            msg = f"{text!r} is not a rank; expected one of {', '.join(RANKS)}"
            raise TaxonomyError(msg) from None


RANKS: tuple[Rank, ...] = tuple(Rank)
