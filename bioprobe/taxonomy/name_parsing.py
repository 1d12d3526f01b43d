"""The grammar of scientific names: what is the name, its rank, its authors, and what is not sure.

A name is read from left to right by the forms that the codes of nomenclature give it, and what
follows the last part that has such a form is left over, so that a note behind a name does no harm.

References
----------
International Code of Zoological Nomenclature, articles 4 to 6, 11, 22 and 51; International Code of
Nomenclature for algae, fungi, and plants, articles 20 to 24, 46 to 50 and H.1 to H.12; Mozzherin,
Myltsev & Patterson 2017, *gnparser: a powerful parser for scientific names*, whose published cases
say what is made of names that the codes do not foresee.
"""

from __future__ import annotations

import dataclasses
import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from bioprobe.taxonomy.common_words import has_common_words
from bioprobe.taxonomy.parsed_name import TIMES, ParsedName

Part = TypeVar("Part")

# Letters of names, beside those of ASCII, as two letters or one (ICZN 32.5.2, ICN 60.7).
_PLAIN_LETTERS = {
    "æ": "ae", "œ": "oe", "ø": "oe", "ö": "oe", "ä": "ae", "ü": "ue", "å": "ao", "ß": "ss",
    "\u017f": "s", "đ": "d", "ł": "l", "\u0131": "i",
}  # fmt: skip
# What is left where a file was read in another encoding than it was written in.
_LOST = "\ufffd"
_CAPITALS = "".join(chr(n) for n in range(0xC0, 0x250) if chr(n).isupper())
_SMALLS = "".join(chr(n) for n in range(0xDF, 0x250) if chr(n).islower())
_LOW = f"[a-z{_SMALLS}{_LOST}]"
_HIGH = f"[A-Z{_CAPITALS}{_LOST}]"
_TICKS = "'\u2018\u2019\u00b4`"
_END = r"(?=\s|$)"


def _any(*lines: str) -> str:
    words = [word for line in lines for word in line.split()]
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# ---- names of genera and above
_FIRST = rf"[A-ZÆŒÖ]{_LOW}{{2,}}"
# A first word of two letters before a hyphen has a vowel: De-filippii, Eu-hookeria.
_GENUS = re.compile(
    rf"(?:{_FIRST}|[A-Z][aeiou](?=-))(?:-(?:{_FIRST}|{_LOW}{{2,}})){{0,2}}\??(?![-\w])"
)
_TWO_LETTERS = re.compile(r"(?:[A-Z][aeiouy]|[AEIOUY][a-z])(?![\w.'-])|Qu(?![\w.'-])")
_SHORT_GENUS = re.compile(rf"[A-Z]{_LOW}?\.(?=\s*{_LOW}{{2}})")
_SUBGENUS = re.compile(rf"\(\s*(?:({_FIRST}(?:-{_LOW}+)?)|[A-Z]{_LOW}*\.|{_LOW}{{3,}})\s*\)")
_ABOVE_SPECIES = {
    "sect": "sect.", "subsect": "subsect.", "ser": "ser.", "subser": "subser.", "trib": "trib.",
    "tr": "trib.", "subtrib": "subtrib.", "subtr": "subtrib.", "supertrib": "supertrib.",
    "subgen": "subgen.", "subg": "subgen.", "fam": "fam.", "subfam": "subfam.", "div": "div.",
    "notosect": "nothosect.", "nothosect": "nothosect.", "nothoser": "nothoser.",
    "nothosubgen": "nothosubgen.", "nothosubg": "nothosubgen.", "nothosubsect": "nothosubsect.",
    "nothogen": "nothogen.", "nothosubtrib": "nothosubtrib.",
}  # fmt: skip
_MARK_ABOVE = re.compile(rf"({_any(*_ABOVE_SPECIES)})(?:\.|{_END})\s*(?=[A-ZÆŒÖ])")
_RANKS_ABOVE = {
    "sect.": "section", "subsect.": "subsection", "ser.": "series", "subser.": "subseries",
    "trib.": "tribe", "subtrib.": "subtribe", "supertrib.": "supertribe", "subgen.": "subgenus",
    "fam.": "family", "subfam.": "subfamily", "div.": "division", "nothogen.": "genus",
}  # fmt: skip

# ---- epithets
_WORD = re.compile(
    rf"(?:st\.-{_LOW}{{2,}}"
    rf"|[1-9]\d?[.-]?{_LOW}{{4,}}"
    rf"|{_LOW}+(?:[{_TICKS}](?:{_LOW}{{2,}}|{_LOW}(?=-)))?(?:-{_LOW}+(?:[{_TICKS}]{_LOW}{{2,}})?){{0,3}})"
    # A comma ends the name, unless an author with a year follows it.
    rf"(?=\s|\(|$|,\s*\(?{_HIGH}[^\d(),;]*,?\s*\(?\d{{4}})"
)
# Small words that begin an author's name.
_PREFIX_WORDS = (
    "ab af bis da das de del dela della delle degli dem den der des di do dos du e el i la las le",
    "lo los ten ter van ver vom von v zu zum zur 't",
)
# Of these few are epithets too: Bolitoglossa la, Sympycnus du.
_PREFIX_OR_EPITHET = _words("ab da dela den des dos du la van zu ser")
_NO_EPITHET = _words(
    "ex et and apud pro in nr near sp spp cf conf aff species monst clade strain biovar auct auctt",
    "hort emend sensu non nec sec fide vide not ht ined indet vel",
)
_MARKS = {
    "forma": "f.", "fma": "f.", "form": "f.", "fo": "f.", "fm": "f.", "fa": "f.", "f": "f.",
    "variety": "var.", "varietas": "var.", "[var.]": "var.", "var": "var.", "ssp": "subsp.",
    "subspec": "subsp.", "subsp": "subsp.", "subspecies": "subsp.", "sspec": "subsp.",
}  # fmt: skip
_KEPT_MARKS = re.compile(
    r"(?:notho(?:var|fo|f|subsp|ssp|sp|morph|supsp|su)|nvar|agamos?sp|agamovar|morph|convar"
    r"|pseudovar|subvar|subf|race|prol|pv|pathovar|st|ab|mut|natio|nat|lusus|monstr)\b\.?"
    r"|f\.\s?sp\.?|\*|[\u03b1-\u03c9]{1,2}\.?|[a-egk]\.(?=\s)"
)
_MARK = re.compile(rf"({_any(*_MARKS)})(?:\.\s*|{_END}\s*)")
_GREEK = re.compile(r"[\u03b1-\u03c9]\.?\s+")
_RANKS_BELOW = {"subsp.": "subspecies", "var.": "variety", "f.": "form"}
_LATIN_TENS = ("", "decem", "viginti", "triginta", "quadraginta", "quinquaginta", "sexaginta",
               "septuaginta", "octoginta", "nonaginta")  # fmt: skip
_LATIN_ONES = ("", "uno", "duo", "tre", "quatuor", "quinque", "sex", "septem", "octo", "novem")
_LATIN_FIRST = ("", "uni", "bi", "tri", "quadri", "quinque", "sex", "septem", "octo", "novem",
                "decem", "undecim", "duodecim", "tredecim", "quatuordecim", "quindecim", "sedecim",
                "septendecim", "octodecim", "novemdecim")  # fmt: skip

# ---- what is not sure
_NOT_SURE = re.compile(
    rf"(?:(?:spp?|nr|aff|affin|prox|indet|gr|agg)(?:\.|{_END})|species{_END}|monst\.|\?)"
)
_COMPARED = re.compile(rf"(?:cf|conf|cfr)(?:\.|{_END})\s*", re.I)

# ---- authors
_AUTHOR_LETTER = rf"[{_TICKS}a-z{_SMALLS}{_LOST}]"
_AUTHOR_WORD = re.compile(
    rf"(?:(?:d|O|L|Mc|Mac|M|D)[{_TICKS}])?(?:[a-z]{{2,3}}(?=[A-Z]{_LOW}))?"
    rf"(?:{_HIGH}{{2,}}|{_HIGH}{_AUTHOR_LETTER}*(?:{_HIGH}{_AUTHOR_LETTER}+)*)(?![0-9:])"
    rf"(?:-(?:{_HIGH}{{2,}}|{_HIGH}?\.?-?{_HIGH}?{_AUTHOR_LETTER}+|{_HIGH})(?![\w]))*\.?"
    rf"(?:-(?:{_HIGH}{_AUTHOR_LETTER}*|{_AUTHOR_LETTER}+)\.?)*"
)
_AUTHOR_NEXT = re.compile(rf"\s+\(?{_HIGH}")
_PREFIX = re.compile(
    rf"(?:v\.\s?d\.|v\.|d[{_TICKS}]|in\s?[{_TICKS}]t|von\s(?:dem|den|der|d\.)|v\sd(?=\s)"
    rf"|(?:{_any(*_PREFIX_WORDS)})(?=\s))\s*(?=\S)"
)
_SON = re.compile(r"\s*(?:(?<=\s)f\.|f\.|fil\.?|filius|bis)(?=[\s,;)&]|$)")
_ET_AL = re.compile(r"\s*(?:et|&|and)\s+al\b\.?(?:\{\?\})?|\s*arg\.")
_NOBODY = re.compile(r"(?:\?|(?:auctt?|anon)(?:\.|(?=[\s)])))")
_AND = re.compile(r"\s*(?:,\s*)?(?:&|\b(?:et|and|apud|y)\b)\s*|\s*,\s*(?=\D)")
_THEN = re.compile(r"\s*,?\s*\b(?:(ex)\b\.?|((?:ms\s+)?in)\b(?!\s?['\u2019])|(emend)\b\.?)\s*,?\s*")
_YEAR = re.compile(
    r"\s*,?\s*(?:\[\s*(?P<about>[12][0789]\d[\d?]\??)\s*\]|\((?P<within>[12][0789]\d[\d?])[a-z]?\)"
    r"|(?P<first>[12][0789]\d[\d?])[-/\u2013]\d+[a-z?]*|(?P<plain>[12][0789]\d(?:\d|\?))(?P<guess>\?*)"
    r"(?:[a-z](?![a-z]))?(?:\s?:\s?\d+)?\.?)(?![\w])"
)

# ---- what names no organism, or one whose name the grammar is not of
_VIRUS = re.compile(
    r"\d+virus|\bvirus(?:es)?\b|\w+virus(?:es)?\b|\bvirions?\b|\w*vir(?:ophages?|oids?)\b"
    r"|\b\w*phages?\b|\b(?:alpha|beta|delta)?satellites?\b|\bvectors?\b|\bplasmids?\b|\bprions?\b"
    r"|\bparticles?\b|\b\w{0,3}npv\b|\bictv\b|\bcosmids?\b",
    re.I,
)
# An epithet of this form has an author: Hilara vector, Ophion virus.
_LIKE_VIRUS = re.compile(
    rf"[A-Z][a-z]+\s+(?:\([A-Z][a-z]+\)\s+)?(?:vector|prion|particles?|[a-z]*virus)\s+"
    rf"\(?{_HIGH}[^\d\[]*,?\s\(?\d{{4}}\b"
)
_OF_VIRUS = re.compile(
    r"[A-Z][a-z]+(?:viri[ac]|vira|vir(?:ae|ites|icota|icotina|icetes|icetidae|ales|ineae|idae|inae"
    r"|us)|viroid(?:ae)?|satellit(?:e|idae))"
)
_VIRUS_EPITHET = re.compile(r"[A-Za-z][A-Za-z0-9]+")
_NO_NAME = re.compile(
    r"(?i:\binc(?:ertae|\.) *sed|symbiont\b|phytoplasma\b|^(?:not|none|un(?:n?amed|known|identified"
    r"|determined|classified|cultured|assigned|specified|described))\b)"
    r"|(?:[a-z]|\b)[RD]NA(?=\W|_|\d|$)|[a-z]'s\b|(?:^|\s)\+"
)
_BACTERIUM = re.compile(rf"\s\w*bacterium\b(?!\s+\(?{_HIGH}{_LOW}{{2,}})")

# ---- notes behind a name; each takes all that follows
_NOTES = tuple(
    re.compile(form)
    for form in (
        r"(?i)\s+(?:species\s+group|species\s+complex|group|complex|agg\.?|author)(?=\W|$).*",
        r"(?i)\s+(?:sero(?:var|type)|bio(?:var|type)|sensu|auctt?|sec|near|str|strain|clade)\b\.?"
        r"(?=\W|$).*",
        r"\s+environmental\s+samples?.*",
        r"(?:,\s*|\s+)\(?s\.\s?(?:s|l|str|lat)\.?(?=\W|$).*",
        r"(?i)(?:,\s*|\s+)(?:pro\s+parte|p\.\s?p\.?).?\s*$",
        r"(?i)(?:,\s*|\s+)\(?(?:nomen|nom\.|comb\.|stat\.|syn\.|synonym\b|sp\.\s?nov|n\.\s?sp)"
        r"(?:\W.*)?$",
        r"(?i)(?:,\s*|\s+)(?:var\.?|von|van|ined\.?|sensu|new|non|nec|nudum|s?sp\.?|subsp\.?"
        r"|subgen\.?|hybrid|species|spec|nov\.?|indet)\??\s*$",
        r"\s+(?:of[\W_]|\(?ht\.?\W|\(?hort\.?(?:\W|$)|spec\.|nov\.?\s+spec|cv\.?\W|not\s+[a-z]).*",
        r"\s+mihi\s*$",
        r"\s+sic\s*$",
    )
)
# An author alone in capitals may be the second word of Red Fox.
_ALL_CAPITALS = re.compile(rf"{_HIGH}[\w{_TICKS}-]*(?: {_HIGH}[\w{_TICKS}-]*)+")
_SURE_AUTHOR = re.compile(r"\d{3}|[.&(]")
# The longest name with its authors is a fifth of that; what is longer is a text.
_MOST_LETTERS = 1000
_OPEN_ENDS = re.compile(r"\s+(spp?\.?|species|spec\.?|indet\.?)\??\s*$", re.I)
_MINE = re.compile(r"\s+mihi\.")
_LATIN_ENDING = re.compile(r"(?:a|us|um|is|ops|ys|os|on|as|es|ia|ix|ax)$")


def parse_name(text: str) -> ParsedName:
    """Take a scientific name apart.

    Parameters
    ----------
    text : str
        A name as people write it: with or without authors, with blanks or underscores, in the usual
        capitals, in lower or in upper case. Markup is taken away.

    Returns
    -------
    ParsedName
        Its ``canonical`` is empty where the text has not the form of a name, or is one that people
        call an animal: words in capitals (Red Fox is no genus of an author Fox), or of known words
        of common names. Only a list of names can tell of all.

    Examples
    --------
    >>> import bioprobe as bp
    >>> lion = bp.parse_name("Panthera leo subsp. persica (Meyer, 1826)")
    >>> lion.canonical, lion.rank, lion.authorship
    ('Panthera leo subsp. persica', 'subspecies', '(Meyer 1826)')
    >>> moose = bp.parse_name("Alces cf. alces")
    >>> moose.canonical, moose.certain, moose.qualifier
    ('Alces alces', 'Alces', 'cf. alces')
    >>> bp.parse_name("Salix x capreola Andersson (1867)").canonical
    'Salix × capreola'
    >>> bp.parse_name("not recorded").parsed, bp.parse_name("Red Fox").parsed
    (False, False)
    """
    name = _clean(text)
    if not name or len(name) > _MOST_LETTERS:
        return ParsedName(text)
    if virus := _read_virus(text, name):
        return virus
    if _NO_NAME.search(name) or _BACTERIUM.search(name):
        return ParsedName(text)
    name = _write_usually(name)
    kept, note = _cut_notes(name)
    candidate = ""
    if kept.startswith("Candidatus "):
        candidate, kept = "Candidatus ", kept.removeprefix("Candidatus ").lstrip()
    found = _Reader(kept).read()
    if found is None or _is_label(kept, found):
        return ParsedName(text)
    rest = f"{found.rest}{note}".strip()
    open_end = _OPEN_ENDS.match(note) if found.rank == "uninomial" and not found.rest else None
    qualifier = open_end[1] if open_end and not found.qualifier else found.qualifier
    return dataclasses.replace(
        found,
        text=text,
        canonical=candidate + found.canonical,
        qualifier=qualifier,
        rank="genus" if qualifier and found.rank == "uninomial" else found.rank,
        rest="" if open_end else rest,
    )


parse_name.__module__ = "bioprobe"


def _is_label(name: str, found: ParsedName) -> bool:
    """Tell whether what has the form of a name is what people call an animal or a thing."""
    if found.authorship and _SURE_AUTHOR.search(found.authorship):
        return False
    if found.rank == "uninomial" and _ALL_CAPITALS.fullmatch(name):
        return True
    if found.is_virus or found.rank == "family":
        return False
    words = found.certain.replace(f"{TIMES} ", "").split()[:2]
    return has_common_words([word.casefold() for word in words])


def _clean(text: str) -> str:
    """Return a text without markup, daggers and doubled blanks."""
    name = unicodedata.normalize("NFC", text)
    if "<" in name or "&" in name:
        name = html.unescape(re.sub(r"</?[A-Za-z]+/?>", "", name))
    if "_" in name and not re.search(r"\s", name):
        name = name.replace("_", " ")
    name = re.sub("[\u2020\u00ad\u200b-\u200d\u2060\ufeff]", "", name)
    return " ".join(name.split())


def _read_virus(text: str, name: str) -> ParsedName | None:
    """Return what is to be said of a virus: names of two words or one have a form, others none."""
    words = name.split(" ")
    if len(words) <= 2 and _OF_VIRUS.fullmatch(words[0]):
        epithets = tuple(words[1:])
        if not epithets or _VIRUS_EPITHET.fullmatch(words[1]):
            rank = "species" if epithets else "uninomial"
            return ParsedName(
                text, name, rank, genus=words[0], epithets=epithets, cardinality=len(words),
                certain=name, is_virus=True,
            )  # fmt: skip
    if _VIRUS.search(name) and not _LIKE_VIRUS.match(name):
        return ParsedName(text, is_virus=True)
    return None


def _write_usually(name: str) -> str:
    """Return a name in the usual capitals, with the sign of a hybrid for the letter x."""
    letters = [c for c in name if c.isalpha()]
    first = re.match(r"[^\W\d_]+", name)
    if len(letters) > 3 and name.isupper() and first and len(first[0]) > 2:
        # Authors stand in brackets, or before a year.
        name = re.sub(r"\([^)]*\)?|\S+,?(?=\s\d{4})", lambda one: one[0].title(), name.lower())
    if name.islower() and " " not in name and name.count("-") in {1, 2} and first is not None:
        name = name.replace("-", " ")
    name = re.sub(r"(?:(?<=\s)|^)[xX](?=\s)", TIMES, name)
    name = re.sub(rf"^[xX](?={_FIRST})", TIMES, name)
    name = re.sub(rf"\s*{TIMES}\s*", f" {TIMES} ", name).strip() if TIMES in name else name
    is_marked = _MARK_ABOVE.match(name) is not None
    start = 2 if name.startswith(f"{TIMES} ") else 0
    word = re.match(rf"{_LOW}{{3,}}(?=\s|$)", name[start:])
    if word and not is_marked:
        name = name[:start] + name[start].upper() + name[start + 1 :]
    return name


def _cut_notes(name: str) -> tuple[str, str]:
    """Return a name without the notes behind it, and these."""
    kept, before = _MINE.sub("", name), ""
    while kept != before:
        before = kept
        for note in _NOTES:
            found = note.search(kept)
            if found is not None and found.start() > 0:
                kept = kept[: found.start()]
    is_prefix = name.startswith(kept)
    return kept.rstrip(), name[len(kept) :] if is_prefix else ""


def write_plainly(word: str) -> str:
    """Return a word of a name in plain letters.

    Examples
    --------
    >>> write_plainly("Œdicnemus"), write_plainly("mülleri"), write_plainly("o'donelli")
    ('Oedicnemus', 'muelleri', 'odonelli')
    >>> write_plainly("24-spinosus"), write_plainly("Saxo-Fridericia")
    ('vigintiquatuorspinosus', 'Saxo-fridericia')
    """
    word = re.sub(rf"[{_TICKS}?.]", "", word) if not word[:1].isdigit() else word
    number = re.match(r"(\d+)[.-]?", word)
    if number is not None:
        word = _write_number(int(number[1])) + word[number.end() :]
    if "-" in word:
        first, _, others = word.partition("-")
        word = f"{first}-{others.lower()}"
    if word.isascii():
        return word
    written = []
    for letter in word:
        plain = _PLAIN_LETTERS.get(letter.lower())
        if plain is None:
            parts = unicodedata.normalize("NFD", letter)
            plain = parts[0] if parts[0].isascii() else letter
        elif letter.isupper():
            plain = plain.capitalize()
        written.append(plain)
    return "".join(written)


def _write_number(number: int) -> str:
    if number < len(_LATIN_FIRST):
        return _LATIN_FIRST[number]
    tens, ones = divmod(number, 10)
    return _LATIN_TENS[tens] + _LATIN_ONES[ones]


@dataclasses.dataclass(slots=True)
class _Team:
    """Authors of one act, and its year."""

    authors: list[str]
    year: str = ""

    def write(self) -> str:
        authors = ", ".join(self.authors[:-1])
        last = self.authors[-1]
        joined = f"{authors} & {last}" if authors else last
        return f"{joined} {self.year}".strip()


@dataclasses.dataclass(slots=True)
class _Epithet:
    """An epithet with its mark of rank and its authors."""

    word: str
    mark: str = ""
    authors: str = ""
    is_hybrid: bool = False

    def write(self) -> str:
        parts = [self.mark, TIMES if self.is_hybrid else "", write_plainly(self.word)]
        return " ".join(part for part in parts if part)


class _Reader:
    """Reads a cleaned text by the grammar; a form that does not fit leaves the place as it was."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    # -- places

    def _take(self, form: re.Pattern[str]) -> re.Match[str] | None:
        found = form.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _skip(self) -> bool:
        """Pass over blanks; tell whether there were any."""
        before = self._at
        while self._at < len(self._text) and self._text[self._at] == " ":
            self._at += 1
        return self._at > before

    def _take_times(self) -> bool:
        """Pass over the sign of a hybrid; tell whether it was there."""
        if not self._text.startswith(TIMES, self._at):
            return False
        self._at += len(TIMES)
        self._skip()
        return True

    def _sees(self, form: re.Pattern[str]) -> bool:
        return form.match(self._text, self._at) is not None

    def _try(self, read: Callable[[], Part | None]) -> Part | None:
        before = self._at
        found = read()
        if not found:
            self._at = before
        return found

    def _rest(self) -> str:
        return self._text[self._at :]

    @property
    def _is_over(self) -> bool:
        return self._at >= len(self._text) or self._text[self._at] in " ;,"

    # -- names

    def read(self) -> ParsedName | None:
        first = self._read_one()
        if first is None:
            return None
        others = list(self._read_parents(first))
        if not self._is_over and None not in others:
            return None
        if not others:
            return dataclasses.replace(first, rest=self._rest())
        parents = [first, *(one for one in others if one is not None)]
        end = f" {TIMES}" if None in others else ""
        joined = f" {TIMES} ".join(one.canonical for one in parents) + end
        written = f" {TIMES} ".join(one.certain for one in parents)
        qualifier = "?" if None in others else ""
        return ParsedName(
            "", joined, "hybrid formula", hybrid="formula", genus=first.genus, certain=written,
            qualifier=qualifier, rest=self._rest(),
        )  # fmt: skip

    def _read_parents(self, first: ParsedName) -> Iterator[ParsedName | None]:
        """Read what a hybrid formula has after its first parent.

        Yields
        ------
        ParsedName or None
            None of a parent that is not known.
        """
        genus = first.genus
        while first.hybrid != "formula" and self._text.startswith(f" {TIMES}", self._at):
            before = self._at
            self._at += 2
            self._skip()
            parent = self._read_one(after=genus)
            if parent is None:
                word = self._read_word()
                if word is None:
                    is_known = self._text[self._at : self._at + 1] not in {"", "?"}
                    if is_known:
                        self._at = before
                        return
                    yield None
                    return
                below = self._read_below()
                parent = _build(genus, [_Epithet(word), *below])
            yield parent

    def _read_one(self, after: str = "") -> ParsedName | None:
        """Read one name; a genus that is shortened is that of the parent before it."""
        before = self._at
        is_hybrid = self._take_times()
        start = self._at
        for form in (self._read_species, self._read_open, self._read_uninomial):
            found = form(after)
            if found is not None and self._is_over:
                if not is_hybrid:
                    return found
                return dataclasses.replace(
                    found, hybrid="named", canonical=f"{TIMES} {found.canonical}",
                    certain=f"{TIMES} {found.certain}",
                )  # fmt: skip
            self._at = start
        self._at = before
        return None

    def _read_genus(self, after: str = "") -> str | None:
        short = self._take(_SHORT_GENUS)
        if short is not None:
            return after if after.startswith(short[0].rstrip(".")) else short[0]
        return self._read_whole_genus()

    def _read_species(self, after: str) -> ParsedName | None:
        genus = self._read_genus(after)
        if genus is None:
            return None
        self._pass_subgenus()
        if not self._skip():
            return None
        compared = self._take(_COMPARED)
        is_hybrid = self._take_times()
        word = self._read_word(is_first=not is_hybrid)
        if word is None:
            return None
        epithet = _Epithet(word, is_hybrid=is_hybrid)
        if compared is not None:
            epithet.authors = self._read_authors()
            qualifier = f"{compared[0].strip()} {word}"
            found = _build(genus, [epithet])
            return dataclasses.replace(found, qualifier=qualifier, certain=genus)
        epithet.authors, epithets = self._read_authors(), [epithet]
        compared_below = self._try(self._read_compared)
        if compared_below is not None and compared_below:
            found = _build(genus, epithets)
            qualifier, below = compared_below
            whole = _build(genus, [*epithets, *below])
            return dataclasses.replace(whole, qualifier=qualifier, certain=found.certain)
        epithets += self._read_below()
        found = _build(genus, epithets)
        self._step_back()
        at = self._at
        if self._skip() and (self._sees(_NOT_SURE)):
            qualifier = self._rest().strip()
            self._at = len(self._text)
            return dataclasses.replace(found, qualifier=qualifier, cardinality=0, authorship="")
        self._at = at
        return found

    def _read_compared(self) -> tuple[str, list[_Epithet]] | None:
        if not self._skip():
            return None
        mark = self._take(_COMPARED)
        if mark is None:
            return None
        word = self._read_word()
        if word is None:
            return mark[0].strip(), []
        authors = self._read_authors()
        return f"{mark[0].strip()} {word}", [_Epithet(word, authors=authors)]

    def _read_open(self, after: str) -> ParsedName | None:
        """Read a genus whose species is not said."""
        genus = self._read_genus(after)
        if genus is None:
            return None
        self._pass_subgenus()
        if not self._skip():
            return None
        start = self._at
        if not (self._sees(_NOT_SURE) or self._take(_COMPARED)):
            return None
        qualifier = self._text[start:].strip()
        self._at = len(self._text)
        plain = write_plainly(genus)
        return ParsedName("", plain, "genus", qualifier=qualifier, genus=plain, certain=genus)

    def _pass_subgenus(self) -> None:
        at = self._at
        self._skip()
        if not self._sees(_SUBGENUS):
            self._at = at
            return
        self._take(_SUBGENUS)
        # Behind it an epithet follows; else it is an author's name.
        here = self._at
        is_followed = self._skip() and (
            self._text.startswith(TIMES, self._at)
            or self._sees(_NOT_SURE)
            or self._sees(_COMPARED)
            or self._sees(_WORD)
        )
        self._at = here if is_followed else at

    def _read_word(self, *, is_first: bool = False) -> str | None:
        """Read an epithet."""
        at = self._at
        found = self._take(_WORD)
        if found is None:
            return None
        word = found[0]
        prefixed = self._is_prefix(word, at)
        is_epithet = word in _PREFIX_OR_EPITHET and is_first and self._is_before_author()
        is_bad = len(word) < 2 or (
            word in _NO_EPITHET and not (word == "not" and self._is_before_author())
        )
        if is_bad or (prefixed and not is_epithet) or (word in _ABOVE_SPECIES and not is_epithet):
            self._at = at
            return None
        return word

    def _is_prefix(self, word: str, at: int) -> bool:
        prefix = _PREFIX.match(self._text, at)
        return prefix is not None and prefix[0].strip().split(" ")[0] == word

    def _is_before_author(self) -> bool:
        """Tell whether an author follows who needs no small word before the name."""
        return self._sees(_AUTHOR_NEXT)

    def _read_below(self) -> list[_Epithet]:
        """Read the epithets below species."""
        found: list[_Epithet] = []
        while len(found) < 3:
            before = self._at
            one = self._read_infraspecific()
            if one is None:
                self._at = before
                break
            found.append(one)
        return found

    def _read_infraspecific(self) -> _Epithet | None:
        if not self._skip() and self._text[self._at : self._at + 1] != "(":
            return None
        at = self._at
        mark = self._read_mark()
        self._skip()
        is_hybrid = self._text.startswith(f"{TIMES} ", self._at) and bool(mark)
        if is_hybrid:
            self._at += 2
        word = self._read_word()
        if word is None and mark:
            self._at, mark = at, ""
            word = self._read_word()
        if word is None:
            return None
        authors = self._read_authors()
        return _Epithet(word, mark, authors, is_hybrid)

    def _read_mark(self) -> str:
        mark = self._take(_MARK)
        written = _MARKS[mark[1]] if mark is not None else ""
        if mark is None:
            kept = _KEPT_MARKS.match(self._text, self._at)
            is_apart = kept is not None and self._text[kept.end() : kept.end() + 1] == " "
            if kept is not None and (is_apart or (kept[0].endswith(".") and len(kept[0]) > 3)):
                self._at = kept.end()
                written = re.sub(r"\s", "", kept[0])
        if written:
            self._skip()
            self._take(_GREEK)
        return written

    def _read_uninomial(self, after: str) -> ParsedName | None:
        del after
        start = self._take(_MARK_ABOVE)
        if start is not None:
            self._skip()
        first = self._read_whole_genus()
        if first is None:
            return None
        plain = write_plainly(first)
        if start is not None:
            mark = _ABOVE_SPECIES[start[1]]
            authors = self._read_authors()
            return ParsedName(
                "", f"{mark} {plain}", _RANKS_ABOVE.get(mark, mark), authors, genus=plain,
                cardinality=1, certain=first,
            )  # fmt: skip
        below = self._try(self._read_subgenus_name)
        if below:
            name, authors = below
            return ParsedName(
                "", f"{plain} subgen. {write_plainly(name)}", "subgenus", authors, genus=plain,
                cardinality=1, certain=first,
            )  # fmt: skip
        authors = self._read_authors()
        combined = self._try(self._read_combined)
        if combined:
            mark, name, authors = combined
            hybrid = "notho" if mark.startswith("notho") else ""
            rank = _RANKS_ABOVE.get(mark.removeprefix("notho"), mark)
            return ParsedName(
                "", f"{plain} {mark} {write_plainly(name)}", rank, authors, hybrid=hybrid,
                genus=plain, cardinality=1, certain=first,
            )  # fmt: skip
        is_family = first.endswith(("idae", "aceae"))
        rank = "family" if is_family else "uninomial"
        return ParsedName("", plain, rank, authors, genus=plain, cardinality=1, certain=first)

    def _read_whole_genus(self) -> str | None:
        found = self._take(_GENUS) or self._take(_TWO_LETTERS)
        return found[0].rstrip("?") if found is not None else None

    def _step_back(self) -> None:
        """Give back blanks and a comma that nothing was read behind."""
        while self._at > 0 and self._at <= len(self._text) and self._text[self._at - 1] in " ,":
            self._at -= 1

    def _read_subgenus_name(self) -> tuple[str, str] | None:
        self._skip()
        found = self._take(_SUBGENUS)
        if found is None or found[1] is None or not found[1].isascii():
            return None
        at = self._at
        self._skip()
        is_author = self._text.startswith(("(", "ex ", "&"), self._at)
        authors = self._try(self._read_authorship) or ""
        if authors and (found[1] in authors or not _LATIN_ENDING.search(found[1])):
            return None
        if is_author:
            return None
        if not authors:
            self._at = at
        return found[1], authors

    def _read_combined(self) -> tuple[str, str, str] | None:
        if not self._skip():
            return None
        mark = self._take(_MARK_ABOVE)
        if mark is None:
            return None
        name = self._read_whole_genus()
        if name is None:
            return None
        self._skip()
        authors = self._try(self._read_authorship) or ""
        self._step_back()
        return _ABOVE_SPECIES[mark[1]], name, authors

    # -- authors

    def _read_authors(self) -> str:
        """Read the authors behind a name, if there are any, and no blank or comma behind them."""
        self._skip()
        if self._text.startswith(",", self._at):
            self._at += 1
            self._skip()
        authors = self._try(self._read_authorship) or ""
        self._step_back()
        return authors

    def _read_authorship(self) -> str | None:
        """Read all authors of a name; they end at a blank, a comma, a semicolon or the end."""
        for read in (self._read_two_acts, self._read_without_bracket, self._read_group):
            before = self._at
            found = read()
            if found and self._is_over:
                return found
            self._at = before
        return None

    def _read_two_acts(self) -> str | None:
        """Read the author in brackets, who named it first, and who moved it."""
        first = self._read_bracketed()
        if first is None:
            return None
        year = self._take(_YEAR) if self._text[self._at - 1] == ")" else None
        if year is not None:
            return f"({first})" if re.search(r"\d", first) else f"({first} {_write_year(year)})"
        here = self._at
        self._skip()
        second = self._try(self._read_group)
        if second is None:
            self._at = here
            self._step_back_blanks()
            return f"({first})"
        return f"({first}) {second}"

    def _read_bracketed(self) -> str | None:
        """Read authors in a bracket, or in two of which both are closed; one may be left open."""
        n_open = 0
        while n_open < 2 and self._text.startswith("(", self._at):
            n_open += 1
            self._at += 1
            self._skip()
        found = self._read_group() if n_open else None
        for _ in range(n_open):
            here = self._at
            self._skip()
            if not self._text.startswith(")", self._at):
                self._at = here
                return found if n_open == 1 else None
            self._at += 1
        return found

    def _step_back_blanks(self) -> None:
        while self._at > 0 and self._text[self._at - 1] == " ":
            self._at -= 1

    def _read_without_bracket(self) -> str | None:
        found = self._read_group()
        if found is None:
            return None
        self._skip()
        if not self._text.startswith(")", self._at):
            return None
        self._at += 1
        return f"({found})"

    def _read_group(self) -> str | None:
        team = self._read_team()
        if team is None:
            return None
        written = team.write()
        while True:
            before = self._at
            join = self._take(_THEN)
            other = self._read_team() if join is not None else None
            if join is None or other is None:
                self._at = before
                return written
            word = "ex" if join[1] else "emend." if join[3] else "in"
            written = f"{written} {word} {other.write()}"

    def _read_team(self) -> _Team | None:
        first = self._read_author()
        if first is None:
            return None
        team = _Team([first])
        while True:
            before = self._at
            sign = self._take(_AND)
            other = self._read_author() if sign is not None else None
            if sign is None or other is None:
                self._at = before
                break
            if "apud" in sign[0]:
                team.authors[-1] = f"{team.authors[-1]} apud {other}"
            else:
                team.authors.append(other)
        year = self._take(_YEAR)
        if year is not None:
            team.year = _write_year(year)
        return team

    def _read_author(self) -> str | None:
        nobody = self._take(_NOBODY)
        if nobody is not None:
            return "anon."
        words: list[str] = []
        while (word := self._try(lambda: self._read_author_word(is_first=not words))) is not None:
            words.append(word)
        if not words or words[-1].islower():
            return None
        son = self._take(_SON)
        if son is not None and not self._is_form(son):
            words.append("bis" if "bis" in son[0] else "fil.")
        elif son is not None:
            self._at = son.start()
        if self._take(_ET_AL) is not None:
            words.append("et al.")
        return re.sub(r"(['\u2019])\s", r"\1", " ".join(words))

    def _read_author_word(self, *, is_first: bool) -> str | None:
        """Read a word of an author's name, or a small one before it."""
        if not is_first:
            self._skip()
        here = self._at
        prefix = self._take(_PREFIX)
        if prefix is not None and (is_first or self._begins_author()):
            return _write_prefix(prefix[0])
        self._at = here
        word = self._take(_AUTHOR_WORD)
        if word is None or word[0].lower().startswith("bold"):
            return None
        return _write_author(word[0])

    def _begins_author(self) -> bool:
        return self._sees(_AUTHOR_WORD) or self._sees(_PREFIX)

    def _is_form(self, son: re.Match[str]) -> bool:
        """Tell whether f. marks a form: an epithet follows it, and it is not joined to the name."""
        if not son[0].startswith(" ") or son[0].strip() != "f.":
            return False
        before, self._at = self._at, son.end()
        is_form = self._skip() and self._read_word() is not None
        self._at = before
        return is_form


def _build(genus: str, epithets: Sequence[_Epithet]) -> ParsedName:
    """Put a species or what is below it together."""
    plain = write_plainly(genus) if not genus.endswith(".") else genus
    canonical = " ".join([plain, *(one.write() for one in epithets)])
    last = epithets[-1]
    marks = [one.mark for one in epithets]
    hybrid = "named" if any(one.is_hybrid for one in epithets) else ""
    if not hybrid and any(mark.startswith(("notho", "nvar")) for mark in marks):
        hybrid = "notho"
    mark = last.mark.removeprefix("notho")
    rank = "species"
    if len(epithets) > 1:
        mark = {"ssp.": "subsp.", "nvar.": "var."}.get(mark, mark)
        rank = _RANKS_BELOW.get(mark, mark.rstrip(".")) if mark else "subspecies"
    certain = [genus]
    for one in epithets:
        certain += [TIMES, one.word] if one.is_hybrid else [one.word]
    words = tuple(write_plainly(one.word) for one in epithets)
    return ParsedName(
        "", canonical, rank, last.authors, "", hybrid, plain, words, 1 + len(words),
        " ".join(certain),
    )  # fmt: skip


def _write_year(year: re.Match[str]) -> str:
    about = year["about"] or year["within"] or year["first"]
    if about:
        return f"({about})"
    written = f"{year['plain']}{year['guess']}"
    return f"({written})" if "?" in written else written


def _write_prefix(prefix: str) -> str:
    return " ".join(prefix.split()).replace("\u2019", "'")


def _write_author(word: str) -> str:
    """Return an author's name with blanks behind initials, and not in capitals."""
    word = re.sub("[\u2018\u2019\u00b4`]", "'", word)
    if len(word) > 3 and word.isupper() and "." not in word:
        word = word.title()
    return word
