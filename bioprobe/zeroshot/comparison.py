"""Which text type and templates serve best, measured on labelled images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.errors import PromptError, SelectionError
from bioprobe.intervals import Accuracy
from bioprobe.prompts import PromptSet, TextType
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.target import find_label_classes
from bioprobe.taxonomy import Rank, Taxonomy
from bioprobe.types import EncodeText, Mask, Rows, Vectors
from bioprobe.zeroshot.zeroshot import find_top_classes

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """Which images one text type with one template set has right.

    Parameters
    ----------
    text_type : TextType
        How taxa are written.
    templates : str
        Name of the template set.
    n_templates : int
        Templates in it.
    right : ndarray of bool, shape (n_images,)
        Whether the best class is the label; the images are the same for all that are compared.
    same_texts_as : str
        :attr:`name` of an earlier one that asks by the very same texts, or ``""``.
    difference : float
        Accuracy less that of the best one, at most 0.
    p_value : float
        That it is right as often as the best one; not a number for that itself.
    is_worse : bool
        Whether chance alone would seldom make it so much worse.
    """

    text_type: TextType
    templates: str
    n_templates: int
    right: Mask
    same_texts_as: str = ""
    difference: float = 0.0
    p_value: float = math.nan
    is_worse: bool = False

    @property
    def name(self) -> str:
        """Text type and template set, as in ``sci plain``."""
        return f"{self.text_type.value} {self.templates}"

    @property
    def accuracy(self) -> Accuracy:
        """Top-1, with its interval."""
        return Accuracy(1, int(self.right.sum()), len(self.right))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ComparedPrompts(Result):
    """Text types and template sets side by side.

    Parameters
    ----------
    sets : tuple of Compared
        Best first.
    provenance : Provenance
        What the result was computed from.
    notes : tuple of Note
        What is to be said of it.
    """

    sets: tuple[Compared, ...]
    provenance: Provenance
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a combination."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "text_type": one.text_type.value,
                    "templates": one.templates,
                    "n_templates": one.n_templates,
                    "accuracy": one.accuracy.fraction,
                    "low": one.accuracy.interval[0],
                    "high": one.accuracy.interval[1],
                    "n_images": one.accuracy.n_images,
                    "difference": one.difference,
                    "p_value": one.p_value,
                    "is_worse": one.is_worse,
                    "same_texts_as": one.same_texts_as,
                }
                for one in self.sets
            ]
        )


def compare_prompts(
    asked: EmbeddingStore | View,
    taxa: Taxonomy,
    encode_text: EncodeText,
    *,
    rank: Rank,
    text_types: Sequence[TextType],
    template_sets: Mapping[str, tuple[str, ...]],
) -> list[Compared]:
    """Measure text types and template sets on the labelled images of a store.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose labels are believed; images without a label at the rank are left out, and one whose
        label is no class counts as wrong.
    taxa : Taxonomy
        Classes, all at ``rank``.
    encode_text : callable
        From texts to unit vectors; asked once for all texts together.
    rank : Rank
        Rank of the classes.
    text_types : sequence of TextType
        Those that ask for common names are left out where no class has one.
    template_sets : mapping of str to tuple of str
        Name to templates.

    Returns
    -------
    list of Compared
        Best first; of equal ones that with fewer templates, then the one named first.

    Raises
    ------
    PromptError
        If no text type is left.
    SelectionError
        If no image has a label.

    See Also
    --------
    bioprobe.evaluation.paired.compare_with_best : which differences are noise.
    """
    view = _find_labelled(View.of(asked), rank)
    sets = _build_sets(taxa, text_types, template_sets, rank)
    texts = (text for _, prompts in sets for of_class in prompts.texts for text in of_class)
    encode_text(list(dict.fromkeys(texts)))
    twins = _find_twins(sets)
    classes = {
        place: prompts.embed(encode_text)
        for place, (_, prompts) in enumerate(sets)
        if place not in twins
    }
    right = _measure(view, find_label_classes(view.images, view.rows, taxa, rank), classes)
    measured = [
        Compared(prompts.text_type, name, len(prompts.templates), right[twins.get(place, place)])
        for place, (name, prompts) in enumerate(sets)
    ]
    found = [
        dataclasses.replace(one, same_texts_as=measured[twins[place]].name)
        if place in twins
        else one
        for place, one in enumerate(measured)
    ]
    return sorted(found, key=lambda one: (-one.accuracy.fraction, one.n_templates))


def _find_labelled(view: View, rank: Rank) -> View:
    labelled = view.labels(rank) != ""
    if not labelled.any():
        msg = f"no image that is asked about has a label at {rank.value}; labels are needed"
        raise SelectionError(msg)
    return view.take(view.rows[labelled])


def _build_sets(
    taxa: Taxonomy,
    text_types: Sequence[TextType],
    template_sets: Mapping[str, tuple[str, ...]],
    rank: Rank,
) -> list[tuple[str, PromptSet]]:
    has_common_names = any(taxon.common_name for taxon in taxa)
    kinds = [kind for kind in text_types if has_common_names or not kind.uses_common_name]
    if not kinds:
        msg = f"no {rank.value} has a common name; compare sci and taxon, or give a taxon list"
        raise PromptError(msg)
    return [
        (name, PromptSet(taxa, kind, templates))
        for kind in kinds
        for name, templates in template_sets.items()
    ]


def _find_twins(sets: Sequence[tuple[str, PromptSet]]) -> dict[int, int]:
    """Return which sets ask by the texts of an earlier one, and of which."""
    first: dict[tuple[tuple[str, ...], ...], int] = {}
    origins = [first.setdefault(prompts.texts, place) for place, (_, prompts) in enumerate(sets)]
    return {place: origin for place, origin in enumerate(origins) if origin != place}


def _measure(view: View, truth: Rows, classes: Mapping[int, Vectors]) -> dict[int, Mask]:
    """Return which images each set of class embeddings has right; vectors are read once."""
    scale = view.manifest.logit_scale
    right = {place: np.zeros(len(view), dtype=np.bool_) for place in classes}
    start = 0
    for vectors in view.iter_vectors():
        chunk = slice(start, start + len(vectors))
        for place, embeddings in classes.items():
            top, _ = find_top_classes(vectors, embeddings, k=1, logit_scale=scale)
            right[place][chunk] = top[:, 0] == truth[chunk]
        start += len(vectors)
    return right
