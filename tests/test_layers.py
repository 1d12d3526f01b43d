"""The flow is one-way: a module imports only from those that stand before it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import bioprobe
from tests.modules import parse_modules

# Each line may import from the lines above it; within a line a folder imports from itself alone.
LAYERS = (
    ("doors", "errors", "names", "types"),
    ("access", "cache", "cells", "devices", "registry", "settings", "table_bounds"),
    ("provenance", "options", "result", "progress"),
    ("content", "cores", "engines", "files", "intervals", "remote", "table_headers"),
    ("workbooks",),
    ("tables",),
    ("taxonomy", "sketch"),
    ("prompts",),
    ("images",),
    ("overlays",),
    ("encoders",),
    ("sources",),
    ("store",),
    ("embedding", "index", "splits"),
    ("watching",),
    ("task",),
    ("conservation",),
    ("zeroshot",),
    ("quality",),
    ("probes",),
    ("calibration",),
    ("learning",),
    ("finetuning",),
    ("clustering",),
    ("mapping",),
    ("explanation",),
    ("evaluation",),
    ("counting", "robustness"),
    ("reviewing",),
    ("interchange", "exporting", "merging", "page", "upkeep"),
    ("agreement",),
    ("report",),
    ("face",),
    ("web",),
    ("demo",),
    ("cli",),
)
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
# Allowed at the top of a module: quick to import, and needed for types and constants.
LIGHT = {"bioprobe", "numpy", "typer", *sys.stdlib_module_names}
# These are only ever imported by functions that already need the library.
HEAVY_ALLOWED = {"encoders", "explanation", "finetuning", "sketch", "probes", "web"}
# What the commands and the demonstration may run, beside themselves: what a person may ask, and the
# one way to write a file.
ASKED = {"face", "files", "options", "result", "errors", "progress", "provenance"}
FACES = {"web": ASKED, "demo": ASKED | {"page", "sketch"}, "cli": ASKED | {"demo", "web"}}

PACKAGE = Path(bioprobe.__file__).parent
PATHS = sorted(PACKAGE.rglob("*.py"))
NAMES = {
    ".".join(("bioprobe", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in PATHS
}


Trees = dict[Path, ast.Module]
Nodes = dict[Path, list[ast.AST]]


@pytest.fixture(scope="module")
def trees() -> Trees:
    """Read every module of the package."""
    return parse_modules(PATHS)


@pytest.fixture(scope="module")
def nodes(trees: Trees) -> Nodes:
    """Return what imports or calls something in each module: to look through all takes seconds."""
    kinds = (ast.Import, ast.ImportFrom, ast.Call)
    return {
        path: [node for node in ast.walk(tree) if isinstance(node, kinds)]
        for path, tree in trees.items()
    }


@pytest.fixture(scope="module")
def imported(nodes: Nodes) -> dict[Path, list[str]]:
    """Return the modules of bioprobe that each imports."""
    return {path: list(_imports(found)) for path, found in nodes.items()}


def _part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _leave_out_types(tree: ast.Module) -> ast.Module:
    """Return a module without what only a type checker imports."""
    checked = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return ast.Module(checked, [])


def _imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Find the modules of bioprobe that nodes of a module import."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        else:
            continue
        for name in dotted:
            found = name
            while found and found not in NAMES:
                found = found.rpartition(".")[0]
            if found.startswith("bioprobe."):
                yield found


def _places(tree: ast.Module) -> Iterator[str]:
    """Find the modules of questions that a command names and does not import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            module, colon, _ = node.value.partition(":")
            if colon and f"bioprobe.{module}" in NAMES:
                yield f"bioprobe.{module}"


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
    assert {_part_of(path) for path in PATHS} - {"__init__", "__main__"} == set(DEPTH)


def test_a_module_imports_only_from_before_it(imported: dict[Path, list[str]]) -> None:
    wrong = []
    for path, names in imported.items():
        part = _part_of(path)
        if part in {"__init__", "__main__"}:
            continue
        for name in names:
            other = _part_of(NAMES[name])
            if other != part and DEPTH[other] >= DEPTH[part]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_commands_and_demonstration_ask_the_face_and_nothing_below(trees: Trees) -> None:
    below = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, tree in trees.items()
        if _part_of(path) in FACES
        for name in (*_imports(ast.walk(_leave_out_types(tree))), *_places(tree))
        if _part_of(NAMES[name]) not in FACES[_part_of(path)] | {_part_of(path)}
    ]
    assert not below


def test_no_modules_import_each_other_in_a_circle(imported: dict[Path, list[str]]) -> None:
    rooms = {name: path for name, path in NAMES.items() if path.name != "__init__.py"}
    graph = {
        name: {other for other in imported[path] if other in rooms and other != name}
        for name, path in rooms.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_a_module_imports_heavy_libraries_only_where_they_are_used(trees: Trees) -> None:
    heavy = {
        str(path.relative_to(PACKAGE)): _libraries_at_top(tree) - LIGHT
        for path, tree in trees.items()
        if _part_of(path) not in HEAVY_ALLOWED
    }
    assert not {path: libraries for path, libraries in heavy.items() if libraries}


def test_only_the_command_line_prints_or_exits(trees: Trees, nodes: Nodes) -> None:
    for path, tree in trees.items():
        if _part_of(path) in {"cli", "__main__"}:
            continue
        called = {
            node.func.id
            for node in nodes[path]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"print", "exit", "quit"}, path
        assert "typer" not in _libraries_at_top(tree), path
