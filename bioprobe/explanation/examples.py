"""Pictures that speak for an answer and against it: the nearest of the classes in question."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from bioprobe.index import NeighborIndex
    from bioprobe.types import Places, Rows, Vectors


class Example(NamedTuple):
    """A picture that was labelled.

    Parameters
    ----------
    row : int
        Row of the store that teaches.
    similarity : float
        Cosine similarity to the picture that is explained.
    label : str
        Its class.
    """

    row: int
    similarity: float
    label: str


def find_examples(
    index: NeighborIndex,
    vector: Vectors,
    rows: Rows,
    places: Places,
    wanted: int,
    name: str,
    k: int,
) -> tuple[Example, ...]:
    """Find the pictures of a class that are nearest to a picture.

    Parameters
    ----------
    index : NeighborIndex
        Of the store that teaches.
    vector : ndarray of float32, shape (dim,), unit
        Of the picture.
    rows : ndarray of int64, shape (n_labelled,)
        Rows of the store that may be named: labelled, and not the picture itself.
    places : ndarray of int64, shape (n_labelled,)
        Class of each.
    wanted : int
        The class.
    name : str
        Of the class.
    k : int
        Pictures at most.
    """
    own = rows[places == wanted]
    if not len(own):
        return ()
    near, similarities = index.search(vector[np.newaxis], k, rows=own)
    return tuple(
        Example(row, similarity, name)
        for row, similarity in zip(near[0].tolist(), similarities[0].tolist(), strict=True)
    )
