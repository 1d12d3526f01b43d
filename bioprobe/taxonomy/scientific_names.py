"""Scientific names as people write them: told from common names, and without their authors."""

from __future__ import annotations

import dataclasses
import enum
import functools
import html
import re
from collections.abc import Iterable, Sequence

from bioprobe.files import prompts_dir, read_lines
from bioprobe.names import unify


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


#: The sign of a hybrid.
TIMES = "\u00d7"
_LOWER, _UPPER = "a-z\u00df-\u00f6\u00f8-\u00ff\u0153", "A-Z\u00c0-\u00d6\u00d8-\u00de\u0152"
# Few epithets begin with a number or hold an apostrophe: 24-spinosus, o'donoghuei.
_EPITHET = re.compile(rf"(?:\d{{1,3}}-)?[{_LOWER}]+(?:'[{_LOWER}]+)?(?:-[{_LOWER}]+)*")
_GENUS = re.compile(rf"[{_UPPER}][{_LOWER}]+(?:-[{_UPPER}{_LOWER}][{_LOWER}]+)?")
_SUBGENUS = re.compile(rf"\([{_UPPER}{_LOWER}][{_LOWER}.-]+\)")
# What most names are: told without taking them apart.
_PLAIN = re.compile(
    r"[A-Z][a-z]{2,}(?: (?!(?:spec|species|near|prox|conf|indet|ined|complex|group|subsp|subspec"
    r"|variety|forma?|auct|auctt|hort|emend|sensu|morph|strain|clade|biovar|natio)\b)[a-z]{4,}){1,2}"
)
# Ranks below species are marked in botany; the epithet follows the mark.
_MARKS = _words(
    "subsp ssp subspec var variety f fm fo forma form fa subvar subf cv convar nothovar nothosubsp",
    "nothossp nothof agamosp agamossp agamovar prol pv pathovar natio mut morph st",
)
# Small words that begin or join authors' names.
_OF_AUTHORS = _words(
    "de da del dela della delle degli der den des di dos du la le van von v vom zu zur zum ten ter",
    "el ex et in and y e al bis apud nec nom nomen emend sensu auct auctt hort sec ht str strain",
    "serovar serotype biovar clade",
)
# Signs of open nomenclature, after which nothing is sure.
_QUALIFIERS = _words(
    "sp spp spec species cf conf aff nr near prox indet ined gr ssp subsp agg complex group",
)
# What stands in lists of names and names no organism, or none that these rules are of.
_NO_ORGANISM = re.compile(
    r"(?i:\bvirus\b|vir(?:uses|ophage|oids?)\b|phages?\b|satellites?\b|expression vector"
    r"|plasmids?\b|\bprions?\b|\bparticles?\b|\binc(?:ertae|\.) *sed|symbiont\b|phytoplasma\b"
    r"|(?<!^)\bbacterium (?=\w*\d)|^(?:candidatus|not|none|un(?:n?amed|known|identified|determined"
    r"|classified|cultured|assigned|specified))\b)|(?:ss|\b)[RD]NA(?:\b|_|\d)|\b[A-Z]*(?:NPV|Npv)\b"
)
_AUTHORSHIP = re.compile(r"\d{4}|[.,&()]")
# A mark that stands for a class, or for nothing: sp01, B, class_a, #N/A.
_CODE = re.compile(
    r"\S*[\d#/?*<>]\S*|.|\w+[_-]\w|(?i:na|nan|null|none|nil|tb[da]|n\.a\.|unknown"
    r"|unidentified|undetermined|not available|missing)"
)
# Endings of Latin and Latinised words; fewer of names that stand alone: English words end so too.
_LATIN = re.compile(
    r"(?:us|a|um|is|e|i|or|[aeiouy]x|ns|es|on|os|as|ops|ys|o|en|ps|oides|er|al|ur|u)$"
)
_LATIN_ALONE = re.compile(r"(?:us|a|um|is|ops|os|ys|ax|ix|yx|don|ae|formes)$")
# Endings of English words that no Latin word has: of first words, of last ones, and of any.
_ENGLISH_FIRST = re.compile(r"(?:[^aeiou]y|ing|ed|ish|ern|ese|ck|sh|ow|ght)$")
_ENGLISH_LAST = re.compile(
    r"(?:ish|ck|sh|ght|ow|ee|wort|weed|berry|grass|tail|bird|fly|back|bill|head|lea[fv]|worm|bane"
    r"|tree|nut|moth|hopper|throat|neck|eye|foot|eer)$"
)
_ENGLISH = re.compile(r"['\u2019]s$|^[a-z]+-[a-z]+(?:ed|er)$|^(?:of|the|with|or|and)$")
_FAMILY = re.compile(r"(?:idae|aceae)$")


@dataclasses.dataclass(frozen=True, slots=True)
class ScientificName:
    """A scientific name taken apart.

    Parameters
    ----------
    canonical : str
        In the usual capitals, without authors, year, subgenus and marks of rank; the sign of a
        hybrid stays. Of open nomenclature what is sure: ``Alces`` of ``Alces cf. alces``.
    qualifier : str
        What is not sure, such as ``cf. alces`` or ``sp.``: Darwin Core's
        ``identificationQualifier``.
    has_author : bool
        Whether something was left out.
    """

    canonical: str
    qualifier: str = ""
    has_author: bool = False

    @property
    def is_uninomial(self) -> bool:
        """Whether it is one word: a genus, or a name above it."""
        return " " not in self.canonical.removeprefix(f"{TIMES} ")

    @property
    def is_family(self) -> bool:
        """Whether its ending is that of a family, of animals or of plants.

        References
        ----------
        International Code of Zoological Nomenclature, article 29.2; International Code of
        Nomenclature for algae, fungi, and plants, article 18.1.
        """
        return self.is_uninomial and _FAMILY.search(self.canonical) is not None


class Kind(enum.Enum):
    """What a name is by its form."""

    SCIENTIFIC = enum.auto()
    COMMON = enum.auto()
    #: It may be either.
    OPEN = enum.auto()
    #: A number or mark that stands for a class.
    CODE = enum.auto()


def parse_name(text: str) -> ScientificName | None:
    """Take a scientific name apart; None where the text has not the form of one.

    Parameters
    ----------
    text : str
        Name with or without author, in the usual capitals, in lower or in upper case, with blanks,
        or joined by underscores or hyphens as in a file name.

    References
    ----------
    Mozzherin, Myltsev & Patterson 2017, *gnparser: a powerful parser for scientific names*, for
    what names look like.

    Examples
    --------
    >>> parse_name("PANTHERA LEO (LINNAEUS, 1758)").canonical
    'Panthera leo'
    >>> parse_name("Quercus robur subsp. brutia (Ten.) O.Schwarz").canonical
    'Quercus robur brutia'
    >>> parse_name("Alces cf. alces")
    ScientificName(canonical='Alces', qualifier='cf. alces', has_author=False)
    >>> parse_name("American Robin")
    """
    name = _write_usually(text)
    if not name or _NO_ORGANISM.search(name):
        return None
    if is_plain(name):
        return ScientificName(name)
    words = name.split()
    hybrid = f"{TIMES} " if words[0] == TIMES else ""
    if hybrid:
        words = words[1:]
    if not words or not _GENUS.fullmatch(words[0].rstrip(",")):
        return None
    genus, rest = words[0].rstrip(","), words[1:]
    if rest and _SUBGENUS.fullmatch(rest[0]) and any(map(_is_epithet, rest[1:2])):
        rest = rest[1:]
    if rest and not (_begins_epithet(rest) or _names_author(rest)):
        return None
    return _read_epithets(hybrid, genus, rest)


def is_plain(name: str) -> bool:
    """Tell quickly whether a name is written as most are, in two words or three."""
    return _PLAIN.fullmatch(name) is not None


def write_name(text: str) -> str:
    """Return a name in the form in which names compare: as :func:`parse_name` writes it, if it can.

    Examples
    --------
    >>> write_name("felis_concolor"), write_name("Puma concolor (Linnaeus, 1771)")
    ('Felis concolor', 'Puma concolor')
    """
    parsed = parse_name(text)
    return parsed.canonical if parsed and not parsed.qualifier else unify(text)


def judge_name(text: str) -> Kind:
    """Tell by its form, and by known words, what a name is.

    A second word in a capital (``Red Fox``) is no epithet. In lower case known English words tell
    (``Red fox``), then the ending.
    """
    name = unify(text)
    if not any(c.isalpha() for c in name) or _CODE.fullmatch(name):
        return Kind.CODE
    parsed = parse_name(name)
    # Authors may be called Rose or Fox: only what stands before them is looked at.
    told = parsed.canonical if parsed and not parsed.is_uninomial else _unslug(name)
    words = [word.strip(".,()").casefold() for word in told.split() if word != TIMES]
    if _has_common_words(words):
        return Kind.COMMON
    if parsed is None:
        return Kind.COMMON if len(words) > 1 or not name.isascii() else Kind.OPEN
    if parsed.is_uninomial:
        sure = parsed.qualifier or parsed.has_author or _LATIN_ALONE.search(parsed.canonical)
        return Kind.SCIENTIFIC if sure and len(parsed.canonical) > 3 else Kind.OPEN
    epithets = parsed.canonical.replace(f"{TIMES} ", "").split()[1:]
    is_latin = all(len(one) > 2 and _LATIN.search(one) for one in epithets)
    return Kind.SCIENTIFIC if is_latin or parsed.has_author else Kind.OPEN


def recognise_names(
    names: Iterable[str], *, meant: bool = True
) -> tuple[dict[str, ScientificName], set[str]]:
    """Tell the scientific names of a column from its common names.

    What the form of a name leaves open follows the others of the column: beside ``American
    Robin`` and ``Polar Bear``, ``Panda`` is a common name, beside ``panthera-leo`` and
    ``vulpes-vulpes``, ``trilobita`` is a taxon.

    Parameters
    ----------
    names : iterable of str
        Names of one column.
    meant : bool
        Whether the column says that it holds scientific names: one that is called ``species``
        does, a folder does not.

    Returns
    -------
    scientific : dict of str to ScientificName
        Those that are, taken apart.
    common : set of str
        Those that are not. What is in neither is a code, or a word that may be either.
    """
    distinct = dict.fromkeys(name for name in names if name)
    kinds = {name: judge_name(name) for name in distinct}
    parsed = {name: parse_name(name) for name in distinct}
    whole = {name for name, one in parsed.items() if one is not None and not one.is_uninomial}
    n_scientific = sum(kinds[name] is Kind.SCIENTIFIC for name in whole)
    n_common = sum(kind is Kind.COMMON for kind in kinds.values())
    leaning = n_scientific - n_common
    scientific, common = {}, set()
    for name, kind in kinds.items():
        one = parsed[name]
        doubtful = kind is Kind.OPEN or (one is not None and one.is_uninomial and not one.is_family)
        if kind is Kind.COMMON or (doubtful and kind is not Kind.CODE and leaning < 0):
            common.add(name)
        elif one is None or kind is Kind.CODE:
            continue
        elif kind is Kind.SCIENTIFIC or (not one.is_uninomial and (leaning > 0 or meant)):
            scientific[name] = one
        elif not one.is_uninomial:
            common.add(name)
    return scientific, common


def _read_epithets(hybrid: str, genus: str, rest: Sequence[str]) -> ScientificName:
    """Read what follows a genus up to what is not sure, and pass over authors and marks."""
    parts, follows = [genus], True
    marked = any(_is_mark(word, rest[at + 1 : at + 2]) for at, word in enumerate(rest))
    for at, word in enumerate(rest):
        after = rest[at + 1 : at + 2]
        if _is_qualifier(word, after, is_first=len(parts) == 1):
            return ScientificName(hybrid + " ".join(parts), " ".join(rest[at:]))
        if word == TIMES and any(one[:1].isupper() for one in after):
            # Before a genus, whole or one letter of it, it joins the two parents of a hybrid.
            return ScientificName(" ".join([genus, *rest]))
        if word == TIMES and any(map(_is_epithet, after)):
            parts.append(TIMES)
        elif word != TIMES and _is_epithet(word) and follows and not _is_mark(word, after):
            parts.append(word.rstrip(","))
        elif not marked and len(parts) > 1:
            break
        # An epithet follows the genus, another epithet, or a mark.
        follows = word == TIMES or _is_mark(word, after) or parts[-1] == word
        if word.endswith(",") and len(parts) > 1:
            break
    has_author = len(" ".join(parts)) < len(" ".join([genus, *rest]))
    return ScientificName(hybrid + " ".join(parts), has_author=has_author)


def _write_usually(text: str) -> str:
    """Return a name with blanks between its words, and in the usual capitals."""
    name = unify(text)
    if "<" in name or "&" in name:
        name = unify(re.sub(r"</?\w+>", "", html.unescape(name)))
    name = _unslug(name).replace("\u2019", "'").replace("\u2020", "").strip(" '\"?\u2026")
    if not name.isascii():
        name = re.sub(rf"{TIMES}(?=\S)", f"{TIMES} ", name)
    # What is written without a blank: dendrobii(Burnett), var.alba.
    name = re.sub(r"(?<=\w)\(", " (", re.sub(r"\b(var|s?s[ub]*sp|fo)\.(?=[a-z])", r"\1. ", name))
    # The letter x stands for the sign of a hybrid, before a genus or between words.
    name = re.sub(r"(?:^|(?<= ))[xX] (?=[^\W\d_])", f"{TIMES} ", name)
    if name.isupper():
        name = name.lower()
    start = 2 if name.startswith(f"{TIMES} ") else 0
    return name[:start] + name[start : start + 1].upper() + name[start + 1 :]


def _unslug(name: str) -> str:
    if "_" in name:
        return name.replace("_", " ")
    # In upper case a hyphen is part of a name.
    return name.replace("-", " ") if name.islower() and " " not in name else name


def _is_epithet(word: str) -> bool:
    return (
        _EPITHET.fullmatch(word.rstrip(",")) is not None
        and word.rstrip(",") not in _OF_AUTHORS
        and len(word) > 1
    )


def _begins_epithet(rest: Sequence[str]) -> bool:
    first = rest[0]
    return _is_epithet(first) or first == TIMES or _is_qualifier(first, rest[1:], is_first=True)


def _names_author(rest: Sequence[str]) -> bool:
    """Tell whether what follows a word is an author: it has a year, a dot or a small word."""
    return rest[0] in _OF_AUTHORS or bool(_AUTHORSHIP.search(" ".join(rest)))


def _is_mark(word: str, after: Sequence[str]) -> bool:
    """Tell whether a word marks the rank of the next: f. is form before an epithet, else son."""
    is_mark = word.rstrip(".") in _MARKS and (word.endswith(".") or len(word) > 1)
    return is_mark and any(map(_is_epithet, after))


def _is_qualifier(word: str, after: Sequence[str], *, is_first: bool) -> bool:
    bare = word.rstrip(".").lower()
    if bare not in _QUALIFIERS:
        return False
    if bare in _MARKS:
        # Nothing is named below species: Panthera leo ssp.
        return not after
    return word.endswith(".") or bare in {"sp", "spp", "cf", "aff", "indet"} or is_first


@functools.cache
def _read_words(name: str) -> frozenset[str]:
    lines = read_lines(prompts_dir() / "words" / f"{name}.txt")
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _has_common_words(words: Sequence[str]) -> bool:
    """Tell whether words are those of a common name."""
    first, last = _read_words("first"), _read_words("last")
    ends = {words[-1], words[-1].removesuffix("s"), words[-1].removesuffix("es")}
    if len(words) == 1:
        return bool(ends & last)
    # Genera that English took over have species of nearly their own name: Gekko gecko.
    is_tautonym = len(words) == 2 and words[0][:2] == words[1][:2]
    return (
        words[0] in first
        or words[0].partition("-")[0] in first
        or (not is_tautonym and (words[0] in last or bool(ends & last)))
        or _ENGLISH_FIRST.search(words[0]) is not None
        or _ENGLISH_LAST.search(words[-1]) is not None
        or any(_ENGLISH.search(word) for word in words)
    )
