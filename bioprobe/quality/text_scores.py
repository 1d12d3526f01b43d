"""How much more an image is like the texts of what is kept than like those of other things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.prompts import TextType
from bioprobe.prompts.noise import NoisePrompts
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxon
from bioprobe.taxonomy.columns import LABEL_COLUMNS, to_taxonomy

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
EncodeText = Callable[[Sequence[str]], Vectors]

# With 10,000 classes, 80 MB.
_BLOCK_ROWS = 2048


def score_by_text(
    kept: npt.NDArray[Any], dropped: npt.NDArray[Any], own: npt.NDArray[Any] | None = None
) -> Scores:
    """Return the log-odds of two sides of concepts.

    Each side is the logarithm of the mean of the exponentials of its logits. Where an image has
    a class of its own, the text of that class can only raise the kept side.

    Parameters
    ----------
    kept, dropped : ndarray of a float, shape (n_images, n_concepts)
        Logits: the logit scale times the cosine similarity.
    own : ndarray of a float, shape (n_images,), optional
        Logits of each image's own class; -inf where it has none.

    Examples
    --------
    >>> score_by_text(np.array([[2.0]]), np.array([[1.0, 1.0]])).tolist()
    [1.0]
    """
    side = _log_mean_exp(kept)
    if own is not None:
        side = np.maximum(side, own)
    return np.asarray(side - _log_mean_exp(dropped), dtype=np.float64)


def ask_texts(
    store: EmbeddingStore,
    rows: Rows,
    vectors: Vectors,
    prompts: NoisePrompts,
    encode_text: EncodeText,
    taxa: Iterable[Taxon] = (),
) -> tuple[Scores, npt.NDArray[np.object_]]:
    """Score images by the texts of both sides, and name the dropped concept nearest to each.

    Parameters
    ----------
    store : EmbeddingStore
        Whose labels say which class an image is of.
    rows : ndarray of int64, shape (n_images,)
    vectors : ndarray of float32, shape (n_images, dim), unit rows
        Those of the rows.
    prompts : NoisePrompts
    encode_text : callable
        From texts to unit vectors.
    taxa : iterable of Taxon
        Classes that an image without a label may be of; the best of them counts as its own.

    Returns
    -------
    scores : ndarray of float64, shape (n_images,)
        Log-odds that an image is to be kept.
    reasons : ndarray of str, shape (n_images,)
    """
    scale = store.manifest.logit_scale
    kept, dropped = (
        _encode_means([prompts.write(phrases) for phrases in side.values()], encode_text)
        for side in (prompts.kept, prompts.dropped)
    )
    listed = _encode_classes(taxa, prompts, encode_text)
    own = scale * _compare_with_classes(store, rows, vectors, prompts, encode_text, listed)
    away = scale * vectors @ dropped.T
    reasons = np.array(list(prompts.dropped), dtype=object)[away.argmax(axis=1)]
    return score_by_text(scale * vectors @ kept.T, away, own), reasons


def _compare_with_classes(
    store: EmbeddingStore,
    rows: Rows,
    vectors: Vectors,
    prompts: NoisePrompts,
    encode_text: EncodeText,
    listed: Vectors,
) -> Vectors:
    """Return the similarity to an image's own class; without a label, to the best listed one."""
    table = store.images.frame.iloc[rows][list(LABEL_COLUMNS)]
    groups = [
        group for _, group in table.assign(at=np.arange(len(rows))).groupby(list(LABEL_COLUMNS))
    ]
    taxa = [next(iter(to_taxonomy(group)), None) for group in groups]
    named = _encode_classes([taxon for taxon in taxa if taxon], prompts, encode_text)
    rest = iter(named)
    similarities = np.full(len(rows), -np.inf, dtype=np.float32)
    for group, taxon in zip(groups, taxa, strict=True):
        classes = next(rest)[np.newaxis] if taxon else listed
        if len(classes):
            at = group["at"].to_numpy()
            similarities[at] = _find_best(vectors, at, classes)
    return similarities


def _encode_classes(
    taxa: Iterable[Taxon], prompts: NoisePrompts, encode_text: EncodeText
) -> Vectors:
    texts = [prompts.write((TextType.TAXON_COM.write(taxon),)) for taxon in taxa]
    return _encode_means(texts, encode_text)


def _encode_means(texts: Sequence[Sequence[str]], encode_text: EncodeText) -> Vectors:
    """Return the unit mean of each group of texts, shape (n_groups, dim); all encoded at once."""
    if not texts:
        return np.empty((0, 0), dtype=np.float32)
    encoded = encode_text([text for group in texts for text in group])
    ends = np.cumsum([len(group) for group in texts])[:-1]
    return normalise_rows(np.stack([group.mean(axis=0) for group in np.split(encoded, ends)]))


def _find_best(vectors: Vectors, at: Rows, classes: Vectors) -> Vectors:
    """Return the highest similarity of some images to any class, shape (n_at,)."""
    blocks = np.array_split(at, -(-len(at) // _BLOCK_ROWS))
    return np.concatenate([(vectors[block] @ classes.T).max(axis=1) for block in blocks])


def _log_mean_exp(logits: npt.NDArray[Any]) -> Scores:
    highest = logits.max(axis=1, keepdims=True).astype(np.float64)
    return np.asarray(highest[:, 0] + np.log(np.exp(logits - highest).mean(axis=1)))
