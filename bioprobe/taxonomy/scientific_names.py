"""Scientific names as people label pictures with them: told from common names, and from codes."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterable

from bioprobe.names import unify
from bioprobe.taxonomy.common_words import has_common_words
from bioprobe.taxonomy.parsed_name import TIMES, ParsedName

# Names above genus whose rank people know: of what pictures are sorted by before a species is told.
_WELL_KNOWN = {
    name: rank
    for rank, names in {
        "kingdom": "Animalia Plantae Fungi",
        "phylum": "Chordata Arthropoda Mollusca Annelida Cnidaria Echinodermata Tracheophyta",
        "class": "Mammalia Aves Reptilia Amphibia Actinopterygii Chondrichthyes Elasmobranchii "
        "Insecta Arachnida Malacostraca Gastropoda Bivalvia Cephalopoda Chilopoda Diplopoda "
        "Magnoliopsida Liliopsida Pinopsida Polypodiopsida",
        "order": "Carnivora Rodentia Chiroptera Primates Artiodactyla Cetartiodactyla Cetacea "
        "Perissodactyla Lagomorpha Eulipotyphla Soricomorpha Erinaceomorpha Sirenia Proboscidea "
        "Pilosa Cingulata Pholidota Hyracoidea Tubulidentata Macroscelidea Afrosoricida Scandentia "
        "Monotremata Didelphimorphia Diprotodontia Dasyuromorphia Peramelemorphia Squamata "
        "Testudines Crocodylia Anura Caudata Urodela Gymnophiona Lepidoptera Coleoptera Diptera "
        "Hymenoptera Hemiptera Orthoptera Odonata Blattodea Mantodea Araneae Scorpiones",
    }.items()
    for name in names.split()
}
# Genera of plants that are called as orders of animals: Pholidota imbricata is an orchid.
_ALSO_GENERA = {"Anura", "Pholidota", "Proboscidea"}
# Endings that the codes of nomenclature give ranks above genus; -formes by use alone.
_ENDINGS = {
    "idae": "family", "aceae": "family", "inae": "subfamily", "oideae": "subfamily",
    "formes": "order",
}  # fmt: skip
_RANKED_ENDING = re.compile(rf"[A-Z].*?({'|'.join(_ENDINGS)})")
# What most names are: told without taking them apart.
_PLAIN = re.compile(
    r"[A-Z][a-z]{2,}(?: (?!(?:spec|species|near|prox|conf|indet|ined|complex|group|subsp|subspec"
    r"|variety|forma?|auct|auctt|hort|emend|sensu|morph|strain|clade|biovar|natio)\b)[a-z]{4,}){1,2}"
)
# A mark that stands for a class, or for nothing: sp01, B, class_a, #N/A.
_CODE = re.compile(
    r"\S*[\d#/?*<>]\S*|[\0-\x7f]|\w+[_-]\w|(?i:na|nan|null|none|nil|tb[da]|n\.a\.|unknown"
    r"|unidentified|undetermined|not available|missing)"
)
# Endings of Latin and Latinised words; fewer of names that stand alone: English words end so too.
_LATIN = re.compile(
    r"(?:us|a|um|is|e|i|or|[aeiouy]x|ns|es|on|os|as|ops|ys|o|en|ps|oides|er|al|ur|u)$"
)
# Two names for one picture: Panthera leo / P. pardus, Canis lupus/latrans, Panthera leo or pardus.
# Authors follow the same words in a capital: Hove & Zibrowius.
_EITHER = re.compile(
    r"(?P<first>[^/|;+]+?)(?:\s*(?:(?P<bare>/)|[|;+])\s*|,?\s+(?:(?P<word>or|oder|ou|vel|vs\.?)|and|und|et|&)\s+"
    r"|,\s+)(?P<second>(?P<genus>[A-Z][a-z]*\.?)?(?(genus)\s+)[a-z-]{4,}(?![\w.]).*)"
)
# A known name in brackets behind what people call it: Lion (Panthera leo).
_IN_BRACKETS = re.compile(
    r"(?P<common>[^()\[\]]+)\s(?:[(\[]|[-\u2013]\s)(?P<name>[^()\[\]]+)[)\]]?"
)
# An epithet that a mark follows, which the grammar takes for none: Panthera leo, juvenile.
_MARKED_EPITHET = re.compile(r"(?P<epithet>[a-z]{3,}(?:-[a-z]+)?)[.,;:*!]+(?=\s|$)(?P<rest>.*)")
_DOUBT = re.compile(
    r"[a-z-]+\s?\(?\?|[a-z-]+/|\((?:cf|aff|nr)\.?\)|(?:n(?:ov)?\.\s?)?(?:fam|gen|spp?)(?:[.\s\d]|$)"
    r"|(?:near|ex\s(?:gr|aff|cf)\.?)\s"
)
# The same behind a whole name.
_DOUBTED = re.compile(r"[(\[]?\?|(?:prob|poss|likely|uncertain|vel\s)", re.I)
# What is said of an animal behind its name, and is no epithet of a subspecies: Corvus corax male.
_OF_ANIMAL = re.compile(
    r"(?:[\s_,;:/(-]+(?:with|males?|females?|adults?|sub-?adults?|ad|juveniles?|juvs?|immatures?|imm|young"
    r"|cubs?|pups?|cal(?:f|ves)|chicks?|fawns?|kittens?|larvae?|nymphs?|pupae?|eggs?|nests?|dead"
    r"|alive|carcass|captive|wild|feral|domestic|tracks?|scats?|skulls?|hybrids?|macho|hembra"
    r"|unknown|adulto|adulte|m\u00e2le|femelle|jeune)\)?\.?)+$",
    re.I,
)
# Marks that people put around a name.
_AROUND = " '\"\u2026\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb*`"
# Letters as wide as those of Chinese and Japanese, which are typed there for Latin ones.
_NARROW: dict[int, int | str] = {
    **{wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)},
    # Signs of the sexes are no part of a word.
    **{sign: f" {chr(sign)}" for sign in (0x2640, 0x2642)},
}
_LATIN_ALONE = re.compile(r"(?:us|a|um|is|ops|os|ys|ax|ix|yx|don|ae|formes)$")


class Kind(enum.Enum):
    """What a name is by its form."""

    SCIENTIFIC = enum.auto()
    COMMON = enum.auto()
    #: It may be either.
    OPEN = enum.auto()
    #: A number or mark that stands for a class.
    CODE = enum.auto()


def read_name(text: str) -> ParsedName | None:
    """Take the scientific name of a label apart; None where it is none that pictures are sorted by.

    A name whose genus is shortened (``P. leo``) says too little alone, and names of viruses and of
    bacteria that nobody grew are names of what no picture shows.

    Where a text names two taxa, what they have in common is sure, and the rest is its qualifier.

    Examples
    --------
    >>> read_name("PANTHERA LEO (LINNAEUS, 1758)").certain
    'Panthera leo'
    >>> read_name("Quercus robur subsp. brutia (Ten.) O.Schwarz").certain
    'Quercus robur brutia'
    >>> read_name("American Robin"), read_name("P. leo")
    (None, None)
    >>> both = read_name("Panthera leo / P. pardus")
    >>> both.certain, both.qualifier
    ('Panthera', 'leo / P. pardus')
    """
    whole = unify(text).translate(_NARROW)
    # Of two words alone the second may be an epithet: Strombus pupa.
    note = _OF_ANIMAL.search(whole) if len(re.findall(r"[\s_]", whole)) > 1 else None
    name = whole if note is None else whole[: note.start()]
    parsed = _read_plainly(name) if is_plain(name) else None
    if parsed is None:
        parsed = _read_written(name.replace("_", " ").strip(_AROUND))
    if parsed is None or not parsed.certain:
        return None
    if note is not None:
        parsed = _add_note(parsed, note[0].strip(" _,;:/(-"))
    return dataclasses.replace(_keep_above(parsed), text=text)


def _read_plainly(name: str) -> ParsedName | None:
    words = name.split(" ")
    if has_common_words(name.casefold().split(" ")):
        return None
    rank = ("uninomial", "species", "subspecies")[len(words) - 1]
    return ParsedName(
        name, name, rank, genus=words[0], epithets=tuple(words[1:]), cardinality=len(words),
        certain=name,
    )  # fmt: skip


def _read_written(name: str) -> ParsedName | None:
    either = _EITHER.fullmatch(name)
    parsed = _read_bracketed(name) or (_read_either(either) if either is not None else None)
    if parsed is not None:
        return parsed
    parsed = _parse(name)
    if parsed is None or parsed.is_uninomial or parsed.qualifier or parsed.hybrid:
        return parsed
    doubt = "(?)" if name.endswith("(?)") else parsed.rest.lstrip(", ")
    if not _DOUBTED.match(doubt):
        return parsed
    return _leave_open(parsed, f"{parsed.certain.partition(' ')[2]} {doubt}")


def _add_note(parsed: ParsedName, note: str) -> ParsedName:
    """Return a name with what is said of the animal; a hybrid is of neither of its parents."""
    if "hybrid" in note.casefold() and not parsed.hybrid and not parsed.is_uninomial:
        return _leave_open(parsed, f"{parsed.certain.partition(' ')[2]} {note}")
    return dataclasses.replace(parsed, rest=f"{parsed.rest} {note}".strip())


def tell_rank(name: str) -> str:
    """Return the rank above genus that a name of one word tells, ``""`` where it tells none.

    Examples
    --------
    >>> tell_rank("Felidae"), tell_rank("Felinae"), tell_rank("Carnivora"), tell_rank("Panthera")
    ('family', 'subfamily', 'order', '')

    References
    ----------
    International Code of Zoological Nomenclature, article 29.2; International Code of Nomenclature
    for algae, fungi, and plants, articles 18.1 and 19.1.
    """
    found = _RANKED_ENDING.fullmatch(name)
    return _ENDINGS[found[1]] if found is not None else _WELL_KNOWN.get(name, "")


def _keep_above(parsed: ParsedName) -> ParsedName:
    """Return a name above genus as one: what stands behind it is no epithet."""
    rank = "" if parsed.hybrid else tell_rank(parsed.genus)
    is_genus = parsed.genus in _ALSO_GENERA and parsed.cardinality > 1 and not parsed.qualifier
    if not rank or is_genus:
        return parsed
    epithets = parsed.certain.partition(" ")[2]
    rest = f"{epithets} {parsed.rest}".strip()
    is_open = _DOUBT.match(rest) is not None
    return dataclasses.replace(
        parsed, canonical=parsed.genus, certain=parsed.genus, rank=rank, epithets=(),
        cardinality=1, qualifier=parsed.qualifier or (rest if is_open else ""),
        rest="" if is_open else rest,
    )  # fmt: skip


def _parse(name: str) -> ParsedName | None:
    # Most names are plain, and the forms of all others take longer to make than most questions.
    from bioprobe.taxonomy.name_parsing import parse_name

    parsed = parse_name(name)
    if not parsed.parsed or parsed.is_virus or parsed.genus.endswith("."):
        return None
    if parsed.canonical.startswith("Candidatus"):
        return None
    if not parsed.is_uninomial or parsed.qualifier or not parsed.rest:
        return parsed
    if _DOUBT.match(parsed.rest):
        return _leave_open(parsed, parsed.rest)
    marked = _MARKED_EPITHET.fullmatch(parsed.rest)
    if marked is not None and _LATIN.search(marked["epithet"]):
        whole = parse_name(f"{parsed.certain} {marked['epithet']}")
        if whole.parsed and not whole.is_uninomial:
            return dataclasses.replace(whole, rest=marked["rest"].strip())
    return parsed


def _read_bracketed(name: str) -> ParsedName | None:
    """Return the species in brackets behind a common name; None where there is none."""
    found = _IN_BRACKETS.fullmatch(name)
    if found is None or judge_name(found["common"]) not in {Kind.COMMON, Kind.OPEN}:
        return None
    parsed = _parse(found["name"])
    is_whole = parsed is not None and parsed.certain == found["name"] and not parsed.is_uninomial
    return dataclasses.replace(parsed, rest=found["common"]) if parsed and is_whole else None


def _leave_open(parsed: ParsedName, qualifier: str) -> ParsedName:
    """Return the genus of a name, with the rest as what is not sure."""
    return dataclasses.replace(
        parsed, canonical=parsed.genus, rank="genus", qualifier=qualifier, epithets=(),
        authorship="", cardinality=0, certain=parsed.genus, hybrid="", rest="",
    )  # fmt: skip


def _read_either(either: re.Match[str]) -> ParsedName | None:
    """Return what two names have in common; nothing is sure where their genera differ.

    None where there are no two.
    """
    first, genus = _parse(either["first"]), either["genus"]
    if first is None or first.is_uninomial or first.hybrid == "formula":
        return None
    if not genus and not (either["bare"] or either["word"]):
        return None
    is_one = not genus or genus == first.genus or genus == f"{first.genus[0]}."
    if not is_one:
        return ParsedName(either[0])
    written = either[0].partition(" ")
    return _leave_open(first, written[2] if written[0] == first.genus else either[0])


def is_plain(name: str) -> bool:
    """Tell quickly whether a name is written as most are, in two words or three."""
    return _PLAIN.fullmatch(name) is not None


def write_name(text: str) -> str:
    """Return a name in the form in which names compare: as :func:`read_name` writes it, if it can.

    Examples
    --------
    >>> write_name("felis_concolor"), write_name("Puma concolor (Linnaeus, 1771)")
    ('Felis concolor', 'Puma concolor')
    """
    parsed = read_name(text)
    return parsed.certain if parsed and not parsed.qualifier else unify(text)


def judge_name(text: str) -> Kind:
    """Tell by its form, and by known words, what a name is.

    A second word in a capital (``Red Fox``) is no epithet. In lower case known English words tell
    (``Red fox``), then the ending.
    """
    name = unify(text)
    if not any(c.isalpha() for c in name) or _CODE.fullmatch(name):
        return Kind.CODE
    if _OF_ANIMAL.fullmatch(f" {name}"):
        return Kind.COMMON
    parsed = read_name(name)
    if parsed is None:
        words = [word.strip(".,()").casefold() for word in _unslug(name).split()]
        is_common = len(words) > 1 or not name.isascii() or has_common_words(words)
        return Kind.COMMON if is_common else Kind.OPEN
    if parsed.is_uninomial:
        is_told = bool(tell_rank(parsed.certain) or parsed.qualifier or parsed.has_author)
        sure = is_told or _LATIN_ALONE.search(parsed.certain)
        # Three letters may be anything, but Sus sp.
        is_name = sure and (len(parsed.certain) > 3 or parsed.qualifier)
        return Kind.SCIENTIFIC if is_name else Kind.OPEN
    epithets = parsed.certain.replace(f"{TIMES} ", "").split()[1:]
    is_latin = all(len(one) > 2 and _LATIN.search(one) for one in epithets)
    return Kind.SCIENTIFIC if is_latin or parsed.has_author else Kind.OPEN


def recognise_names(
    names: Iterable[str], *, meant: bool = True
) -> tuple[dict[str, ParsedName], set[str]]:
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
    scientific : dict of str to ParsedName
        Those that are, taken apart.
    common : set of str
        Those that are not. What is in neither is a code, or a word that may be either.
    """
    distinct = dict.fromkeys(name for name in names if name)
    kinds = {name: judge_name(name) for name in distinct}
    parsed = {name: read_name(name) for name in distinct}
    whole = {name for name, one in parsed.items() if one is not None and not one.is_uninomial}
    n_scientific = sum(kinds[name] is Kind.SCIENTIFIC for name in whole)
    n_common = sum(kind is Kind.COMMON for kind in kinds.values())
    leaning = n_scientific - n_common
    scientific: dict[str, ParsedName] = {}
    common: set[str] = set()
    for name, kind in kinds.items():
        one = parsed[name]
        doubtful = kind is Kind.OPEN or (
            one is not None and one.is_uninomial and not tell_rank(one.certain)
        )
        if kind is Kind.COMMON or (doubtful and kind is not Kind.CODE and leaning < 0):
            common.add(name)
        elif one is None or kind is Kind.CODE:
            continue
        elif kind is Kind.SCIENTIFIC or (not one.is_uninomial and (leaning > 0 or meant)):
            scientific[name] = one
        elif not one.is_uninomial:
            common.add(name)
    return scientific, common


def _unslug(name: str) -> str:
    if "_" in name:
        return name.replace("_", " ")
    # In upper case a hyphen is part of a name.
    return name.replace("-", " ") if name.islower() and " " not in name else name
