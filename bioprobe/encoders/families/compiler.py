"""PyTorch's compiler, which libraries of models import and few models use."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
from torch._compile import _disable_dynamo

_UTILITIES = "torch._dynamo.utils"


@contextlib.contextmanager
def imported_when_used() -> Iterator[None]:
    """Import libraries of models without the compiler: it takes as long as all the rest of them.

    torchvision names one of its functions as it is imported, for regions of interest, and timm
    marks functions that are not to be compiled. Both are told to import the compiler when they
    are called.

    Examples
    --------
    >>> with imported_when_used():
    ...     import torchvision
    """
    if _UTILITIES in sys.modules:
        yield
        return
    stand_in = ModuleType(_UTILITIES)
    stand_in.__dict__["is_compile_supported"] = _is_compile_supported
    stand_in.__dict__["__getattr__"] = functools.partial(_get_really, stand_in)
    disable = torch.compiler.disable
    sys.modules[_UTILITIES] = stand_in
    torch.compiler.disable = _disable
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(_UTILITIES) is stand_in:
            del sys.modules[_UTILITIES]


def _get_really(stand_in: ModuleType, name: str) -> Any:  # noqa: ANN401 - whatever it is
    """Import the compiler after all, for a library or another thread that asks for more of it."""
    # What the machinery of imports looks for on any module.
    if name.startswith("__"):
        raise AttributeError(name)
    if sys.modules.get(_UTILITIES) is stand_in:
        del sys.modules[_UTILITIES]
    return getattr(importlib.import_module(_UTILITIES), name)


def _is_compile_supported(device_type: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device_type))


def _disable(
    fn: Callable[..., Any] | None = None,
    recursive: bool = True,
    *,
    reason: str | None = None,  # noqa: ARG001 - said by the compiler alone
) -> Callable[..., Any]:
    return _disable_dynamo(fn, recursive)
