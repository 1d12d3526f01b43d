"""A scientific name taken apart."""

from __future__ import annotations

import dataclasses

#: The sign of a hybrid.
TIMES = "\u00d7"


@dataclasses.dataclass(frozen=True, slots=True)
class ParsedName:
    """A scientific name taken apart.

    Parameters
    ----------
    text : str
        What was read.
    canonical : str
        The name without its authors, with the marks of rank and the signs of hybrids, in plain
        letters; ``""`` where the text has not the form of a name.
    rank : str
        ``species``, ``subspecies``, ``variety``, ``form`` or what a mark says; ``family`` by the
        ending; ``genus`` where a qualifier takes the place of the epithet; ``uninomial`` of another
        name of one word, whose form does not tell its rank; ``hybrid formula``; ``""`` of no name.
    authorship : str
        Authors and year of the last part of the name, in one form: ``(Linnaeus 1758)``.
    qualifier : str
        What makes the name an open one, as it was written: ``cf. alces``, ``sp.``, ``?``: Darwin
        Core's ``identificationQualifier``.
    hybrid : str
        ``named`` (``Salix × capreola``), ``formula`` (``Agrostis × Polypogon``), ``notho`` (by a
        mark such as ``nothosubsp.``) or ``""``.
    genus : str
        First word, or what it is of two uninomials; ``""`` of no name.
    epithets : tuple of str
        Those of species and below, in plain letters.
    cardinality : int
        Words of the name; 0 of a hybrid formula, of no name, and where ``sp.``, ``aff.`` or ``?``
        ends it.
    certain : str
        What is sure, without marks of rank: ``Alces`` of ``Alces cf. alces``.
    is_virus : bool
        Whether it is of a virus or its like, which have another code.
    rest : str
        What follows the name and its authors and is no part of either.
    """

    __module__ = "bioprobe"

    text: str
    canonical: str = ""
    rank: str = ""
    authorship: str = ""
    qualifier: str = ""
    hybrid: str = ""
    genus: str = ""
    epithets: tuple[str, ...] = ()
    cardinality: int = 0
    certain: str = ""
    is_virus: bool = False
    rest: str = ""

    @property
    def has_author(self) -> bool:
        """Whether authors were read."""
        return bool(self.authorship)

    @property
    def is_uninomial(self) -> bool:
        """Whether what is sure is one word: a genus, or a name above it."""
        return " " not in self.certain.removeprefix(f"{TIMES} ")

    @property
    def parsed(self) -> bool:
        """Whether the text has the form of a name."""
        return bool(self.canonical)
