"""Rows of Hugging Face data sets, whose pictures lie in the row itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.access import is_file, is_folder
from bioprobe.cells import from_arrow
from bioprobe.images.image_table import concatenate_columns
from bioprobe.images.location import (
    DATASET_PREFIX,
    DatasetName,
    Pictures,
    find_picture_column,
    is_saved_dataset,
    open_splits,
)
from bioprobe.sources.files import SourceOptions
from bioprobe.sources.folders import holds_parquet_only
from bioprobe.sources.listing import Part
from bioprobe.sources.tables import describe_rows, find_path_column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


_SPLIT = "split"


def is_dataset(source: Path, options: SourceOptions) -> bool:
    """Tell whether a source is a data set: by its prefix, its files, or its columns.

    A Parquet table that names files and holds bytes beside is a table, unless the bytes are in
    the struct that the ``datasets`` library keeps pictures in.
    """
    if str(source).startswith(DATASET_PREFIX):
        return True
    if is_folder(source):
        if is_saved_dataset(source):
            return True
        first = holds_parquet_only(source)
        return first is not None and _holds_pictures(first, options)
    is_parquet = source.suffix.lower() in {".parquet", ".pq"}
    return is_parquet and is_file(source) and _holds_pictures(source, options)


def list_dataset(source: Path, options: SourceOptions) -> list[Part]:
    """List the rows of a data set, with its labels and further columns.

    The split is kept in a column; integers of a ``ClassLabel`` become their names; no picture is
    read.

    Raises
    ------
    SourceError
        If it cannot be opened, or holds no pictures.
    """
    name = DatasetName.parse(str(source))
    if options.path_column is not None:
        name = dataclasses.replace(name, column=options.path_column)
    return [
        Part(_list_split(pictures, options))
        for pictures in open_splits(name, allow_outside=options.allow_outside)
    ]


def _list_split(pictures: Pictures, options: SourceOptions) -> pd.DataFrame:
    import pandas as pd

    frame = _read_columns(pictures)
    if pictures.name.split:
        frame = frame.rename(columns={_SPLIT: f"source_{_SPLIT}"})
        frame[_SPLIT] = pictures.name.split
    listing = pd.DataFrame(
        {"root": str(pictures.name), "path": list(pictures.row_names)}, dtype=object
    )
    return concatenate_columns([listing, describe_rows(frame, options)])


def _read_columns(pictures: Pictures) -> pd.DataFrame:
    """Return all columns that hold no bytes."""
    import pandas as pd

    schema = pictures.rows.features.arrow_schema
    kept = [field.name for field in schema if not _holds_bytes(field.type)]
    if not kept:
        return pd.DataFrame(index=range(len(pictures.rows)))
    frame = from_arrow(pictures.rows.select_columns(kept).with_format("arrow")[:], is_whole=True)
    for column in kept:
        names = getattr(pictures.rows.features[column], "names", None)
        if names is not None:
            frame[column] = frame[column].map(dict(enumerate(names))).astype(object)
    return frame


def _holds_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return True
    # Of pictures that are saved as their paths alone, the bytes have no type.
    names = {kind.field(at).name for at in range(kind.num_fields)}
    if pa.types.is_struct(kind) and names == {"bytes", "path"}:
        return True
    return any(_holds_bytes(kind.field(place).type) for place in range(kind.num_fields))


def _holds_pictures(file: Path, options: SourceOptions) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema: Any = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError):
        return False  # reading it as a table says what is wrong
    column = options.path_column or find_picture_column(schema)
    if column is None or column not in schema.names:
        return False
    if not _holds_bytes(schema.field(column).type):
        return False
    text = [
        f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
    ]
    names_files = find_path_column(text, None) is not None
    return (
        bool(options.path_column)
        or pa.types.is_struct(schema.field(column).type)
        or not names_files
    )
