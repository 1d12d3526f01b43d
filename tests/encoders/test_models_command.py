from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bioprobe.cli.app import run
from bioprobe.registry import BACKENDS

Capture = pytest.CaptureFixture[str]


def _ask(capsys: Capture, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Return what ``bioprobe models`` writes on standard output, and what it says."""
    assert run(["models", *arguments]) == code
    written = capsys.readouterr()
    return written.out, written.err


def test_list_shows_every_short_name_and_whether_it_is_here(
    put_in_cache: Callable[[str, Path], Path], open_clip_dir: Path, capsys: Capture
) -> None:
    put_in_cache("imageomics/bioclip-2", open_clip_dir)
    written, said = _ask(capsys, "list")
    lines = written.splitlines()
    assert lines[0].split()[:3] == ["name", "backend", "dim"]
    here = {line.split()[0]: line.split()[-1] for line in lines[1:]}
    assert here["bioclip-2"] == "yes"
    assert here["bioclip"] == "no"
    assert "models info" in said


def test_list_as_json_can_be_parsed_and_keeps_messages_apart(
    hub_cache: Path, capsys: Capture
) -> None:
    del hub_cache
    written, _ = _ask(capsys, "list", "--format", "json")
    rows = {row["name"]: row for row in json.loads(written)}
    assert rows["bioclip-2"]["dim"] == 768
    assert rows["dinov2-b"]["has_text_tower"] is False
    assert rows["bioclip"]["is_here"] is False


def test_info_says_what_the_model_has_seen(hub_cache: Path, capsys: Capture) -> None:
    del hub_cache
    assert "Rare Species benchmark was NOT held out" in _ask(capsys, "info", "bioclip-2")[0]
    facts = json.loads(_ask(capsys, "info", "bioclip-2", "--format", "json")[0])
    assert facts["licence"] == "MIT"


def test_check_loads_and_encodes(open_clip_dir: Path, capsys: Capture) -> None:
    named = ["check", f"local-dir:{open_clip_dir}", "--backend", "torch"]
    written, _ = _ask(capsys, *named, "--device", "cpu")
    facts = dict(line.split(maxsplit=1) for line in written.splitlines())
    assert facts["dim"] == "24"
    assert facts["ok"] == "yes"
    assert len(facts["fingerprint"]) == 64
    assert facts["backend"] == "torch"
    rough, _ = _ask(capsys, *named, "--precision", "bf16")
    assert "bf16" in rough


def test_check_measures_what_runs_it_and_shows_each(open_clip_dir: Path, capsys: Capture) -> None:
    written, _ = _ask(capsys, "check", f"local-dir:{open_clip_dir}", "--device", "cpu")
    facts = dict(line.split(maxsplit=1) for line in written.splitlines())
    assert {"torch", *BACKENDS.places} >= {facts["backend"]}
    assert set(BACKENDS.places) <= set(facts)
    assert "least cosine" in facts["traced"]
    assert "by choice only" in facts["compile"]


def test_download_that_cannot_be_says_so_in_one_message(
    hub_cache: Path, tmp_path: Path, capsys: Capture
) -> None:
    del hub_cache
    written, said = _ask(capsys, "download", "bioclip", "--to", str(tmp_path / "to"), code=1)
    assert written == ""
    assert said.count("Error: ") == 1


@pytest.mark.parametrize("command", ["list", "info", "download", "check"])
def test_every_command_has_help_with_an_example(command: str, capsys: Capture) -> None:
    assert f"bioprobe models {command}" in _ask(capsys, command, "--help")[0]
