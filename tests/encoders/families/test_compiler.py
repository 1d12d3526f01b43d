"""Libraries of models come without PyTorch's compiler, and it comes when it is called.

That a command which loads a model does without, tests/cli/test_pictures.py looks at.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
import torch
import torch._dynamo.utils as utilities

from bioprobe.encoders.families.compiler import imported_when_used

NAME = utilities.__name__
# It says no types.
COMPILER: Any = torch.compiler


def test_the_compiler_is_asked_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    disable = COMPILER.disable
    monkeypatch.delitem(sys.modules, NAME)
    with imported_when_used():
        from torch._dynamo.utils import is_compile_supported

        double = COMPILER.disable(lambda values: 2 * values, reason="of a test")

    assert NAME not in sys.modules
    assert COMPILER.disable is disable
    assert is_compile_supported is not utilities.is_compile_supported
    monkeypatch.setitem(sys.modules, NAME, utilities)
    for device in ("cpu", "meta"):
        assert is_compile_supported(device) == utilities.is_compile_supported(device)
    assert double(torch.ones(1)).item() == 2

    def quadruple(values: torch.Tensor) -> Any:  # noqa: ANN401
        return double(double(values))

    compiled = torch.compile(quadruple, backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"skip|disable"):
        compiled(torch.ones(1))


def test_who_asks_for_more_of_the_compiler_meanwhile_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def import_it(name: str) -> Any:  # noqa: ANN401
        assert name not in sys.modules
        return sys.modules.setdefault(name, utilities)

    monkeypatch.setattr(importlib, "import_module", import_it)
    monkeypatch.delitem(sys.modules, NAME)
    with imported_when_used():
        from torch._dynamo.utils import counters

        assert counters is utilities.counters
        assert not hasattr(sys.modules[NAME], "nothing_of_that_name")
    assert sys.modules[NAME] is utilities


def test_nothing_stands_in_for_a_compiler_that_is_there() -> None:
    disable = COMPILER.disable
    with imported_when_used():
        assert sys.modules[NAME] is utilities
        assert COMPILER.disable is disable


def test_all_is_as_before_when_a_library_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disable = COMPILER.disable
    monkeypatch.delitem(sys.modules, NAME)
    with pytest.raises(ModuleNotFoundError), imported_when_used():
        import library_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401
    assert NAME not in sys.modules
    assert COMPILER.disable is disable
