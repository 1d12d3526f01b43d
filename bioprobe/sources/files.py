"""Image files by name: given one by one, or as a list on standard input."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.images.image_table import concatenate_columns
from bioprobe.images.location import read_name, write_name
from bioprobe.sources.listing import Part
from bioprobe.sources.lookup import find_files
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import LABEL_COLUMNS, read_labels

if TYPE_CHECKING:
    pass


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """How sources are read.

    Parameters
    ----------
    root : Path or None
        Folder to which the paths of a table or list are relative; by default the table's own
        folder, and for a list the current one.
    path_column : str or None
        Column of a table that names the file; by default the first found of ``path``,
        ``file_path``, ``file_name`` and their like. In a data set, the column of the pictures.
    rank_columns : mapping of Rank to str
        Columns that hold a rank under another name; ``""`` is no column, so that one of the
        rank's own name is kept as it is.
    folder_rank : Rank or None
        Rank of which the name of an image's folder is the label.
    """

    root: Path | None = None
    path_column: str | None = None
    rank_columns: Mapping[Rank, str] = dataclasses.field(default_factory=dict)
    folder_rank: Rank | None = None


#: The source that stands for standard input.
STANDARD_INPUT = "-"


def list_files(files: Sequence[Path], root: Path | None, options: SourceOptions) -> Part:
    """List image files, whatever their endings.

    Parameters
    ----------
    files : sequence of Path
        As the user named them; they need not exist.
    root : Path or None
        Folder that they are named from in the table; by default the folder of each.
    options : SourceOptions
        ``folder_rank`` is used.

    Returns
    -------
    Part
        ``root`` and ``path``, and with ``folder_rank`` the label columns.
    """
    import pandas as pd

    rows = [locate(os.path.abspath(file), absolute(root or file.parent)) for file in files]  # noqa: PTH100
    listing = pd.DataFrame(rows, columns=["root", "path"], dtype=object).map(write_name)
    if options.folder_rank is None:
        return Part(listing)
    names = [write_name(file.absolute().parent.name) for file in files]
    labels = read_labels(pd.DataFrame({options.folder_rank.value: names}, dtype=object))
    frame = concatenate_columns([listing, labels[list(LABEL_COLUMNS)]])
    return Part(frame, is_derived=True)


def list_standard_input(_source: Path, options: SourceOptions) -> Part:
    """List the image files whose paths stand on standard input.

    Raises
    ------
    SourceError
        If standard input is a terminal, or names nothing.
    """
    remedy = "pipe one in: find photos -name '*.jpg' | bioprobe embed -"
    if sys.stdin.isatty():
        msg = f"- reads a list of paths from standard input, which is a terminal; {remedy}"
        raise SourceError(msg)
    paths = parse_paths(sys.stdin.buffer.read())
    if not paths:
        msg = f"the list of paths on standard input is empty; {remedy}"
        raise SourceError(msg)
    root = options.root or Path()
    found = find_files(map(write_name, paths), write_name(absolute(root)))
    listed = list_files([Path(read_name(file)) for file in found.files], root, options)
    return dataclasses.replace(listed, reasons=found.reasons, notes=found.notes)


def parse_paths(data: bytes) -> list[str]:
    r"""Return the paths of a list, one a line or each ended by a NUL byte.

    Blank lines are left out. Only a list with NUL bytes can hold names with line breaks.

    Parameters
    ----------
    data : bytes
        The list; bytes that are no UTF-8 become surrogates, as in Python's ``os`` functions.

    Examples
    --------
    >>> parse_paths(b"a.jpg\n\nb c.jpg\r\n")
    ['a.jpg', 'b c.jpg']
    >>> parse_paths(b"a\nb.jpg\0c.jpg\0")
    ['a\nb.jpg', 'c.jpg']
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        parts = data.split(b"\0")
    else:
        parts = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(part) for part in parts if part.strip()]


def locate(file: str, root: str) -> tuple[str, str]:
    """Split an absolute path into the root and the rest; outside of it, it stays whole."""
    # Lexically: a link keeps the name that the user gave it.
    top = root.rstrip(os.sep) + os.sep
    return root, file.removeprefix(top) if file.startswith(top) else file


def absolute(path: Path) -> str:
    """Return a path from the root of the file system, with its links."""
    return os.path.abspath(path)  # noqa: PTH100 - resolve would replace links
