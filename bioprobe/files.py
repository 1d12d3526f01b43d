"""Files written whole or not at all, read as tables, and told apart by their bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    Yields
    ------
    Path
        Empty file to write to.
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


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file without the space around each.

    Raises
    ------
    SourceError
        If the file is not UTF-8 text.
    """
    try:
        # Some editors begin a file with a mark that is no part of its first line.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 text ({error}); save it as UTF-8"
        raise SourceError(msg) from error
    return [line.strip() for line in text.splitlines()]


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

    Text columns keep what was written: ``NA`` and ``None`` in a CSV are names, not holes, and a
    column of numbers that begin with 0, such as those of a catalogue, is text.

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
            return _read_csv(path, "\t" if suffix == ".tsv" else ",")
        if suffix in {".parquet", ".pq"}:
            return pd.read_parquet(path)
        if suffix == ".json":
            return pd.read_json(path, dtype=False)
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        msg = f"{path} cannot be read as a table: {error}"
        raise SourceError(msg) from error
    msg = f"{path} is not a table bioprobe reads; expected .csv, .tsv, .parquet or .json"
    raise SourceError(msg)


def _read_csv(path: Path, separator: str) -> pd.DataFrame:
    import pandas as pd

    def read(dtype: Any) -> pd.DataFrame:  # noqa: ANN401 - whatever pandas takes as one
        return pd.read_csv(
            path,
            sep=separator,
            dtype=dtype,
            keep_default_na=False,
            na_values=[""],
            # Without these, a comma at the end of the lines makes the first column an index and
            # moves every value one column on, and a long column may be half numbers, half text.
            index_col=False,
            low_memory=False,
        )

    with warnings.catch_warnings():
        # Lines longer than the header would be cut.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        text = read(str)
        codes = [name for name in text.columns if text[name].str.match(r"0\d").any()]
        return read(dict.fromkeys(codes, str))


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
