"""TreeOfLife text heads into a store and out of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file
from bioprobe.encoders.catalog import parse_name
from bioprobe.errors import MismatchError, ModelUnavailableError, SourceError
from bioprobe.files import find_part, read_json, save_array, write_set
from bioprobe.interchange.numpy_files import map_matrix
from bioprobe.result import Notes, Record
from bioprobe.store import EmbeddingStore
from bioprobe.table_bounds import check_json
from bioprobe.taxonomy import RANKS, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS, read_labels
from bioprobe.types import Vectors
from bioprobe.zeroshot.head_recipe import write_names
from bioprobe.zeroshot.text_head import write_head

if TYPE_CHECKING:
    import pandas as pd


LOOKS_LIKE = "a .npy of one taxon a column with a .json of [[7 ranks], common name] beside it"
_PEEKED_BYTES = 4096
_BLOCK_ROWS = 8192


def is_text_head(source: Path) -> bool:
    """Tell whether a ``.npy`` has a JSON list of lists beside it, by the list's first bytes."""
    names = source.with_suffix(".json")
    if source.suffix != ".npy" or not is_file(names):
        return False
    with names.open(encoding="utf-8", errors="replace") as stream:
        start = "".join(stream.read(_PEEKED_BYTES).split())
    return start.startswith("[[[")


def read_text_head(source: Path) -> tuple[pd.DataFrame, npt.NDArray[Any]]:
    """Read a head.

    Returns
    -------
    taxa : DataFrame of str, shape (n_rows, 8)
        The seven ranks and the common name; ``""`` where unknown. The species is the binomial.
    embeddings : ndarray, shape (n_rows, dim)
        A view of the memory-mapped file, one taxon a row; not made unit, and rows of zeros, with
        which published heads are padded, are in it.

    Raises
    ------
    SourceError
        If the two files do not fit each other or the layout.

    References
    ----------
    pybioclip, ``TreeOfLifeClassifier``: ``txt_emb_species.npy`` of shape (dim, n) and
    ``txt_emb_species.json``, whose seventh name is the species epithet.
    """
    matrix = map_matrix(find_part(source.with_suffix(".json"), source))
    entries = _read_entries(source.with_suffix(".json"))
    if matrix.shape[1] != len(entries):
        is_turned = matrix.shape[0] == len(entries)
        hint = "; it seems to be transposed: save it as matrix.T" if is_turned else ""
        msg = (
            f"{source} has shape {matrix.shape} for {len(entries)} names; expected (dim, "
            f"{len(entries)}){hint}"
        )
        raise SourceError(msg)
    return _to_labels(entries), matrix.T


def write_text_head(target: Path, taxa: Taxonomy, embeddings: Vectors) -> None:
    """Write class embeddings as a head that pybioclip can read.

    Parameters
    ----------
    target : Path
        A ``.npy``; the names go into a ``.json`` of the same name.
    taxa : Taxonomy
        One a row.
    embeddings : ndarray of float32, shape (n_classes, dim), unit rows

    References
    ----------
    pybioclip, ``create_classification_dict``: the binomial is made of the sixth and seventh name.
    """
    entries = [[write_names(taxon), taxon.common_name] for taxon in taxa]
    matrix = np.ascontiguousarray(embeddings.T, dtype=np.float32)
    write_set(
        target.with_suffix(".json"),
        [(target, lambda file: save_array(file, matrix))],
        lambda _: json.dumps(entries, ensure_ascii=False),
    )


def iter_blocks(embeddings: npt.NDArray[Any]) -> Iterator[Vectors]:
    """Cut the rows of a head into blocks.

    Yields
    ------
    ndarray of float32, shape (n, dim)
    """
    for start in range(0, len(embeddings), _BLOCK_ROWS):
        yield np.ascontiguousarray(embeddings[start : start + _BLOCK_ROWS], dtype=np.float32)


def _read_entries(path: Path) -> list[list[Any]]:
    try:
        check_json(path)
        entries = read_json(path)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a list of names: {error}"
        raise SourceError(msg) from error
    if not isinstance(entries, list) or not entries:
        msg = f"{path} holds no name; expected a list of [[7 ranks], common name]"
        raise SourceError(msg)
    for number, entry in enumerate(entries):
        if not _is_entry(entry):
            msg = f"{path} entry {number} is {entry!r}; expected [[7 ranks], common name]"
            raise SourceError(msg)
    return entries


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, list) or len(entry) != 2:
        return False
    names = entry[0]
    return isinstance(names, list) and len(names) == len(RANKS)


def _to_labels(entries: Sequence[Sequence[Any]]) -> pd.DataFrame:
    import pandas as pd

    rows = [(*_join_binomial(names), common) for names, common in entries]
    frame = pd.DataFrame(rows, columns=list(LABEL_COLUMNS), dtype=object)
    return read_labels(frame, apart=False)[list(LABEL_COLUMNS)]


def _join_binomial(names: Sequence[str | None]) -> list[str | None]:
    *above, genus, epithet = names
    is_whole = not genus or not epithet or epithet.startswith(f"{genus} ")
    return [*above, genus, epithet if is_whole else f"{genus} {epithet}"]


@dataclasses.dataclass(frozen=True, repr=False)
class HeadSummary(Record):
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
    notes : tuple of Note
        What is to be said of it.
    """

    store: Path
    name: str
    n_imported: int
    n_left_out: int
    notes: Notes = ()


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
    write_text_head(target, taxa, embeddings)


def _is_same_model(given: str, stored: str) -> bool:
    if given == stored:
        return True
    try:
        one, other = parse_name(given), parse_name(stored)
    except ModelUnavailableError:
        return False
    return (one.backend, one.target, one.revision) == (other.backend, other.target, other.revision)
