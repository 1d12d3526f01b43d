"""A file of answers that grows line by line, each line once, whenever the writer is killed."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.errors import MisuseError
from bioprobe.files import disarm_cell, explaining_refusal, sync
from bioprobe.watching.ledger import Ledger, Output

if TYPE_CHECKING:
    import pandas as pd

#: Endings of files that answers are appended to.
LINES_SUFFIXES = (".csv", ".jsonl", ".ndjson")


class AnswerFile:
    """A CSV or JSON Lines file that answers are appended to.

    What is to be written stands in the ledger first; :meth:`finish` writes it, or what a killed
    writer left of it. A line that was torn is written whole.

    Parameters
    ----------
    path : Path
        Absolute; ends as one of :data:`LINES_SUFFIXES`.
    ledger : Ledger
    question : str
        What the answers are asked by; a file of others is refused.
    safe_csv : bool
        Whether cells that a spreadsheet would compute are written so that it does not.

    Raises
    ------
    MisuseError
        If the file is there and was begun by something else, or by another question.
    """

    def __init__(self, path: Path, ledger: Ledger, question: str, *, safe_csv: bool) -> None:
        self.path, self._ledger, self._question = path, ledger, question
        self._is_csv, self._safe_csv = path.suffix.lower() == ".csv", safe_csv
        if path.suffix.lower() not in LINES_SUFFIXES:
            msg = (
                f"answers are appended to a file that ends in {', '.join(LINES_SUFFIXES)}, or "
                f"written to - as JSON Lines; got {path.name}"
            )
            raise MisuseError(msg)
        #: Columns that came after the first line of a CSV, which has no place for them.
        self.left_out: dict[str, None] = {}
        #: What is to be said of the file as it was found.
        self.said = ""
        self._begin()

    @property
    def key(self) -> str:
        """What the ledger knows it by."""
        return str(self.path)

    def _begin(self) -> None:
        known, n_bytes = self._ledger.read_output(self.key), self._measure()
        if known is None:
            if n_bytes:
                msg = (
                    f"{self.path} is there, and was not begun by a watch into this store; name "
                    "another file, nothing was written"
                )
                raise MisuseError(msg)
            return
        if known.question != self._question:
            if n_bytes:
                msg = (
                    f"the answers in {self.path} were asked by other options; name another file, "
                    "or move this one away to have all answered anew"
                )
                raise MisuseError(msg)
            self._ledger.forget_output(self.key)
        elif not n_bytes and not known.pending and known.n_bytes:
            self._ledger.forget_output(self.key)
            self.said = f"{self.path} is gone; all is answered anew"
        elif n_bytes < known.n_bytes:
            self.said = (
                f"{self.path} is shorter than it was, {n_bytes:,} of {known.n_bytes:,} bytes: "
                "what was cut off is not written again; move it away to have all answered anew"
            )

    def _measure(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def plan(self, frame: pd.DataFrame) -> None:
        """Put answers into the ledger, within a change of it, to be written by :meth:`finish`."""
        known = self._ledger.read_output(self.key) or Output(self._question)
        header = known.header or tuple(map(str, frame.columns))
        if self._is_csv:
            new = [str(name) for name in frame.columns if str(name) not in header]
            self.left_out |= dict.fromkeys(new)
            text = self._write_csv(frame.reindex(columns=list(header)))
        else:
            text = write_json_lines(frame)
        planned = dataclasses.replace(known, header=header, pending=known.pending + text)
        self._ledger.write_output(self.key, planned)

    def finish(self) -> None:
        """Write what is to be written, and wait until the disk has it.

        Raises
        ------
        StoreError
            If the disk refuses; it is written next time.
        """
        known = self._ledger.read_output(self.key)
        if known is None or not known.pending:
            return
        with explaining_refusal(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as stream:
                stream.seek(0, os.SEEK_END)
                end = stream.tell()
                rest = known.pending.encode()
                if not known.n_bytes or not end:
                    rest = self._head(known) + rest
                stream.seek(max(0, min(known.n_bytes, end) - 1))
                last = stream.read(1 if known.n_bytes else 0)
                written = stream.read()
                if written and rest.startswith(written):
                    # A killed writer came as far as that, maybe to the middle of a line.
                    rest = rest.removeprefix(written)
                elif not (last + written or b"\n").endswith(b"\n"):
                    # Somebody else has left no end of the line.
                    stream.write(b"\n")
                stream.write(rest)
                stream.flush()
                os.fsync(stream.fileno())
                stream.seek(0, os.SEEK_END)
                end = stream.tell()
            sync(self.path.parent)
        done = dataclasses.replace(known, n_bytes=end, pending="")
        self._ledger.write_output(self.key, done)

    def _head(self, known: Output) -> bytes:
        if not self._is_csv:
            return b""
        return self._join_cells([known.header]).encode()

    def _write_csv(self, frame: pd.DataFrame) -> str:
        rows = frame.itertuples(index=False, name=None)
        return self._join_cells([_write_cell(value) for value in row] for row in rows)

    def _join_cells(self, rows: Iterable[Sequence[object]]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in rows:
            cells = [disarm_cell(cell) for cell in row] if self._safe_csv else row
            # The csv module puts no quotes around a lone carriage return, which then ends the line.
            has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
            each = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            (each if has_return else writer).writerow(cells)
        return text.getvalue()


class AnswerStream:
    """Answers to whoever reads them as they come; what a killed watch had not given is given.

    Parameters
    ----------
    ledger : Ledger
    question : str
        What the answers are asked by.
    emit : callable
        Given one or more lines of JSON at a time.
    """

    said = ""
    left_out: Mapping[str, None] = {}

    def __init__(self, ledger: Ledger, question: str, emit: Callable[[str], None]) -> None:
        self._ledger, self._question, self._emit = ledger, question, emit
        self.key = f"-{question}"

    def plan(self, frame: pd.DataFrame) -> None:
        """Put answers into the ledger, within a change of it."""
        known = self._ledger.read_output(self.key)
        before = known.pending if known else ""
        output = Output(self._question, pending=before + write_json_lines(frame))
        self._ledger.write_output(self.key, output)

    def finish(self) -> None:
        """Give what is to be given."""
        known = self._ledger.read_output(self.key)
        if known is not None and known.pending:
            self._emit(known.pending)
            self._ledger.write_output(self.key, Output(self._question))


def write_json_lines(frame: pd.DataFrame) -> str:
    """Write a table as JSON Lines: what is not known is null."""
    names = [str(name) for name in frame.columns]
    return "".join(
        json.dumps(
            dict(zip(names, map(_write_value, row), strict=True)), ensure_ascii=False, default=str
        )
        + "\n"
        for row in frame.itertuples(index=False, name=None)
    )


def _write_cell(value: Any) -> object:  # noqa: ANN401 - whatever a table holds
    plain = _write_value(value)
    if isinstance(plain, float):
        return f"{plain:.7g}"
    return "" if plain is None else plain


def _write_value(value: Any) -> Any:  # noqa: ANN401 - whatever a table holds
    """Return a value as JSON has it, None for what is not known."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    # Of a time as of a number, what is not known is not the same as itself.
    if value is None or str(value) in {"NaT", "<NA>"}:
        return None
    return str(value) if hasattr(value, "isoformat") else value
