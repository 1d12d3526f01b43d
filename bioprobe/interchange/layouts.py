"""Vectors of other tools into a store, a store into their files, and which layout is which."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.access import exists
from bioprobe.encoders import load_encoder
from bioprobe.encoders.downloading import describe_model
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import (
    BioprobeError,
    MismatchError,
    ModelUnavailableError,
    SourceError,
)
from bioprobe.images.addresses import refuse_address
from bioprobe.interchange import treeoflife
from bioprobe.interchange.draft import Draft, ImportSummary
from bioprobe.interchange.image_rows import RowNaming, blank_to_null
from bioprobe.interchange.vector_source import (
    BLOCK_ROWS,
    Declaration,
    Layout,
    OutgoingRows,
    ReadOptions,
    VectorSource,
)
from bioprobe.options import TEXT_HEAD
from bioprobe.progress import Step
from bioprobe.registry import EXPORTERS
from bioprobe.result import Notes, Record
from bioprobe.store import EmbeddingStore
from bioprobe.store.manifest import Manifest
from bioprobe.store.view import View
from bioprobe.store.writing import holding
from bioprobe.taxonomy import Rank
from bioprobe.zeroshot.head_files import is_text_head

if TYPE_CHECKING:
    import pandas as pd


def find_layout(name: str) -> Layout:
    """Return the layout of a name.

    Raises
    ------
    SourceError
        If there is none of that name.
    """
    if name not in EXPORTERS.names:
        known = ", ".join(EXPORTERS.names)
        msg = f"{name!r} is not a layout of images; expected one of {known}"
        raise SourceError(msg)
    found: Layout = EXPORTERS.load(name)
    return found


def recognise_layout(source: Path) -> str:
    """Tell which layout a file or folder has; a text head is ``treeoflife``.

    Raises
    ------
    SourceError
        If there is nothing there, or it has none of the layouts.

    See Also
    --------
    bioprobe.registry.EXPORTERS : what there is, in the order in which it is tried.
    """
    refuse_address(source)
    if not exists(source):
        msg = f"no file or folder at {source}"
        raise SourceError(msg)
    if is_text_head(source):
        return TEXT_HEAD
    ours = {name: find_layout(name) for name in EXPORTERS.places}
    for name, layout in ours.items():
        if layout.recognise(source):
            return name
    added, broken = EXPORTERS.load_added()
    for name, layout in added.items():
        if layout.recognise(source):
            return name
    known = {name: layout for name, layout in (ours | added).items() if layout.open_source}
    forms = "; ".join(f"{layout.looks_like} ({name})" for name, layout in known.items())
    missed = "".join(f"; {reason}" for reason in broken.values())
    msg = (
        f"{source} has no layout that bioprobe knows. Looked for: {forms}; "
        f"{treeoflife.LOOKS_LIKE} ({TEXT_HEAD}). Say which it is with --layout, and the column of "
        f"vectors with --column{missed}"
    )
    raise SourceError(msg)


#: exp(logit_scale) of the models whose training ends at CLIP's own ceiling (Radford et al. 2021,
#: section 2.5: "clipped to prevent scaling the logits by more than 100").
LOGIT_SCALES = dict.fromkeys(
    ("clip-b16", "clip-b32", "bioclip", "biocap", "bioclip-2", "bioclip-2.5"), 100.0
)


def import_vectors(
    source: Path,
    folder: Path,
    *,
    model: str,
    layout: str | None = None,
    logit_scale: float | None = None,
    dtype: str | None = None,
    root: Path | None = None,
    column: str | None = None,
    path_column: str | None = None,
    no_label: Sequence[str] = (),
    rank_columns: Mapping[Rank, str] | None = None,
    advance: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import vectors into a new store, or append them to one of the same imported encoder.

    All or nothing: until every row is read, the store is as it was. Memory is bounded by
    :data:`~bioprobe.interchange.vector_source.BLOCK_ROWS` vectors and the image table. A row
    whose vector is missing, of another length, all zeros or not finite is left out and listed in
    the store's failures.

    Parameters
    ----------
    source : Path
        File or folder.
    folder : Path
        Folder of the store.
    model : str
        Encoder of the vectors, on the word of the user: nobody saw its weights.
    layout : str, optional
        One of :data:`bioprobe.registry.EXPORTERS`; recognised by default.
    logit_scale : float, optional
        Factor from cosine similarity to logits. By default what the file says, else what is
        known of the model (:data:`LOGIT_SCALES`), else that of the model itself where it is on
        this machine, else 1.
    dtype : str, optional
        ``float32`` (default) or ``float16`` of a new store.
    root : Path, optional
        Folder that the names of the images are relative to.
    column : str, optional
        Column of the vectors.
    path_column : str, optional
        Column that names the images.
    rank_columns : mapping of Rank to str, optional
        Columns that hold a rank under another name; ``""`` is none.
    no_label : sequence of str
        Labels that are none: these cells are left empty.
    advance : callable, optional
        Told the number of rows of each batch, for a progress bar.

    Raises
    ------
    SourceError
        If the source cannot be read, two rows have one name, or no row has a usable vector.
    MismatchError
        If the vectors are not those of the model, or the store is of another encoder.
    StoreLockedError
        If another process is writing to the store.
    """
    chosen = layout or recognise_layout(source)
    open_source = find_layout(chosen).open_source
    if open_source is None:
        msg = f"the layout {chosen} is only written; export {source} in another one"
        raise SourceError(msg)
    opened = open_source(source, ReadOptions(model, column))
    return take_vectors(
        opened, folder, model=model, layout=chosen, logit_scale=logit_scale, dtype=dtype,
        naming=RowNaming(path_column, root, tuple(no_label), rank_columns or {}), advance=advance,
    )  # fmt: skip


def take_vectors(
    opened: VectorSource,
    folder: Path,
    *,
    model: str,
    layout: str,
    logit_scale: float | None = None,
    dtype: str | None = None,
    naming: RowNaming | None = None,
    advance: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Take the vectors of an opened source into a store, as :func:`import_vectors` does."""
    known = find_known(model, _read_logit_scale(model, opened, logit_scale))
    check_dim(model, opened, known.dim)
    wanted = Manifest(
        encoder=Fingerprint(model=model, backend="imported"),
        dim=opened.dim,
        dtype=dtype or "float32",
        logit_scale=1.0 if known.logit_scale is None else known.logit_scale,
        has_text_tower=known.has_text_tower,
    )
    with _open_target(folder, wanted, dtype=dtype, logit_scale=logit_scale) as target:
        draft = Draft(target, opened, naming or RowNaming())
        with draft.build() as built:
            for batch in opened.read():
                built.add(batch)
                if advance is not None:
                    advance(len(batch.table))
            built.finish()
    return draft.summarise(layout)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """What can be known of a model without a network; None is unknown."""

    dim: int | None = None
    logit_scale: float | None = None
    has_text_tower: bool = False


def find_known(model: str, logit_scale: float | None) -> Known:
    """Ask the catalogue, else the model itself where it is on this machine."""
    try:
        status = describe_model(model)
    except ModelUnavailableError:
        # A name of the user's own, for an encoder that only they have.
        return Known(logit_scale=logit_scale)
    card = status.card
    if card is not None and logit_scale is None:
        logit_scale = LOGIT_SCALES.get(card.short_name) if card.has_text_tower else 1.0
    known = Known(
        dim=status.dim,
        logit_scale=logit_scale,
        has_text_tower=card is not None and card.has_text_tower,
    )
    if status.folder is None or None not in {known.dim, known.logit_scale}:
        return known
    try:
        encoder = load_encoder(model, device="cpu")
    except BioprobeError:
        # It is here, but cannot be run here.
        return known
    return Known(
        dim=encoder.dim,
        logit_scale=encoder.logit_scale if logit_scale is None else logit_scale,
        has_text_tower=encoder.has_text_tower,
    )


def _read_logit_scale(model: str, opened: VectorSource, given: float | None) -> float | None:
    """Return what the user says of it, else what the file says, which must be of the model."""
    said = opened.declaration
    if said is not None and said.model != model:
        msg = f"{opened.path} holds vectors of {said.model}, got --model {model}; name that one"
        raise MismatchError(msg)
    return said.logit_scale if said is not None and given is None else given


def check_dim(model: str, opened: VectorSource, dim: int | None) -> None:
    """Refuse vectors of another length than the model makes, where that is known.

    Raises
    ------
    MismatchError
        If it is another.
    """
    if dim not in {None, opened.dim}:
        msg = (
            f"{opened.path} holds vectors of dim {opened.dim}, {model} makes {dim}; name the "
            "encoder that made them"
        )
        raise MismatchError(msg)


@contextlib.contextmanager
def _open_target(
    folder: Path, wanted: Manifest, *, dtype: str | None, logit_scale: float | None
) -> Iterator[EmbeddingStore]:
    is_new = not EmbeddingStore.exists(folder)
    made = not exists(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with holding(folder):
            if is_new:
                yield EmbeddingStore(folder, wanted)
            else:
                stored = EmbeddingStore.open(folder)
                check_target(stored, wanted, dtype=dtype, logit_scale=logit_scale)
                yield stored
    except BaseException:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def check_target(
    stored: EmbeddingStore, wanted: Manifest, *, dtype: str | None, logit_scale: float | None
) -> None:
    """Refuse to add vectors to a store that is made of others.

    Raises
    ------
    MismatchError
        If its encoder, dim, dtype or logit scale is another.
    """
    stored.check_encoder(wanted.encoder)
    pairs = (
        ("dim", stored.manifest.dim, wanted.dim),
        ("dtype", stored.manifest.dtype, dtype),
        ("logit scale", stored.manifest.logit_scale, logit_scale),
    )
    for name, has, got in pairs:
        if got is not None and got != has:
            msg = f"{stored.folder} has {name} {has}, got {got}; choose another --store"
            raise MismatchError(msg)


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
    outgoing = OutgoingRows(
        blank_to_null(frame),
        store.manifest.dim,
        _declare(store, frame),
        lambda: _iter_vectors(view),
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


def _iter_vectors(view: View) -> Iterator[npt.NDArray[np.float32]]:
    n_rows = len(view)
    for start in range(0, n_rows, BLOCK_ROWS):
        part = view.rows[start : start + BLOCK_ROWS]
        yield view.store.read_vectors(part)
        if view.progress is not None and n_rows > BLOCK_ROWS:
            view.progress(Step(start + len(part), n_rows, "vectors written"))
