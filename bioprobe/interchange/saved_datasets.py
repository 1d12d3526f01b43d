"""Vectors in a column: of a ``datasets.Dataset`` saved to disk, or of Parquet files."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bioprobe.access import is_file, is_folder, list_files
from bioprobe.cells import find_kind, read_cells
from bioprobe.errors import SourceError
from bioprobe.files import (
    check_new_folder,
    explaining_refusal,
    hash_file,
    replacing,
    replacing_folder,
    scratch_beside,
)
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
from bioprobe.table_bounds import check_parquet

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa
    import pyarrow.dataset as pa_dataset


SUFFIXES = (".parquet", ".pq")
#: Names of the column of vectors, in order of preference.
VECTOR_COLUMNS = ("emb", "embedding", "embeddings", "vector")
MODEL_PREFIX = "emb_"
_N_PEEKED = 1024


def _holds_emb(source: Path) -> bool:
    """Tell whether Parquet files are laid out as emb-explorer's: a column ``emb`` or its like."""
    return any(name in VECTOR_COLUMNS for name in _peek_columns(source))


def _holds_emb_of_model(source: Path) -> bool:
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


def choose_vector_column(schema: pa.Schema, source: Path | str, options: ReadOptions) -> str:
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
    for name in (*VECTOR_COLUMNS, _name_model_column(options.model)):
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


def _name_model_column(model: str) -> str:
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


def _write_hpc_inference(target: Path, rows: OutgoingRows) -> None:
    """Write ``uuid``, ``emb_<model>`` and every column of the image table.

    References
    ----------
    Imageomics hpc-inference, ``save_emb_to_parquet`` in ``utils/common.py``: ``uuid`` string and
    one list<float32> a model, compressed with zstd.
    """
    _write(target, rows, _name_model_column(rows.declaration.model))


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
    import pyarrow.parquet as pq

    files = _list_files(source)
    if not files:
        msg = f"{source} holds no Parquet file"
        raise SourceError(msg)
    _check_parts(files)
    base = source if is_folder(source) else source.parent
    try:
        for file in files:
            check_parquet(file)
        folders = _read_partitions([file.relative_to(base) for file in files])
        # A folder's name is what is written: site=007 is no 7.
        partitioning = pa_dataset.partitioning(folders, flavor="hive")
        schemas = [pq.read_schema(file).remove_metadata() for file in files]
        metadata = pq.read_schema(files[0]).metadata
        return pa_dataset.dataset(
            [str(file) for file in files],
            schema=_unify([*schemas, folders]).with_metadata(metadata),
            format="parquet",
            partitioning=partitioning,
            partition_base_dir=str(base),
        )
    except (ValueError, OSError, pa.ArrowException) as error:
        msg = f"{source} cannot be read as Parquet: {error}"
        raise SourceError(msg) from error


# What programs call the numbered parts of one table; other numbers, such as dates, count nothing.
_PART = re.compile(
    r"(?P<before>(?:.*[^a-z])?(?:part|shard|chunk|batch|split|file|rank|emb|embeddings?|vectors?"
    r"|data|train|test|val|valid|validation|output|out|results?|images?)[-_.]?)(?P<number>\d+)"
    r"(?:-of-(?P<total>\d+))?(?P<after>\D*)",
    re.IGNORECASE,
)


def _check_parts(files: Sequence[Path]) -> None:
    """Refuse parts of which one is missing, or there twice.

    Raises
    ------
    SourceError
        If the numbers of a folder's parts have a gap, or two files have the same bytes.
    """
    found: dict[tuple[Path, str, str], dict[int, Path]] = {}
    totals: dict[tuple[Path, str, str], int] = {}
    by_size: dict[int, list[Path]] = {}
    for file in files:
        by_size.setdefault(file.stat().st_size, []).append(file)
        part = _PART.fullmatch(file.stem)
        if part is None:
            continue
        key = file.parent, part["before"], part["after"]
        found.setdefault(key, {})[int(part["number"])] = file
        totals[key] = max(totals.get(key, 0), int(part["total"] or 0))
    for key, parts in found.items():
        first, last = min(parts), max(parts)
        # Counted from 0 or 1; of a single one nothing is known but what it says itself.
        start = min(first, 1) if len(parts) > 1 or totals[key] else first
        last = max(last, start + totals[key] - 1)
        missing = [number for number in range(start, last + 1) if number not in parts]
        if missing:
            example = next(iter(parts.values()))
            msg = (
                f"the parts beside {example} have a gap: number {missing[0]} is missing"
                f"{f', and {len(missing) - 1:,} more' if len(missing) > 1 else ''}; nothing is "
                "imported, as rows would be missing too. Copy the folder whole, or number anew "
                "what is there"
            )
            raise SourceError(msg)
    for alike in by_size.values():
        digests: dict[str, Path] = {}
        for file in alike if len(alike) > 1 else ():
            other = digests.setdefault(hash_file(file), file)
            if other != file:
                msg = f"{other} and {file} have the same bytes; move one of them away"
                raise SourceError(msg)


def _read_partitions(files: Sequence[Path]) -> pa.Schema:
    """Return the columns that the names of folders hold: of numbers where that loses nothing."""
    import pandas as pd
    import pyarrow as pa

    values: dict[str, list[str]] = {}
    for file in files:
        for part in file.parts[:-1]:
            name, equals, value = part.partition("=")
            if equals:
                values.setdefault(name, []).append(unquote(value))
    columns = {
        name: read_cells(pd.DataFrame({name: cells}))[name] for name, cells in values.items()
    }
    kinds = {name: find_kind(cells) for name, cells in columns.items()}
    return pa.schema(
        [(name, pa.int64() if kind == "integer" else pa.string()) for name, kind in kinds.items()]
    )


def _unify(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Join the columns of several files; one that is of several types is text.

    Types of one kind, such as lists of float32 and of float64, are promoted.
    """
    import pyarrow as pa
    import pyarrow.types as kinds

    found: dict[str, list[pa.Field]] = {}
    for schema in schemas:
        for field in schema:
            found.setdefault(field.name, []).append(field.with_nullable(True))
    fields = []
    for name, parts in found.items():
        types = {part.type for part in parts if not kinds.is_null(part.type)}
        alike = {
            "integer" if kinds.is_integer(one) else "nested" if kinds.is_nested(one) else str(one)
            for one in types
        }
        if len(alike) > 1 and "nested" not in alike:
            fields.append(pa.field(name, pa.string()))
        else:
            single = [pa.schema([part]) for part in parts]
            fields.append(pa.unify_schemas(single, promote_options="permissive").field(0))
    return pa.schema(fields)


def _list_files(source: Path) -> list[Path]:
    if is_file(source):
        return [source] if source.suffix.lower() in SUFFIXES else []
    files = [source / name for name in list_files(source, *SUFFIXES)]
    return [file for file in files if not file.name.startswith("_")]


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
    recognise=_holds_emb,
    open_source=open_parquet,
)
HPC_INFERENCE = Layout(
    write=_write_hpc_inference,
    suffix=".parquet",
    looks_like="Parquet with a column of vectors named emb_<model>",
    recognise=_holds_emb_of_model,
    open_source=open_parquet,
)


_COLUMN = "embeddings"
_N_PEEKED = 1024


def is_saved_dataset(source: Path) -> bool:
    """Tell whether a folder is what ``save_to_disk`` of a dataset or its splits writes."""
    return is_file(source / "state.json") or is_file(source / "dataset_dict.json")


def open_dataset(source: Path, options: ReadOptions) -> VectorSource:
    """Open a saved dataset.

    Raises
    ------
    SourceError
        If it cannot be read, holds several splits, or which column holds the vectors is not
        clear.
    """
    opened = _load(source)
    schema = opened.features.arrow_schema
    column = choose_vector_column(schema, source, options)
    plain = find_plain_columns(schema)
    chosen = opened.select_columns([column, *plain]).with_format("arrow")

    def read() -> Iterator[VectorBatch]:
        for table in chosen.iter(BLOCK_ROWS):
            yield to_batch(table, column, plain, dim)

    dim = find_dim(chosen[:_N_PEEKED][column]) if len(chosen) else 0
    left_out = [name for name in schema.names if name not in (column, *plain)]
    said = opened.info.description or ""
    declaration = Declaration.from_json(said, source) if said.startswith("{") else None
    return VectorSource(source, len(opened), dim, declaration, tuple(left_out), read)


def _write_dataset(target: Path, rows: OutgoingRows) -> None:
    """Write a folder for ``datasets.load_from_disk``, the vectors in ``embeddings``.

    ``info.description`` says in JSON what the vectors are.

    References
    ----------
    Hugging Face datasets, ``Dataset.save_to_disk``; the column's name is the one in its guide to
    search, ``Dataset.add_faiss_index(column="embeddings")``.
    """
    import datasets

    check_new_folder(target)
    names = name_columns(rows.frame, taken=(_COLUMN,))
    declaration = dataclasses.replace(rows.declaration, columns=names)
    info = datasets.DatasetInfo(description=declaration.to_json())
    with explaining_refusal(target), scratch_beside(target) as scratch, _without_progress():
        file = scratch / "rows.arrow"
        _write_arrow(file, rows, names)
        with replacing_folder(target) as folder:
            datasets.Dataset.from_file(str(file), info=info).save_to_disk(str(folder))


def _write_arrow(file: Path, rows: OutgoingRows, names: dict[str, str]) -> None:
    import pyarrow as pa

    table = to_table(rows.frame.rename(columns=names))
    kind = pa.list_(pa.float32(), rows.dim)
    schema = pa.schema([*table.schema, pa.field(_COLUMN, kind)])
    start = 0
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for vectors in rows.iter_vectors():
            part = table.slice(start, len(vectors))
            arrays = [*part.columns, to_lists(vectors, fixed=True)]
            writer.write_table(pa.table(arrays, schema=schema))
            start += len(vectors)


def _load(source: Path) -> datasets.Dataset:
    import datasets

    try:
        opened = datasets.load_from_disk(str(source))
    except (ValueError, OSError, TypeError, KeyError) as error:
        msg = f"{source} cannot be read as a saved dataset: {error}"
        raise SourceError(msg) from error
    if isinstance(opened, datasets.DatasetDict):
        splits = ", ".join(str(source / name) for name in opened)
        msg = f"{source} holds several splits; give one of them: {splits}"
        raise SourceError(msg)
    return opened


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


DATASETS = Layout(
    write=_write_dataset,
    looks_like="a folder that Dataset.save_to_disk wrote, with a column of vectors",
    recognise=is_saved_dataset,
    open_source=open_dataset,
)
