"""What stands for each class: the embedding of its texts, or of pictures and texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.prompts import PromptSet
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxonomy
from bioprobe.types import EncodeText, Rows, Vectors
from bioprobe.zeroshot.examples import Examples, read_examples
from bioprobe.zeroshot.seen_offset import SeenOffset


@dataclasses.dataclass(frozen=True)
class ClassEmbeddings:
    """Class embeddings with what is subtracted from their logits.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_rows, dim), unit rows
        One a class, or one a text of a class.
    classes : ndarray of int64, shape (n_rows,)
        Class of each row, ascending.
    offsets : ndarray of float32, shape (n_rows,)
        Subtracted from the logit of each row.
    """

    vectors: Vectors
    classes: Rows
    offsets: npt.NDArray[np.float32]


def embed_classes(
    store: EmbeddingStore,
    prompts: PromptSet,
    encode_text: EncodeText,
    *,
    seen_offset: SeenOffset | None = None,
) -> ClassEmbeddings:
    """Embed every class by its texts, and those that have example pictures by these too.

    A class with pictures has an offset of its own, because images lie nearer to images than to
    texts.

    Parameters
    ----------
    store : EmbeddingStore
        Keeps the example pictures.
    prompts : PromptSet
        The classes.
    encode_text : callable
        From texts to unit vectors.
    seen_offset : SeenOffset, optional
        Subtracted from the classes that are not new. Those with pictures are not new in this
        sense: their own offset was chosen against the others.

    References
    ----------
    Liang et al. 2022, *Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive
    Representation Learning*.
    """
    vectors = prompts.embed(encode_text)
    places = _place_examples(read_examples(store), prompts.taxa)
    offsets = _offset_seen(prompts.taxa, seen_offset, places)
    vectors = vectors.copy() if places else vectors
    for place, examples in places.items():
        vectors[place] = examples.blend(vectors[place])
    return ClassEmbeddings(vectors, np.arange(len(vectors)), offsets)


def embed_texts(
    store: EmbeddingStore,
    prompts: PromptSet,
    encode_text: EncodeText,
    *,
    seen_offset: SeenOffset | None = None,
) -> ClassEmbeddings:
    """Embed every text of every class; a class with example pictures has one row.

    Parameters
    ----------
    store : EmbeddingStore
        Keeps the example pictures.
    prompts : PromptSet
        The classes.
    encode_text : callable
        From texts to unit vectors.
    seen_offset : SeenOffset, optional
        As in :func:`embed_classes`.
    """
    texts = prompts.texts
    embeddings = encode_text([text for of_class in texts for text in of_class])
    classes = np.repeat(np.arange(len(texts)), [len(of_class) for of_class in texts])
    places = _place_examples(read_examples(store), prompts.taxa)
    offsets = _offset_seen(prompts.taxa, seen_offset, places)
    if places:
        whole = prompts.embed(encode_text)
        kept = np.unique(classes, return_index=True)[1][list(places)]
        for first, (place, examples) in zip(kept, places.items(), strict=True):
            embeddings[first] = examples.blend(whole[place])
        rows = np.flatnonzero(
            ~np.isin(classes, list(places)) | np.isin(np.arange(len(classes)), kept)
        )
        embeddings, classes = embeddings[rows], classes[rows]
    return ClassEmbeddings(embeddings, classes, offsets[classes])


def list_examples(store: EmbeddingStore, taxa: Taxonomy) -> list[str]:
    """Return the names of the classes that have example pictures."""
    return [taxa.taxa[place].name for place in _place_examples(read_examples(store), taxa)]


def _place_examples(known: Sequence[Examples], taxa: Taxonomy) -> dict[int, Examples]:
    if not known:
        return {}
    names = {one.taxon.name for one in known}
    return {
        place: one
        for place, taxon in enumerate(taxa)
        if taxon.name in names
        for one in known
        if one.is_of(taxon)
    }


def _offset_seen(
    taxa: Taxonomy, seen_offset: SeenOffset | None, places: dict[int, Examples]
) -> npt.NDArray[np.float32]:
    offsets = np.zeros(len(taxa), dtype=np.float32)
    if seen_offset is not None:
        offsets[~seen_offset.find_new(taxa)] = seen_offset.value
        offsets[list(places)] = seen_offset.value
    for place, examples in places.items():
        offsets[place] += examples.offset
    return offsets
