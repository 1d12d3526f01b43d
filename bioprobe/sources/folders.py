"""Folders of image files, with the metadata table of an image folder where there is one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.files import read_table
from bioprobe.result import PROBLEM, Note
from bioprobe.sources.files import SourceOptions, absolute, list_files, locate
from bioprobe.sources.listing import Part, explain_unread, join
from bioprobe.sources.tables import list_rows

if TYPE_CHECKING:
    pass


IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".jp2",
     ".heic", ".heif", ".avif"}
)  # fmt: skip
# The names and the column that Hugging Face's imagefolder reads.
_METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_METADATA_COLUMN = "file_name"


def list_folder(folder: Path, options: SourceOptions) -> list[Part]:
    """List the images of a folder and of what is below it.

    A folder that is a link is not entered: it could lead back, or to the same images under
    another name. Images that a ``metadata.csv``, ``.jsonl`` or ``.parquet`` names in its column
    ``file_name`` come first, with the labels and columns that it has.

    Raises
    ------
    SourceError
        If there is no image, or a metadata table cannot be read.

    References
    ----------
    Hugging Face datasets, "Create an image dataset", ``ImageFolder``.
    """
    errors: list[OSError] = []
    files, metadata = _walk(folder, errors.append)
    top = absolute(folder)
    unread = tuple(
        (*locate(absolute(Path(error.filename or folder)), top), explain_unread(error))
        for error in errors
    )
    tables = [part for file in metadata if (part := _list_metadata(file, folder, options))
              is not None]  # fmt: skip
    if not files and not tables and unread:
        msg = f"{join(*unread[0][:2])}: {unread[0][2]}; get the right to read it, or choose another"
        raise SourceError(msg)
    if not files and not tables:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        msg = f"{folder} holds no image; files that end in {kinds} are looked for"
        raise SourceError(msg)
    listed = list_files(files, folder, options)
    notes = tuple(Note(f"{join(root, path)}: {why}", PROBLEM) for root, path, why in unread)
    return [*tables, dataclasses.replace(listed, unread=unread, notes=notes)]


def holds_parquet_only(folder: Path) -> Path | None:
    """Return the first Parquet file of a folder that has no image, or None."""
    first = None
    for file in _iter_files(folder, None):
        if _is_image(file):
            return None  # most often the first file, so that large folders are walked once
        if first is None and file.suffix == ".parquet":
            first = file
    return first


def _walk(folder: Path, tell: Callable[[OSError], None]) -> tuple[list[Path], list[Path]]:
    files, metadata = [], []
    for file in _iter_files(folder, tell):
        if _is_image(file):
            files.append(file)
        elif file.name in _METADATA_NAMES:
            metadata.append(file)
    return files, metadata


def _iter_files(folder: Path, tell: Callable[[OSError], None] | None) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=tell):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES


def _list_metadata(file: Path, folder: Path, options: SourceOptions) -> Part | None:
    """List what a metadata table names; None where it is one of another sort."""
    frame = read_table(file)
    if _METADATA_COLUMN not in frame.columns:
        return None
    return list_rows(frame, _METADATA_COLUMN, file, _without_root(options), root=folder)


def _without_root(options: SourceOptions) -> SourceOptions:
    # The names are relative to the metadata's own folder, whatever other tables are relative to.
    return SourceOptions(rank_columns=options.rank_columns, tell=options.tell)
