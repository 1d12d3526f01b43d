"""Search a store by picture, by text, or by both."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import SourceError
from bioprobe.images.image_table import ImageTable
from bioprobe.images.reading import decode_image, hash_bytes, ignore_pillow_warnings
from bioprobe.index.neighbor_index import NeighborIndex
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.taxonomy.columns import LABEL_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

Vectors = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """Images nearest to one query, nearest first.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (k,)
        Rows of the store.
    similarities : ndarray of float32, shape (k,)
        Cosine similarity to the query.
    """

    images: ImageTable
    rows: npt.NDArray[np.int64]
    similarities: npt.NDArray[np.float32]

    def to_frame(self) -> pd.DataFrame:
        """Return one row an answer: file name, labels, similarity, row."""
        table = self.images.frame.iloc[self.rows].reset_index(drop=True)
        frame = table[["path", *LABEL_COLUMNS]].rename(columns={"path": "file_name"})
        frame["similarity"] = self.similarities.astype(np.float64).round(6)
        frame["row"] = self.rows
        return frame


def search(
    store: EmbeddingStore,
    queries: Vectors,
    *,
    k: int = 10,
    condition: str | None = None,
) -> Neighbors:
    """Find the images nearest to one question, which may have several parts.

    Parameters
    ----------
    store : EmbeddingStore
        Where to look.
    queries : ndarray of float32, shape (n_parts, dim), unit rows
        Vectors of pictures and texts; their mean, made unit, is the question.
    k : int
        Answers, ≥ 1.
    condition : str, optional
        Only images that meet this condition may be answers; see
        :meth:`bioprobe.images.ImageTable.match`.

    Raises
    ------
    SourceError
        If there is no part.
    SelectionError
        If no image meets the condition.
    """
    if len(queries) == 0:
        msg = "nothing to search by; give --image, --text, or both"
        raise SourceError(msg)
    question = normalise_rows(queries.mean(axis=0, keepdims=True))
    allowed = store.select(condition)
    rows, similarities = NeighborIndex.open(store).search(question, k, rows=allowed)
    return Neighbors(store.images, rows[0], similarities[0])


def embed_query_image(store: EmbeddingStore, texts: TextCache, file: Path) -> Vectors:
    """Return the vector of a picture, from the store if it has it.

    Parameters
    ----------
    store : EmbeddingStore
        Looked through for the same bytes.
    texts : TextCache
        Gives the encoder where the picture is new.
    file : Path
        Image file.

    Returns
    -------
    ndarray of float32, shape (1, dim), unit rows

    Raises
    ------
    SourceError
        If there is no such file.
    ImageReadError
        If it cannot be decoded.
    """
    if not file.is_file():
        msg = f"no image at {file}"
        raise SourceError(msg)
    data = file.read_bytes()
    known = np.flatnonzero(store.images.frame["sha256"].to_numpy() == hash_bytes(data))
    if known.size:
        return store.read_vectors(known[:1])
    with ignore_pillow_warnings():
        image = decode_image(data)
    return texts.encoder.encode_image([image])
