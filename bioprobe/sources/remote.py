"""Folders, tables and pictures at addresses: ``s3://bucket/photos`` and their like.

What lies below an address is listed once, and taken or left out by the rules of a folder
(:mod:`bioprobe.sources.walking`); the pictures' paths from it are those that they have from a
folder. A table is copied into the cache and read there; the paths in it start from its own address.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bioprobe import remote
from bioprobe.cache import find_cache
from bioprobe.errors import SourceError
from bioprobe.files import scratch_beside
from bioprobe.images.location import MAX_BYTES
from bioprobe.registry import SOURCES
from bioprobe.result import Note
from bioprobe.sources.datasets import is_dataset
from bioprobe.sources.files import LIST_SUFFIXES, SourceOptions, list_objects
from bioprobe.sources.folders import METADATA_NAMES, compare_metadata, list_metadata
from bioprobe.sources.formats import find_format
from bioprobe.sources.listing import Part
from bioprobe.sources.peek import Peek
from bioprobe.sources.tables import is_text_table
from bioprobe.sources.walking import (
    IMAGE_SUFFIXES,
    PEEKED_BYTES,
    Rules,
    Walking,
    is_picture,
)
from bioprobe.tables import TABLE_SUFFIXES, find_ending

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz")
_FROM_HERE = "; copy it to this machine, and name the copy"


def list_address(source: Path, options: SourceOptions) -> Part | list[Part]:
    """List the pictures of a folder, a table or a list at an address, or a picture itself.

    Raises
    ------
    SourceError
        If nothing is there, it cannot be read, or it is read from a disk alone.
    """
    address = remote.find_address(source)
    remote.name(address)
    if options.root is not None and (root := remote.find_address(options.root)):
        remote.name(root)
    ending = find_ending(PurePosixPath(address))  # type: ignore[arg-type]
    try:
        if ending in TABLE_SUFFIXES | LIST_SUFFIXES:
            return _list_table(address, ending, options)
        if is_picture(address):
            folder, _, name = address.rpartition("/")
            remote.name(folder)
            return list_objects([name], folder, options)
        if address.lower().endswith(_ARCHIVES):
            msg = f"{address} is an archive, which is read from a disk alone{_FROM_HERE}"
            raise SourceError(msg)
        return _list_folder(address, options)
    except OSError as error:
        reason = "nothing is there" if isinstance(error, FileNotFoundError) else str(error)
        msg = f"{address} cannot be read: {reason}"
        raise SourceError(msg) from error


def _copy_here(address: str) -> Path:
    """Return a copy of what lies at an address, of its name; it is fetched anew each time."""
    folder = find_cache("tables") / hashlib.sha256(address.encode()).hexdigest()[:32]
    copy = folder / address.rpartition("/")[2]
    with scratch_beside(copy) as scratch:
        remote.fetch(address, scratch / "copy")
        (scratch / "copy").replace(copy)
    return copy


def _list_table(address: str, ending: str, options: SourceOptions) -> Part:
    copy = _copy_here(address)
    found = find_format(Peek(copy)) if ending != ".txt" else None
    if found is not None or is_dataset(copy, options):
        what = found.what if found is not None else "a data set that holds pictures"
        msg = f"{address} is {what}, which is read from a disk alone{_FROM_HERE}"
        raise SourceError(msg)
    home = address.rpartition("/")[0]
    if options.root is None:
        remote.name(home)
        options = dataclasses.replace(options, root=Path(home))
    kind = "csv" if ending == ".txt" and is_text_table(copy) else ending.removeprefix(".")
    part: Part = SOURCES.load(kind)(copy, options)
    return _call(part, str(copy), address)


def _call(part: Part, copy: str, address: str) -> Part:
    """Name a copy by the address that it is of."""
    notes = tuple(Note(one.text.replace(copy, address), one.kind) for one in part.notes)
    return dataclasses.replace(part, name=part.name.replace(copy, address), notes=notes)


def _list_folder(address: str, options: SourceOptions) -> list[Part]:
    objects = remote.list_below(address)
    if not objects:
        if remote.look(address) is not None:
            msg = (
                f"{address} is no picture, table or list by its name; a picture ends in "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}"
            )
            raise SourceError(msg)
        msg = f"nothing is below {address}; see that it is written as it is there"
        raise SourceError(msg)
    walking = _Tree(address, objects, Rules(options.exclude, options.include))
    walking.enter(Path(), "", "")
    walked = walking.found
    names = [file.as_posix() for file in walked.files]
    unread = [(address, path, why) for path, why in walking.unread.items()]
    for name in names:
        if objects[name].n_bytes > MAX_BYTES:
            why = f"it has {objects[name].n_bytes:,} bytes, more than any picture ({MAX_BYTES:,})"
            unread.append((address, name, why))
    large = {path for _, path, _ in unread}
    metadata = [file for file in walked.others if file.name in METADATA_NAMES]
    listed = {}
    for file in metadata:
        whole = f"{address}/{file.as_posix()}"
        copy = _copy_here(whole)
        part = list_metadata(copy, Path(address), options, base=Path(whole.rpartition("/")[0]))
        if part is not None:
            listed[Path(whole)] = _call(part, str(copy), whole)
    left_out = walked.describe(Path(_remote_name(one, address)) for one in listed)
    if not names and not listed:
        msg = f"{address} holds no image by its name, among {len(objects):,} objects"
        if left_out:
            msg += f". There are {left_out}, which are left out; --include GLOB takes pictures"
        raise SourceError(msg)
    found = list_objects([one for one in names if one not in large], address, options)
    notes = compare_metadata(listed)
    if left_out:
        remedy = "; --include GLOB takes pictures" if walked.left_out else ""
        notes.append(Note(f"left out below {address}: {left_out}{remedy}"))
    return [
        *listed.values(),
        dataclasses.replace(found, unread=tuple(unread), notes=(*notes, *found.notes)),
    ]


def _remote_name(file: Path, address: str) -> str:
    """Return the path of an object, whose address a Path holds, from that of the folder."""
    return remote.find_address(file).removeprefix(f"{address}/")


class _Tree(Walking):
    """One way through what was listed below an address."""

    def __init__(self, address: str, objects: Mapping[str, remote.Found], rules: Rules) -> None:
        super().__init__(rules)
        self._address, self._objects = address, objects
        self._files: dict[str, list[str]] = {}
        self._folders: dict[str, dict[str, None]] = {".": {}}
        #: Why an object has no place in a folder, by its path.
        self.unread: dict[str, str] = {}
        for path in objects:
            parts = path.split("/")
            if any(part in {"", ".", ".."} for part in parts):
                if is_picture(path):
                    self.unread[path] = "its name has an empty part, . or .., as no folder has"
                continue
            above = "."
            for part in parts[:-1]:
                self._folders.setdefault(above, {})[part] = None
                above = part if above == "." else f"{above}/{part}"
            self._files.setdefault(above, []).append(parts[-1])

    def list_folder(self, folder: Path, *, is_quiet: bool) -> tuple[list[str], list[str]]:  # noqa: ARG002
        """Return the names of the files and of the folders in a folder."""
        place = folder.as_posix()
        return sorted(self._files.get(place, ())), sorted(self._folders.get(place, ()))

    def is_folder(self, place: Path) -> bool:
        """Tell whether a folder is there."""
        return place.as_posix() in self._files or place.as_posix() in self._folders

    def peek(self, file: Path) -> bytes:
        """Return the beginning and the end of a file, nothing where it cannot be read."""
        try:
            data = remote.read(f"{self._address}/{file.as_posix()}", most_bytes=MAX_BYTES)
        except OSError:
            return b""
        return data[:PEEKED_BYTES] + data[-PEEKED_BYTES:]
