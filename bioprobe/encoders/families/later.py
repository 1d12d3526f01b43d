"""Libraries that open_clip imports at once, and few of its models use."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from bioprobe.encoders.families.compiler import imported_when_used

# Libraries, and which of their modules open_clip takes names from.
_LIBRARIES = {"timm": ("timm.layers",), "transformers": ("transformers.modeling_outputs",)}


@contextlib.contextmanager
def libraries_when_used() -> Iterator[None]:
    """Import open_clip without timm and transformers, which take most of the time.

    The names that it takes are those of stand-ins, which import the library when they are called,
    asked for something, or compared with an object. Other threads have the library itself.

    Examples
    --------
    >>> with libraries_when_used():
    ...     import open_clip
    """
    thread = threading.get_ident()
    for library, modules in _LIBRARIES.items():
        spec = None if library in sys.modules else importlib.util.find_spec(library)
        if spec is None:
            continue
        stand_in = _StandIn(library, thread)
        stand_in.__spec__, stand_in.__path__ = spec, list(spec.submodule_search_locations or ())
        sys.modules[library] = stand_in
        sys.modules.update({name: _StandIn(name, thread) for name in modules})
    try:
        yield
    finally:
        _make_way(*_LIBRARIES)


class _StandIn(ModuleType):
    """A module whose names are looked up when what they name is used."""

    def __init__(self, name: str, thread: int) -> None:
        super().__init__(name)
        self._thread = thread

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it is
        # What the machinery of imports looks for on any module.
        if name.startswith("__"):
            raise AttributeError(name)
        is_importing = sys.modules.get(self.__name__) is self
        if is_importing and threading.get_ident() == self._thread:
            return _Later(self.__name__, name)
        return _find(self.__name__, name)


class _Later:
    """Stands for something of a module until it is used."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _get(self) -> Any:  # noqa: ANN401 - whatever it is
        return _find(self._module, self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as it takes them
        return self._get()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it is
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._get(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._get())


def _find(module: str, name: str) -> Any:  # noqa: ANN401 - whatever it is
    _make_way(module.partition(".")[0])
    with imported_when_used():
        return getattr(importlib.import_module(module), name)


def _make_way(*libraries: str) -> None:
    """Let libraries be imported that something stands for."""
    for library in libraries:
        for name in (library, *_LIBRARIES[library]):
            if isinstance(sys.modules.get(name), _StandIn):
                del sys.modules[name]
