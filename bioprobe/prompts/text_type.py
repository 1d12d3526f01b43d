"""The ways in which a taxon is written as text."""

from __future__ import annotations

import enum

from bioprobe.errors import PromptError
from bioprobe.taxonomy import Rank, Taxon


class TextType(enum.StrEnum):
    """How a taxon is written, by the names that BioCLIP gave them.

    ``sci`` is the scientific name, a species with its genus; ``com`` the common name; ``taxon``
    the lineage; ``sci_com`` and ``taxon_com`` add the common name. ``asis`` is the name at the
    lowest rank as it was listed, in whatever language: no genus and no common name is added.

    References
    ----------
    Stevens et al. 2024, *BioCLIP: A Vision Foundation Model for the Tree of Life*, section 3.2;
    ``asis`` as in its evaluation (``naming_eval.to_classes``), where it is the class name given.
    """

    SCI = "sci"
    COM = "com"
    TAXON = "taxon"
    SCI_COM = "sci_com"
    TAXON_COM = "taxon_com"
    ASIS = "asis"

    @property
    def uses_common_name(self) -> bool:
        """Whether the common name is part of the text."""
        return self in {TextType.COM, TextType.SCI_COM, TextType.TAXON_COM}

    @classmethod
    def parse(cls, text: str) -> TextType:
        """Read a text type.

        Raises
        ------
        PromptError
            If the text names none.
        """
        try:
            return cls(text.strip().lower())
        except ValueError:
            msg = f"{text!r} is not a text type; expected one of {', '.join(cls)}"
            raise PromptError(msg) from None

    def write(self, taxon: Taxon) -> str:
        """Write a taxon as text, without a template.

        A taxon without a common name is written by its scientific name, as in BioCLIP's
        training; ``asis`` asks for none.

        Examples
        --------
        >>> snow_leopard = Taxon.from_names(
        ...     {"kingdom": "Animalia", "family": "Felidae", "species": "Panthera uncia"},
        ...     common_name="snow leopard",
        ... )
        >>> TextType.TAXON_COM.write(snow_leopard)
        'Animalia Felidae Panthera uncia with common name snow leopard'
        >>> TextType.COM.write(snow_leopard)
        'snow leopard'
        >>> TextType.ASIS.write(snow_leopard)
        'Panthera uncia'
        """
        if self is TextType.ASIS:
            return taxon.name
        if self is TextType.COM and taxon.common_name:
            return taxon.common_name
        base = _write_lineage(taxon) if self in _WITH_LINEAGE else _write_name(taxon)
        if self in {TextType.SCI_COM, TextType.TAXON_COM} and taxon.common_name:
            return f"{base} with common name {taxon.common_name}"
        return base


_WITH_LINEAGE = {TextType.TAXON, TextType.TAXON_COM}


def _write_name(taxon: Taxon) -> str:
    genus, species = taxon.lineage[Rank.GENUS.depth], taxon.lineage[Rank.SPECIES.depth]
    # Only what is an epithet for sure: an informal name, or one of an older genus, stays.
    is_epithet = genus and species and " " not in species and species.islower()
    return f"{genus} {species}" if is_epithet else taxon.name


def _write_lineage(taxon: Taxon) -> str:
    genus, species = taxon.lineage[Rank.GENUS.depth], taxon.lineage[Rank.SPECIES.depth]
    # The binomial begins with the genus, which is not said twice.
    last = (species,) if species.startswith(f"{genus} ") else (genus, species)
    return " ".join(name for name in (*taxon.lineage[: Rank.GENUS.depth], *last) if name)
