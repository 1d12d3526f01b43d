from __future__ import annotations

import json
from pathlib import Path

import pytest

from bioprobe.cli.app import run


def test_answers_go_to_standard_output_and_what_is_not_delivered_fails(
    drawn: Path, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.watching.watch._TRIES_AT_END", 1)
    asked = ["watch", str(drawn / "photos"), "--once", "--level", "class", "--store", str(store)]
    alert = ["--alert", "Animalia", "--over", "0", "--command", "false"]
    code = run([*asked, "--output", "-", *alert])
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert len({row["file_name"] for row in rows}) == len(rows) > 5
    assert code == 1
    assert "the command ended with 1; tried 1 times" in said.err
    assert "alerts were not delivered; the next watch tries them again" in said.err
    assert run([*asked, "--output", "-", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
