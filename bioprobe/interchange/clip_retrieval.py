"""The folder that clip-retrieval writes: numbered parts of vectors and metadata."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.access import list_names
from bioprobe.cells import from_arrow
from bioprobe.errors import SourceError
from bioprobe.files import map_matrix, replacing_folder
from bioprobe.interchange.arrow_tables import find_plain_columns, to_table
from bioprobe.interchange.image_rows import list_files, name_columns
from bioprobe.interchange.numpy_files import slice_matrix, write_matrix
from bioprobe.interchange.vector_source import (
    KEY,
    Declaration,
    Layout,
    OutgoingRows,
    ReadOptions,
    VectorBatch,
    VectorSource,
)
from bioprobe.table_bounds import check_parquet

if TYPE_CHECKING:
    import pyarrow as pa


_VECTORS, _METADATA = "img_emb", "metadata"
_PART = re.compile(r"img_emb_(\d+)\.npy")
_METADATA_PART = re.compile(r"metadata_(\d+)\.parquet")
_FIRST = {".npy": "img_emb_0.npy", ".parquet": "metadata_0.parquet"}
_PATH_COLUMN = "image_path"
#: Rows a part, as ``clip-retrieval inference`` has them by default (``write_batch_size``).
PART_ROWS = 1_000_000


@dataclasses.dataclass(frozen=True)
class _Part:
    vectors: Path
    metadata: Path


def _holds_parts(source: Path) -> bool:
    """Tell whether a folder has numbered parts below ``img_emb``."""
    return any(map(_PART.fullmatch, list_names(source / _VECTORS)))


def open_clip_retrieval(source: Path, options: ReadOptions) -> VectorSource:  # noqa: ARG001
    """Open the images' vectors of a clip-retrieval folder; those of captions are not read.

    Raises
    ------
    SourceError
        If a part has no metadata, or another number of rows or dim than it.
    """
    parts = _list_parts(source)
    sizes = [_check(part) for part in parts]
    dims = sorted({dim for _, dim in sizes})
    if len(dims) > 1:
        msg = f"the parts of {source} have different dims ({dims}); keep those of one encoder"
        raise SourceError(msg)
    schemas = [_read_schema(part) for part in parts]
    plain = list(dict.fromkeys(name for schema in schemas for name in find_plain_columns(schema)))
    nested = dict.fromkeys(name for schema in schemas for name in schema.names if name not in plain)
    said = Declaration.from_json((schemas[0].metadata or {}).get(KEY.encode()), source)
    n_rows = sum(n for n, _ in sizes)
    if said is not None and said.n_rows not in {0, n_rows}:
        msg = (
            f"{source} was exported with {said.n_rows:,} rows and has {n_rows:,}: parts are "
            "missing or too many; copy the folder whole"
        )
        raise SourceError(msg)

    def read() -> Iterator[VectorBatch]:
        for part in parts:
            yield from _read_part(part)

    return VectorSource(
        source,
        n_rows,
        dims[0],
        said,
        tuple(nested),
        read,
    )


def write_clip_retrieval(target: Path, rows: OutgoingRows) -> None:
    """Write ``img_emb/img_emb_<i>.npy`` and ``metadata/metadata_<i>.parquet``.

    The vectors are float32, where clip-retrieval writes float16: its readers take both.

    References
    ----------
    clip-retrieval, ``clip_inference/writer.py``: part numbers are padded to the width of their
    count, ``image_path`` comes first in the metadata.
    """
    names = name_columns(rows.frame, taken=(_PATH_COLUMN,))
    declaration = dataclasses.replace(rows.declaration, columns=names, n_rows=len(rows))
    table = to_table(rows.frame.rename(columns=names))
    table = table.add_column(0, _PATH_COLUMN, [list_files(rows.frame)])
    table = table.replace_schema_metadata({KEY: declaration.to_json()})
    n_parts = max(1, math.ceil(len(rows) / PART_ROWS))
    width = int(math.log10(n_parts)) + 1
    blocks = rows.iter_vectors()
    with replacing_folder(target) as folder:
        for name in (_VECTORS, _METADATA):
            (folder / name).mkdir()
        for number in range(n_parts):
            part = table.slice(number * PART_ROWS, PART_ROWS)
            label = str(number).zfill(width)
            shape = (part.num_rows, rows.dim)
            blocks = write_matrix(folder / _VECTORS / f"img_emb_{label}.npy", blocks, shape)
            _write_metadata(folder / _METADATA / f"metadata_{label}.parquet", part)


def _write_metadata(path: Path, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def _list_parts(source: Path) -> list[_Part]:
    """List the parts, whose numbers are those from 0 on in both folders.

    Raises
    ------
    SourceError
        If one is missing, twice there, or named as none is.
    """
    vectors = _number(source / _VECTORS, _PART, ".npy")
    metadata = _number(source / _METADATA, _METADATA_PART, ".parquet")
    if not vectors:
        msg = f"{source} has no {_VECTORS}/img_emb_0.npy; give the folder clip-retrieval wrote"
        raise SourceError(msg)
    label = next(iter(vectors.values())).stem.rpartition("_")[2]
    for number in range(max([*vectors, *metadata]) + 1):
        name = str(number).zfill(len(label))
        for files, beside, wanted in (
            (vectors, metadata, source / _VECTORS / f"img_emb_{name}.npy"),
            (metadata, vectors, source / _METADATA / f"metadata_{name}.parquet"),
        ):
            if number not in files:
                other = f": {beside[number]} is there without it" if number in beside else ""
                msg = (
                    f"{wanted} is missing{other}; nothing is imported, as rows would be missing "
                    "too: copy the folder whole"
                )
                raise SourceError(msg)
    return [_Part(vectors[number], metadata[number]) for number in sorted(vectors)]


def _number(folder: Path, pattern: re.Pattern[str], suffix: str) -> dict[int, Path]:
    """Return the parts in a folder by their numbers; other files of that ending are none."""
    parts: dict[int, Path] = {}
    for name in list_names(folder):
        found = pattern.fullmatch(name)
        if found is None:
            if name.lower().endswith(suffix):
                msg = (
                    f"{folder / name} is no part: expected one named as {folder / _FIRST[suffix]}; "
                    "rename it, or move it away"
                )
                raise SourceError(msg)
            continue
        number = int(found[1])
        if number in parts:
            msg = f"{parts[number]} and {folder / name} are the same part; move one of them away"
            raise SourceError(msg)
        parts[number] = folder / name
    return parts


def _check(part: _Part) -> tuple[int, int]:
    import pyarrow.parquet as pq

    n_rows, dim = map_matrix(part.vectors).shape
    try:
        check_parquet(part.metadata)
        n_named = pq.ParquetFile(part.metadata).metadata.num_rows
    except (ValueError, OSError) as error:
        msg = f"{part.metadata} cannot be read as Parquet: {error}"
        raise SourceError(msg) from error
    if n_named != n_rows:
        msg = f"{part.vectors} has {n_rows} rows, {part.metadata} has {n_named}; expected as many"
        raise SourceError(msg)
    return n_rows, dim


def _read_schema(part: _Part) -> pa.Schema:
    import pyarrow.parquet as pq

    return pq.read_schema(part.metadata)


def _read_part(part: _Part) -> Iterator[VectorBatch]:
    import pyarrow.parquet as pq

    # Pandas leaves an index of its own in some files; it is no column of the images.
    table = pq.read_table(part.metadata)
    plain = table.select(find_plain_columns(table.schema)).replace_schema_metadata()
    yield from slice_matrix(map_matrix(part.vectors), from_arrow(plain))


CLIP_RETRIEVAL = Layout(
    write=write_clip_retrieval,
    looks_like="a folder with img_emb/img_emb_0.npy and metadata/metadata_0.parquet",
    recognise=_holds_parts,
    open_source=open_clip_retrieval,
)
