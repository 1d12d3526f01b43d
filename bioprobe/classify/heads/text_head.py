"""Text heads: text embeddings of many taxa, made elsewhere and kept in a store."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, StoreError
from bioprobe.files import hash_file, sync
from bioprobe.store import EmbeddingStore

if TYPE_CHECKING:
    import pandas as pd

Vectors = npt.NDArray[np.float32]

HEADS_DIR = Path("text", "heads")
_VECTORS_NAME, _TAXA_NAME, _ABOUT_NAME = "vectors.npy", "taxa.parquet", "head.json"
_NAME = re.compile(r"[\w-][\w.-]*")


@dataclasses.dataclass(frozen=True)
class TextHead:
    """One text embedding a row, with the taxon that it stands for.

    Parameters
    ----------
    name : str
        Name in the store.
    taxa : DataFrame of str
        The seven ranks and the common name of each row, ``""`` where unknown.
    vectors : ndarray of float32, shape (n_rows, dim), unit rows
        Memory-mapped.
    about : mapping
        Where it came from: ``source``, ``model``, ``vectors_sha256`` and counts.
    """

    name: str
    taxa: pd.DataFrame
    vectors: Vectors
    about: dict[str, Any]

    def __len__(self) -> int:
        return len(self.taxa)


def list_heads(store: EmbeddingStore) -> list[str]:
    """Return the names of the heads of a store."""
    return sorted(path.parent.name for path in (store.folder / HEADS_DIR).glob(f"*/{_ABOUT_NAME}"))


def read_head(store: EmbeddingStore, name: str) -> TextHead:
    """Open a head of a store.

    Raises
    ------
    StoreError
        If there is none of that name, or it is damaged.
    MismatchError
        If it was made for the vectors of another encoder than the store's.
    """
    import pandas as pd

    folder = store.folder / HEADS_DIR / name
    if not (folder / _ABOUT_NAME).is_file():
        known = ", ".join(list_heads(store)) or "none"
        msg = f"{store.folder} has no text head {name!r}; it has {known}. Bring one with: "
        msg += f"bioprobe store import HEAD.npy --store {store.folder} --model NAME"
        raise StoreError(msg)
    try:
        about = json.loads((folder / _ABOUT_NAME).read_text(encoding="utf-8"))
        vectors = np.load(folder / _VECTORS_NAME, mmap_mode="r")
        taxa = pd.read_parquet(folder / _TAXA_NAME)
    except (OSError, ValueError) as error:
        msg = f"the text head {folder} cannot be read ({error}); remove it and import it again"
        raise StoreError(msg) from error
    if about["encoder_key"] != store.manifest.encoder.key:
        msg = (
            f"the text head {name!r} was made for vectors of {about['model']}, {store.folder} "
            f"holds those of {store.manifest.encoder.describe()}; import a head of that encoder"
        )
        raise MismatchError(msg)
    if vectors.shape != (len(taxa), store.manifest.dim):
        msg = f"the text head {folder} has {vectors.shape} numbers for {len(taxa)} taxa; remove it"
        raise StoreError(msg)
    return TextHead(name, taxa, vectors, about)


def write_head(
    store: EmbeddingStore,
    name: str,
    taxa: pd.DataFrame,
    blocks: Iterable[Vectors],
    *,
    source: str,
) -> TextHead:
    """Keep a head in a store, tied to the store's encoder; whole or not at all.

    Rows of zeros, with which published heads are padded, and rows that are not finite are left
    out and counted in ``about``.

    Parameters
    ----------
    store : EmbeddingStore
        Whose vectors the head is for.
    name : str
        Letters, digits, ``.``, ``_`` and ``-``.
    taxa : DataFrame of str
        The seven ranks and the common name of each row.
    blocks : iterable of ndarray of float32, shape (n, dim)
        The embeddings in order.
    source : str
        Where they came from.

    Raises
    ------
    StoreError
        If the name is taken or cannot be a name, or no row can be used.
    StoreLockedError
        If another process is writing to the store.
    """
    final = store.folder / HEADS_DIR / name
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name a text head; use letters, digits, '.', '_' and '-'"
        raise StoreError(msg)
    if final.exists():
        msg = f"{store.folder} has a text head {name!r} already; choose another --name"
        raise StoreError(msg)
    with store.lock():
        temporary = final.with_name(f".{name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            _fill(temporary, store, taxa, blocks, source)
            temporary.rename(final)
            sync(final.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return read_head(store, name)


def _fill(
    folder: Path, store: EmbeddingStore, taxa: pd.DataFrame, blocks: Iterable[Vectors], source: str
) -> None:
    usable = np.zeros(len(taxa), dtype=bool)
    _write_matrix(folder / _VECTORS_NAME, _iter_usable(blocks, usable), store.manifest.dim)
    if not usable.any():
        msg = f"none of the {len(taxa)} embeddings in {source} can be used: all zeros or not finite"
        raise StoreError(msg)
    taxa[usable].reset_index(drop=True).to_parquet(folder / _TAXA_NAME, index=False)
    about = {
        "source": source,
        "model": store.manifest.encoder.model,
        "encoder_key": store.manifest.encoder.key,
        "normalised": True,
        "n_rows": int(usable.sum()),
        "n_left_out": int((~usable).sum()),
        "vectors_sha256": hash_file(folder / _VECTORS_NAME),
    }
    (folder / _ABOUT_NAME).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        sync(file)


def _iter_usable(blocks: Iterable[Vectors], usable: npt.NDArray[np.bool_]) -> Iterator[Vectors]:
    start = 0
    for block in blocks:
        unit = normalise_rows(block)
        kept = np.abs(np.linalg.norm(unit, axis=1) - 1) < 1e-3
        usable[start : start + len(block)] = kept
        start += len(block)
        yield unit[kept]


def _write_matrix(path: Path, blocks: Iterator[Vectors], dim: int) -> None:
    # How many rows there are is known last, so the header is written twice: it has one length
    # for any number of rows, because numpy pads it.
    n_rows = 0
    with path.open("wb") as stream:
        _write_header(stream, (n_rows, dim))
        for block in blocks:
            stream.write(np.ascontiguousarray(block, dtype="<f4").tobytes())
            n_rows += len(block)
        stream.seek(0)
        _write_header(stream, (n_rows, dim))


def _write_header(stream: Any, shape: tuple[int, int]) -> None:  # noqa: ANN401 - a binary file
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
