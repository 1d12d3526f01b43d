"""Near pairs among very many vectors: rows are compared within cells, and across their borders.

Each row lies in the cell of the centre that it is most similar to. The border of two cells is a
plane through the origin, and the angle between two rows is no less than that by which they lie on
either side of it. So where two rows of an angle θ are in two cells, one of them lies within θ / 2
of the border: it is compared with the rows of the other cell, and no pair is lost. Where the rows
so near to borders are too many, only those within a smaller angle are compared, which finds as
many of the pairs of sampled rows as is asked for; on other sampled rows the recall is measured.

References
----------
Hetland 2009, *The Basic Principles of Metric Indexing*, for what hyperplanes rule out; Dhillon and
Modha 2001, *Concept Decompositions for Large Sparse Text Data Using Clustering*, for the centres.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from bioprobe.engines import Engine, map_parts
from bioprobe.intervals import Interval, measure_share
from bioprobe.progress import Progress, Step
from bioprobe.quality.near_pairs import Vectored, find_in_block, find_nearest, iter_near_pairs
from bioprobe.types import Doubles, Mask, Rows, Vectors

#: Fewer rows are all compared with each other: that takes seconds.
FEWEST_ROWS = 50_000
#: Pairs that are compared at most so that none is lost: at 512 numbers two minutes of a core.
MOST_COMPARED = 1e10
#: Recall on the rows that choose, where no more than that is to be compared.
RECALL = 0.9999
# Rows that choose, and as many that measure, by so many of their nearest. Of these the first few
# stand for near pairs where there are too few of them to tell.
_SAMPLED_ROWS, _NEAREST, _ALWAYS, _FEWEST_PAIRS = 1024, 256, 8, 4000
# Cells are so many times the root of the rows: what is spent on finding cells is then about what is
# spent within them.
_CELLS = 2.0
_ROWS_A_CELL, _MOST_TAUGHT, _N_ROUNDS = 32, 1 << 17, 6
# Rows whose similarities to all centres are held at once; a place among them has two bytes.
_PLACED_AT_ONCE = 8192
_READ_AT_ONCE = 16_384
# Rows of the cells that are compared by one part of the work.
_PART_ROWS = 1 << 15
# The length of a stored vector is 1 but for this, and so is the sine of an angle.
_LENGTH_ERROR = 2e-3
# Of n rows n² / 2 pairs are all: cells must save more than half of that.
_MOST_SHARE = 0.25


@dataclasses.dataclass(frozen=True, eq=False)
class NearPairs:
    """All pairs of rows of at least a similarity, or as large a share of them as is measured.

    It yields them block by block, as :func:`~bioprobe.quality.near_pairs.iter_near_pairs` does;
    a pair of two cells may come twice.

    Parameters
    ----------
    vectors : Vectored
        Of shape (n_images, dim), unit rows.
    threshold : float
        Least cosine similarity, in [-1, 1].
    centres : ndarray of float32, shape (n_cells, dim), unit rows, optional
        Without, every row is compared with every other.
    reach : float
        Sine of the angle to a border within which a row is compared with the cell beyond.
    recall : Interval, optional
        Which share is found of the pairs of sampled rows that had no part in choosing the reach,
        not a number where these have none. Without, no pair is lost.
    engine : Engine, optional
        Where rows are compared, by default here. What is chosen is chosen here, and few rows are
        compared here.
    """

    vectors: Vectored
    threshold: float
    centres: Vectors | None = None
    reach: float = 0.0
    recall: Interval | None = None
    engine: Engine | None = None

    @classmethod
    def choose(
        cls, vectors: Vectored, threshold: float, order: Rows, engine: Engine | None = None
    ) -> NearPairs:
        """Choose how pairs are looked for, by how many there would be to compare.

        Parameters
        ----------
        vectors : Vectored
        threshold : float
        order : ndarray of int64, shape (n_images,)
            Positions of all of them, in an order that does not depend on how they are stored:
            evenly spaced ones are the sample.
        engine : Engine, optional
            Where they are compared.
        """
        n = len(order)
        if n < FEWEST_ROWS:
            return cls(vectors, threshold)
        found = cls(vectors, threshold, engine=engine)
        cells = _Cells.learn(vectors, order)
        sampled = order[np.linspace(0, n - 1, 2 * _SAMPLED_ROWS).astype(np.int64)]
        own, sines = cells.place(vectors[sampled])

        def count_compared(reach: float) -> float:
            beyond = ((sines <= reach) * cells.shares[:, None]).sum(axis=0)
            return float((beyond + cells.shares[own] / 2).mean()) * n**2

        reach, most = find_reach(threshold), _MOST_SHARE * n**2
        if count_compared(reach) <= min(MOST_COMPARED, most):
            return dataclasses.replace(found, centres=cells.centres, reach=reach)
        chosen = found._measure_pairs(cells, sampled[::2], fewest=_FEWEST_PAIRS)[0]
        if len(chosen):
            reach = min(reach, float(np.quantile(chosen, RECALL, method="higher")))
        if count_compared(reach) > most:
            return found
        others, of_row = found._measure_pairs(cells, sampled[1::2])
        recall = measure_share(others <= reach, of_row.astype(str))
        return dataclasses.replace(found, centres=cells.centres, reach=reach, recall=recall)

    def _measure_pairs(
        self, cells: _Cells, rows: Rows, *, fewest: int = 0
    ) -> tuple[npt.NDArray[np.float32], Rows]:
        """Return what the reach must be to find each pair of some rows, and of which row it is.

        Of rows with fewer pairs than that in all the nearest count too.
        """
        vectors = self.vectors
        near, similarities = find_nearest(vectors, rows, _NEAREST, self.engine)
        counted = similarities >= self.threshold
        if counted.sum() < fewest:
            counted[:, :_ALWAYS] = True
        of_row, place = np.nonzero(counted)
        second = near[of_row, place]
        sines = [
            cells.cross(
                vectors[rows[of_row[at : at + _PLACED_AT_ONCE]]],
                vectors[second[at : at + _PLACED_AT_ONCE]],
            )
            for at in range(0, len(of_row), _PLACED_AT_ONCE)
        ]
        return np.concatenate([np.zeros(0, np.float32), *sines]), of_row

    def iter_blocks(self, progress: Progress | None = None) -> Iterator[tuple[Rows, Rows, Vectors]]:
        """Find the pairs.

        Yields
        ------
        first, second : ndarray of int64, shape (n_pairs,)
            Positions, ``first < second``.
        similarities : ndarray of float32, shape (n_pairs,)
            Cosine similarity, at most 1.
        """
        if self.centres is None and self.engine is None:
            yield from iter_near_pairs(self.vectors[:], self.threshold)
            return
        cells = self._iter_rows() if self.centres is None else self._iter_cells(self.centres)
        compare = _compare_cells if self.engine is None else _list_compared
        work, n_done = partial(compare, self.vectors, self.threshold), 0
        for n_compared, blocks in map_parts(work, _group(cells), self.engine):
            yield from blocks
            n_done += n_compared
            if progress is not None:
                progress(Step(n_done, len(self.vectors), "images compared"))

    def _iter_rows(self) -> Iterator[_Cell]:
        """Return rows one after the other, beside all that come later.

        Yields
        ------
        inside, beside : ndarray of int64
        """
        every = np.arange(len(self.vectors))
        for start in range(0, len(every), _READ_AT_ONCE):
            yield every[start : start + _READ_AT_ONCE], every[start + _READ_AT_ONCE :]

    def _iter_cells(self, centres: Vectors) -> Iterator[_Cell]:
        """Put the rows into cells.

        Yields
        ------
        inside, beside : ndarray of int64
            Those of a cell, ascending, and those of others that are compared with it.
        """
        n = len(self.vectors)
        work = partial(_place, self.vectors, _Cells(centres), self.reach)
        parts = (slice(at, min(at + _PLACED_AT_ONCE, n)) for at in range(0, n, _PLACED_AT_ONCE))
        placed = map_parts(work, parts, self.engine)
        owns, guests = zip(*placed, strict=True)
        own = np.concatenate(owns)
        order = np.argsort(own, kind="stable")
        ends = np.cumsum(np.bincount(own, minlength=len(centres))).tolist()
        for cell, (start, end) in enumerate(itertools.pairwise([0, *ends])):
            if start < end:
                yield order[start:end], np.concatenate([one.of(cell) for one in guests])


# The rows of a cell, and those beside it.
_Cell = tuple[Rows, Rows]
_Pairs = tuple[Rows, Rows, Vectors]


def _group(cells: Iterable[_Cell]) -> Iterator[list[_Cell]]:
    """Put cells together to parts of the work."""
    group, n_rows = list[_Cell](), 0
    for cell in cells:
        group.append(cell)
        n_rows += len(cell[0])
        if n_rows >= _PART_ROWS:
            yield group
            group, n_rows = [], 0
    if group:
        yield group


def _compare_cells(
    vectors: Vectored, threshold: float, cells: Sequence[_Cell]
) -> tuple[int, Iterator[_Pairs]]:
    """Return of how many rows the pairs are looked for, and the pairs."""
    found = (_compare(vectors, threshold, inside, beside) for inside, beside in cells)
    return sum(len(inside) for inside, _ in cells), itertools.chain.from_iterable(found)


def _list_compared(
    vectors: Vectored, threshold: float, cells: Sequence[_Cell]
) -> tuple[int, list[_Pairs]]:
    """Do as :func:`_compare_cells`, and all of it at once."""
    n_compared, found = _compare_cells(vectors, threshold, cells)
    return n_compared, list(found)


def _compare(vectors: Vectored, threshold: float, inside: Rows, beside: Rows) -> Iterator[_Pairs]:
    """Compare the rows of a cell, ascending, with each other and with those beside it.

    Yields
    ------
    first, second, similarities : ndarray, shape (n_pairs,)
    """
    import torch

    for start in range(0, len(inside), _READ_AT_ONCE):
        here = inside[start : start + _READ_AT_ONCE]
        block = torch.from_numpy(vectors[here])
        for others in (inside[start:], beside):
            for left in range(0, len(others), _READ_AT_ONCE):
                there = others[left : left + _READ_AT_ONCE]
                is_itself = others is not beside and not left
                columns = block if is_itself else torch.from_numpy(vectors[there])
                for row, column, found in find_in_block(block, columns, threshold):
                    first, second = here[row], there[column]
                    # Within a cell each pair is seen from both sides.
                    kept = slice(None) if others is beside else first < second
                    lower, upper = np.minimum(first, second), np.maximum(first, second)
                    yield lower[kept], upper[kept], found[kept]


def _place(
    vectors: Vectored, cells: _Cells, reach: float, part: slice
) -> tuple[npt.NDArray[np.int32], _Guests]:
    """Return the cell of each of some rows, and which are near which others."""
    own, sines = cells.place(vectors[part])
    return own, _Guests.find(part.start, sines <= reach)


def find_reach(threshold: float) -> float:
    """Return the sine of the angle to a border beyond which a row has no near pair across it.

    Parameters
    ----------
    threshold : float
        Least cosine similarity of near rows, in [-1, 1].

    Examples
    --------
    >>> round(find_reach(0.95), 3), round(find_reach(-1), 3)
    (0.162, 1.0)
    """
    angle = math.acos(max(-1.0, threshold - _LENGTH_ERROR))
    return min(1.0, math.sin(angle / 2) + _LENGTH_ERROR / 2)


class _Cells:
    """Centres, of which each row is nearest to one.

    Parameters
    ----------
    centres : ndarray of float32, shape (n_cells, dim), unit rows
    shares : ndarray of float64, shape (n_cells,), optional
        Which share of the rows each has, as far as is known.
    """

    def __init__(self, centres: Vectors, shares: Doubles | None = None) -> None:
        import torch

        self.centres = centres
        self.shares = np.zeros(len(centres)) if shares is None else shares
        self._centres = torch.from_numpy(centres)
        # From no cell to itself is there a border.
        self._apart = torch.cdist(self._centres, self._centres).fill_diagonal_(math.nan)

    @classmethod
    def learn(cls, vectors: Vectored, order: Rows) -> _Cells:
        """Find centres by spherical k-means on evenly spaced rows of an order."""
        import torch

        n_cells = round(_CELLS * math.sqrt(len(order)))
        n_taught = min(len(order), _MOST_TAUGHT, _ROWS_A_CELL * n_cells)
        places = np.linspace(0, len(order) - 1, n_taught).astype(np.int64)
        taught = torch.from_numpy(vectors[order[places]])
        first = np.random.default_rng(0).choice(n_taught, n_cells, replace=False)
        centres = taught[torch.from_numpy(first)].clone()
        for _ in range(_N_ROUNDS):
            own = torch.cat([
                (taught[at : at + _PLACED_AT_ONCE] @ centres.T).argmax(dim=1)
                for at in range(0, n_taught, _PLACED_AT_ONCE)
            ])  # fmt: skip
            sums = torch.zeros_like(centres).index_add_(0, own, taught)
            lengths = torch.linalg.vector_norm(sums, dim=1, keepdim=True)
            # A cell without rows stays where it is.
            centres = torch.where(lengths > 0, sums / lengths.clamp_min(1e-12), centres)
        counts = torch.bincount(own, minlength=n_cells).double()
        return cls(centres.numpy(), (counts / n_taught).numpy())

    def place(self, vectors: Vectors) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the cell of each row, and the sine of its angle to the border of every other.

        Returns
        -------
        own : ndarray of int32, shape (n,)
        sines : ndarray of float32, shape (n_cells, n)
            Not a number for its own cell.
        """
        import torch

        scores = self._centres @ torch.from_numpy(vectors).T
        best, own = scores.max(dim=0)
        sines = scores.sub_(best).neg_().div_(self._apart.index_select(1, own))
        return own.numpy().astype(np.int32), sines.numpy()

    def cross(self, first: Vectors, second: Vectors) -> npt.NDArray[np.float32]:
        """Return the lesser sine of the angles of two rows to the border of their cells.

        Returns
        -------
        ndarray of float32, shape (n_pairs,)
            0 where both are in one cell: what a reach must be for a pair to be found.
        """
        import torch

        one, other = torch.from_numpy(first), torch.from_numpy(second)
        own, beyond = ((part @ self._centres.T).argmax(dim=1) for part in (one, other))
        across = self._centres[own] - self._centres[beyond]
        lengths = torch.linalg.vector_norm(across, dim=1).clamp_min(1e-12)
        sines = torch.minimum((one * across).sum(dim=1), -(other * across).sum(dim=1)) / lengths
        return torch.where(own == beyond, 0.0, sines).numpy()


@dataclasses.dataclass(frozen=True, eq=False)
class _Guests:
    """Which of some rows are compared with which cells that they are not in.

    Parameters
    ----------
    start : int
        Position of the first of these rows.
    rows : ndarray of uint16
        Counted from it, cell by cell.
    ends : ndarray of int64, shape (n_cells,)
        Where those of each cell end.
    """

    start: int
    rows: npt.NDArray[np.uint16]
    ends: Rows

    @classmethod
    def find(cls, start: int, near: Mask) -> _Guests:
        """Keep which rows are near which cells, shape (n_cells, n_rows)."""
        _, rows = np.nonzero(near)
        ends = np.cumsum(near.sum(axis=1), dtype=np.int64)
        return cls(start, rows.astype(np.uint16), ends)

    def of(self, cell: int) -> Rows:
        """Return the positions of those of one cell."""
        first = int(self.ends[cell - 1]) if cell else 0
        return self.rows[first : int(self.ends[cell])].astype(np.int64) + self.start
