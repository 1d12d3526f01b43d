"""What lies on disk, told apart: absent, there, or not to be read just now.

Absent is only what the system says is not there. What it refuses – by permission, because a share
does not answer, because too many files are open – is never taken for absent, empty or damaged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from bioprobe.errors import StoreError, UnreadableError

_FORBIDDEN = {errno.EACCES, errno.EPERM}
_TOO_MANY = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
# A path that no file can have is one at which there is none.
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}


def is_file(path: Path) -> bool:
    """Tell whether there is a file.

    Raises
    ------
    UnreadableError
        If that cannot be told, or a link on the way leads nowhere.
    """
    found = _stat(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder.

    Raises
    ------
    UnreadableError
        If that cannot be told, or a link on the way leads nowhere.
    """
    found = _stat(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def exists(path: Path) -> bool:
    """Tell whether there is a file, a folder, or anything else.

    Raises
    ------
    UnreadableError
        If that cannot be told, or a link on the way leads nowhere.
    """
    return _stat(path) is not None


def is_absent(path: Path | str) -> bool:
    """Tell whether there is nothing, not even a link; what cannot be told may be there."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno in _ABSENT
    except ValueError:  # a NUL byte, which no name has
        return True
    return False


def list_names(folder: Path) -> list[str]:
    """Return the sorted names in a folder but those that begin with a dot; none if it is absent.

    Raises
    ------
    UnreadableError
        If the folder may not be listed.
    """
    if not is_folder(folder):
        return []
    with reading(folder):
        names = os.listdir(folder)  # noqa: PTH208 - names, not paths
    return sorted(name for name in names if not name.startswith("."))


def list_files(folder: Path, *endings: str) -> list[str]:
    """Return the sorted paths, relative to a folder, of the files in and below it of an ending.

    Names that begin with a dot are left out; a folder that is a link is not entered.

    Parameters
    ----------
    folder : Path
        Where to look; one that is absent holds none.
    *endings : str
        In lower case; a name may have them in any.

    Raises
    ------
    UnreadableError
        If it, or a folder below it, may not be listed.
    """
    if not is_folder(folder):
        return []
    found, below = [], []
    with reading(folder), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            elif entry.name.lower().endswith(endings):
                found.append(entry.name)
            elif entry.is_symlink():
                is_folder(folder / entry.name)  # one that leads nowhere hides what it led to
    found += [f"{name}/{file}" for name in below for file in list_files(folder / name, *endings)]
    return sorted(found)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system says of a read into an error of its own.

    Absence stays a :class:`FileNotFoundError`, and an error that the system has no part in – a
    library's for a damaged file – stays what it is.

    Raises
    ------
    UnreadableError
        If the system refuses.
    """
    try:
        yield
    except FileNotFoundError:
        _check_links(path)
        raise
    except OSError as error:
        # What is a folder instead of a file is there, may be read, and is another thing.
        if error.errno is None or error.errno in _ABSENT | {errno.EISDIR}:
            raise
        raise UnreadableError(explain_unreadable(path, error)) from error
    except MemoryError as error:
        msg = f"{path} cannot be read: there is not enough memory; end other programs"
        raise UnreadableError(msg) from error


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    UnreadableError
        If the system refuses.
    """
    with reading(path):
        return path.read_bytes()


def explain_unreadable(path: Path, error: OSError) -> str:
    """Say what cannot be read, why, and what helps."""
    reason = error.strerror.lower() if error.strerror else str(error)
    if error.errno in _FORBIDDEN:
        remedy = "get the right to read it and the folders above it"
    elif error.errno in _TOO_MANY:
        remedy = "end other programs, or raise the limit (ulimit -n), then run it again"
    elif error.errno == errno.ELOOP:
        remedy = "mend the link"
    else:
        remedy = "see that its disk or share is there and whole, then run the same command again"
    return f"{path} cannot be read: {reason}; {remedy}"


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError as error:
        if error.errno not in _ABSENT:
            raise UnreadableError(explain_unreadable(path, error)) from error
    except ValueError:  # a NUL byte, which no name has
        return None
    _check_links(path)
    return None


def _check_links(path: Path) -> None:
    """Refuse a path on which a link leads nowhere, as where its disk is away."""
    try:
        nearest = next((one for one in (path, *path.parents) if os.path.lexists(one)), path)
        if not nearest.is_symlink() or os.path.exists(nearest):  # noqa: PTH110 - never raises
            return
        target = os.readlink(nearest)  # noqa: PTH115 - as it is written
    except (OSError, ValueError):
        return
    msg = (
        f"{path} cannot be read: {nearest} is a link to {target}, which is not there; mount the "
        "disk that it is on, or mend the link"
    )
    raise UnreadableError(msg)


def describe_absence(
    folder: Path, what: str, name: str, known: Iterable[str], maker: str = ""
) -> StoreError:
    """Return what is said where a store keeps nothing of a name: what it keeps, or what makes one.

    Parameters
    ----------
    folder : Path
        Of the store.
    what : str
        Kind of the thing, in a word.
    name : str
        That was asked for.
    known : iterable of str
        Names that it keeps.
    maker : str
        What makes one, said where there is none.

    Examples
    --------
    >>> str(describe_absence(Path("s"), "map", "x", [], "bioprobe map makes one"))
    "no map 'x' in s; there are: none; bioprobe map makes one"
    """
    listed = ", ".join(known) or "; ".join(filter(None, ("none", maker)))
    return StoreError(f"no {what} {name!r} in {folder}; there are: {listed}")
