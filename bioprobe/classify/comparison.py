"""Which text type and templates serve best, measured on labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.classify.accuracy import Accuracy
from bioprobe.classify.streaming import answer_in_chunks
from bioprobe.classify.zeroshot import find_top_classes
from bioprobe.errors import PromptError, SelectionError
from bioprobe.prompts import PromptSet, TextType
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank, Taxonomy

Vectors = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Compared:
    """How often one text type with one template set is right.

    Parameters
    ----------
    text_type : TextType
        How taxa are written.
    templates : str
        Name of the template set.
    n_templates : int
        Templates in it.
    accuracy : Accuracy
        Top-1.
    """

    text_type: TextType
    templates: str
    n_templates: int
    accuracy: Accuracy


def compare_prompts(
    store: EmbeddingStore,
    taxa: Taxonomy,
    encode_text: Callable[[Sequence[str]], Vectors],
    *,
    rank: Rank,
    text_types: Sequence[TextType],
    template_sets: Mapping[str, tuple[str, ...]],
    condition: str | None = None,
) -> list[Compared]:
    """Measure text types and template sets on the labelled images of a store.

    Parameters
    ----------
    store : EmbeddingStore
        Whose labels are believed; images without a label at the rank are left out.
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
    condition : str, optional
        Only images that meet it.

    Returns
    -------
    list of Compared
        Best first; of equal ones that with fewer templates.

    Raises
    ------
    PromptError
        If no text type is left.
    SelectionError
        If no image has a label.
    """
    rows = store.select(condition)
    rows = rows[store.images.labels(rank)[rows] != ""]
    if not len(rows):
        msg = f"no image that is asked about has a label at {rank.value}; labels are needed"
        raise SelectionError(msg)
    has_common_names = any(taxon.common_name for taxon in taxa)
    asked = [kind for kind in text_types if has_common_names or not kind.uses_common_name]
    if not asked:
        msg = f"no {rank.value} has a common name; compare sci and taxon, or give a taxon list"
        raise PromptError(msg)
    sets = [
        (name, PromptSet(taxa, kind, templates))
        for kind in asked
        for name, templates in template_sets.items()
    ]
    encode_text(list(dict.fromkeys(_iter_texts([prompts for _, prompts in sets]))))
    truth = store.images.labels(rank)[rows]
    found = [
        Compared(
            prompts.text_type,
            name,
            len(prompts.templates),
            _measure(store, rows, prompts.embed(encode_text), taxa, truth),
        )
        for name, prompts in sets
    ]
    return sorted(found, key=lambda one: (-one.accuracy.fraction, one.n_templates))


def _iter_texts(sets: Sequence[PromptSet]) -> list[str]:
    return [text for prompts in sets for of_class in prompts.texts for text in of_class]


def _measure(
    store: EmbeddingStore,
    rows: npt.NDArray[np.int64],
    classes: Vectors,
    taxa: Taxonomy,
    truth: npt.NDArray[np.object_],
) -> Accuracy:
    scale = store.manifest.logit_scale
    top, _ = answer_in_chunks(
        store, rows, lambda vectors: find_top_classes(vectors, classes, k=1, logit_scale=scale)
    )
    names = np.array([taxon.name for taxon in taxa], dtype=object)
    return Accuracy(1, int((names[top[:, 0]] == truth).sum()), len(rows))
