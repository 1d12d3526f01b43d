"""Animals that do not exist: every form in colours and patterns drawn by lot.

They teach the model what the words for colours and patterns mean apart from the animals that bear
them. The looks of real species are left out: those of trained species because their pictures have
names, those of unseen species because no picture that looks like them may be trained on.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from bioprobe.sketch.drawing import FORMS
from bioprobe.sketch.tree import COLOURS, PATTERNS, Look, SketchSpecies
from scripts.sketch.captions import Caption, caption_look, frame, say_name

_STEMS = (
    "lor",
    "van",
    "tib",
    "mac",
    "sul",
    "per",
    "nod",
    "quil",
    "ras",
    "fen",
    "dor",
    "bil",
    "cal",
    "mur",
    "tes",
    "vog",
    "zan",
    "hel",
    "pri",
    "ost",
)
_GENUS_ENDS = ("us", "a", "is", "ops", "ella", "ium")
_EPITHET_ENDS = ("ensis", "alis", "ata", "atus", "ii", "icola", "oides", "ina", "us")


def draw_chimera_look(
    rng: np.random.Generator, real: Collection[Look], form: str | None = None
) -> Look:
    """Draw the look of an animal that does not exist.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the choice.
    real : collection of Look
        Looks that must not come out.
    form : str, optional
        A key of ``bioprobe.sketch.drawing.FORMS``; drawn by lot when left out.

    Returns
    -------
    Look
        Not in ``real``.
    """
    forms = tuple(FORMS)
    while True:
        shape = form or forms[int(rng.integers(len(forms)))]
        pattern = PATTERNS[int(rng.choice(6, p=(0.25, 0.17, 0.17, 0.17, 0.15, 0.09)))]
        first, second = (COLOURS[int(i)] for i in rng.choice(len(COLOURS), 2, replace=False))
        look = Look(shape, first, "" if pattern == "plain" else second, pattern)
        if look not in real:
            return look


def caption_chimera(look: Look, lineage: tuple[str, ...], rng: np.random.Generator) -> Caption:
    """Name a chimera with an invented binomial and a common name that says how it looks.

    Parameters
    ----------
    look : Look
        What the picture shows.
    lineage : tuple of str
        Kingdom to family of the form.
    rng : numpy.random.Generator
        Source of the name.

    Returns
    -------
    Caption
        In one of the text types.
    """
    described = caption_look(look, lineage, rng, full=True)
    common_name = _strip(described.text)
    genus = _invent(rng, _GENUS_ENDS).capitalize()
    names = (*lineage, genus, f"{genus} {_invent(rng, _EPITHET_ENDS)}")
    text = say_name(names, common_name, ("sci_com", "taxon_com")[int(rng.integers(2))])
    family = {"form": look.form}
    return Caption(frame(text, rng), {**described.facts, **family})


def find_lineages(species: list[SketchSpecies]) -> dict[str, tuple[str, ...]]:
    """Return the lineage of every form, from kingdom to family.

    Parameters
    ----------
    species : list of SketchSpecies
        The species of the tree; a form belongs to one family.

    Returns
    -------
    dict of str to tuple
        Lineage by form.
    """
    return {one.look.form: one.lineage[:5] for one in species}


def _invent(rng: np.random.Generator, ends: tuple[str, ...]) -> str:
    stems = [_STEMS[int(i)] for i in rng.integers(0, len(_STEMS), int(rng.integers(1, 4)))]
    return "".join(stems) + ends[int(rng.integers(len(ends)))]


def _strip(text: str) -> str:
    """Take a caption out of its template and article."""
    text = text.rstrip(".").removesuffix(" in the wild")
    for opening in ("a photo of the ", "a picture of one "):
        text = text.removeprefix(opening)
    for kind in (
        "photo",
        "picture",
        "drawing",
        "sketch",
        "illustration",
        "close-up photo",
        "blurry photo",
    ):
        text = text.removeprefix(f"a {kind} of ").removeprefix(f"an {kind} of ")
    return text.removeprefix("a ").removeprefix("an ")
