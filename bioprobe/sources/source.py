"""Where images come from: files, folders, tables, lists of paths, and data sets."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioprobe.access import exists, is_file, is_folder
from bioprobe.errors import SourceError
from bioprobe.files import reading_source
from bioprobe.images.image_table import concatenate_columns
from bioprobe.images.location import read_name, write_name
from bioprobe.registry import SOURCES
from bioprobe.sources.bounds import confine
from bioprobe.sources.datasets import is_dataset
from bioprobe.sources.files import (
    LIST_SUFFIXES,
    STANDARD_INPUT,
    UNREAD_SUFFIXES,
    SourceOptions,
    absolute,
    list_files,
)
from bioprobe.sources.folders import IMAGE_SUFFIXES
from bioprobe.sources.formats import FORMATS, Peek, find_format
from bioprobe.sources.listing import Listing, Part
from bioprobe.sources.lookup import find_near
from bioprobe.sources.tables import TABLE_SUFFIXES, list_table

__all__ = ["IMAGE_SUFFIXES", "SourceOptions", "concatenate_columns", "find_images", "list_table"]


def find_images(sources: Sequence[Path], options: SourceOptions | None = None) -> Listing:
    """List the images of files, folders (with what is below them), tables and data sets.

    No image is opened, so the facts of the result are empty. An image that several sources name
    is listed once, with what all of them say of it, whatever their order: see
    :mod:`bioprobe.sources.listing` for the rule where they do not agree. A file that a table or
    list names need not exist: the run that embeds it says so. A file that a table or data set
    names outside of what was named is no row but a failure: see :mod:`bioprobe.sources.bounds`.

    Parameters
    ----------
    sources : sequence of Path
        - image files, and folders;
        - CSV, TSV and Parquet tables that name files;
        - lists of paths: ``.txt``, one a line, and ``.json``, an array of texts;
        - ``-``: paths on standard input, one a line or each ended by a NUL byte;
        - Hugging Face data sets: folders of ``save_to_disk``, Parquet files that hold the
          pictures or folders of these, and ``dataset:ORG/NAME[@REVISION][#SPLIT]`` on the hub;
        - what another package adds: ``NAME:…``, and files and folders that end in ``.NAME``.
    options : SourceOptions, optional

    Raises
    ------
    SourceError
        If a source is missing or holds no image.
    """
    options = options or SourceOptions()
    if not sources:
        msg = "no source of images was given; name a folder, image files or a table"
        raise SourceError(msg)
    parts: list[tuple[Part, Path]] = []
    # Files that stand one after the other are one frame: there may be thousands.
    for name, group in itertools.groupby(sources, lambda one: recognise_source(one, options)):
        if name:
            for source in group:
                listed = _list(name, source, options)
                # Another package may say no more than a frame.
                several = listed if isinstance(listed, list) else [listed]
                made = [one if isinstance(one, Part) else Part(one) for one in several]
                home, named = options.root or _find_home(source), _name_source(source)
                parts += [
                    (
                        dataclasses.replace(one, source=named),
                        Path(read_name(one.home)) if one.home else home,
                    )
                    for one in made
                ]
        else:
            parts.append((list_files(list(group), options.root, options), Path()))
    if options.allow_outside:
        return Listing.merge([part for part, _ in parts])
    return Listing.merge(confine(parts, sources))


def _list(name: str, source: Path, options: SourceOptions) -> Any:  # noqa: ANN401
    """List a source whose name in the registry, or format, is known."""
    for one in FORMATS:
        if one.name == name:
            return list(one.list(Peek(source), options))
    return SOURCES.load(name)(source, options)


def _find_home(source: Path) -> Path:
    """Return the folder that the paths of a source start from unless another is given."""
    prefix, colon, rest = str(source).partition(":")
    path = Path(rest) if colon and prefix in SOURCES.added else source
    return path if path.is_dir() else path.parent


def _name_source(source: Path) -> str:
    """Name what lists pictures, the same in a later run; what comes on standard input has none."""
    if str(source) == STANDARD_INPUT:
        return ""
    return write_name(absolute(source) if source.exists() else str(source))


def recognise_source(source: Path, options: SourceOptions) -> str:
    """Return the name of what lists a source: a format of another tool, or one of the registry.

    What another package adds comes before our own, by its prefix or its ending.

    Returns
    -------
    str
        ``""`` for an image file.

    Raises
    ------
    SourceError
        If there is nothing there, it cannot be looked at, or is a table or list that is not read.
    """
    with reading_source(source):
        return _recognise(source, options)


def _recognise(source: Path, options: SourceOptions) -> str:
    prefix, colon, _ = str(source).partition(":")
    ending, added = source.suffix.lower().removeprefix("."), SOURCES.added
    for name in (prefix if colon else "", ending):
        if name in added:
            return name
    suffix = source.suffix.lower()
    if suffix not in IMAGE_SUFFIXES and (found := find_format(Peek(source))) is not None:
        return found.name
    if suffix in UNREAD_SUFFIXES and is_file(source):
        msg = (
            f"{source} is no picture, and no table or list that is read: save a table as .csv, "
            ".tsv or .parquet, a list of paths as .txt, one a line, or .json, an array"
        )
        raise SourceError(msg)
    if suffix not in TABLE_SUFFIXES | LIST_SUFFIXES and is_file(source):
        return ""
    if str(source) == STANDARD_INPUT:
        return STANDARD_INPUT
    if is_dataset(source, options):
        return "dataset"
    if is_folder(source):
        return "folder"
    if suffix in TABLE_SUFFIXES or (suffix in LIST_SUFFIXES and is_file(source)):
        return ending
    what = "no plain file" if exists(source) else "no file or folder"
    near = find_near(write_name(os.path.abspath(source))) if what != "no plain file" else ()  # noqa: PTH100
    msg = f"{what} at {source}{'; near: ' if near else ''}{', '.join(near)}"
    raise SourceError(msg)
