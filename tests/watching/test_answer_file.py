from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import MisuseError
from bioprobe.watching.answer_file import AnswerFile, write_json_lines
from bioprobe.watching.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path)
    yield opened
    opened.close()


def _frame(*names: str) -> pd.DataFrame:
    return pd.DataFrame({"file_name": names, "score": [0.5] * len(names)})


def _append(file: AnswerFile, ledger: Ledger, frame: pd.DataFrame) -> None:
    with ledger.change():
        file.plan(frame)
    file.finish()


def _open(path: Path, ledger: Ledger, question: str = "q", *, safe_csv: bool = False) -> AnswerFile:
    return AnswerFile(path, ledger, question, safe_csv=safe_csv)


WHOLE = 'file_name,score\na.jpg,0.5\nb.jpg,0.5\n"c,\n""1"".jpg",0.5\n'


@pytest.mark.parametrize("n_bytes", [0, 5, 16, 20, 26, 31, 38, 44, len(WHOLE)])
def test_what_a_killed_writer_left_is_finished_by_the_byte(
    tmp_path: Path, ledger: Ledger, n_bytes: int
) -> None:
    path = tmp_path / "answers.csv"
    file = _open(path, ledger)
    if n_bytes > 26:
        _append(file, ledger, _frame("a.jpg"))
        names = ["b.jpg", 'c,\n"1".jpg']
    else:
        names = ["a.jpg", "b.jpg", 'c,\n"1".jpg']
    with ledger.change():
        file.plan(_frame(*names))
    path.write_text(WHOLE[:n_bytes])  # as far as it came
    _open(path, ledger).finish()
    assert path.read_text() == WHOLE
    _open(path, ledger).finish()
    assert path.read_text() == WHOLE


def test_what_somebody_else_appends_stays_and_takes_no_line(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "answers.csv"
    file = _open(path, ledger)
    _append(file, ledger, _frame("a.jpg"))
    with path.open("a") as stream:
        stream.write("# checked")
    _append(file, ledger, _frame("b.jpg"))
    assert path.read_text() == "file_name,score\na.jpg,0.5\n# checked\nb.jpg,0.5\n"


def test_a_line_whose_end_somebody_cut_off_takes_no_other(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "answers.csv"
    file = _open(path, ledger)
    _append(file, ledger, _frame("a.jpg"))
    path.write_text(path.read_text().rstrip("\n"))  # as editors do
    _append(file, ledger, _frame("b.jpg"))
    assert path.read_text() == "file_name,score\na.jpg,0.5\nb.jpg,0.5\n"
    path.write_text("file_name,score\na.j")
    _append(file, ledger, _frame("c.jpg"))
    assert path.read_text() == "file_name,score\na.j\nc.jpg,0.5\n"


def test_a_file_that_is_moved_away_while_it_grows_begins_anew(
    tmp_path: Path, ledger: Ledger
) -> None:
    path = tmp_path / "answers.csv"
    file = _open(path, ledger)
    _append(file, ledger, _frame("a.jpg"))
    path.rename(tmp_path / "old.csv")
    _append(file, ledger, _frame("b.jpg"))
    assert path.read_text() == "file_name,score\nb.jpg,0.5\n"
    path.unlink()
    assert "all is answered anew" in _open(path, ledger).said


def test_the_file_of_somebody_else_and_of_another_question_is_refused(
    tmp_path: Path, ledger: Ledger
) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("mine\n")
    with pytest.raises(MisuseError, match="was not begun by a watch"):
        _open(path, ledger)
    path.unlink()
    _append(_open(path, ledger), ledger, _frame("a.jpg"))
    with pytest.raises(MisuseError, match="asked by other options"):
        _open(path, ledger, "another")
    with pytest.raises(MisuseError, match=r"ends in \.csv, \.jsonl"):
        _open(tmp_path / "answers.parquet", ledger)
    path.write_text("file_name")
    assert "is shorter than it was, 9 of" in _open(path, ledger).said


def test_a_csv_keeps_its_columns_and_lines_hold_all(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "answers.csv"
    file = _open(path, ledger, safe_csv=True)
    _append(file, ledger, _frame("=1+1.jpg", "a\rb.jpg"))
    _append(file, ledger, _frame("b.jpg").assign(image_region="1"))
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file_name"] for row in rows] == ["'=1+1.jpg", "a\rb.jpg", "b.jpg"]
    assert list(file.left_out) == ["image_region"]


def test_lines_of_json_hold_numbers_texts_and_null() -> None:
    frame = pd.DataFrame(
        {
            "n": [1, 2], "score": [np.float32(0.25), np.nan], "name": ["ä", None],
            "is_unknown": [True, False], "at": [pd.Timestamp("2024-05-01"), pd.NaT],
        }
    )  # fmt: skip
    assert [json.loads(line) for line in write_json_lines(frame).splitlines()] == [
        {"n": 1, "score": 0.25, "name": "ä", "is_unknown": True, "at": "2024-05-01 00:00:00"},
        {"n": 2, "score": None, "name": None, "is_unknown": False, "at": None},
    ]
