"""Whether two pictures are one: the same, re-saved, made smaller, cropped, or without colour."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from bioprobe.images.looks import SIDE_PX
from bioprobe.types import Mask, Places, Rows, Vectors

# Side of the pictures that are compared, and the parts of a side that a crop may have left.
_FINE_PX, _FINE_LENGTHS = 16, (1.0, 0.95, 0.9, 0.85, 0.8)
# Looked at coarsely first: of photographs that are near by their vectors, one in 250 goes on.
_COARSE_PX, _COARSE_LENGTHS, _COARSE_CORRELATION = 8, (1.0, 0.9, 0.8), 0.9
# A part begins at a multiple of this.
_STEP = 0.05
#: Least correlation of two pictures, one of them cropped as fits best. Of copies cut by a tenth or
#: a fifth it was .98 and more, of other photographs .91 at most.
MIN_CORRELATION = 0.95
# Grey levels: a picture without contrast is like every other.
_LEAST_DEVIATION = 2.0
_IMAGES_AT_ONCE, _CROPPED_AT_ONCE, _PAIRS_AT_ONCE = 4096, 128, 65536

#: Of 64 bits; a smaller, recompressed or grey copy differed in 2 at most, of 500,000 pairs of
#: photographs 2 in no more than this.
MAX_DIFFERING_BITS = 6
_HASH_SIDE = 8
_HASH_TABLES, _BITS_A_TABLE = 4, 16
# Images of one hash that each is compared with.
_NEXT_OF_HASH = 4


class Likeness:
    """Compare pictures by their looks.

    Two show the same where their correlation is high, be it that one is a part of the other of at
    least 0.8 of each side. Pictures of text and pictures without contrast never do: what makes two
    of them differ is not seen at this size.

    Parameters
    ----------
    looks : ndarray of :data:`~bioprobe.images.looks.LOOK`, shape (n_images,)
    """

    def __init__(self, looks: npt.NDArray[np.void]) -> None:
        n = len(looks)
        self._grey = looks["grey"]
        self._is_telling = ~looks["is_text"]
        self._small = np.empty((n, _COARSE_PX**2), dtype=np.float32)
        self._hashes = np.empty(n, dtype=np.uint64)
        for start in range(0, n, _IMAGES_AT_ONCE):
            block = slice(start, start + _IMAGES_AT_ONCE)
            grey = self._grey[block].astype(np.float32)
            self._is_telling[block] &= grey.std(axis=(1, 2)) >= _LEAST_DEVIATION
            self._small[block] = _normalise(_resample(grey, _COARSE_PX, whole=True))[:, 0]
            self._hashes[block] = hash_pictures(grey)

    def compare(self, first: Places, second: Places, *, parts: bool = True) -> Mask:
        """Tell which pairs of pictures show the same.

        Parameters
        ----------
        first, second : ndarray of int64, shape (n_pairs,)
            Positions in the looks.
        parts : bool
            Whether one may be a part of the other.

        Returns
        -------
        ndarray of bool, shape (n_pairs,)
        """
        same = np.zeros(len(first), dtype=bool)
        left = np.flatnonzero(self._is_telling[first] & self._is_telling[second])
        for at in range(0, len(left), _PAIRS_AT_ONCE):
            pairs = left[at : at + _PAIRS_AT_ONCE]
            places, which = np.unique([first[pairs], second[pairs]], return_inverse=True)
            one, other = which.reshape(2, -1)
            fine = self._shrink(places)
            same[pairs] = (fine[one] * fine[other]).sum(axis=1) >= MIN_CORRELATION
        for one, other in ((first, second), (second, first)) if parts else ():
            left = left[~same[left]]
            near = left[self._compare_parts(one[left], other[left], self._small)]
            places, which = np.unique(other[near], return_inverse=True)
            same[near] = self._compare_parts(one[near], which, self._shrink(places))
        return same

    def _shrink(self, places: Places) -> Vectors:
        """Return pictures at the finer size, of which not all are in memory."""
        fine = np.empty((len(places), _FINE_PX**2), dtype=np.float32)
        for start in range(0, len(places), _IMAGES_AT_ONCE):
            block = slice(start, start + _IMAGES_AT_ONCE)
            grey = self._grey[places[block]].astype(np.float32)
            fine[block] = _normalise(_resample(grey, _FINE_PX, whole=True))[:, 0]
        return fine

    def find_alike_hashes(self) -> tuple[Rows, Rows]:
        """Find the pairs of pictures whose perceptual hashes hardly differ.

        Returns
        -------
        first, second : ndarray of int64, shape (n_pairs,)
            Positions, ``first < second``. Of the images of one hash each is paired with the next
            few, of hashes that differ a little the first image of each.
        """
        import faiss

        places = np.flatnonzero(self._is_telling)
        if len(places) < 2:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        codes = self._hashes[places]
        order = np.argsort(codes, kind="stable")
        pairs = []
        for step in range(1, _NEXT_OF_HASH + 1):
            same = codes[order[step:]] == codes[order[:-step]]
            pairs.append((order[:-step][same], order[step:][same]))
        distinct, firsts = np.unique(codes, return_index=True)
        packed = distinct.view(np.uint8).reshape(-1, 8)
        # Of four parts one differs in a bit at most, where all differ in seven or less.
        index = faiss.IndexBinaryMultiHash(64, _HASH_TABLES, _BITS_A_TABLE)
        index.nflip = 1
        index.add(packed)
        limits, _, found = index.range_search(packed, MAX_DIFFERING_BITS + 1)
        n_found = limits[1:].astype(np.int64) - limits[:-1].astype(np.int64)
        asked = np.repeat(np.arange(len(distinct)), n_found)
        ahead = asked < found
        pairs.append((firsts[asked[ahead]], firsts[found[ahead]]))
        one, other = (places[np.concatenate(part)] for part in zip(*pairs, strict=True))
        return np.minimum(one, other), np.maximum(one, other)

    def _compare_parts(self, whole: Places, part: Places, pictures: Vectors) -> Mask:
        """Tell which of the looks have a part that is like another of ``pictures``, at its size."""
        same = np.zeros(len(whole), dtype=bool)
        order = np.argsort(whole, kind="stable")
        images, starts = np.unique(whole[order], return_index=True)
        ends = np.append(starts[1:], len(order))
        side_px = math.isqrt(pictures.shape[1])
        least = _COARSE_CORRELATION if side_px == _COARSE_PX else MIN_CORRELATION
        for at in range(0, len(images), _CROPPED_AT_ONCE):
            block = slice(at, at + _CROPPED_AT_ONCE)
            crops = _normalise(_resample(self._grey[images[block]].astype(np.float32), side_px))
            for crop, start, end in zip(crops, starts[block], ends[block], strict=True):
                pairs = order[start:end]
                same[pairs] = (crop @ pictures[part[pairs]].T).max(axis=0) >= least
        return same


def hash_pictures(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """Return the perceptual hashes of pictures: which low frequencies are above their median.

    Parameters
    ----------
    grey : ndarray of float32, shape (n_images, SIDE_PX, SIDE_PX)

    Returns
    -------
    ndarray of uint64, shape (n_images,)

    References
    ----------
    Zauner 2010, *Implementation and Benchmarking of Perceptual Image Hash Functions*, section 3.2;
    the sizes are those of the library ImageHash.
    """
    from scipy.fft import dctn

    waves = dctn(grey, axes=(1, 2))[:, :_HASH_SIDE, :_HASH_SIDE].reshape(len(grey), -1)
    bits = waves > np.median(waves, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


@functools.cache
def _make_windows(side_px: int) -> npt.NDArray[np.float32]:
    """Return what takes parts out of a side, the whole first: shape (n_parts, side_px, SIDE_PX)."""
    parts = [
        (start * _STEP, length)
        for length in (_COARSE_LENGTHS if side_px == _COARSE_PX else _FINE_LENGTHS)
        for start in range(round((1 - length) / _STEP) + 1)
    ]
    pool = np.kron(np.eye(side_px), np.full((1, SIDE_PX // side_px), side_px / SIDE_PX))
    windows = []
    for start, length in parts:
        centres = (start + length * (np.arange(SIDE_PX) + 0.5) / SIDE_PX) * SIDE_PX - 0.5
        at = np.clip(centres, 0, SIDE_PX - 1)
        lower = np.minimum(at.astype(int), SIDE_PX - 2)
        weights = np.zeros((SIDE_PX, SIDE_PX))
        weights[np.arange(SIDE_PX), lower] = 1 - (at - lower)
        weights[np.arange(SIDE_PX), lower + 1] = at - lower
        windows.append(pool @ weights)
    return np.array(windows, dtype=np.float32)


def _resample(
    grey: npt.NDArray[np.float32], side_px: int, *, whole: bool = False
) -> npt.NDArray[np.float32]:
    """Return all parts of pictures, the whole first or alone: shape (n, n_parts, side_px ** 2)."""
    windows = _make_windows(side_px)[: 1 if whole else None]
    n_parts, flat = len(windows), windows.reshape(-1, SIDE_PX)
    parts = np.matmul(np.matmul(flat, grey), flat.T)
    parts = parts.reshape(len(grey), n_parts, side_px, n_parts, side_px).transpose(0, 1, 3, 2, 4)
    return np.asarray(parts.reshape(len(grey), n_parts**2, side_px**2))


def _normalise(parts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = parts - parts.mean(axis=-1, keepdims=True)
    lengths = np.sqrt((centred * centred).sum(axis=-1, keepdims=True))
    # A part without contrast is like nothing.
    least = np.float32(_LEAST_DEVIATION * parts.shape[-1] ** 0.5)
    return np.asarray(np.where(lengths < least, 0, centred / np.maximum(lengths, least)))
