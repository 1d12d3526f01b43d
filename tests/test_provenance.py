from __future__ import annotations

import datetime
import json

import pytest

from bioprobe import __version__
from bioprobe.provenance import Provenance


@pytest.mark.parametrize("program", ["bioprobe", "/venv/bin/bioprobe", "/lib/bioprobe/__main__.py"])
def test_it_records_command_version_and_time(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [program, "search", "--text", "a cat"])
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    fields = Provenance(encoder={"model": "plain"}, store="s", n_rows=3).to_dict()
    assert fields["command"] == "bioprobe search --text 'a cat'"
    assert fields["version"] == __version__
    assert before <= datetime.datetime.fromisoformat(fields["time"])
    assert datetime.datetime.fromisoformat(fields["time"]).utcoffset() == datetime.timedelta(0)


def test_it_is_ready_for_json() -> None:
    given = Provenance(
        encoder={"model": "plain"},
        store="s",
        n_rows=3,
        condition="family == 'Felidae'",
        options={"templates": ["a photo of {}."], "k": 5},
        command="bioprobe zeroshot",
        version="1",
        time="2026-01-01T00:00:00+00:00",
        device="cuda",
    )
    assert json.loads(json.dumps(given.to_dict())) == {
        "encoder": {"model": "plain"},
        "store": "s",
        "n_rows": 3,
        "condition": "family == 'Felidae'",
        "options": {"templates": ["a photo of {}."], "k": 5},
        "command": "bioprobe zeroshot",
        "version": "1",
        "time": "2026-01-01T00:00:00+00:00",
        "device": "cuda",
    }
