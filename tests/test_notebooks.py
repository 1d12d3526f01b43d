"""The notebooks run from top to bottom, and are kept without output."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def _read_code(notebook: Path) -> list[dict[str, object]]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    notebook: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in _read_code(notebook):
        source = "".join(cell["source"])  # type: ignore[arg-type]
        exec(compile(source, str(notebook), "exec"), names)
    assert "top-1 " in capsys.readouterr().out


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_output(notebook: Path) -> None:
    assert all(cell["outputs"] == [] for cell in _read_code(notebook))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_asks_the_face_and_nothing_below(notebook: Path) -> None:
    code = "\n".join("".join(cell["source"]) for cell in _read_code(notebook))  # type: ignore[arg-type]
    imported = {
        name
        for node in ast.walk(ast.parse(code))
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    ours = {name for name in imported if name and name.startswith("bioprobe")}
    assert ours <= {"bioprobe", "bioprobe.demo"}
