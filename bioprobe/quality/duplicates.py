"""Images that are in a store more than once: the same bytes, or the same picture."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.images import ImageTable
from bioprobe.images.looks import look_at
from bioprobe.provenance import Provenance
from bioprobe.quality.closest import MARGIN, ClosestPairs
from bioprobe.quality.likeness import MAX_DIFFERING_BITS, MIN_CORRELATION, Likeness
from bioprobe.quality.seeing import read_seen
from bioprobe.result import Notes, Result
from bioprobe.splits.groups import find_components
from bioprobe.store import EmbeddingStore
from bioprobe.store.look_cache import LOOKS
from bioprobe.store.selections import DUPLICATES_MASK, write_selection
from bioprobe.store.view import View
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.types import Mask, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd
    import torch


# A block of similarities is 32 MB; if all of them are pairs, these are another 200 MB.
_BLOCK_ROWS, _BLOCK_COLUMNS = 2048, 4096
_PAIRS_AT_ONCE = 4_000_000
# To look coarsely first, bf16 has to be worth the measurement and this many times as fast.
_FEWEST_ROWS, _LEAST_GAIN = 8192, 2.0
_MEASURED_ROWS = 2048
# MKL changes its way below 16 rows.
_FEWEST_AT_ONCE = 64
_MULTIPLIED_AT_ONCE = 65_536


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
    import torch

    # On processors of AMD, torch multiplies three times as fast as numpy's library.
    tensor = torch.from_numpy(np.ascontiguousarray(vectors))
    find_near = _choose_search(tensor, threshold)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        for left in range(start, len(vectors), _BLOCK_COLUMNS):
            near, rows = find_near(block, slice(left, left + _BLOCK_COLUMNS))
            row, column = np.nonzero(rows >= threshold)
            first, second = near[row] + start, column + left
            ahead = first < second
            if ahead.any():
                found = np.minimum(rows[row, column][ahead], np.float32(1))
                yield first[ahead], second[ahead], found


# From the rows and the columns of a block to the rows that may have pairs, counted from the first
# of the block, and their similarities.
_Search = Callable[[slice, slice], tuple[Rows, Vectors]]


def _choose_search(tensor: torch.Tensor, threshold: float) -> _Search:
    least = threshold - bound_bf16_error(tensor)
    if least > 0 and len(tensor) >= _FEWEST_ROWS and _is_bf16_faster(tensor):
        return _search_coarsely(tensor, least)
    return _search_plainly(tensor, threshold)


def _search_plainly(tensor: torch.Tensor, threshold: float) -> _Search:
    def search(block: slice, columns: slice) -> tuple[Rows, Vectors]:
        similarities = tensor[block] @ tensor[columns].T
        # Most rows have no pair: their greatest value is found faster than all positions.
        near = (similarities.amax(dim=1) >= threshold).nonzero()[:, 0]
        return near.numpy(), similarities[near].numpy()

    return search


def _search_coarsely(tensor: torch.Tensor, least: float) -> _Search:
    import torch

    coarse = tensor.bfloat16()
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
        rows = tensor[block][torch.from_numpy(asked)] @ tensor[columns].T
        return near, rows[: len(near)].numpy()

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

    Parameters
    ----------
    n : int
        Number of images.

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


# A copy of a picture, be it cut, has a vector near that of the picture: so many neighbours of one
# are looked at on average, and more of few images.
_NEIGHBORS_COMPARED, _COMPARED = 8, 100_000
# Rows that stand for the store, and neighbours of each that are looked at.
_SAMPLED_ROWS, _SAMPLED_NEIGHBORS = 1024, 64
# Of one in so many images the nearest that is no copy may be as near as the threshold.
_FALSE_FRACTION = 1e-3
_NEAR, _FAR = 10, 20
_DENSEST_FRACTION = 0.1
#: Where there are too few images to tell.
DEFAULT_THRESHOLD = 0.95
_FEWEST_TO_TELL = 100


def sample_neighbors(vectors: Vectors, rows: Rows) -> Vectors:
    """Return the similarities of some rows to their nearest, the greatest first.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    rows : ndarray of int64, shape (n_asked,)

    Returns
    -------
    ndarray of float32, shape (n_asked, n_neighbors)
        Of the others; at most 64.
    """
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(vectors))
    n_neighbors = min(_SAMPLED_NEIGHBORS, len(vectors) - 1)
    found = []
    for start in range(0, len(rows), _SAMPLED_ROWS // 4):
        asked = torch.from_numpy(rows[start : start + _SAMPLED_ROWS // 4])
        similarities = tensor[asked] @ tensor.T
        similarities[torch.arange(len(asked)), asked] = -2.0
        found.append(similarities.topk(n_neighbors, dim=1).values.clamp(max=1.0).numpy())
    return np.concatenate(found)


def choose_threshold(neighbors: Vectors) -> float:
    """Choose the similarity from which vectors alone make a pair of copies.

    So near is the nearest image that is no copy for one image in 1,000. Points around a point are
    taken as a Poisson process in as many dimensions as the distances to the 10th and the 20th
    neighbour say, as dense as where the images are densest. Copies are among the first few
    neighbours, and so hardly change these.

    Parameters
    ----------
    neighbors : ndarray of float32, shape (n_images, n_neighbors)
        From :func:`sample_neighbors`; of fewer than 100 images, .95 is returned.

    References
    ----------
    Levina and Bickel 2005, *Maximum Likelihood Estimation of Intrinsic Dimension*, for the process;
    the number of neighbours within a distance r is Poisson with a mean of (r / scale) ** dimension.
    """
    from scipy.stats import gamma

    if len(neighbors) < _FEWEST_TO_TELL:
        return DEFAULT_THRESHOLD
    near, far = np.arccos(neighbors[:, [_NEAR - 1, _FAR - 1]].astype(np.float64)).T
    # Whole groups of 20 equal vectors say nothing.
    if not 0 < np.median(near) < np.median(far):
        return DEFAULT_THRESHOLD
    medians = gamma.median([_NEAR, _FAR])
    dimension = np.log(medians[1] / medians[0]) / np.log(np.median(far) / np.median(near))
    scale = np.quantile(far, _DENSEST_FRACTION) / medians[1] ** (1 / dimension)
    return float(np.cos(scale * (-np.log1p(-_FALSE_FRACTION)) ** (1 / dimension)))


def choose_compared(neighbors: Vectors, n_images: int) -> float:
    """Return the similarity that images have with as many neighbours as are looked at.

    Parameters
    ----------
    neighbors : ndarray of float32, shape (n_sampled, n_neighbors)
        From :func:`sample_neighbors`.
    n_images : int
        Images in all.
    """
    n_each = max(_NEIGHBORS_COMPARED, _COMPARED // n_images)
    n_compared = min(n_each, neighbors.shape[1]) * len(neighbors)
    return float(np.partition(neighbors, neighbors.size - n_compared, axis=None)[-n_compared])


# Links between files of the same bytes hold at every threshold.
_EXACT = np.float32(2.0)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Duplicates(Result):
    """Groups of images that show the same.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were compared.
    first, second : ndarray of int64, shape (n_links,)
        Links between positions in ``rows``: no more than hold the groups together.
    strengths : ndarray of float32, shape (n_links,)
        Cosine similarity of each link; 2 where the bytes are the same.
    threshold : float
        Least similarity that makes two images the same, in [-1, 1]; if none was given, of images
        that cannot be read.
    n_unread : int
        Images that have a near neighbour and whose picture could not be read: for these the
        similarity alone decided.
    provenance : Provenance
        What the result was computed from.
    closest : ClosestPairs, optional
        The pairs nearest to the threshold, by rows of the store.
    notes : tuple of Note
        What is to be said of it.
    """

    images: ImageTable
    rows: Rows
    first: Rows
    second: Rows
    strengths: npt.NDArray[np.float32]
    threshold: float
    n_unread: int
    provenance: Provenance
    closest: ClosestPairs | None = None
    notes: Notes = ()

    def at(self, threshold: float) -> Duplicates:
        """Return the groups at a higher threshold, without comparing anything again.

        Raises
        ------
        SelectionError
            If the threshold is lower than that of the search, whose pairs were not looked for.
        """
        if threshold < self.threshold:
            msg = f"pairs were looked for from {self.threshold}, got {threshold}; search again"
            raise SelectionError(msg)
        linked = self.strengths >= np.float32(threshold)
        closest = None
        if self.closest is not None:
            known = self.closest
            same = known.same & (known.similarities >= np.float32(threshold))
            closest = dataclasses.replace(known, threshold=threshold, same=same)
        return dataclasses.replace(
            self,
            closest=closest,
            first=self.first[linked],
            second=self.second[linked],
            strengths=self.strengths[linked],
            threshold=threshold,
        )

    @property
    def groups(self) -> Rows:
        """Group of each image, from 0, shape (n_images,); a single image is a group too."""
        return find_components(self.first, self.second, len(self.rows))

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Whether each image is the one kept of its group, shape (n_images,).

        It is one with a label, if there is any; of these, the one with most pixels; of these, with
        most bytes; of these, with the shortest file name, as ``A.jpg`` beside ``A (1).jpg``; of
        these, the first by SHA-256 and path, wherever it stands in the store.
        """
        # "label" keeps what is no scientific name.
        columns = [name for name in (*LABEL_COLUMNS, "label") if name in self.images.columns]
        facts = ("path", "sha256", "n_bytes", "width_px", "height_px")
        frame = self.images.take(self.rows, [*facts, *columns])
        is_labelled = np.any([frame[name].fillna("") != "" for name in columns], axis=0)
        name_sizes = np.array([len(PurePath(path).name) for path in frame["path"]], dtype=np.int64)
        width_px = frame["width_px"].to_numpy(dtype=np.int64)
        n_pixels = width_px * frame["height_px"].to_numpy(dtype=np.int64)
        places = np.argsort(self.images.order(self.rows))
        n_bytes = frame["n_bytes"].to_numpy(dtype=np.int64)
        order = np.lexsort((places, name_sizes, -n_bytes, -n_pixels, ~is_labelled, self.groups))
        _, best = np.unique(self.groups[order], return_index=True)
        kept = np.zeros(len(self.rows), dtype=bool)
        kept[order[best]] = True
        if self.images.has_regions:
            # What another picture joins is of one picture all the same, and no copy of itself.
            files = self.images.number_files(self.rows)
            places = self.groups * (files.max(initial=0) + 1) + files
            kept |= np.isin(places, places[kept])
        return kept

    @property
    def n_groups(self) -> int:
        """Number of groups of two images or more."""
        return int((np.bincount(self.groups) > 1).sum())

    @property
    def duplicate_fraction(self) -> float:
        """Share of the images that are a copy of one that is kept, in [0, 1]."""
        return float((~self.kept).mean())

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image of a group of two or more, group by group, the kept one first.

        ``kind`` is ``exact`` where another image of the group has the same bytes; ``similarity``
        is the highest to another of the group.
        """
        import pandas as pd

        groups = self.groups
        strengths = np.zeros(len(self.rows), dtype=np.float32)
        for ends in (self.first, self.second):
            np.maximum.at(strengths, ends, self.strengths)
        table = self.images.take(self.rows, ["width_px", "height_px", "n_bytes"])
        frame = pd.DataFrame(
            {
                "group": groups,
                **self.images.name_rows(self.rows),
                "kept": self.kept,
                "kind": np.where(strengths >= _EXACT, "exact", "near"),
                "similarity": np.minimum(strengths, 1).astype(np.float64).round(6),
                **{name: table[name].to_numpy() for name in ("width_px", "height_px", "n_bytes")},
                "row": self.rows,
            }
        )
        frame = frame[np.bincount(groups)[groups] > 1]
        frame = frame.sort_values(["group", "kept", "row"], ascending=[True, False, True])
        return frame.assign(group=pd.factorize(frame["group"])[0] + 1).reset_index(drop=True)

    def write(self, store: EmbeddingStore, name: str = DUPLICATES_MASK) -> None:
        """Keep the mask and the groups in the store; nothing is deleted.

        Raises
        ------
        SelectionError
            If the name cannot be used.
        StoreError
            If the disk refuses.
        """
        write_selection(
            store,
            name,
            self.rows,
            self.kept,
            columns={"group": self.groups},
            provenance=self.provenance.to_dict(),
        )


def find_duplicates(
    asked: EmbeddingStore | View,
    *,
    threshold: float | None = None,
    confirm: bool = True,
    read: Callable[[int], npt.NDArray[np.void] | None] | None = None,
) -> Duplicates:
    """Find the images that are in a store more than once.

    Two are the same where their bytes are the same, or where they look the same: pictures are
    compared whose vectors are near or whose perceptual hashes hardly differ. Where a picture cannot
    be read, the vectors alone decide. Groups are all that links join. Regions of one picture are
    no copies of each other.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose current rows are compared.
    threshold : float, optional
        Least cosine similarity of images that are the same, in [-1, 1]. By default that of
        :func:`choose_threshold`, for images that cannot be read only.
    confirm : bool
        Whether pictures are compared, as far as they are known from when they were embedded, or can
        be read. A model sees the same animal in two pictures; this sees two pictures.
    read : callable, optional
        From a row to its look, or None; reads the image file by default.

    Raises
    ------
    SelectionError
        If there is no image, or the threshold is out of range.
    """
    if threshold is not None and not -1 <= threshold <= 1:
        msg = f"a cosine similarity lies in [-1, 1], got the threshold {threshold}"
        raise SelectionError(msg)
    view = View.of(asked)
    rows, images, vectors = view.rows, view.images, view.read_vectors()
    alone, compared = _choose_thresholds(vectors, images.order(rows), threshold)
    forest = SpanningForest(len(rows))
    forest.add(*_find_exact(images, rows))
    files = images.number_files(rows) if images.has_regions else np.arange(len(rows))
    if confirm:
        looks, known = read_looks(view, read)
        likeness = Likeness(looks)
    else:
        known = np.zeros(len(rows), dtype=bool)
    is_doubtful = np.zeros(len(rows), dtype=bool)
    # What has no hash is a copy of nothing by its bytes.
    hashes = images.contents[rows]
    contents = np.where(hashes == "", [f"row {row}" for row in rows], hashes)
    lowest = min(alone, compared) if known.any() else alone
    closest = ClosestPairs.none(alone)
    # A little below, so that a person sees what the threshold leaves out.
    for first, second, similarities in _gather(iter_near_pairs(vectors, lowest - MARGIN)):
        both = known[first] & known[second]
        linked = ~both & (similarities >= np.float32(alone))
        is_doubtful[first[linked]] = is_doubtful[second[linked]] = True
        near = both & (similarities >= np.float32(lowest))
        if near.any():
            linked[near] = likeness.compare(first[near], second[near])
        apart = files[first] != files[second]
        linked &= apart
        forest.add(first[linked], second[linked], similarities[linked])
        shown = apart & (contents[first] != contents[second])
        closest = closest.add(
            rows[first[shown]], rows[second[shown]], similarities[shown], linked[shown],
            both[shown],
        )  # fmt: skip
    if known.any():
        first, second = likeness.find_alike_hashes()
        similarities = _multiply(vectors, first, second)
        near = similarities >= np.float32(-1 if threshold is None else threshold)
        near &= files[first] != files[second]
        first, second, similarities = first[near], second[near], similarities[near]
        # A part of a picture has another hash.
        same = likeness.compare(first, second, parts=False)
        forest.add(first[same], second[same], similarities[same])
    provenance = view.describe(
        {
            "threshold": alone,
            "threshold_is_chosen": threshold is None,
            "compared_from": lowest,
            "confirm": confirm,
            "min_correlation": MIN_CORRELATION,
            "max_bits": MAX_DIFFERING_BITS,
        }
    )
    n_unread = int((is_doubtful & ~known).sum()) if confirm else 0
    return Duplicates(images, rows, *forest.links, alone, n_unread, provenance, closest)


def _choose_thresholds(vectors: Vectors, order: Rows, given: float | None) -> tuple[float, float]:
    """Return the least similarity where vectors decide alone, and where pictures are compared."""
    if given is not None:
        return given, given
    if len(order) < 2:
        return DEFAULT_THRESHOLD, DEFAULT_THRESHOLD
    n_sampled = min(len(order), _SAMPLED_ROWS)
    neighbors = sample_neighbors(
        vectors, order[np.linspace(0, len(order) - 1, n_sampled).astype(int)]
    )
    alone = choose_threshold(neighbors)
    return alone, min(alone, choose_compared(neighbors, len(vectors)))


def read_looks(
    view: View, read: Callable[[int], npt.NDArray[np.void] | None] | None = None
) -> tuple[npt.NDArray[np.void], Mask]:
    """Return what the pictures of a view look like.

    Those that were not kept when they were embedded are read now, and kept.

    Parameters
    ----------
    view : View
    read : callable, optional
        As for :func:`find_duplicates`.

    Returns
    -------
    looks : ndarray of :data:`~bioprobe.images.looks.LOOK`, shape (n_images,)
        Zeros where a picture could not be read.
    known : ndarray of bool, shape (n_images,)
    """
    return read_seen(view, LOOKS, look_at, read)


def _gather(
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


def _multiply(vectors: Vectors, first: Rows, second: Rows) -> Vectors:
    similarities = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), _MULTIPLIED_AT_ONCE):
        block = slice(start, start + _MULTIPLIED_AT_ONCE)
        similarities[block] = np.einsum("ij,ij->i", vectors[first[block]], vectors[second[block]])
    return np.minimum(similarities, np.float32(1))


def _find_exact(images: ImageTable, rows: Rows) -> tuple[Rows, Rows, npt.NDArray[np.float32]]:
    hashes = images.contents[rows]
    _, firsts, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    second = np.arange(len(rows))
    first = firsts[inverse]
    # What was imported may have no hash.
    linked = (first < second) & (hashes != "")
    if images.has_regions:
        files = images.number_files(rows)
        # One picture's own rows are no copies of each other.
        linked &= files[first] != files[second]
    return first[linked], second[linked], np.full(int(linked.sum()), _EXACT)
