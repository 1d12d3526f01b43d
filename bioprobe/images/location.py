"""Where the bytes of an image lie: a file below a root, or a row of a data set.

A file's name is bytes, a table's cell is text. Names that are not UTF-8 are therefore written
with one private-use character, U+EF80 to U+EFFF, for each byte that is none; the few names that
hold such a character themselves are written so as well, which makes the writing one to one. All
other names stay as they are.

References
----------
MirBSD's OPTU-8/16 encoding maps bytes that are no UTF-8 to the same characters.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from pathlib import Path

from bioprobe.errors import ImageReadError

DATASET_PREFIX = "dataset:"
# A video named as a picture would fill the memory. The largest picture that is decoded, 16 bits a
# channel and not compressed, is half of this.
MAX_BYTES = 2 << 30

_PRIVATE, _SURROGATE = 0xEF00, 0xDC00
_TO_WRITE = re.compile("[\udc80-\udcff\uef80-\uefff]")
_TO_READ = re.compile("[\uef80-\uefff]")
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclasses.dataclass(frozen=True)
class ImageLocation:
    """Place of one image, as the columns of an image table say it.

    Parameters
    ----------
    root : str
        Folder, or ``dataset:SOURCE#SPLIT``.
    path : str
        Path relative to the folder, or name of the row.
    """

    root: str
    path: str

    def read_bytes(self) -> bytes:
        """Return the encoded bytes, as :func:`read_image_bytes` does."""
        return read_image_bytes(self.root, self.path)


def write_name(name: str) -> str:
    r"""Write a file's name as text that any UTF-8 table can hold.

    Parameters
    ----------
    name : str
        As Python's ``os`` functions give it, bytes that are no UTF-8 as surrogates.

    Examples
    --------
    >>> import os
    >>> write_name("café.jpg")
    'café.jpg'
    >>> ascii(write_name(os.fsdecode(b"caf\xe9.jpg")))
    "'caf\\uefe9.jpg'"
    """
    return _TO_WRITE.sub(_write_character, name)


def read_name(text: str) -> str:
    """Return the file's name that :func:`write_name` wrote."""
    raw = _TO_READ.sub(lambda match: chr(ord(match[0]) - _PRIVATE + _SURROGATE), text)
    return os.fsdecode(os.fsencode(raw)) if raw != text else text


def find_file(root: str, path: str) -> Path:
    """Return the file of a row of an image table; for a row of a data set there is none."""
    return Path(read_name(root), read_name(path))


def read_image_bytes(root: str, path: str) -> bytes:
    """Read the encoded bytes of one image.

    Parameters
    ----------
    root : str
        Folder, or ``dataset:SOURCE#SPLIT``.
    path : str
        Path relative to the folder, or name of the row.

    Raises
    ------
    ImageReadError
        If it is no plain file, too large to be a picture, or a row without a picture.
    SourceError
        If the data set cannot be opened.
    OSError
        If the system refuses: no such file, permission denied.
    """
    if root.startswith(DATASET_PREFIX):
        from bioprobe.images.dataset import open_pictures

        return open_pictures(root).read(path)
    return read_file(find_file(root, path))


def read_file(file: Path) -> bytes:
    """Read a plain file; what could wait for ever, such as a pipe, is refused.

    Raises
    ------
    ImageReadError
        If it is a pipe, socket or device, or has more than 2 GiB.
    OSError
        If the system refuses.
    """
    facts = file.stat()
    for is_kind, name in _KINDS:
        if is_kind(facts.st_mode):
            msg = f"{name}, not a file"
            raise ImageReadError(msg)
    if facts.st_size > MAX_BYTES:
        msg = f"the file has {facts.st_size:,} bytes, more than any picture ({MAX_BYTES:,})"
        raise ImageReadError(msg)
    return file.read_bytes()


def _write_character(match: re.Match[str]) -> str:
    # A surrogate is one byte; a private-use character is the three bytes of its UTF-8.
    raw = match[0].encode("utf-8", "surrogateescape")
    return "".join(chr(_PRIVATE + byte) for byte in raw)
