"""The flow is one-way: a module imports only from those that stand before it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import bioprobe

# Each line may import from the lines above it and from itself.
LAYERS = (
    ("errors",),
    ("resources", "files"),
    ("taxonomy",),
    ("prompts", "sketch"),
    ("images",),
    ("encoders",),
    ("store",),
    ("embedding", "provenance"),
    ("index", "classify"),
    ("quality",),
    ("splits",),
    ("probes",),
    ("calibration",),
    ("evaluation",),
    ("interchange",),
    ("page",),
    ("report",),
    ("demo",),
    ("cli",),
)
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
# Allowed at the top of a module: quick to import, and needed for types and constants.
LIGHT = {"bioprobe", "numpy", "typer", *sys.stdlib_module_names}
# These are only ever imported by functions that already need the library.
HEAVY_ALLOWED = {"encoders", "sketch", "probes"}

PACKAGE = Path(bioprobe.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def _part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _bioprobe_parts(tree: ast.Module) -> set[str]:
    """Return the parts of bioprobe that a module imports anywhere, types included."""
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bioprobe."):
            parts.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("bioprobe.")]
            parts.update(name.split(".")[1] for name in names)
    return parts


def _libraries_at_top(tree: ast.Module) -> set[str]:
    """Return the libraries that importing a module imports."""
    libraries: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            libraries.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            libraries.add(node.module.split(".")[0])
    return libraries


def test_every_part_of_the_package_has_a_place_in_the_flow() -> None:
    parts = {_part_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert parts == set(DEPTH)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_before_it(path: Path) -> None:
    part = _part_of(path)
    if part in {"__init__", "__main__"}:
        return
    imported = _bioprobe_parts(ast.parse(path.read_text(encoding="utf-8"))) - {part}
    later = {name for name in imported if DEPTH[name] > DEPTH[part]}
    assert not later


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_heavy_libraries_only_where_they_are_used(path: Path) -> None:
    if _part_of(path) in HEAVY_ALLOWED:
        return
    assert _libraries_at_top(ast.parse(path.read_text(encoding="utf-8"))) <= LIGHT


def test_only_the_command_line_prints_or_exits() -> None:
    for path in MODULES:
        if _part_of(path) in {"cli", "__main__"}:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"print", "exit", "quit"}, path
        assert "typer" not in _libraries_at_top(tree), path
