"""Images that are in a store more than once: the same bytes, or the same picture."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ImageReadError, SelectionError, SourceError
from bioprobe.images import ImageTable
from bioprobe.images.location import ImageLocation
from bioprobe.images.reading import decode_image, ignore_pillow_warnings
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.splits.groups import find_components
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import DUPLICATES_MASK, write_selection
from bioprobe.store.view import View
from bioprobe.types import Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from PIL import Image


# A block of similarities is 32 MB; if all of them are pairs, these are another 200 MB.
_BLOCK_ROWS, _BLOCK_COLUMNS = 2048, 4096
_PAIRS_AT_ONCE = 4_000_000
# To look coarsely first, bf16 has to be worth the measurement and this many times as fast.
_FEWEST_ROWS, _LEAST_GAIN = 8192, 2.0
_MEASURED_ROWS = 2048
# MKL changes its way below 16 rows.
_FEWEST_AT_ONCE = 64


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


_SIDE = 8
_BITS_OF_BYTE = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)


def hash_picture(image: Image.Image) -> int:
    """Return the difference hash of a picture: where brightness rises from left to right.

    Parameters
    ----------
    image : PIL.Image.Image
        In any mode.

    Returns
    -------
    int
        64 bits, row by row from the top left, the first the highest.

    References
    ----------
    N. Krawetz 2013, *Kind of Like That*: a bit is set where a pixel is darker than the one to its
    right, on a picture of 9 by 8 pixels.

    Examples
    --------
    >>> from PIL import Image
    >>> rising = Image.fromarray(np.tile(np.arange(9, dtype=np.uint8), (8, 1)))
    >>> hex(hash_picture(rising)), hash_picture(rising.transpose(Image.Transpose.ROTATE_180))
    ('0xffffffffffffffff', 0)
    """
    from PIL import Image

    small = image.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(small)
    bits = pixels[:, 1:] > pixels[:, :-1]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def read_hash(place: ImageLocation) -> int | None:
    """Return the hash of an image file, or None where it cannot be read."""
    try:
        with ignore_pillow_warnings():
            return hash_picture(decode_image(place.read_bytes()))
    except (ImageReadError, SourceError, OSError, ValueError):
        return None


def count_differing_bits(
    one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Count the bits in which hashes differ, 0 to 64.

    Examples
    --------
    >>> count_differing_bits(np.array([0b1011], np.uint64), np.array([0b0001], np.uint64)).tolist()
    [2]
    """
    differing = np.ascontiguousarray(one ^ other).view(np.uint8).reshape(len(one), 8)
    return np.asarray(_BITS_OF_BYTE[differing].sum(axis=1), dtype=np.int64)


DEFAULT_THRESHOLD = 0.95
# Of 64; ImageHash's users count a picture and its smaller or recompressed copy within 10.
MAX_DIFFERING_BITS = 10
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
        Least similarity that makes two images the same, in [-1, 1].
    n_unread : int
        Images that had a near neighbour but whose file could not be read to confirm it: for
        these the similarity alone decided.
    provenance : Provenance
        What the result was computed from.
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
        return dataclasses.replace(
            self,
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

        It is the one with most pixels; of these, with most bytes; of these, the first by SHA-256
        and path, wherever it stands in the store.
        """
        frame = self.images.frame.iloc[self.rows]
        width_px = frame["width_px"].to_numpy(dtype=np.int64)
        n_pixels = width_px * frame["height_px"].to_numpy(dtype=np.int64)
        places = np.argsort(self.images.order(self.rows))
        n_bytes = frame["n_bytes"].to_numpy(dtype=np.int64)
        order = np.lexsort((places, -n_bytes, -n_pixels, self.groups))
        _, best = np.unique(self.groups[order], return_index=True)
        kept = np.zeros(len(self.rows), dtype=bool)
        kept[order[best]] = True
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
        table = self.images.frame.iloc[self.rows]
        frame = pd.DataFrame(
            {
                "group": groups,
                "file_name": self.images.name_files(self.rows),
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
    threshold: float = DEFAULT_THRESHOLD,
    confirm: bool = True,
    read: Callable[[int], int | None] | None = None,
) -> Duplicates:
    """Find the images that are in a store more than once.

    Two are the same where their bytes are the same, or where their vectors have at least a
    cosine similarity and the pictures look alike. Groups are all that links join.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose current rows are compared.
    threshold : float
        Least cosine similarity, in [-1, 1].
    confirm : bool
        Whether near images must also have like difference hashes, as far as their files can be
        read. A model sees the same animal in two pictures; the hash sees two pictures.
    read : callable, optional
        From a row to its hash, or None; reads the image file by default.

    Raises
    ------
    SelectionError
        If there is no image, or the threshold is out of range.
    """
    if not -1 <= threshold <= 1:
        msg = f"a cosine similarity lies in [-1, 1], got the threshold {threshold}"
        raise SelectionError(msg)
    view = View.of(asked)
    rows, images = view.rows, view.images
    hashes = _Hashes(rows, read or (lambda row: read_hash(images.locate(row))))
    forest = SpanningForest(len(rows))
    forest.add(*_find_exact(images, rows))
    for first, second, similarities in iter_near_pairs(view.read_vectors(), threshold):
        alike = hashes.compare(first, second) if confirm else np.ones(len(first), dtype=bool)
        forest.add(first[alike], second[alike], similarities[alike])
    provenance = view.describe(
        {"threshold": threshold, "confirm": confirm, "max_bits": MAX_DIFFERING_BITS}
    )
    return Duplicates(images, rows, *forest.links, threshold, hashes.n_unread, provenance)


class _Hashes:
    """Hashes of the images that are asked for, each file read once."""

    def __init__(self, rows: Rows, read: Callable[[int], int | None]) -> None:
        self._rows, self._read = rows, read
        self._asked = np.zeros(len(rows), dtype=bool)
        self._known = np.zeros(len(rows), dtype=bool)
        self._values = np.zeros(len(rows), dtype=np.uint64)

    @property
    def n_unread(self) -> int:
        return int((self._asked & ~self._known).sum())

    def compare(self, first: Rows, second: Rows) -> npt.NDArray[np.bool_]:
        ends = np.unique(np.concatenate([first, second]))
        for position in ends[~self._asked[ends]]:
            value = self._read(int(self._rows[position]))
            self._known[position] = value is not None
            self._values[position] = value or 0
        self._asked[ends] = True
        differing = count_differing_bits(self._values[first], self._values[second])
        unknown = ~self._known[first] | ~self._known[second]
        return np.asarray(unknown | (differing <= MAX_DIFFERING_BITS))


def _find_exact(images: ImageTable, rows: Rows) -> tuple[Rows, Rows, npt.NDArray[np.float32]]:
    hashes = images.frame["sha256"].to_numpy(dtype=str)[rows]
    _, firsts, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    second = np.arange(len(rows))
    first = firsts[inverse]
    # What was imported may have no hash.
    linked = (first < second) & (hashes != "")
    return first[linked], second[linked], np.full(int(linked.sum()), _EXACT)
