"""Pictures that are asked of a store without being in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import StoreError
from bioprobe.images.image_table import ImageTable
from bioprobe.store.embedding_store import EmbeddingStore

if TYPE_CHECKING:
    from bioprobe.types import Vectors


class HeldPictures(EmbeddingStore):
    """Vectors in memory, asked as if they were rows of a store: by its labels, taxa and probes.

    Nothing of them is ever written.

    Parameters
    ----------
    store : EmbeddingStore
        Of whose encoder they are.
    names : sequence of str
        What each picture is called.
    vectors : ndarray of float32, shape (n_pictures, dim), unit rows
    """

    def __init__(self, store: EmbeddingStore, names: Sequence[str], vectors: Vectors) -> None:
        manifest = dataclasses.replace(store.manifest, shards=(), retired=(), removals=())
        super().__init__(store.folder, manifest)
        self._vectors = vectors
        # What they are compared with is what the store knows.
        self.__dict__["given"] = _name(names)
        for name in ("labelled", "labelled_taxa", "label_contradictions"):
            self.__dict__[name] = getattr(store, name)

    def __len__(self) -> int:
        return len(self._vectors)

    def read_vectors(self, rows: npt.NDArray[np.int64] | None = None) -> Vectors:
        """Return their vectors, or those of some."""
        return self._vectors if rows is None else self._vectors[rows]

    def check_current(self) -> None:
        """Refuse to write.

        Raises
        ------
        StoreError
            Always.
        """
        msg = "pictures that are only asked have no store to write to; embed them first"
        raise StoreError(msg)


@lru_cache(maxsize=1)
def _build_empty() -> ImageTable:
    """Return a table of one picture of which nothing is known; it takes milliseconds to build."""
    import pandas as pd

    return ImageTable.build(pd.DataFrame({"path": [""]}, dtype=object))


def _name(names: Sequence[str]) -> ImageTable:
    """Return a table of pictures of which nothing is known but what they are called."""
    import pandas as pd

    frame = _build_empty().frame
    if len(names) != 1:
        frame = frame.iloc[np.zeros(len(names), dtype=np.int64)].reset_index(drop=True)
    return ImageTable(frame.assign(path=pd.Series(list(names), dtype=object)))
