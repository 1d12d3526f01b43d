"""The layouts that vectors come in, and which one a file or folder has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from bioprobe.errors import SourceError
from bioprobe.interchange import (
    clip_retrieval,
    numpy_files,
    parquet_files,
    saved_datasets,
    treeoflife,
)
from bioprobe.interchange.vector_source import OutgoingRows, ReadOptions, VectorSource

TREEOFLIFE = "treeoflife"


@dataclasses.dataclass(frozen=True)
class Layout:
    """One way in which vectors of images lie on disk.

    Parameters
    ----------
    name : str
        Name given to ``--layout``.
    looks_like : str
        What it is recognised by, for people.
    recognise : callable
        Tells whether a file or folder has this layout, by its names and headers alone.
    open_source : callable
        Opens one for reading.
    write : callable
        Writes rows of a store as one.
    """

    name: str
    looks_like: str
    recognise: Callable[[Path], bool]
    open_source: Callable[[Path, ReadOptions], VectorSource]
    write: Callable[[Path, OutgoingRows], None]


#: In the order in which they are tried.
LAYOUTS = (
    Layout(
        "clip-retrieval",
        "a folder with img_emb/img_emb_0.npy and metadata/metadata_0.parquet",
        clip_retrieval.holds_parts,
        clip_retrieval.open_clip_retrieval,
        clip_retrieval.write_clip_retrieval,
    ),
    Layout(
        "datasets",
        "a folder that Dataset.save_to_disk wrote, with a column of vectors",
        saved_datasets.is_saved_dataset,
        saved_datasets.open_dataset,
        saved_datasets.write_dataset,
    ),
    Layout(
        "emb-explorer",
        "Parquet with a column of vectors named emb, embedding, embeddings or vector",
        parquet_files.holds_emb,
        parquet_files.open_parquet,
        parquet_files.write_emb_explorer,
    ),
    Layout(
        "hpc-inference",
        "Parquet with a column of vectors named emb_<model>",
        parquet_files.holds_emb_of_model,
        parquet_files.open_parquet,
        parquet_files.write_hpc_inference,
    ),
    Layout(
        "npy",
        "a .npy of one vector a row, with a .csv of the same name beside it",
        numpy_files.is_matrix,
        numpy_files.open_npy,
        numpy_files.write_npy,
    ),
)
LAYOUT_NAMES = tuple(layout.name for layout in LAYOUTS)


def find_layout(name: str) -> Layout:
    """Return the layout of a name.

    Raises
    ------
    SourceError
        If there is none of that name.
    """
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    msg = f"{name!r} is not a layout of images; expected one of {', '.join(LAYOUT_NAMES)}"
    raise SourceError(msg)


def recognise_layout(source: Path) -> str:
    """Tell which layout a file or folder has; a text head is ``treeoflife``.

    Raises
    ------
    SourceError
        If there is nothing there, or it has none of the layouts.

    See Also
    --------
    LAYOUTS : what each is recognised by.
    """
    if not source.exists():
        msg = f"no file or folder at {source}"
        raise SourceError(msg)
    if treeoflife.is_text_head(source):
        return TREEOFLIFE
    for layout in LAYOUTS:
        if layout.recognise(source):
            return layout.name
    forms = "; ".join(f"{layout.looks_like} ({layout.name})" for layout in LAYOUTS)
    msg = (
        f"{source} has no layout that bioprobe knows. Looked for: {forms}; "
        f"{treeoflife.LOOKS_LIKE} ({TREEOFLIFE}). Say which it is with --layout, and the column of "
        "vectors with --column"
    )
    raise SourceError(msg)
