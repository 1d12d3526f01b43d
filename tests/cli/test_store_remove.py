"""``store remove``, ``removed`` and ``compact``: ask first, say what hangs on rows, undo."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

import bioprobe as bp
from bioprobe.cli.app import run


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal(text))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


def test_it_asks_first_and_a_script_must_say_yes(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    n_rows = len(bp.open(store))
    where = ["--where", "genus == 'Equus'"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run(["store", "remove", *where]) == 2
    said = capsys.readouterr().err
    assert f"3 of {n_rows} rows of store, of 3 pictures: equus-" in said
    assert "no terminal to ask at; nothing was changed" in said
    assert run(["store", "remove"]) == 2
    assert "say which rows go" in capsys.readouterr().err
    assert run(["store", "remove", *where, "--dry-run"]) == 0
    assert "nothing was changed" in capsys.readouterr().err
    _answer(monkeypatch, "n\n")
    assert run(["store", "remove", *where]) == 1
    assert "nothing was removed" in capsys.readouterr().err
    assert len(bp.open(store)) == n_rows
    _answer(monkeypatch, "y\n")
    assert run(["store", "remove", *where]) == 0
    assert "removed as number 1" in capsys.readouterr().err
    assert len(bp.open(store)) == n_rows - 3
    assert run(["store", "remove", "--undo", "1", *where]) == 2
    assert "--where counts only" in capsys.readouterr().err
    assert run(["store", "remove", "--undo", "1"]) == 0
    assert len(bp.open(store)) == n_rows


def test_paths_come_from_standard_input_and_are_gone_after_compaction(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    n_rows = len(bp.open(store))
    paths = bp.open(store).images["path"].tolist()[:2]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\0".join([*paths, "no such.jpg", ""])))
    assert run(["store", "remove", "--paths", "-", "--yes"]) == 0
    assert "1 of 3 paths are not in store: no such.jpg" in capsys.readouterr().err
    assert run(["store", "removed"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("1,")
    assert run(["store", "info"]) == 0
    shown = capsys.readouterr()
    assert "removed_rows     2" in shown.out
    assert "2 rows were removed, in 1 removals, and are in the files still" in shown.err
    assert run(["store", "compact", "--dry-run"]) == 0
    assert "2 removed and 0 replaced rows would be gone" in capsys.readouterr().err
    assert run(["store", "compact", "--shard-rows", "50"]) == 0
    said = capsys.readouterr().err
    assert "bytes before anything goes …" in said
    assert f"{n_rows - 2} rows are in 3 shards, of 1; 2 removed" in said
    assert run(["store", "compact", "--shard-rows", "50"]) == 0
    assert "store is compact" in capsys.readouterr().err
    assert not [
        file
        for file in store.rglob("*")
        if file.is_file() and paths[0].encode() in file.read_bytes()
    ]
