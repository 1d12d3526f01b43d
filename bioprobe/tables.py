r"""Tables read as people write them: by what stands in the file, not by how its name ends.

Of a text it is found out, unless it is said,

- the encoding: by the mark at its beginning; UTF-16 by its NUL bytes; UTF-8 where all of it is
  that. Where few bytes are not, those are read as cp1252, else all of it is; a guess from a few
  letters of a table would be no better than that;
- what stands between cells: the one of ``, ; tab |`` that makes the rows as long as the header,
  or what the line ``sep=;`` that Excel writes says;
- the decimal comma: where no comma stands between cells, a column is of numbers if all of its
  cells are numbers with it. ``1,234`` alone could be a thousand, and stays text.

What is not a plain UTF-8 table of its ending is said. Cells are data: a separator between quotes,
``007``, ``NA``.
"""

from __future__ import annotations

import array
import codecs
import contextlib
import csv
import dataclasses
import functools
import gzip
import io
import itertools
import re
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from bioprobe.access import is_file
from bioprobe.errors import MisuseError, SourceError
from bioprobe.files import parse_json, reading_source
from bioprobe.result import WARNING, Note, Notes
from bioprobe.table_bounds import (
    MOST_CELL_BYTES,
    check_json,
    check_lines,
    check_parquet,
    check_records,
    check_size,
)
from bioprobe.table_headers import (
    MOST_TITLES,
    find_wider,
    is_unnamed,
    names_columns,
    tell_doubled,
    tell_title,
)
from bioprobe.workbooks import read_workbook

if TYPE_CHECKING:
    import pandas as pd

#: Endings of workbooks, and of tables.
WORKBOOK_SUFFIXES = frozenset({".xlsx", ".xlsm", ".xls", ".ods"})
TABLE_SUFFIXES = WORKBOOK_SUFFIXES | {".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson"}
#: What may stand between cells, by the name that a person may give it.
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_WRITTEN = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
_SAMPLE_BYTES = 1 << 18
_SAMPLE_ROWS = 200


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """How a table is written, where a person says it; what is None is found out.

    Parameters
    ----------
    delimiter : str or None
        What stands between cells: one character, or its name in :data:`DELIMITERS`.
    encoding : str or None
        As Python names it.
    decimal : str or None
        ``,`` or ``.``.
    sheet : str or None
        Of a workbook.

    Raises
    ------
    MisuseError
        If one of them is none.
    """

    delimiter: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    sheet: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            one = DELIMITERS.get(self.delimiter.lower(), self.delimiter).replace("\\t", "\t")
            if len(one) != 1 or one in '"\n\r\0':
                msg = (
                    f"the delimiter {self.delimiter!r} is no single character; expected , ; | or "
                    "one of comma, semicolon, tab, pipe"
                )
                raise MisuseError(msg)
            object.__setattr__(self, "delimiter", one)
        if self.encoding is not None:
            try:
                "a".encode(self.encoding)
            except (LookupError, UnicodeError) as error:
                msg = (
                    f"no encoding is called {self.encoding!r}; expected one such as utf-8, cp1252, "
                    "utf-16, mac_roman, cp1251"
                )
                raise MisuseError(msg) from error
        if self.decimal not in {None, ",", "."}:
            msg = f"the decimal mark {self.decimal!r} is none; expected , or ."
            raise MisuseError(msg)
        if self.decimal == self.delimiter == ",":
            msg = "a comma is the delimiter and the decimal mark; name another for one of them"
            raise MisuseError(msg)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that was read.

    Parameters
    ----------
    frame : DataFrame
        Its cells, as :func:`read_table` returns them.
    place : callable
        Says where a row, from 0, stands in the file, such as ``line 7``.
    notes : tuple of Note
        How it was read, where it is no plain table of its ending.
    """

    frame: pd.DataFrame
    place: Callable[[int], str]
    notes: Notes = ()


def read_table(
    path: Path,
    *,
    text: Collection[str] = (),
    ending: str = "",
    options: TableOptions | None = None,
    tell: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Read a table of text, Parquet, JSON, or a workbook; each cell keeps what was written.

    ``NA`` and ``None`` in a CSV are names, not holes: only an empty cell is one. A column is of
    numbers where that loses nothing (:func:`bioprobe.cells.read_cells`), else text.

    Parameters
    ----------
    path : Path
        What it is, is recognised by its content, else by its ending.
    text : collection of str
        Columns of a text table that are text whatever stands in them.
    ending : str
        What it is, where the path does not say it.
    options : TableOptions, optional
        What is known of it.
    tell : callable, optional
        Told, in a sentence each, how it was read.

    Raises
    ------
    SourceError
        If the file is missing, empty, unreadable, of another kind, or holds far more than its
        bytes (:mod:`bioprobe.table_bounds`).
    """
    opened = open_table(path, text=text, ending=ending, options=options)
    if tell is not None:
        for note in opened.notes:
            tell(str(note))
    return opened.frame


def open_table(
    path: Path,
    *,
    text: Collection[str] = (),
    ending: str = "",
    options: TableOptions | None = None,
    prefers: Callable[[pd.DataFrame], bool] | None = None,
) -> Table:
    """Read a table, as :func:`read_table`, with where its rows stand and what is to be said of it.

    Parameters
    ----------
    path, text, ending, options
        As there.
    prefers : callable, optional
        Tells which of several sheets of a workbook is meant, and which line below a title is the
        header; the first that it is true of.

    Raises
    ------
    SourceError
        As there.
    """
    import pyarrow as pa

    with reading_source(path):
        is_there = is_file(path)
    if not is_there:
        msg = f"no table at {path}"
        raise SourceError(msg)
    options = options or TableOptions()
    try:
        with reading_source(path):
            return _open(path, (ending or find_ending(path)).lower(), text, options, prefers)
    except SourceError:
        raise
    except MemoryError as error:
        msg = f"{path} needs more memory than there is ({error}); split it into smaller tables"
        raise SourceError(msg) from error
    except (ValueError, OSError, EOFError, KeyError, csv.Error, zlib.error,
            pa.ArrowException) as error:  # fmt: skip
        msg = f"{path} cannot be read as a table: {error}"
        raise SourceError(msg) from error


def find_ending(path: Path) -> str:
    """Return the ending of a table's name in small letters, without that of gzip.

    Examples
    --------
    >>> find_ending(Path("labels.CSV")), find_ending(Path("labels.tsv.gz"))
    ('.csv', '.tsv')
    """
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return inner.suffix.lower()


def is_table(path: Path) -> bool:
    """Tell whether a file has an ending of a table."""
    return find_ending(path) in TABLE_SUFFIXES


def _open(
    path: Path,
    ending: str,
    text: Collection[str],
    options: TableOptions,
    prefers: Callable[[pd.DataFrame], bool] | None,
) -> Table:
    import pyarrow.parquet as pq

    from bioprobe.cells import from_arrow

    kind, is_gzip = _find_kind(path, ending)
    if kind == ".xlsx":
        frame, place, said = read_workbook(path, options.sheet, prefers)
        return Table(frame, place, (*_tell_kind(path, ending, "a workbook"), *said))
    if kind == ".parquet":
        check_parquet(path)
        frame = from_arrow(pq.read_table(path), is_whole=True)
        return Table(frame, _count_rows, _tell_kind(path, ending, "a Parquet table"))
    if kind in {".json", ".jsonl"}:
        return Table(_read_json(path, by_line=kind == ".jsonl"), _count_rows)
    if kind in {".csv", ".tsv"}:
        return _read_text(path, kind, text, options, prefers, is_gzip=is_gzip)
    expected = ".csv, .tsv, .parquet, .json, .jsonl, .xlsx or .ods"
    msg = f"{path} is not a table bioprobe reads; expected {expected}"
    raise SourceError(msg)


def _find_kind(path: Path, ending: str) -> tuple[str, bool]:
    """Return what a file is, by its first bytes or its ending, and whether gzip packed it."""
    with path.open("rb") as stream:
        start = stream.read(8)
    is_text = ending in {".csv", ".tsv", ".txt", ""} | WORKBOOK_SUFFIXES
    if start.startswith(b"PAR1") and is_text:
        return ".parquet", False
    if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")) and is_text:
        return ".xlsx", False
    is_gzip = start.startswith(b"\x1f\x8b")
    aliases = {".pq": ".parquet", ".ndjson": ".jsonl", ".txt": ".csv"}
    kind = aliases.get(ending, ending)
    if kind in WORKBOOK_SUFFIXES:
        # What some tools call a workbook is the text that a spreadsheet would open.
        if start.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"<"):
            msg = (
                "it is a web page or XML with the ending of a workbook; open it in a spreadsheet "
                "and save it as .xlsx or CSV"
            )
            raise ValueError(msg)
        kind = ".csv" if start and b"\0" not in start else ".xlsx"
    return kind, is_gzip


def _tell_kind(path: Path, ending: str, what: str) -> Notes:
    as_said = {"a workbook": WORKBOOK_SUFFIXES, "a Parquet table": {".parquet", ".pq"}}[what]
    return () if ending in as_said else (Note(f"{path} is {what}, and read as one"),)


def _count_rows(row: int) -> str:
    return f"row {row + 1}"


@dataclasses.dataclass(frozen=True)
class _Text:
    """A text table, and how it is written.

    Parameters
    ----------
    path : Path
        Of the file.
    is_gzip : bool
        Whether its bytes are packed.
    encoding : str
        As Python names it.
    errors : str
        What is done with bytes that are not of it.
    delimiter : str
        Between cells.
    n_skipped : int
        Lines before the header.
    """

    path: Path
    is_gzip: bool
    encoding: str = "utf-8-sig"
    errors: str = "strict"
    delimiter: str = ","
    n_skipped: int = 0

    def open_bytes(self) -> IO[bytes]:
        """Open what the file holds, unpacked."""
        if self.is_gzip:
            return cast("IO[bytes]", gzip.open(self.path, "rb"))
        return self.path.open("rb")

    @contextlib.contextmanager
    def open_rows(self) -> Iterator[IO[str]]:
        """Open the text from its header on.

        Yields
        ------
        IO
        """
        with self.open_bytes() as raw, io.TextIOWrapper(
            raw, encoding=self.encoding, errors=self.errors, newline=""
        ) as stream:  # fmt: skip
            for _ in range(self.n_skipped):
                stream.readline()
            yield stream

    def iter_records(self) -> Iterator[tuple[int, int, list[str]]]:
        """Go through the rows, the header first; a line that holds nothing is none.

        Yields
        ------
        first, last : int
            Lines of the file, from 1.
        cells : list of str
        """
        with self.open_rows() as stream, _long_cells():
            rows = csv.reader(stream, delimiter=self.delimiter)
            before = 0
            for row in rows:
                if row:
                    yield before + 1 + self.n_skipped, rows.line_num + self.n_skipped, row
                before = rows.line_num

    def place(self, row: int) -> str:
        """Say in which line a row begins; cells with line breaks take several."""
        is_known = row + 1 < len(self._firsts)
        return f"line {self._firsts[row + 1] if is_known else row + 2 + self.n_skipped}"

    @functools.cached_property
    def _firsts(self) -> array.array[int]:
        """Line in which each row begins, the header first, as far as they can be read."""
        lines = array.array("q")
        with contextlib.suppress(csv.Error):
            lines.extend(first for first, _, _ in self.iter_records())
        return lines


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    """Let the module read cells as long as any that a table may have."""
    before = csv.field_size_limit(MOST_CELL_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_text(
    path: Path,
    ending: str,
    text: Collection[str],
    options: TableOptions,
    prefers: Callable[[pd.DataFrame], bool] | None,
    *,
    is_gzip: bool,
) -> Table:
    opened = _Text(path, is_gzip)
    if is_gzip:
        with opened.open_bytes() as stream:
            n_bytes = 0
            while block := stream.read(1 << 20):
                n_bytes += len(block)
                check_size(path, n_bytes)
    usual = "\t" if ending == ".tsv" else ","
    opened, said = _find_encoding(opened, options.encoding)
    problem: ValueError | None = None
    try:
        table = _read_from(opened, usual, text, options, said)
        is_meant = prefers is None or prefers(table.frame)
        if is_meant and not any(map(is_unnamed, table.frame.columns)):
            return table
    except SourceError:
        raise
    except ValueError as error:
        is_meant, problem = False, error
    for n_skipped in _find_headers(opened) if prefers else ():
        if is_meant and n_skipped > 1:
            break
        below = dataclasses.replace(opened, n_skipped=n_skipped)
        with contextlib.suppress(ValueError):
            found = _read_from(below, usual, text, options, said)
            is_better = not is_meant or names_columns(found.frame.columns)
            if prefers and is_better and prefers(found.frame.head(0) if is_meant else found.frame):
                return dataclasses.replace(found, notes=(*found.notes, tell_title(path, n_skipped)))
    if problem is not None:
        raise problem
    return table


def _find_headers(text: _Text) -> list[int]:
    """Return how many lines may stand above the header of a text."""
    with text.open_rows() as stream:
        lines = [stream.readline(_SAMPLE_BYTES).strip("\r\n") for _ in range(MOST_TITLES)]
    return sorted(
        {
            number
            for one in (",", ";", "\t", "|")
            for number in find_wider([line.split(one) for line in lines])
        }
    )


def _read_from(
    opened: _Text, usual: str, text: Collection[str], options: TableOptions, said: list[str]
) -> Table:
    """Read a text whose encoding is known from its header on."""
    from bioprobe.cells import read_cells

    path, is_gzip = opened.path, opened.is_gzip
    with opened.open_rows() as stream:
        if not any(line.strip() for line in iter(lambda: stream.readline(_SAMPLE_BYTES), "")):
            msg = "it is empty; expected a header and a row for each picture"
            raise ValueError(msg)
    opened = _find_delimiter(opened, options.delimiter, usual)
    n_lines = check_lines(
        path, separator=opened.delimiter, encoding=opened.encoding,
        opened=opened.open_bytes if is_gzip else None,
    )  # fmt: skip
    written = _read_written(opened)
    commas, unclear = _find_decimal_commas(written, text, opened.delimiter, options.decimal)
    read = read_cells(written.drop(columns=[name for name in written if name in text]))
    frame = written.assign(**{str(name): read[name] for name in read})
    for name in commas:
        frame[name] = _read_decimal_commas(written[name])
    pointed = _find_points(frame, written, commas, options.decimal)
    frame = frame.assign(**{name: written[name] for name in pointed})
    ways = []
    if opened.delimiter != usual:
        between = _WRITTEN.get(opened.delimiter, repr(opened.delimiter))
        ways.append(f"{between} between cells")
    if commas:
        ways.append(f"decimal commas in {', '.join(commas)}")
    if is_gzip and not path.name.lower().endswith(".gz"):
        said = ["packed by gzip", *said]
    notes = []
    if ways or said:
        words = " with ".join(["", " and ".join(ways)]) if ways else ""
        notes.append(Note(f"{path} read{words}{f' as {chr(44).join(said)}' if said else ''}"))
    for mark, names in ((",", unclear), (".", pointed if options.decimal is None else [])):
        if names:
            notes.append(
                Note(
                    f"{path}: the {_MARKS_OF_NUMBERS[mark]} in {', '.join(names)} may be of "
                    f"decimals or of thousands, so that they stay text; --decimal {mark} says that "
                    "they are of decimals"
                )
            )
    notes += tell_doubled(path, next((cells for _, _, cells in opened.iter_records()), []))
    notes += _find_swallowed(opened, n_lines, len(frame))
    return Table(frame, opened.place, tuple(notes))


_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BY_CP1252 = "bioprobe.cp1252"
_BAD = re.compile("[\udc80-\udcff]")


def _decode_bad(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return bad.decode("cp1252", errors="replace"), error.end


codecs.register_error(_BY_CP1252, _decode_bad)


def _find_encoding(text: _Text, given: str | None) -> tuple[_Text, list[str]]:
    """Find how a text is encoded, and what is to be said of it."""
    with text.open_bytes() as stream:
        start = stream.read(_SAMPLE_BYTES)
    if given is not None:
        # The mark at the beginning is part of no name.
        is_marked = codecs.lookup(given).name == "utf-8"
        return dataclasses.replace(text, encoding="utf-8-sig" if is_marked else given), []
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            said = [] if encoding == "utf-8-sig" else [encoding.upper()]
            return dataclasses.replace(text, encoding=encoding), said
    for encoding, nulls in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if len(nulls) > 1 and 2 * nulls.count(0) > len(nulls):
            return dataclasses.replace(text, encoding=encoding), [encoding.upper()]
    return _find_unmarked(text)


def _find_unmarked(text: _Text) -> tuple[_Text, list[str]]:
    """Tell UTF-8 from cp1252 by all that a text holds."""
    n_bad = n_other = n_letters = 0
    first = b""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    with text.open_bytes() as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            decoded = decoder.decode(block)
            if decoded.isascii():
                continue
            bad = len(_BAD.findall(decoded))
            n_bad += bad
            n_other += sum(not one.isascii() for one in decoded) - bad
            n_letters += sum(one.isalpha() for one in decoded)
            first = first or (block if bad else b"")
    n_bad += len(decoder.decode(b"", final=True))
    if not n_bad:
        return text, []
    if n_other > n_bad:
        said = [f"UTF-8, {n_bad:,} bytes that are none as cp1252; --encoding says another"]
        return dataclasses.replace(text, errors=_BY_CP1252), said
    try:
        first.decode("cp1252")
    except UnicodeDecodeError as error:
        msg = (
            f"it is neither UTF-8 nor cp1252 (byte {first[error.start]:#x}); name its encoding "
            "with --encoding, such as mac_roman, cp1250 or cp1251"
        )
        raise ValueError(msg) from error
    is_odd = n_bad > n_letters / 3
    doubt = "; many of its letters are none of English, so see that they are right" * is_odd
    said = [f"cp1252{doubt}; --encoding says another"]
    return dataclasses.replace(text, encoding="cp1252"), said


_SEP = re.compile(r'\ufeff?"?sep=(.)"?[;,\t|]*\r?\n?', re.IGNORECASE)


def _find_delimiter(text: _Text, given: str | None, usual: str) -> _Text:
    """Find what stands between the cells of a text."""
    with text.open_rows() as stream:
        sample = stream.read(_SAMPLE_BYTES)
        is_cut = bool(stream.read(1))
    line = sample.partition("\n")[0].rstrip("\r") + "\n"
    said = _SEP.fullmatch(line)
    if said:
        sample = sample.partition("\n")[2]
        text = dataclasses.replace(text, n_skipped=text.n_skipped + 1)
        given = given or said[1]
    if given is not None:
        return dataclasses.replace(text, delimiter=given)
    if is_cut:
        sample = sample.rpartition("\n")[0] or sample
    found = choose_delimiter(sample, usual)
    return dataclasses.replace(text, delimiter=found or usual)


def choose_delimiter(sample: str, usual: str = ",") -> str:
    r"""Return what stands between the cells of a text, ``""`` where no header has two.

    Parameters
    ----------
    sample : str
        Whole lines, the header first.
    usual : str
        The one that is taken where several fit as well.

    Examples
    --------
    >>> choose_delimiter("path;remark, short;height\na.jpg;red, dead;0,5\n")
    ';'
    """
    best, found = (0.0, 0, False), ""
    for one in (",", ";", "\t", "|"):
        header, *rows = _split_sample(sample, one)
        # A separator at the end of the lines stands after the last cell.
        width = len(header) - (len(header) > 1 and not header[-1])
        if len(header) < 2:
            continue
        fits = sum(
            len(row) >= width and not any(row[len(header) :]) and not _is_decimal(row, one)
            for row in rows
        )
        share = fits / len(rows) if rows else 1.0
        if (share, width, one == usual) > best:
            best, found = (share, width, one == usual), one
    return found


def _is_decimal(row: Sequence[str], delimiter: str) -> bool:
    """Tell whether all commas of a row stand in numbers, which separate no cells."""
    pairs = itertools.pairwise(row)
    return delimiter == "," and len(row) > 1 and all(
        one[-1:].isdigit() and other[:1].isdigit() for one, other in pairs
    )  # fmt: skip


def _split_sample(sample: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error), _long_cells():
        for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) > _SAMPLE_ROWS:
                break
    return rows or [[]]


def _read_written(text: _Text) -> pd.DataFrame:
    """Read the cells of a text as texts, None where they are empty."""
    import pandas as pd

    named: dict[str, Any] = {}
    written: pd.DataFrame
    while True:
        with warnings.catch_warnings(), text.open_rows() as stream:
            # Lines longer than the header would be cut.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                written = pd.read_csv(
                    stream,
                    sep=text.delimiter,
                    dtype=str,
                    keep_default_na=False,
                    na_values=[""],
                    # Without this, a comma at the end of the lines makes the first column an
                    # index and moves every value one column on.
                    index_col=False,
                    **named,
                )
                break
            except (pd.errors.ParserWarning, pd.errors.ParserError) as error:
                problem, width = _find_long_line(text)
                if problem or named or not width:
                    raise ValueError(problem or str(error)) from error
                # Of cells beyond the header all are empty.
                header = pd.read_csv(io.StringIO(_write_header(text)), dtype=str)
                names = [*map(str, header.columns)]
                wider = range(max(width, len(names)))
                named = {"names": wider, "header": 0, "usecols": wider[: len(names)]}
    if named:
        written.columns = pd.Index(names)
    return _drop_unnamed(written)


def _drop_unnamed(written: pd.DataFrame) -> pd.DataFrame:
    """Leave out the empty columns that separators at the end of the header make."""
    while len(written.columns) > 1:
        last = written.columns[-1]
        if not is_unnamed(last) or written[last].notna().any():
            break
        written = written.drop(columns=last)
    return written


def _write_header(text: _Text) -> str:
    header = next((cells for _, _, cells in text.iter_records()), [])
    out = io.StringIO()
    csv.writer(out).writerow(header)
    return out.getvalue()


def _find_long_line(text: _Text) -> tuple[str, int]:
    """Say which line has more cells than the header, or a quote that is not closed.

    Returns
    -------
    problem : str
        ``""`` where there is none.
    width : int
        Cells of the longest line.
    """
    n_columns = width = 0
    place = 0
    for first, last, row in text.iter_records():
        n_columns = n_columns or len(row)
        width = max(width, len(row))
        if any(row[n_columns:]):
            return (
                f"line {first} has {len(row)} cells, the header {n_columns}; put quotes "
                "around a cell that holds the separator, or name every column"
            ), width
        place = first if last > first else 0
    if place:
        return f"a quote in line {place} is not closed; close it, or double it", width
    return "", width


def _find_swallowed(text: _Text, n_lines: int, n_rows: int) -> list[Note]:
    """Say of cells with line breaks in which there seem to be rows."""
    if n_lines <= n_rows + 1 + text.n_skipped:
        return []
    n_columns, found = 0, []
    for first, last, row in text.iter_records():
        n_columns = n_columns or len(row)
        if last > first and n_columns > 1:
            inside = [line for cell in row for line in cell.splitlines()[1:-1]]
            if any(line.count(text.delimiter) >= n_columns - 1 for line in inside):
                found.append(f"lines {first} to {last}")
    if not found:
        return []
    shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
    return [
        Note(
            f"{text.path}: {shown} are one row, because a quote is not closed before their end; if "
            "they are several, close it, or double it",
            WARNING,
        )
    ]


_WITH_COMMA = re.compile(r"-?(0|[1-9][0-9]*),[0-9]+")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_MAY_BE_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}[,.][0-9]{3}")
_MARKS_OF_NUMBERS = {",": "commas", ".": "points"}
# A float holds so many digits of a number.
_MOST_DIGITS = 15


def _find_decimal_commas(
    written: pd.DataFrame, text: Collection[str], delimiter: str, given: str | None
) -> tuple[list[str], list[str]]:
    """Return the columns of numbers with a decimal comma, and those that may be others."""
    if given == "." or (given is None and delimiter == ","):
        return [], []
    sure: list[str] = []
    unclear: list[str] = []
    for name in written.columns:
        cells = written[name].dropna().unique().tolist()
        commas = [cell for cell in cells if "," in cell]
        if name in text or not commas or not all(map(_is_comma_number, cells)):
            continue
        is_sure = given is not None or not all(map(_MAY_BE_THOUSANDS.fullmatch, commas))
        (sure if is_sure else unclear).append(str(name))
    return (sure + unclear, []) if sure else (sure, unclear)


def _find_points(
    frame: pd.DataFrame, written: pd.DataFrame, commas: Sequence[str], given: str | None
) -> list[str]:
    """Return the columns of numbers with a point that is of no decimals where commas are."""
    pointed = [str(n) for n in frame if frame[n].dtype.kind == "f" and str(n) not in commas]
    if given == ",":
        return pointed
    if not commas:
        return []
    cells = {name: written[name].dropna().unique().tolist() for name in pointed}
    return [n for n in pointed if all(map(_MAY_BE_THOUSANDS.fullmatch, cells[n]))]


def _is_comma_number(cell: str) -> bool:
    digits = sum(one.isdigit() for one in cell)
    return digits <= _MOST_DIGITS and bool(_WITH_COMMA.fullmatch(cell) or _WHOLE.fullmatch(cell))


def _read_decimal_commas(written: pd.Series[Any]) -> pd.Series[Any]:
    return written.str.replace(",", ".").astype("float64")


def _read_json(path: Path, *, by_line: bool) -> pd.DataFrame:
    import pandas as pd

    from bioprobe.cells import settle_frame

    check_json(path)
    # By hand, as pandas makes floats of whole numbers beside a hole.
    text = path.read_text(encoding="utf-8-sig")
    if not by_line:
        found = parse_json(text)
        check_records(path, found)
        return settle_frame(pd.DataFrame(found, dtype=object))
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                rows.append(parse_json(line))
            except ValueError as error:
                msg = f"line {number} is no JSON object ({error})"
                raise ValueError(msg) from error
    check_records(path, rows)
    return settle_frame(pd.DataFrame(rows, dtype=object))
