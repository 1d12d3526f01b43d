"""What a docstring shows is what is seen."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import bioprobe

PACKAGE = Path(bioprobe.__file__).parent


def _shows_something(path: Path) -> bool:
    """Say whether a module has an example that runs: some need a store, and are left out."""
    text = path.read_text(encoding="utf-8")
    # To parse takes long, and few have any.
    examples = doctest.DocTestParser().get_examples(text) if ">>>" in text else []
    return any(not one.options.get(doctest.SKIP) for one in examples)


# Of the others nothing is imported to find that they show nothing.
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if _shows_something(path)
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_show_what_is_seen(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    # What the package hands on is of the package: tests/face/test_names.py runs it.
    assert found.attempted or module.startswith("bioprobe.face.")
    assert not found.failed
