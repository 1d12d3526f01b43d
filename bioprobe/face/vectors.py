"""Vectors that people hold as an array, as a store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.errors import SourceError
from bioprobe.face.keeping import tell_import
from bioprobe.face.pictures import remove_with
from bioprobe.face.store import Store

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from bioprobe.interchange.vector_source import VectorBatch, VectorSource


def from_vectors(
    X: npt.ArrayLike,  # noqa: N803 - scikit-learn's name
    table: pd.DataFrame | Mapping[str, Sequence[Any]] | None = None,
    *,
    model: str,
    store: str | Path | None = None,
    root: str | Path | None = None,
    path_column: str | None = None,
    logit_scale: float | None = None,
    dtype: str | None = None,
) -> Store:
    """Make a store of vectors at hand, to ask them what embedded images are asked.

    Parameters
    ----------
    X : array-like of float, shape (n_images, dim)
        Made unit; a row of zeros, or of what is not finite, is left out and in ``failures``.
    table : DataFrame or mapping, optional
        One row an image: labels at any rank by the rank's name, a name or path of each image,
        whatever else is known of it.
    model : str
        Encoder that made them, on your word: texts are asked by it.
    store : str or Path, optional
        Folder of the store, which is made, or appended to; by default one that is gone with what
        is returned.
    root : str or Path, optional
        Folder that the paths of the table start from, so that pictures are found.
    path_column : str, optional
        Column of the table that names the image.
    logit_scale : float, optional
        Factor from cosine similarity to logits; by default that of the model.
    dtype : str, optional
        How a new store keeps vectors, ``float32`` or ``float16``.

    Returns
    -------
    Store
        Its ``notes`` say what was taken.

    Raises
    ------
    SourceError
        If there is no row, or not one row of the table for each vector.
    MismatchError
        If the vectors cannot be those of the model or of the store.

    Examples
    --------
    >>> X = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    >>> store = bp.from_vectors(X, {"family": ["Felidae", "Felidae", "Canidae"]}, model="mine")
    >>> store.search(row=0, k=1).to_frame()[["family", "similarity"]].to_numpy().tolist()
    [['Felidae', 0.8]]
    """
    from bioprobe.interchange.image_rows import RowNaming
    from bioprobe.interchange.layouts import take_vectors
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.view import View

    opened = _open_array(X, table)
    folder = Path(tempfile.mkdtemp(prefix="bioprobe-"), "vectors") if store is None else Path(store)
    naming = RowNaming(path_column, None if root is None else Path(root))
    summary = take_vectors(
        opened, folder, model=model, layout="array", logit_scale=logit_scale, dtype=dtype,
        naming=naming,
    )  # fmt: skip
    made = EmbeddingStore.open(folder)
    origin = ""
    if store is None:
        remove_with(made, folder.parent)
        origin = f"{summary.n_imported:,} vectors of {model}"
    said = tuple(tell_import(summary))
    return Store(View(made, made.rows, origin=origin), model=model, said=said)


from_vectors.__module__ = "bioprobe"


def _open_array(
    X: npt.ArrayLike,  # noqa: N803
    table: pd.DataFrame | Mapping[str, Sequence[Any]] | None,
) -> VectorSource:
    import numpy as np
    import pandas as pd

    from bioprobe.interchange.vector_source import BLOCK_ROWS, VectorBatch, VectorSource

    vectors = np.asarray(X, dtype=np.float32)
    if vectors.ndim != 2:
        msg = f"vectors are an array of shape (n_images, dim), got the shape {vectors.shape}"
        raise SourceError(msg)
    frame = pd.DataFrame(index=range(len(vectors))) if table is None else pd.DataFrame(table)
    if len(frame) != len(vectors):
        msg = f"{len(vectors):,} vectors need a row of the table each, got {len(frame):,} rows"
        raise SourceError(msg)
    frame = frame.reset_index(drop=True)

    def read() -> Iterator[VectorBatch]:
        for start in range(0, len(vectors), BLOCK_ROWS):
            part = vectors[start : start + BLOCK_ROWS]
            lengths: npt.NDArray[np.int64] = np.full(len(part), vectors.shape[1])
            yield VectorBatch(frame.iloc[start : start + len(part)], part, lengths)

    return VectorSource(Path("vectors"), len(vectors), vectors.shape[1], None, (), read)
