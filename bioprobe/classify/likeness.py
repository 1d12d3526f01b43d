"""Classes that cannot be told apart, or hardly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.classify.predictions import Predictions
from bioprobe.prompts import PromptSet
from bioprobe.taxonomy import Taxon

Vectors = npt.NDArray[np.float32]

# A taxon nearer to a class than nine in ten classes are to their own nearest is confused with it.
_NEAR_FRACTION = 0.9
_SAME = 0.9999


def find_same_texts(prompts: PromptSet) -> list[tuple[Taxon, ...]]:
    """Find the classes whose texts are the same, as those of two species with one common name.

    Returns
    -------
    list of tuple of Taxon
        Two or more each.
    """
    groups: dict[frozenset[str], list[Taxon]] = {}
    for taxon, texts in zip(prompts.taxa, prompts.texts, strict=True):
        groups.setdefault(frozenset(texts), []).append(taxon)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def count_ties(predictions: Predictions) -> int:
    """Return how many images have two classes of equal score first."""
    if predictions.scores.shape[1] < 2:
        return 0
    return int((predictions.scores[:, 0] == predictions.scores[:, 1]).sum())


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The classes whose texts are nearest to that of a taxon.

    Parameters
    ----------
    taxa : tuple of Taxon
        Nearest first.
    similarities : ndarray of float32, shape (k,)
        Cosine similarities.
    usual : float
        Similarity that nine in ten of the classes stay below with their own nearest class; not a
        number for fewer than two classes.
    """

    taxa: tuple[Taxon, ...]
    similarities: npt.NDArray[np.float32]
    usual: float

    @property
    def is_confusing(self) -> bool:
        """Whether the taxon will be confused with the nearest class."""
        if not len(self.similarities):
            return False
        nearest = float(self.similarities[0])
        return nearest >= _SAME or nearest > self.usual


def find_neighbours(
    taxon: Taxon,
    prompts: PromptSet,
    encode_text: Callable[[Sequence[str]], Vectors],
    *,
    k: int = 5,
) -> Neighbours:
    """Find the classes whose texts are nearest to that of a taxon.

    Parameters
    ----------
    taxon : Taxon
        Left out of the classes where it is one of them.
    prompts : PromptSet
        The classes, and how taxa are written.
    encode_text : callable
        From texts to unit vectors.
    k : int
        Classes, ≥ 1.
    """
    asked = PromptSet(type(prompts.taxa)((taxon,)), prompts.text_type, prompts.templates)
    others = [place for place, one in enumerate(prompts.taxa) if one.name != taxon.name]
    classes = prompts.embed(encode_text)[others]
    similarities = classes @ asked.embed(encode_text)[0]
    order = np.argsort(-similarities, kind="stable")[:k]
    return Neighbours(
        tuple(prompts.taxa.taxa[others[place]] for place in order),
        similarities[order],
        _find_usual(classes),
    )


def _find_usual(classes: Vectors) -> float:
    if len(classes) < 2:
        return float("nan")
    # The classes of a very long list are asked by a sample, evenly spread.
    sample = np.unique(np.linspace(0, len(classes) - 1, 1000).astype(np.int64))
    similarities = classes[sample] @ classes.T
    similarities[np.arange(len(sample)), sample] = -1
    return float(np.quantile(similarities.max(axis=1), _NEAR_FRACTION))
