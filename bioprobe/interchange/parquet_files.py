"""Parquet files with a vector in each row: emb-explorer's and hpc-inference's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.files import replacing
from bioprobe.interchange.arrow_tables import (
    find_dim,
    find_plain_columns,
    find_vector_columns,
    to_batch,
    to_lists,
    to_table,
)
from bioprobe.interchange.image_rows import name_columns, name_rows
from bioprobe.interchange.vector_source import (
    BLOCK_ROWS,
    KEY,
    Declaration,
    Layout,
    OutgoingRows,
    ReadOptions,
    VectorBatch,
    VectorSource,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pa_dataset


SUFFIXES = (".parquet", ".pq")
#: Names of the column of vectors, in order of preference.
VECTOR_COLUMNS = ("emb", "embedding", "embeddings", "vector")
MODEL_PREFIX = "emb_"
_N_PEEKED = 1024


def holds_emb(source: Path) -> bool:
    """Tell whether Parquet files are laid out as emb-explorer's: a column ``emb`` or its like."""
    return any(name in VECTOR_COLUMNS for name in _peek_columns(source))


def holds_emb_of_model(source: Path) -> bool:
    """Tell whether Parquet files are laid out as hpc-inference's: ``emb_<model>``."""
    return any(name.startswith(MODEL_PREFIX) for name in _peek_columns(source))


def open_parquet(source: Path, options: ReadOptions) -> VectorSource:
    """Open a Parquet file, or all those below a folder, ``key=value`` folders included.

    Raises
    ------
    SourceError
        If there is none, one cannot be read, or which column holds the vectors is not clear.
    """
    opened = _open_dataset(source)
    column = choose_vector_column(opened.schema, source, options)
    plain = find_plain_columns(opened.schema)
    metadata = opened.schema.metadata or {}

    def read() -> Iterator[VectorBatch]:
        batches = opened.to_batches(
            columns=[column, *plain], batch_size=BLOCK_ROWS, batch_readahead=1, fragment_readahead=1
        )
        for batch in batches:
            if batch.num_rows:
                yield to_batch(_as_table(batch), column, plain, dim)

    n_rows = opened.count_rows()
    dim = find_dim(opened.head(min(_N_PEEKED, n_rows), columns=[column])[column])
    left_out = [name for name in opened.schema.names if name not in (column, *plain)]
    return VectorSource(
        source,
        n_rows,
        dim,
        Declaration.from_json(metadata.get(KEY.encode()), source),
        tuple(left_out),
        read,
    )


def choose_vector_column(schema: pa.Schema, source: Path, options: ReadOptions) -> str:
    """Find the column of vectors: the one named, the model's own, or the only one.

    Raises
    ------
    SourceError
        If there is none, or several and none is named.
    """
    found = find_vector_columns(schema)
    if options.column is not None:
        if options.column in found:
            return options.column
        msg = (
            f"{source} has no column {options.column!r} of lists of numbers; those it has are "
            f"{', '.join(found) or 'none'}"
        )
        raise SourceError(msg)
    for name in (*VECTOR_COLUMNS, name_model_column(options.model)):
        if name in found:
            return name
    if len(found) == 1:
        return found[0]
    if found:
        msg = f"{source} has several columns of vectors ({', '.join(found)}); name one: --column"
        raise SourceError(msg)
    msg = (
        f"{source} has no column of vectors among {', '.join(schema.names)}; expected lists of "
        f"numbers in {', '.join(VECTOR_COLUMNS)} or {MODEL_PREFIX}<model>"
    )
    raise SourceError(msg)


def name_model_column(model: str) -> str:
    """Return hpc-inference's name for the vectors of a model."""
    return MODEL_PREFIX + re.sub(r"[^\w.-]+", "_", model)


def write_emb_explorer(target: Path, rows: OutgoingRows) -> None:
    """Write ``uuid``, ``emb`` and every column of the image table.

    References
    ----------
    Imageomics emb-explorer, *Precalculated Embeddings: Expected Parquet Format*
    (``docs/DATA_FORMAT.md``): ``uuid`` string and ``emb`` list<float32>; ranks may be null.
    """
    _write(target, rows, VECTOR_COLUMNS[0])


def write_hpc_inference(target: Path, rows: OutgoingRows) -> None:
    """Write ``uuid``, ``emb_<model>`` and every column of the image table.

    References
    ----------
    Imageomics hpc-inference, ``save_emb_to_parquet`` in ``utils/common.py``: ``uuid`` string and
    one list<float32> a model, compressed with zstd.
    """
    _write(target, rows, name_model_column(rows.declaration.model))


def _write(target: Path, rows: OutgoingRows, column: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = name_columns(rows.frame, taken=("uuid", column), is_uuid_free=True)
    declaration = dataclasses.replace(rows.declaration, columns=names)
    uuids = pa.array(name_rows(rows.frame), type=pa.string())
    table = to_table(rows.frame.rename(columns=names))
    if "uuid" in table.column_names:
        table = table.drop_columns(["uuid"])
    kind = pa.list_(pa.float32())
    fields = [pa.field("uuid", pa.string()), pa.field(column, kind), *table.schema]
    schema = pa.schema(fields, metadata={KEY: declaration.to_json()})
    start = 0
    with (
        replacing(target) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for vectors in rows.iter_vectors():
            part = table.slice(start, len(vectors))
            arrays = [uuids.slice(start, len(vectors)), to_lists(vectors), *part.columns]
            writer.write_table(pa.table(arrays, schema=schema))
            start += len(vectors)


def _open_dataset(source: Path) -> pa_dataset.Dataset:
    import pyarrow as pa
    import pyarrow.dataset as pa_dataset

    files = _list_files(source)
    if not files:
        msg = f"{source} holds no Parquet file"
        raise SourceError(msg)
    base = str(source) if source.is_dir() else str(source.parent)
    names = [str(file) for file in files]
    try:
        opened = pa_dataset.dataset(
            names, format="parquet", partitioning="hive", partition_base_dir=base
        )
        schemas = [opened.schema, *(part.physical_schema for part in opened.get_fragments())]
        return opened.replace_schema(pa.unify_schemas(schemas, promote_options="permissive"))
    except (ValueError, OSError, pa.ArrowException) as error:
        msg = f"{source} cannot be read as Parquet: {error}"
        raise SourceError(msg) from error


def _list_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if source.suffix.lower() in SUFFIXES else []
    return sorted(
        file
        for file in source.rglob("*")
        if file.suffix.lower() in SUFFIXES and not file.name.startswith((".", "_"))
    )


def _peek_columns(source: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = _list_files(source)
    if not files:
        return []
    try:
        return find_vector_columns(pq.read_schema(files[0]))
    except (ValueError, OSError, pa.ArrowException) as error:
        msg = f"{files[0]} cannot be read as Parquet: {error}"
        raise SourceError(msg) from error


def _as_table(batch: pa.RecordBatch) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_batches([batch])


EMB_EXPLORER = Layout(
    write=write_emb_explorer,
    suffix=".parquet",
    looks_like="Parquet with a column of vectors named emb, embedding, embeddings or vector",
    recognise=holds_emb,
    open_source=open_parquet,
)
HPC_INFERENCE = Layout(
    write=write_hpc_inference,
    suffix=".parquet",
    looks_like="Parquet with a column of vectors named emb_<model>",
    recognise=holds_emb_of_model,
    open_source=open_parquet,
)
