"""Whatever is public is named by something besides its tests."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import bioprobe
from tests.modules import parse_modules

PACKAGE = Path(bioprobe.__file__).parent
CHECKOUT = PACKAGE.parent
# What a person may ask; the commands and pages, which are registered where they are defined; and
# what a library calls.
FACES = (
    "bioprobe.face.", "bioprobe.cli.", "bioprobe.web.views.", "bioprobe.web.api.",
    "bioprobe.web.listening",
)  # fmt: skip

# A definition at the top of a module: the module and the name.
Definition = tuple[str, str]


def _name_module(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _read_notebook(path: Path) -> ast.Module:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ast.parse("\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code"))


def _list_nodes(node: ast.AST) -> list[ast.AST]:
    """Return what names or imports something, or may be the name of something."""
    kinds = (ast.Name, ast.Attribute, ast.ImportFrom, ast.Constant)
    return [one for one in ast.walk(node) if isinstance(one, kinds)]


def _iter_imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, Definition]]:
    """Find what is imported from bioprobe.

    Yields
    ------
    tuple of str and Definition
        The name that it has there, and where it comes from.
    """
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, (node.module, alias.name)


def _count_names(nodes: Iterable[ast.AST]) -> Counter[str]:
    return Counter(
        one.id if isinstance(one, ast.Name) else one.attr
        for one in nodes
        if isinstance(one, (ast.Name, ast.Attribute))
    )


def _add_up(counted: Iterable[Counter[str]]) -> Counter[str]:
    found = Counter[str]()
    for one in counted:
        found.update(one)
    return found


def _iter_public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Find what is public of a module or class."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node


class _House:
    """Every module of ours, and what it names; read by the test, not by whoever collects it."""

    def __init__(self) -> None:
        folders = [CHECKOUT / name for name in ("bioprobe", "scripts", "benchmarks")]
        parsed = parse_modules(path for one in folders for path in sorted(one.rglob("*.py")))
        self.trees = {_name_module(path): tree for path, tree in parsed.items()}
        notebooks = (CHECKOUT / "notebooks").glob("*.ipynb")
        self.trees |= {str(path): _read_notebook(path) for path in notebooks}
        # By module and the statement at its top that they are in.
        self.nodes = {
            module: {statement: _list_nodes(statement) for statement in tree.body}
            for module, tree in self.trees.items()
        }
        self.doors = {_name_module(path) for path in PACKAGE.rglob("__init__.py")} - {"bioprobe"}
        # A door hands on what stands in another room: (door, name) to the room's own.
        self.handed_on = {
            (door, name): origin
            for door in self.doors
            for name, origin in _iter_imports(self._chain(door))
        }
        # What each statement at the top of a module names, and the module by all of them.
        self.within = {
            module: {node: _count_names(nodes) for node, nodes in statements.items()}
            for module, statements in self.nodes.items()
        }
        self.names = {module: _add_up(found.values()) for module, found in self.within.items()}
        self.named = {one for module in self.trees for one in self._iter_named(module)}
        templates = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.j2"))
        self.all_names = Counter(re.findall(r"\w+", templates))
        for names in self.names.values():
            self.all_names.update(names)

    def _chain(self, module: str) -> Iterator[ast.AST]:
        return chain.from_iterable(self.nodes[module].values())

    def _resolve(self, origin: Definition) -> Definition:
        while origin in self.handed_on and self.handed_on[origin] != origin:
            origin = self.handed_on[origin]
        return origin

    def _iter_named(self, module: str) -> Iterator[Definition]:
        """Find what a module names of the definitions of others, and of its own."""
        imported = dict(_iter_imports(self._chain(module)))
        # To hand on is not to use.
        used = self.names[module] if module in self.doors else imported
        yield from (self._resolve(origin) for name, origin in imported.items() if name in used)
        for node in self._chain(module):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                home = imported.get(node.value.id)
                if home is not None:
                    yield self._resolve((".".join(home), node.attr))
            elif isinstance(node, ast.Constant) and str(node.value).startswith("bioprobe"):
                # As the registry names what it loads late.
                yield from re.findall(r"^(bioprobe[\w.]+):(\w+)$", str(node.value))

    def find_unnamed(self) -> set[str]:
        unnamed = set()
        for module, tree in self.trees.items():
            if not module.startswith("bioprobe.") or module.startswith(FACES):
                continue
            for node in _iter_public(tree.body):
                own = self.within[module][node]
                used_here = self.names[module][node.name] > own[node.name]
                if (module, node.name) not in self.named and not used_here:
                    unnamed.add(f"{module}.{node.name}")
                elif isinstance(node, ast.ClassDef):
                    unnamed |= {
                        f"{module}.{node.name}.{one.name}"
                        for one in _iter_public(node.body)
                        # What all name more often than its class does is named elsewhere.
                        if self.all_names[one.name] <= own[one.name]
                        and self.all_names[one.name] <= _count_names(_list_nodes(one))[one.name]
                    }
        return unnamed


def test_what_is_public_is_named_by_more_than_tests() -> None:
    assert _House().find_unnamed() == set()
