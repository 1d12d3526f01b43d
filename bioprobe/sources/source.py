"""Where images come from: files, folders, tables, lists of paths, and data sets."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.access import exists, is_file, is_folder
from bioprobe.content import CONTENT
from bioprobe.errors import SourceError
from bioprobe.files import reading_source
from bioprobe.images.addresses import refuse_address
from bioprobe.images.image_table import FACT_COLUMNS, concatenate_columns
from bioprobe.images.location import read_name, write_name
from bioprobe.images.regions import REGION, get_box
from bioprobe.registry import SOURCES
from bioprobe.remote import find_address
from bioprobe.remote import name as remember
from bioprobe.result import PROBLEM, WARNING, Note, Notes, Result
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
from bioprobe.sources.formats import find_format, list_formats
from bioprobe.sources.listing import Listing, Part, join
from bioprobe.sources.lookup import find_near
from bioprobe.sources.peek import Peek
from bioprobe.sources.tables import is_text_table, list_table
from bioprobe.sources.walking import IMAGE_SUFFIXES, Rules, walk
from bioprobe.tables import TABLE_SUFFIXES, TableOptions, find_ending
from bioprobe.taxonomy import RANKS

if TYPE_CHECKING:
    import pandas as pd

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
        - tables that name files: text (CSV and its kin), Parquet, JSON Lines, workbooks;
        - output of detectors and annotation files, known by their content
          (:mod:`bioprobe.sources.formats`);
        - lists of paths: ``.txt``, one a line, and ``.json``, an array of texts;
        - ``-``: paths on standard input, one a line or each ended by a NUL byte;
        - Hugging Face data sets: folders of ``save_to_disk``, Parquet files that hold the
          pictures or folders of these, and ``dataset:ORG/NAME[@REVISION][#SPLIT]`` on the hub;
        - folders, tables, lists and pictures at addresses of buckets and hubs, ``s3://…``
          (:mod:`bioprobe.sources.remote`);
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
    named = frozenset(absolute(one) for one in sources)
    options = dataclasses.replace(options, named=named)
    parts: list[tuple[Part, Path]] = []
    # Files that stand one after the other are one frame: there may be thousands.
    for name, group in itertools.groupby(sources, lambda one: recognise_source(one, options)):
        if name:
            for source in group:
                listed = _list(name, source, options)
                # Another package may say no more than a frame.
                several = listed if isinstance(listed, list) else [listed]
                made = [one if isinstance(one, Part) else Part(one) for one in several]
                home, origin = options.root or _find_home(source), _name_source(source)
                parts += [
                    (
                        dataclasses.replace(one, source=origin),
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
    at_address = find_address(options.root)
    for one in list_formats():
        if one.name == name:
            if at_address:
                msg = f"{source} is {one.what}, of pictures on a disk; got --root {at_address}"
                raise SourceError(msg)
            listed = list(one.list(Peek(source), options))
            return _tell_unlisted(source, listed, options) if is_folder(source) else listed
    if at_address:
        remember(at_address)
    return SOURCES.load(name)(source, options)


def _tell_unlisted(folder: Path, parts: list[Part], options: SourceOptions) -> list[Part]:
    """Say how many pictures lie in a package that it does not name."""
    named = {
        join(*at)
        for part in parts
        for at in zip(part.frame["root"], part.frame["path"], strict=True)
    }
    found = walk(folder, Rules(options.exclude, options.include)).files
    others = [file for file in map(write_name, map(absolute, found)) if file not in named]
    if not others or not parts or options.categories:
        return parts
    text = (
        f"{len(others):,} pictures below {folder} are of none of its rows, and not listed "
        f"({others[0]}); name them, or their folder, too to embed them"
    )
    first = dataclasses.replace(parts[0], notes=(*parts[0].notes, Note(text, WARNING)))
    return [first, *parts[1:]]


def _find_home(source: Path) -> Path:
    """Return the folder that the paths of a source start from unless another is given."""
    prefix, colon, rest = str(source).partition(":")
    path = Path(rest) if colon and prefix in SOURCES.added else source
    return path if path.is_dir() else path.parent


def _name_source(source: Path) -> str:
    """Name what lists pictures, the same in a later run; what comes on standard input has none."""
    if str(source) == STANDARD_INPUT:
        return ""
    if address := find_address(source):
        return address
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
    if find_address(source):
        return ADDRESS
    with reading_source(source):
        return _recognise(source, options)


def _recognise(source: Path, options: SourceOptions) -> str:
    refuse_address(source)
    prefix, colon, _ = str(source).partition(":")
    ending, added = source.suffix.lower().removeprefix("."), SOURCES.added
    for name in (prefix if colon else "", ending):
        if name in added:
            return name
    suffix = find_ending(source)
    if not _is_told(suffix, options) and (tool := _name_format(source, suffix)):
        return tool
    if suffix in UNREAD_SUFFIXES and is_file(source):
        msg = (
            f"{source} is no picture, and no table or list that is read: save a table as .csv, "
            ".tsv, .parquet, .xlsx or .ods, a list of paths as .txt, one a line, or .json, an array"
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
        is_table = suffix == ".txt" and is_text_table(source)
        return "csv" if is_table else suffix.removeprefix(".")
    what = "no plain file" if exists(source) else "no file or folder"
    near = find_near(write_name(os.path.abspath(source))) if what != "no plain file" else ()  # noqa: PTH100
    msg = f"{what} at {source}{'; near: ' if near else ''}{', '.join(near)}"
    raise SourceError(msg)


def _is_told(suffix: str, options: SourceOptions) -> bool:
    """Tell whether a person says how a table is to be read: it is a table then, whosever it is."""
    is_said = options.path_column is not None or options.written != TableOptions()
    return suffix in TABLE_SUFFIXES and is_said


# What is not a format of another tool, by its name in the registry.
ADDRESS = "address"
_KINDS = {
    "": ("image files", "their endings, or no other kind"),
    "-": ("a list of paths on standard input", "-"),
    "txt": ("a list of paths, one a line", ".txt"),
    "json": ("a list of paths, an array of texts", ".json"),
    "dataset": ("a Hugging Face data set", "dataset:, its files, or a column of pictures"),
    "folder": ("a folder of pictures", "a folder"),
    "address": ("a folder, table, list or picture at an address", "s3://, gs://, hf:// and others"),
    "csv": ("a table of text, one row a line", ".csv, or a header in .txt"),
    "tsv": ("a table of text, cells separated by tabs", ".tsv"),
    "parquet": ("a Parquet table", ".parquet"),
    "pq": ("a Parquet table", ".pq"),
    "jsonl": ("a table, one JSON object a line", ".jsonl"),
    "ndjson": ("a table, one JSON object a line", ".ndjson"),
    "xlsx": ("a workbook (extra: bioprobe[excel])", ".xlsx"),
    "xlsm": ("a workbook (extra: bioprobe[excel])", ".xlsm"),
    "xls": ("a workbook (extra: bioprobe[excel])", ".xls"),
    "ods": ("an OpenDocument workbook (extra: bioprobe[excel])", ".ods"),
}


def list_kinds() -> list[tuple[str, str, str]]:
    """Return the kinds of sources: name, what it is, and by what it is recognised."""
    formats = [(one.name, one.what, "its content, whatever its name") for one in list_formats()]
    ours = [(name or "image", *_KINDS[name]) for name in _KINDS]
    added = [
        (name, "added by another package", f"{name}: before, or .{name} after the name")
        for name in SOURCES.added
    ]
    return [*formats, *ours, *added]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SourceFacts(Result):
    """What a source says of pictures.

    Parameters
    ----------
    frame : DataFrame
        First rows of the image table, without the columns that are empty in all rows.
    provenance : dict
        What the source was taken for, its columns and counts, JSON-ready.
    failures : DataFrame
        ``path`` and ``reason`` of what is no row, or has no file.
    notes : tuple of Note
        The same in sentences, and what the source's own reading says.
    """

    frame: pd.DataFrame
    provenance: dict[str, Any]
    failures: pd.DataFrame
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return the first rows."""
        return self.frame


def describe_source(source: Path, options: SourceOptions, *, n_shown: int) -> SourceFacts:
    """Say what a source is taken for and what it lists.

    Raises
    ------
    SourceError
        As :func:`find_images` does.
    """
    import pandas as pd

    name = recognise_source(source, options)
    what = {one: said for one, said, _ in list_kinds()}[name or "image"]
    listed = find_images([source], options)
    frame = listed.frame
    filled = [n for n in frame.columns if not frame[n].isin([""]).all() and frame[n].notna().any()]
    shown = [n for n in filled if n not in FACT_COLUMNS]
    columns = [n for n in shown if n not in {"root", REGION}]
    files = list(dict.fromkeys(map(join, frame["root"], frame["path"])))
    lost = [(path, why) for _, path, why in listed.unread]
    lost += [(file, listed.reasons[file]) for file in files if file in listed.reasons]
    ranks = {str(rank.value): frame[rank.value].replace("", None).nunique()
             for rank in RANKS if rank.value in shown}  # fmt: skip
    contents: dict[str, int] = {}
    if CONTENT in shown:
        counted = frame[CONTENT].replace("", None).value_counts()
        contents = {str(one): int(n) for one, n in counted.items()}
    n_boxes = sum(bool(get_box(one)) for one in frame[REGION])
    facts = {
        "source": str(source),
        "kind": name or "image",
        "what": what,
        "columns": columns,
        "ranks": ranks,
        "pictures": len(files),
        "regions": len(frame),
        "boxes": n_boxes,
        "failures": len(lost),
        "content": contents,
    }
    said = [
        f"{source} is taken for {facts['kind']}: {what}",
        f"{len(frame):,} regions of {len(files):,} pictures, {n_boxes:,} of them boxes; "
        f"{len(lost):,} failures",
        f"columns: {', '.join(columns) or 'none'}",
        f"ranks: {_count(ranks) or 'none'}",
        *([f"content: {_count(contents)}"] if contents else []),
    ]
    first = frame.head(n_shown)[columns or ["path"]]
    if REGION in shown:
        first.insert(1, REGION, frame[REGION].head(n_shown))
    failures = pd.DataFrame(lost, columns=["path", "reason"], dtype=object)
    # What is not read was said by who read the rest.
    gone = lost[len(listed.unread) :]
    reasons = [Note(f"{path}: {why}", PROBLEM) for path, why in gone[:_SHOWN]]
    if len(gone) > _SHOWN:
        reasons.append(Note(f"… and {len(gone) - _SHOWN:,} more files were not found", PROBLEM))
    notes = (*map(Note, said), *listed.notes, *reasons)
    return SourceFacts(first.reset_index(drop=True), facts, failures, notes)


_SHOWN = 5


def _count(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def _name_format(source: Path, suffix: str) -> str:
    """Return the name of the format of another tool that a source is of, ``""`` where of none."""
    if suffix in IMAGE_SUFFIXES:
        return ""
    peek = Peek(source)
    found = find_format(peek)
    if found is None and suffix not in UNREAD_SUFFIXES | TABLE_SUFFIXES:
        _refuse_json(peek)
    return found.name if found is not None else ""


def _refuse_json(peek: Peek) -> None:
    """Refuse JSON that is of no format and no list of paths."""
    found = peek.json
    if found is None or (isinstance(found, list) and all(isinstance(one, str) for one in found)):
        return
    what = "; ".join(one.what for one in list_formats())
    msg = (
        f'{peek.path} is no list of paths; of JSON an array of texts is read, ["a.jpg", "b.jpg"], '
        f"and: {what}. Write a table with labels as CSV, TSV or Parquet"
    )
    raise SourceError(msg)
