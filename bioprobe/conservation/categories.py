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
#: Colours that IUCN gives the categories in its chart of colour codes.
COLOURS = {
    "EX": "#000000",
    "EW": "#542344",
    "RE": "#9B4F96",
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
# What categories are called in the languages of the Red List and of national lists, by ``|``.
_NAMED = {
    "EX": "extinct|extinto|extinta|eteint|eteinte|ausgestorben|estinto|estinta|uitgestorven|utdød|"
          "utdöd|uddød|sukupuuttoon kuollut|wymarły|vyhynulý|исчезнувший|исчезнувшие|灭绝|滅絕|"
          "絶滅|절멸|punah|tuyệt chủng|nesli tükenmiş",
    "EW": "extinct in the wild|extinct in wild|extinto en estado silvestre|extinto na natureza|"
          "extinta na natureza|éteint à l'état sauvage|éteinte à l'état sauvage|"
          "in der natur ausgestorben|in der wildnis ausgestorben|estinto in ambiente selvatico|"
          "estinta in ambiente selvatico|in het wild uitgestorven|utdødd i vill tilstand|"
          "utdöd i vilt tillstånd|исчезнувшие в дикой природе|野外灭绝|野外滅絕|野生絶滅|야생절멸|"
          "punah di alam liar",
    "RE": "regionally extinct|extinct regionally|nationally extinct|locally extinct|extirpated|"
          "regionalmente extinto|regionalmente extinta|extinto a nivel regional|"
          "disparu au niveau régional|disparue au niveau régional|disparu|disparue|"
          "regional ausgestorben|in der schweiz ausgestorben|estinto nella regione|"
          "estinta nella regione|verdwenen|regionaal uitgestorven|regionalt utdødd|"
          "regionalt utdød|nationellt utdöd|regionalt uddød|hävinnyt|区域灭绝|區域滅絕|지역절멸",
    "CR": "critically endangered|critical|en peligro crítico|peligro crítico|"
          "criticamente em perigo|en danger critique|en danger critique d'extinction|"
          "vom aussterben bedroht|in pericolo critico|gravemente minacciato|"
          "gravemente minacciata|ernstig bedreigd|kritisk truet|kritisk truede|akut hotad|"
          "äärimmäisen uhanalainen|krytycznie zagrożony|kriticky ohrožený|"
          "находящиеся на грани полного исчезновения|極危|极危|絶滅危惧ia類|위급|kritis|"
          "cực kỳ nguy cấp|kritik tehlikede",
    "EN": "endangered|en peligro|en peligro de extinción|em perigo|en danger|stark gefährdet|"
          "in pericolo|bedreigd|sterkt truet|starkt hotad|"
          "erittäin uhanalainen|zagrożony|ohrožený|вымирающий|вымирающие|исчезающий|исчезающие|"
          "濒危|瀕危|絶滅危惧ib類|위기|genting|nguy cấp|tehlikede",
    "VU": "vulnerable|vulnérable|vulnerabel|vulnerabile|vulnerável|gefährdet|verletzlich|"
          "kwetsbaar|sårbar|vaarantunut|narażony|zranitelný|уязвимый|уязвимые|"
          "находящиеся в уязвимом положении|易危|絶滅危惧ii類|취약|rentan|sắp nguy cấp|hassas",
    "NT": "near threatened|nearly threatened|casi amenazado|casi amenazada|quase ameaçado|"
          "quase ameaçada|quasi menacé|quasi menacée|quasi-menacé|quasi-menacée|"
          "potentiell gefährdet|potenziell gefährdet|vorwarnliste|quasi minacciato|"
          "quasi minacciata|gevoelig|bijna bedreigd|nær truet|nära hotad|næsten truet|"
          "silmälläpidettävä|bliski zagrożenia|téměř ohrožený|близкие к уязвимому положению|"
          "близкий к уязвимому положению|近危|接近受脅|準絶滅危惧|준위협|hampir terancam|"
          "sắp bị đe dọa",
    "LC": "least concern|of least concern|preocupación menor|menor preocupación|"
          "pouco preocupante|menos preocupante|préoccupation mineure|nicht gefährdet|ungefährdet|"
          "minor preoccupazione|minima preoccupazione|a minor preoccupazione|"
          "thans niet bedreigd|momenteel niet in gevaar|niet bedreigd|livskraftig|"
          "elinvoimainen|najmniejszej troski|málo dotčený|"
          "вызывающие наименьшие опасения|вызывающий наименьшие опасения|无危|無危|暫無危機|"
          "軽度懸念|低懸念|관심대상|최소관심|risiko rendah|"
          "berisiko rendah|ít quan tâm|asgari endişe",
    "DD": "data deficient|deficient data|insufficient data|insufficiently known|"
          "datos insuficientes|dados insuficientes|deficiente em dados|deficiente de dados|"
          "données insuffisantes|daten ungenügend|daten unzureichend|ungenügende datengrundlage|"
          "carente di dati|dati insufficienti|onvoldoende data|onvoldoende gegevens|datamangel|"
          "kunskapsbrist|utilstrækkelige data|puutteellisesti tunnettu|niedostateczne dane|"
          "недостаточно данных|数据缺乏|數據缺乏|資料缺乏|情報不足|정보부족|kurang data|"
          "informasi kurang|thiếu dữ liệu|yetersiz veri",
    "NE": "not evaluated|not assessed|unevaluated|unassessed|not yet evaluated|not yet assessed|"
          "no evaluado|no evaluada|não avaliado|não avaliada|non évalué|non évaluée|"
          "nicht bewertet|nicht beurteilt|non valutato|non valutata|niet geëvalueerd|"
          "ikke vurdert|ej bedömd|ikke vurderet|arvioimatta|未予评估|未评估|未評估|미평가|"
          "belum dievaluasi",
    "": "indeterminate|rare|commercially threatened|not applicable|lower risk|out of danger|"
        "non applicable|no aplicable|não aplicável|ej tillämplig|nicht anwendbar",
}  # fmt: skip
_OLD_NAMES = {"least concern": "LC", "near threatened": "NT", "conservation dependent": "NT"}
# Behind a code or a word: criteria (A2cd+3d; C1), the version of the criteria, and the trend.
_CRITERIA = re.compile(r"[\s:,;-]*[a-e](?:[1-4\s;,+][a-e1-4ivx(),;+\s]*)?")
_VERSION = re.compile(
    r"[\s,;(\[]*(?:iucn\s*)?(?:red\s*list\s*)?(?:v(?:er(?:sion)?)?[\s.]*)?[23][.]\d[)\]]?"
)
_TREND = re.compile(
    r"[\s,;:(\[-]*(?:population\s+)?(?:decreasing|increasing|stable|declining|unknown trend)[)\]]?$"
)
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
_SCOPE = re.compile(r"\s*[(\[](?:global|regional|national|europe|iucn)(?:ly)?[)\]]$")
# Of web pages.
_TAGS = re.compile(r"</?[a-zA-Z]+[^>]*>")
# A code beside words of any language: "Sårbar (VU)", "NT - nearly meets A2".
_CODE = "EX|EW|RE|CR|EN|VU|NT|LC|DD|NE|NA"
_BESIDE = re.compile(
    rf"(?P<code>{_CODE})\s*[-(\[\u2013\u2014:;,]\s*(?P<words>.+)|(?P<before>.+?)\s*[(\[](?P<last>{_CODE})[)\]]"
)
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
    if code is None and not (is_wild or is_possibly):
        code = _read_beside(_TAGS.sub("", written))
    if code is None or ((is_wild or is_possibly) and code not in {"CR", "EX", "EW"}):
        return None
    if is_possibly or is_wild:
        code = "CR"
    return Category(code, written, is_possibly, is_wild)


def _read_beside(written: str) -> str | None:
    """Return the code in capitals beside words that are no category themselves."""
    found = _BESIDE.fullmatch(written)
    if found is None:
        return None
    words = found["words"] or found["before"]
    said = re.search(rf"\b(?:{_CODE})\b", words) or _look_up(_fold(words.rstrip(")]")))
    return None if said else _look_up((found["code"] or found["last"]).casefold())


def _fold(text: str) -> str:
    """Return a text without case, accents and repeated spaces."""
    bare = _TAGS.sub("", text.replace("\u2019", "'").replace("_", " "))
    plain = unicodedata.normalize("NFKD", bare)
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
    old = re.sub(r"\s*[/(:\s-]\s*", "/", folded.rstrip(")"), count=1)
    for written in (folded, old):
        if written in _OLD_CODES:
            return _OLD_CODES[written]
    return _list_words().get(_join_words(folded))


@functools.cache
def _list_words() -> dict[str, str]:
    """Return the code of each name, as :func:`_fold` writes it."""
    found = {_fold(name): code for code, names in _NAMED.items() for name in names.split("|")}
    found |= {f"lower risk {name}": code for name, code in _OLD_NAMES.items()}
    return {_join_words(name): code for name, code in {**found, **_OLD_NAMES}.items()}


def _join_words(folded: str) -> str:
    return " ".join(re.sub(r"[/:\u2010-\u2015-]", " ", folded).split())


def _look_up_before(folded: str) -> str | None:
    """Return the code that stands before criteria, a version or a trend."""
    text = _TREND.sub("", folded)
    head = re.match(r"(?:lr[/\s-]?(?:lc|nt|cd)|ex|ew|re|cr|en|vu|nt|lc|dd|ne)(?![a-z])", text)
    starts = [head.group()] if head else []
    named = [one for one in _list_words() if text.startswith(one)]
    starts += sorted(named, key=len, reverse=True)[:1]
    for start in starts:
        rest = text[len(start) :]
        rest = _VERSION.sub("", rest, count=1)
        if not rest.strip(" ,;") or _CRITERIA.fullmatch(rest):
            return _look_up(start)
    return None
