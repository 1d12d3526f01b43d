"""The public names: few, listed, loaded when first named, and known by the face's own name."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import bioprobe
from bioprobe import errors

INIT = ast.parse(Path(bioprobe.__file__).read_text(encoding="utf-8"))


def test_what_is_listed_is_what_is_there() -> None:
    assert bioprobe.__all__ == sorted(set(bioprobe.__all__))
    assert dir(bioprobe) == bioprobe.__all__
    for name in bioprobe.__all__:
        assert getattr(bioprobe, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bioprobe.nothing  # noqa: B018 - looked up to be refused


@pytest.mark.parametrize("name", ["models", "taxa"])
def test_a_module_of_the_face_lists_its_questions_alone(name: str) -> None:
    module = getattr(bioprobe, name)
    assert dir(module) == sorted(module.__all__)
    assert all(callable(getattr(module, question)) for question in module.__all__)


def test_type_checkers_see_the_names_that_are_loaded_late() -> None:
    (checked,) = (node for node in INIT.body if isinstance(node, ast.If))
    seen = {
        alias.name: f"{node.module}"
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"bioprobe.{home}".rstrip(".") for name, home in bioprobe._HOMES.items()}


def test_every_error_is_public() -> None:
    names = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert names <= set(bioprobe.__all__)
    with pytest.raises(bioprobe.StoreError):
        bioprobe.open("none")


@pytest.mark.parametrize("name", [name for name in bioprobe.__all__ if name != "__version__"])
def test_a_name_says_that_it_is_of_the_face(name: str) -> None:
    value = getattr(bioprobe, name)
    if not isinstance(value, type(bioprobe)):
        assert (value.__module__, value.__qualname__) == ("bioprobe", name)
        assert pickle.loads(pickle.dumps(value)) is value


def test_help_shows_types_without_the_options_of_the_shell() -> None:
    shown = str(inspect.signature(bioprobe.Store.search))
    assert "Option(" not in shown
    assert "k: 'int | None' = None" in shown


def test_questions_of_a_store_share_no_name_for_two_things() -> None:
    own = [
        name
        for base in bioprobe.Store.__mro__[1:-1]
        for name, value in vars(base).items()
        if callable(value) and not name.startswith("__")
    ]
    assert [name for name in set(own) if own.count(name) > 1] == []


def test_importing_the_package_imports_no_library() -> None:
    code = (
        "import sys, json; before = set(sys.modules); import bioprobe;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert [name for name in loaded if name.startswith("bioprobe")] == [
        "bioprobe",
        "bioprobe.errors",
    ]
    libraries = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert libraries == {"bioprobe"}
    assert len(loaded) < 50


@pytest.mark.parametrize("name", bioprobe.__all__)
def test_the_examples_of_a_name_run(name: str) -> None:
    # Pytest runs those of a module only where the module is what they say they are of.
    # Pytest runs those of what a folder hands on, where they stand.
    finder = doctest.DocTestFinder(recurse=bioprobe._HOMES.get(name) != "")
    runner = doctest.DocTestRunner()
    for found in finder.find(getattr(bioprobe, name), name, module=False, globs={"bp": bioprobe}):
        assert runner.run(found).failed == 0


def test_no_part_of_a_store_takes_the_place_of_anothers() -> None:
    seen: dict[str, str] = {}
    for part in bioprobe.Store.__mro__[:-1]:
        for name in vars(part):
            if not name.startswith("__"):
                assert name not in seen, f"{name} of {part.__name__} and of {seen[name]}"
                seen[name] = part.__name__
