"""Image files by name: given one by one, in a list, or as a list on standard input."""

from __future__ import annotations

import codecs
import dataclasses
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.access import is_absent
from bioprobe.errors import SourceError
from bioprobe.files import parse_json, reading_source
from bioprobe.images.addresses import is_address, split_address
from bioprobe.images.image_table import concatenate_columns
from bioprobe.images.location import read_name, write_name
from bioprobe.remote import find_address
from bioprobe.sources.listing import Part
from bioprobe.sources.lookup import find_files, find_objects
from bioprobe.table_bounds import check_json, check_lines
from bioprobe.tables import TableOptions
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import read_folder_names, read_lineage_folders

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """How sources are read.

    Parameters
    ----------
    root : Path or None
        Folder to which the paths of a table or list are relative, or an address; by default its own
        folder; for a list on standard input, or one of whose paths none is there, the current one.
    path_column : str or None
        Column of a table that names the file, ``FOLDER/FILE`` where two do; by default the first
        found of ``path``, ``file_path``, ``file_name`` and their like. In a data set, the column
        of the pictures.
    rank_columns : mapping of Rank to str
        Columns that hold a rank under another name; ``""`` is no column, so that one of the
        rank's own name is kept as it is.
    folder_rank : Rank or None
        Rank of which the name of an image's folder is the label.
    folder_label : str or None
        Free column that the name of an image's folder goes into, as it is written.
    allow_outside : bool
        Whether tables and data sets may name files anywhere (:mod:`bioprobe.sources.bounds`).
    exclude, include : tuple of str
        Patterns of what is left out of folders, and of what is taken in spite of all that leaves
        out (:mod:`bioprobe.sources.walking`).
    named : frozenset of str
        Absolute paths of what is named beside a folder, which leaves none of it out.
    min_confidence : float
        Of a detection to be a region, 0 to 1; less sure ones are left out.
    categories : tuple of str
        Only detections of these, such as ``animal``; all by default.
    pad : float
        What is added to a detection's box on each side, as a share of its own width and height.
    square : bool
        Whether the shorter side of a box is made as long as the longer one.
    tell : callable
        Told, in a sentence each, what a person must know of how they were read.
    written : TableOptions
        How tables are written, where that is known.
    fetches : bool
        Whether what lies at addresses is fetched afterwards, so that none of them is lost yet.
    """

    root: Path | None = None
    path_column: str | None = None
    rank_columns: Mapping[Rank, str] = dataclasses.field(default_factory=dict)
    folder_rank: Rank | None = None
    folder_label: str | None = None
    allow_outside: bool = False
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()
    min_confidence: float = 0.2
    categories: tuple[str, ...] = ()
    pad: float = 0.0
    square: bool = False
    tell: Callable[[str], None] = lambda _said: None
    written: TableOptions = dataclasses.field(default_factory=TableOptions)
    fetches: bool = False


# Folders of the parts of a data set, and the column that they go into.
_PARTS = frozenset({"train", "train_mini", "val", "valid", "validation", "test", "public_test"})
_PART = "split"
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
        ``folder_rank``, ``folder_label`` and ``tell`` are used.

    Returns
    -------
    Part
        ``root`` and ``path``, with ``folder_rank`` the label columns, and with ``folder_label``
        that column. Folders that are named by whole lineages, as those of iNat2021, say them
        whether they are asked or not, and those above them which part of the data they are of.
    """
    import pandas as pd

    rows = [locate(os.path.abspath(file), absolute(root or file.parent)) for file in files]  # noqa: PTH100
    listing = pd.DataFrame(rows, columns=["root", "path"], dtype=object).map(write_name)
    folders = [file.absolute().parent for file in files]
    return Part(label_by_folders(listing, folders, options), is_derived=True, is_named=True)


def label_by_folders(
    listing: pd.DataFrame, folders: Sequence[PurePath], options: SourceOptions
) -> pd.DataFrame:
    """Add what the names of the pictures' folders say.

    Parameters
    ----------
    listing : DataFrame
        One row a picture.
    folders : sequence of PurePath
        Of each of them.
    options : SourceOptions
        ``folder_rank``, ``folder_label`` and ``tell`` are used.
    """
    names = [write_name(folder.name) for folder in folders]
    labels = read_lineage_folders(names)
    if labels is not None:
        listing = concatenate_columns([listing, labels])
        parts = [folder.parent.name for folder in folders]
        if set(parts) <= _PARTS:
            listing[_PART] = np.array(parts, dtype=object)
    elif options.folder_rank is not None:
        labels = read_folder_names(names, options.folder_rank, tell=options.tell)
        listing = concatenate_columns([listing, labels])
    if options.folder_label is not None:
        listing[options.folder_label] = np.array(names, dtype=object)
    return listing


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
    return _list_paths(paths, options.root or Path(), options)


def _list_paths(paths: Sequence[str], root: Path, options: SourceOptions) -> Part:
    import pandas as pd

    top = write_name(absolute(root))
    named = [write_name(_unquote(path, root)) for path in paths]
    found = find_files(named, top, fetches=options.fetches)
    places = [
        split_address(file) if is_address(file) else locate(file, top) for file in found.files
    ]
    listing = pd.DataFrame(places, columns=["root", "path"], dtype=object)
    folders = [PurePosixPath(read_name(file)).parent for file in found.files]
    labelled = label_by_folders(listing, folders, options)
    return Part(labelled, is_derived=True, is_named=True, reasons=found.reasons, notes=found.notes)


def _unquote(path: str, root: Path) -> str:
    """Return a path without the quotes that Windows copies it with, where no file has that name."""
    is_quoted = len(path) > 2 and path[0] == path[-1] == '"'
    return path[1:-1] if is_quoted and is_absent(root / path) else path


def list_objects(paths: Sequence[str], address: str, options: SourceOptions) -> Part:
    """List pictures whose paths start from an address.

    Parameters
    ----------
    paths : sequence of str
    address : str
        They need not be there: who reads them says so.
    options : SourceOptions
        As for :func:`list_files`.
    """
    import pandas as pd

    found = find_objects(paths, address)
    rows = [locate(one, address) for one in found.files]
    listing = pd.DataFrame(rows, columns=["root", "path"], dtype=object).map(write_name)
    folders = [PurePosixPath(one).parent for one in found.files]
    labelled = label_by_folders(listing, folders, options)
    return Part(labelled, is_derived=True, is_named=True, reasons=found.reasons)


#: Endings of lists of paths.
LIST_SUFFIXES = frozenset({".txt", ".json"})
#: Endings of tables and lists that are not read, and that no picture has.
UNREAD_SUFFIXES = frozenset({".numbers", ".xlsb", ".lst", ".list"})
_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f]")


def list_list(source: Path, options: SourceOptions) -> Part:
    """List the image files that a text file names, one a line, or a JSON array of texts.

    Raises
    ------
    SourceError
        If it cannot be read, is no such list, or names nothing that is there.

    References
    ----------
    MegaDetector, ``run_detector_batch.py``, argument ``image_file``: a JSON file with a list of
    image paths, or a text file with one path per line.
    """
    is_json = source.suffix.lower() == ".json"
    with reading_source(source):
        if is_json:
            check_json(source)
        else:
            check_lines(source, ends="\n\0")
        data = source.read_bytes()
    paths = _parse_json(data, source) if is_json else parse_paths(data)
    if not is_json and any(_NO_TEXT.search(path) for path in paths):
        msg = (
            f"{source} is no text; a file that ends in .txt is read as a list of paths, one a "
            "line. Give a picture its own ending, such as .jpg"
        )
        raise SourceError(msg)
    if not paths:
        msg = f"the list {source} names no path; write one a line, or a JSON array of them"
        raise SourceError(msg)
    if address := find_address(options.root):
        return list_objects(paths, address, options)
    bases = [options.root] if options.root else [source.parent, Path()]
    # Of a list that was written on Windows.
    spelled = [one for path in paths for one in dict.fromkeys((path, path.replace("\\", "/")))]
    spelled += [one[1:-1] for one in spelled if one[:1] == one[-1:] == '"']
    root = next((base for base in bases if any(not is_absent(base / one) for one in spelled)), None)
    if root is None and any(map(is_address, paths)):
        root = bases[0]
    if root is None:
        where = " or ".join(dict.fromkeys(str(base.absolute()) for base in bases))
        msg = (
            f"none of the {len(paths):,} paths in {source} is there, from {where}; the first is "
            f"{write_name(paths[0])[:200]!r}. A {source.suffix} file is read as a list of paths: "
            "name the folder that they start from with --root"
        )
        raise SourceError(msg)
    return _list_paths(paths, root, options)


def _parse_json(data: bytes, source: Path) -> list[str]:
    try:
        paths = parse_json(data)
    except ValueError as error:
        msg = f"{source} cannot be read as JSON: {error}"
        raise SourceError(msg) from error
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        msg = (
            f'{source} is no list of paths; of JSON an array of texts is read, ["a.jpg", '
            '"b.jpg"]. Write a table with labels as CSV, TSV or Parquet'
        )
        raise SourceError(msg)
    return [path for path in paths if path.strip()]


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
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # As PowerShell and Notepad write what they call Unicode.
        data = data.decode("utf-16", errors="replace").encode()
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


def name_folder(folder: Path) -> str:
    """Return the folder that paths start from as a table names it, or its address."""
    return find_address(folder) or write_name(absolute(folder))


def absolute(path: Path) -> str:
    """Return a path from the root of the file system, with its links."""
    return os.path.abspath(path)  # noqa: PTH100 - resolve would replace links
