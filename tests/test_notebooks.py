"""The notebooks run from top to bottom, on any store, and are kept without output."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.demo import draw_store

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# What each prints of what it found.
PRINTS = {
    "01_embed_and_look": "pictures on the map",
    "02_zero_shot_and_prompts": "top-1 ",
    "03_filter_and_duplicates": "top-1 ",
    "04_probes_and_hierarchy": "top-1 ",
    "05_your_own_species": "pictures are taken for it",
    "06_error_analysis": "best: ",
}
STORE_LINE = re.compile(r"^STORE = .*$", re.MULTILINE)


def _read_code(notebook: Path) -> list[dict[str, object]]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def _read_sources(notebook: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in _read_code(notebook)]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(
    demo: Path, make_once: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a folder with drawn pictures, and whole stores: of all, and of somebody's own."""

    def fill(folder: Path) -> None:
        photos = shutil.copytree(demo / "photos", folder / "drawn" / "photos")
        # The pictures are there: it embeds them, and finds that done when it is asked again.
        if "BIOPROBE_LONG" in os.environ:
            shutil.copytree(draw_store(folder / "drawn"), folder / "whole" / "drawn")
        table = pd.read_csv(photos / "pictures.csv", keep_default_na=False)
        ours = table[(table.kind == "animal") & (table.family != "Felidae")]
        ours.drop(columns=["kind", "role"]).to_csv(folder / "ours.csv", index=False)
        bp.embed(folder / "ours.csv", root=photos, model="sketch", store=folder / "whole" / "own")

    return shutil.copytree(
        make_once("notebooks", fill), tmp_path_factory.mktemp("notebooks") / "all"
    )


def test_there_are_the_six() -> None:
    assert {notebook.stem for notebook in NOTEBOOKS} == PRINTS.keys()


@pytest.mark.parametrize(
    "is_own",
    [pytest.param(False, id="drawn", marks=pytest.mark.long), pytest.param(True, id="own")],
)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    notebook: Path,
    is_own: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On the drawn store, and on another once its one line is changed."""
    monkeypatch.chdir(folder)
    store = Path("own" if is_own else "drawn/store")
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(Path("whole", store.parts[0]), store)
    names: dict[str, object] = {}
    with mpl.rc_context({"backend": "agg"}):
        for source in _read_sources(notebook):
            changed = STORE_LINE.sub('STORE = "own"', source) if is_own else source
            _run_cell(changed, str(notebook), names)
    assert PRINTS[notebook.stem] in capsys.readouterr().out
    assert names["store"].folder == store  # type: ignore[attr-defined]


def _run_cell(source: str, name: str, names: dict[str, object]) -> None:
    """Run a cell, and show what its last line is as a notebook does."""
    tree = ast.parse(source)
    shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    if isinstance(shown, ast.Expr):
        value = eval(compile(ast.Expression(shown.value), name, "eval"), names)
        draw = getattr(value, "_repr_html_", None)
        assert value is None or (draw() if draw else repr(value))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_has_one_line_to_change(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert len(cells) <= 12
    assert len(STORE_LINE.findall("\n".join(_read_sources(notebook)))) == 1


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_output(notebook: Path) -> None:
    assert all(cell["outputs"] == [] for cell in _read_code(notebook))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_asks_the_face_and_nothing_below(notebook: Path) -> None:
    code = "\n".join(_read_sources(notebook))
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
