"""Images that must stay together: bursts, individuals, specimens, copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import DUPLICATES_MASK, GROUP, list_selections, read_selection
from bioprobe.types import Names, Rows

SAME_BYTES, NEAR_DUPLICATES = "same bytes", "near duplicates"


def join_groups(kinds: Sequence[Names], n_images: int) -> npt.NDArray[np.object_]:
    """Join images that share a group of any kind, and those that these share one with, and so on.

    Parameters
    ----------
    kinds : sequence of ndarray of object, each of shape (n_images,)
        Groups of one kind, ``""`` where an image is in none.
    n_images : int
        Number of images.

    Returns
    -------
    ndarray of object, shape (n_images,)
        ``g1``, ``g2`` … in the order of their first images; ``""`` for an image on its own.

    Examples
    --------
    >>> burst = np.array(["b1", "b1", "", "", "b2"], dtype=object)
    >>> animal = np.array(["", "Leo", "Leo", "", ""], dtype=object)
    >>> join_groups([burst, animal], 5).tolist()
    ['g1', 'g1', 'g1', '', '']
    """
    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for kind in kinds:
        _, firsts, inverse = np.unique(kind.astype(str), return_index=True, return_inverse=True)
        linked = (firsts[inverse] < np.arange(n_images)) & (kind != "")
        first.append(firsts[inverse][linked])
        second.append(np.flatnonzero(linked))
    numbers = find_components(np.concatenate(first), np.concatenate(second), n_images)
    shared = np.bincount(numbers, minlength=1)[numbers] > 1
    # Numbers without a gap, so that names stay short.
    _, order = np.unique(numbers[shared], return_inverse=True)
    names = np.full(n_images, "", dtype=object)
    names[shared] = [f"g{number + 1}" for number in order.tolist()]
    return names


def find_components(first: Rows, second: Rows, n: int) -> Rows:
    """Give numbers to the groups that links join, in the order of their first images.

    Parameters
    ----------
    first, second : ndarray of int64, shape (n_links,)
        Ends of each link.
    n : int
        Number of images.

    Returns
    -------
    ndarray of int64, shape (n,)
        Group of each image, from 0; an image without a link is a group of its own.

    Examples
    --------
    >>> find_components(np.array([0, 4]), np.array([2, 2]), 5).tolist()
    [0, 1, 0, 2, 0]
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    matrix = csr_array((np.ones(len(first)), (first, second)), shape=(n, n))
    _, groups = connected_components(matrix, directed=False)
    _, firsts, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(firsts))[inverse], dtype=np.int64)


def find_groups(
    store: EmbeddingStore, rows: npt.NDArray[np.int64], columns: Sequence[str] = ()
) -> Mapping[str, Names]:
    """Find what groups there are among images of a store.

    Parameters
    ----------
    store : EmbeddingStore
        Its image table holds the columns; its mask ``filters/duplicates``, if it has one, the
        near duplicates.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store.
    columns : sequence of str
        Columns whose equal values make a group: burst, individual, specimen, observation.

    Returns
    -------
    mapping of str to ndarray of object, shape (n_images,)
        Groups by kind: the columns, ``same bytes``, and ``near duplicates`` where these are
        known; ``""`` where an image is in none.

    Raises
    ------
    SelectionError
        If there is no such column.
    """
    frame = store.images.frame.iloc[rows]
    kinds = {column: read_column(store, column)[rows] for column in columns}
    kinds[SAME_BYTES] = frame["sha256"].to_numpy(dtype=object)
    if DUPLICATES_MASK in list_selections(store):
        groups = read_selection(store, DUPLICATES_MASK).frame[GROUP].iloc[rows]
        kinds[NEAR_DUPLICATES] = name_values(groups)
    return kinds


def read_column(store: EmbeddingStore, column: str) -> Names:
    """Return a column of the image table as text, ``""`` where it has a hole.

    Raises
    ------
    SelectionError
        If there is no such column.
    """
    frame = store.images.frame
    if column not in frame:
        msg = f"no column {column!r} in {store.folder}; there are: {', '.join(map(str, frame))}"
        raise SelectionError(msg)
    return name_values(frame[column])


def name_values(values: Any) -> Names:  # noqa: ANN401 - a pandas Series of any dtype
    """Write values as text, holes as ``""``; a number is the same with and without a hole beside.

    Parameters
    ----------
    values : Series, shape (n,)
        Of any dtype.

    Returns
    -------
    ndarray of object, shape (n,)
    """
    holes = values.isna().to_numpy()
    # A hole makes whole numbers floats: 3 and 3.0 are one burst.
    names = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values]
    return np.where(holes, "", np.array(names, dtype=object)).astype(object)
