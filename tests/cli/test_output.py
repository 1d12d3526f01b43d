from __future__ import annotations

import errno
import importlib
import os
import pkgutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe
from bioprobe.cli.app import run
from bioprobe.cli.saying import say
from bioprobe.cli.show import write_csv, write_frame
from bioprobe.result import Result

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


def test_without_ranks_the_last_goes_first_and_two_columns_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    frame = pd.DataFrame({name: ["x" * 10] for name in "abcde"})
    _print(frame, 46, monkeypatch)
    assert capsys.readouterr().out.split()[:4] == ["a", "b", "c", "d"]
    _print(frame, 5, monkeypatch)
    header = capsys.readouterr().out.splitlines()[0]
    assert header.split() == ["a", "b"]


def test_a_long_name_is_folded_before_a_column_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    frame = pd.DataFrame({"file_name": ["n" * 70], "note": ["kept"], "row": [3]})
    _print(frame, 60, monkeypatch)
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.count("n" * 20) >= 1
    assert told.out.replace("\n", " ").count("kept") == 1


def test_what_is_nowhere_known_takes_no_room_from_what_was_said(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    said = {"id": ["f" * 32], "row": [3], "value": ["Panthera leo"], "by": ["anna"]}
    frame = pd.DataFrame({**said, "score": [np.nan], "chance": [None]})
    _print(frame, 50, monkeypatch)
    told = capsys.readouterr()
    assert told.out.splitlines()[0].split() == ["id", "row", "value"]
    assert told.err.startswith("left out to fit 50 characters: by; ")


@pytest.mark.parametrize(("n_rows", "n_shown"), [(40, 40), (41, 20)])
def test_a_short_table_is_shown_whole_on_a_terminal(
    n_rows: int, n_shown: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    write_frame({"row": list(range(n_rows))}, "-", None)
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == n_shown + 1
    assert ("and 21 more rows" in told.err) == (n_rows > n_shown)


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


def test_rows_never_lie_beside_the_provenance_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, beside = tmp_path / "a.csv", tmp_path / "a.csv.provenance.json"
    write_frame(FOUND, str(path), None, provenance={"run": 1}, quiet=True)
    assert "1" in beside.read_text()
    replace = Path.replace

    def lose_power(self: Path, target: Path) -> Path:
        done = replace(self, target)
        if Path(target) == path:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, "replace", lose_power)
    with pytest.raises(KeyboardInterrupt):
        write_frame(FOUND[:1], str(path), None, provenance={"run": 2}, quiet=True)
    assert len(pd.read_csv(path)) == 1
    assert not beside.exists()
    monkeypatch.undo()
    write_frame(FOUND, str(path), None, quiet=True)
    assert [one.name for one in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    "command",
    [
        "filter --output", "filter --html", "dedupe --output", "zeroshot --output",
        "split --output", "search --row 1 --html", "evaluate --methods knn --output",
        "evaluate --methods knn --predictions", "report --output", "taxa export",
        "taxa list --output", "store export --layout npy", "demo --output",
        "taxa resolve --names sketch --apply --output",
    ],
)  # fmt: skip
def test_an_output_that_cannot_be_written_is_refused_before_anything_changes(
    store: Path, command: str, capsys: Capture
) -> None:
    (store.parent / "file").touch()

    def list_files() -> list[Path]:
        return sorted(store.parent.rglob("*"))

    before = list_files()
    for suffix in ("npy", "csv"):
        path = f"file/x.{suffix}"
        code = run([*command.split(), path])
        told = capsys.readouterr().err
        assert code == 1
        if "cannot tell the format" not in told:
            assert f"Error: {path} cannot be written: not a directory; " in told
        assert list_files() == before


def test_a_format_that_cannot_be_told_is_refused_before_anything_changes(
    store: Path, capsys: Capture
) -> None:
    assert run(["dedupe", "--output", "rows.xyz"]) == 1
    assert "cannot tell the format of rows.xyz" in capsys.readouterr().err
    assert not (store / "selections").exists()


def test_a_refusal_of_the_system_is_one_line(
    store: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/scratch")

    monkeypatch.setattr("bioprobe.store.manifest.Manifest.read", refuse)
    assert run(["describe", "--store", str(store)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Error: /tmp/scratch: no space left on device; ")
    assert told.count("\n") == 1


def test_names_are_written_as_they_are_and_move_no_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    names = ["[red]lion[/x]", "a\x1b[2Jb", "two\nlines", ":lion:"]
    _print(pd.DataFrame({"file_name": names, "row": range(4)}), 80, monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "[red]lion[/x]", r"a\x1b[2Jb", r"two\nlines", ":lion:",
    ]  # fmt: skip
    say("skipped a\x1b[2Jb\ud800.jpg\nnext")
    assert capsys.readouterr().err == "skipped a\\x1b[2Jb\\ud800.jpg\nnext\n"


def test_a_long_table_is_written_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"name": ["a", "long name", "b"], "n": [1, 20, 300], "none": ""})
    written = []
    for most in (2, 10):
        monkeypatch.setattr("bioprobe.cli.show._MANY_ROWS", most)
        write_frame(frame, "-", "table")
        write_frame(frame, str(tmp_path / "t.txt"), None, quiet=True)
        lines = capsys.readouterr().out.splitlines()
        written += [[line.rstrip() for line in lines if line]]
        text = (tmp_path / "t.txt").read_text()
        written += [[line.rstrip() for line in text.splitlines() if line]]
    assert written[0] == ["name         n", "a            1", "long name   20", "b          300"]
    assert all(one == written[0] for one in written)


def test_columns_are_written_as_a_frame_of_them_is(tmp_path: Path, capsys: Capture) -> None:
    columns = {
        "name": np.array(["a,b", 'say "x"', "", "line\nbreak"], dtype=object),
        "score": np.array([0.1, np.nan, 1e-7, 123456.7891], dtype=np.float64),
        "single": np.array([0.1, np.nan, np.inf, 2.0], dtype=np.float32),
        "row": np.arange(4), "kept": np.array([True, False, True, True]),
        "mixed": np.array([1, None, 2.5, np.nan], dtype=object),
        "listed": [{"a": 1}, None, [1], "x"],
        "whole": [1, None, 3, 4],
    }  # fmt: skip
    frame = pd.DataFrame(columns).assign(
        day=pd.to_datetime(["2024-01-01", "", "2024-03-01", "2024-04-01"]),
        moment=pd.to_datetime(["2024-01-01 06:00", "", "2024-03-01 00:00", "2024-04-01 12:30"]),
        number=pd.array([1, pd.NA, 3, 4], dtype="Int64"),
        kind=pd.Categorical(["x", None, "y", "x"]),
    )
    write_frame(frame, str(tmp_path / "frame.csv"), None, quiet=True)
    expected = frame.to_csv(index=False, float_format="%.7g")
    assert (tmp_path / "frame.csv").read_bytes().decode() == expected
    for form in ("csv", "table"):
        write_frame(frame[list(columns)], "-", form)
        by_frame = capsys.readouterr().out
        write_frame(columns, "-", form)
        assert capsys.readouterr().out == by_frame
    with_return = frame.assign(name="a\rb")
    write_frame(with_return, str(tmp_path / "frame.csv"), None, quiet=True)
    again = pd.read_csv(tmp_path / "frame.csv", lineterminator="\n")
    assert again["name"].tolist() == ["a\rb"] * 4
    assert again["score"].tolist()[2:] == [1e-7, 123456.8]
    # In parts it is the same file, also where only the last part makes all of it be quoted.
    with_return.loc[:1, "name"] = "a"
    for whole in (frame.drop(columns="moment"), with_return.drop(columns="moment")):
        write_frame(whole, str(tmp_path / "frame.csv"), None, safe_csv=True, quiet=True)
        parts = [whole[:1], whole[1:3], whole[3:]]
        target = str(tmp_path / "parts.csv")
        write_csv(parts.copy, target, {"of": "parts"}, safe=True, quiet=True)
        assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "frame.csv").read_bytes()
    assert (tmp_path / "parts.csv.provenance.json").is_file()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_written_once_with_quotes_where_a_later_part_wants_them(tmp_path: Path) -> None:
    parts = [pd.DataFrame({"name": ["a"]}), pd.DataFrame({"name": ["a\rb"]})]
    os.mkfifo(tmp_path / "pipe.csv")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe.csv").read_bytes)
        write_csv(parts.copy, str(tmp_path / "pipe.csv"), None, quiet=True)
        assert read.result(20) == b'"name"\n"a"\n"a\rb"\n'


def test_what_is_a_frame_anew_is_columns_anew() -> None:
    for module in pkgutil.walk_packages(bioprobe.__path__, "bioprobe."):
        if module.name.split(".")[1] not in {"cli", "web", "__main__"}:
            importlib.import_module(module.name)
    seen, below = 0, [Result]
    while below:
        one = below.pop()
        below += one.__subclasses__()
        own = {name: _find_home(one, name) for name in ("to_frame", "to_columns")}
        if own["to_columns"] is not Result:
            seen += 1
            assert issubclass(own["to_columns"], own["to_frame"]), one
    assert seen > 3


def _find_home(made: type, name: str) -> type:
    return next(one for one in made.__mro__ if name in vars(one))
