"""The images that several stores hold."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MismatchError
from bioprobe.probes.probe import Vectors
from bioprobe.store import EmbeddingStore

Rows = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class SharedImages:
    """Images with their row in each of several stores.

    Parameters
    ----------
    stores : tuple of EmbeddingStore
        Stores of the same images.
    rows : ndarray of int64, shape (n_images, n_stores)
        Row of each image in each store.
    n_missing : tuple of int
        Of each store but the first, how many of the images asked for it lacks; an image that two
        of them lack is counted in both.
    """

    stores: tuple[EmbeddingStore, ...]
    rows: Rows
    n_missing: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept: npt.NDArray[np.bool_]) -> Self:
        """Return some of the images."""
        return dataclasses.replace(self, rows=self.rows[kept])

    def divide(self, n_at_once: int) -> Iterator[Self]:
        """Return the images some at a time.

        Yields
        ------
        SharedImages
            An empty one where there is no image.
        """
        for start in range(0, max(1, len(self)), n_at_once):
            yield dataclasses.replace(self, rows=self.rows[start : start + n_at_once])

    def read_vectors(self) -> list[Vectors]:
        """Read the vectors of the images, of each store an array of shape (n_images, dim)."""
        return [store.read_vectors(self.rows[:, place]) for place, store in enumerate(self.stores)]


def find_shared_images(stores: Sequence[EmbeddingStore], rows: Rows) -> SharedImages:
    """Find which images of the first store the others hold too.

    Images are known by the SHA-256 of their bytes. Where one of the two stores does not have it,
    as of imported vectors, they are known by a path that only one image of each store has.

    Parameters
    ----------
    stores : sequence of EmbeddingStore
        The images that are current in each take part.
    rows : ndarray of int64, shape (n,)
        Rows of the first.

    Raises
    ------
    MismatchError
        If a store has none of the images.
    """
    first = stores[0]
    columns = [np.asarray(rows, dtype=np.int64)]
    for other in stores[1:]:
        columns.append(_find_rows(first, columns[0], other))
        if len(rows) and not (columns[-1] >= 0).any():
            msg = (
                f"{other.folder} holds none of the {len(rows):,} images of {first.folder} that "
                "are asked for: by neither the SHA-256 of their bytes nor, where that is unknown, "
                "their paths; embed the same images into it"
            )
            raise MismatchError(msg)
    places = np.stack(columns, axis=1)
    n_missing = tuple(int((column < 0).sum()) for column in columns[1:])
    return SharedImages(tuple(stores), places[(places >= 0).all(axis=1)], n_missing)


def _find_rows(store: EmbeddingStore, rows: Rows, other: EmbeddingStore) -> Rows:
    """Return the row of each image in another store, -1 where it is not there."""
    frame, there = store.images.frame, other.images.frame.iloc[other.rows]
    by_bytes = dict(zip(there["sha256"], other.rows.tolist(), strict=True))
    times = collections.Counter(there["path"])
    by_path = {
        path: (row, sha256)
        for path, row, sha256 in zip(there["path"], other.rows.tolist(), there["sha256"],
                                     strict=True)
        if times[path] == 1
    }  # fmt: skip
    times_here = collections.Counter(frame["path"].iloc[store.rows])
    asked = frame.iloc[rows]
    found = np.full(len(rows), -1, dtype=np.int64)
    for place, (sha256, path) in enumerate(zip(asked["sha256"], asked["path"], strict=True)):
        row, its = by_path.get(path, (-1, ""))
        if sha256 and sha256 in by_bytes:
            found[place] = by_bytes[sha256]
        elif not (sha256 and its) and times_here[path] == 1:
            found[place] = row
    return found
