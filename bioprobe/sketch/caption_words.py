"""The words that captions are made of."""

from __future__ import annotations

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
