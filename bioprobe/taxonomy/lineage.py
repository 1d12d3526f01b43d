"""A taxon from a name and the lineage above it, as a person types them."""

from __future__ import annotations

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy.rank import RANKS, Rank
from bioprobe.taxonomy.taxon import Taxon


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
        If the lineage is too long, or contradicts the binomial.

    Examples
    --------
    >>> complete_taxon("Panthera uncia", "Animalia,Chordata,Mammalia,Carnivora,Felidae").lineage
    ('Animalia', 'Chordata', 'Mammalia', 'Carnivora', 'Felidae', 'Panthera', 'Panthera uncia')
    >>> complete_taxon("Felidae", "Animalia,Chordata,Mammalia,Carnivora").rank.value
    'family'
    """
    name = " ".join(name.split())
    above = [part.strip() for part in lineage.split(",")] if lineage.strip() else []
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
