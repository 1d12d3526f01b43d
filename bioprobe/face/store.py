"""A store as people hold it: opened, filled, and asked everything."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import SourceError
from bioprobe.face.adding import Adds
from bioprobe.face.annotating import Annotates
from bioprobe.face.annotations import Corrects
from bioprobe.face.browsing import Browses
from bioprobe.face.clustering import Groups
from bioprobe.face.conservation import Conserves
from bioprobe.face.explaining import Explains
from bioprobe.face.exporting import Exports
from bioprobe.face.finding import Finds
from bioprobe.face.finetuning import Finetunes
from bioprobe.face.identifying import Identifies
from bioprobe.face.keeping import Keeps, tell_import
from bioprobe.face.mapping import Maps
from bioprobe.face.naming import Names
from bioprobe.face.opened import TextFinder, find_texts
from bioprobe.face.pictures import Sources, open_pictures, remove_with
from bioprobe.face.prompts import Texts
from bioprobe.face.provisional import Provisionals
from bioprobe.face.quality import Sifts
from bioprobe.face.removing import Removes
from bioprobe.face.reporting import Reports
from bioprobe.face.reviewing import Reviews
from bioprobe.face.searching import Seeks
from bioprobe.face.sending import Sends
from bioprobe.face.showing import Shows
from bioprobe.options import (
    BOTH,
    AllowOutside,
    Device,
    Exclude,
    Include,
    Model,
    Option,
    StoreFolder,
    list_given,
    question,
    split_names,
)
from bioprobe.progress import Progress
from bioprobe.result import PROBLEM, WARNING, Note, count

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from bioprobe.embedding import EmbedSummary
    from bioprobe.face.encoder import Encoder as Held
    from bioprobe.interchange.vector_source import VectorBatch, VectorSource
    from bioprobe.merging import Merged


DEFAULT_STORE = "embeddings/default"


class Store(
    Finds,
    Provisionals,
    Groups,
    Finetunes,
    Reports,
    Explains,
    Annotates,
    Identifies,
    Reviews,
    Corrects,
    Seeks,
    Sifts,
    Adds,
    Names,
    Texts,
    Exports,
    Conserves,
    Maps,
    Keeps,
    Removes,
    Sends,
    Shows,
    Browses,
):
    """Embeddings of images with their table, open to every question.

    Make one with :func:`bioprobe.open` or :func:`bioprobe.embed`.
    """

    __module__ = "bioprobe"

    #: Counts of the run that filled it; None where it was opened as it is.
    summary: EmbedSummary | None = None
    #: Which share of the sources that run took, such as ``3/8``; None where it took all.
    share: str | None = None


def open(
    store: StoreFolder = DEFAULT_STORE,
    *,
    model: Model = None,
    device: Device = "auto",
    encoder: Callable[[], Held] | None = None,
    progress: Progress | None = None,
) -> Store:
    """Open a store.

    Parameters
    ----------
    store : str or Path
        Its folder, or its address (``s3://bucket/store``): it is copied into the cache, as far as
        it has changed there, and the copy is read.
    model : str, optional
        Encoder of texts and pictures that are asked; by default the one that made the store.
    device : str
        Where the encoder runs, loaded when a text or picture is new.
    encoder : callable, optional
        Called for the encoder when a text or picture is new, as by who has loaded it already; by
        default it is loaded then.
    progress : callable, optional
        Told how many of many new texts are embedded, and of many images asked.

    Raises
    ------
    StoreError
        If there is no store, or it cannot be read.

    Examples
    --------
    >>> store = bp.open("embeddings/all")  # doctest: +SKIP
    """
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.view import View

    opened = EmbeddingStore.open(store).counting(BOTH)
    if encoder is None:
        texts = find_texts(opened, model, device, progress)
    else:
        find = encoder
        texts = TextFinder(opened, lambda: find().loaded, progress)
    view = View(opened, opened.rows, progress=progress)
    notes = tuple(opened.tell_labels())
    return Store(view, model=model, device=device, notes=notes, texts=texts)


@question
def pictures(
    sources: Sources,
    *,
    model: Model = None,
    device: Device = "auto",
    like: Annotated[
        str | Path | None,
        Option("Store whose encoder reads them, as it ran there, if there is a store."),
    ] = None,
    keep: bool = False,
    allow_outside: AllowOutside = False,
    exclude: Exclude = None,
    include: Include = None,
    progress: Progress | None = None,
) -> Store:
    """Open pictures as a store, to ask them anything without keeping one.

    Their vectors, and the texts that are asked, are kept in a cache by content, so that the second
    time none is decoded and no model is loaded: in ``$BIOPROBE_CACHE``, or where the system keeps
    what programs can compute again. Labels, masks and whatever else is said of the pictures are
    gone with the store that is returned.

    Parameters
    ----------
    sources : str, Path or sequence of them
        Folders, image files, tables that name files, ``-`` for a list of paths on standard input,
        data sets; labels are read as :func:`bioprobe.embed` reads them.
    model : str, optional
        Encoder; by default that of the store ``like``, or ``bioclip-2``.
    device : str
        Where it runs.
    like : str or Path, optional
        Store whose encoder reads them; one that is not there is passed over.
    keep : bool
        Whether folders are kept in the store ``like``, made where there is none, and asked there,
        instead of the cache. Where it is of another model, or cannot be written, the cache serves,
        and the notes say so.
    allow_outside : bool
        Whether a table or data set may name files anywhere, as for :func:`bioprobe.embed`.
    exclude, include : str or sequence of str, optional
        Patterns of what is left out of folders, and of what is taken all the same, as for
        :func:`bioprobe.embed`.
    progress : callable, optional
        Told a step after each picture; an error that it raises stops the run.

    Returns
    -------
    Store
        Rows in the order of the sources. Pictures that could not be read are in its ``notes`` and
        ``failures``.

    Raises
    ------
    SourceError
        If a source is missing or holds no image, or none can be read.
    ModelUnavailableError
        If the weights are not here.

    Examples
    --------
    >>> bp.pictures(["a.jpg", "b.jpg"]).zeroshot("family", taxa="list.csv")  # doctest: +SKIP
    """
    return open_pictures(
        Store, sources, model=model, device=device, like=like, keep=keep,
        allow_outside=allow_outside, exclude=exclude, include=include, progress=progress,
    )  # fmt: skip


open.__module__ = pictures.__module__ = "bioprobe"


def from_vectors(
    X: npt.ArrayLike,  # noqa: N803 - scikit-learn's name
    table: pd.DataFrame | Mapping[str, Sequence[Any]] | None = None,
    *,
    model: str,
    store: str | Path | None = None,
    root: str | Path | None = None,
    path_column: str | None = None,
    no_label: str | Sequence[str] | None = None,
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
    no_label : str or sequence of str, optional
        Labels that are none, such as ``#N/A``: these cells are left empty, whatever their case.
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
    >>> import bioprobe as bp
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
    naming = RowNaming(
        path_column, None if root is None else Path(root), tuple(split_names(no_label or ()))
    )
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


@question
def merge(
    stores: Annotated[
        Sequence[str | Path],
        Option("Folders of the stores, such as embeddings/all-*-of-8.", ("-",), shell=Path),
    ],
    *,
    store: StoreFolder,
    partial: Annotated[
        bool,
        Option(
            "Merge shares also where some are missing or unfinished, or saw other sources than "
            "the rest."
        ),
    ] = False,
    progress: Progress | None = None,
) -> Merged:
    """Make one store of several, such as the shares of one run, with all that hangs on their rows.

    The new store has the rows of one run without shares, in its order; or those of one store after
    the other, where these are no shares. The others stay as they are.

    Parameters
    ----------
    stores : sequence of str or Path
        Their folders.
    store : str or Path
        Folder of the new store.
    partial : bool
        Whether shares are merged also where some are missing or unfinished, or saw other sources
        than the rest.
    progress : callable, optional
        Told how many rows are written.

    Returns
    -------
    Merged
        Its ``notes`` say what did not come along.

    Raises
    ------
    MismatchError
        If they are of several encoders.
    StoreError
        If a share is missing or unfinished, or one store is damaged; nothing is written then.
    SourceError
        If there is something at the new store's place.

    Examples
    --------
    >>> bp.merge(["all-1-of-2", "all-2-of-2"], store="all")  # doctest: +SKIP
    """
    from bioprobe.merging import merge_stores
    from bioprobe.store import EmbeddingStore

    done = merge_stores(
        [Path(one) for one in list_given(stores)], Path(store), partial=partial, progress=progress
    )
    rows, stores = count(done.n_rows, "row"), count(len(done.frame), "store")
    said = [Note(f"{rows} of {stores} -> {done.store}")]
    if done.n_twice:
        verb = "was" if done.n_twice == 1 else "were"
        text = (
            f"{count(done.n_twice, 'row')} {verb} left out: an earlier store has the same picture; "
            "only what that store does not say was taken of them"
        )
        said.append(Note(text, WARNING))
    if n_failed := len(EmbeddingStore.open(done.store).read_failures()):
        text = f"{count(n_failed, 'picture')} could not be read, and why: bioprobe store info"
        said.append(Note(text, PROBLEM))
    said += [Note(f"merged all the same: {one}", PROBLEM) for one in done.missing]
    return dataclasses.replace(done, notes=(*said, *done.notes))


merge.__module__ = "bioprobe"


def _open_array(
    X: npt.ArrayLike,  # noqa: N803
    table: pd.DataFrame | Mapping[str, Sequence[Any]] | None,
) -> VectorSource:
    import numpy as np
    import pandas as pd

    from bioprobe.cells import settle_frame
    from bioprobe.interchange.vector_source import BLOCK_ROWS, VectorBatch, VectorSource

    vectors = np.asarray(X, dtype=np.float32)
    if vectors.ndim != 2:
        msg = f"vectors are an array of shape (n_images, dim), got the shape {vectors.shape}"
        raise SourceError(msg)
    frame = pd.DataFrame(index=range(len(vectors))) if table is None else settle_frame(table)
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
