"""Where images come from: files, folders, and tables that name files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.files import read_table
from bioprobe.images.image_table import COLUMNS, ImageTable, concatenate
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import LABEL_COLUMNS, find_rank_columns, read_labels

if TYPE_CHECKING:
    import pandas as pd

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".jp2"}
)
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet", ".pq"})
_PATH_COLUMNS = ("path", "file_path", "filepath", "file_name", "filename", "file", "image")


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """How sources are read.

    Parameters
    ----------
    root : Path or None
        Folder to which the paths of a table are relative; by default the table's own folder.
    path_column : str or None
        Column of a table that names the file; by default the first found of ``path``,
        ``file_path``, ``file_name`` and their like.
    rank_columns : mapping of Rank to str
        Columns that hold a rank under another name.
    folder_rank : Rank or None
        Rank of which the name of an image's folder is the label.
    """

    root: Path | None = None
    path_column: str | None = None
    rank_columns: Mapping[Rank, str] = dataclasses.field(default_factory=dict)
    folder_rank: Rank | None = None


def find_images(sources: Sequence[Path], options: SourceOptions | None = None) -> ImageTable:
    """List the images of files, folders (with what is below them) and tables.

    No image is opened, so the facts of the result are empty. An image that several sources name
    is listed once, with the labels of the first.

    Parameters
    ----------
    sources : sequence of Path
        Image files, folders, and CSV, TSV or Parquet tables.
    options : SourceOptions, optional

    Raises
    ------
    SourceError
        If a source is missing or holds no image.
    """
    import pandas as pd

    options = options or SourceOptions()
    if not sources:
        msg = "no source of images was given; name a folder, image files or a table"
        raise SourceError(msg)
    frames = [_list_source(source, options) for source in sources]
    listed = concatenate(frames)
    # The same file may be named from two roots.
    locations = zip(listed["root"], listed["path"], strict=True)
    files = pd.Series([os.path.join(*location) for location in locations], dtype=object)  # noqa: PTH118
    return ImageTable.build(listed[~files.duplicated()])


def list_table(table: Path, options: SourceOptions | None = None) -> pd.DataFrame:
    """List the images that a table names, with its labels and further columns.

    Raises
    ------
    SourceError
        If the table has no column of paths, or a row has no path.
    """
    options = options or SourceOptions()
    frame = read_table(table)
    column = _find_path_column(frame, options.path_column, table)
    empty = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
    if empty.any():
        line = int(empty.to_numpy().argmax()) + 2
        msg = f"{table} line {line}: no path in column {column!r}; fill it in or remove the line"
        raise SourceError(msg)
    labels = read_labels(frame, options.rank_columns)
    used = {column, *find_rank_columns(frame.columns, options.rank_columns).values()}
    free = frame.drop(columns=[name for name in frame.columns if name in used])
    # A table's own column of a name that bioprobe gives a meaning stays, under another name.
    free = free.rename(columns={n: f"source_{n}" for n in free.columns if n in COLUMNS})
    listing = _list_paths(frame[column].astype(str), options.root or table.parent)
    return concatenate_columns([listing, labels, free])


def concatenate_columns(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put frames of the same rows side by side."""
    import pandas as pd

    return pd.concat([frame.reset_index(drop=True) for frame in frames], axis=1)


def _list_source(source: Path, options: SourceOptions) -> pd.DataFrame:
    if source.is_dir():
        files = _walk(source)
        if not files:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            msg = f"{source} holds no image; files that end in {kinds} are looked for"
            raise SourceError(msg)
        return _list_files(files, source, options)
    if source.suffix.lower() in TABLE_SUFFIXES:
        return list_table(source, options)
    if not source.is_file():
        msg = f"no file or folder at {source}"
        raise SourceError(msg)
    return _list_files([source], options.root or source.parent, options)


def _walk(folder: Path) -> list[Path]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(parent, name)
            for name in sorted(files)
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
        ]
    return found


def _list_files(files: Sequence[Path], root: Path, options: SourceOptions) -> pd.DataFrame:
    import pandas as pd

    listing = _list_paths((str(file.absolute()) for file in files), root)
    if options.folder_rank is None:
        return listing
    names = pd.DataFrame({options.folder_rank.value: [file.parent.name for file in files]})
    return concatenate_columns([listing, read_labels(names)[list(LABEL_COLUMNS)]])


def _list_paths(paths: Iterable[str], root: Path) -> pd.DataFrame:
    import pandas as pd

    # Lexically: a link keeps the name that the user gave it.
    base = Path(os.path.abspath(root))  # noqa: PTH100
    rows = []
    for path in paths:
        whole = Path(os.path.normpath(base / path))
        inside = whole.is_relative_to(base)
        rows.append((str(base), str(whole.relative_to(base)) if inside else str(whole)))
    return pd.DataFrame(rows, columns=["root", "path"])


def _find_path_column(frame: pd.DataFrame, given: str | None, table: Path) -> str:
    columns = [str(column) for column in frame.columns]
    if given is not None:
        if given in columns:
            return given
        msg = f"{table} has no column {given!r}; it has {', '.join(columns)}"
        raise SourceError(msg)
    by_spelling = {column.lower().replace(" ", "_"): column for column in columns}
    for spelling in _PATH_COLUMNS:
        if spelling in by_spelling:
            return by_spelling[spelling]
    msg = f"{table} has no column of paths among {', '.join(columns)}; name it with --path-column"
    raise SourceError(msg)
