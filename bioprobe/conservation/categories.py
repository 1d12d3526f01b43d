"""The categories of the IUCN Red List: codes, names, official colours, and how tables write them.

References
----------
IUCN 2012, *IUCN Red List Categories and Criteria: Version 3.1*, second edition; IUCN 2012,
*Guidelines for Application of IUCN Red List Criteria at Regional and National Levels*, version 4.0
(``RE`` and ``NA``); IUCN 1994, version 2.3 (``LR/lc``, ``LR/nt``, ``LR/cd``). Categories that were
used before 1994 (``V``, ``E``, ``K`` …) follow the Red Data Books of that time.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata

from bioprobe.names import unify

#: Codes from the worst to what is not known.
CODES = ("EX", "EW", "RE", "CR", "EN", "VU", "NT", "LC", "DD", "NE")
NAMES = {
    "EX": "Extinct",
    "EW": "Extinct in the Wild",
    "RE": "Regionally Extinct",
    "CR": "Critically Endangered",
    "EN": "Endangered",
    "VU": "Vulnerable",
    "NT": "Near Threatened",
    "LC": "Least Concern",
    "DD": "Data Deficient",
    "NE": "Not Evaluated",
}
#: Colours that IUCN gives the categories. It gives none to ``RE``, which stands between those
#: beside it.
COLOURS = {
    "EX": "#000000",
    "EW": "#542344",
    "RE": "#960E25",
    "CR": "#D81E05",
    "EN": "#FC7F3F",
    "VU": "#F9E814",
    "NT": "#CCE226",
    "LC": "#60C659",
    "DD": "#D1D1C6",
    "NE": "#FFFFFF",
}
#: What is legible on each of them, with a contrast of 4.5 or more.
INKS = {code: "#FFFFFF" if code in {"EX", "EW", "RE", "CR"} else "#000000" for code in CODES}

#: What a status says of the threat, in the order in which shares of them stand in a table. What is
#: extinct, data deficient or not evaluated is neither threatened nor not.
THREATENED, NOT_THREATENED, NEITHER, NO_STATUS = (
    "threatened", "not threatened", "neither", "no status",
)  # fmt: skip
THREATS = (THREATENED, NOT_THREATENED, NEITHER, NO_STATUS)
_THREAT_OF = {
    **dict.fromkeys(("CR", "EN", "VU"), THREATENED),
    **dict.fromkeys(("NT", "LC"), NOT_THREATENED),
    **dict.fromkeys(("EX", "EW", "RE", "DD", "NE"), NEITHER),
}
_PE, _PEW = "possibly extinct", "possibly extinct in the wild"


@dataclasses.dataclass(frozen=True, slots=True)
class Category:
    """What a cell says of the status of a taxon.

    Parameters
    ----------
    code : str
        One of :data:`CODES`: that of today where the cell has an old one. ``""`` where there is no
        equivalent today, such as of ``Indeterminate``.
    written : str
        As it stands in the table, its spaces made single.
    possibly_extinct, possibly_extinct_in_the_wild : bool
        Of those that are critically endangered.
    said : str
        The threat, where that is known and no code.
    """

    code: str
    written: str = ""
    possibly_extinct: bool = False
    possibly_extinct_in_the_wild: bool = False
    said: str = ""

    @property
    def threat(self) -> str:
        """One of :data:`THREATS`."""
        return self.said or find_threat(self.code)

    @property
    def is_old(self) -> bool:
        """Whether it is written as before 2001, and counts as the code of today."""
        return bool(_OLD.match(_fold(self.written)))

    @property
    def label(self) -> str:
        """The code, with ``(PE)`` or ``(PEW)`` behind it, as the Red List writes it."""
        if self.possibly_extinct:
            return f"{self.code}(PE)"
        return f"{self.code}(PEW)" if self.possibly_extinct_in_the_wild else self.code


def find_threat(code: str) -> str:
    """Return what a code says of the threat, one of :data:`THREATS`.

    Examples
    --------
    >>> [find_threat(code) for code in ("VU", "NT", "DD", "")]
    ['threatened', 'not threatened', 'neither', 'no status']
    """
    return _THREAT_OF.get(code, NO_STATUS)


# Old codes, with that which they count as today; "" where there is none. Those of one letter are
# of before 1994.
_OLD_CODES = {
    "lr/lc": "LC", "lr/nt": "NT", "lr/cd": "NT", "lrlc": "LC", "lrnt": "NT", "lrcd": "NT",
    "cd": "NT", "ex?": "", "ex/e": "", "v": "VU", "e": "EN", "k": "DD", "i": "", "r": "",
    "t": "", "ct": "", "o": "", "nr": "", "na": "", "lr": "",
}  # fmt: skip
_OLD = re.compile(r"lr\b|lrlc|lrnt|lrcd|lower risk|conservation dependent|[vek]$|cd$")
# Names in the languages of the Red List and of the largest national lists, without accents.
_WORDS = {
    "extinct": "EX", "extinto": "EX", "extinta": "EX", "eteint": "EX", "eteinte": "EX",
    "ausgestorben": "EX",
    "extinct in the wild": "EW", "extinct in wild": "EW", "extinto en estado silvestre": "EW",
    "extinto na natureza": "EW", "extinta na natureza": "EW", "eteint a l'etat sauvage": "EW",
    "regionally extinct": "RE", "extinct regionally": "RE", "nationally extinct": "RE",
    "locally extinct": "RE", "regionalmente extinto": "RE", "regionalmente extinta": "RE",
    "extinto a nivel regional": "RE", "disparu au niveau regional": "RE",
    "disparue au niveau regional": "RE", "extirpated": "RE",
    "critically endangered": "CR", "critical": "CR", "en peligro critico": "CR",
    "criticamente em perigo": "CR", "en danger critique": "CR",
    "en danger critique d'extinction": "CR", "vom aussterben bedroht": "CR",
    "endangered": "EN", "en peligro": "EN", "en peligro de extincion": "EN", "em perigo": "EN",
    "en danger": "EN", "stark gefahrdet": "EN",
    "vulnerable": "VU", "vulnerabel": "VU", "vulnerabile": "VU", "vulneravel": "VU",
    "near threatened": "NT", "near-threatened": "NT", "nearly threatened": "NT",
    "casi amenazado": "NT", "casi amenazada": "NT", "quase ameacado": "NT",
    "quase ameacada": "NT", "quasi menace": "NT", "quasi menacee": "NT",
    "potentiell gefahrdet": "NT",
    "least concern": "LC", "of least concern": "LC", "preocupacion menor": "LC",
    "pouco preocupante": "LC", "menos preocupante": "LC", "preoccupation mineure": "LC",
    "nicht gefahrdet": "LC", "ungefahrdet": "LC",
    "data deficient": "DD", "data-deficient": "DD", "deficient data": "DD",
    "insufficient data": "DD", "insufficiently known": "DD", "datos insuficientes": "DD",
    "dados insuficientes": "DD", "deficiente em dados": "DD", "donnees insuffisantes": "DD",
    "daten ungenugend": "DD", "daten unzureichend": "DD",
    "not evaluated": "NE", "not assessed": "NE", "unevaluated": "NE", "unassessed": "NE",
    "not yet evaluated": "NE", "not yet assessed": "NE", "no evaluado": "NE", "no evaluada": "NE",
    "nao avaliado": "NE", "nao avaliada": "NE", "non evalue": "NE", "non evaluee": "NE",
    "nicht bewertet": "NE", "nicht beurteilt": "NE",
    "lower risk/least concern": "LC", "lower risk/near threatened": "NT",
    "lower risk/conservation dependent": "NT", "conservation dependent": "NT",
    "lower risk least concern": "LC", "lower risk near threatened": "NT",
    "lower risk conservation dependent": "NT",
    "indeterminate": "", "rare": "", "commercially threatened": "", "not applicable": "",
    "lower risk": "", "out of danger": "",
}  # fmt: skip
# Behind a code or a word: criteria (A2cd+3d; C1), the version of the criteria, and the trend.
_CRITERIA = re.compile(r"[\s:,;-]*[a-e](?:[1-4\s;,+][a-e1-4ivx(),;+\s]*)?")
_VERSION = re.compile(
    r"[\s,;(\[]*(?:iucn\s*)?(?:red\s*list\s*)?(?:v(?:er(?:sion)?)?[\s.]*)?[23][.]\d[)\]]?"
)
_TREND = re.compile(r"[\s,;:(\[-]*(?:decreasing|increasing|stable|declining|unknown trend)[)\]]?$")
_SOURCE = re.compile(
    r"^(?:iucn|red\s*list)(?:\s*red\s*list)?(?:\s*(?:status|category))?\s*[:=]?\s*"
)
# Marks that lists set beside a code: of a footnote, and of a regional code that was moved.
_MARKS = re.compile(r"[\s*\u2020\u2021\u00b0\u00ba\u00b2\u00b3\u00b9\u2191\u2193\u2192]+$")
_POSSIBLY_WILD = re.compile(
    r"[\s,;/(\[-]*\b(?:possibly|presumed)\s+extinct\s+in\s+(?:the\s+)?wild\b[)\]]?|[\s(\[]*\bpew\b[)\]]?"
)
_POSSIBLY = re.compile(
    r"[\s,;/(\[-]*\b(?:possibly|presumed)\s+extinct\b[)\]]?|[\s(\[]*\bpe\b[)\]]?"
)
# Where a status counts, behind it.
_SCOPE = re.compile(r"\s*[(\[](?:global|regional|national|europe)(?:ly)?[)\]]$")
# Longer cells are prose.
_LONGEST = 200
_BOTH = re.compile(r"(.+?)\s*[(\[]\s*([^()\[\]]+?)\s*[)\]]$|(.+?)\s+[-\u2013\u2014:=]\s+(.+)$")


@functools.lru_cache(maxsize=4096)
def read_category(text: str) -> Category | None:
    """Read what a cell of a table says of a status, in a code or in words; None where it says none.

    Case and spaces do not count. Codes may have criteria, a version or a trend behind them, and a
    word its code in brackets, as long as both say the same.

    Parameters
    ----------
    text : str
        Such as ``VU``, ``Critically Endangered (CR)``, ``CR(PE)``, ``LR/lc``, ``EN A2cd``.

    Examples
    --------
    >>> [read_category(one).code for one in ("vu", "critically endangered (CR)", "LR/cd", "CR(PE)")]
    ['VU', 'CR', 'NT', 'CR']
    >>> read_category("CR(PE)").label, read_category("I").code, read_category("threatened")
    ('CR(PE)', '', None)
    """
    written = unify(text)
    folded = _SCOPE.sub("", _fold(written))
    if not folded or len(folded) > _LONGEST:
        return None
    is_wild, is_possibly = False, False
    if _POSSIBLY_WILD.search(folded):
        folded, is_wild = _POSSIBLY_WILD.sub("", folded).strip(), True
    elif _POSSIBLY.search(folded):
        folded, is_possibly = _POSSIBLY.sub("", folded).strip(), True
    # "Possibly extinct" alone is a tag of those that are critically endangered.
    code = _find_code(folded) if folded else "CR"
    if code is None or ((is_wild or is_possibly) and code not in {"CR", "EX", "EW"}):
        return None
    if is_possibly or is_wild:
        code = "CR"
    return Category(code, written, is_possibly, is_wild)


def _fold(text: str) -> str:
    """Return a text without case, accents and repeated spaces."""
    plain = unicodedata.normalize("NFKD", text.replace("\u2019", "'").replace("_", " "))
    plain = "".join(one for one in plain if not unicodedata.combining(one))
    return " ".join(plain.casefold().split()).strip(" .\"'")


def _find_code(folded: str) -> str | None:
    """Return the code of today of a folded text, ``""`` of one without any, None of another."""
    for tried in dict.fromkeys((folded, _MARKS.sub("", folded), _SOURCE.sub("", folded))):
        found = _look_up(tried)
        if found is not None:
            return found
    within = re.match(r"([^()\[\]]+?)\s*[(\[]\s*([^()\[\]]+?)\s*[)\]]\s*(\S.*)$", folded)
    if within is not None:
        # EN (Endangered) A2cd
        said_twice = [_look_up(part) for part in within.groups()[:2]]
        if said_twice[0] is not None and said_twice[0] == said_twice[1]:
            folded = f"{within[1]} {within[3]}"
    both = _BOTH.fullmatch(folded)
    if both is not None:
        found_both = [_look_up(part) for part in both.groups() if part is not None]
        said = [one for one in found_both if one is not None]
        if len(said) == 2:
            return said[0] if said[0] == said[1] else None
    return _look_up_before(_SOURCE.sub("", folded))


def _look_up(folded: str) -> str | None:
    code = folded.upper()
    if code in NAMES:
        return code
    old = re.sub(r"\s*[/(\s-]\s*", "/", folded.rstrip(")"), count=1)
    for written in (folded, old):
        if written in _OLD_CODES:
            return _OLD_CODES[written]
    return _WORDS.get(re.sub(r"\s*/\s*", "/", folded.replace(":", "/")))


def _look_up_before(folded: str) -> str | None:
    """Return the code that stands before criteria, a version or a trend."""
    text = _TREND.sub("", folded)
    head = re.match(r"(?:lr[/\s-]?(?:lc|nt|cd)|ex|ew|re|cr|en|vu|nt|lc|dd|ne)(?![a-z])", text)
    starts = [head.group()] if head else []
    starts += sorted((one for one in _WORDS if text.startswith(one)), key=len, reverse=True)[:1]
    for start in starts:
        rest = text[len(start) :]
        rest = _VERSION.sub("", rest, count=1)
        if not rest.strip(" ,;") or _CRITERIA.fullmatch(rest):
            return _look_up(start)
    return None
