"""One taxon: a lineage, the common name it goes by, and texts that describe it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from bioprobe.errors import TaxonomyError
from bioprobe.names import unify
from bioprobe.taxonomy.scientific_names import Kind, judge_name, write_name


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
        return self.lineage[-1] or self.lineage[self.depth]

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


def complete_taxon(
    name: str, lineage: str = "", *, common_name: str = "", prompts: tuple[str, ...] = ()
) -> Taxon:
    """Build a taxon from its scientific name and the names above it.

    Parameters
    ----------
    name : str
        Scientific name: a binomial is a species; another name takes the rank below the last one
        of the lineage, or species where no lineage is given.
    lineage : str
        Names from kingdom down, separated by commas; an empty one is a hole. It may end above
        the name, or with it.
    common_name : str
        Vernacular name.
    prompts : tuple of str
        Texts that describe the taxon.

    Raises
    ------
    TaxonomyError
        If the lineage is too long, or contradicts the binomial, or the name is a common one.

    Examples
    --------
    >>> complete_taxon("Panthera uncia", "Animalia,Chordata,Mammalia,Carnivora,Felidae").lineage
    ('Animalia', 'Chordata', 'Mammalia', 'Carnivora', 'Felidae', 'Panthera', 'Panthera uncia')
    >>> complete_taxon("Felidae", "Animalia,Chordata,Mammalia,Carnivora").rank.value
    'family'
    """
    if " " in name.strip() and not lineage.strip() and judge_name(name) is Kind.COMMON:
        msg = (
            f"{name!r} is no scientific name; give that, and the common name beside it, such as: "
            "bioprobe taxa add 'Panthera uncia' --common 'snow leopard'"
        )
        raise TaxonomyError(msg)
    above = [part.strip() for part in lineage.split(",")] if lineage.strip() else []
    is_epithet = " " not in name.strip() and len(above) > Rank.GENUS.depth
    is_name = judge_name(name) is Kind.SCIENTIFIC and not is_epithet
    name = write_name(name) if is_name else unify(name)
    epithet = name.rpartition(" ")[2]
    if above and above[-1] in {name, epithet}:
        above.pop()
    rank = Rank.SPECIES if " " in name or not above else RANKS[min(len(above), len(RANKS) - 1)]
    if len(above) > rank.depth:
        msg = (
            f"the lineage of {name!r} has {len(above)} names above it, at most {rank.depth} fit "
            f"above {rank.value}; give them from kingdom down"
        )
        raise TaxonomyError(msg)
    names = {r.value: part for r, part in zip(RANKS, above, strict=False)}
    genus = names.get(Rank.GENUS, "")
    if rank is Rank.SPECIES and genus and " " in name and name.split(" ", 1)[0] != genus:
        msg = f"the genus in {name!r} is not the {genus!r} of the lineage; make them the same"
        raise TaxonomyError(msg)
    return Taxon.from_names({**names, rank.value: name}, common_name=common_name, prompts=prompts)
