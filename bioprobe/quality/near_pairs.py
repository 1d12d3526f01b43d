"""All pairs of vectors that are near, block by block, and the links that hold their groups."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bioprobe.cores import each_alone, map_alone
from bioprobe.engines import Engine, map_parts
from bioprobe.types import Rows, Vectors

if TYPE_CHECKING:
    import torch

# A block of similarities is 32 MB; if all of them are pairs, these are another 200 MB.
_BLOCK_ROWS, _BLOCK_COLUMNS = 2048, 4096
# A thread has a block of 4 MB, with 25 MB of pairs if all are: so many threads hold 460 MB.
_THREAD_ROWS, _THREAD_COLUMNS, _MOST_THREADS = 512, 2048, 16
_PAIRS_AT_ONCE = 4_000_000
# To look coarsely first, bf16 has to be worth the measurement and this many times as fast.
_FEWEST_ROWS, _LEAST_GAIN = 8192, 2.0
_MEASURED_ROWS = 2048
# Libraries of products change their way below some 16 rows.
_FEWEST_AT_ONCE = 64
# Rows among which one part of an engine's work looks for the nearest.
_PART_ROWS = 1 << 18
# Rows that are asked at once for their nearest, and others that are read at once.
_ASKED_AT_ONCE, _READ_AT_ONCE = 1024, 16_384


class Vectored(Protocol):
    """Unit vectors that are read where they are asked for, as an array gives them."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, rows: Any, /) -> Vectors:  # noqa: ANN401 - a slice or an array
        """Return some of them, float32 of shape (n, dim)."""


def find_nearest(
    vectors: Vectored, rows: Rows, k: int, engine: Engine | None = None
) -> tuple[Rows, Vectors]:
    """Find the nearest others of some rows by comparing all.

    Parameters
    ----------
    vectors : Vectored
        Of shape (n_images, dim), unit rows.
    rows : ndarray of int64, shape (n_asked,)
    k : int
        At most so many of each.
    engine : Engine, optional
        Where they are compared, by default here.

    Returns
    -------
    nearest : ndarray of int64, shape (n_asked, k)
        Positions, the nearest first.
    similarities : ndarray of float32, shape (n_asked, k)
        At most 1.
    """
    n, k = len(vectors), min(k, len(vectors) - 1)
    size = n if engine is None else _PART_ROWS
    parts = (slice(start, min(start + size, n)) for start in range(0, n, size))
    found = map_parts(functools.partial(_find_nearest_in, vectors, rows, k), parts, engine)
    return functools.reduce(functools.partial(_keep_nearest, k), found)


def _find_nearest_in(vectors: Vectored, rows: Rows, k: int, part: slice) -> tuple[Rows, Vectors]:
    """Return the nearest of a part of the rows, k or all that there are."""
    import torch

    found = []
    for at in range(0, len(rows), _ASKED_AT_ONCE):
        asked = rows[at : at + _ASKED_AT_ONCE]
        queries = torch.from_numpy(np.ascontiguousarray(vectors[asked]))
        best = torch.zeros((len(asked), 0))
        places = torch.zeros((len(asked), 0), dtype=torch.int64)
        for start in range(part.start, part.stop, _READ_AT_ONCE):
            read = slice(start, min(start + _READ_AT_ONCE, part.stop))
            block = torch.from_numpy(np.ascontiguousarray(vectors[read]))
            similarities = queries @ block.T
            itself = np.flatnonzero((asked >= start) & (asked < start + len(block)))
            similarities[itself, asked[itself] - start] = -2.0
            top = similarities.topk(min(k, len(block)), dim=1)
            best, kept = torch.cat([best, top.values], dim=1).topk(
                min(k, best.shape[1] + top.values.shape[1]), dim=1
            )
            places = torch.cat([places, top.indices + start], dim=1).gather(1, kept)
        found.append((places.numpy(), best.clamp(max=1.0).numpy()))
    nearest, nearness = zip(*found, strict=True)
    return np.concatenate(nearest), np.concatenate(nearness)


def _keep_nearest(
    k: int, first: tuple[Rows, Vectors], second: tuple[Rows, Vectors]
) -> tuple[Rows, Vectors]:
    """Return the nearest of two parts."""
    places = np.concatenate([first[0], second[0]], axis=1)
    similarities = np.concatenate([first[1], second[1]], axis=1)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(
        similarities, order, axis=1
    )


def find_in_block(
    rows: torch.Tensor, columns: torch.Tensor, threshold: float
) -> Iterator[tuple[Rows, Rows, Vectors]]:
    """Compare some vectors with others.

    Parameters
    ----------
    rows, columns : Tensor of float32, shape (n_rows, dim) and (n_columns, dim), unit rows
    threshold : float

    Yields
    ------
    row, column : ndarray of int64, shape (n_pairs,)
        Which of both.
    similarities : ndarray of float32, shape (n_pairs,)
        Cosine similarity, at most 1.
    """
    for start in range(0, len(rows), _BLOCK_ROWS):
        for left in range(0, len(columns), _BLOCK_COLUMNS):
            block, beside = rows[start : start + _BLOCK_ROWS], columns[left : left + _BLOCK_COLUMNS]
            near, similarities = _multiply(block, beside, threshold)
            row, column = np.nonzero(similarities >= threshold)
            if len(row):
                found = np.minimum(similarities[row, column], np.float32(1))
                yield near[row] + start, column + left, found


def _multiply(block: torch.Tensor, columns: torch.Tensor, threshold: float) -> tuple[Rows, Vectors]:
    """Return the rows that have a near column, and their similarities to all columns."""
    similarities = block @ columns.T
    # Most rows have no pair: their greatest value is found faster than all positions.
    near = (similarities.amax(dim=1) >= threshold).nonzero()[:, 0]
    return near.numpy(), similarities[near].numpy()


def iter_near_pairs(vectors: Vectors, threshold: float) -> Iterator[tuple[Rows, Rows, Vectors]]:
    """Find all pairs of rows whose cosine similarity is at least a threshold, block by block.

    The search is exact. Memory is bounded however many pairs there are. Where the processor
    multiplies much faster in bf16, these products rule out the rows of a block that can have no
    pair; the others are multiplied in float32.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    threshold : float
        In [-1, 1].

    Yields
    ------
    first, second : ndarray of int64, shape (n_pairs,)
        Positions, ``first < second``.
    similarities : ndarray of float32, shape (n_pairs,)
        Cosine similarity, at most 1.
    """
    vectors = np.ascontiguousarray(vectors)
    coarsely = _choose_coarse_search(vectors, threshold)
    found: Iterator[tuple[Rows, Rows, Vectors]]
    if coarsely is not None:
        blocks = _list_blocks(len(vectors), _BLOCK_ROWS, _BLOCK_COLUMNS)
        found = map(functools.partial(_find_pairs, coarsely, threshold), blocks)
    else:
        blocks = _list_blocks(len(vectors), _THREAD_ROWS, _THREAD_COLUMNS)
        search = functools.partial(_search_plainly, vectors, threshold)
        with each_alone() as n_products:
            n_threads = max(1, min(n_products, len(blocks), _MOST_THREADS))
        work = functools.partial(_find_pairs, search, threshold)
        found = map_alone(work, blocks, n_threads=n_threads)
    yield from (pairs for pairs in found if len(pairs[0]))


# The rows and the columns of a block.
_Block = tuple[slice, slice]
# From these to the rows that may have pairs, counted from the first of the block, and their
# similarities.
_Search = Callable[[slice, slice], tuple[Rows, Vectors]]


def _list_blocks(n: int, n_rows: int, n_columns: int) -> list[_Block]:
    """Return the blocks that have all pairs; the columns of each are from its first row on."""
    return [
        (slice(start, min(start + n_rows, n)), slice(left, min(left + n_columns, n)))
        for start in range(0, n, n_rows)
        for left in range(start, n, n_columns)
    ]


def _find_pairs(search: _Search, threshold: float, block: _Block) -> tuple[Rows, Rows, Vectors]:
    """Return the pairs of a block."""
    near, similarities = search(*block)
    row, column = np.nonzero(similarities >= threshold)
    first, second = near[row] + block[0].start, column + block[1].start
    ahead = first < second
    found = np.minimum(similarities[row[ahead], column[ahead]], np.float32(1))
    return first[ahead], second[ahead], found


def _search_plainly(
    vectors: Vectors, threshold: float, rows: slice, columns: slice
) -> tuple[Rows, Vectors]:
    similarities = vectors[rows] @ vectors[columns].T
    if rows.start == columns.start:
        # A row is no pair with itself.
        np.fill_diagonal(similarities, -2.0)
    # Most rows have no pair: their greatest value is found faster than all positions.
    near = np.flatnonzero(similarities.max(axis=1) >= threshold)
    return near, similarities[near]


def _choose_coarse_search(vectors: Vectors, threshold: float) -> _Search | None:
    """Return a search by products in bf16 where it is worth it."""
    if len(vectors) < _FEWEST_ROWS:
        return None
    import torch

    tensor = torch.from_numpy(vectors)
    least = threshold - bound_bf16_error(tensor)
    return _search_coarsely(tensor, least) if least > 0 and _is_bf16_faster(tensor) else None


def _search_coarsely(tensor: torch.Tensor, least: float) -> _Search:
    import torch

    coarse, vectors = tensor.bfloat16(), tensor.numpy()
    # Positive numbers are in the order of their bits, which are compared much faster; the
    # threshold may have been rounded up, so one step less.
    bits = int(torch.tensor(least).bfloat16().view(torch.int16)) - 1

    def search(block: slice, columns: slice) -> tuple[Rows, Vectors]:
        similarities = coarse[block] @ coarse[columns].T
        greatest = similarities.view(torch.int16).numpy().max(axis=1)
        near = np.flatnonzero(greatest >= bits)
        if not len(near):
            return near, np.zeros((0, similarities.shape[1]), dtype=np.float32)
        # The sums of very few rows are added up in another order: the last digit would differ.
        asked = np.resize(near, max(len(near), min(_FEWEST_AT_ONCE, len(greatest))))
        rows = vectors[block][asked] @ vectors[columns].T
        return near, rows[: len(near)]

    return search


def bound_bf16_error(tensor: torch.Tensor) -> float:
    """Bound by how much a product of rows in bf16 may lie below that in float32.

    Both factors and the product are rounded by a relative 2⁻⁸ at most, the sums in between, of
    either, by 2⁻²⁴ a term.

    Parameters
    ----------
    tensor : Tensor of float32, shape (n_images, dim)

    References
    ----------
    Higham 2002, *Accuracy and Stability of Numerical Algorithms*, section 3.1; the sum of absolute
    terms is bounded by Cauchy and Schwarz.
    """
    import torch

    if not len(tensor):
        return 0.0
    longest = float(torch.linalg.vector_norm(tensor, dim=1).max()) ** 2
    return longest * ((1 + 2**-8) ** 3 - 1 + 4 * tensor.shape[1] * 2**-24)


def _is_bf16_faster(tensor: torch.Tensor) -> bool:
    """Measure whether bf16 is much faster here: only some processors multiply it themselves."""
    some = tensor[:_MEASURED_ROWS]
    return _LEAST_GAIN * _measure_product(some.bfloat16()) < _measure_product(some)


def _measure_product(factor: torch.Tensor) -> float:
    # Processor time: the clock on the wall says little where other programs run.
    seconds = []
    for _ in range(3):
        started = time.process_time()
        factor @ factor.T
        seconds.append(time.process_time() - started)
    return min(seconds)


class SpanningForest:
    """The strongest links that hold groups together; all that thresholds can ask of the pairs.

    At any threshold the groups joined by the links kept here are those joined by all pairs, so
    no more than one link an image is ever held.

    References
    ----------
    Gower and Ross 1969, *Minimum Spanning Trees and Single Linkage Cluster Analysis*.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._links = _join_links([])
        self._waiting: list[tuple[Rows, Rows, Vectors]] = []
        self._n_waiting = 0

    def add(self, first: Rows, second: Rows, similarities: Vectors) -> None:
        """Add pairs, in any order, of images counted from 0."""
        self._waiting.append((first, second, similarities))
        self._n_waiting += len(first)
        if self._n_waiting > _PAIRS_AT_ONCE:
            self._reduce()

    @property
    def links(self) -> tuple[Rows, Rows, Vectors]:
        """The links that are kept: first, second, similarity."""
        self._reduce()
        return self._links

    def _reduce(self) -> None:
        if not self._waiting:
            return
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import minimum_spanning_tree

        first, second, similarities = _join_links([self._links, *self._waiting])
        # The best of repeated pairs; the sparse matrix would add them up.
        order = np.lexsort((-similarities, second, first))
        first, second, similarities = first[order], second[order], similarities[order]
        new = np.append(True, (first[1:] != first[:-1]) | (second[1:] != second[:-1]))[: len(first)]
        # A cost of 0 would be no link.
        cost = 3.0 - similarities[new].astype(np.float64)
        links = csr_array((cost, (first[new], second[new])), shape=(self.n, self.n))
        tree = minimum_spanning_tree(links).tocoo()
        self._links = (
            tree.row.astype(np.int64),
            tree.col.astype(np.int64),
            (3.0 - tree.data).astype(np.float32),
        )
        self._waiting, self._n_waiting = [], 0


def _join_links(parts: list[tuple[Rows, Rows, Vectors]]) -> tuple[Rows, Rows, Vectors]:
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    first, second, similarities = (np.concatenate(part) for part in zip(*parts, strict=True))
    return first, second, similarities


def gather_pairs(
    blocks: Iterator[tuple[Rows, Rows, Vectors]],
) -> Iterator[tuple[Rows, Rows, Vectors]]:
    """Join blocks of pairs to fewer: a picture is cut once for all its pairs of a block.

    Yields
    ------
    first, second, similarities : ndarray, shape (n_pairs,)
    """
    waiting: list[tuple[Rows, Rows, Vectors]] = []
    n_waiting = 0
    for block in blocks:
        waiting.append(block)
        n_waiting += len(block[0])
        if n_waiting > _PAIRS_AT_ONCE:
            yield _join_links(waiting)
            waiting, n_waiting = [], 0
    yield _join_links(waiting)
