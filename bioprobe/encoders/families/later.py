"""transformers, which open_clip imports at once and few of its models use."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_LIBRARY = "transformers"
# What open_clip takes names from.
_MODULES = (_LIBRARY, f"{_LIBRARY}.modeling_outputs")


@contextlib.contextmanager
def transformers_when_used() -> Iterator[None]:
    """Import open_clip without transformers, which takes a third of the time.

    The names that it takes are those of stand-ins, which import the library when they are called,
    asked for something, or compared with an object. Other threads have the library itself.

    Examples
    --------
    >>> with transformers_when_used():
    ...     import open_clip
    """
    spec = None if _LIBRARY in sys.modules else importlib.util.find_spec(_LIBRARY)
    if spec is None:
        yield
        return
    thread = threading.get_ident()
    stand_ins = {name: _StandIn(name, thread) for name in _MODULES}
    library = stand_ins[_LIBRARY]
    library.__spec__, library.__path__ = spec, list(spec.submodule_search_locations or ())
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        _make_way()


class _StandIn(ModuleType):
    """A module whose names are looked up when what they name is used."""

    def __init__(self, name: str, thread: int) -> None:
        super().__init__(name)
        self._thread = thread

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it is
        # What the machinery of imports looks for on any module.
        if name.startswith("__"):
            raise AttributeError(name)
        if threading.get_ident() == self._thread:
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
    _make_way()
    return getattr(importlib.import_module(module), name)


def _make_way() -> None:
    """Let modules be imported that something stands for."""
    for name in _MODULES:
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]
