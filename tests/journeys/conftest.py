"""Photographs laid out once, and the commands that ask them, as a person types them."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bioprobe import encoders
from bioprobe.cli.app import run
from tests.journeys.arranged import Shot, take_shots

Ask = Callable[[str], str]


@pytest.fixture(scope="session")
def cameras(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Shot]]:
    """Return a folder of the photographs of two cameras, and what each shows."""
    folder = tmp_path_factory.mktemp("cameras")
    return folder, take_shots(shared_dir / "data" / "photos", folder)


@pytest.fixture
def shots(
    cameras: tuple[Path, list[Shot]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Shot]:
    """Return what the photographs in the folder ``set``, of the current folder, show.

    Beside it lies ``taxa.csv``, the list of what they can be of.
    """
    folder, found = cameras
    shutil.copytree(folder, tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    pd.DataFrame([shot.label for shot in found if shot.label]).to_csv("taxa.csv", index=False)
    return found


@pytest.fixture
def ask(
    shared_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Ask:
    """Run a command that works out, and return all that it says; the model is loaded once."""
    monkeypatch.setattr(encoders, "load_encoder", _load_once)
    model = f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}"

    def type_in(command: str) -> str:
        words = command.split()
        if words[0] == "embed":
            words += ["--model", model]
        code = run(words)
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.err + said.out

    return type_in


_load_once = functools.cache(encoders.load_encoder)
