"""Cells that a spreadsheet would take for formulas: whoever wrote a label wrote them."""

from __future__ import annotations

import csv
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from bioprobe.cli import show
from bioprobe.cli.app import run
from bioprobe.cli.show import write_frame
from bioprobe.errors import MissingExtraError, MisuseError, SourceError

LIVE = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "=HYPERLINK(1)"]
SAFE = ["https://x.org/a", "lion", "", "-1.50", "+3", "a=b", "007", "1e5"]
FOUND = pd.DataFrame(
    {
        "=name": [*LIVE, *SAFE],
        "score": [-0.5, float("nan"), float("inf"), 1e300, *[0.25] * 12],
        "row": [-1, 2**60, *range(14)],
        "kept": [True, False] * 8,
    }
)


def _read_sheet(path: Path, number: int = 1) -> list[list[tuple[str, str]]]:
    """Return kind and text of the cells of a sheet, which holds no formula and no link."""
    names = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    with zipfile.ZipFile(path) as book:
        sheet = ElementTree.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))
        assert not [name for name in book.namelist() if "sheet1.xml.rels" in name]
    assert not sheet.findall(".//m:f", names)
    assert not sheet.findall(".//m:hyperlinks", names)
    return [
        [(cell.get("t", "n"), "".join(cell.itertext())) for cell in row.findall("m:c", names)]
        for row in sheet.findall(".//m:row", names)
    ]


def test_a_csv_is_as_it_was_written_unless_it_is_to_be_safe(tmp_path: Path) -> None:
    for safe in (False, True):
        write_frame(FOUND, str(tmp_path / "a.csv"), None, safe_csv=safe, quiet=True)
        with (tmp_path / "a.csv").open(newline="") as stream:
            header, *rows = list(csv.reader(stream))
        mark = "'" if safe else ""
        assert header == [f"{mark}=name", "score", "row", "kept"]
        assert [row[0] for row in rows] == [*(f"{mark}{one}" for one in LIVE), *SAFE]
        assert rows[0][1:] == ["-0.5", "-1", "True"]


def test_a_workbook_holds_texts_as_texts(tmp_path: Path) -> None:
    provenance = {"encoder": "=1+1", "options": {"k": 1}}
    write_frame(FOUND, str(tmp_path / "a.xlsx"), None, provenance=provenance, quiet=True)
    header, *rows = _read_sheet(tmp_path / "a.xlsx")
    assert header[0] == ("inlineStr", "=name")
    texts = [text for row in rows for kind, text in row[:1] if kind == "inlineStr"]
    assert [text for text in texts if text not in {"_x000D_=1", "\t=1"}] == [
        one for one in [*LIVE, *SAFE] if one and one not in {"\t=1", "\r=1"}
    ]
    assert rows[0][1:] == [("n", "-0.5"), ("n", "-1"), ("b", "1")]
    assert ("inlineStr", str(2**60)) in rows[1]
    assert ("inlineStr", "inf") in rows[2]
    assert _read_sheet(tmp_path / "a.xlsx", 2)[0][1] == ("inlineStr", "=1+1")


def test_what_excel_cannot_hold_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = pd.DataFrame({"label": ["x" * 40_000, "y"]})
    write_frame(long, str(tmp_path / "a.xlsx"), None)
    assert "1 cells are cut to 32,767 characters" in capsys.readouterr().err
    monkeypatch.setattr(show, "_EXCEL_ROWS", 2)
    with pytest.raises(SourceError, match=r"holds 1 rows below its header, got 2; write \.csv"):
        write_frame(long, str(tmp_path / "a.xlsx"), None)


def test_without_the_extra_the_error_says_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(MissingExtraError, match=r'pip install "bioprobe\[excel\]"'):
        write_frame(FOUND, str(tmp_path / "a.xlsx"), None)


def test_safe_csv_is_of_csv_alone(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="--safe-csv is for CSV, got parquet"):
        write_frame(FOUND, str(tmp_path / "a.parquet"), None, safe_csv=True)


@pytest.mark.usefixtures("store")
def test_commands_write_both(capsys: pytest.CaptureFixture[str]) -> None:
    question = ["search", "--row", "0", "-k", "2"]
    assert run([*question, "-o", "a.xlsx"]) == 0
    assert len(_read_sheet(Path("a.xlsx"))) == 3
    assert run([*question, "-o", "a.csv", "--safe-csv"]) == 0
    assert len(pd.read_csv("a.csv")) == 2
    assert run(["evaluate", "-o", "a.json", "--safe-csv"]) in {1, 2}
    assert run([*question, "-o", "a.json", "--safe-csv"]) == 2
    assert "--safe-csv is for CSV, got json" in capsys.readouterr().err
