"""Answers for the images of a store, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from bioprobe.store import EmbeddingStore

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

# 16,384 vectors of dim 768 are 50 MB.
_IMAGES_AT_ONCE = 16_384


def iter_vectors(store: EmbeddingStore, rows: Rows) -> Iterator[Vectors]:
    """Read vectors of a store chunk by chunk, in the order of the rows.

    Yields
    ------
    ndarray of float32, shape (n, dim), unit rows
        One empty chunk where there is no row.
    """
    for start in range(0, max(1, len(rows)), _IMAGES_AT_ONCE):
        yield store.read_vectors(rows[start : start + _IMAGES_AT_ONCE])


def answer_in_chunks(
    store: EmbeddingStore,
    rows: Rows,
    answer: Callable[[Vectors], tuple[Rows, npt.NDArray[np.float32]]],
) -> tuple[Rows, npt.NDArray[np.float32]]:
    """Ask for the best classes of each image, with no more than a chunk of vectors in memory.

    Parameters
    ----------
    store : EmbeddingStore
        Whose vectors are asked.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store.
    answer : callable
        From vectors to classes and scores, both of shape (n, k).

    Returns
    -------
    top : ndarray of int64, shape (n_images, k)
    scores : ndarray of float32, of the same shape
    """
    top, scores = zip(*map(answer, iter_vectors(store, rows)), strict=True)
    return np.concatenate(top), np.concatenate(scores)
