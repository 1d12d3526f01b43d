"""Texts of classes, from which a probe starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.probes.fitting.labelling import name_classes
from bioprobe.prompts import PromptSet, TextType
from bioprobe.taxonomy import Taxonomy

Vectors = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class TextPrior:
    """How classes are written, and by what encoder.

    Parameters
    ----------
    encode_text : callable
        From texts to unit vectors of the store's encoder.
    logit_scale : float
        The encoder's factor from cosine similarity to logits.
    text_type : TextType
        How a class is written.
    templates : tuple of str
        Each holds ``{}`` once.
    others : Taxonomy, optional
        Taxa at the rank that are classes although no training row may have them.
    """

    encode_text: Callable[[Sequence[str]], Vectors]
    logit_scale: float
    text_type: TextType = TextType.TAXON_COM
    templates: tuple[str, ...] = ("a photo of {}.",)
    others: Taxonomy | None = None

    def embed(self, classes: Taxonomy) -> dict[str, Any]:
        """Return the arguments of a :class:`bioprobe.probes.prompted.PromptedProbe`."""
        prompts = PromptSet(classes, self.text_type, self.templates)
        return {
            "texts": prompts.embed(self.encode_text),
            "text_classes": np.array(name_classes(classes), dtype=object),
            "scale": self.logit_scale,
        }

    def describe(self) -> dict[str, Any]:
        """Return what the texts depend on, JSON-ready."""
        return {
            "text_type": self.text_type.value,
            "templates": list(self.templates),
            "logit_scale": self.logit_scale,
        }
