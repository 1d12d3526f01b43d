from __future__ import annotations

import csv
import datetime
import gzip
import io
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bioprobe.errors import MisuseError, SourceError
from bioprobe.tables import TableOptions, open_table, read_table
from tests.open_document import write_cell, write_content, write_workbook

ROWS = [{"path": "a.jpg", "count": 3}, {"path": "b.jpg", "count": 4}]


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".tsv", ".parquet", ".pq", ".json"])
def test_each_kind_of_table_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    frame = pd.DataFrame(ROWS)
    if suffix in {".parquet", ".pq"}:
        frame.to_parquet(path)
    elif suffix == ".json":
        frame.to_json(path, orient="records")
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    assert read_table(path).to_dict("records") == ROWS


def _read_csv(tmp_path: Path, text: str) -> list[dict[object, object]]:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return read_table(path).fillna("").to_dict("records")


def test_words_that_mean_nothing_elsewhere_are_names(tmp_path: Path) -> None:
    rows = _read_csv(tmp_path, "genus,note\nNA,None\nnan,\n")
    assert rows == [{"genus": "NA", "note": "None"}, {"genus": "nan", "note": ""}]


def test_a_name_may_hold_a_comma(tmp_path: Path) -> None:
    rows = _read_csv(tmp_path, 'path,common_name\na.jpg,"seal, common"\n')
    assert rows == [{"path": "a.jpg", "common_name": "seal, common"}]


def test_a_comma_at_the_end_of_lines_does_not_move_the_columns(tmp_path: Path) -> None:
    rows = _read_csv(tmp_path, "path,species\na.jpg,Panthera leo,\nb.jpg,Lynx lynx,\n")
    assert rows == [
        {"path": "a.jpg", "species": "Panthera leo"},
        {"path": "b.jpg", "species": "Lynx lynx"},
    ]


@pytest.mark.parametrize(
    "lines", ["a.jpg,Panthera leo,x\nb.jpg,Lynx lynx,y\n", "a.jpg,Lynx lynx\nb.jpg,Lynx lynx,y\n"]
)
def test_lines_longer_than_the_header_are_refused(tmp_path: Path, lines: str) -> None:
    with pytest.raises(SourceError, match=r"table\.csv cannot be read as a table"):
        _read_csv(tmp_path, f"path,species\n{lines}")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("a.jpg,Panthera leo,x\n", "line 2 has 3 cells, the header 2"),
        ("a.jpg,Lynx lynx\nb.jpg,Lynx lynx,y\n", "line 3 has 3 cells, the header 2"),
        ('a.jpg,"Lynx\nlynx"\n\nb.jpg,Lynx lynx,,y\n', "line 5 has 4 cells, the header 2"),
    ],
)
def test_the_line_that_is_too_long_is_named(tmp_path: Path, lines: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        _read_csv(tmp_path, f"path,species\n{lines}")


def test_a_short_line_ends_in_holes(tmp_path: Path) -> None:
    rows = _read_csv(tmp_path, "path,species\na.jpg\nb.jpg,Lynx lynx\n")
    assert rows == [{"path": "a.jpg", "species": ""}, {"path": "b.jpg", "species": "Lynx lynx"}]


def test_catalogue_numbers_keep_their_zeros(tmp_path: Path) -> None:
    rows = _read_csv(tmp_path, "path,specimen,count,share\na.jpg,0012,12,0.5\nb.jpg,13,0,0.0\n")
    assert rows == [
        {"path": "a.jpg", "specimen": "0012", "count": 12, "share": 0.5},
        {"path": "b.jpg", "specimen": "13", "count": 0, "share": 0.0},
    ]


def test_text_in_json_stays_text(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text('[{"specimen": "0012", "date": "2024-05-01", "n": 3}]')
    rows = read_table(tmp_path / "table.json").to_dict("records")
    assert rows == [{"specimen": "0012", "date": "2024-05-01", "n": 3}]


def test_whole_numbers_in_json_stay_such_beside_a_hole(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(
        '[{"id": 20240513123045001, "n": 1, "x": 1.0}, {"id": null, "x": null}, {"id": 3}]'
    )
    frame = read_table(tmp_path / "table.json")
    assert frame["id"].dropna().tolist() == [20240513123045001, 3]
    assert frame["n"].dropna().map(str).tolist() == ["1"]
    assert frame["x"].dropna().map(str).tolist() == ["1.0"]


def test_whole_numbers_that_pandas_wrote_as_floats_are_such_again(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1, None, 3], "x": [1.5, None, 3], "y": [1.0, 2.0, 3.0]})
    frame.to_parquet(tmp_path / "table.parquet")
    read = read_table(tmp_path / "table.parquet")
    assert {name: read[name].dropna().map(str).tolist() for name in read} == {
        "n": ["1", "3"], "x": ["1.5", "3.0"], "y": ["1.0", "2.0", "3.0"],
    }  # fmt: skip


def test_the_mark_that_spreadsheets_put_first_is_not_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"\xef\xbb\xbfpath\na.jpg\n")
    assert list(read_table(tmp_path / "table.csv").columns) == ["path"]


def test_a_table_without_rows_has_columns(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,species\n")
    frame = read_table(tmp_path / "table.csv")
    assert (list(frame.columns), len(frame)) == (["path", "species"], 0)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("empty.csv", b"", "empty.csv cannot be read as a table: "),
        (
            "mac.csv",
            b"name\nfran\x8dais\n",
            "mac.csv cannot be read as a table: it is neither",
        ),
        ("cut.parquet", b"PAR1", "cut.parquet cannot be read as a table: "),
        ("cut.json", b'[{"path": ', "cut.json cannot be read as a table: "),
        (
            "book.xlsx",
            b"PK\x03\x04",
            "book.xlsx cannot be read as a table: it is damaged",
        ),
        (
            "a.jpg",
            b"PK",
            "not a table bioprobe reads; expected .csv, .tsv, .parquet",
        ),
    ],
)
def test_what_is_no_table_is_refused_with_its_name(
    tmp_path: Path, name: str, data: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=problem.replace(".", r"\.")):
        read_table(tmp_path / name)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no table at .*none\.csv"):
        read_table(tmp_path / "none.csv")


GERMAN = "path;Höhe;Art\na.jpg;0,5;Weißstorch\nb.jpg;12;\n"


def _read_bytes(
    tmp_path: Path, data: bytes, name: str = "t.csv", **options: str
) -> tuple[list[dict[str, Any]], list[str]]:
    (tmp_path / name).write_bytes(data)
    opened = open_table(tmp_path / name, options=TableOptions(**options))
    rows: Any = opened.frame.fillna("").to_dict("records")
    return rows, list(map(str, opened.notes))


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", " as UTF-16"),
        ("utf-16-le", " as UTF-16-LE"),
        ("utf-16-be", " as UTF-16-BE"),
        ("cp1252", " as cp1252; --encoding says another"),
    ],
)
def test_encoding_delimiter_and_decimal_comma_are_found_and_said(
    tmp_path: Path, encoding: str, said: str
) -> None:
    rows, notes = _read_bytes(tmp_path, GERMAN.encode(encoding))
    assert rows == [
        {"path": "a.jpg", "Höhe": 0.5, "Art": "Weißstorch"},
        {"path": "b.jpg", "Höhe": 12.0, "Art": ""},
    ]
    assert notes == [
        f"{tmp_path / 't.csv'} read with semicolons between cells and decimal commas in Höhe{said}"
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".xls"])
def test_any_delimiter_is_found_whatever_the_ending(
    tmp_path: Path, delimiter: str, suffix: str
) -> None:
    text = 'path,note,x\r\na.jpg,"red; big, 5\t|",1\r\n\r\nb.jpg,"say ""no""",2,\r\n'
    rows = list(csv.reader(io.StringIO(text)))
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    read, _ = _read_bytes(tmp_path, out.getvalue().encode(), f"t{suffix}")
    assert read == [
        {"path": "a.jpg", "note": "red; big, 5\t|", "x": 1},
        {"path": "b.jpg", "note": 'say "no"', "x": 2},
    ]


def test_separators_at_the_end_are_no_cells(tmp_path: Path) -> None:
    expected = [{"path": "a.jpg", "n": 1}, {"path": "b.jpg", "n": 2}]
    for text in (
        "path;n\na.jpg;1;\nb.jpg;2;\n", "path;n;\na.jpg;1;\nb.jpg;2;\n",
        "path;n\na.jpg;1\nb.jpg;2;;;\n", "path;n;;\na.jpg;1;;\nb.jpg;2\n",
    ):  # fmt: skip
        assert _read_bytes(tmp_path, text.encode())[0] == expected


def test_the_line_of_excel_that_names_the_separator_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfsep=;\r\npath;n, m\r\na.jpg;1\r\n;2\r\n")
    opened = open_table(tmp_path / "t.csv")
    assert opened.frame.fillna("").to_dict("records") == [
        {"path": "a.jpg", "n, m": 1}, {"path": "", "n, m": 2},
    ]  # fmt: skip
    assert opened.place(1) == "line 4"


def test_what_is_said_overrules_what_is_found(tmp_path: Path) -> None:
    text = b"path;a,b\nx;1,2\n"
    assert list(_read_bytes(tmp_path, text)[0][0]) == ["path", "a,b"]
    assert list(_read_bytes(tmp_path, text, delimiter="comma")[0][0]) == ["path;a", "b"]
    assert _read_bytes(tmp_path, text, decimal=".")[0] == [{"path": "x", "a,b": "1,2"}]
    number = b'path,h,k\nx,"1,234",0.5\n'
    assert _read_bytes(tmp_path, number)[0] == [{"path": "x", "h": "1,234", "k": 0.5}]
    german = b"path;h;k\nx;1,234;0.5\n"
    assert _read_bytes(tmp_path, german, decimal=",")[0] == [{"path": "x", "h": 1.234, "k": "0.5"}]
    mac = "path\nfrançais\n".encode("mac_roman")
    assert _read_bytes(tmp_path, mac, encoding="mac_roman")[0] == [{"path": "français"}]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delimiter": "ab"}, "the delimiter 'ab' is no single character; expected , ; |"),
        ({"encoding": "klingon"}, "no encoding is called 'klingon'; expected one such as utf-8"),
        ({"encoding": "base64"}, "no encoding is called 'base64'"),
        ({"decimal": "x"}, "the decimal mark 'x' is none; expected , or ."),
        ({"decimal": ",", "delimiter": ","}, "a comma is the delimiter and the decimal mark"),
    ],
)
def test_what_is_no_way_to_write_a_table_is_refused(options: dict[str, str], problem: str) -> None:
    with pytest.raises(MisuseError, match=re.escape(problem)):
        TableOptions(**options)


def test_a_column_is_of_numbers_only_where_each_cell_is_one(tmp_path: Path) -> None:
    names = ("dec", "mixed", "id", "long", "thousands", "list")
    rows = [("0,50", "1,5", "007", "12345678901234567", "1.234,5", "1,2,3"),
            ("-2,5", "x", "008", "12345678901234568", "2.234,5", "4,5")]  # fmt: skip
    text = "\n".join(map(";".join, [names, *rows]))
    read, _ = _read_bytes(tmp_path, text.encode())
    assert [row["dec"] for row in read] == [0.5, -2.5]
    for at, name in enumerate(names[1:], start=1):
        assert [row[name] for row in read] == [row[at] for row in rows]


def test_commas_that_may_be_of_thousands_stay_until_another_column_tells(tmp_path: Path) -> None:
    read, notes = _read_bytes(tmp_path, b"path;n\na;1,234\nb;12,000\n")
    assert [row["n"] for row in read] == ["1,234", "12,000"]
    assert "the commas in n may be of decimals or of thousands" in notes[-1]
    read, _ = _read_bytes(tmp_path, b"path;n;h\na;1,234;0,5\nb;12,000;1\n")
    assert [row["n"] for row in read] == [1.234, 12.0]


def test_points_that_may_be_of_thousands_beside_decimal_commas_stay(tmp_path: Path) -> None:
    read, notes = _read_bytes(tmp_path, b"path;n;h;p\na;1.234;0,5;0.25\nb;12.345;1;0.5\n")
    assert [(row["n"], row["h"], row["p"]) for row in read] == [
        ("1.234", 0.5, 0.25), ("12.345", 1.0, 0.5)
    ]  # fmt: skip
    assert "the points in n may be of decimals or of thousands" in notes[-1]
    read, _ = _read_bytes(tmp_path, b"path;n\na;1.234\n")
    assert read[0]["n"] == 1.234


def test_few_bytes_that_are_not_utf_8_do_not_spoil_the_others(tmp_path: Path) -> None:
    data = "path,note\na.jpg,Rüsselkäfer 熊猫\n".encode() + b"b.jpg,\xfcber\n"
    read, notes = _read_bytes(tmp_path, data)
    assert [row["note"] for row in read] == ["Rüsselkäfer 熊猫", "über"]
    assert "UTF-8, 1 bytes that are none as cp1252" in notes[0]
    _, notes = _read_bytes(tmp_path, "path;Имя\na;Рысь\n".encode("cp1251"))
    assert "many of its letters are none of English" in notes[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path;n\na;1\nb;2;x\n", "line 3 has 3 cells, the header 2"),
        ('path;n\na;"x\ny"\nb;2;x\n', "line 4 has 3 cells, the header 2"),
        ("sep=;\npath;n\nb;2;x\n", "line 3 has 3 cells, the header 2"),
        ('path,n\na,1\nb,"2\nc,3\n', "a quote in line 3 is not closed; close it, or double it"),
    ],
)
def test_the_line_of_a_bad_row_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        _read_bytes(tmp_path, text.encode())


def test_rows_that_a_quote_swallows_are_said(tmp_path: Path) -> None:
    text = 'path,note\na,"x\nb,y\nc,z\nd,"\ne,w\n'
    read, notes = _read_bytes(tmp_path, text.encode())
    assert len(read) == 2
    assert "lines 2 to 5 are one row, because a quote is not closed" in notes[-1]
    _, notes = _read_bytes(tmp_path, b'path,note\na,"one\ntwo"\n')
    assert notes == []


def test_a_packed_table_is_read_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = gzip.compress(GERMAN.encode())
    for name in ("t.csv.gz", "t.csv"):
        read, notes = _read_bytes(tmp_path, data, name)
        assert read[0]["Höhe"] == 0.5
        assert ("packed by gzip" in notes[0]) == (name == "t.csv")
    monkeypatch.setattr("bioprobe.table_bounds.MOST_EXPANSION", 10)
    monkeypatch.setattr("bioprobe.table_bounds.SMALL_BYTES", 1000)
    with pytest.raises(SourceError, match=r"bytes and would take .* in memory"):
        _read_bytes(tmp_path, gzip.compress(b"a,b\n" * 10_000), "bomb.csv.gz")


def _write_book(path: Path, **sheets: pd.DataFrame) -> None:
    with pd.ExcelWriter(path, engine="xlsxwriter") as writer:
        for name, frame in sheets.items():
            frame.to_excel(writer, sheet_name=name, index=False)
            if name == "hidden":
                writer.sheets[name].hide()
            else:
                writer.sheets[name].activate()


def test_a_hidden_sheet_is_the_last_to_be_meant_and_a_web_page_is_no_workbook(
    tmp_path: Path,
) -> None:
    old, new = (pd.DataFrame({"path": [name]}) for name in ("old.jpg", "new.jpg"))
    _write_book(tmp_path / "t.xlsx", hidden=old, data=new)
    assert read_table(tmp_path / "t.xlsx")["path"].tolist() == ["new.jpg"]
    (tmp_path / "t.xls").write_text("<html><table></table></html>")
    with pytest.raises(SourceError, match="web page or XML with the ending of a workbook"):
        read_table(tmp_path / "t.xls")


def test_a_workbook_is_read_by_its_content_and_sheet(tmp_path: Path) -> None:
    rows: dict[str, list[Any]] = {
        "path": ["a.jpg"],
        "n": [3],
        "h": [0.5],
        "id": ["007"],
        "ok": [True],
    }
    dated = pd.DataFrame({**rows, "day": [pd.Timestamp("2021-05-01 10:00")]})
    _write_book(tmp_path / "t.xlsx", about=pd.DataFrame({"x": ["y"]}), data=dated)
    opened = open_table(tmp_path / "t.xlsx", prefers=lambda frame: "path" in frame)
    (row,) = opened.frame.to_dict("records")
    assert row == {**{name: cells[0] for name, cells in rows.items()}, "day": "2021-05-01 10:00:00"}
    said = f"{tmp_path / 't.xlsx'}: the sheet 'data' is read, not about; --sheet names one"
    assert [str(note) for note in opened.notes] == [said]
    assert opened.place(0) == "row 2 of sheet 'data'"
    assert list(read_table(tmp_path / "t.xlsx", options=TableOptions(sheet="about"))) == ["x"]
    with pytest.raises(SourceError, match="has no sheet 'z'; it has about, data"):
        read_table(tmp_path / "t.xlsx", options=TableOptions(sheet="z"))
    (tmp_path / "t.xlsx").rename(tmp_path / "t.csv")
    told: list[str] = []
    read_table(tmp_path / "t.csv", tell=told.append)
    assert told[0] == f"{tmp_path / 't.csv'} is a workbook, and read as one"


def test_a_workbook_of_open_document_is_read_by_its_content_and_sheet(tmp_path: Path) -> None:
    day, time = datetime.date(2021, 5, 1), datetime.datetime(2021, 5, 1, 10)
    rows: list[list[object]] = [
        ["path", "n", "h", "id", "ok", "day", "time", "site"],
        ["a.jpg", 3, 0.5, "007", True, day, time, write_cell("north", SPAN.format(2))],
        ["b.jpg", None, 1.5, "008", False, day, time, "<table:covered-table-cell/>"],
        # The same cells and rows one after the other stand once.
        [write_cell("c.jpg"), write_cell(4, 'table:number-columns-repeated="2"'), "009", True,
         day, None, "south"],
    ]  # fmt: skip
    sheets: dict[str, list[list[object]]] = {"old": [["path"], ["old.jpg"]], "data": rows}
    write_workbook(tmp_path / "t.ods", {"about": [["x"], ["y"]], **sheets}, hidden=["old"])
    opened = open_table(tmp_path / "t.ods", prefers=lambda frame: "path" in frame)
    assert opened.frame.astype(object).where(opened.frame.notna(), None).to_numpy().tolist() == [
        ["a.jpg", 3, 0.5, "007", True, "2021-05-01", "2021-05-01 10:00:00", "north"],
        ["b.jpg", None, 1.5, "008", False, "2021-05-01", "2021-05-01 10:00:00", "north"],
        ["c.jpg", 4, 4.0, "009", True, "2021-05-01", None, "south"],
    ]
    assert opened.place(0) == "row 2 of sheet 'data'"
    said = f"{tmp_path / 't.ods'}: the sheet 'data' is read, not about, old; --sheet names one"
    assert [str(note) for note in opened.notes] == [said]
    assert list(read_table(tmp_path / "t.ods", options=TableOptions(sheet="about"))) == ["x"]
    # Whatever it is called, and whatever is called so.
    for name in ("t.xlsx", "t.csv"):
        (tmp_path / name).write_bytes((tmp_path / "t.ods").read_bytes())
        assert open_table(tmp_path / name, prefers=lambda frame: "n" in frame).frame.equals(
            opened.frame
        )
    _write_book(tmp_path / "t.xlsx", data=pd.DataFrame(ROWS))
    (tmp_path / "t.xlsx").rename(tmp_path / "t.ods")
    assert read_table(tmp_path / "t.ods").to_dict("records") == ROWS


SPAN = 'table:number-rows-spanned="{}"'
ROW = "<table:table-row {}>{}</table:table-row>"
TWICE, ROWS_TWICE = 'table:number-columns-repeated="{}"', 'table:number-rows-repeated="{}"'


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ((ROW.format(ROWS_TWICE.format(1_048_575), "<table:table-cell/>"),
          ROW.format("", write_cell(None, TWICE.format(9000)) + write_cell(1))),
         "would take 75,505,860,608 in memory"),
        ((ROW.format(ROWS_TWICE.format(10**15), write_cell(1)),), "would take 8,0"),
        ((ROW.format("", write_cell(1, TWICE.format("+16384"))),), "16,384 columns"),
        ((ROW.format("", write_cell("x" * 1_000_001)),), "more than 1,000,000 bytes"),
        ((ROW.format("", f'{write_cell("a")[:-28]}<text:s text:c="9999999"/></text:p>'
                         "</table:table-cell>"),), "more than 1,000,000 bytes"),
        ((ROW.format(ROWS_TWICE.format(1000), write_cell("x" * 900_000)),), "would take 900,0"),
        (("<table:table-row>",), "it is damaged"),
    ],
    ids=["far", "rows", "columns", "text", "spaces", "repeated text", "damaged"],
)  # fmt: skip
def test_a_workbook_of_open_document_that_holds_far_more_than_its_file_is_refused(
    tmp_path: Path, rows: tuple[str, ...], problem: str
) -> None:
    table = '<table:table table:name="a">{}</table:table>'
    write_content(tmp_path / "t.ods", table.format("".join(rows)))
    with pytest.raises(SourceError, match=problem):
        read_table(tmp_path / "t.ods")


def test_what_is_merged_to_the_end_of_all_rows_and_what_is_no_workbook_of_open_document(
    tmp_path: Path,
) -> None:
    rows = [["path", "site"], ["a.jpg", write_cell("north", SPAN.format(10**18))], ["b.jpg"]]
    write_workbook(tmp_path / "t.ods", {"a": rows})
    assert read_table(tmp_path / "t.ods")["site"].tolist() == ["north"] * 2
    write_workbook(tmp_path / "none.ods", {})
    with pytest.raises(SourceError, match="its sheets hold nothing"):
        read_table(tmp_path / "none.ods")
    write_content(tmp_path / "text.ods", "", "application/vnd.oasis.opendocument.text")
    with pytest.raises(SourceError, match=r"no workbook; expected \.xlsx or \.ods"):
        read_table(tmp_path / "text.ods")


def test_numbers_of_a_workbook_are_numbers_whole_or_not(tmp_path: Path) -> None:
    columns = {
        "path": ["a.jpg", "b.jpg", "c.jpg"], "h": [0.5, None, 4], "n": [3, None, 4],
        "site": ["A1", 7, 8.5], "blank": [None] * 3,
    }  # fmt: skip
    _write_book(tmp_path / "t.xlsx", data=pd.DataFrame(columns, dtype=object))
    frame = read_table(tmp_path / "t.xlsx")
    assert [str(frame[name].dtype) for name in "hn"] == ["float64", "Int64"]
    assert frame["h"].dropna().tolist() == [0.5, 4]
    assert frame["site"].tolist() == ["A1", "7", "8.5"]


def test_a_workbook_without_the_extra_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_book(tmp_path / "t.xlsx", data=pd.DataFrame({"path": ["a.jpg"]}))
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(SourceError, match=r'pip install "bioprobe\[excel\]", or save the sheet as'):
        read_table(tmp_path / "t.xlsx")


def _edit_book(source: Path, target: Path, **parts: tuple[str, str]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", 8) as new:
        for name in old.namelist():
            data = old.read(name).decode()
            for ending, (before, after) in parts.items():
                if name.endswith(f"{ending}.xml"):
                    assert before in data
                    data = data.replace(before, after)
            new.writestr(name, data)


def test_a_workbook_that_holds_far_more_than_its_file_is_refused(tmp_path: Path) -> None:
    _write_book(tmp_path / "t.xlsx", data=pd.DataFrame({"path": ["a.jpg"], "n": [1]}))
    far = ('<c r="B2">', '<c r="XFD1048576">')
    _edit_book(tmp_path / "t.xlsx", tmp_path / "far.xlsx", sheet1=far)
    long = ("a.jpg", "x" * 2_000_000)
    _edit_book(tmp_path / "t.xlsx", tmp_path / "long.xlsx", sharedStrings=long)
    with zipfile.ZipFile(tmp_path / "t.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    cell = re.search(r'<c r="A2"[^>]*><v>\d+</v></c>', sheet)
    assert cell is not None
    many = (cell[0], cell[0] * 2000)
    text = ("a.jpg", "x" * 900_000)
    _edit_book(tmp_path / "t.xlsx", tmp_path / "many.xlsx", sheet1=many, sharedStrings=text)
    for name, problem in (("far", "16,384 columns, expected 10,000"), ("long", "1,000,000 bytes"),
                          ("many", "would take 1,8")):  # fmt: skip
        with pytest.raises(SourceError, match=problem):
            read_table(tmp_path / f"{name}.xlsx")
    (tmp_path / "zip.csv").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "zip.csv", "w") as packed:
        packed.writestr("a.txt", "x")
    with pytest.raises(SourceError, match=r"it is packed, and no workbook; expected \.xlsx"):
        read_table(tmp_path / "zip.csv")
