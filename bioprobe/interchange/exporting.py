"""Vectors of a store for another tool."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SourceError
from bioprobe.interchange.image_rows import blank_to_null
from bioprobe.interchange.layouts import find_layout
from bioprobe.interchange.vector_source import BLOCK_ROWS, Declaration, OutgoingRows
from bioprobe.result import Notes, Record
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, repr=False)
class ExportSummary(Record):
    """What came of an export.

    Parameters
    ----------
    target : Path
        File or folder that was written.
    layout : str
        Its layout.
    n_exported : int
        Vectors: of images, or of the classes of a text head.
    dim : int
        Length of a vector.
    notes : tuple of Note
        What is to be said of it.
    """

    target: Path
    layout: str
    n_exported: int
    dim: int
    notes: Notes = ()


def export_store(asked: EmbeddingStore | View, target: Path, layout: str) -> ExportSummary:
    """Write the vectors of a store with everything its image table says of them.

    Unit vectors of float32, and in the file's metadata that they are. The target is whole or not
    there at all; a file is replaced, a folder must be new.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Rows that a newer embedding has replaced are not written.
    target : Path
        File, or folder for the layouts that are one.
    layout : str
        One of :data:`bioprobe.registry.EXPORTERS`.

    Raises
    ------
    SourceError
        If the layout is unknown, the file's ending is another layout's, or the folder is there.
    SelectionError
        If no image is left.
    """
    chosen = find_layout(layout)
    if chosen.suffix and target.suffix != chosen.suffix:
        msg = f"the layout {layout} is a {chosen.suffix} file, got {target}; name it so"
        raise SourceError(msg)
    view = View.of(asked)
    store, rows = view.store, view.rows
    frame = store.images.frame.iloc[rows].reset_index(drop=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    outgoing = OutgoingRows(
        blank_to_null(frame),
        store.manifest.dim,
        _declare(store, frame),
        lambda: _iter_vectors(store, rows),
    )
    chosen.write(target, outgoing)
    return ExportSummary(target, layout, len(rows), store.manifest.dim)


def _declare(store: EmbeddingStore, frame: pd.DataFrame) -> Declaration:
    text = [str(name) for name in frame.columns if frame[name].dtype.kind not in "biuf"]
    return Declaration(
        model=store.manifest.encoder.model,
        logit_scale=store.manifest.logit_scale,
        columns={},
        text_columns=tuple(text),
    )


def _iter_vectors(
    store: EmbeddingStore, rows: npt.NDArray[np.int64]
) -> Iterator[npt.NDArray[np.float32]]:
    for start, vectors in store.iter_shards():
        inside = rows[(rows >= start) & (rows < start + len(vectors))] - start
        for first in range(0, len(inside), BLOCK_ROWS):
            yield np.asarray(vectors[inside[first : first + BLOCK_ROWS]], dtype=np.float32)
