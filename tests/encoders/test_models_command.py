from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bioprobe.cli.models import app
from bioprobe.errors import ModelUnavailableError
from bioprobe.registry import BACKENDS

runner = CliRunner()


def test_list_shows_every_short_name_and_whether_it_is_here(
    put_in_cache: Callable[[str, Path], Path], open_clip_dir: Path
) -> None:
    put_in_cache("imageomics/bioclip-2", open_clip_dir)
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["name", "backend", "dim"]
    here = {line.split()[0]: line.split()[-1] for line in lines[1:]}
    assert here["bioclip-2"] == "yes"
    assert here["bioclip"] == "no"
    assert "models info" in result.stderr


def test_list_as_json_can_be_parsed_and_keeps_messages_apart(hub_cache: Path) -> None:
    del hub_cache
    result = runner.invoke(app, ["list", "--format", "json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["bioclip-2"]["dim"] == 768
    assert rows["dinov2-b"]["has_text_tower"] is False
    assert rows["bioclip"]["is_here"] is False


def test_info_says_what_the_model_has_seen(hub_cache: Path) -> None:
    del hub_cache
    result = runner.invoke(app, ["info", "bioclip-2"])
    assert result.exit_code == 0
    assert "Rare Species benchmark was NOT held out" in result.stdout
    facts = json.loads(runner.invoke(app, ["info", "bioclip-2", "--format", "json"]).stdout)
    assert facts["licence"] == "MIT"


def test_check_loads_and_encodes(open_clip_dir: Path) -> None:
    named = ["check", f"local-dir:{open_clip_dir}", "--backend", "torch"]
    result = runner.invoke(app, [*named, "--device", "cpu"])
    assert result.exit_code == 0
    facts = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert facts["dim"] == "24"
    assert facts["ok"] == "yes"
    assert len(facts["fingerprint"]) == 64
    assert facts["backend"] == "torch"
    rough = runner.invoke(app, [*named, "--precision", "bf16"])
    assert "bf16" in rough.stdout


def test_check_measures_what_runs_it_and_shows_each(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path))
    result = runner.invoke(app, ["check", f"local-dir:{open_clip_dir}", "--device", "cpu"])
    facts = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert {"torch", *BACKENDS.places} >= {facts["backend"]}
    assert set(BACKENDS.places) <= set(facts)
    assert "least cosine" in facts["traced"]
    assert "by choice only" in facts["compile"]


def test_download_that_cannot_be_raises_one_message(hub_cache: Path, tmp_path: Path) -> None:
    del hub_cache
    result = runner.invoke(app, ["download", "bioclip", "--to", str(tmp_path / "to")])
    assert isinstance(result.exception, ModelUnavailableError)
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["list", "info", "download", "check"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"bioprobe models {command}" in result.stdout
