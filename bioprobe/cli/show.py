"""Results to a file or to standard output."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from bioprobe.cli.options import FORMATS
from bioprobe.cli.saying import say, spell
from bioprobe.errors import MissingExtraError, MisuseError, SourceError
from bioprobe.files import (
    check_target,
    disarm_cell,
    explaining_refusal,
    replacing,
    write_text,
)
from bioprobe.options import RANK_NAMES
from bioprobe.result import Columns, count

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

# A table of up to so many rows is shown whole on a terminal, of a longer one the first.
_WHOLE_ROWS, _TERMINAL_ROWS = 40, 20
# A table of more rows is written line by line: laid out as a whole it takes minutes.
_MANY_ROWS = 10_000
# Between the columns of a table, and the most characters that a column of text needs in a row.
_GAP = "  "
_FOLDED_WIDTH = 28
# Columns that a table never leaves out: the answer, and how sure it is.
_ALWAYS = frozenset(
    ("answer", "classification", "score", "similarity", "n_pictures", "first", "second", "kappa",
     "value", "verdict", "start")
)  # fmt: skip
# Names are no markup of the terminal's library.
_AS_WRITTEN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
# As many digits as float32 has.
_FLOAT_FORMAT = "%.7g"


def write_frame(
    frame: pd.DataFrame | Columns,
    output: str,
    file_format: str | None,
    *,
    provenance: dict[str, Any] | None = None,
    safe_csv: bool = False,
    quiet: bool = False,
) -> None:
    """Write a result where the user wants it.

    JSON, Parquet and Excel carry the provenance inside; a CSV file gets it in a file beside it,
    named ``FILE.provenance.json``.

    Parameters
    ----------
    frame : DataFrame, or mapping of str to ndarray or list
        The result. By column it is written as CSV or as text, which needs no frame.
    output : str
        File, or ``-`` for standard output.
    file_format : str or None
        By default what the file's ending says.
    provenance : dict, optional
        What it was computed from.
    safe_csv : bool
        Whether cells of a CSV that a spreadsheet would compute are written so that it does not.
    quiet : bool
        Say nothing.

    Raises
    ------
    MisuseError
        If ``safe_csv`` is said of another format.
    """
    shown = _choose_format(output, file_format)
    if safe_csv and shown != "csv":
        msg = f"--safe-csv is for CSV, got {shown}, which no spreadsheet takes for formulas"
        raise MisuseError(msg)
    to_stdout, n_rows = output == "-", _count_rows(frame)
    if file_format is None and to_stdout and shown == "table":
        n_shown = n_rows if n_rows <= _WHOLE_ROWS else _TERMINAL_ROWS
        _print_table(_cut(frame, 0, n_shown), quiet=quiet)
        if n_shown < n_rows:
            rest = f"{n_rows - n_shown:,}"
            say(f"… and {rest} more rows; --output FILE or --format csv gives all", quiet=quiet)
    elif shown == "table":
        _print_table(frame, output, quiet=quiet)
    elif shown == "csv":
        if to_stdout:
            _print_csv(frame, safe=safe_csv)
        else:
            _write_csv(lambda: [frame], output, provenance, safe=safe_csv)
    elif shown == "json":
        _write_json(_to_frame(frame), output, provenance)
    elif shown == "parquet":
        _write_parquet(_to_frame(frame), output, provenance)
    else:
        _write_excel(_to_frame(frame), output, provenance, quiet=quiet)
    if not to_stdout:
        say(f"wrote {count(n_rows, 'row')} to {output}", quiet=quiet)


def _count_rows(table: pd.DataFrame | Columns) -> int:
    return max(map(len, table.values()), default=0) if isinstance(table, Mapping) else len(table)


def _cut(table: pd.DataFrame | Columns, start: int, stop: int) -> pd.DataFrame | Columns:
    """Return some rows of a table."""
    if isinstance(table, Mapping):
        return {name: values[start:stop] for name, values in table.items()}
    return table.iloc[start:stop]


def _to_frame(table: pd.DataFrame | Columns) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(table) if isinstance(table, Mapping) else table


def _list_columns(table: pd.DataFrame | Columns) -> list[tuple[str, Any]]:
    """Return the name and the values of each column, of which a frame may have two of a name."""
    if isinstance(table, Mapping):
        return list(table.items())
    return [(str(name), table.iloc[:, place]) for place, name in enumerate(table.columns)]


def _find_kind(values: Any) -> str:  # noqa: ANN401 - a list, an array or a series
    """Return what a column holds, as numpy says it in a letter; of a list by what stands in it."""
    if not isinstance(values, list):
        return str(values.dtype.kind)
    known = [one for one in values if one is not None]
    if not known or not all(isinstance(one, Real) and not isinstance(one, bool) for one in known):
        return "O"
    is_whole = len(known) == len(values) and all(isinstance(one, Integral) for one in known)
    return "i" if is_whole else "f"


def _list_values(values: Any) -> list[Any]:  # noqa: ANN401 - a list, an array or a series
    """Return the values of a column as Python has them, None where a series has a hole."""
    if isinstance(values, list):
        is_float = _find_kind(values) == "f"
        return [None if one is None else float(one) for one in values] if is_float else values
    if hasattr(values, "notna"):
        holes, values = values.isna().to_numpy(), values.to_numpy(dtype=object)
        if holes.any():
            values = values.copy()
            values[holes] = None
    return list(values.tolist())


def write_page(
    answer: Any,  # noqa: ANN401 - what has a page
    html: Path | None,
    *how: object,
) -> str:
    """Write an answer as a page where one is asked for, and say so."""
    if html is None:
        return ""
    shown = count(answer.write_page(html, *how), *getattr(answer, "shows", ("picture",)))
    return f"wrote a page of {shown} to {html}"


def write_paths(paths: Sequence[str], output: str, *, null: bool) -> None:
    """Write paths as the bytes that the system knows them by, each on a line or ended by NUL."""
    data = b"".join(os.fsencode(path) + (b"\0" if null else b"\n") for path in paths)
    if output == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with replacing(Path(output)) as temporary:
        temporary.write_bytes(data)


def is_shown(output: str, file_format: str | None) -> bool:
    """Tell whether a result is shown as a table on standard output, to be read there."""
    return output == "-" and _choose_format(output, file_format) == "table"


def is_text(output: str, file_format: str | None) -> bool:
    """Tell whether a result is written as CSV or as a table for reading, which needs no frame."""
    return _choose_format(output, file_format) in {"csv", "table"}


def is_page(output: str, file_format: str | None) -> bool:
    """Tell whether an output is a page of pictures, not a table."""
    return file_format is None and output.lower().endswith((".html", ".htm"))


def check_output(output: str, file_format: str | None) -> None:
    """Refuse an output that could not be written, before there is any work to lose."""
    if output != "-":
        if not is_page(output, file_format):
            _choose_format(output, file_format)
        check_target(Path(output))


def _choose_format(output: str, file_format: str | None) -> str:
    if file_format is not None:
        if file_format not in FORMATS:
            msg = f"--format is one of {', '.join(FORMATS)}, got {file_format!r}"
            raise typer.BadParameter(msg)
        return file_format
    if output == "-":
        return "table" if sys.stdout.isatty() else "csv"
    suffix = Path(output).suffix.lower().removeprefix(".")
    by_suffix = {"csv": "csv", "json": "json", "parquet": "parquet", "txt": "table",
                 "xlsx": "xlsx"}  # fmt: skip
    if suffix not in by_suffix:
        msg = (
            f"cannot tell the format of {output}; end it in .csv, .json, .parquet or .txt (.xlsx "
            "for Excel, .html for a page of pictures), or say --format"
        )
        raise SourceError(msg)
    return by_suffix[suffix]


def is_csv_file(output: str, file_format: str | None) -> bool:
    """Tell whether a table is written to a file as CSV."""
    return output != "-" and _choose_format(output, file_format) == "csv"


def write_csv(
    tables: Callable[[], Iterable[pd.DataFrame | Columns]],
    output: str,
    provenance: dict[str, Any] | None,
    *,
    safe: bool = False,
    quiet: bool = False,
) -> None:
    """Write a table to a CSV file as :func:`write_frame` does, of which it is given parts.

    Parameters
    ----------
    tables : callable
        Returns the parts each time that it is called, one below the other.
    output, provenance, safe, quiet
        As for :func:`write_frame`.
    """
    n_rows = _write_csv(tables, output, provenance, safe=safe)
    say(f"wrote {count(n_rows, 'row')} to {output}", quiet=quiet)


def _write_csv(
    tables: Callable[[], Iterable[pd.DataFrame | Columns]],
    output: str,
    provenance: dict[str, Any] | None,
    *,
    safe: bool,
) -> int:
    beside = Path(f"{output}.provenance.json")
    with contextlib.ExitStack() as both:
        # Left first, entered last: rows never lie beside the provenance of others.
        if provenance is not None:
            said = both.enter_context(replacing(beside))
            said.write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
        rows = both.enter_context(replacing(Path(output)))
        with rows.open("w", encoding="utf-8", newline="") as stream:
            # Of a pipe nothing is taken back.
            quotes = not stream.seekable() and any(map(_has_any_return, tables()))
            n_rows = _write_csv_parts(tables(), stream, safe=safe, quotes=quotes)
            if n_rows is None:
                stream.seek(0)
                stream.truncate()
                n_rows = _write_csv_parts(tables(), stream, safe=safe, quotes=True) or 0
        with explaining_refusal(beside):
            beside.unlink(missing_ok=True)
    return n_rows


def _print_csv(table: pd.DataFrame | Columns, *, safe: bool) -> None:
    _write_csv_parts([table], sys.stdout, safe=safe, quotes=_has_any_return(table))


def _write_csv_parts(
    tables: Iterable[pd.DataFrame | Columns], stream: TextIO, *, safe: bool, quotes: bool
) -> int | None:
    """Write a header and the rows of all parts, and return how many.

    The csv module puts no quotes around a lone carriage return, which then ends the line: where
    there is one and no ``quotes`` are put around all texts, None is returned before it is written.
    """
    import csv

    writer = csv.writer(
        stream, lineterminator=os.linesep,
        quoting=csv.QUOTE_NONNUMERIC if quotes else csv.QUOTE_MINIMAL,
    )  # fmt: skip
    disarm = disarm_cell if safe else None
    n_rows = 0
    for place, table in enumerate(tables):
        columns = _list_columns(table)
        if not quotes and _has_any_return(table):
            return None
        if not place:
            writer.writerow([disarm_cell(name) if safe else name for name, _ in columns])
        for start in range(0, _count_rows(table), _MANY_ROWS):
            part = _list_columns(_cut(table, start, start + _MANY_ROWS))
            writer.writerows(zip(*(_write_csv_cells(one, disarm) for _, one in part), strict=True))
        n_rows += _count_rows(table)
    return n_rows


def _has_any_return(table: pd.DataFrame | Columns) -> bool:
    return any(_has_return(values) for _, values in _list_columns(table))


def _has_return(values: Any) -> bool:  # noqa: ANN401 - a list, an array or a series
    """Tell whether a text of a column has a carriage return: cells are joined, not looked at."""
    if _find_kind(values) in "iufb":
        return False
    parts = (values[start : start + _MANY_ROWS] for start in range(0, len(values), _MANY_ROWS))
    return any("\r" in "".join(map(str, _list_values(one))) for one in parts)


def _write_csv_cells(
    values: Any,  # noqa: ANN401 - a list, an array or a series
    disarm: Callable[[Any], Any] | None,
) -> list[Any]:
    """Return cells of a column as the csv module writes them, ``""`` for holes."""
    kind = _find_kind(values)
    if kind == "M" and hasattr(values, "notna"):
        # All at midnight are written as dates.
        values = values.astype(str).where(values.notna(), None)
    listed = _list_values(values)
    if kind == "f":
        return ["" if one is None or math.isnan(one) else _FLOAT_FORMAT % one for one in listed]
    if kind in "iub":
        return listed
    if disarm is None:
        return ["" if one is None or one != one else one for one in listed]
    return ["" if one is None or one != one else disarm(one) for one in listed]


# Limits of an Excel sheet, and the most digits of its numbers.
_EXCEL_ROWS, _EXCEL_CHARACTERS, _EXCEL_LARGEST = 1_048_576, 32_767, 10**15


def _write_excel(
    frame: pd.DataFrame, output: str, provenance: dict[str, Any] | None, *, quiet: bool
) -> None:
    """Write a workbook whose texts are texts: none is a formula or a link."""
    try:
        import xlsxwriter
    except ImportError as error:
        msg = 'Excel workbooks are written by an extra; install it: pip install "bioprobe[excel]"'
        raise MissingExtraError(msg) from error
    if len(frame) >= _EXCEL_ROWS:
        msg = (
            f"an Excel sheet holds {_EXCEL_ROWS - 1:,} rows below its header, got {len(frame):,}; "
            "write .csv or .parquet"
        )
        raise SourceError(msg)
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
               "strings_to_numbers": False}  # fmt: skip
    n_cut = 0
    target: Any = io.BytesIO()
    with contextlib.ExitStack() as both:
        if output != "-":
            target = both.enter_context(replacing(Path(output)))
        book = both.enter_context(xlsxwriter.Workbook(target, options))
        sheet = book.add_worksheet("answers")
        rows = itertools.chain([tuple(frame.columns)], frame.itertuples(index=False, name=None))
        for row, values in enumerate(rows):
            for column, value in enumerate(values):
                n_cut += _write_excel_cell(sheet, row, column, value)
        about = book.add_worksheet("provenance")
        for row, (name, value) in enumerate((provenance or {}).items()):
            _write_excel_cell(about, row, 0, name)
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            n_cut += _write_excel_cell(about, row, 1, text)
    if output == "-":
        sys.stdout.buffer.write(target.getvalue())
    if n_cut:
        text = (
            f"{n_cut:,} cells are cut to {_EXCEL_CHARACTERS:,} characters, as Excel holds no more"
        )
        say(f"{text}; .csv has them whole", quiet=quiet)


def _write_excel_cell(sheet: Any, row: int, column: int, value: Any) -> bool:  # noqa: ANN401
    """Write one cell; tell whether it was cut."""
    import numpy as np
    import pandas as pd

    if isinstance(value, bool | np.bool_):
        sheet.write_boolean(row, column, bool(value))
        return False
    if isinstance(value, int | float | np.number):
        number = value.item() if isinstance(value, np.number) else value
        if math.isfinite(number) and abs(number) < _EXCEL_LARGEST:
            shown = number if isinstance(number, int) else float(_FLOAT_FORMAT % number)
            sheet.write_number(row, column, shown)
            return False
        value = "" if math.isnan(number) else str(number)
    elif pd.api.types.is_scalar(value) and pd.isna(value):
        value = ""
    text = str(value)
    if text:
        sheet.write_string(row, column, text[:_EXCEL_CHARACTERS])
    return len(text) > _EXCEL_CHARACTERS


def _write_json(frame: pd.DataFrame, output: str, provenance: dict[str, Any] | None) -> None:
    rows = json.loads(frame.to_json(orient="records"))
    text = json.dumps({"provenance": provenance, "rows": rows}, indent=2, ensure_ascii=False)
    if output == "-":
        typer.echo(text)
    else:
        write_text(Path(output), text + "\n")


def _write_parquet(frame: pd.DataFrame, output: str, provenance: dict[str, Any] | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"provenance": json.dumps(provenance).encode()}
    table = table.replace_schema_metadata(metadata)
    if output == "-":
        pq.write_table(table, pa.output_stream(sys.stdout.buffer))
    else:
        with replacing(Path(output)) as temporary:
            pq.write_table(table, temporary)


def _print_table(table: pd.DataFrame | Columns, output: str = "-", *, quiet: bool = False) -> None:
    from rich.console import Console

    listed = {name: (_find_kind(values), _list_values(values))
              for name, values in _list_columns(table)}  # fmt: skip
    written = {name: [_write_cell(one) for one in values] for name, (_, values) in listed.items()}
    # For reading: a column that says nothing only takes room from the others.
    cells = {name: one for name, one in written.items() if any(one)}
    shown = list(cells)
    numeric = {name for name in shown if listed[name][0] in "if"}
    widths = {column: max(map(len, [column, *cells[column]])) for column in shown}
    if output != "-":
        with replacing(Path(output)) as file, file.open("w", encoding="utf-8") as stream:
            if _count_rows(table) > _MANY_ROWS:
                stream.writelines(_iter_lines(cells, numeric, widths))
                return
            width = sum(widths.values()) + len(_GAP) * len(widths)
            Console(file=stream, width=width, **_AS_WRITTEN).print(_build_table(cells, numeric))
        return
    console = Console(**_AS_WRITTEN)
    kept = _choose_columns(widths, console.width)
    chosen = {column: cells[column] for column in kept}
    if _count_rows(table) > _MANY_ROWS:
        lines = _iter_lines(chosen, numeric, widths)
        while part := "".join(itertools.islice(lines, _MANY_ROWS)):
            typer.echo(part, nl=False)
    else:
        console.print(_build_table(chosen, numeric))
    if len(kept) < len(shown):
        left_out = ", ".join(column for column in shown if column not in kept)
        say(
            f"left out to fit {console.width} characters: {left_out}; a wider terminal, "
            "--output FILE or --format csv gives all",
            quiet=quiet,
        )


def _write_cell(value: object) -> str:
    """Write a value for reading: no character of it moves the cursor or is none of its own."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    text = "" if value is None else str(value)
    return spell(text).replace("\n", r"\n").replace("\t", r"\t")


def _build_table(cells: dict[str, list[str]], numeric: set[str]) -> Table:
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0))
    for column in cells:
        if column in numeric:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    for row in zip(*cells.values(), strict=True):
        table.add_row(*row)
    return table


def _iter_lines(
    cells: Mapping[str, Sequence[str]], numeric: set[str], widths: Mapping[str, int]
) -> Iterator[str]:
    """Write a long table line by line, of which no cell is folded.

    Yields
    ------
    str
        With its end.
    """
    fills = [(str.rjust if column in numeric else str.ljust, widths[column]) for column in cells]
    for row in itertools.chain([tuple(cells)], zip(*cells.values(), strict=True)):
        parts = [fill(cell, width) for cell, (fill, width) in zip(row, fills, strict=True)]
        yield _GAP.join(parts).rstrip() + "\n"


def _choose_columns(widths: dict[str, int], room: int) -> list[str]:
    """Return the columns that fit side by side: without the broad ranks, then the last ones."""
    kept = list(widths)

    def measure() -> int:
        # Longer text than that is folded before a column is given up.
        return sum(min(widths[column], _FOLDED_WIDTH) + len(_GAP) for column in kept) - len(_GAP)

    while measure() > room:
        others = [column for column in kept[1:] if column not in _ALWAYS]
        if not others or len(kept) == 2:
            break
        ranks = [column for column in others if column in RANK_NAMES]
        kept.remove(ranks[0] if len(ranks) > 1 else others[-1])
    return kept
