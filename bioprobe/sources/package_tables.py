"""Tables of packages, read as text: keys stay as they are written, and ``007`` is not ``7``."""

from __future__ import annotations

import collections
import csv
import dataclasses
import gzip
import io
import json
import re
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.access import reading
from bioprobe.errors import ImageReadError, SourceError
from bioprobe.files import parse_json
from bioprobe.images.addresses import is_address
from bioprobe.names import shorten
from bioprobe.result import WARNING, Note
from bioprobe.sources.packages import Package
from bioprobe.table_bounds import check_json, check_lines, check_parquet, check_size

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3
_CHUNK_BYTES = 1 << 20
_PARQUET = (".parquet", ".pq")
_FALLBACK = "cp1252"
_DESCRIPTION = "datapackage.json"


@dataclasses.dataclass(frozen=True)
class Dialect:
    r"""How the cells of a text table are written.

    Parameters
    ----------
    delimiter : str
        One character between cells.
    quote : str
        Character around cells that hold it; ``""`` where quotes are data.
    escape : str
        Character before one that is meant as such; ``""`` for none.
    doubles : bool
        Whether a quote in a cell is written twice.
    encoding : str
    n_skipped : int
        Lines before the first row, with the header.
    has_header : bool
        Whether the last of these names the columns.
    missing : tuple of str
        Cells that say nothing.
    width : int
        Cells of a line at least, where no header says so: the first lines may be shorter, as
        programs leave out what is empty at the end.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    doubles: bool = True
    encoding: str = "utf-8"
    n_skipped: int = 1
    has_header: bool = True
    missing: tuple[str, ...] = ()
    width: int = 0


def read_text_table(
    package: Package,
    names: Sequence[str],
    dialect: Dialect,
    notes: list[Note],
    *,
    columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Read the files of one table of a package.

    Parameters
    ----------
    package : Package
    names : sequence of str
        Its files, one below the other; ``.gz`` and ``.parquet`` too.
    dialect : Dialect
    notes : list of Note
        Told what was not as announced.
    columns : sequence of str
        Names of the columns where no header does; without them their numbers.

    Returns
    -------
    DataFrame of str
        ``""`` where nothing is known.

    Raises
    ------
    SourceError
        If a file is missing, or cannot be read.
    """
    import pandas as pd

    frames = []
    for name in names:
        if is_address(name):
            msg = f"{package.path} keeps a table at {name}; fetch it, and write its file name there"
            raise SourceError(msg)
        try:
            with package.as_file(name) as file:
                frames.append(_read(file, dialect, f"{name} of {package.path}", notes, columns))
        except ImageReadError as error:
            raise SourceError(str(error)) from error
    if not frames:
        return pd.DataFrame(dtype=object)
    if len(frames) == 1:
        return frames[0]
    return pd.concat(frames, ignore_index=True).fillna("")


def _read(
    file: Path, dialect: Dialect, what: str, notes: list[Note], columns: Sequence[str]
) -> pd.DataFrame:
    import pyarrow as pa

    try:
        with reading(file):
            if file.suffix.lower() in _PARQUET:
                return _read_parquet(file)
            if file.suffix.lower() == ".gz":
                with gzip.open(file) as packed:
                    data = _read_bounded(packed, file)
                return _read_text(io.BytesIO(data), dialect, what, notes, columns)
            check_lines(file, separator=dialect.delimiter)
            return _read_text(file, dialect, what, notes, columns)
    except SourceError:
        raise
    except MemoryError as error:
        msg = f"{what} needs more memory than there is; split it into smaller tables"
        raise SourceError(msg) from error
    except (ValueError, EOFError, LookupError, zlib.error, gzip.BadGzipFile, pa.ArrowException,
            csv.Error) as error:  # fmt: skip
        msg = f"{what} cannot be read as a table: {str(error).strip()}"
        raise SourceError(msg) from error


def _read_bounded(packed: gzip.GzipFile, file: Path) -> bytes:
    data = bytearray()
    while chunk := packed.read(_CHUNK_BYTES):
        data += chunk
        check_size(file, len(data))
    return bytes(data)


def _read_text(
    source: Path | io.BytesIO,
    dialect: Dialect,
    what: str,
    notes: list[Note],
    columns: Sequence[str],
) -> pd.DataFrame:
    import pandas as pd

    encoding = dialect.encoding.lower()
    encoding = "utf-8-sig" if encoding.replace("_", "-") in {"utf-8", "utf8"} else encoding
    try:
        frame = _parse(source, dialect, encoding)
    except UnicodeDecodeError as error:
        notes.append(
            Note(f"{what} is no {dialect.encoding} ({error}); it was read as {_FALLBACK}", WARNING)
        )
        if isinstance(source, io.BytesIO):
            source.seek(0)
        frame = _parse(source, dialect, _FALLBACK)
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(dtype=object)
    except pd.errors.ParserError as error:
        if isinstance(source, io.BytesIO):
            source.seek(0)
        frame = _parse_wider(source, dialect, encoding, what, error)
    if not dialect.has_header and columns:
        frame = frame.rename(columns=dict(zip(map(str, range(len(columns))), columns, strict=True)))
    frame = frame.fillna("")
    for missing in dialect.missing:
        frame = frame.mask(frame == missing, "")
    return frame


def _parse_wider(
    source: Path | io.BytesIO, dialect: Dialect, encoding: str, what: str, error: Exception
) -> pd.DataFrame:
    """Read a table whose first line is shorter than others, as wide as it is said to be."""
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
    if found is not None and int(found[3]) <= dialect.width and not dialect.has_header:
        return _parse(source, dialect, encoding, dialect.width)
    if open_quote := re.search(r"EOF inside string starting at row (\d+)", str(error)):
        # Rows are counted from 0, with those that were skipped.
        line = int(open_quote[1]) + 1
        msg = f"{what} has a quote in line {line} that is not closed; close it, or double it"
        raise SourceError(msg) from error
    if found is None:
        raise error
    msg = (
        f"{what} line {found[2]} has {found[3]} cells, expected {found[1]} as the lines "
        "before; put quotes around a cell that holds the separator"
    )
    raise SourceError(msg) from error


def _parse(
    source: Path | io.BytesIO, dialect: Dialect, encoding: str, width: int = 0
) -> pd.DataFrame:
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                source,
                sep=dialect.delimiter,
                quotechar=dialect.quote or '"',
                quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
                doublequote=dialect.doubles,
                escapechar=dialect.escape or None,
                encoding=encoding,
                header=0 if dialect.has_header else None,
                names=range(width) if width else None,
                skiprows=max(dialect.n_skipped - dialect.has_header, 0),
                dtype=str,
                keep_default_na=False,
                # A separator at the end of the lines is no column of its own before the first.
                index_col=False,
            )
        except pd.errors.ParserWarning as error:
            msg = "a line has more cells than the header; put quotes around a cell that holds " \
                  "the separator"  # fmt: skip
            raise ValueError(msg) from error
    return frame.rename(columns=lambda name: str(name).strip())


def _read_parquet(file: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow.parquet as pq

    check_parquet(file)
    table = pq.read_table(file)
    columns = {
        name: [_write(value) for value in table.column(name).to_pylist()]
        for name in table.column_names
    }
    return pd.DataFrame(columns, dtype=object)


def _write(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@dataclasses.dataclass(frozen=True)
class DataPackage:
    """A Frictionless data package: tables, with a description of them.

    Parameters
    ----------
    package : Package
        Where it lies.
    described : dict
        Content of ``datapackage.json``.

    References
    ----------
    Data Package 1.0 and 2.0, https://datapackage.org.
    """

    package: Package
    described: Mapping[str, Any]

    @classmethod
    def open(cls, package: Package) -> DataPackage | None:
        """Read the description; None where there is none.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        name = package.find(_DESCRIPTION)
        if not name:
            return None
        with package.as_file(name) as file:
            check_json(file)
            try:
                return cls(package, parse_json(file.read_bytes(), dict))
            except ValueError as error:
                msg = f"{name} of {package.path} cannot be read: {error}"
                raise SourceError(msg) from error

    @property
    def profile(self) -> str:
        """Text of all that says of which kind it is."""
        return f"{self.described.get('profile')} {self.described.get('$schema')}"

    @property
    def resources(self) -> dict[str, Mapping[str, Any]]:
        """Tables by their names."""
        listed = self.described.get("resources")
        entries = listed if isinstance(listed, list) else []
        return {str(one.get("name")): one for one in entries if isinstance(one, dict)}

    def read(self, name: str, notes: list[Note]) -> pd.DataFrame:
        """Read a table; one without a row or column where it is not there.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        import pandas as pd

        resource = self.resources.get(name)
        if resource is None:
            return pd.DataFrame(dtype=object)
        data, path = resource.get("data"), resource.get("path")
        if isinstance(data, list) and path is None:
            return _read_inline(data, f"{name} of {self.package.path}")
        names = [path] if isinstance(path, str) else path
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            msg = f"the table {name} of {self.package.path} has no path; expected a text or a list"
            raise SourceError(msg)
        dialect = self._read_dialect(resource, name)
        schema = resource.get("schema")
        fields = schema.get("fields") if isinstance(schema, dict) else None
        columns = [str(one.get("name")) for one in fields or () if isinstance(one, dict)]
        return read_text_table(
            self.package, [one.removeprefix("./") for one in names], dialect, notes, columns=columns
        )

    def _read_dialect(self, resource: Mapping[str, Any], name: str) -> Dialect:
        said = resource.get("dialect")
        if isinstance(said, str) and self.package.holds(said):
            with self.package.as_file(said) as file:
                try:
                    said = parse_json(file.read_bytes(), dict)
                except ValueError as error:
                    msg = f"{said} of {self.package.path} cannot be read: {error}"
                    raise SourceError(msg) from error
        said = said if isinstance(said, dict) else {}
        schema = resource.get("schema")
        missing = schema.get("missingValues") if isinstance(schema, dict) else None
        has_header = said.get("header") is not False
        encoding = resource.get("encoding")
        delimiter = said.get("delimiter", ",")
        quote = said.get("quoteChar", '"')
        for what, value in (("delimiter", delimiter), ("quoteChar", quote)):
            if not isinstance(value, str) or len(value) > 1 or (what == "delimiter" and not value):
                msg = f"{what} of {name} in {self.package.path} is {value!r}, expected a character"
                raise SourceError(msg)
        escape = said.get("escapeChar")
        return Dialect(
            delimiter,
            quote,
            escape if isinstance(escape, str) and len(escape) == 1 else "",
            said.get("doubleQuote") is not False,
            encoding if isinstance(encoding, str) else "utf-8",
            int(has_header),
            has_header,
            tuple(str(one) for one in missing or () if one != "" and isinstance(one, str)),
        )


def _read_inline(data: Sequence[object], what: str) -> pd.DataFrame:
    import pandas as pd

    rows: list[dict[str, str]] = []
    if data and all(isinstance(one, dict) for one in data):
        rows = [{str(k): _write(v) for k, v in one.items()} for one in data]  # type: ignore[attr-defined]
    elif data and all(isinstance(one, list) for one in data):
        header, *cells = data
        names = [str(name) for name in header]  # type: ignore[attr-defined]
        rows = [dict(zip(names, map(_write, one), strict=False)) for one in cells]  # type: ignore[call-overload]
    elif data:
        msg = f"{what} has rows of several kinds; expected objects, or lists"
        raise SourceError(msg)
    return pd.DataFrame(rows, dtype=object).fillna("")


def read_header(head: bytes) -> tuple[frozenset[str], str]:
    r"""Return the names of the columns of a text table, and what stands between them.

    Examples
    --------
    >>> names, delimiter = read_header(b"File;DeleteFlag\r\na.jpg;false\r\n")
    >>> sorted(names), delimiter
    (['DeleteFlag', 'File'], ';')
    """
    lines = head.removeprefix(b"\xef\xbb\xbf").splitlines()
    line = lines[0].decode("utf-8", "replace") if lines else ""
    delimiter = max(",;\t", key=line.count)
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        cells = []
    return frozenset(cell.strip() for cell in cells), delimiter


def get_column(frame: pd.DataFrame, *names: str) -> list[str]:
    """Return the first of some columns that is there, of blanks around bare; else ``""``."""
    known = {str(column).casefold(): column for column in reversed(frame.columns)}
    for name in names:
        column = known.get(name.casefold())
        if column is not None:
            return [str(cell).strip() for cell in frame[column].tolist()]
    return [""] * len(frame)


def tell_count(
    notes: list[Note], text: str, examples: Iterable[object], kind: str = WARNING
) -> int:
    """Say how many of something there are, with the first few.

    Parameters
    ----------
    notes : list of Note
        Takes what is said, where there are any.
    text : str
        With ``{}`` for the number.
    examples : iterable
        All of them.
    kind : str
        Of the note.
    """
    counts = collections.Counter(str(one) for one in examples)
    n_all = counts.total()
    if n_all:
        shown = ", ".join(shorten(one) for one in [*counts][:_SHOWN])
        more = ", …" if len(counts) > _SHOWN else ""
        notes.append(Note(f"{text.format(f'{n_all:,}')}: {shown}{more}", kind))
    return n_all


def write_snake(name: str) -> str:
    """Return a column's name in small letters with ``_`` between words.

    Examples
    --------
    >>> write_snake("lifeStage"), write_snake("deploymentID"), write_snake("bboxX")
    ('life_stage', 'deployment_id', 'bbox_x')
    """
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    name = re.sub(r"([A-Z])([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"[\s.:/-]+", "_", name).strip("_").lower()
