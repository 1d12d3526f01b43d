"""Images of a store that are in another collection too: the same bytes, or the same picture."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.cache import find_cache
from bioprobe.errors import MismatchError, SelectionError, StoreError
from bioprobe.files import replacing
from bioprobe.images import ImageTable
from bioprobe.provenance import Provenance
from bioprobe.quality.closest import MARGIN, ClosestPairs
from bioprobe.quality.duplicates import (
    DEFAULT_THRESHOLD,
    choose_compared,
    choose_threshold,
    read_looks,
)
from bioprobe.quality.likeness import Likeness
from bioprobe.result import Notes, Result
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.store.view import View
from bioprobe.types import Mask, Names, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd
    import torch

#: Which images are in no other collection, as the last comparison found.
AGAINST_MASK = "filters/against"
# A block of similarities is 32 MB.
_BLOCK_ROWS, _BLOCK_OTHERS = 2048, 4096
# Others of each image that are looked at, the nearest, and pairs that wait to be sorted out.
_EACH, _PAIRS_AT_ONCE = 8, 2_000_000
_SAMPLED_ROWS, _SAMPLED_NEIGHBORS = 1024, 64
_CACHED = "pairs"


@dataclasses.dataclass(frozen=True)
class Others:
    """Another collection, which is read some rows at a time.

    Parameters
    ----------
    name : str
        For people: a folder or file.
    key : str
        Changes whenever the collection does.
    n_rows : int
    read : callable
        Returns the rows in order: their numbers, unit vectors, and SHA-256 of the bytes, ``""``
        where not known.
    name_rows : callable
        From numbers of rows to what their images are called.
    view : View, optional
        The store, where it is one.
    is_told : bool
        Whether it says of which encoder its vectors are.
    """

    name: str
    key: str
    n_rows: int
    read: Callable[[], Iterator[tuple[Rows, Vectors, Names]]]
    name_rows: Callable[[Rows], Sequence[str]]
    view: View | None = None
    is_told: bool = True

    @classmethod
    def of_store(cls, asked: EmbeddingStore | View) -> Others:
        """Take the current rows of another store, or of a view of it."""
        view = View.all(asked)
        contents = view.images.contents

        def read() -> Iterator[tuple[Rows, Vectors, Names]]:
            for start in range(0, len(view.rows), _BLOCK_OTHERS):
                rows = view.rows[start : start + _BLOCK_OTHERS]
                yield rows, view.read_vectors(rows), contents[rows].astype(object)

        def name_rows(rows: Rows) -> Sequence[str]:
            return [view.images.name_row(row) for row in rows.tolist()]

        shards = [one.vectors_sha256 for one in view.manifest.present_shards]
        key = hashlib.sha256(f"{shards}{view.rows.tolist()}".encode()).hexdigest()
        return cls(str(view.folder), key, len(view.rows), read, name_rows, view)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Overlap(Result):
    """Images of a store that another collection has too.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were compared.
    others : Others
        What they were compared with.
    first : ndarray of int64, shape (n_pairs,)
        Position in ``rows``; of each image the nearest few others are kept.
    second : ndarray of int64, shape (n_pairs,)
        Row of the others.
    similarities : ndarray of float32, shape (n_pairs,)
    exact, compared, alike : ndarray of bool, shape (n_pairs,)
        Whether the bytes are the same; whether both pictures are known; whether they look the same.
    alone, lowest : float
        Similarity from which vectors alone make a copy, and pictures that look the same.
    floor : float
        Similarity down to which pairs were looked for.
    provenance : Provenance
        What it was computed from.
    notes : tuple of Note
        What is to be said of it.
    """

    images: ImageTable
    rows: Rows
    others: Others
    first: Rows
    second: Rows
    similarities: Vectors
    exact: Mask
    compared: Mask
    alike: Mask
    alone: float
    lowest: float
    floor: float
    provenance: Provenance
    notes: Notes = ()

    def at(self, threshold: float) -> Overlap:
        """Return what is found at another threshold, higher or lower, comparing nothing again.

        Raises
        ------
        SelectionError
            If the threshold is lower than pairs were looked for.
        """
        if threshold < self.floor:
            msg = f"pairs were looked for from {self.floor:.4f}, got {threshold}; search again"
            raise SelectionError(msg)
        return dataclasses.replace(self, alone=threshold, lowest=threshold)

    @property
    def same(self) -> Mask:
        """Whether each pair is one of copies."""
        by_picture = self.compared & self.alike & (self.similarities >= np.float32(self.lowest))
        by_vector = ~self.compared & (self.similarities >= np.float32(self.alone))
        return self.exact | by_picture | by_vector

    @property
    def is_copy(self) -> Mask:
        """Whether each image is in the other collection, shape (n_images,)."""
        found = np.zeros(len(self.rows), dtype=bool)
        found[self.first[self.same]] = True
        return found

    @property
    def closest(self) -> ClosestPairs:
        """The pairs nearest to the threshold; numbers are rows of this store and of the other."""
        near = ~self.exact
        return ClosestPairs.none(self.alone).add(
            self.rows[self.first[near]], self.second[near], self.similarities[near],
            self.same[near], self.compared[near],
        )  # fmt: skip

    def best(self) -> Rows:
        """Return the pair of each image that is a copy: its nearest, the same bytes first."""
        places = np.flatnonzero(self.same)
        order = np.lexsort(
            (self.second[places], -self.similarities[places], ~self.exact[places],
             self.first[places])
        )  # fmt: skip
        places = places[order]
        _, firsts = np.unique(self.first[places], return_index=True)
        return np.asarray(places[firsts], dtype=np.int64)

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image that the other collection has too, the most similar first.

        ``kind`` is ``exact`` where the bytes are the same, ``near`` where the pictures look the
        same, ``vector`` where vectors alone decided; ``other`` and ``other_row`` name the nearest.
        """
        import pandas as pd

        best = self.best()
        order = np.argsort(-np.where(self.exact[best], 2, self.similarities[best]), kind="stable")
        best = best[order]
        rows = self.rows[self.first[best]]
        kinds = np.where(self.compared[best], "near", "vector")
        return pd.DataFrame(
            {
                **self.images.name_rows(rows),
                "kind": np.where(self.exact[best], "exact", kinds),
                "similarity": self.similarities[best].astype(np.float64).round(6),
                "other": list(self.others.name_rows(self.second[best])),
                "other_row": self.second[best],
                "row": rows,
            }
        )

    def write(self, store: EmbeddingStore, name: str = AGAINST_MASK) -> None:
        """Keep a mask of the images that the other collection has not; nothing is deleted."""
        write_selection(store, name, self.rows, ~self.is_copy, provenance=self.provenance.to_dict())


def find_overlap(
    asked: EmbeddingStore | View,
    others: Others,
    *,
    threshold: float | None = None,
    confirm: bool = True,
) -> Overlap:
    """Find the images of a store that another collection has too.

    As in :func:`~bioprobe.quality.duplicates.find_duplicates` two are the same where their bytes
    are, or where their vectors are near and their pictures look the same; where a picture cannot be
    read, vectors alone decide. The other collection is read in blocks, and of each image its
    nearest few others are kept, so that memory does not grow with the other collection. The pairs
    are kept in the cache of this machine: of the same two collections another threshold is
    answered by them.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose images are looked for.
    others : Others
        Where.
    threshold : float, optional
        Least similarity of copies, in [-1, 1]; by default chosen as there, by how dense the other
        collection is around the images.
    confirm : bool
        Whether pictures are compared, as far as they are known or can be read.

    Raises
    ------
    SelectionError
        If the threshold is out of range.
    MismatchError
        If the vectors are of another encoder.
    """
    if threshold is not None and not -1 <= threshold <= 1:
        msg = f"a cosine similarity lies in [-1, 1], got the threshold {threshold}"
        raise SelectionError(msg)
    view = View.of(asked)
    if others.view is not None:
        check_encoders(view, others.view)
    import torch

    vectors = torch.from_numpy(np.ascontiguousarray(view.read_vectors()))
    cached = _Cached(view, others)
    found = cached.read(threshold)
    if found is None:
        least = _choose(vectors, others, threshold)
        floor = max(-1.0, min(least) - MARGIN)
        first, second, similarities, same = _search(vectors, view, others, floor)
        found = _Pairs(*least, floor, first, second, similarities, same)
        cached.write(found, is_chosen=threshold is None)
    alone, lowest = (found.alone, found.lowest) if threshold is None else (threshold, threshold)
    compared, alike = _compare(view, others, found, confirm=confirm)
    provenance = view.describe(
        {
            "against": others.name, "n_others": others.n_rows, "threshold": alone,
            "threshold_is_chosen": threshold is None, "compared_from": lowest,
            "looked_for_from": found.floor, "confirm": confirm,
        }
    )  # fmt: skip
    return Overlap(
        view.images, view.rows, others, found.first, found.second, found.similarities,
        found.exact, compared, alike, alone, lowest, found.floor, provenance,
    )  # fmt: skip


def check_encoders(view: View, other: View) -> None:
    """Refuse another store whose vectors are of another encoder.

    Raises
    ------
    MismatchError
        If they are.
    """
    ours, theirs = view.manifest.encoder, other.manifest.encoder
    differences = ours.find_differences(theirs)
    if differences:
        msg = (
            f"{view.folder} holds vectors of {ours.describe()}, {other.folder} of "
            f"{theirs.describe()}: they cannot be compared ({' and '.join(differences)} differ); "
            "embed the pictures of one of both with the other's encoder"
        )
        raise MismatchError(msg)


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """What was found of two collections, before pictures are compared."""

    alone: float
    lowest: float
    floor: float
    first: Rows
    second: Rows
    similarities: Vectors
    exact: Mask


class _Cached:
    """Pairs of two collections in the cache of this machine; no vector and no name is in it."""

    def __init__(self, view: View, others: Others) -> None:
        ours = Others.of_store(view).key
        name = hashlib.sha256(f"{ours} {others.key}".encode()).hexdigest()[:32]
        self._file = find_cache(_CACHED) / f"{name}.npz"

    def read(self, threshold: float | None) -> _Pairs | None:
        """Return the pairs, where they reach down to a threshold."""
        try:
            with np.load(io.BytesIO(self._file.read_bytes())) as kept:
                alone, lowest, floor, is_chosen = kept["numbers"].tolist()
                arrays = [kept[name] for name in ("first", "second", "similarities", "exact")]
        except (OSError, ValueError, KeyError, EOFError):
            return None
        if (threshold is None and not is_chosen) or (threshold is not None and threshold < floor):
            return None
        return _Pairs(alone, lowest, floor, *arrays)

    def write(self, found: _Pairs, *, is_chosen: bool) -> None:
        """Keep pairs; a cache that cannot be written answers without."""
        numbers = np.array([found.alone, found.lowest, found.floor, is_chosen])
        with (
            contextlib.suppress(OSError, StoreError),
            replacing(self._file) as temporary,
            temporary.open("wb") as stream,
        ):
            np.savez_compressed(
                stream, numbers=numbers, first=found.first, second=found.second,
                similarities=found.similarities, exact=found.exact,
            )  # fmt: skip


def _choose(vectors: torch.Tensor, others: Others, given: float | None) -> tuple[float, float]:
    """Return the least similarity where vectors decide alone, and where pictures are compared."""
    import torch

    if given is not None:
        return given, given
    n_sampled = min(len(vectors), _SAMPLED_ROWS)
    sampled = vectors[np.linspace(0, len(vectors) - 1, n_sampled).astype(int)]
    best = torch.full((n_sampled, 0), -2.0)
    for _, theirs, _ in others.read():
        block = torch.from_numpy(np.ascontiguousarray(theirs, dtype=np.float32))
        best = torch.cat([best, sampled @ block.T], dim=1)
        best = best.topk(min(_SAMPLED_NEIGHBORS, best.shape[1]), dim=1).values
    neighbors = best.clamp(max=1.0).numpy()
    if neighbors.shape[1] < _SAMPLED_NEIGHBORS:
        return DEFAULT_THRESHOLD, DEFAULT_THRESHOLD
    alone = choose_threshold(neighbors)
    return alone, min(alone, choose_compared(neighbors, len(vectors)))


def _search(
    vectors: torch.Tensor, view: View, others: Others, floor: float
) -> tuple[Rows, Rows, Vectors, Mask]:
    """Find the nearest few others of each image from a similarity on, and the same bytes."""
    import torch

    of_content: dict[str, list[int]] = {}
    for at, content in enumerate(view.images.contents[view.rows].tolist()):
        if content:
            of_content.setdefault(content, []).append(at)
    kept, waiting, n_waiting = _join([]), list[tuple[Rows, Rows, Vectors, Mask]](), 0
    for rows, theirs, contents in others.read():
        block = torch.from_numpy(np.ascontiguousarray(theirs, dtype=np.float32))
        for start in range(0, len(vectors), _BLOCK_ROWS):
            similarities = vectors[start : start + _BLOCK_ROWS] @ block.T
            near = (similarities.amax(dim=1) >= floor).nonzero()[:, 0]
            if not len(near):
                continue
            few = similarities[near].topk(min(_EACH, len(rows)), dim=1)
            values, places = few.values.clamp(max=1.0).numpy(), few.indices.numpy()
            row, column = np.nonzero(values >= floor)
            first = near.numpy()[row] + start
            second = rows[places[row, column]]
            exact = np.zeros(len(first), dtype=bool)
            waiting.append((first, second, values[row, column], exact))
            n_waiting += len(first)
        same = [
            (at, place)
            for place, content in enumerate(contents.tolist())
            for at in of_content.get(content, ())
        ]
        if same:
            first, at = np.array(same, dtype=np.int64).T
            similarity = (vectors[first] * block[at]).sum(dim=1).clamp(max=1.0).numpy()
            waiting.append((first, rows[at], similarity, np.ones(len(first), dtype=bool)))
            n_waiting += len(first)
        if n_waiting > _PAIRS_AT_ONCE:
            kept, waiting, n_waiting = _keep_nearest([kept, *waiting]), [], 0
    return _keep_nearest([kept, *waiting])


def _join(
    parts: Sequence[tuple[Rows, Rows, Vectors, Mask]],
) -> tuple[Rows, Rows, Vectors, Mask]:
    nothing = np.zeros(0, dtype=np.int64)
    empty = nothing, nothing, np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool)
    first, second, similarities, exact = (
        np.concatenate(part) for part in zip(empty, *parts, strict=True)
    )
    return first, second, similarities, exact


def _keep_nearest(
    parts: Sequence[tuple[Rows, Rows, Vectors, Mask]],
) -> tuple[Rows, Rows, Vectors, Mask]:
    """Keep of each image the nearest few others, each once, those of the same bytes first."""
    first, second, similarities, exact = _join(parts)
    order = np.lexsort((~exact, second, first))
    first, second, similarities, exact = _take(order, first, second, similarities, exact)
    new = np.append(True, (first[1:] != first[:-1]) | (second[1:] != second[:-1]))[: len(first)]
    first, second, similarities, exact = _take(new, first, second, similarities, exact)
    order = np.lexsort((second, -similarities, ~exact, first))
    first, second, similarities, exact = _take(order, first, second, similarities, exact)
    _, starts, counts = np.unique(first, return_index=True, return_counts=True)
    places = np.arange(len(first)) - np.repeat(starts, counts)
    return _take(places < _EACH, first, second, similarities, exact)


def _take(
    kept: Rows | Mask, first: Rows, second: Rows, similarities: Vectors, exact: Mask
) -> tuple[Rows, Rows, Vectors, Mask]:
    return first[kept], second[kept], similarities[kept], exact[kept]


def _compare(view: View, others: Others, found: _Pairs, *, confirm: bool) -> tuple[Mask, Mask]:
    """Tell of which pairs both pictures are known, and of which they look the same."""
    nothing = np.zeros(len(found.first), dtype=bool)
    if not confirm or others.view is None or not len(found.first):
        return nothing, nothing
    ours, our_places = np.unique(found.first, return_inverse=True)
    theirs, their_places = np.unique(found.second, return_inverse=True)
    looks, known = read_looks(dataclasses.replace(view, rows=view.rows[ours]))
    other_looks, other_known = read_looks(dataclasses.replace(others.view, rows=theirs))
    compared = known[our_places] & other_known[their_places] & ~found.exact
    alike = nothing.copy()
    if compared.any():
        likeness = Likeness(np.concatenate([looks, other_looks]))
        first, second = our_places[compared], their_places[compared] + len(looks)
        alike[compared] = likeness.compare(first, second)
    return compared, alike
