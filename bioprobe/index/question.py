"""A question to a store: pictures, texts and rows that are looked for, and others that are not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bioprobe.access import is_file
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import SourceError
from bioprobe.images.reading import decode_image, hash_bytes, ignore_pillow_warnings
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.types import Rows, Vectors

#: Measured on photographs: with a family looked for and one of its species not, 0.5 left a third of
#: that species among the ten nearest and 95% of the family; 1 left none of it, and 43%.
MINUS_WEIGHT = 0.5

_NO_ROWS: Rows = np.zeros(0, dtype=np.int64)
# A question shorter than this is rounding error: its terms cancel out.
_LEAST_LENGTH = 1e-4


@dataclasses.dataclass(frozen=True)
class Terms:
    """Pictures, texts and rows that a question names.

    Parameters
    ----------
    images : sequence of Path
        Image files.
    texts : sequence of str
    rows : sequence of int
        Rows of the store.
    """

    images: Sequence[Path] = ()
    texts: Sequence[str] = ()
    rows: Sequence[int] = ()

    def describe(self) -> list[str]:
        """Return one short text for each term."""
        return [
            *(f"picture {file}" for file in self.images),
            *(f"“{text}”" for text in self.texts),
            *(f"row {row}" for row in self.rows),
        ]


@dataclasses.dataclass(frozen=True)
class Question:
    r"""Where to look, as vectors.

    .. math:: q = \bar p - w \, \bar m

    made unit, with the means of the vectors that are looked for and of those that are not. An
    image is then ranked by how much nearer it is to the first than, weighted, to the second.

    Parameters
    ----------
    plus : ndarray of float32, shape (n_plus, dim), unit rows
        What is looked for.
    minus : ndarray of float32, shape (n_minus, dim), unit rows, optional
        What is not.
    minus_weight : float
        How much the second counts, ≥ 0.
    plus_terms, minus_terms : Terms
        What the vectors are of.
    picture_rows : ndarray of int64
        Rows of the store whose images have the bytes of the pictures that were given.
    """

    plus: Vectors
    minus: Vectors | None = None
    minus_weight: float = MINUS_WEIGHT
    plus_terms: Terms = dataclasses.field(default_factory=Terms)
    minus_terms: Terms = dataclasses.field(default_factory=Terms)
    picture_rows: Rows = dataclasses.field(default_factory=_NO_ROWS.copy)

    @property
    def rows(self) -> Rows:
        """Rows of the store that are named as such, ascending."""
        return np.unique(np.array([*self.plus_terms.rows, *self.minus_terms.rows], dtype=np.int64))

    @property
    def text(self) -> str:
        """The question in words."""
        words = " + ".join(self.plus_terms.describe())
        if self.minus_terms.describe():
            weight = "" if self.minus_weight == MINUS_WEIGHT else f"{self.minus_weight:g} times "
            words += f", without {weight}{' + '.join(self.minus_terms.describe())}"
        return words

    @property
    def vector(self) -> Vectors:
        """The question as one vector, float32, shape (1, dim), unit.

        Raises
        ------
        SourceError
            If nothing is looked for, or the terms cancel out.
        """
        if len(self.plus) == 0:
            msg = "nothing to search by; give --image, --text, --row, or several"
            raise SourceError(msg)
        vector = self.plus.mean(axis=0, keepdims=True, dtype=np.float64)
        if self.minus is not None and len(self.minus):
            vector -= self.minus_weight * self.minus.mean(axis=0, keepdims=True, dtype=np.float64)
        if np.linalg.norm(vector) < _LEAST_LENGTH:
            msg = "what is looked for and what is not cancel out; name others, or weigh them anew"
            raise SourceError(msg)
        return normalise_rows(vector)


def compose_question(
    store: EmbeddingStore,
    texts: TextCache,
    plus: Terms,
    minus: Terms | None = None,
    *,
    minus_weight: float = MINUS_WEIGHT,
) -> Question:
    """Turn terms into vectors; pictures and texts that are known are not encoded again.

    Parameters
    ----------
    store : EmbeddingStore
    texts : TextCache
        Of the same store.
    plus : Terms
        What is looked for.
    minus : Terms, optional
        What is not.
    minus_weight : float
        How much the second counts, ≥ 0.

    Raises
    ------
    SourceError
        If a file is not there.
    ImageReadError
        If a picture cannot be decoded.
    StoreError
        If a row is not in the store.
    """
    minus = minus or Terms()
    given = [_find_rows(store, file) for file in (*plus.images, *minus.images)]
    return Question(
        _embed(store, texts, plus),
        _embed(store, texts, minus),
        minus_weight,
        plus,
        minus,
        np.unique(np.concatenate([_NO_ROWS, *given])),
    )


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
    known = _find_rows(store, file)
    # Those of its regions have other vectors.
    known = known[store.images.contents[known] == store.images.frame["sha256"].to_numpy()[known]]
    if known.size:
        return store.read_vectors(known[:1])
    with ignore_pillow_warnings():
        image = decode_image(file.read_bytes())
    return texts.encoder.encode_image([image])


def _embed(store: EmbeddingStore, texts: TextCache, terms: Terms) -> Vectors:
    parts = [embed_query_image(store, texts, file) for file in terms.images]
    parts.append(texts.encode_text(terms.texts))
    parts.append(store.read_vectors(np.array(terms.rows, dtype=np.int64)))
    return np.concatenate(parts)


def _find_rows(store: EmbeddingStore, file: Path) -> Rows:
    """Return the rows of images with the bytes of a file."""
    if not is_file(file):
        msg = f"no image at {file}"
        raise SourceError(msg)
    digest = hash_bytes(file.read_bytes())
    return np.flatnonzero(store.images.frame["sha256"].to_numpy() == digest).astype(np.int64)
