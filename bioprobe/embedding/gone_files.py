"""Current rows whose file is gone, told from those whose disk is only not there."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Iterable
from pathlib import Path


class Presence(enum.Enum):
    """What is known of a file."""

    PRESENT = enum.auto()
    GONE = enum.auto()
    OUT_OF_REACH = enum.auto()


@dataclasses.dataclass(frozen=True)
class Gone:
    """Rows whose file is not there.

    Parameters
    ----------
    rows : tuple of int
        Rows whose file is gone from a folder that is there.
    out_of_reach : tuple of Path
        Files of rows whose folder is missing, empty or forbidden, as when a disk is not mounted.
    """

    rows: tuple[int, ...] = ()
    out_of_reach: tuple[Path, ...] = ()


def find_gone(rows: Iterable[tuple[int, Path, Path]], below: Collection[Path]) -> Gone:
    """Look for the files of rows below some folders.

    Parameters
    ----------
    rows : iterable of (int, Path, Path)
        Row, the folder it was listed from, and its file.
    below : collection of Path
        Folders; rows of files elsewhere are not looked at, nor are folders that are relative.
    """
    folders = {folder for folder in below if folder.is_absolute()}
    gone: list[int] = []
    out_of_reach: list[Path] = []
    for row, root, file in rows:
        listed = next((parent for parent in file.parents if parent in folders), None)
        if listed is None:
            continue
        presence = look_for(file, root=root, listed=listed)
        if presence is Presence.GONE:
            gone.append(row)
        elif presence is Presence.OUT_OF_REACH:
            out_of_reach.append(file)
    return Gone(tuple(gone), tuple(out_of_reach))


def look_for(file: Path, *, root: Path, listed: Path) -> Presence:
    """Tell whether a file is there, was removed, or cannot be told.

    A file is gone where the folder it was listed from is still there, and the nearest folder
    above it holds something: the place where a disk is mounted is empty while the disk is away.

    Parameters
    ----------
    file : Path
        Absolute.
    root : Path
        Folder that it was listed from when it was embedded.
    listed : Path
        Folder above it that was listed now.
    """
    try:
        if _is_there(file):
            return Presence.PRESENT
        folder = next(parent for parent in file.parents if _is_there(parent))
        is_inside = folder.is_relative_to(listed) and root.is_absolute() and root.is_dir()
        holds_some = any(not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError:
        return Presence.OUT_OF_REACH
    return Presence.GONE if is_inside and holds_some else Presence.OUT_OF_REACH


def _is_there(path: Path) -> bool:
    # A link whose target is away is there. An error other than these two tells nothing.
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
