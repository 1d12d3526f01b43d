"""Classes of which no row is held out: rows like those that would judge them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.probes.closed_form import spread_rows
from bioprobe.task.lazy_rows import AnyRows
from bioprobe.types import Mask, Places, Rows, Vectors

_MOST_IMAGINED = 20_000


def find_never(names: npt.NDArray[Any], folds: Places) -> Mask:
    """Tell which rows are of a class of which no row is held out.

    Parameters
    ----------
    names : ndarray, shape (n_images,)
        Class of each row; one without, ``""``, is of none.
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.
    """
    classes, codes = np.unique(names.astype(str), return_inverse=True)
    is_never = classes != ""
    is_never[codes[folds >= 0]] = False
    return np.asarray(is_never[codes])


def imagine_rows(
    X: AnyRows,  # noqa: N803 - scikit-learn's name
    names: npt.NDArray[Any],
    folds: Places,
    n_each: int,
) -> tuple[Vectors, Rows]:
    """Return rows as far from those of classes never held out as held-out rows lie from theirs.

    A difference within a class that is held out is carried over: what parts a row from the next
    one of its class. There is at least one row that is held out.

    Parameters
    ----------
    X : ndarray of float32, or LazyRows, shape (n_images, dim)
        Unit rows, or longer ones where columns stand beside the vectors.
    names : ndarray, shape (n_images,)
    folds : ndarray of int64, shape (n_images,)
        As for :func:`find_never`.
    n_each : int
        Rows for each row of such a class; of more than 20,000 in all, so many evenly spaced.

    Returns
    -------
    vectors : ndarray of float32, shape (n_imagined, dim)
        As long as the rows that they are like.
    likes : ndarray of int64, shape (n_imagined,)
        Row that each is like, one after the other.

    References
    ----------
    Hariharan and Girshick 2017, *Low-shot Visual Recognition by Shrinking and Hallucinating
    Features*.
    """
    _, codes = np.unique(names.astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    following = np.roll(order, -1)
    starts = np.searchsorted(codes[order], codes[order])
    ends = codes[following] != codes[order]
    following[ends] = order[starts[ends]]
    next_of = np.empty_like(order)
    next_of[order] = following
    likes = np.flatnonzero(find_never(names, folds)).repeat(n_each)
    likes = likes[spread_rows(len(likes), _MOST_IMAGINED)]
    drawn = np.random.default_rng(0).choice(np.flatnonzero(folds >= 0), size=len(likes))
    own = np.asarray(X[likes])
    moved = own + np.asarray(X[drawn]) - np.asarray(X[next_of[drawn]])
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    moved *= np.linalg.norm(own, axis=1, keepdims=True)
    return np.asarray(moved / np.where(lengths > 0, lengths, 1), dtype=np.float32), likes
