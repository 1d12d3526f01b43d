"""Scores of images, the rows, for classes, the columns: the best of them and the sums of groups.

Of a head of many classes they stand by columns and are too many to be turned round or sorted; what
is found is the same either way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.types import Places, Rows, Scores

if TYPE_CHECKING:
    import torch

# Scores that are computed with at once: 4 million in float64 are 32 MB, with what is made of them
# a few times that.
_SCORES_AT_ONCE = 4_000_000
# Of fewer that stand by columns, numpy finds the best as fast as torch.
_FEW_SCORES = 100_000


def count_rows(n_columns: int) -> int:
    """Return of how many rows all scores are computed with at once, 1 at least."""
    return max(1, _SCORES_AT_ONCE // max(1, n_columns))


def split_rows(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Return rows some at a time, so that a few copies of their scores are no matter.

    What is computed for every class of every image goes by these blocks: 100,000 images of 20,000
    classes have 8 GB of scores.

    Examples
    --------
    >>> list(split_rows(5, 2_000_000))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = count_rows(n_columns)
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def find_top(scores: npt.NDArray[np.floating], k: int) -> tuple[Rows, Any]:
    """Return the best columns of each row, and their scores.

    Parameters
    ----------
    scores : ndarray of float, shape (n_images, n_classes)
        Numbers, none of which is NaN.
    k : int
        Columns, ≥ 1; no more than there are come back.

    Returns
    -------
    top : ndarray of int64, shape (n_images, min(k, n_classes))
        Best first; equal ones in the order of the columns.
    values : ndarray, of the same shape and as precise as the scores

    Examples
    --------
    >>> find_top(np.array([[0.1, 0.4, 0.1, 0.4]], dtype=np.float32), 3)[0].tolist()
    [[1, 3, 0]]
    """
    k = min(k, scores.shape[1])
    if not k:
        top = np.zeros((len(scores), 0), dtype=np.int64)
        return top, np.zeros(top.shape, dtype=scores.dtype)
    if _is_many_by_columns(scores):
        return _find_top_by_columns(scores, k)
    # Sorting all of many classes for the few best would take most of the time.
    least = np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k, np.newaxis]
    found = scores >= least
    # Of a sure answer all others may be 0: of those that tie, the first fill up.
    many = np.flatnonzero(np.count_nonzero(found, axis=1) > k)
    if len(many):
        tied = scores[many] == least[many]
        n_missing = k - np.count_nonzero(found[many] & ~tied, axis=1)
        found[many] &= ~tied | (np.cumsum(tied, axis=1) <= n_missing[:, np.newaxis])
    columns = np.flatnonzero(found).reshape(len(scores), k)
    columns -= scores.shape[1] * np.arange(len(scores))[:, np.newaxis]
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _order(scores: npt.NDArray[Any], rows: Rows, columns: Rows, k: int) -> tuple[Rows, Any]:
    """Return the best k of some places of each row, that has so many at least."""
    values = scores[rows, columns]
    order = np.lexsort((columns, -values, rows))
    counts = np.bincount(rows, minlength=len(scores))
    taken = (np.cumsum(counts) - counts)[:, np.newaxis] + np.arange(k)
    return columns[order][taken], values[order][taken]


def _is_many_by_columns(scores: npt.NDArray[Any]) -> bool:
    """Return whether numbers stand by columns and are so many that torch is faster.

    That is how the sums of the groups of a text head are made, and turning them round takes longer
    than adding them up.
    """
    by_columns = scores.T.flags.c_contiguous and not scores.flags.c_contiguous
    # Of so many, it is worth its loading too.
    few = _FEW_SCORES if "torch" in sys.modules else _SCORES_AT_ONCE
    return by_columns and scores.size > few


def _find_top_by_columns(scores: npt.NDArray[Any], k: int) -> tuple[Rows, Any]:
    import torch

    with torch.inference_mode():
        columns = Columns(torch.from_numpy(scores.T))
        places, rows = columns.find_from(columns.find_kth(k))
    return _order(scores, rows, places, k)


# Rows that are looked at one by one; of more, the greatest of so many first.
_FEW_ROWS, _ROWS_A_STRAND = 512, 32


class Columns:
    """The greatest numbers of each column of a matrix of positive ones, most rows unseen."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self._matrix = matrix
        self._n_strands = len(matrix) // _ROWS_A_STRAND if len(matrix) > _FEW_ROWS else 0
        self._n_even = self._n_strands * _ROWS_A_STRAND
        # Evenly spaced rows are a strand, so that whole rows are compared.
        even = matrix[: self._n_even].reshape(_ROWS_A_STRAND, -1)
        self._greatest = even.amax(dim=0).view(self._n_strands, matrix.shape[1])

    def find_kth(self, k: int) -> torch.Tensor:
        """Return the k-th greatest of each column; 0 where there are fewer rows."""
        import torch

        if k > len(self._matrix):
            return torch.zeros(self._matrix.shape[1])
        looked_at = self._matrix
        if k <= self._n_strands:
            best = self._greatest.T.contiguous().topk(k, dim=1).indices.T
            steps = self._n_strands * torch.arange(_ROWS_A_STRAND)
            rows = (best + steps[:, None, None]).flatten(0, 1)
            looked_at = torch.cat([looked_at.gather(0, rows), looked_at[self._n_even :]])
        return looked_at.T.contiguous().topk(k, dim=1).values[:, -1]

    def find_from(self, least: torch.Tensor) -> tuple[Rows, Rows]:
        """Return the rows and the columns of all that is at least a number of its column."""
        import torch

        strands, columns = (self._greatest >= least).nonzero().T
        rows = strands[:, None] + self._n_strands * torch.arange(_ROWS_A_STRAND)
        found = self._matrix[rows, columns[:, None]] >= least[columns, None]
        rest, columns_rest = (self._matrix[self._n_even :] >= least).nonzero().T
        rows = torch.cat([rows[found], rest + self._n_even])
        columns = torch.cat([columns[:, None].expand_as(found)[found], columns_rest])
        return rows.numpy(), columns.numpy()


def sum_columns(values: npt.NDArray[Any], groups: Rows, n_groups: int) -> Scores:
    """Return the sums of the columns of each group.

    Parameters
    ----------
    values : ndarray of float, shape (n_images, n_columns)
    groups : ndarray of int64, shape (n_columns,)
        Group of each column; those of -1 are in none.
    n_groups : int
        Groups; one without a column has the sum 0.

    Examples
    --------
    >>> sum_columns(np.array([[0.5, 0.25, 0.25]], dtype=np.float32), np.array([1, -1, 1]), 2)
    array([[0.  , 0.75]], dtype=float32)
    """
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    if _is_many_by_columns(values) and values.dtype == np.float32:
        return _sum_by_columns(values, order, np.searchsorted(groups[order], np.arange(n_groups)))
    sums = np.zeros((len(values), n_groups), dtype=np.float32)
    if order.size:
        present, starts = np.unique(groups[order], return_index=True)
        sums[:, present] = np.add.reduceat(values[:, order], starts, axis=1)
    return sums


def _sum_by_columns(values: Scores, order: Rows, starts: Rows) -> Scores:
    import torch

    with torch.inference_mode():
        rows, places = torch.from_numpy(values.T), torch.from_numpy(order)
        sums = torch.nn.functional.embedding_bag(places, rows, torch.from_numpy(starts), mode="sum")
    return sums.numpy().T


def sum_up(sums: Scores, parents: Sequence[Places], k: int) -> list[tuple[Places, Scores]]:
    """Find the best groups of each higher rank.

    Parameters
    ----------
    sums : ndarray of float32, shape (n_images, n_groups)
        Of the finest groups, as in :class:`bioprobe.task.leaves.LeafScores`.
    parents : sequence of ndarray of int64, each of shape (n_groups,)
        For each rank, the number of the group that each of these is in; -1 for none.
    k : int
        Answers, ≥ 1.

    Returns
    -------
    list of (top, sums)
        For each rank the best groups, an ndarray of int64 of shape (n_images, min(k, n_there)),
        equal ones in the order of the groups, and their summed probabilities, float32.

    Examples
    --------
    >>> sums = np.array([[0.25, 0.5, 0.25]], dtype=np.float32)
    >>> [(top, of_top)] = sum_up(sums, [np.array([1, 0, 1])], 1)
    >>> top.tolist(), of_top.tolist()
    ([[0]], [[0.5]])
    """
    if not len(parents):
        return []
    # Groups that have the same parents at all ranks are added up once.
    coarse = [parent for parent in parents if not _is_count(parent)]
    places = np.zeros(sums.shape[1], dtype=np.int64)
    for parent in coarse:
        keys = places * (int(parent.max(initial=-1)) + 2) + parent + 1
        places = np.unique(keys, return_inverse=True)[1]
    firsts = np.unique(places, return_index=True)[1]
    joined = sum_columns(sums, places, len(firsts)) if coarse else sums
    return [
        find_top(sums, k)
        if _is_count(parent)
        else find_top(sum_columns(joined, parent[firsts], int(parent.max(initial=-1)) + 1), k)
        for parent in parents
    ]


def _is_count(parent: Places) -> bool:
    return np.array_equal(parent, np.arange(len(parent)))
