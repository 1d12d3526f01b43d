"""Rows on their way into the next shard of a store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import Encoder
from bioprobe.store import EmbeddingStore

# A shard is closed after so many images or so much time, whichever comes first: the most that a
# crash can lose.
SHARD_IMAGES = 4096
SHARD_SECONDS_S = 60.0


class ShardBuffer:
    """Collect rows, encode their pixels in batches, and append them to the store as shards.

    Parameters
    ----------
    store : EmbeddingStore
        Store to append to; the attribute of that name is always the newest.
    encoder : Encoder
        Encoder of the store.
    batch_size : int
        Images that the encoder sees at once, ≥ 1.
    """

    def __init__(self, store: EmbeddingStore, encoder: Encoder, batch_size: int) -> None:
        self.store = store
        self._encoder = encoder
        self._batch_size = batch_size
        hashes = store.images.frame["sha256"]
        #: Row of each known file content.
        self.row_of_sha256: dict[str, int] = {
            sha256: row for row, sha256 in enumerate(hashes) if sha256
        }
        self._begin_shard()

    def knows(self, sha256: str) -> bool:
        """Tell whether the vector of a file's content is in the store or on its way."""
        waiting = sha256 in self._pixels or sha256 in self._vectors
        return waiting or sha256 in self.row_of_sha256

    def add(
        self,
        row: Mapping[str, Any],
        pixels: npt.NDArray[np.float32] | None,
        *,
        replaces: int | None = None,
    ) -> None:
        """Add one row of the image table.

        Parameters
        ----------
        row : mapping
            Columns of the image table.
        pixels : ndarray of float32, shape (3, height_px, width_px), or None
            Not needed when :meth:`knows` says that the content is known.
        replaces : int, optional
            Row that this one retires.
        """
        sha256 = row["sha256"]
        if sha256 in self.row_of_sha256:
            known_row = np.array([self.row_of_sha256[sha256]])
            self._vectors[sha256] = self.store.read_vectors(known_row)[0]
        elif pixels is not None and sha256 not in self._vectors:
            self._pixels[sha256] = pixels
        self._rows.append(row)
        if replaces is not None:
            self._retired.append(replaces)
        if len(self._pixels) >= self._batch_size:
            self._encode()
        age_s = time.monotonic() - self._start_s
        if len(self._rows) >= SHARD_IMAGES or age_s > SHARD_SECONDS_S:
            self.close_shard()

    def close_shard(self) -> None:
        """Encode what waits and append it; nothing happens when nothing waits."""
        import pandas as pd

        self._encode()
        if self._rows:
            vectors = np.stack([self._vectors[row["sha256"]] for row in self._rows])
            first_row = len(self.store)
            frame = pd.DataFrame(self._rows)
            self.store = self.store.append(frame, vectors, retired=self._retired)
            for row, content in enumerate(frame["sha256"], start=first_row):
                self.row_of_sha256.setdefault(content, row)
        self._begin_shard()

    def _encode(self) -> None:
        if self._pixels:
            vectors = self._encoder.encode_pixels(np.stack(list(self._pixels.values())))
            self._vectors.update(zip(self._pixels, vectors, strict=True))
            self._pixels.clear()

    def _begin_shard(self) -> None:
        self._rows: list[Mapping[str, Any]] = []
        self._pixels: dict[str, npt.NDArray[np.float32]] = {}
        self._vectors: dict[str, npt.NDArray[np.float32]] = {}
        self._retired: list[int] = []
        self._start_s = time.monotonic()
