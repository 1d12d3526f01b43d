"""A ``datasets.Dataset`` saved to disk, with the vectors in one of its columns."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.files import check_new_folder, replacing_folder
from bioprobe.interchange.arrow_tables import (
    find_dim,
    find_plain_columns,
    to_batch,
    to_lists,
    to_table,
)
from bioprobe.interchange.image_rows import name_columns
from bioprobe.interchange.parquet_files import choose_vector_column
from bioprobe.interchange.vector_source import (
    BLOCK_ROWS,
    Declaration,
    Layout,
    OutgoingRows,
    ReadOptions,
    VectorBatch,
    VectorSource,
)

if TYPE_CHECKING:
    import datasets


_COLUMN = "embeddings"
_N_PEEKED = 1024


def is_saved_dataset(source: Path) -> bool:
    """Tell whether a folder is what ``save_to_disk`` of a dataset or its splits writes."""
    return (source / "state.json").is_file() or (source / "dataset_dict.json").is_file()


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


def write_dataset(target: Path, rows: OutgoingRows) -> None:
    """Write a folder for ``datasets.load_from_disk``, the vectors in ``embeddings``.

    ``info.description`` says in JSON what the vectors are.

    References
    ----------
    Hugging Face datasets, ``Dataset.save_to_disk``; the column's name is the one in its guide to
    search, ``Dataset.add_faiss_index(column="embeddings")``.
    """
    import datasets

    check_new_folder(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    names = name_columns(rows.frame, taken=(_COLUMN,))
    declaration = dataclasses.replace(rows.declaration, columns=names)
    info = datasets.DatasetInfo(description=declaration.to_json())
    with (
        tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as scratch,
        _without_progress(),
    ):
        file = Path(scratch, "rows.arrow")
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
    write=write_dataset,
    looks_like="a folder that Dataset.save_to_disk wrote, with a column of vectors",
    recognise=is_saved_dataset,
    open_source=open_dataset,
)
