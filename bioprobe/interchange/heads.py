"""TreeOfLife text heads into a store and out of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioprobe.classify.heads.text_head import write_head
from bioprobe.encoders.catalog import parse_name
from bioprobe.errors import MismatchError, ModelUnavailableError, SourceError
from bioprobe.interchange.formats.treeoflife import iter_blocks, read_text_head, write_text_head
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxonomy


@dataclasses.dataclass(frozen=True)
class HeadSummary:
    """What came of importing a text head.

    Parameters
    ----------
    store : Path
        Folder of the store.
    name : str
        Name of the head in it.
    n_imported : int
        Rows that were kept.
    n_left_out : int
        Rows of zeros or of numbers that are not finite.
    """

    store: Path
    name: str
    n_imported: int
    n_left_out: int


def import_text_head(
    source: Path, store: EmbeddingStore, *, model: str, name: str | None = None
) -> HeadSummary:
    """Add a TreeOfLife text head to a store.

    Parameters
    ----------
    source : Path
        A ``.npy`` of shape (dim, n) with a ``.json`` of the same name.
    store : EmbeddingStore
        Store of the same encoder's image vectors.
    model : str
        Encoder of the head, on the word of the user.
    name : str, optional
        Name of the head in the store; by default the file's.

    Raises
    ------
    MismatchError
        If the model is not the store's encoder, or the dim is another.
    SourceError
        If the files cannot be read as a head.
    StoreError
        If the store has a head of that name.

    References
    ----------
    pybioclip, ``TreeOfLifeClassifier``; the heads of the data sets imageomics/TreeOfLife-10M and
    TreeOfLife-200M (``embeddings/txt_emb_species.npy``).
    """
    if not _is_same_model(model, store.manifest.encoder.model):
        msg = (
            f"{store.folder} holds vectors of {store.manifest.encoder.describe()}, got a text head "
            f"of {model}: they cannot be compared. If the head was made by the same weights, say "
            f"--model {store.manifest.encoder.model}"
        )
        raise MismatchError(msg)
    taxa, embeddings = read_text_head(source)
    if embeddings.shape[1] != store.manifest.dim:
        msg = (
            f"{source} has text embeddings of dim {embeddings.shape[1]}, {store.folder} has "
            f"vectors of dim {store.manifest.dim}; bring the head of the store's encoder"
        )
        raise MismatchError(msg)
    head = write_head(
        store, name or source.stem, taxa, iter_blocks(embeddings), source=str(source.absolute())
    )
    return HeadSummary(store.folder, head.name, len(head), int(head.about["n_left_out"]))


def export_text_head(target: Path, taxa: Taxonomy, embeddings: npt.NDArray[np.float32]) -> None:
    """Write classes and their text embeddings as a TreeOfLife head.

    Parameters
    ----------
    target : Path
        A ``.npy``; the names go into a ``.json`` beside it.
    taxa : Taxonomy
        The classes.
    embeddings : ndarray of float32, shape (n_classes, dim), unit rows

    Raises
    ------
    SourceError
        If the target has another ending.
    """
    if target.suffix != ".npy":
        msg = f"a text head is a .npy file, got {target}; name it so"
        raise SourceError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text_head(target, taxa, embeddings)


def _is_same_model(given: str, stored: str) -> bool:
    if given == stored:
        return True
    try:
        one, other = parse_name(given), parse_name(stored)
    except ModelUnavailableError:
        return False
    return (one.backend, one.target, one.revision) == (other.backend, other.target, other.revision)
