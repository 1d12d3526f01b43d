"""Search a store by picture, by text, by row, or by several of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.images.image_table import ImageTable
from bioprobe.index.neighbor_index import NeighborIndex
from bioprobe.index.question import Question
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import DUPLICATES_MASK, GROUP, list_selections, read_selection
from bioprobe.store.view import View
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.types import Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd


def find_copies(store: EmbeddingStore) -> npt.NDArray[np.int64]:
    """Return the group of every row: images of one group are copies.

    The groups are those of the mask ``filters/duplicates`` where the store has it; images that it
    has not judged, and all images where there is no mask, are copies where their bytes are the
    same.

    Parameters
    ----------
    store : EmbeddingStore

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        From 0, without gaps.
    """
    import pandas as pd

    hashes = pd.Series(store.images.contents, dtype=object)
    own = pd.Series([f"row {row}" for row in range(len(store))], dtype=object)
    groups = hashes.where(hashes != "", own).astype(object)
    if DUPLICATES_MASK in list_selections(store):
        frame = read_selection(store, DUPLICATES_MASK).frame
        judged = frame[GROUP].notna() if GROUP in frame else pd.Series([False] * len(frame))
        if judged.any():
            names = "group " + frame.loc[judged, GROUP].astype(np.int64).astype(str)
            # An image that came later belongs to the group of the same bytes.
            by_bytes = dict(zip(groups[judged], names, strict=True))
            groups = groups.map(lambda key: by_bytes.get(key, key))
            groups[judged] = names
    return np.asarray(pd.factorize(groups)[0], dtype=np.int64)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Neighbors(Result):
    """Images nearest to one question, nearest first.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (k,)
        Rows of the store.
    similarities : ndarray of float32, shape (k,)
        Cosine similarity to the question.
    question : Question
        What was looked for.
    provenance : Provenance
        What the answer was computed from; its options say how it was found: ``index``, ``exact``
        and, where the index is approximate, the measured ``recall``.
    notes : tuple of Note
        What is to be said of it.
    """

    images: ImageTable
    rows: Rows
    similarities: npt.NDArray[np.float32]
    question: Question
    provenance: Provenance
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row an answer: file name, region if any has one, labels, similarity, row."""
        table = self.images.frame.iloc[self.rows].reset_index(drop=True)
        frame = table[list(LABEL_COLUMNS)]
        for place, (name, values) in enumerate(self.images.name_rows(self.rows).items()):
            frame.insert(place, name, values)
        frame["similarity"] = self.similarities.astype(np.float64).round(6)
        frame["row"] = self.rows
        return frame


def search(
    asked: EmbeddingStore | View,
    question: Question | Vectors,
    *,
    k: int = 10,
    exclude_own: bool | None = None,
    deduplicate: bool = False,
    exact: bool = False,
) -> Neighbors:
    """Find the images nearest to one question, which may have several parts.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Where to look.
    question : Question, or ndarray of float32, shape (n_parts, dim), unit rows
        Vectors of pictures and texts; their mean, made unit, is the question.
    k : int
        Answers, ≥ 1.
    exclude_own : bool, optional
        Whether to leave out the images that the question was made of and, with ``deduplicate``,
        their copies. By default rows that it names are left out, and images in the store that
        have the bytes of its pictures are not.
    deduplicate : bool
        Whether to give the nearest only of images that are copies; see
        :func:`bioprobe.index.search.find_copies`.
    exact : bool
        Whether to compare all vectors although the store has an approximate index.

    Raises
    ------
    SourceError
        If nothing is looked for.
    SelectionError
        If there is no image, or none but the question's own.
    """
    if not isinstance(question, Question):
        question = Question(question)
    vector = question.vector
    view = View.of(asked)
    store = view.store
    copies = find_copies(store) if deduplicate else None
    allowed = view.rows
    own = _find_own(question, exclude_own)
    if len(own):
        allowed = _leave_out(allowed, own, copies, store)
    index = NeighborIndex.open(store, exact=exact)
    rows, similarities = _find(index, vector, k, allowed, copies)
    is_exact = index.is_exact_for(len(allowed))
    options = {
        "question": question.text, "minus_weight": question.minus_weight, "k": k,
        "left_out": own.tolist(), "deduplicate": deduplicate, "index": index.kind,
        "exact": is_exact,
    }  # fmt: skip
    if index.unread:
        options["index_unread"] = index.unread
    if index.note is not None and not is_exact:
        options |= {"recall": index.note.recall, "recall_k": index.note.k}
        options["index_outgrown"] = index.is_outgrown
    provenance = view.describe(options, n_rows=len(allowed))
    return Neighbors(store.images, rows, similarities, question, provenance)


def _find_own(question: Question, exclude_own: bool | None) -> Rows:
    if exclude_own is None:
        return question.rows
    if not exclude_own:
        return np.zeros(0, dtype=np.int64)
    return np.union1d(question.rows, question.picture_rows)


def _leave_out(
    allowed: Rows, own: Rows, copies: npt.NDArray[np.int64] | None, store: EmbeddingStore
) -> Rows:
    if copies is not None:
        own = np.flatnonzero(np.isin(copies, copies[own]))
    left = np.setdiff1d(allowed, own)
    if not len(left):
        msg = f"no image in {store.folder} may be an answer but those of the question itself"
        raise SelectionError(msg)
    return left


def _find(
    index: NeighborIndex,
    vector: Vectors,
    k: int,
    allowed: Rows,
    copies: npt.NDArray[np.int64] | None,
) -> tuple[Rows, npt.NDArray[np.float32]]:
    n_asked = k
    while True:
        rows, similarities = (found[0] for found in index.search(vector, n_asked, rows=allowed))
        if copies is None:
            return rows, similarities
        # The nearest of each group, in their order.
        firsts = np.sort(np.unique(copies[rows], return_index=True)[1])[:k]
        if len(firsts) == k or len(rows) == len(allowed):
            return rows[firsts], similarities[firsts]
        n_asked = min(2 * n_asked, len(allowed))
