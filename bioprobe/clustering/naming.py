"""Names that texts propose for clusters."""

from __future__ import annotations

import numpy as np

from bioprobe.prompts import PromptSet, TextType
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxonomy
from bioprobe.types import Doubles, EncodeText, Vectors
from bioprobe.zeroshot.class_embeddings import embed_classes
from bioprobe.zeroshot.zeroshot import find_top_classes

_TEMPLATES = ("a photo of {}.",)


def propose_names(
    store: EmbeddingStore,
    means: Vectors,
    candidates: Taxonomy,
    encode_text: EncodeText,
) -> tuple[list[str], Doubles]:
    """Ask texts what the mean of each cluster shows, as zero-shot asks what a picture shows.

    Parameters
    ----------
    store : EmbeddingStore
        Keeps the example pictures of candidates.
    means : ndarray of float32, shape (n_clusters, dim), unit rows
    candidates : Taxonomy
        Of one rank.
    encode_text : callable
        From texts to unit vectors.

    Returns
    -------
    names : list of str
        Of each cluster.
    scores : ndarray of float64, shape (n_clusters,)
        Probability of each, among all candidates.
    """
    asked = embed_classes(store, PromptSet(candidates, TextType.TAXON_COM, _TEMPLATES), encode_text)
    top, scores = find_top_classes(
        means, asked.vectors, k=1, logit_scale=store.manifest.logit_scale, offsets=asked.offsets
    )
    names = [candidates.taxa[at].name for at in top[:, 0].tolist()]
    return names, scores[:, 0].astype(np.float64)
