"""What is told when the disk refuses."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from bioprobe.errors import StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def explaining_refusal(place: Path) -> Iterator[None]:
    """Turn what the system says of a write into an error with a remedy.

    Parameters
    ----------
    place : Path
        File or folder that the block writes.

    Yields
    ------
    None

    Raises
    ------
    StoreError
        If the block raises an :class:`OSError`.
    """
    try:
        yield
    except OSError as error:
        msg = f"{place} cannot be written: {_find_reason(error)}; {_find_remedy(error)}"
        raise StoreError(msg) from error


def _find_reason(error: OSError) -> str:
    return error.strerror.lower() if error.strerror else str(error)


def _find_remedy(error: OSError) -> str:
    if error.errno in _FULL:
        return "the store is whole as it was before; free space, then run the same command again"
    if error.errno in _FORBIDDEN:
        return "get the right to write there, or choose another --store"
    return "the store is whole as it was before; mend that, then run the same command again"
