"""Body plans: one function draws one form, in a square from -1 to 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bioprobe.sketch.forms import arthropods, birds, cold_blooded, mammals, soft_bodied
from bioprobe.sketch.pen import Pen


@dataclass(frozen=True)
class Form:
    """Describe a body plan.

    Parameters
    ----------
    draw : callable
        Draws the form with a pen, taking its pose from a generator.
    stance : {"upright", "perched", "any"}
        Whether the animal stands, sits on a branch, or is seen from above and may be turned to
        any side.
    habitats : tuple of str
        Backgrounds where it is usually found.
    """

    draw: Callable[[Pen, np.random.Generator], None]
    stance: Literal["upright", "perched", "any"]
    habitats: tuple[str, ...]


_LAND = ("savanna", "meadow", "sand", "snow", "forest")
_TREES = ("sky", "forest", "meadow")
_SHORE = ("water", "mud", "sky")
_SEA = ("sea", "reef", "seabed")
_LEAVES = ("leaf", "meadow", "bark", "flowers")

FORMS: dict[str, Form] = {
    "cat": Form(mammals.draw_cat, "upright", _LAND),
    "dog": Form(mammals.draw_dog, "upright", _LAND),
    "horse": Form(mammals.draw_horse, "upright", _LAND),
    "giraffe": Form(mammals.draw_giraffe, "upright", ("savanna", "forest", "meadow")),
    "owl": Form(birds.draw_owl, "perched", _TREES),
    "jay": Form(birds.draw_jay, "perched", _TREES),
    "flamingo": Form(birds.draw_flamingo, "upright", _SHORE),
    "turtle": Form(cold_blooded.draw_turtle, "any", ("sea", "seabed", "sand")),
    "snake": Form(cold_blooded.draw_snake, "any", ("sand", "leaf", "forest", "savanna")),
    "frog": Form(cold_blooded.draw_frog, "upright", ("leaf", "mud", "forest")),
    "tang": Form(cold_blooded.draw_tang, "upright", _SEA),
    "triggerfish": Form(cold_blooded.draw_triggerfish, "upright", _SEA),
    "ladybird": Form(arthropods.draw_ladybird, "any", _LEAVES),
    "brushfoot": Form(arthropods.draw_brushfoot, "any", _LEAVES),
    "swallowtail": Form(arthropods.draw_swallowtail, "any", _LEAVES),
    "bee": Form(arthropods.draw_bee, "any", ("flowers", "leaf", "sky")),
    "spider": Form(arthropods.draw_spider, "any", ("leaf", "bark", "forest")),
    "crab": Form(arthropods.draw_crab, "upright", ("sand", "seabed", "mud")),
    "jellyfish": Form(soft_bodied.draw_jellyfish, "upright", ("sea", "deep")),
    "anemone": Form(soft_bodied.draw_anemone, "upright", ("reef", "seabed")),
    "snail": Form(soft_bodied.draw_snail, "upright", _LEAVES),
    "octopus": Form(soft_bodied.draw_octopus, "upright", ("sea", "seabed", "deep")),
    "starfish": Form(soft_bodied.draw_starfish, "any", ("sand", "seabed", "reef")),
    "urchin": Form(soft_bodied.draw_urchin, "any", ("seabed", "reef", "sand")),
}
