r"""Which file a row of a table names, where it is not exactly as written.

A path is looked up, from first to last, until one file is found:

1. as written, from the folder that the table's paths start from;
2. with ``\`` read as ``/``;
3. by the one name in its folder that differs in Unicode form, case or blanks alone; without
   quotes around it; with ``%20`` for a blank; with the ending of a picture where it has none;
4. by the one file of that name below the folder whose parents hold the folders that the path names,
   and the row's values in columns of folder names (camera cards repeat the names of files, and
   ``Station/100RECNX/File`` stands in a table as ``Station`` and ``File``). Of a path from another
   machine, ``D:\cards\CAM1\3.JPG``, those folders count that are here too; where none is, the file
   of that name in the folder itself.

A column of folders beside that of files is part of the path where it makes files that are there.
An address is no file: a ``file://`` one is the path that it holds; of others, by rule 4, the file
of their last part is taken, where no other address of the table ends in it or the folders above it
are those of the address.

Where several files could be meant none is taken, nor is one that several paths of the table lead to
by rule 4, unless one of these ends in the other: of ``D:\2020\CAM1\3.JPG`` and
``D:\2021\CAM1\3.JPG`` only one can be ``CAM1/3.JPG``.

Of paths that start from an address, ``--root s3://bucket/photos``, nothing is looked up but whether
a column of folders is part of them: each names the object that it is written as, ``\\`` read as
``/``.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import os
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bioprobe import remote
from bioprobe.access import is_absent
from bioprobe.images.addresses import is_address
from bioprobe.images.location import read_name, write_name
from bioprobe.names import unify
from bioprobe.result import PROBLEM, WARNING, Note, Notes
from bioprobe.sources.listing import name_reason
from bioprobe.sources.walking import IMAGE_SUFFIXES, is_left_out

if TYPE_CHECKING:
    import pandas as pd

Parts = tuple[str, ...]

_DRIVE = re.compile(r"[A-Za-z]:(?=[/\\])")
# Files that a note or a reason names one by one.
_SHOWN = 3
_NONE = "no such file or directory"
_SEVERAL = "several files could be meant"
_SHARED = "several paths lead to one file"
_ADDRESS = "an address, and nothing is fetched unless asked: --fetch"
_SPELLING = "Unicode form, case or blanks, without quotes or escapes, or with an ending"
# What tables put around a path: marks that no name of a file begins and ends with.
_QUOTES = " '\"<>\u201c\u201d"
_FILE = re.compile(r"\s*file://", re.IGNORECASE)


def read_address(address: str) -> str:
    """Return the path that an address holds, from its host or bucket on.

    Examples
    --------
    >>> read_address("gs://bucket/photos/a%20b.jpg?x=1")
    '/bucket/photos/a b.jpg'
    >>> read_address("file:///C:/a.jpg")
    'C:/a.jpg'
    """
    scheme, _, rest = address.strip().partition("://")
    is_local = scheme.lower() == "file"
    if not is_local:
        rest = "/" + re.split("[?#]", rest)[0]
    path = urllib.parse.unquote(rest, errors="surrogateescape")
    if is_local:
        path = path.removeprefix("localhost")
        path = path[1:] if _DRIVE.match(path[1:]) else path
    return write_name(path)


@dataclasses.dataclass(frozen=True)
class Found:
    """Files of rows.

    Parameters
    ----------
    files : list of str
        Absolute path of each, as written where none was found; written as
        :func:`~bioprobe.images.location.write_name` does.
    reasons : dict of str to str
        Why a file was not found, by its path.
    notes : tuple of Note
        What was found otherwise than as written, and what was not.
    """

    files: list[str]
    reasons: dict[str, str]
    notes: Notes


@functools.lru_cache(maxsize=1 << 16)
def fold(name: str) -> str:
    """Return a file's name in the form in which names are near each other."""
    return unify(name).casefold()


@functools.lru_cache(maxsize=1 << 16)
def find_near(file: str) -> tuple[str, ...]:
    """Look for a file or folder by names that are nearly those of its path.

    Parameters
    ----------
    file : str
        Absolute path.

    Returns
    -------
    tuple of str
        The path itself where something is there; else those that are near.
    """
    if _is_there(file):
        return (file,)
    parent, name = os.path.split(file)
    parents = find_near(parent) if parent != file else ()
    if len(parents) != 1:
        return ()
    near = _list_near(parents[0]).get(fold(name), [])
    # One that differs in case too is farther.
    near = [one for one in near if unify(one) == unify(name)] or near
    return tuple(os.path.join(parents[0], one) for one in near)  # noqa: PTH118


def find_files(
    paths: Iterable[str],
    base: str,
    described: pd.DataFrame | None = None,
    *,
    name: str = "",
    beside: str = "",
    folders: Sequence[str] | None = None,
    is_folder: bool = False,
    addresses: Sequence[str] | None = None,
    fetches: bool = False,
) -> Found:
    """Find the files of paths; see the rule of this module.

    Parameters
    ----------
    paths : iterable of str
        As written, names that are not UTF-8 as :func:`~bioprobe.images.location.write_name`
        writes them.
    base : str
        Absolute folder that they start from.
    described : DataFrame, optional
        Further columns of the same rows; without it nothing is looked for below the folder.
    name : str
        Of the table, for notes.
    beside : str
        Another folder where files are looked for that are not found, to name them only.
    folders : sequence of str, optional
        What may be the folder of each, ``""`` where nothing is.
    is_folder : bool
        Whether it is the folder, also where it makes no file that is there.
    addresses : sequence of str, optional
        Where each lies elsewhere: its last folders are looked for here.
    fetches : bool
        Whether what lies at addresses is fetched afterwards.
    """
    find_near.cache_clear()
    _list_near.cache_clear()
    _list_pictures.cache_clear()
    lookup = _Lookup(list(paths), base, name, beside, folders, is_folder=is_folder)
    lookup.find_near()
    lookup.find_tails(addresses)
    if described is not None and lookup.lost:
        lookup.search(described)
    lookup.part_shared()
    if fetches:
        lookup.leave_addresses()
    lookup.name_lost()
    reasons = {lookup.files[row]: lookup.why[row] for row in lookup.lost}
    return Found(lookup.files, reasons, lookup.tell())


def find_objects(
    paths: Iterable[str],
    base: str,
    *,
    folders: Sequence[str] | None = None,
    is_folder: bool = False,
) -> Found:
    """Name the objects of paths that start from an address; only reading tells what is there.

    Parameters
    ----------
    paths : iterable of str
        As written; addresses stay what they are.
    base : str
        Address that they start from.
    folders : sequence of str, optional
        What may be the folder of each, ``""`` where nothing is.
    is_folder : bool
        Whether it is the folder; else it is where it makes an object that is there.
    """
    written = list(paths)
    bare = [_name_object(path, base) for path in written]
    if folders is not None:
        pairs = zip(written, folders, strict=True)
        joined = [
            _name_object(path if is_address(path) else f"{folder}/{path}", base)
            for path, folder in pairs
        ]
        others = [one for one, alone in zip(joined, bare, strict=True) if one and one != alone]
        if is_folder or any(remote.look(one) is not None for one in others[:_SHOWN]):
            bare = joined
    lost = {row for row, name in enumerate(bare) if not name}
    files = [name or f"{base}/{path}" for name, path in zip(bare, written, strict=True)]
    return Found(files, {files[row]: _LEADS_OUT for row in lost}, ())


_LEADS_OUT = "its path leads out of the address that it starts from"


def _name_object(path: str, base: str) -> str:
    """Return the address of a path, ``""`` where it leads out of the base."""
    if is_address(path.strip()):
        return path.strip()
    parts = list[str]()
    for part in _turn(path).split("/"):
        if part == "..":
            if not parts:
                return ""
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join((base, *parts)) if parts else ""


def _split(path: str) -> list[str]:
    """Return the folders of a path and its name, ``""`` where it has none."""
    return [part for part in path.split("/") if part not in {"", ".", ".."}] or [""]


def _turn(path: str) -> str:
    return _DRIVE.sub("", path).replace("\\", "/")


def _is_there(file: str) -> bool:
    # Of what may not be looked at, who reads it says why it cannot be.
    return not is_absent(read_name(file))


@functools.lru_cache(maxsize=4096)
def _list_near(folder: str) -> dict[str, list[str]]:
    try:
        names = sorted(write_name(one) for one in os.listdir(read_name(folder)))  # noqa: PTH208
    except OSError:
        return {}
    by_form: dict[str, list[str]] = {}
    for name in names:
        by_form.setdefault(fold(name), []).append(name)
    return by_form


def _unescape(path: str) -> str:
    return write_name(urllib.parse.unquote(path, errors="surrogateescape"))


def _find_ended(file: str) -> tuple[str, ...]:
    """Return the pictures that are called as a path without an ending, but for theirs."""
    parent, name = os.path.split(file)
    parents = () if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES else find_near(parent)  # noqa: PTH122
    names = _list_pictures(parents[0]).get(name, []) if len(parents) == 1 else []
    return tuple(os.path.join(parents[0], one) for one in names)  # noqa: PTH118


@functools.lru_cache(maxsize=4096)
def _list_pictures(folder: str) -> dict[str, list[str]]:
    by_stem: dict[str, list[str]] = {}
    for one in sorted(itertools.chain(*_list_near(folder).values())):
        stem, ending = os.path.splitext(one)  # noqa: PTH122
        if ending.lower() in IMAGE_SUFFIXES:
            by_stem.setdefault(stem, []).append(one)
    return by_stem


class _Lookup:
    """Paths on their way to files."""

    def __init__(
        self,
        paths: list[str],
        base: str,
        name: str,
        beside: str,
        folders: Sequence[str] | None,
        *,
        is_folder: bool,
    ) -> None:
        self._base, self._name, self._beside = base, name, beside
        self._written, self._paths = paths, list(paths)
        self.files: list[str] = []
        #: Rows without a file so far.
        self.lost: list[int] = []
        #: Why, by row.
        self.why: dict[int, str] = {}
        self._turned: list[int] = []
        self._near: list[int] = []
        self._searched: list[int] = []
        self._used: list[str] = []
        self._where: dict[int, list[str]] = {}
        self._addresses: dict[int, str] = {}
        self._by_address: list[int] = []
        self._folders = folders
        joined = [] if folders is None else self._join_folders(folders)
        # A label of one word may stand in such a column too.
        is_folder |= any(re.search(r"[/\\]", folder) for folder in folders or ())
        self._is_joined = bool(joined) and (is_folder or any(map(self._is_there_turned, joined)))
        if self._is_joined:
            self._paths = joined
        for row, path in enumerate(self._paths):
            self._begin(row, path)

    def _join_folders(self, folders: Sequence[str]) -> list[str]:
        return [
            path if not folder.strip() or is_address(path.strip())
            else f"{folder.strip().rstrip('/' + chr(92))}/{path}"
            for folder, path in zip(folders, self._written, strict=True)
        ]  # fmt: skip

    def _is_there_turned(self, path: str) -> bool:
        return _is_there(self._join(path)) or _is_there(self._join(_turn(path)))

    def _begin(self, row: int, path: str) -> None:
        """Take the file of a row where it is there as written, or with its separators turned."""
        if is_address(path.strip()):
            self._addresses[row] = path.strip()
            self._paths[row] = read_address(path)
            self.files.append(self._addresses[row])
            self.lost.append(row)
            return
        if _FILE.match(path):
            path = self._paths[row] = read_address(path)
        file = self._join(path)
        is_there = _is_there(file)
        if not is_there and ("\\" in path or _DRIVE.match(path)):
            self._paths[row] = _turn(path)
            self._turned.append(row)
            file = self._join(self._paths[row])
            is_there = _is_there(file)
        if not is_there:
            self.lost.append(row)
        self.files.append(file)

    def _join(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._base, path))  # noqa: PTH118

    def find_near(self) -> None:
        """Take the files whose names are nearly as written."""
        lost = []
        for row in self.lost:
            near = () if row in self._addresses else self._find_respelt(row)
            if len(near) == 1:
                self._near.append(row)
                self.files[row] = near[0]
                continue
            lost.append(row)
            self._lose(row, near)
        self.lost = lost

    def _find_respelt(self, row: int) -> tuple[str, ...]:
        """Return the files that a path may mean that is spelt a little otherwise."""
        file, path = self.files[row], self._paths[row]
        ways = (file, self._join(path.strip(_QUOTES)), self._join(_unescape(path)))
        found = (near for way in dict.fromkeys(ways) if (near := find_near(way)))
        return next(found, ()) or _find_ended(file)

    def find_tails(self, addresses: Sequence[str] | None) -> None:
        """Take the files that lie here in the last folders of an address or a foreign path."""
        lost = []
        for row in self.lost:
            paths = [self._paths[row]] if self._paths[row].startswith("/") else []
            address = "" if addresses is None else addresses[row]
            if is_address(address.strip()):
                path = read_address(address)
                name = fold(os.path.basename(self._paths[row]))  # noqa: PTH119
                paths += [path] * (fold(path.rpartition("/")[2]) == name)
            found = next(filter(None, map(self._find_tail, paths)), "")
            if not found:
                lost.append(row)
                continue
            is_by_address = row in self._addresses or paths[0] != self._paths[row]
            (self._by_address if is_by_address else self._searched).append(row)
            self.files[row] = found
        self.lost = lost

    def _find_tail(self, path: str) -> str:
        parts = _split(path)
        tails = ("/".join(parts[at:]) for at in range(len(parts) - 1))
        files = map(self._join, tails)
        return next((file for file in files if _is_there(file)), "")

    def part_shared(self) -> None:
        """Lose the rows whose file is that of another path too: it can be of one of them only."""
        by_file: dict[str, list[int]] = collections.defaultdict(list)
        for row in (*self._searched, *self._by_address):
            by_file[self.files[row]].append(row)
        shared = set()
        for file, rows in by_file.items():
            paths = list(dict.fromkeys(self._paths[row] for row in rows))
            if len(paths) < 2 or _are_ends(paths):
                continue
            shared.update(rows)
            for row in rows:
                self._where[row] = [file]
                self.why[row] = f"{_SHARED}: {', '.join(paths[:_SHOWN])} to {file}"
                self.files[row] = self._addresses.get(row) or self._join(self._paths[row])
        self._searched = [row for row in self._searched if row not in shared]
        self._by_address = [row for row in self._by_address if row not in shared]
        self.lost = sorted({*self.lost, *shared})

    def leave_addresses(self) -> None:
        """Take what lies at addresses for files that will be there."""
        self.lost = [row for row in self.lost if row not in self._addresses]

    def name_lost(self) -> None:
        """Name the files that are not there so that those of several folders stay apart."""
        if self._folders is None or self._is_joined:
            return
        joined = self._join_folders(self._folders)
        for row in self.lost:
            if row not in self._addresses:
                why = self.why.get(row, _NONE)
                self.files[row] = self._join(_turn(joined[row]))
                self.why[row] = why

    def search(self, described: pd.DataFrame) -> None:
        """Take the files below the folder that the rows can only mean."""
        ends: dict[str, set[str]] = collections.defaultdict(set)
        for path in self._paths:
            ends[fold(_split(path)[-1])].add(path)
        self._n_ending_in = {name: len(paths) for name, paths in ends.items()}
        wanted = {fold(_split(self._paths[row])[-1]) for row in self.lost}
        index = _Index.read(self._base, wanted)
        columns = _Columns.read(described, self.lost, index)
        self._used = columns.names
        lost = []
        for row in self.lost:
            is_mine = self._choose(row, index, columns)
            if len(is_mine) == 1:
                (self._by_address if row in self._addresses else self._searched).append(row)
                self.files[row] = self._join("/".join(is_mine[0]))
                continue
            lost.append(row)
            if is_mine:
                self._lose(row, [self._join("/".join(one)) for one in is_mine])
        self.lost = lost
        self._look_elsewhere(index)

    def _choose(self, row: int, index: _Index, columns: _Columns) -> list[Parts]:
        path = self._paths[row]
        *parents, name = _split(path)
        asked = [fold(part) for part in parents]
        is_foreign = path.startswith("/")
        if is_foreign:
            # Of a path from another machine those folders count that are here too.
            asked = [part for part in asked if part in index.folders]
        asked_by_columns = columns.get_folders(row)
        is_alone = self._n_ending_in[fold(name)] == 1
        if row in self._addresses and not is_alone:
            # Pictures of several folders have the same name.
            asked = [*asked, *(fold(part) for part in parents[-1:] if fold(part) not in asked)]
        is_bare = is_foreign and row not in self._addresses and not asked and not asked_by_columns
        if is_bare and not is_alone:
            return []
        candidates = [
            file
            for file in index.find(fold(name), asked_by_columns)
            if _holds([fold(part) for part in file[:-1]], asked)
            and all(ask(file[:-1]) for ask in asked_by_columns)
            and not (is_bare and len(file) > 1)
        ]
        return [file for file in candidates if file[-1] == name] or candidates

    def _look_elsewhere(self, index: _Index) -> None:
        """Say of files that were not found where one of that name is."""
        lost = [row for row in self.lost if self.why[row] == _NONE]
        wanted = {fold(os.path.basename(self.files[row])) for row in lost}  # noqa: PTH119
        other = _Index()
        if wanted and self._beside and not f"{self._beside}/".startswith(f"{self._base}/"):
            other = _Index.read(self._beside, wanted)
        for row in lost:
            name = fold(os.path.basename(self.files[row]))  # noqa: PTH119
            where = [self._join("/".join(one)) for one in index.files.get(name, [])[:_SHOWN]]
            where += [os.path.join(self._beside, *one) for one in other.files.get(name, [])]  # noqa: PTH118
            if where:
                self._where[row] = where[:_SHOWN]
                self.why[row] = f"{_NONE}; a file of that name: {', '.join(where[:_SHOWN])}"

    def _lose(self, row: int, several: Sequence[str]) -> None:
        self._where[row] = list(several[:_SHOWN])
        none = _ADDRESS if row in self._addresses else _NONE
        self.why[row] = f"{_SEVERAL}: {', '.join(several[:_SHOWN])}" if several else none

    def tell(self) -> Notes:
        """Return what is to be said of the rows."""
        said = []
        name = self._name or "the list"
        if self._turned:
            said.append(Note(f"{len(self._turned):,} paths of {name} have \\, read as /"))
        ways = (
            (self._near, f"under a name of another {_SPELLING}"),
            (self._searched, f"below {self._base} by name{self._write_columns()}"),
            (self._by_address, f"below {self._base} by the last part of their addresses"),
        )
        for rows, how in ways:
            if rows:
                shown = [
                    f"{self._addresses.get(row, self._paths[row])} is {self.files[row]}"
                    for row in rows[:_SHOWN]
                ]
                more = ", …" if len(rows) > _SHOWN else ""
                said.append(
                    Note(f"{len(rows):,} files of {name} found {how}: {', '.join(shown)}{more}")
                )
        ambiguous = [row for row in self.lost if self._get_reason(row) in {_SEVERAL, _SHARED}]
        addresses = [row for row in self.lost if self.why[row] == _ADDRESS]
        if addresses:
            shown = [self._addresses[row] for row in addresses[:_SHOWN]]
            more = ", …" if len(addresses) > _SHOWN else ""
            text = (
                f"{len(addresses):,} of {len(self.files):,} rows of {name} name addresses, not "
                f"files ({', '.join(shown)}{more}), and nothing is fetched unless asked: --fetch"
            )
            said.append(Note(text, PROBLEM))
        n_lost = len(self.lost) - len(addresses)
        if 2 * n_lost > len(self.files):
            said.append(self._tell_most(name))
        elif ambiguous:
            shown = [f"{self._paths[row]} ({self.why[row]})" for row in ambiguous]
            more = ", …" if len(ambiguous) > _SHOWN else ""
            text = f"{len(ambiguous):,} rows of {name} are ambiguous: {', '.join(shown[:_SHOWN])}"
            said.append(Note(f"{text}{more}", WARNING))
        return tuple(said)

    def _tell_most(self, name: str) -> Note:
        """Say why most rows have no file, with paths that were tried and where files are."""
        lost = [row for row in self.lost if self.why[row] != _ADDRESS]
        counts = collections.Counter(self._get_reason(row) for row in lost)
        ((reason, n_rows),) = counts.most_common(1)
        rows = [row for row in lost if self._get_reason(row) == reason]
        tried = list(dict.fromkeys(self.files[row] for row in rows))[:2]
        where = list(dict.fromkeys(one for row in rows for one in self._where.get(row, [])))
        near = f"; files of such a name: {', '.join(where[:_SHOWN])}" if where else ""
        text = (
            f"{len(lost):,} of {len(self.files):,} rows of {name} have no picture, "
            f"{n_rows:,} because of: {reason} (for example {', '.join(tried)}){near}; say with "
            "--root where the paths start, or add a column of the folders' names"
        )
        return Note(text, PROBLEM)

    def _get_reason(self, row: int) -> str:
        return name_reason(self.why[row])

    def _write_columns(self) -> str:
        return f" and {', '.join(self._used)}" if self._used else ""


def _are_ends(paths: Sequence[str]) -> bool:
    """Tell whether each of some paths is an end of the longest, as of one file on two machines."""
    split = sorted(([fold(part) for part in _split(path)] for path in paths), key=len)
    return all(split[-1][-len(parts) :] == parts for parts in split)


def _holds(parents: Sequence[str], asked: Iterable[str]) -> bool:
    """Tell whether folders hold those that are asked for, in that order."""
    left = iter(parents)
    return all(part in left for part in asked)


@dataclasses.dataclass(frozen=True)
class _Index:
    """Files of wanted names below a folder.

    Parameters
    ----------
    files : dict of str to list of tuple of str
        Parts of their paths, by the form of their names.
    folders : frozenset of str
        Forms of the names of all folders.
    """

    files: dict[str, list[Parts]] = dataclasses.field(default_factory=dict)
    folders: frozenset[str] = frozenset()

    @functools.cached_property
    def _below(self) -> dict[tuple[str, int, str], list[Parts]]:
        below: dict[tuple[str, int, str], list[Parts]] = {}
        for name, files in self.files.items():
            for file in files:
                for depth, part in enumerate(file[:-1]):
                    below.setdefault((name, depth, fold(part)), []).append(file)
        return below

    def find(self, name: str, asked: Sequence[_Ask]) -> list[Parts]:
        """Return the files of a name, at least those that meet all that is asked."""
        if not asked:
            return self.files.get(name, [])
        # Cards of many stations have the same names.
        first = asked[0]
        keys = [(name, depth, first.value[-1]) for depth in first.depths]
        return list(dict.fromkeys(file for key in keys for file in self._below.get(key, [])))

    @classmethod
    def read(cls, base: str, wanted: set[str]) -> _Index:
        """Go through a folder once."""
        files: dict[str, list[Parts]] = {}
        all_folders: set[str] = set()
        for parent, folders, names in os.walk(read_name(base)):
            folders[:] = sorted(name for name in folders if not is_left_out(name))
            all_folders |= {fold(write_name(name)) for name in folders}
            relative = os.path.relpath(parent, read_name(base))
            above = tuple(part for part in write_name(relative).split("/") if part != ".")
            for name in sorted(map(write_name, names)):
                if fold(name) in wanted:
                    files.setdefault(fold(name), []).append((*above, name))
        return cls(files, frozenset(all_folders))


class _Columns:
    """Columns of a table whose values are names of folders.

    A column goes with the folders at a depth below the root that most of its values name, or most
    of whose names it has; numbers are the names of much, so that both must hold of them. No two
    columns go with one depth: the one that fits best does.
    """

    def __init__(
        self, chosen: dict[int, str], values: dict[str, dict[int, Parts]], known: frozenset[str]
    ) -> None:
        self._values, self._all_folders = values, known
        self.names = list(dict.fromkeys(chosen.values()))
        self._depths = {
            name: [depth for depth, column in chosen.items() if column == name]
            for name in self.names
        }

    @classmethod
    def read(cls, frame: pd.DataFrame, rows: Sequence[int], index: _Index) -> _Columns:
        """Choose the columns of a frame."""
        at_depth: dict[int, set[str]] = {}
        for files in index.files.values():
            for file in files:
                for depth, part in enumerate(file[:-1]):
                    at_depth.setdefault(depth, set()).add(fold(part))
        values = {str(name): _write_values(column, rows) for name, column in frame.items()}
        fits = []
        for name, by_row in values.items():
            distinct = {parts[-1] for parts in by_row.values()}
            for depth, folders in at_depth.items():
                both = distinct & folders
                if not both:
                    continue
                shares = len(both) / len(distinct), len(both) / len(folders)
                is_number = all(value.isdigit() for value in both)
                if (min if is_number else max)(shares) >= 0.5:
                    fits.append((-len(both) / len(distinct | folders), depth, name))
        chosen: dict[int, str] = {}
        for _, depth, name in sorted(fits):
            chosen.setdefault(depth, name)
        return cls(dict(sorted(chosen.items())), values, index.folders)

    def get_folders(self, row: int) -> list[_Ask]:
        """Return what the columns ask of the folders of a row's file."""
        return [
            _Ask(value, tuple(self._depths[name]), self._all_folders)
            for name in self.names
            if (value := self._values[name].get(row))
        ]


@dataclasses.dataclass(frozen=True)
class _Ask:
    """Ask for a folder at one of some depths, below those that the value names before it."""

    value: Parts
    depths: tuple[int, ...]
    known: frozenset[str]

    def __call__(self, parents: Parts) -> bool:
        folded = [fold(part) for part in parents]
        above = [part for part in self.value[:-1] if part in self.known]
        return any(
            folded[depth : depth + 1] == [self.value[-1]] and _holds(folded[:depth], above)
            for depth in self.depths
        )


def _write_values(column: pd.Series[Any], rows: Sequence[int]) -> dict[int, Parts]:
    """Return the values of rows as names of folders, several where they are paths."""
    import pandas as pd

    found = {}
    values = column.tolist()
    for row in rows:
        value = values[row]
        if not pd.api.types.is_scalar(value) or pd.isna(value):
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        parts = [part for part in re.split(r"[/\\]", str(value)) if part.strip()]
        if parts:
            found[row] = tuple(map(fold, parts))
    return found
