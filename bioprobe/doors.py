"""Names of a package that are loaded when they are first asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def open_door(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return what a package has as ``__getattr__``: it loads a name with the module that has it.

    To import one module of a package imports the package first, and so all that stands in its
    ``__init__.py``; what stands here instead waits until it is used.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to str
        Names, each with the module of the package that has it. None is that of a module.
    """

    def find(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        found = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, found)
        return found

    return find
