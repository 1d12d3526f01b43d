"""Libraries of models come without PyTorch's compiler, and it comes when it is called.

That a command which loads a model does without, tests/cli/test_pictures.py looks at.
"""

from __future__ import annotations

import sys

import pytest
import torch
import torch._dynamo.utils as utilities

from bioprobe.encoders.families.compiler import imported_when_used

NAME = utilities.__name__


def test_the_compiler_is_asked_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    disable = torch.compiler.disable
    monkeypatch.delitem(sys.modules, NAME)
    with imported_when_used():
        from torch._dynamo.utils import is_compile_supported

        @torch.compiler.disable(reason="of a test")
        def double(values: torch.Tensor) -> torch.Tensor:
            return 2 * values

    assert NAME not in sys.modules
    assert torch.compiler.disable is disable
    assert is_compile_supported is not utilities.is_compile_supported
    monkeypatch.setitem(sys.modules, NAME, utilities)
    for device in ("cpu", "meta"):
        assert is_compile_supported(device) == utilities.is_compile_supported(device)
    assert double(torch.ones(1)).item() == 2

    def quadruple(values: torch.Tensor) -> torch.Tensor:
        return double(double(values))

    compiled = torch.compile(quadruple, backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"skip|disable"):
        compiled(torch.ones(1))


def test_nothing_stands_in_for_a_compiler_that_is_there() -> None:
    disable = torch.compiler.disable
    with imported_when_used():
        assert sys.modules[NAME] is utilities
        assert torch.compiler.disable is disable


def test_all_is_as_before_when_a_library_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disable = torch.compiler.disable
    monkeypatch.delitem(sys.modules, NAME)
    with pytest.raises(ModuleNotFoundError), imported_when_used():
        import library_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401
    assert NAME not in sys.modules
    assert torch.compiler.disable is disable
