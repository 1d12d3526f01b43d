"""Results to a file or to standard output, messages to standard error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bioprobe.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "json", "parquet", "table")
_TERMINAL_ROWS = 20
# As many digits as float32 has.
_FLOAT_FORMAT = "%.7g"


def say(message: str, *, quiet: bool = False) -> None:
    """Print one message to standard error."""
    if not quiet:
        typer.echo(message, err=True)


def write_frame(
    frame: pd.DataFrame,
    output: str,
    file_format: str | None,
    *,
    provenance: dict[str, Any] | None = None,
    quiet: bool = False,
) -> None:
    """Write a result where the user wants it.

    JSON and Parquet carry the provenance inside; a CSV file gets it in a file beside it, named
    ``FILE.provenance.json``.
    """
    shown = _choose_format(output, file_format)
    to_stdout = output == "-"
    if file_format is None and to_stdout and shown == "table":
        _print_table(frame.head(_TERMINAL_ROWS))
        if len(frame) > _TERMINAL_ROWS:
            rest = f"{len(frame) - _TERMINAL_ROWS:,}"
            say(f"… and {rest} more rows; --output FILE or --format csv gives all", quiet=quiet)
    elif shown == "table":
        _print_table(frame, output)
    elif shown == "json":
        _write_json(frame, output, provenance)
    elif shown == "parquet":
        _write_parquet(frame, output, provenance)
    else:
        _write_csv(frame, output, provenance)
    if not to_stdout:
        say(f"wrote {len(frame):,} rows to {output}", quiet=quiet)


def _choose_format(output: str, file_format: str | None) -> str:
    if file_format is not None:
        if file_format not in FORMATS:
            msg = f"--format is one of {', '.join(FORMATS)}, got {file_format!r}"
            raise typer.BadParameter(msg)
        return file_format
    if output == "-":
        return "table" if sys.stdout.isatty() else "csv"
    suffix = Path(output).suffix.lower().removeprefix(".")
    by_suffix = {"csv": "csv", "json": "json", "parquet": "parquet", "txt": "table"}
    if suffix not in by_suffix:
        msg = (
            f"cannot tell the format of {output}; end it in .csv, .json, .parquet or .txt, or "
            "say --format"
        )
        raise SourceError(msg)
    return by_suffix[suffix]


def _write_csv(frame: pd.DataFrame, output: str, provenance: dict[str, Any] | None) -> None:
    if output == "-":
        frame.to_csv(sys.stdout, index=False, float_format=_FLOAT_FORMAT)
        return
    frame.to_csv(_prepare(output), index=False, float_format=_FLOAT_FORMAT)
    if provenance is not None:
        beside = Path(f"{output}.provenance.json")
        beside.write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


def _write_json(frame: pd.DataFrame, output: str, provenance: dict[str, Any] | None) -> None:
    rows = json.loads(frame.to_json(orient="records"))
    text = json.dumps({"provenance": provenance, "rows": rows}, indent=2, ensure_ascii=False)
    if output == "-":
        typer.echo(text)
    else:
        _prepare(output).write_text(text + "\n", encoding="utf-8")


def _write_parquet(frame: pd.DataFrame, output: str, provenance: dict[str, Any] | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"provenance": json.dumps(provenance).encode()}
    table = table.replace_schema_metadata(metadata)
    if output == "-":
        pq.write_table(table, pa.output_stream(sys.stdout.buffer))
    else:
        pq.write_table(table, _prepare(output))


def _print_table(frame: pd.DataFrame, output: str = "-") -> None:
    from rich.console import Console
    from rich.table import Table

    # For reading: a column that says nothing only takes room from the others.
    frame = frame.loc[:, [column for column in frame if not (frame[column] == "").all()]]
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in frame.columns:
        numeric = frame[column].dtype.kind in "if"
        table.add_column(str(column), justify="right" if numeric else "left", overflow="fold")
    for row in frame.itertuples(index=False, name=None):
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row))
    if output == "-":
        Console().print(table)
    else:
        with _prepare(output).open("w", encoding="utf-8") as stream:
            Console(file=stream, width=200).print(table)


def _prepare(output: str) -> Path:
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
