"""Files written whole or not at all, read as tables, and told apart by their bytes."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.cells import from_arrow, read_cells, settle_frame
from bioprobe.errors import BioprobeError, SourceError, StoreError

if TYPE_CHECKING:
    import pandas as pd


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


def read_json(path: Path, kind: type | None = None) -> Any:  # noqa: ANN401 - whatever it holds
    """Read a UTF-8 JSON file, as :func:`parse_json` reads its text.

    Raises
    ------
    ValueError
        If it is no JSON, is nested too deeply, or is of another kind.
    OSError
        If it cannot be read.
    """
    return parse_json(path.read_text(encoding="utf-8-sig"), kind)


def parse_json(text: str | bytes, kind: type | None = None) -> Any:  # noqa: ANN401
    """Read JSON that anybody may have written.

    Parameters
    ----------
    text : str or bytes
        Of one value.
    kind : type, optional
        What it must be, such as ``dict``.

    Raises
    ------
    ValueError
        If it is no JSON, is nested more deeply than Python calls functions, or of another kind.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        msg = "its lists are nested too deeply"
        raise ValueError(msg) from None
    if kind is not None and not isinstance(value, kind):
        expected, got = (_JSON_NAMES.get(one, "nothing") for one in (kind, type(value)))
        msg = f"expected {expected}, got {got}"
        raise ValueError(msg)
    return value


_JSON_NAMES = {
    dict: "an object", list: "an array", str: "a text", int: "a number", float: "a number",
    bool: "true or false",
}  # fmt: skip


def sync(path: Path) -> None:
    """Ask the system to put a file or folder on disk, so that a power cut cannot undo it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path, *further: Path) -> str:
    """Return the SHA-256 of files' bytes, one after another, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for one in (path, *further):
        with one.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


def read_table(path: Path, *, text: Collection[str] = ()) -> pd.DataFrame:
    """Read a CSV, TSV, Parquet, JSON or JSON Lines table; each cell keeps what was written.

    ``NA`` and ``None`` in a CSV are names, not holes: only an empty cell is one. A column is of
    numbers where that loses nothing (:func:`bioprobe.cells.read_cells`), else text.

    Parameters
    ----------
    path : Path
        Its ending says what it is.
    text : collection of str
        Columns of a CSV or TSV that are text whatever stands in them.

    Raises
    ------
    SourceError
        If the file is missing, empty, unreadable, or of another kind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    suffix = path.suffix.lower()
    if not path.is_file():
        msg = f"no table at {path}"
        raise SourceError(msg)
    try:
        if suffix in {".csv", ".tsv"}:
            return _read_csv(path, "\t" if suffix == ".tsv" else ",", text)
        if suffix in {".parquet", ".pq"}:
            return from_arrow(pq.read_table(path), is_whole=True)
        if suffix in {".json", ".jsonl"}:
            return _read_json(path, by_line=suffix == ".jsonl")
    except (ValueError, OSError, KeyError, pa.ArrowException) as error:
        msg = f"{path} cannot be read as a table: {error}"
        raise SourceError(msg) from error
    msg = f"{path} is not a table bioprobe reads; expected .csv, .tsv, .parquet or .json"
    raise SourceError(msg)


def _read_csv(path: Path, separator: str, text: Collection[str]) -> pd.DataFrame:
    import pandas as pd

    with warnings.catch_warnings():
        # Lines longer than the header would be cut.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            written = pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                na_values=[""],
                # Without this, a comma at the end of the lines makes the first column an index
                # and moves every value one column on.
                index_col=False,
            )
        except (pd.errors.ParserWarning, pd.errors.ParserError) as error:
            raise ValueError(_find_long_line(path, separator) or str(error)) from error
    read = read_cells(written.drop(columns=[name for name in written if name in text]))
    return written.assign(**{str(name): read[name] for name in read})


def _find_long_line(path: Path, separator: str) -> str:
    """Say which line has more cells than the header; ``""`` where none has."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, delimiter=separator)
        n_columns, before = len(next(rows, [])), rows.line_num
        for row in rows:
            if any(row[n_columns:]):
                return (
                    f"line {before + 1} has {len(row)} cells, the header {n_columns}; put quotes "
                    "around a cell that holds the separator, or name every column"
                )
            before = rows.line_num
    return ""


def _read_json(path: Path, *, by_line: bool) -> pd.DataFrame:
    import pandas as pd

    # By hand, as pandas makes floats of whole numbers beside a hole.
    text = path.read_text(encoding="utf-8-sig")
    if not by_line:
        return settle_frame(pd.DataFrame(parse_json(text), dtype=object))
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                rows.append(parse_json(line))
            except ValueError as error:
                msg = f"line {number} is no JSON object ({error})"
                raise ValueError(msg) from error
    return settle_frame(pd.DataFrame(rows, dtype=object))


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
        reason = error.strerror.lower() if error.strerror else str(error)
        msg = f"{place} cannot be written: {reason}; {_find_remedy(error)}"
        raise StoreError(msg) from error


def _find_remedy(error: OSError) -> str:
    if error.errno in _FULL:
        return "the store is whole as it was before; free space, then run the same command again"
    if error.errno in _FORBIDDEN:
        return "get the right to write there, or choose another --store"
    return "the store is whole as it was before; mend that, then run the same command again"


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


_PACKAGE_DIR = Path(__file__).parent


def prompts_dir() -> Path:
    """Return the folder of templates, name lists and taxonomies.

    A wheel carries it inside the package as ``prompt_data``; in a checkout it is the top-level
    folder ``prompts``.

    Returns
    -------
    Path
        An existing folder.

    Raises
    ------
    BioprobeError
        If neither place exists, which means a broken installation.
    """
    for folder in (_PACKAGE_DIR / "prompt_data", _PACKAGE_DIR.parent / "prompts"):
        if folder.is_dir():
            return folder
    msg = (
        f"the folder of prompts is missing beside {_PACKAGE_DIR}: the installation is incomplete; "
        "reinstall bioprobe"
    )
    raise BioprobeError(msg)


def sketch_weights_dir() -> Path:
    """Return the folder of the embedded ``sketch`` model, in open_clip's local-dir layout."""
    return _PACKAGE_DIR / "sketch" / "weights"
