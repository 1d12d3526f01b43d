"""Zip and tar files of pictures, and WebDataset shards; nothing is unpacked.

References
----------
WebDataset: files of a tar whose names are equal up to the first dot of the last part are one
sample; a picture's labels lie beside it as ``.json``, ``.cls`` or ``.txt``, and ``1.sci.txt`` is
what ``sci`` is of ``1.jpg``. Cameras write dots into names too: what lies beside ``IMG.01.jpg`` as
``IMG.02.json`` is of another picture.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bioprobe.cells import settle_frame
from bioprobe.errors import ImageReadError, SourceError
from bioprobe.files import parse_json
from bioprobe.images.archives import Archive, find_archive_kind, is_hidden, open_archive
from bioprobe.images.image_table import concatenate_columns
from bioprobe.images.location import write_name
from bioprobe.result import PROBLEM, WARNING, Note
from bioprobe.sources.files import SourceOptions, label_by_folders
from bioprobe.sources.formats import Format
from bioprobe.sources.listing import Part
from bioprobe.sources.packages import archive_root
from bioprobe.sources.peek import Peek
from bioprobe.sources.tables import describe_rows
from bioprobe.sources.walking import IMAGE_SUFFIXES
from bioprobe.taxonomy.columns import LABEL

_SIDE_SUFFIXES = (".json", ".cls", ".txt")
_CAPTION = "caption"
# Labels of more bytes are no labels.
_MOST_SIDE_BYTES = 1 << 20
_SHOWN = 3
_NESTED = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_NUMBER = re.compile(r"\d+(?=\D*$)")
_SHARD_SUFFIX = ".tar"


def _is_archive(peek: Peek) -> bool:
    """Tell whether a file is a zip or tar that holds pictures, or one that is compressed whole."""
    kind = find_archive_kind(peek.head)
    if kind == "zip":
        # Other files are zips too, and one that says that it is one is refused for what it lacks.
        is_said = peek.path.suffix.lower() == ".zip"
        return is_said or any(map(_is_picture, open_archive(peek.path).members))
    is_named = any(suffix in (".tar", ".tgz", ".tbz", ".txz") for suffix in peek.path.suffixes[-2:])
    return kind == "tar" or (kind != "" and is_named)


def list_archive(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the pictures of a zip or tar, with what lies beside each.

    Raises
    ------
    SourceError
        If it cannot be read, or holds no picture.
    """
    archive = open_archive(peek.path)
    pictures = find_pictures(archive)
    if not pictures:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(archive.unread.items())[:_SHOWN])
        msg = f"{peek.path} holds no picture that can be read{': ' if reasons else ''}{reasons}"
        raise SourceError(msg)
    return [_list(archive, pictures, options)]


def find_pictures(archive: Archive) -> list[str]:
    """Return the members that are pictures by their ending."""
    return [name for name in archive.members if _is_picture(name)]


def tell_archive(archive: Archive) -> tuple[list[Note], tuple[tuple[str, str, str], ...]]:
    """Return what is to be said of an archive, and root, path and reason of what is not read."""
    notes = [Note(f"{archive.path}: {text}", WARNING) for text in archive.said]
    if archive.problem:
        notes.append(Note(archive.problem, PROBLEM))
    nested = [name for name in archive.members if name.lower().endswith(_NESTED)]
    if nested:
        text = (
            f"{len(nested):,} archives in {archive.path} are not read "
            f"({', '.join(nested[:_SHOWN])}); unpack them beside it"
        )
        notes.append(Note(text, PROBLEM))
    root = archive_root(archive.path)
    unread = tuple((root, write_name(name), why) for name, why in archive.unread.items())
    if unread:
        shown = "; ".join(f"{name}: {why}" for _, name, why in unread[:_SHOWN])
        notes.append(
            Note(f"{len(unread):,} files of {archive.path} are not read ({shown})", PROBLEM)
        )
    return notes, unread


def _is_shards(peek: Peek) -> bool:
    """Tell whether a folder holds shards and nothing else, or a name stands for several."""
    if not peek.is_folder:
        return _RANGE.search(peek.path.name) is not None and bool(_expand_range(peek.path))
    return bool(peek.names) and all(name.endswith(_SHARD_SUFFIX) for name in peek.names)


def list_shards(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the pictures of shards, one after the other; a number that is missing is said.

    Raises
    ------
    SourceError
        If a shard that was named is missing, or cannot be read.
    """
    if peek.is_folder:
        files = [peek.path / name for name in sorted(peek.names)]
    else:
        files = _expand_range(peek.path)
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            msg = f"{len(missing):,} of {len(files):,} shards are missing: {', '.join(missing[:5])}"
            raise SourceError(msg)
    parts = [part for file in files for part in list_archive(Peek(file), options)]
    gaps = _find_gaps([file.stem for file in files])
    if gaps:
        shown = ", ".join(gaps[:_SHOWN])
        text = f"{len(gaps):,} shards of {peek.path} seem to be missing: no {shown}"
        parts[0] = _say(parts[0], Note(text, WARNING))
    return parts


def _expand_range(path: Path) -> list[Path]:
    """Return the files that a name such as ``shard-{000..003}.tar`` stands for.

    Examples
    --------
    >>> [file.name for file in _expand_range(Path("s-{08..10}.tar"))]
    ['s-08.tar', 's-09.tar', 's-10.tar']
    """
    found = _RANGE.search(path.name)
    if found is None:
        return []
    first, last = found.groups()
    numbers = range(int(first), int(last) + 1)
    return [
        path.with_name(_RANGE.sub(f"{number:0{len(first)}d}", path.name, count=1))
        for number in numbers[:1_000_000]
    ]


def _find_gaps(names: Sequence[str]) -> list[str]:
    """Return names that are missing from a numbering.

    Examples
    --------
    >>> _find_gaps(["s-0", "s-1", "s-3"])
    ['s-2']
    """
    numbers: dict[tuple[str, str], dict[int, int]] = collections.defaultdict(dict)
    for name in names:
        found = _NUMBER.search(name)
        if found is not None:
            around = name[: found.start()], name[found.end() :]
            numbers[around][int(found[0])] = len(found[0])
    gaps = []
    for (before, after), known in numbers.items():
        width = min(known.values())
        missing = set(range(min(known), max(known))) - known.keys()
        gaps += [f"{before}{number:0{width}d}{after}" for number in sorted(missing)[:1000]]
    return gaps


def _list(archive: Archive, pictures: Sequence[str], options: SourceOptions) -> Part:
    import pandas as pd

    root = archive_root(archive.path)
    listing = pd.DataFrame({"root": root, "path": list(pictures)}, dtype=object)
    sides = _find_sides(archive)
    notes, unread = tell_archive(archive)
    others = collections.Counter(
        PurePosixPath(name).suffix.lower() or "no ending"
        for name in archive.members
        if not _is_picture(name) and PurePosixPath(name).suffix.lower() not in _SIDE_SUFFIXES
    )
    if others:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(5))
        notes.append(Note(f"{archive.path}: left out {kinds}, which are no pictures"))
    stems = {_cut(name) for name in pictures}
    said = [_choose_sides(name, sides.get(find_key(name), ()), stems) for name in pictures]
    if any(said):
        told: list[Note] = []
        rows = [_read_sides(archive, names, told) for names in said]
        names = dict.fromkeys(name for row in rows for name in row)
        frame = settle_frame({name: [row.get(name) for row in rows] for name in names})
        described = describe_rows(frame, options)
        listing = concatenate_columns([listing, described])
        return Part(listing, str(archive.path), unread=unread, notes=(*notes, *told[:10]))
    folders = [PurePosixPath(name).parent for name in pictures]
    listing = label_by_folders(listing, folders, options)
    return Part(
        listing, str(archive.path), is_derived=True, is_named=True, unread=unread,
        notes=tuple(notes),
    )  # fmt: skip


def _find_sides(archive: Archive) -> dict[str, list[str]]:
    sides: dict[str, list[str]] = {}
    for name in archive.members:
        if PurePosixPath(name).suffix.lower() in _SIDE_SUFFIXES:
            sides.setdefault(find_key(name), []).append(name)
    return sides


def _cut(name: str) -> str:
    """Return a name without its ending."""
    return name.removesuffix(PurePosixPath(name).suffix)


def _choose_sides(
    picture: str, sides: Sequence[str], stems: Collection[str]
) -> list[tuple[str, str]]:
    """Return those of a sample's files that are of one of its pictures.

    Returns
    -------
    list of (str, str)
        Each with what stands in it between the picture's name and its own ending.
    """
    mine, stem = list[tuple[str, str]](), _cut(picture)
    for name in sides:
        own = _cut(name)
        is_of_other = own in stems and "." in PurePosixPath(own).name
        if own == stem or stem.startswith(f"{own}."):
            mine.append((name, ""))
        elif own.startswith(f"{stem}.") and not is_of_other:
            mine.append((name, own[len(stem) + 1 :]))
    return mine


def find_key(name: str) -> str:
    """Return what the files of one sample have in common."""
    path = PurePosixPath(name)
    return f"{path.parent}/{path.name.partition('.')[0]}"


def _read_sides(
    archive: Archive, sides: Sequence[tuple[str, str]], told: list[Note]
) -> dict[str, Any]:
    """Return what files beside a picture say of it; what cannot be read is told."""
    row: dict[str, Any] = {}
    for name, of in sides:
        try:
            row |= _read_side(archive, name, of)
        except (ImageReadError, ValueError) as error:
            told.append(Note(f"{name} in {archive.path} is not read: {error}", PROBLEM))
    return row


def _read_side(archive: Archive, name: str, of: str) -> dict[str, Any]:
    n_bytes, suffix = archive.members[name].n_bytes, PurePosixPath(name).suffix.lower()
    if n_bytes > _MOST_SIDE_BYTES:
        msg = f"it has {n_bytes:,} bytes, and a label has fewer"
        raise ImageReadError(msg)
    try:
        text = archive.read(name).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        msg = "it is no text in UTF-8"
        raise ImageReadError(msg) from None
    if suffix in {".txt", ".cls"}:
        column = of or (_CAPTION if suffix == ".txt" else LABEL)
        return {column: text} if text else {}
    said = parse_json(text, dict)
    return {
        str(key): json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
        for key, value in said.items()
    }


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(name)


def _say(part: Part, note: Note) -> Part:
    import dataclasses

    return dataclasses.replace(part, notes=(*part.notes, note))


SHARDS = Format(
    "shards",
    "WebDataset shards: a folder of .tar, or NAME-{000..009}.tar",
    _is_shards,
    list_shards,
)


ARCHIVE = Format(
    "archive",
    "zip and tar files of pictures; .json, .cls and .txt beside a picture",
    _is_archive,
    list_archive,
)
