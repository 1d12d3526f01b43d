"""Groups of images to parts, whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bioprobe.splits.quotas import Counts


def count_groups(classes: Counts, groups: Counts) -> Counts:
    """Return the number of groups that each class has images in, shape (n_classes,).

    Parameters
    ----------
    classes, groups : ndarray of int64, shape (n_images,)
        Class and group of each image, both from 0 without a gap.
    """
    pairs = np.unique(groups * (classes.max(initial=0) + 1) + classes)
    return np.bincount(pairs % (classes.max(initial=0) + 1))


def place_groups(
    classes: Counts, groups: Counts, quotas: Counts, wanted: npt.NDArray[np.bool_], seed: int
) -> Counts:
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
    contents = _list_contents(classes, groups)
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    room = quotas.tolist()
    missing = [set(np.flatnonzero(row).tolist()) for row in wanted]
    left = count_groups(classes, groups).tolist()
    placed = np.zeros(len(sizes), dtype=np.int64)
    usual = np.flatnonzero(quotas.sum(axis=0)).tolist()
    for group in order.tolist():
        inside = contents[group]
        forced = {part for c, _ in inside if left[c] <= len(missing[c]) for part in missing[c]}
        parts = sorted(forced) if forced else usual
        # Each image that finds room counts by the room there is: the gain in squared distance
        # from the quotas.
        part = max(parts, key=lambda p: sum(n * room[c][p] for c, n in inside))
        placed[group] = part
        for c, n in inside:
            room[c][part] -= n
            missing[c].discard(part)
            left[c] -= 1
    return placed[groups]


def _list_contents(classes: Counts, groups: Counts) -> list[list[tuple[int, int]]]:
    """Return the classes of each group, with their numbers of images."""
    n_classes = int(classes.max(initial=0)) + 1
    pairs, counts = np.unique(groups * n_classes + classes, return_counts=True)
    contents: list[list[tuple[int, int]]] = [[] for _ in range(int(groups.max(initial=-1)) + 1)]
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        contents[pair // n_classes].append((pair % n_classes, count))
    return contents
