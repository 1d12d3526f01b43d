"""A question to a store: pictures, texts and rows that are looked for, and others that are not."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bioprobe.access import is_file
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, MisuseError, SourceError
from bioprobe.images.addresses import refuse_address
from bioprobe.images.reading import decode_image, hash_bytes, ignore_pillow_warnings
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.types import Doubles, Mask, Rows, Vectors

T = TypeVar("T")

#: Measured on photographs: with a family looked for and one of its species not, 0.5 left a third of
#: that species among the ten nearest and 95% of the family; 1 left none of it, and 43%.
MINUS_WEIGHT = 0.5

_NO_ROWS: Rows = np.zeros(0, dtype=np.int64)
# A question shorter than this is rounding error: its terms cancel out.
_LEAST_LENGTH = 1e-4


# What stands between a term and its weight, and how one writes it where it is part of the term.
_MARK, _ESCAPED = "::", "\\::"
# A mark that no text holds, while those that are part of a term are put aside.
_ASIDE = "\0"


def read_weight(given: str) -> tuple[str, float | None]:
    r"""Return a term, and the weight that stands behind it.

    Parameters
    ----------
    given : str
        ``TERM`` or ``TERM::WEIGHT``; a ``::`` that is part of the term is written ``\::``.

    Returns
    -------
    term : str
    weight : float or None
        None where none is said.

    Raises
    ------
    SourceError
        If what stands behind ``::`` is no number, or 0, or nothing stands before it.

    Examples
    --------
    >>> read_weight("a spotted cat::2"), read_weight("snow::-0.5"), read_weight("a cat")
    (('a spotted cat', 2.0), ('snow', -0.5), ('a cat', None))
    >>> read_weight(r"std\::vector"), read_weight(r"std\::vector::3")
    (('std::vector', None), ('std::vector', 3.0))
    """
    aside = given.replace(_ESCAPED, _ASIDE)
    term, mark, said = aside.rpartition(_MARK)
    if not mark:
        return aside.replace(_ASIDE, _MARK), None
    if not term.strip():
        msg = f"no term stands before the weight in {given!r}; write it as TERM::WEIGHT"
        raise SourceError(msg)
    said = said.replace(_ASIDE, _MARK)
    try:
        weight = float(said)
    except ValueError:
        msg = (
            f"behind :: stands the weight of a term, a number such as 2 or -0.5, got {said!r} in "
            f"{given!r}; a :: that is part of the term is written {_ESCAPED}"
        )
        raise SourceError(msg) from None
    return term.replace(_ASIDE, _MARK), _check_weight(weight, given)


def _check_weight(weight: float, of: object) -> float:
    """Return a weight that counts."""
    if not math.isfinite(weight):
        msg = f"a weight is a finite number, got {weight} for {str(of)!r}"
        raise SourceError(msg)
    if weight == 0:
        msg = f"a weight is not 0, got it for {str(of)!r}; leave the term out"
        raise SourceError(msg)
    return weight


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
    vectors : sequence of ndarray of float32, each of shape (dim,)
        Of pictures that are at hand.
    weights : sequence of float
        One for each picture, then each text, row and vector, not 0; those below 0 are kept away
        from. Where empty, each is 1.
    """

    images: Sequence[Path] = ()
    texts: Sequence[str] = ()
    rows: Sequence[int] = ()
    weights: Sequence[float] = ()
    vectors: Sequence[Vectors] = dataclasses.field(default=(), repr=False)

    @classmethod
    def read(
        cls,
        images: Sequence[str | Path] = (),
        texts: Sequence[str] = (),
        rows: Sequence[str | int] = (),
        vectors: Sequence[Any] = (),
    ) -> Terms:
        r"""Return terms that may be written with their weights.

        Parameters
        ----------
        images : sequence of str or Path
            ``FILE`` or ``FILE::WEIGHT``; a file of that very name is there as it is.
        texts : sequence of str
            ``TEXT`` or ``TEXT::WEIGHT``; see :func:`read_weight`.
        rows : sequence of int or str
            ``ROW`` or ``ROW::WEIGHT``.
        vectors : sequence of array-like, or of pairs of one and its weight

        Raises
        ------
        SourceError
            If a weight is none, a vector is none, or a row is no whole number from 0.

        Examples
        --------
        >>> Terms.read([], ["a cat::2"], ["3::-1", 4])
        Terms(images=[], texts=['a cat'], rows=[3, 4], weights=[2.0, -1.0, 1.0])
        """
        files = [_read_file(one) for one in images]
        words = [read_weight(one) for one in texts]
        numbers = [_read_row(one) for one in rows]
        held = [_read_vector(one) for one in vectors]
        said = [weight for _, weight in (*files, *words, *numbers, *held)]
        weights = [] if set(said) <= {None} else [1.0 if one is None else one for one in said]
        return cls(_drop(files), _drop(words), _drop(numbers), weights, _drop(held))

    def __len__(self) -> int:
        return len(self.images) + len(self.texts) + len(self.rows) + len(self.vectors)

    @property
    def signs(self) -> Doubles:
        """Weight of each, float64, shape (n_terms,)."""
        return np.array(self.weights or [1.0] * len(self), dtype=np.float64)

    def weigh(self, weights: Sequence[float]) -> Terms:
        """Return the same terms with one weight each.

        Raises
        ------
        SourceError
            If one is no weight.
        MisuseError
            If some are written with weights already.
        """
        if self.weights:
            msg = "weights stand behind :: already; leave --weight out, or these"
            raise MisuseError(msg)
        named = zip(weights, self.name(), strict=True)
        return dataclasses.replace(self, weights=[_check_weight(*pair) for pair in named])

    def name(self) -> list[str]:
        """Return one short text for each term, without its weight."""
        return [
            *(f"picture {file}" for file in self.images),
            *(f"“{text}”" for text in self.texts),
            *(f"row {row}" for row in self.rows),
            *(f"vector {place}" for place in range(len(self.vectors))),
        ]

    def describe(self) -> str:
        """Return the terms in words, with the weights that are not 1.

        Examples
        --------
        >>> Terms([], ["a cat", "snow"], [3], [2, -0.5, 1]).describe()
        '2 times “a cat” - 0.5 times “snow” + row 3'
        """
        words = ""
        for name, weight in zip(self.name(), self.signs.tolist(), strict=True):
            sign = "" if not words and weight > 0 else "- " if weight < 0 else "+ "
            times = "" if abs(weight) == 1 else f"{abs(weight):g} times "
            words += f"{' ' * bool(words)}{sign}{times}{name}"
        return words


def _drop(read: Sequence[tuple[T, float | None]]) -> list[T]:
    return [term for term, _ in read]


def _read_file(given: str | Path) -> tuple[Path, float | None]:
    if os.path.lexists(given):
        return Path(given), None
    file, weight = read_weight(str(given))
    return Path(file), weight


def _read_vector(given: Any) -> tuple[Vectors, float | None]:  # noqa: ANN401 - a vector or a pair
    vector, weight = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    read = np.asarray(vector, dtype=np.float32)
    if read.ndim != 1 or not np.isfinite(read).all() or not read.any():
        msg = f"a vector has the shape (dim,) and a direction, got the shape {read.shape}"
        raise SourceError(msg)
    return read, None if weight is None else _check_weight(float(weight), "a vector")


def _read_row(given: str | int) -> tuple[int, float | None]:
    written, weight = (given, None) if not isinstance(given, str) else read_weight(given)
    try:
        row = int(written)
    except (TypeError, ValueError):
        row = -1
    if isinstance(written, bool) or row < 0 or str(row) != str(written).strip():
        msg = f"a row is a whole number from 0, or ROW::WEIGHT, got {given!r}"
        raise SourceError(msg)
    return row, weight


@dataclasses.dataclass(frozen=True)
class Question:
    r"""Where to look, as vectors.

    .. math:: q = \sum_i u_i p_i / \sum_{u_i > 0} u_i - w \, \sum_j v_j m_j / \sum_j v_j

    made unit: the mean of what is looked for, weighted by :math:`u`, of which a term below 0 is
    taken off; less :math:`w` times the weighted mean of what is not. An image is then ranked by how
    much nearer it is to the first than to the second.

    Parameters
    ----------
    plus : ndarray of float32, shape (n_plus, dim), unit rows
        What is looked for.
    minus : ndarray of float32, shape (n_minus, dim), unit rows, optional
        What is not.
    minus_weight : float
        How much the second counts, ≥ 0.
    plus_terms, minus_terms : Terms
        What the vectors are of, and their weights.
    picture_rows : ndarray of int64
        Rows of the store whose images have the bytes of the pictures that were given.
    """

    plus: Vectors
    minus: Vectors | None = None
    minus_weight: float = MINUS_WEIGHT
    plus_terms: Terms = dataclasses.field(default_factory=Terms)
    minus_terms: Terms = dataclasses.field(default_factory=Terms)
    picture_rows: Rows = dataclasses.field(default_factory=_NO_ROWS.copy)

    def __post_init__(self) -> None:
        if (self.minus_terms.signs < 0).any():
            msg = (
                "a negative weight keeps away from a term by itself, and --minus-… does: give one "
                f"of both, got {self.minus_terms.describe()}"
            )
            raise SourceError(msg)

    @property
    def rows(self) -> Rows:
        """Rows of the store that are named as such, ascending."""
        return np.array(sorted({*self.plus_terms.rows, *self.minus_terms.rows}), dtype=np.int64)

    @property
    def text(self) -> str:
        """The question in words."""
        words = self.plus_terms.describe()
        if len(self.minus_terms):
            weight = "" if self.minus_weight == MINUS_WEIGHT else f"{self.minus_weight:g} times "
            words += f", without {weight}{self.minus_terms.describe()}"
        return words

    @property
    def vector(self) -> Vectors:
        """The question as one vector, float32, shape (1, dim), unit.

        Raises
        ------
        SourceError
            If nothing is looked for, or the terms cancel out.
        """
        return self._point(np.zeros(len(self.plus), dtype=bool), None)

    def put_texts(self, others: Vectors) -> Vectors:
        """Return the question once for each of other texts, in place of the texts looked for.

        Pictures, rows and what is kept away from stay, so that the answers to the question and to
        these compare like with like.

        Parameters
        ----------
        others : ndarray of float32, shape (n_others, dim), unit rows

        Returns
        -------
        ndarray of float32, shape (n_others, dim), unit rows

        Raises
        ------
        SourceError
            If no text is looked for, or what there is cancels out.
        """
        is_text = np.zeros(len(self.plus), dtype=bool)
        first = len(self.plus_terms.images)
        is_text[first : first + len(self.plus_terms.texts)] = True
        is_text &= self._weigh_plus() > 0
        if not is_text.any():
            msg = (
                "a background of texts is for questions with a text to look for; give --text, or "
                "say what is enough by --min-similarity or --share"
            )
            raise SourceError(msg)
        return self._point(is_text, others)

    def _weigh_plus(self) -> Doubles:
        weights = self.plus_terms.signs if len(self.plus_terms) else np.ones(len(self.plus))
        # Only their proportions count; sums of huge ones would be infinite.
        return np.asarray(weights / np.abs(weights).max(initial=0.0), dtype=np.float64)

    def _point(self, replaced: Mask, others: Vectors | None) -> Vectors:
        """Return the question, or one for each vector that stands in place of some terms."""
        weights = self._weigh_plus()
        total = float(weights[weights > 0].sum())
        if total == 0:
            msg = "nothing to search by; give --image, --text, --row, or several"
            raise SourceError(msg)
        weights = weights / total
        vector = (weights * ~replaced) @ self.plus.astype(np.float64)
        if others is not None:
            vector = vector + weights[replaced].sum() * others.astype(np.float64)
        if self.minus is not None and len(self.minus):
            off = self.minus_terms.signs if len(self.minus_terms) else np.ones(len(self.minus))
            off = off / np.abs(off).max()
            vector = vector - self.minus_weight * (off / off.sum()) @ self.minus.astype(np.float64)
        vector = np.atleast_2d(vector)
        # The square of a huge number is infinite.
        vector = vector / np.abs(vector).max(axis=1, keepdims=True, initial=1.0)
        if (np.linalg.norm(vector, axis=1) < _LEAST_LENGTH).any():
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
        np.array(sorted({row for rows in given for row in rows.tolist()}), dtype=np.int64),
    )


def find_in_other(question: Question, store: EmbeddingStore, other: EmbeddingStore) -> Question:
    """Return a question to a store as it is asked of another: by the same vectors.

    Rows that it names are of the first; their pictures, and those that are given, are known in the
    other by their bytes.
    """
    frame = store.images.column("sha256")
    named = set(frame.iloc[np.union1d(question.rows, question.picture_rows)]) - {""}
    files = (*question.plus_terms.images, *question.minus_terms.images)
    named |= {hash_bytes(file.read_bytes()) for file in files}
    rows = np.flatnonzero(other.images.column("sha256").isin(named).to_numpy())
    return dataclasses.replace(
        question,
        plus_terms=dataclasses.replace(question.plus_terms, rows=()),
        minus_terms=dataclasses.replace(question.minus_terms, rows=()),
        picture_rows=rows.astype(np.int64),
    )


def embed_query_image(store: EmbeddingStore, texts: TextCache, file: Path) -> Vectors:
    """Return the vector of a picture, from the store if it has it.

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
    known = known[store.images.contents[known] == store.images.column("sha256").to_numpy()[known]]
    if known.size:
        return store.read_vectors(known[:1])
    with ignore_pillow_warnings():
        image = decode_image(file.read_bytes())
    return texts.encoder.encode_image([image])


def _embed(store: EmbeddingStore, texts: TextCache, terms: Terms) -> Vectors:
    parts = [embed_query_image(store, texts, file) for file in terms.images]
    parts.append(texts.encode_text(terms.texts))
    parts.append(store.read_vectors(np.array(terms.rows, dtype=np.int64)))
    for vector in terms.vectors:
        if len(vector) != store.manifest.dim:
            msg = f"vectors of {store.folder} have {store.manifest.dim} numbers, got {len(vector)}"
            raise MismatchError(msg)
        parts.append(normalise_rows(vector[np.newaxis]))
    return np.concatenate(parts)


def _find_rows(store: EmbeddingStore, file: Path) -> Rows:
    """Return the rows of images with the bytes of a file."""
    refuse_address(file)
    if not is_file(file):
        msg = f"no image at {file}"
        raise SourceError(msg)
    digest = hash_bytes(file.read_bytes())
    return np.flatnonzero(store.images.column("sha256").to_numpy() == digest).astype(np.int64)
