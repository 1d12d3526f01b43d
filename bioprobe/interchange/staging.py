"""Folders written whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bioprobe.errors import SourceError


def check_new_folder(target: Path) -> None:
    """Refuse a folder that holds something.

    Raises
    ------
    SourceError
        If it is not empty, or is a file.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        msg = f"{target} is there already; choose another name, or remove it first"
        raise SourceError(msg)


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Write a folder that takes the name of ``target`` when the block succeeds.

    Yields
    ------
    Path
        A temporary folder beside the target.

    Raises
    ------
    SourceError
        If the target holds something already.
    """
    check_new_folder(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        yield temporary
        # mkdtemp makes a private folder; the target is as readable as the one it lies in.
        temporary.chmod(target.parent.stat().st_mode & 0o777)
        if target.is_dir():
            target.rmdir()
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
