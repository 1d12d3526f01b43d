"""Tables with mutated cells: no error but our own, and no row that is lost without a word.

``BIOPROBE_FUZZ_TABLES=500`` draws 10,000 rows for each test; by default there are fewer.
"""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest

from bioprobe.errors import BioprobeError
from bioprobe.sources.source import find_images
from bioprobe.sources.tables import list_table
from tests.open_document import write_workbook

N_TABLES = int(os.environ.get("BIOPROBE_FUZZ_TABLES", "12"))
N_ROWS = 20
PIECES = (
    "", " ", '"', '""', '"a', "'", ",", ";", "|", "\t", "\n", "\r\n", "\r", "\0", "\x1a", "\ufeff",
    "é", "Rüssel", "ñ", "熊猫", "🐆", "\u202e", "e\u0301", "NA", "NaN", "null", "None", "0,5",
    "1.5", "1,234", "007", "99999999999999999", "-1", "1e5", "=1", "a.jpg", "x/b.png", "..",
    "../..", ".\\p\\c.jpg", "D:\\cards\\d.jpg", "\\\\host\\share\\e.jpg", "https://h/a.jpg", "gs://b/f.jpg",
    "file:///a.jpg", "http://", "://", "a.jpg|b.jpg", "a.jpg;b.jpg, c.jpg", "%00", "%zz", "sep=;",
    "{'bytes': None, 'path': 'a.jpg'}", "#2", "a" * 5000, "/" * 300, "Panthera leo", "cf. x", "?",
)  # fmt: skip
HEADER = ["id", "path", "species", "RelativePath", "height", "url"]


def _draw_row(random: np.random.Generator, number: int) -> list[str]:
    row = [f"n{number}", f"{number % 7}.jpg", "Panthera leo", "", "0.5", ""]
    for _ in range(random.integers(0, 4)):
        cell = int(random.integers(1, len(row)))
        pieces = [PIECES[int(at)] for at in random.integers(0, len(PIECES), random.integers(1, 4))]
        row[cell] = "".join(pieces) if random.random() < 0.7 else row[cell] + "".join(pieces)
    return row


def _write(rows: list[list[str]], random: np.random.Generator) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=",;\t|"[int(random.integers(4))])
    writer.writerows([HEADER, *rows])
    encoding = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252")[int(random.integers(5))]
    return out.getvalue().encode(encoding, errors="replace")


def test_no_row_with_mutated_cells_is_lost(tmp_path: Path) -> None:
    random = np.random.default_rng(15)
    for name in ("a.jpg", "x/b.png", "p/c.jpg", "0.jpg", "sub/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for number in range(N_TABLES):
        rows = [_draw_row(random, at) for at in range(N_ROWS)]
        table = tmp_path / f"{number}.csv"
        table.write_bytes(_write(rows, random))
        part = list_table(table)
        said = " ".join(map(str, part.notes))
        empty = re.search(r"(\d+) rows of \S+ are empty", said)
        n_empty = int(empty[1]) if empty else 0
        assert set(part.frame["id"]) <= {row[0] for row in rows}
        assert part.frame["id"].nunique() + len(part.unread) + n_empty == N_ROWS
        files = set(map(os.path.join, part.frame["root"], part.frame["path"]))
        assert set(part.reasons) <= files
        listed = find_images([table])
        assert listed.frame["id"].nunique() + len(listed.unread) + n_empty >= N_ROWS
        assert len(listed) + len(listed.unread) >= N_ROWS
        table.unlink()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".jsonl", ".xlsx", ".xls", ".ods"])
def test_mutated_bytes_raise_our_errors_only(tmp_path: Path, suffix: str) -> None:
    pd = pytest.importorskip("pandas")
    random = np.random.default_rng(16)
    rows = [_draw_row(random, at) for at in range(N_ROWS)]
    source = tmp_path / f"t{suffix}"
    if suffix in {".xlsx", ".xls"}:
        clean = [[re.sub(r"[\x00-\x1f]", "", cell) for cell in row] for row in rows]
        pd.DataFrame(clean, columns=HEADER).to_excel(
            tmp_path / "t.xlsx", index=False, engine="xlsxwriter"
        )
        data = (tmp_path / "t.xlsx").read_bytes()
    elif suffix == ".ods":
        clean = [[re.sub(r"[\x00-\x1f]", "", cell) for cell in row] for row in rows]
        write_workbook(source, {"a": [HEADER, *clean]})
        data = source.read_bytes()
    elif suffix == ".jsonl":
        data = pd.DataFrame(rows, columns=HEADER).to_json(orient="records", lines=True).encode()
    else:
        data = _write(rows, random)
    n_read = 0
    for _ in range(N_TABLES):
        mutated = bytearray(data)
        for _ in range(int(random.integers(1, 6))):
            at = int(random.integers(len(mutated)))
            how = int(random.integers(4))
            if how == 0:
                mutated[at] = int(random.integers(256))
            elif how == 1:
                del mutated[at : at + int(random.integers(1, 50))]
            elif how == 2:
                mutated[at:at] = PIECES[int(random.integers(len(PIECES)))].encode()
            else:
                mutated[at:at] = bytes(mutated[at : at + 40])
        source.write_bytes(bytes(mutated))
        try:
            n_read += len(find_images([source])) > 0
        except BioprobeError as error:
            assert str(tmp_path) in str(error)  # noqa: PT017
    assert n_read or suffix in {".xlsx", ".xls", ".ods"}
