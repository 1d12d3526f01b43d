"""Rows that are too many for memory: taken as those of an array are, read where they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.types import Doubles, Places, Vectors

#: Rows that are read at once: 16 MB at 512 numbers each.
ROWS_AT_ONCE = 8192


class LazyRows:
    """Rows of a matrix that lies elsewhere.

    Taking some of them reads nothing; :func:`numpy.asarray` reads those that were taken.

    Parameters
    ----------
    read : callable
        From places, ndarray of int64 of shape (n,), to their rows, float32 of shape (n, dim).
    places : ndarray of int64, shape (n_rows,)
    dim : int

    Examples
    --------
    >>> matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    >>> rows = LazyRows(matrix.__getitem__, np.array([2, 0]), 2)
    >>> rows.shape, np.asarray(rows[1:]).tolist(), np.asarray(rows[rows.places > 0]).tolist()
    ((2, 2), [[0.0, 1.0]], [[4.0, 5.0]])
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, read: Callable[[Places], Vectors], places: Places, dim: int) -> None:
        self._read = read
        self.places = places
        self.shape = len(places), dim

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chosen: Any) -> LazyRows:  # noqa: ANN401 - whatever numpy takes for rows
        return LazyRows(self._read, self.places[chosen], self.shape[1])

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Read the rows into memory."""
        if copy is False:
            msg = "rows that lie elsewhere are an array only as a copy"
            raise ValueError(msg)
        return np.asarray(self._read(self.places), dtype=dtype or self.dtype)

    def map(self, change: Callable[[Vectors], Vectors]) -> LazyRows:
        """Return the rows as a function makes them of what is read, of the same length."""
        return LazyRows(lambda places: change(self._read(places)), self.places, self.shape[1])

    def below(self, vectors: Vectors) -> LazyRows:
        """Return these rows with those of an array below them."""
        n_own = len(self)

        def read(places: Places) -> Vectors:
            rows = np.empty((len(places), self.shape[1]), dtype=np.float32)
            is_own = places < n_own
            rows[is_own] = self._read(self.places[places[is_own]])
            rows[~is_own] = vectors[places[~is_own] - n_own]
            return rows

        return LazyRows(read, np.arange(n_own + len(vectors)), self.shape[1])


# Numbers that are held in memory even where they could be read again: 256 MB of them.
_MOST_HELD_NUMBERS = 1 << 26

#: Rows of one kind or the other: ``np.asarray(X[part])`` is an array of either.
AnyRows = Vectors | LazyRows


def take_rows(read: Callable[[Places], Vectors], places: Places, dim: int) -> AnyRows:
    """Return rows that :class:`LazyRows` would read: at once, unless they are more than 256 MB."""
    if len(places) * dim > _MOST_HELD_NUMBERS:
        return LazyRows(read, places, dim)
    return read(places)


def iter_parts(n_rows: int, size: int | None = None) -> Iterator[slice]:
    """Return rows some at a time, :data:`ROWS_AT_ONCE` unless another size is given.

    Examples
    --------
    >>> list(iter_parts(5, 3))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    step = size or ROWS_AT_ONCE
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def stack_rows(upper: AnyRows, lower: Vectors) -> AnyRows:
    """Return rows and those of an array below them, which is a copy where both are arrays."""
    if isinstance(upper, LazyRows):
        return upper.below(lower)
    return np.concatenate([upper, lower])


def average_rows(X: AnyRows) -> Doubles:  # noqa: N803 - scikit-learn's name
    """Return the mean of all rows, float64 of shape (dim,).

    Raises
    ------
    ProbeError
        If a number in them is not finite.
    """
    total = np.zeros(X.shape[1])
    for part in iter_parts(len(X)):
        total += np.asarray(X[part]).sum(axis=0, dtype=np.float64)
    if not np.isfinite(total).all():
        msg = f"a number in {len(X):,} vectors is not finite; see: bioprobe store verify"
        raise ProbeError(msg)
    return total / len(X)
