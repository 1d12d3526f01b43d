"""What may be said of a picture, and of which other pictures the same is true.

A caption carries its meaning as a set of facts. Two pictures in a batch may both be "a cat"; the
trainer compares the facts so as never to teach that a true caption is false.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bioprobe.sketch.tree import RANKS, Look, SketchSpecies

TEMPLATES = (
    "{}",
    "a photo of {}.",
    "a picture of {}.",
    "a drawing of {}.",
    "a sketch of {}.",
    "an illustration of {}.",
    "a close-up photo of {}.",
    "a photo of the {}.",
    "a picture of one {}.",
    "a photo of {} in the wild.",
    "a blurry photo of {}.",
)

#: Words for a form, each with the rank at which it is true of other forms too.
NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "cat": (("cat", "form"), ("wild cat", "form"), ("mammal", "class")),
    "dog": (("dog", "form"), ("wild dog", "form"), ("fox", "form"), ("mammal", "class")),
    "horse": (("horse", "form"), ("mammal", "class")),
    "giraffe": (("giraffe", "form"), ("long-necked mammal", "form"), ("mammal", "class")),
    "owl": (("owl", "form"), ("bird", "class")),
    "jay": (("jay", "form"), ("perching bird", "form"), ("bird", "class")),
    "flamingo": (("flamingo", "form"), ("bird", "class")),
    "turtle": (("turtle", "form"), ("sea turtle", "form"), ("reptile", "class")),
    "snake": (("snake", "form"), ("reptile", "class")),
    "frog": (("frog", "form"), ("poison frog", "form"), ("amphibian", "class")),
    "tang": (("tang", "form"), ("surgeonfish", "form"), ("fish", "class")),
    "triggerfish": (("triggerfish", "form"), ("fish", "class")),
    "ladybird": (("ladybird", "form"), ("beetle", "order"), ("insect", "class")),
    "brushfoot": (("brush-footed butterfly", "form"), ("butterfly", "order"), ("insect", "class")),
    "swallowtail": (("swallowtail", "form"), ("butterfly", "order"), ("insect", "class")),
    "bee": (("bee", "form"), ("bumblebee", "form"), ("insect", "class")),
    "spider": (("spider", "form"), ("orbweaver", "form"), ("arachnid", "class")),
    "crab": (("crab", "form"), ("swimming crab", "form"), ("crustacean", "class")),
    "jellyfish": (("jellyfish", "form"), ("jelly", "form"), ("sea nettle", "form")),
    "anemone": (("sea anemone", "form"), ("anemone", "form")),
    "snail": (("snail", "form"), ("land snail", "form"), ("mollusc", "phylum")),
    "octopus": (("octopus", "form"), ("mollusc", "phylum")),
    "starfish": (("starfish", "form"), ("sea star", "form"), ("star", "form")),
    "urchin": (("sea urchin", "form"), ("urchin", "form"), ("echinoderm", "phylum")),
}

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "white": ("snow white", "snow", "snowy"),
    "black": ("jet black",),
    "grey": ("gray", "silver"),
    "brown": ("chestnut",),
    "red": ("scarlet", "strawberry red", "strawberry"),
    "orange": ("bright orange",),
    "yellow": ("golden", "lemon yellow"),
    "green": ("leaf green",),
    "blue": ("azure",),
    "purple": ("violet",),
    "pink": ("rose pink",),
}
PATTERN_WORDS: dict[str, tuple[tuple[str, str], ...]] = {
    "plain": (("", "plain"),),
    "spots": (("spots", "spotted"), ("dots", "spotted")),
    "stripes": (("stripes", "striped"), ("lines", "lined")),
    "bands": (("bands", "banded"), ("bars", "barred")),
    "patches": (("patches", "patched"), ("blotches", "blotched")),
    "edges": (("edges", "edged"), ("borders", "bordered")),
}

__all__ = [
    "ATTRIBUTES",
    "NOUNS",
    "TEMPLATES",
    "Caption",
    "Facts",
    "caption_generic",
    "caption_look",
    "caption_scene",
    "caption_species",
    "frame",
    "say_name",
    "with_article",
]

Facts: TypeAlias = dict[str, str]


@dataclass(frozen=True)
class Caption:
    """Hold a text with what it claims.

    Parameters
    ----------
    text : str
        The words.
    facts : dict of str to str
        Claims by attribute: a rank, or ``form``, ``colour``, ``second_colour``, ``pattern``,
        ``kind`` (``animal`` or ``not_animal``), ``scene``.
    """

    text: str
    facts: Facts


def say_name(names: tuple[str, ...], common_name: str, text_type: str) -> str:
    """Write a taxon's name as one of the text types.

    Parameters
    ----------
    names : tuple of str
        Lineage from the kingdom down to the taxon; the species is a binomial.
    common_name : str
        English name; may be empty unless the type asks for it.
    text_type : {"sci", "com", "taxon", "sci_com", "taxon_com"}
        How the name is written.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> say_name(("Animalia", "Chordata"), "", "taxon")
    'Animalia Chordata'
    """
    if text_type == "com":
        return common_name
    # The genus stands in the binomial already and is not said twice.
    shown = names[:5] + names[6:] if len(names) == len(RANKS) else names
    text = " ".join(shown) if text_type.startswith("taxon") else names[-1]
    if text_type.endswith("_com") and common_name:
        text += f" with common name {common_name}"
    return text


def caption_species(species: SketchSpecies, rng: np.random.Generator) -> Caption:
    """Name a species or a higher taxon it belongs to.

    Parameters
    ----------
    species : SketchSpecies
        What the picture shows.
    rng : numpy.random.Generator
        Source of rank, text type and template.

    Returns
    -------
    Caption
        True of the picture.
    """
    if rng.random() < 0.55:
        kind = ("sci", "com", "com", "taxon", "sci_com", "taxon_com")[int(rng.integers(6))]
        text = say_name(species.lineage, species.common_name, kind)
        return Caption(frame(text, rng), {"species": species.name})
    level = int(rng.choice(6, p=(0.04, 0.12, 0.2, 0.2, 0.28, 0.16)))
    kind = ("sci", "taxon")[int(rng.integers(2))]
    text = say_name(species.lineage[: level + 1], "", kind)
    return Caption(frame(text, rng), {RANKS[level]: species.lineage[level]})


def caption_look(
    look: Look, lineage: tuple[str, ...], rng: np.random.Generator, *, full: bool = False
) -> Caption:
    """Describe a look in plain words, wholly or in part.

    Parameters
    ----------
    look : Look
        What the picture shows.
    lineage : tuple of str
        Kingdom to family of the form.
    rng : numpy.random.Generator
        Source of the words.
    full : bool, default False
        Leave nothing out.

    Returns
    -------
    Caption
        True of the picture.
    """
    noun, facts = _noun(look, lineage, rng)
    if not full and rng.random() < 0.2:
        noun, facts = (("something", Facts()), ("animal", {"kind": "animal"}))[int(rng.integers(2))]
    colour = _colour(look.colour, rng)
    noun_pattern, adjective = _pattern_word(look, rng)
    if look.pattern == "plain":
        # A colour alone describes a plain animal, so a coloured cat is never one with spots.
        said = full or not facts or rng.random() < 0.75
        facts = {**facts, "colour": look.colour, "pattern": "plain"} if said else facts
        noun = "thing" if noun == "something" else noun
        plain = adjective if said and rng.random() < 0.15 else ""
        return Caption(frame(_join(plain, colour if said else "", noun), rng), facts)
    if not full and noun != "something" and rng.random() < 0.2:
        return Caption(frame(noun, rng), facts)
    colour = colour if full or (rng.random() < 0.6 and noun != "something") else ""
    facts = {**facts, "pattern": look.pattern} | ({"colour": look.colour} if colour else {})
    if not full and rng.random() < 0.25:
        return Caption(frame(_join(colour, adjective, noun), rng), facts)
    second = _colour(look.second_colour, rng)
    facts["second_colour"] = look.second_colour
    if not full and colour and rng.random() < 0.15:
        del facts["pattern"]
        return Caption(frame(_join(colour, "and", second, noun), rng), facts)
    if rng.random() < 0.25:
        text = _join(f"{second}-{adjective}", colour, noun)
    else:
        text = f"{_join(colour, noun)} with {second} {noun_pattern}"
    return Caption(frame(text, rng), facts)


def caption_generic(species_class: str, phylum: str, rng: np.random.Generator) -> Caption:
    """Say no more than that the picture shows an animal, or of what great group.

    Parameters
    ----------
    species_class, phylum : str
        Names of the animal's class and phylum.
    rng : numpy.random.Generator
        Source of the words.

    Returns
    -------
    Caption
        True of the picture.
    """
    if rng.random() < 0.35 and phylum in _PHYLUM_WORDS:
        return Caption(frame(_PHYLUM_WORDS[phylum], rng), {"phylum": phylum})
    if rng.random() < 0.4 and species_class in _CLASS_WORDS:
        return Caption(frame(_CLASS_WORDS[species_class], rng), {"class": species_class})
    texts = ("animal", "animal in nature", "wild animal", "living animal")
    return Caption(frame(texts[int(rng.integers(len(texts)))], rng), {"kind": "animal"})


def caption_scene(kind: str, rng: np.random.Generator) -> Caption:
    """Name a picture that shows no animal.

    Parameters
    ----------
    kind : str
        A key of ``bioprobe.sketch.scenes.SCENES``.
    rng : numpy.random.Generator
        Source of the words.

    Returns
    -------
    Caption
        True of the picture.
    """
    if rng.random() < 0.5:
        words = _SCENE_WORDS[kind]
        return Caption(frame(words[int(rng.integers(len(words)))], rng), {"scene": kind})
    none = ("not an animal", "something that is not an animal", "no animal", "something else")
    text = none[int(rng.integers(len(none)))]
    template = TEMPLATES[int(rng.integers(7))] if rng.random() < 0.6 else "{}"
    return Caption(template.format(text), {"kind": "not_animal"})


def frame(text: str, rng: np.random.Generator) -> str:
    """Put a text into a template, with or without its article.

    Parameters
    ----------
    text : str
        A noun phrase or a name.
    rng : numpy.random.Generator
        Source of the choice.

    Returns
    -------
    str
        The caption.
    """
    template = TEMPLATES[int(rng.integers(len(TEMPLATES)))] if rng.random() < 0.6 else "{}"
    if (
        not template.startswith("a photo of the")
        and "one {}" not in template
        and rng.random() < 0.6
    ):
        text = with_article(text)
    return template.format(text)


def with_article(text: str) -> str:
    """Put "a" or "an" before a phrase that can bear it.

    Parameters
    ----------
    text : str
        A phrase.

    Returns
    -------
    str
        The phrase, with its article.

    Examples
    --------
    >>> with_article("orange cat")
    'an orange cat'
    """
    if text[:1].isupper() or text.startswith(("a ", "an ", "something", "no ", "not ")):
        return text
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


_PHYLUM_WORDS = {"Mollusca": "mollusc", "Echinodermata": "echinoderm", "Arthropoda": "arthropod"}
_PHYLUM_WORDS |= {"Chordata": "vertebrate", "Cnidaria": "cnidarian"}
_CLASS_WORDS = {"Mammalia": "mammal", "Aves": "bird", "Reptilia": "reptile", "Insecta": "insect"}
_CLASS_WORDS |= {"Amphibia": "amphibian", "Actinopterygii": "fish", "Arachnida": "arachnid"}
_CLASS_WORDS |= {"Malacostraca": "crustacean"}
_SCENE_WORDS = {
    "map": ("map", "map of a place"),
    "chart": ("chart", "diagram", "graph"),
    "page of text": ("page of text", "text", "document"),
    "landscape": ("landscape", "landscape without animals", "empty place"),
    "label": ("label", "specimen label", "museum label"),
}


def _noun(look: Look, lineage: tuple[str, ...], rng: np.random.Generator) -> tuple[str, Facts]:
    nouns = NOUNS[look.form]
    word, level = nouns[int(rng.integers(len(nouns)))] if rng.random() < 0.6 else nouns[0]
    return word, {level: look.form if level == "form" else lineage[RANKS.index(level)]}


def _colour(name: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.75:
        return name
    others = COLOUR_WORDS[name]
    return others[int(rng.integers(len(others)))]


def _pattern_word(look: Look, rng: np.random.Generator) -> tuple[str, str]:
    options = PATTERN_WORDS[look.pattern]
    return options[int(rng.integers(len(options)))] if rng.random() < 0.4 else options[0]


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


ATTRIBUTES = (*RANKS, "form", "colour", "second_colour", "pattern", "kind", "scene")
