"""Tables and exports of other tools in a zip: read as if it were a folder.

The tables are written to a folder that is gone afterwards, with an empty file for each picture, so
that what reads folders reads a zip; the rows then name the members. A path that leads out of the
zip starts from the folder that it lies in, or from ``--root``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.errors import BioprobeError, ImageReadError, SourceError
from bioprobe.images.archives import Archive, is_hidden, open_archive
from bioprobe.images.location import read_name, write_name
from bioprobe.result import PROBLEM, WARNING, Note
from bioprobe.sources.archives import find_key, find_pictures, list_archive, tell_archive
from bioprobe.sources.files import absolute, locate
from bioprobe.sources.folders import METADATA_NAMES, list_folder
from bioprobe.sources.formats import Format, find_format
from bioprobe.sources.listing import Part, join
from bioprobe.sources.packages import archive_root
from bioprobe.sources.tables import list_table
from bioprobe.sources.walking import is_picture
from bioprobe.tables import find_ending

if TYPE_CHECKING:
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.peek import Peek


_TABLES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".parquet", ".pq", ".xml", ".txt", ".gz"})
_PLAIN_TABLES = frozenset({".csv", ".tsv", ".parquet", ".pq"})
_BESIDE = frozenset({".json", ".cls", ".txt"})
_MOST_TABLE_BYTES = 1 << 30


def _find_tables(archive: Archive) -> list[str]:
    """Return the members of a zip that may say what its pictures are of.

    None where all that is no picture lies beside one under its key, as in a shard, and none of a
    document of an office program, which is a zip as well.
    """
    names = [name for name in archive.members if not is_hidden(name)]
    if {"[Content_Types].xml", "mimetype"} & set(names):
        return []
    tables = [name for name in names if PurePosixPath(name).suffix.lower() in _TABLES]
    keys = {find_key(name) for name in find_pictures(archive)}
    is_keyed = all(
        PurePosixPath(name).suffix.lower() in _BESIDE and find_key(name) in keys for name in tables
    )
    return [] if is_keyed and keys else tables


def _is_zipped_export(peek: Peek) -> bool:
    """Tell whether a source is a zip with tables, with its pictures or without."""
    if not peek.head.startswith(b"PK\x03\x04") or is_picture(peek.path.name):
        return False
    try:
        return bool(_find_tables(open_archive(peek.path)))
    except SourceError:
        return False


def _list_zipped_export(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the pictures that tables in a zip name, or with tables of no tool all of it."""
    archive = open_archive(peek.path)
    tables, pictures = _find_tables(archive), find_pictures(archive)
    with tempfile.TemporaryDirectory(prefix="bioprobe-") as temporary:
        # Paths that leave the archive must not meet what else lies there.
        top = Path(os.path.realpath(temporary), "archive", "archive")
        top.mkdir(parents=True)
        lost = _lay_out(archive, pictures, tables, top)
        home = write_name(absolute(options.root or archive.path.parent))
        mapping = _Mapping(archive, str(top), home)
        try:
            # What is in the archive is looked for there, whatever --root says of the rest.
            listed = _list_folder(peek, top, dataclasses.replace(options, root=None))
        except BioprobeError as error:
            if pictures and not _holds_format(peek, top):
                # Tables that say nothing of pictures are no reason to leave these out.
                return list_archive(peek, options)
            raise SourceError(mapping.write(str(error))) from error
        parts = [mapping.map(part) for part in listed]
    notes, unread = tell_archive(archive)
    if lost:
        text = f"{len(lost):,} files of {archive.path.name} cannot be read ({lost[0]})"
        notes = [*notes, Note(text, PROBLEM)]
    parts[0] = dataclasses.replace(
        parts[0], unread=(*parts[0].unread, *unread), notes=(*parts[0].notes, *notes)
    )
    return parts


def _lay_out(
    archive: Archive, pictures: Sequence[str], tables: Sequence[str], top: Path
) -> list[str]:
    """Write the tables, and an empty file for each picture; return what cannot be, and why."""
    lost = []
    made: set[Path] = set()
    n_bytes = 0
    is_table = set(tables)
    for name in (*tables, *pictures):
        target = top / name
        try:
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            if name not in is_table:
                target.touch()
                continue
            n_bytes += archive.members[name].n_bytes
            if n_bytes > _MOST_TABLE_BYTES:
                lost.append(f"{name}: the tables have over {_MOST_TABLE_BYTES:,} bytes")
                continue
            archive.write(name, target)
        except (OSError, ValueError, ImageReadError) as error:
            lost.append(f"{name}: {error}")
            # What was written of a damaged table is not all of it.
            with contextlib.suppress(OSError):
                target.unlink()
    return lost


def _holds_format(peek: Peek, top: Path) -> bool:
    return any(
        find_format(dataclasses.replace(peek, path=Path(parent))) is not None
        for parent, _, _ in os.walk(top)
    )


def _list_folder(peek: Peek, top: Path, options: SourceOptions) -> list[Part]:
    """List what lies in a folder: exports of tools, or else its pictures and tables."""
    found: list[Part] = []
    tables: list[Path] = []
    for parent, folders, names in os.walk(top):
        folders.sort()
        folder = dataclasses.replace(peek, path=Path(parent))
        if (one := find_format(folder)) is not None:
            found += one.list(folder, options)
            folders.clear()
            continue
        for name in sorted(names):
            file = dataclasses.replace(peek, path=Path(parent, name))
            if not is_picture(name) and (one := find_format(file)) is not None:
                found += one.list(file, options)
            elif find_ending(file.path) in _PLAIN_TABLES and name not in METADATA_NAMES:
                tables.append(file.path)
    if not found:
        return _list_tables(top, tables, options)
    named = {
        join(*place)
        for one in found
        for place in zip(one.frame["root"], one.frame["path"], strict=True)
    }
    files = [join(parent, name) for parent, _, names in os.walk(top) for name in names]
    others = [file for file in files if is_picture(file) and file not in named]
    if others:
        text = f"{len(others):,} pictures are named by no row, and are not listed ({others[0]})"
        found[0] = dataclasses.replace(found[0], notes=(*found[0].notes, Note(text, WARNING)))
    return found


def _list_tables(top: Path, tables: Sequence[Path], options: SourceOptions) -> list[Part]:
    """List pictures, and what tables of no tool say of them."""
    parts: list[Part] = []
    problems: list[str] = []
    read: set[str] = set()
    for table in tables:
        try:
            parts.append(list_table(table, options))
            read.add(absolute(table))
        except SourceError as error:
            problems.append(str(error))
    try:
        parts += list_folder(top, dataclasses.replace(options, named=options.named | read))
    except SourceError:
        if not parts and problems:
            raise SourceError(problems[0]) from None
        if not parts:
            raise
    notes = tuple(Note(f"a table is not read: {one}", WARNING) for one in problems)
    parts[0] = dataclasses.replace(parts[0], notes=(*parts[0].notes, *notes))
    return parts


@dataclasses.dataclass(frozen=True)
class _Mapping:
    """Files of the folder that stands for an archive, and what they are in truth.

    Parameters
    ----------
    archive : Archive
    top : str
        The folder.
    home : str
        Where paths start that lead out of the archive.
    """

    archive: Archive
    top: str
    home: str

    def map(self, part: Part) -> Part:
        """Return a part whose rows name members of the archive, or files beside it."""
        places = zip(part.frame["root"], part.frame["path"], strict=True)
        placed = [self.place(join(*at), at) for at in places]
        frame = part.frame.assign(
            root=np.array([root for root, _ in placed], dtype=object),
            path=np.array([path for _, path in placed], dtype=object),
        )
        reasons = {}
        for file, why in part.reasons.items():
            place = self.place(file, ("", file))
            is_there = place[0] == self.home and os.path.exists(read_name(join(*place)))  # noqa: PTH110
            if not is_there:
                reasons[join(*place)] = self.write(why)
        unread = tuple(
            (*self.place(join(*at), (at[0], at[1])), self.write(why)) for *at, why in part.unread
        )
        notes = tuple(dataclasses.replace(one, text=self.write(one.text)) for one in part.notes)
        return dataclasses.replace(
            part, frame=frame, name=self.write(part.name), reasons=reasons, unread=unread,
            notes=notes, is_named=False,
        )  # fmt: skip

    def place(self, file: str, otherwise: tuple[str, str]) -> tuple[str, str]:
        """Return the root and path of a file."""
        if not file.startswith(f"{Path(self.top).parents[1]}{os.sep}"):
            return otherwise
        relative = os.path.relpath(file, self.top)
        name = relative.replace(os.sep, "/")
        if name in self.archive.members:
            return archive_root(self.archive.path), name
        return locate(os.path.normpath(join(self.home, relative)), self.home)

    def write(self, text: str) -> str:
        """Write the archive in place of the folder that stands for it."""
        return text.replace(self.top, str(self.archive.path))


ZIPPED_EXPORT = Format(
    "zipped-export",
    "a zip with any of these, or with tables beside its pictures",
    _is_zipped_export,
    _list_zipped_export,
)
