"""Another collection, a store or a file of vectors, to compare a store with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.cells import write_cells
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, SourceError
from bioprobe.interchange.layouts import find_layout, recognise_layout
from bioprobe.interchange.vector_source import ReadOptions, VectorSource
from bioprobe.quality import Others
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.taxonomy.columns import spell_column
from bioprobe.types import Names, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd

# How files call their images; the first that is there counts.
_NAMES = ("path", "filename", "filepath", "imagepath", "image", "uuid", "id")
_HASHES = ("sha256",)


def open_others(source: Path, view: View) -> Others:
    """Open a store, or a file of vectors that ``store import`` reads, beside a store.

    Raises
    ------
    SourceError
        If there is nothing there, or it has no layout that is known.
    MismatchError
        If its vectors are of another encoder, by what it says, or of another length.
    """
    if EmbeddingStore.exists(source):
        return Others.of_store(EmbeddingStore.open(source))
    layout = recognise_layout(source)
    open_source = getattr(find_layout(layout), "open_source", None)
    if open_source is None:
        msg = f"{source} holds no vectors of images that can be read; name a store or its vectors"
        raise SourceError(msg)
    model = view.manifest.encoder.model
    opened: VectorSource = open_source(source, ReadOptions(model))
    said = opened.declaration.model if opened.declaration is not None else ""
    if said and said != model:
        msg = (
            f"{source} holds vectors of {said}, {view.folder} of {model}: they cannot be compared; "
            "name vectors of that encoder"
        )
        raise MismatchError(msg)
    if opened.dim != view.manifest.dim:
        msg = (
            f"{source} holds vectors of dim {opened.dim}, {view.folder} of dim "
            f"{view.manifest.dim}: they are of another encoder"
        )
        raise MismatchError(msg)
    return Others(str(source), _make_key(source), opened.n_rows, _Reader(opened).read,
                  _Reader(opened).name_rows, is_told=bool(said))  # fmt: skip


def _make_key(source: Path) -> str:
    """Return what changes when a file, or what lies in a folder, does."""
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    facts = [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return hashlib.sha256(repr([str(source.absolute()), facts]).encode()).hexdigest()


class _Reader:
    """Reads an opened file as often as it is asked to."""

    def __init__(self, opened: VectorSource) -> None:
        self._opened = opened

    def read(self) -> Iterator[tuple[Rows, Vectors, Names]]:
        """Read unit vectors in order; a row without one is passed over.

        Yields
        ------
        rows, vectors, contents : ndarray
        """
        start = 0
        for batch in self._opened.read():
            vectors = batch.vectors
            usable = (batch.lengths == self._opened.dim) & np.isfinite(vectors).all(axis=1)
            usable &= np.abs(vectors).max(axis=1, initial=0) > 0
            rows = np.arange(start, start + len(vectors), dtype=np.int64)[usable]
            start += len(vectors)
            contents = _find_column(batch.table.iloc[np.flatnonzero(usable)], _HASHES)
            if len(rows):
                yield rows, normalise_rows(vectors[usable]), contents

    def name_rows(self, rows: Rows) -> Sequence[str]:
        """Return what the images of some rows are called; one without a name has its number."""
        names: dict[int, str] = {}
        wanted, start = np.unique(rows), 0
        for batch in self._opened.read():
            stop = start + len(batch.table)
            here = wanted[(wanted >= start) & (wanted < stop)]
            if len(here):
                found = _find_column(batch.table.iloc[here - start], _NAMES)
                names |= dict(zip(here.tolist(), found.tolist(), strict=True))
            start = stop
        return [names.get(row) or f"row {row}" for row in rows.tolist()]


def _find_column(frame: pd.DataFrame, spellings: Sequence[str]) -> Names:
    """Return the texts of the first column of some name, ``""`` where there is none."""
    by_spelling = {spell_column(str(name)): name for name in reversed(list(frame.columns))}
    for spelling in spellings:
        if spelling in by_spelling:
            texts = write_cells(frame[by_spelling[spelling]])
            return np.asarray(texts.where(texts.notna(), ""), dtype=object)
    return np.full(len(frame), "", dtype=object)
