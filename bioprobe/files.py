"""Files written whole or not at all, read as tables, and told apart by their bytes."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.cells import from_arrow, read_cells, settle_frame
from bioprobe.errors import BioprobeError, SourceError, StoreError
from bioprobe.names import suggest

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
        return settle_frame(pd.DataFrame(json.loads(text), dtype=object))
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                msg = f"line {number} is no JSON object ({error})"
                raise ValueError(msg) from error
    return settle_frame(pd.DataFrame(rows, dtype=object))


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the value of a setting may be.

    Parameters
    ----------
    words : str
        In words, such as ``a list of texts``.
    holds : callable
        Tells whether a value is one.
    """

    words: str
    holds: Callable[[Any], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


TEXT = Kind("a text", _is_text)
NUMBER = Kind("a number", _is_number)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXTS = Kind("a list of texts", _is_list_of(_is_text))
NUMBERS = Kind(
    "a number, a list of numbers, or a text of numbers separated by commas",
    lambda value: _is_text(value) or _is_number(value) or _is_list_of(_is_number)(value),
)
TEXT_BY_NAME = Kind(
    "a table of texts", lambda value: isinstance(value, dict) and all(map(_is_text, value.values()))
)
#: A text is no list: read as one it would be one of letters.
TEXTS_BY_NAME = Kind(
    'a table of lists of texts, such as bird = ["a bird", "a wild bird"]',
    lambda value: (
        isinstance(value, dict)
        and all(map(_is_text, value))
        and all(one and _is_list_of(_is_text)(one) for one in value.values())
        and bool(value)
    ),
)


def find_wrong_setting(
    settings: object, known: Mapping[str, Kind], *, needed: Collection[str] = ()
) -> str:
    """Say what is wrong with the settings of a file; ``""`` where nothing is.

    Parameters
    ----------
    settings : object
        As TOML or JSON gave them.
    known : mapping of str to Kind
        What each may be.
    needed : collection of str
        Those that must be there.

    Examples
    --------
    >>> find_wrong_setting({"templates": "a {}", "kept": {}}, {"templates": TEXTS})
    'templates is "a {}", expected a list of texts'
    >>> find_wrong_setting({"template": []}, {"templates": TEXTS})
    'template is not known (did you mean templates?); it takes templates'
    """
    if not isinstance(settings, dict):
        return f"it holds {_show(settings)}, expected settings: {', '.join(known)}"
    for name, value in settings.items():
        if name in known and not known[name].holds(value):
            return f"{name} is {_show(value)}, expected {known[name].words}"
    for name in settings:
        if name not in known:
            return f"{name} is not known{suggest(name, known)}; it takes {', '.join(known)}"
    missing = [name for name in needed if name not in settings]
    return f"{' and '.join(missing)} is missing" if missing else ""


def _show(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return textwrap.shorten(text, 60, placeholder=" …")


#: A settings file of more bytes is none: what a person writes is thousands of times smaller.
MOST_SETTINGS_BYTES = 1_000_000


def read_settings_text(path: Path) -> str:
    """Read a file of settings, in UTF-8 with or without a mark of it.

    Raises
    ------
    ValueError
        If it is not text, or larger than settings are.
    """
    if path.stat().st_size > MOST_SETTINGS_BYTES:
        msg = f"it has {path.stat().st_size:,} bytes, expected {MOST_SETTINGS_BYTES:,} at most"
        raise ValueError(msg)
    return path.read_text(encoding="utf-8-sig")


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
