"""The README's commands are all there, and all run."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
import pandas as pd
import pytest
import typer
from typer.main import get_command

from bioprobe.cli.app import app, run

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
# A line may begin with what another program pipes in.
LINES = [
    line
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("bioprobe ") or " | bioprobe " in line
]
# No network here: a download is tried, and fails with its remedy.
FAILS = {"bioprobe models download"}


def _iter_commands(group: typer.Typer, prefix: str = "bioprobe") -> Iterator[tuple[str, object]]:
    for name, command in get_command(group).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        if inner:
            yield from ((f"{prefix} {name} {sub}", made) for sub, made in inner.items())
        else:
            yield f"{prefix} {name}", command


COMMANDS = dict(_iter_commands(app))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_in_the_readme(command: str) -> None:
    assert any(line == command or line.startswith(f"{command} ") for line in LINES)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_has_help_and_an_example(command: str) -> None:
    made = COMMANDS[command]
    assert f"Example: {command}" in " ".join(str(made.help).split())  # type: ignore[attr-defined]
    for parameter in made.params:  # type: ignore[attr-defined]
        assert parameter.name == "help" or getattr(parameter, "help", None), parameter.name


def test_every_command_of_the_readme_runs(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run them in the README's order, in one folder, on drawn pictures and with sketch."""
    shutil.copytree(drawn / "photos", tmp_path / "photos")
    shutil.copy(tmp_path / "photos" / "panthera-pardus" / "000.jpg", tmp_path / "leopard.jpg")
    shutil.copy(tmp_path / "photos" / "panthera-leo" / "000.jpg", tmp_path / "more.jpg")
    (tmp_path / "table.csv").write_text("file,label,sex\npanthera-leo/000.jpg,Panthera leo,male\n")
    (tmp_path / "list.txt").write_text("leopard.jpg\nmore.jpg\n")
    leopard = (tmp_path / "leopard.jpg").read_bytes()
    pd.DataFrame({"image": [{"bytes": leopard, "path": "leopard.jpg"}]}).to_parquet(
        tmp_path / "pictures.parquet"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOPROBE_STORE", raising=False)
    for line in LINES:
        first, _, command = line.rpartition(" | ")
        if first:
            piped = subprocess.run(first, shell=True, check=True, capture_output=True).stdout
            assert piped
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
        arguments = shlex.split(command, comments=True)[1:]
        expected = 1 if any(line.startswith(name) for name in FAILS) else 0
        if not expected:
            arguments = [part.replace("bioclip-2", "sketch") for part in arguments]
        code = run(arguments)
        assert code == expected, f"{line}\n{capsys.readouterr().err}"
