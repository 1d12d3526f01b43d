"""TreeOfLife text heads: one text embedding a taxon, as pybioclip reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SourceError
from bioprobe.files import replacing, write_text
from bioprobe.interchange.formats.numpy_files import map_matrix
from bioprobe.taxonomy import RANKS, Taxon, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS, read_labels

if TYPE_CHECKING:
    import pandas as pd

Vectors = npt.NDArray[np.float32]

LOOKS_LIKE = "a .npy of one taxon a column with a .json of [[7 ranks], common name] beside it"
_PEEKED_BYTES = 4096
_BLOCK_ROWS = 8192


def is_text_head(source: Path) -> bool:
    """Tell whether a ``.npy`` has a JSON list of lists beside it, by the list's first bytes."""
    names = source.with_suffix(".json")
    if source.suffix != ".npy" or not names.is_file():
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
    matrix = map_matrix(source)
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
    entries = [[_write_names(taxon), taxon.common_name] for taxon in taxa]
    with replacing(target) as temporary:
        with temporary.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(embeddings.T, dtype=np.float32))
        write_text(target.with_suffix(".json"), json.dumps(entries, ensure_ascii=False))


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
        entries = json.loads(path.read_text(encoding="utf-8"))
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
    return read_labels(pd.DataFrame(rows, columns=list(LABEL_COLUMNS), dtype=object))


def _join_binomial(names: Sequence[str | None]) -> list[str | None]:
    *above, genus, epithet = names
    is_whole = not genus or not epithet or epithet.startswith(f"{genus} ")
    return [*above, genus, epithet if is_whole else f"{genus} {epithet}"]


def _write_names(taxon: Taxon) -> list[str]:
    *above, genus, species = taxon.lineage
    first, _, rest = species.partition(" ")
    if rest and genus in ("", first):
        return [*above, first, rest]
    return [*above, genus, species]
