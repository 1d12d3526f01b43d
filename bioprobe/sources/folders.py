"""Folders of image files, with the metadata table of an image folder where there is one."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.images.image_table import LOCATION_COLUMNS
from bioprobe.result import PROBLEM, WARNING, Note
from bioprobe.sources.files import SourceOptions, absolute, list_files, locate
from bioprobe.sources.formats import find_format
from bioprobe.sources.listing import Part, explain_unread, find_said, is_same, join
from bioprobe.sources.peek import Peek
from bioprobe.sources.tables import list_rows
from bioprobe.sources.walking import IMAGE_SUFFIXES, Rules, is_left_out, is_picture, walk
from bioprobe.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

# The names and the column that Hugging Face's imagefolder reads.
METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_METADATA_COLUMN = "file_name"
_SHOWN = 3
# Folders that could be packages: a file beside each picture may lie in many more.
_MOST_LOOKED_AT = 1000


def list_folder(folder: Path, options: SourceOptions) -> list[Part]:
    """List the images of a folder and of what is below it, but what :func:`walk` leaves out.

    Images that a ``metadata.csv``, ``.jsonl`` or ``.parquet`` names in its column
    ``file_name`` come first, with the labels and columns that it has.

    Raises
    ------
    SourceError
        If there is no image, or a metadata table cannot be read.

    References
    ----------
    Hugging Face datasets, "Create an image dataset", ``ImageFolder``.
    """
    walked = walk(folder, Rules(options.exclude, options.include))
    top = absolute(folder)
    unread = tuple(
        (*locate(absolute(Path(error.filename or folder)), top), explain_unread(error))
        for error in walked.errors
    )
    metadata = [file for file in walked.others if file.name in METADATA_NAMES]
    listed = {
        file: part for file in metadata
        if (part := list_metadata(file, folder, options)) is not None
    }  # fmt: skip
    others = [one for one in walked.others if absolute(one) in options.named]
    left_out = walked.describe([*listed, *others])
    if not walked.files and not listed and unread:
        msg = f"{join(*unread[0][:2])}: {unread[0][2]}; get the right to read it, or choose another"
        raise SourceError(msg)
    if not walked.files and not listed:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        msg = (
            f"{folder} holds no image; files that end in {kinds}, or as raw photographs do, are "
            "looked for"
        )
        if left_out:
            msg += f". There are {left_out}, which are left out; --include GLOB takes pictures"
        raise SourceError(msg)
    found = list_files(walked.files, folder, options)
    notes = [Note(f"{join(root, path)}: {why}", PROBLEM) for root, path, why in unread]
    notes += compare_metadata(listed)
    notes += _tell_packages(folder, walked.others)
    if left_out:
        remedy = "; --include GLOB takes pictures" if walked.left_out else ""
        notes.append(Note(f"left out below {folder}: {left_out}{remedy}"))
    return [*listed.values(), dataclasses.replace(found, unread=unread, notes=tuple(notes))]


def _tell_packages(folder: Path, others: Iterable[Path]) -> list[Note]:
    """Say which folders below one are packages, whose labels are read where they are named."""
    kinds = {".json", ".xml", ".csv", ".txt", ".gz"}
    parents = dict.fromkeys(one.parent for one in others if one.suffix.lower() in kinds)
    looked_at = itertools.islice((one for one in parents if one != folder), _MOST_LOOKED_AT)
    found = {one: kind for one in looked_at if (kind := _name_package(one))}
    if not found:
        return []
    shown = ", ".join(f"{one} ({kind})" for one, kind in list(found.items())[:_SHOWN])
    more = ", …" if len(found) > _SHOWN else ""
    text = (
        f"{len(found):,} folders below {folder} are packages, whose labels are read where they are "
        f"named as sources: {shown}{more}"
    )
    return [Note(text, WARNING)]


def _name_package(folder: Path) -> str:
    try:
        found = find_format(Peek(folder))
    except SourceError:  # whoever names it is told why
        return ""
    return found.name if found is not None else ""


def holds_parquet_only(folder: Path) -> Path | None:
    """Return the first Parquet file of a folder that has no image, or None."""
    first = None
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_left_out(name))
        for name in sorted(names):
            if name.startswith("."):
                continue
            if is_picture(name):
                return None  # most often the first file, so that large folders are walked once
            if first is None and name.endswith(".parquet"):
                first = Path(parent, name)
    return first


def compare_metadata(listed: Mapping[Path, Part]) -> list[Note]:
    """Say which metadata tables of one folder contradict each other, and on how many pictures."""
    notes = []
    for one, other in itertools.combinations(listed, 2):
        if one.parent != other.parent:
            continue
        columns = _count_contradictions(listed[one].frame, listed[other].frame)
        if columns:
            which = ", ".join(f"{name} of {n:,}" for name, n in columns.items())
            text = (
                f"{one} and {other.name} beside it contradict each other ({which} pictures): what "
                "was taken is said below as a conflict; remove one of them"
            )
            notes.append(Note(text, WARNING))
    return notes


def _count_contradictions(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, int]:
    keys = list(LOCATION_COLUMNS)
    both = one.merge(other, on=keys, suffixes=("", _OTHER))
    columns = [name for name in one.columns if name in other.columns and name not in keys]
    counts = {
        str(name): sum(
            bool(find_said({"a": a})) and bool(find_said({"a": b})) and not is_same(a, b)
            for a, b in zip(both[name], both[f"{name}{_OTHER}"], strict=True)
        )
        for name in columns
    }
    return {name: n for name, n in counts.items() if n}


_OTHER = " (the other)"


def list_metadata(
    file: Path, folder: Path, options: SourceOptions, *, base: Path | None = None
) -> Part | None:
    """List what a metadata table names; None where it is one of another sort.

    Parameters
    ----------
    file : Path
    folder : Path
        That its pictures are named from in the image table, or an address.
    options : SourceOptions
    base : Path, optional
        Where it lies, if it is the copy of one at an address.
    """
    frame = read_table(file)
    if _METADATA_COLUMN not in frame.columns:
        return None
    # The names are relative to the metadata's own folder, whatever other tables are relative to.
    own = SourceOptions(base, rank_columns=options.rank_columns, tell=options.tell)
    return list_rows(frame, _METADATA_COLUMN, file, own, root=folder)
