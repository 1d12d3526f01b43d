"""Images that are in a store more than once: the same bytes, or the same picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.engines import Engine
from bioprobe.errors import SelectionError
from bioprobe.images import ImageTable
from bioprobe.images.looks import look_at
from bioprobe.intervals import Interval
from bioprobe.provenance import Provenance
from bioprobe.quality.closest import MARGIN, ClosestPairs
from bioprobe.quality.likeness import MAX_DIFFERING_BITS, MIN_CORRELATION, Likeness
from bioprobe.quality.near_cells import FEWEST_ROWS, NearPairs
from bioprobe.quality.near_pairs import SpanningForest, Vectored, find_nearest, gather_pairs
from bioprobe.quality.seeing import read_seen
from bioprobe.result import Notes, Result
from bioprobe.splits.groups import find_components
from bioprobe.store import EmbeddingStore
from bioprobe.store.look_cache import LOOKS
from bioprobe.store.selections import DUPLICATES_MASK, write_selection
from bioprobe.store.view import View
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.types import Mask, Places, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd

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


def sample_neighbors(vectors: Vectored, rows: Rows, engine: Engine | None = None) -> Vectors:
    """Return the similarities of some rows to their nearest, the greatest first.

    Parameters
    ----------
    vectors : Vectored
        Of shape (n_images, dim), unit rows.
    rows : ndarray of int64, shape (n_asked,)
    engine : Engine, optional
        Where they are compared, by default here.

    Returns
    -------
    ndarray of float32, shape (n_asked, n_neighbors)
        Of the others; at most 64.
    """
    return find_nearest(vectors, rows, _SAMPLED_NEIGHBORS, engine)[1]


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


_MULTIPLIED_AT_ONCE = 65_536

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
    recall : Interval, optional
        Where there were too many images to look for every near pair: which share of these is found,
        as measured on sampled images.
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
    recall: Interval | None = None
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

    @cached_property
    def groups(self) -> Rows:
        """Group of each image, from 0, shape (n_images,); a single image is a group too."""
        return find_components(self.first, self.second, len(self.rows))

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Whether each image is the one kept of its group, shape (n_images,).

        It is one with a label, if there is any; of these, the one with most pixels; of these, with
        most bytes; of these, with the shortest file name, as ``A.jpg`` beside ``A (1).jpg``; of
        these, the first by SHA-256 and path, wherever it stands in the store.
        """
        shared = self._shared
        rows, groups = self.rows[shared], self.groups[shared]
        # "label" keeps what is no scientific name.
        columns = [name for name in (*LABEL_COLUMNS, "label") if name in self.images.columns]
        frame = self.images.take(rows, ["path", "n_bytes", "width_px", "height_px", *columns])
        is_labelled = np.any([frame[name].fillna("") != "" for name in columns], axis=0)
        name_sizes = np.array([len(PurePath(path).name) for path in frame["path"]], dtype=np.int64)
        width_px = frame["width_px"].to_numpy(dtype=np.int64)
        n_pixels = width_px * frame["height_px"].to_numpy(dtype=np.int64)
        places = np.argsort(self.images.order(rows))
        n_bytes = frame["n_bytes"].to_numpy(dtype=np.int64)
        order = np.lexsort((places, name_sizes, -n_bytes, -n_pixels, ~is_labelled, groups))
        _, best = np.unique(groups[order], return_index=True)
        is_best = np.zeros(len(rows), dtype=bool)
        is_best[order[best]] = True
        if self.images.has_regions:
            # What another picture joins is of one picture all the same, and no copy of itself.
            files = self.images.number_files(rows)
            places = groups * (files.max(initial=0) + 1) + files
            is_best |= np.isin(places, places[is_best])
        kept = np.ones(len(self.rows), dtype=bool)
        kept[shared] = is_best
        return kept

    @cached_property
    def _shared(self) -> Places:
        """Places of the images of groups of two or more: of others nothing is to be read."""
        return np.flatnonzero(np.bincount(self.groups)[self.groups] > 1)

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

        shared = self._shared
        rows = self.rows[shared]
        strengths = np.zeros(len(self.rows), dtype=np.float32)
        for ends in (self.first, self.second):
            np.maximum.at(strengths, ends, self.strengths)
        strengths = strengths[shared]
        table = self.images.take(rows, ["width_px", "height_px", "n_bytes"])
        frame = pd.DataFrame(
            {
                "group": self.groups[shared],
                **self.images.name_rows(rows),
                "kept": self.kept[shared],
                "kind": np.where(strengths >= _EXACT, "exact", "near"),
                "similarity": np.minimum(strengths, 1).astype(np.float64).round(6),
                **{name: table[name].to_numpy() for name in ("width_px", "height_px", "n_bytes")},
                "row": rows,
            }
        )
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
    rows, images = view.rows, view.images
    # Many are read where they are compared; few are compared here, whatever the engine.
    is_few = len(rows) < FEWEST_ROWS
    vectors = view.read_vectors() if is_few else _ViewVectors(view)
    engine = None if is_few else view.engine
    order = images.order(rows)
    alone, compared = _choose_thresholds(vectors, order, threshold, engine)
    forest = SpanningForest(len(rows))
    contents = images.number_contents(rows)
    forest.add(*_find_exact(images, rows, contents))
    files = images.number_files(rows) if images.has_regions else np.arange(len(rows))
    if confirm:
        looks, known = read_looks(view, read)
        likeness = Likeness(looks)
    else:
        known = np.zeros(len(rows), dtype=bool)
    is_doubtful = np.zeros(len(rows), dtype=bool)
    lowest = min(alone, compared) if known.any() else alone
    closest = ClosestPairs.none(alone)
    # A little below, so that a person sees what the threshold leaves out.
    pairs = NearPairs.choose(vectors, lowest - MARGIN, order, engine)
    for first, second, similarities in gather_pairs(pairs.iter_blocks(view.progress)):
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
            "all_pairs": pairs.recall is None,
        }
    )
    n_unread = int((is_doubtful & ~known).sum()) if confirm else 0
    return Duplicates(
        images, rows, *forest.links, alone, n_unread, provenance, closest, pairs.recall
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _ViewVectors:
    """Vectors of a view, read where they are asked for by position."""

    view: View

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, positions: Rows | slice) -> Vectors:
        return self.view.read_vectors(self.view.rows[positions])


def _choose_thresholds(
    vectors: Vectored, order: Rows, given: float | None, engine: Engine | None
) -> tuple[float, float]:
    """Return the least similarity where vectors decide alone, and where pictures are compared."""
    if given is not None:
        return given, given
    if len(order) < 2:
        return DEFAULT_THRESHOLD, DEFAULT_THRESHOLD
    n_sampled = min(len(order), _SAMPLED_ROWS)
    neighbors = sample_neighbors(
        vectors, order[np.linspace(0, len(order) - 1, n_sampled).astype(int)], engine
    )
    alone = choose_threshold(neighbors)
    return alone, min(alone, choose_compared(neighbors, len(vectors)))


def read_looks(
    view: View, read: Callable[[int], npt.NDArray[np.void] | None] | None = None
) -> tuple[npt.NDArray[np.void], Mask]:
    """Return what the pictures of a view look like.

    Those that were not kept when they were embedded are read now, and kept.

    Returns
    -------
    looks : ndarray of :data:`~bioprobe.images.looks.LOOK`, shape (n_images,)
        Zeros where a picture could not be read.
    known : ndarray of bool, shape (n_images,)
    """
    return read_seen(view, LOOKS, look_at, read)


def _multiply(vectors: Vectored, first: Rows, second: Rows) -> Vectors:
    similarities = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), _MULTIPLIED_AT_ONCE):
        block = slice(start, start + _MULTIPLIED_AT_ONCE)
        similarities[block] = np.einsum("ij,ij->i", vectors[first[block]], vectors[second[block]])
    return np.minimum(similarities, np.float32(1))


def _find_exact(
    images: ImageTable, rows: Rows, contents: Places
) -> tuple[Rows, Rows, npt.NDArray[np.float32]]:
    second = np.arange(len(rows))
    # What was imported may have no hash, and is a copy of nothing by its bytes.
    known = np.flatnonzero(contents >= 0)
    firsts = np.zeros(int(contents.max(initial=-1)) + 1, dtype=np.int64)
    firsts[contents[known[::-1]]] = known[::-1]
    first = second.copy()
    first[known] = firsts[contents[known]]
    linked = first < second
    if images.has_regions:
        files = images.number_files(rows)
        # One picture's own rows are no copies of each other.
        linked &= files[first] != files[second]
    return first[linked], second[linked], np.full(int(linked.sum()), _EXACT)
