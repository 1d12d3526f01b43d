"""Where images come from: files, folders, tables, lists of paths, and data sets."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.images.image_table import ImageTable, concatenate, concatenate_columns
from bioprobe.sources.datasets import is_dataset, list_dataset
from bioprobe.sources.files import STANDARD_INPUT, SourceOptions, list_files, list_standard_input
from bioprobe.sources.folders import IMAGE_SUFFIXES, list_folder
from bioprobe.sources.tables import TABLE_SUFFIXES, list_table

if TYPE_CHECKING:
    import pandas as pd


__all__ = ["IMAGE_SUFFIXES", "SourceOptions", "concatenate_columns", "find_images", "list_table"]


def find_images(sources: Sequence[Path], options: SourceOptions | None = None) -> ImageTable:
    """List the images of files, folders (with what is below them), tables and data sets.

    No image is opened, so the facts of the result are empty. An image that several sources name
    is listed once, with the labels of the first. A file that a table or list names need not
    exist: the run that embeds it says so.

    Parameters
    ----------
    sources : sequence of Path
        - image files, and folders;
        - CSV, TSV and Parquet tables that name files;
        - ``-``: paths on standard input, one a line or each ended by a NUL byte;
        - Hugging Face data sets: folders of ``save_to_disk``, Parquet files that hold the
          pictures or folders of these, and ``dataset:ORG/NAME[@REVISION][#SPLIT]`` on the hub.
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
    frames = []
    # Files that stand one after the other are one frame: there may be thousands.
    for is_plain, group in itertools.groupby(sources, _is_image_file):
        if is_plain:
            frames.append(list_files(list(group), options.root, options))
        else:
            frames += [_list_source(source, options) for source in group]
    listed = concatenate(frames)
    # The same file may be named from two roots.
    locations = zip(listed["root"], listed["path"], strict=True)
    files = pd.Series([os.path.join(*location) for location in locations], dtype=object)  # noqa: PTH118
    return ImageTable.build(listed[~files.duplicated()])


def _is_image_file(source: Path) -> bool:
    return source.suffix.lower() not in TABLE_SUFFIXES and source.is_file()


def _list_source(source: Path, options: SourceOptions) -> pd.DataFrame:
    if str(source) == STANDARD_INPUT:
        return list_standard_input(options)
    if is_dataset(source, options):
        return list_dataset(source, options)
    if source.is_dir():
        return list_folder(source, options)
    if source.suffix.lower() in TABLE_SUFFIXES:
        return list_table(source, options)
    what = "no plain file" if source.exists() else "no file or folder"
    msg = f"{what} at {source}"
    raise SourceError(msg)
