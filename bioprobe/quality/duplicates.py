"""Images that are in a store more than once: the same bytes, or the same picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ImageReadError, SelectionError, SourceError
from bioprobe.images import ImageTable
from bioprobe.images.location import ImageLocation
from bioprobe.images.reading import decode_image, ignore_pillow_warnings
from bioprobe.provenance import Provenance
from bioprobe.quality.near_pairs import SpanningForest, iter_near_pairs
from bioprobe.result import Notes, Result
from bioprobe.splits.groups import find_components
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import DUPLICATES_MASK, write_selection
from bioprobe.store.view import View
from bioprobe.types import Rows

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image


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

        It is the one with most pixels; of these, with most bytes; of these, the first.
        """
        frame = self.images.frame.iloc[self.rows]
        width_px = frame["width_px"].to_numpy(dtype=np.int64)
        n_pixels = width_px * frame["height_px"].to_numpy(dtype=np.int64)
        order = np.lexsort((-frame["n_bytes"].to_numpy(dtype=np.int64), -n_pixels, self.groups))
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
                "file_name": table["path"].to_numpy(),
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
