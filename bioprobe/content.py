"""What a picture holds before it holds a taxon: animal, blank, human, vehicle, unknown.

The tools that people sort pictures with write it among the names of taxa, each in its own words.
Here is what the words mean, and the rule by which the boxes of a detector and the answers of a
classifier are made one.

References
----------
Words: Wildlife Insights, *Data dictionary* (``Blank``, ``No CV Result``, ``Human-Camera Trapper``);
SpeciesNet, ``constants.py``; MegaDetector, ``detection_categories``; LILA BC, *Taxonomy mapping*
(``empty``, ``misfire``, ``nothinghere``); Camtrap DP 1.0, ``observationType``; DeepFaune
(``vide``, ``humain``, ``vehicule``, ``undefined``); AddaxAI; Timelapse. The rule: Gadot et al.
2024, *To crop or not to crop*, and SpeciesNet 5, ``ensemble_prediction_combiner.py``.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from bioprobe.errors import MisuseError
from bioprobe.names import unify

#: Free column of what a picture or region holds.
CONTENT = "content"


class Content(enum.StrEnum):
    """What a picture or region holds before it holds a taxon."""

    ANIMAL = "animal"
    BLANK = "blank"
    HUMAN = "human"
    VEHICLE = "vehicle"
    #: Somebody or something looked, and could not tell.
    UNKNOWN = "unknown"


#: What holds no taxon; it is said of the content.
NO_TAXON = frozenset({Content.BLANK, Content.HUMAN, Content.VEHICLE})

# Words of tools and of people, in small letters, without accents and with single blanks.
_WORDS = {
    Content.BLANK: (
        "blank", "blanks", "empty", "empties", "empty image", "empty photo", "empty frame",
        "no animal", "no animals", "no animal present", "nothing", "nothing here", "nothinghere",
        "no detection", "no detections", "no species", "no observation", "not an animal",
        "background", "misfire", "misfires", "false trigger", "false triggers", "false positive",
        "falsetrigger", "vegetation trigger", "ghost",
        "leer", "leerbild", "leeres bild", "leeraufnahme", "kein tier", "fehlauslosung",
        "vide", "image vide", "vacio", "vacia", "foto vacia", "sin animal", "sin animales",
        "vazio", "vazia", "sem animal", "leeg", "vuoto", "vuota", "tomt", "pusty", "tyhja",
        "keine tiere", "rien", "aucun animal", "faux declenchement", "ningun animal",
        "falso disparo", "falsos disparos", "disparo falso", "falso positivo", "nenhum animal",
        "geen dier", "nessun animale", "niente",
    ),
    Content.HUMAN: (
        "human", "humans", "human being", "person", "persons", "people", "man", "woman",
        "homo sapiens", "homo sapiens sapiens", "hominidae homo sapiens", "hiker", "hikers",
        "hunter", "hunters", "poacher", "poachers", "ranger", "rangers", "camera trapper",
        "cyclist", "pedestrian", "field staff", "staff", "setup pickup", "setup", "pickup",
        "mensch", "menschen", "personen", "humain", "humains", "personne", "personnes",
        "cycliste", "humano", "humana", "humanos", "gente", "persona", "personas", "pessoa",
        "pessoas", "mens", "mensen", "persoon", "umano", "uomo", "persone", "manniska",
        "menneske", "czlowiek", "ihminen", "jager", "wanderer", "spaziergangerin", "spazierganger",
        "chasseur", "promeneur", "randonneur", "cazador", "cazadores", "cacador", "wandelaar",
    ),
    Content.VEHICLE: (
        "vehicle", "vehicles", "car", "cars", "truck", "trucks", "motorcycle", "motorcycles",
        "motorbike", "bicycle", "bicycles", "bike", "atv", "all terrain vehicle", "quad", "lorry",
        "tractor", "snowmobile", "motor vehicle", "automobile", "off road vehicle",
        "fahrzeug", "fahrzeuge", "auto", "autos", "fahrrad", "motorrad", "vehicule", "vehicules",
        "voiture", "vehiculo", "vehiculos", "coche", "veiculo", "veiculos", "carro", "voertuig",
        "voertuigen", "veicolo", "veicoli", "fordon", "kjoretoy", "pojazd", "ajoneuvo",
        "pkw", "lkw", "camion", "moto", "motocicleta", "bicicleta", "velo", "fiets",
    ),
    Content.ANIMAL: (
        "animal", "animals", "wildlife", "unknown animal", "unidentified animal", "animal sp",
        "animal unknown", "animal unidentified", "other animal", "unknown species",
        "tier", "tiere", "animaux", "animales", "animais", "dier", "dieren", "animale", "animali",
        "djur", "dyr", "zwierze", "elain",
    ),
    Content.UNKNOWN: (
        "unknown", "unidentified", "unidentifiable", "unclassified", "undetermined", "undefined",
        "unclear", "cannot determine", "cant tell", "no cv result", "no cv results", "cv failed",
        "cv needed", "unannotated", "not identifiable", "unbekannt", "unbestimmt", "inconnu",
        "inconnue", "indefini", "desconocido", "desconocida", "indeterminado", "indeterminada",
        "desconhecido", "onbekend", "sconosciuto", "okand", "ukjent", "ukendt", "nieznany",
        "indet", "undet", "unid", "unident", "nicht bestimmt", "nicht bestimmbar",
        "nicht identifiziert", "zu bestimmen", "non identifie", "non identifiee", "indetermine",
        "a determiner", "no identificado", "no identificada", "sin identificar", "por determinar",
        "nao identificado", "nao identificada", "a determinar", "non identificato",
        "non identificata", "indeterminato", "ongeidentificeerd",
    ),
}  # fmt: skip
_MEANINGS = {word: content for content, words in _WORDS.items() for word in words}
# A word of a person or a vehicle that says more behind it: Human-Maintenance crew.
_BEGINNINGS = {"human": Content.HUMAN, "vehicle": Content.VEHICLE}
#: Of several words for one picture, the first of these counts: a person wins over all.
PRECEDENCE = (Content.HUMAN, Content.VEHICLE, Content.BLANK, Content.ANIMAL, Content.UNKNOWN)


@functools.lru_cache(maxsize=1 << 14)
def read_content(word: str) -> str:
    """Return what a word of a tool says a picture holds; ``""`` where it is none of theirs.

    Examples
    --------
    >>> import bioprobe as bp
    >>> bp.read_content("No CV Result"), bp.read_content("Homo sapiens"), bp.read_content("VIDE")
    ('unknown', 'human', 'blank')
    >>> bp.read_content("Human-Camera Trapper"), bp.read_content("Panthera leo")
    ('human', '')
    """
    text = re.sub(r"[\s_/().,;:'\u2019-]+", " ", unify(str(word))).strip().casefold()
    if not text:
        return ""
    letters = unicodedata.normalize("NFD", text)
    text = "".join(c for c in letters if not unicodedata.combining(c))
    text = text.replace("\u00f8", "o").replace("\u0142", "l")
    found = _MEANINGS.get(text)
    if found is None and " " in text:
        found = _BEGINNINGS.get(text.partition(" ")[0])
    return found.value if found is not None else ""


read_content.__module__ = "bioprobe"


_ANIMALS = frozenset({"", "animalia", "metazoa"})


def tell_content(kingdom: str, said: str = "") -> str:
    """Return what a picture of a taxon holds: an animal, or ``""`` of a plant, fungus or other.

    Parameters
    ----------
    kingdom : str
        Of the taxon, ``""`` where it is not known.
    said : str
        What is said beside it; of what is said to be an animal the kingdom is not asked.

    Examples
    --------
    >>> tell_content("Animalia", "blank"), tell_content("Plantae", "blank")
    ('animal', '')
    """
    is_animal = said == Content.ANIMAL or kingdom.casefold() in _ANIMALS
    return Content.ANIMAL.value if is_animal else ""


def join_contents(contents: Iterable[str]) -> str:
    """Return the one of several contents that counts for a picture; ``""`` of none.

    Examples
    --------
    >>> join_contents(["unknown", "", "blank"])
    'blank'
    """
    said = set(contents)
    return next((one.value for one in PRECEDENCE if one.value in said), "")


@dataclasses.dataclass(frozen=True)
class Detected:
    """A box of a detector, as far as its content is asked.

    Parameters
    ----------
    category : str
        ``animal``, ``human``, ``vehicle``, in any word that :func:`read_content` knows.
    confidence : float
        In [0, 1].
    """

    __module__ = "bioprobe"

    category: str
    confidence: float


@dataclasses.dataclass(frozen=True)
class Classified:
    """An answer of a classifier.

    Parameters
    ----------
    label : str
        What it is called: the name of a taxon, or a word that :func:`read_content` knows.
    score : float
        In [0, 1].
    lineage : tuple of str
        Names from kingdom to species, ``""`` where there is none; empty of what is no taxon.
    """

    __module__ = "bioprobe"

    label: str
    score: float
    lineage: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ContentRules:
    """Thresholds of the rule; each is to be exceeded.

    Parameters
    ----------
    detected : float
        Of a person or a vehicle in a box, alone.
    seen : float
        Of any box, beside an answer of the classifier; a picture whose best box has less is one
        without a box.
    classified_human, classified_vehicle : float
        Of the classifier's answer beside such a box.
    blank, surely_blank : float
        Of the answer that it is blank, without a box and whatever the boxes.
    taxon, taxon_seen : float
        Of the first taxon, whatever the boxes, and beside the box of an animal.
    rolled_up : float
        Of the sum of the scores of taxa at a rank.
    animal : float
        Of an animal in a box where no taxon is sure.
    """

    __module__ = "bioprobe"

    detected: float = 0.7
    seen: float = 0.2
    classified_human: float = 0.5
    classified_vehicle: float = 0.4
    blank: float = 0.5
    surely_blank: float = 0.99
    taxon: float = 0.8
    taxon_seen: float = 0.65
    rolled_up: float = 0.65
    animal: float = 0.5

    @classmethod
    def parse(cls, text: str | None) -> ContentRules:
        """Read thresholds as a person writes them; those that are not named are the default.

        Raises
        ------
        MisuseError
            If a name or number is none.

        Examples
        --------
        >>> import bioprobe as bp
        >>> bp.ContentRules.parse("blank=0.8,seen=0.1").blank
        0.8
        """
        given: dict[str, float] = {}
        names = [field.name for field in dataclasses.fields(cls)]
        for part in filter(str.strip, (text or "").split(",")):
            name, _, number = (piece.strip() for piece in part.partition("="))
            try:
                given[name] = float(number)
            except ValueError:
                given[name] = math.nan
            if name not in names or not 0 <= given[name] <= 1:
                msg = (
                    f"no threshold {part.strip()!r}; write NAME=NUMBER with a number from 0 to 1, "
                    f"where names are {', '.join(names)}"
                )
                raise MisuseError(msg)
        return cls(**given)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                msg = f"{field.name} is {value}; a threshold lies between 0 and 1"
                raise ValueError(msg)


@dataclasses.dataclass(frozen=True)
class ContentDecision:
    """What a picture or a region holds, and what says so.

    Parameters
    ----------
    content : str
        Of :class:`Content`.
    score : float
        Of what decided.
    source : str
        ``detector``, ``classifier`` or ``classifier+rollup_to_RANK``, as SpeciesNet writes it.
    lineage : tuple of str
        Of the taxon, where one is sure; down to the rank that is.
    label : str
        What the classifier calls it, where its first answer is sure.
    """

    __module__ = "bioprobe"

    content: str
    score: float
    source: str
    lineage: tuple[str, ...] = ()
    label: str = ""


_N_RANKS = 7
# Ranks that scores are summed at, deepest first, with their places in a lineage; SpeciesNet has no
# phylum.
_ROLLED_UP = (("genus", 5), ("family", 4), ("order", 3), ("class", 2), ("kingdom", 0))


def decide_content(
    detections: Sequence[Detected],
    classes: Sequence[Classified],
    rules: ContentRules | None = None,
) -> ContentDecision:
    """Decide from boxes and answers together what a picture or a region holds.

    In this order, each by the best box of its kind and the first answer: a person in a box, then a
    vehicle; blank, which needs a classifier that says so; a taxon that is sure; a taxon above,
    whose parts together are; an animal in a box; else it is not known. An animal that nobody can
    name is an animal, and not blank.

    Parameters
    ----------
    detections : sequence of Detected
        Boxes of the picture, in any order, or the one of a region; may be empty.
    classes : sequence of Classified
        Answers of the classifier, in any order; may be empty.
    rules : ContentRules, optional
        Thresholds.

    References
    ----------
    SpeciesNet 5, ``ensemble_prediction_combiner.py``, without its geographical part. It asks the
    first box of a picture; here a person behind an animal counts too.

    Examples
    --------
    >>> import bioprobe as bp
    >>> bp.decide_content([bp.Detected("person", 0.8)], [])
    ContentDecision(content='human', score=0.8, source='detector', lineage=(), label='')
    >>> bp.decide_content([bp.Detected("animal", 0.6)], [bp.Classified("blank", 0.6)]).content
    'animal'
    >>> bp.decide_content([], [bp.Classified("blank", 0.6)]).content
    'blank'
    """
    rules = rules or ContentRules()
    best: dict[str, float] = {}
    for one in detections:
        kind = read_content(one.category)
        best[kind] = max(best.get(kind, 0.0), one.confidence)
    answers = sorted(classes, key=lambda one: -one.score)
    top = answers[0] if answers else Classified("unknown", 0.0)
    meaning = _read_answer(top)
    by_box = _decide_person_or_vehicle(best, top, meaning, rules)
    if by_box is not None:
        return by_box
    animal, any_box = best.get(Content.ANIMAL, 0.0), max(best.values(), default=0.0)
    if meaning == Content.BLANK and (
        (any_box <= rules.seen and top.score > rules.blank) or top.score > rules.surely_blank
    ):
        return ContentDecision(Content.BLANK.value, top.score, "classifier")
    is_taxon = meaning in {"", Content.ANIMAL}
    is_sure = top.score > rules.taxon or (top.score > rules.taxon_seen and animal > rules.seen)
    if is_taxon and answers and is_sure:
        return ContentDecision(
            Content.ANIMAL.value, top.score, "classifier", top.lineage, top.label
        )
    rolled = _roll_up(answers, rules.rolled_up)
    if rolled is not None:
        rank, lineage, score = rolled
        return ContentDecision(Content.ANIMAL.value, score, f"classifier+rollup_to_{rank}", lineage)
    if animal > rules.animal:
        return ContentDecision(Content.ANIMAL.value, animal, "detector")
    return ContentDecision(Content.UNKNOWN.value, top.score, "classifier")


def _read_answer(answer: Classified) -> str:
    names = [name for name in answer.lineage if name]
    return read_content(answer.label) or (read_content(names[-1]) if names else "")


def _decide_person_or_vehicle(
    best: Mapping[str, float], top: Classified, meaning: str, rules: ContentRules
) -> ContentDecision | None:
    human, vehicle = best.get(Content.HUMAN, 0.0), best.get(Content.VEHICLE, 0.0)
    says_human = meaning == Content.HUMAN and top.score > rules.classified_human
    says_vehicle = meaning == Content.VEHICLE
    if human > rules.detected:
        return ContentDecision(Content.HUMAN.value, human, "detector")
    if human > rules.seen and (says_human or (says_vehicle and top.score > rules.classified_human)):
        return ContentDecision(Content.HUMAN.value, top.score, "classifier")
    if vehicle > rules.seen and says_human:
        return ContentDecision(Content.HUMAN.value, top.score, "classifier")
    if vehicle > rules.detected:
        return ContentDecision(Content.VEHICLE.value, vehicle, "detector")
    if vehicle > rules.seen and says_vehicle and top.score > rules.classified_vehicle:
        return ContentDecision(Content.VEHICLE.value, top.score, "classifier")
    return None


def _roll_up(
    answers: Sequence[Classified], threshold: float
) -> tuple[str, tuple[str, ...], float] | None:
    """Return the deepest rank at which the scores of one taxon together exceed a threshold."""
    taxa = [one for one in answers if any(one.lineage) and _read_answer(one) in {"", "animal"}]
    for rank, depth in _ROLLED_UP:
        sums: collections.Counter[tuple[str, ...]] = collections.Counter()
        for one in taxa:
            if one.lineage[depth]:
                sums[one.lineage[: depth + 1]] += one.score  # type: ignore[assignment]
        if sums:
            lineage, score = max(sums.items(), key=lambda pair: pair[1])
            if score > threshold:
                return rank, (*lineage, *[""] * (_N_RANKS - len(lineage))), float(score)
    return None


decide_content.__module__ = "bioprobe"
