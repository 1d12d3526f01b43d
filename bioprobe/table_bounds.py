"""Bounds on tables: those of strangers may be small files of more than any machine can hold.

They are found before a table is read: by what a Parquet file says of itself and by the lengths in
its dictionaries, by the lines of a text, and by the parts and the cells of a workbook.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from bioprobe.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of a table.
MOST_COLUMNS = 10_000
#: Bytes of a text in a cell, and of a line of a text file.
MOST_CELL_BYTES = 1_000_000
#: A table holds at most so many times the bytes of its file …
MOST_EXPANSION = 1_000
#: … or so many, where that is more.
SMALL_BYTES = 256 * 2**20
# What a cell takes in memory beside its text.
_CELL_BYTES = 8


def check_size(path: Path, n_bytes: int) -> None:
    """Refuse a table that holds far more than its file.

    Raises
    ------
    SourceError
        If that is more than :data:`MOST_EXPANSION` times the file and :data:`SMALL_BYTES`.
    """
    file_bytes = path.stat().st_size
    most = max(SMALL_BYTES, MOST_EXPANSION * file_bytes)
    if n_bytes > most:
        msg = (
            f"{path} has {file_bytes:,} bytes and would take {n_bytes:,} in memory; expected "
            f"{most:,} at most ({MOST_EXPANSION:,} times the file, or {SMALL_BYTES:,}). Keep the "
            "rows and columns that are needed, and write it again"
        )
        raise SourceError(msg)


def check_shape(path: Path, n_rows: int, n_columns: int) -> None:
    """Refuse a table of too many columns, or of far more cells than its file has bytes for.

    Raises
    ------
    SourceError
        If it has more than :data:`MOST_COLUMNS`, or as :func:`check_size`.
    """
    if n_columns > MOST_COLUMNS:
        msg = f"{path} has {n_columns:,} columns, expected {MOST_COLUMNS:,} at most; keep fewer"
        raise SourceError(msg)
    check_size(path, n_rows * n_columns * _CELL_BYTES)


def check_lines(
    path: Path,
    *,
    separator: str = "",
    ends: str = "\n\r",
    encoding: str = "utf-8",
    opened: Callable[[], IO[bytes]] | None = None,
) -> int:
    """Refuse a text file with a line that is none, or a table as :func:`check_shape`.

    Parameters
    ----------
    path : Path
        Read in blocks.
    separator : str
        What stands between the cells of a table; ``""`` where it is none.
    ends : str
        Characters of which each ends a line.
    encoding : str
        Of the text.
    opened : callable, optional
        Opens what the file holds, where that is packed.

    Returns
    -------
    int
        Ends of lines.

    Raises
    ------
    SourceError
        If a line has more than :data:`MOST_CELL_BYTES`, or by the shape of the table, or by its
        size where it is packed.
    """
    marks = [end.encode() for end in ends]
    length = n_lines = n_columns = n_bytes = 0
    with path.open("rb") if opened is None else opened() as stream:
        while block := stream.read(MOST_CELL_BYTES):
            n_bytes += len(block)
            if opened is not None:
                check_size(path, n_bytes)
            first = min((at for mark in marks if (at := block.find(mark)) >= 0), default=-1)
            if length + (len(block) if first < 0 else first) > MOST_CELL_BYTES:
                _refuse_cell(path, f"{path} line {n_lines + 1:,}" if "\n" in ends else str(path))
            if separator and not n_columns:
                n_columns = _count_columns(block.decode(encoding, errors="replace"), separator)
            n_lines += max(map(block.count, marks))
            length = len(block) - max(map(block.rfind, marks)) - 1 + (length if first < 0 else 0)
    check_shape(path, n_lines, n_columns)
    return n_lines


def _count_columns(block: str, separator: str) -> int:
    text = io.StringIO(block, newline="")
    try:
        return len(next(filter(None, csv.reader(text, delimiter=separator)), []))
    except csv.Error:
        # A name longer than the module reads.
        return block.count(separator) + 1


def check_json(path: Path) -> None:
    """Refuse a JSON file with a text that is none, as :func:`check_lines` does."""
    check_lines(path, ends='",[]{}')


def _refuse_cell(path: Path, place: str) -> NoReturn:
    msg = (
        f"{place} has more than {MOST_CELL_BYTES:,} bytes, expected fewer in each line of a text "
        f"and cell of a table; take it out of {path.name}"
    )
    raise SourceError(msg)


def check_records(path: Path, rows: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Refuse records, or columns, of JSON that would make far more cells than they hold.

    Raises
    ------
    SourceError
        By the shape of the table.
    """
    is_columns = isinstance(rows, dict)
    parts = list(rows.values()) if is_columns else rows if isinstance(rows, list) else []
    keys = {key for part in parts if isinstance(part, dict) for key in part}
    lists = [len(part) for part in parts if isinstance(part, list)]
    across = max([len(keys), *lists])
    check_shape(path, *((across, len(parts)) if is_columns else (len(parts), across)))


# What a cell takes in memory while a workbook is read.
_SHEET_CELL_BYTES = 32
# What says of a packed file that it is a workbook, and of which kind; of one kind alone.
_XLSX, _XLSB, _ODS = "xl/workbook.xml", "xl/workbook.bin", "content.xml"
_ODS_MIMETYPE = b"application/vnd.oasis.opendocument.spreadsheet"
#: First and last row and column of cells that are one, from 0.
Merged = tuple[tuple[int, int], tuple[int, int]]
_CELL_NAME = re.compile(r"([A-Z]{1,4})([0-9]{1,9})")
_CELL_VALUES = frozenset({"v", "is", "f"})


def check_workbook(path: Path) -> dict[str, list[Merged]] | None:
    """Refuse a workbook that holds far more than its bytes.

    One cell in the last row and column of a sheet makes all cells before it, and a text that
    stands once is in as many cells as refer to it, or as it is repeated in. What an old workbook
    (``.xls``) can hold is bounded by its format.

    Returns
    -------
    dict of str to list of Merged, or None
        Of an OpenDocument workbook (``.ods``) which cells of each sheet are merged; None of others.

    Raises
    ------
    SourceError
        If a text has more than :data:`MOST_CELL_BYTES`, or by shape or size.
    ValueError
        If it is neither, or damaged.

    References
    ----------
    ECMA-376, part 1, 18.3.1: ``row``, ``c`` and their attribute ``r``, and 18.4.8: ``si``.
    OpenDocument 1.3, part 3, 9.1 and 6.1.3: ``table:table-row`` and ``table:table-cell`` with their
    ``table:number-rows-repeated``, ``table:number-columns-repeated`` and
    ``table:number-rows-spanned``, and ``text:s`` with its ``text:c``.
    """
    import zipfile

    with path.open("rb") as stream:
        if not stream.read(4).startswith(b"PK"):
            return None
    try:
        with zipfile.ZipFile(path) as packed:
            names = set(packed.namelist())
            check_size(path, sum(one.file_size for one in packed.infolist()))
            kinds = names & {_XLSX, _XLSB, _ODS}
            said = packed.read("mimetype") if "mimetype" in names else b""
            if kinds == {_ODS} and said.startswith(_ODS_MIMETYPE):
                return _OpenDocument.read(packed.read(_ODS), path).merged
            if kinds != {_XLSX}:
                msg = "it is packed, and no workbook; expected .xlsx or .ods"
                raise ValueError(msg)
            # Whatever their names, as other parts say which are sheets.
            parts = [_SheetPart.read(packed.read(name), path) for name in sorted(names)]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        msg = f"it is damaged, or not to be read without a password ({error})"
        raise ValueError(msg) from error
    lengths = max((part.lengths for part in parts), key=sum, default=[])
    for part in parts:
        n_repeated = sum(lengths[at] for at in part.shared if at < len(lengths))
        check_size(path, n_repeated)
    return None


def _parse(data: bytes, part: _SheetPart | _OpenDocument) -> None:
    """Go through a part of a workbook; one that is no XML holds no cells."""
    from xml.parsers import expat

    start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start.startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        return
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = part.start
    parser.EndElementHandler = part.end
    parser.CharacterDataHandler = part.add
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        msg = f"it is damaged ({error})"
        raise ValueError(msg) from error


class _SheetPart:
    """What a part of a workbook would take in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._row = self._column = 0
        self._n_rows = self._n_columns = 0
        self._is_shared = False
        #: Characters of each of the texts that cells refer to.
        self.lengths: list[int] = []
        #: The texts that the cells refer to.
        self.shared: list[int] = []
        self._text: list[str] | None = None

    @classmethod
    def read(cls, data: bytes, path: Path) -> _SheetPart:
        """Go through a part."""
        made = cls(path)
        _parse(data, made)
        made._check()
        return made

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take the start of an element, with its namespace before a space."""
        kind = name.rpartition(" ")[2]
        if kind == "row":
            named = attributes.get("r", "")
            self._row = int(named) if named.isdecimal() and len(named) < 10 else self._row + 1
            self._column = 0
        elif kind == "c":
            self._column += 1
            found = _CELL_NAME.fullmatch(attributes.get("r", "").replace("$", "").upper())
            if found:
                self._column = 0
                for letter in found[1]:
                    self._column = self._column * 26 + ord(letter) - 64
                self._row = int(found[2])
            self._is_shared = attributes.get("t") == "s"
        elif kind in _CELL_VALUES:
            self._n_rows = max(self._n_rows, self._row)
            self._n_columns = max(self._n_columns, self._column)
            if kind != "f":
                self._text = []
        elif kind == "si":
            self._text = []

    def add(self, text: str) -> None:
        """Take what an element holds."""
        if self._text is not None:
            self._text.append(text)

    def end(self, name: str) -> None:
        """Take the end of an element."""
        kind = name.rpartition(" ")[2]
        if self._text is None or kind not in {"v", "is", "si"}:
            return
        text = "".join(self._text)
        self._text = None
        if len(text) > MOST_CELL_BYTES:
            _refuse_cell(self._path, str(self._path))
        if kind == "si":
            self.lengths.append(len(text))
        elif self._is_shared and text.strip().isdecimal() and len(text) < 10:
            self.shared.append(int(text))

    def _check(self) -> None:
        check_shape(self._path, self._n_rows, self._n_columns)
        check_size(self._path, self._n_rows * self._n_columns * _SHEET_CELL_BYTES)


class _OpenDocument:
    """What sheets of OpenDocument would take in memory, and what is merged there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sheet = ""
        self._row = self._column = self._n_rows = self._n_columns = 0
        # How often the row, and the cell, that is read stands one after the other.
        self._rows = self._columns = 1
        self._is_filled = self._is_row_filled = False
        # Characters of the cell and of the row, and bytes of all sheets, which are read together.
        self._length = self._n_characters = self._n_bytes = 0
        self.merged: dict[str, list[Merged]] = {}

    @classmethod
    def read(cls, data: bytes, path: Path) -> _OpenDocument:
        """Go through the content."""
        made = cls(path)
        _parse(data, made)
        return made

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take the start of an element, with its namespace before a space."""
        kind = name.rpartition(" ")[2]
        said = {key.rpartition(" ")[2]: value for key, value in attributes.items()}
        if kind == "table":
            self._sheet = said.get("name", "")
            self._row = self._n_rows = self._n_columns = 0
        elif kind == "table-row":
            self._rows, self._column = _count(said, "number-rows-repeated"), 0
            self._is_row_filled, self._n_characters = False, 0
        elif kind in _ODS_CELLS:
            self._columns = _count(said, "number-columns-repeated")
            self._is_filled = "value-type" in said
            self._length = len(said.get("string-value", ""))
            n_rows = _count(said, "number-rows-spanned")
            if n_rows > 1:
                n_columns = _count(said, "number-columns-spanned")
                last = (self._row + n_rows - 1, self._column + n_columns - 1)
                self.merged.setdefault(self._sheet, []).append(((self._row, self._column), last))
        elif kind == "s":
            self._length += _count(said, "c")

    def add(self, text: str) -> None:
        """Take what an element holds."""
        self._length += len(text)

    def end(self, name: str) -> None:
        """Take the end of an element."""
        kind = name.rpartition(" ")[2]
        if kind in _ODS_CELLS:
            if self._length > MOST_CELL_BYTES:
                _refuse_cell(self._path, str(self._path))
            self._column += self._columns
            if self._is_filled:
                self._is_row_filled = True
                self._n_columns = max(self._n_columns, self._column)
                self._n_characters += self._length * self._columns
        elif kind == "table-row":
            self._row += self._rows
            if self._is_row_filled:
                self._n_rows = self._row
                self._n_bytes += self._n_characters * self._rows
        elif kind == "table":
            check_shape(self._path, self._n_rows, self._n_columns)
            self._n_bytes += self._n_rows * self._n_columns * _SHEET_CELL_BYTES
            check_size(self._path, self._n_bytes)


_ODS_CELLS = frozenset({"table-cell", "covered-table-cell"})


def _count(said: dict[str, str], name: str) -> int:
    """Return how many there are of what is said once; what is no number no reader takes."""
    number = said.get(name, "1").lstrip("+0")
    return int(number[:20]) if number.isascii() and number.isdecimal() else 1


def check_parquet(path: Path) -> None:
    """Refuse a Parquet file that holds far more than its bytes, or a text longer than any.

    A value stands once in a dictionary however often it is in the column, so what the file says
    of its own size does not tell; the lengths in the dictionaries do, where they can matter.

    Raises
    ------
    SourceError
        If a text has more than :data:`MOST_CELL_BYTES`, or by shape or size.
    pa.ArrowException
        If it is no Parquet.

    References
    ----------
    Apache Parquet format, ``ColumnMetaData``: ``total_uncompressed_size``, ``num_values`` and
    ``encodings``.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as opened:
        about = opened.metadata
        check_shape(path, about.num_rows, about.num_columns)
        columns = [about.schema.column(number) for number in range(about.num_columns)]
        n_bytes = n_encoded = 0
        asked: list[tuple[int, str]] = []
        in_dictionary = set()
        for group in range(about.num_row_groups):
            for number, column in enumerate(columns):
                chunk = about.row_group(group).column(number)
                size, n_values = chunk.total_uncompressed_size, chunk.num_values
                n_encoded += size
                n_bytes += n_values * max(_CELL_BYTES, column.length)
                if column.logical_type.type != "STRING":
                    continue
                if size > n_values * MOST_CELL_BYTES:
                    _refuse_cell(path, f"{path} column {column.path!r}")
                if any("DICTIONARY" in one for one in chunk.encodings):
                    in_dictionary.add(column.path)
                    may_be = n_values * size
                else:
                    may_be = size
                    n_bytes += size
                if size > MOST_CELL_BYTES or may_be > SMALL_BYTES // 8:
                    asked.append((group, column.path))
    check_size(path, max(n_bytes, n_encoded))
    with pq.ParquetFile(path, read_dictionary=list(in_dictionary)) as opened:
        for group, name in asked:
            table = opened.read_row_group(group, columns=[name], use_threads=False)
            for longest, total in _measure(table.column(0)):
                if longest > MOST_CELL_BYTES:
                    _refuse_cell(path, f"{path} column {name!r}")
                n_bytes += total
            check_size(path, n_bytes)


def _measure(column: pa.ChunkedArray) -> Iterator[tuple[int, int]]:
    """Return the longest text of each part of a column, and the bytes of all that a file repeats.

    Yields
    ------
    tuple of int
    """
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    for chunk in column.chunks:
        for texts in _list_leaves(chunk):
            if kinds.is_dictionary(texts.type):
                lengths = pc.binary_length(texts.dictionary).cast("int64")
                total = pc.sum(lengths.take(texts.indices)).as_py()
            else:
                lengths, total = pc.binary_length(texts), 0
            yield pc.max(lengths).as_py() or 0, total or 0


def _list_leaves(array: pa.Array) -> Iterator[Any]:
    import pyarrow.types as kinds

    if kinds.is_struct(array.type):
        for part in array.flatten():
            yield from _list_leaves(part)
    elif kinds.is_map(array.type):
        yield from _list_leaves(array.keys)
        yield from _list_leaves(array.items)
    elif kinds.is_nested(array.type):
        yield from _list_leaves(array.flatten())
    else:
        yield array
