"""One taxon: a lineage, the common name it goes by, and texts that describe it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy.rank import RANKS, Rank

_UPWARDS = tuple(reversed(range(len(RANKS))))


def complete_binomial(genus: str, species: str) -> tuple[str, str]:
    """Complete a genus and a species with each other.

    Returns
    -------
    genus, species : str
        An epithet, or the epithets of a subspecies, follow the genus; a genus that is not given
        is the first word of the binomial.

    Examples
    --------
    >>> complete_binomial("Canis", "lupus familiaris")
    ('Canis', 'Canis lupus familiaris')
    >>> complete_binomial("", "Canis lupus")
    ('Canis', 'Canis lupus')
    """
    if genus and species and species != genus:
        first = species.split(" ", 1)[0]
        if first == species or (first[0].islower() and first.lower() != genus.lower()):
            return genus, f"{genus} {species}"
    if not genus and " " in species:
        return species.split(" ", 1)[0], species
    return genus, species


@dataclasses.dataclass(frozen=True, slots=True)
class Taxon:
    """A named group of organisms with what is known of its lineage.

    Parameters
    ----------
    lineage : tuple of str, length 7
        Names from kingdom to species; ``""`` is a hole, which is legal at any rank. The
        species is the binomial (``Panthera uncia``).
    common_name : str
        Vernacular name, or ``""``.
    prompts : tuple of str
        Texts that describe the taxon, used instead of its names when it is prompted for.

    Raises
    ------
    TaxonomyError
        If the lineage is empty, has not seven ranks, or a name holds a line break.

    Examples
    --------
    >>> leopard = Taxon.from_names(
    ...     {"family": "Felidae", "genus": "Panthera", "species": "pardus"}, common_name="leopard"
    ... )
    >>> leopard.name, leopard.epithet, leopard.rank.value
    ('Panthera pardus', 'pardus', 'species')
    """

    lineage: tuple[str, ...]
    common_name: str = ""
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.lineage) != len(RANKS):
            msg = f"a lineage has {len(RANKS)} ranks, got {len(self.lineage)}: {self.lineage}"
            raise TaxonomyError(msg)
        if not any(self.lineage):
            msg = "a taxon needs a name at one rank at least; every rank of this one is empty"
            raise TaxonomyError(msg)
        together = "".join(self.lineage) + self.common_name
        if "\n" in together or "\r" in together:
            names = (*self.lineage, self.common_name)
            name = next(name for name in names if "\n" in name or "\r" in name)
            msg = f"the name {name!r} holds a line break; write it on one line"
            raise TaxonomyError(msg)

    @classmethod
    def from_names(
        cls,
        names: Mapping[str, str],
        *,
        common_name: str = "",
        prompts: tuple[str, ...] = (),
    ) -> Taxon:
        """Build a taxon from a mapping of rank to name; ranks left out are holes.

        A species given as a bare epithet is completed with the genus, and a genus left out is
        taken from the binomial.
        """
        cleaned = {rank: " ".join(names.get(rank, "").split()) for rank in RANKS}
        cleaned[Rank.GENUS], cleaned[Rank.SPECIES] = complete_binomial(
            cleaned[Rank.GENUS], cleaned[Rank.SPECIES]
        )
        return cls(tuple(cleaned[rank] for rank in RANKS), common_name.strip(), prompts)

    @property
    def rank(self) -> Rank:
        """Lowest rank that has a name."""
        return RANKS[self.depth]

    @property
    def depth(self) -> int:
        """Position of the lowest named rank: 0 for kingdom, 6 for species."""
        if self.lineage[-1]:
            return len(RANKS) - 1
        return next(depth for depth in _UPWARDS if self.lineage[depth])

    @property
    def name(self) -> str:
        """Scientific name at the lowest named rank."""
        return self.lineage[self.depth]

    @property
    def epithet(self) -> str:
        """Second part of the binomial, or ``""`` where there is none."""
        _, _, epithet = self.lineage[Rank.SPECIES.depth].partition(" ")
        return epithet

    def at(self, rank: Rank) -> Taxon | None:
        """Return the ancestor at a rank (itself at its own), or None where there is a hole.

        The common name and the prompts belong to the lowest rank, so ancestors have none.
        """
        if not self.lineage[rank.depth]:
            return None
        if rank is self.rank:
            return self
        upper = self.lineage[: rank.depth + 1]
        return Taxon(upper + ("",) * (len(RANKS) - len(upper)))

    def to_names(self) -> dict[str, str]:
        """Return rank to name, with every rank present."""
        return {rank.value: name for rank, name in zip(RANKS, self.lineage, strict=True)}
