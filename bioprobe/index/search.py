"""Search a store by picture, by text, by row, or by several of them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError, StoreError, UnreadableError
from bioprobe.images.image_table import ImageTable, concatenate
from bioprobe.index.enough import Enough
from bioprobe.index.exact import StoredVectors, find_all
from bioprobe.index.index_file import read_note
from bioprobe.index.kinds import FLAT
from bioprobe.index.neighbor_index import NeighborIndex
from bioprobe.index.question import Question
from bioprobe.provenance import Provenance
from bioprobe.result import Columns, Notes, Result
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import (
    DUPLICATES_MASK,
    GROUP,
    list_selections,
    read_selection,
    write_selection,
)
from bioprobe.store.view import View
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.types import Doubles, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd

# Answers where neither their number nor a threshold is said.
_N_ANSWERS = 10


def find_copies(store: EmbeddingStore) -> npt.NDArray[np.int64]:
    """Return the group of every row: images of one group are copies.

    The groups are those of the mask ``filters/duplicates`` where the store has it; images that it
    has not judged, and all images where there is no mask, are copies where their bytes are the
    same.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        From 0, without gaps.
    """
    import pandas as pd

    contents = store.images.number_contents(np.arange(len(store)))
    groups = contents
    if DUPLICATES_MASK in list_selections(store):
        frame = read_selection(store, DUPLICATES_MASK).frame
        judged = np.flatnonzero(frame[GROUP].notna()) if GROUP in frame else np.zeros(0, np.int64)
        if len(judged):
            # Numbered after all contents.
            n_contents = int(contents.max(initial=-1)) + 1
            found = frame[GROUP].to_numpy()[judged].astype(np.int64) + n_contents
            known = contents[judged] >= 0
            of_bytes = np.arange(n_contents)
            of_bytes[contents[judged[known]]] = found[known]
            # An image that came later belongs to the group of the same bytes.
            groups = contents.copy()
            groups[contents >= 0] = of_bytes[contents[contents >= 0]]
            groups[judged] = found
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
    stores : tuple of str
        Of several stores, the folder of each answer; ``images`` are those of all answers then.
    store_rows : ndarray of int64, shape (k,), optional
        Of several stores, the row that each answer has in its own.
    notes : tuple of Note
        What is to be said of it.
    enough : Enough
        What an image had to reach.
    over_background : ndarray of float64, shape (k,), or None
        Place of each answer among the background, where there is one.
    """

    images: ImageTable
    rows: Rows
    similarities: npt.NDArray[np.float32]
    question: Question
    provenance: Provenance
    stores: tuple[str, ...] = ()
    store_rows: Rows | None = None
    notes: Notes = ()
    enough: Enough = dataclasses.field(default_factory=Enough)
    over_background: Doubles | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return one row an answer: file name, region if any has one, labels, similarity, row.

        Of several stores, ``store`` is the one that ``row`` is of.
        """
        import pandas as pd

        return pd.DataFrame(self.to_columns()).astype(dict.fromkeys(LABEL_COLUMNS, object))

    def to_columns(self, *, short: bool = False) -> Columns:
        """Return the same by column."""
        _ = short
        columns: dict[str, Any] = self.images.name_rows(self.rows)
        columns |= self.images.read_texts(self.rows, LABEL_COLUMNS)
        columns["similarity"] = self.similarities.astype(np.float64).round(6)
        if self.over_background is not None and self.enough.background is not None:
            columns[self.enough.background.column] = self.over_background
        columns["row"] = self.rows if self.store_rows is None else self.store_rows
        if self.stores:
            columns["store"] = list(self.stores)
        return columns

    def write_mask(self, asked: EmbeddingStore | View, name: str) -> None:
        """Keep the answers in the store as a mask; of what was asked, all else is dropped.

        Parameters
        ----------
        asked : EmbeddingStore or View
            What was asked.
        name : str
            Of the mask. One of that name that a search made is replaced.

        Raises
        ------
        StoreError
            If another command made the mask of that name, or the disk refuses.
        SelectionError
            If the name cannot be used.
        """
        view = View.of(asked)
        store = view.store
        if name in list_selections(store):
            made = read_selection(store, name).provenance
            if "question" not in made.get("options", {}):
                msg = (
                    f"the mask {name} in {store.folder} was made by no search; name another, or "
                    f"remove it: bioprobe store remove-mask {name}"
                )
                raise StoreError(msg)
        similarities = np.full(len(store), np.nan)
        similarities[self.rows] = self.similarities
        write_selection(
            store, name, view.rows, np.isin(view.rows, self.rows),
            columns={"similarity": similarities[view.rows].round(6)},
            provenance=self.provenance.to_dict(),
        )  # fmt: skip


def search(
    asked: EmbeddingStore | View,
    question: Question | Vectors,
    *,
    k: int | None = None,
    enough: Enough | None = None,
    exclude_own: bool | None = None,
    deduplicate: bool = False,
    exact: bool = False,
) -> Neighbors:
    """Find the images nearest to one question, which may have several parts.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Where to look, and on which engine.
    question : Question, or ndarray of float32, shape (n_parts, dim), unit rows
        Vectors of pictures and texts; their mean, made unit, is the question.
    k : int, optional
        Answers, ≥ 1; by default 10, and where a threshold is given all that reach it.
    enough : Enough, optional
        What an image must reach to be an answer. With a threshold all vectors are compared, so
        that no image that reaches it is lost.
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
        If nothing is looked for, or there is a background and no text is.
    SelectionError
        If there is no image, or none but the question's own.
    """
    if not isinstance(question, Question):
        question = Question(question)
    vector = question.vector
    enough = enough or Enough()
    if enough.background is not None:
        background = enough.background.leave_out(question.plus_terms.texts)
        enough = dataclasses.replace(enough, background=background)
    view = View.of(asked)
    store = view.store
    copies = find_copies(store) if deduplicate else None
    allowed = view.rows
    own = _find_own(question, exclude_own)
    if len(own):
        allowed = _leave_out(allowed, own, copies, store)
    options = {
        "question": question.text, "minus_weight": question.minus_weight, "k": k,
        "left_out": own.tolist(), "deduplicate": deduplicate, **enough.describe(),
    }  # fmt: skip
    if enough.is_threshold:
        hits = _find_enough(StoredVectors(store, view.engine), question, enough, allowed, copies, k)
        options |= {"index": _find_kind(store, exact=exact), "exact": True, **hits.facts}
    else:
        options["k"] = k = k or _N_ANSWERS
        index = NeighborIndex.open(store, exact=exact, engine=view.engine)
        hits = _Hits(*_find(index, vector, k, allowed, copies))
        if enough.background is not None:
            stored = StoredVectors(store)
            values = enough.background.score(stored, question, hits.rows, hits.similarities)
            hits = dataclasses.replace(hits, values=values)
        options |= _describe_way(index, len(allowed))
    provenance = view.describe(options, n_rows=len(allowed))
    return Neighbors(
        store.images, hits.rows, hits.similarities, question, provenance, enough=enough,
        over_background=hits.values,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Hits:
    """What was found, with what is to be said of how many there are."""

    rows: Rows
    similarities: npt.NDArray[np.float32]
    values: Doubles | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _find_enough(
    vectors: StoredVectors,
    question: Question,
    enough: Enough,
    allowed: Rows,
    copies: npt.NDArray[np.int64] | None,
    k: int | None,
) -> _Hits:
    """Return the hits, each of copies once, no more than k; and how many there are in all."""
    may = np.zeros(len(vectors), dtype=bool)
    may[allowed] = True
    rows, similarities, values = enough.find(vectors, question, may)
    facts: dict[str, Any] = {"n_reached": len(rows)}
    if not len(rows):
        nearest, its = find_all(vectors, question.vector, may, most=1)
        facts["nearest"] = {"row": int(nearest[0]), "similarity": round(float(its[0]), 6)}
        if enough.background is not None:
            value = enough.background.score(vectors, question, nearest, its)
            facts["nearest"][enough.background.column] = float(value[0])
    kept = np.arange(len(rows))
    if copies is not None:
        kept = np.sort(np.unique(copies[rows], return_index=True)[1])
        facts["n_distinct"] = len(kept)
    kept = kept[:k]
    return _Hits(rows[kept], similarities[kept], None if values is None else values[kept], facts)


def _find_kind(store: EmbeddingStore, *, exact: bool) -> str:
    """Return the kind of the index that is passed over."""
    note = None
    if not exact:
        with contextlib.suppress(UnreadableError):
            note = read_note(store.folder)
    return FLAT if note is None else note.kind


def _describe_way(index: NeighborIndex, n_allowed: int) -> dict[str, Any]:
    is_exact = index.is_exact_for(n_allowed)
    facts: dict[str, Any] = {"index": index.kind, "exact": is_exact}
    if index.unread:
        facts["index_unread"] = index.unread
    if index.note is not None and not is_exact:
        facts |= {"recall": index.note.recall, "recall_k": index.note.k}
        facts["index_outgrown"] = index.is_outgrown
    return facts


def join_neighbors(
    parts: Sequence[Neighbors], k: int | None, *, deduplicate: bool = False
) -> Neighbors:
    """Put the answers of several stores to one question into one ranking.

    Parameters
    ----------
    parts : sequence of Neighbors
        Of stores of one encoder; the first has the question, and is the first of equals.
    k : int, optional
        Answers, ≥ 1; by default 10, with a threshold all.
    deduplicate : bool
        Whether of images with the same bytes the nearest alone is given, whatever store has it.
    """
    of_part = np.repeat(np.arange(len(parts)), [len(one.rows) for one in parts])
    rows = np.concatenate([one.rows for one in parts])
    similarities = np.concatenate([one.similarities for one in parts])
    order = np.lexsort((rows, of_part, -similarities))
    if deduplicate:
        contents = np.concatenate([one.images.contents[one.rows] for one in parts])
        own = np.array([f"row {at}" for at in range(len(rows))])
        keys = np.where(contents == "", own, contents)[order]
        order = order[np.sort(np.unique(keys, return_index=True)[1])]
    n_most = k if k is not None or parts[0].enough.is_threshold else _N_ANSWERS
    order = order[:n_most]
    frames, positions, start = [], np.empty(len(order), dtype=np.int64), 0
    for number, part in enumerate(parts):
        here = np.flatnonzero(of_part[order] == number)
        files = part.images.number_files(np.arange(len(part.images)))
        asked = rows[order[here]]
        # What else is known of these pictures, such as where people are in them, comes along.
        kept = np.flatnonzero(np.isin(files, files[asked]))
        frames.append(part.images.take(kept))
        positions[here] = start + np.searchsorted(kept, asked)
        start += len(kept)
    folders = [one.provenance.store for one in parts]
    options = {**parts[0].provenance.options, "stores": folders, "deduplicate": deduplicate}
    options["k"] = n_most
    above = [one.over_background for one in parts if one.over_background is not None]
    provenance = dataclasses.replace(
        parts[0].provenance, options=options, n_rows=sum(one.provenance.n_rows for one in parts)
    )
    return dataclasses.replace(
        parts[0], images=ImageTable.build(concatenate(frames)), rows=positions,
        similarities=similarities[order], stores=tuple(folders[of] for of in of_part[order]),
        store_rows=rows[order], provenance=provenance,
        over_background=np.concatenate(above)[order] if above else None,
    )  # fmt: skip


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
    left = allowed[~np.isin(allowed, own)]
    if (np.diff(left) <= 0).any():
        left = np.unique(left)
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
