"""Which images stay together in a split, and how many of each class a part is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.cells import name_cells
from bioprobe.errors import SelectionError
from bioprobe.images.identity import digest_rows, number_rows
from bioprobe.names import unify
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import (
    DUPLICATES_MASK,
    GROUP,
    list_selections,
    read_selection,
)
from bioprobe.types import Names, Places, Rows

SAME_BYTES, NEAR_DUPLICATES = "same bytes", "near duplicates"
_GROUPS_AT_ONCE = 65_536


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
    import pandas as pd

    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for kind in kinds:
        codes, _ = pd.factorize(kind)
        own_first = np.unique(codes, return_index=True)[1][codes]
        linked = (own_first < np.arange(n_images)) & (kind != "")
        first.append(own_first[linked])
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
    kinds = {column: read_column(store, column)[rows] for column in columns}
    kinds[SAME_BYTES] = _find_same_bytes(store, rows)
    if store.images.has_regions:
        # Regions of one picture stay together, also where nobody saw its bytes.
        files = store.images.number_files(rows)
        unknown = kinds[SAME_BYTES] == ""
        kinds[SAME_BYTES] = np.where(
            unknown, [f"picture {file}" for file in files.tolist()], kinds[SAME_BYTES]
        )
    if DUPLICATES_MASK in list_selections(store):
        groups = read_selection(store, DUPLICATES_MASK).frame[GROUP].iloc[rows]
        kinds[NEAR_DUPLICATES] = name_cells(groups)
    return kinds


def _find_same_bytes(store: EmbeddingStore, rows: Rows) -> Names:
    """Return the SHA-256 of each image whose bytes another has too, ``""`` of others."""
    order = np.argsort(rows, kind="stable")
    numbers = number_rows(digest_rows(store.images.iter_frames(["sha256"], rows[order])))
    shared = order[np.bincount(numbers, minlength=1)[numbers] > 1]
    hashes = np.full(len(rows), "", dtype=object)
    hashes[shared] = store.images.read_texts(rows[shared], ["sha256"])["sha256"]
    return hashes


def read_column(store: EmbeddingStore, column: str) -> Names:
    """Return a column of the image table as text, ``""`` where it has a hole.

    Raises
    ------
    SelectionError
        If there is no such column.
    """
    columns = store.images.columns
    # A header may be written in another Unicode form than the column is asked for.
    alike = (name for name in columns if unify(name) == unify(column))
    column = column if column in columns else next(alike, column)
    if column not in columns:
        msg = f"no column {column!r} in {store.folder}; there are: {', '.join(columns)}"
        raise SelectionError(msg)
    return store.images.labels(column)


def find_wanted(n_groups: Places, priority: Sequence[int], n_parts: int) -> npt.NDArray[np.bool_]:
    """Tell which parts every class is to be in.

    A class of one group is in the first part of the priority, one of two groups in the first
    two, and so on: a group is never divided.

    Parameters
    ----------
    n_groups : ndarray of int64, shape (n_classes,)
        Groups of images of each class.
    priority : sequence of int
        Parts that are to be filled, the one that may least be without a class first.
    n_parts : int
        Number of parts.

    Returns
    -------
    ndarray of bool, shape (n_classes, n_parts)

    Examples
    --------
    >>> find_wanted(np.array([1, 2]), (0, 2, 1), 3).tolist()
    [[True, False, False], [True, False, True]]
    """
    wanted = np.zeros((len(n_groups), n_parts), dtype=bool)
    for place, part in enumerate(priority):
        wanted[:, part] = n_groups > place
    return wanted


def share_out(
    n_images: Places,
    fractions: npt.NDArray[np.float64],
    wanted: npt.NDArray[np.bool_],
    *,
    least: int = 1,
) -> Places:
    """Share the images of each class out to the parts it is to be in.

    Each part gets its fraction, rounded down, but ``least`` at least; what is left goes to the
    parts that lag most behind over the classes shared out so far, so that both the classes and
    the totals come near the fractions.

    Parameters
    ----------
    n_images : ndarray of int64, shape (n_classes,)
        Images of each class, no fewer than it has wanted parts.
    fractions : ndarray of float64, shape (n_parts,)
        They add up to 1.
    wanted : ndarray of bool, shape (n_classes, n_parts)
        Parts that each class is to be in.
    least : int
        Images of a class that each of these gets at least: 0 or 1.

    Returns
    -------
    ndarray of int64, shape (n_classes, n_parts)
        Each row adds up to the images of the class.

    References
    ----------
    Cox 1987, *A Constructive Procedure for Unbiased Controlled Rounding*: margins and cells are
    both rounded to a neighbour of their exact values.

    Examples
    --------
    >>> fractions, everywhere = np.array([0.8, 0.1, 0.1]), np.ones((4, 3), dtype=bool)
    >>> share_out(np.array([30, 15, 15, 3]), fractions, everywhere).tolist()
    [[24, 3, 3], [12, 2, 1], [12, 1, 2], [1, 1, 1]]
    """
    quotas = np.zeros(wanted.shape, dtype=np.int64)
    lag = np.zeros(len(fractions))
    for row, (n, inside) in enumerate(zip(n_images.tolist(), wanted, strict=True)):
        exact = n * np.where(inside, fractions, 0)
        exact *= n / max(exact.sum(), 1e-12)
        # Products such as 100 * 0.29 end just below the number they stand for.
        quota = np.maximum(np.floor(exact + 1e-9), least * inside)
        while quota.sum() > n:
            quota[quota.argmax()] -= 1
        lag += n * fractions - quota
        for _ in range(int(n - quota.sum())):
            # A second image beyond the fraction goes to no part before each has had one.
            behind = np.where(inside & (quota < exact - 1e-9), lag, -np.inf)
            part = int(behind.argmax())
            quota[part] += 1
            lag[part] -= 1
        quotas[row] = quota
    return quotas


def number_labels(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Places]:
    """Return distinct labels, sorted, and which of them each image has, as ``numpy.unique`` does.

    Only the distinct ones are sorted where they are objects.
    """
    import pandas as pd

    if labels.dtype != object:
        distinct, numbers = np.unique(labels, return_inverse=True)
        return distinct, np.asarray(numbers, dtype=np.int64)
    found, known = pd.factorize(labels, use_na_sentinel=False)
    distinct, places = np.unique(known, return_inverse=True)
    return distinct, places[found]


def number_texts(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.str_], Places]:
    """Return the same of values as text."""
    distinct, numbers = number_labels(np.asarray(values))
    names, places = np.unique(distinct.astype(str), return_inverse=True)
    return names, places[numbers]


def number_groups(groups: npt.NDArray[Any] | None, n_images: int) -> npt.NDArray[np.int64]:
    """Give numbers from 0 to groups; an image whose group is ``""`` is one of its own."""
    if groups is None:
        return np.arange(n_images)
    names, numbers = number_texts(groups)
    alone = (names == "")[numbers]
    numbers[alone] = len(numbers) + np.arange(int(alone.sum()))
    return np.asarray(np.unique(numbers, return_inverse=True)[1], dtype=np.int64)


def count_groups(classes: Places, groups: Places) -> Places:
    """Return the number of groups that each class has images in, shape (n_classes,).

    Parameters
    ----------
    classes, groups : ndarray of int64, shape (n_images,)
        Class and group of each image, both from 0 without a gap.
    """
    pairs = np.unique(groups * (classes.max(initial=0) + 1) + classes)
    return np.bincount(pairs % (classes.max(initial=0) + 1))


def place_groups(
    classes: Places, groups: Places, quotas: Places, wanted: npt.NDArray[np.bool_], seed: int
) -> Places:
    """Give each group of images to one part, so that each class comes near its quotas.

    The largest groups are placed first, equal ones in random order, each where its classes have
    the most room left. When a class has only as many groups left as there are parts it is still
    to enter, they go there: so each class is in all of its wanted parts, unless groups of several
    classes contradict each other.

    Parameters
    ----------
    classes, groups : ndarray of int64, shape (n_images,)
        Class and group of each image, both from 0 without a gap.
    quotas : ndarray of int64, shape (n_classes, n_parts)
        Images of each class that each part is to have.
    wanted : ndarray of bool, shape (n_classes, n_parts)
        Parts that each class is to be in; at most as many as it has groups.
    seed : int
        Of the random order.

    Returns
    -------
    ndarray of int64, shape (n_images,)
        Part of each image.

    References
    ----------
    scikit-learn's ``StratifiedGroupKFold`` is greedy in the same way, from large groups to small;
    it does not promise that a class enters a part.
    """
    sizes = np.bincount(groups)
    ends, of, counts = _list_contents(classes, groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    room = quotas.tolist()
    missing = [set(np.flatnonzero(row).tolist()) for row in wanted]
    left = count_groups(classes, groups).tolist()
    placed = np.zeros(len(sizes), dtype=np.int64)
    usual = np.flatnonzero(quotas.sum(axis=0)).tolist()
    for group, inside in _iter_contents(order, ends, of, counts):
        forced = {part for c, _ in inside if left[c] <= len(missing[c]) for part in missing[c]}
        parts = sorted(forced) if forced else usual
        # Each image that finds room counts by the room there is: the gain in squared distance
        # from the quotas.
        if len(inside) == 1:
            part = max(parts, key=room[inside[0][0]].__getitem__)
        else:
            part = max(parts, key=lambda p: sum(n * room[c][p] for c, n in inside))
        placed[group] = part
        for c, n in inside:
            room[c][part] -= n
            missing[c].discard(part)
            left[c] -= 1
    return placed[groups]


def _iter_contents(
    order: Places, ends: Places, of: Places, counts: Places
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Return groups in an order, with their classes and images of each of these."""
    for at in range(0, len(order), _GROUPS_AT_ONCE):
        groups = order[at : at + _GROUPS_AT_ONCE]
        starts, stops = ends[groups], ends[groups + 1]
        lists = (one.tolist() for one in (groups, starts, stops, of[starts], counts[starts]))
        for group, start, stop, one, n in zip(*lists, strict=True):
            inside = [(one, n)]
            if stop - start > 1:
                own = slice(start, stop)
                inside = list(zip(of[own].tolist(), counts[own].tolist(), strict=True))
            yield group, inside


def _list_contents(classes: Places, groups: Places) -> tuple[Places, Places, Places]:
    """Return where each group ends, from 0, in a list of classes, and images of each of these."""
    n_classes = int(classes.max(initial=0)) + 1
    pairs, counts = np.unique(groups * n_classes + classes, return_counts=True)
    ends = np.append(0, np.cumsum(np.bincount(pairs // n_classes)))
    return ends, pairs % n_classes, counts
