"""Files written whole or not at all, read as tables, and told apart by their bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` when the block succeeds.

    A reader sees the old file or the new one, never a part; after a crash the old one stands.
    The temporary file lies beside the target, because a rename is atomic on one file system
    only.

    Parameters
    ----------
    path : Path
        Target; its folder must exist.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync(temporary)
        # mkstemp makes a private file; the target is as readable as any other new file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Ask the system to put a file or folder on disk, so that a power cut cannot undo it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, TSV, Parquet or JSON table.

    Text columns keep what was written: ``NA`` and ``None`` in a CSV are names, not holes.

    Raises
    ------
    SourceError
        If the file is missing, empty, unreadable, or of another kind.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if not path.is_file():
        msg = f"no table at {path}"
        raise SourceError(msg)
    try:
        if suffix in {".csv", ".tsv"}:
            separator = "\t" if suffix == ".tsv" else ","
            return pd.read_csv(path, sep=separator, keep_default_na=False, na_values=[""])
        if suffix in {".parquet", ".pq"}:
            return pd.read_parquet(path)
        if suffix == ".json":
            return pd.read_json(path)
    except (ValueError, OSError) as error:
        msg = f"{path} cannot be read as a table: {error}"
        raise SourceError(msg) from error
    msg = f"{path} is not a table bioprobe reads; expected .csv, .tsv, .parquet or .json"
    raise SourceError(msg)


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
