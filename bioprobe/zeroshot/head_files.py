"""The two files of a text head as TreeOfLife publishes it: vectors and names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file
from bioprobe.errors import SourceError
from bioprobe.files import find_part, map_matrix, read_json
from bioprobe.table_bounds import check_json
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL_COLUMNS, read_labels
from bioprobe.taxonomy.lists import collecting_later, read_entries
from bioprobe.types import Vectors

if TYPE_CHECKING:
    import pandas as pd


_PEEKED_BYTES = 4096
# Numbers of a block: 32 MB, and a few times that with what is made of them. Each block is read in
# as many places of the file as it has dimensions.
_BLOCK_NUMBERS = 2**23
# Names that are read at once, of which each takes a kilobyte meanwhile.
_NAMES_AT_ONCE = 65_536


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
    names = source.with_suffix(".json")
    matrix = map_matrix(find_part(names, source))
    with collecting_later():
        columns = _read_names(names)
        n_names = len(columns[COMMON_NAME])
        if matrix.shape[1] != n_names:
            is_turned = matrix.shape[0] == n_names
            hint = "; it seems to be transposed: save it as matrix.T" if is_turned else ""
            msg = (
                f"{source} has shape {matrix.shape} for {n_names} names; expected (dim, "
                f"{n_names}){hint}"
            )
            raise SourceError(msg)
        return _to_labels(columns), matrix.T


def iter_blocks(source: Path) -> Iterator[Vectors]:
    """Cut the rows of a head into blocks; no more of the file is in memory at a time.

    Parameters
    ----------
    source : Path
        The ``.npy``, of shape (dim, n).

    Yields
    ------
    ndarray of float32, shape (n, dim)
    """
    path = find_part(source.with_suffix(".json"), source)
    matrix = map_matrix(path)
    dim, n_rows = matrix.shape
    step = max(1, _BLOCK_NUMBERS // dim)
    if not isinstance(matrix, np.memmap) or not matrix.flags.c_contiguous:
        for start in range(0, n_rows, step):
            yield np.ascontiguousarray(matrix[:, start : start + step].T, dtype=np.float32)
        return
    # What is mapped counts as memory until the map is closed, so each stretch is read.
    first, size = matrix.offset, matrix.dtype.itemsize
    with path.open("rb", buffering=0) as stream:
        for start in range(0, n_rows, step):
            block = np.empty((dim, min(step, n_rows - start)), dtype=matrix.dtype)
            for row, line in enumerate(block):
                stream.seek(first + (row * n_rows + start) * size)
                if stream.readinto(line.view(np.uint8).data) != line.nbytes:
                    msg = f"{path} changed while it was read; wait until it is whole"
                    raise SourceError(msg)
            yield np.ascontiguousarray(block.T, dtype=np.float32)


def _read_names(path: Path) -> dict[str, npt.NDArray[np.object_]]:
    try:
        check_json(path)
        entries = read_json(path)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a list of names: {error}"
        raise SourceError(msg) from error
    if not isinstance(entries, list) or not entries:
        msg = f"{path} holds no name; expected a list of [[7 ranks], common name]"
        raise SourceError(msg)
    columns = read_entries(entries)
    if columns is None:
        number, entry = next((n, e) for n, e in enumerate(entries) if read_entries([e]) is None)
        msg = f"{path} entry {number} is {entry!r}; expected [[7 ranks], common name]"
        raise SourceError(msg)
    return columns


def _to_labels(columns: Mapping[str, npt.NDArray[np.object_]]) -> pd.DataFrame:
    import pandas as pd

    kept, parts = list(LABEL_COLUMNS), []
    for start in range(0, len(columns[COMMON_NAME]), _NAMES_AT_ONCE):
        part = {name: column[start : start + _NAMES_AT_ONCE] for name, column in columns.items()}
        pairs = zip(part[Rank.GENUS.value], part[Rank.SPECIES.value], strict=True)
        species = [_join_binomial(genus, epithet) for genus, epithet in pairs]
        part[Rank.SPECIES.value] = np.array(species, dtype=object)
        frame = pd.DataFrame(part, columns=kept, dtype=object)
        # As text of its own, a name takes a tenth of what it does as an object.
        parts.append(read_labels(frame, apart=False)[kept].astype("str"))
    return pd.concat(parts, ignore_index=True)


def _join_binomial(genus: str, epithet: str) -> str:
    is_whole = not genus or not epithet or epithet.startswith(f"{genus} ")
    return epithet if is_whole else f"{genus} {epithet}"
