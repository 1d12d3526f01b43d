from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bioprobe.cli.show import write_frame

FOUND = pd.DataFrame(
    {
        "file_name": ["panthera-leo/002.jpg", "panthera-tigris/000.jpg"],
        "kingdom": "Animalia",
        "phylum": "Chordata",
        "class": "Mammalia",
        "order": "Carnivora",
        "family": "Felidae",
        "genus": "Panthera",
        "species": ["Panthera leo", "Panthera tigris"],
        "common_name": ["lion", "tiger"],
        "similarity": [0.52202, 0.51748],
        "row": [8, 3],
    }
)
Capture = pytest.CaptureFixture[str]


def _print(frame: pd.DataFrame, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    write_frame(frame, "-", "table")


def test_at_80_columns_the_broad_ranks_are_left_out_and_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _print(FOUND, 80, monkeypatch)
    told = capsys.readouterr()
    header, lion, tiger = told.out.splitlines()
    assert header.split() == [
        "file_name", "genus", "species", "common_name", "similarity", "row",
    ]  # fmt: skip
    assert lion.split()[:4] == ["panthera-leo/002.jpg", "Panthera", "Panthera", "leo"]
    assert lion.split()[4:] == ["lion", "0.5220", "8"]
    assert tiger.split()[0] == "panthera-tigris/000.jpg"
    assert told.err.startswith(
        "left out to fit 80 characters: kingdom, phylum, class, order, family; "
    )


def test_where_all_columns_fit_all_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    widths = [
        max(len(str(name)), FOUND[name].astype(str).str.len().max()) for name in FOUND.columns
    ]
    needed = sum(widths) + 2 * (len(widths) - 1)
    # Similarities are shown with four digits, not five, and their heading is longer.
    _print(FOUND, needed, monkeypatch)
    told = capsys.readouterr()
    assert told.out.split()[: len(FOUND.columns)] == list(FOUND.columns)
    assert len(told.out.splitlines()) == 3
    assert told.err == ""
    _print(FOUND, needed - 1, monkeypatch)
    told = capsys.readouterr()
    assert "kingdom" not in told.out
    assert "phylum" in told.out
    assert len(told.out.splitlines()) == 3


def test_without_ranks_the_middle_goes_first_and_two_columns_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    frame = pd.DataFrame({name: ["x" * 10] for name in "abcde"})
    _print(frame, 46, monkeypatch)
    assert capsys.readouterr().out.split()[:4] == ["a", "b", "d", "e"]
    _print(frame, 5, monkeypatch)
    header = capsys.readouterr().out.splitlines()[0]
    assert header.split() == ["a", "e"]


def test_a_long_name_is_folded_before_a_column_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    frame = pd.DataFrame({"file_name": ["n" * 70], "note": ["kept"], "row": [3]})
    _print(frame, 60, monkeypatch)
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.count("n" * 20) >= 1
    assert told.out.replace("\n", " ").count("kept") == 1


def test_a_table_in_a_file_has_every_column(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "found.txt"
    write_frame(FOUND, str(file), None, quiet=True)
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    assert header.split() == list(FOUND.columns)
    assert len(rows) == 2
    assert capsys.readouterr() == ("", "")


def test_quiet_says_nothing_of_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    write_frame(FOUND, "-", "table", quiet=True)
    assert capsys.readouterr().err == ""


def test_a_table_without_rows_or_columns_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _print(pd.DataFrame({"a": [], "b": []}), 80, monkeypatch)
    _print(pd.DataFrame(), 80, monkeypatch)
    assert capsys.readouterr().err == ""
