"""Folds: each image is held out once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.splits.quotas import count_groups, place_groups, share_out


def assign_folds(
    labels: npt.NDArray[Any],
    n_folds: int,
    seed: int = 0,
    groups: npt.NDArray[Any] | None = None,
) -> npt.NDArray[np.int64]:
    """Assign images to folds, stratified by label, groups kept together.

    A class of one group cannot be learnt without it: its fold is -1, it always trains. Any other
    class is in two folds at least, or has such a group too: what is held out was seen elsewhere.

    Parameters
    ----------
    labels : ndarray, shape (n_images,)
        Anything that ``numpy.unique`` can sort.
    n_folds : int
        At least 2.
    seed : int
        Of the random order.
    groups : ndarray, shape (n_images,), optional
        Group of each image; ``""`` is an image on its own. By default all are.

    Returns
    -------
    ndarray of int64, shape (n_images,)
        Fold in which each image is held out, -1 for one that always trains.

    Raises
    ------
    SelectionError
        If there are fewer than two folds, or labels and groups do not fit each other.

    See Also
    --------
    sklearn.model_selection.StratifiedGroupKFold : The same aim, without the promise.

    Examples
    --------
    >>> labels = np.array(["cat", "cat", "dog", "dog", "emu"])
    >>> assign_folds(labels, 2).tolist()
    [0, 1, 0, 1, -1]
    """
    if n_folds < 2:
        msg = f"cross-validation takes 2 folds or more, got {n_folds}"
        raise SelectionError(msg)
    _, classes = np.unique(labels, return_inverse=True)
    numbers = number_groups(groups, len(classes))
    if len(numbers) != len(classes):
        msg = f"{len(classes)} labels were given, got {len(numbers)} groups"
        raise SelectionError(msg)
    n_groups, n_images = count_groups(classes, numbers), np.bincount(classes)
    everywhere = np.ones((len(n_images), n_folds), dtype=bool)
    quotas = share_out(n_images, np.full(n_folds, 1 / n_folds), everywhere, least=0)
    # The fullest folds are the ones that a class must not miss.
    ranking = np.argsort(np.argsort(-quotas, axis=1, kind="stable"), axis=1)
    wanted = everywhere & (ranking < np.minimum(n_groups, n_folds)[:, np.newaxis])
    folds = place_groups(classes, numbers, quotas, wanted, seed)
    # The other classes of such a group go with it, for a group is not divided.
    folds[np.isin(numbers, numbers[n_groups[classes] == 1])] = -1
    return folds


def number_groups(groups: npt.NDArray[Any] | None, n_images: int) -> npt.NDArray[np.int64]:
    """Give numbers from 0 to groups; an image whose group is ``""`` is one of its own."""
    if groups is None:
        return np.arange(n_images)
    names = np.asarray(groups).astype(str)
    _, numbers = np.unique(names, return_inverse=True)
    alone = names == ""
    numbers[alone] = len(names) + np.arange(int(alone.sum()))
    return np.asarray(np.unique(numbers, return_inverse=True)[1], dtype=np.int64)
